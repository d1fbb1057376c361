"""``python -m zkjax verify``: one proof or a chain of proofs, against what the caller requires. NumPy and the standard library only."""

import argparse
import glob
import json
import math
import time
from pathlib import Path

from ..circuit.circuit import Circuit
from ..display import in_decimals, plain
from ..errors import FormatError, ZkjaxError
from ..proofs.chain import revealed
from ..proofs.disclosed import check_disclosed
from ..proofs.proof import MAGIC, Proof
from ..proofs.published import Published
from ..proofs.soundness import Security
from ..proofs.statement import Statement
from ..verifier import check_minimum, verify_chain
from . import disclosing
from .terminal import Misuse, add_limits, limits_of, verdict


def add(commands) -> None:
    """The command's place and options among those of ``commands``, an argparse parser's."""
    parser = commands.add_parser("verify", help="verify one proof or a chain of proofs", allow_abbrev=False)
    parser.add_argument(
        "proofs",
        nargs="+",
        metavar="PROOF",
        help="proof files, patterns of names, or directories, whose proof files are all taken; they are put in the order of their steps",
    )
    parser.add_argument("--circuit", required=True, metavar="FILE", help="the circuit that was trained")
    parser.add_argument("--dataset", metavar="ROOT", help="required root of the dataset")
    parser.add_argument("--initial", metavar="DIGEST", help="required digest of the initial weights, or of the initial state")
    parser.add_argument("--final", metavar="DIGEST", help="required digest of the final weights, or of the final state")
    parser.add_argument("--seed", type=int, metavar="N", help="required seed of the batch schedule")
    parser.add_argument("--steps", type=_steps, metavar="FIRST:END", help="required range of steps, END excluded")
    parser.add_argument("--statement", metavar="FILE", help="require all that this statement.json says of the proofs")
    disclosing.add_options(parser)
    parser.add_argument(
        "--assume-bound",
        action="store_true",
        help="accept a first proof that does not range-check its initial weights, or not start from the state that the circuit gives",
    )
    add_limits(parser)
    parser.add_argument("--ledger", action="store_true", help="print every source of error of each proof, with its bits")
    parser.add_argument("--json", action="store_true", help="print the result as JSON, whether valid or not")
    parser.set_defaults(run=_verify)


def _steps(text: str) -> tuple[int, int]:
    try:
        first, end = (int(part) for part in text.split(":"))
    except ValueError:
        first, end = 0, 0
    if not 0 <= first < end:
        raise argparse.ArgumentTypeError(f"{text!r} is not FIRST:END with 0 <= FIRST < END, the steps up to END without it")
    return first, end


def _is_proof(path: Path) -> bool:
    """Of the files in a directory: those that are named like proofs, and those that begin like one."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return path.suffix == ".proof" or file.read(len(MAGIC)) == MAGIC


def files_of(words: list[str]) -> list[str]:
    """The files that these words name: directories and patterns of names stand for what is in them."""
    found: list[str] = []
    for word in words:
        path = Path(word)
        if path.is_dir():
            here = [str(p) for p in sorted(path.iterdir()) if _is_proof(p)]
        else:
            here = [word] if path.exists() else sorted(glob.glob(word)) or [word]
        if not here:
            raise Misuse(f"{word}: no proof file in this directory")
        found += here
    return found


def _verify(arguments) -> int:
    paths: list[str] = []
    return verdict(arguments, lambda: _verified(arguments, paths), paths)


def _verified(arguments, paths: list[str]) -> str:
    """Verify, and return what to print. paths: will hold the files of the proofs, in the order of their steps."""
    check_minimum(arguments.minimum_bits)
    try:
        circuit = Circuit.load(arguments.circuit)
    except (OSError, ZkjaxError) as error:
        raise Misuse(f"the circuit file is not usable: {error}") from None
    try:
        published = None if arguments.statement is None else Published.load(arguments.statement)
        found = files_of(arguments.proofs)
        wanted = disclosing.wanted(arguments, circuit)
        started = time.perf_counter()
        proofs = in_order(found, paths)
    except OSError as error:
        raise Misuse(str(error)) from None
    limits = limits_of(arguments)
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
        **limits,
    )
    shown = check_disclosed(circuit, statements, **wanted, **limits)
    seconds = time.perf_counter() - started
    chunks = [s for s in statements if isinstance(s, Statement)]
    disclosed = disclosing.facts(arguments, circuit, wanted["drawing"], chunks, shown)
    return _told(arguments, circuit, chunks, statements[len(chunks) :], ledgers, paths, seconds, disclosed)


def in_order(names: list[str], paths: list[str]) -> list[Proof]:
    """The proofs in these files, in the order of their steps. paths: will hold their files, in that order."""
    proofs = [_load(name, paths) for name in names]
    order = sorted(range(len(proofs)), key=lambda i: proofs[i].place)
    paths[:] = [paths[i] for i in order]
    return [proofs[i] for i in order]


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
    arguments,
    circuit: Circuit,
    statements: list[Statement],
    alone: list,
    ledgers: list[Security],
    paths: list[str],
    seconds: float,
    disclosed: dict[str, str],
) -> str:
    """What is printed of valid proofs. statements: of chunks; alone: of links alone; disclosed: what was checked beside them."""
    first, last = statements[0], statements[-1]
    bits = -math.log2(sum(2.0**-ledger.bits for ledger in ledgers))
    updated = any(circuit.updated(first.first_step, last.first_step + last.steps - first.first_step))
    facts, free = _facts(arguments, circuit, statements), bool(circuit.given) and first.initial_state is not None
    free = free and (arguments.initial or "").lower() != first.initial_state.hex()
    if arguments.json:
        result = {"valid": True, "bits": bits, "seconds": seconds, "updated": updated}
        result |= {"required": [*facts[True], *disclosed], "only_claimed": [*facts[False]], "assumed_bound": first.assumed}
        result |= {"assumed_state": free, "disclosed": disclosed}
        return json.dumps(
            result | {"statements": [s.to_json() for s in (*statements, *alone)], "ledgers": [dict(x.terms) for x in ledgers]}, indent=1
        )
    lines = [f"VALID: {len(paths)} proof{'s' * (len(paths) > 1)}, {bits:.1f} bits of proven security, verified in {seconds:.2f} s"]
    if not updated:
        lines.append("  NO PARAMETER IS UPDATED in these steps, all are frozen: the final weights are the initial ones")
    lines += ["Required by you, and checked:", *(f"  {name:16} {value}" for name, (value, _) in facts[True].items())]
    lines += [f"  {name:16} {value}" for name, value in disclosed.items()]
    lines.append("Only claimed by the files, whose maker could choose it; the option beside it lets you require it:")
    lines += [f"  {name:16} {value}  {option}" for name, (value, option) in facts[False].items()] or ["  nothing"]
    if first.assumed:
        lines.append("  ASSUMED          that the initial weights are within the first statement's bounds: no proof here shows it")
    if free:
        told = f"it may be any, unless --initial {first.initial_state.hex()} requires it"
        lines.append(f"  ASSUMED          the first state beside the weights, such as a momentum: {told}")
    proven = [f"  {name:16} {' '.join(map(in_decimals, values))}" for name, values in revealed(circuit, statements)]
    lines += ["Proven of these:", *proven] if proven else []
    for path, security in zip(paths, ledgers) if arguments.ledger else ():
        lines.append(f"\n{plain(path)}\n{security}")
    return "\n".join(lines)
