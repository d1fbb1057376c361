"""What fixed point costs: accuracy against float training, and the price of a proof, for several precisions and seeds.

    python experiments/accuracy.py [--full] [--images PATH] [--out DIR]

Each net is trained from the same weights on the same batches by JAX and optax in float32, and by zkjax in exact integers at several
precisions (bits after the point of activations; all other formats follow, see ``precision``). Then one later chunk of each
precision is proven, warm, with bench.py's code. A precision at which a value leaves its range is reported as that.

Data: scikit-learn's digits; and a larger set, if --images names one or one is in the usual places (MNIST or CIFAR-10, see ``images.py``;
nothing is downloaded). Accuracies are those of the trained weights, evaluated in floating point on samples held out.
OUT gets accuracy.json, accuracy.md and accuracy.png. Under two minutes on digits; with --full ten times that.
"""

import argparse
import statistics
import sys
import tempfile
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import images
import numpy as np
from bench import Aggregated, Compilations, Verifier, initial_params, loss, median_of, prove_chunk
from common import float_training
from images import Images
from report import Record, bytes_text, figure, parse_options, positive, seconds_text, table

UNMEASURED = 2  # chunks before those that are measured: the first one is not proven, the second one compiles


@dataclass(frozen=True)
class Task:
    """A net on an image set. hidden: widths of the layers between; every: steps between two looks at the accuracy;
    chunk: steps of a proof; proofs: how many are measured; scales: precisions, as bits after the point of activations."""

    name: str
    hidden: tuple[int, ...]
    batch: int
    rate: float
    steps: int
    every: int
    chunk: int
    seeds: int
    proofs: int
    scales: tuple[int, ...]


def precision(scale: int, batch: int):
    """Every format from the bits after the point of activations.

    Activations reach to +-8, data to +-2, gradients (which a mean over the batch makes smaller by so many bits) to +-8/batch.
    """
    from zkjax import Precision

    smaller = (batch - 1).bit_length()
    return Precision(
        activation_scale=scale,
        activation_bits=scale + 3,
        gradient_scale=scale + 3 + smaller,
        gradient_bits=scale + 6,
        data_bits=(scale + 1, scale + 1),
        table_bits=scale + 7,
    )


def accuracy(params, x, y) -> float:
    """Share of samples whose largest output is their class; in floating point."""
    for i, layer in enumerate(params):
        x = x @ np.asarray(layer["w"]) + np.asarray(layer["b"])
        x = np.maximum(x, 0) if i < len(params) - 1 else x
    return float(np.mean(np.argmax(x, axis=1) == y))


def train_float(task: Task, data, params, seed: int, look) -> list[float]:
    """float32, on the batches that zkjax draws for this seed. look(params): called every ``task.every`` steps."""
    import optax

    from zkjax.protocol.schedule import batch_indices

    def looked(t: int, params) -> None:
        if t % task.every == 0 or t == task.steps:
            look(params)

    batches = (tuple(x[index] for x in data) for index in batch_indices(seed, len(data[0]), None, task.batch, 0, task.steps))
    return float_training(loss, optax.sgd(task.rate), params, batches, look=looked)[1]


def train_fixed(circuit, task: Task, data, params, seed: int, look) -> list[float]:
    """The same in exact integers, in runs that a proof can hold, with a look at the same steps."""
    import zkjax

    losses, run = [], params
    while len(losses) < task.steps:
        look_at = min(task.every * (len(losses) // task.every + 1), task.steps)
        steps = min(task.chunk, look_at - len(losses))  # what a proof holds
        run = zkjax.train(circuit, run, data if not losses else None, steps=steps, **{"seed": seed} if not losses else {})
        losses += run.float_losses.tolist()
        if len(losses) == look_at:
            look(run.params)
    return losses


def curves(task: Task, found: Images, widths, data, scale: int | None) -> dict:
    """Accuracies and losses of all seeds, at one precision; in floating point for None."""
    import zkjax

    result = {"accuracies": [], "losses": []}
    try:
        circuit = None if scale is None else trace(task, widths, scale)
        for seed in range(task.seeds):
            seen, params = [], initial_params(widths, seed)
            look = lambda params: seen.append(accuracy(params, found.x_test, found.y_test))  # noqa: B023, E731
            if circuit is None:
                losses = train_float(task, data, params, seed, look)
            else:
                losses = train_fixed(circuit, task, data, params, seed, look)
            result["accuracies"].append(seen)
            result["losses"].append(losses)
    except zkjax.PrecisionError as error:
        return {"refused": str(error)}
    return result


def trace(task: Task, widths, scale: int):
    """What is proven at this precision; shapes suffice."""
    import jax
    import optax

    import zkjax

    shapes = [jax.ShapeDtypeStruct((task.batch, n), np.float32) for n in (widths[0], widths[-1])]
    return zkjax.trace(
        loss, optax.sgd(task.rate), initial_params(widths, 0), batch=tuple(shapes), precision=precision(scale, task.batch), chunk=task.chunk
    )


def cost(task: Task, widths, data, scale: int) -> dict:
    """What proving a later chunk costs at this precision, warm; on a dataset of as many samples as the chunks read."""
    import zkjax

    samples = (UNMEASURED + task.proofs) * task.chunk * task.batch
    part = tuple(np.resize(x, (samples, *x.shape[1:])) for x in data)
    options, compilations = {"steps": task.chunk, "shard_size": task.chunk * task.batch, "seed": 0}, Compilations()
    try:
        circuit = trace(task, widths, scale)
        run = zkjax.train(circuit, initial_params(widths, 0), part, **options)
        warm = []
        for _ in range(UNMEASURED - 1 + task.proofs):
            go_on = partial(zkjax.train, circuit, run, None, steps=task.chunk)
            figures, run, proof = prove_chunk(Aggregated(True), circuit, go_on, compilations)
            warm = [*warm, figures][-task.proofs :]
    except zkjax.PrecisionError as error:
        return {"refused": str(error)}
    figures = median_of(warm)
    with tempfile.TemporaryDirectory() as directory:
        Verifier(Aggregated(True), circuit, Path(directory)).measure("later", proof, figures)
        size = (Path(directory) / "later.proof").stat().st_size
    counts = circuit.counts(task.chunk)
    return figures | {
        "proof_bytes": size,
        "cells": counts.cells,
        "lookups": counts.lookups,
        "leaves": counts.lookups + counts.table_entries,
    }


# ---- reports ----------------------------------------------------------------------------------------------------


def finals(entry: dict) -> list[float]:
    """The last accuracy of each seed."""
    return [seen[-1] for seen in entry["accuracies"]]


def spread(values: list[float]) -> str:
    """Mean, and standard deviation over seeds, in per cent."""
    deviation = statistics.stdev(values) if len(values) > 1 else 0.0
    return f"{100 * statistics.mean(values):.2f} ± {100 * deviation:.2f} %"


LAST = 10  # steps over which the last loss is averaged
HEADER = ["format of activations", "gradients", "tables", "test accuracy", "fixed less float, points: mean (worst)"]
HEADER += [f"mean loss of the last {LAST} steps", "committed cells", "lookups", "lookups and table entries", "proof"]
HEADER += ["proving one chunk", "the same, CPU", "verifying it", "security"]


def section(task: Task, widths, results: dict) -> str:
    """The table of one image set."""
    plain = results["float"]

    def learned(entry: dict) -> list[str]:
        if "refused" in entry:
            return ["refused", "-", "-"]
        gaps = [b - a for a, b in zip(finals(plain), finals(entry))]
        gap = f"{100 * statistics.mean(gaps):+.2f} ({100 * min(gaps):+.2f})"
        return [spread(finals(entry)), gap, f"{statistics.mean(np.mean(x[-LAST:]) for x in entry['losses']):.4f}"]

    rows = [["float32", "float32", "-", spread(finals(plain)), "", learned(plain)[2], *["-"] * 8]]
    notes = []
    for scale in task.scales:
        entry, price, formats = results[f"scale {scale}"], results[f"cost {scale}"], precision(scale, task.batch)
        row = [f"{formats.activation_bits + 1} bits, scale {scale}", f"{formats.gradient_bits + 1} bits, scale {formats.gradient_scale}"]
        row += [f"2^{formats.table_bits}", *learned(entry)]
        if "refused" in price:
            row += ["-"] * 8
        else:
            row += [*(f"{price[name]:,}" for name in ("cells", "lookups", "leaves")), bytes_text(price["proof_bytes"])]
            row += [seconds_text(price[name]) for name in ("prove_seconds", "prove_cpu_seconds", "verify_seconds")]
            row.append(f"{price['security_bits']:.1f} bits")
        rows.append(row)
        told = [x["refused"] for x in (entry, price) if "refused" in x]
        notes += [f"Scale {scale} was refused: {text}" for text in told[:1]]
    head = (
        f"## {task.name}: {'-'.join(map(str, widths))}, batch {task.batch}, rate {task.rate:g}, {task.steps} steps, {task.seeds} seeds\n\n"
        "Mean and standard deviation over seeds; differences to float training are seed by seed. Proving is a later chunk, warm: "
        f"{task.chunk} steps, median of {task.proofs}.\n\n"
    )
    return head + table(HEADER, rows) + "".join(f"\n\n{note}" for note in notes)


PRICES = (
    ("prove_cpu_seconds", "proving, CPU time", seconds_text),
    ("proof_bytes", "proof", bytes_text),
    ("cells", "committed cells", "{:,}".format),
    ("leaves", "lookups and table entries", "{:,}".format),
)


def plot(path: Path, tasks: list[tuple[Task, dict]]) -> None:
    """Accuracy and loss over steps with their spread over seeds; accuracy and price against precision."""
    import matplotlib

    with figure(path, len(tasks), 3, size=(5.4, 3.9)) as (drawn, panels):
        for i, (task, results) in enumerate(tasks):
            seen, lost, paid = panels[3 * i : 3 * i + 3]
            colours = matplotlib.colormaps["viridis"](np.linspace(0, 0.85, len(task.scales)))
            styles = [(f"scale {s}", f"fixed point, scale {s}", c) for s, c in zip(task.scales, colours)]
            styles.append(("float", "float32", "black"))  # on top of the others, and dashed
            at = [*range(task.every, task.steps, task.every), task.steps]
            for key, label, colour in styles:
                if "refused" in results[key]:
                    continue
                lines = (
                    (seen, at, 100 * np.array(results[key]["accuracies"])),
                    (lost, range(task.steps), np.array(results[key]["losses"])),
                )
                for axis, x, values in lines:
                    mean, deviation = values.mean(axis=0), values.std(axis=0, ddof=1) if len(values) > 1 else 0
                    axis.plot(x, mean, "--" if key == "float" else "-", color=colour, linewidth=1.3, label=label)
                    axis.fill_between(x, mean - deviation, mean + deviation, color=colour, alpha=0.12, linewidth=0)
            seen.set(title=f"{task.name}: test accuracy, mean and deviation of {task.seeds} seeds", xlabel="step", ylabel="per cent")
            lost.set(title="training loss of each batch", xlabel="step", ylabel="loss", ylim=(0, None))
            seen.legend(frameon=False, fontsize="small")
            priced = [results[f"cost {s}"] | {"scale": s} for s in task.scales if "refused" not in results[f"cost {s}"]]
            paid.set(title="price of a chunk's proof, relative", xlabel="scale: bits after the point of activations")
            paid.set_xticks(task.scales)
            if not priced:
                continue
            for (name, label, text), style in zip(PRICES, ("o-", "s--", "^:", "v:")):
                last = priced[-1][name]
                label = f"{label}: {text(last)} = 1"
                paid.plot([p["scale"] for p in priced], [p[name] / last for p in priced], style, label=label)
            paid.set_ylim(0, None)
            paid.legend(frameon=False, fontsize="small")


def experiment(sets: list[tuple[Task, Images]], out: Path, fresh: bool = False) -> int:
    """Measure, and write the report."""
    settings = {"tasks": [asdict(task) | {"data": x.digest()} for task, x in sets]}
    settings["tasks"] = [{k: list(v) if isinstance(v, tuple) else v for k, v in t.items()} for t in settings["tasks"]]
    record, tasks, parts = Record(out, "accuracy", seed=0, settings=settings, fresh=fresh), [], []
    for task, found in sets:
        widths = (found.x.shape[1], *task.hidden, found.classes)
        data, results = (found.x, np.eye(found.classes, dtype=np.float32)[found.y]), {}
        for scale in (None, *task.scales):
            key = "float" if scale is None else f"scale {scale}"
            measure = partial(curves, task, found, widths, data, scale)
            results[key] = record.measured(f"{task.name}: {key}", measure)
            print(f"{task.name}, {key}: {results[key].get('refused') or spread(finals(results[key]))}", flush=True)
        for scale in task.scales:
            price = record.measured(f"{task.name}: cost {scale}", partial(cost, task, widths, data, scale))
            results[f"cost {scale}"] = price
            told = price.get("refused") or f"{seconds_text(price['prove_seconds'])}, {bytes_text(price['proof_bytes'])}"
            print(f"{task.name}, scale {scale}, a chunk of {task.chunk} steps: {told}", flush=True)
        tasks.append((task, results))
        parts.append(section(task, widths, results))
    text = record.write("Fixed point against float", parts)
    plot(out / "accuracy.png", tasks)
    print(f"\n{text}\nFiles in {out}.")
    return 0


def tasks_of(full: bool, found: Images | None, seeds: int | None) -> list[tuple[Task, Images]]:
    """What is trained."""
    if full:
        small = Task("digits", (48, 32), 32, 1 / 4, 440, 22, 15, seeds or 5, 3, (4, 5, 6, 8, 10, 12))
        large = Task("", (128, 64), 64, 0, 2000, 100, 16, seeds or 5, 3, (4, 6, 8, 10))
    else:
        small = Task("digits", (48, 32), 32, 1 / 4, 88, 11, 4, seeds or 3, 3, (4, 6, 8))
        large = Task("", (32,), 32, 0, 60, 10, 2, seeds or 2, 1, (4, 8))
    sets = [(small, images.digits())]
    return sets + [(replace(large, name=found.name, rate=stable_rate(found)), found)] if found else sets


def stable_rate(found: Images) -> float:
    """A power of two, at most 1/4, that shrinks with the inputs: gradients of the first layer grow with their squared length."""
    squared = float(np.mean(np.sum(found.x.astype(np.float64) ** 2, axis=1)))
    return float(min(1 / 4, 2.0 ** np.floor(np.log2(4 / squared))))


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--images", type=Path, help="a larger image set: .npz, a directory of IDX files, CIFAR-10's batches, ARFF")
    parser.add_argument("--digits-only", action="store_true", help="do not look for a larger image set")
    parser.add_argument("--seeds", type=positive, help="runs of each precision (default: 3 on digits, with --full 5)")
    parsed = parse_options(parser, "accuracy", arguments)
    try:
        found = images.load(parsed.images) if parsed.images else None if parsed.digits_only else images.find()
    except images.ImageError as error:
        parser.error(str(error))
    if found is None:
        print("No larger image set: none is named by --images, and none is in the usual places. Digits only.")
    return experiment(tasks_of(parsed.full, found, parsed.seeds), parsed.out, parsed.fresh)


if __name__ == "__main__":
    sys.exit(main())
