"""``docs/adding_an_operation.md``: its examples, run as they stand there: traced, trained, proven, verified, and lied about."""

import dataclasses
import re
from fractions import Fraction
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from harness import SMALL, Liar, data_for, make_run, prove_small, verify_small
from nodes import node
from tiny import TINY

import zkjax
from zkjax import ops
from zkjax.circuit import circuit as circuits
from zkjax.circuit.circuit import Circuit
from zkjax.circuit.parts import Input, Loss, Parameter
from zkjax.ops.committed import Committed
from zkjax.tracing import rules

PAGE = Path(__file__).resolve().parent.parent / "docs" / "adding_an_operation.md"


@pytest.fixture(scope="module")
def page() -> dict:
    """What the page defines."""
    names: dict = {}
    for block in re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), flags=re.DOTALL):
        exec(block, names)
    return names


@pytest.fixture
def added(page, monkeypatch):
    """The page's operations among the others, and its rule among the tracer's."""
    new = page["CumulativeSum"], page["Floor"]
    monkeypatch.setattr(circuits, "OPERATIONS", (*ops.OPERATIONS, *new))
    for operation in new:
        monkeypatch.setitem(ops.BY_NAME, operation.name, operation)
    monkeypatch.setitem(rules.RULES, "cumsum", page["cumulative_sum"])


def loss(params, x, y):
    h = jnp.cumsum(jax.nn.relu(x @ params["a"]), axis=1)
    h = jax.lax.cumsum(h @ params["b"], axis=1, reverse=True)
    return 0.5 * jnp.mean(jnp.sum((h - y) ** 2, axis=-1))


def test_a_linear_operation_is_traced_trained_proven(added):
    rng = np.random.default_rng(0)
    params = {name: (rng.normal(size=shape) / 2).astype(np.float32) for name, shape in (("a", (3, 4)), ("b", (4, 2)))}
    data = data_for((3, 2))
    circuit, run = make_run(loss, params, data, precision=TINY)
    assert len(circuit.of("cumsum")) == 4  # forward and backward
    own, floating, _ = circuit.comparison.loss
    assert floating == pytest.approx(own, rel=1e-5) == float(loss(params, *(x[:3] for x in data)))
    assert all(off < 1e-3 for _, off, _ in circuit.comparison.updates), circuit.comparison.updates
    assert Circuit.from_json(circuit.to_json()) == circuit
    assert Liar(run).broken() == set()
    proof = prove_small(circuit, run, reveal=("loss",))
    assert verify_small(circuit, zkjax.Proof.parse(bytes(proof))) == proof.statement
    liar = Liar(run)
    liar.final[0].reshape(-1)[0] += 1
    assert liar.broken() == {"level 2"}


def floors(shift=2, bits=4, values=(5, -3, 0, 8)) -> tuple:
    """(circuit, run): the loss is the sum of the floors of a batch."""
    nodes = [
        node("input", shape=(len(values),), attributes={"index": 0}),
        node("floor", (0,), (len(values),), {"shift": shift, "bits": bits}),
        node("sum", (1,), (), {"axes": (0,)}),
    ]
    inputs, parameters = (Input("x", (len(values),), 0, 5),), (Parameter("w", (1,)),)
    circuit = Circuit(tuple(nodes), inputs, parameters, (Loss(2, Fraction(1)),), 9).check()
    run = zkjax.train(circuit, [np.zeros(1)], (np.array(values, dtype=float),), steps=1)
    run.chain.geometry = SMALL
    return circuit, run


def test_an_operation_that_rounds_is_proven(added):
    circuit, run = floors()
    ((total,),) = run.loss_integers
    assert total == sum(v // 4 for v in (5, -3, 0, 8))
    counts = circuit.counts(1)
    assert (circuit.cost(1), counts.cells, counts.lookups) == ((1, 2), 4, 4 + 2 * 4 + 2 * 4)  # two of three ranges in the third's table
    proof = prove_small(circuit, run, reveal=("loss",))
    assert verify_small(circuit, zkjax.Proof.parse(bytes(proof))) == proof.statement
    with pytest.raises(zkjax.PrecisionError, match="operation 1 floor .*outside"):
        floors(shift=1, bits=2)
    with pytest.raises(zkjax.PrecisionError, match="operation 1 floor"):
        floors(shift=61, bits=3)


def test_another_quotient_is_a_lie(added):
    circuit, run = floors()
    assert Liar(run).broken() == set()
    for cell in range(4):
        for by in (1, -1):
            liar = Liar(run)
            liar.values[1].reshape(-1)[cell] += by
            liar.forms["remainder", 1].reshape(-1)[cell] -= by * 4
            assert liar.broken()  # the remainder leaves its table


def test_each_cell_is_bound(added):
    _, run = floors()
    for key, tensor in Liar(run).witness.tensors.items():
        for cell in range(tensor.size if key[0] == "quotient" else 0):
            liar = Liar(run)
            changed = tensor.astype(np.int64)
            changed.reshape(-1)[cell] += 1
            liar.witness.tensors[key] = changed
            assert liar.broken(), (key, cell)


def test_integers_that_a_new_operation_could_wrap_are_refused(added):
    """What the tracer knows of the range of integers is the operation's own bound."""

    def summed(params, x):
        return jnp.sum(jax.lax.cumsum(x, axis=1).astype(jnp.float32) @ params["a"])

    params, x = {"a": np.ones((4, 2), np.float32)}, np.full((3, 4), 100, np.uint8)
    with pytest.raises(zkjax.UnsupportedOperationError, match="uint8 holds 0..255"):
        zkjax.trace(summed, optax.sgd(1 / 32), params, batch=(x,))
    wide = zkjax.trace(lambda p, x: summed(p, x.astype(jnp.int32)), optax.sgd(1 / 32), params, batch=(x,))
    assert wide.comparison.loss[0] == pytest.approx(wide.comparison.loss[1])


def test_a_quotient_beyond_the_table_is_refused(page, added):
    nodes = (node("input", (), (1,), {"index": 0}), node("floor", (0,), (1,), {"shift": 1, "bits": 9}))
    circuit = Circuit(nodes, (Input("x", (1,), 0, 0),), (Parameter("w", (1,)),), (), 9)
    with pytest.raises(zkjax.FormatError, match="do not fit a table"):
        circuit.check()


# ---- what no lookup anchors ----------------------------------------------------------------------------------------


def test_a_quotient_without_a_range_is_refused(page, added, monkeypatch):
    """Without the quotient's own lookup any multiple of 2^-shift modulo p would have a remainder in range."""
    floor = page["Floor"]
    monkeypatch.setattr(floor, "lookups", Committed.lookups)
    with pytest.raises(zkjax.FormatError, match=r"operation 1 floor .*no lookup shows a range of its committed tensor quotient"):
        floors()


def test_a_sum_of_two_tensors_anchors_neither(page, added, monkeypatch):
    """Two quotients whose sum is looked up may be x and -x for any x; one of them alone anchors the other."""
    floor, own = page["Floor"], page["Floor"].lookups

    def beside(self, i, circuit):
        alone, *rest = own(self, i, circuit)
        others = [j for j in circuit.of("floor") if j != i]
        together = (0, ((1, ("quotient", i)), (1, ("quotient", others[0]))))
        return [dataclasses.replace(alone, columns=(together,)) if self.shift == 2 or both else alone, *rest]

    monkeypatch.setattr(floor, "lookups", beside)
    nodes = [node("input", shape=(4,), attributes={"index": 0})]
    nodes += [node("floor", (0,), (4,), {"shift": shift, "bits": 4}) for shift in (2, 3)]
    circuit = Circuit(tuple(nodes), (Input("x", (4,), 0, 5),), (Parameter("w", (1,)),), (), 9)
    both = True
    with pytest.raises(zkjax.FormatError, match="operation 1 floor .*no lookup shows a range"):
        circuit.check()
    both = False
    assert dataclasses.replace(circuit).check()
