"""Disclose what stands behind commitments: publish their randomness, or open what is published at a point. See ``proofs/disclosure.py``."""

import hashlib
import secrets
from collections.abc import Iterable

import numpy as np

from ..circuit.parts import PARAMETERS
from ..commitment.commit import Committed, Mask, commit, stack
from ..commitment.dataset import dataset_root, shard_count
from ..commitment.keys import Chain
from ..commitment.opening import open_claim
from ..commitment.slots import Choice
from ..errors import ConfigurationError, RunError, UnsatisfiedWitnessError
from ..proofs.disclosed import check_point, point_errors
from ..proofs.disclosure import Disclosure, Item, Shards
from ..proofs.soundness import TARGET, security
from ..protocol.disclosure import Point
from ..protocol.plan import row_count
from ..protocol.transcript import Transcript, Writer, base_bytes
from ..work import Meter
from .commitments import Commitments, slots_of
from .lanes import point_lane
from .prove import coarse_integers, fix_geometry, make_plan

ENDS = {"parameters": "final", "initial": "initial"}


def disclose(
    run, what: str | int, *, update: bool = False, frozen: bool = True, minimum_bits: float = TARGET, verify: bool = True
) -> Disclosure:
    """What ties published weights or data to the commitments in a run's proofs. Returns a Disclosure; publish it with the arrays.

    run:          a Run; it is not changed.
    what:         "parameters": those after the run's last step, ``run.save_model``; "initial": those before its first step; "dataset": all
                  data; or the number of a shard of the dataset.
    update:       disclose weights though others of the chain were disclosed: everybody knows the difference then.
    frozen:       with weights disclose those parameters, too, that no step changes.
    minimum_bits: refuse to make an opening with less proven security.
    verify:       verify a finished opening, from its bytes alone, before it is returned.

    Whoever has it and the arrays can show anybody that they are behind the commitment; it tells nothing of what else is secret. (Training
    is exact: weights and all data together give all later weights to anyone.) A commitment that holds nothing else is disclosed by the
    seed of its randomness, which costs no opening. Where an optimizer keeps states beside the parameters, these are opened at a random
    point, in a small proof: that takes one opening of them. By a seed the chain's first commitments are disclosed, at a point those that
    have replaced them since: a verifier is given all proofs of the chain.
    Raises: RunError - no run, or one that was altered; ConfigurationError - another ``what``, too little security, or second weights of a
            chain without ``update``; BudgetError - openings of the parameters are needed for the chain's next proofs;
            UnsatisfiedWitnessError - a bug of the prover.
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
    fix_geometry(run)
    with scope():
        if numbers:
            return _shards(_first(run, plan), numbers, count)
        return _weights(run, plan, ENDS[str(what)], update, frozen, minimum_bits, verify)


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
    samples, size = found.run.data.samples, found.plan.batches.shard_size
    known = {item.commitment.number: item.commitment.digest(found.geometry) for item in items}
    digests = [known[n] if n in known else found.shard_digest(n) for n in range(count)]
    _, siblings = dataset_root(digests, list(known), samples, size)
    return Disclosure(found.geometry, items, Shards(samples, size, tuple(siblings)))


def _weights(run, plan, name: str, update: bool, frozen: bool, minimum_bits: float, verify: bool) -> Disclosure:
    """Of the parameters of one end of the run, and, if asked for, of frozen ones."""
    slot, openings, geometry = slots_of(run, plan)[name], run.chain.openings, run.chain.geometry
    alone = slot.parts == (PARAMETERS,)
    found = _first(run, plan)
    if not alone:
        rows = row_count(plan.layouts[name][PARAMETERS], geometry.row)
        security(point_errors(rows, geometry), geometry, stack([rows, 1])[1]).require(minimum_bits)
    openings.disclose(slot.group, slot.member, update)
    beside = (_by_seed(found.opened("frozen")),) if frozen and "frozen" in found.slots else ()
    if alone:
        return Disclosure(geometry, (_by_seed(found.opened(name)), *beside))
    generation = openings.take_alone(slot._replace(parts=(PARAMETERS,)))
    found = _first(run, plan, {slot.group: ((slot.member, generation),)})
    disclosure, rows = _at_a_point(found.opened(name).only(PARAMETERS), beside)
    if verify:
        try:
            check_point(Disclosure.parse(bytes(disclosure)), rows, "opening", Meter(), minimum_bits)
        except Exception as error:
            told = f"the finished opening does not verify ({type(error).__name__}); it was thrown away. Please report it"
            raise UnsatisfiedWitnessError(told) from None
    return disclosure


def _at_a_point(committed: Committed, beside: tuple[Item, ...]) -> tuple[Disclosure, np.ndarray]:
    """Of the part that is opened, which a unit was taken of, and of what else is in the file. Also the rows that it is about."""
    geometry, (member,) = committed.geometry, committed.members
    rows, budget = member.part.rows, member.part.budget
    mask = Mask.of(geometry, [rows, 1], [budget, 1])
    zeros, seed = np.zeros((1, geometry.row), dtype=np.uint64), secrets.token_bytes(32)
    trace = commit(zeros, kind="trace", number=0, budget=1, geometry=geometry, seed=seed, mask=mask)
    arrays = hashlib.sha256(base_bytes(member.rows)).digest()
    bare = Disclosure(geometry, (Item(committed.commitment, None), *beside), None, arrays)

    stream = Writer(Transcript(geometry.digest(), bare.canonical()))
    stream.raw("trace root", 32, trace.commitment.root)
    point = Point.draw(stream.transcript, rows, geometry.log_row)
    open_claim(stream, geometry, [committed, trace], [[point_lane(point.high, point.low, rows)], []], point.value(member.rows))
    return Disclosure(bare.geometry, bare.items, None, arrays, bytes(stream)), member.rows
