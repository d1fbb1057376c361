"""Comparisons: how far first and last weights are apart, or that some are the same, and lies about it, each refused by the right check."""

import json
from dataclasses import replace
from fractions import Fraction
from functools import cache
from unittest import mock

import jax.numpy as jnp
import moving
import numpy as np
import optax
import pytest
from harness import BITS, SMALL, Liar, make_run, prove_small, verify_small
from hypothesis import given
from hypothesis import strategies as st
from reference import verifier as reference
from test_evaluation import evaluated, retrained
from tiny import TINY, next_run

import zkjax
from zkjax.__main__ import main
from zkjax.circuit.parts import Parameter
from zkjax.comparison import Moved, Part, Terms, check_ends, read_comparison
from zkjax.errors import BudgetError, ConfigurationError, FormatError, RunError, VerificationError
from zkjax.proofs.links import joined
from zkjax.proofs.statement import Frozen
from zkjax.training.compare import _limited, ends_of, terms_of
from zkjax.training.evaluate import reading
from zkjax.training.run import Run
from zkjax.training.steps import run_steps

QUICK = {"progress": None, "minimum_bits": BITS}


def distance(first, last, paths=None):
    """Of the values, in floating point."""
    circuit = last.circuit
    own = [p for p in circuit.held["parameters"] if paths is None or circuit.parameters[p].path in paths]
    return float(np.sqrt(sum(float((((last.final[p] - first.initial[p]) * float(circuit.unit(p))) ** 2).sum()) for p in own)))


@cache
def training():
    """(circuit, two runs, their proofs): weights that an optimizer keeps a momentum beside."""
    first = retrained()
    runs = first, next_run(first.circuit, first)
    return first.circuit, runs, [prove_small(first.circuit, run) for run in runs]


@cache
def statements():
    """What ``zkjax.verify`` returns of the training."""
    circuit, _, proofs = training()
    return zkjax.verify(circuit, proofs, minimum_bits=BITS)


@cache
def compared():
    """The distance of the last weights of ``training`` from its first ones."""
    _, (first, second), _ = training()
    return zkjax.compare(second, first, **QUICK)


def verify(made=None, training=None, **options):
    made = made or compared()
    known = training or (globals()["training"]()[0], statements())
    return zkjax.verify_comparison(made.terms, zkjax.Proof.parse(bytes(made.proof)), training=known, **{"minimum_bits": BITS} | options)


def refused(check, match=None, call=verify, **options):
    with pytest.raises(VerificationError, match=match) as error:
        call(**options)
    assert error.value.check in check.split("|")


@cache
def still():
    """(run, statement): three parameters, of which "still" has inputs of zeros, and so does not move, and "frozen" is frozen."""
    rng = np.random.default_rng(5)
    params = {name: rng.normal(size=(3, 2)).astype(np.float32) for name in ("still", "moving", "frozen")}
    data = tuple(rng.normal(size=(12, n)).astype(np.float32) for n in (3, 2)) + (np.zeros((12, 3), np.float32),)
    optimizer = optax.masked(optax.sgd(1 / 16), {"still": True, "moving": True, "frozen": False})
    held = optax.chain(optimizer, optax.masked(optax.set_to_zero(), {"still": False, "moving": False, "frozen": True}))

    def loss(p, x, y, nothing):
        return jnp.mean((x @ p["moving"] + nothing @ p["still"] + x @ p["frozen"] - y) ** 2)

    circuit, run = make_run(loss, params, data, optimizer=held, precision=replace(TINY, data_bits=(7, 7, 7)))
    assert [circuit.parameters[p].path for p in circuit.frozen] == ["frozen"]
    return run, verify_small(circuit, prove_small(circuit, run))


def proven_again():
    """The run of ``still`` with a budget of its own, and its proof."""
    old, _ = still()
    params = {x.path: old.initial[p] * float(x.unit) for p, x in enumerate(old.circuit.parameters)}
    run = zkjax.train(old.circuit, params, old.data, steps=2)
    run.chain.geometry = SMALL
    return run, prove_small(run.circuit, run)


def again():
    """The same, and the proof's statement."""
    run, proof = proven_again()
    return run, verify_small(run.circuit, proof)


def proven(run, terms, ends=None, alter=lambda run: run, **options):
    """A comparison's proof that may be false. alter: its run."""
    circuit = terms.circuit(run.circuit)
    made = alter(reading(circuit, ends or ends_of(run, run), (np.zeros(1),)))
    return Made(terms, prove_small(circuit, made, **{"reveal": circuit.outputs, "check": False} | options))


class Made:
    def __init__(self, terms, proof):
        self.terms, self.proof = terms, proof


# ---- what holds ---------------------------------------------------------------------------------------------------


def test_a_distance_is_that_of_numpy():
    """Between the bounds, which are as near as a table's bits allow."""
    _, (first, second), _ = training()
    (part,) = verify().parts
    known = distance(first, second)
    assert part.least <= known <= part.most and part.most - part.least < 0.001 * known
    assert part.entries == 31 and not part.unchanged and part.squared is None
    assert verify() == compared().result and "distance" in str(verify())
    assert "read the weights committed to by" in str(compared().proof.statement)
    assert compared().proof.statement.read == (statements()[0].initial_weights, statements()[-1].final_weights)


def test_a_distance_that_is_exact():
    """Of few bits, none of which is dropped; states beside the parameters, and frozen ones, are no part of it."""
    circuit = moving.moving(frozen=True)
    params, (x,) = moving.start(frozen=True)
    first = zkjax.train(circuit, params, (np.sign(x) * 2.0**-3,), steps=2)  # of small steps
    first.chain.geometry = SMALL
    last = next_run(circuit, first)
    known = circuit, verify_small(circuit, [prove_small(circuit, x) for x in (first, last)])
    made = zkjax.compare(last, first, **QUICK)
    (part,) = verify(made, known).parts
    assert part.squared == sum(int(((last.final[p] - first.initial[p]) ** 2).sum()) for p in (0, 2)) * circuit.unit(0) ** 2 > 0
    assert part.paths == ("w", "v") and abs(float(part.most) - distance(first, last)) < 1e-12
    assert float(str(part)) == pytest.approx(distance(first, last), 1e-4)


def test_what_did_not_change():
    """Beside what did, of which only a limit is told; both are asked for."""
    run, statement = again()
    made = zkjax.compare(run, unchanged=["still"], at_most=4.0, **QUICK)
    known = run.circuit, [statement]
    found = verify(made, known, unchanged=["still"], at_most=4.0)
    assert found.unchanged == ("still",) and found.parts[1].paths == ("moving",) and str(found.parts[0]) == "unchanged"
    assert made.proof.statement.losses == ((0,), (1,))  # all that is told
    assert distance(run, run) < found.parts[1].most <= 4 and found.parts[1].most > 3.9 and found.parts[1].least == 0
    refused("unchanged", "'moving' is not shown", made=made, training=known, unchanged=["still", "moving"])
    refused("distance", "at most 3 is not shown", made=made, training=known, at_most=3)
    refused("distance", "at most 0 is not shown", made=made, training=known, at_most=0)
    with pytest.raises(BudgetError, match=r"the weights before step 0 are for a proof that replaces .* zkjax.link"):
        zkjax.compare(run, **QUICK)
    link = zkjax.link(run, ["initial", "final"], minimum_bits=BITS)
    replaced = zkjax.compare(run, moved=["moving"], **QUICK)
    refused("training", "its first weights are not", made=replaced, training=known)
    verify(replaced, (run.circuit, verify_small(run.circuit, [prove_small(run.circuit, run), link])))


def test_the_second_verifier_accepts_it():
    """With the same ledger."""
    circuit, raw = json.loads(json.dumps(compared().run.circuit.to_json())), bytes(compared().proof)
    terms = reference.verify(circuit, raw, minimum_bits=BITS, assume_bound=True)
    assert {name: float(x) for name, x in terms.items()} == pytest.approx({name: 2.0**-x for name, x in compared().proof.security.terms})


def by_the_protocol(training, asked):
    """The circuit's file, as section 4.10 says it, from the training's file and the terms'."""
    held = [x for x in training["parameters"] if x["given"] is None and (x["updates"] or x["recurrence"])]
    paths, bits, nodes = [x["path"] for x in held], training["table_bits"] - 1, []

    def add(op, inputs=(), **attributes):
        nodes.append({"op": op, "inputs": list(inputs), "scale": 0, "label": "", **attributes})
        return len(nodes) - 1

    add("input", index=0)
    losses = []
    for number, part in enumerate(asked["parts"]):
        dots, n = [], 0
        for path in part["paths"]:
            i, x = paths.index(path), held[paths.index(path)]
            shape, k = x["shape"], x["unit"][1].bit_length() - x["unit"][0].bit_length() - part["scale"]
            both = add("param", index=i), add("param", index=len(held) + i)
            moved = add("linear", both, coefficients=[-(2 ** max(0, -k)), 2 ** max(0, -k)])
            h = add("rescale", [moved], shift=max(0, k), bits=bits)
            axes = list(range(len(shape)))
            dots.append(add("dot", [h, h], contract=[axes, axes], batch=[[], []]))
            n += int(np.prod(shape))
        total, shown = add("linear", dots, coefficients=[1] * len(dots)), Fraction(1, 4) ** part["scale"]
        if part["limit"] is not None:
            u = max(1, (n * 4**bits + part["limit"]).bit_length() - bits + 1)
            left = add("linear", [add("const", shape=[], values=[part["limit"] + 2 ** (u - 1)]), total], coefficients=[1, -1])
            total, shown = add("sign", [add("rescale", [left], shift=u, bits=bits)]), Fraction(1)
        losses.append({"node": total, "factor": [shown.numerator, shown.denominator], "output": f"part {number}"})
    parameters = [{**x, "path": f"{end} {x['path']}", "updates": [], "recurrence": None} for end in ("first", "last") for x in held]
    inputs = [{"name": "nothing", "shape": [1], "scale": 0, "bits": 0}]
    told = {"inputs": inputs, "parameters": parameters, "nodes": nodes, "losses": losses, "notes": [], "public": []}
    return {**training, **told, "max_steps": None, "period": 1}


@pytest.mark.parametrize("asked", [
    (Part(("0/b", "1/w"), 20), Part(("0/w",), 40, 7)), (Part(("1/b",), 23, 0),), (Part(("1/w", "0/w", "0/b"), 10, 2**61),),
])  # fmt: skip
def test_the_circuit_is_what_the_protocol_says(asked, tmp_path):
    Terms(asked).save(tmp_path / "terms.json")
    trained = training()[0]
    made = by_the_protocol(trained.to_json(), json.loads((tmp_path / "terms.json").read_text()))
    assert zkjax.Circuit.from_json(made).digest() == Terms(asked).circuit(trained).digest()


@given(st.lists(st.integers(-(2**20), 2**20), min_size=1, max_size=9), st.integers(0, 12), st.integers(0, 8), st.integers(0, 2**16))
def test_bounds_hold(differences, scale, bits, limit):
    """Whatever the differences are: of the sum of the squares of the rounded ones, and of a limit that it keeps."""
    own = {"w": parameter(len(differences), bits)}
    part = Part(("w",), scale)
    rounded = [int(np.floor(Fraction(d, 2**bits) * 2**scale + Fraction(1, 2))) for d in differences]
    total, true = sum(h * h for h in rounded), Fraction(sum(d * d for d in differences), 4**bits)
    shown = Moved.of(part, own, total)
    assert shown.least**2 <= true <= shown.most**2 and (shown.squared is None or shown.squared == true)
    assert (shown.squared is not None) == (bits <= scale)
    kept = Moved.of(replace(part, limit=limit), own, None)
    assert total > limit or true <= kept.most**2
    assert not shown.unchanged or not any(differences)
    if not shown.unchanged:
        low, high = (float(x) for x in str(shown).removeprefix("at least ").split(", at most ")) if ", " in str(shown) else (0, 0)
        assert low <= shown.least and (high == 0 or high >= shown.most * (1 - Fraction(1, 2**50)))


def parameter(size, bits):
    return Parameter("w", (size,), unit=Fraction(1, 2**bits))


@pytest.mark.parametrize("total, limit, bit", [(0, 0, 1), (1, 0, 0), (5, 5, 1), (6, 5, 0), (2**20, 2**20 - 1, 0), (2**20, 2**20, 1)])
def test_a_limit_is_kept_exactly(total, limit, bit):
    """Its node is 1 up to the limit, and 0 from there on."""
    run, _ = still()
    circuit = Terms((Part(("moving",), 4, limit),)).circuit(run.circuit)
    (loss,) = circuit.losses
    sign = circuit.nodes[loss.node]
    rescale = circuit.nodes[sign.inputs[0]]
    constant, squares = (circuit.nodes[i] for i in circuit.nodes[rescale.inputs[0]].inputs)
    left = constant["values"][0] - total
    rounded = rescale.operation.evaluate([np.array(left)], rescale, [], None)
    low, width = rescale.operation.span()
    assert low <= rounded < low + 2**width and sign.operation.evaluate([rounded], sign, [], None) == bit


def test_a_folder_that_says_so(tmp_path, capsys):
    run, *proofs = proven_again()
    made = zkjax.compare(run, unchanged=["still"], **QUICK)
    said = zkjax.publish(run, proofs, tmp_path / "folder", model=False, comparisons={"moved": made}, minimum_bits=BITS)
    assert "; still did not change; moving moved from these by at least" in said.sentence
    told = {claim.what: claim for claim in said.claims}
    assert told["moved: still"].value == "unchanged" and told["moved: moving"].files == ("moved/comparison.json", "moved/comparison.proof")
    assert said.facts["comparisons"]["moved"] == made.result.to_json() and said.proofs == 2
    for name, written, check in (
        ("comparison.json", (tmp_path / "folder/moved/comparison.json").read_text().replace('"moving"', '"still"'), "terms"),
        ("comparison.proof", None, "opening|Merkle path"),
    ):
        path = tmp_path / "folder/moved" / name
        whole = path.read_bytes()
        path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]) if written is None else written.encode())
        refused(check, "^.*moved: ", call=lambda: zkjax.check(tmp_path / "folder", minimum_bits=BITS))
        path.write_bytes(whole)
    (tmp_path / "folder/moved/comparison.json").unlink()
    with pytest.raises(ConfigurationError, match="comparison.json is missing"):
        zkjax.check(tmp_path / "folder", minimum_bits=BITS)
    given = {"model": False, "minimum_bits": BITS}
    with pytest.raises(ConfigurationError, match="^comparisons: give those of zkjax.compare by short names"):
        zkjax.publish(run, proofs, tmp_path / "other", comparisons={"moved": made.proof}, **given)
    with pytest.raises(ConfigurationError, match="an evaluation and a comparison are called x"):
        zkjax.publish(run, proofs, tmp_path / "other", comparisons={"x": made}, evaluations={"x": evaluated()}, **given)


def test_the_command_line(tmp_path, capsys):
    """Its verdicts, and what it prints of them."""
    circuit, _, proofs = training()
    at = lambda name: str(tmp_path / name)  # noqa: E731
    circuit.save(at("circuit.json"))
    compared().terms.save(at("terms.json"))
    compared().proof.save(at("comparison.proof"))
    (tmp_path / "chain").mkdir()
    for number, proof in enumerate(proofs):
        proof.save(tmp_path / "chain" / f"{number}.proof")

    def said(*words, status=0, terms="terms.json", chain="chain"):
        usual = ["comparison", at("comparison.proof"), "--terms", at(terms), "--training", at(chain), "--training-circuit"]
        assert main([*usual, at("circuit.json"), "--minimum-bits", str(BITS), *words]) == status
        return capsys.readouterr()

    told = said("--at-most", "0.6").out
    assert "VALID: 3 proofs" in told and "a distance of at most 0.6" in told and "0/b, 0/w, 1/b, 1/w: at least 0.52" in told
    found = json.loads(said("--json").out)
    assert found["valid"] and found["parts"] == json.loads(json.dumps(compared().result.to_json()))
    assert "INVALID: check distance: at most 0.5 is not shown" in said("--at-most", "0.5", status=1).err
    assert "INVALID: check unchanged: '0/b' is not shown" in said("--unchanged", "0/b", status=1).err
    assert "INVALID: check training: its last weights" in said(status=1, chain="chain/0.proof").err
    assert "terms are not usable" in said(status=2, terms="circuit.json").err
    assert "missing" in said(status=2, terms="missing.json").err


# ---- lies ---------------------------------------------------------------------------------------------------------


def told_of(run, losses):
    """The run with other integers of its outputs, and the witness that it had."""
    honest = run.witness()
    return mock.patch.object(Run, "witness", lambda self: honest), replace(run, loss_integers=(losses,))


@pytest.mark.parametrize("limit, claimed", [(None, 0), (0, 1), (200, 1), (100_000, 0)])
def test_another_sum(limit, claimed):
    """That nothing moved, that a distance is in a limit that it is not in, and that one is not that is."""
    run, statement = again()
    terms = Terms((Part(("moving",), 5, limit),))
    circuit = terms.circuit(run.circuit)
    made = reading(circuit, ends_of(run, run), (np.zeros(1),))
    (honest,) = made.loss_integers[0]
    assert honest != claimed and Liar(made, ((honest,),)).broken() == set()
    assert Liar(made, ((claimed,),)).broken() != set()
    witness, lie = told_of(made, (claimed,))
    with witness:
        proof = prove_small(circuit, lie, reveal=circuit.outputs, check=False)
    refused("opening", made=Made(terms, proof), training=(run.circuit, [statement]))


def test_a_difference_that_is_said_to_be_none():
    """All that follows fits: a remainder of more bits than the table has is cut, and then the equation does not hold."""
    run, _ = still()
    circuit = Terms((Part(("moving",), 5),)).circuit(run.circuit)
    liar = Liar(reading(circuit, ends_of(run, run), (np.zeros(1),)), ((0,),))
    (i,), (p,) = circuit.of("rescale"), (p for p, x in enumerate(run.circuit.parameters) if x.path == "moving")
    shift = circuit.nodes[i]["shift"]
    liar.values[i] = np.zeros_like(liar.values[i])
    liar.forms["remainder", i] = (run.final[p] - run.initial[p] + 2 ** (shift - 1) & (1 << shift) - 1)[None]
    assert liar.broken() == {"level 2"}


def test_other_weights():
    """Of the same circuit; the last ones for the first; those of another step."""
    terms = Terms((Part(("moving",), 5),))
    (run, statement), (other, _) = again(), again()
    known = run.circuit, [statement]
    verify(proven(run, terms), known)
    refused("training", "its first weights are not", made=proven(other, terms), training=known)
    for which, ends in (("first", ("final", "initial")), ("last", ("initial", "initial"))):
        run, statement = again()
        made = proven(run, terms, tuple(x._replace(name=name) for x, name in zip(ends_of(run, run), ends, strict=True)))
        refused("training", f"its {which} weights are not", made=made, training=(run.circuit, [statement]))
    refused("training", "its last weights are not", training=(training()[0], statements()[:1]))
    refused("training", "its first weights are not", training=(training()[0], statements()[1:]))
    refused("training|terms", training=known)
    refused("training", "are about another circuit", training=(training()[0], [replace(x, circuit=bytes(32)) for x in statements()]))


@pytest.mark.parametrize("which", [0, -1])
@pytest.mark.parametrize("factor", [Fraction(1, 2), 2])
def test_another_bound(which, factor):
    run, statement = again()

    def alter(made):
        bound = list(made.initial_bound)
        bound[which] = int(bound[which] * factor)
        return replace(made, initial_bound=tuple(bound), final_bound=tuple(bound))

    refused(
        "bounds",
        "relies on other bounds",
        made=proven(run, Terms((Part(("moving",), 5),)), alter=alter),
        training=(run.circuit, [statement]),
    )


def test_another_shift():
    """First weights that are said to be half as large."""
    run, statement = again()
    at = run.circuit.held["parameters"].index(next(p for p, x in enumerate(run.circuit.parameters) if x.path == "moving"))
    assert statement.shifts[0] > 0 and statement.shifts[at] > 0

    def alter(made):
        shifts = tuple(x - (p == at) for p, x in enumerate(made.coarse_shifts))
        halved = tuple(x // 2 if p == at else x for p, x in enumerate(made.initial))
        bounds = run.circuit, made.initial_bound
        return rerun(replace(made, coarse_shifts=shifts, initial=halved, final=halved, kept=None), bounds)

    refused(
        "shifts", "other powers of two", made=proven(run, Terms((Part(("moving",), 3),)), alter=alter), training=(run.circuit, [statement])
    )


def rerun(made, _):
    """As computed from its initial integers."""

    bounds = made.circuit.bounds(made.initial_bound, 1, 0)
    done = run_steps(made.circuit, bounds, made.initial, made.data, made.indices, 0, True, lambda _: None)
    return replace(made, loss_integers=done.losses)


def test_other_terms():
    """What the terms ask is what the proof is about."""
    (part,) = compared().terms.parts
    for other in (replace(part, scale=part.scale - 1), replace(part, limit=5), replace(part, paths=part.paths[1:])):
        refused("circuit", made=Made(Terms((other,)), compared().proof))
    refused("terms", "'2/w' is none of the parameters", made=Made(Terms((replace(part, paths=("2/w",)),)), compared().proof))


def test_what_is_hidden():
    run, statement = again()
    refused("comparison", "is hidden", made=proven(run, Terms((Part(("moving",), 5),)), reveal=()), training=(run.circuit, [statement]))


def test_proofs_of_something_else():
    """An evaluation is no comparison, nor the other way round, whatever the circuit is."""
    refused("circuit", made=Made(compared().terms, evaluated().proof))
    with pytest.raises(VerificationError, match="^evaluation: the proof does not read the weights of one training"):
        zkjax.verify_evaluation(compared().run.circuit, compared().proof, assume_bound=True, minimum_bits=BITS)
    one = replace(compared().proof.statement, frozen=compared().proof.statement.frozen._replace(beside=None))
    with pytest.raises(VerificationError, match="^comparison: the proof does not read the weights of two commitments"):
        check_ends(training()[0], statements(), one, joined([*statements(), one]))
    first = compared().proof.statement.frozen
    last = first.beside
    for frozen, match in (
        (Frozen(replace(first.commitment, kind="frozen"), first.parameters, last), "frozen parameters stand beside others"),
        (
            first._replace(beside=last._replace(commitment=replace(last.commitment, kind="frozen"))),
            "commitment to frozen 0: it is of frozen 4",
        ),
        (first._replace(beside=last._replace(parameters=last.parameters[1:])), "the frozen parameters of the circuit are"),
        (first._replace(beside=None), "the frozen parameters of the circuit are"),
    ):
        stated = replace(compared().proof.statement, frozen=frozen)
        with pytest.raises(VerificationError, match=match):
            verify_small(compared().run.circuit, zkjax.Proof(stated, compared().proof.body), assume_bound=True)


def test_limits_that_are_not_kept():
    terms = Terms((Part(("moving",), 5, 3),))
    statement = replace(compared().proof.statement, losses=((0,),))
    with pytest.raises(VerificationError, match="^distance: the squared distance of part 0 is above its limit"):
        read_comparison(terms, still()[0].circuit, statement)


# ---- misuse, and files --------------------------------------------------------------------------------------------


def test_terms_are_a_file(tmp_path):
    compared().terms.save(tmp_path / "terms.json")
    assert Terms.load(tmp_path / "terms.json") == compared().terms
    good = json.loads((tmp_path / "terms.json").read_text())
    part = good["parts"][0]
    for text, match in (
        ("{", "not a JSON file"),
        ("[" * 100_000, "not a JSON file"),
        ("[]", "not the terms of a comparison"),
        (json.dumps(good | {"more": 1}), "not the terms of a comparison"),
        (json.dumps(good | {"format": "zkjax circuit"}), "not the terms of a comparison"),
        (json.dumps(good | {"version": 2}), "version 2, this zkjax reads version 1"),
        (json.dumps(good | {"version": True}), "version True"),
        (json.dumps(good | {"parts": {}}), r"parts\[0\] needs paths, scale and limit"),
        (json.dumps(good | {"parts": [part | {"more": 1}]}), r"parts\[0\] needs paths, scale and limit"),
        (json.dumps(good | {"parts": [part | {"paths": "w"}]}), "paths is no list of names"),
        (json.dumps(good | {"parts": [part | {"paths": [1]}]}), "paths is no list of names"),
        (json.dumps(good | {"parts": [part | {"scale": 1.0}]}), "scale is 1.0"),
        (json.dumps(good | {"parts": [part | {"scale": 2**10 + 1}]}), "scale is 1025"),
        (json.dumps(good | {"parts": [part | {"limit": -1}]}), "limit is -1"),
        (json.dumps(good | {"parts": [part | {"limit": 2**62}]}), "limit is 4611686018427387904"),
        (json.dumps(good | {"parts": [part | {"limit": True}]}), "limit is True"),
    ):
        (tmp_path / "terms.json").write_text(text)
        with pytest.raises(FormatError, match=match):
            Terms.load(tmp_path / "terms.json")


def test_terms_that_fit_no_training():
    circuit = still()[0].circuit
    for parts, match in (
        ((), "of one part or more"),
        ((Part((), 3),), "each of one parameter or more"),
        ((Part(("frozen",), 3),), "'frozen' is none of the parameters that are trained: moving, still"),
        ((Part(("moving", "moving"), 3),), "stands in the parts of a comparison twice"),
        ((Part(("moving",), 3), Part(("moving",), 4)), "stands in the parts of a comparison twice"),
        ((Part(("moving",), 500),), "bits after the point, and is compared with 500 of them"),
        ((Part(("moving",), -500),), "is compared with -500 of them"),
    ):
        with pytest.raises(ConfigurationError, match=match):
            Terms(parts).circuit(circuit)
    odd = replace(circuit, parameters=tuple(replace(x, unit=Fraction(1, 3)) for x in circuit.parameters))
    with pytest.raises(ConfigurationError, match="the unit of moving is no power of two"):
        Terms((Part(("moving",), 3),)).circuit(odd)


def test_misuse_of_the_verifier():
    known = training()[0], statements()
    for terms, proof, options, match in (
        (1, compared().proof, {}, "^terms is a int"),
        (compared().terms, [compared().proof], {}, "^proof: give the zkjax.Proof of a comparison"),
        (compared().terms, compared().proof, {"training": None}, r"^training: give \(circuit, statements\)"),
        (compared().terms, compared().proof, {"minimum_bits": 0}, "^minimum_bits is 0"),
        (compared().terms, compared().proof, {"at_most": -1}, "^at_most is -1"),
        (compared().terms, compared().proof, {"at_most": "1"}, "^at_most is '1'"),
        (compared().terms, compared().proof, {"at_most": float("nan")}, "^at_most is nan"),
        (compared().terms, compared().proof, {"unchanged": "0/b"}, "^unchanged: give a list of paths"),
        (compared().terms, compared().proof, {"unchanged": [1]}, "^unchanged: give a list of paths"),
    ):
        with pytest.raises(ConfigurationError, match=match):
            zkjax.verify_comparison(terms, proof, **{"training": known, "minimum_bits": BITS} | options)


def test_misuse_of_the_trainer():
    run, _ = still()
    for options, kind, match in (
        ({"unchanged": ["moving"]}, ConfigurationError, "^moving is not unchanged; leave it out"),
        ({"unchanged": ["mov"]}, ConfigurationError, "no parameter is called 'mov'; there are moving, still"),
        ({"unchanged": ["frozen"]}, ConfigurationError, "the circuit freezes frozen: that it is unchanged the training's own proofs show"),
        ({"unchanged": "still"}, ConfigurationError, "give a list of names"),
        ({"unchanged": ["still"], "moved": ["still"]}, ConfigurationError, "is to be shown unchanged and moved"),
        ({"unchanged": ["still"], "moved": [], "at_most": 1}, ConfigurationError, "at_most is the distance of what is moved"),
        ({"at_most": 0}, ConfigurationError, "^at_most is 0; give a distance above 0"),
        ({"at_most": "x"}, ConfigurationError, "^at_most is 'x'; give a distance above 0"),
        ({"at_most": float("inf")}, ConfigurationError, "^at_most is inf"),
        ({"at_most": 0.01}, ConfigurationError, "^the distance is not shown to be at most at_most"),
        ({"first": training()[1][0]}, RunError, "^first and run are of two chains"),
        ({"first": again()[0]}, RunError, "^first and run are of two chains"),
        ({"first": 3}, RunError, "^first is a int"),
    ):
        with pytest.raises(kind, match=match):
            zkjax.compare(run, **QUICK | options)
    with pytest.raises(RunError, match="^run is an evaluation"):
        zkjax.compare(evaluated().run, **QUICK)
    assert not run.chain.openings.spent.get(f"{run.keys[0].name} 0 parameters", 0) > 1  # nothing was spent


def test_names_stand_for_what_is_below_them():
    _, (first, second), _ = training()
    ends = ends_of(first, second)
    (part,) = terms_of(ends, ["1", "0/b"], (), None).parts
    assert part.paths == ("0/b", "1/b", "1/w")
    size = 2**20
    with pytest.raises(ConfigurationError, match="less than what rounding leaves open of so many weights"):
        _limited(Part(("w",), 20), {"w": parameter(size, 20)}, {"w": np.zeros(size, np.int64)}, 255, 1.0)
