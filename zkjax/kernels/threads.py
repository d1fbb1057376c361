"""Threads beside the caller's: they share its settings, and they stop with it.

A kernel cannot be interrupted, so threads stop between two of them: ``jit.py`` asks before each call. Whoever leaves the
outermost ``scope`` by an error, Ctrl-C among them, waits for no thread.
"""

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager

import jax

from .settings import enter, fixed

THREADS = min(4, os.cpu_count() or 1)
_LOCAL = threading.local()  # stop: the event that tells this thread to stop
_SETTLED: list = []  # settings that the pool's threads have entered for good


class Stopped(BaseException):
    """Raised in a thread whose caller has gone."""


@contextmanager
def scope():
    """Fixed settings for a block of kernels; an error that leaves it stops all threads that work for it."""
    outer = getattr(_LOCAL, "stop", None)
    stop = _LOCAL.stop = outer or threading.Event()
    try:
        with fixed():
            yield
    except BaseException:
        if outer is None:  # else whoever opened it may go on
            stop.set()
        raise
    finally:
        _LOCAL.stop = outer


def check() -> None:
    """Raise Stopped where this thread's caller has gone."""
    stop = getattr(_LOCAL, "stop", None)
    if stop is not None and stop.is_set():
        raise Stopped


def _inside(work):
    """``work`` for another thread, which is to stop with this one, and to compute where this one does."""
    stop, device = getattr(_LOCAL, "stop", None), jax.config.jax_default_device

    def inside(*arguments):
        _LOCAL.stop = stop
        with jax.default_device(device):
            return work(*arguments)

    return inside


def _settle() -> None:
    """Enter the settings once: too many short works share the pool's threads."""
    settings = ExitStack()
    enter(settings)
    _SETTLED.append(settings)


_POOL = ThreadPoolExecutor(THREADS, initializer=_settle)


def in_parallel(work, count: int) -> list:
    """``work(range)`` on ranges that share out 0 .. count-1, in threads: while one waits for a kernel another prepares the next."""
    parts = min(THREADS, count)
    ranges = [range(count * i // parts, count * (i + 1) // parts) for i in range(parts)]
    if parts == 1:
        return [work(ranges[0])]
    return list(_POOL.map(_inside(work), ranges))


@contextmanager
def in_background(*works):
    """A future of each ``work()``, all of which run beside the block. Nothing waits for one but who asks for its result."""

    def settled(work):
        with fixed():
            return work()

    pool = ThreadPoolExecutor(len(works))
    try:
        yield [pool.submit(_inside(settled), work) for work in works]
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
