"""How objects look to people: a *sheet* of paragraphs and tables, as aligned text in a terminal, as HTML in a notebook.

Names in circuits and statements come from files that others made, so every text is escaped here: ``plain`` for all that is
printed, and nobody else writes HTML. A class gives its sheet; what is secret never enters one. Standard library only: the
verifier's objects use it.
"""

import decimal
import html
import math
import re
from dataclasses import dataclass
from fractions import Fraction
from typing import Protocol

# Printable by Unicode's categories, and yet nothing is seen of them: joiners, fillers, blanks, selectors of variants.
_UNSEEN = re.compile("[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]")


def plain(text: str) -> str:
    """One line in which everything is seen: escapes for controls, line ends, marks of direction, unseen and unpaired characters."""
    return "".join(c if c.isprintable() and not _UNSEEN.match(c) else c.encode("unicode_escape").decode() for c in text)


def in_decimals(value: Fraction) -> str:
    """Six digits of a number, however large: a circuit's author chooses the factors of its losses."""
    number = floating(value)
    if math.isfinite(number):
        return f"{number:.6g}"
    context = decimal.Context(prec=20, Emin=decimal.MIN_EMIN, Emax=decimal.MAX_EMAX)
    exact = context.divide(decimal.Decimal(value.numerator), decimal.Decimal(value.denominator))
    return f"{exact.normalize(context):.6g}"


def floating(value: Fraction) -> float:
    """The nearest number of float64, infinite beyond its range."""
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def _lines(text: str) -> str:
    return "\n".join(map(plain, text.split("\n")))


@dataclass(frozen=True)
class Table:
    """Rows of texts. heading: names of the columns, or (): the first column then names the rows. left: columns aligned to the left.

    title: in a notebook the table is folded away under it; a terminal shows the table alone.
    """

    rows: tuple[tuple[str, ...], ...]
    heading: tuple[str, ...] = ()
    left: tuple[int, ...] = ()
    title: str = ""

    def text(self) -> str:
        """Aligned columns."""
        rows = [[plain(cell) for cell in row] for row in ((self.heading,) if self.heading else ()) + self.rows]
        widths = [max(len(row[c]) for row in rows) for c in range(len(rows[0]))] if rows else []
        cells = (((v, w, "<" if c in self.left else ">") for c, (v, w) in enumerate(zip(row, widths, strict=True))) for row in rows)
        return "\n".join("  ".join(f"{v:{side}{w}}" for v, w, side in row).rstrip() for row in cells)

    def html(self) -> str:
        """A plain table, escaped."""
        lines = [_row("th", self.heading, self.left)] if self.heading else []
        lines += [_row("td", row, self.left) for row in self.rows]
        table = f"<table>{''.join(lines)}</table>"
        return f"<details><summary>{escaped(self.title)}</summary>{table}</details>" if self.title else table


@dataclass(frozen=True)
class Curve:
    """A number for each step, which must be finite to be drawn: a line of text in a terminal, a picture in HTML."""

    name: str
    values: list[float]

    def text(self) -> str:
        """Its ends."""
        if not self.values:
            return ""
        return f"{plain(self.name)}: {self.values[0]:.6g} at first, {self.values[-1]:.6g} at last, {len(self.values)} steps"

    def html(self) -> str:
        """Drawn without scripts or colours of its own, so that it suits any page."""
        drawn = [x for x in self.values if math.isfinite(x)]
        if len(drawn) < 2 or len(drawn) < len(self.values):
            return _paragraph(self.text())
        low, high = min(drawn), max(drawn)
        unit = (high - low) or 1.0
        points = " ".join(f"{600 * i / (len(drawn) - 1):.1f},{150 - 140 * (x - low) / unit:.1f}" for i, x in enumerate(drawn))
        told = escaped(f"{self.name}: from {low:.6g} to {high:.6g} in {len(drawn)} steps")
        picture = f'<svg viewBox="0 0 600 160" width="600" role="img" aria-label="{told}">'
        picture += f'<polyline fill="none" stroke="currentColor" stroke-width="1.5" points="{points}"/></svg>'
        return f"<figure>{picture}<figcaption>{told}</figcaption></figure>"


def escaped(text: str) -> str:
    """For HTML: visible characters, none of them markup."""
    return html.escape(plain(text))


def _row(tag: str, cells: tuple[str, ...], left: tuple[int, ...]) -> str:
    sides = ("left" if c in left else "right" for c in range(len(cells)))
    return "<tr>" + "".join(f'<{tag} style="text-align: {s}">{escaped(v)}</{tag}>' for s, v in zip(sides, cells, strict=True)) + "</tr>"


def _paragraph(text: str) -> str:
    lines = "<br>".join(map(escaped, text.split("\n")))
    return f"<p>{lines}</p>"


class Part(Protocol):
    """Of a sheet: a table, a curve, or a picture of ``diagram``."""

    def text(self) -> str:
        """For a terminal; empty for what it cannot show."""

    def html(self) -> str:
        """For a notebook or a page, escaped."""


@dataclass(frozen=True)
class Sheet:
    """A title, and below it paragraphs (texts, line by line), tables, curves and pictures."""

    title: str
    parts: tuple[str | Part, ...] = ()

    def text(self) -> str:
        """For a terminal: parts are set off by blank lines."""
        parts = [_lines(part) if isinstance(part, str) else part.text() for part in self.parts]
        return "\n\n".join([plain(self.title), *(part for part in parts if part)])

    def html(self, heading: str = "<p><b>{}</b></p>") -> str:
        """For a notebook. The classes tell MathJax to leave dollar signs in names alone. heading: where its title stands."""
        parts = [_paragraph(part) if isinstance(part, str) else part.html() for part in self.parts if part]
        return f'<div class="mathjax_ignore tex2jax_ignore">{heading.format(escaped(self.title))}{"".join(parts)}</div>'


class Shown:
    """A class with a ``sheet`` method gets ``str`` and, in notebooks, HTML from it."""

    def sheet(self) -> Sheet:
        """What people are shown."""
        raise NotImplementedError

    def __str__(self) -> str:
        return self.sheet().text()

    def _repr_html_(self) -> str:
        return self.sheet().html()


# Light or dark as its reader's machine is. What is wider than a screen scrolls by itself, and pictures are made smaller on paper.
STYLE = """
:root{color-scheme:light dark}
body{max-width:75rem;margin:2rem auto;padding:0 1rem;font-family:sans-serif;line-height:1.4;overflow-wrap:anywhere}
h2{font-size:1.25rem;margin:2.5rem 0 .5rem}
figure,table{display:block;margin:1rem 0;overflow-x:auto}
table{border-collapse:collapse;font-size:.9rem}
td,th{min-width:5.5rem;padding:.25rem .75rem .25rem 0;vertical-align:top;text-align:left;border-bottom:1px solid #8885}
@media print{figure,table{overflow:visible}svg{max-width:100%;height:auto}}
"""


def page(title: str, *sheets: Sheet) -> str:
    """One HTML document that loads nothing and runs nothing, whatever stands in the sheets."""
    policy = "default-src 'none'; style-src 'unsafe-inline'"
    head = '<meta charset="utf-8"><meta name="viewport" content="width=device-width">'
    head += f'<meta http-equiv="Content-Security-Policy" content="{policy}"><title>{escaped(title)}</title>'
    body = "".join(sheet.html("<h2>{}</h2>") for sheet in sheets)
    return f'<!DOCTYPE html>\n<html lang="en"><head>{head}<style>{STYLE}</style></head><body>{body}</body></html>\n'
