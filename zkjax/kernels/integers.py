"""One exact training step of a circuit: int64 arrays in, int64 arrays out; jitted, inside a 64-bit scope, or by NumPy."""

from functools import lru_cache

import jax.numpy as jnp
import numpy as np

from ..algebra import exact
from .jit import jit


@lru_cache(maxsize=8)
def training_step(circuit, limbs, keep: bool, xp=jnp):
    """A ``step(parameters, bases, data, indices, rates, keys) -> (parameters, losses, extremes, rounded, kept, fed)``.

    Shapes: data[i] (samples, ...), indices (batch,), rates (updates, then numbers of what is paced), keys of each
    draw (rows, 2); losses (terms,); extremes (n, 2):
    the least and largest value of each of the n nodes that have a range (``Circuit.limited``), for its check; rounded (m, 4): what
    ``rounding_sums`` finds of each that rounds. kept, if asked for: (name, i) to what the operation of node i keeps for the proof.
    bases: for each state with a recurrence the array that ``Next`` adds its feeds to, and their coefficients; fed: the arrays of the feeds.
    Parameters are int64, or float64 that hold integers, and stay so. Their buffers are not reused: XLA updates other ones in
    half the time. xp: jax.numpy, which compiles for a circuit, limbs, keep, number of samples and types, or NumPy.
    """
    leaves, rounded, updates = circuit.leaves(), circuit.rounded, sum(len(p.updates) for p in circuit.parameters)

    def step(parameters, bases, data, indices, rates, keys):
        moving = {s: (base, coefficients) for s, base, coefficients in zip(circuit.recurrent, *bases, strict=True)}
        inputs = [x[indices].astype(np.int64) for x in data]
        values = exact.evaluate(circuit, limbs, parameters, inputs, moving=moving, keys=keys, paces=list(rates)[updates:])
        losses = [values[loss.node].reshape(()) for loss in circuit.losses]
        extremes = [xp.stack([values[i].min(), values[i].max()]) for i in circuit.limited]
        sums = [rounding_sums(xp, *map(circuit.nodes[i].operation.judged, (_unrounded(circuit, values, i), values[i]))) for i in rounded]
        kept = {}
        if keep:
            for i, node in enumerate(circuit.nodes):
                for name, (array, kind) in node.operation.keep([values[j] for j in node.inputs], values[i], leaves).items():
                    kept[name, i] = array.astype(kind)
        return (
            exact.update(circuit, parameters, values, list(rates)[:updates]),
            xp.stack(losses) if losses else xp.zeros((0,), xp.int64),
            xp.stack(extremes) if extremes else xp.zeros((0, 2), xp.int64),
            xp.stack(sums) if sums else xp.zeros((0, 4)),
            kept,
            [[exact.integers(values[i]) for i, _ in circuit.parameters[s].recurrence.feeds] for s in circuit.recurrent],
        )

    return jit(step) if xp is jnp else step


def _unrounded(circuit, values, i: int):
    """What the value of node i would be without its rounding."""
    node = circuit.nodes[i]
    return node.operation.evaluate([values[j].astype(np.float64) for j in node.inputs], node, [values[j].shape for j in node.inputs], None)


def rounding_sums(xp, x, y):
    """float64 (4,): how many x are not 0, of how many of these the rounded y is 0; sums of (x - y)^2 and x^2."""
    nonzero = x != 0
    counts = nonzero.sum(dtype=xp.float64), (nonzero & (y == 0)).sum(dtype=xp.float64)
    return xp.stack([*counts, xp.square(x - y).sum(), xp.square(x).sum()])
