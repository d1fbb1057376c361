"""Tables of eq(point, x) for all x of a cube, in few compiled shapes."""

import jax
import jax.numpy as jnp
import numpy as np

from ..algebra import extension as ext
from ..algebra.extension import Ext
from .host import outer_product
from .jit import jit
from .products import difference, inner_products

_HALF = 5  # variables of a factor of the compiled table, which is the product of two


def eq_table(point: list[Ext]):
    """The eq table of a point, NumPy K of 2^len(point) entries: of each ten variables by one compiled loop."""
    last, before = point[-2 * _HALF :], point[: -2 * _HALF]
    padded = np.stack(ext.stack([Ext(0)] * (2 * _HALF - len(last)) + last)).reshape(2, 2, _HALF)
    table = tuple(np.asarray(_table(padded))[:, : 1 << len(last)])
    return outer_product(eq_table(before), table) if before else table


@jit
def _table(point):
    """uint64[2, 2^10] from point: uint64[2, 2, 5], the components of two times five variables."""

    def bind(v, table):
        r = tuple(jax.lax.dynamic_slice_in_dim(point, v, 1, axis=-1))
        one = (jnp.ones_like(r[0]), jnp.zeros_like(r[0]))
        bit = (jnp.arange(1 << _HALF) >> (_HALF - 1 - v)) & 1
        return inner_products([(table, tuple(jnp.where(bit == 1, a, b) for a, b in zip(r, difference(one, r))))])

    ones = jnp.ones((2, 1 << _HALF), jnp.uint64)
    table = jax.lax.fori_loop(0, _HALF, bind, (ones, jnp.zeros_like(ones)))
    outer = inner_products([(tuple(c[0, :, None] for c in table), tuple(c[1, None] for c in table))])
    return jnp.stack(outer).reshape(2, -1)
