"""The command line: ``python -m zkjax verify``, ``evaluation``, ``comparison``, ``check``, ``attest``, ``inspect`` and ``diff``, with NumPy
and the standard library, and safetensors for model files; ``status``, for trainers; ``trace`` and ``measure``, with zkjax's dependencies.

Exit status: 0 for valid proofs, and for circuits that are the same; 1 for invalid or malformed ones, and for circuits that differ; 2 for
misuse and for anything else that leaves no verdict.
"""

import argparse
import os
import sys
import traceback
from importlib import import_module

from . import __version__

try:
    from .circuit.file import VERSION as CIRCUITS
    from .commands.terminal import MISUSE, Misuse, refuse, say
    from .proofs.proof import VERSION as PROOFS
except ModuleNotFoundError as error:  # before there is a verdict, so not the status of an invalid proof
    print(f"error: verifying needs {error.name}: pip install {error.name}", file=sys.stderr)
    raise SystemExit(2) from None

# In the order of the help, with the modules in ``commands`` that have them.
COMMANDS = {
    **{"verify": "verifying", "check": "checking", "attest": "checking", "evaluation": "evaluating", "comparison": "weighing"},
    **{"inspect": "inspecting", "diff": "comparing", "trace": "retracing", "status": "watching", "measure": "measuring"},
}


class _Parser(argparse.ArgumentParser):
    def error(self, message: str):
        say(self.format_usage().rstrip(), sys.stderr)
        raise Misuse(message)


def _parser(words: list[str]) -> argparse.ArgumentParser:
    """What reads these words: of a command that they name no other is loaded, for that takes as long as verifying a small proof."""
    describe = "Verify proofs of training, look into files, compare circuits with sources, and find out how fast this machine proves."
    parser = _Parser(prog="python -m zkjax", description=describe, allow_abbrev=False)
    versions = f"zkjax {__version__}, proof format {PROOFS}, circuit format {CIRCUITS}"
    parser.add_argument("--version", action="version", version=versions)
    commands = parser.add_subparsers(dest="command", required=True)
    for module in [COMMANDS[words[0]]] if words[:1] and words[0] in COMMANDS else dict.fromkeys(COMMANDS.values()):
        import_module(f".commands.{module}", __package__).add(commands)
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit status. Errors of output are the caller's to handle."""
    words = sys.argv[1:] if arguments is None else arguments
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # for what the terminal's encoding lacks
    try:
        parsed = _parser(words).parse_args(words)
        return parsed.run(parsed)
    except Misuse as error:
        return refuse(argparse.Namespace(json="--json" in words), MISUSE, "misuse", str(error))
    except OSError:
        raise
    except Exception as error:
        say(traceback.format_exc(), sys.stderr)
        detail = f"no verdict, for zkjax stopped with a {type(error).__name__}: that is a bug, please report it"
        return refuse(argparse.Namespace(json="--json" in words), MISUSE, "misuse", detail)


if __name__ == "__main__":
    try:
        status = main()
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError as error:  # the reader, such as head, has closed the pipe, or the disk is full: nobody has seen the verdict
        if not isinstance(error, BrokenPipeError):
            print(f"error: the result could not be written: {error}", file=sys.stderr)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = MISUSE
    sys.exit(status)
