"""Files made to hurt: refused at once, by an error of this package. Each was found by an audit of the verifier."""

import ast
import json
from pathlib import Path

import numpy as np
import pytest
from harness import mlp_run, prove_small
from nodes import node as named

import zkjax
from zkjax.algebra.layout import Layout
from zkjax.circuit.circuit import Circuit
from zkjax.circuit.parts import Input, Parameter, Update
from zkjax.commitment.commit import Commitment
from zkjax.commitment.geometry import Geometry
from zkjax.errors import FormatError, PrecisionError, UnsupportedOperationError, ZkjaxError
from zkjax.protocol.plan import Batches, Plan
from zkjax.verifier import dry_run


def node(op, inputs=(), **attributes):
    return {"op": op, "inputs": list(inputs), "scale": 0, "label": "", **attributes}


def circuit(nodes, *, shape=(2, 2), parameters=({"path": "w", "shape": [2], "updates": []},), losses=(), inputs=()):
    return {
        "format": "zkjax circuit",
        "version": 2,
        "table_bits": 15,
        "max_steps": None,
        "period": 1,
        "inputs": [{"name": "x", "shape": list(shape), "scale": 0, "bits": 3}, *inputs],
        "parameters": [{"recurrence": None, "given": None, "unit": [1, 1]} | p for p in parameters],
        "public": [],
        "nodes": nodes,
        "losses": list(losses),
        "notes": [],
    }


X = node("input", index=0)
SCALAR = {"path": "w", "shape": [], "updates": []}
SHAPES = {
    "a tuple as a length": circuit([X, node("reshape", [0], shape=[[1, 1], 2**40])]),
    "a tuple as a constant's length": circuit([node("const", shape=[[1, 1], 2**62], values=[1])]),
    "many axes": circuit([X], shape=[7] * 14),
    "many short axes": circuit([X], shape=[2] + [1] * 70),
    "an unused input": circuit([X], inputs=[{"name": "y", "shape": [2] + [2**22] * 6, "scale": 0, "bits": 3}]),
    "an unused parameter": circuit([X], parameters=[{"path": "w", "shape": [2**22] * 6, "updates": []}]),
    "a long axis": circuit([X], shape=[2, 2**38]),
    "no parameters": circuit([X], parameters=[]),
}


@pytest.mark.parametrize("name", SHAPES)
def test_circuits_of_absurd_shapes(name):
    with pytest.raises(FormatError):
        Circuit.from_json(json.loads(json.dumps(SHAPES[name])))


def run_argument(loaded: Circuit):
    samples = np.arange(2 * loaded.batch_size).reshape(2, -1)
    plan = Plan(loaded, 0, 2, (0,) * len(loaded.parameters), (0,) * len(loaded.parameters), Batches(samples, samples.size, samples.size))
    return dry_run(plan, None)


def test_a_claim_that_doubles_at_every_operation():
    nodes, current = [node("input", index=0)], 0
    for _ in range(18):
        k = len(nodes)
        nodes.append(node("reverse", [current], axes=[1]))
        nodes.append(node("slice", [current], start=[0, 0], limit=[2, 2**14 - 1], stride=[1, 1]))
        nodes.append(node("pad", [k + 1], low=[0, 1], high=[0, 0], interior=[0, 0]))
        nodes.append(node("linear", [k, k + 2], coefficients=[1, 1]))
        current = k + 3
    nodes.append(node("rescale", [current], shift=30, bits=10))
    with pytest.raises(UnsupportedOperationError, match="too many terms"):
        run_argument(Circuit.from_json(circuit(nodes, shape=[2, 2**14])))


def test_a_claim_on_short_axes_that_doubles_at_every_operation():
    """Terms cost more than the entries of their vectors."""
    nodes, current = [node("input", index=0)], 0
    for _ in range(40):
        k = len(nodes)
        nodes += [node("reverse", [current], axes=[1]), node("linear", [current, k], coefficients=[1, 1])]
        current = k + 1
    nodes.append(node("rescale", [current], shift=30, bits=10))
    with pytest.raises(UnsupportedOperationError, match="too many terms"):
        run_argument(Circuit.from_json(circuit(nodes, shape=[2, 2])))


def test_updates_that_share_long_ways_down():
    """Each of a thousand updates leads to a thousand products, each of these down a chain of a thousand operations."""
    count, nodes = 1000, [node("input", index=0), node("rescale", [0], shift=2, bits=3)]
    for _ in range(count):
        nodes.append(node("linear", [len(nodes) - 1], coefficients=[1]))
    last = len(nodes) - 1
    for _ in range(count):
        nodes.append(node("dot", [last, last], contract=[[], []], batch=[[0, 1], [0, 1]]))
    nodes.append(node("linear", list(range(last + 1, len(nodes))), coefficients=[1] * count))
    updates = [{"node": len(nodes) - 1, "rates": [1]}] * count
    loaded = Circuit.from_json(circuit(nodes, parameters=[{"path": "w", "shape": [2, 2], "updates": updates}]))
    assert len(loaded.of("dot")) == count


def test_bounds_that_grow_with_every_operation():
    """Bounds that have thousands of digits are neither computed nor printed."""
    nodes = [X, node("param", index=0)]
    for _ in range(3000):
        nodes.append(node("linear", [len(nodes) - 1], coefficients=[2**62]))
    loaded = Circuit.from_json(circuit(nodes, losses=[{"node": len(nodes) - 1, "factor": [1, 1], "output": "loss"}], parameters=[SCALAR]))
    with pytest.raises(PrecisionError, match=r"operation 2 linear .* may reach 2\^\d+\.\d+, beyond 2\^63, in a chunk of 2 steps"):
        loaded.bounds((2**10,), 2)


def test_tensors_that_fall_into_many_blocks():
    assert len(Layout({0: (11, 11, 11)}).pieces) == 27 and len(Layout({0: (2, *[11] * 7)}).pieces) == 1
    many = [X, *(node("rescale", [0], shift=2, bits=3) for _ in range(600))]
    with pytest.raises(UnsupportedOperationError, match="more than 8192 blocks"):
        run_argument(Circuit.from_json(circuit(many, shape=[7, 300])))


@pytest.mark.parametrize("text", ['{"a": 1, "a": 1}', '[{"nodes": [], "nodes": []}]'])
def test_a_key_that_comes_twice(tmp_path, text):
    (tmp_path / "circuit.json").write_text(text)
    with pytest.raises(FormatError, match="a key comes twice"):
        Circuit.load(tmp_path / "circuit.json")


def test_thousands_of_operations_are_no_trouble():
    nodes = [X]
    for _ in range(2000):
        nodes.append(node("rescale", [0], shift=2, bits=3))
        nodes.append(node("sign", [len(nodes) - 1]))
    Circuit.from_json(circuit(nodes))


def test_very_many_signs_of_one_quotient():
    """They are gathered once each: copied anew for every one of them, this would take minutes."""
    nodes = (named("input", (), (1, 1), {"index": 0}), named("rescale", (0,), (1, 1), {"shift": 2, "bits": 3}))
    many = (*nodes, *[named("sign", (1,), (1, 1))] * 300_000)
    with pytest.raises(FormatError, match="a second sign"):
        Circuit(many, (Input("x", (1, 1), 0, 3),), (Parameter("w", (1,)),), (), 9).check()


def test_a_loss_that_two_integers_could_stand_for():
    """Integers beyond p/2 share residues: a loss of that size could be revealed as another one."""
    nodes = [node("input", index=0), node("sum", [0], axes=[0, 1]), node("linear", [1], coefficients=[2**58 - 2**30])]
    loaded = Circuit.from_json(circuit(nodes, losses=[{"node": 2, "factor": [1, 1], "output": "loss"}]))
    with pytest.raises(PrecisionError, match="loss"):
        loaded.bounds((8,), 1)


def test_a_graph_in_which_claims_go_up_is_refused_by_the_verifier_too():
    def n(op, inputs=(), shape=(), **attributes):
        return named(op, inputs, shape, attributes)

    product = {"contract": ((1,), (0,)), "batch": ((), ())}
    nodes = (
        n("input", shape=(2, 3), index=0),
        n("param", shape=(3, 3), index=0),
        n("dot", (0, 1), (2, 3), **product),
        n("rescale", (2,), (2, 3), shift=2, bits=3),
        n("sign", (3,), (2, 3)),
        n("gate", (4, 3), (2, 3)),
        n("linear", (5, 2), (2, 3), coefficients=(1, 1)),
        n("dot", (6, 1), (2, 3), **product),
        n("dot", (0, 7), (3, 3), contract=((0,), (0,)), batch=((), ())),
    )
    unchecked = Circuit(nodes, (Input("x", (2, 3), 0, 3),), (Parameter("w", (3, 3), (Update(8, (1,)),)),), (), 8)
    _, run = mlp_run()
    with pytest.raises(UnsupportedOperationError, match="would go up again"):
        zkjax.verify(unchecked, prove_small(run.circuit, run), minimum_bits=1)


@pytest.mark.parametrize("budget", [2**24 - 2, 2**21, 2**60])
def test_geometries_of_absurd_budgets(budget):
    fields = Geometry(24, 1, 4).to_json() | {"max_budget": budget}
    with pytest.raises(ZkjaxError):
        _ = Geometry.from_json(fields).check().queries


@pytest.mark.parametrize("kind", ["\ud800", "\x1b[2J", "", "weight"])
def test_commitments_of_unknown_kinds(kind):
    fields = Commitment.of("weights", 0, 1, 1, bytes(32)).to_json() | {"kind": kind}
    with pytest.raises(FormatError, match="kind"):
        Commitment.from_json(fields)


@pytest.mark.parametrize("change", ["compressed", "a bomb", "complex", "fractions", "unsigned", "dates"])
def test_saved_arrays_that_are_not_what_zkjax_writes(change, tmp_path):
    """Found by fuzzing: they were cast to integers, and passed under the hash of those."""
    _, run = mlp_run()
    run.save(tmp_path)
    (path,) = tmp_path.glob("data-*.npz")
    with np.load(path) as file:
        arrays = dict(file)
    name = min(arrays)
    if change == "compressed":
        np.savez_compressed(path, **arrays)
    elif change == "a bomb":
        np.savez_compressed(path, **arrays | {"more": np.zeros(2**24, dtype=np.int64)})
        assert path.stat().st_size < 2**18
    else:
        kind = {"complex": np.complex128, "fractions": np.float64, "unsigned": np.uint64, "dates": "<M8[s]"}[change]
        np.savez(path, **arrays | {name: arrays[name].astype(np.int64).astype(kind)})
    with pytest.raises(FormatError, match="compressed|signed integers"):
        zkjax.Run.load(tmp_path)


def test_no_cache_of_the_verifier_grows_without_limit():
    """What a statement names must not be kept for ever: a service verifies many. The kernels are the prover's own."""
    found = []
    for path in Path(zkjax.__file__).parent.rglob("*.py"):
        for item in ast.walk(ast.parse(path.read_text())):
            for decorator in getattr(item, "decorator_list", ()):
                name = ast.unparse(decorator)
                unbounded = name in ("cache", "functools.cache") or "maxsize=None" in name
                if unbounded and path.parent.name != "kernels":
                    found.append(f"{path.stem}.{item.name}")
    assert found == []
