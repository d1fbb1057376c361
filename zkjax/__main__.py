"""The command line: ``python -m zkjax verify`` and ``inspect``. NumPy and the standard library only.

Exit status: 0 for a valid proof, 1 for an invalid or malformed one, 2 for misuse.
"""

import argparse
import json
import math
import os
import sys
import time

from .circuit import Circuit
from .errors import FormatError, VerificationError, ZkjaxError
from .estimate import argument_work
from .files import read
from .proof import MAGIC, MAX_FILE, Proof
from .soundness import TARGET
from .verifier import estimate_work, verify_chain
from .work import MAX_MEMORY, MAX_WORK

VALID, INVALID, MISUSE = 0, 1, 2


def _range(text: str) -> tuple[int, int]:
    try:
        first, end = (int(part) for part in text.split(":"))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not FIRST:END") from None
    if not 0 <= first < end:
        raise argparse.ArgumentTypeError(f"{text!r} is an empty range")
    return first, end


def _digest(text: str) -> bytes:
    try:
        raw = bytes.fromhex(text)
    except ValueError:
        raw = b""
    if len(raw) != 32:
        raise argparse.ArgumentTypeError(f"{text!r} is not a digest of 64 hexadecimal digits")
    return raw


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m zkjax", description="Verify proofs of training, and look into files.")
    commands = parser.add_subparsers(dest="command", required=True)
    verify = commands.add_parser("verify", help="verify one proof or a chain of proofs, in order")
    verify.add_argument("proofs", nargs="+", metavar="PROOF", help="proof files, in the order of their steps")
    verify.add_argument("--circuit", required=True, metavar="FILE", help="the circuit that was trained")
    verify.add_argument("--dataset", type=_digest, metavar="ROOT", help="required root of the dataset")
    verify.add_argument("--initial", type=_digest, metavar="DIGEST", help="required digest of the initial weights, as verify prints it")
    verify.add_argument("--seed", type=int, metavar="N", help="required seed of the batch schedule")
    verify.add_argument("--steps", type=_range, metavar="A:B", help="required range of steps, B excluded")
    verify.add_argument("--assume-bound", action="store_true", help="accept a first proof that does not range-check its initial weights")
    verify.add_argument(
        "--minimum-bits",
        type=float,
        default=TARGET,
        metavar="BITS",
        help=f"required of each proof (default {TARGET:g}); a chain's sum is printed",
    )
    verify.add_argument(
        "--max-work", type=int, default=MAX_WORK, metavar="N", help=f"refuse more field multiplications (default {MAX_WORK:,})"
    )
    verify.add_argument("--max-memory", type=int, default=MAX_MEMORY, metavar="BYTES", help=f"refuse more memory (default {MAX_MEMORY:,})")
    verify.add_argument("--ledger", action="store_true", help="print every source of error of each proof, with its bits")
    verify.add_argument("--json", action="store_true", help="print the statements as JSON")
    inspect = commands.add_parser("inspect", help="print what a circuit or proof file holds; verifies nothing")
    inspect.add_argument("file", metavar="FILE")
    inspect.add_argument("--circuit", metavar="CIRCUIT", help="of a proof file: estimate also what verifying it takes")
    return parser


def _verify(arguments) -> int:
    try:
        circuit = Circuit.load(arguments.circuit)
    except OSError as error:
        print(f"error: {error}", file=sys.stderr)
        return MISUSE
    except ZkjaxError as error:
        print(f"error: the circuit file is not usable: {error}", file=sys.stderr)
        return MISUSE
    files, started = arguments.proofs, time.perf_counter()
    try:
        proofs = [Proof.load(path) for path in files]
        statements, ledgers = verify_chain(
            circuit,
            proofs,
            dataset=arguments.dataset,
            initial=arguments.initial,
            seed=arguments.seed,
            steps=arguments.steps,
            assume_bound=arguments.assume_bound,
            minimum_bits=arguments.minimum_bits,
            max_work=arguments.max_work,
            max_memory=arguments.max_memory,
        )
    except (VerificationError, FormatError) as error:
        place = "" if error.proof is None else f"{files[error.proof]}: "
        kind = "check" if isinstance(error, VerificationError) else "malformed:"
        print(f"INVALID: {place}{kind} {error}", file=sys.stderr)
        return INVALID
    except (OSError, ZkjaxError) as error:
        print(f"error: {error}", file=sys.stderr)
        return MISUSE
    seconds = time.perf_counter() - started
    bits = -math.log2(sum(2.0**-ledger.bits for ledger in ledgers))
    if arguments.json:
        result = {"valid": True, "bits": bits, "seconds": seconds, "statements": [s.to_json() for s in statements]}
        print(json.dumps(result | {"ledgers": [dict(x.terms) for x in ledgers]}, indent=1))
        return VALID
    first, last = statements[0], statements[-1]
    print(f"VALID: {len(statements)} proof{'s' * (len(statements) > 1)}, {bits:.1f} bits of proven security, verified in {seconds:.2f} s")
    print(f"  circuit          {first.circuit.hex()}")
    print(f"  dataset          {first.dataset.hex()} ({first.samples} samples)")
    print(f"  schedule         seed {first.seed}, batches of {circuit.batch_size}")
    print(f"  steps            {first.first_step}..{last.first_step + last.steps - 1}")
    print(f"  initial weights  {first.initial_weights.hex()}")
    print(f"  final weights    {last.final_weights.hex()}")
    if first.assumed:
        print("  ASSUMED          that the initial weights are within the first statement's bounds: no proof here shows it")
    if all(s.losses is not None for s in statements):
        losses = [circuit.exact_loss(row) for s in statements for row in zip(*s.losses, strict=True)]
        print("  losses           " + " ".join(f"{float(x):.6g}" for x in losses))
    for path, security in zip(files, ledgers) if arguments.ledger else ():
        print(f"\n{path}\n{security}")
    return VALID


def _inspect(arguments) -> int:
    try:
        is_proof = read(arguments.file, MAX_FILE, MAGIC)[: len(MAGIC)] == MAGIC
        proof = Proof.load(arguments.file) if is_proof else None
        circuit_file = arguments.circuit if is_proof else arguments.file
        circuit = None if circuit_file is None else Circuit.load(circuit_file)
    except OSError as error:
        print(f"error: {error}", file=sys.stderr)
        return MISUSE
    except ZkjaxError as error:
        print(f"INVALID: {error}", file=sys.stderr)
        return INVALID
    try:
        if proof is not None:
            print(f"proof file of {proof.nbytes} bytes, of which {len(proof.body)} are the proof's body; not verified here")
            print(proof.statement)
            print(json.dumps(proof.statement.to_json(), indent=1))
            if circuit is not None:
                print(f"verifying it takes {estimate_work(circuit, [proof.statement], None, None)}")
        else:
            print(circuit)
            print(f"verifying a proof of one step takes, without its opening, {argument_work(circuit, 1)}")
            print(f"digest {circuit.digest().hex()}")
    except ZkjaxError as error:
        print(f"INVALID: {error}", file=sys.stderr)
        return INVALID
    return VALID


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    parsed = _parser().parse_args(arguments)
    return _verify(parsed) if parsed.command == "verify" else _inspect(parsed)


if __name__ == "__main__":
    try:
        status = main()
        sys.stdout.flush()
    except BrokenPipeError:  # the reader, such as head, has closed the pipe: nobody has seen the verdict
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = MISUSE
    sys.exit(status)
