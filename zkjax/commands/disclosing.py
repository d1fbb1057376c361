"""What ``verify`` requires of published weights and data: model files, arrays, and the disclosures that tie them to the proofs."""

from collections.abc import Sequence
from typing import Any

from ..auditing.data import data_in
from ..circuit.circuit import Circuit
from ..proofs.disclosed import told_of
from ..proofs.disclosure import Disclosure
from ..proofs.drawing import Drawing
from ..proofs.model import Model
from ..proofs.statement import Statement


def add_options(parser) -> None:
    """Options of the argparse parser of ``verify``."""
    parser.add_argument("--model", metavar="FILE", help="require that this model file holds the final weights; with --disclosure")
    parser.add_argument("--initial-model", metavar="FILE", help="require that this model file holds the initial weights; likewise")
    parser.add_argument(
        "--drawing", metavar="FILE", help="require that the initial weights are drawn from a public key, as this file says; likewise"
    )
    parser.add_argument(
        "--data", metavar="FILE", help="require that these arrays (.npz) are the dataset, or what is disclosed of it; likewise"
    )
    parser.add_argument("--disclosure", action="append", default=[], metavar="FILE", help="of zkjax.disclose; may be given several times")


def wanted(arguments, circuit: Circuit) -> dict[str, Any]:
    """What the options name, read, as ``proofs.disclosed.check_disclosed`` takes it. Raises OSError and ZkjaxError."""
    limit, disclosures = arguments.max_memory, [Disclosure.load(path) for path in arguments.disclosure]
    return {
        "disclosures": disclosures,
        "model": None if arguments.model is None else Model.load(arguments.model, limit),
        "initial_model": None if arguments.initial_model is None else Model.load(arguments.initial_model, limit),
        "drawing": None if arguments.drawing is None else Drawing.load(arguments.drawing),
        "data": None if arguments.data is None else data_in(arguments.data, limit, circuit, disclosures),
    }


def facts(
    arguments, circuit: Circuit, drawing: Drawing | None, statements: Sequence[Statement], shown: Disclosure | None
) -> dict[str, str]:
    """What was required and holds, for people.

    drawing: of the initial weights. statements: of chunks. shown: which samples the data are.
    """
    found = {"model": arguments.model, "initial model": arguments.initial_model}
    told = {name: f"{path} holds these weights" for name, path in found.items() if path is not None}
    if drawing is not None:
        others = drawing.others(circuit)
        part = f"; not {', '.join(others[:3])}{', ..' * (len(others) > 3)}" if others else ""
        told["drawing"] = f"the initial weights are drawn from key {drawing.seed}, as {arguments.drawing} says{part}"
    if shown is not None:
        part = "the dataset" if shown.whole else f"{told_of(shown, circuit, statements)}, not the whole dataset"
        told["data"] = f"{arguments.data} is {part}"
    return told
