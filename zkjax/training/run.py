"""A chunk of exact training, and the witness that a prover needs of it."""

import dataclasses
import math
import zlib
from dataclasses import dataclass, field
from fractions import Fraction
from os import PathLike
from typing import Any, NamedTuple

import jax
import numpy as np

from ..circuit.circuit import Circuit
from ..circuit.parts import PARAMETERS
from ..circuit.rounding import Roundings
from ..commitment.keys import Chain, Key
from ..display import Sheet, Shown, Table
from ..errors import ConfigurationError, RunError
from ..proofs.model import Model
from ..protocol.schedule import batch_indices
from ..prover.prove import fix_geometry
from . import saved
from .dataset import Dataset
from .steps import run_steps
from .template import Template, nested, template_of

# What a run's tensors follow from: a run that was altered has to recompute them.
RECIPE = ("circuit", "data", "initial", "final", "loss_integers", "first_step", "steps", "seed", "shard_size")


def public_values(circuit, step: int) -> dict[str, np.ndarray]:
    """What of the state follows from the step alone, before this step, by path."""
    kinds = {"f": np.float64, "i": np.int64, "b": bool}
    rows = ((x, [float(v) if x.kind == "f" else int(v) for v in x.at(step)]) for x in circuit.public)
    return {x.path: np.array(row, dtype=kinds[x.kind]).reshape(x.shape) for x, row in rows}


@dataclass(frozen=True, eq=False)
class Run(Shown):
    """One chunk of exact training. All integers are NumPy int64; the value of parameter p is integer * circuit.unit(p).

    Its printed form names what is public only; it is neither copied nor pickled (``openings.py``), but saved and loaded.

    first_step, steps:  steps first_step .. first_step+steps-1 of the schedule (seed, shard_size; None: one shard).
    initial, final:     the parameters before the first and after the last step, in the circuit's order.
    loss_integers:      for each step the integer of each ``circuit.losses`` node.
    begins:             whether a chain begins here: the first weights are coarse, and other states what the circuit gives.
    coarse_shifts:      s of each parameter: initial = 2^s * v, v of ``table_bits`` bits; in a later run 0 but for frozen ones.
    widths:             of each parameter the bits of the signed range in which its proof shows the initial integers (over 2^s), 0 for none;
                        less than 0 where random forms show it.
    initial_bound:      largest absolute value of each initial parameter that the chain relies on; final_bound: after the
                        last step, the next run's initial_bound.
    keys:               secret randomness of the commitments to ``initial`` and ``final``; never printed.
    chain:              what all runs of a chain share: the dataset's key, opening counters, the geometry of commitments.
    template:           the user's pytree, or None (``params`` is then made of dicts and lists).
    roundings:          what rounding did to data, first parameters and, over all steps, to rescaled tensors; it follows from secrets,
                        and () once loaded; ``print(run.roundings)`` shows a table.
    kept:               the prover's tensors of all steps and what they follow from, where they took little memory.
    reads:              of an evaluation (``zkjax.evaluate``) or a comparison (``zkjax.compare``) the weights of trainings that it reads.
    """

    circuit: Circuit
    data: Dataset
    first_step: int
    steps: int
    seed: int
    shard_size: int | None
    initial: tuple[np.ndarray, ...] = field(repr=False)
    final: tuple[np.ndarray, ...] = field(repr=False)
    loss_integers: tuple[tuple[int, ...], ...] = field(repr=False)
    begins: bool
    coarse_shifts: tuple[int, ...]
    widths: tuple[int, ...]
    initial_bound: tuple[int, ...]
    final_bound: tuple[int, ...]
    keys: tuple[Key, Key] = field(repr=False)
    chain: Chain = field(repr=False)
    template: Template | None = field(default=None, repr=False)
    roundings: Roundings = field(default=Roundings(), repr=False)
    kept: tuple[tuple[Any, ...], dict[Any, np.ndarray]] | None = field(default=None, repr=False)
    reads: "tuple[End, ...]" = field(default=(), repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_fingerprint", self._weights_now())

    def _weights_now(self) -> tuple[int, ...]:
        """Checksums: accidents are looked for, and whoever holds a run holds its secrets."""
        return tuple(zlib.crc32(np.ascontiguousarray(array)) for array in (*self.initial, *self.final))

    def check(self) -> None:
        """Raise RunError if the weights were changed in place: they are committed to, and the same randomness must not hide others."""
        if self._weights_now() != self._fingerprint:
            raise RunError("the run's weights were changed in place since it was trained; train it again, and work on copies of its arrays")

    def __repr__(self) -> str:  # never a value: representations end up in logs and saved notebooks
        return f"Run(steps {self.first_step}..{self.first_step + self.steps - 1} of {self.circuit!r}, seed {self.seed}, {self.data!r})"

    def sheet(self) -> Sheet:
        """Sizes alone. Data, weights and losses are secret until ``data``, ``params`` or ``losses`` is asked for."""
        rows = (
            ("circuit", self.circuit.digest().hex()[:16]),
            ("steps", f"{self.first_step}..{self.first_step + self.steps - 1}, batches of {self.circuit.batch_size}"),
            ("data", f"{self.data.samples:,} samples, batches picked by seed {self.seed}"),
            ("first weights", "rounded to the circuit's integers" if self.begins else self._continued()),
            ("rounding", "run.roundings: private, it follows from data and weights" if self.roundings else "measured while training only"),
        )
        parameters = tuple((p.path, "x".join(map(str, p.shape)) or "scalar", f"{math.prod(p.shape):,}") for p in self.circuit.parameters)
        return Sheet(
            f"Run of {self.steps} step{'s' * (self.steps > 1)} in exact integers: private",
            (Table(rows, left=(0, 1)), Table(parameters, ("parameter", "shape", "entries"), left=(0, 1), title="parameters")),
        )

    def _continued(self) -> str:
        """Where the first weights of a later run come from, and what its proof shows of them."""
        if self.reads:
            return " and ".join(f"those {end}" for end in self.reads)
        lookups = self.circuit.range_check(self.widths)[1]
        again = f"; their bounds had come to an end, and are shown anew by a range check of {lookups:,} lookups"
        return "those of the run before" + (again if lookups else "")

    @property
    def params(self) -> Any:
        """The last parameters in floating point, as the user's pytree; without the states that the circuit gives.

        For a run that was loaded without one: nests of dicts by the parts of the parameters' paths, and lists where the keys are
        0, 1, 2, .. That is what a linen model takes; ``nnx.update(model, params)`` takes it for an nnx model.
        """
        values = self._values()
        if self.template is not None:
            return self.template.fill(values)
        own = (x.path for p, x in enumerate(self.circuit.parameters) if p not in self.circuit.given)
        return nested({path: values[path].astype(np.float32) for path in own})

    @property
    def state(self) -> Any:
        """The state of ``zkjax.trace_step`` after the last step, or a model's, as the pytree that was given to ``train``.

        For a run that was loaded without one: nests of dicts, as of ``params``, of all that goes from step to step.
        """
        values, template = self._values(), self.template
        return nested(values) if template is None else (template.state or template).fill(values)

    def _values(self) -> dict[str, np.ndarray]:
        """All that goes from step to step after the last one, by path."""
        found = {x.path: array * float(self.circuit.unit(p)) for p, (x, array) in enumerate(zip(self.circuit.parameters, self.final))}
        return found | public_values(self.circuit, self.first_step + self.steps)

    @property
    def losses(self) -> list[Fraction]:
        """The exact loss of each step."""
        return [self.circuit.exact_loss(row) for row in self.loss_integers]

    @property
    def outputs(self) -> dict[str, np.ndarray]:
        """Every output that a proof may reveal, by name: float64, one for each step."""
        rows = self.loss_integers
        return {name: np.array([float(self.circuit.exact_loss(row, name)) for row in rows]) for name in self.circuit.outputs}

    @property
    def float_losses(self) -> np.ndarray:
        """The loss of each step as float64, for plots."""
        return np.array([float(x) for x in self.losses])

    @property
    def indices(self) -> np.ndarray:
        """The samples of each step, int64 (steps, batch)."""
        return batch_indices(self.seed, self.data.samples, self.shard_size, self.circuit.batch_size, self.first_step, self.steps)

    def save(self, directory: str | PathLike[str], *, replace: bool = False) -> None:
        """Write the run to a private directory, from which ``Run.load`` reads it and training goes on. See ``saved.py``.

        A run of the same chain that is there gives way; one of another chain only with replace=True, which deletes it.
        Raises: RunError - a run of another chain is there.
        """
        if self.reads:
            raise RunError("an evaluation is not saved: save the run that it evaluates, and evaluate that again")
        self.check()
        fix_geometry(self)  # else a chain that is saved before its first proof could choose twice
        saved.save(self, directory, replace)

    @staticmethod
    def load(directory: str | PathLike[str], params: Any = None) -> "Run":
        """Read a saved run. params: a pytree of the user's (arrays, or their shapes), so that ``run.params`` is one again.

        Without it ``run.params`` is made of dicts and lists (see there), whatever the user's pytree was.
        Raises: RunError - not a complete run, or params of another circuit; FormatError - malformed files.
        """
        run = saved.load(Run, Dataset, directory)
        if params is None:
            return run
        leaves, structure = jax.tree.flatten(params)
        if [np.shape(x) for x in leaves] != [p.shape for p in run.circuit.parameters if p.given is None]:
            raise RunError(f"{directory}: params has not the shapes of the run's parameters")
        return dataclasses.replace(run, template=template_of(run.circuit, leaves, structure))

    def save_model(self, path: str | PathLike[str], what: str = "parameters") -> None:
        """Write a safetensors file of the parameters: float32 values by path, and beside them the exact integers (``zkjax.Model``).

        what: "parameters" after the last step, or "initial", before the first one. The file holds weights: with ``zkjax.disclose`` of
        the same ``what`` anyone can check that they are those behind the proofs' commitment.
        Raises: ConfigurationError - another ``what``, or safetensors is not installed (``pip install zkjax[model]``).
        """
        if what not in ("parameters", "initial"):
            raise ConfigurationError(f"what is {what!r:.80}; give 'parameters' or 'initial'")
        self.check()
        arrays, end = (self.final, End(self, "final")) if what == "parameters" else (self.initial, End(self, "initial"))
        own = [(x.path, p) for p, x in enumerate(self.circuit.parameters) if x.given is None]
        units = {path: self.circuit.unit(p) for path, p in own}
        Model(self.circuit.digest(), end.step, {path: np.asarray(arrays[p], dtype=np.int64) for path, p in own}, units).save(path)

    def witness(self) -> "Witness":
        """What a proof of this run commits to, kept from training or recomputed.

        Raises RunError if the recomputed steps do not end in ``final``.
        """
        if self.kept is not None and all(a is getattr(self, name) for a, name in zip(self.kept[0], RECIPE, strict=True)):
            kept = self.kept[1]
        else:
            bounds = self.circuit.bounds(self.initial_bound, self.steps, self.first_step)
            done = run_steps(self.circuit, bounds, self.initial, self.data, self.indices, self.first_step, True, lambda _: None)
            kept = done.kept
            if done.losses != self.loss_integers:
                raise RunError("the recomputed steps have other losses than the run: it was altered or belongs to other data")
            if not all(np.array_equal(x, y) for x, y in zip(done.final, self.final, strict=True)):
                raise RunError("the recomputed steps do not end in the run's final parameters: it was altered or belongs to other data")
        arrays = {key: array.astype(np.int64) for key, array in kept.items()}
        values = {i: array for (name, i), array in arrays.items() if name == "value"}
        states = {key: arrays.pop(key) for key in [*arrays] if key[0] in ("hat", "moved")}
        for i, node in enumerate(self.circuit.nodes):
            if node.operation.rebuilt:
                values[i] = node.operation.evaluate([values[j] for j in node.inputs], node, [], None)
        return Witness(values, {key: array for key, array in arrays.items() if key[0] != "value"}, states)


class End(NamedTuple):
    """The parameters at one end of a run, "initial" or "final", or those that no step changes, "frozen": as its commitments are called.

    places: their numbers in a circuit that reads them.
    """

    run: Run
    name: str
    places: tuple[int, ...] = ()

    @property
    def numbers(self) -> tuple[int, ...]:
        """Theirs in the run's circuit."""
        return self.run.circuit.frozen if self.name == "frozen" else self.run.circuit.held[PARAMETERS]

    @property
    def group(self) -> str:
        """The name under which openings of their commitment are counted."""
        return f"{self.run.chain.data.name} frozen" if self.name == "frozen" else self.run.keys[self.name == "final"].name

    @property
    def step(self) -> int | None:
        """How many steps the chain, or the one that handed it over, has had before: the number of their commitment. None of frozen ones."""
        if self.name == "frozen":
            return None
        if self.name == "initial" and self.run.keys[0].number is not None:
            return self.run.keys[0].number
        return self.run.first_step + (self.run.steps if self.name == "final" else 0)

    @property
    def integers(self) -> tuple[np.ndarray, ...]:
        """Of these parameters, in the circuit's order."""
        arrays = self.run.final if self.name == "final" else self.run.initial
        return tuple(arrays[p] for p in self.numbers)

    @property
    def bound(self) -> tuple[int, ...]:
        """Largest absolute values of them that the chain relies on."""
        bounds = self.run.final_bound if self.name == "final" else self.run.initial_bound
        return tuple(bounds[p] for p in self.numbers)

    @property
    def shifts(self) -> tuple[int, ...]:
        """s of each of them: its integers are 2^s times the committed ones."""
        return tuple(0 if self.name == "final" else self.run.coarse_shifts[p] for p in self.numbers)

    def __str__(self) -> str:
        told = {"initial": "before its first step", "final": "after the last step of the run that is read", "frozen": "that it freezes"}
        return told[self.name]


@dataclass(frozen=True, eq=False)
class Witness:
    """What operations keep for the proof. values: node to int64 (steps, *shape). forms: (name, node) to the integers of its forms.

    states: ("hat", s), a state with a recurrence between periods, and ("moved", s), the remainders of its roundings.
    """

    values: dict[int, np.ndarray] = field(repr=False)
    forms: dict[tuple[str, int], np.ndarray] = field(repr=False)
    states: dict[tuple[str, int], np.ndarray] = field(default_factory=dict, repr=False)

    def __repr__(self) -> str:  # never a value
        return f"Witness({len(self.values)} tensors)"
