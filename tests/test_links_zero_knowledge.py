"""Zero knowledge of several proofs together, some of which replace commitments: on the prover's own code, for fixed challenges.

All openings of a chain's proofs are one linear map of cells, random coefficients and mask rows. Its part that belongs to the
randomness must span what any cells contribute, but for the claims, where matrices behind linked commitments are equal: then the
views are distributed alike for all cells with the same claims. ``leak`` counts what is told beyond that: 0 by the rules, and more
wherever one of them is broken.
"""

import dataclasses
from functools import cache
from types import SimpleNamespace
from unittest import mock

import numpy as np
import pytest
from field_values import dense
from test_proof_zero_knowledge import leak
from zero_knowledge import NO_TARGET, Opening, Programmed, eliminate, prove_with, tiny_circuit, tiny_data, tiny_params, tiny_run

import zkjax
from zkjax.algebra import field
from zkjax.algebra.field import P
from zkjax.commitment import slots
from zkjax.commitment.geometry import Geometry
from zkjax.commitment.keys import Key
from zkjax.commitment.opening import open_claim
from zkjax.protocol.transcript import Writer

SAMPLES = 16  # of all cells: leaks and claims together are fewer


@cache
def trials(challenges, count=3, budget=2, reserve=0):
    """Proofs of consecutive runs, in rows of 64 with 2 queries; the last unit of a commitment is spent in the proof that replaces it.

    reserve: -1 for a chain that forgets its counters, and replaces nothing.
    """
    circuit = tiny_circuit()
    run = tiny_run(circuit, tiny_params(0), tiny_data(0), "run", Geometry(6, 2, budget, level_bits=1))
    found = []
    for i in range(count):
        with mock.patch.object(slots, "RESERVE", reserve):
            found.append(prove_with(run, f"{challenges} {i}", name=f"proof {i}"))
        if reserve < 0:
            run.chain.openings.spent.clear()
        run = zkjax.train(circuit, run, None, steps=2)
        run = dataclasses.replace(run, keys=(run.keys[0], Key(bytes([i + 1]) * 32, f"key {i}")))
    return found


def link_with(run, challenges) -> SimpleNamespace:
    """A proof of links alone, and the claim of its opening, as ``prove_with``."""
    seen = SimpleNamespace()

    def opening_of(stream, geometry, committed, lanes, value):
        parts = [x for c in committed for x in c.members]
        weights = [dense(x, part.part.rows, geometry.row) for x, part in zip(lanes, parts, strict=True)]
        roles = [*((x.tag, x.seed) for x in parts[:-1]), "trace"]
        seen.claim = SimpleNamespace(geometry=geometry, committed=committed, parts=parts, weights=weights, value=value, roles=roles)
        open_claim(stream, geometry, committed, lanes, value)

    patches = {"Writer": lambda transcript: Writer(Programmed(challenges)), "open_claim": opening_of}
    with mock.patch.multiple("zkjax.prover.link", **patches):
        seen.proof = zkjax.link(run, minimum_bits=NO_TARGET, verify=False)
    return seen


@cache
def with_a_link_between() -> list:
    """A chunk's proof, a proof of links alone that replaces all that it opens, and a proof of the same chunk."""
    run = tiny_run(tiny_circuit(), tiny_params(0), tiny_data(0), "run", Geometry(6, 2, 2, level_bits=1))
    with mock.patch.object(slots, "RESERVE", 0):
        first = prove_with(run, "between 0", name="proof 0")
        return [first, link_with(run, "between 1"), prove_with(run, "between 2", name="proof 2")]


class Part:
    """One opening: what its own mask rows and trace leave visible of random coefficients and cells that it shares with others.

    columns: (seed of a commitment) to its coefficients' columns of ``shared``. cells: of many choices, as columns. claims: their values.
    """

    def __init__(self, trial, challenges, cells):
        claim, opening = trial.claim, Opening(trial.claim, challenges)
        own = [x for (role, _), x in opening.columns.items() if role == "trace"]
        others = [(claim.roles.index(role), x) for (role, _), x in opening.columns.items() if role != "trace"]
        private, shared = (np.concatenate([opening.matrix[:, x] for x in found], axis=1) for found in (own, [x for _, x in others]))
        ends = np.cumsum([0, *(x.stop - x.start for _, x in others)]).tolist()
        self.columns = {claim.parts[i].seed: slice(a, b) for (i, _), a, b in zip(others, ends[:-1], ends[1:], strict=True)}
        named = [(x, name_of(c, x)) for c in claim.committed for x in c.members]
        self.kinds = {named[i][0].seed: named[i][1] for i, _ in others}
        rows = [[choice(x, name) for x, name in named] for choice in cells]
        images = np.stack([opening.view(x, {}) for x in rows], axis=1)
        pivots, reduced = eliminate(np.concatenate([private, shared, images], axis=1), private.shape[1])
        rest = reduced[len(pivots) :, private.shape[1] :]
        self.shared, self.images = rest[:, : shared.shape[1]], rest[:, shared.shape[1] :]
        self.claims = np.array([[value(x, claim.weights, part) for x in rows] for part in range(2)], dtype=np.uint64)


def name_of(committed, part) -> tuple:
    """Kind and number of a commitment, and the part's name where there are two."""
    one = committed.commitment
    return (one.kind, one.number, *([part.part.name] if len(one.parts) > 1 else []))


def value(rows, weights, component):
    """A component of <cells, W>."""
    total = np.zeros(1, dtype=np.uint64)
    for part, w in zip(rows, weights, strict=True):
        total = field.add(total, field.sum(field.mul(w[component], part)).reshape(1))
    return int(total[0])


@cache
def parts(challenges, count=3, budget=2, reserve=0):
    """Of each proof of ``trials``; see ``parts_of``."""
    return parts_of(challenges, trials(challenges, count, budget, reserve))


def parts_of(challenges, found) -> list[Part]:
    """Of each proof, for the same random choices of all cells: linked matrices are equal, and so are those of equal seeds."""
    rng, known = np.random.default_rng(1), [{} for _ in range(SAMPLES)]

    def cells(i):
        def choice(made, part, name):
            name = (i, "trace") if part.mask is not None else name
            return made.setdefault(name, rng.integers(0, P, part.rows.shape, dtype=np.uint64))

        return [lambda part, name, made=made: choice(made, part, name) for made in known]

    return [Part(t, f"{challenges} {i}", cells(i)) for i, t in enumerate(found)]


def together(found, name=lambda seed, kind: seed, spoilt=()):
    """What all proofs tell. name: of a commitment's random coefficients; spoilt: seeds of those that are 0."""
    columns, wide = {}, 0
    for part in found:
        for seed, at in part.columns.items():
            if name(seed, part.kinds[seed]) not in columns:
                columns[name(seed, part.kinds[seed])] = slice(wide, wide + at.stop - at.start)
                wide += at.stop - at.start
    blocks = []
    for part in found:
        block = np.zeros((len(part.shared), wide), dtype=np.uint64)
        for seed, at in part.columns.items():
            if seed not in spoilt:
                where = columns[name(seed, part.kinds[seed])]
                block[:, where] = field.add(block[:, where], part.shared[:, at])
        blocks.append(block)
    images, claims = (np.concatenate([getattr(part, x) for part in found]) for x in ("images", "claims"))
    return leak(np.concatenate(blocks), images, claims)


def generations(found, kind, number) -> list:
    """Seeds of the commitments to one matrix, in the order in which they are opened first."""
    return list(dict.fromkeys(seed for part in found for seed, what in part.kinds.items() if what == (kind, number)))


@pytest.mark.parametrize("challenges, count", [("first", 3), *(pytest.param(x, 2, marks=pytest.mark.slow) for x in ("second", "third"))])
def test_replaced_commitments_tell_nothing(challenges, count):
    """Two shards at once, and weights: C in proofs 1 and 2, C' in 2 and 3, C'' in 3; budgets of two."""
    links = [[link.source for link in t.proof.statement.links] for t in trials(challenges, count)]
    assert links == [[], *[["initial", "shard 0", "shard 1"]] * (count - 1)]
    found = parts(challenges, count)
    opened = [seed for part in found for seed in part.columns]
    assert max(opened.count(seed) for seed in opened) == 2
    assert len(generations(found, "shard", 0)) == len(generations(found, "shard", 1)) == count
    assert together(found) == 0


def test_broken_replacements_tell_something():
    """Random coefficients that serve twice, or that are missing."""
    found = parts("first", 3)
    first, second = generations(found, "shard", 0)[:2]
    other, weights = generations(found, "shard", 1)[0], generations(found, "weights", 2)
    broken = {
        "C' with C's random coefficients": {first: "one", second: "one"},
        "one stream for both shards": {first: "one", other: "one"},
        "a shard's replacement with those of the weights'": {second: "one", weights[1]: "one"},
    }
    for name, names in broken.items():
        assert together(found, lambda seed, _, names=names: names.get(seed, seed)) > 0, name
    for kind, number in (("weights", 0), ("weights", 2), ("weights", 4), ("shard", 0), ("shard", 1)):
        for seed in generations(found, kind, number):
            assert together(found, spoilt=[seed]) > 0, f"{kind} {number} without random coefficients"


def test_one_opening_too_many_tells_something():
    """Counters that are forgotten: commitments with the random coefficients of one opening in two of them."""
    found = parts("first", 2, budget=1, reserve=-1)
    assert not any(t.proof.statement.links for t in trials("first", 2, 1, -1))
    assert len(generations(found, "shard", 0)) == 1
    assert together(found) > 0
    assert together(found[:1]) == together(found[1:]) == 0


def test_links_alone_tell_nothing():
    """Opened beside chunks' proofs: C in the first proof and in that of links, C' in it and in the next chunk's."""
    found = parts_of("between", with_a_link_between())
    kinds = [[(c.commitment.kind, c.commitment.number) for c in t.claim.committed] for t in with_a_link_between()]
    assert kinds[1] == [*kinds[0][:-1], *kinds[0]] == kinds[2]
    opened = [seed for part in found for seed in part.columns]
    assert max(opened.count(seed) for seed in opened) == 2
    assert together(found) == 0
    old, new = generations(found, "weights", 2)[:2]
    assert together(found, lambda seed, _: "one" if seed in (old, new) else seed) > 0
    for seed in (old, new):
        assert together(found, spoilt=[seed]) > 0
