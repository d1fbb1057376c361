"""What differs between two circuits A and B, in words: data, parameters, net, loss, optimizer, rates, formats, and what else is left.

Told from what the digests cover; names of tensors are the authors' words. Nothing is left out: what no sentence explains is counted,
section by section of the files. Linear in the sizes of the circuits.
"""

import math
from collections import Counter
from collections.abc import Iterable
from itertools import zip_longest

from ..ops.arithmetic import Linear
from ..ops.leaves import Const, InputArray, Next, Param
from ..ops.moves import MOVES
from . import file
from .changes import changes, named
from .layers import owners
from .summary import SHOWN, counted, kind, net, quoted, rates, some
from .units import units
from .words import reach, start, summands

CLOSE = 2.0**-10  # relative, of rates: constants that tracing rounds to 12 bits may do so in other formats
SILENT = (Param, Next, InputArray, Const, Linear, *MOVES)  # operations of which numbers and order say little to people


def differences(a, b) -> list[str]:
    """Sentences, one for each thing that differs between circuits A and B; one sentence where nothing does."""
    if a.digest() == b.digest():
        notes = "" if a.notes == b.notes else " Their notes differ, which no digest covers."
        return [f"Nothing differs: the circuits are the same.{notes}"]
    told = [*_data(a, b), *_tensors(a, b), *_computed(a, b), *_losses(a, b), *_optimizer(a, b), *_formats(a, b), *_lengths(a, b)]
    nets = [f"{name}: {words}" for name, words in (("A", net(a)), ("B", net(b)))] if net(a) != net(b) else []
    return [*nets, *told, _rest(a, b)]


def _alike(found: Iterable[tuple[str, str]], what: str) -> list[str]:
    """(name, words) as sentences, one for each group of equal words."""
    groups: dict[str, list[str]] = {}
    for name, words in found:
        groups.setdefault(words, []).append(quoted(name))
    return [f"{what}{some(names)}: {words}." for words, names in groups.items()]


def _shape(shape) -> str:
    return "x".join(map(str, shape)) or "scalar"


def _apart(kind: str, a: dict, b: dict) -> list[str]:
    """What only one of two mappings has."""
    only = (("A", [x for x in a if x not in b]), ("B", [x for x in b if x not in a]))
    return [f"Only {where} has the {kind} {some([*map(quoted, names)])}." for where, names in only if names]


# ---- data, parameters ---------------------------------------------------------------------------------------------
def _data(a, b) -> list[str]:
    batch = [f"A batch has {counted(a.batch_size, 'sample')} in A, {b.batch_size:,} in B."] if a.batch_size != b.batch_size else []
    xs, ys = ({x.name: x for x in c.inputs} for c in (a, b))
    pairs = [(xs[name], ys[name]) for name in xs if name in ys]
    shapes = ((x.name, f"{_shape(x.shape[1:])} in A, {_shape(y.shape[1:])} in B") for x, y in pairs if x.shape[1:] != y.shape[1:])
    formats = (
        (x.name, f"in units of 2^{-x.scale} up to 2^{x.bits - x.scale} in A, 2^{-y.scale} up to 2^{y.bits - y.scale} in B")
        for x, y in pairs
        if (x.scale, x.bits) != (y.scale, y.bits)
    )
    return [*batch, *_apart("data", xs, ys), *_alike(shapes, "Shape of the data "), *_alike(formats, "Format of the data ")]


def _tensors(a, b) -> list[str]:
    xs, ys = ({p.path: p for p in c.parameters} for c in (a, b))
    pairs = [(xs[path], ys[path]) for path in xs if path in ys]
    shapes = ((x.path, f"{_shape(x.shape)} in A, {_shape(y.shape)} in B") for x, y in pairs if x.shape != y.shape)
    starts = ((x.path, (start(a, x) or "what is committed"), (start(b, y) or "what is committed")) for x, y in pairs)
    begin = ((path, f"{first} in A, {second} in B") for path, first, second in starts if first != second)
    return [*_apart("tensor", xs, ys), *_alike(shapes, "Shape of "), *_alike(begin, "A chain begins with another ")]


# ---- what is computed -----------------------------------------------------------------------------------------------
def _computed(a, b) -> list[str]:
    """By layer and pass the kinds of operations of which one circuit has more."""
    found = []
    for circuit in (a, b):
        counts: dict[tuple, Counter] = {}
        for node, owner in zip(circuit.nodes, owners(circuit), strict=True):
            if not isinstance(node.operation, SILENT):
                counts.setdefault((owner.of, owner.backward), Counter())[kind(node)] += 1
        found.append(counts)
    told = []
    for key in dict.fromkeys((*found[0], *found[1])):
        x, y = (counts.get(key, Counter()) for counts in found)
        more, less = (", ".join(f"{n} {what}" for what, n in sorted((p - q).items())) for p, q in ((x, y), (y, x)))
        if more or less:
            told.append(f"{_place(*key)}: {more or 'nothing'} in A, where B has {less or 'nothing'}.")
    words = [Counter(c.nodes[i].operation.words for i in c.drawn) for c in (a, b)]
    return told + ["Keys of what is drawn at random differ."] * (words[0] != words[1])


def _place(owner, backward: bool) -> str:
    if isinstance(owner, str):
        return f"In the {owner}" if owner != "data" else "In what follows from data alone"
    where = f"layer {quoted('/'.join(owner))}" if owner else "what joins several layers"
    return f"In the {'backward' if backward else 'forward'} pass of {where}"


def _losses(a, b) -> list[str]:
    """Of every output the factors of the operations that it sums."""
    xs, ys = ({name: " ".join(f"{x:.4g}" for x, _ in summed) for name, summed in summands(c).items()} for c in (a, b))
    apart = ((name, f"sums with factors {xs[name]} in A, {ys[name]} in B") for name in xs if ys.get(name, xs[name]) != xs[name])
    return [*_apart("output", xs, ys), *_alike(apart, "Output ")]


# ---- optimizer, rates -------------------------------------------------------------------------------------------------
def _optimizer(a, b) -> list[str]:
    xs, ys = ({x.path: moves for x, moves in zip(c.parameters, named(c, changes(c)), strict=True)} for c in (a, b))
    pairs = [(path, xs[path], ys[path]) for path in xs if path in ys]
    return _alike(((path, words) for path, x, y in pairs if (words := _moved(x, y))), "Each step changes ")


def _moved(x: dict[str, tuple[float, ...]], y: dict[str, tuple[float, ...]]) -> str:
    """How two sums differ: by terms that only one of them has, or by factors; "" where they do not."""
    if not x or not y:
        return "" if x == y else f"{'by something' if x else 'in nothing (frozen)'} in A, {'by something' if y else 'in nothing'} in B"
    told = [f"{side} only: {rates(v)} times {name}" for side, p, q in (("A", x, y), ("B", y, x)) for name, v in p.items() if name not in q]
    for name, v in x.items():
        if name in y and (words := _scheduled(v, y[name])):
            told.append(f"by {name} times {words}")
    return "; ".join(told)


def _scheduled(x: tuple[float, ...], y: tuple[float, ...]) -> str:
    """Two rates, or schedules of them, and in which steps they differ; "" where in none."""
    steps, largest = max(len(x), len(y)), max((abs(v) for v in (*x, *y) if math.isfinite(v)), default=0.0)
    pairs = [(x[min(t, len(x) - 1)], y[min(t, len(y) - 1)]) for t in range(steps)]
    apart = [t for t, (v, w) in enumerate(pairs) if not math.isclose(v, w, rel_tol=CLOSE, abs_tol=CLOSE**2 * largest)]
    if not apart:
        return ""
    first = f"; {len(apart)} of {steps} steps differ, first step {apart[0]}: {{:.4g}} in A, {{:.4g}} in B".format(*pairs[apart[0]])
    return f"{rates(x)} in A, {rates(y)} in B{first if steps > 1 else ''}"


# ---- formats, lengths -------------------------------------------------------------------------------------------------
def _formats(a, b) -> list[str]:
    """Units and ranges: of tensors that are rounded, by the names that both circuits have once, and of parameters."""
    tensors, states = ([of(c) for c in (a, b)] for of in (_rounded, _units))
    return [*_listed("Formats of {} differ", "rounded tensor", *tensors), *_listed("Units of {} differ", "parameter", *states)]


def _rounded(circuit) -> dict[str, str]:
    labels = Counter(circuit.nodes[i].label for i in circuit.limited)
    unit, found = units(circuit), {}
    for i in circuit.limited:
        if labels[circuit.nodes[i].label] == 1:
            found[circuit.nodes[i].label] = "2^{} up to 2^{}".format(*reach(circuit.nodes[i], unit[i]))
    return found


def _units(circuit) -> dict[str, str]:
    found = {}
    for i, parameter in enumerate(circuit.parameters):
        u, scale = circuit.scale(i)
        unit, state = f"2^{-scale}" if u == 1 else f"{u:.6g} * 2^{-scale}", parameter.recurrence
        inside = (
            "" if state is None else f" up to 2^{state.bits - scale}, {state.inner} bits more in a period, {state.end} dropped at its end"
        )
        found[parameter.path] = unit + inside
    return found


def _listed(what: str, kind: str, xs: dict[str, str], ys: dict[str, str]) -> list[str]:
    apart = [f"{quoted(name)} {x} in A, {ys[name]} in B" for name, x in xs.items() if ys.get(name, x) != x]
    more = f"; and {len(apart) - SHOWN} more" if len(apart) > SHOWN else ""
    return [f"{what.format(counted(len(apart), kind))}: {'; '.join(apart[:SHOWN])}{more}."] if apart else []


def _lengths(a, b) -> list[str]:
    def steps(circuit) -> str:
        return "any number of steps" if circuit.max_steps is None else counted(circuit.max_steps, "step")

    period, length = (a.period, b.period), (steps(a), steps(b))
    told = [f"States are rounded after {counted(a.period, 'step')} in A, after {b.period} in B."] if period[0] != period[1] else []
    told += [f"Its tables are of {length[0]} in A, of {length[1]} in B."] if length[0] != length[1] else []
    return told + ([f"The largest table has {a.table_bits} bits in A, {b.table_bits} in B."] if a.table_bits != b.table_bits else [])


def _rest(a, b) -> str:
    """How many entries of each section of the files differ, whatever was said of them."""
    found, (x, y) = [], (file.tree(c) for c in (a, b))
    for name in x:
        if isinstance(x[name], list) and name != "notes":
            apart = sum(p != q for p, q in zip_longest(x[name], y[name]))
            found += [f"{apart} of {max(len(x[name]), len(y[name])):,} {name}"] if apart else []
        elif x[name] != y[name] and name != "notes":
            found.append(name)
    return f"Of the circuits' files differ, entry by entry: {', '.join(found)}."
