"""``python -m zkjax check``: all that a published folder holds, and what follows from it. NumPy only, and safetensors for model files."""

import json
from pathlib import Path

from ..auditing.conclusion import check
from ..display import page
from ..errors import FormatError, VerificationError, ZkjaxError
from ..proofs.soundness import TARGET
from ..work import MAX_MEMORY, MAX_WORK
from .terminal import INVALID, VALID, Misuse, refuse, say


def add(commands) -> None:
    """The command's place and options among those of ``commands``, an argparse parser's."""
    parser = commands.add_parser("check", help="check all that a published folder holds, and say what follows", allow_abbrev=False)
    parser.add_argument("folder", metavar="FOLDER", help="circuit.json, proofs, and what zkjax.publish puts beside them")
    parser.add_argument(
        "--minimum-bits", type=float, default=TARGET, metavar="BITS", help=f"required of each proof, 1 or more (default {TARGET:g})"
    )
    parser.add_argument(
        "--max-work", type=int, default=MAX_WORK, metavar="N", help=f"refuse more field multiplications (default {MAX_WORK:,})"
    )
    parser.add_argument("--max-memory", type=int, default=MAX_MEMORY, metavar="BYTES", help=f"refuse more memory (default {MAX_MEMORY:,})")
    parser.add_argument("--json", action="store_true", help="print the result as JSON, whether valid or not")
    parser.add_argument("--html", metavar="FILE", help="write the result as one page that loads nothing, too")
    parser.set_defaults(run=_check)


def _check(arguments) -> int:
    limits = {"minimum_bits": arguments.minimum_bits, "max_work": arguments.max_work, "max_memory": arguments.max_memory}
    try:
        found = check(arguments.folder, **limits)
    except (VerificationError, FormatError) as error:
        if isinstance(error, VerificationError):
            return refuse(arguments, INVALID, error.check, error.detail)
        return refuse(arguments, INVALID, "format", str(error))
    except (OSError, ZkjaxError) as error:
        raise Misuse(str(error)) from None
    if arguments.html is not None:
        try:
            Path(arguments.html).write_text(page("zkjax check", found.sheet()), encoding="utf-8")
        except OSError as error:
            raise Misuse(str(error)) from None
    say(json.dumps(found.to_json(), indent=1) if arguments.json else f"VALID: {found}")
    return VALID
