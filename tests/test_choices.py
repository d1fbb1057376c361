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
