"""Convolutions and pools: windows along the spatial axes, and a product, a sum or a maximum of them.

What JAX makes of a convolution's derivatives are convolutions; of a sum's, padded sums; of a maximum's, what is added at the first
place of the maximum in each window (XLA's choice as well).
"""

from fractions import Fraction

from ..ops.operation import MAX_RANK
from ..ops.products import Gate
from ..ops.window import Window, meeting
from . import functions
from .constants import Known
from .expressions import Above, Expression
from .maxima import first_of, largest
from .rows import padded, sliced
from .series import Refusal

ZERO = Known.uniform(Fraction(0), ())


# ---- windows ---------------------------------------------------------------------------------------------------------


def window(graph, x, axis: int, out: int, size: int, stride: int, dilation: int, pad: int):
    """x[stride o + dilation k - pad], 0 beyond its ends, along an axis, which becomes (o, k); where that is a reshape, by a reshape."""
    operation, n = Window(axis, out, size, stride, dilation, pad), x.shape[axis]
    shape = (*x.shape[:axis], out, size, *x.shape[axis + 1 :])
    if pad == 0 and dilation * (size - 1) + stride * (out - 1) < n:
        apart = size == 1 or out == 1 or dilation == 1 and stride == size
        if apart:  # no entry is in two windows, and they are in order
            step = stride if size == 1 else dilation
            start, limit, steps = [0] * len(x.shape), list(x.shape), [1] * len(x.shape)
            limit[axis], steps[axis] = step * (out * size - 1) + 1, step
            return graph.reshape(graph.slice(x, start, limit, steps), shape)
    if isinstance(x, Known):
        return Known.spread(operation.windows(x.full(), axis), shape, x.tagged)
    return graph.node(operation, (graph.tensor(x),), shape)


def _unwindow(graph, x, axis: int, length: int, stride: int, pad: int):
    """The transpose: windows (o, k) at axes ``axis`` and the next one, added up where they overlap."""
    out, size = x.shape[axis : axis + 2]
    before, after = x.shape[:axis], x.shape[axis + 2 :]

    def placed(x, start: int, step: int):
        """Entries of an axis at ``start`` and every ``step`` places from there on, among ``length``; None: none of them is there."""
        some, where = meeting(step, start, x.shape[axis], length)
        if some.stop == some.start:
            return None
        return padded(graph, sliced(graph, x, axis, some.start, some.stop - some.start), axis, where.start, length - where.stop, step - 1)

    if stride == size:
        return placed(graph.reshape(x, (*before, out * size, *after)), -pad, 1)
    columns = (graph.reshape(sliced(graph, x, axis + 1, k, 1), (*before, out, *after)) for k in range(size))
    parts = [placed(column, k - pad, stride) for k, column in enumerate(columns)]
    return graph.linear([(1, part) for part in parts if part is not None])


# ---- convolutions ----------------------------------------------------------------------------------------------------


def convolution(graph, eqn, x, w):
    """``lax.conv_general_dilated``: windows of x times w. Axes by name: batch n, places o, in windows k, groups g, features c and f."""
    p, shape = eqn.params, eqn.outvars[0].aval.shape
    x_axes, w_axes, out_axes = p["dimension_numbers"]
    spatial, groups = len(x_axes) - 2, max(p["feature_group_count"], p["batch_group_count"])
    x = graph.transpose(x, (x_axes[0], *x_axes[2:], x_axes[1]))
    w = graph.transpose(w, (*w_axes[2:], w_axes[1], w_axes[0]))
    x = graph.pad(x, ZERO, [(0, 0, 0), *((0, 0, d - 1) for d in p["lhs_dilation"]), (0, 0, 0)])
    x_names, w_names = ["n", *range(spatial), "c"], [*(("k", d) for d in range(spatial)), "c", "f"]
    if groups > 1:
        split = 0 if p["batch_group_count"] > 1 else spatial + 1
        x = graph.reshape(x, (*x.shape[:split], groups, x.shape[split] // groups, *x.shape[split + 1 :]))
        w = graph.reshape(w, (*w.shape[:-1], groups, w.shape[-1] // groups))
        x_names.insert(split, "g")
        w_names.insert(-1, "g")
    single = [d for d, name in enumerate(x_names) if name in ("n", "g", "c") and x.shape[d] == 1]  # which would be axes of windows too
    x = graph.reshape(x, [n for d, n in enumerate(x.shape) if d not in single])
    x_names = [name for d, name in enumerate(x_names) if d not in single]
    for d in range(spatial):
        axis, (low, _) = x_names.index(d), p["padding"][d]
        x = window(graph, x, axis, shape[out_axes[2 + d]], w.shape[d], p["window_strides"][d], p["rhs_dilation"][d], low)
        x_names[axis : axis + 1] = [("o", d), ("k", d)]
    wanted = ["n", *(("o", d) for d in range(spatial)), *(["g"] if groups > 1 else []), "f"]
    result = _product(graph, x, x_names, w, w_names, wanted)
    result = graph.reshape(result, (*result.shape[: spatial + 1], groups * w.shape[-1]))
    order = (out_axes[0], *out_axes[2:], out_axes[1])
    return graph.transpose(result, [order.index(d) for d in range(len(shape))])


def _product(graph, x, x_names: list, y, y_names: list, wanted: list):
    """The sum of products over all axes that are not wanted, by names. Axes of length 1 are left out, and put back."""
    lengths = dict.fromkeys(wanted, 1) | dict(zip((*x_names, *y_names), (*x.shape, *y.shape), strict=True))
    kept = [[name for name in names if lengths[name] > 1] for names in (x_names, y_names)]
    x, y = (graph.reshape(z, [lengths[name] for name in names]) for z, names in zip((x, y), kept, strict=True))
    if max(len(x.shape), len(y.shape)) > MAX_RANK:
        raise Refusal(f"a convolution whose windows are a tensor of {len(x.shape)} axes, more than {MAX_RANK}")
    both = [name for name in kept[0] if name in kept[1]]
    pairs = [[name for name in both if (name in wanted) == shared] for shared in (False, True)]
    contract, batch = (tuple(tuple(names.index(name) for name in some) for names in kept) for some in pairs)
    found = [*pairs[1], *(name for names in kept for name in names if name not in both)]
    result = graph.dot(x, y, contract, batch, tuple(lengths[name] for name in found))
    result = graph.transpose(result, [found.index(name) for name in wanted if name in found])
    return graph.reshape(result, [lengths[name] for name in wanted])


# ---- pools -----------------------------------------------------------------------------------------------------------


def _windows(graph, x, shape, p) -> tuple:
    """(tensor, its axes within the windows): windows along all axes that they slide along. shape: of the places."""
    within, axis = [], 0
    for d, out in enumerate(shape):
        if _slides(p, d):
            size, stride, dilation = (p[name][d] for name in ("window_dimensions", "window_strides", "window_dilation"))
            x = window(graph, x, axis, out, size, stride, dilation, p["padding"][d][0])
            within.append(axis + 1)
            axis += 1
        axis += 1
    return x, tuple(within)


def _slides(p, d: int) -> bool:
    return (p["window_dimensions"][d], p["window_strides"][d], *p["padding"][d]) != (1, 1, 0, 0)


def window_sum(graph, eqn, x):
    """``lax.reduce_window`` with add."""
    p = eqn.params
    x = graph.pad(x, ZERO, [(0, 0, d - 1) for d in p["base_dilation"]])
    return graph.sum(*_windows(graph, x, eqn.outvars[0].aval.shape, p))


def _margins(lengths, shape, p) -> list[tuple[int, int]]:
    """How far windows of which a maximum is wanted reach beyond both ends of each axis. shape: of the places."""
    if any(d != 1 for d in p.get("base_dilation", ())):
        raise Refusal("a maximum over windows of a tensor that is spread out")
    found, dilations = [], p.get("window_dilation", (1,) * len(lengths))
    numbers = zip(lengths, shape, p["window_dimensions"], p["window_strides"], p["padding"], dilations, strict=True)
    for n, out, size, stride, (low, _), dilation in numbers:
        start = stride * (out - 1) - low  # of the last window
        found.append((max(0, low), max(0, start + dilation * (size - 1) - n + 1)))
        if any(found[-1]) and dilation > 1 or start >= n or dilation * (size - 1) < low:
            raise Refusal("a maximum over windows with gaps, or of nothing, beyond the ends of a tensor", "pad the tensor first")
    return found


def _to_choose_from(graph, x: Expression, shape, p) -> tuple:
    """Windows of which the largest entry is wanted. Beyond the ends the first and the last entry stand again, which changes no maximum."""
    margins = _margins(x.shape, shape, p)
    for axis, (low, high) in enumerate(margins):
        ends = (sliced(graph, x, axis, place, 1) for place in (0, x.shape[axis] - 1))
        first, last = ([end] * count for end, count in zip(ends, (low, high), strict=True))
        x = graph.concatenate([*first, x, *last], axis)
    return _windows(graph, x, shape, _within(p, margins))


def _within(p, margins) -> dict:
    """The same of a tensor with margins."""
    padding = [(low - before, high) for (low, high), (before, _) in zip(p["padding"], margins, strict=True)]
    return {"window_dilation": (1,) * len(margins), **p, "padding": padding}


def window_extreme(sign: int):
    """A rule for ``lax.reduce_window`` with max (1) or min (-1)."""

    def rule(graph, eqn, x):
        x, shape = graph.tensor(x), eqn.outvars[0].aval.shape
        below = _rectified(x) if sign == 1 else None
        if below is not None:  # of what rectifies few are needed
            top = largest(graph, *_to_choose_from(graph, below, shape, eqn.params))
            return functions.function(graph, "max", top, Known.uniform(Fraction(0), shape))
        x = graph.linear([(sign, x)])
        return graph.linear([(sign, largest(graph, *_to_choose_from(graph, x, shape, eqn.params)))])

    return rule


def _rectified(x: Expression) -> Expression | None:
    """What x is the ReLU of."""
    below = x.inputs[-1] if x.does(Gate) else None
    return below if below is not None and x.inputs[0].does(Above) and x.inputs[0].inputs[0] is below else None


def select_and_scatter_add(graph, eqn, source, x):
    """The gradient of such a maximum: in each window at its first place.

    Of a ReLU's maximum the ReLU of the maximum was made. A gradient that passes the ReLU too is the maximum's, where that is above 0.
    """
    p, name = eqn.params, eqn.params["select_prim"].name
    if name not in ("ge", "le"):
        raise Refusal(f"a choice in windows by '{name}'", "use a maximum or a minimum")
    x, source = graph.tensor(x), source if isinstance(source, Known) else graph.tensor(source)
    found = _at_first(graph, graph.linear([(1 if name == "ge" else -1, x)]), source, p)
    below = _rectified(x) if name == "ge" else None
    if below is not None:
        top = largest(graph, *_to_choose_from(graph, below, source.shape, p))
        above = functions.function(graph, "gt", top, Known.uniform(Fraction(0), source.shape))
        graph.rectified[found] = below, _at_first(graph, below, graph.product(above, source), p)
    return found


def _at_first(graph, x: Expression, source, p):
    """The source where each window has its largest entry first, in a tensor as x is."""
    windows, within = _to_choose_from(graph, x, source.shape, p)
    places = [d for d in range(len(windows.shape)) if d not in within]
    found = graph.product(first_of(graph, windows, within), graph.broadcast(source, windows.shape, places))
    for d, (low, high) in enumerate(_margins(x.shape, source.shape, p)):
        if _slides(p, d):
            found = _unwindow(graph, found, d, low + x.shape[d] + high, p["window_strides"][d], p["padding"][d][0] - low)
            found = _drawn_in(graph, found, d, low, high)
    return found


def _drawn_in(graph, x, axis: int, low: int, high: int):
    """Margins along an axis, added to what is at its ends."""
    n = x.shape[axis] - low - high
    parts = [sliced(graph, x, axis, low, n)]
    for start, count, place in ((0, low, 0), (low + n, high, n - 1)):
        if count:
            total = graph.sum(sliced(graph, x, axis, start, count), (axis,))
            parts.append(padded(graph, graph.reshape(total, (*x.shape[:axis], 1, *x.shape[axis + 1 :])), axis, place, n - 1 - place))
    return graph.linear([(1, part) for part in parts])


def cumulative_sum(graph, eqn, x):
    """Sums of the entries so far along an axis, or from the last one on: of windows that begin before the axis."""
    axis, n = int(eqn.params["axis"]), eqn.outvars[0].aval.shape[int(eqn.params["axis"])]
    x = graph.reverse(x, (axis,)) if eqn.params["reverse"] else x
    sums = graph.sum(window(graph, x, axis, n, n, 1, 1, n - 1), (axis + 1,))
    return graph.reverse(sums, (axis,)) if eqn.params["reverse"] else sums


RULES = {
    "conv_general_dilated": convolution,
    "reduce_window_sum": window_sum,
    "reduce_window_max": window_extreme(1),
    "reduce_window_min": window_extreme(-1),
    "select_and_scatter_add": select_and_scatter_add,
    "cumsum": cumulative_sum,
}
