"""The public schedule: which samples each step reads. NumPy and the standard library only; part of the statement.

In each epoch the shards are permuted, then the samples of each shard; steps take consecutive runs of ``batch`` samples
of the resulting sequence, and the last incomplete run is dropped. One shard is a plain permutation. Permutations are
Fisher-Yates shuffles with rejection, so that they are uniform, from the words of SHA-256(seed, epoch, shard, counter).
"""

import hashlib
import struct
from functools import lru_cache

import numpy as np

from .errors import DataError

DOMAIN = b"zkjax schedule 1"
SHARDS = 2**64 - 1  # in the place of a shard's number: the permutation of the shards themselves


def words(seed: int, epoch: int, shard: int):
    """The stream of unsigned 32-bit words (little endian) of SHA-256(DOMAIN, seed, epoch, shard, counter), counter = 0, 1, ..."""
    counter = 0
    while True:
        digest = hashlib.sha256(DOMAIN + struct.pack("<4Q", seed, epoch, shard, counter)).digest()
        yield from struct.unpack("<8I", digest)
        counter += 1


def permutation(length: int, seed: int, epoch: int, shard: int) -> np.ndarray:
    """A uniform permutation of 0 .. length-1, as int64: for i = length-1 .. 1 swap entries i and j, j uniform in 0 .. i."""
    order, stream = list(range(length)), words(seed, epoch, shard)
    for i in range(length - 1, 0, -1):
        limit = 2**32 - 2**32 % (i + 1)  # words beyond the largest multiple of i + 1 are rejected
        word = next(stream)
        while word >= limit:
            word = next(stream)
        j = word % (i + 1)
        order[i], order[j] = order[j], order[i]
    return np.array(order, dtype=np.int64)


@lru_cache(maxsize=4)
def epoch_order(seed: int, epoch: int, samples: int, shard_size: int) -> np.ndarray:
    """All samples in the order in which an epoch reads them. Do not write to it: it is cached."""
    shards = -(-samples // shard_size)
    order = permutation(shards, seed, epoch, SHARDS)
    parts = [s * shard_size + permutation(min(shard_size, samples - s * shard_size), seed, epoch, int(s)) for s in order]
    return np.concatenate(parts)


def steps_per_epoch(samples: int, batch: int) -> int:
    """Complete batches in an epoch; DataError if there is none."""
    if batch < 1 or samples < batch:
        raise DataError(f"{samples} samples do not fill one batch of {batch}; give more data or trace with a smaller batch")
    return samples // batch


def batch_indices(seed: int, samples: int, shard_size: int | None, batch: int, first_step: int, steps: int) -> np.ndarray:
    """The samples that steps first_step .. first_step+steps-1 read: int64 of shape (steps, batch). shard_size None: one shard."""
    shard_size = samples if shard_size is None else shard_size
    if not 0 <= seed < 2**64:
        raise DataError(f"seed is {seed}; choose an integer from 0 to 2^64 - 1")
    if not 1 <= shard_size or not 1 <= samples < 2**32:
        raise DataError(f"{samples} samples in shards of {shard_size}; both must be positive, with fewer than 2^32 samples")
    if first_step < 0 or steps < 0:
        raise DataError(f"{steps} steps from step {first_step}; both must be at least 0")
    per_epoch = steps_per_epoch(samples, batch)
    rows = np.empty((steps, batch), dtype=np.int64)
    for i in range(steps):
        epoch, position = divmod(first_step + i, per_epoch)
        rows[i] = epoch_order(seed, epoch, samples, shard_size)[position * batch : (position + 1) * batch]
    return rows
