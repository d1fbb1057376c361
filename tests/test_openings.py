"""Opening counters are shared by everything that was saved from one chain."""

import copy
import json
import os
import pickle
import subprocess
import sys

import pytest
from counting import slots, take, taken

from zkjax.commitment.openings import FILE, Openings
from zkjax.errors import BudgetError, FormatError, RunError


def load(directory):
    openings = Openings("chain")
    openings.bind(directory)
    return openings


def test_one_unit_of_each_or_none():
    openings = Openings("chain")
    take(openings, a=2, b=1)
    with pytest.raises(
        BudgetError, match="commitment to the matrix b has been opened 1 times, .*: commit again, that is, make another one"
    ):
        take(openings, a=2, b=1)
    assert taken(openings.spent) == {"a": 1, "b": 1}


def test_directories_of_one_chain_share_their_counters(tmp_path):
    openings = Openings("chain")
    openings.bind(tmp_path / "first")
    take(openings, shard=4)
    openings.bind(tmp_path / "second")
    first, second = load(tmp_path / "first"), load(tmp_path / "second")
    take(first, shard=4)
    take(second, shard=4)
    take(openings, shard=4)
    for counters in (first, second, openings, load(tmp_path / "first")):
        with pytest.raises(BudgetError):
            take(counters, shard=4)


def test_branches_saved_apart_find_each_other(tmp_path):
    load(tmp_path / "root")
    left, right = load(tmp_path / "root"), load(tmp_path / "root")
    left.bind(tmp_path / "left")
    right.bind(tmp_path / "right")
    take(left, weights=2)
    take(load(tmp_path / "right"), weights=2)
    with pytest.raises(BudgetError):
        take(load(tmp_path / "left"), weights=2)


def test_deleted_directories_do_not_come_back(tmp_path):
    openings = Openings("chain")
    openings.bind(tmp_path / "gone")
    openings.bind(tmp_path / "kept")
    for file in (tmp_path / "gone").iterdir():
        file.unlink()
    (tmp_path / "gone").rmdir()
    take(openings, a=3)
    assert not (tmp_path / "gone").exists() and taken(load(tmp_path / "kept").spent) == {"a": 1}


REPLACED = [
    "[]",
    '{"now": []}',
    '{"now": [], "hops": {}}',
    '{"now": {}, "hops": []}',
    '{"now": [1], "hops": []}',
    '{"now": [[0]], "hops": []}',
    '{"now": [[0, -1]], "hops": []}',
    '{"now": [[0, 1]], "hops": [[]]}',
    '{"now": [[0, 1]], "hops": [[1, []]]}',
    '{"now": [[0, 1]], "hops": [["", [[true, 1]]]]}',
]
MALFORMED = [
    "",
    "[]",
    '{"mark": "chain", "spent": {"a": -1}, "replaced": {}, "directories": []}',
    '{"mark": "chain", "spent": {}, "replaced": {}, "directories": [1]}',
    '{"mark": 1, "spent": {}, "replaced": {}, "directories": []}',
    '{"a": 1}',
    '{"mark": "chain", "spent": {}, "replaced": {}, "directories": [], "others": {}}',
    '{"mark": "chain", "spent": {}, "replaced": {}, "directories": [], "others": [{"mark": "another"}]}',
    '{"mark": "chain", "spent": {}, "directories": []}',
    *(f'{{"mark": "chain", "spent": {{}}, "replaced": {{"a": {x}}}, "directories": []}}' for x in REPLACED),
    '{"mark": "chain", "spent": {}, "replaced": {}, "disclosed": {}, "directories": [], "published": []}',
    '{"mark": "chain", "spent": {}, "replaced": {}, "disclosed": {}, "directories": [], "published": {"a": 1}}',
]


@pytest.mark.parametrize("text", MALFORMED)
def test_malformed_counters_are_refused(tmp_path, text):
    openings = load(tmp_path)
    (tmp_path / FILE).write_text(text)
    for use in (lambda: take(openings, a=1), lambda: load(tmp_path)):
        with pytest.raises(FormatError):
            use()


# ---- counted when they are published ----------------------------------------------------------------------------------
def publish(openings, digest="aa", chunk="a chunk", choice=None, **budgets):
    """What becomes of a finished proof: whether it may leave, and the choice that counts now."""
    wanted = slots(**budgets)
    choice = choice or openings.choose(wanted, chunk)
    found = openings.publish(wanted, chunk, choice, digest)
    return found == choice, found


def test_a_proof_is_counted_once(tmp_path):
    """Also by another process, to which the first one's death has left it."""
    for _ in range(2):
        assert publish(load(tmp_path), "aa", a=6)[0] and taken(load(tmp_path).spent) == {"a": 1}
    assert load(tmp_path).published == {"a chunk": "aa"}
    assert publish(load(tmp_path), "bb", a=6)[0] and taken(load(tmp_path).spent) == {"a": 2}  # another proof of it, where that one was lost
    assert publish(load(tmp_path), "cc", "another", a=6)[0] and taken(load(tmp_path).spent) == {"a": 3}


def test_a_proof_of_what_is_replaced_meanwhile_takes_nothing(tmp_path):
    openings = load(tmp_path)
    old = openings.choose(slots(a=3), "first")
    while not openings.replaced:
        choice = take(other := load(tmp_path), a=3)
        other.finish(choice, "a chunk")
        openings = load(tmp_path)
    before = dict(openings.spent)
    left, new = publish(openings, "aa", "first", old, a=3)
    assert not left and new != old and openings.spent == before and not load(tmp_path).published


def test_what_a_proof_replaces_is_recorded_with_its_units(tmp_path):
    openings = load(tmp_path)
    for number in range(3):
        assert publish(openings, f"{number}", f"chunk {number}", a=3)[0]
        found = load(tmp_path)
        assert bool(found.replaced) == (number >= 1) and len(found.published) == number + 1
    assert max(openings.spent.values()) <= 3


def test_what_could_not_be_written_is_not_recorded(tmp_path, monkeypatch):
    openings = load(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr("os.replace", lambda *_: (_ for _ in ()).throw(OSError("full")))
        with pytest.raises(OSError):
            publish(openings, a=6)
    assert not openings.published and not openings.spent and not load(tmp_path).published
    assert publish(openings, a=6)[0] and taken(load(tmp_path).spent) == {"a": 1}


def test_looking_ahead_counts_nowhere_else(tmp_path):
    openings = load(tmp_path)
    ahead = openings.ahead()
    for _ in range(20):
        ahead.finish(take(ahead, a=4), "a chunk")
    assert ahead.replaced and not openings.spent and not load(tmp_path).spent


def test_directories_of_other_chains_are_left_alone(tmp_path):
    """Whoever can write one private directory and names others in it learns and changes nothing there."""
    victim = Openings("victim")
    victim.bind(tmp_path / "victim")
    take(victim, a=3)
    for name in ("empty", "unreadable", "pipe"):
        (tmp_path / name).mkdir()
    (tmp_path / "unreadable" / FILE).write_text("nothing")
    os.mkfifo(tmp_path / "pipe" / FILE)
    names = [tmp_path / name for name in ("victim", "empty", "unreadable", "pipe", "missing")]
    before = [contents(path) for path in names]
    mine = load(tmp_path / "mine")
    content = json.loads((tmp_path / "mine" / FILE).read_text())
    content["directories"] += [*map(str, names), "relative", "/\ud800"]
    (tmp_path / "mine" / FILE).write_text(json.dumps(content | {"spent": {"a 0 cells": 3, "b 0 cells": 2}}))
    take(mine, b=3)
    take(load(tmp_path / "mine"), c=3)
    assert [contents(path) for path in names] == before and mine.directories == [tmp_path / "mine"]
    with pytest.raises(RunError, match="another chain"):
        load(tmp_path / "victim")


def contents(directory):
    return {path.name: path.is_fifo() or path.read_bytes() for path in directory.iterdir()} if directory.exists() else None


def test_counters_are_written_through_no_link(tmp_path):
    """Links to other files in the places of those that are made."""
    load(tmp_path / "run")
    (tmp_path / "other").write_text("untouched")
    (tmp_path / "run" / f".{FILE}.new").symlink_to(tmp_path / "other")
    take(load(tmp_path / "run"), a=1)
    assert (tmp_path / "other").read_text() == "untouched" and taken(load(tmp_path / "run").spent) == {"a": 1}
    (tmp_path / "run" / f".{FILE}.lock").unlink()
    (tmp_path / "run" / f".{FILE}.lock").symlink_to(tmp_path / "made")
    with pytest.raises(OSError):
        load(tmp_path / "run")
    assert not (tmp_path / "made").exists()


def test_private_permissions(tmp_path):
    load(tmp_path / "private")
    assert (tmp_path / "private").stat().st_mode & 0o777 == 0o700
    assert all(file.stat().st_mode & 0o777 == 0o600 for file in (tmp_path / "private").iterdir())


# ---- processes ------------------------------------------------------------------------------------------------------
SPENDING = """
import sys
from counting import take
from zkjax.errors import BudgetError
from zkjax.commitment.openings import Openings
openings, done = Openings("chain"), 0
openings.bind(sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
for _ in range(20):
    try:
        take(openings, shard=30, weights=100)
    except BudgetError:
        break
    done += 1
print(done)
"""
HOLDING = """
import sys, time
from counting import take
from zkjax.commitment.openings import Openings
openings = Openings("chain")
openings.bind(sys.argv[1])
take(openings, a=3)
with openings._shared():
    print("held", flush=True)
    time.sleep(600)
"""
FORKING = """
import os, sys
from counting import take
from zkjax.errors import RunError
from zkjax.commitment.openings import Openings
openings, saved = Openings("chain"), Openings("chain")
saved.bind(sys.argv[1])
child = os.fork()
if not child:
    take(saved, b=2)
    for act in (lambda: take(openings, a=1), lambda: openings.bind(sys.argv[1])):
        try:
            act()
        except RunError:
            continue
        os._exit(1)
    os._exit(0)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
take(openings, a=1)
take(saved, b=2)
"""


def python(code, directory, **options):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.Popen([sys.executable, "-c", code, directory], stdout=subprocess.PIPE, text=True, env=environment, **options)


def test_processes_spend_no_unit_twice(tmp_path):
    """Three at once: all that the budget allows is spent, and not one more."""
    children = [python(SPENDING, tmp_path, stdin=subprocess.PIPE) for _ in range(3)]
    for child in children:
        assert child.stdout.readline() == "ready\n"
    for child in children:
        child.stdin.write("go\n")
        child.stdin.flush()
    done = [int(child.communicate()[0]) for child in children]
    assert sum(done) == 30 and taken(load(tmp_path).spent) == {"shard": 30, "weights": 30}


def test_a_killed_process_leaves_its_units_spent_and_no_lock(tmp_path):
    child = python(HOLDING, tmp_path)
    assert child.stdout.readline() == "held\n"
    child.kill()
    child.communicate()
    openings = load(tmp_path)
    assert taken(openings.spent) == {"a": 1}
    take(openings, a=2)
    with pytest.raises(BudgetError):
        take(openings, a=2)


def test_a_write_that_fails_spends_nothing_on_disk(tmp_path, monkeypatch):
    """Killed before the new counters are in place: the old ones are whole, and no opening was made."""
    openings = load(tmp_path)
    take(openings, a=5)
    with monkeypatch.context() as patch:
        patch.setattr("os.replace", lambda *_: (_ for _ in ()).throw(OSError("killed")))
        with pytest.raises(OSError):
            take(openings, a=5)
    assert taken(load(tmp_path).spent) == {"a": 1}
    take(openings, a=5)
    assert taken(load(tmp_path).spent)["a"] in (2, 3)  # a unit may be wasted, never repeated


def test_a_fork_shares_counters_on_disk_or_has_none(tmp_path):
    child = python(FORKING, tmp_path)
    child.communicate()
    assert child.returncode == 0 and taken(load(tmp_path).spent) == {"b": 2}


def test_counters_are_not_copied():
    for act in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(RunError, match="two copies"):
            act(Openings("chain"))
