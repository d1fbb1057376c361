"""What a proven evaluation costs: cold, warm, bytes, memory, verifying.

    python experiments/evaluation.py [--only digits | images] [--repeat N] [--out DIR]

Two jobs, each in a process of its own: scikit-learn's 360 test digits with the main job's MLP 64-48-32-10, and 10,000 pictures of 28 by 28
with an MLP 784-128-10; both with a confusion matrix. The pictures are MNIST's test set where it is on this machine (``images.py`` says
which files are looked for), else digits of scikit-learn's test set, three times as wide and high, each at a place that a seed picks.
Each net is trained a few steps first: what an evaluation costs does not depend on the weights.

Cold: the first evaluation of a process that has proven nothing before, tracing and compiling included; a ``--cache`` that an earlier
process filled spares most of the compiling. Warm: the median of those after it. Verifying is the command line's, in a process of its own.
OUT gets evaluation.json.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

import digits
import images
import jax
import numpy as np
import optax
from common import Stopwatch, columns, environment, peak_memory, reset_peak_memory, run_process, write_json

import zkjax

SAMPLES, SIDE, HIDDEN, CLASSES = 10_000, 28, 128, 10
STEPS = 4  # of the training before


def pictures() -> images.Images:
    """MNIST, or enlarged digits that are moved about."""
    found = images.find()
    if found is not None and found.x.shape[1] == SIDE * SIDE and found.classes <= CLASSES and len(found.x_test) >= SAMPLES:
        return found
    found, rng = images.digits(), np.random.default_rng(0)

    def moved(x, y, count):
        picked = rng.integers(0, len(x), count)
        large = np.kron(x[picked].reshape(-1, 8, 8), np.ones((1, 3, 3), np.float32))
        at, room = rng.integers(0, SIDE - 24 + 1, (count, 2)), np.zeros((count, SIDE, SIDE), np.float32)
        for place, (row, column), picture in zip(room, at, large, strict=True):
            place[row : row + 24, column : column + 24] = picture
        return room.reshape(count, -1), y[picked]

    return images.Images("digits, enlarged and moved", *moved(found.x, found.y, 2_000), *moved(found.x_test, found.y_test, SAMPLES))


def logits(params, x):
    hidden = jax.nn.relu(x @ params["first"] + params["bias"])
    return hidden @ params["second"] + params["last"]


def mlp():
    """First weights of 784-128-10."""
    rng = np.random.default_rng(0)
    first, second = (rng.normal(size=s) / np.sqrt(s[0]) for s in ((SIDE * SIDE, HIDDEN), (HIDDEN, CLASSES)))
    params = {"first": first, "bias": np.zeros(HIDDEN), "second": second, "last": np.zeros(CLASSES)}
    return {name: x.astype(np.float32) for name, x in params.items()}


def job(name: str):
    """(name of the data, its test set, metrics, and what trains a run anew, with commitments that nothing has opened)."""
    if name == "digits":
        data, test = digits.load_data()
        (params, _), loss, optimizer, metrics = digits.initial_params(0), digits.loss, digits.optimizer(STEPS), digits.metrics
        called = "digits"
    else:
        found = pictures()
        data, test = (found.x, found.y.astype(np.int32)), (found.x_test[:SAMPLES], found.y_test[:SAMPLES].astype(np.int32))
        params, optimizer, called = mlp(), optax.sgd(1 / 32), found.name

        def loss(params, x, y):
            return optax.softmax_cross_entropy_with_integer_labels(logits(params, x), y).mean()

        def metrics(params, x, y):
            return zkjax.classified(logits(params, x), y)

    circuit = zkjax.trace(loss, optimizer, params, batch=tuple(x[:32] for x in data), steps=STEPS, chunk=STEPS)
    return called, test, metrics, lambda: zkjax.train(circuit, params, data, steps=STEPS, progress=None)


def measure(name: str, repeat: int) -> dict:
    """All figures of a job, in this process."""
    called, test, metrics, trained = job(name)
    runs = [trained() for _ in range(repeat + 1)]
    reset_peak_memory()
    seconds, phases = [], []
    for run in runs:
        watch, started = Stopwatch(), time.perf_counter()
        found = zkjax.evaluate(run, metrics, test, progress=watch)
        seconds.append(time.perf_counter() - started)
        phases.append(watch.seconds)
    counts = found.circuit.counts(found.run.steps)
    with tempfile.TemporaryDirectory() as directory:
        circuit, proof = (Path(directory) / x for x in ("circuit.json", "evaluation.proof"))
        found.circuit.save(circuit)
        found.proof.save(proof)
        command = [sys.executable, "-m", "zkjax", "evaluation", str(proof), "--circuit", str(circuit), "--assume-bound", "--json"]
        verified = [run_process(command) for _ in range(max(1, repeat))]
    told = json.loads(verified[-1].output)
    return {
        "data": called,
        "samples": len(test[0]),
        "correct": told["totals"]["correct"][0],
        "batch": found.circuit.batch_size,
        "steps": found.run.steps,
        "cells": counts.cells,
        "lookups": counts.lookups,
        "table_entries": counts.table_entries,
        "parameters": counts.parameters,
        "cold_seconds": seconds[0],
        "cold_phases": phases[0],
        "warm_seconds": statistics.median(seconds[1:]) if repeat else None,
        "warm_phases": {phase: statistics.median(x[phase] for x in phases[1:]) for phase in phases[0]} if repeat else None,
        "proof_bytes": found.proof.nbytes,
        "security_bits": told["bits"],
        "peak_memory": peak_memory(),
        "verify_process_seconds": statistics.median(x.seconds for x in verified),
        "verify_seconds": told["seconds"],
        "verify_peak_memory": verified[-1].peak_memory,
        "load_average": os.getloadavg(),
    }


def table(results: dict[str, dict]) -> str:
    """The figures for people."""

    def text(value, unit: str, factor: float = 1.0, digits: int = 2) -> str:
        return "-" if value is None else f"{value * factor:.{digits}f} {unit}"

    found = list(results.values())
    rows = [("", *results)]
    rows += [(what, *(str(f[what]) for f in found)) for what in ("data", "samples", "correct", "batch", "steps")]
    rows += [(what.replace("_", " "), *(f"{f[what]:,}" for f in found)) for what in ("parameters", "cells", "lookups", "table_entries")]
    rows.append(("cold", *(text(f["cold_seconds"], "s") for f in found)))
    rows.append(("warm", *(text(f["warm_seconds"], "s") for f in found)))
    for phase in found[0]["cold_phases"]:
        rows.append((f"  {phase}, warm", *(text((f["warm_phases"] or {}).get(phase), "s") for f in found)))
    rows.append(("proof", *(text(f["proof_bytes"], "kB", 1e-3, 0) for f in found)))
    rows.append(("security", *(text(f["security_bits"], "bits", digits=1) for f in found)))
    rows.append(("peak memory", *(text(f["peak_memory"], "GB", 1e-9) for f in found)))
    rows.append(("verifying: the whole process", *(text(f["verify_process_seconds"], "s") for f in found)))
    rows.append(("verifying: peak memory", *(text(f["verify_peak_memory"], "GB", 1e-9) for f in found)))
    return columns(rows)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--only", choices=("digits", "images"), help="one of the two jobs")
    parser.add_argument("--repeat", type=int, default=3, help="warm evaluations (default %(default)s)")
    parser.add_argument("--cache", type=Path, metavar="DIR", help="keep compiled code there and use it")
    parser.add_argument("--out", type=Path, default=Path("runs/evaluation"), metavar="DIR", help="default %(default)s")
    parser.add_argument("--within", action="store_true", help=argparse.SUPPRESS)
    parsed = parser.parse_args(arguments)
    if parsed.cache:
        jax.config.update("jax_compilation_cache_dir", str(parsed.cache))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    parsed.out.mkdir(parents=True, exist_ok=True)
    if parsed.within:
        write_json(parsed.out / f"{parsed.only}.json", measure(parsed.only, parsed.repeat))
        return 0
    results = {}
    for name in (parsed.only,) if parsed.only else ("digits", "images"):
        command = [sys.executable, __file__, "--within", "--only", name, "--repeat", str(parsed.repeat), "--out", str(parsed.out)]
        finished = run_process([*command, *(("--cache", str(parsed.cache)) if parsed.cache else ())])
        if finished.status:
            print(finished.errors, file=sys.stderr)
            return 1
        results[name] = json.loads((parsed.out / f"{name}.json").read_text(encoding="utf-8"))
    print(table(results))
    write_json(parsed.out / "evaluation.json", {"results": results, "environment": environment()})
    return 0


if __name__ == "__main__":
    sys.exit(main())
