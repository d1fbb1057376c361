"""What every command says and how it ends: exit statuses, printing, misuse, and the words in which a verdict is refused.

All that is printed goes through ``say``: names and texts of files come out escaped, on any terminal.
"""

import json
import sys
from collections.abc import Callable, Sequence

from ..display import plain
from ..errors import FormatError, VerificationError, ZkjaxError
from ..proofs.soundness import TARGET
from ..work import MAX_MEMORY, MAX_WORK

VALID, INVALID, MISUSE = 0, 1, 2


def add_limits(parser) -> None:
    """What of verifying is the caller's choice: options of an argparse parser, as ``limits_of`` reads them."""
    told = f"required of each proof, 1 or more (default {TARGET:g}); a chain's sum is printed"
    parser.add_argument("--minimum-bits", type=float, default=TARGET, metavar="BITS", help=told)
    told = f"refuse more field multiplications (default {MAX_WORK:,})"
    parser.add_argument("--max-work", type=int, default=MAX_WORK, metavar="N", help=told)
    parser.add_argument("--max-memory", type=int, default=MAX_MEMORY, metavar="BYTES", help=f"refuse more memory (default {MAX_MEMORY:,})")


def limits_of(arguments) -> dict:
    """As the package's verifying functions take them."""
    return {"minimum_bits": arguments.minimum_bits, "max_work": arguments.max_work, "max_memory": arguments.max_memory}


def say(text: str, stream=None) -> None:
    """Print lines, of visible characters only, to standard output or another stream."""
    print("\n".join(map(plain, text.split("\n"))), file=stream or sys.stdout)


class Misuse(Exception):
    """What is wrong with the command line, or with a file that it names."""


def refuse(arguments, status: int, check: str, detail: str, proof: str | None = None) -> int:
    """Say why there is no valid proof: to people, and as JSON where that is asked for. Returns the status."""
    if arguments.json:
        say(json.dumps({"valid": False, "check": check, "detail": detail, "proof": proof}, indent=1))
    place = "" if proof is None else f"{proof}: "
    kind = {"format": "malformed: ", "misuse": ""}.get(check, f"check {check}: ")
    say(plain(f"{'error' if status == MISUSE else 'INVALID'}: {place}{kind}{detail}"), sys.stderr)  # one line, whatever a file says
    return status


def verdict(arguments, work: Callable[[], str], paths: Sequence[str] = ()) -> int:
    """Say what ``work`` returns of what is valid, or which check refused it. paths: of the proofs that errors name by their places."""
    try:
        say(work())
    except (VerificationError, FormatError) as error:
        place = None if error.proof is None or not paths else paths[error.proof]
        if isinstance(error, VerificationError):
            return refuse(arguments, INVALID, error.check, error.detail, place)
        return refuse(arguments, INVALID, "format", str(error).removeprefix(f"{place}: "), place)
    except ZkjaxError as error:
        raise Misuse(str(error)) from None
    return VALID
