"""Default formats: every batch size, output count, loss form and learning rate traces, and trains as floating point does."""

import json
import random
import tracemalloc
import warnings
from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from harness import mlp_loss, mlp_params
from nodes import roundings

import zkjax
from zkjax.algebra import exact
from zkjax.circuit import bounds, coarse
from zkjax.circuit.rounding import Comparison, Rounding, distance
from zkjax.errors import PrecisionError, PrecisionWarning
from zkjax.tracing import comparison, finer, formats, program
from zkjax.tracing.fitting import fit
from zkjax.tracing.formats import Magnitudes, coarser, default_formats
from zkjax.tracing.precision import Precision
from zkjax.tracing.program import _bounded
from zkjax.tracing.source import read

HIDDEN, FEATURES = 8, 6
MEAN = {"textbook": lambda p, x, y: jnp.mean((net(p, x) - y) ** 2), "half": mlp_loss}
SUM = {
    "textbook sum": lambda p, x, y: jnp.sum((net(p, x) - y) ** 2),
    "half sum": lambda p, x, y: 0.5 * jnp.sum((net(p, x) - y) ** 2),
}
FORMS = MEAN | SUM


def net(params, x):
    return jax.nn.relu(x @ params[0]["w"] + params[0]["b"]) @ params[1]["w"] + params[1]["b"]


def float_step(form, leaves, x, y, rate):
    """One step in float64, written out: leaves are b, w, b, w as pytrees order them."""
    b0, w0, b1, w1 = leaves
    hidden = x @ w0 + b0
    active = np.maximum(hidden, 0)
    error = active @ w1 + b1 - y
    error *= {"textbook": 2 / error.size, "half": 1 / len(x), "textbook sum": 2, "half sum": 1}[form]
    back = (error @ w1.T) * (hidden > 0)
    return [b0 - rate * back.sum(0), w0 - rate * x.T @ back, b1 - rate * error.sum(0), w1 - rate * active.T @ error]


def distance_from_float(form: str, batch: int, outputs: int, rate: float, steps: int = 4) -> tuple[float, bool]:
    """How far integers end from floats, over how far these moved; a value outside its format fails.

    And whether a ReLU's input was on the other side of 0 in integers: that is another derivative, however fine the format.
    """
    rng = np.random.default_rng(batch * 1000 + outputs)
    params = mlp_params((FEATURES, HIDDEN, outputs))
    x, y = rng.normal(size=(batch, FEATURES)).astype(np.float32), (rng.normal(size=(batch, outputs)) / 2).astype(np.float32)
    source = read(FORMS[form], optax.sgd(rate), params, (x, y), None)
    circuit, *_ = _bounded(source, Precision(), 16, 16, Magnitudes(source.samples(), lambda: source.later))
    limbs = exact.plan(circuit, circuit.bounds(source.initial_bounds(circuit), 16).nodes)
    start = [np.asarray(a, dtype=np.float64) for a in jax.tree.leaves(params)]
    scales = [circuit.scale(p)[1] for p in range(len(start))]
    integers = coarse.integers(circuit, dict(enumerate(start)))[2]
    data = [exact.nearest(a, i.scale).astype(np.int64) for a, i in zip((x, y), circuit.inputs, strict=True)]
    rates, floats = [u.rate(0) for p in circuit.parameters for u in p.updates], start
    turned = False
    for _ in range(steps):
        hidden = x.astype(float) @ floats[1] + floats[0]
        values = exact.evaluate(circuit, limbs, integers, data)
        for i in roundings(circuit):
            assert -(2 ** circuit.nodes[i].operation.bits) <= values[i].min() and values[i].max() < 2 ** circuit.nodes[i].operation.bits
        integers = list(exact.update(circuit, integers, values, rates))
        turned |= not np.array_equal(values[circuit.of("sign")[0]], hidden > 0)
        floats = float_step(form, floats, x.astype(float), y.astype(float), rate)
    apart = [np.ldexp(a.astype(float), -scale) - b for a, scale, b in zip(integers, scales, floats, strict=True)]
    moved = [a - b for a, b in zip(floats, start, strict=True)]
    return float(np.sqrt(sum((a**2).sum() for a in apart) / sum((a**2).sum() for a in moved))), turned


def follows(form: str, batch: int, outputs: int) -> bool:
    """Integers end within a twentieth of floats; whether they do not, because a ReLU turned: a flip of one of few samples tells."""
    rate = 0.1 / (1 if form in MEAN else batch) / (2 if form == "textbook sum" else 1)  # floats overshoot at twice that
    off, turned = distance_from_float(form, batch, outputs, rate)
    assert off < 0.05 or (turned and off < 0.5), f"{form}, batch {batch}, {outputs} outputs: {off:.3f}"
    return off >= 0.05


@pytest.mark.parametrize(("batch", "outputs"), [(1, 1), (3, 3), (10, 10), (50, 7), (60, 10), (100, 3), (257, 12)])
def test_the_textbook_loss_works_for_every_batch_size(batch, outputs):
    assert not any(follows(form, batch, outputs) for form in FORMS)


@pytest.mark.slow
@pytest.mark.parametrize("first", range(1, 258, 16))
def test_the_textbook_loss_works_for_really_every_batch_size(first):
    far = [follows(form, b, n) for b in range(first, min(258, first + 16)) for n in range(1, 13) for form in FORMS]
    assert sum(far) < 0.05 * len(far)


def shapes(dims, batch):
    """Parameters and batch of an MLP without values."""
    shape = lambda *s: jax.ShapeDtypeStruct(s, jnp.float32)  # noqa: E731
    params = [{"w": shape(a, b), "b": shape(b)} for a, b in zip(dims, dims[1:])]
    return params, (shape(batch, dims[0]), shape(batch, dims[-1]))


def traced(rate, dims=(64, 32, 10), batch=32, form="half", **options):
    params, arrays = shapes(dims, batch)
    return zkjax.trace(FORMS[form], optax.sgd(rate), params, batch=arrays, **options)


def holds(circuit, steps: int) -> bool:
    """Whether a chain of that many steps keeps its bounds; first weights up to 1."""
    forms = coarse.forms(circuit, dict.fromkeys(range(len(circuit.parameters)), 1.0))
    try:
        circuit.bounds(coarse.shown(circuit, *forms), steps)
    except PrecisionError:
        return False
    return True


@pytest.mark.parametrize("rate", [0.1, 0.03, 0.01, 0.003, 0.001, 3e-4, 1e-4, 1e-5])
def test_learning_rates_cost_no_bits_of_the_chain(rate):
    """A chain lasts as long as with the power of two below: what is left of the rate is in a constant of the gradient."""
    dyadic = traced(2.0 ** np.floor(np.log2(rate)))
    for form in ("half", "textbook"):
        assert holds(traced(rate, form=form), 2**10)
    circuit = traced(rate)
    assert all(circuit.unit(p) >= dyadic.unit(p) for p in range(len(circuit.parameters)))
    assert all(u.rates in ((1,), (256,)) for p in circuit.parameters for u in p.updates)
    assert f"rate of updates: {Fraction(str(rate))}" in circuit.notes


def test_a_wide_value_is_narrow_before_its_constant():
    """A constant of 12 bits on a value that depends on parameters would cost 12 bits of every bound."""
    circuit = traced(0.1)
    bounds = circuit.node_bounds()
    assert any("before its constant" in node.label for node in circuit.nodes)
    for node in circuit.nodes:
        if node.op == "linear" and any(c.bit_length() > 1 and c & (c - 1) for c in map(abs, node.operation.coefficients)):
            assert all(bounds[i] is not None and bounds[i] <= 2**20 for i in node.inputs), node.label


def test_defaults_become_coarser_where_bounds_ask_for_it():
    circuit = traced(1e-7, (784, 256, 10), 100)
    assert any("coarser than by default" in note for note in circuit.notes)
    asked = traced(1 / 8, (256, *(128,) * 6, 10), 64, steps=2**16)
    assert holds(asked, 2**16) and not holds(traced(1 / 8, (256, *(128,) * 6, 10), 64), 2**16)
    with pytest.raises(PrecisionError, match="bits after the point"):
        traced(1e-7, (784, 256, 10), 100, precision=Precision(activation_scale=12, gradient_scale=30, gradient_bits=13))


def test_formats_that_were_chosen_stay():
    params, arrays = shapes((6, 4, 2), 4)
    program = read(mlp_loss, optax.sgd(0.1), params, arrays, None).program
    for given in ({"activation_scale": 8}, {"gradient_bits": 13}, {"gradient_scale": 10}, {"activation_scale": 8, "gradient_scale": 10}):
        precision, formats = Precision(**given), default_formats(program, arrays, Precision(**given), 16)
        while (less := coarser(formats, precision)) is not None:
            assert less != formats
            formats = less
        assert all(getattr(formats, name) == value for name, value in given.items())
        assert formats.activation_scale >= 4 and formats.gradient_bits >= 9


# ---- what rounding does, said ------------------------------------------------------------------------------------------


EIGHT = Precision(activation_scale=8)


def plain_trace(params, x, y, rate=1 / 16, **options):
    return zkjax.trace(mlp_loss, optax.sgd(rate), params, batch=(x, y), chunk=2, **options)


def arrays(seed=0):
    rng = np.random.default_rng(seed)
    params = mlp_params((FEATURES, HIDDEN, 3))
    return params, rng.normal(size=(4, FEATURES)).astype(np.float32), rng.normal(size=(4, 3)).astype(np.float32)


def test_values_that_vanish_are_told():
    params, x, y = arrays()
    with pytest.warns(PrecisionWarning, match=r"data 'x': 100 % of the nonzero values became 0"):
        plain_trace(params, x * np.float32(1e-4), y, precision=EIGHT)
    with pytest.warns(PrecisionWarning, match="data 'y'"):
        plain_trace(params, x, y * np.float32(1e-4), precision=EIGHT)
    params[0]["w"][0, 0] = 1e8  # all others vanish beside it
    with (
        pytest.warns(PrecisionWarning, match="parameter 0/w: 9[0-9.]* % of the nonzero values became 0"),
        pytest.warns(PrecisionWarning, match="in integers, the first step is off by .* %"),
    ):
        plain_trace(params, x * [[0, 1, 1, 1, 1, 1]], y)


def test_formats_become_finer_where_the_first_step_asks_for_it():
    """Adam's first step is the sign of each gradient, however small."""
    rng = np.random.default_rng(3)
    params, x = mlp_params((FEATURES, 16, 4)), rng.uniform(size=(8, FEATURES)).astype(np.float32)
    y = rng.uniform(size=(8, 4)).astype(np.float32)
    circuit = zkjax.trace(mlp_loss, optax.adam(1e-3), params, batch=(x, y), chunk=2, steps=2)
    given = zkjax.trace(mlp_loss, optax.adam(1e-3), params, batch=(x, y), chunk=2, steps=2, precision=Precision(activation_scale=10))
    assert any("bits finer than by default" in note for note in circuit.notes) and circuit.comparison.off < 0.75 * given.comparison.off
    assert not any("bits finer" in note for note in given.notes)
    shapes = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype), (params, (x, y)))
    again = zkjax.trace(mlp_loss, optax.adam(1e-3), shapes[0], batch=shapes[1], chunk=2, steps=2, precision=circuit.precision)
    assert again.digest() == circuit.digest()


def test_finer_formats_are_worth_their_price(monkeypatch):
    """Of those that bring the first steps nearer the ones are taken whose cost, times the distance that is left, is least."""
    rng = np.random.default_rng(3)
    params, x = mlp_params((FEATURES, 16, 4)), rng.uniform(size=(8, FEATURES)).astype(np.float32)
    y, left = rng.uniform(size=(8, 4)).astype(np.float32), iter([])
    monkeypatch.setattr(finer, "compare", lambda circuit, source: Comparison(None, (), (), 0.0, next(left)))

    def chosen(*distances):
        nonlocal left
        left = iter(distances)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", PrecisionWarning)
            circuit = zkjax.trace(mlp_loss, optax.adam(1e-3), params, batch=(x, y), steps=64)
        return [note.removesuffix(" bits finer than by default, for in those the first steps were further from your own")
                for note in circuit.notes if "bits finer" in note], len([*left])  # fmt: skip

    monkeypatch.setattr(finer, "REFINEMENTS", ((1, 1), (2, 2), (4, 4)))
    monkeypatch.setattr(finer, "PROOF", 2**50)  # beside which all cost the same
    assert chosen(0.03, 0.03, 0.03) == (["formats 1"], 0)
    assert chosen(0.2, 0.2, 0.004) == (["formats 4"], 0)
    assert chosen(0.03, 0.001, 0.0) == (["formats 2"], 1)  # near enough: nothing finer is tried
    assert chosen(0.5, 0.5, 0.5) == ([], 0)
    monkeypatch.setattr(finer, "PROOF", 0)
    assert chosen(0.004) == (["formats 1"], 0)  # and nothing that costs more than it could be worth


def test_what_begins_with_zeros_has_bits_for_its_first_steps():
    """The gradient of an adapter's first factor is 0 until the second has moved, then small, and Adam reads its signs."""
    rng = np.random.default_rng(0)
    frozen = rng.normal(size=(FEATURES, 4)).astype(np.float32)
    params = {"a": rng.normal(size=(FEATURES, 2)).astype(np.float32), "b": np.zeros((2, 4), np.float32)}
    x, y = rng.normal(size=(16, FEATURES)).astype(np.float32), rng.normal(size=(16, 4)).astype(np.float32)

    def loss(p, x, y):
        return jnp.mean((x @ frozen + x @ p["a"] @ p["b"] - y) ** 2)

    source = read(loss, optax.adam(1e-2), params, (x, y), 64)
    magnitudes, precision = Magnitudes(source.samples(), lambda: source.later), Precision()
    _, found = fit(source, default_formats(source.program, source.batch, precision, 16), precision, 16, magnitudes)
    a, b = (found.tensors[f"optimizer/0/mu/{name} gradient"] for name in "ab")
    assert a.bits == b.bits + formats.GROWN and a.scale > b.scale


def test_what_a_bound_refuses_alone_becomes_coarser():
    """In finer formats, for as many steps as only coarser ones last: some tensors have fewer bits, and none fewer than by default."""
    rng = np.random.default_rng(3)
    params, x = mlp_params((FEATURES, 16, 4)), rng.uniform(size=(8, FEATURES)).astype(np.float32)
    y, precision = rng.uniform(size=(8, 4)).astype(np.float32), Precision()
    source = read(mlp_loss, optax.rmsprop(1e-3), params, (x, y), None)
    magnitudes = Magnitudes(source.samples(), lambda: source.later)
    _, least = fit(source, default_formats(source.program, source.batch, precision, 16), precision, 16, magnitudes)
    finest = default_formats(source.program, source.batch, precision, 16, 4, 4)
    refused, wanted = fit(source, finest, precision, 16, magnitudes)
    steps = next(2**k for k in range(60) if bounds.beyond(refused, source.initial_bounds(refused), 2**k))
    circuit, found = finer._held(source, finest, least, precision, 16, steps, magnitudes)
    assert not bounds.beyond(circuit, source.initial_bounds(circuit), steps)
    bits = {name: (least.tensors[name].bits, x.bits, wanted.tensors[name].bits) for name, x in found.tensors.items()}
    assert all(low <= x for name, (low, x, _) in bits.items() if "root" not in name)  # a root has fewer, at any rate
    assert any(x < high for _, x, high in bits.values()) and any(low < x == high for low, x, high in bits.values())


def test_sums_that_cancel_move_nothing():
    """A number that is added to all logits has no gradient; float32 leaves some, of which Adam would make whole steps."""
    rng = np.random.default_rng(0)
    params = {"w": rng.normal(size=(5, 4)).astype(np.float32), "s": np.zeros(1, np.float32)}
    x, y = rng.normal(size=(16, 5)).astype(np.float32), rng.integers(0, 4, 16)

    def loss(p, x, y):
        return optax.softmax_cross_entropy_with_integer_labels(x @ p["w"] + p["s"], y).mean()

    circuit = zkjax.trace(loss, optax.adam(1e-2), params, batch=(x[:8], y[:8]), steps=4)
    run = zkjax.train(circuit, params, (x, y), steps=4)
    assert float(run.params["s"][0]) == 0 and circuit.comparison.off < 0.02


def test_the_scores_of_a_softmax_are_as_fine_as_activations():
    """Their range follows from a bound, and it is cut in as many parts as the format of activations has."""
    params = {"w": np.eye(4, dtype=np.float32)}
    x, y = np.random.default_rng(0).normal(size=(8, 4)).astype(np.float32), np.arange(8) % 4

    def loss(p, x, y):
        return optax.softmax_cross_entropy_with_integer_labels(x @ p["w"], y).mean()

    found = []
    for bits in (13, 16):
        circuit = zkjax.trace(
            loss, optax.sgd(0.1), params, batch=(x, y), precision=Precision(activation_scale=bits - 3, activation_bits=bits)
        )
        (exp,) = (node for node in circuit.nodes if node.label.startswith("exp") and node.op == "function")
        found.append(circuit.nodes[exp.inputs[0]].operation.bits)
    assert found == [13, 16]


def test_what_adam_adds_to_its_divisor_follows_the_step():
    """Where gradients are as small as that, it is most of the divisor; the correction of the bias is another one in every step."""
    params, x, y = arrays()
    circuit = zkjax.trace(mlp_loss, optax.adam(1e-2, eps=0.1), params, batch=(x, y), steps=8, chunk=8)
    assert circuit.comparison.first < 0.02 and circuit.comparison.off < 0.02


def test_a_training_that_moves_nothing_is_told():
    params, x, y = arrays()
    for optimizer in (optax.sgd(0.0), optax.set_to_zero()):
        with pytest.warns(PrecisionWarning, match="no parameter is updated"):
            circuit = zkjax.trace(mlp_loss, optimizer, params, batch=(x, y), chunk=2)
        assert any("no parameter is updated" in note for note in circuit.notes)
    with pytest.warns(PrecisionWarning, match="no parameter is updated"):
        zkjax.trace(lambda p, x, y: mlp_loss(jax.lax.stop_gradient(p), x, y), optax.sgd(0.1), params, batch=(x, y), chunk=2)


def test_the_first_step_is_compared_with_the_users_own():
    params, x, y = arrays()
    circuit = plain_trace(params, x, y, rate=0.1)
    found = circuit.comparison
    assert found.loss[0] == pytest.approx(float(mlp_loss(params, x, y)), rel=1e-5)
    assert found.loss[1] == pytest.approx(found.loss[0], rel=1e-3) and found.loss[2] == pytest.approx(found.loss[0], rel=0.05)
    assert [path for path, _, _ in found.updates] == [p.path for p in circuit.parameters]
    assert all(off < 1e-3 and rounded < 0.2 for _, off, rounded in found.updates)
    names = [x.name for x in found.roundings]
    assert names[:4] == [f"parameter {p.path}" for p in circuit.parameters] and "data 'x'" in names and "[1/w error]" in names
    assert "by your own code" in str(circuit) and "became 0" in str(circuit)


def test_what_follows_from_data_is_not_saved(tmp_path):
    params, x, y = arrays()
    circuit = plain_trace(params, x, y)
    circuit.save(tmp_path / "c.json")
    loaded = zkjax.Circuit.load(tmp_path / "c.json")
    assert loaded.comparison is None and loaded == circuit and loaded.digest() == circuit.digest()
    assert "comparison" not in json.loads((tmp_path / "c.json").read_text()) and "by your own code" not in str(loaded)


def test_a_mask_may_be_empty_on_the_first_batch():
    x, mask = np.linspace(-1, 1, 16, dtype=np.float32).reshape(8, 2), np.arange(8) >= 4
    circuit = zkjax.trace(
        lambda p, x, mask: jnp.where(mask, 0, x @ p).mean(), optax.sgd(1 / 8), np.ones(2, np.float32), batch=(x[:4], mask[:4])
    )
    assert zkjax.train(circuit, np.ones(2, np.float32), (x, mask), steps=2).steps == 2


def test_another_update_is_told():
    told = Comparison((1.0, 1.0, 1.0), (("w", 0.2, 0.2), ("v", 0.04, 0.3)), ()).warnings(0.05)
    assert len(told) == 1 and "parameter w is off by 20 %" in told[0]


def test_roundings():
    values = np.array([1.0, 0.25, 0.0, -4.0])
    found = Rounding.of("x", values, np.round(values))
    assert found.lost == 1 / 3 and found.error == pytest.approx(0.25 / np.linalg.norm(values)) and not found.grave
    assert Rounding.of("x", values, np.zeros(4)).grave and not Rounding.of("x", np.zeros(4), np.zeros(4)).grave
    assert distance(np.zeros(2), np.zeros(2)) == 0 and distance(np.ones(2), np.zeros(2)) == np.inf


def test_a_run_says_where_its_roundings_are():
    """They follow from secrets: the run's own printout, which ends up in notebooks, holds none."""
    params, x, y = arrays()
    run = zkjax.train(plain_trace(params, x, y), params, (x, y), steps=1)
    shown = str(run.roundings)
    assert "became 0" in shown and all(f"{r.error:.1e}" in shown for r in run.roundings)
    assert {"data 'x'", "[1/w error]"} < {r.name for r in run.roundings}
    for text in (str(run), run._repr_html_(), repr(run), repr(run.roundings)):
        assert not any(f"{r.error:.1e}" in text or f"{r.error}" in text for r in run.roundings)
    assert "run.roundings" in str(run) and run.roundings._repr_html_().count("<tr") == 1 + len(run.roundings)


def test_every_tensor_is_told_apart_from_its_rounding():
    """Shares and distances against their definitions, on random tensors."""
    draw = random.Random(0)
    rng = np.random.default_rng(0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(20):
            values = rng.normal(size=draw.randint(1, 9)) * 10.0 ** draw.randint(-3, 3)
            rounded = np.round(values)
            found = Rounding.of("x", values, rounded)
            assert found.lost == np.mean(rounded == 0)
            assert found.error == pytest.approx(np.sqrt(((values - rounded) ** 2).sum() / (values**2).sum()))


def test_a_sum_that_cancels_on_the_first_batch(monkeypatch):
    """The gradient of a single bias is measured on halves of the batch, too: on the next batch it is thousands of times as large."""
    first = np.array([1.0] * 4 + [-1.001] * 4, np.float32)
    y = np.concatenate([first, np.full(24, 1.5, np.float32)])[:, None]
    params, options = {"b": np.zeros(1, np.float32)}, {"batch": (y[:8],), "steps": 4, "chunk": 4}

    def loss(p, y):
        return jnp.mean((p["b"] - y) ** 2)

    circuit = zkjax.trace(loss, optax.adam(1e-2), params, **options)
    run = zkjax.train(circuit, params, (y,), steps=4)
    assert abs(float(run.params["b"][0])) > 0.01
    monkeypatch.setattr(formats, "FEW_SAMPLES", 0)
    with pytest.raises(PrecisionError, match="outside"):
        zkjax.train(zkjax.trace(loss, optax.adam(1e-2), params, **options), params, (y,), steps=4)


def test_ranges_are_as_wide_as_tables_are_anyway(monkeypatch):
    """Training makes tensors larger than they are on the first batch, by more than the headroom of their formats."""
    rng = np.random.default_rng(3)
    params, x = mlp_params((FEATURES, 16, 4)), rng.uniform(size=(8, FEATURES)).astype(np.float32)
    batch = x, rng.uniform(size=(8, 4)).astype(np.float32)
    roomy = zkjax.trace(mlp_loss, optax.sgd(0.1), params, batch=batch, precision=Precision(activation_scale=7), chunk=512)
    with monkeypatch.context() as patch:
        patch.setattr(program, "ROOMS", ())
        tight = zkjax.trace(mlp_loss, optax.sgd(0.1), params, batch=batch, precision=Precision(activation_scale=7), chunk=512)
    assert roomy.counts(512).cost <= 1.02 * tight.counts(512).cost and roomy.comparison.loss == tight.comparison.loss
    found, before = roomy.precision.tensors, tight.precision.tensors
    assert all(found[name].scale == x.scale and found[name].bits >= x.bits for name, x in before.items()) and found != before
    again = zkjax.trace(mlp_loss, optax.sgd(0.1), params, batch=batch, precision=roomy.precision, chunk=512)
    assert again.digest() == roomy.digest()


def test_tensors_that_are_one_node_keep_their_formats(monkeypatch):
    """The error of a layer with an adapter is read at two scales, which may round to one node: so one name is the other's as well."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(8, 12)).astype(np.float32), rng.normal(size=(8, 4)).astype(np.float32)
    params = {name: rng.normal(size=shape).astype(np.float32) * 0.3 for name, shape in {"w": (12, 4), "a": (2, 4), "b": (12, 2)}.items()}

    def adapted(p, x, y):
        return jnp.mean((x @ p["w"] + (x @ p["b"]) @ p["a"] * 0.5 - y) ** 2)

    optimizer = optax.multi_transform({"t": optax.adam(3e-4), "f": optax.set_to_zero()}, {"w": "f", "a": "t", "b": "t"})
    roomy = zkjax.trace(adapted, optimizer, params, batch=(x, y), steps=8)
    with monkeypatch.context() as patch:
        patch.setattr(program, "ROOMS", ())
        tight = zkjax.trace(adapted, optimizer, params, batch=(x, y), steps=8)
    before = tight.precision.tensors
    assert {name: roomy.precision.tensors[name].scale for name in before} == {name: x.scale for name, x in before.items()}


def test_what_is_rounded_in_finer_formats_alone_has_a_format_of_its_own(monkeypatch):
    """In the defaults a product reads the factor by which gradients are clipped as it is; in the formats of this batch it is rounded."""
    rng = np.random.default_rng(0)
    params = [{"w": 4 * x["w"], "b": x["b"]} for x in mlp_params((FEATURES, HIDDEN, 4))]
    x, y = rng.normal(size=(8, FEATURES)).astype(np.float32), rng.integers(0, 4, 8).astype(np.int32)

    def loss(params, x, y):
        return optax.softmax_cross_entropy_with_integer_labels(net(params, x), y).mean()

    monkeypatch.setattr(program, "ROOMS", ())  # formats with more room would be fitted once more
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.sgd(0.1, 0.9))
    circuit = zkjax.trace(loss, optimizer, params, batch=(x, y), steps=16, chunk=4)
    rounded = {circuit.nodes[i].label for i in circuit.rounded}
    assert any(name.startswith("quotient by root") for name in rounded)
    assert {name.removesuffix(" before its constant") for name in rounded} <= circuit.precision.tensors.keys()


def test_comparing_a_step_holds_few_arrays_of_the_weights_size():
    """A net of 200 M parameters has to be traced in the memory that training it takes."""
    side, rng = 768, np.random.default_rng(0)
    params = {"w": (rng.normal(size=(side, side)) / side**0.5).astype(np.float32)}
    x, y = (rng.normal(size=(2, side)).astype(np.float32) for _ in range(2))
    source = read(lambda p, x, y: 0.5 * jnp.mean(jnp.sum((x @ p["w"] - y) ** 2, axis=-1)), optax.sgd(1 / 32), params, (x, y), None)
    formats = default_formats(source.program, source.batch, Precision(), 4)
    circuit, _ = fit(source, formats, Precision(), 4, Magnitudes(source.samples(), lambda: source.later))
    assert len(source.ahead) == 2  # the user's own steps are worked out before
    tracemalloc.start()
    try:
        comparison.compare(circuit, source)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 10 * 8 * side**2  # bytes
