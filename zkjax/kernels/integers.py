"""One exact training step of a circuit: int64 arrays in, int64 arrays out; jitted, inside a 64-bit scope, or by NumPy."""

from functools import lru_cache

import jax.numpy as jnp
import numpy as np

from .. import exact
from .jit import jit


@lru_cache(maxsize=8)
def training_step(circuit, limbs, keep: bool, xp=jnp):
    """A ``step(parameters, data, indices, rates) -> (parameters, losses, extremes, rounded, kept)``.

    Shapes: data[i] (samples, ...), indices (batch,), rates (updates,); losses (terms,); extremes (rescales, 2): the least
    and largest quotient of each rescale, for the check of ranges; rounded (rescales, 4): what ``rounding_sums`` finds of each.
    kept, if asked for: ("value", i) for inputs, rescales and signs, ("remainder", i) for rescales:
    x + 2^(shift-1) - 2^shift * y; in the smallest types that hold values in range.
    Parameters are int64, or float64 that hold integers, and stay so. Their buffers are not reused: XLA updates other ones in
    half the time. xp: jax.numpy, which compiles for a circuit, limbs, keep, number of samples and types, or NumPy.
    """
    rescales = circuit.of("rescale")

    def step(parameters, data, indices, rates):
        values = exact.evaluate(circuit, limbs, parameters, [x[indices].astype(np.int64) for x in data])
        losses = [values[loss.node].reshape(()) for loss in circuit.losses]
        extremes = [xp.stack([values[i].min(), values[i].max()]) for i in rescales]
        rounded = [rounding_sums(xp, values[circuit.nodes[i].inputs[0]], values[i], circuit.nodes[i]["shift"]) for i in rescales]
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
            xp.stack(losses) if losses else xp.zeros((0,), xp.int64),
            xp.stack(extremes) if extremes else xp.zeros((0, 2), xp.int64),
            xp.stack(rounded) if rounded else xp.zeros((0, 4)),
            kept,
        )

    return jit(step) if xp is jnp else step


def rounding_sums(xp, x, y, shift: int):
    """float64 (4,): how many x are not 0, of how many of these the quotient y is 0; sums of (x / 2^shift - y)^2 and (x / 2^shift)^2."""
    whole, nonzero = x.astype(xp.float64) * 2.0**-shift, x != 0
    counts = nonzero.sum(dtype=xp.float64), (nonzero & (y == 0)).sum(dtype=xp.float64)
    return xp.stack([*counts, xp.square(whole - y).sum(), xp.square(whole).sum()])


def kept_type(circuit, kind: str, i: int):
    """The integer type in which a step keeps a tensor."""
    node = circuit.nodes[i]
    if kind == "remainder":
        return np.uint32 if node["shift"] <= 32 else np.int64
    if node.op == "sign":
        return np.int8
    bits = node["bits"] if node.op == "rescale" else circuit.inputs[node["index"]].bits
    return np.int16 if bits <= 15 else np.int32 if bits <= 31 else np.int64
