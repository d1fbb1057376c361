"""A training in a folder: it goes on from any state of the disk, and its proofs are counted before anybody has them."""

import json
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from folders import CHUNK, SEED, SHARD, Watched, begun, digest, holds, proven, traced
from harness import BITS, verify_small
from test_command_line import command

import zkjax
from zkjax.errors import FormatError, RunError

STEPS = 8
pytestmark = pytest.mark.usefixtures("geometry")


# ---- training ---------------------------------------------------------------------------------------------------------
def test_it_trains_what_train_trains(folder, net):
    circuit, params, data = net
    whole = zkjax.train(circuit, params, data, steps=STEPS, seed=SEED, shard_size=SHARD, progress=None)
    training = zkjax.Training(folder)
    assert training.chunks == STEPS // CHUNK and training.steps == STEPS and training.losses == whole.losses
    assert all(np.array_equal(a, b) for a, b in zip(training.last.final, whole.final, strict=True))
    assert training.last.kept is None  # it holds nothing of its steps
    lasts = begun(folder, *net).last.params  # as the pytree that was given
    assert [x["w"].shape for x in lasts] == [x["w"].shape for x in params]
    with pytest.raises(RunError, match="chunk 4 is not trained yet"):
        training.run(4)


def test_it_goes_on_where_it_ended(tmp_path, folder, net):
    told = []
    for steps in (2, 6, 6, STEPS):
        begun(tmp_path / "slow", *net).train(steps, progress=lambda *now: told.append(now))
    assert told == [*((n, 2) for n in (1, 2)), *((n, 6) for n in range(3, 7)), *((n, STEPS) for n in range(7, STEPS + 1))]
    ends = [zkjax.Training(path).last.final for path in (folder, tmp_path / "slow")]
    assert all(np.array_equal(a, b) for a, b in zip(*ends, strict=True))
    zkjax.Training(folder).train(STEPS + 2, progress=None)  # without data: it has its own
    assert zkjax.Training(folder).steps == STEPS + 2


def test_states_that_are_not_kept_are_computed_again(tmp_path, folder, net):
    training = begun(tmp_path / "sparse", *net)
    training.train(STEPS, keep_every=3, progress=None)
    assert len(list((tmp_path / "sparse/private").glob("weights-*"))) == 3 < len(list((folder / "private").glob("weights-*"))) == 5
    for number in range(training.chunks):
        found, kept = training.run(number), zkjax.Training(folder).run(number)
        for a, b in ((found.initial, kept.initial), (found.final, kept.final)):
            assert all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))


def test_validation_and_a_rule_to_stop(tmp_path, net):
    """The rule reads exact losses, those of before a kill as well; asked again, it stays with its answer."""
    seen = []

    def stop(losses):
        seen.append(len(losses))
        return len(losses) >= 6

    for _ in range(2):
        begun(tmp_path / "run", *net).train(4, stop=stop, progress=None)
    training = begun(tmp_path / "run", *net)
    last = training.train(100, stop=stop, validate=lambda run: {"largest": max(float(abs(x).max()) for x in run.final)}, progress=None)
    assert (training.steps, last.first_step + last.steps, seen) == (6, 6, [2, 4, 4, 6])
    assert training.train(100, stop=stop, progress=None).first_step == 4 and training.steps == 6
    assert [event["step"] for event in training.validated] == [6] and training.validated[0]["largest"] > 0
    assert training.standing().goal == 6


def test_memory_does_not_grow_with_steps(tmp_path, net):
    """A run is let go before the next one is kept."""
    import gc
    import weakref

    alive, most = weakref.WeakSet(), 0

    def look(run):
        nonlocal most
        alive.add(run)
        gc.collect()
        most = max(most, len(alive))

    begun(tmp_path / "run", *net).train(2 * STEPS, validate=look, progress=None)
    assert most <= 2


def test_what_does_not_belong_is_refused(tmp_path, folder, net):
    circuit, params, data = net
    other, *_ = traced(STEPS, 1 / 16)
    with pytest.raises(RunError, match="give circuit, params, data and chunk to begin one"):
        zkjax.Training(tmp_path / "nothing")
    with pytest.raises(RunError, match="the training here is of another circuit"):
        begun(folder, other, params, data)
    with pytest.raises(RunError, match="chunks of 2 steps, not 3"):
        zkjax.Training(folder, chunk=3)
    with pytest.raises(RunError, match="trained on other data"):
        begun(folder, circuit, params, tuple(x[::-1] for x in data)).train(STEPS + 2, progress=None)
    with pytest.raises(RunError, match="with seed 1, not 7"):
        zkjax.Training(folder, seed=7).train(STEPS + 2, progress=None)
    with pytest.raises(RunError, match="saves its runs itself"):
        zkjax.Training(folder).last.save(folder / "private")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/circuit.json").write_text("{}")
    with pytest.raises(RunError, match="another circuit.json is here"):
        begun(tmp_path / "mine", *net)
    assert zkjax.Training(folder).steps == STEPS


def test_damaged_files_are_refused_by_name(folder, tmp_path):
    """Halves of files, files of other folders, and files that are missing."""
    private = folder / "private"
    first = json.loads((private / "chunk-000000.json").read_text())
    damages = {
        private / "chunk-000002.json": "not a JSON file",
        private / first["states"][0]: "not a file of arrays",
        private / first["data"]: "not a file of arrays",
        folder / "circuit.json": "circuit.json",
        private / "settings.json": "not a JSON file",
        private / "openings.json": "not a JSON file",
    }
    for path, told in damages.items():
        raw = path.read_bytes()
        path.write_bytes(raw[: len(raw) // 2])
        with pytest.raises((FormatError, RunError), match=told):
            zkjax.Training(folder).run(0), zkjax.Training(folder).run(2)
        path.write_bytes(raw)
    for name, told in (("chunk-000002.json", "000002.json is missing"), ("openings.json", "openings.json is missing")):
        shutil.move(private / name, tmp_path / name)
        with pytest.raises(RunError, match=told):
            zkjax.Training(folder).train(STEPS + 2, progress=None)
        shutil.move(tmp_path / name, private / name)
    states = first["states"]
    shutil.copy(private / states[1], private / states[0])
    with pytest.raises(RunError, match="weights were altered"):
        zkjax.Training(folder).run(0)


# ---- proving ----------------------------------------------------------------------------------------------------------
def test_all_chunks_are_proven_and_verify(folder, net):
    """Later than they were trained, in another process' stead; what proofs replaced joins them."""
    told = []
    found = zkjax.prove_all(str(folder), reveal=("loss",), minimum_bits=BITS, progress=lambda *now: told.append(now))
    assert [path.name for path in found] == [f"chunk-{n:06d}.proof" for n in range(STEPS // CHUNK)] and told[-1] == (4, 4)
    statements = verify_small(net[0], map(zkjax.Proof.load, found))
    assert sum(bool(s.links) for s in statements) >= 1  # the data's openings came to an end on the way
    assert [net[0].exact_loss(row) for s in statements for row in zip(*s.losses)] == zkjax.Training(folder).losses
    holds(folder, net[0], STEPS)
    before = [digest(path) for path in found]
    assert [digest(path) for path in proven(folder)] == before  # nothing is left to do
    assert all(path.stat().st_mode & 0o777 == 0o644 for path in found)


def test_a_run_of_it_is_like_any_other(folder, net):
    """Evaluated, disclosed, linked: its counters are the folder's."""
    proven(folder)
    last = zkjax.Training(folder).last
    assert zkjax.link(last, ("final",), minimum_bits=BITS)
    counters = json.loads((folder / "private/openings.json").read_text())
    assert counters["spent"][f"{last.keys[1].name} {STEPS}.1 parameters"] == 1
    zkjax.Training(folder).train(STEPS + 2, progress=None)
    proofs = [*map(zkjax.Proof.load, proven(folder))]
    with pytest.raises(zkjax.VerificationError, match="does not start from the weights"):
        verify_small(net[0], proofs)  # the link's own proof is missing


def test_openings_are_counted_before_a_proof_is_seen(folder, monkeypatch):
    """Whenever something appears in proofs/, its hash and its units are on the disk; before, nothing is spent."""
    seen, replace, counters = [], os.replace, folder / "private/openings.json"

    def watching(source, target):
        if os.path.dirname(target) == str(folder / "proofs"):
            found = json.loads(counters.read_text())
            assert digest(source) in found["published"].values()
            seen.append(sum(found["spent"].values()))
        elif os.path.dirname(target) == str(folder / "private/proven") and not seen:
            assert not json.loads(counters.read_text())["spent"]
        replace(source, target)

    monkeypatch.setattr(os, "replace", watching)
    assert len(proven(folder)) == 4
    assert len(seen) == 4 and seen == sorted(set(seen))


def test_commitments_that_something_else_opens_meanwhile(folder, net, monkeypatch):
    """A proof that opens what is no longer in use is dropped, takes nothing, and is made again."""
    proven_before, original = [], zkjax.training.proving.execute

    def execute(order):
        done = original(order)
        if not proven_before:
            proven_before.append(zkjax.link(zkjax.Training(folder).run(0), ("initial",), minimum_bits=BITS))
        return done

    monkeypatch.setattr("zkjax.training.proving.execute", execute)
    found = [*map(zkjax.Proof.load, proven(folder))]
    verify_small(net[0], [*found, *proven_before])
    assert found[0].statement.initial.root == proven_before[0].statement.fresh[0].root


def test_a_proof_that_was_lost_is_made_again(folder, net):
    found = proven(folder)
    before = digest(found[1])
    found[1].unlink()
    assert digest(proven(folder)[1]) != before
    verify_small(net[0], map(zkjax.Proof.load, found))


def test_a_proof_that_somebody_altered_is_refused(folder):
    found = proven(folder)
    found[1].write_bytes(found[2].read_bytes())
    with pytest.raises(RunError, match="chunk-000001.proof is not the proof that was published; move it away"):
        proven(folder)


def test_a_file_that_is_no_proof_of_its_chunk_is_refused(folder, tmp_path):
    """It is not there by this training, or its counters are not those that allowed it."""
    (folder / "proofs/chunk-000000.proof").write_bytes(b"something else")
    with pytest.raises(RunError, match="chunk-000000.proof: no proof of this chunk that the counters here could have allowed"):
        proven(folder)


def test_counters_that_were_restored_learn_from_published_proofs(folder, net):
    """A backup of the private directory is older than what the world has seen."""
    shutil.copytree(folder / "private", folder / "backup")
    found = proven(folder, reveal=("loss",))
    before = [digest(path) for path in found]
    spent = json.loads((folder / "private/openings.json").read_text())["spent"]
    shutil.rmtree(folder / "private")
    shutil.move(folder / "backup", folder / "private")
    assert [digest(path) for path in proven(folder)] == before
    assert json.loads((folder / "private/openings.json").read_text())["spent"] == spent
    holds(folder, net[0], STEPS)


# ---- locks, disks -----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("what", ["training", "proving"])
def test_one_process_at_a_time(folder, what):
    training = zkjax.Training(folder)
    with training.alone(what):
        act = {"training": lambda: zkjax.Training(folder).train(STEPS + 2), "proving": lambda: proven(folder)}
        with pytest.raises(RunError, match=f"process {os.getpid()} is {what} in this folder already"):
            act[what]()
        assert (training.standing().training, training.standing().proving) == (what == "training", what == "proving")
    assert training.steps == STEPS and not training.proofs


def full(*_):
    raise OSError(28, "No space left on device")


def test_a_full_disk(folder, net, monkeypatch):
    """Training and proving say so; with room again they go on."""
    for act in (
        lambda: zkjax.Training(folder).train(STEPS + 2, progress=None),
        lambda: proven(folder),
        lambda: begun(folder / "new", *net),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", full)
            with pytest.raises(RunError, match="cannot be written to .*No space left.*make room"):
                act()
    begun(folder, *net).train(STEPS + 2, progress=None)
    proven(folder)
    holds(folder, net[0], STEPS + 2)


def test_a_folder_that_cannot_be_written_to(folder, monkeypatch):
    """It can be looked at."""
    original = os.open

    def refusing(path, flags, *rest, **named):
        if flags & (os.O_CREAT | os.O_WRONLY | os.O_RDWR) and str(folder) in os.fspath(path):
            raise OSError(30, "Read-only file system")
        return original(path, flags, *rest, **named)

    monkeypatch.setattr(os, "open", refusing)
    for act in (lambda: zkjax.Training(folder).train(STEPS + 2), lambda: proven(folder)):
        with pytest.raises(RunError, match="Read-only file system"):
            act()
    assert zkjax.Training(folder).standing().steps == STEPS


# ---- kills ------------------------------------------------------------------------------------------------------------
class Killed(BaseException):
    """In the place of a process that ends: nothing goes on after it, and what it was writing is cut."""


class Killing:
    """Ends at the nth change of the disk: before it, or, of a file that is being written, with half of it there."""

    NAMES = ("fsync", "replace", "unlink", "write", "chmod")

    def __init__(self, patch, left: int):
        self.left, self.patch = left, patch
        self.original = {name: getattr(os, name) for name in self.NAMES}

    def __enter__(self):
        for name in self.NAMES:
            self.patch.setattr(os, name, lambda *a, name=name, **b: self.act(name, *a, **b))
        return self

    def __exit__(self, kind, *_):
        for name, original in self.original.items():
            self.patch.setattr(os, name, original)
        return kind is Killed

    def act(self, name, *arguments, **named):
        self.left -= 1
        if self.left <= 0:
            if name == "fsync" and self.left == 0 and os.fstat(arguments[0]).st_size and not os.path.isdir(f"/proc/self/fd/{arguments[0]}"):
                os.ftruncate(arguments[0], os.fstat(arguments[0]).st_size // 2)
            if name == "write" and self.left == 0:
                self.original[name](arguments[0], arguments[1][: len(arguments[1]) // 2])
            raise Killed
        return self.original[name](*arguments, **named)


def through(folder, net, patch, steps, moments) -> int:
    """Train and prove to the end, killed after so many changes of the disk each time. Returns how often."""
    for kills, moment in enumerate(moments):
        with Killing(patch, moment):
            training = begun(folder, *net)
            training.train(steps, progress=None)
            proven(training)
            return kills
    raise AssertionError("it never came to its end")


def test_killed_again_and_again(tmp_path, net, monkeypatch):
    draw = random.Random(0)
    with Watched() as watched:
        kills = through(tmp_path / "run", net, monkeypatch, 6, (draw.randrange(1, 40) for _ in range(1000)))
    assert kills > 3 and set(watched.traces.values()) == {1}
    holds(tmp_path / "run", net[0], 6)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(8))
def test_killed_at_every_change_of_the_disk(tmp_path, net, monkeypatch, seed):
    """Once at each, in a training of three chunks: the first kill at the nth change, later ones at random."""
    draw = random.Random(seed)
    for first in range(1 + seed, 120, 8):
        moments = [first, *(draw.randrange(1, 60) for _ in range(1000))]
        with Watched() as watched:
            through(tmp_path / f"{first}", net, monkeypatch, 6, moments)
        assert set(watched.traces.values()) == {1}
        holds(tmp_path / f"{first}", net[0], 6)


def test_a_proof_that_was_left_waiting(folder, net, monkeypatch):
    """Verified by a process that was killed before it was counted: published as it is; a damaged one is made again."""
    with monkeypatch.context() as patch:
        patch.setattr("zkjax.commitment.openings.Openings.publish", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            proven(folder)
    (waiting,) = (folder / "private/proven").iterdir()
    left = digest(waiting)
    shutil.copytree(folder, folder.parent / "damaged")
    assert digest(proven(folder)[0]) == left
    damaged = folder.parent / "damaged/private/proven" / waiting.name
    damaged.write_bytes(damaged.read_bytes()[:-1])
    assert digest(proven(folder.parent / "damaged")[0]) != left


# ---- python -m zkjax status ---------------------------------------------------------------------------------------------
def test_status(folder, tmp_path, net):
    status, output, _ = command("status", str(folder))
    assert status == 0 and f"{STEPS} of {STEPS}" in output and "openings left of the dataset's commitment" in output and "4 of 4" in output
    proven(folder)
    status, output, _ = command("status", str(folder), "--json")
    found = json.loads(output)
    assert (found["steps"], found["chunks"], found["published"], found["waiting"]) == (STEPS, 4, 4, 0)
    left, of, replaced = found["dataset"]
    assert 0 < left <= of == 4 and replaced == 1 and found["seconds_to_prove"] == 0
    assert "done" in command("status", str(folder))[1] and "replaced 1 time" in command("status", str(folder))[1]
    assert str(zkjax.Training(folder).standing()) == str(zkjax.Training(folder))
    assert command("status", str(tmp_path))[0] == 2 and "no training is here" in command("status", str(tmp_path))[2]
    assert command("status", str(tmp_path / "nothing"))[0] == 2
    begun(tmp_path / "new", *net)
    assert "0 of 0" in command("status", str(tmp_path / "new"))[1]
    (folder / "private/openings.json").write_text("{}")
    assert command("status", str(folder))[0] == 2


@pytest.mark.slow
def test_killed_by_the_system():
    """``tests/kills.py`` in small."""
    command = [sys.executable, str(Path(__file__).with_name("kills.py")), "--kills", "10", "--seed", "1"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0 and "came to their end" in done.stdout, done.stdout + done.stderr
