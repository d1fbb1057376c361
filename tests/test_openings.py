"""Opening counters are shared by everything that was saved from one chain."""

import pytest

from zkjax.errors import BudgetError, FormatError
from zkjax.openings import FILE, Openings


def load(directory):
    openings = Openings()
    openings.bind(directory)
    return openings


def test_one_unit_of_each_or_none():
    openings = Openings()
    openings.spend({"a": 2, "b": 1})
    with pytest.raises(BudgetError, match="commit again"):
        openings.spend({"a": 2, "b": 1})
    assert openings.spent == {"a": 1, "b": 1}


def test_directories_of_one_chain_share_their_counters(tmp_path):
    openings = Openings()
    openings.bind(tmp_path / "first")
    openings.spend({"shard": 4})
    openings.bind(tmp_path / "second")
    first, second = load(tmp_path / "first"), load(tmp_path / "second")
    first.spend({"shard": 4})
    second.spend({"shard": 4})
    openings.spend({"shard": 4})
    for counters in (first, second, openings, load(tmp_path / "first")):
        with pytest.raises(BudgetError):
            counters.spend({"shard": 4})


def test_branches_saved_apart_find_each_other(tmp_path):
    load(tmp_path / "root")
    left, right = load(tmp_path / "root"), load(tmp_path / "root")
    left.bind(tmp_path / "left")
    right.bind(tmp_path / "right")
    left.spend({"weights": 2})
    load(tmp_path / "right").spend({"weights": 2})
    with pytest.raises(BudgetError):
        load(tmp_path / "left").spend({"weights": 2})


def test_deleted_directories_do_not_come_back(tmp_path):
    openings = Openings()
    openings.bind(tmp_path / "gone")
    openings.bind(tmp_path / "kept")
    for file in (tmp_path / "gone").iterdir():
        file.unlink()
    (tmp_path / "gone").rmdir()
    openings.spend({"a": 3})
    assert not (tmp_path / "gone").exists() and load(tmp_path / "kept").spent == {"a": 1}


@pytest.mark.parametrize("text", ["", "[]", '{"spent": {"a": -1}, "directories": []}', '{"spent": {}, "directories": [1]}', '{"a": 1}'])
def test_malformed_counters_are_refused(tmp_path, text):
    openings = load(tmp_path)
    (tmp_path / FILE).write_text(text)
    for use in (lambda: openings.spend({"a": 1}), lambda: load(tmp_path)):
        with pytest.raises(FormatError):
            use()


def test_private_permissions(tmp_path):
    load(tmp_path / "private")
    assert (tmp_path / "private").stat().st_mode & 0o777 == 0o700
    assert all(file.stat().st_mode & 0o777 == 0o600 for file in (tmp_path / "private").iterdir())
