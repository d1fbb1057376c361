"""Query counts, radii, plans, and their files."""

import dataclasses
from math import log2

import pytest

from zkjax.commitment.geometry import Geometry, _plan, _queries, check_preferred, radius
from zkjax.errors import ConfigurationError, FormatError


@pytest.mark.parametrize(
    "row, code, budget, bits", [(64, 256, 1, 20), (1 << 14, 1 << 15, 4, 104), (1 << 17, 1 << 19, 4, 104), (8, 32, 0, 8)]
)
def test_least_number_of_queries(row, code, budget, bits):
    def enough(q):
        return (code - radius(code, row + budget * q)) ** q << bits <= code**q

    q = _queries(row, code, budget, bits)
    assert q == next(q for q in range(1, 1000) if enough(q))


def test_rows_that_budgets_need():
    """At 104 bits a budget of 4 / 8 / 18 / 66 needs rows of 2^14 / 15 / 16 / 18 cells at rate 1/2, half of it at 1/4 and 1/8."""
    for log_inverse_rate, less in ((1, 0), (2, 1), (3, 1)):
        for budget, log_row in ((4, 14), (8, 15), (18, 16), (66, 18)):
            Geometry(log_row - less, log_inverse_rate, budget).check()
            with pytest.raises(ConfigurationError, match="an eighth"):
                Geometry(log_row - less - 1, log_inverse_rate, budget).check()


def test_budgets_outside_the_range():
    geometry = Geometry(6, 2, 2, 4)
    assert geometry.padding(2) == 2 * geometry.queries
    for budget in (0, 3):
        with pytest.raises(ConfigurationError, match="opening budget"):
            geometry.padding(budget)


@pytest.mark.parametrize("fields", [(6, 0, 1, 20), (6, 5, 1, 20), (1, 2, 1, 20), (6, 2, 0, 20), (6, 2, 1, 0), (6.0, 2, 1, 20)])
def test_refused_fields(fields):
    with pytest.raises(ConfigurationError):
        Geometry(*fields)


def test_unreachable_target():
    with pytest.raises(ConfigurationError, match="no number of queries"):
        _ = Geometry(4, 1, 2, 104).queries


@pytest.mark.parametrize("log_row", [10, 15, 19, 22])
def test_plan_reaches_the_target(log_row):
    geometry = Geometry(log_row, 2, 1)
    levels, clear = geometry.plan()
    length = log_row
    for level in levels:
        assert level.log_length == length
        code, errors = 1 << level.log_code, radius(1 << level.log_code, 1 << level.log_row)
        assert -level.queries * log2(1 - errors / code) >= 104
        length -= level.log_rows
    assert clear == length
    assert _plan(log_row, 104)[3] <= 16 << log_row


def test_error_terms():
    terms = Geometry(19, 2, 4).error_terms(7)
    assert len({t.name for t in terms}) == len(terms)
    by_name = {t.name: t.bits for t in terms}
    assert by_name["opening: queries"] >= 104
    assert by_name["opening: row folds"] == pytest.approx(128 - 21 - log2(7), abs=1e-4)
    assert -log2(sum(2**-t.bits for t in terms)) > 102


def test_rows_grow_with_the_cells():
    geometries = [Geometry.cheapest([1 << log], max_budget=1) for log in (14, 18, 22, 26)]
    assert [g.log_row for g in geometries] == sorted(g.log_row for g in geometries)
    for g in geometries:
        g.check()


def test_small_proofs_take_longer_codes():
    """For one more byte a geometry that prefers bytes does sixteen times the work."""
    cells = [4 * 10**7, 10**7, 10**7]
    fast, small = (Geometry.cheapest(cells, max_budget=8, prefer=prefer) for prefer in ("time", "bytes"))
    rows = [[-(-count // g.row) for count in cells] for g in (fast, small)]
    assert small.check().opening_bytes(rows[1]) < 0.8 * fast.opening_bytes(rows[0])
    assert small.code / small.row > fast.code / fast.row
    with pytest.raises(ConfigurationError, match="prefer is 'space'; choose one of 'time', 'bytes'"):
        check_preferred("space")


def test_file():
    geometry = Geometry(10, 2, 2, 20)
    assert Geometry.from_json(geometry.to_json()) == geometry
    digests = {
        dataclasses.replace(geometry, **{f: v}).digest()
        for f, v in (("log_row", 11), ("log_inverse_rate", 3), ("max_budget", 1), ("level_bits", 21))
    }
    assert len(digests | {geometry.digest()}) == 5
    good = geometry.to_json()
    for bad in (
        None,
        {},
        {**good, "extra": 1},
        {**good, "log_row": "10"},
        {**good, "log_row": True},
        {**good, "hash": "sha256"},
        {**good, "level_bits": 0},
    ):
        with pytest.raises(FormatError):
            Geometry.from_json(bad)
