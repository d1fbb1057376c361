"""Sums of separable weights as a product of two matrices: K (m, R) times K (R, n), R terms or fewer.

The weights that claims put on a tensor are few products of vectors. Those that differ along one group of axes alone are one, as of a
matrix whose entries are revealed one by one. Cut the axes in two; then the terms with the same vectors on the right of the cut are one,
and writing the weights out costs one product for each entry and each of the others.
"""

from functools import reduce
from math import prod

import numpy as np

from . import extension as ext
from .vectors import Vector


def factorised(products: list, shape: tuple[int, ...], multiply=ext.mul):
    """The sum of products as (left, right): NumPy K (m, R) and K (R, n), where m n is the number of entries of ``shape``.

    products: each a list of (axes, ``Vector`` over them, row-major); axes are ascending, and no axis is in two of them. multiply: of K
    arrays whose shapes are broadcast.
    """
    products = _joined(products)
    groups = {axes for product in products for axes, _ in product}
    cut = next(d for d in reversed(range(len(shape) or 1)) if all(max(axes) < d or min(axes) >= d for axes in groups if axes))
    terms: dict = {}
    rights: dict = {}  # by the vectors: these and their entries, for equal ones may be of several origins
    for product in products:
        before = [(axes, v) for axes, v in product if not axes or max(axes) < cut]
        after = tuple((axes, v) for axes, v in product if axes and min(axes) >= cut)
        if after not in rights:
            right = _outer(after, shape[cut:], cut, multiply)
            rights[after] = right, tuple(c.tobytes() for c in right)
        right, name = rights[after]
        left = _outer(before, shape[:cut], 0, multiply)
        terms[name] = (ext.add(terms[name][0], left) if name in terms else left), right
    lefts, rights = zip(*terms.values(), strict=True)
    return tuple(np.stack([x[c] for x in lefts], axis=1) for c in range(2)), tuple(np.stack([x[c] for x in rights]) for c in range(2))


def _joined(products: list) -> list:
    """Fewer products with the same sum. Vectors are compared by their entries, for equal ones may be of several origins."""
    names: dict = {}

    def name(vector) -> bytes:
        if vector not in names:
            names[vector] = b"".join(np.asarray(c).tobytes() for c in vector)
        return names[vector]

    groups = dict.fromkeys(axes for product in products for axes, _ in product if axes)
    while len(products) > 1 and groups:
        named = [(product, {group: name(v) for group, v in product if group}) for product in products]
        axes, alike = min(((axes, _alike(axes, named)) for axes in groups), key=lambda item: len(item[1]))
        if len(alike) == len(products):
            break
        joined = _joined_along(axes, alike.values())
        if len(joined) == len(products):
            break
        products = joined
    return products


def _alike(axes: tuple[int, ...], named: list) -> dict:
    """Products that differ along these axes, and by numbers, alone. named: each with its vectors' names by their axes."""
    alike: dict = {}
    for product, names in named:
        key = axes in names, frozenset((group, x) for group, x in names.items() if group != axes)
        alike.setdefault(key, []).append(product)
    return alike


def _joined_along(axes: tuple[int, ...], alike) -> list:
    """Each of these groups of products as one."""
    found = []
    for several in alike:
        if len(several) == 1 or axes not in (group for group, _ in several[0]):
            found += several
            continue
        vectors = _stacked([next(v for group, v in product if group == axes) for product in several])
        numbers = _stacked([reduce(ext.mul, (v for group, v in product if not group), ext.stack([1])) for product in several])
        total = Vector(ext.sum(ext.mul(vectors, numbers), axis=0))
        found.append([(group, v) for group, v in several[0] if group and group != axes] + [(axes, total)])
    return found


def _stacked(vectors: list):
    return tuple(np.stack([np.asarray(v[c]) for v in vectors]) for c in range(2))


def _outer(factors, shape: tuple[int, ...], first: int, multiply):
    """The product of vectors over groups of the axes ``first`` .. of ``shape``, flat."""
    total = None
    for axes, vector in factors:
        spread = tuple(c.reshape([n if d + first in axes else 1 for d, n in enumerate(shape)] or 1) for c in vector)
        total = spread if total is None else multiply(total, spread)
    if total is None:
        total = tuple(c.reshape([1] * len(shape) or 1) for c in ext.stack([1]))
    return tuple(np.broadcast_to(c, shape or (1,)).reshape(prod(shape)) for c in total)
