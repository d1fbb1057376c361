"""Two verifiers, one protocol: ``reference/verifier.py``, written from PROTOCOL.md in plain Python, and the package's.

They must accept the same proofs, with the same ledger, and refuse the same altered ones; and both must go on
accepting the proof of format version 2 in ``vectors/``.
"""

import ast
import copy
import json
import math
import random
import struct
import sys
from dataclasses import replace
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from drawing import drawing
from harness import BITS, make_run, mlp_run, prove_small, recorded
from reference import verifier as reference
from reference.verifier import Rejected
from test_graphs import GRAPHS, X, Y, matrix, mean_square
from tiny import chain

import zkjax
from zkjax.algebra import field, threefry
from zkjax.algebra.layout import axis_pieces
from zkjax.commitment import merkle
from zkjax.commitment.commit import Commitment, Part
from zkjax.commitment.geometry import Geometry
from zkjax.errors import ConfigurationError, ZkjaxError
from zkjax.ops.draw import Draw
from zkjax.protocol.schedule import batch_indices, permutation
from zkjax.protocol.transcript import Transcript
from zkjax.verifier import verify_chain

VECTORS = Path(__file__).parent / "vectors"
VECTOR_BITS = 5.0  # of the frozen proof: its geometry is as small as geometries go


@cache
def vector(name: str) -> tuple[dict, bytes]:
    """(circuit's JSON, proof file) of format version 2."""
    return json.loads((VECTORS / f"{name}.circuit.json").read_text("utf-8")), (VECTORS / f"{name}.proof").read_bytes()


def frozen() -> tuple[dict, bytes]:
    """The first of them."""
    return vector("format-2")


def both(circuit: dict, files, bits=BITS, assume_bound=False, check=None, **pins) -> list[float] | None:
    """The bits of each file, or None if the verifiers refuse; they must agree, in every term too, and raise nothing else.

    check: the name under which both refuse. pins: what the verifiers are to require.
    """
    required = dict.fromkeys(("dataset", "initial", "final", "seed", "steps")) | pins
    try:
        proofs = [zkjax.Proof.parse(raw) for raw in files]
        loaded = zkjax.Circuit.from_json(circuit)
        _, ledgers = verify_chain(loaded, proofs, assume_bound=assume_bound, minimum_bits=bits, **required)
        found = [dict(ledger.terms) for ledger in ledgers]
    except ZkjaxError as error:
        with pytest.raises(Rejected) as refused:
            reference.verify_chain(circuit, files, minimum_bits=bits, assume_bound=assume_bound, **pins)
            print("refused by the package only:", error)
        if check is not None:
            assert (getattr(error, "check", None), refused.value.check) == (check, check), (error, refused.value)
        return None
    assert check is None
    errors = reference.verify_chain(circuit, files, minimum_bits=bits, assume_bound=assume_bound, **pins)
    assert len(errors) == len(found)
    for ours, theirs in zip(errors, found):
        assert {name: -math.log2(error) for name, error in ours.items()} == pytest.approx(theirs)
    return [ledger.bits for ledger in ledgers]


def file_of(statement: dict, body: bytes) -> bytes:
    text = reference.canonical(statement)
    return b"zkjaxprf" + struct.pack("<HI", 2, len(text)) + text + body


def leaves(tree, path=()):
    """Paths of all values in a JSON tree that are no containers, and of all lists."""
    if isinstance(tree, dict | list):
        if isinstance(tree, list):
            yield path
        for key, child in tree.items() if isinstance(tree, dict) else enumerate(tree):
            yield from leaves(child, (*path, key))
    else:
        yield path


def altered(value):
    """Other values in the place of one in a JSON tree."""
    if isinstance(value, bool):
        return [not value, int(value)]
    if isinstance(value, int):
        return [value + 1, value - 1, 0, -value - 1, 2**63, 2**80, float(value), str(value), None]
    if isinstance(value, str):
        return [value + "0", value[1:], value.replace("0", "1"), "\x1b", "weights", None]
    if isinstance(value, list):
        return [value[1:], value + value[-1:], value[::-1], [], None, [value]]
    return [0, [], [[]], {}]


def alterations(tree, chosen: random.Random, count: int):
    """``count`` copies of a JSON tree, each with one value altered; (path, tree)."""
    every = list(leaves(tree))
    for _ in range(count):
        path = chosen.choice(every)
        changed = copy.deepcopy(tree)
        at = changed
        for key in path[:-1]:
            at = at[key]
        other = [x for x in altered(at[path[-1]]) if type(x) is not type(at[path[-1]]) or x != at[path[-1]]]
        at[path[-1]] = chosen.choice(other)
        yield path, changed


# ---- what the reference is -----------------------------------------------------------------------------------------
def test_the_reference_is_independent():
    """Standard library only."""
    tree = ast.parse(Path(reference.__file__).read_text("utf-8"))
    imported = {a.name for node in ast.walk(tree) if isinstance(node, ast.Import) for a in node.names}
    imported |= {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert imported <= set(sys.stdlib_module_names)


def test_the_frozen_proof():
    """A change of the protocol has to change the format version, and this test."""
    circuit, raw = frozen()
    assert both(circuit, [raw], VECTOR_BITS) == [pytest.approx(7.367643748899747)]
    assert both(circuit, [raw], 100.0) is None
    alone = (VECTORS / "format-2.link.proof").read_bytes()  # replaces all that the other one opens
    for files in ([raw, alone], [alone, raw]):
        assert len(both(circuit, files, VECTOR_BITS)) == 2
    assert both(circuit, [alone], VECTOR_BITS) is None


# ---- honest proofs -------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", GRAPHS)
def test_graphs(name):
    loss, params, data = GRAPHS[name]
    circuit, run = make_run(loss, params, data, batch=3, steps=3)
    proof = prove_small(circuit, run, reveal=("loss",) if len(name) % 2 else ())
    assert both(circuit.to_json(), [bytes(proof)]) is not None


def attention(p, x, y):
    q, k = (x @ p["q"]).reshape(-1, 2, 3), (x @ p["k"]).reshape(-1, 2, 3)
    scores = jnp.einsum("bid,bjd->bij", jax.nn.relu(q), jax.nn.relu(k))
    return mean_square(jnp.einsum("bij,bjd->bid", scores, q).reshape(-1, 6) @ p["o"], y)


def moved(p, x, y):
    h = jnp.transpose(jax.nn.relu(x @ p["a"]).reshape(-1, 2, 3), (0, 2, 1)).reshape(-1, 6)
    h = jnp.pad(h, ((0, 0), (1, 2)))[:, ::2] + jnp.concatenate([h[:, :2], h[:, 3:6]], 1)[:, ::-1]
    return mean_square(h @ p["b"], y)


MORE = {
    "attention": (attention, {"q": matrix(4, 6), "k": matrix(4, 6), "o": matrix(6, 2)}),
    "transposed, padded, strided": (moved, {"a": matrix(4, 6), "b": matrix(5, 2)}),
}


@pytest.mark.parametrize("name", MORE)
def test_more_graphs(name):
    """Batched products, groups of axes in another order, and every linear operation; a schedule of rates."""
    loss, params = MORE[name]
    circuit, run = make_run(loss, params, (X, Y), batch=3, steps=3, optimizer=optax.sgd(optax.linear_schedule(1 / 64, 1 / 256, 3)))
    assert len(circuit.parameters[0].updates[0].rates) == 3
    assert both(circuit.to_json(), [bytes(prove_small(circuit, run))]) is not None


def test_cut_axes():
    """A net with tensors that are large enough for their axes to be cut into pieces."""
    circuit, run = mlp_run((37, 21, 3), batch=5)
    (layout,) = reference.weights_layouts(reference.Circuit(circuit.to_json()), "final", False).values()
    assert len(layout.boxes) > len(circuit.parameters)
    assert both(circuit.to_json(), [bytes(prove_small(circuit, run, reveal=("loss",)))]) is not None


def test_chain():
    """Three shards, a final shard that is smaller; only the first chunk range-checks, only its losses are revealed."""
    circuit, _, proofs = chain()
    data, files = circuit.to_json(), [bytes(p) for p in proofs]
    assert [any(p.statement.widths) for p in proofs] == [True, False, False]
    assert [p.statement.losses is None for p in proofs] == [False, True, True]
    assert all(len(p.statement.shards) > 1 for p in proofs)
    assert both(data, files) is not None
    assert both(data, files[1:], assume_bound=True) is not None
    assert both(data, files[1:]) is None  # nobody has shown the bound
    for wrong in (files[::-1], [files[0], files[2]], [files[0], files[0]]):
        assert both(data, wrong, assume_bound=True) is None


# ---- altered proofs ------------------------------------------------------------------------------------------------
def test_altered_messages(monkeypatch):
    """A byte of one message of each kind, bytes anywhere, and lengths."""
    (circuit, raw), chosen = frozen(), random.Random(1)
    start = len(raw) - len(zkjax.Proof.parse(raw).body)
    by_label: dict = {}  # label: places of the messages' bytes

    def logged(body, label, size, original=reference.Body.raw):
        by_label.setdefault(label, []).extend(range(start + body.at, start + body.at + size))
        return original(body, label, size)

    monkeypatch.setattr(reference.Body, "raw", logged)
    assert both(circuit, [raw], VECTOR_BITS)
    monkeypatch.undo()
    assert len(by_label) > 20 and sum(map(len, by_label.values())) == len(raw) - start
    for at in [*map(chosen.choice, by_label.values()), *(chosen.randrange(len(raw)) for _ in range(30))]:
        changed = raw[:at] + bytes([raw[at] ^ 1 << chosen.randrange(8)]) + raw[at + 1 :]
        assert both(circuit, [changed], VECTOR_BITS) is None, at
    for length in (0, 7, 8, 13, 14, start - 1, start, start + 31, len(raw) - 1, *(chosen.randrange(len(raw)) for _ in range(5))):
        assert both(circuit, [raw[:length]], VECTOR_BITS) is None
    assert both(circuit, [raw + b"\0"], VECTOR_BITS) is None


@pytest.mark.parametrize("vector", [True, False])
def test_altered_statements(vector):
    circuit, raw = frozen() if vector else (chain().circuit.to_json(), bytes(chain().proofs[1]))
    proof = zkjax.Proof.parse(raw)
    statement = proof.statement.to_json()
    assert file_of(statement, proof.body) == raw
    for path, changed in alterations(statement, random.Random(2), 150):
        assert both(circuit, [file_of(changed, proof.body)], VECTOR_BITS, True) is None, path
    for path in list(leaves(statement)):
        if len(path) == 1:  # a field is missing
            assert both(circuit, [file_of({k: v for k, v in statement.items() if k != path[0]}, proof.body)], VECTOR_BITS, True) is None
    text = reference.canonical(statement)
    for other in (text.replace(b":", b": ", 1), text[::-1], text + b" "):
        assert both(circuit, [b"zkjaxprf" + struct.pack("<HI", 1, len(other)) + other + proof.body], VECTOR_BITS, True) is None


def test_a_commitment_of_another_root():
    """The statement stays consistent, and is another one: only the opening can tell."""
    circuit, _, proofs = chain()
    statement = proofs[1].statement.to_json()
    for name in ("initial", "final"):
        changed = copy.deepcopy(statement)
        changed[name]["root"] = changed[name]["root"][::-1]
        assert both(circuit.to_json(), [file_of(changed, proofs[1].body)], assume_bound=True) is None
    assert both(circuit.to_json(), [file_of(statement, proofs[2].body)], assume_bound=True) is None


@pytest.mark.parametrize("name", ["format-2", "format-2-states", "format-2-draws"])
def test_every_message_and_every_draw(name):
    """The frozen proofs' transcripts: every message in its order, and what is drawn after it, by both verifiers."""
    circuit, raw = json.loads((VECTORS / f"{name}.circuit.json").read_text("utf-8")), (VECTORS / f"{name}.proof").read_bytes()
    expected = json.loads((VECTORS / f"{name}.transcript.json").read_text("utf-8"))
    ours = recorded(Transcript, "_draw", lambda: zkjax.verify(zkjax.Circuit.from_json(circuit), zkjax.Proof.parse(raw), minimum_bits=5.0))
    theirs = recorded(reference.Transcript, "draw", lambda: reference.verify(circuit, raw, minimum_bits=5.0))
    assert ours == expected == theirs and len(expected) > 100
    assert {label.split()[0] for _, label, _, _ in expected} >= {"lookup", "level", "trace", "statement"}


def test_altered_circuits():
    """The same circuits are refused before there is any proof, and the others have the same digest, shapes and levels."""
    accepted = 0
    circuits = [frozen()[0], chain().circuit.to_json(), drawing().to_json()]
    for circuit in circuits:
        for path, changed in alterations(circuit, random.Random(3), 1000):
            try:
                loaded = zkjax.Circuit.from_json(changed)
            except ZkjaxError:
                with pytest.raises(Rejected):
                    reference.Circuit(changed)
                    print("refused by the package only:", path)
                continue
            checked = reference.Circuit(changed)
            accepted += 1
            assert checked.digest == loaded.digest().hex() and checked.shapes == [x.shape for x in loaded.nodes]
            assert (checked.digest == reference.circuit_digest(circuit)) == (path[0] == "notes"), path
    assert accepted > 50


# ---- sections on their own -------------------------------------------------------------------------------------------
def test_geometries():
    for log_row in (2, 5, 9, 10, 12, 15):
        for rate in (1, 2, 4):
            for budget in (1, 4):
                for bits in (1, 20, 60, 104):
                    numbers = {"log_row": log_row, "log_inverse_rate": rate, "max_budget": budget, "level_bits": bits}
                    try:
                        found = Geometry(**numbers).check()
                    except ConfigurationError:
                        with pytest.raises(Rejected):
                            reference.check_geometry_fields(numbers | {"hash": "blake2s-256"})
                            reference.check_geometry(numbers)
                        continue
                    reference.check_geometry_fields(found.to_json())
                    assert reference.check_geometry(numbers) == found.queries
                    assert reference.geometry_digest(found.to_json()) == found.digest()
                    levels, clear = reference.plan(log_row, bits)[1:]
                    assert [(x.length, x.rows, x.rate, x.queries) for x in levels] == [*map(tuple, found.plan()[0])]
                    assert clear == found.plan()[1]


def test_axis_pieces():
    for length in [*range(1, 1100), 1536, 3548, 4095, 50257, 2**22 - 1]:
        assert reference.axis_pieces(length) == list(axis_pieces(length)), length


def test_schedules():
    chosen = random.Random(4)
    for _ in range(30):
        samples, first, steps = chosen.randrange(1, 60), chosen.randrange(20), chosen.randrange(1, 12)
        batch, size, seed = chosen.randrange(1, samples + 1), chosen.randrange(1, 70), chosen.randrange(2**64)
        statement = {"samples": samples, "shard_size": size, "steps": steps, "first_step": first, "seed": seed}
        assert reference.batches(statement, batch) == batch_indices(seed, samples, size, batch, first, steps).tolist()


class PackageValues:
    """What section 22 lists, by the package."""

    root_of_unity = staticmethod(field.root_of_unity)
    tag = staticmethod(merkle.part_tag)
    pair = staticmethod(merkle.pair)
    node = staticmethod(merkle.node)

    @staticmethod
    def transcript():
        t = Transcript(b"parameters", b"statement")
        yield t.state.hex()
        x = t.challenge("x")
        yield f"{x.c0} + {x.c1} φ"
        t.absorb("y", b"abc")
        yield t.state.hex()
        yield " ".join(map(str, t.indices("queries", 4, 10)))

    @staticmethod
    def geometry(numbers):
        found = Geometry(**numbers)
        levels, clear = found.plan()
        return found.queries, found.errors, [tuple(x) for x in levels], clear, found.digest()

    @staticmethod
    def column(tag, index, salt, entries):
        return merkle.leaf(tag, index, salt, np.array(entries, dtype=np.uint64))

    @staticmethod
    def commitment(numbers, kind, number, parts, root, name=None):
        found, geometry = Commitment(kind, number, tuple(Part(*part) for part in parts), root), Geometry(**numbers)
        return found.part_digest(geometry, name) if name else found.digest(geometry)

    @staticmethod
    def weights(kind, digest, f, shifts):
        any_one = replace(zkjax.Proof.parse(vector("format-2-states")[1]).statement, shifts=shifts)
        return (any_one.weights_behind if kind == "weights" else any_one.state_behind)(digest, f)

    @staticmethod
    def permutation(*arguments):
        return permutation(*arguments).tolist()

    @staticmethod
    def threefry(key, counter):
        words = threefry.block([np.uint32([k]) for k in key], *(np.uint32([x]) for x in counter))
        return " ".join(f"{int(w[0]):x}" for w in words)

    @staticmethod
    def drawn(shape, words, path, shift, step):
        one = Draw(shape, words, path, shift, 0)
        return " ".join(map(str, one.values(one.keys(step, 1)[0]).reshape(-1)))

    @staticmethod
    def batches(seed, samples, size, batch, first, steps):
        return batch_indices(seed, samples, size, batch, first, steps).tolist()


class ReferenceValues:
    """What section 22 lists, by the reference."""

    root_of_unity = staticmethod(reference.root_of_unity)
    tag = staticmethod(reference.part_tag)
    column = staticmethod(reference.column_digest)
    node = staticmethod(reference.inner_node)
    weights = staticmethod(reference.weights_name)
    permutation = staticmethod(reference.permutation)

    @staticmethod
    def transcript():
        t = reference.Transcript()
        for name in ("parameters", "statement"):
            t.absorb(name, name.encode())
        yield t.state.hex()
        x = t.element("x")
        yield f"{x.c0} + {x.c1} φ"
        t.absorb("y", b"abc")
        yield t.state.hex()
        yield " ".join(str(word % 2**10) for word in struct.unpack("<4I", t.draw("queries", 16)))

    @staticmethod
    def geometry(numbers):
        row, queries = 2 ** numbers["log_row"], reference.check_geometry(numbers)
        errors = reference.radius(row, row << numbers["log_inverse_rate"], numbers["max_budget"] * queries)
        _, levels, clear = reference.plan(numbers["log_row"], numbers["level_bits"])
        digest = reference.geometry_digest(numbers | {"hash": "blake2s-256"})
        return queries, errors, [(x.length, x.rows, x.rate, x.queries) for x in levels], clear, digest

    @staticmethod
    def pair(first, second):
        return reference.leaf([first, second])

    @staticmethod
    def commitment(numbers, kind, number, parts, root, name=None):
        parts = [dict(zip(("name", "rows", "budget"), part)) for part in parts]
        found, geometry = (
            {"kind": kind, "number": number, "parts": parts, "root": root.hex(), "masked": False},
            numbers | {"hash": "blake2s-256"},
        )
        return reference.part_digest(geometry, found, name) if name else reference.commitment_digest(geometry, found)

    @staticmethod
    def threefry(key, counter):
        return " ".join(f"{w:x}" for w in reference.threefry(key, counter))

    @staticmethod
    def drawn(shape, words, path, shift, step):
        node = {"shape": list(shape), "words": list(words), "path": list(path), "shift": shift, "threshold": 0}
        found = SimpleNamespace(nodes=[node], shapes=[shape])
        return " ".join(map(str, reference.drawn(found, 0, step)))

    @staticmethod
    def batches(seed, samples, size, batch, first, steps):
        statement = {"samples": samples, "shard_size": size, "steps": steps, "first_step": first, "seed": seed}
        return reference.batches(statement, batch)


@pytest.mark.parametrize("by", [PackageValues, ReferenceValues])
def test_the_vectors_of_the_protocol(by):
    """Section 22, all of it, as either implementation would have written it; only white space is free."""
    start, drawn, absorbed, indices = by.transcript()
    names = ("log_row", "log_inverse_rate", "max_budget", "level_bits")
    first, second, third = (dict(zip(names, numbers)) for numbers in ((10, 2, 4, 20), (17, 2, 4, 104), (19, 1, 8, 104)))

    def geometry(numbers):
        queries, errors, levels, clear, _ = by.geometry(numbers)
        word = "level" if len(levels) == 1 else "levels"
        return f"q = {queries}, e = {errors}, {word} {', '.join(map(str, levels))}, log_clear {clear}"

    tag, zeros, ones = by.tag("shard", 7, "cells"), bytes(32), bytes([1]) * 32
    shard = first, "shard", 7, [("cells", 3, 2)], zeros
    weights = first, "weights", 5, [("parameters", 3, 2), ("other", 1, 4)], zeros
    shifts = 0, 2, 0
    expected = f"""
    root of unity of order 8 {by.root_of_unity(3)}; of order 2^32 {by.root_of_unity(32)}
    transcript("parameters" = ASCII parameters, "statement" = ASCII statement):
      state {start}
      draw("x"), one element {drawn}
      then absorb("y", ASCII abc): state {absorbed}
      then draw("queries"), 4 indices below 2^10 {indices}
    geometry log_row 10, log_inverse_rate 2, max_budget 4, level_bits 20: {geometry(first)}
      digest {by.geometry(first)[-1].hex()}
    geometry 17, 2, 4, 104: {geometry(second)}
    geometry 19, 1, 8, 104: {geometry(third)}
    tag("shard", 7, "cells") {tag.hex()}
      column digest for x = 5, salt 00 01 .. 0f, entries 1 2 3 {by.column(tag, 5, bytes(range(16)), [1, 2, 3]).hex()}
    leaf of two parts, column digests 32 bytes 00, 32 bytes 01 {by.pair(zeros, ones).hex()}
    node(32 bytes 00, 32 bytes 01) {by.node(zeros, ones).hex()}
    digest of (shard, 7, cells with rows 3, budget 2, root 32 bytes 00, not masked) in the first geometry {by.commitment(*shard).hex()}
    digest of (weights, 5, parameters with rows 3, budget 2, other with rows 1, budget 4, the same root, not masked), there
      {by.commitment(*weights).hex()}
      of its part "other" {by.commitment(*weights, "other").hex()}
    weights digest of a part with digest 32 bytes 00, f 32 bytes 01, shifts 0 2 0 {by.weights("weights", zeros, ones, shifts).hex()}
      state digest of a commitment of that digest, no f, the same shifts {by.weights("state", zeros, b"", shifts).hex()}
    permutation(10) of seed 1, epoch 2, shard 3 {" ".join(map(str, by.permutation(10, 1, 2, 3)))}
    batches of seed 5, 10 samples, shards of 4, B = 3, t0 = 2, T = 3
    {" | ".join(" ".join(map(str, step)) for step in by.batches(5, 10, 4, 3, 2, 3))}
    threefry of the key 13198a2e 3707344, counter 243f6a88 85a308d3 {by.threefry((0x13198A2E, 0x3707344), (0x243F6A88, 0x85A308D3))}
    draw of shape 2 3, words 1 2, path 7 -1 -2, shift 29, threshold 0, in step 3 {by.drawn((2, 3), (1, 2), (7, -1, -2), 29, 3)}
    """
    protocol = (Path(zkjax.__file__).parent / "PROTOCOL.md").read_text("utf-8")
    _, heading, section = protocol.partition("## 22. Test vectors\n")
    assert heading and "\n## " not in section
    assert section.split() == expected.split()
