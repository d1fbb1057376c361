"""Places of numbers among constants: ``jnp.searchsorted``, which ``jnp.digitize`` and ``jnp.interp`` call.

JAX halves the array until one place is left, by integers that no interval keeps apart. What comes out is a function of the number alone,
with a step at each constant and none between: the circuit has that function, found by running JAX's own search on constants.
"""

from fractions import Fraction
from functools import lru_cache, partial, reduce
from itertools import accumulate, pairwise, product

import jax
import jax.numpy as jnp
import numpy as np

from ..algebra import functions as programs
from .constants import Known
from .expressions import Expression, unmoved
from .folding import kind
from .functions import applied, unary
from .series import Refusal

NAME = "searchsorted"
TOGETHER, MOST = 24, 512  # constants in one table, and in all


@lru_cache(maxsize=256)
def _own(array, numbers, side: str, rows: int = 0, differentiated: bool = False):
    """JAX's search of numbers in an array, both as (shape, dtype), with ``jax.vmap`` over so many axes of the numbers.

    differentiated: with what does not change taken out of its loop, as JAX leaves it in a gradient.
    """
    search = partial(jnp.searchsorted, side=side)
    for _ in range(rows):
        search = jax.vmap(search, (None, 0))
    operands = [jax.ShapeDtypeStruct(*x) for x in (array, numbers)]
    function = jax.grad(lambda a, x: jnp.sum(x * search(a, x)), 1) if differentiated else search
    return next(call.params["jaxpr"] for call in jax.make_jaxpr(function)(*operands).eqns if call.params.get("name") == NAME)


def _side(eqn) -> str | None:
    """Of JAX's search, which is known not by the name of the call alone: it is the same, operation by operation. None of any other call."""
    if eqn.params.get("name") != NAME or len(eqn.invars) != 2 or len(eqn.invars[0].aval.shape) != 1:
        return None
    operands = [(tuple(v.aval.shape), v.aval.dtype) for v in eqn.invars]
    differentiated = (False, True) if kind(operands[1][1]) == "f" else (False,)
    cases = product(("left", "right"), range(len(operands[1][0]) + 1), differentiated)
    return next((case[0] for case in cases if str(_own(*operands, *case)) == str(eqn.params.get("jaxpr"))), None)


def searched(graph, eqn, values, run) -> list | None:
    """The result of JAX's search for a tensor; None of any other call. run: a jaxpr on constants."""
    side = _side(eqn) if any(isinstance(x, Expression) and x not in graph.masked for x in values) else None
    if side is None:
        return None
    array, x = values
    if not isinstance(array, Known) or not isinstance(x, Expression) or array.moving:
        raise Refusal("a search among numbers that depend on data, parameters or the step", "count them: jnp.sum(numbers < x)")
    steps = sorted(set(array.finite().full()))
    if len(steps) > MOST:
        raise Refusal(f"a search among {len(steps)} constants; at most {MOST}")
    between = [steps[0] - 1, *((a + b) / 2 for a, b in pairwise(map(Fraction, steps))), steps[-1] + 1]
    points = np.array(sorted([*steps, *between]), dtype=object)
    types = (array.shape, eqn.invars[0].aval.dtype), (points.shape, np.dtype(np.float32))
    (found,) = run(_own(*types, side), [array, Known.spread(points, points.shape)])
    heights = [int(v) for v in found.full()]
    jumps = zip(pairwise(heights), product(steps, ("ge", "gt")), strict=True)
    return [_staircase(graph, x, heights[0], [(b - a, name, step) for (a, b), (step, name) in jumps if a != b])]


def _staircase(graph, x: Expression, first: int, jumps) -> Expression:
    """An integer, and more or less of it from each step on: (by how much, ``ge`` or ``gt``, the step)."""
    base, program, _ = unary(graph, x)
    base, program = (x, programs.IDENTITY) if base is None else (base, program)
    number = lambda v: programs.number(Fraction(v))  # noqa: E731
    result = [(first, Known.uniform(Fraction(1), x.shape))]
    for part in (jumps[k : k + TOGETHER] for k in range(0, len(jumps), TOGETHER)):
        terms = (programs.joined("mul", number(c), programs.joined(name, program, number(step))) for c, name, step in part)
        table, heights = applied(graph, reduce(partial(programs.joined, "add"), terms), base), [*accumulate(c for c, *_ in part)]
        graph.ranges[unmoved(table)] = min(0, *heights), max(0, *heights)
        result.append((1, table))
    return graph.tensor(graph.linear(result))
