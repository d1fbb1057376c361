"""Stacking, columns, salts, re-creation, files and refusals."""

import dataclasses
import sys

import numpy as np
import pytest
from commitment_cases import SMALL, TINY, changed_part, only_part, random_base

from zkjax.algebra.field import P, root_of_unity
from zkjax.commitment import Commitment, Geometry, Mask, Part, commit, stack
from zkjax.commitment.commit import tree_seed
from zkjax.commitment.merkle import leaf, pair, part_tag, root_of
from zkjax.errors import ConfigurationError, FormatError

SEED = bytes(range(32))


def small_commit(rows=None, seed=SEED, geometry=TINY, **changes):
    rows = random_base(np.random.default_rng(3), 5, geometry.row) if rows is None else rows
    return commit(rows, **({"kind": "weights", "number": 2, "budget": 2, "geometry": geometry, "seed": seed} | changes))


def test_stacking():
    assert stack([4]) == ([0], 2)
    assert stack([3, 5]) == ([8, 0], 4)
    assert stack([2, 5, 2, 1]) == ([8, 0, 10, 12], 4)
    assert stack([4, 4, 3, 3]) == ([0, 4, 8, 12], 4)
    assert stack([1, 1, 1]) == ([0, 1, 2], 2)


def test_columns_are_evaluations():
    c = only_part(small_commit())
    k, w = TINY.row, root_of_unity(TINY.log_code)
    at = [0, 1, 77, TINY.code - 1]
    columns = c.columns(at)
    for row, padding, values in zip(c.rows.tolist(), c.padding.tolist(), columns.tolist(), strict=True):
        for index, value in zip(at, values, strict=True):
            x = pow(w, index, P)
            assert value == sum(a * pow(x, j, P) for j, a in enumerate(row + padding)) % P
    assert c.padding.shape == (5, 2 * TINY.queries) and k == len(c.rows[0])


def test_mask_rows_end_the_columns():
    mask = Mask(3, 4)
    c = small_commit(budget=1, mask=mask)
    assert c.commitment.masked and only_part(c).entries == 11
    c = only_part(c)
    assert [m.shape[1] for m in c.mask] == [TINY.row + 4, 6 + TINY.queries, 6 + TINY.queries]
    x = root_of_unity(TINY.log_code)
    expected = [sum(a * pow(x, j, P) for j, a in enumerate(line)) % P for m in c.mask for line in m.tolist()]
    assert c.columns([1])[5:, 0].tolist() == expected


@pytest.mark.parametrize("mask", [None, Mask(3, 6)])
def test_opened_columns_lead_to_the_root(mask):
    c = small_commit(budget=1, mask=mask)
    at = [0, 3, 200]
    x = only_part(c)
    columns, salts, tag = x.columns(at), x.salts(at), part_tag("weights", 2, "parameters")
    leaves = [leaf(tag, i, salts[16 * j : 16 * j + 16], columns[:, j]) for j, i in enumerate(at)]
    assert root_of(leaves, at, c.tree.siblings(at), TINY.log_code) == c.commitment.root


def test_same_rows_and_seed_give_the_same_root():
    first, again = small_commit(), small_commit()
    assert first.commitment == again.commitment and all(map(np.array_equal, first.tree.levels, again.tree.levels))
    one, other = only_part(first), only_part(again)
    assert np.array_equal(one.padding, other.padding) and one.salts([9]) == other.salts([9])
    others = [small_commit(seed=bytes(32)), small_commit(kind="trace"), small_commit(number=3), small_commit(budget=1)]
    others.append(small_commit(rows=only_part(first).rows ^ np.uint64(1)))
    assert len({c.commitment.root for c in [first, *others]}) == 6


def test_one_seed_under_other_sizes_repeats_nothing():
    """The same seed, by mistake, for another budget, geometry, number or height: other coefficients and salts from the first on."""
    first = only_part(small_commit())
    wider = dataclasses.replace(TINY, level_bits=TINY.level_bits + 1)
    rows = np.concatenate([first.rows, first.rows[:1]])
    others = [
        small_commit(budget=1),
        small_commit(number=3),
        small_commit(kind="shard"),
        small_commit(geometry=wider),
        small_commit(rows=rows),
    ]
    known, salts = set(first.padding.reshape(-1).tolist()), {first.salts([i]) for i in range(8)}
    both = small_commit(rows=[first.rows, first.rows]).parts
    for other in [*map(only_part, others), both[1]]:
        assert not known & set(other.padding.reshape(-1).tolist())
        assert not salts & {other.salts([i]) for i in range(8)}
    assert np.array_equal(both[0].padding, first.padding)  # which part stands beside it does not matter
    numbers = (1, Part("cells", 23, 4)), (12, Part("cells", 3, 4)), (1, Part("cells", 2, 34))
    assert len({tree_seed(SEED, TINY, "weights", *x) for x in numbers}) == 3


def test_two_parts_of_one_tree():
    """A leaf is over one column of each part, in their order; a part that is not opened is seen as digests alone."""
    rng = np.random.default_rng(4)
    c = small_commit(rows=[random_base(rng, 3, TINY.row), random_base(rng, 2, TINY.row)], budget=(2, 1))
    assert [tuple(part) for part in c.commitment.parts] == [("parameters", 3, 2), ("other", 2, 1)] and c.commitment.rows == 5
    at, halves = [0, 3, 200], []
    for x in c.parts:
        columns, salts, tag = x.columns(at), x.salts(at), part_tag("weights", 2, x.part.name)
        halves.append([leaf(tag, i, salts[16 * j : 16 * j + 16], columns[:, j]) for j, i in enumerate(at)])
        assert x.leaves(at) == b"".join(halves[-1])
    first, second = halves
    for leaves, same in ((map(pair, first, second), True), (map(pair, second, first), False)):
        assert (root_of(list(leaves), at, c.tree.siblings(at), TINY.log_code) == c.commitment.root) == same
    alone = c.only("other")
    assert [x.part.name for x in alone.members] == ["other"] and [x.part.name for x in alone.closed] == ["parameters"]
    assert alone.commitment == c.commitment


def test_digests_of_parts():
    """Each binds the whole: its name, and everything that stands beside it."""
    c = small_commit(rows=[random_base(np.random.default_rng(4), n, TINY.row) for n in (3, 2)]).commitment
    names = {c.digest(TINY), *(x.part_digest(TINY, name) for x in (c, changed_part(c, 1, rows=3)) for name in ("parameters", "other"))}
    assert len(names) == 5


def test_jax_rows():
    import jax.numpy as jnp

    rows = random_base(np.random.default_rng(3), 5, TINY.row)
    assert small_commit(rows=jnp.asarray(rows)).commitment == small_commit(rows=rows).commitment


def test_host_and_kernels_agree(monkeypatch):
    """The same root and columns whether columns are encoded and hashed by the kernels or on the host."""
    geometry = Geometry(11, 2, 1, 20)
    rows = random_base(np.random.default_rng(5), 3, geometry.row)
    fast = small_commit(rows, geometry=geometry, budget=1)
    for module in ("commit", "merkle"):  # the package's function ``commit`` hides its module's name
        monkeypatch.setattr(sys.modules[f"zkjax.commitment.{module}"], "CHUNK", 1 << 20)
    slow = small_commit(rows, geometry=geometry, budget=1)
    assert fast.commitment == slow.commitment
    monkeypatch.undo()
    assert np.array_equal(only_part(fast).columns([0, 5, 8191]), only_part(slow).columns([0, 5, 8191]))


def test_refusals():
    good = random_base(np.random.default_rng(3), 5, TINY.row)
    for rows in (good[:, 1:], good.astype(np.int64), good[:0], good | np.uint64(2**64 - 1)):
        with pytest.raises(ValueError):
            small_commit(rows=rows)
    with pytest.raises(ValueError, match="seed"):
        small_commit(seed=bytes(31))
    for budget in (0, 3):
        with pytest.raises(ConfigurationError, match="opening budget"):
            small_commit(budget=budget)
    with pytest.raises(ConfigurationError, match="one opening"):
        small_commit(mask=Mask(3, 4))
    with pytest.raises(ConfigurationError, match="of one part"):
        small_commit(rows=[good, good], budget=1, mask=Mask(3, 4))
    with pytest.raises(ConfigurationError, match="an eighth"):
        small_commit(geometry=dataclasses.replace(TINY, level_bits=20))


def test_digest_binds_every_field():
    c = small_commit().commitment
    changes = {"kind": "trace", "number": 1, "root": bytes(32), "masked": True, "parts": c.parts * 2}
    digests = {dataclasses.replace(c, **{name: value}).digest(TINY) for name, value in changes.items()}
    digests |= {changed_part(c, **{name: value}).digest(TINY) for name, value in {"name": "other", "rows": 6, "budget": 1}.items()}
    assert len(digests | {c.digest(TINY), c.digest(SMALL)}) == 10


def test_file():
    c = small_commit().commitment
    good = c.to_json()
    assert Commitment.from_json(good) == c
    changes = {"kind": 1, "number": -1, "root": good["root"].upper() + "0", "masked": 0, "parts": {}}
    for name, value in changes.items():
        with pytest.raises(FormatError):
            Commitment.from_json({**good, name: value})
    (part,) = good["parts"]
    other = part | {"name": "other"}
    for parts in (
        [],
        [part | {"rows": 0}],
        [part | {"budget": True}],
        [part | {"name": "cells"}],
        [part | {"more": 1}],
        [other, part],
        [part, part],
    ):
        with pytest.raises(FormatError):
            Commitment.from_json({**good, "parts": parts})
    for parts in ([part, other], [other]):
        assert Commitment.from_json({**good, "parts": parts}).to_json() == {**good, "parts": parts}
    for bad in (None, {}, {**good, "more": 1}, {**good, "root": "zz" * 32}):
        with pytest.raises(FormatError):
            Commitment.from_json(bad)
