"""Every check of the verifier, read from its source, and the ways in which each could be missing or wrong.

A *check* is one of: an ``if`` that raises, a call made for its effect (a checking function, an absorb, a constraint, a term
of the ledger), a returned comparison, a validated argument, an input of a hash, an ``except`` that translates, a bound that
is computed, a limit. Each has *mutants*: the check deleted, negated, weakened by one of its parts, off by one. Containers
being filled are no checks; nor are ``strict=True`` and shapes of the verifier's own making.

Mutants are named by module, function, text of the check and mutation, never by line, so that the list of results
(``mutation.md``) outlives edits elsewhere in a file.
"""

import ast
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

PACKAGE = Path(__file__).parent.parent / "zkjax"

# What a verifier executes. Not here: field arithmetic, transforms, hashes and layouts, which decide nothing; a mistake in them
# fails every honest proof, and they have tests against independent twins.
MODULES = """
algebra.exact algebra.functions circuit.anchors circuit.bounds circuit.circuit circuit.data circuit.file circuit.levels circuit.ranged
circuit.recurrence circuit.wellformed commitment.commit commitment.dataset commitment.geometry commitment.merkle commitment.opening
commitment.recompute commitment.recursion comparison evaluation files lineage ops.arithmetic ops.committed ops.division ops.draw ops.forms
ops.functions ops.leaves ops.maximum ops.moves ops.operation ops.paced ops.products ops.ranges ops.rescale ops.root ops.tables ops.window
proofs.alone proofs.chain proofs.checks proofs.disclosed proofs.disclosure proofs.drawing proofs.estimate proofs.header proofs.links
proofs.model proofs.proof proofs.published proofs.soundness proofs.statement protocol.argument protocol.claims protocol.contraction
protocol.disclosure protocol.draws protocol.forms protocol.gate protocol.hidden protocol.links protocol.lookup protocol.membership
protocol.motion protocol.plan protocol.schedule protocol.states protocol.sumcheck protocol.transcript verifier work
""".split()

# The prover's side of modules that both share, and what is printed for people.
NOT_VERIFIED = {
    "algebra.functions": ("floats", "number", "joined", "after"),
    "circuit.bounds": ("longest_chain", "_cure", "_largest"),
    "circuit.levels": ("_cycle",),
    "circuit.circuit": (
        *("Circuit.__repr__", "Circuit.sheet", "Circuit.describe", "Circuit.updated", "Circuit.longest_chain"),
        *("Circuit.learning_rates", "Circuit.save", "Circuit.save_source", "Circuit.counts"),
    ),
    "commitment.commit": (
        "Encoded",
        "Committed",
        "Mask",
        "tree_seed",
        "commit",
        "_encoded",
        "encode_leaves",
        "tree_over",
        "encoded_columns",
        "kept_columns",
    ),
    "circuit.ranged": ("wider", "largest_norm", "hold"),
    "ops.forms": ("width",),
    "commitment.dataset": ("dataset_root",),
    "commitment.geometry": ("Geometry.cheapest", "Geometry.opening_bytes", "Geometry._bytes"),
    "commitment.merkle": ("Tree", "leaf_headers", "_parents"),
    "commitment.opening": ("_Prover", "open_claim"),
    "commitment.recursion": ("Folding", "CommittedVector", "_add_powers"),
    "comparison": ("Terms.save", "Moved.__str__", "Compared.sheet", "_decimal"),
    "files": ("publish", "release", "write", "_settle"),
    "ops.draw": ("Draw.probability",),
    "proofs.drawing": ("Drawing.__repr__", "Drawing.save", "Drawing.within", "Drawing.others", "Drawing.describe"),
    "ops.operation": ("Node.op", "Node.__getitem__"),
    "ops.ranges": ("cut", "integer_type"),
    "protocol.hidden": ("make_masks", "extend_to_double"),
    "proofs.alone": ("LinkStatement.__repr__", "LinkStatement.__str__", "LinkStatement.sheet", "_called"),
    "proofs.disclosed": ("told_of",),
    "proofs.disclosure": (
        "Disclosure.save",
        "Disclosure.sheet",
        "Disclosure.part",
        "Disclosure.__repr__",
        "Item.__repr__",
        "Chosen.__str__",
    ),
    "proofs.model": ("Model.save", "Model.__repr__", "_named"),
    "proofs.published": ("Published.of", "Published.save"),
    "proofs.proof": ("Proof.save", "Proof.nbytes", "Proof.__repr__", "Proof.sheet"),
    "proofs.soundness": ("Security.__repr__", "Security.sheet"),
    "proofs.statement": (
        "Statement.__str__",
        "Statement.__repr__",
        "Statement.sheet",
        "Statement._bound",
        "Statement._losses",
        "Statement._replaced",
        "Statement._weights_read",
    ),
    "protocol.transcript": ("Writer",),
    "proofs.estimate": ("argument_work",),
    "work": ("Meter.__str__",),
    "verifier": ("dry_run",),
}
TRAINERS = {"evaluate", "leaf", "keep", "limits", "witness", "at_steps", "fold", "describe"}  # rules of operations
FILLING = {"append", "extend", "heappush", "setdefault", "update", "setflags", "at"}  # calls that fill a container
VALIDATORS = {"_int", "_ints", "_integer", "_integers", "integer_in", "integers_in"}  # (value, where, low, high)
UNWRAPPED = VALIDATORS | {
    "_digest",
    "_text",
    "_shape",
    "_list",
    "_index",
    "_dims",
    "_tupled",
    "digest_in",
    "list_in",
}  # return their first argument, checked
HASHES = {"sha256", "blake2s"}
BOUNDS = {  # functions whose arithmetic is a bound
    "circuit.bounds": ("derive", "_of_chunk", "_moved", "_distinct", "_growth", "_of_node", "reach", "equations"),
    "circuit.levels": ("_level",),
    "circuit.recurrence": ("_rounded",),
    "ops.ranges": ("farthest", "residues_differ", "signed_bound"),
    "ops.operation": ("Operation.bound",),
    "ops.leaves": ("InputArray.bound", "Param.bound", "Const.bound"),
    "ops.draw": ("Draw.bound", "Draw.count", "Residue.count"),
    "ops.arithmetic": ("Linear.bound", "Sum.bound", "Scale.bound"),
    "ops.committed": ("Committed.bound",),
    "ops.rescale": ("Sign.bound",),
    "ops.products": ("Dot.bound", "Gate.bound"),
    "commitment.geometry": ("radius", "Geometry.error_terms", "Geometry.errors", "Geometry.padding"),
    "algebra.exact": ("split",),
    "proofs.soundness": ("Security.bits",),
}
PROVERS = {"folding", "prover", "rounds"}  # what only the prover has, where both sides run the same function
OWN = {"UnsatisfiedWitnessError"}  # what a prover tells itself
SWAPPED = {ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt}


class Mutant(NamedTuple):
    """One change of one check. ``source()``: the module's text with it."""

    module: str
    function: str
    check: str
    mutation: str
    source: Callable[[], str]

    @property
    def name(self) -> tuple[str, str, str, str]:
        return self[:4]


class Slot(NamedTuple):
    """Where an expression or statement stands in its tree: a field of its owner, or an entry of a list there."""

    owner: ast.AST
    field: str
    index: int | None = None

    @property
    def node(self):
        value = getattr(self.owner, self.field)
        return value if self.index is None else value[self.index]

    def put(self, node) -> None:
        if self.index is None:
            setattr(self.owner, self.field, node)
        else:
            getattr(self.owner, self.field)[self.index] = node


def text(node) -> str:
    """A node's source on one line, without messages for people."""
    return " ".join(ast.unparse(node).split())


def slots(node) -> Iterator[Slot]:
    for field, value in ast.iter_fields(node):
        if isinstance(value, list):
            yield from (Slot(node, field, i) for i, entry in enumerate(value) if isinstance(entry, ast.AST))
        elif isinstance(value, ast.AST):
            yield Slot(node, field)


def inside(slot: Slot) -> Iterator[Slot]:
    """The slot and all below it; not into functions."""
    yield slot
    if not isinstance(slot.node, (ast.FunctionDef, ast.ClassDef, ast.Lambda)):
        for below in slots(slot.node):
            yield from inside(below)


def weaker(slot: Slot) -> Iterator[tuple[str, Slot, ast.AST]]:
    """Parts of a condition left out, and bounds off by one."""
    for at in inside(slot):
        node = at.node
        if isinstance(node, ast.BoolOp):
            neutral = ast.Constant(isinstance(node.op, ast.And))
            for i, part in enumerate(node.values):
                yield f"without: {text(part)}", Slot(node, "values", i), neutral
        if isinstance(node, ast.Compare):
            for i, op in enumerate(node.ops):
                if type(op) in SWAPPED:
                    other = ast.Compare(node.left, [*node.ops[:i], SWAPPED[type(op)](), *node.ops[i + 1 :]], node.comparators)
                    yield f"off by one: {text(other)}", at, other


def condition(slot: Slot) -> Iterator[tuple[str, Slot, ast.AST]]:
    """A condition that raises."""
    yield "never", slot, ast.Constant(False)
    yield "negated", slot, ast.UnaryOp(ast.Not(), slot.node)
    yield from weaker(slot)


def hashed(slot: Slot) -> Iterator[tuple[str, Slot, ast.AST]]:
    """Inputs of a hash left out: summands, packed numbers, formatted values."""
    for at in inside(slot):
        node = at.node
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
            for side in ("left", "right"):
                part = getattr(node, side)
                if not (isinstance(part, ast.BinOp) and isinstance(part.op, ast.Add)):
                    yield f"without: {text(part)}", Slot(node, side), ast.Constant(b"")
        elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mod):
            values = [Slot(node.right, "elts", i) for i in range(len(node.right.elts))] if isinstance(node.right, ast.Tuple) else []
            for value in values or [Slot(node, "right")]:
                yield f"without: {text(value.node)}", value, ast.Constant(0 if "encode" not in text(value.node) else b"")
        elif isinstance(node, ast.JoinedStr):
            for i, value in enumerate(node.values):
                if isinstance(value, ast.FormattedValue):
                    yield f"without: {text(value.value)}", Slot(node, "values", i), ast.Constant("")
        elif isinstance(node, ast.Call) and text(node.func) == "struct.pack":
            for i in range(1, len(node.args)):
                yield f"without: {text(node.args[i])}", Slot(node, "args", i), ast.Constant(0)
        elif isinstance(node, ast.keyword) and node.arg == "person":
            yield "without: person", Slot(node, "value"), ast.Constant(b"")


def off_by_one(slot: Slot) -> Iterator[tuple[str, Slot, ast.AST]]:
    for sign, op in (("+", ast.Add), ("-", ast.Sub)):
        yield f"{sign} 1", slot, ast.BinOp(slot.node, op(), ast.Constant(1))


def called(node) -> str:
    """The last name of what is called."""
    if not isinstance(node, ast.Call):
        return ""
    return node.func.attr if isinstance(node.func, ast.Attribute) else node.func.id if isinstance(node.func, ast.Name) else ""


def is_arithmetic(node) -> bool:
    """Whether a bound is computed here, and not an array or an object."""
    return isinstance(node, (ast.BinOp, ast.IfExp, ast.Subscript, ast.UnaryOp)) or called(node) in {"max", "sum", "farthest"}


def proving(node: ast.Call) -> bool:
    return isinstance(node.func, ast.Attribute) and text(node.func.value) in PROVERS


def changes(slot: Slot, bound: bool) -> Iterator[tuple[str, list]]:
    """(text of the check, [(mutation, slot, replacement), ..]) for the checks at one node itself."""
    node = slot.node
    if isinstance(node, ast.If) and isinstance(node.body[-1], ast.Raise) and called(node.body[-1].exc) not in OWN:
        yield f"raise if {text(node.test)}", list(condition(Slot(node, "test")))
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call) and called(node.value) not in FILLING and not proving(node.value):
        found = [("deleted", slot, ast.Pass())]
        for i, argument in enumerate(node.value.args):
            if called(node.value) == "account" and i == 1:
                found += list(off_by_one(Slot(node.value, "args", i)))
            elif not isinstance(argument, ast.Constant):
                found += list(weaker(Slot(node.value, "args", i)))
        yield text(node), found
    if isinstance(node, ast.Return) and isinstance(node.value, (ast.Compare, ast.BoolOp)) and not called(node.value):
        at = Slot(node, "value")
        yield text(node), [("negated", at, ast.UnaryOp(ast.Not(), node.value)), *weaker(at)]
    if isinstance(node, ast.ExceptHandler) and isinstance(node.body[-1], ast.Raise) and node.body[-1].exc:
        last = Slot(node, "body", len(node.body) - 1)
        yield f"except {text(node.type)}: {text(node.body[-1].exc)}", [("not translated", last, ast.Raise())]
    if isinstance(node, ast.Call) and called(node) in UNWRAPPED and isinstance(node.func, ast.Name):
        found = [("not validated", slot, node.args[0])]
        if node.func.id in VALIDATORS and len(node.args) == 4:
            found += [("low - 1", Slot(node, "args", 2), ast.BinOp(node.args[2], ast.Sub(), ast.Constant(1)))]
            found += [("high + 1", Slot(node, "args", 3), ast.BinOp(node.args[3], ast.Add(), ast.Constant(1)))]
        yield text(node), found
    if isinstance(node, ast.Call) and called(node) in HASHES or isinstance(node, ast.FunctionDef) and node.name == "leaf_header":
        found = [x for below in slots(node) for x in hashed(below)]
        yield f"hash: {text(node) if isinstance(node, ast.Call) else node.name}", found
    if bound and isinstance(node, (ast.Assign, ast.AugAssign, ast.Return)) and is_arithmetic(node.value):
        yield f"bound: {text(node)}", list(off_by_one(Slot(node, "value")))
    if bound and isinstance(node, ast.Call) and called(node) == "Term":
        yield f"bound: {text(node)}", list(off_by_one(Slot(node, "args", 1)))


def limits(tree: ast.Module) -> Iterator[tuple[str, list]]:
    """Module constants that bound something."""
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            name = node.targets[0].id
            if "MAX" in name or name == "LIMIT":
                yield f"limit: {name}", [("+ 1", Slot(node, "value"), ast.BinOp(node.value, ast.Add(), ast.Constant(1)))]


def mutants(module: str) -> Iterator[Mutant]:
    """All mutants of a module, in the order of its text."""
    tree = ast.parse((PACKAGE / (module.replace(".", "/") + ".py")).read_text("utf-8"))
    skipped, bounds, seen = NOT_VERIFIED.get(module, ()), BOUNDS.get(module, ()), Counter()

    def emit(function: str, found):
        for check, edits in found:
            seen[function, check] += 1
            check = check if seen[function, check] == 1 else f"{check} ({seen[function, check]})"
            names = Counter()
            for mutation, slot, replacement in edits:
                names[mutation] += 1
                mutation = mutation if names[mutation] == 1 else f"{mutation} ({names[mutation]})"

                def source(slot=slot, replacement=replacement):
                    original = slot.node
                    slot.put(replacement)
                    try:
                        return ast.unparse(ast.fix_missing_locations(tree))
                    finally:
                        slot.put(original)

                yield Mutant(module, function, check, mutation, source)

    def visit(slot: Slot, function: str):
        node = slot.node
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            function = f"{function}.{node.name}".lstrip(".")
            trainers = module.startswith("ops.") and node.name in TRAINERS
            if trainers or any(function == name or function.startswith(f"{name}.") for name in skipped):
                return
        yield from emit(function, changes(slot, function in bounds))
        for below in slots(node):
            yield from visit(below, function)

    yield from emit("", limits(tree))
    for slot in slots(tree):
        yield from visit(slot, "")


def all_mutants() -> list[Mutant]:
    return [m for module in MODULES for m in mutants(module)]


if __name__ == "__main__":
    for m in all_mutants():
        print(*m.name, sep=" | ")
