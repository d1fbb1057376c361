"""What is handed to ``trace`` and ``calibrate``: an error of the package names the culprit, the user's line, and a cure."""

import functools
import re

import flax.linen
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from flax.training.train_state import TrainState

from zkjax import calibrate
from zkjax.errors import DataError, UnsupportedOperationError, ZkjaxError
from zkjax.tracing.arguments import parameters
from zkjax.tracing.program import trace
from zkjax.tracing.series import values
from zkjax.tracing.source import read

X, Y = np.ones((4, 3), np.float32), np.ones((4, 2), np.float32)
P = np.ones((3, 2), np.float32)
SGD = optax.sgd(1 / 8)
S = jax.ShapeDtypeStruct


def loss(p, x, y):
    return jnp.mean((x @ p - y) ** 2)


class Stubborn:
    """A tensor of another library, which refuses to become an array."""

    shape, dtype, ndim = (4, 3), np.dtype(np.float32), 2

    def __array__(self, dtype=None, copy=None):
        raise RuntimeError("use tensor.detach().numpy()")


(BATCH,) = jax.export.symbolic_shape("b")
BAD = {
    "masked": ((np.ma.masked_array(X, X > 2), Y), r"batch\[0\] is a masked array.*filled"),
    "ragged": (([[1.0, 2.0, 3.0]] * 3 + [[1.0]], Y), r"batch\[0\] \(list\) does not become a NumPy array"),
    "stubborn": ((Stubborn(), Y), r"batch\[0\] \(Stubborn\) does not become.*turned into one first"),
    "strings": ((X.astype(str), Y), r"batch\[0\] has dtype <U.*real numbers"),
    "objects": ((X.astype(object), Y), r"batch\[0\] has dtype object"),
    "complex": ((X.astype(complex), Y), r"batch\[0\] has dtype complex128"),
    "key": ((X, jax.random.split(jax.random.key(0), 4)), r"batch\[1\] .* does not become"),
    "nested dict": (({"image": X}, Y), r"batch\[0\] is a dict; give every array as an argument"),
    "nested tuple": (((X, X), Y), r"batch\[0\] is a tuple; give every array as an argument"),
    "unequal": ((X, Y[:3]), r"batch\[1\] has shape \(3, 2\).*same, non-empty first axis"),
    "too large": ((np.full((4, 3), 1e300), Y), r"batch\[0\] holds 1e\+300, which float32"),
    "too large an integer": ((X, np.full((4, 2), 2**40)), r"batch\[1\] holds 1.*e\+12, which int32"),
    "infinite": ((X, Y * np.inf), r"batch\[1\] holds values that are not finite"),
    "symbolic": ((S((BATCH, 3), jnp.float32), Y), r"batch\[0\] has the symbolic shape"),
    "shape of strings": ((S((4, 3), jnp.complex64), Y), r"batch\[0\] has dtype complex64"),
    "array": (X, "batch is ndarray; give a tuple"),
    "params": ({"w": P}, "batch is dict; give a tuple"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_batches(name):
    batch, message = BAD[name]
    with pytest.raises(DataError, match=message):
        read(loss, SGD, P, batch, None)


@pytest.mark.parametrize("dtype", [">f4", ">f8", np.longdouble, np.float16, np.float64])
def test_dtypes_of_numpy_alone_are_converted(dtype):
    ordinary = trace(loss, SGD, P, batch=(X, Y), chunk=2)
    assert trace(loss, SGD, P, batch=(X.astype(dtype).astype(np.longdouble).astype(dtype), Y), chunk=2).digest() == ordinary.digest()
    if dtype is not np.float16:
        assert trace(loss, SGD, P.astype(dtype), batch=(X, Y), chunk=2).digest() == ordinary.digest()


class Net(flax.linen.Module):
    @flax.linen.compact
    def __call__(self, x):
        return flax.linen.Dense(2)(x)


def test_bad_parameters():
    state = TrainState.create(apply_fn=Net().apply, params={"w": P}, tx=SGD)
    for params, error, message in (
        (state, DataError, "params is a TrainState; give its params"),
        (P.astype(np.int32), UnsupportedOperationError, "parameter params has dtype int32"),
        (jnp.asarray(P, jnp.bfloat16), UnsupportedOperationError, "bfloat16.*use float32"),
        ({"k": jax.random.key(0)}, UnsupportedOperationError, "parameter k has dtype key.*random keys out"),
        ({"w": np.ma.masked_array(P, P > 2)}, DataError, "parameter w is a masked array"),
        ({"w": "text"}, DataError, "parameter w has dtype <U4"),
        (S((BATCH, 2), jnp.float32), DataError, "symbolic shape"),
        ({"w": P * np.nan}, DataError, "parameter w.*not finite"),
        ({}, DataError, "no arrays"),
    ):
        with pytest.raises(error, match=message):
            read(loss, SGD, params, (X, Y), None)


def test_paths_are_unambiguous():
    def paths(params):
        return [leaf.path for leaf in parameters(params)]

    assert paths({"a/b": P, "a": {"c": P}}) == ["a/c", "a/b"]
    assert paths(nnx.state(nnx.Linear(3, 2, rngs=nnx.Rngs(0)), nnx.Param)) == ["bias", "kernel"]
    for params, names in (({"a/b": P, "a": {"b": P}}, ("'a/b'", r"'a'\]\['b'")), ({"a": {0: P}, "a/0": P}, (r"\[0\]", "'a/0'"))):
        with pytest.raises(DataError, match="two parameters have the path a/.*") as caught:
            paths(params)
        assert all(name.replace("\\", "") in str(caught.value) for name in names)
    for name in ("a\nb", "a\x1b[31mb", "\ufeffa", "a\u00a0b", "a\u202eb", "a\ud800"):
        with pytest.raises(DataError, match="cannot be printed; rename") as caught:
            paths({name: P})
        assert str(caught.value).isascii() and str(caught.value).isprintable()


def test_an_attribute_named_value_has_a_path_as_others_have():
    @jax.tree_util.register_pytree_with_keys_class
    class Pair:
        def __init__(self, value, weight):
            self.value, self.weight = value, weight

        def tree_flatten_with_keys(self):
            return [(jax.tree_util.GetAttrKey(k), getattr(self, k)) for k in ("value", "weight")], None

        @classmethod
        def tree_unflatten(cls, _, children):
            return cls(*children)

    assert [leaf.path for leaf in parameters({"a": Pair(np.ones(2, np.float32), np.ones(3, np.float32))})] == ["a/value", "a/weight"]


def test_arguments_in_the_wrong_place():
    with pytest.raises(DataError, match="loss is GradientTransformation.*, not a function; the order is trace"):
        read(SGD, loss, P, (X, Y), None)
    with pytest.raises(UnsupportedOperationError, match="the optimizer is function; give an optax optimizer"):
        read(loss, loss, P, (X, Y), None)
    for steps in (2.5, "3", True, 0, None):
        for argument in {"steps", "chunk"} - ({"steps"} if steps is None else set()):
            with pytest.raises(DataError, match=f"{argument} is {steps!r}; .*(integer|at least 1)"):
                trace(loss, SGD, P, batch=(X, Y), **{argument: steps})


def test_arguments_of_calibrate():
    for change, message in (
        ({"steps": 1.5}, "steps is 1.5; give an integer"),
        ({"batch_size": True}, "batch_size is True"),
        ({"chunk": 0}, "chunk is 0"),
        ({"seed": 0.5}, "seed is 0.5; give an integer"),
        ({"data": X}, "data is ndarray; give a tuple of arrays"),
        ({"data": (X, Y[:2])}, "the first axis of each is that of the samples"),
        ({"data": (Stubborn(), Y)}, r"data\[0\] \(Stubborn\) does not become"),
        ({"data": (X, np.ma.masked_array(Y))}, r"data\[1\] is a masked array"),
    ):
        with pytest.raises(DataError, match=message):
            calibrate(loss, SGD, P, **{"data": (X, Y), "batch_size": 2} | change)


# ---- errors of libraries, with the user's line ----------------------------------------------------------------------

kept = []


def leaks(p, x, y):
    if kept:
        return jnp.sum(kept[0] * p)
    kept.append(x[0, 0])
    return jnp.sum(p)


FAILING = {
    "if": (lambda p, x, y: loss(p, x, y) if x.sum() > 0 else 0.0, UnsupportedOperationError, "not known while tracing.*jnp.where"),
    "float": (lambda p, x, y: float(x.sum()) * p.sum(), UnsupportedOperationError, "not known while tracing"),
    "numpy": (lambda p, x, y: jnp.sum(p) * np.sin(x).sum(), UnsupportedOperationError, "use the one of jax.numpy"),
    "rows of a mask": (lambda p, x, y: jnp.sum(x[x[:, 0] > 0] @ p), UnsupportedOperationError, r"jnp.where\(mask, x, 0\)"),
    "size": (lambda p, x, y: jnp.sum(p) * range(x[0, 0].astype(int))[0], UnsupportedOperationError, "jax.nn.one_hot"),
    "leak": (leaks, UnsupportedOperationError, "no state between calls"),
    "shapes": (lambda p, x, y: jnp.sum(x @ p.T), DataError, "cannot be evaluated.*TypeError"),
    "flax": (lambda p, x, y: jnp.sum(Net().apply({"params": {"Dense_0": {"kernel": p.T}}}, x)), DataError, "ScopeParamShapeError"),
    "auxiliary": (lambda p, x, y: (loss(p, x, y), x), DataError, "returns a tuple.*has_aux"),
    "vector": (lambda p, x, y: x @ p, DataError, "one floating-point scalar"),
    "loop": (lambda p, x, y: jax.lax.while_loop(lambda c: c < 9, lambda c: c + p.sum(), 0.0), DataError, "Reverse-mode"),
}


@pytest.mark.parametrize("name", FAILING)
def test_errors_of_libraries_name_the_users_line(name):
    function, error, message = FAILING[name]
    with pytest.raises(error, match=message) as caught:
        read(function, SGD, P, (X, Y), None)
    if caught.value.__cause__ is not None:
        line = r"\d+ \(__call__\)" if name == "flax" else f"{function.__code__.co_firstlineno} "
        assert re.search(rf"test_arguments\.py:{line}", str(caught.value))
    assert "site-packages" not in str(caught.value)


def with_prediction(p, x, y):
    return loss(p, x, y), {"prediction": jnp.tanh(x @ p), "accuracy": jnp.argmax(y)}


def test_auxiliary_outputs_are_not_looked_at():
    """The circuit is the scalar's, whatever stands beside it; names, lines and errors are those of the user's function."""
    plain, beside = (trace(f, SGD, P, batch=(X, Y), has_aux=aux) for f, aux in ((loss, False), (with_prediction, True)))
    assert beside == plain and beside.comparison.loss == plain.comparison.loss
    assert trace(functools.partial(with_prediction), SGD, P, batch=(X, Y), has_aux=True) == plain
    with pytest.raises(DataError, match="has_aux is true, and the loss returns"):
        trace(loss, SGD, P, batch=(X, Y), has_aux=True)
    with pytest.raises(DataError, match="loss is str, not a function"):
        trace("loss", SGD, P, batch=(X, Y), has_aux=True)
    with pytest.raises(UnsupportedOperationError, match=rf"test_arguments\.py:{wrong.__code__.co_firstlineno + 1}"):
        trace(wrong, SGD, P, batch=(X, Y), has_aux=True)
    found = calibrate(with_prediction, SGD, P, (X, Y), batch_size=len(X), steps=2, has_aux=True)
    assert found.circuit.inputs[0].name == "x"


def wrong(p, x, y):
    return jnp.sum(jnp.sort(x @ p, axis=0)[0]), x


def test_errors_of_the_users_own_lines_are_left_alone():
    with pytest.raises(KeyError, match="missing"):
        read(lambda p, x, y: p["missing"], SGD, {"w": P}, (X, Y), None)
    with pytest.raises(ZeroDivisionError):
        read(lambda p, x, y: jnp.sum(p) / (1 // 0), SGD, P, (X, Y), None)


def test_a_line_inside_of_a_library_is_the_users_that_led_there():
    for function, operation in (
        (lambda p, x, y: jnp.median(x @ p), "sort|reduce_or"),
        (lambda p, x, y: jnp.sum(jnp.linalg.inv((x @ p).T @ (x @ p))), "lu|sort"),
        (lambda p, x, y: jnp.sum(optax.projections.projection_simplex((x @ p)[0])), "sort|top_k|argsort"),
    ):
        place = rf"test_arguments\.py:{function.__code__.co_firstlineno} "
        with pytest.raises(UnsupportedOperationError, match=rf"'({operation})' .* at .*{place}") as caught:
            read(function, SGD, P, (X, Y), None)
        assert "site-packages" not in str(caught.value)


# ---- learning rates -------------------------------------------------------------------------------------------------

T = jnp.int32
SCHEDULES = {
    "linear": optax.linear_schedule(0.1, 0.0, 10),
    "polynomial": optax.polynomial_schedule(0.1, 0.01, 1.5, 10, 2),
    "exponential": optax.exponential_decay(0.1, 5, 0.5, 2, True, 0.01),
    "warm-up, cosine": optax.warmup_cosine_decay_schedule(0.0, 0.1, 3, 10),
    "warm-up, exponential": optax.warmup_exponential_decay_schedule(0.0, 0.1, 2, 3, 0.5),
    "piecewise constant": optax.piecewise_constant_schedule(0.1, {3: 0.5, 6: 0.1}),
    "one cycle": optax.cosine_onecycle_schedule(10, 0.1),
    "joined": optax.join_schedules([optax.constant_schedule(0.1), optax.constant_schedule(0.05)], [4]),
    "restarting": optax.sgdr_schedule([{"init_value": 0.0, "peak_value": 0.1, "warmup_steps": 2, "decay_steps": 5}] * 2),
    "every other step": lambda t: jnp.where(t % 2 == 0, 0.1, 0.05),
    "table": lambda t: jnp.linspace(0.1, 0.01, 20)[t],
    "guarded": lambda t: jnp.where(t == 0, 0.1, 0.1 / t),
    "loop": lambda t: jax.lax.fori_loop(0, t, lambda i, r: r * 0.9, 0.1),
    "switch": lambda t: jax.lax.switch(t // 5, [lambda: 0.1, lambda: 0.05, lambda: 0.01]),
}


def rates(optimizer, params=P, steps=12):
    """With which the optimizer subtracts the gradients, which are the batch."""
    batch = tuple(np.ones((1, *np.shape(x)), np.float32) for x in jax.tree.leaves(params))

    def product(params, *batch):
        return sum(jnp.sum(p * x[0]) for p, x in zip(jax.tree.leaves(params), batch, strict=True))

    found = read(product, optimizer, params, batch, steps).rows[: len(batch)]
    return [[-float(v) for c in row.feeds.values() for v in values(c)] or [0.0] for row in found]


@pytest.mark.parametrize("name", SCHEDULES)
def test_schedules_are_evaluated_exactly(name):
    (found,) = rates(optax.sgd(SCHEDULES[name]))
    assert len(found) == 12
    np.testing.assert_allclose(found, [float(SCHEDULES[name](T(t))) for t in range(12)], rtol=1e-5, atol=1e-8)


def test_optimizers_with_a_state():
    params = {"a": P, "b": np.float32(1)}
    linear = optax.linear_schedule(0.5, 0.0, 4)
    parts = optax.partition({"x": optax.sgd(linear), "y": optax.sgd(0.25), "z": optax.set_to_zero()}, {"a": "x", "b": "y"})
    assert rates(parts, params, 5) == [[0.5, 0.375, 0.25, 0.125, 0.0], [0.25]]
    assert rates(optax.inject_hyperparams(optax.sgd)(learning_rate=linear), params, 5)[1] == [0.5, 0.375, 0.25, 0.125, 0.0]
    assert rates(optax.chain(optax.scale(2.0), optax.sgd(linear)), params, 2) == [[1.0, 0.75]] * 2


def test_a_schedule_is_not_known_beyond_its_table():
    """Although it changes only later: a circuit of one rate would go on with that one for ever."""
    later = optax.join_schedules([optax.constant_schedule(0.125), optax.constant_schedule(0.5)], [100])
    for steps in (1, 3):
        circuit = trace(loss, optax.sgd(later), P, batch=(X, Y), steps=steps, chunk=1)
        assert circuit.max_steps == max(steps, 2) == len(circuit.parameters[0].updates[0].rates)
    assert trace(loss, optax.sgd(optax.constant_schedule(0.125)), P, batch=(X, Y), steps=3, chunk=1).max_steps is None


@pytest.mark.parametrize(
    "schedule, message",
    [
        (lambda t: 0.1 / (2.0 - t), "in step 2, .*inf is not finite"),
        (lambda t: 0.1 * jnp.sqrt(2.0 - t), "in step 3, .*nan is not finite"),
        (float("nan"), "finite coefficients.*nan is not finite"),
        (lambda t: 0.1 if t < 3 else 0.05, r"test_arguments\.py:\d+ .*jnp.where"),
    ],
)
def test_rates_that_are_refused(schedule, message):
    with pytest.raises(ZkjaxError, match=message) as caught:
        rates(optax.sgd(schedule))
    assert "test_arguments.py:" in str(caught.value) and "site-packages" not in str(caught.value)
