"""The allocator's switch, in a process of its own: it cannot be undone."""

import platform
import subprocess
import sys


def test_keep_freed_memory():
    code = "from zkjax.kernels.memory import keep_freed_memory; print(keep_freed_memory())"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == str(platform.libc_ver()[0] == "glibc")


def test_freed_memory_is_counted():
    code = (
        "import numpy as np; from zkjax.kernels.memory import freed_memory, keep_freed_memory;"
        "keep_freed_memory(); before = freed_memory(); x = np.ones(2**26); del x; print(freed_memory() - before > 2**28)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == str(platform.libc_ver()[0] == "glibc")
