"""The public schedule: permutations from SHA-256, frozen by vectors computed here from the words of its definition."""

import hashlib
from hashlib import sha256

import numpy as np
import pytest

from zkjax.errors import DataError
from zkjax.protocol import schedule
from zkjax.protocol.schedule import SHARDS, batch_indices, permutation, steps_per_epoch, words


def test_words_are_sha256_of_the_documented_fields():
    text = b"zkjax schedule 1" + b"".join(v.to_bytes(8, "little") for v in (7, 1, 2, 0))
    digest = hashlib.sha256(text).digest()
    stream = words(7, 1, 2)
    assert [next(stream) for _ in range(8)] == [int.from_bytes(digest[4 * i : 4 * i + 4], "little") for i in range(8)]
    text = text[:-8] + (1).to_bytes(8, "little")
    assert next(stream) == int.from_bytes(hashlib.sha256(text).digest()[:4], "little")


def test_frozen_vector():
    """Changing the schedule breaks every published proof: this must only change with the protocol's version."""
    digest = hashlib.sha256(permutation(1000, 3, 1, 4).astype("<i8").tobytes()).hexdigest()
    assert digest == "134b98d42ef3e50bab776ec2c63879aee8e4e3faf58382471ebd2cd8417ef3c6"


@pytest.mark.parametrize("length", [1, 2, 3, 17, 1000])
def test_permutations(length):
    p = permutation(length, 0, 0, 0)
    assert p.dtype == np.int64 and sorted(p.tolist()) == list(range(length))
    if length > 16:
        others = [permutation(length, *k) for k in ((1, 0, 0), (0, 1, 0), (0, 0, 1), (0, 0, SHARDS))]
        assert all((p != q).any() for q in others)


def test_permutations_are_uniform():
    counts = np.zeros((3, 3))
    for seed in range(3000):
        counts[np.arange(3), permutation(3, seed, 0, 0)] += 1
    assert abs(counts - 1000).max() < 150


def test_one_shard_is_a_plain_permutation():
    rows = batch_indices(5, 10, None, 3, 0, 3)
    assert rows.shape == (3, 3) and (rows.reshape(-1) == permutation(10, 5, 0, 0)[:9]).all()


def test_steps_go_through_epochs_and_drop_the_incomplete_batch():
    rows = batch_indices(5, 10, None, 3, 0, 7)
    assert (rows[3:6].reshape(-1) == permutation(10, 5, 1, 0)[:9]).all()
    assert (batch_indices(5, 10, None, 3, 2, 4) == rows[2:6]).all()


def test_shards_are_read_one_after_another():
    rows = batch_indices(5, 10, 4, 2, 0, 5).reshape(-1)
    order = permutation(3, 5, 0, SHARDS)
    assert sorted(rows.tolist()) == list(range(10))
    assert [v // 4 for v in rows] == [s for s in order for _ in range(min(4, 10 - 4 * s))]


def test_steps_per_epoch():
    assert steps_per_epoch(10, 3) == 3
    with pytest.raises(DataError, match="2 samples do not fill one batch of 3"):
        steps_per_epoch(2, 3)


@pytest.mark.parametrize(
    "arguments", [(-1, 10, None, 2, 0, 1), (2**64, 10, None, 2, 0, 1), (0, 10, 0, 2, 0, 1), (0, 10, None, 2, -1, 1), (0, 1, None, 2, 0, 1)]
)
def test_bad_arguments(arguments):
    with pytest.raises(DataError):
        batch_indices(*arguments)


def test_work_is_in_proportion_to_the_samples(monkeypatch):
    """MNIST: one permutation for all steps of an epoch, of a few words for each sample; the next epoch has its own."""
    hashed = []
    monkeypatch.setattr(schedule.hashlib, "sha256", lambda data: hashed.append(data) or sha256(data))
    batch_indices(123, 60000, None, 64, 0, 100)
    first = len(hashed)
    batch_indices(123, 60000, None, 64, 100, 837)
    assert 60000 / 8 <= first <= 1.01 * 60000 / 8 and len(hashed) == first
    batch_indices(123, 60000, None, 64, 900, 100)
    assert first < len(hashed) <= 2.01 * 60000 / 8 + 2
