"""Fine-tuning of a model that its owner disclosed: from exactly its integers, or rounded; and what a folder says of where it began."""

import shutil
from dataclasses import replace
from fractions import Fraction
from functools import cache
from types import SimpleNamespace

import numpy as np
import optax
import pytest
from harness import BITS, SMALL, data_for, mlp_loss, mlp_params, prove_small
from hypothesis import given
from hypothesis import strategies as st
from tiny import DIMS, TINY, tiny_run

import zkjax
from zkjax.__main__ import main
from zkjax.auditing.source import _largest_difference, begun
from zkjax.errors import ConfigurationError, DataError, FormatError, VerificationError

GIVEN = {"minimum_bits": BITS}
DATA = data_for(DIMS, seed=7)


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """The folder of the model that is fine-tuned."""
    circuit, run = tiny_run()
    folder = tmp_path_factory.mktemp("base") / "base"
    zkjax.publish(run, [prove_small(circuit, run)], folder, **GIVEN)
    return folder


@cache
def source(folder):
    return zkjax.Model.load(folder / "model.safetensors")


def circuit_for(model, optimizer=None, **options):
    """Of another loss, and of another optimizer; with the model's scales unless other ones are asked for."""
    precision = replace(TINY, **{"parameters": model.scales} | options)

    def loss(params, x, y):
        return 0.5 * mlp_loss(params, x, y)

    params, data = mlp_params(DIMS), tuple(x[:3] for x in DATA)
    return zkjax.trace(loss, optimizer or optax.sgd(1 / 16, momentum=0.5), params, batch=data, precision=precision, steps=2, chunk=2)


def tuned(circuit, params):
    run = zkjax.train(circuit, params, DATA, steps=2)
    run.chain.geometry = SMALL
    return run


@pytest.fixture(scope="module")
def published(base, tmp_path_factory):
    """(folder, run): fine-tuned from exactly the base's integers, by another optimizer on other data."""
    run = tuned(circuit_for(source(base)), source(base))
    folder = tmp_path_factory.mktemp("tuned") / "tuned"
    proofs = [prove_small(run.circuit, run)]
    zkjax.publish(run, proofs, folder, model=False, initial=True, source=base / "model.safetensors", **GIVEN)
    return folder, run


@pytest.fixture
def copy(published, tmp_path):
    shutil.copytree(published[0], tmp_path / "copy")
    return tmp_path / "copy"


def refused(call, check, match=None):
    with pytest.raises(VerificationError, match=match) as error:
        call()
    assert error.value.check == check


def test_it_begins_with_these_integers(base, published):
    """Bit by bit: nothing is rounded, and the sentence says of which file."""
    folder, run = published
    own = {x.path: p for p, x in enumerate(run.circuit.parameters)}
    for path, x in source(base).integers.items():
        assert np.array_equal(run.initial[own[path]] * Fraction(run.circuit.unit(own[path])), x * Fraction(source(base).units[path]))
    found = zkjax.check(folder, **GIVEN)
    (claim,) = (x for x in found.claims if x.what == "fine-tuned from")
    assert f"from the model in source.safetensors (sha256 {claim.value[:16]}...)." in found.sentence and "rounded" not in claim.evidence
    assert any("whose model source.safetensors is" in gap for gap in found.gaps)


def test_two_folders_are_one_lineage(base, published, capsys):
    folder, _ = published
    for path in (base, base / "model.safetensors"):
        (claim,) = (x for x in zkjax.check(folder, source=path, **GIVEN).claims if x.what == "source")
        assert claim.evidence == "the same file, by its SHA-256"
    found = zkjax.check(folder, source=base, **GIVEN)
    assert found.sentence.endswith(f"What it began with, as {base} shows: {zkjax.check(base, **GIVEN).sentence}")
    assert main(["check", str(folder), "--source", str(base), "--minimum-bits", str(BITS)]) == 0
    assert "The model in model.safetensors" in capsys.readouterr().out
    refused(
        lambda: zkjax.check(folder, source=folder / "initial.safetensors", **GIVEN), "source", "is another file than source.safetensors"
    )
    assert main(["check", str(folder), "--source", str(base / "missing"), "--minimum-bits", str(BITS)]) == 2
    with pytest.raises(ConfigurationError, match="source.safetensors is missing; zkjax.publish"):
        zkjax.check(base, source=base / "model.safetensors", **GIVEN)
    refused(lambda: zkjax.check(base, source=base, **GIVEN), "lineage")


def test_a_source_that_is_checked(base, published, tmp_path):
    """A lie in its folder is one here."""
    shutil.copytree(base, tmp_path / "base")
    proof = tmp_path / "base" / "chunk-0000.proof"
    raw = proof.read_bytes()
    proof.write_bytes(raw[:-1] + bytes([raw[-1] ^ 1]))
    refused(lambda: zkjax.check(published[0], source=tmp_path / "base", **GIVEN), "opening")


def test_rounded_floats_are_said_to_be(base, tmp_path):
    """Those of the file, as anybody has them, in the circuit's own formats."""
    circuit = circuit_for(source(base), optimizer=optax.sgd(1 / 16), parameters=None)
    run = tuned(circuit, source(base).floats())
    proofs = [prove_small(circuit, run)]
    found = zkjax.publish(run, proofs, tmp_path / "x", model=False, initial=True, source=base / "model.safetensors", **GIVEN)
    assert "(sha256" in found.sentence and ", rounded by at most " in found.sentence
    (claim,) = (x for x in found.claims if x.what == "fine-tuned from")
    off, model = float(claim.evidence.split("at most ")[1].split(" ")[0]), source(base)
    own, values = {x.path: p for p, x in enumerate(circuit.parameters)}, []
    for path, x in model.integers.items():
        values.append((x * float(model.units[path]), run.initial[own[path]] * float(circuit.unit(own[path]))))
    assert off == pytest.approx(max(np.abs(a - b).max() / np.abs(a).max() for a, b in values), rel=0.1) and 0 < off < 1 / 32


def test_new_parameters_are_named(base, tmp_path):
    """A head that the source has not."""

    def loss(params, x, y):
        return mlp_loss(params["old"], x, y) + 0.1 * (params["new"] ** 2).sum()

    folder = tmp_path / "other"
    params = {"old": mlp_params(DIMS), "new": np.ones(2, np.float32)}
    circuit = zkjax.trace(loss, optax.sgd(1 / 16), params, batch=tuple(x[:3] for x in DATA), precision=TINY, steps=2, chunk=2)
    run = tuned(circuit, params)
    with pytest.raises(VerificationError, match="^source: the first weights have no parameter of the source's"):
        zkjax.publish(run, [prove_small(circuit, run)], folder, model=False, initial=True, source=base / "model.safetensors", **GIVEN)
    integers, units = ({f"old/{path}": x for path, x in known.items()} for known in (source(base).integers, source(base).units))
    zkjax.Model(bytes(32), 0, integers, units).save(tmp_path / "source.safetensors")
    run = tuned(circuit, {f"old/{k}": v for k, v in source(base).floats().items()} | {"new": params["new"]})
    found = zkjax.publish(
        run, [prove_small(circuit, run)], folder, model=False, initial=True, source=tmp_path / "source.safetensors", **GIVEN
    )
    assert found.sentence.endswith(", with new anew.")


def test_another_source_is_refused(base, copy):
    """One of whose weights is another one, and one of another shape."""
    model, path = source(base), copy / "source.safetensors"
    name = next(iter(model.integers))
    step = max(1, int(source(base).units[name] ** -1 * Fraction(1, 2**3)))
    for change, match in (
        (lambda x: x + step * (np.arange(x.size).reshape(x.shape) == 0), "differs by"),
        (lambda x: x[..., :1], "the shape"),
    ):
        path.unlink()
        replace(model, integers=dict(model.integers) | {name: np.ascontiguousarray(change(model.integers[name]))}).save(path)
        refused(lambda: zkjax.check(copy, **GIVEN), "source", match)
    path.write_bytes(b"no model")
    with pytest.raises(FormatError, match="not a safetensors file"):
        zkjax.check(copy, **GIVEN)


def test_a_source_needs_the_first_weights(copy):
    (copy / "initial.safetensors").unlink()
    (copy / "initial.disclosure").unlink()
    with pytest.raises(ConfigurationError, match="initial.safetensors is missing; source.safetensors says something beside it only"):
        zkjax.check(copy, **GIVEN)


def test_models_that_cannot_be_begun_with(base):
    model = source(base)
    coarser = circuit_for(model, optimizer=optax.sgd(1 / 16), parameters={path: scale - 1 for path, scale in model.scales.items()})
    with pytest.raises(DataError, match=r"trace with Precision\(parameters=model.scales\), or give model.floats"):
        tuned(coarser, model)
    large = replace(model, integers={path: x + 2**61 for path, x in model.integers.items()})
    with pytest.raises(DataError, match="are none of at most 61 bits"):
        tuned(circuit_for(model), large)
    far = replace(
        model, integers={path: 0 * x for path, x in model.integers.items()}, units={path: 2**90 * x for path, x in model.units.items()}
    )
    with pytest.raises(DataError, match="are none of at most 61 bits"):
        tuned(circuit_for(model), far)
    fewer = replace(model, integers=dict(list(model.integers.items())[1:]))
    with pytest.raises(DataError, match="the circuit's parameters have other paths or shapes"):
        tuned(circuit_for(model), fewer)
    with pytest.raises(DataError, match="leave state out"):
        zkjax.train(circuit_for(model), model, DATA, steps=2, state={})


@given(
    st.lists(st.tuples(st.integers(-(2**62), 2**62 - 1), st.integers(-(2**62), 2**62 - 1)), min_size=1, max_size=5),
    *[st.fractions(Fraction(1, 2**40), 4, max_denominator=2**40).filter(bool)] * 2,
)
def test_differences_are_exact(pairs, unit, other):
    x, y = (np.array(v, dtype=np.int64) for v in zip(*pairs, strict=True))
    assert _largest_difference(x, unit, y, other) == max(abs(a * unit - b * other) for a, b in pairs)


CASES = [(0, 1, None), (0, 2, "differs by"), (6, 64, None), (6, 65, "differs by"), (10, 512, None), (10, 513, "differs by")]


@pytest.mark.parametrize("shift, change, match", CASES)
def test_how_far_rounding_goes(base, published, shift, change, match):
    """A unit of the first weights, and no more than a part of the largest one."""
    run, model = published[1], source(base)
    p = next(p for p, x in enumerate(run.circuit.parameters) if x.path == "1/w")
    values = {path: np.full_like(x, 2**14) for path, x in model.integers.items()}
    model = replace(model, integers=values)
    moved = replace(model, integers=values | {"1/w": values["1/w"] + change})
    first = SimpleNamespace(shifts=tuple(shift * (q == p) for q in range(len(run.circuit.parameters))))
    if match is None:
        assert begun(run.circuit, first, moved, model).off == Fraction(change, 2**14)
    else:
        refused(lambda: begun(run.circuit, first, moved, model), "source", match)
