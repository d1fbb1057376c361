"""The shape of an argument: depth and length enter its sizes, never the number of its sumchecks or what it commits to."""

import os
import subprocess
import sys
from collections import Counter
from functools import cache
from math import prod
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from harness import prove_small, verify_small
from replay import messages
from tiny import TINY, tiny_run

import zkjax
from zkjax.algebra.poly import num_bits
from zkjax.commitment.commit import members
from zkjax.protocol import contraction, gate, membership
from zkjax.protocol.argument import argument
from zkjax.protocol.hidden import Hidden
from zkjax.protocol.plan import Batches, Plan
from zkjax.protocol.schedule import batch_indices

DEPTHS = {2: (5, 6, 3), 6: (5, 6, 4, 7, 6, 4, 3)}
BATCH = 8  # no layer is that wide


def net(dims, batch=BATCH, bias=True):
    """A chain of dense layers, traced from shapes alone."""
    shape = lambda *s: jax.ShapeDtypeStruct(s, jnp.float32)  # noqa: E731
    params = [{"w": shape(a, b)} | ({"b": shape(b)} if bias else {}) for a, b in zip(dims, dims[1:])]

    def loss(params, x, y):
        for i, layer in enumerate(params):
            x = x @ layer["w"] + layer.get("b", 0.0)
            x = jax.nn.relu(x) if i < len(params) - 1 else x
        return 0.5 * jnp.mean(jnp.sum((x - y) ** 2, axis=-1))

    return params, loss, (shape(batch, dims[0]), shape(batch, dims[-1]))


@cache
def circuit_of(dims, batch=BATCH, bias=True):
    params, loss, data = net(dims, batch, bias)
    return zkjax.trace(loss, optax.sgd(1 / 32), params, batch=data, precision=TINY)


def plan_of(circuit, steps, range_check=True, samples=24, shard_size=None):
    shard_size = shard_size or samples
    indices = batch_indices(0, samples, shard_size, circuit.batch_size, 0, steps)
    shifts = (0,) * len(circuit.parameters)
    return Plan(circuit, 0, steps, shifts, circuit.coarse_widths if range_check else shifts, Batches(indices, shard_size, samples))


class Recording(Hidden):
    """The counter of pads, with what is received under which label."""

    def __init__(self):
        super().__init__()
        self.labels: Counter = Counter()

    def _masked(self, label, pads, values):
        self.labels[label] += len(pads)
        return super()._masked(label, pads, values)


def recorded(plan, revealed=None) -> Recording:
    hidden = Recording()
    argument(hidden, plan, revealed)
    return hidden


@cache
def shape_of(depth, steps, revealed=False):
    """(calls of each sumcheck with their rounds, what was received, names of constraints, counts)."""
    calls: list = []
    originals = [(contraction, "product_sumcheck"), (gate, "gated_sumcheck"), (membership, "fractional_sum")]
    saved = [getattr(module, name) for module, name in originals]

    def counted(name, function):
        def call(hidden, *arguments, **named):
            label, rounds = (arguments[0], arguments[2]) if name != "fractional_sum" else (name, arguments[0])
            calls.append((name, label, rounds))
            return function(hidden, *arguments, **named)

        return call

    try:
        for (module, name), function in zip(originals, saved):
            setattr(module, name, counted(name, function))
        plan = plan_of(circuit_of(DEPTHS[depth]), steps)
        hidden = recorded(plan, ((0,) * steps,) if revealed else None)
    finally:
        for (module, name), function in zip(originals, saved):
            setattr(module, name, function)
    return calls, hidden.labels, [name for name, _ in hidden.constraints], hidden.counts(), plan


CASES = [(depth, steps) for depth in DEPTHS for steps in (2, 8)]


@pytest.mark.parametrize("depth, steps", CASES)
def test_three_sumchecks_whatever_the_depth_and_length(depth, steps):
    for revealed in (False, True):
        calls, labels, constraints, _, _ = shape_of(depth, steps, revealed)
        assert [(kind, label) for kind, label, _ in calls] == [
            ("fractional_sum", "fractional_sum"),
            ("product_sumcheck", "level 3"),
            ("product_sumcheck", "level 2"),
            ("gated_sumcheck", "gates"),
        ]
        assert {label for label in labels if label.endswith(" round")} == {
            "lookup round",
            "level 3 round",
            "level 2 round",
            "gates round",
        }
        assert set(labels) == set(shape_of(2, 2)[1])
        outside = [name for name in constraints if name != "lookup layer"]
        assert outside == [name for name in shape_of(2, 2)[2] if name != "lookup layer"]


@pytest.mark.parametrize("depth, steps", CASES)
def test_scalars_outside_the_lookup_tree(depth, steps):
    calls, labels, _, counts, _ = shape_of(depth, steps)
    tree, contractions, weights, gates = (rounds for _, _, rounds in calls)
    assert labels["lookup root"] == 1 and labels["lookup round"] == tree * (tree - 1) and labels["lookup values"] == 4 * tree
    assert labels["level 3 round"] == 2 * contractions and labels["level 2 round"] == 2 * weights and labels["gates round"] == 3 * gates
    ends = ("level 3: linear terms", "level 2: linear terms", "level 3 values", "level 2 values", "gates: last product")
    assert [labels[name] for name in ends] == [1, 1, 2, 2, 2]
    assert counts.triples == 2 * tree + 3
    assert counts.pads == 1 + tree * (tree - 1) + 2 * contractions + 2 * weights + 3 * gates + 2


def test_rounds_grow_with_the_logarithm():
    for first, second in (((2, 2), (2, 8)), ((6, 2), (6, 8))):
        before, after = (np.array([rounds for _, _, rounds in shape_of(*case)[0]]) for case in (first, second))
        assert (after - before <= 2).all() and (after[1:] - before[1:] == 2).all()  # steps are an axis: four times as many


def formulas(dims, batch, steps, *, limbs, last_limbs):
    """Committed advice cells and lookups of a chain of dense layers."""
    hidden, outputs = sum(dims[1:-1]), dims[-1]
    cells = hidden * ((2 + limbs - 1) + (1 + limbs - 1)) + outputs * (1 + last_limbs - 1)  # quotient, sign; quotient; quotient
    lookups = hidden * 2 * (1 + limbs) + outputs * (1 + last_limbs) + dims[0] + dims[-1]
    return steps * batch * cells, steps * batch * lookups


def committed_cells(plan):
    return sum(prod(shape) for key, shape in plan.advice.items() if key[0] != "multiplicity")


def looked_up(plan):
    """Entries, and what is looked up of them: some twice, in tables of others."""
    return (sum(prod(shape) for shape in shapes) for shapes in zip(*((x.shape, x.leaves) for x in plan.sites.lookups), strict=True))


@pytest.mark.parametrize("dims", [(5, 6, 3), (5, 6, 4, 7, 6, 4, 3), (3, 2), (4, 9, 9, 2)])
@pytest.mark.parametrize("steps", [1, 2, 8])
@pytest.mark.parametrize("table_bits, bias", [(9, True), (10, False), (16, True)])
def test_cells_and_lookups_equal_the_formulas(dims, steps, table_bits, bias):
    circuit = circuit_of(dims, BATCH, bias).with_table_bits(table_bits)
    w = circuit.scale(next(p for p, x in enumerate(circuit.parameters) if len(x.shape) == 2))[1]
    assert w == 4 + 5 + 5  # activations, gradients, learning rate
    last = 4 + w + 2 * (len(dims) > 2) + num_bits(BATCH) - 5  # ReLUs are in half units, and the weights behind them are a bit finer
    limbs, last_limbs = (-(-shift // table_bits) for shift in (w, last))
    cells, lookups = formulas(dims, BATCH, steps, limbs=limbs, last_limbs=last_limbs)
    if limbs == last_limbs == 2:
        hidden, outputs = sum(dims[1:-1]), dims[-1]
        assert cells == steps * BATCH * (5 * hidden + 2 * outputs)
        assert lookups == steps * BATCH * (6 * hidden + 3 * outputs + dims[0] + dims[-1])
    for range_check in (False, True):
        plan, counts = plan_of(circuit, steps, range_check), circuit.counts(steps, circuit.coarse_widths if range_check else None)
        parameters = sum(prod(p.shape) for p in circuit.parameters)
        wide = sum(prod(p.shape) for p, width in zip(circuit.parameters, circuit.coarse_widths) if width > table_bits)  # two limbs
        assert counts.cells == committed_cells(plan) == cells + range_check * wide
        entries, leaves = looked_up(plan)
        assert counts.lookups == leaves and entries == lookups + range_check * (parameters + wide)
        assert counts.parameters == parameters == sum(prod(x.shape) for x in plan.circuit.parameters)
        assert counts.table_entries == sum(prod(t.shape) for t in plan.sites.tables)
        assert all(prod(plan.advice[t.key]) == 1 << t.width for t in plan.sites.tables)
        leaves = sum(prod(shape) for shape in plan.sites.layout.shapes.values())
        assert leaves == counts.lookups + counts.table_entries <= plan.sites.layout.size


@pytest.mark.parametrize("depth, steps", CASES)
def test_no_committed_tensor_is_a_weight_of_every_step(depth, steps):
    *_, counts, plan = shape_of(depth, steps)
    parameters = {p.shape for p in plan.circuit.parameters}
    trace = plan.trace_layout(counts).shapes
    assert {key[0] for key in trace} == {"quotient", "remainder", "sign", "multiplicity", "mask"}
    for key, shape in trace.items():
        if key[0] in ("quotient", "remainder", "sign"):
            assert shape[:2] == (steps, BATCH) and len(shape) == 3
            assert shape[1:] not in parameters and shape[:0:-1] not in parameters and shape[2:] + shape[1:2] not in parameters
        else:
            assert shape in [t.shape for t in plan.sites.tables] or key[0] == "mask"
    for role in ("initial", "final"):
        (weights,) = plan.layouts[role].values()
        assert set(weights.shapes.values()) <= parameters  # once, without steps
    assert all(shape[0] == 24 for shape in plan.shard_layout(0).shapes.values())


def test_commitments_of_wide_layers_do_not_grow_with_their_weights():
    """Cells of each step follow the neurons; the weights are committed at the two ends only."""
    sizes = {}
    for width in (16, 32):
        circuit = circuit_of((width,) * 4, 1)
        plan = plan_of(circuit, 8, False)
        sizes[width] = committed_cells(plan), sum(prod(x.shape) for x in plan.circuit.parameters)
    assert sizes[32][0] == 2 * sizes[16][0] and sizes[32][1] > 3.8 * sizes[16][1]
    assert sizes[32][0] < 8 * sizes[32][1]  # less than one weight matrix of every step would take


# ---- the headline net -------------------------------------------------------------------------------------------
HEADLINE = (3072, *(1024,) * 8, 10)


@cache
def headline():
    params, loss, data = net(HEADLINE, 64)
    return zkjax.trace(loss, optax.sgd(2**-7), params, batch=data, chunk=16)


@pytest.mark.parametrize("steps, cells, lookups, tree", [(8, 20_981_760, 26_759_168, 25), (16, 41_963_520, 53_518_336, 26)])
def test_headline(steps, cells, lookups, tree):
    """42.0 M cells and 53.5 M lookups at 16 steps, counted without running it."""
    circuit = headline()
    assert (cells, lookups) == formulas(HEADLINE, 64, steps, limbs=2, last_limbs=2)
    for range_check, extra in ((False, 0), (True, 1)):
        plan = plan_of(circuit, steps, range_check, 50_000, 1000)
        counts = circuit.counts(steps, plan.widths)
        assert counts.cells == committed_cells(plan) == cells
        entries, leaves = looked_up(plan)
        assert counts.lookups == leaves and entries == lookups + range_check * 10_504_202
        assert plan.sites.layout.num_vars in (tree, tree + extra)
        assert counts.parameters == 10_504_202


def test_headline_sumchecks_are_small():
    """The contractions and the weights of all layers and steps run over 2^19 and 2^15 entries."""
    plan = plan_of(headline(), 16, False, 50_000, 1000)
    hidden = recorded(plan)
    assert hidden.errors["level 3: rounds"] == 2 * 19 and hidden.errors["level 2: rounds"] == 2 * 15
    assert hidden.errors["gates: rounds"] == 3 * 23 and 2**25 < hidden.errors["lookup: cleared numerator"] == plan.sites.degree - 1 < 2**26


# ---- proofs -----------------------------------------------------------------------------------------------------
def test_messages_of_a_real_proof():
    """The same messages, whatever the depth: only their number in a sumcheck of more variables differs."""
    found = {}
    for name, dims in (("shallow", (3, 4, 2)), ("deep", (3, 4, 3, 4, 3, 2))):
        circuit, run = tiny_run(dims)
        proof = prove_small(circuit, run)
        log = messages(circuit, proof)
        found[name] = [m.label for m in log]
        assert found[name].count("trace root") == 1 and len(members(proof.statement.opened())) == 3
        plan = zkjax.prover.prove.make_plan(run)
        hidden = recorded(plan)
        sent = Counter()
        for m in log:
            sent[m.label] += m.size // 16
        assert all(sent[label] == count for label, count in hidden.labels.items())
    assert set(found["shallow"]) == set(found["deep"])
    outside = [[label for label in dict.fromkeys(labels)] for labels in found.values()]
    assert outside[0] == outside[1]  # in the same order


# ---- JAX's settings ---------------------------------------------------------------------------------------------
IMPORT = """
import jax
before = dict(jax.config.values)
import zkjax
for name in zkjax.__all__:
    getattr(zkjax, name)
assert dict(jax.config.values) == before, [k for k in before if jax.config.values[k] != before[k]]
import jax.numpy as jnp
assert jnp.ones(1).dtype == jnp.float32 and jnp.arange(2).dtype == jnp.int32 and not jax.config.jax_enable_x64
"""


def test_importing_changes_no_setting_of_jax():
    environment = {**os.environ, "PYTHONPATH": str(Path(zkjax.__file__).parents[1])}
    done = subprocess.run([sys.executable, "-W", "error", "-c", IMPORT], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr


def test_running_changes_no_setting_of_jax(tmp_path):
    before = dict(jax.config.values)
    assert len(before) > 20
    circuit, run = tiny_run(seed=8)
    assert dict(jax.config.values) == before
    proof = prove_small(circuit, run)
    assert dict(jax.config.values) == before
    verify_small(circuit, proof)
    run.save(tmp_path / "run")
    zkjax.train(circuit, zkjax.Run.load(tmp_path / "run"), None, steps=1).witness()
    with pytest.raises(zkjax.PrecisionError):
        zkjax.train(circuit, run.params, (1000 * np.ones((6, 3)) / 128, np.zeros((6, 2))), steps=2**40)
    assert dict(jax.config.values) == before
    assert jnp.ones(1).dtype == jnp.float32 and jnp.arange(2).dtype == jnp.int32
    assert all(x.dtype == jnp.float32 for x in jax.tree.leaves(run.params))
