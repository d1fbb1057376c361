"""``python -m zkjax diff``: what differs between two circuits, in words. NumPy and the standard library only."""

from ..circuit.circuit import Circuit
from ..circuit.difference import differences
from ..errors import ZkjaxError
from .terminal import INVALID, VALID, Misuse, say


def add(commands) -> None:
    """The command's place and options among those of ``commands``, an argparse parser's."""
    parser = commands.add_parser("diff", help="say in words what differs between two circuits", allow_abbrev=False)
    parser.add_argument("first", metavar="A")
    parser.add_argument("second", metavar="B")
    parser.set_defaults(run=_diff)


def _diff(arguments) -> int:
    try:
        a, b = Circuit.load(arguments.first), Circuit.load(arguments.second)
    except (OSError, ZkjaxError) as error:
        raise Misuse(str(error)) from None
    told = differences(a, b)
    say("\n".join([f"A: {a.digest().hex()}  {arguments.first}", f"B: {b.digest().hex()}  {arguments.second}", *told]))
    return VALID if a.digest() == b.digest() else INVALID
