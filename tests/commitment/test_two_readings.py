"""A word that would be read as two messages in two proofs, if each decoded by the radius that its own rows leave.

The same weights are opened beside commitments of budget 1, where rows have t = q random coefficients and (n - k - q) / 2 errors
could be corrected; and beside a shard of budget 2, with t = 2q and a smaller radius. Between two polynomials that differ in as
few places as t = 2q allows, a word lies within both radii. The geometry has one radius for all proofs, that of its largest
budget: within it lies one of the two. The other one passes only where the queries miss more errors than the radius has, which
the soundness error counts.
"""

import dataclasses
from fractions import Fraction

import numpy as np
import pytest
from commitment_cases import Frozen, inner, make_case, only_part, prove, recommitted, verify

from zkjax.algebra import field
from zkjax.algebra.extension import ZERO
from zkjax.algebra.ntt import encode, inverse_ntt, root_powers
from zkjax.commitment import Geometry
from zkjax.commitment.commit import Encoded
from zkjax.commitment.geometry import radius
from zkjax.errors import VerificationError
from zkjax.protocol.transcript import Writer

GEOMETRY = Geometry(5, 2, 2, 1)  # rows of 32, code length 128, 2 queries
K, N, Q = GEOMETRY.row, GEOMETRY.code, GEOMETRY.queries
NARROW, WIDE = radius(N, K + 2 * Q), radius(N, K + Q)
BUDGETS = {"t = q": [1, 1], "t = 2q": [1, 1, 2]}  # of a trace, the weights, and a shard


def with_roots(count: int) -> np.ndarray:
    """The monic polynomial that vanishes at the first points of the domain."""
    coefficients = np.ones(1, dtype=np.uint64)
    for root in root_powers(GEOMETRY.log_code)[:count]:
        shifted = np.pad(coefficients, (1, 0))
        coefficients = field.sub(shifted, np.pad(field.mul(coefficients, np.full_like(coefficients, root)), (0, 1)))
    return coefficients


def values_of(polynomial) -> np.ndarray:
    return encode(polynomial[None], GEOMETRY.log_code)[0]


MESSAGES = {"t = q": np.zeros(K + Q, dtype=np.uint64), "t = 2q": with_roots(K + 2 * Q - 1)}
WORD = values_of(MESSAGES["t = 2q"]) * (np.cumsum(values_of(MESSAGES["t = 2q"]) != 0) <= WIDE)  # the other value, 0, at the end


def wrong(name: str) -> np.ndarray:
    """Where the word is not the codeword of this reading."""
    return WORD != values_of(MESSAGES[name])


def test_each_proofs_own_radius_would_read_two_messages():
    assert wrong("t = q").sum() <= WIDE and wrong("t = 2q").sum() <= NARROW
    assert MESSAGES["t = 2q"][:K].all()  # the cells differ, not only the random coefficients


def test_the_geometrys_radius_reads_one():
    """Two polynomials of any proofs of the chain differ in more places than two words within the radius."""
    assert wrong("t = 2q").sum() <= GEOMETRY.errors < wrong("t = q").sum()
    assert 2 * GEOMETRY.errors < N - (K + GEOMETRY.max_budget * Q - 1)


class Asked(Frozen):
    """Frozen challenges; a test chooses the columns."""

    def __init__(self, columns):
        super().__init__()
        self._columns = columns

    def indices(self, label, count, log_size):
        return self._columns


def case_of(name: str):
    """An opening whose weights are committed as the word, by a prover who reads them in this way."""
    case = make_case(GEOMETRY, [2, 1, 1][: len(BUDGETS[name])], BUDGETS[name])
    coefficients = np.stack([inverse_ntt(WORD[:, None])[:, 0], np.zeros(N, dtype=np.uint64)])

    class Word(Encoded):
        def polynomials(self, start):
            return coefficients

    honest = case.committed[1]
    word = Word(**vars(only_part(honest)) | {"rows": MESSAGES[name][None, :K], "padding": MESSAGES[name][None, K:]})
    case.committed[1] = recommitted(dataclasses.replace(honest, parts=(word,)))
    case.value = sum((inner(x.rows, w) for x, w in zip(case.parts, case.weights, strict=True)), ZERO)
    return case


def accepted(case, columns) -> bool:
    try:
        verify(case, prove(case, Writer(Asked(columns))), script=Asked(columns))
    except VerificationError as error:
        assert error.check == "opening"
        return False
    return True


@pytest.mark.parametrize("name", BUDGETS)
def test_only_queries_tell_a_reading_from_a_codeword(name):
    """So a reading passes with the probability that all queries miss its errors.

    For the one outside the radius that is below the term that the ledger has for it.
    """
    case, bad = case_of(name), wrong(name)
    right, errors = np.flatnonzero(~bad)[[0, 7, -1]].tolist(), np.flatnonzero(bad)[[0, 7, -1]].tolist()
    for first, second in zip(right, errors, strict=True):
        assert accepted(case, [first, right[1]])
        assert not accepted(case, [first, second]) and not accepted(case, [second, second])
    passes = Fraction(int((~bad).sum()), N) ** Q
    counted = Fraction(N - GEOMETRY.errors, N) ** Q
    assert counted <= Fraction(1, 2**GEOMETRY.level_bits)
    assert (passes < counted) == (name == "t = q")


def test_both_readings_are_of_one_commitment():
    first, second = (case_of(name) for name in BUDGETS)
    assert first.commitments[1] == second.commitments[1]
    assert not np.array_equal(first.parts[1].rows, second.parts[1].rows)
