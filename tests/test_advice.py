"""What is committed of ranges, functions, maxima, quotients and roots: by its lookups the one right value, among all elements of F.

Every relation is checked by itself, modulo p and written out: the forms of an operation's lookups, and rows of tables as a set. Domains
are small and whole; candidates are all integers that could matter, and what else F has to offer: negative numbers, halves, thirds,
quotients and square roots modulo p. Beyond the bounds of ``Circuit.bounds`` there are forgeries, which are shown.
"""

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
from nodes import node

import zkjax
from zkjax.algebra import functions
from zkjax.algebra.field import P
from zkjax.algebra.functions import joined, number
from zkjax.circuit.circuit import Circuit
from zkjax.circuit.parts import Input, Loss, Parameter
from zkjax.ops import division, root
from zkjax.ops.functions import TableFunction
from zkjax.ops.root import Root

X = functions.IDENTITY
HALF, THIRD = pow(2, -1, P), pow(3, -1, P)
STRANGE = (HALF, HALF + 1, HALF - 1, HALF - 2, THIRD, 2 * THIRD % P, 2**32, P - 2**32, 2**63)  # no small number


def residues(*candidates) -> np.ndarray:
    """Each element of F once."""
    return np.array(sorted({int(v) % P for v in candidates}), dtype=object)


def small(v: int) -> int:
    """The integer of a residue that is nearest to 0."""
    return (int(v) + P // 2) % P - P // 2


# ---- circuits and relations --------------------------------------------------------------------------------------
def circuit_of(nodes, *shapes, bits=5, table_bits=9) -> Circuit:
    """Inputs of these shapes, then nodes; the loss is the sum of the last one."""
    leaves = [node("input", (), shape, {"index": k}) for k, shape in enumerate(shapes)]
    whole = [*leaves, *nodes]
    axes = tuple(range(len(whole[-1].shape)))
    total = node("sum", (len(whole) - 1,), (), {"axes": axes})
    inputs = tuple(Input(f"x{k}", shape, 0, bits) for k, shape in enumerate(shapes))
    return Circuit((*whole, total), inputs, (Parameter("w", (1,), ()),), (Loss(len(whole), Fraction(1)),), table_bits).check()


def product(i: int, j: int, shape):
    axes = tuple(range(len(shape)))
    return node("dot", (i, j), shape, {"contract": ((), ()), "batch": (axes, axes)})


def column(part, tensors):
    """A part of a form, of many candidates at once: their axis is the first."""
    found = part.coefficient * tensors[part.key]
    if part.along == "repeated":
        return found[..., None]
    if part.along == "later":
        return found[..., ::-1].cumsum(axis=-1)[..., ::-1] - found
    return found.sum(axis=-1) if part.along == "summed" else found


def passing(circuit, i: int, tensors: dict) -> np.ndarray:
    """Which candidates all lookups of a node admit: (candidates,). tensors: by key, integers (candidates, ...), taken modulo p."""
    tensors = {key: np.array(values, dtype=object) for key, values in tensors.items()}
    admitted = None
    for lookup in circuit.lookups[i]:
        rows = set(zip(*(entries.reshape(-1).tolist() for entries in lookup.table.columns())))
        columns = []
        for constant, parts in lookup.columns:
            if parts[0].along == "columns":
                columns += [tensors[parts[0].key][..., k] for k in range(parts[0].size)]
            else:
                columns.append(sum((column(part, tensors) for part in parts), start=constant))
        columns = [c % P for c in np.broadcast_arrays(*columns)]
        inside = np.array([row in rows for row in zip(*(c.reshape(-1).tolist() for c in columns))]).reshape(columns[0].shape)
        inside = inside.reshape(len(inside), -1).all(axis=1)
        admitted = inside if admitted is None else admitted & inside
    return admitted


def spread(*domains):
    """All combinations, one array for each domain."""
    return [np.array(x, dtype=object) for x in zip(*itertools.product(*domains))]


# ---- ranges ------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("low, width", [(0, 3), (-4, 3), (-7, 4), (5, 1)])
def test_a_range_is_a_range(low, width):
    circuit = circuit_of([node("range", (0,), (1,), {"low": low, "width": width})], (1,))
    x = residues(*range(-40, 41), *STRANGE)
    found = passing(circuit, 1, {("node", 0): x[:, None]})
    assert sorted(small(v) for v in x[found]) == list(range(low, low + 2**width))


def test_a_range_of_what_could_wrap_is_refused():
    """Where |x| may reach p, p is 0; such a node has no bound below 2^63."""
    wide = node("linear", (0,), (1,), {"coefficients": (2**58,)})
    circuit = circuit_of([wide, node("range", (1,), (1,), {"low": 0, "width": 3})], (1,))
    assert passing(circuit, 2, {("node", 1): [[0], [P], [P + 7], [P + 8], [-1]]}).tolist() == [True, True, True, False, False]
    with pytest.raises(zkjax.PrecisionError, match="linear"):
        circuit.bounds((0,), 1)


# ---- functions ---------------------------------------------------------------------------------------------------
PROGRAMS = {
    "square": joined("mul", X, X),
    "exp": joined("exp", X),
    "negative": joined("neg", joined("abs", X)),
    "log": joined("log", X),  # no value at 0 and below
    "inverse": joined("div", number(Fraction(8)), X),  # none in the middle
}


(POINT,) = {*TableFunction.names()} - {"program", "unit", "low", "width"}  # bits after the point


def riding(op: str, program, low: int, width: int, **more):
    shape = (1, more["size"]) if "size" in more else (1,)
    return node(op, (1,), shape, {"program": program, "unit": (1, 1), "low": low, "width": width} | more)


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_function_has_one_value(name):
    """Not another row's, not one beyond the table, none at all where there is none."""
    low, width, scale = -3, 3, 2
    function = riding("function", PROGRAMS[name], low, width, **{POINT: scale})
    circuit = circuit_of([node("range", (0,), (1,), {"low": low, "width": width}), function], (1,))
    entries = [functions._entry(PROGRAMS[name], Fraction(v), scale) for v in range(low, low + 2**width)]
    right = {low + k: e for k, e in enumerate(entries) if e != functions.LARGEST}
    least = min(0, *right.values())
    candidates = residues(*range(-3, 12), *(e - least + by for e in right.values() for by in (-1, 0, 1)), *STRANGE)
    x, y = spread(residues(*range(-9, 12), *STRANGE), candidates)
    found = passing(circuit, 1, {("node", 0): x[:, None], ("function", 2): y[:, None]})
    assert sorted((small(a), b + least) for a, b in zip(x[found], y[found])) == sorted(right.items())
    assert circuit.bounds((0,), 1).nodes[2] == max(map(abs, right.values()))


@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_a_one_hot_is_one(size):
    """A 1 at its place, or none where the number is no place; no halves, no two ones, no sum that is 1 in another way."""
    low, width = -2, 3
    hot = riding("onehot", X, low, width, size=size)
    circuit = circuit_of([node("range", (0,), (1,), {"low": low, "width": width}), hot], (1,))
    entries = (0, 1, 2, P - 1, HALF, THIRD) if size < 4 else (0, 1, P - 1, HALF)
    x, *hot = spread(range(-3, 7), *[entries] * size)
    found = passing(circuit, 1, {("node", 0): x[:, None], ("onehot", 2): np.stack(hot, axis=-1)[:, None]})
    passed = [(row[0], row[1:]) for row, passes in zip(zip(x, *hot), found) if passes]
    assert passed == [(v, tuple(int(v == k) for k in range(size))) for v in range(low, low + 2**width)]


def test_all_that_rides_on_one_range_is_of_one_row():
    """A value, a sign and a one-hot of different numbers are no row, though each is some row's."""
    low, width = -2, 2
    nodes = [
        node("range", (0,), (1,), {"low": low, "width": width}),
        riding("function", PROGRAMS["square"], low, width, **{POINT: 0}),
        node("sign", (1,), (1,)),
        riding("onehot", X, low, width, size=2),
    ]
    circuit = circuit_of(nodes, (1,))
    ((lookup,),) = [circuit.lookups[1]]
    assert lookup.table.kind == "function" and lookup.table.width_of_rows == 5
    x, square, sign, first, second = spread(range(-4, 5), range(6), (0, 1, HALF, 2), (0, 1, HALF), (0, 1, P - 1))
    tensors = {("node", 0): x[:, None], ("function", 2): square[:, None], ("sign", 3): sign[:, None]}
    found = passing(circuit, 1, tensors | {("onehot", 4): np.stack([first, second], axis=-1)[:, None]})
    passed = [row for row, passes in zip(zip(x, square, sign, first, second), found) if passes]
    assert passed == [(v, v * v, int(v > 0), int(v == 0), int(v == 1)) for v in range(-2, 2)]


@pytest.mark.parametrize("low", [-4, -3, 0, 1, -8])
def test_a_sign_on_a_range_that_is_not_centred(low):
    """The table of a sign is one of numbers around 0; elsewhere a sign is a function."""
    circuit = circuit_of([node("range", (0,), (1,), {"low": low, "width": 3}), node("sign", (1,), (1,))], (1,))
    assert circuit.lookups[1][0].table.kind == ("sign" if low == -4 else "function")
    x, sign = spread(range(-12, 13), (0, 1, 2, P - 1, HALF))
    found = passing(circuit, 1, {("node", 0): x[:, None], ("sign", 2): sign[:, None]})
    assert [(a, b) for a, b, passes in zip(x, sign, found) if passes] == [(v, int(v > 0)) for v in range(low, low + 8)]


# ---- maxima ------------------------------------------------------------------------------------------------------
def maximum(length: int, low: int, width: int):
    site = node("range", (0,), (1, length), {"low": low, "width": width})
    largest = node("largest", (1,), (1,), {"low": low, "width": width})
    return circuit_of([site, largest, node("first", (2, 1), (1, length))], (1, length))


@pytest.mark.parametrize("length, low, width", [(1, -2, 2), (2, -2, 2), (2, 0, 3), (3, -2, 2), (3, 0, 1)])
def test_a_maximum_is_the_largest_and_its_place_the_first(length, low, width):
    """Of all tensors that could be the maximum and its place one passes, whatever the entries; ties go to the first."""
    circuit = maximum(length, low, width)
    values, reach = range(low, low + 2**width), 2**width
    marks = (0, 1, 2, P - 1, HALF, THIRD)
    candidates = (*range(-reach, 2 * reach + length), HALF, THIRD) if length < 3 else (*range(-1, reach + 2), HALF)
    grid = spread(*[values] * length, candidates, *[marks] * length)
    x, m, o = np.stack(grid[:length], axis=-1), grid[length], np.stack(grid[length + 1 :], axis=-1)
    found = passing(circuit, 2, {("node", 1): x[:, None], ("largest", 2): m[:, None], ("first", 2): o[:, None]})
    passed = {}
    for row, top, marked in zip(x[found], m[found], o[found]):
        assert tuple(row) not in passed
        passed[tuple(row)] = top + low, tuple(marked)
    for row in itertools.product(values, repeat=length):
        honest = max(row), tuple(int(k == row.index(max(row))) for k in range(length))
        if max(row) - min(row) <= reach - 2:
            assert passed.pop(row) == honest
        elif row in passed:  # the last row of the table is another one, unless the maximum comes later
            assert passed.pop(row) == honest and row.index(min(row)) < row.index(max(row))
    assert not passed


def test_without_a_place_there_is_no_maximum():
    """What each half of the relation is there for."""
    circuit = maximum(2, 0, 3)
    below, places = circuit.lookups[2]

    def passes(which, m, o):
        tensors = {("node", 1): [[[2, 5]]], ("largest", 2): [[m]], ("first", 2): [[list(o)]]}
        patched = circuit_with_lookups(circuit, 2, which)
        return bool(passing(patched, 2, tensors)[0])

    assert passes([below, places], 5, (0, 1))
    assert passes([below], 7, (0, 0)) and not passes([below, places], 7, (0, 0))  # any upper bound, without a place
    assert passes([places], 0, (1, 0)) and not passes([below, places], 2, (1, 0))  # any place, of no maximum
    assert passes([places], 5, (2, P - 1)) and not passes([below, places], 5, (2, P - 1))


def circuit_with_lookups(circuit, i, lookups):
    class Less:
        pass

    less = Less()
    less.lookups = {i: lookups}
    return less


# ---- quotients ---------------------------------------------------------------------------------------------------
def quotient(bits: int, divisor: int, table_bits: int = 9):
    nodes = [node("divide", (0, 1), (1,), {"bits": bits, "divisor": divisor}), product(1, 2, (1,))]
    return circuit_of(nodes, (1,), (1,), bits=min(5, table_bits - 1), table_bits=table_bits)


def divided(circuit, x, d, q, **limbs):
    """Which of these pass; q: the quotients, not what is committed."""
    bits = circuit.nodes[2].operation.bits
    tensors = {("node", 0): x, ("node", 1): d, ("quotient", 2): q + (1 << bits), ("node", 3): d * q}
    tensors |= {(name, 2, 1): values for name, values in limbs.items()}
    return passing(circuit, 2, {key: values[:, None] for key, values in tensors.items()})


@pytest.mark.parametrize("bits, divisor", [(5, 4), (5, 3), (2, 4), (0, 4)])
def test_a_quotient_is_the_nearest_integer(bits, divisor):
    """All quotients of small numbers, and quotients modulo p; a divisor that is not positive has none."""
    circuit = quotient(bits, divisor)
    passed = set()
    for x in range(-21, 22):
        for d in range(-3, 9):
            modulo = [] if d == 0 else [(y * pow(d, -1, P) + by) % P for y in (x, 2 * x + d, -x) for by in (-1, 0, 1)]
            candidates = residues(*range(-70, 70), *STRANGE, *modulo)
            found = divided(circuit, np.full(len(candidates), x, dtype=object), np.full(len(candidates), d, dtype=object), candidates)
            assert found.sum() <= 1
            passed |= {(x, d, small(q)) for q in candidates[found]}
    right = {(x, d, math.floor(Fraction(x, d) + Fraction(1, 2))) for x in range(-21, 22) for d in range(1, 9)}
    inside = {(x, d, q) for x, d, q in right if -(2**bits) <= q < 2**bits}
    assert passed <= inside  # larger divisors than training takes may pass, with the right quotient
    assert {found for found in inside if 2 * found[1] <= 2**divisor} <= passed


def test_limbs_of_a_quotients_forms_are_what_they_have_to_be():
    """Forms of four bits in tables of two: for each right quotient one way to cut them, for others none."""
    circuit = quotient(1, 4, table_bits=2)
    assert len(circuit.lookups[2]) == 5
    outside = (4, P - 1, HALF)
    x, d, q, r, e = spread(range(-5, 6), range(-1, 6), (*range(-3, 4), HALF), (*range(4), *outside), (*range(4), *outside))
    found = divided(circuit, x, d, q, remainder=r, excess=e)
    passed = list(zip(x[found], d[found], q[found]))
    right = {(x, d, math.floor(Fraction(x, d) + Fraction(1, 2))) for x in range(-5, 6) for d in range(1, 6)}
    assert len(passed) == len(set(passed)) and set(passed) == {(x, d, q) for x, d, q in right if -2 <= q < 2}


def test_what_each_form_of_a_quotient_is_there_for():
    circuit = quotient(3, 3)
    own, remainder, excess = circuit.lookups[2]
    x, d, q = spread((5,), (-2, 0, 2), range(-8, 8))
    tensors = {("node", 0): x, ("node", 1): d, ("quotient", 2): q + 8, ("node", 3): d * q}
    tensors = {key: values[:, None] for key, values in tensors.items()}

    def passed(*lookups):
        found = passing(circuit_with_lookups(circuit, 2, list(lookups)), 2, tensors)
        return set(zip(d[found], q[found]))

    assert passed(own, remainder, excess) == {(2, 3)}
    assert passed(own, remainder) >= {(2, 2), (2, 3)} and passed(own, excess) >= {(2, 3), (2, 4)}
    assert any(divisor < 0 for divisor, _ in passed(own, remainder))


def test_a_quotient_modulo_p_beyond_the_bound():
    """With divisors of 2^57, a quotient of eight bits reaches around p: 0 / 2^57 is 64. Such a circuit is refused."""
    d = 2**57
    q = (d + P) // (2 * d)
    assert q == 64

    def wide(bits, divisor, coefficient):
        nodes = [
            node("linear", (1,), (1,), {"coefficients": (coefficient,)}),
            node("divide", (0, 2), (1,), {"bits": bits, "divisor": divisor}),
            product(2, 3, (1,)),
        ]
        return circuit_of(nodes, (1,), (1,), bits=1, table_bits=9)

    circuit = wide(7, 58, 2**56)
    for forged, possible in ((0, True), (q, True), (q + 1, False), (1, False)):
        forms = circuit.nodes[3].operation.forms(3, circuit.nodes[3])
        numbers = {("node", 0): 0, ("node", 2): d, ("node", 4): d * forged}
        inside = [(constant + sum(c * numbers[key] for c, key in parts)) % P < 2**width for _, constant, parts, width in forms]
        assert all(inside) == possible, forged
    with pytest.raises(zkjax.PrecisionError, match=r"beyond 2\^63"):
        circuit.bounds((0,), 1)
    assert wide(7, 54, 2**52).bounds((0,), 1)  # divisors of 2^53: 2^62 and a little
    with pytest.raises(zkjax.PrecisionError, match="divide"):
        wide(7, 55, 2**54 - 1).bounds((0,), 1)


def test_the_width_of_a_divisor():
    for bound in range(1, 70):
        width = division.width(bound)
        assert 2 * bound <= 2**width and (bound == 1 or 2 * bound > 2 ** (width - 1) - 1)


# ---- roots -------------------------------------------------------------------------------------------------------
def root_of(size: int, table_bits: int = 9, before=()):
    k = len(before)
    nodes = [*before, node("root", (k,), (1,), {"size": size}), product(k + 1, k + 1, (1,))]
    return circuit_of(nodes, (1,), bits=min(5, table_bits - 1), table_bits=table_bits)


def square_roots(n: int) -> list[int]:
    """Modulo p (Tonelli and Shanks); p - 1 is 2^32 times an odd number."""
    n %= P
    if n == 0 or pow(n, (P - 1) // 2, P) != 1:
        return [0] if n == 0 else []
    odd, length = (P - 1) >> 32, 32
    c, t, found = pow(7, odd, P), pow(n, odd, P), pow(n, (odd + 1) // 2, P)
    while t != 1:
        k, power = 0, t
        while power != 1:
            k, power = k + 1, power * power % P
        step = pow(c, 1 << (length - k - 1), P)
        length, c = k, step * step % P
        t, found = t * c % P, found * step % P
    assert found * found % P == n
    return [found, P - found]


@pytest.mark.parametrize("size", [2, 3, 4, 5])
def test_a_root_is_rounded_down(size):
    """Among all small roots, negative ones, halves of odd numbers and square roots modulo p; a number below 0 has none."""
    circuit = root_of(size)
    halves = [n * HALF % P for n in range(-5, 70, 2)]
    passed = {}
    for x in range(-40, 1101 if size == 5 else 300):
        modulo = [(s + by) % P for y in (x - 1, x, x + 1) for s in square_roots(y) for by in (-1, 0, 1)]
        s = residues(*range(-3, 40), *halves, *modulo, *STRANGE)
        tensors = {("node", 0): np.full(len(s), x, dtype=object), ("root", 1): s, ("node", 2): s * s}
        found = passing(circuit, 1, {key: values[:, None] for key, values in tensors.items()})
        if found.any():
            assert found.sum() == 1
            passed[x] = s[found][0]
    assert all(x >= 0 and s == math.isqrt(x) for x, s in passed.items())
    assert set(range(4 ** (size - 1))) <= set(passed)  # what training accepts
    most = circuit.nodes[0].operation.bound([], [], circuit.leaves())
    assert max(s for x, s in passed.items() if x <= most) <= circuit.bounds((0,), 1).nodes[1]  # and all that passes is bounded
    assert max(passed.values()) == 2**size - 1 and max(passed) == (2**size - 1) * 2**size


def test_limbs_of_a_roots_forms_are_what_they_have_to_be():
    circuit = root_of(4, table_bits=2)
    outside = (4, P - 1, HALF)
    roots = (*range(-1, 5), *(n * HALF % P for n in (1, 3, 5)))
    x, s, r, e = spread(range(-3, 20), roots, (*range(4), *outside), (*range(4), *outside))
    tensors = {("node", 0): x, ("root", 1): s, ("node", 2): s * s, ("remainder", 1, 1): r, ("excess", 1, 1): e}
    lookups = circuit.lookups[1]
    assert len(lookups) == 4
    found = passing(circuit, 1, {key: values[:, None] for key, values in tensors.items()})
    assert list(zip(x[found], s[found])) == [(v, math.isqrt(v)) for v in range(20)]


def forged_root(size: int):
    """(x, s, remainder): a root that is half an odd number, n^2 + 4 remainder = 4 x + p; None where the forms are too narrow."""
    for n in range(2**32 - 1, 2**32 - 40, -2):
        short = P - n * n  # = 4 (remainder - x) where n / 2 is accepted
        if short % 4 == 0 and n < 2 ** (size + 1):
            x, remainder = 0, short // 4
            if 0 <= remainder < 2**size and 0 <= n - remainder < 2**size:
                return x, n * HALF % P, remainder
    return None


def test_a_root_that_is_no_integer_beyond_the_bound(monkeypatch):
    """0 has a root of 2^31 - 1/2 where forms have 32 bits or more: no circuit may have them."""
    assert forged_root(root.MAX_ROOT) is None and forged_root(31) is None
    for size in (32, 34, 40):
        x, s, remainder = forged_root(size)
        forms = Root(size).forms(1, node("root", (0,), (1,), {"size": size}))
        numbers = {("node", 0): x, ("root", 1): s, ("node", 2): s * s}
        values = [(constant + sum(c * numbers[key] for c, key in parts)) % P for _, constant, parts, _ in forms]
        assert x == 0 and s != 0 and values[0] == remainder and all(v < 2**width for v, (*_, width) in zip(values, forms))
        with pytest.raises(zkjax.FormatError, match="size"):
            root_of(size)
        with monkeypatch.context() as patched:  # and if it were only for the bounds
            patched.setattr(root, "MAX_ROOT", 62)
            with pytest.raises(zkjax.PrecisionError, match=r"root .* beyond 2\^63"):
                root_of(size).bounds((0,), 1)
    assert root_of(root.MAX_ROOT).bounds((0,), 1)


def test_a_root_of_a_number_that_is_too_large():
    """With forms of 30 bits, a root of half an odd number exists of numbers around -2^62: bounds keep them away."""
    size = root.MAX_ROOT
    n = 2 ** (size + 1) - 3
    remainder = 2**size - 1
    x = (n * n - P) // 4 + remainder  # 4 x = n^2 + 4 remainder - p
    assert 4 * x == n * n + 4 * remainder - P and -(2**62) < x < -(2**61)
    numbers = {("node", 0): x, ("root", 1): n * HALF % P, ("node", 2): pow(n * HALF, 2, P)}
    forms = Root(size).forms(1, node("root", (0,), (1,), {"size": size}))
    assert all((constant + sum(c * numbers[key] for c, key in parts)) % P < 2**width for _, constant, parts, width in forms)
    for coefficient, fits in ((2**54, True), (2**55, False), (2**57, False)):  # of a number of five bits
        circuit = root_of(size, before=[node("linear", (0,), (1,), {"coefficients": (coefficient,)})])
        if fits:
            assert circuit.bounds((0,), 1).nodes[1] == coefficient * 32
        else:
            with pytest.raises(zkjax.PrecisionError, match="root"):
                circuit.bounds((0,), 1)


def test_the_size_of_a_root():
    for bound in [*range(200), 2**40 - 1, 2**40, 2**40 + 1]:
        size = root.size(bound)
        assert math.isqrt(bound) < 2 ** (size - 1) and (size == 2 or math.isqrt(bound) >= 2 ** (size - 2))


def test_training_takes_what_passes():
    """The integers of training pass their lookups, and it refuses what has none."""
    divide, found = quotient(5, 4), np.array([*itertools.product(range(-40, 41), range(-2, 12))])
    x, d = found.T
    q = divide.nodes[2].operation.evaluate([x, d], divide.nodes[2], [x.shape, d.shape], ())
    low, high = divide.nodes[2].operation.limits()
    fits = (q >= low) & (q < high)
    assert not fits[(d < 1) | (d > 8)].any() and divided(divide, *(v[fits].astype(object) for v in (x, d, q))).all()
    roots, numbers = root_of(5), np.arange(-10, 400)
    s = roots.nodes[1].operation.evaluate([numbers], roots.nodes[1], [numbers.shape], ())
    fits = (s >= 0) & (s < 16)
    assert fits.tolist() == [0 <= n < 256 for n in numbers]
    tensors = {("node", 0): numbers[fits], ("root", 1): s[fits], ("node", 2): s[fits] ** 2}
    assert passing(roots, 1, {key: values[:, None] for key, values in tensors.items()}).all()
    large = np.array([n * n + by for n in range(2**29 - 40, 2**29) for by in (-1, 0, 1, 2 * n)])  # where floating point rounds
    one = Root(30).evaluate([large], None, [], ())
    assert one.tolist() == [math.isqrt(n) for n in large.tolist()]
