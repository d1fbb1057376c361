"""The rows that zkDL is known for, measured here: 8 layers with 10 M parameters, and 16 layers with 200 M.

    python experiments/headline.py [--full] [--only 10M|200M] [--out DIR]

Each row is a run of ``bench.py`` in a process of its own, beside what zkDL reports, and what either side counts. The default
takes nets of the same depth, batch and steps that are much narrower, through the same code; their figures say nothing about
the published ones and are shown to be what they are. --full takes the nets themselves: the larger one needs about 20 GiB.

OUT gets headline.json, headline.md and headline.png. About two minutes; with --full some tens of them.
"""

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path

from bench import CONFIGS, Config
from report import Record, add_options, bytes_text, figure, seconds_text, table
from scaling import Point, run_bench


@dataclass(frozen=True)
class Published:
    """What a paper's authors report, a step; None where they report nothing. source: where, and how it is known."""

    what: str
    source: str
    prove_seconds: float | None = None
    verify_seconds: float | None = None
    bytes: float | None = None
    bound: bool = False  # "under": the figures are upper bounds

    def text(self, name: str) -> str:
        value = getattr(self, name)
        form = bytes_text if name == "bytes" else seconds_text
        return "-" if value is None else f"{'under ' * self.bound}{form(value)}"


PUBLISHED = {
    "10M": [
        Published("zkDL, 8 layers, 10 M parameters, batch 64, one A100", "abstract of arXiv 2307.16273 v2", 1.0, bound=True),
        Published("zkDL, 8 layers of 1024, batch 64, one A100, T = 16 stacked", "TIFS 2024, as others quote its tables", 0.86, 0.19, 33.0),
        Published("zkDL, the same without aggregation", "TIFS 2024, as others quote its tables", 47.0, 42.0, 82_000.0),
    ],
    "200M": [
        Published("zkDL, 16 layers, 200 M parameters", "abstract of arXiv 2307.16273 v1", 60.0, None, 20_000.0, bound=True),
    ],
}
COUNTS = [
    ["", "zkjax", "zkDL"],
    ["forward and backward pass, ReLU, rescaling", "yes", "yes"],
    ["weight update inside the statement", "yes", "not in its public code"],
    ["commitments to data, weights and advice, in the proving time", "yes", "not in the public benchmark's time"],
    ["blinding: zero knowledge in every figure", "yes", "in the paper, not in its public code"],
    ["Fiat-Shamir, a proof file, a verifier in another process", "yes", "no verifier and no file in its public code"],
    ["bytes", "the file, and the file divided by its steps", "amortised over many steps"],
    ["data", "real numbers rounded, batches drawn by a public seed", "tensors of random integers in the public benchmark"],
    ["overflow", "bounds enforced by the proof", "not enforced in its public code"],
    ["security", "100 bits proven, hashes only", "discrete logarithms on BLS12-381"],
    ["hardware", "this machine's processor", "one NVIDIA A100"],
]
NAMES = {"10M": "headline", "200M": "wide"}  # of bench.py's configurations


def reduced(config: Config) -> Config:
    """The same depth, batch, steps and chunk, with layers a sixteenth (or less) as wide."""
    narrow = {"headline": 64, "wide": 48}[config.name]
    return Config(config.name, (96, *(narrow,) * (len(config.widths) - 2), 10), config.batch, min(config.steps, 4), config.range_check)


def measure(config: Config, repeat: int, out: Path) -> dict:
    """The figures of a row, by ``bench.py``."""
    point = Point(",".join(map(str, config.widths)), config.batch, config.steps)
    return run_bench(point, repeat, out, *["--no-range-check"] * (not config.range_check))


def row(name: str, result: dict) -> list[list[str]]:
    """A row's lines: ours, then what is published about the net that it stands for."""
    widths, steps = result["widths"], result["steps"]
    hidden = len(widths) - 2
    wall = result["chunks"]["later"]
    mine = [
        f"**zkjax**: {hidden} layers of {widths[1]}, {result['parameters'] / 1e6:.3g} M parameters, batch {result['batch']}, T = {steps}",
        seconds_text(result["prove_seconds_per_step"]),
        seconds_text(wall["hiding_seconds"] / steps),
        seconds_text(result["verifier_seconds"] / steps),
        f"{bytes_text(result['proof_bytes'])} / {bytes_text(result['proof_bytes_per_step'])}",
        bytes_text(result["peak_rss_bytes"]),
        "measured",
    ]
    others = [
        [p.what, p.text("prove_seconds"), "-", p.text("verify_seconds"), f"- / {p.text('bytes')}", "-", p.source] for p in PUBLISHED[name]
    ]
    return [mine, *others]


HEADER = ["", "proving, a step", "of that, zero knowledge", "verifying, a step", "proof: file / a step", "peak memory", "source"]


def details(name: str, result: dict) -> str:
    """What the table leaves out about our row."""
    reach = result["steps_until_range_check"]
    checked = (
        f"one chunk in every {reach:,} steps also range-checks the weights, and its time is part of the time of a step"
        if result["range_check_measured"]
        else "the chunk that range-checks the weights, once at the start of a chain, was not measured"
    )
    return (
        f"{name}: exact training costs {seconds_text(result['train_seconds_per_step'])} a step on top, a float32 step of the same net "
        f"{seconds_text(result['native_step_seconds'])}, so that training and proving take {result['overhead']:.0f} times as long; "
        f"commitments are {seconds_text(result['commit_seconds_per_step'])} of the proving; {checked}. Proven security "
        f"{result['security_bits']:.1f} bits; verifying one file in a process of its own takes {seconds_text(result['verify_seconds'])}."
    )


def plot(path: Path, results: dict[str, dict]) -> None:
    """Seconds of a step by phase, and bytes of a step, ours beside the published figures."""
    colours = ("#9db4c0", "#5c6b73", "#31446b", "#7a9e7e", "#d9a441", "#c02942")
    with figure(path, len(results), 2, size=(7.6, 2.4)) as (drawn, panels):
        for i, (name, result) in enumerate(results.items()):
            left, right = panels[2 * i : 2 * i + 2]
            phases, steps = result["chunks"]["later"]["phases"], result["steps"]
            mine, start = f"zkjax: {len(result['widths']) - 2} layers of {result['widths'][1]}", 0.0
            for (phase, seconds), colour in zip(phases.items(), colours):
                left.barh(mine, seconds / steps, left=start, color=colour, label=phase)
                start += seconds / steps
            left.annotate(f" {seconds_text(start)}", (start, 0), va="center", fontsize="small")
            own = right.barh(mine, result["proof_bytes_per_step"], color="#31446b")
            right.bar_label(own, [bytes_text(result["proof_bytes_per_step"])], padding=3, fontsize="small")
            for p in PUBLISHED[name]:
                style = {"color": "#eeeeee", "edgecolor": "#888888", "linestyle": "--" if p.bound else "-"}
                for axis, field in ((left, "prove_seconds"), (right, "bytes")):
                    if getattr(p, field) is not None:
                        bars = axis.barh(p.what.replace(", ", ",\n", 1), getattr(p, field), **style)
                        axis.bar_label(bars, [p.text(field)], padding=3, fontsize="small")
            size = " (reduced size)" if tuple(result["widths"]) != CONFIGS[NAMES[name]].widths else ""
            left.set(title=f"{name} row{size}: proving, seconds a step")
            right.set(title=f"{name} row{size}: proof, bytes a step")
            for axis in (left, right):
                axis.invert_yaxis()
                axis.margins(x=0.2)
                axis.tick_params(axis="y", labelsize="small")
        drawn.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=5, frameon=False)


def experiment(configs: dict[str, Config], out: Path, repeat: int, fresh: bool = False) -> int:
    """Measure, and write the report. configs: what to measure for the rows of these names."""
    record = Record(out, "headline", seed=0, settings={"repeat": repeat}, fresh=fresh)
    results = {}
    for name, config in configs.items():
        at = f"{name}: {config.widths}, batch {config.batch}, steps {config.steps}"
        results[name] = record.measured(at, lambda: measure(config, repeat, out))  # noqa: B023
        print(f"{at}: proving {seconds_text(results[name]['prove_seconds_per_step'])} a step", flush=True)
    smaller = [name for name, config in configs.items() if config.widths != CONFIGS[NAMES[name]].widths]
    notes = ["Seconds and bytes a step are those of one proof divided by its steps; the file's own size stands before them."]
    if smaller:
        notes.append(
            f"**Reduced size**: the nets measured for {' and '.join(smaller)} are much smaller than those of the published figures, and "
            "cannot be compared with them. Run with --full for the nets themselves."
        )
    lines = [line for name, result in results.items() for line in row(name, result)]
    parts = [" ".join(notes), table(HEADER, lines), *(details(name, result) for name, result in results.items())]
    parts += ["## What each side counts", table(COUNTS[0], COUNTS[1:])]
    text = record.write("The headline rows", parts)
    plot(out / "headline.png", results)
    print(f"\n{text}\nFiles in {out}.")
    return 0


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    add_options(parser, "headline")
    parser.add_argument("--only", choices=NAMES, help="one of the rows")
    parser.add_argument("--repeat", type=int, help="warm proofs of each kind (default: 1, with --full 3)")
    parsed = parser.parse_args(arguments)
    repeat = (3 if parsed.full else 1) if parsed.repeat is None else parsed.repeat
    if repeat < 1:
        parser.error("repeat is at least 1")
    names = [parsed.only] if parsed.only else list(NAMES)
    configs = {name: CONFIGS[NAMES[name]] if parsed.full else reduced(CONFIGS[NAMES[name]]) for name in names}
    return experiment(configs, parsed.out, repeat, parsed.fresh)


if __name__ == "__main__":
    sys.exit(main())
