"""Fuzz what a stranger may send: ``python tests/fuzz.py --inputs 1000000 --seed 0``.

Proofs, circuits, disclosures, published models and data, and saved runs, altered in every leaf and in their bytes. Each input must
end in an error of ``zkjax.errors`` (a proof, a disclosure: as malformed or invalid), in bounded time and memory. What input number n of a
seed is follows from both alone. A run goes on where it stopped; findings and the corpus are written as they come.

    --inputs N    inputs in all (of this seed)          --state DIR   where the run lives (build/fuzz)
    --seed S      which inputs                          --jobs J      processes (1)
    --deep D      share of inputs that go deep: altered messages, statements that agree with themselves, saved runs
    --replay I    one input alone, with its traceback   --corpus      write tests/fuzz_corpus.json from this state

Limits for each input (units: what it *claims* to be about, ``claimed``; a short proof may speak of many samples):

    time    SLOWER times an honest verification + SLACK + PER_BYTE of the file + PER_UNIT for each unit, CPU seconds of the thread
    memory  TIMES the file's size + ROOM + BYTES_PER_UNIT for each unit (of what is published, twice what an honest check takes
            besides): the process' resident peak, and for one input in TRACED what Python allocates
"""

import argparse
import atexit
import faulthandler
import json
import math
import os
import random
import re
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
import tracemalloc
import warnings
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from fuzz_inputs import (
    RAW,
    SHARE,
    Case,
    ProofSource,
    PublishedSource,
    Sources,
    agree,
    build_arrays,
    build_disclosure,
    build_proof,
    build_run,
    build_text,
    cached_sources,
    honest_circuits,
    special,
    transcript,
)  # noqa: E402, E501
from trees import places  # noqa: E402

import zkjax  # noqa: E402
from zkjax.algebra.field import P  # noqa: E402
from zkjax.errors import FormatError, PrecisionWarning, VerificationError, ZkjaxError  # noqa: E402
from zkjax.proofs.checks import MAX_SAMPLES  # noqa: E402

HERE = Path(__file__).parent
CORPUS = HERE / "fuzz_corpus.json"
BLOCK = 500  # inputs between two notes of progress
SLOWER, SLACK, PER_BYTE, PER_UNIT = 3.0, 0.1, 0.5e-6, 20e-6
TIMES, ROOM, BYTES_PER_UNIT = 64, 2**21, 2**11
TRACED = 100
SHORT = 2**12  # bytes; below, a file's memory is no multiple of its size
EARLY = ("circuit", "geometry", "dataset", "samples", "shard_size", "shards", "first_step", "steps", "shifts", "initial_bound")
HANG = 30  # seconds
SPACE = 4 * 2**30  # of addresses, beyond what the process has when it starts


# ---- what inputs there are ----------------------------------------------------------------------------------------
def integer(rng: random.Random, old: int = 0):
    """An integer that some limit may have forgotten."""
    kind = rng.randrange(10)
    if kind < 3:
        return old + rng.choice((-1, 1, 1, 2, -old, old))
    if kind < 6:
        return rng.choice((1, -1)) * (2 ** rng.randrange(70) + rng.choice((-1, 0, 0, 1)))
    if kind < 8:
        return rng.randrange(2 ** rng.randrange(1, 66))
    return rng.choice((P, -P, old + P, old - P, 10**30, -(10**30), 2**4000, 0, -1, 2**63, 2**64))


def value(rng: random.Random, old):
    """Something else for a place of a JSON tree; more often than not of the same type."""
    kind = rng.randrange(12)
    if kind < 6:
        if isinstance(old, bool):
            return not old
        if isinstance(old, int):
            return integer(rng, old)
        if isinstance(old, str) and old:
            place = rng.randrange(len(old))
            fresh = rng.choice("0123456789abcdef" * 4 + "gZ\x00\x1b\u00e9\u2028\ud800\U0001f600 ")
            return rng.choice((old[:place] + fresh + old[place + 1 :], old[:place], old + fresh, old[::-1], old.upper(), old * 2))
        if isinstance(old, list):
            return rng.choice((old[:-1], old[1:], old * 2, [*old, *old[:1]], old[::-1], []))
        return {} if rng.random() < 0.5 else [old]
    if kind < 9:
        return rng.choice((None, True, False, 0, 1, -1, 1.5, "", "0", [], {}, [[]], [None], {"": 0}, integer(rng), str(old)[:80], [old]))
    return rng.choice(
        (
            special("text", of="NaN"),
            special("text", of="-Infinity"),
            special("text", of="1e400"),
            special("text", of="-0"),
            special("text", of="1E2"),
            special("text", of="1.0"),
            special("text", of="0x10"),
            special("text", of='"\\ud800"'),
            special("text", of='"\\u0000"'),
            special("text", of=""),
            special("text", of="nul"),
            special("deep", open="[", n=rng.choice((3, 50, 990, 5000))),
            special("deep", open='{"a":', n=rng.choice((3, 990, 5000))),
            special("digits", n=rng.choice((19, 20, 100, 4000, 5000))),
            special("string", of=rng.choice(("0", "a", "\u20ac")), n=rng.choice((31, 63, 64, 65, 5000))),
            special("list", of=rng.choice((0, 1, [], "00" * 32)), n=rng.choice((2, 100, 3000))),
        )
    )


def share(rng: random.Random, low=0.0, high=1.0) -> int:
    return int((low + (high - low) * rng.random()) * SHARE) % SHARE


def raw(rng: random.Random, low=0.0, high=1.0) -> list:
    """An operation on bytes, somewhere between two shares of the file."""
    name = rng.choice(RAW)
    place = share(rng, low, high)
    if name == "cut":
        return [name, place]
    if name == "insert":
        return [name, place, rng.randbytes(rng.choice((1, 1, 2, 8, 33))).hex()]
    if name == "erase":
        return [name, place, rng.choice((1, 1, 2, 8, 100))]
    if name == "flip":
        return [name, place, 1 << rng.randrange(8)]
    if name == "overwrite":
        content = rng.choice(
            (rng.randbytes(rng.choice((1, 4, 8, 32))), b"\xff" * 8, bytes(8), P.to_bytes(8, "little"), b"\x00\x00\x00\x80")
        )
        return [name, place, content.hex()]
    return [name, place, share(rng, low, high), rng.choice((1, 8, 32, 200))]


def tree_change(rng: random.Random, tree) -> list:
    """An operation on a place of a JSON tree, all places alike."""
    path, old = rng.choice(_places(tree))
    name = rng.choice(("set",) * 8 + ("drop", "twice", "reverse", "repeat", "add", "copy"))
    argument = None
    if name == "set":
        argument = value(rng, old)
    elif name == "repeat":
        argument = rng.choice((2, 3, 50, 1000))
    elif name == "add":
        argument = rng.choice((0, None, "x", rng.choice(_places(tree))[1]))
    elif name == "copy":
        argument = list(rng.choice(_places(tree))[0])
    return [name, list(path), argument]


_KNOWN: dict = {}


def _places(tree) -> list:
    """The places of an honest tree, once for each."""
    if id(tree) not in _KNOWN:
        _KNOWN[id(tree)] = tree, list(places(tree))
    return _KNOWN[id(tree)][1]


STYLES = ("reversed", "spaces", "characters", "line", "space", "mark", "escape", "float", "null", "again", "utf-16")
DEEP = 0.04  # share of the proofs whose messages are altered: they pass all early checks and are the dear ones


def message_change(rng: random.Random, source: ProofSource, sources: Sources) -> list:
    """An operation on a message of a body, all labels alike."""
    label = rng.choice(sorted({m[0] for m in source.messages}))
    number = rng.choice([m[1] for m in source.messages if m[0] == label])
    where = [label, number]
    name = rng.choice(("word", "word", "word", "byte", "fill", "noise", "exchange", "take", "resize"))
    if name == "word":
        kind = rng.choice(("set", "add"))
        amount = rng.choice((P, P - 1, 2**64 - 1, 0, 1, rng.randrange(P))) if kind == "set" else rng.choice((1, -1, P, 2**32))
        return [name, *where, share(rng), kind, amount]
    if name == "byte":
        return [name, *where, share(rng), 1 << rng.randrange(8)]
    if name == "fill":
        return [name, *where, rng.choice((0, 1, P - 1, P, 2**64 - 1))]
    if name == "noise":
        return [name, *where, rng.randrange(2**32)]
    if name == "exchange":
        other = rng.choice(source.messages)
        return [name, *where, other[0], other[1]]
    if name == "take":
        return [name, *where, rng.choice(sorted(sources.proofs))]
    return [name, *where, rng.choice((-1, 1, -8, 8, -16, 16, -32, 32))]


def proof_case(rng: random.Random, sources: Sources, deep: float) -> Case:
    name = rng.choice([*sorted(sources.proofs), *["least"] * 4])  # the shortest most often
    source = sources.proofs[name]
    front = (len(source.raw) - len(source.proof.body)) / len(source.raw)
    kind, operations, frozen = rng.random(), [], rng.random() < 0.5
    if kind < 0.46:  # bytes of header and statement
        operations = [raw(rng, 0, front if rng.random() < 0.9 else 20 / len(source.raw)) for _ in range(rng.choice((1, 1, 1, 2, 4)))]
    elif kind < 0.46 + 0.4 * deep:  # bytes anywhere
        operations = [raw(rng) for _ in range(rng.choice((1, 1, 2, 3)))]
    elif kind < 0.49:
        fields = {
            "version": rng.choice((1, 0, 2, 2**16 - 1)),
            "length": rng.choice((None, 0, 1, 2**21, 2**21 + 1, 2**32 - 1, rng.randrange(4000))),
        }
        operations = [["header", {k: v for k, v in fields.items() if v is not None}]]
    elif kind < 0.52:
        operations = [["spell", rng.choice(STYLES)]]
    elif kind < 1 - deep / 2:  # the statement's tree
        operations = [tree_change(rng, source.tree) for _ in range(rng.choice((1, 1, 1, 2, 3)))]
        if rng.random() < 0.75 * deep:
            operations += [["agree"]]
    else:
        operations = [message_change(rng, source, sources) for _ in range(rng.choice((1, 1, 1, 2)))]
        if rng.random() < 0.2:
            operations = [tree_change(rng, source.tree), ["agree"], *operations]
    return Case("proof", name, tuple(operations), frozen)


def circuit_case(rng: random.Random, sources: Sources, deep: float) -> Case:
    """A circuit; with "verify" as its last operation, a proof that names its digest is verified against it."""
    name = rng.choice(sorted(sources.circuits))
    if rng.random() < 0.4:
        operations = [raw(rng) for _ in range(rng.choice((1, 1, 2)))]
    else:
        operations = [tree_change(rng, sources.circuits[name]) for _ in range(rng.choice((1, 1, 1, 2)))]
        if rng.random() < 0.05:
            operations.append(["spell", rng.choice(STYLES)])
    if rng.random() < 4 * deep:
        operations.append(["verify", name if name in sources.proofs else rng.choice(sorted(sources.proofs))])
    return Case("circuit", name, tuple(operations), rng.random() < 0.5)


def disclosure_case(rng: random.Random, sources: Sources, deep: float) -> Case:
    """A disclosure, with honest arrays."""
    name = rng.choice(sorted(sources.published))
    source, kind = sources.published[name], rng.random()
    front = 1 - len(source.body) / len(source.disclosure)
    if kind < 0.35:
        operations = [raw(rng, 0, front if rng.random() < 0.9 else 20 / len(source.disclosure)) for _ in range(rng.choice((1, 1, 1, 2)))]
    elif kind < 0.4:
        operations = [["header", {"version": rng.choice((0, 2, 2**16 - 1))} if rng.random() < 0.5 else {"length": rng.randrange(4000)}]]
    elif kind < 0.45:
        operations = [["spell", rng.choice(STYLES)]]
    elif kind < 0.6:
        operations = [["body", *raw(rng)] for _ in range(rng.choice((1, 1, 2)))]
    else:
        operations = [tree_change(rng, source.tree) for _ in range(rng.choice((1, 1, 1, 2, 3)))]
    return Case("disclosure", name, tuple(operations), rng.random() < 0.5)


def arrays_case(rng: random.Random, sources: Sources, deep: float) -> Case:
    """A model's file, a drawing or data, with their honest disclosure."""
    name = rng.choice(sorted(sources.published))
    source, operations = sources.published[name], []
    for _ in range(rng.choice((1, 1, 1, 2))):
        kind = rng.random()
        if kind < 0.4:
            operations.append(raw(rng))
        elif source.of == "data":
            action = rng.choice(("drop", "add", "type", "shape", "fill", "dtype"))
            operations.append(["array", rng.choice([x.name for x in source.circuit.inputs]), action, array_argument(rng, action)])
        elif source.of == "drawing":
            operations.append(["drawn", *tree_change(rng, json.loads(source.arrays))])
        elif kind < 0.6:
            amount = rng.choice((None, 0, 1, -1, 2**62, -(2**62) - 1, 2**63 - 1, -(2**63), rng.randrange(-(2**40), 2**40)))
            operations.append(["entry", share(rng), amount])
        else:
            which = rng.choice(("told", "header"))
            operations.append([which, *tree_change(rng, model_header(source, which))])
    return Case("arrays", name, tuple(operations))


def model_header(source: PublishedSource, which: str):
    """The tree of a model file's header, or of its metadata."""
    key = which, id(source)
    if key not in _KNOWN:
        header = json.loads(source.arrays[8 : 8 + int.from_bytes(source.arrays[:8], "little")])
        _KNOWN[key] = header if which == "header" else json.loads(header["__metadata__"]["zkjax"])
    return _KNOWN[key]


def array_argument(rng: random.Random, action: str):
    """What goes with a change of an array."""
    return {
        "type": rng.choice(TYPES),
        "dtype": rng.choice(NEW_TYPES[1:]),
        "shape": [rng.randrange(5) for _ in range(rng.randrange(4))],
        "fill": rng.choice((0, 1, 2**62, -(2**63), 2**63 - 1, 10**6)),
    }.get(action)


TYPES = ("<i4", "<f8", ">i8", "<u8", "<i1", "?", "<c16", "<M8[s]", "<U3", "S3")
NEW_TYPES = ("O", "i8,i4", "V8", "<f2", "<m8[s]")


def run_case(rng: random.Random, sources: Sources, deep: float) -> Case:
    operations = []
    for _ in range(rng.choice((1, 1, 1, 2))):
        kind = rng.choice(("run",) * 6 + ("openings",) * 3 + ("circuit", "data", "weights", "data", "weights"))
        name = next(n for n in sources.run if n.startswith(kind))
        if rng.random() < 0.02:
            operations.append(["missing", kind])
        elif kind in ("data", "weights") and rng.random() < 0.7:
            action = rng.choice(("drop", "add", "type", "shape", "fill", "dtype"))
            argument = array_argument(rng, action)
            operations.append(
                ["arrays", kind, f"{'data' if kind == 'data' else rng.choice(('initial', 'final'))}{rng.randrange(3)}", action, argument]
            )
            if rng.random() < 0.8:
                operations.append(["rehash"])
        elif kind in ("data", "weights") or rng.random() < 0.3:
            operations.append(["file", kind, *raw(rng)])
        else:
            operations.append(["file", kind, *tree_change(rng, _run_tree(sources, name))])
            if rng.random() < 0.05:
                operations.append(["file", kind, "spell", rng.choice(STYLES)])
    return Case("run", "run", tuple(operations))


def _run_tree(sources: Sources, name: str):
    key = "tree", name
    if key not in _KNOWN:
        _KNOWN[key] = json.loads(sources.run[name])
    return _KNOWN[key]


def case_of(seed: int, number: int, fuzzer: "Fuzzer", deep: float) -> Case:
    """Input ``number`` of a seed: the first draw that alters anything; proofs that go deep are kept to their share."""
    rng = random.Random(f"{seed} {number}")
    while True:
        kind = rng.random()
        shares = ((0.6, proof_case), (0.8, circuit_case), (0.9, disclosure_case), (1 - deep, arrays_case), (1, run_case))
        make = next(make for below, make in shares if kind < below)
        case = make(rng, fuzzer.sources, deep)
        if fuzzer.content(case) == fuzzer.honest_content(case):
            continue
        if make is not proof_case or rng.random() < 10 * deep or not fuzzer.goes_deep(case):
            return case


# ---- one input ----------------------------------------------------------------------------------------------------
class TooSlow(BaseException):
    """The watch's alarm: no handler for exceptions may take it."""


@dataclass
class Outcome:
    """error: class of what was raised, None if nothing was. place: where, (module.function, line). trouble: what is wrong."""

    error: str | None
    place: tuple | None
    detail: str
    seconds: float
    allowed: float
    memory: int
    room: int
    size: int
    trouble: str | None = None


def claimed(circuit, statement) -> int:
    """What a statement and a circuit say they are about: samples and steps that a verifier has to walk through, table rows
    and axes that it has to hold a vector for."""
    units = 0
    if isinstance(statement, zkjax.Statement):
        samples, size = statement.samples, statement.shard_size
        read = min(samples, min(samples, size) * len(statement.shards)) + min(-(-samples // size), 2**20)
        batch = 1 if circuit is None else circuit.batch_size
        units += min(read, 2**22) + min(statement.steps * batch, MAX_SAMPLES) + statement.steps
    if circuit is not None:
        units += sum(min(math.prod(node.shape), 2**20) for node in circuit.nodes) + 2**circuit.table_bits
    return units


def resident() -> int:
    with open("/proc/self/statm", "rb") as file:
        return int(file.read().split()[1]) * resource.getpagesize()


def peak() -> int:
    with open("/proc/self/status", "rb") as file:
        return int(re.search(rb"VmHWM:\s*(\d+)", file.read())[1]) * 1024


def forget_peak() -> None:
    try:
        with open("/proc/self/clear_refs", "w") as file:
            file.write("5")
    except OSError:
        pass  # the peak is then that of the whole process, which bounds every input's


PUBLISHED = {"disclosure": build_disclosure, "arrays": build_arrays}  # what is published, and what makes a case's file of it
NAMED = {"disclosure": "told", "arrays": "arrays"}


class Fuzzer:
    """Runs cases against one set of sources. clock: CPU seconds of this thread; tests give one that tells no machine's speed."""

    def __init__(self, sources: Sources, directory: Path, clock=time.thread_time):
        self.sources, self.directory, self.clock = sources, directory, clock
        self.run_directory = directory / "run"
        self.run_directory.mkdir(exist_ok=True)
        self.honest, self.taken = {}, {}  # seconds of an honest check; of what is published its memory, too
        self._built = None, None
        self._texts = {name: build_text(tree, ()) for name, tree in sources.circuits.items()}
        self._circuits = {name: s.circuit for name, s in sources.proofs.items()}
        for name in sources.proofs:
            case = Case("proof", name, ())
            times = []
            for _ in range(4):
                outcome = self.attempt(case, honest=True)
                if outcome.error is not None:
                    raise SystemExit(f"{name} is refused as it is: {outcome.detail}")
                times.append(outcome.seconds)
            self.honest[name] = min(times)
        for name in sources.published:
            times = [self.attempt(Case("disclosure", name, ()), honest=True) for _ in range(4)]
            if times[0].error is not None:
                raise SystemExit(f"what is published as {name} is refused as it is: {times[0].detail}")
            self.honest[name] = min(x.seconds for x in times)
            self.taken[name] = self.attempt(Case("disclosure", name, ()), honest=True, traced=True).memory
        self.slowest = max(self.honest.values())
        with transcript(sources.proofs["tiny"].frozen.replaying):
            self._proof(sources.proofs["tiny"].raw, sources.proofs["tiny"])
        if self.attempt(Case("run", "run", ()), honest=True).error is not None:
            raise SystemExit("the saved run is refused as it is")

    def content(self, case: Case) -> bytes | None:
        """The file that a case stands for; None for a saved run, which is many."""
        if self._built[0] is not case:
            if case.target == "proof":
                self._built = case, build_proof(self.sources, case)
            elif case.target == "circuit":
                operations = [op for op in case.operations if op[0] != "verify"]
                self._built = case, build_text(self.sources.circuits[case.source], operations)
            elif case.target in PUBLISHED:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # of what arrays become
                    self._built = case, PUBLISHED[case.target](self.sources.published[case.source], case.operations)
            else:
                self._built = case, None
        return self._built[1]

    def goes_deep(self, case: Case) -> bool:
        """Whether a proof's statement is as it was in all that is checked before the body is read."""
        honest = self.sources.proofs[case.source].proof.statement
        try:
            statement = zkjax.Proof.parse(self.content(case)).statement
        except Exception:  # whatever it is, it is judged when the case is run
            return False
        return all(getattr(statement, name, None) == getattr(honest, name, None) for name in EARLY)

    def honest_content(self, case: Case) -> bytes:
        """The file before it was altered."""
        if case.target in PUBLISHED:
            return getattr(self.sources.published[case.source], case.target)
        return self.sources.proofs[case.source].raw if case.target == "proof" else self._texts.get(case.source, b"")

    # ---- what is run ----------------------------------------------------------------------------------------------
    def _proof(self, raw: bytes, source: ProofSource) -> None:
        proof = self.parsed = zkjax.Proof.parse(raw)
        str(proof.statement), repr(proof)
        source.verify(source.circuit, proof)

    def _circuit(self, path: Path, case: Case) -> None:
        circuit = self.circuit = zkjax.Circuit.load(path)
        str(circuit), circuit.digest()
        honest = self.sources.proofs.get(case.operations[-1][1]) if case.operations and case.operations[-1][0] == "verify" else None
        if honest is None:
            return
        statement = agree(circuit, honest.tree)
        raw = build_proof(self.sources, Case("proof", case.operations[-1][1], (["agree"],)), circuit)
        self.parsed = zkjax.Proof.parse(raw)
        if statement.get("circuit") != honest.tree.get("circuit"):
            honest.verify(circuit, self.parsed)
            self.accepted = True

    def _published(self, source: PublishedSource) -> None:
        self.accepted = source.integers(source.verify(self.directory)) != source.held

    def _run(self, directory: Path) -> None:
        from zkjax.prover.prove import make_plan

        run = zkjax.Run.load(directory)
        repr(run), run.params, run.float_losses
        run.circuit.bounds(run.initial_bound, run.steps, run.first_step)
        make_plan(run)

    def attempt(self, case: Case, honest=False, traced=False) -> Outcome:
        """Run a case and judge what became of it."""
        self.parsed = self.circuit = None
        self.accepted = False
        if case.target == "proof":
            source = self.sources.proofs[case.source]
            content = self.content(case)
            size, same = len(content), content == source.raw
            work = lambda: self._proof(content, source)  # noqa: E731
        elif case.target == "circuit":
            content = self.content(case)
            path = self.directory / "circuit.json"
            path.write_bytes(content)
            size, same = len(content), False
            work = lambda: self._circuit(path, case)  # noqa: E731
        elif case.target in PUBLISHED:
            source, content = self.sources.published[case.source], self.content(case)
            source.write(self.directory, **{"told": source.disclosure, "arrays": source.arrays} | {NAMED[case.target]: content})
            size, same = len(content), content == self.honest_content(case)
            work = lambda: self._published(source)  # noqa: E731
        else:
            build_run(self.sources, case, self.run_directory)
            size, same = sum(p.stat().st_size for p in self.run_directory.iterdir()), False
            work = lambda: self._run(self.run_directory)  # noqa: E731
        known = self.sources.published if case.target in PUBLISHED else self.sources.proofs
        kind = known[case.source].frozen.replaying if case.frozen and case.source in known else None
        error, place, detail, trouble = None, None, "", None
        if traced:
            tracemalloc.start()
        forget_peak()
        before = resident()
        signal.setitimer(signal.ITIMER_VIRTUAL, HANG)
        started = self.clock()
        try:
            if kind is None:
                work()
            else:
                with transcript(kind):
                    work()
        except ZkjaxError as raised:
            seconds = self.clock() - started
            error, place, detail = type(raised).__name__, _place(raised), str(raised)
            if case.target in ("proof", "disclosure") and not isinstance(raised, (FormatError, VerificationError)):
                trouble = f"a {case.target} is refused by neither a FormatError nor a VerificationError"
        except (Exception, TooSlow) as raised:
            seconds = self.clock() - started
            error, place, detail = type(raised).__name__, _place(raised), traceback.format_exc()
            trouble = "an exception outside zkjax.errors"
        else:
            seconds = self.clock() - started
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        memory = max(0, peak() - before)
        if traced:
            memory = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
        if error is None and kind is None and not honest and not same and (case.target in ("proof", "disclosure") or self.accepted):
            trouble = f"an altered {case.target} is accepted"
        statement = None if self.parsed is None else self.parsed.statement
        circuit = self.circuit if case.target == "circuit" else self._circuits.get(case.source)
        if case.target in PUBLISHED:
            circuit = self.sources.published[case.source].circuit
        units = claimed(circuit, statement)
        if case.target == "circuit":
            size += 0 if self.parsed is None else len(self.parsed.body)
        allowed = SLACK + SLOWER * getattr(self, "slowest", 0) + PER_BYTE * size + PER_UNIT * units
        room = ROOM + TIMES * size + BYTES_PER_UNIT * units + 2 * self.taken.get(case.source, 0) * (case.target in PUBLISHED)
        if trouble is None and not honest and seconds > allowed and not traced:
            trouble = f"it took {seconds:.3f} s, {allowed:.3f} s are allowed"
        if trouble is None and not honest and memory > room:
            trouble = f"it took {memory} bytes, {room} are allowed"
        return Outcome(error, place, detail, seconds, allowed, memory, room, size, trouble)


def _place(error) -> tuple | None:
    """Module, function and line of this package where an exception came from."""
    found, root = None, str(Path(zkjax.__file__).parent) + os.sep
    frame = error.__traceback__
    while frame is not None:
        code = frame.tb_frame.f_code
        if code.co_filename.startswith(root):
            module = code.co_filename[len(root) : -3].replace(os.sep, ".")
            found = f"{module}.{code.co_qualname}", frame.tb_lineno
        frame = frame.tb_next
    return found


# ---- many inputs --------------------------------------------------------------------------------------------------
@dataclass
class Results:
    """What a run found.

    places: "target class module.function line" to [how often, number of the shortest case, its length, it]. unrepeated: inputs
    that took too much time or memory once, and not when they were run again.
    """

    done: int = 0
    seconds: float = 0.0
    outcomes: dict = field(default_factory=dict)
    places: dict = field(default_factory=dict)
    time_ratio: list = field(default_factory=lambda: [0.0, -1])
    allowed_time: list = field(default_factory=lambda: [0.0, -1])
    memory_ratio: list = field(default_factory=lambda: [0.0, -1])
    allowed_memory: list = field(default_factory=lambda: [0.0, -1])
    honest: float = 0.0
    findings: list = field(default_factory=list)
    unrepeated: int = 0

    def note(self, number: int, case: Case, outcome: Outcome, honest: float, traced: bool) -> None:
        self.done += 1
        self.honest = honest
        name = f"{case.target}: {outcome.error or 'accepted'}"
        self.outcomes[name] = self.outcomes.get(name, 0) + 1
        if outcome.error is not None and outcome.place is not None:
            key = f"{case.target} {outcome.error} {outcome.place[0]} {outcome.place[1]}"
            known = self.places.get(key)
            if known is None or len(json.dumps(case.to_json())) < known[2]:
                fresh = [number, len(json.dumps(case.to_json())), case.to_json()]
                self.places[key] = [1 if known is None else known[0] + 1, *fresh]
            else:
                known[0] += 1
        largest = [("allowed_memory", outcome.memory / outcome.room)]
        if outcome.size >= SHORT:
            largest.append(("memory_ratio", outcome.memory / outcome.size))
        if not traced:
            largest += [("time_ratio", outcome.seconds / honest), ("allowed_time", outcome.seconds / outcome.allowed)]
        for name, ratio in largest:
            if ratio > getattr(self, name)[0]:
                setattr(self, name, [round(ratio, 3), number])
        if outcome.trouble and len(self.findings) < 1000:
            self.findings.append([number, case.to_json(), outcome.trouble, outcome.detail[-2000:]])

    def add(self, other: "Results") -> None:
        """Take over another block's results."""
        self.done, self.honest = self.done + other.done, max(self.honest, other.honest)
        self.seconds, self.unrepeated = self.seconds + other.seconds, self.unrepeated + other.unrepeated
        for name, count in other.outcomes.items():
            self.outcomes[name] = self.outcomes.get(name, 0) + count
        for key, found in other.places.items():
            known = self.places.get(key)
            shortest = found if known is None or found[2] < known[2] else known
            self.places[key] = [found[0] + (known[0] if known else 0), *shortest[1:]]
        for name in ("time_ratio", "allowed_time", "memory_ratio", "allowed_memory"):
            setattr(self, name, max(getattr(self, name), getattr(other, name), key=lambda pair: pair[0]))
        self.findings += other.findings


_FUZZER: Fuzzer | None = None


def start(state: Path) -> Fuzzer:
    """This process' fuzzer: sources read, honest times taken, limits set."""
    global _FUZZER
    if _FUZZER is None:
        faulthandler.enable()
        warnings.simplefilter("error")  # a warning is a finding
        warnings.filterwarnings("ignore", "rounding loses much", PrecisionWarning)  # of the coarse formats of small proofs
        signal.signal(signal.SIGVTALRM, _stop)
        scratch = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
        directory = Path(tempfile.mkdtemp(prefix="zkjax-fuzz-", dir=scratch))
        atexit.register(shutil.rmtree, directory, ignore_errors=True)
        _FUZZER = Fuzzer(cached_sources(state / "sources"), directory)
        with open("/proc/self/statm", "rb") as file:
            space = int(file.read().split()[0]) * resource.getpagesize() + SPACE
        resource.setrlimit(resource.RLIMIT_AS, (space, resource.getrlimit(resource.RLIMIT_AS)[1]))
    return _FUZZER


def _stop(*_):
    raise TooSlow(f"still at it after {HANG} seconds")


def block(state: Path, seed: int, deep: float, first: int, end: int) -> Results:
    """Inputs first .. end - 1 of a seed."""
    fuzzer, results, started = start(state), Results(), time.time()
    with honest_circuits(fuzzer.sources):
        for number in range(first, end):
            case = case_of(seed, number, fuzzer, deep)
            traced = number % TRACED == 0
            outcome = fuzzer.attempt(case, traced=traced)
            if outcome.trouble and outcome.trouble.endswith("are allowed"):  # other processes take time, and pages come in lots
                results.unrepeated += 1
                outcome = fuzzer.attempt(case, traced=traced)
                results.unrepeated -= outcome.trouble is not None
            results.note(number, case, outcome, fuzzer.slowest, traced)
    results.seconds = time.time() - started
    return results


def run(arguments) -> int:
    """All blocks that are left, noting progress after each."""
    from tqdm import tqdm

    state = Path(arguments.state)
    state.mkdir(parents=True, exist_ok=True)
    file = state / f"seed-{arguments.seed}-deep-{arguments.deep:g}.json"
    results = Results(**json.loads(file.read_text())) if file.exists() else Results()
    blocks = [(n, min(n + BLOCK, arguments.inputs)) for n in range(results.done, arguments.inputs, BLOCK)]
    with tqdm(total=arguments.inputs, initial=results.done, unit="input", smoothing=0.02) as bar:

        def take(found: Results) -> None:
            for number, _, trouble, _ in found.findings:
                bar.write(f"input {number}: {trouble}")
            results.add(found)
            fresh = file.with_suffix(".new")
            fresh.write_text(json.dumps(vars(results)))
            fresh.replace(file)
            bar.update(found.done)
            bar.set_postfix(places=len(results.places), findings=len(results.findings))

        if arguments.jobs == 1:
            for first, end in blocks:
                take(block(state, arguments.seed, arguments.deep, first, end))
        else:
            start(state)  # the sources are made once
            with ProcessPoolExecutor(arguments.jobs, get_context("spawn")) as pool:
                width = arguments.jobs * 4
                for at in range(0, len(blocks), width):  # in order, so that what is done is a beginning
                    part = blocks[at : at + width]
                    for found in pool.map(block, *zip(*((state, arguments.seed, arguments.deep, *each) for each in part), strict=True)):
                        take(found)
    print(report(results, f"seed {arguments.seed}, deep {arguments.deep:g}"))
    return 1 if results.findings else 0


def report(results: Results, name: str) -> str:
    """A kept run, as a row of ``fuzz.md``'s table and the counts behind it."""
    lines = [
        f"{name}: {results.done:,} inputs in {results.seconds:,.0f} s, {len(results.places)} places of refusal, "
        f"{len(results.findings)} findings, {results.unrepeated} that did not repeat",
        f"time: at most {results.time_ratio[0]:.1f} honest verifications ({results.honest * 1e3:.0f} ms), "
        f"{results.allowed_time[0]:.0%} of what is allowed (inputs {results.time_ratio[1]}, {results.allowed_time[1]})",
        f"memory: at most {results.memory_ratio[0]:.1f} times the file, {results.allowed_memory[0]:.0%} of what is allowed "
        f"(inputs {results.memory_ratio[1]}, {results.allowed_memory[1]})",
    ]
    return "\n".join(lines + [f"  {count:>9,}  {name}" for name, count in sorted(results.outcomes.items())])


def write_corpus(arguments) -> None:
    """One case for each class and place of refusal, the shortest that was met, here or in the corpus as it is."""
    state = Path(arguments.state)
    fuzzer, cases = start(state), {}
    met = [case for *_, case in json.loads(CORPUS.read_text())] if CORPUS.exists() else []
    for file in sorted(state.glob("seed-*.json")):
        met += [case for *_, case in Results(**json.loads(file.read_text())).places.values()]
    for kept in met:
        case = Case.from_json(kept)
        outcome = fuzzer.attempt(case)
        if outcome.error is None or outcome.place is None or outcome.trouble:
            continue
        key = case.target, outcome.error, *outcome.place
        content = [outcome.error, outcome.place[0], case.to_json()]
        if key not in cases or len(json.dumps(content)) < len(json.dumps(cases[key])):
            cases[key] = content
    lines = [json.dumps(case) for case in sorted(cases.values(), key=lambda c: (c[2][0], c[1], c[0], json.dumps(c)))]
    CORPUS.write_text("[\n" + ",\n".join(lines) + "\n]\n")
    print(f"{len(lines)} cases in {CORPUS.stat().st_size:,} bytes")


def replay(arguments) -> None:
    """One input alone, and everything about it."""
    fuzzer = start(Path(arguments.state))
    case = case_of(arguments.seed, arguments.replay, fuzzer, arguments.deep)
    print(json.dumps(case.to_json()))
    for traced in (False, True):
        print(fuzzer.attempt(case, traced=traced))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--deep", type=float, default=DEEP)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--state", default=str(HERE.parent / "build" / "fuzz"))
    parser.add_argument("--replay", type=int)
    parser.add_argument("--corpus", action="store_true")
    arguments = parser.parse_args()
    if arguments.corpus:
        write_corpus(arguments)
    elif arguments.replay is not None:
        replay(arguments)
    else:
        return run(arguments)
    return 0


if __name__ == "__main__":
    sys.exit(main())
