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
from report import BLUE, Record, bytes_text, figure, parse_options, seconds_text, table
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
    file_bytes: float | None = None  # of one proof, as it would be sent

    def text(self, name: str) -> str:
        value = getattr(self, name)
        form = bytes_text if "bytes" in name else seconds_text
        return "-" if value is None else f"{'under ' * self.bound}{form(value)}"


PUBLISHED = {
    "10M": [
        Published("zkDL, 8 layers, 10 M parameters, batch 64, one A100", "abstract of arXiv 2307.16273 v2", 1.0, bound=True),
        Published("zkDL, 8 layers of 1024, batch 64, one A100", "TIFS 2024, as others quote its tables", 0.86, 0.19, 33.0),
        Published("the same: 16 steps in one proof", "counted from its public benchmark's code", None, None, 1750.0, file_bytes=28_000.0),
        Published("zkDL, without aggregation", "TIFS 2024, as others quote its tables", 47.0, 42.0, 82_000.0),
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
    ["bytes", "the file, and the file divided by its steps", "33 B a step takes about a thousand steps in one proof"],
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


def measure_sequential(config: Config, out: Path) -> dict:
    """The same without aggregation: one step in a proof, a lookup tree and an opening for each layer."""
    point = Point(",".join(map(str, config.widths)), config.batch, config.steps)
    return run_bench(point, 1, out, "--no-range-check", "--no-native", "--sequential")


def name_of(result: dict) -> str:
    """What was measured."""
    widths = result["widths"]
    return f"{len(widths) - 2} layers of {widths[1]}, {result['parameters'] / 1e6:.3g} M parameters, batch {result['batch']}"


def mine(what: str, result: dict) -> list[str]:
    """A line of our own."""
    steps, later = result["steps"], result["chunks"]["later"]
    return [
        f"**zkjax**{what}",
        seconds_text(result["prove_seconds_per_step"]),
        seconds_text(later["hiding_seconds"] / steps),
        seconds_text(result["verifier_seconds"] / steps),
        f"{bytes_text(result['proof_bytes'])} / {bytes_text(result['proof_bytes_per_step'])}",
        bytes_text(result["peak_rss_bytes"]),
        "measured",
    ]


def row(name: str, result: dict, sequential: dict | None = None) -> list[list[str]]:
    """A row's lines: ours, then what is published about the net that it stands for."""
    lines = [mine(f": {name_of(result)}, {result['steps']} steps in one proof", result)]
    if sequential is not None:
        lines.append(mine(", without aggregation: a proof for each step, layer by layer", sequential))
    for p in PUBLISHED[name]:
        size = f"{p.text('file_bytes')} / {p.text('bytes')}"
        lines.append([p.what, p.text("prove_seconds"), "-", p.text("verify_seconds"), size, "-", p.source])
    return lines


HEADER = ["", "proving, a step", "of that, zero knowledge", "verifying, a step", "proof: file / a step", "peak memory", "source"]


def details(name: str, result: dict) -> str:
    """What the table leaves out about our row."""
    reach = result["steps_until_range_check"]
    checked = (
        f"one chunk in every {reach:,} steps also range-checks the weights, and its time is part of the time of a step"
        if result["range_check_measured"]
        else "the first chunk of a chain, which also range-checks the weights, does not fit 24 GiB of memory: measured are later chunks, "
        "whose proofs verify only with that bound taken for granted (--assume-bound)"
    )
    return (
        f"{name}: exact training costs {seconds_text(result['train_seconds_per_step'])} a step on top, a float32 step of the same net "
        f"{seconds_text(result['native_step_seconds'])}, so that training and proving take {result['overhead']:.0f} times as long; "
        f"commitments are {seconds_text(result['commit_seconds_per_step'])} of the proving; {checked}. Proven security "
        f"{result['security_bits']:.1f} bits; verifying one file in a process of its own takes {seconds_text(result['verify_seconds'])}."
    )


def plot(path: Path, results: dict[str, dict], sequential: dict | None) -> None:
    """Seconds of a step, bytes of a step and of a file, ours beside the published figures; logarithmic."""
    style = {"color": "#dddddd", "edgecolor": "#888888"}
    with figure(path, len(results), 2, size=(7.6, 2.6)) as (drawn, panels):
        for i, (name, result) in enumerate(results.items()):
            lines = [(f"zkjax: {name_of(result)}", result["prove_seconds_per_step"], result["proof_bytes_per_step"], result["proof_bytes"])]
            if sequential is not None and name == "10M":
                figures = (sequential[key] for key in ("prove_seconds_per_step", "proof_bytes_per_step", "proof_bytes"))
                lines.append(("zkjax, without aggregation", *figures))
            own, lines = len(lines), lines + [(p.what, p.prove_seconds, p.bytes, p.file_bytes) for p in PUBLISHED[name]]
            under = [""] * own + ["under " * p.bound for p in PUBLISHED[name]]
            labels = [what.replace(", batch", ",\nbatch", 1) for what, *_ in lines]
            size = " (reduced size)" if tuple(result["widths"]) != CONFIGS[NAMES[name]].widths else ""
            for axis, column, text, title in (
                (panels[2 * i], 1, seconds_text, "proving, seconds a step"),
                (panels[2 * i + 1], 2, bytes_text, "proof, bytes a step (ring: the whole file)"),
            ):
                known = [at for at, line in enumerate(lines) if line[column] is not None]  # rows without a figure get no place
                for place, at in enumerate(known):
                    bars = axis.barh(place, lines[at][column], height=0.7, **({"color": BLUE} if at < own else style))
                    axis.bar_label(bars, [under[at] + text(lines[at][column])], padding=3, fontsize="small")
                    if column == 2 and lines[at][3] is not None:
                        axis.plot(lines[at][3], place, "o", color=BLUE if at < own else "#888888", fillstyle="none")
                axis.set_yticks(range(len(known)), [labels[at] for at in known])
                axis.set(title=f"{name} row{size}: {title}", xscale="log")
                axis.invert_yaxis()
                axis.margins(x=0.25)
                axis.tick_params(axis="y", labelsize="small")


def experiment(configs: dict[str, Config], out: Path, repeat: int, fresh: bool = False) -> int:
    """Measure, and write the report. configs: what to measure for the rows of these names."""
    record = Record(out, "headline", seed=0, settings={"repeat": repeat}, fresh=fresh)
    results = {}
    for name, config in configs.items():
        at = f"{name}: {config.widths}, batch {config.batch}, steps {config.steps}"
        results[name] = record.measured(at, lambda: measure(config, repeat, out))  # noqa: B023
        print(f"{at}: proving {seconds_text(results[name]['prove_seconds_per_step'])} a step", flush=True)
    sequential = None
    if "10M" in configs:  # the row that zkDL compares aggregation by
        config = configs["10M"]
        at = f"10M, without aggregation: {config.widths}, batch {config.batch}"
        sequential = record.measured(at, lambda: measure_sequential(config, out))
        print(f"{at}: proving {seconds_text(sequential['prove_seconds_per_step'])} a step", flush=True)
    smaller = [name for name, config in configs.items() if config.widths != CONFIGS[NAMES[name]].widths]
    notes = ["Seconds and bytes a step are those of one proof divided by its steps; the file's own size stands before them."]
    if smaller:
        notes.append(
            f"**Reduced size**: the nets measured for {' and '.join(smaller)} are much smaller than those of the published figures, and "
            "cannot be compared with them. Run with --full for the nets themselves."
        )
    lines = [line for name, result in results.items() for line in row(name, result, sequential if name == "10M" else None)]
    parts = [" ".join(notes), table(HEADER, lines), *(details(name, result) for name, result in results.items())]
    parts += ["## What each side counts", table(COUNTS[0], COUNTS[1:])]
    text = record.write("The headline rows", parts)
    plot(out / "headline.png", results, sequential)
    print(f"\n{text}\nFiles in {out}.")
    return 0


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--only", choices=NAMES, help="one of the rows")
    parsed = parse_options(parser, "headline", arguments, repeat=(1, 3))
    names = [parsed.only] if parsed.only else list(NAMES)
    configs = {name: CONFIGS[NAMES[name]] if parsed.full else reduced(CONFIGS[NAMES[name]]) for name in names}
    return experiment(configs, parsed.out, parsed.repeat, parsed.fresh)


if __name__ == "__main__":
    sys.exit(main())
