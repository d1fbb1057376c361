"""The prover's work at the sites of a circuit: folds of integer tensors, and weights.

Plain functions of arrays, NumPy and jax.numpy alike: ``aggregate.over_sites`` runs small sites on the host, where they need
no compilation, and compiles the others.

Sums of small integers times elements of K run as float64 GEMMs: the elements are cut into limbs of 16 bits, wide integers
into limbs as well, so that every partial sum stays below 2^53 and is exact; the modular work is left for the results.
"""

import numpy as np

from ..algebra import extension as ext
from ..algebra import field
from .host import multiply
from .products import GROUP, inner_products

LIMB = 16  # bits of a limb of a field element


def fold(x, vector, *, bits, columns=False):
    """sum over f of x[..., r, f] * vector[..., f], int64 (..., R, f) with |x| <= 2^bits and K (..., f) ▸ K (..., R).

    columns: x is (..., f, R). Leading axes of x and vector broadcast as in a matrix product. Recompiles for: shapes, bits, columns.
    """
    length = vector[0].shape[-1]
    width = _width(length)
    limbs = [(c >> np.uint64(LIMB * j)) & np.uint64(2**LIMB - 1) for c in vector for j in range(4)]
    matrix = x.__array_namespace__().stack(limbs, axis=-2 if columns else -1).astype(np.float64)  # (..., f, 8) or (..., 8, f)
    products = []
    for i in range(max(1, -(-(bits + 1) // width))):
        last = (i + 1) * width >= bits + 1
        part = (x >> (i * width) if last else (x >> (i * width)) & (2**width - 1)).astype(np.float64)
        product = field.from_int((matrix @ part if columns else part @ matrix).astype(np.int64))
        products.append(product.swapaxes(-1, -2) if columns else product)
    shifts = np.array([[pow(2, LIMB * j + width * i, field.P) for j in range(4)] for i in range(len(products))], dtype=np.uint64)
    if isinstance(x, np.ndarray):  # few calls
        stacked = np.stack(products, axis=-2)
        found = field.sum(field.mul(stacked.reshape(*stacked.shape[:-1], 2, 4), shifts[:, None]), axis=(-1, -3))
        return found[..., 0], found[..., 1]
    total = None
    for product, row in zip(products, shifts, strict=True):
        for j in range(4):
            term = tuple(field.mul(product[..., k], row[j]) for k in (j, 4 + j))
            total = term if total is None else ext.add(total, term)
    return total


def _width(length: int) -> int:
    """Bits of integers that fit a sum of so many products with limbs."""
    return 53 - LIMB - (length - 1).bit_length() - 1


def is_wide(bits: int, length: int) -> bool:
    """Whether ``fold`` cuts integers of so many bits."""
    return bits + 1 > _width(length)


def denominators(columns, offset, factors):
    """offset - columns[0] - sum of factors[j-1] * columns[j], for non-negative integers and K pairs of shape (1,) and (columns - 1,).

    A single column leaves the second component as it is: the first one alone is returned.
    """
    first = field.sub(offset[0], columns[0].astype(np.uint64))
    if len(columns) == 1:
        return (first,)
    result = first, offset[1]
    for j, column in enumerate(columns[1:]):
        multiple = ext.mul_base(tuple(c[j : j + 1] for c in factors), column.astype(np.uint64))
        result = ext.sub(result, multiple)
    return result


def combine(x, vector):
    """sum over f of x[..., f] * vector[..., f] for two K arrays of equal shape."""
    return ext.sum(_mul(x, vector), axis=-1)


def low_rank(left, right):
    """The product of K (m, R) and K (R, n): see ``zkjax.low_rank``. Eight terms share a reduction where it is compiled.

    The result has two axes: flat it would be the same memory, but XLA would divide to find each entry's place, five times as slow.
    """
    terms = [(tuple(c[:, r : r + 1] for c in left), tuple(c[r : r + 1] for c in right)) for r in range(right[0].shape[0])]
    total = None
    if isinstance(left[0], np.ndarray):
        for term in terms:
            total = multiply(*term, total)
        return total
    for i in range(0, len(terms), GROUP):
        products = inner_products(terms[i : i + GROUP])
        total = products if total is None else ext.add(total, products)
    return total


def _mul(a, b):
    """a * b over K; the compiled form shares reductions."""
    return multiply(a, b) if isinstance(a[0], np.ndarray) else inner_products([(a, b)])
