"""Normal numbers that are the same on every machine: quantiles from a table of integers, one for each of 2^16 equal probabilities.

Entry i is the integer nearest to 2^20 q, q the quantile of (2 i + 1) / 2^17. No quantile is nearer than 2^-38 to the middle between
two integers' (tests/test_drawings.py), and the standard library's are right to about 2^-50, so what rounds them here is the same anywhere.

PROTOCOL.md, section 4.9.
"""

from functools import lru_cache
from statistics import NormalDist

import numpy as np

LOG_ENTRIES = 16
SCALE = 20  # bits after the point
CUT = 2.0  # where a truncated normal distribution ends, in standard deviations


@lru_cache(maxsize=2)
def quantiles(truncated: bool) -> np.ndarray:
    """int32 (2^16,), ascending, of the normal distribution, or of what of it lies in -CUT .. CUT; q(1 - u) = -q(u)."""
    normal, half = NormalDist(), 2 ** (LOG_ENTRIES - 1)
    below = normal.cdf(-CUT) if truncated else 0.0
    probabilities = below + (1 - 2 * below) * (2 * np.arange(half, 2 * half) + 1) / (4 * half)
    upper = np.rint([2.0**SCALE * normal.inv_cdf(u) for u in probabilities.tolist()]).astype(np.int32)
    table = np.concatenate([-upper[::-1], upper])
    table.setflags(write=False)
    return table
