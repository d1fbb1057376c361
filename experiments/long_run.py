"""A long training: trained, killed and gone on with, proven meanwhile by a cluster on this machine, verified at the end.

    python experiments/long_run.py            # 16 steps, in two minutes
    python experiments/long_run.py --full     # 1,008 steps of Adam

The net, the data and the optimizer are those of ``digits.py``, the formats those that ``zkjax.calibrate`` proposes for a chain of so many
steps: a long training outgrows ranges that its first batch suggests. Three processes work on one folder, OUT/training: one trains, one
proves by two Dask workers while training runs ahead, and this one watches, kills, and starts again what it has killed: the trainer twice,
a worker in mid-proof, and the process that owns the proofs. At the end the command line verifies all proofs, and openings are counted.

OUT gets precision.json, long_run.json, long_run.md and long_run.png: what was trained and proven when, the kills, memory, bytes.
"""

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import digits
from common import peak_memory, run_process, write_json
from report import BLUE, GREEN, RED, Record, bytes_text, figure, parse_options, seconds_text, table

import zkjax

WORKERS = 2
LOOK = 0.1  # seconds between two looks at the folder
SEED = 0
PRECISION = "precision.json"
TRIED, TOLERANCE = 16, 0.1  # of the calibration: its steps, of a warm-up, and how far off their update may be


def settings_of(full: bool) -> dict:
    return {"steps": 1008, "chunk": 48} if full else {"steps": 16, "chunk": 4}


def choose_formats(out: Path, steps: int, chunk: int) -> None:
    """For the whole chain, once: all processes trace the same circuit from them."""
    data, _ = digits.load_data()
    params, _ = digits.initial_params(SEED)
    recipe, lasting = digits.recipe(steps, chunk), {"batch_size": digits.BATCH, "steps": min(TRIED, steps), "chunk": chunk, "chain": steps}
    found = zkjax.calibrate(recipe.loss, recipe.optimizer, params, data, **lasting, tolerance=TOLERANCE)
    out.mkdir(parents=True, exist_ok=True)
    found.precision.save(out / PRECISION)


def training(out: Path, steps: int, chunk: int) -> zkjax.Training:
    """Begun, or gone on with: the circuit is traced again, and has to be the same."""
    data, _ = digits.load_data()
    params, _ = digits.initial_params(SEED)
    circuit = digits.recipe(steps, chunk).trace(zkjax.Precision.load(out / PRECISION))
    return zkjax.Training(out / "training", circuit, params, data, chunk=chunk, seed=SEED)


def train(out: Path, steps: int, chunk: int) -> None:
    """The process that trains. It shows the accuracy on the test set as it goes."""
    _, test = digits.load_data()
    training(out, steps, chunk).train(steps, validate=lambda run: {"accuracy": digits.accuracy(run.params, test)}, progress=None)


def prove(out: Path, steps: int, chunk: int) -> None:
    """The process that owns the proofs, with its scheduler and its workers."""
    import logging

    from distributed import Client, LocalCluster

    options = {"n_workers": WORKERS, "threads_per_worker": 1, "host": "127.0.0.1", "dashboard_address": None}
    with LocalCluster(**options, local_directory=out / "spilled", silence_logs=logging.CRITICAL) as cluster, Client(cluster) as client:
        while not (out / "training/private/settings.json").exists():
            time.sleep(LOOK)
        while True:  # a trainer that was killed is started again
            write_json(out / "workers.json", sorted(worker["pid"] for worker in client.run(lambda: {"pid": os.getpid()}).values()))
            zkjax.prove_all(out / "training", client.get_executor(), reveal=("loss",), at_once=2 * WORKERS, follow=True, progress=None)
            if zkjax.Standing.of(out / "training").steps >= steps:
                return
            time.sleep(LOOK)


class Role:
    """One of the processes, started again after each kill. log: where its output goes."""

    def __init__(self, name: str, out: Path, options: list[str]):
        self.name, self.kills, self.peak = name, 0, 0
        self._command, self._log = [sys.executable, __file__, "--role", name, "--out", str(out), *options], out / f"{name}.log"
        self.start()

    def start(self) -> None:
        with open(self._log, "a", encoding="utf-8") as log:
            self.process = subprocess.Popen(self._command, stdout=log, stderr=subprocess.STDOUT)

    def look(self) -> bool:
        """Whether it is still at work; an end that nobody asked for is an error."""
        self.peak = max(self.peak, peak_memory(self.process.pid) or 0)
        if self.process.poll() is None:
            return True
        if self.process.returncode:
            raise SystemExit(f"error: the process that {self.name}s ended with {self.process.returncode}; see {self._log}")
        return False

    def kill(self) -> None:
        """As the system would, and start it again."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self.kills += 1
        self.start()


def watched(out: Path, steps: int, chunk: int, options: list[str]) -> dict:
    """Everything until all is proven: what happened when, with the kills."""
    folder, count = out / "training", -(-steps // chunk)
    trainer, prover = Role("train", out, options), Role("prove", out, options)
    # (when: chunks that are trained, or proofs that are published; what is killed)
    plan = [("trained", count // 3, "trainer"), ("published", 1, "worker"), ("published", count // 2, "prover")]
    plan.append(("trained", 2 * count // 3, "trainer"))
    begin, curve, kills = time.perf_counter(), [], []
    try:
        while True:
            at_work = [trainer.look(), prover.look()]
            found = {"trained": len([*folder.glob("private/chunk-*.json")]), "published": len([*folder.glob("proofs/*.proof")])}
            now = time.perf_counter() - begin
            if not curve or curve[-1][1:] != [found["trained"] * chunk, found["published"] * chunk]:
                curve.append([now, min(steps, found["trained"] * chunk), min(steps, found["published"] * chunk)])
            due = next((x for x in plan if found[x[0]] >= x[1]), None)
            if due is not None:
                plan.remove(due)
                if kill(due[2], trainer, prover, out):
                    kills.append([now, due[2]])
            if not any(at_work):
                return {"curve": curve, "kills": kills, "seconds": now, "peaks": {"train": trainer.peak, "prove": prover.peak}}
            time.sleep(LOOK)
    finally:
        for role in (trainer, prover):
            if role.process.poll() is None:
                role.process.kill()


def kill(what: str, trainer: Role, prover: Role, out: Path) -> bool:
    """Kill it, if it is at work."""
    if what == "worker":
        pids = json.loads((out / "workers.json").read_text(encoding="utf-8"))
        os.kill(pids[0], signal.SIGKILL)
        return True
    role = trainer if what == "trainer" else prover
    if role.process.poll() is not None:
        return False
    role.kill()
    return True


def checked(out: Path, steps: int) -> dict:
    """What a stranger's command says of the proofs, and how often they open each commitment."""
    folder = out / "training"
    proofs = sorted(map(str, (folder / "proofs").iterdir()))
    command = [sys.executable, "-m", "zkjax", "verify", *proofs, "--circuit", str(folder / "circuit.json"), "--steps", f"0:{steps}"]
    done = run_process([*command, "--json"])
    if done.status:
        raise SystemExit(f"{done.errors}\nerror: the verifier refused the proofs with exit status {done.status}")
    told, opened = json.loads(done.output), Counter()
    for path in proofs:
        opened.update((x.commitment.root, part.name) for x in zkjax.Proof.load(path).statement.opened() for part in x.parts)
    sizes = [os.path.getsize(path) for path in proofs]
    return {"bits": told["bits"], "verify_seconds": told["seconds"], "bytes": sizes, "opened": max(opened.values())}


def events_of(out: Path) -> dict:
    """Figures of the folder's own log."""
    found = zkjax.Training(out / "training").records.events()
    of = {name: [e for e in found if e["event"] == name] for name in ("trained", "proven", "failed", "refused", "validated")}
    return {
        "step_seconds": statistics.median(e["seconds"] / e["steps"] for e in of["trained"]),
        "proof_seconds": statistics.median(e["worker_seconds"] for e in of["proven"]),
        "workers": len({e["worker"] for e in of["proven"]}),
        "failed": len(of["failed"]),
        "refused": len(of["refused"]),
        "accuracy": of["validated"][-1]["accuracy"],
    }


def plot(path: Path, figures: dict, steps: int) -> None:
    """Training and proving over time, with the kills."""
    times, trained, published = zip(*figures["curve"])
    with figure(path, 1, 1, size=(7.0, 4.0)) as (_, (axis,)):
        for values, colour, name in ((trained, BLUE, "trained"), (published, GREEN, "proven, verified, published")):
            axis.step([*times, figures["seconds"]], [*values, values[-1]], where="post", color=colour, label=name)
        for number, (at, what) in enumerate(figures["kills"]):
            axis.axvline(at, color=RED, linewidth=1, linestyle=":", label="killed" if not number else None)
            axis.text(at, 0.02 * steps, f" {what}", rotation=90, color=RED, fontsize="small", va="bottom")
        axis.set(xlabel="seconds", ylabel="steps", title="One folder: training runs ahead of proving, through kills", ylim=(0, None))
        axis.legend(frameon=False)


def experiment(parsed) -> int:
    out, settings = parsed.out, settings_of(parsed.full)
    options = ["--full"] * parsed.full
    record = Record(out, "long_run", seed=SEED, settings=settings, fresh=parsed.fresh)
    if (out / "training").exists() and "run" not in record.figures:
        raise SystemExit(f"error: {out / 'training'} is there already; choose another --out, or remove it")
    if not (out / PRECISION).exists():
        choose_formats(out, **settings)
    run = record.measured("run", lambda: watched(out, **settings, options=options))
    proofs = record.measured("proofs", lambda: checked(out, settings["steps"]))
    events = record.measured("events", lambda: events_of(out))
    killed = Counter(what for _, what in run["kills"])
    rows = [
        ["steps, chunks", f"{settings['steps']:,}, {len(proofs['bytes'])}"],
        ["killed: trainer, worker, owner of the proofs", f"{killed['trainer']}, {killed['worker']}, {killed['prover']}"],
        ["everything, kills and starts included", seconds_text(run["seconds"])],
        ["exact training, a step", seconds_text(events["step_seconds"])],
        ["proving, a chunk, by one of the workers", seconds_text(events["proof_seconds"])],
        ["worker processes that proved", f"{events['workers']}"],
        ["proofs refused, attempts that failed", f"{events['refused']}, {events['failed']}"],
        ["verifying all proofs", seconds_text(proofs["verify_seconds"])],
        ["proofs, all", bytes_text(sum(proofs["bytes"]))],
        ["openings of a commitment, at most", f"{proofs['opened']}"],
        ["proven security of the chain", f"{proofs['bits']:.1f} bits"],
        ["peak memory: training, owner of the proofs", f"{bytes_text(run['peaks']['train'])}, {bytes_text(run['peaks']['prove'])}"],
        ["accuracy on the test set", f"{100 * events['accuracy']:.1f} %"],
    ]
    plot(out / "long_run.png", run, settings["steps"])
    print(record.write("A long training, killed and gone on with", [table(["", "value"], rows), "![](long_run.png)"]))
    return 0


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--role", choices=("train", "prove"), help="one of the processes that this starts")
    parsed = parse_options(parser, "long_run", arguments)
    if parsed.role:
        {"train": train, "prove": prove}[parsed.role](parsed.out, **settings_of(parsed.full))
        return 0
    return experiment(parsed)


if __name__ == "__main__":
    sys.exit(main())
