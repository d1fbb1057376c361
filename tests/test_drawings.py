"""First weights from a public key: what is drawn, by two implementations; what a trainer draws; and lies, each refused by its check."""

import dataclasses
import hashlib
import json
import math
import re
import shutil
import struct
from functools import cache
from pathlib import Path

import flax.linen as nn
import jax
import jax.numpy as jnp
import moving
import numpy as np
import optax
import pytest
from flax import nnx
from harness import BITS, SMALL, data_for, mlp_loss, mlp_params, prove_small, verify_small
from hypothesis import given
from hypothesis import strategies as st
from reference import drawings as reference
from scipy.special import ndtr, ndtri
from test_disclosures import disclose, model_of
from test_disclosures import refused as refused_by
from tiny import DIMS, TINY, next_run

import zkjax
from zkjax.__main__ import main
from zkjax.algebra.decimals import DIGITS, Decimal, erf
from zkjax.algebra.normal import quantiles
from zkjax.errors import ConfigurationError, DataError, FormatError, RunError, UnsupportedOperationError, VerificationError
from zkjax.proofs.disclosed import check_disclosed
from zkjax.proofs.disclosure import Disclosure
from zkjax.proofs.drawing import Drawing

VECTORS, NAME = Path(__file__).parent / "vectors", "format-2-drawn"


# ---- what is drawn ---------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("truncated", [False, True])
def test_quantiles(truncated):
    """All by SciPy; those that are hardest to round, and some others, by 36 digits; none is hard enough to depend on a machine."""
    table, below = quantiles(truncated), float(ndtr(-2.0)) if truncated else 0.0
    scaled = 2**20 * ndtri(below + (1 - 2 * below) * (2 * np.arange(2**16) + 1) / 2**17)
    margins = np.abs(scaled - np.floor(scaled) - 0.5)
    assert np.array_equal(table, np.rint(scaled)) and margins.min() > 2**-18 and (np.diff(table) > 0).all()
    assert np.array_equal(table, -table[::-1]) and abs(table[0]) < (2 if truncated else 4.4) * 2**20
    half = Decimal(1) / 2

    def phi(x):
        return half * (1 + erf(x / Decimal(2).sqrt()))

    first = phi(Decimal(-2)) if truncated else Decimal(0)
    for i in [*np.argsort(margins)[:8].tolist(), *range(5, 2**16, 5003)]:
        u = DIGITS.create_decimal(first + (1 - 2 * first) * (2 * i + 1) / 2**17)
        assert phi((int(table[i]) - half) / 2**20) < u < phi((int(table[i]) + half) / 2**20)


def test_the_examples_of_the_protocol():
    text = (Path(zkjax.__file__).parent / "PROTOCOL.md").read_text("utf-8").partition("drawing of seed 7")[2]
    for truncated in (False, True):
        table = quantiles(truncated)
        assert hashlib.sha256(table.astype("<i4")).hexdigest() in text
        assert " ".join(str(table[i]) for i in (0, 1, 2**15, 2**15 + 12345)) in text
    told = Drawing(7, {"a": ("constant", 0), "b": ("uniform", -1, 1.5), "c": ("normal", 0.02), "d": ("truncated_normal", 0.3)})
    values = told.floats(dict.fromkeys("abcd", (2,)))
    assert " | ".join(" ".join(struct.pack(">f", x).hex() for x in values[path]) for path in "bcd") in text
    keys = [reference.threefry((0, 7), (0, n)) for n in range(4)]
    assert " | ".join(f"{a:08x} {b:08x}" for a, b in keys) in text
    words = [[a ^ b for a, b in (reference.threefry(key, (0, j)) for j in range(2))] for key in keys[1:]]
    assert " | ".join(f"{a:08x} {b:08x}" for a, b in words) in text


NUMBER = st.one_of(st.just(0.0), st.integers(-9, 9), st.floats(2.0**-64, 2.0**64), st.floats(-(2.0**64), -(2.0**-64)))
ABOVE = st.floats(2.0**-64, 2.0**64)
DISTRIBUTION = st.one_of(
    st.tuples(st.just("constant"), NUMBER),
    st.tuples(NUMBER, NUMBER).filter(lambda x: x[0] != x[1]).map(lambda x: ("uniform", *sorted(x))),
    st.tuples(st.sampled_from(["normal", "truncated_normal"]), ABOVE),
)


@given(st.integers(0, 2**32 - 1), st.dictionaries(st.text(max_size=4), DISTRIBUTION, min_size=1, max_size=3))
def test_two_implementations_draw_the_same(tmp_path_factory, seed, parameters):
    path = tmp_path_factory.getbasetemp() / "drawing.json"
    Drawing(seed, parameters).save(path)
    told = json.loads(path.read_text("utf-8"))
    sizes = {name: 1 + i for i, name in enumerate(parameters)}
    found = Drawing.load(path).floats({name: (size,) for name, size in sizes.items()})
    assert {name: x.tolist() for name, x in found.items()} == reference.drawn(told, sizes)
    assert all(x.dtype == np.float32 and np.isfinite(x).all() for x in found.values())


@pytest.mark.parametrize("seed", [0, 1, 2**32 - 1])
@pytest.mark.parametrize("shape", [(), (3,), (2, 3, 5), (2**14 + 9,)])
def test_words_are_those_of_jax(seed, shape):
    """The key is jax.random.key's and a fold of it, the words are jax.random.bits': a uniform number shows all of them."""
    found = Drawing(seed, {"a": ("constant", 1), "b": ("uniform", 0, 1), "c": ("normal", 1)}).floats(dict.fromkeys("abc", shape))
    keys = [jax.random.fold_in(jax.random.key(np.uint32(seed)), n) for n in range(3)]
    words = np.asarray(jax.random.bits(keys[1], shape)).astype(np.float64)
    assert np.array_equal(found["b"], ((2 * words + 1) / 2**33).astype(np.float32))
    places = np.asarray(jax.random.bits(keys[2], shape)) >> 16
    assert np.array_equal(found["c"], (quantiles(False)[places] / 2.0**20).astype(np.float32))
    assert (found["a"] == 1).all()


def test_they_are_distributed_as_they_say():
    told = {"n": ("normal", 3), "t": ("truncated_normal", 3), "u": ("uniform", -1, 3)}
    found, size = Drawing(5, told).floats(dict.fromkeys("ntu", (200_000,))), 200_000
    for name, mean, deviation in (("n", 0, 3), ("t", 0, 3 * 0.8796), ("u", 1, 4 / math.sqrt(12))):
        x = found[name].astype(np.float64)
        assert abs(x.mean() - mean) < 5 * deviation / math.sqrt(size) and abs(x.std() / deviation - 1) < 0.01
    assert np.abs(found["t"]).max() < 6 < np.abs(found["n"]).max() < 13.1
    assert abs(np.corrcoef(found["n"], found["t"])[0, 1]) < 0.02


# ---- files -----------------------------------------------------------------------------------------------------------
GOOD = {"format": 1, "seed": 3, "parameters": {"w": ["normal", 0.1]}}


def loaded(tmp_path, content):
    path = tmp_path / "drawing.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return Drawing.load(path)


def test_files(tmp_path):
    assert loaded(tmp_path, GOOD) == Drawing(3, {"w": ("normal", 0.1)})
    assert repr(loaded(tmp_path, GOOD)) == "Drawing(1 parameters from key 3)"


@pytest.mark.parametrize(
    "match, change",
    [
        ("format 2, this zkjax", {"format": 2}),
        ("format True", {"format": True}),
        ("expected an object with the keys", {"more": 1}),
        *(("seed is", {"seed": seed}) for seed in (-1, 2**32, 1.0, "0", True, None)),
        *(("parameters: expected", {"parameters": value}) for value in ({}, [], None, "w")),
        *(
            ("'w': the distribution", {"parameters": {"w": value}})
            for value in (None, [], "normal", ["cauchy", 1], [["normal"], 1], {"a": 1})
        ),
        *(("'w': normal with", {"parameters": {"w": ["normal", *x]}}) for x in ([], [1, 2])),
        *(
            ("is no number of a distribution", {"parameters": {"w": ["normal", x]}})
            for x in ("1", True, None, [1], 1e30, -1e30, 1e-30, 10**4000, 2**64 + 1)
        ),
        ("standard deviation", {"parameters": {"w": ["normal", 0]}}),
        ("standard deviation", {"parameters": {"w": ["truncated_normal", -1]}}),
        *(("lower bound comes first", {"parameters": {"w": ["uniform", *x]}}) for x in ([1, 1], [2, 1])),
    ],
)
def test_malformed_files_are_named(tmp_path, match, change):
    with pytest.raises(FormatError, match=match) as caught:
        loaded(tmp_path, GOOD | change)
    assert "drawing.json" in str(caught.value) and len(str(caught.value)) < 500


@pytest.mark.parametrize(
    "content",
    ["", "[", "[]", "5", "[" * 10**5, json.dumps(GOOD).replace("0.1", "NaN"), json.dumps(GOOD).replace("0.1", "Infinity")]
    + [json.dumps(GOOD).replace("0.1", "1" + "0" * 5000), '{"format": 1, "seed": 3, "seed": 4, "parameters": {"w": ["normal", 1]}}']
    + [json.dumps(GOOD).replace("0.1", x) for x in ("1e999", "-1e999", "1e-999")],
)
def test_other_files_are_refused(tmp_path, content):
    with pytest.raises(FormatError, match=r"drawing\.json"):
        loaded(tmp_path, content)


LEAF = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=3), st.sampled_from(["normal", "constant", 1, 0.5]))
TREE = st.recursive(LEAF, lambda x: st.one_of(st.lists(x, max_size=3), st.dictionaries(st.sampled_from(["w", *GOOD]), x, max_size=4)))


@given(TREE, st.dictionaries(st.sampled_from(["w", "b"]), TREE, max_size=2))
def test_any_file_is_a_drawing_or_refused(tmp_path_factory, content, parameters):
    for value in (content, GOOD | {"parameters": parameters}):
        try:
            found = loaded(tmp_path_factory.getbasetemp(), value)
        except FormatError:
            continue
        assert all(np.isfinite(x).all() for x in found.floats(dict.fromkeys(found.parameters, (5,))).values())


def test_a_long_file_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("zkjax.proofs.drawing.LIMIT", 100)
    with pytest.raises(FormatError, match="more than 100 bytes"):
        loaded(tmp_path, " " * 200 + json.dumps(GOOD))


# ---- what a trainer draws --------------------------------------------------------------------------------------------
class Net(nnx.Module):
    """Layers of every kind whose defaults are known."""

    def __init__(self, rngs):
        self.embed = nnx.Embed(50, 32, rngs=rngs)
        self.conv = nnx.Conv(8, 32, (3, 3), rngs=rngs)
        self.dense = nnx.Linear(64, 96, rngs=rngs)
        self.norm = nnx.LayerNorm(96, rngs=rngs)


def test_flaxs_defaults_are_drawn():
    """From arrays and from shapes alone; of the same distributions as Flax's, and not its numbers."""
    _, params = nnx.split(Net(nnx.Rngs(0)))
    drawn, told = zkjax.draw(params, 4)
    assert told == zkjax.draw(jax.eval_shape(lambda: params), 4)[1] == zkjax.draw(drawn, 4)[1]
    assert jax.tree.structure(drawn) == jax.tree.structure(params)
    assert told.parameters["norm/scale"] == ("constant", 1.0) and told.parameters["conv/bias"] == ("constant", 0.0)
    for a, b in zip(jax.tree.leaves(drawn), jax.tree.leaves(params), strict=True):
        assert a.shape == b.shape and a.dtype == b.dtype
        if float(b.std()):
            assert not np.array_equal(a, b) and abs(float(a.std()) / float(b.std()) - 1) < 0.08
            assert abs(float(jnp.abs(a).max()) / float(jnp.abs(b).max()) - 1) < 0.25
    again, _ = zkjax.draw(params, 4)
    other, _ = zkjax.draw(params, 5)
    assert jax.tree.all(jax.tree.map(np.array_equal, again, drawn))
    assert not np.array_equal(jax.tree.leaves(other)[1], jax.tree.leaves(drawn)[1])


def test_linen_and_plain_pytrees_are_drawn():
    variables = nn.Dense(40).init(jax.random.key(0), jnp.zeros((1, 30)))
    drawn, told = zkjax.draw(variables["params"])
    assert told.parameters == {"bias": ("constant", 0.0), "kernel": told.parameters["kernel"]}
    assert told.parameters["kernel"][0] == "truncated_normal" and drawn["kernel"].shape == (30, 40)
    tree = [{"w": np.ones((3, 2)), "s": np.float32(0.5)}, (jnp.zeros(4),)]
    drawn, told = zkjax.draw(tree, 9, {"0/w": "he_normal"})
    assert told.parameters["0/s"] == ("constant", 0.5) and told.parameters["1/0"] == ("constant", 0.0)
    assert float(drawn[0]["s"]) == 0.5 and drawn[0]["w"].std() > 0
    with jax.enable_x64(True):
        assert zkjax.draw({"w": np.ones((3, 2))}, 0, {"w": ("normal", 1)})[0]["w"].dtype == np.float64


def test_shared_weights_are_drawn_once():
    class Tied(nnx.Module):
        def __init__(self, rngs):
            self.embed = nnx.Embed(50, 32, rngs=rngs)
            self.head = self.embed

    _, params = nnx.split(Tied(nnx.Rngs(0)))
    assert list(zkjax.draw(params)[1].parameters) == ["embed/embedding"]


SQUARE = np.zeros((6, 8, 10), np.float32)


NAMED = [f"{family}_{kind}" for family in ("lecun", "he", "glorot") for kind in ("normal", "uniform")]


@pytest.mark.parametrize(
    "how, initializer",
    [
        *((name, getattr(jax.nn.initializers, name)()) for name in NAMED),
        ("kaiming_normal", jax.nn.initializers.kaiming_normal()),
        ("xavier_uniform", jax.nn.initializers.xavier_uniform()),
        (("truncated_normal", 0.3), jax.nn.initializers.truncated_normal(0.3)),
        (("normal", 0.3), jax.nn.initializers.normal(0.3)),
    ],
)
def test_named_distributions_are_jaxs(how, initializer):
    """As wide as JAX's, and no wider."""
    drawn, _ = zkjax.draw({"w": SQUARE}, 1, {"*": how})
    own = np.asarray(initializer(jax.random.key(0), SQUARE.shape))
    assert abs(float(drawn["w"].std()) / own.std() - 1) < 0.2
    edge = float(np.abs(own).max())
    assert how == ("normal", 0.3) or abs(float(np.abs(drawn["w"]).max()) / edge - 1) < 0.05


def test_what_cannot_be_drawn_is_said():
    x = np.random.default_rng(0).normal(size=(40, 50)).astype(np.float32)
    for params, how, match in (
        ({"w": x}, None, r"w: its values have the size 1\.0.*how={'w': \('normal', "),
        ({"bias": x}, None, "its values have the size"),
        ({"b": x[0]}, None, "no fan in"),
        ({"w": x}, {"v": "zeros"}, "no parameter has a path like 'v'; they are w"),
        ({"w": x}, {"w": "cauchy"}, "'cauchy' is no distribution; known are constant, uniform"),
        ({"w": x}, {"w": ("normal", "1")}, None),
        ({"w": x}, {"w": ("normal", "x")}, "something else than numbers"),
        ({"w": x}, {"w": ("normal", 0)}, "standard deviation"),
        ({"w": x}, {"w": "normal"}, "normal with 0 numbers"),
        ({"w": x}, {"w": 5}, "is no distribution"),
        ({"w": x}, {"w": (["normal"], 1)}, "is no distribution"),
        ({"w": x}, "he_normal", "how is a str; give a dict"),
        ({"w": x}, {"w": ("lecun_normal", 0)}, "fan 0"),
        ({"w": x}, {"w": ("lecun_normal", 1, 2)}, "no distribution"),
        ({"w": np.full((2, 2), 1e-30, np.float32)}, None, "no number of a distribution"),
    ):
        if match is None:
            assert zkjax.draw(params, 0, how)[1].parameters["w"] == ("normal", 1.0)
            continue
        with pytest.raises(DataError, match=match):
            zkjax.draw(params, 0, how)
    for seed in (-1, 2**32, 0.5, True):
        with pytest.raises(DataError, match="seed is"):
            zkjax.draw({"w": x}, seed, {"w": "zeros"})
    with pytest.raises(UnsupportedOperationError, match="bfloat16.*use float32"):
        zkjax.draw({"w": jnp.ones((2, 2), jnp.bfloat16)})
    with pytest.raises(UnsupportedOperationError, match="only floating-point"):
        zkjax.draw({"w": x, "count": np.int32(0)})


def test_a_drawing_of_a_part_finds_its_place():
    told = Drawing(1, {"a/w": ("normal", 1), "b": ("normal", 2)})
    assert told.within({"a/w", "b", "c"}) == told
    assert told.within(["params/a/w", "params/b", "x"]).parameters == {f"params/{x}": value for x, value in told.parameters.items()}
    shapes = {"a/w": (3,), "b": (2,)}
    below = told.within(["p/a/w", "p/b"]).floats({f"p/{x}": shape for x, shape in shapes.items()})
    assert all(np.array_equal(below[f"p/{x}"], value) for x, value in told.floats(shapes).items())
    for paths in (["a/w"], ["xa/w", "xb"], [], ["p/a/w", "q/b"]):
        with pytest.raises(ConfigurationError, match="drawing: it is of a/w, b, the circuit's"):
            told.within(paths)


# ---- proofs ----------------------------------------------------------------------------------------------------------
@cache
def chain():
    """(circuit, drawing, two runs, their proofs, the disclosure of the first weights) of a small net whose weights are drawn."""
    data = data_for(DIMS)
    params, told = zkjax.draw(mlp_params(DIMS), 11, {"*/w": "lecun_normal", "*/b": ("uniform", -0.2, 0.1)})
    batch = tuple(x[:3] for x in data)
    circuit = zkjax.trace(mlp_loss, optax.sgd(1 / 32), params, batch=batch, precision=TINY, steps=4, chunk=2)
    first = zkjax.train(circuit, params, data, steps=2, seed=1)
    first.chain.geometry = SMALL
    second = next_run(circuit, first)
    proofs = [prove_small(circuit, run) for run in (first, second)]
    return circuit, told, (first, second), proofs, disclose(first, "initial")


@cache
def frozen_chain():
    """(circuit, run, proof): w and v drawn from key 2, the frozen f pretrained."""
    circuit, ((_, _, f), data) = moving.moving(frozen=True), moving.start(frozen=True)
    told = Drawing(2, {"w": ("truncated_normal", 0.3), "v": ("normal", 0.2)})
    values = told.floats({"w": (3, 2), "v": (3, 2)})
    run = zkjax.train(circuit, [values["w"], values["v"], f], data, steps=2)
    run.chain.geometry = SMALL
    return circuit, told, run, prove_small(circuit, run)


def refused(check, circuit, proofs, match=None, **options):
    refused_by(check, circuit, proofs, match=match, **options)


def test_drawn_weights_are_verified():
    circuit, told, (first, _), proofs, disclosure = chain()
    assert verify_small(circuit, proofs, drawing=told, disclosures=[disclosure]) == [p.statement for p in proofs]
    verify_small(circuit, proofs, drawing=told, initial_model=model_of(first, "initial"), disclosures=[disclosure])
    part = Drawing(11, {"0/b": told.parameters["0/b"]})  # number 0 in either drawing, hence of the same key
    verify_small(circuit, proofs, drawing=part, initial_model=model_of(first, "initial"), disclosures=[disclosure])
    refused("drawing", circuit, proofs, match="0/w is not drawn", drawing=part, disclosures=[disclosure])


def test_lies_about_the_key_are_refused():
    """Another seed, another distribution, a bit of a number, a path exchanged, a disclosure of other weights."""
    circuit, told, (first, second), proofs, disclosure = chain()
    given, model = {"disclosures": [disclosure]}, model_of(first, "initial")
    name, deviation = told.parameters["0/w"]
    lies = [
        Drawing(12, told.parameters),
        Drawing(11, {**told.parameters, "0/w": ("normal", deviation)}),
        Drawing(11, {**told.parameters, "0/w": (name, deviation * 1.01)}),
        Drawing(11, {**told.parameters, "1/b": ("constant", 0)}),
    ]
    for lie in lies:
        refused("drawing", circuit, proofs, match="do not lead|so coarsely", drawing=lie, **given)
        refused("drawing", circuit, proofs, match="is not what is drawn|so coarsely", drawing=lie, initial_model=model, **given)
    refused("drawing", circuit, proofs, match="it is of z", drawing=Drawing(11, {**told.parameters, "z": ("normal", 1)}), **given)
    refused("drawing", circuit, proofs, match="62 bits", drawing=Drawing(11, {**told.parameters, "0/w": ("normal", 2.0**63)}), **given)
    refused("disclosure", circuit, proofs, drawing=told, disclosures=[disclose(second, "parameters")])
    refused("disclosure", circuit, proofs[1], drawing=told, assume_bound=True, **given)
    _, _, run, _ = frozen_chain()
    refused("disclosure", circuit, proofs, drawing=told, disclosures=[disclose(run, "initial")])
    for options, match in (
        ({"drawing": told}, "drawing: a disclosure ties it"),
        ({"drawing": told.parameters, **given}, "drawing is a dict"),
    ):
        with pytest.raises(ConfigurationError, match=match):
            verify_small(circuit, proofs, **options)
    with pytest.raises(VerificationError, match="^work: .* for drawn weights"):
        check_disclosed(circuit, [p.statement for p in proofs], [disclosure], drawing=told, max_work=9000)


def test_a_weight_that_was_picked_is_refused():
    """Drawn, but for one weight that is off by one unit, or for all of one matrix."""
    circuit, told, _, proofs, _ = chain()
    params, _ = zkjax.draw(mlp_params(DIMS), 11, {"*/w": "lecun_normal", "*/b": ("uniform", -0.2, 0.1)})
    unit = float(circuit.unit(1)) * 2 ** proofs[0].statement.shifts[1]
    picked = [params[0] | {"w": params[0]["w"].at[0, 0].add(unit)}, params[1]], [params[0] | {"w": -params[0]["w"]}, params[1]]
    for lie in picked:
        run = zkjax.train(circuit, lie, data_for(DIMS), steps=2, seed=1)
        run.chain.geometry = SMALL
        proof = prove_small(circuit, run)
        refused("drawing", circuit, proof, match="do not lead", drawing=told, disclosures=[disclose(run, "initial")])


def test_rounding_that_leaves_nothing_of_a_drawing_is_refused(monkeypatch):
    """A trainer rounds to multiples of so large a power of two that a few weights alone are left, in fact his own choice."""
    circuit, told, _, _, _ = chain()
    params, _ = zkjax.draw(mlp_params(DIMS), 11, {"*/w": "lecun_normal", "*/b": ("uniform", -0.2, 0.1)})
    honest = zkjax.circuit.coarse.forms

    def coarser(circuit, largest):
        shifts, widths = honest(circuit, largest)
        return tuple(s + 7 if s or w else s for s, w in zip(shifts, widths, strict=True)), widths

    monkeypatch.setattr("zkjax.circuit.coarse.forms", coarser)
    run = zkjax.train(circuit, params, data_for(DIMS), steps=2, seed=1)
    run.chain.geometry = SMALL
    proof, given = prove_small(circuit, run), {"disclosures": [disclose(run, "initial")]}
    verify_small(circuit, proof, initial_model=model_of(run, "initial"), **given)
    refused("drawing", circuit, proof, match="not rounded so coarsely", drawing=told, **given)


def test_frozen_weights_may_stay_secret():
    """What is drawn is shown without them; a drawing of some frozen ones alone is none."""
    circuit, told, run, proof = frozen_chain()
    alone = disclose(run, "initial", frozen=False)
    assert [item.commitment.kind for item in alone.items] == ["weights"]
    verify_small(circuit, proof, drawing=told, disclosures=[alone])
    refused("disclosure", circuit, proof, match="frozen", initial_model=model_of(run, "initial"), disclosures=[alone])
    both = disclose(run, "initial")
    verify_small(circuit, proof, drawing=told, initial_model=model_of(run, "initial"), disclosures=[both])
    refused("drawing", circuit, proof, match="w is not drawn", drawing=Drawing(2, {"f": ("normal", 2.0)}), disclosures=[both])
    refused(
        "drawing", circuit, proof, match="it is of m", drawing=Drawing(2, {**told.parameters, "m": ("constant", 0)}), disclosures=[both]
    )


def test_the_frozen_vector():
    """A proof whose first weights, the frozen ones too, are drawn; its integers by the second implementation."""
    circuit = zkjax.Circuit.load(VECTORS / f"{NAME}.circuit.json")
    proof, disclosure = zkjax.Proof.load(VECTORS / f"{NAME}.proof"), Disclosure.load(VECTORS / f"{NAME}.disclosure")
    told = Drawing.load(VECTORS / f"{NAME}.drawing.json")
    zkjax.verify(circuit, proof, drawing=told, disclosures=[disclosure], minimum_bits=5.0)
    integers = json.loads((VECTORS / f"{NAME}.integers.json").read_text())
    values = reference.drawn(json.loads((VECTORS / f"{NAME}.drawing.json").read_text()), dict.fromkeys(integers, 6))
    for p, x in enumerate(circuit.parameters):
        if x.path in integers:
            shift = proof.statement.shifts[p]
            assert [reference.integer(v, x.unit, shift) << shift for v in values[x.path]] == integers[x.path]
    assert any(proof.statement.shifts)
    lie = Drawing(told.seed, {**told.parameters, "f": ("normal", 2.1)})
    alone = dataclasses.replace(disclosure, items=disclosure.items[:1])
    for drawing, shown, check, match in (
        (lie, disclosure, "drawing", "do not lead to the root of frozen"),
        (told, alone, "disclosure", "of the commitment to the frozen weights"),
    ):
        with pytest.raises(VerificationError, match=match) as caught:
            zkjax.verify(circuit, proof, drawing=drawing, disclosures=[shown], minimum_bits=5.0)
        assert caught.value.check == check


# ---- folders and commands --------------------------------------------------------------------------------------------
GIVEN = {"minimum_bits": BITS}


@pytest.fixture
def published(tmp_path):
    _, told, (first, second), proofs, _ = chain()
    zkjax.publish(second, proofs, tmp_path / "folder", first=first, drawing=told, model=False, update=True, **GIVEN)
    return tmp_path / "folder"


def test_the_sentence_names_the_key(published, capsys):
    circuit, told, (first, second), proofs, disclosure = chain()
    found = zkjax.check(published, **GIVEN)
    assert found.sentence.endswith(", from weights drawn from key 11 by 3 distributions.") and found.facts["drawn"] == {
        "key": 11,
        "not": [],
    }
    claims = {x.what: x for x in found.claims}
    assert claims["first weights' key"].value == "11" and claims["first weights' key"].files == ("drawing.json", "initial.disclosure")
    assert claims["drawn: uniform -0.2 0.1"].value == "0/b, 1/b"
    deviation = told.parameters["0/w"][1]
    assert claims[f"drawn: truncated normal {deviation}"].value == "0/w"
    assert any("how the key of the first weights and their distributions" in gap for gap in found.gaps)
    assert not any("initial.safetensors" in gap for gap in found.gaps)
    assert main(["check", str(published), "--minimum-bits", str(BITS)]) == 0 and found.sentence in capsys.readouterr().out
    again = published.with_name("again")
    zkjax.publish(second, proofs, again, first=disclosure, drawing=told, update=True, **GIVEN)
    found = zkjax.check(again, **GIVEN)
    assert (
        "from weights drawn from key 11 by 3 distributions." in found.sentence
        and found.attestation["predicate"]["facts"]["drawn"]["key"] == 11
    )
    assert {"drawing.json", "initial.disclosure"} <= set(found.attestation["predicate"]["files"])
    both = published.with_name("both")
    zkjax.publish(second, proofs, both, first=first, drawing=told, initial=True, update=True, **GIVEN)
    assert zkjax.check(both, **GIVEN).sentence == found.sentence


def test_lies_in_a_folder_are_refused(published):
    def check(name, change=lambda text: text):
        copy = published.with_name("copy")
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(published, copy)
        if change is None:
            (copy / name).unlink()
        else:
            (copy / name).write_text(change((copy / name).read_text()))
        return zkjax.check(copy, **GIVEN)

    for change in (lambda x: x.replace('"seed": 11', '"seed": 0'), lambda x: re.sub('"truncated_normal",', '"normal",', x, count=1)):
        with pytest.raises(VerificationError) as caught:
            check("drawing.json", change)
        assert caught.value.check == "drawing"
    with pytest.raises(FormatError, match=r"drawing\.json"):
        check("drawing.json", lambda x: x.replace("11", "NaN"))
    with pytest.raises(ConfigurationError, match=r"initial\.disclosure is missing; drawing\.json and"):
        check("initial.disclosure", None)
    with pytest.raises(ConfigurationError, match=r"initial\.safetensors is missing"):
        check("drawing.json", None)


def test_what_is_not_drawn_is_said(tmp_path):
    """Frozen weights that nobody sees, or that are in a file; some of the others."""
    circuit, told, run, proof = frozen_chain()
    zkjax.publish(run, [proof], tmp_path / "a", drawing=told, model=False, update=True, **GIVEN)
    found = zkjax.check(tmp_path / "a", **GIVEN)
    assert re.search(
        r"from weights with digest [0-9a-f]{16}\.\.\., 2 of whose 3 arrays were drawn from key 2 by 2 distributions\.$", found.sentence
    )
    assert "what is in the frozen f: initial.safetensors is not here" in found.gaps and found.facts["drawn"]["not"] == ["f"]
    assert any("distributions, those that are not drawn from it" in gap for gap in found.gaps)
    zkjax.publish(run, [proof], tmp_path / "b", drawing=told, initial=True, model=False, update=True, **GIVEN)
    found = zkjax.check(tmp_path / "b", **GIVEN)
    assert "from weights in initial.safetensors (sha256 " in found.sentence and "2 of whose 3 arrays" in found.sentence
    assert not any("initial.safetensors" in gap for gap in found.gaps)
    half = Drawing(2, {"v": told.parameters["v"]})
    zkjax.publish(run, [proof], tmp_path / "c", drawing=half, initial=True, model=False, update=True, **GIVEN)
    assert "1 of whose 3 arrays were drawn from key 2 by 1 distribution." in zkjax.check(tmp_path / "c", **GIVEN).sentence
    for options, kind, match in (
        ({"drawing": half}, ConfigurationError, "f, w not drawn; publish the first weights too"),
        ({"drawing": told.parameters}, ConfigurationError, "drawing is a dict"),
        ({"drawing": Drawing(2, {"z": ("normal", 1)})}, ConfigurationError, "it is of z, the circuit's"),
        ({"drawing": told, "initial": True, "first": disclose(run, "initial")}, RunError, "give it as first"),
    ):
        with pytest.raises(kind, match=match):
            zkjax.publish(run, [proof], tmp_path / "d", model=False, update=True, **options, **GIVEN)
    assert not (tmp_path / "d").exists()


def test_a_later_run_has_no_first_weights(tmp_path):
    _, told, (_, second), proofs, _ = chain()
    for options in ({"drawing": told}, {"initial": True}):
        with pytest.raises(ConfigurationError, match="first: a run from step 2 on, and the proofs begin with step 0"):
            zkjax.publish(second, proofs, tmp_path / "folder", model=False, update=True, **options, **GIVEN)
    assert not any(tmp_path.iterdir())


def test_first_and_last_weights_are_both_published_on_purpose_only(tmp_path):
    circuit, told, _, _, _ = chain()
    params, _ = zkjax.draw(mlp_params(DIMS), 11, {"*/w": "lecun_normal", "*/b": ("uniform", -0.2, 0.1)})
    run = zkjax.train(circuit, params, data_for(DIMS), steps=2, seed=1)
    proof = prove_small(circuit, run)
    with pytest.raises(ConfigurationError, match="update=True says that this may be"):
        zkjax.publish(run, [proof], tmp_path / "a", drawing=told, **GIVEN)
    zkjax.publish(run, [proof], tmp_path / "a", drawing=told, update=True, **GIVEN)


def test_the_command_line(tmp_path, capsys):
    circuit, told, (first, _), proofs, disclosure = chain()
    circuit.save(tmp_path / "circuit.json")
    told.save(tmp_path / "drawing.json")
    Drawing(0, told.parameters).save(tmp_path / "lie.json")
    Drawing(11, {"0/b": told.parameters["0/b"]}).save(tmp_path / "part.json")
    disclosure.save(tmp_path / "initial.disclosure")
    first.save_model(tmp_path / "initial.safetensors", "initial")
    for i, proof in enumerate(proofs):
        proof.save(tmp_path / f"{i}.proof")

    def verify(name, *words):
        command = ["verify", str(tmp_path), "--circuit", str(tmp_path / "circuit.json"), "--minimum-bits", str(BITS)]
        status = main([*command, "--drawing", str(tmp_path / name), *words])
        return status, *capsys.readouterr()

    given = ["--disclosure", str(tmp_path / "initial.disclosure")]
    status, output, _ = verify("drawing.json", *given)
    assert status == 0 and "the initial weights are drawn from key 11, as" in output.partition("Only claimed")[0]
    status, output, _ = verify("drawing.json", *given, "--json")
    assert status == 0 and "drawing" in json.loads(output)["required"]
    status, output, _ = verify("part.json", *given, "--initial-model", str(tmp_path / "initial.safetensors"))
    assert status == 0 and "part.json says; not 0/w, 1/b, 1/w" in output
    status, _, errors = verify("lie.json", *given)
    assert status == 1 and "INVALID: check drawing: " in errors
    assert verify("part.json", *given)[0] == 1 and verify("circuit.json", *given)[0] == 1
    assert verify("drawing.json")[0] == 2 and verify("nowhere.json", *given)[0] == 2


def test_weights_of_a_train_state_are_found(tmp_path):
    """Their paths have a part more than what was drawn."""
    data = data_for(DIMS)
    params, told = zkjax.draw(mlp_params(DIMS), 3, {"*/w": "he_uniform", "*/b": "zeros"})
    optimizer = optax.sgd(1 / 32)

    def step(state, x, y):
        loss, gradients = jax.value_and_grad(mlp_loss)(state["params"], x, y)
        updates, inner = optimizer.update(gradients, state["optimizer"])
        return {"params": optax.apply_updates(state["params"], updates), "optimizer": inner}, loss

    state = {"params": params, "optimizer": optimizer.init(params)}
    circuit = zkjax.trace_step(step, state, batch=tuple(x[:3] for x in data), precision=TINY, steps=2, chunk=2)
    run = zkjax.train(circuit, state, data, steps=2, seed=1)
    proof = prove_small(circuit, run)
    zkjax.publish(run, [proof], tmp_path / "folder", drawing=told, model=False, **GIVEN)
    assert "from weights drawn from key 3 by 3 distributions." in zkjax.check(tmp_path / "folder", **GIVEN).sentence
    assert set(Drawing.load(tmp_path / "folder" / "drawing.json").parameters) == {f"params/{path}" for path in told.parameters}


def test_drawings_are_values():
    told = Drawing(1, {"w": ("normal", 1.0)})
    assert dataclasses.replace(told, seed=2) == Drawing(2, {"w": ("normal", 1.0)})
    with pytest.raises(FormatError, match="the path 5 is no text"):
        Drawing(1, {5: ("normal", 1.0)})
