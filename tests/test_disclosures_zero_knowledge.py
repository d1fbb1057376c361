"""What is told of the rest when weights or shards are disclosed, and by the opening at a point: nothing.

By the rank tests of ``test_links_zero_knowledge.py``. Of what is disclosed by a seed everybody knows cells and random coefficients; of
what is opened at a point, the cells. ``leak`` counts what all proofs together then tell of all other cells beyond their claims.
"""

from functools import cache
from unittest import mock

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
