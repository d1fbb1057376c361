"""The circuit's file, digest, structure and sizes: malformed files end in one of zkjax's errors, never in a crash."""

import copy
import json

import numpy as np
import optax
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax import numpy as jnp
from jax.nn import relu

from zkjax.circuit.circuit import Circuit
from zkjax.errors import FormatError, PrecisionError, UnsupportedOperationError
from zkjax.tracing.program import trace


def loss(p, x, y):
    h = relu(x @ p["a"] + p["b"])
    h = jnp.pad(h[:, ::-1], ((0, 0), (1, 0)))[:, 1:] * np.float32([1, 0.5, 2, 1]) + h
    return jnp.mean(jnp.sum((jnp.concatenate([h, x], 1) @ p["c"].T - y) ** 2, -1))


RNG = np.random.default_rng(0)
PARAMS = {"a": RNG.normal(size=(3, 4)), "b": RNG.normal(size=4), "c": RNG.normal(size=(2, 7))}
PARAMS = {k: (v / 2).astype(np.float32) for k, v in PARAMS.items()}
BATCH = (RNG.uniform(size=(4, 3)).astype(np.float32), RNG.uniform(size=(4, 2)).astype(np.float32))
CIRCUIT = trace(loss, optax.sgd(optax.linear_schedule(0.25, 0.0, 8)), PARAMS, batch=BATCH, steps=8)
JSON = CIRCUIT.to_json()
ERRORS = (FormatError, UnsupportedOperationError, PrecisionError)


def test_round_trip(tmp_path):
    CIRCUIT.save(tmp_path / "c.json")
    again = Circuit.load(tmp_path / "c.json")
    assert again == CIRCUIT and again.digest() == CIRCUIT.digest() and hash(again) == hash(CIRCUIT)
    assert json.loads((tmp_path / "c.json").read_text()) == JSON


def test_digest_depends_on_everything():
    digests = {CIRCUIT.digest()}
    for path, value in leaves(JSON):
        changed = replaced(JSON, path, value + 1 if isinstance(value, int) and not isinstance(value, bool) else f"{value}x")
        try:
            digests.add(Circuit.from_json(changed).digest())
        except ERRORS:
            continue
    assert len(digests) > 60


def leaves(data, path=()):
    items = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else None
    if items is None:
        yield path, data
    else:
        for key, value in items:
            yield from leaves(value, (*path, key))


def replaced(data, path, value):
    data = copy.deepcopy(data)
    place = data
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return data


LEAVES = [path for path, _ in leaves(JSON)]
VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.integers(-2, 40),
    st.floats(),
    st.text(max_size=5),
    st.lists(st.integers(-2, 9), max_size=4),
    st.just({}),
    st.just([[]]),
)


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_mutated_files_raise_only_our_errors(data):
    path = data.draw(st.sampled_from(LEAVES))
    path = path[: data.draw(st.integers(1, len(path)))]
    survives(replaced(JSON, path, data.draw(VALUES)))


def test_every_leaf_replaced_by_every_kind():
    for path in LEAVES:
        for value in (None, True, -1, 2**64, 1.5, "", [], {}):
            survives(replaced(JSON, path, value))


def survives(data):
    """A changed circuit is refused, or usable: bounds, sizes and printing still work."""
    try:
        circuit = Circuit.from_json(data)
        circuit.bounds(tuple(2**20 for _ in circuit.parameters), 4)
        assert str(circuit) and circuit.counts(2).cells >= 0
        assert Circuit.from_json(json.loads(json.dumps(circuit.to_json()))) == circuit
    except ERRORS:
        pass


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b"null", b'{"format": "zkjax circuit"}', b"[" * 100_000, b'"\xed\xa0\x80"', b"\xff"])
def test_broken_files(tmp_path, text):
    (tmp_path / "c.json").write_bytes(text)
    with pytest.raises(FormatError):
        Circuit.load(tmp_path / "c.json")


def test_other_versions_are_refused_by_name():
    with pytest.raises(FormatError, match="version 99"):
        Circuit.from_json({**JSON, "version": 99})


def test_bounds_grow_with_the_steps():
    initial = tuple(2**20 for _ in CIRCUIT.parameters)
    one, two = CIRCUIT.bounds(initial, 1), CIRCUIT.bounds(initial, 2)
    assert one.inside == initial and all(a < b for a, b in zip(one.final, two.final, strict=True))
    assert CIRCUIT.bounds(one.final, 1, first_step=1).final == two.final
    with pytest.raises(PrecisionError, match="schedule"):
        CIRCUIT.bounds(initial, 8, first_step=1)
    with pytest.raises(PrecisionError, match=r"2\^6\d"):
        CIRCUIT.bounds(tuple(2**61 for _ in initial), 1)


def test_printed_circuit():
    text = str(CIRCUIT)
    assert CIRCUIT.digest().hex()[:16] in text
    for word in ("rescale", "a forward", "c error", "8 steps", "rate of updates: ", f"{CIRCUIT.counts(1).cells:,} committed cells"):
        assert word in text
    assert max(map(len, text.splitlines())) < 180 and not any(line != line.rstrip() for line in text.splitlines())


def test_counts_add_up():
    counts = CIRCUIT.counts(3)
    assert counts.cells == 3 * CIRCUIT.counts(1).cells and counts.table_entries == CIRCUIT.counts(1).table_entries
    assert counts.parameters == 12 + 4 + 14 and CIRCUIT.counts(3, (CIRCUIT.table_bits,) * 3).lookups == counts.lookups + 30


def test_text_is_safe_to_print():
    data = copy.deepcopy(JSON)
    data["parameters"][0]["path"] = "a\x1b[2J"
    with pytest.raises(FormatError, match="printable"):
        Circuit.from_json(data)
