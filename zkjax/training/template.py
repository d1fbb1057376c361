"""Weights as the user's pytree: its structure and dtypes, or nests of dicts and lists where nobody has it any more."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..kernels.settings import fixed
from ..tracing.arguments import THREEFRY, is_key, keys_of


@dataclass(frozen=True, eq=False)
class Template:
    """How a run's integers become the user's params, or another state of theirs: pytree structure and dtypes.

    places: of each leaf the path in the circuit. state: of the model's state, where it was given beside the params.
    """

    structure: Any
    dtypes: tuple[str, ...]
    places: tuple[str, ...]
    state: "Template | None" = None

    @staticmethod
    def of(leaves: Sequence[Any], structure: Any, places: Sequence[str], public: Collection[str] = ()) -> "Template":
        """places: the leaves' paths in the circuit. public: paths of those that may be no floating-point arrays."""
        return Template(structure, tuple(_type(x, path in public) for x, path in zip(leaves, places, strict=True)), tuple(places))

    def fill(self, values: Mapping[str, np.ndarray]) -> Any:
        """The user's pytree of these values, by path."""
        with fixed(x64=jax.config.jax_enable_x64):
            leaves = [_as_type(values[path], d) for path, d in zip(self.places, self.dtypes, strict=True)]
            return jax.tree.unflatten(self.structure, leaves)


def template_of(circuit, leaves: Sequence[Any], structure: Any) -> Template:
    """Of the parameters alone, in the circuit's order."""
    return Template.of(leaves, structure, [x.path for x in circuit.parameters if x.given is None])


def _type(leaf: Any, public: bool) -> str:
    """The type in which JAX holds a leaf."""
    if is_key(leaf):
        return str(leaf.dtype)
    kind = np.dtype(leaf.dtype if hasattr(leaf, "dtype") else np.asarray(leaf).dtype).newbyteorder("=")
    if not public and not jnp.issubdtype(kind, jnp.floating):
        kind = np.dtype(np.float32)
    return str(jax.dtypes.canonicalize_dtype(np.float64 if kind == np.longdouble else kind))


def _as_type(values: np.ndarray, dtype: str) -> jax.Array:
    """An array of this type; of keys from their words."""
    if dtype == THREEFRY:
        return keys_of(jnp.asarray(values.astype(np.uint32)))
    return jnp.asarray(values.astype(dtype))


def nested(values: dict[str, np.ndarray]) -> Any:
    """Nests of dicts from values by path, "a/b" becoming {"a": {"b": ..}}; a list where the keys are 0, 1, .. in some order.

    Paths that contradict each other ("a" beside "a/b") stay as they are.
    """
    tree: dict = {}
    for path, value in values.items():
        *above, last = path.split("/")
        node = tree
        for key in above:
            node = node.setdefault(key, {})
            if not isinstance(node, dict):
                return values
        if last in node:
            return values
        node[last] = value

    def listed(node):
        if not isinstance(node, dict):
            return node
        inner = {key: listed(below) for key, below in node.items()}
        numbers = [str(i) for i in range(len(inner))]
        return [inner[i] for i in numbers] if set(inner) == set(numbers) else inner

    return listed(tree)
