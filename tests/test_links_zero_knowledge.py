"""Zero knowledge of several proofs together, some of which replace commitments: on the prover's own code, for fixed challenges.

All openings of a chain's proofs are one linear map of cells, random coefficients and mask rows. Its part that belongs to the
randomness must span what any cells contribute, but for the claims, where matrices behind linked commitments are equal: then the
views are distributed alike for all cells with the same claims. ``leak`` counts what is told beyond that: 0 by the rules, and more
wherever one of them is broken. Chains are plain, or have momentum: then weights have two parts, each with openings of its own, and
frozen weights are opened in every proof.
"""

import dataclasses
import itertools
from collections import Counter
from functools import cache, partial
from types import SimpleNamespace
from unittest import mock

import moving
import numpy as np
import pytest
from test_proof_zero_knowledge import leak, pieces
from zero_knowledge import NO_TARGET, Case, Opening, Programmed, claim_of, eliminate, prove_with, renewed, simulate_link, verify_with

import zkjax
from zkjax.algebra import field
from zkjax.algebra.field import P
from zkjax.circuit.parts import CELLS, OTHER, PARAMETERS
from zkjax.commitment import slots
from zkjax.commitment.geometry import Geometry
from zkjax.commitment.keys import Key
from zkjax.commitment.opening import open_claim
from zkjax.errors import VerificationError
from zkjax.protocol.transcript import Writer

QUERIES, BUDGET = 2, 3  # of a chain without links
SAMPLES = 16  # of all cells: leaks and claims together are fewer


def start_of(name, budget):
    case = Case.of(name)
    return renewed(case.run(case.starts[0]), "run", Geometry(6, 2, budget, level_bits=1))


def after(run, i):
    """The run that goes on from another one."""
    run = zkjax.train(run.circuit, run, None, steps=2)
    return dataclasses.replace(run, keys=(run.keys[0], Key(bytes([i + 1]) * 32, f"key {i}")))


@cache
def trials(challenges, count=3, budget=2, reserve=0, name="plain"):
    """Proofs of consecutive runs, in rows of 64 with 2 queries; the last unit of a commitment is spent in the proof that replaces it.

    reserve: -1 for a chain that forgets its counters, and replaces nothing.
    """
    run, found = start_of(name, budget), []
    for i in range(count):
        with mock.patch.object(slots, "RESERVE", reserve):
            found.append(prove_with(run, f"{challenges} {i}", name=f"proof {i}"))
        if reserve < 0:
            run.chain.openings.spent.clear()
        run = after(run, i)
    return found


def link_with(link, challenges, module="zkjax.prover.link") -> SimpleNamespace:
    """A proof of links alone, ``link()``, and the claim of its opening, as ``prove_with``. module: in which it is made."""
    seen = SimpleNamespace()

    def opening_of(stream, geometry, committed, lanes, value):
        roles = [*((x.tag, x.seed) for c in committed[:-1] for x in c.members), "trace"]
        seen.claim = claim_of(geometry, committed, lanes, value, roles)
        open_claim(stream, geometry, committed, lanes, value)

    patches = {"Writer": lambda transcript: Writer(Programmed(challenges)), "open_claim": opening_of}
    with mock.patch.multiple(module, **patches):
        seen.proof = link()
    return seen


def between_two_chunks(run, budget: int, name: str, read) -> list:
    """Parts of the proofs of a run, of what ``read()`` makes to read its weights, and of the run after it, which replace nothing."""
    with mock.patch.object(slots, "RESERVE", -1):
        found = [prove_with(run, f"{name} 0", name="proof 0")]
        reader = read()
        found.append(prove_with(reader, f"{name} 1", name="proof 1", reveal=reader.circuit.outputs))
        if budget < 3:
            run.chain.openings.spent.clear()
        found.append(prove_with(after(run, 1), f"{name} 2", name="proof 2"))
    return parts_of(name, found)


@cache
def with_a_link_between(name) -> list:
    """A chunk's proof, a proof of links alone that replaces all that it opens, and a proof of the same chunk."""
    run = start_of(name, 2)
    with mock.patch.object(slots, "RESERVE", 0):
        first = prove_with(run, "between 0", name="proof 0")
        link = link_with(lambda: zkjax.link(run, minimum_bits=NO_TARGET, verify=False), "between 1")
        return [first, link, prove_with(run, "between 2", name="proof 2")]


@cache
def with_a_part_between() -> list:
    """Proofs of three chunks that nothing is replaced in; after the first, a link that opens the parameters of its last weights alone."""
    run = start_of("momentum", BUDGET)
    found = [prove_with(run, "part 0", name="proof 0")]
    link = partial(moving.link_of_parameters, run, run.chain.geometry, NO_TARGET)
    found.append(link_with(link, "part 1"))
    with mock.patch.object(slots, "RESERVE", -1):
        for i in (2, 3):
            run = after(run, i)
            found.append(prove_with(run, f"part {i}", name=f"proof {i}"))
    return found


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
    """Kind and number of a commitment, and the part's name."""
    return committed.commitment.kind, committed.commitment.number, part.part.name


def value(rows, weights, component):
    """A component of <cells, W>."""
    total = np.zeros(1, dtype=np.uint64)
    for part, w in zip(rows, weights, strict=True):
        total = field.add(total, field.sum(field.mul(w[component], part)).reshape(1))
    return int(total[0])


@cache
def parts(challenges, count=3, budget=2, reserve=0, name="plain"):
    """Of each proof of ``trials``; see ``parts_of``."""
    return parts_of(challenges, trials(challenges, count, budget, reserve, name))


def parts_of(challenges, found, known=(), shown=None) -> list[Part]:
    """Of each proof, for the same random choices of all cells: linked matrices are equal, and so are those of equal seeds.

    known: names of parts that everybody knows, as ``name_of`` has them: their cells are no choice. shown: by such names, which cells are.
    """
    rng, choices = np.random.default_rng(1), [{} for _ in range(SAMPLES)]

    def cells(i):
        def choice(made, part, name):
            name = (i, "trace") if part.mask is not None else name
            if name in known:
                return np.zeros_like(part.rows)
            if name not in made:
                made[name] = rng.integers(0, P, part.rows.shape, dtype=np.uint64) * ~(shown or {}).get(name, np.zeros((), dtype=bool))
            return made[name]

        return [lambda part, name, made=made: choice(made, part, name) for made in choices]

    return [Part(t, f"{challenges} {i}", cells(i)) for i, t in enumerate(found)]


def together(found, name=lambda seed, i: seed, kept=None):
    """What all proofs tell.

    name: of random coefficients, by the commitment's seed and the proof's number. kept: seed to how many coefficients are not 0.
    """
    columns, wide = {}, 0
    for i, part in enumerate(found):
        for seed, at in part.columns.items():
            if name(seed, i) not in columns:
                columns[name(seed, i)] = slice(wide, wide + at.stop - at.start)
                wide += at.stop - at.start
    blocks = []
    for i, part in enumerate(found):
        block = np.zeros((len(part.shared), wide), dtype=np.uint64)
        for seed, at in part.columns.items():
            own, where = part.shared[:, at].copy(), columns[name(seed, i)]
            own[:, (kept or {}).get(seed, own.shape[1]) :] = 0
            block[:, where] = field.add(block[:, where], own)
        blocks.append(block)
    images, claims = (np.concatenate([getattr(part, x) for part in found]) for x in ("images", "claims"))
    return leak(np.concatenate(blocks), images, claims)


def generations(found, *kind) -> list:
    """Seeds of the commitments to one matrix, in the order in which they are opened first. kind: as ``name_of`` has it."""
    return list(dict.fromkeys(seed for part in found for seed, what in part.kinds.items() if what == kind))


def one_stream(*seeds):
    """Names of random coefficients, where these commitments have the same ones."""
    return lambda seed, _: "one" if seed in seeds else seed


REPLACED = {"plain": ["initial", "shard 0", "shard 1"], "momentum": ["initial", "frozen", "shard 0"]}


@pytest.mark.parametrize(
    "challenges, count, name",
    [
        ("first", 3, "plain"),
        ("first", 3, "momentum"),
        *(pytest.param(x, 2, n, marks=pytest.mark.slow) for x in ("second", "third") for n in REPLACED),
    ],
)
def test_replaced_commitments_tell_nothing(challenges, count, name):
    """Frozen weights or two shards, and weights, in two parts or one: C in proofs 1 and 2, C' in 2 and 3, C'' in 3; budgets of two."""
    links = [[link.source for link in t.proof.statement.links] for t in trials(challenges, count, name=name)]
    assert links == [[], *[REPLACED[name]] * (count - 1)]
    found = parts(challenges, count, name=name)
    opened = [seed for part in found for seed in part.columns]
    assert max(opened.count(seed) for seed in opened) == 2
    other = {"plain": ("shard", 1), "momentum": ("frozen", 0)}[name]
    assert len(generations(found, "shard", 0, CELLS)) == len(generations(found, *other, CELLS)) == count
    assert together(found) == 0


@pytest.mark.parametrize("name", REPLACED)
def test_broken_replacements_tell_something(name):
    """Random coefficients that serve twice, be it for two parts of a tree, or that are missing."""
    found = parts("first", 3, name=name)
    for what in dict.fromkeys(kind for part in found for kind in part.kinds.values()):
        seeds = generations(found, *what)
        for seed in seeds:
            assert together(found, kept={seed: 0}) > 0, f"{what} without random coefficients"
        for pair in itertools.combinations(seeds, 2):  # with the same random coefficients: one commitment, in two proofs or in three
            proofs = sum(any(seed in part.columns for seed in pair) for part in found)
            assert (together(found, one_stream(*pair)) > 0) == (proofs > 2), f"{what}, replaced by itself, in {proofs} proofs"
    for part in found:
        for a, b in itertools.combinations(part.kinds, 2):
            if part.kinds[a] != part.kinds[b]:
                assert together(found, one_stream(a, b)) > 0, f"{part.kinds[a]} and {part.kinds[b]} with one stream"


def test_one_opening_too_many_tells_something():
    """Counters that are forgotten: commitments with the random coefficients of one opening in two of them."""
    found = parts("first", 2, budget=1, reserve=-1)
    assert not any(t.proof.statement.links for t in trials("first", 2, 1, -1))
    assert len(generations(found, "shard", 0, CELLS)) == 1
    assert together(found) > 0
    assert together(found[:1]) == together(found[1:]) == 0


@pytest.mark.parametrize("name", ["plain", pytest.param("momentum", marks=pytest.mark.slow)])
def test_links_alone_tell_nothing(name):
    """Opened beside chunks' proofs: C in the first proof and in that of links, C' in it and in the next chunk's."""
    found = parts_of("between", with_a_link_between(name))
    kinds = [[(c.commitment.kind, c.commitment.number) for c in t.claim.committed] for t in with_a_link_between(name)]
    assert kinds[1] == [*kinds[0][:-1], *kinds[0]] == kinds[2]
    opened = [seed for part in found for seed in part.columns]
    assert max(opened.count(seed) for seed in opened) == 2
    assert together(found) == 0
    for part in [PARAMETERS, OTHER][: 1 + (name == "momentum")]:
        old, new = generations(found, "weights", Case.of(name).before + 2, part)[:2]
        assert together(found, one_stream(old, new)) > 0
        for seed in (old, new):
            assert together(found, kept={seed: 0}) > 0


@cache
def around_a_part() -> list[Part]:
    return parts_of("part", with_a_part_between())


def test_commitments_are_opened_as_often_as_they_allow():
    """Frozen weights in three proofs, both parts of the weights between two of them in these: what is random just suffices."""
    first, _, *later = around_a_part()
    found = [first, *later]
    assert not any(t.proof.statement.links for i, t in enumerate(with_a_part_between()) if i != 1)
    uses = Counter(seed for part in found for seed in part.columns)
    kinds = {seed: kind for part in found for seed, kind in part.kinds.items()}
    assert {kind: uses[seed] for seed, kind in kinds.items() if uses[seed] > 1} == {
        ("frozen", 0, CELLS): 3,
        ("shard", 0, CELLS): 3,
        **{("weights", number, part): 2 for number in (4, 6) for part in (PARAMETERS, OTHER)},
    }
    needed = {seed: QUERIES * count for seed, count in uses.items()}
    assert together(found) == together(found, kept=needed) == 0
    for seed, count in needed.items():
        assert together(found, kept=needed | {seed: count - 1}) > 0, kinds[seed]
        assert together(found, kept=needed | {seed: count - QUERIES}) > 0, f"{kinds[seed]}: once more than its budget"


def test_a_link_of_one_part_uses_up_nothing_of_the_other():
    """Opened in a chunk's proof, the parameters alone in that of a link, and in the next chunk's proof."""
    link, found = with_a_part_between()[1], around_a_part()[:3]
    assert [c.opens.names for c in link.claim.committed] == [(PARAMETERS,), (PARAMETERS,), (CELLS,)]
    (parameters, fresh), (other,) = (generations(found, "weights", 4, part) for part in (PARAMETERS, OTHER))
    needed = {parameters: 3 * QUERIES, other: 2 * QUERIES, fresh: QUERIES}
    assert together(found) == together(found, kept=needed) == 0
    for seed, count in needed.items():
        assert together(found, kept=needed | {seed: count - 1}) > 0
    assert together(found, one_stream(parameters, other)) > 0
    shown, hidden = link.claim.committed[0].members[0], link.claim.committed[0].closed[0]
    told = [sum(salt in bytes(link.proof) for salt in pieces(x.salts(range(256)))) for x in (shown, hidden)]
    assert told[0] in (1, QUERIES) and told[1] == 0  # what is shown of a part that stays closed are salted hashes


def test_simulated_links_of_one_part_are_accepted():
    """Known challenges stand in for the weights; what stays closed is random digests."""
    statement, rng = with_a_part_between()[1].proof.statement, np.random.default_rng(5)
    verify_with(None, with_a_part_between()[1].proof, "part 1")
    for proof in (simulate_link(statement, "part 1", rng) for _ in range(2)):
        assert proof.nbytes == with_a_part_between()[1].proof.nbytes
        assert verify_with(None, proof, "part 1") == proof.statement != statement
        for challenges in (None, "part 2"):
            with pytest.raises(VerificationError):
                verify_with(None, proof, challenges)
