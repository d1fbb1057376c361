"""The page of a folder that was checked: what follows from it, what each of its proofs covers, and the graph of what was trained."""

from collections.abc import Sequence

from ..circuit.changes import changes
from ..circuit.outline import outline
from ..circuit.summary import net
from ..circuit.words import step
from ..commitment.commit import Commitment
from ..diagram import Span, Timeline
from ..display import Sheet, page
from ..proofs.alone import LinkStatement
from ..proofs.statement import Statement
from .conclusion import Conclusion
from .folder import COMPARISON, EVALUATION, Folder

COVERED = ("proof", "steps", "from weights", "to weights", "opened shards of the data", "replaced commitments")
FEW = 8  # numbers that are listed, digits of a digest


def report(found: Conclusion) -> str:
    """One HTML document that loads nothing and runs nothing."""
    circuit = found.folder.circuit
    words = f"{net(circuit)}\n{step(circuit, changes(circuit))}"
    return page(
        "zkjax check",
        found.sheet(),
        Sheet("What each proof covers", (covered(found.folder),)),
        Sheet("What was trained", (outline(circuit), words)),
        *(Sheet(f"What {name} evaluates", (outline(x.circuit),)) for name, x in found.folder.evaluations.items()),
    )


def covered(folder: Folder) -> Timeline:
    """Of each proof the steps, the weights before and after them, and the commitments that it opens and replaces."""
    rows = [_row(name, proof.statement) for name, proof in folder.proofs.items()]
    for name, x in folder.evaluations.items():
        weights, steps = x.proof.statement.read[0], f"each sample of the test set once, in {x.proof.statement.steps} steps"
        rows.append(Span(None, (f"{name}/{EVALUATION}", steps, _digest(weights), "", _numbers(x.proof.statement.shards), "")))
    for name, x in folder.comparisons.items():
        weights = map(_digest, x.proof.statement.read)
        rows.append(Span(None, (f"{name}/{COMPARISON}", "first and last weights", *weights, "", "")))
    return Timeline(COVERED, tuple(rows))


def _row(name: str, statement: Statement | LinkStatement) -> Span:
    if isinstance(statement, LinkStatement):
        replaced = ", ".join(f"{c.kind} {c.number}" for c in statement.replaced[:FEW]) + ", .." * (len(statement.replaced) > FEW)
        return Span(None, (name, "", "", "", _numbers([c for c in statement.replaced if c.kind == "shard"]), replaced))
    first, end = statement.first_step, statement.first_step + statement.steps
    replaced = ", ".join(link.source for link in statement.links[:FEW]) + ", .." * (len(statement.links) > FEW)
    weights = _digest(statement.initial_weights), _digest(statement.final_weights)
    return Span((first, end), (name, f"{first}..{end - 1}", *weights, _numbers(statement.shards), replaced))


def _digest(digest: bytes) -> str:
    return f"{digest.hex()[:FEW]}..."


def _numbers(shards: Sequence[Commitment]) -> str:
    return ", ".join(str(c.number) for c in shards[:FEW]) + f", .. ({len(shards)} shards)" * (len(shards) > FEW)
