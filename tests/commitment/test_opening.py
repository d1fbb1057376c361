"""Completeness, tampering, lying provers and refusals of the whole opening."""

import dataclasses

import numpy as np
import pytest
from commitment_cases import (
    SMALL,
    TINY,
    Frozen,
    Recorder,
    changed_part,
    inner,
    make_case,
    only_part,
    prove,
    random_base,
    recommitted,
    transcript,
    verify,
    with_part,
)
from field_values import dense

from zkjax.algebra import extension as ext
from zkjax.algebra.extension import ZERO, Ext
from zkjax.algebra.field import P
from zkjax.commitment import Geometry, commit
from zkjax.commitment.commit import Encoded
from zkjax.commitment.opening import check_opening
from zkjax.commitment.rows import Lane
from zkjax.errors import ConfigurationError, FormatError, VerificationError
from zkjax.kernels.threads import scope
from zkjax.protocol.transcript import Writer

REJECTED = FormatError, VerificationError


@pytest.fixture(scope="module")
def case():
    return make_case(SMALL, [3, 5], [2, 1], masked=1)


@pytest.fixture(scope="module")
def recorded(case):

    with scope():
        recorder = Recorder(transcript())
        return recorder, prove(case, recorder)


@pytest.mark.parametrize(
    "geometry, row_counts, budgets, masked",
    [
        (TINY, [1], [1], 0),
        (TINY, [4], [1], 0),
        (TINY, [3, 5], [1, 1], 0),
        (TINY, [5, 3, 3, 9], [2, 1, 2, 1], 1),
        (TINY, [2, 2, 2], [1, 2, 1], 2),
        (Geometry(9, 1, 1, 10), [6, 1], [1, 1], 0),
        (Geometry(8, 3, 2, 10), [7, 2], [1, 2], 0),
        (SMALL, [9, 2], [1, 2], 0),
        (TINY, [2, (3, 1)], [1, 2], 0),
        (SMALL, [(1, 5), 3, (2, 2)], [2, 1, 1], 1),
    ],
)
def test_completeness(geometry, row_counts, budgets, masked):
    case = make_case(geometry, row_counts, budgets, masked)
    writer = Writer(transcript())
    body = prove(case, writer)
    assert verify(case, body) == writer.transcript.state
    assert prove(case) == body


def test_a_stage_beside_the_trace():
    """Room for an argument in two stages: a second tree, of budget 1 and without mask rows, opened with the trace in one opening."""
    case = make_case(TINY, [2, 3, 1], [1, 2, 1], masked=2)
    case.committed[0] = commit(case.parts[0].rows, kind="stage", number=0, budget=1, geometry=TINY, seed=bytes(32))
    verify(case, prove(case))


def random_lanes(rng, count: int, row: int) -> list[Lane]:
    """Lanes of all lengths and places, some over few rows, overlapping."""
    lanes = []
    for log in range(row.bit_length()):
        start = (1 << log) * rng.integers(row >> log)
        factors = tuple(c * (rng.random(count) < 0.7) for c in (random_base(rng, count), random_base(rng, count)))
        head, tail = ((random_base(rng, 1 << part), random_base(rng, 1 << part)) for part in (log // 3, log - log // 3))
        lanes.append(Lane(factors, int(start), head, tail))
    return lanes


@pytest.mark.parametrize("geometry", [TINY, Geometry(13, 1, 1, 20)])
def test_weights_in_lanes(geometry):
    """The same proof as with the weights that the lanes add up to; the longer rows take every jitted path."""
    case = make_case(geometry, [5, 2])
    rng = np.random.default_rng(1)
    lanes = [random_lanes(rng, c.commitment.rows, geometry.row) for c in case.committed]
    case.weights = [dense(x, c.commitment.rows, geometry.row) for x, c in zip(lanes, case.committed, strict=True)]
    case.value = sum((inner(x.rows, w) for x, w in zip(case.parts, case.weights, strict=True)), ZERO)
    body = prove(case)
    verify(case, body)
    case.weights = lanes
    assert prove(case) == body
    case.weights = [lanes[0], []]
    case.value = inner(case.parts[0].rows, dense(lanes[0], 5, geometry.row))
    body = prove(case)
    case.weights = [dense(lanes[0], 5, geometry.row), dense([], 2, geometry.row)]
    verify(case, body)


def test_recreated_from_the_seed(case):
    again = [
        commit(
            x.rows,
            kind=c.commitment.kind,
            number=c.commitment.number,
            budget=x.part.budget,
            geometry=SMALL,
            seed=seed,
            mask=check_mask(case) if x.mask else None,
        )
        for c, x, seed in zip(case.committed, case.parts, case.seeds, strict=True)
    ]
    assert prove(dataclasses.replace(case, committed=again)) == prove(case)


def check_mask(case):
    from zkjax.commitment import Mask

    return Mask.of(SMALL, [x.part.rows for x in case.parts], [x.part.budget for x in case.parts])


def test_two_openings_of_one_commitment():
    """Shared weights in two proofs, each with a trace of its own."""
    first, second = (make_case(TINY, [2, 3], [1, 2], seed=seed) for seed in (1, 2))
    second.committed[1], second.weights[1] = first.committed[1], first.weights[1]
    from commitment_cases import inner

    second.value = inner(second.parts[0].rows, second.weights[0]) + inner(first.parts[1].rows, first.weights[1])
    for case in (first, second):
        verify(case, prove(case))


def test_wrong_value_is_rejected(case):
    for value in (case.value + 1, case.value + Ext(0, 1)):
        with pytest.raises(VerificationError, match="opening"):
            verify(case, prove(case, value=value), value=value)
        with pytest.raises(VerificationError):
            verify(case, prove(case), value=value)


def changed(body, offset, kind, rng):
    """The body with one field element plus one, or one bit flipped."""
    if kind == "field":
        value = (int.from_bytes(body[offset : offset + 8], "little") + 1) % P
        return body[:offset] + value.to_bytes(8, "little") + body[offset + 8 :]
    return body[:offset] + bytes([body[offset] ^ 1 << int(rng.integers(8))]) + body[offset + 1 :]


def places(messages, rng):
    """First, last and a random place of every message."""
    for label, kind, offset, size in messages:
        step = 8 if kind == "field" else 1
        for at in {0, size // step - 1, int(rng.integers(size // step))}:
            yield label, kind, offset + step * at


def test_every_message_is_checked(case, recorded):
    recorder, body = recorded
    rng = np.random.default_rng(0)
    labels = {label for label, *_ in recorder.messages}
    assert labels == {
        "row round", "mu", "folded padding", "folded pads", "level root", "salts", "columns", "siblings", "level round", "final vector",
    }  # fmt: skip
    for _, kind, offset in places(recorder.messages, rng):
        with pytest.raises(REJECTED):
            verify(case, changed(body, offset, kind, rng))


def test_every_message_is_checked_by_an_equation(case):
    """With the challenges frozen, no rejection comes from the transcript: each is an equation's or a path's."""
    recorder = Recorder(Frozen())
    body = prove(case, recorder)
    verify(case, body, script=Frozen())
    rng = np.random.default_rng(1)
    for label, kind, offset in places(recorder.messages, rng):
        with pytest.raises(VerificationError):
            verify(case, changed(body, offset, kind, rng), script=Frozen())
            pytest.fail(f"{label} at {offset} is not checked")


def test_malformed_bodies(case, recorded):
    recorder, body = recorded
    for end in (0, 1, len(body) // 2, len(body) - 1):
        with pytest.raises(FormatError):
            verify(case, body[:end])
    with pytest.raises(FormatError, match="after its last"):
        verify(case, body + b"\0")
    for _, kind, offset, _ in recorder.messages:
        if kind == "field":
            value = int.from_bytes(body[offset : offset + 8], "little") + P
            bad = body[:offset] + min(value, 2**64 - 1).to_bytes(8, "little") + body[offset + 8 :]
            with pytest.raises(FormatError, match="not below p"):
                verify(case, bad)
    rng = np.random.default_rng(2)
    for _ in range(20):
        with pytest.raises(REJECTED):
            verify(case, rng.bytes(len(body)))


def test_order_of_messages():
    """Hiding messages before their challenges, and everything that is bound before the queries."""
    script = Frozen()
    prove(make_case(SMALL, [3, 5]), Writer(script))
    events = script.events
    assert events[:9] == ["opening", *["row round", "row fold"] * 4]
    rest = ["mu", "eps", "folded padding", "folded pads", "level root", "queries", *["salts", "columns", "siblings"] * 2]
    assert events[9 : 9 + len(rest)] == rest
    assert events[9 + len(rest)] == "level batching"
    assert events.index("final vector") < events.index("level queries")


def test_mu_after_eps_would_accept_anything(case):
    """Why the order matters: a prover who knows eps shifts mu so that a false value passes; one who does not is rejected."""

    class Liar(Writer):
        def elements(self, label, count, values=None):
            if label == "mu":
                values = ext.stack([ext.unstack(values)[0] - shift])
            return super().elements(label, count, values)

    def script():
        return Frozen(seed=7)

    draws, product = script(), Ext(1)
    for _ in range(4):
        product = product * draws.challenge("row fold")
    eps = draws.challenge("eps")
    shift = eps * product
    false = case.value + 1
    verify(case, prove(case, Liar(script()), false), value=false, script=script())
    with pytest.raises(VerificationError):
        verify(case, prove(case, Liar(transcript()), false), value=false)


def test_rows_of_too_high_degree_are_rejected(case):
    """A word far from the code: one more coefficient than the geometry allows."""
    honest = case.committed[0]

    class Far(Encoded):
        def polynomials(self, start):
            pair = np.pad(super().polynomials(start), ((0, 0), (0, 200)))
            pair[0, -1] = 1
            return pair

    far = recommitted(dataclasses.replace(honest, parts=(Far(**vars(only_part(honest))),)))
    bad = dataclasses.replace(case, committed=[far, *case.committed[1:]])
    with pytest.raises(VerificationError):
        verify(bad, prove(bad))


def test_coefficients_beyond_the_budget_need_no_enforcement(case):
    """Rows of budget 1 beside a budget of 2 may carry up to t random coefficients."""
    weights, trace = case.committed
    rng = np.random.default_rng(9)
    length = only_part(weights).padding.shape[1]
    longer = recommitted(with_part(trace, padding=random_base(rng, length, 1).T.repeat(5, axis=0)))
    other = dataclasses.replace(case, committed=[weights, longer])
    verify(other, prove(other))


def test_recommitting_changes_nothing(case):
    assert recommitted(case.committed[0]).commitment == case.commitments[0]


def test_statement_is_bound(case, recorded):
    _, body = recorded
    weights, trace = case.commitments
    changes = [
        [dataclasses.replace(weights, number=5), trace],
        [dataclasses.replace(weights, kind="shard"), trace],
        [changed_part(weights, budget=1), trace],
        [dataclasses.replace(weights, root=bytes(32)), trace],
        [changed_part(weights, rows=4), trace],
        [changed_part(weights, rows=2), trace],
        [changed_part(weights, name="other"), trace],
        [trace, weights],
    ]
    for commitments in changes:
        with pytest.raises(REJECTED):
            verify(case, body, commitments=commitments)
    with pytest.raises(REJECTED):
        verify(case, body, geometry=dataclasses.replace(SMALL, level_bits=19))


def test_commitments_that_must_not_be_opened(case, recorded):
    _, body = recorded
    weights, trace = case.commitments
    bad = [
        [changed_part(weights, budget=0), trace],
        [changed_part(weights, budget=3), trace],
        [weights, changed_part(trace, budget=2)],
        [weights, dataclasses.replace(trace, masked=False)],
        [dataclasses.replace(changed_part(weights, budget=1), masked=True), trace],
    ]
    for commitments in bad:
        with pytest.raises(ConfigurationError):
            check_opening(SMALL, [c.opened() for c in commitments])
        with pytest.raises(VerificationError, match="commitments"):
            verify(case, body, commitments=commitments)
    with pytest.raises(VerificationError, match="an eighth"):
        verify(case, body, geometry=dataclasses.replace(SMALL, level_bits=60))


def test_mask_for_another_opening_is_refused(case):
    trace = case.committed[1]
    for committed in ([trace], [*case.committed, case.committed[0], case.committed[0]]):
        weights = [case.weights[1]] * len(committed)
        with pytest.raises(ConfigurationError, match="mask rows"):
            prove(dataclasses.replace(case, committed=committed, weights=weights))


def test_verifier_reads_no_more_than_the_statement_needs(case, recorded):
    """Sizes come from the statement: a statement with more rows asks for more bytes than the body has."""
    _, body = recorded
    weights, trace = case.commitments
    huge = changed_part(weights, rows=1 << 20)
    with pytest.raises(FormatError):
        verify(case, body, commitments=[huge, trace])
