"""Formats of single tensors: their names, scales by need, the user's own, and the file from which an auditor gets the digest."""

import re
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from harness import data_for, mlp_loss, mlp_params
from test_graphs import X, Y
from test_reference_verifier import MORE

import zkjax
from zkjax.errors import ConfigurationError, PrecisionError, PrecisionWarning
from zkjax.tracing.precision import TensorFormat

DIMS = (6, 8, 5, 3)
PARAMS, DATA = mlp_params(DIMS), data_for(DIMS, samples=24)
BATCH = tuple(x[:8] for x in DATA)


def traced(params=PARAMS, batch=BATCH, optimizer=None, loss=mlp_loss, **options):
    return zkjax.trace(loss, optimizer or optax.sgd(1 / 8), params, batch=batch, **{"chunk": 4} | options)


def formats(circuit) -> dict[str, TensorFormat]:
    """Of the rescaled tensors, by label: scale and bits."""
    return {circuit.nodes[i].label: TensorFormat(circuit.nodes[i].scale, circuit.nodes[i].operation.bits) for i in circuit.rounded}


def scales(circuit) -> dict[str, int]:
    return {p.path: circuit.scale(k)[1] for k, p in enumerate(circuit.parameters)}


def shapes(tree):
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), tree)


# ---- names ---------------------------------------------------------------------------------------------------------------
def test_rounded_tensors_have_names_of_their_own():
    circuit = traced()
    forward, backward = [f"{i}/w forward" for i in range(2)], ["2/w backward", "1/w backward"]
    assert list(formats(circuit)) == [*forward, "2/w error", *backward]
    assert set(circuit.precision.tensors) == {"x", "y", *formats(circuit)}


def test_an_ordinal_tells_equal_labels_apart():
    loss, params = MORE["attention"]
    circuit = zkjax.trace(loss, optax.sgd(1 / 8), params, batch=(X, Y), chunk=2)
    labels = [circuit.nodes[i].label for i in circuit.rounded]
    assert "product" in labels and "product 2" in labels
    named = [name for name in labels if "before its constant" not in name]
    assert len(set(named)) == len(named) and set(named) <= set(circuit.precision.tensors)


def test_names_do_not_depend_on_formats():
    """So a file of formats stays what it is where another one is tried."""
    coarse = traced(precision=zkjax.Precision(activation_scale=4, activation_bits=8, gradient_scale=6, gradient_bits=9))
    assert set(coarse.precision.tensors) == set(traced().precision.tensors)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"tensors": {"0/w foward": (8, 12)}}, r"Precision.tensors names '0/w foward', and .*near are '0/w forward'"),
        ({"parameters": {"0/v": 20}}, r"Precision.parameters names '0/v', .*'0/w'"),
        ({"states": {"0/wb": (10, 20, 2, 20)}}, r"Precision.states names '0/wb', .*'0/[wb]'"),
    ],
)
def test_unknown_names_are_refused_with_those_that_come_near(given, message):
    with pytest.raises(ConfigurationError, match=message):
        traced(precision=zkjax.Precision(**given))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"tensors": {"a": (70, 3)}}, "format of tensor a .*-62 to 62"),
        ({"tensors": {"a": (3, 20)}}, "format of tensor a .*1 to 19 bits"),
        ({"tensors": {"a": 3}}, "tensors: give {name"),
        ({"parameters": {"a": 63}}, "scale of parameter a is 63"),
        ({"parameters": {"a": "x"}}, "parameters: give {path"),
    ],
)
def test_formats_out_of_range_are_refused(given, message):
    with pytest.raises(ConfigurationError, match=re.escape(message).replace(r"\.\*", ".*")):
        zkjax.Precision(**given)


def test_data_have_no_negative_scale():
    with pytest.raises(PrecisionError, match="the format of x in Precision.tensors has a scale of -1; data need at least 0"):
        traced(precision=zkjax.Precision(tensors={"x": (-1, 12)}))


# ---- the user's own -------------------------------------------------------------------------------------------------------
def test_named_tensors_have_the_formats_that_are_given():
    others = formats(traced())
    given = {"1/w forward": (11, 14), "1/w backward": (20, 12), "x": (9, 13)}
    circuit = traced(precision=zkjax.Precision(tensors=given))
    found = formats(circuit)
    named = {name: found.pop(name) for name in ("1/w forward", "1/w backward")}
    assert named == {name: TensorFormat(*given[name]) for name in named}
    assert all(x.scale == others[name].scale for name, x in found.items())  # ranges are as wide as tables allow
    assert (circuit.inputs[0].scale, circuit.inputs[0].bits) == (9, 13) and circuit.inputs[1] == traced().inputs[1]
    before, after = scales(traced()), scales(circuit)
    assert after["0/w"] - before["0/w"] == 9 - traced().inputs[0].scale + 20 - others["1/w backward"].scale  # of x, and of its gradient
    assert after["2/w"] - before["2/w"] == 11 - others["1/w forward"].scale and after["1/w"] == before["1/w"]


def test_defaults_that_are_given_hold_for_all_others():
    """Nothing follows from the data then, whatever they are."""
    given = zkjax.Precision(activation_scale=7, activation_bits=12, gradient_scale=12, gradient_bits=13, data_bits=(12, 12), table_bits=14)
    small = traced(batch=tuple(x * np.float32(1e-2) for x in BATCH), precision=given)
    assert set(formats(small).values()) == {TensorFormat(7, 12), TensorFormat(12, 13)}
    assert small.digest() == traced(precision=given).digest()


# ---- by need ---------------------------------------------------------------------------------------------------------------
def test_small_gradients_get_finer_scales():
    """Behind small weights, gradients are far below those of the last layer, and no worse in their own scale."""
    params = [PARAMS[0], PARAMS[1], {"w": PARAMS[2]["w"] / 4096, "b": PARAMS[2]["b"]}]
    circuit, plain = traced(params), traced()
    found, usual = formats(circuit), formats(plain)
    assert found["2/w error"].scale == usual["2/w error"].scale
    assert all(6 <= found[name].scale - usual[name].scale <= 10 for name in ("2/w backward", "1/w backward"))
    one = {"gradient_scale": usual["2/w error"].scale, "gradient_bits": usual["2/w error"].bits}
    with pytest.warns(PrecisionWarning, match=r"\[2/w backward\]"):
        before = {path: off for path, _, off in traced(params, precision=zkjax.Precision(**one)).comparison.updates}
    after = {path: off for path, _, off in circuit.comparison.updates}
    assert max(after.values()) < 0.05 and min(before["0/w"], before["1/w"]) > 0.2


def test_small_and_large_data_are_resolved():
    x, y = BATCH
    with warnings.catch_warnings():
        warnings.simplefilter("error", PrecisionWarning)
        circuit = traced(batch=(x * np.float32(1e-3), y))
    assert circuit.inputs[0].scale >= 16 and circuit.inputs[1].scale == 10
    wide = traced([{"w": PARAMS[0]["w"] * 1e3, "b": PARAMS[0]["b"]}, *PARAMS[1:]], optimizer=optax.sgd(1 / 64))
    assert formats(wide)["0/w forward"].scale <= 0 and formats(wide)["0/w forward"].bits <= 14  # coarser, not wider
    assert np.isfinite(wide.comparison.loss[2]) and wide.comparison.loss[2] == pytest.approx(wide.comparison.loss[0], rel=0.02)


def test_each_parameter_has_the_scale_that_its_updates_need():
    circuit = traced()
    found, gradients = scales(circuit), formats(circuit)
    for k, (gradient, read) in enumerate((("1/w backward", "x"), ("2/w backward", "0/w forward"), ("2/w error", "1/w forward"))):
        read = circuit.inputs[0].scale if read == "x" else gradients[read].scale + 1  # a ReLU's values are in half units
        assert found[f"{k}/b"] == gradients[gradient].scale + 3  # 2^-3 is the rate
        assert found[f"{k}/w"] == gradients[gradient].scale + 3 + read


def test_frozen_parameters_have_few_bits():
    labels = ["frozen", "trained", "trained"]
    optimizer = optax.multi_transform({"trained": optax.sgd(1 / 8), "frozen": optax.set_to_zero()}, labels)
    circuit = traced(optimizer=optimizer)
    largest = float(np.abs(PARAMS[0]["w"]).max())
    assert 2**13 < largest * 2 ** scales(circuit)["0/w"] <= 2**18 and scales(circuit)["0/w"] < scales(circuit)["1/w"]
    forward = circuit.nodes[circuit.rounded[0]].operation.shift
    assert forward < circuit.nodes[circuit.rounded[1]].operation.shift  # fewer bits of a remainder: fewer limbs
    fewest = traced(optimizer=optimizer, precision=zkjax.Precision(parameters={"0/w": scales(circuit)["0/w"] - 1}))
    assert circuit.counts(16).cost <= 1.02 * fewest.counts(16).cost  # and more bits where they cost hardly more
    given = traced(optimizer=optimizer, precision=zkjax.Precision(parameters={"0/w": 20, "0/b": 20}))
    assert scales(given)["0/w"] == scales(given)["0/b"] == 20


# ---- adapters, which begin with zeros ----------------------------------------------------------------------------------------
def adapted(params, x, y):
    for layer in params:
        x = x @ layer["w"] + (x @ layer["down"]) @ layer["up"]
    return 0.5 * jnp.mean(jnp.sum((x - y) ** 2, axis=-1))


def adapters():
    rng, params = np.random.default_rng(0), []
    for a, b in zip(DIMS, DIMS[1:]):
        w, down = (rng.normal(size=(a, n)).astype(np.float32) * np.float32(a**-0.5) for n in (b, 2))
        params.append({"w": w / 8, "down": down, "up": np.zeros((2, b), np.float32)})
    return params, optax.multi_transform(
        {"trained": optax.sgd(1 / 128, momentum=0.9), "frozen": optax.set_to_zero()},
        [{"w": "frozen", "down": "trained", "up": "trained"}] * len(params),
    )


def test_updates_of_adapters_do_not_vanish():
    """What is 0 where training begins is looked at some steps later."""
    params, optimizer = adapters()
    circuit = traced(params, optimizer=optimizer, loss=adapted)
    first = {path: off for path, _, off in circuit.comparison.updates}
    assert max(first.values()) < 0.1
    found = formats(circuit)
    assert found["0/up backward"].scale > found["2/w error"].scale
    run = zkjax.train(circuit, params, DATA, steps=8, seed=0)
    state, floats = optimizer.init(params), params
    for rows in run.indices:
        updates, state = optimizer.update(jax.grad(adapted)(floats, *(x[rows] for x in DATA)), state, floats)
        floats = optax.apply_updates(floats, updates)
    paths = {p.path: k for k, p in enumerate(circuit.parameters)}
    for layer in range(len(params)):
        for name in ("up", "down"):
            p = paths[f"{layer}/{name}"]
            moved = (run.final[p] - run.initial[p]) * float(circuit.unit(p))
            wanted = np.asarray(floats[layer][name], float) - params[layer][name]
            assert moved.any()  # "down" by a millionth, which float32 does not resolve itself
            assert name == "down" or np.linalg.norm(moved - wanted) < 0.2 * np.linalg.norm(wanted), p


# ---- the file of the recipe ----------------------------------------------------------------------------------------------------
def cases():
    params, optimizer = adapters()
    small = [PARAMS[0], PARAMS[1], {"w": PARAMS[2]["w"] / 4096, "b": PARAMS[2]["b"]}]
    yield "refined", small, optax.sgd(0.1), mlp_loss, {}
    yield "adapters", params, optimizer, adapted, {}
    yield "schedule", PARAMS, optax.sgd(optax.cosine_decay_schedule(0.1, 20), momentum=0.9), mlp_loss, {"steps": 20}
    yield "coarser", PARAMS, optax.sgd(1e-7), mlp_loss, {"steps": 2**20}


@pytest.mark.filterwarnings("ignore:in integers")
@pytest.mark.parametrize("case", list(cases()), ids=lambda case: case[0])
def test_an_auditor_gets_the_digest_from_source_file_and_shapes(case, tmp_path):
    _, params, optimizer, loss, options = case
    circuit = traced(params, optimizer=optimizer, loss=loss, **options)
    circuit.precision.save(tmp_path / "precision.json")
    precision = zkjax.Precision.load(tmp_path / "precision.json")
    assert precision == circuit.precision and None not in vars(precision).values()
    again = traced(shapes(params), shapes(BATCH), optimizer, loss, precision=precision, **options)
    assert again.digest() == circuit.digest() and again.precision == precision
    other = traced(jax.tree.map(lambda x: x * np.float32(0.9), params), optimizer=optimizer, loss=loss, precision=precision, **options)
    assert other.digest() == circuit.digest()
    assert zkjax.Circuit.from_json(circuit.to_json()).precision is None


def test_a_tiny_loss_has_formats_too():
    circuit = traced(loss=lambda p, x, y: 2.0**-33 * mlp_loss(p, x, y), optimizer=optax.sgd(2.0**30))
    assert circuit.precision.gradient_scale > 40 and scales(circuit) == scales(traced())


# ---- what is lost is said -------------------------------------------------------------------------------------------------------
def test_rates_that_become_0_are_told():
    schedule = optax.linear_schedule(1 / 8, 1e-6, 12)
    circuit = traced(optimizer=optax.sgd(schedule), steps=14)
    assert any("IN 2 STEPS IT BECAME 0" in note for note in circuit.notes)
    assert not any("BECAME 0" in note for note in traced(optimizer=optax.sgd(optax.linear_schedule(1 / 8, 0.0, 12)), steps=14).notes)


def test_first_values_that_become_0_are_told():
    def step(state, x, y):
        params, average = state
        value, gradient = jax.value_and_grad(mlp_loss)(params, x, y)
        params = jax.tree.map(lambda p, g: p - g / 8, params, gradient)
        return (params, {"opt_state": jax.tree.map(lambda a, p: 0.5 * a + 0.5 * p, average["opt_state"], params)})

    first = jax.tree.map(lambda p: np.full_like(p, 1e-6), PARAMS)
    states = {f"1/opt_state/{k}/w": (12, 20, 10, 40) for k in range(3)}
    circuit = zkjax.trace_step(step, (PARAMS, {"opt_state": first}), BATCH, precision=zkjax.Precision(states=states))
    assert any("begins with 1e-06, which is 0 in its units" in note for note in circuit.notes)


def test_warnings_name_tensor_range_margin_and_error():
    with pytest.warns(
        PrecisionWarning, match=r"\[1/w backward\]: .* became 0, relative error .*the largest is .* in a range of .*, margin"
    ):
        circuit = traced(precision=zkjax.Precision(gradient_scale=3))
    text = str(circuit)
    assert all(word in text for word in ("margin", "relative error", "cells and lookups a step"))
    row = next(x for x in circuit.comparison.roundings if x.name == "[0/w forward]")
    i = circuit.rounded[0]
    assert row.bound == 2.0 ** (circuit.nodes[i].operation.bits - circuit.nodes[i].scale) and 0 < row.largest < row.bound / 4
    assert row.cost == sum(circuit.cost(i)) * 8 * 8
