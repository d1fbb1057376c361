"""A folder to publish: circuit, proofs, statements, and what of weights and data is disclosed. ``zkjax check`` reads it."""

import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from os import PathLike
from pathlib import Path

import numpy as np

from .auditing.conclusion import Conclusion, check
from .auditing.folder import CIRCUIT, COMPARISON, DATA, DISCLOSED, DRAWING, EVALUATION, INITIAL, MODEL, SOURCE, STATEMENT, TERMS
from .circuit.circuit import Circuit
from .circuit.parts import PARAMETERS
from .commitment.commit import Commitment
from .errors import BudgetError, ConfigurationError, RunError
from .proofs.disclosure import Disclosure, numbers_in
from .proofs.drawing import Drawing
from .proofs.links import joined
from .proofs.proof import Proof
from .proofs.published import Published
from .proofs.soundness import TARGET
from .proofs.statement import Statement
from .prover.disclose import ENDS, disclose
from .prover.link import link
from .training.compare import Comparison
from .training.evaluate import Evaluation
from .training.run import Run

LINKS = 2  # of a commitment, for one disclosure: a kill may have spent what a fresh one had
_NAME = re.compile("[A-Za-z0-9_-]{1,64}")


def publish(
    run: Run,
    proofs: Iterable[Proof],
    folder: str | PathLike[str],
    *,
    circuit: Circuit | None = None,
    first: Run | Disclosure | None = None,
    model: bool = True,
    initial: bool = False,
    drawing: Drawing | None = None,
    data: bool | Disclosure = False,
    evaluations: Mapping[str, Evaluation] | None = None,
    comparisons: Mapping[str, Comparison] | None = None,
    source: str | PathLike[str] | None = None,
    test_data: bool = False,
    update: bool = False,
    minimum_bits: float = TARGET,
) -> Conclusion:
    """Make a folder that says all that is to be known of a chain, check it as a stranger would, and return what follows from it.

    run:     the chain's last run. proofs: of all its chunks, in any order, and of links.
    folder:  a new one; nothing in an old one is replaced.
    circuit: as it was traced, for its precision and the lines of its source: a run that was loaded does not know them.
    model:   publish the last parameters, ``model.safetensors``, with their disclosure; initial: likewise the first ones, of ``first``, the
             chain's first run (one that was loaded will do; None: ``run`` is the only one); data: likewise the whole dataset, ``data.npz``,
             as the numbers that the circuit reads, or, of ``zkjax.disclose(run, "dataset", samples=..)``, those samples. Everybody can read
             what is published here.
    drawing: of ``zkjax.draw``, by which the first weights were drawn: ``drawing.json``. Without ``initial`` it may leave out frozen
             parameters, all of them, and no others. Where the first run is not at hand any more, its disclosure, made in time, will do:
             ``first=zkjax.disclose(run, "initial")``; with ``frozen=False`` if frozen ones are left out, to keep them secret. Training is
             exact: first weights and all data together give the last weights to anybody, ``model=False`` or not.
    evaluations: of ``zkjax.evaluate``, by the names of folders that they get; test_data: publish their test sets as well.
    comparisons: of ``zkjax.compare``, likewise.
    source:  the file of a model that the training began with (``Run.save_model``); with ``initial``.
    update:  as for ``disclose``: weights of one step and of a later one tell the update between them.
    minimum_bits: refuse proofs and openings with less proven security.

    The folder appears once it is whole and has been checked. Disclosures by an opening spend a unit of a budget even if what follows fails;
    where none is to spare, the folder gets a proof that replaces the commitment as well. A copy of it is left beside the saved run: a kill
    loses none, and a later call finds it.
    Raises: ConfigurationError - the folder is there, or a proof is missing; all that ``disclose``, ``Run.save_model`` and ``check`` raise.
    """
    if not isinstance(run, Run) or not isinstance(first, Run | Disclosure | None):
        raise RunError("run and first are zkjax.Run objects, or first a zkjax.Disclosure of the first weights")
    if initial and isinstance(first, Disclosure):
        raise RunError("initial=True: the first weights are in the chain's first run; give it as first, and not its disclosure")
    proofs, folder = list(proofs), Path(folder)
    if not proofs or not all(isinstance(proof, Proof) for proof in proofs):
        raise ConfigurationError("proofs: give the proofs of all chunks (zkjax.Proof.load reads one)")
    circuit = run.circuit if circuit is None else circuit
    if not isinstance(circuit, Circuit) or circuit.digest() != run.circuit.digest():
        raise ConfigurationError("circuit is not the one that the run was trained in")
    drawing = None if drawing is None else _drawing(drawing, circuit, initial)
    shown = data.dataset if isinstance(data, Disclosure) else None
    if not isinstance(data, bool) and (shown is None or shown.samples != run.data.samples):
        raise ConfigurationError("data: give True, or what zkjax.disclose(run, 'dataset', samples=..) made of this run's dataset")
    evaluations = dict(evaluations or {})
    if not all(isinstance(x, Evaluation) for x in evaluations.values()) or not all(map(_NAME.fullmatch, evaluations)):
        raise ConfigurationError("evaluations: give those of zkjax.evaluate by short names of letters, digits, - and _")
    comparisons = dict(comparisons or {})
    if not all(isinstance(x, Comparison) for x in comparisons.values()) or not all(map(_NAME.fullmatch, comparisons)):
        raise ConfigurationError("comparisons: give those of zkjax.compare by short names of letters, digits, - and _")
    if common := {*evaluations} & {*comparisons}:
        raise ConfigurationError(f"an evaluation and a comparison are called {min(common)}; give each a name of its own")
    if folder.exists():
        raise ConfigurationError(f"{folder} is there; choose a new folder, since what is published is not replaced")
    folder.parent.mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        if model:
            run.save_model(made / MODEL)
            _disclosed(run, "parameters", update, minimum_bits, proofs).save(made / DISCLOSED[MODEL])
        if initial:
            (first or run).save_model(made / INITIAL, "initial")
        if drawing is not None:
            drawing.save(made / DRAWING)
        if drawing is not None or initial:
            frozen = initial or not drawing.others(circuit)
            _first(first or run, update, frozen, minimum_bits, proofs).save(made / DISCLOSED[INITIAL])
        if source is not None:
            shutil.copyfile(source, made / SOURCE)
        if data:
            _write_data(run, made, disclose(run, "dataset") if data is True else data)
        for name, evaluation in evaluations.items():
            (made / name).mkdir()
            evaluation.circuit.save(made / name / CIRCUIT)
            evaluation.proof.save(made / name / EVALUATION)
            if test_data:
                _write_data(evaluation.run, made / name, disclose(evaluation.run, "dataset"))
        for name, comparison in comparisons.items():
            (made / name).mkdir()
            comparison.terms.save(made / name / TERMS)
            comparison.proof.save(made / name / COMPARISON)
        _write_proofs(circuit, proofs, made)
        conclusion = check(made, minimum_bits=minimum_bits)
        made.chmod(0o777 & ~_umask())  # mkdtemp made a private one
        made.rename(folder)
    except BaseException:
        shutil.rmtree(made, ignore_errors=True)
        raise
    return conclusion


def _drawing(drawing: Drawing, circuit: Circuit, initial: bool) -> Drawing:
    """With the circuit's paths. ConfigurationError where a reader of the folder could not compare it with the commitment."""
    if not isinstance(drawing, Drawing):
        raise ConfigurationError(f"drawing is a {type(drawing).__name__}; give the zkjax.Drawing of zkjax.draw")
    drawing = drawing.within(x.path for x in circuit.parameters if x.given is None)
    others = set(drawing.others(circuit))
    if not initial and others and others != {circuit.parameters[p].path for p in circuit.frozen}:
        raise ConfigurationError(f"drawing: {', '.join(sorted(others)[:3])} not drawn; publish the first weights too, by initial=True")
    return drawing


def _first(given: Run | Disclosure, update: bool, frozen: bool, minimum_bits: float, proofs: list[Proof]) -> Disclosure:
    """Of the chain's first weights; given: its first run, or that disclosure, made before. ConfigurationError for a later run."""
    if isinstance(given, Disclosure):
        return given
    begin = min((x.statement.first_step for x in proofs if isinstance(x.statement, Statement)), default=given.first_step)
    if given.first_step != begin:
        raise ConfigurationError(
            f"first: a run from step {given.first_step} on, and the proofs begin with step {begin}; give the chain's first run"
        )
    return _disclosed(given, "initial", update, minimum_bits, proofs, frozen)


def _disclosed(run: Run, what: str, update: bool, minimum_bits: float, proofs: list[Proof], frozen: bool = True) -> Disclosure:
    """As ``disclose``. Where it would take an opening that is kept, the commitment is replaced first, in a proof that joins the others.

    That proof is kept beside the saved run before it counts: what a kill leaves of this, the next call finds.
    """
    for links in range(1 + LINKS):
        try:
            found = disclose(run, what, update=update, frozen=frozen, minimum_bits=minimum_bits)
            break
        except BudgetError:
            if links == LINKS:
                raise
        proofs.append(link(run, (ENDS[what],), keep=True, minimum_bits=minimum_bits))
    weights = found.items[0].commitment
    if not _reached(weights, proofs):
        known, kept = {bytes(proof) for proof in proofs}, map(Proof.load, run.chain.openings.kept().values())
        own = (x for x in kept if x.statement.geometry == found.geometry and bytes(x) not in known)
        proofs += [x for x in own if any((c.kind, c.number) == (weights.kind, weights.number) for c in x.statement.fresh)]
    return found


def _reached(weights: Commitment, proofs: list[Proof]) -> bool:
    """Whether proofs name this commitment to parameters, or lead to it by their links."""
    statements = [proof.statement for proof in proofs]
    geometry, classes = statements[0].geometry, joined(statements)
    named = (end for s in statements if isinstance(s, Statement) for end in (s.initial, s.final))
    wanted = weights.part_digest(geometry, PARAMETERS)
    return any(classes.same(end.part_digest(geometry, PARAMETERS), wanted) for end in named)


def _write_proofs(circuit: Circuit, proofs: list[Proof], folder: Path) -> None:
    """Circuit, precision and source lines where they are known, proofs by their place in the chain, and what they say."""
    circuit.save(folder / CIRCUIT)
    if circuit.precision is not None:
        circuit.precision.save(folder / "precision.json")
    if circuit.source:
        circuit.save_source(folder / "source.json")
    ordered = sorted(proofs, key=lambda x: x.place)
    chunks, links = ([x for x in ordered if isinstance(x.statement, Statement) == told] for told in (True, False))
    named = {f"chunk-{i:04d}.proof": x for i, x in enumerate(chunks)} | {f"link-{i:04d}.proof": x for i, x in enumerate(links)}
    for name, proof in named.items():
        proof.save(folder / name)
    Published.of({name: proof.statement for name, proof in named.items()}).save(folder / STATEMENT)


def _write_data(run: Run, folder: Path, disclosure: Disclosure) -> None:
    """What is disclosed of the dataset: its integers as numbers, float64, exact, or int64 where the circuit reads integers."""
    inputs, numbers, arrays = run.circuit.inputs, numbers_in(disclosure.ranges), {}
    for k in disclosure.inputs(inputs):
        whole = run.data.arrays[k][numbers].astype(np.int64)
        arrays[inputs[k].name] = whole if inputs[k].scale == 0 else whole * 2.0 ** -inputs[k].scale
    np.savez(folder / DATA, **arrays)
    disclosure.save(folder / DISCLOSED[DATA])


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
