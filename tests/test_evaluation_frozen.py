"""Evaluations of trainings that freeze some parameters: both commitments of the training are opened, and neither can be another one."""

import json
from dataclasses import replace
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from harness import BITS, SMALL, prove_small
from reference import verifier as reference
from tiny import next_run

import zkjax
from zkjax.errors import BudgetError, FormatError, VerificationError
from zkjax.evaluation import check_weights
from zkjax.proofs.links import joined
from zkjax.proofs.statement import Frozen, Statement, canonical
from zkjax.training.evaluate import evaluation_run

CLASSES = 3
LABELS = {"base": "frozen", "down": "trained", "scale": "frozen", "up": "trained"}  # as an adapter, a frozen base beside two factors


def samples(count, seed):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, CLASSES, count).astype(np.int32)
    return (2 * np.eye(CLASSES)[labels] + rng.normal(size=(count, CLASSES)) * 0.6).astype(np.float32), labels


def start(seed=1):
    rng = np.random.default_rng(seed)
    shapes = {"base": (CLASSES, CLASSES), "down": (CLASSES, 2), "scale": (CLASSES,), "up": (2, CLASSES)}
    return {name: (0.5 * rng.normal(size=shape)).astype(np.float32) for name, shape in shapes.items()}


def logits(params, x):
    return (x @ params["base"]) * params["scale"] + x @ params["down"] @ params["up"]


def metrics(params, x, y):
    return zkjax.classified(logits(params, x), y)


@cache
def traced():
    """Of a training with a momentum."""
    x, y = samples(3, 1)
    optimizer = optax.multi_transform({"trained": optax.sgd(1 / 8, momentum=0.5), "frozen": optax.set_to_zero()}, LABELS)
    loss = lambda p, x, y: jnp.mean(optax.softmax_cross_entropy_with_integer_labels(logits(p, x), y))  # noqa: E731
    return zkjax.trace(loss, optimizer, start(), batch=(x, y), steps=4, chunk=2)


def trained(seed=1):
    """(circuit, run, its proof) from these first weights."""
    circuit = traced()
    run = zkjax.train(circuit, start(seed), samples(6, 1), steps=2, progress=None)
    run.chain.geometry = SMALL
    return circuit, run, prove_small(circuit, run)


@cache
def training():
    """Two chunks, and a link, for their proofs leave the frozen parameters' commitment no opening for others."""
    circuit, first, proof = trained()
    second = next_run(circuit, first)
    proofs = [proof, prove_small(circuit, second)]
    with pytest.raises(BudgetError, match="the frozen weights are for a proof that replaces"):
        zkjax.evaluate(second, metrics, samples(6, 2), batch=3, progress=None, minimum_bits=BITS)
    return circuit, second, [*proofs, zkjax.link(second, ["frozen"], minimum_bits=BITS)]


@cache
def statements():
    return zkjax.verify(training()[0], training()[2], minimum_bits=BITS)


@cache
def evaluated():
    return zkjax.evaluate(training()[1], metrics, samples(6, 2), batch=3, progress=None, minimum_bits=BITS)


def verify(statement=None, **options):
    found = evaluated().proof if statement is None else zkjax.Proof(statement, evaluated().proof.body)
    wanted = {"training": (training()[0], statements()), "minimum_bits": BITS} | options
    return zkjax.verify_evaluation(evaluated().circuit, zkjax.Proof.parse(bytes(found)), **wanted)


def refused(check, match=None, call=verify, **options):
    with pytest.raises(VerificationError, match=match) as error:
        call(**options)
    assert error.value.check in check.split("|")


def checked(statement, training, weights=None):
    """What is checked of the weights once all proofs have been verified."""
    check_weights(evaluated().circuit, statement, training, weights, joined([*training[1], statement]), False)


# ---- what holds ---------------------------------------------------------------------------------------------------


def test_counts_are_those_of_numpy():
    run, (x, y) = training()[1], samples(6, 2)
    found = logits(jax.tree.map(np.float64, run.params), x.astype(np.float64))
    ordered = np.sort(found, axis=1)
    assert (ordered[:, -1] - ordered[:, -2]).min() > 0.01
    last, link = statements()[-2:]
    result = verify(weights=last.final_weights)
    assert result.totals["correct"] == (found.argmax(axis=1) == y).sum() and not result.assumed
    frozen = evaluated().proof.statement.frozen
    assert frozen.commitment == last.final and frozen.beside.commitment == link.links[0].to != last.frozen.commitment
    refused("training", "it ends with the weights", training=(training()[0], statements()[:-1]))
    assert [evaluated().circuit.parameters[p].path for p in frozen.beside.parameters] == ["base", "scale"]


def test_powers_of_two_are_those_of_the_training():
    """The frozen parameters' integers are longer than a table, so some have a shift, which names the weights, too."""
    statement = evaluated().proof.statement
    assert any(statement.shifts[p] for p in statement.frozen.beside.parameters) and statement.widths == (0,) * 4


def test_the_second_verifier_accepts_it():
    circuit, raw = json.loads(json.dumps(evaluated().circuit.to_json())), bytes(evaluated().proof)
    terms = reference.verify(circuit, raw, minimum_bits=BITS, assume_bound=True)
    assert {name: float(x) for name, x in terms.items()} == pytest.approx({name: 2.0**-x for name, x in evaluated().proof.security.terms})


def test_predictions_and_replaced_weights():
    """Either commitment is opened within its budget, and goes on after a link."""
    circuit, run, proof = trained()
    one = zkjax.evaluate(run, metrics, samples(6, 2), batch=3, progress=None, minimum_bits=BITS)
    assert one.result.weights == proof.statement.final_weights
    alone = {"assume_bound": True, "minimum_bits": BITS}
    assert zkjax.verify_evaluation(one.circuit, one.proof, weights=proof.statement.final_weights, **alone).assumed
    refused("pinned weights", call=lambda: zkjax.verify_evaluation(one.circuit, one.proof, weights=bytes(32), **alone))
    with pytest.raises(BudgetError, match="the weights before step 2 are for a proof that replaces"):
        zkjax.predict(run, logits, samples(3, 3)[:1], progress=None, minimum_bits=BITS)
    link = zkjax.link(run, ["final", "frozen"], minimum_bits=BITS)
    two = zkjax.predict(run, logits, samples(3, 3)[:1], progress=None, minimum_bits=BITS)
    known = zkjax.verify(circuit, [proof, link], minimum_bits=BITS)
    for found in (one, two):
        own = {"training": (circuit, known), "weights": known[0].final_weights, "minimum_bits": BITS}
        zkjax.verify_evaluation(found.circuit, found.proof, **own)
    assert two.proof.statement.frozen.beside.commitment == link.statement.links[1].to
    expected = logits(jax.tree.map(np.float64, run.params), samples(3, 3)[0].astype(np.float64)).argmax(axis=1)
    assert two.result.of_samples("class") == [*expected]


# ---- lies ---------------------------------------------------------------------------------------------------------


def test_frozen_weights_that_are_others():
    """An honest evaluation of the run of another training, whose trained weights alone are exchanged for those that are pinned."""
    circuit, other, proof = trained(2)
    run = evaluation_run(other, evaluated().circuit, samples(6, 2))
    honest = prove_small(run.circuit, run, reveal=run.circuit.outputs, check=False)
    said = zkjax.verify(circuit, proof, minimum_bits=BITS)
    checked(honest.statement, (circuit, [said]))
    frozen = honest.statement.frozen
    last = statements()[-2]
    for mixed in (
        frozen._replace(beside=Frozen(last.frozen.commitment, frozen.beside.parameters)),
        frozen._replace(commitment=replace(last.final, number=2)),
    ):
        lie = replace(honest.statement, frozen=mixed)
        with pytest.raises(VerificationError, match="^training: it ends with the weights"):
            checked(lie, (circuit, [said]))
        refused(
            "opening|Merkle path",
            call=lambda lie=lie: zkjax.verify_evaluation(
                run.circuit, zkjax.Proof.parse(bytes(zkjax.Proof(lie, honest.body))), assume_bound=True, minimum_bits=BITS
            ),
        )


def test_powers_of_two_that_are_others():
    statement, known = evaluated().proof.statement, (training()[0], statements())
    (p, *_) = (p for p in statement.frozen.beside.parameters if statement.shifts[p])
    shifts = [*statement.shifts]
    shifts[p] -= 1
    with pytest.raises(VerificationError, match="^bounds: frozen weights are multiplied by other powers"):
        checked(replace(statement, shifts=tuple(shifts)), known)
    with pytest.raises(VerificationError, match="^pinned weights: "):  # which names them
        lie = replace(statement, shifts=tuple(shifts))
        check_weights(evaluated().circuit, lie, None, statement.read[0], joined([lie]), True)
    shifts = [*statement.shifts]
    shifts[statement.frozen.parameters[0]] = 1
    with pytest.raises(VerificationError, match="^bounds: the weights are multiplied"):
        checked(replace(statement, shifts=tuple(shifts)), known)
    refused("opening|Merkle path", statement=replace(statement, shifts=tuple(shifts)), training=None, assume_bound=True)


def test_bounds_that_are_others():
    statement, known = evaluated().proof.statement, (training()[0], statements())
    for p in range(4):
        bounds = [*statement.initial_bound]
        bounds[p] -= 1
        with pytest.raises(VerificationError, match="^bounds: the proof relies on other bounds"):
            checked(replace(statement, initial_bound=tuple(bounds)), known)


@pytest.mark.parametrize(
    "own, beside, match",
    [
        ((1,), (0, 2), "the frozen parameters of the circuit are"),
        ((1, 3), (0, 2, 3), "the frozen parameters of the circuit are"),
        ((1, 3), (0, 2, 4), "the frozen parameters of the circuit are"),
        ((3, 1), (0, 2), "not in ascending order"),
        ((1, 3), (2, 0), "not in ascending order"),
        ((0, 1, 2, 3), (), "stand beside others"),
        ((0, 3), (1, 2), None),
    ],
)
def test_parameters_that_are_listed_otherwise(own, beside, match):
    """Both verifiers refuse; the last list exchanges a trained one and a frozen one, of as many cells."""
    statement = evaluated().proof.statement
    lie = replace(statement, frozen=statement.frozen._replace(parameters=own, beside=Frozen(statement.frozen.beside.commitment, beside)))
    refused("statement" if match else "opening|Merkle path", match, statement=lie, training=None, assume_bound=True)
    raw = bytes(zkjax.Proof(lie, evaluated().proof.body))
    with pytest.raises(reference.Rejected):
        reference.verify(evaluated().circuit.to_json(), raw, minimum_bits=BITS, assume_bound=True)
    if not match:
        with pytest.raises(VerificationError, match="^training: its parameters, and those that it freezes, have not"):
            checked(replace(lie, shifts=(0,) * 4), (training()[0], statements()))


def test_what_only_stands_beside_trained_weights():
    """A training has one commitment to frozen parameters, and an evaluation one to those of the training."""
    circuit, _, (proof, *_) = training()
    own = proof.statement.frozen
    lie = replace(proof.statement, frozen=Frozen(own.commitment, own.parameters[:1], Frozen(own.commitment, own.parameters[1:])))
    with pytest.raises(VerificationError, match="^statement: frozen parameters stand beside others"):
        zkjax.verify(circuit, zkjax.Proof(lie, proof.body), minimum_bits=BITS)
    statement = evaluated().proof.statement
    for commitment, check, match in (
        (statement.shards[0], "commitment to frozen 0", "it is of"),
        (statement.frozen.commitment, "Merkle path|opening", None),  # as a comparison has two of weights
    ):
        lie = replace(statement, frozen=statement.frozen._replace(beside=Frozen(commitment, statement.frozen.beside.parameters)))
        refused(check, match, statement=lie, training=None, assume_bound=True)
    with pytest.raises(VerificationError, match="^evaluation: the proof does not read the weights of one training"):
        checked(lie, (circuit, statements()))
    without = replace(statement, frozen=Frozen(statement.frozen.commitment, (0, 1, 2, 3)))
    refused("opening|Merkle path|commitment to weights 4", statement=without, training=None, assume_bound=True)
    with pytest.raises(VerificationError, match="^training: its parameters, and those that it freezes, have not"):
        checked(replace(without, shifts=(0,) * 4), (training()[0], statements()))


def test_a_statement_with_more_beside():
    """One within another, or another field, is no statement."""
    told = evaluated().proof.statement.to_json()
    for change in ({"beside": told["frozen"]["beside"]}, {"more": 0}):
        lie = told | {"frozen": told["frozen"] | {"beside": told["frozen"]["beside"] | change}}
        with pytest.raises(FormatError, match="frozen needs commitment and parameters"):
            Statement.parse(canonical(lie))
    with pytest.raises(FormatError, match="frozen needs commitment and parameters"):
        Statement.parse(canonical(told | {"frozen": {"beside": told["frozen"]["beside"]}}))
