"""Docstrings as this repository writes them, made to reStructuredText: tables of names that are aligned by hand become definitions.

    restructured(["params:  the weights,", "         a pytree."])  # ["**params**", "    the weights,", "    a pytree.", ""]

What is public and named in double backticks, and every error, becomes a link to its entry in the reference.
"""

import re

import zkjax

ENTRY = re.compile(r"(\w+(?:, \w+)*):\s+(?=\S)")
PUBLIC = "|".join(zkjax.__all__)
ERRORS = "|".join(name for name in zkjax.__all__ if name.endswith(("Error", "Warning")))


def restructured(lines: list[str]) -> list[str]:
    """The lines of a docstring, without its common indentation, as reStructuredText."""
    found, block = [], []
    for line in [*lines, ""]:
        if line.strip():
            block.append(line)
            continue
        found += [*(definitions(block) if is_table(block) else block), ""]
        block = []
    return [linked(line) for line in found]


def is_table(block: list[str]) -> bool:
    """Whether names begin its lines, and what else they say is indented: it is prose where a sentence begins with such a name."""
    entries = [bool(ENTRY.match(line)) for line in block]
    return any(entries) and (all(entries) or any(line.startswith(" ") for line in block))


def definitions(block: list[str]) -> list[str]:
    """A definition for each name; a line that is neither one nor goes on with one is a paragraph of its own."""
    found = []
    for line in block:
        if entry := ENTRY.match(line):
            found += ["", f"**{entry[1]}**", "    " + line[entry.end() :]]
        else:
            found += ["    " + line.strip()] if line.startswith(" ") else ["", line]
    return found[1:]  # without the empty line before the first


def linked(line: str) -> str:
    """With links to what is public."""
    line = re.sub(rf"``(?:zkjax\.)?(({PUBLIC})(?:\.\w+)?)``", r":py:obj:`\1 <zkjax.\1>`", line)
    return re.sub(rf"(?<![\w`.<])({ERRORS})\b(?![\w`>])", r":py:class:`\1 <zkjax.\1>`", line)
