"""``python -m zkjax comparison``: the proof of a comparison, and those of the training. NumPy and the standard library only."""

import json
import math
import time

from ..comparison import Compared, Terms, verify_comparison
from ..errors import FormatError
from ..verifier import check_minimum
from .evaluating import read, verified_training
from .terminal import Misuse, add_limits, limits_of, verdict
from .verifying import in_order


def add(commands) -> None:
    """The command's place and options among those of ``commands``, an argparse parser's."""
    parser = commands.add_parser("comparison", help="verify how far a training moved its weights, with its proofs", allow_abbrev=False)
    parser.add_argument("proof", metavar="PROOF", help="the comparison's proof file")
    parser.add_argument("--terms", required=True, metavar="FILE", help="what is compared")
    parser.add_argument(
        "--training", required=True, nargs="+", metavar="PROOF", help="the training's proof files, patterns, or directories"
    )
    parser.add_argument("--training-circuit", required=True, metavar="FILE", help="the training's circuit")
    parser.add_argument("--at-most", type=float, metavar="DISTANCE", help="require that all parts together moved by no more than this")
    parser.add_argument(
        "--unchanged", action="append", default=[], metavar="PATH", help="require this parameter unchanged; may be given several times"
    )
    add_limits(parser)
    parser.add_argument("--json", action="store_true", help="print the result as JSON, whether valid or not")
    parser.set_defaults(run=_comparison)


def _comparison(arguments) -> int:
    paths: list[str] = []
    return verdict(arguments, lambda: _verified(arguments, paths), paths)


def _verified(arguments, paths: list[str]) -> str:
    """Verify, and return what to print. paths: will hold the files of the proofs that are being verified."""
    check_minimum(arguments.minimum_bits)
    limits = limits_of(arguments)
    started = time.perf_counter()
    try:
        terms = read(Terms.load, arguments.terms)
    except FormatError as error:
        raise Misuse(f"the terms are not usable: {error}") from None
    training, ledgers = verified_training(arguments, paths, limits)
    (proof,) = read(in_order, [arguments.proof], paths)
    found = verify_comparison(terms, proof, training=training, at_most=arguments.at_most, unchanged=arguments.unchanged, **limits)
    bits = [x.bits for x in (*ledgers, found.security)]
    return _told(arguments, found, bits, time.perf_counter() - started)


def _told(arguments, found: Compared, bits: list[float], seconds: float) -> str:
    """What is printed of a valid comparison. bits: of each proof."""
    security = -math.log2(sum(2.0**-x for x in bits))
    if arguments.json:
        result = {"valid": True, "bits": security, "seconds": seconds, "parts": found.to_json(), "statement": found.statement.to_json()}
        return json.dumps(result, indent=1)
    lines = [f"VALID: {len(bits)} proofs, {security:.1f} bits of proven security, verified in {seconds:.2f} s"]
    required = ["the training's circuit, and the terms", *(f"{path} unchanged" for path in arguments.unchanged)]
    required += [] if arguments.at_most is None else [f"a distance of at most {arguments.at_most:g}"]
    lines += ["Required by you, and checked:", *(f"  {x}" for x in required)]
    return "\n".join([*lines, "Proven of the training's first and last weights:", *(f"  {', '.join(x.paths)}: {x}" for x in found.parts)])
