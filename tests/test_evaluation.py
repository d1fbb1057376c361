"""Evaluations: counts and losses of a commitment's weights on a test set, and lies about them, each refused by the check that should."""

import json
import re
from dataclasses import replace
from functools import cache
from typing import NamedTuple
from unittest import mock

import jax
import jax.numpy as jnp
import moving
import numpy as np
import optax
import pytest
from harness import BITS, SMALL, Liar, mlp_params, prove_small, verify_small
from reference import verifier as reference
from tiny import chain as plain_chain
from tiny import next_run

import zkjax
from zkjax.__main__ import main
from zkjax.commitment.commit import Commitment
from zkjax.errors import BudgetError, ConfigurationError, DataError, RunError, VerificationError
from zkjax.evaluation import check_weights, read_results
from zkjax.proofs.links import joined
from zkjax.proofs.statement import Frozen
from zkjax.tracing.source import Source
from zkjax.training.evaluate import batch_of, evaluation_run
from zkjax.training.run import Run
from zkjax.training.steps import run_steps

CLASSES, TRAINED, TESTED = 3, 12, 12
CENTRES = 2 * np.eye(CLASSES, dtype=np.float32)


def samples(count, seed):
    """Points around the corners of a triangle, their corners, and groups of them."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, CLASSES, count).astype(np.int32)
    return (CENTRES[labels] + rng.normal(size=(count, CLASSES)) * 0.6).astype(np.float32), labels, (np.arange(count) % 2).astype(np.int32)


def logits(params, x, relu=jax.nn.relu):
    return relu(x @ params[0]["w"] + params[0]["b"]) @ params[1]["w"] + params[1]["b"]


def loss_of(params, x, y):
    return optax.softmax_cross_entropy_with_integer_labels(logits(params, x), y)


def metrics(params, x, y, groups):
    return zkjax.classified(logits(params, x), y, groups, 2) | {"loss": jnp.sum(loss_of(params, x, y))}


@cache
def training():
    """(circuit, two runs, their proofs), of a net whose optimizer keeps a momentum beside the weights."""
    params, (x, y, _) = mlp_params((CLASSES, 4, CLASSES), 1), samples(TRAINED, 1)
    loss = lambda p, x, y: jnp.mean(loss_of(p, x, y))  # noqa: E731
    circuit = zkjax.trace(loss, optax.sgd(1 / 8, momentum=0.5), params, batch=(x[:3], y[:3]), steps=4, chunk=2)
    first = zkjax.train(circuit, params, (x, y), steps=2, progress=None)
    first.chain.geometry = SMALL
    second = next_run(circuit, first)
    return circuit, (first, second), [prove_small(circuit, run) for run in (first, second)]


@cache
def statements():
    """What ``zkjax.verify`` returns of the training."""
    circuit, _, proofs = training()
    return zkjax.verify(circuit, proofs, minimum_bits=BITS)


def retrained():
    """The first run with commitments, and a budget, of its own."""
    circuit, (first, _), _ = training()
    run = zkjax.train(circuit, mlp_params((CLASSES, 4, CLASSES), 1), first.data, steps=2, progress=None)
    run.chain.geometry = SMALL
    return run


def evaluate(run, metrics=metrics, data=None, **options):
    return zkjax.evaluate(run, metrics, data or samples(TESTED, 2), **{"progress": None, "minimum_bits": BITS, "batch": 4} | options)


@cache
def evaluated():
    """The evaluation of the last run's weights, in three steps, on three shards."""
    return evaluate(training()[1][1], shard_size=5)


def verify(proof=None, circuit=None, **options):
    found = proof or evaluated().proof
    found = zkjax.Proof.parse(bytes(found))
    wanted = {"training": (training()[0], statements()), "minimum_bits": BITS} | options
    return zkjax.verify_evaluation(circuit or evaluated().circuit, found, **wanted)


def refused(check, match=None, call=verify, **options):
    with pytest.raises(VerificationError, match=match) as error:
        call(**options)
    assert error.value.check in check.split("|")


def proven(run, **options):
    """A proof of an evaluation's run that may be false."""
    return prove_small(run.circuit, run, **{"reveal": run.circuit.outputs, "check": False} | options)


def fresh_run(data=None, **changes):
    """An evaluation's run of weights with a budget of their own."""
    return replace(evaluation_run(retrained(), evaluated().circuit, data or samples(TESTED, 2)), **changes)


# ---- what holds ---------------------------------------------------------------------------------------------------


def test_counts_are_those_of_numpy():
    """Where no two logits are so near that rounding could exchange them."""
    run = training()[1][1]
    x, y, groups = samples(TESTED, 2)
    params = jax.tree.map(np.float64, run.params)
    found = logits(params, x.astype(np.float64), lambda v: np.maximum(v, 0))
    ordered = np.sort(found, axis=1)
    assert (ordered[:, -1] - ordered[:, -2]).min() > 0.01
    taken = found.argmax(axis=1)
    confusion = np.zeros((CLASSES, CLASSES), dtype=int)
    np.add.at(confusion, (y, taken), 1)
    assert 0 < (correct := int((taken == y).sum())) and len({*y}) == CLASSES

    result = verify(weights=statements()[-1].final_weights, dataset=evaluated().proof.statement.dataset)
    assert np.array_equal(result.confusion, confusion)
    assert result.totals["correct"] == correct == np.trace(confusion) and result.means["correct"] * TESTED == correct
    assert result.groups == {g: (int((taken == y)[groups == g].sum()), int((groups == g).sum())) for g in range(2)}
    losses = np.log(np.exp(found).sum(axis=1)) - found[np.arange(TESTED), y]
    assert abs(float(result.means["loss"]) - losses.mean()) < 0.02
    assert result.samples == TESTED and not result.assumed
    assert {*result.order.reshape(-1)} == {*range(TESTED)}
    assert result == evaluated().result
    assert "Evaluation on 12 samples" in str(result) and "ASSUMED" not in str(result)
    said = f"read the weights committed to by {result.weights.hex()}, within a range that an earlier proof has to show, and change nothing."
    assert said in str(result.statement) and result.weights.hex() in str(result.statement.sheet())
    assert "those after the last step of the run that is read" in str(evaluated().run.sheet())


def test_the_training_goes_on():
    """One commitment, whether a chunk begins with it or an evaluation reads it."""
    circuit, runs, proofs = training()
    named, (first, second) = evaluated().proof.statement, statements()
    assert named.frozen.commitment == second.final and named.read == (second.final_weights,)
    verify_small(circuit, [*proofs, prove_small(circuit, next_run(circuit, runs[1]))])
    refused("training", "it ends with the weights", training=(circuit, [first]))


def test_the_second_verifier_accepts_it():
    """With the same ledger."""
    circuit, raw = json.loads(json.dumps(evaluated().circuit.to_json())), bytes(evaluated().proof)
    terms = reference.verify(circuit, raw, minimum_bits=BITS, assume_bound=True)
    assert {name: float(x) for name, x in terms.items()} == pytest.approx({name: 2.0**-x for name, x in evaluated().proof.security.terms})


def test_without_the_training_the_bound_is_assumed():
    refused("initial bound", "no proof here shows", training=None)
    found = verify(training=None, assume_bound=True, weights=statements()[-1].final_weights.hex())
    assert found.assumed and "ASSUMED" in str(found)
    refused("pinned weights", "about .*, not 00", training=None, assume_bound=True, weights=bytes(32))
    refused("pinned dataset", training=None, assume_bound=True, dataset=bytes(32))


def test_weights_that_were_replaced():
    """An evaluation replaces nothing of the training: it leaves what the next chunk needs, and goes on after a link."""
    circuit, run = training()[0], retrained()
    proof = prove_small(circuit, run)
    one = evaluate(run)
    with pytest.raises(BudgetError, match=r"the weights before step 2 are for a proof that replaces .* zkjax.link"):
        evaluate(run)
    link = zkjax.link(run, ["final"], minimum_bits=BITS)
    two = evaluate(run)
    known = zkjax.verify(circuit, [proof, link], minimum_bits=BITS)
    for found in (one, two):
        verify(found.proof, found.circuit, training=(circuit, known), weights=known[0].final_weights)
    refused("training", "it ends with", proof=two.proof, circuit=two.circuit, training=(circuit, known[:1]))
    verify_small(circuit, [proof, prove_small(circuit, next_run(circuit, run)), link])


def test_a_published_test_set():
    """By a disclosure of its seed; all shards are needed."""
    data, run = samples(TESTED, 2), evaluated().run
    whole, part = (zkjax.disclose(run, what, minimum_bits=BITS) for what in ("dataset", 0))
    assert verify(data=data, disclosures=[whole]).samples == TESTED
    other = tuple(np.array(x) for x in data)
    other[1][3] = (other[1][3] + 1) % CLASSES
    refused("data", data=other, disclosures=[whole])
    refused("data", "shard 0 of 0..2, not the whole test set", data=tuple(x[:5] for x in data), disclosures=[part])


@pytest.mark.parametrize("outputs", [False, True])
def test_predictions(outputs):
    """Each one that of its sample, in whatever order the steps read them."""
    (x, _, _), run = samples(9, 3), retrained()
    found = zkjax.predict(run, logits, (x,), outputs=outputs, progress=None, minimum_bits=BITS)
    known = logits(jax.tree.map(np.float64, run.params), x.astype(np.float64), lambda v: np.maximum(v, 0))
    shown = verify(found.proof, found.circuit, training=None, assume_bound=True)
    assert [*shown.order[:, 0]] != sorted(shown.order[:, 0]) and shown.confusion is None and shown.groups == {}
    if outputs:
        told = np.array([[float(v) for v in shown.of_samples(f"output {j}")] for j in range(CLASSES)]).T
        assert np.abs(told - known).max() < 0.01
    else:
        ordered = np.sort(known, axis=1)
        assert (ordered[:, -1] - ordered[:, -2]).min() > 0.01
        assert shown.of_samples("class") == [*known.argmax(axis=1)]
    with pytest.raises(ConfigurationError, match="a step reads 4 samples: correct is known of their sum"):
        evaluated().result.of_samples("correct")
    with pytest.raises(DataError, match="model returns an array of shape .9,.; return one of shape"):
        zkjax.predict(run, lambda p, x: jnp.sum(x, axis=1), (x,), progress=None)


def test_tracing_compiles_nothing_of_ones_own():
    """What changes nothing is as it was, and its outputs are compared with nothing, but a loss."""
    run, counts = training()[1][1], lambda p, x, y, groups: zkjax.classified(logits(p, x), y)
    with mock.patch.object(Source, "compiled", side_effect=AssertionError):
        circuit = zkjax.trace_evaluation(run.circuit, counts, run.params, samples(4, 2))
        with pytest.raises(AssertionError):
            zkjax.trace_evaluation(run.circuit, metrics, run.params, samples(4, 2))
    assert circuit.comparison.off == 0
    loss, *others = zkjax.trace_evaluation(run.circuit, metrics, run.params, samples(4, 2)).comparison.loss
    assert all(abs(x - loss) < 0.1 for x in others)


class Swapped(NamedTuple):
    """Parameters whose order is none of their names'."""

    second: jax.Array
    first: jax.Array


def test_weights_of_a_step_of_ones_own():
    """Each stands where its name says: neither the order of the state nor that of the names is the circuit's."""
    (x, y, _), rng = samples(TRAINED, 1), np.random.default_rng(3)
    start = Swapped(*(0.4 * rng.normal(size=(CLASSES, CLASSES)).astype(np.float32) for _ in range(2)))
    optimizer = optax.sgd(1 / 16, momentum=0.5)

    def step(state, x, y):
        params, moments = state
        mean = lambda p: jnp.mean(optax.softmax_cross_entropy_with_integer_labels(jax.nn.relu(x @ p.first) @ p.second, y))  # noqa: E731
        value, gradients = jax.value_and_grad(mean)(params)
        updates, moments = optimizer.update(gradients, moments)
        return (optax.apply_updates(params, updates), moments), {"loss": value}

    circuit = zkjax.trace_step(step, (start, optimizer.init(start)), (x, y), outputs=("loss",), chunk=2)
    run = zkjax.train(circuit, (start, optimizer.init(start)), (x, y), steps=2, progress=None)
    run.chain.geometry = SMALL
    found = zkjax.predict(
        run, lambda p, x: jax.nn.relu(x @ p[0]["first"]) @ p[0]["second"], (x[:4],), outputs=True, progress=None, minimum_bits=BITS
    )
    params = jax.tree.map(np.float64, run.state[0])
    known = np.maximum(x[:4] @ params.first, 0) @ params.second
    told = np.array([[float(v) for v in found.result.of_samples(f"output {j}")] for j in range(CLASSES)]).T
    assert np.abs(told - known).max() < 0.02 < np.abs(known - np.maximum(x[:4] @ params.second, 0) @ params.first).max()


def test_the_command_line(tmp_path, capsys):
    """Its verdicts, and what it prints of them."""
    circuit, _, proofs = training()
    circuit.save(tmp_path / "circuit.json")
    evaluated().circuit.save(tmp_path / "evaluation.json")
    evaluated().proof.save(tmp_path / "evaluation.proof")
    (tmp_path / "chain").mkdir()
    for number, proof in enumerate(proofs):
        proof.save(tmp_path / "chain" / f"{number}.proof")
    x, y, groups = samples(TESTED, 2)
    np.savez(tmp_path / "test.npz", x, y, groups)
    zkjax.disclose(evaluated().run, "dataset", minimum_bits=BITS).save(tmp_path / "test.disclosure")
    at = lambda name: str(tmp_path / name)  # noqa: E731
    usual = ["evaluation", at("evaluation.proof"), "--circuit", at("evaluation.json"), "--minimum-bits", str(BITS)]
    trained = ["--training", at("chain"), "--training-circuit", at("circuit.json")]

    def said(*words, status=0):
        assert main([*usual, *words]) == status
        return capsys.readouterr()

    told = said(*trained, "--data", at("test.npz"), "--disclosure", at("test.disclosure")).out
    correct = int(evaluated().result.totals["correct"])
    assert "VALID: 3 proofs" in told and "Proven of all 12 samples, each read once:" in told and "  nothing\n" in told
    assert re.search(rf"  correct +{correct}  mean", told) and "ASSUMED" not in told
    told = said("--assume-bound").out
    assert "VALID: 1 proof," in told and "ASSUMED" in told and told.index("only claimed".capitalize()) < told.index("  weights ")
    found = json.loads(said(*trained, "--json", "--weights", statements()[-1].final_weights.hex()).out)
    assert found["valid"] and found["required"] == ["circuit", "weights"] and found["totals"]["correct"] == [correct, 1]
    assert "INVALID: check initial bound: " in said(status=1).err
    assert "INVALID: check pinned weights: " in said(*trained, "--weights", "00" * 32, status=1).err
    assert "INVALID: check training: " in said("--training", at("chain/0.proof"), *trained[2:], status=1).err
    assert "give both, or none" in said(*trained[:2], status=2).err
    assert "not usable" in said(*trained[:3], at("missing.json"), status=2).err
    assert "missing" in said("--training", at("missing"), *trained[2:], status=2).err
    (tmp_path / "chain" / "1.proof").write_bytes(bytes(proofs[1])[:-1])
    assert f"INVALID: {at('chain/1.proof')}: malformed: " in said(*trained, status=1).err


# ---- lies ---------------------------------------------------------------------------------------------------------


def lied(name, change=1):
    """A run of which an output's integer is another one in the last step, and its witness as it was."""
    run = fresh_run()
    (place,) = (i for i, x in enumerate(run.circuit.losses) if x.output == name)
    rows = [list(row) for row in run.loss_integers]
    rows[-1][place] += change
    return run, replace(run, loss_integers=tuple(map(tuple, rows)))


@pytest.mark.parametrize("name", ["correct", "confusion 0 as 0", "samples of group 1"])
def test_a_count_that_is_one_higher(name):
    run, liar = lied(name)
    honest = run.witness()
    with mock.patch.object(Run, "witness", lambda self: honest):
        proof = proven(liar)
    refused("opening", proof=proof, training=None, assume_bound=True)
    told = tuple(zip(*liar.loss_integers, strict=True))
    assert Liar(run, tuple(zip(*run.loss_integers, strict=True))).broken() == set()
    assert Liar(run, told).broken() != set()


def test_another_sample():
    """It is another test set, and no proof is of this one."""
    data = tuple(np.array(x) for x in samples(TESTED, 2))
    data[0][3] = -data[0][3]
    run = fresh_run(data)
    known = {"training": None, "assume_bound": True}
    proof = proven(run)
    verify(proof, **known)
    refused("pinned dataset", proof=proof, dataset=evaluated().proof.statement.dataset, **known)
    named, own = evaluated().proof.statement, proof.statement
    stolen = replace(own, dataset=named.dataset, dataset_after=named.dataset, shards=named.shards, siblings=named.siblings, shard_size=5)
    refused("opening|Merkle path", proof=zkjax.Proof(stolen, proof.body), **known)


def test_other_weights():
    """Of the same circuit, and of the same training at another step."""
    proof = proven(fresh_run())
    refused("training", "it ends with the weights", proof=proof)
    refused("pinned weights", proof=proof, training=None, assume_bound=True, weights=statements()[-1].final_weights)
    refused("training", "another circuit", training=(plain_chain().circuit, statements()))
    plain = plain_chain()
    refused("training", "have not the paths", training=(plain.circuit, [plain.proofs[0].statement]))
    frozen = moving.moving(frozen=True)
    told = replace(statements()[-1], circuit=frozen.digest())
    refused("training", "and those that it freezes, have not the paths", training=(frozen, [told]))


@pytest.mark.parametrize("factor", [0.5, 2])
def test_another_bound(factor):
    run = fresh_run()
    bound = tuple(int(x * factor) for x in run.initial_bound)
    proof = proven(replace(run, initial_bound=bound, final_bound=bound))
    trained = run.reads[0].run
    said = zkjax.verify(trained.circuit, prove_small(trained.circuit, trained), minimum_bits=BITS)
    refused("bounds", "relies on other bounds", proof=proof, training=(trained.circuit, [said]))
    verify(proof, training=None, assume_bound=True, weights=said.final_weights)


@pytest.mark.parametrize("first, steps", [(0, 2), (1, 2), (1, 3), (0, 6)])
def test_samples_that_are_left_out(first, steps):
    """Two batches of three, or an epoch and more."""
    proof = prove_small(evaluated().circuit, moved(fresh_run(), first, steps), reveal=evaluated().circuit.outputs)
    refused("samples", f"{steps} steps from step {first} read {4 * steps} of 12", proof=proof, training=None, assume_bound=True)


def moved(run, first, steps):
    """The same in other steps, as a run that was computed so."""
    honest = replace(run, kept=None, first_step=first, steps=steps)
    bounds = run.circuit.bounds(run.initial_bound, steps, first)
    done = run_steps(run.circuit, bounds, run.initial, run.data, honest.indices, first, True, lambda _: None)
    return replace(honest, loss_integers=done.losses)


def test_a_last_batch_that_is_not_full():
    """Of 13 samples three batches of four leave one out."""
    run = fresh_run(samples(13, 2))
    refused("samples", "3 steps from step 0 read 12 of 13", proof=proven(run), training=None, assume_bound=True)


def test_an_output_that_is_hidden():
    run = fresh_run()
    for reveal in ((), ("correct", "loss")):
        refused("outputs", "is hidden", proof=proven(run, reveal=reveal), training=None, assume_bound=True)
        run = fresh_run()


def test_counts_that_do_not_add_up():
    """A sample of a group that is none is counted nowhere; so would be one of a class that is none."""
    data = samples(TESTED, 2)
    data[2][5] = 2
    refused("outputs", "all 'samples of group ..' add up to 11, not to 12", proof=proven(fresh_run(data)), training=None, assume_bound=True)
    circuit, statement = evaluated().circuit, evaluated().proof.statement
    for name in ("confusion 1 as 1", "samples of group 0"):
        place = [x.output for x in circuit.losses].index(name)
        losses = [list(x) for x in statement.losses]
        losses[place][0] += 1
        with pytest.raises(VerificationError, match="^outputs: all .* add up to 13, not to 12 samples: "):
            read_results(circuit, replace(statement, losses=tuple(map(tuple, losses))), False)


def test_an_optimizer_state_that_is_another_one():
    """It stands in the commitment to the weights, unopened, and is bound by its digest."""
    statement, circuit = evaluated().proof.statement, evaluated().circuit
    commitment = statement.frozen.commitment
    parameters, other = commitment.parts
    for parts in ((parameters,), (parameters, other._replace(rows=other.rows + 1)), (parameters, other._replace(budget=3))):
        said = replace(statement, frozen=Frozen(replace(commitment, parts=parts), statement.frozen.parameters))
        refused("opening|Merkle path", proof=zkjax.Proof(said, evaluated().proof.body))
        with pytest.raises(VerificationError, match="it ends with the weights"):
            check_weights(circuit, said, (training()[0], statements()), None, joined([*statements(), said]), False)


def test_trained_weights_only_where_nothing_else_is():
    """A training's frozen parameters have a commitment of their own kind."""
    circuit = moving.moving(frozen=True)
    params, data = moving.start(frozen=True)
    run = zkjax.train(circuit, params, data, steps=2)
    run.chain.geometry = SMALL
    proof = prove_small(circuit, run)
    own = proof.statement.frozen
    rows, budget = own.commitment.parts[0].rows, own.commitment.parts[0].budget
    weights = Frozen(Commitment.of("weights", 0, rows, budget, own.commitment.root), own.parameters)
    with pytest.raises(VerificationError, match="^statement: the frozen parameters are those of a training, though"):
        verify_small(circuit, zkjax.Proof(replace(proof.statement, frozen=weights), proof.body))
    refused("evaluation", "does not read the weights of one training", circuit=circuit, proof=proof)


def test_shifts_of_weights():
    statement = evaluated().proof.statement
    with pytest.raises(VerificationError, match="^bounds: the weights are multiplied"):
        check_weights(evaluated().circuit, replace(statement, shifts=(1, 0, 0, 0)), None, None, joined([statement]), True)


# ---- misuse -------------------------------------------------------------------------------------------------------


def test_misuse_of_the_verifier():
    cases = [
        ({"proof": training()[2][0], "training": None}, "the circuit|circuit with digest"),
        ({"training": statements()}, r"^training: give \(circuit, statements\)"),
        ({"training": (training()[0], statements()[0])}, r"^training: give \(circuit, statements\)|chunks"),
        ({"training": (training()[0], [1])}, r"^training: give \(circuit, statements\)"),
        ({"training": (None, statements())}, r"^training: give \(circuit, statements\)"),
        ({"training": (training()[0], [])}, "^training: give the statements of its chunks"),
        ({"weights": "no"}, "^weights: not a hexadecimal digest"),
        ({"minimum_bits": 0}, "^minimum_bits is 0"),
    ]
    for options, match in cases:
        with pytest.raises((ConfigurationError, VerificationError), match=match):
            verify(**options)
    with pytest.raises(ConfigurationError, match="^proof: give the zkjax.Proof of an evaluation"):
        zkjax.verify_evaluation(evaluated().circuit, [evaluated().proof])


def test_what_an_evaluation_is_not(tmp_path):
    run = evaluated().run
    with pytest.raises(RunError, match="an evaluation is not saved"):
        run.save(tmp_path / "run")
    with pytest.raises(RunError, match="the run is an evaluation, which is over"):
        next_run(run.circuit, run)
    with pytest.raises(RunError, match="run is an evaluation; give a zkjax.Run of a training"):
        evaluate(run)
    with pytest.raises(RunError, match="run is a int"):
        evaluate(3)
    with pytest.raises(ConfigurationError, match="an evaluation has no weights of its own"):
        zkjax.disclose(run, "parameters", minimum_bits=BITS)
    with pytest.raises(ConfigurationError, match=r"names is \['frozen'\]; give some of initial, final, shard 0"):
        zkjax.link(run, ["frozen"], minimum_bits=BITS)


def test_misuse_of_the_trainer():
    run = training()[1][1]
    with pytest.raises(DataError, match="batch is 5, and 12 samples are no multiple"):
        evaluate(run, batch=5)
    with pytest.raises(DataError, match="metrics returns no dictionary of scalars"):
        evaluate(run, lambda p, x, y, g: {"correct": x})
    with pytest.raises(DataError, match="metrics returns no dictionary of scalars"):
        evaluate(run, lambda p, x, y, g: jnp.sum(x))
    with pytest.raises(DataError, match="params has not the paths and shapes"):
        zkjax.trace_evaluation(run.circuit, metrics, run.params[:1], samples(4, 2))


@pytest.mark.parametrize("samples, batch", [(12, 12), (360, 60), (10_000, 80), (64, 64), (1797, 599), (7, 7), (997, 997)])
def test_batches(samples, batch):
    assert batch_of(samples, None) == batch and samples % batch == 0


def test_no_batch():
    with pytest.raises(DataError, match="10007 samples have no divisor near 64"):
        batch_of(10_007, None)
    with pytest.raises(DataError, match="0 samples have no divisor"):
        batch_of(0, None)
    assert batch_of(10_007, 1) == 1


def test_the_auditor_traces_the_same_circuit():
    """From shapes and the formats that the trainer publishes."""
    circuit, shapes = evaluated().circuit, jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), training()[1][1].params)
    batch = tuple(jax.ShapeDtypeStruct((4, *x.shape[1:]), x.dtype) for x in samples(4, 2))
    again = zkjax.trace_evaluation(training()[0], metrics, shapes, batch, precision=circuit.precision)
    assert again.digest() == circuit.digest()
