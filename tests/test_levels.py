"""Levels: products of products, and parameters whose updates read other parameters; proven, lied about, and refused where they go round."""

import dataclasses
from fractions import Fraction

import numpy as np
import pytest
from harness import BITS, SMALL, Liar, mlp_run, prove_small, verify_small
from nodes import node
from reference import verifier as reference

import zkjax
from zkjax.algebra import field
from zkjax.circuit.circuit import Circuit
from zkjax.circuit.levels import MAX_DEPTH
from zkjax.circuit.parts import Input, Loss, Parameter, Update
from zkjax.ops.ranges import signed_bound

BATCH, STEPS = 2, 3
ONE = Fraction(1, 64)  # the value of 1 of every parameter
ALL = ((0, 1), (0, 1))


def dot(x, y, shape, contract=((), ()), batch=((), ())):
    return node("dot", (x, y), shape, {"contract": contract, "batch": batch})


def nested() -> Circuit:
    """y = x w, its square times y again, and parameters that read parameters.

    w learns from the rescaled cube; q subtracts x^T y, a product of w; a adds up w; c adds up a; all exactly.
    """
    nodes = (
        node("input", (), (BATCH, 3), {"index": 0}),
        node("param", (), (3, 2), {"index": 0}),
        node("param", (), (3, 2), {"index": 1}),
        node("param", (), (3, 2), {"index": 2}),
        dot(0, 1, (BATCH, 2), ((1,), (0,))),  # 4: y = x w
        dot(4, 4, (BATCH, 2), batch=ALL),  # 5: y^2
        dot(5, 4, (BATCH, 2), batch=ALL),  # 6: y^3
        node("rescale", (6,), (BATCH, 2), {"shift": 12, "bits": 7}),
        dot(0, 7, (3, 2), ((0,), (0,))),  # 8: the update of w
        dot(0, 4, (3, 2), ((0,), (0,))),  # 9: x^T y, of q
        dot(0, 2, (BATCH, 2), ((1,), (0,))),  # 10: x q
        node("rescale", (10,), (BATCH, 2), {"shift": 7, "bits": 7}),
        dot(7, 11, (), ALL),  # 12
    )
    parameters = (
        Parameter("w", (3, 2), (Update(8, (1,)),), unit=ONE),
        Parameter("q", (3, 2), (Update(9, (1, 2, 1)),), unit=ONE),
        Parameter("a", (3, 2), (Update(1, (-1,)),), unit=ONE),
        Parameter("c", (3, 2), (Update(3, (-1,)), Update(8, (3,))), unit=ONE),
    )
    inputs = (Input("x", (BATCH, 3), 3, 4),)
    return Circuit(nodes, inputs, parameters, (Loss(12, Fraction(1)),), 9, max_steps=STEPS).check()


def start(seed=0):
    rng = np.random.default_rng(seed)
    return [rng.integers(-5, 6, size=(3, 2)) * 2.0**-6 for _ in range(4)], (rng.integers(-4, 5, size=(6, 3)) * 2.0**-3,)


@pytest.fixture(scope="module")
def trained():
    circuit = nested()
    run = zkjax.train(circuit, *start(), steps=STEPS)
    run.chain.geometry = SMALL
    return circuit, run


def test_levels_of_a_plain_net():
    circuit, _ = mlp_run((4, 3, 2))
    levels = circuit.levels
    assert levels.depth == 3 and set(levels.parameters) == {2}
    assert {levels.nodes[i] for i in circuit.of("gate")} == {1}
    assert {levels.nodes[u.node] for p in circuit.parameters for u in p.updates if circuit.nodes[u.node].op == "dot"} == {2}
    for i in circuit.of("dot"):
        reads = {circuit.nodes[j].op for j in circuit.nodes[i].inputs}
        assert levels.nodes[i] == (3 if "param" in reads else 2)


def test_levels_of_nested_products():
    levels = nested().levels
    assert levels.nodes == (0, 2, 4, 2, 3, 4, 5, 0, 2, 4, 5, 0, 2)
    assert levels.parameters == (2, 4, 2, 2)
    places = {key: at for at, key in enumerate(levels.order)}
    assert places["param", 0] < places["param", 1] and places["param", 0] < places["param", 2] < places["param", 3]


def by_hand(run):
    """The steps in plain Python integers."""
    w, q, a, c = (x.astype(object) for x in run.initial)
    for t, batch in enumerate(run.indices):
        x = run.data.arrays[0][batch].astype(object)
        y = x @ w
        z = (y**3 + 2**11) // 2**12
        u = x.T @ z
        w, q, a, c = w - u, q - (1, 2, 1)[t] * (x.T @ y), a + w, c + a - 3 * u
    return w, q, a, c


def test_training_is_what_the_graph_says(trained):
    _, run = trained
    for found, expected in zip(run.final, by_hand(run), strict=True):
        assert np.array_equal(found, expected.astype(np.int64))
    assert all(abs(x).max() <= bound for x, bound in zip(run.final, run.final_bound, strict=True))


def test_both_verifiers_accept_a_proof(trained):
    circuit, run = trained
    proof = prove_small(circuit, run, reveal=("loss",))
    verify_small(circuit, proof)
    reference.verify(circuit.to_json(), bytes(proof), minimum_bits=BITS)
    assert {name for name in dict(zkjax.ledger(circuit, proof).terms) if name.startswith("level")} == {
        f"level {level}: rounds" for level in range(2, 6)
    }


def test_bounds_follow_the_order_of_parameters():
    """a adds up w, c adds up a: bounds of the second and third order in the steps."""
    circuit = nested()
    u = circuit.node_bounds()[8]
    w, q, a, c = (signed_bound(circuit.table_bits),) * 4
    for steps in (1, 2, 3):
        found = circuit.bounds((w, q, a, c), steps)
        inside = w + (steps - 1) * u
        assert found.inside[0] == inside and found.final[0] == w + steps * u
        assert found.final[2] == a + steps * inside and found.inside[2] == a + (steps - 1) * inside
        assert found.final[3] == c + steps * (found.inside[2] + 3 * u)


def test_every_committed_cell_off_by_one(trained):
    _, run = trained
    assert Liar(run).broken() == set()
    whole = Liar(run)
    whole.broken()
    keys = [*whole.plan.advice, *(("final", p) for p in range(4)), *(("initial", p) for p in range(4)), ("data", 0, 0)]
    for key in keys:
        shape = whole._committed(key).shape
        for cell in {0, int(np.prod(shape)) - 1}:
            liar = Liar(run)
            honest = liar._committed
            off = np.zeros(shape, dtype=np.uint64)
            off.reshape(-1)[cell] = 1
            liar._committed = lambda asked, key=key, honest=honest, off=off: (
                honest(asked) if asked != key else field.add(honest(asked), off)
            )
            if key[0] == "data" and cell // shape[1] not in run.indices:
                continue
            assert liar.broken(), (key, cell)


LIES = {
    "a product of a parameter skipped": (1, lambda us: (Update(us[0].node, (1, 0, 1)),)),
    "the rate of another step": (1, lambda us: (Update(us[0].node, (2, 1, 1)),)),
    "a parameter that is not added up": (2, lambda us: ()),
    "added up twice": (2, lambda us: us + us),
    "the sum of another parameter": (3, lambda us: (Update(1, (-1,)), us[1])),
}


@pytest.mark.parametrize("name", LIES)
def test_lies_about_updates(trained, name):
    """Another training, presented as this one."""
    circuit, run = trained
    p, change = LIES[name]
    parameters = list(circuit.parameters)
    parameters[p] = dataclasses.replace(parameters[p], updates=change(parameters[p].updates))
    other = dataclasses.replace(circuit, parameters=tuple(parameters))
    liar = Liar(run)
    lied = zkjax.train(other, *start(), steps=STEPS)
    computed = lied.witness()
    liar.values, liar.forms, liar.final = computed.values, computed.forms, lied.final
    assert liar.broken() and liar.broken() <= {f"level {level}" for level in range(2, 6)} | {"lookup layer", "committed values"}


def test_claims_that_would_go_up_are_refused():
    circuit = nested()

    def updated(p, *updates):
        parameters = list(circuit.parameters)
        parameters[p] = dataclasses.replace(parameters[p], updates=updates)
        return dataclasses.replace(circuit, parameters=tuple(parameters))

    for changed, words in (
        (updated(0, Update(1, (1,))), "parameter w depends on itself"),
        (updated(0, Update(9, (1,))), "parameter w depends on itself"),
        (updated(0, Update(2, (1,))), "depends on parameter"),  # w reads q, whose update multiplies w
    ):
        with pytest.raises(zkjax.UnsupportedOperationError, match=words):
            changed.check()
        with pytest.raises(zkjax.UnsupportedOperationError, match="would go up again"):
            changed.bounds((1,) * 4, 1)
        with pytest.raises(reference.Rejected):
            reference.check_levels(reference.Circuit(changed.to_json()))


def test_a_refusal_names_what_goes_round_and_nothing_else():
    """w reads itself, and c, which is innocent."""
    nodes = (node("input", (), (1,), {"index": 0}), node("param", (), (1,), {"index": 0}), node("param", (), (1,), {"index": 1}))
    for order in ((1, 2), (2, 1)):
        parameters = (Parameter("w", (1,), tuple(Update(i, (1,)) for i in order)), Parameter("c", (1,), (Update(0, (1,)),)))
        with pytest.raises(zkjax.UnsupportedOperationError, match="update of parameter w depends on itself without rounding"):
            Circuit(nodes, (Input("x", (1,), 0, 0),), parameters, (), 9).check()


def test_the_number_of_levels_is_limited():
    """Squares of squares of a small number, as many as are allowed, and one more."""

    def tower(height):
        nodes = [node("input", (), (1,), {"index": 0})]
        nodes += [dot(i, i, (1,), batch=((0,), (0,))) for i in range(height)]
        parameters = (Parameter("w", (1,)),)
        return Circuit(tuple(nodes), (Input("x", (1,), 0, 0),), parameters, (), 9)

    assert tower(MAX_DEPTH - 1).check().levels.depth == MAX_DEPTH
    with pytest.raises(zkjax.UnsupportedOperationError, match=f"more than {MAX_DEPTH}"):
        tower(MAX_DEPTH).check()


def test_a_long_way_round_takes_linear_time():
    """A parameter that reads another one, and so on, eight thousand times; and the same in a circle."""
    count = 8_000
    nodes = tuple(node("param", (), (1,), {"index": p}) for p in range(count))
    ring = [Parameter(f"p{p}", (1,), (Update((p + 1) % count, (1,)),)) for p in range(count)]
    row = [*ring[:-1], dataclasses.replace(ring[-1], updates=())]
    inputs = (Input("x", (1,), 0, 0),)
    assert set(Circuit(nodes, inputs, tuple(row), (), 9).check().levels.parameters) == {2}
    with pytest.raises(zkjax.UnsupportedOperationError, match="would go up again"):
        Circuit(nodes, inputs, tuple(ring), (), 9).check()
