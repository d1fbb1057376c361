"""One exact training step of a circuit, jitted: int64 arrays in, int64 arrays out. Call inside a 64-bit scope."""

from functools import lru_cache

import jax.numpy as jnp
import numpy as np

from .. import exact
from .jit import jit


def evaluate_step(circuit, parameters, inputs, limbs) -> dict:
    """All nodes of one step: index to int64 array. limbs: ``exact.plan``. Recompiles for: circuit, limbs."""
    return dict(enumerate(_evaluate(circuit, limbs)(tuple(parameters), tuple(inputs))))


@lru_cache(maxsize=8)
def _evaluate(circuit, limbs):
    return jit(lambda parameters, inputs: exact.evaluate(circuit, limbs, parameters, inputs))


@lru_cache(maxsize=8)
def training_step(circuit, limbs, keep: bool):
    """A jitted ``step(parameters, data, indices, rates) -> (parameters, losses, extremes, rounded, kept)``.

    Shapes: data[i] (samples, ...), indices (batch,), rates (updates,); losses (terms,); extremes (rescales, 2): the least
    and largest quotient of each rescale, for the check of ranges; rounded (rescales, 4): what ``rounding_sums`` finds of each.
    kept, if asked for: ("value", i) for inputs, rescales and signs, ("remainder", i) for rescales:
    x + 2^(shift-1) - 2^shift * y; in the smallest types that hold values in range.
    Parameters are int64, or float64 that hold integers, and stay so. Their buffers are not reused: XLA updates other ones in
    half the time. Recompiles for: circuit, limbs, keep, number of samples, types.
    """
    rescales = circuit.of("rescale")

    def step(parameters, data, indices, rates):
        values = exact.evaluate(circuit, limbs, parameters, [x[indices].astype(jnp.int64) for x in data])
        losses = [values[loss.node].reshape(()) for loss in circuit.losses]
        extremes = [jnp.stack([values[i].min(), values[i].max()]) for i in rescales]
        rounded = [rounding_sums(values[circuit.nodes[i].inputs[0]], values[i], circuit.nodes[i]["shift"]) for i in rescales]
        kept = {}
        if keep:
            for i, node in enumerate(circuit.nodes):
                if node.op in ("input", "rescale", "sign"):
                    kept["value", i] = values[i].astype(kept_type(circuit, "value", i))
                if node.op == "rescale":
                    rest = exact.remainder(values[node.inputs[0]], values[i], node["shift"])
                    kept["remainder", i] = rest.astype(kept_type(circuit, "remainder", i))
        return (
            exact.update(circuit, parameters, values, list(rates)),
            jnp.stack(losses) if losses else jnp.zeros((0,), jnp.int64),
            jnp.stack(extremes) if extremes else jnp.zeros((0, 2), jnp.int64),
            jnp.stack(rounded) if rounded else jnp.zeros((0, 4)),
            kept,
        )

    return jit(step)


def rounding_sums(x, y, shift: int):
    """float64 (4,): how many x are not 0, of how many of these the quotient y is 0; sums of (x / 2^shift - y)^2 and (x / 2^shift)^2."""
    whole, nonzero = x.astype(jnp.float64) * 2.0**-shift, x != 0
    counts = nonzero.sum(dtype=jnp.float64), (nonzero & (y == 0)).sum(dtype=jnp.float64)
    return jnp.stack([*counts, jnp.square(whole - y).sum(), jnp.square(whole).sum()])


def kept_type(circuit, kind: str, i: int):
    """The integer type in which a step keeps a tensor."""
    node = circuit.nodes[i]
    if kind == "remainder":
        return np.uint32 if node["shift"] <= 32 else np.int64
    if node.op == "sign":
        return np.int8
    bits = node["bits"] if node.op == "rescale" else circuit.inputs[node["index"]].bits
    return np.int16 if bits <= 15 else np.int32 if bits <= 31 else np.int64
