"""A published folder: what its files are, by their names.

    circuit.json                             the circuit that was trained
    *.proof                                  proofs of the chain, and those that replace commitments
    statement.json                           what the trainer says of them (``Published``)
    model.safetensors, model.disclosure      the last parameters, and what ties them to their commitment
    initial.safetensors, initial.disclosure  the first ones, likewise
    drawing.json                             or from which public key they are drawn, with the same disclosure
    source.safetensors                       a model that the training began with, as its owner publishes it; with the first weights only
    data.npz, data.disclosure                the dataset, or shards or samples of it, likewise
    NAME/                                    an evaluation of the last weights: circuit.json, evaluation.proof, and for its test set
                                             data.npz and data.disclosure; any number of such folders
    NAME/                                    a comparison of the first and the last weights: comparison.json, comparison.proof; likewise
    precision.json, source.json              for whoever traces the source again
    attestation.json                         the same as the folder shows, for systems that collect attestations (``attestation.py``)

Only circuit and proofs have to be there. Files of other names say nothing, and are named as such.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..circuit.circuit import Circuit
from ..comparison import Terms
from ..errors import ConfigurationError
from ..files import Kept
from ..proofs.disclosure import Disclosure
from ..proofs.drawing import Drawing
from ..proofs.model import Model
from ..proofs.proof import Proof
from ..proofs.published import Published
from . import attestation
from .data import data_in

CIRCUIT, STATEMENT, ATTESTATION, PROOFS = "circuit.json", "statement.json", "attestation.json", ".proof"
MODEL, INITIAL, SOURCE, DRAWING, DATA = "model.safetensors", "initial.safetensors", "source.safetensors", "drawing.json", "data.npz"
# what each of them needs beside it
DISCLOSED = {MODEL: "model.disclosure", INITIAL: "initial.disclosure", DRAWING: "initial.disclosure", DATA: "data.disclosure"}
EVALUATION = "evaluation.proof"
TERMS, COMPARISON = "comparison.json", "comparison.proof"
BESIDE = ("precision.json", "source.json")  # nothing follows from these


@dataclass(frozen=True, eq=False)
class EvaluationFiles:
    """The files of an evaluation, read. data: the test set, None where it is not there."""

    circuit: Circuit
    proof: Proof
    data: tuple[np.ndarray, ...] | None = field(default=None, repr=False)
    disclosures: tuple[Disclosure, ...] = ()


class ComparisonFiles(NamedTuple):
    """The files of a comparison, read."""

    terms: Terms
    proof: Proof


@dataclass(frozen=True, eq=False)
class Folder:
    """A folder's files, read; nothing is compared yet.

    proofs: by the names of their files, in the order of their steps, links alone last. model, initial, drawing, source, data: None where
    they are not there. evaluations, comparisons: by the names of their folders. attested: the in-toto statement of an attestation, and
    whether it stands in an envelope. hashes: SHA-256 of each file of which something follows, by name. others: names of files that say
    nothing.
    """

    path: Path
    circuit: Circuit
    proofs: dict[str, Proof]
    published: Published | None = None
    model: Model | None = None
    initial: Model | None = None
    drawing: Drawing | None = None
    source: Model | None = None
    data: tuple[np.ndarray, ...] | None = field(default=None, repr=False)
    disclosures: tuple[Disclosure, ...] = ()
    evaluations: dict[str, EvaluationFiles] = field(default_factory=dict)
    comparisons: dict[str, ComparisonFiles] = field(default_factory=dict)
    attested: tuple[dict[str, Any], bool] | None = field(default=None, repr=False)
    hashes: dict[str, str] = field(default_factory=dict)
    others: tuple[str, ...] = ()

    @staticmethod
    def load(path: str | PathLike[str], limit: int) -> "Folder":
        """Read a folder. limit: bytes of a model file, and of data.

        Raises: ConfigurationError - something is missing; FormatError - a malformed file; VerificationError - a disclosure of inputs that
                the circuit has not; OSError.
        """
        path = Path(path)
        names = sorted(x.name for x in path.iterdir())
        proofs = [name for name in names if name.endswith(PROOFS)]
        if CIRCUIT not in names or not proofs:
            raise ConfigurationError(f"{path}: a published folder holds {CIRCUIT} and *{PROOFS} files; zkjax.publish makes one")
        given, hashes = _disclosed(path, names, DISCLOSED), {}
        told = dict.fromkeys(DISCLOSED[name] for name in given)
        if SOURCE in names and INITIAL not in given:
            raise ConfigurationError(f"{path}: {INITIAL} is missing; {SOURCE} says something beside it only")

        def kept(name: str) -> Kept:
            """A file to be read, once: of these bytes all is said."""
            found = Kept(path / name, limit)
            hashes[name] = found.sha256()
            return found

        circuit = Circuit.load(kept(CIRCUIT))
        loaded = {name: Proof.load(kept(name)) for name in proofs}
        order = sorted(loaded, key=lambda name: loaded[name].place)
        disclosures = {name: Disclosure.load(kept(name)) for name in told}
        inside = sorted(x for x in path.iterdir() if x.is_dir())
        evaluations = {x.name: _evaluated(path, x.name, kept) for x in inside if (x / EVALUATION).exists()}
        comparisons = {x.name: _compared(path, x.name, kept) for x in inside if (x / COMPARISON).exists()}
        telling = {CIRCUIT, STATEMENT, SOURCE, *proofs, *given, *told}
        return Folder(
            path,
            circuit,
            {name: loaded[name] for name in order},
            Published.load(kept(STATEMENT)) if STATEMENT in names else None,
            Model.load(kept(MODEL), limit) if MODEL in given else None,
            Model.load(kept(INITIAL), limit) if INITIAL in given else None,
            Drawing.load(kept(DRAWING)) if DRAWING in given else None,
            Model.load(kept(SOURCE), limit) if SOURCE in names else None,
            _data(kept(DATA), circuit, disclosures[DISCLOSED[DATA]]) if DATA in given else None,
            tuple(disclosures.values()),
            evaluations,
            comparisons,
            attestation.load(path / ATTESTATION) if ATTESTATION in names else None,
            dict(sorted(hashes.items())),
            tuple(name for name in names if name not in {*telling, *evaluations, *comparisons, ATTESTATION, *BESIDE}),
        )


def _disclosed(path: Path, names: list[str], wanted: Iterable[str]) -> list[str]:
    """Which of these files are there, each with its disclosure beside it. Raises ConfigurationError for one without the other."""
    given = [name for name in wanted if name in names]
    shown = {DISCLOSED[name] for name in given}
    for name in wanted:
        beside = DISCLOSED[name]
        if name in given and beside not in names or beside in names and beside not in shown:
            missing = beside if name in given else name
            raise ConfigurationError(f"{path}: {missing} is missing; {name} and {beside} say something together only")
    return given


def _data(file: Kept, circuit: Circuit, disclosure: Disclosure) -> tuple[np.ndarray, ...]:
    return data_in(file, len(file.content), circuit, [disclosure])


def _evaluated(folder: Path, name: str, kept: Callable[[str], Kept]) -> EvaluationFiles:
    names = sorted(x.name for x in (folder / name).iterdir())
    if CIRCUIT not in names:
        raise ConfigurationError(f"{folder / name}: {CIRCUIT} is missing; an evaluation's folder holds {CIRCUIT} and {EVALUATION}")
    circuit, proof = Circuit.load(kept(f"{name}/{CIRCUIT}")), Proof.load(kept(f"{name}/{EVALUATION}"))
    if not _disclosed(folder / name, names, (DATA,)):
        return EvaluationFiles(circuit, proof)
    disclosure = Disclosure.load(kept(f"{name}/{DISCLOSED[DATA]}"))
    return EvaluationFiles(circuit, proof, _data(kept(f"{name}/{DATA}"), circuit, disclosure), (disclosure,))


def _compared(folder: Path, name: str, kept: Callable[[str], Kept]) -> ComparisonFiles:
    if not (folder / name / TERMS).exists():
        raise ConfigurationError(f"{folder / name}: {TERMS} is missing; a comparison's folder holds {TERMS} and {COMPARISON}")
    return ComparisonFiles(Terms.load(kept(f"{name}/{TERMS}")), Proof.load(kept(f"{name}/{COMPARISON}")))
