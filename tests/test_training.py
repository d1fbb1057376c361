"""Exact training: bit by bit the plain-Python reference, close to float training, and honest about its ranges."""

import dataclasses
from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from jax.nn import relu
from nodes import roundings

from tests.reference import mlp_integers
from zkjax.algebra import exact
from zkjax.circuit.coarse import FLOAT_BITS
from zkjax.circuit.rounding import NAMED, Rounding, lossy
from zkjax.errors import DataError, PrecisionError, RunError
from zkjax.protocol.schedule import batch_indices
from zkjax.tracing.precision import Precision
from zkjax.tracing.program import trace
from zkjax.training import steps as training
from zkjax.training import template
from zkjax.training.dataset import Dataset
from zkjax.training.train import chunks, train


def mlp(dims, bias, seed=0):
    rng = np.random.default_rng(seed)
    params = [{"w": (rng.standard_normal((a, b)) / np.sqrt(a)).astype(np.float32)} for a, b in zip(dims, dims[1:], strict=False)]
    if bias:
        params = [{**p, "b": rng.uniform(-0.2, 0.2, p["w"].shape[1]).astype(np.float32)} for p in params]

    def loss(params, x, y):
        for i, p in enumerate(params):
            x = x @ p["w"] + (p["b"] if bias else 0)
            x = relu(x) if i < len(params) - 1 else x
        return 0.5 * jnp.mean(jnp.sum((x - y) ** 2, axis=-1))

    return params, loss


def dataset(dims, samples=12, seed=0):
    rng = np.random.default_rng([seed, samples])
    return rng.uniform(-1, 1, (samples, dims[0])).astype(np.float32), rng.uniform(-1, 1, (samples, dims[-1])).astype(np.float32)


SHAPES = [
    ((5, 6, 4, 3), True, 4, 5),
    ((5, 6, 4, 3), False, 4, 3),
    ((3, 2), True, 5, 3),
    ((7, 9, 5, 5, 2), True, 3, 2),
    ((4, 3, 2), False, 1, 6),
    ((4, 3, 2), True, 1, 1),
    ((1, 1, 1), True, 2, 3),
]


@pytest.mark.parametrize("dims, bias, batch, steps", SHAPES)
@pytest.mark.parametrize("rate", [1 / 16, 3 / 64])
def test_equals_the_python_reference(dims, bias, batch, steps, rate):
    params, loss = mlp(dims, bias)
    data = dataset(dims)
    circuit = trace(
        loss, optax.sgd(rate), params, batch=tuple(x[:batch] for x in data), precision=Precision(activation_scale=8, gradient_scale=12)
    )
    run = train(circuit, params, data, steps=steps, seed=3)
    witness = run.witness()

    # the recipe, from the documented formats alone: w = a + g + lb, the error's constant is 1 / batch
    fraction = Fraction(rate)
    a, g, lb = 8, 12, fraction.denominator.bit_length() - 1
    last = a + (len(dims) > 2)  # bits of what the last layer reads: ReLUs are in half units
    assert {circuit.scale(p)[1] for p, x in enumerate(circuit.parameters)} == {a + g + lb, last + g + lb} | ({g + lb} if bias else set())
    factor, cb = {1: (1, 0), 2: (1, 1), 4: (1, 2), 3: (2731, 13), 5: (3277, 14)}[batch]
    arrays = [x.tolist() for x in run.initial]
    weights = arrays[1::2] if bias else arrays
    biases = arrays[0::2] if bias else None
    forward, backward = len(dims) - 2, len(dims) - 2
    rescales, gates, signs = roundings(circuit), circuit.of("gate"), circuit.of("sign")
    for t, index in enumerate(run.indices):
        x, y = ([[int(np.floor(v * 256 + 0.5)) for v in row] for row in array[index].astype(float)] for array in data)
        weights, biases, step = mlp_integers.train_step(
            weights,
            biases,
            x,
            y,
            data_scale=a,
            bias_scale=g + lb,
            error_shift=2 * last + lb + cb,
            error_factor=factor,
            rate=fraction.numerator,
        )
        quotients = [*step["y"], *([step["E"]] if factor != 1 else []), step["G"][-1], *step["h"][::-1]]
        assert [witness.values[i][t].tolist() for i in rescales] == quotients
        assert [witness.values[i][t].tolist() for i in signs] == step["m"]
        gated = [
            [[m * v for m, v in zip(*rows, strict=True)] for rows in zip(*x, strict=True)] for x in zip(step["m"], step["y"], strict=True)
        ]
        assert [witness.values[i][t].tolist() for i in gates] == [*gated, *step["G"][:-1][::-1]]
        assert [witness.values[i][t].tolist() for i in circuit.of("input")] == [x, y]
        assert run.loss_integers[t] == (step["loss"],)
    assert forward == backward == len(signs) and len(rescales) == forward + 1 + (factor != 1) + backward
    final = [x.tolist() for x in run.final]
    assert (final[1::2] if bias else final) == weights
    assert not bias or final[0::2] == biases
    for i in rescales:
        r, shift = witness.forms["remainder", i], circuit.nodes[i].operation.shift
        assert r.dtype == np.int64 and (r >= 0).all() and (r < 2**shift).all()


def test_close_to_flax_and_optax_in_float():
    class Net(nnx.Module):
        def __init__(self, rngs):
            self.a, self.b = nnx.Linear(12, 16, rngs=rngs), nnx.Linear(16, 4, rngs=rngs)

        def __call__(self, x):
            return self.b(relu(self.a(x)))

    graph, params = nnx.split(Net(nnx.Rngs(0)))

    def loss(params, x, y):
        return jnp.mean(optax.losses.squared_error(nnx.merge(graph, params)(x), y))

    data = dataset((12, 4), samples=64)
    optimizer = optax.sgd(optax.cosine_decay_schedule(0.25, 40))
    circuit = trace(loss, optimizer, params, batch=tuple(x[:8] for x in data), steps=40)
    run = train(circuit, params, data, steps=40)
    state, losses = optimizer.init(params), []
    value_and_grad = jax.jit(jax.value_and_grad(loss))
    for index in run.indices:
        value, gradients = value_and_grad(params, *(jnp.asarray(x[index]) for x in data))
        updates, state = optimizer.update(gradients, state)
        params = optax.apply_updates(params, updates)
        losses.append(float(value))
    np.testing.assert_allclose(run.float_losses, losses, atol=5e-3)
    assert jax.tree.structure(run.params) == jax.tree.structure(params)
    for a, b in zip(jax.tree.leaves(run.params), jax.tree.leaves(params), strict=True):
        assert a.dtype == b.dtype == jnp.float32
        np.testing.assert_allclose(a, b, atol=2e-2)
    assert run.losses[-1] < run.losses[0]


@pytest.fixture(scope="module")
def small():
    dims = (5, 6, 3)
    params, loss = mlp(dims, True)
    data = dataset(dims)
    return trace(loss, optax.sgd(1 / 16), params, batch=tuple(x[:4] for x in data)), params, data


def test_chunks_are_nearly_equal_and_continue_exactly(small):
    circuit, params, data = small
    whole = train(circuit, params, data, steps=11, seed=5, shard_size=5)
    runs = list(chunks(circuit, params, data, steps=11, chunk=4, seed=5, shard_size=5))
    assert [r.steps for r in runs] == [3, 4, 4] and [r.first_step for r in runs] == [0, 3, 7]
    assert all((a == b).all() for a, b in zip(runs[-1].final, whole.final, strict=True))
    assert sum((r.losses for r in runs), []) == whole.losses
    for a, b in zip(runs, runs[1:], strict=False):
        assert b.initial is a.final and b.initial_bound == a.final_bound and not b.begins and not any(b.coarse_shifts)
        b.witness()


def test_ninety_by_sixteen_is_six_times_fifteen(small):
    circuit, params, data = small
    assert [r.steps for r in chunks(circuit, params, data, steps=90, chunk=16)] == [15] * 6


def test_initial_weights_are_coarse(small):
    circuit, params, data = small
    run = train(circuit, params, data, steps=1)
    columns = circuit.parameters, run.initial, run.coarse_shifts, run.widths, run.initial_bound, jax.tree.leaves(params)
    for p, x, s, width, bound, leaf in zip(*columns, strict=True):
        v = x >> s
        assert (v << s == x).all() and (abs(v) < 2 ** (width - 1)).all() and circuit.table_bits <= width <= FLOAT_BITS
        assert bound == 2 ** (s + width - 1)
        assert width == circuit.table_bits or abs(v).max() >= 2 ** (width - 2)  # the least that fits
        assert s == 0 or width == FLOAT_BITS
        unit = float(circuit.unit(circuit.parameters.index(p)))
        np.testing.assert_allclose(x * unit, leaf, atol=2.0**s * unit)
    assert all((abs(x) <= b).all() for x, b in zip(run.final, run.final_bound, strict=True))


def test_many_initial_weights_take_one_lookup_each():
    """Beside few lookups of a step."""
    rng = np.random.default_rng(0)
    params = {"w": rng.normal(size=(64, 32)).astype(np.float32) / 8}
    data = rng.normal(size=(4, 64)).astype(np.float32), rng.normal(size=(4, 32)).astype(np.float32)
    for batch, lookups in ((1, 64 * 32), (4, 2 * 64 * 32)):
        circuit = trace(lambda params, x, y: ((x @ params["w"] - y) ** 2).mean(), optax.sgd(0.1), params, batch=[x[:batch] for x in data])
        run = train(circuit, params, data, steps=1)
        assert circuit.range_check(run.widths)[1] == lookups
        assert run.widths == ((circuit.table_bits,) if batch == 1 else (FLOAT_BITS,))


def test_values_stay_within_the_derived_bounds(small):
    circuit, params, data = small
    run = train(circuit, params, data, steps=3)
    bounds = circuit.bounds(run.initial_bound, 3)
    values = exact.evaluate(circuit, exact.plan(circuit, bounds.nodes), run.initial, [x[run.indices[0]] for x in run.data.arrays])
    assert all(int(abs(values[i]).max()) <= bounds.nodes[i] for i in range(len(circuit.nodes)))


def test_compiled_or_not(small, monkeypatch):
    """A short training runs as it is, a longer one is compiled: the same integers, tensors and refusals."""
    circuit, params, data = small
    runs, told = [], []
    for limit in (2**62, 0):
        monkeypatch.setattr(training, "UNCOMPILED", limit)
        runs.append(train(circuit, params, data, steps=3))
        with pytest.raises(PrecisionError) as error:
            train(circuit, [{name: 64 * x for name, x in layer.items()} for layer in params], data, steps=3)
        told.append(str(error.value))
    a, b = runs
    assert all(np.array_equal(x, y) and x.dtype == y.dtype for x, y in zip(a.final, b.final, strict=True))
    assert a.loss_integers == b.loss_integers and told[0] == told[1] and "outside" in told[0]
    for x, y in zip(a.roundings, b.roundings, strict=True):
        assert (x.name, x.lost) == (y.name, y.lost) and x.error == pytest.approx(y.error)
    ours, theirs = a.witness(), b.witness()
    for x, y in ((ours.values, theirs.values), (ours.forms, theirs.forms)):
        assert x.keys() == y.keys() and all(np.array_equal(x[i], y[i]) and x[i].dtype == y[i].dtype for i in x)


def test_schedule_and_progress(small):
    circuit, params, data = small
    seen = []
    run = train(circuit, params, data, steps=3, seed=9, progress=lambda *a: seen.append(a))
    assert seen == [(1, 3), (2, 3), (3, 3)]
    assert (run.indices == batch_indices(9, 12, None, 4, 0, 3)).all()


def test_repeated_samples_and_frozen_parameters():
    def loss(p, x):
        return jnp.mean((relu(x @ jax.lax.stop_gradient(p["a"])) @ p["b"]) ** 2)

    params = {"a": np.eye(2, dtype=np.float32), "b": np.float32([[0.5], [0.25]])}
    data = (np.float32([[0.5, 0.25]] * 4),)
    circuit = trace(loss, optax.sgd(1 / 8), params, batch=data)
    run = train(circuit, params, data, steps=2)
    assert (run.final[0] == run.initial[0]).all() and (run.final[1] != run.initial[1]).all()
    assert run.final_bound[0] == run.initial_bound[0]


def test_data_is_validated(small):
    circuit, params, (x, y) = small
    spoiled = x.copy()
    spoiled[7, 2] = np.nan
    large = x.copy()
    large[5, 1] = -1e30
    for data, message in (
        ((x,), "2 arrays"),
        (x, "2 arrays"),
        ((x[:, :4], y), r"'x' has shape \(12, 4\)"),
        ((x, y[:11]), "11 samples"),
        ((x.astype(complex), y), "dtype complex"),
        ((spoiled, y), "sample 7.*finite"),
        ((large, y), "sample 5.*outside.*data_bits"),
        ((x[:3], y[:3]), "do not fill"),
    ):
        with pytest.raises(DataError, match=message):
            train(circuit, params, data, steps=1)
    with pytest.raises(DataError, match="steps"):
        train(circuit, params, (x, y), steps=0)
    with pytest.raises(DataError, match="chunk"):
        next(chunks(circuit, params, (x, y), steps=4, chunk=0))
    with pytest.raises(DataError, match="parameters"):
        train(circuit, params[:1], (x, y), steps=1)
    with pytest.raises(DataError, match="finite"):
        train(circuit, jax.tree.map(lambda p: p * np.inf, params), (x, y), steps=1)
    with pytest.raises(DataError, match="shape"):
        train(circuit, jax.tree.map(lambda p: p[..., None], params), (x, y), steps=1)


def test_warnings_of_rounding_name_some_tensors_and_count_the_rest():
    grave = [Rounding(f"tensor {i}", 0.9, 0.9) for i in range(NAMED + 3)]
    (told,) = lossy([*grave, Rounding("fine", 0.0, 0.0)])
    assert told.count("; of tensor") == NAMED - 1 and told.endswith("; of 3 tensors more") and "fine" not in told
    assert "more" not in lossy(grave[:NAMED])[0] and not lossy([])


def test_rounding_of_data_is_half_up(small):
    circuit, params, (x, y) = small
    x = x.copy()
    x[0, :4] = np.float32([0.5, -0.5, 1.5, -1.5]) / 2 ** circuit.inputs[0].scale
    assert Dataset.of(circuit, (x, y)).arrays[0][0, :4].tolist() == [1, 0, 2, -1]


def test_going_on_with_something_else_is_refused(small):
    circuit, params, (x, y) = small
    run = train(circuit, params, (x, y), steps=2)
    other = trace(mlp((5, 6, 3), True)[1], optax.sgd(1 / 32), params, batch=(x[:4], y[:4]))
    for arguments, message in (
        ((other, run, (x, y)), "another circuit"),
        ((circuit, run, (x + 0.5, y)), "other data"),
    ):
        with pytest.raises(RunError, match=message):
            train(*arguments, steps=1)
    with pytest.raises(RunError, match="seed 0"):
        train(circuit, run, None, steps=1, seed=1)
    with pytest.raises(RunError, match="shards"):
        train(circuit, run, None, steps=1, shard_size=3)
    assert dataclasses.replace(run, kept=None).witness().values.keys() == run.witness().values.keys()
    altered = dataclasses.replace(run, final=tuple(v + 1 for v in run.final), kept=None)
    with pytest.raises(RunError, match="altered"):
        altered.witness()


@pytest.mark.parametrize(
    "paths, tree",
    [
        (["params/Dense_0/kernel", "params/Dense_0/bias"], {"params": {"Dense_0": {"kernel": 0, "bias": 1}}}),
        (["1/w", "0/w", "0/b"], [{"w": 1, "b": 2}, {"w": 0}]),
        (["layers/0", "layers/2"], {"layers": {"0": 0, "2": 1}}),
        (["w"], {"w": 0}),
        (["a", "a/b"], {"a": 0, "a/b": 1}),
        (["a/b", "a"], {"a/b": 0, "a": 1}),
    ],
)
def test_nests_from_paths(paths, tree):
    """What a run that was loaded without a pytree has for params."""
    assert template.nested({path: i for i, path in enumerate(paths)}) == tree


def test_run_without_a_template_has_nests(small):
    circuit, params, data = small
    run = train(circuit, params, data, steps=1)
    nests = dataclasses.replace(run, template=None).params
    assert jax.tree.structure(nests) == jax.tree.structure(params)
    assert all((a == b).all() for a, b in zip(jax.tree.leaves(nests), jax.tree.leaves(run.params), strict=True))


def test_value_out_of_range_names_step_and_setting():
    params, loss = mlp((3, 4, 2), False)
    x, y = dataset((3, 2), samples=8)
    circuit = trace(loss, optax.sgd(1 / 8), params, batch=(x[:2], y[:2]), precision=Precision(gradient_scale=12, gradient_bits=9))
    with pytest.raises(PrecisionError, match=r"step \d+: operation \d+ rescale \[1/w error\].*outside \[-512, 512\).*gradient_bits"):
        train(circuit, params, (x, y), steps=8)


def test_gated_off_quotients_are_named():
    """A backward quotient must fit its format even where the ReLU is off."""

    def loss(p, x):
        return jnp.sum(relu(x @ p["a"] - 4) * 0 + (relu(x @ p["a"] - 4) @ p["b"] - 1) ** 2)

    params = {"a": np.float32([[0.1, 0.1]]), "b": np.float32([[64], [64]])}
    data = (np.float32([[0.5]]),)
    circuit = trace(loss, optax.sgd(1 / 8), params, batch=data, precision=Precision(gradient_bits=6, gradient_scale=4))
    with pytest.raises(PrecisionError, match="mask is 0"):
        train(circuit, params, data, steps=1)


def test_users_precision_is_left_alone(small):
    circuit, params, data = small
    run = train(circuit, params, data, steps=1)
    assert not jax.config.jax_enable_x64 and all(p.dtype == jnp.float32 for p in jax.tree.leaves(run.params))


# ---- chains that end ------------------------------------------------------------------------------------------------
def test_how_long_a_chain_can_be(small):
    """The same for every length of its chunks: bounds grow by one amount in every step."""
    circuit, params, data = small
    initial = train(circuit, params, data, steps=1).initial_bound
    longest = circuit.longest_chain(initial)
    circuit.bounds(initial, longest.steps)
    with pytest.raises(PrecisionError):
        circuit.bounds(initial, longest.steps + 1)
    half = circuit.bounds(initial, longest.steps // 2).final
    rest = circuit.longest_chain(half, longest.steps // 2).steps
    assert rest == longest.steps - longest.steps // 2
    circuit.bounds(half, rest, longest.steps // 2)
    assert (
        "may reach 2^6" in longest.limit and f"in step {longest.steps}" in longest.limit and "coarser" in longest.cure and not longest.ends
    )
    assert circuit.longest_chain().steps >= longest.steps


def test_chunks_name_a_chains_end_before_its_first_step(small):
    circuit, params, data = small
    longest = circuit.longest_chain(train(circuit, params, data, steps=1).initial_bound).steps
    with pytest.raises(
        PrecisionError, match=r"bounds hold for \d+ steps from these parameters, less than a chunk of \d+: .*may reach"
    ) as error:
        chunks(circuit, params, data, steps=2**50, chunk=2**50)  # asked for no run yet
    fits = int(str(error.value).split()[3])
    assert fits >= longest and f"use chunks of at most {fits} steps" in str(error.value)


def test_chains_that_a_schedule_ends_or_nothing():
    params, loss = mlp((3, 2), False)
    data = dataset((3, 2))
    batch = tuple(x[:4] for x in data)
    scheduled = trace(loss, optax.sgd(optax.linear_schedule(0.25, 0.125, 6)), params, batch=batch, steps=6)
    assert scheduled.longest_chain()[:2] == (6, "the learning-rate schedule was traced for 6 steps")
    assert scheduled.longest_chain(first_step=6).steps == 0
    assert scheduled.longest_chain().ends
    with pytest.raises(PrecisionError, match="steps 0..6 go beyond the 6 steps that the learning-rate schedule was traced for"):
        chunks(scheduled, params, data, steps=7, chunk=2)
    frozen = dataclasses.replace(scheduled, max_steps=None, parameters=(dataclasses.replace(scheduled.parameters[0], updates=()),))
    assert frozen.longest_chain() == (None, "", "", False)


# ---- arguments ------------------------------------------------------------------------------------------------------
class Refusing:
    """As a tensor of another library that must be detached first."""

    shape, dtype, ndim = (12, 5), np.dtype("f4"), 2

    def __array__(self, *_, **__):
        raise RuntimeError("secret 12345.678")


NUMBERS = [("steps", 2.5), ("steps", "3"), ("steps", True), ("steps", 0), ("steps", None), ("seed", 0.0), ("seed", -1), ("seed", [1])]
NUMBERS += [("shard_size", 2.0), ("shard_size", 0)]


@pytest.mark.parametrize("name, value", NUMBERS)
def test_numbers_are_integers(small, name, value):
    circuit, params, data = small
    for start in (train, lambda *a, **k: chunks(*a, chunk=2, **k)):
        with pytest.raises(DataError, match=f"^{name} is "):
            start(circuit, params, data, **{"steps": 2, name: value})
    assert train(circuit, params, data, steps=np.int64(1), seed=np.uint8(1)).seed == 1


def test_arrays_that_are_none(small):
    """Named: the array, and nothing that is in it."""
    circuit, params, (x, y) = small
    masked = np.ma.masked_array(x, mask=np.zeros(x.shape, bool))
    ragged = [row[:4] if i == 3 else row for i, row in enumerate(x.tolist())]
    cases = [(masked, "masked array"), (ragged, "unequal lengths"), (Refusing(), ".Refusing. does not become a NumPy array .RuntimeError.")]
    cases += [(x.astype(str), "dtype <U"), (x.astype(complex), "dtype complex"), ([[None] * 5] * 12, "dtype object")]
    for bad, message in cases:
        with pytest.raises(DataError, match=f"data 'x'.*{message}") as raised:
            train(circuit, params, (bad, y), steps=1)
        assert "12345" not in str(raised.value) and raised.value.__cause__ is None
        leaf = params[0]["w"]
        altered = [{**params[0], "w": Refusing() if isinstance(bad, Refusing) else np.ma.masked_array(leaf)}, *params[1:]]
        with pytest.raises(DataError, match="parameter 0/w"):
            train(circuit, altered, (x, y), steps=1)


def test_exchanged_arguments(small):
    circuit, params, data = small
    with pytest.raises(DataError, match="params holds 2 arrays, the circuit has 4 parameters"):
        train(circuit, data, params, steps=1)
    with pytest.raises(DataError, match="circuit is a list"):
        train(params, circuit, data, steps=1)
    with pytest.raises(DataError, match="data is a dict"):
        train(circuit, params, {"x": data[0], "y": data[1]}, steps=1)


def test_values_beyond_every_float(small):
    circuit, params, (x, y) = small
    for kind, value, shown in (
        (np.float64, 1e300, r", sample 3: the value 1e\+300.* lies outside"),
        (np.longdouble, np.longdouble("1e4000"), " holds values beyond those of float64"),
        (np.float32, 3e38, ", sample 3: the value 3e.* lies outside"),
    ):
        wide = x.astype(kind)
        wide[3, 2] = value
        with np.errstate(all="raise"), pytest.raises(DataError, match=f"data 'x'{shown}"):
            train(circuit, params, (wide, y), steps=1)


def test_byte_orders_and_widths(small):
    circuit, params, (x, y) = small
    run = train(circuit, params, (x, y), steps=1)
    other = jax.tree.map(lambda a: a.astype(">f4"), params)
    for data in ((x.astype(">f4"), y.astype(">f8")), (x.astype(np.longdouble), y.astype("<f8"))):
        again = train(circuit, other, data, steps=1)
        assert all((a == b).all() for a, b in zip(again.final, run.final, strict=True))
        assert all(a.dtype == jnp.float32 for a in jax.tree.leaves(again.params))
    integral = jax.tree.map(lambda a: np.round(a).astype(int), params)
    assert all(a.dtype == jnp.float32 for a in jax.tree.leaves(train(circuit, integral, (x, y), steps=1).params))
