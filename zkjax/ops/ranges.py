"""Ranges: a form lies in [0, 2^width) if its limbs lie in their tables. Bounds of integers, and of sums of them.

A form, constant + sum of coefficient * tensor, is cut into as few limbs as fit the largest table. The upper limbs are
committed; the lowest one is *virtual*: what the others leave of the form. So each takes a lookup, and all but the lowest a cell.

PROTOCOL.md, section 10.1.
"""

from dataclasses import dataclass

import numpy as np

from .tables import Table


@dataclass(frozen=True)
class Lookup:
    """The statement "each entry of this tensor is in this table".

    key: names the lookup. shape: of the tensor. columns: for each column of the table, an affine form (constant,
    ((coefficient, tensor key), ...)); keys are committed tensors, ("input", k) or ("node", i). Where there are several columns,
    each is one committed tensor. stepped: the first axis, which an operation's shapes leave out, runs over steps or periods.
    """

    key: tuple
    table: Table
    shape: tuple[int, ...]
    columns: tuple
    stepped: bool = True


def signed_bound(width: int) -> int:
    """The bound of signed integers that fit a range table of this width, and what is added to them when they are looked up."""
    return 1 << (width - 1)


def farthest(constant: int, parts) -> int:
    """The largest absolute value of constant + sum of coefficient * v, where low <= v <= high; parts: (coefficient, low, high).

    Where it is below p, an equation "form = 0" that holds modulo p holds over the integers, and only there.
    """
    ends = [sorted((coefficient * low, coefficient * high)) for coefficient, low, high in parts]
    return max(abs(constant + sum(low for low, _ in ends)), abs(constant + sum(high for _, high in ends)))


def residues_differ(bound: int) -> int:
    """How far apart two integers within a bound can be: below p, equal residues are equal integers."""
    return farthest(0, ((1, -bound, bound), (-1, -bound, bound)))


def integer_type(bits: int):
    """The smallest of the types int16, int32 and int64 that holds integers in [-2^bits, 2^bits)."""
    return np.int16 if bits <= 15 else np.int32 if bits <= 31 else np.int64


def limbs(width: int, table_bits: int) -> list[tuple[int, int]]:
    """(weight, width) of each limb, lowest first: as few as fit the largest table, as even as can be."""
    count = max(1, -(-width // table_bits))
    narrow, extra = divmod(width, count)
    found, weight = [], 1
    for j in range(count):
        found.append((weight, narrow + (j < extra)))
        weight <<= found[-1][1]
    return found


def cells(name: tuple, width: int, shape: tuple[int, ...], table_bits: int) -> dict:
    """The committed limbs' shapes by key: (*name, 1), (*name, 2), .."""
    return {(*name, j): shape for j in range(1, len(limbs(width, table_bits)))}


def lookups(name: tuple, constant: int, parts, width: int, shape: tuple[int, ...], table_bits: int, stepped: bool = True) -> list[Lookup]:
    """What shows that constant + sum of coefficient * tensor is in [0, 2^width): the committed limbs', then the virtual one's."""
    (_, lowest), *upper = limbs(width, table_bits)
    found, form = [], list(parts)
    for j, (weight, narrow) in enumerate(upper, start=1):
        found.append(Lookup((*name, j), Table("range", narrow), shape, ((0, ((1, (*name, j)),)),), stepped))
        form.append((-weight, (*name, j)))
    return [*found, Lookup((*name, 0), Table("range", lowest), shape, ((constant, tuple(form)),), stepped)]


def cut(name: tuple, values: np.ndarray, width: int, table_bits: int) -> dict:
    """The prover's limbs of a form's integers by key, the virtual one too."""
    found, offset = {}, 0
    for j, (_, narrow) in enumerate(limbs(width, table_bits)):
        found[*name, j] = (values >> offset) & ((1 << narrow) - 1)
        offset += narrow
    return found
