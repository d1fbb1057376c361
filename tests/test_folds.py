"""Folds of integer tensors by vectors over K, along any axes, on the host and compiled, and of one-hots: against field arithmetic."""

from itertools import combinations, permutations
from math import prod

import numpy as np
import pytest

from zkjax.algebra import extension as ext
from zkjax.algebra import field
from zkjax.algebra.field import P
from zkjax.kernels.threads import scope
from zkjax.prover import folds


def expected(values, first, kept, vector):
    ordered = values.transpose(0, *(d + 1 for d in (*kept, *first))).reshape(len(values), -1, vector[0].shape[-1])
    product = ext.mul_base(tuple(c.reshape(-1, 1, c.shape[-1]) for c in vector), field.from_int(ordered))
    return tuple(c.reshape(-1) for c in ext.sum(product, axis=2))


@pytest.mark.parametrize("bits", [12, 45])
@pytest.mark.parametrize("steps, vectors", [(1, None), (1, 1), (3, None), (3, 3)])
@pytest.mark.parametrize("shape, host", [((9,), 2**18), ((3, 4), 2**18), ((2, 3, 4), 2**18), ((2, 3, 4), 0)])
def test_all_orders_of_axes(monkeypatch, shape, steps, vectors, host, bits):
    monkeypatch.setattr(folds, "HOST", host)
    monkeypatch.setattr("zkjax.prover.aggregate.HOST", host)
    rng = np.random.default_rng(bits)
    values = rng.integers(-(2**bits), 2**bits, (steps, *shape), endpoint=True)
    axes = range(len(shape))
    for first in (x for n in range(len(shape) + 1) for x in combinations(axes, n)):
        length = prod(shape[d] for d in first)
        vector = tuple(rng.integers(0, P, (vectors, length) if vectors else length, dtype=np.uint64) for _ in range(2))
        for kept in permutations(d for d in axes if d not in first):
            if host == 0 and (kept != tuple(sorted(kept)) or len(first) > 1):
                continue  # compiled: the cases that differ
            with scope():
                found = folds.along_axes(values, first, list(kept), vector, bits)
            for a, b in zip(found, expected(values, first, kept, vector), strict=True):
                assert np.array_equal(np.asarray(a).reshape(-1), b)


# ---- one-hots ----------------------------------------------------------------------------------------------------
RNG = np.random.default_rng(0)
STEPS, SHAPE, FIRST = 3, (4, 2, 5, 3), 2
PLACES = RNG.integers(-1, 15, (STEPS, *SHAPE[:FIRST]))


def vector(*shape):
    return tuple(RNG.integers(0, P, shape, dtype=np.uint64) for _ in range(2))


def written_out(groups, kept):
    """The same entry by entry. A vector may have a row for each step."""
    ones = (PLACES.reshape(STEPS, -1, 1) == np.arange(15)).reshape(STEPS, *SHAPE).astype(np.uint64)
    table = ext.from_base(ones)
    for axes, v in groups:
        table = ext.mul(table, tuple(c.reshape(-1, *(n if d in axes else 1 for d, n in enumerate(SHAPE))) for c in v))
    for d in reversed(range(len(SHAPE))):
        table = table if d in kept else ext.sum(table, axis=d + 1)
    return tuple(c.transpose(0, *(1 + sorted(kept).index(d) for d in kept)) for c in table)


FOLDS = {
    "places kept": ([((0,), vector(4)), ((1,), vector(2))], (2, 3)),
    "in another order": ([((0, 1), vector(8))], (3, 2)),
    "and an axis before": ([((0,), vector(4))], (2, 1, 3)),
    "places folded together": ([((0,), vector(4)), ((2, 3), vector(15))], (1,)),
    "one by one": ([((3,), vector(3)), ((2,), vector(5))], (1, 0)),
    "all folded": ([((0,), vector(4)), ((1,), vector(2)), ((2,), vector(5)), ((3,), vector(3))], ()),
    "a vector for each step, places kept": ([((0, 1), vector(STEPS, 8))], (2, 3)),
    "a vector for each step": ([((2, 3), vector(STEPS, 15))], (1, 0)),
}


@pytest.mark.parametrize("name", FOLDS)
def test_folds_by_places_are_those_written_out(name):
    found = folds.by_places(PLACES, SHAPE, *FOLDS[name])
    assert all(np.array_equal(a, b) and a.shape == b.shape for a, b in zip(found, written_out(*FOLDS[name]), strict=True))


def test_what_places_do_not_fold():
    """Some axes of the places kept and others folded, or a group of such an axis and one before."""
    for groups, kept in (
        ([((0,), vector(4)), ((1,), vector(2)), ((2,), vector(5))], (3,)),
        ([((0,), vector(4)), ((1, 2, 3), vector(30))], ()),
    ):
        assert folds.by_places(PLACES, SHAPE, groups, kept) is None
