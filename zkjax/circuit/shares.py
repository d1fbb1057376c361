"""What each layer of a circuit costs, and the loss, the data and the optimizer: rows that add up to the circuit's sizes, and their table.

Names of layers are a file's: they are quoted, so that none can pass for a row of ours. In large nets layers whose paths differ in a
number alone are told together, and no table has more than MOST rows, however a stranger has named his layers.

PROTOCOL.md, section 5.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from ..display import Table
from .counts import Size, of_parts
from .layers import DATA, LOSS, OPTIMIZER, Path, owners
from .summary import quoted

MOST = 30  # layers, or groups of them, in a table
NUMBER = re.compile("[0-9]+")


@dataclass(frozen=True)
class Share:
    """What one owner costs in a step, in each pass; all is forward where passes are not told apart.

    levels: the highest of its products, of the optimizer of the states too; 0 for none. steps: for how many at least its bounds hold; None:
    for any number. last, layers: of layers that are told together the last one, "" where only their number is told, and how many they are.
    """

    owner: Path | str
    forward: Size = Size()
    backward: Size = Size()
    levels: int = 0
    steps: int | None = None
    last: Path | str | None = None
    layers: int = 1

    @property
    def size(self) -> Size:
        """Of both passes."""
        return self.forward + self.backward

    def name(self) -> str:
        """For people."""
        if isinstance(self.owner, str):
            return self.owner
        if self.last == "":
            return f"{self.layers} other layers together"
        if not self.owner:
            return "what joins several layers"
        if self.last is None:
            return quoted("/".join(self.owner))
        return f"{quoted('/'.join(self.owner))} .. {quoted('/'.join(self.last))}, {self.layers} layers together"


def together(shares: Sequence[Share]) -> Share:
    """Several as one, under the name of the first and the last."""
    if len(shares) == 1:
        return shares[0]
    return replace(
        shares[0],
        forward=sum((x.forward for x in shares), Size()),
        backward=sum((x.backward for x in shares), Size()),
        levels=max(x.levels for x in shares),
        steps=min((x.steps for x in shares if x.steps is not None), default=None),
        last=shares[-1].owner if shares[-1].last is None else shares[-1].last,
        layers=sum(x.layers for x in shares),
    )


def shares(circuit, lasting: tuple[Sequence[int | None], int | None] | None = None) -> list[Share]:
    """Of each layer, in the order of the net, then of the loss, the data and the optimizer, and what the rounding of states takes where a
    step ends a period. Together they are ``counts.of_parts``; a layer of nothing but sums within bounds is left out.

    lasting: as ``bounds.lasting``; None where nobody asks.
    """
    sizes, levels = of_parts(circuit), circuit.levels
    ends, of_states = lasting or ((None,) * len(circuit.nodes), None)
    found: dict[Path | str, list[Share]] = {}
    for i, owner in enumerate(owners(circuit)):
        if (kind := circuit.nodes[i].operation.ends) == "param":  # they stand in the order of their paths
            continue
        passes = {"backward" if owner.backward else "forward": sizes.nodes[i]}
        level = levels.nodes[i] if kind in ("dot", "gate") else 0
        found.setdefault(owner.of, []).append(Share(owner.of, **passes, levels=level, steps=ends[i]))
    own = {
        LOSS: Share(LOSS),
        DATA: Share(DATA, sum(sizes.inputs, Size())),
        OPTIMIZER: Share(OPTIMIZER, levels=max(levels.parameters), steps=of_states),
    }
    rows = {name: together([*([own[name]] if name in own else []), *found.get(name, [])]) for name in {**found, **own}}
    rounding = f"rounding of states, {'each step' if circuit.period == 1 else f'once in {circuit.period} steps'}"
    last = [rows.pop(name) for name in own] + ([Share(rounding, sizes.states)] if circuit.recurrent else [])
    first = [x for x in rows.values() if x.size != Size() or x.levels or x.steps is not None]
    return [replace(x, last=None, layers=1) for x in (*first, *last)]


def grouped(rows: list[Share], most: int = MOST) -> list[Share]:
    """At most so many layers: those whose paths differ in the first number alone are told together, or in any number; then all others."""
    layers = [x for x in rows if not isinstance(x.owner, str)]
    for kind in (lambda path: NUMBER.sub("#", path, count=1), lambda path: NUMBER.sub("#", path)):
        if len(layers) > most:
            layers = _by(layers, kind)
    if len(layers) > most:
        kept = {*sorted(range(len(layers)), key=lambda i: layers[i].size, reverse=True)[: most - 1]}
        others = together([x for i, x in enumerate(layers) if i not in kept])
        layers = [layers[i] for i in sorted(kept)] + [replace(others, last="")]
    return layers + [x for x in rows if isinstance(x.owner, str)]


def table(circuit, lasting: tuple[Sequence[int | None], int | None] | None) -> Table:
    """For people. lasting: as in ``shares``; a column of steps only where it is given."""
    rows = shares(circuit, lasting)
    heading = ("cells", "lookups", "columns", "levels", *(["steps"] if lasting else []), "backward: cells", "backward: lookups", "layer")

    def row(x: Share, name: str) -> tuple[str, ...]:
        steps = [] if lasting is None else ["any" if x.steps is None else f"{x.steps:,}"]
        backward = [f"{n:,}" for n in x.backward[:2]]
        return *(f"{n:,}" for n in x.size), str(x.levels or ""), *steps, *backward, name

    shown = [row(x, x.name()) for x in grouped(rows)] + [row(together(rows), "together")]
    return Table(tuple(shown), heading, left=(len(heading) - 1,), title="layers")


def _by(layers: list[Share], kind: Callable[[str], str]) -> list[Share]:
    found: dict[str | None, list[Share]] = {}
    for x in layers:
        found.setdefault(kind("/".join(x.owner)) if x.owner else None, []).append(x)
    return [together(x) for x in found.values()]
