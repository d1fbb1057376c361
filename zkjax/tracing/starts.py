"""Where a chain begins: what an optimizer's ``init`` makes of parameters, as constants and copies of them."""

from fractions import Fraction

import jax
import numpy as np
import optax

from ..errors import DataError, UnsupportedOperationError
from ..ops.leaves import Param
from . import places
from .arguments import Leaf, as_keys, explained, in_words, is_key
from .constants import Known
from .folding import kind
from .graph import Graph
from .interpreter import interpret
from .series import Refusal
from .step import Start

CURE = (
    "give the learning rate as a number, such as 1 / 64, or as an optax schedule; an optimizer that is called in another way than "
    "update(gradients, state, params) goes to zkjax.trace_step, in a step of your own"
)
PREFIX = "optimizer"  # of the paths of what an optimizer keeps


def with_words(optimizer, shapes):
    """The optimizer, which keeps random keys as their words. shapes: the pytree of the parameters' shapes."""
    if not (hasattr(optimizer, "init") and hasattr(optimizer, "update")):
        raise UnsupportedOperationError(f"the optimizer is {type(optimizer).__name__}; give an optax optimizer such as optax.sgd(1 / 64)")
    with explained("the optimizer", optimizer.init, CURE):
        like = jax.eval_shape(optimizer.init, shapes)
    if not any(map(is_key, jax.tree.leaves(like))):
        return optimizer

    def update(gradient, state, params):
        updates, state = optimizer.update(gradient, as_keys(state, like), params)
        return updates, in_words(state)

    return optax.GradientTransformation(lambda params: in_words(optimizer.init(params)), update)


def first_state(optimizer, shapes, leaves: list[Leaf]) -> tuple[list[Start], object]:
    """The leaves of ``optimizer.init(params)``, and its pytree of shapes.

    shapes: the pytree of the parameters' shapes. leaves: the parameters. Raises UnsupportedOperationError, DataError.
    """
    with explained("the optimizer", optimizer.init, CURE):
        state = jax.eval_shape(optimizer.init, shapes)
        closed = jax.make_jaxpr(lambda params: jax.tree.leaves(optimizer.init(params)))(shapes)
    found = [_leaf(keys, x) for keys, x in jax.tree_util.tree_flatten_with_path(state)[0]]
    if taken := {x.path for x in found} & {x.path for x in leaves}:
        raise DataError(f"the parameter {min(taken)} has the path of what the optimizer keeps; rename it")
    graph = Graph()
    parameters = [graph.node(Param(i), (), x.shape) for i, x in enumerate(leaves)]
    values = interpret(graph, closed, parameters, places.of_function(optimizer.init))
    return [Start(leaf, _start(leaf, x)) for leaf, x in zip(found, values, strict=True)], state


def start_of(leaf: Leaf, kept: bool) -> Start:
    """A leaf of a state of the user's own. kept: by an optimizer: where its numbers are equal, the circuit gives them.

    Counters and booleans are public. Where only shapes are known, what an optimizer keeps, and counters, begin at 0.
    """
    if leaf.floats and not kept:
        return Start(leaf, None)
    if leaf.array is None:
        return Start(leaf, Known.uniform({"f": Fraction(0), "i": 0, "b": False}[kind(leaf.dtype)], leaf.shape))
    try:
        value = Known.of(leaf.array)
    except Refusal:
        raise UnsupportedOperationError(
            f"{leaf.path} of shape {leaf.shape} and dtype {leaf.dtype} has too many different entries for what a circuit says of a state; "
            "give it in the batch"
        ) from None
    return Start(leaf, None if leaf.floats and value.scalar is None else value)


def kept_by_optimizers(state) -> list[bool]:
    """For each leaf of a state whether it lies in a state of optax, or in what is called ``opt_state``."""
    found = []
    for keys, node in jax.tree_util.tree_flatten_with_path(state, is_leaf=_is_optax)[0]:
        inside = _is_optax(node) or any("opt_state" in str(k) for k in keys)
        found += [inside] * len(jax.tree.leaves(node))
    return found


def _is_optax(node) -> bool:
    return type(node).__module__.partition(".")[0] == "optax"


def _leaf(keys, x) -> Leaf:
    path = "/".join(part for part in (PREFIX, jax.tree_util.keystr(keys, simple=True, separator="/")) if part)
    return Leaf(path, tuple(x.shape), np.dtype(x.dtype), None)


def _start(leaf: Leaf, x) -> Known | int:
    if isinstance(x, Known):
        return x
    if x.does(Param) and leaf.floats:
        return x.operation.index
    raise UnsupportedOperationError(f"{leaf.path} begins as a function of the parameters; only copies of them and constants may it be")
