"""What tracing reads of a user's program: a loss and an optimizer, or a training step of the user's own."""

import math
from collections import deque
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, islice
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from ..circuit import coarse
from ..circuit.circuit import Circuit
from ..errors import DataError
from ..kernels.settings import fixed
from . import places
from .arguments import NOTHING, STATE, as_keys, batch_arrays, check_loss, explained, in_words, input_names, key_words, state_leaves, unusual
from .arguments import parameters as parameter_leaves
from .constants import Known
from .expressions import SquareRoot
from .interpreter import OPTIMIZER
from .motions import Row, rows_of
from .own import OwnStep, folded
from .precision import Precision
from .series import values
from .starts import CURE, first_state, kept_by_optimizers, start_of, with_words
from .step import Program, Start, equations, read_step

AHEAD = 2  # steps that circuits are compared with: the first of a schedule, or of an adapter that begins with zeros, may move nothing
LOSS = "loss"  # the output that circuits are compared by
LATER = 32  # steps after which tensors that begin with zeros are looked at


@dataclass(frozen=True, eq=False)
class Source:
    """What tracing has read of the user's program: the step as it is and as expressions, and arrays; no formats yet.

    rows: of the program's states. step, state: the user's function, and a function that makes its state, a pytree of arrays; in both
    random keys are words. own: for what the step returns besides.
    """

    program: Program
    rows: tuple[Row, ...]
    step: Callable[..., Any]
    state: Callable[[], Any]
    batch: tuple[Any, ...]
    steps: int | None
    own: OwnStep

    def keys(self, step: int) -> tuple[np.ndarray, ...]:
        """What a step is given after its batch: the words of its key, if it has one."""
        return folded(self.own.key, step)

    @property
    def known(self) -> bool:
        """Whether arrays were given, not only shapes."""
        return all(isinstance(x, np.ndarray) for x in (*(s.leaf.array for s in self.program.states if s.start is None), *self.batch))

    @property
    def multiplied(self) -> bool:
        """Whether some state is multiplied, so that weights may have to be rounded with it."""
        return any(row.carry.get(p) != 1 for p, row in enumerate(self.rows))

    def samples(self) -> list[tuple[int, list[np.ndarray], tuple[Any, ...]]]:
        """Step, states and batch as samples of the values that occur; none where only shapes are known.

        What divides by a state that begins with zeros is another number in the first step than later, so a later one is looked at too.
        """
        first = [(0, self.first(), self.batch)] if self.known else []
        return first + self.later if first and any(x.does(SquareRoot) for x in self.program.graph.expressions) else first

    @cached_property
    def later(self) -> list[tuple[int, list[np.ndarray], tuple[Any, ...]]]:
        """States after some steps by the user's own code on the batch, and the batch; none where they are not finite."""
        ((states, _),) = deque(chain(self.ahead, self._first_steps), maxlen=1)
        step = min(LATER, (self.steps or LATER + 1) - 1)
        return [(step, states, self.batch)] if all(np.isfinite(x).all() for x in states) else []

    def compiled(self, told: Collection[str] | None = None):
        """The step by the user's own code, compiled fast rather than well: it is run for some dozens of times at most.

        told: of its outputs these alone are computed; None: all. Where a step of one's own returns no dictionary, they have no names.
        """

        def step(*arguments):
            state, outputs = self.step(*arguments)
            if told is not None:
                outputs = {name: x for name, x in outputs.items() if name in told} if isinstance(outputs, dict) else {}
            return state, outputs

        return jax.jit(step, compiler_options={"xla_backend_optimization_level": 0})

    def trained(self, batches, told: Collection[str] | None = None) -> Iterator[tuple[list[np.ndarray], dict]]:
        """After a step by the user's own code on each of these batches: all states, and the step's outputs, or those that are ``told``."""
        state, step = self.state(), self.compiled(told)
        for t, batch in enumerate(batches):
            with fixed(x64=False):  # the step as it was traced
                state, outputs = step(state, *batch, *self.keys(t))
                leaves = jax.tree.leaves(state)
                states = [np.asarray(leaves[x.index]) for x in self.program.states]
            yield states, outputs

    @cached_property
    def ahead(self) -> list[tuple[list[np.ndarray], dict]]:
        """All states and the loss, if there is one, after each of the first steps by the user's own code on the batch."""
        if all(row.frozen(p) for p, row in enumerate(self.rows)) and LOSS not in self.program.outputs:  # nothing to compile for
            return [(self.first(), {})] * AHEAD
        return [*islice(self._first_steps, AHEAD)]

    @cached_property
    def _first_steps(self) -> Iterator[tuple[list[np.ndarray], dict]]:
        """Of one compiled step: what ``ahead`` has taken is left out for ``later``."""
        return self.trained([self.batch] * LATER, told=(LOSS,))

    def first(self) -> list[np.ndarray]:
        """All states where a chain begins."""
        found: list[Any] = [s.leaf.array for s in self.program.states]
        for p, state in enumerate(self.program.states):
            if isinstance(state.start, Known):
                found[p] = state.start.full().astype(np.float64)
            elif state.start is not None:
                found[p] = found[state.start]
        return found

    @cached_property
    def sizes(self) -> dict[int, tuple]:
        """Of each state the first one that it is equal to where a chain begins, and the largest absolute value; 1 if it is not known."""
        found: dict[int, tuple] = {}
        for p, state in enumerate(self.program.states):
            if isinstance(state.start, Known):
                found[p] = p, max(abs(float(v)) for v in state.start.values.reshape(-1))
            elif state.start is not None:
                found[p] = found[state.start] if state.start in found else (state.start, self.program.states[state.start].leaf.largest)
            else:
                same = (q for q in range(p) if self.program.states[q].start is None and _equal(self.program.states[q].leaf, state.leaf))
                found[p] = next((found[q] for q in same), (p, state.leaf.largest))
        return found

    @cached_property
    def remembered(self) -> dict:
        """What was looked ahead of its states, for all circuits that are tried."""
        return {}

    @cached_property
    def frozen(self) -> list:
        """The committed parameters that stay as they are."""
        states = enumerate(zip(self.program.states, self.rows, strict=True))
        return [x.leaf for p, (x, row) in states if row.frozen(p) and x.start is None]

    def rate_tolerance(self, precision: Precision) -> float:
        """How far the first step's rates may be off; a schedule that begins with small ones may lose them."""
        tables = [values(c) for row in self.rows for c in (*row.carry.values(), *row.feeds.values())]
        largest = max((abs(v) for table in tables for v in table), default=1)
        return math.inf if any(len(table) > 1 and 16 * abs(table[0]) < largest for table in tables) else precision.rate_tolerance

    def initial_bounds(self, circuit: Circuit) -> tuple[int, ...]:
        """What the first proof of a chain will show of each state."""
        sizes = {p: state.leaf.largest for p, state in enumerate(self.program.states) if p not in circuit.given}
        return coarse.shown(circuit, *coarse.forms(circuit, sizes))


def _equal(a, b) -> bool:
    """Whether two leaves hold the same numbers."""
    return a.array is not None and b.array is not None and a.shape == b.shape and np.array_equal(a.array, b.array)


def read(loss, optimizer, params, batch, steps: int | None, state=None, key=None, full: bool = False, auxiliary=None) -> Source:
    """What ``zkjax.trace`` reads: the loss is ``loss(params, *batch) -> scalar``.

    state: of a model; the loss is then ``loss(params, state, *batch) -> (scalar, new state)``. key: its last argument, if there is one.
    full: the batch is all data, without a batch axis. auxiliary: the loss with its auxiliary output, where it has one.
    """
    settings = unusual()
    with fixed(x64=False):  # the same source gives the same circuit, whatever the process has set
        leaves, given, batch = parameter_leaves(params), batch, batch_arrays(batch, full)
        others, keys = (() if x is None else (x,) for x in (state, key))
        words = None if key is None else key_words(key)
        check_loss(loss, params, (*others, *given, *keys))
        data, tree, applied = _shapes(batch), jax.tree.structure(params), _applied(loss, (params, *others), keys, "the loss", full)
        shapes = tree.unflatten(_shapes(leaves))
        others = in_words(others)
        carried = [start_of(x, True) for x in state_leaves(*others, kept_by_optimizers(*others), "state", STATE)] if others else []
        carried_shapes = jax.tree.structure(others).unflatten(_shapes([x.leaf for x in carried]))
        with explained("the loss", loss):
            value = jax.eval_shape(applied, shapes, *carried_shapes, *data, *in_words(keys))
        _check_value(value, bool(others))
        optimizer = with_words(optimizer, shapes)
        kept, kept_shapes = first_state(optimizer, shapes, leaves)
        step = told = _standard_step(applied, optimizer, bool(others))
        if auxiliary is not None:
            told = _telling_step(_applied(auxiliary, (params, *others), keys, "the loss", full), bool(others))
        structure = jax.tree.structure((shapes, *carried_shapes, kept_shapes))
        names, place = input_names(loss, len(batch), 1 + len(others)), places.of_function(loss)
        told, *_ = _with_data(told, batch, names)
        step, batch, names = _with_data(step, batch, names)
        with explained("the loss", loss):
            start = [*(Start(x, None) for x in leaves), *carried, *kept]
            closed = equations(step, structure, start, _shapes(batch), words, ("loss",))
        program = read_step(closed, start, _shapes(batch), words, names, ("loss",), _tabulated(steps), place, settings)

    def first():
        params = tree.unflatten([x.array for x in leaves])
        return params, *others, optimizer.init(params)

    return Source(program, rows_of(program), step, first, batch, _tabulated(steps), _own(told, structure, start, batch, words))


def read_own(step, state, batch, outputs: tuple[str, ...], steps: int | None, key=None, full: bool = False) -> Source:
    """What ``zkjax.trace_step`` reads: ``step(state, *batch) -> state``, or ``(state, outputs)``; key, full: as for ``read``."""
    settings = unusual()
    with fixed(x64=False):
        keys, words = (() if key is None else (key,)), None if key is None else key_words(key)
        check_loss(step, state, (*batch, *keys) if isinstance(batch, (tuple, list)) else batch, "train_step(state, *batch)")
        user, step, state = step, _applied(step, (state,), keys, "the step", full), in_words(state)
        kept, batch = kept_by_optimizers(state), batch_arrays(batch, full)
        data, structure, leaves = _shapes(batch), jax.tree.structure(state), state_leaves(state, kept)
        start = [start_of(*x) for x in zip(leaves, kept, strict=True)]
        if all(x.value is not None for x in start):
            raise DataError("the state holds no floating-point arrays beside what an optimizer keeps")
        with explained("the step", user):
            result = jax.eval_shape(step, structure.unflatten(_shapes(leaves)), *data, *in_words(keys))
        own = _with_outputs(step, structure, [(x.shape, x.dtype) for x in _shapes(leaves)], result, outputs)
        with explained("the step", user):
            names, place = input_names(user, len(batch)), places.of_function(user)
            own, batch, names = _with_data(own, batch, names)
            closed = equations(own, structure, start, _shapes(batch), words, outputs)
        program = read_step(closed, start, _shapes(batch), words, names, outputs, _tabulated(steps), place, settings)
    told = _own(own, structure, start, batch, words)
    return Source(program, rows_of(program), own, lambda: state, batch, _tabulated(steps), told)


def _own(step, structure, start, batch, words) -> OwnStep:
    leaves = tuple((x.leaf.path, jax.dtypes.canonicalize_dtype(x.leaf.dtype)) for x in start)
    return OwnStep(step, structure, leaves, tuple(x.dtype for x in _shapes(batch)), words)


def _with_data(step, batch, names):
    """Step, batch and names; of a program without data with an array that it does not read."""
    if batch:
        return step, batch, names
    return (lambda state, _, *keys: step(state, *keys)), (np.zeros((1, 1), np.float32),), (NOTHING,)


def _tabulated(steps: int | None) -> int | None:
    """A table of one number would be a constant."""
    return None if steps is None else max(steps, 2)


def _shapes(arrays) -> list[jax.ShapeDtypeStruct]:
    return [jax.ShapeDtypeStruct(x.shape, jax.dtypes.canonicalize_dtype(x.dtype)) for x in arrays]


def _with_outputs(step, structure, leaves, result, outputs: tuple[str, ...]):
    """A step that always returns (state, outputs), from what the user's returns. leaves: shapes and dtypes of the state."""

    def is_state(x) -> bool:
        return jax.tree.structure(x) == structure and [(y.shape, y.dtype) for y in jax.tree.leaves(x)] == leaves

    plain = is_state(result)
    if not plain and not (isinstance(result, tuple) and len(result) == 2 and is_state(result[0])):
        after = result[0] if isinstance(result, tuple) and len(result) == 2 else result
        pairs = zip(leaves, ((y.shape, y.dtype) for y in jax.tree.leaves(after)), strict=False)
        differs = next((f": an array of {a[1]} {a[0]} becomes one of {b[1]} {b[0]}" for a, b in pairs if a != b), "")
        raise DataError(f"train_step returns another state than it takes{differs}; return the new state, or (new state, outputs)")
    found = {} if plain else result[1]
    for name in outputs:
        if not isinstance(found, dict) or name not in found:
            names = ", ".join(map(str, found)) if isinstance(found, dict) else type(found).__name__
            raise DataError(
                f"outputs names {name!r}, which is not among the step's outputs ({names or 'none'}); return a dictionary of scalars"
            )
        _check_scalar(found[name], f"output {name!r}")

    def own(state, *batch):
        return (step(state, *batch), {}) if plain else step(state, *batch)

    return own


def _applied(function, first: tuple, last: tuple, what: str, full: bool):
    """The user's function, in whose first and last arguments, and in what it returns, random keys are words; full: of data in one sample.

    Its errors are explained here: JAX takes its own frames off what leaves it.
    """

    def applied(*arguments):
        with explained(what, function):
            end = len(arguments) - len(last)
            before, keys = as_keys(arguments[: len(first)], first), as_keys(arguments[end:], last)
            data = (x.reshape(x.shape[1:]) if full else x for x in arguments[len(first) : end])
            return in_words(function(*before, *data, *keys))

    return applied


def _standard_step(applied, optimizer, with_state: bool):
    """What optax's users write: the gradient, the optimizer's update of it, and its sum with the parameters."""

    def step(state, *batch):
        params, *others, kept = state
        value, gradient = jax.value_and_grad(applied, has_aux=with_state)(params, *others, *batch)
        if with_state:
            value, *others = value
        with explained("the optimizer's update", optimizer.update, CURE), jax.named_scope(OPTIMIZER):
            updates, kept = optimizer.update(gradient, kept, params)
            params = optax.apply_updates(params, updates)
        return (params, *others, kept), {"loss": value}

    return step


def _telling_step(applied, with_state: bool):
    """Of a loss with an auxiliary output a step that moves nothing, and tells both."""

    def step(state, *batch):
        params, *others, _ = state
        value, more = applied(params, *others, *batch)
        return state, {"loss": value, "aux": more[1] if with_state else more}

    return step


def _check_value(value, with_state: bool) -> None:
    """value: shapes of what the loss returns."""
    if with_state and (not isinstance(value, tuple) or len(value) != 2):
        raise DataError("with a state, the loss returns (scalar, new state), or (scalar, (new state, auxiliary output)) with has_aux=True")
    value = value[0] if with_state else value
    if isinstance(value, (tuple, list, dict)):
        raise DataError(
            f"the loss returns a {type(value).__name__}; return the scalar alone, or (scalar, auxiliary output) with has_aux=True"
        )
    _check_scalar(value, "the loss")


def _check_scalar(value, what: str) -> None:
    if not hasattr(value, "shape") or value.shape != () or not jnp.issubdtype(value.dtype, jnp.floating):
        raise DataError(f"{what} returns {value}; it must return one floating-point scalar, as for jax.grad")
