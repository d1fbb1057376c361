"""The building blocks over the Goldilocks field, beside those of pyzorch: transform, commitment, sumcheck, lookups, opening.

    python experiments/primitives.py [--full] [--pyzorch-python PYTHON] [--out DIR]

pyzorch (PyPI, optional) offers the same protocols on ``frx``, a fork of JAX with field types; it needs Python 3.11 and an environment
of its own, whose interpreter --pyzorch-python names. Both sides run in processes of their own, one after the other. Each block is run
once cold (it compiles) and then several times warm; the median counts. A block of pyzorch that takes more time or memory than
--limit-seconds and --limit-gb allow is stopped, and reported as that: some compile for minutes on a CPU.

The two are not the same: zkjax challenges come from the quadratic extension (128 bits), pyzorch's from the cubic one (192 bits), which
is the one that it has; zkjax hashes columns with BLAKE2s and salts, pyzorch with SHA-256 or Poseidon2; zkjax's sumchecks, lookups and
opening carry the pads of zero knowledge, pyzorch's have none. The report says so next to each figure.
OUT gets primitives.json, primitives.md and primitives.png. Under two minutes without pyzorch, a few with it.
"""

import argparse
import json
import shutil
import statistics
import sys
import time
from pathlib import Path

import numpy as np
from common import run_process
from report import AMBER, BLUE, Record, bytes_text, compared, figure, parse_options, positive, seconds_text, table, times

SEED = 0
ROWS = 8  # of a transform and of a commitment
LOG_BLOWUP = 2  # rate 1/4
QUERIES = 154  # 104 bits within unique decoding at this rate: (5/8)^q
BLOCKS = {
    "ntt": f"transform of {ROWS} rows, rate 1/4",
    "columns": f"Merkle tree over columns of {ROWS}",
    "sumcheck": "sumcheck of a product",
    "lookup": "LogUp-GKR",
    "commit": "commitment for an opening",
    "opening": "opening",
}
NOTES = {
    "ntt": ("code length; values at all points", "the same, by its native transform"),
    "columns": ("BLAKE2s, a salt for each column", "SHA-256, no salts"),
    "sumcheck": ("quadratic extension, pads", "cubic extension, no pads"),
    "lookup": ("numerators in the field, denominators in the quadratic extension, pads", "both in the cubic extension, no pads"),
    "commit": (
        "cells in the field, rate 1/4, BLAKE2s, blinded",
        "cells in the cubic extension, rate 1/4, Poseidon2 of width 8",
    ),
    "opening": (
        "zero knowledge, 104 bits each level, as many levels as make the proof small",
        f"Ligerito, two levels of {QUERIES} queries that fold 4 and 3 variables, the rest in the clear; no zero knowledge",
    ),
}


def timed(function, repeat: int) -> dict:
    """Seconds of the first call, and the median of the calls after it."""
    seconds = []
    for _ in range(repeat + 1):
        started = time.perf_counter()
        function()
        seconds.append(time.perf_counter() - started)
    return {"cold_seconds": seconds[0], "seconds": statistics.median(seconds[1:])}


# ---- zkjax ------------------------------------------------------------------------------------------------------


def zkjax_blocks(size: int, repeat: int, blocks: list[str]) -> dict:
    """A worker's job: these blocks at 2^size."""
    from zkjax.kernels.threads import scope

    with scope():
        return {name: timed(ZKJAX[name](size), repeat) for name in blocks}


def _field(rng, *shape) -> np.ndarray:
    from zkjax.algebra.field import P

    return rng.integers(0, P, size=shape, dtype=np.uint64)


def _zkjax_ntt(size: int):
    import jax

    from zkjax.kernels.ntt import encode

    rows = _field(np.random.default_rng(SEED), ROWS, 1 << (size - LOG_BLOWUP))

    def run():
        for i in range(0, ROWS, 2):  # two rows at a time, as commitments do
            jax.block_until_ready(encode(rows[i : i + 2], size))

    return run


def _zkjax_columns(size: int):
    import jax.numpy as jnp

    from zkjax.algebra.hashing import CHUNK
    from zkjax.commitment.merkle import Tree, leaf_headers, part_tag
    from zkjax.kernels.merkle import hash_columns, parents

    if 1 << size < CHUNK:
        raise SystemExit(f"error: columns are hashed in chunks of {CHUNK}")
    rng = np.random.default_rng(SEED)
    groups = [jnp.asarray(_field(rng, 2, 1 << size)) for _ in range(ROWS // 2)]
    salts = rng.integers(0, 2**32, size=(4, 1 << size), dtype=np.uint32)
    header = leaf_headers(part_tag("trace", 0, "cells"), ROWS, salts)
    return lambda: Tree(hash_columns(header, groups, ROWS), parents).root


def _hidden(protocol):
    """A runner of a hidden protocol in the prover's role, pads drawn afresh."""
    from zkjax.algebra.extension import Ext
    from zkjax.algebra.field import P
    from zkjax.protocol.hidden import Hidden, make_masks
    from zkjax.protocol.transcript import Transcript, Writer

    counter = Hidden()
    protocol(counter, None)
    rng = np.random.default_rng(SEED)

    def elements(count: int) -> list:
        return [Ext(*map(int, pair)) for pair in rng.integers(0, P, size=(count, 2), dtype=np.uint64)]

    def run():
        stream = Writer(Transcript(b"parameters", b"statement"))
        protocol(Hidden(stream, make_masks(counter.counts(), elements)), True)
        return bytes(stream)

    return run


def _zkjax_sumcheck(size: int):
    import jax.numpy as jnp

    from zkjax.algebra import extension as ext
    from zkjax.protocol.sumcheck import product_sumcheck

    rng = np.random.default_rng(SEED)
    left, right = (tuple(_field(rng, 1 << size) for _ in range(2)) for _ in range(2))
    total = ext.dot(left, right)
    tables = [tuple(jnp.asarray(c) for c in table) for table in (left, right)]
    return _hidden(lambda hidden, proving: product_sumcheck(hidden, "sum", hidden.public(total), size, tables if proving else None))


def _zkjax_lookup(size: int):
    import jax.numpy as jnp

    from zkjax.algebra.field import P
    from zkjax.protocol.lookup import fractional_sum

    rng = np.random.default_rng(SEED)
    half = _field(rng, 1 << (size - 1))
    p = np.concatenate([half, np.uint64(P) - np.maximum(half, np.uint64(1))])  # fractions in pairs whose sum is 0
    p[: len(half)] = np.maximum(half, np.uint64(1))
    q = tuple(np.tile(_field(rng, 1 << (size - 1)), 2) for _ in range(2))
    leaves = jnp.asarray(p - np.uint64(1)), tuple(jnp.asarray(c) for c in q)  # no numerator is 0
    return _hidden(lambda hidden, proving: fractional_sum(hidden, size, 0, leaves if proving else None))


def _committed(size: int):
    """A function that commits to 2^size cells for one opening, and the geometry that suits them."""
    from zkjax.commitment import Geometry, Mask
    from zkjax.commitment.commit import commit

    geometry = Geometry.cheapest([1 << size], rates=(LOG_BLOWUP,), max_budget=1)
    count = max(1, (1 << size) // geometry.row)
    rows = _field(np.random.default_rng(SEED), count, geometry.row)
    mask = Mask.of(geometry, [count], [1])
    return geometry, rows, lambda: commit(rows, kind="trace", number=0, budget=1, geometry=geometry, seed=bytes(32), mask=mask)


def _zkjax_commit(size: int):
    return _committed(size)[2]


def _zkjax_opening(size: int):
    from zkjax.algebra import extension as ext
    from zkjax.commitment import open_claim
    from zkjax.protocol.transcript import Transcript, Writer

    geometry, rows, make = _committed(size)
    committed, rng = make(), np.random.default_rng(SEED + 1)
    weights = tuple(_field(rng, *rows.shape) for _ in range(2))
    value = ext.dot(tuple(c.reshape(-1) for c in weights), ext.from_base(rows.reshape(-1)))

    def run():
        stream = Writer(Transcript(geometry.digest(), b"statement"))
        open_claim(stream, geometry, [committed], [weights], value)
        return bytes(stream)

    return run


ZKJAX = {
    "ntt": _zkjax_ntt,
    "columns": _zkjax_columns,
    "sumcheck": _zkjax_sumcheck,
    "lookup": _zkjax_lookup,
    "commit": _zkjax_commit,
    "opening": _zkjax_opening,
}


# ---- pyzorch ----------------------------------------------------------------------------------------------------


def pyzorch_blocks(size: int, repeat: int, blocks: list[str]) -> dict:
    """A worker's job: the same by pyzorch."""
    return {name: timed(getattr(Pyzorch(size), name)(), repeat) for name in blocks}


class Pyzorch:
    """pyzorch's blocks at 2^size: each method prepares one, and returns a function that runs it."""

    def __init__(self, size: int):
        import frx
        import frx.numpy as fnp
        import zk_dtypes

        self.frx, self.np, self.size = frx, fnp, size
        self.base, self.cubic = zk_dtypes.goldilocks, zk_dtypes.goldilocksx3
        self.rng = np.random.default_rng(SEED)

    def field(self, *shape):
        return self.np.array(self.rng.integers(0, 2**62, size=shape, dtype=np.int64), dtype=self.base)

    def extension(self, count: int):
        return self.field(count, 3).view(self.cubic).reshape(count)

    def transcript(self):
        from zorch.sha256_field_transcript import Sha256FieldTranscript

        return Sha256FieldTranscript.new(b"statement", self.base)

    def ready(self, function):
        return lambda: self.frx.block_until_ready(function())

    def ntt(self):
        length, lax = 1 << self.size, self.frx.lax
        rows = self.field(ROWS, length >> LOG_BLOWUP)
        padding = ((0, 0), (0, length - rows.shape[1]))
        transform = self.frx.jit(lambda x: lax.ntt(self.np.pad(x, padding), ntt_type="NTT", ntt_length=length))
        return self.ready(lambda: transform(rows))

    def columns(self):
        from zorch.hash.sha256 import digest

        leaves = self.rng.integers(0, 256, size=(1 << self.size, 8 * ROWS), dtype=np.uint8)

        def tree():
            layer = np.asarray(digest(leaves))
            while len(layer) > 1:
                layer = np.asarray(digest(layer.reshape(len(layer) // 2, 64)))
            return layer

        return tree

    def sumcheck(self):
        from zorch.challenge import ChallengePolicy
        from zorch.sumcheck.prover import ProductSummand, StandardRound
        from zorch.sumcheck.stage import SumcheckProver, SumcheckWitness, SumClaim

        tables = self.np.stack([self.extension(1 << self.size) for _ in range(2)])
        claim = SumClaim((tables[0] * tables[1]).sum(), self.size)
        prover = SumcheckProver(StandardRound(ProductSummand(2), challenges=ChallengePolicy(self.cubic)))
        return self.ready(lambda: prover.prove(claim, SumcheckWitness(tables), self.transcript()).reduction_proof)

    def lookup(self):
        from zorch.challenge import ChallengePolicy
        from zorch.logup_gkr.circuit import GkrLayer, build_pyramid, extract_outputs
        from zorch.logup_gkr.stage import LogUpGkrProver, LogUpOutputClaim

        layer = GkrLayer(*(self.extension(1 << (self.size - 1)) for _ in range(4)), 0)
        claim = LogUpOutputClaim(extract_outputs(build_pyramid(layer)[-1]), layer.num_row_variables)
        prover = LogUpGkrProver(ChallengePolicy(self.cubic))
        return self.ready(lambda: [x.round_polys for x in prover.prove(claim, layer, self.transcript()).reduction_proof.layers])

    def opener(self):
        """Ligerito over Poseidon2 of width 8: the shape of its usual instance; the constants do not matter to its speed."""
        from zorch.coding.reed_solomon import ReedSolomon
        from zorch.commit.merkle import MerkleTree
        from zorch.hash.compression import Compression, CompressionParams
        from zorch.hash.poseidon2.params import Poseidon2Params
        from zorch.hash.poseidon2.poseidon2 import Poseidon2
        from zorch.hash.sponge import Sponge, SpongeParams
        from zorch.pcs.ligerito.config import LigeritoConfig
        from zorch.pcs.ligerito.prover import LigeritoProver

        width, full, partial = 8, 4, 22
        inner = np.zeros((partial, width), dtype=np.int64)
        inner[:, 0] = self.rng.integers(0, 2**62, size=partial)
        constants = self.field(full, width), self.field(full, width), self.np.array(inner, dtype=self.base), self.field(width)
        permutation = Poseidon2(Poseidon2Params(width, self.base, 7, full, partial, *constants))
        tree = MerkleTree(Sponge(permutation, SpongeParams(4, 4)), Compression(permutation, CompressionParams(2, 4)))
        folded = (4, 3)  # variables of each level
        config = LigeritoConfig(self.size, folded, (LOG_BLOWUP,) * 2, (QUERIES,) * 2)
        return LigeritoProver(lambda length, rate: ReedSolomon(length, 1 << rate, self.cubic), tree, config), permutation

    def commit(self):
        prover, _ = self.opener()
        values = self.extension(1 << self.size)
        return self.ready(lambda: prover.commit([values])[0])

    def opening(self):
        from zorch.pcs.stage import OpeningClaim, OpeningWitness
        from zorch.transcript import DuplexTranscript

        prover, permutation = self.opener()
        root, data = prover.commit([self.extension(1 << self.size)])
        claim, witness = OpeningClaim(root, [self.extension(self.size)]), OpeningWitness(data)
        return self.ready(lambda: prover.prove(claim, witness, DuplexTranscript.new(permutation, 4)).reduction_proof.proof.final_residual)


def find_pyzorch(given: str | None) -> tuple[str, str] | None:
    """(interpreter, version) of the first Python here that has pyzorch: the given one, or this one and those on the path."""
    names = [given] if given else [sys.executable, shutil.which("python3.11"), shutil.which("python3")]
    for python in dict.fromkeys(filter(None, names)):
        try:
            done = run_process([python, "-c", "import frx, zorch; from importlib.metadata import version; print(version('pyzorch'))"])
        except OSError:
            continue
        if done.status == 0:
            return python, done.output.strip().splitlines()[-1]
    return None


# ---- reports ----------------------------------------------------------------------------------------------------


WORKERS = {"zkjax": zkjax_blocks, "pyzorch": pyzorch_blocks}


def work(system: str, python: str, size: int, repeat: int, limits: dict) -> dict:
    """All blocks of one side: zkjax's in one process, pyzorch's in one each. limits: for ``run_process``, on pyzorch's."""
    figures = {}
    for names in [[*BLOCKS]] if system == "zkjax" else [[name] for name in BLOCKS]:
        command = [python, __file__, "--worker", system, "--size", str(size), "--repeat", str(repeat), "--blocks", *names]
        done = run_process(command, **(limits if system != "zkjax" else {}))
        if done.stopped:
            figures |= {name: {"stopped": f"after {done.seconds:.0f} s, with {bytes_text(done.peak_memory)}"} for name in names}
        elif done.status:
            raise SystemExit(f"{done.output[-2000:]}\n{done.errors[-4000:]}\nerror: {system} failed at {names}, 2^{size}")
        else:
            figures |= json.loads(done.output.splitlines()[-1])
    return figures


def rate(size: int, f: dict) -> str:
    """Seconds of a block, and nanoseconds an entry; or that it was stopped."""
    return f"stopped {f['stopped']}" if "stopped" in f else f"{seconds_text(f['seconds'])} ({f['seconds'] / 2**size * 1e9:,.0f} ns)"


def rows(size: int, ours: dict, theirs: dict | None) -> list[list[str]]:
    """The table's lines for one size."""
    result = []
    for name, what in BLOCKS.items():
        line = [f"{what}, 2^{size}", rate(size, ours[name]), seconds_text(ours[name]["cold_seconds"])]
        if theirs:
            line += [rate(size, theirs[name]), seconds_text(theirs[name].get("cold_seconds"))]
            line.append("-" if "stopped" in theirs[name] else compared(ours[name]["seconds"], theirs[name]["seconds"]))
        result.append(line)
    return result


def verdict(size: int, ours: dict, theirs: dict) -> str:
    """Where zkjax is faster, and where it is not."""
    finished = {name: what for name, what in BLOCKS.items() if "stopped" not in theirs[name]}
    ratios = {what: ours[name]["seconds"] / theirs[name]["seconds"] for name, what in finished.items()}
    faster = [f"{what} ({times(1 / r)})" for what, r in ratios.items() if r < 1]
    slower = [f"{what} ({times(r)})" for what, r in ratios.items() if r >= 1]
    stopped = [what for name, what in BLOCKS.items() if name not in finished]
    text = f"At 2^{size}, warm, zkjax is faster at: {', '.join(faster) or 'nothing'}. It is slower at: {', '.join(slower) or 'nothing'}."
    return text + (f" Nothing can be said of: {', '.join(stopped)}; pyzorch was stopped before its first call ended." if stopped else "")


def plot(path: Path, results: dict) -> None:
    """Nanoseconds an entry of each block, by size; no bar where a side was stopped or is not installed."""
    sizes = list(results)
    with figure(path, 2, 3, size=(4.4, 3.0)) as (drawn, panels):
        colours = {"zkjax": BLUE, "pyzorch": AMBER}
        for axis, (name, what) in zip(panels, BLOCKS.items(), strict=True):
            for i, size in enumerate(sizes):
                seconds = {system: results[size].get(system, {}).get(name, {}).get("seconds") for system in colours}
                known = {system: value / 2**size * 1e9 for system, value in seconds.items() if value is not None}
                for j, (system, ns) in enumerate(known.items()):  # side by side around the tick, however many there are
                    bar = axis.bar(i + 0.4 * (j - (len(known) - 1) / 2), ns, 0.38, color=colours[system], label=system)
                    axis.bar_label(bar, [f"{ns:,.0f}"], padding=2, fontsize="small")
            axis.set(title=what, ylabel="ns an entry")
            axis.set_xticks(range(len(sizes)), [f"2^{n}" for n in sizes])
            axis.set_xlim(-0.6, len(sizes) - 0.4)
            axis.margins(y=0.15)
        legend = dict(zip(*reversed(panels[0].get_legend_handles_labels()), strict=True))  # each system once
        drawn.legend(legend.values(), legend.keys(), loc="outside lower center", ncols=2, frameon=False)


def experiment(
    sizes: list[int], out: Path, repeat: int, pyzorch: tuple[str, str] | None, limits: dict | None = None, fresh: bool = False
) -> int:
    """Measure, and write the report. pyzorch: interpreter and version, or None. limits: see ``work``."""
    missing = "**pyzorch is not installed** (pip install pyzorch; name its Python by --pyzorch-python): only zkjax was measured."
    if pyzorch is None:
        print(missing)
    limits = limits or {}
    settings = {"repeat": repeat, "pyzorch": pyzorch and pyzorch[1], "limits": limits}
    record = Record(out, "primitives", seed=SEED, settings=settings, fresh=fresh)
    systems = {"zkjax": sys.executable} | ({"pyzorch": pyzorch[0]} if pyzorch else {})
    results: dict[int, dict] = {}
    for size in sizes:
        for system, python in systems.items():
            f = record.measured(f"{system}: 2^{size}", lambda: work(system, python, size, repeat, limits))  # noqa: B023
            results.setdefault(size, {})[system] = f
            print(f"{system}, 2^{size}: " + ", ".join(f"{name} {rate(size, f[name])}" for name in BLOCKS), flush=True)
    header = ["", "zkjax (an entry)", "cold"] + (["pyzorch (an entry)", "cold", "zkjax takes"] if pyzorch else [])
    lines = [line for size, both in results.items() for line in rows(size, both["zkjax"], both.get("pyzorch"))]
    parts = [f"Warm medians of {repeat} after a first, cold call.", table(header, lines)]
    if pyzorch:
        parts[0] += f" pyzorch {pyzorch[1]}, driven through its own stages, on the same processor. It is made for GPUs, which"
        parts[0] += " nothing here says anything about; at small sizes both sides pay for calls more than for arithmetic."
        parts.append("\n\n".join(verdict(size, both["zkjax"], both["pyzorch"]) for size, both in results.items()))
        counts = [[what, *NOTES[name]] for name, what in BLOCKS.items()]
        parts += ["## What is not the same", table(["", "zkjax", "pyzorch"], counts)]
    else:
        parts.insert(0, missing)
    text = record.write("Building blocks", parts)
    plot(out / "primitives.png", results)
    print(f"\n{text}\nFiles in {out}.")
    return 0


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--pyzorch-python", help="a Python that has pyzorch (default: looked for on the path)")
    parser.add_argument("--repeat", type=positive, default=3, help="warm calls of each block (default %(default)s)")
    parser.add_argument("--limit-seconds", type=float, help="for one block of pyzorch (default: 120, with --full 900)")
    parser.add_argument("--limit-gb", type=float, default=8, help="memory of one block of pyzorch (default %(default)s)")
    parser.add_argument("--worker", choices=WORKERS, help=argparse.SUPPRESS)
    parser.add_argument("--size", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--blocks", nargs="+", choices=BLOCKS, help=argparse.SUPPRESS)
    parsed = parse_options(parser, "primitives", arguments)
    if parsed.worker:
        print(json.dumps(WORKERS[parsed.worker](parsed.size, parsed.repeat, parsed.blocks)))
        return 0
    limits = {"seconds": parsed.limit_seconds or (900 if parsed.full else 120), "memory": int(1e9 * parsed.limit_gb)}
    sizes = [16, 18, 20] if parsed.full else [14]
    return experiment(sizes, parsed.out, parsed.repeat, find_pyzorch(parsed.pyzorch_python), limits, parsed.fresh)


if __name__ == "__main__":
    sys.exit(main())
