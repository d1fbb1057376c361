"""Sums of separable weights as a product of two matrices: K (m, R) times K (R, n), R terms or fewer.

The weights that claims put on a tensor are few products of vectors. Cut its axes in two; then the terms with the same vectors
on the right of the cut are one, and writing the weights out costs one product for each entry and each of the others.
"""

from math import prod

import numpy as np

from . import extension as ext


def factorised(products: list, shape: tuple[int, ...], multiply=ext.mul):
    """The sum of products as (left, right): NumPy K (m, R) and K (R, n), where m n is the number of entries of ``shape``.

    products: each a list of (axes, ``Vector`` over them, row-major); axes are ascending, and no axis is in two of them. multiply: of K
    arrays whose shapes are broadcast.
    """
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


def _outer(factors, shape: tuple[int, ...], first: int, multiply):
    """The product of vectors over groups of the axes ``first`` .. of ``shape``, flat."""
    total = None
    for axes, vector in factors:
        spread = tuple(c.reshape([n if d + first in axes else 1 for d, n in enumerate(shape)] or 1) for c in vector)
        total = spread if total is None else multiply(total, spread)
    if total is None:
        total = tuple(c.reshape([1] * len(shape) or 1) for c in ext.stack([1]))
    return tuple(np.broadcast_to(c, shape or (1,)).reshape(prod(shape)) for c in total)
