"""The baseline without aggregation: one proof for each step, in it one lookup tree and one opening for each layer.

    python experiments/bench.py --config headline --sequential --json FILE
    python experiments/sequential.py PROOF ... --circuit FILE        verify

The circuit, field, code, hash and every gadget are zkjax's; what is missing is what zkjax stacks. A *layer* is a ReLU's mask with
the rescales that it gates (one forward, one backward), or a rescale without a mask, and the parameters and arrays of the batch
that it is the first to read. Each step commits every layer's advice, every layer's weights after the step (those before it are
the last step's) and the batch. Each layer then has an argument of its own (a lookup tree with multiplicities, contractions, the
update of its weights, gates) under pads of its own, and an opening of what the argument ends at: its advice and weights, and
those of its neighbours where products reach them.

This is sound, and zero knowledge like zkjax itself: each commitment has random coefficients for every opening that it takes part
in, each layer's mask tree is opened once. The errors of all layers add up, so each gets log2(layers) bits more. To the baseline's
advantage, the batch is committed to directly: there is no tree over the dataset. Losses stay hidden.
"""

import argparse
import copy
import json
import secrets
import struct
import sys
import time
from collections import Counter
from dataclasses import dataclass, replace
from functools import cached_property
from math import ceil, log2
from pathlib import Path

import numpy as np

from zkjax.algebra import extension as ext
from zkjax.algebra import field
from zkjax.algebra.extension import ONE
from zkjax.algebra.layout import Layout
from zkjax.algebra.poly import num_bits
from zkjax.circuit.circuit import Circuit
from zkjax.commitment import Commitment, Geometry, Mask, open_claim, stack, verify_claim
from zkjax.errors import ConfigurationError, FormatError, VerificationError, ZkjaxError
from zkjax.ops.leaves import InputArray, Param
from zkjax.ops.ranges import signed_bound
from zkjax.proofs.soundness import TARGET, Security, security
from zkjax.protocol.argument import descend
from zkjax.protocol.claims import weight_evaluation
from zkjax.protocol.hidden import Hidden, make_masks
from zkjax.protocol.membership import Sites, membership
from zkjax.protocol.plan import Batches, Plan, opening_terms, row_count
from zkjax.protocol.schedule import batch_indices
from zkjax.protocol.states import binding
from zkjax.protocol.transcript import Reader, Transcript, Writer
from zkjax.prover.commitments import rows_of
from zkjax.prover.lanes import row_lanes

LEVEL_BITS = 104  # of each query phase, as zkjax's default; log2 of the number of layers comes on top
MAGIC = b"zkjaxseq"


# ---- layers -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Layer:
    """What one argument is about: nodes of the circuit, and indices of parameters and inputs."""

    rescales: tuple[int, ...]
    signs: tuple[int, ...]
    parameters: tuple[int, ...]
    inputs: tuple[int, ...]


def layers(circuit: Circuit) -> list[Layer]:
    """The circuit's layers, forward order. Every rescale, sign, parameter and input belongs to exactly one."""
    nodes = circuit.nodes
    first = {i: i for i in circuit.of("rescale")}  # a rescale to the first one of its layer
    for gate in circuit.of("gate"):
        mask, value = nodes[gate].inputs
        first[value] = nodes[mask].inputs[0]
    heads = sorted(set(first.values()))
    owner: dict = {}
    for head in heads:
        for node in _reads(circuit, head):
            owner.setdefault((nodes[node].op, nodes[node].operation.index), head)
    found = []
    for head in heads:
        own = [[k for k in range(count) if owner.get((op, k), heads[-1]) == head] for op, count in _counts(circuit)]
        rescales = tuple(i for i in sorted(first) if first[i] == head)
        signs = tuple(i for i in circuit.of("sign") if nodes[i].inputs[0] in rescales)
        found.append(Layer(rescales, signs, *map(tuple, own)))
    return found


def _counts(circuit: Circuit):
    return ("param", len(circuit.parameters)), ("input", len(circuit.inputs))


def _reads(circuit: Circuit, rescale: int) -> list[int]:
    """Parameters and inputs below a rescale, above the next rescales."""
    seen, waiting = set(), [circuit.nodes[rescale].inputs[0]]
    while waiting:
        i = waiting.pop()
        if i not in seen:
            seen.add(i)
            if circuit.nodes[i].operation.ends not in ("quotient", "sign", "gate"):
                waiting.extend(circuit.nodes[i].inputs)
    return [i for i in seen if isinstance(circuit.nodes[i].operation, Param | InputArray)]


@dataclass(frozen=True, eq=False)
class LayerPlan(Plan):
    """A layer's part of a plan of one step."""

    layer: Layer

    def start(self, p: int) -> tuple[str, int]:
        """Other layers' parameters are not frozen: they are updated by their own arguments."""
        return "initial", p

    @cached_property
    def sites(self) -> Sites:
        """The layer's lookups."""
        of = {"input": self.layer.inputs, "initial range": self.layer.parameters}
        of |= dict.fromkeys(("quotient", "remainder"), self.layer.rescales)
        return Sites.of([x for x in Plan.sites.func(self).lookups if x.key[1] in of.get(x.key[0], ())])

    @property
    def ranges(self) -> dict:
        """Shapes of the limbs of its first parameters."""
        return {key: shape for key, shape in self.advice.items() if key[0] == "initial range" and key[1] in self.layer.parameters}


def layer_plan(circuit: Circuit, layer: Layer, first_step: int, shifts, widths, batches: Batches) -> LayerPlan:
    """The plan that one layer's argument runs on. Within one step no other layer's update matters to it."""
    parameters = tuple(x if p in layer.parameters else replace(x, updates=()) for p, x in enumerate(circuit.parameters))
    return LayerPlan(replace(circuit, parameters=parameters), first_step, 1, tuple(shifts), tuple(widths), batches, layer)


def layer_argument(hidden: Hidden, plan: LayerPlan, prover=None) -> None:
    """Reduce "this layer's committed tensors are honest" to constraints in ``hidden``: ``argument.argument`` for one layer."""
    claims = [membership(hidden, plan.circuit, plan.sites, prover)]

    if plan.layer.parameters:
        whole = binding(hidden, plan)
        own = tuple(t for t in whole.terms if t.key[0] not in ("initial", "final") or t.key[1] in plan.layer.parameters)
        claims.append(replace(whole, terms=own))
    descend(hidden, plan, claims, prover)


# ---- one step ---------------------------------------------------------------------------------------------------


class Step:
    """What both sides derive for one step: plans, commitments by name with their layouts and budgets, who opens what.

    Names: ("advice", layer), ("initial", layer), ("final", layer), ("data", input).
    """

    def __init__(self, circuit: Circuit, first_step: int, shifts, widths, batches: Batches):
        if circuit.frozen:
            raise ConfigurationError("the baseline has no commitment to frozen parameters; use a net in which all are trained")
        if len(batches.shards) != 1:
            raise ConfigurationError("a step of the baseline reads one shard; use shards of one batch")
        self.first_step, self.shard = first_step, batches.shards[0]
        self.plans = [layer_plan(circuit, x, first_step, shifts, widths, batches) for x in layers(circuit)]
        shapes: dict = {}
        advice = {key: (1, *shape) for found in circuit.advice.values() for key, shape in found.items()}
        for n, plan in enumerate(self.plans):
            own = {*plan.layer.rescales, *plan.layer.signs}
            shapes["advice", n] = {key: shape for key, shape in advice.items() if key[1] in own} | plan.ranges
            for role in ("initial", "final") if plan.layer.parameters else ():
                shapes[role, n] = {(role, p): circuit.parameters[p].shape for p in plan.layer.parameters}
        for k, x in enumerate(circuit.inputs):
            shapes["data", k] = {("data", self.shard, k): (batches.size(self.shard), *x.shape[1:])}
        self.layouts = {name: Layout(s) for name, s in shapes.items()}
        holder = {key: name for name, s in shapes.items() for key in s}
        self.opened, self.counts = [], []
        for plan in self.plans:
            hidden = Hidden()
            layer_argument(hidden, plan)
            self.counts.append(hidden.counts())
            weights, terms, _ = hidden.finish()
            keys = {holder[key] for key in opening_terms(plan, weights, terms) if key in holder}
            self.opened.append([name for name in self.layouts if name in keys])
        uses = Counter(name for names in self.opened for name in names)
        for n in range(len(self.plans)):  # the same commitment is this step's end and the next one's beginning
            if ("final", n) in uses:
                uses["final", n] = uses["initial", n] = uses["final", n] + uses["initial", n]
        self.budgets = dict(uses)

    def mask_layout(self, n: int) -> Layout:
        """A layer's mask tree: multiplicities, pads, triples."""
        multiplicities = {table.key: table.shape for table in self.plans[n].sites.tables}
        return Layout(multiplicities | {("mask", name): shape for name, shape in self.counts[n].shapes().items()})

    def geometry(self) -> Geometry:
        """One for all commitments, the cheapest for the layer that opens most."""
        cells = [[self.layouts[name].size for name in names] + [self.mask_layout(n).size] for n, names in enumerate(self.opened)]
        bits = LEVEL_BITS + ceil(log2(len(self.plans)))
        return Geometry.cheapest(max(cells, key=sum), max_budget=max(self.budgets.values()), level_bits=bits)

    def named(self, name) -> tuple[str, int]:
        """Kind and number of a commitment: what is in each of its leaves."""
        role, n = name
        if role in ("initial", "final"):
            return "weights", (self.first_step + (role == "final")) * len(self.plans) + n
        if role == "advice":  # the mask trees are number 0, 1, ... of the same kind
            return "trace", len(self.plans) + n
        return "shard", self.shard * len(self.plans[0].circuit.inputs) + n


def start_transcript(geometry: Geometry, statement: bytes, layer: int) -> Transcript:
    """Each layer's argument starts from the whole step's statement."""
    return Transcript(geometry.digest(), statement + b" layer %d" % layer)


@dataclass(frozen=True)
class StepProof:
    """One step's statement (canonical JSON), each layer's messages; the ledger of all layers together, where it is known."""

    raw: bytes
    bodies: tuple[bytes, ...]
    security: Security | None = None

    @cached_property
    def statement(self) -> dict:
        return json.loads(self.raw)

    @property
    def geometry(self) -> Geometry:
        return Geometry.from_json(self.statement["geometry"])

    def step(self, circuit: Circuit) -> Step:
        """What the statement says was proven, on this circuit."""
        s = self.statement
        indices = batch_indices(s["seed"], s["samples"], s["shard_size"], circuit.batch_size, s["first_step"], 1)
        batches = Batches(indices, s["shard_size"], s["samples"])
        return Step(circuit, s["first_step"], s["shifts"], s["widths"], batches)

    @property
    def nbytes(self) -> int:
        return len(bytes(self))

    def __bytes__(self) -> bytes:
        return MAGIC + b"".join(struct.pack("<I", len(part)) + part for part in (self.raw, *self.bodies))

    def save(self, path) -> None:
        Path(path).write_bytes(bytes(self))

    @staticmethod
    def load(path) -> "StepProof":
        raw, parts = Path(path).read_bytes(), []
        if not raw.startswith(MAGIC):
            raise FormatError(f"{path}: not a proof of the baseline")
        at = len(MAGIC)
        while at < len(raw):
            size = int.from_bytes(raw[at : at + 4], "little")
            parts.append(raw[at + 4 : at + 4 + size])
            at += 4 + size
        if at != len(raw) or not parts:
            raise FormatError(f"{path}: the file ends inside a part")
        return StepProof(parts[0], tuple(parts[1:]))


def joint(ledgers: list[Security]) -> Security:
    """All layers' errors together."""
    return Security(tuple((f"layer {n}", ledger.bits) for n, ledger in enumerate(ledgers)))


# ---- prover -----------------------------------------------------------------------------------------------------


class Sequential:
    """The baseline as ``bench.py`` runs it: like ``zkjax.prove`` and ``python -m zkjax verify``."""

    aggregated = False

    def __init__(self, reuse_memory: bool):
        self._reuse_memory = reuse_memory
        self._weights: dict = {}  # of the last step: the next one begins with them

    @staticmethod
    def steps(config) -> int:
        """Training steps in one proof."""
        return 1

    def prove(self, circuit: Circuit, run, watch) -> StepProof:
        """Prove a run of one step."""
        from zkjax.kernels.memory import keep_freed_memory
        from zkjax.kernels.threads import scope

        if self._reuse_memory:
            keep_freed_memory()
        with scope():
            return self._prove(circuit, run, watch)

    def _prove(self, circuit: Circuit, run, watch) -> StepProof:
        from zkjax.prover import prove as prover
        from zkjax.prover.witness import Witness

        watch("witness", 1, 1)
        whole = prover.make_plan(run)
        step = Step(circuit, run.first_step, whole.shifts, whole.widths, whole.batches)
        kept = self._weights.pop(run.keys[0].name, None)
        geometry = kept[0] if kept else step.geometry()
        computed = run.witness()
        coarse = tuple(w >> s for w, s in zip(run.initial, whole.shifts, strict=True))
        bounds = circuit.bounds(run.initial_bound, 1, run.first_step)
        witness = Witness(step.plans[0], computed, coarse, run.final, bounds)

        watch("commitments", 1, 1)
        tensors = witness.tensors | {("initial", p): field.from_int(x) for p, x in enumerate(coarse)}
        tensors |= {("final", p): field.from_int(x) for p, x in enumerate(run.final)}
        part = slice(step.shard * whole.batches.shard_size, (step.shard + 1) * whole.batches.shard_size)
        tensors |= {("data", step.shard, k): field.from_int(x[part]) for k, x in enumerate(run.data.arrays)}

        def committed(name):
            kind, number = step.named(name)
            rows = rows_of(step.layouts[name], tensors, geometry.row)
            options = {"budget": step.budgets[name], "geometry": geometry, "seed": secrets.token_bytes(32)}
            return prover.commit(rows, kind=kind, number=number, **options)

        opened = {name: kept[1][name[1]] for name in step.layouts if name[0] == "initial"} if kept else {}
        opened |= {name: committed(name) for name in step.layouts if name in step.budgets and name not in opened}
        self._weights = {run.keys[1].name: (geometry, {n: c for (role, n), c in opened.items() if role == "final"})}
        raw = statement_bytes(circuit, geometry, run, whole, bounds, {name: c.commitment for name, c in opened.items()})

        bodies, ledgers = [], []
        for n in range(len(step.plans)):
            own = self._layer_witness(witness, step.plans[n])
            body, ledger = prove_layer(step, n, geometry, raw, [opened[name] for name in step.opened[n]], own, watch)
            bodies.append(body)
            ledgers.append(ledger)
        watch("done", 1, 1)
        return StepProof(raw, tuple(bodies), joint(ledgers).require(TARGET))

    @staticmethod
    def _layer_witness(witness, plan: LayerPlan):
        """The same tensors with this layer's multiplicities."""
        own = copy.copy(witness)
        own.__dict__.pop("multiplicities", None)
        own.plan, own.circuit, own.tensors = plan, plan.circuit, dict(witness.tensors)
        own.tensors |= own.multiplicities
        return own

    @staticmethod
    def verify_command(files: list[Path], circuit: Path, proofs: list) -> list[str]:
        """What verifies files in a process of its own."""
        return [sys.executable, __file__, *map(str, files), "--circuit", str(circuit)]


def statement_bytes(circuit: Circuit, geometry: Geometry, run, plan: Plan, bounds, commitments: dict) -> bytes:
    """The step's public statement."""
    statement = {
        "circuit": circuit.digest().hex(),
        "geometry": geometry.to_json(),
        "samples": run.data.samples,
        "shard_size": plan.batches.shard_size,
        "seed": run.seed,
        "first_step": run.first_step,
        "shifts": list(plan.shifts),
        "widths": list(plan.widths),
        "initial_bound": list(run.initial_bound),
        "final_bound": list(bounds.final),
        "commitments": {f"{role} {n}": c.to_json() for (role, n), c in commitments.items()},
    }
    return json.dumps(statement, sort_keys=True, separators=(",", ":")).encode()


def prove_layer(step: Step, n: int, geometry: Geometry, raw: bytes, named: list, witness, watch) -> tuple[bytes, Security]:
    """One layer's messages and ledger. named: prover's side of the commitments that it opens."""
    from zkjax.prover import prove as prover

    watch("commitments", 1, 1)
    plan, layout = step.plans[n], step.mask_layout(n)
    masks = make_masks(step.counts[n], prover._random_elements(secrets.token_bytes(32)))
    tensors = witness.multiplicities | {("mask", name): np.stack(ext.stack(v), axis=1) for name, v in masks.items()}
    row_counts = [c.commitment.rows for c in named] + [row_count(layout, geometry.row)]
    mask = Mask.of(geometry, row_counts, [c.commitment.parts[0].budget for c in named] + [1])
    options = {"budget": 1, "geometry": geometry, "seed": secrets.token_bytes(32), "mask": mask}
    trace = prover.commit(rows_of(layout, tensors, geometry.row), kind="trace", number=n, **options)

    watch("argument", 1, 1)
    stream = Writer(start_transcript(geometry, raw, n))
    stream.raw("trace root", 32, trace.commitment.root)
    hidden = Hidden(stream, masks)
    layer_argument(hidden, plan, witness)
    weights, terms, value = hidden.finish()

    watch("weights of the opening", 1, 1)
    by_key = opening_terms(plan, weights, terms)
    committed, layouts = [*named, trace], [*(step.layouts[name] for name in step.opened[n]), layout]
    lanes = [row_lanes(x, by_key, c.commitment.rows, geometry.row) for x, c in zip(layouts, committed, strict=True)]

    watch("opening", 1, 1)
    open_claim(stream, geometry, committed, lanes, value)
    return bytes(stream), security(hidden.errors, geometry, stack(row_counts)[1])


# ---- verifier ---------------------------------------------------------------------------------------------------


def verify_step(circuit: Circuit, proof: StepProof) -> Security:
    """Verify one step. Its statement says what was proven. Raises VerificationError or FormatError."""
    s = proof.statement
    if s["circuit"] != circuit.digest().hex():
        raise VerificationError("circuit", "the proof is about another circuit")
    for shift, width, bound in zip(s["shifts"], s["widths"], s["initial_bound"], strict=True):
        if shift and not width:
            raise VerificationError("statement", "only weights that are range-checked here may be shifted")
        if width and bound < signed_bound(width) << shift:
            raise VerificationError("bounds", "the initial bound is smaller than what the range check shows")
    if circuit.bounds(tuple(s["initial_bound"]), 1, s["first_step"]).final != tuple(s["final_bound"]):
        raise VerificationError("bounds", "the final bound is not what the circuit gives for the initial one")
    step, geometry = proof.step(circuit), proof.geometry.check()
    commitments = {}
    for name in step.layouts:
        if name not in step.budgets:
            continue
        commitment = Commitment.from_json(s["commitments"][f"{name[0]} {name[1]}"])
        rows = row_count(step.layouts[name], geometry.row)
        expected = (*step.named(name), rows, False)
        found, [part] = (commitment.kind, commitment.number, commitment.rows, commitment.masked), commitment.parts
        if found != expected or part.budget > geometry.max_budget:
            raise VerificationError("commitments", f"{name[0]} {name[1]}: {commitment}, expected {expected}")
        commitments[name] = commitment
    if len(proof.bodies) != len(step.plans):
        raise VerificationError("layers", f"{len(proof.bodies)} arguments for {len(step.plans)} layers")
    ledgers = [verify_layer(step, n, geometry, proof.raw, commitments, body) for n, body in enumerate(proof.bodies)]
    try:
        return joint(ledgers).require(TARGET)
    except ConfigurationError as error:
        raise VerificationError("security", str(error)) from None


def verify_layer(step: Step, n: int, geometry: Geometry, raw: bytes, named: dict, body: bytes) -> Security:
    """Verify one layer's messages; returns its ledger."""
    plan, mask_layout = step.plans[n], step.mask_layout(n)
    stream = Reader(start_transcript(geometry, raw, n), body)
    trace = Commitment.of("trace", n, row_count(mask_layout, geometry.row), 1, stream.raw("trace root", 32), True)
    hidden = Hidden(stream)
    layer_argument(hidden, plan)
    weights, terms, value = hidden.finish()
    if hidden.counts() != step.counts[n]:
        raise VerificationError("masks", "the argument used other pads than its dry run")
    by_key = opening_terms(plan, weights, terms)
    commitments = [*(named[name] for name in step.opened[n]), trace]
    layouts = [*(step.layouts[name] for name in step.opened[n]), mask_layout]
    held = {key for layout in layouts for key in layout.shapes}
    if not set(by_key) <= held:
        raise VerificationError("commitments", f"the argument reads {sorted(set(by_key) - held)}, which is not opened")
    offsets, row_variables = stack([c.rows for c in commitments])

    def evaluate(row_point, column_point):
        found = []
        for commitment, layout, offset in zip(commitments, layouts, offsets, strict=True):
            inner, prefix = num_bits(commitment.rows), ONE
            for variable, r in enumerate(row_point[: row_variables - inner]):
                prefix = prefix * (r if offset >> (row_variables - 1 - variable) & 1 else 1 - r)
            weights = layout.weights(row_point[row_variables - inner :] + column_point)
            found += [w._replace(scalar=w.scalar * prefix) for w in weights]
        return weight_evaluation(found, by_key)

    verify_claim(stream, geometry, [c.opened() for c in commitments], evaluate, value)
    stream.finish()
    return security(hidden.errors, geometry, row_variables)


def verify_chain(circuit: Circuit, proofs: list[StepProof]) -> float:
    """Verify consecutive steps; returns the proven bits of all of them together.

    Where the first one has no range check, the bound on its weights is an assumption, as with ``--assume-bound``.
    """
    for before, after in zip([p.statement for p in proofs], [p.statement for p in proofs[1:]]):
        same = all(before[name] == after[name] for name in ("circuit", "geometry", "samples", "shard_size", "seed"))
        if not same or after["first_step"] != before["first_step"] + 1 or any(after["shifts"]):
            raise VerificationError("chain", "a step does not go on where the one before it ended")
        if any(a < b for a, b in zip(after["initial_bound"], before["final_bound"], strict=True)):
            raise VerificationError("chain", "a step assumes a smaller bound than the one before it shows")
        ends = {key.split()[1]: c for key, c in before["commitments"].items() if key.startswith("final")}
        if ends != {key.split()[1]: c for key, c in after["commitments"].items() if key.startswith("initial")}:
            raise VerificationError("chain", "a step does not start from the weights that the one before it ends with")
    return -log2(sum(2.0 ** -verify_step(circuit, proof).bits for proof in proofs))


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Verify proofs of the baseline, consecutive steps in order.")
    parser.add_argument("proofs", nargs="+", type=Path)
    parser.add_argument("--circuit", required=True, type=Path)
    parsed = parser.parse_args(arguments)
    circuit = Circuit.load(parsed.circuit)
    started = time.perf_counter()
    try:
        bits = verify_chain(circuit, [StepProof.load(path) for path in parsed.proofs])
    except (ZkjaxError, KeyError, TypeError, ValueError) as error:
        print(f"INVALID: {error!r}", file=sys.stderr)
        return 1
    print(json.dumps({"valid": True, "bits": bits, "seconds": time.perf_counter() - started}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
