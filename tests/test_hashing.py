"""BLAKE2s on columns and the random streams against hashlib, on the host and in the kernels."""

import hashlib

import jax
import numpy as np
import pytest

from zkjax.algebra import hashing
from zkjax.algebra.field import P
from zkjax.algebra.hashing import BLOCK, CHUNK, LEAF, STREAM, field_stream, hash_columns, initial_state, stream_block, stream_blocks
from zkjax.kernels.threads import scope

SEED = bytes(range(32))


def digest_bytes(digests):
    return [np.asarray(column).astype("<u4").tobytes() for column in np.asarray(digests).T]


def column_messages(header, rows):
    return [header[:, i].astype("<u4").tobytes() + rows[:, i].astype("<u8").tobytes() for i in range(header.shape[1])]


def random_case(entries, columns, seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 2**32, (16, columns), dtype=np.uint32), rng.integers(0, 2**64, (entries, columns), dtype=np.uint64)


def test_rfc_7693_vector():
    """BLAKE2s-256("abc"), RFC 7693 appendix B; without personalisation."""
    block = np.zeros((16, 1), dtype=np.uint32)
    block[0] = int.from_bytes(b"abc", "little")
    expected = "508c5e8c327c14e2e1a72ba34eeb452f37458b209ed63a294d999b4c86675982"
    assert digest_bytes(hashing.compress(initial_state(b""), block, 3, True)) == [bytes.fromhex(expected)]


def test_one_block_numpy_and_jax():
    block, _ = random_case(0, 5)
    expected = [hashlib.blake2s(block[:, i].astype("<u4").tobytes(), person=LEAF).digest() for i in range(5)]
    assert digest_bytes(hashing.compress(initial_state(LEAF), block, BLOCK, True)) == expected
    with jax.enable_x64(True):
        assert digest_bytes(jax.jit(hashing.compress)(initial_state(LEAF), block, BLOCK, True)) == expected


@pytest.mark.parametrize("entries", [1, 6, 8, 11, 16])
def test_columns(entries):
    header, rows = random_case(entries, 4)
    expected = [hashlib.blake2s(m, person=LEAF).digest() for m in column_messages(header, rows)]
    groups = [rows[i : i + 2] for i in range(0, entries, 2)]
    assert digest_bytes(hash_columns(header, groups, entries)) == expected


def test_kernels():
    from zkjax.kernels import merkle

    header, rows = random_case(12, 2 * CHUNK)
    groups = [rows[i : i + 2] for i in range(0, 12, 2)]
    with scope():
        digests = merkle.hash_columns(header, groups, 12)
        odd = merkle.hash_columns(header, [*groups[:5], np.stack([rows[10], 0 * rows[10]])], 11)
        short = merkle.compress(initial_state(LEAF), header[:, : CHUNK + 3], BLOCK, True)
        streamed = stream_blocks(SEED, "label", 2**32 - 1, CHUNK + 3, merkle.compress)
    assert np.array_equal(streamed, stream_blocks(SEED, "label", 2**32 - 1, CHUNK + 3))
    assert np.array_equal(digests, hash_columns(header, groups, 12))
    assert np.array_equal(short, hashing.compress(initial_state(LEAF), header[:, : CHUNK + 3], BLOCK, True))
    at = [0, 1, CHUNK - 1, CHUNK, 2 * CHUNK - 1]
    messages = column_messages(header[:, at], rows[:, at])
    assert digest_bytes(digests[:, at]) == [hashlib.blake2s(m, person=LEAF).digest() for m in messages]
    assert digest_bytes(odd[:, at]) == [hashlib.blake2s(m[:-8], person=LEAF).digest() for m in messages]


def test_stream():
    blocks = digest_bytes(stream_blocks(SEED, "label", 2**32 - 1, 3))
    for i, block in enumerate(blocks):
        message = SEED + b"label".ljust(16, b"\0") + (2**32 - 1 + i).to_bytes(8, "little")
        assert block == hashlib.blake2s(message, person=STREAM).digest() == stream_block(SEED, "label", 2**32 - 1 + i)
    with pytest.raises(ValueError, match="32 bytes"):
        stream_blocks(SEED[:31], "label", 0, 1)


def test_field_stream_takes_the_first_canonical_word():
    blocks = [stream_block(SEED, "x", i) for i in range(50)]
    words = [[int.from_bytes(b[i : i + 8], "little") for i in range(0, 32, 8)] for b in blocks]
    assert field_stream(SEED, "x", 50).tolist() == [w[0] for w in words]

    def forged(state, block, length, last):
        return np.array(
            [[2**32 - 1] * 3, [2**32 - 1] * 3, [1, 2**32 - 1, 2**32 - 1], [2**32 - 1] * 3] + [[2**32 - 1] * 3] * 4, dtype=np.uint32
        )

    rejected = field_stream(SEED, "x", 3, forged)
    assert rejected.tolist() == [(2**64 - 1) % P] * 3
    assert field_stream(SEED, "x", 50).tolist() == field_stream(SEED, "x", 60)[:50].tolist() != field_stream(SEED, "y", 50).tolist()


def test_stream_is_uniform():
    """Chi-square of the top four bits of 16384 elements, 15 degrees of freedom: p-value 1e-6 at 56."""
    counts = np.bincount((field_stream(SEED, "u", 1 << 14) >> np.uint64(60)).astype(int), minlength=16)
    assert ((counts - 1024.0) ** 2 / 1024).sum() < 56
