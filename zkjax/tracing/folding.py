"""Folding: equations whose operands are all constant, computed exactly as JAX means them.

Integers are JAX's: they wrap around in their dtype, divide towards zero, and shift as XLA does. Booleans are booleans.
Floating-point numbers are exact rationals: + - * / and comparisons have no rounding, functions such as ``cos`` are those of
``elementary.py``, and infinities and not-a-numbers are carried along as IEEE does (0 has no sign). Only a conversion to a
float of fewer than 32 bits rounds, and everything computed in one. So the same source gives the same constants on every
machine and under all settings of JAX. Loops over constants are run by ``interpreter.py``.
"""

import math
import operator
from dataclasses import replace
from fractions import Fraction
from functools import lru_cache, partial

import numpy as np

from .constants import MAX_FOLDED, Known, every_step, in_single, map_known
from .elementary import FUNCTIONS, INFINITY, NAN, elementary, power, shortened
from .scatters import combined
from .series import Refusal, values


@lru_cache(maxsize=64)
def kind(dtype) -> str:
    """'b' for booleans, 'i' for integers, 'f' for floating-point numbers; Refusal for anything else."""
    name = getattr(dtype, "name", str(dtype))
    if name == "bool":
        return "b"
    if name.lstrip("u").startswith("int"):
        return "i"
    if name.startswith(("float", "bfloat")):
        return "f"
    raise Refusal(f"numbers of dtype {name}; use real numbers" if name.startswith("complex") else f"values of dtype {name}")


def narrow(dtype) -> bool:
    """Whether this is a floating-point dtype that rounds more than float32 does."""
    return kind(dtype) == "f" and dtype.itemsize < 4


@lru_cache(maxsize=64)
def limits(dtype) -> tuple[int, int]:
    """The least and the largest integer of an integer dtype."""
    name = dtype.name
    bits = int(name.lstrip("uint"))
    return (0, 2**bits - 1) if name.startswith("u") else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)


@lru_cache(maxsize=64)
def conversion(dtype):
    """``convert_element_type`` of one entry. Whatever leaves an equation has gone through it."""
    target = kind(dtype)
    if target == "b":
        return bool
    if target == "f":
        return (lambda value: _rounded(_real(value), dtype)) if dtype.itemsize < 4 else _real
    low, high = limits(dtype)
    size = high - low + 1

    def integer(value):
        if isinstance(value, (int, np.integer)):
            return int(value) if low <= value <= high else (int(value) - low) % size + low  # wraps around
        if isinstance(value, float) or not low <= math.trunc(value) <= high:
            raise Refusal(f"the conversion of {float(value):g} to {dtype.name}, which has no such value, differs from machine to machine")
        return math.trunc(value)

    return integer


def _real(value):
    if type(value) is Fraction:
        return shortened(value)
    if isinstance(value, float) and not math.isfinite(value):
        return value
    return Fraction(value)  # of an integer, or of arithmetic with an infinity


def _rounded(value, dtype):
    """To the nearest number of a narrow dtype."""
    if isinstance(value, float):
        return value
    with np.errstate(over="ignore"):
        result = float(np.dtype(dtype).type(float(value)))
    return Fraction(result) if math.isfinite(result) else result


# ---- entry by entry --------------------------------------------------------------------------------------------------


def _quotient(x, y):
    if y == 0:
        return NAN if x == 0 or x != x else INFINITY if x > 0 else -INFINITY
    return x / y


def _integer_quotient(x: int, y: int) -> int:
    """Towards zero; -1 for a division by 0, as XLA has it."""
    return -1 if y == 0 else abs(x) // abs(y) * (1 if (x < 0) == (y < 0) else -1)


def _remainder(x, y):
    """With the sign of x."""
    if y == 0:
        return NAN if isinstance(x, (Fraction, float)) else x
    if isinstance(x, float) or y != y:
        return NAN
    return x if isinstance(y, float) else (abs(x) % abs(y)) * (1 if x >= 0 else -1)


def _largest(x, y):
    return NAN if x != x or y != y else max(x, y)


def _least(x, y):
    return NAN if x != x or y != y else min(x, y)


def _sign(x):
    return x if x != x else (x > 0) - (x < 0)


def _whole(function):
    return lambda x: x if isinstance(x, float) else function(x)


def _away_from_zero(x) -> int:
    return math.floor(x + Fraction(1, 2)) if x >= 0 else math.ceil(x - Fraction(1, 2))


def _integer_power(x, n: int):
    if isinstance(x, (Fraction, float)):
        return power(x, Fraction(n)) if not isinstance(x, float) else x**n if n > 0 else _quotient(1, x**-n)
    return x**n if n >= 0 else _integer_quotient(1, x**-n)


ARITHMETIC = {"add": operator.add, "add_any": operator.add, "sub": operator.sub, "mul": operator.mul, "max": _largest, "min": _least}
LOGIC = {"and": operator.and_, "or": operator.or_, "xor": operator.xor}
COMPARISONS = {name: getattr(operator, name) for name in ("eq", "ne", "lt", "le", "gt", "ge")}
COMPARISONS |= {f"{name}_to": COMPARISONS[name] for name in ("eq", "lt", "le")}  # total orders: of numbers the same


def _shift(name: str, dtype):
    low, high = limits(dtype)
    bits = (high - low).bit_length()

    def shift(x: int, n: int) -> int:
        if not 0 <= n < bits:
            return -1 if name == "shift_right_arithmetic" and x < 0 else 0
        if name == "shift_left":
            return x << n
        return (x % 2**bits if name == "shift_right_logical" else x) >> n

    return shift


def _entrywise(eqn):
    """The function of entries that this equation applies, or None."""
    if not eqn.invars:
        return None
    name, parameters, dtype = eqn.primitive.name, eqn.params, eqn.invars[-1].aval.dtype
    if name in ARITHMETIC:
        return {"add": operator.or_, "mul": operator.and_}.get(name, ARITHMETIC[name]) if kind(dtype) == "b" else ARITHMETIC[name]
    if name in LOGIC:
        return LOGIC[name]
    if name in COMPARISONS:
        return COMPARISONS[name]
    if name in FUNCTIONS:
        return lambda x: elementary(name, x)
    if name in ("shift_left", "shift_right_logical", "shift_right_arithmetic"):
        return _shift(name, dtype)
    if name == "round":
        return _whole(round if int(parameters["rounding_method"]) == 1 else _away_from_zero)
    return {
        "div": _quotient if kind(dtype) == "f" else _integer_quotient,
        "rem": _remainder,
        "neg": operator.neg,
        "abs": abs,
        "sign": _sign,
        "floor": _whole(math.floor),
        "ceil": _whole(math.ceil),
        "not": operator.not_ if kind(dtype) == "b" else operator.invert,
        "is_finite": lambda x: not isinstance(x, float),
        "square": lambda x: x * x,
        "integer_pow": lambda x: _integer_power(x, parameters["y"]),
        "pow": lambda x, y: power(Fraction(x) if isinstance(x, int) else x, Fraction(y) if isinstance(y, int) else y),
        "clamp": lambda low, x, high: _least(_largest(x, low), high),
        "select_n": lambda which, *cases: cases[int(which)],
        "convert_element_type": lambda x: x,
        "reduce_precision": lambda x: _fewer_bits(x, parameters["exponent_bits"], parameters["mantissa_bits"]),
        "copy": lambda x: x,
        "nextafter": lambda x, y: _next(x, y, dtype),
        "bitcast_convert_type": lambda x: _bits_as(x, dtype, parameters["new_dtype"]),
    }.get(name)


def _next(x, y, dtype):
    """The number of the dtype that comes after x on the way to y."""
    found = float(np.nextafter(*(np.dtype(dtype).type(float(v)) for v in (x, y))))
    return Fraction(found) if math.isfinite(found) else found


def _bits_as(x, old, new):
    """The bits of an integer of 32 bits as those of another one, or of a float32."""
    if (kind(old), old.itemsize, new.itemsize) != ("i", 4, 4):
        raise Refusal(f"the bits of {old.name} as {new.name}; convert with astype")
    found = np.array(x % 2**32, dtype=np.uint32).view(np.dtype(new.name))
    return int(found) if kind(new) == "i" else _real(float(found))


def _fewer_bits(x, exponent_bits: int, mantissa_bits: int):
    """Nearest, ties to even, with this many bits after the leading one; what is too large becomes infinite, too small 0."""
    if isinstance(x, float) or x == 0 or (exponent_bits >= 8 and mantissa_bits >= 23):
        return x
    exponent = math.floor(math.log2(abs(x)))
    unit = Fraction(2) ** (exponent - mantissa_bits)
    result = round(x / unit) * unit
    largest = 2 ** (exponent_bits - 1)
    if abs(result) >= Fraction(2) ** largest:
        return INFINITY if x > 0 else -INFINITY
    return result if abs(result) >= Fraction(2) ** (2 - largest) else Fraction(0)


# ---- whole arrays ----------------------------------------------------------------------------------------------------


def _iota(eqn) -> np.ndarray:
    axis = eqn.params["dimension"]
    length = eqn.params["shape"][axis]
    _check_size(length)
    return np.arange(length).astype(object).reshape([length if d == axis else 1 for d in range(len(eqn.params["shape"]))])


REDUCTIONS = {  # the operation, its result for no entries, and for n equal ones
    "reduce_sum": (operator.add, 0, lambda x, n: x * n),
    "reduce_prod": (operator.mul, 1, lambda x, n: _integer_power(x, n)),
    "reduce_max": (_largest, -INFINITY, lambda x, n: x),
    "reduce_min": (_least, INFINITY, lambda x, n: x),
    "reduce_and": (operator.and_, True, lambda x, n: x),
    "reduce_or": (operator.or_, False, lambda x, n: x),
    "reduce_xor": (operator.xor, 0, lambda x, n: x if n % 2 else x ^ x),
}
CUMULATIONS = {"cumsum": operator.add, "cumprod": operator.mul, "cummax": _largest, "cummin": _least}


def _reduction(eqn, x: Known) -> np.ndarray:
    """Over the axes that are stored; along the others all entries are equal."""
    function, nothing, repeated = REDUCTIONS[eqn.primitive.name]
    if 0 in x.shape:
        return np.full(eqn.outvars[0].aval.shape, nothing, dtype=object)
    values = x.values if x.values.ndim else x.values.reshape((1,) * len(x.shape))
    count = math.prod(x.shape[d] for d in eqn.params["axes"] if values.shape[d] == 1)
    for axis in sorted(eqn.params["axes"], reverse=True):
        values = np.asarray(np.frompyfunc(function, 2, 1).reduce(values, axis=axis, dtype=object), dtype=object)
    return np.frompyfunc(lambda v: repeated(v, count), 1, 1)(values)


def _cumulation(eqn, x: Known) -> np.ndarray:
    function, axis = CUMULATIONS[eqn.primitive.name], eqn.params["axis"]
    _check_size(math.prod(x.shape))
    values = np.flip(x.full(), axis) if eqn.params["reverse"] else x.full()
    values = np.frompyfunc(function, 2, 1).accumulate(values, axis=axis, dtype=object)
    return np.flip(values, axis) if eqn.params["reverse"] else values


def _dot_general(eqn, x: Known, y: Known) -> np.ndarray:
    (cx, cy), (bx, by) = eqn.params["dimension_numbers"]
    free = [[d for d in range(len(a.shape)) if d not in (*c, *b)] for a, c, b in ((x, cx, bx), (y, cy, by))]
    terms = math.prod(x.shape[d] for d in cx)
    if x.scalar is not None and y.scalar is not None:
        return np.array(x.scalar * y.scalar * terms, dtype=object)
    batch = [x.shape[d] for d in bx]
    _check_size(math.prod(eqn.outvars[0].aval.shape) * terms // 8)
    shapes = [[a.shape[d] for d in f] for a, f in zip((x, y), free, strict=True)]
    left = x.full().transpose(*bx, *free[0], *cx).reshape(*batch, math.prod(shapes[0]), terms)
    right = y.full().transpose(*by, *cy, *free[1]).reshape(*batch, terms, math.prod(shapes[1]))
    return np.asarray(np.matmul(left, right)).reshape((*batch, *shapes[0], *shapes[1]))


# What only compares and moves entries does the same to any numbers of the same order.
ORDERED = {"sort", "argmax", "argmin", "gather", "scatter", "top_k", "dynamic_slice", "dynamic_update_slice"}


def _by_rank(eqn, *known: Known) -> list[np.ndarray]:
    """Let JAX itself compute on integers: those of the constants, and for floating-point ones their ranks."""
    _check_size(max(math.prod(v.aval.shape) for v in (*eqn.invars, *eqn.outvars)))
    floating = [kind(v.aval.dtype) == "f" for v in eqn.invars]
    table = sorted({v for k, f in zip(known, floating, strict=True) if f for v in k.values.reshape(-1) if v == v})
    rank = {v: i for i, v in enumerate(table)}
    arrays = []
    for k, f, v in zip(known, floating, eqn.invars, strict=True):
        values = [rank.get(x, len(table)) if f else x for x in k.full().reshape(-1)]  # what is not a number comes last
        arrays.append(np.array(values, dtype=np.int32 if f else v.aval.dtype).reshape(k.shape))
    results = eqn.primitive.bind(*arrays, **eqn.params)
    found = []
    for v, array in zip(eqn.outvars, results if eqn.primitive.multiple_results else [results], strict=True):
        entries = np.asarray(array).astype(object)
        if kind(v.aval.dtype) == "f":  # an index outside of the array reads what is not a number
            entries = np.frompyfunc(lambda i: table[i] if 0 <= i < len(table) else NAN, 1, 1)(entries)
        found.append(entries)
    return found


def fold(eqn, *known: Known) -> list[Known] | None:
    """The results of an equation on constants, or None if that is a movement of entries, or nothing that is known here."""
    name, tagged = eqn.primitive.name, any(k.tagged for k in known)
    for v in (*eqn.invars, *eqn.outvars):
        kind(v.aval.dtype)
    out = eqn.outvars[0].aval if eqn.outvars else None
    function = _entrywise(eqn)
    if function is not None:
        _check_size(math.prod(np.broadcast_shapes(*(k.values.shape for k in known))))
        convert = conversion(out.dtype)
        result = map_known(lambda *values: convert(_carried(function, values)), out.shape, *known)
        return [replace(result, single=_is_single(eqn, function, known, result))]
    if any(k.moving for k in known):
        _check_size(max(len(values(v)) for k in known for v in k.values.reshape(-1)) * max(k.values.size for k in known))
        return every_step(lambda *known: fold(eqn, *known), known)
    if name == "iota":
        function = _iota
    elif name in REDUCTIONS:
        function = _reduction
    elif name in CUMULATIONS:
        function = _cumulation
    elif name == "dot_general":
        function = _dot_general
    elif name in ORDERED or eqn.outvars and all(kind(v.aval.dtype) != "f" for v in (*eqn.invars, *eqn.outvars)) and not eqn.effects:
        function = _by_rank
    elif name.removeprefix("scatter-") in ARITHMETIC:
        function = partial(combined, ARITHMETIC[name.removeprefix("scatter-")])
    else:
        return None
    arrays = function(eqn, *known)
    arrays = arrays if isinstance(arrays, list) else [arrays]
    cast = [np.frompyfunc(conversion(v.aval.dtype), 1, 1)(a) for v, a in zip(eqn.outvars, arrays, strict=True)]
    return [Known.spread(a, v.aval.shape, tagged) for v, a in zip(eqn.outvars, cast, strict=True)]


CHOICES = ("convert_element_type", "copy", "reduce_precision", "neg", "max", "min", "select_n")  # round nothing to float32


def _is_single(eqn, function, known, result: Known) -> bool:
    """Whether JAX has the float32 next to the result: by a choice, or where its arithmetic makes the same of the floats next to numbers."""
    if not all(k.single or kind(v.aval.dtype) != "f" for k, v in zip(known, eqn.invars, strict=True)):
        return False
    name, numbers = eqn.primitive.name, [k.scalar for k in (*known, result)]
    if kind(eqn.outvars[0].aval.dtype) != "f" or name in CHOICES:
        return True
    if name not in ("add", "sub", "mul") or not all(type(v) is Fraction and abs(v) < 2**100 for v in numbers):
        return False
    return in_single(function(*(in_single(v) for v in numbers[:-1]))) == in_single(numbers[-1])


def _check_size(entries: int) -> None:
    if entries > MAX_FOLDED:
        raise Refusal("a large array of constants; pass it as a parameter or as data")


def _carried(function, values):
    """A function of rationals and infinities; a rational that no float holds stands beside an infinity for a large one."""
    try:
        return function(*values)
    except OverflowError:
        largest = Fraction(2) ** 1000
        return function(*(max(-largest, min(largest, v)) if isinstance(v, Fraction) else v for v in values))
