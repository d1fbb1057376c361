"""Disclose what stands behind commitments: publish their randomness, or open what is published at a point. See ``proofs/disclosure.py``."""

import secrets
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import pairwise
from numbers import Integral

import numpy as np

from ..circuit.parts import PARAMETERS
from ..commitment.commit import Committed, Mask, commit, stack
from ..commitment.dataset import dataset_root, shard_count
from ..commitment.keys import Chain
from ..commitment.opening import open_claim
from ..commitment.slots import Choice
from ..errors import ConfigurationError, RunError, UnsatisfiedWitnessError
from ..proofs.disclosed import cells_of, check_point, point_errors
from ..proofs.disclosure import Chosen, Disclosure, Item, Shards, numbers_in
from ..proofs.soundness import TARGET, security
from ..protocol.disclosure import Point, digest_of_cells
from ..protocol.plan import row_count
from ..protocol.transcript import Transcript, Writer
from ..work import Meter
from .commitments import Commitments, slots_of
from .lanes import cell_lanes
from .prove import coarse_integers, fix_geometry, make_plan

ENDS = {"parameters": "final", "initial": "initial"}


def disclose(
    run,
    what: str | int,
    *,
    samples: int | Iterable[int] | None = None,
    inputs: str | Iterable[str] | None = None,
    update: bool = False,
    frozen: bool = True,
    minimum_bits: float = TARGET,
    verify: bool = True,
) -> Disclosure:
    """What ties published weights or data to the commitments in a run's proofs. Returns a Disclosure; publish it with the arrays.

    run:          a Run; it is not changed.
    what:         "parameters": those after the run's last step, ``run.save_model``; "initial": those before its first step; "dataset": all
                  data; or the number of a shard of the dataset.
    samples:      of the dataset only these: a number, a range, or numbers in ascending order. inputs: and of these only the arrays of
                  these names, as the circuit has them; alone, of all samples.
    update:       disclose weights though others of the chain were disclosed: everybody knows the difference then.
    frozen:       with weights disclose those parameters, too, that no step changes.
    minimum_bits: refuse to make an opening with less proven security.
    verify:       verify a finished opening, from its bytes alone, before it is returned.

    Whoever has it and the arrays can show anybody that they are behind the commitment; it tells nothing of what else is secret. (Training
    is exact: weights and all data together give all later weights to anyone.) A commitment that holds nothing else is disclosed by the
    seed of its randomness, which costs no opening. Where an optimizer keeps states beside the parameters, these are opened at a random
    point, in a small proof: that takes one opening of them. Likewise some samples, which takes one opening of each shard that holds some.
    By a seed the chain's first commitments are disclosed, at a point those that have replaced them since: a verifier is given all proofs
    of the chain.
    Raises: RunError - no run, or one that was altered; ConfigurationError - another ``what``, other samples or inputs, too little
            security, or second weights of a chain without ``update``; BudgetError - openings of what is disclosed are needed for the
            chain's next proofs; UnsatisfiedWitnessError - a bug of the prover.
    """
    from ..kernels.threads import scope

    if not isinstance(getattr(run, "chain", None), Chain):
        raise RunError(f"run is a {type(run).__name__}; give a zkjax.Run")
    run.check()
    plan = make_plan(run)
    count = shard_count(run.data.samples, plan.batches.shard_size)
    numbers = range(count) if what == "dataset" else [what] if type(what) is int and 0 <= what < count else []
    if not numbers and (not isinstance(what, str) or what not in ENDS):
        raise ConfigurationError(
            f"what is {what!r:.80}; give 'parameters', 'initial', 'dataset', or the number of a shard, 0 .. {count - 1}"
        )
    if run.reads and not numbers:
        raise ConfigurationError("an evaluation has no weights of its own; disclose those of the run that it evaluates")
    chosen = None if samples is None and inputs is None else _chosen(run, what, samples, inputs)
    fix_geometry(run)
    with scope():
        if chosen is not None:
            return _samples(run, plan, chosen, count, minimum_bits, verify)
        if numbers:
            return _shards(_first(run, plan), numbers, count)
        return _weights(run, plan, ENDS[str(what)], update, frozen, minimum_bits, verify)


def _chosen(run, what, samples, inputs) -> Chosen:
    """What of the run's dataset is to be shown. Raises ConfigurationError."""
    if what != "dataset":
        raise ConfigurationError(f"samples and inputs are those of a dataset; give what='dataset', not {what!r:.80}")
    known, last = [x.name for x in run.circuit.inputs], run.data.samples - 1
    names = known if inputs is None else [inputs] if isinstance(inputs, str) else [*inputs]
    if not names or not set(names) <= set(known) or len(set(names)) < len(names):
        raise ConfigurationError(f"inputs is {inputs!r:.80}; give some of {', '.join(known)}")
    numbers = range(last + 1) if samples is None else [samples] if isinstance(samples, Integral) else [*samples]
    if not numbers or not all(isinstance(n, Integral) and not isinstance(n, bool) and 0 <= n <= last for n in numbers):
        raise ConfigurationError(f"samples is {samples!r:.80}; give numbers from 0 to {last}")
    if any(a >= b for a, b in pairwise(numbers)):
        raise ConfigurationError(f"samples is {samples!r:.80}; give them in ascending order, each once, as they stand in the arrays")
    return Chosen.of(map(int, numbers), [k for k, name in enumerate(known) if name in names])


def _first(run, plan, generation: dict[str, tuple] | None = None) -> Commitments:
    """The commitments that nothing has replaced yet. generation: of groups that are opened as they are now."""
    slots = tuple(slots_of(run, plan).values())
    choice = Choice(slots, {slot.group: () for slot in slots} | (generation or {}), ())
    return Commitments(run, plan, run.chain.geometry, coarse_integers(run, plan), choice)


def _by_seed(committed: Committed) -> Item:
    (part,) = committed.parts
    return Item(committed.commitment, part.seed)


def _shards(found: Commitments, numbers: Iterable[int], count: int) -> Disclosure:
    """Of these shards of ``count``, with what leads from them to the dataset's root."""
    items = tuple(_by_seed(found.shard(number)) for number in numbers)
    return Disclosure(found.geometry, items, _leading(found, items, count))


def _leading(found: Commitments, items: Sequence[Item], count: int, chosen: Chosen | None = None) -> Shards:
    """What leads from these shards of ``count`` to the dataset's root."""
    samples, size = found.run.data.samples, found.plan.batches.shard_size
    known = {item.commitment.number: item.commitment.digest(found.geometry) for item in items}
    digests = [known[n] if n in known else found.shard_digest(n) for n in range(count)]
    _, siblings = dataset_root(digests, list(known), samples, size)
    return Shards(samples, size, tuple(siblings), chosen)


def _samples(run, plan, chosen: Chosen, count: int, minimum_bits: float, verify: bool) -> Disclosure:
    """Of some samples: an opening of the shards that hold them."""
    slots, openings, geometry, size = slots_of(run, plan), run.chain.openings, run.chain.geometry, plan.batches.shard_size
    layouts = {number: plan.shard_layout(number) for number in chosen.shards(size, count)}
    _enough([row_count(layout, geometry.row) for layout in layouts.values()], geometry, minimum_bits)
    (*_, known) = slots.values()  # a shard
    opened = [known._replace(member=number, shown=f"shard {number} of the dataset") for number in layouts]
    found = _first(run, plan, {known.group: openings.take_alone(*opened)})
    committed = [found.shard(number) for number in layouts]
    items = tuple(Item(x.commitment, None) for x in committed)
    cells, numbers = [], numbers_in(chosen.samples)
    for number, layout, x in zip(layouts, layouts.values(), committed, strict=True):
        own = numbers[slice(*np.searchsorted(numbers, (number * size, (number + 1) * size)))]
        arrays = {("data", number, k): run.data.arrays[k][own] for k in chosen.inputs}
        cells.append(cells_of(layout, arrays, own - number * size, x.commitment.rows, geometry.row))
    return _at_a_point(Disclosure(geometry, items, _leading(found, items, count, chosen)), committed, cells, minimum_bits, verify)


def _weights(run, plan, name: str, update: bool, frozen: bool, minimum_bits: float, verify: bool) -> Disclosure:
    """Of the parameters of one end of the run, and, if asked for, of frozen ones."""
    slot, openings, geometry = slots_of(run, plan)[name], run.chain.openings, run.chain.geometry
    alone = slot.parts == (PARAMETERS,)
    found = _first(run, plan)
    if not alone:
        _enough([row_count(plan.layouts[name][PARAMETERS], geometry.row)], geometry, minimum_bits)
    openings.disclose(slot.group, slot.member, update)
    beside = (_by_seed(found.opened("frozen")),) if frozen and "frozen" in found.slots else ()
    if alone:
        return Disclosure(geometry, (_by_seed(found.opened(name)), *beside))
    found = _first(run, plan, {slot.group: openings.take_alone(slot._replace(parts=(PARAMETERS,)))})
    committed = found.opened(name).only(PARAMETERS)
    (member,) = committed.members
    return _at_a_point(Disclosure(geometry, (Item(committed.commitment, None), *beside)), [committed], [member.rows], minimum_bits, verify)


def _enough(heights: Sequence[int], geometry, minimum_bits: float) -> None:
    """ConfigurationError where an opening of parts of so many rows has less security."""
    security(point_errors(heights, geometry), geometry, stack([*heights, 1])[1]).require(minimum_bits)


def _at_a_point(
    bare: Disclosure, committed: Sequence[Committed], cells: Sequence[np.ndarray], minimum_bits: float, verify: bool
) -> Disclosure:
    """With the proof that these cells are behind what it opens, of which units were taken. committed: that, in stack order."""
    geometry, members = bare.geometry, [member for x in committed for member in x.members]
    heights = [member.part.rows for member in members]
    mask = Mask.of(geometry, [*heights, 1], [*(member.part.budget for member in members), 1])
    zeros, seed = np.zeros((1, geometry.row), dtype=np.uint64), secrets.token_bytes(32)
    trace = commit(zeros, kind="trace", number=0, budget=1, geometry=geometry, seed=seed, mask=mask)
    bare = replace(bare, arrays=digest_of_cells(cells))

    stream = Writer(Transcript(geometry.digest(), bare.canonical()))
    stream.raw("trace root", 32, trace.commitment.root)
    offsets, row_variables = stack(heights)
    point = Point.draw(stream.transcript, row_variables, geometry.log_row)
    placed = list(zip(offsets, cells, strict=True))
    lanes = [cell_lanes(point, offset, x) for offset, x in placed]
    open_claim(stream, geometry, [*committed, trace], [*lanes, []], point.value(placed))
    disclosure = replace(bare, body=bytes(stream))
    if verify:
        try:
            check_point(Disclosure.parse(bytes(disclosure)), cells, "opening", Meter(), minimum_bits)
        except Exception as error:
            told = f"the finished opening does not verify ({type(error).__name__}); it was thrown away. Please report it"
            raise UnsatisfiedWitnessError(told) from None
    return disclosure
