"""``python -m zkjax status``: how far the training in a folder is. For trainers: it reads their private directory, and writes nothing."""

import json
from dataclasses import asdict

from ..errors import ZkjaxError
from .terminal import VALID, Misuse, say


def add(commands) -> None:
    """The command's place and options among those of ``commands``, an argparse parser's."""
    told = "show how far a training in a folder is: steps, proofs, openings left, time to go"
    parser = commands.add_parser("status", help=told, allow_abbrev=False)
    parser.add_argument("folder", metavar="FOLDER", help="of a zkjax.Training")
    parser.add_argument("--json", action="store_true", help="print it as JSON")
    parser.set_defaults(run=_status)


def _status(arguments) -> int:
    from ..training.standing import Standing  # file locks, which some systems lack that verify proofs

    try:
        standing = Standing.of(arguments.folder)
    except (OSError, ZkjaxError) as error:
        raise Misuse(str(error)) from None
    say(json.dumps(asdict(standing) | {"path": str(standing.path)}, indent=1) if arguments.json else str(standing))
    return VALID
