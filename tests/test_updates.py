"""Parts of arrays that are read at an index or replaced there, beside floating point: each of these once was refused."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from beside import followed
from harness import Liar
from jax import lax
from test_idioms import PARAMS, T, X, cross_entropy, squares

from zkjax.errors import UnsupportedOperationError

PLACES = np.array([1, -1, 0, 2, 6, 1, 0, -6], np.int32)  # some are beyond an array of four entries
NUMBERS = [0, 2]


def checked(loss, data=(X, T)):
    _, run, off = followed(loss, optax.sgd(0.1), PARAMS, data)
    assert off < 0.01 and Liar(run).broken() == set()


REPLACED = {
    "a column": lambda z: z.at[:, 0].set(0.0),
    "the last row": lambda z: z.at[-1].set(1.0),
    "columns": lambda z: z.at[:, 1:3].set(z[:, :2]),
    "columns, added": lambda z: z.at[:, 1:3].add(z[:, :2]),
    "columns, multiplied": lambda z: z.at[:, 1:3].multiply(z[:, :2]),
    "rows, multiplied by constants": lambda z: z.at[1:3].multiply(0.5),
    "an entry": lambda z: z.at[-1, 0].set(5.0),
    "part of a column": lambda z: z.at[1:3, 0].set(z[0, 0]),
    "a rectangle": lambda z: z.at[1:3, 1:].set(2 * z[:2, 1:]),
    "every other row": lambda z: z.at[::2].set(0.0),
    "rows by their numbers": lambda z: z.at[jnp.array(NUMBERS)].set(2 * z[:2]),
    "entries by their numbers": lambda z: z.at[jnp.array(NUMBERS), jnp.array([1, 3])].set(1.0, unique_indices=True),
    "a column beyond the array": lambda z: z.at[:, 7].set(1.0),
    "a row within and one beyond": lambda z: z.at[jnp.array([1, 9])].set(1.0).at[jnp.array([2, 9])].add(0.5),
    "conditions": lambda z: jnp.where((z > 0).at[:, 0].set(True), z, 2 * z),
    "constants": lambda z: jnp.arange(4.0).at[1:3].set(z[0, :2]) * z,
    "a slice": lambda z: lax.dynamic_update_slice(z, 2 * z[:2, :2], (1, 1)),
    "a slice that would leave the array": lambda z: lax.dynamic_update_slice_in_dim(z, 2 * z[:2], 7, axis=0),
}


@pytest.mark.parametrize("name", REPLACED)
def test_what_is_replaced(name):
    checked(squares(REPLACED[name]))


SCORES = {
    "replaced": lambda z, low: z.at[:, 0].set(low),
    "put among low ones": lambda z, low: jnp.full((4, 4), low).at[:, 1:].set(z[:, 1:]),
    "one by one": lambda z, low: z.at[jnp.arange(4), jnp.zeros(4, int)].set(low),
}


@pytest.mark.parametrize("low", [-1e9, -jnp.inf])
@pytest.mark.parametrize("name", SCORES)
def test_scores_that_are_replaced_by_low_ones(name, low):
    labels = np.array([1, 2, 3, 1, 2, 3, 1, 2], np.int32)
    checked(cross_entropy(lambda z: SCORES[name](z, low)), (X, labels))


def test_scores_that_are_replaced_at_an_index_of_the_data():
    def loss(p, x, i, y):
        scores = (x @ p["w"]).at[:, jnp.clip(i[0], 0, 0)].set(-1e9)
        return optax.softmax_cross_entropy_with_integer_labels(scores, y).mean()

    checked(loss, (X, PLACES, np.array([1, 2, 3, 1, 2, 3, 1, 2], np.int32)))


AT = {  # an index that depends on data
    "rows": lambda z, i: lax.dynamic_slice(z, (i[0], 0), (3, 4)),
    "a row": lambda z, i: z[i[0]],
    "parts of rows": lambda z, i: jax.vmap(lambda row, k: lax.dynamic_slice(row, (k,), (3,)))(z, i),
    "rows, for each index": lambda z, i: jax.vmap(lambda k: lax.dynamic_slice(z, (k, 0), (2, 4)))(i),
    "a row is replaced": lambda z, i: lax.dynamic_update_slice(z, 2 * z[:1], (i[0], 0)),
    "rows are replaced": lambda z, i: lax.dynamic_update_slice(z, 2 * z[:2], (i[1], 0)),
    "a row is set": lambda z, i: z.at[jnp.clip(i[0], 0, 3)].set(1.0),
    "a row is multiplied": lambda z, i: z.at[jnp.clip(i[0], 0, 3)].multiply(z[0]),
}


@pytest.mark.parametrize("name", AT)
def test_parts_at_an_index_of_the_data(name):
    checked(lambda p, x, i: jnp.mean((AT[name](x @ p["w"], i) - 1) ** 2), (X, PLACES))


@pytest.mark.parametrize(
    "update, message",
    [
        (lambda z, i: z.at[jnp.array([1, 1])].multiply(z[:2]), "one entry by several"),
        (lambda z, i: z.at[jnp.clip(i, 0, 3)].multiply(z), "may be equal"),
    ],
)
def test_updates_of_one_entry_by_several(update, message):
    with pytest.raises(UnsupportedOperationError, match=message):
        followed(lambda p, x, i: jnp.mean(x @ p["w"] * update(x[:, :4], i)), optax.sgd(0.1), PARAMS, (X, PLACES))
