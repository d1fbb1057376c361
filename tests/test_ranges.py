"""Ranges in few tables: the statements stay the same, in tables that are worth their rows."""

from math import prod

from hypothesis import given
from hypothesis import strategies as st

from zkjax.ops.ranges import Lookup, Part, in_few_tables, tables_kept
from zkjax.ops.tables import Table

LOOKUPS = st.lists(st.tuples(st.integers(0, 12), st.integers(1, 2**15), st.sampled_from(["range", "range", "range", "sign"])), min_size=1)


def lookups_of(drawn) -> list[Lookup]:
    return [Lookup(("x", i), Table(kind, max(1, w)), (n,), ((0, (Part(1, ("x", i)),)),)) for i, (w, n, kind) in enumerate(drawn)]


def cost(lookups: list[Lookup]) -> int:
    """Leaves, and a cell, as dear as two of them, for each row of a table."""
    return sum(prod(x.leaves) for x in lookups) + sum(3 << table.width for table in {x.table for x in lookups})


@given(LOOKUPS)
def test_the_same_statements_at_less_cost(drawn):
    before = lookups_of(drawn)
    after = in_few_tables(before)
    assert [(x.key, x.shape, x.columns, x.stepped, x.table.kind, x.width) for x in after] == [
        (x.key, x.shape, x.columns, x.stepped, x.table.kind, x.table.width) for x in before
    ]
    assert in_few_tables(after) == after
    assert cost(after) <= cost(before)
    for x in after:
        assert bool(x.again) == (x.table.width != x.width) and x.table.width >= x.width
        inside = set(range(1 << x.table.width))
        for v in {0, 1, (1 << x.width) - 1, 1 << x.width, (1 << x.table.width) - 1, 1 << x.table.width, -1}:
            assert (v in inside and v + x.again in inside) == (0 <= v < 1 << x.width)


def test_which_tables_are_kept():
    """The widest one in any case, another one if as many entries are looked up in it as its rows cost."""
    assert tables_kept({4: 1}) == {4: 4}
    assert tables_kept({4: 47, 6: 1}) == {6: 6, 4: 6}
    assert tables_kept({4: 48, 6: 1}) == {6: 6, 4: 4}
    assert tables_kept({2: 11, 4: 48, 6: 1}) == {6: 6, 4: 4, 2: 4}
    assert tables_kept({2: 12, 4: 47, 6: 1}) == {6: 6, 4: 6, 2: 2}
