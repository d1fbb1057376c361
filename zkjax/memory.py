"""How much memory this process may still take: what the machine has left, and what its limits leave it."""

import os
from pathlib import Path

NO_LIMIT = 2**60  # bytes; kernels write "no limit" as numbers beyond it, or as a word


def available_memory(root: str = "/") -> int:
    """Bytes that this process can still take, those included that it has freed and kept.

    The least of what is free, of what the control groups leave that the process is in (containers, batch systems) with all groups
    above them, and of what ``ulimit`` leaves. root: where the operating system's files are.
    """
    from .kernels.memory import freed_memory

    left = [_free(Path(root)), *_left_by_groups(Path(root)), *_left_by_limits(Path(root))]
    return max(0, min(left)) + freed_memory()


def _free(root: Path) -> int:
    amount = _amounts(root / "proc/meminfo").get("MemAvailable:")
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") if amount is None else amount * 1024


def _left_by_groups(root: Path):
    """Limits less usage, of which the page cache is no part: it is given up first. Versions 2 and 1 of control groups."""
    mount = root / "sys/fs/cgroup"
    for line in _lines(root / "proc/self/cgroup"):
        _, controllers, path = line.split(":", 2)
        if not controllers:
            files, cache, top = ("memory.max", "memory.high"), ("inactive_file", "active_file"), mount
        elif "memory" in controllers.split(","):
            files, cache, top = ("memory.limit_in_bytes",), ("total_inactive_file", "total_active_file"), mount / "memory"
        else:
            continue
        group = top / path.lstrip("/")
        for folder in [group, *group.parents]:  # a container may see its own group as the top, by another path
            used = _number(folder / ("memory.current" if not controllers else "memory.usage_in_bytes"))
            limit = min((_number(folder / name) for name in files), default=NO_LIMIT)
            if used < NO_LIMIT and limit < NO_LIMIT:
                statistics = _amounts(folder / "memory.stat")
                yield limit - max(0, used - sum(statistics.get(name, 0) for name in cache))
            if folder == top:
                break


def _left_by_limits(root: Path):
    try:
        import resource
    except ImportError:  # elsewhere than on Unix
        return
    status = _amounts(root / "proc/self/status")
    for limit, used in ((resource.RLIMIT_AS, "VmSize:"), (resource.RLIMIT_DATA, "VmData:")):
        soft, _ = resource.getrlimit(limit)
        if soft != resource.RLIM_INFINITY and used in status:
            yield soft - status[used] * 1024


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return []


def _number(path: Path) -> int:
    """The only number of a file; no limit where there is none."""
    lines = _lines(path)
    return int(lines[0]) if lines and lines[0].strip().isdigit() else NO_LIMIT


def _amounts(path: Path) -> dict[str, int]:
    """The first word of each line, and the number behind it."""
    words = (line.split() for line in _lines(path))
    return {w[0]: int(w[1]) for w in words if len(w) > 1 and w[1].isdigit()}
