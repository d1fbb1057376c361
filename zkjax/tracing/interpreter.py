"""A jaxpr run on expressions and constants; nested ones are flattened.

Operations on constants are computed exactly (``folding.py``), those on data and parameters become expressions (``rules.py``).
Equations that the results do not need are not looked at, at any depth: dead code costs and refuses nothing.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial

import jax
import numpy as np
from jax.extend.core import ClosedJaxpr, Jaxpr, Literal

from ..errors import UnsupportedOperationError
from . import choices, entrywise, keys, masked, matrices, places, search
from .arguments import is_key
from .constants import Keys, Known, by_entry, every_step, map_known
from .expressions import Drawn, Expression, Mask, is_public
from .folding import conversion, fold, kind, limits, narrow
from .graph import Graph
from .rules import BOOLEAN, CURES, FLOAT_FIRST, INDEX, KEYS, MOVES, RULES, number
from .series import Refusal, Series

OPTIMIZER = "zkjax optimizer"  # scope of an optimizer's update
UPDATE = "(the optimizer's update)"  # in place of a line, where the optimizer is a library's
NONLINEAR = (
    "the optimizer's update is no sum of gradients, parameters and its own state, with finite coefficients that follow from the step (as "
    "those of optax.sgd with momentum, of weight decay, averages, schedules and MultiSteps are)"
)
MAX_ITERATIONS, MAX_UNROLLED = 2**16, 2**7  # of a loop over constants, and over data
UNBOUNDED = (
    "select_n",
    "add",
    "max",
    "min",
    "clamp",
    "eq",
    "ne",
    "lt",
    "le",
    "gt",
    "ge",
    "scatter",
    "scatter-add",
    "scatter-max",
)  # may read infinities
CALLS = ("jit", "pjit", "closed_call", "core_call", "remat", "remat2", "checkpoint", "custom_jvp_call", "custom_vjp_call")


def interpret(graph: Graph, closed, arguments, place: str, wanted=None) -> list:
    """Run a jaxpr on expressions and constants; nested jaxprs are flattened.

    place: where, if no line of the user's is known. wanted: which results are needed (default: all); the others are None.
    Raises UnsupportedOperationError, which names primitive, shapes and line.
    """
    try:
        return _run(graph, closed, arguments, place, wanted)
    except Refusal as error:
        raise UnsupportedOperationError(str(error)) from None


def _run(graph: Graph, closed, arguments, place: str, wanted=None, inside_custom_jvp=False) -> list:
    """The same of any jaxpr, at any depth; Refusals say where."""
    jaxpr, constants = _opened(closed)
    wanted = [True] * len(jaxpr.outvars) if wanted is None else wanted
    equations, needed = _live(jaxpr, wanted)
    environment = dict(zip(jaxpr.invars, arguments, strict=True))
    for variable, value in zip(jaxpr.constvars, constants, strict=True):
        if variable in needed:
            with _located(f"a captured value at {place}"):
                environment[variable] = _constant(value, variable.aval.dtype)

    def read(atom):
        return _constant(atom.val, atom.aval.dtype) if isinstance(atom, Literal) else environment.get(atom)

    for eqn, results in equations:
        where = places.of_equation(eqn) or place
        shapes, made = [tuple(x.aval.shape) for x in eqn.invars], len(graph.expressions)
        optimizes = OPTIMIZER in str(eqn.source_info.name_stack)
        with _located(f"primitive '{eqn.primitive.name}' on shapes {shapes} at {where}", optimizes):
            found = _apply(graph, eqn, [read(x) for x in eqn.invars], where, results, inside_custom_jvp)
        environment |= zip(eqn.outvars, found, strict=True)
        if line := places.line_of(eqn) or (UPDATE if optimizes else None):  # of what a library compiles by itself, the call's
            graph.lines |= {x: line for x in graph.expressions[made:] if x not in graph.lines}
    return [read(x) if use else None for x, use in zip(jaxpr.outvars, wanted, strict=True)]


@contextmanager
def _located(name: str, optimizes: bool = False) -> Iterator[None]:
    """Refusals get the name of the operation and the line, if they have none. optimizes: it is an optimizer's: cures are for losses."""
    try:
        yield
    except Refusal as error:
        where = error.where or name
        if optimizes:
            raise UnsupportedOperationError(f"{NONLINEAR}: {Refusal(error.reason, where=where)}") from None
        raise Refusal(error.reason, error.cure, where) from None


def _constant(value, dtype) -> Known | Keys:
    if isinstance(value, jax.core.Tracer):
        raise Refusal("a value of an earlier trace was kept; let the function keep no state between calls")
    if is_key(value):
        keys.check(str(jax.random.key_impl(value)))
        return keys.of_words(Known.of(np.asarray(jax.random.key_data(value))))
    kind(dtype)
    return Known.of(value, dtype)


def _opened(closed):
    return (closed.jaxpr, closed.consts) if isinstance(closed, ClosedJaxpr) else (closed, ())


def _inner(eqn):
    """The jaxpr that a call runs, or None if this is no call."""
    if eqn.primitive.name not in CALLS:
        return None
    return next((p for p in eqn.params.values() if isinstance(p, (ClosedJaxpr, Jaxpr))), None)


def _live(jaxpr, wanted) -> tuple[list, set]:
    """The equations that the wanted results need, each with which of its results are needed; and all variables needed.

    Printing is not needed; whatever else has an effect is, and will be refused if it cannot be traced.
    """
    needed = {v for v, use in zip(jaxpr.outvars, wanted, strict=True) if use and not isinstance(v, Literal)}
    live = []
    for eqn in reversed(jaxpr.eqns):
        results = [v in needed for v in eqn.outvars]
        inner, reads = _inner(eqn), eqn.invars
        if inner is not None:
            inside = _live(_opened(inner)[0], results)[1]
            reads = [x for x, v in zip(eqn.invars, _opened(inner)[0].invars, strict=True) if v in inside]
        effects = any("Debug" not in type(e).__name__ for e in eqn.effects)
        if any(results) or effects:
            live.append((eqn, results))
            needed |= {x for x in reads if not isinstance(x, Literal)}
    return live[::-1], needed


def _apply(graph, eqn, values, where: str, wanted, inside_custom_jvp) -> list:
    """The results of one equation."""
    name, inner = eqn.primitive.name, _inner(eqn)
    if "transpose" in str(eqn.source_info.name_stack) and not any(x.tagged for x in values if x is not None):
        values = [replace(x, tagged=True) if isinstance(x, Known) else x for x in values]  # the seed of a gradient is one of them
    constant = all(isinstance(x, Known) or x is None for x in values)
    if inner is not None:
        if (found := search.searched(graph, eqn, values, lambda jaxpr, known: _run(graph, jaxpr, known, where))) is not None:
            return found
        return _run(graph, inner, values, where, wanted, inside_custom_jvp or name == "custom_jvp_call")
    if name == "custom_linear_solve":  # how it is solved, not what is solved
        lengths, solve = eqn.params["const_lengths"], eqn.params["jaxprs"].solve
        first = lengths.matvec + lengths.vecmat
        return _run(graph, solve, [*values[first : first + lengths.solve], *values[sum(lengths) :]], where, None, inside_custom_jvp)
    if name == "cond" and isinstance(values[0], Known) and isinstance(values[0].scalar, Series):
        cases = [_run(graph, b, values[1:], where, wanted, inside_custom_jvp) for b in eqn.params["branches"]]
        chosen = zip(zip(*cases, strict=True), wanted, strict=True)
        return [choices.choose(graph, values[0].scalar, list(case), values[0].tagged) if use else None for case, use in chosen]
    if name == "cond" and isinstance(values[0], Known) and values[0].scalar is not None:
        branches = eqn.params["branches"]
        chosen = branches[min(max(int(values[0].scalar), 0), len(branches) - 1)]
        results = _run(graph, chosen, values[1:], where, wanted, inside_custom_jvp)
        return [None if x is None else graph.tag(x, values[0].tagged) for x in results]
    coin = name == "cond" and len(eqn.params["branches"]) == 2 and isinstance(values[0], Expression) and is_public(values[0])
    if coin and graph.range(values[0]) == (0, 1):
        cases = zip(*(_run(graph, b, values[1:], where, wanted, inside_custom_jvp) for b in eqn.params["branches"]), strict=True)
        return [_chosen(graph, values[0], *x) if use else None for x, use in zip(cases, wanted, strict=True)]
    if eqn.outvars and all(0 in v.aval.shape for v in eqn.outvars) and not eqn.effects:  # no entries: any will do
        return [map_known(conversion(v.aval.dtype), v.aval.shape, Known.uniform(0, v.aval.shape)) for v in eqn.outvars]
    if name in ("scan", "while"):
        run = _scan if name == "scan" else _while
        if not all(isinstance(x, Known | Keys) for x in values):
            if name == "while":
                raise Refusal(f"a loop over data, parameters or what was drawn, whose length may depend on them; {CURES[name]}")
            found = _scan(graph, eqn, values, where, wanted, inside_custom_jvp)
            return [None if x is None else _checked(graph, v.aval.dtype, x) for v, x in zip(eqn.outvars, found, strict=True)]
        if constant and any(x.moving for x in values):
            return every_step(lambda *values: run(graph, eqn, values, where), values)
        return run(graph, eqn, values, where)
    if name in KEYS or any(isinstance(x, Keys) for x in values):
        return keys.moved(lambda *x: MOVES[name](graph, eqn, *x), values) if name in MOVES else keys.apply(graph, eqn, values)
    if name in ("empty", "empty2"):  # what JAX puts in the place of the residuals of a branch that was not taken
        return [map_known(conversion(v.aval.dtype), v.aval.shape, Known.uniform(0, v.aval.shape)) for v in eqn.outvars]
    if constant:
        moves = name in MOVES and "dynamic" not in name and any(x is not None and x.moving for x in values)  # of numbers of the step
        results = None if moves else fold(eqn, *values)
        if results is None and name in matrices.FACTORED:
            results = matrices.factored(eqn, *values)
        if results is None and name in (*MOVES, "triangular_solve"):
            results = RULES[name](graph, eqn, *values)
        if results is None:
            raise Refusal(CURES.get(name, "this operation on constants is not known; compute it with NumPy outside of the loss"))
        return results if isinstance(results, list) else [results]
    return [_checked(graph, v.aval.dtype, x) for v, x in zip(eqn.outvars, _on_data(graph, eqn, values, inside_custom_jvp), strict=True)]


def _on_data(graph, eqn, values, inside_custom_jvp) -> list:
    name = eqn.primitive.name
    for v in (*eqn.invars, *eqn.outvars):
        kind(v.aval.dtype)
    graph.halves |= {v.aval.dtype.name for v in eqn.outvars if narrow(v.aval.dtype)}
    if name not in MOVES and name not in BOOLEAN and any(kind(v.aval.dtype) == "b" for v in eqn.outvars):
        raise Refusal("an operation in booleans", FLOAT_FIRST)
    values = masked.readable(graph, name, values, name in MOVES)
    for x in values if name not in UNBOUNDED else ():
        if isinstance(x, Known) and not (name in ("mul", "div") and x.moving and x.somewhere_finite):  # a choice by the step may follow
            x.finite()
    if name == "max":
        results = entrywise.maximum(graph, eqn, *values, inside_custom_jvp)
    elif name in RULES:
        results = RULES[name](graph, eqn, *values)
        if name in MOVES and values[0] in graph.masked:
            results = masked.moved(graph, values[0], results, lambda x: RULES[name](graph, eqn, x))
    else:
        drawn = any(isinstance(x, Drawn) for x in values)
        cure = keys.CURE if drawn else CURES.get(name, "use linear operations, products and ReLU")
        raise Refusal(f"{'a function of random words' if drawn else 'it'} has no exact counterpart", cure)
    return results if isinstance(results, list) else [results]


def _checked(graph, dtype, x):
    """A result that depends on data, as its dtype has it: a boolean as a mask, an integer only if it cannot have wrapped around."""
    if kind(dtype) == "b":
        return graph.mask(x)
    if kind(dtype) == "i" and not isinstance(x, Known):
        (low, high), (least, most) = graph.range(x), limits(dtype)
        if low < least or high > most:
            raise Refusal(
                f"{dtype.name} holds {least}..{most}, the result may be {low}..{high}, where JAX wraps around", f"{FLOAT_FIRST} ({INDEX})"
            )
    return map_known(conversion(dtype), x.shape, x) if isinstance(x, Known) else x


def _chosen(graph, mask: Expression, no, yes):
    """What a public mask, one number, chooses of two arrays."""
    if isinstance(no, Keys) or isinstance(yes, Keys):
        raise Refusal("a choice between random keys by what was drawn", "draw from both keys, and choose between what is drawn")
    mask = graph.broadcast(Mask(mask), no.shape, ())
    if isinstance(no, Mask) or isinstance(yes, Mask):
        return graph.mask(choices.select(graph, mask, *(number(graph, x) for x in (no, yes))))
    return choices.select(graph, mask, no, yes)


# ---- loops over constants --------------------------------------------------------------------------------------------


def _while(graph, eqn, values, where: str) -> list:
    p = eqn.params
    a, b = p["cond_nconsts"], p["body_nconsts"]
    condition, body, state = values[:a], values[a : a + b], values[a + b :]
    for _ in range(MAX_ITERATIONS):
        (proceed,) = _run(graph, p["cond_jaxpr"], [*condition, *state], where)
        if not isinstance(proceed, Known) or proceed.moving:
            raise Refusal(f"a loop that goes on as long as a draw or a counter of the step says; {CURES['while']}")
        if not proceed.values.any():
            tagged = any(x.tagged for x in (*values, proceed))  # so is the number of iterations
            return [x if isinstance(x, Keys) else replace(x, tagged=x.tagged or tagged) for x in state]
        following = _run(graph, p["body_jaxpr"], [*body, *state], where)
        state = [_where(graph, proceed, *pair) for pair in zip(following, state, strict=True)]
    raise Refusal(f"a loop of more than {MAX_ITERATIONS} iterations")


def _where(graph, proceed: Known, new: Known | Keys, old: Known | Keys) -> Known | Keys:
    """The next state of a loop. Under ``jax.vmap`` each row has a condition of its own, and stays as it is when it is done."""
    if isinstance(new, Keys):
        return keys.moved(lambda *halves: _where(graph, proceed, *halves), [new, old])[0]
    proceed = graph.broadcast(proceed, new.shape, range(len(proceed.shape)))
    return by_entry(lambda go, a, b: a if go else b, new.shape, proceed, new, old)  # which leaves series as they are


def _scan(graph, eqn, values, where: str, wanted=None, inside_custom_jvp=False) -> list:
    """The body, once for each iteration. What a loop over data stacks is remembered row by row, for the loop of the gradient."""
    p = eqn.params
    a, b, length = p["num_consts"], p["num_consts"] + p["num_carry"], p["length"]
    over, most = ("constants", MAX_ITERATIONS) if all(isinstance(x, Known | Keys) for x in values) else ("data", MAX_UNROLLED)
    if length > most:
        raise Refusal(f"a loop over {over} of {length} iterations; at most {most} are unrolled")
    stacked = [True] * len(eqn.outvars[b - a :]) if wanted is None else list(wanted[b - a :])
    state, rows = values[a:b], [[]] * length
    for i in reversed(range(length)) if p["reverse"] else range(length):
        row = [_row(graph, x, i) for x in values[b:]]
        results = _run(graph, p["jaxpr"], [*values[:a], *state, *row], where, [True] * (b - a) + stacked, inside_custom_jvp)
        state, rows[i] = results[: b - a], results[b - a :]
    columns = enumerate(zip(eqn.outvars[b - a :], stacked, strict=True))
    return [*state, *(_stack(graph, v.aval.shape, tuple(row[k] for row in rows)) if use else None for k, (v, use) in columns)]


def _row(graph, x, i: int):
    """Row i of what a loop runs over."""
    if isinstance(x, Known | Keys):
        return _moved(lambda x: x.reshaped(lambda v: v[i], x.shape[1:]), x)
    if x in graph.rows:
        return graph.rows[x][i]
    rest = x.shape[1:]
    return graph.reshape(graph.slice(x, (i, *[0] * len(rest)), (i + 1, *rest), None), rest)


def _stack(graph, shape, rows):
    """Rows of what a loop gives."""
    if all(isinstance(x, Known | Keys) for x in rows):
        return _moved(partial(_stacked, shape), *rows)
    stacked = graph.concatenate([graph.reshape(x, (1, *shape[1:])) for x in rows], 0)
    graph.rows[stacked] = rows
    return stacked


def _moved(function, *values):
    """A movement of entries, of constants or of keys."""
    return keys.moved(function, values)[0] if any(isinstance(x, Keys) for x in values) else function(*values)


def _stacked(shape, *rows: Known) -> Known:
    return Known.spread(np.stack([x.full() for x in rows]) if rows else np.empty(shape, object), shape, any(x.tagged for x in rows))
