"""Weights that are handed over: a second training begins with the commitment that the first one ends with, and no other."""

import json
import shutil
import stat
from dataclasses import replace
from functools import cache
from types import SimpleNamespace

import moving
import numpy as np
import optax
import pytest
from harness import BITS, SMALL, data_for, mlp_loss, mlp_params, prove_small, verify_small
from reference import verifier as reference
from tiny import DIMS, TINY, next_run, tiny_run

import zkjax
from zkjax.__main__ import main
from zkjax.circuit.parts import Parameter
from zkjax.errors import BudgetError, ConfigurationError, DataError, FormatError, RunError, VerificationError
from zkjax.prover.hand_over import HEADER

GIVEN = {"minimum_bits": BITS}
DATA = data_for(DIMS, seed=7)


def trained():
    """A run, and its proof; of momentum, so that its last weights have a second part."""
    circuit, run = tiny_run(optimizer=optax.sgd(1 / 32, momentum=0.5))
    return run, prove_small(circuit, run)


def tuning(run):
    """A circuit of another loss, rate and optimizer in the units of the run's parameters."""
    scales = {x.path: run.circuit.scale(p)[1] for p, x in enumerate(run.circuit.parameters) if x.given is None}

    def loss(params, x, y):
        return 0.5 * mlp_loss(params, x, y)

    options = {"precision": replace(TINY, parameters=scales), "batch": tuple(x[:3] for x in DATA), "steps": 4, "chunk": 2}
    return zkjax.trace(loss, optax.sgd(1 / 32, momentum=0.9), mlp_params(DIMS), **options)


@cache
def lineage(folder):
    """(run, its proof, proof of the link, run that goes on from what was handed over, and its next, proofs of both)."""
    run, proof = trained()
    link = zkjax.hand_over(run, folder / "handed", **GIVEN)
    assert stat.S_IMODE((folder / "handed").stat().st_mode) == 0o600
    handed = zkjax.Handed.take(folder / "handed")
    assert not (folder / "handed").exists()
    circuit = tuning(run)
    first = zkjax.train(circuit, handed, DATA, steps=2)
    second = next_run(circuit, first)
    return SimpleNamespace(
        run=run,
        proof=proof,
        link=link,
        handed=handed,
        first=first,
        second=second,
        proofs=[prove_small(circuit, x) for x in (first, second)],
    )


@pytest.fixture(scope="module")
def known(tmp_path_factory):
    return lineage(tmp_path_factory.mktemp("lineage"))


def statements(run, *proofs):
    return run.circuit, zkjax.verify(run.circuit, [zkjax.Proof.parse(bytes(x)) for x in proofs], **GIVEN)


def pair(known):
    return [statements(known.run, known.proof), statements(known.second, *known.proofs, known.link)]


def refused(match, trainings):
    with pytest.raises(VerificationError, match=f"^lineage: training 1 of 0..1: {match}"):
        zkjax.verify_lineage(trainings)


def test_one_lineage(known):
    """Verified as two trainings, with the link among either's proofs; nothing was rounded."""
    for i, x in enumerate(p for p in range(len(known.run.circuit.parameters)) if known.run.circuit.parameters[p].given is None):
        unit, before = known.first.circuit.unit(i), known.run.circuit.unit(x)
        assert np.array_equal(known.first.initial[i], known.run.final[x] * int(before / unit)) and before >= unit
    zkjax.verify_lineage(pair(known))
    zkjax.verify_lineage([statements(known.run, known.proof, known.link), statements(known.second, *known.proofs)])
    assert known.proofs[0].statement.initial.number == 2 and known.proofs[0].statement.first_step == 0
    assert known.proofs[0].statement.initial.root == known.link.statement.fresh[0].root
    refused("it does not begin with the weights", [statements(known.run, known.proof), statements(known.second, *known.proofs)])
    third = next_run(known.run.circuit, known.run)  # the first owner goes on with a commitment of his own
    verify_small(known.run.circuit, [known.proof, prove_small(known.run.circuit, third)])


def test_the_second_verifier_accepts_it(known):
    files = [bytes(x) for x in (*known.proofs, known.link)]
    reference.verify_chain(json.loads(json.dumps(known.first.circuit.to_json())), files, minimum_bits=BITS)


def test_openings_are_counted_on(known):
    """The link has taken one of the fresh commitment, the first proof another one; a save keeps the counters."""
    spent = known.first.chain.openings.spent[f"{known.first.keys[0].name} 2 parameters"]
    assert spent == 2 and known.first.chain.geometry == known.run.chain.geometry
    with pytest.raises(RunError, match="handed over for one training, and it has begun"):
        zkjax.train(known.first.circuit, known.handed, DATA, steps=2)


def test_a_saved_run_keeps_the_number(known, tmp_path):
    known.first.save(tmp_path / "run")
    again = zkjax.Run.load(tmp_path / "run")
    assert again.keys == known.first.keys and again.keys[0].number == 2
    known.first.save_model(tmp_path / "model.safetensors", "initial")
    model, disclosure = zkjax.Model.load(tmp_path / "model.safetensors"), zkjax.disclose(again, "initial", **GIVEN)
    zkjax.verify(known.first.circuit, known.proofs[0], initial_model=model, disclosures=[disclosure], **GIVEN)


def test_two_folders(known, tmp_path, capsys):
    """One command, from the beginning of the first training to the end of the second."""
    zkjax.publish(known.run, [known.proof], tmp_path / "base", model=False, **GIVEN)
    zkjax.publish(known.second, [*known.proofs, known.link], tmp_path / "tuned", model=False, **GIVEN)
    assert main(["check", str(tmp_path / "tuned"), "--source", str(tmp_path / "base"), "--minimum-bits", str(BITS)]) == 0
    told, base = capsys.readouterr().out, zkjax.check(tmp_path / "base", **GIVEN)
    assert f"What it began with, as {tmp_path / 'base'} shows: {base.sentence}" in told
    (claim,) = (x for x in zkjax.check(tmp_path / "tuned", source=tmp_path / "base", **GIVEN).claims if x.what == "source")
    assert claim.value == base.facts["last_weights"]
    other, proof = trained()
    zkjax.publish(other, [proof], tmp_path / "other", model=False, **GIVEN)
    with pytest.raises(VerificationError, match="^lineage: "):
        zkjax.check(tmp_path / "tuned", source=tmp_path / "other", **GIVEN)
    shutil.copy(tmp_path / "tuned" / "chunk-0000.proof", tmp_path / "file")
    with pytest.raises(ConfigurationError, match="source.safetensors is missing"):
        zkjax.check(tmp_path / "tuned", source=tmp_path / "file", **GIVEN)


# ---- lies ---------------------------------------------------------------------------------------------------------


def test_what_is_no_lineage(known):
    """Other circuits than are given; other names, shapes or units; frozen parameters; shifts; the wrong order."""
    (circuit, before), (other, after) = pair(known)
    first = after[0]
    refused("statements are about another circuit", [(other, before), (other, after)])
    refused("statements are about another circuit", [(circuit, before), (circuit, after)])

    def renamed(**changes):
        found = replace(other, parameters=(replace(other.parameters[0], **changes), *other.parameters[1:]))
        return [(circuit, before), (found, [replace(x, circuit=found.digest()) if hasattr(x, "circuit") else x for x in after])]

    for changes in ({"path": "x"}, {"shape": (1,)}, {"unit": other.parameters[0].unit / 2}):
        refused("its first weights have not the paths, shapes and units", renamed(**changes))
    frozen = replace(circuit, parameters=(*circuit.parameters, frozen_parameter()))
    said = [replace(x, circuit=frozen.digest()) for x in before]
    refused("some parameters are frozen", [(frozen, said), (other, after)])
    frozen = replace(other, parameters=(*other.parameters, frozen_parameter()))
    said = [replace(x, circuit=frozen.digest()) if hasattr(x, "circuit") else x for x in after]
    refused("some parameters are frozen", [(circuit, before), (frozen, said)])
    assert any(first.shifts)  # finer units than those of the weights that were handed over
    shifted = replace(first, shifts=(first.shifts[0] + 1, *first.shifts[1:]))
    refused("its first weights have not the paths, shapes and units", [(circuit, before), (other, [shifted, *after[1:]])])
    refused("its first weights have not", [(other, after), (circuit, before)])


def frozen_parameter():
    return Parameter("frozen", (2,))


def test_only_a_beginning_may_have_another_number(known):
    later = known.proofs[1].statement
    lie = replace(later, initial=replace(later.initial, number=7))
    with pytest.raises(VerificationError, match="^commitment to weights 2: it is of weights 7"):
        verify_small(known.first.circuit, zkjax.Proof(lie, known.proofs[1].body), assume_bound=True)
    first = known.proofs[0].statement
    lie = replace(first, initial=replace(first.initial, number=7))  # another commitment, of another tag
    with pytest.raises(VerificationError, match="^(opening|Merkle path)"):
        verify_small(known.first.circuit, zkjax.Proof(lie, known.proofs[0].body))


# ---- misuse -------------------------------------------------------------------------------------------------------


def test_misuse(known, tmp_path):
    run, _ = trained()
    (tmp_path / "there").write_bytes(b"")
    for what, path, match, kind in (
        (run, "there", "is there; give the name of a new file", ConfigurationError),
        (3, "new", "give a zkjax.Run of a training", RunError),
    ):
        with pytest.raises(kind, match=match):
            zkjax.hand_over(what, tmp_path / path, **GIVEN)
    frozen = zkjax.train(moving.moving(frozen=True), *moving.start(frozen=True), steps=2)
    frozen.chain.geometry = SMALL
    with pytest.raises(ConfigurationError, match="the circuit freezes f, which is in no commitment to last weights"):
        zkjax.hand_over(frozen, tmp_path / "new", **GIVEN)
    with pytest.raises(ConfigurationError):
        zkjax.hand_over(run, tmp_path / "new", minimum_bits=100)
    zkjax.hand_over(run, tmp_path / "one", **GIVEN)
    with pytest.raises(BudgetError, match="zkjax.link do that first"):
        zkjax.hand_over(run, tmp_path / "two", **GIVEN)
    assert not (tmp_path / "new").exists() and not (tmp_path / "two").exists()
    handed = zkjax.Handed.take(tmp_path / "one")
    assert "seed" not in repr(handed) and str(handed.integers[0]) not in repr(handed)
    with pytest.raises(
        DataError,
        match=r"their units or finer ones, none of them frozen; trace with Precision\(parameters=",
    ):
        zkjax.train(moving.moving(), handed, moving.start()[1], steps=2)
    with pytest.raises(DataError, match="leave state out"):
        zkjax.train(known.first.circuit, handed, DATA, steps=2, state={})
    for trainings in ((), pair(known)[:1], 3, [1, 2]):
        with pytest.raises(ConfigurationError, match="^training"):
            zkjax.verify_lineage(trainings)


def test_damaged_files(known, tmp_path):
    run, _ = trained()
    zkjax.hand_over(run, tmp_path / "whole", **GIVEN)
    arrays = dict(np.load(tmp_path / "whole"))
    told = json.loads(arrays[HEADER].tobytes())

    def written(**changes):
        header = np.frombuffer(json.dumps(told | changes).encode(), dtype=np.int8)
        np.savez(tmp_path / "damaged.npz", **arrays | {HEADER: header})
        return tmp_path / "damaged.npz"

    for changes in (
        {"format": "x"}, {"version": 2}, {"seed": "00"}, {"seed": 1}, {"number": -1}, {"number": True}, {"parameters": []} | {"budget": 9},
        {"parameters": [["a", [1], [1, 0]]]}, {"parameters": 3}, {"geometry": {}}, {"parameters": [["0/b", [4], [0, 1]]]},
        {"budget": 9},
    ):  # fmt: skip
        with pytest.raises(FormatError):
            zkjax.Handed.take(written(**changes))
        assert (tmp_path / "damaged.npz").exists()
    (tmp_path / "none").write_bytes(b"no file of arrays")
    with pytest.raises(FormatError):
        zkjax.Handed.take(tmp_path / "none")
