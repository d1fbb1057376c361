"""The ledger: figures that others have published, exact arithmetic that shares no code with it, and each term tied to what it counts.

Published figures: the reports of ethereum/soundcalc (github.com/ethereum/soundcalc, commit 809896f, reports/*.md, rows "UDR": unique
decoding), whole bits rounded down. Conventions that differ are part of each test: soundcalc adds bits of grinding, of which this
ledger has none; its proximity gap is Ben-Sasson, Carmon, Haboeck, Kopparty, Saraf 2025, gamma n + 1, where the ledger takes the
older and larger n; it counts a lookup's rows as they are, the ledger the leaves of a tree, a power of two.
"""

import math
from collections import Counter
from contextlib import nullcontext
from dataclasses import replace
from fractions import Fraction
from unittest import mock

import pytest
from harness import SMALL
from test_structure_of_proofs import DEPTHS, circuit_of, plan_of
from tiny import chain

import zkjax
from zkjax.algebra.field import P
from zkjax.commitment import geometry as geometry_module
from zkjax.commitment.commit import members, stack
from zkjax.commitment.geometry import Geometry, Level, radius
from zkjax.proofs import soundness
from zkjax.proofs.soundness import security
from zkjax.protocol import argument as argument_module
from zkjax.protocol import contraction, membership, sumcheck
from zkjax.protocol.argument import argument
from zkjax.protocol.hidden import Hidden
from zkjax.protocol.lookup import fractional_sum
from zkjax.protocol.plan import row_count
from zkjax.prover.prove import make_plan

K = P**2  # elements of the extension field


# ---- published figures ----------------------------------------------------------------------------------------------
def with_levels(*levels):
    """A geometry whose recursion has these levels."""
    return mock.patch.object(Geometry, "plan", lambda self: (levels, 5))


QUERIES = [  # report, log2 of 1/rate, queries, bits of grinding, published bits
    ("sp1.md core: query phase", 2, 124, 16, 100),
    ("sp1.md shrink: query phase", 3, 94, 22, 100),
    ("miden.md: query phase", 3, 27, 16, 38),
    ("dummywhir.md riscv: Shift(i=1)", 4, 55, 22, 72),
    ("dummywhir.md riscv: Shift(i=2)", 7, 31, 22, 52),
    ("dummywhir.md riscv: Shift(i=3)", 10, 22, 20, 41),
    ("dummywhir.md riscv: Shift(i=4)", 13, 17, 19, 35),
    ("dummywhir.md riscv: fin", 16, 14, 17, 30),
    ("openvm2.md app: Shift(i=1)", 1, 193, 20, 100),
    ("openvm2.md app: Shift(i=2)", 4, 88, 20, 100),
    ("openvm2.md app: Shift(i=3)", 7, 81, 20, 100),
    ("openvm2.md leaf: Shift(i=1)", 2, 118, 20, 100),
    ("openvm2.md leaf: Shift(i=2)", 5, 84, 20, 100),
    ("openvm2.md leaf: fin", 8, 81, 20, 100),
]


@pytest.mark.parametrize("name, rate, queries, grinding, published", QUERIES, ids=[q[0] for q in QUERIES])
def test_published_queries(name, rate, queries, grinding, published):
    """The same bits, rounded down as there; one query fewer or a worse rate would be noticed where it costs a bit."""
    with with_levels(Level(14, 4, rate, queries)):
        terms = dict(SMALL.error_terms(7))
    assert math.floor(terms["opening: level 1 queries"] + grinding) == published


def test_published_queries_of_the_first_level(monkeypatch):
    """The first level's radius leaves room for random coefficients; without them it is the published one."""
    monkeypatch.setattr(Geometry, "queries", property(lambda self: 124))
    term = {t.name: t.bits for t in replace(SMALL, log_row=21, max_budget=1).error_terms(7)}["opening: queries"]
    assert math.floor(term + 16) == 100  # sp1.md core
    monkeypatch.setattr(Geometry, "errors", property(lambda self: radius(self.code, self.row)))
    plain = {t.name: t.bits for t in replace(SMALL, log_row=21, max_budget=1).error_terms(7)}["opening: queries"]
    assert 0 < plain - term < 0.02


FOLDS = [  # dummywhir.md: circuit, log2 of the code's length after the fold, bits of grinding, published bits over a field of 2^192
    ("riscv: fold(i=0,s=1)", 25, 16, 184),
    ("riscv: fold(i=0,s=2)", 24, 14, 183),
    ("riscv: fold(i=0,s=3)", 23, 12, 182),
    ("riscv: fold(i=0,s=4)", 22, 10, 181),
    ("convert: fold(i=0,s=1)", 23, 16, 186),
    ("combine: fold(i=0,s=1)", 21, 16, 188),
    ("embed: fold(i=0,s=1)", 17, 16, 192),
]


@pytest.mark.parametrize("name, log_code, grinding, published", FOLDS, ids=[f[0] for f in FOLDS])
def test_published_folds(name, log_code, grinding, published):
    """Same codes, rate 1/16. The ledger's numerator n + 2 is at most 2/gamma' of theirs, gamma n + 1 + 8: below 1.1 bits less."""
    with with_levels(Level(log_code - 4 + 1, 1, 4, 60)):
        ours = dict(SMALL.error_terms(7))["opening: level 1 folds"] + math.log2(P**3) - math.log2(K) + grinding
    gamma = Fraction(15, 32)
    theirs = math.log2(P**3) - math.log2(gamma * 2**log_code + 1 + 8) + grinding
    assert math.floor(theirs) == published
    assert 0 < theirs - ours < 1.1


LOOKUPS = [  # dummywhir.md: rows looked up, rows of the table, published bits over 2^192; one column
    ("riscv: range_check_16", 58_720_256, 65_536, 166),
]


@pytest.mark.parametrize("name, rows, table, published", LOOKUPS, ids=[x[0] for x in LOOKUPS])
def test_published_lookups(name, rows, table, published):
    """The lookup's three terms together, over their field: theirs for as many rows as the tree has leaves."""
    variables = (rows + table - 1).bit_length()
    errors = lookup_terms(variables)
    ours = math.log2(P**3) - math.log2(sum(errors.values()))
    theirs = math.log2(P**3) - math.log2(rows + table + variables * (3 * variables + 1) / 2)
    assert math.floor(theirs) == published
    assert 0 < theirs - ours < math.log2(2**variables / (rows + table)) + 0.01 < 0.25


def lookup_terms(variables: int) -> dict:
    hidden = Hidden()
    fractional_sum(hidden, variables, 0)
    return hidden.errors


# ---- exact arithmetic -----------------------------------------------------------------------------------------------
class Watching(Hidden):
    """A counter of pads that notes what an argument receives and draws."""

    def __init__(self):
        super().__init__()
        self.messages: list = []
        self.drawn: Counter = Counter()

    def receive(self, label, count, values=None):
        self.messages.append((label, count))
        return super().receive(label, count, values)

    def challenge(self, label):
        self.drawn[label] += 1
        return super().challenge(label)

    def challenges(self, label, count):
        self.drawn[label] += count
        return [super(Watching, self).challenge(label) for _ in range(count)]


class Watched:
    """One argument's dry run: its ledger, and everything that PROTOCOL section 19 counts, as it happened."""

    def __init__(self, plan, revealed=None, geometry=SMALL, row_variables=5):
        self.plan, self.revealed, self.geometry, self.row_variables = plan, revealed, geometry, row_variables
        self.hidden, merged = Watching(), []
        original = argument_module._merged
        with mock.patch.object(
            argument_module, "_merged", lambda h, label, claims: merged.append(len(claims)) or original(h, label, claims)
        ):
            argument(self.hidden, plan, revealed)
        self.hidden.account_finish()
        self.merged = merged
        self.ledger = security(self.hidden.errors, geometry, row_variables)
        self.terms = dict(self.ledger.terms)

    def rounds(self, label: str) -> int:
        return sum(1 for name, _ in self.hidden.messages if name == f"{label} round")

    def degrees(self, label: str) -> int:
        """Of all rounds together: a round polynomial of degree d is sent as d scalars, its value at 1 being known."""
        return sum(count for name, count in self.hidden.messages if name == f"{label} round")


def missed(code: int, errors: int, queries: int) -> Fraction:
    return Fraction(code - errors, code) ** queries


def degree_of_denominators(sites) -> int:
    """Of the product of all: alpha less column j times the j-th power of a challenge, and less a tag."""
    found = [(math.prod(x.leaves), x.table) for x in sites.lookups] + [(math.prod(t.shape), t) for t in sites.tables]
    return sum(count * max([1, *range(table.width_of_rows)]) for count, table in found)


def exact_terms(w: Watched) -> dict[str, Fraction]:
    """The error of each term from what was watched, in rational numbers: PROTOCOL section 19, line by line."""
    drawn, geometry = w.hidden.drawn, w.geometry
    numerators = {
        "lookup: cleared numerator": degree_of_denominators(w.plan.sites) - 1,
        "lookup: rounds": 2 * w.rounds("lookup"),
        "lookup: combinations and merges": drawn["lookup combination"] + drawn["lookup merge"],
        "losses": 0 if w.revealed is None else sum(len(row) - 1 for row in w.revealed),
        "merging of claims": sum(count - 1 for count in w.merged),
        "level 3: rounds": w.degrees("level 3"),
        "level 2: rounds": w.degrees("level 2"),
        "gates: rounds": w.degrees("gates"),
        "weights: binding": sum(n for label, n in drawn.items() if label.startswith("weights: point of axis"))
        + len(w.plan.circuit.parameters)
        - 1,
        "triples": 2 * 2 ** math.ceil(math.log2(w.hidden.triples + 1)) - 1,
        "constraints": len(w.hidden.constraints) + 2,
    }
    code, row = 2 ** (geometry.log_row + geometry.log_inverse_rate), 2**geometry.log_row
    q = geometry.queries
    errors = (code - row - geometry.max_budget * q) // 2
    numerators["opening: row folds"] = max(1, w.row_variables) * (code + 2)
    numerators["opening: mask"] = code + 1
    terms = {name: Fraction(n, K) for name, n in numerators.items() if n}
    terms["opening: queries"] = missed(code, errors, q)
    levels, clear = geometry.plan()
    before = q
    for number, (log_length, log_rows, rate, queries) in enumerate(levels, 1):
        n = 2 ** (log_length - log_rows + rate)
        terms[f"opening: level {number} batching"] = Fraction(before, K)
        terms[f"opening: level {number} folds"] = Fraction(log_rows * (n + 2), K)
        terms[f"opening: level {number} queries"] = missed(n, (n - 2 ** (log_length - log_rows)) // 2, queries)
        before = queries
    terms["opening: last batching"] = Fraction(before, K)
    terms["opening: closing rounds"] = Fraction(2 * max(1, clear), K)
    return terms


def bits(error: Fraction) -> float:
    """-log2 of a rational number of any size."""
    return math.log2(error.denominator) - math.log2(error.numerator)


BIG = Geometry(17, 2, 4)
PLANS = {
    "two layers": (2, 2, None, SMALL),
    "six layers, eight steps, two losses": (6, 8, 2, SMALL),
    "the full target": (2, 4, 1, BIG),
}


@pytest.fixture(scope="module", params=PLANS)
def watched(request):
    depth, steps, losses, geometry = PLANS[request.param]
    plan = plan_of(circuit_of(DEPTHS[depth]), steps)
    if losses:  # as many as the circuit has
        losses = ((0,) * steps,) * len(plan.circuit.losses)
    return Watched(plan, losses, geometry)


def test_the_ledger_is_exact(watched):
    expected = exact_terms(watched)
    assert set(expected) == set(watched.terms)
    for name, error in expected.items():
        assert watched.terms[name] == pytest.approx(bits(error), abs=1e-9), name
    assert watched.ledger.bits == pytest.approx(bits(sum(expected.values())), abs=1e-9)


@pytest.mark.parametrize("geometry", [SMALL, BIG, Geometry(19, 1, 8), Geometry(14, 4, 2, level_bits=100)])
def test_as_few_queries_as_the_target_allows(geometry):
    """At every level, in rational numbers: (1 - e/n)^q is at most 2^-bits, and one query fewer would not do."""
    target = Fraction(1, 2**geometry.level_bits)

    def first(q):
        return missed(geometry.code, (geometry.code - geometry.row - geometry.max_budget * q) // 2, q)

    assert first(geometry.queries) <= target < first(geometry.queries - 1)
    for level in geometry.plan()[0]:
        n = 1 << level.log_code
        errors = (n - (1 << level.log_row)) // 2
        assert missed(n, errors, level.queries) <= target < missed(n, errors, level.queries - 1)


def test_a_radius_leaves_every_budget_decodable():
    """Two words within the radius of one received word are equal, with all random coefficients that any proof of a chain adds."""
    for geometry in (SMALL, BIG, Geometry(19, 1, 8)):
        distance = geometry.code - (geometry.row + geometry.max_budget * geometry.queries) + 1
        assert 2 * geometry.errors < distance <= 2 * (geometry.errors + 1) + 1


# ---- each term follows what it counts ---------------------------------------------------------------------------------
def moved(before: Watched, after: Watched) -> set[str]:
    return {name for name in before.terms.keys() | after.terms.keys() if before.terms.get(name) != after.terms.get(name)}


def base(geometry=BIG) -> Watched:
    plan = plan_of(circuit_of(DEPTHS[2]), 2)
    return Watched(plan, ((0,) * 2,) * len(plan.circuit.losses), geometry)


def altered_round(name, degree):
    """The sumchecks of this label send round polynomials of another degree."""
    original = sumcheck._reduce

    def reduce(hidden, label, claim, num_vars, rounds, old):
        return original(hidden, label, claim, num_vars, rounds, degree if label == name else old)

    return mock.patch.object(sumcheck, "_reduce", reduce)


def one_more_variable(module, name, at):
    """A sumcheck over a cube twice as large."""
    original = getattr(module, name)

    def call(*arguments, **named):
        return original(*arguments[:at], arguments[at] + 1, *arguments[at + 1 :], **named)

    return mock.patch.object(module, name, call)


def more_constraints():
    original = Hidden.account_finish

    def finish(self):
        self.require_zero("one more", self.public(0))
        original(self)

    return mock.patch.object(Hidden, "account_finish", finish)


def more_triples():
    original = Hidden.account_finish

    def finish(self):
        self.triples = 2 << self.counts().log_triples
        original(self)

    return mock.patch.object(Hidden, "account_finish", finish)


def other_geometry(**fields):
    return nullcontext(replace(BIG, **fields))


def other_levels(change):
    levels, clear = BIG.plan()
    assert len(levels) > 1
    return mock.patch.object(Geometry, "plan", lambda self: change(levels, clear))


def first_level(**fields):
    return other_levels(lambda levels, clear: ((levels[0]._replace(**fields), *levels[1:]), clear))


LOOKUP = {"lookup: cleared numerator", "lookup: rounds", "lookup: combinations and merges"}
ALL_FOLDS = {"opening: row folds", "opening: mask"}
LEVEL = "opening: level 1 "
PERTURBATIONS = {
    "a larger lookup tree": (
        lambda: one_more_variable(membership, "fractional_sum", 1),
        LOOKUP - {"lookup: cleared numerator"} | {"constraints"},
    ),
    "denominators of another degree": (
        lambda: mock.patch.object(membership.Sites, "degree", property(lambda self: 7)),
        {"lookup: cleared numerator"},
    ),
    "contractions of degree 3": (lambda: altered_round("level 3", 3), {"level 3: rounds"}),
    "weights of degree 3": (lambda: altered_round("level 2", 3), {"level 2: rounds"}),
    "gates of degree 4": (lambda: altered_round("gates", 4), {"gates: rounds"}),
    "larger cubes of contractions": (
        lambda: one_more_variable(contraction, "product_sumcheck", 3),
        {"level 3: rounds", "level 2: rounds"},
    ),
    "one more constraint": (more_constraints, {"constraints"}),
    "more triples": (more_triples, {"triples"}),
    "a longer code": (
        lambda: other_geometry(log_inverse_rate=3),
        {*ALL_FOLDS, "opening: queries", f"{LEVEL}batching"},  # a better rate takes fewer queries
    ),
    "other queries": (
        lambda: mock.patch.object(Geometry, "queries", property(lambda self: 160)),
        {"opening: queries", f"{LEVEL}batching"},
    ),
    "a larger budget": (lambda: other_geometry(max_budget=8), {"opening: queries"}),
    "queries of a level": (lambda: first_level(queries=99), {f"{LEVEL}queries", "opening: level 2 batching"}),
    "queries of the last level": (
        lambda: other_levels(lambda levels, clear: ((*levels[:-1], levels[-1]._replace(queries=99)), clear)),
        {f"opening: level {len(BIG.plan()[0])} queries", "opening: last batching"},
    ),
    "another plan's levels": (
        lambda: other_levels(lambda levels, clear: (tuple(x._replace(log_length=x.log_length + 1) for x in levels), clear)),
        {f"opening: level {i} folds" for i in range(1, len(BIG.plan()[0]) + 1)},
    ),
    "rate of a level": (lambda: first_level(log_inverse_rate=5), {f"{LEVEL}folds", f"{LEVEL}queries"}),
    "a longer final vector": (lambda: other_levels(lambda levels, clear: (levels, clear + 1)), {"opening: closing rounds"}),
    "one level less": (
        lambda: other_levels(lambda levels, clear: (levels[:1], clear)),
        {f"opening: level 2 {name}" for name in ("batching", "folds", "queries")},
    ),
}


@pytest.mark.parametrize("name", PERTURBATIONS)
def test_a_term_follows_what_it_counts(name):
    """The parameter is changed where the code uses it; exactly the terms that speak of it move."""
    change, expected = PERTURBATIONS[name]
    before = base()
    with change() as other:
        after = base(other if isinstance(other, Geometry) else BIG)
    found = moved(before, after)
    assert expected <= found <= expected | {"triples"}, found  # a longer argument has more products


def test_terms_follow_the_plan():
    """Sizes of the circuit and of the chunk, with the plan rebuilt."""
    before = base()
    revealed = lambda plan, steps: ((0,) * steps,) * len(plan.circuit.losses)  # noqa: E731
    longer = plan_of(circuit_of(DEPTHS[2]), 32)
    found = moved(before, Watched(longer, revealed(longer, 32), BIG))
    assert {"losses", "level 3: rounds", "level 2: rounds", "gates: rounds", *LOOKUP} <= found
    assert not {name for name in found if name.startswith("opening")} and "weights: binding" not in found
    hidden = moved(before, Watched(before.plan, None, BIG))
    assert {"losses", "merging of claims"} <= hidden
    deeper = plan_of(circuit_of(DEPTHS[6]), 2)
    assert "weights: binding" in moved(before, Watched(deeper, revealed(deeper, 2), BIG))
    assert moved(before, Watched(before.plan, before.revealed, BIG, row_variables=9)) == {"opening: row folds"}
    accounted = {term for _, expected in PERTURBATIONS.values() for term in expected}
    accounted |= {"losses", "merging of claims", "weights: binding"}
    assert set(before.terms) <= accounted, "a term that no test moves"


def test_all_terms_follow_the_field(monkeypatch):
    """A field of another size moves every term but those of queries, by as many bits."""
    before = base()
    monkeypatch.setattr(soundness, "LOG_FIELD", soundness.LOG_FIELD - 8)
    monkeypatch.setattr(geometry_module, "DEGREE", 3)
    after = base()
    for name, value in before.terms.items():
        change = 0 if name.endswith("queries") else math.log2(P) if name.startswith("opening") else -8
        assert after.terms[name] - value == pytest.approx(change), name
    assert soundness.LOG_FIELD + 8 == pytest.approx(math.log2(K))


def test_weak_terms_are_named():
    weak = base().ledger
    with pytest.raises(zkjax.ConfigurationError, match=min(weak.terms, key=lambda t: t[1])[0]):
        weak.require(weak.bits + 0.01)
    assert weak.require(weak.bits) is weak
    with pytest.raises(zkjax.ConfigurationError):
        weak.require(float("nan"))


# ---- the verifier's own ------------------------------------------------------------------------------------------------
def test_the_ledger_of_a_proof_is_that_of_its_plan():
    """What ``prove`` states is what the exact formula gives for the run's plan and for the stack that was opened."""
    run, proof = chain().runs[0], chain().proofs[0]
    plan = make_plan(run)
    trace = row_count(plan.trace_layout(Watched(plan, proof.statement.losses).hidden.counts()), SMALL.row)
    _, row_variables = stack([part.rows for part in members(proof.statement.opened())] + [trace])
    watched = Watched(plan, proof.statement.losses, proof.statement.geometry, row_variables)
    assert dict(proof.security.terms) == pytest.approx({name: bits(error) for name, error in exact_terms(watched).items()})
