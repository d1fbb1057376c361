"""Whole proofs with every challenge and every random number chosen by a test, the prover's code untouched.

``prove_with`` runs ``zkjax.prove`` and keeps what passes. All randomness of a proof is expanded from secret seeds by
``field_stream`` (pads, triples, mask rows, random coefficients); there it can be read and replaced by name. What is sent is
split in two: messages of the *argument*, each a true scalar minus a pad, and the *opening* of one claim about all cells.

``simulate`` makes proofs without any witness.
"""

import dataclasses
import hashlib
import importlib
import json
import secrets
from collections import Counter
from contextlib import contextmanager
from functools import cache, partial
from types import SimpleNamespace
from unittest import mock

import drawing
import moving
import numpy as np
import optax
from field_values import dense
from harness import mlp_loss, mlp_params

import zkjax
from zkjax.algebra import extension as ext
from zkjax.algebra import field, ntt
from zkjax.algebra.extension import NON_RESIDUE, ONE, ZERO, Ext
from zkjax.algebra.field import P
from zkjax.algebra.hashing import field_stream
from zkjax.algebra.ntt import encode
from zkjax.algebra.poly import eq_vector
from zkjax.circuit import coarse
from zkjax.circuit.parts import OTHER
from zkjax.commitment import opening as opening_module
from zkjax.commitment.commit import Commitment, members
from zkjax.commitment.dataset import dataset_root, shard_count
from zkjax.commitment.geometry import MASK_ROWS, SALT, Geometry
from zkjax.commitment.keys import Chain, Key
from zkjax.commitment.merkle import Tree, leaf, pair, part_tag, siblings_bytes
from zkjax.commitment.opening import check_opening, open_claim
from zkjax.commitment.recursion import roots, round_claim
from zkjax.commitment.rows import RowRounds
from zkjax.kernels.threads import scope
from zkjax.ops import forms
from zkjax.proofs.checks import make_plan
from zkjax.protocol.argument import argument
from zkjax.protocol.forms import Forms
from zkjax.protocol.hidden import Hidden, Pad, lagrange_vector, make_masks
from zkjax.protocol.links import draw_alone
from zkjax.protocol.plan import opening_terms, row_count
from zkjax.protocol.transcript import Transcript, Writer, base_bytes
from zkjax.prover import prove as prover
from zkjax.prover.lanes import link_lanes, row_lanes
from zkjax.verifier import verify_alone, verify_one

TOY = Geometry(6, 2, 4, level_bits=1)  # rows of 64, 2 queries, one level of recursion below
_commit = importlib.import_module("zkjax.commitment.commit")  # the package's attribute of this name is the function
NO_TARGET = -1000.0  # toy proofs have no security to speak of


# ---- two witnesses of one public statement ----------------------------------------------------------------------------
def tiny_circuit():
    """A 2-3-2 net with biases, batches of 2, two steps, tables of five bits."""
    precision = zkjax.Precision(table_bits=5, activation_scale=3, activation_bits=4, gradient_scale=3, gradient_bits=4, data_bits=(4, 4))
    batch = tuple(x[:2] for x in tiny_data(0))
    return zkjax.trace(mlp_loss, optax.sgd(1 / 8), tiny_params(0), batch=batch, precision=precision, steps=2, chunk=2)


def tiny_data(seed: int):
    rng = np.random.default_rng(seed)
    return tuple(np.clip(rng.normal(size=(4, 2)), -1.9, 1.9).astype(np.float32) for _ in range(2))


def tiny_params(seed: int, dead=False, order=(0, 1, 2)):
    """Weights whose largest entries, hence public shifts, are the same for all seeds. dead: the second hidden neuron;
    order: of the hidden neurons."""
    first, second = mlp_params((2, 3, 2), seed)
    for layer in (first, second):
        layer["w"] = np.clip(layer["w"], -0.9, 0.9)
        layer["w"][0, 0] = np.copysign(np.float32(0.9), layer["w"][0, 0])
        layer["b"] = np.clip(layer["b"], -0.45, 0.45)
        layer["b"][0] = 0.45
    if dead:
        first["w"][:, 1], first["b"][1] = -0.1, -0.45
    order = list(order)
    return [{"w": first["w"][:, order], "b": first["b"][order]}, {"w": second["w"][order], "b": second["b"]}]


def outputs_of(start, seed: int, swapped=False):
    """(parameters, data) of matrices with a column for each output; largest entries, hence public shifts, are the same for all seeds."""
    parameters, data = start(seed)
    for x in parameters:
        x[0, 0] = np.copysign(15 / 4 if np.abs(x).max() > 1 else 15 / 16, x[0, 0])  # frozen ones are larger than others
    return [x[:, ::-1].copy() if swapped else x for x in parameters], data


@dataclasses.dataclass(frozen=True)
class Case:
    """A tiny circuit, and pairs of witnesses of one public statement on two of its steps.

    starts: (parameters, data) of two witnesses. alike: of two with the same outputs ``reveal``. before: steps of the chain before.
    """

    circuit: zkjax.Circuit
    starts: tuple
    alike: tuple
    reveal: tuple[str, ...]
    shard_size: int
    before: int = 0
    width: int = 0  # of random forms, a few of short blocks: see ``formed``

    @staticmethod
    @cache
    def of(name: str) -> "Case":
        """plain: exact weights alone. forms: their ranges are shown by random forms.
        draws: with masks and random words. given, momentum: with states of all kinds and a frozen
        parameter, at the chain's beginning, where the circuit gives some of them, or later and over a period's end."""
        if name == "forms":
            return dataclasses.replace(Case.of("plain"), width=12)
        if name == "plain":
            starts = tuple((tiny_params(i, dead=bool(i)), tiny_data(i)) for i in range(2))
            pair = tuple((tiny_params(0, order=order), tiny_data(0)) for order in ((0, 1, 2), (0, 2, 1)))
            return Case(tiny_circuit(), starts, pair, ("loss",), 2)
        if name == "draws":  # what is random in them is public: an output of nothing else is the same for all witnesses
            starts = tuple(outputs_of(drawing.start, i) for i in range(2))
            return Case(drawing.drawing(), starts, starts, ("noise",), 3)
        start = partial(moving.start, frozen=True)
        starts = tuple(outputs_of(start, i) for i in range(2))
        pair = tuple(outputs_of(start, 0, swapped) for swapped in (False, True))
        return Case(moving.moving(frozen=True), starts, pair, ("loss", "size"), 6, 2 * (name == "momentum"))

    def run(self, start):
        """A run of two steps, a later one of its chain if there are steps before."""
        parameters, data = start
        run = zkjax.train(self.circuit, parameters, data, steps=self.before or 2, seed=1, shard_size=self.shard_size)
        if self.width:  # the same for all witnesses
            widths = (-self.width,) * len(run.widths)
            bound = coarse.shown(self.circuit, run.coarse_shifts, widths)
            run = dataclasses.replace(run, widths=widths, initial_bound=bound, final_bound=self.circuit.bounds(bound, 2).final)
        return zkjax.train(self.circuit, run, None, steps=2) if self.before else run


def formed():
    """Four forms of blocks of a toy's row."""
    return mock.patch.multiple(forms, BLOCK=TOY.row, COUNT=4)


def drawn_for(plan, transcript) -> Forms | None:
    """The random forms of a plan that has some."""
    return Forms.draw(transcript) if plan.formed else None


def renewed(run, name: str, geometry=TOY):
    """The same integers with new commitments, none of them opened before."""
    keys = [Key(hashlib.sha256(f"{name} {i}".encode()).digest(), f"{name} {i}") for i in range(3)]
    return dataclasses.replace(run, keys=tuple(keys[:2]), chain=Chain(keys[2], geometry=geometry))


# ---- programmed challenges, recorded messages --------------------------------------------------------------------------
class Programmed(Transcript):
    """Challenges fixed in advance: each label has a sequence of its own, whatever is absorbed."""

    def __init__(self, seed):
        self._seed, self._drawn, self._state = seed, Counter(), b""

    def absorb(self, label, data):
        pass

    def _draw(self, label, size):
        self._drawn[label] += 1
        return hashlib.shake_256(f"{self._seed} {label} {self._drawn[label]}".encode()).digest(size)


class Recorder(Writer):
    """A writer that keeps (label, values) of every message: uint64, c0 and c1 alternating, or bytes."""

    def __init__(self, transcript):
        super().__init__(transcript)
        self.messages: list = []

    def elements(self, label, count, values=None):
        values = super().elements(label, count, values)
        self.messages.append((label, flat(values)))
        return values

    def base(self, label, count, values=None):
        values = super().base(label, count, values)
        self.messages.append((label, values.copy()))
        return values

    def raw(self, label, size, data=None):
        self.messages.append((label, data))
        return super().raw(label, size, data)


class Watched(Hidden):
    """Notes (label, pad, form) of every hidden scalar, and the triples' point."""

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.received: list = []
        self.point = None

    def _masked(self, label, pads, values):
        forms = super()._masked(label, pads, values)
        self.received += [(label, pad, form) for pad, form in zip(pads, forms, strict=True)]
        return forms

    def challenge(self, label):
        drawn = super().challenge(label)
        if label == "triple point":
            self.point = drawn
        return drawn


def flat(elements) -> np.ndarray:
    """A K array as F elements, c0 and c1 alternating."""
    return np.stack([np.asarray(c) for c in elements], axis=1).reshape(-1)


def view(messages) -> np.ndarray:
    """All field elements sent in the clear."""
    return np.concatenate([values for _, values in messages if not isinstance(values, bytes)])


@dataclasses.dataclass
class Trial:
    """One call of ``zkjax.prove`` and what passed.

    randomness: (role, label) to the uniform elements of F that were drawn under this name; roles: "initial", "final",
    ("shard", n), "trace", "masks", and of fresh commitments (kind, number, seed). argument, opening: messages before and after the
    argument's end. masks: pads and triples. hidden: the prover's. claim: arguments of ``open_claim``, and the commitments' roles.
    """

    proof: zkjax.Proof
    randomness: dict
    argument: list
    opening: list
    masks: dict
    hidden: Watched
    claim: SimpleNamespace


def prove_with(run, challenges=None, chosen=None, name=None, reveal=()) -> Trial:
    """Prove with challenges from the programmed sequences of this name (None: from the transcript).

    chosen: replaces randomness by name. name: the other fresh seeds follow from it (None: from the operating system).
    """
    kept, seen, chosen = {}, SimpleNamespace(), chosen or {}
    roles = {run.keys[0].seed: "initial", run.keys[1].seed: "final"}
    for n in range(-(-run.data.samples // run.shard_size)):
        roles[run.chain.secret(f"shard {n}")] = "shard", n
    roles[run.chain.secret("frozen 0")] = "frozen"
    secret = iter(("trace", "masks"))

    def token_bytes(count):
        role = next(secret)
        seed = secrets.token_bytes(count) if name is None else hashlib.sha256(f"{name} {role}".encode()).digest()
        roles[seed] = role
        return seed

    def stream(seed, label, count, *compress):
        at = roles[seed], label
        assert at not in kept or at[0] not in ("trace", "masks"), f"{at} is expanded twice"
        values = chosen[at] if at in chosen else field_stream(seed, label, count, *compress)
        assert len(values) == count
        kept[at] = values
        return values

    def tree_seed(seed, geometry, kind, number, part):
        found = own_tree_seed(seed, geometry, kind, number, part)
        role = roles.get(seed, (kind, number, found))
        roles[found] = (role, OTHER) if part.name == OTHER else role
        return found

    def masks_of(*arguments):
        seen.masks = make_masks(*arguments)
        return seen.masks

    def hidden_of(*arguments, **options):
        seen.hidden = Watched(*arguments, **options)
        return seen.hidden

    def writer_of(transcript):
        seen.stream = Recorder(transcript if challenges is None else Programmed(challenges))
        return seen.stream

    def opening_of(stream, geometry, committed, lanes, value):
        parts = [x for c in committed for x in c.members]
        seen.claim = claim_of(geometry, committed, lanes, value, [roles.get(x.seed, (x.tag, x.seed)) for x in parts])
        seen.start = len(stream.messages)
        open_claim(stream, geometry, committed, lanes, value)

    make_masks, own_tree_seed = prover.make_masks, _commit.tree_seed
    patches = {
        "secrets": SimpleNamespace(token_bytes=token_bytes),
        "field_stream": stream,
        "make_masks": masks_of,
        "Hidden": hidden_of,
        "Writer": writer_of,
        "open_claim": opening_of,
    }
    with mock.patch.multiple(prover, **patches), mock.patch.multiple(_commit, field_stream=stream, tree_seed=tree_seed):
        proof = zkjax.prove(run.circuit, run, progress=None, minimum_bits=NO_TARGET, reveal=reveal, verify=False)
    messages = seen.stream.messages
    return Trial(proof, kept, messages[: seen.start], messages[seen.start :], seen.masks, seen.hidden, seen.claim)


def claim_of(geometry, committed, lanes, value, roles) -> SimpleNamespace:
    """What an opening opens, its weights as dense matrices too, and the roles of its parts."""
    parts = [x for c in committed for x in c.members]
    weights = [dense(x, part.part.rows, geometry.row) for x, part in zip(lanes, parts, strict=True)]
    return SimpleNamespace(geometry=geometry, committed=committed, parts=parts, lanes=lanes, weights=weights, value=value, roles=roles)


def verify_with(circuit, proof, challenges=None) -> zkjax.Statement:
    """Verify a proof of any security, with programmed challenges if a name is given. circuit: None for links alone."""
    verify = partial(verify_one, circuit) if circuit else verify_alone
    if challenges is None:
        verify(proof, NO_TARGET)
    else:
        with mock.patch("zkjax.verifier.start_transcript", lambda statement: Programmed(challenges)):
            verify(proof, NO_TARGET)
    return proof.statement


def public_claim(plan, statement, stream) -> SimpleNamespace:
    """The claim that remains for the opening, from public values and the argument's messages alone."""
    drawn = drawn_for(plan, stream.transcript)
    stream.raw("trace root", 32)
    hidden = Watched(stream)
    argument(hidden, plan, statement.losses, drawn=drawn)
    weights, terms, value = hidden.finish()
    by_key, row = opening_terms(plan, weights, terms), statement.geometry.row
    layouts = [*plan.members, plan.trace_layout(hidden.counts())]
    rows = [row_count(layout, row) for layout in layouts]
    matrices = [dense(row_lanes(layout, by_key, count, row), count, row) for layout, count in zip(layouts, rows, strict=True)]
    return SimpleNamespace(hidden=hidden, rows=rows, weights=matrices, value=value)


def argue(liar, kind=Watched, transcript=None, seed=0) -> tuple[Watched, Watched, list]:
    """The argument alone, by a ``harness.Liar``: (counter's hidden, prover's hidden, messages)."""
    transcript = transcript or Programmed("challenges")
    counter, drawn = kind(), drawn_for(liar.plan, transcript)
    argument(counter, liar.plan, liar.revealed, drawn=drawn)
    counter.finish()
    rng = np.random.default_rng(seed)
    masks = make_masks(counter.counts(), lambda count: ext.unstack(uniform(rng, count)))
    stream = Recorder(transcript)
    with scope():
        if drawn is not None:
            liar.witness.show_forms(drawn)
        hidden = kind(stream, masks)
        argument(hidden, liar.plan, liar.revealed, liar.witness, drawn)
        hidden.finish()
    return counter, hidden, stream.messages


# ---- exact linear algebra over F ------------------------------------------------------------------------------------------
def multiply(matrix: np.ndarray, vector: np.ndarray) -> np.ndarray:
    return field.sum(field.mul(matrix, vector[None]), axis=1)


def eliminate(matrix: np.ndarray, columns: int) -> tuple[list, np.ndarray]:
    """Gauss-Jordan on the first ``columns`` columns. Returns (row, column) of the pivots, which are 1, and the matrix."""
    matrix, pivots = matrix.copy(), []
    for column in range(columns):
        done = len(pivots)
        rows = np.flatnonzero(matrix[done:, column])
        if not len(rows):
            continue
        pivot = done + rows[0]
        matrix[[done, pivot]] = matrix[[pivot, done]]
        scale = np.array([pow(int(matrix[done, column]), -1, P)], dtype=np.uint64)
        support = np.flatnonzero(matrix[done])
        matrix[done, support] = field.mul(matrix[done, support], scale)
        others = np.flatnonzero(matrix[:, column])
        others = others[others != done]
        if len(others):
            cells = np.ix_(others, support)
            product = field.mul(matrix[others, column][:, None], matrix[done, support][None])
            matrix[cells] = field.sub(matrix[cells], product)
        pivots.append((done, column))
    return pivots, matrix


def rank(matrix: np.ndarray) -> int:
    return len(eliminate(matrix, matrix.shape[1])[0])


def solve(matrix: np.ndarray, target: np.ndarray) -> np.ndarray | None:
    """One x with matrix x = target, or None."""
    pivots, reduced = eliminate(np.concatenate([matrix, target[:, None]], axis=1), matrix.shape[1])
    if reduced[len(pivots) :, -1].any():
        return None
    x = np.zeros(matrix.shape[1], dtype=np.uint64)
    for row, column in pivots:
        x[column] = reduced[row, -1]
    return x


# ---- the argument as a linear map -----------------------------------------------------------------------------------------
def times(scalar: Ext) -> np.ndarray:
    """Multiplication by an element of K as a 2 x 2 matrix over F."""
    return np.array([[scalar.c0, NON_RESIDUE * scalar.c1 % P], [scalar.c1, scalar.c0]], dtype=np.uint64)


@dataclasses.dataclass
class Masking:
    """How pads hide the argument's messages, as the verifier's forms have it: view = f(witness) - matrix * randomness.

    columns: of each committed element of K, Pad to the first of its two columns: pads, a, b, in the order in which they
    are drawn. c is not among them: a and b fix it.
    """

    matrix: np.ndarray
    columns: dict

    @staticmethod
    def of(hidden: Watched) -> "Masking":
        counts = hidden.counts()
        n = 1 << counts.log_triples
        pads = [Pad(name, i) for name, size in (("a", n), ("b", n), ("pad", counts.pads)) for i in range(size)]
        columns = {pad: 2 * j for j, pad in enumerate(pads)}
        matrix = np.zeros((2 * len(hidden.received) + 4, 2 * len(pads)), dtype=np.uint64)
        for row, (_, pad, _) in enumerate(hidden.received):
            at = columns[pad]
            matrix[2 * row : 2 * row + 2, at : at + 2] = times(ONE)
        for row, name in ((len(matrix) - 4, "a"), (len(matrix) - 2, "b")):
            for i, weight in enumerate(ext.unstack(lagrange_vector(hidden.point, n))):
                at = columns[Pad(name, i)]
                matrix[row : row + 2, at : at + 2] = times(-weight)  # A(z) and B(z) are sent as they are
        return Masking(matrix, columns)

    def vector(self, masks: dict) -> np.ndarray:
        """Pads and triples in the order of the columns."""
        return np.concatenate([flat(ext.stack(masks[name][: sum(p.vector == name for p in self.columns)])) for name in ("a", "b", "pad")])

    def randomness(self, vector: np.ndarray) -> dict:
        """The same as named randomness of ``prove_with``."""
        n = 2 * sum(pad.vector == "a" for pad in self.columns)
        parts = vector[:n], vector[n : 2 * n], vector[2 * n :]
        return {("masks", f"masks {i}"): part for i, part in enumerate(parts, start=1)}

    def unmasked(self, sent: np.ndarray, masks: dict) -> np.ndarray:
        """f(witness): a function of the witness and the challenges alone."""
        return field.add(sent, multiply(self.matrix, self.vector(masks)))


# ---- the opening as a linear map ------------------------------------------------------------------------------------------
@contextmanager
def ending_with_h():
    """End openings with the folded vector h itself: the rest is a function of h, and its first commitment has no salt."""

    def shown(stream, plan, number, vector=None):
        stream.messages.append(("h", flat(vector)))

    with mock.patch.multiple(opening_module, announce=shown, reduce_levels=lambda *_, **__: None):
        yield


class Rounds:
    """Row rounds of an opening with fixed challenges, worked out once and told again and again."""

    def __init__(self, matrices):
        self._rounds, self._messages, self._folded, self._told = RowRounds(matrices), [], 0, 0

    def again(self) -> "Rounds":
        self._told = 0
        return self

    def message(self):
        if self._told == len(self._messages):
            self._messages.append(self._rounds.message())
        return self._messages[self._told]

    def fold(self, r):
        self._told += 1
        if self._told > self._folded:
            self._rounds.fold(r)
            self._folded = self._told

    def vectors(self):
        return self._rounds.vectors()


_encoded = cache(lambda raw, shape, log_n: encode(np.frombuffer(raw, dtype=np.uint64).reshape(shape), log_n))


def encoded(rows, log_n: int) -> np.ndarray:
    """Codewords, of which most are of zeros here."""
    return _encoded(rows.tobytes(), rows.shape, log_n)


class Opening:
    """The prover's side of one opening with fixed challenges: view = cells' part + matrix * randomness.

    Probes of randomness have cells that are all zero: what the prover makes of those, row rounds and codewords, is worked out once.

    columns: name of randomness, as in ``Trial``, to its columns of the matrix.
    """

    def __init__(self, claim, challenges):
        self._claim, self._challenges, self._idle = claim, challenges, None
        roles = claim.roles
        self._places = {(role, "padding"): (i, "padding", None) for i, role in enumerate(roles)}
        self._places |= {("trace", name): (len(roles) - 1, "mask", j) for j, name in enumerate(("mask g", "mask s", "mask s'"))}
        probes, self.columns = [], {}
        for name, (which, attribute, part) in self._places.items():
            array = getattr(claim.parts[which], attribute)
            size = (array if part is None else array[part]).size
            self.columns[name] = slice(len(probes), len(probes) + size)
            for at in range(size):
                unit = np.zeros(size, dtype=np.uint64)
                unit[at] = 1
                probes.append(self.view(None, {name: unit}))
        self.matrix = np.stack(probes, axis=1)

    def view(self, cells, randomness: dict) -> np.ndarray:
        """What ``open_claim`` sends for these cells (rows of each part; None: zero) and randomness (absent: zero)."""
        arrays = {name: np.zeros(0) for name in self._places} | randomness
        parts = iter(self._changed(i, x, cells, arrays) for i, x in enumerate(self._claim.parts))
        shown = [[next(parts) if x.part in c.opens.parts else x for x in c.parts] for c in self._claim.committed]
        committed = [dataclasses.replace(c, parts=tuple(x)) for c, x in zip(self._claim.committed, shown, strict=True)]
        stream = Recorder(Programmed(self._challenges))
        with ending_with_h(), mock.patch.object(opening_module, "RowRounds", self._rounds), mock.patch.object(ntt, "encode", encoded):
            open_claim(stream, self._claim.geometry, committed, self._claim.lanes, self._claim.value)
        return view(stream.messages)

    def _rounds(self, matrices):
        if any(rows.any() for _, rows, _ in matrices):
            return RowRounds(matrices)
        self._idle = self._idle or Rounds(matrices)
        return self._idle.again()

    def _changed(self, i: int, x, cells, arrays):
        changes = {"rows": np.zeros_like(x.rows) if cells is None else cells[i], "padding": np.zeros_like(x.padding), "codewords": None}
        if x.mask:
            changes["mask"] = [np.zeros_like(m) for m in x.mask]
        for name, (which, attribute, part) in self._places.items():
            if which == i and arrays[name].size:
                if part is None:
                    changes[attribute] = arrays[name].reshape(x.padding.shape)
                else:
                    changes["mask"][part] = arrays[name].reshape(x.mask[part].shape)
        return dataclasses.replace(x, **changes)

    def vector(self, randomness: dict) -> np.ndarray:
        return np.concatenate([randomness[name] for name in self.columns])

    def randomness(self, vector: np.ndarray) -> dict:
        return {name: vector[columns] for name, columns in self.columns.items()}


# ---- proofs without a witness ---------------------------------------------------------------------------------------------
class Inventor:
    """A verifier's stream that reads uniform scalars from nowhere."""

    proving = False

    def __init__(self, transcript, rng):
        self.transcript, self._rng, self.messages = transcript, rng, []

    def elements(self, label, count, values=None):
        values = uniform(self._rng, count)
        self.messages.append((label, flat(values)))
        return values

    def raw(self, label, size, data=None):
        return bytes(size)


def uniform(rng, count: int):
    """A K array of uniform elements."""
    return tuple(rng.integers(0, P, count, dtype=np.uint64) for _ in range(2))


def simulate(circuit, statement, challenges, rng) -> zkjax.Proof:
    """A proof of the statement with commitments of the simulator's own, from the challenges instead of a witness."""
    plan = make_plan(circuit, statement)
    stream = Inventor(Programmed(challenges), rng)
    claim = public_claim(plan, statement, stream)
    opened = [*statement.opened(), Commitment.of("trace", 0, claim.rows[-1], 1, b"", True).opened()]
    writer = Writer(Programmed(challenges))
    found = simulate_opening(writer, statement.geometry, opened, claim.weights, claim.value, rng)
    made = [dataclasses.replace(x.commitment, root=root) for x, root in zip(opened[:-1], found, strict=False)]
    shards = [c for c in made if c.kind == "shard"]
    digests = [rng.bytes(32) for _ in range(shard_count(statement.samples, statement.shard_size))]
    for shard in shards:
        digests[shard.number] = shard.digest(statement.geometry)
    root, siblings = dataset_root(digests, [c.number for c in shards], statement.samples, statement.shard_size)
    fields = {"dataset": root, "dataset_after": root, "shards": tuple(shards), "siblings": tuple(siblings)}
    frozen = statement.frozen and statement.frozen._replace(commitment=next(c for c in made if c.kind == "frozen"))
    statement = dataclasses.replace(statement, initial=made[0], final=made[1], frozen=frozen, **fields)
    return zkjax.Proof(statement, found[-1] + b"".join(base_bytes(v) for _, v in stream.messages) + bytes(writer))


def simulate_link(statement, challenges, rng) -> zkjax.Proof:
    """The same of a proof of links alone of weights."""
    trace = Commitment.of("trace", 0, 1, 1, b"", True)
    opened, linked = [*statement.opened(), trace.opened()], draw_alone(Programmed(challenges), statement.in_stack())
    sizes = [part.rows for part in members(opened)]
    weights = [dense(link_lanes(linked, place), rows, statement.geometry.row) for place, rows in enumerate(sizes)]
    writer = Writer(Programmed(challenges))
    roots = simulate_opening(writer, statement.geometry, opened, weights, ZERO, rng)
    made = [dataclasses.replace(x.commitment, root=root) for x, root in zip(opened[:-1], roots, strict=False)]
    half = len(statement.replaced)
    return zkjax.Proof(dataclasses.replace(statement, replaced=tuple(made[:half]), fresh=tuple(made[half:])), roots[-1] + bytes(writer))


def simulate_opening(writer, geometry, opened, weights, value: Ext, rng) -> list[bytes]:
    """An opening from challenges, weights and value alone. Returns the trees' roots.

    Uniform: round messages, h, hp, s*, r*, the opened cells of F's rows and of S. The verifier's equations then fix mu,
    and G and S' at the opened points. Leaves that are not opened are random digests, as salted ones look.
    """
    offsets, log_rows, padding = check_opening(geometry, opened)
    k, q, plan, challenge = geometry.row, geometry.queries, geometry.plan(), writer.transcript.challenge
    known, pads, row_point = value, [], []
    for _ in range(log_rows):
        constant, leading = ext.unstack(writer.elements("row round", 2, uniform(rng, 2)))
        r = challenge("row fold")
        known = round_claim(known, constant, leading, r)
        pads = [pad * r for pad in pads] + [ONE - r - r, r * r - r]
        row_point.insert(0, r)
    eps, eq = challenge("eps"), eq_vector(row_point)
    h, folded_padding, folded_pads = uniform(rng, k), uniform(rng, padding), uniform(rng, 2 * log_rows + q)
    folded_weights = ext.stack([ZERO] * k)
    for x, offset, w in zip(members(opened), offsets, weights, strict=True):
        part = tuple(c[offset : offset + x.rows, None] for c in eq)
        folded_weights = ext.add(folded_weights, ext.sum(ext.mul(part, w), axis=0))
    inner = ext.dot(tuple(c[: 2 * log_rows] for c in folded_pads), ext.stack(pads))
    writer.elements("mu", 1, ext.stack([ext.dot(h, folded_weights) - eps * known - inner]))
    writer.elements("folded padding", padding, folded_padding)
    writer.elements("folded pads", 2 * log_rows + q, folded_pads)
    announced = opening_module.announce(writer, plan, 0, h)

    indices = sorted(set(writer.transcript.indices("queries", q, geometry.log_code)))
    heights = [part.rows + MASK_ROWS * x.commitment.masked for x in opened for part in x.parts]
    columns = [rng.integers(0, P, (height, len(indices)), dtype=np.uint64) for height in heights]
    trace = columns[-1]
    for j, x in enumerate(roots(geometry.log_code, indices).tolist()):
        folded = ZERO
        for part, offset, column in zip(members(opened), offsets, columns, strict=True):
            for i in range(part.rows):
                folded = folded + Ext(eq[0][offset + i], eq[1][offset + i]) * int(column[i, j])
        s = Ext(*trace[-4:-2, j])
        g = horner(h, x) + horner(folded_padding, x) * pow(x, k, P) - eps * folded
        s_dash = horner(folded_pads, x) - eps * s
        trace[-MASK_ROWS:, j] = [g.c0, g.c1, s.c0, s.c1, s_dash.c0, s_dash.c1]
    found, following = [], iter(columns)
    for c, parts in opened:
        digests = {part: [rng.bytes(32) for _ in indices] for part in c.parts}
        for part in parts:
            salts, column = [rng.bytes(SALT) for _ in indices], next(following)
            tag = part_tag(c.kind, c.number, part.name)
            digests[part] = [leaf(tag, i, salts[j], column[:, j]) for j, i in enumerate(indices)]
            writer.raw("salts", SALT * len(indices), b"".join(salts))
            writer.base("columns", column.size, column.T)
        for part in (x for x in c.parts if x not in parts):
            writer.raw("other leaves", 32 * len(indices), b"".join(digests[part]))
        leaves = np.frombuffer(rng.bytes(32 * geometry.code), dtype="<u4").reshape(-1, 8).copy()
        for i, own in zip(indices, map(pair, *digests.values()) if len(c.parts) > 1 else digests[c.parts[0]], strict=True):
            leaves[i] = np.frombuffer(own, dtype="<u4")
        tree = Tree(np.ascontiguousarray(leaves.T))
        writer.raw("siblings", siblings_bytes(indices, geometry.log_code), tree.siblings(indices))
        found.append(tree.root)
    claims = geometry.log_code, indices, None
    opening_module.reduce_levels(writer, plan, announced, claims, ZERO, weights=folded_weights, evaluate_weights=None)
    return found


def horner(coefficients, x: int) -> Ext:
    """The value at x of a polynomial over K."""
    value = ZERO
    for c in reversed(ext.unstack(coefficients)):
        value = value * x + c
    return value


# ---- what must never repeat -------------------------------------------------------------------------------------------------
def fresh_values(trial: Trial) -> list[int]:
    """Everything that must differ between any two proofs: the argument's messages, and all randomness of the trace's
    commitment, of the masks, and all salts of the trace."""
    drawn = [values for (role, _), values in trial.randomness.items() if role in ("trace", "masks")]
    salts = trial.claim.parts[-1].salts(range(trial.claim.geometry.code))
    return np.concatenate([view(trial.argument), *drawn, np.frombuffer(salts, dtype="<u8")]).tolist()


def print_fresh_values(directory: str) -> None:
    """Prove the run that is saved here; for a process of its own."""
    print(json.dumps(fresh_values(prove_with(zkjax.Run.load(directory)))))
