"""The user's own step beside the exact training: what it returns besides its state, in floating point, for the trainer alone.

Nothing of it is proven. It is computed from the exact training's states, rounded to the types of the user's arrays, and the batch.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..algebra import threefry
from ..kernels.settings import fixed


@dataclass(frozen=True, eq=False)
class OwnStep:
    """A step as the user wrote it, ``step(state, *batch[, key]) -> (state, outputs)``, random keys as words.

    structure, leaves: of the state, the latter by path in the circuit and dtype. batch: dtypes of its arrays. key: the words of the user's
    key, into which a step's number is folded, if there is one.
    """

    step: Callable[..., Any]
    structure: Any
    leaves: tuple[tuple[str, np.dtype], ...]
    batch: tuple[np.dtype, ...]
    key: np.ndarray | None

    def outputs(self, values: Mapping[str, np.ndarray], batch, number: int) -> dict[str, Any]:
        """What the step of this number returns besides its state: Python's numbers for scalars, NumPy arrays for others.

        values: of the state before it, by path. batch: its arrays.
        """
        with fixed(x64=False):
            state = jax.tree.unflatten(self.structure, [jnp.asarray(values[path].astype(kind)) for path, kind in self.leaves])
            arrays = (jnp.asarray(x.astype(kind)) for x, kind in zip(batch, self.batch, strict=True))
            found = jax.tree.map(_plain, self._outputs(state, *arrays, *folded(self.key, number)))
        return dict(found) if isinstance(found, Mapping) else {"outputs": found}

    def __reduce__(self):
        """A user's function is of this process: to another one nothing goes, as to a file."""
        return type(None), ()

    def __deepcopy__(self, memo):
        return self

    @cached_property
    def _outputs(self):
        return jax.jit(lambda *arguments: self.step(*arguments)[1])


def folded(key: np.ndarray | None, number: int) -> tuple[np.ndarray, ...]:
    """What a step is given after its batch: the words of its key, if it has one."""
    return () if key is None else (np.concatenate(threefry.fold_in((key[:1], key[1:]), np.uint32([number]))),)


def _plain(x):
    return x.item() if x.ndim == 0 else np.asarray(x)
