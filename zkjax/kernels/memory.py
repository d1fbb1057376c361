"""Page faults: why fresh buffers are slow, a switch of the prover against them, and what it keeps. And Python's collector."""

import ctypes
import gc
from contextlib import contextmanager

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4  # glibc's malloc.h


def keep_freed_memory() -> bool:
    """Ask glibc to keep freed memory in the process instead of returning it to the system; True where that worked.

    Every large result of XLA is a fresh allocation, and by default the kernel zeroes its pages one fault at a time: several
    times the cost of the arithmetic. With this switch memory is faulted in once. It holds for the whole process and cannot
    be undone: the process then keeps its peak memory until it ends. Elsewhere than on glibc nothing happens.
    """
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):
        return False
    settings = ((_M_MMAP_MAX, 0), (_M_TRIM_THRESHOLD, 2**31 - 1), (_M_TOP_PAD, 256 << 20))
    return all([mallopt(option, value) == 1 for option, value in settings])


@contextmanager
def uncollected():
    """No automatic search for cycles in a block that leaves none: each one passes all that JAX holds, a third of a second."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()


class _Mallinfo(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost".split()]


def freed_memory() -> int:
    """Bytes that this process has freed and kept; 0 where that is not known (elsewhere than on glibc 2.33 and later)."""
    try:
        mallinfo = ctypes.CDLL("libc.so.6").mallinfo2
    except (OSError, AttributeError):
        return 0
    mallinfo.restype = _Mallinfo
    return mallinfo().fordblks
