"""Random keys: threefry's, as words that are computed while tracing, and what is drawn from them, as public tensors.

A key follows from constants, counters and the step's number, as any public number does, and is folded for all steps at once. One that the
step's number was folded into remembers how (``Series.source``): what is drawn from it needs no table of keys. Of the words a ``Draw``
is made, whose entries nobody commits to; few that are the same in all steps are constants.

What comes of the words is exact: shifts, a float's bits as ``jax.random.uniform`` fills them, and comparisons, with float32's numbers.
"""

import math
from dataclasses import replace
from fractions import Fraction

import numpy as np

from ..algebra import threefry
from ..ops.draw import MAX_PATH, ROW, STEP, WORD, Draw
from ..ops.leaves import MAX_CONSTANT, InputArray, Param
from .constants import Keys, Known, map_known
from .expressions import Expression, Mask, affine, drawn
from .series import Refusal, Series, values

IMPLEMENTATION = "threefry2x32"
MAX_KEYS = 2**10  # that words are drawn from at once
ONE, FRACTION = 0x3F800000, 23  # float32: the bits of 1, and how many stand after its leading one
CURE = "use jax.random.bernoulli, or jax.random.uniform compared with a number"


def step_key(words: np.ndarray, steps: int) -> Known:
    """The keys ``fold_in(key, t)`` of all steps t, as two words; words: of the key."""
    source = tuple(int(w) for w in words), (STEP,)
    keys, found = Draw((), *source, 0, 0).keys(0, steps), np.empty(2, dtype=object)
    found[:] = [Series(tuple(int(w) for w in keys[:, 0, half]), (*source, half)) for half in range(2)]
    return Known(found, (2,))


def check(implementation: str) -> None:
    """Refusal for keys that are not threefry's."""
    if implementation != IMPLEMENTATION:
        raise Refusal(f"random keys of {implementation}; use {IMPLEMENTATION}, which is JAX's default")


def of_words(x: Known) -> Keys:
    """uint32 (.., 2) as keys."""
    return Keys(*(x.reshaped(lambda a, half=half: a[..., half], x.shape[:-1]) for half in range(2)))


def words_of(keys: Keys) -> Known:
    """Keys as uint32 (.., 2)."""
    return Known.spread(np.stack([keys.first.full(), keys.second.full()], axis=-1), (*keys.shape, 2), keys.tagged)


def apply(graph, eqn, values) -> list:
    """The results of an equation that makes or reads keys."""
    name, parameters = eqn.primitive.name, eqn.params
    check(getattr(parameters.get("impl"), "name", IMPLEMENTATION))
    if not all(isinstance(x, (Known, Keys)) for x in values):
        raise Refusal("a random key that depends on data or parameters")
    if name == "random_seed":
        return [_seeded(values[0], eqn.invars[0].aval.dtype)]
    if name == "random_wrap":
        return [of_words(values[0])]
    if name == "random_unwrap":
        return [words_of(values[0])]
    if name == "random_clone":
        return [values[0]]
    if name == "random_fold_in":
        return [_folded(*values, eqn.outvars[0].aval.shape)]
    if name == "random_split":
        return [_split(values[0], parameters["shape"])]
    if name == "random_bits":
        return [_drawn(graph, values[0], parameters["bit_width"], tuple(parameters["shape"]))]
    if name == "select_n":
        return moved(lambda which, *cases: map_known(lambda n, *x: x[int(n)], cases[0].shape, which, *cases), values)
    raise Refusal("an operation on random keys that is not known")


def moved(rule, values) -> list:
    """What a rule, a movement of entries, makes of arrays of keys, and of numbers such as indices."""
    halves = (rule(*(getattr(x, half, x) for x in values)) for half in ("first", "second"))
    return [Keys(*pair) for pair in zip(*(x if isinstance(x, list) else [x] for x in halves), strict=True)]


def _seeded(x: Known, dtype) -> Keys:
    low = map_known(lambda v: v % 2**WORD, x.shape, x)
    return Keys(map_known(lambda v: (v >> WORD) % 2**WORD if dtype.itemsize > 4 else 0, x.shape, x), low)


def _folded(keys: Keys, data: Known, shape) -> Keys:
    arrays = (np.broadcast_to(x.full(), shape).reshape(-1) for x in (keys.first, keys.second, data))
    halves = zip(*(_fold(*entries) for entries in zip(*arrays, strict=True)), strict=True)
    return Keys(*(_placed(words, shape) for words in halves))


def _placed(words, shape) -> Known:
    """Numbers, of all steps or one for each, as a constant of this shape."""
    found = np.empty(math.prod(shape), dtype=object)
    found[:] = words
    return Known.spread(found.reshape(shape), shape)


def _fold(first, second, data) -> tuple:
    """The two words of a key that a number is folded into."""
    steps = max(len(values(x)) for x in (first, second, data))
    # a guess at a counter may leave its dtype
    first_word, second_word, number = (np.uint32([v % 2**WORD for v in values(x)]) for x in (first, second, data))
    found = [tuple(int(w) for w in half) for half in threefry.fold_in((first_word, second_word), number)]
    if steps == 1:
        return found[0][0], found[1][0]
    root, path = _source(first, second)
    folded = not isinstance(data, Series) and len(path) < MAX_PATH
    return tuple(Series(words, (root, (*path, int(data)), half) if folded else None) for half, words in enumerate(found))


def _source(first, second) -> tuple[tuple, tuple]:
    """Words and a path that a key comes from, if its words are the first and the second one of it; else they are a table themselves."""
    found = [getattr(x, "source", None) for x in (first, second)]
    if None not in found and found[0] == (*found[1][:2], 0) and found[1][2] == 1:
        return found[0][:2]
    steps = max(len(values(x)) for x in (first, second))
    table = (np.broadcast_to(np.array(values(x), dtype=object), (steps,)) for x in (first, second))
    return tuple(int(w) for row in zip(*table, strict=True) for w in row), ()


def _split(keys: Keys, shape) -> Keys:
    count = math.prod(shape)
    if count * math.prod(keys.shape) > MAX_KEYS:
        raise Refusal(f"more than {MAX_KEYS} random keys at once")
    whole = (*keys.shape, *shape)
    numbers = Known(np.arange(count).astype(object).reshape(shape) if count > 1 else np.array(0, dtype=object), tuple(shape))
    first, second = (np.broadcast_to(x.full().reshape(*x.shape, *(1,) * len(shape)), whole) for x in (keys.first, keys.second))
    return _folded(
        Keys(Known.spread(first, whole), Known.spread(second, whole)), Known.spread(np.broadcast_to(numbers.full(), whole), whole), whole
    )


def _drawn(graph, keys: Keys, width: int, shape):
    """Words of this shape for each key."""
    if width != WORD:
        raise Refusal(f"random words of {width} bits; draw float32 or uint32")
    rows, size = math.prod(keys.shape), math.prod(shape)
    pairs = [*zip(keys.first.full().reshape(-1), keys.second.full().reshape(-1), strict=True)]
    steps = max((len(values(x)) for pair in pairs for x in pair), default=1)
    whole = (*keys.shape, *shape)
    if steps == 1 and size * rows <= MAX_CONSTANT:
        words = threefry.bits(np.array(pairs, dtype=np.uint32).reshape(rows, 2), size)
        return Known.spread(np.frompyfunc(int, 1, 1)(words.reshape(whole)), whole)
    sources = [_source(*pair) for pair in pairs]
    if rows == 1:
        return graph.reshape(graph.node(Draw(shape, *sources[0], 0, 0), (), shape), whole)
    root, path = _in_rows(sources)
    return graph.reshape(graph.node(Draw((rows, *shape), root, path, 0, 0), (), (rows, *shape)), whole)


def _in_rows(sources: list[tuple]) -> tuple[tuple, tuple]:
    """The source of keys of which number i has the i-th in its place, as after ``jax.random.split``."""
    (root, path), length = sources[0], {len(path) for _, path in sources}
    varying = [d for d in range(len(path)) if len({p[d] for _, p in sources}) > 1] if len(length) == 1 else []
    if {r for r, _ in sources} != {root} or len(varying) != 1 or any(p[varying[0]] != i for i, (_, p) in enumerate(sources)):
        raise Refusal("words of several keys that are not the rows of one jax.random.split; draw from one key, with the batch in the shape")
    return root, tuple(ROW if d == varying[0] else n for d, n in enumerate(path))


# ---- what comes of the words ------------------------------------------------------------------------------------------


def shifted(graph, eqn, x, n):
    """``shift_right_logical`` of words as they were drawn."""
    words = drawn(x) if isinstance(x, Expression) else None
    if words is None or words.operation.threshold or not isinstance(n, Known) or not isinstance(n.scalar, int):
        raise Refusal(f"a shift of integers that depend on data, or of what became of random words; {CURE}")
    shift = words.operation.shift + n.scalar
    return Known.uniform(0, x.shape) if shift >= WORD else _with(graph, x, shift=shift)


def filled(graph, x, y) -> Expression | None:
    """``or`` with a constant that has no bit where drawn words have some: their sum. None of anything else."""
    x, y = (y, x) if isinstance(x, Known) else (x, y)
    if not isinstance(x, Expression) or not isinstance(y, Known) or type(y.scalar) is not int or affine(x) is None:
        return None
    low, high = graph.range(x)
    return graph.linear([(1, x), (1, y)]) if low >= 0 and y.scalar & -y.scalar > high else None


def as_float(graph, eqn, x):
    """``bitcast_convert_type`` to float32 of integers between the bits of 1 and of 2, among which it is linear."""
    low, high = graph.range(x) if isinstance(x, Expression) and affine(x) is not None else (0, 0)
    if str(eqn.params["new_dtype"]) != "float32" or low < ONE or high >= ONE + 2**FRACTION:
        raise Refusal(f"the bits of numbers that depend on data; {CURE}")
    (drawn, c), constant = _single(x)
    unit = Fraction(1, 2**FRACTION)
    return graph.linear([(c * unit, drawn), (1 + (constant - ONE) * unit, Known.uniform(Fraction(1), x.shape))])


def _single(x) -> tuple[tuple[Expression, Fraction], Fraction]:
    terms, constant = affine(x)
    if len(terms) != 1:
        raise Refusal(f"a comparison of sums of random words; {CURE}")
    return next(iter(terms.items())), constant


def above_zero(graph, x: Expression, whole: bool) -> Mask | Known | None:
    """Where x is above 0, if it is c * draw + b of words: where a draw is below a number. None of anything else.

    JAX compares float32's, unless ``whole`` says integers: b is the float32 that the source means.
    """
    found = affine(x)
    if found is None or len(found[0]) != 1 or any(drawn(y).operation.threshold for y in found[0]):
        return None
    (words, c), b = _single(x)
    if not whole and abs(b) < 2**100:
        b = Fraction(float(np.float32(float(b))))
    below = math.ceil(-b / c) if c < 0 else math.floor(-b / c) + 1
    if below <= 0 or below > drawn(words).operation.bound([], [], None):
        return Known.uniform((below > 0) == (c < 0), x.shape)
    return Mask(_with(graph, words, threshold=below), c < 0)


def check_comparison(x: Expression) -> None:
    """Refusal where random words and constants alone decide: they would be rounded first, and another mask be drawn than JAX's."""
    stack, seen, words = [x], set(), False
    while stack:
        x = stack.pop()
        if x in seen:
            continue
        seen.add(x)
        if x.does(Param, InputArray):
            return
        words = words or x.does(Draw) and not x.operation.threshold
        stack += x.inputs
    if words:
        raise Refusal(f"a comparison of random words with more than one number; {CURE}")


def _with(graph, x: Expression, **changes) -> Expression:
    """A draw, moved or not, with other attributes."""
    if x.does(Draw):
        return graph.node(replace(x.operation, **changes), (), x.shape)
    return graph.node(x.operation, [_with(graph, x.inputs[0], **changes)], x.shape)
