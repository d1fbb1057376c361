"""Hidden scalars: forms, triples, the final claim, and what provers might try."""

import random
from collections import Counter

import pytest
from field_values import extension_elements
from hypothesis import given
from hypothesis import strategies as st

from zkjax.algebra import extension as ext
from zkjax.algebra.extension import ONE, PHI, ZERO, Ext
from zkjax.algebra.field import root_of_unity
from zkjax.errors import UnsatisfiedWitnessError, VerificationError, ZkjaxError
from zkjax.protocol.hidden import Counts, Functional, Hidden, Pad, extend_to_double, lagrange_vector, make_masks, mask_component_vector
from zkjax.protocol.transcript import Reader, Transcript

U, V, W = Ext(3, 4), Ext(5, 6), Ext(7)


def product_protocol(hidden, witness):
    """Knows u, v, w with u v w = public and u + v = public."""
    u, v, uv = hidden.receive_product("factors", lambda: witness[:2])
    (w,) = hidden.receive("third", 1, lambda: witness[2:])
    r = hidden.challenge("r")
    product = hidden.product("all", uv, w)
    hidden.require_zero("product", (product - U * V * W) * r)
    hidden.require_zero("sum", u + v - (U + V))
    return r


def test_accepts(roles):
    result, verified = roles.accepts(product_protocol, [U, V, W])
    assert result == verified
    assert roles.counts == Counts(pads=1, triples=2)


def test_rejects_every_changed_element(roles):
    _, body = roles.prove(product_protocol, [U, V, W])
    assert len(body) == 16 * (3 + 2 + 2)  # scalars, factors of the second product, triple values
    roles.rejects_every_change(product_protocol, body)


def test_wrong_witnesses(roles):
    for witness in ([U + 1, V, W], [U, V - 1, W], [U, V, W * 2], [U + 1, V - 1, W]):
        with pytest.raises(UnsatisfiedWitnessError, match="product|sum"):
            roles.prove(product_protocol, witness)
        _, body = roles.prove(product_protocol, witness, check=False)
        with pytest.raises(VerificationError):
            roles.verify(product_protocol, body)


@pytest.mark.parametrize("false", [(0, 0), (1, 0), (0, 1), (1, 1)])
def test_a_product_is_of_the_forms_it_is_asked_of(roles, false):
    """The lie: other factors, whose product is the right one, in the place of those that are known."""

    def protocol(hidden, witness):
        u, v = hidden.receive("factors", 2, lambda: witness)
        if hidden.proving:
            honest = hidden.receive_product
            hidden.receive_product = lambda label, values: honest(label, lambda: [U, V])
        hidden.require_zero("product", hidden.product("both", u, v) - U * V)

    _, body = roles.prove(protocol, [U + false[0], V + false[1]], check=False)
    if any(false):
        with pytest.raises(VerificationError, match="final claim"):
            roles.verify(protocol, body)
    else:
        roles.verify(protocol, body)


@pytest.mark.parametrize("name, slot", [("a", 0), ("a", 1), ("b", 0), ("b", 2), ("c", 0), ("c", 1), ("c", 2), ("c", 7)])
def test_triples_that_are_no_products(roles, name, slot):
    """Also in slots that no product uses, and where c is no codeword."""
    roles.prepare(product_protocol)
    masks = roles.masks
    masks[name][slot] = masks[name][slot] + 1
    roles.prepare = lambda protocol: None
    _, body = roles.prove(product_protocol, [U, V, W])
    with pytest.raises(VerificationError, match="final claim"):
        roles.verify(product_protocol, body)


def test_malformed_proofs_raise_our_errors_only(roles):
    _, body = roles.prove(product_protocol, [U, V, W])
    draw = random.Random(0)
    bodies = [
        body[:-1],
        body + b"\0",
        b"",
        body[:40],
        b"\xff" * len(body),
        draw.randbytes(len(body)),
        bytes(len(body)),
        body[16:] + body[:16],
    ]
    for changed in bodies:
        with pytest.raises(ZkjaxError):
            roles.verify(product_protocol, changed)


def pads_in(hidden):
    return Counter(form.leaf for form in hidden.tape if isinstance(form.leaf, Pad))


def test_every_pad_is_used_once(roles):
    """One pad for one scalar; a, b, c of one slot for one product; slot 0, which hides A(z) and B(z), for none."""
    roles.accepts(product_protocol, [U, V, W])
    for hidden in (roles.prover, roles.verifier):
        uses = pads_in(hidden)
        assert set(uses.values()) == {1}
        expected = {Pad("pad", 0), *(Pad(n, slot) for n in "ab" for slot in (1, 2)), *(Pad("c", 2 * slot) for slot in (1, 2))}
        assert set(uses) == expected


def test_scalars_travel_behind_their_pads(roles):
    _, body = roles.prove(product_protocol, [U, V, W])
    sent = ext.unstack(Reader(Transcript(b"", b""), body).elements("all", 3))
    assert sent == [U - roles.masks["a"][1], V - roles.masks["b"][1], W - roles.masks["pad"][0]]


def test_same_pads_and_challenges_give_the_same_distribution():
    """The simulator's view: for any two witnesses there are pads with which every sent scalar agrees."""
    sent = []
    for value, pad in ((Ext(1), Ext(10)), (Ext(5), Ext(14))):
        hidden = Hidden(_Recorder(), {"pad": [pad]})
        hidden.receive("x", 1, lambda: [value])  # noqa: B023
        sent.append(hidden.stream.sent)
    assert sent[0] == sent[1]


class _Recorder:
    def elements(self, label, count, values):
        self.sent = ext.unstack(values)
        return values


@given(st.lists(extension_elements, min_size=3, max_size=3), extension_elements, st.integers(-5, 5))
def test_affine_algebra(values, factor, integer):
    hidden = Hidden(_Recorder(), {"pad": [Ext(9, 9)] * 3})
    a, b, c = hidden.receive("x", 3, lambda: values)
    x, y, z = values
    for form, expected in [
        (a + b, x + y),
        (a - b, x - y),
        (-a, -x),
        (a * factor - b * integer, x * factor - y * integer),
        (factor * a + integer * c, factor * x + integer * z),
        (factor + a, factor + x),
        (factor - a, factor - x),
        (a - factor, x - factor),
        (integer - a, integer - x),
        (integer + a, integer + x),
        (hidden.public(factor) - c, factor - z),
    ]:
        assert form.value == expected


def test_functionals_reach_the_claim(roles):
    """A functional on committed tensors: nothing is sent, its weight appears in the final claim."""
    tensors = {"x": Ext(11, 2), "y": Ext(0, 5)}

    def protocol(hidden, witness):
        value = None if witness is None else witness
        form = hidden.functional(["x", "y"], value)
        r = hidden.challenge("r")
        (claimed,) = hidden.receive("claimed", 1, lambda: [value])
        hidden.require_zero("functional", (form - claimed) * r)
        hidden.require_zero("public", form - sum(tensors.values(), ZERO))

    def evaluate(terms):
        return sum((tensors[name] for name in terms), ZERO)

    roles.accepts(protocol, sum(tensors.values(), ZERO), evaluate)
    assert any(form.leaf == Functional(("x", "y")) for form in roles.verifier.tape)
    _, body = roles.prove(protocol, sum(tensors.values(), ZERO) + 1, check=False)
    with pytest.raises(VerificationError):
        roles.verify(protocol, body, evaluate)


def test_one_false_constraint_among_many(roles):
    def protocol(hidden, witness):
        for i, form in enumerate(hidden.receive("x", 8, lambda: witness)):
            hidden.require_zero(f"x{i}", form - i)

    roles.accepts(protocol, [Ext(i) for i in range(8)])
    for wrong in range(8):
        with pytest.raises(UnsatisfiedWitnessError, match=f"x{wrong}"):
            roles.prove(protocol, [Ext(i + (i == wrong)) for i in range(8)])
        _, body = roles.prove(protocol, [Ext(i + (i == wrong)) for i in range(8)], check=False)
        with pytest.raises(VerificationError):
            roles.verify(protocol, body)
    _, body = roles.prove(protocol, [Ext(i + (i == 1) - (i == 2)) for i in range(8)], check=False)
    with pytest.raises(VerificationError):  # errors that would cancel without the challenge's powers
        roles.verify(protocol, body)


def test_challenges_on_the_triples_domain_are_refused(roles):
    roles.prepare(product_protocol)
    hidden = Hidden()
    product_protocol(hidden, None)
    for bad in (ONE, Ext(root_of_unity(3))):
        hidden.challenge = lambda label: bad  # noqa: B023
        with pytest.raises(VerificationError, match="triple point"):
            hidden.finish()


def test_wrong_number_of_scalars():
    hidden = Hidden(_Recorder(), {"pad": [ZERO] * 2})
    with pytest.raises(ValueError, match="1 scalars, expected 2"):
        hidden.receive("x", 2, lambda: [ONE])


def test_a_protocol_without_scalars(roles):
    roles.accepts(lambda hidden, _: hidden.require_zero("nothing", hidden.public(0)), [])
    _, body = roles.prove(lambda hidden, _: hidden.require_zero("one", hidden.public(1)), [], check=False)
    with pytest.raises(VerificationError):
        roles.verify(lambda hidden, _: hidden.require_zero("one", hidden.public(1)), body)


def test_counts():
    assert Counts(0, 0).shapes() == {"pad": (1, 2), "a": (1, 2), "b": (1, 2), "c": (2, 2)}
    assert Counts(5, 3).shapes() == {"pad": (5, 2), "a": (4, 2), "b": (4, 2), "c": (8, 2)}
    assert Counts(5, 4).log_triples == 3  # slot 0 is extra


@pytest.mark.parametrize("log_n", [0, 1, 3])
def test_lagrange_and_extension_agree(log_n):
    n, z = 1 << log_n, Ext(12345, 678)
    values = [Ext(i * i + 1, i) for i in range(n)]
    doubled = extend_to_double(ext.stack(values))
    assert ext.unstack(doubled)[::2] == values
    at_z = ext.dot(ext.stack(values), lagrange_vector(z, n))
    assert ext.dot(doubled, lagrange_vector(z, 2 * n)) == at_z


def test_masks_are_triples():
    draw = random.Random(5)
    masks = make_masks(Counts(4, 5), lambda n: [Ext(draw.randrange(2**60), draw.randrange(2**60)) for _ in range(n)])
    assert {name: len(values) for name, values in masks.items()} == {"pad": 4, "a": 8, "b": 8, "c": 16}
    assert masks["c"][::2] == [a * b for a, b in zip(masks["a"], masks["b"], strict=True)]


def test_mask_component_vector():
    assert ext.unstack(mask_component_vector()) == [ONE, PHI]
