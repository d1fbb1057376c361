"""Optimizers in exact integers beside float32: loss and accuracy on digits, and what each one adds to the price of a step.

    python experiments/optimizers.py [--full] [--seeds N] [--out DIR]

An MLP 64-32-10 with ReLU and softmax cross-entropy is trained on scikit-learn's digits by one optimizer after another: from the same
weights, on the same batches, by optax in float32 and by zkjax in exact integers, in the formats that ``zkjax.calibrate`` proposes.
Accuracies are those of the trained weights on samples held out, in floating point. OUT gets optimizers.json, optimizers.md and
optimizers.png. Calibrating takes most of the time, a minute or more for what divides by its state; with --full five times the steps.
"""

import argparse
import statistics
import sys
from collections.abc import Callable
from pathlib import Path

import images
import numpy as np
from accuracy import accuracy
from bench import cross_entropy, initial_params
from common import float_training
from report import Record, figure, parse_options, positive, table

WIDTHS, BATCH, CHUNK = (64, 32, 10), 64, 16
TRIED, TOLERANCE = 16, 0.03  # of a calibration: its steps, and how far off their update may be
SMOOTHED = 10  # steps over which the drawn losses are averaged


def optimizers(steps: int) -> dict[str, Callable]:
    """By name, functions that make them."""
    import optax
    import optax.contrib

    kernels = [{"w": True, "b": False}] * (len(WIDTHS) - 1)
    return {
        "SGD": lambda: optax.sgd(0.1),
        "SGD, warm-up and cosine": lambda: optax.sgd(optax.warmup_cosine_decay_schedule(0.0, 0.2, steps // 10, steps)),
        "momentum": lambda: optax.sgd(0.05, momentum=0.9),
        "Nesterov": lambda: optax.sgd(0.05, momentum=0.9, nesterov=True),
        "momentum, exponential decay": lambda: optax.sgd(optax.exponential_decay(0.05, steps, 0.1), momentum=0.9),
        "momentum, decoupled weight decay": lambda: optax.chain(
            optax.trace(0.9), optax.add_decayed_weights(1e-2, mask=kernels), optax.scale_by_learning_rate(0.05)
        ),
        "momentum, coupled weight decay": lambda: optax.chain(optax.add_decayed_weights(1e-3), optax.sgd(0.05, momentum=0.9)),
        "average of gradients": lambda: optax.chain(optax.ema(0.9), optax.sgd(0.1)),
        "accumulated over 4 steps, momentum": lambda: optax.MultiSteps(optax.sgd(0.1, momentum=0.9), 4),
        "last layer alone, momentum": lambda: optax.multi_transform(
            {"train": optax.sgd(0.05, momentum=0.9), "freeze": optax.set_to_zero()}, ["freeze", "train"]
        ),
        "SGD, entries clipped": lambda: optax.chain(optax.clip(0.01), optax.sgd(0.2)),
        "SGD, clipped by the common norm": lambda: optax.chain(optax.clip_by_global_norm(0.5), optax.sgd(0.1)),
        "SGD, clipped by each tensor's RMS": lambda: optax.chain(optax.clip_by_block_rms(0.02), optax.sgd(0.1)),
        "Adam": lambda: optax.adam(3e-3),
        "AdamW, warm-up and cosine, clipped": lambda: optax.chain(
            optax.clip_by_global_norm(1.0), optax.adamw(optax.warmup_cosine_decay_schedule(0.0, 5e-3, steps // 10, steps))
        ),
        "NAdam": lambda: optax.nadam(3e-3),
        "RAdam": lambda: optax.radam(3e-3),
        "AMSGrad": lambda: optax.amsgrad(3e-3),
        "Yogi": lambda: optax.yogi(3e-3),
        "AdaMax": lambda: optax.adamax(3e-3),
        "AdaBelief": lambda: optax.adabelief(1e-3),
        "RMSprop": lambda: optax.rmsprop(1e-3),
        "AdaGrad": lambda: optax.adagrad(3e-2),
        "AdaDelta": lambda: optax.adadelta(0.5),
        "AdaFactor": lambda: optax.adafactor(3e-3),
        "LAMB": lambda: optax.lamb(3e-3),
        "Lion": lambda: optax.lion(1e-3),
        "Muon": lambda: optax.contrib.muon(5e-3),
        "signs of gradients": lambda: optax.sign_sgd(1e-3),
        "signs of the momentum": lambda: optax.signum(1e-3),
        "SAM, momentum": lambda: optax.contrib.sam(
            optax.sgd(0.05, momentum=0.9), optax.chain(optax.contrib.normalize(), optax.sgd(0.05)), sync_period=2
        ),
    }


def measure(make: Callable, steps: int, seeds: int, found) -> dict:
    """Losses and last accuracies of all seeds, both ways, and the price of a step."""
    import zkjax
    from zkjax.protocol.schedule import batch_indices

    data = (found.x, found.y.astype(np.int32))
    formats = {"batch_size": BATCH, "steps": TRIED, "chunk": CHUNK, "chain": steps, "tolerance": TOLERANCE}
    circuit = zkjax.calibrate(cross_entropy, make(), initial_params(WIDTHS, 0), data, **formats).circuit
    result: dict = {"float_losses": [], "losses": [], "float_accuracies": [], "accuracies": []}
    for seed in range(seeds):
        params = initial_params(WIDTHS, seed)
        runs = list(zkjax.chunks(circuit, params, data, steps=steps, chunk=CHUNK, seed=seed, progress=None))
        result["losses"].append([float(v) for run in runs for v in run.float_losses])
        result["accuracies"].append(accuracy(runs[-1].params, found.x_test, found.y_test))
        batches = (tuple(x[rows] for x in data) for rows in batch_indices(seed, len(data[0]), None, BATCH, 0, steps))
        trained, losses = float_training(cross_entropy, make(), params, batches)
        result["float_losses"].append(losses)
        result["float_accuracies"].append(accuracy(trained, found.x_test, found.y_test))
    counts = circuit.counts(CHUNK)
    rounded = [p.path for p in circuit.parameters if p.recurrence is not None and p.given is None]
    return result | {"cells": counts.cells / CHUNK, "lookups": counts.lookups / CHUNK, "rounded": len(rounded)}


def gaps(entry: dict) -> tuple[float, float]:
    """The largest relative difference of the mean loss over seeds, and the mean difference of accuracies."""
    pairs = zip(entry["losses"], entry["float_losses"], strict=True)
    losses = max(abs(statistics.mean(a) / statistics.mean(b) - 1) for a, b in pairs)
    return losses, statistics.mean(entry["accuracies"]) - statistics.mean(entry["float_accuracies"])


def rows(found: dict[str, dict]) -> list[list]:
    plain = found["SGD"]
    result = []
    for name, entry in found.items():
        apart, gained = gaps(entry)
        result.append(
            [
                name,
                f"{statistics.mean(map(statistics.mean, entry['float_losses'])):.4f}",
                f"{100 * apart:.2f} %",
                f"{100 * statistics.mean(entry['float_accuracies']):.1f} %",
                f"{100 * gained:+.2f}",
                f"{entry['cells']:,.0f}",
                f"{entry['lookups']:,.0f}",
                f"{(entry['cells'] + entry['lookups']) / (plain['cells'] + plain['lookups']):.2f}",
                "rounded" if entry["rounded"] else "exact",
            ]
        )
    return result


HEADER = ["optimizer", "mean loss, float32", "integers off by, at most", "accuracy, float32", "integers, points more"]
HEADER += ["cells a step", "lookups a step", "both, of SGD's", "weights"]


def plot(path: Path, found: dict[str, dict]) -> None:
    """The training loss of the first seed, both ways."""
    columns = 4
    with figure(path, -(-len(found) // columns), columns, size=(3.4, 2.6)) as (drawn, panels):
        for panel, (name, entry) in zip(panels, found.items(), strict=False):
            for label, key, style in (("float32", "float_losses", "-"), ("integers", "losses", "--")):
                smooth = np.convolve(entry[key][0], np.full(SMOOTHED, 1 / SMOOTHED), "valid")
                panel.plot(smooth, style, label=label)
            panel.set(title=name, xlabel="step", yscale="log")
        for panel in panels[len(found) :]:
            panel.remove()
        drawn.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=2, frameon=False)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--seeds", type=positive, default=3)
    parsed = parse_options(parser, "optimizers", arguments)
    steps, data = 1000 if parsed.full else 200, images.digits()
    settings = {"steps": steps, "seeds": parsed.seeds, "widths": list(WIDTHS), "batch": BATCH, "data": data.digest()}
    record, found = Record(parsed.out, "optimizers", seed=0, settings=settings, fresh=parsed.fresh), {}
    for name, make in optimizers(steps).items():
        found[name] = record.measured(name, lambda make=make: measure(make, steps, parsed.seeds, data))
        apart, gained = gaps(found[name])
        print(f"{name}: mean loss off by {100 * apart:.2f} %, accuracy {100 * gained:+.2f} points", flush=True)
    head = f"{'-'.join(map(str, WIDTHS))} on digits, batch {BATCH}, {steps} steps, {parsed.seeds} seeds; formats by `zkjax.calibrate`."
    text = record.write("Optimizers in exact integers", [head, table(HEADER, rows(found))])
    plot(parsed.out / "optimizers.png", found)
    print(f"\n{text}\nFiles in {parsed.out}.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
