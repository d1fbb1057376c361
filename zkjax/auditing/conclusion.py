"""What follows from a published folder: one sentence, each claim of it with its evidence, and what it leaves open.

Nothing here is taken from what a trainer says in words: all follows from proofs that were verified, files that were compared with what
they commit to, and the circuit's digest.
"""

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from os import PathLike
from pathlib import Path
from typing import Any

from ..comparison import verify_comparison
from ..display import Curve, Sheet, Shown, Table, floating, in_decimals
from ..errors import ConfigurationError, FormatError, VerificationError
from ..evaluation import verify_evaluation
from ..files import Kept
from ..lineage import verify_lineage
from ..proofs.alone import LinkStatement
from ..proofs.chain import revealed
from ..proofs.disclosed import check_disclosed, told_of
from ..proofs.disclosure import Disclosure
from ..proofs.soundness import TARGET, Security
from ..proofs.statement import Statement
from ..verifier import check_minimum, verify_chain
from ..work import MAX_MEMORY, MAX_WORK
from . import attestation
from .beside import SHOWN, Beside, Claim, listed, moved, of_comparisons, of_evaluations, totals
from .folder import ATTESTATION, DATA, DRAWING, INITIAL, MODEL, SOURCE, Folder
from .source import begun

SHORT = 16  # digits of a digest in the sentence; the claims have all of them
CORRECT = "correct"  # the output that the sentence quotes


@dataclass(frozen=True)
class Conclusion(Shown):
    """What ``check`` has found in a folder, all of which is valid.

    sentence: to quote. claims: what it says, one by one. gaps: what somebody may take for shown and is not. proofs: how many there are;
    bits: the chain's proven security, and least that of its weakest proof. facts: the claims for programs. outputs: exact values that are
    revealed, by name, one a step. attestation: all of it as an in-toto statement (``attestation.py``); {} without a model's file.
    folder: what was checked.
    """

    sentence: str
    claims: tuple[Claim, ...]
    gaps: tuple[str, ...]
    proofs: int
    least: float
    bits: float
    seconds: float
    facts: dict[str, Any]
    outputs: dict[str, list[Fraction]] = field(repr=False)
    attestation: dict[str, Any] = field(repr=False)
    folder: Folder = field(repr=False, compare=False)

    @property
    def checked(self) -> str:
        """The work behind it, in a line."""
        return f"{self.proofs} proof{'s' * (self.proofs > 1)} of {self.least:.1f} bits, {self.bits:.1f} in all, in {self.seconds:.2f} s"

    def sheet(self) -> Sheet:
        """Sentence, claims, gaps and curves."""
        rows = tuple((x.what, x.value, x.evidence, listed(x.files)) for x in self.claims)
        claims = Table(rows, ("claim", "value", "shown by", "files"), left=(0, 1, 2, 3))
        gaps = "Not checked:\n" + "\n".join(f"- {gap}" for gap in self.gaps)
        curves = [Curve(name, [floating(x) for x in values]) for name, values in self.outputs.items()]
        return Sheet("What this folder shows", (self.sentence, f"Checked: {self.checked}.", claims, gaps, *curves))

    def to_json(self) -> dict[str, Any]:
        """The same in JSON's types; exact values as fractions, [numerator, denominator]."""
        return {
            "valid": True,
            "sentence": self.sentence,
            "claims": [{"claim": x.what, "value": x.value, "evidence": x.evidence, "files": list(x.files)} for x in self.claims],
            "gaps": list(self.gaps),
            "facts": self.facts,
            "proofs": self.proofs,
            "least_bits": self.least,
            "bits": self.bits,
            "seconds": self.seconds,
            "outputs": {name: [[x.numerator, x.denominator] for x in values] for name, values in self.outputs.items()},
        }


def check(
    folder: str | PathLike[str],
    *,
    ignore_attestation: bool = False,
    source: str | PathLike[str] | None = None,
    minimum_bits: float = TARGET,
    max_work: int = MAX_WORK,
    max_memory: int = MAX_MEMORY,
) -> Conclusion:
    """Check all that is in a published folder (``Folder`` lists its files), and say what follows from it. NumPy only.

    ignore_attestation: an ``attestation.json`` there is to be replaced. source: a file, or the published folder of another training, whose
    model is required to be the one in ``source.safetensors``; a folder is checked as well, and what follows from it is told.
    minimum_bits, max_work, max_memory: as for ``verify``.
    Raises: VerificationError - something does not hold (``check`` says which check failed); FormatError - a malformed file;
            ConfigurationError - no such folder, or one in which something is missing; OSError.
    """
    check_minimum(minimum_bits)
    started = time.perf_counter()
    found = Folder.load(folder, max_memory)
    limits = {"minimum_bits": minimum_bits, "max_work": max_work, "max_memory": max_memory}
    names = list(found.proofs)
    try:
        statements, ledgers = verify_chain(found.circuit, list(found.proofs.values()), statement=found.published, **limits)
    except (VerificationError, FormatError) as error:
        if error.proof is not None:
            error.within(names[error.proof])
        raise
    given = {"model": found.model, "initial_model": found.initial, "drawing": found.drawing, "data": found.data}
    shown = check_disclosed(found.circuit, statements, found.disclosures, **given, **limits) if found.disclosures else None
    chunks = [s for s in statements if isinstance(s, Statement)]
    evaluations, comparisons = {}, {}
    for name, x in found.evaluations.items():
        try:
            given = {"training": (found.circuit, statements), "data": x.data, "disclosures": x.disclosures}
            evaluations[name] = verify_evaluation(x.circuit, x.proof, **given, **limits)
        except (VerificationError, FormatError) as error:
            error.within(name)
            raise
    for name, x in found.comparisons.items():
        try:
            comparisons[name] = verify_comparison(x.terms, x.proof, training=(found.circuit, statements), **limits)
        except (VerificationError, FormatError) as error:
            error.within(name)
            raise
    ledgers = [*ledgers, *(x.security for x in (*evaluations.values(), *comparisons.values()))]
    given = None if found.source is None else begun(found.circuit, chunks[0], found.initial, found.source)
    beside = Beside(evaluations, comparisons, given)
    conclusion = concluded(found, chunks, beside, ledgers, shown, time.perf_counter() - started)
    gaps = [] if ignore_attestation or found.attested is None else [_attested(conclusion, *found.attested)]
    if found.others:
        gaps.append(f"what other files here say: {listed(found.others)}")
    conclusion = replace(conclusion, gaps=(*conclusion.gaps, *gaps))
    if source is None:
        return conclusion
    claim, told = _of_source(found, statements, Path(source), limits)
    return replace(conclusion, sentence=f"{conclusion.sentence}{told}", claims=(*conclusion.claims, claim))


def _of_source(folder: Folder, statements: Sequence[Statement | LinkStatement], source: Path, limits: dict[str, Any]) -> tuple[Claim, str]:
    """What is known of what the training began with, and a sentence of it. Raises VerificationError where it is something else."""
    other = None if not source.is_dir() else check(source, **limits)
    told = "" if other is None else f" What it began with, as {source} shows: {other.sentence}"
    if SOURCE in folder.hashes:
        name = str(source if other is None else source / MODEL)
        if Kept(name, limits["max_memory"]).sha256() != folder.hashes[SOURCE]:
            raise VerificationError("source", f"{name} is another file than {SOURCE} here")
        return Claim("source", folder.hashes[SOURCE], "the same file, by its SHA-256", (SOURCE, name)), told
    if other is None:
        raise ConfigurationError(f"{folder.path}: {SOURCE} is missing; zkjax.publish(.., source=) puts it there")
    before = [x.statement for x in other.folder.proofs.values()]
    verify_lineage([(other.folder.circuit, before), (folder.circuit, statements)])
    shown = "one commitment to the last weights there and the first ones here, by the proofs of links in both folders"
    return Claim("source", other.facts["last_weights"], shown, (*folder.proofs, str(source))), told


def _attested(conclusion: Conclusion, told: dict[str, Any], enveloped: bool) -> str:
    """What an attestation that says what follows leaves open. Raises VerificationError for one that says anything else."""
    if not conclusion.attestation:
        raise ConfigurationError(f"{ATTESTATION} is about a model's file, and {MODEL} is not there")
    attestation.compare(told, conclusion.attestation)
    return f"who signed {ATTESTATION}: signatures are not looked at here" if enveloped else f"who wrote {ATTESTATION}: it is not signed"


def concluded(
    folder: Folder,
    statements: Sequence[Statement],
    beside: Beside,
    ledgers: Sequence[Security],
    shown: Disclosure | None,
    seconds: float,
) -> Conclusion:
    """Of a folder that holds what it says. statements: of chunks; shown: which samples the data are, None without data."""
    bits, least = -math.log2(sum(2.0**-x.bits for x in ledgers)), min(x.bits for x in ledgers)
    outputs, gaps = dict(revealed(folder.circuit, statements)), (*_gaps(folder, statements, beside, shown),)
    sentence, said = _sentence(folder, statements, beside, shown), {}
    facts = _facts(folder, statements, shown) | {"evaluations": {name: totals(x) for name, x in beside.evaluations.items()}}
    facts |= {"comparisons": {name: x.to_json() for name, x in beside.comparisons.items()}} if beside.comparisons else {}
    if folder.model is not None:
        security = {"proofs": len(ledgers), "least_bits": round(least, 1), "bits": round(bits, 1)}
        said = attestation.statement(sentence, facts, folder.hashes, security, gaps, MODEL)
    claims = (*_claims(folder, statements, shown, outputs), *of_evaluations(folder, beside.evaluations))
    claims = (*claims, *of_comparisons(beside.comparisons))
    if beside.begun is not None:
        evidence = f"the first weights' file holds the values of this one{beside.begun}"
        claims = (*claims, Claim("fine-tuned from", folder.hashes[SOURCE], evidence, (SOURCE, INITIAL)))
    return Conclusion(sentence, claims, gaps, len(ledgers), least, bits, seconds, facts, outputs, said, folder)


def _facts(folder: Folder, statements: Sequence[Statement], shown: Disclosure | None) -> dict[str, Any]:
    """What the sentence says, for programs."""
    first, last, drawing = statements[0], statements[-1], folder.drawing
    chosen, inputs = shown and shown.dataset.chosen, folder.circuit.inputs
    some = chosen and {"ranges": [list(x) for x in chosen.samples], "inputs": [inputs[k].name for k in chosen.inputs]}
    return ({"disclosed_samples": some} if some else {}) | {
        "recipe": first.circuit.hex(),
        "dataset": first.dataset.hex(),
        "samples": first.samples,
        "disclosed_shards": None if shown is None or some else [item.commitment.number for item in shown.items],
        "first_weights": first.initial_weights.hex(),
        "drawn": None if drawing is None else {"key": drawing.seed, "not": drawing.others(folder.circuit)},
        "last_weights": last.final_weights.hex(),
        "seed": first.seed,
        "batch": folder.circuit.batch_size,
        "steps": list(_range(statements)),
    }


def _range(statements: Sequence[Statement]) -> tuple[int, int]:
    first, last = statements[0], statements[-1]
    return first.first_step, last.first_step + last.steps


def _updated(folder: Folder, statements: Sequence[Statement]) -> bool:
    first, end = _range(statements)
    return any(folder.circuit.updated(first, end - first))


def _sentence(folder: Folder, statements: Sequence[Statement], beside: Beside, shown: Disclosure | None) -> str:
    first, last = statements[0], statements[-1]
    begin, end = _range(statements)

    def short(digest: str) -> str:
        return f"{digest[:SHORT]}..."

    def weights(name: str, model, digest: bytes) -> str:
        return f"in {name} (sha256 {short(folder.hashes[name])})" if model is not None else f"with digest {short(digest.hex())}"

    steps = f"{end - begin} step{'s' * (end - begin > 1)} of {folder.circuit.batch_size} samples"
    steps = f"{steps} (from step {begin} on)" if begin else steps
    recipe = f"the recipe with digest {short(first.circuit.hex())}"
    data = "not disclosed" if shown is None else "disclosed" if shown.whole else "disclosed in part"
    if shown is not None and (chosen := shown.dataset.chosen) is not None:
        entire = len(chosen.inputs) == len(folder.circuit.inputs)
        data = f"{chosen.count:,} of which {'is' if chosen.count == 1 else 'are'} {'disclosed' if entire else data}"
    data = f"the dataset with root {short(first.dataset.hex())} ({first.samples:,} samples, {data})"
    model, start = weights(MODEL, folder.model, last.final_weights), weights(INITIAL, folder.initial, first.initial_weights)
    if folder.drawing is not None:
        ways, count = len(folder.drawing.describe()), len(folder.drawing.parameters)
        drawn = f"drawn from key {folder.drawing.seed} by {ways:,} distribution{'s' * (ways > 1)}"  # each is of the trainer's choice
        others = len(folder.drawing.others(folder.circuit))
        start = f"{start}, {count} of whose {count + others} arrays were {drawn}" if others else drawn
    start = f"weights {start}"
    if beside.begun is not None:
        start = f"the model {weights(SOURCE, folder.source, b'')}{beside.begun}"
    if not _updated(folder, statements):
        told = f"The model {model} went through {steps} of {recipe} on {data}, which changed nothing"
    else:
        told = f"The model {model} was trained by {recipe} for {steps} on {data}, from {start}"
    counted = [
        f"; an evaluation with digest {short(x.statement.circuit.hex())} counts {in_decimals(x.totals[CORRECT])} of the {x.samples:,} "
        f"samples of the test set with root {short(x.statement.dataset.hex())} as {CORRECT}"
        for x in beside.evaluations.values()
        if CORRECT in x.totals
    ]
    apart = [f"; {listed(part.paths, 'parameters')} {moved(part)}" for x in beside.comparisons.values() for part in x.parts]
    return f"{told}{''.join(apart)}{''.join(counted)}."


def _claims(
    folder: Folder, statements: Sequence[Statement], shown: Disclosure | None, outputs: dict[str, list[Fraction]]
) -> Iterator[Claim]:
    first, last, proofs = statements[0], statements[-1], tuple(folder.proofs)
    begin, end = _range(statements)
    yield Claim("recipe", first.circuit.hex(), "digest of the circuit, which every proof is about", ("circuit.json", *proofs))
    yield Claim("steps", f"{begin}..{end - 1}", "the chain of proofs, without a gap", proofs)
    yield Claim("batches", f"of {folder.circuit.batch_size}, picked by seed {first.seed}", "the public schedule of the proofs", proofs)
    yield Claim("dataset", f"{first.dataset.hex()} ({first.samples:,} samples)", "the root that the proofs read their batches from", proofs)
    if shown is not None:
        part = "all of its samples" if shown.whole else told_of(shown, folder.circuit, statements)
        yield Claim("data", folder.hashes[DATA], f"rounded as the circuit says, they are {part}", (DATA, "data.disclosure"))
    yield Claim("first weights", first.initial_weights.hex(), "the commitment that the first proof begins with", proofs[:1])
    if folder.initial is not None:
        yield Claim(
            "first weights' file", folder.hashes[INITIAL], "its integers are behind that commitment", (INITIAL, "initial.disclosure")
        )
    if folder.drawing is not None:
        files = DRAWING, "initial.disclosure" if folder.initial is None else INITIAL
        yield Claim("first weights' key", f"{folder.drawing.seed}", "what is drawn from it, rounded, is behind that commitment", files)
        ways = [*folder.drawing.describe().items()]
        for distribution, paths in ways[:SHOWN]:
            yield Claim(f"drawn: {distribution}", listed(tuple(paths), "arrays"), "the key's words, by this distribution", (DRAWING,))
        if len(ways) > SHOWN:
            yield Claim("drawn: by other distributions", f"{len(ways) - SHOWN:,} more", "likewise", (DRAWING,))
    yield Claim("last weights", last.final_weights.hex(), "the commitment that the last proof ends with", proofs)
    if folder.model is not None:
        yield Claim("last weights' file", folder.hashes[MODEL], "its integers are behind that commitment", (MODEL, "model.disclosure"))
    for name, values in outputs.items():
        told = f"{in_decimals(values[0])} in step {begin}, {in_decimals(values[-1])} in step {end - 1}"
        yield Claim(name, told, "exact integers of every step, revealed by the proofs", proofs)
    if folder.published is not None:
        yield Claim("what the trainer says", "the same", "all statements of the proofs stand in it", ("statement.json",))


def _gaps(folder: Folder, statements: Sequence[Statement], beside: Beside, shown: Disclosure | None) -> Iterator[str]:
    first = statements[0]
    if folder.model is None:
        yield f"which model file holds the last weights: {MODEL} is not here"
    if shown is None or not shown.whole:
        some = f"for {DATA} is not here" if shown is None else f"beyond what is in {DATA}"
        yield f"which samples the dataset holds, {some}"
    first_weights, drawing = "the first weights", folder.drawing
    if drawing is not None:
        first_weights = "the key of the first weights and their distributions"
    if beside.begun is not None:
        yield f"whose model {SOURCE} is, and how it was trained: compare its SHA-256, or check --source with the folder of its training"
    if folder.initial is None and drawing is None:
        yield f"which weights the training began with: {INITIAL} is not here"
    if drawing is not None and (others := tuple(drawing.others(folder.circuit))):
        first_weights += ", those that are not drawn from it"
        if folder.initial is None:
            yield f"what is in the frozen {listed(others, 'arrays')}: {INITIAL} is not here"
    yield f"how {first_weights}, the seed of the batches and the order of the samples were chosen: by the trainer, who could try many"
    yield (
        "that certain source code gives this recipe; with JAX, python -m zkjax trace FILE.py --precision precision.json "
        f"--expect {first.circuit.hex()}"
    )
    yield "that the recipe was fixed before the data were seen, and where the data come from"
    for name, x in beside.evaluations.items():
        digest = x.statement.circuit.hex()
        yield f"that the outputs of {name} mean what they are called: its circuit defines them, with digest {digest}"
        if folder.evaluations[name].data is None:
            yield f"which samples the test set of {name} holds, and that none of them was trained on: {name}/{DATA} is not here"
    yield "how accurate the model is on other data"
