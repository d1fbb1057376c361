"""Statements that ask for absurd work, in a process without JAX: ``python absurd.py CIRCUIT PROOF`` prints a JSON line for each.

Each line: name, growth of the peak memory in MB, and the error's class and text. A statement is as consistent as
a liar can make it, so that it is refused for what it asks, or far inside: roots and paths fit, bounds follow, and bodies
are canonical.
"""

import dataclasses
import json
import random
import resource
import signal
import struct
import sys

import zkjax
from zkjax.algebra.field import P
from zkjax.algebra.poly import num_bits
from zkjax.commitment.dataset import dataset_root, root_from_siblings, shard_count
from zkjax.proofs.proof import MAGIC, VERSION
from zkjax.protocol import schedule
from zkjax.protocol.plan import Batches, Plan, row_count

HANG = 600  # CPU seconds, where the longest takes a few: endless work ends as an error that no verifier raises
LARGEST = 2**32 - 1


def consistent(circuit, statement, *, steps=2, first_step=0, samples=12, shard_size=5):
    """A statement about other sizes, whose every part agrees with every other."""
    indices = schedule.batch_indices(statement.seed, samples, shard_size, circuit.batch_size, first_step, steps)
    batches = Batches(indices, shard_size, samples)
    plan = Plan(circuit, first_step, steps, statement.shifts, circuit.coarse_widths, batches)
    some, row = statement.shards[0], statement.geometry.row
    heights = {n: row_count(plan.shard_layout(n), row) for n in batches.shards}
    opened = {n: dataclasses.replace(some, number=n, parts=(some.parts[0]._replace(rows=rows),)) for n, rows in heights.items()}
    digests = {n: c.digest(statement.geometry) for n, c in opened.items()}
    count = shard_count(samples, shard_size)
    if count <= 2**12:
        root, siblings = dataset_root([digests.get(n, bytes(32)) for n in range(count)], list(opened), samples, shard_size)
    else:
        siblings = [bytes(32)] * num_bits(count)
        root = root_from_siblings(digests, siblings, samples, shard_size)
    growth = [(b - a) // statement.steps for a, b in zip(statement.initial_bound, statement.final_bound)]
    return dataclasses.replace(
        statement,
        steps=steps,
        first_step=first_step,
        samples=samples,
        shard_size=shard_size,
        shards=tuple(opened.values()),
        siblings=tuple(siblings),
        dataset=root,
        dataset_after=root,
        initial=dataclasses.replace(statement.initial, number=first_step),
        final=dataclasses.replace(statement.final, number=first_step + steps),
        final_bound=tuple(a + steps * g for a, g in zip(statement.initial_bound, growth)),
        losses=None,
    ).to_json()


def absurdities(circuit, statement):
    """(name, function that makes a statement)."""
    data = statement.to_json()

    def sizes(name, **changes):
        return name, lambda: consistent(circuit, statement, **changes)

    def changed(name, **changes):
        return name, lambda: {**data, **changes}

    def part(commitment, **changes):
        """Of other rows or another budget, whatever else it is."""
        return {**commitment, "parts": [{**one, **changes} for one in commitment["parts"]]}

    def alone(rows, depth):
        return {"shards": [part({**data["shards"][0], "number": 0}, rows=rows)], "siblings": ["00" * 32] * depth}

    def links(count, **changes):
        return [{"from": f"shard {i}", "to": part({**data["shards"][0], "root": "00" * 32}, **changes)} for i in range(count)]

    def beside(rows, budget):
        """Another part that a commitment has too."""
        return [*data["initial"]["parts"], {"name": "other", "rows": rows, "budget": budget}]

    yield sizes("65536 steps", steps=2**16)
    yield sizes("65536 late steps of an epoch each", steps=2**16, first_step=2**48 - 2**16, samples=3)
    yield sizes("2^20 samples", samples=2**20, shard_size=2**20)
    yield sizes("2^20 shards", samples=LARGEST, shard_size=2**12)
    yield sizes("2^20 samples in each shard", samples=LARGEST, shard_size=2**20)
    yield sizes("2^11 shards that are read", steps=2**9, samples=2**12, shard_size=1)
    yield changed("2^16 shards of which few are opened", steps=2**14, samples=2**16, shard_size=1)
    yield changed("2^20 steps", steps=2**20)
    yield changed("a late start", first_step=2**48 + 1)
    yield changed("one huge shard", samples=LARGEST, shard_size=LARGEST, **alone(3 * 2**23, 0))
    yield changed("2^32 shards", samples=LARGEST, shard_size=1, **alone(1, 32))
    yield changed("2^30 shards", samples=LARGEST, shard_size=5, **alone(1, 30))
    yield changed("10^7 samples", samples=10**7, shard_size=10**7, **alone(60_000, 0))
    yield changed("too many samples", samples=2**32)
    yield changed("many siblings", siblings=["00" * 32] * 2**14)
    yield changed("many shards", shards=data["shards"] * 4000)
    yield changed("many numbered shards", shards=[{**data["shards"][0], "number": i} for i in range(10_000)])
    yield changed("many links", links=links(1) * 8000)
    yield changed("a link to many rows", links=links(1, rows=LARGEST))
    yield changed("a link to a large budget", links=links(1, budget=LARGEST))
    yield changed(
        "many links from as many shards", shards=[{**data["shards"][0], "number": i} for i in range(4000)], links=links(4000, rows=LARGEST)
    )
    yield changed("many losses", losses=[[0] * 2**19])
    yield changed("losses of many kinds", losses=[[0]] * 2**17)
    yield changed("many parameters", shifts=[0] * 2**18, initial_bound=[0] * 2**18, final_bound=[0] * 2**18)
    yield changed("huge bounds", initial_bound=[2**63] * 4, final_bound=[2**63] * 4)
    for which in ("initial", "final"):
        for budget in (0, 5, LARGEST, 2**64):
            yield changed(f"{which} budget {budget}", **{which: part(data[which], budget=budget)})
            for given in (False, True):
                yield changed(f"{which} beside budget {budget}", given=given, **{which: {**data[which], "parts": beside(1, budget)}})
        for rows in (0, 2, LARGEST, 2**32):
            yield changed(f"{which} rows {rows}", **{which: part(data[which], rows=rows)})
            for given in (False, True):
                yield changed(f"{which} beside rows {rows}", given=given, **{which: {**data[which], "parts": beside(rows, 1)}})
        yield changed(f"{which} of many parts", **{which: {**data[which], "parts": beside(1, 1) * 2**14}})
        yield changed(f"{which} of a long name", **{which: part(data[which], name="x" * 2**20)})
    for rows, budget in ((1, 1), (LARGEST, 1), (1, LARGEST)):
        kept = {**part(data["shards"][0], rows=rows, budget=budget), "kind": "frozen", "number": 0}
        for name, parameters in (("none", []), ("one", [0]), ("many", [0] * 2**17), ("all", list(range(2**17)))):
            for given in (False, True):
                told = {"frozen": {"commitment": kept, "parameters": parameters}, "given": given}
                yield changed(f"frozen: {name} of {rows} rows and budget {budget}", **told)
                for kind in ("frozen", "weights"):
                    weights = {**part(data["initial"], rows=rows, budget=budget), "kind": "weights"}
                    beside_it = {"commitment": weights if kind == "weights" else kept, "parameters": parameters}
                    both = {"commitment": weights, "parameters": [], "beside": beside_it}
                    yield changed(f"{kind} beside: {name} of {rows} rows and budget {budget}", **told | {"frozen": both})
                yield changed(
                    f"a link from frozen: {name} of {rows} rows", **told, links=[{"from": "frozen", "to": {**kept, "root": "00" * 32}}]
                )
    for log_row in (2, 10, 16, 24, 25, 10**6):
        for rate in (0, 1, 4, 5):
            for budget, bits in ((1, 1), (1, 256), (4, 20), (4, 104), (2**10, 104), (2**63, 256), (10**30, 20)):
                name = f"geometry {log_row} {rate} {budget} {bits}"
                fields = {"log_row": log_row, "log_inverse_rate": rate, "max_budget": budget, "level_bits": bits}
                small = {w: part(data[w], budget=min(4, budget)) for w in ("initial", "final")}
                yield changed(name, geometry={**data["geometry"], **fields}, **small)


def main(circuit_file: str, proof_file: str) -> None:
    circuit, proof = zkjax.Circuit.load(circuit_file), zkjax.Proof.load(proof_file)
    zkjax.verify(circuit, proof, minimum_bits=15)  # caches and libraries are warm
    rng = random.Random(0)
    long = b"".join(rng.randrange(P).to_bytes(8, "little") for _ in range(2**16))
    resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))
    signal.signal(signal.SIGVTALRM, _stop)
    for name, make in absurdities(circuit, proof.statement):
        text = json.dumps(make(), sort_keys=True, separators=(",", ":")).encode()
        raw = MAGIC + struct.pack("<HI", VERSION, len(text)) + text + (long if name == "65536 steps" else proof.body)
        schedule.shard_order.cache_clear()
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        signal.setitimer(signal.ITIMER_VIRTUAL, HANG)
        try:
            zkjax.verify(circuit, zkjax.Proof.parse(raw), minimum_bits=15)
            error = None
        except BaseException as raised:  # whatever it is, the test is told
            error = type(raised).__name__, str(raised)[:200]
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
        print(json.dumps({"name": name, "megabytes": grown, "error": error}), flush=True)


def _stop(*_):
    raise TimeoutError(f"still verifying after {HANG} seconds")


if __name__ == "__main__":
    main(*sys.argv[1:])
