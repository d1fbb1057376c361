"""Choices among several cases, and where numbers stand in order, beside floating point: each of these once was refused."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from beside import followed
from harness import Liar
from test_idioms import PARAMS, T, X, squares

PLACES = np.array([2, -1, 1, 0, 4, 1, 0, 3], np.int32)  # of three: some are beyond the ends


CASES = {
    "select": lambda z: jnp.select([z > 1, z > 0, z > -1], [z, 2 * z, z * z], 0.3 * z),
    "select between conditions": lambda z: jnp.where(jnp.select([z > 1, z > 0], [z < 2, z < 0.5], False), z, 2 * z),
    "piecewise": lambda z: jnp.piecewise(z, [z < -1, z > 1], [-1.0, lambda z: 2 * z - 1, lambda z: z * z]),
}


def checked(loss, data, limit=0.01):
    _, run, off = followed(loss, optax.sgd(0.1), PARAMS, data)
    assert off < limit and Liar(run).broken() == set()


@pytest.mark.parametrize("name", CASES)
def test_one_of_several_cases(name):
    checked(squares(CASES[name]), (X, T))


def _chosen(which, z):
    """The cases by an integer of each row."""
    return jax.lax.select_n(jnp.broadcast_to(which[:, None], z.shape), z, 2 * z, z * z)


def test_a_case_by_an_integer_of_the_data():
    """Beyond the ends it is the first or the last."""
    checked(lambda p, x, i: jnp.mean(_chosen(i, x @ p["w"])), (X, PLACES))


def test_a_case_by_an_integer_of_two_tensors():
    checked(lambda p, x, i, k: jnp.mean(_chosen(i - k, x @ p["w"])), (X, PLACES, PLACES[::-1].copy()))


def test_a_case_by_the_place_of_a_maximum():
    checked(lambda p, x, t: jnp.mean(_chosen(jnp.argmax((x @ p["w"])[:, :3], axis=1), x @ p["w"]) * t), (X, T))


BINS, HEIGHTS = jnp.linspace(-2.0, 2.0, 5), jnp.array([0.0, 1.0, -1.0, 2.0, 0.5])
SEARCHES = {
    "searchsorted": lambda t: jnp.searchsorted(BINS, t),
    "from the right": lambda t: jnp.searchsorted(BINS, t, side="right"),
    "compared with all": lambda t: jnp.searchsorted(BINS, t, side="right", method="compare_all"),
    "in each row": lambda t: jax.vmap(lambda row: jnp.searchsorted(BINS, row))(t),
    "digitize": lambda t: jnp.digitize(t, BINS),
    "digitize, downwards": lambda t: jnp.digitize(t, BINS[::-1], right=True),
    "in an array without order": lambda t: jnp.searchsorted(BINS[jnp.array([2, 0, 4, 1])], t),
    "in a large array": lambda t: jnp.searchsorted(jnp.linspace(-2.0, 2.0, 65), t) / 32,
    "of integers": lambda t: jnp.searchsorted(jnp.array([-1, 1, 1, 2]), (t > 0) * jnp.arange(4)),
    "interp": lambda t: jnp.interp(t, BINS, HEIGHTS),
    "an embedding": lambda t: jnp.stack([HEIGHTS, -HEIGHTS, HEIGHTS, HEIGHTS[::-1]])[jnp.clip(jnp.digitize(t[:, 0], BINS), 0, 3)][:, :4],
}


@pytest.mark.parametrize("name", SEARCHES)
def test_searches_among_constants(name):
    """Of data, on a grid, of which some are the very constants: the circuit's function has the steps of JAX's search."""
    data = np.round(T * 2) / 2
    checked(lambda p, x, t: jnp.mean((x @ p["w"] - SEARCHES[name](t)) ** 2), (X, data), 0.003)


def test_a_function_by_pieces_of_a_prediction():
    checked(squares(lambda z: jnp.interp(z, BINS, HEIGHTS)), (X, T))
    checked(squares(lambda z: z * jnp.digitize(z, BINS)), (X, T))


def test_what_is_only_named_as_a_search():
    """It is not JAX's, and means what it says."""

    @jax.jit
    def searchsorted(a, x):
        return jnp.sum(a) * x

    checked(squares(lambda z: searchsorted(BINS + 1, z)), (X, T))


CONDITIONS = {
    "any": lambda z, t: jnp.any(t > 1, axis=1, keepdims=True),
    "all": lambda z, t: jnp.all(t < 1, axis=1, keepdims=True),
    "any at all": lambda z, t: jnp.any(t > 1),
    "not any": lambda z, t: ~jnp.any(~(t > 1), axis=0),
    "any of what is computed": lambda z, t: jnp.any(z > 1, axis=1, keepdims=True),
}


@pytest.mark.parametrize("name", CONDITIONS)
def test_some_or_all(name):
    checked(lambda p, x, t: jnp.mean(jnp.where(CONDITIONS[name](x @ p["w"], t), 1, 2) * (x @ p["w"] - t) ** 2), (X, T))


@pytest.mark.parametrize("axes", [0, 1, None])
def test_products_along_axes(axes):
    checked(lambda p, x, t: jnp.mean((x @ p["w"] - jnp.prod(t[:3, :3], axis=axes).sum()) ** 2), (X, T))
    checked(lambda p, x, t: jnp.mean((jnp.prod(1 + (x @ p["w"])[:3, :3] / 8, axis=axes) - 2) ** 2), (X, T))
