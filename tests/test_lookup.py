"""LogUp-GKR: the tree at every length class, a real lookup, and lying provers."""

import random
from collections import Counter

import jax.numpy as jnp
import numpy as np
import pytest
from field_values import arrays_over_k

from zkjax.algebra import extension as ext
from zkjax.algebra import field, poly
from zkjax.algebra.extension import ONE, ZERO, Ext
from zkjax.algebra.field import P
from zkjax.algebra.poly import num_bits
from zkjax.errors import UnsatisfiedWitnessError, VerificationError, ZkjaxError
from zkjax.kernels import tiles
from zkjax.kernels.eq import eq_table
from zkjax.kernels.lookup import Tree
from zkjax.kernels.tiles import LOG_TILE, Tiles, bit_reversed, tile_size
from zkjax.protocol import lookup
from zkjax.protocol.membership import LOG_BLOCK, in_layout

pytestmark = pytest.mark.usefixtures("x64")

LENGTHS = [1, 2, 4, 10, 11, 12, 13, 14, LOG_TILE + 2, LOG_TILE + 3]  # 2^12 nodes and fewer run in steps of fixed shape, more in tiles


def leaves_of(p, q):
    """Numerators less 1, denominators."""
    return jnp.asarray(np.array([(x - 1) % P for x in p], dtype=np.uint64)), tuple(map(jnp.asarray, ext.stack(q)))


def random_k(rng, length: int):
    return tuple(rng.integers(0, P, length, dtype=np.uint64) for _ in range(2))


def zero_sum(num_vars, seed=0):
    """Fractions that cancel in pairs, shuffled."""
    draw = random.Random(seed)
    half = 1 << (num_vars - 1)
    numerators = [draw.choice([0, 1, P - 1, draw.randrange(P)]) for _ in range(half)]
    denominators = [e or ONE for e in arrays_over_k(draw, half)]
    order = draw.sample(range(2 * half), 2 * half)
    p, q = numerators + [-n % P for n in numerators], denominators * 2
    return leaves_of([p[i] for i in order], [q[i] for i in order])


def closed(num_vars, public, total=0):
    """The argument, closed with what the leaves really are (the test's verifier knows them)."""
    excess, q_table = ext.from_base(np.asarray(public[0])), tuple(map(np.asarray, public[1]))

    def protocol(hidden, leaves):
        point, p, q = lookup.fractional_sum(hidden, num_vars, total, leaves)
        hidden.require_zero("numerators", p - 1 - poly.evaluate(excess, point))
        hidden.require_zero("denominators", q - poly.evaluate(q_table, point))
        return point

    return protocol


@pytest.mark.parametrize("num_vars", LENGTHS)
def test_accepts(roles, num_vars):
    leaves = zero_sum(num_vars)
    point, verified = roles.accepts(closed(num_vars, leaves), leaves)
    assert point == verified and len(point) == num_vars
    assert roles.counts.pads == 1 + num_vars * (num_vars - 1)
    assert roles.counts.triples == 2 * num_vars


def test_one_leaf(roles):
    leaves = leaves_of([0], [Ext(3, 4)])
    roles.accepts(closed(0, leaves), leaves)
    leaves = leaves_of([1], [Ext(3, 4)])
    _, body = roles.prove(closed(0, leaves), leaves, check=False)
    with pytest.raises(VerificationError):
        roles.verify(closed(0, leaves), body)


@pytest.mark.parametrize("num_vars", [1, 3, 10, 12])
def test_root_is_the_sum(num_vars):
    draw = random.Random(num_vars)
    p, q = [draw.randrange(P) for _ in range(1 << num_vars)], [e or ONE for e in arrays_over_k(draw, 1 << num_vars)]
    numerator, denominator = ZERO, ONE
    for a, b in zip(p, q, strict=True):
        numerator, denominator = numerator * b + denominator * a, denominator * b
    assert Tree(num_vars, leaves_of(p, q)).root == (numerator, denominator)


@pytest.mark.parametrize("num_vars", [0, 1, 9, 10, 11, 15])
def test_eq_table(num_vars):
    point = arrays_over_k(random.Random(num_vars), num_vars)
    assert ext.unstack(eq_table(point)) == ext.unstack(poly.eq_vector(point))


@pytest.mark.parametrize("blocks, used", [(4, 3), (8, 5), (8, 6), (8, 7), (16, 9)])
@pytest.mark.parametrize("longer", [0, 1])
def test_missing_tiles_are_padding(blocks, used, longer, monkeypatch):
    """Blocks in bit-reversed order, those at the end missing: the same root and messages as with leaves 1/1 in their place.

    longer: tiles, as accelerators have them, of which each joins blocks.
    """
    monkeypatch.setattr(tiles, "LOG_TILE", LOG_BLOCK + longer)
    rng, size = np.random.default_rng(used), 1 << LOG_BLOCK
    q = [random_k(rng, size) for _ in range(used)]
    excess = [(rng.integers(0, P, size, dtype=np.uint64),) if i in (0, 1, used - 1) else None for i in range(used)]
    one = np.ones(size, np.uint64), np.zeros(size, np.uint64)
    missing, written_out = (
        Tree(num_bits(blocks) + LOG_BLOCK, (bit_reversed(Tiles([*excess, *[None] * (blocks - used)])), bit_reversed(Tiles(q + rest))))
        for rest in ([None] * (blocks - used), [one] * (blocks - used))
    )
    assert missing.root == written_out.root
    draw = random.Random(used)
    for variables in range(num_bits(blocks) + LOG_BLOCK):
        point, (scale,) = arrays_over_k(draw, variables), arrays_over_k(draw, 1)
        both = [tree.rounds(point, scale) for tree in (missing, written_out)]
        for _ in range(variables):
            first, second = (rounds.message() for rounds in both)
            assert first == second
            (r,) = arrays_over_k(draw, 1)
            for rounds in both:
                rounds.fold(r)
        assert both[0].values() == both[1].values()


def test_order_of_the_leaves():
    """A point of the tree's leaves, as one of the layout: of the layout's table, and of its blocks in bit-reversed order."""
    draw, variables = random.Random(3), LOG_BLOCK + 3
    table = random_k(np.random.default_rng(3), 1 << variables)
    blocks = bit_reversed(Tiles(zip(*(np.split(c, 8) for c in table), strict=True)))
    leaves = tuple(np.concatenate(c) for c in zip(*blocks, strict=True))
    assert [int(x[0][0]) for x in blocks] == [int(table[0][i << LOG_BLOCK]) for i in (0, 4, 2, 6, 1, 5, 3, 7)]
    point = arrays_over_k(draw, variables)
    assert poly.evaluate(leaves, point) == poly.evaluate(table, in_layout(point))
    assert in_layout(point[:LOG_BLOCK]) == point[:LOG_BLOCK]


# ---- a lookup as the circuit makes it ---------------------------------------------------------------------------
def lookup_leaves(values, table, multiplicities, alpha):
    """1/(alpha - v) for values, -m/(alpha - t) for the table's entries, 1/1 for the rest; and how many these are."""
    p = [1] * len(values) + [-m % P for m in multiplicities]
    q = [alpha - v for v in values] + [alpha - t for t in table]
    size = 1 << poly.num_bits(len(p))
    padding = size - len(p)
    return leaves_of(p + [1] * padding, q + [ONE] * padding), padding


TABLE = list(range(16))
ALPHA = Ext(123456789, 987654321)


def test_values_in_the_table(roles):
    values = [random.Random(5).choice(TABLE) for _ in range(90)]
    counts = Counter(values)
    leaves, padding = lookup_leaves(values, TABLE, [counts[t] for t in TABLE], ALPHA)
    roles.accepts(closed(7, leaves, padding), leaves)
    for total in (0, padding - 1, padding + 1):
        with pytest.raises(UnsatisfiedWitnessError, match="another sum"):
            roles.prove(closed(7, leaves, total), leaves)
        _, body = roles.prove(closed(7, leaves, total), leaves, check=False)
        with pytest.raises(VerificationError):
            roles.verify(closed(7, leaves, total), body)


@pytest.mark.parametrize("wrong", [16, -1, P // 2])
def test_one_value_outside_the_table(roles, wrong):
    values = [random.Random(5).choice(TABLE) for _ in range(89)] + [wrong]
    counts = Counter(values)
    leaves, padding = lookup_leaves(values, TABLE, [counts[t] for t in TABLE], ALPHA)
    protocol = closed(7, leaves, padding)
    with pytest.raises(UnsatisfiedWitnessError, match="not in its table"):
        roles.prove(protocol, leaves)
    _, body = roles.prove(protocol, leaves, check=False)
    with pytest.raises(VerificationError):
        roles.verify(protocol, body)


def test_wrong_multiplicities(roles):
    """One too many of one entry, and counts moved between entries."""
    values = TABLE * 2
    for multiplicities in ([3] + [2] * 15, [1, 3] + [2] * 14):
        leaves, padding = lookup_leaves(values, TABLE, multiplicities, ALPHA)
        _, body = roles.prove(closed(6, leaves, padding), leaves, check=False)
        with pytest.raises(VerificationError):
            roles.verify(closed(6, leaves, padding), body)


# ---- lying provers ----------------------------------------------------------------------------------------------
def test_other_leaves_that_sum_to_zero(roles):
    real, other = zero_sum(4, 1), zero_sum(4, 2)
    _, body = roles.prove(closed(4, real), other, check=False)
    with pytest.raises(VerificationError):
        roles.verify(closed(4, real), body)


def test_few_excesses(roles):
    """Leaves in tiles, most of which have numerators 1: the same messages as from full tables."""
    num_vars = LOG_TILE + 3
    p, q = np.ones(1 << num_vars, dtype=np.uint64), random_k(np.random.default_rng(0), 1 << num_vars)
    for start in (1 << LOG_TILE, 5 << LOG_TILE, 7 << LOG_TILE):
        p[start + 3 : start + 90] = np.random.default_rng(start).integers(0, P, 87, dtype=np.uint64)
    size = tile_size(num_vars - 1)
    excess = field.sub(p, np.ones(1, np.uint64))
    tiles = [(excess[i : i + size],) for i in range(0, len(p), size)]
    sparse = Tiles(tile if tile[0].any() else None for tile in tiles)
    assert sum(tile is not None for tile in sparse) == 3
    protocol = closed(num_vars, (excess, q))
    _, dense_body = roles.prove(protocol, (jnp.asarray(excess), q), check=False)
    _, body = roles.prove(protocol, (sparse, Tiles(tuple(c[i : i + size] for c in q) for i in range(0, len(p), size))), check=False)
    assert body == dense_body


@pytest.mark.parametrize("num_vars", [1, 3])
def test_every_changed_element_is_rejected(roles, num_vars):
    leaves = zero_sum(num_vars)
    protocol = closed(num_vars, leaves)
    _, body = roles.prove(protocol, leaves)
    roles.rejects_every_change(protocol, body)
    draw = random.Random(0)
    for changed in (body[:-1], body + b"\0", b"\xff" * len(body), draw.randbytes(len(body)), bytes(len(body)), body[::-1]):
        with pytest.raises(ZkjaxError):
            roles.verify(protocol, changed)


@pytest.mark.parametrize("layer", [0, 1, 2, 3])
def test_a_wrong_node_in_each_layer(roles, layer, monkeypatch):
    """A prover whose tree is consistent above a layer and below it, but not there, and whose root is 0."""
    leaves, honest = zero_sum(4, 3), Tree.rounds

    def lying(tree, point, scale):
        rounds = honest(tree, point, scale)
        if len(point) == layer:
            rounds._tables = rounds._tables.copy()
            rounds._tables[0, 0, 0] ^= np.uint64(1)  # one numerator among the children
        return rounds

    monkeypatch.setattr(Tree, "rounds", lying)
    with pytest.raises(UnsatisfiedWitnessError, match="lookup layer"):
        roles.prove(closed(4, leaves), leaves)
    _, body = roles.prove(closed(4, leaves), leaves, check=False)
    with pytest.raises(VerificationError):
        roles.verify(closed(4, leaves), body)


def test_zero_challenges_are_refused(roles):
    leaves = zero_sum(3)
    protocol = closed(3, leaves)
    _, body = roles.prove(protocol, leaves)

    def with_zero(hidden, _):
        draw = hidden.challenge
        hidden.challenge = lambda label: ZERO if label == "lookup merge" else draw(label)
        return protocol(hidden, None)

    with pytest.raises(VerificationError, match="a challenge is 0"):
        roles.verify(with_zero, body)


def test_errors_are_accounted_for(roles):
    """The sum's degree in alpha; degree 2 in each of 0 + 1 + ... rounds; lambda and merge of each layer."""
    leaves = zero_sum(4)
    roles.accepts(closed(4, leaves), leaves)
    errors = {name: n for name, n in roles.verifier.errors.items() if name.startswith("lookup")}
    assert errors == {"lookup: cleared numerator": 15, "lookup: rounds": 2 * 6, "lookup: combinations and merges": 8}
