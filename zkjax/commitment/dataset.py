"""The dataset's root: a SHA-256 tree over the commitments of its shards, bound to sample count and shard size.

A proof opens only the shards that it reads, and shows each one's path to this root.

PROTOCOL.md, section 8.5.
"""

import hashlib
import struct

from ..algebra.poly import num_bits


def _leaf(digest: bytes) -> bytes:
    return hashlib.sha256(b"zkjax dataset leaf\0" + digest).digest()


def _node(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"zkjax dataset node\0" + left + right).digest()


def _top(samples: int, shard_size: int, root: bytes) -> bytes:
    return hashlib.sha256(b"zkjax dataset root\0" + struct.pack("<QQ", samples, shard_size) + root).digest()


def shard_count(samples: int, shard_size: int) -> int:
    """Number of shards; the last one may be smaller."""
    return -(-samples // shard_size)


def dataset_root(digests: list[bytes], samples: int, shard_size: int) -> tuple[bytes, list[list[bytes]]]:
    """The root over all shards' digests, and each shard's path (siblings, lowest first)."""
    level = [_leaf(d) for d in digests] + [bytes(32)] * ((1 << num_bits(len(digests))) - len(digests))
    paths: list[list[bytes]] = [[] for _ in digests]
    depth = 0
    while len(level) > 1:
        for i, path in enumerate(paths):
            path.append(level[(i >> depth) ^ 1])
        level = [_node(a, b) for a, b in zip(level[::2], level[1::2], strict=True)]
        depth += 1
    return _top(samples, shard_size, level[0]), paths


def root_from_path(digest: bytes, number: int, path: list[bytes], samples: int, shard_size: int) -> bytes:
    """The root that a shard's digest and path lead to."""
    node = _leaf(digest)
    for depth, sibling in enumerate(path):
        node = _node(sibling, node) if number >> depth & 1 else _node(node, sibling)
    return _top(samples, shard_size, node)
