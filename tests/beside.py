"""Training in exact integers beside that of optax in float32, for tests."""

import jax
import numpy as np
import optax

import zkjax


def distance(after, float_after, before) -> float:
    """The relative error of an update."""
    size = lambda tree: float(np.sqrt(sum(float((np.asarray(x, np.float64) ** 2).sum()) for x in jax.tree.leaves(tree))))  # noqa: E731
    less = lambda a, b: jax.tree.map(lambda x, y: np.asarray(x, np.float64) - np.asarray(y, np.float64), a, b)  # noqa: E731
    return size(less(after, float_after)) / size(less(float_after, before))


def float_training(loss, optimizer, params, data, indices, key=None):
    state = optimizer.init(params)
    for t, rows in enumerate(np.asarray(indices)):
        keys = () if key is None else (jax.random.fold_in(key, t),)
        updates, state = optimizer.update(jax.grad(loss)(params, *(x[rows] for x in data), *keys), state, params)
        params = optax.apply_updates(params, updates)
    return params


def followed(loss, optimizer, params, data, steps=2, batch=4, key=None):
    """(circuit, run, the relative error of the update) of a few steps."""
    circuit = zkjax.trace(loss, optimizer, params, batch=tuple(x[:batch] for x in data), chunk=steps, steps=8, key=key)
    run = zkjax.train(circuit, params, data, steps=steps)
    return circuit, run, distance(run.params, float_training(loss, optimizer, params, data, run.indices, key), params)
