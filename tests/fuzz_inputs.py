"""Honest files, and what may be done to them: the inputs of ``fuzz.py`` as data that a corpus can hold.

A *case* names an honest source and a list of operations; ``build`` turns it into bytes. Places are named as the code names
them (a path in a JSON tree, a message's label and number, a share of a file's length), never by an offset, so that a kept
case outlives a change of sizes or order.
"""

import io
import json
import random
import shutil
import struct
import tempfile
import warnings
import zipfile
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from hashlib import sha256, shake_256
from pathlib import Path

import numpy as np
from trees import at, changed

import zkjax
import zkjax.proofs.disclosed
import zkjax.verifier
from zkjax.algebra.field import P
from zkjax.auditing.data import data_in
from zkjax.circuit.data import rounded
from zkjax.commitment.dataset import dataset_root, shard_count
from zkjax.proofs import disclosure
from zkjax.proofs.disclosed import check_disclosed
from zkjax.proofs.drawing import Drawing, drawn_integers
from zkjax.proofs.proof import MAGIC, VERSION
from zkjax.protocol.plan import Batches, Plan, row_count
from zkjax.protocol.schedule import batch_indices
from zkjax.protocol.transcript import Reader, Transcript

WORD = 8  # bytes of a field element
SHARE = 2**32  # places in a file are shares of its length, in units of 2^-32
SMALL = 2**12  # samples, steps and shards for which ``agree`` works out a consistent statement


# ---- JSON with texts that no tree stands for ----------------------------------------------------------------------
def special(kind: str, **fields) -> dict:
    """A value that ``emit`` writes as something no JSON library would: text, deep, digits, string, list, twice."""
    return {"$": kind, **fields}


def emit(value, *, reverse=False, colon=":", comma=",", ascii=True) -> str:
    """JSON text, keys sorted; ``special`` values as what they stand for."""
    options = {"reverse": reverse, "colon": colon, "comma": comma, "ascii": ascii}
    if isinstance(value, dict) and "$" in value:
        kind = value["$"]
        if kind == "text":
            return value["of"]
        if kind == "deep":
            return value["open"] * value["n"]
        if kind == "digits":
            return "9" * value["n"]
        if kind == "string":
            return json.dumps(value["of"] * value["n"])
        if kind == "list":
            return "[" + comma.join([emit(value["of"], **options)] * value["n"]) + "]"
        return emit(value["of"], **options)
    if isinstance(value, dict):
        parts = []
        for key in sorted(value, reverse=reverse):
            part = json.dumps(key, ensure_ascii=ascii) + colon + emit(value[key], **options)
            parts += [part] * (2 if isinstance(value[key], dict) and value[key].get("$") == "twice" else 1)
        return "{" + comma.join(parts) + "}"
    if isinstance(value, list):
        return "[" + comma.join(emit(v, **options) for v in value) + "]"
    return json.dumps(value, ensure_ascii=ascii)


def spell(tree, style: str) -> bytes:
    """A tree in one of the ways to write it; "canonical" is the one that statements take."""
    if style == "canonical":
        text = json.dumps(tree, sort_keys=True, separators=(",", ":"))
        if '"$":' not in text:
            return text.encode()
    options = {"reversed": {"reverse": True}, "spaces": {"colon": ": ", "comma": ", "}, "characters": {"ascii": False}}.get(style, {})
    text = emit(tree, **options)
    changes = {
        "line": lambda t: t + "\n",
        "space": lambda t: " " + t,
        "mark": lambda t: "\ufeff" + t,
        "escape": lambda t: t.replace('"s', '"\\u0073', 1),
        "float": lambda t: t.replace(",", ".0,", 1),
        "null": lambda t: t + "\0",
        "again": lambda t: t + t,
    }
    text = changes.get(style, lambda t: t)(text)
    return text.encode("utf-16" if style == "utf-16" else "utf-8", "surrogatepass")


# ---- trees ------------------------------------------------------------------------------------------------------
def tree_operation(tree, name: str, path, argument):
    """One structural change. A path that the tree does not have leaves it as it is."""

    def act(container, key):
        value = container[key]
        if name == "set":
            container[key] = argument
        elif name == "drop":
            del container[key]
        elif name == "twice":
            container[key] = special("twice", of=value)
        elif name == "reverse" and isinstance(value, list):
            container[key] = value[::-1]
        elif name == "repeat" and isinstance(value, list):
            container[key] = value * argument
        elif name == "add" and isinstance(value, list):
            container[key] = [*value, argument]
        elif name == "add" and isinstance(value, dict):
            container[key] = {**value, "more": argument}
        elif name == "copy":
            container[key] = at(tree, argument)

    try:
        if not path:
            return argument if name == "set" else tree
        return changed(tree, path, act)
    except (KeyError, IndexError, TypeError):
        return tree


# ---- challenges that do not depend on what was read -------------------------------------------------------------------
class Frozen:
    """The challenges of an honest verification, for altered proofs: hashing then hides nothing, only equations refuse.

    Each label of each proof of a chain has a sequence of its own; beyond its end, challenges follow from label and place.
    """

    def __init__(self):
        self.records: list[dict] = []
        self.started = 0
        outer = self

        class Recording(Transcript):
            def __init__(self, *arguments):
                super().__init__(*arguments)
                outer.records.append({})

            def _draw(self, label, size):
                raw = super()._draw(label, size)
                outer.records[-1].setdefault(label, []).append(raw)
                return raw

        class Replaying(Transcript):
            def __init__(self, *arguments):
                super().__init__(*arguments)
                self.drawn = {}
                self.record = outer.records[min(outer.started, len(outer.records) - 1)]
                outer.started += 1

            @staticmethod
            def restart():
                outer.started = 0

            def _draw(self, label, size):
                n = self.drawn[label] = self.drawn.get(label, -1) + 1
                known = self.record.get(label, ())
                return known[n] if n < len(known) and len(known[n]) == size else shake_256(f"{label} {n}".encode()).digest(size)

        self.recording, self.replaying = Recording, Replaying


@contextmanager
def transcript(kind):
    """The verifier draws its challenges from this class."""
    getattr(kind, "restart", lambda: None)()
    users, original = (zkjax.verifier, zkjax.proofs.disclosed), Transcript
    for module in users:
        module.Transcript = kind
    try:
        yield
    finally:
        for module in users:
            module.Transcript = original


# ---- sources ----------------------------------------------------------------------------------------------------
@dataclass
class ProofSource:
    """An honest proof, its circuit, its messages as (label, number, offset, size), and its challenges.

    before: proofs of the same chain that are verified with it. pins: what the auditor requires.
    """

    circuit: zkjax.Circuit
    proof: zkjax.Proof
    before: tuple = ()
    pins: dict = field(default_factory=dict)
    minimum_bits: float = -1000.0
    messages: list = field(default_factory=list)
    frozen: Frozen = field(default_factory=Frozen)

    def __post_init__(self):
        seen: dict = {}
        source = self

        class Logging(Reader):
            def __init__(self, *arguments):
                super().__init__(*arguments)
                seen.clear()
                source.messages.clear()

            def _take(self, label, size):
                seen[label] = seen.get(label, -1) + 1
                source.messages.append((label, seen[label], self._at, size))
                return super()._take(label, size)

        original, zkjax.verifier.Reader = zkjax.verifier.Reader, Logging
        try:
            with transcript(self.frozen.recording):
                self.minimum_bits = self.verify(self.circuit, self.proof) - 0.01
        finally:
            zkjax.verifier.Reader = original
        self.tree = self.proof.statement.to_json()
        self.raw = bytes(self.proof)

    def verify(self, circuit, proof) -> float:
        """As an auditor would, with as little security as the toy geometry has; the bits of the last proof."""
        return zkjax.verifier.verify_chain(circuit, [*self.before, proof], minimum_bits=self.minimum_bits, **self.pins)[1][-1].bits

    def message(self, label: str, number: int) -> tuple[int, int]:
        """Offset and size of a message; one that does not exist stands for another one."""
        found = [m for m in self.messages if m[0] == label] or self.messages
        return found[number % len(found)][2:]


@dataclass
class PublishedSource:
    """What is published of an honest chain: a disclosure's file, and the file of the arrays that it is of.

    of: what ``verify`` calls them: "model", "initial_model", "drawing" or "data".
    """

    circuit: zkjax.Circuit
    statements: list
    disclosure: bytes
    arrays: bytes
    of: str
    frozen: Frozen = field(default_factory=Frozen)

    def __post_init__(self):
        self.tree, self.body = disclosure.Disclosure.parse(self.disclosure).to_json(), disclosure.Disclosure.parse(self.disclosure).body
        with tempfile.TemporaryDirectory() as directory:
            self.write(Path(directory), self.disclosure, self.arrays)
            with transcript(self.frozen.recording):
                self.held = self.integers(self.verify(Path(directory)))

    @staticmethod
    def write(directory: Path, told: bytes, arrays: bytes) -> None:
        """Both files, as ``verify`` reads them."""
        (directory / "arrays").write_bytes(arrays)
        (directory / "disclosure").write_bytes(told)

    def verify(self, directory: Path):
        """As an auditor would, of proofs that are valid. Returns the arrays that were read."""
        given, found = directory / "arrays", disclosure.Disclosure.load(directory / "disclosure")
        str(found), repr(found)
        if self.of == "data":
            read = data_in(given, LIMIT, self.circuit, [found])
        elif self.of == "drawing":
            read = Drawing.load(given)
            repr(read), read.describe()
        else:
            read = zkjax.Model.load(given, LIMIT)
            repr(read)
        limits = {"minimum_bits": -1000.0, "max_work": zkjax.work.MAX_WORK, "max_memory": zkjax.work.MAX_MEMORY}
        check_disclosed(self.circuit, self.statements, [found], **{self.of: read}, **limits)
        return read

    def integers(self, read) -> list:
        """What arrays say: their integers, as lists."""
        if self.of == "data":
            return [rounded(x, array).tolist() for x, array in zip(self.circuit.inputs, read, strict=True)]
        if self.of == "drawing":
            found = drawn_integers(read, self.circuit, self.statements[0].shifts, zkjax.work.Meter())
            return sorted((p, x.tolist()) for p, x in found.items())
        return sorted((path, x.tolist()) for path, x in read.integers.items())


LIMIT = 2**24  # bytes of a file of arrays


@dataclass
class Sources:
    """All honest files: proofs by name, circuits by name as JSON, one saved run as file name to content, what is published by name."""

    proofs: dict[str, ProofSource]
    circuits: dict[str, dict]
    run: dict[str, bytes]
    published: dict[str, PublishedSource]


GRAPHS_PROVEN = ("concatenate and slice",)
GRAPHS_TRACED = ("residual", "tied", "reshape", "constants", "scalar parameter", "elementwise")


def make_sources(directory: Path) -> None:
    """Prove the honest files and write them down. Their randomness is fixed, so that every run fuzzes the same bytes."""
    from unittest import mock

    import curving
    import drawing
    import holding
    import sliding
    from harness import make_run
    from moving import moving, start
    from test_graphs import GRAPHS
    from tiny import TINY
    from zero_knowledge import NO_TARGET, TOY, tiny_circuit, tiny_data, tiny_params

    counter = iter(range(10**9))
    with mock.patch("secrets.token_bytes", lambda n: shake_256(b"fuzz %d" % next(counter)).digest(n)):
        chains = {}
        least = make_run(_least, {"w": np.ones((1, 1), np.float32)}, (np.ones((2, 1), np.float32),), batch=1, steps=1, precision=LEAST)
        chains["least"] = least[1], ("loss",)
        run = zkjax.train(tiny_circuit(), tiny_params(0), tiny_data(0), steps=2, seed=1, shard_size=2)
        chains["tiny"] = run, ("loss",)
        for name in GRAPHS_PROVEN:
            loss, params, data = GRAPHS[name]
            chains[name] = make_run(loss, params, data, batch=3, steps=2, precision=TINY, shard_size=4)[1], ()
        chains["states"] = zkjax.train(moving(), *start(), steps=5), ("loss",)
        chains["parts"] = zkjax.train(moving(frozen=True), *start(frozen=True), steps=5), ("size",)
        chains["curves"] = curving.curving()[1], ("loss",)
        chains["windows"] = sliding.sliding()[1], ("loss",)
        chains["draws"] = zkjax.train(drawing.drawing(), *drawing.start(), steps=2), ("loss", "noise")
        for first, _ in chains.values():
            first.chain.geometry = TOY
        holding.beside(chains["parts"][0])
        holding.wear(chains["parts"][0], "frozen", "final")
        chains["later"] = zkjax.train(run.circuit, run, None, steps=1), ()
        for name, (each, reveal) in chains.items():
            each.circuit.save(directory / f"{name}.circuit.json")
            zkjax.prove(each.circuit, each, reveal=reveal, progress=None, minimum_bits=NO_TARGET).save(directory / f"{name}.proof")
        replaced = chains["states"][0]
        replaced.circuit.save(directory / "alone.circuit.json")
        zkjax.link(replaced, minimum_bits=NO_TARGET).save(directory / "alone.proof")
        run.save(directory / "run")
        values, (params, data) = DRAWN.floats({path: (3, 2) for path in "wvf"}), start(frozen=True)
        for name, first in (("published", params), ("drawn", [values[path] for path in "wvf"])):
            published = zkjax.train(moving(frozen=True), first, data, steps=5)
            published.chain.geometry = TOY
            proof = zkjax.prove(published.circuit, published, progress=None, minimum_bits=NO_TARGET)
            _publish(published, proof, directory / name, NO_TARGET)
    for name in GRAPHS_TRACED:
        loss, params, data = GRAPHS[name]
        circuit = zkjax.trace(loss, _optimizer(), params, batch=tuple(x[:3] for x in data), precision=TINY, steps=2, chunk=2)
        circuit.save(directory / f"{name}.circuit.json")


PARTS = ("disclosure", "arrays")
SOME = 0, 2, 3  # samples that are shown
PUBLISHED = {  # of which training, what is disclosed, what the arrays are to ``verify``, and samples of the dataset
    "last": ("published", "parameters", "model", None),
    "first": ("published", "initial", "initial_model", None),
    "shards": ("published", "dataset", "data", None),
    "some": ("published", "dataset", "data", SOME),
    "drawn": ("drawn", "initial", "drawing", None),
}
DRAWN = Drawing(7, {"f": ("normal", 2), "v": ("truncated_normal", 0.25), "w": ("uniform", -0.5, 0.5)})


def _publish(run, proof, directory: Path, minimum_bits: float) -> None:
    """A disclosure at a point and by a seed with the last weights, one by a seed with the first, of all shards and of samples with data."""
    directory.mkdir()
    run.circuit.save(directory / "circuit.json")
    proof.save(directory / "chunk.proof")
    for name, (training, what, _, samples) in PUBLISHED.items():
        if training == directory.name:
            found = zkjax.disclose(run, what, samples=samples, update=True, minimum_bits=minimum_bits)
            found.save(directory / f"{name}.disclosure")
    DRAWN.save(directory / "drawn.arrays")
    run.save_model(directory / "last.arrays")
    run.save_model(directory / "first.arrays", "initial")
    for name, part in (("shards", slice(None)), ("some", list(SOME))):
        held = zip(run.circuit.inputs, run.data.arrays, strict=True)
        with open(directory / f"{name}.arrays", "wb") as file:
            np.savez(file, **{x.name: integers[part] * 2.0**-x.scale for x, integers in held})


LEAST = zkjax.Precision(activation_scale=1, activation_bits=3, gradient_scale=1, gradient_bits=3, data_bits=(3,), table_bits=4)


def _least(params, x):
    return 0.5 * ((x @ params["w"]) ** 2).sum()


def _optimizer():
    import optax

    return optax.sgd(optax.piecewise_constant_schedule(1 / 32, {1: 0.5}))


def load_sources(directory: Path) -> Sources:
    """Read what ``make_sources`` wrote."""
    circuits = {path.name.removesuffix(".circuit.json"): zkjax.Circuit.load(path) for path in sorted(directory.glob("*.circuit.json"))}
    proofs = {path.stem: zkjax.Proof.load(path) for path in sorted(directory.glob("*.proof"))}
    pinned = proofs[GRAPHS_PROVEN[0]].statement
    last = pinned.first_step + pinned.steps
    pins = {"dataset": pinned.dataset, "initial": pinned.initial_weights, "final": pinned.final_state}
    pins |= {"seed": pinned.seed, "steps": (pinned.first_step, last)}
    ways = {"later": {"before": (proofs["tiny"],)}, "alone": {"before": (proofs["states"],)}, GRAPHS_PROVEN[0]: {"pins": pins}}
    return Sources(
        {name: ProofSource(circuits[name], proof, **ways.get(name, {})) for name, proof in proofs.items()},
        {name: circuit.to_json() for name, circuit in circuits.items()},
        {path.name: path.read_bytes() for path in sorted((directory / "run").iterdir()) if path.is_file()},
        {name: _published(directory / training, name, of) for name, (training, _, of, _) in PUBLISHED.items()},
    )


def _published(directory: Path, name: str, of: str) -> PublishedSource:
    circuit, proof = zkjax.Circuit.load(directory / "circuit.json"), zkjax.Proof.load(directory / "chunk.proof")
    return PublishedSource(circuit, [proof.statement], *((directory / f"{name}.{kind}").read_bytes() for kind in PARTS), of)


def cached_sources(directory: Path) -> Sources:
    """The sources of this version of the code, made if they are not there yet."""
    code = sorted(Path(zkjax.__file__).parent.rglob("*.py"))
    name = sha256(b"".join(path.read_bytes() for path in [*code, Path(__file__)])).hexdigest()[:16]
    target = Path(directory) / name
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent) as fresh:
            make_sources(Path(fresh))
            shutil.copytree(fresh, target)
    return load_sources(target)


# ---- cases ------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Case:
    """target: "proof", "circuit", "run", "disclosure" or "arrays" (of what is published). source: its name. frozen: challenges of the
    honest proof. operations: lists of a name and JSON values, in order."""

    target: str
    source: str
    operations: tuple
    frozen: bool = False

    def to_json(self) -> list:
        return [self.target, self.source, self.frozen, [list(op) for op in self.operations]]

    @staticmethod
    def from_json(data) -> "Case":
        """The case that ``to_json`` wrote."""
        return Case(data[0], data[1], tuple(data[3]), data[2])


def _scaled(share: int, length: int) -> int:
    return share * length // SHARE


def raw_operation(raw: bytes, name: str, arguments) -> bytes:
    """One change of bytes, wherever it falls."""
    place = _scaled(arguments[0], len(raw) + (name in ("insert", "cut")))
    if name == "cut":
        return raw[:place]
    if name == "insert":
        return raw[:place] + bytes.fromhex(arguments[1]) + raw[place:]
    if name == "erase":
        return raw[:place] + raw[place + arguments[1] :]
    if name == "flip":
        return raw[:place] + bytes([raw[place] ^ arguments[1]]) + raw[place + 1 :] if raw else raw
    if name == "overwrite":
        content = bytes.fromhex(arguments[1])
        return raw[:place] + content + raw[place + len(content) :]
    if name == "move":
        target = _scaled(arguments[1], len(raw))
        return raw[:target] + raw[place : place + arguments[2]] + raw[target + arguments[2] :]
    raise ValueError(name)


RAW = ("cut", "insert", "erase", "flip", "overwrite", "move")
TREE = ("set", "drop", "twice", "reverse", "repeat", "add", "copy")


def message_operation(source: ProofSource, others: dict, body: bytearray, name: str, arguments) -> bytearray:
    """One change of a message of an honest body; all but "resize" keep its length."""
    offset, size = source.message(*arguments[:2])
    rest = arguments[2:]
    if name == "word":
        place = offset + _scaled(rest[0], size // WORD) * WORD
        old = int.from_bytes(body[place : place + WORD], "little")
        body[place : place + WORD] = ((rest[2] if rest[1] == "set" else old + rest[2]) % 2**64).to_bytes(WORD, "little")
    elif name == "byte":
        body[offset + _scaled(rest[0], size)] ^= rest[1]
    elif name == "fill":
        body[offset : offset + size] = (int(rest[0]).to_bytes(WORD, "little") * (size // WORD + 1))[:size]
    elif name == "noise":
        noise = random.Random(rest[0])
        words = b"".join(noise.randrange(P).to_bytes(WORD, "little") for _ in range(size // WORD + 1))
        body[offset : offset + size] = words[:size]
    elif name == "exchange":
        start, length = source.message(*rest)
        length = min(size, length)
        if abs(offset - start) >= length:
            body[offset : offset + length], body[start : start + length] = body[start : start + length], body[offset : offset + length]
    elif name == "take":
        other = others[rest[0]]
        start, length = other.message(*arguments[:2])
        length = min(size, length)
        body[offset : offset + length] = other.proof.body[start : start + length]
    elif name == "resize":
        body[offset : offset + size] = (body[offset : offset + size] * 2)[: max(0, size + rest[0])]
    return body


MESSAGE = ("word", "byte", "fill", "noise", "exchange", "take", "resize")


def agree(circuit, tree):
    """What follows from the rest of a statement, worked out anew: digest, bounds, schedule's shards, rows, roots and paths."""
    if "kind" in tree:  # a statement of links alone is about no circuit
        return tree
    tree = {**tree, "circuit": circuit.digest().hex()}
    try:
        steps, first, samples, size = (tree[name] for name in ("steps", "first_step", "samples", "shard_size"))
        row = 1 << tree["geometry"]["log_row"]
        geometry = zkjax.proofs.statement.Geometry.from_json(tree["geometry"])
        tree["final_bound"] = list(circuit.bounds(tuple(tree["initial_bound"]), steps, first).final)
        if max(steps, samples, shard_count(samples, size)) > SMALL:
            return tree
        batches = Batches(batch_indices(tree["seed"], samples, size, circuit.batch_size, first, steps), size, samples)
        plan = Plan(circuit, first, steps, tuple(tree["shifts"]), tuple(tree["widths"]), batches, given=tree["given"])

        def fitted(commitment, name):
            """With the number that it has in this plan, and the rows of the parts that are opened."""
            layouts, parts = plan.layouts[name], commitment["parts"]
            parts = [{**x, "rows": row_count(layouts[x["name"]], row)} if x["name"] in layouts else x for x in parts]
            return {**commitment, "number": plan.kind(name)[1], "parts": parts}

        for role in ("initial", "final"):
            tree[role] = fitted(tree[role], role)
        if tree["frozen"] is not None:
            tree["frozen"] = {"commitment": fitted(tree["frozen"]["commitment"], "frozen"), "parameters": list(circuit.frozen)}
        some = tree["shards"][0]
        opened = {n: zkjax.proofs.statement.Commitment.from_json(fitted(some, f"shard {n}")) for n in batches.shards}
        digests = [opened[n].digest(geometry) if n in opened else bytes(32) for n in range(shard_count(samples, size))]
        root, siblings = dataset_root(digests, list(opened), samples, size)
        tree["dataset"], tree["siblings"] = root.hex(), [x.hex() for x in siblings]
        tree["shards"] = [c.to_json() for c in opened.values()]
        tree["dataset_after"] = tree["dataset"]
        if tree["losses"] is not None:
            tree["losses"] = [(row * steps)[:steps] for row in tree["losses"]]
    except Exception:
        pass  # it cannot be made to agree: the operations before it went too far
    return tree


def proof_file(statement: bytes, body: bytes, version=VERSION, length=None, magic=MAGIC) -> bytes:
    """A file of a statement with this header."""
    return magic + struct.pack("<HI", version % 2**16, (len(statement) if length is None else length) % 2**32) + statement + body


def build_proof(sources: Sources, case: Case, circuit=None) -> bytes:
    """The bytes of a case's proof file."""
    source = sources.proofs[case.source]
    tree, style, body, header, raw = source.tree, "canonical", bytearray(source.proof.body), {}, []
    for name, *arguments in case.operations:
        if name in TREE:
            tree = tree_operation(tree, name, *arguments)
        elif name == "agree":
            tree = agree(circuit or source.circuit, tree) if isinstance(tree, dict) else tree
        elif name == "spell":
            style = arguments[0]
        elif name in MESSAGE:
            body = message_operation(source, sources.proofs, body, name, arguments)
        elif name == "header":
            header = arguments[0]
        else:
            raw.append((name, arguments))
    result = proof_file(spell(tree, style), bytes(body), **header)
    for name, arguments in raw:
        result = raw_operation(result, name, arguments)
    return result


def build_text(tree, operations, keep=()) -> bytes:
    """The bytes of a JSON file after these operations, but for those named in ``keep``."""
    style, raw = "canonical", []
    for name, *arguments in operations:
        if name in TREE:
            tree = tree_operation(tree, name, *arguments)
        elif name == "spell":
            style = arguments[0]
        elif name in RAW:
            raw.append((name, arguments))
        elif name not in keep:
            raise ValueError(name)
    result = spell(tree, style)
    for name, arguments in raw:
        result = raw_operation(result, name, arguments)
    return result


NO_CHANGE = (
    TypeError,
    ValueError,
    OverflowError,
    LookupError,
    AttributeError,
    EOFError,
    OSError,
    RecursionError,
    zipfile.BadZipFile,
    zkjax.FormatError,
)


# ---- published files ----------------------------------------------------------------------------------------------
def build_disclosure(source: PublishedSource, operations) -> bytes:
    """The bytes of a disclosure's file after these operations; ["body", ...] is one on its body's bytes."""
    tree, style, body, header, raw = source.tree, "canonical", source.body, {}, []
    for name, *arguments in operations:
        if name in TREE:
            tree = tree_operation(tree, name, *arguments)
        elif name == "spell":
            style = arguments[0]
        elif name == "body":
            body = raw_operation(body, arguments[0], arguments[1:])
        elif name == "header":
            header = arguments[0]
        else:
            raw.append((name, arguments))
    result = proof_file(spell(tree, style), body, **{"version": disclosure.VERSION} | header, magic=disclosure.MAGIC)
    for name, arguments in raw:
        result = raw_operation(result, name, arguments)
    return result


def build_arrays(source: PublishedSource, operations) -> bytes:
    """The bytes of a file of arrays after these operations.

    Of data: ["array", name, action, argument]. Of a model: ["entry", share, amount] on its integers, all that follows from them made
    anew (None: without one of its parameters); ["told", ...] on the tree of its metadata, ["header", ...] on that of its header. Of a
    drawing: ["drawn", ...] on its tree. Of all: those on bytes.
    """
    result, model = source.arrays, "model" in source.of
    for name, *arguments in operations:
        try:
            if name == "array" and source.of == "data":
                with np.load(io.BytesIO(result)) as loaded:
                    arrays = dict(loaded)
                buffer = io.BytesIO()
                np.savez(buffer, **array_operation(arrays, *arguments))
                result = buffer.getvalue()
            elif name == "entry" and model:
                result = _with_entry(result, *arguments)
            elif name in ("told", "header") and model:
                result = _with_header(result, name, *arguments)
            elif name == "drawn" and source.of == "drawing":
                result = emit(tree_operation(json.loads(result), *arguments)).encode()
            elif name in RAW:
                result = raw_operation(result, name, arguments)
        except NO_CHANGE:
            continue  # no such change of what the ones before have left
    return result


def _with_entry(raw: bytes, share: int, amount: int) -> bytes:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "model"
        path.write_bytes(raw)
        model = zkjax.Model.load(path)
        integers, units = {name: x.copy() for name, x in model.integers.items()}, dict(model.units)
        name = sorted(integers)[share % len(integers)]
        if amount is None:
            del integers[name], units[name]
        else:
            x = integers[name].reshape(-1)
            x[_scaled(share, len(x))] = amount
        replace(model, integers=integers, units=units).save(path)
        return path.read_bytes()


def _with_header(raw: bytes, which: str, *operation) -> bytes:
    length = int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8 : 8 + length])
    if which == "told":
        told = json.loads(header["__metadata__"]["zkjax"])
        header["__metadata__"]["zkjax"] = emit(tree_operation(told, *operation))
    else:
        header = tree_operation(header, *operation)
    text = spell(header, "canonical")
    return len(text).to_bytes(8, "little") + text + raw[8 + length :]


# ---- saved runs ---------------------------------------------------------------------------------------------------
def array_operation(arrays: dict, name: str, action: str, argument) -> dict:
    """One change of a file of arrays."""
    name = name if name in arrays else sorted(arrays)[0]
    x = arrays[name]
    if action == "drop":
        return {key: value for key, value in arrays.items() if key != name}
    if action == "add":
        return arrays | {f"{name}more": x}
    if action == "type":
        return arrays | {name: x.astype(argument)}
    if action == "shape":
        return arrays | {name: np.resize(x, argument)}
    if action == "fill":
        y = x.astype(np.int64)
        y.reshape(-1)[: 1 + y.size // 2] = argument
        return arrays | {name: y}
    if action == "dtype":
        return arrays | {name: np.zeros(1, dtype=argument)}
    raise ValueError(action)


@contextmanager
def honest_circuits(sources: Sources):
    """Circuits of the sources, which are not under attack, are checked and hashed once and not for every input."""
    known = {id(source.circuit): source.circuit.check().digest() for source in sources.proofs.values()}
    check, digest = zkjax.Circuit.check, zkjax.Circuit.digest
    zkjax.Circuit.check = lambda self: self if id(self) in known else check(self)
    zkjax.Circuit.digest = lambda self: known.get(id(self)) or digest(self)
    try:
        yield
    finally:
        zkjax.Circuit.check, zkjax.Circuit.digest = check, digest


def build_run(sources: Sources, case: Case, directory: Path) -> None:
    """Write a case's saved run to a directory that is emptied first.

    Operations: ["file", name's beginning, operation ...] on one file, ["arrays", beginning, array, action, argument] on one
    of its arrays, and ["rehash"], after which run.json names the arrays by what they hold.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what arrays become
        files = run_files(sources, case)
    for path in directory.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    for name, content in files.items():
        (directory / name).write_bytes(content)


def run_files(sources: Sources, case: Case) -> dict[str, bytes]:
    """The files of a case's saved run."""
    from zkjax.training.saved import hash_of

    key = bytes.fromhex(json.loads(sources.run["run.json"])["chain"]["data"]["seed"])
    files = {}
    for name, content in sorted(sources.run.items(), key=lambda item: item[0].endswith(".json")):  # arrays first: run.json names them
        kind = name.split("-")[0].split(".")[0]
        mine = [op[2:] for op in case.operations if op[0] == "file" and op[1] == kind]
        if name.endswith(".npz"):
            changes = [op[2:] for op in case.operations if op[0] == "arrays" and op[1] == kind]
            if changes:
                with np.load(io.BytesIO(content)) as loaded:
                    arrays = dict(loaded)
                for change in changes:
                    try:
                        arrays = array_operation(arrays, *change)
                    except (TypeError, ValueError, OverflowError):
                        continue  # no such change of such an array
                buffer = io.BytesIO()
                np.savez(buffer, **arrays)
                content = buffer.getvalue()
                if ["rehash"] in [list(op) for op in case.operations]:
                    try:
                        fresh = f"{kind}-{hash_of(arrays, key)}.npz"
                        files["run.json"] = files.get("run.json", sources.run["run.json"]).replace(name.encode(), fresh.encode())
                        name = fresh
                    except (TypeError, ValueError):
                        pass  # what cannot be hashed keeps its name
            for operation, *arguments in mine:
                if operation in RAW:
                    content = raw_operation(content, operation, arguments)
        elif name.endswith(".json"):
            content = files.get(name, content)
            content = build_text(json.loads(content), mine) if mine else content
        if ("missing", kind) not in [tuple(op[:2]) for op in case.operations]:
            files[name] = content
    return files
