"""Random keys: threefry's, as words that are computed while tracing, and what is drawn from them, as public tensors.

A key follows from constants, counters and the step's number, as any public number does, and is folded for all steps at once. One that the
step's number was folded into remembers how (``Series.source``): what is drawn from it needs no table of keys. Of the words a ``Draw``
is made, whose entries nobody commits to; few that are the same in all steps are constants.

What comes of the words is exact: shifts, remainders as ``jax.random.randint`` takes them, a float's bits as ``jax.random.uniform`` fills
them, and comparisons, with float32's numbers.
"""

import math
from dataclasses import replace
from fractions import Fraction

import numpy as np

from ..algebra import functions as programs
from ..algebra import threefry
from ..ops.draw import MAX_AXIS, MAX_OF_TWO, MAX_PATH, PLACE, ROW, STEP, WORD, Draw, Residue
from ..ops.leaves import MAX_CONSTANT
from . import functions
from .constants import Keys, Known, in_single, map_known
from .expressions import Combination, Drawn, Expression, Mask, is_public, reached, unmoved
from .rationals import common, log2, valuation
from .series import Refusal, Series, values

IMPLEMENTATION = "threefry2x32"
OWN = "zkjax keys"  # scope of typed keys that become what they were when they were given
MAX_KEYS = 2**10  # that words are drawn from at once
FEW = 2**14  # numbers that a table tells apart
ONE, FRACTION = 0x3F800000, 23  # float32: the bits of 1, and how many stand after its leading one
TINY, HUGE = Fraction(2) ** -126, Fraction(2) ** 127  # float32: the least number that every machine has, and what none goes beyond
CURE = "use jax.random.bernoulli, randint, or uniform, compared with a number or as it is, or give what is drawn in the data"
PLAIN = "compare jax.random.uniform(key, shape) itself, between 0 and 1, with a number"
MASKS = "compare each array of jax.random.uniform with one number, and put the masks together"
WRITTEN = "compute it in Python or with NumPy, outside of jax.numpy"
STEADY = "use one number in all steps, or give the mask in the batch"


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
    if name in graph.unusual and OWN not in str(eqn.source_info.name_stack):
        raise Refusal(graph.unusual[name])
    if not all(isinstance(x, (Known, Keys)) for x in values):
        raise Refusal("a random key that depends on data, on parameters, or on what was drawn; derive keys from keys and counters alone")
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
    raise Refusal(f"an operation on random keys that is not known; {CURE}")


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
    root, path = sources[0] if rows == 1 else _in_rows(sources)
    drawn = shape if rows == 1 else (rows, *shape)
    words = graph.reshape(graph.node(Draw(drawn, root, path, 0, 0), (), drawn), whole)
    return Drawn(words, Fraction(1), Fraction(0), (Fraction(1), Fraction(0)), True)


def _in_rows(sources: list[tuple]) -> tuple[tuple, tuple]:
    """The source of keys of which number i has the i-th in its place, as after ``jax.random.split``."""
    (root, path), length = sources[0], {len(path) for _, path in sources}
    varying = [d for d in range(len(path)) if len({p[d] for _, p in sources}) > 1] if len(length) == 1 else []
    if {r for r, _ in sources} != {root} or len(varying) != 1 or any(p[varying[0]] != i for i, (_, p) in enumerate(sources)):
        raise Refusal("words of several keys that are not the rows of one jax.random.split; draw from one key, with the batch in the shape")
    return root, tuple(ROW if d == varying[0] else n for d, n in enumerate(path))


# ---- what comes of the words ------------------------------------------------------------------------------------------


def combined(graph, coefficients, terms) -> Drawn | None:
    """c * x + d * y + ... where one term is of words, and the others are steady numbers; None of anything else."""
    found = [(c, x) for c, x in zip(coefficients, terms, strict=True) if isinstance(x, Drawn)]
    if len(found) != 1 or not all(isinstance(x, Drawn) or _steady(x) for x in terms):
        return None
    (c, x), others = found[0], [(d, y) for d, y in zip(coefficients, terms, strict=True) if isinstance(y, Known)]
    numbers = [_single(y, x.whole) for _, y in others]
    single = None
    if x.single is not None and None not in numbers:
        single = c * x.single[0], c * x.single[1] + sum(d * n for (d, _), n in zip(others, numbers, strict=True))
    constant = c * x.constant + sum(d * y.scalar for d, y in others)
    return _followed(graph, x, c * x.factor, constant, single, any(y.tagged for _, y in others))


def summed(graph, coefficients, terms):
    """c * x + d * y + ... of words, constants, tensors."""
    words = combined(graph, coefficients, terms)
    if words is not None:
        return words
    return graph.linear([(c, x if isinstance(x, Known) else graph.tensor(x)) for c, x in zip(coefficients, terms, strict=True)])


def multiplied(graph, x, y) -> Drawn | None:
    """A product of words and a steady number other than 0; None of anything else."""
    x, y = (y, x) if isinstance(x, Known) else (x, y)
    if not isinstance(x, Drawn) or not _steady(y) or not y.scalar:
        return None
    n = _single(y, x.whole)
    single = None if x.single is None or n is None else (n * x.single[0], n * x.single[1])
    return _followed(graph, x, y.scalar * x.factor, y.scalar * x.constant, single, y.tagged)


def as_number(graph, x: Drawn) -> Drawn:
    """Integers as floating-point numbers."""
    return _followed(graph, replace(x, whole=False), x.factor, x.constant, x.single)


def _steady(x) -> bool:
    """Whether this is one finite number, in all entries and all steps."""
    return isinstance(x, Known) and isinstance(x.scalar, int | Fraction)


def _single(x: Known, whole: bool) -> Fraction | None:
    """The number that JAX has, if it is known."""
    if whole:
        return Fraction(x.scalar)
    return in_single(x.scalar) if x.single and (not x.scalar or TINY <= abs(x.scalar) < HUGE) else None


def _followed(graph, x: Drawn, factor, constant, single, tagged: bool = False) -> Drawn:
    """Words with another factor and constant. JAX has these very numbers where float32 holds all of them."""
    found = replace(x, factor=Fraction(factor), constant=Fraction(constant), single=single, tagged=x.tagged or tagged)
    if x.whole or single is None:
        return found
    unit = Fraction(2) ** -valuation(common(single))
    ends = (abs(single[0] * v + single[1]) for v in graph.range(x.words))
    return found if all(v <= unit * 2 ** (FRACTION + 1) for v in ends) and unit >= TINY else replace(found, single=None)


def shifted(graph, eqn, x, n):
    """``shift_right_logical`` of words as they were drawn."""
    if not _is_fresh(x) or not isinstance(n, Known) or not isinstance(n.scalar, int):
        raise Refusal(f"a shift of integers that depend on data, or of what became of random words; {CURE}")
    shift = _draw(x.words).operation.shift + n.scalar
    return Known.uniform(0, x.shape) if shift >= WORD else x.moved(lambda words: _with(graph, words, shift=shift))


def _is_fresh(x) -> bool:
    """Whether these are words as they were drawn, shifted or not."""
    return isinstance(x, Drawn) and x.whole and (x.factor, x.constant) == (1, 0) and type(_draw(x.words).operation) is Draw


def remainder(graph, x, y) -> Drawn | Known | None:
    """``rem`` by a constant of words as they were drawn, of what is less anyway, and of what ``jax.random.randint`` makes of two words.

    None of anything else.
    """
    if not isinstance(y, Known) or type(y.scalar) is not int or y.scalar <= 0 or not isinstance(x, Drawn | Expression):
        return None
    if isinstance(x, Drawn):
        low, high = graph.range(x)
        if x.whole and 0 <= low and high < y.scalar:
            return x
        if x.whole and y.scalar == 1:
            return Known.uniform(0, x.shape, x.tagged)
        return x.moved(lambda words: _with(graph, words, modulus=y.scalar, parts=1)) if _is_fresh(x) else None
    words = _of_two(graph, x, y.scalar)
    if words is not None:
        return Drawn(words, Fraction(1), Fraction(0), (Fraction(1), Fraction(0)), True, x.tagged)
    if is_public(x) and sum(y.does(Draw) for y in reached(x)) > 1:
        raise Refusal("a remainder of random numbers that were put together", CURE)
    return None


def _of_two(graph, x: Expression, modulus: int) -> Expression | None:
    """The residue of 2^32 * high + low, of which x is the sum of residues; the words are those of one key's two."""
    if modulus > MAX_OF_TWO or not x.does(Combination) or x.operation.coefficients != (2**WORD % modulus, 1):
        return None
    high, low = x.inputs
    if not unmoved(high).does(Residue):
        return None
    draw = _draw(high).operation
    *path, last = draw.path or (None,)
    if (last, draw.shift, draw.threshold, draw.modulus, draw.parts) != (0, 0, 0, modulus, 1):
        return None
    if _with(graph, high, path=(*path, 1)) is not low:
        return None
    return _with(graph, high, path=tuple(path), parts=2)


def one_hot(graph, x: Drawn, size: int) -> Expression | None:
    """1 where a residue, and a number, are the place along a further, last axis of this length, which has a place for each of them."""
    draw, moves = _draw(x.words).operation, []
    below = x.words
    while not below.does(Draw):
        moves.append(below)
        below = below.inputs[0]
    first, whole = x.constant, isinstance(draw, Residue) and x.whole and x.factor == 1 and all(y.does(*functions.FREE) for y in moves)
    if not whole or draw.modulus > MAX_AXIS or first < 0 or first + draw.modulus > size:
        return None
    found = graph.node(replace(draw, threshold=PLACE), (), (*draw.shape, draw.modulus))
    for y in reversed(moves):
        found = graph.moved(y, found, (draw.modulus,))
    margins = [(0, 0, 0)] * len(x.shape) + [(int(first), size - draw.modulus - int(first), 0)]
    found = graph.pad(found, Known.uniform(Fraction(0), ()), margins)
    graph.one_along[found] = (len(x.shape),)
    return found


def read(graph, x: Drawn) -> Expression:
    """Random numbers as functions read them: integers as they are, others off their first bits, as the middle of all that begin so.

    So a table holds each number that may be drawn, no rounding comes before it, and none is an end, where functions may have no value.
    """
    draw, factor, constant, words = _draw(x.words).operation, x.factor, x.constant, x.words
    if draw.count > FEW and (x.whole or type(draw) is not Draw):
        raise Refusal("a function of random words has no exact counterpart", CURE)
    if draw.count > FEW:
        cell = draw.count // FEW
        words = _with(graph, words, shift=draw.shift + log2(Fraction(cell)))
        factor, constant = factor * cell, constant + factor * Fraction(cell, 2)
    program = programs.joined("mul", programs.number(functions.short(factor)), programs.IDENTITY)
    return graph.tag(functions.applied(graph, programs.joined("add", program, programs.number(functions.short(constant))), words), x.tagged)


def filled(graph, x, y) -> Drawn | None:
    """``or`` with a constant that has no bit where drawn words have some: their sum. None of anything else."""
    x, y = (y, x) if isinstance(x, Known) else (x, y)
    if not isinstance(x, Drawn) or not isinstance(y, Known) or type(y.scalar) is not int:
        return None
    low, high = graph.range(x)
    return combined(graph, (1, 1), (x, y)) if low >= 0 and y.scalar & -y.scalar > high else None


def as_float(graph, eqn, x) -> Drawn:
    """``bitcast_convert_type`` to float32 of integers between the bits of 1 and of 2, among which it is linear."""
    low, high = graph.range(x) if isinstance(x, Drawn) else (0, 0)
    if str(eqn.params["new_dtype"]) != "float32" or low < ONE or high >= ONE + 2**FRACTION:
        raise Refusal(f"the bits of numbers that depend on data; {CURE}")
    unit = Fraction(1, 2**FRACTION)
    numbers = x.factor * unit, 1 + (x.constant - ONE) * unit
    return _followed(graph, replace(x, whole=False), *numbers, numbers)


def compared(graph, x, y) -> Mask | Known | None:
    """x > y as JAX has it, bit by bit, where one is of words and the other a number: where a draw is below one. None of anything else."""
    (words, number), sign = ((x, y), 1) if isinstance(x, Drawn) else ((y, x), -1)
    if not isinstance(words, Drawn) or not isinstance(number, Known):
        return None
    if number.moving:
        raise Refusal(f"a comparison of random words with a number that depends on the step; {STEADY}")
    if not _steady(number):
        return None  # to be refused by ``check_comparison``
    limit = _single(number, words.whole)
    if words.single is None:
        raise Refusal(f"a comparison of what float32 has rounded, after random words were drawn, which is not the same everywhere; {PLAIN}")
    if limit is None:
        raise Refusal(f"a comparison of random words with a number that float32's arithmetic has made, rounded or not; {WRITTEN}")
    c, b = sign * words.single[0], sign * (words.single[1] - limit)
    below = math.ceil(-b / c) if c < 0 else math.floor(-b / c) + 1
    if below <= 0 or below > graph.range(words.words)[1]:
        return Known.uniform((below > 0) == (c < 0), words.shape)
    return Mask(_with(graph, words.words, threshold=below), c < 0)


def check_comparison(x: Expression) -> None:
    """Refusal where random words and constants alone decide: they would be rounded first, and another mask be drawn than JAX's."""
    if is_public(x) and _reads_words(x):
        raise Refusal("a comparison of random words with more than one number, or of such that were put together; " + MASKS)


def _reads_words(x: Expression) -> bool:
    """Whether random numbers are reached that are rounded, or no integers that a table tells apart."""
    draws = (y.operation for y in reached(x) if y.does(Draw) and not y.operation.threshold)
    return any(type(draw) is Draw or draw.count > FEW for draw in draws)


def _draw(x: Expression) -> Expression:
    """The draw that words are, moved or not."""
    while not x.does(Draw):
        (x,) = x.inputs
    return x


def _with(graph, x: Expression, **changes) -> Expression:
    """A draw, moved or not, with other attributes: a residue, if it has one's."""
    if x.does(Draw):
        kind = Residue if "modulus" in changes else type(x.operation)
        return graph.node(kind(**x.operation.attributes() | changes), (), x.shape)
    return graph.node(x.operation, [_with(graph, x.inputs[0], **changes)], x.shape)
