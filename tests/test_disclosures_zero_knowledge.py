"""What is told of the rest when weights, shards or samples are disclosed, and by the opening at a point: nothing.

By the rank tests of ``test_links_zero_knowledge.py``. Of what is disclosed by a seed everybody knows cells and random coefficients; of
what is opened at a point, the cells. ``leak`` counts what all proofs together then tell of all other cells beyond their claims.
"""

from functools import cache
from unittest import mock

import numpy as np
import pytest
from test_links_zero_knowledge import (
    BUDGET,
    QUERIES,
    after,
    generations,
    link_with,
    one_stream,
    parts_of,
    start_of,
    together,
    trials,
)
from zero_knowledge import NO_TARGET, prove_with

import zkjax
from zkjax.circuit.parts import CELLS, OTHER, PARAMETERS
from zkjax.commitment import openings, slots
from zkjax.protocol import disclosure as protocol
from zkjax.prover import disclose as disclosing


def by_seed(name, *disclosed, count=2):
    """Of consecutive proofs: their parts, and the random coefficients of what is disclosed, of which none is left."""
    found = parts_of("first", trials("first", count, name=name), disclosed)
    return found, {seed: 0 for kind in disclosed for seed in generations(found, *kind)}


@pytest.mark.parametrize(
    "name, disclosed",
    [
        ("plain", [("shard", 0, CELLS)]),
        ("plain", [("weights", 2, PARAMETERS), ("shard", 1, CELLS)]),
        ("momentum", [("frozen", 0, CELLS)]),
    ],
)
def test_what_is_disclosed_by_its_seed_tells_nothing_of_the_rest(name, disclosed):
    """A commitment and what has replaced it, in proofs of consecutive runs."""
    found, known = by_seed(name, *disclosed)
    assert len(known) >= 2  # replaced at least once
    assert together(found, kept=known) == 0
    others = {seed: kind for part in found for seed, kind in part.kinds.items() if seed not in known}
    for seed, kind in others.items():
        assert together(found, kept=known | {seed: 0}) > 0, f"with it the random coefficients of {kind} are known"


def test_a_seed_that_serves_two_shards_tells_of_the_other():
    """Were the seeds of shards one: whoever gets that of the first has the random coefficients of the second."""
    found, known = by_seed("plain", ("shard", 0, CELLS))
    (first, *_), (second, *_) = (generations(found, "shard", n, CELLS) for n in (0, 1))
    assert together(found, one_stream(first, second), {first: 0, second: 0} | known) > 0


@cache
def with_a_disclosure() -> list:
    """Proofs of two consecutive chunks with momentum, and between them the parameters of the weights that they share, at a point."""
    run = start_of("momentum", BUDGET)
    found = [prove_with(run, "point 0", name="proof 0")]
    with mock.patch.object(openings, "RESERVE", 0):
        disclosure = link_with(
            lambda: zkjax.disclose(run, "parameters", minimum_bits=NO_TARGET, verify=False), "point 1", "zkjax.prover.disclose"
        )
    with mock.patch.object(slots, "RESERVE", -1):
        return [*found, disclosure, prove_with(after(run, 0), "point 2", name="proof 2")]


SHOWN, HIDDEN = ("weights", 4, PARAMETERS), ("weights", 4, OTHER)


def test_an_opening_at_a_point_tells_the_value_there_alone():
    """Even of the parameters it tells no more: it spends an opening of theirs, and none of the states beside them."""
    found = parts_of("point", with_a_disclosure())
    (shown,), (hidden,) = generations(found, *SHOWN), generations(found, *HIDDEN)
    assert [shown in part.columns for part in found] == [True] * 3
    assert [hidden in part.columns for part in found] == [True, False, True]
    needed = {shown: 3 * QUERIES, hidden: 2 * QUERIES}
    assert together(found) == together(found, kept=needed) == 0
    for seed, count in needed.items():
        assert together(found, kept=needed | {seed: count - 1}) > 0
    assert together(found, one_stream(shown, hidden)) > 0


def test_what_is_opened_at_a_point_tells_nothing_of_the_rest():
    """Once its cells are known, as they are meant to be: of the other states, of data, of what the steps compute."""
    found = parts_of("point", with_a_disclosure(), [SHOWN])
    (shown,), (hidden,) = generations(found, *SHOWN), generations(found, *HIDDEN)
    assert together(found) == together(found, kept={shown: 0}) == 0  # published arrays need no more openings
    assert together(found, kept={hidden: 2 * QUERIES - 1}) > 0
    assert together(found, one_stream(shown, hidden), {shown: 2 * QUERIES - 1}) > 0


SHARD = ("shard", 0, CELLS)
SEEN = ((0,), None), ((0, 1), "x")  # two disclosures of samples of the first shard: numbers, inputs


@cache
def with_samples(count) -> tuple[list, list]:
    """A chunk's proof, and so many disclosures of samples of its first shard, the last ones alike; what is shown of it, in all of them."""
    run, found, seen = start_of("plain", BUDGET), [], []
    with mock.patch.object(slots, "RESERVE", -1), mock.patch.object(openings, "RESERVE", -1):
        found.append(prove_with(run, "sample 0", name="proof 0"))
        for i in range(count):
            samples, inputs = SEEN[min(i, 1)]
            made = []

            def show(samples=samples, inputs=inputs, made=made):
                run.chain.openings.spent.clear()
                honest = disclosing.cells_of
                with mock.patch.object(disclosing, "cells_of", lambda *x: made.append(honest(*x)) or made[-1]):
                    return zkjax.disclose(run, "dataset", samples=samples, inputs=inputs, minimum_bits=NO_TARGET, verify=False)

            found.append(link_with(show, f"sample {i + 1}", "zkjax.prover.disclose"))
            seen.append(made[0] != protocol.HIDDEN)
    return found, seen


def of_samples(count, hidden=()) -> list:
    """The parts of these proofs, for cells of which those that are shown are no choice, but for ``hidden`` ones."""
    found, seen = with_samples(count)
    shown = np.logical_or.reduce(seen)
    for place in hidden:
        shown.flat[place] = False
    return parts_of("sample", found, shown={SHARD: shown})


def test_samples_that_are_shown_tell_nothing_of_the_others():
    """Overlapping ones, and other inputs; the shard is opened three times, as often as it may be. Whatever is hidden may be anything."""
    found, seen = with_samples(2)
    assert [x.claim.roles[:-1] for x in found[1:]] == [[found[1].claim.roles[0]]] * 2 and not np.array_equal(*seen)
    assert 0 < np.logical_and(*seen).sum() < np.logical_or(*seen).sum() < seen[0].size
    parts = of_samples(2)
    (seed,) = generations(parts, *SHARD)
    assert all(seed in part.columns for part in parts)
    assert together(parts) == together(parts, kept={seed: BUDGET * QUERIES}) == 0
    assert together(parts, kept={seed: BUDGET * QUERIES - 1}) > 0


def test_an_opening_of_samples_too_many_tells_of_the_others():
    assert together(of_samples(3)) > 0
    assert together(of_samples(3)[1:]) == 0  # as many as are allowed


def test_a_sample_that_is_in_the_claim_and_not_shown_is_told():
    """The rank test sees what an opening reads: were a cell's weight not 0, and its number not public, the value would tell of it."""
    _, seen = with_samples(2)
    place = int(np.flatnonzero(seen[0])[0])
    told = [part.claims for part in of_samples(2, [place])]
    assert not of_samples(2)[1].claims.any() and told[1].any()
