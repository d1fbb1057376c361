"""``python -m zkjax inspect``: what a public file holds, whatever its kind. NumPy only, and safetensors for models."""

import json
import sys

import numpy as np

from ..arrays import NUMBERS, read_arrays
from ..auditing import attestation
from ..circuit import lines
from ..circuit.circuit import Circuit
from ..comparison import Terms
from ..display import Table, plain
from ..errors import ZkjaxError
from ..files import read, read_json
from ..proofs import disclosure, model
from ..proofs.drawing import Drawing
from ..proofs.estimate import argument_work
from ..proofs.proof import MAGIC, MAX_FILE, Proof
from ..proofs.published import KEYS, Published
from ..verifier import estimate_work
from .terminal import INVALID, VALID, Misuse, say


def add(commands) -> None:
    """The command's place and options among those of ``commands``, an argparse parser's."""
    parser = commands.add_parser(
        "inspect", help="print what a circuit, a proof, or any other public file holds; verifies nothing", allow_abbrev=False
    )
    parser.add_argument("file", metavar="FILE")
    parser.add_argument("--circuit", metavar="CIRCUIT", help="of a proof file: estimate also what verifying it takes")
    of_lines = "of a circuit file: a file of source lines; print for each operation the line it came from"
    parser.add_argument("--source", metavar="LINES", help=of_lines)
    parser.set_defaults(run=_inspect)


ARCHIVE = b"PK\x03\x04"  # with which a .npz file begins
JSON_FILE = 2**27  # bytes

# What is printed over lines of a source.
CLAIMED = (
    "These lines are what the maker of {file} says: no digest covers them. To have lines that you need not believe, trace the source that\n"
    "you have read: python -m zkjax trace FILE.py --precision precision.json --expect {digest} --source LINES"
)


def _inspect(arguments) -> int:
    try:
        told = _looked_into(arguments.file, arguments.circuit, arguments.source)
    except OSError as error:
        raise Misuse(str(error)) from None
    except ZkjaxError as error:
        say(plain(f"INVALID: {error}"), sys.stderr)
        return INVALID
    say(told)
    return VALID


def _looked_into(file: str, circuit_file: str | None, lines_file: str | None) -> str:
    """What a file holds, and what verifying it takes: of a proof where its circuit is given."""
    begin = read(file, MAX_FILE, MAGIC)[: len(MAGIC)]
    if lines_file is not None and begin in (MAGIC, disclosure.MAGIC):
        raise Misuse(f"{file}: a proof has no operations of its own; --source goes with its circuit file")
    if begin == MAGIC:
        return _proof(Proof.load(file), circuit_file)
    if begin == disclosure.MAGIC:
        return _beside(disclosure.Disclosure.load(file))
    if begin.startswith(ARCHIVE):
        return _arrays(read_arrays(file, model.LIMIT, NUMBERS))
    if len(begin) == 8 and 0 < int.from_bytes(begin, "little") <= model.LIMIT:  # a text would be a number beyond
        return _beside(_model(model.Model.load(file)))
    data = read_json(file, JSON_FILE)
    known = set(data) if isinstance(data, dict) else set()
    for names, told in PUBLIC.items():
        if set(names) <= known:
            return _beside(told(file))
    circuit = Circuit.from_json(data)
    work = f"verifying a proof of one step takes, without its opening, {argument_work(circuit, 1)}"
    told = f"digest {circuit.digest().hex()}\n{work}\n{circuit}"
    return told if lines_file is None else f"{told}\n\n{_lines(circuit, lines_file)}"


def _beside(told) -> str:
    """Of a file that says something beside proofs."""
    return f"{told}\nnot compared with anything here"


def _proof(proof: Proof, circuit_file: str | None) -> str:
    told = [f"proof file of {proof.nbytes} bytes, of which {len(proof.body)} are the proof's body; not verified here"]
    told += [str(proof.statement), json.dumps(proof.statement.to_json(), indent=1)]
    if circuit_file is not None:
        told.append(f"verifying it takes {estimate_work(Circuit.load(circuit_file), [proof.statement], None, None)}")
    return "\n".join(told)


def _arrays(found: dict[str, np.ndarray]) -> str:
    return _beside(_table("Arrays", (("name", "shape", "type"), *((name, str(x.shape), str(x.dtype)) for name, x in found.items()))))


def _model(found: model.Model) -> str:
    rows = [(path, str(x.shape), str(found.units[path])) for path, x in sorted(found.integers.items())]
    title = f"Model after {found.step} steps of the circuit with digest {found.circuit.hex()}"
    return _table(title, (("parameter", "shape", "unit"), *rows))


def _drawing(file: str) -> str:
    found = Drawing.load(file)
    rows = [(distribution, ", ".join(paths)) for distribution, paths in found.describe().items()]
    return _table(f"Drawing: parameters from key {found.seed}", (("distribution", "parameters"), *rows))


def _published(file: str) -> str:
    found = Published.load(file).content
    ends = [f"{name.replace('_', ' ')} {found[name]}" for name in KEYS[:4]]
    rows = [(x["file"], " ".join(x["sentence"].split())) for x in found["proofs"]]
    title = "\n".join(["Statements of proofs, as their trainer publishes them", *ends])
    return _table(title, (("proof", "what it is said to say"), *rows))


def _terms(file: str) -> str:
    rows = [(", ".join(x.paths), f"2^-{x.scale}", "none: told" if x.limit is None else str(x.limit)) for x in Terms.load(file).parts]
    return _table("Terms of a comparison", (("parameters", "rounded to", "limit of squares"), *rows))


def _attestation(file: str) -> str:
    found, enveloped = attestation.load(file)
    told = json.dumps(found, indent=1)
    return f"Attestation{', in an envelope; no signature is looked at' * enveloped}\n{told}"


def _source_lines(file: str) -> str:
    found = read_json(file, JSON_FILE)
    return plain(f"Source lines of the circuit with digest {found['circuit']!s:.64}: inspect the circuit's file with --source {file}")


def _precision(file: str) -> str:
    from ..tracing.precision import Precision

    return str(Precision.load(file))


def _table(title: str, rows: tuple[tuple[str, ...], ...]) -> str:
    """rows: the first one names the columns."""
    head, *rest = rows
    return f"{title}\n\n{Table(tuple(rest), head, left=tuple(range(len(head)))).text()}"


# By the keys that tell a JSON file from others: what it holds.
PUBLIC = {
    ("seed", "parameters"): _drawing,
    KEYS: _published,
    ("parts",): _terms,
    ("predicate",): _attestation,
    ("payload",): _attestation,
    ("circuit", "lines"): _source_lines,
    ("activation_scale",): _precision,
}


def _lines(circuit: Circuit, file: str) -> str:
    """For each operation the line that it came from, as a file says."""
    found = zip(circuit.nodes, lines.load(file, circuit), strict=True)
    rows = tuple((str(i), node.operation.describe(), node.label, line or "-") for i, (node, line) in enumerate(found))
    table = Table(rows, ("#", "operation", "called by its author", "line"), left=(1, 2, 3))
    return f"{CLAIMED.format(file=file, digest=circuit.digest().hex())}\n\n{table.text()}"
