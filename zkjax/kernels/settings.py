"""The settings under which kernels are traced and run, whatever the process around them has set.

JAX's settings change types, the precision of products, what may be transferred or broadcast, and whether anything is compiled
at all; NumPy's turn the wrap-around that field arithmetic relies on into errors. They belong to a thread, so every thread
enters them for itself (``threads.py``). A setting that changes tracing is part of the key of JAX's compiled code: where all of
them are fixed, no user's setting makes anything compile anew.
"""

import os
import threading
from contextlib import ExitStack, contextmanager

import jax
import numpy as np

from ..errors import RunError

_started: int | None = None  # the process in which JAX runs


@contextmanager
def fixed(*, x64: bool = True):
    """64-bit types, full precision, JAX's defaults elsewhere. x64: False gives the 32-bit types of JAX's default.

    The user's choice of a default device is kept. Raises: RunError - JAX cannot run here.
    """
    with ExitStack() as stack:
        enter(stack, x64=x64)
        yield


def enter(stack: ExitStack, *, x64: bool = True) -> None:
    """The same until the stack is left."""
    start()
    for manager in _managers(x64):
        stack.enter_context(manager())


def _managers(x64: bool):
    """One after another: the mesh is set where its manager is made."""
    return (
        lambda: np.errstate(all="ignore"),
        lambda: jax.enable_x64(x64),
        lambda: jax.disable_jit(False),
        lambda: jax.set_mesh(None),
        lambda: jax.default_matmul_precision("highest"),
        lambda: jax.numpy_dtype_promotion("standard"),
        lambda: jax.numpy_rank_promotion("allow"),
        lambda: jax.transfer_guard("allow"),
        lambda: jax.debug_nans(False),
        lambda: jax.debug_infs(False),
        lambda: jax.check_tracer_leaks(False),
        lambda: jax.enable_checks(False),
        lambda: jax.no_tracing(False),
        lambda: jax.no_execution(False),
        lambda: jax.log_compiles(False),
        lambda: jax.explain_cache_misses(False),
        lambda: jax.softmax_custom_jvp(False),
        lambda: jax.allow_f16_reductions(True),
        lambda: jax.auto_pcast(True),
        lambda: jax.default_prng_impl("threefry2x32"),
        lambda: jax.enable_custom_prng(False),
        lambda: jax.threefry_partitionable(True),
    )


def start() -> None:
    """Start JAX, unless it was started before a fork: its threads exist in the parent alone, and a child waits for them for ever."""
    global _started
    if _started is None:
        jax.devices()
        _started = os.getpid() if _has_threads() else -1
    if _started != os.getpid():
        raise RunError(
            "this process was forked after JAX had started, and JAX does not run in such a process; start it afresh "
            '(multiprocessing.get_context("spawn")), or fork before JAX is first used'
        )


def _has_threads() -> bool:
    """Whether this process has other threads than Python's: JAX always has some. True where the operating system does not tell."""
    try:
        found = {int(name) for name in os.listdir("/proc/self/task")}
    except OSError:
        return True
    return bool(found - {thread.native_id for thread in threading.enumerate()})
