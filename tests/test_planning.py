"""What training and proving will take: sizes against real proofs, seconds against given constants; never a machine's speed."""

import dataclasses
import importlib
import json
import math

import optax
import pytest
import tiny as tiny_nets
from harness import prove_small

import zkjax
from zkjax.__main__ import main
from zkjax.circuit.bounds import Longest
from zkjax.commitment.commit import members
from zkjax.commitment.geometry import CELLS_PER_BYTE, COLUMN_CELLS
from zkjax.errors import ConfigurationError, DataError, FormatError, RunError
from zkjax.planning import measure
from zkjax.planning.estimate import chunk_plan, renewals, sizes_of, span
from zkjax.planning.machine import BUILT_IN, Machine, Sizes
from zkjax.proofs.header import HEADER
from zkjax.prover.prove import fix_geometry, make_plan
from zkjax.training import steps as training
from zkjax.verifier import dry_run, estimate_work

SIZES = Sizes(
    step_work=1000,
    compiled=False,
    argument_work=200,
    verifying_work=300,
    log_lookups=15,
    leaves=4000,
    codes=50_000,
    memory=6000,
    verifying_memory=700,
    proof_bytes=80,
    shards=1,
    link_bytes=20,
)
MACHINE = Machine("two abaci", 1.0, 2.0, 3.0, 5.0, 7.0, 11.0, 13.0, 17.0, 18.0, 19.0, 23)


@pytest.fixture
def constants(tmp_path):
    """A file of constants with which seconds are easy to follow."""
    return MACHINE.save(tmp_path / "machine.json")


# ---- sizes ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [0, 1, 2])
def test_sizes_are_those_of_real_proofs(number, experiment):
    circuit, runs, proofs = tiny_nets.chain()
    run, proof = runs[number], proofs[number]
    sizes = sizes_of(make_plan(run), run.chain.geometry)
    plan, statement = make_plan(run), proof.statement
    assert sizes.leaves == plan.sites.layout.size and sizes.log_lookups == plan.sites.layout.num_vars
    assert sizes.step_work == run.steps * training.step_work(circuit) and not sizes.compiled
    assert 0.8 < sizes.proof_bytes / proof.nbytes < 1.25
    if statement.losses is None:  # nothing is revealed, as an estimate takes it
        work = estimate_work(circuit, [statement], None, None)
        assert (sizes.verifying_work, sizes.verifying_memory) == (work.work, work.memory)
        assert sizes.argument_work == dry_run(plan, None).vectors.meter.work
        log = experiment("hiding").messages(circuit, proof)
        before = sum(size for _, size in log[: [label for label, _ in log].index("row round")])
        rows = [part.rows for part in members(statement.opened())]
        rows.append(-(-plan.trace_layout(dry_run(plan, None).counts()).size // statement.geometry.row))
        told = sizes.proof_bytes - statement.geometry.opening_bytes(rows)
        assert abs(told - (HEADER + len(statement.canonical()) + before)) < 20 * 2 * len(circuit.parameters)  # digits of bounds


@pytest.mark.parametrize("shard_size", [None, 5])
def test_codewords_are_those_that_a_proof_encodes(shard_size, monkeypatch):
    """Of a chain's first proof, whose dataset has one shard or three, and of the next one."""
    circuit, run = tiny_nets.tiny_run(shard_size=shard_size, samples=15)
    commit = importlib.import_module("zkjax.commitment.commit")
    encoded, original = [], commit.encode_leaves

    def counted(polynomials, entries, log_code, *rest, **options):
        encoded.append((entries + COLUMN_CELLS) << log_code)
        return original(polynomials, entries, log_code, *rest, **options)

    monkeypatch.setattr(commit, "encode_leaves", counted)
    prove_small(circuit, run)
    assert sum(encoded) == sizes_of(make_plan(run), run.chain.geometry).codes
    encoded.clear()
    following = tiny_nets.next_run(circuit, run)
    prove_small(circuit, following)
    most = sizes_of(make_plan(following), run.chain.geometry).codes  # small shards are kept
    assert most / 2 < sum(encoded) <= most and (shard_size is not None or sum(encoded) == most)


def test_an_estimate_plans_what_is_then_proven(constants):
    """The plan of a run that has not been trained, with a momentum, whose first state is given."""
    circuit, run = tiny_nets.tiny_run(optimizer=optax.sgd(1 / 32, momentum=0.5), batch=3, steps=4, samples=12)
    plan, expected = chunk_plan(circuit, 0, 4, 12, 12), make_plan(run)
    assert plan.given and (plan.steps, plan.widths, plan.given) == (expected.steps, expected.widths, expected.given)
    assert plan.sites.layout == expected.sites.layout and plan.advice == expected.advice
    [part] = zkjax.estimate(circuit, 4, machine=constants).parts
    assert part.sizes.leaves == expected.sites.layout.size
    assert (part.cells, part.lookups) == (circuit.counts(4, plan.widths).cells, circuit.counts(4, plan.widths).lookups)


def test_a_chain_begins_for_time_or_for_bytes(constants, monkeypatch):
    """The geometry is that of the estimate, chosen where the chain begins; later runs, and what is saved, keep it."""
    monkeypatch.setitem(CELLS_PER_BYTE, "time", 1)  # so small a net gets the smallest proofs as it is
    circuit, run = tiny_nets.tiny_run(samples=16)
    params, data = tiny_nets.mlp_params(tiny_nets.DIMS), run.data
    found = {}
    for prefer in ("time", "bytes"):
        first = zkjax.train(circuit, params, data, steps=2, prefer=prefer)
        fix_geometry(first)
        found[prefer] = zkjax.estimate(circuit, 2, samples=16, prefer=prefer, machine=constants).largest_proof
        planned = sizes_of(make_plan(first), first.chain.geometry).proof_bytes
        assert abs(planned - found[prefer]) < 200  # digits of bounds
        assert tiny_nets.next_run(circuit, first).chain is first.chain
        with pytest.raises(RunError, match="chosen where it begins; leave prefer out"):
            zkjax.train(circuit, first, None, steps=2, prefer=prefer)
    assert found["bytes"] < found["time"]
    with pytest.raises(ConfigurationError, match="prefer is 'both'"):
        zkjax.train(circuit, params, data, steps=2, prefer="both")


# ---- seconds --------------------------------------------------------------------------------------------------


def test_seconds_of_given_constants():
    assert MACHINE.training_seconds(SIZES) == 2001 and MACHINE.training_seconds(dataclasses.replace(SIZES, compiled=True)) == 3001
    assert MACHINE.proving_seconds(SIZES) == 5 + 7 * 50_000 + 11 * 200 + 13 * 4000
    assert MACHINE.verifying_seconds(SIZES) == 17 * 300
    compiling = [MACHINE.compiling_seconds(dataclasses.replace(SIZES, log_lookups=n)) for n in (3, 12, 15, 21, 30)]
    assert compiling == [18 + 19, 18 + 19, 18 + 19 * 3**4, 18 + 19 * 9**4, 18 + 19 * 9**4]


def test_a_chain_is_the_sum_of_its_chunks(constants):
    circuit, _ = tiny_nets.tiny_run()
    found = zkjax.estimate(circuit, 10, chunk=4, samples=12, machine=constants)
    assert [(x.count, x.steps, x.first, x.renews) for x in found.parts] == [
        (1, 3, True, False),
        (1, 3, False, False),
        (1, 4, False, False),
    ]
    assert (found.steps, found.proofs, found.machine) == (10, 3, MACHINE)
    for name, value in (
        ("training", MACHINE.training_seconds),
        ("proving", MACHINE.proving_seconds),
        ("verifying", MACHINE.verifying_seconds),
    ):
        assert getattr(found, f"{name}_seconds") == pytest.approx(sum(value(x.sizes) for x in found.parts))
    assert found.compiling_seconds == max(MACHINE.compiling_seconds(x.sizes) for x in found.parts)
    assert found.seconds == found.training_seconds + found.proving_seconds + found.compiling_seconds
    assert found.memory_bytes == 23 + max(x.sizes.memory for x in found.parts)
    assert found.proof_bytes == sum(x.sizes.proof_bytes for x in found.parts)
    assert found.largest_proof == max(x.sizes.proof_bytes for x in found.parts)
    assert zkjax.estimate(circuit, 40, chunk=4, samples=12, machine=constants).parts[1].count == 9
    assert zkjax.estimate(circuit, 4, machine=constants).proofs == 1


def test_chunks_that_renew_their_bounds(monkeypatch, constants):
    """Where bounds hold for seven steps, the third of four chunks of three range-checks its weights, and the fifth."""
    circuit, _ = tiny_nets.tiny_run()
    monkeypatch.setattr(type(circuit), "longest_chain", lambda self, initial, first_step: Longest(7, "", ""))
    assert renewals(circuit, [3, 6, 9, 12, 15]) == {6, 12} and renewals(circuit, [7, 14, 15]) == {7, 14}
    found = zkjax.estimate(circuit, 15, chunk=3, samples=12, machine=constants)
    assert [(x.count, x.first, x.renews) for x in found.parts] == [(1, True, False), (2, False, False), (2, False, True)]
    _, plain, renewing = found.parts
    cells, lookups = circuit.range_check(circuit.renewing_widths)
    assert renewing.cells - plain.cells == cells > 0
    assert lookups <= renewing.lookups - plain.lookups <= 2 * lookups  # some twice, in tables of others
    assert renewing.sizes.leaves > plain.sizes.leaves and "renews bounds" in str(found)
    monkeypatch.setattr(type(circuit), "longest_chain", lambda self, initial, first_step: Longest(None, "", ""))
    assert renewals(circuit, [3, 6, 9]) == set()


def test_what_people_are_shown(constants, monkeypatch, tmp_path):
    circuit, _ = tiny_nets.tiny_run()
    text = str(zkjax.estimate(circuit, 6, chunk=2, machine=constants))
    assert "6 steps in 3 proofs" in text and "two abaci" in text and "built-in" not in text
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "nothing"))
    assert "`python -m zkjax measure`" in str(zkjax.estimate(circuit, 1))
    assert [span(x) for x in (0.0123, 1.5, 119.0, 150.0, 8000.0, 200_000.0)] == [
        "12.3 ms",
        "1.5 s",
        "119.0 s",
        "2.5 min",
        "2.2 h",
        "2.3 days",
    ]


def test_what_cannot_be_estimated(constants):
    circuit, _ = tiny_nets.tiny_run()
    for error, arguments in (
        (DataError, {"steps": 0}),
        (DataError, {"steps": 2, "chunk": 0}),
        (DataError, {"steps": 2, "samples": 2}),
        (ConfigurationError, {"steps": 2**16 + 1}),
        (ConfigurationError, {"steps": 2, "prefer": "both"}),
    ):
        with pytest.raises(error):
            zkjax.estimate(circuit, machine=constants, **arguments)
    with pytest.raises(ConfigurationError, match="zkjax.Circuit"):
        zkjax.estimate("circuit.json", 2)


# ---- constants ------------------------------------------------------------------------------------------------


def test_constants_are_kept_in_the_users_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert Machine.load() == BUILT_IN
    assert MACHINE.save() == tmp_path / "zkjax" / "machine.json" and Machine.load() == MACHINE
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert Machine.load() == BUILT_IN and MACHINE.save() == tmp_path / "home/.cache/zkjax/machine.json"


def test_files_that_hold_no_constants(tmp_path):
    good = dataclasses.asdict(MACHINE)
    bad = ["", "[]", "{", json.dumps(good | {"codes": -1.0}), json.dumps(good | {"codes": True}), json.dumps(good | {"name": 3})]
    bad += [
        json.dumps(good | {"more": 1}),
        json.dumps({k: v for k, v in good.items() if k != "proof"}),
        json.dumps(good | {"proof": math.inf}),
    ]
    for content in bad:
        (tmp_path / "machine.json").write_text(content)
        with pytest.raises(FormatError, match="measure"):
            Machine.load(tmp_path / "machine.json")


def test_least_relative_errors():
    rows = [(1, 10.0), (1, 2000.0), (1, 40.0)]
    assert measure.least(rows, [3 + 0.5 * x for _, x in rows]) == pytest.approx([3, 0.5])
    assert measure.least([(1, 1.0), (1, 2.0), (1, 4.0)], [0.5, 1.5, 3.5])[0] == 0  # where the best constant would be negative
    [one] = measure.least([(1.0,), (1000.0,)], [1.1, 900.0])
    assert 0.9 < one < 1.1  # of each by its own size


def test_constants_follow_from_what_was_measured():
    """Seconds that a machine with these constants would take lead back to them."""
    found = []
    for k, compiled in enumerate((False, True, False, True)):
        sizes = dataclasses.replace(
            SIZES,
            step_work=1000 * (k + 1),
            codes=10**k,
            leaves=7 * 5**k,
            argument_work=100 + 10 * k * k,
            compiled=compiled,
            log_lookups=14 + k,
        )
        argument = MACHINE.argument * sizes.argument_work + MACHINE.lookups * sizes.leaves
        codes = MACHINE.proving_seconds(sizes) - argument
        seconds = MACHINE.training_seconds(sizes), codes, argument, MACHINE.verifying_seconds(sizes)
        compiled_before = MACHINE.compiling_seconds(found[-1].sizes) if found else 0
        found.append(measure.Measured(sizes, *seconds, cold=MACHINE.compiling_seconds(sizes) - compiled_before))
    again = measure.fitted(found, "two abaci", 23)
    assert dataclasses.astuple(again)[1:] == pytest.approx(dataclasses.astuple(MACHINE)[1:])
    assert again.name == MACHINE.name


def test_the_command_measures_and_keeps_constants(monkeypatch, tmp_path, capsys):
    """With two tiny nets, one of whose trainings is compiled: constants are positive, and an estimate uses them."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("JAX_ENABLE_COMPILATION_CACHE", "true")  # which the command changes
    limit = 3 * 10**5
    for module in (training, importlib.import_module("zkjax.planning.estimate")):
        monkeypatch.setattr(module, "UNCOMPILED", limit)
    nets = (((3, 4, 2), 3, 1), ((4, 5, 5, 3), 4, 3))
    monkeypatch.setattr(measure, "measure", lambda say, original=measure.measure: original(say, nets))
    assert main(["measure"]) == 0
    told = capsys.readouterr().out
    assert "3-4-2, batch 3" in told and str(tmp_path / "zkjax" / "machine.json") in told
    found = Machine.load()
    assert found.name and all(x > 0 for x in (found.stepping, found.compiled, found.verifying))
    circuit, _ = tiny_nets.tiny_run()
    assert "measured on" in str(zkjax.estimate(circuit, 2))
    monkeypatch.setattr(measure, "measure", lambda say: (_ for _ in ()).throw(DataError("no memory is left")))
    assert main(["measure"]) == 2 and "no memory is left" in capsys.readouterr().err
