"""``python -m zkjax check`` and ``attest``: all that a published folder holds, and what follows from it, for people and as an attestation.

NumPy only; safetensors for model files, securesystemslib for signing.
"""

import json
from collections.abc import Callable
from pathlib import Path

from ..auditing import attestation
from ..auditing.conclusion import Conclusion, check
from ..auditing.folder import ATTESTATION, MODEL
from ..auditing.report import report
from .terminal import Misuse, add_limits, limits_of, verdict


def add(commands) -> None:
    """The commands' places and options among those of ``commands``, an argparse parser's."""
    parser = _parser(commands, "check", "check all that a published folder holds, and say what follows")
    parser.add_argument("--json", action="store_true", help="print the result as JSON, whether valid or not")
    parser.add_argument("--html", metavar="FILE", help="write the result as one page that loads nothing, too")
    parser.set_defaults(run=_check)
    parser = _parser(commands, "attest", "check a published folder, and write what follows as an in-toto statement")
    parser.add_argument("--key", metavar="FILE", help="sign it, in a DSSE envelope, by this unencrypted private key (PEM)")
    parser.add_argument("--out", metavar="FILE", help=f"write it there, not to FOLDER/{ATTESTATION}")
    parser.set_defaults(run=_attest, json=False)


def _parser(commands, name: str, told: str):
    """With the options that both have."""
    parser = commands.add_parser(name, help=told, allow_abbrev=False)
    parser.add_argument("folder", metavar="FOLDER", help="circuit.json, proofs, and what zkjax.publish puts beside them")
    parser.add_argument(
        "--source",
        metavar="PATH",
        help="require that it began with the model in this file, or in this folder, which is checked too",
    )
    add_limits(parser)
    return parser


def _check(arguments) -> int:
    def tell(found: Conclusion) -> str:
        if arguments.html is not None:
            Path(arguments.html).write_text(report(found), encoding="utf-8")
        return json.dumps(found.to_json(), indent=1) if arguments.json else f"VALID: {found}"

    return verdict(arguments, lambda: _concluded(arguments, tell))


def _attest(arguments) -> int:
    def tell(found: Conclusion) -> str:
        if not found.attestation:
            raise Misuse(f"{arguments.folder}: {MODEL} is not there, and an attestation is about a model's file")
        content = found.attestation if arguments.key is None else attestation.signed(found.attestation, arguments.key)
        path = Path(arguments.folder) / ATTESTATION if arguments.out is None else Path(arguments.out)
        path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
        return f"{path}: {found.sentence}"

    return verdict(arguments, lambda: _concluded(arguments, tell, ignore_attestation=True))


def _concluded(arguments, tell: Callable[[Conclusion], str], **options) -> str:
    """What is told of what follows; a file that cannot be read or written is misuse."""
    limits = limits_of(arguments)
    try:
        return tell(check(arguments.folder, source=arguments.source, **options, **limits))
    except OSError as error:
        raise Misuse(str(error)) from None
