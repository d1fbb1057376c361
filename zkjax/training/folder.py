"""A training in one folder: trained chunk by chunk, proven later, on this machine or others; killed at any moment, it goes on.

What the folder holds says ``records.py``; how its chunks are proven ``proving.py``.
"""

import json
import os
import threading
import time
import zipfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from fractions import Fraction
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from .. import files
from ..arrays import read_arrays
from ..circuit.circuit import Circuit
from ..commitment.keys import Chain
from ..commitment.openings import FILE as OPENINGS
from ..commitment.openings import Openings
from ..display import Shown
from ..errors import FormatError, RunError
from ..memory import available_memory
from ..progress import Steps
from ..proofs.model import Model
from ..prover.hand_over import Handed
from ..prover.prove import fix_geometry
from ..tracing.arguments import whole
from . import saved
from .dataset import Dataset
from .records import TRAINING, Records
from .run import Run
from .standing import Standing
from .steps import run_steps
from .train import matched, runs_of

MALFORMED = (KeyError, TypeError, ValueError, AttributeError, OverflowError, EOFError, zipfile.BadZipFile)


class Training(Shown):
    """A training that lives in a folder: ``Training(folder, circuit, params, data, chunk=16)`` begins it there, or goes on with it.

    path:       of the folder. ``Training(path)`` opens what is there, to prove it or to look at it.
    circuit, params, data, state, seed, shard_size, prefer: as for ``zkjax.train``. Where a training is there, it goes on from its own last
                weights; circuit, data, seed and shards have to be its own, and params only say as which pytree ``run.params`` comes back.
    chunk:      steps in one proof, at most.

    Training (``train``) and proving (``zkjax.prove_all``) are separate: one process may train while another one proves, on this machine. Of
    each there is one at a time; a second one is refused. Both may be killed at any moment, and go on when they are called again: chunks
    are there whole or not at all, and openings are counted before the proof that took them appears in ``proofs/``. For every chunk the
    folder holds the state that it begins with, its losses and its seeds, nothing of its steps: those are repeated when it is proven.

    ``private/`` holds weights, data and secret seeds: copy or restore it as little as any private directory.
    Raises: RunError - no training is there and none is given, or another one is; FormatError - malformed files; DataError.
    """

    def __init__(
        self,
        path: str | PathLike[str],
        circuit: Circuit | None = None,
        params: Any = None,
        data: Sequence[Any] | Dataset | None = None,
        *,
        chunk: int | None = None,
        state: Any = None,
        seed: int | None = None,
        shard_size: int | None = None,
        prefer: str | None = None,
    ):
        self.records = Records(path)
        self._params, self._data = params, data
        self._given = {"state": state, "seed": seed, "shard_size": shard_size, "prefer": prefer}
        self._lock, self._chain, self._dataset, self._template = threading.RLock(), None, None, None
        settings = self.records.settings()
        if settings is None:
            if circuit is None or params is None or data is None or chunk is None:
                raise RunError(f"{self.path}: no training is here; give circuit, params, data and chunk to begin one")
            settings = self._begin(circuit, whole("chunk", chunk))
        if chunk is not None and chunk != settings["chunk"]:
            raise RunError(f"{self.path}: the training here has chunks of {settings['chunk']} steps, not {chunk}; leave chunk out to go on")
        self.chunk: int = settings["chunk"]
        self.circuit: Circuit = Circuit.load(self.records.circuit) if circuit is None else circuit
        if self.circuit.digest().hex() != settings["circuit"]:
            told = "circuit.json is not the circuit of this training" if circuit is None else "the training here is of another circuit"
            raise RunError(f"{self.path}: {told}; give its own, or another folder")
        if params is not None and not isinstance(params, Run | Model | Handed):
            self._template = matched(self.circuit, params, state)[1]

    def _begin(self, circuit: Circuit, chunk: int) -> dict:
        """Make the folder; its settings, which say what it is, are written last."""
        content, records = json.dumps(circuit.to_json(), indent=1).encode(), self.records
        if records.circuit.exists() and records.circuit.read_bytes() != content:
            raise RunError(f"{self.path}: another circuit.json is here, which would be lost; give a folder of its own to a training")
        with self.writing():
            records.make()
        with self.alone(TRAINING), self.writing():
            if records.settings() is None:  # and no other process has begun it meanwhile
                files.write(records.circuit, content)
                os.chmod(records.circuit, 0o644)
                files.write(records.private / "PRIVATE.txt", saved.WARNING.encode())
                records.set(circuit=circuit.digest().hex(), chunk=chunk)
            return records.settings()

    @property
    def path(self) -> Path:
        """Of the folder."""
        return self.records.path

    @contextmanager
    def alone(self, what: str):
        """While this process, and no other one, trains or proves here."""
        with ExitStack() as held:
            with self.writing():
                held.enter_context(self.records.alone(what))
            yield

    @contextmanager
    def writing(self):
        """Errors of the disk name the folder."""
        try:
            yield
        except OSError as error:
            raise RunError(
                f"{self.path}: it cannot be written to ({error}). Nothing that it holds is lost: make room or mend its permissions, and "
                "call again"
            ) from error

    # ---- what is there ------------------------------------------------------------------------------------------------
    @property
    def chunks(self) -> int:
        """How many chunks are trained."""
        return self.records.count()

    @property
    def steps(self) -> int:
        """How many steps the chain has had."""
        count = self.chunks
        return self._end(self.records.chunk(count - 1)) if count else 0

    @staticmethod
    def _end(content: dict) -> int:
        return content["first_step"] + content["steps"]

    @property
    def proofs(self) -> list[Path]:
        """The files of all published proofs, in order."""
        return self.records.published()

    @property
    def losses(self) -> list[Fraction]:
        """The exact loss of each step that is trained."""
        return [self.circuit.exact_loss(tuple(row)) for n in range(self.chunks) for row in self.records.chunk(n)["loss_integers"]]

    @property
    def last(self) -> Run | None:
        """The last chunk; None before the first."""
        count = self.chunks
        return self.run(count - 1) if count else None

    @property
    def validated(self) -> list[dict[str, Any]]:
        """What ``validate`` has returned, with the steps trained until then."""
        return [event for event in self.records.events() if event["event"] == "validated"]

    def standing(self) -> Standing:
        """How far training and proving are, what is left of budgets, and how long the rest may take."""
        return Standing.of(self.path)

    def sheet(self):
        """The same, for people."""
        return self.standing().sheet()

    def __repr__(self) -> str:
        return f"Training({str(self.path)!r}, {self.chunks} chunks of {self.circuit!r})"

    def run(self, number: int) -> Run:
        """A chunk, from 0, as a run: to evaluate its weights, to disclose them, to prove it by hand.

        Raises: RunError - it is not trained yet, or files were altered; FormatError - malformed files.
        """
        content = self.records.chunk(number)
        try:
            chain = self._chain_of(content)
            initial = self._state(number, chain)
            final = self._kept_state(content["states"][1], chain)
            final = self._advanced(number, chain, initial) if final is None else final
            run = self._made(content, chain, initial, final)
        except OSError as error:
            raise RunError(f"{self.path}: the training is incomplete ({error})") from None
        except MALFORMED as error:
            raise FormatError(f"{self.records.record(number)}: malformed ({type(error).__name__})") from None
        return run if self._template is None else replace(run, template=self._template)

    def _made(self, content: dict, chain: Chain, initial, final) -> Run:
        return saved.run_of(Run, self.circuit, self._data_of(content, chain), content, (initial, final), chain)

    def _chain_of(self, content: dict) -> Chain:
        """The chain of all chunks, its counters those of the folder: one object in a process."""
        with self._lock:
            if self._chain is None:
                chain = saved.chain_of(content)
                if not (self.records.private / OPENINGS).exists():
                    raise RunError(f"{self.records.private}: {OPENINGS} is missing; without its counters nothing here may be opened")
                with self.writing():
                    chain.openings.bind(self.records.private)
                self._chain = chain
            if saved.chain_of(content).openings.mark != self._chain.openings.mark:
                raise RunError(f"{self.path}: chunks of two chains; the folder was put together of two others")
            return self._chain

    def counters(self) -> Openings:
        """Of its openings."""
        return self._chain_of(self.records.chunk(0)).openings

    def _data_of(self, content: dict, chain: Chain) -> Dataset:
        with self._lock:
            if self._dataset is None:
                path = self.records.private / content["data"]
                arrays = read_arrays(path, available_memory())
                if path.name != saved.name_of("data", arrays, chain):
                    raise RunError(f"{path}: the data was altered")
                self._dataset = Dataset.of(self.circuit, Dataset(saved.data_of(self.circuit, arrays)))
            return self._dataset

    def _state(self, number: int, chain: Chain) -> tuple[np.ndarray, ...]:
        """The state that a chunk begins with: read, or computed from the last one before it that is kept."""
        for first in range(number, -1, -1):
            found = self._kept_state(self.records.chunk(first)["states"][0], chain)
            if found is not None:
                for n in range(first, number):
                    found = self._advanced(n, chain, found)
                return found
        raise RunError(f"{self.records.private}: the first state is missing; without it nothing can be proven")

    def _advanced(self, number: int, chain: Chain, initial) -> tuple[np.ndarray, ...]:
        """The state after a chunk, by repeating its steps."""
        content = self.records.chunk(number)
        run = self._made(content, chain, initial, initial)
        bounds = self.circuit.bounds(run.initial_bound, run.steps, run.first_step)
        final = run_steps(self.circuit, bounds, initial, run.data, run.indices, run.first_step, False, lambda _: None).final
        if _name(final, chain) != content["states"][1]:
            raise RunError(f"{self.path}: repeated steps do not end in the state after chunk {number}; files of this folder were altered")
        return final

    def _kept_state(self, name: str, chain: Chain) -> tuple[np.ndarray, ...] | None:
        path = self.records.private / name
        try:
            arrays = read_arrays(path, available_memory())
        except FileNotFoundError:
            return None
        found = tuple(arrays[f"{p}"].astype(np.int64) for p in range(len(self.circuit.parameters)))
        if any(x.shape != p.shape for x, p in zip(found, self.circuit.parameters, strict=True)):
            raise FormatError(f"{path}: the weights have not the circuit's shapes")
        if name != _name(found, chain):
            raise RunError(f"{path}: the weights were altered")
        return found

    # ---- training -------------------------------------------------------------------------------------------------------
    def train(
        self,
        steps: int,
        *,
        validate: Callable[[Run], Mapping[str, float] | None] | None = None,
        stop: Callable[[list[Fraction]], bool] | None = None,
        keep_every: int = 1,
        progress: Callable[[int, int], object] | str | None = "auto",
        callback: Callable[[int, dict[str, Any]], object] | None = None,
    ) -> Run | None:
        """Train until the training has had so many steps in all, and return its last chunk. It takes no more memory for more steps.

        steps:      in all, those included that the folder holds: after a kill the same call goes on.
        validate:   called with each chunk once it is kept (``run.params`` are its last weights); numbers by name that it returns are kept
                    in the folder's private log, ``validated``.
        stop:       a rule that ends the training early: called after each chunk, and when a training goes on, with the exact losses of
                    all steps so far. Where proofs reveal the loss, anybody can check with the same function that it was kept.
        keep_every: keep the states of each such chunk on disk only; others are computed again when their chunks are proven.
        progress, callback: as for ``zkjax.train``, of all steps.
        Raises: RunError - another process trains here, or the folder cannot be written to; all that ``zkjax.train`` raises.
        """
        steps, keep_every = whole("steps", steps, 1, "train at least one"), whole("keep_every", keep_every)
        with self.alone(TRAINING):
            count = self.chunks
            last = self.run(count - 1) if count else None
            losses = self.losses if stop is not None else []
            if last is not None and (last.first_step + last.steps >= steps or stop is not None and stop(list(losses))):
                return last
            self._log("goal", steps=steps)
            with Steps(progress, steps, f"training to step {steps}") as shown:
                begin = time.perf_counter()
                for run in self._runs(last, steps, shown.done, callback):
                    last = run
                    with self.writing():
                        self._add(count, run, keep_every)
                    self._log("trained", chunk=count, steps=last.steps, seconds=time.perf_counter() - begin)
                    count += 1
                    losses += last.losses if stop is not None else []
                    if validate is not None and (numbers := validate(last)):
                        self._log("validated", step=last.first_step + last.steps, **{k: float(v) for k, v in numbers.items()})
                    if stop is not None and stop(list(losses)):
                        self._log("goal", steps=last.first_step + last.steps)
                        break
                    begin = time.perf_counter()
            return last

    def _log(self, event: str, **facts) -> None:
        with self.writing():
            self.records.log(event, **facts)

    def _runs(self, last: Run | None, steps: int, tell, callback):
        """The chunks that are left."""
        if last is None and self._params is None:
            raise RunError(f"{self.path}: no chunk is trained yet; give circuit, params and data to zkjax.Training")
        start, given = (self._params, self._given) if last is None else (last, self._given | {"state": None, "prefer": None})
        left = steps - (start.first_step + start.steps if isinstance(start, Run) else 0)
        if left < 1:
            raise RunError(f"{self.path}: the run that this training begins with has had {steps - left} steps; train more than so many")
        return runs_of(self.circuit, start, self._data, left, self.chunk, given, lambda n, _: tell(steps - left + n), callback, keep=False)

    def _add(self, number: int, run: Run, keep_every: int) -> None:
        """Keep a chunk: its record after all that it names, and its counters before anybody could prove it."""
        run.check()
        private, chain = self.records.private, run.chain
        if number == 0:
            fix_geometry(run)  # else a chain that is proven elsewhere could choose twice
            self._clear()
            chain.openings.bind(private)
            self._dataset, data = run.data, {f"data{k}": saved.smallest(x) for k, x in enumerate(run.data.arrays)}
            data_name = saved.name_of("data", data, chain)
            saved.write_arrays(private / data_name, data)
            initial = self._keep_state(run.initial, chain)
        else:
            before = self.records.chunk(number - 1)
            data_name, initial = before["data"], before["states"][1]
        states = initial, self._keep_state(run.final, chain)
        self.records.add(number, {"data": data_name, "states": states} | saved.content_of(run))
        with self._lock:
            self._chain = self._chain or chain
        if number and (number - 1) % keep_every and before["states"][0] not in (*states, self.records.chunk(0)["states"][0]):
            (private / before["states"][0]).unlink(missing_ok=True)  # the newest two stay: training goes on from them

    def _keep_state(self, state: Sequence[np.ndarray], chain: Chain) -> str:
        """Write it, if it is not there. Returns its file's name."""
        path = self.records.private / _name(state, chain)
        if not path.exists():
            saved.write_arrays(path, {f"{p}": saved.smallest(x) for p, x in enumerate(state)})
        return path.name

    def _clear(self) -> None:
        """Remove what a training has left that was killed before its first chunk was kept: nothing of it was ever opened."""
        private = self.records.private
        for left in [*private.glob("data-*.npz"), *private.glob("weights-*.npz"), private / OPENINGS]:
            left.unlink(missing_ok=True)


def _name(state: Sequence[np.ndarray], chain: Chain) -> str:
    """Of a state's file: by what it holds, under a secret key."""
    return saved.name_of("weights", {f"{p}": x for p, x in enumerate(state)}, chain)
