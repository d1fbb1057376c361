"""From which line of its author's source each operation of a circuit came: a file beside the circuit's, which no digest covers.

So it is what its maker says, to find one's way; whoever wants to know traces the source again (``python -m zkjax trace``). An operation
that several lines ask for is made once, and has the first one. Parameters and data have none.
"""

import json
from os import PathLike
from pathlib import Path

from ..errors import ConfigurationError, FormatError
from ..files import read_json

FORMAT, VERSION = "zkjax source lines", 1
MAX_FILE = 2**27  # bytes


def save(circuit, path: str | PathLike[str]) -> None:
    """Write the lines of a circuit that was traced; ConfigurationError for one from a file, which has none."""
    if not circuit.source:
        raise ConfigurationError("this circuit comes from a file, which holds no lines of a source; trace the source to have them")
    content = {"format": FORMAT, "version": VERSION, "circuit": circuit.digest().hex(), "lines": [*circuit.source]}
    Path(path).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def load(path: str | PathLike[str], circuit) -> tuple[str, ...]:
    """The lines in a file of ``save``, one for each operation of this circuit; FormatError where they are not."""
    found = read_json(path, MAX_FILE)
    if not isinstance(found, dict) or found.get("format") != FORMAT or found.get("version") != VERSION:
        raise FormatError(f"{path}: no file of source lines, which circuit.save_source writes")
    if found.get("circuit") != circuit.digest().hex():
        raise FormatError(f"{path}: the lines are of circuit {found.get('circuit')!s:.64}, not of {circuit.digest().hex()}")
    lines = found.get("lines")
    if not isinstance(lines, list) or len(lines) != len(circuit.nodes) or not all(isinstance(x, str) for x in lines):
        raise FormatError(f"{path}: not one line for each of the {len(circuit.nodes)} operations")
    return tuple(lines)
