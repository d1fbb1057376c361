"""Measure how proving scales: with depth, width, batch and steps; and its overhead over the native step as nets get wider.

    python experiments/scaling.py [--full] [--out DIR]

Each point is a run of ``bench.py`` in a process of its own: a chain's later chunk, warm, without the range check of the weights
that a chain needs once. Compiled code is kept in OUT, so that points share it. OUT gets scaling.json, scaling.md and
scaling.png; what scaling.json holds from the same code and machine is not measured again, so a run that was stopped goes on.
About two minutes; with --full about ten.

What to expect: a step costs in proportion to its rescaled values (neurons x batch x depth), not to parameters; a chunk costs
something for its parameters (commitments at both ends), its lookup tables and its opening, which more steps share.
"""

import argparse
import json
import sys
from dataclasses import dataclass
from pathlib import Path

from bench import parse_widths
from common import run_process
from report import AMBER, BLUE, GREEN, GREY, RED, Record, bytes_text, figure, log_axis, log_y, parse_options, seconds_text
from report import table as markdown

BENCH = Path(__file__).with_name("bench.py")


@dataclass(frozen=True)
class Point:
    """One configuration: layer widths as for ``bench.py``, samples of a batch, steps of a chunk."""

    widths: str
    batch: int
    steps: int

    @property
    def name(self) -> str:
        return f"{self.widths} batch {self.batch} steps {self.steps}"


@dataclass(frozen=True)
class Sweep:
    """Points along one variable. points: value to point."""

    name: str
    variable: str
    points: dict[int, Point]


def net(width: int, depth: int) -> str:
    """``depth`` hidden layers as wide as the input."""
    return f"{width},{width}x{depth},10"


def sweeps(quick: bool) -> list[Sweep]:
    """What is measured: one variable at a time around a common point, then wider nets with one hidden layer."""
    width, depth, batch, steps = (64, 2, 16, 2) if quick else (256, 2, 32, 4)
    ranges = {
        "depth": [2, 8] if quick else [1, 2, 4, 8],
        "width": [64, 256] if quick else [64, 128, 256, 512],
        "batch": [16, 64] if quick else [8, 32, 128],
        "steps": [2, 8] if quick else [1, 4, 16],
        "overhead": [128, 512] if quick else [256, 512, 1024, 2048, 4096],
    }
    return [
        Sweep("depth", "hidden layers", {x: Point(net(width, x), batch, steps) for x in ranges["depth"]}),
        Sweep("width", "width of every layer", {x: Point(net(x, depth), batch, steps) for x in ranges["width"]}),
        Sweep("batch", "samples of a step", {x: Point(net(width, depth), x, steps) for x in ranges["batch"]}),
        Sweep("steps", "steps of a chunk", {x: Point(net(width, depth), batch, x) for x in ranges["steps"]}),
        Sweep("overhead", "width (one hidden layer, batch 64)", {x: Point(net(x, 1), 64, 4 if quick else 8) for x in ranges["overhead"]}),
    ]


def run_bench(point: Point, repeat: int, out: Path, *options: str) -> dict:
    """All figures of ``bench.py`` on one point, measured in a process of its own; compiled code is kept in OUT."""
    file = out / "point.json"
    command = [sys.executable, str(BENCH), "--widths", point.widths, "--batch", str(point.batch), "--steps", str(point.steps)]
    command += ["--repeat", str(repeat), "--cache", str(out / "compiled"), "--json", str(file), *options]
    done = run_process(command)
    if done.status:
        raise SystemExit(f"{done.output}\n{done.errors}\nerror: {point.name} failed")
    result = json.loads(file.read_text(encoding="utf-8"))
    file.unlink()
    return result


def measure(point: Point, repeat: int, out: Path) -> dict:
    """The figures of one point."""
    result = run_bench(point, repeat, out, "--no-range-check")
    later, steps = result["chunks"]["later"], result["steps"]
    return {
        "parameters": result["parameters"],
        "values": sum(result["widths"][1:]) * result["batch"],
        "cells_per_step": result["committed_cells"] // steps,
        "lookups_per_step": result["lookups"] // steps,
        "native_step_seconds": result["native_step_seconds"],
        "train_seconds_per_step": later["train_seconds"] / steps,
        "prove_seconds_per_step": later["prove_seconds"] / steps,
        "prove_cpu_seconds_per_step": later["prove_cpu_seconds"] / steps,
        "commit_seconds_per_step": later["phases"]["commitments"] / steps,
        "overhead": result["overhead"],
        "proof_bytes": result["proof_bytes"],
        "proof_bytes_per_step": result["proof_bytes_per_step"],
        "verify_seconds": result["verify_seconds"],
        "peak_rss_bytes": result["peak_rss_bytes"],
        "load_average": result["load_average"],
    }


COLUMNS = (
    ("parameters", "parameters", "{:,}".format),
    ("committed cells, a step", "cells_per_step", "{:,}".format),
    ("native step", "native_step_seconds", seconds_text),
    ("training, a step", "train_seconds_per_step", seconds_text),
    ("proving, a step", "prove_seconds_per_step", seconds_text),
    ("the same, CPU", "prove_cpu_seconds_per_step", seconds_text),
    ("overhead", "overhead", "{:.0f} x".format),
    ("proof", "proof_bytes", bytes_text),
    ("verifying, process", "verify_seconds", seconds_text),
    ("peak memory", "peak_rss_bytes", bytes_text),
    ("load", "load_average", lambda load: f"{load[0]:.1f}"),
)


def table(sweep: Sweep, points: dict[str, dict]) -> str:
    """A sweep as a Markdown table; how the cost of a step grows with the variable at the end."""
    lines = [f"### {sweep.name}: {sweep.variable}", ""]
    first = next(iter(sweep.points.values()))
    fixed = {"depth": f"width {parse_widths(first.widths)[0]}, batch {first.batch}, {first.steps} steps"}
    fixed["width"] = f"{len(parse_widths(first.widths)) - 2} hidden layers, batch {first.batch}, {first.steps} steps"
    fixed["batch"] = f"{first.widths}, {first.steps} steps"
    fixed["steps"] = f"{first.widths}, batch {first.batch}"
    fixed["overhead"] = f"{first.steps} steps"
    rows = [[f"{v:,}", *(text(points[p.name][name]) for _, name, text in COLUMNS)] for v, p in sweep.points.items()]
    lines += [fixed[sweep.name], "", markdown([sweep.variable, *(title for title, _, _ in COLUMNS)], rows)]
    values = list(sweep.points)
    first, last = (points[sweep.points[value].name] for value in (values[0], values[-1]))
    growth = last["prove_seconds_per_step"] / first["prove_seconds_per_step"]
    lines += ["", f"From {values[0]:,} to {values[-1]:,} ({values[-1] / values[0]:g} x) proving a step costs {growth:.2f} x."]
    if sweep.name == "overhead":
        per_value = [f["prove_seconds_per_step"] / f["values"] * 1e6 for f in (first, last)]
        more = last["parameters"] / first["parameters"]
        lines.append(
            f"Parameters grow {more:.0f} x, neurons x batch {last['values'] / first['values']:.0f} x; proving costs {per_value[0]:.3g} us, "
            f"then {per_value[1]:.3g} us for each neuron and sample. Overhead: {first['overhead']:.0f} x, then {last['overhead']:.0f} x."
        )
    return "\n".join(lines)


def plot(path: Path, found: list[Sweep], points: dict[str, dict]) -> None:
    """Seconds per step along each variable; overhead over width; proof sizes."""
    with figure(path, -(-(len(found) + 1) // 3), 3) as (drawn, panels):
        _draw(drawn, panels, found, points)


def _draw(drawn, panels, found: list[Sweep], points: dict[str, dict]) -> None:
    import matplotlib.pyplot as plt

    for axis, sweep in zip(panels, found, strict=False):
        x, figures = list(sweep.points), [points[p.name] for p in sweep.points.values()]
        if sweep.name == "overhead":
            axis.plot(x, [f["overhead"] for f in figures], "o-", color=RED)
            for value, f in zip(x, figures):
                axis.annotate(f"{f['overhead']:.0f} x", (value, f["overhead"]), (4, 6), textcoords="offset points", fontsize="small")
            axis.set(title="Overhead: (train + prove) / native float32 step", ylabel="times")
        else:
            axis.plot(x, [f["prove_seconds_per_step"] for f in figures], "o-", color=BLUE, label="proving")
            axis.plot(x, [f["prove_cpu_seconds_per_step"] for f in figures], ".--", color=BLUE, alpha=0.5, label="proving, CPU time")
            axis.plot(x, [f["commit_seconds_per_step"] for f in figures], "o-", color=GREEN, label="of that, commitments")
            axis.plot(x, [f["train_seconds_per_step"] for f in figures], "o-", color=AMBER, label="exact training")
            axis.plot(x, [f["native_step_seconds"] for f in figures], "o-", color=GREY, label="native float32 step")
            axis.set(title=f"Cost of a step and {sweep.name}", ylabel="seconds a step")
        axis.set(xlabel=sweep.variable)
        log_axis(axis, x)
        log_y(axis)
    drawn.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=5, frameon=False)
    last = panels[len(found)]
    for sweep, colour in zip(found, plt.get_cmap("viridis")([0, 0.22, 0.45, 0.7, 0.95])):
        ends = [points[p.name] for p in sweep.points.values()]
        steps = [p.steps for p in sweep.points.values()]
        cells = [f["cells_per_step"] * t + 2 * f["parameters"] for f, t in zip(ends, steps)]
        last.plot(cells, [f["proof_bytes"] / 1000 for f in ends], "o-", color=colour, label=sweep.name)
    last.set(title="Proof of a chunk", ylabel="kB", xlabel="committed cells of the chunk, with weights", xscale="log")
    last.set_ylim(0, None)
    last.legend(frameon=False, fontsize="small")
    for axis in panels[len(found) + 1 :]:
        axis.remove()


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--only", nargs="+", choices=[s.name for s in sweeps(True)], help="some of the sweeps")
    parsed = parse_options(parser, "scaling", arguments, repeat=(1, 2))
    record = Record(parsed.out, "scaling", seed=0, settings={"repeat": parsed.repeat}, fresh=parsed.fresh)
    found = [s for s in sweeps(not parsed.full) if not parsed.only or s.name in parsed.only]
    for name, point in {point.name: point for sweep in found for point in sweep.points.values()}.items():
        figures = record.measured(name, lambda point=point: measure(point, parsed.repeat, parsed.out))
        print(f"{name}: proving {seconds_text(figures['prove_seconds_per_step'])} a step, overhead {figures['overhead']:.0f} x", flush=True)
    head = "Medians of warm proofs of a chain's later chunk."
    text = record.write("Scaling", [head, *(table(sweep, record.figures) for sweep in found)])
    plot(parsed.out / "scaling.png", found, record.figures)
    print(f"\n{text}\nFiles in {parsed.out}.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
