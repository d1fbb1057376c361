"""What is said of a step: gradients that are found to be such, factors in real numbers, formats; whatever an author writes over them."""

import re
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from moving import moving

import zkjax
from zkjax.circuit.changes import changes, named
from zkjax.circuit.descent import gradients
from zkjax.circuit.summary import kind
from zkjax.circuit.units import units
from zkjax.circuit.words import factor, formats, loss, optimizer

PARAMS = {"a": jax.ShapeDtypeStruct((3, 3), np.float32), "b": jax.ShapeDtypeStruct((3, 3), np.float32)}
BATCH = (jax.ShapeDtypeStruct((4, 3), np.float32),)


def net(p, x):
    return jnp.mean((jax.nn.relu(x @ p["a"]) @ p["b"]) ** 2)


def traced(optimizer, **options):
    return zkjax.trace(net, optimizer, PARAMS, batch=BATCH, **{"steps": 8, "chunk": 4} | options)


@pytest.mark.parametrize(
    "optimizer_of, told",
    {
        "descent": (optax.sgd(0.1), {'"a", "b": changes by -0.1 * the gradient of the loss'}),
        "momentum": (
            optax.sgd(1 / 8, momentum=0.9),
            {'"a", "b": changes by -0.125 * "optimizer/0/trace/*" after the step', "becomes 0.9 * itself + 1 * the gradient of the loss"},
        ),
        "adam": (
            optax.adam(0.01),
            {
                '"optimizer/0/mu/a", "optimizer/0/mu/b": becomes 0.9 * itself + 0.1 * the gradient of the loss',
                '"optimizer/0/nu/a", "optimizer/0/nu/b": becomes 0.999 * itself + 0.001 * the square of the gradient of the loss',
            },
        ),
        "decay": (optax.chain(optax.add_decayed_weights(1e-3), optax.sgd(0.25)), {"becomes (1 - 0.00025) * itself - 0.25 * the gradient"}),
        "schedule": (optax.sgd(optax.linear_schedule(0.5, 0.25, 4)), {"-0.25 (in 8 steps from -0.5", " * the gradient of the loss"}),
        "frozen": (
            optax.multi_transform({"t": optax.sgd(0.1), "f": optax.set_to_zero()}, {"a": "t", "b": "f"}),
            {'"b": frozen', '"a": changes by -0.1 * the gradient'},
        ),
    }.values(),
)
def test_an_optimizer_is_told_in_its_own_numbers(optimizer_of, told):
    circuit = traced(optimizer_of)
    printed = optimizer(circuit, changes(circuit))
    assert all(words in printed for words in told), printed


def test_factors_are_those_of_the_tracer():
    """He knows them exactly, units that are no powers of two included, and notes them."""
    circuit = traced(optax.adam(0.01))
    (note,) = {x for x in circuit.notes if "schedule of 8 steps" in x}
    least, most = re.search(r"steps, (\S+) to (\S+?)[ ;]", note).groups()
    rates = [-v for v in changes(circuit)[0][0].factors]
    assert (min(rates), max(rates)) == pytest.approx((float(least), float(most)), rel=1e-5)


def test_units_follow_from_operations_whatever_scales_say():
    circuit = traced(optax.rmsprop(0.01))
    told = ("dot", "rescale", "divide", "root", "gate", "linear")
    lies = tuple(replace(x, scale=x.scale + 3) if x.op in told else x for x in circuit.nodes)
    found = units(circuit)
    assert {*told} <= {x.op for x in circuit.nodes} and units(replace(circuit, nodes=lies)) == pytest.approx(found)
    for i, node in enumerate(circuit.nodes):
        if node.op == "divide":
            assert found[i] == found[node.inputs[0]] / found[node.inputs[1]]
        if node.op == "rescale":
            assert found[i] == found[node.inputs[0]] * 2.0**node.operation.shift


def test_a_gradient_of_something_else_is_not_called_this_ones():
    """Two weights of one shape, whose momenta are fed the other way round, or with twice the gradient, or by what is no gradient."""
    circuit = traced(optax.sgd(0.1, momentum=0.9))
    at = {x.path: p for p, x in enumerate(circuit.parameters)}
    a, b = at["optimizer/0/trace/a"], at["optimizer/0/trace/b"]
    fed = {p: circuit.parameters[p].recurrence.feeds for p in (a, b)}

    def with_feeds(feeds) -> list[dict]:
        parameters = [*circuit.parameters]
        parameters[a] = replace(parameters[a], recurrence=replace(parameters[a].recurrence, feeds=feeds))
        altered = replace(circuit, parameters=tuple(parameters))
        return named(altered, changes(altered))[a]

    assert set(with_feeds(fed[a])) == {"itself", "the gradient of the loss"}
    assert set(with_feeds(fed[b])) == {"itself", 'the gradient of the loss by "b"'}
    ((node, coefficients),) = fed[a]
    twice = with_feeds(((node, tuple(2 * c for c in coefficients)),))
    assert twice["the gradient of the loss"] == pytest.approx((2.0,), rel=1e-3)
    weight = next(i for i, x in enumerate(circuit.nodes) if x.op == "param" and x.operation.index == at["a"])
    assert set(with_feeds(((weight, coefficients),))) == {"itself", "the result of its param"}


def test_no_gradient_is_found_where_there_is_no_loss():
    circuit = moving()
    assert gradients(circuit, {8}) and not gradients(replace(circuit, losses=()), {8}) and not gradients(circuit, {4})
    assert gradients(circuit, set()) == {}


def test_formats_and_losses_are_told():
    circuit = traced(optax.sgd(0.1, momentum=0.9), precision=zkjax.Precision(activation_scale=6, activation_bits=9))
    told = formats(circuit)
    assert 'Data: "x" in units of 2^-6 up to 2^' in told and "tensors of the forward pass to 2^-11..2^-6 up to 2^2..2^3" in told
    assert "2 states rounded to them every 4 steps" in told and "which no step rounds" in formats(traced(optax.sgd(0.1)))
    shown = " ".join(str(circuit).split())  # long lines are cut
    assert loss(circuit).startswith('Output "loss" is ') and loss(circuit) in shown and told in shown
    assert "function of tanh" in {kind(x) for x in traced_tanh().nodes}


def traced_tanh():
    return zkjax.trace(lambda p, x: jnp.mean(jnp.tanh(x @ p["a"])), optax.sgd(0.1), {"a": PARAMS["a"]}, batch=BATCH)


def test_factors_close_to_one_are_told_by_what_they_lack():
    assert factor((0.99999,), near=True) == "(1 - 1e-05) * " and factor((0.99999,)) == "1 * " and factor((1.0,), near=True) == "1 * "
    assert factor((1.0, 0.9999), near=True) == "(1 - 0..0.0001 (in 2 steps from 0 to 0.0001, 0 in 1 of them)) * "


@pytest.mark.parametrize("scale", [-(2**16), -1024, 0, 1024, 2**16])
def test_no_scale_of_an_author_breaks_the_words(scale):
    for circuit in (moving(), traced(optax.adam(0.01)), traced_tanh()):
        altered = replace(circuit, nodes=tuple(replace(x, scale=scale) for x in circuit.nodes))
        assert "In each step" in str(altered)
        inputs = tuple(replace(x, scale=60) for x in circuit.inputs)
        parameters = tuple(replace(x, unit=x.unit / 2**250) for x in circuit.parameters)
        assert "In each step" in str(replace(altered, inputs=inputs, parameters=parameters))
