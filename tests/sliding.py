"""A small convolutional net: strides, padding, dilation, groups, maxima and sums in windows, cross-entropy, momentum."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax

import zkjax

NHWC = ("NHWC", "HWIO", "NHWC")


def net(p, x):
    """Logits of pictures (batch, 6, 5, 1)."""
    x = lax.conv_general_dilated(x, p["a"], (1, 1), "SAME", dimension_numbers=NHWC)
    x = lax.reduce_window(jax.nn.relu(x), -jnp.inf, lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")
    x = lax.conv_general_dilated(x, p["b"], (2, 1), ((1, 1), (0, 1)), rhs_dilation=(1, 2), dimension_numbers=NHWC, feature_group_count=2)
    x = lax.reduce_window(x, 0.0, lax.add, (1, 2, 1, 1), (1, 1, 1, 1), "VALID")
    return x.reshape(len(x), -1) @ p["c"]


def sliding():
    """(circuit, a run of its two steps)."""
    rng = np.random.default_rng(0)
    params = {
        name: rng.normal(size=shape).astype(np.float32) / 2 for name, shape in (("a", (3, 3, 1, 2)), ("b", (2, 2, 1, 2)), ("c", (2, 3)))
    }
    data = rng.normal(size=(6, 6, 5, 1)).astype(np.float32), np.arange(6, dtype=np.int32) % 3

    def loss(p, x, y):
        return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(net(p, x), y))

    precision = zkjax.Precision(activation_scale=5, activation_bits=8, gradient_scale=8, gradient_bits=10)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", zkjax.PrecisionWarning)
        circuit = zkjax.trace(loss, optax.sgd(1 / 32, momentum=0.5), params, batch=tuple(x[:3] for x in data), precision=precision, chunk=2)
        return circuit, zkjax.train(circuit, params, data, steps=2, seed=1)
