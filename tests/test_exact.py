"""Exact integer products by float64 limbs, and the operations of a circuit, against Python integers."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from nodes import evaluated, node

from zkjax.algebra import exact
from zkjax.circuit import coarse


def integers(rng, bound, *shape):
    """Random integers with both extremes among them."""
    x = rng.integers(-bound, bound, shape, endpoint=True)
    x.reshape(-1)[: min(2, x.size)] = [-bound, bound][: min(2, x.size)]
    return x


@pytest.mark.parametrize("bits", [(13, 13), (11, 38), (38, 11), (30, 30), (1, 60), (20, 26), (0, 40)])
@pytest.mark.parametrize("terms", [1, 3, 64])
def test_products_are_exact(bits, terms):
    rng = np.random.default_rng([*bits, terms])
    x, y = integers(rng, 2 ** bits[0] - 1, 5, terms), integers(rng, 2 ** bits[1] - 1, terms, 4)
    if terms << sum(bits) >= 2**63:
        x, y = x >> 1, y >> 6
    expected = (x.astype(object) @ y.astype(object)).astype(np.int64)
    limbs = exact.split(2 ** bits[0], 2 ** bits[1], terms)
    assert (exact.dot(x, y, ((1,), (0,)), ((), ()), limbs) == expected).all()
    with jax.enable_x64(True):
        result = jax.jit(lambda a, b: exact.dot(a, b, ((1,), (0,)), ((), ()), limbs))(jnp.asarray(x), jnp.asarray(y))
        assert result.dtype == jnp.int64 and (np.asarray(result) == expected).all()


@pytest.mark.parametrize("bits", [1, 20, 29, 30, 31, 43])
@pytest.mark.parametrize("contract", [((1,), (0,)), ((0,), (0,)), ((1,), (1,))])
def test_products_are_exact_whether_values_reach_their_bounds_or_not(bits, contract):
    """Bounds ask for limbs; the values at hand fit without, just so, or not. Parameters may be stored as float64."""
    rng = np.random.default_rng(bits)
    x, y = (integers(rng, 2**b - 1, 64, 64) for b in (13, bits))
    limbs = exact.split(2**13, 2**52, 64)
    assert limbs[1].count > 1
    left, right = (z if d == at else z.T for z, (d,), at in zip((x, y), contract, (1, 0), strict=True))
    expected = (left.astype(object) @ right.astype(object)).astype(np.int64)
    for stored in (y, y.astype(np.float64)):
        assert (exact.dot(x, stored, contract, ((), ()), limbs) == expected).all()
        with jax.enable_x64(True):
            result = jax.jit(lambda a, b: exact.dot(a, b, contract, ((), ()), limbs))(jnp.asarray(x), jnp.asarray(stored))
            assert result.dtype == jnp.int64 and (np.asarray(result) == expected).all()


@pytest.mark.parametrize("bound_x", [1, 2, 2**13, 2**20, 2**31, 2**40])
@pytest.mark.parametrize("bound_y", [1, 2**13, 2**26, 2**40, 2**62])
@pytest.mark.parametrize("terms", [1, 2, 3, 1024, 3072])
def test_limbs_fit_the_mantissa(bound_x, bound_y, terms):
    limbs = exact.split(bound_x, bound_y, terms)
    widest = []
    for cut, bound in zip(limbs, (bound_x, bound_y), strict=True):
        top = -(-bound // 2 ** (cut.width * (cut.count - 1)))  # the last limb is signed, the others are not
        widest.append(max(top, 2**cut.width if cut.count > 1 else 0))
    assert widest[0] * widest[1] * terms <= 2**53
    assert 1 <= limbs[0].count <= 4 and 1 <= limbs[1].count <= 6


def test_limbs_fill_the_mantissa():
    """Cut where a product would not be exact, and not before."""
    for bits_x, bits_y, terms in ((14, 32, 256), (13, 40, 2), (16, 24, 2**14), (9, 16, 2**29)):
        for more in (0, 1):  # exactly 53 bits; one more
            x, y = 2**bits_x - 1, 2**bits_y - 1
            assert bits_x + bits_y + (terms - 1).bit_length() in (53, 54)
            fits = bits_x + bits_y + (terms * 2**more - 1).bit_length() <= 53
            assert (exact.split(x, y, terms * 2**more) == (exact.WHOLE, exact.WHOLE)) == fits
    for bits in (30, 31, 40, 48):  # both operands are wide
        for terms in (1, 2, 1024):
            (cut, _) = limbs = exact.split(2**bits - 1, 2**bits - 1, terms)
            room = 53 - (terms - 1).bit_length()
            assert limbs[0] == limbs[1] and 2 * cut.width <= room < 2 * (cut.width + 1)


def test_headline_products_need_two_limbs_for_weights_only():
    assert [cut.count for cut in exact.split(2**11, 2**38, 3072)] == [1, 2]
    assert [cut.count for cut in exact.split(2**11, 2**13, 64)] == [1, 1]


@pytest.mark.parametrize(
    "shapes, contract, batch",
    [
        (((4, 3), (3, 5)), ((1,), (0,)), ((), ())),
        (((3, 4), (5, 3)), ((0,), (1,)), ((), ())),
        (((2, 4, 3), (2, 3, 5)), ((2,), (1,)), ((0,), (0,))),
        (((2, 4, 3, 6), (6, 5, 2, 4)), ((1, 3), (3, 0)), ((0,), (2,))),
        (((4, 3), (4, 3)), ((), ()), ((0, 1), (0, 1))),
        (((4, 3), (4, 3)), ((0, 1), (0, 1)), ((), ())),
        (((4,), (5,)), ((), ()), ((), ())),
        (((), ()), ((), ()), ((), ())),
    ],
)
def test_dot_is_dot_general(shapes, contract, batch):
    rng = np.random.default_rng(0)
    x, y = (rng.integers(-50, 50, s) for s in shapes)
    with jax.enable_x64(True):
        expected = np.asarray(jax.lax.dot_general(jnp.asarray(x), jnp.asarray(y), (contract, batch)))
    assert (exact.dot(np.asarray(x), np.asarray(y), contract, batch) == expected).all()
    assert np.allclose(exact.dot(np.asarray(x, float), np.asarray(y, float), contract, batch), expected)


@pytest.mark.parametrize("shift", [0, 1, 2, 31, 61])
def test_rescale_rounds_half_up(shift):
    half = 2**shift // 2
    x = np.array([0, 1, -1, half, -half, half - 1, -half - 1, 3 * half, -3 * half, 2**61, -(2**61)])
    y = exact.rescale(x, shift)
    assert [int(v) for v in y] == [(2 * int(v) + 2**shift) // 2 ** (shift + 1) for v in x]
    r = exact.remainder(x, y, shift)
    assert (r >= 0).all() and (r < 2**shift).all()


@pytest.mark.parametrize("shift", [0, 1, 2, 31, 61])
def test_a_ceiling_is_above_0_exactly_where_its_input_is(shift):
    ceiling = node("ceiling", (0,), (11,), {"shift": shift, "bits": 3})
    x = np.array([0, 1, -1, 2**shift, -(2**shift), 2**shift - 1, 2**shift + 1, -(2**shift) - 1, 1 - 2**shift, 2**61, -(2**61)])
    y = evaluated(ceiling, [x.shape], [x])
    assert [int(v) for v in y] == [-(-int(v) // 2**shift) for v in x] and ((y > 0) == (x > 0)).all()
    r, _ = ceiling.operation.keep([x], y, None)["remainder"]
    assert (r >= 0).all() and (r < 2**shift).all()
    unrounded = evaluated(ceiling, [x.shape], [x.astype(float)], limbs=None)
    assert (np.abs(unrounded - y)[x > 0] <= 0.5).all() and ((unrounded > 0) == (x > 0)).all()
    assert (ceiling.operation.judged(y) == np.maximum(y, 0)).all()  # nobody reads by how much it is below 0


CASES = [
    ("linear", {"coefficients": (3, -1, 1)}, [(2, 3)] * 3, lambda x, y, z: 3 * x - y + z),
    ("transpose", {"permutation": (2, 0, 1)}, [(2, 3, 4)], lambda x: x.transpose(2, 0, 1)),
    ("reshape", {"shape": (4, 6)}, [(2, 3, 4)], lambda x: x.reshape(4, 6)),
    ("broadcast", {"shape": (3, 5, 2), "axes": (2, 0)}, [(2, 3)], lambda x: np.broadcast_to(x.T[:, None, :], (3, 5, 2))),
    ("sum", {"axes": (0, 2)}, [(2, 3, 4)], lambda x: x.sum(axis=(0, 2))),
    ("slice", {"start": (1, 0), "limit": (4, 5), "stride": (1, 2)}, [(4, 5)], lambda x: x[1:4, 0:5:2]),
    (
        "pad",
        {"low": (1, 0), "high": (0, 2), "interior": (0, 1)},
        [(2, 3)],
        lambda x: np.asarray(jax.lax.pad(x, np.int32(0), [(1, 0, 0), (0, 2, 1)])),
    ),
    (
        "window",
        {"axis": 1, "out": 3, "size": 2, "stride": 2, "dilation": 1, "pad": 1},
        [(2, 4)],
        lambda x: np.stack([np.pad(x, [(0, 0), (1, 1)])[:, k : k + 5 : 2] for k in range(2)], axis=2),
    ),
    ("concatenate", {"axis": 1}, [(2, 3), (2, 1)], lambda x, y: np.concatenate([x, y], 1)),
    ("reverse", {"axes": (1,)}, [(2, 3)], lambda x: x[:, ::-1]),
    ("scale", {"axes": (2, 0)}, [(2, 3, 4), (4, 2)], lambda x, c: x * c.T[:, None, :]),
    ("sign", {}, [(2, 3)], lambda x: (x > 0).astype(int)),
    ("gate", {}, [(2, 3), (2, 3)], lambda m, y: m * y),
]


@pytest.mark.parametrize("op, attributes, shapes, expected", CASES, ids=[c[0] for c in CASES])
def test_operations(op, attributes, shapes, expected):
    rng = np.random.default_rng(1)
    arrays = [rng.integers(-3, 4, s).astype(np.int32) for s in shapes]
    want = expected(*arrays)
    one = node(op, tuple(range(len(shapes))), want.shape, attributes)
    for result in (
        evaluated(one, shapes, [x.astype(np.int64) for x in arrays]),
        evaluated(one, shapes, [jnp.asarray(x) for x in arrays]),
    ):
        assert result.shape == want.shape and (np.asarray(result) == want).all()


def test_coarse_forms_are_the_least_that_fit():
    for largest, scale, narrow, wide in ((0.0, 32, 8, 16), (0.9, 32, 8, 16), (1.0, 32, 16, 16), (2.0**-20, 32, 8, 16), (100.0, 20, 8, 8)):
        s, bits = coarse.form(largest, scale, narrow, wide)
        assert narrow <= bits <= wide and np.floor(largest * 2.0 ** (scale - s) + 0.5) < 2 ** (bits - 1)
        assert bits == narrow or np.floor(largest * 2.0 ** (scale - s) + 0.5) >= 2 ** (bits - 2)
        assert s == 0 or np.floor(largest * 2.0 ** (scale - s + 1) + 0.5) >= 2 ** (wide - 1)


def test_a_sum_that_cancels_is_zero():
    """In floating point alone, where a tensor is below 2^-32 of what its sums could be: such a number tells nothing of its size."""
    x = np.array([[1.0, -1.0 + 2.0**-33], [1.0, -1.0], [0.5, 0.25]])
    for row, sums, noted in (
        (x[0], 0.0, {1: 2.0}),
        (x[1], 0.0, {}),
        (x[2], 0.75, {}),
        (np.array([1.0, -1.0 + 2.0**-31]), 2.0**-31, {}),
    ):
        nodes = node("input", (), (2,), {"index": 0}), node("sum", (0,), (), {"axes": (0,)})
        circuit = SimpleNamespace(nodes=nodes, drawn=(), paced=(), keys=lambda *_: (), paces=lambda *_: (), shapes=lambda i: [(2,)])
        values = exact.evaluate(circuit, None, [], [row], cancelled=(found := {}))
        assert values[1] == sums and found == noted
