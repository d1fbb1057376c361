"""Stacking, columns, salts, re-creation, files and refusals."""

import dataclasses
import sys

import numpy as np
import pytest
from commitment_cases import SMALL, TINY, random_base

from zkjax.algebra.field import P, root_of_unity
from zkjax.commitment import Commitment, Geometry, Mask, commit, stack
from zkjax.commitment.commit import tree_seed
from zkjax.commitment.merkle import leaf, root_of, tree_tag
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
    c = small_commit()
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
    assert c.commitment.masked and c.commitment.entries == 11
    assert [m.shape[1] for m in c.mask] == [TINY.row + 4, 6 + TINY.queries, 6 + TINY.queries]
    x = root_of_unity(TINY.log_code)
    expected = [sum(a * pow(x, j, P) for j, a in enumerate(line)) % P for m in c.mask for line in m.tolist()]
    assert c.columns([1])[5:, 0].tolist() == expected


@pytest.mark.parametrize("mask", [None, Mask(3, 6)])
def test_opened_columns_lead_to_the_root(mask):
    c = small_commit(budget=1, mask=mask)
    at = [0, 3, 200]
    columns, salts, tag = c.columns(at), c.salts(at), tree_tag("weights", 2)
    leaves = [leaf(tag, i, salts[16 * j : 16 * j + 16], columns[:, j]) for j, i in enumerate(at)]
    assert root_of(leaves, at, c.tree.siblings(at), TINY.log_code) == c.commitment.root


def test_same_rows_and_seed_give_the_same_root():
    first, again = small_commit(), small_commit()
    assert first.commitment == again.commitment and all(map(np.array_equal, first.tree.levels, again.tree.levels))
    assert np.array_equal(first.padding, again.padding) and first.salts([9]) == again.salts([9])
    others = [small_commit(seed=bytes(32)), small_commit(kind="trace"), small_commit(number=3), small_commit(budget=1)]
    others.append(small_commit(rows=first.rows ^ np.uint64(1)))
    assert len({c.commitment.root for c in [first, *others]}) == 6


def test_one_seed_under_other_sizes_repeats_nothing():
    """The same seed, by mistake, for another budget, geometry, number or height: other coefficients and salts from the first on."""
    first = small_commit()
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
    for other in others:
        assert not known & set(other.padding.reshape(-1).tolist())
        assert not salts & {other.salts([i]) for i in range(8)}
    assert len({tree_seed(SEED, TINY, "weights", *numbers) for numbers in ((1, 23, 4), (12, 3, 4), (1, 2, 34))}) == 3


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
    assert np.array_equal(fast.columns([0, 5, 8191]), slow.columns([0, 5, 8191]))


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
    with pytest.raises(ConfigurationError, match="an eighth"):
        small_commit(geometry=dataclasses.replace(TINY, level_bits=20))


def test_digest_binds_every_field():
    c = small_commit().commitment
    changes = {"kind": "trace", "number": 1, "rows": 6, "budget": 1, "root": bytes(32), "masked": True}
    digests = {dataclasses.replace(c, **{name: value}).digest(TINY) for name, value in changes.items()}
    assert len(digests | {c.digest(TINY), c.digest(SMALL)}) == 8


def test_file():
    c = small_commit().commitment
    good = c.to_json()
    assert Commitment.from_json(good) == c
    changes = {"kind": 1, "number": -1, "rows": 0, "budget": True, "root": good["root"].upper() + "0", "masked": 0}
    for name, value in changes.items():
        with pytest.raises(FormatError):
            Commitment.from_json({**good, name: value})
    for bad in (None, {}, {**good, "more": 1}, {**good, "root": "zz" * 32}):
        with pytest.raises(FormatError):
            Commitment.from_json(bad)
