"""One exact training step of a circuit, jitted: int64 arrays in, int64 arrays out. Call inside a 64-bit scope."""

from functools import lru_cache

import jax
import jax.numpy as jnp

from .. import exact


def evaluate_step(circuit, parameters, inputs, limbs) -> dict:
    """All nodes of one step: index to int64 array. limbs: ``exact.plan``. Recompiles for: circuit, limbs."""
    return dict(enumerate(_evaluate(circuit, limbs)(tuple(parameters), tuple(inputs))))


@lru_cache(maxsize=8)
def _evaluate(circuit, limbs):
    return jax.jit(lambda parameters, inputs: exact.evaluate(circuit, limbs, parameters, inputs))


@lru_cache(maxsize=8)
def training_step(circuit, limbs):
    """A jitted ``step(parameters, data, indices, rates) -> (parameters, losses, extremes)``.

    Shapes: data[i] (samples, ...), indices (batch,), rates (updates,); losses (terms,); extremes (rescales, 2): the least
    and largest quotient of each rescale, for the check of ranges. The parameters' buffers are reused.
    Recompiles for: circuit, limbs, number of samples.
    """
    rescales = circuit.of("rescale")

    def step(parameters, data, indices, rates):
        values = exact.evaluate(circuit, limbs, parameters, [x[indices].astype(jnp.int64) for x in data])
        losses = [values[loss.node].reshape(()) for loss in circuit.losses]
        extremes = [jnp.stack([values[i].min(), values[i].max()]) for i in rescales]
        return (
            exact.update(circuit, parameters, values, list(rates)),
            jnp.stack(losses) if losses else jnp.zeros((0,), jnp.int64),
            jnp.stack(extremes) if extremes else jnp.zeros((0, 2), jnp.int64),
        )

    return jax.jit(step, donate_argnums=0)


@lru_cache(maxsize=8)
def witness_step(circuit, limbs):
    """A jitted ``step(parameters, data, indices, rates) -> (parameters, values, remainders)``.

    values: of inputs, rescales, signs and gates, by node; remainders: of rescales, x + 2^(shift-1) - 2^shift * y.
    """
    kept = [i for i, node in enumerate(circuit.nodes) if node.op in ("input", "rescale", "sign", "gate")]

    def step(parameters, data, indices, rates):
        values = exact.evaluate(circuit, limbs, parameters, [x[indices].astype(jnp.int64) for x in data])
        remainders = {
            i: exact.remainder(values[circuit.nodes[i].inputs[0]], values[i], circuit.nodes[i]["shift"]) for i in circuit.of("rescale")
        }
        return exact.update(circuit, parameters, values, list(rates)), {i: values[i] for i in kept}, remainders

    return jax.jit(step, donate_argnums=0)
