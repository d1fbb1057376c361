"""Pictures for pages, as SVG without scripts or colours of its own: a graph drawn in layers, and bars along a line of steps.

A graph has boxes of text in rows, and arrows between them. A box stands one row below the last of those that it follows from. An arrow to
the next row is straight; any other one leaves through the gap between two rows, in which no box is, goes along a lane of its own beside all
rows, and comes back through a gap: so no line runs through a box. Letters have one width, which the picture fixes: what fits its box does
so with any font. Standard library only.
"""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from .display import Table, escaped, plain

ACROSS = 4  # boxes side by side
LETTERS = 34  # of a line
LETTER, LINE, FONT = 7.2, 17, 12  # width of a letter, distance of lines, size of the font
PAD, BESIDE, GAP, TRACK, LANE = 10, 18, 26, 5, 9  # within a box; between boxes; between rows; and for each line there; of a lane
WIDE = 120  # of a timeline


class Box(NamedTuple):
    """name: its first line, in bold. lines: those below."""

    name: str
    lines: tuple[str, ...] = ()

    def text(self) -> str:
        """All that it says, however long."""
        return "; ".join((self.name, *self.lines))


@dataclass(frozen=True)
class Graph:
    """Boxes, and arrows (from, to) by their places: dashed ones lead back to an earlier box.

    name: of the picture. told: what it shows, for those who do not see it.
    """

    name: str
    told: str
    boxes: tuple[Box, ...]
    arrows: tuple[tuple[int, int], ...] = ()

    def text(self) -> str:
        """Nothing: a terminal has the circuit's words."""
        return ""

    def html(self) -> str:
        """A figure, which scrolls where a page is narrower."""
        return f"<figure>{_Drawing(self).svg()}<figcaption>{escaped(self.told)}</figcaption></figure>"


def width(text: str) -> int:
    """Letters that a line is as wide as, one at least."""
    return max(1, sum(2 if unicodedata.east_asian_width(c) in "WF" else 0 if unicodedata.combining(c) else 1 for c in text))


def short(text: str, most: int = LETTERS) -> str:
    """A line of visible characters, the middle of a longer one left out."""
    text = plain(text)
    if width(text) <= most:
        return text
    first, last = "", ""
    for a, b in zip(text, reversed(text), strict=True):
        if width(first + a) + width(last + b) >= most:
            break
        first, last = first + a, b + last
    return f"{first}\u2026{last}"


def in_order(count: int, arrows: Sequence[tuple[int, int]]) -> list[int]:
    """The boxes so that arrows lead from earlier to later ones, but for some of those in a circle; else as they are given."""
    before: list[set[int]] = [set() for _ in range(count)]
    for a, b in arrows:
        before[b].add(a)
    left, found = [*range(count)], []
    while left:
        found.append(next((i for i in left if before[i].isdisjoint(left)), left[0]))
        left.remove(found[-1])
    return found


def rows(order: Sequence[int], arrows: Sequence[tuple[int, int]]) -> list[list[int]]:
    """The boxes of each row."""
    place, depth = {i: n for n, i in enumerate(order)}, [0] * len(order)
    for a, b in sorted(arrows, key=lambda arrow: place[arrow[1]]):
        if place[a] < place[b]:
            depth[b] = max(depth[b], depth[a] + 1)
    found: list[list[int]] = [[] for _ in range(max(depth, default=-1) + 1)]
    for i, row in enumerate(depth):
        found[row].append(i)
    return [row[at : at + ACROSS] for row in found for at in range(0, len(row), ACROSS)]


class _Drawing:
    """back: arrows to an earlier box. rows: boxes of each. row: of each box. lanes: of each arrow that has one, the first beside the boxes;
    beside: how many. x, width: left sides and widths of boxes. top, bottom: of rows."""

    def __init__(self, graph: Graph):
        self.graph = graph
        order = in_order(len(graph.boxes), graph.arrows)
        self.back = {(a, b) for a, b in graph.arrows if order.index(b) < order.index(a)}
        self.rows = rows(order, graph.arrows)
        self.row = {i: r for r, row in enumerate(self.rows) for i in row}
        self.lanes = self._lanes()
        self.shown = [[short(line) for line in (box.name, *box.lines)] for box in graph.boxes]
        self.width = [LETTER * max(map(width, lines)) + 2 * PAD for lines in self.shown]
        self.beside = 1 + max(self.lanes.values(), default=-1)
        left = LANE * self.beside + (PAD if self.lanes else 0)
        widths = [sum(self.width[i] for i in row) + BESIDE * (len(row) - 1) for row in self.rows]
        self.whole = left + max(widths, default=0)
        self.x: dict[int, float] = {}
        for row, wide in zip(self.rows, widths, strict=True):
            at = left + (self.whole - left - wide) / 2
            for i in row:
                self.x[i], at = at, at + self.width[i] + BESIDE
        self.top, self.bottom, self.tracks = [], [], self._tracks()
        at = 1.0
        for r, row in enumerate(self.rows):
            at += GAP * (r > 0) + TRACK * len(self.tracks[r])
            self.top.append(at)
            at += LINE * max(len(self.shown[i]) for i in row) + PAD
            self.bottom.append(at)
        last = self.tracks[len(self.rows)]
        self.height = at + 1 + (TRACK * len(last) + PAD if last else 0)

    def _lanes(self) -> dict[tuple[int, int], int]:
        """Of each arrow that does not lead to the next row, short ones first, the first lane that is free along its rows."""
        ends = {arrow: sorted((self.row[arrow[0]] + 1, self.row[arrow[1]])) for arrow in self.graph.arrows}
        far = [(high - low, arrow) for arrow, (low, high) in ends.items() if self.row[arrow[1]] != self.row[arrow[0]] + 1]
        taken: list[list[tuple[int, int]]] = []
        found = {}
        for _, arrow in sorted(far):
            low, high = ends[arrow]
            free = (n for n, spans in enumerate(taken) if all(high < a or b < low for a, b in spans))
            found[arrow] = next(free, len(taken))
            if found[arrow] == len(taken):
                taken.append([])
            taken[found[arrow]].append((low, high))
        return found

    def _tracks(self) -> list[list[tuple[int, bool]]]:
        """Of the gap above each row, and below the last one: the lines in it, (box that it leaves or reaches, whether it leaves)."""
        found: list[list[tuple[int, bool]]] = [[] for _ in range(len(self.rows) + 1)]
        for a, b in self.lanes:
            for track, gap in (((a, True), self.row[a] + 1), ((b, False), self.row[b])):
                if track not in found[gap]:
                    found[gap].append(track)
        return [sorted(tracks, key=lambda x: not x[1]) for tracks in found]

    def _track(self, gap: int, track: tuple[int, bool]) -> float:
        """Its height: below the row above, those that leave first."""
        above = self.bottom[gap - 1] if gap else -PAD / 2
        return above + PAD / 2 + TRACK * self.tracks[gap].index(track)

    def _arrow(self, a: int, b: int) -> str:
        begin, end = self.bottom[self.row[a]], self.top[self.row[b]]
        if (a, b) not in self.lanes:
            x, to = self.x[a] + self.width[a] / 2, self.x[b] + self.width[b] / 2
            middle = (begin + end) / 2
            line = f"M{x:.1f} {self._foot(a):.1f}V{begin:.1f}C{x:.1f} {middle:.1f} {to:.1f} {middle:.1f} {to:.1f} {end - 6:.1f}"
        else:
            x, to = self.x[a] + self.width[a] / 4, self.x[b] + self.width[b] / 4
            lane = LANE * (self.beside - 1 - self.lanes[a, b]) + 1.0
            leaves, comes = self._track(self.row[a] + 1, (a, True)), self._track(self.row[b], (b, False))
            line = f"M{x:.1f} {self._foot(a):.1f}V{leaves:.1f}H{lane:.1f}V{comes:.1f}H{to:.1f}V{end - 6:.1f}"
        dashed = ' stroke-dasharray="4 3"' if (a, b) in self.back else ""
        head = f'<path fill="currentColor" d="M{to:.1f} {end:.1f}l-3.5 -7h7z"/>'
        return f'<path fill="none" stroke="currentColor"{dashed} d="{line}"/>{head}'

    def _foot(self, i: int) -> float:
        return self.top[self.row[i]] + LINE * len(self.shown[i]) + PAD

    def _box(self, i: int) -> str:
        x, y, lines = self.x[i], self.top[self.row[i]], self.shown[i]
        frame = f'<rect x="{x:.1f}" y="{y:.1f}" width="{self.width[i]:.1f}" height="{self._foot(i) - y:.1f}" rx="5"'
        frame += ' fill="currentColor" fill-opacity="0.06" stroke="currentColor"/>'
        texts = (
            f'<text x="{x + PAD:.1f}" y="{y + PAD / 2 + LINE * (n + 0.75):.1f}" font-weight="{400 if n else 700}"'
            f' textLength="{LETTER * width(line):.1f}" lengthAdjust="spacingAndGlyphs">{escaped(line)}</text>'
            for n, line in enumerate(lines)
        )
        return f"<g><title>{escaped(self.graph.boxes[i].text())}</title>{frame}{''.join(texts)}</g>"

    def svg(self) -> str:
        """The picture, in its own size."""
        size = f'viewBox="0 0 {self.whole + 1:.0f} {self.height:.0f}" width="{self.whole + 1:.0f}" height="{self.height:.0f}"'
        told = f"<title>{escaped(self.graph.name)}</title><desc>{escaped(self.graph.told)}</desc>"
        drawn = [self._arrow(a, b) for a, b in self.graph.arrows] + [self._box(i) for i in range(len(self.graph.boxes))]
        return f'<svg {size} role="img" font-family="monospace" font-size="{FONT}">{told}{"".join(drawn)}</svg>'


class Span(NamedTuple):
    """A row of a timeline. span: where it begins and where it ends; None for what has no place. cells: texts, with its name first."""

    span: tuple[int, int] | None
    cells: tuple[str, ...]


@dataclass(frozen=True)
class Timeline:
    """A table whose first column draws where each row stands between the first beginning and the last end. heading: of the others."""

    heading: tuple[str, ...]
    rows: tuple[Span, ...]

    def text(self) -> str:
        """The texts alone."""
        return Table(tuple(row.cells for row in self.rows), self.heading, left=tuple(range(len(self.heading)))).text()

    def html(self) -> str:
        """A bar in each row."""
        spans = [row.span for row in self.rows if row.span is not None]
        low, high = min((a for a, _ in spans), default=0), max((b for _, b in spans), default=1)
        heading = "".join(f"<th>{escaped(name)}</th>" for name in ("", *self.heading))
        rows = (f"<tr><td>{_bar(row, low, high)}</td>{''.join(f'<td>{escaped(x)}</td>' for x in row.cells)}</tr>" for row in self.rows)
        return f"<table><tr>{heading}</tr>{''.join(rows)}</table>"


def _bar(row: Span, low: int, high: int) -> str:
    if row.span is None:
        return ""
    first, end = ((at - low) / max(1, high - low) * WIDE for at in row.span)
    told = escaped(f"{row.cells[0]}: {row.span[0]} to {row.span[1]} of {low} to {high}")
    line = f'<path stroke="currentColor" stroke-opacity="0.4" d="M0 6H{WIDE}"/>'
    bar = f'<rect x="{min(first, WIDE - 2):.1f}" y="1" width="{max(2.0, end - first):.1f}" height="10" fill="currentColor"/>'
    return f'<svg viewBox="0 0 {WIDE} 12" width="{WIDE}" height="12" role="img" aria-label="{told}">{line}{bar}</svg>'
