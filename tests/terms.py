"""All terms of an argument after each of its phases, by both verifiers: what ``vectors/*.terms.json`` holds (PROTOCOL.md, section 23)."""

import hashlib
from contextlib import ExitStack
from unittest import mock

import numpy as np
from reference import verifier as reference

import zkjax.verifier
from zkjax.protocol import argument

# What phases are called in the files, and the functions that return their claims or terms, in each verifier.
PHASES = ("lookups", "losses", "binding", "merged", "unrolled", "settled", "products", "opening")
OWN = [(argument, name) for name in ("membership", "loss_claims", "binding", "_merged", "unroll", "settle", "contract")]
OWN += [(zkjax.verifier, "opening_terms")]
REFERENCE = ("lookup_claim", "loss_claims", "binding_claim", "merged", "unroll", "without_draws", "reduce_dots", "combine_constraints")


def own_terms(verify) -> list:
    """[phase, constant, terms] of each claim, in order, of a proof that ``verify()`` verifies by zkjax: ``verifier.verify_one``, which
    does not estimate its work, for an estimate runs the argument too."""
    return _recorded(OWN, verify, _own_term)


def reference_terms(verify) -> list:
    """The same by the second verifier."""
    return _recorded([(reference, name) for name in REFERENCE], verify, _reference_term)


def _recorded(functions, verify, written) -> list:
    found: list = []

    def recording(phase, function):
        def recorded(*arguments, **named):
            result = function(*arguments, **named)
            for constant, terms in _claims(phase, result):
                told = [written(term) for term in terms]
                found.append([phase, constant, told if phase != "opening" else sorted(told, key=str)])  # their order means nothing
            return result

        return recorded

    with ExitStack() as patches:
        for phase, (module, name) in zip(PHASES, functions, strict=True):
            patches.enter_context(mock.patch.object(module, name, recording(phase, getattr(module, name))))
        verify()
    return found


def _claims(phase: str, result):
    """(constant, terms) of what a phase returns."""
    if phase == "opening":  # by committed tensor; with more beside it in the second verifier
        by_key = result[0] if isinstance(result, tuple) else result
        return [(None, [term for terms in by_key.values() for term in terms])]
    claims = result if isinstance(result, list) else [result]
    return [([c.constant.c0, c.constant.c1], c.terms) for c in claims]


def _own_term(term) -> list:
    vectors = [None if v is None else _name(np.stack(v, axis=1).astype("<u8").tobytes()) for v in (term.step, *term.vectors)]
    return _written(term, term.key, term.groups, vectors)


def _reference_term(term) -> list:
    entries = (None if v is None else v.entries for v in (term.step, *(v for _, v in term.groups)))
    vectors = [None if x is None else _name(b"".join(map(bytes, x))) for x in entries]
    kind, *numbers = term.key
    return _written(term, ("remainder" if kind == "limb" else kind, *numbers), [axes for axes, _ in term.groups], vectors)


def _written(term, key: tuple, groups, vectors: list) -> list:
    """Tensor, scalar, step vector, and each group of axes with its vector; of tables, which each verifier names as it likes, no name."""
    return [
        " ".join(map(str, key if key[0] != "multiplicity" else key[:1])),
        [term.scalar.c0, term.scalar.c1],
        vectors[0],
        *([*axes, v] for axes, v in zip(groups, vectors[1:])),
    ]


def _name(raw: bytes) -> str:
    """A vector by the first digits of the SHA-256 of its entries, 16 bytes each."""
    return hashlib.sha256(raw).hexdigest()[:8]
