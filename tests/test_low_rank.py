"""Separable weights as a product of two matrices: the same as adding up the outer products."""

from unittest import mock

import jax
import numpy as np
import pytest
from field_values import random_vector

from zkjax.algebra import extension as ext
from zkjax.algebra.low_rank import factorised
from zkjax.algebra.vectors import Vector
from zkjax.kernels.sites import low_rank

SHAPE = 3, 4, 2, 5


def outer_products(products, shape):
    total = (np.zeros(shape, np.uint64),) * 2
    for product in products:
        weights = tuple(np.broadcast_to(c.reshape((1,) * len(shape)), shape) for c in ext.stack([1]))
        for axes, v in product:
            weights = ext.mul(weights, tuple(c.reshape([n if d in axes else 1 for d, n in enumerate(shape)]) for c in v))
        total = ext.add(total, weights)
    return tuple(c.reshape(-1) for c in total)


@pytest.mark.parametrize(
    "partitions, cut",
    [
        ([((0,), (1,), (2,), (3,))], 3),
        ([((0,), (1, 2), (3,)), ((0,), (1,), (2,), (3,))], 3),
        ([((0,), (1,), (2, 3)), ((0,), (1,), (2,), (3,))], 2),
        ([((0,), (1, 3), (2,))], 1),
        ([((0, 3), (1, 2))], 0),
        ([((), (0,), (1,), (3,))], 3),  # axes without a vector
        ([((),)], 3),
    ],
)
def test_the_product_of_the_factors_is_the_sum_of_the_terms(partitions, cut):
    rng = np.random.default_rng(0)
    shared = {axes: random_vector(rng, int(np.prod([SHAPE[d] for d in axes]))) for axes in {g for p in partitions for g in p}}
    products = [[(axes, random_vector(rng, len(shared[axes][0]))) for axes in partition] for partition in partitions for _ in range(5)]

    def fresh_or_shared(axes):
        return shared[axes] if axes and max(axes) >= cut else random_vector(rng, len(shared[axes][0]))

    products += [[(axes, fresh_or_shared(axes)) for axes in partition] for partition in partitions * 6]
    left, right = factorised(products, SHAPE)
    assert left[0].shape[0] == np.prod(SHAPE[:cut]) and right[0].shape[1] == np.prod(SHAPE[cut:])
    assert right[0].shape[0] <= 6 * len(partitions)  # terms with the same vectors on the right are one
    expected = [c.reshape(left[0].shape[0], -1) for c in outer_products(products, SHAPE)]
    assert all(np.array_equal(a, b) for a, b in zip(low_rank(left, right), expected, strict=True))
    with jax.enable_x64(True):
        assert all(np.array_equal(a, b) for a, b in zip(jax.jit(low_rank)(left, right), expected, strict=True))


def test_equal_vectors_of_several_origins_are_one():
    rng = np.random.default_rng(0)
    units = [random_vector(rng, SHAPE[3]) for _ in range(3)]
    copies = [Vector(c.copy() for c in units[i % 3]) for i in range(12)]
    products = [[((0,), random_vector(rng, SHAPE[0])), ((3,), copy)] for copy in copies]
    left, right = factorised(products, SHAPE)
    assert right[0].shape[0] == 3
    expected = [c.reshape(left[0].shape[0], -1) for c in outer_products(products, SHAPE)]
    assert all(np.array_equal(a, b) for a, b in zip(low_rank(left, right), expected, strict=True))


def test_entries_of_a_matrix_are_one_term():
    """Each with a number and copies of vectors of its own, as where a confusion matrix is revealed."""
    rng = np.random.default_rng(0)
    step, row = random_vector(rng, SHAPE[0]), random_vector(rng, SHAPE[1])
    units = [[Vector(ext.from_base(np.eye(1, n, i, dtype=np.uint64)[0])) for i in range(n)] for n in (SHAPE[2], SHAPE[3])]

    def products(pairs):
        copied = [Vector(c.copy() for c in v) for v in (step, row)]
        return [[((), random_vector(rng, 1)), ((0,), copied[0]), ((1,), copied[1]), ((2,), a), ((3,), b)] for a, b in pairs]

    entries = products([(a, b) for a in units[0] for b in units[1]])
    more = products([(units[0][0], units[1][0]), (units[0][0], units[1][0])])  # several numbers of one product
    with mock.patch.object(ext, "add", wraps=ext.add) as added:
        left, right = factorised(entries + more, SHAPE)
    assert right[0].shape[0] <= SHAPE[2] and added.call_count < SHAPE[2] * SHAPE[3]
    expected = [c.reshape(left[0].shape[0], -1) for c in outer_products(entries + more, SHAPE)]
    assert all(np.array_equal(a, b) for a, b in zip(low_rank(left, right), expected, strict=True))


def test_one_number():
    (value,) = factorised([[((), Vector(ext.stack([5])))], [((), Vector(ext.stack([7])))]], ())[0][0].reshape(1, -1).sum(axis=1)
    assert value == 12
