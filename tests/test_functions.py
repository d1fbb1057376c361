"""Functions of one number as programs, and their tables: against other arithmetic, at ties, where there is no value, and hostile ones."""

import itertools
import math
from decimal import Context, Decimal, getcontext, localcontext
from fractions import Fraction

import numpy as np
import pytest
from field_values import EDGES
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special as special_functions

import zkjax
from zkjax.algebra import decimals, field, functions
from zkjax.algebra.extension import ZERO, Ext
from zkjax.algebra.functions import FUNCTIONS, LARGEST, entries, interval, joined, number, value
from zkjax.algebra.vectors import Vector, Vectors, only_length
from zkjax.errors import FormatError
from zkjax.ops import tables
from zkjax.ops.tables import Column, Table
from zkjax.tracing import special
from zkjax.work import Meter

X = functions.IDENTITY
HALF, ONE, ZERO_ = number(Fraction(1, 2)), number(Fraction(1)), number(Fraction(0))
NAN = joined("div", ZERO_, ZERO_)


def of(name: str):
    return joined(name, X)


# ---- another arithmetic ------------------------------------------------------------------------------------------
DIGITS = 70
PI = Decimal("3.1415926535897932384626433832795028841971693993751058209749445923078164062862089986280348253421170679821480865132823066")


def summed(x: Decimal, first: Decimal, ratio):
    """first + first * ratio(1) + first * ratio(1) ratio(2) + .."""
    total = term = first
    for k in itertools.count(1):
        term = term * ratio(k)
        total += term
        if abs(term) < Decimal(10) ** -(DIGITS - 10):
            return total


def sine(x: Decimal) -> Decimal:
    return summed(x, x, lambda k: -x * x / (2 * k * (2 * k + 1)))


def cosine(x: Decimal) -> Decimal:
    return summed(x, Decimal(1), lambda k: -x * x / ((2 * k - 1) * (2 * k)))


def error_function(x: Decimal) -> Decimal:
    """The series without alternating signs, of another form than the package's."""
    series = summed(x, x, lambda k: 2 * x * x / (2 * k + 1))
    return 2 * series * (-x * x).exp() / PI.sqrt()


def power(x: Decimal) -> Decimal:
    """e^x by Taylor's series alone, of a number that is halved first."""
    small = x / 1024
    return summed(small, Decimal(1), lambda k: small / k) ** 1024


def root(x: Decimal, n: int) -> Decimal:
    """Newton's method."""
    if not x:
        return x
    y = Decimal(float(abs(x)) ** (1 / n))
    for _ in range(8):
        y -= (y**n - abs(x)) / (n * y ** (n - 1))
    return y.copy_sign(x)


ORACLES = {
    "exp": power,
    "expm1": lambda x: power(x) - 1,
    "log": lambda x: x.ln() if x > 0 else None,
    "log1p": lambda x: (1 + x).ln() if x > -1 else None,
    "sqrt": lambda x: root(x, 2) if x >= 0 else None,
    "cbrt": lambda x: root(x, 3),
    "logistic": lambda x: 1 / (1 + power(-x)),
    "tanh": lambda x: (power(x) - power(-x)) / (power(x) + power(-x)),
    "erf": error_function,
    "sin": sine,
    "cos": cosine,
    "abs": abs,
    "neg": lambda x: -x,
    "sign": lambda x: Decimal((x > 0) - (x < 0)),
    "floor": lambda x: Decimal(math.floor(x)),
    "ceil": lambda x: Decimal(math.ceil(x)),
    "round": lambda x: Decimal(round(x)),
}


def nearest(x: Decimal | None, scale: int) -> int:
    """Halves upwards, in fractions; what there is where there is no entry."""
    found = LARGEST if x is None else math.floor(Fraction(x) * Fraction(2) ** scale + Fraction(1, 2))
    return found if abs(found) < LARGEST else LARGEST


def oracle(function, low: int, count: int, unit: Fraction, scale: int) -> list[int]:
    with localcontext(Context(prec=DIGITS)):
        numbers = (unit * v for v in range(low, low + count))
        return [nearest(function(Decimal(x.numerator) / Decimal(x.denominator)), scale) for x in numbers]


@pytest.mark.parametrize("name", ORACLES)
@pytest.mark.parametrize("unit, scale", [(Fraction(1, 256), 12), (Fraction(1, 100), 21)])
def test_entries_are_what_another_arithmetic_says(name, unit, scale):
    """A table around 0; the second one has units that are no floating-point numbers, and entries that leave the range."""
    count = 4096 if scale == 12 and name in ("exp", "log", "tanh", "logistic", "sqrt", "erf", "sin") else 512
    expected = oracle(ORACLES[name], -count // 2, count, unit, scale)
    assert entries(of(name), -count // 2, count, unit, scale).tolist() == expected


def test_a_composed_activation():
    """gelu, as it is traced: all of a table, and the halves that rounding must not miss."""
    gelu = joined("mul", joined("mul", X, HALF), joined("add", ONE, functions.after(of("erf"), joined("div", X, number(Fraction(3, 2))))))
    expected = oracle(lambda x: x / 2 * (1 + error_function(x / Decimal("1.5"))), -2048, 4096, Fraction(1, 256), 10)
    assert entries(gelu, -2048, 4096, Fraction(1, 256), 10).tolist() == expected
    plain = joined("mul", joined("mul", X, HALF), joined("add", ONE, of("erf")))
    below = range(3, 19, 2)  # 7.5 (1 + erf(7.5)) / 2 is below 7.5, if only by 10^-25
    assert oracle(lambda x: x / 2 * (1 + error_function(x)), 3, 15, Fraction(1, 2), 0)[::2] == [n // 2 for n in below]
    assert entries(plain, 3, 15, Fraction(1, 2), 0)[::2].tolist() == [n // 2 for n in below]


@pytest.mark.parametrize("name", ["exp", "log", "tanh", "logistic", "erf", "sin", "cos", "cbrt", "log1p", "expm1"])
def test_decimals_have_thirty_digits(name):
    """Everywhere in the range where a value matters: series that cancel are no exception."""
    for x in (Fraction(k, 7) for k in range(1, 64)):
        with localcontext(Context(prec=DIGITS)):
            expected = ORACLES[name](Decimal(x.numerator) / Decimal(x.denominator))
            assert abs(value(of(name), x) - expected) <= Decimal("1e-30") * max(1, abs(expected)), x


def test_whatever_arithmetic_a_caller_has_set():
    """The context of a thread is anybody's to change."""
    program, expected = joined("div", of("sin"), of("exp")), value(joined("div", of("sin"), of("exp")), Fraction(5, 3))
    before = getcontext().copy()
    with localcontext(Context(prec=3, rounding="ROUND_UP", Emax=5, Emin=-5)):
        assert value(program, Fraction(5, 3)) == expected
        assert functions._entry(program, Fraction(5, 3), 20) == nearest(expected, 20)
    assert getcontext().prec == before.prec and len(expected.as_tuple().digits) == 36


# ---- ties, and no value ------------------------------------------------------------------------------------------
def test_halves_are_rounded_upwards():
    assert entries(X, -5, 11, Fraction(1), -1).tolist() == [-2, -2, -1, -1, 0, 0, 1, 1, 2, 2, 3]
    assert entries(X, -3, 7, Fraction(1, 2), 0).tolist() == [-1, -1, 0, 0, 1, 1, 2]
    assert entries(joined("mul", X, HALF), -3, 7, Fraction(1), 0).tolist() == [-1, -1, 0, 0, 1, 1, 2]  # a half that is computed
    squares = [(2 * k + 1) ** 2 for k in range(20)]  # the roots of a quarter of them are halves
    found = entries(of("sqrt"), 0, squares[-1] + 1, Fraction(1, 4), 0)
    assert found[squares].tolist() == [k + 1 for k in range(20)]
    assert entries(of("round"), -5, 11, Fraction(1, 2), 0).tolist() == [-2, -2, -2, -1, 0, 0, 0, 1, 2, 2, 2]  # halves to even: itself whole


@pytest.mark.parametrize("scale", [-2, 0, 3])
@pytest.mark.parametrize(
    "program, without",
    [
        (of("log"), range(-4, 1)),
        (of("log1p"), range(-4, 0)),
        (of("sqrt"), range(-4, 0)),
        (joined("div", ONE, X), [0]),
        (joined("div", X, X), [0]),
        (joined("sub", joined("div", ONE, X), joined("div", ONE, X)), [0]),  # infinite less infinite
        (functions.after(of("cos"), joined("div", ONE, X)), [0]),
        (functions.after(of("tanh"), joined("div", X, X)), [0]),  # a function of bounded values is none of no value
        (functions.after(of("logistic"), NAN), range(-4, 5)),
        (joined("max", joined("min", NAN, ONE), number(Fraction(-1))), range(-4, 5)),
        (functions.after(of("erf"), joined("sub", joined("div", ONE, X), joined("div", ONE, X))), [0]),
        (joined("mul", ZERO_, of("log")), range(-4, 1)),
        (joined("select", joined("gt", X, ZERO_), of("log"), of("log")), range(-4, 1)),
        (joined("select", joined("gt", X, ZERO_), X, of("log")), []),  # what is not chosen need not have a value
        (functions.after(of("exp"), of("log")), range(-4, 0)),  # e^(-infinity) is 0
        (joined("gt", of("log"), number(Fraction(-9))), []),  # a comparison with no value is false
    ],
)
def test_where_there_is_no_value_is_no_entry(program, without, scale):
    found = entries(program, -4, 9, Fraction(1), scale)
    assert (np.flatnonzero(found == LARGEST) - 4).tolist() == list(without)
    assert found.tolist() == [functions._entry(program, Fraction(x), scale) for x in range(-4, 5)]


def test_comparisons_with_no_value():
    """Each is false but "not equal", whichever side has no value; where only one bound is none, nothing is certain."""
    for name, expected in {"gt": 0, "ge": 0, "lt": 0, "le": 0, "eq": 0, "ne": 1}.items():
        for program in (joined(name, NAN, X), joined(name, X, NAN), joined(name, NAN, NAN)):
            assert entries(program, -2, 5, Fraction(1), 0).tolist() == [expected] * 5
    third = number(Fraction(1, 3))
    zero = joined("sub", joined("mul", third, number(Fraction(3))), ONE)  # with 36 digits a little less than 0
    for name in ("lt", "le", "gt", "ge", "ne", "eq"):
        program = joined(name, functions.after(of("log"), zero), number(Fraction(6)))
        assert entries(program, 0, 2, Fraction(1), 0).tolist() == [functions._entry(program, Fraction(0), 0)] * 2 == [int(name == "ne")] * 2


def test_entries_stay_below_the_largest():
    for scale in (0, 5, 30):
        ends = entries(X, LARGEST - 3, 5, Fraction(1, 2**scale), scale)
        assert ends.tolist() == [LARGEST - 3, LARGEST - 2, LARGEST - 1, LARGEST, LARGEST]
        assert entries(X, -LARGEST - 1, 4, Fraction(1, 2**scale), scale).tolist() == [LARGEST, LARGEST, 1 - LARGEST, 2 - LARGEST]
    assert entries(X, 2 * LARGEST - 2, 3, Fraction(1, 2), 0).tolist() == [LARGEST - 1, LARGEST, LARGEST]  # the half is rounded out
    assert entries(of("exp"), 20, 2, Fraction(1), 0).tolist() == [485165195, LARGEST]
    assert entries(of("exp"), 700, 20, Fraction(1), 0).tolist() == [LARGEST] * 20  # from 710 on beyond floating-point numbers
    result, open_ones = functions.settled(joined("mul", X, of("exp")), 30, 100, Fraction(1), 0)  # which take no decimals
    assert (result == LARGEST).all() and not len(open_ones)
    deep = functions.after(of("log"), functions.after(of("exp"), X))  # and back
    assert entries(deep, 700, 20, Fraction(1), 0).tolist() == list(range(700, 720))


# ---- both ways to an entry ---------------------------------------------------------------------------------------
@st.composite
def programs(draw, most=9):
    found: list[tuple] = [("x",)]
    for _ in range(draw(st.integers(0, most))):
        if draw(st.integers(0, 3)) == 0:
            n, d = draw(st.integers(-40, 40)), draw(st.sampled_from([1, 1, 2, 3, 10, 10**12]))
            found.append(("number", n // math.gcd(n, d), d // math.gcd(n, d)))
            continue
        name = draw(st.sampled_from(sorted(FUNCTIONS)))
        latest = st.integers(max(0, len(found) - 3), len(found) - 1)
        found.append(
            (name, *(draw(latest if draw(st.booleans()) else st.integers(0, len(found) - 1)) for _ in range(FUNCTIONS[name].arity)))
        )
    program = tuple(found)
    functions.check(program)
    return program


UNITS = st.sampled_from([Fraction(1), Fraction(1, 2), Fraction(3, 4), Fraction(-1, 3), Fraction(1, 10), Fraction(7), Fraction(1, 10**6)])


@settings(max_examples=500, deadline=None)
@given(programs(), st.integers(-12, 3), UNITS, st.integers(-4, 24))
def test_floating_point_and_decimals_make_the_same_entries(program, low, unit, scale):
    found = entries(program, low, 10, unit, scale)
    assert found.tolist() == [functions._entry(program, unit * v, scale) for v in range(low, low + 10)]


@settings(max_examples=500, deadline=None)
@given(programs(), st.integers(-30, 30), UNITS)
def test_intervals_contain_the_value(program, x, unit):
    """Of the number, and of all between two bounds; a bound that is no number says nothing."""
    x *= unit
    found = value(program, x)
    for spread in (0, 1, 16):
        at, off = float(x), spread * 2.0**-44 * (abs(float(x)) + 1e-3)
        if Fraction(at) != x and not spread:
            continue
        low, high = (float(bound) for bound in interval(program, np.array(at - off), np.array(at + off)))
        if found.is_nan():
            assert math.isnan(low) or math.isnan(high)
        else:
            assert (math.isnan(low) or Decimal(low) <= found) and (math.isnan(high) or found <= Decimal(high))


@pytest.mark.parametrize("name", ["expm1", "log1p", "tanh", "erf", "sin", "cbrt"])
def test_small_numbers_that_are_made_large_again(name):
    """36 digits of 1 + x are few of x: floating point may then know more than what defines the entry, and must not say so."""
    tiny, huge = number(Fraction(1, 10**13)), number(Fraction(10**13))
    small = joined("mul", joined("mul", X, tiny), tiny)
    program = joined("mul", joined("mul", functions.after(of(name), small), huge), huge)
    found = entries(program, 1, 11, Fraction(1, 3), 28)
    assert found.tolist() == [functions._entry(program, Fraction(v, 3), 28) for v in range(1, 12)]


def test_what_is_chosen_by_other_numbers_than_0_and_1():
    """Not 0 is true, a half and a negative number as well; both ways agree."""
    program = joined("select", X, number(Fraction(5)), number(Fraction(7)))
    assert entries(program, -3, 7, Fraction(1, 2), 0).tolist() == [7, 7, 7, 5, 7, 7, 7]
    assert [functions._entry(program, Fraction(v, 2), 0) for v in range(-3, 4)] == [7, 7, 7, 5, 7, 7, 7]
    low, high = interval(of("not"), *[np.array(1e-12)] * 2)  # 1 - x is rounded, unless x is 0 or 1
    assert Decimal(float(low)) < value(of("not"), Fraction(1e-12)) < Decimal(float(high))
    assert interval(of("not"), np.array([0.0, 1.0]), np.array([0.0, 1.0]))[0].tolist() == [1, 0]


def test_most_entries_take_no_decimals():
    for program in (of("exp"), of("tanh"), of("erf"), joined("mul", X, of("logistic")), joined("max", X, ZERO_)):
        assert len(functions.settled(program, -2048, 4096, Fraction(1, 256), 12)[1]) <= 8
    chosen = joined("select", joined("not", joined("gt", ZERO_, X)), ZERO_, of("exp"))
    assert len(functions.settled(chosen, -2048, 4096, Fraction(1, 256), 12)[1]) <= 8
    halves, tenths = joined("mul", X, HALF), joined("floor", joined("mul", X, number(Fraction(1, 10))))
    moved = joined("sub", joined("max", halves, joined("add", X, HALF)), number(Fraction(1, 10**6)))
    assert len(functions.settled(halves, 0, 64, Fraction(1), 0)[1]) == 0  # every second one is a middle
    assert len(functions.settled(tenths, 0, 64, Fraction(1), 0)[1]) == 7  # a tenth is not short
    assert len(functions.settled(moved, -64, 128, Fraction(1), 0)[1]) == 0
    assert len(functions.settled(of("log"), -4096, 4096, Fraction(1, 256), 12)[1]) == 0


DYADIC = st.builds(lambda n, k: Fraction(n, 2**k), st.integers(-(2**9), 2**9) | st.integers(-(2**53), 2**53), st.integers(0, 40))


@settings(max_examples=300)
@given(DYADIC, DYADIC, st.integers(-(2**20), 2**20), st.integers(0, 32), st.integers(-8, 30))
def test_short_numbers_are_exact(factor, summand, low, shift, scale):
    """Sums and products, on both sides of what is short: where they are a middle between two integers, both ways agree."""
    program = joined("sub", joined("add", joined("mul", X, number(factor)), number(summand)), joined("mul", X, X))
    assert entries(program, low, 4, Fraction(1, 2**shift), scale).tolist() == [
        functions._entry(program, Fraction(v, 2**shift), scale) for v in range(low, low + 4)
    ]


@pytest.mark.parametrize("power", [25, 26, 27])
def test_what_is_short(power):
    """A sum or product of longer numbers may round in 53 bits: to a middle, from just below it."""
    one, far = number(Fraction(1, 2**power)), number(Fraction(2**power))
    for program in (
        joined("sub", joined("add", joined("add", far, X), one), far),
        joined("mul", joined("sub", ONE, one), joined("add", ONE, one)),
        joined("mul", joined("add", X, one), joined("sub", far, one)),
    ):
        for scale in (-1, 0, power - 1):
            expected = [functions._entry(program, Fraction(v, 2), scale) for v in range(3)]
            assert entries(program, 0, 3, Fraction(1, 2), scale).tolist() == expected
    below = joined("mul", number(2**12 + Fraction(1, 2**26)), number(2**13 - Fraction(1, 2**25)))  # 2^25 less 2^-51
    assert entries(below, 0, 1, Fraction(1), -26).tolist() == [0]


@pytest.mark.parametrize("name", functions.LEAST)
def test_what_has_no_value_below_takes_no_decimals(name):
    """And no number follows from it; a difference of equal numbers above takes some."""
    for program in (of(name), joined("neg", of(name)), functions.after(of("sqrt"), of(name)), joined("sub", of(name), of(name))):
        found = entries(program, -128, 160, Fraction(1, 32), 50)
        assert len(functions.settled(program, -128, 128 - 33, Fraction(1, 32), 50)[1]) == 0
        assert found.tolist() == [functions._entry(program, Fraction(v, 32), 50) for v in range(-128, 32)]


def test_what_is_no_number_for_certain_takes_no_decimals():
    """0 / 0, where a program writes it, and what arithmetic makes of it; a comparison with it is a number."""
    nothing = joined("div", ZERO_, ZERO_)
    inside = joined("and", joined("ge", X, ZERO_), joined("lt", X, number(Fraction(100))))
    chosen = joined("select", inside, nothing, X)
    made = joined("sub", joined("floor", joined("mul", joined("max", chosen, ONE), number(Fraction(1, 7)))), chosen)
    for program in (chosen, joined("select", joined("not", inside), X, nothing), made, joined("neg", joined("div", X, nothing))):
        found, left = functions.settled(program, -512, 1024, Fraction(1), 0)
        assert len(left) <= 16 and entries(program, -512, 1024, Fraction(1), 0).tolist() == [
            functions._entry(program, Fraction(v), 0) for v in range(-512, 512)
        ]
        assert (found == LARGEST).sum() >= 900
    numbers = joined("gt", chosen, nothing)
    assert entries(numbers, -4, 8, Fraction(1), 0).tolist() == [0] * 8


def test_floats_are_near_the_values():
    x = np.linspace(0.25, 4, 16)
    for name in ORACLES:
        expected = [float(value(of(name), Fraction(v))) for v in x]
        assert np.allclose(functions.floats(of(name), x), expected, rtol=1e-12, atol=1e-12), name


def test_programs_are_put_together():
    shared = joined("add", joined("mul", of("exp"), X), of("exp"))
    assert shared == (("x",), ("exp", 0), ("mul", 1, 0), ("add", 2, 1))
    assert joined("mul", X, X) == (("x",), ("mul", 0, 0)) and functions.after(X, shared) == shared
    for x in (Fraction(1, 3), Fraction(2)):
        composed = functions.after(joined("add", of("tanh"), X), of("exp"))
        inner = value(of("exp"), x)
        with localcontext(decimals.DIGITS):
            assert value(composed, x) == decimals.tanh(inner) + inner


# ---- hostile programs --------------------------------------------------------------------------------------------
MALFORMED = {
    "no list": [("x",), ("exp", 0)],
    "nothing": (),
    "another first one": (("exp", 0),),
    "x reads": (("x", 0),),
    "x again": (("x",), ("x",)),
    "reads forward": (("x",), ("exp", 2), ("exp", 0)),
    "reads itself": (("x",), ("exp", 1)),
    "reads before the first": (("x",), ("exp", -1)),
    "reads no place": (("x",), ("exp", 0.0)),
    "reads a truth value": (("x",), ("exp", False)),
    "too few reads": (("x",), ("add", 0)),
    "too many reads": (("x",), ("exp", 0, 0)),
    "an unknown name": (("x",), ("sinh", 0)),
    "a name that is a number": (("x",), (0, 0)),
    "no name": (("x",), ()),
    "no instruction": (("x",), "exp"),
    "divided by 0": (("x",), ("number", 1, 0)),
    "a negative denominator": (("x",), ("number", 1, -1)),
    "not reduced": (("x",), ("number", 2, 4)),
    "a zero that is not reduced": (("x",), ("number", 0, 2)),
    "half a number": (("x",), ("number", 1)),
    "too long": (("x",), *((("exp", 0),) * functions.MAX_INSTRUCTIONS)),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed_programs_are_refused(name):
    with pytest.raises(ValueError):
        functions.check(MALFORMED[name])


def test_the_longest_program_is_one():
    functions.check((("x",), *(("neg", k) for k in range(functions.MAX_INSTRUCTIONS - 1))))


def undecided(calls: int):
    """A program of so many exponentials about which floating point says nothing: a difference of equals, times 2^60."""
    found: list[tuple] = [("x",)]
    for _ in range(calls):
        found.append(("exp", len(found) - 1) if len(found) % 2 else ("log", len(found) - 1))
    found += [("sub", len(found) - 1, len(found) - 1), ("number", 2**60, 1)]
    return (*found, ("mul", len(found) - 2, len(found) - 1))


def test_a_hostile_table_is_charged():
    """For every instruction and entry that takes decimals; a verifier with less work to spend refuses."""
    for calls, width in ((2, 6), (10, 6), (10, 8)):
        program = undecided(calls)
        table, meter = Table("function", width, (Column(program, 1, (1, 64), 0),)), Meter()
        tables.charge(table, meter)
        assert meter.work >= (tables.DECIMALS + tables.FLOATS) * len(program) << width
        with pytest.raises(zkjax.VerificationError) as caught:
            tables.charge(table, Meter(max_work=meter.work - 1))
        assert caught.value.check == "work"
    cheap = Meter()
    tables.charge(Table("function", 8, (Column(of("exp"), 1, (1, 64), 8),)), cheap)
    assert cheap.work < meter.work // 100
    wide, narrow = Meter(), Meter()  # a one-hot of many columns keeps them all
    for size, one in ((512, wide), (2, narrow)):
        tables.charge(Table("function", 8, (Column(X, 0, (1, 1), 0, size),)), one)
    assert wide.kept - narrow.kept == 8 * 256 * 510


def test_an_estimate_is_charged_as_the_verification():
    """Lengths alone or numbers: what a table costs is the same."""
    table = Table("function", 7, (Column(of("exp"), -64, (1, 16), 8), Column(X, -64, (1, 1), 0, 5)))
    charged = []
    for lengths in (False, True):
        vectors = Vectors(Meter(), lengths_only=lengths)
        high, low = ((only_length(n) if lengths else elements(n)) for n in table.shape)
        assert len(table.column_values(high, low, vectors)) == table.width_of_rows == 7
        charged.append((vectors.meter.work, vectors.meter.memory))
    assert charged[0] == charged[1]


# ---- columns -----------------------------------------------------------------------------------------------------
def elements(count: int, seed: int = 0):
    """K vectors with entries next to 0, 2^32 and p among random ones."""
    rng = np.random.default_rng(seed + count)
    found = rng.integers(0, field.P, (2, count), dtype=np.uint64)
    special = np.array(EDGES, dtype=np.uint64)
    found[:, :: max(1, count // 5)] = rng.choice(special, found[:, :: max(1, count // 5)].shape)
    return Vector(found)


def some_tables(width: int):
    low = -(1 << width >> 1)
    yield Table("range", width)
    if not width:
        return
    yield Table("sign", width)
    yield Table("first", width)
    yield Table("function", width, (Column(of("log"), low + 1, (1, 2), 10), Column(joined("gt", X, ZERO_), low, (1, 1), 0)))
    yield Table("function", width, (Column(X, low, (1, 1), 0, 3),))
    large = joined("mul", X, number(Fraction((LARGEST - 1) // max(1, -low))))  # entries of almost 2^31
    yield Table("function", width, (Column(joined("sqrt", X), low, (1, 1), 3), Column(X, low, (1, 1), 0, 4), Column(large, low, (1, 1), 0)))


@pytest.mark.parametrize("width", [0, 1, 2, 3, 4, 7, 8, 11])
def test_columns_at_a_point_are_those_written_out(width):
    """Against sums of integers of Python, over rows that are written out as the protocol says."""
    for table in some_tables(width):
        columns, (rows, steps) = table.columns(), table.shape
        assert rows * steps == 1 << width and rows in (steps, 2 * steps) and len(columns) == table.width_of_rows
        high, low = elements(rows), elements(steps, 1)
        weights = [Ext(*map(int, a)) * Ext(*map(int, b)) for a in zip(*high) for b in zip(*low)]
        for column, found in zip(columns, table.column_values(high, low), strict=True):
            assert found == sum((w * int(v) for w, v in zip(weights, column.reshape(-1), strict=True)), ZERO)


def written(table: Table):
    """The rows as section 10.2 and 10.6 have them."""
    count = 1 << table.width
    if table.kind == "range":
        return [(v,) for v in range(count)]
    if table.kind == "sign":
        return [(v, int(v > count // 2)) for v in range(count)]
    if table.kind == "first":
        return [*((v, 0) for v in range(count - 1)), (0, 1)]
    made = [[functions._entry(c.program, Fraction(*c.unit) * (c.low + v), c.scale) for v in range(count)] for c in table.functions]
    whole = [v for v in range(count) if all(column[v] != LARGEST for column in made)]
    found = []
    for v in range(count):
        v = v if v in whole else whole[0]
        row = [v]
        for column, entries_ in zip(table.functions, made):
            least = min(0, *(x for x in entries_ if x != LARGEST))
            row += [int(entries_[v] == k) for k in range(column.size)] if column.size else [entries_[v] - least]
        found.append(tuple(row))
    return found


@pytest.mark.parametrize("width", [0, 1, 2, 3, 6])
def test_rows_are_those_of_the_protocol(width):
    for table in some_tables(width):
        columns = [column.reshape(-1).tolist() for column in table.columns()]
        assert list(zip(*columns)) == written(table) and min(map(min, columns)) >= 0
        looked_up = [np.array(column) for column in columns]
        if table.kind != "function":  # rows that a function lacks stand elsewhere
            assert table.rows(looked_up).tolist() == list(range(1 << width))


def test_a_maximum_has_no_other_row():
    table = Table("first", 3)
    assert table.rows([np.array([0, 6, 7, 8, -1, 0, 1]), np.array([0, 0, 0, 0, 0, 1, 1])]).tolist() == [0, 6, -1, 8, -1, 7, 8]


def test_columns_without_a_common_row():
    """Each function has values, and nowhere both."""
    below = functions.after(of("sqrt"), of("neg"))
    table = Table("function", 2, (Column(of("log"), -2, (1, 1), 0), Column(joined("log", of("neg")), -2, (1, 1), 0)))
    with pytest.raises(FormatError, match="no row in common"):
        table.columns()
    with pytest.raises(FormatError, match="no value"):
        tables.limits(Column(NAN, 0, (1, 1), 0), 3)
    alone = Table("function", 2, (Column(of("sqrt"), -2, (1, 1), 0), Column(below, -2, (1, 1), 0)))
    assert [column.reshape(-1).tolist() for column in alone.columns()] == [[2, 2, 2, 2], [0] * 4, [0] * 4]  # at 0 alone


@pytest.mark.parametrize("kind, columns", [("none", ()), ("function", ()), ("range", (Column(X, 0, (1, 1), 0),))])
def test_there_are_four_kinds_of_tables(kind, columns):
    with pytest.raises(ValueError, match="no table"):
        Table(kind, 3, columns)


def test_tables_have_one_order():
    """Kind, width, then columns entry by entry, with any instructions in a program."""
    found = [table for width in (3, 2) for table in some_tables(width)]
    programs_ = (of("exp"), of("log"), number(Fraction(1)), number(Fraction(-1)), joined("add", X, X))
    found += [Table("function", 2, (Column(program, low, (1, 1), 0, size),)) for program in programs_ for low in (0, -1) for size in (0, 2)]
    keys = [(t.kind, t.width, t.functions) for t in sorted(found)]
    assert keys == sorted(keys) and [k[0] for k in keys] == sorted(k[0] for k in keys)


def test_inner_products_are_exact_at_the_largest_entries():
    """16 bits of entries times 22 bits of weights, summed over a line, stay below 2^53."""
    table = Table("function", 12, (Column(joined("sub", ZERO_, X), -2048, (LARGEST // 2048 - 1, 1), 0),))
    ends = Vector((np.full(64, field.P - 1, dtype=np.uint64),) * 2)
    column = table.columns()[1].reshape(-1)
    assert int(column.max()) > 2**30
    weight = Ext(field.P - 1, field.P - 1) * Ext(field.P - 1, field.P - 1)
    assert table.column_values(ends, ends)[1] == weight * int(sum(map(int, column)))


SPECIAL = {  # composed of the instructions: where they are compared, and with what
    "atan": (np.linspace(-40, 40, 160), np.arctan),
    "asin": (np.linspace(-1, 1, 81), np.arcsin),
    "acos": (np.linspace(-1, 1, 81), np.arccos),
    "lgamma": (np.linspace(-9.97, 40, 160), special_functions.gammaln),
    "digamma": (np.linspace(-9.97, 40, 160), special_functions.digamma),
    "trigamma": (np.linspace(0.01, 40, 160), lambda x: special_functions.polygamma(1, x)),
}


@pytest.mark.parametrize("name", SPECIAL)
def test_functions_that_are_composed(name):
    numbers, function = SPECIAL[name]
    make = (special.FUNCTIONS | {"trigamma": special.trigamma})[name]
    program = make(functions.joined, functions.IDENTITY, lambda v: functions.number(Fraction(v)))
    functions.check(program)
    found = np.array([float(functions.value(program, Fraction(x))) for x in numbers])
    assert np.allclose(found, function(numbers), rtol=1e-13, atol=1e-13)
    beyond = {"asin": 1.01, "acos": -1.01, "lgamma": -2, "digamma": 0, "trigamma": -1}
    assert name not in beyond or not functions.value(program, Fraction(beyond[name])).is_finite()
