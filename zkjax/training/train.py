"""Exact integer training: data to integers, runs of a circuit, and the witness that a prover needs.

A ``Run`` is one chunk of steps. It holds the integers of the first and last parameters and of the losses; everything
in between is recomputed from the first parameters when it is needed, bit by bit the same.
"""

import dataclasses
import math
import warnings
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from os import PathLike
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..algebra import exact
from ..circuit.circuit import Bounds, Circuit
from ..circuit.rounding import Rounding, Roundings, lossy
from ..commitment.keys import Chain, Key
from ..display import Sheet, Shown, Table
from ..errors import DataError, PrecisionError, PrecisionWarning, RunError
from ..kernels import integers
from ..kernels.settings import fixed
from ..kernels.threads import scope
from ..ops.products import Gate
from ..ops.ranges import signed_bound
from ..progress import Steps
from ..protocol.schedule import batch_indices, steps_per_epoch
from ..prover.prove import fix_geometry
from ..tracing.arguments import as_array, whole
from . import saved as state

KEEP = 2**30  # bytes of tensors that a run keeps for its proof; larger ones are computed again
SPARE_OPENINGS = 2  # for proofs that are made again after an error
# What a run's tensors follow from: a run that was altered has to recompute them.
RECIPE = ("circuit", "data", "initial", "final", "loss_integers", "first_step", "steps", "seed", "shard_size")


@dataclass(frozen=True, eq=False)
class Dataset:
    """The data as integers: ``arrays[i]`` int64 of shape (samples, ...), for input i of the circuit.

    The arrays are read-only and its own, copied if need be: what is committed to must not change between two proofs.
    roundings: what rounding did to each of them, where they were made from values.
    """

    arrays: tuple[np.ndarray, ...] = field(repr=False)
    roundings: tuple[Rounding, ...] = field(default=(), repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "arrays", tuple(_owned(x) for x in self.arrays))

    def __repr__(self) -> str:  # never a value
        return f"Dataset({self.samples} samples: {', '.join(str(x.shape[1:]) for x in self.arrays)})"

    @property
    def samples(self) -> int:
        return len(self.arrays[0])

    @staticmethod
    def of(circuit: Circuit, data: "Sequence[Any] | Dataset | None") -> "Dataset":
        """Round data to the circuit's integers: floor(x * 2^scale + 1/2), in float64. A Dataset is checked and returned.

        data: a tuple of arrays in the order of the loss function's arguments, samples first.
        Raises: DataError - number of arrays, shape, dtype, a value that is not finite or out of range (names the sample).
        """
        integral = isinstance(data, Dataset)
        arrays = data.arrays if isinstance(data, Dataset) else data
        if not isinstance(arrays, (tuple, list)) or len(arrays) != len(circuit.inputs):
            names = ", ".join(x.name for x in circuit.inputs)
            given = f"{len(arrays)} arrays" if isinstance(arrays, (tuple, list)) else f"a {type(arrays).__name__}"
            raise DataError(f"the circuit reads {len(circuit.inputs)} arrays ({names}), data is {given}; give a tuple of as many arrays")
        result: list[np.ndarray] = []
        roundings = []
        for expected, array in zip(circuit.inputs, arrays, strict=True):
            array = as_array(array, f"data '{expected.name}'")
            if integral and array.dtype != np.int64:
                raise DataError(f"data '{expected.name}' has dtype {array.dtype}; a Dataset holds int64")
            if array.ndim == 0 or array.shape[1:] != expected.shape[1:]:
                raise DataError(
                    f"data '{expected.name}' has shape {array.shape}; expected (samples, {', '.join(map(str, expected.shape[1:]))})"
                )
            if result and len(array) != len(result[0]):
                raise DataError(f"data '{expected.name}' has {len(array)} samples, '{circuit.inputs[0].name}' has {len(result[0])}")
            result.append(array if integral else _rounded(expected, array))
            _check_range(expected, result[-1], array)
            if not integral:
                roundings.append(Rounding.of(f"data '{expected.name}'", np.ldexp(array.astype(np.float64), expected.scale), result[-1]))
        steps_per_epoch(len(result[0]), circuit.batch_size)
        return data if isinstance(data, Dataset) else Dataset(tuple(_frozen(x.astype(np.int64)) for x in result), tuple(roundings))


def _frozen(array: np.ndarray) -> np.ndarray:
    """This array, from now on read-only."""
    array.flags.writeable = False
    return array


def _owned(array: np.ndarray) -> np.ndarray:
    """A read-only array that nobody else can write to: this one, or a copy."""
    alone = not array.flags.writeable and array.base is None
    return array if alone else _frozen(np.array(array))


def _rounded(expected, array) -> np.ndarray:
    """Integers as float64: whether they fit is not known yet."""
    with np.errstate(all="ignore"):  # values beyond float64 become infinite, and beyond the range
        values = array.astype(np.float64)
        finite = np.isfinite(array)
        if not finite.all():
            sample = int(np.argwhere(~finite)[0][0])
            raise DataError(f"data '{expected.name}', sample {sample}: a value is not finite")
        return exact.nearest(values, expected.scale)


def _check_range(expected, integers, array):
    bound, unit = signed_bound(expected.bits + 1), 2.0**-expected.scale
    outside = (integers < -bound) | (integers >= bound)
    if outside.any():
        place = tuple(int(i) for i in np.argwhere(outside)[0])
        value = f"{float(integers[place]) * unit:g}" if np.isfinite(integers[place]) else str(array[place])
        raise DataError(
            f"data '{expected.name}', sample {place[0]}: the value {value} lies outside the declared "
            f"range [{-bound * unit:g}, {bound * unit:g}); scale the data, or trace with "
            f"a larger Precision.data_bits (now {expected.bits})"
        )


@dataclass(frozen=True, eq=False)
class Template:
    """How a run's integers become the user's params: pytree structure and dtypes."""

    structure: Any
    dtypes: tuple[str, ...]

    @staticmethod
    def of(leaves: Sequence[Any], structure: Any) -> "Template":
        return Template(structure, tuple(_floating_type(x) for x in leaves))

    def fill(self, arrays: Sequence[np.ndarray]) -> Any:
        """The user's pytree of these values."""
        with fixed(x64=jax.config.jax_enable_x64):
            return jax.tree.unflatten(self.structure, [jnp.asarray(x.astype(d)) for x, d in zip(arrays, self.dtypes, strict=True)])


def _floating_type(leaf: Any) -> str:
    """The type in which JAX holds a parameter."""
    kind = np.dtype(leaf.dtype if hasattr(leaf, "dtype") else np.asarray(leaf).dtype).newbyteorder("=")
    if not jnp.issubdtype(kind, jnp.floating):
        kind = np.dtype(np.float32)
    return str(jax.dtypes.canonicalize_dtype(np.float64 if kind == np.longdouble else kind))


def _nested(values: dict[str, np.ndarray]) -> Any:
    """Nests of dicts from values by path, "a/b" becoming {"a": {"b": ..}}; a list where the keys are 0, 1, .. in some order.

    Paths that contradict each other ("a" beside "a/b") stay as they are.
    """
    tree: dict = {}
    for path, value in values.items():
        *above, last = path.split("/")
        node = tree
        for key in above:
            node = node.setdefault(key, {})
            if not isinstance(node, dict):
                return values
        if last in node:
            return values
        node[last] = value

    def listed(node):
        if not isinstance(node, dict):
            return node
        inner = {key: listed(below) for key, below in node.items()}
        numbers = [str(i) for i in range(len(inner))]
        return [inner[i] for i in numbers] if set(inner) == set(numbers) else inner

    return listed(tree)


@dataclass(frozen=True, eq=False)
class Run(Shown):
    """One chunk of exact training. All integers are NumPy int64; the value of a parameter is integer * 2^-weight_scale.

    Its printed form names what is public only; it is neither copied nor pickled (``openings.py``), but saved and loaded.

    first_step, steps:  steps first_step .. first_step+steps-1 of the schedule (seed, shard_size; None: one shard).
    initial, final:     the parameters before the first and after the last step, in the circuit's order.
    loss_integers:      for each step the integer of each ``circuit.losses`` node.
    coarse_shifts:      for the first run, s of each parameter: initial = 2^s * v, v of ``table_bits`` bits; None later.
    initial_bound:      largest absolute value of each initial parameter that the chain relies on; final_bound: after the
                        last step, the next run's initial_bound.
    keys:               secret randomness of the commitments to ``initial`` and ``final``; never printed.
    chain:              what all runs of a chain share: the dataset's key, opening counters, the geometry of commitments.
    template:           the user's pytree, or None (``params`` is then made of dicts and lists).
    roundings:          what rounding did to data, first parameters and, over all steps, to rescaled tensors; it follows from secrets,
                        and () once loaded; ``print(run.roundings)`` shows a table.
    kept:               the prover's tensors of all steps and what they follow from, where they took little memory.
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
    coarse_shifts: tuple[int, ...] | None
    initial_bound: tuple[int, ...]
    final_bound: tuple[int, ...]
    keys: tuple[Key, Key] = field(repr=False)
    chain: Chain = field(repr=False)
    template: Template | None = field(default=None, repr=False)
    roundings: Roundings = field(default=Roundings(), repr=False)
    kept: tuple[tuple[Any, ...], dict[Any, np.ndarray]] | None = field(default=None, repr=False)

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
            ("first weights", "rounded to the circuit's integers" if self.coarse_shifts is not None else "those of the run before"),
            ("rounding", "run.roundings: private, it follows from data and weights" if self.roundings else "measured while training only"),
        )
        parameters = tuple((p.path, "x".join(map(str, p.shape)) or "scalar", f"{math.prod(p.shape):,}") for p in self.circuit.parameters)
        return Sheet(
            f"Run of {self.steps} step{'s' * (self.steps > 1)} in exact integers: private",
            (Table(rows, left=(0, 1)), Table(parameters, ("parameter", "shape", "entries"), left=(0, 1), title="parameters")),
        )

    @property
    def params(self) -> Any:
        """The last parameters in floating point, as the user's pytree.

        For a run that was loaded without one: nests of dicts by the parts of the parameters' paths, and lists where the keys are
        0, 1, 2, .. That is what a linen model takes; ``nnx.update(model, params)`` takes it for an nnx model.
        """
        values = [np.ldexp(x.astype(np.float64), -self.circuit.weight_scale) for x in self.final]
        if self.template is not None:
            return self.template.fill(values)
        return _nested({p.path: x.astype(np.float32) for p, x in zip(self.circuit.parameters, values, strict=True)})

    @property
    def losses(self) -> list[Fraction]:
        """The exact loss of each step."""
        return [self.circuit.exact_loss(row) for row in self.loss_integers]

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
        self.check()
        fix_geometry(self)  # else a chain that is saved before its first proof could choose twice
        state.save(self, directory, replace)

    @staticmethod
    def load(directory: str | PathLike[str], params: Any = None) -> "Run":
        """Read a saved run. params: a pytree of the user's (arrays, or their shapes), so that ``run.params`` is one again.

        Without it ``run.params`` is made of dicts and lists (see there), whatever the user's pytree was.
        Raises: RunError - not a complete run, or params of another circuit; FormatError - malformed files.
        """
        run = state.load(Run, Dataset, directory)
        if params is None:
            return run
        leaves, structure = jax.tree.flatten(params)
        if [np.shape(x) for x in leaves] != [p.shape for p in run.circuit.parameters]:
            raise RunError(f"{directory}: params has not the shapes of the run's parameters")
        return dataclasses.replace(run, template=Template.of(leaves, structure))

    def witness(self) -> "Witness":
        """What a proof of this run commits to, kept from training or recomputed.

        Raises RunError if the recomputed steps do not end in ``final``.
        """
        if self.kept is not None and all(a is getattr(self, name) for a, name in zip(self.kept[0], RECIPE, strict=True)):
            kept = self.kept[1]
        else:
            bounds = self.circuit.bounds(self.initial_bound, self.steps, self.first_step)
            final, losses, _, _, kept = _steps(
                self.circuit, bounds, self.initial, self.data, self.indices, self.first_step, True, lambda _: None
            )
            if losses != self.loss_integers:
                raise RunError("the recomputed steps have other losses than the run: it was altered or belongs to other data")
            if not all(np.array_equal(x, y) for x, y in zip(final, self.final, strict=True)):
                raise RunError("the recomputed steps do not end in the run's final parameters: it was altered or belongs to other data")
        arrays = {key: array.astype(np.int64) for key, array in kept.items()}
        values = {i: array for (name, i), array in arrays.items() if name == "value"}
        for i, node in enumerate(self.circuit.nodes):
            if node.operation.rebuilt:
                values[i] = node.operation.evaluate([values[j] for j in node.inputs], node, [], None)
        return Witness(values, {key: array for key, array in arrays.items() if key[0] != "value"})


@dataclass(frozen=True, eq=False)
class Witness:
    """What operations keep for the proof. values: node to int64 (steps, *shape). forms: (name, node) to the integers of its forms."""

    values: dict[int, np.ndarray] = field(repr=False)
    forms: dict[tuple[str, int], np.ndarray] = field(repr=False)

    def __repr__(self) -> str:  # never a value
        return f"Witness({len(self.values)} tensors)"


def train(
    circuit: Circuit,
    params: Any,
    data: Sequence[Any] | Dataset | None,
    *,
    steps: int,
    seed: int | None = None,
    shard_size: int | None = None,
    openings: int = 8,
    progress: Callable[[int, int], object] | str | None = "auto",
) -> Run:
    """Train ``steps`` steps in exact integers, as one run.

    circuit:    from ``trace``.
    params:     the user's params (the pytree given to ``trace``), rounded to coarse integers; or a Run to go on from.
    data:       tuple of arrays (samples first) or a Dataset; a run goes on with the same data (or None), seed and shard_size.
    seed:       of the public batch schedule, 0 .. 2^64-1; default 0, or the run's.
    shard_size: samples in each separately committed part of the data, at most 2^20; default: one part, or the run's.
    openings:   how many proofs of this chain may open a shard of the dataset; each one costs a few kB in every proof. It
                is fixed where a chain begins, and ignored where a run goes on.
    progress:   "auto" shows a bar on a terminal, None nothing; or ``progress(done, steps)``, called after each step.
    Raises: DataError; RunError - a run of another circuit, data, seed or shards, or JAX cannot run in a forked process;
            PrecisionError - a value left its declared range (step, operation, value, what to change), or a bound could reach 2^63.
    """
    steps, seed, shard_size, openings = _checked(circuit, steps, seed, shard_size, openings)
    start = _start(circuit, params, data, seed, shard_size, openings)
    return _train(circuit, start, steps, progress)


def _checked(circuit, steps, seed, shard_size, openings) -> tuple[int, int | None, int | None, int]:
    """The numbers of a training as Python integers."""
    if not isinstance(circuit, Circuit):
        raise DataError(f"circuit is a {type(circuit).__name__}; give the zkjax.Circuit of zkjax.trace first, then params and data")
    return (
        whole("steps", steps, 1, "train at least one"),
        None if seed is None else whole("seed", seed, 0, "choose an integer from 0 to 2^64 - 1"),
        None if shard_size is None else whole("shard_size", shard_size),
        whole("openings", openings, 1, "a dataset that is never opened proves nothing"),
    )


def _start(circuit: Circuit, params, data, seed: int | None, shard_size: int | None, openings: int) -> dict:
    """Where a run starts: what of its fields its first step follows from."""
    if isinstance(params, Run):
        return _continued(circuit, params, data, seed, shard_size)
    leaves, structure = jax.tree.flatten(params)
    shifts, initial = _coarse(circuit, leaves)
    dataset = Dataset.of(circuit, data)
    return {
        "data": dataset,
        "first_step": 0,
        "seed": 0 if seed is None else seed,
        "shard_size": shard_size,
        "initial": initial,
        "coarse_shifts": shifts,
        "initial_bound": tuple(circuit.coarse_bound(s) for s in shifts),
        "keys": (Key.fresh(), Key.fresh()),
        "chain": Chain.fresh(openings),
        "template": Template.of(leaves, structure),
        "roundings": (*_parameter_roundings(circuit, leaves, initial), *dataset.roundings),
        "told": False,
    }


def _parameter_roundings(circuit: Circuit, leaves, initial) -> list[Rounding]:
    """What rounding did to the first parameters."""
    named = zip(circuit.parameters, leaves, initial, strict=True)
    return [Rounding.of(f"parameter {p.path}", np.ldexp(np.asarray(x, np.float64), circuit.weight_scale), y) for p, x, y in named]


def _train(circuit: Circuit, start: dict, steps: int, progress) -> Run:
    bounds = circuit.bounds(start["initial_bound"], steps, start["first_step"])
    dataset, first = start["data"], start["first_step"]
    indices = batch_indices(start["seed"], dataset.samples, start["shard_size"], circuit.batch_size, first, steps)
    keep = _kept_bytes(circuit, steps) <= KEEP
    with Steps(progress, steps, f"training steps {first}..{first + steps - 1}") as shown:
        final, losses, extremes, sums, kept = _steps(circuit, bounds, start["initial"], dataset, indices, first, keep, shown.done)
    _check_quotients(circuit, extremes, first)
    found = [Rounding.summed(f"[{circuit.nodes[i].label}]", *row) for i, row in zip(circuit.rounded, sums.tolist(), strict=True)]
    start["roundings"] = Roundings((*start["roundings"], *found))
    if not start.pop("told"):  # once in a chain
        for message in lossy(start["roundings"]):
            warnings.warn(message, PrecisionWarning, stacklevel=3)
    fields = {"circuit": circuit, "steps": steps, "final": final, "loss_integers": losses, "final_bound": bounds.final, **start}
    return Run(**fields, kept=(tuple(fields[name] for name in RECIPE), kept) if keep else None)


UNCOMPILED = 2**25  # work of a run, tenths of a second, for which nothing is compiled: that takes longer


def _steps(circuit: Circuit, bounds: Bounds, initial, data: Dataset, indices, first_step: int, keep: bool, done):
    """Run the steps; done(n) after each.

    Returns the last parameters, loss integers, extremes of quotients, sums of what rounding did, and kept tensors of all steps.
    """
    xp = np if len(indices) * _work(circuit) <= UNCOMPILED else jnp
    step = integers.training_step(circuit, exact.plan(circuit, bounds.nodes), keep, xp)
    types = [np.float64 if bound <= 2**exact.MANTISSA else np.int64 for bound in bounds.final]
    losses, extremes, sums, columns = [], [], [], {}  # of each step; columns: the kept tensors of all of them
    with scope(), np.errstate(all="ignore"):  # what leaves its range may wrap, and is refused below
        parameters = tuple(xp.asarray(x.astype(kind)) for x, kind in zip(initial, types, strict=True))
        arrays = [xp.asarray(x) for x in data.arrays]
        for t, batch in enumerate(indices):
            parameters, loss, extreme, rounded, kept = step(parameters, arrays, batch, _rates(circuit, first_step + t))
            losses.append(loss)
            extremes.append(extreme)
            sums.append(rounded)
            for key, array in kept.items():
                if key not in columns:  # filled step by step: no second copy of all steps
                    columns[key] = np.empty((len(indices), *array.shape), dtype=array.dtype)
                columns[key][t] = array
            jax.block_until_ready(extreme)  # a step is done when it is done, and an interrupt waits for one step
            done(t + 1)
        final = tuple(np.asarray(x).astype(np.int64) for x in parameters)
        stacked = np.stack([np.asarray(x) for x in extremes])
        integers_of_losses = tuple(tuple(int(v) for v in np.asarray(x)) for x in losses)
        summed = np.sum([np.asarray(x) for x in sums], axis=0)
    return final, integers_of_losses, stacked, summed, columns


def _work(circuit: Circuit) -> int:
    """A step by NumPy, in about the time of one entry of an array: entries, products in matrices, and calls."""
    entries = products = 0
    for i, node in enumerate(circuit.nodes):
        entries += math.prod(node.shape)
        products += math.prod(node.shape) * (node.operation.summed(circuit.shapes(i)) or 0)
    return entries + products // 8 + 2**12 * len(circuit.nodes)


def _kept_bytes(circuit: Circuit, steps: int) -> int:
    """Memory that keeping a run's tensors takes, about."""
    zero, leaves = np.zeros((), np.int64), circuit.leaves()
    entry = ((node, kind) for node in circuit.nodes for _, kind in node.operation.keep([zero] * len(node.inputs), zero, leaves).values())
    return steps * sum(math.prod(node.shape) * np.dtype(kind).itemsize for node, kind in entry)


def chunks(
    circuit: Circuit,
    params: Any,
    data: Sequence[Any] | Dataset | None,
    *,
    steps: int,
    chunk: int,
    seed: int | None = None,
    shard_size: int | None = None,
    openings: int | None = None,
    progress: Callable[[int, int], object] | str | None = "auto",
) -> Iterator[Run]:
    """Train ``steps`` steps as runs of at most ``chunk`` steps and nearly equal length: 90 by 16 is 6 runs of 15.

    Each run starts where the one before it ended. Arguments and errors as for ``train``; openings is by default one for each run
    and two more, and ``progress(done, steps)`` counts the steps of all runs. Whether bounds hold for all steps is checked here, at
    once; the runs are trained as they are asked for.
    """
    count = -(-whole("steps", steps) // whole("chunk", chunk))
    openings = count + SPARE_OPENINGS if openings is None else openings
    steps, seed, shard_size, openings = _checked(circuit, steps, seed, shard_size, openings)
    start = _start(circuit, params, data, seed, shard_size, openings)
    longest = circuit.longest_chain(start["initial_bound"], start["first_step"])
    if longest.steps is not None and longest.steps < steps:
        raise PrecisionError(
            f"a chain can have {longest.steps} steps {'from here' if start['first_step'] else 'from these parameters'}, not {steps}: "
            f"{longest.limit}; {longest.cure}"
        )

    def runs():
        run = None
        for i in range(count):
            first, end = steps * i // count, steps * (i + 1) // count
            shown = (lambda done, _, first=first: progress(first + done, steps)) if callable(progress) else progress
            run = _train(circuit, start if run is None else _continued(circuit, run, None, None, None), end - first, shown)
            yield run

    return runs()


def _continued(circuit, run: Run, data, seed, shard_size) -> dict:
    if circuit.digest() != run.circuit.digest():
        raise RunError("the run belongs to another circuit; go on with run.circuit")
    run.check()
    if seed is not None and seed != run.seed:
        raise RunError(f"the run was trained with seed {run.seed}, not {seed}; leave seed out to go on")
    if shard_size is not None and shard_size != run.shard_size:
        raise RunError(f"the run was trained with shards of {run.shard_size}, not {shard_size}; leave shard_size out to go on")
    if data is not None and data is not run.data:
        data = Dataset.of(circuit, data)
        if not all(np.array_equal(a, b) for a, b in zip(data.arrays, run.data.arrays, strict=True)):
            raise RunError("the run was trained on other data; go on with the same samples in the same order")
    return {
        "data": run.data,
        "first_step": run.first_step + run.steps,
        "seed": run.seed,
        "shard_size": run.shard_size,
        "initial": run.final,
        "coarse_shifts": None,
        "initial_bound": run.final_bound,
        "keys": (run.keys[1], Key.fresh()),
        "chain": run.chain,
        "template": run.template,
        "roundings": (),
        "told": bool(lossy(run.roundings)),
    }


def _coarse(circuit: Circuit, leaves) -> tuple[tuple[int, ...], tuple[np.ndarray, ...]]:
    """The first parameters as 2^s * v: the least public s with which v fits one table of signed integers, and the integers.

    One lookup per parameter then proves the bound that every later step relies on.
    """
    if len(leaves) != len(circuit.parameters):
        raise DataError(
            f"params holds {len(leaves)} arrays, the circuit has {len(circuit.parameters)} parameters; give the pytree that was traced, "
            "and after it the data"
        )
    shifts, arrays = [], []
    for parameter, leaf in zip(circuit.parameters, leaves, strict=True):
        values = as_array(leaf, f"parameter {parameter.path}")
        if values.shape != parameter.shape:
            raise DataError(f"parameter {parameter.path} has shape {values.shape}, the circuit expects {parameter.shape}")
        with np.errstate(all="ignore"):
            values = values.astype(np.float64)
        if not np.isfinite(values).all():
            raise DataError(f"parameter {parameter.path} of shape {parameter.shape} holds values that are not finite")
        s, rounded = exact.coarse(values, circuit.weight_scale, circuit.table_bits)
        shifts.append(s)
        arrays.append(rounded)
    return tuple(shifts), tuple(arrays)


def _rates(circuit: Circuit, step: int) -> np.ndarray:
    return np.array([u.rate(step) for p in circuit.parameters for u in p.updates], dtype=np.int64)


def _check_quotients(circuit: Circuit, extremes: np.ndarray, first_step: int):
    """extremes: int64 (steps, nodes that round, 2). The earliest violation is the cause of later ones."""
    if not circuit.rounded:
        return
    lows, highs = np.array([circuit.nodes[i].operation.limits() for i in circuit.rounded]).T
    outside = (extremes[:, :, 0] < lows) | (extremes[:, :, 1] >= highs)
    if not outside.any():
        return
    t, column = (int(i) for i in np.argwhere(outside)[0])
    i, least, bound = circuit.rounded[column], int(lows[column]), int(highs[column])
    low, high = (int(v) for v in extremes[t, column])
    value, node = (high, circuit.nodes[i]) if high >= bound else (low, circuit.nodes[i])
    masked = any(i in circuit.nodes[j].inputs[1:] and circuit.nodes[j].inputs[0] not in circuit.riders(i) for j in circuit.of(Gate.name))
    hint = " (the range also holds where the ReLU's mask is 0 and the value is then discarded)" if masked else ""
    raise PrecisionError(
        f"step {first_step + t}: {circuit.describe(i)} holds {value} = {value * 2.0**-node.scale:g}, outside [{least}, {bound}) = "
        f"[{least * 2.0**-node.scale:g}, {bound * 2.0**-node.scale:g}){hint}; trace with more bits in Precision.activation_bits "
        f"or gradient_bits (now {(bound - 1).bit_length()}), a smaller gradient_scale, or train with a smaller learning rate"
    )
