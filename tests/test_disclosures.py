"""Disclosures: published weights and data that are those behind the commitments, and lies, each refused by the check that should."""

import dataclasses
import hashlib
import json
import random
import struct
import sys
from fractions import Fraction
from functools import cache

import moving
import numpy as np
import pytest
from harness import BITS, SMALL, data_for, prove_small, verify_small
from tiny import DIMS, next_run, tiny_run

import zkjax
from zkjax.__main__ import main
from zkjax.algebra import extension as ext
from zkjax.algebra.extension import Ext
from zkjax.algebra.field import P
from zkjax.algebra.layout import Layout
from zkjax.algebra.poly import eq_vector, evaluate, num_bits
from zkjax.commitment.commit import commit
from zkjax.commitment.dataset import dataset_root
from zkjax.commitment.geometry import Geometry
from zkjax.commitment.recompute import recompute_work, recomputed_root
from zkjax.errors import BudgetError, ConfigurationError, FormatError, RunError, UnsatisfiedWitnessError, VerificationError
from zkjax.kernels.threads import scope
from zkjax.proofs.disclosed import check_disclosed, rows_of
from zkjax.proofs.disclosure import MAGIC, Disclosure, Item
from zkjax.proofs.model import EXACT, Model, as_float32
from zkjax.protocol import disclosure as protocol
from zkjax.prover import disclose as prover
from zkjax.prover.lanes import cell_lanes
from zkjax.training.saved import FILES
from zkjax.work import Meter


@cache
def chain():
    """(circuit, two runs, their proofs) on three shards."""
    circuit, first = tiny_run(shard_size=5)
    second = next_run(circuit, first)
    return circuit, (first, second), [prove_small(circuit, run) for run in (first, second)]


@cache
def with_states():
    """(circuit, two runs, their proofs) of a circuit that keeps states beside its parameters, one of which is frozen."""
    circuit = moving.moving(frozen=True)
    params, data = moving.start(frozen=True)
    first = zkjax.train(circuit, params, data, steps=2)
    first.chain.geometry = SMALL
    second = next_run(circuit, first)
    return circuit, (first, second), [prove_small(circuit, run) for run in (first, second)]


def disclose(run, what, **options):
    found = zkjax.disclose(run, what, **{"minimum_bits": BITS, "update": True} | options)
    return Disclosure.parse(bytes(found))


@cache
def disclosed(of, run, what):
    """What is disclosed of a run, with the model where there is one. of: ``chain`` or ``with_states``."""
    return disclose(of()[1][run], what)


def model_of(run, what="parameters"):
    """As its file would be read."""
    arrays, step = (run.final, run.first_step + run.steps) if what == "parameters" else (run.initial, run.first_step)
    own = [(x.path, p) for p, x in enumerate(run.circuit.parameters) if x.given is None]
    units = {path: run.circuit.unit(p) for path, p in own}
    return Model(run.circuit.digest(), step, {path: arrays[p].copy() for path, p in own}, units)


def refused(check, circuit, proofs, match=None, **options):
    with pytest.raises(VerificationError, match=match) as caught:
        verify_small(circuit, proofs, **options)
    assert caught.value.check == check, caught.value


# ---- roots from seeds -----------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "geometry, rows, budget",
    [(SMALL, 1, 4), (SMALL, 3, 1), (Geometry(6, 2, 4, level_bits=1), 9, 2), (Geometry(12, 1, 2, level_bits=20), 17, 2)],
)
def test_a_root_follows_from_rows_and_seed(geometry, rows, budget):
    """The prover's kernels and NumPy alone; the last geometry has columns enough for compiled ones."""
    rng = np.random.default_rng(0)
    matrix = rng.integers(0, P, (rows, geometry.row), dtype=np.uint64)
    with scope():
        committed = commit(matrix, kind="weights", number=3, budget=budget, geometry=geometry, seed=bytes(range(32)))
    seed, commitment = committed.parts[0].seed, committed.commitment
    assert recomputed_root(matrix, commitment, geometry, seed) == commitment.root
    for changed in (
        dataclasses.replace(commitment, number=4),
        dataclasses.replace(commitment, kind="shard", parts=(commitment.parts[0]._replace(name="cells"),)),
        dataclasses.replace(commitment, parts=(commitment.parts[0]._replace(budget=budget % geometry.max_budget + 1),)),
    ):
        assert recomputed_root(matrix, changed, geometry, seed) != commitment.root
    assert recomputed_root(matrix, commitment, geometry, bytes(range(32))) != commitment.root
    matrix[-1, -1] ^= 1
    assert recomputed_root(matrix, commitment, geometry, seed) != commitment.root


def test_a_seed_says_nothing_of_others():
    """A disclosure holds no secret that anything else follows from: not those that a saved run keeps, no other part's."""
    circuit, runs, _ = chain()
    keys = [run.keys[i].seed for run in runs for i in range(2)] + [runs[0].chain.data.seed]
    keys += [runs[0].chain.secret(name) for name in (FILES, "chain", "shard 0", "shard 1", "shard 2", "frozen 0")]
    found = [disclosed(chain, 1, "parameters"), disclosed(chain, 0, "initial"), disclosed(chain, 0, "dataset")]
    found += [disclosed(with_states, 1, "parameters"), disclosed(with_states, 0, "initial")]
    keys += [run.keys[i].seed for run in with_states()[1] for i in range(2)] + [with_states()[1][0].chain.data.seed]
    seeds = [item.seed for x in found for item in x.items if item.seed is not None]
    assert len(seeds) == 8 and len(set(seeds)) == 7  # frozen weights are in two of them
    assert not set(seeds) & set(keys)
    assert not any(key.hex().encode() in bytes(x) or key in bytes(x) for key in keys for x in found)
    assert [item.seed for item in disclosed(chain, 1, 2).items] == [disclosed(chain, 0, "dataset").items[2].seed]


# ---- honest disclosures ---------------------------------------------------------------------------------------------
def test_models():
    circuit, (first, second), proofs = chain()
    last, initial = disclosed(chain, 1, "parameters"), disclosed(chain, 0, "initial")
    assert [item.commitment for item in last.items] == [proofs[1].statement.final] and not last.body
    options = {"model": model_of(second), "initial_model": model_of(first, "initial"), "disclosures": [initial, last]}
    assert verify_small(circuit, proofs, **options) == [p.statement for p in proofs]
    verify_small(circuit, proofs[1], model=model_of(second), disclosures=[last], assume_bound=True)
    middle = disclosed(chain, 0, "parameters")
    verify_small(circuit, proofs[0], model=model_of(first), disclosures=[middle])
    verify_small(circuit, proofs[1], initial_model=model_of(second, "initial"), disclosures=[middle], assume_bound=True)
    refused("disclosure", circuit, proofs, model=model_of(second), disclosures=[middle])


def test_models_beside_an_optimizers_states():
    """Parameters at a point, frozen ones by their seed; where the chain begins the commitment has one part."""
    circuit, (first, second), proofs = with_states()
    last, initial = disclosed(with_states, 1, "parameters"), disclosed(with_states, 0, "initial")
    assert [item.seed is None for item in last.items] == [True, False] and [item.seed is None for item in initial.items] == [False, False]
    options = {"model": model_of(second), "initial_model": model_of(first, "initial"), "disclosures": [last, initial]}
    verify_small(circuit, proofs, **options)
    with pytest.raises(BudgetError, match="zkjax.link"):  # both proofs have opened them
        disclose(first, "parameters")
    linked = zkjax.link(second, ["initial"], minimum_bits=BITS)
    middle = disclose(second, "initial")
    verify_small(circuit, [proofs[0], linked], model=model_of(first), disclosures=[middle])
    refused("disclosure", circuit, proofs[0], model=model_of(first), disclosures=[middle])
    options = {"initial_model": model_of(second, "initial"), "assume_bound": True}
    verify_small(circuit, [proofs[1], linked], disclosures=[middle], **options)


def test_data():
    circuit, _, proofs = chain()
    data, statements = data_for(DIMS), [p.statement for p in proofs]
    whole, one = disclosed(chain, 0, "dataset"), disclosed(chain, 1, 2)
    assert check_disclosed(circuit, statements, [whole], data=data) == whole and whole.whole
    assert check_disclosed(circuit, statements, [one], data=tuple(x[10:] for x in data)) == one and not one.whole
    assert check_disclosed(circuit, statements, [one, whole], data=tuple(x[10:] for x in data)) == one
    verify_small(circuit, proofs, data=data, disclosures=[whole])
    nearly = tuple(x + np.float32(2**-20) for x in data)  # whatever is rounded to the same integers
    verify_small(circuit, proofs, data=tuple(x.astype(np.float64) for x in nearly), disclosures=[whole])


def test_they_hold_whatever_has_replaced_commitments():
    """By a seed the first commitments, at a point the present ones; links among the proofs say that they are the same."""
    circuit, first = tiny_run(shard_size=5)
    linked = zkjax.link(first, minimum_bits=BITS)
    proof, data = prove_small(circuit, first), data_for(DIMS)
    options = {"model": model_of(first), "data": data, "disclosures": [disclose(first, "parameters"), disclose(first, "dataset")]}
    verify_small(circuit, [proof, linked], **options)
    refused("disclosure", circuit, proof, **options)
    circuit, (first, _), _ = with_states()
    run = zkjax.train(circuit, *moving.start(frozen=True), steps=2)
    run.chain.geometry = SMALL
    linked = [zkjax.link(run, ["final"], minimum_bits=BITS) for _ in range(2)]
    found = disclose(run, "parameters")
    assert found.items[0].commitment == linked[1].statement.fresh[0]
    proof = prove_small(circuit, run)
    verify_small(circuit, [proof, *linked], model=model_of(run), disclosures=[found])
    verify_small(circuit, [proof, linked[1]], model=model_of(run), disclosures=[found])


# ---- lies -----------------------------------------------------------------------------------------------------------
def altered(model, path, change, place=-1):
    """Another model, whose file is in order: its floats and its digest are those of its integers."""
    integers = {name: x.copy() for name, x in model.integers.items()}
    integers[path].flat[place] += change
    return dataclasses.replace(model, integers=integers)


def test_another_model():
    """One weight off by one unit in the last place."""
    for of, paths in ((chain, ("0/b", "1/w")), (with_states, ("w", "v"))):
        circuit, (first, second), proofs = of()
        found = disclosed(of, 1, "parameters")
        for path in paths:
            for change in (1, -1):
                refused("model", circuit, proofs, model=altered(model_of(second), path, change), disclosures=[found])
    circuit, (first, second), proofs = with_states()
    shift = proofs[0].statement.shifts[4]
    assert shift > 0
    found, frozen = disclosed(with_states, 1, "parameters"), 1 << shift
    refused("model", circuit, proofs, match="multiple of", model=altered(model_of(second), "f", 1), disclosures=[found])
    refused("model", circuit, proofs, match="do not lead", model=altered(model_of(second), "f", frozen), disclosures=[found])


def test_a_model_of_something_else():
    circuit, (first, second), proofs = chain()
    found, model = disclosed(chain, 1, "parameters"), model_of(second)
    cases = {
        "circuit": dataclasses.replace(model, circuit=bytes(32)),
        "step": dataclasses.replace(model, step=model.step - 1),
        "shape or unit": dataclasses.replace(model, units={**model.units, "0/b": model.units["0/b"] / 2}),
        "it holds": dataclasses.replace(model, integers={**model.integers, "2/b": model.integers["0/b"]}),
        "do not lead": dataclasses.replace(model_of(first), step=model.step),
    }
    cases["or unit"] = dataclasses.replace(model, integers={**model.integers, "0/b": model.integers["0/b"][:1]})
    for match, lie in cases.items():
        refused("model", circuit, proofs, match=match, model=lie, disclosures=[found])
    for beyond in (P - 1 - 2**62, 2**62, -(2**62) - 1):  # some have the residues of others
        lie = altered(model, "0/b", 0)
        lie.integers["0/b"][0] = np.int64(beyond - 2**64 if beyond >= 2**63 else beyond)
        refused("model", circuit, proofs, match="62 bits", model=lie, disclosures=[found])


def test_other_data():
    """One label, one sample less, another order."""
    circuit, _, proofs = chain()
    found, (x, y) = disclosed(chain, 0, "dataset"), data_for(DIMS)
    other = y.copy()
    other[7, 1] += 1 / 4
    refused("data", circuit, proofs, match="shard 1", data=(x, other), disclosures=[found])
    other = x.copy()
    other[11, 0] = np.inf
    refused("data", circuit, proofs, match="not finite", data=(other, y), disclosures=[found])
    refused("data", circuit, proofs, match="outside", data=(x * 10**6, y), disclosures=[found])
    refused("data", circuit, proofs, match="11 samples", data=(x[:11], y[:11]), disclosures=[found])
    refused("data", circuit, proofs, match="has 11 samples", data=(x, y[:11]), disclosures=[found])
    refused("data", circuit, proofs, match="do not lead", data=(x[::-1], y[::-1]), disclosures=[found])
    refused("data", circuit, proofs, match="shape", data=(y, x), disclosures=[found])
    refused("data", circuit, proofs, match="1 arrays", data=(x,), disclosures=[found])
    refused("data", circuit, proofs, match="dtype", data=(x.astype(np.complex64), y), disclosures=[found])
    refused("data", circuit, proofs, match="dtype", data=(x.astype(">f4"), y), disclosures=[found])
    refused("data", circuit, proofs, data=(x[5:10], y[5:10]), disclosures=[disclosed(chain, 1, 2)])


def test_disclosures_of_another_chain():
    """Of the same arrays, even: their commitments are others."""
    circuit, (first, _), proofs = chain()
    _, run = tiny_run(shard_size=5)
    assert all(np.array_equal(a, b) for a, b in zip(run.final, first.final))
    refused("disclosure", circuit, proofs[0], model=model_of(first), disclosures=[disclose(run, "parameters")])
    refused("disclosure", circuit, proofs, data=data_for(DIMS), disclosures=[disclose(run, "dataset")])
    for wrong in ("dataset", "initial"):
        refused("disclosure", circuit, proofs[0], model=model_of(first), disclosures=[disclosed(chain, 0, wrong)])
    refused("disclosure", circuit, proofs, data=data_for(DIMS), disclosures=[disclosed(chain, 1, "parameters")])
    circuit, (_, second), proofs = with_states()
    found = disclosed(with_states, 1, "parameters")
    alone = dataclasses.replace(found, items=found.items[:1])
    refused("disclosure", circuit, proofs, match="frozen", model=model_of(second), disclosures=[alone])


def with_items(disclosure, *items):
    return dataclasses.replace(disclosure, items=items)


def test_commitments_that_no_proof_names():
    """The liar commits to what he likes, and says of that commitment all that is true."""
    circuit, (_, second), proofs = chain()
    found, model = disclosed(chain, 1, "parameters"), altered(model_of(second), "0/b", 1)
    (item,), rows = found.items, np.zeros((1, SMALL.row), dtype=np.uint64)
    with scope():
        own = commit(rows, kind="weights", number=4, budget=4, geometry=SMALL, seed=bytes(32))
    refused("disclosure", circuit, proofs, model=model, disclosures=[with_items(found, Item(own.commitment, own.parts[0].seed))])
    other = dataclasses.replace(item.commitment, root=own.commitment.root)
    refused("disclosure", circuit, proofs, model=model, disclosures=[with_items(found, Item(other, own.parts[0].seed))])
    refused("model", circuit, proofs, model=model_of(second), disclosures=[with_items(found, item._replace(seed=bytes(32)))])
    refused("disclosure", circuit, proofs, model=model_of(second), disclosures=[dataclasses.replace(found, geometry=Geometry(10, 2, 4))])
    data, whole = data_for(DIMS), disclosed(chain, 0, "dataset")
    with scope():
        shard = commit(rows, kind="shard", number=1, budget=4, geometry=SMALL, seed=bytes(32))
    lie = with_items(whole, whole.items[0], Item(shard.commitment, shard.parts[0].seed), whole.items[2])
    refused("disclosure", circuit, proofs, data=data, disclosures=[lie])
    refused("disclosure", circuit, proofs, data=data, disclosures=[dataclasses.replace(whole, dataset=whole.dataset._replace(siblings=()))])
    for samples, size in ((13, 5), (11, 5), (12, 4)):
        lie = dataclasses.replace(whole, dataset=whole.dataset._replace(samples=samples, shard_size=size))
        refused("disclosure", circuit, proofs, data=data, disclosures=[lie])


def test_shards_that_no_proof_reads():
    """Their commitments stand in the dataset's root alone: sizes and budgets are what a disclosure says, and are checked there."""
    circuit, (run, _), proofs = chain()
    whole, data = disclosed(chain, 0, "dataset"), data_for(DIMS)
    for change in ({"rows": 2}, {"budget": 5}, {"budget": 9}):
        items = list(whole.items)
        commitment = items[1].commitment
        parts = (commitment.parts[0]._replace(**change),)
        items[1] = items[1]._replace(commitment=dataclasses.replace(commitment, parts=parts))
        root, _ = dataset_root([x.commitment.digest(SMALL) for x in items], [0, 1, 2], 12, 5)
        statement = dataclasses.replace(proofs[0].statement, dataset=root, dataset_after=root)
        with pytest.raises(VerificationError) as caught:
            check_disclosed(circuit, [statement], [with_items(whole, *items)], data=data)
        assert caught.value.check in ("commitment to shard 1", "data")
        assert (caught.value.check == "data") == ("budget" in change and change["budget"] <= SMALL.max_budget)


# ---- at a point -----------------------------------------------------------------------------------------------------
def of_arrays(found, model, circuit):
    """A disclosure at a point that says it is about the model's arrays; and these as what is public, at the beginning of the stack."""
    own = {x.path: p for p, x in enumerate(circuit.parameters)}
    layout = Layout({p: circuit.parameters[p].shape for p in circuit.held["parameters"]})
    rows = rows_of(layout, {own[path]: x for path, x in model.integers.items()}, 1, SMALL.row)
    return dataclasses.replace(found, arrays=hashlib.sha256(rows.tobytes()).digest()), [(0, rows)]


def test_other_arrays_at_a_point():
    """The statement says which arrays it is about; a proof about others does not fit it."""
    circuit, (_, second), proofs = with_states()
    found, model = disclosed(with_states, 1, "parameters"), model_of(second)
    assert of_arrays(found, model, circuit)[0] == found
    lie = altered(model, "w", 1)
    refused("model", circuit, proofs, match="not the arrays", model=lie, disclosures=[found])
    about = of_arrays(found, lie, circuit)[0]
    with pytest.raises((VerificationError, FormatError)) as caught:
        verify_small(circuit, proofs, model=lie, disclosures=[about])
    assert getattr(caught.value, "check", "format") in ("mask", "opening", "Merkle path", "format")
    for body in (b"", found.body[:-1], found.body + b"\0"):
        with pytest.raises(FormatError):
            verify_small(circuit, proofs, model=model, disclosures=[dataclasses.replace(found, body=body)])
    with pytest.raises(VerificationError) as caught:
        check_disclosed(circuit, [p.statement for p in proofs], [found], model=model, minimum_bits=100)
    assert caught.value.check == "security"


def about(monkeypatch, lie, value=None):
    """A disclosure of honest commitments that says it is about another model's arrays. value: of the claim at the point."""
    circuit, (_, second), _ = with_states()
    claimed, rows = of_arrays(disclosed(with_states, 1, "parameters"), lie, circuit)
    honest = protocol.Point.value
    with monkeypatch.context() as patch:
        patch.setattr(second.chain.openings, "spent", {})
        patch.setattr(prover, "digest_of_cells", lambda _: claimed.arrays)
        if value == "claimed":
            patch.setattr(protocol.Point, "value", lambda self, _: honest(self, rows))
        return disclose(second, "parameters", verify=False)


def test_a_prover_that_claims_other_arrays(monkeypatch):
    """Everything as an honest prover does it, but for the arrays: refused, and accepted where their value is not computed."""
    circuit, (_, second), proofs = with_states()
    lie = altered(model_of(second), "w", 1)
    refused("opening", circuit, proofs, model=lie, disclosures=[about(monkeypatch, lie, "claimed")])
    with monkeypatch.context() as patch, pytest.raises(UnsatisfiedWitnessError, match="VerificationError"):
        patch.setattr(second.chain.openings, "spent", {})
        patch.setattr(prover, "cell_lanes", lambda point, *cells: cell_lanes(protocol.Point(point.high, point.low[::-1]), *cells))
        disclose(second, "parameters")
    found, rows = about(monkeypatch, lie), of_arrays(disclosed(with_states, 1, "parameters"), model_of(second), circuit)[1]
    honest = protocol.Point.value
    monkeypatch.setattr(protocol.Point, "value", lambda self, _: honest(self, rows))
    verify_small(circuit, proofs, model=lie, disclosures=[found])


def test_a_point_that_is_known_before(monkeypatch):
    """Were it, other arrays would have the same value there."""
    circuit, (_, second), proofs = with_states()
    point = protocol.Point([], [Ext(3 * i + 2, 0) for i in range(SMALL.log_row)])  # in F, as cells are
    model = model_of(second)
    honest = of_arrays(disclosed(with_states, 1, "parameters"), model, circuit)[1]
    cells = [
        int(np.flatnonzero(of_arrays(disclosed(with_states, 1, "parameters"), x, circuit)[1][0][1] - honest[0][1])[0])
        for x in (altered(model, "w", 1), altered(model, "w", 1, 0))
    ]
    weights = [int(eq_vector(point.low)[0][cell]) for cell in cells]
    ratio = -weights[0] * pow(weights[1], -1, P) % P
    first, second_change = next((i, signed) for i in range(1, 100) if abs(signed := (ratio * i + P // 2) % P - P // 2) < 2**61)
    lie = altered(altered(model, "w", first), "w", second_change, 0)
    rows = of_arrays(disclosed(with_states, 1, "parameters"), lie, circuit)[1]
    assert point.value(rows) == point.value(honest)
    refused("opening", circuit, proofs, model=lie, disclosures=[about(monkeypatch, lie, "claimed")])
    monkeypatch.setattr(protocol.Point, "draw", lambda transcript, row_variables, log_row: point)
    verify_small(circuit, proofs, model=lie, disclosures=[about(monkeypatch, lie)])


@pytest.mark.parametrize("rows", [1, 3, 4])
def test_values_at_a_point_are_extensions(rows):
    rng = np.random.default_rng(rows)
    matrix = rng.integers(0, P, (rows, 8), dtype=np.uint64)
    variables = [Ext(int(a), int(b)) for a, b in rng.integers(0, 2**62, (num_bits(rows) + 3, 2))]
    point = protocol.Point(variables[:-3], variables[-3:])
    cells = np.zeros((1 << num_bits(rows), 8), dtype=np.uint64)
    cells[:rows] = matrix
    assert point.value([(0, matrix)]) == evaluate(ext.from_base(cells.reshape(-1)), variables)


# ---- what is spent, and what is told --------------------------------------------------------------------------------
def test_an_opening_of_the_parameters_alone_is_spent():
    circuit = moving.moving()
    run = zkjax.train(circuit, *moving.start(), steps=2)
    run.chain.geometry = SMALL
    name, spent = run.keys[1].name, run.chain.openings.spent
    disclose(run, "initial")
    assert not spent
    for count in (1, 2):
        disclose(run, "parameters")
        assert spent == {f"{name} 2 parameters": count}
    with pytest.raises(BudgetError, match="zkjax.link"):  # two are left: for a proof that replaces it, and one more
        disclose(run, "parameters")
    assert spent == {f"{name} 2 parameters": 2}
    prove_small(circuit, run)
    with pytest.raises(ConfigurationError, match="bits"):
        zkjax.disclose(run, "parameters", update=True)
    circuit, (run, _), _ = chain()
    before = dict(run.chain.openings.spent)
    disclose(run, "parameters")
    disclose(run, "dataset")
    assert run.chain.openings.spent == before


def test_second_weights_are_refused_unless_told(tmp_path):
    """Consecutive or not, whoever has both has the update between them; and a saved chain remembers."""
    circuit, run = tiny_run(shard_size=5)
    later = next_run(circuit, run)
    disclose(run, "parameters", update=False)
    disclose(later, "initial", update=False)  # the same weights
    disclose(run, "dataset", update=False)
    for other, what in ((run, "initial"), (later, "parameters")):
        with pytest.raises(ConfigurationError, match="those after 2 steps.*update=True"):
            disclose(other, what, update=False)
    later.save(tmp_path)
    loaded = zkjax.Run.load(tmp_path)
    with pytest.raises(ConfigurationError, match="after 2 steps; with those after 4"):
        disclose(loaded, "parameters", update=False)
    disclose(loaded, "parameters")
    with pytest.raises(ConfigurationError, match="after 2, 4 steps"):
        disclose(run, "initial", update=False)


def test_misuse(tmp_path):
    circuit, (first, second), proofs = chain()
    for what in ("weights", "shard 1", -1, 3, True, None, 1.0):
        with pytest.raises(ConfigurationError, match="give 'parameters'"):
            zkjax.disclose(second, what)
    with pytest.raises(RunError, match="give a zkjax.Run"):
        zkjax.disclose(circuit, "parameters")
    with pytest.raises(ConfigurationError, match="give 'parameters'"):
        second.save_model(tmp_path / "m", "dataset")
    found, model = disclosed(chain, 1, "parameters"), model_of(second)
    for options in (
        {"model": model},
        {"disclosures": [found]},
        {"model": "m.safetensors", "disclosures": [found]},
        {"initial_model": model.integers, "disclosures": [found]},
        {"model": model, "disclosures": found},
        {"model": model, "disclosures": [bytes(found)]},
        {"data": np.zeros(3), "disclosures": [found]},
        {"data": ([1.0],), "disclosures": [found]},
    ):
        with pytest.raises(ConfigurationError, match="give"):
            verify_small(circuit, proofs, **options)
    altered_run = dataclasses.replace(second)
    altered_run.final[0].flat[0] += 1
    try:
        with pytest.raises(RunError, match="changed in place"):
            zkjax.disclose(second, "parameters")
        with pytest.raises(RunError, match="changed in place"):
            second.save_model(tmp_path / "m")
    finally:
        altered_run.final[0].flat[0] -= 1


def test_work_is_limited():
    circuit, (_, second), proofs = chain()
    statements, found = [p.statement for p in proofs], disclosed(chain, 1, "parameters")
    meter = Meter()
    recompute_work(1, 4, SMALL, meter)
    for name in ("max_work", "max_memory"):
        with pytest.raises(VerificationError, match="limit") as caught:
            check_disclosed(
                circuit, statements, [found], model=model_of(second), **{name: meter.work // 8 if name == "max_work" else 2**20}
            )
        assert caught.value.check == "work"
    check_disclosed(circuit, statements, [found], model=model_of(second), max_work=2 * meter.work, max_memory=2**28)


# ---- files ----------------------------------------------------------------------------------------------------------
def test_files(tmp_path):
    for found in (disclosed(chain, 0, "dataset"), disclosed(chain, 1, 2), disclosed(with_states, 1, "parameters")):
        found.save(tmp_path / "x")
        assert Disclosure.load(tmp_path / "x") == found
        raw = bytes(found)
        for wrong in (b"", raw[:13], raw[:30], b"zkjaxprf" + raw[8:], raw[:8] + b"\2\0" + raw[10:], raw[:10] + b"\xff" * 4 + raw[14:]):
            with pytest.raises(FormatError):
                Disclosure.parse(wrong)
        assert str(found).startswith("Disclosure") and not any(x.seed and x.seed.hex() in repr(found) + str(found) for x in found.items)
    with pytest.raises(FormatError, match="bytes that prove"):
        Disclosure.parse(bytes(disclosed(chain, 1, 2)) + b"\0")


def changes(data):
    """Statements that are no disclosures."""
    items = data["items"]
    item = items[0]
    yield data | {"kind": "link"}
    yield {name: value for name, value in data.items() if name != "arrays"}
    yield data | {"items": []}
    yield data | {"items": [*items, item]}
    yield data | {"items": [item | {"seed": item["seed"][:-2]}]}
    yield data | {"items": [item | {"seed": item["seed"].upper() + "A"}]}
    yield data | {"items": [{"seed": item["seed"]}]}
    yield data | {"items": [item | {"commitment": item["commitment"] | {"masked": True}}]}
    for kind in ("trace", "stage", "noise", "level"):
        yield data | {
            "items": [item | {"commitment": item["commitment"] | {"kind": kind, "parts": [{"name": "cells", "rows": 1, "budget": 1}]}}]
        }
    yield data | {"arrays": "0" * 64}
    yield data | {"items": [item | {"seed": None}]}
    yield data | {"items": [item | {"seed": None}, *items[1:]], "arrays": "0" * 63}
    other = {"name": "other", "rows": 1, "budget": 1}
    if item["commitment"]["kind"] == "weights":
        yield data | {"items": [item | {"commitment": item["commitment"] | {"parts": [*item["commitment"]["parts"], other]}}]}
        yield data | {"items": [item | {"commitment": item["commitment"] | {"parts": [other]}}]}
        yield data | {"items": [item | {"commitment": item["commitment"] | {"parts": [other]}, "seed": None}], "arrays": "0" * 64}
        yield data | {"dataset": {"samples": 1, "shard_size": 1, "siblings": []}}
    else:
        yield data | {"items": items[::-1]}
        yield data | {"dataset": None}
        yield data | {"arrays": "0" * 64, "items": [item | {"seed": None}, *items[1:]]}
        for change in (
            {"samples": 0},
            {"samples": 2**32},
            {"shard_size": 0},
            {"samples": 10},
            {"siblings": ["0"]},
            {"siblings": None},
            {"x": 1},
        ):
            yield data | {"dataset": data["dataset"] | change}


@pytest.mark.parametrize("what", ["parameters", "dataset"])
def test_statements_that_are_none(what):
    found = disclosed(chain, 0, what)
    for wrong in changes(found.to_json()):
        raw = json.dumps(wrong, sort_keys=True, separators=(",", ":")).encode()
        with pytest.raises(FormatError, match="disclosure: "):
            Disclosure.parse(MAGIC + struct.pack("<HI", 1, len(raw)) + raw)
    raw = json.dumps(found.to_json()).encode()
    with pytest.raises(FormatError, match="canonical"):
        Disclosure.parse(MAGIC + struct.pack("<HI", 1, len(raw)) + raw)


def test_damaged_files_are_refused():
    """Any byte changed: no crash, and no model or data that pass."""
    rng = random.Random(3)
    for of, what in ((chain, "parameters"), (with_states, "parameters")):
        circuit, (_, second), proofs = of()
        raw, statements, model = bytes(disclosed(of, 1, what)), [p.statement for p in proofs], model_of(second)
        for _ in range(60):
            damaged = bytearray(raw)
            damaged[rng.randrange(len(raw))] ^= 1 << rng.randrange(8)
            with pytest.raises((FormatError, VerificationError)):
                check_disclosed(circuit, statements, [Disclosure.parse(bytes(damaged))], model=model, minimum_bits=BITS)


# ---- model files ----------------------------------------------------------------------------------------------------
safetensors = pytest.importorskip("safetensors.numpy")


def test_model_files(tmp_path):
    for of in (chain, with_states):
        circuit, (_, second), proofs = of()
        second.save_model(tmp_path / "m.safetensors")
        model = Model.load(tmp_path / "m.safetensors")
        assert model.digest() == model_of(second).digest() and (model.step, model.units) == (4, model_of(second).units)
        verify_small(circuit, proofs, model=model, disclosures=[disclosed(of, 1, "parameters")])
        tensors = safetensors.load_file(tmp_path / "m.safetensors")
        numbers = [p for p, x in enumerate(circuit.parameters) if x.given is None]
        assert set(tensors) == {name for p in numbers for name in (circuit.parameters[p].path, EXACT + circuit.parameters[p].path)}
        for p in numbers:
            x = circuit.parameters[p]
            values, exact = tensors[x.path], tensors[EXACT + x.path]
            assert values.dtype == np.float32 and exact.dtype == np.int64 and np.array_equal(exact, second.final[p])
            assert all(abs(Fraction(float(v)) - int(i) * x.unit) <= abs(int(i) * x.unit) / 2**23 for v, i in zip(values.flat, exact.flat))
    _, (_, second), _ = chain()
    second.save_model(tmp_path / "m.safetensors")
    tensors = safetensors.load_file(tmp_path / "m.safetensors")
    for i, layer in enumerate(second.params):
        for name, x in layer.items():
            assert x.dtype == np.float32 and np.array_equal(tensors[f"{i}/{name}"], x)


@pytest.mark.parametrize("unit", [Fraction(1, 2**20), Fraction(1, 3), Fraction(1, 2**140), Fraction(7, 5)])
def test_floats_are_rounded_three_times(unit):
    integers = np.array([0, 1, -1, 3, 2**24 + 1, 2**53 + 1, -(2**62), 2**62 - 1, 12345678901234567])
    found = as_float32(integers, unit)
    for i, value in zip(integers.tolist(), found.tolist()):
        wide = float(Fraction(float(i)) * Fraction(float(unit)))  # each rounded to nearest, ties to even
        assert value == float(np.float32(wide)) or not np.isfinite(value)


def test_model_files_that_are_none(tmp_path):
    _, (_, second), _ = chain()
    path = tmp_path / "m.safetensors"
    second.save_model(path)
    tensors, raw = safetensors.load_file(path), path.read_bytes()
    told = json.loads(json.loads(raw[8 : 8 + int.from_bytes(raw[:8], "little")])["__metadata__"]["zkjax"])

    def wrong(match, tensors=tensors, text=None, **change):
        metadata = {"zkjax": json.dumps(told | change) if text is None else text}
        safetensors.save_file(tensors, path, metadata=metadata)
        with pytest.raises(FormatError, match=match):
            Model.load(path)

    w = tensors["1/w"].copy()
    w.view(np.uint32).flat[0] += 1  # by one unit in the last place
    wrong("1/w is not what", {**tensors, "1/w": w})
    wrong("1/w is not what", {**tensors, "1/w": tensors["1/w"].astype(np.float64)})
    wrong("1/w is not what", {**tensors, "1/w": tensors["1/w"].reshape(-1)})
    x = tensors[EXACT + "1/w"].copy()
    x.flat[0] += 1
    wrong("another digest", {**tensors, EXACT + "1/w": x})
    wrong("is int32", {**tensors, EXACT + "1/w": x.astype(np.int32)})
    wrong("its tensors", {**tensors, "more": w})
    wrong("its tensors", {name: v for name, v in tensors.items() if name != "1/w"})
    wrong("no metadata", text="{")
    wrong("no metadata", text="[" * 10**5)
    wrong("no metadata", more=1)
    for name, values in {
        "format": (2, "1", True),
        "step": (-1, 1.0, 2**63),
        "circuit": ("0", 5, "g" * 64),
        "digest": (None, "0" * 63),
        "units": (
            [],
            {**told["units"], "1/w": [2, 4]},
            {**told["units"], "1/w": [0, 1]},
            {**told["units"], "1/w": [1, 2**600]},
            {"1/w": 3},
        ),
    }.items():
        for value in values:
            wrong("format|step|hex|unit", **{name: value})
    second.save_model(path)
    with pytest.raises(FormatError, match="more than 100 bytes"):
        Model.load(path, 100)
    for content in (b"", raw[:100], b"\xff" * 100, raw[:-1]):
        path.write_bytes(content)
        with pytest.raises(FormatError, match="not a safetensors file"):
            Model.load(path)
    with pytest.raises(OSError):
        Model.load(tmp_path / "nowhere")
    with pytest.raises(ConfigurationError, match="begins with"):
        Model(bytes(32), 0, {"a": x, EXACT + "a": x}, {"a": Fraction(1), EXACT + "a": Fraction(1)}).save(path)


def test_without_safetensors(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "safetensors", None)
    monkeypatch.setitem(sys.modules, "safetensors.numpy", None)
    _, (_, second), _ = chain()
    for call in (lambda: second.save_model(tmp_path / "m"), lambda: Model.load(tmp_path / "m")):
        with pytest.raises(ConfigurationError, match="pip install"):
            call()


# ---- the command line -----------------------------------------------------------------------------------------------
def test_the_command_line(tmp_path, capsys):
    circuit, (first, second), proofs = chain()
    circuit.save(tmp_path / "circuit.json")
    for i, proof in enumerate(proofs):
        proof.save(tmp_path / f"{i}.proof")
    for name, run, what in (("last", 1, "parameters"), ("first", 0, "initial"), ("data", 0, "dataset"), ("shard", 0, 1)):
        disclosed(chain, run, what).save(tmp_path / f"{name}.disclosure")
    second.save_model(tmp_path / "last.safetensors")
    first.save_model(tmp_path / "first.safetensors", "initial")
    x, y = data_for(DIMS)
    np.savez(tmp_path / "data.npz", y=y, x=x)
    np.savez(tmp_path / "shard.npz", x[5:10], y[5:10])
    names = [x.name for x in circuit.inputs]
    assert names == ["x", "y"]
    files = {
        f"{option} {name}": [f"--{option}", str(tmp_path / f"{name}.{end}")]
        for option, name, end in [("disclosure", n, "disclosure") for n in ("last", "first", "data", "shard")]
        + [
            ("model", "last", "safetensors"),
            ("model", "first", "safetensors"),
            ("initial-model", "first", "safetensors"),
            ("data", "data", "npz"),
            ("data", "shard", "npz"),
        ]
    }

    def verify(*words):
        chosen = [x for word in words for x in files.get(word, [word])]
        status = main(["verify", str(tmp_path), "--circuit", str(tmp_path / "circuit.json"), "--minimum-bits", str(BITS), *chosen])
        return status, *capsys.readouterr()

    every = ["model last", "initial-model first", "data data", "disclosure last", "disclosure first", "disclosure data"]
    status, output, _ = verify(*every)
    required, claimed = output.split("Only claimed")
    assert status == 0 and "last.safetensors holds these weights" in required and "data.npz is the dataset" in required
    status, output, _ = verify(*every, "--json")
    assert status == 0 and {"model", "initial model", "data"} <= set(json.loads(output)["required"])
    status, output, _ = verify("data shard", "disclosure shard")
    assert status == 0 and "is shard 1 of 0..2, not the whole dataset" in output
    assert verify("data data", "disclosure shard")[0] == 1
    status, _, errors = verify("model first", "disclosure last")
    assert status == 1 and "INVALID: check model: " in errors
    status, output, errors = verify("model last", "disclosure first", "--json")
    assert status == 1 and json.loads(output)["check"] == "disclosure"
    assert verify("model last")[0] == verify("disclosure last")[0] == 2
    assert verify("--model", "nowhere", "disclosure last")[0] == verify("model last", "--disclosure", "nowhere")[0] == 2
    assert verify("--model", str(tmp_path / "0.proof"), "disclosure last")[0] == 1
    assert verify("model last", "--disclosure", str(tmp_path / "0.proof"))[0] == 1
    assert verify("--data", str(tmp_path / "last.safetensors"), "disclosure data")[0] == 1
    np.savez(tmp_path / "data.npz", a=x, b=y)
    status, _, errors = verify("data data", "disclosure data")
    assert status == 2 and "it holds a, b; write x, y" in errors
    np.savez_compressed(tmp_path / "data.npz", x=x, y=y)
    assert verify("data data", "disclosure data")[0] == 1
    assert main(["inspect", files["disclosure data"][1]]) == 0
    assert "shard 2" in capsys.readouterr().out
