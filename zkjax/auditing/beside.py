"""What else a folder shows of weights, beside their training: evaluations, comparisons, where they began; and the claims that follow."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from ..circuit.data import rounded, whole_samples
from ..comparison import Compared, Moved
from ..display import in_decimals
from ..evaluation import Evaluated
from .folder import CIRCUIT, COMPARISON, DATA, EVALUATION, TERMS, Folder
from .source import Begun

SHOWN = 120  # outputs of an evaluation that are listed, and distributions of first weights


@dataclass(frozen=True)
class Claim:
    """What holds, by what: for people. value: digits or numbers that it is about. files: names of the files that show it."""

    what: str
    value: str
    evidence: str
    files: tuple[str, ...]


class Beside(NamedTuple):
    """What else is shown of the weights, by the names of the folders that show it."""

    evaluations: Mapping[str, Evaluated]
    comparisons: Mapping[str, Compared]
    begun: Begun | None = None


def of_evaluations(folder: Folder, evaluations: Mapping[str, Evaluated]) -> Iterator[Claim]:
    """What evaluations show, one by one."""
    for name, x in evaluations.items():
        files = f"{name}/{CIRCUIT}", f"{name}/{EVALUATION}"
        yield Claim(f"{name}: recipe", x.statement.circuit.hex(), "digest of the circuit that its proof is about", files)
        told = f"{x.statement.dataset.hex()} ({x.samples:,} samples)"
        yield Claim(f"{name}: test set", told, "its proof reads each sample once, and the weights of the training's last commitment", files)
        if folder.evaluations[name].data is not None:
            shown = "rounded as the circuit says, they are all of its samples"
            yield Claim(f"{name}: data", folder.hashes[f"{name}/{DATA}"], shown, (f"{name}/{DATA}", f"{name}/data.disclosure"))
            whole = folder.data is not None and len(folder.data) == len(folder.circuit.inputs)
            if whole and (common := in_both(folder, name)) is not None:
                shown = "samples with the same first array, compared in the two files"
                yield Claim(f"{name}: samples that are in data.npz too", f"{common}", shown, (f"{name}/{DATA}", DATA))
        matrix, shown = x.confusion, "exact sum over all samples, revealed by its proof"
        others = [(output, total) for output, total in x.totals.items() if matrix is None or not output.startswith("confusion ")]
        for output, total in others[:SHOWN]:
            yield Claim(f"{name}: {output}", in_decimals(total), shown, files)
        if matrix is not None:
            rows = "; ".join(" ".join(map(str, row)) for row in matrix.tolist())
            yield Claim(f"{name}: confusion", rows, "exact counts, a row for each class, that add up to all samples", files)


def in_both(folder: Folder, name: str) -> int | None:
    """How many samples of an evaluation's test set have a first array that one of the training's data has; None where shapes differ."""
    evaluated = folder.evaluations[name]

    def values(x, array):
        return rounded(x, whole_samples(x, array)) * 2.0**-x.scale

    first, second = values(folder.circuit.inputs[0], folder.data[0]), values(evaluated.circuit.inputs[0], evaluated.data[0])
    if first.shape[1:] != second.shape[1:]:
        return None
    known = {row.tobytes() for row in first}
    return sum(row.tobytes() in known for row in second)


def totals(x: Evaluated) -> dict[str, Any]:
    """What an evaluation shows, for programs."""
    totals = {name: [v.numerator, v.denominator] for name, v in x.totals.items()}
    return {"recipe": x.statement.circuit.hex(), "dataset": x.statement.dataset.hex(), "samples": x.samples, "totals": totals}


def of_comparisons(comparisons: Mapping[str, Compared]) -> Iterator[Claim]:
    """What comparisons show, part by part."""
    for name, x in comparisons.items():
        for part in x.parts:
            shown = "its proof reads the weights of the training's first and last commitments: Euclidean distance"
            yield Claim(f"{name}: {', '.join(part.paths)}", str(part), shown, (f"{name}/{TERMS}", f"{name}/{COMPARISON}"))


def moved(part: Moved) -> str:
    """Of a part, after the names of its parameters."""
    return "did not change" if part.unchanged else f"moved from these by {part} (Euclidean distance)"


def listed(names: tuple[str, ...], what: str = "files") -> str:
    """The names, or of many the first and the last ones."""
    return ", ".join(names) if len(names) <= 4 else f"{names[0]}, {names[1]}, .., {names[-1]} ({len(names)} {what})"
