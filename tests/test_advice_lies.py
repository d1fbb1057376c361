"""Circuits with ranges, functions, maxima, quotients, roots and paced numbers: lying provers of them, and hostile files."""

import copy
import dataclasses
from fractions import Fraction
from functools import cache

import harness
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from harness import SMALL, Liar, make_run, prove_small, verify_small
from nodes import node
from test_advice import POINT, column
from test_lies import cell_weights, claim, weighted

import zkjax
import zkjax.training.run
from zkjax.algebra import field, functions
from zkjax.algebra.functions import joined
from zkjax.circuit.circuit import Circuit
from zkjax.circuit.parts import Input, Loss, Parameter, Update
from zkjax.ops import maximum
from zkjax.proofs.estimate import charge_file
from zkjax.verifier import dry_run
from zkjax.work import MAX_MEMORY, MAX_WORK, Meter

X = functions.IDENTITY
SHAPE = (1, 2)
LOOKUP, GATE = "lookup layer", "gates: last product"
EQUATION = "level 3"  # where claims on what is looked up end: on the product that a rescale reads


# ---- one of everything -------------------------------------------------------------------------------------------
PRODUCT, SITE, EXP, SQUARE, SIGN, LABELS, HOT, LARGEST, FIRST, QUOTIENT, PACED, ROOT, GRADIENT = 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 14, 21


def everything(numbers=(2, 3)) -> Circuit:
    """A step on two numbers: products with the weights are the site of three riders, a maximum, quotients by e^x, and roots of it."""
    span = {"low": -8, "width": 4}

    def riding(program, unit, point):
        return {"program": program, "unit": unit, POINT: point, **span}

    def times(i, j):
        return node("dot", (i, j), SHAPE, {"contract": ((), ()), "batch": ((0, 1), (0, 1))})

    nodes = (
        node("input", (), SHAPE, {"index": 0}),
        node("param", (), SHAPE, {"index": 0}),
        times(0, 1),
        node("rescale", (PRODUCT,), SHAPE, {"shift": 5, "bits": 3}),
        node("function", (SITE,), SHAPE, riding(joined("exp", X), (1, 8), 3)),
        node("function", (SITE,), SHAPE, riding(joined("neg", joined("mul", X, X)), (1, 4), 2)),
        node("sign", (SITE,), SHAPE),
        node("range", (0,), SHAPE, span),
        node("onehot", (LABELS,), (*SHAPE, 3), {"program": X, "unit": (1, 1), "size": 3, **span}),
        node("largest", (SITE,), (1,), span),
        node("first", (LARGEST, SITE), SHAPE),
        node("divide", (SITE, EXP), SHAPE, {"bits": 3, "divisor": 8}),
        times(EXP, QUOTIENT),
        node("paced", (EXP,), SHAPE, {"numbers": numbers}),
        node("root", (PACED,), SHAPE, {"size": 8}),
        times(ROOT, ROOT),
        node("gate", (SIGN, SITE), SHAPE),
        node("const", (), (3,), {"shape": (3,), "values": (1, 4, 9)}),
        node("scale", (HOT, 17), (*SHAPE, 3), {"axes": (2,)}),
        node("sum", (18,), SHAPE, {"axes": (2,)}),
        node("broadcast", (LARGEST,), SHAPE, {"shape": SHAPE, "axes": (0,)}),
        node("linear", (EXP, SQUARE, 19, 20, FIRST, QUOTIENT, ROOT, 16), SHAPE, {"coefficients": (1, 2, 3, 5, 7, 11, 13, 17)}),
        node("sum", (GRADIENT,), (), {"axes": (0, 1)}),
    )
    parameters = (Parameter("w", SHAPE, (Update(GRADIENT, (1,)),)),)
    return Circuit(nodes, (Input("x", SHAPE, 0, 3),), parameters, (Loss(GRADIENT + 1, Fraction(1)),), 6, max_steps=2).check()


@cache
def honest():
    """(circuit, run): in its first step both entries are equal, in the second they are not."""
    circuit = everything()
    return circuit, trained(circuit)


def trained(circuit):
    run = zkjax.train(circuit, [np.array([[28.0, 28.0]])], (np.array([[1.0, -1.0], [2.0, 2.0]]),), steps=2, seed=1)
    run.chain.geometry = SMALL
    return run


def test_the_honest_run_is_what_it_should_be():
    circuit, run = honest()
    assert Liar(run).broken() == set()
    witness = Liar(run).witness
    named = {"site": SITE, "exp": EXP, "quotient": QUOTIENT, "root": ROOT, "first": FIRST}
    values = {name: witness.values(i) for name, i in named.items()}
    site = values["site"].astype(float)
    assert values["exp"].tolist() == np.floor(8 * np.exp(site / 8) + 0.5).tolist()
    assert values["quotient"].tolist() == np.floor(site / values["exp"] + 0.5).tolist()
    assert values["root"].tolist() == np.floor(np.sqrt(values["exp"] * np.array([2, 3]).reshape(2, 1, 1))).tolist()
    assert values["first"].sum(axis=-1).tolist() == [[1], [1]] and (site[0] == site[0, 0, 0]).all() and (np.diff(site[1]) != 0).all()
    assert {i for i in circuit.advice} == {SITE, EXP, SQUARE, SIGN, HOT, LARGEST, QUOTIENT, ROOT}


def test_every_committed_cell_off_by_one(monkeypatch):
    """No cell of what is committed of these operations can be changed alone, nor how often a row of their tables is looked up.

    What rides on a lookup breaks the lookup; what stands in a form, the equation, and with it the lookup whose column it is.
    """
    _, run = honest()
    first = Liar(run)
    rehearsed = dry_run(first.plan, None)
    monkeypatch.setattr(harness, "dry_run", lambda plan, revealed: rehearsed)
    found: dict = {}
    for key, tensor in first.witness.tensors.items():
        if key[0] in ("initial range", "final range") or key not in first.plan.advice or key[:2] == ("multiplicity", "range"):
            continue  # the limbs of weights and plain tables are ``test_lies.py``'s
        for cell in range(0, tensor.size, 4 if key[0] == "multiplicity" else 1):
            liar, by = Liar(run), (1, -1)[cell % 2]
            changed = tensor.astype(np.int64)
            changed.reshape(-1)[cell] += by
            liar.witness.tensors[key] = changed
            broken = liar.broken()
            assert broken, (key, cell)
            name = key[:2] if key[0] in ("quotient", "function") else key[0]
            found.setdefault(name, set()).add(frozenset(broken))
    always = {name: frozenset.intersection(*sets) for name, sets in found.items()}
    assert always == CELLS
    assert sum(first.witness.tensors[k].size for k in first.plan.advice if k[0] != "multiplicity") == 58


CELLS = {  # what a change of any of these cells breaks; and more, as the cell's step and place may have it
    ("quotient", SITE): {LOOKUP, EQUATION, f"{GATE}: right factor"},
    "sign": {LOOKUP, GATE},
    ("function", EXP): {LOOKUP, EQUATION, GATE, "committed values"},  # the divisor as well
    ("function", SQUARE): {LOOKUP, GATE},
    "onehot": {LOOKUP, GATE},
    "largest": {EQUATION, GATE},  # it is no column by itself
    "first": {LOOKUP, EQUATION, GATE},
    ("quotient", QUOTIENT): {LOOKUP, GATE, "committed values"},
    "remainder": {LOOKUP, EQUATION},
    "excess": {LOOKUP, EQUATION},
    "root": {EQUATION, GATE, "committed values"},
    "multiplicity": {LOOKUP},
}


# ---- lies that are lived with ------------------------------------------------------------------------------------
def lying(circuit, changes: dict):
    """In the hands of a trainer who makes something else of operations: change(integers, inputs) by node, or another ``keep``."""
    nodes = list(circuit.nodes)
    for i, change in changes.items():
        operation = nodes[i].operation

        class Lie(type(operation)):
            def evaluate(self, x, node, shapes, limbs, change=change):
                honest = super().evaluate(x, node, shapes, limbs)
                return honest if change is second_place or honest.dtype.kind == "f" else change(honest, x)

        if change is second_place:
            Lie.keep = second_place
        nodes[i] = dataclasses.replace(nodes[i], operation=Lie(**operation.attributes()))
    return dataclasses.replace(circuit, nodes=tuple(nodes))


def as_defined(liar):
    """The same commitments, with what is virtual as they define it: then a form leaves its table, instead of being another form."""
    witness, circuit = liar.witness, liar.plan.circuit
    for lookups in circuit.lookups.values():
        for lookup in lookups:
            constant, parts = lookup.columns[0]
            if lookup.key in liar.plan.advice:
                continue
            tensors = {p.key: witness.values(p.key[1]) if p.key[0] == "node" else witness.tensors[p.key].astype(np.int64) for p in parts}
            witness.tensors[lookup.key] = field.from_int(sum((column(part, tensors) for part in parts), start=np.int64(constant)))
    return liar


def told(run, cheat):
    """What the lie breaks if it is pushed on, every lookup in its table, and if all is as defined."""
    return claim(run, cheat).broken(), as_defined(claim(run, cheat)).broken()


def at(entry, by):
    def change(value, x):
        changed = np.array(value)
        changed[entry] += by
        return changed

    return change


def last_place(value, x):
    largest, entries = x
    return maximum.places(entries[..., ::-1], largest)[..., ::-1]


def second_place(self, x, y, leaves):
    """What a maximum keeps, with the last place that has it instead of the first."""
    kept = maximum.Largest.keep(self, x, y, leaves)
    if not x[0].shape:
        return kept
    last = last_place(None, [y, x[0]])
    below = y[..., None] - x[0] - (last.sum(axis=-1, keepdims=True) - last.cumsum(axis=-1))
    return kept | {"first": (last, kept["first"][1]), "below": (below, kept["below"][1])}


LIES = {
    "another row's value": {EXP: at((0, 0), 1)},
    "a value that no row has": {SQUARE: at((0, 1), -2)},
    "another label": {HOT: lambda value, x: np.roll(value, 1, axis=-1)},
    "two labels": {HOT: lambda value, x: np.ones_like(value)},
    "no label": {HOT: lambda value, x: np.zeros_like(value)},
    "quotient + 1": {QUOTIENT: at((0, 0), 1)},
    "quotient - 1": {QUOTIENT: at((0, 1), -1)},
    "root + 1": {ROOT: at((0, 0), 1)},
    "root - 1": {ROOT: at((0, 1), -1)},
    "maximum + 1": {LARGEST: at((0,), 1)},
    "maximum - 1": {LARGEST: at((0,), -1)},
    "the second of two equal maxima": {LARGEST: second_place, FIRST: last_place},
    "a mask that is not the sign": {SIGN: lambda value, x: 1 - value},
    "an input in another range": {LABELS: at((0, 0), 1)},
}
EQUATIONS = ("quotient + 1", "quotient - 1", "root + 1", "root - 1", "an input in another range")  # limbs that fit, of another form
PUSHED = dict.fromkeys(EQUATIONS, {EQUATION})
PUSHED |= dict.fromkeys(("maximum + 1", "maximum - 1", "the second of two equal maxima"), {LOOKUP, EQUATION})


@pytest.mark.parametrize("name", LIES)
def test_lies_that_are_lived_with(name):
    """Everything after the lie is computed from it, and every lookup counted: the relation of the operation itself is broken."""
    circuit, run = honest()
    pushed = PUSHED.get(name, {LOOKUP})
    assert told(run, trained(lying(circuit, LIES[name]))) == (pushed, {LOOKUP})


def test_a_paced_number_of_another_step():
    circuit, run = honest()
    swapped = everything((3, 2))
    assert trained(swapped).circuit == swapped and Liar(trained(swapped)).broken() == set()
    assert told(run, trained(swapped)) == ({EQUATION}, {LOOKUP})
    assert circuit.digest() != swapped.digest()


def test_what_no_lie_is():
    """The harness of lies by itself breaks nothing."""
    circuit, run = honest()
    assert told(run, trained(lying(circuit, {EXP: lambda value, x: value}))) == (set(), set())


def test_whole_proofs(monkeypatch):
    """An honest proof is accepted, of a chain of one circuit; proofs of lies are refused."""
    circuit, run = honest()
    proof = prove_small(circuit, run, reveal=("loss",))
    assert verify_small(circuit, proof).losses == tuple(zip(*run.loss_integers))
    for name in ("another label", "quotient + 1", "root - 1", "the second of two equal maxima"):
        cheat = trained(lying(circuit, LIES[name]))
        witness = cheat.witness()
        with monkeypatch.context() as patched:
            patched.setattr(zkjax.training.run.Run, "witness", lambda self, witness=witness: witness)
            presented = dataclasses.replace(trained(circuit), final=cheat.final, loss_integers=cheat.loss_integers, kept=None)
            presented.chain.geometry = SMALL
            lie = prove_small(circuit, presented, reveal=("loss",), check=False)
        with pytest.raises(zkjax.VerificationError) as caught:
            verify_small(circuit, lie)
        assert caught.value.check == "opening", name


# ---- a traced net ------------------------------------------------------------------------------------------------
def classify(params, x, labels):
    hidden = jax.nn.gelu(jax.nn.relu(x @ params[0]["w"] + params[0]["b"]))
    logits = hidden @ params[1]["w"] + params[1]["b"]
    penalty = jnp.mean(jnp.max(logits, axis=-1)) / 4  # its gradient goes to the first place of the maximum
    return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean() + penalty


@pytest.fixture(scope="module")
def net():
    rng = np.random.default_rng(0)
    params = [{"w": rng.normal(size=(a, 3)).astype(np.float32) / 2, "b": np.zeros(3, np.float32)} for a in (4, 3)]
    params[1]["w"][:] = 0  # all logits of the first step are equal
    data = rng.normal(size=(12, 4)).astype(np.float32), rng.integers(0, 3, 12).astype(np.int32)
    formats = zkjax.Precision(activation_scale=4, activation_bits=11, gradient_scale=5, gradient_bits=8)
    return make_run(classify, params, data, batch=4, steps=3, optimizer=optax.adam(1e-2), precision=formats)


def test_a_traced_net_has_all_operations(net):
    circuit, run = net
    for op in ("range", "function", "onehot", "largest", "first", "divide", "root", "paced"):
        assert circuit.of(op), op
    assert Liar(run).broken() == set()
    assert Liar(run, tuple(zip(*run.loss_integers))).broken() == set()
    assert Circuit.from_json(circuit.to_json()) == circuit


@pytest.mark.parametrize("op", ["function", "onehot", "divide", "root", "paced", "largest"])
def test_lies_about_a_traced_net(net, op):
    """Off by one in one entry of the last operation of its kind, in every step, and everything after it follows."""
    circuit, run = net
    i = circuit.of(op)[-1]
    if op == "onehot":
        changes = {i: lambda value, x: np.roll(value, 1, axis=-1)}
    elif op == "largest":  # of equal logits the last one
        changes = {i: second_place} | {j: last_place for j in circuit.of("first") if circuit.nodes[j].inputs[0] == i}
    else:
        changes = {i: at(np.unravel_index(0, circuit.nodes[i].shape), 1)}
    pushed, defined = told(run, again(lying(circuit, changes), run))
    assert pushed and LOOKUP in defined


def again(circuit, run):
    """The run of a liar's circuit on the same data, from the same weights."""
    params = [x * float(circuit.unit(p)) for p, x in enumerate(run.initial) if p not in circuit.given]
    return zkjax.train(circuit, params, zkjax.Dataset(run.data.arrays), steps=run.steps, seed=run.seed)


def test_no_cell_of_a_traced_net_is_without_a_weight(net):
    """Whatever a committed cell of these operations may be, some constraint has a weight there."""
    circuit, run = net
    found, _ = cell_weights(run)
    advice = {key for i, tensors in circuit.advice.items() if circuit.nodes[i].op != "rescale" for key in tensors}
    assert {key[0] for key in advice} == {"function", "onehot", "largest", "first", "quotient", "root", "remainder", "excess"}
    for key in advice:
        assert found[key], key
        weights = [weighted(x) for x in found[key].values()]
        assert np.logical_or.reduce(weights).all() and all(x[:-1].all() for x in weights), key  # of an update's last step one has none


# ---- hostile files -----------------------------------------------------------------------------------------------
def altered(changes: dict, nodes=None, **top):
    """The JSON form with other fields of nodes, by their numbers; with other nodes; with other fields at the top."""
    tree = copy.deepcopy(everything().to_json())
    for i, fields in changes.items():
        old = tree["nodes"][i]
        tree["nodes"][i] = {name: old[name] for name in ("op", "inputs", "scale", "label")} | fields if "op" in fields else old | fields
    tree["nodes"] = tree["nodes"] if nodes is None else [tree["nodes"][i] for i in nodes]
    return tree | top


def moved():
    """A product that is there, but not the next operation: what is paced comes in between."""
    tree = altered({QUOTIENT + 2: {"inputs": [EXP]}, ROOT: {"inputs": [QUOTIENT + 1]}})
    nodes = tree["nodes"]
    nodes[QUOTIENT + 1], nodes[QUOTIENT + 2] = nodes[QUOTIENT + 2], nodes[QUOTIENT + 1]
    return tree


def ending(i: int):
    """The circuit up to a node, which the update reads."""
    tree = altered({}, nodes=range(i + 1), losses=[])
    tree["parameters"][0]["updates"][0]["node"] = i
    return tree


BOTH = [[0, 1], [0, 1]]
SUM = {"op": "linear", "inputs": [EXP, QUOTIENT], "coefficients": [1, 1]}
PROGRAM = [list(instruction) for instruction in joined("exp", X)]
HOSTILE = {
    "a quotient without its product": (altered({QUOTIENT + 1: SUM}), "divide .* next operation is not its product"),
    "a product of the dividend": (altered({QUOTIENT + 1: {"inputs": [SITE, QUOTIENT]}}), "not its product with the divisor"),
    "a product of another quotient": (altered({QUOTIENT + 1: {"inputs": [EXP, SQUARE]}}), "not its product with the divisor"),
    "a product the other way round": (altered({QUOTIENT + 1: {"inputs": [QUOTIENT, EXP]}}), "not its product with the divisor"),
    "a product of other axes": (altered({QUOTIENT + 1: {"batch": [[1, 0], [1, 0]]}}), "not its product with the divisor"),
    "a product that comes later": (moved(), "not its product with the divisor"),
    "a quotient at the end": (ending(QUOTIENT), "not its product with the divisor"),
    "a root without its square": (altered({ROOT + 1: SUM}), "root .* next operation is not its square"),
    "a square of something else": (altered({ROOT + 1: {"inputs": [ROOT, PACED]}}), "not its square"),
    "a square of what it is the root of": (altered({ROOT + 1: {"inputs": [PACED, PACED]}}), "not its square"),
    "a root at the end": (ending(ROOT), "not its square"),
    "one function twice": (altered({SQUARE: {"program": PROGRAM, "unit": [1, 8], POINT: 3}}), "a second one of one tensor"),
    "one sign twice": (altered({SQUARE: {"op": "sign"}}), "a second sign of one quotient"),
    "a function from elsewhere on": (altered({EXP: {"low": -7}}), "function .* reads operation 3 rescale .* no range of its own"),
    "a function of fewer rows": (altered({EXP: {"width": 3}}), "no range of its own"),
    "a function of more rows": (altered({EXP: {"width": 5}}), "no range of its own"),
    "a one-hot from elsewhere on": (altered({HOT: {"low": 0}}), "onehot .* no range of its own"),
    "a maximum from elsewhere on": (altered({LARGEST: {"low": -9}}), "largest .* no range of its own"),
    "a maximum of more rows": (altered({LARGEST: {"width": 5}}), "largest .* no range of its own"),
    "a function of a product": (altered({EXP: {"inputs": [PRODUCT]}}), "operation 2 dot .* no range of its own"),
    "a function of a function": (altered({SQUARE: {"inputs": [EXP]}}), "operation 4 function .* no range of its own"),
    "a sign of a product": (altered({SIGN: {"inputs": [PRODUCT]}}), "reads dot, expected a rescale or range"),
    "a one-hot of an input": (altered({HOT: {"inputs": [0]}}), "operation 0 input .* no range of its own"),
    "a maximum of a product": (altered({LARGEST: {"inputs": [PRODUCT]}}), "operation 2 dot .* no range of its own"),
    "a place in another tensor": (altered({FIRST: {"inputs": [LARGEST, LABELS]}}), "no maximum of its second operand"),
    "a place of no maximum": (altered({LARGEST: {"op": "sum", "axes": [1]}}), "no maximum of its second operand"),
    "a place in another shape": (altered({FIRST: {"inputs": [SITE, LARGEST]}}), "shapes differ"),
    "a range beyond the tables": (altered({LABELS: {"width": 7}, HOT: {"width": 7}}), "7 bits do not fit a table of 6"),
    "a range beyond all tables": (altered({LABELS: {"width": 21}}), r"\(width\)"),
    "a range of one number": (altered({LABELS: {"width": 0}}), r"\(width\)"),
    "a range too far away": (altered({LABELS: {"low": 2**62}}), r"\(low\)"),
    "a quotient beyond the tables": (altered({QUOTIENT: {"bits": 6}}), "7 bits do not fit a table of 6"),
    "a divisor that could wrap": (altered({QUOTIENT: {"divisor": 63}}), "divisor"),
    "no divisor": (altered({QUOTIENT: {"divisor": 0}}), "divisor"),
    "a root that could wrap": (altered({ROOT: {"size": 31}}), "size"),
    "a root of nothing": (altered({ROOT: {"size": 1}}), "size"),
    "a number too few": (altered({PACED: {"numbers": [2]}}), "has 1 numbers; expected 2"),
    "a number too many": (altered({PACED: {"numbers": [2, 3, 4]}}), "has 3 numbers; expected 2"),
    "no numbers": (altered({PACED: {"numbers": []}}), "numbers must be integers"),
    "numbers of a recipe without an end": (altered({}, max_steps=None), "has 2 numbers; expected None"),
    "a number that is too large": (altered({PACED: {"numbers": [2**63, 1]}}), "numbers must be integers"),
    "numbers that are names": (altered({PACED: {"numbers": [["exp", 0], ["x"]]}}), "expected an integer|numbers must be"),
    "a program that reads forward": (altered({EXP: {"program": [["x"], ["exp", 2], ["exp", 0]]}}), "instruction exp reads"),
    "a program that reads itself": (altered({EXP: {"program": [["x"], ["exp", 1]]}}), "instruction exp reads"),
    "a program without its number": (altered({EXP: {"program": [["exp", 0]]}}), "the first is x"),
    "an empty program": (altered({EXP: {"program": []}}), "the first is x"),
    "a program that is no list": (altered({EXP: {"program": 3}}), "malformed attributes"),
    "a program with an unknown name": (altered({EXP: {"program": [["x"], ["sinh", 0]]}}), "expected an integer"),
    "a program with a list in it": (altered({EXP: {"program": [["x"], ["exp", ["exp"]]]}}), "expected an integer|earlier ones"),
    "a number that is not reduced": (altered({EXP: {"program": [["x"], ["number", 2, 4]]}}), "a reduced fraction"),
    "a program that is too long": (altered({EXP: {"program": [["x"], *[["neg", 0]] * 256]}}), "the first is x"),
    "a function without a value": (
        altered({SQUARE: {"program": [["x"], ["number", 0, 1], ["div", 1, 1]]}}),
        "no value in its table|no row in common",
    ),
    "functions without a common row": (
        altered({EXP: {"program": [["x"], ["log", 0]]}, SQUARE: {"program": [["x"], ["neg", 0], ["log", 1]]}}),
        "no row in common",
    ),
    "a unit that is 0": (altered({EXP: {"unit": [0, 1]}}), r"\(unit\)"),
    "a unit over 0": (altered({EXP: {"unit": [1, 0]}}), r"\(unit\)"),
    "a unit over a negative number": (altered({EXP: {"unit": [1, -1]}}), r"\(unit\)"),
    "a unit of three numbers": (altered({EXP: {"unit": [1, 1, 1]}}), r"\(unit\)"),
    "a one-hot of nothing": (altered({HOT: {"size": 0}}), r"\(size\)"),
    "a one-hot of too many": (altered({HOT: {"size": 1025}}), r"\(size\)"),
    "coefficients that are names": (altered({GRADIENT: {"coefficients": [["exp"]] * 8}}), "malformed attributes"),
    "axes that are names": (altered({QUOTIENT + 1: {"batch": [["x", "x"], ["x", "x"]]}}), "malformed attributes"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_are_refused(name):
    tree, message = HOSTILE[name]
    with pytest.raises(zkjax.FormatError, match=message):
        charge_file(Circuit.from_json(tree), Meter(MAX_WORK, MAX_MEMORY))


def test_the_file_that_they_alter():
    assert Circuit.from_json(altered({})).to_json() == everything().to_json()
    for i in (EXP, SQUARE, HOT):  # what is no other operation, and what is another function, may stand beside it
        assert Circuit.from_json(altered({i: {"unit": [3, 16]}})).check()
