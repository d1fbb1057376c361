"""Chunks proven by others: what a worker gets, what it may get wrong, and that nothing serves twice.

Executors stand in for machines: what they are given goes through ``pickle``, there and back. One is real, and its worker dies.
"""

import copy
import json
import multiprocessing
import os
import pickle
from concurrent.futures import BrokenExecutor, CancelledError, Executor, Future, ProcessPoolExecutor
from dataclasses import replace
from functools import partial

import pytest
from folders import Watched, begun, digest, holds, proven
from harness import BITS
from test_command_line import command

import zkjax
from zkjax.commitment.keys import Key
from zkjax.errors import BudgetError, ConfigurationError, RunError
from zkjax.prover.commitments import slots_of
from zkjax.prover.prove import make_plan
from zkjax.training import order as orders
from zkjax.training.order import Delivery, Order, execute

STEPS = 6
pytestmark = pytest.mark.usefixtures("geometry")


class Elsewhere(Executor):
    """Another machine: it gets bytes, and gives bytes. does: what it does with an order, and with the number of the order."""

    def __init__(self, does=lambda order, _: execute(order)):
        self.does, self.orders, self.given = does, [], []

    def submit(self, fn, order):
        assert fn is execute
        raw, future = pickle.dumps(order), Future()
        self.given.append(raw)
        self.orders.append(order.run.first_step)
        try:
            future.set_result(pickle.loads(pickle.dumps(self.does(pickle.loads(raw), len(self.given) - 1))))
        except CancelledError:
            future.cancel()
        except Exception as error:
            future.set_exception(error)
        return future


def spent(folder) -> dict:
    return json.loads((folder / "private/openings.json").read_text())["spent"]


def log(folder, event) -> list[dict]:
    return [x for x in zkjax.Training(folder).records.events() if x["event"] == event]


def order_of(folder, number=0) -> Order:
    run = zkjax.Training(folder).run(number)
    slots = tuple(slots_of(run, make_plan(run)).values())
    return Order(run, run.chain.openings.ahead().choose(slots, run.keys[1].name), (), BITS)


# ---- orders -----------------------------------------------------------------------------------------------------------
def test_an_order_is_the_only_thing_that_travels(folder):
    order = order_of(folder)
    there = pickle.loads(pickle.dumps(order))
    assert there.run.circuit.digest() == order.run.circuit.digest() and there.run.keys == order.run.keys
    assert order.run.keys[0].seed.hex() in str(orders.saved.content_of(order.run)) and order.run.keys[0].seed.hex() not in repr(order)
    training = zkjax.Training(folder)
    for secret in (order.run, order.run.chain, order.run.keys[0], training.counters()):
        for act in (pickle.dumps, copy.deepcopy):
            with pytest.raises(RunError, match="save"):
                act(secret)


def test_an_order_that_is_executed_twice_uses_no_pad_twice(folder):
    """As schedulers do: both proofs say the same, of the same commitments, and share nothing that hides it. Neither spends anything."""
    raw = pickle.dumps(order_of(folder))
    with Watched() as watched:
        proofs = [zkjax.Proof.parse(execute(pickle.loads(raw)).proof) for _ in range(2)]
    assert len(watched.traces) == 2 and len({proof.body[:32] for proof in proofs}) == 2
    assert proofs[0].statement == proofs[1].statement and not spent(folder)


def test_another_machine_proves(folder, net):
    machine = Elsewhere()
    with Watched() as watched:
        proven(folder, machine)
    assert machine.orders == [0, 2, 4] and set(watched.traces.values()) == {1}
    holds(folder, net[0], STEPS)
    assert {event["worker"] for event in log(folder, "proven")} == {f"{os.uname().nodename}:{os.getpid()}"}


# ---- what a worker may get wrong ----------------------------------------------------------------------------------------
def altered(delivery, at=-100):
    proof = bytearray(delivery.proof)
    proof[at] ^= 1
    return delivery._replace(proof=bytes(proof))


def other_seeds(order):
    """A proof that verifies, of commitments whose randomness is not the owner's."""
    run = order.run
    return execute(replace(order, run=replace(run, keys=(Key(bytes(32), run.keys[0].name), run.keys[1]))))


def other_choice(order):
    """One that verifies, and opens what it was not told to open."""
    choice = order.choice
    return execute(replace(order, choice=replace(choice, links=choice.slots[:1])))


def cancelled(_):
    raise CancelledError


# What comes of the first orders, all of chunk 0, and what the log says then.
WRONG = (
    (lambda order: altered(execute(order)), "refused", "wrong or damaged"),
    (lambda order: altered(execute(order), 60), "refused", "wrong or damaged"),
    (lambda order: execute(order)._replace(proof=execute(order).proof[:-1]), "refused", "wrong or damaged"),
    (lambda _: None, "refused", "no bytes of a proof"),
    (lambda _: Delivery("text", "me", 0.0), "refused", "no bytes of a proof"),
    (lambda order: execute(replace(order, reveal=("loss",))), "refused", "claims something else"),
    (other_seeds, "refused", "claims something else"),
    (other_choice, "refused", "claims something else"),
    (lambda _: 1 // 0, "failed", "ZeroDivisionError"),
    (cancelled, "failed", "cancelled"),
)


def test_wrong_results_are_refused_and_made_again(folder, net):
    """Each is named, takes nothing, and another worker makes the proof. At last one sends the proof of another chunk."""
    kept = []

    def machine(order, number):
        if number < len(WRONG):
            return WRONG[number][0](order)
        if number == len(WRONG) + 1:
            return kept[0]
        kept.append(execute(order))
        return kept[-1]

    machine = Elsewhere(machine)
    proven(folder, machine, at_once=1, attempts=len(WRONG) + 1)
    assert machine.orders == [*[0] * len(WRONG), 0, 2, 2, 4]
    found = [event for event in zkjax.Training(folder).records.events() if event["event"] in ("refused", "failed")]
    for event, (_, kind, told) in zip(found, (*WRONG, (None, "refused", "claims something else")), strict=True):
        assert event["event"] == kind and told in event["why"] and event["chunk"] == (event is found[-1])
    holds(folder, net[0], STEPS)


def test_it_gives_up_after_some_attempts(folder, net):
    """What was proven is published; later proofs wait for the one that is missing, verified and uncounted."""
    machine = Elsewhere(lambda order, _: 1 // 0 if order.run.first_step == 2 else execute(order))
    with pytest.raises(RunError, match="chunk 1 was tried 2 times, at last: ZeroDivisionError.*What was proven is kept"):
        proven(folder, machine, attempts=2)
    assert len(zkjax.Training(folder).proofs) == 1
    assert "chunks proven and verified" in command("status", str(folder))[1]
    waiting = zkjax.Training(folder).standing().waiting
    again = Elsewhere()
    proven(folder, again)
    assert again.orders == [2, 4][: 2 - waiting]
    holds(folder, net[0], STEPS)


def test_errors_of_this_process_are_raised_at_once(folder):
    with pytest.raises(ConfigurationError, match="bits"):
        zkjax.prove_all(folder, minimum_bits=200.0, progress=None)
    with pytest.raises(ConfigurationError, match="reveal is"):
        zkjax.prove_all(folder, reveal="loss")
    with pytest.raises(ConfigurationError, match="executor is a int"):
        zkjax.prove_all(folder, 3)
    assert not spent(folder)


def test_no_budget_is_overspent(folder, monkeypatch):
    """Where a commitment's openings were used up by something else, nothing is published."""
    training = zkjax.Training(folder)
    openings = training.counters()
    name = f"{training.run(0).keys[0].name} 0 parameters"
    openings.spent[name] = 4
    with openings._shared():
        openings._write_all()
    with pytest.raises(BudgetError, match="the weights before step 0 has been opened 4 times"):
        proven(folder, Elsewhere())
    assert not zkjax.Training(folder).proofs and spent(folder) == {name: 4}


# ---- workers that die -----------------------------------------------------------------------------------------------------
def test_an_executor_that_breaks(folder, net):
    """A function that makes executors is asked for another one; without one what is there is kept, and the error says so."""

    def dies(order, number):
        if number == 1:
            raise BrokenExecutor("a process died")
        return execute(order)

    with pytest.raises(RunError, match="the executor broke, a worker has died .*call again with another executor"):
        proven(folder, Elsewhere(dies), at_once=1)
    assert len(zkjax.Training(folder).proofs) == 1
    made = []
    proven(folder, lambda: made.append(Elsewhere(dies if not made else Elsewhere().does)) or made[-1], at_once=3)
    assert len(made) == 2
    holds(folder, net[0], STEPS)


def die_once(marker):
    """What a worker's process begins with: the first one dies when it is given an order."""
    if not os.path.exists(marker):
        open(marker, "w").close()
        orders.prove = lambda *_, **__: os._exit(9)


def test_a_process_that_dies(folder, net, tmp_path):
    """For real: a pool whose first worker dies in mid-proof, and another pool."""
    start = partial(ProcessPoolExecutor, 1, mp_context=multiprocessing.get_context("spawn"), initializer=die_once)
    proven(folder, partial(start, initargs=(str(tmp_path / "marker"),)), at_once=2)
    failed, made = log(folder, "failed"), log(folder, "proven")
    assert {event["chunk"] for event in failed} >= {0} and all("BrokenProcessPool" in event["why"] for event in failed)
    assert len(made) == 3 and all(event["worker"] != f"{os.uname().nodename}:{os.getpid()}" for event in made)
    holds(folder, net[0], STEPS)


# ---- training runs ahead --------------------------------------------------------------------------------------------------
def test_chunks_are_proven_while_others_are_trained(tmp_path, net):
    """Until nobody trains any more."""
    training = begun(tmp_path / "run", *net)
    seen = []

    def prove_meanwhile(run):
        if not seen:
            thread.start()
        while len(training.proofs) < run.first_step // 2:  # it keeps up
            thread.join(0.05)
            assert thread.is_alive()
        seen.append(len(training.proofs))

    import threading

    thread = threading.Thread(target=lambda: proven(training, follow=True))
    training.train(STEPS, validate=prove_meanwhile, progress=None)
    thread.join()
    assert seen[-1] >= 2 and len(training.proofs) == 3
    holds(tmp_path / "run", net[0], STEPS)


def test_what_is_published_is_what_arrived_first(folder):
    """A second result for a chunk is nobody's: the file stays."""
    found = proven(folder, Elsewhere())
    before = [digest(path) for path in found]
    assert [digest(path) for path in proven(folder, Elsewhere())] == before
