"""The public schedule: which samples each step reads. NumPy and the standard library only; part of the statement.

In each epoch the shards are permuted, then the samples of each shard; steps take consecutive runs of ``batch`` samples
of the resulting sequence, and the last incomplete run is dropped. One shard is a plain permutation. Permutations are
Fisher-Yates shuffles with rejection, so that they are uniform, from the words of SHA-256(seed, epoch, shard, counter).

PROTOCOL.md, section 6.
"""

import hashlib
import struct
from functools import lru_cache

import numpy as np

from ..errors import DataError
from ..work import CALL, PASSING, SCALAR, Meter

DOMAIN = b"zkjax schedule 1"
MAX_SHARD = 2**20  # samples of a shard, and shards: so that a statement cannot ask a verifier for endless work
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


@lru_cache(maxsize=8)
def shard_order(length: int, seed: int, epoch: int, shard: int) -> np.ndarray:
    """``permutation``, cached. Do not write to it."""
    return permutation(length, seed, epoch, shard)


def epoch_samples(seed: int, epoch: int, samples: int, shard_size: int, start: int, stop: int) -> np.ndarray:
    """Entries start .. stop-1 of the order in which an epoch reads its samples; only the shards that are read are permuted."""
    count = -(-samples // shard_size)
    order = shard_order(count, seed, epoch, SHARDS)
    sizes = np.where(order == count - 1, samples - (count - 1) * shard_size, shard_size)
    ends = np.cumsum(sizes)
    parts = []
    for i in range(int(np.searchsorted(ends, start, side="right")), count):
        first = int(ends[i] - sizes[i])
        if first >= stop:
            break
        inside = shard_order(int(sizes[i]), seed, epoch, int(order[i]))[max(0, start - first) : stop - first]
        parts.append(int(order[i]) * shard_size + inside)
    return np.concatenate(parts)


def schedule_work(samples: int, shard_size: int, batch: int, first_step: int, steps: int, meter: Meter) -> None:
    """Charge what ``batch_indices`` takes, for a schedule that exists."""
    per_epoch, shards = max(1, samples // batch), -(-samples // shard_size)
    epochs = (first_step + steps - 1) // per_epoch - first_step // per_epoch + 1
    # of each epoch all shards are put into an order, and those that are read, two of them not to their ends
    read = min(epochs * samples, steps * batch + epochs * (batch + 2 * min(samples, shard_size)))
    met = min(epochs * shards, 2 * epochs + read // shard_size)
    work = SCALAR * (read + epochs * shards) + CALL * (met + epochs)
    what = f"the schedule of {samples:,} samples in {shards:,} shards over {epochs:,} epochs"
    meter.charge(what, work, 8 * steps * batch, PASSING * (steps * batch + shards + min(samples, shard_size)))


def steps_per_epoch(samples: int, batch: int) -> int:
    """Complete batches in an epoch; DataError if there is none."""
    if batch < 1 or samples < batch:
        raise DataError(f"{samples} samples do not fill one batch of {batch}; give more data or trace with a smaller batch")
    return samples // batch


def check_schedule(seed: int, samples: int, shard_size: int, batch: int, first_step: int, steps: int) -> None:
    """Raise DataError where there is no such schedule."""
    if not 0 <= seed < 2**64:
        raise DataError(f"seed is {seed}; choose an integer from 0 to 2^64 - 1")
    if not 1 <= samples < 2**32 or not 1 <= shard_size:
        raise DataError(f"{samples} samples in shards of {shard_size}; both must be positive, with fewer than 2^32 samples")
    if min(samples, shard_size) > MAX_SHARD or -(-samples // shard_size) > MAX_SHARD:
        raise DataError(f"{samples} samples in shards of {shard_size}; there may be {MAX_SHARD} shards, of {MAX_SHARD} samples each")
    if first_step < 0 or steps < 0:
        raise DataError(f"{steps} steps from step {first_step}; both must be at least 0")
    steps_per_epoch(samples, batch)


def batch_indices(seed: int, samples: int, shard_size: int | None, batch: int, first_step: int, steps: int) -> np.ndarray:
    """The samples that steps first_step .. first_step+steps-1 read: int64 of shape (steps, batch). shard_size None: one shard."""
    shard_size = samples if shard_size is None else shard_size
    check_schedule(seed, samples, shard_size, batch, first_step, steps)
    per_epoch = steps_per_epoch(samples, batch)
    parts, step, end = [], first_step, first_step + steps
    while step < end:
        epoch, position = divmod(step, per_epoch)
        stop = min(per_epoch, position + end - step)
        parts.append(epoch_samples(seed, epoch, samples, shard_size, position * batch, stop * batch))
        step += stop - position
    return np.concatenate([np.empty(0, dtype=np.int64), *parts]).reshape(steps, batch)
