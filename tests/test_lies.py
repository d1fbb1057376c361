"""Lying provers: consistent but wrong witnesses, and every committed cell off by one, break the constraint that guards them."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import optax
import pytest

import zkjax
from harness import Liar, data_for, make_run, mlp_loss, mlp_params, mlp_run
from zkjax.circuit import Update

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
    return [i for i in circuit.of("rescale") if circuit.signed(i) != gradient]


# ---- runs of another recipe -------------------------------------------------------------------------------------
def other_run(circuit, run, **changes):
    """The same integers trained by an altered circuit: what a cheating trainer would hold."""
    altered = dataclasses.replace(circuit, **changes)
    data = zkjax.Dataset(run.data.arrays)
    cheat = zkjax.train(altered, _params(circuit, run), data, steps=run.steps, seed=run.seed)
    return cheat


def _params(circuit, run):
    return [np.ldexp(x.astype(np.float64), -circuit.weight_scale) for x in run.initial]


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
    assert claim(run, other_run(circuit, run, parameters=parameters)).broken()


def test_an_update_that_is_never_made(net):
    circuit, run = net
    for p in range(len(circuit.parameters)):
        frozen = tuple(dataclasses.replace(x, updates=()) if i == p else x for i, x in enumerate(circuit.parameters))
        assert claim(run, other_run(circuit, run, parameters=frozen)).broken()


def test_other_batches(net):
    _, run = net
    assert claim(run, dataclasses.replace(run, **_trained(run, seed=run.seed + 1))).broken()


def _trained(run, seed):
    other = zkjax.train(run.circuit, _params(run.circuit, run), run.data, steps=run.steps, seed=seed)
    return {"seed": seed, "final": other.final, "initial": other.initial, "kept": other.kept}


def test_swapped_labels_and_altered_samples(net):
    _, run = net
    used = run.indices.reshape(-1)
    for k in range(2):
        liar = Liar(run)
        first, second = used[0], used[1]
        liar.data[k][[first, second]] = liar.data[k][[second, first]]
        assert liar.broken()
        liar = Liar(run)
        liar.data[k][used[0]] += 1
        assert liar.broken()


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
    assert "weights" in liar.broken()


def test_every_final_weight_off_by_one(net):
    _, run = net
    for p, array in enumerate(run.final):
        for index in np.ndindex(array.shape):
            liar = Liar(run)
            liar.final[p][index] += 1
            assert liar.broken() == {"weights"}


def test_antisymmetric_change_of_a_square_matrix():
    circuit, run = mlp_run((3, 3, 3), batch=2, steps=2)
    square = next(p for p, x in enumerate(run.final) if x.shape == (3, 3))
    liar = Liar(run)
    liar.final[square][0, 1] += 5
    liar.final[square][1, 0] -= 5
    assert liar.broken() == {"weights"}


def test_another_start(net):
    _, run = net
    for p, array in enumerate(run.initial):
        liar = Liar(run)
        witness = liar.witness
        changed = [x.copy() for x in liar.initial]
        changed[p].reshape(-1)[0] += 1
        witness.initial = liar.initial = tuple(changed)
        assert liar.broken()


# ---- advice -----------------------------------------------------------------------------------------------------
def test_rounding_off_by_one(net):
    circuit, run = net
    for i in circuit.of("rescale"):
        liar = Liar(run)
        liar.values[i].reshape(-1)[0] += 1  # another quotient, balanced by a remainder that leaves its range
        liar.remainders[i].reshape(-1)[0] -= 1 << circuit.nodes[i]["shift"]
        assert liar.broken()


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
                assert liar.broken()
                break


def test_zero_has_mask_zero():
    """The derivative of ReLU at 0 is 0: a mask of 1 there changes no activation, and is rejected all the same."""
    params = mlp_params((2, 3, 2), bias=False)
    params[0]["w"][:, 0] = 0
    circuit, run = make_run(mlp_loss, params, data_for((2, 2)), batch=2, steps=1)
    sign = circuit.of("sign")[0]
    y = run.witness().values[circuit.nodes[sign].inputs[0]]
    assert (y[..., 0] == 0).all()
    liar = Liar(run)
    liar.values[sign][..., 0] = 1
    assert liar.broken()


def test_limbs_and_multiplicities(net):
    circuit, run = net
    keys = [key for key in Liar(run).witness.tensors if key[0] != "limb" or key[2] != 0]  # the lowest limbs are virtual
    assert {key[0] for key in keys} == {"limb", "multiplicity", "quotient", "sign"}
    rng = np.random.default_rng(0)
    for key in keys:
        for change in (1, -1):
            liar = Liar(run)
            tensor = liar.witness.tensors[key].astype(np.int64)
            tensor.reshape(-1)[rng.integers(tensor.size)] += change
            liar.witness.tensors[key] = tensor
            assert liar.broken(), key


def test_a_value_from_another_tables_range(net):
    """Range tables have tags of their own: a limb that fits only the wider table is rejected, its multiplicity counted there."""
    _, run = net
    liar = Liar(run)
    tensors, ranges = liar.witness.tensors, [x for x in liar.plan.sites.lookups if x.table.kind == "range"]
    widest = max(x.table for x in ranges)
    narrow = next(x for x in ranges if x.key in tensors and x.key[-1] != 0 and x.table != widest)
    outside = 1 << narrow.table.width
    old = int(tensors[narrow.key].reshape(-1)[0])
    for key, cell, change in ((narrow.key, 0, outside - old), (narrow.table.key, old, -1), (widest.key, outside, 1)):
        tensors[key] = tensors[key].astype(np.int64)
        tensors[key].reshape(-1)[cell] += change
    assert liar.broken()


# ---- losses -----------------------------------------------------------------------------------------------------
def test_another_loss(net):
    _, run = net
    losses = [list(x) for x in zip(*run.loss_integers, strict=True)]
    for t in range(run.steps):
        wrong = [list(x) for x in losses]
        wrong[0][t] += 1
        assert Liar(run, tuple(map(tuple, wrong))).broken()


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
@pytest.mark.parametrize("rate", [1 / 32, 3 / 64])
def test_every_committed_cell_off_by_one(rate):
    """The best guard against a forgotten relation: no committed cell can be changed alone."""
    circuit, run = mlp_run((2, 3, 2), batch=2, steps=2, rate=rate, samples=6)
    honest = Liar(run)
    rng = np.random.default_rng(0)
    for key, tensor in honest.witness.tensors.items():
        if key[0] == "limb" and key[2] == 0:
            continue  # virtual
        cells = range(tensor.size) if key[0] != "multiplicity" else rng.choice(tensor.size, 6, replace=False)
        for cell in cells:
            liar = Liar(run)
            changed = liar.witness.tensors[key].astype(np.int64)
            changed.reshape(-1)[cell] += 1
            liar.witness.tensors[key] = changed
            assert liar.broken(), (key, cell)


def test_optax_schedule_steps_are_bound():
    params, data = mlp_params((3, 2)), data_for((3, 2))
    schedule = optax.piecewise_constant_schedule(1 / 16, {1: 0.5, 2: 0.5})
    circuit, run = make_run(mlp_loss, params, data, batch=3, steps=3, optimizer=optax.sgd(schedule))
    assert Liar(run).broken() == set()
    p = circuit.parameters[0]
    swapped = tuple(Update(u.node, u.rates[::-1]) for u in p.updates)
    parameters = (dataclasses.replace(p, updates=swapped), *circuit.parameters[1:])
    assert claim(run, other_run(circuit, run, parameters=parameters)).broken()


def test_the_traced_loss_is_the_revealed_one(net):
    circuit, run = net
    assert float(run.losses[0]) == pytest.approx(float(mlp_loss(mlp_params((3, 4, 3, 2)), *(x[run.indices[0]] for x in data_for((3, 4, 3, 2), 10)))), rel=0.05)
    assert jnp.isfinite(float(run.losses[0]))
