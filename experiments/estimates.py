"""Compare what zkjax.estimate says with what bench.py has measured: both values, and estimated over measured.

    python -m zkjax measure
    python experiments/bench.py --config digits --json digits.json
    python experiments/estimates.py digits.json ...

Sizes follow from the configuration alone; seconds from the constants that ``measure`` found, or from built-in ones. ``--machine``
names another file of constants.
"""

import argparse
import json
import sys
from pathlib import Path

from bench import Config, loss, optimizer_of, params_of
from common import columns
from report import bytes_text, seconds_text


def shapes(config: Config):
    """(parameters, batch) of a configuration, without values."""
    import jax
    import numpy as np

    params = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), params_of(config))
    return params, tuple(jax.ShapeDtypeStruct((config.batch, n), np.float32) for n in (config.widths[0], config.widths[-1]))


def estimated(config: Config, machine: str | None = None):
    """The estimate of a configuration's two chunks."""
    import zkjax

    params, batch = shapes(config)
    circuit = zkjax.trace(loss, optimizer_of(config), params, batch=batch, chunk=config.steps)
    read = config.steps * config.batch
    return zkjax.estimate(circuit, 2 * config.steps, chunk=config.steps, shard_size=read, machine=machine)


def compared(result: dict, machine: str | None = None) -> dict[str, tuple[float, float]]:
    """Figure to (estimated, measured), of one result of ``bench.py``."""
    config = Config(result["config"], tuple(result["widths"]), result["batch"], result["steps"], optimizer=result["optimizer"])
    found = estimated(config, machine)
    pairs = {}
    for kind, part in zip(("first", "later"), found.parts, strict=True):
        chunk = result["chunks"].get(kind)
        if chunk is None:
            continue
        speed, sizes = found.machine, part.sizes
        pairs |= {
            f"{kind} chunk: training": (speed.training_seconds(sizes), chunk["train_seconds"]),
            f"{kind} chunk: proving": (speed.proving_seconds(sizes), chunk["prove_seconds"]),
            f"{kind} chunk: verifying": (speed.verifying_seconds(sizes), chunk["verifier_seconds"]),
            f"{kind} chunk: proof": (sizes.proof_bytes, chunk["proof_bytes"]),
        }
    if result["cold_seconds"] is not None:
        pairs["compiling"] = found.compiling_seconds, result["cold_seconds"]
    if result["peak_rss_bytes"] is not None:
        pairs["peak memory"] = found.memory_bytes, result["peak_rss_bytes"]
    return pairs


def table(results: list[dict], machine: str | None = None) -> str:
    """All figures of all results: estimated, measured, and their ratio."""
    rows = [("", "estimated", "measured", "ratio")]
    for result in results:
        rows.append((f"{result['config']} ({'-'.join(map(str, result['widths']))}), {result['optimizer']}", "", "", ""))
        for name, (told, found) in compared(result, machine).items():
            text = bytes_text if name.endswith(("proof", "memory")) else seconds_text
            rows.append((f"  {name}", text(told), text(found), f"{told / found:.2f}"))
    return columns(rows)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("results", nargs="+", type=Path, metavar="FILE", help="what bench.py --json wrote")
    parser.add_argument("--machine", metavar="FILE", help="constants that `python -m zkjax measure --out FILE` wrote")
    parsed = parser.parse_args(arguments)
    print(table([json.loads(path.read_text(encoding="utf-8")) for path in parsed.results], parsed.machine))
    return 0


if __name__ == "__main__":
    sys.exit(main())
