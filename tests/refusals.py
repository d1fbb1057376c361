"""For each check of the verifier the least thing that it refuses, and the most that it lets pass.

All of it is made from the frozen proof in ``vectors/``: nothing has to be proven, so NumPy and a fraction of a second suffice,
and ``mutation.py`` runs these cases for every mutant of every check. ``test_refusals.py`` runs them in the suite.
"""

import dataclasses
import hashlib
import itertools
import json
import math
import os
import re
import stat
import struct
import sys
import tempfile
from collections.abc import Callable
from fractions import Fraction
from functools import cache, partial
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple
from unittest import mock

import numpy as np
from drawing import drawing
from nodes import inferred, node, roundings
from reference import drawings as drawn_by_hand
from reference import verifier as reference
from replay import BITS, Frozen, messages, words
from trees import with_value as changed
from trees import without as missing

import zkjax
from zkjax import comparison, evaluation, lineage, verifier
from zkjax.algebra import extension as ext
from zkjax.algebra.extension import ONE, ZERO, Ext
from zkjax.algebra.field import P, root_of_unity
from zkjax.algebra.functions import MAX_INSTRUCTIONS
from zkjax.algebra.layout import Layout
from zkjax.algebra.vectors import Vectors
from zkjax.circuit import coarse, parts, ranged, recurrence
from zkjax.circuit import file as circuits
from zkjax.circuit.bounds import Bounds, of_nodes
from zkjax.circuit.bounds import _distinct as distinct
from zkjax.circuit.bounds import _moved as bounds_of
from zkjax.circuit.circuit import Circuit
from zkjax.circuit.data import whole_samples
from zkjax.circuit.levels import MAX_DEPTH
from zkjax.commitment import geometry as geometries
from zkjax.commitment import opening
from zkjax.commitment.commit import PARTS, Commitment, Part, commit, members, stack, tree_seed
from zkjax.commitment.dataset import dataset_root
from zkjax.commitment.geometry import Geometry
from zkjax.commitment.merkle import Tree, leaf, pair, part_tag, root_of, siblings_bytes
from zkjax.commitment.merkle import node as inner_node
from zkjax.commitment.recursion import open_columns
from zkjax.errors import ConfigurationError, DataError, FormatError, PrecisionError, UnsupportedOperationError, VerificationError
from zkjax.files import read
from zkjax.ops import ranges
from zkjax.ops.draw import Draw, Residue
from zkjax.ops.functions import MAX_SIZE, MAX_WIDTH
from zkjax.ops.leaves import MAX_CONSTANT
from zkjax.ops.operation import Leaves
from zkjax.ops.rescale import Rescale
from zkjax.ops.root import MAX_ROOT
from zkjax.ops.tables import Column, Table, charge
from zkjax.proofs import disclosed as disclosed_module
from zkjax.proofs import disclosure as disclosures
from zkjax.proofs import drawing as drawings
from zkjax.proofs import model as models
from zkjax.proofs import soundness
from zkjax.proofs.alone import LinkStatement, check_alone
from zkjax.proofs.checks import check_commitments, check_frozen, check_sizes, make_plan
from zkjax.proofs.disclosed import check_disclosed, rows_of
from zkjax.proofs.disclosure import Chosen, Disclosure, Item, Shards
from zkjax.proofs.drawing import Drawing, drawn_integers
from zkjax.proofs.estimate import charge_file
from zkjax.proofs.links import Link, joined
from zkjax.proofs.model import Model
from zkjax.proofs.proof import MAGIC, MAX_STATEMENT, VERSION, Proof
from zkjax.proofs.published import Published
from zkjax.proofs.statement import Statement
from zkjax.protocol import schedule
from zkjax.protocol.claims import Term, Walk
from zkjax.protocol.disclosure import Point
from zkjax.protocol.hidden import Hidden
from zkjax.protocol.links import Links, Pair
from zkjax.protocol.lookup import fractional_sum
from zkjax.protocol.schedule import batch_indices
from zkjax.protocol.transcript import Reader, Transcript, Writer, element_bytes
from zkjax.work import BASE, CALL, HASH, PRODUCT, Meter

VECTORS = Path(__file__).parent / "vectors"
WHOLE = 2**63


class Case(NamedTuple):
    """``call()`` raises exactly ``error``, with a text in which ``match`` is found; with error None it returns ``value``, if any."""

    name: str
    call: Callable
    error: type | None
    match: str = ""
    value: object = NotImplemented

    def run(self) -> None:
        try:
            result = self.call()
        except Exception as found:
            assert type(found) is self.error, f"{self.name}: {type(found).__name__}: {found}"
            assert re.search(self.match, str(found)), f"{self.name}: {found}"
            return
        assert self.error is None, f"{self.name}: accepted"
        assert self.value is NotImplemented or result == self.value, f"{self.name}: {result}"


@cache
def frozen(name: str = f"format-{VERSION}") -> tuple[Circuit, Proof]:
    return Circuit.load(VECTORS / f"{name}.circuit.json"), Proof.load(VECTORS / f"{name}.proof")


MOVING = f"format-{VERSION}-states"
PARTED = f"format-{VERSION}-parts"  # frozen parameters, two parts of which one stays closed, links: see ``holding.py``


def canonical(data) -> bytes:
    return json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()


def amended(commitment: Commitment, part: int = 0, **changes) -> Commitment:
    """Changes of a commitment's own fields, and of those of one of its parts."""
    own = {name: changes.pop(name) for name in Part._fields if name in changes}
    parts = list(commitment.parts)
    parts[part] = parts[part]._replace(**own)
    return dataclasses.replace(commitment, parts=tuple(parts), **changes)


def named(commitment: Commitment, geometry: Geometry) -> bytes:
    """The digest of a commitment, as PROTOCOL.md has it."""
    parts = "".join(f"{name} {rows} {budget} " for name, rows, budget in commitment.parts)
    text = f"{commitment.number} {int(commitment.masked)} {parts}{commitment.kind}"
    return hashlib.blake2s(geometry.digest() + commitment.root + text.encode(), person=b"zkjxcomm").digest()


def part_named(commitment: Commitment, name: str, geometry: Geometry) -> bytes:
    """That of a part."""
    return hashlib.blake2s(named(commitment, geometry) + name.encode(), person=b"zkjxpart").digest()


def behind(kind: str, digest: bytes, fixed: bytes = b"", shifts=()) -> bytes:
    """What weights are named: by what is committed, the frozen part, and shifts without the zeros at their end."""
    shifts = list(shifts)
    while shifts and not shifts[-1]:
        shifts.pop()
    return hashlib.sha256(f"zkjax {kind} 2".encode() + bytes([len(fixed)]) + digest + fixed + bytes(shifts)).digest()


def ends(call, path, low, high, match):
    """An integer: both ends of its range pass this check, one beyond does not, nor do other types."""
    for value in (low, high):
        yield Case(f"{path} = {value}", lambda value=value: passes(lambda: call(value), match), None)
    for value in (low - 1, high + 1, True, None, float(low), str(low)):
        yield Case(f"{path} = {value!r}", lambda value=value: call(value), FormatError, match)


def passes(call, match):
    """Whatever comes of the call, it is not this refusal."""
    try:
        call()
    except (FormatError, UnsupportedOperationError, ConfigurationError) as error:
        assert not re.search(match, str(error)), error


# ---- the honest proofs ------------------------------------------------------------------------------------------
def honest(name=f"format-{VERSION}"):
    circuit, proof = frozen(name)
    expected = json.loads((VECTORS / f"{name}.ledger.json").read_text("utf-8"))

    def ledger():
        return [[name, round(bits, 9)] for name, bits in verifier.verify_one(circuit, proof, BITS).terms]

    yield Case("ledger", ledger, None, value=expected)
    taken = json.loads((VECTORS / f"{name}.work.json").read_text("utf-8"))

    def work(count):
        meter = verifier.estimate_work(circuit, [proof.statement] * count, None, None)
        return {"work": meter.work, "memory": meter.memory, "shares": meter.shares}

    yield Case("work", lambda: work(1), None, value=taken)
    yield Case("memory of two", lambda: work(2)["memory"], None, value=taken["memory"])
    yield Case("file", lambda: bytes(proof), None, value=(VECTORS / f"{name}.proof").read_bytes())


def honest_states():
    yield from honest(MOVING)


def honest_parts():
    yield from honest(PARTED)


def honest_draws():
    yield from honest(f"format-{VERSION}-draws")


# ---- files ------------------------------------------------------------------------------------------------------
def proof_files():
    raw = bytes(frozen()[1])
    header = len(MAGIC) + 6

    def headed(length, rest=b"", version=VERSION):
        return MAGIC + struct.pack("<HI", version, length) + rest

    statement_bytes = frozen()[1].statement.canonical()
    for name, content, match in (
        ("empty", b"", "is empty"),
        ("other magic", b"zkjaxprg" + raw[8:], "not a zkjax proof"),
        ("half of the magic", MAGIC[:5], "not a zkjax proof"),
        ("no header", MAGIC, "inside its header"),
        ("half a header", raw[: header - 1], "inside its header"),
        ("a header alone", headed(0), "^proof: statement: not JSON"),
        ("another version", headed(0, version=VERSION + 1), "format version"),
        ("a long statement", headed(MAX_STATEMENT + 1, bytes(MAX_STATEMENT + 1)), "does not fit"),
        ("the longest statement", headed(MAX_STATEMENT, bytes(MAX_STATEMENT)), "not JSON"),
        ("a statement beyond the file", headed(len(statement_bytes) + 1, statement_bytes), "does not fit"),
    ):
        yield Case(name, lambda content=content: Proof.parse(content), FormatError, match)
    yield Case("a file without a body", lambda: Proof.parse(headed(len(statement_bytes), statement_bytes)).body, None, value=b"")


def statement_files():
    data = frozen()[1].statement.to_json()
    alone = data | {"shards": []}

    def parse(content):
        return Statement.parse(content if isinstance(content, bytes) else canonical(content))

    def put(path):
        return lambda value: parse(changed(alone if not {"shards", "siblings"} & {*path} else data, path, value))

    yield Case("itself", lambda: parse(data), None, value=frozen()[1].statement)
    for name, content, match in (
        ("no JSON", b"{", "not JSON"),
        ("deep", b"[" * 100_000, "not JSON"),
        ("no ASCII", b'{"\xff": 1}', "not JSON"),
        ("a list of the fields", list(data), "expected the fields"),
        ("one more field", data | {"more": 0}, "expected the fields"),
        ("one field less", missing(data, ("seed",)), "expected the fields"),
        ("a number for a truth value", data | {"given": 1}, "not a truth value"),
        ("widths as a truth value", data | {"widths": True}, "widths is not a list"),
        ("a width below the field", data | {"widths": [-63, 0, 0]}, "widths is -63"),
        ("a width beyond the field", data | {"widths": [0, 63, 0]}, "widths is 63"),
        ("shards as an object", data | {"shards": {}}, "shards is not a list"),
        ("a shard as a list", data | {"shards": [["commitment", "path"]]}, "commitment: expected the fields"),
        ("shards exchanged", data | {"shards": data["shards"][::-1]}, "not in ascending order"),
        ("a shard twice", data | {"shards": data["shards"][:1] * 2}, "not in ascending order"),
        ("siblings as an object", data | {"siblings": {}}, "siblings is not a list"),
        ("links as an object", data | {"links": {}}, "links is not a list"),
        ("a link as a list", data | {"links": [["from", "to"]]}, "needs from and to"),
        ("a link without from", data | {"links": [{"to": data["final"]}]}, "needs from and to"),
        ("a link with more", data | {"links": [link("final", data) | {"more": 0}]}, "needs from and to"),
        ("a link from a number", data | {"links": [link(3, data)]}, "a link is from 3"),
        ("a link from a list", data | {"links": [link(["final"], data)]}, "a link is from"),
        ("a link from a shard that is not read", data | {"links": [link("shard 9", data)]}, "a link is from 'shard 9'"),
        ("a link from the trace", data | {"links": [link("trace", data)]}, "a link is from 'trace'"),
        ("two links from one", data | {"links": [link("final", data)] * 2}, "each once at most"),
        ("a link to a root", data | {"links": [link("final", data) | {"to": "00" * 32}]}, "commitment: expected the fields"),
        ("losses as an object", data | {"losses": {}}, "losses is not a list"),
        ("one loss as an object", data | {"losses": [{}]}, "losses is not a list"),
        ("white space", data_with_space(data), "not in canonical form"),
    ):
        yield Case(name, lambda content=content: parse(content), FormatError, match)
    for name, low, high in (
        ("samples", 1, 2**32 - 1),
        ("shard_size", 1, 2**32 - 1),
        ("seed", 0, 2**64 - 1),
        ("first_step", 0, 2**48),
        ("steps", 1, 2**16),
    ):
        yield from ends(put((name,)), name, low, high, f"{name} is ")
    for name, low, high in (("shifts", 0, 62), ("initial_bound", 0, WHOLE), ("final_bound", 0, WHOLE)):
        yield from ends(put((name, 1)), name, low, high, f"{name} is ")
        yield Case(f"{name} as a number", partial(put((name,)), 7), FormatError, f"{name} is not a list")
    yield from ends(put(("losses", 0, 1)), "losses", -WHOLE, WHOLE, "losses is ")
    for path in (("circuit",), ("dataset",), ("dataset_after",), ("siblings", 0)):
        for wrong in (7, "ab" * 31, "ab" * 33, "AB" * 32, "gg" * 32, "g" + "0" * 63):
            yield Case(f"{path} = {wrong}", partial(put(path), wrong), FormatError, "is not 32 bytes")
    for where in (("initial",), ("final",), ("shards", 0)):
        yield Case(f"{where} as a list", partial(put(where), list(data["initial"])), FormatError, "commitment: expected the fields")
    yield Case("geometry as a list", lambda: put(("geometry",))(list(data["geometry"])), FormatError, "geometry: expected the fields")


def link(source, data) -> dict:
    return {"from": source, "to": data["final"] | {"root": "00" * 32}}


@cache
def linked():
    """The frozen circuit, and a proof of links alone: of both ends and of all three shards of the frozen proof's run."""
    return frozen()[0], Proof.load(Path(__file__).parent / "vectors" / "format-2.link.proof")


def links_alone():
    circuit, proof = linked()
    s = proof.statement
    data, commitment = s.to_json(), s.to_json()["links"][0]["from"]

    def parse(content):
        return LinkStatement.parse(canonical(content))

    yield Case("itself", lambda: parse(data), None, value=s)
    for name, content, match in (
        ("one more field", data | {"more": 0}, "expected the fields"),
        ("one field less", missing(data, ("dataset",)), "expected the fields"),
        ("another kind", data | {"kind": "chunk"}, "kind is 'chunk'"),
        ("links as an object", data | {"links": {}}, "links is not a list"),
        ("a link without to", data | {"links": [{"from": commitment}]}, "needs from and to"),
        ("a link as the list of its keys", data | {"links": [["from", "to"]]}, "needs from and to"),
        ("a dataset as the list of its keys", data | {"dataset": sorted(data["dataset"])}, "a dataset needs the fields"),
        ("a link by name", changed(data, ("links", 0, "from"), "initial"), "commitment: expected the fields"),
        ("a link to a root", changed(data, ("links", 0, "to"), "00" * 32), "commitment: expected the fields"),
        ("a dataset as a list", data | {"dataset": []}, "a dataset needs the fields"),
        ("a dataset of two fields", missing(data, ("dataset", "siblings")), "a dataset needs the fields"),
        ("siblings as an object", changed(data, ("dataset", "siblings"), {}), "siblings is not a list"),
        ("geometry as a list", data | {"geometry": []}, "geometry: expected the fields"),
    ):
        yield Case(name, lambda content=content: parse(content), FormatError, match)
    yield Case("white space", lambda: LinkStatement.parse(data_with_space(data)), FormatError, "not in canonical form")
    for name in ("root", "root_after"):
        yield Case(f"{name} = 7", lambda name=name: parse(changed(data, ("dataset", name), 7)), FormatError, "is not 32 bytes")
    yield Case("sibling = 7", lambda: parse(changed(data, ("dataset", "siblings", 0), 7)), FormatError, "is not 32 bytes")
    for name in ("samples", "shard_size"):
        yield from ends(lambda value, name=name: parse(changed(data, ("dataset", name), value)), name, 1, 2**32 - 1, f"{name} is ")

    def check(**changes):
        return lambda: check_alone(dataclasses.replace(s, **changes))

    def old(at, **changes):
        return check(replaced=(*s.replaced[:at], amended(s.replaced[at], **changes), *s.replaced[at + 1 :]))

    def new(at, **changes):
        return check(fresh=(*s.fresh[:at], amended(s.fresh[at], **changes), *s.fresh[at + 1 :]))

    def told(**changes):
        return check(dataset=dataclasses.replace(s.dataset, **changes))

    def some(*at, dataset=s.dataset):
        return check(replaced=tuple(s.replaced[i] for i in at), fresh=tuple(s.fresh[i] for i in at), dataset=dataset)

    yield Case("all", check(), None)
    yield Case("a budget of 1", old(0, budget=1), None)
    yield Case("a budget of 4", old(1, budget=4), None)
    yield Case("weights alone", some(0, 1, dataset=None), None)
    yield Case("weights in another order", some(1, 0, dataset=None), None)
    for name, call, match in (
        ("nothing", some(dataset=None), "^links: nothing"),
        ("one twice", some(0, 0, dataset=None), "^links: a commitment is replaced twice"),
        ("shards before weights", some(2, 0, 1, 3, 4), "^links: they replace weights, then frozen ones"),
        ("shards exchanged", some(0, 1, 3, 2, 4), "^links: they replace weights, then frozen ones"),
        ("a trace", old(0, kind="trace"), "^links: they replace weights, then frozen ones"),
        ("a shard number twice", old(3, number=0), "^links: they replace weights, then frozen ones"),
        ("a masked one", old(0, masked=True), "^commitment 0: .*mask rows"),
        ("a budget of 5", old(0, budget=5), "^commitment 0: .*outside 1..4"),
        ("a budget of 0", old(2, budget=0), "^commitment 2: .*outside 1..4"),
        ("other rows", new(0, rows=2), "^link from 0: 2 rows"),
        ("another step", new(1, number=0), "^link from 1: it leads to weights 0"),
        ("the same", new(1, root=s.replaced[1].root), "^link from 1: .*the same"),
        ("a fresh budget of 5", new(4, budget=5), "^link from 4: .*outside 1..4"),
        ("weights with a dataset", some(0, 1), "^dataset: it is named where shards are replaced"),
        ("shards without a dataset", check(dataset=None), "^dataset: it is named where shards are replaced"),
        ("fewer shards", told(samples=8), "^dataset: shard 2 is none of its 2"),
        ("another root", told(root=bytes(32)), "^dataset: the shards"),
        ("another root after", told(root_after=bytes(32)), "^dataset after: the shards"),
        ("another sibling", told(siblings=(b"x" * 32,)), "^dataset: the shards"),
        ("no siblings", told(siblings=()), "^dataset: a multiproof"),
        ("other samples", told(samples=13), "^dataset: the shards"),
        ("a geometry that is refused", check(geometry=dataclasses.replace(s.geometry, level_bits=256)), "^geometry: "),
    ):
        yield Case(name, call, VerificationError, match)

    def verify(proofs, **options):
        return lambda: zkjax.verify(circuit, proofs, minimum_bits=BITS, **options)

    whole, digest = joined([frozen()[1].statement, s]), lambda c: c.digest(s.geometry)
    for name, a, b, same in (
        ("weights", digest(s.replaced[0]), digest(s.fresh[0]), True),
        ("a shard", digest(s.fresh[4]), digest(s.replaced[4]), True),
        ("roots", s.dataset.root, s.dataset.root_after, True),
        ("both ends", digest(s.replaced[0]), digest(s.replaced[1]), False),
        ("weights and a root", digest(s.fresh[0]), s.dataset.root, False),
    ):
        yield Case(f"joined: {name}", lambda a=a, b=b: whole.same(a, b), None, value=same)
    empty = Proof(dataclasses.replace(s, replaced=(), fresh=(), dataset=None), b"")
    yield Case("a ledger of nothing", lambda: zkjax.ledger(circuit, empty), VerificationError, "^links: nothing")
    other = Proof(dataclasses.replace(s, geometry=Geometry(10, 2, 4, level_bits=20)), proof.body)
    yield Case("of another geometry", verify([frozen()[1], other]), VerificationError, "^chain: .*another geometry")
    yield Case("links alone", verify(proof), zkjax.ConfigurationError, "only replace commitments")
    yield Case("several of them", verify([proof, proof]), zkjax.ConfigurationError, "only replace commitments")
    taken = json.loads((VECTORS / f"format-{VERSION}.link.work.json").read_text("utf-8"))
    riding = dataclasses.replace(frozen()[1].statement, links=(Link("initial", s.fresh[0]),))
    refused = dataclasses.replace(s, geometry=dataclasses.replace(s.geometry, level_bits=256))

    def work(*statements):
        meter = verifier.estimate_work(circuit, list(statements), None, None)
        return {"work": meter.work, "memory": meter.memory, "shares": meter.shares}

    yield Case("work", lambda: work(s), None, value=taken["alone"])
    yield Case("memory of two", lambda: work(s, s)["memory"], None, value=taken["alone"]["memory"])
    yield Case("work of a link that rides", lambda: work(riding), None, value=taken["riding"])
    yield Case("work in a geometry that is refused", lambda: work(refused), VerificationError, "^geometry: ")
    wide = Proof(dataclasses.replace(s, replaced=(amended(s.replaced[0], rows=2**32 - 1),) * 2, fresh=s.fresh[:2]), b"")
    yield Case("many rows", lambda: verifier.estimate_work(circuit, [wide.statement], 10**9, 2**32), VerificationError, "^work: ")
    short = Proof(s, proof.body[: 8 * 10 * max(1, s.geometry.queries // 4) - 1])
    yield Case("a short body", lambda: verifier.verify_alone(short, BITS), FormatError, "needs more than")
    yield Case("too few bits", lambda: verifier.verify_alone(proof, 25.0), VerificationError, "^security: ")
    yield Case("the ledger", lambda: zkjax.ledger(circuit, proof), None, value=verifier.verify_alone(proof, BITS))


def data_with_space(data) -> bytes:
    return canonical(data).replace(b":", b": ", 1)


def commitment_files():
    data = frozen()[1].statement.initial.to_json()

    def put(name):
        return lambda value: Commitment.from_json(data | {name: value})

    whole = frozen(PARTED)[1].statement.initial
    yield Case("itself", lambda: Commitment.from_json(data), None, value=frozen()[1].statement.initial)
    yield Case("of two parts", lambda: Commitment.from_json(whole.to_json()), None, value=whole)
    for name, content in (("a list", list(data)), ("one more", data | {"more": 0}), ("one less", missing(data, ("kind",)))):
        yield Case(name, lambda content=content: Commitment.from_json(content), FormatError, "expected the fields")
    for name in data:
        for wrong in (None, 1.0, data | {}, *([[]] if name != "parts" else ["cells", "parameters"])):
            yield Case(f"{name} = {wrong!r:.9}", partial(put(name), wrong), FormatError, f"commitment: {name} is")
    yield Case("masked = 0", lambda: put("masked")(0), FormatError, "masked is")
    yield Case("number = True", lambda: put("number")(True), FormatError, "number is")
    for kind in ("level", "Weights", "", "weights\0"):
        yield Case(f"kind {kind!r}", lambda kind=kind: put("kind")(kind), FormatError, "kind is none")
    for wrong in ("ab" * 31, "ab" * 33, "AB" * 32, "gg" * 32):
        yield Case(f"root = {wrong}", lambda wrong=wrong: put("root")(wrong), FormatError, "root is not 32 bytes")
    for value in (0, 2**63 - 1):
        yield Case(f"number = {value}", partial(put("number"), value), None)
    for value in (-1, 2**63):
        yield Case(f"number = {value}", partial(put("number"), value), FormatError, "number out of range")

    # ---- parts
    both = whole.to_json()["parts"]
    one = both[0]
    for at in range(2):
        for name in ("rows", "budget"):
            call = lambda value, at=at, name=name: put("parts")(changed(both, (at, name), value))  # noqa: E731
            for value in (1, 2**32 - 1):
                yield Case(f"{name} = {value} of part {at}", partial(call, value), None)
            for value in (0, 2**32):
                yield Case(f"{name} = {value} of part {at}", partial(call, value), FormatError, "commitment: rows or budget out of range")
            for value in (True, 1.0, "1", None):
                yield Case(f"{name} = {value!r} of part {at}", partial(call, value), FormatError, f"^part of a commitment: {name} is")
    for wrong in (7, None, ["parameters"]):
        yield Case(f"name = {wrong}", partial(put("parts"), [one | {"name": wrong}]), FormatError, "^part of a commitment: name is")
    for name, wrong in (
        ("a part as a list", [list(one.values())]),
        ("a part as its name", ["parameters"]),
        ("a part with more", [one | {"more": 0}]),
        ("a part with less", [missing(one, ("budget",))]),
    ):
        yield Case(name, partial(put("parts"), wrong), FormatError, "^part of a commitment: expected the fields")
    order = "^commitment: its parts are some of parameters, other, in this order"
    for name, wrong in (
        ("no part", []),
        ("parts exchanged", both[::-1]),
        ("a part twice", [one, one]),
        ("a third part", [*both, one]),
        ("three parts", [*both, one | {"name": "cells"}]),
        ("a part of another name", [one | {"name": "Parameters"}]),
        ("a part of other kinds", [one | {"name": "cells"}]),
    ):
        yield Case(name, partial(put("parts"), wrong), FormatError, order)
    yield Case("the second part alone", lambda: put("parts")(both[1:]).opened().names, None, value=("other",))
    for kind in ("frozen", "shard", "trace", "stage", "noise"):
        call = lambda name, kind=kind: Commitment.from_json(data | {"kind": kind, "parts": [one | {"name": name}]})  # noqa: E731
        yield Case(f"{kind} of cells", lambda call=call: call("cells").opened().names, None, value=("cells",))
        for name in ("parameters", "other"):
            yield Case(f"{kind} of {name}", partial(call, name), FormatError, "^commitment: its parts are some of cells, in this order")


# ---- geometry ---------------------------------------------------------------------------------------------------
def geometry():
    data = frozen()[1].statement.geometry.to_json()

    def made(log_row=9, log_inverse_rate=2, max_budget=4, level_bits=8):
        return Geometry(log_row, log_inverse_rate, max_budget, level_bits)

    integers = "fields of a geometry are integers"
    shape = "rate 1/2 to 1/16"
    for change, match in (
        ({"log_row": 9.0}, integers),
        ({"level_bits": True}, integers),
        ({"log_inverse_rate": 0}, shape),
        ({"log_inverse_rate": 5}, shape),
        ({"log_row": 1, "max_budget": 1}, shape),
        ({"log_row": 25}, shape),
        ({"max_budget": 0}, shape),
        ({"log_row": 5, "max_budget": 5}, "needs rows longer"),
        ({"level_bits": 0}, "choose 1 to 256"),
        ({"level_bits": 257}, "choose 1 to 256"),
    ):
        yield Case(f"{change}", lambda change=change: made(**change), ConfigurationError, match)
    for change in (
        {"log_inverse_rate": 1},
        {"log_inverse_rate": 4},
        {"log_row": 24},
        {"log_row": 3, "max_budget": 1},
        {"log_row": 5, "max_budget": 4},
        {"level_bits": 1},
        {"level_bits": 256},
    ):
        yield Case(f"{change}", lambda change=change: made(**change).row > 0, None, value=True)
    yield Case("a row of four cells has no budget", lambda: made(log_row=2, max_budget=1), ConfigurationError, "needs rows longer")
    for budget in (1, 4):
        yield Case(f"padding {budget}", lambda budget=budget: made().padding(budget), None, value=budget * made().queries)
    for budget in (0, 5):
        yield Case(f"padding {budget}", lambda budget=budget: made().padding(budget), ConfigurationError, "outside 1 .. 4")
    full = next(g for g in map(lambda bits: made(level_bits=bits), range(1, 99)) if g.max_budget * g.queries >= g.row // 8)
    exact = next(  # random coefficients take an eighth of a row, to the cell
        g for row in range(5, 12) for b in (1, 2, 4) for bits in range(1, 60)
        if (g := made(row, 2, b, bits)).max_budget * _queries(g) == g.row // 8
    )  # fmt: skip
    over = full if full.max_budget * full.queries > full.row // 8 else made(level_bits=full.level_bits + 2)
    yield Case("an eighth of a row", lambda: exact.check(), None, value=exact)
    yield Case("more than an eighth", lambda: over.check(), ConfigurationError, "above an eighth")
    # one query misses half of the columns with probability 1/2 exactly, and that is enough for one bit
    yield Case("exactly enough", lambda: geometries._missed(2, 1, 8, 8), None, value=False)
    yield Case("not enough", lambda: geometries._missed(2, 1, 7, 8), None, value=True)
    yield Case("no radius", lambda: geometries._queries(8, 8, 1, 8), ConfigurationError, "no number of queries")
    yield Case("a radius of a sixteenth", lambda: geometries._queries(28, 32, 0, 1), None, value=11)
    yield Case("a smaller radius", lambda: geometries._queries(29, 32, 0, 1), ConfigurationError, "no number of queries")
    yield Case("padding longer than a row", lambda: geometries._queries(8, 128, 9, 1), ConfigurationError, "no number of queries")
    yield Case("padding as long as a row", lambda: geometries._queries(8, 128, 4, 1), None, value=2)
    for name, content in (
        ("a list", list(data)),
        ("one more", data | {"more": 0}),
        ("one less", missing(data, ("log_row",))),
        ("another hash", data | {"hash": "sha256"}),
    ):
        yield Case(f"file: {name}", lambda content=content: Geometry.from_json(content), FormatError, "geometry: expected the fields")
    yield Case("file: no geometry", lambda: Geometry.from_json(data | {"log_row": 25}), FormatError, f"geometry: .*{shape}")


def _queries(geometry) -> int:
    try:
        return geometry.queries
    except ConfigurationError:
        return 0


# ---- circuits ---------------------------------------------------------------------------------------------------
def circuit_files():
    data = frozen()[0].to_json()
    ops = [node["op"] for node in data["nodes"]]
    rescale, dot, last = ops.index("rescale"), ops.index("dot"), len(ops) - 1

    def load(content):
        return Circuit.from_json(content)

    def put(*path):
        return lambda value: load(changed(data, path, value))

    def loaded(content: bytes):
        with tempfile.NamedTemporaryFile() as file:
            Path(file.name).write_bytes(content)
            return Circuit.load(file.name)

    yield Case("itself", lambda: load(data), None, value=frozen()[0])
    for content in (b"{", b"[" * 100_000, b"\xff", b'{"nodes": [], "nodes": []}', b'[{"a": {"b": 1, "b": 1}}]'):
        yield Case(f"file: {content[:3]}", lambda content=content: loaded(content), FormatError, "not a JSON file")
    for name, content, match in (
        ("a list", list(data), "expected an object"),
        ("one more key", data | {"more": 0}, "circuit: keys"),
        ("one key less", missing(data, ("notes",)), "circuit: keys"),
        ("another format", data | {"format": "circuit"}, "format is"),
        ("a later version", data | {"version": data["version"] + 1}, "version"),
        ("another version", data | {"version": 1}, "version 1, this"),
        ("a version that is no integer", data | {"version": float(data["version"])}, "version 2.0"),
        ("version True", data | {"version": True}, "version True"),
        ("an input's key more", changed(data, ("inputs", 0, "more"), 0), r"inputs\[0\]: keys"),
        ("an input's key less", missing(data, ("inputs", 0, "name")), r"inputs\[0\]: keys"),
        ("a parameter's key more", changed(data, ("parameters", 0, "more"), 0), r"parameters\[0\]: keys"),
        ("an update's key more", changed(data, ("parameters", 0, "updates", 0, "more"), 0), r"updates\[0\]: keys"),
        ("a loss's key more", changed(data, ("losses", 0, "more"), 0), r"losses\[0\]: keys"),
        ("a node's key less", missing(data, ("nodes", rescale, "scale")), r"nodes\[\d+\]: keys"),
        ("a node as a list", changed(data, ("nodes", 0), ["op", "inputs", "scale", "label"]), r"nodes\[0\]: expected an object"),
        ("an unknown operation", changed(data, ("nodes", 0, "op"), "sigmoid"), "unknown operation"),
        ("an operation that is a list", changed(data, ("nodes", 0, "op"), []), "unknown operation"),
        ("an attribute less", missing(data, ("nodes", rescale, "bits")), "attributes"),
        ("an attribute more", changed(data, ("nodes", rescale, "more"), 1), "attributes"),
        ("malformed attributes", changed(data, ("nodes", dot, "contract"), 3), "malformed attributes"),
        ("attributes of another rank", changed(data, ("nodes", dot, "contract"), [[9], [0]]), "malformed attributes"),
        ("an attribute that is no integer", changed(data, ("nodes", rescale, "bits"), 7.0), "expected an integer"),
        ("deeply nested attributes", changed(data, ("nodes", rescale, "bits"), [[[[[1]]]]]), "expected an integer"),
        ("factor with three numbers", changed(data, ("losses", 0, "factor"), [1, 2, 3]), "not a reduced fraction"),
        ("factor with one number", changed(data, ("losses", 0, "factor"), [1]), "not a reduced fraction"),
        ("factor with a negative denominator", changed(data, ("losses", 0, "factor"), [1, -2]), "not a reduced fraction"),
        ("factor with denominator 0", changed(data, ("losses", 0, "factor"), [1, 0]), "not a reduced fraction"),
        ("factor not reduced", changed(data, ("losses", 0, "factor"), [2, 4]), "not a reduced fraction"),
        ("factor as an object", changed(data, ("losses", 0, "factor"), {}), "expected a list"),
    ):
        yield Case(name, lambda content=content: load(content), FormatError, match)
    for name in ("nodes", "inputs", "parameters", "losses", "notes"):
        yield Case(f"{name} as an object", partial(put(name), {}), FormatError, f"{name}: expected a list")
    for path in (("parameters", 0, "updates"), ("inputs", 0, "shape"), ("nodes", rescale, "inputs")):
        yield Case(f"{path} as an object", partial(put(*path), {}), FormatError, f"{path[-1]}: expected a list")
    for path in (("inputs", 0, "name"), ("parameters", 0, "path"), ("nodes", rescale, "label"), ("notes", 0)):
        for wrong in (7, "\x1b[2J"):
            yield Case(f"{path} = {wrong!r}", partial(put(*path), wrong), FormatError, "expected a string of printable")
    numbers = [
        (("inputs", 0, "scale"), 0, 60),
        (("inputs", 0, "bits"), 0, 30),
        (("inputs", 0, "shape", 1), 1, 2**22),
        (("parameters", 0, "updates", 0, "node"), 0, last),
        (("parameters", 0, "updates", 0, "rates", 0), -WHOLE, WHOLE),
        (("parameters", 0, "shape", 1), 1, 2**22),
        (("nodes", rescale, "inputs", 0), 0, rescale - 1),
        (("nodes", rescale, "scale"), -(2**16), 2**16),
        (("nodes", rescale, "shift"), -WHOLE, WHOLE),
        (("losses", 0, "node"), 0, last),
        (("losses", 0, "factor", 0), -(2**256), 2**256),
        (("parameters", 0, "unit", 0), 1, 2**256),
        (("table_bits",), 1, 20),
        (("max_steps",), 1, 2**32),
    ]
    for path, low, high in numbers:
        refused = f"expected an integer in {low}\\.\\.{high},"
        for case in ends(put(*path), path, low, high, refused):
            if path != ("max_steps",) or "None" not in case.name:
                yield case
    yield Case("max_steps null", lambda: put("max_steps")(None).max_steps, None, value=None)
    sizes = "too many axes or entries"
    for shape, refused in (
        ([3] + [1] * 7, False),
        ([3] + [1] * 8, True),
        ([2**20, 2**20], False),
        ([2**20, 2**20, 2], True),
        ([2**20, 2**20, 1], False),
    ):
        call = put("inputs", 0, "shape")
        if refused:
            yield Case(f"shape {shape}", partial(call, shape), FormatError, rf"inputs\[0\].shape: .*{sizes}")
        else:
            yield Case(f"shape {shape}", lambda call=call, shape=shape: passes(lambda: call(shape), sizes), None)
    wide = [*data["nodes"], {"op": "broadcast", "inputs": [3], "scale": 0, "label": "", "shape": [3, 4, 2**23], "axes": [0, 1]}]
    yield Case("a node's axis too long", lambda: load(data | {"nodes": wide}), FormatError, sizes)
    yield Case("an axis in between", lambda: circuits._check_size((2**22,), "x"), None)
    yield Case("an axis too long", lambda: circuits._check_size((2**22 + 1,), "x"), FormatError, sizes)


def graphs():
    """Circuit.check, on graphs whose every part is well formed."""
    circuit = frozen()[0]
    nodes, bits = circuit.nodes, circuit.table_bits
    parameters = tuple(nodes[:3])
    first = {node.op: i for i, node in reversed(list(enumerate(nodes)))}
    rescale, dot, sign = roundings(circuit)[0], first["dot"], first["sign"]
    shape, update, x = nodes[rescale].shape, circuit.parameters[0].updates[0], circuit.inputs[0]
    other = partial(dataclasses.replace, circuit)

    def replaced(i, **changes):
        return other(nodes=(*nodes[:i], dataclasses.replace(nodes[i], **changes), *nodes[i + 1 :]))

    def added(*operations):
        """operations: (name, reads, shape, attributes); they follow after the last node."""
        return other(nodes=(*nodes, *(node(*operation) for operation in operations)))

    def fed(**changes):
        """With another first input."""
        return (dataclasses.replace(x, **changes), *circuit.inputs[1:])

    def updated(p, i, rates=(1,), circuit=circuit, others=None):
        """With another update of parameter p; others: those of all other parameters, None for what they are."""
        rest = [q if others is None else dataclasses.replace(q, updates=others) for q in circuit.parameters]
        rest[p] = dataclasses.replace(rest[p], updates=(parts.Update(i, rates),))
        return dataclasses.replace(circuit, parameters=tuple(rest))

    def tower(height):
        """Squares of squares."""
        return added(*(("dot", (x, x), shape, elementwise) for x in (dot if i == 0 else len(nodes) + i - 1 for i in range(height - 2))))

    # an update that depends on a weight: by itself, or through a product
    square = next(p for p, parameter in enumerate(circuit.parameters) if len(set(parameter.shape)) == 1)
    weight = next(i for i in circuit.of("param") if nodes[i].operation.index == square)
    twice = added(("dot", (weight, weight), nodes[weight].shape, {"contract": ((1,), (0,)), "batch": ((), ())}))
    elementwise = {"contract": ((), ()), "batch": ((0, 1), (0, 1))}
    loss = (dataclasses.replace(circuit.losses[0], node=dot),)
    scaled = added(("const", (), (), {"shape": (), "values": (2,)}), ("scale", (rescale, len(nodes)), shape, {"axes": ()}))

    for name, passed in (
        ("itself", circuit),
        ("as many bits as the table", replaced(rescale, operation=Rescale(shift=14, bits=bits - 1))),
        ("data that fill the table", other(inputs=fed(bits=bits - 1))),
        ("rates of every step", dataclasses.replace(updated(0, update.node, (1, 2)), max_steps=2)),
        ("a scale by a constant", scaled),
        ("an operand that is not rounded", added(("dot", (dot, dot), shape, elementwise))),
        ("as many products as are allowed", tower(MAX_DEPTH - 1)),
    ):  # fmt: skip
        yield Case(name, passed.check, None, value=passed)
    for name, refused, match in (
        ("a shape that does not follow", replaced(dot, shape=(1, 1)), "shape"),
        ("an attribute out of range", replaced(rescale, operation=Rescale(shift=63, bits=7)), "shift"),
        ("no inputs", other(inputs=(), nodes=()), "needs an input and a parameter"),
        ("no parameters", other(parameters=(), nodes=nodes[3:5]), "needs an input and a parameter"),
        ("another batch", other(nodes=parameters, inputs=(x, dataclasses.replace(x, shape=(4, 4)))), "first axis"),
        ("no batch", other(nodes=parameters, inputs=fed(shape=())[:1]), "first axis"),
        ("data beyond the table", other(inputs=fed(bits=bits)), "do not fit a table"),
        ("an update of another shape", updated(0, circuit.parameters[1].updates[0].node), "reads"),
        ("two rates", updated(0, update.node, (1, 2)), "rates"),
        ("a loss that is no scalar", other(losses=loss), "not a scalar"),
        ("a sign of no rescale", replaced(sign, inputs=(dot,)), "expected"),
        ("a gate of two rescales", replaced(first["gate"], inputs=(rescale, rescale)), "expected"),
        ("a scale by no constant", added(("scale", (rescale, rescale), shape, {"axes": (0, 1)})), "not a constant"),
        ("a quotient beyond the table", replaced(rescale, operation=Rescale(shift=14, bits=bits)), "do not fit a table"),
        ("a second sign", added(("sign", (rescale,), shape, {})), "a second sign"),
    ):
        yield Case(name, refused.check, FormatError, match)
    for name, refused, match in (
        ("an update that is a parameter", updated(square, weight), "depends on itself"),
        ("an update that multiplies a parameter", updated(square, len(nodes), circuit=twice), "depends on itself"),
        ("products above products", tower(MAX_DEPTH), f"more than {MAX_DEPTH}"),
    ):
        yield Case(name, refused.check, UnsupportedOperationError, match)
    for name, others in (("no other", ()), ("all others", None)):
        loose = updated(square, len(nodes), circuit=twice, others=others)
        yield Case(f"its bounds, {name}", partial(loose.bounds, (1,) * 3, 1), UnsupportedOperationError, "would go up again")
    for i in circuit.of("rescale"):
        signs = [s for s in circuit.of("sign") if nodes[s].inputs == (i,)]
        yield Case(f"the signs of {i}", partial(circuit.riders, i), None, value=tuple(signs))
    doubling = _one(*(node("linear", (i, i), (1,), {"coefficients": (1, 1)}) for i in range(60)))
    yield Case("a walk of 2^60 ways", lambda: doubling.levels.nodes[60], None, value=0)

    def axes(limit):
        with mock.patch("zkjax.circuit.wellformed.MAX_AXES", limit):
            return bool(dataclasses.replace(circuit).check())

    lengths = sum(sum(y.shape) for y in (*nodes, *circuit.inputs, *circuit.parameters))
    yield Case("axes as long as allowed", lambda: axes(lengths), None, value=True)
    yield Case("longer axes", lambda: axes(lengths - 1), UnsupportedOperationError, "axes of all tensors")


def shapes():
    leaves = ((3, 4), (3, 2)), ((4, 2),)
    v = (2, 3)
    most = MAX_CONSTANT
    for op, reads, attributes, expected in (
        ("input", [], {"index": 1}, (3, 2)),
        ("input", [], {"index": 0}, (3, 4)),
        ("input", [], {"index": 2}, "index"),
        ("input", [], {"index": -1}, "index"),
        ("input", [], {"index": True}, "index"),
        ("input", [], {"index": "0"}, "index"),
        ("input", [v], {"index": 0}, "reads other operations"),
        ("param", [], {"index": 0}, (4, 2)),
        ("param", [], {"index": 1}, "index"),
        ("param", [], {"index": False}, "index"),
        ("param", [v], {"index": 0}, "reads other operations"),
        ("const", [], {"shape": (2,), "values": (1, 2)}, (2,)),
        ("const", [], {"shape": (), "values": (1,)}, ()),
        ("const", [v], {"shape": (2,), "values": (1, 2)}, "reads other operations"),
        ("const", [], {"shape": (2,), "values": (1,)}, "values and shape differ"),
        ("const", [], {"shape": (0,), "values": ()}, "axis lengths"),
        ("const", [], {"shape": (2.0,), "values": (1, 2)}, "axis lengths"),
        ("const", [], {"shape": (most,), "values": (1,) * most}, (most,)),
        ("const", [], {"shape": (most + 1,), "values": (1,) * (most + 1)}, "too many values"),
        ("const", [], {"shape": (1,), "values": (WHOLE - 1,)}, (1,)),
        ("const", [], {"shape": (1,), "values": (WHOLE,)}, "values must be integers"),
        ("const", [], {"shape": (1,), "values": (-WHOLE,)}, "values must be integers"),
        ("const", [], {"shape": (1,), "values": (1.0,)}, "values must be integers"),
        ("sum", [], {"axes": ()}, "no inputs"),
        ("linear", [v, v, v], {"coefficients": (1, 2, 3)}, v),
        ("linear", [v, v], {"coefficients": (1, 2, 3)}, "shapes or coefficients differ"),
        ("linear", [v, (3, 2)], {"coefficients": (1, 2)}, "shapes or coefficients differ"),
        ("linear", [v], {"coefficients": (1 - WHOLE,)}, v),
        ("linear", [v], {"coefficients": (-WHOLE,)}, "coefficients must be integers"),
        ("linear", [v], {"coefficients": (1.0,)}, "coefficients must be integers"),
        ("transpose", [v], {"permutation": (1, 0)}, (3, 2)),
        ("transpose", [v], {"permutation": (1, 1)}, "not a permutation"),
        ("transpose", [v, v], {"permutation": (1, 0)}, "2 inputs"),
        ("reshape", [v], {"shape": (6,)}, (6,)),
        ("reshape", [v], {"shape": (7,)}, "sizes differ"),
        ("reshape", [v], {"shape": (-2, -3)}, "axis lengths"),
        ("broadcast", [(3,)], {"shape": (3, 2), "axes": (0,)}, (3, 2)),
        ("broadcast", [v], {"shape": (3, 2), "axes": (1, 0)}, (3, 2)),
        ("broadcast", [(3,)], {"shape": (3, 2), "axes": ()}, "axes"),
        ("broadcast", [(3, 3)], {"shape": (3, 2), "axes": (0, 0)}, "axes"),
        ("broadcast", [(3,)], {"shape": (3, 2), "axes": (1,)}, "axis lengths differ"),
        ("broadcast", [(3,)], {"shape": (2, 3), "axes": (-1,)}, "axis lengths differ"),
        ("broadcast", [(3,)], {"shape": (3, 2), "axes": (2,)}, "axis lengths differ"),
        ("broadcast", [(3,)], {"shape": (3, 0), "axes": (0,)}, "axis lengths must"),
        ("broadcast", [()], {"shape": (2,) * 8, "axes": ()}, (2,) * 8),
        ("broadcast", [()], {"shape": (2,) * 9, "axes": ()}, "9 axes, more than 8"),
        ("sum", [v], {"axes": (0,)}, (3,)),
        ("sum", [v], {"axes": (1, 0)}, ()),
        ("sum", [v], {"axes": (0, 0)}, "axes"),
        ("sum", [v], {"axes": (2,)}, "axes"),
        ("sum", [v], {"axes": (-1,)}, "axes"),
        ("reverse", [v], {"axes": (0, 1)}, v),
        ("reverse", [v], {"axes": (2,)}, "axes"),
        ("reverse", [v], {"axes": (0, 0)}, "axes"),
        ("slice", [v], {"start": (0, 1), "limit": (2, 3), "stride": (1, 2)}, (2, 1)),
        ("slice", [v], {"start": (0, 1), "limit": (2, 4), "stride": (1, 1)}, "slice bounds"),
        ("slice", [v], {"start": (0, 1), "limit": (2, 1), "stride": (1, 1)}, "slice bounds"),
        ("slice", [v], {"start": (-1, 0), "limit": (2, 1), "stride": (1, 1)}, "slice bounds"),
        ("slice", [v], {"start": (0, 0), "limit": (2, 1), "stride": (1, 0)}, "slice bounds"),
        ("pad", [v], {"low": (0, 1), "high": (1, 0), "interior": (0, 1)}, (3, 6)),
        ("pad", [v], {"low": (-1, 0), "high": (0, 0), "interior": (0, 0)}, "negative padding"),
        ("pad", [v], {"low": (0, 0), "high": (0, -1), "interior": (0, 0)}, "negative padding"),
        ("pad", [v], {"low": (0, 0), "high": (0, 0), "interior": (-1, 0)}, "negative padding"),
        ("pad", [v], {"low": (0.0, 0), "high": (0, 0), "interior": (0, 0)}, "axis lengths"),
        ("window", [v], {"axis": 1, "out": 4, "size": 2, "stride": 1, "dilation": 1, "pad": 1}, (2, 4, 2)),
        ("window", [v], {"axis": 0, "out": 1, "size": 1, "stride": 1, "dilation": 1, "pad": -9}, (1, 1, 3)),
        ("window", [v], {"axis": 2, "out": 1, "size": 1, "stride": 1, "dilation": 1, "pad": 0}, "axis"),
        ("window", [v], {"axis": -1, "out": 1, "size": 1, "stride": 1, "dilation": 1, "pad": 0}, "axis"),
        ("window", [v], {"axis": 0, "out": 0, "size": 1, "stride": 1, "dilation": 1, "pad": 0}, "axis lengths"),
        ("window", [v], {"axis": 0, "out": 1, "size": 0, "stride": 1, "dilation": 1, "pad": 0}, "axis lengths"),
        ("window", [v], {"axis": 0, "out": 1, "size": 1, "stride": 0, "dilation": 1, "pad": 0}, "stride"),
        ("window", [v], {"axis": 0, "out": 1, "size": 1, "stride": 1, "dilation": 0, "pad": 0}, "dilation"),
        ("window", [v], {"axis": 0, "out": 1, "size": 1, "stride": 1, "dilation": 1, "pad": (0,)}, "attributes are integers"),
        ("window", [(2,) * 8], {"axis": 0, "out": 1, "size": 1, "stride": 1, "dilation": 1, "pad": 0}, "9 axes"),
        ("concatenate", [v, (2, 1)], {"axis": 1}, (2, 4)),
        ("concatenate", [v, (1, 3)], {"axis": 0}, (3, 3)),
        ("concatenate", [v, (1, 1)], {"axis": 0}, "shapes differ"),
        ("concatenate", [v], {"axis": 2}, "axis"),
        ("concatenate", [v], {"axis": -1}, "axis"),
        ("concatenate", [v], {"axis": (0,)}, "axis"),
        ("scale", [v, (3,)], {"axes": (1,)}, v),
        ("scale", [v, (2, 3)], {"axes": (0, 1)}, v),
        ("scale", [v, (3,)], {"axes": ()}, "axes"),
        ("scale", [(3, 3), (3, 3)], {"axes": (0, 0)}, "axes"),
        ("scale", [v, (3,)], {"axes": (0,)}, "axis lengths differ"),
        ("scale", [v, (3,)], {"axes": (2,)}, "axis lengths differ"),
        ("scale", [v, (3,)], {"axes": (-1,)}, "axis lengths differ"),
        ("scale", [v], {"axes": ()}, "1 inputs"),
        ("dot", [v, (3, 4)], {"contract": ((1,), (0,)), "batch": ((), ())}, (2, 4)),
        ("dot", [(2, 3), (2, 4)], {"contract": ((), ()), "batch": ((0,), (0,))}, (2, 3, 4)),
        ("dot", [v, (3, 4)], {"contract": ((1, 0), (0,)), "batch": ((), ())}, "axes"),
        ("dot", [(3, 3), (3,)], {"contract": ((1,), (0,)), "batch": ((0,), ())}, "axes"),
        ("dot", [(3, 3), (3, 3)], {"contract": ((0,), (0,)), "batch": ((0,), (1,))}, "axes"),
        ("dot", [v, (3, 4)], {"contract": ((2,), (0,)), "batch": ((), ())}, "axes"),
        ("dot", [v, (4, 3)], {"contract": ((-1,), (1,)), "batch": ((), ())}, "axes"),
        ("dot", [v, (3, 4)], {"contract": ((1,), (2,)), "batch": ((), ())}, "axes"),
        ("dot", [v, (3, 4)], {"contract": ((1,), (1,)), "batch": ((), ())}, "axis lengths differ"),
        ("rescale", [v], {"shift": 0, "bits": 0}, v),
        ("rescale", [v], {"shift": 62, "bits": 40}, v),
        ("rescale", [v], {"shift": 63, "bits": 1}, "shift"),
        ("ceiling", [v], {"shift": 62, "bits": 40}, v),
        ("ceiling", [v], {"shift": 63, "bits": 1}, "shift"),
        ("ceiling", [v], {"shift": 1, "bits": 41}, "bits"),
        ("rescale", [v], {"shift": -1, "bits": 1}, "shift"),
        ("rescale", [v], {"shift": 1.0, "bits": 1}, "shift"),
        ("rescale", [v], {"shift": 1, "bits": 41}, "bits"),
        ("rescale", [v], {"shift": 1, "bits": -1}, "bits"),
        ("rescale", [v], {"shift": 1, "bits": 1.0}, "bits"),
        ("sign", [v], {}, v),
        ("gate", [v, v], {}, v),
        ("gate", [v, (3, 2)], {}, "shapes differ"),
        ("gate", [v], {}, "1 inputs"),
        *advice_shapes(v),
    ):  # fmt: skip
        name = f"{op} {reads} {attributes}"[:90]
        call = lambda op=op, reads=reads, attributes=attributes: inferred(op, reads, attributes, *leaves)  # noqa: E731
        yield Case(name, call, None, value=expected) if isinstance(expected, tuple) else Case(name, call, ValueError, expected)


def advice_shapes(v):
    """Of ranges, functions, one-hots, maxima, quotients, roots and numbers of the step."""
    program = (("x",), ("exp", 0))
    spans = {"low": -4, "width": 3}
    riding = spans | {"program": program, "unit": (1, 2)}
    programs = [
        [("x",)], (), (("exp", 0),), (("x",), ()), (("x",), "exp"), (("x",), ["exp", 0]), (("x",), ("exp", 1)), (("x",), ("exp", -1)),
        (("x",), ("exp", 0.0)), (("x",), ("exp", False)), (("x",), ("add", 0)), (("x",), ("exp", 0, 0)), (("x",), ("sinh", 0)),
        (("x",), ("number", 1)), (("x",), ("number", 1, 0)), (("x",), ("number", 2, 4)), (("x",), ("number", 0, 2)),
    ]  # fmt: skip
    longest = (("x",), *(("neg", k) for k in range(MAX_INSTRUCTIONS - 1)))
    for op, own, shape in (
        ("range", spans, v),
        ("largest", spans, (2,)),
        ("function", riding | {"scale": 3}, v),
        ("onehot", riding | {"size": 5}, (*v, 5)),
    ):
        yield op, [v], own, shape
        for attribute, passing, refused in (
            ("width", (1, MAX_WIDTH), (0, MAX_WIDTH + 1, 3.0)),
            ("low", (1 - WHOLE // 2, WHOLE // 2 - 1), (-WHOLE // 2, WHOLE // 2, 0.0)),
        ):
            yield from ((op, [v], own | {attribute: x}, shape) for x in passing)
            yield from ((op, [v], own | {attribute: x}, attribute) for x in refused)
        if "program" in own:
            yield from ((op, [v], own | {"program": x}, "instruction|program|number") for x in (*programs, (*longest, ("neg", 0))))
            yield from ((op, [v], own | {"program": x}, shape) for x in ((("x",),), (("x",), ("number", 0, 1)), longest))
            yield from ((op, [v], own | {"unit": x}, "unit") for x in ((1,), (1, 2, 3), (1, 0), (1, -1), (0, 1), (1, 2.0), (True, 1)))
            yield op, [v], own | {"unit": (-3, 1)}, shape
    for scale, shape in ((-62, v), (62, v), (-63, "scale"), (63, "scale"), (1.0, "scale")):
        yield "function", [v], riding | {"scale": scale}, shape
    for size, shape in ((1, (*v, 1)), (MAX_SIZE, (*v, MAX_SIZE)), (0, "size"), (MAX_SIZE + 1, "size"), (1.0, "size")):
        yield "onehot", [v], riding | {"size": size}, shape
    yield "largest", [(4,)], spans, ()
    yield "largest", [()], spans, "no axis"
    yield "first", [(2,), v], {}, v
    yield "first", [v, v], {}, "shapes differ"
    yield "first", [(3,), v], {}, "shapes differ"
    yield "divide", [v, v], {"divisor": 1, "bits": 0}, v
    yield "divide", [v, v], {"divisor": 62, "bits": 40}, v
    yield "divide", [v, (3, 2)], {"divisor": 1, "bits": 0}, "shapes differ"
    yield from (("divide", [v, v], {"divisor": x, "bits": 0}, "divisor") for x in (0, 63, 1.0))
    yield from (("divide", [v, v], {"divisor": 1, "bits": x}, "bits") for x in (-1, 41, 1.0))
    for size, shape in ((2, v), (MAX_ROOT, v), (1, "size"), (MAX_ROOT + 1, "size"), (2.0, "size")):
        yield "root", [v], {"size": size}, shape
    for numbers, shape in (
        ((WHOLE - 1, 1 - WHOLE), v),
        ((), "numbers"),
        ((WHOLE,), "numbers"),
        ((-WHOLE,), "numbers"),
        ((1.0,), "numbers"),
    ):
        yield "paced", [v], {"numbers": numbers}, shape


def advice():
    """What operations demand of their neighbours, and functions of their tables."""
    shape, axes = (2, 3), {"contract": ((), ()), "batch": ((0, 1), (0, 1))}
    spans, program = {"low": -16, "width": 5}, (("x",), ("exp", 0))
    riding = spans | {"program": program, "unit": (1, 8)}
    function, onehot = riding | {"scale": 3}, riding | {"size": 2}
    reciprocal = riding | {"program": (("x",), ("number", 8, 1), ("div", 1, 0)), "scale": 0}
    negative, positive = (riding | {"scale": 0, "program": (("x",), *p)} for p in (((("log", 0)),), (("neg", 0), ("log", 1))))
    site, rescale, divide, root = (
        ("range", (0,), shape, spans),
        ("rescale", (0,), shape, {"shift": 0, "bits": 4}),
        {"divisor": 7, "bits": 3},
        5,
    )

    def checked(*operations, steps=None):
        """Operations after one input of five bits and sign, with a table of seven."""
        nodes = (node("input", (), shape, {"index": 0}), *(node(*x) for x in operations))
        return Circuit(nodes, (parts.Input("x", shape, 0, 5),), (parts.Parameter("w", (1,)),), (), 7, steps).check()

    largest, first = ("largest", (1,), (2,), spans), ("first", (2, 1), shape, {})
    for name, operations in (
        ("a range that fills the table", [("range", (0,), shape, {"low": 0, "width": 7})]),
        ("a function of a range", [site, ("function", (1,), shape, function)]),
        ("a function of a rescale", [rescale, ("function", (1,), shape, function)]),
        ("one that has no value at 0", [site, ("function", (1,), shape, reciprocal)]),
        ("a function, a one-hot and a sign", [site, *_all_riding(shape, function, onehot)]),
        ("a maximum and its place", [site, largest, first]),
        ("a maximum of a rescale", [rescale, largest, first]),
        ("a quotient", [("divide", (0, 0), shape, divide), ("dot", (0, 1), shape, axes)]),
        ("a quotient that fills the table", [("divide", (0, 0), shape, divide | {"bits": 6}), ("dot", (0, 1), shape, axes)]),
        ("a root", [("root", (0,), shape, {"size": root}), ("dot", (1, 1), shape, axes)]),
    ):
        yield Case(name, lambda operations=operations: len(checked(*operations).nodes), None, value=len(operations) + 1)
    yield Case("a number for each step", lambda: checked(("paced", (0,), shape, {"numbers": (1, 2)}), steps=2).max_steps, None, value=2)
    own = "no range of its own"
    for name, operations, match in (
        ("a range beyond the table", [("range", (0,), shape, {"low": 0, "width": 8})], "8 bits do not fit a table of 7"),
        ("a function of an input", [("function", (0,), shape, function)], own),
        ("a function of another range", [site, ("function", (1,), shape, function | {"low": -15})], own),
        ("a function of another width", [site, ("function", (1,), shape, function | {"width": 4})], own),
        ("a function twice", [site, *[("function", (1,), shape, function)] * 2], "a second one"),
        ("a one-hot twice", [site, *[("onehot", (1,), (*shape, 2), onehot)] * 2], "a second one"),
        ("a sign of an input", [("sign", (0,), shape, {})], "expected"),
        ("a sign twice", [site, *[("sign", (1,), shape, {})] * 2], "a second sign"),
        ("a maximum of an input", [("largest", (0,), (2,), spans)], own),
        ("a maximum of another range", [site, ("largest", (1,), (2,), spans | {"low": -15})], own),
        ("a place of no maximum", [site, ("sum", (1,), (2,), {"axes": (1,)}), first], "no maximum of its second operand"),
        ("a place of another's maximum", [site, largest, ("first", (2, 0), shape, {})], "no maximum of its second operand"),
        (
            "a quotient beyond the table",
            [("divide", (0, 0), shape, divide | {"bits": 7}), ("dot", (0, 1), shape, axes)],
            "8 bits do not fit",
        ),
        ("a quotient at the end", [("divide", (0, 0), shape, divide)], "not its product"),
        ("a quotient and another operation", [("divide", (0, 0), shape, divide), ("gate", (0, 1), shape, {})], "not its product"),
        ("a quotient and another product", [("divide", (0, 0), shape, divide), ("dot", (1, 0), shape, axes)], "not its product"),
        ("a root at the end", [("root", (0,), shape, {"size": root})], "not its square"),
        ("a root and another operation", [("root", (0,), shape, {"size": root}), ("gate", (1, 1), shape, {})], "not its square"),
        ("a root and another product", [("root", (0,), shape, {"size": root}), ("dot", (1, 0), shape, axes)], "not its square"),
    ):
        yield Case(name, lambda operations=operations: checked(*operations), FormatError, match)
    for steps in (None, 1, 3):
        call = lambda steps=steps: checked(("paced", (0,), shape, {"numbers": (1, 2)}), steps=steps)  # noqa: E731
        yield Case(f"numbers of other steps: {steps}", call, FormatError, "2 numbers; expected")

    def table(*columns):
        return Table("function", 5, tuple(Column(c["program"], c["low"], c["unit"], c["scale"]) for c in columns))

    for name, charged, match in (
        (
            "no value at all",
            lambda: table(riding | {"scale": 0, "program": (("x",), ("abs", 0), ("neg", 1), ("log", 2))}),
            "no value in its table",
        ),
        ("no row in common", lambda: table(negative, positive), "no row in common"),
    ):
        yield Case(f"functions with {name}", lambda charged=charged: charge(charged(), Meter()), FormatError, match)
    program = (("x",), ("exp", 0), ("sub", 1, 1), ("number", 2**60, 1), ("mul", 2, 3))  # of which floating-point intervals say nothing
    for name, column, work, kept in (
        ("that floats settle", function, 4 * 2 * 32, 8 * 32),
        ("that decimals settle", riding | {"scale": 0, "program": program}, (4 + 2**11) * 5 * 32, 8 * 32),
    ):
        yield Case(f"the price of entries {name}", lambda column=column: _charged(table(column)), None, value=(work, kept))

    def price(*operations):
        meter = Meter()
        charge_file(checked(*operations), meter)
        return meter.shares.get("tables of functions")

    yield Case("the price of a file's tables", lambda: price(site, ("function", (1,), shape, function)), None, value=4 * 2 * 32)
    for kind, width in (("range", 1), ("sign", 2), ("first", 2)):
        yield Case(f"columns of {kind}", lambda kind=kind: Table(kind, 3).width_of_rows, None, value=width)
    yield Case("columns of functions", lambda: table(function, reciprocal).width_of_rows, None, value=3)
    hot = Table("function", 5, (Column(program, -16, (1, 8), 0, 4), Column(program, -16, (1, 8), 0)))
    yield Case("columns of a one-hot", lambda: hot.width_of_rows, None, value=6)
    for kind, columns in (("none", ()), ("function", ()), ("range", hot.functions)):
        yield Case(f"a table of kind {kind}", lambda kind=kind, columns=columns: Table(kind, 3, columns), ValueError, "no table of kind")


def _all_riding(shape, function, onehot):
    return ("function", (1,), shape, function), ("onehot", (1,), (*shape, 2), onehot), ("sign", (1,), shape, {})


def _charged(table) -> tuple[int, int]:
    meter = Meter()
    charge(table, meter)
    return meter.work, meter.kept - BASE


def layouts():
    """How many blocks a layout may have."""
    sevens = {9: (7,) * 4}

    def blocks(shapes, boxes=81, total=2**13):
        with mock.patch("zkjax.algebra.layout.FEW_BOXES", boxes), mock.patch("zkjax.algebra.layout.MAX_BLOCKS", total):
            return len(Layout(shapes).pieces)

    for boxes, value in ((81, 81), (80, 27), (27, 27), (26, 9), (8, 3), (2, 1)):
        yield Case(f"at most {boxes} boxes", lambda boxes=boxes: blocks(sevens, boxes), None, value=value)
    yield Case("of few axes any number", lambda: blocks({9: (7, 28, 14)}, 1), None, value=27)
    yield Case("the axis that wastes most", lambda: len(Layout({9: (4, 28, 16, 10)}).pieces), None, value=2)
    yield Case("all blocks that are allowed", lambda: blocks(sevens | {1: (7,) * 4}, 27, 54), None, value=54)
    yield Case("more blocks", lambda: blocks(sevens | {1: (7,) * 4}, 27, 53), UnsupportedOperationError, "more than 53 blocks")


def bounds():
    circuit = frozen()[0]
    scheduled = dataclasses.replace(circuit, max_steps=4)
    start = frozen()[1].statement.initial_bound
    yield Case("the last step of a schedule", lambda: len(scheduled.bounds(start, 2, 2).final), None, value=3)
    yield Case("a step beyond", lambda: scheduled.bounds(start, 2, 3), PrecisionError, "go beyond the 4 steps")
    for steps, first in ((1, 0), (2, 0), (3, 5)):
        yield Case(
            f"growth over {steps}",
            lambda steps=steps, first=first: circuit.bounds(start, steps, first),
            None,
            value=by_hand(circuit, start, steps),
        )
    parameter = dataclasses.replace(circuit.parameters[0], updates=(parts.Update(circuit.parameters[0].updates[0].node, (1, -5, 7, 2)),))
    varied = dataclasses.replace(scheduled, parameters=(parameter, *circuit.parameters[1:]))
    u = circuit.node_bounds()[parameter.updates[0].node]
    yield Case("a schedule, inside", lambda: varied.bounds(start, 3, 1).inside[0], None, value=start[0] + 12 * u)
    yield Case("a schedule, at the end", lambda: varied.bounds(start, 3, 1).final[0], None, value=start[0] + 14 * u)
    for x, y, attributes, expected in (
        ("dot", [3, 5], {"contract": ((1, 2), (0, 1)), "batch": ((), ())}, 3 * 5 * 4 * 6),
        ("sum", [3], {"axes": (0, 2)}, 3 * 2 * 6),
        ("linear", [3, 5], {"coefficients": (-2, 7)}, 2 * 3 + 7 * 5),
        ("scale", [3, 5], {"axes": ()}, 15),
        ("gate", [1, 5], {}, 5),
        ("concatenate", [3, 5], {"axis": 0}, 5),
        ("reverse", [3], {"axes": ()}, 3),
        ("window", [3], {"axis": 0, "out": 9, "size": 9, "stride": 1, "dilation": 1, "pad": 0}, 3),
        ("rescale", [99], {"shift": 3, "bits": 4}, 16),
        ("ceiling", [99], {"shift": 3, "bits": 4}, 16),
        ("sign", [99], {}, 1),
        ("input", [], {"index": 0}, 2 ** circuit.inputs[0].bits),
        ("const", [], {"shape": (3,), "values": (3, -8, 5)}, 8),
        ("param", [], {"index": 1}, 77),
        ("linear", [3, None], {"coefficients": (1, 1)}, None),
    ):
        bound = node(x, (), (), attributes).operation.bound
        yield Case(f"bound of {x}", partial(bound, y, [(2, 4, 6)] * 2, circuit.leaves((5, 77))), None, value=expected)
    yield Case("a table of another kind", lambda: Table("signs", 3), ValueError, "no table of kind")
    yield Case("the other end of an equation", lambda: ranges.farthest(-3, ((2, -1, 5), (-1, 0, 4))), None, value=9)
    yield Case("the far end of an equation", lambda: ranges.farthest(3, ((2, -1, 5), (-1, 0, 4))), None, value=13)
    yield Case("a revealed integer", lambda: ranges.residues_differ(7), None, value=14)
    yield Case("signed values of a table", lambda: ranges.signed_bound(9), None, value=256)
    yield Case("a range check", lambda: coarse.shown(circuit, (3, 0, 1), (9, 25, 1)), None, value=(2**11, 2**24, 2))
    huge = (2**61,) * 3
    for name, first, match in (
        ("weights", 0, "use smaller initial parameters, or give fewer"),
        ("a chain", 5, "train with a smaller learning rate"),
    ):
        text = f"in a chunk of 2 steps; {match}"
        yield Case(f"{name} with large bounds", lambda first=first: circuit.bounds(huge, 2, first), PrecisionError, text)

    def advised():
        try:
            circuit.bounds(start, 2**60)
        except PrecisionError as error:
            return int(re.search(r"use chunks of at most (\d+) steps$", str(error))[1])

    yield Case("the longest chunk that is advised", lambda: len(circuit.bounds(start, advised()).final), None, value=3)
    yield Case("one step more", lambda: circuit.bounds(start, advised() + 1), PrecisionError, "may reach")
    for x, message in ((WHOLE - 2**36 - 2**35 - 1, None), (WHOLE - 2**36 - 2**35, "may reach")):
        tight = _one_rescale(x)
        yield Case(f"a rescale of {x}", lambda tight=tight: tight.bounds((0,), 1).final, PrecisionError if message else None, message or "")
    for x, message in ((WHOLE - 2**37, None), (WHOLE - 2**37 + 1, "may reach")):  # half a unit less: more is added to it
        tight = _one_rescale(x, "ceiling")
        yield Case(f"a ceiling of {x}", lambda tight=tight: tight.bounds((0,), 1).final, PrecisionError if message else None, message or "")
    for x, message in ((WHOLE // 2 - 1, None), (WHOLE // 2, "the loss")):
        tight = _one_loss(x)
        yield Case(f"a loss of {x}", lambda tight=tight: tight.bounds((0,), 1).final, PrecisionError if message else None, message or "")
    for x, message in ((WHOLE // 2 - 1, None), (WHOLE // 2, "parameter w may reach")):
        yield Case(
            f"a parameter of {x}", lambda x=x: _one_loss(1).bounds((x,), 1).final, PrecisionError if message else None, message or ""
        )
    for x, message in ((WHOLE - 1, None), (WHOLE, "may reach")):
        wide = dataclasses.replace(_one_loss(1), nodes=(*_one_loss(1).nodes, node("linear", (0,), (1,), {"coefficients": (x,)})))
        yield Case(f"a node of {x}", lambda wide=wide: wide.bounds((0,), 1).final, PrecisionError if message else None, message or "")


def by_hand(circuit, start, steps):
    """The bounds of a circuit whose rates are constant."""
    u = circuit.node_bounds()
    growth = [sum(u[x.node] * abs(x.rates[0]) for x in p.updates) for p in circuit.parameters]
    inside, final = (tuple(b + n * g for b, g in zip(start, growth)) for n in (steps - 1, steps))
    return Bounds(tuple(of_nodes(circuit, inside)), inside, final)


def _one(*nodes, losses=()):
    """A circuit of one input in [-1, 1) and one frozen parameter w."""
    x = parts.Input("x", (1,), 0, 0)
    return Circuit((node("input", (), (1,), {"index": 0}), *nodes), (x,), (parts.Parameter("w", (1,)),), losses, 20)


def _one_rescale(x, op="rescale"):
    return _one(node("linear", (0,), (1,), {"coefficients": (x,)}), node(op, (1,), (1,), {"shift": 36, "bits": 0}))


def _one_loss(x):
    total = (node("linear", (0,), (1,), {"coefficients": (x,)}), node("sum", (1,), (), {"axes": (0,)}))
    return _one(*total, losses=(parts.Loss(2, Fraction(1)),))


def walks():
    """Claims that would take a verifier too much work."""
    circuit = frozen()[0]
    reshape = circuit.of("reshape")[0]
    shape = circuit.nodes[reshape].shape
    ones = tuple(map(Vectors().ones, shape))
    term = Term(("node", reshape), ONE, ones[0], tuple((d,) for d in range(len(shape))), ones)

    def work(limit):
        with mock.patch("zkjax.protocol.claims.MAX_WORK", limit):
            return len(Walk(circuit, Vectors()).run([term])[0])

    walk = Walk(circuit, Vectors())
    walk.run([term])
    yield Case("as much work as allowed", lambda: work(walk.work), None, value=2)  # a ReLU is a gate and its sign
    yield Case("more work", lambda: work(walk.work - 1), UnsupportedOperationError, "too many terms")

    def joint(limit):
        with mock.patch("zkjax.protocol.claims.MAX_JOINT_AXIS", limit):
            return len(Walk(circuit, Vectors()).run([term])[0])

    longest = max(a * b for a, b in zip(shape[1:], shape[2:]))
    yield Case("a joint axis", lambda: joint(longest), None, value=2)
    yield Case("a longer joint axis", lambda: joint(longest - 1), UnsupportedOperationError, "joins axes")


def meters():
    """What a verifier's limits let pass."""

    def charged(work=10, kept=5, passing=5, max_work=None, max_memory=None):
        meter = Meter(max_work, max_memory)
        meter.charge("x", work, kept, passing)
        return meter.work, meter.memory - BASE

    yield Case("no limits", charged, None, value=(10, 10))
    yield Case("exactly", lambda: charged(max_work=10, max_memory=BASE + 10), None, value=(10, 10))
    yield Case("a unit more", lambda: charged(max_work=9), VerificationError, "^work: .*limit of 9 field multiplications, 10 of them for x")
    yield Case("a byte more", lambda: charged(max_memory=BASE + 9), VerificationError, "^work: .*bytes of memory, 10 of them for x")
    first, part = Meter(), Meter()
    first.charge("x", 1, 100)
    first.next_proof()
    first.charge("x", 1, 50)
    two = first.work, first.memory - BASE
    yield Case("the memory of two proofs", lambda: two, None, value=(2, 100))
    part.charge("x", 3, 4, 5)
    first.repeat(part, 20)
    yield Case("twenty alike", lambda: (first.work, first.kept - BASE, first.memory - BASE), None, value=(62, 130, 135))


def ordinary_files():
    def reading(limit, magic=b"", size=None):
        """Of a file of eight bytes; size: what it is said to have, as one does that grows while it is read."""
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "file").write_bytes(b"12345678")
            if size is None:
                return read(Path(folder) / "file", limit, magic)
            with mock.patch("os.fstat", lambda _: mock.Mock(st_mode=stat.S_IFREG, st_size=size)):
                return read(Path(folder) / "file", limit, magic)

    def pipe():
        with tempfile.TemporaryDirectory() as folder:
            os.mkfifo(Path(folder) / "pipe")
            return read(Path(folder) / "pipe", 8)

    yield Case("a file", lambda: reading(8), None, value=b"12345678")
    yield Case("its beginning", lambda: reading(8, b"1234"), None, value=b"12345678")
    yield Case("another beginning", lambda: reading(8, b"1235"), None, value=b"1234")
    yield Case("another beginning, however long", lambda: reading(2, b"1235"), None, value=b"1234")
    yield Case("a longer file", lambda: reading(7), FormatError, "more than 7 bytes")
    yield Case("a longer file with its beginning", lambda: reading(7, b"12"), FormatError, "more than 7 bytes")
    for magic in (b"", b"123"):
        yield Case(f"it grows, {magic}", lambda magic=magic: reading(7, magic, 0), FormatError, "more than 7 bytes")
        yield Case(f"it grows a little, {magic}", lambda magic=magic: reading(8, magic, 0), None, value=b"12345678")
    yield Case("a long hole is not read", lambda: reading(8, b"", 9), FormatError, "more than 8 bytes")
    yield Case("a pipe", pipe, FormatError, "not an ordinary file")


# ---- schedule ---------------------------------------------------------------------------------------------------
def schedules():
    most = schedule.MAX_SHARD

    def indices(seed=1, samples=9, shard_size=4, batch=3, first_step=0, steps=2):
        return batch_indices(seed, samples, shard_size, batch, first_step, steps).tolist()

    vector = [[5, 7, 8], [0, 3, 1], [2, 5, 4]]  # PROTOCOL.md, section 22
    ten = [6, 3, 8, 7, 1, 0, 5, 4, 2, 9]
    yield Case("a permutation", lambda: schedule.permutation(10, 1, 2, 3).tolist(), None, value=ten)
    yield Case("words of several hashes", lambda: len(set(itertools.islice(schedule.words(1, 2, 3), 64))), None, value=64)
    yield Case("a vector", lambda: indices(seed=5, samples=10, first_step=2, steps=3), None, value=vector)
    # steps of one epoch, of two, and shards that are skipped
    for first in range(6):
        whole = [x for t in range(3) for x in indices(first_step=3 * (first // 3), steps=3)[t]]
        at_step = first % 3
        yield Case(
            f"step {first}", lambda first=first: indices(first_step=first, steps=1), None, value=[whole[3 * at_step : 3 * at_step + 3]]
        )
        yield Case(f"epoch of step {first}", lambda whole=whole: sorted(whole), None, value=list(range(9)))
    for change, match in (
        ({"seed": -1}, "seed is"),
        ({"seed": 2**64}, "seed is"),
        ({"samples": 0}, "must be positive"),
        ({"samples": 2**32, "shard_size": 2**20}, "must be positive"),
        ({"shard_size": 0}, "must be positive"),
        ({"samples": most + 1, "shard_size": most + 1}, "there may be"),
        ({"samples": most + 1, "shard_size": 1}, "there may be"),
        ({"first_step": -1}, "must be at least 0"),
        ({"steps": -1}, "must be at least 0"),
        ({"batch": 0}, "do not fill one batch"),
        ({"batch": 10}, "do not fill one batch"),
    ):
        yield Case(f"{change}", lambda change=change: indices(**change), DataError, match)
    for change, value in (
        ({"seed": 0}, 2),
        ({"seed": 2**64 - 1}, 2),
        ({"batch": 9}, 2),
        ({"batch": 1}, 2),
        ({"samples": 1, "shard_size": 1, "batch": 1}, 2),
        ({"steps": 0}, 0),
    ):
        yield Case(f"{change}", lambda change=change: len(indices(**change)), None, value=value)
    with_permutations = mock.patch("zkjax.protocol.schedule.shard_order", lambda length, *rest: np.arange(length))
    for change in ({"samples": most, "shard_size": most}, {"samples": most, "shard_size": 1}, {"samples": 2**32 - 1, "shard_size": 2**20}):

        def largest(change=change):
            with with_permutations:
                return len(indices(**change))

        yield Case(f"{change}", largest, None, value=2)


# ---- what no lookup anchors ------------------------------------------------------------------------------------
def anchors():
    """Circuits of an operation whose committed quotient is looked up in another way than a rescale's."""
    shape = (2,)
    nodes = (node("input", (), shape, {"index": 0}), *(node("rescale", (0,), shape, {"shift": s, "bits": 4}) for s in (2, 3)))
    own = Rescale.lookups

    def checked(columns, count=2):
        """columns(i): those of the lookup of the quotient i."""

        def lookups(self, i, circuit):
            alone, *rest = own(self, i, circuit)
            found = columns(i)
            return rest if found is None else [dataclasses.replace(alone, columns=found), *rest]

        with mock.patch.object(Rescale, "lookups", lookups):
            x = parts.Input("x", shape, 0, 5)
            return len(Circuit(nodes[: count + 1], (x,), (parts.Parameter("w", (1,)),), (), 9).check().nodes)

    def column(*terms):
        return ((0, tuple((c, ("quotient", i)) for c, i in terms)),)

    refused = r"operation \d rescale .*no lookup shows a range of its committed tensor quotient"
    for name, columns in (
        ("no lookup", lambda i: None),
        ("no lookup of the second", lambda i: column((1, 1)) if i == 1 else None),
        ("twice the quotient", lambda i: column((2, i))),
        ("-4 times the quotient", lambda i: column((-4, i))),
        ("the sum of two", lambda i: column((1, 1), (1, 2))),
        ("a sum of another's value", lambda i: ((0, ((1, ("node", 2)),)),) if i == 1 else column((1, 1))),
        ("a quotient and the value of another without a range", lambda i: ((0, ((1, ("quotient", i)), (1, ("node", 3 - i)))),)),
    ):
        yield Case(name, lambda columns=columns: checked(columns), FormatError, refused)
    for name, columns in (
        ("each its own", lambda i: column((1, i))),
        ("times -1", lambda i: column((-1, i))),
        ("a sum with one that is anchored", lambda i: column((1, 1)) if i == 1 else column((1, 1), (1, 2))),
        ("a sum with one that is anchored later", lambda i: column((1, 2)) if i == 2 else column((3, 2), (1, 1))),
        (
            "a sum with the value of one that is anchored",
            lambda i: column((1, 1)) if i == 1 else ((0, ((1, ("quotient", 2)), (5, ("node", 1)))),),
        ),
        ("a further column", lambda i: (*column((2, i)), *column((1, i)))),
    ):
        yield Case(name, lambda columns=columns: checked(columns), None, value=3)


# ---- draws -----------------------------------------------------------------------------------------------------
def draws():
    """The last draw that is well-formed, and the first one that is not."""
    whole = {"shape": (2, 3), "words": (1, 2), "path": (7, -1), "shift": 9, "threshold": 5}

    def shape(change):
        return Draw(**whole | change).infer_shape([], Leaves((), ()))

    for kept, refused, match in (
        ({"words": (0, 2**32 - 1)}, {"words": (0, 2**32)}, "32 bits"),
        ({"words": (0, 0)}, {"words": (-1, 0)}, "32 bits"),
        ({"words": (1, 2, 3, 4)}, {"words": (1, 2, 3)}, "two words"),
        ({"words": (1, 2)}, {"words": ()}, "two words"),
        ({"words": (1, 2)}, {"words": (1, 2.0)}, "32 bits"),
        ({"path": (0,) * 8}, {"path": (0,) * 9}, "path"),
        ({"path": (-2, 2**32 - 1)}, {"path": (-3,)}, "path"),
        ({"path": ()}, {"path": (2**32,)}, "path"),
        ({"path": (0,)}, {"path": (0.0,)}, "path"),
        ({"shape": ()}, {"shift": 9.0}, "shift"),
        ({"shape": (3,)}, {"threshold": 5.0}, "threshold"),
        ({"shape": (1,), "path": (-2,)}, {"shape": (), "path": (-2,)}, "no rows"),
        ({"shift": 0}, {"shift": -1}, "shift"),
        ({"shift": 31, "threshold": 1}, {"shift": 32, "threshold": 0}, "shift"),
        ({"threshold": 2**23 - 1}, {"threshold": 2**23}, "threshold"),
        ({"threshold": 0}, {"threshold": -1}, "threshold"),
        ({"shape": (2**21,)}, {"shape": (2**21 + 1,)}, "too many entries"),
        ({"shape": (2**10, 2**20)}, {"shape": (2**11, 2**20)}, "too many entries"),
    ):
        yield Case(f"kept: {kept}", lambda change=kept: shape(change), None, value=kept.get("shape", (2, 3)))
        yield Case(f"refused: {refused}", lambda change=refused: shape(change), ValueError, match)
    for count, max_steps in ((2, None), (2, 3), (6, 3)):
        made = partial(drawing, (1,) * count, max_steps=max_steps)
        yield Case(f"{count} words for {max_steps} steps", lambda made=made: made().max_steps, None, value=max_steps)
    for count, max_steps in ((4, None), (4, 3), (8, 3)):
        made = partial(drawing, (1,) * count, max_steps=max_steps)
        yield Case(f"{count} words for {max_steps} steps", made, FormatError, "words; expected")
    for shift, threshold, bound in ((0, 0, 2**32 - 1), (29, 0, 7), (29, 3, 1)):
        one = Draw(**whole | {"shift": shift, "threshold": threshold})
        yield Case(f"bound of {shift}, {threshold}", lambda one=one: one.bound([], [], None), None, value=bound)
    for change, step in (({}, 0), ({"threshold": 0, "shift": 29}, 5), ({"path": (-2, -1)}, 3), ({"words": tuple(range(8)), "path": ()}, 2)):
        one = Draw(**whole | change)
        data = {"nodes": [{**whole, **change}], "shapes": [one.shape]}
        expected = reference.drawn(SimpleNamespace(**data), 0, step)
        yield Case(
            f"drawn: {change} in step {step}", lambda x=one, t=step: x.values(x.keys(t, 1)[0]).reshape(-1).tolist(), None, value=expected
        )


def residues():
    """The last residue that is well-formed, and the first one that is not."""
    whole = {"shape": (2, 3), "words": (1, 2), "path": (7, -1), "shift": 0, "threshold": 0, "modulus": 5, "parts": 1}

    def shape(change):
        return Residue(**whole | change).infer_shape([], Leaves((), ()))

    for kept, refused, match in (
        ({"modulus": 2}, {"modulus": 1}, "modulus"),
        ({"modulus": 2**32 - 1}, {"modulus": 2**32}, "modulus"),
        ({"modulus": 3}, {"modulus": 5.0}, "modulus"),
        ({"parts": 1}, {"parts": 0}, "parts"),
        ({"parts": 2}, {"parts": 3}, "parts"),
        ({"parts": 2, "shape": (4,)}, {"parts": 1.0}, "parts"),
        ({"parts": 2, "modulus": 2**16}, {"parts": 2, "modulus": 2**16 + 1}, "two words"),
        ({"parts": 1, "shift": 1, "modulus": 2**16 + 1}, {"parts": 2, "shift": 1}, "two words"),
        ({"threshold": 4}, {"threshold": 5}, "threshold"),
        ({"threshold": 4, "modulus": 2**20}, {"threshold": -2}, "threshold"),
        ({"path": (0,) * 8}, {"path": (0,) * 9}, "path"),
        ({"shape": (2**21,)}, {"shape": (2**21 + 1,)}, "too many entries"),
    ):
        yield Case(f"kept: {kept}", lambda change=kept: shape(change), None, value=kept.get("shape", (2, 3)))
        yield Case(f"refused: {refused}", lambda change=refused: shape(change), ValueError, match)
    for kept, refused, match in (
        ({"modulus": 2**21}, {"modulus": 2**21 + 1}, "too many places"),
        ({"shape": (2**10,), "modulus": 2**21 - 1}, {"shape": (2**10,), "modulus": 2**21}, "too many places"),
        ({"path": (0,) * 8}, {"path": (0,) * 9}, "path"),
    ):
        found = (*kept.get("shape", (2, 3)), kept.get("modulus", 5))
        yield Case(f"one-hots kept: {kept}", lambda change=kept: shape(change | {"threshold": -1}), None, value=found)
        yield Case(f"one-hots refused: {refused}", lambda change=refused: shape(change | {"threshold": -1}), ValueError, match)
    for threshold, bound in ((0, 4), (3, 1), (-1, 1)):
        one = Residue(**whole | {"threshold": threshold})
        yield Case(f"bound of a residue with {threshold}", lambda one=one: one.bound([], [], None), None, value=bound)
    for change in ({}, {"parts": 2}, {"shift": 29}, {"threshold": -1}, {"threshold": 2, "parts": 2, "path": (-2, -1)}):
        one, data = Residue(**whole | change), {"nodes": [{**whole, **change}]}
        data["shapes"] = [one.infer_shape([], Leaves((), ()))]
        expected = reference.drawn(SimpleNamespace(**data), 0, 3)
        yield Case(f"residues drawn: {change}", lambda x=one: x.values(x.keys(3, 1)[0]).reshape(-1).tolist(), None, value=expected)


# ---- states that a step multiplies -----------------------------------------------------------------------------
def states():
    """Files, graphs, bounds, statements and chains of a circuit with recurrences and given states: w exact, m, v, e rounded, f frozen."""
    circuit, proof = frozen(MOVING)
    data, s = json.loads((VECTORS / f"{MOVING}.circuit.json").read_text("utf-8")), proof.statement
    last, load = len(data["nodes"]) - 1, Circuit.from_json

    def put(*path):
        return lambda value: load(changed(data, path, value))

    moment, unchanging = ("parameters", 1, "recurrence"), changed(data, ("public", 0, "change"), 0)
    yield Case("itself", lambda: load(data), None, value=circuit)
    table = changed(unchanging, ("public", 0, "values"), [[1, 1], [2, 1], [5, 1]])
    yield Case(
        "a table of a public array", lambda: [int(x.at(t)[0]) for x in load(table).public for t in range(4)], None, value=[1, 2, 5, 5]
    )
    for name, content, match in (
        ("a recurrence's key more", changed(data, (*moment, "more"), 0), r"parameters\[1\].recurrence: keys"),
        ("a recurrence as a list", changed(data, moment, []), r"recurrence: expected an object"),
        ("a carry's key more", changed(data, (*moment, "carry", 0, "more"), 0), r"carry\[0\]: keys"),
        ("carries as an object", changed(data, (*moment, "carry"), {}), "carry: expected a list"),
        ("a feed's key less", missing(data, (*moment, "feeds", 0, "node")), r"feeds\[0\]: keys"),
        ("given as a list", changed(data, ("parameters", 1, "given"), []), "given: expected an object"),
        ("given with a key more", changed(data, ("parameters", 1, "given", "more"), 0), "given: keys"),
        ("coefficients as an object", changed(data, (*moment, "carry", 0, "coefficients"), {}), "coefficients: expected a list"),
        ("a unit not reduced", changed(data, ("parameters", 1, "unit"), [2, 4]), "unit: not a reduced fraction"),
        ("public as an object", changed(data, ("public",), {}), "public: expected a list"),
        ("a public key more", changed(data, ("public", 0, "more"), 0), r"public\[0\]: keys"),
        ("a public path that cannot be printed", changed(data, ("public", 0, "path"), "\x1b[2J"), "expected a string of printable"),
        ("a public shape as an object", changed(data, ("public", 0, "shape"), {}), "shape: expected a list"),
        ("a public kind", changed(data, ("public", 0, "kind"), "u"), "kind: expected b, i or f"),
        ("public values as an object", changed(data, ("public", 0, "values"), {}), "values: expected a list"),
        ("a public value not reduced", changed(data, ("public", 0, "values", 0), [2, 4]), "values: not a reduced fraction"),
        ("no public values", changed(unchanging, ("public", 0, "values"), []), "0 numbers for the shape"),
        ("a change of a table", changed(data, ("public", 0, "values"), [[1, 1], [2, 1]]), "2 numbers for the shape"),
        ("public values of another shape", changed(unchanging, ("public", 0, "shape"), [2]), "1 numbers for the shape"),
        ("settled as a number", changed(data, ("public", 0, "settled"), 1), "settled: not a truth value"),
        ("an output that cannot be printed", changed(data, ("losses", 1, "output"), "\n"), "expected a string of printable"),
    ):
        yield Case(name, lambda content=content: load(content), FormatError, match)
    for path, low, high in (
        (("period",), 1, 64),
        ((*moment, "bits"), 0, 60),
        ((*moment, "inner"), 0, 62),
        ((*moment, "end"), 0, 62),
        (("public", 0, "change"), -(2**64), 2**64),
        (("public", 0, "values", 0, 0), -(2**256), 2**256),
        ((*moment, "carry", 0, "parameter"), 0, 4),
        ((*moment, "carry", 0, "coefficients", 0), -(2**96), 2**96),
        ((*moment, "feeds", 0, "node"), 0, last),
        ((*moment, "feeds", 0, "coefficients", 0), -(2**96), 2**96),
        (("parameters", 1, "given", "integer"), -WHOLE, WHOLE),
        (("parameters", 1, "given", "shift"), 0, 62),
    ):
        yield from ends(put(*path), path, low, high, f"expected an integer in {low}\\.\\.{high},")
    for value in (-1, 5, True, "0"):
        yield Case(
            f"copied {value!r}", lambda value=value: put("parameters", 3, "given", "copied")(value), FormatError, "expected an integer"
        )

    def other(p, **changes):
        parameters = list(circuit.parameters)
        parameters[p] = dataclasses.replace(parameters[p], **changes)
        return dataclasses.replace(circuit, parameters=tuple(parameters))

    def moved(p, **changes):
        return other(p, recurrence=dataclasses.replace(circuit.parameters[p].recurrence, **changes))

    def after(p, feed):
        return dataclasses.replace(circuit, nodes=(*circuit.nodes, node("next", (feed,), (3, 2), {"index": p})))

    one = circuit.parameters[1].recurrence.carry[0][1]
    (following,) = circuit.of("next")
    row = tuple(parts.Parameter(f"p{i}", (3, 2), (), parts.Recurrence(((i, one), (i + 1, one)), (), 3, 0, 0)) for i in range(5, 12))
    row += (parts.Parameter("p12", (3, 2), (), parts.Recurrence(((12, one),), (), 3, 0, 0)),)
    longer = parts.Parameter("p13", (3, 2), (), parts.Recurrence(((5, one),), (), 3, 0, 0))
    fed = ((8, one),)

    def many(count):
        return dataclasses.replace(circuit, parameters=(*circuit.parameters, *circuit.parameters[4:] * (count - 5)))

    for name, refused, match in (
        ("updates beside a recurrence", other(1, updates=circuit.parameters[0].updates), "m has updates and a recurrence"),
        ("a carry of an exact state", moved(1, carry=((0, one),)), "m carries w"),
        ("a carry of another shape", other(3, shape=(1, 1)), "e carries v"),
        ("a carry twice", moved(1, carry=((1, one), (1, one))), "carries a state twice"),
        ("a feed of another shape", moved(2, feeds=((3, one),)), "the feed of v"),
        ("two coefficients", moved(2, feeds=((8, one * 2),)), "the feed of v has 2"),
        ("two coefficients of a carry", moved(1, carry=((1, one * 2),)), "the carry of m has 2"),
        ("a copy of a given state", other(3, given=parts.Given(0, 1, 0)), "e begins as a copy of m"),
        ("a copy of itself", other(3, given=parts.Given(0, 3, 0)), "e begins as a copy of e"),
        ("a copy of another shape", other(3, shape=(1, 1), recurrence=None), "e begins as a copy of f"),
        ("a copy of w of another shape", other(3, shape=(1, 1), recurrence=None, given=parts.Given(0, 0, 0)), "e begins as a copy of w"),
        ("what is after a step without a recurrence", after(0, 8), "what feeds w"),
        ("what is after a step from other feeds", after(1, 1), "what feeds m"),
        ("what is after a step of what stays", after(4, 8), "what feeds f"),
        ("after a step of no state", after(5, 8), "index"),
        ("after a step of the last state", after(-1, 1), "index"),
        ("a period without states", dataclasses.replace(frozen()[0], period=2), "no state is rounded"),
    ):  # fmt: skip
        yield Case(name, refused.check, FormatError, match)
    for name, refused, match in (
        ("more parameters", many(2**13 + 1), "8193 parameters, more than 8192"),
        ("more feeds than are allowed", moved(2, feeds=fed * 9), "fed by 9 operations, more than 8"),
        ("more states in a group", dataclasses.replace(circuit, parameters=(*circuit.parameters, *row, longer)), "more than 8 states"),
        ("a state that feeds itself", moved(2, feeds=((2, one),)), "v depends on itself"),
        ("what is after a step feeds its state", moved(1, feeds=((following, one),)), "m depends on itself|what feeds m"),
    ):
        yield Case(name, refused.check, (FormatError if "what feeds" in match else UnsupportedOperationError), match)
    for name, passed in (
        ("as many parameters", many(2**13)),
        ("as many feeds", moved(2, feeds=fed * 8)),
        ("as many states in a group", dataclasses.replace(circuit, parameters=(*circuit.parameters, *row))),
        ("a coefficient for each step", dataclasses.replace(moved(1, carry=((1, one * 2),)), max_steps=2)),
    ):
        yield Case(name, passed.check, None, value=passed)

    def plan(**changes):
        return make_plan(circuit, dataclasses.replace(s, **changes))

    def first(p, by):
        return tuple(b + by * (i == p) for i, b in enumerate(s.initial_bound))

    yield Case("its plan", lambda: plan().given, None, value=True)
    yield Case("what is committed at the start", lambda: plan().initial, None, value=(0, 2, 4))
    for name, call, match in (
        ("a shift of a given state", lambda: plan(shifts=(s.shifts[0], 1, *s.shifts[2:])), "^statement: only weights"),
        ("a range of a given state", lambda: plan(widths=(9, 9, 9, 0, 9)), "^(statement: where|bounds: the initial bound)"),
        ("a beginning without range", lambda: plan(widths=(9, 0, 0, 0, 9), shifts=(s.shifts[0], 0, 0, *s.shifts[3:])), "^statement: where"),
        ("a larger bound of a given state", lambda: plan(initial_bound=first(1, 1)), "^bounds: the bound of m is not that"),
        ("a smaller bound of a copy", lambda: plan(initial_bound=first(3, -1)), "^bounds: the bound of e is not that"),
        ("a bound below the range check's", lambda: plan(initial_bound=first(2, -1)), "^bounds: the initial bound is smaller"),
        ("steps beyond a schedule", lambda: make_plan(*_scheduled(circuit, s, 4)), "^bounds: steps 0..4 go beyond the 4 steps"),
        ("its work", lambda: _work(*_scheduled(circuit, s, 4)), "^bounds: step 4 lies beyond the 4 steps"),
    ):  # fmt: skip
        yield Case(name, call, VerificationError, match)
    yield Case("the work of all steps", lambda: _work(*_scheduled(circuit, s, 5)) > 0, None, value=True)
    yield Case("all steps of a schedule", lambda: make_plan(*_scheduled(circuit, s, 5)).steps, None, value=5)
    plain, own = frozen()
    stated = dataclasses.replace(own.statement, given=True)
    yield Case("nothing to give", lambda: make_plan(plain, stated), VerificationError, "^statement: the circuit gives no states")
    yield Case(
        "given as a number", lambda: Statement.parse(canonical(s.to_json() | {"given": 1})), FormatError, "given is not a truth value"
    )
    for given in (parts.Given(-5), parts.Given(-5, 0, 3)):
        bound = 5 + (s.initial_bound[0] << 3 if given.copied == 0 else 0)
        yield Case(f"the bound of {given}", lambda given=given: other(1, given=given).given_bound(1, s.initial_bound), None, value=bound)

    fixed = part_named(s.frozen.commitment, "cells", s.geometry)
    unshifted = dataclasses.replace(s, shifts=(0,) * 5)
    written = behind("weights", part_named(s.initial, "parameters", s.geometry), fixed)
    for each in (s, unshifted, dataclasses.replace(s, given=False)):  # the same parameters, wherever the other states come from
        expected = behind("weights", part_named(s.initial, "parameters", s.geometry), fixed, each.shifts)
        yield Case(f"its digest, {each.shifts}", lambda each=each: each.initial_weights, None, value=expected)
    yield Case("its digest without shifts", lambda: unshifted.initial_weights, None, value=written)
    yield Case("no digest of its state", lambda: s.initial_state, None, value=None)
    state = dataclasses.replace(s, given=False)
    yield Case(
        "but where it is committed", lambda: state.initial_state, None, value=behind("state", named(s.initial, s.geometry), fixed, s.shifts)
    )
    later = dataclasses.replace(
        s,
        first_step=s.first_step + s.steps,
        initial=s.final,
        final=dataclasses.replace(s.final, number=s.final.number + s.steps),
        shifts=s.shifts_after,
        widths=(0,) * 5,
        given=False,
        initial_bound=s.final_bound,
    )
    yield Case("two that join", lambda: verifier.check_chain(circuit, [s, later], False), None)
    again = dataclasses.replace(later, given=True)
    yield Case("given in between", lambda: verifier.check_chain(circuit, [s, again], False), VerificationError, "^chain: .*does not start")
    ungiven = dataclasses.replace(later, widths=(9,) * 5)
    yield Case("a chain from somewhere", lambda: verifier.check_chain(circuit, [ungiven], False), VerificationError, "^initial state")
    yield Case("as an assumption", lambda: verifier.check_chain(circuit, [ungiven], True), None)

    b = circuit.bounds(s.initial_bound, 5)
    yield Case("bounds after the last step", lambda: b.final[1:], None, value=(2**12,) * 3 + s.initial_bound[4:])
    held = [max(x, 2**12) for x in s.initial_bound]
    periods = [recurrence.rows(circuit, 3, start, length) for start, length in ((0, 3), (3, 2))]
    fed_by = {(2, 0): b.nodes[8], (3, 0): b.nodes[1]}

    def largest(which):
        return max(
            sum(abs(rows.states[r][which][j]) * held[r] for r in rows.states)
            + sum(sum(map(abs, found[which][j])) * fed_by[name] for name, found in rows.feeds.items())
            for rows in periods
            for j in range(len(rows.states[3][0]))
        )

    yield Case("bounds of an average", lambda: b.inside[3], None, value=largest(0))
    few = circuit.bounds(s.initial_bound, 3).nodes
    of_three = {(2, 0): few[8], (3, 0): few[1]}
    sums = []
    for rows in (recurrence.rows(circuit, 3, 0, 3), recurrence.rows(circuit, 3, 3, 2)):
        total = sum(abs(rows.states[r][2]) * held[r] for r in rows.states)
        sums.append(total + sum(sum(map(abs, found[2])) * fed_by[name] for name, found in rows.feeds.items()))
    moved_bounds = partial(bounds_of, circuit, 3, s.initial_bound, list(b.nodes))
    yield Case("what is rounded", lambda: moved_bounds(5, 0)[2], None, value=max(sums))
    yield Case("of the shorter period", lambda: moved_bounds(2, 3)[2], None, value=sums[1])
    for steps, at, expected in (
        (10**9, 2, [(2, 1), (3, 3)]),
        (10**9, 3, [(3, 3), ((10**9 + 3) // 3 * 3, 1)]),
        (9, 1, [(1, 2), (3, 3), (9, 1)]),
        (6, 1, [(1, 2), (3, 3), (6, 1)]),
    ):
        got = partial(distinct, circuit, circuit.recurrent[0], at, steps)
        yield Case(f"periods of {steps} steps from {at}", got, None, value=expected)
    for bits in range(30, 50):
        wide = moved(3, bits=12, end=bits)
        ends_at = recurrence.rows(wide, 3, 0, 3)
        total = sum(abs(ends_at.states[r][2]) * held[r] for r in ends_at.states)
        total += sum(sum(map(abs, found[2])) * of_three[name] for name, found in ends_at.feeds.items())
        fits = total + (1 << bits >> 1) + (1 << bits + 12) < WHOLE
        yield Case(
            f"an end of {bits} bits",
            lambda wide=wide: len(wide.bounds(s.initial_bound, 3).final),
            None if fits else PrecisionError,
            "" if fits else "state e may reach",
            value=5,
        )
    yield Case("periods", lambda: recurrence.periods(2, 6, 3), None, value=[(2, 1), (3, 3), (6, 2)])
    for steps, at in ((100, 1), (7, 0), (10**9, 2)):
        expected = _still(circuit, s, 9, at).inside
        yield Case(f"{steps} steps from {at}", lambda n=steps, t=at: _still(circuit, s, n, t).inside, None, value=expected)


def _still(circuit, s, steps, at):
    """Bounds of a circuit whose exact state does not move, so that nothing grows with the steps."""
    still = dataclasses.replace(circuit, parameters=(dataclasses.replace(circuit.parameters[0], updates=()), *circuit.parameters[1:]))
    return still.bounds(s.initial_bound, steps, at)


def _work(circuit, s):
    return verifier.estimate_work(circuit, [s], None, None).work


def _scheduled(circuit, s, steps):
    """A circuit for so many steps, and the statement about it."""
    found = dataclasses.replace(circuit, max_steps=steps)
    return found, dataclasses.replace(s, circuit=found.digest())


# ---- random forms ----------------------------------------------------------------------------------------------
FORMED = f"format-{VERSION}-forms"  # w, its momentum, v, v's average, which are given, and the frozen f


def random_forms():
    circuit, proof = frozen(FORMED)
    s, terms = proof.statement, dict(verifier.verify_one(circuit, proof, 5.0).terms)
    w = s.widths[0]
    yield Case("by forms", lambda: s.widths, None, value=(w, 0, w, 0, w))
    yield Case("its error", lambda: terms["forms"], None, value=soundness.LOG_FIELD)
    yield Case("no others", lambda: "forms" in dict(verifier.ledger(*frozen(MOVING)).terms), None, value=False)
    share = verifier.estimate_work(circuit, [s], None, None).shares["random forms"]
    yield Case("its work", lambda: share, None, value=2 * CALL + HASH * 10240 + PRODUCT * 320 * 4096)

    def plan(**changes):
        return lambda: make_plan(circuit, dataclasses.replace(s, **changes)).formed

    for limbs_of in ((9, 0, 8, 0, 7), (9, 0, 0, 0, 0)):
        yield Case(f"limbs of {limbs_of}", partial(ranged.well_formed, circuit, limbs_of), None, value=True)
    yield Case("matrices", plan(), None, value=[("initial", 0, 1, -w), ("frozen", 0, 1, -w)])
    one = "^statement: random forms show one range of all that share blocks of a commitment, and of no others"
    limbs = coarse.shown(circuit, s.shifts, tuple(map(abs, s.widths)))
    for name, widths, match in (
        ("of one parameter", (w, 0, -w, 0, w), one),
        ("of two ranges", (w, 0, w - 1, 0, w), one),
        ("of no range", (w, 0, 0, 0, w), one),
        ("of a given state", (w, w, w, 0, w), one),
        ("of a given state alone", (-w, 0, -w, w, -w), one),
    ):
        yield Case(name, partial(check_sizes, circuit, dataclasses.replace(s, widths=widths)), VerificationError, match)
    for name, widths in (("weights alone", (w, 0, w, 0, -w)), ("frozen ones alone", (-w, 0, -w, 0, w)), ("none", (-w, 0, -w, 0, -w))):
        formed = [("initial", 0, 1, -w)] * (widths[0] < 0) + [("frozen", 0, 1, -w)] * (widths[4] < 0)
        yield Case(name, plan(widths=widths, initial_bound=limbs), None, value=formed)
    for log_row, match in ((11, "^geometry: rows of 2048 cells are too short for random forms of 4096"), (13, "")):
        call = plan(geometry=dataclasses.replace(s.geometry, log_row=log_row))
        yield Case(f"rows of 2^{log_row}", call, VerificationError if match else None, match)
    less = (s.initial_bound[0] - 1, *s.initial_bound[1:])
    yield Case("a smaller bound", plan(initial_bound=less), VerificationError, "^bounds: the initial bound is smaller")
    evaluated, of = frozen(EVALUATED)
    formed = dataclasses.replace(of.statement, widths=(-9,) * len(of.statement.widths))
    call = partial(check_sizes, evaluated, formed)
    yield Case("of an evaluation", call, VerificationError, "^statement: random forms show no ranges of weights whose training")
    plain, own = frozen()
    call = partial(check_sizes, plain, dataclasses.replace(own.statement, widths=(-9,) * 3))
    yield Case("without frozen parameters", call, VerificationError, "^geometry: rows of 512 cells are too short")
    changed = bytearray(proof.body)
    changed[40] ^= 1
    yield Case("other forms", lambda: verifier.verify_one(circuit, Proof(s, bytes(changed)), 5.0), VerificationError, "")


# ---- the statement against the circuit -------------------------------------------------------------------------
def statements():
    circuit, proof = frozen()
    s = proof.statement
    losses = s.losses
    loss = circuit.bounds(s.initial_bound, s.steps).nodes[circuit.losses[0].node]

    def plan(**changes):
        return make_plan(circuit, dataclasses.replace(s, **changes))

    def plan_of(**changes):
        return lambda: plan(**changes)

    yield Case("sizes", lambda: check_sizes(circuit, s), None)
    for name in ("shifts", "widths", "initial_bound", "final_bound"):
        fewer = dataclasses.replace(s, **{name: getattr(s, name)[1:]})
        yield Case(f"sizes of fewer {name}", partial(check_sizes, circuit, fewer), VerificationError, "^statement: shifts, widths")

    def bounded(initial, **changes):
        return plan(initial_bound=initial, final_bound=circuit.bounds(initial, changes.get("steps", s.steps)).final, **changes)

    def grown(p, by):
        return tuple(b + by * (i == p) for i, b in enumerate(s.initial_bound))

    assert s.initial_bound == coarse.shown(circuit, s.shifts, s.widths) and all(s.widths)
    unshifted = (0,) * 3
    plain = dataclasses.replace(s, shifts=unshifted).initial_weights
    yield Case("itself", lambda: plan().steps, None, value=s.steps)
    for name, call, match in (
        ("another circuit", lambda: plan(circuit=bytes(32)), "^circuit"),
        ("shifts missing", lambda: plan(shifts=s.shifts[1:]), "^statement"),
        ("widths missing", lambda: plan(widths=s.widths[1:]), "^statement"),
        ("initial bounds missing", lambda: plan(initial_bound=s.initial_bound[1:]), "^statement"),
        ("final bounds missing", lambda: plan(final_bound=s.final_bound[1:]), "^statement"),
        ("bounds smaller than the range check's", lambda: bounded(grown(1, -1)), "^bounds: the initial bound is smaller"),
        ("a bound that overflows", lambda: plan(initial_bound=(WHOLE,) * 3), "^bounds: .*may reach"),
        ("another final bound", lambda: plan(final_bound=(s.final_bound[0] + 1, *s.final_bound[1:])), "^bounds: the final bound"),
        ("no list of losses", lambda: plan(losses=()), "^losses: expected 1"),
        ("two lists of losses", lambda: plan(losses=losses * 2), "^losses: expected 1"),
        ("no loss that is revealed", lambda: plan(losses=(None,)), "^losses: expected 1"),
        ("losses of fewer steps", lambda: plan(losses=(losses[0][1:],)), "^losses: expected 1"),
        ("a loss beyond its bound", lambda: plan(losses=((loss + 1, 0),)), "^losses: a loss leaves"),
        ("a loss below its bound", lambda: plan(losses=((0, -loss - 1),)), "^losses: a loss leaves"),
        ("no schedule", lambda: plan(samples=2, shard_size=1), "^schedule: 2 samples"),
        ("a geometry without security", lambda: plan(geometry=dataclasses.replace(s.geometry, level_bits=200)), "^geometry"),
    ):  # fmt: skip
        yield Case(name, call, VerificationError, match)
    yield Case("looser bounds", lambda: bounded(grown(1, 1)).steps, None, value=s.steps)
    below = (ranges.signed_bound(circuit.table_bits) - 1,) * 3  # what no range check shows
    yield Case("smaller bounds that are assumed", lambda: bounded(below, widths=unshifted, shifts=unshifted).steps, None, value=s.steps)
    yield Case("no shifts", lambda: plan(shifts=unshifted, widths=unshifted).steps, None, value=s.steps)
    for p in range(3):
        shifts = tuple(int(i == p) for i in range(3))
        yield Case(
            f"a shift that is assumed: {p}",
            lambda shifts=shifts: plan(shifts=shifts, widths=unshifted),
            VerificationError,
            "^statement: only",
        )
        moved = dataclasses.replace(s, shifts=shifts)
        yield Case(f"its digest: {p}", lambda moved=moved: moved.initial_weights == plain, None, value=False)
    digests = {dataclasses.replace(s, shifts=x).initial_weights for x in (s.shifts, (1, 0, 0), (0, 1, 0), (0, 0, 2), unshifted)}
    yield Case("a digest for each", lambda: len(digests), None, value=5)
    first, last = part_named(s.initial, "parameters", s.geometry), part_named(s.final, "parameters", s.geometry)
    yield Case("some are shifted", lambda: any(s.shifts), None, value=True)
    for name, found, expected in (
        ("the first weights", s.initial_weights, behind("weights", first, shifts=s.shifts)),
        ("without shifts", plain, behind("weights", first)),
        ("the last weights", s.final_weights, behind("weights", last)),
        ("the first state", s.initial_state, behind("state", named(s.initial, s.geometry), shifts=s.shifts)),
        ("the last state", s.final_state, behind("state", named(s.final, s.geometry))),
    ):
        yield Case(f"{name} as PROTOCOL.md has it", lambda found=found: found, None, value=expected)
    read = s.steps * circuit.batch_size
    for samples, size, least in ((read, 1, read // 4), (2**12, 1, read // 4), (4, 1, 1), (2**12, 2, read // 8)):
        wanted = {"samples": samples, "shard_size": size}
        fewest = plan_of(shards=s.shards[:1] * least, **wanted)
        yield Case(f"{least} shards of {size}", fewest, None)
        if least:
            yield Case(
                f"fewer than {least} shards", plan_of(shards=s.shards[:1] * (least - 1), **wanted), VerificationError, "^shards: .*cannot"
            )
    yield Case("losses at their bound", lambda: plan(losses=((loss, -loss),)).steps, None, value=s.steps)
    yield Case("hidden losses", lambda: plan(losses=None).steps, None, value=s.steps)
    broken = dataclasses.replace(circuit, inputs=(dataclasses.replace(circuit.inputs[0], bits=99), *circuit.inputs[1:]))
    unchecked = dataclasses.replace(s, circuit=broken.digest())
    yield Case("a circuit that was not loaded", lambda: make_plan(broken, unchecked), FormatError, "do not fit a table")

    def samples(limit):
        with mock.patch("zkjax.proofs.checks.MAX_SAMPLES", limit):
            return plan().steps

    read = s.steps * circuit.batch_size
    yield Case("as many samples as allowed", lambda: samples(read), None, value=s.steps)
    yield Case("more samples", lambda: samples(read - 1), VerificationError, "^schedule: .*more than")


def commitments():
    circuit, proof = frozen()
    s = proof.statement
    plan = make_plan(circuit, s)

    def check(**changes):
        check_commitments(plan, dataclasses.replace(s, **changes))

    def end(name, **changes):
        return lambda: check(**{name: amended(getattr(s, name), **changes)})

    def shard(number, **changes):
        other = amended(s.shards[number], **changes)
        return lambda: check(shards=(*s.shards[:number], other, *s.shards[number + 1 :]))

    def root_of(shards):
        return dataset_root([c.digest(s.geometry) for c in shards], [0, 1, 2], s.samples, s.shard_size)[0]

    def rooted(**changes):
        """Shards with other commitments, in a dataset of them: what an opening could be made to accept."""
        new = [amended(x, **changes) for x in s.shards]
        return lambda: check(dataset=root_of(new), dataset_after=root_of(new), shards=tuple(new))

    def linked(source="final", after=None, **changes):
        """A statement with a link, and the root that it leads to (or another one)."""
        to = amended(s.named()[source].commitment, **({"root": b"x" * 32} | changes))
        found = [to if source == f"shard {c.number}" else c for c in s.shards]
        return lambda: check(links=(Link(source, to),), dataset_after=after or root_of(found))

    yield Case("themselves", check, None)
    for budget in (1, s.geometry.max_budget):
        yield Case(f"budget {budget}", end("initial", budget=budget), None)
        yield Case(f"shards' budget {budget}", rooted(budget=budget), None)
        for source in ("initial", "final", "shard 1"):
            yield Case(f"a link from {source} to budget {budget}", linked(source, budget=budget), None)
    for name, call, match in (
        ("one shard less", lambda: check(shards=s.shards[1:]), "^shards: 2 shards opened"),
        ("shards exchanged", lambda: check(shards=s.shards[::-1]), "^commitment to shard 0"),
        ("initial of another kind", end("initial", kind="shard"), "^commitment to weights 0"),
        ("initial of another step", end("initial", number=1), "^commitment to weights 0"),
        ("initial with masks", end("initial", masked=True), "^commitment to weights 0"),
        ("initial with more rows", end("initial", rows=2), "^commitment to weights 0: 2 rows"),
        ("final of another step", end("final", number=0), "^commitment to weights 2"),
        ("budget 0", end("final", budget=0), "outside 1..4"),
        ("budget 5", end("final", budget=5), "outside 1..4"),
        ("a shard's rows", rooted(rows=2), "^commitment to shard 0: 2 rows"),
        ("a shard's budget", rooted(budget=5), "outside 1..4"),
        ("a masked shard", rooted(masked=True), "^commitment to shard 0"),
        ("another dataset", lambda: check(dataset=bytes(32)), "^dataset: the shards 0, 1, 2 "),
        ("another dataset after", lambda: check(dataset_after=bytes(32)), "^dataset after: the shards"),
        ("another shard's root", shard(1, root=bytes(32)), "^dataset: the shards"),
        ("another sibling", lambda: check(siblings=(b"x" * 32,)), "^dataset: the shards"),
        ("no siblings", lambda: check(siblings=()), "^dataset: a multiproof of 0 bytes, expected 32"),
        ("more siblings", lambda: check(siblings=s.siblings * 2), "^dataset: a multiproof of 64 bytes, expected 32"),
        ("other sizes", lambda: check(samples=s.samples + 1), "^dataset: the shards"),
        ("a link of another kind", linked(kind="shard"), "^link from final: it leads to shard 2"),
        ("a link to another step", linked(number=0), "^link from final: it leads to weights 0"),
        ("a link to another shard", linked("shard 1", number=0), "^link from shard 1: it leads to shard 0"),
        ("a link with masks", linked(masked=True), "^link from final: .*with mask rows"),
        ("a link to more rows", linked(rows=2), "^link from final: 2 rows, expected 1"),
        ("a link to itself", linked(root=s.final.root), "^link from final: .*the same commitment"),
        ("a link to the same root with another budget", linked(root=s.final.root, budget=1), "^link from final: .*the same commitment"),
        ("a link to budget 0", linked(budget=0), "^link from final: .*outside 1..4"),
        ("a link to budget 5", linked(budget=5), "^link from final: .*outside 1..4"),
        ("a linked shard and the old root", linked("shard 1", after=s.dataset), "^dataset after: the shards"),
        ("linked weights and a new root", linked("initial", after=bytes(32)), "^dataset after: the shards"),
    ):  # fmt: skip
        yield Case(name, call, VerificationError, match)


def chains():
    circuit, proof = frozen()
    s = proof.statement
    later = dataclasses.replace(
        s,
        first_step=s.first_step + s.steps,
        initial=s.final,
        final=dataclasses.replace(s.final, number=s.final.number + s.steps),
        shifts=(0,) * 3,
        widths=(0,) * 3,
        initial_bound=s.final_bound,
    )

    def continued(assume=False, **changes):
        return lambda: verifier.check_chain(circuit, [s, dataclasses.replace(later, **changes)], assume)

    yield Case("two that join", continued(), None)
    yield Case("a looser bound", continued(initial_bound=tuple(b + 1 for b in s.final_bound)), None)
    yield Case("a fresh range check", continued(widths=(9, 9, 9), initial_bound=(0, 0, 0)), None)
    renewed = dataclasses.replace(later, widths=(0, 9, 0), initial_bound=(s.final_bound[0], 0, s.final_bound[2]))
    yield Case("of one parameter", lambda: verifier.check_chain(circuit, [s, renewed], False), None)
    yield Case("which begins no chain", lambda: verifier.check_chain(circuit, [renewed], False), VerificationError, "^initial bound")
    for p in (0, 2):
        less = tuple(b - (i == p) for i, b in enumerate(renewed.initial_bound))
        call = partial(verifier.check_chain, circuit, [s, dataclasses.replace(renewed, initial_bound=less)], False)
        yield Case(f"and not of parameter {p}", call, VerificationError, "^chain: .*smaller bound")
    for name, call, match in (
        ("a later chunk alone", lambda: verifier.check_chain(circuit, [later], False), "^initial bound"),
        ("a smaller bound", continued(initial_bound=(s.final_bound[0] - 1, *s.final_bound[1:])), "^chain: .*smaller bound"),
        ("a gap", continued(first_step=s.steps + 1), "^chain: .*starts at step"),
        ("the same steps", continued(first_step=s.first_step), "^chain: .*starts at step"),
        ("other weights", continued(initial=dataclasses.replace(s.final, root=bytes(32))), "^chain: .*does not start"),
        ("shifted weights", continued(shifts=(0, 1, 0)), "^chain: .*does not start"),
        ("another circuit", continued(circuit=bytes(32)), "differ in circuit"),
        ("another dataset", continued(dataset=bytes(32), dataset_after=bytes(32)), "differ in dataset, and no link here joins"),
        ("another seed", continued(seed=s.seed + 1), "differ in seed"),
        ("other samples", continued(samples=s.samples + 1), "differ in samples"),
        ("other shards", continued(shard_size=s.shard_size + 1), "differ in shard_size"),
        ("another geometry", continued(geometry=dataclasses.replace(s.geometry, level_bits=9)), "differ in geometry"),
    ):
        yield Case(name, call, VerificationError, match)
    yield Case("a later chunk, its bound assumed", lambda: verifier.check_chain(circuit, [later], True), None)

    def verify(*arguments, **options):
        return lambda: zkjax.verify(*(arguments or (circuit, proof)), **{"minimum_bits": BITS, **options})

    for name, call, match in (
        ("no circuit", verify(None, proof), "circuit is a NoneType"),
        ("no proof", verify(circuit, None), "give a Proof"),
        ("an empty chain", verify(circuit, []), "give a Proof"),
        ("a chain of other things", verify(circuit, [proof, 7]), "give a Proof"),
        ("a root that is no hex", verify(dataset="xy"), "not a hexadecimal digest"),
        ("a short root", verify(initial="ab"), "32 bytes"),
        ("a root of another type", verify(dataset=list(range(32))), "32 bytes"),
        ("a last digest that is short", verify(final="ab"), "32 bytes"),
        ("steps as a number", verify(steps=7), "give the range"),
        ("steps as three numbers", verify(steps=(0, 1, 2)), "give the range"),
        ("steps as texts", verify(steps=("0", "2")), "give the range"),
        ("steps as truth values", verify(steps=(False, True)), "give the range"),
        ("steps before the first", verify(steps=(-1, 2)), "give the range"),
        ("no steps", verify(steps=(2, 2)), "give the range"),
        ("a negative seed", verify(seed=-1), "give an integer in 0"),
        ("a seed of 65 bits", verify(seed=2**64), "give an integer in 0"),
        ("a seed as a text", verify(seed="0"), "give an integer in 0"),
        ("a seed as a truth value", verify(seed=True), "give an integer in 0"),
        ("a statement as its path", verify(statement="statement.json"), "give a zkjax.Published"),
        ("bits as a text", verify(minimum_bits="100"), "give a number of bits"),
        ("bits as a truth value", verify(minimum_bits=True), "give a number of bits"),
        *((f"{bits} bits", verify(minimum_bits=bits), "give a number of bits") for bits in (0.99, -1, float("inf"), float("nan"))),
    ):
        yield Case(name, call, ConfigurationError, match)
    pins = {"dataset": s.dataset, "initial": s.initial_weights, "final": s.final_weights, "seed": s.seed, "steps": (0, s.steps)}
    yield Case("all pins", verify(**pins, statement=Published.of({"a": s})), None, value=s)
    other = Published.of({"a": dataclasses.replace(s, seed=s.seed + 1)})
    yield Case("another published seed", verify(statement=other), VerificationError, "^published seed")
    yield Case("the least seed", verify(seed=0), VerificationError, "^pinned seed")
    yield Case("the largest seed", verify(seed=2**64 - 1), VerificationError, "^pinned seed")
    yield Case("the least bits", verify(minimum_bits=1), None, value=s)
    yield Case("pins in other forms", verify(dataset=s.dataset.hex(), steps=[0, s.steps]), None, value=s)
    for name, wrong, check in (
        ("dataset", bytes(32), "pinned dataset"),
        ("initial", bytes(32), "pinned initial weights"),
        ("final", bytes(32), "pinned final weights"),
        ("seed", s.seed + 1, "pinned seed"),
        ("steps", (0, s.steps + 1), "pinned steps"),
        ("steps", (1, s.steps), "pinned steps"),
    ):
        yield Case(f"{name} = {wrong!r:.9}", verify(**{name: wrong}), VerificationError, f"^{check}")
    weak = dataclasses.replace(s, geometry=dataclasses.replace(s.geometry, level_bits=200))
    for name, call, match in (
        ("little work", verify(max_work=10**4), "^work"),
        ("little memory", verify(max_memory=10**4), "^work"),
        ("little work for a ledger", lambda: zkjax.ledger(circuit, proof, max_work=10**4), "^work"),
        ("another circuit before its work", verify(circuit, Proof(dataclasses.replace(s, circuit=bytes(32)), b""), max_work=1), "^circuit"),
        ("a geometry before its work", verify(circuit, Proof(weak, b""), max_work=10**4), "^geometry"),
    ):
        yield Case(name, call, VerificationError, match)
    yield Case("less security than asked for", verify(minimum_bits=100.0), VerificationError, "^security")
    greedy = Proof(dataclasses.replace(s, final=amended(s.final, budget=5)), proof.body)
    yield Case("a commitment that is too large a budget's", verify(circuit, greedy), VerificationError, "^commitment to weights 2")
    cut = Proof(s, proof.body[:-8])
    yield Case("the first of two", verify(circuit, [cut, Proof(later, b"")]), FormatError, "^proof 0 of 0..1: proof ends inside")
    yield Case("the second of two", verify(circuit, [proof, Proof(later, b"")]), VerificationError, "^bounds: proof 1 of 0..1: the final")
    yield Case("the only one", verify(circuit, [cut]), FormatError, "^proof ends inside")
    yield Case("the ledger", lambda: zkjax.ledger(circuit, proof), None, value=verifier.verify_one(circuit, proof, BITS))
    yield Case("a ledger of other sizes", lambda: zkjax.ledger(circuit, greedy), VerificationError, "^commitment to weights 2")
    yield Case("the chain is looked at before a proof", verify(circuit, [Proof(later, b"")]), VerificationError, "^initial bound")


def published():
    """What is published about a chain: its form, and its comparison with the proofs."""
    s = frozen()[1].statement
    honest = Published.of({"a.proof": s}).content

    def load(raw: bytes, length: int | None = None):
        with tempfile.TemporaryDirectory() as directory:
            path = Path(directory) / "statement.json"
            with path.open("wb") as file:
                file.write(raw)
                file.truncate(length)  # holes cost nothing
            return Published.load(path)

    yield Case("as it was published", lambda: load(canonical(honest)), None, value=Published(honest))
    yield Case("and it is true", lambda: Published(honest).check([s]), None)
    for name, raw, match in (
        ("no JSON", b"{", "statement.json: not a JSON file"),
        ("no text", b"\xff", "statement.json: not a JSON file"),
        ("deep lists", b"[" * 100_000, "statement.json: not a JSON file"),
        ("a key twice", canonical(honest)[:-1] + b',"seed":1}', "a key comes twice"),
        ("a list of the keys", canonical([*honest]), "statement.json: expected an object with the keys"),
        ("a list", b"[]", "statement.json: expected an object with the keys"),
        ("no seed", canonical(missing(honest, ["seed"])), "expected an object with the keys"),
        ("a note", canonical(honest | {"note": ""}), "expected an object with the keys"),
    ):
        yield Case(name, lambda raw=raw: load(raw), FormatError, match)
    yield Case("the longest file", lambda: load(b"{", 2**26), FormatError, "not a JSON file")
    yield Case("a longer one", lambda: load(b"{", 2**26 + 1), FormatError, "more than")
    for path, values, match in (
        (["proofs"], ({}, [], {"a": 1}), "^proofs: expected a list"),
        (["proofs", 0], ([], {}, ["file", "sentence", "statement"]), "expected the keys file"),
        (["proofs", 0, "file"], (0, None), "are texts"),
        (["proofs", 0, "sentence"], (0, None), "are texts"),
        (["proofs", 0, "statement"], (0, {}), r"^proofs\[0\]: statement: expected the fields"),
        *(([name], (0, "", "0" * 63, "0" * 65, "A" * 64), f"^{name}: expected 64") for name in ("circuit", "dataset")),
        *(([name], (None, "g" * 64), f"^{name}: expected 64") for name in ("initial_weights", "final_weights")),
        (["seed"], (True, "0", 0.0), "^seed: expected an integer"),
        (["steps"], (2, [0], [0, 1, 2], [0, "2"], [False, 2], {}), "^steps: expected"),
    ):
        for value in values:
            yield Case(f"{path[-1]} = {value!r:.9}", lambda p=path, v=value: Published(changed(honest, p, v)), FormatError, match)
    for path, value in (
        *(([name], "00" * 32) for name in ("circuit", "dataset", "initial_weights", "final_weights")),
        (["seed"], s.seed + 1),
        (["steps"], [0, s.steps + 1]),
        (["proofs", 0, "sentence"], "Adam"),
        (["proofs", 0, "statement", "seed"], s.seed + 1),
        (["proofs", 0, "statement", "final_bound"], [b + 1 for b in s.final_bound]),
    ):
        said = Published(changed(honest, path, value))
        yield Case(f"another {path[-1]}", lambda said=said: said.check([s]), VerificationError, f"^published {path[-1]}: ")
    two = [s, dataclasses.replace(s, first_step=s.steps)]
    yield Case("a proof more", lambda: Published(honest).check(two), VerificationError, "^published proofs: 1 are published, 2")
    yield Case("a proof less", lambda: Published.of(dict(zip("ab", two))).check([s]), VerificationError, "^published proofs: 2 are")


# ---- published weights and data ---------------------------------------------------------------------------------
DISCLOSED = f"format-{VERSION}-disclosed"


@cache
def tensors_of_file() -> tuple[dict, dict[str, np.ndarray]]:
    """Metadata and tensors of the frozen model file, read by hand."""
    raw = (VECTORS / f"{DISCLOSED}.safetensors").read_bytes()
    end = 8 + int.from_bytes(raw[:8], "little")
    told, kinds = json.loads(raw[8:end]), {"F32": "<f4", "I64": "<i8"}
    metadata = json.loads(told.pop("__metadata__")["zkjax"])
    at = {name: slice(end + x["data_offsets"][0], end + x["data_offsets"][1]) for name, x in told.items()}
    return metadata, {name: np.frombuffer(raw[at[name]], kinds[x["dtype"]]).reshape(x["shape"]) for name, x in told.items()}


def read_model(tensors=None, text=None, **changes) -> Model:
    told, honest = tensors_of_file()
    return models._read(canonical(told | changes).decode() if text is None else text, honest if tensors is None else tensors)


@cache
def disclosed() -> Disclosure:
    return Disclosure.load(VECTORS / f"{DISCLOSED}.disclosure")


def compared(model=None, disclosure=None, statement=None, last=True, **options):
    """The frozen model and disclosure, or others, with the statement of the frozen proof, or with one that nobody has to prove here."""
    circuit, proof = frozen(DISCLOSED)
    wanted = {"model" if last else "initial_model": model or read_model()}
    disclosures = [disclosure or disclosed()] if not isinstance(disclosure, list) else disclosure
    return check_disclosed(circuit, [statement or proof.statement], disclosures, **wanted, **{"minimum_bits": BITS} | options)


def altered_model(path="w", change=1, place=0, **fields) -> Model:
    model = read_model()
    integers = {name: x.copy() for name, x in model.integers.items()}
    integers[path].flat[place] += change
    return dataclasses.replace(model, **{"integers": integers} | fields)


def model_files():
    """What a model file says of itself."""
    told, tensors = tensors_of_file()
    circuit, proof = frozen(DISCLOSED)
    model = read_model()
    yield Case("the frozen one", lambda: (model.circuit, model.step), None, value=(circuit.digest(), 5))
    path = VECTORS / f"{DISCLOSED}.safetensors"
    length = path.stat().st_size
    yield Case("the file", lambda: Model.load(path, length).digest(), None, value=model.digest())
    yield Case("a longer one", lambda: Model.load(path, length - 1), FormatError, f"{path.name}: more than {length - 1} bytes")
    circuit_file = VECTORS / f"{DISCLOSED}.circuit.json"
    yield Case("a file of another kind", lambda: Model.load(circuit_file), FormatError, "circuit.json: not a safetensors file")

    def load(header: bytes):
        with tempfile.TemporaryDirectory() as directory:
            (file := Path(directory) / "m.safetensors").write_bytes(len(header).to_bytes(8, "little") + header)
            return Model.load(file)

    def without_library():
        with mock.patch.dict(sys.modules, {"safetensors": None, "safetensors.numpy": None}):
            return Model.load(path)

    yield Case("a file without metadata", lambda: load(b"{}"), FormatError, "m.safetensors: no metadata")
    yield Case("no safetensors", without_library, ConfigurationError, "pip install safetensors")
    integers = b"zkjax model 1\0"
    for place, x in sorted((name.removeprefix("integers/"), x) for name, x in tensors.items() if name.startswith("integers/")):
        integers += json.dumps([place, [*x.shape]], separators=(",", ":")).encode() + b"\0" + x.tobytes()
    yield Case("its digest", lambda: model.digest().hex(), None, value=hashlib.sha256(integers).hexdigest())
    yield Case("which it says", lambda: told["digest"], None, value=hashlib.sha256(integers).hexdigest())
    yield Case("the longest metadata", lambda: read_model(text=" " * (models.LONGEST - 2) + "{}"), FormatError, "no metadata")
    padded = canonical(told).decode()
    yield Case("long metadata", lambda: read_model(text=padded + " " * (models.LONGEST - len(padded))).step, None, value=5)
    yield Case("longer ones", lambda: read_model(text=padded + " " * (models.LONGEST + 1 - len(padded))), FormatError, "no metadata")
    for text in (None, "", "{", "[" * 100_000, "[]", "5", canonical([*told]).decode()):
        yield Case(f"metadata {text!r:.9}", lambda text=text: models._read(text, tensors), FormatError, "no metadata")
    for name in told:
        yield Case(f"no {name}", lambda name=name: read_model(text=canonical(missing(told, [name])).decode()), FormatError, "no metadata")
    yield Case("a note", lambda: read_model(note=""), FormatError, "no metadata")
    for name, values, match in (
        ("format", (0, 2, "1", 1.0, True), "^model format"),
        ("step", (-1, WHOLE, 1.0, "1", True), "^step is"),
        ("circuit", (None, "0" * 63, "g" * 64, "A" * 64, 5, [0] * 64), "^circuit is not"),
        ("digest", (None, "0" * 63, "g" * 64, "A" * 64), "^digest is not"),
        ("digest", ("0" * 64,), "another digest"),
        ("units", ([], None, "x", 5), "^units: expected"),
    ):
        for value in values:
            yield Case(f"{name} = {value!r:.9}", lambda name=name, value=value: read_model(**{name: value}), FormatError, match)
    for value in (0, WHOLE - 1):
        yield Case(f"step {value}", lambda value=value: read_model(step=value).step, None, value=value)
    for unit in (None, {}, "12", 5, [1], [1, 2, 3], ["1", 2], [1, 2.0], [True, 2], [0, 1], [-1, 2], [1, 0], [1, 2**512], [2**512, 1]):
        yield Case(f"unit {unit!r:.12}", lambda u=unit: read_model(units=told["units"] | {"w": u}), FormatError, "^unit of 'w'.*expected")
    for unit in ([2, 4], [3, 3]):
        yield Case(f"unit {unit}", lambda u=unit: read_model(units=told["units"] | {"w": u}), FormatError, "lowest terms")
    for unit in ([1, 2**512 - 1], [2**512 - 1, 1], [1, 1]):  # known as such, but the floats are others
        yield Case(f"unit {unit!r:.12}", lambda u=unit: read_model(units=told["units"] | {"w": u}), FormatError, "^w is not what")
    for name, value, match in (
        ("more", tensors["w"], "its tensors are not"),
        ("integers/w", tensors["integers/w"].astype(np.int32), "is int32"),
        ("integers/w", tensors["integers/w"].astype(np.uint64), "is uint64"),
        ("integers/w", tensors["integers/w"] + 1, "another digest"),
        ("integers/w", tensors["integers/w"].reshape(-1), "another digest"),
        ("w", tensors["w"].astype(np.float64), "^w is not what"),
        ("w", tensors["w"].reshape(-1), "^w is not what"),
        ("w", np.nextafter(tensors["w"], np.float32(9)), "^w is not what"),
        ("w", tensors["w"].view(np.int32), "^w is not what"),
    ):
        yield Case(f"{name} {match}", lambda name=name, value=value: read_model(tensors | {name: value}), FormatError, match)
    yield Case("an array less", lambda: read_model({k: v for k, v in tensors.items() if k != "w"}), FormatError, "its tensors are not")
    zero = Model(bytes(32), 0, {"a": np.zeros((), dtype=np.int64)}, {"a": Fraction(1)})
    yield Case("an entry alone", lambda: zero.floats()["a"].shape, None, value=())
    wide = models.as_float32(np.array([2**53 + 1, 2**62 + 2**38, -(2**24) - 1, 3]), Fraction(1, 3))
    exact = [float(np.float32(float(np.float64(float(v)) * (1 / 3)))) for v in (2**53 + 1, 2**62 + 2**38, -(2**24) - 1, 3)]
    yield Case("rounding", lambda: wide.tolist(), None, value=exact)


MODEL_WORK = {
    "memory": 68819664,
    "shares": {
        "digests of disclosed commitments": 2048,
        "disclosed rows": 21504,
        "value of disclosed rows": 43008,
        "weights of disclosed rows": 47632,
        "row rounds": 1056,
        "row weights": 4112,
        "opened columns": 48544,
        "folded padding": 119836,
        "levels": 67880,
        "final vector": 87760,
        "random coefficients": 10752,
        "codewords of disclosed rows": 101376,
        "trees of disclosed rows": 856064,
    },
}
DATA_WORK = {
    "memory": 68177920,
    "shares": {
        "paths to the dataset": 2048,
        "numbers of samples": 12393,
        "disclosed rows": 38400,
        "random coefficients": 22272,
        "codewords of disclosed rows": 304128,
        "trees of disclosed rows": 2568192,
    },
}


def charged(call) -> dict:
    """What a comparison with disclosures takes."""
    meters = []

    class Seen(Meter):
        def __init__(self, *limits):
            super().__init__(*limits)
            meters.append(self)

    with mock.patch.object(disclosed_module, "Meter", Seen):
        call()
    (meter,) = meters
    return {"memory": meter.memory, "shares": meter.shares}


def disclosed_models():
    """The model behind the last weights of the frozen proof, and what is not."""
    circuit, proof = frozen(DISCLOSED)
    statement, honest, geometry = proof.statement, disclosed(), proof.statement.geometry
    yield Case("the frozen one", compared, None, value=None)
    yield Case("and its proof", lambda: verifier.verify(circuit, proof, minimum_bits=BITS, model=read_model(), disclosures=[honest]), None)
    yield Case(
        "another, and its proof",
        lambda: verifier.verify(circuit, proof, minimum_bits=BITS, model=altered_model(), disclosures=[honest]),
        VerificationError,
        "^model: ",
    )
    shift = statement.shifts[4]
    for name, lie, match in (
        ("another weight", altered_model(), "^model: these are not the arrays"),
        ("another frozen weight", altered_model("f", 1 << shift), "^model: these arrays and the disclosed seed"),
        ("a frozen weight that is no multiple", altered_model("f", 1), f"^model: f holds an integer that is no multiple of 2.{shift}"),
        ("of another circuit", altered_model(change=0, circuit=bytes(32)), "^model: its circuit has"),
        ("of another step", altered_model(change=0, step=4), "^model: it says that it is of step 4"),
        ("of more arrays", altered_model(change=0, integers=read_model().integers | {"m": read_model().integers["w"]}), "^model: it holds"),
        ("of another shape", altered_model(change=0, integers=read_model().integers | {"w": np.zeros((2, 3), np.int64)}), "another shape"),
        ("of another unit", altered_model(change=0, units=read_model().units | {"w": Fraction(1, 2)}), "another shape or unit"),
        *((f"beyond {v}", altered_model("w", v - int(read_model().integers["w"].flat[0])), "beyond 62") for v in (2**62, -(2**62) - 1)),
        *((f"up to {v}", altered_model("w", v - int(read_model().integers["w"].flat[0])), "not the arrays") for v in (2**62 - 1, -(2**62))),
    ):
        yield Case(name, lambda lie=lie: compared(lie), VerificationError, match)
    item, beside = honest.items
    for name, lie, match in (
        ("no frozen ones", dataclasses.replace(honest, items=(item,)), "of the commitment to the frozen weights"),
        ("another geometry", dataclasses.replace(honest, geometry=Geometry(9, 2, 4, level_bits=9)), "of the commitment to these weights"),
        (
            "another root",
            dataclasses.replace(honest, items=(item._replace(commitment=amended(item.commitment, root=bytes(32))), beside)),
            "of the commitment to these weights",
        ),
        (
            "another number",
            dataclasses.replace(honest, items=(item._replace(commitment=amended(item.commitment, number=4)), beside)),
            "of the commitment to these weights",
        ),
    ):
        yield Case(name, lambda lie=lie: compared(disclosure=lie), VerificationError, f"^disclosure: none of them is {match}")
    seedless = dataclasses.replace(honest, items=(item, beside._replace(seed=bytes(32))))
    yield Case("another seed", lambda: compared(disclosure=seedless), VerificationError, "^Merkle path|^mask|^opening|^model: these arrays")
    yield Case("bits", lambda: compared(minimum_bits=30), VerificationError, "^security: ")
    yield Case(
        "a body more", lambda: compared(disclosure=dataclasses.replace(honest, body=honest.body + b"0")), FormatError, "after its last"
    )
    yield Case("no body", lambda: compared(disclosure=dataclasses.replace(honest, body=b"")), FormatError, "proof ends inside")
    other = dataclasses.replace(honest, arrays=bytes(32))
    yield Case("about other arrays", lambda: compared(disclosure=other), VerificationError, "^model: these are not the arrays")
    cells = np.zeros((1, geometry.row), dtype=np.uint64)
    cells[0, :] = np.frombuffer(_rows_of_model(altered_model()), dtype="<u8")
    swapped = dataclasses.replace(honest, arrays=hashlib.sha256(cells.tobytes()).digest())
    yield Case("a claim of others", lambda: compared(altered_model(), swapped), VerificationError, "^(Merkle path|mask|opening)")

    def with_challenges_of(call):
        """Let the transcript of the frozen disclosure draw, whatever the statement says."""
        transcript = Transcript(geometry.digest(), honest.canonical())
        with (
            mock.patch.object(disclosed_module, "Transcript", lambda *_: transcript),
            mock.patch.object(opening, "element_bytes", lambda _: element_bytes(ext.stack([point_value]))),
        ):
            return call()

    point = Point.draw(_after_root(honest), 0, geometry.log_row)
    point_value = point.value([(0, np.frombuffer(_rows_of_model(read_model()), dtype="<u8").reshape(1, -1))])
    yield Case(
        "with the same challenges", lambda: with_challenges_of(lambda: compared(altered_model(), swapped)), VerificationError, "^opening"
    )
    yield Case("which an honest one passes", lambda: with_challenges_of(compared), None)
    for name, options, match in (
        ("no disclosure", {"disclosure": []}, "^model: a disclosure ties"),
        ("bytes", {"disclosure": [bytes(honest)]}, "^disclosures: give"),
        ("arrays", {"model": {"w": 1}}, "^model is a dict"),
        ("data of lists", {"data": ([1],)}, "^data: give"),
        ("data of one array", {"data": cells}, "^data: give"),
    ):
        yield Case(name, lambda options=options: compared(**options), ConfigurationError, match)
    yield Case("first arrays", lambda: compared({"w": 1}, last=False), ConfigurationError, "^initial_model is a dict")
    yield Case("nothing", lambda: check_disclosed(circuit, [statement], []), None, value=None)
    yield Case(
        "nothing to compare", lambda: check_disclosed(circuit, [statement], [honest]), ConfigurationError, "^a disclosure says nothing"
    )
    yield Case(
        "a disclosure that is in no list", lambda: check_disclosed(circuit, [statement], honest), ConfigurationError, "^disclosures: give"
    )
    yield Case("work", lambda: charged(compared), None, value=MODEL_WORK)
    yield Case("much work", lambda: compared(max_work=10**5), VerificationError, "^work: .* field multiplications")
    yield Case("much memory", lambda: compared(max_memory=BASE), VerificationError, "^work: .* bytes of memory")

    # by their seeds, of commitments that are made here
    first = dataclasses.replace(read_model(), step=0)
    layout = Layout({p: circuit.parameters[p].shape for p in (0, 2)})
    rows = rows_of(layout, {0: first.integers["w"], 2: first.integers["v"]}, 1, geometry.row)
    made = commit(rows, kind="weights", number=0, budget=2, geometry=geometry, seed=bytes(range(32)))
    begun = dataclasses.replace(statement, initial=made.commitment)
    own = Disclosure(geometry, (Item(made.commitment, made.parts[0].seed), beside))
    yield Case("first weights", lambda: compared(first, own, begun, last=False), None, value=None)
    yield Case("last ones", lambda: compared(first, own, begun), VerificationError, "^model: it says")
    yield Case(
        "others", lambda: compared(dataclasses.replace(altered_model(), step=0), own, begun, last=False), VerificationError, "do not lead"
    )
    shifted = dataclasses.replace(begun, shifts=(1, *begun.shifts[1:]))
    odd = altered_model(change=1 - int(first.integers["w"].flat[0]) % 2, step=0)
    yield Case("halves", lambda: compared(odd, own, shifted, last=False), VerificationError, "no multiple of 2.1")
    doubled = dataclasses.replace(first, integers=first.integers | {"w": 2 * first.integers["w"]})
    yield Case("doubles", lambda: compared(doubled, own, shifted, last=False), None)
    link = Link("initial", made.commitment)
    linked = dataclasses.replace(begun, initial=amended(made.commitment, root=b"x" * 32), links=(link,))
    yield Case("what a link leads to", lambda: compared(first, own, linked, last=False), None)
    alone = dataclasses.replace(linked, links=())
    yield Case("what none leads to", lambda: compared(first, own, alone, last=False), VerificationError, "^disclosure: ")
    high = amended(made.commitment, budget=geometry.max_budget + 1)
    too_high = dataclasses.replace(own, items=(Item(high, bytes(32)), beside))
    yield Case(
        "a budget",
        lambda: compared(first, too_high, dataclasses.replace(begun, initial=high), last=False),
        VerificationError,
        "its opening budget",
    )
    tall = amended(made.commitment, rows=2)
    too_tall = dataclasses.replace(own, items=(Item(tall, bytes(32)), beside))
    yield Case(
        "rows",
        lambda: compared(first, too_tall, dataclasses.replace(begun, initial=tall), last=False),
        VerificationError,
        "2 rows, expected 1",
    )


def _rows_of_model(model) -> bytes:
    circuit = frozen(DISCLOSED)[0]
    layout = Layout({p: circuit.parameters[p].shape for p in (0, 2)})
    return rows_of(layout, {0: model.integers["w"], 2: model.integers["v"]}, 1, frozen(DISCLOSED)[1].statement.geometry.row).tobytes()


def _after_root(disclosure) -> Transcript:
    """The transcript of a disclosure when its point is drawn."""
    transcript = Transcript(disclosure.geometry.digest(), disclosure.canonical())
    transcript.absorb("trace root", disclosure.body[:32])
    return transcript


@cache
def own_dataset():
    """(circuit, statement, disclosure, data): a dataset of three shards that is committed to here."""
    circuit, proof = frozen()
    statement, rng = proof.statement, np.random.default_rng(0)
    samples, size, geometry = statement.samples, statement.shard_size, statement.geometry
    integers = [rng.integers(-8, 8, (samples, *x.shape[1:])) for x in circuit.inputs]
    items = []
    for number in range(3):
        arrays = {k: x[number * size : (number + 1) * size] for k, x in enumerate(integers)}
        rows = rows_of(Layout({k: x.shape for k, x in arrays.items()}), arrays, 1, geometry.row)
        made = commit(rows, kind="shard", number=number, budget=2, geometry=geometry, seed=bytes(range(32)))
        items.append(Item(made.commitment, made.parts[0].seed))
    root, siblings = dataset_root([named(item.commitment, geometry) for item in items], [0, 1, 2], samples, size)
    disclosure = Disclosure(geometry, tuple(items), Shards(samples, size, tuple(siblings)))
    data = tuple(x * 2.0**-told.scale for x, told in zip(integers, circuit.inputs, strict=True))
    return circuit, dataclasses.replace(statement, dataset=root, dataset_after=root), disclosure, data


def disclosed_data():
    """The dataset behind a root, some of its shards, and what is not."""
    circuit, statement, honest, (x, y) = own_dataset()
    geometry, size = statement.geometry, statement.shard_size

    def compare(data, disclosure=honest, statement=statement, **options):
        """The numbers of the shards that the data are."""
        found = check_disclosed(circuit, [statement], [disclosure], data=data, **options)
        return tuple(item.commitment.number for item in found.items)

    def some(*numbers):
        digests = [named(item.commitment, geometry) for item in honest.items]
        _, siblings = dataset_root(digests, list(numbers), statement.samples, size)
        return Disclosure(geometry, tuple(honest.items[n] for n in numbers), honest.dataset._replace(siblings=tuple(siblings)))

    yield Case("the dataset", lambda: compare((x, y)), None, value=(0, 1, 2))
    yield Case("a shard", lambda: compare((x[4:8], y[4:8]), some(1)), None, value=(1,))
    yield Case("the last ones", lambda: compare((x[4:], y[4:]), some(1, 2)), None, value=(1, 2))
    yield Case("in its samples' order", lambda: compare((x[[8, 0, 1, 2, 3]], y[[8, 0, 1, 2, 3]]), some(0, 2)), VerificationError, "^data: ")
    yield Case("and as they are", lambda: compare((x[[0, 1, 2, 3, 8]], y[[0, 1, 2, 3, 8]]), some(0, 2)), None, value=(0, 2))
    half = 2.0 ** -(circuit.inputs[0].scale + 1)
    yield Case("rounded down", lambda: compare((x + half * (1 - 2**-20), y)), None)
    yield Case("halves upwards", lambda: compare((x - half, y)), None)
    yield Case("not further", lambda: compare((x + half, y)), VerificationError, "^data: these arrays")
    yield Case("float32", lambda: compare((x.astype(np.float32), y.astype(np.float32))), None)
    label = y.copy()
    label[5, 1] += 2 * half
    bound = 2.0 ** (circuit.inputs[0].bits - circuit.inputs[0].scale)
    edge, beyond, below, low = (x.copy() for _ in range(4))
    edge[0, 0], beyond[0, 0], low[0, 0], below[0, 0] = bound - 2 * half, bound - half, -bound, -bound - 2 * half
    nan, inf = x.copy(), x.copy()
    nan[7, 0], inf[8, 1] = np.nan, -np.inf
    for name, data, match in (
        ("another label", (x, label), "^data: these arrays and the disclosed seed do not lead to the root of shard 1"),
        ("the largest value", (edge, y), "do not lead to the root of shard 0"),
        ("the least value", (low, y), "do not lead to the root of shard 0"),
        ("beyond", (beyond, y), "sample 0: the value"),
        ("below", (below, y), "sample 0: the value"),
        ("no number", (nan, y), "sample 7: a value is not finite"),
        ("infinite", (inf, y), "sample 8: a value is not finite"),
        ("a sample less", (x[:8], y[:8]), "8 samples, what is disclosed are 9"),
        ("a sample more", (np.concatenate([x, x[:1]]), np.concatenate([y, y[:1]])), "10 samples, what is disclosed are 9"),
        ("unequal", (x, y[:8]), "has 8 samples"),
        ("an array less", (x,), "1 arrays"),
        ("an array more", (x, y, y), "3 arrays"),
        ("another shape", (x[:, :3], y), "has shape"),
        ("one sample", (x[0], y), "has shape"),
        ("no axis", (np.array(1.0), y), "has shape"),
        ("complex numbers", (x.astype(complex), y), "dtype"),
        ("another order of bytes", (x.astype(">f8"), y), "dtype"),
        ("long numbers", (x.astype(np.longdouble), y), "dtype"),
        ("texts", (x.astype(str), y), "dtype"),
        ("short texts", (x.astype("S8"), y), "dtype"),
        ("short complex numbers", (x.astype(np.complex64), y), "dtype"),
        ("times", (x.astype("M8[s]"), y), "dtype"),
    ):
        yield Case(name, lambda data=data: compare(data), VerificationError, match)
    narrow = dataclasses.replace(circuit.inputs[0], shape=(1, *circuit.inputs[0].shape[1:]))
    numbers = dataclasses.replace(circuit.inputs[0], shape=(3,))
    yield Case("no axis, of numbers", lambda: whole_samples(numbers, np.array(1.0)), DataError, "has shape")
    yield Case("work", lambda: charged(lambda: compare((x, y))), None, value=DATA_WORK)
    yield Case("a batch of one", lambda: whole_samples(narrow, x[0]).shape, None, value=(1, x.shape[1]))
    for name, lie in (
        ("samples", dataclasses.replace(honest, dataset=honest.dataset._replace(samples=10))),
        ("size", dataclasses.replace(honest, dataset=honest.dataset._replace(shard_size=3))),
        ("siblings", dataclasses.replace(honest, dataset=honest.dataset._replace(siblings=()))),
        ("another sibling", dataclasses.replace(honest, dataset=honest.dataset._replace(siblings=(b"x" * 32,)))),
        ("geometry", dataclasses.replace(honest, geometry=Geometry(9, 2, 4, level_bits=9))),
        ("a shard less", dataclasses.replace(honest, items=honest.items[:2])),
        ("weights", disclosed()),
    ):
        yield Case(
            f"another {name}", lambda lie=lie: compare((x, y), lie), VerificationError, "^disclosure: none of them is of the proofs'"
        )
    other = dataclasses.replace(statement, dataset=bytes(32), dataset_after=bytes(32))
    yield Case("of another root", lambda: compare((x, y), statement=other), VerificationError, "^disclosure: none")
    before = dataclasses.replace(statement, dataset=bytes(32))
    yield Case("of the root after a proof's links", lambda: compare((x, y), statement=before), None)
    seedless = dataclasses.replace(honest, items=(honest.items[0], honest.items[1]._replace(seed=bytes(32)), honest.items[2]))
    yield Case("another seed", lambda: compare((x, y), seedless), VerificationError, "root of shard 1")
    for changes, match in (({"budget": 5}, "its opening budget 5"), ({"rows": 2}, "2 rows, expected 1")):
        item = honest.items[1]._replace(commitment=amended(honest.items[1].commitment, **changes))
        lie = dataclasses.replace(honest, items=(honest.items[0], item, honest.items[2]))
        root, _ = dataset_root([named(i.commitment, geometry) for i in lie.items], [0, 1, 2], statement.samples, size)
        said = dataclasses.replace(statement, dataset=root)
        yield Case(
            f"{changes}", lambda lie=lie, said=said: compare((x, y), lie, said), VerificationError, f"^commitment to shard 1: {match}"
        )


SHARDS = f"format-{VERSION}-shards"
SAMPLES_WORK = {
    "memory": 68828336,
    "shares": {
        "paths to the dataset": 2048,
        "numbers of samples": 12389,
        "disclosed rows": 38400,
        "value of disclosed rows": 55296,
        "weights of disclosed rows": 56864,
        "row rounds": 2176,
        "row weights": 8224,
        "opened columns": 96776,
        "folded padding": 119940,
        "levels": 67880,
        "final vector": 87760,
    },
}


def disclosed_samples():
    """Some samples of the frozen dataset, and what is not."""
    circuit, proof = frozen(SHARDS)
    statement, honest = proof.statement, Disclosure.load(VECTORS / f"{SHARDS}.some.disclosure")
    own, (x, y) = [0, 2, 3, 4, 8], map(np.array, json.loads((VECTORS / f"{SHARDS}.data.json").read_text()))
    geometry, size = statement.geometry, statement.shard_size

    def compare(data, disclosure=honest, statement=statement, **options):
        return check_disclosed(circuit, [statement], [disclosure], data=data, **{"minimum_bits": BITS} | options)

    def others(numbers=honest.dataset.chosen.samples, inputs=(0, 1)):
        return amended_dataset(honest, chosen=Chosen(numbers, inputs))

    yield Case("samples", lambda: compare((x[own], y[own])), None, value=honest)
    yield Case("work", lambda: charged(lambda: compare((x[own], y[own]))), None, value=SAMPLES_WORK)
    label = y[own]
    label[4, 0] += 2.0 ** -circuit.inputs[1].scale
    for name, data, match in (
        ("another label", (x[own], label), "^data: these are not the arrays"),
        ("another sample", (x[[0, 2, 3, 5, 8]], y[[0, 2, 3, 5, 8]]), "^data: these are not the arrays"),
        ("another order", (x[[2, 0, 3, 4, 8]], y[[2, 0, 3, 4, 8]]), "^data: these are not the arrays"),
        ("a sample less", (x[own[:4]], y[own[:4]]), "^data: 4 samples, what is disclosed are 5"),
        ("all", (x, y), "^data: 9 samples, what is disclosed are 5"),
        ("an array less", (x[own],), "^data: 1 arrays, what is disclosed are"),
    ):
        yield Case(name, lambda data=data: compare(data), VerificationError, match)
    data = x[own], y[own]
    for name, lie, match in (
        ("other numbers", others(((0, 1), (2, 4), (5, 6), (8, 9))), "^data: these are not the arrays"),
        ("an input", others(inputs=(0, 2)), "^disclosure: it is of input 2, the circuit reads "),
        ("another sibling", amended_dataset(honest, siblings=(b"x" * 32,)), "^disclosure: none"),
        ("other arrays", dataclasses.replace(honest, arrays=bytes(32)), "^data: these are not the arrays"),
    ):
        yield Case(f"{name} in the statement", lambda lie=lie: compare(data, lie), VerificationError, match)
    alone = others(inputs=(1,))
    yield Case("labels alone", lambda: compare((y[own],), alone), VerificationError, "^data: these are not the arrays")
    yield Case("too few of them", lambda: compare(data, alone), VerificationError, "^data: 2 arrays, what is disclosed are")
    yield Case("bits", lambda: compare(data, minimum_bits=30), VerificationError, "^security: ")
    yield Case("much work", lambda: compare(data, max_work=10**5), VerificationError, "^work: .* field multiplications")
    yield Case("much memory", lambda: compare(data, max_memory=BASE), VerificationError, "^work: .* bytes of memory")
    for body, error, match in (
        (honest.body + b"0", FormatError, "after its last"),
        (b"", FormatError, "proof ends inside"),
        (bytes(len(honest.body)), VerificationError, "^Merkle path|^mask|^opening"),
    ):
        lie = dataclasses.replace(honest, body=body)
        yield Case(f"a body of {len(body)} bytes", lambda lie=lie: compare(data, lie), error, match)
    for changes, match in (({"budget": geometry.max_budget + 1}, "its opening budget"), ({"rows": 2}, "2 rows, expected 1")):
        item = honest.items[1]._replace(commitment=amended(honest.items[1].commitment, **changes))
        lie = dataclasses.replace(honest, items=(honest.items[0], item, honest.items[2]))
        root, _ = dataset_root([named(i.commitment, geometry) for i in lie.items], [0, 1, 2], statement.samples, size)
        said = dataclasses.replace(statement, dataset=root)
        yield Case(f"{changes}", lambda lie=lie, said=said: compare(data, lie, said), VerificationError, f"^commitment to shard 1: {match}")

    # the claim itself, with the challenges of the frozen proof, whatever the statement says
    placed = [np.array(_cells(circuit, statement, data, own, shard)) for shard in range(3)]
    point = Point.draw(_after_root(honest), 2, geometry.log_row)

    def with_challenges_of(call, lie):
        transcript = Transcript(geometry.digest(), honest.canonical())
        shown = mock.patch.object(disclosed_module, "digest_of_cells", lambda _: honest.arrays)
        value = ext.stack([point.value(list(enumerate(placed)))])
        drawn = mock.patch.object(disclosed_module, "Transcript", lambda *_: transcript)
        with shown, drawn, mock.patch.object(opening, "element_bytes", lambda _: element_bytes(value)):
            return call(lie)

    yield Case("with its own challenges", lambda: with_challenges_of(compare, data), None, value=honest)
    yield Case("a label with them", lambda: with_challenges_of(compare, (x[own], label)), VerificationError, "^opening")


def _cells(circuit, statement, data, numbers, shard: int) -> np.ndarray:
    """What is public of a shard, as ``protocol.disclosure`` has it, cell by cell."""
    size = statement.shard_size
    count = min(size, statement.samples - shard * size)
    layout = Layout({k: (count, *x.shape[1:]) for k, x in enumerate(circuit.inputs)})
    cells = np.full((1, statement.geometry.row), 2**64 - 1, dtype=np.uint64)
    for piece in layout.pieces:
        x = circuit.inputs[piece.key]
        for place in np.ndindex(*piece.lengths):
            sample, *rest = (start + e for start, e in zip(piece.starts, place, strict=True))
            if shard * size + sample in numbers:
                at = 0
                for e, bits in zip(place, piece.bits, strict=True):
                    at = at << bits | e
                value = data[piece.key][(numbers.index(shard * size + sample), *rest)]
                cells[0, piece.offset + at] = int(np.floor(value * 2.0**x.scale + 0.5)) % (2**64 - 2**32 + 1)
    return cells


# ---- first weights from a public key ----------------------------------------------------------------------------
DRAWN = f"format-{VERSION}-drawn"
DRAWN_WORK = {
    "memory": 68177920,
    "shares": {
        "drawn weights": 37008,
        "digests of disclosed commitments": 2048,
        "disclosed rows": 21504,
        "random coefficients": 21504,
        "codewords of disclosed rows": 202752,
        "trees of disclosed rows": 1712128,
    },
}


def drawing_files():
    """What a drawing's file may be, and what is drawn."""
    path = VECTORS / f"{DRAWN}.drawing.json"
    told, length = json.loads(path.read_text()), path.stat().st_size

    def load(content, limit=drawings.LIMIT):
        with tempfile.TemporaryDirectory() as directory, mock.patch.object(drawings, "LIMIT", limit):
            (file := Path(directory) / "d.json").write_bytes(content if isinstance(content, bytes) else canonical(content))
            return Drawing.load(file)

    def of(*value, path="w"):
        return lambda: load(told | {"parameters": {path: [*value]}}).parameters[path]

    honest = Drawing(7, {name: (*value,) for name, value in told["parameters"].items()})
    yield Case("the frozen one", lambda: Drawing.load(path), None, value=honest)
    yield Case("its length", lambda: load(path.read_bytes(), length), None, value=honest)
    yield Case("a longer one", lambda: load(path.read_bytes(), length - 1), FormatError, f"d.json: more than {length - 1} bytes")
    for content in (b"", b"{", b"[" * 100_000, b"\xff", path.read_bytes().replace(b"7", b'7, "seed": 7'), b'{"a": ' + b"1" * 5000 + b"}"):
        yield Case(f"{content!r:.9}", lambda content=content: load(content), FormatError, "d.json: not a JSON file")
    for word in (b"NaN", b"Infinity", b"-Infinity"):
        yield Case(f"{word}", lambda word=word: load(path.read_bytes().replace(b"2", word)), FormatError, "is no number of JSON")
    for content in ([], 5, None, "x", {}, told | {"note": ""}, *(missing(told, [name]) for name in told)):
        yield Case(f"{content!r:.20}", lambda content=content: load(content), FormatError, "d.json: expected an object with the keys")
    for name, values, match in (
        ("format", (0, 2, "1", 1.0, True, None), "drawing format"),
        ("seed", (-1, 2**32, 1.0, "1", True, None), "seed is"),
        ("parameters", ({}, [], 5, None, "w", [["w", ["normal", 1]]]), "parameters: expected an object"),
    ):
        for value in values:
            yield Case(f"{name} = {value!r:.20}", lambda n=name, v=value: load(told | {n: v}), FormatError, f"d.json: {match}")
    for seed in (0, 2**32 - 1):
        yield Case(f"seed {seed}", lambda seed=seed: load(told | {"seed": seed}).seed, None, value=seed)
    for value in ("normal", None, {"normal": 1}, 5, [], [1], [["normal"], 1], ["cauchy", 1], ["Normal", 1]):
        yield Case(f"{value}", lambda v=value: load(told | {"parameters": {"w": v}}), FormatError, "'w': the distribution")
    for name, count in drawings.NUMBERS.items():
        good = [-1.0, 1.0][-count:]
        yield Case(name, of(name, *good), None, value=(name, *good))
        for numbers in (good[1:], [*good, 2.0]):
            yield Case(f"{name} {numbers}", of(name, *numbers), FormatError, f"'w': {name} with {len(numbers)} numbers; it has {count}")
    edge = 2.0**64
    for x in (0, 0.0, -0.0, 1, -1, edge, -edge, 1 / edge, -1 / edge, 2**64):
        yield Case(f"constant {x}", of("constant", x), None, value=("constant", x))
    beyond = np.nextafter(edge, np.inf).item(), np.nextafter(1 / edge, 0).item()
    for x in (*beyond, *(-x for x in beyond), 1e300, 2**64 + 1, True, False, "1", None, [1], {}):
        yield Case(f"constant {x!r:.12}", of("constant", x), FormatError, "is no number of a distribution")
    for name in ("normal", "truncated_normal"):
        for x in (0, 0.0, -1, -1 / edge):
            yield Case(f"{name} {x}", of(name, x), FormatError, "it is above 0")
        yield Case(f"{name} just above 0", of(name, 1 / edge), None)
    for low, high in ((1, 1), (0, 0.0), (2, 1), (1, -1)):
        yield Case(f"uniform {low} {high}", of("uniform", low, high), FormatError, "the lower bound comes first")
    yield Case("a path that is no text", lambda: Drawing(0, {5: ("normal", 1)}), FormatError, "the path 5 is no text")
    yield Case("a list", lambda: Drawing(0, {"w": ["normal", 1]}), FormatError, "'w': the distribution")
    yield Case("a list of parameters", lambda: Drawing(0, [("w", ("normal", 1))]), FormatError, "parameters: expected")

    sizes = {"f": 7, "v": 3, "w": 5}
    values = honest.floats({name: (size,) for name, size in sizes.items()})
    yield Case("values", lambda: {name: x.tolist() for name, x in values.items()}, None, value=drawn_by_hand.drawn(told, sizes))
    yield Case("float32", lambda: {str(x.dtype) for x in values.values()}, None, value={"float32"})
    fourth = {"parameters": told["parameters"] | {"g": ["constant", 0.1]}, "seed": 2**32 - 1}
    more = Drawing(fourth["seed"], honest.parameters | {"g": ("constant", 0.1)}).floats(dict.fromkeys("fgvw", (2,)))
    by_hand = drawn_by_hand.drawn(fourth, dict.fromkeys("fgvw", 2))
    yield Case("others", lambda: {name: x.tolist() for name, x in more.items()}, None, value=by_hand)
    yield Case("an entry alone", lambda: honest.floats(dict.fromkeys("fvw", ()))["w"].shape, None, value=())

    def of_most(size, most=8):
        with mock.patch.object(drawings, "MAX_ENTRIES", most):
            return honest.floats(dict.fromkeys("fvw", (size,)))["w"].shape

    yield Case("the most entries", lambda: of_most(7), None, value=(7,))
    yield Case("an entry more", lambda: of_most(8), FormatError, "f has 8 entries; fewer than 2.31")
    yield Case("limits", lambda: (drawings.MAX_ENTRIES, drawings.LIMIT), None, value=(2**31, 2**26))


def drawn_weights():
    """What is behind the first weights' commitment as a drawing says, and what is not."""
    circuit, proof = frozen(DRAWN)
    told, disclosure = Drawing.load(VECTORS / f"{DRAWN}.drawing.json"), Disclosure.load(VECTORS / f"{DRAWN}.disclosure")
    integers = {name: np.array(x).reshape(3, 2) for name, x in json.loads((VECTORS / f"{DRAWN}.integers.json").read_text()).items()}
    statement, digest = proof.statement, circuit.digest()
    numbers = {x.path: p for p, x in enumerate(circuit.parameters) if x.path in integers}
    model = Model(digest, 0, integers, {name: circuit.unit(p) for name, p in numbers.items()})

    def compare(drawing=told, shown=disclosure, **options):
        given = {"drawing": drawing, "minimum_bits": BITS} | options
        return check_disclosed(circuit, [statement], [shown] if shown is not None else [], **given)

    def amid(**changes):
        return Drawing(7, {**told.parameters, **changes})

    yield Case("the frozen one", compare, None, value=None)
    yield Case("and its proof", lambda: verifier.verify(circuit, proof, minimum_bits=BITS, drawing=told, disclosures=[disclosure]), None)
    another = amid(w=("uniform", -0.5, 0.4))
    yield Case(
        "another, and its proof",
        lambda: verifier.verify(circuit, proof, minimum_bits=BITS, drawing=another, disclosures=[disclosure]),
        VerificationError,
        "^drawing: ",
    )
    shift = statement.shifts[numbers["f"]]
    by_hand = drawn_by_hand.drawn({"seed": 7, "parameters": told.parameters}, dict.fromkeys("fvw", 6))
    for name, p in numbers.items():
        s, unit = statement.shifts[p], circuit.parameters[p].unit
        expected = [drawn_by_hand.integer(x, unit, s) for x in by_hand[name]]
        found = drawn_integers(told, circuit, statement.shifts, Meter())[p]
        yield Case(f"integers of {name}", lambda f=found: f.ravel().tolist(), None, value=expected)
        yield Case(f"which are those of {name}", lambda f=found, s=s: (f << s).tolist(), None, value=integers[name].tolist())
    wide = dataclasses.replace(circuit, parameters=tuple(dataclasses.replace(x, unit=Fraction(3, 640)) for x in circuit.parameters))
    expected = [drawn_by_hand.integer(x, Fraction(3, 640), 0) for x in by_hand["w"]]
    found = drawn_integers(told, wide, statement.shifts, Meter())[numbers["w"]].ravel().tolist()
    yield Case("another unit", lambda: found, None, value=expected)
    yield Case("another key", lambda: compare(Drawing(8, told.parameters)), VerificationError, "^drawing: ")
    yield Case("another frozen one", lambda: compare(amid(f=("normal", 2.1))), VerificationError, "^drawing: .* root of frozen 0")
    yield Case("one that the circuit gives", lambda: compare(amid(m=("constant", 0))), VerificationError, "^drawing: it is of m, and")
    yield Case("one that is none", lambda: compare(amid(z=("constant", 0))), VerificationError, "^drawing: it is of z, and")

    def constant(x, shifts):
        return lambda: drawn_integers(amid(w=("constant", x)), circuit, shifts, Meter())[0].ravel().tolist()

    zeros, one = (0,) * 5, (1, 0, 0, 0, 0)
    least = 2.0 ** (circuit.table_bits - 2)
    for x, value in (
        (1 / 512, 1),
        (-1 / 512, 0),
        (np.nextafter(np.float32(1 / 512), 0).item(), 0),
        (2.0**53, 2**61),
        (-(2.0**53), -(2**61)),
    ):
        yield Case(f"constant {x}", constant(x, zeros), None, value=[value] * 6)
    for x in (2.0**54, -(2.0**54)):
        yield Case(f"constant {x}", constant(x, zeros), VerificationError, "^drawing: w becomes an integer beyond 62 bits")
    for sign in (1, -1):
        yield Case(f"coarse {sign}", constant(sign * least / 128, one), None, value=[sign * int(least)] * 6)
        yield Case(
            f"too coarse {sign}", constant(sign * (least - 1) / 128, one), VerificationError, "^drawing: w, as drawn, is not rounded"
        )
        yield Case(f"fine {sign}", constant(sign * (least - 1) / 256, zeros), None, value=[sign * int(least - 1)] * 6)

    part = Drawing(7, {"f": told.parameters["f"]})  # the same key, as of its first path
    yield Case("frozen ones alone", lambda: compare(part), VerificationError, "^drawing: w is not drawn")
    yield Case("frozen ones alone, with the others in a file", lambda: compare(part, initial_model=model), None)
    lie = dataclasses.replace(model, integers=integers | {"f": integers["f"] + (1 << shift)})
    yield Case("another file", lambda: compare(initial_model=lie), VerificationError, "^model: ")
    other = Drawing(7, {"f": ("normal", 2.1)})
    yield Case("another drawing than the file", lambda: compare(other, initial_model=model), VerificationError, "^drawing: f in the first")
    no_v = Drawing(7, {name: told.parameters[name] for name in "fw"})
    yield Case("a trained one less", lambda: compare(no_v), VerificationError, "^drawing: v is not drawn; give")
    alone = dataclasses.replace(disclosure, items=disclosure.items[:1])
    yield Case("frozen ones undisclosed", lambda: compare(shown=alone), VerificationError, "^disclosure: .* the frozen weights")
    trained = Drawing(7, {name: told.parameters[name] for name in "vw"})
    yield Case("trained ones alone, drawn otherwise", lambda: compare(trained, alone), VerificationError, "^drawing: .* root of weights 0")

    # of weights that are committed to here
    own = drawn_integers(trained, circuit, statement.shifts, Meter())
    geometry, layout = statement.geometry, Layout({p: circuit.parameters[p].shape for p in (0, 2)})
    made = commit(rows_of(layout, own, 1, geometry.row), kind="weights", number=0, budget=2, geometry=geometry, seed=bytes(range(32)))
    begun = dataclasses.replace(statement, initial=made.commitment)
    shown = Disclosure(geometry, (Item(made.commitment, made.parts[0].seed),))

    def here(drawing, **options):
        return lambda: check_disclosed(circuit, [begun], [shown], drawing=drawing, minimum_bits=BITS, **options)

    yield Case("frozen ones left out", here(trained), None, value=None)
    plain = dataclasses.replace(begun, frozen=None)
    yield Case("none frozen", lambda: check_disclosed(circuit, [plain], [shown], drawing=trained, minimum_bits=BITS), None, value=None)
    yield Case("of a later key", here(Drawing(8, trained.parameters)), VerificationError, "^drawing: ")
    for name, options, match in (
        ("no disclosure", {"shown": None}, "^drawing: a disclosure ties"),
        ("an object", {"drawing": told.parameters}, "^drawing is a dict"),
    ):
        yield Case(name, lambda options=options: compare(**options), ConfigurationError, match)
    yield Case("work", lambda: charged(compare), None, value=DRAWN_WORK)
    yield Case("much work", lambda: compare(max_work=10**5), VerificationError, "^work: .* field multiplications")
    yield Case("much memory", lambda: compare(max_memory=BASE), VerificationError, "^work: .* bytes of memory")


def disclosure_files():
    """What a disclosure's file may be."""
    at_point, by_seed = disclosed(), own_dataset()[2]
    raw, header = bytes(at_point), 14
    statement = at_point.canonical()

    def headed(length, rest=b"", version=disclosures.VERSION):
        return disclosures.MAGIC + struct.pack("<HI", version, length) + rest

    yield Case("as it is", lambda: bytes(Disclosure.parse(raw)), None, value=raw)
    yield Case("by its seed", lambda: Disclosure.parse(bytes(by_seed)), None, value=by_seed)
    yield Case("weights are no dataset", lambda: (at_point.whole, by_seed.whole), None, value=(False, True))
    yield Case("a file", lambda: Disclosure.load(VECTORS / f"{DISCLOSED}.disclosure"), None, value=at_point)
    longest = disclosures.MAX_STATEMENT
    for name, content, match in (
        ("empty", b"", "the file is empty"),
        ("a proof", bytes(frozen()[1]), "not a disclosure"),
        ("half a header", raw[: header - 1], "inside its header"),
        ("a header alone", headed(0), "^disclosure: statement: not JSON"),
        ("another version", headed(len(statement), statement, disclosures.VERSION + 1), "format version"),
        ("a long statement", headed(longest + 1, bytes(longest + 1)), "does not fit"),
        ("the longest statement", headed(longest, bytes(longest)), "not JSON"),
        ("a statement beyond the file", headed(len(statement) + 1, statement), "does not fit"),
        ("bytes that prove nothing", bytes(by_seed) + b"0", "bytes that prove something"),
    ):
        yield Case(name, lambda content=content: Disclosure.parse(content), FormatError, match)

    def said(data):
        text = canonical(data)
        return Disclosure.parse(headed(len(text), text))

    weights, shards = at_point.to_json(), by_seed.to_json()
    item, beside, shard = *weights["items"], shards["items"][0]
    alone = changed(item, ["commitment", "parts"], item["commitment"]["parts"][:1])
    seeded = alone | {"seed": "0" * 64}
    yield Case("no body", lambda: said(weights).body, None, value=b"")
    yield Case("weights alone", lambda: len(said(weights | {"items": [item]}).items), None, value=1)
    yield Case("by a seed", lambda: len(said(weights | {"items": [seeded, beside], "arrays": None}).items), None, value=2)
    yield Case("one part at a point", lambda: len(said(weights | {"items": [alone]}).items), None, value=1)
    cases = [
        (weights | {"kind": "link"}, "kind is 'link'"),
        (weights | {"note": 1}, "expected the fields"),
        (missing(weights, ["arrays"]), "expected the fields"),
        *(
            (weights | {"items": items}, "weights, with frozen ones or without")
            for items in ([], [beside], [item] * 2, [item, beside, beside])
        ),
        *((weights | {"items": items}, "weights, with frozen ones or without") for items in ([beside, item], [item, shard])),
        (shards | {"items": [shard, beside]}, "weights, with frozen ones or without"),
        (weights | {"items": 5}, "items is not a list"),
        (weights | {"items": [5]}, "an item needs"),
        (weights | {"items": [item | {"note": 1}]}, "an item needs"),
        (weights | {"items": [missing(item, ["seed"])]}, "an item needs"),
        (weights | {"items": [changed(item, ["commitment", "masked"], True)]}, "is never disclosed"),
        (weights | {"items": [item | {"seed": "0" * 64}, beside], "arrays": None}, "a commitment of one part"),
        (weights | {"items": [seeded | {"seed": "0" * 63}], "arrays": None}, "seed is not 32 bytes"),
        (weights | {"items": [seeded | {"seed": 5}], "arrays": None}, "seed is not 32 bytes"),
        (weights | {"items": [changed(item, ["commitment", "parts"], item["commitment"]["parts"][1:])]}, "without parameters"),
        (weights | {"items": [item, beside | {"seed": None}]}, "frozen weights are not opened"),
        (shards | {"items": [shard | {"seed": None}], "arrays": "0" * 64}, "shards are opened at a point where"),
        *_of_samples(by_seed),
        (weights | {"arrays": None}, "shards need their dataset"),
        (weights | {"items": [seeded]}, "shards need their dataset"),
        (weights | {"arrays": "0" * 63}, "arrays is not 32 bytes"),
        (weights | {"dataset": shards["dataset"]}, "shards need their dataset"),
        (shards | {"dataset": None}, "shards need their dataset"),
        (shards | {"arrays": "0" * 64}, "shards need their dataset"),
        (shards | {"dataset": 5}, "a dataset needs"),
        (shards | {"dataset": shards["dataset"] | {"note": 1}}, "a dataset needs"),
        (changed(shards, ["dataset", "siblings"], 5), "dataset.siblings is not a list"),
        (changed(shards, ["dataset", "siblings"], ["0"]), "dataset.siblings is not 32 bytes"),
        (shards | {"items": shards["items"][::-1]}, "not in ascending order"),
        (shards | {"items": [shard, shard]}, "not in ascending order"),
        (changed(shards, ["dataset", "samples"], 8), "or there are fewer"),
    ]
    cases += [
        (
            weights
            | {
                "items": [
                    changed(
                        changed(item, ["commitment", "kind"], kind), ["commitment", "parts"], [{"name": "cells", "rows": 1, "budget": 1}]
                    )
                ]
            },
            "is never disclosed",
        )
        for kind in ("trace", "stage", "noise")
    ]
    for number, (data, match) in enumerate(cases):
        yield Case(f"statement {number}", lambda data=data: said(data), FormatError, match)
    one = shards | {"items": [shard]}
    for name in ("samples", "shard_size"):
        yield from ends(
            lambda v, name=name: said(changed(one, ["dataset", name], v)), f"dataset.{name}", 1, 2**32 - 1, f"dataset.{name} is"
        )
    text = json.dumps(weights).encode()
    yield Case("another form", lambda: Disclosure.parse(headed(len(text), text)), FormatError, "canonical")
    sheet = str(dataclasses.replace(by_seed, items=by_seed.items * 10))
    yield Case("in print", lambda: "and 10 more" in sheet and "seed of its randomness" in sheet, None, value=True)
    some = of_samples(by_seed, [[1, 2], [5, 9]], [0, 1])
    for name, numbers, inputs in (("samples", [[1, 2], [5, 9]], [0, 1]), ("all", [[0, 9]], [2**24 - 1]), ("the last", [[8, 9]], [0])):
        told = of_samples(by_seed, numbers, inputs)
        yield Case(name, lambda told=told: said(told).to_json(), None, value=told)
    yield Case("in print, too", lambda: "Of inputs 0, 1: samples 1, 5..8." in str(said(some)), None, value=True)


def amended_dataset(found: Disclosure, **changes) -> Disclosure:
    return dataclasses.replace(found, dataset=found.dataset._replace(**changes))


def of_samples(found: Disclosure, numbers, inputs) -> dict:
    """The statement of a disclosure of some samples, and of the shards that hold them, if they are samples."""
    told, size = found.to_json(), found.dataset.shard_size
    held = {n // size for first, end in numbers for n in range(first, end)}
    items = [x | {"seed": None} for x in told["items"] if x["commitment"]["number"] in held]
    return told | {"items": items, "arrays": "0" * 64, "dataset": told["dataset"] | {"numbers": numbers, "inputs": inputs}}


def _of_samples(found: Disclosure) -> list[tuple[dict, str]]:
    """Statements that are none, and why."""
    some = of_samples(found, [[1, 2], [5, 9]], [0, 1])
    apart, order = "ranges .first, end. of samples", "dataset.inputs are numbers in ascending order"

    def told(**changes):
        return some | {"dataset": some["dataset"] | changes}

    bad = [[]], [[1, 1]], [[2, 1]], [[1, 2], [2, 3]], [[1, 3], [2, 4]], [[5, 9], [1, 2]], [[1, 2, 5], [9]], [[1], [5]], [[1, 2, 5, 9]]
    seeds = [x | {"seed": "0" * 64} for x in some["items"]]
    return [
        *((told(numbers=numbers), apart) for numbers in ([], *bad)),
        *((told(inputs=inputs), order) for inputs in ([], [1, 0], [1, 1])),
        (told(numbers=5), "dataset.numbers is not a list"),
        (told(numbers=[5]), "dataset.numbers is not a list"),
        (told(inputs=5), "dataset.inputs is not a list"),
        *((told(numbers=[[a, b]]), "dataset.numbers is") for a, b in ((-1, 2), (8, 10), (1, True))),
        *((told(inputs=[k]), "dataset.inputs is") for k in (-1, 2**24, True)),
        *((told(numbers=numbers), "not the shards that hold") for numbers in ([[1, 2]], [[0, 4], [8, 9]], [[4, 9]], [[5, 8]])),
        (some | {"dataset": missing(some["dataset"], ["inputs"])}, "a dataset needs"),
        (some | {"dataset": missing(some["dataset"], ["numbers"])}, "a dataset needs"),
        (some | {"dataset": missing(missing(some["dataset"], ["numbers"]), ["inputs"])}, "shards are opened at a point where"),
        (some | {"items": [seeds[0], *some["items"][1:]]}, "shards are opened at a point where"),
        (some | {"items": seeds, "arrays": None}, "shards are opened at a point where"),
        (some | {"arrays": None}, "shards need their dataset"),
    ]


# ---- parts and frozen parameters --------------------------------------------------------------------------------
def fresh(commitment: Commitment, *parts: Part, **changes) -> Commitment:
    """Another commitment to the same, or to some parts of it."""
    return dataclasses.replace(commitment, **({"root": b"x" * 32, "parts": parts or commitment.parts} | changes))


@cache
def parted():
    """The circuit; the statement of a chain's first chunk, and what one could state of the next: both without links."""
    circuit, proof = frozen(PARTED)
    s = dataclasses.replace(proof.statement, links=())
    end = s.first_step + s.steps
    later = dataclasses.replace(
        s,
        first_step=end,
        steps=1,
        initial=s.final,
        final=fresh(s.final, number=end + 1),
        shifts=s.shifts_after,
        widths=(0,) * 5,
        given=False,
        initial_bound=s.final_bound,
        final_bound=circuit.bounds(s.final_bound, 1, end).final,
        losses=None,
    )
    return circuit, s, later


def frozen_files():
    """What a file says of frozen parameters."""
    s = frozen(PARTED)[1].statement
    data, own = s.to_json(), s.to_json()["frozen"]

    def parse(value, **changes):
        return Statement.parse(canonical(data | {"frozen": value} | changes))

    yield Case("itself", lambda: parse(own), None, value=s)
    yield Case("none", lambda: parse(None, links=[]).frozen, None, value=None)
    yield Case("others beside", lambda: parse(own | {"beside": own}).frozen, None, value=s.frozen._replace(beside=s.frozen))
    yield Case("a link from what is not there", lambda: parse(None), FormatError, "a link is from 'frozen'")
    fields = "frozen needs commitment and parameters"
    for name, value, match in (
        ("a list", list(own), fields),
        ("a commitment", own["commitment"], fields),
        ("one more field", own | {"more": 0}, fields),
        ("one beside others beside", own | {"beside": own | {"beside": own}}, fields),
        ("nothing beside", own | {"beside": None}, fields),
        ("others alone", {"beside": own}, fields),
        ("no parameters", missing(own, ("parameters",)), fields),
        ("no commitment", missing(own, ("commitment",)), fields),
        ("a truth value", False, fields),
        ("a root", own | {"commitment": own["commitment"]["root"]}, "commitment: expected the fields"),
        ("a number of parameters", own | {"parameters": 4}, "frozen.parameters is not a list"),
        ("names of parameters", own | {"parameters": ["f"]}, "frozen.parameters is 'f'"),
    ):
        yield Case(name, lambda value=value: parse(value), FormatError, match)
    yield from ends(lambda value: parse(own | {"parameters": [value]}), "frozen.parameters", 0, WHOLE, "frozen.parameters is ")


def frozen_parameters():
    """Which they are, and their shifts."""
    circuit, s, later = parted()

    def plan(which, **changes):
        return lambda: make_plan(circuit, dataclasses.replace(which, **changes))

    yield Case("of the circuit", lambda: circuit.frozen, None, value=(4,))
    listed = r"^statement: the frozen parameters of the circuit are \[{}\], not those"
    yield Case("none", plan(s, frozen=None), VerificationError, listed.format(4))
    for wrong in ((), (0,), (2, 4), (4, 4), (4, 5), (5,), (0, 1, 2, 3, 4)):
        yield Case(f"{wrong}", plan(s, frozen=s.frozen._replace(parameters=wrong)), VerificationError, listed.format(4))
    comparing, other = frozen(COMPARED)
    pair, match = other.statement.frozen, "^statement: frozen parameters stand beside"
    of_one = dataclasses.replace(other.statement, frozen=pair._replace(commitment=dataclasses.replace(pair.commitment, kind="frozen")))
    yield Case("two of trainings", lambda: check_frozen(comparing, other.statement), None)
    yield Case("weights beside frozen ones", lambda: check_frozen(comparing, of_one), VerificationError, match)
    plain, own = frozen()
    stated = dataclasses.replace(own.statement, frozen=s.frozen._replace(parameters=(0,)))
    yield Case("where there are none", lambda: make_plan(plain, stated), VerificationError, listed.format(""))
    empty = dataclasses.replace(stated, frozen=s.frozen._replace(parameters=()))
    yield Case("none where there are none", lambda: make_plan(plain, empty), VerificationError, listed.format(""))
    within = s.frozen._replace(parameters=(), beside=s.frozen)
    yield Case("beside others of no training", plan(s, frozen=within), VerificationError, "^statement: frozen parameters stand beside")
    evaluated, proof = frozen(EVALUATED)
    of_weights = proof.statement.frozen
    beside = "^statement: frozen parameters stand beside"
    for name, own, others, match in (
        ("of both kinds", (0,), (1,), None),
        ("of either", (1,), (0,), None),
        ("of one kind", (), (0, 1), None),
        ("nothing beside", (0, 1), (), beside),
        ("in another order", (1, 0), None, "^statement: the frozen parameters are not in ascending"),
        ("in another order beside", (), (1, 0), "^statement: the frozen parameters are not in ascending"),
        ("in both", (0, 1), (1,), listed.format("0, 1")),
        ("in none", (0,), (), listed.format("0, 1")),
        ("beyond", (0,), (2,), listed.format("0, 1")),
    ):
        both = of_weights._replace(parameters=own, beside=None if others is None else s.frozen._replace(parameters=others))
        said = dataclasses.replace(proof.statement, frozen=both)
        yield Case(
            name,
            lambda said=said: make_plan(evaluated, said).beside,
            None if match is None else VerificationError,
            match or "",
            value=others,
        )
    yield Case("what stays", lambda: s.shifts_after, None, value=(0, 0, 0, 0, s.shifts[4]))
    yield Case("and is not 0", lambda: s.shifts[4] > 0 and later.widths[4] == 0, None, value=True)
    yield Case("in a later chunk", lambda: plan(later)().shifts, None, value=s.shifts_after)
    for p in range(4):
        shifts = tuple(x + (i == p) for i, x in enumerate(later.shifts))
        match = "^statement: only weights that are range-checked here, or frozen, may be shifted"
        yield Case(f"a shift of {p} in a later chunk", plan(later, shifts=shifts), VerificationError, match)
    further = (*s.shifts[:4], s.shifts[4] + 1)
    yield Case("a range that is shifted further", plan(s, shifts=further), VerificationError, "^bounds: the initial bound is smaller")
    yield Case("a beginning without its range", plan(s, widths=(*s.widths[:4], 0)), VerificationError, "^statement: where a chain begins")


def parts_of_commitments():
    circuit, s, later = parted()
    geometry, two, kept = s.geometry, s.final.parts, s.frozen.commitment
    most = geometry.max_budget

    def check(which, **changes):
        return lambda: check_commitments(make_plan(circuit, which), dataclasses.replace(which, **changes))

    def initial(which, **changes):
        return check(which, initial=amended(which.initial, **changes))

    def final(**changes):
        return check(s, final=amended(s.final, **changes))

    def held(**changes):
        return check(s, frozen=s.frozen._replace(commitment=amended(kept, **changes)))

    def replaced(which, source, to):
        return check(which, links=(Link(source, to),))

    def alone(*pairs, **changes):
        old, new = zip(*pairs)
        return lambda: check_alone(LinkStatement(geometry, old, new, **changes))

    yield Case(
        "the opened parts", lambda: [x.names for x in s.opened()[:3]], None, value=[("parameters",), ("parameters", "other"), ("cells",)]
    )
    yield Case("the order", lambda: list(s.named()), None, value=["initial", "final", "frozen", "shard 0"])
    again = fresh(later.initial)
    weights, held_again = (s.final, fresh(s.final)), (kept, fresh(kept))
    for name, call in (
        ("the first chunk's", check(s)),
        ("a later chunk's", check(later)),
        ("one part where the circuit gives the other", check(s, initial=fresh(s.initial, two[0]))),
        ("a closed part of any height", initial(s, part=1, rows=2**32 - 1)),
        ("a closed part that is opened once", initial(s, part=1, budget=1)),
        ("a closed part that is opened often", initial(s, part=1, budget=most)),
        ("a link to one part of two", replaced(later, "initial", fresh(later.initial, two[0]))),
        ("a link to the other part", replaced(later, "initial", fresh(later.initial, two[1]))),
        ("a link to both", replaced(later, "initial", fresh(later.initial))),
        ("a link to the opened part", replaced(s, "initial", fresh(s.initial, two[0]))),
        ("a link from frozen ones", replaced(s, "frozen", fresh(kept))),
        ("a link to another budget", replaced(later, "initial", amended(again, part=1, budget=1))),
        ("alone: weights and frozen ones", alone(weights, held_again)),
        ("alone: one part", alone((s.final, fresh(s.final, two[1])))),
        ("alone: beside any height", alone((amended(s.final, rows=2**32 - 1), fresh(s.final, two[1])))),
    ):  # fmt: skip
        yield Case(name, call, None)
    named_alike = {"kind": "frozen", "number": 3, "masked": True, "rows": 7, "budget": 2, "name": "cells"}
    for which in ({}, *({name: value} for name, value in named_alike.items()), {"part": 1, "rows": 2}, {"part": 1, "name": "x"}):
        one = amended(s.final, **which)
        yield Case(f"the digest with {which}", partial(one.digest, geometry), None, value=named(one, geometry))
        yield Case(f"the part's with {which}", partial(one.part_digest, geometry, "other"), None, value=part_named(one, "other", geometry))
    unpaired = partial(LinkStatement, geometry, (s.final,), ())
    yield Case("alone: more from than to", unpaired, FormatError, "^statement: 0 commitments replace 1")
    some = LinkStatement(geometry, (s.final,), (fresh(s.final, two[1]),))
    yield Case("alone: what is opened", lambda: [x.names for x in some.opened()], None, value=[("other",)] * 2)

    start, end, frozen_ones, outside = (
        "^commitment to weights 0: ",
        "^commitment to weights 5: ",
        "^commitment to frozen 0: ",
        ".*outside 1..4",
    )
    twofold, not_opened = fresh(kept, *kept.parts, two[1]), "it leads to {}, which is not opened there"
    other_kinds = {"weights", "frozen", "shard", "trace", "stage", "noise"}
    for name, call, match in (
        ("the other part alone", check(s, initial=fresh(s.initial, two[1])), start + "it holds other, expected parameters$"),
        ("a part less", check(later, initial=fresh(s.final, two[0])), end + "it holds parameters, expected parameters, other"),
        ("a part less at the end", check(s, final=fresh(s.final, two[0])), end + "it holds parameters, expected parameters, other"),
        ("the other part at the end", check(s, final=fresh(s.final, two[1])), end + "it holds other, expected parameters, other"),
        ("parts exchanged", check(s, final=fresh(s.final, *two[::-1])), end + "it holds other, parameters, expected parameters, other"),
        ("a part's name", final(name="cells"), end + "it holds cells, other, expected"),
        ("the other part's name", final(part=1, name="parameters"), end + "it holds parameters, parameters, expected"),
        ("a part twice", check(s, final=fresh(s.final, *two, two[1])), end + "it holds parameters, other, other, expected"),
        ("a closed part twice", check(s, initial=fresh(s.initial, *two, two[1])), start + "its parts are parameters, other, other, not"),
        ("a closed part in front", check(s, initial=fresh(s.initial, *two[::-1])), start + "its parts are other, parameters, not some of"),
        ("a closed part of no name", check(s, initial=amended(s.initial, part=1, name="x")), start + "its parts are parameters, x, not"),
        ("a link to no part", replaced(s, "frozen", dataclasses.replace(again, parts=())), "^link from frozen: it leads to weights"),
        ("a link to none", replaced(later, "initial", dataclasses.replace(again, parts=())), "^link from initial: its parts are none"),
        ("a link from nowhere", replaced(s, "shard 9", fresh(kept)), "^link from shard 9: the statement has no such commitment"),
        ("alone: no part", alone(tuple(dataclasses.replace(c, parts=()) for c in weights)), "^commitment 0: its parts are none"),
        ("more rows", final(rows=2), end + "2 rows, expected 1"),
        ("more rows of the other part", final(part=1, rows=2), end + "2 rows, expected 1"),
        ("budget 0 of the other part", final(part=1, budget=0), end + outside),
        ("budget 5 of the other part", final(part=1, budget=most + 1), end + outside),
        ("budget 0 of a closed part", initial(s, part=1, budget=0), start + outside),
        ("budget 5 of a closed part", initial(s, part=1, budget=most + 1), start + outside),
        ("frozen of a later step", held(number=1), frozen_ones + "it is of frozen 1"),
        ("frozen with masks", held(masked=True), frozen_ones),
        ("frozen with more rows", held(rows=2), frozen_ones + "2 rows, expected 1"),
        ("frozen with parameters", held(name="parameters"), frozen_ones + "it holds parameters, expected cells"),
        ("frozen of two", check(s, frozen=s.frozen._replace(commitment=twofold)), frozen_ones + "it holds cells, other"),
        ("frozen of budget 0", held(budget=0), frozen_ones + outside),
        ("frozen of budget 5", held(budget=most + 1), frozen_ones + outside),
        *((f"initial of kind {kind}", initial(s, kind=kind), start + f"it is of {kind} 0") for kind in other_kinds - {"weights"}),
        *((f"final of kind {kind}", final(kind=kind), end + f"it is of {kind} 5") for kind in other_kinds - {"weights"}),
        *((f"frozen of kind {kind}", held(kind=kind), frozen_ones + f"it is of {kind} 0") for kind in other_kinds - {"frozen"}),
        *(
            (f"a shard of kind {kind}", check(s, shards=(amended(s.shards[0], kind=kind),)), f"^commitment to shard 0: it is of {kind} 0")
            for kind in other_kinds - {"shard"}
        ),
        ("a link to a closed part", replaced(s, "initial", fresh(s.initial)), "^link from initial: " + not_opened.format("other")),
        ("to it alone", replaced(s, "initial", fresh(s.initial, two[1])), "^link from initial: " + not_opened.format("other")),
        ("to no part of it", replaced(s, "frozen", fresh(kept, two[0])), "^link from frozen: " + not_opened.format("parameters")),
        ("a link to more rows", replaced(later, "initial", amended(again, part=1, rows=2)), "^link from initial: 2 rows"),
        ("a link to budget 5", replaced(later, "initial", amended(again, part=1, budget=5)), "^link from initial: " + outside),
        ("a link to budget 0", replaced(later, "initial", amended(again, budget=0)), "^link from initial: " + outside),
        ("to the same root", replaced(later, "initial", fresh(s.final, two[0], root=s.final.root)), "^link from initial: .*the same"),
        ("a link to frozen 1", replaced(s, "frozen", fresh(kept, number=1)), "^link from frozen: it leads to frozen 1"),
        ("a link to a shard", replaced(s, "frozen", fresh(kept, kind="shard")), "^link from frozen: it leads to shard 0"),
        ("alone: frozen ones before weights", alone(held_again, weights), "^links: they replace weights, then frozen ones"),
        *(
            (f"alone: {kind}", alone(tuple(amended(c, kind=kind) for c in held_again)), "^links: they replace weights, then frozen ones")
            for kind in ("stage", "noise", "trace")
        ),
        ("alone: budget 5 of a closed part", alone((amended(s.final, budget=5), fresh(s.final, two[1]))), "^commitment 0: .*outside 1..4"),
        ("alone: budget 0 of a closed part", alone((amended(s.final, budget=0), fresh(s.final, two[1]))), "^commitment 0: .*outside 1..4"),
        ("alone: budget 5 of a fresh part", alone((s.final, amended(fresh(s.final), part=1, budget=5))), "^link from 0: .*outside 1..4"),
        ("alone: more rows", alone((s.final, amended(fresh(s.final), part=1, rows=2))), "^link from 0: 2 rows, expected 1"),
        ("alone: to no part", alone((fresh(s.final, two[0]), weights[1])), "^link from 0: " + not_opened.format("other")),
        ("alone: frozen ones to weights", alone((kept, fresh(kept, two[0], kind="weights"))), "^link from 0: it leads to weights 0"),
        ("alone: with a dataset", alone(held_again, dataset=linked()[1].statement.dataset), "^dataset: it is named where shards"),
    ):  # fmt: skip
        yield Case(name, call, VerificationError, match)


def parts_in_chains():
    """What joins chunks, what is pinned, and what links make one."""
    circuit, s, later = parted()
    two, kept, geometry = s.final.parts, s.frozen, s.geometry

    def chain(*links, first=s, **changes):
        """The two chunks, with links of these commitments to those, each in a proof of its own."""
        classes = joined([first, later, *(LinkStatement(geometry, (old,), (new,)) for old, new in links)])
        return lambda: verifier.check_chain(circuit, [first, dataclasses.replace(later, **changes)], False, classes)

    elsewhere = fresh(s.final)
    parts_of = [fresh(s.final, part, root=bytes([i]) * 32) for i, part in enumerate(two)]
    both = [(s.final, elsewhere)]
    apart = [(s.final, one) for one in parts_of] + [(elsewhere, one) for one in parts_of]
    again = fresh(kept.commitment)
    moved = kept._replace(commitment=again)
    two_of_them, one_moved = kept._replace(beside=kept), kept._replace(beside=moved)
    with_two = dataclasses.replace(s, frozen=two_of_them)
    for name, call in (
        ("as it is", chain()),
        ("a link of both parts", chain(*both, initial=elsewhere)),
        ("links of each part", chain(*apart, initial=elsewhere)),
        ("frozen ones that were replaced", chain((kept.commitment, again), frozen=moved)),
        ("frozen ones beside others", chain(first=with_two, frozen=two_of_them)),
        ("those beside others replaced", chain((kept.commitment, again), first=with_two, frozen=one_moved)),
    ):
        yield Case(name, call, None)
    shifted = (*s.shifts[:4], s.shifts[4] + 1)
    for name, call in (
        ("another commitment", chain(initial=elsewhere)),
        ("a link of parameters alone", chain((s.final, parts_of[0]), (elsewhere, parts_of[0]), initial=elsewhere)),
        ("a link of the other part alone", chain((s.final, parts_of[1]), (elsewhere, parts_of[1]), initial=elsewhere)),
        ("a part less", chain((s.final, parts_of[0]), initial=parts_of[0])),
        ("a part more", chain((elsewhere, parts_of[0]), first=dataclasses.replace(s, final=parts_of[0]), initial=elsewhere)),
        ("parts exchanged", chain(*both, initial=fresh(s.final, *two[::-1]))),
        ("a part renamed", chain(initial=amended(s.final, part=1, name="cells"))),
        ("another budget", chain(initial=amended(s.final, part=1, budget=1))),
        ("other frozen ones", chain(frozen=moved)),
        ("no frozen ones", chain(frozen=None)),
        ("other frozen ones beside others", chain(first=with_two, frozen=one_moved)),
        ("no frozen ones beside others", chain(first=with_two)),
        ("frozen ones of another number", chain(frozen=kept._replace(commitment=amended(kept.commitment, number=1)))),
        ("frozen ones that are shifted further", chain(shifts=shifted)),
        ("frozen ones without their shift", chain(shifts=(0,) * 5)),
        ("another parameter's shift", chain(shifts=(1, *s.shifts_after[1:]))),
        ("given again", chain(given=True)),
    ):
        yield Case(name, call, VerificationError, "^chain: proof 1 does not start from the weights that the one before ends with")
    less = (*later.initial_bound[:4], later.initial_bound[4] - 1)
    yield Case("a smaller bound of frozen ones", chain(initial_bound=less), VerificationError, "^chain: proof 1 assumes a smaller bound")

    def pin(which=s, links=(), max_work=None, **pins):
        statements = [which, *(LinkStatement(geometry, (old,), (new,)) for old, new in links)]
        names = "dataset", "initial", "final", "seed", "steps"
        return lambda: verifier.check_pins([which], joined(statements), *(pins.get(name) for name in names), Meter(max_work))

    fixed, first, last = part_named(kept.commitment, "cells", geometry), s.initial, s.final
    fixed_again = part_named(again, "cells", geometry)

    def name_of(kind, commitment, fixed=fixed, shifts=()):
        digest = named(commitment, geometry) if kind == "state" else part_named(commitment, "parameters", geometry)
        return behind(kind, digest, fixed, shifts)

    yield Case("the first parameters", lambda: s.initial_weights, None, value=name_of("weights", first, shifts=s.shifts))
    yield Case("the last parameters", lambda: s.final_weights, None, value=name_of("weights", last, shifts=s.shifts_after))
    yield Case("the last state", lambda: s.final_state, None, value=name_of("state", last, shifts=s.shifts_after))
    yield Case("no first state", lambda: s.initial_state, None, value=None)
    yield Case("the next one's state", lambda: later.initial_state, None, value=s.final_state)
    yield Case("the next one's parameters", lambda: later.initial_weights, None, value=s.final_weights)
    replaced, one = [(last, elsewhere), (kept.commitment, again)], [(last, parts_of[0])]
    for name, call in (
        ("the first parameters", pin(initial=s.initial_weights)),
        ("the last parameters", pin(final=s.final_weights)),
        ("the last state", pin(final=s.final_state)),
        ("a later chunk's first state", pin(later, initial=later.initial_state)),
        ("a later chunk's first parameters", pin(later, initial=later.initial_weights)),
        ("parameters that were replaced", pin(links=replaced, final=name_of("weights", elsewhere, fixed_again, s.shifts_after))),
        ("a state that was replaced", pin(links=replaced, final=name_of("state", elsewhere, fixed, s.shifts_after))),
        ("one whose frozen part was replaced", pin(links=replaced, final=name_of("state", last, fixed_again, s.shifts_after))),
        ("parameters of which one part was replaced", pin(links=one, final=name_of("weights", parts_of[0], shifts=s.shifts_after))),
    ):
        yield Case(f"pinned: {name}", call, None)
    for role, name, call in (
        ("initial", "a state that the circuit gives in part", pin(initial=name_of("state", first, shifts=s.shifts))),
        ("initial", "parameters with the last shifts", pin(initial=name_of("weights", first, shifts=shifted))),
        ("initial", "parameters without the frozen ones", pin(initial=name_of("weights", first, b"", s.shifts))),
        ("initial", "parameters with other frozen ones", pin(initial=name_of("weights", first, fixed_again, s.shifts))),
        ("initial", "the digest of the part", pin(initial=part_named(first, "parameters", geometry))),
        ("initial", "the digest of the commitment", pin(later, initial=named(later.initial, geometry))),
        ("initial", "the other part", pin(later, initial=behind("weights", part_named(last, "other", geometry), fixed, s.shifts_after))),
        ("initial", "the frozen part", pin(initial=behind("weights", fixed, fixed, s.shifts))),
        ("final", "a state of which one part was replaced", pin(links=one, final=name_of("state", parts_of[0], shifts=s.shifts_after))),
        ("final", "a state without the frozen ones", pin(final=name_of("state", last, b"", s.shifts_after))),
        ("final", "parameters without shifts", pin(final=name_of("weights", last))),
        ("final", "a state without shifts", pin(final=name_of("state", last))),
        ("final", "a part as the state", pin(final=behind("state", part_named(last, "parameters", geometry), fixed, s.shifts_after))),
        ("final", "a state as the parameters", pin(final=behind("weights", named(last, geometry), fixed, s.shifts_after))),
        ("final", "the first parameters", pin(final=s.initial_weights)),
    ):
        yield Case(f"pinned: {name}", call, VerificationError, f"^pinned {role} weights")
    many = [(last, fresh(last, root=bytes([i]) * 32)) for i in range(3)]
    many += [(kept.commitment, fresh(kept.commitment, root=bytes([i]) * 32)) for i in range(4)]
    for role, pairs in (("initial", (1 + 1) * 5), ("final", (4 + 4) * 5)):
        work = pairs * (128 + 5)
        call = pin(links=many, max_work=work, **{role: bytes(32)})
        yield Case(f"pinned: {pairs} digests that {role} weights may have", call, VerificationError, f"^pinned {role} weights")
        call = pin(links=many, max_work=work - 1, **{role: bytes(32)})
        yield Case(f"pinned: too many that {role} weights may have", call, VerificationError, "^work: .*for pinned weights")
    for name, which, assume, match in (
        ("in the middle", later, False, "^initial bound"),
        ("in the middle, with ranges", dataclasses.replace(later, widths=(9,) * 5), False, "^initial state"),
        ("assumed", later, True, None),
    ):
        error = None if match is None else VerificationError
        yield Case(f"it begins {name}", partial(verifier.check_chain, circuit, [which], assume), error, match or "")

    # ---- classes
    ends_of = {"its": last, "another": elsewhere}
    digests = {
        "the state": named(last, geometry), "another state": named(elsewhere, geometry),
        **{f"{which} {part.name}": part_named(c, part.name, geometry) for which, c in ends_of.items() for part in two},
        "parameters": part_named(parts_of[0], "parameters", geometry), "other": part_named(parts_of[1], "other", geometry),
        "parameters as a state": named(parts_of[0], geometry),
    }  # fmt: skip
    for name, links, classes in (
        ("of all parts", both, (("the state", "another state"), ("its parameters", "another parameters"), ("its other", "another other"))),
        ("of parameters", one, (("its parameters", "parameters"),)),
        ("of the other part", [(last, parts_of[1])], (("its other", "other"),)),
        ("of each part", [(last, parts_of[0]), (last, parts_of[1])], (("its parameters", "parameters"), ("its other", "other"))),
    ):
        found = joined([LinkStatement(geometry, (old,), (new,)) for old, new in links])
        for a, b in itertools.combinations(digests, 2):
            same = partial(found.same, digests[a], digests[b])
            yield Case(f"links {name}: {a}, {b}", same, None, value=any({a, b} <= {*group} for group in classes))


def columns():
    """Opened columns of a tree of two parts, of one of which nothing but digests is shown."""
    rng = np.random.default_rng(0)
    geometry, indices = Geometry(5, 2, 1, level_bits=2), [0, 3, 4, 100]
    matrices = [rng.integers(0, P, (count, geometry.row), dtype=np.uint64) for count in (3, 2)]
    options = {"kind": "weights", "number": 7, "geometry": geometry, "seed": bytes(32)}
    whole, single = commit(matrices, budget=[1, 1], **options), commit(matrices[0], budget=1, **options)
    tags = [part_tag("weights", 7, name) for name in ("parameters", "other")]
    heights = [3, 2]

    def sent(committed):
        stream = Writer(Transcript(b"", b""))
        open_columns(stream, shown(committed), geometry.log_code, indices, committed.tree.root, salted=True, opener=committed)
        return bytes(stream)

    def shown(committed):
        return [(tag, x.entries if x in committed.members else None) for tag, x in zip(tags, committed.parts)]

    def read(tagged, root, body):
        stream = Reader(Transcript(b"", b""), body)
        found = open_columns(stream, tagged, geometry.log_code, indices, root, salted=True)
        stream.finish()
        return [x.shape for x in found]

    closed, opened, root = [(tags[0], 3), (tags[1], None)], [(tag, count) for tag, count in zip(tags, heights)], whole.tree.root
    first, second, both, alone = (sent(x) for x in (whole.only("parameters"), whole.only("other"), whole, single))
    count = len(indices)
    salts, own, digests = 16 * count, 8 * 3 * count, 32 * count
    yield Case("both parts", lambda: read(opened, root, both), None, value=[(3, count), (2, count)])
    yield Case("the first", lambda: read(closed, root, first), None, value=[(3, count)])
    yield Case("the second", lambda: read([(tags[0], None), (tags[1], 2)], root, second), None, value=[(2, count)])
    yield Case("of a tree of one part", lambda: read(closed[:1], single.tree.root, alone), None, value=[(3, count)])
    yield Case("lengths", lambda: len(first) - salts - own - digests, None, value=siblings_bytes(indices, geometry.log_code))
    other_leaves = first[salts + own :][:digests]
    expected = b"".join(leaf(tags[1], i, whole.parts[1].salts([i]), whole.parts[1].columns([i])[:, 0]) for i in indices)
    yield Case("what is shown of a closed part", lambda: other_leaves, None, value=expected)
    hidden = matrices[1].astype("<u8").tobytes() + whole.parts[1].salts(list(range(geometry.code)))
    windows = {hidden[i : i + 8] for i in range(0, len(hidden), 8)}
    yield Case("nothing else of it", lambda: any(first[i : i + 8] in windows for i in range(len(first) - 7)), None, value=False)
    path = first[: salts + own], first[salts + own + digests :]
    flipped = bytes([other_leaves[0] ^ 1]) + other_leaves[1:]
    for name, tagged, where, body in (
        ("another digest of a closed part", closed, root, path[0] + flipped + path[1]),
        ("digests exchanged", closed, root, path[0] + other_leaves[32:64] + other_leaves[:32] + other_leaves[64:] + path[1]),
        ("the order of parts", opened[::-1], root, both),
        ("columns of one part as the other's", [(tags[0], 2), (tags[1], None)], root, second),
        ("a closed part in the first place", [(tags[0], None), (tags[1], 3)], root, first),
        ("tags exchanged", [(tags[1], 3), (tags[0], 2)], root, both),
        ("another kind's tag", [(part_tag("stage", 7, "parameters"), 3), closed[1]], root, first),
        ("another number's tag", [(part_tag("weights", 8, "parameters"), 3), closed[1]], root, first),
        ("the tree of one part as the first of two", closed, single.tree.root, first),
        ("the first of two parts as a tree of one", closed[:1], root, alone),
    ):
        yield Case(name, partial(read, tagged, where, body), VerificationError, "^Merkle path")
    for name, body in (
        ("no digests of a closed part", path[0] + path[1]),
        ("one less", path[0] + other_leaves[32:] + path[1]),
        ("one more", path[0] + other_leaves + bytes(32) + path[1]),
    ):
        yield Case(
            name, partial(read, closed, root, body), (VerificationError if name == "one more" else FormatError), "Merkle path|ends inside"
        )
    pair_of = [bytes([i]) * 32 for i in range(2)]
    yield Case("a pair is ordered", lambda: pair(*pair_of) == pair(*pair_of[::-1]), None, value=False)
    yield Case("a pair is no inner node", lambda: pair(*pair_of) == inner_node(*pair_of), None, value=False)
    together = np.stack([np.frombuffer(x, dtype="<u4") for x in pair_of], axis=1)
    yield Case("nor a tree of two leaves", lambda: pair(*pair_of) == Tree(together).root, None, value=False)
    all_tags = {part_tag(k, n, part) for k, names in PARTS.items() for n in range(12) for part in names}
    yield Case("a tag for each part", lambda: len(all_tags), None, value=12 * sum(map(len, PARTS.values())))
    seeds = {tree_seed(bytes(32), geometry, "weights", 7, Part(*x)) for x in itertools.product(PARTS["weights"], (1, 2), (1, 2))}
    yield Case("a seed for each part", lambda: len(seeds), None, value=8)


# ---- the body ---------------------------------------------------------------------------------------------------
def bodies():
    circuit, proof = frozen()
    log = messages(circuit, proof)
    labels = {m.label: m for m in log}
    s, plan = proof.statement, make_plan(circuit, proof.statement)
    rows = sum(part.rows for part in members(s.opened())) + verifier.row_count(Layout(plan.advice), s.geometry.row)
    least = 8 * rows * max(1, s.geometry.queries // 4)

    def verify(body):
        return lambda: verifier.verify_one(circuit, Proof(proof.statement, body), BITS)

    yield Case("a body too short for its statement", verify(proof.body[: least - 1]), FormatError, "needs more than")
    yield Case("the shortest body that is read", verify(proof.body[:least]), FormatError, "proof ends inside")
    yield Case("one byte more", verify(proof.body + b"\0"), FormatError, "1 bytes after")
    yield Case("one byte less", verify(proof.body[:-1]), FormatError, "proof ends inside")
    for m in labels.values():
        if not m.is_digests:
            value = words(m.cut(proof.body))[0]
            for wrong in {P, 2**64 - 1} | ({value + P} if value + P < 2**64 else set()):
                body = proof.body[: m.offset] + wrong.to_bytes(8, "little") + proof.body[m.offset + 8 :]
                yield Case(f"{m.label}: {wrong}", verify(body), FormatError, "not below p")
    replay = Frozen(circuit, proof)
    expected = {label: "opening" for label in labels} | dict.fromkeys(
        ("salts", "columns", "siblings", "level root", "trace root"), "Merkle path"
    )
    expected["folded pads"] = "mask"
    for m in labels.values():
        where = m.offset + m.size // 2 // 8 * 8
        if m.is_digests:
            body = proof.body[:where] + bytes([proof.body[where] ^ 1]) + proof.body[where + 1 :]
        else:
            value = (int.from_bytes(proof.body[where : where + 8], "little") + 1) % P
            body = proof.body[:where] + value.to_bytes(8, "little") + proof.body[where + 8 :]
        call = lambda body=body: replay.outcome(circuit, bytes(Proof(proof.statement, body)))  # noqa: E731
        yield Case(f"replayed: {m.label} at {m.offset}", call, None, value=(VerificationError, expected[m.label]))

    def reader(body):
        return Reader(Transcript(b"", b""), body)

    yield Case("nothing to read", lambda: len(reader(b"").base("x", 0)), None, value=0)
    yield Case("the largest element", lambda: int(reader((P - 1).to_bytes(8, "little")).base("x", 1)[0]), None, value=P - 1)


# ---- the argument and the opening -------------------------------------------------------------------------------
class Fixed(Hidden):
    """Draws one challenge, always."""

    def __init__(self, value):
        super().__init__()
        self.value = Ext(value)

    def challenge(self, label):
        return self.value


def challenges():
    def triples(z):
        hidden = Fixed(z)
        hidden.receive_product("x")
        return hidden.finish()[2]

    yield Case("a triple point", lambda: triples(3) == ZERO, None)
    for log_order in (0, 1, 2):
        call = lambda log_order=log_order: triples(root_of_unity(log_order))  # noqa: E731
        yield Case(f"a root of order 2^{log_order}", call, VerificationError, "^triple point")
    yield Case("a root of another order", lambda: triples(root_of_unity(3)) == ZERO, None)
    yield Case("a lookup challenge of 0", lambda: fractional_sum(Fixed(0), 2, 0), VerificationError, "^lookup")
    yield Case("another lookup challenge", lambda: len(fractional_sum(Fixed(5), 2, 0)[0]), None, value=2)


def openings():
    geometry = frozen()[1].statement.geometry
    q, k = geometry.queries, geometry.row

    def named(rows=1, budget=1, masked=False):
        return Commitment.of("trace" if masked else "weights", 0, rows, budget, bytes(32), masked).opened()

    def check(*given, geometry=geometry):
        return lambda: opening.check_opening(geometry, list(given))

    crowded = next(g for bits in range(1, 99) if (g := dataclasses.replace(geometry, level_bits=bits)).max_budget * g.queries > k // 8)
    yield Case("one with masks", lambda: check(named(budget=4), named(masked=True))()[1:], None, value=(1, 4 * q))
    for name, call, match in (
        ("none with masks", check(named()), "exactly one"),
        ("two with masks", check(named(masked=True), named(masked=True)), "exactly one"),
        ("masks for two openings", check(named(budget=2, masked=True)), "exactly one"),
        ("budget 0", check(named(budget=0), named(masked=True)), "outside 1 .. 4"),
        (
            "too many random coefficients",
            check(named(masked=True), geometry=crowded),
            "above an eighth",
        ),
    ):
        yield Case(name, call, ConfigurationError, match)
    for log_rows in (k // 2, k // 2 + 1):  # 2 log_rows + q pads and random coefficients, in a mask row of k + q
        call = check(named(rows=2**log_rows, masked=True))
        fits = 2 * log_rows + q <= k + q
        yield Case(f"2^{log_rows} rows", call, None if fits else ConfigurationError, "" if fits else "too short for the pads")
    refused = lambda: opening.verify_claim(None, geometry, [named()], None, ZERO)  # noqa: E731
    yield Case("as a verifier meets it", refused, VerificationError, "^commitments")
    yield Case("the stack", lambda: stack([1, 5, 2]), None, value=([10, 0, 8], 4))
    leaves = [bytes([i]) * 32 for i in range(2)]
    missing = siblings_bytes([0, 3], 2)
    for size in (missing - 32, missing + 32, missing - 1):
        yield Case(f"{size} bytes of siblings", lambda size=size: root_of(leaves, [0, 3], bytes(size), 2), FormatError, "multiproof")
    circuit, proof = frozen()

    def stray():
        honest = verifier.opening_terms
        with mock.patch("zkjax.verifier.opening_terms", lambda *a: honest(*a) | {("nowhere", 0): []}):
            return verifier.verify_one(circuit, proof, BITS)

    yield Case("a claim on nothing", stray, VerificationError, "^opening: .*not committed")
    assert Layout({"x": (1,)}).size == 1


def ledgers():
    def of_links(*rows):
        hidden = Hidden(vectors=Vectors(lengths_only=True), links=Links(tuple(Pair(0, 1, n) for n in rows), 10))
        hidden.account_finish()
        return hidden.errors.get("links", 0)

    for rows, numerator in (((), 0), ((1,), 10), ((2, 1), 11), ((3, 4), 12), ((5,), 13)):
        yield Case(f"links of {rows} rows", partial(of_links, *rows), None, value=numerator)
    ledger = soundness.Security((("first", 10.0), ("second", 10.0)))
    yield Case("two equal terms", lambda: ledger.bits, None, value=9.0)
    yield Case("enough", lambda: ledger.require(9.0), None, value=ledger)
    yield Case("too little", lambda: ledger.require(9.01), ConfigurationError, "below the target")
    yield Case("no number", lambda: ledger.require(float("nan")), ConfigurationError, "below the target")
    half = soundness.security({"first": 2, "nothing": 0}, frozen()[1].statement.geometry, 3).terms[0]
    yield Case("a numerator of two", lambda: half, None, value=("first", soundness.LOG_FIELD - 1))
    for claims in (1, 2, 4):
        counter = Hidden()
        counter.account("x", claims - 2)
        yield Case(f"account {claims - 2}", lambda counter=counter: counter.errors["x"], None, value=max(0, claims - 2))


LIMITS = {  # as PROTOCOL.md has them
    "ops.leaves.MAX_CONSTANT": 4096,
    "algebra.functions.MAX_INSTRUCTIONS": 256,
    "ops.functions.MAX_WIDTH": 20,
    "ops.functions.MAX_SIZE": 1024,
    "ops.root.MAX_ROOT": 30,
    "ops.operation.MAX_RANK": 8,
    "ops.forms.BLOCK": 4096,
    "ops.forms.COUNT": 320,
    "ops.draw.MAX_ENTRIES": 2**31,
    "ops.draw.MAX_AXIS": 2**21,
    "ops.draw.MAX_PATH": 8,
    "ops.draw.MAX_OF_TWO": 2**16,
    "circuit.file.MAX_SIZE": 2**40,
    "circuit.file.MAX_AXIS": 2**22,
    "circuit.wellformed.MAX_AXES": 2**24,
    "circuit.levels.MAX_DEPTH": 32,
    "circuit.wellformed.MAX_PARAMETERS": 2**13,
    "circuit.wellformed.MAX_FEEDS": 8,
    "circuit.recurrence.CACHED": 16,
    "circuit.recurrence.MAX_GROUP": 8,
    "circuit.recurrence.FRACTION": 64,
    "circuit.file.MAX_PERIOD": 64,
    "circuit.file.MAX_COEFFICIENT": 2**96,
    "circuit.circuit.MAX_JOINT_AXIS": 2**20,
    "ops.operation.LIMIT": 2**63,
    "circuit.bounds.BEYOND": 2**128,
    "protocol.claims.MAX_WORK": 2**26,
    "protocol.claims.TERM_WORK": 1024,
    "algebra.layout.FEW_AXES": 3,
    "algebra.layout.FEW_BOXES": 2,
    "ops.moves.MAX_APART": 3,
    "algebra.layout.MAX_BLOCKS": 2**13,
    "commitment.geometry._MAX_DEEP_RATE": 6,
    "proofs.proof.MAX_STATEMENT": 2**21,
    "protocol.schedule.MAX_SHARD": 2**20,
    "proofs.statement.LIMIT": 2**63,
    "proofs.statement.MAX_STEPS": 2**16,
    "proofs.checks.MAX_SAMPLES": 2**22,
    "circuit.file.MAX_FILE": 2**27,
    "proofs.proof.MAX_FILE": 2**28,
    "proofs.disclosure.MAX_STATEMENT": 2**26,
    "proofs.disclosure.MAX_FILE": 2**28,
    "proofs.model.LIMIT": 2**34,
    "proofs.model.LONGEST": 2**26,
    "work.MAX_WORK": 4 * 10**9,
    "work.MAX_MEMORY": 2**32,
    "comparison.MAX_FILE": 2**24,
    "comparison.LARGEST": 2**62,
    "comparison.SHIFT": 62,
}


# ---- evaluations ------------------------------------------------------------------------------------------------
EVALUATED = f"format-{VERSION}-evaluated"


@cache
def of_training() -> tuple[Circuit, Statement]:
    """What is published of the training whose weights the frozen evaluation reads."""
    told = json.loads((VECTORS / f"{EVALUATED}.training.json").read_text("utf-8"))
    return Circuit.from_json(told["circuit"]), Statement.parse(canonical(told["statement"]))


def _weighed_beside(circuit, statement):
    """What is checked of the weights of a training that freezes some: made up, as no proof of it is needed."""
    trained, proof = frozen(MOVING)
    last, numbers = proof.statement, (0, 2, 4)
    parameters = tuple(parts.Parameter(x.path, x.shape, unit=x.unit) for x in (trained.parameters[p] for p in numbers))
    read = dataclasses.replace(circuit, parameters=parameters)
    honest = dataclasses.replace(
        statement,
        geometry=last.geometry,
        frozen=last.frozen._replace(commitment=last.final, parameters=(0, 1), beside=last.frozen._replace(parameters=(2,))),
        shifts=tuple(last.shifts_after[p] for p in numbers),
        initial_bound=tuple(last.final_bound[p] for p in numbers),
    )

    def weighed(weights=None, training=(trained, [last]), **changes):
        said = dataclasses.replace(honest, **changes)
        known = joined([said, *([] if training is None else training[1])])
        return evaluation.check_weights(read, said, training, weights, known, True)

    yield Case("frozen ones beside", lambda: weighed(weights=last.final_weights), None)
    yield Case("of which no training is given", lambda: weighed(weights=honest.read[0], training=None), None)
    yield Case("their names", lambda: weighed(weights=bytes(32)), VerificationError, "^pinned weights: ")
    shift, bound, own = honest.shifts, honest.initial_bound, honest.frozen
    other = own.beside._replace(commitment=dataclasses.replace(own.beside.commitment, root=bytes(32)))
    described = "^training: its parameters, and those that it freezes, have not"
    for name, changes, match in (
        ("another power of two", {"shifts": (0, 0, shift[2] + 1)}, "^bounds: frozen weights are multiplied by other powers"),
        ("one of what is trained", {"shifts": (0, 1, shift[2])}, "^bounds: the weights are multiplied"),
        ("a smaller bound of them", {"initial_bound": (*bound[:2], bound[2] - 1)}, "^bounds: the proof relies on other"),
        ("other frozen ones", {"frozen": own._replace(beside=other)}, "^training: it ends with the weights"),
        ("other trained ones", {"frozen": own._replace(commitment=last.initial)}, "^training: it ends with the weights"),
        ("none beside", {"frozen": own._replace(beside=None)}, described),
        (
            "others beside",
            {"frozen": own._replace(parameters=(0, 2), beside=own.beside._replace(parameters=(1,))), "shifts": (0,) * 3},
            described,
        ),
    ):
        yield Case(name, lambda changes=changes: weighed(**changes), VerificationError, match)


def evaluations():
    """The frozen evaluation, and statements that say something else."""
    (circuit, proof), (trained, last) = frozen(EVALUATED), of_training()
    statement = proof.statement
    totals = {name: Fraction(*x) for name, x in json.loads((VECTORS / f"{EVALUATED}.totals.json").read_text("utf-8")).items()}

    def verified(proof=proof, circuit=circuit, training=(trained, [last]), **options):
        return evaluation.verify_evaluation(circuit, proof, training=training, **{"minimum_bits": BITS} | options).totals

    yield Case("the frozen one", verified, None, value=totals)
    yield Case("with pins", lambda: verified(weights=last.final_weights, dataset=statement.dataset.hex()), None, value=totals)
    yield Case("with an assumption", lambda: verified(training=None, assume_bound=True), None, value=totals)
    alone = Proof.load(VECTORS / f"format-{VERSION}.link.proof")
    for name, options, error, match in (
        ("no assumption", {"training": None}, VerificationError, "^initial bound: no proof here"),
        ("other weights", {"weights": bytes(32)}, VerificationError, "^pinned weights: "),
        ("other data", {"dataset": bytes(32)}, VerificationError, "^pinned dataset: "),
        ("no digest", {"weights": "0"}, ConfigurationError, "^weights: not a hexadecimal"),
        ("no number of bits", {"minimum_bits": 0}, ConfigurationError, "^minimum_bits is 0"),
        ("a list", {"proof": [proof]}, ConfigurationError, "^proof: give the zkjax.Proof of an evaluation"),
        ("of links", {"proof": alone}, ConfigurationError, "^proof: give the zkjax.Proof of an evaluation"),
        ("a broken proof", {"proof": Proof(statement, proof.body[:-1] + b"!")}, VerificationError, "^(opening|Merkle path)"),
        ("statements alone", {"training": [last]}, ConfigurationError, "^training: give .circuit, statements.,"),
        ("no circuit", {"training": (None, [last])}, ConfigurationError, "^training: give .circuit, statements.,"),
        ("no statement", {"training": (trained, [1])}, ConfigurationError, "^training: give .circuit, statements.,"),
        ("one statement", {"training": (trained, last)}, ConfigurationError, "^training: give .circuit, statements.,|chunks"),
        ("none", {"training": (trained, [])}, ConfigurationError, "^training: give the statements of its chunks"),
        ("links alone", {"training": (trained, [alone.statement])}, ConfigurationError, "^training: give the statements of its chunks"),
        ("no frozen one", {"circuit": frozen()[0], "proof": frozen()[1]}, VerificationError, "^evaluation: "),
        ("of a frozen one", {"circuit": frozen(MOVING)[0], "proof": frozen(MOVING)[1]}, VerificationError, "^evaluation: "),
    ):
        yield Case(name, lambda options=options: verified(**options), error, match)

    def of_shards(shown):
        """With data of which this disclosure was found to say which they are, or no data."""
        with mock.patch.object(evaluation, "check_disclosed", lambda *_, **__: shown):
            return verified(data=None if shown is None else (), disclosures=[1])

    whole = own_dataset()[2]
    for name, shown, error in (
        ("the whole test set", whole, None),
        ("no data", None, None),
        ("a part of it", dataclasses.replace(whole, items=whole.items[1:2]), "shard 1 of 0..2"),
        ("samples of it", amended_dataset(whole, chosen=Chosen(((0, 9),), (0,))), "samples 0..8 of 0..8"),
    ):
        match = error and f"^data: the arrays are (. of )?{error}, not the whole test set"
        yield Case(name, lambda shown=shown: of_shards(shown), error and VerificationError, match, value=None if error else totals)

    def weighed(said=statement, training=(trained, last)):
        return evaluation.check_weights(circuit, said, (training[0], [training[1]]), None, joined([training[1], said]), False)

    part = last.final.parts
    other = dataclasses.replace(last.final, parts=(part[0], part[1]._replace(budget=3)))
    bound = statement.initial_bound
    freezing = frozen(MOVING)[0]
    renamed = dataclasses.replace(trained, parameters=tuple(dataclasses.replace(x, path=x.path + "!") for x in trained.parameters))
    yield Case("what is weighed", weighed, None)
    for name, said, training, match in (
        ("shifted weights", {"shifts": (0, 1)}, {}, "^bounds: the weights are multiplied"),
        ("a smaller bound", {"initial_bound": (bound[0] - 1, bound[1])}, {}, "^bounds: the proof relies on other"),
        ("a larger bound", {"initial_bound": (bound[0], bound[1] + 1)}, {}, "^bounds: the proof relies on other"),
        ("another state beside them", {}, {"final": other}, "^training: it ends with the weights"),
        ("another root", {}, {"final": dataclasses.replace(last.final, root=bytes(32))}, "^training: it ends with the weights"),
        ("another geometry", {}, {"geometry": dataclasses.replace(last.geometry, max_budget=5)}, "^training: it ends with the weights"),
    ):
        said, training = dataclasses.replace(statement, **said), dataclasses.replace(last, **training)
        yield Case(name, lambda said=said, training=training: weighed(said, (trained, training)), VerificationError, match)
    for name, other, said, match in (
        ("another circuit", freezing, last, "^training: its statements are about another circuit"),
        (
            "a frozen parameter",
            freezing,
            dataclasses.replace(last, circuit=freezing.digest()),
            "^training: its parameters, and those that it freezes, have not",
        ),
        (
            "other paths",
            renamed,
            dataclasses.replace(last, circuit=renamed.digest()),
            "^training: its parameters, and those that it freezes, have not the paths",
        ),
    ):
        yield Case(name, lambda other=other, said=said: weighed(training=(other, said)), VerificationError, match)
    yield from _weighed_beside(circuit, statement)

    def read(circuit=circuit, **changes):
        return evaluation.read_results(circuit, dataclasses.replace(statement, **changes), False).totals

    yield Case("what is read", read, None, value=totals)
    names = [x.output for x in circuit.losses]

    def counted(name):
        losses = [list(x) for x in statement.losses]
        losses[names.index(name)][1] += 1
        return tuple(map(tuple, losses))

    hidden = tuple(None if name == "correct" else x for name, x in zip(names, statement.losses, strict=True))
    uncounted = {"confusion 0 as 0", "samples of group 0"}
    renamed = dataclasses.replace(circuit, losses=tuple(dataclasses.replace(x, output=f"number {i}") for i, x in enumerate(circuit.losses)))
    sparse = tuple(dataclasses.replace(x, output="confusion 9999 as 1" if x.output == "correct" else x.output) for x in circuit.losses)
    partial = dataclasses.replace(circuit, losses=sparse)
    yield Case("a count elsewhere", lambda: read(partial), VerificationError, "^outputs: all .* add up to 11, not to 6")
    yield Case("without counts", lambda: len(read(renamed)), None, value=len(names))
    for name, changes, match in (
        ("a later epoch", {"first_step": 2}, "^samples: 2 steps from step 2 read 6 of 6"),
        ("a sample more", {"samples": 7}, "^samples: 2 steps from step 0 read 6 of 7"),
        ("a step less", {"steps": 1}, "^samples: 1 steps from step 0 read 3 of 6"),
        ("all hidden", {"losses": None}, "^outputs: .* is hidden"),
        ("one hidden", {"losses": hidden}, "^outputs: correct is hidden"),
        *((f"one {name} more", {"losses": counted(name)}, "^outputs: all .* add up to 7, not to 6") for name in sorted(uncounted)),
    ):
        yield Case(name, lambda changes=changes: read(**changes), VerificationError, match)

    found = evaluation.read_results(circuit, statement, False)
    yield Case("a sum of three", lambda: found.of_samples("size"), ConfigurationError, "^a step reads 3 samples")
    single = dataclasses.replace(found, order=np.array([[1], [0]]))
    yield Case("one by one", lambda: single.of_samples("correct"), None, value=[*found.steps["correct"][::-1]])
    kept = frozen(MOVING)[1].statement
    weights = kept.frozen._replace(commitment=Commitment.of("weights", 0, 1, 4, bytes(32)))
    yield Case(
        "weights beside others",
        lambda: make_plan(freezing, dataclasses.replace(kept, frozen=weights)),
        VerificationError,
        "^statement: the frozen parameters are those of a training",
    )


# ---- comparisons ------------------------------------------------------------------------------------------------
COMPARED = f"format-{VERSION}-compared"


def comparisons():
    """The frozen comparison, and terms and statements that say something else."""
    (circuit, proof), told = frozen(COMPARED), json.loads((VECTORS / f"{COMPARED}.training.json").read_text("utf-8"))
    trained, said = Circuit.from_json(told["circuit"]), Statement.parse(canonical(told["statement"]))
    asked, statement = comparison.Terms.load(VECTORS / f"{COMPARED}.comparison.json"), proof.statement
    shown = json.loads((VECTORS / f"{COMPARED}.parts.json").read_text("utf-8"))["parts"]
    revealed, limited = asked.parts

    def verified(terms=asked, proof=proof, training=(trained, [said]), **options):
        found = comparison.verify_comparison(terms, proof, training=training, **{"minimum_bits": BITS} | options)
        return json.loads(json.dumps(found.to_json()))

    most = math.sqrt(sum(Fraction(*x["most"]) ** 2 for x in shown))
    yield Case("the frozen one", verified, None, value=shown)
    yield Case("its circuit", lambda: asked.circuit(trained).digest(), None, value=circuit.digest())
    yield Case("at most this", lambda: verified(at_most=most * 1.0001), None, value=shown)
    elsewhere = dataclasses.replace(said, final=dataclasses.replace(said.final, root=bytes(32)))
    alone = Proof.load(VECTORS / f"format-{VERSION}.link.proof")
    other = dataclasses.replace(revealed, scale=revealed.scale + 1)
    for name, options, error, match in (
        ("at most less", {"at_most": most * 0.9999}, VerificationError, "^distance: at most"),
        ("at most nothing", {"at_most": 0}, VerificationError, "^distance: at most 0"),
        ("no distance", {"at_most": -1}, ConfigurationError, "^at_most is -1"),
        ("an infinite distance", {"at_most": math.inf}, ConfigurationError, "^at_most is inf"),
        ("a truth value", {"at_most": True}, ConfigurationError, "^at_most is True"),
        ("a text", {"at_most": "1"}, ConfigurationError, "^at_most is '1'"),
        ("other last weights", {"training": (trained, [elsewhere])}, VerificationError, "^training: its last weights"),
        ("unchanged", {"unchanged": ["w"]}, VerificationError, "^unchanged: 'w' is not shown"),
        ("unchanged by a limit", {"unchanged": ["v"]}, VerificationError, "^unchanged: 'v' is not shown"),
        ("a name", {"unchanged": "w"}, ConfigurationError, "^unchanged: give a list"),
        ("a number", {"unchanged": [1]}, ConfigurationError, "^unchanged: give a list"),
        ("no number of bits", {"minimum_bits": 0}, ConfigurationError, "^minimum_bits is 0"),
        ("more bits", {"minimum_bits": 100}, VerificationError, "^security: "),
        ("no work", {"max_work": 1}, VerificationError, "^work: "),
        ("no memory", {"max_memory": 1}, VerificationError, "^work: "),
        ("no terms", {"terms": None}, ConfigurationError, "^terms is a NoneType"),
        ("a list", {"proof": [proof]}, ConfigurationError, "^proof: give the zkjax.Proof of a comparison"),
        ("of links", {"proof": alone}, ConfigurationError, "^proof: give the zkjax.Proof of a comparison"),
        ("no training", {"training": None}, ConfigurationError, "^training: give .circuit, statements."),
        ("other terms", {"terms": comparison.Terms((other, limited))}, VerificationError, "^circuit: "),
        ("none of them", {"terms": comparison.Terms(())}, VerificationError, "^terms: a comparison is of one part"),
        ("a broken proof", {"proof": Proof(statement, proof.body[:-1] + b"!")}, VerificationError, "^(opening|Merkle path)"),
    ):
        yield Case(name, lambda options=options: verified(**options), error, match)

    def circuit_of(*parts):
        return comparison.Terms(parts).circuit(trained).digest()

    part, unit = comparison.Part, trained.parameters[0].unit
    finest = unit.denominator.bit_length() - 1
    for name, own, match in (
        ("a part of nothing", (part((), 2),), "each of one parameter or more"),
        ("a given one", (part(("m",), 2),), "'m' is none of the parameters that are trained: w, v"),
        ("a frozen one", (part(("f",), 2),), "'f' is none of the parameters that are trained: w, v"),
        ("one twice", (part(("w", "w"), 2),), "stands in the parts of a comparison twice"),
        ("one in two parts", (part(("w",), 2), part(("w",), 3)), "stands in the parts of a comparison twice"),
        ("bits too many", (part(("w",), finest + 63),), "bits after the point, and is compared"),
        ("bits too few", (part(("w",), finest - 63),), "bits after the point, and is compared"),
    ):
        yield Case(name, lambda own=own: circuit_of(*own), ConfigurationError, match)
    for scale in (finest - 62, finest + 62):
        yield Case(f"{scale} bits", lambda scale=scale: circuit_of(part(("w",), scale)), None)
    for unit in (Fraction(3, 256), Fraction(1, 3), Fraction(3)):
        odd = dataclasses.replace(trained, parameters=tuple(dataclasses.replace(x, unit=unit) for x in trained.parameters))
        yield Case(f"unit {unit}", lambda odd=odd: asked.circuit(odd), ConfigurationError, "the unit of w is no power of two")
    large = dataclasses.replace(trained, parameters=tuple(dataclasses.replace(x, unit=Fraction(4)) for x in trained.parameters))
    yield Case("unit 4", lambda: comparison.rounded_bits(revealed, large.parameters[0]), None, value=-2 - revealed.scale)

    def ended(own=statement, training=trained, **changes):
        chunk = dataclasses.replace(said, **changes)
        return comparison.check_ends(training, [chunk], own, joined([chunk, own]))

    def own(**changes):
        return dataclasses.replace(statement, **changes)

    first, last, kept = said.initial, said.final, statement.frozen
    shifted, bounded = [list(x) for x in (statement.shifts, statement.initial_bound)]
    parts_read = [x.part_digest(statement.geometry, "parameters") for x in (kept.commitment, kept.beside.commitment)]
    named = tuple(hashlib.sha256(b"zkjax weights 2\0" + x + y).digest() for x, y in zip(parts_read, (b"\1\2", b"\3"), strict=True))
    yield Case("names of what is read", lambda: own(shifts=(1, 2, 3, 0)).read, None, value=named)
    yield Case("what is compared", ended, None)
    for name, call, match in (
        ("another circuit", lambda: ended(circuit=bytes(32)), "^training: its statements are about another circuit"),
        ("another training", lambda: ended(training=circuit), "^training: its statements are about another circuit"),
        ("no weights", lambda: ended(own(frozen=None)), "^comparison: the proof does not read"),
        (
            "one commitment",
            lambda: ended(own(frozen=kept._replace(beside=None))),
            "^comparison: the proof does not read the weights of two",
        ),
        (
            "frozen ones beside",
            lambda: ended(own(frozen=kept._replace(beside=kept.beside._replace(commitment=dataclasses.replace(last, kind="frozen"))))),
            "^comparison: the proof does not read the weights of two",
        ),
        (
            "mixed",
            lambda: ended(own(frozen=kept._replace(parameters=(0, 2), beside=kept.beside._replace(parameters=(1, 3))))),
            "^comparison: the proof does not read the weights of two",
        ),
        (
            "the same twice",
            lambda: ended(own(frozen=kept._replace(beside=kept.beside._replace(commitment=kept.commitment)))),
            "^training: its last weights",
        ),
        ("exchanged", lambda: ended(own(frozen=kept._replace(commitment=kept.beside.commitment))), "^training: its first weights"),
        ("another first root", lambda: ended(initial=dataclasses.replace(first, root=bytes(32))), "^training: its first weights"),
        ("another last root", lambda: ended(final=dataclasses.replace(last, root=bytes(32))), "^training: its last weights"),
        ("another geometry", lambda: ended(geometry=dataclasses.replace(said.geometry, max_budget=5)), "^training: its first weights"),
        ("a shift of the last", lambda: ended(own(shifts=(*shifted[:-1], shifted[-1] + 1))), "^shifts: "),
        ("a shift of the first", lambda: ended(own(shifts=(shifted[0] + 1, *shifted[1:]))), "^shifts: "),
        ("a bound of the first", lambda: ended(own(initial_bound=(bounded[0] - 1, *bounded[1:]))), "^bounds: "),
        ("a bound of the last", lambda: ended(own(initial_bound=(*bounded[:-1], bounded[-1] + 1))), "^bounds: "),
    ):
        yield Case(name, call, VerificationError, match)

    def read(losses):
        return [
            x.to_json() if hasattr(x, "to_json") else x for x in comparison.read_comparison(asked, trained, own(losses=losses)).to_json()
        ]

    def by_steps(first, last):
        """Of a chain whose first and last statements are about these circuits."""
        chunks = [dataclasses.replace(said, circuit=x) for x in (first, last)]
        return comparison.check_ends(trained, chunks, statement, joined([*chunks, statement]))

    for name, both in (("a first", (bytes(32), said.circuit)), ("a last", (said.circuit, bytes(32)))):
        match = "^training: its statements are about another circuit"
        yield Case(f"{name} statement about another circuit", lambda x=both: by_steps(*x), VerificationError, match)

    def required(at_most):
        sides = (comparison.Moved(("w",), 6, None, Fraction(0), Fraction(x)) for x in (3, 4))
        return comparison.check_required(comparison.Compared(statement, tuple(sides)), at_most, ())

    yield Case("exactly at most", lambda: required(5), None)
    yield Case("a little less", lambda: required(4.999), VerificationError, "^distance: at most 4.999 is not shown")

    totals = statement.losses
    yield Case("what is read", lambda: read(totals), None, value=shown)
    for name, losses, match in (
        ("all hidden", None, "^comparison: what is shown of part 0 is hidden"),
        ("a hidden limit", (totals[0], None), "^comparison: what is shown of part 1 is hidden"),
        ("a limit that is not kept", (totals[0], (0,)), "^distance: the squared distance of part 1 is above its limit"),
    ):
        yield Case(name, lambda losses=losses: read(losses), VerificationError, match)

    def moved(total, scale=finest, limit=None):
        found = comparison.Moved.of(part(("w",), scale, limit), {"w": trained.parameters[0]}, total)
        return found.squared, found.least, found.most

    step = Fraction(1, 2**finest)
    yield Case("exact", lambda: moved(9), None, value=(9 * step**2, 3 * step, 3 * step))
    yield Case("nothing", lambda: moved(0), None, value=(0, 0, 0))
    root = Fraction(math.isqrt(6 << 126), 1 << 64)  # of six entries over 4, rounded down
    above = root + Fraction(1, 1 << 64)
    yield Case("rounded", lambda: moved(9, finest - 1), None, value=(None, 2 * step * (3 - above), 2 * step * (3 + above)))
    yield Case("rounded to less than is known", lambda: moved(1, finest - 1), None, value=(None, 0, 2 * step * (1 + above)))
    yield Case("a limit", lambda: moved(None, finest, 16), None, value=(None, 0, 4 * step))
    yield Case("a root that is none", lambda: moved(2)[2] ** 2 > 2 * step**2 > moved(2)[1] ** 2, None, value=True)

    good = json.loads((VECTORS / f"{COMPARED}.comparison.json").read_text("utf-8"))

    def loaded(text, size=None):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "terms.json")
            path.write_text(text if isinstance(text, str) else json.dumps(text))
            with mock.patch.object(comparison, "MAX_FILE", comparison.MAX_FILE if size is None else size):
                return comparison.Terms.load(path)

    def of_part(**changes):
        return loaded(good | {"parts": [good["parts"][0] | changes]})

    length = len(json.dumps(good))
    yield Case("itself, as a file", lambda: loaded(good), None, value=asked)
    yield Case("of the largest size", lambda: loaded(good, length), None, value=asked)
    for name, call, match in (
        ("longer", lambda: loaded(good, length - 1), "more than"),
        ("no JSON", lambda: loaded("{"), "not a JSON file"),
        ("deep", lambda: loaded("[" * 100_000), "not a JSON file"),
        ("a list", lambda: loaded([]), "not the terms of a comparison"),
        ("a number", lambda: loaded(3), "not the terms of a comparison"),
        ("one more field", lambda: loaded(good | {"more": 1}), "not the terms of a comparison"),
        ("another format", lambda: loaded(good | {"format": "zkjax circuit"}), "not the terms of a comparison"),
        ("another version", lambda: loaded(good | {"version": 2}), "version 2, this zkjax reads version 1"),
        ("no version", lambda: loaded(good | {"version": True}), "version True"),
        ("no list of parts", lambda: loaded(good | {"parts": {}}), r"parts\[0\] needs paths, scale and limit"),
        ("one more of a part", lambda: of_part(more=1), r"parts\[0\] needs paths, scale and limit"),
        ("no list of paths", lambda: of_part(paths="w"), "paths is no list of names"),
        ("a path that is a number", lambda: of_part(paths=[1]), "paths is no list of names"),
    ):
        yield Case(name, call, FormatError, match)
    yield from ends(lambda value: of_part(scale=value), "scale", -(2**10), 2**10, "scale is ")
    bounds = ends(lambda value: of_part(limit=value), "limit", 0, 2**62 - 1, "limit is ")
    yield from (case for case in bounds if not case.name.endswith("None"))


# ---- lineages ---------------------------------------------------------------------------------------------------
def lineages():
    """Two statements about one circuit: the last one of a training, and one that begins with its last weights."""
    circuit, last = of_training()
    begun, zeros = dataclasses.replace(last, initial=last.final), (0,) * len(last.shifts)
    begun, kept = dataclasses.replace(begun, shifts=zeros), frozen(MOVING)[0]

    def verified(before=(circuit, [last]), after=None, **changes):
        return lineage.verify_lineage([before, after or (circuit, [dataclasses.replace(begun, **changes)])])

    def of(other, statement):
        return other, [dataclasses.replace(statement, circuit=other.digest())]

    def changed(i, **changes):
        return dataclasses.replace(circuit, parameters=tuple(dataclasses.replace(x, **changes) if p == i else x for p, x in places))

    places = [*enumerate(circuit.parameters)]
    first, *_, end = circuit.held["parameters"]
    unit = circuit.parameters[first].unit
    yield Case("two", verified, None)
    shifted = (1, *zeros[1:])
    yield Case("finer units", lambda: verified(after=of(changed(first, unit=unit / 2), dataclasses.replace(begun, shifts=shifted))), None)
    third = dataclasses.replace(begun, initial=last.initial)
    more = [(circuit, [last]), (circuit, [begun]), (circuit, [third])]
    yield Case("three", lambda: lineage.verify_lineage(more), VerificationError, "^lineage: training 2 of 0..2: it does not begin with")
    one = {"parts": last.final.parts[:1]}
    for name, call, match in (
        ("another circuit before", lambda: verified(before=(kept, [last])), "statements are about another circuit"),
        ("another circuit after", lambda: verified(circuit=bytes(32)), "statements are about another circuit"),
        ("another path", lambda: verified(after=of(changed(end, path="x"), begun)), "have not the paths"),
        ("another shape", lambda: verified(after=of(changed(end, shape=(1,)), begun)), "have not the paths"),
        ("another unit", lambda: verified(after=of(changed(first, unit=unit / 2), begun)), "have not the paths"),
        ("a shift", lambda: verified(shifts=shifted), "have not the paths"),
        ("frozen ones before", lambda: verified(before=of(kept, last)), "some parameters are frozen"),
        ("frozen ones after", lambda: verified(after=of(kept, begun)), "some parameters are frozen"),
        ("other weights", lambda: verified(initial=last.initial), "it does not begin with"),
        ("another root", lambda: verified(initial=dataclasses.replace(last.final, root=bytes(32))), "it does not begin with"),
        ("another number", lambda: verified(initial=dataclasses.replace(last.final, number=7)), "it does not begin with"),
        ("other parts", lambda: verified(initial=dataclasses.replace(last.final, **one)), "it does not begin with"),
        ("another geometry", lambda: verified(geometry=dataclasses.replace(last.geometry, max_budget=5)), "it does not begin with"),
    ):
        yield Case(name, call, VerificationError, f"^lineage: training 1 of 0..1: .*{match}")
    for trainings in ((), [(circuit, [last])], 3, {}):
        yield Case(f"{trainings!r:.20}", lambda trainings=trainings: lineage.verify_lineage(trainings), ConfigurationError, "^trainings: ")
    yield Case("no training", lambda: lineage.verify_lineage([1, 2]), ConfigurationError, "^training: ")

    plain, own = frozen()[0], frozen()[1].statement
    other = dataclasses.replace(own, initial=dataclasses.replace(own.initial, number=7))
    yield Case("a beginning of another number", lambda: make_plan(plain, other).kind("initial"), None, value=("weights", 7))


def limits():
    import importlib

    for name, value in LIMITS.items():
        module, _, constant = name.rpartition(".")
        found = getattr(importlib.import_module(f"zkjax.{module}"), constant)
        yield Case(name, lambda found=found: found, None, value=value)


GROUPS = (  # the dearest last
    honest, honest_states, honest_draws, honest_parts, draws, residues, states, meters, ordinary_files, shapes, advice, layouts, bounds,
    limits, ledgers, statements, commitments, schedules, commitment_files, geometry, graphs, anchors, walks,
    frozen_parameters, parts_of_commitments, parts_in_chains, columns, frozen_files,
    random_forms, disclosed_data, disclosed_samples, model_files, disclosed_models, drawing_files, drawn_weights, disclosure_files,
    evaluations,
    comparisons, lineages,
    statement_files, circuit_files, proof_files, openings, challenges, chains, published, links_alone, bodies,
)  # fmt: skip
