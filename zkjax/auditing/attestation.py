"""What a folder shows, as an in-toto Statement v1, to stand beside a signature of the model; unsigned, or in a DSSE envelope.

    _type          https://in-toto.io/Statement/v1
    subject        the model's file: name, and its sha256
    predicateType  zkjax:training/v1
    predicate      sentence    what follows, to quote
                   facts       recipe, dataset, first and last weights: digests; seed, batch, steps [first, end]; samples
                   files       sha256 of each file that was checked, by name
                   security    {"proofs": how many, "least_bits": of the weakest, "bits": of all}
                   gaps        what was not checked
                   verifier    {"name": "zkjax", "version": of the one that checked}

https://github.com/in-toto/attestation/blob/main/spec/v1/statement.md, https://github.com/secure-systems-lab/dsse.
"""

import base64
import binascii
import json
from os import PathLike
from typing import Any

from .. import __version__, files
from ..errors import ConfigurationError, FormatError, VerificationError

TYPE, PREDICATE, PAYLOAD = "https://in-toto.io/Statement/v1", "zkjax:training/v1", "application/vnd.in-toto+json"
LIMIT = 2**26  # bytes of a file


def statement(sentence: str, facts: dict[str, Any], hashes: dict[str, str], security: dict[str, Any], gaps: tuple[str, ...], model: str):
    """The in-toto statement. model: the name of its file. ConfigurationError where ``hashes`` has none of it."""
    if model not in hashes:
        raise ConfigurationError(f"an attestation is about a model's file, and {model} is not there; publish it, or quote zkjax check")
    predicate = {"sentence": sentence, "facts": facts, "files": hashes, "security": security, "gaps": list(gaps)}
    predicate["verifier"] = {"name": "zkjax", "version": __version__}
    subject = [{"name": model, "digest": {"sha256": hashes[model]}}]
    return {"_type": TYPE, "subject": subject, "predicateType": PREDICATE, "predicate": predicate}


def signed(content: dict[str, Any], key: str | PathLike[str]) -> dict[str, Any]:
    """The statement in a DSSE envelope.

    key: a file with an unencrypted private key in PEM: Ed25519, ECDSA or RSA. Raises: ConfigurationError - it holds none, or
    securesystemslib is not installed; OSError.
    """
    try:
        from cryptography.hazmat.primitives.serialization import load_pem_private_key
        from securesystemslib.dsse import Envelope
        from securesystemslib.signer import CryptoSigner
    except ModuleNotFoundError as error:
        raise ConfigurationError(f"signing needs {error.name}: pip install securesystemslib[crypto], or zkjax[sign]") from None
    try:
        signer = CryptoSigner(load_pem_private_key(files.read(key, LIMIT), None))
    except OSError:
        raise
    except Exception as error:  # its text may quote the key
        raise ConfigurationError(f"{key}: not an unencrypted private key in PEM ({type(error).__name__})") from None
    envelope = Envelope(json.dumps(content, sort_keys=True).encode(), PAYLOAD, {})
    envelope.sign(signer)
    return envelope.to_dict()


def load(path: str | PathLike[str]) -> tuple[dict[str, Any], bool]:
    """The statement in a file, and whether it stands in an envelope. No signature is looked at. FormatError for anything else."""
    try:
        found = json.loads(files.read(path, LIMIT).decode("utf-8"))
        enveloped = isinstance(found, dict) and "payload" in found
        if enveloped:
            found = json.loads(base64.b64decode(found["payload"], validate=True).decode("utf-8"))
    except (ValueError, TypeError, RecursionError, binascii.Error) as error:
        raise FormatError(f"{path}: not an attestation ({type(error).__name__})") from None
    if not isinstance(found, dict):
        raise FormatError(f"{path}: not an attestation; python -m zkjax attest writes one")
    return found, enveloped


def compare(found: dict[str, Any], expected: dict[str, Any]) -> None:
    """Raise VerificationError, naming the first difference, where a statement does not say what the folder shows.

    Which version of the verifier has checked it before does not matter.
    """
    for name in ("_type", "predicateType", "subject"):
        if found.get(name) != expected[name]:
            raise VerificationError("attestation", f"{name} is {found.get(name)!r:.200}, the folder shows {expected[name]!r:.200}")
    told = found.get("predicate")
    for name, value in expected["predicate"].items():
        given = told.get(name) if isinstance(told, dict) else None
        if name != "verifier" and given != value:
            raise VerificationError("attestation", f"its {name} is {given!r:.200}, the folder shows {value!r:.200}")
