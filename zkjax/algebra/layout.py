"""One index space for many tensors: blocks of power-of-two size, aligned, largest first.

The lookup tree, every sumcheck and the commitments use this one class: the prover *embeds* tensors, the verifier derives
the *weights* that a point of the cube gives to each tensor. Weights are truncated to the true axis lengths, so padding
cells are never read and nothing depends on what a prover puts there.

PROTOCOL.md, sections 9.1, 9.2.
"""

import copy
import itertools
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from ..errors import UnsupportedOperationError
from ..work import SCALAR
from .extension import ONE, Ext
from .poly import num_bits
from .vectors import Vectors

SPLIT_FROM = 2**10  # smaller blocks are not split: their waste is cheaper than another block
MAX_WASTE = 0.05  # of an axis, before it is split
FEW_AXES, FEW_BOXES = 3, 2  # a tensor with more axes, such as one of images, falls into so many boxes at most: claims on it are many
MAX_BLOCKS = 2**13  # of all tensors


@lru_cache(2**12)
def axis_pieces(length: int) -> tuple[tuple[int, int], ...]:
    """Cut an axis into at most three pieces (start, length), so that padding each to a power of two wastes little.

    The fewest pieces that waste at most 5 %, else those that waste least.
    """
    best, best_total = None, None
    for count in (1, 2, 3):
        pieces, start, total = [], 0, 0
        for _ in range(count - 1):
            size = 1 << ((length - start).bit_length() - 1)
            if start + size >= length:
                break
            pieces.append((start, size))
            start += size
            total += size
        pieces.append((start, length - start))
        total += 1 << num_bits(length - start)
        if best is None or total < best_total:
            best, best_total = tuple(pieces), total
        if best_total <= length * (1 + MAX_WASTE):
            break
    return best


@dataclass(frozen=True)
class Piece:
    """A box of one tensor, stored row-major at ``offset``, each axis padded to a power of two."""

    key: object
    starts: tuple[int, ...]
    lengths: tuple[int, ...]
    offset: int

    @property
    def bits(self) -> tuple[int, ...]:
        return tuple(num_bits(n) for n in self.lengths)

    @property
    def padded(self) -> bool:
        """Whether the box has padding cells."""
        return any(n != 1 << b for n, b in zip(self.lengths, self.bits, strict=True))

    @property
    def box(self) -> tuple[slice, ...]:
        """Where it stands in its tensor."""
        return tuple(slice(s, s + n) for s, n in zip(self.starts, self.lengths, strict=True))

    def block(self, array, fill=0):
        """The box of this array (NumPy or jax.numpy), flat, with ``fill`` in its padding cells."""
        box = array[self.box]
        if self.padded:
            padding = [(0, (1 << b) - n) for b, n in zip(self.bits, self.lengths, strict=True)]
            box = box.__array_namespace__().pad(box, padding, constant_values=fill)
        return box.reshape(-1)


class Weight(NamedTuple):
    """The weight of one piece: ``scalar`` times the product over axes of ``vectors`` (full axis length, zero outside)."""

    key: object
    scalar: Ext
    vectors: tuple


class Layout:
    """Blocks for tensors with the given shapes.

    shapes: mapping of key to shape. Blocks go by size, then by axis lengths (so that equal shapes are neighbours), then in order.
    num_vars: variables of the cube that holds all blocks. size: entries in use, the rest is one padding region.
    """

    def __init__(self, shapes: dict):
        self.shapes = dict(shapes)
        boxes = []
        for key, shape in self.shapes.items():
            cells = 1
            for n in shape:
                cells <<= num_bits(n)
            cuts, count = [((0, n),) for n in shape], 1
            full = [n / (1 << num_bits(n)) for n in shape]  # exact
            for axis in sorted(range(len(shape)), key=full.__getitem__) if cells >= SPLIT_FROM else ():  # most waste first
                pieces = axis_pieces(shape[axis])
                if len(shape) <= FEW_AXES or count * len(pieces) <= FEW_BOXES:
                    cuts[axis] = pieces
                    count *= len(pieces)
            if len(boxes) + count > MAX_BLOCKS:
                raise UnsupportedOperationError(
                    f"tensors fall into more than {MAX_BLOCKS} blocks; use lengths (steps, batch, layers) close to powers of two"
                )
            for box in itertools.product(*cuts):
                lengths = tuple(n for _, n in box)
                boxes.append((sum(num_bits(n) for n in lengths), key, tuple(s for s, _ in box), lengths))
        boxes.sort(key=lambda box: (-box[0], box[3]))
        pieces, offset = [], 0
        for bits, key, starts, lengths in boxes:
            pieces.append(Piece(key, starts, lengths, offset))
            offset += 1 << bits
        self.pieces = tuple(pieces)
        self.size = offset
        self.num_vars = num_bits(max(offset, 1))

    def __eq__(self, other):
        return isinstance(other, Layout) and self.pieces == other.pieces

    def __hash__(self):
        return hash(self.pieces)

    def with_cells(self, key, length: int, first: int, count: int) -> "Layout":
        """The same, and one tensor more that lies over others: their cells in order, padding cells too, as rows of ``length``, a power of
        two; ``count`` rows from row ``first`` on. Its boxes are powers of two of rows, each at a multiple of its size."""
        result, start, end = copy.copy(self), first, first + count
        while start < end:
            rows = 1 << ((end - start).bit_length() - 1)
            rows = min(rows, start & -start) if start else rows
            result.pieces += (Piece(key, (start - first, 0), (rows, length), start * length),)
            start += rows
        result.shapes = self.shapes | {key: (count, length)}
        return result

    def weights(self, point: list[Ext], vectors: Vectors | None = None) -> list[Weight]:
        """What the multilinear extension of the embedded tensors at ``point`` gives to each piece, last variables lowest.

        The point may be longer than num_vars: the layout then stands at index 0 of a larger cube. vectors: makes them.
        """
        vectors = vectors or Vectors()
        total = len(point)
        vectors.meter.charge("blocks of tensors", SCALAR * len(self.pieces) * (total + 2**4))
        memo, result = {}, []
        prefixes = {(0, 0): ONE}

        def prefix(count: int, index: int) -> Ext:
            """The polynomial that is 1 where the first ``count`` variables are the bits of ``index``; blocks share most of them."""
            if (count, index) not in prefixes:
                z = point[count - 1]
                prefixes[count, index] = prefix(count - 1, index >> 1) * (z if index & 1 else 1 - z)
            return prefixes[count, index]

        for piece in self.pieces:
            bits = piece.bits
            position = total - sum(bits)
            scalar = ONE if vectors.lengths_only else prefix(position, piece.offset >> sum(bits))
            along = []
            for axis, b in enumerate(bits):
                start, length, full = piece.starts[axis], piece.lengths[axis], self.shapes[piece.key][axis]
                key = position, b, start, length, full
                if key not in memo:
                    memo[key] = vectors.eq(point[position : position + b], length)
                    if length < full:
                        memo[key] = vectors.make(full, lambda piece=memo[key], start=start, full=full: _placed(piece, start, full))
                along.append(memo[key])
                position += b
            result.append(Weight(piece.key, scalar, tuple(along)))
        return result


def _placed(vector, start: int, full: int):
    """``vector`` at ``start`` of a zero vector of length ``full``."""
    placed = tuple(np.zeros(full, dtype=np.uint64) for _ in range(2))
    for target, source in zip(placed, vector, strict=True):
        target[start : start + len(source)] = source
    return placed
