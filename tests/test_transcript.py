"""Fiat-Shamir: no two sequences of messages share a state, and streams refuse what is not canonical."""

import hashlib
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zkjax.algebra import extension as ext
from zkjax.algebra.extension import Ext
from zkjax.algebra.field import P
from zkjax.errors import FormatError
from zkjax.protocol.transcript import PROTOCOL_VERSION, Reader, Transcript, Writer, base_bytes, element_bytes

absorbs = st.lists(st.tuples(st.text(max_size=4), st.binary(max_size=6)), max_size=5)


def transcript():
    return Transcript(b"parameters", b"statement")


def state_after(messages):
    t = transcript()
    for label, data in messages:
        t.absorb(label, data)
    return t.state


@given(absorbs, absorbs)
def test_different_messages_give_different_states(first, second):
    assert (state_after(first) == state_after(second)) == (first == second)


@given(absorbs, st.data())
def test_moving_bytes_between_messages_changes_the_state(messages, data):
    """The classic ambiguity: the same bytes, cut or labelled differently."""
    label, cut = "m", data.draw(st.integers(0, 5))
    whole = b"\0" * 5
    states = {
        state_after([*messages, (label, whole[:cut]), (label, whole[cut:])]),
        state_after([*messages, (label, whole)]),
        state_after([*messages, (label + whole[:1].decode(), whole[1:])]),
        state_after([*messages, (label, whole + b"\0")]),
    }
    assert len(states) == 4


def test_start_binds_version_parameters_and_statement():
    states = {Transcript(a, b).state for a, b in [(b"", b""), (b"x", b""), (b"", b"x"), (b"xy", b""), (b"x", b"y")]}
    assert len(states) == 5
    state = hashlib.sha256(b"zkjax transcript %d" % PROTOCOL_VERSION).digest()
    for label in (b"parameters", b"statement"):
        state = hashlib.sha256(state + b"absorb" + struct.pack("<HQ", len(label), 1) + label + b"x").digest()
    assert Transcript(b"x", b"x").state == state


def test_a_draw_is_no_absorb_and_changes_the_state():
    a, b = transcript(), transcript()
    a.absorb("x", b"")
    b.challenge("x")
    assert a.state != b.state != transcript().state
    c, d = transcript(), transcript()
    assert c.challenge("x") != c.challenge("x")
    assert d.challenge("y") != transcript().challenge("x")


def test_challenges_follow_their_definition():
    t, name = transcript(), b"r"
    state = hashlib.sha256(t.state + b"draw" + struct.pack("<HQ", len(name), 64) + name).digest()
    raw = b"".join(hashlib.sha256(state + b"block" + struct.pack("<Q", i)).digest() for i in range(2))
    words = [int.from_bytes(raw[i : i + 16], "little") for i in range(0, 64, 16)]
    assert t.challenges("r", 2) == [Ext(words[0], words[1]), Ext(words[2], words[3])]
    assert t.state == state


def test_indices_use_exact_bits():
    values = transcript().indices("columns", 3000, 3)
    assert set(values) == set(range(8))
    assert transcript().indices("columns", 5, 0) == [0] * 5


def test_byte_order():
    assert base_bytes(np.array([1, 2**32], dtype=np.uint64)) == bytes([1, *[0] * 7, 0, 0, 0, 0, 1, 0, 0, 0])
    assert element_bytes(ext.stack([Ext(1, 2), Ext(3, 4)])) == base_bytes(np.array([1, 2, 3, 4], dtype=np.uint64))


def written():
    writer = Writer(transcript())
    writer.elements("elements", 2, ext.stack([Ext(1, P - 1), Ext(2, 3)]))
    writer.base("base", 3, np.array([4, 5, P - 1], dtype=np.uint64))
    writer.raw("raw", 5, b"abcde")
    return writer


def read(body):
    reader = Reader(transcript(), body)
    values = ext.unstack(reader.elements("elements", 2)), reader.base("base", 3).tolist(), reader.raw("raw", 5)
    reader.finish()
    return values, reader.transcript.state


def test_reader_returns_what_the_writer_sent():
    writer = written()
    values, state = read(bytes(writer))
    assert values == ([Ext(1, P - 1), Ext(2, 3)], [4, 5, P - 1], b"abcde")
    assert state == writer.transcript.state


def test_reader_refuses_malformed_bodies():
    body = bytes(written())
    for size in range(len(body)):
        with pytest.raises(FormatError, match="proof ends inside"):
            read(body[:size])
    with pytest.raises(FormatError, match="1 bytes after its last message"):
        read(body + b"\0")
    for offset in range(0, len(body) - 5, 8):
        for value in (P, P + 1, 2**64 - 1):
            with pytest.raises(FormatError, match="not below p"):
                read(body[:offset] + value.to_bytes(8, "little") + body[offset + 8 :])


def test_every_byte_reaches_the_state():
    body = bytes(written())
    state = read(body)[1]
    for i in range(len(body)):
        try:
            assert read(body[:i] + bytes([body[i] ^ 1]) + body[i + 1 :])[1] != state
        except FormatError:
            assert body[i - i % 8 : i - i % 8 + 8] == (P - 1).to_bytes(8, "little")  # p - 1 + 1 is not canonical


def test_writer_refuses_wrong_counts():
    writer = Writer(transcript())
    for send in (
        lambda: writer.elements("x", 2, ext.stack([1])),
        lambda: writer.base("x", 2, np.zeros(3, dtype=np.uint64)),
        lambda: writer.raw("x", 2, b"abc"),
        lambda: writer.raw("x", 2),
    ):
        with pytest.raises(ValueError, match="x: "):
            send()
