"""Search for inputs that cost a verifier more than its estimate says: ``python tests/climb.py --minutes 10 --seed 0``.

An input is a circuit and the public sizes of a statement about it. The search starts from honest ones, changes a few places at
a time (any number or list of the circuit's file, operations, updates and losses that are added or repeated, any size of the
statement and of its geometry), and goes on from what cost the most CPU time, or memory, for what ``estimate`` said. Each input
is verified in a process of its own, which reads as many random messages as it asks for, and whose Merkle paths and masks are
taken for right, so that it runs to the last check. A *finding* takes more than five times the time of an honest one for
each unit of work, or more memory than was estimated. Kept runs are in ``climb.md``.
"""

import argparse
import json
import math
import os
import pickle
import random
import resource
import sys
import time
import traceback
from pathlib import Path
from typing import NamedTuple
from unittest import mock

import numpy as np

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

from nodes import LINEAR_OPS, inferred  # noqa: E402

from zkjax import verifier  # noqa: E402
from zkjax.circuit.circuit import Circuit  # noqa: E402
from zkjax.circuit.file import _tupled  # noqa: E402
from zkjax.commitment.commit import Commitment, Part  # noqa: E402
from zkjax.commitment.dataset import dataset_root, shard_count  # noqa: E402
from zkjax.commitment.geometry import Geometry  # noqa: E402
from zkjax.commitment.merkle import root_of  # noqa: E402
from zkjax.errors import ZkjaxError  # noqa: E402
from zkjax.ops import BY_NAME  # noqa: E402
from zkjax.ops.ranges import signed_bound  # noqa: E402
from zkjax.proofs.proof import Proof  # noqa: E402
from zkjax.proofs.statement import Frozen, Statement  # noqa: E402
from zkjax.protocol import schedule  # noqa: E402
from zkjax.protocol.plan import Batches, Plan, row_count  # noqa: E402
from zkjax.protocol.transcript import Reader  # noqa: E402

FACTOR = 5  # times the honest time for each unit
WORK = 2**28  # units of an input that is tried: some seconds
FLOOR = 2**21, 2**26  # units and bytes: what every verification takes, whatever it is about
SECONDS = 60  # of CPU time for one input, then it counts as so many
KEPT = 12  # inputs that the search goes on from, for each of its two aims
FROZEN = HERE / "vectors" / "format-2.circuit.json"


# ---- inputs -----------------------------------------------------------------------------------------------------
class Recipe(NamedTuple):
    """A circuit's JSON form, and the sizes from which ``forged`` makes a statement about it."""

    circuit: dict
    steps: int = 2
    first_step: int = 0
    samples: int = 12
    shard_size: int = 5
    seed: int = 1
    revealed: bool = True
    range_checked: bool = True
    log_row: int = 10
    log_inverse_rate: int = 2
    max_budget: int = 4
    level_bits: int = 20

    @property
    def geometry(self) -> Geometry:
        return Geometry(self.log_row, self.log_inverse_rate, self.max_budget, self.level_bits)


def forged(circuit: Circuit, recipe: Recipe) -> Statement:
    """A statement whose every part agrees with every other, and whose roots are of nothing."""
    r, count, geometry = recipe, len(circuit.parameters), recipe.geometry.check()
    indices = schedule.batch_indices(r.seed, r.samples, r.shard_size, circuit.batch_size, r.first_step, r.steps)
    widths = (circuit.table_bits * r.range_checked,) * count
    plan = Plan(circuit, r.first_step, r.steps, (0,) * count, widths, Batches(indices, r.shard_size, r.samples))

    def commitment(name):
        parts = [Part(part, row_count(layout, geometry.row), r.max_budget) for part, layout in plan.layouts[name].items()]
        return Commitment(*plan.kind(name), tuple(parts), bytes(32))

    shards = [commitment(f"shard {n}") for n in plan.batches.shards]
    opened = {c.number: c.digest(geometry) for c in shards}
    digests = [opened.get(n, bytes(32)) for n in range(shard_count(r.samples, r.shard_size))]
    root, siblings = dataset_root(digests, list(opened), r.samples, r.shard_size)
    initial = (signed_bound(circuit.table_bits),) * count
    return Statement(
        circuit=circuit.digest(),
        geometry=geometry,
        dataset=root,
        dataset_after=root,
        samples=r.samples,
        shard_size=r.shard_size,
        shards=tuple(shards),
        siblings=tuple(siblings),
        seed=r.seed,
        first_step=r.first_step,
        steps=r.steps,
        initial=commitment("initial"),
        final=commitment("final"),
        frozen=Frozen(commitment("frozen"), circuit.frozen) if circuit.frozen else None,
        shifts=(0,) * count,
        widths=widths,
        given=False,
        initial_bound=initial,
        final_bound=circuit.bounds(initial, r.steps, r.first_step).final,
        losses=((0,) * r.steps,) * len(circuit.losses) or None if r.revealed else None,
    )


class Endless(bytes):
    """A body of random messages, as long as anyone asks."""

    def __len__(self):
        return 2**62


class Messages(Reader):
    """Reads an endless body; every eight bytes are a canonical element."""

    def _take(self, label, size):
        words = np.random.default_rng(size).integers(1, 2**63, size // 8 + 1, dtype=np.uint64)
        data = words.tobytes()[:size]
        self.transcript.absorb(label, data)
        return data

    def finish(self):
        """There is no end."""


class Any(bytes):
    """Equal to everything."""

    def __eq__(self, other):
        return True

    def __ne__(self, other):
        return False

    __hash__ = bytes.__hash__


def verified(circuit: Circuit, statement: Statement) -> str:
    """Verify a forged statement to the last check; the error that ends it."""
    with (
        mock.patch("zkjax.verifier.Reader", Messages),
        mock.patch("zkjax.commitment.recursion.root_of", lambda *found: root_of(*found) and Any()),
        mock.patch("zkjax.commitment.opening.np.array_equal", lambda a, b: True),
    ):
        try:
            verifier.verify_chain(circuit, Proof(statement, Endless()), assume_bound=True, minimum_bits=-1e9)
        except ZkjaxError as error:
            return f"{type(error).__name__}: {error}"[:120]
    return "accepted"


# ---- changes ----------------------------------------------------------------------------------------------------
def places(tree, path=()):
    """Paths of all numbers and lists in a JSON tree."""
    if isinstance(tree, dict):
        for key, value in tree.items():
            yield from places(value, (*path, key))
    elif isinstance(tree, list):
        yield path
        for i, value in enumerate(tree):
            yield from places(value, (*path, i))
    elif type(tree) is int:
        yield path


def another(rng: random.Random, value: int) -> int:
    """A number near, or of another size."""
    return rng.choice([value + 1, max(0, value - 1), 2 * value, 4 * value, value // 2, 1 << rng.randrange(14), value])


def changed_place(rng: random.Random, tree: dict) -> None:
    """One number or list of the file."""
    path = rng.choice([p for p in places(tree) if p])
    owner = tree
    for key in path[:-1]:
        owner = owner[key]
    value = owner[path[-1]]
    if isinstance(value, int):
        owner[path[-1]] = another(rng, value)
    elif value:
        owner[path[-1]] = rng.choice([value * rng.choice([2, 4, 16]), value[: len(value) // 2], value + [rng.choice(value)]])


def operation(rng: random.Random, nodes: list, shapes: list) -> dict:
    """A linear operation or a product on what is there, well formed."""
    x = rng.randrange(len(nodes))
    shape, rank = shapes[x], len(shapes[x])
    axis = rng.randrange(max(1, rank))
    op = rng.choice([*(name for name in LINEAR_OPS if name != "paced"), "dot", "dot"])
    alike = [i for i in range(len(nodes)) if shapes[i] == shape]
    reads, attributes = [x], {}
    if op == "linear":
        reads = rng.choices(alike, k=rng.choice([1, 2, 8, 64]))
        attributes = {"coefficients": [1] * len(reads)}
    elif op == "transpose":
        attributes = {"permutation": rng.sample(range(rank), rank)}
    elif op == "reshape":
        flat = math.prod(shape)
        factors = [d for d in (1, 2, 3, 4, 8, 16, 32) if flat % d == 0]
        factor = rng.choice(factors)
        attributes = {"shape": rng.choice([[flat], [factor, flat // factor], [flat // factor, factor], [1, *shape][:8]])}
    elif op == "broadcast":
        attributes = {"shape": [*shape, rng.choice([1, 2, 64, 1024])], "axes": list(range(rank))}
    elif op in ("sum", "reverse"):
        attributes = {"axes": [axis] if rank else []}
    elif op == "slice":
        attributes = {"start": [0] * rank, "limit": [max(1, n - rng.randrange(2)) for n in shape], "stride": [rng.choice([1, 2])] * rank}
    elif op == "pad":
        attributes = {name: [rng.choice([0, 0, 1, 7]) for _ in shape] for name in ("low", "high", "interior")}
    elif op == "window":
        out, size = rng.choice([(1, 2), (4, 3), (64, 2)])
        attributes = {"axis": axis, "out": out, "size": size, "stride": 1, "dilation": 1, "pad": 1} if 0 < rank < 8 else {}
        op = op if attributes else "linear"
        attributes = attributes or {"coefficients": [1]}
    elif op == "range":
        attributes = {"low": -8, "width": 4}
    elif op == "concatenate":
        reads, attributes = rng.choices(alike, k=rng.choice([1, 2, 8, 64])), {"axis": axis}
    elif op == "scale":
        constants = [i for i in range(len(nodes)) if nodes[i]["op"] == "const"]
        reads, attributes = [x, rng.choice(constants or [0])], {"axes": list(range(rank))}
    elif op == "dot":
        reads = [x, rng.choice(alike)]
        attributes = rng.choice(
            [{"contract": [[], []], "batch": [list(range(rank))] * 2}, {"contract": [list(range(rank))] * 2, "batch": [[], []]}]
        )
    return {"op": op, "inputs": reads, "scale": 0, "label": "", **attributes}


def grown(rng: random.Random, tree: dict) -> None:
    """Some operations more, and a rescale, an update or a loss that leads to them; perhaps many times."""
    try:
        shapes = [node.shape for node in Circuit.from_json(tree).nodes]
    except ZkjaxError:  # an earlier change has broken it
        return
    for _ in range(rng.choice([1, 1, 2, 8, 32])):
        nodes = tree["nodes"]
        if rng.random() < 0.2:
            length = rng.choice([1, 2, 16, 256])
            nodes.append({"op": "const", "inputs": [], "scale": 0, "label": "", "shape": [length], "values": [1] * length})
        else:
            nodes.append(operation(rng, nodes, shapes))
        last, node = len(nodes) - 1, nodes[-1]
        try:
            attributes = {name: _tupled(node[name], name) for name in BY_NAME[node["op"]].names()}
            leaves = ([x["shape"] for x in tree[name]] for name in ("inputs", "parameters"))
            shapes.append(inferred(node["op"], [shapes[i] for i in node["inputs"]], attributes, *leaves))
        except ValueError:
            nodes.pop()
            continue
        end = rng.random()
        if end < 0.6:
            nodes.append({"op": "rescale", "inputs": [last], "scale": 0, "label": "", "shift": rng.choice([2, 20, 40, 62]), "bits": 3})
            shapes.append(shapes[last])
        elif end < 0.8:
            rates = rng.choice([1, tree["max_steps"] or 1])
            fitting = [p for p in tree["parameters"] if tuple(p["shape"]) == shapes[last]]
            for parameter in fitting:
                parameter["updates"] += [{"node": last, "rates": [0] * rates}] * rng.choice([1, 16])
        elif shapes[last] == ():
            tree["losses"] += [{"node": last, "factor": [1, 1], "output": "loss"}] * rng.choice([1, 16])


def changed(rng: random.Random, recipe: Recipe) -> Recipe:
    """The recipe with a few changes."""
    tree = json.loads(json.dumps(recipe.circuit))
    sizes = {}
    for _ in range(rng.choice([1, 1, 2, 4])):
        kind = rng.random()
        if kind < 0.35:
            name = rng.choice(Recipe._fields[1:])
            value = getattr(recipe, name)
            sizes[name] = not value if isinstance(value, bool) else max(0, another(rng, value))
        elif kind < 0.65:
            changed_place(rng, tree)
        else:
            grown(rng, tree)
    return recipe._replace(circuit=tree, **sizes)


def made(recipe: Recipe):
    """(circuit, statement, meter), or None for what is refused, or is too large to be tried."""
    r = recipe
    if not (0 < r.samples < 2**21 and 0 < r.shard_size and 0 < r.steps <= 2**14 and r.samples // r.shard_size < 2**12):
        return None
    try:
        circuit = Circuit.from_json(recipe.circuit)
        if r.steps * circuit.batch_size > 2**20:
            return None
        statement = forged(circuit, recipe)
        return circuit, statement, verifier.estimate_work(circuit, [statement], WORK, None)
    except ZkjaxError:
        return None


def seeds() -> list[Recipe]:
    """Honest ones."""
    frozen = json.loads(FROZEN.read_text("utf-8"))
    return [Recipe(frozen), Recipe(frozen, steps=64, samples=300, shard_size=100, log_row=12, level_bits=60)]


# ---- the search -------------------------------------------------------------------------------------------------
class Cost(NamedTuple):
    """What one input took, and what its estimate said."""

    seconds: float
    bytes: int
    work: int
    memory: int
    error: str

    @property
    def ratios(self) -> tuple[float, float]:
        """Nanoseconds for each unit, and bytes for each byte."""
        return 1e9 * self.seconds / max(self.work, FLOOR[0]), self.bytes / max(self.memory, FLOOR[1])


def cost(recipe: Recipe) -> Cost | None:
    """Make and verify an input in a process of its own; None if it is refused before."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.close(reading)
        answer = b""
        try:
            resource.setrlimit(resource.RLIMIT_CPU, (2 * SECONDS, 2 * SECONDS))
            found = made(recipe)
            if found is not None:
                circuit, statement, meter = found
                schedule.shard_order.cache_clear()
                before, started = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
                error = verified(circuit, statement)
                seconds = time.process_time() - started
                grown_by = 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
                answer = pickle.dumps(Cost(seconds, grown_by, meter.work, meter.memory, error))
        except BaseException:
            answer = pickle.dumps(traceback.format_exc())
        finally:
            with os.fdopen(writing, "wb") as pipe:
                pipe.write(answer)
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        answer = pipe.read()
    _, status, usage = os.wait4(child, 0)
    if status:
        return Cost(usage.ru_utime + usage.ru_stime, 1024 * usage.ru_maxrss, 1, 1, f"ended by signal {status & 127}")
    found = pickle.loads(answer) if answer else None
    if isinstance(found, str):
        raise RuntimeError(found)
    return found


def climb(minutes: float, seed: int, report) -> tuple[list, list]:
    """Search for so many minutes of CPU time: what cost most, by aim, and the findings."""
    rng, starts = random.Random(seed), seeds()
    honest_costs = [cost(recipe) for recipe in starts for _ in range(3)]
    honest = tuple(max(c.ratios[aim] for c in honest_costs) for aim in range(2))
    report(f"honest: {honest[0]:.1f} ns a unit, {honest[1]:.2f} bytes a byte")
    best = [[(c.ratios[aim], n, recipe, c) for n, (recipe, c) in enumerate(zip(starts, honest_costs[::3]))] for aim in range(2)]
    tried = refused = 0
    findings = []

    def used():
        both = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
        return sum(u.ru_utime + u.ru_stime for u in both)

    started = used()
    while used() - started < 60 * minutes:
        aim = rng.randrange(2)
        recipe = changed(rng, rng.choice(best[aim])[2])
        found = cost(recipe)
        tried += 1
        if found is None:
            refused += 1
            continue
        for which, kept in enumerate(best):
            ratio = found.ratios[which]
            if len(kept) < KEPT or ratio > kept[-1][0]:
                again = cost(recipe)  # another process may have been in the way
                ratio = min(ratio, again.ratios[which])
                kept.append((ratio, tried, recipe, found))
                kept.sort(key=lambda item: -item[0])
                del kept[KEPT:]
                if ratio > (FACTOR * honest[0], 1)[which]:
                    findings.append((tried, which, recipe, found))
                if kept[0][1] == tried:
                    name = ("ns a unit", "bytes a byte")[which]
                    report(f"{tried}: {ratio:.2f} {name}; {found.work:,} units, {found.seconds:.2f} s; {found.error}")
    report(f"seed {seed}, {minutes:g} minutes: {tried:,} inputs, {tried - refused:,} of them verified, {len(findings)} findings")
    for which, name in enumerate(("ns a unit", "bytes a byte")):
        ratio, number, recipe, found = best[which][0]
        report(f"most: {ratio:.2f} {name}, {ratio / honest[which]:.2f} times the honest ratio (input {number}: {found})")
    return best, findings


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10, help="of CPU time")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", metavar="FILE", help="write the dearest inputs there")
    arguments = parser.parse_args()
    best, findings = climb(arguments.minutes, arguments.seed, lambda line: print(line, flush=True))
    if arguments.keep:
        dearest = [[ratio, recipe._asdict()] for kept in best for ratio, _, recipe, _ in kept]
        Path(arguments.keep).write_text(json.dumps(dearest), "utf-8")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
