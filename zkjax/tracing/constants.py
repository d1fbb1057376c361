"""Constants of a trace: exact rationals, integers and booleans, whatever JAX's floating point makes of them."""

import math
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np

from ..ops.leaves import MAX_CONSTANT
from .elementary import simplest
from .series import Refusal, Series, at, lifted
from .series import values as values_of

CONSTANT_BITS = 12  # significant bits of a constant that has to be rounded
MAX_FOLDED = 2**18  # entries of an array of constants while tracing; of one that meets a tensor: MAX_CONSTANT


@dataclass(frozen=True, eq=False)
class Known:
    """A constant: exact entries as an object array that broadcasts to ``shape``; one entry, without axes, if it is uniform.

    An entry is a ``Fraction`` where JAX has a floating-point number (a Python float if that is infinite or not a number), an
    ``int`` where JAX has an integer, a ``bool`` where it has a boolean; a ``Series`` of them where it depends on the step.
    tagged: depends on the seed cotangent. single: the float32 next to an entry is the one that JAX has, as of a number that the source
    writes: float32's own arithmetic has not rounded on the way.
    """

    values: np.ndarray
    shape: tuple[int, ...]
    tagged: bool = False
    single: bool = False

    @staticmethod
    def uniform(value, shape, tagged=False) -> "Known":
        return Known(_objects(value), tuple(shape), tagged)

    @staticmethod
    def of(array, dtype=None) -> "Known":
        """From an array of any real dtype. dtype: JAX's, where it is another one."""
        array = np.asarray(array)
        if array.dtype == object:
            raise Refusal("a mutable array (jax.new_ref, or JAX's own error state) has no fixed value; pass what it holds as data")
        dtype = array.dtype if dtype is None else np.dtype(dtype)
        if array.size and (array == array.flat[0]).all():
            return Known(_objects(_exact(array.flat[0], dtype)), array.shape, single=True)
        if array.size > MAX_FOLDED:
            raise Refusal(too_large(array.shape))
        found = Known.spread(_objects(*(_exact(v, dtype) for v in array.reshape(-1))).reshape(array.shape), array.shape)
        return replace(found, single=True)

    @staticmethod
    def spread(values, shape, tagged=False) -> "Known":
        """From entries that broadcast to ``shape``; axes along which a view repeats them are not stored."""
        values = np.asarray(values, dtype=object)
        if values.ndim and values.size:
            values = values[tuple(slice(0, 1) if step == 0 else slice(None) for step in values.strides)]
        return Known(values.reshape(()) if values.size == 1 else values, tuple(shape), tagged)

    @property
    def scalar(self):
        """The value of all entries, or None if they differ."""
        return self.values.reshape(-1)[0] if self.values.size == 1 else None

    @property
    def moving(self) -> bool:
        """Whether it depends on the step."""
        return any(isinstance(v, Series) for v in self.values.reshape(-1))

    def full(self) -> np.ndarray:
        return np.broadcast_to(self.values, self.shape)

    def reshaped(self, function, shape) -> "Known":
        """``function`` moves entries of the full array; it is not needed if they are all equal."""
        if self.values.ndim == 0:
            return replace(self, shape=tuple(shape))
        return replace(Known.spread(function(self.full()), shape, self.tagged), single=self.single)

    def compact(self) -> tuple[np.ndarray, tuple[int, ...]]:
        """The entries over the axes along which they differ, and these axes."""
        if self.scalar is not None:
            return self.values.reshape(()), ()
        found, axes = self.values, []
        for axis in reversed(range(found.ndim)):
            first = found.take([0], axis=axis)
            if (found == first).all():
                found = first.squeeze(axis)
            else:
                axes.insert(0, axis)
        return found, tuple(axes)

    def compacted(self) -> "Known":
        """The same, stored over no axis along which the entries are equal."""
        values, axes = self.compact()
        return replace(self, values=values.reshape([n if d in axes else 1 for d, n in enumerate(self.shape)]) if axes else values)

    def in_step(self, step: int) -> "Known":
        """Its numbers in a step."""
        found = np.empty(self.values.size, dtype=object)
        found[:] = [at(v, step) for v in self.values.reshape(-1)]
        return Known(found.reshape(self.values.shape), self.shape, self.tagged)

    @property
    def somewhere_finite(self) -> bool:
        """Whether each entry is finite in some step."""
        return all(any(not isinstance(v, float) for v in values_of(entry)) for entry in self.values.reshape(-1))

    def finite(self) -> "Known":
        """Itself; Refusal where an entry is infinite or not a number."""
        for entry in self.values.reshape(-1):
            for step, value in enumerate(found := values_of(entry)):
                if isinstance(value, float):
                    where = f"in step {step}, " if len(found) > 1 else ""
                    raise Refusal(f"{where}the constant {value} is not finite; leave it out, or choose a large number for it")
        return self


@dataclass(frozen=True, eq=False)
class Keys:
    """An array of threefry's keys: their first and their second words."""

    first: Known
    second: Known

    @property
    def shape(self) -> tuple[int, ...]:
        return self.first.shape

    @property
    def tagged(self) -> bool:
        return self.first.tagged or self.second.tagged


def _objects(*values) -> np.ndarray:
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array if len(values) != 1 else array.reshape(())


def in_single(value: Fraction | int) -> Fraction:
    """The float32 next to a number that float32's range has."""
    return Fraction(float(np.float32(float(value))))


def too_large(shape) -> str:
    """Why an array of constants is refused."""
    return f"a captured array of shape {tuple(shape)} has more than {MAX_CONSTANT} entries; pass it as a parameter or as data"


def _exact(value, dtype):
    """The number that the source means by a value of this dtype. One that is rounded to float32 here means the simplest that
    float32 does not tell from it, so that the circuit does not depend on JAX's settings; a narrower float means itself."""
    if dtype.kind == "b":
        return bool(value)
    if dtype.kind in "iu":
        return int(value)
    value = float(value)
    if not math.isfinite(value):
        return value
    if dtype.itemsize < 4:
        return Fraction(value)
    with np.errstate(over="ignore", under="ignore"):
        single = np.float32(value)
    return simplest(Fraction(float(single) if np.isfinite(single) and abs(single) >= np.finfo(np.float32).tiny else value))


def factored(x: Known) -> tuple[Series, Known]:
    """An array that depends on the step, as a number of the step times constants; Refusal where it is no such product."""
    entries = x.values.reshape(-1)
    steps = next(len(v.values) for v in entries if isinstance(v, Series))
    table = [[at(v, t) for v in entries] for t in range(steps)]
    base = next((row for row in table if any(row)), table[0])
    place = next((i for i, v in enumerate(base) if v), 0)
    shares = [Fraction(row[place]) / base[place] if base[place] else Fraction(0) for row in table]
    if any(v != share * b for row, share in zip(table, shares, strict=True) for v, b in zip(row, base, strict=True)):
        raise Refusal("an array whose entries depend on the step in different ways; let one number depend on it, and multiply")
    return Series(tuple(shares)), Known.spread(_objects(*base).reshape(x.values.shape), x.shape, x.tagged)


def map_known(function, shape, *known: Known) -> Known:
    """``function`` entry by entry on constants that broadcast to ``shape``, and step by step."""
    return by_entry(lifted(function), shape, *known)


def every_step(function, known) -> list[Known] | None:
    """The results of a function of constants, or None, in every step that they depend on."""
    steps = next(len(v.values) for k in known for v in k.values.reshape(-1) if isinstance(v, Series))
    results = [function(*(k.in_step(t) for k in known)) for t in range(steps)]
    if results[0] is None:
        return None
    return [by_entry(lambda *values: Series(values), found[0].shape, *found) for found in zip(*results, strict=True)]


def by_entry(function, shape, *known: Known) -> Known:
    """``function`` of entries as they are, those that depend on the step as ``Series``."""
    tagged = any(k.tagged for k in known)
    if all(k.values.size == 1 for k in known):
        return Known.uniform(function(*(k.scalar for k in known)), shape, tagged)
    arrays = [k.values.reshape((1,) * (len(shape) - k.values.ndim) + k.values.shape) if k.values.ndim else k.values for k in known]
    arrays = np.broadcast_arrays(*arrays)  # a ufunc would take 63 of them at most
    found = np.empty(arrays[0].size, dtype=object)
    found[:] = [function(*entries) for entries in zip(*(x.reshape(-1) for x in arrays), strict=True)]
    return Known.spread(found.reshape(arrays[0].shape), shape, tagged)
