"""Places: the line of the user's own file that an operation, or an error of a library, comes from.

A traceback leads from the user's program through zkjax to the loss or the step, and from there through Flax, optax and JAX; the
innermost frame outside of all libraries is the line that a user can change.
"""

import inspect
import os
import sys
import sysconfig
import traceback
from functools import lru_cache

_OWN = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep
LIBRARIES = ("jax", "jaxlib", "flax", "optax", "chex", "haiku", "equinox", "numpy", "scipy", "zkjax")


@lru_cache(maxsize=1024)
def _library(path: str) -> bool:
    """Whether a file is a library's, or Python's own."""
    if path.startswith("<frozen"):
        return True
    path = os.path.realpath(path)
    for name in LIBRARIES:
        module = sys.modules.get(name)
        file = getattr(module, "__file__", None)
        if file is not None and path.startswith(os.path.dirname(os.path.realpath(file)) + os.sep):
            return True
    standard = os.path.realpath(sysconfig.get_paths()["stdlib"]) + os.sep
    return path.startswith(standard) and not any(part in path for part in ("site-packages", "dist-packages"))


def of_equation(eqn) -> str | None:
    """The user's line behind an equation of a jaxpr, or None if there is none."""
    found = eqn.source_info.traceback
    for frame in found.frames if found is not None else ():  # the innermost comes first
        if not _library(frame.file_name):
            return f"{frame.file_name}:{frame.line_num} ({frame.function_name})"
    return None


def line_of(eqn) -> str | None:
    """The line within the loss or the step that an equation comes from, or None: of an optimizer that zkjax applies, say.

    A file in or below the working directory is named from there, another one without its folders: such lines are published.
    """
    found = eqn.source_info.traceback
    for frame in found.frames if found is not None else ():
        if not _library(frame.file_name):
            return f"{_named(frame.file_name)}:{frame.line_num} ({frame.function_name})"
        if frame.file_name.startswith(_OWN):  # further out is who has called zkjax
            return None
    return None


def _named(path: str) -> str:
    below = os.path.relpath(path)
    return os.path.basename(path) if below.startswith(os.pardir) else below


def of_error(error: BaseException) -> tuple[str | None, bool]:
    """(the user's innermost line that an error passed, or None; whether a library raised it)."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [f for f in frames if not _library(f.filename)]
    place = f"{own[-1].filename}:{own[-1].lineno} ({own[-1].name})" if own else None
    return place, not own or frames[-1] is not own[-1]


def of_function(function) -> str:
    """Where a function of the user's begins, for what no line of it shows; where it is used, if a library made it."""
    function = inspect.unwrap(function) if callable(function) else function
    while hasattr(function, "func"):  # functools.partial
        function = function.func
    code = getattr(function, "__code__", None)
    if code is not None and not _library(code.co_filename):
        return f"{code.co_filename}:{code.co_firstlineno} ({code.co_name})"
    frame = sys._getframe()
    while frame is not None and _library(frame.f_code.co_filename):
        frame = frame.f_back
    return "an unknown line" if frame is None else f"{frame.f_code.co_filename}:{frame.f_lineno} ({frame.f_code.co_name})"
