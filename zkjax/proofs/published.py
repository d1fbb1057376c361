"""What a trainer publishes beside the proofs of a chain, ``statement.json``, and its comparison with them.

A JSON object with exactly these keys; digests are 64 lower-case hexadecimal digits:

    circuit          digest of the circuit
    dataset          root of the dataset
    initial_weights  digest of the first weights, final_weights of the last ones
    seed             of the schedule
    steps            [first, end] of the whole chain, end excluded
    proofs           for each proof, in order: {"file": its name, for people, "sentence": str(statement), "statement": all its fields}

PROTOCOL.md, section 4.4.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from typing import Any

from .. import files
from ..errors import ConfigurationError, FormatError, VerificationError
from .alone import LinkStatement
from .statement import Statement

LIMIT = 2**26  # bytes of a file
KEYS = ("circuit", "dataset", "initial_weights", "final_weights", "seed", "steps", "proofs")


@dataclass(frozen=True)
class Published:
    """The statements of a chain as its trainer publishes them: ``of`` and ``save`` for the trainer, ``load`` for the auditor.

    ``zkjax.verify(..., statement=published)`` requires that the proofs say exactly this.
    """

    content: dict[str, Any]

    def __post_init__(self) -> None:
        _check_form(self.content)

    @staticmethod
    def of(statements: dict[str, Statement | LinkStatement]) -> "Published":
        """What to publish about a chain. statements: by the name of the proof's file, in order; of links alone they come last."""
        statements = dict(sorted(statements.items(), key=lambda item: isinstance(item[1], LinkStatement)))
        chunks = [s for s in statements.values() if isinstance(s, Statement)]
        if not chunks:
            raise ConfigurationError("these proofs only replace commitments; publish them with the proofs of the chain's chunks")
        first, last = chunks[0], chunks[-1]
        return Published(
            {
                "circuit": first.circuit.hex(),
                "dataset": first.dataset.hex(),
                "initial_weights": first.initial_weights.hex(),
                "final_weights": last.final_weights.hex(),
                "seed": first.seed,
                "steps": [first.first_step, last.first_step + last.steps],
                "proofs": [{"file": name, "sentence": str(s), "statement": s.to_json()} for name, s in statements.items()],
            }
        )

    def save(self, path: str | PathLike[str]) -> None:
        """Write the file, whole or not at all."""
        files.publish(path, (json.dumps(self.content, indent=1) + "\n").encode("utf-8"))

    @staticmethod
    def load(path: str | PathLike[str]) -> "Published":
        """Read such a file; FormatError names what is wrong with it. Whether it is true of any proof is for ``check`` to say."""
        content = files.read_json(path, LIMIT)
        try:
            return Published(content)
        except FormatError as error:
            error.within(str(path))
            raise

    def check(self, statements: Sequence[Statement | LinkStatement]) -> None:
        """Raise VerificationError, naming the first difference, where these are not the published statements, in order."""
        published = self.content["proofs"]
        if len(published) != len(statements):
            raise VerificationError("published proofs", f"{len(published)} are published, {len(statements)} are given")
        given = Published.of({str(i): s for i, s in enumerate(statements)}).content
        for name in KEYS[:-1]:
            _same(f"published {name}", self.content[name], given[name])
        for number, (item, actual) in enumerate(zip(published, given["proofs"], strict=True)):
            try:
                for name in actual["statement"]:
                    _same(f"published {name}", item["statement"].get(name), actual["statement"][name])
                _same("published sentence", item["sentence"], actual["sentence"])
            except VerificationError as error:
                error.proof = number
                raise


def _same(check: str, published, given) -> None:
    if published != given:
        raise VerificationError(check, f"the proof says {given!r:.200}, published is {published!r:.200}")


def _check_form(content) -> None:
    """FormatError unless it has the documented form; whoever reads it then needs no care."""
    if not isinstance(content, dict) or set(content) != set(KEYS):
        raise FormatError(f"expected an object with the keys {', '.join(KEYS)}; give the statement.json that was published with the proofs")
    proofs = content["proofs"]
    if not isinstance(proofs, list) or not proofs:
        raise FormatError("proofs: expected a list of at least one")
    for number, item in enumerate(proofs):
        if not isinstance(item, dict) or set(item) != {"file", "sentence", "statement"}:
            raise FormatError(f"proofs[{number}]: expected the keys file, sentence, statement")
        if not isinstance(item["file"], str) or not isinstance(item["sentence"], str):
            raise FormatError(f"proofs[{number}]: file and sentence are texts")
        try:
            kind = LinkStatement if isinstance(item["statement"], dict) and "kind" in item["statement"] else Statement
            kind.parse(json.dumps(item["statement"], sort_keys=True, separators=(",", ":")).encode())
        except FormatError as error:
            error.within(f"proofs[{number}]")
            raise
    for name in KEYS[:4]:
        value = content[name]
        if not isinstance(value, str) or len(value) != 64 or value.strip("0123456789abcdef"):
            raise FormatError(f"{name}: expected 64 lower-case hexadecimal digits, got {value!r:.80}")
    if type(content["seed"]) is not int:
        raise FormatError(f"seed: expected an integer, got {content['seed']!r:.80}")
    steps = content["steps"]
    if not isinstance(steps, list) or [type(x) for x in steps] != [int, int]:
        raise FormatError(f"steps: expected [first, end], got {steps!r:.80}")
