"""Claims walk down linear operations exactly as cotangents do."""

import numpy as np
import pytest
from field_values import random_vector
from hypothesis import given, settings
from hypothesis import strategies as st
from nodes import evaluated, inferred, node

from zkjax.algebra import extension as ext
from zkjax.algebra import field
from zkjax.algebra.extension import ONE, ZERO, Ext
from zkjax.algebra.layout import Layout
from zkjax.algebra.vectors import Vector, Vectors
from zkjax.circuit.circuit import Circuit
from zkjax.circuit.parts import Input
from zkjax.errors import UnsupportedOperationError
from zkjax.protocol.claims import Claim, Term, kronecker, merge_claims, merge_terms, pull, weight_evaluation

STEPS = 2
ones = Vectors().ones


class Graph:
    """A little builder: nodes over one input, with their integers at every step."""

    def __init__(self, rng, shape):
        self.rng = rng
        self.inputs = (Input("x", shape, 0, 10),)
        self.nodes = [node("input", (), shape, {"index": 0})]
        self.values = [rng.integers(-1000, 1000, (STEPS, *shape))]

    def add(self, op, *inputs, **attributes):
        shapes = [self.nodes[i].shape for i in inputs]
        shape = inferred(op, shapes, attributes)
        added = node(op, inputs, shape, attributes)
        self.nodes.append(added)
        if op == "const":
            value = np.broadcast_to(np.array(attributes["values"], dtype=np.int64).reshape(shape), (STEPS, *shape))
        else:
            value = np.stack([evaluated(added, shapes, [self.values[i][t] for i in inputs]) for t in range(STEPS)])
        self.values.append(value)
        return len(self.nodes) - 1

    def circuit(self):
        return Circuit(tuple(self.nodes), self.inputs, (), (), 8)

    def random_term(self, i, groups=None):
        shape = self.nodes[i].shape
        groups = tuple((d,) for d in range(len(shape))) if groups is None else groups
        vectors = tuple(random_vector(self.rng, int(np.prod([shape[d] for d in group]))) for group in groups)
        return Term(("node", i), Ext(3, 4), random_vector(self.rng, STEPS), groups, vectors)


def functional(term, values):
    """<values, weight of the term>, entry by entry. values: int64 (steps, ...)."""
    shape = values.shape[1:]
    weight = ext.stack([term.scalar])
    weight = ext.mul(weight, term.step)
    weight = tuple(c.reshape(-1, *(1,) * len(shape)) for c in weight)
    for group, vector in zip(term.groups, term.vectors, strict=True):
        spread = [shape[d] if d in group else 1 for d in range(len(shape))]
        weight = ext.mul(weight, tuple(c.reshape(1, *spread) for c in vector))
    product = ext.mul_base(weight, field.from_int(values.astype(np.int64)))
    return Ext(*(int(c) for c in ext.sum(product)))


def check(graph, node, groups=None):
    term = graph.random_term(node, groups)
    terms, constant = pull(graph.circuit(), [term])
    assert all(t.key == ("input", 0) for t in terms)
    total = constant
    for t in terms:
        total = total + functional(t, graph.values[0])
    assert total == functional(term, graph.values[node])


def linear_ops(shape):
    """One example of every linear operation on this three-dimensional shape."""
    a, b, c = shape
    return {
        "transpose": {"permutation": (2, 0, 1)},
        "merge": ("reshape", {"shape": (a, b * c)}),
        "split": ("reshape", {"shape": (a * b, 1, c)}),
        "mix": ("reshape", {"shape": (c, a * b)}),
        "broadcast": {"shape": (4, a, b, c, 2), "axes": (1, 2, 3)},
        "turned broadcast": ("broadcast", {"shape": (c, 3, b, a), "axes": (3, 2, 0)}),
        "sum": {"axes": (0, 2)},
        "slice": {"start": (0, 1, 0), "limit": (a, b, c), "stride": (2, 1, 1)},
        "pad": {"low": (1, 0, 2), "high": (0, 3, 0), "interior": (1, 0, 0)},
        "reverse": {"axes": (1, 2)},
        "window": {"axis": 1, "out": 4, "size": 2, "stride": 1, "dilation": 2, "pad": 2},
        "windows apart": ("reshape", {"shape": (a, b, 1, c)}),
    }


@pytest.mark.parametrize("name", linear_ops((2, 3, 4)))
def test_each_linear_operation(name):
    found = linear_ops((2, 3, 4))[name]
    op, attributes = (name, found) if isinstance(found, dict) else found
    graph = Graph(np.random.default_rng(0), (2, 3, 4))
    check(graph, graph.add(op, 0, **attributes))


@pytest.mark.parametrize("shape", [(3, 2, 4), (2, 3, 3), (2, 2, 2)])
def test_short_axes_that_were_joined(shape):
    """A term with one group becomes a term with two for each entry of the shorter axis; where axes are longer it stays one."""
    graph = Graph(np.random.default_rng(4), shape)
    first, last = (graph.add("reshape", 0, shape=joined) for joined in ((shape[0] * shape[1], shape[2]), (shape[0], shape[1] * shape[2])))
    for at in (first, last):
        check(graph, at)
        check(graph, at, ((0, 1),))
    assert len(pull(graph.circuit(), [graph.random_term(first)])[0]) == min(shape[:2])
    assert len(pull(graph.circuit(), [graph.random_term(last)])[0]) == (min(shape[1:]) if max(shape[1:]) < 4 else 1)


@pytest.mark.parametrize("groups", [((0, 1), (2,)), ((0, 2), (1,)), ((0, 1, 2),), ((2,), (0,), (1,))])
@pytest.mark.parametrize("name", linear_ops((2, 3, 4)))
def test_joined_groups_pass_every_operation(name, groups):
    found = linear_ops((2, 3, 4))[name]
    op, attributes = (name, found) if isinstance(found, dict) else found
    graph = Graph(np.random.default_rng(1), (2, 3, 4))
    node = graph.add(op, 0, **attributes)
    rank = len(graph.nodes[node].shape)
    used = tuple(g for g in (tuple(d for d in group if d < rank) for group in groups) if g)
    rest = tuple((d,) for d in range(rank) if all(d not in g for g in used))
    check(graph, node, used + rest)


def test_sums_concatenations_constants_and_scaling():
    graph = Graph(np.random.default_rng(2), (2, 3))
    turned = graph.add("reverse", 0, axes=(0,))
    both = graph.add("concatenate", 0, turned, 0, axis=1)
    constant = graph.add("const", shape=(2, 9), values=tuple(range(18)))
    total = graph.add("linear", both, constant, both, coefficients=(3, -2, 5))
    row = graph.add("const", shape=(9,), values=tuple(range(-4, 5)))
    scaled = graph.add("scale", total, row, axes=(1,))
    check(graph, scaled)
    whole = graph.add("const", shape=(9, 2), values=tuple(range(18)))
    check(graph, graph.add("scale", scaled, whole, axes=(1, 0)))
    single = graph.add("const", shape=(), values=(7,))
    check(graph, graph.add("scale", scaled, single, axes=()))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.lists(st.integers(0, 10), min_size=1, max_size=5))
def test_random_compositions(seed, choices):
    rng = np.random.default_rng(seed)
    graph, node = Graph(rng, (2, 3, 4)), 0
    for choice in choices:
        shape = graph.nodes[node].shape
        if len(shape) != 3 or max(shape) > 16:
            break
        name = list(linear_ops(shape))[choice]
        found = linear_ops(shape)[name]
        op, attributes = (name, found) if isinstance(found, dict) else found
        if op == "slice" and shape[1] < 2:
            continue
        node = graph.add(op, node, **attributes)
        if rng.integers(2):
            node = graph.add("linear", node, node, coefficients=(2, -5))
    check(graph, node)


def test_repeated_sums_do_not_explode():
    graph, node = Graph(np.random.default_rng(3), (3,)), 0
    for _ in range(40):
        node = graph.add("linear", node, node, coefficients=(1, -3))
    terms, _ = pull(graph.circuit(), [graph.random_term(node)])
    assert len(terms) == 1


def test_a_number_among_the_operations_is_a_constant_of_the_claim():
    """<c, step> = c times the sum of the step's vector; a scalar has no other axis."""
    nodes = (node("input", (), (3,), {"index": 0}), node("const", (), (), {"shape": (), "values": (-7,)}))
    circuit = Circuit(nodes, (Input("x", (3,), 0, 8),), (), (), 8)
    assert pull(circuit, [Term(("node", 1), Ext(2), ones(STEPS), (), ())]) == ([], Ext(-7 * 2 * STEPS))


def test_advice_ends_the_walk():
    nodes = [node("input", (), (3,), {"index": 0}), node("rescale", (0,), (3,), {"shift": 2, "bits": 5}), node("sign", (1,), (3,))]
    nodes.append(node("gate", (2, 1), (3,)))
    nodes.append(node("linear", (1, 3), (3,), {"coefficients": (1, 1)}))
    circuit = Circuit(tuple(nodes), (Input("x", (3,), 0, 8),), (), (), 8)
    vector, step = ones(3), ones(STEPS)
    terms, constant = pull(circuit, [Term(("node", 4), ONE, step, ((0,),), (vector,))])
    assert {t.key for t in terms} == {("quotient", 1), ("gate", 3)}
    assert constant == Ext(-(2**5) * 3 * STEPS)


def test_joining_large_axes_is_refused():
    nodes = [node("input", (), (2**11, 2**10), {"index": 0}), node("reshape", (0,), (2**10, 2**11), {"shape": (2**10, 2**11)})]
    circuit = Circuit(tuple(nodes), (Input("x", (2**11, 2**10), 0, 8),), (), (), 8)
    term = Term(("node", 1), ONE, ones(1), ((0,), (1,)), (ones(2**10), ones(2**11)))
    with pytest.raises(UnsupportedOperationError, match="joins axes"):
        pull(circuit, [term])


def test_merged_claims_are_linear():
    term = Term(("node", 0), ONE, ones(2), ((0,),), (ones(3),))
    merged = merge_claims([Claim((term,), Ext(5), Ext(7)), Claim((term,), Ext(1), Ext(2))], Ext(10), Vectors())
    assert len(merged.terms) == 1 and merged.terms[0].scalar == Ext(11)
    assert merged.constant == Ext(15) and merged.value == Ext(27)


def test_terms_that_differ_in_scalar_and_steps_are_one():
    """At the place of the first; terms along other vectors, though equal ones, stay apart."""
    rng, along = np.random.default_rng(7), ones(3)
    steps = [Vector(tuple(rng.integers(0, field.P, 5, dtype=np.uint64) for _ in range(2))) for _ in range(2)]
    listed = [(2, steps[0], along), (5, steps[1], along), (1, steps[0], Vector(along)), (3, steps[0], along)]
    terms = [Term(("node", 0), Ext(n), step, ((0,),), (vector,)) for n, step, vector in listed]
    first, second = merge_terms(terms, Vectors())
    assert second is terms[2] and first.scalar == ONE and first.vectors[0] is along
    assert all(x == a * 5 + b * 5 for x, a, b in zip(*map(ext.unstack, (first.step, *steps)), strict=True))
    (same,) = merge_terms([terms[0], terms[3]], Vectors())
    assert same.scalar == Ext(5) and same.step is steps[0]
    (bare,) = merge_terms([Term(("initial", 0), Ext(n), None, ((0,),), (along,)) for n in (2, 3)], Vectors())
    assert bare.scalar == Ext(5) and bare.step is None


def test_weight_evaluation_equals_the_embedded_inner_product():
    rng = np.random.default_rng(4)
    layout = Layout({"a": (3, 5), "b": (2, 2, 3)})
    point = [Ext(int(x), int(y)) for x, y in rng.integers(0, field.P, (layout.num_vars, 2), dtype=np.uint64)]
    terms = {
        "a": [Term(("a",), Ext(2), random_vector(rng, 3), ((0,),), (random_vector(rng, 5),))],
        "b": [Term(("b",), Ext(5), None, ((0, 2), (1,)), (random_vector(rng, 6), random_vector(rng, 2)))],
    }
    total = ZERO
    for weight in layout.weights(point):
        for term in terms[weight.key]:
            if term.step is not None:
                part = ext.dot(term.step, weight.vectors[0]) * ext.dot(term.vectors[0], weight.vectors[1])
            else:
                joined = kronecker(weight.vectors[0], weight.vectors[2])
                part = ext.dot(term.vectors[0], joined) * ext.dot(term.vectors[1], weight.vectors[1])
            total = total + part * term.scalar * weight.scalar
    assert weight_evaluation(layout.weights(point), terms) == total
