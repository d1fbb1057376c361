"""A circuit means what its source means: expressions against JAX itself, on values and gradients, for every rule; constants exactly.

Nothing is trained or proven here: only the first stage of tracing is looked at, evaluated in float64.
"""

import warnings
from fractions import Fraction
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn
from harness import Liar, make_run
from jax import lax
from jax.nn import relu

from zkjax.algebra import exact, functions
from zkjax.errors import UnsupportedOperationError
from zkjax.ops.moves import aligned
from zkjax.tracing.constants import Known
from zkjax.tracing.elementary import INFINITY, NAN, elementary, power
from zkjax.tracing.graph import Graph
from zkjax.tracing.interpreter import interpret
from zkjax.tracing.program import trace
from zkjax.tracing.source import read
from zkjax.training.dataset import Dataset

F, INT = jnp.float32, jnp.int32
RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(4, 6)).astype(np.float32), RNG.normal(size=(4, 3)).astype(np.float32)
LABELS = np.array([2, 0, 1, 2], np.int32)
PIXELS = RNG.integers(0, 256, (4, 6)).astype(np.uint8)
MASK = RNG.random((4, 6)) > 0.5
P = {"a": RNG.normal(size=(6, 3)).astype(np.float32), "b": RNG.normal(size=3).astype(np.float32), "s": np.float32(0.75)}
C = RNG.normal(size=(6, 3)).astype(np.float32)


def _entry(x, axis: int, place: int):
    """Of an axis, zeros beyond its ends."""
    return x.take(place, axis) if 0 <= place < x.shape[axis] else np.zeros_like(x.take(0, axis))


OPERATIONS = {  # of the operation, values of the inputs, and the result's shape
    "Numbers": lambda o, v, shape: np.array([float(c) for c in o.values]).reshape(shape),
    "Combination": lambda o, v, shape: sum(float(c) * x for c, x in zip(o.coefficients, v, strict=True)),
    "Above": lambda o, v, shape: (v[0] > 0).astype(float),
    "Gate": lambda o, v, shape: v[0] * v[1],
    "Scale": lambda o, v, shape: v[0] * aligned(v[1], o.axes, v[0].ndim),
    "Dot": lambda o, v, shape: exact.dot(*v, o.contract, o.batch),
    "Sum": lambda o, v, shape: v[0].sum(axis=o.axes),
    "Transpose": lambda o, v, shape: v[0].transpose(o.permutation),
    "Reshape": lambda o, v, shape: v[0].reshape(o.shape),
    "Broadcast": lambda o, v, shape: np.broadcast_to(aligned(v[0], o.axes, len(shape)), shape),
    "Slice": lambda o, v, shape: v[0][tuple(map(slice, o.start, o.limit, o.stride))],
    "Reverse": lambda o, v, shape: np.flip(v[0], o.axes),
    "Window": lambda o, v, shape: np.stack(
        [np.stack([_entry(v[0], o.axis, o.stride * i + o.dilation * k - o.pad) for k in range(o.size)], axis=o.axis) for i in range(o.out)],
        axis=o.axis,
    ),
    "Concatenate": lambda o, v, shape: np.concatenate(v, axis=o.axis),
    "Applied": lambda o, v, shape: functions.floats(o.program, v[0]),
    "Picked": lambda o, v, shape: (functions.floats(o.program, v[0])[..., None] == np.arange(o.size)).astype(float),
    "Maximum": lambda o, v, shape: v[0].max(axis=-1),
    "FirstPlace": lambda o, v, shape: (np.arange(v[0].shape[-1]) == v[0].argmax(axis=-1)[..., None]).astype(float),
    "Ratio": lambda o, v, shape: v[0] / (v[1] + float(o.least)),
    "SquareRoot": lambda o, v, shape: np.sqrt(v[0] + float(o.least)),
    "Pad": lambda o, v, shape: np.asarray(lax.pad(v[0].astype(np.float32), np.float32(0), [*zip(o.low, o.high, o.interior)])).astype(float),
}


def evaluate(program, params, batch):
    """The values of a program's loss and gradients in float64, where the rate is 1/8; every array of the batch as numbers."""
    values, arrays = {}, {"Param": params, "InputArray": batch}
    for x in program.graph.expressions:
        name = type(x.operation).__name__
        if name in arrays:
            values[x] = arrays[name][x.operation.index].astype(float)
        else:
            values[x] = OPERATIONS[name](x.operation, [values[y] for y in x.inputs], x.shape)
        assert values[x].shape == x.shape, x
    results = (program.outputs["loss"], *(state.following for state in program.states))
    loss, *following = (np.array(x.full().tolist(), dtype=float).reshape(x.shape) if isinstance(x, Known) else values[x] for x in results)
    return [loss, *((before - after) * 8 for before, after in zip(params, following, strict=True))]


@jax.custom_jvp
def swish_like(x):
    return x * x


swish_like.defjvp(lambda primals, tangents: (swish_like(*primals), 3.0 * primals[0] * tangents[0]))  # not the derivative, on purpose


@jax.custom_vjp
def reversed_gradient(x):
    return 2 * x


reversed_gradient.defvjp(lambda x: (2 * x, None), lambda _, g: (-g,))


def loop_over_data(p, x, y):
    """Carried, stacked and unused results, from the last row to the first; the rows of one loop are those of another."""

    def step(carry, row):
        h, count = carry
        h = h * row[0] @ p["a"].T[:, :3] + p["b"]
        return (h, count + 1), (h * row[1], jnp.exp(h), count)

    (h, count), (stacked, _, counts) = lax.scan(step, (p["b"], 0.0), (x[:, :3], y), reverse=True)
    _, again = lax.scan(lambda c, row: (c, row * c), p["s"], stacked[1:])
    return jnp.sum(stacked * y) + jnp.sum(h) * count + jnp.sum(again) + jnp.sum(counts * y[:, 0])


def with_dead_code(p, x, y):
    jnp.argsort(x @ p["a"]), jnp.exp(x), x.astype(INT) // 3, jnp.linalg.norm(p["a"])
    jax.debug.print("loss {}", x)
    lax.fori_loop(0, 3, lambda i, c: (jax.debug.print("{}", c), c)[1], x, unroll=False)
    used, _ = jax.jit(lambda v: (v @ p["a"], jnp.tanh(v)))(x)
    return jnp.sum(used * y)


out = lambda p, x: x @ p["a"]  # noqa: E731


def norms(p, x):
    """Of the rows of ``out``, and not 0."""
    return jnp.sum(out(p, x) ** 2, axis=1) + 0.5


PROGRAMS = {  # p, x, y: floats; k: int32 labels; u: uint8 pixels; m: booleans
    "add, sub, mul, div, neg": lambda p, x, y, k, u, m: jnp.sum((-(out(p, x) + y - 0.3) * p["b"]) / 7),
    "square, power": lambda p, x, y, k, u, m: jnp.sum(jnp.square(out(p, x)) + out(p, x) ** 3),
    "relu": lambda p, x, y, k, u, m: jnp.sum((relu(out(p, x)) - y) ** 2),
    "maximum of data": lambda p, x, y, k, u, m: jnp.sum(relu(x) @ p["a"] * y),
    "comparisons": lambda p, x, y, k, u, m: jnp.sum(((x > 0.1) * 1.0 + (x <= y[:, :1]) + (x < 0) * 2 + (x >= 0.5)) @ p["a"]),
    "where of a tensor": lambda p, x, y, k, u, m: jnp.sum(jnp.where(out(p, x) > 0.2, out(p, x) * y, 0.25 * out(p, x))),
    "and, or, xor, not": lambda p, x, y, k, u, m: jnp.sum(
        (((x > 0) & (x < 1)) * 1.0 + ((x > 1) | (x < -1)) * 2.0 + ((x > 0) ^ m) * 4.0 + ~(x > 0)) @ p["a"]
    ),
    "booleans with constants": lambda p, x, y, k, u, m: jnp.sum(((m & (np.arange(6) > 2)) * 1.0 + (m | (np.arange(6) > 3))) @ p["a"]),
    "choice between conditions": lambda p, x, y, k, u, m: jnp.sum(jnp.where(m, x > 0, x > 1).astype(F) @ p["a"]),
    "mask as weights": lambda p, x, y, k, u, m: jnp.sum((m.astype(F) * x) @ p["a"] * y),
    "mask negated": lambda p, x, y, k, u, m: jnp.sum((~m).astype(F) @ p["a"]),
    "where of a mask": lambda p, x, y, k, u, m: jnp.sum(jnp.where(m, x, -1.0) @ p["a"]),
    "mask moved": lambda p, x, y, k, u, m: jnp.sum(jnp.pad(m.T[:, ::-1], ((0, 0), (1, 1)))[:, 1:5].T.reshape(4, 6) * x @ p["a"]),
    "mask times mask": lambda p, x, y, k, u, m: jnp.sum((m * (x > 0)).astype(F) @ p["a"]),
    "masks joined": lambda p, x, y, k, u, m: jnp.sum(
        jnp.concatenate([m, ~m, np.eye(4) > 0], axis=1)[:, 3:15:2].astype(F) @ p["a"] + jnp.split(m, 2, axis=1)[1]
    ),
    "booleans equal": lambda p, x, y, k, u, m: jnp.sum((m == (x > 0)).astype(F) @ p["a"]),
    "pixels to floats": lambda p, x, y, k, u, m: jnp.sum((u.astype(F) / 255 - 0.5) @ p["a"] * y),
    "pixels in int32": lambda p, x, y, k, u, m: jnp.sum((u.astype(INT) * 3 - 128).astype(F) @ p["a"]),
    "pixels squared in int32": lambda p, x, y, k, u, m: jnp.sum((u.astype(INT) ** 2).astype(F) @ p["a"]) / 1000,
    "pixels summed in int32": lambda p, x, y, k, u, m: jnp.sum(u.sum(axis=1, dtype=INT)[:, None] * p["b"]) / 256,
    "mean of pixels": lambda p, x, y, k, u, m: u.mean() * p["s"],
    "pixels as booleans": lambda p, x, y, k, u, m: jnp.sum((u - (u * 0)).astype(bool).astype(F) @ p["a"]),
    "integers as booleans": lambda p, x, y, k, u, m: jnp.sum(k.astype(bool)[:, None] * p["b"]),
    "one-hot labels": lambda p, x, y, k, u, m: jnp.sum((out(p, x) - jax.nn.one_hot(k, 3)) ** 2),
    "labels unequal": lambda p, x, y, k, u, m: jnp.sum((k != 1)[:, None] * out(p, x)),
    "labels compared": lambda p, x, y, k, u, m: jnp.sum((k > 0)[:, None] * out(p, x)),
    "labels moved": lambda p, x, y, k, u, m: jnp.sum(k[::-1].reshape(2, 2).T.reshape(4)[:, None].astype(F) * out(p, x)),
    "constant integers": lambda p, x, y, k, u, m: jnp.sum(
        x * (jnp.arange(6) // 4 + jnp.arange(6) % 4 - (7 - jnp.arange(6)) // -2) @ p["a"]
    ),
    "captured arrays": lambda p, x, y, k, u, m: jnp.sum(x @ (jnp.asarray(C) * p["a"]) + x @ C),
    "captured integers": lambda p, x, y, k, u, m: jnp.sum(x * np.array([1, -2, 3, 0, 5, 7]) @ p["a"]),
    "captured booleans": lambda p, x, y, k, u, m: jnp.sum(jnp.where(np.arange(6) % 2 == 0, x, 0.5) @ p["a"]),
    "products": lambda p, x, y, k, u, m: jnp.einsum("ni,ij,nj->", x, p["a"], y) + jnp.vdot(out(p, x), out(p, x)),
    "batched product": lambda p, x, y, k, u, m: jnp.sum(jnp.einsum("ni,ij->nij", x, p["a"]) * p["b"]),
    "tile": lambda p, x, y, k, u, m: jnp.sum(jnp.tile(out(p, x), (2, 3)) * jnp.tile(y, (1, 2, 3))[0]) + jnp.tile(m, 2).sum(dtype=F),
    "moves": lambda p, x, y, k, u, m: jnp.sum(jnp.stack([out(p, x), y], axis=1)[:, ::-1].transpose(1, 2, 0)[0] * out(p, x).T),
    "slices": lambda p, x, y, k, u, m: jnp.sum(x[1:3, ::2] @ p["a"][::2] * lax.dynamic_slice(y, (1, 0), (2, 3))),
    "split, pad": lambda p, x, y, k, u, m: jnp.sum(sum(jnp.split(jnp.pad(out(p, x), ((0, 0), (2, 1))), 3, axis=1)) ** 2),
    "update of zeros": lambda p, x, y, k, u, m: jnp.sum(lax.dynamic_update_slice(jnp.zeros((4, 6)), out(p, x), (0, 2)) * x),
    "broadcast": lambda p, x, y, k, u, m: jnp.sum(jnp.broadcast_to(p["b"], (4, 3)) * p["s"] * y + p["b"][None]),
    "stop_gradient": lambda p, x, y, k, u, m: jnp.sum(lax.stop_gradient(out(p, x)) * out(p, x)),
    "custom_jvp": lambda p, x, y, k, u, m: jnp.sum(swish_like(out(p, x)) * y),
    "custom_vjp": lambda p, x, y, k, u, m: jnp.sum(reversed_gradient(out(p, x)) * y),
    "jit, checkpoint, vmap": lambda p, x, y, k, u, m: jnp.sum(jax.vmap(jax.jit(jax.checkpoint(lambda r, t: r @ p["a"] * t)))(x, y)),
    "dead code": lambda p, x, y, k, u, m: with_dead_code(p, x, y),
    "cond of constants": lambda p, x, y, k, u, m: jnp.sum(
        lax.cond(jnp.arange(3).sum() > 2, lambda v: v * y, lambda v: jnp.exp(v), out(p, x))
    ),
    "loops of constants": lambda p, x, y, k, u, m: jnp.sum(out(p, x) * lax.fori_loop(0, 5, lambda i, c: c * 0.5 + i, 1.0)),
    "a loop over data": lambda p, x, y, k, u, m: loop_over_data(p, x, y),
    "a loop without rows": lambda p, x, y, k, u, m: jnp.sum(lax.fori_loop(0, 3, lambda i, h: h * y / (i + 1.0), out(p, x))),
    "no iteration": lambda p, x, y, k, u, m: jnp.sum(lax.scan(lambda h, r: (h * r, h), out(p, x), jnp.zeros((0, 1)))[0] * y),
    "normal numbers": lambda p, x, y, k, u, m: jnp.sum(out(p, x) * jax.random.normal(jax.random.PRNGKey(0), y.shape)),
    "quantiles": lambda p, x, y, k, u, m: jnp.sum(jax.scipy.special.erfinv(jnp.tanh(out(p, x))) * y),
    "searchsorted": lambda p, x, y, k, u, m: jnp.sum(out(p, x)) * jnp.searchsorted(jnp.array([0.5, 1.5, 2.5]), 1.7),
    "gather of constants": lambda p, x, y, k, u, m: jnp.sum(out(p, x) * jnp.linspace(0, 1, 9)[jnp.array([8, 0, 3])]),
    "casts of constants": lambda p, x, y, k, u, m: jnp.sum(
        out(p, x) * jnp.linspace(-1.7, 1.7, 3).astype(INT).astype(F) + jnp.float16(0.1).astype(F)
    ),
    "functions of constants": lambda p, x, y, k, u, m: jnp.sum(out(p, x)) * jnp.sqrt(F(3)) * jnp.exp(F(-1)) * jnp.cos(F(2)) * F(2) ** 0.3,
    "unselected infinity": lambda p, x, y, k, u, m: jnp.sum(x * jnp.where(jnp.arange(6) > 0, 1 / jnp.arange(6.0), 0) @ p["a"]),
    "no entries": lambda p, x, y, k, u, m: (
        jnp.sum(jnp.concatenate([x[:0], x]) @ p["a"] * (y + lax.pad(out(p, x)[:0], F(0), ((2, 2, 1), (0, 0, 0))))) + jnp.sum(out(p, x)[2:2])
    ),
    "barrier": lambda p, x, y, k, u, m: jnp.sum(lax.optimization_barrier(out(p, x)) * y),
    "exponentials": lambda p, x, y, k, u, m: jnp.sum(jnp.exp(out(p, x) / 4) * y + jnp.expm1(x @ p["a"]) / 9 + jnp.exp2(y) * out(p, x)),
    "logarithms": lambda p, x, y, k, u, m: jnp.sum(jnp.log(1.5 + out(p, x) ** 2) * y + jnp.log1p(jnp.abs(out(p, x)))),
    "waves": lambda p, x, y, k, u, m: jnp.sum(jnp.sin(out(p, x)) * y + jnp.cos(out(p, x) + y) + jnp.tan(out(p, x) / 9)),
    "sigmoids": lambda p, x, y, k, u, m: jnp.sum(
        jax.nn.sigmoid(out(p, x)) * y + jnp.tanh(out(p, x)) ** 2 + jax.scipy.special.erf(out(p, x))
    ),
    "hyperbolic": lambda p, x, y, k, u, m: jnp.sum(jnp.sinh(out(p, x) / 3) * y + jnp.cosh(out(p, x) / 3) + jnp.arcsinh(out(p, x))),
    "roots of functions": lambda p, x, y, k, u, m: jnp.sum(jnp.sqrt(1 + jnp.tanh(out(p, x)) ** 2) * y + jnp.cbrt(2 + jnp.sin(out(p, x)))),
    "roots": lambda p, x, y, k, u, m: jnp.sqrt(jnp.sum(p["a"] ** 2)) + jnp.sum(lax.rsqrt(jnp.sum(out(p, x) ** 2, axis=1) + 0.5)),
    "norms": lambda p, x, y, k, u, m: jnp.sum(out(p, x) / jnp.linalg.norm(out(p, x), axis=1, keepdims=True) * y),
    "powers": lambda p, x, y, k, u, m: jnp.sum((2 + jnp.tanh(out(p, x))) ** 1.7 * y + (1 + out(p, x) ** 2) ** -0.5 + jnp.exp(y) ** -2),
    "quotients of tensors": lambda p, x, y, k, u, m: jnp.sum(y / (2 + out(p, x) ** 2) + out(p, x) / jnp.exp(y) + out(p, x) / (5 + p["b"])),
    "gelu": lambda p, x, y, k, u, m: jnp.sum((jax.nn.gelu(out(p, x)) + jax.nn.gelu(x @ p["a"], approximate=False)) * y),
    "silu, softplus": lambda p, x, y, k, u, m: jnp.sum((jax.nn.silu(out(p, x)) + jax.nn.softplus(out(p, x)) + jax.nn.mish(x @ p["a"])) * y),
    "elu, selu, celu": lambda p, x, y, k, u, m: jnp.sum((jax.nn.elu(out(p, x)) + jax.nn.selu(out(p, x)) + jax.nn.celu(out(p, x), 2.0)) * y),
    "hard ones": lambda p, x, y, k, u, m: jnp.sum(
        (jax.nn.relu6(4 * out(p, x)) + jax.nn.hard_tanh(out(p, x)) + jax.nn.hard_sigmoid(out(p, x)) + jax.nn.hard_swish(out(p, x))) * y
    ),
    "leaky ones": lambda p, x, y, k, u, m: jnp.sum(
        (jax.nn.leaky_relu(out(p, x)) + jax.nn.soft_sign(out(p, x)) + jax.nn.log_sigmoid(y)) * y
    ),
    "clip, abs, sign": lambda p, x, y, k, u, m: jnp.sum(jnp.clip(out(p, x), -0.5, 1.5) * y + jnp.abs(out(p, x)) + jnp.sign(y) * out(p, x)),
    "steps": lambda p, x, y, k, u, m: jnp.sum((jnp.floor(x * 2) + jnp.ceil(x) + jnp.round(x)) @ p["a"]),
    "maximum of a constant": lambda p, x, y, k, u, m: jnp.sum(jnp.maximum(out(p, x), 0.25) * y + jnp.minimum(out(p, x), 1)),
    "maximum of two": lambda p, x, y, k, u, m: jnp.sum(jnp.maximum(out(p, x), y) + 2 * jnp.minimum(out(p, x), y) * y),
    "maxima": lambda p, x, y, k, u, m: jnp.sum(out(p, x).max(axis=1) * y[:, 0]) + out(p, x).min() + jnp.max(out(p, x), axis=0) @ p["b"],
    "softmax": lambda p, x, y, k, u, m: jnp.sum(jax.nn.softmax(out(p, x)) * y) + jnp.sum(jax.nn.softmax(out(p, x), axis=0) * y),
    "log softmax": lambda p, x, y, k, u, m: jnp.sum(jax.nn.log_softmax(out(p, x)) * y) + jnp.sum(jax.nn.logsumexp(out(p, x), axis=1)),
    "integer labels": lambda p, x, y, k, u, m: optax.softmax_cross_entropy_with_integer_labels(out(p, x), k).mean(),
    "one-hot cross-entropy": lambda p, x, y, k, u, m: optax.softmax_cross_entropy(
        out(p, x), optax.smooth_labels(jax.nn.one_hot(k, 3), 0.1)
    ).mean(),
    "picked by labels": lambda p, x, y, k, u, m: (
        -jax.nn.log_softmax(out(p, x))[jnp.arange(4), k].mean() - jnp.take_along_axis(jax.nn.log_softmax(y), k[:, None], 1).sum() * p["s"]
    ),
    "picked rows": lambda p, x, y, k, u, m: (
        jnp.sum(p["a"][k] * y) + jnp.sum(p["a"][jnp.array([5, 0, 3, 3])] * y) + jnp.sum(x.T[2] @ y * p["b"])
    ),
    "picked pixels": lambda p, x, y, k, u, m: jnp.sum(jnp.arange(256.0)[u] / 256 @ p["a"] + (out(p, x))[:, jnp.array([1, 0, 2])]),
    "accuracy": lambda p, x, y, k, u, m: jnp.sum(out(p, x)) * 0.1 + jnp.mean(jnp.argmax(lax.stop_gradient(out(p, x)), 1) == k) * 3,
    "sigmoid cross-entropy": lambda p, x, y, k, u, m: optax.sigmoid_binary_cross_entropy(out(p, x), (y > 0).astype(F)).mean(),
    "focal": lambda p, x, y, k, u, m: optax.sigmoid_focal_loss(out(p, x), jax.nn.one_hot(k, 3), alpha=0.25, gamma=2.0).mean(),
    "a softmax of some classes": lambda p, x, y, k, u, m: optax.softmax_cross_entropy_with_integer_labels(
        jnp.where(jnp.array([True, True, False]), out(p, x), -jnp.inf), jnp.minimum(k, 1)
    ).mean(),
    "a softmax of as many as data say": lambda p, x, y, k, u, m: jnp.sum(
        jax.nn.softmax(jnp.where(jnp.arange(3) <= k[:, None], out(p, x), -jnp.inf)) * y
    ),
    "a softmax of scores that are scaled": lambda p, x, y, k, u, m: jnp.sum(
        jax.nn.softmax(jnp.where(jnp.arange(3) > k[:, None], -jnp.inf, out(p, x)) / 8) * y
    ),
    "integers divided": lambda p, x, y, k, u, m: (
        jnp.sum((u // 4 + (u % 3) * 10).astype(F) @ p["a"])
        + jnp.sum(((k - 3) // 2 + 10 * ((k - 3) % 2) + 100 * lax.div(k - 3, 2) + lax.rem(k - 3, -2)).astype(F) * x[:, 0] * p["s"])
        + jnp.sum(p["a"][(k + 2) % 3] * y)
    ),
    "cumulative sums": lambda p, x, y, k, u, m: jnp.sum(jnp.cumsum(out(p, x), 1) * y + lax.cumsum(out(p, x), 0, reverse=True) * y),
    "padded with ones, and products": lambda p, x, y, k, u, m: jnp.sum(
        jnp.prod(out(p, x), axis=1, keepdims=True) * y + jnp.pad(out(p, x), ((0, 0), (1, 2)), constant_values=1.5)[:, :3] * y
    ),
    "entries by constant indices": lambda p, x, y, k, u, m: jnp.sum(
        out(p, x)[jnp.array([3, 0, 0, 1]), jnp.array([2, 2, 0, 1])][:, None] * y
        + jnp.einsum("bi,bj->bij", out(p, x), y)[:, jnp.array([0, 0, 1]), jnp.array([1, 2, 2])] * y
        + jnp.zeros((4, 3)).at[jnp.array([0, 0, 2]), jnp.array([1, 1, 0])].add(p["b"][0]) * y
    ),
    "over a root, and over what it is of": lambda p, x, y, k, u, m: jnp.sum(
        (jnp.sum(out(p, x), 1) / jnp.sqrt(norms(p, x)) / norms(p, x) + 3 * lax.rsqrt(norms(p, x)) / norms(p, x)) * y[:, 0]
    ),
    "normalised": lambda p, x, y, k, u, m: jnp.sum(
        nn.LayerNorm(use_scale=False, use_bias=False, epsilon=1e-2).apply({}, out(p, x)) * y
        + nn.RMSNorm(use_scale=False, epsilon=1e-2).apply({}, out(p, x)) * y
        + (out(p, x) - out(p, x).mean(0)) / jnp.sqrt(out(p, x).var(0) + 1e-2) * y
    ),
    "half precision": lambda p, x, y, k, u, m: (
        jnp.sum((jnp.round(x).astype(jnp.bfloat16) * jnp.bfloat16(0.5)).astype(F)[:, :3] * p["b"][:1])
        + jnp.sum(u.astype(jnp.float16) * jnp.float16(2)) * p["s"]
    ),
    "scores that a mask takes away": lambda p, x, y, k, u, m: jnp.sum(
        jax.nn.softmax(jnp.where(jnp.arange(3) <= k[:, None], out(p, x), jnp.finfo(F).min)) * y
        + jax.nn.softmax(out(p, x) + jnp.array([0.25, -1e9, 0.0])) * y
        + jax.nn.softmax(out(p, x) + (1.0 - (jnp.arange(3) <= k[:, None])) * -1e9) * y
        + jax.nn.softmax(out(p, x) * 0.5 + (jnp.arange(3) > k[:, None]) * -1e4) * y
    ),
    "rows whose scores are all taken away": lambda p, x, y, k, u, m: jnp.sum(
        jax.nn.softmax(jnp.where((jnp.arange(4) > 1)[:, None], out(p, x), -1e30)) * y
        + jax.nn.softmax(jnp.where((k > 0)[:, None] & (y > 0), out(p, x), -1e30)) * y
        + jax.nn.log_softmax(jnp.where(jnp.arange(3) < 2, jnp.where(jnp.arange(3) > 0, out(p, x), -1e9), -1e9).T.T, 1)[:, 1:2] * y
    ),
    "masked scores by a temperature of their own": lambda p, x, y, k, u, m: jnp.sum(
        jax.nn.softmax(jnp.where(jnp.arange(3) <= k[:, None], out(p, x), -1e9) / lax.stop_gradient(norms(p, x) * 8)[:, None]) * y
        + jnp.where(jnp.isfinite(jnp.where(jnp.arange(3) <= k[:, None], out(p, x), -jnp.inf)), out(p, x), 3.0) * y
    ),
    "a low number that is no mask": lambda p, x, y, k, u, m: jnp.sum(
        (jnp.where(jnp.arange(3) > 0, out(p, x), -20000.0) + 20000.0) / 20000.0 * y
        + jnp.where(jnp.arange(3) > 0, out(p, x), -20000.0) * jnp.array([0.0, 1.0, -1.0])
    ),
    "attention": lambda p, x, y, k, u, m: jnp.sum(
        jax.nn.dot_product_attention(*(out(p, x)[:, :, None, None] + c for c in (0.0, 0.5, 1.0)), is_causal=True)[:, :, 0, 0] * y
    ),
    "a constant divided, and clipped": lambda p, x, y, k, u, m: jnp.sum(
        jnp.minimum(0.5 / jnp.sqrt(jnp.sum(out(p, x) ** 2, axis=1)), 1.0) * y[:, 0]
    ),
    "an entry of each row": lambda p, x, y, k, u, m: jnp.sum(jax.vmap(lambda row, j: row[j])(out(p, x), k) ** 2),
    "hinge": lambda p, x, y, k, u, m: optax.hinge_loss(out(p, x), jnp.sign(y)).mean(),
    "huber, log-cosh": lambda p, x, y, k, u, m: optax.huber_loss(out(p, x), y).mean() + optax.log_cosh(out(p, x), y).mean(),
    "cosine": lambda p, x, y, k, u, m: optax.cosine_similarity(out(p, x), y, epsilon=1e-6).mean(),
    "divergence": lambda p, x, y, k, u, m: optax.kl_divergence(jax.nn.log_softmax(out(p, x)), jax.nn.softmax(y)).mean(),
}


BATCH = (X, Y, LABELS, PIXELS, MASK)


@cache
def jax_values():
    """Loss and gradients of all programs by JAX, compiled once."""
    return jax.jit(lambda p, batch: {name: jax.value_and_grad(loss)(p, *batch) for name, loss in PROGRAMS.items()})(P, BATCH)


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_means_what_jax_computes(name):
    program = read(PROGRAMS[name], optax.sgd(1 / 8), P, BATCH, None).program
    value, gradients = jax_values()[name]
    for found, wanted in zip(evaluate(program, list(P.values()), BATCH), (value, *jax.tree.leaves(gradients)), strict=True):
        np.testing.assert_allclose(found, np.asarray(wanted, dtype=float), rtol=2e-5, atol=2e-4)


def test_whatever_is_committed_a_boolean_is_zero_or_one():
    """A trainer who commits 3 or -2 where the source has a boolean: the loss reads 1 and 0."""
    program = read(lambda p, m: jnp.sum(jnp.where(m, 1.0, -1.0) * p), optax.sgd(1 / 8), np.float32(1), (MASK,), None).program
    liar = np.where(MASK, 3.0, -2.0)
    honest = evaluate(program, [np.float32(1)], [MASK])
    assert [x.tolist() for x in evaluate(program, [np.float32(1)], [liar])] == [x.tolist() for x in honest]


def masked_loss(p, x, k, m):
    h = relu(jnp.where(m & (x > 0) | (x > 1), x, -0.5) @ p["a"])
    return jnp.mean((h @ p["b"] - jax.nn.one_hot(k, 3)) ** 2)


MASKED = {"a": P["a"] / 2, "b": C[:3] / 2}


def test_masks_and_labels_in_the_circuits_integers():
    """A boolean array, integer labels and conditions joined: the circuit's exact loss is JAX's."""
    batch = (X, LABELS, MASK)
    circuit = trace(masked_loss, optax.sgd(1 / 32), MASKED, batch=batch, chunk=1)
    integers = [np.floor(w / float(circuit.unit(p)) + 0.5).astype(np.int64) for p, w in enumerate(MASKED.values())]
    bounds = circuit.bounds(tuple(int(abs(w).max()) for w in integers), 1)
    values = exact.evaluate(circuit, exact.plan(circuit, bounds.nodes), integers, Dataset.of(circuit, batch).arrays)
    found = circuit.exact_loss([int(values[x.node]) for x in circuit.losses])
    assert float(found) == pytest.approx(float(masked_loss(MASKED, *batch)), rel=0.01)


@pytest.mark.slow
def test_masks_and_labels_are_proven():
    """No constraint of the proof is broken."""
    data = tuple(np.tile(v, (3, *[1] * (v.ndim - 1))) for v in (X, LABELS, MASK))
    circuit, run = make_run(masked_loss, MASKED, data, batch=4, steps=1)
    assert Liar(run).broken() == set()


# ---- refusals -------------------------------------------------------------------------------------------------------

STATE = jax.new_ref(jnp.float32(2))
BEFORE = r" at .*test_meaning\.py:\d+ \(<lambda>\): "
REFUSED = {
    "wrap of uint8": (lambda p, u: u - 8, "'sub'.*uint8 holds 0..255, the result may be -8..247.*astype"),
    "square in uint8": (lambda p, u: u**2, "'integer_pow'.*0..65025"),
    "negative uint8": (lambda p, u: -u, "'neg'.*-255..0"),
    "wrap of int32": (lambda p, u: u.astype(INT) * 2**24, "'mul'.*int32 holds"),
    "to int8": (lambda p, u: u.astype(INT).astype(jnp.int8), "'convert_element_type'.*int8 holds -128..127, the result may be 0..255"),
    "sum in uint8": (lambda p, u: u.sum(axis=1, dtype=jnp.uint8), "'reduce_sum'.*0..1530"),
    "shift": (lambda p, u: u >> 1, "'shift_right_logical'"),
    "bits": (lambda p, u: u & 3, "'and'.*bits of integers"),
    "bits inverted": (lambda p, u: ~u, "'not'.*bits of integers"),
    "product in booleans": (lambda p, u: lax.dot(u > 3, (u > 3).T), "'dot_general'.*operation in booleans; convert"),
    "maximum in booleans": (lambda p, u: lax.max(u > 3, u > 5), "'max'.*booleans"),
    "bits along an axis": (lambda p, u: jnp.bitwise_or.reduce(u, axis=1), "'reduce_or'.*bits of integers"),
    "float to integer": (lambda p, u: (p * u).astype(INT), "'convert_element_type'.*rounds or truncates"),
    "float to boolean": (lambda p, u: (p * u).astype(bool), "'ne'|'convert_element_type'.*"),
    "floats equal": (lambda p, u: p * u == 3.0 * u - p * p, "'eq'.*equal depends on the rounding"),
    "reduce_precision": (lambda p, u: lax.reduce_precision(p * u, 5, 10), "'reduce_precision'.*fewer bits"),
    "index of a large array": (lambda p, u: jnp.zeros(2**21)[u.astype(INT) * 16], "'gather'.*up to 1,048,576 classes"),
    "two constant indices beyond": (
        lambda p, u: (p * u).at[jnp.array([0, 9]), jnp.array([0, 1])].get(mode="promise_in_bounds"),
        "'gather'.*beyond the array",
    ),
    "two indices": (lambda p, u: (p * u)[u[:, 0] % 4, u[:, 1] % 6], "'gather'.*one axis at a time"),
    "division of integers by data": (lambda p, u: lax.div(u, u[::-1]), "'div'.*other than by one constant; convert to floating point"),
    "remainder by data": (lambda p, u: lax.rem(u, u[::-1]), "'rem'.*other than by one constant"),
    "less minus infinity": (lambda p, u: jnp.max(1.0 - jnp.where(u > 2, -jnp.inf, p * u)), "'sub'.*no maximum, difference or exp"),
    "minus infinity moved": (lambda p, u: jnp.tanh(jnp.where(u > 2, -jnp.inf, p * u).T), "'tanh'.*no maximum, difference or exp"),
    "a choice beside minus infinity": (lambda p, u: jnp.where(u > 5, jnp.where(u > 2, -jnp.inf, p * u), p), "'select_n'.*no maximum"),
    "infinity": (lambda p, u: jnp.where(u > 2, jnp.inf, p), "'select_n'.*inf is not finite"),
    "a product with minus infinity": (lambda p, u: jnp.where(u > 2, -jnp.inf, p), "'mul'.*no number above 0; choose a large negative"),
    "a sum with minus infinity": (
        lambda p, u: jnp.tanh(jnp.where(u > 2, -jnp.inf, p) + p),
        "'tanh'.*no maximum, difference or exp; choose a large",
    ),
    "minus infinity turned": (lambda p, u: jnp.max(-2.0 * jnp.where(u > 2, -jnp.inf, p * u)), "'mul'.*no number above 0"),
    "not a number": (lambda p, u: p * u * jnp.nan, "'mul'.*nan is not finite"),
    "a maximum with minus infinity": (lambda p, u: jnp.maximum(jnp.where(u > 2, -jnp.inf, p * u), -99.0), "'max'.*no maximum, difference"),
    "equal to minus infinity": (lambda p, u: jnp.where(jnp.where(u > 2, -jnp.inf, p * u) == 3.0, 1.0, p), "'eq'.*no maximum, difference"),
    "infinities beside low numbers": (lambda p, u: p * u + jnp.array([jnp.inf] * 2 + [-1e9] * 4), "'add'.*inf is not finite"),
    "infinite array": (lambda p, u: p * u + jnp.array([jnp.inf] * 2 + [0.0] * 4), "'add'.*inf is not finite"),
    "other keys": (lambda p, u: p * jax.random.uniform(jax.random.key(0, impl="rbg"), u.shape), "rbg; use threefry2x32"),
    "callback": (lambda p, u: p * jax.pure_callback(np.abs, jax.ShapeDtypeStruct((), F), F(1)) * u, "callback.*leave it out"),
    "mutable array": (lambda p, u: p * u * STATE[...], "mutable array .*pass what it holds as data"),
    "large constant": (lambda p, u: jnp.sum(p * jnp.arange(2**20.0)) * u, "large array of constants|more than 4096"),
    "conversion beyond": (
        lambda p, u: p * jnp.linspace(3e9, 4e9, 6).astype(INT) * u,
        "'convert_element_type'.*differs from machine to machine",
    ),
    "division by zero": (lambda p, u: p * u / 0, "'div'.*division by zero"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_has_no_exact_counterpart_is_refused_by_name(name):
    function, message = REFUSED[name]
    with pytest.raises(UnsupportedOperationError, match=message) as caught:
        read(lambda p, u: jnp.sum(function(p, u).astype(F) * p), optax.sgd(1 / 8), np.float32(1), (PIXELS,), None)
    assert "test_meaning.py:" in str(caught.value) and "site-packages" not in str(caught.value)


def test_an_effect_that_is_not_printing_is_refused():
    from jax.experimental import io_callback

    def writes(p, u):
        io_callback(lambda v: None, None, u, ordered=True)
        return p * u.astype(F).sum()

    with pytest.raises(UnsupportedOperationError, match="'io_callback'.*leave it out"):
        read(writes, optax.sgd(1 / 8), np.float32(1), (PIXELS,), None)


# ---- constants ------------------------------------------------------------------------------------------------------

A, N = np.array([7, -7, 3, 0, -128, 100], np.int8), np.array([2, 2, -2, 0, -1, 3], np.int8)
B = np.array([True, False, True, True, False, False])
R = np.array([0.5, -1.5, 2.5, 3.25, -0.75, 4.0], np.float32)
CONSTANTS = {
    "wrap-around": lambda: [a.astype(d) * b.astype(d) + a.astype(d) for d in ("int8", "uint8", "int32", "uint32") for a, b in [(A, N)]],
    "quotients": lambda: [
        lax.div(jnp.asarray(A), jnp.asarray(N)),
        lax.rem(jnp.asarray(A), jnp.asarray(N)),
        jnp.asarray(A) // 3,
        A % jnp.int8(3),
    ],
    "shifts": lambda: [
        op(jnp.asarray(A), jnp.int8(n)) for op in (jnp.left_shift, jnp.right_shift, lax.shift_right_logical) for n in (0, 3, 7, 9)
    ],
    "bits": lambda: [
        jnp.asarray(A) & N,
        jnp.asarray(A) | N,
        jnp.asarray(A) ^ N,
        ~jnp.asarray(A),
        ~jnp.asarray(A).astype("uint8"),
        lax.population_count(A),
    ],
    "booleans": lambda: [
        jnp.asarray(B) & ~B,
        jnp.asarray(B) | B[::-1],
        jnp.asarray(B) ^ B[::-1],
        jnp.any(B),
        jnp.all(jnp.asarray(B)),
        B.astype(INT) * 3,
    ],
    "casts": lambda: (
        [jnp.asarray(R).astype(d) for d in ("int32", "int8", "bool")] + [jnp.asarray(A).astype(d) for d in ("uint8", "bool", "float32")]
    ),
    "narrow floats": lambda: (
        [(jnp.asarray(R) / 3).astype(d).astype(F) for d in ("float16", "bfloat16")] + [lax.reduce_precision(R / 3, 8, 4)]
    ),
    "half arithmetic": lambda: [(jnp.asarray(R, jnp.float16) * jnp.float16(0.1)).astype(F)],
    "rounding": lambda: [
        jnp.floor(R),
        jnp.ceil(R),
        jnp.round(R),
        lax.round(jnp.asarray(R)),
        jnp.sign(R),
        jnp.abs(jnp.asarray(A)),
        jnp.trunc(R),
    ],
    "comparisons": lambda: (
        [op(jnp.asarray(R), 2.5) for op in (jnp.less, jnp.greater_equal, jnp.equal, jnp.not_equal)] + [jnp.linspace(0, 0.001, 9) > 0.0005]
    ),
    "powers": lambda: [
        jnp.asarray(R) ** 3,
        jnp.asarray(R) ** -2,
        jnp.abs(R) ** 0.3,
        jnp.power(jnp.asarray(A), 2),
        jnp.mod(R, 1.25),
        jnp.fmod(R, 1.25),
    ],
    "reductions": lambda: [
        jnp.sum(A),
        jnp.prod(R),
        jnp.max(R),
        jnp.min(A),
        jnp.argmax(R),
        jnp.argmin(A),
        jnp.cumsum(A),
        jnp.cumprod(R),
        jnp.clip(R, 0, 2),
    ],
    "orders": lambda: [
        jnp.sort(R),
        jnp.argsort(R),
        jnp.sort(A),
        lax.top_k(jnp.asarray(R), 3)[0],
        jnp.searchsorted(jnp.sort(R), 0.6),
        jnp.flip(R),
    ],
    "products": lambda: [jnp.outer(R, R) @ R, jnp.eye(6) @ R, jnp.dot(jnp.asarray(A), N, preferred_element_type=INT), jnp.asarray(R) @ B],
    "indices": lambda: [
        jnp.asarray(R)[jnp.array([0, 5, 3])],
        jnp.take(R, jnp.array([9]), mode="clip"),
        jnp.asarray(R).at[2].set(9),
        jnp.tri(3, 4),
    ],
    "infinities": lambda: [
        jnp.where(R > 0, 1 / (R - R), 2.0),
        jnp.exp(-1 / (R - R)),
        jnp.inf - jnp.asarray(R),
        jnp.isfinite(R / 0),
        jnp.maximum(R, jnp.nan),
    ],
    "loops": lambda: [
        lax.fori_loop(0, 9, lambda i, c: c * 3 + i, jnp.int32(1)),
        lax.scan(lambda c, r: (c + r, c * r), 1.0, jnp.asarray(R))[1],
    ],
    "rows of loops": lambda: [
        jax.vmap(lambda n: lax.while_loop(lambda c: c[0] < n, lambda c: (c[0] + 1, c[1] * 0.5), (0, 1.0))[1])(jnp.arange(4))
    ],
    "switch": lambda: [
        jax.vmap(lambda i: lax.switch(i, [lambda: 1.0, lambda: 2.0, lambda: 3.0]))(jnp.arange(3)),
        lax.cond(True, lambda: 1, lambda: 2),
    ],
    "functions": lambda: [
        getattr(jnp, f)(jnp.abs(R)) for f in ("exp", "exp2", "expm1", "log", "log1p", "sqrt", "cbrt", "tanh", "cos", "sin", "tan")
    ],
    "more functions": lambda: [
        lax.rsqrt(jnp.abs(R)),
        jax.nn.sigmoid(R),
        lax.erf(jnp.asarray(R)),
        jax.nn.softmax(R),
        jnp.linspace(0, 1, 7),
        jnp.var(R),
    ],
}


@pytest.mark.parametrize("name", CONSTANTS)
def test_constants_are_jax_constants(name):
    """Integers and booleans are equal; floating-point numbers within float32's rounding."""
    function = CONSTANTS[name]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        wanted = [np.asarray(x) for x in function()]
        found = interpret(Graph(), jax.make_jaxpr(function)(), [], "here")
    for x, known in zip(wanted, found, strict=True):
        assert isinstance(known, Known) and known.shape == x.shape
        entries = known.full().reshape(-1).tolist()
        if x.dtype.kind == "f":
            assert all(isinstance(v, (Fraction, float)) for v in entries)
            np.testing.assert_allclose(np.array(entries, dtype=float), x.reshape(-1), rtol=1e-6, atol=1e-7)
        else:
            assert entries == x.reshape(-1).tolist() and {type(v) for v in entries} == {bool if x.dtype.kind == "b" else int}


def test_large_uniform_constants_cost_nothing():
    def function():
        ones = jnp.ones((1000, 10**6))
        return ones.sum(), (3 * ones).max(axis=1)[0], (ones @ ones.T)[3, 4], jnp.prod(ones, axis=0)[7]

    assert [x.scalar for x in interpret(Graph(), jax.make_jaxpr(function)(), [], "here")] == [10**9, 3, 10**6, 1]


def test_elementary_functions():
    assert elementary("cos", Fraction(0)) == 1 and elementary("sqrt", Fraction(9, 16)) == Fraction(3, 4)
    assert elementary("exp", Fraction(10**6)) == INFINITY and elementary("exp", Fraction(-(10**6))) == 0
    assert elementary("log", Fraction(0)) == -INFINITY and elementary("logistic", -INFINITY) == 0
    assert all(
        v != v
        for v in (
            elementary("sqrt", Fraction(-1)),
            elementary("cos", INFINITY),
            power(Fraction(-2), Fraction(1, 2)),
            power(NAN, Fraction(2)),
        )
    )
    assert power(Fraction(3, 2), Fraction(-2)) == Fraction(4, 9) and power(Fraction(0), Fraction(-1)) == INFINITY
    assert power(Fraction(1, 2), INFINITY) == 0 and power(INFINITY, Fraction(-1)) == 0 and power(Fraction(2), INFINITY) == INFINITY


def test_the_digest_does_not_depend_on_jax_settings():
    def loss(p, x, y):
        scale = jnp.cos(jnp.linspace(0, jnp.pi, 6)) * 0.3081 + jnp.arange(6) / 7 + jnp.sqrt(2.0)
        return jnp.mean(((x - 0.1307) * scale @ p["a"] + p["b"] - y) ** 2)

    optimizer = optax.sgd(optax.warmup_cosine_decay_schedule(0.0, 0.1, 3, 10))
    digests = set()
    for setting in (
        jax.enable_x64(False),
        jax.enable_x64(True),
        jax.default_matmul_precision("bfloat16"),
        jax.numpy_dtype_promotion("standard"),
    ):
        with setting:
            digests.add(trace(loss, optimizer, P, batch=(X, Y), steps=8, chunk=4).digest())
    assert len(digests) == 1
