"""A circuit in plain words: what is told follows from the operations, and nothing is told that they do not show."""

from dataclasses import replace

import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.nn import relu
from moving import moving
from nodes import roundings
from tiny import TINY

import zkjax
from zkjax.circuit.summary import net, rates
from zkjax.ops.arithmetic import Linear

DATA = np.zeros((4, 3), np.float32), np.zeros((4, 2), np.float32)
PARAMS = {"a": np.ones((3, 5), np.float32), "b": np.ones(5, np.float32), "c": np.ones((5, 2), np.float32)}


def mlp(p, x, y):
    return 0.5 * jnp.mean(jnp.sum((relu(x @ p["a"] + p["b"]) @ p["c"] - y) ** 2, axis=-1))


def traced(loss=mlp, optimizer=None, **options):
    return zkjax.trace(loss, optimizer or optax.sgd(1 / 16), PARAMS, batch=DATA, precision=TINY, **options)


@pytest.fixture(scope="module")
def circuit():
    return traced()


def test_a_chain_of_layers(circuit):
    told = 'A batch of 4 has "x" of 3, "y" of 2. The net is 3 -> 5 -> ReLU -> 2, the loss the squared error against "y". '
    assert net(circuit) == told + "30 parameters in 3 tensors; all are updated."


@pytest.mark.parametrize("factor", [1, -1, 2])
def test_a_squared_error_is_one_only_with_that_sign_and_scale(circuit, factor):
    """The same operations with another coefficient of the target: the sum, or the double, of it."""
    inputs = set(circuit.of("input"))
    (i,) = [i for i in circuit.of("linear") if inputs & set(circuit.nodes[i].inputs)]
    node = circuit.nodes[i]
    coefficients = tuple(c * factor if j in inputs else c for j, c in zip(node.inputs, node.operation.coefficients, strict=True))
    nodes = [*circuit.nodes]
    nodes[i] = replace(node, operation=Linear(coefficients))
    assert ("squared error" in net(replace(circuit, nodes=tuple(nodes)))) == (factor == 1)


def test_a_loss_of_two_summands_of_which_none_is_the_result():
    """Found by fuzzing: there was no target to name."""
    circuit = moving()
    nodes = [*circuit.nodes]
    nodes[6] = replace(nodes[6], inputs=(4,))  # both summands go back to the first of two products
    altered = replace(circuit, nodes=tuple(nodes)).check()
    assert "squared error" not in net(altered) and "squared error" not in str(altered)


def test_a_layer_that_changes_what_it_reads_is_no_chain(circuit):
    """A rescale whose scale does not follow from its shift multiplies the values."""
    i = roundings(circuit)[0]
    nodes = [*circuit.nodes]
    nodes[i] = replace(nodes[i], scale=nodes[i].scale + 1)
    assert "The net is" not in net(replace(circuit, nodes=tuple(nodes)))


def test_other_nets_are_counted():
    def residual(p, x, y):
        h = x @ p["a"]
        return jnp.mean(((h + relu(h)) @ p["c"] - y) ** 2)

    told = net(traced(residual))
    assert "The loss reads 2 layers (3 -> 5, 5 -> 2), 1 ReLU and 0 other products." in told and 'frozen: "b".' in told


def test_frozen_parameters_are_named(circuit):
    frozen = replace(circuit, parameters=(replace(circuit.parameters[0], updates=()), *circuit.parameters[1:]))
    assert net(frozen).endswith(f'; frozen: "{circuit.parameters[0].path}".') and frozen.updated() == (False, True, True)
    still = replace(circuit, parameters=tuple(replace(p, updates=()) for p in circuit.parameters))
    assert net(still).endswith("; NO PARAMETER IS UPDATED.")


def test_a_rate_of_zero_updates_nothing(circuit):
    """In all steps, or in those that a proof is about."""

    def with_rates(*values):
        uses = [tuple(replace(u, rates=values) for u in p.updates) for p in circuit.parameters]
        return replace(circuit, parameters=tuple(replace(p, updates=u) for p, u in zip(circuit.parameters, uses, strict=True)))

    assert not any(with_rates(0).updated()) and not any(with_rates(0, 0, 0).updated()) and all(with_rates(-1).updated())
    warm = with_rates(0, 0, 3, 4)
    assert all(warm.updated()) and not any(warm.updated(0, 2)) and all(warm.updated(1, 2)) and all(warm.updated(3, 1))


@pytest.mark.parametrize("value", [1 / 16, 0.375, 2.0])
def test_rates_are_those_of_the_optimizer(value):
    """In values: whatever scales the gradients have."""
    shown = [row[3] for row in _parameters(traced(optimizer=optax.sgd(value)))]
    assert [float(text.split()[1]) for text in shown] == pytest.approx([value] * 3, rel=1e-3)


def test_a_schedule_is_told_by_its_ends_and_range():
    circuit = traced(optimizer=optax.sgd(optax.piecewise_constant_schedule(0.25, {1: 2.0, 2: 0.25})), steps=4)
    for row in _parameters(circuit):
        assert row[3].startswith("minus 0.25..0.125 (in 4 steps from 0.125 to 0.5) times the gradient of the loss")


def _parameters(circuit):
    return next(part.rows for part in circuit.sheet().parts if getattr(part, "title", "") == "parameters")


def test_rates_in_words():
    assert rates((0.25,)) == "0.25" and rates((0.0999832,)) == "0.09998" and rates((-3e-7,)) == "-3e-07"
    assert rates((0.0, 0.25, 0.125, 0.0)) == "0..0 (in 4 steps from 0 to 0.25, 0 in 2 of them)"
