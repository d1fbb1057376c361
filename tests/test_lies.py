"""Lying provers: consistent but wrong witnesses, and every committed cell off by one, break the constraint that guards them."""

import dataclasses
import importlib
import itertools
import zlib

import harness
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from harness import Liar, data_for, make_run, mlp_loss, mlp_params, mlp_run, prove_small, verify_small
from nodes import ROUNDED, equation, roundings, signed
from nodes import node as operation
from test_integers import _circuit, rescaled, trained
from tiny import tiny_run

import zkjax
import zkjax.prover.prove
from zkjax.algebra import exact, field
from zkjax.algebra import extension as ext
from zkjax.algebra.extension import ONE, ZERO
from zkjax.algebra.field import P
from zkjax.algebra.hashing import hash_columns
from zkjax.algebra.low_rank import factorised
from zkjax.algebra.ntt import encode
from zkjax.circuit.parts import Update
from zkjax.commitment.merkle import leaf_headers, part_tag
from zkjax.kernels.sites import low_rank
from zkjax.kernels.threads import scope
from zkjax.ops import ranges
from zkjax.protocol.argument import argument
from zkjax.protocol.hidden import Functional, Hidden, make_masks
from zkjax.protocol.transcript import Transcript, Writer
from zkjax.prover import commitments
from zkjax.prover.witness import vectors_of
from zkjax.verifier import dry_run

commit = importlib.import_module("zkjax.commitment.commit")  # the package gives its function this name
BOTH = {"level 2", "committed values"}
LOOKUP = {"lookup multiplicities", "lookup layer", "committed values"}


@pytest.fixture(scope="module")
def net():
    return mlp_run((3, 4, 3, 2), batch=3, steps=3, samples=10)


def test_an_honest_run_breaks_nothing(net):
    _, run = net
    assert Liar(run).broken() == set()
    losses = tuple(zip(*run.loss_integers, strict=True))
    assert Liar(run, losses).broken() == set()


def rescales(circuit, gradient):
    """Rescale nodes: of the forward pass (read by a sign) or of gradients."""
    return [i for i in roundings(circuit) if signed(circuit, i) != gradient]


# ---- runs of another recipe -------------------------------------------------------------------------------------
def other_run(circuit, run, **changes):
    """The same integers trained by an altered circuit: what a cheating trainer would hold."""
    altered = dataclasses.replace(circuit, **changes)
    data = zkjax.Dataset(run.data.arrays)
    cheat = zkjax.train(altered, _params(circuit, run), data, steps=run.steps, seed=run.seed)
    return cheat


def _params(circuit, run):
    return [x * float(circuit.unit(p)) for p, x in enumerate(run.initial)]


def claim(run, cheat):
    """A liar who presents ``cheat``'s integers as ``run``'s."""
    liar = Liar(cheat)
    liar.run, liar.plan = run, Liar(run).plan
    return liar


def test_another_learning_rate(net):
    circuit, run = net
    parameters = tuple(
        dataclasses.replace(p, updates=tuple(Update(u.node, tuple(2 * r for r in u.rates)) for u in p.updates)) for p in circuit.parameters
    )
    assert claim(run, other_run(circuit, run, parameters=parameters)).broken() == {"level 3", "level 2"}


def test_an_update_that_is_never_made(net):
    circuit, run = net
    for p in range(len(circuit.parameters)):
        frozen = tuple(dataclasses.replace(x, updates=()) if i == p else x for i, x in enumerate(circuit.parameters))
        assert claim(run, other_run(circuit, run, parameters=frozen)).broken() == {"level 3", "level 2"}


def test_other_batches(net):
    _, run = net
    assert claim(run, dataclasses.replace(run, **_trained(run, seed=run.seed + 1))).broken() == {"level 3", "gates: last product"}


def _trained(run, seed):
    other = zkjax.train(run.circuit, _params(run.circuit, run), run.data, steps=run.steps, seed=seed)
    return {"seed": seed, "final": other.final, "initial": other.initial, "loss_integers": other.loss_integers, "kept": None}


def test_swapped_labels_and_altered_samples(net):
    """The samples are read by the first product and its gradient, the labels by the error alone."""
    _, run = net
    used = run.indices.reshape(-1)
    for k, expected in enumerate(({"level 3", "gates: last product"}, {"level 3"})):
        liar = Liar(run)
        first, second = used[0], used[1]
        liar.data[k][[first, second]] = liar.data[k][[second, first]]
        assert liar.broken() == expected
        liar = Liar(run)
        liar.data[k][used[0]] += 1
        assert liar.broken() == expected


def test_a_sample_that_no_step_reads_may_be_anything():
    circuit, run = mlp_run((3, 2), batch=2, steps=1, samples=10)
    liar = Liar(run)
    unread = next(n for n in range(10) if n not in run.indices)
    liar.data[0][unread] += 1
    assert liar.broken() == set()


# ---- the last weights -------------------------------------------------------------------------------------------
def test_weights_that_were_not_trained(net):
    circuit, run = net
    liar = Liar(run)
    liar.final = tuple(x.copy() for x in run.initial)
    assert liar.broken() == {"level 2"}


def test_antisymmetric_change_of_a_square_matrix():
    circuit, run = mlp_run((3, 3, 3), batch=2, steps=2)
    square = next(p for p, x in enumerate(run.final) if x.shape == (3, 3))
    liar = Liar(run)
    liar.final[square][0, 1] += 5
    liar.final[square][1, 0] -= 5
    assert liar.broken() == {"level 2"}


def test_another_start(net):
    _, run = net
    for p in range(len(run.initial)):
        liar = Liar(run)
        witness = liar.witness
        changed = [x.copy() for x in liar.initial]
        changed[p].reshape(-1)[0] += 1
        witness.initial = liar.initial = tuple(changed)
        assert liar.broken() == {"level 3", "level 2"}  # its limbs are those of the honest start


# ---- advice -----------------------------------------------------------------------------------------------------
def test_rounding_off_by_one(net):
    """Another quotient, balanced by a remainder that leaves its range: what is left of it in its limbs breaks the equation."""
    circuit, run = net
    for i in roundings(circuit):
        liar = Liar(run)
        liar.values[i].reshape(-1)[0] += 1
        liar.forms["remainder", i].reshape(-1)[0] -= 1 << circuit.nodes[i].operation.shift
        assert {"level 3"} <= liar.broken() <= {"level 3", "gates: last product", "level 2"}


def test_a_mask_that_is_not_the_sign(net):
    circuit, run = net
    for i in circuit.of("sign"):
        y = run.witness().values[circuit.nodes[i].inputs[0]]
        for value in (0, 1, 2):
            for index in np.ndindex(y.shape):
                if (y[index] > 0) == value:
                    continue
                liar = Liar(run)
                liar.values[i][index] = value
                gates = [g for g in circuit.of("gate") if circuit.nodes[g].inputs[0] == i]
                for g in gates:  # the rest of the witness is consistent with the lie at this gate
                    liar.values[g][index] = value * liar.values[circuit.nodes[g].inputs[1]][index]
                assert {"lookup layer"} <= liar.broken() <= {"lookup layer", "level 3", "level 2"}
                break


def test_zero_has_mask_zero():
    """The derivative of ReLU at 0 is 0: a mask of 1 there is rejected, and would make the activation half a unit less than 0."""
    params = mlp_params((2, 3, 2), bias=False)
    params[0]["w"][:, 0] = 0
    circuit, run = make_run(mlp_loss, params, data_for((2, 2)), batch=2, steps=1)
    sign = circuit.of("sign")[0]
    y = run.witness().values[circuit.nodes[sign].inputs[0]]
    assert (y[..., 0] == 0).all()
    liar = Liar(run)
    liar.values[sign][..., 0] = 1
    assert liar.broken() == {"lookup layer", "gates: last product", "level 2", "level 3"}


def test_a_value_from_another_tables_range(net, monkeypatch):
    """Range tables have tags of their own: a limb that fits only the wider table is rejected, its multiplicity counted there."""
    monkeypatch.setattr(ranges, "_ROW", 0)  # all tables are kept
    _, run = net
    liar = Liar(run)
    tensors, found = liar.witness.tensors, [x for x in liar.plan.sites.lookups if x.table.kind == "range"]
    widest = max(x.table for x in found)
    narrow = next(x for x in found if x.key in tensors and x.key[-1] != 0 and x.table != widest)
    outside = 1 << narrow.table.width
    old = int(tensors[narrow.key].reshape(-1)[0])
    for key, cell, change in ((narrow.key, 0, outside - old), (narrow.table.key, old, -1), (widest.key, outside, 1)):
        tensors[key] = tensors[key].astype(np.int64)
        tensors[key].reshape(-1)[cell] += change
    assert liar.broken() == {"lookup layer", "level 3"}


# ---- losses -----------------------------------------------------------------------------------------------------
def test_another_loss(net):
    _, run = net
    losses = [list(x) for x in zip(*run.loss_integers, strict=True)]
    for t in range(run.steps):
        wrong = [list(x) for x in losses]
        wrong[0][t] += 1
        assert Liar(run, tuple(map(tuple, wrong))).broken() == {"level 2"}


# ---- pads and triples -------------------------------------------------------------------------------------------
def test_a_triple_that_is_no_product(net):
    """A wrong c breaks a constraint here or the triples' own test; the latter is ``tests/test_hidden.py``'s."""
    _, run = net
    liar = Liar(run)
    liar.broken()
    for slot in (2, 4):
        liar.masks["c"][slot] = liar.masks["c"][slot] + 1
        assert liar.broken()


# ---- completeness of the guard ----------------------------------------------------------------------------------
CELLS = zkjax.Precision(activation_scale=1, activation_bits=3, gradient_scale=2, gradient_bits=3, data_bits=(3, 3), table_bits=4)


def altered_cells(run):
    """(kind, cell, liar) for every committed cell, one more and one less in turn, by a prover who argues from what is altered.

    Left out are the lowest limbs, which are not committed. A sample's cell is altered wherever a step reads it. The multiplicities
    are those of the honest run: they are other cells.
    """
    circuit, honest = run.circuit, Liar(run)
    gated = {circuit.nodes[i].inputs[1] for i in circuit.of("gate")}
    for key, tensor in honest.witness.tensors.items():
        for cell in range(tensor.size if key[0] not in ("remainder", "initial range") or key[2] else 0):
            liar, by = Liar(run), (1, -1)[cell % 2]
            changed = tensor.astype(np.int64)
            changed.reshape(-1)[cell] += by
            liar.witness.tensors[key] = changed
            yield (key[0], key[1] in gated) if key[0] == "quotient" else key[0], (key, cell, by), liar
    for p, array in enumerate(run.initial):
        for index in np.ndindex(array.shape):
            by = (1, -1)[sum(index) % 2]
            liar = Liar(run)
            liar.witness.initial[p][index] += by
            yield "initial", (p, index, by), liar
            liar = Liar(run)
            liar.final[p][index] -= by
            yield "final", (p, index, -by), liar
    for k, array in enumerate(run.data.arrays):
        (node,) = (i for i in circuit.of("input") if circuit.nodes[i].operation.index == k)
        for index in np.ndindex(array.shape):
            liar, by = Liar(run), (1, -1)[sum(index) % 2]
            liar.data[k][index] += by
            liar.witness.values(node)[(run.indices == index[0], *index[1:])] += by
            yield "data" if index[0] in run.indices else "unread", (k, index, by), liar


def test_every_committed_cell_off_by_one(monkeypatch):
    """The best guard against a forgotten relation: no committed cell can be changed alone, but in samples that no step reads."""
    _, run = tiny_run((2, 2, 1), batch=2, steps=2, rate=1 / 4, samples=6, seed=6, precision=CELLS)
    rehearsed = dry_run(Liar(run).plan, None)
    monkeypatch.setattr(harness, "dry_run", lambda plan, revealed: rehearsed)  # the same for all, and a quarter of the time
    equation, lookup, product = "level 3", "lookup layer", "gates: last product"
    varying = {"sign": {lookup}, "data": {equation, lookup}}  # and more, as the other factor of the cell may be
    expected = {
        ("quotient", True): {equation, lookup, f"{product}: right factor"},
        ("quotient", False): {equation, lookup, product, "level 2"},
        "remainder": {equation, lookup},
        "multiplicity": {lookup},
        "initial": {equation, "level 2"},
        "final": {"level 2"},
        "unread": set(),
    }
    found = set()
    for kind, cell, liar in altered_cells(run):
        broken = liar.broken()
        assert broken >= varying[kind] if kind in varying else broken == expected[kind], cell
        found.add(kind)
    assert found == {*expected, *varying}


def test_optax_schedule_steps_are_bound():
    params, data = mlp_params((3, 2)), data_for((3, 2))
    schedule = optax.piecewise_constant_schedule(1 / 16, {1: 0.5, 2: 0.5})
    circuit, run = make_run(mlp_loss, params, data, batch=3, steps=3, optimizer=optax.sgd(schedule))
    assert Liar(run).broken() == set()
    p = circuit.parameters[0]
    swapped = tuple(Update(u.node, u.rates[::-1]) for u in p.updates)
    parameters = (dataclasses.replace(p, updates=swapped), *circuit.parameters[1:])
    assert claim(run, other_run(circuit, run, parameters=parameters)).broken() == {"level 3", "level 2"}


def test_the_traced_loss_is_the_revealed_one(net):
    circuit, run = net
    assert float(run.losses[0]) == pytest.approx(
        float(mlp_loss(mlp_params((3, 4, 3, 2)), *(x[run.indices[0]] for x in data_for((3, 4, 3, 2), 10)))), rel=0.05
    )
    assert jnp.isfinite(float(run.losses[0]))


# ---- lies that are lived with: everything after them is computed from them ---------------------------------------
@pytest.fixture(scope="module")
def coarse():
    """Formats that are small, but fine enough for every lie to matter."""
    formats = zkjax.Precision(activation_scale=6, activation_bits=10, gradient_scale=8, gradient_bits=10, data_bits=(9, 9), table_bits=11)
    return tiny_run((3, 4, 3, 2), batch=3, steps=3, samples=10, precision=formats)


def evaluated(run, *, batches=None, alter=None, skipped=()):
    """Train ``run`` again, step by step: (values, forms, last weights).

    batches: read instead of the schedule's. alter(step, node, value): the value that a node takes instead, for all that
    follows. skipped: steps that update nothing.
    """
    circuit = run.circuit
    limbs = exact.plan(circuit, circuit.bounds(run.initial_bound, run.steps, run.first_step).nodes)
    weights, values, forms = run.initial, {}, {}
    for t, batch in enumerate(run.indices if batches is None else batches):
        step: list = []
        for i, (node, cut) in enumerate(zip(circuit.nodes, limbs, strict=True)):
            below = [step[j] for j in node.inputs]
            if node.op == "input":
                value = run.data.arrays[node.operation.index][batch]
            elif node.op == "param":
                value = weights[node.operation.index]
            elif node.op == "const":
                value = np.array(node.operation.values, dtype=np.int64).reshape(node.shape)
            else:
                value = node.operation.evaluate(below, node, [x.shape for x in below], cut)
            step.append(value if alter is None else alter(t, i, value.copy()))
            if node.op in (*ROUNDED, "input", "sign", "gate"):
                values.setdefault(i, []).append(step[i])
            if node.op in ROUNDED:
                forms.setdefault(("remainder", i), []).append(
                    exact.remainder(below[0], step[i], node.operation.shift, node.operation.added)
                )
        rates = [0 if t in skipped else u.rate(run.first_step + t) for p in circuit.parameters for u in p.updates]
        weights = exact.update(circuit, weights, step, rates)
    return {i: np.stack(x) for i, x in values.items()}, {key: np.stack(x) for key, x in forms.items()}, weights


def retrained(run, **lie):
    """A liar who lived with the lie. Limbs that do not fit are cut, so that every lookup is in its table: the lie is pushed on."""
    liar = Liar(run)
    liar.values, liar.forms, liar.final = evaluated(run, **lie)
    return liar


def as_defined(liar):
    """The same commitments, with all that is virtual as they define it; then what does not fit is a limb outside its table."""
    circuit, committed = liar.run.circuit, liar.values

    def forced(t, i, value):
        return committed[i][t] if circuit.nodes[i].op in (*ROUNDED, "sign") else value

    tensors = dict(liar.witness.tensors)
    liar.values, forms, _ = evaluated(liar.run, alter=forced)
    liar._witness = None
    for i in roundings(circuit):
        lowest, offset = forms["remainder", i].copy(), 0
        for j, (_, width) in enumerate(equation(circuit, i).limbs):
            if j:
                lowest -= tensors["remainder", i, j].astype(np.int64) << offset
            offset += width
        tensors["remainder", i, 0] = field.from_int(lowest)
    liar.witness.tensors.update(tensors)
    return liar


def test_retraining_is_the_recipe(coarse):
    _, run = coarse
    honest = retrained(run)
    witness = run.witness()
    for i, values in witness.values.items():
        assert np.array_equal(honest.values[i], values)
    assert all(np.array_equal(a, b) for a, b in zip(honest.final, run.final))
    assert honest.broken() == as_defined(retrained(run)).broken() == set()


def exchanged(indices, a, b):
    """The batches with two places exchanged."""
    result = indices.copy()
    result[a], result[b] = indices[b], indices[a]
    return result


def identity(circuit, masks):
    """No ReLU: the activation is the quotient, and the gradient passes. masks: whether the committed masks say so too."""
    quotients = {}

    def alter(_, i, value):
        node = circuit.nodes[i]
        if node.op in ROUNDED:
            quotients[i] = value
        if node.op == "sign" and masks:
            return np.ones_like(value)
        return quotients[node.inputs[1]] if node.op == "gate" else value

    return alter


def nudged(node, step, by=1):
    """One entry of one node in one step is another."""

    def alter(t, i, value):
        if (t, i) == (step, node):
            value.reshape(-1)[0] += by
        return value

    return alter


def ignored(node):
    return lambda _, i, value: np.zeros_like(value) if i == node else value


def lived_lies(circuit, run):
    """name: (the lie, what it breaks when pushed on, what it breaks when all is as defined)."""
    indices = run.indices
    other = next(n for n in range(run.data.samples) if n not in indices[1])
    one_swapped = indices.copy()
    one_swapped[1, 0] = other
    inputs = {"gates: last product", "level 3"}
    yield "one sample swapped", {"batches": one_swapped}, inputs, {"lookup layer", "level 2"}
    yield "order within a batch", {"batches": exchanged(indices, (1, 0), (1, 1))}, inputs, {"lookup layer", "level 2"}
    yield "batches exchanged", {"batches": exchanged(indices, 0, 1)}, inputs, {"lookup layer", "level 2"}
    yield "one batch twice", {"batches": indices[[0, 1, 1]]}, inputs, {"lookup layer", "level 2"}
    for t in range(run.steps - 1):
        yield f"step {t} skipped", {"skipped": (t,)}, {"level 3", "level 2"}, {"lookup layer", "level 2"}
    yield "last step skipped", {"skipped": (run.steps - 1,)}, {"level 2"}, {"level 2"}
    yield "no ReLU", {"alter": identity(circuit, False)}, {"gates: last product"}, {"lookup layer", "level 2"}
    yield "no ReLU, masks of ones", {"alter": identity(circuit, True)}, {"lookup layer"}, {"lookup layer"}
    for i in circuit.of("gate"):  # an activation or masked gradient, and all that follows
        yield f"gate {i}", {"alter": nudged(i, 1)}, {"gates: last product"}, {"lookup layer", "level 2"}
    for i, by in zip(roundings(circuit), itertools.cycle((1, -1))):
        yield f"rescale {i} {by:+d}", {"alter": nudged(i, 1, by)}, {"level 3"}, {"lookup layer"}
    for i in circuit.of("param"):
        if len(circuit.nodes[i].shape) == 1:
            yield f"bias {i} ignored", {"alter": ignored(i)}, {"level 3"}, {"lookup layer"}


def test_lies_that_are_lived_with(coarse):
    """Each is caught by the check that should catch it, however the liar tells it."""
    circuit, run = coarse
    lies = list(lived_lies(circuit, run))
    assert len(lies) > 20
    for name, lie, pushed, defined in lies:
        assert retrained(run, **lie).broken() == pushed, name
        assert as_defined(retrained(run, **lie)).broken() == defined, name


def cell_weights(run):
    """What the constraints of an honest argument gain, in K, when a committed cell is one more: (key: {constraint: array}, masks).

    masks: for the cells of the pads and triples, in the combination of all constraints that is opened.
    """
    liar = Liar(run)
    masks = make_masks(dry_run(liar.plan, None).counts(), liar.elements)
    found: dict = {}
    with scope():
        hidden = Hidden(Writer(Transcript(b"parameters", b"statement")), masks)
        argument(hidden, liar.plan, None, liar.witness)
        for name, form in hidden.constraints:
            factors = {form.index: ONE}
            for below in reversed(hidden.tape[: form.index + 1]):
                own = factors.pop(below.index, ZERO)
                for factor, parent in below.parents if own else ():
                    factors[parent.index] = factors.get(parent.index, ZERO) + own * factor
                if not own or not isinstance(below.leaf, Functional):
                    continue
                for term in liar.plan.scatter(list(below.leaf.terms)):
                    shape = liar._committed(term.key).shape
                    weights = low_rank(*factorised(vectors_of([term]), shape)) if shape else ext.stack([term.scalar])
                    weights = tuple(np.asarray(c).reshape(shape) for c in ext.mul(weights, ext.stack([own])))
                    sums = found.setdefault(term.key, {})
                    sums[name] = ext.add(sums[name], weights) if name in sums else weights
        masks, _, _ = hidden.finish()
    return found, masks


def weighted(weights):
    """Where a K array is not zero."""
    low, high = weights
    return (low != 0) | (high != 0)


@pytest.mark.parametrize("shard_size", [None, 4])
def test_commitments_to_something_else(coarse, shard_size):
    """An honest argument about other tensors than those that are committed: a cell that differs, by whatever it may be, breaks
    exactly its constraints, for each has a weight there. Without a weight are samples that no step reads, and no other cell.
    """
    circuit, run = coarse if shard_size is None else tiny_run((3, 4, 2), rate=3 / 64, samples=10, shard_size=shard_size)
    product = "gates: last product"
    expected = {
        ("quotient", True): {"level 3", f"{product}: right factor"},
        ("quotient", False): {"level 3", product, "level 2"},  # the error's: it is no gate's input, but a gradient itself
        ("quotient", None): {"level 3"},  # the error's before its constant: only that rescale reads it
        "remainder": {"level 3"},
        "sign": {"level 3", product, f"{product}: left factor"},  # an activation reads it beside its gate
        "multiplicity": {"lookup multiplicities"},
        "initial": {"level 3", "level 2"},
        "final": {"level 2"},
        ("data", 0): {"level 3", product},
        ("data", 1): {"level 3"},
    }
    found, masks = cell_weights(run)
    liar = Liar(run)
    assert set(found) == set(liar.plan.advice).union(*(layout.shapes for layout in liar.plan.members))
    gated = {i: True for i in (circuit.nodes[i].inputs[1] for i in circuit.of("gate"))}
    gated |= {i: None for i in roundings(circuit) if circuit.nodes[i].label.endswith("before its constant")}
    for key, sums in found.items():
        kind = (key[0], gated.get(key[1], False)) if key[0] == "quotient" else (key[0], key[2]) if key[0] == "data" else key[0]
        assert set(sums) == expected[kind], key
        used = np.ones(liar._committed(key).shape, dtype=bool)
        if key[0] == "data":
            used[~np.isin(key[1] * liar.plan.batches.shard_size + np.arange(len(used)), run.indices)] = False
        for name, weights in sums.items():
            assert np.array_equal(weighted(weights), used), (key, name)
    assert set(masks) == {"pad", "a", "b", "c"} and all(weighted(weights).all() for weights in masks.values())


def committing(run, key, by: int) -> Liar:
    """A liar whose commitment holds so much more in each entry of one tensor."""
    liar = Liar(run)
    honest = liar._committed
    liar._committed = lambda asked: field.add(honest(asked), field.from_int(np.int64(by))) if asked == key else honest(asked)
    return liar


def test_a_net_without_activations():
    """Where no claim goes to the gates, each ends in a constraint of its own; one committed cell breaks it, in every tensor."""
    _, run = tiny_run((2, 2), batch=2, steps=1, samples=2)
    assert Liar(run).broken() == set()
    (rescale,) = roundings(run.circuit)
    expected = {
        ("quotient", rescale): {"level 3", "level 2", "committed values"},
        ("remainder", rescale, 1): {"level 3"},
        ("data", 0, 0): {"level 3", "committed values"},
        ("data", 0, 1): {"level 3"},
        ("initial", 0): {"level 3", "level 2"},
        ("final", 1): {"level 2"},
    }
    for key, broken in expected.items():
        assert committing(run, key, 1).broken() == broken, key


def test_frozen_parameters_are_committed_once():
    """No update at all: there are no last weights, and every step reads the one commitment."""
    _, run = trained(_circuit(rescaled(3, 4)), start=5)
    assert [key for layout in Liar(run).plan.members for key in layout.shapes if key[0] != "data"] == [("frozen", 0)]
    assert Liar(run).broken() == set()
    for by in (1, -1):
        assert committing(run, ("frozen", 0), by).broken() == {"committed values"}


def test_updates_that_are_committed():
    """At the parameter's level is no product: what its claim comes down to is committed, and ends in a constraint of its own."""
    rescales = (operation("rescale", (i,), (1,), {"shift": 2, "bits": 4}) for i in (1, 0))
    nodes = [operation("param", (), (1,), {"index": 0}), *rescales]
    _, run = trained(_circuit(nodes, updates=(Update(3, (1,)),), bits=5), x=9, start=25, steps=2)
    assert run.final[0].tolist() == [25 - 2 * 2] and Liar(run).broken() == set()
    for key, broken in {("initial", 0): BOTH, ("final", 0): {"committed values"}, ("quotient", 3): BOTH}.items():
        assert committing(run, key, 1).broken() == broken, key


# ---- messages ---------------------------------------------------------------------------------------------------
def one_false(label, which):
    """A prover that adds one to one scalar, the first of the message of this label and number, and goes on from there."""
    count = itertools.count()

    class False_(Hidden):
        def _masked(self, name, pads, values):
            if name != label or next(count) != which:
                return super()._masked(name, pads, values)
            return super()._masked(name, pads, lambda: [x + (i == 0) for i, x in enumerate(values())])

    return False_


def test_every_hidden_message(monkeypatch):
    """A false scalar in any message of any phase breaks the constraint that ends its phase, or a claim that follows from it."""
    _, run = tiny_run((2, 3, 2), batch=2, steps=2, samples=6)
    revealed = tuple(zip(*run.loss_integers, strict=True))
    sent = []

    class Noting(Hidden):
        def _masked(self, name, pads, values):
            sent.append(name)
            return super()._masked(name, pads, values)

    monkeypatch.setattr(harness, "Hidden", Noting)
    assert Liar(run, revealed).broken() == set()
    product, both = {"gates: last product"}, {"level 3", "level 2"}
    expected = {  # of the first message with this label, and of the last one
        "lookup root": ({"lookup layer"},) * 2,
        "lookup round": ({"lookup layer"},) * 2,
        "lookup values": ({"lookup layer"}, {"lookup layer", "level 3"}),  # the last ones are claims on what is looked up
        "level 3: linear terms": (both,) * 2,
        "level 3 round": ({"level 3"},) * 2,
        "level 3 values": (product | {"level 3"},) * 2,
        "level 2: linear terms": (product | {"level 2"},) * 2,
        "level 2 round": ({"level 2"},) * 2,
        "level 2 values": (product | {"level 2"},) * 2,
        "gates round": (product,) * 2,
        "gates: last product": (product | {"gates: last product: left factor"},) * 2,
    }
    assert set(sent) == set(expected)
    for label, constraints in expected.items():
        for which, broken in zip((0, sent.count(label) - 1), constraints):
            monkeypatch.setattr(harness, "Hidden", one_false(label, which))
            assert Liar(run, revealed).broken() == broken, (label, which)


# ---- the commitment itself --------------------------------------------------------------------------------------
def test_garbage_in_padding_cells(monkeypatch):
    """Cells that no tensor fills may hold anything: no weight reaches them."""
    circuit, run = tiny_run(shard_size=5)
    rows, filled = commitments.rows_of, []

    def littered(layout, tensors, row):
        honest = rows(layout, tensors, row)
        used = rows(layout, {key: np.ones(shape, dtype=np.uint64) for key, shape in layout.shapes.items()}, row) == 1
        seed = zlib.crc32(repr(layout.shapes).encode())  # a shard is committed more than once, always alike
        garbage = np.random.default_rng(seed).integers(0, P, honest.shape, dtype=np.uint64)
        filled.append((~used).sum())
        assert (honest[~used] == 0).all()
        return np.where(used, honest, garbage)

    for module in (commitments, zkjax.prover.prove):
        monkeypatch.setattr(module, "rows_of", littered)
    proof = prove_small(circuit, run, reveal=("loss",))
    assert len(filled) >= 6 and min(filled) > 100  # both ends, three shards, the trace
    assert verify_small(circuit, proof) == proof.statement
    second = prove_small(circuit, zkjax.train(circuit, run, None, steps=1))
    assert len(verify_small(circuit, [proof, second])) == 2


def corrupted(monkeypatch, kind, columns):
    """Provers whose trees of this kind have a first row that is no codeword: the given columns are one more."""
    honest_leaves, honest_columns = commit.encode_leaves, commit.encoded_columns
    tags = {part_tag(kind, number, commit.PARTS[kind][0]) for number in range(8)}

    def lies(polynomials):
        owner = getattr(polynomials, "__self__", None)
        return isinstance(owner, commit.Encoded) and owner.tag in tags

    def leaves(polynomials, entries, log_code, tag, salts=None, keep=False):
        if not lies(polynomials):
            return honest_leaves(polynomials, entries, log_code, tag, salts, keep)
        header = leaf_headers(tag, entries, salts)
        words = []
        for start in range(0, entries, 2):
            pair = np.array(encode(polynomials(start), log_code))
            if start == 0:
                pair[0, columns] = field.add(pair[0, columns], np.uint64(1))
            words.append(pair)
        return hash_columns(header, iter(words), entries), None

    def opened(polynomials, entries, log_code, indices):
        values = np.array(honest_columns(polynomials, entries, log_code, indices))
        if lies(polynomials):
            wrong = np.isin(indices, columns)
            values[0, wrong] = field.add(values[0, wrong], np.uint64(1))
        return values

    monkeypatch.setattr(commit, "encode_leaves", leaves)
    monkeypatch.setattr(commit, "encoded_columns", opened)


@pytest.mark.parametrize("kind", ["trace", "weights", "shard"])
def test_a_committed_word_far_from_the_code(monkeypatch, kind):
    """Half of the columns of one row are off: whatever it stands for, the opening finds a column that is not the row's."""
    circuit, run = tiny_run()
    code = run.chain.geometry.code
    corrupted(monkeypatch, kind, np.arange(0, code, 2))
    with pytest.raises(zkjax.VerificationError) as caught:
        verify_small(circuit, prove_small(circuit, run))
    assert caught.value.check == "opening"


def test_a_few_errors_are_decoded(monkeypatch):
    """A word near the code still stands for one message: with the rare column unread, the proof is about that message."""
    circuit, run = tiny_run()
    corrupted(monkeypatch, "trace", np.array([], dtype=np.int64))
    assert verify_small(circuit, prove_small(circuit, run))  # the corrupting prover is otherwise the honest one
    corrupted(monkeypatch, "trace", np.array([5]))
    proof = prove_small(circuit, run)
    try:
        accepted = verify_small(circuit, proof)
    except zkjax.VerificationError as error:
        assert error.check == "opening"
    else:
        assert accepted == proof.statement


def test_columns_of_another_word(monkeypatch):
    """The tree holds the codeword, the columns that are opened are others."""
    circuit, run = tiny_run()
    for name in ("encoded_columns", "kept_columns"):
        honest = getattr(commit, name)
        wrong = lambda *arguments, honest=honest: field.add(np.array(honest(*arguments)), np.uint64(1))  # noqa: E731
        monkeypatch.setattr(commit, name, wrong)
    with pytest.raises(zkjax.VerificationError) as caught:
        verify_small(circuit, prove_small(circuit, run))
    assert caught.value.check == "Merkle path"
