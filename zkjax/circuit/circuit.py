"""The circuit: one training step as a graph of exact integer operations, its shapes, bounds, levels, file and digest.

A tensor of the graph is an integer array; ``value = integer * 2^-scale`` (the scale is information for people: the
statement is about the integers). The graph describes one step; in a proof every tensor has a step axis in front. ``Circuit``
lists the operations.

Linear operations and ``dot``, ``gate`` and parameters after the first step are *virtual*: never committed. Claims on
them go down level by level (``levels``). ``check`` refuses a graph in which a claim could go up.

PROTOCOL.md, section 5.
"""

import json
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import cached_property
from os import PathLike
from typing import Any

from ..display import Sheet, Shown, plain
from ..ops import OPERATIONS
from ..ops.operation import Leaves, Node
from ..ops.ranges import Lookup, limbs
from . import bounds, coarse, counts, file, lines, ranged, wellformed
from .bounds import Bounds, Longest
from .counts import Counts
from .descent import learning_rates
from .levels import Levels, levels
from .parts import OTHER, PARAMETERS, Input, Loss, Parameter, Public, Update
from .sheet import sheet

MAX_JOINT_AXIS = 2**20  # entries of a vector over axes that a reshape has joined


@dataclass(frozen=True)
class Circuit(Shown):
    """A traced training step: a graph of exact integer operations, made by ``zkjax.trace`` or ``Circuit.load``.

    table_bits: width of the largest lookup table. max_steps: of a schedule, or None. period: steps after which states with a recurrence
    are rounded. public: what else the step hands on, and follows from its number alone. notes: what tracing rounded, for people.
    comparison: the first step beside the user's own (``rounding.Comparison``), where it was traced with arrays; it follows from the
    trainer's data. precision: all formats as a ``zkjax.Precision``, part of the recipe: ``circuit.precision.save("precision.json")``.
    own: the user's step, for what it returns besides its state. source: of each node the line that it came from (``lines``). None of the
    four is part of the digest, or of the circuit's file.
    """

    nodes: tuple[Node, ...]
    inputs: tuple[Input, ...]
    parameters: tuple[Parameter, ...]
    losses: tuple[Loss, ...]
    table_bits: int
    max_steps: int | None = None
    period: int = 1
    public: tuple[Public, ...] = ()
    notes: tuple[str, ...] = ()
    comparison: Any = field(default=None, compare=False, repr=False)
    precision: Any = field(default=None, compare=False, repr=False)
    own: Any = field(default=None, compare=False, repr=False)
    source: tuple[str, ...] = field(default=(), compare=False, repr=False)

    # ---- facts ------------------------------------------------------------------------------------------------
    @cached_property
    def blocks(self) -> dict[str, tuple[ranged.Blocks, ...]]:
        """Blocks of the matrices whose cells random forms can show in range, see ``ranged``."""
        return ranged.blocks(self)

    @property
    def batch_size(self) -> int:
        return self.inputs[0].shape[0]

    @property
    def outputs(self) -> tuple[str, ...]:
        """What a proof may reveal of every step: the loss, and what else tracing was asked for."""
        return tuple(dict.fromkeys(x.output for x in self.losses))

    def exact_loss(self, integers: Iterable[int | None], output: str = "loss") -> Fraction:
        """The loss, or another output, of one step from the integers of all summands: ``[x and x[t] for x in statement.losses]``."""
        return sum((x.factor * v for x, v in zip(self.losses, integers, strict=True) if x.output == output), Fraction(0))

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
    def limited(self) -> tuple[int, ...]:
        """The nodes whose values are checked against a range while training."""
        return tuple(i for i, node in enumerate(self.nodes) if node.operation.limits() is not None)

    @cached_property
    def rounded(self) -> tuple[int, ...]:
        """Those of them that round."""
        return tuple(i for i in self.limited if self.nodes[i].operation.rounds)

    @cached_property
    def drawn(self) -> tuple[int, ...]:
        """The nodes that are drawn from keys."""
        return tuple(i for i, node in enumerate(self.nodes) if node.operation.drawn)

    @cached_property
    def paced(self) -> tuple[int, ...]:
        """The nodes that multiply by a number of the step."""
        return tuple(i for i, node in enumerate(self.nodes) if node.operation.paced)

    def paces(self, step: int) -> list[int]:
        """These numbers in a step."""
        return [self.nodes[i].operation.numbers[step] for i in self.paced]

    def keys(self, first_step: int, steps: int) -> list[Any]:
        """Of each draw its keys in these steps, uint32 (steps, rows, 2)."""
        return [self.nodes[i].operation.keys(first_step, steps) for i in self.drawn]

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

    @cached_property
    def _first_riders(self) -> dict[tuple, int]:
        return {(node.inputs[0], node.operation): i for i, node in reversed([*enumerate(self.nodes)]) if node.operation.rides}

    def first_rider(self, i: int) -> int:
        """The first rider of its site with the same operation and attributes: this one, if it is the only one."""
        return self._first_riders[self.nodes[i].inputs[0], self.nodes[i].operation]

    def shapes(self, i: int) -> list[tuple[int, ...]]:
        """Those of what node i reads."""
        return [self.nodes[j].shape for j in self.nodes[i].inputs]

    def leaves(self, bounds: Sequence[int | None] | None = None, after: Sequence[int | None] | None = None) -> Leaves:
        """What the graph starts from; bounds: of the parameters; after: of those with a recurrence, after a step."""
        return Leaves(self.inputs, self.parameters, bounds, after)

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

    @cached_property
    def recurrent(self) -> tuple[int, ...]:
        """The states that are rounded once in a period."""
        return tuple(p for p, x in enumerate(self.parameters) if x.recurrence is not None)

    @cached_property
    def given(self) -> tuple[int, ...]:
        """The states that are not committed where a chain begins."""
        return tuple(p for p, x in enumerate(self.parameters) if x.given is not None)

    @cached_property
    def frozen(self) -> tuple[int, ...]:
        """The parameters that no step changes: they have a commitment of their own."""
        return tuple(p for p, x in enumerate(self.parameters) if x.frozen)

    @cached_property
    def held(self) -> dict[str, tuple[int, ...]]:
        """The states that a commitment to weights holds, by its parts: parameters, and what the circuit gives where a chain begins."""
        changing = tuple(p for p, x in enumerate(self.parameters) if not x.frozen and x.given is None)
        return {PARAMETERS: changing} | ({OTHER: self.given} if self.given else {})

    @cached_property
    def levels(self) -> Levels:
        """In which order claims go down; UnsupportedOperationError where one would go up."""
        return levels(self)

    def unit(self, p: int) -> Fraction:
        """The value of an integer 1 of a parameter; of one with a recurrence, where it is rounded."""
        return self.parameters[p].unit

    def inside(self, p: int) -> float:
        """The value of an integer 1 of a parameter where a step reads it."""
        found = self.parameters[p].recurrence
        return float(self.unit(p)) * (1.0 if found is None else 2.0**-found.inner)

    def scale(self, p: int) -> tuple[float, int]:
        """``unit`` as (u, s): u * 2^-s, u in [1, 2)."""
        mantissa, exponent = math.frexp(self.unit(p))
        return 2 * mantissa, 1 - exponent

    # ---- bounds -----------------------------------------------------------------------------------------------
    @cached_property
    def coarse_widths(self) -> tuple[int, ...]:
        """Of the ranges that the first proof of a chain shows of its coarse integers by limbs, if they begin below 1: ``coarse``."""
        return coarse.expected_widths(self)

    @cached_property
    def growing(self) -> tuple[int, ...]:
        """The states whose bounds grow from chunk to chunk, and which a range check bounds anew: exact ones with updates."""
        return tuple(p for p, x in enumerate(self.parameters) if x.updates)

    @cached_property
    def renewing_widths(self) -> tuple[int, ...]:
        """Of the ranges that a chunk shows which renews the bounds of its first weights, if these are below 1 in absolute value."""
        return tuple(max(1, self.scale(p)[1] + 1) * (p in self.growing) for p in range(len(self.parameters)))

    def given_bound(self, p: int, initial: Sequence[int]) -> int:
        """The bound of a state that the circuit gives where a chain begins; initial: bounds of all parameters there."""
        given = self.parameters[p].given
        return abs(given.integer) + (0 if given.copied is None else initial[given.copied] << given.shift)

    def bounds(self, initial: tuple[int, ...], steps: int, first_step: int = 0, cure: bool = True) -> Bounds:
        """Derive every bound for a chunk whose parameters start within ``initial`` (absolute values, one per parameter).

        Raises PrecisionError, naming the operation, where a relation or an integer could reach 2^63; with ``cure``, which takes
        many times as long, it says what to change.
        """
        return bounds.derive(self, initial, steps, first_step, cure)

    def node_bounds(self) -> list[int | None]:
        """Largest absolute value of each node whatever the parameters are; None where it depends on theirs."""
        return bounds.of_nodes(self, None)

    def longest_chain(self, initial: tuple[int, ...] | None = None, first_step: int = 0) -> Longest:
        """For how many steps bounds hold from here on, in chunks of any length: one chunk of all steps has the largest bounds.

        initial: largest absolute values of the parameters before it; default: the least that a range check shows.
        """
        return bounds.longest_chain(self, initial, first_step)

    @cached_property
    def equations(self) -> dict[int, list[tuple]]:
        """Of each node, what its lookups show to be one modulo p: ``bounds.equations``."""
        return bounds.equations(self)

    # ---- sizes ------------------------------------------------------------------------------------------------
    def range_check(self, widths: Sequence[int]) -> tuple[int, int]:
        """Cells and lookups that it takes to show ranges of the initial states, by the width of each: ``ranged``."""
        return counts.range_check(self, widths)

    def counts(self, steps: int, widths: Sequence[int] | None = None) -> Counts:
        """Sizes of a chunk of ``steps`` steps that begins on the grid of periods. widths: of the ranges of its initial states, as
        ``coarse_widths`` has them of a chain's first chunk; None where no range is shown."""
        return counts.of_chunk(self, steps, widths)

    def rounding_widths(self, s: int) -> list[int]:
        """Of the tables in which the limbs of a state's rounding are looked up: those of the remainder, then those of the state."""
        found = self.parameters[s].recurrence
        return [width for form in (found.end, found.bits + 1) for _, width in limbs(form, self.table_bits)]

    def rounding(self) -> tuple[int, int, int]:
        """What the end of a period takes: cells of the states if steps follow, cells of limbs, and lookups."""
        entries = [(math.prod(self.parameters[s].shape), len(self.rounding_widths(s))) for s in self.recurrent]
        return sum(n for n, _ in entries), sum(n * (count - 2) for n, count in entries), sum(n * count for n, count in entries)

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
        self._checked  # noqa: B018
        return self

    @cached_property
    def _checked(self) -> None:
        wellformed.check(self)

    def describe(self, i: int) -> str:
        """A node for people: index, operation, label, shape."""
        node = self.nodes[i]
        label = f" [{plain(node.label)}]" if node.label else ""
        return f"operation {i} {node.op}{label} of shape {node.shape}"

    def updated(self, first_step: int = 0, steps: int | None = None) -> tuple[bool, ...]:
        """Of each parameter whether it has a recurrence, or some of its rates is not 0 in these steps (None: all)."""

        def rates(update: Update) -> tuple[int, ...]:
            return update.rates if len(update.rates) == 1 or steps is None else update.rates[first_step : first_step + steps]

        return tuple(p.recurrence is not None or any(any(rates(u)) for u in p.updates) for p in self.parameters)

    def __repr__(self) -> str:
        return f"Circuit({self.digest().hex()[:16]}: {len(self.nodes)} operations, {len(self.parameters)} parameters)"

    def sheet(self) -> Sheet:
        """What the digest covers, what it costs (sizes are per step), and, set apart, the notes."""
        return sheet(self)

    @cached_property
    def learning_rates(self) -> tuple[tuple[float, ...] | None, ...] | None:
        """For each parameter its learning rate in every step (one if constant), as ``descent.learning_rates`` finds them."""
        return learning_rates(self)

    # ---- file -------------------------------------------------------------------------------------------------
    def to_json(self) -> dict[str, Any]:
        """The documented normal form, which ``digest`` hashes (without its notes)."""
        return file.tree(self)

    def digest(self) -> bytes:
        """SHA-256 of the canonical JSON without its notes: sorted keys, no white space.

        Notes tell people what tracing chose from a batch; an auditor who traces the same recipe without the data gets others.
        """
        return self._digest

    @cached_property
    def _digest(self) -> bytes:
        return file.digest(self)

    def save(self, path: str | PathLike[str]) -> None:
        """Write the circuit as readable JSON."""
        with open(path, "w", encoding="utf-8") as out:
            json.dump(self.to_json(), out, indent=1)

    def save_source(self, path: str | PathLike[str]) -> None:
        """Write which line of the source each operation came from, of a circuit that was traced: a file beside the circuit's."""
        lines.save(self, path)

    @staticmethod
    def load(path: str | PathLike[str]) -> "Circuit":
        """Read a circuit file; FormatError names what is wrong with it."""
        return Circuit.from_json(file.load(path))

    @staticmethod
    def from_json(data: Any) -> "Circuit":
        """Rebuild and check a circuit from its JSON form."""
        return Circuit(**file.fields(data)).check()
