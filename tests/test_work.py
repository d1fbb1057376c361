"""What a verification takes is estimated before it is done, from public sizes alone, and charged wherever it depends on them."""

import dataclasses
import json
import os
import random
import re
import sys
from functools import partial
from unittest import mock

import climb
import numpy as np
import pytest
from climb import Recipe, forged, seeds, verified
from field_values import random_vector
from refusals import amended, frozen
from replay import BITS
from test_hostile_files import X, circuit, node

import zkjax
from zkjax.__main__ import main
from zkjax.algebra import extension as ext
from zkjax.algebra import field
from zkjax.algebra.extension import ONE
from zkjax.algebra.vectors import Vectors, only_length
from zkjax.circuit.circuit import Circuit
from zkjax.commitment.commit import Commitment, Part
from zkjax.commitment.geometry import Geometry
from zkjax.errors import ConfigurationError, FormatError, UnsupportedOperationError, VerificationError
from zkjax.proofs.links import Link
from zkjax.proofs.proof import MAGIC, Proof
from zkjax.proofs.statement import Frozen
from zkjax.protocol.argument import argument
from zkjax.protocol.claims import Claim, Term
from zkjax.protocol.hidden import Hidden
from zkjax.protocol.plan import Batches, Plan
from zkjax.protocol.states import unroll
from zkjax.verifier import estimate_work
from zkjax.work import BASE, Meter

A_CALL = 4  # units: what Python takes to call a function

FROZEN, PROOF = frozen()
KINDS = {
    "honest": Recipe(FROZEN.to_json()),
    "many steps": Recipe(FROZEN.to_json(), steps=30, samples=200, shard_size=200),
    "hidden losses": Recipe(FROZEN.to_json(), revealed=False),
    "assumed bounds": Recipe(FROZEN.to_json(), range_checked=False),
    "many shards": Recipe(FROZEN.to_json(), steps=8, samples=40, shard_size=1),
    "many epochs": Recipe(FROZEN.to_json(), steps=12, first_step=2**40, samples=3),
    "many samples": Recipe(FROZEN.to_json(), samples=2**12, shard_size=2**12),
    "a large budget": Recipe(FROZEN.to_json(), log_row=13, max_budget=32),
    "a joined batch": Recipe(
        circuit([X, node("reshape", [0], shape=[128]), node("rescale", [1], shift=2, bits=3)], shape=(2, 64)), samples=64, shard_size=64
    ),
    "a long axis": Recipe(circuit([X, node("rescale", [0], shift=2, bits=3)], shape=(2, 2**12))),
    "a constant on every entry": Recipe(
        circuit(
            [X, node("const", shape=[2, 64], values=[1] * 128), node("scale", [0, 1], axes=[0, 1]), node("rescale", [2], shift=9, bits=3)],
            shape=(2, 64),
        )
    ),
}


def prepared(recipe: Recipe):
    loaded = Circuit.from_json(json.loads(json.dumps(recipe.circuit)))
    return loaded, forged(loaded, recipe)


def counted(call) -> int:
    """Products of F on arrays, entry by entry, and calls of Python functions, in units."""
    found = [0, 0]
    real = field.mul

    def mul(a, b):
        result = real(a, b)
        found[0] += result.size
        return result

    def profile(frame, event, argument):
        found[1] += event == "call"

    with mock.patch("zkjax.algebra.field.mul", mul):
        sys.setprofile(profile)
        try:
            call()
        finally:
            sys.setprofile(None)
    return found[0] + A_CALL * found[1]


# ---- the estimate -----------------------------------------------------------------------------------------------
@pytest.mark.parametrize("kind", KINDS)
def test_lengths_alone_cost_what_vectors_do(kind):
    """The same code runs on both, so that nothing can be charged on one side only."""
    loaded, statement = prepared(KINDS[kind])
    meters = []
    for lengths_only in (False, True):
        meters.append(Meter())
        plan = Plan(loaded, 0, statement.steps, (0,) * len(loaded.parameters), statement.widths, None)
        hidden = Hidden(vectors=Vectors(meters[-1], lengths_only))
        argument(hidden, plan, statement.losses)
        hidden.finish()
    assert meters[0].shares == meters[1].shares and meters[0].memory == meters[1].memory


@pytest.mark.parametrize("kind", KINDS)
def test_everything_is_charged(kind):
    """Every product and every call, of the estimate and of the verification, to the last check."""
    loaded, statement = prepared(KINDS[kind])
    meter = estimate_work(loaded, [statement], None, None)
    ends = []
    taken = counted(lambda: ends.append(verified(loaded, statement)))
    assert ends == ["VerificationError: opening: the final vector contradicts the claim"]
    assert taken < meter.work < 40 * taken


def test_a_sample_of_the_climb():
    """The search's first steps, by counts that no machine's speed enters."""
    rng, tried = random.Random(1), 0
    recipes = seeds()[:1]
    for _ in range(25):
        recipe = climb.changed(rng, rng.choice(recipes))
        with mock.patch("climb.WORK", 2**22):
            found = climb.made(recipe)
        if found is not None:
            loaded, statement, meter = found
            assert counted(lambda: verified(loaded, statement)) < climb.FACTOR * meter.work  # noqa: B023
            recipes.append(recipe)
            tried += 1
    assert tried >= 3


def test_it_does_not_depend_on_what_a_proof_cannot_choose():
    statement = PROOF.statement
    expected = estimate_work(FROZEN, [statement], None, None).work
    initial = amended(statement.initial, rows=2**32 - 1, budget=2**32 - 1)
    beside = dataclasses.replace(statement.initial, parts=(*statement.initial.parts, Part("other", 2**32 - 1, 2**32 - 1)))
    frozen = Frozen(Commitment.of("frozen", 0, 2**32 - 1, 2**32 - 1, bytes(32)), (0, 1, 2) * 9)
    losses = tuple((2**62,) * 7 for _ in range(3))
    for changes in (
        {"initial": initial},
        {"final": initial},
        {"initial": beside},
        {"final": beside, "given": True},
        {"frozen": frozen},
        {"frozen": frozen, "links": (Link("frozen", frozen.commitment),)},
        {"losses": losses},
        {"losses": ()},
        {"shifts": (9,) * 3},
        {"initial_bound": (7,) * 3},
    ):
        changed = dataclasses.replace(statement, **changes)
        assert estimate_work(FROZEN, [changed], None, None).work == pytest.approx(expected, rel=0.05)
    for name in ("shifts", "widths", "initial_bound", "final_bound"):
        with pytest.raises(VerificationError, match="^statement: .*needed for 3 parameters"):
            estimate_work(FROZEN, [dataclasses.replace(statement, **{name: ()})], None, None)


def test_wider_ranges_are_charged():
    """Widths are the statement's: each limb is a lookup, and all but one are cells."""
    statement, found = PROOF.statement, []
    for width in (1, FROZEN.table_bits, 62):
        changed = dataclasses.replace(statement, widths=(width,) * 3)
        plan = Plan(FROZEN, 0, statement.steps, statement.shifts, changed.widths, None)
        meter = estimate_work(FROZEN, [changed], None, None)
        found.append((len(plan.sites.lookups), meter.work))
    (_, narrow), (_, table), (most, wide) = found  # lookups, work
    assert max(narrow, table) < wide and most == found[0][0] + 3 * (-(-62 // FROZEN.table_bits) - 1)


def test_proofs_of_a_chain_add_up_in_work_and_not_in_memory():
    one, two = (estimate_work(FROZEN, [PROOF.statement] * count, None, None) for count in (1, 2))
    file = one.shares["the circuit's file"]
    assert two.work - file == 2 * (one.work - file) and two.memory == one.memory


# ---- limits -----------------------------------------------------------------------------------------------------
def test_limits():
    meter = estimate_work(FROZEN, [PROOF.statement], None, None)
    exact = {"max_work": meter.work, "max_memory": meter.memory}
    assert zkjax.verify(FROZEN, PROOF, minimum_bits=BITS, **exact) == PROOF.statement
    for call in (partial(zkjax.verify, FROZEN, PROOF, minimum_bits=BITS), partial(zkjax.ledger, FROZEN, PROOF)):
        for name, limit in exact.items():
            with pytest.raises(VerificationError, match=rf"limit of {limit - 1:,} .*, [\d,]+ of them for .*{name}") as raised:
                call(**exact | {name: limit - 1})
            assert raised.value.check == "work"


def test_a_refusal_comes_before_anything_heavy():
    """No vector has been made, and no sample of the schedule worked out."""
    with (
        mock.patch("zkjax.proofs.checks.batch_indices", side_effect=AssertionError),
        mock.patch("zkjax.algebra.field.mul", side_effect=AssertionError),
    ):
        with pytest.raises(VerificationError, match="^work: "):
            zkjax.verify(FROZEN, PROOF, max_work=10**5)


def test_the_command_line(capsys):
    files = [str(climb.HERE / "vectors" / f"format-2{end}") for end in (".proof", ".circuit.json")]
    work = estimate_work(FROZEN, [PROOF.statement], None, None)
    common = ["verify", files[0], "--circuit", files[1], "--minimum-bits", str(BITS)]
    assert main([*common, "--max-work", str(work.work), "--max-memory", str(work.memory)]) == 0
    for option, value in (("--max-work", work.work - 1), ("--max-memory", work.memory - 1)):
        assert main([*common, option, str(value)]) == 1
        assert re.search(f"check work: .*{value:,} .*{option}", capsys.readouterr().err)
    assert main(["inspect", files[0], "--circuit", files[1]]) == 0
    assert f"{work.work:,} field multiplications" in capsys.readouterr().out
    assert main(["inspect", files[1]]) == 0
    assert "field multiplications" in capsys.readouterr().out


# ---- kinds of absurd inputs -------------------------------------------------------------------------------------
def refused(content, match, limit=10**8, error=VerificationError):
    """The argument of this circuit is refused for its work."""
    loaded = Circuit.from_json(content)
    plan = Plan(loaded, 0, 1, (0,) * len(loaded.parameters), loaded.coarse_widths, None)
    meter = Meter(limit)
    with pytest.raises(error, match=match):
        argument(Hidden(vectors=Vectors(meter, lengths_only=True)), plan)
    return meter


def test_a_sum_of_many_inputs_that_many_claims_meet():
    parts = [node("reverse", [0], axes=[i % 2]) for i in range(300)]
    total = node("linear", list(range(1, 301)), coefficients=[1] * 300)
    ends = [n for i in range(300) for n in (node("scale", [301, 302], axes=[1]),)]
    nodes = [X, *parts, total, node("const", shape=[2], values=[1, 2]), *ends]
    nodes += [node("rescale", [303 + i], shift=20, bits=3) for i in range(300)]
    meter = refused(circuit(nodes), "field multiplications|too many terms", 10**7, (VerificationError, UnsupportedOperationError))
    assert meter.work < 2 * 10**8


def test_an_input_that_is_summed_many_times_is_one_input():
    nodes = [X, node("linear", [0] * 5000, coefficients=[1] * 5000), node("rescale", [1], shift=20, bits=3)]
    loaded = Circuit.from_json(circuit(nodes))
    meter = Meter()
    plan = Plan(loaded, 0, 1, (0,), loaded.coarse_widths, None)
    argument(Hidden(vectors=Vectors(meter, lengths_only=True)), plan)
    assert meter.work < 5 * 10**6


def test_many_updates_that_many_claims_meet():
    """Their terms are counted before one of them is made."""
    nodes = [X, node("param", index=0), node("rescale", [0], shift=2, bits=3)]
    parameters = [{"path": "w", "shape": [2, 2], "updates": [{"node": 2, "rates": [0]}] * 1000}]
    loaded, vectors = Circuit.from_json(circuit(nodes, parameters=parameters)), Vectors(Meter(10**8), lengths_only=True)
    terms = [Term(("param", 0), ONE, only_length(1), ((0,), (1,)), (only_length(2), only_length(2))) for _ in range(200)]
    with mock.patch("zkjax.protocol.states.Term", side_effect=AssertionError):
        with pytest.raises(VerificationError, match="205,011,200 of them for updates of parameters"):
            unroll(Hidden(vectors=vectors), Plan(loaded, 0, 1, (0,), loaded.coarse_widths, None), Claim(tuple(terms), ONE, None), 2)


def test_a_concatenation_of_many_parts():
    nodes = [node("input", index=0), *(node("concatenate", [0] * 2000, axis=1) for _ in range(50))]
    nodes += [node("rescale", [1 + i], shift=2, bits=3) for i in range(50)]
    refused(circuit(nodes, shape=(1, 1)), "field multiplications", 10**8)


@pytest.mark.parametrize("operation", [node("reshape", [0], shape=[9] * 10**5), node("const", shape=[9] * 10**5, values=[1])])
def test_shapes_of_very_many_axes(operation):
    """Their product is not computed."""
    with mock.patch(
        "zkjax.circuit.circuit.math.prod", lambda shape, real=climb.math.prod: real(shape) if len(shape) <= 8 else pytest.fail("long")
    ):
        with pytest.raises(FormatError, match="more than 8") as raised:
            Circuit.from_json(circuit([X, operation]))
    assert len(str(raised.value)) < 300


@pytest.mark.parametrize("log_row", [8, 16, 18, 20, 24])
def test_query_counts_of_absurd_budgets(log_row):
    """No power of more than some thousand factors is computed, whatever the budget."""

    def short(code, errors, queries, bits, real=zkjax.commitment.geometry._missed):
        assert queries < 2**13
        return real(code, errors, queries, bits)

    with mock.patch("zkjax.commitment.geometry._missed", short):
        row, outcomes = 1 << log_row, set()
        for q in range(1, 800, 7):
            budget = max(1, row // q)
            try:
                Geometry(log_row, 1, min(budget, row // 8), 128).check()
                outcomes.add("fits")
            except ConfigurationError:
                outcomes.add("refused")
        assert "refused" in outcomes


def test_samples_in_many_shards_are_gathered_at_once():
    """Equal to the definition; the number of passes over the samples read does not depend on the number of shards."""
    rng, batch, width = np.random.default_rng(0), FROZEN.batch_size, 4
    indices = rng.integers(0, 40, (6, batch))
    step, vector = (random_vector(rng, n) for n in (6, batch * width))
    passes = []
    for size in (40, 7, 1):
        plan = Plan(FROZEN, 0, 6, (0,) * 3, FROZEN.coarse_widths, Batches(indices, size, 40))
        with mock.patch("zkjax.protocol.plan.np.add") as add:
            add.at = mock.Mock(side_effect=_add_at)
            found = plan.scatter([Term(("input", 0), ONE, step, ((0, 1),), (vector,))])
            passes.append(add.at.call_count)
        for term in found:
            shard = term.key[1]
            for local in range(plan.batches.size(shard)):
                expected = tuple(np.zeros(width, dtype=np.uint64) for _ in range(2))
                for t, i in np.argwhere(indices == shard * size + local):
                    row = tuple(c.reshape(batch, width)[i] for c in vector)
                    expected = ext.add(expected, ext.mul(row, tuple(c[t : t + 1] for c in step)))
                for a, b in zip(term.vectors[0], expected, strict=True):
                    assert (a.reshape(-1, width)[local] == b).all()
    assert len(set(passes)) == 1


def _add_at(target, places, values, real=np.add.at):
    real(target, places, values)


def test_a_batch_joined_with_another_axis_over_many_samples():
    nodes = [X, node("reshape", [0], shape=[2**11]), node("rescale", [1], shift=2, bits=3)]
    loaded, statement = prepared(Recipe(circuit(nodes, shape=(2, 2**10)), samples=2**12, shard_size=2**12))
    named = r"for 4 samples read, of 4,096 in shards, with 1,024 weights each"
    for limits in ({"max_work": 10**7}, {"max_memory": 2**28}):
        with pytest.raises(VerificationError, match=f"^work: .* {named}"):
            zkjax.verify(loaded, Proof(statement, b""), **limits)


# ---- files ------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("load", [Circuit.load, Proof.load])
def test_files_that_are_no_ordinary_files(tmp_path, load):
    os.mkfifo(tmp_path / "pipe")
    with open(tmp_path / "sparse", "wb") as file:
        file.truncate(2**41)
    with open(tmp_path / "sparse proof", "wb") as file:
        file.write(MAGIC)
        file.truncate(2**41)
    for name in ("pipe", "sparse", "sparse proof"):
        with pytest.raises(FormatError):
            load(tmp_path / name)
    with pytest.raises(FormatError):
        load("/dev/zero")
    with pytest.raises(OSError, match=re.escape(str(tmp_path))):
        load(tmp_path)


def test_the_magic_comes_before_anything_else(tmp_path):
    with open(tmp_path / "other", "wb") as file:
        file.truncate(2**41)
    with pytest.raises(FormatError, match="not a zkjax proof"):
        Proof.load(tmp_path / "other")


def test_files_of_large_nets_load(tmp_path):
    """Long schedules and large constants, in a file as ``save`` writes it."""
    nodes = [X, node("rescale", [0], shift=2, bits=3), node("const", shape=[4096], values=[7] * 4096)]
    updates = [{"node": 1, "rates": [2**20 + 1] * 20_000}]
    content = circuit(nodes, parameters=[{"path": f"w{i}", "shape": [2, 2], "updates": updates} for i in range(3)]) | {"max_steps": 20_000}
    loaded = Circuit.from_json(content)
    loaded.save(tmp_path / "circuit.json")
    assert Circuit.load(tmp_path / "circuit.json") == loaded
    (tmp_path / "long.proof").write_bytes(bytes(dataclasses.replace(PROOF, body=bytes(2**23))))
    assert len(Proof.load(tmp_path / "long.proof").body) == 2**23
    assert Meter().kept == BASE
