"""Disclosures by two verifiers: the package's, and ``reference/verifier.py``, written from PROTOCOL.md. By seeds and at a point."""

import copy
import json
import random
import struct
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from harness import BITS, prove_small
from reference import verifier as reference
from reference.verifier import Rejected
from test_disclosures import about, altered, chain, disclose, disclosed, model_of, with_states
from test_reference_verifier import VECTOR_BITS, VECTORS, alterations
from test_samples import SOME, shown
from tiny import tiny_run

import zkjax
from zkjax.commitment.commit import Commitment
from zkjax.commitment.geometry import Geometry
from zkjax.commitment.recompute import recomputed_root
from zkjax.errors import ZkjaxError
from zkjax.proofs.disclosed import check_disclosed

WAYS = {"by seed": chain, "at a point": with_states}
MODEL = Path("model.safetensors")


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def both(circuit: dict, files, disclosures, *, model=None, initial_model=None, data=None, bits=BITS, check=None):
    """What both verifiers say: the shards' numbers, or "refused"; they must agree. disclosures, model, initial_model: files; data: arrays.

    check: the name under which both refuse.
    """
    lists = None if data is None else [(list(x.shape), x.reshape(-1).tolist()) for x in data]
    try:
        theirs = reference.verify_disclosed(
            circuit, files, disclosures, model=model, initial_model=initial_model, data=lists, minimum_bits=bits
        )
    except Rejected as refused:
        theirs = refused
    try:
        ours = check_disclosed(
            zkjax.Circuit.from_json(circuit),
            [zkjax.Proof.parse(raw).statement for raw in files],
            [zkjax.Disclosure.parse(raw) for raw in disclosures],
            model=loaded(model),
            initial_model=loaded(initial_model),
            data=data,
            minimum_bits=bits,
        )
    except ZkjaxError as refused:
        assert isinstance(theirs, Rejected), refused
        assert check is None or (getattr(refused, "check", None), theirs.check) == (check, check), (refused, theirs)
        return "refused"
    assert check is None and (None if ours is None else [item.commitment.number for item in ours.items]) == theirs, theirs
    return None if theirs is None else tuple(theirs)


def loaded(raw: bytes | None):
    if raw is None:
        return None
    MODEL.write_bytes(raw)
    return zkjax.Model.load(MODEL)


def saved(model) -> bytes:
    model.save(MODEL)
    return MODEL.read_bytes()


@cache
def published(way: str):
    """(circuit's JSON, proof files, disclosures of the last and the first weights and of all data, both models, data)."""
    circuit, (first, second), proofs = WAYS[way]()
    found = [disclosed(WAYS[way], 1, "parameters"), disclosed(WAYS[way], 0, "initial"), disclosed(WAYS[way], 0, "dataset")]
    data = [x * 2.0**-entry.scale for x, entry in zip(first.data.arrays, circuit.inputs, strict=True)]
    models = saved(model_of(second)), saved(model_of(first, "initial"))
    return circuit.to_json(), [bytes(p) for p in proofs], [bytes(x) for x in found], models, data


def file_of(statement: dict, body: bytes) -> bytes:
    text = reference.canonical(statement)
    return b"zkjxdscl" + struct.pack("<HI", 1, len(text)) + text + body


# ---- both accept ---------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("way", WAYS)
def test_models_and_data(way):
    circuit, files, (last, first, data), (model, initial), arrays = published(way)
    assert bool(reference.pointed(reference.read_disclosure(last)[0])) == (way == "at a point")
    assert both(circuit, files, [last, first, data], model=model, initial_model=initial, data=arrays) == tuple(
        range(len(reference.read_disclosure(data)[0]["items"]))
    )
    assert both(circuit, files[:1], [first], initial_model=initial) is None
    both(circuit, files, [first, data], model=model, check="disclosure")
    both(circuit, files, [last, first], data=arrays, check="disclosure")
    both(circuit, files, [last], model=initial, check="model" if way == "by seed" else None)


def test_some_shards():
    circuit, files, _, _, arrays = published("by seed")
    raw = bytes(disclosed(chain, 0, 2))
    size = reference.read_disclosure(raw)[0]["dataset"]["shard_size"]
    assert both(circuit, files, [raw], data=[x[2 * size :] for x in arrays]) == (2,)
    both(circuit, files, [raw], data=[x[:size] for x in arrays], check="data")
    assert both(circuit, files, [raw], data=arrays) == "refused"


PARTS = {"all of two shards": (SOME, None), "labels": (range(2, 6), "y"), "one": (11, "x"), "all samples": (None, "y")}


@cache
def of_samples(which) -> tuple[bytes, list[np.ndarray]]:
    """A disclosure of some samples, and these."""
    samples, inputs = PARTS[which]
    arrays = [x for x, name in zip(published("by seed")[4], "xy", strict=True) if inputs in (None, name)]
    return bytes(shown(samples, inputs)), [x if samples is None else x[np.atleast_1d(samples)] for x in arrays]


@pytest.mark.parametrize("which", PARTS)
def test_some_samples(which):
    circuit, files, *_ = published("by seed")
    raw, arrays = of_samples(which)
    statement, _, body = reference.read_disclosure(raw)
    assert both(circuit, files, [raw], data=arrays) == tuple(item["commitment"]["number"] for item in statement["items"])
    for number, x in enumerate(arrays):
        changed = [y.copy() for y in arrays]
        changed[number].reshape(-1)[-1] += 1 / 16
        both(circuit, files, [raw], data=changed, check="data")
        both(circuit, files, [raw], data=[*arrays[:number], x[1:], *arrays[number + 1 :]], check="data")
    assert both(circuit, files, [raw], data=[x[::-1] for x in arrays]) == ("refused" if len(arrays[0]) > 1 else (2,))
    assert both(circuit, files, [raw], data=[*arrays, arrays[0]]) == "refused"
    for place in random.Random(which).sample(range(len(body)), 10):
        other = bytearray(body)
        other[place] ^= 1
        assert both(circuit, files, [file_of(statement, bytes(other))], data=arrays) == "refused", place


def test_altered_statements_of_samples():
    circuit, files, *_ = published("by seed")
    raw, arrays = of_samples("all of two shards")
    statement, _, body = reference.read_disclosure(raw)
    for path, changed in alterations(statement, random.Random("samples"), 80):
        try:
            altered_file = file_of(changed, body)
        except (ValueError, TypeError):  # no JSON
            continue
        assert both(circuit, files, [altered_file], data=arrays) == "refused", path
    for numbers in (
        [[1, 3], [3, 4], [10, 11]],
        [[1, 4], [11, 12]],
        [[1, 4]],
        [[1, 4], [5, 6], [10, 11]],
        [[1, 4], [10, 13]],
        [[1, 4, 10, 11]],
        [],
    ):
        changed = statement | {"dataset": statement["dataset"] | {"numbers": numbers}}
        assert both(circuit, files, [file_of(changed, body)], data=arrays) == "refused", numbers
    for inputs in ([], [1, 0], [0], [0, 2], [0, 2**24]):
        changed = statement | {"dataset": statement["dataset"] | {"inputs": inputs}}
        assert both(circuit, files, [file_of(changed, body)], data=arrays) == "refused", inputs


@pytest.mark.parametrize("name", ["format-2-disclosed", "format-2-shards"])
def test_the_frozen_disclosures(name):
    """Of section 23: files that any implementation can be tried on."""
    circuit = json.loads((VECTORS / f"{name}.circuit.json").read_text("utf-8"))
    files = [(VECTORS / f"{name}.proof").read_bytes()]
    reference.verify_chain(circuit, files, minimum_bits=VECTOR_BITS)
    if name == "format-2-disclosed":
        model = (VECTORS / f"{name}.safetensors").read_bytes()
        assert both(circuit, files, [(VECTORS / f"{name}.disclosure").read_bytes()], model=model, bits=VECTOR_BITS) is None
        return
    arrays = [np.array(x) for x in json.loads((VECTORS / f"{name}.data.json").read_text("utf-8"))]
    whole, one = ((VECTORS / f"{name}{which}.disclosure").read_bytes() for which in ("", ".1"))
    assert both(circuit, files, [whole], data=arrays) == (0, 1, 2)
    assert both(circuit, files, [one], data=[x[4:8] for x in arrays]) == (1,)
    some, numbers = (VECTORS / f"{name}.some.disclosure").read_bytes(), [0, 2, 3, 4, 8]
    assert both(circuit, files, [some], data=[x[numbers] for x in arrays], bits=VECTOR_BITS) == (0, 1, 2)
    both(circuit, files, [some], data=[x[[0, 2, 3, 5, 8]] for x in arrays], bits=VECTOR_BITS, check="data")


def test_whatever_has_replaced_commitments():
    """By a seed the first commitments, at a point the present ones; links among the proofs say that they are the same."""
    circuit, run = tiny_run(shard_size=5)
    linked, proof = zkjax.link(run, minimum_bits=BITS), prove_small(circuit, run)
    raws = [bytes(disclose(run, what)) for what in ("parameters", "dataset")]
    arrays = [x * 2.0**-entry.scale for x, entry in zip(run.data.arrays, circuit.inputs, strict=True)]
    wanted = {"model": saved(model_of(run)), "data": arrays}
    assert both(circuit.to_json(), [bytes(proof), bytes(linked)], raws, **wanted) == (0, 1, 2)
    both(circuit.to_json(), [bytes(proof)], raws, check="disclosure", **wanted)


# ---- both refuse ---------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("which", ["last", "first", "data"])
def test_altered_statements(way, which):
    circuit, files, raws, (model, initial), arrays = published(way)
    number = ["last", "first", "data"].index(which)
    statement, _, body = reference.read_disclosure(raws[number])
    wanted = [{"model": model}, {"initial_model": initial}, {"data": arrays}][number]
    for path, changed in alterations(statement, random.Random(f"{way} {which}"), 60):
        try:
            raw = file_of(changed, body)
        except (ValueError, TypeError):  # no JSON
            continue
        assert both(circuit, files, [raw], **wanted) == "refused", path


def test_altered_messages_at_a_point():
    """Every part of a body, and other lengths of it."""
    circuit, files, (last, *_), (model, _), _ = published("at a point")
    statement, _, body = reference.read_disclosure(last)
    chosen = random.Random(0)
    for _ in range(40):
        place, other = chosen.randrange(len(body)), bytearray(body)
        other[place] ^= 1 << chosen.randrange(8)
        assert both(circuit, files, [file_of(statement, bytes(other))], model=model) == "refused", place
    for other in (b"", body[:-1], body + b"\0", body[8:], bytes(len(body))):
        assert both(circuit, files, [file_of(statement, other)], model=model) == "refused"


def test_a_prover_that_claims_other_arrays(monkeypatch):
    """Everything as an honest prover does it, but for the arrays."""
    circuit, files, *_ = published("at a point")
    lie = altered(model_of(with_states()[1][1]), "w", 1)
    found = bytes(about(monkeypatch, lie, "claimed"))
    both(circuit, files, [found], model=saved(lie), check="opening")


@pytest.mark.parametrize("way", WAYS)
def test_altered_arrays(way):
    circuit, files, (last, _, data), (raw, _), arrays = published(way)
    model = loaded(raw)
    for path in model.integers:
        for change in (1, 2**63 - 1, -(2**62) - 1):
            integers = {name: x.copy() for name, x in model.integers.items()}
            integers[path].reshape(-1)[-1] = np.int64(change) if abs(change) > 1 else integers[path].reshape(-1)[-1] + 1
            both(circuit, files, [last], model=saved(replace(model, integers=integers)), check="model")
    for other in (replace(model, step=model.step + 1), replace(model, circuit=bytes(32))):
        both(circuit, files, [last], model=saved(other), check="model")
    for number, x in enumerate(arrays):
        for value in (x.reshape(-1)[-1] + 2.0 ** -circuit["inputs"][number]["scale"], 1e30, np.nan, np.inf):
            changed = [y.copy() for y in arrays]
            changed[number].reshape(-1)[-1] = value
            both(circuit, files, [data], data=changed, check="data")
    both(circuit, files, [data], data=[x[1:] for x in arrays], check="data")
    both(circuit, files, [data], data=[x[..., None] for x in arrays], check="data")


def test_model_files_that_are_none():
    circuit, files, (last, *_), (raw, _), _ = published("by seed")
    length = int.from_bytes(raw[:8], "little")
    header, tensors = json.loads(raw[8 : 8 + length]), raw[8 + length :]

    def file(header, tensors=tensors):
        text = json.dumps(header).encode()
        return len(text).to_bytes(8, "little") + text + tensors

    assert both(circuit, files, [last], model=file(header)) is None
    told = json.loads(header["__metadata__"]["zkjax"])
    for name, value in (("format", 2), ("digest", "0" * 64), ("circuit", "x"), ("step", -1), ("units", {}), ("units", None), ("more", 0)):
        changed = copy.deepcopy(header)
        changed["__metadata__"]["zkjax"] = json.dumps(told | {name: value})
        assert both(circuit, files, [last], model=file(changed)) == "refused", name
    bare = file({"__metadata__": header["__metadata__"]})
    for other in (b"", raw[:-1], raw[:20], bare, file(header, bytes(len(tensors)))):
        assert both(circuit, files, [last], model=other) == "refused"


@pytest.mark.parametrize("log_row, rows, budget", [(6, 1, 1), (6, 3, 4), (7, 2, 2)])
def test_roots_from_seeds(log_row, rows, budget):
    rng = np.random.default_rng(rows)
    matrix, seed = rng.integers(0, reference.P, (rows, 2**log_row), dtype=np.uint64), rng.bytes(32)
    geometry = Geometry(log_row, 2, 4, level_bits=1)
    one = Commitment.of("shard", 3, rows, budget, bytes(32))
    theirs = reference.root_from_seed(geometry.to_json(), one.to_json(), matrix.tolist(), seed)
    assert recomputed_root(matrix, one, geometry, seed) == theirs
