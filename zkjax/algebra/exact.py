"""Exact integer arithmetic of a circuit step, on int64 arrays of NumPy and of jax.numpy alike.

Matrix products run as float64 GEMMs: a product is exact while ``bits_a + bits_b + log2(k) <= 53``, so a wide operand is
cut into limbs that respect this, unless the values at hand fit without. Bounds come from ``Circuit.bounds``; within them every
int64 result is exact. Parameters may be given as float64 arrays of integers, which spares their conversion in every product.
With float64 inputs the same functions compute the circuit without rounding, which is how ``trace`` chooses formats.

PROTOCOL.md, section 5.2.
"""

import math
from typing import NamedTuple

import numpy as np

MANTISSA = 53  # bits of integers that float64 holds exactly
NOISE = 2.0**-32  # of what a sum could be: a tensor that is less follows from rounding alone, that of its terms in float64 included


class Limbs(NamedTuple):
    """How one operand of a product is cut: ``count`` limbs of ``width`` bits, the last one signed and as wide as needed."""

    count: int
    width: int


WHOLE = Limbs(1, MANTISSA)


def split(bound_x: int, bound_y: int, terms: int) -> tuple[Limbs, Limbs]:
    """Cut operands with these bounds so that sums of ``terms`` products of limbs are exact in float64.

    Bits above 16 count in steps of 8, so that bounds that grow from chunk to chunk seldom change the cut.
    """
    budget = MANTISSA - (terms - 1).bit_length()
    bits = tuple(b if b <= 16 else -(-b // 8) * 8 for b in (bound_x.bit_length(), bound_y.bit_length()))
    if sum(bits) <= budget:
        return WHOLE, WHOLE
    narrow = min(bits)
    if 2 * narrow > budget:  # both are wide: equal limbs
        width = budget // 2
        return tuple(Limbs(-(-b // width), width) for b in bits)
    cut = Limbs(-(-max(bits) // (budget - narrow)), budget - narrow)
    return (cut, WHOLE) if bits[0] > bits[1] else (WHOLE, cut)


def plan(circuit, bounds) -> tuple:
    """The limbs of each matrix product of the circuit for these node bounds: one entry per node, None for other operations.

    Bounds grow from chunk to chunk, plans hardly ever do: kernels are compiled for a plan.
    """
    limbs = []
    for i, node in enumerate(circuit.nodes):
        terms = node.operation.summed(circuit.shapes(i))
        limbs.append(None if terms is None else split(*(bounds[j] for j in node.inputs), terms))
    return tuple(limbs)


def dot(x, y, contract, batch, limbs=(WHOLE, WHOLE)):
    """``lax.dot_general`` of integers, exact; of two float arrays, plain.

    Shapes: the result has the batch axes, then the free axes of x, then those of y. One operand may hold integers as float64.
    """
    compiled = not isinstance(x, np.ndarray)
    largest = _largest(x) * _largest(y) if compiled and limbs != (WHOLE, WHOLE) else None
    x = x.transpose(*batch[0], *_free(x, contract[0], batch[0]), *contract[0])
    y = y.transpose(*batch[1], *contract[1], *_free(y, contract[1], batch[1]))
    b, c = len(batch[0]), len(contract[0])
    shape = x.shape[: x.ndim - c] + y.shape[b + c :]
    terms = math.prod(y.shape[b : b + c])
    x = x.reshape(*x.shape[:b], -1, terms)
    y = y.reshape(*y.shape[:b], terms, -1)
    if is_float(x) and is_float(y):
        return (x @ y).reshape(shape)
    if terms == 1:
        return (integers(x) * integers(y)).reshape(shape)
    if x.shape[-2] == y.shape[-1] == 1:  # an inner product: no matrix to gain from
        return (integers(x)[..., 0, :] * integers(y)[..., 0]).sum(axis=-1).reshape(shape)

    def whole():
        return (_stored(x.astype(np.float64)) @ y.astype(np.float64)).astype(np.int64)

    def in_limbs():
        total = None
        for i, left in enumerate(_limbs(integers(x), limbs[0])):
            for j, right in enumerate(_limbs(integers(y), limbs[1])):
                product = (left @ right).astype(np.int64) << (i * limbs[0].width + j * limbs[1].width if i + j else 0)
                total = product if total is None else total + product
        return total

    if limbs == (WHOLE, WHOLE):
        return whole().reshape(shape)
    if not compiled:  # Python's lines follow public values only
        return in_limbs().reshape(shape)
    from jax import lax

    # bounds are far from what training meets: hardly ever must an operand be cut
    return lax.cond(largest * terms <= 2.0 ** (MANTISSA - 1), whole, in_limbs).reshape(shape)


def integers(x):
    """An int64 array of integers that may be stored as float64."""
    return x.astype(np.int64) if is_float(x) else x


def is_float(x) -> bool:
    """Whether an array is stored as floating-point numbers."""
    return np.dtype(x.dtype).kind == "f"


def _largest(x):
    """The largest absolute value, as float64 (which may round it). Axis by axis: that is work for vectors and threads."""
    x = abs(x.astype(np.float64))
    while x.ndim:
        x = x.max(axis=0)
    return x


def _stored(x):
    """A short left operand in its own order in memory: XLA's products are slow on a transposed view."""
    if isinstance(x, np.ndarray):
        return x
    from jax import lax

    return lax.optimization_barrier(x)


def _free(x, contract, batch) -> tuple[int, ...]:
    return tuple(d for d in range(x.ndim) if d not in contract and d not in batch)


def _limbs(x, limbs: Limbs):
    """Float64 limbs of an int64 array, lowest first; all but the last are non-negative."""
    for _ in range(limbs.count - 1):
        yield (x & np.int64(2**limbs.width - 1)).astype(np.float64)
        x = x >> limbs.width
    yield x.astype(np.float64)


def half(shift: int) -> int:
    """What is added before ``shift`` bits are dropped, to round to the nearest integer."""
    return (1 << shift) >> 1


def rescale(x, shift: int, added: int | None = None):
    """(x + added) >> shift: the nearest integer to x / 2^shift, halves upwards; with 2^shift - 1 its ceiling."""
    if is_float(x):
        return x * 2.0**-shift
    return (x + (half(shift) if added is None else added)) >> shift if shift else x


def remainder(x, y, shift: int, added: int | None = None):
    """x + added - 2^shift * y, in [0, 2^shift) for y = rescale(x, shift, added)."""
    return x + (half(shift) if added is None else added) - (y << shift) if shift else x - y


def evaluate(circuit, limbs, parameters, inputs, needed=None, known=None, moving=None, keys=None, paces=None, cancelled=None) -> list:
    """The arrays of all nodes of one step. With ``needed``, of these nodes; the others are those of ``known``, or None.

    moving: for each state with a recurrence what ``Next`` adds the step's own feeds to, and their coefficients; by default in
    floating point, of the first step. keys: of each draw, in order, uint32 (rows, 2); by default those of the first step, as ``paces``,
    the numbers of operations that are paced.

    cancelled: a dict that gets the nodes whose sums are 0 but for the rounding of floating point, and how large these could be.

    limbs: from ``plan``; None for floats. parameters, inputs: int64 (or float64) arrays of the circuit's shapes, NumPy or jax.numpy alike;
    float64 parameters beside int64 inputs hold integers.
    """
    floating = limbs is None
    values: list = []
    keys = dict(zip(circuit.drawn, (x[0] for x in circuit.keys(0, 1)) if keys is None else keys, strict=True))
    paces = dict(zip(circuit.paced, circuit.paces(0) if paces is None else paces, strict=True))
    for i, node in enumerate(circuit.nodes):
        operation = node.operation
        if needed is not None and i not in needed:
            value = known and known[i]
        elif operation.arity == 0:
            value = operation.leaf(parameters, inputs, keys.get(i))
        else:
            x = [values[j] if floating or operation.as_stored else integers(values[j]) for j in node.inputs]
            if operation.moved:
                cut = moved(circuit, operation.index, parameters) if moving is None else moving[operation.index]
            else:
                cut = paces[i] if operation.paced else None if floating else limbs[i]
            value = operation.evaluate(x, node, circuit.shapes(i), cut)
            if floating and operation.adds and (most := _cancels(operation, x, value, circuit.shapes(i))):
                value = value * 0.0
                if cancelled is not None:
                    cancelled[i] = most
        values.append(value)
    return values


def _cancels(operation, x, value, shapes) -> float:
    """How large sums could be that are 0 but for the rounding of floating point, as the gradient of attention's key bias is; else 0."""
    largest, *terms = (float(abs(y).max()) if y.size else 0.0 for y in (value, *x))
    most = operation.bound(terms, shapes, None)
    return float(most) if 0 < largest < NOISE * most else 0.0


def update(circuit, parameters, values, rates) -> tuple:
    """The parameters after a step, stored as they were. rates: the step's integer rates, one for each update in the circuit's order."""
    result, rates = [], iter(rates)
    for parameter, array in zip(circuit.parameters, parameters, strict=True):
        if parameter.recurrence is not None:  # its caller moves it, period by period
            result.append(array)
            continue
        changes = [values[use.node] for use in parameter.updates]
        new = integers(array) if any(not is_float(x) for x in changes) else array
        for change in changes:
            new = new - next(rates) * change
        result.append(new.astype(array.dtype))
    return tuple(result)


def moved(circuit, s: int, parameters):
    """What a state with a recurrence is after the first step, in floating point, but for its feeds, and their coefficients."""
    found, base = circuit.parameters[s].recurrence, 0.0
    for r, coefficients in found.carry:
        base = base + parameters[r] * (coefficients[0] * 2.0 ** (found.inner - circuit.parameters[r].recurrence.inner - 64))
    return base, [coefficients[0] * 2.0 ** (found.inner - 64) for _, coefficients in found.feeds]


def nearest(values, scale: int):
    """Values as integers at a scale, halves upwards: floor(x * 2^scale + 1/2), still as float64: whether they fit is not known."""
    return np.floor(np.ldexp(np.asarray(values, dtype=np.float64), scale) + 0.5)
