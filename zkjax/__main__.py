"""The command line: ``python -m zkjax verify`` and ``inspect``, with NumPy and the standard library only; ``measure``, for trainers.

Exit status: 0 for valid proofs, 1 for invalid or malformed ones, 2 for misuse and for anything else that leaves no verdict.
All that is printed goes through ``say``: names and texts of files come out escaped, on any terminal.
"""

import argparse
import glob
import json
import math
import os
import sys
import time
import traceback
from pathlib import Path

from . import __version__

try:
    from .circuit import file as circuits
    from .circuit.circuit import Circuit
    from .display import plain
    from .errors import FormatError, VerificationError, ZkjaxError
    from .files import read
    from .proofs.estimate import argument_work
    from .proofs.proof import MAGIC, MAX_FILE, VERSION, Proof
    from .proofs.published import Published
    from .proofs.soundness import TARGET, Security
    from .proofs.statement import Statement
    from .verifier import check_minimum, estimate_work, verify_chain
    from .work import MAX_MEMORY, MAX_WORK
except ModuleNotFoundError as error:  # before there is a verdict, so not the status of an invalid proof
    print(f"error: verifying needs {error.name}: pip install {error.name}", file=sys.stderr)
    raise SystemExit(2) from None

VALID, INVALID, MISUSE = 0, 1, 2


def say(text: str, stream=None) -> None:
    """Print lines, of visible characters only, to standard output or another stream."""
    print("\n".join(map(plain, text.split("\n"))), file=stream or sys.stdout)


class _Misuse(Exception):
    """What is wrong with the command line, or with a file that it names."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str):
        say(self.format_usage().rstrip(), sys.stderr)
        raise _Misuse(message)


def _steps(text: str) -> tuple[int, int]:
    try:
        first, end = (int(part) for part in text.split(":"))
    except ValueError:
        first, end = 0, 0
    if not 0 <= first < end:
        raise argparse.ArgumentTypeError(f"{text!r} is not FIRST:END with 0 <= FIRST < END, the steps up to END without it")
    return first, end


def _parser() -> argparse.ArgumentParser:
    describe = "Verify proofs of training, look into files, and find out how fast this machine proves."
    parser = _Parser(prog="python -m zkjax", description=describe, allow_abbrev=False)
    versions = f"zkjax {__version__}, proof format {VERSION}, circuit format {circuits.VERSION}"
    parser.add_argument("--version", action="version", version=versions)
    commands = parser.add_subparsers(dest="command", required=True)
    verify = commands.add_parser("verify", help="verify one proof or a chain of proofs", allow_abbrev=False)
    verify.add_argument(
        "proofs",
        nargs="+",
        metavar="PROOF",
        help="proof files, patterns of names, or directories, whose proof files are all taken; they are put in the order of their steps",
    )
    verify.add_argument("--circuit", required=True, metavar="FILE", help="the circuit that was trained")
    verify.add_argument("--dataset", metavar="ROOT", help="required root of the dataset")
    verify.add_argument("--initial", metavar="DIGEST", help="required digest of the initial weights, or of the initial state")
    verify.add_argument("--final", metavar="DIGEST", help="required digest of the final weights, or of the final state")
    verify.add_argument("--seed", type=int, metavar="N", help="required seed of the batch schedule")
    verify.add_argument("--steps", type=_steps, metavar="FIRST:END", help="required range of steps, END excluded")
    verify.add_argument("--statement", metavar="FILE", help="require all that this statement.json says of the proofs")
    verify.add_argument(
        "--assume-bound",
        action="store_true",
        help="accept a first proof that does not range-check its initial weights, or not start from the state that the circuit gives",
    )
    verify.add_argument(
        "--minimum-bits",
        type=float,
        default=TARGET,
        metavar="BITS",
        help=f"required of each proof, 1 or more (default {TARGET:g}); a chain's sum is printed",
    )
    verify.add_argument(
        "--max-work", type=int, default=MAX_WORK, metavar="N", help=f"refuse more field multiplications (default {MAX_WORK:,})"
    )
    verify.add_argument("--max-memory", type=int, default=MAX_MEMORY, metavar="BYTES", help=f"refuse more memory (default {MAX_MEMORY:,})")
    verify.add_argument("--ledger", action="store_true", help="print every source of error of each proof, with its bits")
    verify.add_argument("--json", action="store_true", help="print the result as JSON, whether valid or not")
    inspect = commands.add_parser("inspect", help="print what a circuit or proof file holds; verifies nothing", allow_abbrev=False)
    inspect.add_argument("file", metavar="FILE")
    inspect.add_argument("--circuit", metavar="CIRCUIT", help="of a proof file: estimate also what verifying it takes")
    told = "find out how fast this machine trains, proves and verifies, for zkjax.estimate: a few minutes"
    measured = commands.add_parser("measure", help=told, allow_abbrev=False)
    measured.add_argument("--out", metavar="FILE", help="write the constants there, not to the user's cache directory")
    return parser


# ---- verify ---------------------------------------------------------------------------------------------------
def _refuse(arguments, status: int, check: str, detail: str, proof: str | None = None) -> int:
    """Say why there is no valid proof: to people, and as JSON where that is asked for."""
    if arguments.json:
        say(json.dumps({"valid": False, "check": check, "detail": detail, "proof": proof}, indent=1))
    place = "" if proof is None else f"{proof}: "
    kind = {"format": "malformed: ", "misuse": ""}.get(check, f"check {check}: ")
    say(plain(f"{'error' if status == MISUSE else 'INVALID'}: {place}{kind}{detail}"), sys.stderr)  # one line, whatever a file says
    return status


def _is_proof(path: Path) -> bool:
    """Of the files in a directory: those that are named like proofs, and those that begin like one."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return path.suffix == ".proof" or file.read(len(MAGIC)) == MAGIC


def _files(words: list[str]) -> list[str]:
    """The files that these words name: directories and patterns of names stand for what is in them."""
    found: list[str] = []
    for word in words:
        path = Path(word)
        if path.is_dir():
            here = [str(p) for p in sorted(path.iterdir()) if _is_proof(p)]
        else:
            here = [word] if path.exists() else sorted(glob.glob(word)) or [word]
        if not here:
            raise _Misuse(f"{word}: no proof file in this directory")
        found += here
    return found


def _verify(arguments) -> int:
    paths: list[str] = []
    try:
        say(_verified(arguments, paths))
    except (VerificationError, FormatError) as error:
        place = None if error.proof is None else paths[error.proof]
        if isinstance(error, VerificationError):
            return _refuse(arguments, INVALID, error.check, error.detail, place)
        return _refuse(arguments, INVALID, "format", str(error).removeprefix(f"{place}: "), place)
    except ZkjaxError as error:
        raise _Misuse(str(error)) from None
    return VALID


def _verified(arguments, paths: list[str]) -> str:
    """Verify, and return what to print. paths: will hold the files of the proofs, in the order of their steps."""
    check_minimum(arguments.minimum_bits)
    try:
        circuit = Circuit.load(arguments.circuit)
    except (OSError, ZkjaxError) as error:
        raise _Misuse(f"the circuit file is not usable: {error}") from None
    try:
        published = None if arguments.statement is None else Published.load(arguments.statement)
        found = _files(arguments.proofs)
        started = time.perf_counter()
        proofs = [_load(path, paths) for path in found]
    except OSError as error:
        raise _Misuse(str(error)) from None
    order = sorted(range(len(proofs)), key=lambda i: getattr(proofs[i].statement, "first_step", math.inf))  # links alone come last
    proofs, paths[:] = [proofs[i] for i in order], [paths[i] for i in order]
    statements, ledgers = verify_chain(
        circuit,
        proofs,
        dataset=arguments.dataset,
        initial=arguments.initial,
        final=arguments.final,
        seed=arguments.seed,
        steps=arguments.steps,
        statement=published,
        assume_bound=arguments.assume_bound,
        minimum_bits=arguments.minimum_bits,
        max_work=arguments.max_work,
        max_memory=arguments.max_memory,
    )
    seconds = time.perf_counter() - started
    chunks = [s for s in statements if isinstance(s, Statement)]
    return _told(arguments, circuit, chunks, statements[len(chunks) :], ledgers, paths, seconds)


def _load(path: str, paths: list[str]) -> Proof:
    paths.append(path)
    try:
        return Proof.load(path)
    except FormatError as error:
        error.proof = len(paths) - 1
        raise


def _facts(arguments, circuit: Circuit, statements: list[Statement]) -> dict[bool, dict[str, tuple[str, str]]]:
    """What the proofs are about, apart by whether the caller has required it: name to (value, option that requires it)."""
    first, last = statements[0], statements[-1]
    facts = {
        "circuit": (first.circuit.hex(), "--circuit"),
        "security": (f"at least {arguments.minimum_bits:g} bits of each proof", "--minimum-bits"),
        "dataset": (f"{first.dataset.hex()} ({first.samples} samples)", "--dataset"),
        "schedule": (f"seed {first.seed}, batches of {circuit.batch_size}", "--seed"),
        "steps": (f"{first.first_step}:{last.first_step + last.steps}", "--steps"),
        "initial weights": (first.initial_weights.hex(), "--initial"),
        "final weights": (last.final_weights.hex(), "--final"),
    }
    told: dict[bool, dict[str, tuple[str, str]]] = {True: {}, False: {}}
    for name, (value, option) in facts.items():
        given = getattr(arguments, option.removeprefix("--").replace("-", "_")) is not None
        told[given or arguments.statement is not None][name] = value, option
    return told


def _told(
    arguments, circuit: Circuit, statements: list[Statement], alone: list, ledgers: list[Security], paths: list[str], seconds: float
) -> str:
    """What is printed of valid proofs. statements: of chunks; alone: of links alone."""
    first, last = statements[0], statements[-1]
    bits = -math.log2(sum(2.0**-ledger.bits for ledger in ledgers))
    updated = any(circuit.updated(first.first_step, last.first_step + last.steps - first.first_step))
    facts, free = _facts(arguments, circuit, statements), bool(circuit.given) and first.initial_state is not None
    free = free and (arguments.initial or "").lower() != first.initial_state.hex()
    if arguments.json:
        result = {"valid": True, "bits": bits, "seconds": seconds, "updated": updated}
        result |= {"required": [*facts[True]], "only_claimed": [*facts[False]], "assumed_bound": first.assumed}
        result["assumed_state"] = free
        return json.dumps(
            result | {"statements": [s.to_json() for s in (*statements, *alone)], "ledgers": [dict(x.terms) for x in ledgers]}, indent=1
        )
    lines = [f"VALID: {len(paths)} proof{'s' * (len(paths) > 1)}, {bits:.1f} bits of proven security, verified in {seconds:.2f} s"]
    if not updated:
        lines.append("  NO PARAMETER IS UPDATED in these steps, all are frozen: the final weights are the initial ones")
    lines += ["Required by you, and checked:", *(f"  {name:16} {value}" for name, (value, _) in facts[True].items())]
    lines.append("Only claimed by the files, whose maker could choose it; the option beside it lets you require it:")
    lines += [f"  {name:16} {value}  {option}" for name, (value, option) in facts[False].items()] or ["  nothing"]
    if first.assumed:
        lines.append("  ASSUMED          that the initial weights are within the first statement's bounds: no proof here shows it")
    if free:
        told = f"it may be any, unless --initial {first.initial_state.hex()} requires it"
        lines.append(f"  ASSUMED          the first state beside the weights, such as a momentum: {told}")
    proven = [f"  {name:16} {' '.join(map(_number, values))}" for name, values in _outputs(circuit, statements)]
    lines += ["Proven of these:", *proven] if proven else []
    for path, security in zip(paths, ledgers) if arguments.ledger else ():
        lines.append(f"\n{plain(path)}\n{security}")
    return "\n".join(lines)


def _outputs(circuit, statements):
    """(name, value in every step) of the outputs that all statements reveal."""
    for name in circuit.outputs:
        own = [i for i, x in enumerate(circuit.losses) if x.output == name]
        if all(s.losses is not None and all(s.losses[i] is not None for i in own) for s in statements):
            rows = [[x and x[t] for x in s.losses] for s in statements for t in range(s.steps)]
            yield "losses" if name == "loss" else name, [circuit.exact_loss(row, name) for row in rows]


def _number(value) -> str:
    try:
        return f"{float(value):.6g}"
    except OverflowError:  # a circuit's author chooses the factors of its losses
        return str(value)


# ---- inspect --------------------------------------------------------------------------------------------------
def _inspect(arguments) -> int:
    try:
        told = _looked_into(arguments.file, arguments.circuit)
    except OSError as error:
        raise _Misuse(str(error)) from None
    except ZkjaxError as error:
        say(plain(f"INVALID: {error}"), sys.stderr)
        return INVALID
    say(told)
    return VALID


def _looked_into(file: str, circuit_file: str | None) -> str:
    """What a circuit or proof file holds, and what verifying it takes: of a proof where its circuit is given."""
    if read(file, MAX_FILE, MAGIC)[: len(MAGIC)] != MAGIC:
        circuit = Circuit.load(file)
        work = f"verifying a proof of one step takes, without its opening, {argument_work(circuit, 1)}"
        return f"digest {circuit.digest().hex()}\n{work}\n{circuit}"
    proof = Proof.load(file)
    told = [f"proof file of {proof.nbytes} bytes, of which {len(proof.body)} are the proof's body; not verified here"]
    told += [str(proof.statement), json.dumps(proof.statement.to_json(), indent=1)]
    if circuit_file is not None:
        told.append(f"verifying it takes {estimate_work(Circuit.load(circuit_file), [proof.statement], None, None)}")
    return "\n".join(told)


# ---- measure --------------------------------------------------------------------------------------------------
def _measure(arguments) -> int:
    os.environ["JAX_ENABLE_COMPILATION_CACHE"] = "false"  # what is cold is to be cold
    try:
        from .planning.measure import measure

        path = measure(say).save(arguments.out)
    except ModuleNotFoundError as error:
        raise _Misuse(f"measuring trains and proves, and needs {error.name}; install zkjax with its dependencies") from None
    except (OSError, ZkjaxError) as error:
        raise _Misuse(str(error)) from None
    say(f"zkjax.estimate uses these constants from now on: {path}" if arguments.out is None else f"constants of this machine: {path}")
    return VALID


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit status. Errors of output are the caller's to handle."""
    words = sys.argv[1:] if arguments is None else arguments
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # for what the terminal's encoding lacks
    try:
        parsed = _parser().parse_args(words)
        return {"verify": _verify, "inspect": _inspect, "measure": _measure}[parsed.command](parsed)
    except _Misuse as error:
        return _refuse(argparse.Namespace(json="--json" in words), MISUSE, "misuse", str(error))
    except OSError:
        raise
    except Exception as error:
        say(traceback.format_exc(), sys.stderr)
        detail = f"no verdict, for zkjax stopped with a {type(error).__name__}: that is a bug, please report it"
        return _refuse(argparse.Namespace(json="--json" in words), MISUSE, "misuse", detail)


if __name__ == "__main__":
    try:
        status = main()
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError as error:  # the reader, such as head, has closed the pipe, or the disk is full: nobody has seen the verdict
        if not isinstance(error, BrokenPipeError):
            print(f"error: the result could not be written: {error}", file=sys.stderr)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = MISUSE
    sys.exit(status)
