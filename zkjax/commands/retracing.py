"""``python -m zkjax trace``: a circuit from its source, traced again, and whether it is the expected one. For those with zkjax's
dependencies, and for sources that they trust: the file is executed."""

import argparse
import importlib.machinery
import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..circuit.circuit import Circuit
from ..circuit.difference import differences
from ..errors import ZkjaxError
from .terminal import INVALID, VALID, Misuse, say

NAME = "traced_source"  # of the module that the file becomes
NAMED = 8  # functions of a file, where the wanted one is missing
EXECUTED = (
    "Traces a source again, from shapes alone, and tells the circuit's digest: whether a circuit is what this source says. FILE.py is "
    "executed, with all that it imports and with your rights: read it first, as any program of a stranger's, or run this in a sandbox."
)


def add(commands) -> None:
    """The command's place and options among those of ``commands``, an argparse parser's."""
    told = "trace a source again and compare the digest; executes that source"
    parser = commands.add_parser("trace", help=told, description=EXECUTED, allow_abbrev=False)
    what = "a file of Python and the function in it, without arguments, that returns a zkjax.Recipe (default: recipe)"
    parser.add_argument("source", metavar="FILE.py[:function]", help=what)
    parser.add_argument("--precision", metavar="FILE", help="the trainer's precision.json, all formats; else shapes choose them")
    expected = parser.add_mutually_exclusive_group()
    expected.add_argument("--expect", type=_digest, metavar="DIGEST", help="required digest of the circuit")
    expected.add_argument("--circuit", metavar="FILE", help="require this circuit, and say in words what differs")
    parser.add_argument("--out", metavar="FILE", help="write the circuit there")
    parser.add_argument("--source", dest="lines", metavar="FILE", help="write there which line each operation came from, for inspect")
    parser.set_defaults(run=_trace)


def _digest(text: str) -> str:
    if len(text) != 64 or not set(text.lower()) <= set("0123456789abcdef"):
        raise argparse.ArgumentTypeError(f"{text!r} is no digest, which has 64 hexadecimal digits")
    return text.lower()


def _trace(arguments) -> int:
    try:
        wanted = None if arguments.circuit is None else Circuit.load(arguments.circuit)
        circuit = _traced(arguments.source, arguments.precision)
        if arguments.out is not None:
            circuit.save(arguments.out)
        if arguments.lines is not None:
            circuit.save_source(arguments.lines)
    except (OSError, ZkjaxError) as error:
        raise Misuse(str(error)) from None
    found = circuit.digest().hex()
    say(f"digest {found}")
    expected = arguments.expect if wanted is None else wanted.digest().hex()
    if expected is None:
        return VALID
    if found == expected:
        say("SAME: this source is that of the expected circuit")
        return VALID
    chosen = "" if arguments.precision else "; without --precision formats were chosen from shapes, hardly as a trainer's were from data"
    say(f"DIFFERENT: expected is {expected}{chosen}")
    if wanted is not None:
        say("\n".join(["A is this source's circuit, B the expected one.", *differences(circuit, wanted)]))
    return INVALID


def _traced(source: str, precision_file: str | None) -> Circuit:
    """The circuit of ``FILE.py:function``; Misuse where the file is none of that kind."""
    try:
        from ..tracing.places import of_error
        from ..tracing.precision import Precision
        from ..tracing.recipe import Recipe
    except ModuleNotFoundError as error:
        raise Misuse(f"tracing needs {error.name}; install zkjax with its dependencies") from None
    precision = None if precision_file is None else Precision.load(precision_file)
    file, function = (source, "recipe") if source.endswith(".py") else source.rpartition(":")[::2]
    path = Path(file)
    if path.suffix != ".py" or not path.is_file() or not function.isidentifier():
        raise Misuse(f"{source}: no file of Python, or no function in one; give FILE.py or FILE.py:function")
    with _beside(path):
        recipe = _returned(source, path, function)
        if not isinstance(recipe, Recipe):
            raise Misuse(f"{source}: {function}() returned a {type(recipe).__name__}; let it return a zkjax.Recipe(...)")
        try:
            return recipe.trace(precision)
        except ZkjaxError as error:
            formats = "" if precision_file is None else f" in the formats of {precision_file}"
            raise Misuse(f"{source}{formats}: {error}") from None
        except Exception as error:
            if of_error(error)[1]:  # raised by a library, zkjax among them: no fault of the source's that is known
                raise
            raise _explained(source, "tracing", error) from None


def _returned(source: str, path: Path, function: str):
    """What the file's function returns. source: its name in messages."""
    try:
        module = _executed(path)
    except (Exception, SystemExit) as error:
        raise _explained(source, "executing the file", error) from None
    make = getattr(module, function, None)
    if not callable(make):
        own = [name for name, x in vars(module).items() if getattr(x, "__module__", "") == NAME and not name.startswith("_")]
        raise Misuse(f"{source}: the file has no function {function}; it has {', '.join(own[:NAMED]) or 'none'}")
    try:
        return make()
    except (Exception, SystemExit) as error:
        raise _explained(source, f"{function}()", error) from None


def _explained(source: str, doing: str, error: BaseException) -> Misuse:
    """An error of the source's own, with its line."""
    from ..tracing.places import of_error

    text, where = str(error).strip().partition("\n")[0], of_error(error)[0]
    at = f" at {where}" if where and not isinstance(error, SyntaxError) else ""
    return Misuse(f"{source}: {doing} ended with {type(error).__name__}{text and f': {text}'}{at}")


@contextmanager
def _beside(path: Path) -> Iterator[None]:
    """Imports find the files beside this one, as if Python ran it."""
    folder = str(path.resolve().parent)
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        sys.path.remove(folder)
        sys.modules.pop(NAME, None)


def _executed(path: Path):
    loader = importlib.machinery.SourceFileLoader(NAME, str(path))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader(NAME, loader))
    sys.modules[NAME] = module
    loader.exec_module(module)
    return module
