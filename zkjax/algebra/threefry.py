"""Threefry-2x32 with 20 rounds, as JAX draws random words from keys, on uint32 arrays of NumPy and of jax.numpy alike.

A key is two words. Random words of a shape come from a 64-bit counter over its entries, row-major ("partitionable"), and do not depend
on JAX's settings. Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3" (2011).

PROTOCOL.md, section 5.7.
"""

import numpy as np

ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
PARITY = np.uint32(0x1BD11BDA)
BLOCK = 2**14  # words that NumPy draws at once: they stay in a core's cache


def block(key, x0, x1):
    """The cipher: two words of a key, two words of a counter, two words; uint32 arrays that broadcast, with an axis at least."""
    schedule = key[0], key[1], key[0] ^ key[1] ^ PARITY
    x0, x1 = x0 + schedule[0], x1 + schedule[1]
    for i in range(5):
        for r in ROTATIONS[i % 2]:
            x0 = x0 + x1
            x1 = ((x1 << np.uint32(r)) | (x1 >> np.uint32(32 - r))) ^ x0
        x0 = x0 + schedule[(i + 1) % 3]
        x1 = x1 + schedule[(i + 2) % 3] + np.uint32(i + 1)
    return x0, x1


def fold_in(key, data):
    """The keys that keys and words of data lead to, as ``jax.random.fold_in``; row i of ``jax.random.split`` is that of i."""
    return block(key, np.uint32([0]), data)


def bits(keys, size: int, xp=np):
    """uint32 (n, size), the words of n keys, as of ``jax.random.bits``; keys: uint32 (n, 2). xp: numpy or jax.numpy."""

    def words(start: int, stop: int):
        first, second = block((keys[:, :1], keys[:, 1:]), np.uint32([0]), xp.arange(start, stop, dtype=np.uint32))
        return first ^ second

    if xp is not np:
        return words(0, size)
    width = max(1, BLOCK // len(keys))
    return np.concatenate([words(i, min(i + width, size)) for i in range(0, size, width)], axis=1)
