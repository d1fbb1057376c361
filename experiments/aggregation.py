"""Measure what aggregation saves: one proof for all layers and steps of a chunk, against a proof for each step, layer by layer.

    python experiments/aggregation.py [--full] [--out DIR]

zkDL's main comparison, on zkjax's own terms: proving time, proof bytes and verifying time against depth, width and steps, each
measured by ``bench.py`` in a process of its own on a chain's later chunk (warm, no range check of the weights). The other
side, ``sequential.py``, proves the same circuit with the same field, code, hash, gadgets and pads, one step in a proof, with one
lookup tree and one opening for each layer. What a step of it costs does not depend on how many steps there are; so it
is measured once for each net.

Bytes are those of files: of one proof, and of all proofs of a chunk divided by its steps. What only zero knowledge needs is
told apart as ``hiding.py`` counts it. OUT gets aggregation.json, .md and .png. About two minutes; with --full some tens of
them.
"""

import argparse
import sys
from pathlib import Path

from bench import parse_widths
from report import BLUE, RED, Record, bytes_text, figure, log_axis, log_y, parse_options, seconds_text, times
from report import table as markdown
from scaling import Point, Sweep, net, run_bench

PUBLISHED = (
    "zkDL reports for 8 hidden layers of 1024, batch 64, on one A100: 0.86 s proving, 0.19 s verifying and 0.033 kB a step with "
    "aggregation, 47 s, 42 s and 82 kB without (TIFS 2024, as others quote it). 0.033 kB is amortised over many steps, no file "
    "has that size; commitments, weight updates and blinding are not in its public code. The figures above are for other nets and "
    "another machine, count all of these, and are those of files."
)
KINDS = ("aggregated", "sequential")


def sweeps(full: bool) -> list[Sweep]:
    """What is measured: one variable at a time around a common net."""
    width, depth, batch, steps = (256, 4, 32, 16) if full else (64, 2, 16, 4)
    depths, widths, counts = ([2, 4, 8, 16], [64, 128, 256, 512, 1024], [1, 4, 16, 64]) if full else ([2, 4], [64, 128], [1, 4, 16])
    return [
        Sweep("depth", "hidden layers", {x: Point(net(width, x), batch, steps) for x in depths}),
        Sweep("width", "width of every layer", {x: Point(net(x, depth), batch, steps) for x in widths}),
        Sweep("steps", "steps of a chunk", {x: Point(net(width, depth), batch, x) for x in counts}),
    ]


def key(point: Point, kind: str) -> str:
    """Where a point's figures are kept; those of the baseline are the same for any number of steps."""
    return f"{kind}: {point.name if kind == 'aggregated' else point.name.partition(' steps')[0]}"


def figures_of(result: dict) -> dict:
    """What is told of a result of ``bench.py``: figures of one proof, whatever its steps."""
    later = result["chunks"]["later"]
    return {
        "circuit": result["circuit"],
        "parameters": result["parameters"],
        "steps": result["steps"],
        "prove_seconds": later["prove_seconds"],
        "prove_cpu_seconds": later["prove_cpu_seconds"],
        "hiding_seconds": later["hiding_seconds"],
        "proof_bytes": later["proof_bytes"],
        "hiding_bytes": later["hiding_bytes"],
        "verifier_seconds": later["verifier_seconds"],
        "verify_seconds": later["verify_seconds"],
        "peak_rss_bytes": later["peak_rss_bytes"],
        "security_bits": later["security_bits"],
    }


def per_step(f: dict, name: str) -> float:
    """A figure of a proof, divided by its steps."""
    value = f[name]
    return (sum(value.values()) if isinstance(value, dict) else value) / f["steps"]


HEADER = ["", "", "proving, a step", "seconds for zero knowledge", "one proof file", "bytes for zero knowledge", "files of the chunk"]
HEADER += ["bytes a step", "verifying, a step", "verifying one file, process", "peak memory"]


def row(value: int, kind: str, steps: int, f: dict) -> list[str]:
    """A line of the table."""
    share = sum(f["hiding_bytes"].values()) / f["proof_bytes"]
    return [
        f"{value:,}",
        kind,
        seconds_text(per_step(f, "prove_seconds")),
        seconds_text(per_step(f, "hiding_seconds")),
        bytes_text(f["proof_bytes"]),
        f"{bytes_text(sum(f['hiding_bytes'].values()))} ({100 * share:.0f} %)",
        f"{steps // f['steps']} x {bytes_text(f['proof_bytes'])}",
        bytes_text(per_step(f, "proof_bytes")),
        seconds_text(per_step(f, "verifier_seconds")),
        seconds_text(f["verify_seconds"]),
        bytes_text(f["peak_rss_bytes"]),
    ]


def savings(sweep: Sweep, figures: dict) -> str:
    """A sentence: how many times less a step costs with aggregation, at each point."""
    parts = []
    for name, what in (("prove_seconds", "proving"), ("proof_bytes", "bytes"), ("verifier_seconds", "verifying")):
        ratios = [
            per_step(figures[key(p, "sequential")], name) / per_step(figures[key(p, "aggregated")], name) for p in sweep.points.values()
        ]
        parts.append(f"{what} {', '.join(map(times, ratios))}")
    return f"Without aggregation a step costs, for {sweep.variable} {', '.join(f'{v:,}' for v in sweep.points)}: {'; '.join(parts)}."


def common(sweep: Sweep) -> str:
    """What all points of a sweep share."""
    shared = {"width": set(), "hidden layers": set(), "batch": set(), "steps of a chunk": set()}
    for point in sweep.points.values():
        widths = parse_widths(point.widths)
        for name, value in zip(shared, (widths[1], len(widths) - 2, point.batch, point.steps), strict=True):
            shared[name].add(value)
    return "All with " + ", ".join(f"{name} {values.pop()}" for name, values in shared.items() if len(values) == 1) + "."


def section(sweep: Sweep, figures: dict) -> str:
    """A sweep's table and sentence; says where the two circuits differ."""
    lines, other = [], []
    for value, point in sweep.points.items():
        both = [figures[key(point, kind)] for kind in KINDS]
        lines += [row(value, kind, point.steps, f) for kind, f in zip(KINDS, both)]
        if both[0]["circuit"] != both[1]["circuit"]:
            other.append(f"{value:,}")
    head = f"### {sweep.name}: {sweep.variable}\n\n{common(sweep)}\n\n"
    note = f" For {', '.join(other)} the baseline's circuit has lookup tables of another width, chosen for other chunks." if other else ""
    return head + markdown([sweep.variable, *HEADER[1:]], lines) + f"\n\n{savings(sweep, figures)}{note}"


def plot(path: Path, found: list[Sweep], figures: dict) -> None:
    """Cost of a step along each variable: proving, bytes, verifying; solid with aggregation, dashed without."""
    rows = (
        ("prove_seconds", 1, "proving, s a step"),
        ("proof_bytes", 1e-3, "proof, kB a step"),
        ("verifier_seconds", 1, "verifying, s a step"),
    )
    hidden = {"prove_seconds": "hiding_seconds", "proof_bytes": "hiding_bytes"}
    with figure(path, len(rows), len(found), size=(4.7, 3.2)) as (drawn, panels):
        for i, (name, unit, label) in enumerate(rows):
            for axis, sweep in zip(panels[i * len(found) :], found):
                x = list(sweep.points)
                for kind, style, colour in zip(KINDS, ("o-", "s--"), (BLUE, RED)):
                    shown = [figures[key(p, kind)] for p in sweep.points.values()]
                    axis.plot(x, [unit * per_step(f, name) for f in shown], style, color=colour, label=kind)
                    if name in hidden:
                        part = [unit * per_step(f, hidden[name]) for f in shown]
                        axis.plot(x, part, ":", color=colour, alpha=0.7, label=f"{kind}: only for zero knowledge")
                axis.set(xlabel=sweep.variable, ylabel=label)
                log_axis(axis, x)
                log_y(axis)
        drawn.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=4, frameon=False)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parsed = parse_options(parser, "aggregation", arguments, repeat=(1, 3))
    return experiment(sweeps(parsed.full), parsed.out, parsed.repeat, parsed.fresh)


def experiment(found: list[Sweep], out: Path, repeat: int, fresh: bool = False) -> int:
    """Measure, and write the report."""
    record = Record(out, "aggregation", seed=0, settings={"repeat": repeat}, fresh=fresh)
    points = {key(point, kind): (point, kind) for sweep in found for point in sweep.points.values() for kind in KINDS}
    for name, (point, kind) in points.items():
        options = ["--no-range-check", "--no-native", *["--sequential"] * (kind == "sequential")]
        f = record.measured(name, lambda: figures_of(run_bench(point, repeat, out, *options)))  # noqa: B023
        text = f"proving {seconds_text(per_step(f, 'prove_seconds'))}, {bytes_text(per_step(f, 'proof_bytes'))} a step"
        print(f"{name}: {text}", flush=True)
    head = (
        f"Each row is a proof of a chain's later chunk, warm, median of {repeat}; seconds and bytes a step are those of one proof, "
        "divided by its steps. Everything is counted: witness, commitments to weights and data, updates, opening, pads. Verifying a "
        "step is the verifier's own time; the process with its start stands beside it. Zero knowledge: bytes and seconds that exist "
        "for nothing else (salts, rows of masks, pads and triples, folded masks; drawing them, and their share of encoding and "
        "hashing, whose times are added up though trees are made beside one another). Not counted: random coefficients inside of rows, "
        "a few more queries for them, adding pads to messages (experiments/hiding.py)."
    )
    text = record.write("What aggregation saves", [head, *(section(sweep, record.figures) for sweep in found), PUBLISHED])
    plot(out / "aggregation.png", found, record.figures)
    print(f"\n{text}\nFiles in {out}.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
