"""Prove the chunks of a training, by any executor: orders go out, proofs come in, are verified, counted, and published in order."""

import hashlib
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, CancelledError, Executor, Future
from contextlib import suppress
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from queue import Empty, SimpleQueue

from .. import files
from ..commitment.slots import Choice, Slot
from ..errors import ConfigurationError, RunError, ZkjaxError
from ..progress import Steps
from ..proofs.proof import MAX_FILE, Proof
from ..proofs.soundness import TARGET
from ..prover.commitments import slots_of
from ..prover.prove import expected_statement, make_plan
from ..tracing.arguments import whole
from ..verifier import verify_one
from .folder import Training
from .order import Delivery, Order, execute
from .records import PROVING, TRAINING

LOOK = 0.2  # seconds between two looks for chunks that are trained meanwhile
AT_ONCE = 8  # orders that an executor holds, by default


class Here(Executor):
    """This process: an order is executed when it is given."""

    def submit(self, fn, /, *arguments, **named) -> Future:
        """A future that is done."""
        future: Future = Future()
        try:
            future.set_result(fn(*arguments, **named))
        except Exception as error:
            future.set_exception(error)
        return future


@dataclass(frozen=True, eq=False)
class Job:
    """A chunk that is being proven: what its proof opens, as far as is known when it is ordered."""

    number: int
    chunk: str
    slots: tuple[Slot, ...]
    choice: Choice


def prove_all(
    training: Training | str | PathLike[str],
    executor: Executor | Callable[[], Executor] | None = None,
    *,
    reveal: tuple[str, ...] = (),
    at_once: int | None = None,
    attempts: int = 3,
    follow: bool = False,
    minimum_bits: float = TARGET,
    progress: Callable[[int, int], object] | str | None = "auto",
) -> list[Path]:
    """Prove all chunks of a training that are not proven yet, and publish the proofs in its folder, in order. Returns all their files.

    training:     a ``zkjax.Training``, or the path of its folder.
    executor:     of ``concurrent.futures`` or like one of those: a ``ProcessPoolExecutor`` that starts its processes by "spawn" or
                  "forkserver", ``Client.get_executor()`` of ``dask.distributed``, that of ``mpi4py.futures``. None: this process. Or a
                  function that makes one, called again where it breaks because a worker died.
    reveal, minimum_bits: as for ``zkjax.prove``.
    at_once:      orders that are out at a time, 8 by default: twice as many as there are workers, so that none waits. This process proves
                  one at a time.
    attempts:     how often a chunk is ordered before this gives up: a proof that is wrong or damaged is refused, and one whose worker
                  failed is made again, by whichever worker takes it. In this process errors are raised at once.
    follow:       also prove what a training that is under way adds, in this process or another one, until nobody trains here any more.
    progress:     "auto" shows a bar on a terminal, None nothing; or ``progress(published, trained)``.

    An order holds weights, data and seeds: workers, and whatever carries orders to them, are as private as the folder. What comes back is
    compared with the statement that this process works out itself, and verified. A proof's openings are counted before it appears in the
    folder's ``proofs/``, and only then: proofs that were lost, refused, or made twice take nothing.
    Raises: RunError - another process proves here, the folder cannot be written to, or a chunk was tried often enough; BudgetError;
            errors of proving. What was proven until then is kept.
    """
    training = training if isinstance(training, Training) else Training(training)
    attempts = 1 if executor is None else whole("attempts", attempts)
    at_once = whole("at_once", AT_ONCE if at_once is None else at_once) if executor is not None else 1
    if isinstance(reveal, str) or not all(name in training.circuit.outputs for name in reveal):
        raise ConfigurationError(f"reveal is {reveal!r}; it is a tuple of names from {training.circuit.outputs}")
    if executor is not None and not callable(executor) and not hasattr(executor, "submit"):
        raise ConfigurationError(f"executor is a {type(executor).__name__}; give one of concurrent.futures, or a function that makes one")
    with training.alone(PROVING), _Workers(executor) as workers:
        desk = _Desk(training, workers, tuple(reveal), minimum_bits, attempts)
        with Steps(progress, training.chunks, "proving chunks") as shown:
            try:
                told = -1
                while desk.work(at_once, follow):
                    shown.count = desk.trained
                    if desk.done != told:
                        shown.done(told := desk.done)
            finally:
                desk.leave()
    return training.proofs


class _Workers:
    """The executor, or those that a function makes, one after another."""

    def __init__(self, given):
        self._make = given if callable(given) and not hasattr(given, "submit") else None
        self._now = Here() if given is None else None if self._make else given

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self._make and self._now is not None:
            self._now.shutdown(wait=False, cancel_futures=True)

    def submit(self, order: Order) -> tuple[Future, Executor]:
        """Give an order. Returns who has it, too."""
        if self._now is None:
            self._now = self._make()
        now = self._now
        try:
            return now.submit(execute, order), now
        except BrokenExecutor as error:
            broken: Future = Future()
            broken.set_exception(error)
            return broken, now

    def replace(self, broken: Executor) -> bool:
        """After one broke: whether there is another one, or can be."""
        if self._make and broken is self._now:
            broken.shutdown(wait=False, cancel_futures=True)
            self._now = None
        return broken is not self._now


class _Desk:
    """Where orders go out and proofs come in. done: chunks whose proofs are published, the first ones; trained: all."""

    def __init__(self, training: Training, workers: _Workers, reveal, minimum_bits: float, attempts: int):
        self.training, self.workers, self.records = training, workers, training.records
        self.reveal, self.minimum_bits, self.attempts = reveal, minimum_bits, attempts
        self.done, self.trained, self.failures = 0, 0, Counter()
        self.out: dict[Future, tuple[Job, Executor]] = {}
        self.came: SimpleQueue[Future] = SimpleQueue()
        self._since = time.perf_counter()
        self._start_again()

    def _start_again(self) -> None:
        """Forget what was chosen, and with it proofs that open what is no longer in use."""
        self.jobs: dict[int, Job] = {}  # of chunks that were ordered, or whose proofs have arrived
        self.arrived: dict[int, str] = {}  # SHA-256 of proofs that wait to be published, by chunk
        self.counters = None  # as they will be once all of these are published

    # ---- the loop -------------------------------------------------------------------------------------------------------
    def work(self, at_once: int, follow: bool) -> bool:
        """Give orders, and take what comes. Returns whether there may be more to do."""
        more = follow and self.records.busy(TRAINING)  # asked before the chunks are counted
        self.trained = self.training.chunks
        self._publish()
        while len(self.out) < at_once and (number := self._next()) is not None:
            self._give(number)
        if not self.out:
            if more and self.done == self.trained:
                time.sleep(LOOK)
            return more or self.done < self.trained
        with suppress(Empty):
            self._take(self.came.get(timeout=LOOK if more else None))
            self._publish()
        return True

    def leave(self) -> None:
        """Let go of orders that are out: whatever comes of them is nobody's."""
        for future in self.out:
            future.cancel()

    def _next(self) -> int | None:
        """The first chunk that is neither proven nor being proven."""
        for number in range(self.done, self.trained):
            if number not in self.jobs and not self._settled(number):
                return number
        return None

    def _settled(self, number: int) -> bool:
        """Whether a chunk's proof is published and counted; one that was counted last, before a kill, is published now."""
        recorded = self.training.counters().published.get(self.records.chunk(number)["keys"][1]["name"])
        public, waiting = self.records.public(number), self.records.waiting(number)
        if public.exists():
            found = _digest(public)
            if recorded is not None and found != recorded:
                raise RunError(f"{public} is not the proof that was published; move it away, and call again to have the chunk proven anew")
            return recorded is not None
        if recorded is not None and waiting.exists() and _digest(waiting) == recorded:
            with self.training.writing():
                files.release(waiting, public)
            return True
        return False

    # ---- orders ---------------------------------------------------------------------------------------------------------
    def _give(self, number: int) -> None:
        """Order a chunk's proof, unless there is one already."""
        run = self.training.run(number)
        slots, chunk = tuple(slots_of(run, make_plan(run)).values()), run.keys[1].name
        if self.counters is None:
            with self.training.writing():
                self.counters = run.chain.openings.ahead()
        choice = self.counters.choose(slots, chunk)
        self.counters.take(slots, chunk, choice)
        self.counters.finish(choice, chunk)
        self.jobs[number] = job = Job(number, chunk, slots, choice)
        if not self._found(job):
            self._submit(job, run)

    def _found(self, job: Job) -> bool:
        """Whether an earlier process has left a proof, verified and not counted; or published, where counters were restored."""
        public, waiting = self.records.public(job.number), self.records.waiting(job.number)
        for path in (public, waiting):
            if path.exists():
                raw = files.read(path, MAX_FILE)
                if (problem := self._problem(job, raw, own=path == public)) is None:
                    self.arrived[job.number] = hashlib.sha256(raw).hexdigest()
                    return True
                if path == public:
                    raise RunError(
                        f"{path}: no proof of this chunk that the counters here could have allowed ({problem}). If private/ was restored "
                        "from a backup, start a new training; else move the file away, and call again"
                    )
                with self.training.writing():
                    path.unlink()
        return False

    def _submit(self, job: Job, run=None) -> None:
        order = Order(self.training.run(job.number) if run is None else run, job.choice, self.reveal, self.minimum_bits)
        future, executor = self.workers.submit(order)
        self.out[future] = job, executor
        future.add_done_callback(self.came.put)  # ``wait`` would not hear of one that is cancelled

    # ---- what comes in --------------------------------------------------------------------------------------------------
    def _take(self, future: Future) -> None:
        """A delivery, or an error in its place."""
        job, executor = self.out.pop(future)
        if self.jobs.get(job.number) is not job:
            return  # what it opens is no longer in use: it takes nothing
        error = CancelledError("the order was cancelled") if future.cancelled() else future.exception()
        if error is not None:
            if isinstance(error, BrokenExecutor) and not self.workers.replace(executor):
                raise RunError(
                    f"chunk {job.number}: the executor broke, a worker has died ({error}). What was proven is kept: call again with "
                    "another executor, or give a function that makes one"
                ) from error
            self._failed(job, "failed", f"{type(error).__name__}: {error}", error)
            return
        found = future.result()
        proof, worker, seconds = found if isinstance(found, Delivery) else (found, "a worker", 0.0)
        problem = self._problem(job, proof)
        if problem is not None:
            self._failed(job, "refused", f"the proof from {worker} is wrong or damaged ({problem})")
            return
        self._log("proven", chunk=job.number, bytes=len(proof), worker=str(worker), worker_seconds=float(seconds))
        with self.training.writing():
            files.write(self.records.waiting(job.number), proof)
        self.arrived[job.number] = hashlib.sha256(proof).hexdigest()

    def _problem(self, job: Job, raw, own: bool = False) -> str | None:
        """What is wrong with a proof of a chunk; None: it verifies, and says what it has to say. own: it may reveal what it likes."""
        if not isinstance(raw, bytes) or len(raw) > MAX_FILE:
            return "no bytes of a proof"
        try:
            proof = Proof.parse(raw)
            run, reveal = self.training.run(job.number), self.reveal
            if own:
                told = zip(run.circuit.losses, getattr(proof.statement, "losses", None) or (), strict=False)
                reveal = tuple(dict.fromkeys(loss.output for loss, integers in told if integers is not None))
            if proof.statement.canonical() != expected_statement(run, job.choice, reveal).canonical():
                return "it claims something else than this chunk's steps, weights and data"
            verify_one(self.training.circuit, proof, self.minimum_bits)
        except ZkjaxError as error:
            return f"{type(error).__name__}: {error}"
        return None

    def _failed(self, job: Job, event: str, told: str, error: BaseException | None = None) -> None:
        """Have it made again, by whoever takes it; or give up."""
        self.failures[job.number] += 1
        self._log(event, chunk=job.number, why=told)
        if self.failures[job.number] < self.attempts:
            self._submit(job)
        elif isinstance(error, ZkjaxError) and self.attempts == 1:
            raise error
        else:
            raise RunError(
                f"chunk {job.number} was tried {self.failures[job.number]} times, at last: {told}. What was proven is kept"
            ) from error

    # ---- what goes out --------------------------------------------------------------------------------------------------
    def _publish(self) -> None:
        """Count and publish what has arrived, as far as all chunks before are published."""
        while self.done < self.trained:
            number = self.done
            if number in self.arrived:
                job, openings = self.jobs[number], self.training.counters()
                with self.training.writing():
                    choice = openings.publish(job.slots, job.chunk, job.choice, self.arrived[number])
                    if choice != job.choice:  # something else has opened this chain's commitments meanwhile
                        self._start_again()
                        return
                    if not self.records.public(number).exists():
                        files.release(self.records.waiting(number), self.records.public(number))
                del self.arrived[number], self.jobs[number]
                now = time.perf_counter()
                self._log("published", chunk=number, seconds=now - self._since)
                self._since = now
            elif number in self.jobs or not self._settled(number):
                return
            self.done += 1

    def _log(self, event: str, **facts) -> None:
        with self.training.writing():
            self.records.log(event, **facts)


def _digest(path: Path) -> str:
    return hashlib.sha256(files.read(path, MAX_FILE)).hexdigest()
