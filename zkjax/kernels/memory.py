"""Page faults: why fresh buffers are slow, and a switch of the prover against them."""

import ctypes

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
