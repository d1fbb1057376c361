"""Merkle trees over columns, and one authentication path for many of them.

A column hashes to  tag | index | entries | salt | column  (64 bytes, then 8 bytes an entry); the tag names tree and part. That is a
leaf, or, in a tree of two parts, one half of what a leaf hashes. A multiproof holds the missing siblings level by level, left to
right: their number follows from the indices.

PROTOCOL.md, sections 8.2, 8.3.
"""

import hashlib

import numpy as np

from ..algebra.hashing import BLOCK, CHUNK, DIGEST, LEAF, NODE, compress, initial_state
from ..errors import FormatError

PAIR = b"zkjxpair"  # not that of an inner node: a tree of two parts would be one of twice as many leaves too


def part_tag(kind: str, number: int, part: str) -> bytes:
    """Identifies a part of a tree by what it holds, never by its role in a proof."""
    return hashlib.blake2s(f"{number} {kind} {part}".encode(), person=b"zkjxtree").digest()


def leaf_header(tag: bytes, index: int, entries: int, salt: bytes) -> bytes:
    """The first block of a leaf."""
    return tag + index.to_bytes(8, "little") + entries.to_bytes(8, "little") + salt


def leaf_headers(tag: bytes, entries: int, salts: np.ndarray) -> np.ndarray:
    """The same for all columns, as (16, n) uint32; salts: (4, n) uint32."""
    words = np.zeros((BLOCK // 4, salts.shape[1]), dtype=np.uint32)
    words[:8] = np.frombuffer(tag, dtype="<u4").reshape(8, 1)
    words[8] = np.arange(salts.shape[1])
    words[10] = entries
    words[12:] = salts
    return words


def leaf(tag: bytes, index: int, salt: bytes, column: np.ndarray) -> bytes:
    """Digest of one column of F entries, of one part."""
    return hashlib.blake2s(leaf_header(tag, index, len(column), salt) + column.astype("<u8").tobytes(), person=LEAF).digest()


def pair(first: bytes, second: bytes) -> bytes:
    """The leaf over a column of each part, in their order."""
    return hashlib.blake2s(first + second, person=PAIR).digest()


def paired(digests, compress) -> np.ndarray:
    """The leaves (8, n) over the columns' digests of one part, or of two. compress: of many columns."""
    if len(digests) == 1:
        return digests[0]
    return np.asarray(compress(initial_state(PAIR), np.concatenate(digests), BLOCK, True))


def node(left: bytes, right: bytes) -> bytes:
    """Digest of an inner node."""
    return hashlib.blake2s(left + right, person=NODE).digest()


class Tree:
    """All nodes above given leaf digests ((8, n) uint32, n a power of two); levels[0] are the leaves.

    parents: the nodes above an even number of them, jitted for many.
    """

    def __init__(self, leaves: np.ndarray, parents=None):
        self.levels = [leaves]
        while leaves.shape[1] > CHUNK:
            leaves = (parents or _parents)(leaves)
            self.levels.append(leaves)
        nodes = leaves.T.astype("<u4").tobytes()
        while len(nodes) > DIGEST:
            pairs = range(0, len(nodes), 2 * DIGEST)
            nodes = b"".join(hashlib.blake2s(nodes[i : i + 2 * DIGEST], person=NODE).digest() for i in pairs)
            self.levels.append(np.frombuffer(nodes, dtype="<u4").reshape(-1, 8).T)
        self.root = nodes

    @property
    def nbytes(self) -> int:
        return sum(level.nbytes for level in self.levels)

    def siblings(self, indices: list[int]) -> bytes:
        """The multiproof of these leaves; indices sorted and distinct."""
        levels = zip(self.levels, missing(indices, len(self.levels) - 1))
        return b"".join(level[:, absent].T.astype("<u4").tobytes() for level, absent in levels)


def _parents(nodes: np.ndarray) -> np.ndarray:
    return compress(initial_state(NODE), np.concatenate([nodes[:, 0::2], nodes[:, 1::2]]), BLOCK, True)


def missing(indices: list[int], depth: int) -> list[list[int]]:
    """For each level, from the leaves up, the siblings that a verifier of these leaves cannot compute. indices: sorted and distinct."""
    levels = []
    for _ in range(depth):
        known = set(indices)
        levels.append([i ^ 1 for i in indices if i ^ 1 not in known])
        indices = sorted({i >> 1 for i in indices})
    return levels


def siblings_bytes(indices: list[int], depth: int) -> int:
    """Length of the multiproof of these leaves."""
    return DIGEST * sum(len(level) for level in missing(indices, depth))


def root_of(leaves: list[bytes], indices: list[int], siblings: bytes, depth: int, join=node) -> bytes:
    """The root that these leaves and siblings lead to. Raises FormatError where the number of siblings is wrong.

    join: digests of two nodes to that of the one above.
    """
    if len(siblings) != siblings_bytes(indices, depth):
        raise FormatError(f"a multiproof of {len(siblings)} bytes, expected {siblings_bytes(indices, depth)}")
    nodes, at = dict(zip(indices, leaves, strict=True)), 0
    for level in missing(indices, depth):
        for i in level:
            nodes[i] = siblings[at : at + DIGEST]
            at += DIGEST
        nodes = {i >> 1: join(nodes[i], nodes[i | 1]) for i in nodes if not i & 1}
    return nodes[0]
