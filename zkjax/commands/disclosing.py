"""What ``verify`` requires of published weights and data: model files, arrays, and the disclosures that tie them to the proofs."""

from typing import Any

from ..arrays import NUMBERS, read_arrays
from ..circuit.circuit import Circuit
from ..circuit.data import in_order
from ..commitment.dataset import shard_count
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
        "--data", metavar="FILE", help="require that these arrays (.npz) are the dataset, or its disclosed shards; likewise"
    )
    parser.add_argument("--disclosure", action="append", default=[], metavar="FILE", help="of zkjax.disclose; may be given several times")


def wanted(arguments, circuit: Circuit) -> dict[str, Any]:
    """What the options name, read, as ``proofs.disclosed.check_disclosed`` takes it. Raises OSError and ZkjaxError."""
    limit = arguments.max_memory
    return {
        "disclosures": [Disclosure.load(path) for path in arguments.disclosure],
        "model": None if arguments.model is None else Model.load(arguments.model, limit),
        "initial_model": None if arguments.initial_model is None else Model.load(arguments.initial_model, limit),
        "drawing": None if arguments.drawing is None else Drawing.load(arguments.drawing),
        "data": None if arguments.data is None else in_order(arguments.data, read_arrays(arguments.data, limit, NUMBERS), circuit.inputs),
    }


def facts(arguments, circuit: Circuit, drawing: Drawing | None, statement: Statement, shards: tuple[int, ...] | None) -> dict[str, str]:
    """What was required and holds, for people. drawing: of the initial weights. shards: those that the data are."""
    found = {"model": arguments.model, "initial model": arguments.initial_model}
    told = {name: f"{path} holds these weights" for name, path in found.items() if path is not None}
    if drawing is not None:
        others = drawing.others(circuit)
        part = f"; not {', '.join(others[:3])}{', ..' * (len(others) > 3)}" if others else ""
        told["drawing"] = f"the initial weights are drawn from key {drawing.seed}, as {arguments.drawing} says{part}"
    if shards is not None:
        count = shard_count(statement.samples, statement.shard_size)
        part = (
            "is the dataset"
            if len(shards) == count
            else f"is shards {', '.join(map(str, shards))} of 0..{count - 1}, not the whole dataset"
        )
        told["data"] = f"{arguments.data} {part}"
    return told
