"""The main job in miniature: killed in the middle, resumed, verified; and the helpers that reports are made with."""

import contextlib
import json
import signal
import stat
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

import zkjax

ROOT = Path(__file__).resolve().parent.parent
EXPERIMENTS = ROOT / "experiments"
SMALL = ["--steps", "4", "--chunk", "2", "--accuracy-seeds", "1"]
COARSE = ["--step-tolerance", "1"]  # its own formats take tables of half a million rows, for few steps as for many

# The job, which ends by a kill once it has spent the openings of its second proof.
KILLED = """
import common, os, runpy, signal, sys

class Killed(common.Stopwatch):
    def __call__(self, phase, number, count):
        super().__call__(phase, number, count)
        if phase == "argument" and os.path.exists(os.path.join(sys.argv[2], "chunk-0000.proof")):
            os.kill(os.getpid(), signal.SIGKILL)

common.Stopwatch = Killed
runpy.run_path("digits.py", run_name="__main__")
"""


def job(out: Path, *options) -> int:
    """The main job in this process, which knows its kernels already: its exit status. What it prints is added to a log beside OUT."""
    import digits

    with (
        open(out.parent / "log", "a") as log,
        contextlib.redirect_stdout(log),
        contextlib.redirect_stderr(log),
        warnings.catch_warnings(action="default"),
    ):
        try:
            return digits.main(["--out", str(out), *options, *COARSE])
        except SystemExit as stopped:  # as the interpreter does
            print(stopped, file=log)
            return 1


@pytest.fixture(scope="module")
def resumed(tmp_path_factory):
    """OUT of a job that was killed in its second proof, and then started again; what was there after the kill."""
    out = tmp_path_factory.mktemp("digits") / "out"
    with open(out.parent / "log", "a") as log:
        command = [sys.executable, "-c", KILLED, "--out", str(out), *SMALL, *COARSE]
        killed = subprocess.run(command, stdout=log, stderr=subprocess.STDOUT, cwd=EXPERIMENTS)
    assert killed.returncode == -signal.SIGKILL, (out.parent / "log").read_text()
    killed = {"proof": (out / "chunk-0000.proof").read_bytes(), "report": json.loads((out / "report.json").read_text())}
    assert not (out / "chunk-0001.proof").exists()
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(EXPERIMENTS))
        assert job(out, *SMALL) == 0, (out.parent / "log").read_text()
        yield out, killed


def test_a_killed_job_goes_on_and_proves_nothing_twice(resumed):
    out, killed = resumed
    report = json.loads((out / "report.json").read_text())
    assert (out / "chunk-0000.proof").read_bytes() == killed["proof"]
    assert report["finished"] and len(report["sessions"]) == 2
    assert report["chunks"]["0"] == killed["report"]["chunks"]["0"]
    assert [(c["first_step"], c["steps"]) for c in report["chunks"].values()] == [(0, 2), (2, 2)]
    assert "going on in" in (out.parent / "log").read_text()
    spent = json.loads((out / "private" / "openings.json").read_text())["spent"]
    data = json.loads((out / "private" / "run.json").read_text())["chain"]["data"]["name"]
    weights = {name.split()[1]: count for name, count in spent.items() if not name.startswith(data)}
    # of each proof, and of the killed one: the third opening replaced those of step 2; the last weights were replaced to be evaluated, and
    # once more to be disclosed; the evaluation begins and ends, after its six steps, with nothing
    assert weights == {"0": 1, "2": 3, "2.1": 1, "4": 3, "4.1": 3, "4.2": 2, "6": 1}


def test_it_leaves_the_promised_files(resumed):
    out, _ = resumed
    assert {path.name for path in out.iterdir()} == {
        *("circuit.json", "source.json", "precision.json", "chunk-0000.proof", "chunk-0001.proof"),
        *("statement.json", "initial.disclosure", "report.json", "report.png", "private", "published"),
    }
    assert (out / "report.png").read_bytes().startswith(b"\x89PNG")
    assert stat.S_IMODE((out / "private").stat().st_mode) == 0o700
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in (out / "private").iterdir())


def test_its_proofs_verify_with_what_it_published(resumed):
    out, _ = resumed
    published = json.loads((out / "statement.json").read_text())
    circuit = zkjax.Circuit.load(out / "circuit.json")
    assert published["circuit"] == circuit.digest().hex()
    proofs = [zkjax.Proof.load(out / entry["file"]) for entry in published["proofs"]]
    pins = {name: published[name] for name in ("dataset", "seed", "steps")}
    pins |= {"initial": published["initial_weights"], "final": published["final_weights"]}
    statements = zkjax.verify(circuit, proofs, statement=zkjax.Published.load(out / "statement.json"), **pins)
    assert [s.to_json() for s in statements] == [entry["statement"] for entry in published["proofs"]]
    assert statements[-1].final_weights.hex() == published["final_weights"]


def test_its_circuit_is_traced_again_from_its_source(resumed, tmp_path):
    """By an auditor, who has shapes and the published formats; source.json names lines of the job."""
    out, _ = resumed
    source = f"import sys\n\nsys.path.insert(0, {str(EXPERIMENTS)!r})\nimport digits\n\n\ndef recipe():\n    return digits.recipe(4, 2)\n"
    (tmp_path / "few_steps.py").write_text(source)
    digest = json.loads((out / "statement.json").read_text())["circuit"]
    command = [sys.executable, "-m", "zkjax", "trace", str(tmp_path / "few_steps.py"), "--precision", str(out / "precision.json")]
    done = subprocess.run([*command, "--expect", digest], capture_output=True, text=True, cwd=ROOT)
    assert (done.returncode, done.stderr) == (0, "") and "SAME" in done.stdout
    done = subprocess.run([*command[:4], str(EXPERIMENTS / "digits.py"), *command[5:], "--expect", digest], capture_output=True, text=True)
    assert done.returncode == 1  # of another number of steps
    lines = json.loads((out / "source.json").read_text())
    assert lines["circuit"] == digest and sum("digits.py:" in line for line in lines["lines"]) > 20


def test_its_folder_shows_what_the_report_quotes(resumed):
    """To anybody, with the disclosed model and data; nothing private is in it."""
    out, _ = resumed
    found, report = zkjax.check(out / "published"), json.loads((out / "report.json").read_text())
    assert found.sentence == report["sentence"] and list(found.gaps) == report["gaps"]
    assert "(1,437 samples, disclosed)" in found.sentence and "of the 360 samples of the test set" in found.sentence
    assert "for 4 steps of 32 samples" in found.sentence and "from weights drawn from key 0 by 4 distributions;" in found.sentence
    assert {path.name for path in (out / "published").iterdir()} == {
        *("circuit.json", "source.json", "precision.json", "chunk-0000.proof", "chunk-0001.proof", "statement.json"),
        *("link-0000.proof", "link-0001.proof", "test", "model.safetensors", "model.disclosure", "data.npz", "data.disclosure"),
        *("drawing.json", "initial.disclosure"),
    }


def test_its_report_has_the_figures(resumed):
    out, _ = resumed
    report = json.loads((out / "report.json").read_text())
    figures, seed = report["figures"], report["seeds"][0]
    assert figures["parameters"] == 5018 and figures["steps"] == 4 and len(report["seeds"]) == 1
    assert figures["proof_bytes"] == [(out / f"chunk-{n:04d}.proof").stat().st_size for n in (0, 1)]
    assert figures["security_bits_per_proof"] >= 100
    assert all(abs(a - b) < 0.01 for a, b in zip(seed["float_losses"], seed["fixed_losses"], strict=True))
    assert all(0 < sum(c["phases"].values()) <= c["seconds"] for c in report["chunks"].values())
    assert [attempt["exit_status"] for attempt in report["tampered"]] == [1, 1]
    assert {"machine", "python", "versions", "commit", "settings"} <= set(report)


def test_it_refuses_to_go_on_with_other_settings(resumed):
    out, _ = resumed
    before = (out / "report.json").read_bytes()
    assert job(out, "--steps", "6", "--chunk", "2", "--accuracy-seeds", "1") == 1
    assert "--fresh" in (out.parent / "log").read_text().splitlines()[-1]
    assert (out / "report.json").read_bytes() == before


def test_a_finished_job_proves_nothing_again(resumed):
    out, _ = resumed
    before = {path.name: path.read_bytes() for path in [*out.glob("*.proof"), out / "private/openings.json"]}
    assert job(out, *SMALL) == 0
    assert before == {path.name: path.read_bytes() for path in [*out.glob("*.proof"), out / "private/openings.json"]}
    assert json.loads((out / "report.json").read_text())["finished"]


# ---- helpers --------------------------------------------------------------------------------------------------


@pytest.fixture
def common(monkeypatch):
    monkeypatch.syspath_prepend(str(EXPERIMENTS))
    import common

    return common


def test_the_environment_is_described(common):
    told = common.environment()
    assert json.loads(json.dumps(told)) == told
    assert told["machine"]["cores"] >= 1 and told["versions"]["zkjax"] == zkjax.__version__


def test_the_commit_is_read_from_gits_files(common, tmp_path):
    assert common.commit(tmp_path) is None
    git = tmp_path / ".git"
    (git / "refs/heads").mkdir(parents=True)
    (git / "HEAD").write_text("ref: refs/heads/main\n")
    assert common.commit(tmp_path) is None
    (git / "packed-refs").write_text(f"# pack-refs\n{'a' * 40} refs/heads/main\n")
    assert common.commit(tmp_path) == "a" * 40
    (git / "refs/heads/main").write_text("b" * 40 + "\n")
    assert common.commit(tmp_path) == "b" * 40
    (git / "HEAD").write_text("c" * 40 + "\n")
    assert common.commit(tmp_path) == "c" * 40


def test_a_process_is_measured_by_itself(common):
    ballast = b"x" * 200_000_000  # a child started by fork would count it
    done = common.run_process([sys.executable, "-c", "import time; print('out'); time.sleep(0.2); raise SystemExit('err')"])
    assert (done.status, done.output, done.errors) == (1, "out\n", "err\n") and done.seconds >= 0.2
    assert done.peak_memory is None or done.peak_memory < len(ballast) < common.peak_memory()


def test_files_are_replaced_whole(common, tmp_path):
    common.write_json(tmp_path / "report.json", {"a": 1})
    common.write_json(tmp_path / "report.json", {"a": 2})
    assert json.loads((tmp_path / "report.json").read_text()) == {"a": 2}
    assert [path.name for path in tmp_path.iterdir()] == ["report.json"]


def test_phases_are_timed(common):
    seen = []
    watch = common.Stopwatch(seen.append)
    for number, phase in enumerate(("one", "two", "done"), start=1):
        watch(phase, number, 3)
    assert seen == ["one", "two", "done"] and list(watch.seconds) == ["one", "two"]


def test_columns(common):
    assert common.columns([("a", "1.0 s"), ("long name", "10.0 s")]) == "a           1.0 s\nlong name  10.0 s"
