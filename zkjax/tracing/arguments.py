"""Arguments: what a user hands over, as arrays that are known to be good, or an error that names the culprit and a cure.

Also errors that libraries raise inside the user's own functions: they become errors of this package with the user's line.
"""

import functools
import inspect
import math
import operator
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..errors import DataError, UnsupportedOperationError, ZkjaxError
from . import places
from .keys import IMPLEMENTATION, OWN


def as_array(x, name: str) -> np.ndarray:
    """Real numbers as a NumPy array of the machine's own byte order; a float that NumPy alone knows as float64."""
    if isinstance(x, np.ma.MaskedArray):
        raise DataError(
            f"{name} is a masked array, whose mask would be lost; fill it, x.filled(0), or give the mask as an array of its own"
        )
    if isinstance(x, dict) or isinstance(x, tuple) and any(np.ndim(v) for v in x):
        raise DataError(f"{name} is a {type(x).__name__}; give every array as an argument of its own, as in loss(params, x, y)")
    try:
        array = np.asarray(x)
    except Exception as error:  # of any library; its text may quote values
        raise DataError(
            f"{name} ({type(x).__name__}) does not become a NumPy array ({type(error).__name__}): its rows may have unequal lengths, "
            "or it has to be turned into one first"
        ) from None
    if array.dtype.kind not in "fiub" and not jnp.issubdtype(array.dtype, jnp.floating):
        raise DataError(f"{name} has dtype {array.dtype}; give real numbers")
    if array.dtype.kind in "fiu" and (array.dtype.itemsize > 8 or not array.dtype.isnative):
        with np.errstate(all="ignore"):  # what float64 does not hold becomes infinite
            result = array.astype(np.float64 if array.dtype.itemsize > 8 else array.dtype.newbyteorder("="))
            if not np.array_equal(np.isfinite(result), np.isfinite(array)):
                raise DataError(f"{name} holds values beyond those of float64; scale them")
        return result
    return array


def whole(name: str, value, least: int = 1, why: str = "") -> int:
    """An integer argument of at least ``least``, and why it has to be."""
    try:
        number = operator.index(value)
    except TypeError:
        raise DataError(f"{name} is {value!r}; give an integer") from None
    if isinstance(value, (bool, np.bool_)):
        raise DataError(f"{name} is {value!r}; give an integer")
    if number < least:
        raise DataError(f"{name} is {value!r}; {why or f'it must be at least {least}'}")
    return number


# ---- parameters and batch --------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Leaf:
    """A parameter: its path, shape, and array (None where only the shape is known)."""

    path: str
    shape: tuple[int, ...]
    dtype: np.dtype
    array: np.ndarray | None

    @property
    def floats(self) -> bool:
        """Whether it holds floating-point numbers."""
        return bool(jnp.issubdtype(self.dtype, jnp.floating))

    @cached_property
    def largest(self) -> float:
        """Largest absolute value; 1 where the array is not known."""
        return 1.0 if self.array is None else float(np.abs(self.array).max())


def parameters(params) -> list[Leaf]:
    """The parameters in the order of JAX's pytrees, each with a path of its own."""
    if hasattr(params, "params") and hasattr(params, "apply_fn"):
        raise DataError("params is a TrainState; give its params, and its tx as the optimizer, or the whole of it to zkjax.trace_step")
    leaves = [_leaf(name, leaf) for name, leaf in named_leaves(params, "params").items()]
    if not leaves:
        raise DataError("params holds no arrays")
    return leaves


def state_leaves(state, kept: Sequence[bool], what: str = "state", prefix: str = "") -> list[Leaf]:
    """The leaves of any state in the order of JAX's pytrees, each with a path of its own; counters, booleans, words of keys among them.

    kept: of each, whether an optimizer keeps it, in whatever it computes.
    """
    leaves = []
    for (name, leaf), any_float in zip(named_leaves(state, what, prefix).items(), kept, strict=True):
        leaf = leaf if hasattr(leaf, "dtype") else np.asarray(leaf)
        if jnp.issubdtype(leaf.dtype, jnp.floating):
            leaves.append(_leaf(name, leaf, any_float))
            continue
        array = None if isinstance(leaf, jax.ShapeDtypeStruct) else as_array(leaf, name)
        leaves.append(Leaf(name, _static_shape(leaf, name), jax.dtypes.canonicalize_dtype(leaf.dtype), array))
    return leaves


def named_leaves(tree, what: str, prefix: str = "") -> dict[str, Any]:
    """Path, the parts of which are joined by "/", to leaf, in the order of JAX's pytrees."""
    found, places_of = {}, {}
    for keys, leaf in _paths(tree):
        name = prefix + jax.tree_util.keystr(keys, simple=True, separator="/") or what
        full = jax.tree_util.keystr(keys)
        if not name.isprintable():
            raise DataError(f"the name of parameter {name!a} holds characters that cannot be printed; rename it")
        if name in places_of:
            raise DataError(f"two parameters have the path {name}: {what}{places_of[name]} and {what}{full}; rename one of them")
        places_of[name], found[name] = full, leaf
    return found


def _paths(params):
    """(path, leaf) of each array. Flax's boxes wrap one, and their attribute is no part of the user's path."""
    for path, node in jax.tree_util.tree_flatten_with_path(params, is_leaf=_is_box)[0]:
        if _is_box(node):
            inside = jax.tree_util.tree_flatten_with_path(node)[0]
            yield from (((*path, *(rest if len(inside) > 1 else ())), leaf) for rest, leaf in inside)
        else:
            yield path, node


def _is_box(node) -> bool:
    """Whether it is an nnx.Variable, or an array of linen with names of its axes."""
    names = {"Variable", "AxisMetadata"}
    return any(c.__name__ in names and c.__module__.partition(".")[0] == "flax" for c in type(node).__mro__)


def _leaf(name: str, leaf, any_float: bool = False) -> Leaf:
    known = not isinstance(leaf, jax.ShapeDtypeStruct)
    if known and not hasattr(leaf, "dtype"):
        leaf = as_array(leaf, f"parameter {name}").astype(np.float32)
    if not jnp.issubdtype(leaf.dtype, jnp.floating):
        raise UnsupportedOperationError(
            f"parameter {name} has dtype {leaf.dtype}; only floating-point parameters can be trained. "
            f"Keep counters and random keys out of params, for example with nnx.split(model, nnx.Param, ...)"
        )
    if np.dtype(leaf.dtype).itemsize < 4 and not any_float:
        raise UnsupportedOperationError(
            f"parameter {name} has dtype {leaf.dtype}, whose rounding has no exact counterpart; use float32 (param_dtype=jnp.float32)"
        )
    shape = _static_shape(leaf, f"parameter {name}")
    if math.prod(shape) == 0:
        raise DataError(f"parameter {name} of shape {shape} is empty")
    array = as_array(leaf, f"parameter {name}") if known else None
    if array is not None and not np.isfinite(array).all():
        raise DataError(f"parameter {name} of shape {shape} holds values that are not finite")
    return Leaf(name, shape, np.dtype(leaf.dtype if array is None else array.dtype), array)


def _static_shape(x, name: str) -> tuple[int, ...]:
    if not all(isinstance(n, (int, np.integer)) for n in x.shape):
        raise DataError(f"{name} has the symbolic shape {tuple(x.shape)}; a circuit has fixed sizes: give integers")
    return tuple(int(n) for n in x.shape)


# ---- random keys --------------------------------------------------------------------------------------------------


THREEFRY = "key<fry>"  # as JAX prints the dtype
SETTINGS = {  # of JAX: what they are while tracing, and operations on keys to which they matter
    "jax_threefry_partitionable": (True, ("random_bits", "random_split")),
    "jax_enable_x64": (False, ("random_bits",)),
    "jax_default_prng_impl": (IMPLEMENTATION, ("random_seed", "random_wrap")),
}


def is_key(x) -> bool:
    """Whether this is an array, or a shape, of JAX's typed keys."""
    return hasattr(x, "dtype") and jax.dtypes.issubdtype(x.dtype, jax.dtypes.prng_key)


def unusual() -> dict[str, str]:
    """By name the operations on keys that do something else in the user's own program, as JAX is set now, than while tracing; and why."""
    found = {}
    for setting, (usual, names) in SETTINGS.items():
        value = getattr(jax.config, setting)
        if value != usual:
            told = f"{setting} is {value}, by which JAX draws other words than a circuit does; jax.config.update({setting!r}, {usual!r})"
            found |= dict.fromkeys(names, told)
    return found


def key_words(key) -> np.ndarray:
    """The two words of a key of the user's, ``jax.random.key(0)`` or ``jax.random.PRNGKey(0)``, uint32."""
    if is_key(key) and key.shape == () and not isinstance(key, jax.ShapeDtypeStruct):
        return np.asarray(_words_of(key))
    found = key if isinstance(key, (np.ndarray, jax.Array)) and not is_key(key) else None
    if found is None or found.shape != (2,) or found.dtype != np.uint32:
        raise DataError(f"key is {_kind(key)}; give one key, such as jax.random.key(0): it is public, and a part of the recipe")
    return np.asarray(found)


def _kind(x) -> str:
    return f"an array of {x.dtype} {tuple(x.shape)}" if hasattr(x, "dtype") else f"a {type(x).__name__}"


def in_words(tree):
    """A pytree whose typed keys have become their words."""
    return jax.tree.map(lambda x: _words_of(x) if is_key(x) else x, tree)


def _words_of(x):
    """Of typed keys."""
    if str(x.dtype) != THREEFRY:
        raise UnsupportedOperationError(f"random keys of dtype {x.dtype}; use {IMPLEMENTATION}, which is JAX's default")
    if isinstance(x, jax.ShapeDtypeStruct):
        raise DataError("the state holds a random key of which only the shape is given; give the key itself: it is public")
    return jax.random.key_data(x)


def as_keys(tree, like):
    """The other way: typed keys where ``like`` has some."""
    with jax.named_scope(OWN):
        return jax.tree.map(lambda x, y: keys_of(x) if is_key(y) else x, tree, like)


def keys_of(words):
    """Typed keys of their words, uint32 (.., 2)."""
    return jax.random.wrap_key_data(words, impl=IMPLEMENTATION)


NOTHING = "(nothing)"  # the array of a program without data: one sample of one zero, which no operation reads
STATE = "state/"  # begins the paths of what a model keeps beside its parameters


def batch_arrays(batch, full: bool = False) -> tuple:
    """The batch as arrays, or shapes where the data are not known; full: of all data, which are one sample then."""
    if not isinstance(batch, (tuple, list)):
        raise DataError(f"batch is {type(batch).__name__}; give a tuple of arrays, for example batch=(x[:64], y[:64]), or () for no data")
    arrays: list[Any] = []
    for i, x in enumerate(batch):
        name = f"batch[{i}]"
        if not isinstance(x, jax.ShapeDtypeStruct):
            x = as_array(x, name)
            _check_values(x, name)
        elif not (jnp.issubdtype(x.dtype, jnp.floating) or np.dtype(x.dtype).kind in "fiub"):
            raise DataError(f"{name} has dtype {x.dtype}; give real numbers")
        shape = _static_shape(x, name)
        if full:
            x = jax.ShapeDtypeStruct((1, *shape), x.dtype) if isinstance(x, jax.ShapeDtypeStruct) else x[None]
            shape = x.shape
        if math.prod(shape) == 0 or not shape or shape[0] != (arrays or [x])[0].shape[0]:
            raise DataError(
                f"{name} has shape {shape}; every array needs the same, non-empty first axis: the batch. Data that have none, such as a "
                "graph, which every step reads whole, go with full_batch=True"
            )
        arrays.append(x)
    return tuple(arrays)


def _check_values(x, name: str):
    """JAX computes in dtypes of its own, which have to hold the values."""
    if x.dtype.kind not in "iub" and not np.isfinite(x.astype(np.float64)).all():
        raise DataError(f"{name} holds values that are not finite")
    dtype = jax.dtypes.canonicalize_dtype(x.dtype)
    if dtype == x.dtype or not x.size:
        return
    limit = np.iinfo(dtype) if x.dtype.kind in "iu" else np.finfo(dtype)
    if x.min() < limit.min or x.max() > limit.max:
        worst = max(x.min(), x.max(), key=abs)
        raise DataError(f"{name} holds {worst:g}, which {dtype.name}, in which JAX computes, does not hold; scale the data")


# ---- the user's functions --------------------------------------------------------------------------------------------


def check_loss(loss, params, batch, what: str = "loss(params, *batch)") -> None:
    """That the loss is a function of params and as many arrays as the batch has; what: it, or a step of state and batch."""
    if not callable(loss):
        order = "trace(loss, optimizer, params, batch=...)" if what.startswith("loss") else "trace_step(train_step, state, batch)"
        raise DataError(f"{what.partition('(')[0]} is {type(loss).__name__}, not a function; the order is {order}")
    try:
        inspect.signature(loss).bind(params, *batch)
    except ValueError:  # a callable without a signature
        pass
    except TypeError as error:
        first = what.partition("(")[2].partition(",")[0]
        raise DataError(f"{what} does not take {first} and the {len(batch)} arrays of the batch: {error}") from None


def without_auxiliary(loss, with_state: bool = False):
    """Of a loss that returns (scalar, auxiliary output), as for ``jax.value_and_grad(.., has_aux=True)``, the scalar's function.

    with_state: it returns (scalar, (new state, auxiliary output)), and its function without the latter (scalar, new state).
    """
    if not callable(loss):
        return loss  # ``check_loss`` names it

    @functools.wraps(loss)
    def scalar(*arguments):
        result = loss(*arguments)
        if not isinstance(result, tuple) or len(result) != 2:
            raise DataError(f"has_aux is true, and the loss returns a {type(result).__name__}; return (scalar, auxiliary output)")
        if not with_state:
            return result[0]
        if not isinstance(result[1], tuple) or len(result[1]) != 2:
            raise DataError(f"the loss returns (scalar, {type(result[1]).__name__}); return (scalar, (new state, auxiliary output))")
        return result[0], result[1][0]

    return scalar


def input_names(loss, count: int, before: int = 1) -> tuple[str, ...]:
    """What the loss calls the arrays of the batch, which come after so many arguments."""
    try:
        names = [p.name for p in inspect.signature(loss).parameters.values() if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    except (TypeError, ValueError):
        names = []
    names = names[before : count + before]
    return tuple(names) if len(names) == count else tuple(f"batch[{i}]" for i in range(count))


BOOLEAN = "its value is not known while tracing; choose with jnp.where(x > 0, ...) in place of if, while, and, or"
CURES = {
    "TracerBoolConversionError": BOOLEAN,
    "TracerArrayConversionError": "a function of NumPy cannot be traced; use the one of jax.numpy",
    "TracerIntegerConversionError": "an index or a size must be a Python integer; use labels by jax.nn.one_hot(labels, classes)",
    "NonConcreteBooleanIndexError": "the shape of x[mask] depends on data; use jnp.where(mask, x, 0)",
    "UnexpectedTracerError": "a value of an earlier trace was kept; let the function keep no state between calls",
    "ConcretizationTypeError": BOOLEAN,
}


@contextmanager
def explained(what: str, function, otherwise: str | None = None) -> Iterator[None]:
    """Errors that a library raises while it runs a function of the user's, with the user's line and a cure.

    What the user's own lines raise is left alone. otherwise: the cure of errors that have none here; they are then
    UnsupportedOperationErrors, and else, as of shapes that do not fit, DataErrors.
    """
    try:
        yield
    except ZkjaxError:
        raise
    except Exception as error:
        place, by_library = places.of_error(error)
        if not by_library:
            raise
        place = place or places.of_function(function)
        cure = next((CURES[c.__name__] for c in type(error).__mro__ if c.__name__ in CURES), otherwise)
        if cure is None:
            raise DataError(f"{what} cannot be evaluated at {place}: {_first_line(error)} ({type(error).__name__})") from error
        raise UnsupportedOperationError(f"{what} cannot be traced at {place}: {_first_line(error)}; {cure}") from error


def _first_line(error: Exception) -> str:
    return next((line.strip().rstrip(".") for line in str(error).splitlines() if line.strip()), type(error).__name__)[:300]
