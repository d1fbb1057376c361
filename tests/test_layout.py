"""Layouts: the weights of a point are exactly what embedding the tensors and evaluating there gives."""

import random

import numpy as np
import pytest
from field_values import arrays_over_k, blocks
from hypothesis import given
from hypothesis import strategies as st

from zkjax.algebra import extension as ext
from zkjax.algebra import field, poly
from zkjax.algebra.extension import ONE, ZERO, Ext
from zkjax.algebra.field import P
from zkjax.algebra.layout import MAX_WASTE, SPLIT_FROM, Layout, axis_pieces
from zkjax.algebra.vectors import total
from zkjax.prover import aggregate

shapes = st.lists(st.lists(st.integers(1, 7), max_size=3).map(tuple), min_size=1, max_size=5)
SPLIT_SHAPES = [(3, 373), (1100,), (33, 40), (784, 10)]  # from 2^10 cells on, axes may be split


def tensors(shapes, seed):
    rng = np.random.default_rng(seed)
    return {i: rng.integers(0, P, size=shape, dtype=np.uint64) for i, shape in enumerate(shapes)}


def embed(layout, values, num_vars, fill=0):
    cells = blocks(layout, values, fill)
    flat = np.concatenate(cells) if cells else np.zeros(0, dtype=np.uint64)
    assert len(flat) == layout.size
    return np.concatenate([flat, np.zeros((1 << num_vars) - layout.size, dtype=np.uint64)])


def weigh(weight, tensor):
    """scalar * <tensor, outer product of the vectors>."""
    values = ext.from_base(tensor)
    for vector in weight.vectors:  # contracts the first axis each time
        column = tuple(c.reshape(-1, *[1] * (values[0].ndim - 1)) for c in vector)
        values = tuple(np.asarray(c) for c in ext.sum(ext.mul(values, column), axis=0))
    return weight.scalar * ext.unstack(tuple(c.reshape(1) for c in values))[0]


def check(shapes, point_seed, extra):
    layout, values = Layout(dict(enumerate(shapes))), tensors(shapes, 0)
    point = arrays_over_k(random.Random(point_seed), layout.num_vars + extra)
    clean = embed(layout, values, len(point))
    expected = ext.dot(ext.from_base(clean), poly.eq_vector(point))
    assert sum((weigh(w, values[w.key]) for w in layout.weights(point)), ZERO) == expected
    return layout, values, point


@given(shapes, st.integers(0, 2**32), st.integers(0, 2))
def test_weights_match_the_embedding(shapes, point_seed, extra):
    check(shapes, point_seed, extra)


def test_weights_of_split_axes():
    layout, _, _ = check(SPLIT_SHAPES, 1, 1)
    assert len(layout.pieces) > len(SPLIT_SHAPES)


def test_padding_is_never_read():
    """Garbage between the tensors changes the embedding and no weight: each weight sees its own true cells only."""
    layout, values, point = check([(3, 5), (5,), (3, 373)], 2, 0)
    garbage, clean = embed(layout, values, len(point), fill=12345), embed(layout, values, len(point))
    assert not np.array_equal(garbage, clean)
    eq = poly.eq_vector(point)
    read = np.zeros(len(clean), dtype=bool)
    for piece, weight in zip(layout.pieces, layout.weights(point), strict=True):
        unit = np.zeros(layout.shapes[piece.key], dtype=np.uint64)
        box = tuple(slice(s, s + n) for s, n in zip(piece.starts, piece.lengths, strict=True))
        unit[box] = 1
        marked = {key: unit if key == piece.key else np.zeros(shape, dtype=np.uint64) for key, shape in layout.shapes.items()}
        cells = embed(layout, marked, len(point)).astype(bool)
        read |= cells
        tensor = values[piece.key] * unit
        assert weigh(weight, tensor) == ext.dot(ext.from_base(np.where(cells, garbage, np.uint64(0))), eq)
    assert np.array_equal(garbage[read], clean[read]) and (garbage[~read & (garbage != clean)] == 12345).all()


def test_blocks_are_aligned_disjoint_and_largest_first():
    layout = Layout(dict(enumerate([*SPLIT_SHAPES, (1,), (), (5, 3)])))
    at = 0
    sizes = [1 << sum(piece.bits) for piece in layout.pieces]
    assert sizes == sorted(sizes, reverse=True)
    for piece, size in zip(layout.pieces, sizes, strict=True):
        assert piece.offset == at and piece.offset % size == 0
        at += size
    assert layout.size == at <= 1 << layout.num_vars


def test_every_cell_is_embedded_once():
    values = {i: np.arange(np.prod(shape), dtype=np.uint64).reshape(shape) + 1 for i, shape in enumerate(SPLIT_SHAPES)}
    layout = Layout({i: v.shape for i, v in values.items()})
    cells = np.concatenate(blocks(layout, values))
    expected = np.concatenate([v.reshape(-1) for v in values.values()])
    assert np.array_equal(np.sort(cells[cells > 0]), np.sort(expected))


def test_blocks_of_jax_arrays(xp):
    values = tensors(SPLIT_SHAPES, 3)
    layout = Layout(dict(enumerate(SPLIT_SHAPES)))
    for a, b in zip(blocks(layout, {k: xp.asarray(v) for k, v in values.items()}, 9), blocks(layout, values, 9), strict=True):
        assert np.array_equal(np.asarray(a), b)


@pytest.mark.parametrize("length", [1, 2, 3, 5, 10, 784, 1000, 1024, 1025, 3072, 3548, 4097])
def test_axis_pieces_cover_the_axis(length):
    pieces = axis_pieces(length)
    assert len(pieces) <= 3
    assert [s for s, _ in pieces] == [sum(n for _, n in pieces[:i]) for i in range(len(pieces))]
    assert sum(n for _, n in pieces) == length
    padded = sum(1 << poly.num_bits(n) for _, n in pieces)
    assert padded <= max(length * (1 + MAX_WASTE), length + 1) or len(pieces) == 3
    assert padded <= 1 << poly.num_bits(length)


def test_axis_pieces_examples():
    assert axis_pieces(3548) == ((0, 2048), (2048, 1024), (3072, 476))
    assert axis_pieces(3072) == ((0, 2048), (2048, 1024))
    assert axis_pieces(1000) == ((0, 1000),)
    assert Layout({"small": (3, 5)}).size == 32 < SPLIT_FROM


def test_empty_and_scalar_layouts():
    assert Layout({}).num_vars == 0 and Layout({}).weights([]) == []
    (weight,) = Layout({"x": ()}).weights([])
    assert weight.scalar == ONE and weight.vectors == ()


def test_total():
    vector = arrays_over_k(random.Random(4), 9)
    assert total(ext.stack(vector)) == sum(vector, Ext(0))


@pytest.mark.parametrize("shapes", [[(3, 5), (), (7,), (2, 2, 2)], SPLIT_SHAPES])
@pytest.mark.parametrize("dtype", [np.int64, np.int32, np.uint32, np.uint64])
def test_embedding_takes_signed_integers_as_field_elements(shapes, dtype):
    rng, layout = np.random.default_rng(0), Layout(dict(enumerate(shapes)))
    limits = np.iinfo(dtype) if dtype is not np.uint64 else np.iinfo(np.uint32)
    values = {key: rng.integers(limits.min, limits.max, shape, dtype=dtype) for key, shape in layout.shapes.items()}
    expected = embed(layout, {key: field.from_int(np.asarray(x)) for key, x in values.items()}, layout.num_vars + 1)
    assert np.array_equal(aggregate.embed(layout, values, 2 << layout.num_vars), expected)
