"""How every kernel is compiled: ``jax.jit`` with vectors as wide as the processor has; and called: unless its thread is to stop.

XLA's default on x86 are vectors of 256 bits even where there are 512; with those a product of field elements takes two
thirds of the time. It is a preference: processors without them, and accelerators, ignore it.
"""

from functools import wraps

import jax

from ..algebra.vectors import Vector
from .threads import check

jax.tree_util.register_pytree_node(Vector, lambda vector: (tuple(vector), None), lambda _, parts: Vector(parts))

_OPTIONS = {"xla_cpu_prefer_vector_width": 512}


def jit(function, **options):
    """``jax.jit`` for a kernel of its own, called from the host and not from another kernel."""
    compiled = jax.jit(function, compiler_options=_OPTIONS, **options)

    @wraps(function)
    def kernel(*arguments, **named):
        check()
        return compiled(*arguments, **named)

    return kernel
