"""Labels that stand for nothing, such as -100: what is picked by one is no number in JAX, and a choice leaves it out.

A one-hot has no value for an index beyond the axis. Where a condition on the label itself leaves out what is picked, it picks nothing.
"""

from ..algebra import functions as programs
from ..ops.moves import Reshape, Transpose
from ..ops.products import Dot
from . import functions
from .expressions import Combination, Expression, Mask, Picked, unmoved


def noted(graph, picked: Expression, dropped: Expression) -> None:
    """A one-hot without value beyond the axis, and the same which is of zeros there."""
    graph.partial[unmoved(picked)] = unmoved(dropped)


def left_out(graph, kept: Mask, x):
    """x, which counts only where a condition holds: with one-hots that pick nothing where it does not, and the index is beyond."""
    condition = functions.unary(graph, _below(kept.expression)) if graph.partial and isinstance(x, Expression) else None
    if condition is None or condition.base is None:
        return x
    program = condition.program if kept.positive else programs.joined("not", condition.program)
    for picked in _picked(graph, x):
        dropped = graph.partial[picked]
        if dropped.inputs[0] is picked.inputs[0] is _below(condition.base):
            spared = programs.joined("select", program, dropped.operation.program, picked.operation.program)
            graph.spared[picked] = graph.node(Picked(spared, picked.operation.size), picked.inputs, picked.shape)
            x = _replaced(graph, x, picked, {})
    return x


def multiplied(graph, x, y):
    """x, of a product with y: of a condition as 0 or 1 it is a choice, as XLA has it."""
    condition = isinstance(y, Expression) and graph.ranges.get(y) == (0, 1) and y not in graph.one_hots
    return left_out(graph, Mask(y), x) if condition else x


def dropping(graph, picked: Expression) -> Expression:
    """A one-hot of where to add, as an index beyond the axis adds nothing: one that a choice has left out already, if there is any."""
    return _moved(graph, picked) if unmoved(picked) in graph.spared else picked


def _moved(graph, x: Expression) -> Expression:
    return graph.spared[x] if x in graph.spared else graph.node(x.operation, (_moved(graph, x.inputs[0]),), x.shape)


def _is_through(graph, x: Expression) -> bool:
    """Whether an operation leads from what is picked to a choice entry by entry: sums, products, and the picking itself."""
    if x.does(Transpose):  # of axes of one entry
        longer = [d for d in x.operation.permutation if x.inputs[0].shape[d] > 1]
        return longer == sorted(longer)
    if not x.does(Dot):
        return x.does(Combination, Reshape)
    sides = zip(x.inputs, x.operation.contract, strict=True)
    return not x.operation.contract[0] or any(_below(y) in graph.partial and axes == (len(y.shape) - 1,) for y, axes in sides)


def _below(x: Expression) -> Expression:
    while x.does(Reshape):
        x = x.inputs[0]
    return x


def _picked(graph, x: Expression) -> list[Expression]:
    stack, seen, found = [x], set(), []
    while stack:
        x = stack.pop()
        if x in seen:
            continue
        seen.add(x)
        if x in graph.partial:
            found.append(x)
        stack += x.inputs if _is_through(graph, x) else ()
    return found


def _replaced(graph, x: Expression, picked: Expression, made: dict) -> Expression:
    if x is picked:
        return graph.spared[x]
    if x not in made and _is_through(graph, x):
        below = tuple(_replaced(graph, y, picked, made) for y in x.inputs)
        same = all(a is b for a, b in zip(below, x.inputs, strict=True))
        made[x] = x if same else graph.node(x.operation, below, x.shape, x.tagged)
    return made.get(x, x)
