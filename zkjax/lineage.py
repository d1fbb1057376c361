"""Several trainings in a row, each on the weights that the one before ended with: other circuits, data and optimizers, one lineage.

The weights are named by one commitment, up to links: that of the first chain's last weights, which its owner replaced by one that he handed
over (``zkjax.hand_over``), and which the next chain begins with. NumPy and the standard library only.

PROTOCOL.md, section 4.11.
"""

from collections.abc import Sequence

from .circuit.parts import PARAMETERS
from .errors import ConfigurationError, VerificationError
from .evaluation import Training, checked_training, described
from .proofs.links import joined
from .proofs.statement import Statement


def verify_lineage(trainings: Sequence[Training]) -> None:
    """Require that each training begins with the weights that the one before ends with. Raises otherwise.

    trainings: of each its circuit, and the statements that ``zkjax.verify`` returned for its proofs, those of links too; the proof of
    ``zkjax.hand_over`` is among either training's.
    Raises: VerificationError; ConfigurationError - misuse.
    """
    if not isinstance(trainings, list | tuple) or len(trainings) < 2:
        raise ConfigurationError("trainings: give a list of two or more, each (circuit, statements)")
    statements = [checked_training(training) for training in trainings]
    classes = joined([s for found in statements for s in found])
    for number, ((circuit, _), (other, _)) in enumerate(zip(trainings, trainings[1:], strict=False)):
        chunks = [[s for s in found if isinstance(s, Statement)] for found in statements[number : number + 2]]
        last, first = chunks[0][-1], chunks[1][0]
        where = f"training {number + 1} of 0..{len(trainings) - 1}"
        if last.circuit != circuit.digest() or first.circuit != other.digest():
            raise VerificationError("lineage", f"{where}: statements are about another circuit than is given with them")
        if described(circuit, circuit.held[PARAMETERS]) != described(other, other.held[PARAMETERS], first.shifts):
            raise VerificationError("lineage", f"{where}: its first weights have not the paths, shapes and units of the last ones before")
        if circuit.frozen or other.frozen:
            raise VerificationError("lineage", f"{where}: some parameters are frozen, which is shown of none that are handed over")
        ended, begun = last.final.part_digest(last.geometry, PARAMETERS), first.initial.part_digest(first.geometry, PARAMETERS)
        if not classes.same(ended, begun):
            told = "with those of zkjax.hand_over among the proofs, no link joins the two"
            raise VerificationError("lineage", f"{where}: it does not begin with the weights that the one before ends with; {told}")
