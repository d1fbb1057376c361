"""Learning rates: the optimizer's own update, run on a symbolic gradient, as one exact rate for each parameter and step.

The update must be -rate * gradient, with a rate that follows from the step alone. It is interpreted as the loss is, with the
optimizer's state as constants: first for one step, which tells what depends on the step; then, if anything does, for all
steps at once (``jax.vmap`` over the state). A later state is a function of the one before, so a sequence of states which
starts with the first and which the update maps to itself, one step on, is the sequence that training goes through.
"""

from dataclasses import dataclass
from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np

from ..errors import UnsupportedOperationError
from ..ops.arithmetic import Scale
from ..ops.leaves import MAX_CONSTANT, Param
from ..ops.moves import Broadcast
from . import places
from .arguments import explained
from .constants import Known
from .expressions import Combination, Expression, Numbers
from .graph import Graph
from .interpreter import interpret

MEMORY = "the optimizer's update depends on earlier gradients; use optax.sgd(schedule) without momentum"
CURE = "give the learning rate as a number, such as 1 / 64, or as an optax schedule"
BLOCK = MAX_CONSTANT  # steps that are interpreted at once
ROUNDS = 8  # of guesses at the states
MAX_SINGLE = 2**12  # steps that are interpreted one by one, where guesses fail


@dataclass(frozen=True)
class Gradient:
    """Stands for the gradient of a parameter."""

    index: int


def learning_rates(optimizer, params, leaves, steps: int | None) -> list[tuple[Fraction, ...]]:
    """The exact rate of each parameter: one, or one for each of ``steps`` where it follows from the step; (0,) for a frozen one."""
    if not (hasattr(optimizer, "init") and hasattr(optimizer, "update")):
        raise UnsupportedOperationError(f"the optimizer is {type(optimizer).__name__}; give an optax optimizer such as optax.sgd(1 / 64)")
    update = _Update(optimizer, params, leaves)
    rates, states, changing = update.first()
    if not any(changing):
        return [(r[0],) for r in rates]
    if steps is None:
        raise UnsupportedOperationError("the learning rate depends on the step; give trace(..., steps=...) the number of steps to tabulate")
    tables = update.table(states, steps)
    return [tuple(table) if changes else (table[0],) for table, changes in zip(tables, changing, strict=True)]


class _Update:
    """An optimizer's update as a function of gradients, its state's scalars and parameters."""

    def __init__(self, optimizer, params, leaves):
        structure = jax.tree.structure(params)
        kinds = [jax.dtypes.canonicalize_dtype(x.dtype) for x in leaves]
        shapes = jax.tree.unflatten(structure, [jax.ShapeDtypeStruct(x.shape, d) for x, d in zip(leaves, kinds, strict=True)])
        scalars = jax.tree.unflatten(structure, [jnp.zeros((), d) for d in kinds])
        with explained("the optimizer", optimizer.init, CURE):
            state = jax.eval_shape(optimizer.init, shapes)
            for path, leaf in jax.tree_util.tree_flatten_with_path(state)[0]:
                if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
                    raise UnsupportedOperationError("the optimizer keeps a random key; noise on gradients has no exact counterpart")
                if leaf.shape != ():
                    raise UnsupportedOperationError(
                        f"the optimizer keeps an array per parameter ({jax.tree_util.keystr(path)}, shape {leaf.shape}): momentum, Adam "
                        f"and the like would have to round it at every step; use optax.sgd(rate) without momentum"
                    )
            self.initial = [Known.of(np.asarray(x)) for x in jax.tree.leaves(optimizer.init(scalars))]
        self.state, state_structure = jax.tree.flatten(state)
        self.shapes, self.leaves, self.update = shapes, leaves, optimizer.update

        def function(gradients, state, params):
            with explained(
                "the optimizer's update", optimizer.update, CURE
            ):  # here, for JAX takes its own frames off an error that leaves it
                updates, state = optimizer.update(gradients, jax.tree.unflatten(state_structure, state), params)
            return jax.tree.leaves(updates), jax.tree.leaves(state)

        self.function = function

    def first(self) -> tuple[list[list[Fraction]], list[Known], list[bool]]:
        """Rates of the first step, the state after it, and for each parameter whether its rate depends on the step."""
        with explained("the optimizer's update", self.update, CURE):
            closed = jax.make_jaxpr(self.function)(self.shapes, self.state, self.shapes)
        tagged = [Known(k.values, k.shape, True) for k in self.initial]  # tagged: depends on the step
        updates, states = self._run(closed, tagged)
        rates = [self._rate(i, update, None) for i, update in enumerate(updates)]
        return rates, states, [x.tagged for x in updates]

    def table(self, second: list, steps: int) -> list[list[Fraction]]:
        """The rates of all steps, for each parameter."""
        if not all(isinstance(x, Known) for x in second):
            raise UnsupportedOperationError(MEMORY)
        states = self._states(second, max(steps, 2))
        tables: list[list[Fraction]] = [[] for _ in self.leaves]
        for start in range(0, steps, BLOCK):
            block = [column[start : start + BLOCK] for column in states]
            for table, rates in zip(tables, self._block_rates(block, start), strict=True):
                table.extend(rates)
        return [table[:steps] for table in tables]

    def _run(self, closed, state, wanted=(True, True)) -> tuple[list, list]:
        """(updates, next state) as expressions of gradients."""
        graph = Graph()
        self.gradients = [graph.node(Gradient(i), (), x.shape) for i, x in enumerate(self.leaves)]
        weights = [graph.node(Param(i), (), x.shape) for i, x in enumerate(self.leaves)]
        count = len(self.leaves)
        needed = [wanted[0]] * count + [wanted[1]] * len(self.state)
        try:
            results = interpret(graph, closed, [*self.gradients, *state, *weights], places.of_function(self.update), needed)
        except UnsupportedOperationError as error:
            raise UnsupportedOperationError(
                f"the optimizer's update is not -rate * gradient with a finite rate; use optax.sgd(rate). {error}"
            ) from None
        return results[:count], results[count:]

    def _blocks(self, states: list[list], wanted) -> tuple[list, list]:
        """As ``_run``, for as many steps at once as the columns of ``states`` are long."""
        n = len(states[0])
        shapes = [jax.ShapeDtypeStruct((n,), x.dtype) for x in self.state]
        with explained("the optimizer's update", self.update, CURE):
            closed = jax.make_jaxpr(jax.vmap(self.function, in_axes=(None, 0, None)))(self.shapes, shapes, self.shapes)
        return self._run(closed, [Known.spread(_column(x), (n,)) for x in states], wanted)

    def _states(self, second: list[Known], steps: int) -> list[list]:
        """For each scalar of the state its value before each step.

        The first guess: integers count on as they began, other numbers stay; then what the update makes of the guess.
        """
        first = [x.scalar for x in self.initial]
        step = [b.scalar - a if type(a) is int else 0 for a, b in zip(first, second, strict=True)]
        guess = [[a + t * d for t in range(steps)] if d else [a] * steps for a, d in zip(first, step, strict=True)]
        for _ in range(ROUNDS):
            following: list[list] = [[x] for x in first]
            for start in range(0, steps, BLOCK):
                for column, x in zip(following, self._next([g[start : start + BLOCK] for g in guess]), strict=True):
                    column.extend(x)
            following = [column[:steps] for column in following]
            if following == guess:
                return guess
            guess = following
        if steps > MAX_SINGLE:
            raise UnsupportedOperationError("the optimizer's state does not follow from the step's number alone; use a schedule")
        columns = [[x] for x in first]
        for _ in range(steps - 1):
            for column, x in zip(columns, self._next([[column[-1]] * 2 for column in columns]), strict=True):
                column.append(x[0])
        return columns

    def _next(self, states: list[list]) -> list[list]:
        _, following = self._blocks(states, (False, True))
        if not all(isinstance(x, Known) for x in following):
            raise UnsupportedOperationError(MEMORY)
        return [x.full().tolist() for x in following]

    def _block_rates(self, states: list[list], start: int) -> list[list[Fraction]]:
        """The rates of consecutive steps from ``start`` on; an error names the first step that has one."""
        n = len(states[0])
        try:
            padded = [column * 2 if n == 1 else column for column in states]
            updates, _ = self._blocks(padded, (True, False))
            return [self._rate(i, x, len(padded[0]))[:n] for i, x in enumerate(updates)]
        except UnsupportedOperationError as error:
            if n == 1:
                raise UnsupportedOperationError(f"the learning rate of step {start}: {error}") from None
            half = n // 2
            first = self._block_rates([column[:half] for column in states], start)
            second = self._block_rates([column[half:] for column in states], start + half)
            return [a + b for a, b in zip(first, second, strict=True)]

    def _rate(self, i: int, update, steps: int | None) -> list[Fraction]:
        """The rates of parameter i from its update; steps: along its first axis, or None where it has no such axis."""
        factors = _multiple(update, self.gradients[i], steps)
        if factors is None:
            raise UnsupportedOperationError(
                f"the update of parameter {self.leaves[i].path} is not -rate * gradient; weight decay, clipping and normalised updates "
                f"would have to round a parameter at every step; use optax.sgd(rate)"
            )
        return [-c for c in factors]


def _column(values: list) -> np.ndarray:
    column = np.empty(len(values), dtype=object)
    column[:] = values
    return column[:1] if all(v == values[0] for v in values) else column


def _multiple(x, gradient: Expression, steps: int | None) -> list[Fraction] | None:
    """The c, one for each step, with x = c * gradient; None if there are none."""
    count = steps or 1
    if isinstance(x, Known):
        return [Fraction(0)] * count if x.scalar == 0 else None
    if x is gradient and steps is None:
        return [Fraction(1)]
    repeated = x.does(Broadcast) and x.operation.axes == tuple(range(1, len(x.shape)))
    if repeated and steps is not None and x.inputs[0].shape == gradient.shape:
        inside = _multiple(x.inputs[0], gradient, None)
        return None if inside is None else inside * count
    if x.does(Combination):
        parts = [_multiple(y, gradient, steps) for y in x.inputs]
        if any(part is None for part in parts):
            return None
        return [sum((c * p for c, p in zip(x.operation.coefficients, row, strict=True)), Fraction(0)) for row in zip(*parts, strict=True)]
    if x.does(Scale) and steps is not None and x.operation.axes == (0,) and x.inputs[1].does(Numbers):
        inside = _multiple(x.inputs[0], gradient, steps)
        return None if inside is None else [a * b for a, b in zip(inside, x.inputs[1].operation.values, strict=True)]
    return None
