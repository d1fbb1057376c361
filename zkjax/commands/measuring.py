"""``python -m zkjax measure``: how fast this machine trains, proves and verifies. For trainers: it needs zkjax's dependencies."""

import os

from ..errors import ZkjaxError
from .terminal import VALID, Misuse, say


def add(commands) -> None:
    """The command's place and options among those of ``commands``, an argparse parser's."""
    told = "find out how fast this machine trains, proves and verifies, for zkjax.estimate: a few minutes"
    parser = commands.add_parser("measure", help=told, allow_abbrev=False)
    parser.add_argument("--out", metavar="FILE", help="write the constants there, not to the user's cache directory")
    parser.set_defaults(run=_measure)


def _measure(arguments) -> int:
    os.environ["JAX_ENABLE_COMPILATION_CACHE"] = "false"  # what is cold is to be cold
    try:
        from ..planning.measure import measure

        path = measure(say).save(arguments.out)
    except ModuleNotFoundError as error:
        raise Misuse(f"measuring trains and proves, and needs {error.name}; install zkjax with its dependencies") from None
    except (OSError, ZkjaxError) as error:
        raise Misuse(str(error)) from None
    say(f"zkjax.estimate uses these constants from now on: {path}" if arguments.out is None else f"constants of this machine: {path}")
    return VALID
