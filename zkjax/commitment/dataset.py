"""The dataset's root: a SHA-256 tree over the commitments of its shards, bound to sample count and shard size.

A proof opens only the shards that it reads; the siblings of all of them together lead to the root. Where it replaces some of their
commitments, the same siblings lead to the new root: so no other shard has changed.

PROTOCOL.md, section 8.5.
"""

import hashlib
import struct

from ..algebra.poly import num_bits
from .merkle import missing, root_of


def _leaf(digest: bytes) -> bytes:
    return hashlib.sha256(b"zkjax dataset leaf\0" + digest).digest()


def _node(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"zkjax dataset node\0" + left + right).digest()


def _top(samples: int, shard_size: int, root: bytes) -> bytes:
    return hashlib.sha256(b"zkjax dataset root\0" + struct.pack("<QQ", samples, shard_size) + root).digest()


def shard_count(samples: int, shard_size: int) -> int:
    """Number of shards; the last one may be smaller."""
    return -(-samples // shard_size)


def dataset_root(digests: list[bytes], opened: list[int], samples: int, shard_size: int) -> tuple[bytes, list[bytes]]:
    """The root over all shards' digests, and the siblings that lead there from the opened ones (ascending numbers)."""
    level = [_leaf(d) for d in digests] + [bytes(32)] * ((1 << num_bits(len(digests))) - len(digests))
    siblings: list[bytes] = []
    for absent in missing(opened, num_bits(len(digests))):
        siblings += [level[i] for i in absent]
        level = [_node(a, b) for a, b in zip(level[::2], level[1::2], strict=True)]
    return _top(samples, shard_size, level[0]), siblings


def root_from_siblings(digests: dict[int, bytes], siblings: list[bytes], samples: int, shard_size: int) -> bytes:
    """The root that shards' digests, by ascending number, and siblings lead to. Raises FormatError for another number of siblings."""
    depth = num_bits(shard_count(samples, shard_size))
    leaves = [_leaf(d) for d in digests.values()]
    return _top(samples, shard_size, root_of(leaves, list(digests), b"".join(siblings), depth, _node))
