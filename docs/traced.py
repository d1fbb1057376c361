"""What can be traced: the table of docs/traced.md, made from the tracer's rules.

python docs/traced.py           prints it
python docs/traced.py --write   puts it into docs/traced.md
"""

import sys
from pathlib import Path

from zkjax.algebra.functions import FUNCTIONS
from zkjax.tracing import entrywise, rules, windows
from zkjax.tracing.interpreter import CALLS

PAGE = Path(__file__).parent / "traced.md"
BEGIN, END = "<!-- what can be traced: written by `python docs/traced.py --write` -->", "<!-- end of what can be traced -->"
PICKED = ("reduce_max", "reduce_min", "argmax", "argmin", "gather", "scatter", "scatter-add", "scatter-mul")


def table() -> str:
    """A row for each family of JAX's primitives: their names, and what they become."""
    of_one = sorted(set(entrywise.RULES) - {"max", "min", "clamp", "is_finite", "sqrt", "rsqrt", "pow"})
    named = {*rules.MOVES, *entrywise.RULES, *PICKED, *windows.RULES}
    families = (
        ("moves of entries", sorted(rules.MOVES), "exact, no cost"),
        (
            "functions of one tensor, and whatever is composed of them",
            of_one,
            "one table lookup for all functions of a tensor, a cell for each",
        ),
        (
            "roots, powers with a constant exponent, quotients",
            ["sqrt", "rsqrt", "pow", "integer_pow", "div", "rem"],
            "integer roots and divisions, or a table; of integers by a constant: a table",
        ),
        ("the larger of two, clipping", ["max", "min", "clamp"], "a table, or the sign of the difference"),
        (
            "maxima along axes, picking by an index",
            list(PICKED),
            "the first maximum (JAX splits a gradient among equal ones); products with one-hots",
        ),
        (
            "convolutions, pools, cumulative sums, and their gradients",
            sorted(windows.RULES),
            "windows, which cost nothing, and a product, sum or maximum of them",
        ),
        (
            "arithmetic, comparisons, choices",
            sorted(set(rules.RULES) - named - {"div", "integer_pow", "rem"}),
            "sums and products; signs of differences",
        ),
        ("random bits of public keys", sorted(rules.KEYS), "public, no cost"),
        ("calls, which are looked into", sorted(CALLS), ""),
    )
    rows = [f"| {family} | {', '.join(f'`{name}`' for name in names)} | {how} |" for family, names, how in families]
    programs = ", ".join(f"`{name}`" for name in sorted(FUNCTIONS))
    return (
        "\n".join(("| | primitives of `jax.lax` on data and parameters | what they become |", "|---|---|---|", *rows, ""))
        + f"\nThe functions that a table's program may hold: {programs}. On constants every primitive is computed exactly.\n"
    )


def main(arguments: list[str]) -> int:
    if arguments != ["--write"]:
        print(table())
        return 0
    text = PAGE.read_text(encoding="utf-8")
    before, rest = text.split(BEGIN)
    PAGE.write_text(f"{before}{BEGIN}\n{table()}{END}{rest.split(END)[1]}", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
