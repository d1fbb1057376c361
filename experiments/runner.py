"""Train, prove and verify a model, beside Flax and optax in floating point: what ``pictures.py``, ``text.py`` and ``others.py`` do.

The exact run starts from the same weights and reads the same batches as the float one. Its proofs are verified by the command line in a
fresh process, without data or weights. OUT gets circuit.json, chunk-0000.proof, .. and report.json with all figures.
"""

import argparse
import json
import sys
import time
from pathlib import Path

import images
import numpy as np
from common import columns, environment, peak_memory, run_process, write_bytes, write_json

import zkjax


def run_experiment(model, data, arguments) -> int:
    """Train, prove, verify, and report. model, data: of ``models.py``; arguments: out, steps, chunk and seed."""
    out, seed, params = arguments.out, arguments.seed, model.initial(arguments.seed)
    out.mkdir(parents=True, exist_ok=True)
    chunk = arguments.chunk or model.steps
    circuit = zkjax.trace(
        model.loss,
        model.optimizer(),
        params,
        batch=model.first(data.train, seed),
        steps=arguments.steps,
        chunk=chunk,
        **model.traced(seed),
    )
    print(circuit)
    circuit.save(out / "circuit.json")
    trained, losses = model.float_training(model.batches(data.train, arguments.steps, seed), seed)
    files, seconds, exact_losses, run = [], [], [], None
    first = {"state": model.state(seed), "seed": seed}
    for run in zkjax.chunks(circuit, params, data.train, steps=arguments.steps, chunk=chunk, **first):
        exact_losses += run.float_losses.tolist()
        if arguments.no_proofs:
            continue
        started = time.perf_counter()
        proof = zkjax.prove(circuit, run, reveal=("loss",), verify=False)  # they are verified below
        seconds.append((time.perf_counter() - started) / run.steps)
        files.append(out / f"chunk-{len(files):04d}.proof")
        write_bytes(files[-1], bytes(proof))
        print(f"steps {run.first_step} to {run.first_step + run.steps - 1}: {seconds[-1]:.2f} s a step, {proof.nbytes / 1000:.0f} kB")
    figures = {
        "data": data.name,
        "steps": arguments.steps,
        "chunk": chunk,
        "judged": model.judged,
        "float_score": model.score(trained, *data.test),
        "exact_score": model.score(run.params, *data.test),
        "float_losses": losses,
        "exact_losses": exact_losses,
    }
    rows = [
        ("data", figures["data"]),
        (f"{model.judged}: float32, exact", f"{figures['float_score']:.4g}, {figures['exact_score']:.4g}"),
    ]
    if files:
        verified = verify(files, out / "circuit.json")
        bits, sizes = json.loads(verified.output)["bits"], [f.stat().st_size for f in files]
        figures |= {"prove_seconds_a_step": seconds, "proof_bytes": sizes, "verify_process_seconds": verified.seconds, "bits": bits}
        rows += [
            ("proving, a step: first chunk, median of the others", f"{seconds[0]:.2f} s, {np.median(seconds[1:] or seconds):.2f} s"),
            ("proofs", f"{len(files)} of {np.mean(sizes) / 1000:.0f} kB"),
            ("verifying all of them, the process", f"{verified.seconds:.2f} s, {bits:.1f} bits"),
        ]
    write_json(out / "report.json", {**environment(), "figures": {**figures, "peak_memory": peak_memory()}})
    print("\n" + columns(rows))
    return 0


def verify(files: list[Path], circuit: Path):
    """By the command line, in a process of its own."""
    done = run_process([sys.executable, "-m", "zkjax", "verify", *map(str, files), "--circuit", str(circuit), "--json"])
    if done.status:
        raise SystemExit(f"{done.errors}\nerror: the verifier refused the proofs")
    return done


def options(parser: argparse.ArgumentParser, out: str) -> None:
    """What every such experiment is told."""
    parser.add_argument("--out", type=Path, default=Path(out), help="where the results go (default %(default)s)")
    parser.add_argument("--steps", type=int, default=48, help="training steps (default %(default)s)")
    parser.add_argument("--chunk", type=int, help="steps in one proof, at most (default: the model's)")
    parser.add_argument("--no-proofs", action="store_true", help="train only: how the exact training stands to the float one")
    parser.add_argument("--seed", type=int, default=0, help="of first weights and batches (default %(default)s)")


def run(parser: argparse.ArgumentParser, arguments: list[str] | None, experiment) -> int:
    """The experiment with the arguments of a command line; errors as people read them."""
    parsed = parser.parse_args(arguments)
    if parsed.steps < 1 or parsed.seed < 0 or parsed.chunk is not None and parsed.chunk < 1:
        parser.error("steps and chunk are at least 1, the seed at least 0")
    try:
        return experiment(parsed)
    except (zkjax.ZkjaxError, images.ImageError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
