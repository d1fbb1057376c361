"""Windows, convolutions and pools: the operation entry by entry, its folds, and what JAX's operations and gradients mean."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from field_values import random_vector
from flax import linen as nn
from harness import Liar
from hypothesis import given, settings
from hypothesis import strategies as st
from jax import lax
from nodes import evaluated, node
from sliding import NHWC, sliding
from test_meaning import evaluate

import zkjax
from zkjax.algebra import extension as ext
from zkjax.algebra import field
from zkjax.algebra.vectors import Vector
from zkjax.errors import UnsupportedOperationError
from zkjax.kernels.host import multiply
from zkjax.ops.window import Window
from zkjax.tracing.source import read

RNG = np.random.default_rng(0)
SMALL = st.integers(1, 3)
GEOMETRIES = st.builds(Window, st.integers(0, 2), st.integers(1, 5), st.integers(1, 4), SMALL, SMALL, st.integers(-3, 4))


def windows(x, w: Window):
    """Entry by entry."""
    shape = (*x.shape[: w.axis], w.out, w.size, *x.shape[w.axis + 1 :])
    found = np.zeros(shape, x.dtype)
    for index in np.ndindex(*shape):
        o, k = index[w.axis : w.axis + 2]
        place = w.stride * o + w.dilation * k - w.pad
        if 0 <= place < x.shape[w.axis]:
            found[index] = x[(*index[: w.axis], place, *index[w.axis + 2 :])]
    return found


@settings(max_examples=80, deadline=None)
@given(GEOMETRIES)
def test_entries(w):
    x = np.arange(1, 61).reshape(3, 5, 4)
    expected = windows(x, w)
    one = node("window", (0,), expected.shape, w.attributes())
    for array in (x, jnp.asarray(x, jnp.int32)):
        assert np.array_equal(evaluated(one, [x.shape], [array]), expected)
    steps = w.over_steps([np.stack([x, -x])], one, [x.shape], None)
    assert np.array_equal(steps, np.stack([expected, -expected]))
    assert w.infer_shape([x.shape], None) == expected.shape
    assert w.bound([7], [x.shape], None) == 7


class Folder:
    """A prover who folds arrays entry by entry."""

    multiply = staticmethod(multiply)

    def __init__(self, x, above):
        self.x, self.above, self.asked = x, above, 0

    def shape(self, i):
        return self.x.shape[1:]

    def fold(self, i, groups, kept):
        self.asked += 1
        return folded(self.x, groups, kept)

    def fold_values(self, i, groups, kept):
        return folded(self.above, groups, kept)


def folded(values, groups, kept):
    table = ext.from_base(field.from_int(values))
    rank = values.ndim - 1
    for axes, vector in groups:
        spread = [values.shape[d + 1] if d in axes else 1 for d in range(rank)]
        table = ext.mul(table, tuple(c.reshape(1, *spread) for c in vector))
    for d in sorted(set(range(rank)) - set(kept), reverse=True):
        table = ext.sum(table, axis=d + 1)
    order = [sorted(kept).index(d) + 1 for d in kept]
    return tuple(c.transpose(0, *order) for c in table)


@pytest.mark.parametrize("w", [Window(1, 4, 3, 1, 1, 1), Window(1, 2, 3, 2, 1, 0), Window(1, 3, 2, 1, 2, -1), Window(1, 3, 4, 2, 1, 2)])
def test_folds(w):
    """Along any of the axes, kept in any order: as of the windows written out, which only joined groups need."""
    x = RNG.integers(-50, 50, (2, 2, 5, 3))
    above = np.stack([windows(y, w) for y in x])
    shape, one = above.shape[1:], node("window", (0,), above.shape[1:], w.attributes())
    for count in range(5):
        for kept in itertools.permutations(range(4), count):
            rest = [d for d in range(4) if d not in kept]
            for joined in (False, True):
                groups = [(d,) for d in rest]
                if joined and {1, 2} <= set(rest):
                    groups = [(1, 2), *((d,) for d in rest if d not in (1, 2))]
                groups = [(axes, Vector(random_vector(RNG, int(np.prod([shape[d] for d in axes]))))) for axes in groups]
                prover = Folder(x, above)
                for found, wanted in zip(w.fold(1, one, groups, kept, prover), folded(above, groups, kept), strict=True):
                    assert np.array_equal(found, wanted)
                assert prover.asked == 1
    groups = [((0, 1), Vector(random_vector(RNG, shape[0] * shape[1]))), ((2,), Vector(random_vector(RNG, shape[2])))]
    prover = Folder(x, above)
    for found, wanted in zip(w.fold(1, one, groups, (3,), prover), folded(above, groups, (3,)), strict=True):
        assert np.array_equal(found, wanted)
    assert prover.asked == 0


# ---- what JAX's operations mean ------------------------------------------------------------------------------------


def normal(*shape):
    return RNG.normal(size=shape).astype(np.float32)


def agree(loss, params, *batch):
    """Loss and gradients in float64 against JAX's."""
    program = read(loss, optax.sgd(1 / 8), params, batch, None).program
    value, gradients = jax.jit(jax.value_and_grad(loss))(params, *batch)
    for found, wanted in zip(evaluate(program, jax.tree.leaves(params), batch), (value, *jax.tree.leaves(gradients)), strict=True):
        wanted = np.asarray(wanted, dtype=float)
        np.testing.assert_allclose(found, wanted, rtol=2e-4, atol=2e-5 * max(1.0, np.abs(wanted).max()))
    return program


# pictures' height, width and features; features given; kernel, strides, padding, dilation of both; groups of features, of the batch
CONVOLUTIONS = {
    "same": (8, 7, 3, 4, (3, 3), (1, 1), "SAME", (1, 1), (1, 1), 1, 1),
    "strides": (8, 7, 3, 4, (3, 2), (2, 3), "VALID", (1, 1), (1, 1), 1, 1),
    "groups, dilation": (9, 9, 4, 6, (3, 3), (2, 2), "SAME", (1, 1), (2, 1), 2, 1),
    "depthwise": (6, 6, 4, 4, (3, 3), (1, 1), ((1, 2), (0, 1)), (1, 1), (1, 1), 4, 1),
    "spread": (5, 5, 2, 3, (3, 3), (1, 1), ((2, 2), (2, 1)), (2, 2), (1, 1), 1, 1),
    "one by one": (6, 6, 3, 2, (1, 1), (1, 1), "VALID", (1, 1), (1, 1), 1, 1),
    "one by one, strides": (6, 6, 3, 2, (1, 1), (2, 2), "VALID", (1, 1), (1, 1), 1, 1),
    "patches": (7, 7, 3, 4, (2, 2), (2, 2), "VALID", (1, 1), (1, 1), 1, 1),
    "whole": (6, 6, 3, 4, (6, 6), (1, 1), "VALID", (1, 1), (1, 1), 1, 1),
    "cut off": (6, 6, 3, 4, (3, 3), (1, 1), ((-1, 0), (0, -1)), (1, 1), (1, 1), 1, 1),
    "column": (5, 5, 3, 4, (3, 1), (1, 1), "SAME", (1, 1), (1, 1), 1, 1),
    "groups of the batch": (6, 5, 3, 4, (2, 2), (1, 1), "VALID", (1, 1), (1, 1), 1, 2),
}


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_convolutions(name):
    height, width, features, given_, kernel, strides, padding, spread, dilation, groups, batches = CONVOLUTIONS[name]

    def loss(p, x):
        y = lax.conv_general_dilated(x * p["s"], p["w"], strides, padding, spread, dilation, NHWC, groups, batches)
        return jnp.sum(y * y * y) / 10

    agree(loss, {"w": normal(*kernel, features // groups, given_) * 0.3, "s": np.float32(0.8)}, normal(4, height, width, features))


def test_other_orders_of_axes():
    def loss(p, x):
        y = lax.conv_general_dilated(x * p["s"], p["w"], (2, 1), "SAME", dimension_numbers=("NCHW", "OIHW", "NCHW"))
        return jnp.sum(y**2 * jnp.arange(y.shape[1])[:, None, None])

    agree(loss, {"w": normal(4, 3, 3, 3), "s": np.float32(0.8)}, normal(2, 3, 6, 6))


def test_along_one_axis_and_transposed():
    agree(
        lambda p, x: jnp.sum(nn.Conv(4, (3,), strides=(2,)).apply(p, x) ** 2),
        nn.Conv(4, (3,)).init(jax.random.key(0), normal(2, 9, 3)),
        normal(2, 9, 3),
    )
    layer = nn.ConvTranspose(3, (3, 3), strides=(2, 2))
    agree(lambda p, x: jnp.sum(layer.apply(p, x) ** 2), layer.init(jax.random.key(0), normal(2, 4, 4, 2)), normal(2, 4, 4, 2))


def test_a_picture_at_a_time():
    def loss(p, x):
        return jnp.mean(jax.vmap(lambda one: jnp.sum(nn.max_pool(nn.relu(nn.Conv(3, (3, 3)).apply(p, one)), (2, 2), (2, 2)) ** 2))(x))

    agree(loss, nn.Conv(3, (3, 3)).init(jax.random.key(0), normal(6, 6, 2)), normal(4, 6, 6, 2))


def test_three_axes():
    layer = nn.Conv(2, (2, 2, 2))
    params = layer.init(jax.random.key(0), normal(2, 3, 3, 3, 2))
    agree(lambda p, x: jnp.sum(layer.apply(p, x) ** 2), params, normal(2, 3, 3, 3, 2))
    deep = nn.Conv(4, (2, 2, 2), feature_group_count=4)
    params = deep.init(jax.random.key(0), normal(2, 3, 3, 3, 4))
    agree(lambda p, x: jnp.sum(deep.apply(p, x) ** 2), params, normal(2, 3, 3, 3, 4))
    grouped = nn.Conv(4, (2, 2, 2), feature_group_count=2)
    with pytest.raises(UnsupportedOperationError, match="windows are a tensor of 9 axes"):
        x = normal(2, 3, 3, 3, 4)
        read(lambda p, x: jnp.sum(grouped.apply(p, x) ** 2), optax.sgd(1.0), grouped.init(jax.random.key(0), x), (x,), None)


POOLS = {"max": nn.max_pool, "min": lambda x, *rest: -nn.max_pool(-x, *rest), "average": nn.avg_pool}
WINDOWS = {
    "apart": ((2, 2), (2, 2), "VALID"),
    "overlapping": ((3, 3), (2, 2), "SAME"),
    "at every place": ((3, 3), (1, 1), "VALID"),
    "of two lengths": ((2, 3), (2, 2), "SAME"),
    "padded": ((3, 3), (3, 3), "SAME"),
    "with gaps": ((2, 2), (3, 3), "VALID"),
}


@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("name", POOLS)
def test_pools(name, window):
    def loss(p, x, rectify):
        y = jax.nn.relu(x @ p) if rectify else x @ p
        y = POOLS[name](y, *WINDOWS[window])
        return jnp.sum(y * y * jnp.arange(1, y.shape[1] + 1)[:, None, None])

    for rectify in (False, True):
        agree(lambda p, x, rectify=rectify: loss(p, x, rectify), normal(3, 2), normal(2, 7, 7, 3))


def test_the_first_of_equal_ones():
    agree(lambda p, x: jnp.sum(nn.max_pool(jnp.sign(x) * p, (3, 3), (2, 2), "SAME") ** 2), normal(3), normal(2, 7, 7, 3))


def test_a_minimum_in_windows():
    def loss(p, x):
        y = lax.reduce_window(x * p, jnp.inf, lax.min, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")
        return jnp.sum(y**2)

    agree(loss, normal(3), normal(2, 6, 6, 3))


def test_what_a_relu_lets_through_is_the_maximum_s():
    """Of a ReLU before a pool only the maxima are rectified; a gradient beside it, of another reader, is not lost."""

    def loss(p, x, beside):
        y = jax.nn.relu(x @ p)
        return jnp.sum(nn.max_pool(y, (2, 2), (2, 2)) ** 2) + beside * jnp.sum(y**2)

    x, p = normal(2, 4, 4, 3), normal(3, 2)
    alone = agree(lambda p, x: loss(p, x, 0), p, x)
    agree(lambda p, x: loss(p, x, 1), p, x)
    circuit = zkjax.trace(lambda p, x: loss(p, x, 0) / 64, optax.sgd(1 / 64), p, batch=(x,), chunk=1)
    assert alone is not None and not circuit.of("sign") and circuit.of("largest")


@jax.custom_jvp
def straight_through(x):
    return jnp.maximum(x, 0)


straight_through.defjvp(lambda primals, tangents: (straight_through(*primals), *tangents))


def test_a_gradient_that_passes_no_relu():
    """Where a window holds nothing above 0, the first of its zeros takes the gradient, as in JAX."""
    agree(lambda p, x: jnp.sum(nn.max_pool(straight_through(x * p), (2, 2), (2, 2)) + jnp.sum(p)), normal(3), -np.abs(normal(2, 4, 4, 3)))
    agree(lambda p, x: jnp.sum(nn.max_pool(straight_through(x * p), (2, 2), (2, 2)) + jnp.sum(p)), normal(3), normal(2, 4, 4, 3))


def test_a_maximum_of_what_is_spread_out():
    def loss(p, x):
        window = (1, 2, 2, 1)
        return jnp.sum(lax.reduce_window(x * p, -jnp.inf, lax.max, window, (1, 1, 1, 1), "VALID", base_dilation=window))

    with pytest.raises(UnsupportedOperationError, match="spread out"):
        read(loss, optax.sgd(1.0), np.float32(1), (normal(2, 4, 4, 1),), None)


def test_a_maximum_beyond_the_ends():
    """What is far below any number that might stand for minus infinity has its maximum all the same; of nothing there is none."""
    agree(lambda p, x: jnp.sum(nn.max_pool(x * p - 100, (3, 3), (2, 2), "SAME") ** 2) / 1e4, normal(3), normal(2, 7, 7, 3))

    def loss(p, x, sides):
        padding = ((0, 0), *sides, (0, 0))
        return jnp.sum(lax.reduce_window(x * p, -jnp.inf, lax.max, (1, 3, 3, 1), (1, 1, 2, 1), padding) ** 2)

    agree(lambda p, x: loss(p, x, ((2, 0), (0, 2))), normal(1), normal(2, 4, 5, 1))
    for sides in (((3, 0), (0, 0)), ((0, 0), (0, 4))):
        with pytest.raises(UnsupportedOperationError, match="of nothing"):
            read(lambda p, x, sides=sides: loss(p, x, sides), optax.sgd(1.0), normal(1), (normal(2, 4, 5, 1),), None)


def test_a_convolutional_net_breaks_nothing():
    """Every constraint of its proof holds, and a cell off by one breaks some."""
    circuit, run = sliding()
    assert {"window", "largest", "first"} <= {x.op for x in circuit.nodes}
    assert Liar(run).broken() == set()
