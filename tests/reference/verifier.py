"""A second verifier, written from zkjax/PROTOCOL.md: plain Python numbers, no NumPy, and no code shared with zkjax.

Slow, and as close to the page as possible: the sections below are the page's sections, in its order. ``verify`` takes a
circuit's JSON and the bytes of a proof file; ``verify_chain`` a list of files, and what must hold of them. Both raise ``Rejected``
or return the ledger of section 19.
"""

import decimal
import hashlib
import itertools
import json
import math
import struct
from dataclasses import dataclass, field, replace
from decimal import Decimal
from fractions import Fraction
from functools import cache, lru_cache, partial
from typing import NamedTuple


class Rejected(Exception):
    """The proof, its statement or the circuit is refused; the message says why."""

    @property
    def check(self):
        """The name of section 18, where the check has one."""
        return str(self).split(":")[0]


def require(condition, reason):
    if not condition:
        raise Rejected(reason)


# ---- 2 field and bytes ------------------------------------------------------------------------------------------------

P = 2**64 - 2**32 + 1


class K:
    """Section 2: c0 + c1 phi in F[phi]/(phi^2 - 7). Integers mix with it."""

    __slots__ = ("c0", "c1")

    def __init__(self, c0, c1=0):
        self.c0, self.c1 = c0 % P, c1 % P

    def __add__(self, other):
        return K(self.c0 + other, self.c1) if isinstance(other, int) else K(self.c0 + other.c0, self.c1 + other.c1)

    def __sub__(self, other):
        return K(self.c0 - other, self.c1) if isinstance(other, int) else K(self.c0 - other.c0, self.c1 - other.c1)

    def __rsub__(self, other):
        return K(other - self.c0, -self.c1)

    def __neg__(self):
        return K(-self.c0, -self.c1)

    def __mul__(self, other):
        if isinstance(other, int):
            return K(self.c0 * other, self.c1 * other)
        return K(self.c0 * other.c0 + 7 * self.c1 * other.c1, self.c0 * other.c1 + self.c1 * other.c0)

    __radd__, __rmul__ = __add__, __mul__

    def __eq__(self, other):
        return (self.c0, self.c1) == ((other % P, 0) if isinstance(other, int) else (other.c0, other.c1))

    def __pow__(self, exponent):
        result, square = ONE, self
        while exponent:
            result, square, exponent = result * square if exponent & 1 else result, square * square, exponent >> 1
        return result

    def inverse(self):
        norm = pow(self.c0 * self.c0 - 7 * self.c1 * self.c1, -1, P)
        return K(self.c0 * norm, -self.c1 * norm)

    def __bytes__(self):
        return struct.pack("<QQ", self.c0, self.c1)


ZERO, ONE, PHI = K(0), K(1), K(0, 1)


def root_of_unity(log_order):
    """Section 2: omega_l."""
    return pow(7, (P - 1) >> log_order, P)


def bits(count):
    """Section 1: variables of the smallest cube with ``count`` points."""
    return (count - 1).bit_length()


def eq_vector(point, length):
    """Section 1: eq(point)[:length], variable 0 the most significant bit."""
    entries = [ONE]
    for r in point:
        entries = [y for x in entries for y in (x - x * r, x * r)]
    return entries[:length]


def inner_product(a, b):
    return sum((x * y for x, y in zip(a, b, strict=True)), ZERO)


def outer_product(vectors):
    """Row-major outer product of lists; [1] for none."""
    result = [ONE]
    for entries in vectors:
        result = [a * b for a in result for b in entries]
    return result


def polynomial(coefficients, x):
    result = ZERO
    for c in reversed(coefficients):
        result = result * x + c
    return result


# ---- 3 transcript -----------------------------------------------------------------------------------------------------


def sha256(data):
    return hashlib.sha256(data).digest()


def u64(x):
    return struct.pack("<Q", x)


class Transcript:
    """Section 3."""

    def __init__(self):
        self.state = sha256(b"zkjax transcript 2")

    def absorb(self, label, data):
        self.state = sha256(self.state + b"absorb" + struct.pack("<HQ", len(label), len(data)) + label.encode() + data)

    def draw(self, label, size):
        self.state = sha256(self.state + b"draw" + struct.pack("<HQ", len(label), size) + label.encode())
        return b"".join(sha256(self.state + b"block" + u64(i)) for i in range(-(-size // 32)))[:size]

    def elements(self, label, count):
        raw = self.draw(label, 32 * count)
        parts = [int.from_bytes(raw[i : i + 16], "little") for i in range(0, len(raw), 16)]
        return [K(c0, c1) for c0, c1 in zip(parts[::2], parts[1::2])]

    def element(self, label):
        return self.elements(label, 1)[0]

    def indices(self, label, count, log_size):
        """Sorted and distinct, as all users want them."""
        words = struct.unpack(f"<{count}I", self.draw(label, 4 * count))
        return sorted({word % 2**log_size for word in words})


class Body:
    """Section 3: the messages of a proof; each is absorbed as it is read."""

    def __init__(self, transcript, data):
        self.transcript, self.data, self.at = transcript, data, 0

    def raw(self, label, size):
        message = self.data[self.at : self.at + size]
        require(len(message) == size, f"the file ends inside {label}")
        self.at += size
        self.transcript.absorb(label, message)
        return message

    def base(self, label, count):
        integers = struct.unpack(f"<{count}Q", self.raw(label, 8 * count))
        require(all(x < P for x in integers), f"{label}: an integer is not below p")
        return list(integers)

    def elements(self, label, count):
        parts = self.base(label, 2 * count)
        return [K(c0, c1) for c0, c1 in zip(parts[::2], parts[1::2])]

    def finish(self):
        require(self.at == len(self.data), "bytes after the last message")


# ---- 4 files and statement --------------------------------------------------------------------------------------------


def canonical(value):
    """Section 4.2."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()


def fields(value, names, where):
    require(isinstance(value, dict) and set(value) == set(names.split()), f"{where}: other fields")


def integer(value, low, high, where):
    require(type(value) is int and low <= value <= high, f"{where}: not an integer in {low}..{high}")
    return value


def integers(value, low, high, where):
    require(isinstance(value, list), f"{where}: not a list")
    return [integer(v, low, high, where) for v in value]


def hexadecimal(value, where):
    require(isinstance(value, str) and len(value) == 64 and set(value) <= set("0123456789abcdef"), f"{where}: not a digest")
    return bytes.fromhex(value)


def read_file(raw, magic=b"zkjaxprf", expected=2, limit=2**21, check=None):
    """Section 4.1: (statement, its canonical bytes, body)."""
    require(raw[:8] == magic and len(raw) >= 14, "another file")
    version, length = struct.unpack("<HI", raw[8:14])
    require(version == expected, "another format version")
    require(length <= limit and 14 + length <= len(raw), "the statement does not fit")
    text = raw[14 : 14 + length]
    try:
        statement = json.loads(text.decode("ascii"))
    except (ValueError, RecursionError):
        raise Rejected("statement: not JSON") from None
    (check or check_fields)(statement)
    require(canonical(statement) == text, "statement: not canonical")
    return statement, text, raw[14 + length :]


def check_fields(statement):
    """Sections 4.2 and 4.5."""
    if isinstance(statement, dict) and "kind" in statement:
        return check_alone_fields(statement)
    names = (
        "circuit geometry dataset dataset_after samples shard_size shards siblings seed first_step steps initial final frozen"
        " shifts widths given initial_bound final_bound links losses"
    )
    fields(statement, names, "statement")
    for name in ("circuit", "dataset", "dataset_after"):
        hexadecimal(statement[name], name)
    for name, low, high in (("samples", 1, 2**32 - 1), ("shard_size", 1, 2**32 - 1), ("seed", 0, 2**64 - 1)):
        integer(statement[name], low, high, name)
    integer(statement["first_step"], 0, 2**48, "first_step")
    integer(statement["steps"], 1, 2**16, "steps")
    integers(statement["shifts"], 0, 62, "shifts")
    integers(statement["widths"], -62, 62, "widths")
    for name in ("initial_bound", "final_bound"):
        integers(statement[name], 0, 2**63, name)
    require(type(statement["given"]) is bool, "given")
    require(statement["losses"] is None or isinstance(statement["losses"], list), "losses")
    for values in statement["losses"] or ():
        require(values is None or integers(values, -(2**63), 2**63, "losses") is not None, "losses")
    check_geometry_fields(statement["geometry"])
    require(isinstance(statement["shards"], list), "shards")
    require(isinstance(statement["siblings"], list), "siblings")
    for sibling in statement["siblings"]:
        hexadecimal(sibling, "siblings")
    for commitment in (statement["initial"], statement["final"], *statement["shards"]):
        check_commitment_fields(commitment)
    if statement["frozen"] is not None:
        outer = statement["frozen"]
        require(isinstance(outer, dict), "frozen")
        for frozen in (outer, outer.get("beside", outer)):
            fields(frozen, "commitment parameters" + " beside" * (frozen is outer and "beside" in outer), "frozen")
            check_commitment_fields(frozen["commitment"])
            integers(frozen["parameters"], 0, 2**63, "frozen")
    numbers = [shard["number"] for shard in statement["shards"]]
    require(all(a < b for a, b in itertools.pairwise(numbers)), "shards: order")
    check_link_fields(statement["links"], named(statement))


def check_alone_fields(statement):
    """Section 4.5."""
    fields(statement, "kind geometry links dataset", "statement")
    require(statement["kind"] == "link", "kind")
    check_geometry_fields(statement["geometry"])
    require(isinstance(statement["links"], list), "links")
    for link in statement["links"]:
        fields(link, "from to", "link")
        check_commitment_fields(link["from"])
        check_commitment_fields(link["to"])
    dataset = statement["dataset"]
    if dataset is not None:
        fields(dataset, "root root_after samples shard_size siblings", "dataset")
        hexadecimal(dataset["root"], "root")
        hexadecimal(dataset["root_after"], "root_after")
        integer(dataset["samples"], 1, 2**32 - 1, "samples")
        integer(dataset["shard_size"], 1, 2**32 - 1, "shard_size")
        require(isinstance(dataset["siblings"], list), "siblings")
        for sibling in dataset["siblings"]:
            hexadecimal(sibling, "siblings")


PARTS = {"weights": ("parameters", "other")} | dict.fromkeys(("frozen", "shard", "trace", "stage", "noise"), ("cells",))


def check_commitment_fields(commitment):
    """Section 4.2."""
    fields(commitment, "kind number parts root masked", "commitment")
    require(isinstance(commitment["kind"], str) and commitment["kind"] in PARTS, "kind of a commitment")
    integer(commitment["number"], 0, 2**63 - 1, "number")
    require(isinstance(commitment["parts"], list), "parts")
    for part in commitment["parts"]:
        fields(part, "name rows budget", "part")
        integer(part["rows"], 1, 2**32 - 1, "rows")
        integer(part["budget"], 1, 2**32 - 1, "budget")
    names, known = [part["name"] for part in commitment["parts"]], PARTS[commitment["kind"]]
    require(names != [] and names == [name for name in known if name in names], "names of the parts")
    hexadecimal(commitment["root"], "root")
    require(type(commitment["masked"]) is bool, "masked")


def check_link_fields(links, named):
    """Section 4.2."""
    require(isinstance(links, list), "links")
    seen = set()
    for link in links:
        fields(link, "from to", "link")
        require(isinstance(link["from"], str) and link["from"] in named and link["from"] not in seen, "link: from")
        seen.add(link["from"])
        check_commitment_fields(link["to"])


def read_disclosure(raw):
    """Section 4.6: (statement, its canonical bytes, body)."""
    found = statement, _, body = read_file(raw, b"zkjxdscl", 1, 2**26, check_disclosure_fields)
    require(body == b"" or pointed(statement), "disclosure: a body of nothing")
    return found


def pointed(statement):
    """Section 4.6: the commitments of which something is opened at a point."""
    return [item["commitment"] for item in statement["items"] if item["seed"] is None]


def check_disclosure_fields(statement):
    """Section 4.6."""
    fields(statement, "kind geometry items dataset arrays", "statement")
    require(statement["kind"] == "disclosure", "kind")
    check_geometry_fields(statement["geometry"])
    require(isinstance(statement["items"], list) and statement["items"], "items")
    for item in statement["items"]:
        fields(item, "commitment seed", "item")
        commitment, seed = item["commitment"], item["seed"]
        check_commitment_fields(commitment)
        require(commitment["kind"] in ("weights", "frozen", "shard") and not commitment["masked"], "item: kind")
        require(commitment["kind"] != "weights" or commitment["parts"][0]["name"] == "parameters", "item: parts")
        if seed is None:
            require(commitment["kind"] != "frozen", "item: no seed")
        else:
            hexadecimal(seed, "seed")
            require(len(commitment["parts"]) == 1, "item: parts")
    kinds, data = [item["commitment"]["kind"] for item in statement["items"]], statement["dataset"]
    require(kinds in (["weights"], ["weights", "frozen"]) or set(kinds) == {"shard"}, "items: kinds")
    require((data is not None) == (kinds[0] == "shard"), "dataset")
    require((statement["arrays"] is not None) == bool(pointed(statement)), "arrays")
    if statement["arrays"] is not None:
        hexadecimal(statement["arrays"], "arrays")
    if data is not None:
        some = isinstance(data, dict) and "numbers" in data
        fields(data, "samples shard_size siblings" + " numbers inputs" * some, "dataset")
        integer(data["samples"], 1, 2**32 - 1, "samples")
        integer(data["shard_size"], 1, 2**32 - 1, "shard_size")
        require(isinstance(data["siblings"], list), "siblings")
        for sibling in data["siblings"]:
            hexadecimal(sibling, "siblings")
        numbers = [item["commitment"]["number"] for item in statement["items"]]
        require(all(a < b for a, b in itertools.pairwise(numbers)), "items: order")
        require(numbers[-1] < -(-data["samples"] // data["shard_size"]), "items: a shard that there is not")
        require(len(pointed(statement)) == (len(numbers) if some else 0), "items: seeds")
        if some:
            check_chosen(data, numbers)


def check_chosen(data, shards):
    """Section 4.6: which samples and inputs of a dataset are shown, and that these are the shards that hold them."""
    require(isinstance(data["numbers"], list) and data["numbers"], "numbers")
    ends, size = [], data["shard_size"]
    for pair in data["numbers"]:
        require(len(integers(pair, 0, data["samples"], "numbers")) == 2, "numbers")
        ends += pair
    require(all(a < b for a, b in itertools.pairwise(ends)), "numbers: order")
    require(integers(data["inputs"], 0, 2**24 - 1, "inputs"), "inputs")
    require(all(a < b for a, b in itertools.pairwise(data["inputs"])), "inputs: order")
    held, known = 0, set(shards)
    for shard in shards:
        held += any(first < (shard + 1) * size and shard * size < end for first, end in data["numbers"])
    require(held == len(shards), "items: a shard that holds none of the samples")
    for first, end in data["numbers"]:
        touched = range(first // size, (end - 1) // size + 1)
        require(len(touched) <= len(known) and known.issuperset(touched), "items: a shard that holds samples is not there")


class Opened(NamedTuple):
    """Section 4.3, item 8: a commitment and those of its parts that are opened."""

    commitment: dict
    parts: list


def opened_of(commitment, names=None):
    """The parts of these names, or all."""
    return Opened(commitment, [part for part in commitment["parts"] if names is None or part["name"] in names])


def named(statement):
    """Section 4.2: what the argument reads, by the names that links use, in the stack's order."""
    found = {"initial": opened_of(statement["initial"], ("parameters",) if statement["given"] else None)}
    found["final"] = opened_of(statement["final"])
    for name, x in frozen_groups(statement).items():
        found[name] = opened_of(x["commitment"], ("parameters",) if of_weights(x) else None)
    return found | {f"shard {c['number']}": opened_of(c) for c in statement["shards"]}


def frozen_groups(statement):
    """Section 4.2: {commitment, parameters} of the parameters that no step changes, by the names that links use."""
    frozen = statement["frozen"]
    return {} if frozen is None else {"frozen": frozen} | ({"beside": frozen["beside"]} if "beside" in frozen else {})


def of_weights(group):
    """Sections 4.8, 4.10: whether they are of a training's commitment to its weights."""
    return group["commitment"]["kind"] == "weights"


def all_frozen(statement):
    """Section 4.3, item 3: all parameters that no step changes."""
    return sorted(p for x in frozen_groups(statement).values() for p in x["parameters"])


def frozen_part(group):
    """Section 4.2: the part of the commitment that is read."""
    return "parameters" if of_weights(group) else "cells"


def opened(statement):
    """Section 10.5, statement order, without the trace."""
    return [*named(statement).values(), *(opened_of(link["to"]) for link in statement["links"])]


def check_budgets(commitment, geometry, where):
    require(all(part["budget"] <= geometry["max_budget"] for part in commitment["parts"]), f"{where}: budget")


def check_links(links, named, geometry):
    """Section 4.3, item 9."""
    for link in links:
        (old, parts), new, where = named[link["from"]], link["to"], f"link from {link['from']}"
        same = all(new[name] == old[name] for name in ("kind", "number"))
        require(same and new["root"] != old["root"] and not new["masked"], where)
        rows = {part["name"]: part["rows"] for part in parts}
        require(all(rows.get(part["name"]) == part["rows"] for part in new["parts"]), f"{where}: parts")
        check_budgets(new, geometry, where)


def check_statement(circuit, statement):
    """Section 4.3: everything that needs no message. Returns the Chunk that the statement is about."""
    require(statement["circuit"] == circuit.digest, "circuit")
    count = len(circuit.parameters)
    require(all(len(statement[name]) == count for name in ("shifts", "widths", "initial_bound", "final_bound")), "statement")
    frozen = all_frozen(statement)
    require(frozen == circuit.frozen and (frozen or statement["frozen"] is None), "statement: frozen")
    groups = list(frozen_groups(statement).values())
    require(not groups or not of_weights(groups[0]) or len(frozen) == count, "statement: frozen")
    require(len(groups) < 2 or (of_weights(groups[0]) and groups[1]["parameters"]), "statement: frozen")
    require(all(x["parameters"] == sorted(x["parameters"]) for x in groups), "statement: frozen")
    beta = statement["initial_bound"]
    for p, (b, shift, width) in enumerate(zip(beta, statement["shifts"], statement["widths"])):
        require(width or p in frozen or shift == 0, "statement: a shift without a range check")
        require(width == 0 or 2 * b >= 2 ** (shift + abs(width)), "bounds")
    check_random_forms(circuit, statement)
    if statement["given"]:
        require(circuit.given, "statement: given")
        require([p for p, width in enumerate(statement["widths"]) if width == 0] == circuit.given, "statement: ranges beside given states")
        for p in circuit.given:
            given = circuit.parameters[p]["given"]
            copied = 0 if given["copied"] is None else beta[given["copied"]] * 2 ** given["shift"]
            require(beta[p] == abs(given["integer"]) + copied, "bounds: a given state")
    bound, final = bounds(circuit, statement["initial_bound"], statement["steps"], statement["first_step"])
    require(final == statement["final_bound"], "bounds")
    if statement["losses"] is not None:
        require(len(statement["losses"]) == len(circuit.losses), "losses")
        revealed = [(loss, values) for loss, values in zip(circuit.losses, statement["losses"]) if values is not None]
        require(revealed != [], "losses")
        for loss, values in revealed:
            require(len(values) == statement["steps"] and all(abs(v) <= bound[loss["node"]] for v in values), "losses")
    samples = min(statement["steps"] * circuit.batch, statement["samples"])
    require(len(statement["shards"]) >= samples // (4 * statement["shard_size"]), "shards")
    chunk = Chunk(circuit, statement, batches(statement, circuit.batch))
    check_geometry(statement["geometry"])

    read, end = named(statement), statement["first_step"] + statement["steps"]
    require(len(read) == len(chunk.layouts), "shards")
    began = statement["first_step"] or statement["initial"]["number"]
    numbers = {"initial": ("weights", began), "final": ("weights", end)}
    for name, x in frozen_groups(statement).items():
        numbers[name] = ("weights", x["commitment"]["number"]) if of_weights(x) else ("frozen", 0)
    for (name, layouts), (commitment, parts) in zip(chunk.layouts.items(), read.values()):
        kind, number = numbers.get(name) or ("shard", int(name.split()[1]))
        where = f"commitment to {kind} {number}"
        require((commitment["kind"], commitment["number"], commitment["masked"]) == (kind, number, False), where)
        require([part["name"] for part in parts] == list(layouts), f"{where}: parts")
        require(all(part["rows"] == row_count(layouts[part["name"]], chunk.row) for part in parts), f"{where}: rows")
        check_budgets(commitment, statement["geometry"], where)
    check_links(statement["links"], read, statement["geometry"])
    check_dataset(statement)
    return chunk


def check_dataset(statement):
    """Section 8.5: the siblings lead from the shards to the root, and from what replaces some of them to the root after."""
    fresh = {link["from"]: link["to"] for link in statement["links"]}
    after = [fresh.get(f"shard {shard['number']}", shard) for shard in statement["shards"]]
    for name, shards in (("dataset", statement["shards"]), ("dataset_after", after)):
        check_root(statement["geometry"], statement, shards, statement[name], name.replace("_", " "))


def check_root(geometry, told, shards, root, where):
    """Section 4.3, item 10. told: samples, shard_size and siblings."""
    try:
        require(dataset_root(geometry, told, shards) == bytes.fromhex(root), where)
    except Rejected:  # whatever it is that does not lead there
        raise Rejected(where) from None


def opened_alone(statement):
    """Section 4.5: what is opened of what is replaced: the parts that the replacements have. By place in the list."""
    found = {}
    for j, link in enumerate(statement["links"]):
        found[str(j)] = opened_of(link["from"], [part["name"] for part in link["to"]["parts"]])
    return found


def check_alone(statement):
    """Section 4.5."""
    geometry, links, dataset = statement["geometry"], statement["links"], statement["dataset"]
    check_geometry(geometry)
    require(links, "links: none")
    old = [link["from"] for link in links]
    require(len({commitment_digest(geometry, c) for c in old}) == len(old), "links: a commitment is replaced twice")
    kinds = ("weights", "frozen", "shard")
    require(all(c["kind"] in kinds for c in old), "links: kind")
    places = [kinds.index(c["kind"]) for c in old]
    require(places == sorted(places), "links: order")
    shards = [link for link in links if link["from"]["kind"] == "shard"]
    numbers = [link["from"]["number"] for link in shards]
    require(all(a < b for a, b in itertools.pairwise(numbers)), "links: order of the shards")
    for j, c in enumerate(old):
        require(not c["masked"], f"commitment {j}")
        check_budgets(c, geometry, f"commitment {j}")
    check_links([{"from": str(j), "to": link["to"]} for j, link in enumerate(links)], opened_alone(statement), geometry)
    require((dataset is not None) == bool(shards), "dataset")
    if shards:
        require(numbers[-1] < -(-dataset["samples"] // dataset["shard_size"]), "dataset: a shard that there is not")
        for name, where, end in (("root", "dataset", "from"), ("root_after", "dataset after", "to")):
            check_root(geometry, dataset, [link[end] for link in shards], dataset[name], where)


def classes(statements):
    """Section 4.4: a function from a digest to its class, all that links join with it."""
    found = {}

    def join(a, b):
        joined = found.get(a, {a}) | found.get(b, {b})
        found.update(dict.fromkeys(joined, joined))

    for statement in statements:
        geometry, alone = statement["geometry"], "kind" in statement
        ends = [(x["from"] if alone else named(statement)[x["from"]].commitment, x["to"]) for x in statement["links"]]
        for old, new in ends:
            for part in new["parts"]:
                join(*(part_digest(geometry, c, part["name"]) for c in (old, new)))
            if [part["name"] for part in old["parts"]] == [part["name"] for part in new["parts"]]:
                join(commitment_digest(geometry, old), commitment_digest(geometry, new))
        told = statement["dataset"] if alone else statement
        if told is not None:
            roots = (told["root"], told["root_after"]) if alone else (told["dataset"], told["dataset_after"])
            join(*map(bytes.fromhex, roots))
    return lambda digest: found.get(digest, {digest})


def frozen_digest(statement, name="frozen"):
    """Section 4.4: f, or of what is beside that."""
    group = frozen_groups(statement).get(name)
    return b"" if group is None else part_digest(statement["geometry"], group["commitment"], frozen_part(group))


def kept_shifts(statement):
    """Section 4.4: the shifts after the steps."""
    frozen = all_frozen(statement)
    return [shift if p in frozen else 0 for p, shift in enumerate(statement["shifts"])]


def weights_name(kind, digest, f, shifts):
    """Section 4.4: the digest of weights (kind: "weights") or of a whole state ("state")."""
    return sha256(f"zkjax {kind} 2".encode() + bytes([len(f)]) + digest + f + bytes(shifts).rstrip(b"\0"))


def pins_of(statement, last, class_of):
    """Section 4.4: all digests that name the first or the last weights."""
    geometry, commitment = statement["geometry"], statement["final" if last else "initial"]
    shifts = kept_shifts(statement) if last else statement["shifts"]
    kinds = {"weights": part_digest(geometry, commitment, "parameters")}
    if last or not statement["given"]:
        kinds["state"] = commitment_digest(geometry, commitment)
    frozen = class_of(frozen_digest(statement))
    return {weights_name(kind, c, f, shifts) for kind, digest in kinds.items() for c in class_of(digest) for f in frozen}


def check_pins(statements, class_of, dataset, initial, final, seed, steps):
    """Section 4.4: what a caller requires of the first and the last statement; None: nothing. Digests are bytes."""
    first, last = statements[0], statements[-1]
    require(dataset is None or dataset in class_of(bytes.fromhex(first["dataset"])), "pinned dataset")
    require(initial is None or initial in pins_of(first, False, class_of), "pinned initial weights")
    require(final is None or final in pins_of(last, True, class_of), "pinned final weights")
    require(seed is None or seed == first["seed"], "pinned seed")
    require(steps is None or tuple(steps) == (first["first_step"], last["first_step"] + last["steps"]), "pinned steps")


def check_chain(circuit, all_statements, assume_bound=False, dataset=None, initial=None, final=None, seed=None, steps=None):
    """Section 4.4."""
    statements = [s for s in all_statements if "kind" not in s]
    require(statements, "no proof of a chunk")
    class_of = classes(all_statements)
    check_pins(statements, class_of, dataset, initial, final, seed, steps)
    require(all(s["geometry"] == statements[0]["geometry"] for s in all_statements), "chain: geometry")
    require(statements[0]["given"] or 0 not in statements[0]["widths"] or assume_bound, "initial bound")
    require(statements[0]["given"] or not circuit.given or assume_bound, "initial state")
    for before, after in itertools.pairwise(statements):
        geometry = after["geometry"]
        for name in ("circuit", "geometry", "samples", "shard_size", "seed"):
            require(before[name] == after[name], f"chain: {name}")
        require(bytes.fromhex(after["dataset"]) in class_of(bytes.fromhex(before["dataset_after"])), "chain: dataset")
        require(after["first_step"] == before["first_step"] + before["steps"], "chain: steps")
        parts = [[part["name"] for part in c["parts"]] for c in (before["final"], after["initial"])]
        require(parts[0] == parts[1], "chain: parts")
        for name in parts[0]:
            ended, begun = (part_digest(geometry, c, name) for c in (before["final"], after["initial"]))
            require(begun in class_of(ended), f"chain: {name}")
        for name in ("frozen", "beside"):
            require(frozen_digest(after, name) in class_of(frozen_digest(before, name)), f"chain: {name}")
        require(after["shifts"] == kept_shifts(before) and not after["given"], "chain: weights")
        for width, assumed, shown in zip(after["widths"], after["initial_bound"], before["final_bound"]):
            require(width != 0 or assumed >= shown, "chain: bound")


# ---- 5 circuit --------------------------------------------------------------------------------------------------------

STATES = ("param", "next", "inner", "last")  # a parameter before a step, after it, before its roundings, before the last one
ROUNDED = ("rescale", "ceiling")  # in the order of sections 10.3 and 10.4
LINEAR = "linear transpose reshape broadcast sum slice pad concatenate reverse scale range paced window".split()
ATTRIBUTES = {
    "input": "index",
    "param": "index",
    "const": "shape values",
    "linear": "coefficients",
    "transpose": "permutation",
    "reshape": "shape",
    "broadcast": "shape axes",
    "sum": "axes",
    "slice": "start limit stride",
    "pad": "low high interior",
    "concatenate": "axis",
    "reverse": "axes",
    "scale": "axes",
    "dot": "contract batch",
    "rescale": "shift bits",
    "ceiling": "shift bits",
    "sign": "",
    "gate": "",
    "next": "index",
    "draw": "shape words path shift threshold",
    "residue": "shape words path shift threshold modulus parts",
    "range": "low width",
    "function": "program unit low width",  # and its scale, which is the node's
    "onehot": "program unit low width size",
    "largest": "low width",
    "first": "",
    "divide": "bits divisor",
    "root": "size",
    "paced": "numbers",
    "window": "axis out size stride dilation pad",
}
# attributes that are one integer ("low" of a pad is none); "contract", "batch" are two lists, "program" is one of instructions
INTEGERS = "index axis shift bits threshold low width size divisor modulus parts".split()
RIDERS = ("sign", "function", "onehot")


class Circuit:
    """Section 5: a checked circuit, and the shape of every node."""

    def __init__(self, data):
        check_circuit_fields(data)
        self.table_bits, self.max_steps, self.period = data["table_bits"], data["max_steps"], data["period"]
        self.inputs, self.parameters, self.nodes, self.losses = data["inputs"], data["parameters"], data["nodes"], data["losses"]
        self.batch = self.inputs[0]["shape"][0]
        self.digest = circuit_digest(data)
        self.shapes = []
        for node in self.nodes:
            try:
                shape = tuple(infer_shape(self, node, [self.shapes[i] for i in node["inputs"]]))
            except (IndexError, ValueError, TypeError):
                raise Rejected(f"circuit: malformed {node['op']}") from None
            check_shape(list(shape), node["op"])
            self.shapes.append(shape)
        lengths = [*self.shapes, *(x["shape"] for x in (*self.inputs, *self.parameters))]
        require(sum(map(sum, lengths)) <= 2**24, "circuit: axes")
        self.riders = {}  # of each site, in node order
        for i, node in enumerate(self.nodes):
            if node["op"] in RIDERS:
                self.riders.setdefault(node["inputs"][0], []).append(i)
        moving = [x["updates"] != [] or x["recurrence"] is not None for x in self.parameters]
        self.given = [p for p, x in enumerate(self.parameters) if x["given"] is not None]
        self.frozen = [p for p, moves in enumerate(moving) if not moves and p not in self.given]  # section 4.3, item 3
        check_nodes(self)
        check_levels(self)
        self.node_lookups = {i: list(lookups_of(self, i)) for op in LOOKED_UP for i in self.of(op)}  # in the order of 10.3, 1

    def op(self, i):
        return self.nodes[i]["op"]

    def of(self, op):
        """The nodes with this operation."""
        return [i for i, node in enumerate(self.nodes) if node["op"] == op]

    def span(self, i):
        """Section 5.2: (low, width) of a site; None of another node."""
        node = self.nodes[i]
        if node["op"] in ROUNDED:
            return -(2 ** node["bits"]), node["bits"] + 1
        return (node["low"], node["width"]) if node["op"] == "range" else None


def check_shape(shape, where):
    require(all(1 <= n <= 2**22 for n in integers(shape, 1, 2**22, where)), where)
    require(len(shape) <= 8 and math.prod(shape) <= 2**40, f"{where}: too many axes or entries")


def check_circuit_fields(data):
    """Section 5.1."""

    def text(value):
        require(isinstance(value, str) and value.isprintable(), "circuit: a text is not printable")

    fields(data, "format version table_bits max_steps period inputs parameters public nodes losses notes", "circuit")
    require(data["format"] == "zkjax circuit" and type(data["version"]) is int and data["version"] == 2, "circuit: format")
    integer(data["table_bits"], 1, 20, "table_bits")
    require(data["max_steps"] is None or integer(data["max_steps"], 1, 2**32, "max_steps"), "max_steps")
    integer(data["period"], 1, 64, "period")
    require(
        all(isinstance(data[name], list) for name in ("inputs", "parameters", "public", "nodes", "losses", "notes")), "circuit: not a list"
    )
    require(data["inputs"] and data["parameters"], "circuit: no input or no parameter")
    require(len(data["parameters"]) <= 2**13, "circuit: parameters")
    last = len(data["nodes"]) - 1
    for note in data["notes"]:
        text(note)
    for x in data["inputs"]:
        fields(x, "name shape scale bits", "input")
        text(x["name"])
        check_shape(x["shape"], "input")
        integer(x["scale"], 0, 60, "scale of an input")
        integer(x["bits"], 0, data["table_bits"] - 1, "bits of an input")
        require(x["shape"] and x["shape"][0] == data["inputs"][0]["shape"][0], "circuit: first axes of the inputs")
    for x in data["parameters"]:
        fields(x, "path shape updates recurrence given unit", "parameter")
        reduced_fraction(x["unit"], 1, "unit")
        check_recurrence_fields(x, len(data["parameters"]) - 1, last, data["max_steps"])
        text(x["path"])
        check_shape(x["shape"], "parameter")
        require(isinstance(x["updates"], list), "updates")
        for update in x["updates"]:
            fields(update, "node rates", "update")
            integer(update["node"], 0, last, "node of an update")
            rates = integers(update["rates"], -(2**63), 2**63, "rates")
            require(len(rates) in (1, data["max_steps"]), "number of rates")
    for i, node in enumerate(data["nodes"]):
        require(isinstance(node, dict) and isinstance(node.get("op"), str) and node["op"] in ATTRIBUTES, "circuit: operation")
        fields(node, "op inputs scale label " + ATTRIBUTES[node["op"]], node["op"])
        integers(node["inputs"], 0, i - 1, "inputs of a node")
        integer(node["scale"], -(2**16), 2**16, "scale of a node")
        text(node["label"])
        for name in ATTRIBUTES[node["op"]].split():
            if name in INTEGERS and node["op"] != "pad" or node["op"] == "window":
                integer(node[name], -(2**63), 2**63, name)
            elif name == "program":
                check_program(node[name])
            elif name in ("contract", "batch"):
                require(isinstance(node[name], list) and len(node[name]) == 2, name)
                for axes in node[name]:
                    integers(axes, 0, 7, name)
            else:
                integers(node[name], -(2**63), 2**63, name)
    for loss in data["losses"]:
        fields(loss, "node factor output", "loss")
        text(loss["output"])
        integer(loss["node"], 0, last, "node of a loss")
        reduced_fraction(loss["factor"], -(2**256), "factor")
    for x in data["public"]:
        fields(x, "path shape kind values change settled", "public")
        text(x["path"])
        require(x["kind"] in ("b", "i", "f"), "kind")
        require(type(x["settled"]) is bool, "settled")
        size = math.prod(integers(x["shape"], 1, 2**22, "shape of a public array"))
        require(isinstance(x["values"], list) and len(x["values"]) > 0 and len(x["values"]) % size == 0, "values")
        for value in x["values"]:
            reduced_fraction(value, -(2**256), "values")
        require(integer(x["change"], -(2**64), 2**64, "change") == 0 or len(x["values"]) == size, "change")


def reduced_fraction(x, least, what):
    factor = integers(x, least, 2**256, what)
    require(len(factor) == 2 and factor[1] > 0 and math.gcd(*factor) == 1, what)


def check_recurrence_fields(x, others, last, max_steps):
    """Section 5.1: recurrence and given of a parameter."""
    if x["recurrence"] is not None:
        fields(x["recurrence"], "carry feeds bits inner end", "recurrence")
        require(x["updates"] == [], "updates and a recurrence")
        for name, index, highest in (("carry", "parameter", others), ("feeds", "node", last)):
            require(isinstance(x["recurrence"][name], list), name)
            for term in x["recurrence"][name]:
                fields(term, index + " coefficients", name)
                integer(term[index], 0, highest, name)
                require(len(integers(term["coefficients"], -(2**96), 2**96, name)) in (1, max_steps), "number of coefficients")
        for name, highest in (("bits", 60), ("inner", 62), ("end", 62)):
            integer(x["recurrence"][name], 0, highest, name)
    if x["given"] is not None:
        fields(x["given"], "integer copied shift", "given")
        integer(x["given"]["integer"], -(2**63), 2**63, "integer")
        require(x["given"]["copied"] is None or integer(x["given"]["copied"], 0, others, "copied") is not None, "copied")
        integer(x["given"]["shift"], 0, 62, "shift")


def infer_shape(circuit, node, shapes):
    """Section 5.2: the shape of a node's result. An IndexError or ValueError also refuses."""

    def distinct(axes, rank):
        require(len(set(axes)) == len(axes) and all(0 <= d < rank for d in axes), f"axes of {op}")
        return axes

    op = node["op"]
    arity = dict.fromkeys(("input", "param", "const", "draw", "residue"), 0) | dict.fromkeys(("scale", "dot", "gate", "first", "divide"), 2)
    arity = arity.get(op, 1)
    require(len(shapes) == arity or (op in ("linear", "concatenate", "next") and shapes), f"number of inputs of {op}")
    x = shapes[0] if shapes else ()
    if op in ("input", "param", "next"):
        items = circuit.inputs if op == "input" else circuit.parameters
        require(0 <= node["index"] < len(items), "index")
        return items[node["index"]]["shape"]
    if op in ("const", "reshape", "broadcast", "draw", "residue"):
        check_shape(node["shape"], op)
    if op in ("draw", "residue"):
        require(math.prod(node["shape"]) < 2**31 and all(n <= 2**21 for n in node["shape"]), "draw: shape")
        require(len(node["words"]) in {2, 2 * (circuit.max_steps or 1)} and all(0 <= w < 2**32 for w in node["words"]), "draw: words")
        require(len(node["path"]) <= 8 and all(-2 <= n < 2**32 for n in node["path"]), "draw: path")
        require(node["shape"] != [] or -2 not in node["path"], "draw: rows")
        require(0 <= node["shift"] < 32, "draw: shift")
        if op == "residue":
            require(2 <= node["modulus"] < 2**32, "residue: modulus")
            require(node["parts"] == 1 or node["parts"] == 2 and node["modulus"] <= 2**16 and node["shift"] == 0, "residue: parts")
            if node["threshold"] == -1:
                require(math.prod(node["shape"]) * node["modulus"] < 2**31 and node["modulus"] <= 2**21, "residue: places")
                return [*node["shape"], node["modulus"]]
        require(0 <= node["threshold"] < numbers_of(node), "draw: threshold")
        return node["shape"]
    if op == "const":
        require(len(node["values"]) == math.prod(node["shape"]) <= 4096 and all(abs(v) < 2**63 for v in node["values"]), "const")
        return node["shape"]
    if op == "linear":
        same = all(s == x for s in shapes) and len(node["coefficients"]) == len(shapes)
        require(same and all(abs(c) < 2**63 for c in node["coefficients"]), "linear")
        return x
    if op == "transpose":
        require(sorted(node["permutation"]) == list(range(len(x))), "permutation")
        return [x[d] for d in node["permutation"]]
    if op == "reshape":
        require(math.prod(node["shape"]) == math.prod(x), "reshape")
        return node["shape"]
    if op == "broadcast":
        axes = distinct(node["axes"], len(node["shape"]))
        require([node["shape"][d] for d in axes] == list(x), "broadcast")
        return node["shape"]
    if op == "sum":
        axes = distinct(node["axes"], len(x))
        return [n for d, n in enumerate(x) if d not in axes]
    if op == "slice":
        cuts = list(zip(x, node["start"], node["limit"], node["stride"], strict=True))
        require(all(0 <= start < limit <= n and stride >= 1 for n, start, limit, stride in cuts), "slice")
        return [-(-(limit - start) // stride) for _, start, limit, stride in cuts]
    if op == "pad":
        pads = list(zip(x, node["low"], node["high"], node["interior"], strict=True))
        require(all(min(p[1:]) >= 0 for p in pads), "pad")
        return [low + n + (n - 1) * interior + high for n, low, high, interior in pads]
    if op == "concatenate":
        axis = node["axis"]
        require(0 <= axis < len(x) and all(s[:axis] + s[axis + 1 :] == x[:axis] + x[axis + 1 :] for s in shapes), "concatenate")
        return [*x[:axis], sum(s[axis] for s in shapes), *x[axis + 1 :]]
    if op == "window":
        axis = node["axis"]
        require(0 <= axis < len(x) and min(node["stride"], node["dilation"], node["out"], node["size"]) >= 1, "window")
        return [*x[:axis], node["out"], node["size"], *x[axis + 1 :]]
    if op == "dot":
        y, (cx, cy), (bx, by) = shapes[1], node["contract"], node["batch"]
        require(len(cx) == len(cy) and len(bx) == len(by), "dot")
        distinct(cx + bx, len(x)), distinct(cy + by, len(y))
        require([x[d] for d in cx + bx] == [y[d] for d in cy + by], "dot")
        free = [n for d, n in enumerate(x) if d not in cx + bx] + [n for d, n in enumerate(y) if d not in cy + by]
        return [x[d] for d in bx] + free
    if op == "reverse":
        distinct(node["axes"], len(x))
    if op == "scale":
        require([x[d] for d in distinct(node["axes"], len(x))] == list(shapes[1]), "scale")
    if op in ROUNDED:
        require(0 <= node["shift"] <= 62 and 0 <= node["bits"] < circuit.table_bits, "rescale")
    if op in ("gate", "divide"):
        require(shapes[0] == shapes[1], op)
    if op == "divide":
        require(0 <= node["bits"] < circuit.table_bits and 1 <= node["divisor"] <= 62, "divide")
    if op == "root":
        require(2 <= node["size"] <= 30, "root")
    if op == "paced":
        require(len(node["numbers"]) == circuit.max_steps and all(abs(n) < 2**63 for n in node["numbers"]), "paced")
    if "width" in node:
        require(1 <= node["width"] <= circuit.table_bits and abs(node["low"]) < 2**62, f"range of {op}")
    if op in ("function", "onehot"):
        require(len(node["unit"]) == 2 and node["unit"][1] > 0 and node["unit"][0] != 0, "unit")
        require(-62 <= node["scale"] <= 62 if op == "function" else 1 <= node["size"] <= 1024, op)
        least_and_largest(column_of(node), node["width"])  # there is an entry
    if op == "onehot":
        return [*x, node["size"]]
    if op == "largest":
        require(len(x) > 0, "largest")
        return x[:-1]
    if op == "first":
        require(x == shapes[1][:-1], "first")
        return shapes[1]
    return x


def check_nodes(circuit):
    """Section 5.2: what operations read, and what stands after a divide or a root."""
    for site, riders in circuit.riders.items():
        known = [(circuit.op(i), *(json.dumps(circuit.nodes[i][name]) for name in rider_attributes(circuit, i))) for i in riders]
        require(circuit.span(site) is not None and len(set(known)) == len(known), "what rides on a node")
    for i, node in enumerate(circuit.nodes):
        kinds = [circuit.op(j) for j in node["inputs"]]
        if node["op"] in ("function", "onehot", "largest"):
            require(circuit.span(node["inputs"][0]) == (node["low"], node["width"]), f"site of {node['op']}")
        if node["op"] == "first":
            largest, x = node["inputs"]
            require(circuit.op(largest) == "largest" and circuit.nodes[largest]["inputs"] == [x], "first")
        if node["op"] in ("divide", "root"):
            axes, after = list(range(len(circuit.shapes[i]))), circuit.nodes[i + 1] if i + 1 < len(circuit.nodes) else {"op": None}
            require(after["op"] == "dot" and after["inputs"] == [node["inputs"][1] if node["op"] == "divide" else i, i], "product")
            require(after["contract"] == [[], []] and after["batch"] == [axes, axes], "product")
        require(node["op"] != "gate" or kinds[0] == "sign" and kinds[1] in ROUNDED, "gate")
        require(node["op"] != "scale" or kinds[1] == "const", "scale")
        if node["op"] == "next":
            found = circuit.parameters[node["index"]]["recurrence"]
            require(found and found["feeds"] and node["inputs"] == [feed["node"] for feed in found["feeds"]], "next")
    for x in circuit.parameters:
        shape, found = x["shape"], x["recurrence"]
        if found is not None:
            carried = [term["parameter"] for term in found["carry"]]
            require(len(set(carried)) == len(carried) and len(found["feeds"]) <= 8, "carries and feeds")
            require(all(circuit.parameters[r]["recurrence"] and circuit.parameters[r]["shape"] == shape for r in carried), "carries")
            require(all(circuit.shapes[feed["node"]] == tuple(shape) for feed in found["feeds"]), "shape of a feed")
        if x["given"] is not None and x["given"]["copied"] is not None:
            copied = circuit.parameters[x["given"]["copied"]]
            require(copied["given"] is None and copied["shape"] == shape, "copied")
    for p, x in enumerate(circuit.parameters):
        require(x["recurrence"] is None or len(group(circuit, p)) <= 8, "group")
    for site in circuit.riders:  # rows that all riders have
        if table := table_of(circuit, site)[2:]:
            table_columns(table[0], circuit.span(site)[1])
    require(circuit.period == 1 or any(x["recurrence"] for x in circuit.parameters), "period")


def rider_attributes(circuit, i):
    """Those that tell riders of one kind apart."""
    return [*ATTRIBUTES[circuit.op(i)].split(), *(["scale"] if circuit.op(i) == "function" else [])]


# ---- 5.6 states that a step multiplies ------------------------------------------------------------------------------------


def group(circuit, p):
    """The parameter and all that it carries, and that these carry."""
    found, stack = set(), [p]
    while stack:
        r = stack.pop()
        if r not in found:
            found.add(r)
            stack += [term["parameter"] for term in circuit.parameters[r]["recurrence"]["carry"]]
    return sorted(found)


def periods(circuit, first_step, steps):
    """(first step, length) of each period of a chunk."""
    starts = [t for t in range(first_step, first_step + steps) if t == first_step or t % circuit.period == 0]
    return [(a, b - a) for a, b in itertools.pairwise([*starts, first_step + steps])]


def rows(circuit, p, start, length):
    """(B, A, D) of a period: for each step j a dict from [r] and [q, f, i] to integers, and one at the end."""

    def coefficient(term, j):
        c = term["coefficients"]
        return Fraction(c[0] if len(c) == 1 else c[start + j], 2**64)

    def rounded(combination, bits):
        return {symbol: math.floor(x * 2**bits + Fraction(1, 2)) for symbol, x in combination.items()}

    members, found = group(circuit, p), circuit.parameters[p]["recurrence"]
    now, before, after = {q: {(q,): Fraction(1)} for q in members}, [], []
    for j in range(length):
        before.append(rounded(now[p], found["inner"]))
        following = {}
        for q in members:
            moves, total = circuit.parameters[q]["recurrence"], {}
            for term in moves["carry"]:
                for symbol, x in now[term["parameter"]].items():
                    total[symbol] = total.get(symbol, 0) + coefficient(term, j) * x
            for f, term in enumerate(moves["feeds"]):
                total[q, f, j] = coefficient(term, j)
            following[q] = total
        now = following
        after.append(rounded(now[p], found["inner"]))
    return before, after, rounded(now[p], found["end"])


def feeds(circuit, p):
    """(q, f, node) of every feed of a parameter's group."""
    return [(q, f, x["node"]) for q in group(circuit, p) for f, x in enumerate(circuit.parameters[q]["recurrence"]["feeds"])]


def levels(circuit):
    """Section 5.3: the levels of all nodes and of all parameters, and a parameter's place in the order of 5.4; cycles are refused."""
    found, order, busy = {}, [], set()

    def level(kind, i):
        if (kind, i) in found:
            return found[kind, i]
        require((kind, i) not in busy, "circuit: a claim would go up")
        busy.add((kind, i))
        if kind == "param":
            updates = [update["node"] for update in circuit.parameters[i]["updates"]]
            updates += [j for _, _, j in feeds(circuit, i)] if circuit.parameters[i]["recurrence"] else []
            result = max([2, *(level("node", j) for j in updates)])
            order.append(i)
        else:
            node, op = circuit.nodes[i], circuit.op(i)
            below = [level("node", j) for j in node["inputs"]] if op in (*LINEAR, "dot") else []
            result = max(below, default=0)
            if op in ("param", "next"):
                result = level("param", node["index"])
            elif op == "gate":
                result = 1
            elif op == "dot":
                result = max(2, 1 + result)
        found[kind, i] = result
        return result

    of_parameters = [level("param", p) for p in range(len(circuit.parameters))]
    of_nodes = [level("node", i) for i in range(len(circuit.nodes))]
    require(max(of_nodes + of_parameters) <= 32, "circuit: levels")
    return of_nodes, of_parameters, order


def check_levels(circuit):
    """Section 5.3."""
    levels(circuit)
    for parameter in circuit.parameters:
        for update in parameter["updates"]:
            require(circuit.shapes[update["node"]] == tuple(parameter["shape"]), "shape of an update")
    for loss in circuit.losses:
        require(circuit.shapes[loss["node"]] == (), "a loss is not a scalar")


def rate(update, step):
    """Section 5.1."""
    return update["rates"][0] if len(update["rates"]) == 1 else update["rates"][step]


def node_bounds(circuit, parameters, after):
    """Section 5.4: b(i); None where it depends on a parameter whose bound is None."""
    found = []
    for node in circuit.nodes:
        x, op = [found[i] for i in node["inputs"]], node["op"]
        shape = circuit.shapes[node["inputs"][0]] if node["inputs"] else ()
        if op == "input":
            b = 2 ** circuit.inputs[node["index"]]["bits"]
        elif op == "param":
            b = parameters[node["index"]]
        elif op == "next":
            b = after[node["index"]]
        elif op == "const":
            b = max(map(abs, node["values"]))
        elif op in (*ROUNDED, "divide"):
            b = 2 ** node["bits"]
        elif op in ("sign", "onehot", "first"):
            b = 1
        elif op in ("range", "largest"):
            b = max(abs(node["low"]), abs(node["low"] + 2 ** node["width"] - 1))
        elif op == "function":
            b = max(map(abs, least_and_largest(column_of(node), node["width"])))
        elif op == "root":
            b = 2 ** node["size"] - 1 if x[0] is None else min(2 ** node["size"] - 1, math.isqrt(x[0]))
        elif op in ("draw", "residue"):
            b = 1 if node["threshold"] else numbers_of(node) - 1
        elif None in x:
            b = None
        elif op == "linear":
            b = sum(abs(c) * y for c, y in zip(node["coefficients"], x))
        elif op == "sum":
            b = x[0] * math.prod(shape[d] for d in node["axes"])
        elif op == "dot":
            b = x[0] * x[1] * math.prod(shape[d] for d in node["contract"][0])
        elif op == "scale":
            b = x[0] * x[1]
        elif op == "gate":
            b = x[1]
        elif op == "paced":
            b = x[0] * max(map(abs, node["numbers"]))
        else:
            b = max(x)
        found.append(b)
    return found


def check_forms(circuit, b):
    """Section 5.4, third and fourth inequality: no looked-up form is further from a row of its table than integers below 2^63 are."""
    largest, every = {}, [x for found in circuit.node_lookups.values() for x in found]
    for i in circuit.of("largest"):
        entries = circuit.shapes[circuit.nodes[i]["inputs"][0]][-1]
        largest |= {("largest", i): 2 ** (circuit.nodes[i]["width"] + 1) + entries, ("first", i): 1}
    largest |= {("root", i): 2 ** circuit.nodes[i]["size"] for i in circuit.of("root")}
    for x in every:  # what is looked up alone
        offset, parts = x.columns[0]
        if offset == 0 and len(parts) == 1 and parts[0].coefficient == 1 and not parts[0].along and parts[0].key[0] != "node":
            largest[parts[0].key] = 2 ** x.table[1] - 1
    for x in every:
        offset, parts = x.columns[0]
        ends = [offset - (2 ** x.table[1] - 1), offset]  # with every row
        for part in parts:
            low, high = (-b[part.key[1]], b[part.key[1]]) if part.key[0] == "node" else (0, largest[part.key])
            times = part.coefficient * {"later": x.shape[-1] if x.shape else 1, "summed": part.size}.get(part.along, 1)
            ends = [ends[0] + min(times * low, times * high), ends[1] + max(times * low, times * high)]
        require(max(map(abs, ends)) < 2**63, "bounds: a lookup")
    for i in circuit.of("root"):
        size = circuit.nodes[i]["size"]
        require(4 * b[circuit.nodes[i]["inputs"][0]] + 2 ** (2 * size + 2) + 2 ** (size + 2) < 2**63, "bounds: a root")


def bounds(circuit, initial, steps, first_step):
    """Section 5.4: (b of every node, final bound of every parameter)."""
    require(circuit.max_steps is None or first_step + steps <= circuit.max_steps, "bounds: steps beyond the schedule")
    inside, final, after = ([None] * len(initial) for _ in range(3))
    for p in levels(circuit)[2]:  # each after those that its updates read
        b, found = node_bounds(circuit, inside, after), circuit.parameters[p]["recurrence"]
        if found is not None:
            largest = [0, 0, 0]
            held = {(r,): max(initial[r], 2 ** circuit.parameters[r]["recurrence"]["bits"]) for r in group(circuit, p)}
            of_feed = {(q, f): b[j] for q, f, j in feeds(circuit, p)}
            for start, length in periods(circuit, first_step, steps):
                before, later, end = rows(circuit, p, start, length)
                for k, every in enumerate((before, later, [end])):
                    for row in every:
                        total = sum(abs(c) * (held[symbol] if len(symbol) == 1 else of_feed[symbol[:2]]) for symbol, c in row.items())
                        largest[k] = max(largest[k], total)
            inside[p], after[p], final[p] = largest[0], largest[1], 2 ** found["bits"]
            width = 2 ** found["end"]
            ends = [
                width // 2 + x - width * h - r for x in (-largest[2], largest[2]) for h in (-final[p], final[p] - 1) for r in (0, width - 1)
            ]
            require(max(map(abs, ends)) < 2**63, "bounds: a state before it is rounded")
            continue
        updates = circuit.parameters[p]["updates"]
        changes = [sum(b[u["node"]] * abs(rate(u, t)) for u in updates) for t in range(first_step, first_step + steps)]
        inside[p] = initial[p] + sum(changes[:-1])
        final[p] = initial[p] + sum(changes)
    b = node_bounds(circuit, inside, after)
    require(all(x < 2**63 for x in b), "bounds: a node")
    for i in (i for op in ROUNDED for i in circuit.of(op)):
        node = circuit.nodes[i]
        require(b[node["inputs"][0]] + 2 ** (node["shift"] + node["bits"]) + added(node) < 2**63, "bounds: a rescale")
    check_forms(circuit, b)
    require(all(2 * x < 2**63 for x in final), "bounds: a parameter")
    require(all(2 * b[loss["node"]] < 2**63 for loss in circuit.losses), "bounds: a loss")
    return b, final


def circuit_digest(data):
    """Section 5.5, in hexadecimal."""
    return sha256(canonical({name: value for name, value in data.items() if name != "notes"})).hex()


# ---- 6 schedule -------------------------------------------------------------------------------------------------------


def words(seed, epoch, shard):
    """Section 6."""
    for counter in itertools.count():
        yield from struct.unpack("<8I", sha256(b"zkjax schedule 1" + struct.pack("<4Q", seed, epoch, shard, counter)))


@lru_cache(maxsize=256)
def permutation(length, seed, epoch, shard):
    """Section 6."""
    order, stream = list(range(length)), words(seed, epoch, shard)
    for i in range(length - 1, 0, -1):
        word = next(w for w in stream if w < 2**32 - 2**32 % (i + 1))
        j = word % (i + 1)
        order[i], order[j] = order[j], order[i]
    return tuple(order)


def epoch_part(seed, epoch, samples, shard_size, start, stop):
    """Section 6: entries start .. stop-1 of the epoch's sequence; shards without any are not permuted."""
    found, at = [], 0
    for shard in permutation(-(-samples // shard_size), seed, epoch, 2**64 - 1):
        size = min(shard_size, samples - shard * shard_size)
        if at < stop and start < at + size:
            found += [shard * shard_size + x for x in permutation(size, seed, epoch, shard)[max(0, start - at) : stop - at]]
        at += size
    return found


def batches(statement, batch):
    """Section 6: idx[t][i]."""
    n, s, steps = statement["samples"], statement["shard_size"], statement["steps"]
    require(min(n, s) <= 2**20 and -(-n // s) <= 2**20 and n >= batch, "schedule")
    require(steps * batch <= 2**22, "schedule: too many samples")
    found = []
    for t in range(statement["first_step"], statement["first_step"] + steps):
        epoch, k = divmod(t, n // batch)
        found.append(epoch_part(statement["seed"], epoch, n, s, k * batch, (k + 1) * batch))
    return found


# ---- 7 geometry -------------------------------------------------------------------------------------------------------


def check_geometry_fields(geometry):
    """Section 7."""
    fields(geometry, "hash level_bits log_inverse_rate log_row max_budget", "geometry")
    require(geometry["hash"] == "blake2s-256", "geometry: hash")
    for name, low, high in (("level_bits", 1, 256), ("log_inverse_rate", 1, 4), ("log_row", 2, 24)):
        integer(geometry[name], low, high, name)
    integer(geometry["max_budget"], 1, 2 ** geometry["log_row"] // 8, "max_budget")


def geometry_digest(geometry):
    return sha256(b"zkjax geometry 2\0" + canonical(geometry))


def radius(row, code, padding):
    return max(0, (code - row - padding) // 2)


@cache
def query_count(row, code, budget, level_bits):
    """Section 7: q(k, n, b, lambda). It only grows, so the check b q <= k/8 may come first."""
    q = 1
    while True:
        require(budget * q <= row // 8, "geometry: an opening budget needs longer rows")
        e = radius(row, code, budget * q)
        require(e > 0, "geometry: no decoding radius")
        needed = q
        while (code - e) ** needed << level_bits > code**needed:
            needed += 1
        if needed == q:
            return q
        q = needed


def check_geometry(geometry):
    row = 2 ** geometry["log_row"]
    return query_count(row, row << geometry["log_inverse_rate"], geometry["max_budget"], geometry["level_bits"])


@dataclass(frozen=True)
class Level:
    """Section 7: (L, r, rho, Q)."""

    length: int
    rows: int
    rate: int
    queries: int

    @property
    def code(self):
        return self.length - self.rows + self.rate


@cache
def plan(length, level_bits):
    """Section 7: (cost, levels, log_clear)."""
    best = (16 << length, (), length)
    for r in range(2, min(7, length - 3) + 1):
        below = plan(length - r, level_bits)
        for rho in range(1, 7):
            code = length - r + rho
            q = query_count(2 ** (length - r), 2**code, 0, level_bits)
            if q > 2 ** (code - 1) or code > 32:
                continue
            path = 32 * q * max(1, code - q.bit_length() + 1)
            cost = below[0] + q * 16 * 2**r + path + 32 * (r + 1) + 2 ** (1 + length + rho) // 128
            if cost < best[0]:
                best = (cost, (Level(length, r, rho, q), *below[1]), below[2])
    return best


# ---- 8 commitments ----------------------------------------------------------------------------------------------------


def blake2s(data, person):
    return hashlib.blake2s(data, person=person).digest()


def part_tag(kind, number, part):
    """Section 8.2."""
    return blake2s(f"{number} {kind} {part}".encode(), b"zkjxtree")


def column_digest(tag, x, salt, entries):
    """Section 8.2."""
    return blake2s(tag + u64(x) + u64(len(entries)) + salt + b"".join(map(u64, entries)), b"zkjxleaf")


def leaf(digests):
    """Section 8.2: over the column digests of one part, or of two."""
    return digests[0] if len(digests) == 1 else blake2s(b"".join(digests), b"zkjxpair")


def inner_node(left, right):
    """Section 8.2."""
    return blake2s(left + right, b"zkjxnode")


def open_columns(body, parts, log_code, indices, root, salted=True):
    """Section 8.3: the columns of each opened part, each a list of integers.

    parts: for each part of the tree its tag and the entries of a column, or None if it is not opened.
    """

    def cut(raw, size):
        return [raw[i : i + size] for i in range(0, len(raw), size)]

    found, digests = [], {}
    for tag, entries in parts:
        if entries is not None:
            salts = cut(body.raw("salts", 16 * len(indices)), 16) if salted else [bytes(16)] * len(indices)
            columns = cut(body.base("columns", len(indices) * entries), entries)
            digests[tag] = [column_digest(tag, *column) for column in zip(indices, salts, columns)]
            found.append(columns)
    for tag, _ in parts:
        if tag not in digests:
            digests[tag] = cut(body.raw("other leaves", 32 * len(indices)), 32)
    leaves = [leaf(halves) for halves in zip(*(digests[tag] for tag, _ in parts), strict=True)]
    siblings = cut(body.raw("siblings", 32 * sum(map(len, unknown(indices, log_code)))), 32)
    require(top_of(dict(zip(indices, leaves)), siblings, log_code, inner_node) == root, "Merkle path")
    return found


def unknown(known, depth):
    """Section 8.3: for each level from below the nodes whose digests are sent."""
    levels = []
    for _ in range(depth):
        levels.append([i ^ 1 for i in known if i ^ 1 not in known])
        known = sorted({i >> 1 for i in known})
    return levels


def top_of(nodes, siblings, depth, join):
    """Section 8.3: where leaves (index to digest, ascending) and exactly their siblings lead."""
    levels, at = unknown(list(nodes), depth), 0
    require(len(siblings) == sum(map(len, levels)), "number of siblings")
    for level in levels:
        for i in level:
            nodes[i], at = siblings[at], at + 1
        nodes = {i >> 1: join(nodes[i], nodes[i + 1]) for i in nodes if i % 2 == 0}
    return nodes[0]


def commitment_digest(geometry, c):
    """Section 8.4."""
    parts = "".join(f"{part['name']} {part['rows']} {part['budget']} " for part in c["parts"])
    text = f"{c['number']} {int(c['masked'])} {parts}{c['kind']}"
    return blake2s(geometry_digest(geometry) + bytes.fromhex(c["root"]) + text.encode(), b"zkjxcomm")


def part_digest(geometry, c, name):
    """Section 8.4."""
    return blake2s(commitment_digest(geometry, c) + name.encode(), b"zkjxpart")


def dataset_root(geometry, told, shards):
    """Section 8.5: where these shards and the siblings lead. told: samples, shard_size and siblings."""
    leaves = {c["number"]: sha256(b"zkjax dataset leaf\0" + commitment_digest(geometry, c)) for c in shards}
    siblings, depth = [bytes.fromhex(x) for x in told["siblings"]], bits(-(-told["samples"] // told["shard_size"]))
    node = top_of(leaves, siblings, depth, lambda left, right: sha256(b"zkjax dataset node\0" + left + right))
    return sha256(b"zkjax dataset root\0" + u64(told["samples"]) + u64(told["shard_size"]) + node)


def stream_block(seed, label, i):
    """Section 8.6."""
    return blake2s(seed + label.encode().ljust(16, b"\0") + u64(i), b"zkjxseed")


def random_coefficient(seed, j):
    """Section 8.6: coefficient j of a part, row by row."""
    words = struct.unpack("<4Q", stream_block(seed, "padding", j))
    return next((word for word in words if word < P), words[-1] % P)


def column_salt(seed, x):
    """Section 8.6."""
    block = stream_block(seed, "salt", x // 2)
    return block[16:] if x % 2 else block[:16]


def codeword(coefficients, log_order):
    """Section 8.1: the values of a polynomial of fewer than 2^log_order coefficients at all powers of the root."""
    if log_order == 0:
        return [sum(coefficients) % P]
    even, odd = (codeword(coefficients[i::2], log_order - 1) for i in (0, 1))
    power, root, low, high = 1, root_of_unity(log_order), [], []
    for a, b in zip(even, odd):
        low.append((a + power * b) % P)
        high.append((a - power * b) % P)
        power = power * root % P
    return low + high


def root_from_seed(geometry, c, rows, seed):
    """Section 8.6: the root of a commitment of one part, from its rows (lists of integers below p) and the seed."""
    (part,) = c["parts"]
    code = geometry["log_row"] + geometry["log_inverse_rate"]
    count = part["budget"] * check_geometry(geometry)
    words = [codeword(row + [random_coefficient(seed, i * count + j) for j in range(count)], code) for i, row in enumerate(rows)]
    tag = part_tag(c["kind"], c["number"], part["name"])
    nodes = [column_digest(tag, x, column_salt(seed, x), column) for x, column in enumerate(zip(*words))]
    while len(nodes) > 1:
        nodes = [inner_node(a, b) for a, b in zip(nodes[::2], nodes[1::2])]
    return nodes[0]


# ---- 9 layouts --------------------------------------------------------------------------------------------------------


def axis_pieces(length):
    """Section 9.1: [(start, length)]."""
    best, best_total = None, None
    for count in (1, 2, 3):
        cut, start, total = [], 0, 0
        for _ in range(count - 1):
            largest = 1 << ((length - start).bit_length() - 1)
            if largest == length - start:
                break
            cut.append((start, largest))
            start, total = start + largest, total + largest
        cut.append((start, length - start))
        total += 1 << bits(length - start)
        if best is None or total < best_total:
            best, best_total = cut, total
        if 100 * best_total <= 105 * length:
            break
    return best


@dataclass(frozen=True)
class Box:
    """Section 9.1."""

    key: object
    starts: tuple
    lengths: tuple
    offset: int

    @property
    def bits(self):
        return sum(map(bits, self.lengths))


class Vector:
    """A vector over K that is the same as itself only: section 12.3 says which vectors are one."""

    def __init__(self, entries):
        self.entries = list(entries)
        self._total = None

    def __len__(self):
        return len(self.entries)

    @property
    def total(self):
        if self._total is None:
            self._total = sum(self.entries, ZERO)
        return self._total


@dataclass(frozen=True)
class Weight:
    """Section 9.2: the weight of a box; vectors: one for each axis of its tensor."""

    key: object
    scalar: K
    vectors: tuple

    @property
    def total(self):
        """ones(w) of section 13.1."""
        return math.prod((v.total for v in self.vectors), start=self.scalar)


class Layout:
    """Section 9.1. tensors: [(key, shape)]."""

    formed = ()  # the matrix's name and the first block of each run on whose cells claims are left (section 10.9)

    def __init__(self, tensors):
        self.shapes = dict(tensors)
        boxes = []
        for key, shape in tensors:
            large = math.prod(1 << bits(n) for n in shape) >= 2**10
            cuts = [[(0, n)] for n in shape]
            for d in sorted(range(len(shape)), key=lambda d: Fraction(shape[d], 1 << bits(shape[d]))):
                cut = axis_pieces(shape[d])
                if large and (len(shape) <= 3 or math.prod(map(len, cuts)) * len(cut) <= 2):
                    cuts[d] = cut
            for box in itertools.product(*cuts):
                boxes.append(Box(key, tuple(start for start, _ in box), tuple(n for _, n in box), 0))
        require(len(boxes) <= 2**13, "circuit: too many boxes")
        boxes.sort(key=lambda box: (-box.bits, box.lengths))
        self.boxes, self.size = [], 0
        for box in boxes:
            self.boxes.append(replace(box, offset=self.size))
            self.size += 1 << box.bits
        self.num_vars = bits(max(self.size, 1))

    def weights(self, point):
        """Section 9.2, in the order of the boxes."""
        memo, found = {}, []
        for box in self.boxes:
            high = len(point) - box.bits
            scalar, position, vectors = ONE, high, []
            for i, r in enumerate(point[:high]):
                scalar = scalar * (r if box.offset >> (len(point) - 1 - i) & 1 else 1 - r)
            for start, length, full in zip(box.starts, box.lengths, self.shapes[box.key]):
                origin = position, start, length, full
                if origin not in memo:
                    inside = eq_vector(point[position : position + bits(length)], length)
                    memo[origin] = Vector([ZERO] * start + inside + [ZERO] * (full - start - length))
                vectors.append(memo[origin])
                position += bits(length)
            found.append(Weight(box.key, scalar, tuple(vectors)))
        return found


def placed(layout, tensors, row):
    """Section 9.1: rows of cells that hold these tensors (row-major integers, by key), as field elements, and zeros."""
    cells = [0] * (row_count(layout, row) * row)
    for box in layout.boxes:
        shape, entries = layout.shapes[box.key], tensors[box.key]
        for within in itertools.product(*map(range, box.lengths)):
            cell = source = 0
            for e, start, length, full in zip(within, box.starts, box.lengths, shape):
                cell, source = cell << bits(length) | e, source * full + start + e
            cells[box.offset + cell] = entries[source] % P
    return [cells[i : i + row] for i in range(0, len(cells), row)]


def row_count(layout, row):
    """Section 9.3."""
    return max(1, -(-layout.size // row))


# ---- 10 what a chunk commits and looks up -----------------------------------------------------------------------------


def limbs(shift, table_bits):
    """Section 10.1: widths, lowest first."""
    count = max(1, -(-shift // table_bits))
    return [shift // count + (j < shift % count) for j in range(count)]


def table_shape(table):
    """Section 10.2. A table is (kind, width), of functions (kind, width, columns)."""
    return 1 << (table[1] - table[1] // 2), 1 << (table[1] // 2)


class Part(NamedTuple):
    """Section 10.3: coefficient * tensor, in a column.

    along: how a tensor of another shape stands in it. "repeated": it lacks the last axis; "later": the sum of the entries that come
    later along the last axis; "summed": over a last axis of ``size`` entries; "columns": such an axis of which each entry is a column.
    """

    coefficient: int
    key: tuple
    along: str = ""
    size: int = 1


@dataclass(frozen=True)
class Lookup:
    """Section 10.3. columns: affine forms (constant, [Part]). added: to the entries that are looked up twice."""

    shape: tuple
    table: tuple
    columns: list
    stepped: bool = True
    added: int = 0


LOOKED_UP = (*ROUNDED, "range", "largest", "divide", "root")  # section 10.3, 1, in its order


def lookups(circuit, statement):
    """Section 10.3."""
    steps = statement["steps"]
    found = [replace(x, shape=(steps, *x.shape)) for of_node in circuit.node_lookups.values() for x in of_node]
    for k, x in enumerate(circuit.inputs):
        found.append(Lookup((steps, *x["shape"]), ("range", x["bits"] + 1), [(2 ** x["bits"], [Part(1, ("input", k))])]))
    for name, p, key, shape, width in range_checks(circuit, statement):
        found += in_limbs(name, p, 2 ** (width - 1), [Part(1, key)], width, circuit.table_bits, shape, False)
    for kind, p, shape in roundings(circuit, statement):
        for name, constant, parts, width in rounding_forms(circuit, kind, p):
            found += in_limbs(name, p, constant, parts, width, circuit.table_bits, shape, kind == "hat")
    return few_tables(found)


def few_tables(found):
    """Section 10.3: narrow ranges that few entries are looked up in go to the next wider table, twice."""
    entries = {}
    for x in found:
        if x.table[0] == "range":
            entries[x.table[1]] = entries.get(x.table[1], 0) + math.prod(x.shape)
    kept = [w for w in entries if w == max(entries) or entries[w] >= 3 * 2**w]
    result = []
    for x in found:
        if x.table[0] == "range" and x.table[1] not in kept:
            wide = min(w for w in kept if w > x.table[1])
            x = replace(x, table=("range", wide), added=2**wide - 2 ** x.table[1])
        result.append(x)
    return result


def lookups_of(circuit, i):
    """Section 10.3, 1: those of a node, shapes without steps."""
    node, shape = circuit.nodes[i], circuit.shapes[i]
    if node["op"] in ROUNDED:
        yield site_lookup(circuit, i, 0, ("quotient", i))
    elif node["op"] == "range":
        yield site_lookup(circuit, i, -node["low"], ("node", node["inputs"][0]))
    elif node["op"] == "divide":
        yield Lookup(shape, ("range", node["bits"] + 1), [(0, [Part(1, ("quotient", i))])])
    elif node["op"] == "largest":
        x, o = node["inputs"][0], ("first", i)
        form = [Part(1, ("largest", i), "repeated"), Part(-1, ("node", x)), Part(-1, o, "later")]
        yield Lookup(circuit.shapes[x], ("first", node["width"]), [(node["low"], form), (0, [Part(1, o)])])
        yield Lookup(shape, ("range", 0), [(-1, [Part(1, o, "summed", circuit.shapes[x][-1])])])
    for name, constant, parts, width in forms(circuit, i):
        yield from in_limbs(name, i, constant, parts, width, circuit.table_bits, shape)


def site_lookup(circuit, i, offset, key):
    """Section 10.6: of a site, with what rides on it."""
    columns = [(offset, [Part(1, key)])]
    for j in circuit.riders.get(i, ()):
        columns.append((0, [Part(1, (circuit.op(j), j), *(("columns", circuit.nodes[j]["size"]) if circuit.op(j) == "onehot" else ()))]))
    return Lookup(circuit.shapes[i], table_of(circuit, i), columns)


def added(node):
    """Section 10.1: what a rescale or a ceiling adds before it drops bits."""
    return 2 ** node["shift"] - 1 if node["op"] == "ceiling" else 2 ** node["shift"] >> 1


def forms(circuit, i):
    """Sections 10.1 and 10.8: (name of its limbs, constant, parts, width) of each form of a node that is cut into limbs."""
    node, reads = circuit.nodes[i], [("node", j) for j in circuit.nodes[i]["inputs"]]
    after = "node", i + 1  # of a divide or a root
    if node["op"] in ROUNDED:
        shift = node["shift"]
        constant = added(node) + 2 ** (shift + node["bits"])
        return [("limb", constant, [Part(1, reads[0]), Part(-(2**shift), ("quotient", i))], shift)]
    if node["op"] == "divide":
        x, d = reads
        return [
            ("remainder", 0, [Part(2, x), Part(1, d), Part(-2, after)], node["divisor"]),
            ("excess", -1, [Part(1, d), Part(-2, x), Part(2, after)], node["divisor"]),
        ]
    if node["op"] == "root":
        return [
            ("remainder", 0, [Part(1, reads[0]), Part(-1, after)], node["size"]),
            ("excess", 0, [Part(2, ("root", i)), Part(-1, reads[0]), Part(1, after)], node["size"]),
        ]
    return []


def in_limbs(name, p, constant, parts, width, table_bits, shape, stepped=True):
    """Section 10.1: the lookups of a form, whose upper limbs are committed under this name."""
    widths, lowest, position, found = limbs(width, table_bits), list(parts), 0, []
    for j, narrow in enumerate(widths[1:], start=1):
        position += widths[j - 1]
        found.append(Lookup(shape, ("range", narrow), [(0, [Part(1, (name, p, j))])], stepped))
        lowest.append(Part(-(2**position), (name, p, j)))
    return [*found, Lookup(shape, ("range", widths[0]), [(constant, lowest)], stepped)]


def range_checks(circuit, statement):
    """Section 10.3, 3: (name of the limbs, number, tensor, shape, width), in order."""
    for p, width in enumerate(statement["widths"]):
        if width > 0:
            yield "initial range", p, start_key(circuit, p), tuple(circuit.parameters[p]["shape"]), width
    for name, first, count, width in form_runs(circuit, statement):
        yield "form range", f"{name} {first}", ("form", name, first), (count, FORMS), width


BLOCK, FORMS = 4096, 320  # section 10.9: cells of a block, forms of each


def matrices(circuit):
    """Section 10.9: the parameters of each matrix of which there may be random forms."""
    frozen = circuit.frozen
    return {"initial": [p for p in range(len(circuit.parameters)) if p not in frozen and p not in circuit.given], "frozen": frozen}


def form_widths(circuit, statement):
    """Section 10.9: of each matrix the widths, block by block, of the states that have cells there."""
    found = {}
    for name, own in matrices(circuit).items():
        for box in parameters_layout(circuit, name, own).boxes if own else ():
            for block in range(box.offset // BLOCK, -(-(box.offset + 2**box.bits) // BLOCK)):
                found.setdefault((name, block), set()).add(statement["widths"][box.key[1]])
    return found


def form_runs(circuit, statement):
    """Section 10.9: (matrix, its first block, blocks, width) of each run."""
    found = []
    for (name, block), (width, *_) in form_widths(circuit, statement).items():
        if width < 0:
            if found and found[-1][0] == name and found[-1][1] + found[-1][2] == block and found[-1][3] == -width:
                found[-1][2] += 1
            else:
                found.append([name, block, 1, -width])
    return found


def check_random_forms(circuit, statement):
    """Section 4.3, item 3."""
    for widths in form_widths(circuit, statement).values():
        require(len(widths) == 1 or min(widths) >= 0, "statement: random forms of a part of a block")
    formed, own = [p for p, width in enumerate(statement["widths"]) if width < 0], sum(map(list, matrices(circuit).values()), [])
    require(set(formed) <= set(own), "statement: random forms")
    evaluated = statement["frozen"] is not None and statement["frozen"]["commitment"]["kind"] == "weights"
    require(not (formed and evaluated), "statement: random forms of an evaluation")
    require(not formed or 2 ** statement["geometry"]["log_row"] >= BLOCK, "geometry: random forms")


def roundings(circuit, statement):
    """Section 10.3, 4: (hat or final, parameter, shape), in order."""
    count = len(periods(circuit, statement["first_step"], statement["steps"]))
    for p, x in enumerate(circuit.parameters):
        if x["recurrence"] is not None:
            yield from ([("hat", p, (count - 1, *x["shape"]))] if count > 1 else [])
            yield "final", p, tuple(x["shape"])


def rounding_forms(circuit, kind, p):
    """The two forms of a rounding: (name of its limbs, constant, parts, width)."""
    found = circuit.parameters[p]["recurrence"]
    sum_of = ("inner" if kind == "hat" else "last", p)
    yield f"{kind} remainder", 2 ** found["end"] // 2, [Part(1, sum_of), Part(-(2 ** found["end"]), (kind, p))], found["end"]
    yield f"{kind} range", 2 ** found["bits"], [Part(1, (kind, p))], found["bits"] + 1


@dataclass
class Chunk:
    """Sections 4.3 and 10: the circuit, the statement, and all that follows from them."""

    circuit: Circuit
    statement: dict
    batches: list
    shards: list = field(init=False)
    origins: dict = field(default_factory=dict)

    def __post_init__(self):
        circuit, statement, geometry = self.circuit, self.statement, self.statement["geometry"]
        self.steps, self.first_step = statement["steps"], statement["first_step"]
        self.row = 2 ** geometry["log_row"]
        self.shards = sorted({sample // statement["shard_size"] for batch in self.batches for sample in batch})
        self.lookups = lookups(circuit, statement)
        self.tables = sorted({x.table for x in self.lookups})
        sites = [(("lookup", i), (2, *x.shape) if x.added else x.shape) for i, x in enumerate(self.lookups)]
        sites += [(("table", i), table_shape(t)) for i, t in enumerate(self.tables)]
        self.sites, self.used_leaves = Layout(sites), sum(math.prod(shape) for _, shape in sites)
        of_leaves = [x.table for x in self.lookups] + self.tables
        self.leaf_degree = sum(math.prod(shape) * max(1, columns_in(t) - 1) for (_, shape), t in zip(sites, of_leaves, strict=True))
        self.layouts = {role: weights_layouts(circuit, role, statement["given"]) for role in ("initial", "final")}
        for name, x in frozen_groups(statement).items():
            self.layouts[name] = {frozen_part(x): parameters_layout(circuit, "frozen", x["parameters"])}
        self.layouts |= {f"shard {j}": {"cells": self.shard_layout(j)} for j in self.shards}
        for name, first, *_ in form_runs(circuit, statement):
            layout = next(iter(self.layouts[name].values()))
            layout.formed = (*layout.formed, (name, first))
        self.node_levels, self.parameter_levels, _ = levels(circuit)
        self.depth = max(self.node_levels + self.parameter_levels)

    def level(self, key):
        """Section 13.3: of what a walk's term is on; 0 for what is committed and for batches."""
        kind = key[0]
        return self.parameter_levels[key[1]] if kind in STATES else self.node_levels[key[1]] if kind in ("dot", "gate") else 0

    def shard_size(self, j):
        size = self.statement["shard_size"]
        return min(size, self.statement["samples"] - j * size)

    def shard_layout(self, j):
        """Section 10.4."""
        return Layout([(("data", j, k), (self.shard_size(j), *x["shape"][1:])) for k, x in enumerate(self.circuit.inputs)])

    def once(self, *origin, make=None):
        """Section 12.3: one vector for each origin (names, numbers, vectors)."""
        if origin not in self.origins:
            self.origins[origin] = Vector(make())
        return self.origins[origin]

    def ones(self, length):
        return self.once("ones", length, make=lambda: [ONE] * length)


def parameters_layout(circuit, role, held):
    """These parameters, in order."""
    return Layout([((role, p), tuple(circuit.parameters[p]["shape"])) for p in held])


def weights_layouts(circuit, role, given):
    """Section 10.4: by part."""
    others = [p for p in range(len(circuit.parameters)) if p not in circuit.frozen and p not in circuit.given]
    found = {"parameters": parameters_layout(circuit, role, others)}
    if circuit.given and not (given and role == "initial"):
        found["other"] = parameters_layout(circuit, role, circuit.given)
    return found


def start_key(circuit, p):
    """Section 10.4: what is committed of a parameter at the chunk's beginning."""
    return ("frozen" if p in circuit.frozen else "initial"), p


COMMITTED = (*ROUNDED, "sign", "function", "onehot", "largest", "divide", "root")  # section 10.4, in its order


def trace_layout(chunk, masks):
    """Section 10.4. masks: name to its number of elements of K."""
    circuit, tensors = chunk.circuit, []
    for op in COMMITTED:
        for i in circuit.of(op):
            keys = [("quotient" if op in (*ROUNDED, "divide") else op, i)]
            if op == "largest":
                tensors.append((keys.pop(), (chunk.steps, *circuit.shapes[i])))
                keys.append(("first", i))
            for name, _, _, width in forms(circuit, i):
                keys += [(name, i, j) for j in range(1, len(limbs(width, circuit.table_bits)))]
            shape = circuit.shapes[circuit.nodes[i]["inputs"][0] if op == "largest" else i]
            tensors += [(key, (chunk.steps, *shape)) for key in keys]
    for kind, p, shape in roundings(circuit, chunk.statement):
        tensors += [((kind, p), shape)] if kind == "hat" else []
        for name, _, _, width in rounding_forms(circuit, kind, p):
            tensors += [((name, p, j), shape) for j in range(1, len(limbs(width, circuit.table_bits)))]
    for name, p, _, shape, width in range_checks(circuit, chunk.statement):
        tensors += [((name, p, j), shape) for j in range(1, len(limbs(width, circuit.table_bits)))]
    tensors += [(("multiplicity", j), table_shape(table)) for j, table in enumerate(chunk.tables)]
    return Layout(tensors + [(("mask", name), (count, 2)) for name, count in masks.items()])


def stack(rows):
    """Section 10.5: (offset of each part, l0)."""
    offsets, height = [0] * len(rows), 0
    for i in sorted(range(len(rows)), key=lambda i: -rows[i]):
        offsets[i] = height
        height += 1 << bits(rows[i])
    return offsets, bits(height)


# ---- 10.6 functions ---------------------------------------------------------------------------------------------------

DIGITS = decimal.Context(prec=36, rounding=decimal.ROUND_HALF_EVEN, Emin=decimal.MIN_EMIN, Emax=decimal.MAX_EMAX, traps=[])
MANY = decimal.Context(prec=120, Emin=decimal.MIN_EMIN, Emax=decimal.MAX_EMAX, traps=[])  # for what is then rounded to 36 digits
NAN, INFINITY = Decimal("NaN"), Decimal("Infinity")
TAU = Decimal("6.28318530717958647692528676655900577")  # 2 pi with 36 digits


@cache
def pi():
    """With some 150 digits, by Machin's formula."""

    def arctangent(n):  # of 1 / n, in units of 10^-160
        total, term, k = 0, 10**160 // n, 0
        while term:
            total, term, k = total + (-term if k % 2 else term) // (2 * k + 1), term // (n * n), k + 1
        return total

    return Decimal(4 * (4 * arctangent(5) - arctangent(239))).scaleb(-160, MANY)


def series(first, ratio):
    """The sum of the terms first, first * ratio(1), first * ratio(1) * ratio(2), .., in many digits."""
    total = term = first
    for k in itertools.count(1):
        term = term * ratio(k)
        total += term
        if term == 0 or term.adjusted() < total.adjusted() - 125 and term.adjusted() < -125:
            return total


def wave(x, quarters):
    """cos(x - quarters * pi / 2) with 36 digits."""
    if not abs(x) < TAU.scaleb(36):
        return NAN
    with decimal.localcontext(MANY):
        turns = (x / (pi() / 2)).to_integral_value()
        rest, quarters = x - turns * (pi() / 2), (int(turns) - quarters) % 4  # cos(rest + quarters * pi / 2)
        square = rest * rest
        if quarters % 2:
            found = series(rest, lambda k: -square / (2 * k * (2 * k + 1)))
        else:
            found = series(Decimal(1), lambda k: -square / (2 * k * (2 * k - 1)))
    return DIGITS.plus(-found if quarters in (1, 2) else found)


def erf(x):
    if not abs(x) <= 9:
        return x if x.is_nan() else Decimal(1).copy_sign(x)
    with decimal.localcontext(MANY):
        sums = sum_of_erf(x)
        found = 2 * sums / pi().sqrt()
    return DIGITS.plus(found)


def sum_of_erf(x):
    """The sum of (-1)^k x^(2k+1) / k! / (2k+1)."""
    total = term = x
    for k in itertools.count(1):
        term = -term * x * x / k
        total += term / (2 * k + 1)
        if term == 0 or k > x * x and term.adjusted() < total.adjusted() - 125:
            return total


def exp(x):
    return INFINITY if x > 10**4 else Decimal(0) if x < -(10**4) else x.exp()


def cbrt(x):
    return Decimal(0) if x == 0 else (abs(x).ln() / 3).exp().copy_sign(x)


def logistic(x):
    return 1 / (1 + exp(-x))


def nan_or(choose):
    return lambda x, y: NAN if x.is_nan() or y.is_nan() else choose(x, y)


def truth(compare):
    return lambda x, y: Decimal(int(compare(x, y)))


FUNCTIONS = {  # name: (number of arguments, function)
    "add": (2, lambda x, y: x + y),
    "sub": (2, lambda x, y: x - y),
    "mul": (2, lambda x, y: x * y),
    "div": (2, lambda x, y: x / y),
    "max": (2, nan_or(lambda x, y: y if y > x else x)),
    "min": (2, nan_or(lambda x, y: y if y < x else x)),
    "neg": (1, lambda x: -x),
    "abs": (1, abs),
    "sign": (1, lambda x: x if x.is_nan() else Decimal(int(x > 0) - int(x < 0))),
    "floor": (1, lambda x: x.to_integral_value(decimal.ROUND_FLOOR)),
    "ceil": (1, lambda x: x.to_integral_value(decimal.ROUND_CEILING)),
    "round": (1, lambda x: x.to_integral_value(decimal.ROUND_HALF_EVEN)),
    "exp": (1, exp),
    "expm1": (1, lambda x: exp(x) - 1),
    "log": (1, lambda x: x.ln()),
    "log1p": (1, lambda x: (1 + x).ln()),
    "sqrt": (1, lambda x: x.sqrt()),
    "cbrt": (1, cbrt),
    "logistic": (1, logistic),
    "tanh": (1, lambda x: 2 * logistic(2 * x) - 1),
    "erf": (1, erf),
    "cos": (1, lambda x: wave(x, 0)),
    "sin": (1, lambda x: wave(x, 1)),
    "gt": (2, truth(lambda x, y: x > y)),
    "ge": (2, truth(lambda x, y: x >= y)),
    "lt": (2, truth(lambda x, y: x < y)),
    "le": (2, truth(lambda x, y: x <= y)),
    "eq": (2, truth(lambda x, y: x == y)),
    "ne": (2, truth(lambda x, y: x != y)),
    "and": (2, lambda x, y: y if y < x else x),
    "or": (2, lambda x, y: y if y > x else x),
    "not": (1, lambda x: 1 - x),
    "select": (3, lambda which, no, yes: no if which == 0 else yes),
}


def check_program(program):
    require(isinstance(program, list) and 1 <= len(program) <= 256 and program[0] == ["x"], "program")
    for place, instruction in enumerate(program[1:], start=1):
        require(isinstance(instruction, list) and instruction and isinstance(instruction[0], str), "program: an instruction")
        name, *reads = instruction
        if name == "number":
            integers(reads, -(2**63), 2**63, "number")
            require(len(reads) == 2 and reads[1] > 0 and math.gcd(*reads) == 1, "number")
        else:
            integers(reads, 0, place - 1, "program: what an instruction reads")
            require(name in FUNCTIONS and len(reads) == FUNCTIONS[name][0], "program: an instruction")


def quotient(x):
    """A rational in decimals."""
    return Decimal(x.numerator) / Decimal(x.denominator)


def value_of(program, x):
    """The value of a program, a tuple of tuples, at a rational."""
    with decimal.localcontext(DIGITS):
        found = []
        for name, *reads in program:
            if name in ("x", "number"):
                found.append(quotient(x if name == "x" else Fraction(*reads)))
            else:
                found.append(FUNCTIONS[name][1](*(found[j] for j in reads)))
        return found[-1]


def nearest(value, scale):
    """The entry of a value; None: there is none."""
    with decimal.localcontext(DIGITS):
        found = (value * quotient(Fraction(2) ** scale) + quotient(Fraction(1, 2))).to_integral_value(decimal.ROUND_FLOOR)
        return int(found) if found.is_finite() and abs(found) < 2**30 else None


def column_of(node):
    """(program, low, unit, scale, size) of what rides on a site; of a sign: ``sign_column``."""
    program = tuple(map(tuple, node["program"]))
    one = node["op"] == "onehot"
    return program, node["low"], tuple(node["unit"]), 0 if one else node["scale"], node["size"] if one else 0


def sign_column(low):
    return (("x",), ("number", 0, 1), ("gt", 0, 1)), low, (1, 1), 0, 0


@cache
def column_entries(program, low, unit, scale, width):
    """The entries at low, low + 1, .."""
    return tuple(nearest(value_of(program, Fraction(*unit) * (low + v)), scale) for v in range(2**width))


def least_and_largest(column, width):
    """Of the entries of a column, of which there is one at least."""
    found = [x for x in column_entries(*column[:4], width) if x is not None]
    require(found, "a function without a value")
    return min(found), max(found)


@cache
def table_columns(columns, width):
    """All columns of a table of functions."""
    found = [list(range(2**width))]
    every = [column_entries(*column[:4], width) for column in columns]
    for column, entries in zip(columns, every):
        least = min(0, least_and_largest(column, width)[0])
        size = column[4]
        found += [[int(x == k) for x in entries] for k in range(size)] if size else [[x if x is None else x - least for x in entries]]
    whole = [v for v in range(2**width) if all(entries[v] is not None for entries in every)]
    require(whole, "functions without a common row")
    present = set(whole)
    return [[column[v if v in present else whole[0]] for v in range(2**width)] for column in found]


def table_of(circuit, i):
    """The table of a site: (kind, width), or ("function", width, columns)."""
    (low, width), riders = circuit.span(i), circuit.riders.get(i, ())
    if not riders:
        return "range", width
    if [circuit.op(j) for j in riders] == ["sign"] and low == -(2 ** (width - 1)):
        return "sign", width
    return "function", width, tuple(sign_column(low) if circuit.op(j) == "sign" else column_of(circuit.nodes[j]) for j in riders)


def columns_in(table):
    """How many columns a table has."""
    if table[0] == "function":
        return 1 + sum(column[4] or 1 for column in table[2])
    return 1 if table[0] == "range" else 2


# ---- 11 hidden scalars ------------------------------------------------------------------------------------------------


class Form:
    """Section 11: constant + sum of coefficient * leaf; leaves: entries of pad, a, b, c, and functionals of committed tensors."""

    def __init__(self, constant=ZERO, leaves=None):
        self.constant, self.leaves = constant, leaves or {}

    def __add__(self, other):
        if not isinstance(other, Form):
            return Form(self.constant + other, self.leaves)
        leaves = dict(self.leaves)
        for leaf_, x in other.leaves.items():
            leaves[leaf_] = leaves[leaf_] + x if leaf_ in leaves else x
        return Form(self.constant + other.constant, leaves)

    def __mul__(self, factor):
        return Form(self.constant * factor, {leaf_: x * factor for leaf_, x in self.leaves.items()})

    def __sub__(self, other):
        return self + other * -1


class Hidden:
    """Section 11: receives hidden scalars, collects constraints; section 19: what they cost."""

    def __init__(self, body):
        self.body, self.pads, self.triples = body, 0, 0
        self.constraints, self.functionals, self.errors = [], [], {}

    def draw(self, label):
        return self.body.transcript.element(label)

    def draws(self, label, count):
        return self.body.transcript.elements(label, count)

    def account(self, name, numerator):
        self.errors[name] = self.errors.get(name, 0) + numerator

    def receive(self, label, count):
        found = []
        for sent in self.body.elements(label, count):
            found.append(Form(sent, {("pad", self.pads): ONE}))
            self.pads += 1
        return found

    def receive_product(self, label):
        """(u, v, their product)."""
        self.triples += 1
        i = self.triples
        u, v = self.body.elements(label, 2)
        product = Form(u * v, {("b", i): u, ("a", i): v, ("c", 2 * i): ONE})
        return Form(u, {("a", i): ONE}), Form(v, {("b", i): ONE}), product

    def product(self, label, u, v):
        """Product of known forms."""
        a, b, product = self.receive_product(label)
        self.require_zero(u - a)
        self.require_zero(v - b)
        return product

    def require_zero(self, form):
        self.constraints.append(form)

    def functional(self, terms):
        self.functionals.append(list(terms))
        return Form(ZERO, {("functional", len(self.functionals) - 1): ONE})


# ---- 12 terms and their walk ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Term:
    """Section 12.1. groups: ((axes, Vector), ..)."""

    key: tuple
    scalar: K
    step: Vector | None
    groups: tuple

    @property
    def total(self):
        """<1, weight>."""
        vectors = [self.step, *(v for _, v in self.groups)]
        return math.prod((v.total for v in vectors if v is not None), start=self.scalar)


@dataclass(frozen=True)
class Claim:
    """Section 12.1."""

    terms: list
    constant: K
    value: Form


def simple_term(key, scalar, step, vectors):
    """Section 12.1: one group for each axis."""
    return Term(key, scalar, step, tuple(((d,), v) for d, v in enumerate(vectors)))


def merge_terms(terms):
    """Section 12.3: at the place of the first one."""
    merged = {}
    for term in terms:
        merged.setdefault((term.key, term.groups), []).append(term)
    return [sum_of_terms(same) for same in merged.values()]


def sum_of_terms(terms):
    first = terms[0]
    if all(term.step is first.step for term in terms):
        return replace(first, scalar=sum((term.scalar for term in terms), ZERO))
    steps = zip(*(term.step.entries for term in terms), strict=True)
    scalars = [term.scalar for term in terms]
    return replace(first, scalar=ONE, step=Vector(inner_product(entries, scalars) for entries in steps))


def merge_claims(claims, challenge):
    """Section 12.3, last paragraph."""
    terms, constant, value, power = [], ZERO, Form(), ONE
    for claim in claims:
        terms += [replace(term, scalar=term.scalar * power) for term in claim.terms]
        constant, value = constant + claim.constant * power, value + claim.value * power
        power = power * challenge
    return Claim(merge_terms(terms), constant, value)


def positions(dims):
    return itertools.product(*map(range, dims))


def flat_index(index, dims):
    at = 0
    for i, n in zip(index, dims, strict=True):
        at = at * n + i
    return at


def transposed(entries, dims, order):
    """Row-major entries with the axes in another order: result axis j is axis order[j]."""
    back = sorted(range(len(order)), key=lambda j: order[j])
    return [entries[flat_index([index[back[d]] for d in range(len(dims))], dims)] for index in positions([dims[j] for j in order])]


def finest_runs(below, shape):
    """Section 12.2: [(input axes, output axes)], without axes of one entry."""
    left, right = ([d for d, n in enumerate(lengths) if n > 1] for lengths in (below, shape))
    runs = []
    while left or right:
        ins, outs = [left.pop(0)], [right.pop(0)]
        while math.prod(below[d] for d in ins) != math.prod(shape[d] for d in outs):
            if math.prod(below[d] for d in ins) < math.prod(shape[d] for d in outs):
                ins.append(left.pop(0))
            else:
                outs.append(right.pop(0))
        runs.append((ins, outs))
    return runs


class Walk:
    """Sections 12.2 and 12.3: one walk of a list of terms, down to where linearity ends."""

    numbers = itertools.count()

    def __init__(self, chunk):
        self.chunk, self.circuit, self.name = chunk, chunk.circuit, next(self.numbers)
        self.waiting, self.work = {}, 0

    def run(self, terms):
        """(terms, constant)."""
        done, constant = [], ZERO
        for term in terms:
            if term.key[0] == "node":
                self.put(term.key[1], term)
            else:
                done.append(term)
        while self.waiting:
            i = max(self.waiting)
            node, arrived = self.circuit.nodes[i], merge_terms(self.waiting.pop(i))
            self.work += sum(1024 + sum(len(v) for _, v in term.groups) for term in arrived)
            require(self.work <= 2**26, "circuit: a walk has too many terms")
            for term in arrived:
                if node["op"] in LINEAR:
                    for below, moved in getattr(self, node["op"])(i, node, term):
                        self.put(below, moved)
                elif node["op"] in (*ROUNDED, "divide"):
                    done.append(replace(term, key=("quotient", i)))
                    constant = constant - term.total * 2 ** node["bits"]
                elif node["op"] in ("function", "largest"):
                    least = node["low"] if node["op"] == "largest" else min(0, least_and_largest(column_of(node), node["width"])[0])
                    done.append(replace(term, key=(node["op"], i)))
                    constant = constant + term.total * least
                elif node["op"] == "first":
                    done.append(replace(term, key=("first", node["inputs"][0])))
                elif node["op"] in ("input", "param", "next"):
                    done.append(replace(term, key=(node["op"], node["index"])))
                elif node["op"] == "const":
                    constant = constant + self.const(i, node, term)
                elif node["op"] == "residue":
                    done.append(replace(term, key=("draw", i)))
                else:
                    done.append(replace(term, key=(node["op"], i)))
        return merge_terms(done), constant

    def put(self, i, term):
        self.waiting.setdefault(i, []).append(replace(term, key=("node", i)))

    def once(self, *origin, make):
        return self.chunk.once("walk", self.name, *origin, make=make)

    # groups
    def rename(self, term, names, shape):
        """Axis d of a node of this shape becomes names[d]; a group whose order changes has its vector reordered."""
        groups = []
        for axes, vector in term.groups:
            dims, order = tuple(shape[d] for d in axes), tuple(sorted(range(len(axes)), key=lambda j: names[axes[j]]))
            if order != tuple(range(len(axes))):
                vector = self.once("transpose", dims, order, vector, make=lambda: transposed(vector.entries, dims, order))  # noqa: B023
            groups.append((tuple(sorted(names[d] for d in axes)), vector))
        return replace(term, groups=tuple(groups))

    def join(self, term, axes, shape):
        """All groups that meet ``axes`` become one, at the end."""
        meeting = [group for group in term.groups if set(group[0]) & set(axes)]
        if len(meeting) < 2:
            return term
        joined = [d for group, _ in meeting for d in group]
        dims, order = tuple(shape[d] for d in joined), tuple(sorted(range(len(joined)), key=lambda j: joined[j]))
        require(math.prod(dims) <= 2**20, "circuit: joined axes have too many entries")
        vectors = [v for _, v in meeting]
        vector = self.once("join", dims, order, *vectors, make=lambda: transposed(outer_product([v.entries for v in vectors]), dims, order))
        return replace(term, groups=(*(g for g in term.groups if g not in meeting), (tuple(sorted(joined)), vector)))

    def change(self, term, origin, axes, function):
        """Vectors of the groups that meet ``axes`` are changed by function(entries, group's axes)."""
        groups = []
        for group, vector in term.groups:
            if set(group) & set(axes):
                vector = self.once(*origin, group, vector, make=lambda: function(vector.entries, group))  # noqa: B023
            groups.append((group, vector))
        return replace(term, groups=tuple(groups))

    def drop_empty(self, term):
        """A group that has lost all its axes gives its only entry to the scalar."""
        scalar = math.prod((v.total for axes, v in term.groups if not axes), start=term.scalar)
        return replace(term, scalar=scalar, groups=tuple(g for g in term.groups if g[0]))

    # one method for each linear operation of the table in 12.2: [(input node, its term)]
    def linear(self, i, node, term):
        return [(j, replace(term, scalar=term.scalar * c)) for j, c in zip(node["inputs"], node["coefficients"])]

    def transpose(self, i, node, term):
        return [(node["inputs"][0], self.rename(term, node["permutation"], self.circuit.shapes[i]))]

    def reshape(self, i, node, term):
        below, shape = self.circuit.shapes[node["inputs"][0]], self.circuit.shapes[i]
        runs = finest_runs(below, shape)
        term = self.drop_empty(replace(term, groups=tuple((tuple(d for d in axes if shape[d] > 1), v) for axes, v in term.groups)))
        for _, outs in runs:
            term = self.join(term, outs, shape)
        groups = [(tuple(d for ins, outs in runs if set(outs) & set(axes) for d in ins), v) for axes, v in term.groups]
        groups += [((d,), self.chunk.ones(1)) for d, n in enumerate(below) if n == 1]
        terms = [replace(term, groups=tuple(groups))]
        for ins, outs in runs:
            if len(outs) == 1 and len(ins) == 2 and all(below[d] <= 3 for d in ins):
                terms = [part for term in terms for part in self.apart(term, tuple(ins), [below[d] for d in ins])]
        return [(node["inputs"][0], term) for term in terms]

    def apart(self, term, axes, lengths):
        """A group of these two axes as terms with two groups, one for each place along the shorter axis."""
        if axes not in [group for group, _ in term.groups]:
            return [term]
        short, terms = 0 if lengths[0] <= lengths[1] else 1, []
        for j in range(lengths[short]):
            groups = []
            for group, vector in term.groups:
                if group != axes:
                    groups.append((group, vector))
                    continue
                pairs = [(a, b) for a in range(lengths[0]) for b in range(lengths[1])]
                row = [x for pair, x in zip(pairs, vector.entries, strict=True) if pair[short] == j]
                row = self.once("apart", *lengths, j, vector, make=lambda: row)  # noqa: B023
                unit = [ONE if a == j else ZERO for a in range(lengths[short])]
                unit = self.chunk.once("unit", lengths[short], j, make=lambda: unit)  # noqa: B023
                groups += [((axes[short],), unit), ((axes[1 - short],), row)][:: 1 if short == 0 else -1]
            terms.append(replace(term, groups=tuple(groups)))
        return terms

    def window(self, i, node, term):
        (below,), axis, shape = node["inputs"], node["axis"], self.circuit.shapes[i]
        length, groups = self.circuit.shapes[below][axis], []
        for group, vector in self.join(term, (axis, axis + 1), shape).groups:
            kept = tuple(d for d in group if d != axis + 1)

            def moved_back(group=group, vector=vector, kept=kept):
                dims = [length if d == axis else shape[d] for d in kept]
                sums = [ZERO] * math.prod(dims)
                for index, x in zip(positions([shape[d] for d in group]), vector.entries):
                    at = dict(zip(group, index))
                    at[axis] = node["stride"] * at[axis] + node["dilation"] * at[axis + 1] - node["pad"]
                    if 0 <= at[axis] < length:
                        place = flat_index([at[d] for d in kept], dims)
                        sums[place] = sums[place] + x
                return sums

            if axis in group:
                vector = self.once("window", i, group, vector, make=moved_back)
            groups.append((tuple(d - (d > axis) for d in kept), vector))
        return [(below, replace(term, groups=tuple(groups)))]

    def broadcast(self, i, node, term):
        shape, names, groups = self.circuit.shapes[i], {d: j for j, d in enumerate(node["axes"])}, []
        for axes, vector in term.groups:
            dims, kept = tuple(shape[d] for d in axes), tuple(j for j, d in enumerate(axes) if d in names)

            def add_up(entries, dims=dims, kept=kept):
                sums = [ZERO] * math.prod(dims[j] for j in kept)
                for index, x in zip(positions(dims), entries):
                    at = flat_index([index[j] for j in kept], [dims[j] for j in kept])
                    sums[at] = sums[at] + x
                return sums

            if len(kept) < len(axes):
                vector = self.once("repeats", dims, kept, vector, make=lambda: add_up(vector.entries))  # noqa: B023
            groups.append((tuple(axes[j] for j in kept), vector))
        return [(node["inputs"][0], self.rename(self.drop_empty(replace(term, groups=tuple(groups))), names, shape))]

    def sum(self, i, node, term):
        below = self.circuit.shapes[node["inputs"][0]]
        term = self.rename(term, [d for d in range(len(below)) if d not in node["axes"]], self.circuit.shapes[i])
        added = tuple(((d,), self.chunk.ones(below[d])) for d in node["axes"])
        return [(node["inputs"][0], replace(term, groups=term.groups + added))]

    def changed_axes(self, i):
        below = self.circuit.shapes[self.circuit.nodes[i]["inputs"][0]]
        return below, self.circuit.shapes[i], [d for d, (m, n) in enumerate(zip(below, self.circuit.shapes[i])) if m != n]

    def slice(self, i, node, term):
        below, shape, axes = self.changed_axes(i)

        def spread(entries, group):
            placed = [ZERO] * math.prod(below[d] for d in group)
            for index, x in zip(positions([shape[d] for d in group]), entries):
                at = [node["start"][d] + j * node["stride"][d] for d, j in zip(group, index)]
                placed[flat_index(at, [below[d] for d in group])] = x
            return placed

        return [(node["inputs"][0], self.change(term, ("slice", i), axes, spread))]

    def picked(self, below, shape, place):
        """Entries of the result at place(axis, index below)."""

        def pick(entries, group):
            dims = [shape[d] for d in group]
            below_positions = positions([below[d] for d in group])
            return [entries[flat_index([place(d, j) for d, j in zip(group, index)], dims)] for index in below_positions]

        return pick

    def pad(self, i, node, term):
        below, shape, axes = self.changed_axes(i)
        pick = self.picked(below, shape, lambda d, j: node["low"][d] + j * (node["interior"][d] + 1))
        return [(node["inputs"][0], self.change(term, ("pad", i), axes, pick))]

    def concatenate(self, i, node, term):
        start, found = 0, []
        for below in node["inputs"]:
            shape = self.circuit.shapes[below]
            pick = self.picked(shape, self.circuit.shapes[i], lambda d, j, start=start: j + start * (d == node["axis"]))
            found.append((below, self.change(term, ("part", i, start), [node["axis"]], pick)))
            start += shape[node["axis"]]
        return found

    def reverse(self, i, node, term):
        shape = self.circuit.shapes[i]
        pick = self.picked(shape, shape, lambda d, j: shape[d] - 1 - j if d in node["axes"] else j)
        return [(node["inputs"][0], self.change(term, ("reverse", i), node["axes"], pick))]

    def scale(self, i, node, term):
        below, c = node["inputs"]
        shape, dims, values = self.circuit.shapes[i], self.circuit.shapes[c], self.circuit.nodes[c]["values"]
        axes = [d for d, n in zip(node["axes"], dims) if n > 1]
        if not axes:
            return [(below, replace(term, scalar=term.scalar * values[0]))]

        def multiply(entries, group):
            found = []
            for index, x in zip(positions([shape[d] for d in group]), entries):
                at = dict(zip(group, index))
                found.append(x * values[flat_index([at.get(d, 0) for d in node["axes"]], dims)])
            return found

        return [(below, self.change(self.join(term, axes, shape), ("scale", i), axes, multiply))]

    def range(self, i, node, term):
        return [(node["inputs"][0], term)]

    def paced(self, i, node, term):
        numbers = node["numbers"][self.chunk.first_step :]
        step = self.once("paced", i, term.step, make=lambda: [x * n for x, n in zip(term.step.entries, numbers)])
        return [(node["inputs"][0], replace(term, step=step))]

    def const(self, i, node, term):
        """What a term on a constant is worth."""
        shape = self.circuit.shapes[i]
        term = self.join(term, range(len(shape)), shape)
        entries = term.groups[0][1].entries if term.groups else [ONE]
        return term.scalar * term.step.total * sum((x * v for x, v in zip(entries, node["values"], strict=True)), ZERO)


def walk(chunk, terms):
    """Section 12.3."""
    return Walk(chunk).run(terms)


# ---- 13 the argument --------------------------------------------------------------------------------------------------


def argument(chunk, hidden, random_forms):
    """Section 13: the phases in order."""
    claims = [on_cells(hidden, lookup_claim(chunk, hidden), random_forms), *loss_claims(chunk, hidden)]

    claims.append(binding_claim(chunk, hidden))
    for level in range(chunk.depth, 1, -1):
        active, claims = split(chunk, claims, level)
        if active:
            claim = unroll(chunk, merged(hidden, f"level {level}", active), level)
            claims += reduce_dots(chunk, hidden, level, without_draws(chunk, claim))
    active, claims = split(chunk, claims, 1)
    if active:
        close_gates(chunk, hidden, without_draws(chunk, merged(hidden, "gates", active)))
    close_claims(hidden, [without_draws(chunk, claim) for claim in claims])


def split(chunk, claims, level):
    """Those that have a term on this level, and the others."""
    here = [any(chunk.level(term.key) == level for term in c.terms) for c in claims]
    return [c for c, x in zip(claims, here) if x], [c for c, x in zip(claims, here) if not x]


def merged(hidden, label, claims):
    if len(claims) == 1:
        return claims[0]
    hidden.account("merging of claims", len(claims) - 1)
    return merge_claims(claims, hidden.draw(label + ": merge"))


def threefry(key, counter):
    """Section 5.7: two words from two words, by the key's two."""
    words = [*key, key[0] ^ key[1] ^ 0x1BD11BDA]
    a, b = ((x + k) % 2**32 for x, k in zip(counter, words))
    for i in range(20):
        r = (13, 15, 26, 6, 17, 29, 16, 24)[i % 8]
        a = (a + b) % 2**32
        b = (b << r | b >> (32 - r)) % 2**32 ^ a
        if i % 4 == 3:
            n = i // 4 + 1
            a, b = (a + words[n % 3]) % 2**32, (b + words[(n + 1) % 3] + n) % 2**32
    return a, b


def numbers_of(node):
    """How many numbers an entry of a draw without a threshold may be."""
    return node.get("modulus", 2 ** (32 - node["shift"]))


def drawn(circuit, i, step):
    """Section 5.7: the integers of a draw in a step, row-major."""
    node = circuit.nodes[i]
    shape = node["shape"]
    rows = shape[0] if -2 in node["path"] else 1
    found = []
    for row in range(rows):
        key = node["words"] if len(node["words"]) == 2 else node["words"][2 * step : 2 * step + 2]
        for n in node["path"]:
            key = threefry(key, (0, {-1: step, -2: row}.get(n, n)))
        keys = [key] if node.get("parts", 1) == 1 else [threefry(key, (0, n)) for n in range(2)]
        for j in range(math.prod(shape) // rows):
            number = 0
            for key in keys:
                a, b = threefry(key, (0, j))
                number = 2**32 * number + (a ^ b)
            found.append((number >> node["shift"]) % numbers_of(node))
    if node["threshold"] == -1:
        return [int(w == k) for w in found for k in range(node["modulus"])]
    return [int(w < node["threshold"]) for w in found] if node["threshold"] else found


def without_draws(chunk, claim):
    """Section 13.8."""
    constant, left = claim.constant, []
    for term in claim.terms:
        if term.key[0] != "draw":
            left.append(term)
            continue
        shape = chunk.circuit.shapes[term.key[1]]
        for t, omega in enumerate(term.step.entries):
            values = chunk.once("draw", term.key[1], t, make=partial(drawn, chunk.circuit, term.key[1], chunk.first_step + t)).entries
            total = ZERO
            for index, value in zip(positions(shape), values, strict=True):
                weight = ONE
                for group, vector in term.groups:
                    weight = weight * vector.entries[flat_index([index[d] for d in group], [shape[d] for d in group])]
                total = total + weight * value
            constant = constant + term.scalar * omega * total
    return Claim(left, constant, claim.value)


def fraction_tree(hidden, num_vars, padding, degree):
    """Section 13.1, steps 1 and 2: (point, P, Q) at the leaves. degree: of all denominators together."""
    hidden.account("lookup: cleared numerator", degree - 1)
    hidden.account("lookup: rounds", num_vars * (num_vars - 1))
    hidden.account("lookup: combinations and merges", 2 * num_vars)
    (q,), point = hidden.receive("lookup root", 1), []
    p = q * padding
    for _ in range(num_vars):
        combination = hidden.draw("lookup combination")
        claim, following = p + q * combination, []
        for r in point:
            at_0, leading = hidden.receive("lookup round", 2)
            require(r != 0, "lookup")
            x = hidden.draw("lookup point")
            claim = at_0 + (claim - at_0) * (x * r.inverse()) + leading * (x * (x - 1))
            following.append(x)
        p0, q1, first = hidden.receive_product("lookup values")
        q0, s, second = hidden.receive_product("lookup values")
        hidden.require_zero(first + second - claim)
        x = hidden.draw("lookup merge")
        p1 = s - q1 * combination
        p, q, point = p0 + (p1 - p0) * x, q0 + (q1 - q0) * x, [x, *following]
    return point, p, q


def table_values(table, high, low):
    """Sections 10.2 and 13.1: <column, w> for each column, w = high outer low."""
    length = len(low)
    rows = sum((x * (a * length) for a, x in enumerate(high.entries)), ZERO) * low.total
    rows = rows + high.total * sum((x * b for b, x in enumerate(low.entries)), ZERO)
    if table[0] == "function":
        return [column_value(column, high, low) for column in table_columns(table[2], table[1])]
    if table[0] == "first":
        last = high.entries[-1] * low.entries[-1]
        return [rows - last * (2 ** table[1] - 1), last]
    if table[0] == "range":
        return [rows]
    second, middle = ZERO, 2 ** (table[1] - 1)
    for a, x in enumerate(high.entries):
        first_one = max(0, middle + 1 - a * length)  # row a * length + b is above the middle
        if first_one < length:
            second = second + x * (low.total if not first_one else sum(low.entries[first_one:], ZERO))
    return [rows, second]


def column_value(column, high, low):
    """<column, high outer low> of integers."""
    total, parts = ZERO, [(x.c0, x.c1) for x in low.entries]
    for a, x in enumerate(high.entries):
        line = column[a * len(parts) : (a + 1) * len(parts)]
        total = total + x * K(*(sum(entry * part[c] for entry, part in zip(line, parts)) for c in (0, 1)))
    return total


def lookup_claim(chunk, hidden):
    """Section 13.1."""
    alpha, beta, second_column = hidden.draws("lookups", 3)
    widest = max(map(columns_in, chunk.tables))
    factors = [second_column**j for j in range(widest)]
    point, p, q = fraction_tree(hidden, chunk.sites.num_vars, 2**chunk.sites.num_vars - chunk.used_leaves, chunk.leaf_degree)
    terms, multiplicities, constant, p = [], [], ONE, p - ONE
    blocks = max(0, len(point) - 15)
    for w in chunk.sites.weights(point[:blocks][::-1] + point[blocks:]):
        if w.key[0] == "lookup" and chunk.lookups[w.key[1]].added:
            copies, rest = w.vectors[0], replace(w, vectors=w.vectors[1:])
            constant = constant - rest.total * copies.entries[1] * chunk.lookups[w.key[1]].added
            w = replace(rest, scalar=w.scalar * copies.total)
        constant = constant - w.total
        kind, j = w.key
        table = chunk.tables[j] if kind == "table" else chunk.lookups[j].table
        constant = constant + (alpha - beta * (chunk.tables.index(table) + 1)) * w.total
        if kind == "table":
            multiplicities.append(simple_term(("multiplicity", j), w.scalar, None, w.vectors))
            p = p + w.total
            for factor, value in zip(factors, table_values(table, *w.vectors)):
                constant = constant - factor * value * w.scalar
            continue
        number = 0  # of the column
        for offset, parts in chunk.lookups[j].columns:
            constant = constant - factors[number] * offset * w.total
            for part in parts:
                terms.append(looked_up(chunk, part, w, factors[number:], chunk.lookups[j].stepped))
            number += sum(part.size for part in parts if part.along == "columns") or 1
    hidden.require_zero(p + hidden.functional(multiplicities))
    terms, below = walk(chunk, merge_terms(terms))
    return Claim(terms, constant + below, q)


def draw_forms(transcript):
    """Section 10.9: M, row by row."""
    raw = transcript.draw("forms", FORMS * BLOCK // 4)
    values = [(byte >> i & 1) - (byte >> i + 1 & 1) for byte in raw for i in (0, 2, 4, 6)]
    return [values[i : i + BLOCK] for i in range(0, len(values), BLOCK)]


def on_cells(hidden, claim, random_forms):
    """Section 10.9: a claim on forms is one on cells."""
    found, memo = [], {}
    for term in claim.terms:
        if term.key[0] == "form":
            hidden.errors["forms"] = 1
            (_, blocks), (_, v) = term.groups
            if v not in memo:
                memo[v] = Vector(sum((x * m for x, m in zip(v.entries, column) if m), ZERO) for column in zip(*random_forms))
            term = simple_term(("cells", *term.key[1:]), term.scalar, None, (blocks, memo[v]))
        found.append(term)
    return replace(claim, terms=found)


def looked_up(chunk, part, w, factors, stepped):
    """Section 13.1, step 3: the term on a part. factors: of its column, and of those after it."""
    vectors, scalar = w.vectors, factors[0] * -part.coefficient * w.scalar
    if part.along == "repeated":
        vectors, scalar = vectors[:-1], scalar * vectors[-1].total
    elif part.along == "later":
        before = itertools.accumulate(vectors[-1].entries[:-1], initial=ZERO)
        vectors = (*vectors[:-1], Vector(before))
    elif part.along == "summed":
        vectors = (*vectors, chunk.ones(part.size))
    elif part.along == "columns":
        vectors, scalar = (*vectors, Vector(factors[: part.size])), -w.scalar
    step, vectors = (vectors[0], vectors[1:]) if stepped else (None, vectors)
    return simple_term(part.key, scalar, step, vectors)


def loss_claims(chunk, hidden):
    """Section 13.2."""
    losses = chunk.statement["losses"]
    if losses is None:
        return []
    challenge, claims = hidden.draw("losses"), []
    revealed = [(loss, values) for loss, values in zip(chunk.circuit.losses, losses) if values is not None]
    hidden.account("losses", len(revealed) * (chunk.steps - 1))
    powers = [challenge**t for t in range(chunk.steps)]
    for loss, values in revealed:
        terms, constant = walk(chunk, [Term(("node", loss["node"]), ONE, Vector(powers), ())])
        claims.append(Claim(terms, constant, Form(sum((x * v for x, v in zip(powers, values)), ZERO))))
    return claims


def interpolated(values, x):
    """The polynomial with these forms at 0, 1, 2, .. at x."""
    result = Form()
    for i, value in enumerate(values):
        others = [j for j in range(len(values)) if j != i]
        numerator = math.prod((x - j for j in others), start=ONE)
        result = result + value * (numerator * pow(math.prod(i - j for j in others), -1, P))
    return result


def rounds(hidden, label, claim, num_vars, degree):
    """Sections 13.5 and 13.6: (point, last claim)."""
    hidden.account(label + ": rounds", degree * num_vars)
    point = []
    for _ in range(num_vars):
        at_0, *others = hidden.receive(label + " round", degree)
        x = hidden.draw(label + " point")
        claim = interpolated([at_0, claim - at_0, *others], x)
        point.append(x)
    return point, claim


@dataclass
class Side:
    """Section 13.5: one operand of a block. kept: (axis, its place in the block's shape); groups: (axes, lifted places, vector)."""

    node: int
    kept: list
    groups: list


def blocks_of(circuit, terms):
    """Section 13.5: [(shape, left side, [(right side, scalar, step)])]."""
    blocks = {}
    for term in terms:
        shape, (left, right) = sides_of(circuit, term)
        name = term.key, str((shape, left.kept, right.kept)), tuple((axes, tuple(places), v) for axes, places, v in left.groups)
        blocks.setdefault(name, (shape, left, []))[2].append((right, term.scalar, term.step))
    return list(blocks.values())


def sides_of(circuit, term):
    """Section 13.5: the shape of a term's block, and what becomes of both operands."""
    node, result = circuit.nodes[term.key[1]], circuit.shapes[term.key[1]]
    contracted, batch, shapes = node["contract"], node["batch"], [circuit.shapes[i] for i in node["inputs"]]
    free = [[d for d in range(len(shapes[e])) if d not in contracted[e] + batch[e]] for e in (0, 1)]
    first = len(batch[0])  # the result's axes: batch, free of x, free of y
    axis_of = {d: (e, free[e][d - at]) for e, at in ((0, first), (1, first + len(free[0]))) for d in range(at, at + len(free[e]))}
    shape = [len(term.step), *(shapes[0][d] for d in batch[0] + contracted[0])]
    sides = [Side(node["inputs"][e], [(d, 1 + j) for j, d in enumerate(batch[e] + contracted[e])], []) for e in (0, 1)]
    for group, vector in term.groups:
        parts = [[d for d in group if d in axis_of and axis_of[d][0] == e] for e in (0, 1)]
        side, lifted = (0 if parts[0] else 1), []
        if parts[0] and parts[1]:
            entries = [math.prod(result[d] for d in part) for part in parts]
            side = 1 if entries[0] <= entries[1] else 0
            lifted = parts[1 - side]
        own = {d: batch[side][d] if d < first else axis_of[d][1] for d in group if d not in lifted}
        order = lifted + sorted(own, key=own.get)
        if order != list(group):
            vector = Vector(transposed(vector.entries, [result[d] for d in group], [group.index(d) for d in order]))
        places = list(range(len(shape), len(shape) + len(lifted)))
        shape += [result[d] for d in lifted]
        sides[1 - side].kept += [(axis_of[d][1], place) for d, place in zip(lifted, places)]
        sides[side].groups.append((tuple(sorted(own.values())), places, vector))
    return shape, sides


def operand_term(chunk, label, side, w):
    """Section 13.5: the term on an operand for one box."""
    groups = []
    dims = chunk.circuit.shapes[side.node]
    kept = {d: w.vectors[place] for d, place in side.kept}
    for axes, places, vector in side.groups:
        for place in places:

            def against(entries, factor=w.vectors[place].entries):
                rest = len(entries) // len(factor)
                return [inner_product(entries[j::rest], factor) for j in range(rest)]

            vector = chunk.once(label, "against", vector, w.vectors[place], make=lambda: against(vector.entries))  # noqa: B023
        lengths = tuple(dims[d] for d in axes)
        for j, d in enumerate(axes):
            if d in kept:
                vector = along(chunk, label, vector, lengths, j, kept.pop(d))
        groups.append((axes, vector))
    groups += [((d,), v) for d, v in kept.items()]
    return Term(("node", side.node), w.scalar, w.vectors[0], tuple(groups))


def right_term(chunk, label, side, scalar, step, w):
    term = operand_term(chunk, label, side, w)
    return replace(term, scalar=term.scalar * scalar, step=along(chunk, label, step, (len(step),), 0, term.step))


def along(chunk, label, vector, dims, j, factor):
    """Section 12.3: the product of a vector with another along axis j of dims."""

    def multiply():
        return [x * factor.entries[index[j]] for index, x in zip(positions(dims), vector.entries, strict=True)]

    return chunk.once(label, "along", vector, dims, j, factor, make=multiply)


def reduce_dots(chunk, hidden, level, claim):
    """Section 13.5, reduce: the new claims, in order."""
    label = f"level {level}"
    virtual = [t for t in claim.terms if 0 < chunk.level(t.key) < level]
    dots = [t for t in claim.terms if chunk.level(t.key) == level]
    committed = [t for t in claim.terms if chunk.level(t.key) == 0]
    value, found = claim.value - claim.constant, []
    if committed:
        value = value - hidden.functional(committed)
    if virtual:
        (y,) = hidden.receive(label + ": linear terms", 1)
        found.append(Claim(virtual, ZERO, y))
        value = value - y
    if not dots:
        hidden.require_zero(value)
        return found
    blocks = blocks_of(chunk.circuit, dots)
    layout = Layout([(j, tuple(shape)) for j, (shape, _, _) in enumerate(blocks)])
    point, last = rounds(hidden, label, value, layout.num_vars, 2)
    left, right, product = hidden.receive_product(label + " values")
    hidden.require_zero(product - last)
    weights = layout.weights(point)
    on_left = [operand_term(chunk, label, blocks[w.key][1], w) for w in weights]
    on_right = [right_term(chunk, label, *right, w) for w in weights for right in blocks[w.key][2]]
    for listed, form in ((on_left, left), (on_right, right)):
        terms, constant = walk(chunk, listed)
        found.append(Claim(terms, constant, form))
    return found


def update_rates(chunk, update):
    return [rate(update, t) for t in range(chunk.first_step, chunk.first_step + chunk.steps)]


def binding_claim(chunk, hidden):
    """Section 13.3: the claim "binding"."""
    parameters = chunk.circuit.parameters
    lengths = [x["shape"] for x in parameters]
    variables = [max(bits(s[d]) for s in lengths if len(s) > d) for d in range(max(map(len, lengths)))]
    points = [hidden.draws(f"weights: point of axis {d}", v) if v else [] for d, v in enumerate(variables)]
    challenge, terms, updates = hidden.draw("weights: parameters"), [], []
    hidden.account("weights: binding", sum(variables) + len(parameters) - 1)
    constant = ZERO
    for p, x in enumerate(parameters):
        if x["recurrence"] is not None or p in chunk.circuit.frozen:
            continue
        power, eta = challenge**p, []
        for d, m in enumerate(x["shape"]):
            eta.append(chunk.once("eta", d, m, make=lambda: eq_vector(points[d][len(points[d]) - bits(m) :], m)))  # noqa: B023
        terms.append(simple_term(("final", p), power, None, eta))
        start, number = at_start(chunk, p, -power, tuple(((d,), v) for d, v in enumerate(eta)))
        terms, constant = terms + start, constant + number
        for update in x["updates"]:
            updates.append(simple_term(("node", update["node"]), power, Vector(map(K, update_rates(chunk, update))), eta))
    below, number = walk(chunk, updates)
    return Claim(terms + below, constant + number, Form())


def at_start(chunk, p, scalar, groups):
    """Section 13.3: (terms, number) of scalar times the start of p."""

    def committed(q, shift):
        return [Term(start_key(chunk.circuit, q), scalar * 2 ** (shift + chunk.statement["shifts"][q]), None, groups)]

    given = chunk.circuit.parameters[p]["given"]
    if given is None or not chunk.statement["given"]:
        return committed(p, 0), ZERO
    number = Term(None, scalar * given["integer"], None, groups).total
    return ([] if given["copied"] is None else committed(given["copied"], given["shift"])), number


def moved(chunk, kind, p, step):
    """Section 13.4: the weights of the group's starts, of its hats (None where there are none), and of its feeds."""
    circuit, all_rows = chunk.circuit, []
    spans = periods(circuit, chunk.first_step, chunk.steps)
    weights = [[]] * len(spans)
    for k, (start, length) in enumerate(spans):
        before, after, end = rows(circuit, p, start, length)
        all_rows.append({"param": before, "next": after}.get(kind, [end]))
        if kind in ("param", "next"):
            weights[k] = step.entries[start - chunk.first_step : start - chunk.first_step + length]
        elif kind == "last":
            weights[k] = [ONE if k == len(spans) - 1 else ZERO]
        else:
            weights[k] = [step.entries[k] if k < len(spans) - 1 else ZERO]

    def against(k, symbol):
        return sum((w * row.get(symbol, 0) for w, row in zip(weights[k], all_rows[k])), ZERO)

    starts, hats = {}, {}
    for r in group(circuit, p):
        sums = [against(k, (r,)) for k in range(len(spans))]
        starts[r] = sums[0]
        hats[r] = Vector(sums[1:]) if len(spans) > 1 else None
    fed = {
        (q, f): Vector([against(k, (q, f, i)) for k, (_, length) in enumerate(spans) for i in range(length)])
        for q, f, _ in feeds(circuit, p)
    }
    return starts, hats, fed


def unroll(chunk, claim, level):
    """Section 13.4: params of a level become initial weights and updates, until there are none."""
    while any(t.key[0] in STATES and chunk.level(t.key) == level for t in claim.terms):
        terms, updates, constant, known = [], [], claim.constant, {}
        for term in claim.terms:
            if term.key[0] not in STATES or chunk.level(term.key) != level:
                terms.append(term)
                continue
            kind, p = term.key
            if chunk.circuit.parameters[p]["recurrence"] is not None:
                if (kind, p, term.step) not in known:
                    known[kind, p, term.step] = moved(chunk, kind, p, term.step)
                starts, hats, fed = known[kind, p, term.step]
                for r, weight in starts.items():
                    start, number = at_start(chunk, r, term.scalar * weight, term.groups)
                    terms, constant = terms + start, constant + number
                    if hats[r] is not None:
                        terms.append(Term(("hat", r), term.scalar, hats[r], term.groups))
                for q, f, node in feeds(chunk.circuit, p):
                    updates.append(Term(("node", node), term.scalar, fed[q, f], term.groups))
                continue
            omega = term.step.entries
            start, number = at_start(chunk, p, term.scalar * term.step.total, term.groups)
            terms, constant = terms + start, constant + number
            for u, update in enumerate(chunk.circuit.parameters[p]["updates"]):

                def suffixes(omega=omega, update=update):
                    later = [*itertools.accumulate(omega[:0:-1], initial=ZERO)][::-1]  # sums of omega[t'] over t' > t
                    return [x * n for x, n in zip(later, update_rates(chunk, update), strict=True)]

                step = chunk.once("suffix", term.step, p, u, make=suffixes)
                updates.append(Term(("node", update["node"]), -term.scalar, step, term.groups))
        below, number = walk(chunk, updates)
        claim = Claim(merge_terms(terms + below), constant + number, claim.value)
    return claim


def evaluate_term(term, w):
    """Sections 13.6 and 16.3: scalar * <term's vectors, box's vectors>."""
    result, axes = term.scalar * w.scalar, list(w.vectors)
    if term.step is not None:
        result = result * inner_product(term.step.entries, axes.pop(0).entries)
    for group, vector in term.groups:
        result = result * inner_product(vector.entries, outer_product([axes[d].entries for d in group]))
    return result


def close_gates(chunk, hidden, claim):
    """Section 13.6."""
    circuit = chunk.circuit
    value = claim.value - claim.constant
    committed = [t for t in claim.terms if t.key[0] != "gate"]
    if committed:
        value = value - hidden.functional(committed)
    gates = {}  # mask: {gate: its terms}, both in the order of first terms
    for term in claim.terms:
        if term.key[0] == "gate":
            mask = circuit.nodes[term.key[1]]["inputs"][0]
            gates.setdefault(mask, {}).setdefault(term.key[1], []).append(term)
    layout = Layout([(mask, (chunk.steps, *circuit.shapes[mask])) for mask in gates])
    point, last = rounds(hidden, "gates", value, layout.num_vars, 3)
    weights = layout.weights(point)
    masks = [simple_term(("sign", w.key), w.scalar, w.vectors[0], w.vectors[1:]) for w in weights]
    quotients, constant = [], ZERO
    for k in range(max(map(len, gates.values()))):
        slot = {mask: list(found.items())[k] for mask, found in gates.items() if len(found) > k}
        omega = sum((evaluate_term(t, w) for w in weights if w.key in slot for t in slot[w.key][1]), ZERO)
        for w in weights:
            if w.key in slot:
                rescale = circuit.nodes[slot[w.key][0]]["inputs"][1]
                term = simple_term(("quotient", rescale), omega * w.scalar, w.vectors[0], w.vectors[1:])
                quotients.append(term)
                constant = constant - term.total * 2 ** circuit.nodes[rescale]["bits"]
    u = hidden.functional(masks)
    v = hidden.functional(quotients) + constant
    hidden.require_zero(hidden.product("gates: last product", u, v) - last)


def close_claims(hidden, claims):
    """Section 13.7."""
    for claim in claims:
        hidden.require_zero(claim.value - claim.constant - hidden.functional(claim.terms))


# ---- 14 triples and constraints ---------------------------------------------------------------------------------------


def lagrange(log_order, z):
    """Section 14: L^M_i(z), M = 2^log_order."""
    count, omega = 1 << log_order, root_of_unity(log_order)
    common = (z**count - 1) * pow(count, -1, P)
    roots = [pow(omega, i, P) for i in range(count)]
    return [common * root * (z - root).inverse() for root in roots]


class Linked(NamedTuple):
    """Section 14.1: a linked part's scalar, the places of both matrices in the stack, eq(r_high) cut at their rows, and r_low."""

    scalar: K
    source: int
    to: int
    factors: list
    low: list

    @property
    def variables(self):
        return len(self.low) + bits(len(self.factors))


def draw_links(transcript, links, read, log_row):
    """Section 14.1: the point; without scalars yet. read: the name of each commitment's opened parts, in the stack's order."""
    places = [(name, part["name"], part["rows"]) for name, x in read.items() for part in x.parts]
    linked = []  # (place, rows)
    for link in links:
        for part in link["to"]["parts"]:
            place = (link["from"], part["name"], part["rows"])
            linked.append((places.index(place), part["rows"]))
    if not linked:
        return []
    point, found = transcript.elements("links", log_row + max(bits(rows) for _, rows in linked)), []
    for j, (place, rows) in enumerate(linked):
        high = point[len(point) - log_row - bits(rows) : len(point) - log_row]
        found.append(Linked(ONE, place, len(places) + j, eq_vector(high, rows), point[len(point) - log_row :]))
    return found


def linked_weight(linked, offsets, gamma, zeta):
    """Section 14.1: what links add to W(gamma, zeta)."""
    rows, total = eq_vector(gamma, 1 << len(gamma)), ZERO
    for link in linked:
        column = ONE
        for x, y in zip(link.low, zeta, strict=True):
            column = column * (x * y + (1 - x) * (1 - y))
        for place, sign in ((link.source, -1), (link.to, 1)):
            start = offsets[place]
            total = total + inner_product(link.factors, rows[start : start + len(link.factors)]) * column * link.scalar * sign
    return total


def combine_constraints(chunk, hidden):
    """Section 14: (committed tensor to its terms, sizes of the masks, the linked parts, Y)."""
    log_triples = bits(hidden.triples + 1)
    count = 1 << log_triples
    z = hidden.draw("triple point")
    require(z ** (2 * count) != 1, "triple point")
    at_a, at_b = hidden.body.elements("triple values", 2)
    statement, own = chunk.statement, len(hidden.constraints)
    linked = draw_links(hidden.body.transcript, statement["links"], named(statement), statement["geometry"]["log_row"])
    if linked:
        hidden.account("links", max(link.variables for link in linked))
    for name, log_order, value in (("a", log_triples, at_a), ("b", log_triples, at_b), ("c", log_triples + 1, at_a * at_b)):
        hidden.require_zero(Form(-value, {(name, i): x for i, x in enumerate(lagrange(log_order, z))}))
    hidden.account("triples", 2 * count - 1)
    hidden.account("constraints", len(hidden.constraints) + len(linked) - 1)
    challenge = hidden.draw("constraints")
    combined = Form()
    for j, form in enumerate(hidden.constraints):
        combined = combined + form * challenge ** (j if j < own else j + len(linked))
    linked = [link._replace(scalar=challenge ** (own + j)) for j, link in enumerate(linked)]

    sizes = {"pad": max(1, hidden.pads), "a": count, "b": count, "c": 2 * count}
    masks, terms = {name: [ZERO] * size for name, size in sizes.items()}, []
    for (name, i), x in combined.leaves.items():
        if name == "functional":
            terms += [replace(t, scalar=t.scalar * x) for t in hidden.functionals[i]]
        else:
            masks[name][i] = x
    by_key = {}
    for term in merge_terms(terms):
        for t in scatter(chunk, term) if term.key[0] == "input" else [term]:
            by_key.setdefault(t.key, []).append(t)
    for name, entries in masks.items():
        by_key["mask", name] = [simple_term(("mask", name), ONE, None, (Vector(entries), Vector([ONE, PHI])))]
    return by_key, sizes, linked, -combined.constant


def scatter(chunk, term):
    """Section 14, last paragraph: a term on a batch as terms on shards."""
    at = next(j for j, (axes, _) in enumerate(term.groups) if 0 in axes)
    axes, vector = term.groups[at]
    rest, size, found = len(vector) // chunk.circuit.batch, chunk.statement["shard_size"], []
    for j in chunk.shards:
        sums = [ZERO] * (chunk.shard_size(j) * rest)
        for step, batch in zip(term.step.entries, chunk.batches, strict=True):
            for i, sample in enumerate(batch):
                if sample // size == j:
                    for e in range(rest):
                        place = sample % size * rest + e
                        sums[place] = sums[place] + step * vector.entries[i * rest + e]
        groups = (*term.groups[:at], (axes, Vector(sums)), *term.groups[at + 1 :])
        found.append(Term(("data", j, term.key[1]), term.scalar, None, groups))
    return found


# ---- 15 opening -------------------------------------------------------------------------------------------------------


def round_claim(claim, constant, leading, x):
    """Section 15.2, step 2: g(x)."""
    return claim * x + constant * (1 - x - x) + leading * (x * x - x)


def open_stack(body, geometry, opened, weight, value):
    """Section 15: the opening, in statement order, the trace last. weight: (offsets, gamma, zeta) to W there."""
    transcript = body.transcript
    q, row, log_code = check_geometry(geometry), 2 ** geometry["log_row"], geometry["log_row"] + geometry["log_inverse_rate"]
    parts = [(c, part) for c, shown in opened for part in shown]
    offsets, row_variables = stack([part["rows"] for _, part in parts])
    padding = q * max(part["budget"] for _, part in parts)
    require(2 * row_variables + q <= row + padding, "commitments")
    require([part["budget"] for c, part in parts if c["masked"]] == [1], "commitments")

    transcript.absorb("opening", b"".join(part_digest(geometry, c, part["name"]) for c, part in parts) + bytes(value))
    known, pads, gamma = value, [], []
    for _ in range(row_variables):
        constant, leading = body.elements("row round", 2)
        x = transcript.element("row fold")
        known = round_claim(known, constant, leading, x)
        pads = [c * x for c in pads] + [1 - x - x, x * x - x]
        gamma.insert(0, x)
    (mu,) = body.elements("mu", 1)
    eps = transcript.element("eps")
    folded_padding = body.elements("folded padding", padding)
    folded_pads = body.elements("folded pads", 2 * row_variables + q)
    levels, log_clear = plan(geometry["log_row"], geometry["level_bits"])[1:]
    announced = announce(body, levels, log_clear, 0)
    indices = transcript.indices("queries", q, log_code)
    columns = []
    for c, shown in opened:
        tags = [part_tag(c["kind"], c["number"], part["name"]) for part in c["parts"]]
        entries = [part["rows"] + 6 * c["masked"] if part in shown else None for part in c["parts"]]
        columns += open_columns(body, list(zip(tags, entries)), log_code, indices, bytes.fromhex(c["root"]))

    eq, points, targets = eq_vector(gamma, 1 << row_variables), [], []
    for j, index in enumerate(indices):
        x = pow(root_of_unity(log_code), index, P)
        folded = ZERO
        for (c, part), offset, opened_columns in zip(parts, offsets, columns, strict=True):
            column, rows = opened_columns[j], part["rows"]
            folded = folded + sum((eq[offset + i] * column[i] for i in range(rows)), ZERO)
            if c["masked"]:
                g, s, s_dash = (K(*column[rows + i : rows + i + 2]) for i in (0, 2, 4))
        require(s_dash + eps * s == polynomial(folded_pads, x), "mask")
        points.append(x)
        targets.append(g + eps * folded - polynomial(folded_padding, x) * pow(x, row, P))
    claim = eps * known + mu + inner_product(folded_pads[: 2 * row_variables], pads)
    claim, clear, zeta, batchings = reduce_levels(body, levels, log_clear, announced, points, targets, claim)
    total = weight(offsets, gamma, zeta) + batched_weight(batchings, zeta)
    for x in zeta[len(zeta) - log_clear :]:
        half = len(clear) // 2
        clear = [a + (b - a) * x for a, b in zip(clear[:half], clear[half:])]
    require(clear[0] * total == claim, "opening")
    return row_variables


# ---- 16 recursion -----------------------------------------------------------------------------------------------------


def announce(body, levels, log_clear, number):
    """Section 16.1."""
    return body.raw("level root", 32) if number < len(levels) else body.elements("final vector", 1 << log_clear)


def reduce_levels(body, levels, log_clear, announced, points, targets, claim):
    """Section 16.2: (claim, final vector, all fold challenges, [(challenges before it, points, factors) of each batching])."""
    transcript, zeta, batchings = body.transcript, [], []
    for number in range(len(levels) + 1):
        nu = transcript.element("level batching")
        factors = [nu ** (j + 1) for j in range(len(points))]
        claim = claim + inner_product(factors, targets)
        batchings.append((len(zeta), points, factors))
        for _ in range(levels[number].rows if number < len(levels) else log_clear):
            constant, leading = body.elements("level round", 2)
            x = transcript.element("level fold")
            claim = round_claim(claim, constant, leading, x)
            zeta.append(x)
        if number == len(levels):
            return claim, announced, zeta, batchings
        level, root = levels[number], announced
        announced = announce(body, levels, log_clear, number + 1)
        indices = transcript.indices("level queries", level.queries, level.code)
        (columns,) = open_columns(body, [(part_tag("level", number, "cells"), 2 << level.rows)], level.code, indices, root, False)
        eq = eq_vector(zeta[-level.rows :], 1 << level.rows)
        points = [pow(root_of_unity(level.code), i, P) for i in indices]
        targets = [inner_product(eq, [K(*pair) for pair in zip(column[::2], column[1::2])]) for column in columns]


def stacked_weight(opened, layouts, offsets, by_key, gamma, zeta):
    """Section 16.3: W(gamma, zeta)."""
    total, left, parts = ZERO, set(by_key), [part for x in opened for part in x.parts]
    for part, layout, offset in zip(parts, layouts, offsets, strict=True):
        high = len(gamma) - bits(part["rows"])
        prefix = ONE
        for i, x in enumerate(gamma[:high]):
            prefix = prefix * (x if offset >> (len(gamma) - 1 - i) & 1 else 1 - x)
        for w in layout.weights(gamma[high:] + zeta):
            left.discard(w.key)
            for term in by_key.get(w.key, ()):
                total = total + evaluate_term(term, w) * prefix
        point = gamma[high:] + zeta
        for term in (term for run in layout.formed for term in by_key.get(("cells", *run), ())):
            left.discard(term.key)
            u, m = (v.entries for _, v in term.groups)
            first = term.key[2]
            of_blocks = inner_product(u, eq_vector(point[: -bits(BLOCK)], first + len(u))[first:])
            total = total + term.scalar * of_blocks * inner_product(m, eq_vector(point[-bits(BLOCK) :], BLOCK)) * prefix
    require(not left, "opening: a term is on a tensor that is not committed")
    return total


def batched_weight(batchings, zeta):
    """Section 16.3: the powers of the opened points."""
    total = ZERO
    for start, points, factors in batchings:
        for x, factor in zip(points, factors):
            power = ONE
            for b, challenge in enumerate(reversed(zeta[start:])):
                power = power * (1 - challenge + challenge * pow(x, 2**b, P))
            total = total + factor * power
    return total


# ---- 19 soundness -----------------------------------------------------------------------------------------------------


def ledger(geometry, errors, row_variables):
    """Section 19: every term by name. errors: the numerators of those before the opening."""
    row, code = 2 ** geometry["log_row"], 2 ** (geometry["log_row"] + geometry["log_inverse_rate"])
    q = check_geometry(geometry)
    e = radius(row, code, geometry["max_budget"] * q)
    numerators = {name: numerator for name, numerator in errors.items() if numerator}
    numerators["opening: row folds"] = max(1, row_variables) * (code + 2)
    numerators["opening: mask"] = code + 1
    misses = {"opening: queries": Fraction(code - e, code) ** q}
    levels, log_clear = plan(geometry["log_row"], geometry["level_bits"])[1:]
    for i, level in enumerate(levels, start=1):
        code = 2**level.code
        e = radius(2 ** (level.length - level.rows), code, 0)
        numerators[f"opening: level {i} batching"] = q
        numerators[f"opening: level {i} folds"] = level.rows * (code + 2)
        misses[f"opening: level {i} queries"] = Fraction(code - e, code) ** level.queries
        q = level.queries
    numerators["opening: last batching"] = q
    numerators["opening: closing rounds"] = 2 * max(1, log_clear)
    return {name: Fraction(numerator, P**2) for name, numerator in numerators.items()} | misses


# ---- all checks -------------------------------------------------------------------------------------------------------


def verify_one(circuit, raw, minimum_bits=100.0):
    """Sections 3 to 19 for one file, whatever its place in a chain: its ledger."""
    statement, text, data = read_file(raw)
    transcript = Transcript()
    transcript.absorb("parameters", geometry_digest(statement["geometry"]))
    transcript.absorb("statement", text)
    body = Body(transcript, data)
    if "kind" in statement:
        return verify_alone(statement, body, minimum_bits)
    chunk = check_statement(circuit, statement)
    random_forms = draw_forms(transcript) if min(statement["widths"]) < 0 else None
    root = body.raw("trace root", 32)
    hidden = Hidden(body)
    argument(chunk, hidden, random_forms)
    by_key, sizes, linked, value = combine_constraints(chunk, hidden)
    read = [layout for parts in chunk.layouts.values() for layout in parts.values()]
    layouts = [*read, *[Layout([])] * len(linked), trace_layout(chunk, sizes)]
    shown = [*opened(statement), trace_of(row_count(layouts[-1], chunk.row), root)]

    def weight(offsets, gamma, zeta):
        tensors = stacked_weight(shown, layouts, offsets, by_key, gamma, zeta)
        return tensors + linked_weight(linked, offsets, gamma, zeta)

    row_variables = open_stack(body, statement["geometry"], shown, weight, value)
    body.finish()
    errors = ledger(statement["geometry"], hidden.errors, row_variables)
    require(-math.log2(sum(errors.values())) >= minimum_bits, "security")
    return errors


def trace_of(rows, root):
    """Section 15.1: the trace of a proof."""
    parts = [{"name": "cells", "rows": rows, "budget": 1}]
    return opened_of({"kind": "trace", "number": 0, "parts": parts, "root": root.hex(), "masked": True})


def verify_alone(statement, body, minimum_bits):
    """Section 14.2: its ledger."""
    check_alone(statement)
    geometry, read = statement["geometry"], opened_alone(statement)
    root = body.raw("trace root", 32)
    links = [{"from": name, "to": link["to"]} for name, link in zip(read, statement["links"])]
    linked = draw_links(body.transcript, links, read, geometry["log_row"])
    challenge = body.transcript.element("constraints")
    linked = [link._replace(scalar=challenge**j) for j, link in enumerate(linked)]
    shown = [*read.values(), *(opened_of(link["to"]) for link in links), trace_of(1, root)]
    row_variables = open_stack(body, geometry, shown, lambda *at: linked_weight(linked, *at), ZERO)
    body.finish()
    numerators = {"links": max(link.variables for link in linked), "constraints": len(linked) - 1}
    errors = ledger(geometry, numerators, row_variables)
    require(-math.log2(sum(errors.values())) >= minimum_bits, "security")
    return errors


def verify(circuit, raw, **required):
    """One proof file (bytes) about a circuit (its JSON object). Returns its ledger: the error of each term of section 19."""
    return verify_chain(circuit, [raw], **required)[0]


def verify_chain(circuit, files, *, minimum_bits=100.0, assume_bound=False, **pins):
    """Consecutive proof files. Returns the ledger of each. pins: dataset, initial, final (digests, bytes), seed, steps: section 4.4."""
    checked = Circuit(circuit)
    check_chain(checked, [read_file(raw)[0] for raw in files], assume_bound, **pins)
    return [verify_one(checked, raw, minimum_bits) for raw in files]


# ---- 4.6 disclosures --------------------------------------------------------------------------------------------------


class Model(NamedTuple):
    """Section 4.7. integers: by path (shape, row-major entries). units: by path [n, d]."""

    circuit: str
    step: int
    units: dict
    integers: dict


def read_model(raw):
    """Section 4.7: a safetensors file, whose header is JSON; the tensors follow it."""
    require(len(raw) >= 8, "model: no file")
    length = int.from_bytes(raw[:8], "little")
    require(length <= len(raw) - 8, "model: header")
    try:
        header = json.loads(raw[8 : 8 + length].decode())
        told = json.loads(header.pop("__metadata__")["zkjax"])
    except (ValueError, RecursionError, TypeError, KeyError, AttributeError):
        raise Rejected("model: no metadata") from None
    fields(told, "format circuit step units digest", "model")
    require(type(told["format"]) is int and told["format"] == 1, "model: format")
    integer(told["step"], 0, 2**63 - 1, "model: step")
    hexadecimal(told["circuit"], "model: circuit")
    require(isinstance(told["units"], dict), "model: units")
    require(set(header) == {name for path in told["units"] for name in (path, f"integers/{path}")}, "model: names")
    data, integers = raw[8 + length :], {}
    for path, unit in told["units"].items():
        require(isinstance(unit, list) and len(unit) == 2, "model: unit")
        n, d = (integer(x, 1, 2**512 - 1, "model: unit") for x in unit)
        require(math.gcd(n, d) == 1, "model: unit")
        exact, shown = (tensor_of(header, data, name) for name in (f"integers/{path}", path))
        require(exact[0] == "I64" and shown[0] == "F32" and exact[1] == shown[1], "model: types")
        entries = list(struct.unpack(f"<{len(exact[2]) // 8}q", exact[2]))
        require(as_float32(entries, n, d) == shown[2], "model: floats")
        integers[path] = tuple(exact[1]), entries
    state = b"zkjax model 1\0"
    for path, (shape, entries) in sorted(integers.items()):
        named = json.dumps([path, list(shape)], separators=(",", ":")).encode() + b"\0"
        state += named + struct.pack(f"<{len(entries)}q", *entries)
    require(sha256(state).hex() == told["digest"], "model: digest")
    return Model(told["circuit"], told["step"], told["units"], integers)


def tensor_of(header, data, name):
    """(type, shape, bytes) of a tensor."""
    fields(header[name], "dtype shape data_offsets", "model")
    kind, shape, ends = (header[name][key] for key in ("dtype", "shape", "data_offsets"))
    integers(shape, 0, 2**40, "model: shape")
    require(kind in ("I64", "F32") and len(integers(ends, 0, len(data), "model: offsets")) == 2, "model: tensor")
    start, end = ends
    require(end - start == math.prod(shape) * (8 if kind == "I64" else 4), "model: tensor")
    return kind, shape, data[start:end]


def as_float32(entries, n, d):
    """Section 4.7: each of three roundings to nearest, ties to even; beyond float32 infinite."""
    unit, found = n / d, b""
    for x in entries:
        value = float(x) * unit
        try:
            found += struct.pack("<f", value)
        except OverflowError:
            found += struct.pack("<f", math.copysign(math.inf, value))
    return found


def committed_integers(circuit, digest, model, shifts):
    """Section 4.7: by the number of each parameter that the circuit does not give: what is committed of a model's integers."""
    own = {x["path"]: p for p, x in enumerate(circuit.parameters) if p not in circuit.given}
    require(model.circuit == digest, "model: circuit")
    require(set(model.integers) == set(own), "model: names")
    found = {}
    for path, p in own.items():
        shape, entries = model.integers[path]
        require(shape == tuple(circuit.parameters[p]["shape"]), "model: shape")
        require(model.units[path] == circuit.parameters[p]["unit"], "model: unit")
        require(all(-(2**62) <= x < 2**62 and x % 2 ** shifts[p] == 0 for x in entries), "model: integers")
        found[p] = [x >> shifts[p] for x in entries]
    return found


def rounded(x, array):
    """Section 5.8: samples of an input as lists of integers. array: (shape, row-major entries)."""
    shape, entries = tuple(array[0]), array[1]
    if x["shape"][0] == 1 and shape == tuple(x["shape"][1:]):
        shape = (1, *shape)
    require(shape and shape[1:] == tuple(x["shape"][1:]), "data: shape")
    found = []
    for value in map(float, entries):
        require(math.isfinite(value), "data: not finite")
        whole = math.floor(value * 2.0 ** x["scale"] + 0.5) if abs(value) < 2.0**500 else math.inf
        require(-(2 ** x["bits"]) <= whole < 2 ** x["bits"], "data: range")
        found.append(whole)
    size = math.prod(shape[1:])
    return [found[i * size : (i + 1) * size] for i in range(shape[0])]


def check_item(geometry, item, layout, tensors, disclosure, check, minimum_bits):
    """Section 4.6: an item's rows and budgets, and that these tensors are behind it."""
    commitment, row = item["commitment"], 2 ** geometry["log_row"]
    where = f"commitment to {commitment['kind']} {commitment['number']}"
    check_budgets(commitment, geometry, where)
    require(commitment["parts"][0]["rows"] == row_count(layout, row), where)
    rows = placed(layout, tensors, row)
    if item["seed"] is None:
        return check_at_a_point(disclosure, [rows], check, minimum_bits)
    require(root_from_seed(geometry, commitment, rows, bytes.fromhex(item["seed"])).hex() == commitment["root"], check)


NOT_SHOWN = 2**64 - 1


def check_at_a_point(disclosure, matrices, check, minimum_bits):
    """Section 14.3. matrices: M_j as lists of rows; NOT_SHOWN where a cell is not."""
    statement, text, data = disclosure
    geometry = statement["geometry"]
    require(sha256(b"".join(u64(x) for rows in matrices for row in rows for x in row)).hex() == statement["arrays"], check)
    transcript = Transcript()
    transcript.absorb("parameters", geometry_digest(geometry))
    transcript.absorb("statement", text)
    body = Body(transcript, data)
    root = body.raw("trace root", 32)
    places, high = stack([len(rows) for rows in matrices])
    drawn = transcript.elements("disclosure", high + geometry["log_row"])
    factors, columns = eq_vector(drawn[:high], 1 << high), eq_vector(drawn[high:], 2 ** geometry["log_row"])
    stacked = [(place + i, row) for place, rows in zip(places, matrices) for i, row in enumerate(rows)]
    shown = [(row, c, x) for row, cells in stacked for c, x in enumerate(cells) if x != NOT_SHOWN]
    value = sum((factors[row] * columns[c] * x for row, c, x in shown), ZERO)

    def weight(offsets, gamma, zeta):
        require(offsets[:-1] == places, "stack")
        inside, along = eq_vector(gamma, 1 << len(gamma)), eq_vector(zeta, len(columns))
        products = [x * y for x, y in zip(columns, along)]
        return sum((factors[row] * inside[row] * products[c] for row, c, _ in shown), ZERO)

    opens = [opened_of(c, ("parameters",) if c["kind"] == "weights" else None) for c in pointed(statement)]
    row_variables = open_stack(body, geometry, [*opens, trace_of(1, root)], weight, value)
    body.finish()
    errors = ledger(geometry, {"disclosure": len(drawn)}, row_variables)
    require(-math.log2(sum(errors.values())) >= minimum_bits, "security")


def check_model(circuit, statement, last, class_of, disclosures, raw, minimum_bits):
    """Section 4.6: a model file holds the statement's last parameters, or its first ones."""
    geometry, model = statement["geometry"], read_model(raw)
    commitment = statement["final" if last else "initial"]
    shifts = kept_shifts(statement) if last else statement["shifts"]
    tensors = committed_integers(circuit, statement["circuit"], model, shifts)
    require(model.step == commitment["number"], "model: step")
    held = [p for p in range(len(circuit.parameters)) if p not in circuit.frozen and p not in circuit.given]
    wanted = [("weights", "parameters", part_digest(geometry, commitment, "parameters"), held)]
    if statement["frozen"] is not None:
        wanted.append(("frozen", "cells", frozen_digest(statement), statement["frozen"]["parameters"]))
    chosen = []
    for kind, name, digest, numbers in wanted:
        every = ((d, item) for d in disclosures for item in d[0]["items"] if d[0]["geometry"] == geometry)
        known = ((d, i) for d, i in every if i["commitment"]["kind"] == kind and name in [x["name"] for x in i["commitment"]["parts"]])
        same = ((d, i) for d, i in known if part_digest(geometry, i["commitment"], name) in class_of(digest))
        one = next(same, None)
        require(one is not None, "disclosure")
        chosen.append((*one, parameters_layout(circuit, kind, numbers), {(kind, p): tensors[p] for p in numbers}))
    for disclosure, item, layout, own in chosen:
        check_item(geometry, item, layout, own, disclosure, "model", minimum_bits)


def check_data(circuit, statement, class_of, disclosures, data, minimum_bits):
    """Section 4.6: arrays, (shape, entries) each, are the samples of the shards of the first disclosure of the statement's dataset."""
    geometry, found = statement["geometry"], None
    for disclosure in disclosures:
        told, items = disclosure[0]["dataset"], disclosure[0]["items"]
        if told is None or disclosure[0]["geometry"] != geometry:
            continue
        if any(told[name] != statement[name] for name in ("samples", "shard_size")):
            continue
        try:
            root = dataset_root(geometry, told, [item["commitment"] for item in items])
        except Rejected:
            continue
        if root in class_of(bytes.fromhex(statement["dataset"])):
            found = disclosure
            break
    require(found is not None, "disclosure")
    told, samples, size = found[0]["dataset"], statement["samples"], statement["shard_size"]
    numbers, row = [item["commitment"]["number"] for item in found[0]["items"]], 2 ** geometry["log_row"]
    inputs = told.get("inputs", range(len(circuit.inputs)))
    require(all(k < len(circuit.inputs) for k in inputs), "disclosure")
    require(len(data) == len(inputs), "data: arrays")
    arrays = {k: rounded(circuit.inputs[k], array) for k, array in zip(inputs, data)}
    ranges = told.get("numbers", [(n * size, min(samples, (n + 1) * size)) for n in numbers])
    require(all(len(array) == sum(end - first for first, end in ranges) for array in arrays.values()), "data: samples")
    every = {n: place for place, n in enumerate(n for first, end in ranges for n in range(first, end))}
    matrices = []
    for item in found[0]["items"]:
        own = range(item["commitment"]["number"] * size, min(samples, (item["commitment"]["number"] + 1) * size))
        layout = Layout([(k, (len(own), *x["shape"][1:])) for k, x in enumerate(circuit.inputs)])
        if item["seed"] is not None:
            tensors = {k: [entry for n in own for entry in array[every[n]]] for k, array in arrays.items()}
            check_item(geometry, item, layout, tensors, found, "data", minimum_bits)
            continue
        where = f"commitment to shard {item['commitment']['number']}"
        check_budgets(item["commitment"], geometry, where)
        require(item["commitment"]["parts"][0]["rows"] == row_count(layout, row), where)
        values, known = {}, {}
        for k, x in enumerate(circuit.inputs):
            each = math.prod(x["shape"][1:])
            held = [arrays[k][every[n]] if k in arrays and n in every else None for n in own]
            values[k] = [entry for sample in held for entry in (sample or [0] * each)]
            known[k] = [int(sample is not None) for sample in held for _ in range(each)]
        pairs = zip(placed(layout, values, row), placed(layout, known, row))
        matrices.append([[x if there else NOT_SHOWN for x, there in zip(*pair)] for pair in pairs])
    if matrices:
        check_at_a_point(found, matrices, "data", minimum_bits)
    return numbers


def verify_disclosed(circuit, files, disclosures, *, model=None, initial_model=None, data=None, minimum_bits=100.0):
    """Section 4.6, for proof files that have been verified as a chain. Returns the numbers of the shards that data is; None without it."""
    checked, statements = Circuit(circuit), [read_file(raw)[0] for raw in files]
    class_of, chunks = classes(statements), [s for s in statements if "kind" not in s]
    read = [read_disclosure(raw) for raw in disclosures]
    for raw, statement, last in ((model, chunks[-1], True), (initial_model, chunks[0], False)):
        if raw is not None:
            check_model(checked, statement, last, class_of, read, raw, minimum_bits)
    return None if data is None else check_data(checked, chunks[0], class_of, read, data, minimum_bits)
