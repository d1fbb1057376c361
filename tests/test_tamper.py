"""Everything in a statement, a proof and a circuit is altered, by generation: nothing altered verifies, nothing else is raised."""

import json
import os
import random
import struct
import subprocess
import sys
from pathlib import Path

import pytest
import refusals
from harness import prove_small
from replay import Frozen, messages, outcome
from tiny import chain
from trees import at, places, with_value, without

import zkjax
from zkjax.algebra.field import P
from zkjax.errors import FormatError, VerificationError
from zkjax.proofs.proof import MAGIC, VERSION


def file_of(statement: dict, body: bytes) -> bytes:
    """A proof file with this statement in canonical form."""
    text = json.dumps(statement, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()
    return MAGIC + struct.pack("<HI", VERSION, len(text)) + text + body


def bytes_of(proof, body=None) -> bytes:
    return bytes(zkjax.Proof(proof.statement, proof.body if body is None else body))


# ---- JSON -------------------------------------------------------------------------------------------------------
def plus_one(value):
    """The nearest other value of the same type; None where there is none."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + 1
    if isinstance(value, str):
        digits = "0123456789abcdef"
        return value[:-1] + digits[(digits.index(value[-1]) + 1) % 16] if value and value[-1] in digits else value + "x"
    return None


def wrong_types(value):
    yield from (None, 1.5, float("nan"), {}, {"x": value}, [[value]])
    if not isinstance(value, str):
        yield json.dumps(value)
    if not isinstance(value, bool):
        yield True
    if not isinstance(value, list):
        yield [value]
    if isinstance(value, int):
        yield float(value)
        yield from (-1, 2**64, 10**30)
    else:
        yield 7
    if isinstance(value, str):
        yield from ("", value.upper() + " ", value + "00", "\x00", "é")


def alterations(tree, others):
    """(kind, path, altered tree) for every place of a JSON tree."""
    for path, value in places(tree):
        container = isinstance(value, (dict, list))
        if path:
            yield "removed", path, without(tree, path)
            for other in others:
                try:
                    swapped = at(other, path)
                except (KeyError, IndexError, TypeError):
                    continue
                if swapped != value:
                    yield "swapped", path, with_value(tree, path, swapped)
        if isinstance(value, dict):
            yield "added", path, with_value(tree, path, {**value, "more": 0})
        if isinstance(value, list):
            yield "added", path, with_value(tree, path, [*value, value[-1] if value else 0])
            if len(value) > 1 and value[::-1] != value:
                yield "reversed", path, with_value(tree, path, value[::-1])
        if not container and plus_one(value) is not None:
            yield "plus one", path, with_value(tree, path, plus_one(value))
        if isinstance(value, int) and not isinstance(value, bool) and value > 0:
            yield "minus one", path, with_value(tree, path, value - 1)
        for wrong in wrong_types(value):
            if wrong != value or type(wrong) is not type(value):
                yield "type", path, with_value(tree, path, wrong)


def general(path) -> str:
    """A path without the places in lists."""
    return ".".join(str(key) for key in path if not isinstance(key, int))


# ---- the honest proof --------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def honest():
    """(circuit, proof with losses and two of three shards)."""
    circuit, _, proofs = chain()
    assert len(proofs[0].statement.shards) == 2
    return circuit, proofs[0]


@pytest.fixture(scope="module")
def log(honest):
    return messages(*honest)


@pytest.fixture(scope="module")
def frozen(honest):
    return Frozen(*honest)


# ---- the statement ----------------------------------------------------------------------------------------------
def others():
    """Statements of the next proof of the same chain, and of a chain with other data, weights and commitments."""
    return [chain().proofs[1].statement.to_json(), chain(seed=1).proofs[0].statement.to_json()]


OTHER_CHALLENGES = "Merkle path"  # where only the transcript differs, other columns are asked for
COMMITMENT = ("kind", "number", "parts.name", "parts.rows", "parts.budget", "root", "masked")
EXPECTED = {  # which check refuses a leaf that is one more; None: it is not even a statement
    "circuit": {"circuit"},
    "geometry.log_row": {"dataset"},  # digests of commitments bind the geometry
    "geometry.log_inverse_rate": {"dataset"},
    "geometry.max_budget": {"geometry"},
    "geometry.level_bits": {"geometry"},
    "geometry.hash": {None},
    "dataset": {"dataset"},
    "dataset_after": {"dataset after"},
    "samples": {"dataset"},
    "shard_size": {"shards"},  # the schedule reads others
    "shards.root": {"dataset"},
    "shards.kind": {None},  # there is no such kind
    "shards.parts.name": {None},
    "siblings": {"dataset"},
    "seed": {OTHER_CHALLENGES},  # by chance the same shards
    "first_step": {"commitment to weights 1"},
    "steps": {"bounds"},
    "shifts": {"bounds"},
    "widths": {"bounds"},
    "given": {"statement"},
    "initial_bound": {"bounds"},
    "final_bound": {"bounds"},
    "losses": {OTHER_CHALLENGES},
} | {
    f"{which}.{name}": {"root": {OTHER_CHALLENGES}, "kind": {None}, "parts.name": {None}}.get(name, {f"commitment to weights {step}"})
    for which, step in (("initial", 0), ("final", 2))
    for name in COMMITMENT
}
EXPECTED["initial.number"] = {OTHER_CHALLENGES}  # a first commitment may be another training's last one, of any number
# Altered so, the very same equations hold: what binds these leaves is that the transcript absorbs them first.
STATEMENT_BY_HASHING_ALONE = {("minus one", "initial.parts.budget"), ("minus one", "final.parts.budget")}


def test_every_place_of_the_statement(honest, frozen):
    circuit, proof = honest
    data = proof.statement.to_json()
    seen: dict = {}
    by_hashing = set()
    for kind, path, altered in alterations(data, others()):
        raw, name = file_of(altered, proof.body), general(path)
        found = outcome(circuit, raw)
        assert found is not None, (kind, path)
        seen.setdefault(kind, {}).setdefault(name, set()).add(found)
        if found == (VerificationError, OTHER_CHALLENGES) or kind != "type":
            if frozen.outcome(circuit, raw) is None:
                by_hashing.add((kind, name))
        if kind == "type":  # a few wrong types are other values of the right one
            assert found[0] is FormatError or name.split(".")[-1] in ("max_budget", "losses", "widths"), (path, at(altered, path))
        if kind in ("removed", "added") and isinstance(at(data, path[:-1] if kind == "removed" else path), dict):
            assert found[0] is FormatError, (kind, path)
    assert by_hashing == STATEMENT_BY_HASHING_ALONE
    leaves = {general(path) for path, value in places(data) if not isinstance(value, (dict, list))}
    assert set(seen["plus one"]) >= leaves - {"frozen"} and all(set(seen[kind]) >= leaves for kind in ("removed", "type"))
    assert len(set(seen["swapped"]) & leaves) >= 10
    shards = {f"shards.{name}" for name in COMMITMENT} - set(EXPECTED)
    assert set(EXPECTED) | shards | {"frozen"} == leaves  # there are no frozen parameters
    for name in shards:
        assert {check for _, check in seen["plus one"][name]} == {"commitment to shard 0", "commitment to shard 2"}
    for name, checks in EXPECTED.items():
        assert {check for _, check in seen["plus one"][name]} == checks, name


# What a proof does not read of a part that stays closed is its budget and its height; of an opened one, whether it may be opened again.
PARTS_BY_HASHING_ALONE = {("plus one", "initial.parts.rows"), ("minus one", "links.to.parts.budget")} | {
    ("minus one", f"{name}.parts.budget") for name in ("initial", "final", "frozen.commitment", "links.to")
}


def test_every_place_of_a_statement_with_parts():
    """Of a chunk with frozen parameters, with a part that stays closed, and with links: see ``holding.py``."""
    circuit, proof = refusals.frozen(refusals.PARTED)
    data, frozen = proof.statement.to_json(), Frozen(circuit, proof)
    seen: dict = {}
    by_hashing = set()
    for kind, path, altered in alterations(data, [refusals.parted()[2].to_json()]):
        if path[:1] not in {(field,) for field in ("initial", "final", "frozen", "links", "shifts", "given")}:
            continue  # as in a statement without parts
        raw, name = file_of(altered, proof.body), general(path)
        found = outcome(circuit, raw)
        assert found is not None, (kind, path)
        seen.setdefault(kind, {}).setdefault(name, set()).add(found)
        if (found == (VerificationError, OTHER_CHALLENGES) or kind != "type") and frozen.outcome(circuit, raw) is None:
            by_hashing.add((kind, name))
        assert kind != "type" or found[0] is FormatError, (path, at(altered, path))
    assert by_hashing == PARTS_BY_HASHING_ALONE
    refused = {name: {check for _, check in checks} for name, checks in seen["plus one"].items()}
    assert refused["frozen.parameters"] == {"statement"}
    for name, check, root in (
        ("frozen.commitment", "commitment to frozen 0", OTHER_CHALLENGES),
        ("initial", "commitment to weights 0", OTHER_CHALLENGES),
        ("final", "commitment to weights 5", OTHER_CHALLENGES),
        ("links.to", None, OTHER_CHALLENGES),
    ):
        checks = {check} if check else {"link from final", "link from frozen"}
        closed = {OTHER_CHALLENGES} if name == "initial" else set()
        assert refused[f"{name}.root"] == {root} and refused[f"{name}.kind"] == refused[f"{name}.parts.name"] == {None}
        assert refused[f"{name}.masked"] == refused[f"{name}.parts.budget"] == checks
        assert refused[f"{name}.number"] == (closed or checks)  # that of a first commitment may be any
        assert refused[f"{name}.parts.rows"] == checks | closed
    parts = {check for _, check in seen["removed"]["initial.parts"]}
    assert parts == {None, OTHER_CHALLENGES, "commitment to weights 0"} and {c for _, c in seen["reversed"]["final.parts"]} == {None}


def test_changes_that_agree_with_each_other(honest, frozen):
    """Consistent changes of several fields; those that make a true statement of the same computation are bound by hashing alone."""
    circuit, proof = honest
    s, data = proof.statement, proof.statement.to_json()
    looser = tuple(b + 1 for b in s.initial_bound)
    steps = circuit.bounds(s.initial_bound, 1).final
    passes = {
        "looser bounds": {"initial_bound": list(looser), "final_bound": list(circuit.bounds(looser, s.steps).final)},
        "looser bound of one parameter": {
            "initial_bound": [*s.initial_bound[:3], s.initial_bound[3] + 7],
            "final_bound": [*s.final_bound[:3], s.final_bound[3] + 7],
        },
        "budgets": {w: {**data[w], "parts": [{**part, "budget": 1} for part in data[w]["parts"]]} for w in ("initial", "final")},
    }
    fails = {
        "a later chunk": {
            "first_step": 4,
            "initial": {**data["initial"], "number": 4},
            "final": {**data["final"], "number": 6},
        },
        "fewer steps": {
            "steps": 1,
            "final": {**data["final"], "number": 1},
            "final_bound": list(steps),
            "losses": [data["losses"][0][:1]],
        },
        "ends exchanged": {"initial": {**data["final"], "number": 0}, "final": {**data["initial"], "number": 2}},
        "nothing trained": {"final": {**data["initial"], "number": 2}},
        "losses exchanged": {"losses": [data["losses"][0][::-1]]},
        "losses modulo p": {"losses": [[v - P for v in data["losses"][0]]]},
        "losses hidden": {"losses": None},
        "coarser start": {
            "shifts": [v + 1 for v in s.shifts],
            "initial_bound": [2 * b for b in s.initial_bound],
            "final_bound": list(circuit.bounds(tuple(2 * b for b in s.initial_bound), s.steps).final),
        },
        "no range check": {"widths": [0] * len(s.widths), "shifts": [0] * len(s.shifts)},
        "another seed": {"seed": 3},
    }
    for name, change in (passes | fails).items():
        raw = file_of({**data, **change}, proof.body)
        assert outcome(circuit, raw, assume_bound=True) is not None, name
        assert (frozen.outcome(circuit, raw) is None) == (name in passes), name


def test_the_statement_has_one_form(honest):
    """Other texts for the same JSON are refused, so that one statement is one sequence of bytes."""
    circuit, proof = honest
    text = proof.statement.canonical()
    swap = b'"circuit":"%s"' % proof.statement.circuit.hex().encode()
    variants = {
        "white space": text.replace(b":", b": "),
        "a line": text + b"\n",
        "leading space": b" " + text,
        "order": json.dumps(dict(sorted(json.loads(text).items(), reverse=True)), separators=(",", ":")).encode(),
        "repeated key": text.replace(swap, swap + b"," + swap),
        "escape": text.replace(b'"seed"', b'"se\\u0065d"'),
        "float": text.replace(b'"seed":1', b'"seed":1.0'),
        "exponent": text.replace(b'"seed":1', b'"seed":1e0'),
        "minus": text.replace(b'"first_step":0', b'"first_step":-0'),
        "upper case": text.replace(proof.statement.circuit.hex().encode(), proof.statement.circuit.hex().upper().encode()),
        "byte order mark": b"\xef\xbb\xbf" + text,
        "utf-16": text.decode().encode("utf-16"),
        "nothing": b"",
        "null": b"null",
        "list": b"[" + text + b"]",
        "half": text[: len(text) // 2],
        "deep": b"[" * 100_000,
        "many digits": text.replace(b'"seed":1', b'"seed":' + b"1" * 5000),
        "not a number": text.replace(b'"seed":1', b'"seed":NaN'),
        "infinity": text.replace(b'"seed":1', b'"seed":-Infinity'),
    }
    for name, variant in variants.items():
        assert variant != text, name
        raw = MAGIC + struct.pack("<HI", VERSION, len(variant)) + variant + proof.body
        assert outcome(circuit, raw) == (FormatError, None), name


def test_header(honest):
    circuit, proof = honest
    raw = bytes(proof)
    header = len(MAGIC) + 6
    for i in range(header):
        for change in (1, 128, 255):
            altered = bytearray(raw)
            altered[i] = (altered[i] + change) % 256
            assert outcome(circuit, bytes(altered)) == (FormatError, None), i
    for size in (*range(header + 1), header + len(proof.statement.canonical()) - 1):
        assert outcome(circuit, raw[:size]) == (FormatError, None), size
    for length in (0, 2**24 + 1, 2**32 - 1):
        altered = MAGIC + struct.pack("<HI", VERSION, length) + raw[header:]
        assert outcome(circuit, altered) == (FormatError, None)
    with pytest.raises(FormatError, match=f"version {VERSION + 1}"):
        zkjax.Proof.parse(MAGIC + struct.pack("<HI", VERSION + 1, 0) + raw[header:])


# ---- the body ---------------------------------------------------------------------------------------------------
LABELS = (
    "trace root",
    "lookup root",
    "lookup values",
    "lookup round",
    "level 3: linear terms",
    "level 3 round",
    "level 3 values",
    "level 2: linear terms",
    "level 2 round",
    "level 2 values",
    "gates round",
    "gates: last product",
    "triple values",
    "row round",
    "mu",
    "folded padding",
    "folded pads",
    "level root",
    "salts",
    "columns",
    "siblings",
    "level round",
    "final vector",
)


def word_plus_one(body: bytes, offset: int) -> bytes:
    return body[:offset] + ((int.from_bytes(body[offset : offset + 8], "little") + 1) % P).to_bytes(8, "little") + body[offset + 8 :]


def byte_plus_one(body: bytes, offset: int) -> bytes:
    return body[:offset] + bytes([(body[offset] + 1) % 256]) + body[offset + 1 :]


def spots(message, rng):
    """First, last and a random element of a message, as (function that alters it, offset)."""
    if message.is_digests:
        return [(byte_plus_one, message.offset + i) for i in {0, message.size - 1, rng.randrange(message.size)}]
    count = message.size // 8
    return [(word_plus_one, message.offset + 8 * i) for i in {0, count - 1, rng.randrange(count)}]


def test_no_message_is_without_a_test(log):
    assert {m.label for m in log} == set(LABELS)


@pytest.mark.parametrize("label", LABELS)
def test_every_message(honest, log, frozen, label):
    """Plus one in the messages of every label, without fresh challenges: at three places of three of them, and at one of six more.
    With fresh ones in one message, for what they refuse is another transcript, alike for all. One is swapped, dropped, repeated, not
    canonical, and two are exchanged: that is refused where messages of this label are read, by the same code for each.
    ``test_every_place_of_the_body`` does all of it to every word.
    """
    circuit, proof = honest
    rng = random.Random(label)
    noise = random.Random(0).randbytes(len(proof.body))
    following = [m for m in log if m.label == label]
    chosen = following if len(following) <= 3 else [following[0], following[-1], rng.choice(following[1:-1])]
    for m in chosen:
        for alter, offset in spots(m, rng):
            altered = bytes_of(proof, alter(proof.body, offset))
            assert frozen.outcome(circuit, altered) is not None  # by an equation, not by hashing alone
            assert m is not chosen[0] or outcome(circuit, altered) is not None
    others = [m for m in following if m not in chosen]
    for m in rng.sample(others, min(6, len(others))):
        alter, offset = rng.choice(spots(m, rng))
        assert frozen.outcome(circuit, bytes_of(proof, alter(proof.body, offset))) is not None, m
    m = rng.choice(following)
    content = m.cut(proof.body)
    swapped = bytes(x & 0x7F for x in noise[m.offset : m.offset + m.size])
    for replacement in (swapped, b"", content + content, content[:-8], content + bytes(8), bytes(len(content))):
        found = outcome(circuit, bytes_of(proof, m.replaced(proof.body, replacement)))
        assert found is not None and (len(replacement) == len(content) or found[0] in (FormatError, VerificationError))
    if len(following) > 1:
        a, b = following[0], following[1]
        exchanged = proof.body[: a.offset] + b.cut(proof.body) + proof.body[a.offset + a.size : b.offset] + a.cut(proof.body)
        assert outcome(circuit, bytes_of(proof, exchanged + proof.body[b.offset + b.size :])) is not None
    if not m.is_digests:
        for offset in range(m.offset, m.offset + m.size, 8):
            value = int.from_bytes(proof.body[offset : offset + 8], "little")
            for wrong in {P, 2**64 - 1, value + P if value + P < 2**64 else P + 1}:
                raw = bytes_of(proof, proof.body[:offset] + wrong.to_bytes(8, "little") + proof.body[offset + 8 :])
                assert outcome(circuit, raw) == (FormatError, None)
            if offset - m.offset >= 8:
                break


@pytest.mark.slow
@pytest.mark.parametrize("label", LABELS)
def test_every_place_of_the_body(honest, log, frozen, label):
    """Every word of every message plus one, every digest and salt in its first byte; each message swapped, dropped and repeated."""
    circuit, proof = honest
    noise = random.Random(1).randbytes(len(proof.body))
    for m in (m for m in log if m.label == label):
        alter, step = (byte_plus_one, 16) if m.is_digests else (word_plus_one, 8)
        for offset in range(m.offset, m.offset + m.size, step):
            assert frozen.outcome(circuit, bytes_of(proof, alter(proof.body, offset))) is not None, (m, offset)
        content = m.cut(proof.body)
        swapped = bytes(x & 0x7F for x in noise[m.offset : m.offset + m.size])
        for replacement in (swapped, b"", content + content):
            raw = bytes_of(proof, m.replaced(proof.body, replacement))
            assert outcome(circuit, raw) is not None and frozen.outcome(circuit, raw) is not None, m


def test_messages_of_another_proof(honest, log):
    """Each message exchanged for the same message of another valid proof of the same run."""
    circuit, proof = honest
    run = chain().runs[0]
    run.chain.openings.spent.clear()
    run.chain.openings.replaced.clear()  # whatever other tests have proven of it
    other = prove_small(circuit, run, reveal=("loss",))
    assert other.statement == proof.statement
    theirs = messages(circuit, other)
    assert [m.label for m in theirs] == [m.label for m in log]
    by_label = {label: [i for i, m in enumerate(log) if m.label == label] for label in LABELS}
    for i in sorted({i for found in by_label.values() for i in (found[0], found[len(found) // 2], found[-1])}):
        mine, their = log[i], theirs[i]
        altered = mine.replaced(proof.body, their.cut(other.body))
        assert altered != proof.body
        assert outcome(circuit, bytes_of(proof, altered)) is not None, mine
    for cut in range(1, len(log), 20):  # the first messages of one, the rest of the other
        altered = proof.body[: log[cut].offset] + other.body[theirs[cut].offset :]
        assert outcome(circuit, bytes_of(proof, altered)) is not None
    assert outcome(circuit, bytes_of(chain().proofs[1], proof.body), assume_bound=True) is not None


def test_truncated_and_extended(honest, log):
    circuit, proof = honest
    by_label = {label: [m for m in log if m.label == label] for label in LABELS}
    for m in (m for found in by_label.values() for m in {found[0], found[-1]}):
        assert outcome(circuit, bytes_of(proof, proof.body[: m.offset])) == (FormatError, None), m
    for m in {m.label: m for m in log}.values():
        for end in (m.offset + 1, m.offset + m.size - 1):
            assert outcome(circuit, bytes_of(proof, proof.body[:end])) == (FormatError, None), m
    for tail in (b"\0", bytes(8), proof.body[-8:], proof.body, MAGIC):
        assert outcome(circuit, bytes_of(proof, proof.body + tail)) == (FormatError, None)
    for head in (b"\0", bytes(8), proof.body[:32]):
        assert outcome(circuit, bytes_of(proof, head + proof.body)) is not None


def test_random_bits(honest):
    circuit, proof = honest
    raw, rng = bytes(proof), random.Random(0)
    for _ in range(60):
        altered = bytearray(raw)
        for _ in range(rng.choice((1, 1, 2, 8))):
            altered[rng.randrange(len(raw))] ^= 1 << rng.randrange(8)
        assert outcome(circuit, bytes(altered)) is not None


# ---- the circuit ------------------------------------------------------------------------------------------------
CIRCUIT_BY_HASHING_ALONE = {  # text and units for people; more than is used
    ("inputs.name", "plus one"),
    ("inputs.scale", "plus one"),
    ("inputs.scale", "minus one"),
    ("losses.factor", "minus one"),
    ("losses.factor", "reversed"),
    ("losses.output", "plus one"),
    ("max_steps", "type"),  # a limit where there was none
    ("nodes", "added"),  # an operation that nothing reads
    ("nodes.label", "plus one"),
    ("nodes.scale", "plus one"),
    ("nodes.scale", "minus one"),
    ("parameters.path", "plus one"),
    ("parameters.unit", "plus one"),
    ("parameters.unit", "minus one"),
    ("parameters.unit", "reversed"),
    ("table_bits", "plus one"),  # how limbs are cut: these have one each
}


def test_every_place_of_the_circuit(honest, frozen):
    """An altered circuit is refused, or has another digest; a proof whose statement names that digest is refused by equations."""
    circuit, proof = honest
    data, statement, rng = circuit.to_json(), proof.statement.to_json(), random.Random(0)
    by_hashing, loaded, refused = set(), set(), set()
    for kind, path, altered in alterations(data, []):
        name = general(path)
        if kind == "type" and rng.random() < 0.92 and name != "max_steps":
            continue
        if name in ("nodes.label", "nodes.scale") and path[1] % 9:
            continue  # for people, in every operation
        try:
            other = zkjax.Circuit.from_json(altered)
        except (FormatError, zkjax.UnsupportedOperationError):
            refused.add(name)
            continue
        if other.digest() == circuit.digest():
            assert name == "notes"  # for people; the digest leaves them out
            continue
        loaded.add(name)
        assert outcome(other, bytes(proof)) == (VerificationError, "circuit"), (kind, path)
        raw = file_of({**statement, "circuit": other.digest().hex()}, proof.body)
        assert outcome(other, raw) is not None, (kind, path)
        if frozen.outcome(other, raw) is None:
            by_hashing.add((name, kind))
    leaves = {general(path) for path, value in places(data) if not isinstance(value, (dict, list))}
    assert refused | loaded >= leaves and len(loaded) > 12
    text = {"inputs.name", "inputs.scale", "nodes.label", "nodes.scale", "losses.output", "losses.factor"}
    text |= {"parameters.path", "parameters.unit"}
    assert {(name, kind) for name, kind in by_hashing if kind != "type" or name not in text} == CIRCUIT_BY_HASHING_ALONE


def test_circuit_files(honest, tmp_path):
    circuit, proof = honest
    path = tmp_path / "circuit.json"
    circuit.save(path)
    raw = path.read_bytes()
    assert outcome(zkjax.Circuit.load(path), bytes(proof)) is None
    rng = random.Random(0)
    for content in (b"", b"{}", b"null", raw[:-1], raw[: len(raw) // 2], raw + b"}", b"\xff\xfe", b"[" * 10**5, b'{"a":' * 10**5):
        path.write_bytes(content)
        with pytest.raises(FormatError):
            zkjax.Circuit.load(path)
    for _ in range(100):
        altered = bytearray(raw)
        altered[rng.randrange(len(raw))] ^= 1 << rng.randrange(8)
        path.write_bytes(altered)
        try:
            other = zkjax.Circuit.load(path)
        except (FormatError, zkjax.UnsupportedOperationError):
            continue
        assert other.digest() == circuit.digest() or outcome(other, bytes(proof)) == (VerificationError, "circuit")


# ---- absurd sizes -----------------------------------------------------------------------------------------------
def test_absurd_sizes(honest, tmp_path):
    """Whatever a statement asks for, it is refused in bounded time and memory, in a verifier that has no JAX."""
    circuit, proof = honest
    circuit.save(tmp_path / "circuit.json")
    proof.save(tmp_path / "a.proof")
    here = Path(__file__).parent
    environment = {**os.environ, "PYTHONPATH": str(here.parent)}
    command = [sys.executable, "-W", "error", here / "absurd.py", tmp_path / "circuit.json", tmp_path / "a.proof"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    results = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(results) > 190
    for result in results:
        assert result["error"] is not None and result["error"][0] in ("FormatError", "VerificationError"), result
        assert result["megabytes"] < 200, result
