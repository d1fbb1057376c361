"""Exact integer training: ``train`` makes one run, ``chunks`` a chain of them.

A ``Run`` is one chunk of steps. It holds the integers of the first and last parameters and of the losses; everything
in between is recomputed from the first parameters when it is needed, bit by bit the same.
"""

import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import jax
import numpy as np

from ..circuit import coarse
from ..circuit.circuit import Circuit
from ..circuit.rounding import Rounding, Roundings, lossy
from ..commitment.geometry import check_preferred
from ..commitment.keys import Chain, Key
from ..errors import DataError, PrecisionError, PrecisionWarning, RunError
from ..progress import Steps
from ..proofs.model import Model
from ..protocol.schedule import batch_indices
from ..prover.hand_over import Handed
from ..tracing.arguments import STATE, as_array, in_words, named_leaves, whole
from .dataset import Dataset
from .renewal import bounded, renewed
from .run import RECIPE, Run, public_values
from .steps import check_quotients, kept_bytes, run_steps
from .template import Template, template_of

KEEP = 2**30  # bytes of tensors that a run keeps for its proof; larger ones are computed again


def train(
    circuit: Circuit,
    params: Any,
    data: Sequence[Any] | Dataset | None,
    *,
    steps: int,
    state: Any = None,
    seed: int | None = None,
    shard_size: int | None = None,
    prefer: str | None = None,
    progress: Callable[[int, int], object] | str | None = "auto",
    callback: Callable[[int, dict[str, Any]], object] | None = None,
) -> Run:
    """Train ``steps`` steps in exact integers, as one run.

    circuit:    from ``trace``.
    params:     the user's params (the pytree given to ``trace``), rounded to coarse integers; or a Run to go on from; or a Model that was
                published (``zkjax.Model.load``), to fine-tune it from exactly its integers; or weights that another chain's owner has
                handed over (``zkjax.Handed.take``), for one training.
    state:      the state of a model, as given to ``trace``: needed where it holds numbers that the circuit does not give, and checked
                against those that it gives. ``Run.state`` is its pytree then.
    data:       tuple of arrays (samples first) or a Dataset; a run goes on with the same data (or None), seed and shard_size.
    seed:       of the public batch schedule, 0 .. 2^64-1; default 0, or the run's.
    shard_size: samples in each separately committed part of the data, at most 2^20; default: one part, or the run's.
    prefer:     "time", the default, or "bytes": proofs of this chain are smaller then, and take longer to make. A chain that goes on keeps
                what it began with.
    progress:   "auto" shows a bar on a terminal, None nothing; or ``progress(done, steps)``, called after each step.
    callback:   ``callback(step, outputs)``, called before each step with all that the user's step returns besides its state, or the loss
                and ``aux``, its auxiliary output: floats and NumPy arrays, by the user's own code on the states of the exact training and
                the batch as rounded. Nothing of them is proven. It takes the time of a step in floating point.
    Raises: DataError; RunError - a run of another circuit, data, seed or shards, or JAX cannot run in a forked process;
            PrecisionError - a value left its declared range (step, operation, value, what to change), or a bound could reach 2^63
            within these steps.

    Bounds on weights grow from run to run. Where they would not hold for these steps, the run's proof range-checks its first weights
    anew (``Run.widths``), which costs lookups and resets them.
    """
    steps, seed, shard_size = _checked(circuit, steps, seed, shard_size)
    start = _start(circuit, params, state, data, seed, shard_size, prefer)
    return run_from(circuit, start, steps, progress, callback)


def _checked(circuit, steps, seed, shard_size) -> tuple[int, int | None, int | None]:
    """The numbers of a training as Python integers."""
    if not isinstance(circuit, Circuit):
        raise DataError(f"circuit is a {type(circuit).__name__}; give the zkjax.Circuit of zkjax.trace first, then params and data")
    return (
        whole("steps", steps, 1, "train at least one"),
        None if seed is None else whole("seed", seed, 0, "choose an integer from 0 to 2^64 - 1"),
        None if shard_size is None else whole("shard_size", shard_size),
    )


def _start(circuit: Circuit, params, state, data, seed: int | None, shard_size: int | None, prefer: str | None) -> dict:
    """Where a run starts: what of its fields its first step follows from."""
    check_preferred(prefer or "time")
    if prefer and isinstance(params, Run | Handed):
        raise RunError("what a chain's proofs are made for is chosen where it begins; leave prefer out")
    if isinstance(params, Run):
        if state is not None:
            raise DataError("a run goes on with its own state; leave state out")
        return _continued(circuit, params, data, seed, shard_size)
    keys, chain, rounded = (Key.fresh(), Key.fresh()), Chain.fresh(prefer or "time"), ()
    if isinstance(params, Model | Handed):
        if state is not None:
            raise DataError("a model's file holds all that a training begins with; leave state out")
        own = _of_model(circuit, params) if isinstance(params, Model) else params.integers_for(circuit)
        (shifts, widths, initial), template = coarse.as_they_are(circuit, own), None
    else:
        leaves, template = matched(circuit, params, state)
        shifts, widths, initial = _coarse(circuit, leaves)
        rounded = _parameter_roundings(circuit, leaves, initial)
    dataset = Dataset.of(circuit, data)
    if isinstance(params, Handed):  # they serve one training: nothing is refused after this
        keys, chain = (params.use(), keys[1]), params.chain
    return {
        "data": dataset,
        "first_step": 0,
        "seed": 0 if seed is None else seed,
        "shard_size": shard_size,
        "initial": initial,
        "begins": True,
        "coarse_shifts": shifts,
        "widths": widths,
        "initial_bound": coarse.shown(circuit, shifts, widths),
        "keys": keys,
        "chain": chain,
        "template": template,
        "roundings": (*rounded, *dataset.roundings),
        "told": False,
    }


def _of_model(circuit: Circuit, model: Model) -> dict[int, tuple[int, np.ndarray]]:
    """A model's integers, by the numbers of the circuit's parameters: (s, v) for values of 2^s * v, no bit of which is dropped."""
    own = {x.path: p for p, x in enumerate(circuit.parameters) if p not in circuit.given}
    if {path: x.shape for path, x in model.integers.items()} != {path: circuit.parameters[p].shape for path, p in own.items()}:
        raise DataError(
            f"the model holds {', '.join(sorted(model.integers))[:200]}; the circuit's parameters have other paths or shapes. Give arrays, "
            "model.floats() among them, to begin with others as well"
        )
    found = {}
    for path, p in own.items():
        shift = coarse.finer(circuit, p, model.units[path], model.integers[path])
        if shift is None:
            raise DataError(
                f"the integers of {path}, of which 1 is worth {float(model.units[path]):g}, are none of at most 61 bits in the circuit, "
                f"where 1 is worth {float(circuit.unit(p)):g}; trace with Precision(parameters=model.scales), or give model.floats(), to "
                "be rounded"
            )
        found[p] = shift, model.integers[path]
    return found


def matched(circuit: Circuit, params, state) -> tuple[dict[int, Any], Template]:
    """The arrays of the committed states, by number, in what the user gives: those alone, in the circuit's order, or a state by paths."""
    leaves, structure = jax.tree.flatten(params)
    own = [p for p in range(len(circuit.parameters)) if p not in circuit.given]
    if state is None and len(leaves) == len(own):
        return dict(zip(own, leaves, strict=True)), template_of(circuit, leaves, structure)
    named, beside = named_leaves(in_words(params), "params"), {} if state is None else named_leaves(in_words(state), "state", STATE)
    every = named | beside
    numbers = {parameter.path: p for p, parameter in enumerate(circuit.parameters)}
    public = {x.path: x for x in circuit.public}
    needed = {circuit.parameters[p].path for p in own}
    if len(named) != len(leaves) or not set(every) <= {*numbers, *public} or not needed <= set(every):
        missing = any(path.startswith(STATE) for path in needed - set(every)) and state is None
        raise DataError(
            f"params holds {len(leaves)} arrays, the circuit has {len(own)} parameters"
            + ("" if state is None else f", and state {len(beside)}: what was traced has other paths")
            + ("; give the model's state too, state=.." if missing else "; give the pytree that was traced, and after it the data")
        )
    for path, leaf in every.items():
        if path in public:
            _begins(path, leaf, [float(v) for v in public[path].at(0)], public[path].shape)
        elif numbers[path] in circuit.given and circuit.parameters[numbers[path]].given.copied is None:
            parameter, unit = circuit.parameters[numbers[path]], float(circuit.unit(numbers[path]))
            _begins(path, leaf, [parameter.given.integer * unit], parameter.shape, unit)
    found = {numbers[path]: leaf for path, leaf in every.items() if path in numbers}
    template = Template.of(leaves, structure, list(named), public)
    if state is not None:
        parts, structure = jax.tree.flatten(state)
        template = replace(template, state=Template.of(parts, structure, list(beside), public))
    return found, template


def _begins(path: str, leaf, values: list, shape, unit: float = 0.0) -> None:
    """What the circuit gives where a chain begins, as its integers hold it, is not the user's choice."""
    found = as_array(leaf, path)
    near = 1e-6 if found.dtype.kind == "f" else 0
    if found.shape != tuple(shape) or not np.allclose(np.asarray(found, np.float64).reshape(-1), values, rtol=near, atol=unit / 2):
        raise DataError(
            f"{path} is not what the circuit gives where a chain begins; trace with this state, or go on with the run of before"
        )


def _parameter_roundings(circuit: Circuit, leaves, initial) -> list[Rounding]:
    """What rounding did to the first parameters."""
    named = [(p, leaves[p]) for p in range(len(circuit.parameters)) if p not in circuit.given]
    values = {p: np.asarray(x, np.float64) for p, x in named}
    return [
        Rounding.of(f"parameter {circuit.parameters[p].path}", x / float(circuit.unit(p)), initial[p]).within(float(np.abs(x).max()))
        for p, x in values.items()
    ]


def run_from(circuit: Circuit, start: dict, steps: int, progress, callback=None, keep: bool = True) -> Run:
    """The run of so many steps from a start. keep: its tensors, where they take little memory."""
    look = None if callback is None else _telling(circuit, start["data"], callback)
    start, bounds = bounded(circuit, start, steps)
    dataset, first = start["data"], start["first_step"]
    indices = batch_indices(start["seed"], dataset.samples, start["shard_size"], circuit.batch_size, first, steps)
    keep = keep and kept_bytes(circuit, steps) <= KEEP
    with Steps(progress, steps, f"training steps {first}..{first + steps - 1}") as shown:
        done = run_steps(circuit, bounds, start["initial"], dataset, indices, first, keep, shown.done, look)
    check_quotients(circuit, done.extremes, first)
    largest = dict(zip(circuit.limited, np.abs(done.extremes).max(axis=(0, 2)).tolist(), strict=True))
    named = zip(circuit.rounded, done.rounded.tolist(), strict=True)
    found = [Rounding.summed(f"[{circuit.nodes[i].label}]", *row).of_node(circuit, i, largest[i]) for i, row in named]
    start["roundings"] = Roundings((*start["roundings"], *found))
    if not start.pop("told"):  # once in a chain
        for message in lossy(start["roundings"]):
            warnings.warn(message, PrecisionWarning, stacklevel=3)
    fields = {"circuit": circuit, "steps": steps, "final": done.final, "loss_integers": done.losses, "final_bound": bounds.final, **start}
    return Run(**fields, kept=(tuple(fields[name] for name in RECIPE), done.kept) if keep else None)


def _telling(circuit: Circuit, dataset: Dataset, callback):
    """What looks at each step for ``callback``."""
    own = circuit.own
    if own is None:
        raise DataError("a circuit from a file does not know what the user's step returns; trace the step again, or leave callback out")

    def look(step: int, parameters, batch) -> None:
        values = {x.path: array for x, array in zip(circuit.parameters, parameters, strict=True)} | public_values(circuit, step)
        samples = [x[batch] * 2.0**-told.scale for x, told in zip(dataset.arrays, circuit.inputs, strict=True)]
        callback(step, own.outputs(values, samples, step))

    return look


def chunks(
    circuit: Circuit,
    params: Any,
    data: Sequence[Any] | Dataset | None,
    *,
    steps: int,
    chunk: int,
    state: Any = None,
    seed: int | None = None,
    shard_size: int | None = None,
    prefer: str | None = None,
    progress: Callable[[int, int], object] | str | None = "auto",
    callback: Callable[[int, dict[str, Any]], object] | None = None,
) -> Iterator[Run]:
    """Train ``steps`` steps as runs of at most ``chunk`` steps and nearly equal length: 90 by 16 is 6 runs of 15.

    States that are rounded in periods are rounded once more where a run ends within one: where there are any, runs end at the last
    period that fits, as far as ``chunk`` allows it.

    Each run starts where the one before it ended. Arguments and errors as for ``train``; ``progress(done, steps)`` counts the steps
    of all runs. Whether a chain can have so many steps, and bounds hold for a run, is checked here, at once; the runs are trained as they
    are asked for.
    """
    given = {"state": state, "seed": seed, "shard_size": shard_size, "prefer": prefer}
    return runs_of(circuit, params, data, steps, chunk, given, progress, callback)


def runs_of(circuit: Circuit, params, data, steps, chunk, given: dict, progress, callback, keep: bool = True) -> Iterator[Run]:
    """As ``chunks``. keep: whether runs hold the tensors of their steps for their proofs, where these take little memory."""
    before = params.first_step + params.steps if isinstance(params, Run) else 0
    ends = chunk_ends(circuit, before, whole("steps", steps), whole("chunk", chunk))
    steps, seed, shard_size = _checked(circuit, steps, given["seed"], given["shard_size"])
    start = _start(circuit, params, given["state"], data, seed, shard_size, given["prefer"])
    _check_length(circuit, start, steps, max(b - a for a, b in zip((0, *ends), ends, strict=False)))

    def runs():
        run = None
        for first, end in zip((0, *ends), ends, strict=False):
            shown = (lambda done, _, first=first: progress(first + done, steps)) if callable(progress) else progress
            run = run_from(
                circuit, start if run is None else _continued(circuit, run, None, None, None), end - first, shown, callback, keep
            )
            yield run

    return runs()


def _check_length(circuit: Circuit, start: dict, steps: int, chunk: int) -> None:
    """PrecisionError where a chain cannot have so many steps, or bounds, once renewed, do not hold for a chunk of so many."""
    first, here = start["first_step"], "from here" if start["first_step"] else "from these parameters"
    longest = circuit.longest_chain(start["initial_bound"], first)
    if longest.steps is None or longest.steps >= steps:
        return
    if longest.ends or circuit.max_steps is not None and circuit.max_steps - first < steps:
        circuit.bounds(start["initial_bound"], steps, first)  # says so
    _, bound = renewed(circuit, start["initial"], start["initial_bound"])
    longest = circuit.longest_chain(bound, first)
    if longest.steps is not None and longest.steps < chunk:
        raise PrecisionError(
            f"bounds hold for {longest.steps} steps {here}, less than a chunk of {chunk}: {longest.limit}; use chunks of at most "
            f"{longest.steps} steps, or {longest.cure}"
        )


def chunk_ends(circuit, before: int, steps: int, chunk: int) -> list[int]:
    """After how many of the steps each run ends. before: steps that the chain has had."""
    count, period = -(-steps // chunk), getattr(circuit, "period", 1)
    if period == 1:
        return [steps * (i + 1) // count for i in range(count)]
    ends = [0]
    while ends[-1] < steps:
        furthest = min(ends[-1] + chunk, steps)
        on_grid = (before + furthest) // period * period - before
        ends.append(furthest if furthest == steps or on_grid <= ends[-1] else on_grid)
    return ends[1:]


def _continued(circuit, run: Run, data, seed, shard_size) -> dict:
    if circuit.digest() != run.circuit.digest():
        raise RunError("the run belongs to another circuit; go on with run.circuit")
    if run.reads:
        raise RunError("the run is an evaluation, which is over; go on with the run that it evaluates")
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
        "begins": False,
        "coarse_shifts": tuple(s * x.frozen for s, x in zip(run.coarse_shifts, circuit.parameters, strict=True)),
        "widths": (0,) * len(circuit.parameters),
        "initial_bound": run.final_bound,
        "keys": (run.keys[1], Key.fresh()),
        "chain": run.chain,
        "template": run.template,
        "roundings": (),
        "told": bool(lossy(run.roundings)),
    }


def _coarse(circuit: Circuit, leaves) -> tuple[tuple[int, ...], tuple[int, ...], tuple[np.ndarray, ...]]:
    """The first parameters as 2^s * v: shifts s and widths of v, which are public, and the integers.

    A lookup or two per parameter then prove the bound that every later step relies on.
    """
    found = {}
    for p in (p for p in range(len(circuit.parameters)) if p not in circuit.given):
        leaf, parameter = leaves[p], circuit.parameters[p]
        values = as_array(leaf, f"parameter {parameter.path}")
        if values.shape != parameter.shape:
            raise DataError(f"parameter {parameter.path} has shape {values.shape}, the circuit expects {parameter.shape}")
        with np.errstate(all="ignore"):
            found[p] = values.astype(np.float64)
        if not np.isfinite(found[p]).all():
            raise DataError(f"parameter {parameter.path} of shape {parameter.shape} holds values that are not finite")
    return coarse.integers(circuit, found)
