"""``python -m zkjax evaluation``: the proof of an evaluation, and beside it those of the training. NumPy and the standard library only."""

import json
import math
import time

from ..circuit.circuit import Circuit
from ..display import in_decimals
from ..errors import ZkjaxError
from ..evaluation import Evaluated, Training, verify_evaluation
from ..proofs.soundness import Security
from ..verifier import check_minimum, verify_chain
from . import disclosing
from .terminal import Misuse, add_limits, limits_of, verdict
from .verifying import files_of, in_order


def add(commands) -> None:
    """The command's place and options among those of ``commands``, an argparse parser's."""
    parser = commands.add_parser(
        "evaluation", help="verify what trained weights do on a test set, with the training's proofs", allow_abbrev=False
    )
    parser.add_argument("proof", metavar="PROOF", help="the evaluation's proof file")
    parser.add_argument("--circuit", required=True, metavar="FILE", help="the evaluation's circuit")
    parser.add_argument(
        "--training", nargs="+", metavar="PROOF", help="the training's proof files, patterns, or directories: they are verified, too"
    )
    parser.add_argument("--training-circuit", metavar="FILE", help="the training's circuit")
    parser.add_argument("--weights", metavar="DIGEST", help="required digest of the weights: the training's final weights")
    parser.add_argument("--dataset", metavar="ROOT", help="required root of the test set")
    parser.add_argument("--data", metavar="FILE", help="require that these arrays (.npz) are the test set; with --disclosure")
    parser.add_argument("--disclosure", action="append", default=[], metavar="FILE", help="of zkjax.disclose(evaluation.run, 'dataset')")
    parser.add_argument(
        "--assume-bound", action="store_true", help="accept, without the training, that the weights are within their bounds"
    )
    add_limits(parser)
    parser.add_argument("--json", action="store_true", help="print the result as JSON, whether valid or not")
    parser.set_defaults(run=_evaluation, model=None, initial_model=None, drawing=None)


def _evaluation(arguments) -> int:
    paths: list[str] = []
    return verdict(arguments, lambda: _verified(arguments, paths), paths)


def _verified(arguments, paths: list[str]) -> str:
    """Verify, and return what to print. paths: will hold the files of the proofs that are being verified."""
    check_minimum(arguments.minimum_bits)
    if (arguments.training is None) != (arguments.training_circuit is None):
        raise Misuse("--training and --training-circuit: give both, or none")
    limits = limits_of(arguments)
    started = time.perf_counter()
    training, ledgers = (None, []) if arguments.training is None else verified_training(arguments, paths, limits)
    circuit = circuit_of(arguments.circuit)
    wanted = read(disclosing.wanted, arguments, circuit)
    (proof,) = read(in_order, [arguments.proof], paths)
    pins = {"weights": arguments.weights, "dataset": arguments.dataset, "assume_bound": arguments.assume_bound}
    found = verify_evaluation(circuit, proof, training=training, data=wanted["data"], disclosures=wanted["disclosures"], **pins, **limits)
    bits = [x.bits for x in (*ledgers, found.security)]
    return _told(arguments, found, bits, time.perf_counter() - started)


def verified_training(arguments, paths: list[str], limits: dict) -> tuple[Training, list[Security]]:
    """The training that the arguments name, and the ledgers of its proofs. paths: will hold their files while they are verified."""
    trained = circuit_of(arguments.training_circuit)
    proofs = read(in_order, files_of(arguments.training), paths)
    statements, ledgers = verify_chain(trained, proofs, **limits)
    paths[:] = []
    return (trained, statements), ledgers


def circuit_of(path: str) -> Circuit:
    """The circuit in a file; misuse where there is none."""
    try:
        return Circuit.load(path)
    except (OSError, ZkjaxError) as error:
        raise Misuse(f"the circuit file is not usable: {error}") from None


def read(load, *what):
    """``load(*what)``; a file that is not there is misuse."""
    try:
        return load(*what)
    except OSError as error:
        raise Misuse(str(error)) from None


def _told(arguments, found: Evaluated, bits: list[float], seconds: float) -> str:
    """What is printed of a valid evaluation. bits: of each proof."""
    security = -math.log2(sum(2.0**-x for x in bits))
    statement, named = found.statement, {"weights": arguments.weights, "test set": arguments.dataset or arguments.data}
    named["weights"] = named["weights"] or arguments.training
    facts = {
        "circuit": statement.circuit.hex(),
        "weights": found.weights.hex(),
        "test set": f"{statement.dataset.hex()} ({found.samples} samples)",
    }
    required = [name for name in facts if name == "circuit" or named[name] is not None]
    if arguments.json:
        totals = {name: [x.numerator, x.denominator] for name, x in found.totals.items()}
        result = {"valid": True, "bits": security, "seconds": seconds, "samples": found.samples, "totals": totals}
        result |= {"required": required, "assumed_bound": found.assumed, "statement": statement.to_json()}
        return json.dumps(result, indent=1)
    lines = [f"VALID: {len(bits)} proof{'s' * (len(bits) > 1)}, {security:.1f} bits of proven security, verified in {seconds:.2f} s"]
    lines += ["Required by you, and checked:", *(f"  {name:16} {facts[name]}" for name in required)]
    lines.append("Only claimed by the files, whose maker could choose it:")
    lines += [f"  {name:16} {value}" for name, value in facts.items() if name not in required] or ["  nothing"]
    if found.assumed:
        lines.append("  ASSUMED          that the weights are within the statement's bounds: --training shows it")
    return "\n".join([*lines, f"Proven of all {found.samples} samples, each read once:", *_outputs(found)])


def _outputs(found: Evaluated) -> list[str]:
    width = max(map(len, found.totals))
    means = found.means
    return [f"  {name:{width}} {in_decimals(total):>12}  mean {in_decimals(means[name])}" for name, total in found.totals.items()]
