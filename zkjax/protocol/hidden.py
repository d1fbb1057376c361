"""Hidden scalars: how zero knowledge enters, once, for everything above the commitment.

A prover's scalar ``m`` travels as ``m - pad`` with a committed one-time pad, and the verifier computes with the affine
*form* ``sent + pad``. Forms record how they were made (a tape); at the end one reverse pass turns all constraints
"form = 0", combined by powers of a challenge, into a single claim <committed cells, weights> = value for the opening.
A product of two forms takes a committed multiplication triple a*b = c: the factors travel as ``u - a`` and ``v - b``.

Sumcheck, lookup and gadgets call ``receive``, ``receive_product`` and ``require_zero`` and never mention zero knowledge.
The same code runs in three roles: prover (values known), verifier (values read), and counter (no values: how many pads
and triples does this circuit need?).

Sources: Longfellow (ePrint 2024/2010) for pads and deferred linear constraints; Prio/BBCGI19 for the triples' test.

PROTOCOL.md, sections 11, 14, 20.
"""

import secrets
import weakref
from dataclasses import dataclass
from functools import partial

import numpy as np

from ..algebra import extension as ext
from ..algebra.extension import ONE, PHI, ZERO, Ext, lift
from ..algebra.field import P
from ..algebra.ntt import inverse_ntt, ntt
from ..algebra.poly import num_bits
from ..algebra.vectors import Vector, Vectors
from ..errors import UnsatisfiedWitnessError, VerificationError
from ..work import ONE_BY_ONE, SCALAR, TERM
from .links import NO_LINKS, LinkClaims, Links


class Tape(list):
    """Forms in the order in which they were made. They hold it weakly: a cycle would outlive the argument."""


class Form:
    """An affine form in pads, triples and committed tensors; ``value`` is known to the prover only (else None)."""

    __slots__ = ("index", "parents", "constant", "leaf", "value", "tape")

    def __init__(self, tape: Tape, parents=(), constant=ZERO, leaf=None, value=None):
        self.tape, self.parents, self.constant, self.leaf, self.value = weakref.ref(tape), parents, constant, leaf, value
        self.index = len(tape)
        tape.append(self)

    def __add__(self, other):
        if isinstance(other, Form):
            value = None if self.value is None or other.value is None else self.value + other.value
            return Form(self.tape(), ((ONE, self), (ONE, other)), value=value)
        other = lift(other)
        return Form(self.tape(), ((ONE, self),), constant=other, value=None if self.value is None else self.value + other)

    def __mul__(self, factor):
        factor = lift(factor)
        return Form(self.tape(), ((factor, self),), value=None if self.value is None else self.value * factor)

    def __neg__(self):
        return self * -1

    def __sub__(self, other):
        return self + (-other if isinstance(other, Form) else -lift(other))

    def __rsub__(self, other):
        return -self + other

    __radd__ = __add__
    __rmul__ = __mul__


@dataclass(frozen=True)
class Pad:
    """Leaf: entry ``index`` of the committed vector ``vector`` ("pad", "a", "b" or "c")."""

    vector: str
    index: int


@dataclass(frozen=True)
class Functional:
    """Leaf: a sum of terms (see ``claims.Term``) on committed tensors."""

    terms: tuple


@dataclass(frozen=True)
class Counts:
    """What a circuit's argument uses: one-time pads, multiplication triples."""

    pads: int
    triples: int

    @property
    def log_triples(self) -> int:
        """log2 of n_T, the length of the triple vectors; slot 0 stays unused so that A(z), B(z) reveal nothing."""
        return num_bits(self.triples + 1)

    def shapes(self) -> dict:
        """Committed vectors and their shapes: D = 2 base cells for each element of K."""
        n = 1 << self.log_triples
        return {"pad": (max(self.pads, 1), 2), "a": (n, 2), "b": (n, 2), "c": (2 * n, 2)}


class Hidden:
    """Base of the three roles: the tape, the counters and the constraints.

    stream: message stream (None for the counter). masks: the prover's committed vectors, name to list of Ext. vectors: makes
    those of the argument. links: shown beside the constraints; ``linked`` are their weights, once ``finish`` has drawn them.
    """

    def __init__(self, stream=None, masks=None, check: bool = True, vectors: Vectors | None = None, links: Links = NO_LINKS):
        self.stream, self.masks, self.check, self.vectors, self.links = stream, masks, check, vectors or Vectors(), links
        self.linked = LinkClaims(links, [], [])
        self.tape = Tape()
        self.pads = 0
        self.triples = 0
        self.constraints: list[tuple[str, Form]] = []
        self.errors: dict[str, int] = {}

    def account(self, name: str, numerator: int) -> None:
        """Note a step whose soundness error is at most numerator/|K|, for the ledger of ``soundness.py``."""
        self.errors[name] = self.errors.get(name, 0) + max(0, numerator)

    @property
    def proving(self) -> bool:
        return self.masks is not None

    # ---- challenges and public scalars ------------------------------------------------------------------------
    def challenge(self, label: str) -> Ext:
        """A public random element of K."""
        return self.stream.transcript.challenge(label) if self.stream else Ext(secrets.randbelow(P), secrets.randbelow(P))

    def challenges(self, label: str, count: int) -> list[Ext]:
        """Several of them."""
        if self.stream:
            return self.stream.transcript.challenges(label, count)
        return [self.challenge(label) for _ in range(count)]

    def public(self, value) -> Form:
        """A public scalar as a form."""
        value = lift(value)
        return Form(self.tape, constant=value, value=value if self.proving else None)

    # ---- hidden scalars ---------------------------------------------------------------------------------------
    def receive(self, label: str, count: int, values=None) -> list[Form]:
        """``count`` hidden scalars, each behind its own pad. values: a function giving the prover's list of Ext."""
        pads = [Pad("pad", self.pads + i) for i in range(count)]
        self.pads += count
        return self._masked(label, pads, values)

    def receive_product(self, label: str, values=None) -> tuple[Form, Form, Form]:
        """Two hidden scalars u, v and their product. The triple's own a and b are the pads of u and v.

        u v = (u~ + a)(v~ + b) = u~ v~ + u~ b + v~ a + c.
        """
        self.triples += 1  # slot 0 stays unused
        slot = self.triples
        u, v = self._masked(label, [Pad("a", slot), Pad("b", slot)], values)
        a, b = u.parents[0][1], v.parents[0][1]
        c = self._leaf(Pad("c", 2 * slot))
        product = Form(
            self.tape,
            ((u.constant, b), (v.constant, a), (ONE, c)),
            constant=u.constant * v.constant,
            value=None if u.value is None or v.value is None else u.value * v.value,
        )
        return u, v, product

    def product(self, label: str, u: Form, v: Form) -> Form:
        """The product of two forms that are known already."""
        received_u, received_v, product = self.receive_product(label, lambda: [u.value, v.value])
        self.require_zero(f"{label}: left factor", u - received_u)
        self.require_zero(f"{label}: right factor", v - received_v)
        return product

    def _masked(self, label: str, pads: list[Pad], values) -> list[Form]:
        count = len(pads)
        self.vectors.meter.charge("messages", TERM * count)
        if self.stream is None:
            sent, known = [ZERO] * count, [None] * count
        elif self.proving:
            known = [lift(v) for v in values()]
            if len(known) != count:
                raise ValueError(f"{label}: {len(known)} scalars, expected {count}")
            masked = [v - self.masks[p.vector][p.index] for v, p in zip(known, pads, strict=True)]
            sent = ext.unstack(self.stream.elements(label, count, ext.stack(masked)))
        else:
            sent, known = ext.unstack(self.stream.elements(label, count)), [None] * count
        return [Form(self.tape, ((ONE, self._leaf(pad)),), constant=s, value=v) for s, v, pad in zip(sent, known, pads, strict=True)]

    def _leaf(self, pad: Pad) -> Form:
        return Form(self.tape, leaf=pad, value=self.masks[pad.vector][pad.index] if self.proving else None)

    def functional(self, terms, value: Ext | None = None) -> Form:
        """The value of a sum of terms on committed tensors; nothing is sent. The prover may know the value."""
        return Form(self.tape, leaf=Functional(tuple(terms)), value=value)

    def require_zero(self, name: str, form: Form) -> None:
        """Add the constraint form = 0. The honest prover finds a violation at once, where it knows the value."""
        if self.check and form.value is not None and form.value != ZERO:
            raise UnsatisfiedWitnessError(f"{name}: the witness does not satisfy this relation")
        self.constraints.append((name, form))

    def counts(self) -> Counts:
        """Pads and triples used so far."""
        return Counts(self.pads, self.triples)

    def account_finish(self) -> None:
        """Note the errors of ``finish``."""
        self.account("triples", (2 << self.counts().log_triples) - 1)
        self.account("links", self.links.variables)
        self.account("constraints", len(self.constraints) + len(self.links.pairs) + 2)

    # ---- the end: triples' test, one claim for the opening ----------------------------------------------------
    def finish(self) -> tuple[dict, list, Ext]:
        """Test the triples, combine all constraints. Returns (mask weights, terms, value):

        mask weights: vector name to a NumPy K array over its entries; terms: list of (Ext, terms) on committed tensors;
        the claim is  sum <mask vector, weights> + sum scalar * terms = value.
        """
        counts = self.counts()
        n = 1 << counts.log_triples
        self.vectors.meter.charge("messages", 4 * SCALAR * len(self.tape))
        z = self.challenge("triple point")
        if z ** (2 * n) == ONE:
            raise VerificationError("triple point", "the challenge lies on the triples' own domain")
        single, double = (self.vectors.make(m, lambda m=m: lagrange_vector(z, m), ONE_BY_ONE * m, 40) for m in (n, 2 * n))
        at_z = {"a": single, "b": single, "c": double}
        if self.proving:
            values = ext.stack([ext.dot(ext.stack(self.masks[name]), at_z[name]) for name in ("a", "b")])
            left, right = ext.unstack(self.stream.elements("triple values", 2, values))
        elif self.stream:
            left, right = ext.unstack(self.stream.elements("triple values", 2))
        else:
            left = right = ZERO
        point = self.challenges("links", self.links.variables) if self.links.pairs else []
        scale = self.challenge("constraints")
        self.account_finish()
        weight = ONE
        adjoints: list[Ext | None] = [None] * len(self.tape)
        for _, form in self.constraints:
            adjoints[form.index] = weight if adjoints[form.index] is None else adjoints[form.index] + weight
            weight = weight * scale
        self.linked = LinkClaims(self.links, point, [])
        for _ in self.links.pairs:
            self.linked.scalars.append(weight)
            weight = weight * scale
        value = ZERO
        masks = {name: [ZERO] * shape[0] for name, shape in counts.shapes().items()}
        terms = []
        for form in reversed(self.tape):
            adjoint = adjoints[form.index]
            if adjoint is None:
                continue
            value = value - adjoint * form.constant
            if isinstance(form.leaf, Pad):
                masks[form.leaf.vector][form.leaf.index] = masks[form.leaf.vector][form.leaf.index] + adjoint
            elif isinstance(form.leaf, Functional):
                terms.append((adjoint, form.leaf.terms))
            for factor, parent in form.parents:
                share = adjoint if factor is ONE else factor * adjoint
                known = adjoints[parent.index]
                adjoints[parent.index] = share if known is None else known + share
        weights = {
            name: self.vectors.make(len(values), partial(ext.stack, values), ONE_BY_ONE * len(values)) for name, values in masks.items()
        }
        for name, target in (("a", left), ("b", right), ("c", left * right)):
            summands = weights[name], at_z[name], ext.stack([weight])
            weights[name] = self.vectors.make(len(masks[name]), lambda x=summands: ext.add(x[0], ext.mul(x[1], x[2])))
            value = value + weight * target
            weight = weight * scale
        return weights, terms, value


def lagrange_vector(z: Ext, n: int):
    """Values at z of the Lagrange polynomials of the n-th roots of unity, in order: a NumPy K array of length n.

    L_i(z) = (1/n) sum over k < n of (z w^-i)^k: the powers of z under the inverse transform.
    """
    transformed = inverse_ntt(np.stack(ext.stack(ext.powers(z, n)), axis=1))
    return transformed[:, 0], transformed[:, 1]


def make_masks(counts: Counts, random_elements) -> dict:
    """The prover's pads and triples. random_elements(n): n uniform elements of K (list of Ext).

    a and b are uniform on the n_T-th roots of unity; c holds the product of their interpolants on the 2 n_T-th roots, so
    that its even entries are a * b.
    """
    n = 1 << counts.log_triples
    a, b = random_elements(n), random_elements(n)
    extended = [extend_to_double(ext.stack(v)) for v in (a, b)]
    return {"pad": random_elements(max(counts.pads, 1)), "a": a, "b": b, "c": ext.unstack(ext.mul(*extended))}


def extend_to_double(values):
    """Values of a polynomial of degree < n on the n-th roots of unity, to its values on the 2n-th roots."""
    result = []
    for component in values:
        coefficients = inverse_ntt(component.reshape(-1, 1))
        result.append(ntt(np.concatenate([coefficients, np.zeros_like(coefficients)])).reshape(-1))
    return tuple(result)


def mask_component_vector() -> Vector:
    """Weights of an element's two base cells: 1 and phi."""
    return Vector(ext.stack([ONE, PHI]))
