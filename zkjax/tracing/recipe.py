"""A recipe: all that a circuit follows from besides its formats, as the source has it. An auditor traces it again from shapes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from ..circuit.circuit import Circuit
from ..errors import ConfigurationError
from .precision import Precision
from .program import trace, trace_step
from .starts import kept_by_optimizers


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Recipe:
    """What ``zkjax.trace`` takes (loss, optimizer, params), or ``zkjax.trace_step`` (train_step, state), and the shapes of a batch.

    A function without arguments that returns one, beside the training, is what ``python -m zkjax trace FILE.py:function`` looks for::

        def recipe():
            params = jax.eval_shape(lambda: initial_params(0))
            batch = jax.ShapeDtypeStruct((32, 64), np.float32), jax.ShapeDtypeStruct((32,), np.int32)
            return zkjax.Recipe(loss=loss, optimizer=optimizer, params=params, batch=batch, steps=144, chunk=48)

    All fields are the arguments of those two functions, which say what they are; ``state`` is a model's with a loss, and all that a step
    moves with a train_step. Arrays or ``jax.ShapeDtypeStruct``; counters, and what an optimizer begins with other than zeros, as arrays.
    """

    loss: Callable[..., Any] | None = None
    optimizer: Any = None
    params: Any = None
    train_step: Callable[..., Any] | None = None
    state: Any = None
    batch: Sequence[Any] = ()
    steps: int | None = None
    chunk: int = 16
    key: Any = None
    has_aux: bool = False
    full_batch: bool = False
    outputs: Sequence[str] = ()

    def __post_init__(self) -> None:
        of_loss, of_step = (self.loss, self.optimizer, self.params), (self.train_step, self.state)
        one = self.train_step is None and all(x is not None for x in of_loss)
        other = all(x is not None for x in of_step) and all(x is None for x in of_loss)
        if not one and not other:
            raise ConfigurationError("a recipe has loss, optimizer and params (for zkjax.trace), or train_step and state (for trace_step)")
        unread = ("outputs",) if one else ("has_aux",)
        if any(getattr(self, name) for name in unread):
            raise ConfigurationError(f"{unread[0]} is no argument of zkjax.{'trace' if one else 'trace_step'}")

    def trace(self, precision: Precision | None = None) -> Circuit:
        """The circuit of this recipe. With a complete precision, ``circuit.precision`` or its file, nothing follows from numbers in arrays:
        only their shapes are read, but for what a state begins with. Raises as ``zkjax.trace`` and ``zkjax.trace_step``."""
        known = precision is None or not precision.complete
        batch = self.batch if known else jax.tree.map(_shape, self.batch)
        options = {"key": self.key, "full_batch": self.full_batch, "precision": precision, "steps": self.steps, "chunk": self.chunk}
        if self.train_step is not None:
            state = self.state if known else _shapes_of_weights(self.state)
            return trace_step(self.train_step, state, batch, outputs=self.outputs, **options)
        params = self.params if known else jax.tree.map(_shape, self.params)
        return trace(self.loss, self.optimizer, params, batch=batch, has_aux=self.has_aux, state=self.state, **options)


def _shape(x):
    return jax.ShapeDtypeStruct(x.shape, x.dtype) if hasattr(x, "dtype") else x


def _shapes_of_weights(state):
    """A state whose floating-point arrays are shapes, but for what an optimizer keeps: where that begins, the circuit says."""
    leaves, structure = jax.tree.flatten(state)
    kept = kept_by_optimizers(state)
    weights = (not own and hasattr(x, "dtype") and jnp.issubdtype(x.dtype, jnp.floating) for x, own in zip(leaves, kept, strict=True))
    return structure.unflatten([_shape(x) if weight else x for x, weight in zip(leaves, weights, strict=True)])
