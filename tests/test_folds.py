"""Folds of integer tensors by vectors over K, along any axes, on the host and compiled: against field arithmetic."""

from itertools import combinations, permutations
from math import prod

import numpy as np
import pytest

from zkjax.algebra import extension as ext
from zkjax.algebra import field
from zkjax.algebra.field import P
from zkjax.kernels.threads import scope
from zkjax.prover import witness


def expected(values, first, kept, vector):
    ordered = values.transpose(0, *(d + 1 for d in (*kept, *first))).reshape(len(values), -1, vector[0].shape[-1])
    product = ext.mul_base(tuple(c.reshape(-1, 1, c.shape[-1]) for c in vector), field.from_int(ordered))
    return tuple(c.reshape(-1) for c in ext.sum(product, axis=2))


@pytest.mark.parametrize("bits", [12, 45])
@pytest.mark.parametrize("steps, vectors", [(1, None), (1, 1), (3, None), (3, 3)])
@pytest.mark.parametrize("shape, host", [((9,), 2**18), ((3, 4), 2**18), ((2, 3, 4), 2**18), ((2, 3, 4), 0)])
def test_all_orders_of_axes(monkeypatch, shape, steps, vectors, host, bits):
    monkeypatch.setattr(witness, "HOST", host)
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
                found = witness.fold_axes(values, first, list(kept), vector, bits)
            for a, b in zip(found, expected(values, first, kept, vector), strict=True):
                assert np.array_equal(np.asarray(a).reshape(-1), b)
