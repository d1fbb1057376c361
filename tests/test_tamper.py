"""Everything in a statement, a proof and a circuit is altered, by generation: nothing altered verifies, nothing else is raised."""

import copy
import json
import os
import random
import struct
import subprocess
import sys
from pathlib import Path

import pytest

import zkjax
import zkjax.verifier
from harness import SMALL, verify_small
from tiny import chain, messages
from zkjax.errors import FormatError, VerificationError
from zkjax.field import P
from zkjax.proof import MAGIC, VERSION
from zkjax.transcript import Transcript


def file_of(statement: dict, body: bytes) -> bytes:
    """A proof file with this statement in canonical form."""
    text = json.dumps(statement, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()
    return MAGIC + struct.pack("<HI", VERSION, len(text)) + text + body


def outcome(circuit, raw: bytes, **options) -> tuple | None:
    """None if the file verifies, else the error's class and check; any other exception is the test's failure."""
    try:
        verify_small(circuit, zkjax.Proof.parse(raw), **options)
    except VerificationError as error:
        return VerificationError, error.check
    except FormatError:
        return FormatError, None
    return None


def bytes_of(proof, body=None) -> bytes:
    return bytes(zkjax.Proof(proof.statement, proof.body if body is None else body))


# ---- JSON -------------------------------------------------------------------------------------------------------
def places(value, path=()):
    """Every value in a JSON tree with its path, containers included."""
    yield path, value
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in children:
        yield from places(child, (*path, key))


def at(tree, path):
    for key in path:
        tree = tree[key]
    return tree


def with_value(tree, path, value):
    tree = copy.deepcopy(tree)
    if not path:
        return value
    at(tree, path[:-1])[path[-1]] = value
    return tree


def without(tree, path):
    tree = copy.deepcopy(tree)
    del at(tree, path[:-1])[path[-1]]
    return tree


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
            yield "added", path, with_value(tree, path, [*value, copy.deepcopy(value[-1]) if value else 0])
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


# ---- frozen challenges ------------------------------------------------------------------------------------------
class Frozen:
    """Runs a verifier whose challenges are those of the honest proof, whatever it has read."""

    def __init__(self, circuit, proof):
        self.record: list = []
        frozen = self

        class Recording(Transcript):
            def challenge(self, label):
                return frozen._noted(label, 1, super().challenge(label))

            def challenges(self, label, count):
                return frozen._noted(label, count, super().challenges(label, count))

            def indices(self, label, count, log_size):
                return frozen._noted(label, count, super().indices(label, count, log_size))

        class Replaying(Transcript):
            def __init__(self, *arguments):
                super().__init__(*arguments)
                self.next = iter(frozen.record)

            def challenge(self, label):
                return self._replayed(label, 1)

            def challenges(self, label, count):
                return self._replayed(label, count)

            def indices(self, label, count, log_size):
                return [i % 2**log_size for i in self._replayed(label, count)]

            def _replayed(self, label, count):
                recorded = next(self.next, None)
                if recorded is None or recorded[:2] != (label, count):
                    raise VerificationError("other challenges are drawn")
                return recorded[2]

        self._replaying = Replaying
        self._under(Recording, circuit, bytes(proof))
        assert self.outcome(circuit, bytes(proof)) is None

    def _noted(self, label, count, value):
        self.record.append((label, count, value))
        return value

    def _under(self, transcript, circuit, raw):
        original, zkjax.verifier.Transcript = zkjax.verifier.Transcript, transcript
        try:
            return outcome(circuit, raw)
        finally:
            zkjax.verifier.Transcript = original

    def outcome(self, circuit, raw: bytes):
        return self._under(self._replaying, circuit, raw)


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


def test_every_place_of_the_statement(honest):
    circuit, proof = honest
    data = proof.statement.to_json()
    seen: dict = {}
    for kind, path, altered in alterations(data, others()):
        found = outcome(circuit, file_of(altered, proof.body))
        assert found is not None, (kind, path)
        seen.setdefault(kind, {}).setdefault(general(path), set()).add(found)
        if kind == "type":
            assert found[0] is FormatError or general(path) in MAY_BE_TRUE_OR_NONE, (path, at(altered, path))
        if kind in ("removed", "added") and isinstance(at(data, path[:-1] if kind == "removed" else path), dict):
            assert found[0] is FormatError, (kind, path)
    leaves = {general(path) for path, value in places(data) if not isinstance(value, (dict, list))}
    assert set(seen["plus one"]) >= leaves and set(seen["removed"]) >= leaves and set(seen["type"]) >= leaves
    assert len(set(seen["swapped"]) & leaves) >= 15
    for path, checks in EXPECTED.items():
        assert {check for _, check in seen["plus one"][path]} == checks, path


MAY_BE_TRUE_OR_NONE: set = set()
EXPECTED: dict = {}


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
    with pytest.raises(FormatError, match="version 2"):
        zkjax.Proof.parse(MAGIC + struct.pack("<HI", 2, 0) + raw[header:])


# ---- the body ---------------------------------------------------------------------------------------------------
LABELS = (
    "trace root",
    "lookup root",
    "lookup values",
    "lookup round",
    "contractions: linear terms",
    "contractions round",
    "contractions values",
    "weights: linear terms",
    "weights round",
    "weights values",
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
    """Plus one at three places, swapped, dropped, repeated, exchanged, not canonical; with and without fresh challenges."""
    circuit, proof = honest
    rng = random.Random(label)
    same_run = chain().proofs[0].body[::-1]  # as good as any other proof's bytes, and of the same length
    following = [m for m in log if m.label == label]
    chosen = following if len(following) <= 8 else [following[0], following[-1], *rng.sample(following[1:-1], 4)]
    for m in chosen:
        for alter, offset in spots(m, rng):
            altered = bytes_of(proof, alter(proof.body, offset))
            assert outcome(circuit, altered)[0] is VerificationError
            assert frozen.outcome(circuit, altered) is not None  # by an equation, not by hashing alone
    m = rng.choice(following)
    content = m.cut(proof.body)
    swapped = bytes(x & 0x7F for x in same_run[m.offset : m.offset + m.size])
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
            if offset - m.offset >= 24:
                break


def test_messages_of_another_proof(honest, log):
    """Each message exchanged for the same message of another valid proof of the same run."""
    circuit, proof = honest
    run = chain().runs[0]
    run.chain.openings.spent.clear()
    from harness import prove_small

    other = prove_small(circuit, run, reveal=("loss",))
    assert other.statement == proof.statement
    theirs = messages(circuit, other)
    assert [m.label for m in theirs] == [m.label for m in log]
    for mine, their in zip(log, theirs, strict=True):
        altered = mine.replaced(proof.body, their.cut(other.body))
        assert altered != proof.body
        assert outcome(circuit, bytes_of(proof, altered)) is not None, mine
    for cut in range(1, len(log), 7):  # the first messages of one, the rest of the other
        altered = proof.body[: log[cut].offset] + other.body[theirs[cut].offset :]
        assert outcome(circuit, bytes_of(proof, altered)) is not None
    assert outcome(circuit, bytes_of(chain().proofs[1], proof.body), assume_bound=True) is not None


def test_truncated_and_extended(honest, log):
    circuit, proof = honest
    for m in log:
        for end in {m.offset, m.offset + m.size - 1, m.offset + m.size // 2}:
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
