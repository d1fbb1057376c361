"""Trees against a plain recursion, and multiproofs of every shape."""

import hashlib

import numpy as np
import pytest

from zkjax.algebra.hashing import CHUNK, LEAF, NODE, hash_columns
from zkjax.commitment.merkle import Tree, leaf, leaf_headers, node, part_tag, root_of, siblings_bytes
from zkjax.errors import FormatError


def random_leaves(n, seed=0):
    return np.random.default_rng(seed).integers(0, 2**32, (8, n), dtype=np.uint32)


def plain_root(leaves):
    while len(leaves) > 1:
        leaves = [hashlib.blake2s(a + b, person=NODE).digest() for a, b in zip(leaves[::2], leaves[1::2])]
    return leaves[0]


def leaf_bytes(leaves):
    return [column.astype("<u4").tobytes() for column in leaves.T]


@pytest.mark.parametrize("log_n", [0, 1, 4])
def test_root(log_n):
    leaves = random_leaves(1 << log_n)
    assert Tree(leaves).root == plain_root(leaf_bytes(leaves))


def test_root_of_a_tree_hashed_in_columns():
    leaves = random_leaves(4 * CHUNK)
    assert Tree(leaves).root == plain_root(leaf_bytes(leaves))


@pytest.mark.parametrize("indices", [[0], [7], [0, 1], [0, 2, 3, 9, 15], list(range(16))])
def test_multiproof(indices):
    leaves = random_leaves(16)
    tree, digests = Tree(leaves), leaf_bytes(leaves)
    opened = [digests[i] for i in indices]
    proof = tree.siblings(indices)
    assert len(proof) == siblings_bytes(indices, 4)
    assert root_of(opened, indices, proof, 4) == tree.root
    wrong = [opened[0][:-1] + bytes([opened[0][-1] ^ 1]), *opened[1:]]
    assert root_of(wrong, indices, proof, 4) != tree.root
    for bad in (proof + bytes(32), proof + b"\0", proof[:-32] if proof else bytes(32)):
        with pytest.raises(FormatError, match="multiproof"):
            root_of(opened, indices, bad, 4)


def test_siblings_come_level_by_level_from_left_to_right():
    leaves = random_leaves(8)
    tree, d = Tree(leaves), leaf_bytes(leaves)
    assert tree.siblings([1, 6]) == d[0] + d[7] + node(d[2], d[3]) + node(d[4], d[5])


def test_leaf_binds_everything():
    column, salt = np.arange(5, dtype=np.uint64), bytes(range(16))
    tag = part_tag("weights", 3, "cells")
    digests = {leaf(tag, 7, salt, column)}
    digests |= {leaf(part_tag("trace", 3, "cells"), 7, salt, column), leaf(part_tag("weights", 4, "cells"), 7, salt, column)}
    digests |= {leaf(tag, 8, salt, column), leaf(tag, 7, bytes(16), column), leaf(tag, 7, salt, column + np.uint64(1))}
    digests |= {leaf(tag, 7, salt, np.append(column, np.uint64(0))), hashlib.blake2s(tag, person=NODE).digest()}
    assert len(digests) == 8


def test_leaves_in_columns():
    salts = np.random.default_rng(1).integers(0, 2**32, (4, 4), dtype=np.uint32)
    columns = np.random.default_rng(2).integers(0, 2**63, (5, 4), dtype=np.uint64)
    tag = part_tag("shard", 2, "cells")
    digests = hash_columns(leaf_headers(tag, 5, salts), [columns[:4], columns[4:]], 5, LEAF)
    expected = [leaf(tag, i, salts[:, i].astype("<u4").tobytes(), columns[:, i]) for i in range(4)]
    assert leaf_bytes(digests) == expected
