"""The circuit: one training step as a graph of exact integer operations, its shapes, bounds, levels, file and digest.

A tensor of the graph is an integer array; ``value = integer * 2^-scale`` (the scale is information for people: the
statement is about the integers). The graph describes one step; in a proof every tensor has a step axis in front. ``Circuit``
lists the operations.

Linear operations and ``dot``, ``gate`` and parameters after the first step are *virtual*: never committed. Claims on
them go down in levels: rescale inputs and losses ▸ dots ▸ parameters ▸ dots of the updates ▸ gates ▸ advice. ``check``
refuses a graph in which a claim could go up.

PROTOCOL.md, section 5.
"""

import hashlib
import json
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import cached_property
from os import PathLike
from typing import Any, NamedTuple

from ..display import Sheet, Shown, Table, plain
from ..errors import FormatError, PrecisionError, UnsupportedOperationError
from ..files import read
from ..ops import BY_NAME, OPERATIONS
from ..ops.operation import LIMIT, MAX_RANK, Leaves, Node, require, result_shape
from ..ops.ranges import Lookup, farthest, residues_differ, signed_bound
from ..ops.tables import Table as LookupTable
from .descent import learning_rates
from .summary import net, rates

FORMAT_VERSION = 1
MAX_FILE = 2**27  # bytes: a schedule of 100,000 steps for 50 parameters takes half of it
MAX_SIZE = 2**40  # entries of a tensor
MAX_AXIS = 2**22  # entries of one axis of a circuit file
MAX_AXES = 2**24  # and of all axes of all its tensors: a verifier has vectors along them
MAX_JOINT_AXIS = 2**20  # entries of a vector over axes that a reshape has joined
BEYOND = 2**128  # in place of larger bounds, which would grow with every operation of a hostile circuit

# What a circuit's sheet says of its own words.
WORDS = (
    "Learning rates are found from operations alone: update and loss are evaluated in floating point, without rounding, on random\n"
    "values. Scales, names and labels are the author's words, under the digest like the operations."
)
NOTES = "notes, which are outside the digest: anyone can have written them"


@dataclass(frozen=True)
class Input:
    """One array of the batch: name, shape (batch axis first), scale, and integers in [-2^bits, 2^bits)."""

    name: str
    shape: tuple[int, ...]
    scale: int
    bits: int


@dataclass(frozen=True)
class Update:
    """``W[t+1] = W[t] - rates[t] * node``: one use of a parameter. One rate means a constant one."""

    node: int
    rates: tuple[int, ...]

    def rate(self, step: int) -> int:
        return self.rates[0] if len(self.rates) == 1 else self.rates[step]


@dataclass(frozen=True)
class Parameter:
    """A parameter: path in the user's pytree, shape, and the uses that its update sums over (none: frozen)."""

    path: str
    shape: tuple[int, ...]
    updates: tuple[Update, ...] = ()


@dataclass(frozen=True)
class Loss:
    """A summand of the loss: ``factor`` times the integer of a scalar node."""

    node: int
    factor: Fraction


@dataclass(frozen=True)
class Circuit(Shown):
    """A traced training step: a graph of exact integer operations, made by ``zkjax.trace`` or ``Circuit.load``.

    ========== ======================================= ==========================================================
    operation  inputs, attributes                      integers
    ========== ======================================= ==========================================================
    input      index                                   a batch gathered from the committed dataset
    param      index                                   a parameter at the start of the step
    const      shape, values                           public integers
    linear     x1.. xn, coefficients                   sum of coefficient * x, all of one shape
    transpose  x, permutation                          numpy.transpose
    reshape    x, shape                                numpy.reshape
    broadcast  x, shape, axes                          axis i of x becomes axis axes[i]; the others repeat
    sum        x, axes                                 sum over axes, which disappear
    slice      x, start, limit, stride                 x[start:limit:stride]
    pad        x, low, high, interior                  zeros around and between
    concatenate x1.. xn, axis                          numpy.concatenate
    reverse    x, axes                                 numpy.flip
    scale      x, c (a const), axes                    x times c, axis i of c aligned with axis axes[i] of x
    dot        x, y, contract, batch                   lax.dot_general; all axes in ``batch`` gives x * y
    rescale    x, shift, bits                          (x + 2^(shift-1)) >> shift, in [-2^bits, 2^bits); advice
    sign       y (a rescale)                           1 where y > 0, else 0; advice
    gate       m (a sign), y (a rescale)               m * y
    ========== ======================================= ==========================================================

    weight_scale: bits after the point of every parameter. table_bits: width of the largest lookup table.
    max_steps: number of steps that a schedule was traced for, or None. notes: what tracing rounded, for people.
    comparison: the first step beside the user's own (``rounding.Comparison``), where it was traced with arrays. It follows from
    the trainer's data: it is shown, and neither saved nor part of the digest.
    """

    nodes: tuple[Node, ...]
    inputs: tuple[Input, ...]
    parameters: tuple[Parameter, ...]
    losses: tuple[Loss, ...]
    weight_scale: int
    table_bits: int
    max_steps: int | None = None
    notes: tuple[str, ...] = ()
    comparison: Any = field(default=None, compare=False, repr=False)

    # ---- facts ------------------------------------------------------------------------------------------------
    @property
    def batch_size(self) -> int:
        return self.inputs[0].shape[0]

    def exact_loss(self, integers: Iterable[int]) -> Fraction:
        """The loss of one step from the integers of its summands, such as ``[x[t] for x in statement.losses]``."""
        return sum((x.factor * v for x, v in zip(self.losses, integers, strict=True)), Fraction(0))

    def of(self, op: str) -> list[int]:
        """Indices of the nodes with this operation."""
        return self._by_operation.get(op, [])

    @cached_property
    def _by_operation(self) -> dict[str, list[int]]:
        found: dict[str, list[int]] = {}
        for i, node in enumerate(self.nodes):
            found.setdefault(node.op, []).append(i)
        return found

    @cached_property
    def rounded(self) -> tuple[int, ...]:
        """The nodes whose values are checked against a range while training: those that round."""
        return tuple(i for i, node in enumerate(self.nodes) if node.operation.limits() is not None)

    def in_order(self) -> Iterator[int]:
        """All nodes, operation by operation, in the order of the protocol."""
        for operation in OPERATIONS:
            yield from self.of(operation.name)

    @cached_property
    def _riders(self) -> dict[int, tuple[int, ...]]:
        found: dict[int, list[int]] = {}  # a hostile circuit may have any number of one quotient
        for i, node in enumerate(self.nodes):
            if node.operation.rides:
                found.setdefault(node.inputs[0], []).append(i)
        return {i: tuple(riders) for i, riders in found.items()}

    def riders(self, i: int) -> tuple[int, ...]:
        """The nodes whose tensors are further columns of the lookup of this one's."""
        return self._riders.get(i, ())

    def shapes(self, i: int) -> list[tuple[int, ...]]:
        """Those of what node i reads."""
        return [self.nodes[j].shape for j in self.nodes[i].inputs]

    def leaves(self, bounds: tuple[int, ...] | None = None) -> Leaves:
        """What the graph starts from; bounds: of the parameters."""
        return Leaves(self.inputs, self.parameters, bounds)

    @cached_property
    def lookups(self) -> dict[int, list[Lookup]]:
        """Of each node that has some, in the order of the protocol; shapes without the step axis."""
        found = ((i, self.nodes[i].operation.lookups(i, self)) for i in self.in_order())
        return {i: lookups for i, lookups in found if lookups}

    @cached_property
    def advice(self) -> dict[int, dict]:
        """Committed tensors of each node that has some, in the order of the protocol: key to shape without the step axis."""
        found = ((i, self.nodes[i].operation.advice(i, self)) for i in self.in_order())
        return {i: shapes for i, shapes in found if shapes}

    def _first_below(self, offence) -> list:
        """For each node what ``offence`` says of an operation at which linear ones end that lead down from it, or None.

        offence: a non-linear node's index to an index, or None where nothing is wrong with it.
        """
        found: list[int | None] = []
        for i, node in enumerate(self.nodes):
            if node.operation.ends is None:
                below = (found[j] for j in node.operation.below(node.inputs))
                found.append(next((j for j in below if j is not None), None))
            else:
                found.append(offence(i))
        return found

    def coarse_bound(self, shift: int) -> int:
        """What a range check of initial parameters shows: they are 2^shift times signed integers that fit the largest table."""
        return signed_bound(self.table_bits) << shift

    # ---- bounds -----------------------------------------------------------------------------------------------
    def bounds(self, initial: tuple[int, ...], steps: int, first_step: int = 0, cure: bool = True) -> "Bounds":
        """Derive every bound for a chunk whose parameters start within ``initial`` (absolute values, one per parameter).

        Raises PrecisionError, naming the operation, where a relation or an integer could reach 2^63; with ``cure``, which takes
        many times as long, it says what to change.
        """
        if self.max_steps is not None and first_step + steps > self.max_steps:
            raise PrecisionError(
                f"steps {first_step}..{first_step + steps - 1} go beyond the {self.max_steps} steps that the learning-rate schedule "
                f"was traced for; give steps={first_step + steps} to zkjax.trace"
            )
        nodes, inside, final = self._chunk_bounds(initial, steps, first_step)
        problem = self._beyond(nodes, final)
        if problem is not None:
            advice = f"; {self._cure(initial, steps, first_step)}" if cure else ""
            raise PrecisionError(f"{problem} in a chunk of {steps} steps{advice}")
        return Bounds(nodes=tuple(nodes), inside=inside, final=final)

    def _chunk_bounds(self, initial: tuple[int, ...], steps: int, first_step: int):
        """Of nodes, of parameters before the last update, and after it."""
        narrow = self._node_bounds(None)
        growth = []  # per parameter: largest total change before the last update, and after it
        for parameter in self.parameters:
            before = end = 0
            for update in parameter.updates:
                u = narrow[update.node]
                if u is None:
                    raise UnsupportedOperationError(f"the update of parameter {parameter.path} depends on a parameter without rounding")
                rates = [abs(update.rate(t)) for t in range(first_step, first_step + steps)] if len(update.rates) > 1 else None
                end += u * (sum(rates) if rates is not None else abs(update.rates[0]) * steps)
                before += u * (sum(rates[:-1]) if rates is not None else abs(update.rates[0]) * (steps - 1))
            growth.append((before, end))
        inside = tuple(b + g[0] for b, g in zip(initial, growth, strict=True))
        final = tuple(b + g[1] for b, g in zip(initial, growth, strict=True))
        return self._node_bounds(inside), inside, final

    def _beyond(self, nodes: list[int], final: tuple[int, ...]) -> str | None:
        """What could leave the field, and how far it may reach."""
        for i in range(len(self.nodes)):
            if (worst := max(nodes[i], self.farthest(i, nodes))) >= LIMIT:
                return f"{self.describe(i)} may reach {_power(worst)}, beyond 2^63,"
        for loss in self.losses:
            if residues_differ(nodes[loss.node]) >= LIMIT:  # a revealed integer, and the one it stands for
                return f"the loss, {self.describe(loss.node)}, may reach {_power(nodes[loss.node])}, beyond 2^62,"
        for parameter, bound in zip(self.parameters, final, strict=True):
            if residues_differ(bound) >= LIMIT:  # the committed weights, and those that the next chunk takes them for
                return f"parameter {parameter.path} may reach {_power(bound)}, beyond 2^62,"
        return None

    def farthest(self, i: int, nodes: list[int] | tuple[int, ...]) -> int:
        """How far a column of this node's lookups can be from a row of its table, in absolute value; nodes: bounds of all nodes.

        Committed tensors lie in the tables in which they are looked up. Below p, what is looked up modulo p is an integer of the table.
        """
        found = ((c, (*((k, -nodes[j], nodes[j]) for k, j in read), *rest)) for c, read, rest in self._forms.get(i, ()))
        return max((farthest(*form) for form in found), default=0)

    @cached_property
    def _forms(self) -> dict[int, list[tuple]]:
        """Of each node, of the first column of each lookup less a row of its table: its constant, nodes that it reads, and the rest."""
        largest = {}
        for lookup in (x for found in self.lookups.values() for x in found):
            constant, parts = lookup.columns[0]
            if constant == 0 and parts == ((1, lookup.key),):
                largest[lookup.key] = (1 << lookup.table.width) - 1
        found: dict[int, list[tuple]] = {}
        for i, lookups in self.lookups.items():
            for lookup in lookups:
                constant, parts = lookup.columns[0]
                read = [(k, key[1]) for k, key in parts if key[0] == "node"]
                rest = [(k, 0, largest[key]) for k, key in parts if key[0] != "node"]
                found.setdefault(i, []).append((constant, read, [*rest, (-1, 0, (1 << lookup.table.width) - 1)]))
        return found

    def _problem(self, initial: tuple[int, ...], steps: int, first_step: int) -> str | None:
        """What could leave the field within so many steps."""
        nodes, _, final = self._chunk_bounds(initial, steps, first_step)
        return self._beyond(nodes, final)

    def longest_chain(self, initial: tuple[int, ...] | None = None, first_step: int = 0) -> "Longest":
        """How many steps a chain can have from here on, in chunks of any length: bounds grow by the same amount in every step.

        initial: largest absolute values of the parameters before it; default: the least that a range check shows.
        """
        initial = (self.coarse_bound(0),) * len(self.parameters) if initial is None else initial
        scheduled = None if self.max_steps is None else self.max_steps - first_step

        def problem(steps: int) -> str | None:
            return self._problem(initial, steps, first_step)

        most = LIMIT if scheduled is None else max(0, scheduled)
        if most == 0 or problem(most) is None:
            limit = f"the learning-rate schedule was traced for {self.max_steps} steps"
            cure = "give more steps to zkjax.trace"
            return Longest(None, "", "") if scheduled is None else Longest(most, limit, cure)
        longest = _largest(lambda steps: problem(steps) is None, most)
        cure = (
            "give their number to zkjax.trace (steps=), whose default formats are then coarser, or coarser formats (Precision); or start a "
            "new chain after so many (zkjax.train with parameters), whose range check bounds the weights anew"
        )
        return Longest(longest, f"{problem(longest + 1)} in step {first_step + longest}", cure)

    def _cure(self, initial: tuple[int, ...], steps: int, first_step: int) -> str:
        """What to change: the length of the chunk, the first weights, or, where these do not help, formats and sizes."""

        def fits(initial, steps: int) -> bool:
            return self._problem(initial, steps, first_step) is None

        longest = _largest(lambda n: fits(initial, n), steps)
        cures = [f"use chunks of at most {longest} steps"] if longest else []
        least = (self.coarse_bound(0),) * len(initial)  # that a range check shows
        again = "start a new chain from these weights (zkjax.train with parameters), whose range check bounds them anew"
        if fits(least, steps):
            cures.append(again if first_step else "use smaller initial parameters")
        if not longest:
            cures.append(
                f"give fewer of the {self.weight_scale} bits after the point of parameters, which are those of activations, of gradients "
                "and of the learning rate together (a smaller Precision.activation_scale or gradient_scale), or a learning rate that is "
                "neither tiny nor huge"
            )
        return ", or ".join(cures)

    def _node_bounds(self, parameters: tuple[int, ...] | None) -> list:
        """Largest absolute value of each node, 2^128 if it is more; None where it depends on parameters whose bounds are not given."""
        bounds: list = []
        leaves = self.leaves(parameters)
        for i, node in enumerate(self.nodes):
            bound = node.operation.bound([bounds[j] for j in node.inputs], self.shapes(i), leaves)
            bounds.append(bound and min(bound, BEYOND))
        return bounds

    # ---- sizes ------------------------------------------------------------------------------------------------
    def counts(self, steps: int, range_check: bool = False) -> "Counts":
        """Sizes of a chunk of ``steps`` steps; with ``range_check``, the coarse initial parameters are looked up too."""
        cells = sum(math.prod(shape) for found in self.advice.values() for shape in found.values())
        found = [x for lookups in self.lookups.values() for x in lookups]
        lookups = sum(math.prod(x.shape) for x in (*found, *self.inputs))
        tables = {x.table for x in found} | {LookupTable("range", x.bits + 1) for x in self.inputs}
        weights = sum(math.prod(p.shape) for p in self.parameters)
        if range_check:
            tables.add(LookupTable("range", self.table_bits))
        return Counts(
            cells=steps * cells,
            lookups=steps * lookups + (weights if range_check else 0),
            table_entries=sum(2**table.width for table in tables),
            parameters=weights,
        )

    def cost(self, i: int) -> tuple[int, int]:
        """Committed cells and lookups per entry and step of a node."""
        return len(self.advice.get(i, ())), len(self.lookups.get(i, ())) + self.nodes[i].operation.checked

    def with_table_bits(self, table_bits: int) -> "Circuit":
        """The same circuit with another width of the largest lookup table."""
        return replace(self, table_bits=table_bits)

    # ---- structure --------------------------------------------------------------------------------------------
    def check(self) -> "Circuit":
        """Check operations, shapes and levels. Raises FormatError for a malformed graph, UnsupportedOperationError
        where a claim could go up, or a verifier would need too much memory. Returns the circuit."""
        for i in range(len(self.nodes)):
            self._check_node(i)
        if not self.inputs or not self.parameters:
            raise FormatError("a circuit needs an input and a parameter")
        for x in self.inputs:
            if x.shape[:1] != self.inputs[0].shape[:1] or not x.shape:
                raise FormatError(f"input {x.name} of shape {x.shape}: the first axis of every input is the batch")
            if x.bits + 1 > self.table_bits:
                raise FormatError(f"input {x.name}: {x.bits + 1} bits do not fit a table of {self.table_bits}")
        for parameter in self.parameters:
            for update in parameter.updates:
                if self.nodes[update.node].shape != parameter.shape:
                    raise FormatError(f"the update of {parameter.path} of shape {parameter.shape} reads {self.describe(update.node)}")
                if len(update.rates) != 1 and len(update.rates) != self.max_steps:
                    raise FormatError(f"the update of {parameter.path} has {len(update.rates)} rates; expected 1 or {self.max_steps}")
        for loss in self.losses:
            if self.nodes[loss.node].shape != ():
                raise FormatError(f"a loss is not a scalar: {self.describe(loss.node)}")
        if sum(sum(x.shape) for x in (*self.nodes, *self.inputs, *self.parameters)) > MAX_AXES:
            raise UnsupportedOperationError(f"the axes of all tensors have more than {MAX_AXES} entries together")

        def ending(*kinds: str) -> list:
            return self._first_below(lambda i: i if self.nodes[i].operation.ends in kinds else None)

        wide, trained, unrounded = ending("dot"), ending("dot", "param"), ending("param")
        products = [i for i, node in enumerate(self.nodes) if node.operation.ends == "dot"]
        factors = {i: next((trained[j] for j in self.nodes[i].inputs if trained[j] is not None), None) for i in products}
        multiplied = self._first_below(factors.get)
        for i in products:
            for j in self.nodes[i].inputs:
                self._refuse(wide[j], f"an operand of {self.describe(i)} is a wide value")
        for parameter in self.parameters:
            for update in parameter.updates:
                self._refuse(unrounded[update.node], f"the update of {parameter.path} depends on a parameter without rounding")
                self._refuse(multiplied[update.node], f"the update of {parameter.path} multiplies a parameter")
        return self

    def _check_node(self, i: int) -> None:
        node = self.nodes[i]
        try:
            shape = result_shape(node.operation, self.shapes(i), self.leaves())
            require(shape == node.shape, "shape")
        except (TypeError, ValueError, KeyError, IndexError, AttributeError, OverflowError) as error:
            raise FormatError(f"{self.describe(i)}: {error}") from None
        node.operation.check(i, self)

    def _refuse(self, node: int | None, message: str):
        if node is not None:
            raise UnsupportedOperationError(f"{message} ({self.describe(node)}); a claim on it could not be reduced")

    def describe(self, i: int) -> str:
        """A node for people: index, operation, label, shape."""
        node = self.nodes[i]
        label = f" [{plain(node.label)}]" if node.label else ""
        return f"operation {i} {node.op}{label} of shape {node.shape}"

    def updated(self, first_step: int = 0, steps: int | None = None) -> tuple[bool, ...]:
        """Of each parameter whether some of its rates is not 0 in these steps (None: all)."""

        def rates(update: Update) -> tuple[int, ...]:
            return update.rates if len(update.rates) == 1 or steps is None else update.rates[first_step : first_step + steps]

        return tuple(any(any(rates(u)) for u in p.updates) for p in self.parameters)

    def __repr__(self) -> str:
        return f"Circuit({self.digest().hex()[:16]}: {len(self.nodes)} operations, {len(self.parameters)} parameters)"

    def sheet(self) -> Sheet:
        """What the digest covers, what it costs (sizes are per step), and, set apart, the notes."""
        counts, bounds = self.counts(1), self._node_bounds(None)
        rows = []
        for i, node in enumerate(self.nodes):
            cells, lookups = (n * math.prod(node.shape) for n in self.cost(i))
            largest = "" if bounds[i] is None else f"2^{math.log2(bounds[i]):.4g}" if bounds[i] else "0"
            name = node.operation.describe()
            reads, shape = " ".join(map(str, node.inputs)), "x".join(map(str, node.shape)) or "scalar"
            rows.append((str(i), name, reads, shape, str(node.scale), largest, f"{cells:,}", f"{lookups:,}", node.label))
        heading = ("#", "operation", "reads", "shape", "scale", "range", "cells", "lookups", "called by its author")
        rates = self.learning_rates or (None,) * len(self.parameters)
        updates = tuple(self._described(*x) for x in zip(self.parameters, self.updated(), rates, strict=True))
        notes = Table(tuple((str(i), note) for i, note in enumerate(self.notes, 1)), ("", NOTES), left=(1,), title=NOTES)
        return Sheet(
            f"Circuit {self.digest().hex()[:16]}: {len(self.nodes)} operations, batch {self.batch_size}, "
            f"weight scale {self.weight_scale}, tables of up to {self.table_bits} bits",
            (
                net(self),
                f"per step: {counts.cells:,} committed cells, {counts.lookups:,} lookups; "
                f"{counts.table_entries:,} table entries per proof; {counts.parameters:,} parameters",
                self._length(),
                Table(tuple(rows), heading, left=(1, 2, 3, 8), title="operations"),
                Table(updates, ("shape", "entries", "each step", "parameter"), left=(0, 2, 3), title="parameters"),
                WORDS,
                *([notes] if self.notes else []),
                *(() if self.comparison is None else self.comparison.parts()),
            ),
        )

    def _described(self, parameter: Parameter, updated: bool, found: tuple[float, ...] | None) -> tuple[str, ...]:
        shape = "x".join(map(str, parameter.shape)) or "scalar"
        if not updated:
            change = "nothing: frozen"
        elif found is not None:
            change = f"minus {rates(found)} times the gradient of the loss"
        else:
            uses = (f"{u.rates[0] if len(u.rates) == 1 else 'a schedule'} * #{u.node}" for u in parameter.updates)
            why = "too large to be evaluated here" if self.learning_rates is None else "NO MULTIPLE OF THE LOSS'S GRADIENT"
            change = f"minus {', '.join(uses)}: {why}"
        return shape, f"{math.prod(parameter.shape):,}", change, parameter.path

    @cached_property
    def learning_rates(self) -> tuple[tuple[float, ...] | None, ...] | None:
        """For each parameter its learning rate in every step (one if constant), as ``descent.learning_rates`` finds them."""
        return learning_rates(self)

    def _length(self) -> str:
        """How long a chain can be."""
        steps, limit, cure = self.longest_chain()
        return "" if steps is None else f"a chain can have {steps:,} steps at most: {limit}; for more, {cure}"

    # ---- file -------------------------------------------------------------------------------------------------
    def to_json(self) -> dict[str, Any]:
        """The documented normal form, which ``digest`` hashes (without its notes)."""
        return {
            "format": "zkjax circuit",
            "version": FORMAT_VERSION,
            "weight_scale": self.weight_scale,
            "table_bits": self.table_bits,
            "max_steps": self.max_steps,
            "inputs": [{"name": x.name, "shape": list(x.shape), "scale": x.scale, "bits": x.bits} for x in self.inputs],
            "parameters": [
                {"path": p.path, "shape": list(p.shape), "updates": [{"node": u.node, "rates": list(u.rates)} for u in p.updates]}
                for p in self.parameters
            ],
            "nodes": [
                {"op": n.op, "inputs": list(n.inputs), "scale": n.scale, "label": n.label, **_listed(n.operation.attributes())}
                for n in self.nodes
            ],
            "losses": [{"node": x.node, "factor": [x.factor.numerator, x.factor.denominator]} for x in self.losses],
            "notes": list(self.notes),
        }

    def digest(self) -> bytes:
        """SHA-256 of the canonical JSON without its notes: sorted keys, no white space.

        Notes tell people what tracing chose from a batch; an auditor who traces the same recipe without the data gets others.
        """
        return self._digest

    @cached_property
    def _digest(self) -> bytes:
        content = self.to_json()
        del content["notes"]
        text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
        return hashlib.sha256(text.encode()).digest()

    def save(self, path: str | PathLike[str]) -> None:
        """Write the circuit as readable JSON."""
        with open(path, "w", encoding="utf-8") as file:
            json.dump(self.to_json(), file, indent=1)

    @staticmethod
    def load(path: str | PathLike[str]) -> "Circuit":
        """Read a circuit file; FormatError names what is wrong with it."""
        raw = read(path, MAX_FILE)
        try:
            data = json.loads(raw.decode("utf-8"), object_pairs_hook=_object)
        except (ValueError, RecursionError) as error:
            raise FormatError(f"{path}: not a JSON file ({error})") from None
        return Circuit.from_json(data)

    @staticmethod
    def from_json(data: dict[str, Any]) -> "Circuit":
        """Rebuild and check a circuit from its JSON form."""
        lists = ("inputs", "parameters", "nodes", "losses", "notes")
        _keys(data, "circuit", ("format", "version", "weight_scale", "table_bits", "max_steps", *lists))
        if data["format"] != "zkjax circuit":
            raise FormatError(f"circuit: format is {data['format']!r:.60}, expected 'zkjax circuit'")
        if type(data["version"]) is not int or data["version"] != FORMAT_VERSION:
            raise FormatError(f"circuit: version {data['version']!r:.60}, this zkjax reads version {FORMAT_VERSION}")
        last = len(_list(data["nodes"], "nodes")) - 1
        inputs = []
        for i, item in enumerate(_list(data["inputs"], "inputs")):
            _keys(item, f"inputs[{i}]", ("name", "shape", "scale", "bits"))
            inputs.append(
                Input(
                    _text(item["name"], f"inputs[{i}].name"),
                    _shape(item["shape"], f"inputs[{i}].shape"),
                    _int(item["scale"], f"inputs[{i}].scale", 0, 60),
                    _int(item["bits"], f"inputs[{i}].bits", 0, 30),
                )
            )
        parameters = []
        for i, item in enumerate(_list(data["parameters"], "parameters")):
            where = f"parameters[{i}]"
            _keys(item, where, ("path", "shape", "updates"))
            updates = []
            for j, update in enumerate(_list(item["updates"], f"{where}.updates")):
                _keys(update, f"{where}.updates[{j}]", ("node", "rates"))
                updates.append(
                    Update(
                        _int(update["node"], f"{where}.updates[{j}].node", 0, last),
                        _ints(update["rates"], f"{where}.updates[{j}].rates", -LIMIT, LIMIT),
                    )
                )
            shape = _shape(item["shape"], f"{where}.shape")
            parameters.append(Parameter(_text(item["path"], f"{where}.path"), shape, tuple(updates)))
        leaves = Leaves(tuple(inputs), tuple(parameters))
        nodes: list[Node] = []
        for i, item in enumerate(_list(data["nodes"], "nodes")):
            where = f"nodes[{i}]"
            _keys(item, where, ("op", "inputs", "scale", "label"), open_ended=True)
            attributes = {k: _tupled(v, f"{where}.{k}") for k, v in item.items() if k not in ("op", "inputs", "scale", "label")}
            if not isinstance(item["op"], str) or item["op"] not in BY_NAME:
                raise FormatError(f"{where}: unknown operation {item['op']!r:.60}")
            kind = BY_NAME[item["op"]]
            if set(attributes) != set(kind.names()):
                raise FormatError(f"{where}: attributes {sorted(attributes)!s:.200}, expected {sorted(kind.names())}")
            operation = kind(**attributes)
            reads = _ints(item["inputs"], f"{where}.inputs", 0, i - 1)
            label = _text(item["label"], f"{where}.label")
            try:
                shape = result_shape(operation, [nodes[j].shape for j in reads], leaves)
            except (TypeError, ValueError, KeyError, IndexError, AttributeError, OverflowError) as error:
                raise FormatError(f"{where}: {item['op']} with malformed attributes ({error})") from None
            _check_size(shape, where)
            nodes.append(Node(operation, reads, shape, _int(item["scale"], f"{where}.scale", -(2**16), 2**16), label))
        losses = []
        for i, item in enumerate(_list(data["losses"], "losses")):
            _keys(item, f"losses[{i}]", ("node", "factor"))
            factor = _ints(item["factor"], f"losses[{i}].factor", -(2**256), 2**256)
            if len(factor) != 2 or factor[1] <= 0 or math.gcd(*factor) != 1:
                raise FormatError(f"losses[{i}].factor: not a reduced fraction")
            losses.append(Loss(_int(item["node"], f"losses[{i}].node", 0, last), Fraction(*factor)))
        max_steps = data["max_steps"]
        circuit = Circuit(
            nodes=tuple(nodes),
            inputs=tuple(inputs),
            parameters=tuple(parameters),
            losses=tuple(losses),
            weight_scale=_int(data["weight_scale"], "weight_scale", 0, 62),
            table_bits=_int(data["table_bits"], "table_bits", 1, 20),
            max_steps=None if max_steps is None else _int(max_steps, "max_steps", 1, 2**32),
            notes=tuple(_text(x, "notes") for x in _list(data["notes"], "notes")),
        )
        return circuit.check()


@dataclass(frozen=True)
class Bounds:
    """Largest absolute values: of every node, of every parameter inside the chunk, and after its last step."""

    nodes: tuple[int, ...]
    inside: tuple[int, ...]
    final: tuple[int, ...]


class Longest(NamedTuple):
    """How many steps a chain can have (None: as many as anybody wants), what ends it, and what to change."""

    steps: int | None
    limit: str
    cure: str


@dataclass(frozen=True)
class Counts:
    """Sizes of a chunk: committed advice cells, lookups, entries of all lookup tables, parameters (committed per chunk end)."""

    cells: int
    lookups: int
    table_entries: int
    parameters: int

    @property
    def cost(self) -> int:
        """What the choice of a table width minimises; an entry of a table costs about what a cell or a lookup does."""
        return self.cells + self.lookups + self.table_entries


def _largest(holds, beyond: int) -> int:
    """The largest n below ``beyond`` with ``holds(n)``, of a property that holds from 0 up to some number; 0 if there is none."""
    low, high = 0, beyond
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if holds(middle) else (low, middle)
    return low


def _power(value: int) -> str:
    return f"2^{math.log2(value):.2f}"


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object; ValueError if a key comes twice: two readers might take different ones."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key comes twice in one object")
    return found


def _listed(value):
    if isinstance(value, dict):
        return {k: _listed(v) for k, v in value.items()}
    return [_listed(v) for v in value] if isinstance(value, tuple) else value


def _tupled(value, where: str, depth: int = 0):
    """Nested lists of integers as tuples."""
    if isinstance(value, list) and depth < 4:
        return tuple(_tupled(v, where, depth + 1) for v in value)
    return _int(value, where, -LIMIT, LIMIT)


def _keys(item, where: str, keys: tuple[str, ...], open_ended: bool = False):
    if not isinstance(item, dict):
        raise FormatError(f"{where}: expected an object")
    if not set(keys) <= set(item) or not (open_ended or set(item) == set(keys)):
        raise FormatError(f"{where}: keys {sorted(item)!s:.200}, expected {sorted(keys)}")


def _list(value, where: str) -> list:
    if not isinstance(value, list):
        raise FormatError(f"{where}: expected a list")
    return value


def _int(value, where: str, low: int, high: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise FormatError(f"{where}: expected an integer in {low}..{high}, got {value!r:.60}")
    return value


def _ints(value, where: str, low: int, high: int) -> tuple[int, ...]:
    return tuple(_int(v, where, low, high) for v in _list(value, where))


def _shape(value, where: str) -> tuple[int, ...]:
    shape = _ints(value, where, 1, MAX_AXIS)
    _check_size(shape, where)
    return shape


def _check_size(shape: tuple[int, ...], where: str) -> None:
    if len(shape) > MAX_RANK or max(shape, default=1) > MAX_AXIS or math.prod(shape) > MAX_SIZE:
        raise FormatError(f"{where}: shape {shape!s:.80} has too many axes or entries")


def _text(value, where: str) -> str:
    """A string that is safe to print: no control characters, no terminal escapes."""
    if not isinstance(value, str) or not value.isprintable():
        raise FormatError(f"{where}: expected a string of printable characters")
    return value
