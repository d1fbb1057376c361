"""Train, prove and verify a net on real pictures, beside Flax and optax in floating point.

    python experiments/pictures.py [--model NAME] [--steps N] [--chunk N] [--images FILE] [--out DIR]

MNIST or CIFAR-10 where it is on this machine (``images.py`` says which files are looked for); else scikit-learn's digits, each pixel three
or four times as wide and high, in three equal colours where the model reads colours. The exact run starts from the same weights and reads
the same batches as the float one. Its proofs are verified by the command line in a fresh process, without data or weights.
OUT gets circuit.json, chunk-0000.proof, .. and report.json with all figures.
"""

import argparse
import json
import sys
import time
from pathlib import Path

import images
import numpy as np
from common import columns, environment, peak_memory, run_process, write_bytes, write_json
from models import MODELS

import zkjax
from zkjax.protocol.schedule import batch_indices


def load(model, path: Path | None) -> images.Images:
    """Pictures of the model's shape."""
    found = images.load(path) if path else images.find() or images.digits()
    height, width, colours = model.shape
    features = colours if np.sqrt(found.x.shape[1] / colours) % 1 == 0 else 1
    side = int(np.sqrt(found.x.shape[1] // features))
    if side * side * features != found.x.shape[1] or found.classes > model.classes or side > height:
        raise SystemExit(
            f"error: {found.name} has {found.x.shape[1]} numbers a picture and {found.classes} classes; the model reads {model.shape}"
        )

    def fitted(x):
        times = height // side
        x = np.kron(x.reshape(-1, side, side, features), np.ones((1, times, times, colours // features), np.float32))
        low, left = (height - x.shape[1]) // 2, (width - x.shape[2]) // 2
        margins = (0, 0), (low, height - x.shape[1] - low), (left, width - x.shape[2] - left), (0, 0)
        return np.pad(x, margins).astype(np.float32)

    labels = (y.astype(np.int32) for y in (found.y, found.y_test))
    return images.Images(found.name, fitted(found.x), next(labels), fitted(found.x_test), next(labels))


def experiment(arguments) -> int:
    return run_experiment(MODELS[arguments.model], load(MODELS[arguments.model], arguments.images), arguments)


def run_experiment(model, data: images.Images, arguments) -> int:
    """Train, prove, verify, and report; arguments: out, steps, chunk and seed."""
    out, params = arguments.out, model.initial(arguments.seed)
    out.mkdir(parents=True, exist_ok=True)
    chunk = arguments.chunk or model.steps
    first = data.x[: model.batch], data.y[: model.batch]
    circuit = zkjax.trace(
        model.loss, model.optimizer(), params, batch=first, steps=arguments.steps, chunk=chunk, **model.traced(arguments.seed)
    )
    print(circuit)
    circuit.save(out / "circuit.json")
    indices = batch_indices(arguments.seed, len(data.x), None, model.batch, 0, arguments.steps)
    trained, losses = model.float_training(params, [(data.x[i], data.y[i]) for i in indices], arguments.seed)
    files, seconds, run = [], [], None
    for run in zkjax.chunks(circuit, params, (data.x, data.y), steps=arguments.steps, chunk=chunk, seed=arguments.seed):
        started = time.perf_counter()
        proof = zkjax.prove(circuit, run, reveal=("loss",), verify=False)  # they are verified below
        seconds.append((time.perf_counter() - started) / run.steps)
        files.append(out / f"chunk-{len(files):04d}.proof")
        write_bytes(files[-1], bytes(proof))
        print(f"steps {run.first_step} to {run.first_step + run.steps - 1}: {seconds[-1]:.2f} s a step, {proof.nbytes / 1000:.0f} kB")
    command = [sys.executable, "-m", "zkjax", "verify", *map(str, files), "--circuit", str(out / "circuit.json"), "--json"]
    verified = run_process(command)
    if verified.status:
        raise SystemExit(f"{verified.errors}\nerror: the verifier refused the proofs")
    figures = {
        "data": data.name,
        "steps": arguments.steps,
        "chunk": chunk,
        "float_accuracy": model.accuracy(trained, data.x_test, data.y_test),
        "exact_accuracy": model.accuracy(run.params, data.x_test, data.y_test),
        "float_losses": losses,
        "prove_seconds_a_step": seconds,
        "proof_bytes": [f.stat().st_size for f in files],
        "verify_process_seconds": verified.seconds,
        "bits": json.loads(verified.output)["bits"],
        "peak_memory": peak_memory(),
    }
    write_json(out / "report.json", {**environment(), "figures": figures})
    warm = seconds[1:] or seconds
    rows = [
        ("data", figures["data"]),
        ("test accuracy: float32, exact", f"{100 * figures['float_accuracy']:.2f} %, {100 * figures['exact_accuracy']:.2f} %"),
        ("proving, a step: first chunk, median of the others", f"{seconds[0]:.2f} s, {np.median(warm):.2f} s"),
        ("proofs", f"{len(files)} of {np.mean(figures['proof_bytes']) / 1000:.0f} kB"),
        ("verifying all of them, the process", f"{verified.seconds:.2f} s, {figures['bits']:.1f} bits"),
    ]
    print("\n" + columns(rows))
    return 0


def options(parser: argparse.ArgumentParser, out: str) -> None:
    """What every such experiment is told."""
    parser.add_argument("--out", type=Path, default=Path(out), help="where the results go (default %(default)s)")
    parser.add_argument("--steps", type=int, default=48, help="training steps (default %(default)s)")
    parser.add_argument("--chunk", type=int, help="steps in one proof, at most (default: the model's)")
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


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    names = [name for name, model in MODELS.items() if not model.text]
    parser.add_argument("--model", choices=names, default="lenet", help="what is trained (default %(default)s)")
    parser.add_argument("--images", type=Path, metavar="FILE", help="another set of images, in one of the formats of images.py")
    options(parser, "runs/pictures")
    return run(parser, arguments, experiment)


if __name__ == "__main__":
    sys.exit(main())
