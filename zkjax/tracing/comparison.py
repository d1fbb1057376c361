"""The circuit beside the user's own step, on the batch that tracing was given: does it compute the same, and what does rounding cost?"""

import jax
import numpy as np

from ..algebra import exact
from ..circuit.circuit import Circuit
from ..circuit.rounding import Comparison, Rounding, distance
from ..kernels.settings import fixed


def compare(circuit: Circuit, loss, optimizer, params, batch, initial: tuple[int, ...]) -> Comparison:
    """One step by the user's own code, by the circuit without rounding (in float64), and by the circuit in integers.

    params: the user's pytree of arrays. batch: tuple of arrays. initial: bounds of the parameters, as for ``Circuit.bounds``.
    The integers are not held against their formats: ``train`` does that.
    """
    with fixed(x64=False):  # the step as it was traced
        own_loss, changes = _own_step(loss, optimizer, params, batch)
    leaves = [np.asarray(x, dtype=np.float64) for x in jax.tree.leaves(params)]
    inputs = [np.asarray(x, dtype=np.float64) for x in batch]
    weights = [x * 2.0**circuit.weight_scale for x in leaves]
    data = [x * 2.0**y.scale for x, y in zip(inputs, circuit.inputs, strict=True)]
    rounded_weights = [exact.coarse(x, circuit.weight_scale, circuit.table_bits)[1] for x in leaves]
    rounded_data = [exact.nearest(x, y.scale).astype(np.int64) for x, y in zip(inputs, circuit.inputs, strict=True)]
    floating = exact.evaluate(circuit, None, weights, data)
    integers = exact.evaluate(circuit, exact.plan(circuit, circuit.bounds(initial, 1).nodes), rounded_weights, rounded_data)
    pairs = [(f"parameter {p.path}", x, y) for p, x, y in zip(circuit.parameters, weights, rounded_weights, strict=True)]
    pairs += [(f"data '{x.name}'", a, b) for x, a, b in zip(circuit.inputs, data, rounded_data, strict=True)]
    pairs += [(f"[{circuit.nodes[i].label}]", floating[i], integers[i]) for i in circuit.rounded]
    updates = []
    for p, own in zip(circuit.parameters, changes, strict=True):
        by_circuit = (_change(circuit, p, values) for values in (floating, integers))
        updates.append((p.path, *(distance(x, own) for x in by_circuit)))
    losses = (float(circuit.exact_loss(float(values[x.node]) for x in circuit.losses)) for values in (floating, integers))
    return Comparison((own_loss, *losses), tuple(updates), tuple(Rounding.of(*pair) for pair in pairs))


def _own_step(loss, optimizer, params, batch) -> tuple[float, list[np.ndarray]]:
    """The loss, and what the optimizer adds to each parameter."""

    @jax.jit
    def step(params, batch):
        value, gradient = jax.value_and_grad(loss)(params, *batch)
        return value, optimizer.update(gradient, optimizer.init(params), params)[0]

    value, updates = step(params, batch)
    return float(value), [np.asarray(x, dtype=np.float64) for x in jax.tree.leaves(updates)]


def _change(circuit: Circuit, parameter, values) -> np.ndarray:
    """What the first step adds to a parameter."""
    total = np.zeros(parameter.shape)
    for use in parameter.updates:
        total -= use.rate(0) * np.asarray(values[use.node], dtype=np.float64)
    return total * 2.0**-circuit.weight_scale
