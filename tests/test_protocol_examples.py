"""The worked examples of PROTOCOL.md (12.4, 13.5), by the code."""

from types import SimpleNamespace

import numpy as np
from nodes import node

from zkjax.algebra import extension as ext
from zkjax.algebra.extension import Ext
from zkjax.algebra.vectors import Vector, Vectors
from zkjax.protocol.claims import Term, Walk
from zkjax.protocol.contraction import _operand_term, _Products, _right_term, blocks_of

STEP = Vector(ext.stack([Ext(11), Ext(12)]))


def vector(*entries) -> Vector:
    return Vector(ext.stack([Ext(x) for x in entries]))


def entries(v) -> list[int]:
    return [x.c0 for x in ext.unstack(v)]


def term(key, scalar, *groups) -> Term:
    return Term(key, Ext(scalar), STEP, tuple(axes for axes, _ in groups), tuple(v for _, v in groups))


def test_a_walk():
    a, b = vector(2, 3), vector(5, 7)
    nodes = [node("input", (), (2, 2), {"index": 0})] * 3
    nodes += [node("rescale", (0,), (2, 2), {"bits": 7, "shift": 4}), node("gate", (2, 3), (2, 2))]
    nodes += [node("linear", (3, 4), (2, 2), {"coefficients": (2, 1)}), node("transpose", (5,), (2, 2), {"permutation": (1, 0)})]
    circuit = SimpleNamespace(nodes=nodes, describe=str)
    straight, turned = (((0,), b), ((1,), a)), (((1,), a), ((0,), b))
    listed = [term(("node", 6), 1, ((0,), a), ((1,), b)), term(("quotient", 3), 3, *straight), term(("node", 3), 5, *straight)]
    terms, constant = Walk(circuit, Vectors()).run(listed)
    expected = [term(("quotient", 3), 8, *straight), term(("gate", 4), 1, *turned), term(("quotient", 3), 2, *turned)]
    assert [(t.same_axes(), t.step, t.scalar) for t in terms] == [(t.same_axes(), t.step, t.scalar) for t in expected]
    assert constant == Ext(-(2**7) * (5 + 2) * (11 + 12) * (2 + 3) * (5 + 7))


def test_lifted_axes():
    nodes = [node("input", (), (2, 4), {"index": 0}), node("param", (), (4, 3), {"index": 0})]
    nodes.append(node("dot", (0, 1), (2, 3), {"batch": ((), ()), "contract": ((1,), (0,))}))
    circuit = SimpleNamespace(nodes=nodes)
    u = list(range(1, 7))
    (found,) = blocks_of(Vectors(), circuit, [term(("dot", 2), 3, ((0, 1), vector(*u)))])
    assert found.shape == (2, 4, 2)
    w_t, w_k, w_l = vector(1, 2), vector(3, 4, 5, 6), vector(7, 8)
    weight = SimpleNamespace(scalar=Ext(9), vectors=(w_t, w_k, w_l))
    left = _operand_term(circuit, found.left, weight, _Products(Vectors()))
    right = _right_term(circuit, found.rights[0], weight, _Products(Vectors()))
    assert left.same_axes() == (("node", 0), ((1,), (0,)), (w_k, w_l)) and left.step is w_t and left.scalar == Ext(9)
    assert (right.key, right.groups, right.scalar) == (("node", 1), ((1,), (0,)), Ext(27))
    assert entries(right.step) == [11 * 1, 12 * 2]
    assert entries(right.vectors[0]) == [7 * u[j] + 8 * u[3 + j] for j in range(3)] and right.vectors[1] is w_k
    x, y = np.arange(16).reshape(2, 2, 4), np.arange(24).reshape(2, 4, 3) + 1  # the block's tables add up to the term
    tables = np.einsum("tlk->tkl", x), 3 * np.array([11, 12])[:, None, None] * np.einsum("lj,tkj->tkl", np.reshape(u, (2, 3)), y)
    assert (tables[0] * tables[1]).sum() == 3 * np.einsum("t,tik,tkj,ij", [11, 12], x, y, np.reshape(u, (2, 3)))
