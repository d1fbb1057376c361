"""BLAKE2s-256 of many messages at once, NumPy and jax.numpy alike, and the random streams made of it.

One message is one column: state and digest are (8, N) uint32, a block of 64 bytes is (16, N) uint32, little-endian words.
All lengths are equal, so one counter serves all columns. ``hashlib.blake2s`` with the same ``person`` gives the same
digests, one message at a time: the verifier uses that, and the host, where NumPy's passes over whole blocks take longer.

Source: RFC 7693 (parameter block with digest length 32, fanout 1, depth 1 and the personalisation string).

PROTOCOL.md, section 8.2.
"""

import hashlib

import numpy as np

from .field import P, reduce_wide

LEAF, NODE, STREAM = b"zkjxleaf", b"zkjxnode", b"zkjxseed"  # personalisation: no use of the hash can stand for another
DIGEST = 32
BLOCK = 64
CHUNK = 2**13  # columns of one call of the jitted kernels; fewer stay on the host
BLOCK_ROWS = 8  # rows of field elements in a block

_IV = np.array([0x6A09E667, 0xBB67AE85, 0x3C6EF372, 0xA54FF53A, 0x510E527F, 0x9B05688C, 0x1F83D9AB, 0x5BE0CD19], dtype=np.uint32)
_SIGMA = np.array(
    [
        [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15],
        [14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3],
        [11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4],
        [7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8],
        [9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13],
        [2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9],
        [12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11],
        [13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10],
        [6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5],
        [10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0],
    ],
    dtype=np.int32,
)
# the four message words of each half round, in the order of its four parallel lanes
_SCHEDULE = _SIGMA.reshape(10, 2, 4, 2).transpose(0, 1, 3, 2).reshape(10, 4, 4)


def initial_state(person: bytes) -> np.ndarray:
    """(8, 1) uint32: the state before the first block."""
    parameters = np.frombuffer(bytes([DIGEST, 0, 1, 1]) + bytes(20) + person.ljust(8, b"\0"), dtype="<u4")
    return (_IV ^ parameters).astype(np.uint32).reshape(8, 1)


def compress(state, block, length, last):
    """Absorb one block: (8, N) and (16, N) uint32 to (8, N).

    length: bytes so far, this block included; last: whether it is the final one. Both may be traced.
    """
    xp = _namespace(block)
    length, last = xp.asarray(length).astype(np.uint32), xp.asarray(last).astype(np.uint32)
    state = xp.broadcast_to(state, (8, block.shape[1]))
    iv = xp.broadcast_to(xp.asarray(_IV).reshape(8, 1), state.shape)
    change = xp.stack([length, length & np.uint32(0), last * np.uint32(2**32 - 1), last & np.uint32(0)]).reshape(4, 1)
    rows = state[:4], state[4:], iv[:4], iv[4:] ^ change
    if xp is np:
        for schedule in _SCHEDULE:
            rows = _round(rows, [block[words] for words in schedule])
    else:
        import jax

        table = xp.asarray(_SCHEDULE)
        rows = jax.lax.fori_loop(0, 10, lambda i, rows: _round(rows, [block[table[i, j]] for j in range(4)]), rows)
    a, b, c, d = rows
    return state ^ xp.concatenate([a ^ c, b ^ d])


def hash_columns(header, groups, entries: int, person: bytes = LEAF) -> np.ndarray:
    """Digests (8, N) of messages  header | column,  NumPy.

    header: (16, N) uint32, the first block; groups: the columns' rows in order, as arrays (r, N) uint64, each block of eight
    rows in whole arrays; what is there beyond ``entries`` rows is left out.
    """
    hashes = [hashlib.blake2s(column, person=person) for column in _columns(header)]
    left = entries
    for rows, _, _ in row_blocks(groups, entries):
        block = np.concatenate(rows)[:left]
        left -= len(block)
        for message, column in zip(hashes, _columns(block), strict=True):
            message.update(column)
    return _digests(message.digest() for message in hashes)


def _columns(block: np.ndarray) -> list[bytes]:
    """The columns of a block of words."""
    size = block.itemsize * len(block)
    columns = np.ascontiguousarray(block.T).astype(block.dtype.newbyteorder("<")).tobytes()
    return [columns[i : i + size] for i in range(0, len(columns), size)]


def _digests(digests) -> np.ndarray:
    """Digests as columns: (8, N) uint32."""
    return np.frombuffer(b"".join(digests), dtype="<u4").astype(np.uint32).reshape(-1, DIGEST // 4).T


def row_blocks(groups, entries: int):
    """Blocks of eight rows: (list of arrays, length of the message so far, whether it ends here)."""
    done, rows, length = 0, [], 0
    for group in groups:
        rows.append(group)
        length += group.shape[0]
        done += group.shape[0]
        if length == BLOCK_ROWS or done >= entries:
            yield rows, BLOCK + 8 * min(done, entries), done >= entries
            rows, length = [], 0


def _round(rows, words):
    """One round: G on the columns of the 4 x 4 state, then on its diagonals. words: four arrays (4, N)."""
    a, b, c, d = _mix(*rows, words[0], words[1])
    a, b, c, d = _mix(a, _turn(b, 1), _turn(c, 2), _turn(d, 3), words[2], words[3])
    return a, _turn(b, 3), _turn(c, 2), _turn(d, 1)


def _mix(a, b, c, d, x, y):
    a = a + b + x
    d = _rotate(d ^ a, 16)
    c = c + d
    b = _rotate(b ^ c, 12)
    a = a + b + y
    d = _rotate(d ^ a, 8)
    c = c + d
    b = _rotate(b ^ c, 7)
    return a, b, c, d


def _rotate(x, bits: int):
    return (x >> np.uint32(bits)) | (x << np.uint32(32 - bits))


def _turn(row, by: int):
    return _namespace(row).concatenate([row[by:], row[:by]])


def _namespace(array):
    if isinstance(array, np.ndarray):
        return np
    import jax.numpy as jnp

    return jnp


# ---- streams: a secret seed expanded in counter mode --------------------------------------------------------------


def stream_block(seed: bytes, label: str, counter: int) -> bytes:
    """Block ``counter`` of the stream ``label`` of a 32-byte secret seed: 32 uniform bytes."""
    return hashlib.blake2s(_stream_head(seed, label) + counter.to_bytes(8, "little"), person=STREAM).digest()


def stream_blocks(seed: bytes, label: str, start: int, count: int, compress=None):
    """Blocks start .. start+count-1 as (8, count) uint32; ``compress`` may be given for many: one that is compiled."""
    if compress is None:
        return _digests(stream_block(seed, label, start + i) for i in range(count))
    head = np.frombuffer(_stream_head(seed, label), dtype="<u4").astype(np.uint32)
    counters = np.arange(start, start + count, dtype=np.uint64)
    message = np.zeros((16, count), dtype=np.uint32)
    message[:12] = head.reshape(12, 1)
    message[12], message[13] = counters & np.uint64(2**32 - 1), counters >> np.uint64(32)
    return compress(initial_state(STREAM), message, 56, True)


def field_stream(seed: bytes, label: str, count: int, compress=None) -> np.ndarray:
    """``count`` uniform elements of F from one stream: of each block's four words the first one below p.

    That all four are not below p has probability 2^-128; the last one is then reduced.
    """
    words = np.asarray(stream_blocks(seed, label, 0, count, compress)).astype(np.uint64)
    candidates = words[0::2] | words[1::2] << np.uint64(32)
    chosen = reduce_wide(candidates[3] & np.uint64(0), candidates[3])
    for candidate in candidates[2::-1]:
        chosen = np.where(candidate < np.uint64(P), candidate, chosen)
    return chosen


def _stream_head(seed: bytes, label: str) -> bytes:
    name = label.encode()
    if len(seed) != 32 or len(name) > 16:
        raise ValueError("a stream takes a seed of 32 bytes and a label of at most 16")
    return seed + name.ljust(16, b"\0")
