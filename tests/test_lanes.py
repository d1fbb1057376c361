"""The opening's weights as lanes: the same as the outer products of all terms, embedded."""

import numpy as np
import pytest
from field_values import blocks, dense, random_vector
from hypothesis import given
from hypothesis import strategies as st

from zkjax.algebra import extension as ext
from zkjax.algebra.extension import Ext
from zkjax.algebra.field import P
from zkjax.algebra.layout import Layout
from zkjax.algebra.poly import eq_vector, num_bits
from zkjax.algebra.vectors import Vector
from zkjax.protocol.claims import Term
from zkjax.prover.lanes import row_lanes

ROW = 64


def element(rng) -> Ext:
    return Ext(*(int(v) for v in rng.integers(0, P, 2, dtype=np.uint64)))


def vector(rng, length: int, kind: str):
    if kind == "eq":
        return Vector(eq_vector([element(rng) for _ in range(num_bits(length))], length))
    if kind == "zero":
        return Vector(ext.stack([0] * length))
    return random_vector(rng, length)


def expected(layout, by_key, count):
    """Each term's outer product on its whole tensor, cut into the layout's blocks."""
    tables = {key: (np.zeros(shape, np.uint64),) * 2 for key, shape in layout.shapes.items()}
    for key, terms in by_key.items():
        for term in terms:
            shape = layout.shapes[key]
            product = tuple(np.broadcast_to(c.reshape((1,) * len(shape)), shape) for c in ext.stack([term.scalar]))
            first = term.step is not None
            groups = [((0,), term.step)] if first else []
            groups += [(tuple(d + first for d in g), v) for g, v in zip(term.groups, term.vectors, strict=True)]
            for group, v in groups:
                product = ext.mul(product, tuple(c.reshape([n if d in group else 1 for d, n in enumerate(shape)]) for c in v))
            tables[key] = ext.add(tables[key], product)
    flat = [np.concatenate(blocks(layout, {key: t[c] for key, t in tables.items()})) for c in range(2)]
    return tuple(np.pad(c, (0, count * ROW - len(c))).reshape(count, ROW) for c in flat)


@st.composite
def cases(draw):
    """Tensors from single cells to many rows, some cut into blocks, with terms whose groups may join or interleave axes."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    shapes, by_key = {}, {}
    for key in range(draw(st.integers(1, 4))):
        shape = tuple(draw(st.lists(st.sampled_from([1, 2, 3, 4, 5, 8, 13, 16, 40]), min_size=1, max_size=3)))
        shapes[key] = shape
        terms = []
        for _ in range(draw(st.integers(0, 3))):
            first = draw(st.booleans())
            kinds = st.sampled_from(["eq", "eq", "any", "zero"])
            step = vector(rng, shape[0], draw(kinds)) if first else None
            axes = list(range(len(shape) - first))
            partition = draw(st.sampled_from([[[d] for d in axes], [axes], [axes[::2], axes[1::2]]]))
            groups = tuple(tuple(g) for g in partition if g)
            vectors = tuple(vector(rng, int(np.prod([shape[d + first] for d in g])), draw(kinds)) for g in groups)
            terms.append(Term(("t", key), element(rng), step, groups, vectors))
            if draw(st.booleans()):  # another term that shares vectors
                terms.append(Term(("t", key), element(rng), step and vector(rng, shape[0], "any"), groups, vectors))
        by_key[key] = terms
    return Layout(shapes), by_key


@given(cases())
def test_lanes_add_up_to_the_terms(case):
    layout, by_key = case
    count = -(-layout.size // ROW)
    found = dense(row_lanes(layout, by_key, count, ROW), count, ROW)
    for a, b in zip(found, expected(layout, by_key, count), strict=True):
        assert np.array_equal(a, b)


@pytest.mark.parametrize("shape", [(4, 8, 16), (5, 13, 3)])
def test_many_terms_are_added_up(shape):
    """As those of a confusion matrix: a row of a block has one lane then, whatever its terms are."""
    rng, layout = np.random.default_rng(0), Layout({0: shape})

    def term(i):
        unit = Vector(ext.stack([int(j == i % shape[2]) for j in range(shape[2])]))
        return Term(("t", 0), element(rng), vector(rng, shape[0], "eq"), ((0,), (1,)), (vector(rng, shape[1], "any"), unit))

    by_key, count = {0: [term(i) for i in range(40)]}, -(-layout.size // ROW)
    lanes = row_lanes(layout, by_key, count, ROW)
    assert len(lanes) == count
    for a, b in zip(dense(lanes, count, ROW), expected(layout, by_key, count), strict=True):
        assert np.array_equal(a, b)


def test_equal_tensors_share_their_lanes():
    rng = np.random.default_rng(0)
    layout = Layout({key: (4, 8, 16) for key in range(5)})
    step, row, column = (vector(rng, n, "eq") for n in (4, 8, 16))
    by_key = {key: [Term(("t", key), element(rng), step, ((0,), (1,)), (row, column))] for key in range(5)}
    lanes = row_lanes(layout, by_key, 40, ROW)
    assert [lane.length for lane in lanes] == [ROW]  # half of an eq vector is a multiple of the other half
    general = {key: [Term(("t", key), element(rng), step, ((0,), (1,)), (vector(rng, 8, "any"), column))] for key in range(5)}
    assert len(row_lanes(layout, general, 40, ROW)) == 10  # no halves of these are multiples of each other: each of them has a lane


@pytest.mark.parametrize("host", [0, 2**18])
def test_compiled_and_on_the_host(monkeypatch, x64, host):
    monkeypatch.setattr("zkjax.prover.aggregate.HOST", host)
    rng = np.random.default_rng(0)
    layout = Layout({key: (4, 8, 16) for key in range(3)})
    by_key = {
        key: [Term(("t", key), element(rng), None, ((0, 1), (2,)), (vector(rng, 32, "any"), vector(rng, 16, "any")))] for key in (0, 2)
    }
    count = layout.size // ROW
    found = dense(row_lanes(layout, by_key, count, ROW), count, ROW)
    assert all(np.array_equal(a, b) for a, b in zip(found, expected(layout, by_key, count), strict=True))
