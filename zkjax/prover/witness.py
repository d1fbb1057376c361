"""The prover's tensors: what a chunk of exact training leaves behind, and every table that the argument asks for.

Nothing here is trusted by a verifier. Weights of the steps in between are never materialised for a proof: folds of W_t
follow W_{t+1} e = W_t e - rate A_t^T (G_t e).
"""

from functools import cached_property
from math import prod

import numpy as np

from ..algebra import exact, field
from ..algebra import extension as ext
from ..algebra.extension import ZERO, Ext
from ..algebra.layout import Layout
from ..algebra.low_rank import factorised
from ..algebra.vectors import Vector
from ..circuit.levels import STATES
from ..errors import UnsatisfiedWitnessError
from ..kernels import sites as kernels
from ..kernels.host import multiply, outer_product
from ..kernels.threads import in_parallel
from ..kernels.tiles import bit_reversed, embed_tiles, tile_size
from ..ops.leaves import InputArray
from ..ops.ranges import Lookup, cut, signed_bound
from ..protocol.claims import Term
from ..protocol.contraction import Block
from ..protocol.forms import Forms
from ..protocol.gate import Slots
from ..protocol.membership import LOG_BLOCK, Randomness, Sites
from ..protocol.plan import Plan
from . import folds, states
from .aggregate import embed, one_site, over_sites
from .forms import values_of_forms

_KEPT, _SHARED = 2**16, 2**22  # entries of a virtual tensor whose values are kept, and kept for all readers of one level


class Witness:
    """A chunk's integers.

    plan: its sizes. computed: what the run keeps for the proof (``Run.witness``). initial, final: int64 arrays of the first states (before
    the coarse shift) and the last ones. bounds: of the circuit. check: False lets values outside their tables pass (a lying prover's,
    in tests).
    """

    def __init__(self, plan: Plan, computed, initial: tuple, final: tuple, bounds, check: bool = True):
        self.plan, self.circuit, self.bounds, self.check = plan, plan.circuit, bounds, check
        self._places: dict[int, np.ndarray | None] = {}
        self._values, self.folded, self._of_level = dict(computed.values), {}, {}  # the last one: what only one contraction needs
        self.initial = initial
        self.tensors: dict = {}
        kept: dict = {}
        for (name, i), array in computed.forms.items():
            kept.setdefault(i, {})[name] = array
        for i in dict.fromkeys((*self.circuit.advice, *self.circuit.lookups)):
            value = np.asarray(self._values[i])
            found = self.circuit.nodes[i].operation.witness(i, {"value": value, **kept.get(i, {})}, self.circuit)
            self.tensors |= {key: tensor.astype(np.uint32) for key, tensor in found.items()}
        self.hats = {s: computed.states["hat", s] for s in self.circuit.recurrent if ("hat", s) in computed.states}
        self.tensors |= states.tensors(self.circuit, self.hats, computed.states, final)
        self._show({x: initial[x.tensor[1]] for x in plan.shown if x.tensor[0] != "form"})
        if not plan.formed:
            self.tensors |= self.multiplicities

    def show_forms(self, drawn: Forms) -> None:
        """Add what shows ranges of the first weights by random forms, once these are drawn; only then are all lookups known."""
        self._show(values_of_forms(self.plan, drawn, self.initial))
        self.tensors |= self.multiplicities

    def _show(self, values: dict) -> None:
        for x, integers in values.items():
            shifted = integers + signed_bound(x.width)
            self._inside(x.name, shifted.reshape(-1), x.width)
            self.tensors |= {key: limb.astype(np.uint32) for key, limb in cut(x.name, shifted, x.width, self.circuit.table_bits).items()}

    # ---- lookups ----------------------------------------------------------------------------------------------
    def columns(self, lookup: Lookup) -> list[np.ndarray]:
        """The looked-up values, one non-negative array per column of the table."""
        if lookup.key[0] == "input":
            k = lookup.key[1]
            found = [self._input(k) + signed_bound(self.circuit.inputs[k].bits + 1)]
        else:
            found = [self.tensors[lookup.key]]  # of a virtual column the integers, not the form
        for _, (part,) in lookup.columns[1:]:
            tensor = self.tensors[part.key]
            found += [tensor[..., k] for k in range(part.size)] if part.along == "columns" else [tensor]
        return [np.stack([x, _plus(x, lookup.again)]) for x in found] if lookup.again else found

    def _input(self, k: int) -> np.ndarray:
        return next(self._values[i] for i in self.circuit.of(InputArray.name) if self.circuit.nodes[i].operation.index == k)

    @cached_property
    def multiplicities(self) -> dict:
        """How often each row of each table is looked up; UnsatisfiedWitnessError for a value outside its table."""
        counts = {table: np.zeros(1 << table.width, dtype=np.int64) for table in self.plan.sites.tables}
        for lookup in self.plan.sites.lookups:
            rows = lookup.table.rows(self.columns(lookup)).reshape(-1)
            rows = self._inside(lookup.key, rows, lookup.table.width)
            counts[lookup.table] += np.bincount(rows, minlength=1 << lookup.table.width)
        return {table.key: count.reshape(table.shape).astype(np.uint32) for table, count in counts.items()}

    def _inside(self, name: tuple, rows: np.ndarray, width: int) -> np.ndarray:
        """Those of these integers that a table of so many bits has; UnsatisfiedWitnessError if that is not all of them."""
        if not rows.size or int(rows.min()) >= 0 and int(rows.max()) < 1 << width:
            return rows
        inside = (rows >= 0) & (rows < 1 << width)
        if self.check:  # places, and no values: errors end up in logs
            places = np.flatnonzero(~inside)
            raise UnsatisfiedWitnessError(
                f"{name}: {len(places)} values leave their range of {width} bits, at entries "
                f"{', '.join(map(str, places[:10]))}{', ...' * (len(places) > 10)}"
            )
        return rows[inside]

    def leaves(self, sites: Sites, randomness: Randomness):
        """Numerators less 1 (F) and denominators (K) of the lookup tree's leaves, a tile a block; where there is only padding, None."""
        excess, q = {}, {}
        for i, table in enumerate(sites.tables):
            excess["table", i] = (field.from_int(-1 - self.tensors[table.key].astype(np.int64)),)
            q["table", i] = denominators(table.columns(), randomness.offset(i + 1), randomness.columns)

        def look_up(part):
            for i in part:
                lookup = sites.lookups[i]
                q["lookup", i] = denominators(self.columns(lookup), randomness.offset(sites.tag(lookup.table)), randomness.columns)

        in_parallel(look_up, len(sites.lookups))
        num_vars, size = sites.layout.num_vars, 1 << min(LOG_BLOCK, sites.layout.num_vars)
        numerators, denominators_ = (embed_tiles(sites.layout, x, num_vars, size, fill) for x, fill in ((excess, (0,)), (q, (1, 0))))
        used = -(-sites.layout.size // size)
        denominators_[used:] = [None] * (len(denominators_) - used)
        return bit_reversed(numerators), bit_reversed(denominators_)

    # ---- contractions -----------------------------------------------------------------------------------------
    def contraction(self, virtual: tuple[Term, ...], blocks: list[Block], layout: Layout):
        """The value of linear terms on virtual tensors, and the left and right tables of the blocks."""
        value = sum((x for part in in_parallel(lambda part: [self._value(virtual[i]) for i in part], len(virtual)) for x in part), ZERO)
        sides = []
        for side in ("left", "right"):
            tables: dict = {}

            def fold_operands(part, side=side, tables=tables):
                for j in part:
                    tables[j] = self._operand(blocks[j].left, blocks[j].shape) if side == "left" else self._right(blocks[j])

            in_parallel(fold_operands, len(blocks))
            sides.append(tuple(embed(layout, {j: t[c] for j, t in tables.items()}) for c in range(2)) if blocks else None)
        self._of_level.clear()
        return value, tuple(sides)

    def _value(self, term: Term) -> Ext:
        """What a term on a virtual tensor amounts to."""
        kind, i = term.key
        groups = list(zip(term.groups, term.vectors, strict=True))
        folded = self.fold_state(kind, i, groups, ()) if kind in STATES else self.fold(i, groups, ())
        step = ext.stack([1]) if term.step is None else term.step
        return ext.dot(tuple(np.asarray(c) for c in folded), step) * term.scalar

    def _right(self, block: Block):
        """The right table of a block, K."""
        operand, shape = block.rights[0].operand, self.circuit.nodes[block.rights[0].operand.node].shape
        if len(operand.kept) < len(shape) or any(outer for right in block.rights for _, outer, _ in right.operand.groups):
            total = None
            for right in block.rights:
                table, step = self._operand(right.operand, block.shape), ext.mul(right.step, ext.stack([right.scalar]))
                table = multiply(table, tuple(c.reshape(-1, *(1,) * (len(block.shape) - 1)) for c in step))
                total = table if total is None else ext.add(total, table)
            return total
        terms = [
            Term((), x.scalar, x.step, tuple(axes for axes, _, _ in x.operand.groups), tuple(v for _, _, v in x.operand.groups))
            for x in block.rights
        ]
        values, _ = self._entries(operand.node, tuple(range(len(shape))))
        table = multiply(written_out(terms, (self.steps, *shape)), (values,))
        order = [0, *(1 + operand.kept[operand.positions.index(p)] for p in range(1, len(block.shape)))]
        return tuple(np.ascontiguousarray(c.transpose(order)) for c in table)

    def _operand(self, operand, shape: tuple[int, ...]):
        """An operand folded to the block's shape, K."""
        lifted = [position for _, outer, _ in operand.groups for position in outer]
        own = tuple(shape[p] for p in (0, *operand.positions))
        tables = []
        for index in np.ndindex(*(shape[p] for p in lifted)):
            at = dict(zip(lifted, index, strict=True))
            groups = []
            for axes, outer, vector in operand.groups:
                for position in outer:
                    vector = tuple(c.reshape(shape[position], -1)[at[position]] for c in vector)
                groups.append((axes, vector))
            tables.append(self._fold_operand(operand, groups))
        table = tuple(np.stack([np.asarray(t[c]) for t in tables], axis=-1).reshape(*own, *(shape[p] for p in lifted)) for c in range(2))
        order = np.argsort([0, *operand.positions, *lifted])
        return tuple(np.ascontiguousarray(c.transpose(order)) for c in table)

    def _fold_operand(self, operand, groups):
        """An operand folded to (steps, kept axes) by groups of its own axes."""
        shape, kept = self.circuit.nodes[operand.node].shape, operand.kept
        if any(set(axes) & set(kept) and not set(axes) <= set(kept) for axes, _ in groups):
            return self._fold_general(operand.node, groups, kept)
        table = self.fold(operand.node, [g for g in groups if not set(g[0]) & set(kept)], kept)
        for axes, vector in groups:
            if set(axes) & set(kept):
                order = sorted(range(len(kept)), key=lambda j: kept[j])
                spread = [shape[kept[j]] if kept[j] in axes else 1 for j in order]
                back = np.argsort(order)
                table = multiply(table, tuple(c.reshape(spread).transpose(back)[None] for c in vector))
        return table

    def fold(self, i: int, groups: list, kept: tuple[int, ...]):
        """sum over all axes but ``kept`` of node i times the groups' vectors: K (steps, kept axes in the given order)."""
        node = self.circuit.nodes[i]
        if len(kept) == len(node.shape) and not groups:
            return self._entries(i, kept)
        found = self._of_level if kept else self.folded  # what keeps no axis is small, and several states are made of it
        return self.once(("node", i, kept), groups, lambda: node.operation.fold(i, node, groups, kept, self), found)

    def once(self, name: tuple, groups: list, fold, found: dict):
        """``fold()``, for this name and these vectors once. found: where it is kept."""
        if not all(isinstance(vector, Vector) for _, vector in groups):
            return fold()
        name = *name, *groups
        if name not in found:
            found[name] = fold()
        return found[name]

    def _entries(self, i: int, kept: tuple[int, ...]):
        """Node i entry by entry, its axes in this order: K, of which the second component is 0."""
        values = field.from_int(np.ascontiguousarray(self.values(i).transpose(0, *(d + 1 for d in kept))))
        return values, np.zeros_like(values)

    def fold_values(self, i: int, groups: list, kept: tuple[int, ...]):
        """The same from the values written out, or from the places of ones."""
        places = self.places(i)
        found = None if places is None else folds.by_places(places, self.shape(i), groups, kept)
        return found or self.fold_array(self.values(i), groups, kept, self.bounds.nodes[i].bit_length())

    def places(self, i: int) -> np.ndarray | None:
        """See ``Operation.places``."""
        if i not in self._places:
            node = self.circuit.nodes[i]
            self._places[i] = node.operation.places(i, node, self)
        return self._places[i]

    def shape(self, i: int) -> tuple[int, ...]:
        return self.circuit.nodes[i].shape

    def fold_array(self, values, groups, kept, bits):
        """Fold an int64 array (leading axis: steps) by groups of axes that are all summed, the longest one first."""
        groups = sorted(groups, key=lambda group: -len(group[1][0])) or [((), ext.stack([1]))]
        (first, vector), others = groups[0], groups[1:]
        rest = [d for group, _ in others for d in group]
        folded = folds.along_axes(values, first, [*kept, *rest], vector, bits)
        if others:
            weights = ext.stack([1])
            for _, v in others:
                weights = outer_product(weights, v)
            table = tuple(c.reshape(-1, len(weights[0])) for c in folded)
            folded = one_site(kernels.combine, table, tuple(np.broadcast_to(c, table[0].shape) for c in weights))
        shape = len(values), *(values.shape[d + 1] for d in kept)
        return tuple(c.reshape(shape) for c in folded)

    def _fold_general(self, i, groups, kept):
        """As ``fold``, for groups that mix kept and summed axes: entry by entry."""
        shape = self.circuit.nodes[i].shape
        table = ext.from_base(field.from_int(self.values(i)))
        for axes, vector in groups:
            spread = [shape[d] if d in axes else 1 for d in range(len(shape))]
            table = multiply(table, tuple(c.reshape(1, *spread) for c in vector))
        for d in sorted(set(range(len(shape))) - set(kept), reverse=True):
            table = ext.sum(table, axis=d + 1)
        order = [sorted(kept).index(d) + 1 for d in kept]
        return tuple(np.ascontiguousarray(c.transpose(0, *order)) for c in table)

    multiply = staticmethod(multiply)  # for operations, which know of no kernels

    def fold_state(self, kind: str, p: int, groups: list, kept: tuple[int, ...]):
        """Rows of a state (a kind of ``levels.STATES``), folded: K (rows, kept axes in the given order)."""
        return states.fold(self, kind, p, groups, kept)

    def fold_product(self, node, groups, kept):
        """Fold the operand without kept axes first, then the other by the result: no matrix of the product's size.

        None where a group has axes of both operands, or axes of both are kept.
        """
        x, y = (self.circuit.nodes[j].shape for j in node.inputs)
        contracted = node.operation.contract
        free = [[d for d in range(len(s)) if d not in contracted[side]] for side, s in enumerate((x, y))]
        owner = [(0, d) for d in free[0]] + [(1, d) for d in free[1]]
        sides = ([], [])
        for axes, vector in groups:
            owners = {owner[d][0] for d in axes}
            if len(owners) > 1:
                return None
            sides[owners.pop()].append((tuple(owner[d][1] for d in axes), vector))
        kept_sides = {owner[d][0] for d in kept}
        if len(kept_sides) > 1:
            return None
        big = kept_sides.pop() if kept_sides else (0 if not sides[0] else 1)
        small = 1 - big
        length = int(np.prod([(x, y)[small][d] for d in contracted[small]]))
        vector = self.fold(node.inputs[small], sides[small], tuple(contracted[small]))
        vector = tuple(np.asarray(c).reshape(self.plan.steps, length) for c in vector)
        own_kept = tuple(owner[d][1] for d in kept)
        if sides[big]:
            table = self.fold(node.inputs[big], sides[big], own_kept + tuple(contracted[big]))
            shape = table[0].shape[: 1 + len(kept)]
            table = tuple(np.asarray(c).reshape(self.plan.steps, -1, length) for c in table)
            folded = one_site(kernels.combine, table, tuple(np.broadcast_to(c[:, None], table[0].shape) for c in vector))
            return tuple(c.reshape(shape) for c in folded)
        if (places := self.places(node.inputs[big])) is not None and list(contracted[big]) == sorted(contracted[big]):
            found = folds.by_places(places, (x, y)[big], [(tuple(contracted[big]), vector)], own_kept)
            if found is not None:
                return found
        values = self.values(node.inputs[big])
        shape = self.plan.steps, *(values.shape[d + 1] for d in own_kept)
        folded = folds.along_axes(values, tuple(contracted[big]), list(own_kept), vector, self.bounds.nodes[node.inputs[big]].bit_length())
        return tuple(c.reshape(shape) for c in folded)

    def values(self, i: int) -> np.ndarray:
        """Node i at every step, int64 (steps, ...). Only small or narrow tensors are asked for (see ``fold``)."""
        for known in (self._values, self._of_level):
            if i in known:
                return np.asarray(known[i])
        node = self.circuit.nodes[i]
        found = node.operation.at_steps(i, node, self)
        kept = self._values if node.operation.drawn or found.size <= _KEPT else self._of_level if found.size <= _SHARED else {}
        kept[i] = found  # several claims are made of it
        return found

    @property
    def steps(self) -> int:
        return self.plan.steps

    @property
    def first_step(self) -> int:
        return self.plan.first_step

    def state(self, kind: str, p: int) -> np.ndarray:
        """A state before ("param") or after ("next") each step, int64 (steps, ...)."""
        return states.values(self, kind, p)

    def evaluated(self, i: int) -> np.ndarray:
        """Node i at every step, from its inputs' values."""
        node = self.circuit.nodes[i]
        shapes, below = self.circuit.shapes(i), [self.values(j) for j in node.inputs]
        terms = node.operation.summed(shapes)
        limbs = None if terms is None else exact.split(*(self.bounds.nodes[j] for j in node.inputs), terms)
        return node.operation.over_steps(below, node, shapes, limbs)

    # ---- gates ------------------------------------------------------------------------------------------------
    def gates(self, groups: Slots, layout: Layout):
        """Tables of the sumcheck over gates: masks (F), and for each slot weights (K) and values (F)."""
        num_vars = layout.num_vars
        size = min(tile_size(num_vars), 1 << num_vars)
        masks = embed_tiles(layout, {m: (self.tensors["sign", m],) for m in groups.blocks}, num_vars, size, (0,))
        weights, values = [], []
        for slot in groups.gates:
            sites = [(gate, terms, groups.blocks[mask]) for mask, (gate, terms) in slot.items()]
            found = in_parallel(lambda part, sites=sites: [self._gate(*sites[i]) for i in part], len(sites))
            omega, narrow = ({mask: fill for mask in groups.blocks} for fill in ((0, 0), (0,)))
            for mask, tables in zip(slot, (tables for part in found for tables in part), strict=True):
                omega[mask], narrow[mask] = tables
            weights.append(embed_tiles(layout, omega, num_vars, size, (0, 0)))
            values.append(embed_tiles(layout, narrow, num_vars, size, (0,)))
        return masks, weights, values

    def _gate(self, gate: int, terms: list[Term], shape: tuple[int, ...]):
        """Weights (K) and values (F) of one gate. By itself: a kernel that is vmapped over the sites takes twice the time."""
        value = field.from_int(np.asarray(self._values[self.circuit.nodes[gate].inputs[1]]))
        return written_out(terms, shape), (value,)


def _plus(x: np.ndarray, number: int) -> np.ndarray:
    """Integers, or elements of F (uint64), plus a small number."""
    return field.add(x, np.full(1, number, np.uint64)) if x.dtype == np.uint64 else x.astype(np.int64) + number


def denominators(columns, offset: Ext, factors):
    """offset - sum of factors[j] * columns[j], NumPy K; a component that all entries share is one integer. The first factor is 1."""
    result = one_site(kernels.denominators, columns, ext.stack([offset]), ext.stack(factors[1 : len(columns)]))
    return result if len(result) == 2 else (*result, offset.c1)


def written_out(terms: list[Term], shape: tuple[int, ...]):
    """The sum of the terms' weights, K of this shape, steps first."""
    (weights,) = over_sites(kernels.low_rank, [factorised(vectors_of(terms), shape)], [prod(shape)])
    return tuple(np.asarray(c).reshape(shape) for c in weights)


def vectors_of(terms: list[Term]) -> list:
    """Each term's (axes, K vector), scalar included, as ``low_rank.factorised`` takes them; the step axis (if any) comes first."""
    result = []
    for term in terms:
        first = 0 if term.step is None else 1
        step = [((0,), Vector(ext.mul(term.step, ext.stack([term.scalar]))))] if first else [((), ext.stack([term.scalar]))]
        result.append(step + [(tuple(d + first for d in axes), v) for axes, v in zip(term.groups, term.vectors, strict=True)])
    return result
