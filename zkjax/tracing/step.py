"""Reading: a training step ``step(state, *batch) -> (state, outputs)`` as expressions of its state and its batch.

The state is any pytree. What of it follows from constants and counters alone is *public*: it is interpreted as constants, for all
steps at once (``series.py``). All its other floating-point arrays are secret, and the states of a circuit.
"""

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import jax
import numpy as np

from ..circuit.parts import Public
from ..errors import UnsupportedOperationError
from ..ops.draw import Draw
from ..ops.leaves import MAX_CONSTANT, InputArray, Param
from .arguments import Leaf
from .constants import Known, by_entry
from .expressions import Combination, Drawn, Expression, Mask, reached
from .folding import kind, limits
from .graph import Graph
from .interpreter import interpret
from .intervals import interval
from .keys import step_key
from .series import Series, values

MAX_INTEGER = 2**19 - 1  # of the batch: what a committed array's widest range holds
FEWEST = 2  # steps that are interpreted where nothing is tabulated: enough to see what depends on the step
ROUNDS = 8  # of guesses at the public values of all steps
PREFIX = 64  # steps in which a period is looked for
MAX_SINGLE = 2**12  # steps that are interpreted one by one, where guesses fail


@dataclass(frozen=True, eq=False)
class State:
    """A secret array, leaf ``index`` of the state. start: where a chain begins, a constant, or the state that it copies; None: committed.

    following: what a step makes of it.
    """

    index: int
    leaf: Leaf
    start: Known | int | None
    following: Any


@dataclass(frozen=True, eq=False)
class Program:
    """A step that was read: its states and the outputs that a proof may reveal, in one graph; and what follows from the step alone."""

    graph: Graph
    outputs: dict[str, Any]
    states: tuple[State, ...]
    public: tuple[Public, ...]
    input_names: tuple[str, ...]
    place: str


@dataclass(frozen=True, eq=False)
class Start:
    """A leaf of the state, and what it is where a chain begins: a constant, the number of the leaf that it copies, or None: committed."""

    leaf: Leaf
    value: Known | int | None


def equations(step, structure, state: Sequence[Start], data, key, outputs: tuple[str, ...]):
    """The jaxpr of ``step(state, *batch) -> (state, outputs)``, or with a key of ``step(state, *batch, words)``: the user's code runs here.

    structure, state: its pytree and its leaves. data: a ShapeDtypeStruct for each array of the batch. key: two words, or None. outputs:
    names of the scalars among the step's that a proof may reveal. Results: the leaves of the new state, and these outputs.
    """

    def flat(leaves, *batch):
        after, found = step(jax.tree.unflatten(structure, leaves), *batch)
        return [*jax.tree.leaves(after), *(found[name] for name in outputs)]

    words = () if key is None else (jax.ShapeDtypeStruct((2,), np.uint32),)
    return jax.make_jaxpr(flat)([jax.ShapeDtypeStruct(x.leaf.shape, x.leaf.dtype) for x in state], *data, *words)


def read_step(
    closed, state: Sequence[Start], data, key, names, outputs: tuple[str, ...], steps: int | None, place: str, unusual: dict[str, str]
) -> Program:
    """Read the equations of a step; what is not said here is as for ``equations``.

    key: into which the step's number is folded. names: of the arrays of the batch. steps: for which what depends on the step is tabulated.
    place: of the step, where no line is known. unusual: as in ``Graph``.
    Raises UnsupportedOperationError, which names what has no exact counterpart.
    """
    return _Reader(closed, state, data, key, outputs, steps, place, unusual).program(names)


class _Reached(Exception):
    """Leaves that were taken to follow from the step alone, and that data or secrets reach."""

    def __init__(self, leaves: set[int]):
        super().__init__()
        self.leaves = leaves


class _Reader:
    """A step's equations, and its interpretation with some leaves as constants."""

    def __init__(self, closed, state, data, key, outputs, steps, place, unusual):
        self.closed, self.state, self.data, self.outputs, self.place, self.unusual = closed, state, data, outputs, place, unusual
        self.steps, self.tabulated = steps or FEWEST, steps is not None
        self.least: dict[int, float] = {}  # of states: no step takes them below
        self.keys = () if key is None else (step_key(key, self.steps),)

    def program(self, names) -> Program:
        public = self._public()
        graph, own, results = self._invariant(public)
        if more := self._unreached(own, results):
            public = self._public(more)
            graph, own, results = self._invariant(public)
        following, outputs = results[: len(self.state)], dict(zip(self.outputs, results[len(self.state) :], strict=True))
        if not self.tabulated and any(depends_on_step(x, drawn=True) for x in results if not isinstance(x, Known)):
            names = [self.state[i].leaf.path for i, x in public.items() if x.moving] + ["its key"] * len(self.keys)
            raise UnsupportedOperationError(
                f"what a step does depends on the step, by {', '.join(names)}; give trace(..., steps=...) the number of steps to tabulate"
            )
        place_of = {leaf: p for p, leaf in enumerate(own)}
        states = []
        for i, expression in own.items():
            found = self.state[i]
            start = place_of[found.value] if isinstance(found.value, int) else found.value
            states.append(State(i, found.leaf, start, self._checked(found.leaf, following[i])))
            graph.labels[expression] = found.leaf.path
        for name, x in zip(names, (x for x in graph.expressions if x.does(InputArray)), strict=True):
            graph.labels[x] = name
        for name, x in outputs.items():
            if isinstance(x, Known) and not _finite(x):
                raise UnsupportedOperationError(f"the {name} is not finite, whatever the data are, at {self.place}")
        counters = tuple(_tabulated(self.state[i], following[i]) for i in public)
        return Program(graph, outputs, tuple(states), counters, names, self.place)

    def _invariant(self, public: dict[int, Known]) -> tuple[Graph, dict[int, Expression], list]:
        """The interpretation under the bounds of states that a step keeps: those of what a chain begins with, else 0, else none.

        Second moments are never below 0, and what is added up of squares never below its beginning.
        """
        first = {
            i: min(map(float, x.value.values.reshape(-1)))
            for i, x in enumerate(self.state)
            if isinstance(x.value, Known) and i not in public
        }
        self.least = {i: least for i, least in first.items() if least >= 0}
        while True:
            graph, own, results = self._interpret(public)
            lower = {i: interval(graph, results[i])[0] for i in self.least}
            kept = {i: least for i, least in self.least.items() if lower[i] >= least}
            if kept == self.least:
                return graph, own, results
            self.least = kept | {i: 0.0 for i, least in self.least.items() if i not in kept and least > 0 and lower[i] >= 0}

    def _interpret(self, public: dict[int, Known], wanted=None) -> tuple[Graph, dict[int, Expression], list]:
        """With these leaves as constants: the graph, the expressions of the others, and the results, None where they are not wanted."""
        graph, own = Graph(self.unusual), {}
        for i, x in enumerate(self.state):
            if i not in public:
                if i in self.least:
                    graph.assumed[len(own)] = self.least[i], math.inf
                own[i] = graph.node(Param(len(own)), (), x.leaf.shape)
        inputs = [_typed(graph, graph.node(InputArray(i), (), x.shape), x) for i, x in enumerate(self.data)]
        arguments = [public.get(i, own.get(i)) for i in range(len(self.state))]
        results = interpret(graph, self.closed, [*arguments, *inputs, *self.keys], self.place, wanted)
        return graph, own, [graph.tensor(x) if isinstance(x, Drawn) else x for x in results]

    def _checked(self, leaf: Leaf, x):
        if not isinstance(x, Known):
            return x
        if not _finite(x):
            raise UnsupportedOperationError(f"the loss's gradient is not finite, whatever the data are, at {self.place}")
        if x.compact()[0].size > MAX_CONSTANT:
            raise UnsupportedOperationError(f"{leaf.path} becomes a constant of more than {MAX_CONSTANT} entries at {self.place}")
        return x

    # ---- what follows from the step alone
    def _unreached(self, own: dict[int, Expression], results: list) -> set[int]:
        """The leaves whose first values are known and that nothing else reaches, as moments of a parameter that the loss does not read."""
        found = {i for i in own if isinstance(self.state[i].value, Known)}
        place_of = {x: i for i, x in own.items()}
        below = {i: [x for x in reached(results[i]) if x.does(Param, InputArray, Draw)] for i in found if not isinstance(results[i], Known)}
        while out := {i for i in found if any(place_of.get(x) not in found for x in below.get(i, ()))}:
            found -= out
        return found

    def _public(self, more: Collection[int] = ()) -> dict[int, Known]:
        """The leaves that no data and no secret reach, with their values: one, or a ``Series`` where the step changes them.

        more: of those that are floating-point arrays of equal numbers.
        """
        numbers = ((i, x.leaf, x.value) for i, x in enumerate(self.state) if isinstance(x.value, Known))
        public = {i: value for i, leaf, value in numbers if not leaf.floats or not leaf.shape or value.scalar is None or i in more}
        for i, x in enumerate(self.state):
            if not x.leaf.floats and i not in public:
                raise UnsupportedOperationError(f"{x.leaf.path} has dtype {x.leaf.dtype}, and its first value is not known")
        while True:
            try:
                return self._followed(public)
            except _Reached as found:  # by data, be it in a later step alone
                public = {i: x for i, x in public.items() if i not in found.leaves}

    def _followed(self, public: dict[int, Known]) -> dict[int, Known]:
        """These leaves, in all steps. ``_Reached`` tells of those that are none of them."""
        moving: set[int] = set()  # each of them follows from itself or from another one that moves
        while public:
            trial = {i: by_entry(lambda v: Series((v, v)), x.shape, x) if i in moving else x for i, x in public.items()}
            following = self._next(trial)
            found = {i for i in public if i not in moving and not _same(following[i], public[i])}
            moving |= found
            if not found:
                break
        return self._tables(public, moving) if moving else public

    def _next(self, public: dict[int, Known]) -> dict[int, Any]:
        """What the step makes of these leaves, which data and secrets do not reach in it; else ``_Reached`` is raised."""
        wanted = [i in public for i in range(len(self.state))] + [False] * len(self.outputs)
        following = dict(zip(range(len(self.state)), self._interpret(public, wanted)[2], strict=False))
        secret = {i for i in public if not isinstance(following[i], Known)}
        for leaf in (self.state[i].leaf for i in secret if not self.state[i].leaf.floats):
            raise UnsupportedOperationError(
                f"{leaf.path} of dtype {leaf.dtype} depends on data or parameters; only floating-point arrays of the state may, "
                f"at {self.place}"
            )
        if secret:
            raise _Reached(secret)
        return following

    def _tables(self, first: dict[int, Known], moving: set[int]) -> dict[int, Known]:
        """The values in all steps of those that move. A guess that the step maps to itself, one step on, is what training goes through.

        The first guess: integers count on as they began, other numbers stay; then what the step makes of the guess. The second one: what
        the first steps do comes again, period by period, as where every fourth step is another one.
        """
        second = self._next(first)
        guess = {i: by_entry(lambda *v: _continued(v, self.steps), x.shape, x, second[i]) if i in moving else x for i, x in first.items()}
        columns = [first]
        found = self._confirmed(first, moving, guess) or self._single(columns, moving, min(self.steps, PREFIX))
        if found is None:
            column = {i: [c[i] for c in columns] for i in moving}
            guess = {i: by_entry(lambda *v: _continued(v, self.steps), x.shape, *column[i]) if i in moving else x for i, x in first.items()}
            found = self._confirmed(first, moving, guess)
        if found is None and self.steps > MAX_SINGLE:
            names = ", ".join(self.state[i].leaf.path for i in sorted(moving))
            raise UnsupportedOperationError(
                f"what {names} are after {self.steps} steps was not found; trace fewer than {MAX_SINGLE} steps, or use an optax schedule"
            )
        return found or self._single(columns, moving, self.steps)

    def _confirmed(self, first: dict[int, Known], moving: set[int], guess: dict[int, Known]) -> dict[int, Known] | None:
        """The guess, or what the step has made of it, where the step maps it to itself; None where it does not in some rounds."""

        def later(start, following) -> Series:
            return Series((start, *(following.values[:-1] if isinstance(following, Series) else (following,) * (self.steps - 1))))

        for _ in range(ROUNDS):
            following = self._next(guess)
            shifted = {i: by_entry(later, x.shape, x, following[i]) if i in moving else x for i, x in first.items()}
            if all(_same(guess[i], shifted[i]) for i in moving):
                return guess
            guess = shifted
        return None

    def _single(self, columns: list[dict[int, Known]], moving: set[int], steps: int) -> dict[int, Known] | None:
        """Step by step, as far as ``columns`` have not gone; None if these are not all steps."""
        while len(columns) < steps:
            following = self._next(columns[-1])
            columns.append({i: following[i] if i in moving else x for i, x in columns[0].items()})
        if steps < self.steps:
            return None
        return {i: by_entry(lambda *v: Series(v), x.shape, *(c[i] for c in columns)) if i in moving else x for i, x in columns[0].items()}


def _continued(begun: tuple, steps: int) -> Series:
    """Numbers that go on as they have begun: integers with equal increments from period to period, others as in the last period."""
    whole = type(begun[0]) is int
    for period in range(1, max(2, len(begun) // 2)):
        changes = {b - a if whole else a == b for a, b in zip(begun, begun[period:], strict=False)}
        if len(changes) == 1 and (whole or changes == {True}):
            change = changes.pop() if whole else 0
            return Series(tuple(begun[t % period] + t // period * change if whole else begun[t % period] for t in range(steps)))
    return Series((*begun, *(begun[-1],) * (steps - len(begun)))[:steps])


def _tabulated(start: Start, following: Known) -> Public:
    """What a leaf is before every step, and after the last one."""
    leaf, first = start.leaf, [*start.value.full().reshape(-1)]
    later = [values(v) for v in following.full().reshape(-1)]
    steps = max(map(len, later), default=1)
    settled = steps == 1  # what follows is the same in every step
    table = [first, *([column[min(t, len(column) - 1)] for column in later] for t in range(steps))]
    changes = {b - a for row, after in zip(table, table[1:], strict=False) for a, b in zip(row, after, strict=True)}
    letter = kind(leaf.dtype)
    if len(changes) <= 1 and letter != "b":
        change = changes.pop() if changes else 0
        if letter == "i" or not change:
            return Public(leaf.path, leaf.shape, letter, tuple(Fraction(v) for v in first), int(change))
    entries = first if all(row == first for row in table) else [v for row in table for v in row]
    return Public(leaf.path, leaf.shape, letter, tuple(Fraction(v) for v in entries), settled=settled)


def depends_on_step(x: Expression, drawn: bool = False) -> bool:
    """Whether a tensor depends on a number of the step; drawn: or on keys for which there is a table."""
    for y in reached(x):
        if y.does(Combination) and any(isinstance(c, Series) for c in y.operation.coefficients):
            return True
        if drawn and y.does(Draw) and len(y.operation.words) > 2:
            return True
    return False


def _same(x: Known, y: Known) -> bool:
    return x.shape == y.shape and bool((x.full() == y.full()).all())


def _finite(x: Known) -> bool:
    return not any(isinstance(v, float) for entry in x.values.reshape(-1) for v in values(entry))


def _typed(graph: Graph, x, data):
    """An array of the batch as its dtype has it.

    A boolean is where the committed value is above 0, a sign that the proof shows, so that it is 0 or 1 in the loss whatever
    was committed; True and False are committed as 1 and 0. An integer takes those values of its dtype that an array's range can hold.
    """
    if kind(data.dtype) == "b":
        return Mask(graph.above(x))
    if kind(data.dtype) == "i":
        low, high = limits(data.dtype)
        graph.ranges[x] = max(low, -MAX_INTEGER - 1), min(high, MAX_INTEGER)
    return x
