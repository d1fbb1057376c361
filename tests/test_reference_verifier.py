"""Two verifiers, one protocol: ``reference/verifier.py``, written from PROTOCOL.md in plain Python, and the package's.

They must accept the same proofs, with the same ledger, and refuse the same altered ones; and both must go on
accepting the proof of format version 2 in ``vectors/``.
"""

import ast
import copy
import hashlib
import json
import math
import random
import struct
import sys
from dataclasses import replace
from fractions import Fraction
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import jax
import jax.numpy as jnp
import moving
import numpy as np
import optax
import pytest
import trees
from curving import curving
from drawing import drawing
from harness import BITS, SMALL, make_run, mlp_run, prove_small, recorded
from reference import verifier as reference
from reference.verifier import Rejected
from terms import PHASES, own_terms, reference_terms
from test_graphs import GRAPHS, X, Y, matrix, mean_square
from tiny import chain

import zkjax
from zkjax.algebra import field, functions, threefry
from zkjax.algebra.hashing import field_stream, stream_block
from zkjax.algebra.layout import axis_pieces
from zkjax.commitment import merkle
from zkjax.commitment.commit import Commitment, Part, commit
from zkjax.commitment.geometry import Geometry
from zkjax.commitment.recompute import recomputed_root
from zkjax.errors import ConfigurationError, FormatError, ZkjaxError
from zkjax.ops.draw import Draw
from zkjax.proofs.estimate import charge_file
from zkjax.protocol.forms import Forms
from zkjax.protocol.schedule import batch_indices, permutation
from zkjax.protocol.transcript import Transcript
from zkjax.prover.commitments import rows_of, slots_of
from zkjax.prover.prove import coarse_integers, make_plan
from zkjax.verifier import verify_alone, verify_chain, verify_one
from zkjax.work import MAX_MEMORY, MAX_WORK, Meter

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
        value = trees.at(tree, path)
        other = [x for x in altered(value) if type(x) is not type(value) or x != value]
        yield path, trees.with_value(tree, path, chosen.choice(other))


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
    for name in ("format-2-states", "format-2-draws", "format-2-curves", "format-2-windows", "format-2-forms", "format-2-runs"):
        assert both(vector(name)[0], [vector(name)[1]], VECTOR_BITS)
    for name in ("format-2-evaluated", "format-2-compared"):  # which show no range of the weights
        circuit, raw = vector(name)
        assert both(circuit, [raw], VECTOR_BITS) is None and both(circuit, [raw], VECTOR_BITS, assume_bound=True)
    part = (VECTORS / "format-2-states.link.proof").read_bytes()  # opens one part of two
    assert len(both(vector("format-2-states")[0], [vector("format-2-states")[1], part], VECTOR_BITS)) == 2


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
def beside(name: str) -> tuple[dict, bytes, list[bytes]]:
    """(circuit's JSON, a file to be altered, what it is verified with, after it)."""
    if name == "chain":
        return chain().circuit.to_json(), bytes(chain().proofs[1]), []
    circuit, raw = vector(name.removesuffix(".link"))
    return (circuit, (VECTORS / f"{name}.proof").read_bytes(), [raw]) if name.endswith(".link") else (circuit, raw, [])


@pytest.mark.parametrize("name", ["format-2", "format-2-states.link"])
def test_altered_messages(name, monkeypatch):
    """A byte of one message of each kind, bytes anywhere, and lengths."""
    (circuit, raw, others), chosen = beside(name), random.Random(1)
    start = len(raw) - len(zkjax.Proof.parse(raw).body)
    by_label: dict = {}  # label: places of the messages' bytes

    def logged(body, label, size, original=reference.Body.raw):
        by_label.setdefault(label, []).extend(range(start + body.at, start + body.at + size))
        return original(body, label, size)

    with monkeypatch.context() as patched:
        patched.setattr(reference.Body, "raw", logged)
        reference.verify_one(reference.Circuit(circuit), raw, VECTOR_BITS)
    assert both(circuit, [raw, *others], VECTOR_BITS)
    assert len(by_label) > (20 if not others else 10) and sum(map(len, by_label.values())) == len(raw) - start
    assert ("other leaves" in by_label) == (name == "format-2-states.link")
    for at in [*map(chosen.choice, by_label.values()), *(chosen.randrange(len(raw)) for _ in range(30))]:
        changed = raw[:at] + bytes([raw[at] ^ 1 << chosen.randrange(8)]) + raw[at + 1 :]
        assert both(circuit, [changed, *others], VECTOR_BITS) is None, at
    for length in (0, 7, 8, 13, 14, start - 1, start, start + 31, len(raw) - 1, *(chosen.randrange(len(raw)) for _ in range(5))):
        assert both(circuit, [raw[:length], *others], VECTOR_BITS) is None
    assert both(circuit, [raw + b"\0", *others], VECTOR_BITS) is None


ALTERED = ["format-2", "chain", "format-2-states", "format-2.link", "format-2-states.link", "format-2-evaluated", "format-2-compared"]


@pytest.mark.parametrize("name", ALTERED)
def test_altered_statements(name):
    circuit, raw, others = beside(name)
    proof = zkjax.Proof.parse(raw)
    statement = proof.statement.to_json()
    assert file_of(statement, proof.body) == raw
    for path, changed in alterations(statement, random.Random(2), 150):
        assert both(circuit, [file_of(changed, proof.body), *others], VECTOR_BITS, True) is None, path
    for path in list(leaves(statement)):
        if len(path) == 1:  # a field is missing
            without = {k: v for k, v in statement.items() if k != path[0]}
            assert both(circuit, [file_of(without, proof.body), *others], VECTOR_BITS, True) is None
    text = reference.canonical(statement)
    for other in (text.replace(b":", b": ", 1), text[::-1], text + b" "):
        file = b"zkjaxprf" + struct.pack("<HI", 2, len(other)) + other + proof.body
        assert both(circuit, [file, *others], VECTOR_BITS, True) is None


def test_a_commitment_of_another_root():
    """The statement stays consistent, and is another one: only the opening can tell."""
    circuit, _, proofs = chain()
    statement = proofs[1].statement.to_json()
    for name in ("initial", "final"):
        changed = copy.deepcopy(statement)
        changed[name]["root"] = changed[name]["root"][::-1]
        assert both(circuit.to_json(), [file_of(changed, proofs[1].body)], assume_bound=True) is None
    assert both(circuit.to_json(), [file_of(statement, proofs[2].body)], assume_bound=True) is None


FROZEN = ["format-2", *(f"format-2-{name}" for name in ("states", "parts", "draws", "curves", "windows", "forms", "runs"))]


class Read(NamedTuple):
    """What a verifier reads of a proof: every message and draw, as of ``harness.recorded``, and all terms, as of ``terms.own_terms``."""

    messages: list
    terms: list


def read_by_both(circuit: dict, raw: bytes, bits: float) -> tuple[Read, Read]:
    """By the package and by the second verifier."""
    checked, proof, other, terms = zkjax.Circuit.from_json(circuit), zkjax.Proof.parse(raw), reference.Circuit(circuit), [[], []]
    ours = recorded(Transcript, "_draw", lambda: terms[0].extend(own_terms(lambda: verify_one(checked, proof, bits))))
    theirs = recorded(
        reference.Transcript, "draw", lambda: terms[1].extend(reference_terms(lambda: reference.verify_one(other, raw, bits)))
    )
    return Read(ours, terms[0]), Read(theirs, terms[1])


@pytest.mark.parametrize("name", FROZEN)
def test_every_message_every_draw_and_all_terms(name):
    """The frozen proofs' transcripts: every message in its order, and what is drawn after it; and all terms, phase by phase."""
    expected = Read(*(json.loads((VECTORS / f"{name}.{what}.json").read_text("utf-8")) for what in ("transcript", "terms")))
    ours, theirs = read_by_both(*vector(name), VECTOR_BITS)
    assert ours == expected == theirs and len(expected.messages) > 100
    assert {label.split()[0] for _, label, _, _ in expected.messages} >= {"lookup", "level", "trace", "statement"}
    assert {phase for phase, _, _ in expected.terms} >= set(PHASES) - {"losses"}


def test_every_message_of_a_link_of_one_part():
    raw = (VECTORS / "format-2-states.link.proof").read_bytes()
    expected = json.loads((VECTORS / "format-2-states.link.transcript.json").read_text("utf-8"))
    ours = recorded(Transcript, "_draw", lambda: verify_alone(zkjax.Proof.parse(raw), VECTOR_BITS))
    theirs = recorded(reference.Transcript, "draw", lambda: reference.verify_one(None, raw, VECTOR_BITS))
    assert ours == expected == theirs and [label for _, label, _, _ in expected].count("other leaves") == 1


# ---- parts and frozen parameters -------------------------------------------------------------------------------------
class Moved(NamedTuple):
    """Two chunks of ``moving(frozen=True)`` with a link between them, and one of its last parameters alone."""

    circuit: dict
    runs: tuple
    first: zkjax.Proof
    link: zkjax.Proof
    second: zkjax.Proof
    part: zkjax.Proof

    def files(self, *names: str) -> list[bytes]:
        return [bytes(getattr(self, name)) for name in names]


@cache
def moved_parts() -> Moved:
    circuit = moving.moving(frozen=True)
    run = zkjax.train(circuit, *moving.start(frozen=True), steps=5)
    first = prove_small(circuit, run)
    link = zkjax.link(run, ("final", "frozen"), minimum_bits=BITS)
    later = zkjax.train(circuit, run, None, steps=3)
    return Moved(circuit.to_json(), (run, later), first, link, prove_small(circuit, later), moving.link_of_parameters(later, SMALL, BITS))


ALL = ("first", "link", "second", "part")


def test_parts_and_frozen_parameters():
    """A commitment of two parts that is opened whole, or in part; frozen parameters, whose commitment is replaced; what they are called."""
    moved = moved_parts()
    first, second = moved.first.statement, moved.second.statement
    assert [[part.name for part in s.initial.parts] for s in (first, second)] == [["parameters"], ["parameters", "other"]]
    assert first.frozen.parameters == second.frozen.parameters == (4,) and first.shifts == second.shifts == (0, 0, 0, 0, 2)
    assert first.frozen.commitment.root != second.frozen.commitment.root and first.final.root != second.initial.root
    for files in (ALL, ALL[:3], ALL[:1], ("part", "first")):
        assert both(moved.circuit, moved.files(*files))
    assert both(moved.circuit, moved.files("second", "part"), assume_bound=True)
    assert both(moved.circuit, moved.files("part", "first", "second", "link"))
    assert both(moved.circuit, moved.files("first", "second"), check="chain") is None  # nobody joins the two commitments
    assert both(moved.circuit, moved.files("second"), check="initial bound") is None
    assert (
        both(moved.circuit, [bytes(moving.link_of_parameters(moved.runs[1], SMALL, BITS, lie=True)), *moved.files(*ALL)], check="opening")
        is None
    )


def test_pins_of_parts():
    """The digests that a caller may require: of parameters, and of all states; whatever links lead to counts, part by part."""
    moved = moved_parts()
    first, second, fresh = moved.first.statement, moved.second.statement, moved.part.statement.fresh[0]
    files, geometry = moved.files(*ALL), second.geometry
    behind = fresh.part_digest(geometry, "parameters")
    of_fresh = (
        second.weights_behind(behind, second.frozen_digest, last=True),
        second.state_behind(fresh.digest(geometry), second.frozen_digest, True),
    )
    of_old_frozen = second.weights_behind(behind, first.frozen_digest, last=True)
    assert first.final_weights != second.initial_weights and first.final_state != second.initial_state and first.initial_state is None
    assert both(moved.circuit, files, initial=first.initial_weights, dataset=first.dataset, seed=0, steps=(0, 8))
    for final in (second.final_weights, second.final_state, of_fresh[0], of_old_frozen):
        assert both(moved.circuit, files, final=final)
    assert both(moved.circuit, files[:3], final=of_fresh[0], check="pinned final weights") is None  # without the link
    assert both(moved.circuit, files[2:], assume_bound=True, final=of_old_frozen, check="pinned final weights") is None
    for final in (of_fresh[1], first.final_weights, second.weights_behind(behind, b"", last=True), second.final.digest(geometry)):
        assert both(moved.circuit, files, final=final, check="pinned final weights") is None
    refused = [first.state_behind(first.initial.digest(geometry), first.frozen_digest), first.final_weights, second.initial_weights]
    refused += [replace(first, shifts=(0,) * 5).initial_weights, replace(first, shifts=(2,) * 5).initial_weights]
    for initial in refused:  # of a given statement the state is not behind its commitment
        assert both(moved.circuit, files, initial=initial, check="pinned initial weights") is None
    for initial in (second.initial_weights, second.initial_state):  # and of one that is not given it is; links count here too
        assert both(moved.circuit, files[2:], assume_bound=True, initial=initial)
    for initial in (first.final_weights, first.final_state):
        assert both(moved.circuit, files[1:], assume_bound=True, initial=initial)
        assert both(moved.circuit, files[2:], assume_bound=True, initial=initial, check="pinned initial weights") is None
    for name, value in (("dataset", behind), ("seed", 1), ("steps", (0, 5))):
        assert both(moved.circuit, files, check=f"pinned {name}", **{name: value}) is None


def other_parts(commitment: dict) -> dict:
    """A commitment with these parts the other way round."""
    return commitment | {"parts": commitment["parts"][::-1]}


def with_parts(commitment: dict, *names: str, **changes) -> dict:
    """A commitment with parts of these names, which all are as its first one but for these changes."""
    return commitment | {"parts": [commitment["parts"][0] | {"name": name} | changes for name in names]}


def altered_statements(s: dict, later: bool) -> dict[str, tuple[dict, str | None]]:
    """What differs in a statement of ``moved_parts``, and under which name it is refused alone; None: malformed."""
    initial, final, frozen = s["initial"], s["final"], s["frozen"]
    kept = frozen["commitment"]
    root = {"root": "1" * 64}
    at, ends = f"commitment to weights {s['first_step']}", f"commitment to weights {s['first_step'] + s['steps']}"
    names = ("parameters", "other")
    found = {
        "parts in the other order": ({"final": other_parts(final)}, None),
        "parts of one name": ({"final": with_parts(final, "other", "other")}, None),
        "a part of no name": ({"final": with_parts(final, "parameters", "others")}, None),
        "no parts": ({"final": final | {"parts": []}}, None),
        "cells of weights": ({"final": with_parts(final, "cells")}, None),
        "parameters of frozen ones": ({"frozen": frozen | {"commitment": with_parts(kept, "parameters")}}, None),
        "one part alone": ({"final": with_parts(final, "parameters")}, ends),
        "the other part alone": ({"final": with_parts(final, "other")}, ends),
        "rows of parts": ({"final": with_parts(final, *names, rows=2)}, ends),
        "rows of the second part": ({"final": final | {"parts": [final["parts"][0], final["parts"][1] | {"rows": 2}]}}, ends),
        "budget of parts": ({"final": with_parts(final, *names, budget=5)}, ends),
        "budget of an unread part": (
            {"initial": initial | {"parts": [initial["parts"][0], {"name": "other", "rows": 1, "budget": 5}]}},
            at,
        ),
        "other number": ({"final": final | {"number": 0}}, ends),
        "root": ({"final": final | root}, "Merkle path"),
        "less budget": ({"final": with_parts(final, *names, budget=3)}, "Merkle path"),
        "no frozen": ({"frozen": None}, "statement"),
        "no frozen parameters": ({"frozen": frozen | {"parameters": []}}, "statement"),
        "another one": ({"frozen": frozen | {"parameters": [0]}}, "statement"),
        "one more": ({"frozen": frozen | {"parameters": [0, 4]}}, "statement"),
        "frozen twice": ({"frozen": frozen | {"parameters": [4, 4]}}, "statement"),
        "frozen out of range": ({"frozen": frozen | {"parameters": [-1]}}, None),
        "frozen with more": ({"frozen": frozen | {"rows": 1}}, None),
        "frozen as weights": (
            {"frozen": frozen | {"commitment": with_parts(kept, "parameters") | {"kind": "weights"}}},
            "statement",
        ),
        "frozen with a number": ({"frozen": frozen | {"commitment": kept | {"number": 1}}}, "commitment to frozen 0"),
        "frozen with mask rows": ({"frozen": frozen | {"commitment": kept | {"masked": True}}}, "commitment to frozen 0"),
        "rows of frozen": ({"frozen": frozen | {"commitment": with_parts(kept, "cells", rows=2)}}, "commitment to frozen 0"),
        "budget of frozen": ({"frozen": frozen | {"commitment": with_parts(kept, "cells", budget=5)}}, "commitment to frozen 0"),
        "root of frozen": ({"frozen": frozen | {"commitment": kept | root}}, "Merkle path"),
        "shift of frozen": ({"shifts": [0, 0, 0, 0, 1]}, "Merkle path"),
        "shift of others": ({"shifts": [1, 0, 0, 0, 2]}, "statement" if later else "bounds"),
        "linked to one that is not there": ({"links": [{"from": "frozen 0", "to": kept | root}]}, None),
        "linked twice": ({"links": [{"from": "frozen", "to": kept | root}] * 2}, None),
        "linked to another kind": ({"links": [{"from": "frozen", "to": final}]}, "link from frozen"),
        "linked to itself": ({"links": [{"from": "frozen", "to": kept}]}, "link from frozen"),
        "linked": ({"links": [{"from": "frozen", "to": kept | root}]}, "malformed body"),
    }
    if later:
        found |= {
            "given": ({"given": True}, "statement"),
            "one part": ({"initial": with_parts(initial, "parameters")}, at),
            "a link of a part": ({"links": [{"from": "initial", "to": with_parts(initial, "other") | root}]}, "malformed body"),
        }
    else:
        found |= {
            "not given": ({"given": False}, at),
            "two parts": ({"initial": with_parts(initial, *names)}, "malformed body"),
            "the other one": ({"initial": with_parts(initial, "other")}, at),
            "a link of what is not read": ({"links": [{"from": "initial", "to": with_parts(initial, *names) | root}]}, "link from initial"),
        }
    return found


@pytest.mark.parametrize("later", [False, True])
def test_altered_parts(later):
    """Alone, with an assumed beginning, each is refused under the name that the page gives it; and in the chain too."""
    moved = moved_parts()
    name = "second" if later else "first"
    proof = getattr(moved, name)
    statement, checks = proof.statement.to_json(), set()
    for what, (changes, check) in altered_statements(statement, later).items():
        file = file_of(statement | changes, proof.body)
        checks.add(check)
        named = {} if check in (None, "malformed body") else {"check": check}
        assert both(moved.circuit, [file], assume_bound=True, **named) is None, what
        if check is None:
            with pytest.raises(FormatError):
                zkjax.Proof.parse(file)
        else:
            zkjax.Proof.parse(file)
        assert both(moved.circuit, [file if other == name else bytes(getattr(moved, other)) for other in ALL]) is None, what
    assert len(checks) >= 7


def test_chains_of_other_parts():
    """Statements that are well formed, and do not go on where the one before ended."""
    moved = moved_parts()
    files, statement = moved.files(*ALL[:3]), moved.second.statement.to_json()
    frozen, root = statement["frozen"], {"root": "1" * 64}
    for changes in (
        {"initial": with_parts(statement["initial"], "parameters")},
        {"initial": with_parts(statement["initial"], "other")},
        {"initial": statement["initial"] | root},
        {"frozen": None},
        {"frozen": {"commitment": frozen["commitment"] | root, "parameters": [4]}},
        {"shifts": [0, 0, 0, 0, 1]},
        {"shifts": [0, 0, 0, 0, 0]},
        {"given": True},
        {"initial_bound": [x - (p == 4) for p, x in enumerate(statement["initial_bound"])]},
    ):
        assert both(moved.circuit, [*files[:2], file_of(statement | changes, moved.second.body)], check="chain") is None, changes
    link = moved.link.statement.to_json()
    for kept in (link["links"][:1], link["links"][1:]):  # final alone, or frozen alone
        assert both(moved.circuit, [files[0], file_of(link | {"links": kept}, moved.link.body), files[2]], check="chain") is None
    # parameters go on, and the other states do not
    assert both(moved.circuit, [files[0], bytes(moving.link_of_parameters(moved.runs[0], SMALL, BITS)), files[2]], check="chain") is None


def test_altered_links_of_parts():
    """Links alone that open one part of two."""
    moved = moved_parts()
    statement, body = moved.part.statement.to_json(), moved.part.body
    (link,) = statement["links"]
    old, new, root = link["from"], link["to"], {"root": "1" * 64}
    third = moved.first.statement.frozen.commitment.to_json()
    frozen = {"from": third, "to": third | root}
    for links, check in (
        ([link | {"to": with_parts(new, "other")}], "Merkle path"),
        ([link | {"to": with_parts(new, "parameters", "other")}], None),
        ([link | {"to": with_parts(new, "parameters", rows=2)}], "link from 0"),
        ([link | {"to": with_parts(new, "parameters", budget=5)}], "link from 0"),
        ([link | {"to": new | {"root": old["root"]}}], "link from 0"),
        ([link | {"from": with_parts(old, "parameters")}], None),
        ([link | {"from": with_parts(old, "other")}], "link from 0"),
        ([link | {"from": with_parts(old, "parameters", "other", budget=5)}], "commitment 0"),
        ([link | {"from": other_parts(old)}], None),
        ([link | {"from": old | {"masked": True}}], "commitment 0"),
        ([link, link], "links"),
        ([frozen, link], "links"),
        ([link, frozen], None),
        ([{"from": third | {"kind": "stage"}, "to": third | root | {"kind": "stage"}}], "links"),
        ([link | {"from": old | {"kind": "level"}}], None),
        ([], "links"),
    ):
        file = file_of(statement | {"links": links}, body)
        assert both(moved.circuit, [*moved.files(*ALL[:3]), file], **({"check": check} if check else {})) is None, links


def test_the_first_state_may_have_parts_that_are_not_read():
    """A chain begins with the circuit's states: what is beside the parameters in the first commitment is neither opened nor believed."""
    circuit = moving.moving(frozen=True)
    run = zkjax.train(circuit, *moving.start(frozen=True), steps=5)
    plan = make_plan(run)
    slot = slots_of(run, plan)["initial"]
    (layout,) = plan.layouts["initial"].values()
    rows = rows_of(layout, {("initial", p): x for p, x in enumerate(coarse_integers(run, plan))}, SMALL.row)
    held = commit(
        [rows, np.ones((3, SMALL.row), dtype=np.uint64)], kind="weights", number=0, budget=slot.budget, geometry=SMALL, seed=bytes(32)
    )
    run.chain.keep(slot.name(0), lambda: held.only("parameters"))
    proof = prove_small(circuit, run)
    statement = proof.statement
    assert statement.given and [part.rows for part in statement.initial.parts] == [1, 3]
    assert both(circuit.to_json(), [bytes(proof)], initial=statement.initial_weights)
    unread = statement.state_behind(statement.initial.digest(SMALL), statement.frozen_digest)
    assert both(circuit.to_json(), [bytes(proof)], initial=unread, check="pinned initial weights") is None
    labels = [
        label
        for _, label, _, _ in recorded(
            reference.Transcript, "draw", lambda: reference.verify(circuit.to_json(), bytes(proof), minimum_bits=BITS)
        )
    ]
    assert labels.count("other leaves") == 1


def test_nothing_is_trained():
    """All parameters are frozen: of the weights the part for others has no tensor, and one row."""
    with pytest.warns(zkjax.PrecisionWarning, match="no parameter is updated"):
        circuit, run = make_run(lambda p, x, y: mean_square(x @ jax.lax.stop_gradient(p["w"]), y), {"w": matrix(4, 2)}, (X, Y))
    later = zkjax.train(circuit, run, None, steps=1)
    proofs = [prove_small(circuit, r) for r in (run, later)]
    assert circuit.frozen == (0,) and proofs[0].statement.shifts == proofs[1].statement.shifts != (0,)
    assert both(circuit.to_json(), [*map(bytes, proofs)])


# ---- functions, maxima, divisions, roots, and what a step is multiplied by ---------------------------------------------
class Curved(NamedTuple):
    """Two chunks of a net with all of them, and one of labels; the second one goes on where the first one ends."""

    circuit: dict
    first: bytes
    second: bytes


CURVED = ("range", "function", "onehot", "largest", "first", "divide", "root", "paced", "sign", "gate")


@cache
def curved() -> Curved:
    circuit, run = curving()
    run.chain.geometry = SMALL
    later = zkjax.train(circuit, run, None, steps=2)
    return Curved(circuit.to_json(), bytes(prove_small(circuit, run, reveal=("loss",))), bytes(prove_small(circuit, later)))


def test_curved():
    """Both accept it, with the same ledger, the same messages and draws, and the same terms after every phase."""
    made = curved()
    circuit = zkjax.Circuit.from_json(made.circuit)
    assert {node["op"] for node in made.circuit["nodes"]} >= set(CURVED)
    assert circuit.to_json() == made.circuit
    assert both(made.circuit, [made.first, made.second])
    assert both(made.circuit, [made.second], assume_bound=True)
    assert both(made.circuit, [made.second]) is None
    for raw in made[1:]:
        ours, theirs = read_by_both(made.circuit, raw, BITS)
        assert ours == theirs and len(ours.messages) > 100
        kinds = {term[0].split()[0] for _, _, terms in ours.terms for term in terms}
        assert kinds >= {"function", "onehot", "largest", "first", "quotient", "root", "excess"}


def test_altered_messages_of_curved(monkeypatch):
    """A byte of one message of each kind, and bytes anywhere."""
    made, chosen, by_label = curved(), random.Random(5), {}
    start = len(made.first) - len(zkjax.Proof.parse(made.first).body)

    def logged(body, label, size, original=reference.Body.raw):
        by_label.setdefault(label, []).extend(range(start + body.at, start + body.at + size))
        return original(body, label, size)

    with monkeypatch.context() as patched:
        patched.setattr(reference.Body, "raw", logged)
        reference.verify_one(reference.Circuit(made.circuit), made.first, BITS)
    assert len(by_label) > 20
    for at in [*map(chosen.choice, by_label.values()), *(chosen.randrange(len(made.first)) for _ in range(10))]:
        changed = made.first[:at] + bytes([made.first[at] ^ 1 << chosen.randrange(8)]) + made.first[at + 1 :]
        assert both(made.circuit, [changed]) is None, at


def altered_curves(circuit: dict):
    """What differs in a circuit, and the circuit: what it computes, and not how it is written."""

    def changed(*changes):
        found = copy.deepcopy(circuit)
        for i, name, value in changes:
            assert found["nodes"][i][name] != value
            found["nodes"][i][name] = value
        return found

    nodes, of = circuit["nodes"], {op: [i for i, node in enumerate(circuit["nodes"]) if node["op"] == op] for op in CURVED}
    for i in of["function"] + of["onehot"]:
        node = nodes[i]
        yield f"unit of {i}", changed((i, "unit", [node["unit"][0], node["unit"][1] + 1]))
        other = [*node["program"], ["neg", len(node["program"]) - 1]]
        yield f"program of {i}", changed((i, "program", other))
        for place, instruction in enumerate(node["program"]):
            if instruction[0] == "number" and instruction[2] == 1:
                other = [*node["program"][:place], ["number", instruction[1] + 1, 1], *node["program"][place + 1 :]]
                yield f"number {place} of {i}", changed((i, "program", other))
    for op, name in (("function", "scale"), ("root", "size"), ("divide", "divisor"), ("onehot", "size")):
        for i in of[op]:
            yield f"{name} of {i}", changed((i, name, nodes[i][name] + 1))
    for i in of["paced"]:
        for t in range(3):
            numbers = nodes[i]["numbers"]
            yield f"number {t} of {i}", changed((i, "numbers", [*numbers[:t], numbers[t] + 1, *numbers[t + 1 :]]))
    for i in of["range"]:
        here = [i, *(j for j, node in enumerate(nodes) if node["inputs"][:1] == [i] and node["op"] in ("function", "onehot", "largest"))]
        yield f"low of {i}", changed(*((j, "low", nodes[j]["low"] + 1) for j in here))
        yield f"width of {i}", changed(*((j, "width", nodes[j]["width"] - 1) for j in here))


def test_altered_curves():
    """Of circuits that compute something else; refused for their digest, and where the statement has that one too."""
    made, checks = curved(), set()
    statement, body = zkjax.Proof.parse(made.first).statement.to_json(), zkjax.Proof.parse(made.first).body
    for what, changed in altered_curves(made.circuit):
        try:
            zkjax.Circuit.from_json(changed)
        except ZkjaxError:
            with pytest.raises(Rejected):
                reference.Circuit(changed)
                print("refused by the package only:", what)
            checks.add("refused")
            continue
        assert both(changed, [made.first], check="circuit") is None, what
        file = file_of(statement | {"circuit": reference.circuit_digest(changed)}, body)
        assert both(changed, [file]) is None, what
        checks.add(what.split()[0])
    assert checks >= {"unit", "program", "number", "scale", "size", "divisor", "low", "width"}


def loaded(tree):
    """A circuit as a verifier takes it on: read and checked, its tables made within a limit of work."""
    circuit = zkjax.Circuit.from_json(tree)
    charge_file(circuit, Meter(MAX_WORK, MAX_MEMORY))
    return circuit


def test_curves_that_are_none():
    """What section 5.2 demands of attributes, and of what stands beside an operation: refused by both before there is any proof."""
    circuit = curved().circuit
    nodes, of = circuit["nodes"], {op: [i for i, node in enumerate(circuit["nodes"]) if node["op"] == op] for op in CURVED}
    function, onehot, largest, first, divide, root, paced = (of[op][0] for op in CURVED[1:8])
    site, program = nodes[function]["inputs"][0], nodes[function]["program"]
    x = nodes[of["range"][0]]["inputs"][0]
    nothing = [["x"], ["number", -1, 1], ["sqrt", 1]]
    cases = [
        *((function, "unit", unit) for unit in ([0, 1], [1, 0], [1, -1], [1], [1, 2, 3], 1, ["x", 1])),
        *((function, "scale", scale) for scale in (63, -63, True, [1], None)),
        *((function, "program", wrong) for wrong in ([], [["number", 1, 1]], [["x"], []], [["x"], ["x"]], [["x"], ["exp", 1]])),
        *((function, "program", wrong) for wrong in ([["x"], ["exp"]], [["x"], ["exp", 0, 0]], [["x"], ["exp", -1]], [["x"], ["tan", 0]])),
        *((function, "program", [["x"], ["number", *wrong]]) for wrong in ([2, 2], [1, 0], [1, -1], [1], [2**64, 1], [0, 2], ["x", 1])),
        *((function, "program", wrong) for wrong in (nothing, [["x"], *([["neg", 0]] * 256)], "x", [["x", 0]], ["x"], [["x"], [["x"]]])),
        *((i, "low", nodes[i]["low"] + 1) for i in (function, onehot, largest, of["range"][0])),
        *((i, "width", width) for i in (function, onehot, largest, of["range"][0]) for width in (0, 21, nodes[i]["width"] + 1)),
        *((onehot, "size", size) for size in (0, 1025, -1, [3])),
        (onehot, "program", nothing),
        *((i, "inputs", [x]) for i in (function, onehot, largest, of["sign"][0])),
        *((i, "inputs", []) for i in (function, onehot, largest, first, divide, root, paced)),
        *((first, "inputs", wrong) for wrong in (nodes[first]["inputs"][::-1], [nodes[first]["inputs"][0], x], [largest])),
        *((root, "size", size) for size in (1, 31)),
        *((divide, "divisor", divisor) for divisor in (0, 63)),
        *((divide, "bits", bits) for bits in (-1, circuit["table_bits"])),
        *((divide + 1, "inputs", wrong) for wrong in (nodes[divide + 1]["inputs"][::-1], [divide, divide])),
        *((i + 1, "op", "first") for i in (divide, root)),
        *((paced, "numbers", wrong) for wrong in ([], [1], nodes[paced]["numbers"] + [1], 1, [2**63] * 5, [-(2**63)] * 5, [[1]] * 5)),
        (of["range"][0], "low", 2**62),
        (of["range"][0], "low", [0]),
    ]
    for i, name, value in cases:
        changed = copy.deepcopy(circuit)
        changed["nodes"][i][name] = value
        with pytest.raises(FormatError):
            loaded(changed)
            print("refused by neither, or by the reference only:", i, name, value)
        with pytest.raises(Rejected):
            reference.Circuit(changed)
            print("refused by the package only:", i, name, value)
    assert program[0] == ["x"] and nodes[site]["op"] in ("rescale", "range")
    twice = copy.deepcopy(circuit)
    twice["nodes"].append(copy.deepcopy(nodes[function]))
    zkjax.Circuit.from_json(twice | {"nodes": [*nodes, nodes[function] | {"scale": nodes[function]["scale"] - 1}]})
    for refused in (loaded, reference.Circuit):
        with pytest.raises((FormatError, Rejected)):
            refused(twice)


def columns_of(program, low: int, unit: tuple[int, int], scale: int, width: int) -> tuple[list, list]:
    """Entries by the package and by the reference; None where there is none."""
    ours = functions.entries(program, low, 1 << width, Fraction(*unit), scale)
    return [None if x == functions.LARGEST else int(x) for x in ours], list(reference.column_entries(program, low, unit, scale, width))


@pytest.mark.parametrize("name", reference.FUNCTIONS)
def test_entries_of_functions(name):
    """Every function alone, at integers and at fractions, with entries that are halves, too large, infinite, or no numbers."""
    arity = reference.FUNCTIONS[name][0]
    programs = [(("x",), *made) for made in arguments(arity, name)]
    for program in programs:
        for low, unit in ((-32, (1, 4)), (-32, (1, 1)), (-20, (3, 7)), (1, (1, 2**20)), (-3, (-5, 1))):
            for scale in (0, 10, 25, -3):
                ours, theirs = columns_of(program, low, unit, scale, 6)
                if name in ("sin", "erf"):  # at 0 and beyond 5: below
                    places = [v for v in range(64) if 0 < abs(Fraction(*unit) * (low + v)) < 5]
                    ours, theirs = [ours[v] for v in places], [theirs[v] for v in places]
                assert ours == theirs, (program, low, unit, scale)


def arguments(arity: int, name: str):
    """Instructions after x that end with the function."""
    number, root = ("number", 5, 4), ("sqrt", 0)  # what a root of a negative number leaves is no number
    if arity == 1:
        return [[(name, 0)], [root, (name, 1)], [number, ("div", 1, 0), ("neg", 2), (name, 3)]]
    if arity == 2:
        return [[number, (name, 0, 1)], [number, (name, 1, 0)], [(name, 0, 0)], [root, (name, 0, 1)], [root, (name, 1, 0)]]
    return [
        [number, ("gt", 0, 1), ("exp", 0), (name, 2, 0, 3)],
        [root, ("ge", 1, 0), (name, 2, 0, 1)],
        [number, ("lt", 0, 1), (name, 2, 0, 1)],
    ]


def test_entries_of_programs():
    """Of random programs of functions that are settled alike: bits of 0 and 1 where conditions are expected."""
    chosen, names = (
        random.Random(6),
        [x for x in reference.FUNCTIONS if x not in ("and", "or", "not", "select", "div", "sin", "erf", "cos")],
    )
    compared = ("gt", "ge", "lt", "le", "eq", "ne")
    for _ in range(150):
        program = [("x",), ("number", chosen.randrange(-9, 10), 1)]
        for _ in range(chosen.randrange(1, 6)):
            name = chosen.choice(names)
            program.append((name, *(chosen.randrange(max(0, len(program) - 3), len(program)) for _ in range(reference.FUNCTIONS[name][0]))))
        last = len(program) - 1
        program += [(chosen.choice(compared), last, 1), (chosen.choice(compared), last, 0), ("and", last + 1, last + 2), ("not", last + 3)]
        program += [("or", last + 4, last + 1), ("select", last + 5, last, 0)]
        unit, scale = chosen.choice([(1, 1), (1, 4), (1, 256), (3, 7), (5, 3)]), chosen.choice([0, 1, 4, 13, -2])
        ours, theirs = columns_of(tuple(program), chosen.randrange(-9, 2), unit, scale, 4)
        assert ours == theirs, (program, unit, scale)


X_ = ("x",)
DIFFERENT = {
    "a condition below 0": ((X_, ("number", 1, 1), ("select", 0, 0, 1)), -4, 0),
    "a condition that is a small fraction": ((X_, ("number", 1, 10), ("mul", 0, 1), ("select", 2, 0, 1)), -4, 4),
    "no number within bounds": ((X_, ("div", 0, 0), ("tanh", 1), ("number", 1, 10), ("mul", 2, 3)), -4, 0),
    "no number compared": ((X_, ("div", 0, 0), ("abs", 1), ("number", 0, 1), ("ge", 2, 3)), -4, 0),
    "the sign of the sine of 0": ((X_, ("sin", 0), ("sign", 1)), -4, 0),
    "the sine of 0, rounded down": ((X_, ("sin", 0), ("floor", 1)), -4, 0),
    "the tail of erf": ((X_, ("number", 1, 1), ("erf", 0), ("sub", 1, 2), ("log", 3)), 0, 10),
    "1 less a tiny number": ((X_, ("number", 1, 10**18), ("not", 1), ("floor", 2)), -4, 0),
    "the number before one half": ((X_, ("number", 2**53 - 1, 2**54)), -4, 0),
}


@pytest.mark.parametrize("name", DIFFERENT)
def test_entries_that_differ(name):
    program, low, scale = DIFFERENT[name]
    ours, theirs = columns_of(program, low, (1, 1), scale, 3)
    assert ours == theirs


def test_altered_circuits():
    """The same circuits are refused before there is any proof, and the others have the same digest, shapes and levels."""
    accepted = 0
    circuits = [frozen()[0], chain().circuit.to_json(), drawing().to_json(), moving.moving(frozen=True).to_json(), curved().circuit]
    for circuit in circuits:
        digest = reference.circuit_digest(circuit)
        for path, changed in alterations(circuit, random.Random(3), 1000):
            try:
                read = loaded(changed)
            except ZkjaxError:
                with pytest.raises(Rejected):
                    reference.Circuit(changed)
                    print("refused by the package only:", path)
                continue
            checked = reference.Circuit(changed)
            accepted += 1
            assert checked.digest == read.digest().hex() and checked.shapes == [x.shape for x in read.nodes]
            assert (checked.digest == digest) == (path[0] == "notes"), path
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
    def random(seed, column):
        return stream_block(seed, "padding", 0), int(field_stream(seed, "padding", 1)[0]), stream_block(seed, "salt", column // 2)[16:]

    @staticmethod
    def root(numbers, kind, number, budget, cells, seed):
        matrix = np.array([cells], dtype=np.uint64)
        return recomputed_root(matrix, Commitment.of(kind, number, 1, budget, bytes(32)), Geometry(**numbers), seed)

    @staticmethod
    def weights(kind, digest, f, shifts):
        any_one = replace(zkjax.Proof.parse(vector("format-2-states")[1]).statement, shifts=shifts)
        return (any_one.weights_behind if kind == "weights" else any_one.state_behind)(digest, f)

    @staticmethod
    def permutation(*arguments):
        return permutation(*arguments).tolist()

    @staticmethod
    def forms():
        return Forms.draw(Transcript(b"parameters", b"statement")).matrix.tobytes()

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
    def random(seed, column):
        return reference.stream_block(seed, "padding", 0), reference.random_coefficient(seed, 0), reference.column_salt(seed, column)

    @staticmethod
    def root(numbers, kind, number, budget, cells, seed):
        part = {"name": "parameters", "rows": 1, "budget": budget}
        one = {"kind": kind, "number": number, "parts": [part], "masked": False}
        return reference.root_from_seed(numbers | {"hash": "blake2s-256"}, one, [cells], seed)

    @staticmethod
    def forms():
        t = reference.Transcript()
        for name in ("parameters", "statement"):
            t.absorb(name, name.encode())
        return bytes(c % 256 for row in reference.draw_forms(t) for c in row)

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
    """Section 22, as either implementation would have written it; only white space is free. ``test_drawings`` has those of drawings."""
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
    shifts, seed, cells = (0, 2, 0), bytes(range(32)), [1, 2, 3, *[0] * 1021]
    block, coefficient, salt = by.random(seed, 1)
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
    randomness of the seed 00 01 .. 1f: block("padding", 0) {block.hex()}
      the first coefficient {coefficient}
      the salt of column 1 {salt.hex()}
      root of (weights, 5, parameters with rows 1, budget 2, not masked) in the first geometry, cells 1 2 3 and 1021 times 0
      {by.root(first, "weights", 5, 2, cells, seed).hex()}
    permutation(10) of seed 1, epoch 2, shard 3 {" ".join(map(str, by.permutation(10, 1, 2, 3)))}
    transcript("parameters" = ASCII parameters, "statement" = ASCII statement), then draw("forms"): SHA256 of M, a byte each,
      two's complement, row by row {hashlib.sha256(by.forms()).hexdigest()}
    batches of seed 5, 10 samples, shards of 4, B = 3, t0 = 2, T = 3
    {" | ".join(" ".join(map(str, step)) for step in by.batches(5, 10, 4, 3, 2, 3))}
    threefry of the key 13198a2e 3707344, counter 243f6a88 85a308d3 {by.threefry((0x13198A2E, 0x3707344), (0x243F6A88, 0x85A308D3))}
    draw of shape 2 3, words 1 2, path 7 -1 -2, shift 29, threshold 0, in step 3 {by.drawn((2, 3), (1, 2), (7, -1, -2), 29, 3)}
    """
    protocol = (Path(zkjax.__file__).parent / "PROTOCOL.md").read_text("utf-8")
    _, heading, section = protocol.partition("## 23.")[0].partition("## 22. Test vectors\n")
    section, heading_of_drawings, _ = section.partition("    drawing of seed 7")
    assert heading and heading_of_drawings and "\n## " not in section
    assert section.split() == expected.split()
