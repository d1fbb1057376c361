"""First parameters from a public key, for whoever trains. How anybody draws them again is said in ``proofs/drawing.py``."""

import fnmatch
import math
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from ..errors import DataError, FormatError
from ..proofs.drawing import NUMBERS, SEEDS, Drawing
from ..tracing.arguments import Leaf, parameters, whole
from .template import Template

SHRUNK = 0.87962566103423978  # the standard deviation of a standard normal distribution that is cut at 2
SCALED = {"lecun": (1.0, False), "he": (2.0, False), "kaiming": (2.0, False), "glorot": (1.0, True), "xavier": (1.0, True)}
# of each family: variance times fan, and whether the fan is the mean of fan in and fan out
NEAR, SIGMAS = 0.02, 4.0  # how far the size of a parameter's own values may be from that of its distribution


def draw(params: Any, seed: int = 0, how: Mapping[str, Any] | None = None) -> tuple[Any, Drawing]:
    """First parameters that anybody can draw again from a public key. Returns (params, drawing): train from the one, publish the other.

    params: the pytree that a model's own initialisers made, or its shapes (``jax.eval_shape``).
    seed:   0 .. 2^32-1; the key is jax.random.key(seed).
    how:    pattern of paths (``"*/kernel"``, as of ``fnmatch``; the first that fits counts) to a distribution: "zeros", "ones",
            ("constant", c), ("uniform", low, high), ("normal", stddev), ("truncated_normal", stddev), which is cut at 2 stddev; or one
            that takes its width from the shape, as in jax.nn.initializers: "lecun_normal", "he_normal" ("kaiming"), "glorot_normal"
            ("xavier"), or "_uniform". Fan in is the product of all axes but the last, fan out of all but the one before it;
            ("lecun_normal", 64) says the fan.

    Where ``how`` says nothing: an array whose entries are all equal stays as it is; a ``bias`` is 0 and a ``scale`` 1; an ``embedding``
    is normal with stddev 1 / sqrt(its last axis); anything else is lecun_normal: Flax's own. Where values of ``params`` are plainly of
    another size than what would be drawn by this rule, nothing is: say how. An array that is shared is one parameter, as for ``trace``.
    Raises: DataError - a distribution that is none or does not fit, a pattern without a parameter; as ``trace`` for params.
    """
    if whole("seed", seed, 0) >= SEEDS:
        raise DataError(f"seed is {seed}; give an integer from 0 to 2^32 - 1")
    if not isinstance(how, Mapping | None):
        raise DataError(f"how is a {type(how).__name__}; give a dict of patterns of paths, such as {{'*/kernel': 'he_normal'}}")
    leaves, how = parameters(params), dict(how or {})
    unused = [pattern for pattern in how if not any(fnmatch.fnmatchcase(leaf.path, pattern) for leaf in leaves)]
    if unused:
        raise DataError(f"how: no parameter has a path like {unused[0]!r}; they are {', '.join(leaf.path for leaf in leaves)}")
    try:
        drawing = Drawing(int(seed), {leaf.path: _distribution(leaf, how) for leaf in leaves})
    except FormatError as error:
        raise DataError(f"parameter {error}") from None
    values = drawing.floats({leaf.path: leaf.shape for leaf in leaves})
    flat, structure = jax.tree.flatten(params)
    return Template.of(flat, structure, [leaf.path for leaf in leaves]).fill(values), drawing


def _distribution(leaf: Leaf, how: Mapping[str, Any]) -> tuple:
    """(name, numbers ..) of a parameter, as a drawing has them."""
    told = next((value for pattern, value in how.items() if fnmatch.fnmatchcase(leaf.path, pattern)), None)
    if told is not None:
        return _explicit(leaf, told)
    if leaf.array is not None and (leaf.array == leaf.array.reshape(-1)[0]).all():
        return "constant", float(leaf.array.reshape(-1)[0])
    last = leaf.path.rpartition("/")[2]
    if last in ("bias", "scale"):
        found = "constant", float(last == "scale")
    elif last == "embedding" and leaf.shape:
        found = "normal", 1 / math.sqrt(leaf.shape[-1])
    else:
        found = _explicit(leaf, "lecun_normal")
    _check_size(leaf, found)
    return found


def _explicit(leaf: Leaf, told: Any) -> tuple:
    """The distribution that a user names."""
    name, *numbers = told if isinstance(told, list | tuple) and told else (told,)
    name = str(name)
    try:
        numbers = [float(x) for x in numbers]
    except (TypeError, ValueError):
        raise DataError(f"parameter {leaf.path}: {told!r:.80} has something else than numbers beside its name") from None
    if name in ("zeros", "ones") and not numbers:
        return "constant", float(name == "ones")
    return (name, *numbers) if name in NUMBERS else _scaled(leaf, told, name, numbers)


def _scaled(leaf: Leaf, told: Any, name: str, numbers: list[float]) -> tuple:
    """Of variance scale / fan: normal, cut at two standard deviations, or uniform."""
    family, _, kind = name.partition("_")
    if family not in SCALED or kind not in ("normal", "uniform") or len(numbers) > 1:
        known = [*NUMBERS, "zeros", "ones", *(f"{x}_{y}" for x in SCALED for y in ("normal", "uniform"))]
        raise DataError(f"parameter {leaf.path}: {told!r:.80} is no distribution; known are {', '.join(known)}")
    scale, mean = SCALED[family]
    if not numbers and len(leaf.shape) < 2:
        raise DataError(f"parameter {leaf.path} of shape {leaf.shape} has no fan in; say how it is drawn, how={{{leaf.path!r}: 'zeros'}}")
    fan_in = math.prod(leaf.shape[:-1])
    fan = numbers[0] if numbers else (fan_in + math.prod(leaf.shape) // leaf.shape[-2]) / 2 if mean else fan_in
    if not 0 < fan < math.inf:
        raise DataError(f"parameter {leaf.path}: {told!r:.80} has the fan {fan}; it is above 0")
    stddev = math.sqrt(scale / fan)
    if kind == "normal":
        return "truncated_normal", stddev / SHRUNK
    return "uniform", -math.sqrt(3.0) * stddev, math.sqrt(3.0) * stddev


def _check_size(leaf: Leaf, found: tuple) -> None:
    """DataError where values that a model's own initialiser made are not of the default's size, as far as so many can tell."""
    if leaf.array is None:
        return
    name, number = found
    own = float(np.sqrt(np.mean(np.square(leaf.array, dtype=np.float64))))
    expected = abs(number) * (SHRUNK if name == "truncated_normal" else 1.0)
    if abs(own - expected) > (NEAR + SIGMAS / math.sqrt(leaf.array.size)) * expected:
        raise DataError(
            f"parameter {leaf.path}: its values have the size {own:.4g} (root of the mean square), and would be drawn as "
            f"{' '.join(map(str, found))}, of {expected:.4g}; say how it is drawn, such as how={{{leaf.path!r}: ('normal', {own:.4g})}}"
        )
