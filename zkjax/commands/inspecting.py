"""``python -m zkjax inspect``: what a circuit, proof or disclosure file holds. NumPy and the standard library only."""

import json
import sys

from ..circuit import lines
from ..circuit.circuit import Circuit
from ..display import Table, plain
from ..errors import ZkjaxError
from ..files import read
from ..proofs import disclosure
from ..proofs.estimate import argument_work
from ..proofs.proof import MAGIC, MAX_FILE, Proof
from ..verifier import estimate_work
from .terminal import INVALID, VALID, Misuse, say


def add(commands) -> None:
    """The command's place and options among those of ``commands``, an argparse parser's."""
    parser = commands.add_parser(
        "inspect", help="print what a circuit, proof or disclosure file holds; verifies nothing", allow_abbrev=False
    )
    parser.add_argument("file", metavar="FILE")
    parser.add_argument("--circuit", metavar="CIRCUIT", help="of a proof file: estimate also what verifying it takes")
    of_lines = "of a circuit file: a file of source lines; print for each operation the line it came from"
    parser.add_argument("--source", metavar="LINES", help=of_lines)
    parser.set_defaults(run=_inspect)


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
    """What a circuit, proof or disclosure file holds, and what verifying it takes: of a proof where its circuit is given."""
    begin = read(file, MAX_FILE, MAGIC)[: len(MAGIC)]
    if lines_file is not None and begin in (MAGIC, disclosure.MAGIC):
        raise Misuse(f"{file}: a proof has no operations of its own; --source goes with its circuit file")
    if begin == disclosure.MAGIC:
        return f"{disclosure.Disclosure.load(file)}\nnot compared with anything here"
    if begin != MAGIC:
        circuit = Circuit.load(file)
        work = f"verifying a proof of one step takes, without its opening, {argument_work(circuit, 1)}"
        told = f"digest {circuit.digest().hex()}\n{work}\n{circuit}"
        return told if lines_file is None else f"{told}\n\n{_lines(circuit, lines_file)}"
    proof = Proof.load(file)
    told = [f"proof file of {proof.nbytes} bytes, of which {len(proof.body)} are the proof's body; not verified here"]
    told += [str(proof.statement), json.dumps(proof.statement.to_json(), indent=1)]
    if circuit_file is not None:
        told.append(f"verifying it takes {estimate_work(Circuit.load(circuit_file), [proof.statement], None, None)}")
    return "\n".join(told)


def _lines(circuit: Circuit, file: str) -> str:
    """For each operation the line that it came from, as a file says."""
    found = zip(circuit.nodes, lines.load(file, circuit), strict=True)
    rows = tuple((str(i), node.operation.describe(), node.label, line or "-") for i, (node, line) in enumerate(found))
    table = Table(rows, ("#", "operation", "called by its author", "line"), left=(1, 2, 3))
    return f"{CLAIMED.format(file=file, digest=circuit.digest().hex())}\n\n{table.text()}"
