"""Compare first and last weights of a training in a proof: how far they moved, or that some of them did not, while they stay secret.

What is asked becomes *terms* (``zkjax.comparison``), and these a circuit whose parameters are the training's, twice. Its proof opens the
training's commitments to both, on the training's counters.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import numpy as np

from ..algebra import exact
from ..circuit.circuit import Circuit
from ..circuit.parts import PARAMETERS, Parameter
from ..comparison import Compared, Moved, Part, Terms, read_comparison, rounded_bits
from ..errors import ConfigurationError, RunError
from ..proofs.proof import Proof
from ..prover.prove import prove
from .evaluate import check_training, reading
from .run import End, Run


@dataclass(frozen=True)
class Comparison:
    """A comparison that was proven. run: private. Publish the terms and the proof. result: what it shows."""

    run: Run
    terms: Terms
    proof: Proof
    result: Compared


def compare(
    run: Run,
    first: Run | None = None,
    *,
    moved: Sequence[str] | None = None,
    unchanged: Sequence[str] = (),
    at_most: float | None = None,
    **options: Any,
) -> Comparison:
    """Prove how far the last weights of a chain lie from its first ones, or that some of them are the same. Returns a Comparison.

    run:       the chain's last run. first: its first run; None: ``run`` is the only one. Neither is changed.
    moved:     names of parameters whose Euclidean distance, all of them together, is shown; default: all that are not ``unchanged``.
               A name stands for the parameter of this path and for all below it: "encoder" for "encoder/0/kernel", too.
    unchanged: names of parameters that are shown to be the same in every entry.
    at_most:   show only that the distance is at most this number, and not what it is.
    options:   of ``prove``: progress, minimum_bits, reuse_memory, verify, check.

    Differences are rounded to as many bits as a table of the circuit holds: bounds on the distance that hold are shown, exact where no
    difference is longer. Without ``at_most`` the proof tells the sum of their squares, and the largest one up to a factor of 2; with it,
    that and nothing else. A verifier needs the terms, the proof and the training's statements (``zkjax.verify_comparison``). It takes an
    opening of the first weights' commitment and one of the last weights'.
    Raises: as ``prove`` does; RunError - no runs of one chain; ConfigurationError - a name of no parameter, or what is to be shown is not
            so; BudgetError - the openings left are for the chain's next proofs: ``zkjax.link(run, ["final"])`` makes new ones, and
            ``zkjax.link(first, ["initial"])``, whose proofs verifiers need too.
    """
    first = run if first is None else first
    for name, x in (("run", run), ("first", first)):
        check_training(x, name)
    if first.circuit.digest() != run.circuit.digest() or first.chain.openings.mark != run.chain.openings.mark:
        raise RunError("first and run are of two chains; give the first and the last run of one")
    ends = ends_of(first, run)
    terms = terms_of(ends, moved, unchanged, at_most)
    circuit = terms.circuit(run.circuit)
    comparing = reading(circuit, ends, (np.zeros(1),))
    proof = prove(circuit, comparing, reveal=circuit.outputs, **options)
    result = replace(read_comparison(terms, run.circuit, proof.statement), security=proof.security)
    return Comparison(comparing, terms, proof, result)


def ends_of(first: Run, last: Run) -> tuple[End, End]:
    """What a comparison's circuit reads: the first weights, and after them the last ones."""
    count = len(last.circuit.held[PARAMETERS])
    return End(first, "initial", tuple(range(count))), End(last, "final", tuple(range(count, 2 * count)))


def terms_of(ends: tuple[End, End], moved: Sequence[str] | None, unchanged: Sequence[str], at_most: float | None) -> Terms:
    """The terms in which this can be shown of these weights, with the finest units; ConfigurationError where it cannot."""
    circuit = ends[0].run.circuit
    own = {circuit.parameters[p].path: circuit.parameters[p] for p in circuit.held[PARAMETERS]}
    same = _named(circuit, own, unchanged, "unchanged")
    others = [path for path in own if path not in same] if moved is None else _named(circuit, own, moved, "moved")
    if both := [path for path in others if path in same]:
        raise ConfigurationError(f"{both[0]} is to be shown unchanged and moved; name it once")
    differences = dict(zip(own, (b - a for a, b in zip(*(end.integers for end in ends), strict=True)), strict=True))
    if changed := [path for path in same if differences[path].any()]:
        raise ConfigurationError(f"{changed[0]} is not unchanged; leave it out")
    parts = [Part(tuple(p for p in same if _bits(own[p]) == bits), bits) for bits in sorted({_bits(own[p]) for p in same})]
    if others:
        part, largest = Part(tuple(others), max(_bits(own[p]) for p in others)), 2 ** (circuit.table_bits - 1) - 1
        parts.append(_revealed(part, own, differences, largest) if at_most is None else _limited(part, own, differences, largest, at_most))
    elif at_most is not None:
        raise ConfigurationError("at_most is the distance of what is moved, and nothing is; leave it out")
    return Terms(tuple(parts))


def _named(circuit: Circuit, own: dict[str, Parameter], names: Sequence[str], what: str) -> list[str]:
    """The parameters of these names, in the circuit's order."""
    if isinstance(names, str) or not all(isinstance(name, str) for name in names):
        raise ConfigurationError(f"{what}: give a list of names of parameters")
    frozen = [circuit.parameters[p].path for p in circuit.frozen]
    for name in names:
        if not any(_stands_for(name, path) for path in own):
            if any(_stands_for(name, path) for path in frozen):
                raise ConfigurationError(f"{what}: the circuit freezes {name}: that it is unchanged the training's own proofs show")
            raise ConfigurationError(f"{what}: no parameter is called {name!r:.80}; there are {', '.join(own)}")
    return [path for path in own if any(_stands_for(name, path) for name in names)]


def _stands_for(name: str, path: str) -> bool:
    return path == name or path.startswith(f"{name}/")


def _bits(parameter: Parameter) -> int:
    """After the point, of the parameter's integers."""
    return rounded_bits(Part((), 0), parameter)


def _revealed(part: Part, own: dict[str, Parameter], differences: dict[str, np.ndarray], largest: int) -> Part:
    """The part in the finest units in which all its differences are in the table."""
    while _squared(part, own, differences, largest) is None:
        part = Part(part.paths, part.scale - 1)
    return part


def _limited(part: Part, own: dict[str, Parameter], differences: dict[str, np.ndarray], largest: int, at_most: float) -> Part:
    """The part with the largest limit that shows a distance of at most this: in units that follow from it alone."""
    wanted = Fraction(at_most) if isinstance(at_most, int | float) and math.isfinite(at_most) else Fraction(-1)
    if wanted <= 0:
        raise ConfigurationError(f"at_most is {at_most!r:.40}; give a distance above 0, or name what does not move as unchanged")
    scale = part.scale
    while wanted * Fraction(2) ** scale > largest:
        scale -= 1
    low, high = -1, math.floor((wanted * Fraction(2) ** scale) ** 2) + 1  # the limit is not below low, and below high
    while high - low > 1:
        middle = (low + high) // 2
        shown = Moved.of(Part(part.paths, scale, middle), own, None).most
        low, high = (middle, high) if shown <= wanted else (low, middle)
    if low < 0:
        raise ConfigurationError(
            f"at_most is {at_most!r:.40}, less than what rounding leaves open of so many weights; give a larger one, or show parts of them"
        )
    found = Part(part.paths, scale, low)
    squared = _squared(found, own, differences, largest)
    if squared is None or squared > low:
        raise ConfigurationError("the distance is not shown to be at most at_most; give a larger one")
    return found


def _squared(part: Part, own: dict[str, Parameter], differences: dict[str, np.ndarray], largest: int) -> int | None:
    """The sum of the squares of the part's rounded differences; None where one is larger than a table has."""
    total = 0
    for path in part.paths:
        dropped, difference = rounded_bits(part, own[path]), differences[path]
        if np.any(np.abs(difference) > largest << max(0, dropped) >> max(0, -dropped)):
            return None
        rounded = exact.rescale(difference, dropped) if dropped >= 0 else difference << -dropped
        total += int(np.sum(rounded * rounded))
    return total
