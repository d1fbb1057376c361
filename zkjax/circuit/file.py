"""A circuit's file: readable JSON, its digest, and a reader that takes nothing on trust.

PROTOCOL.md, sections 5.1, 5.5.
"""

import hashlib
import json
import math
from fractions import Fraction
from os import PathLike
from typing import Any

from ..algebra.functions import FUNCTIONS
from ..errors import FormatError
from ..files import read_json
from ..ops import BY_NAME
from ..ops.operation import LIMIT, MAX_RANK, Leaves, Node, result_shape
from .parts import Given, Input, Loss, Parameter, Public, Recurrence, Update

VERSION = 2
MAX_FILE = 2**27  # bytes: a schedule of 100,000 steps for 50 parameters takes half of it
MAX_SIZE = 2**40  # entries of a tensor
MAX_AXIS = 2**22  # entries of one axis of a circuit file
MAX_PERIOD = 64  # steps; products of so many coefficients have 4,096 bits
MAX_COEFFICIENT = 2**96  # of a recurrence, in units of 2^-64


def tree(circuit) -> dict[str, Any]:
    """The documented normal form, which ``digest`` hashes (without its notes)."""
    return {
        "format": "zkjax circuit",
        "version": VERSION,
        "table_bits": circuit.table_bits,
        "max_steps": circuit.max_steps,
        "period": circuit.period,
        "inputs": [{"name": x.name, "shape": list(x.shape), "scale": x.scale, "bits": x.bits} for x in circuit.inputs],
        "parameters": [
            {
                "path": p.path,
                "shape": list(p.shape),
                "updates": [{"node": u.node, "rates": list(u.rates)} for u in p.updates],
                "recurrence": p.recurrence and _recurrence_tree(p.recurrence),
                "given": p.given and {"integer": p.given.integer, "copied": p.given.copied, "shift": p.given.shift},
                "unit": _pair(p.unit),
            }
            for p in circuit.parameters
        ],
        "public": [_public_tree(x) for x in circuit.public],
        "nodes": [
            {"op": n.op, "inputs": list(n.inputs), "scale": n.scale, "label": n.label, **_listed(n.operation.attributes())}
            for n in circuit.nodes
        ],
        "losses": [{"node": x.node, "factor": _pair(x.factor), "output": x.output} for x in circuit.losses],
        "notes": list(circuit.notes),
    }


def digest(circuit) -> bytes:
    """SHA-256 of the canonical JSON without its notes: sorted keys, no white space."""
    content = tree(circuit)
    del content["notes"]
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).digest()


def _public_tree(x: Public) -> dict[str, Any]:
    return {
        "path": x.path,
        "shape": list(x.shape),
        "kind": x.kind,
        "values": [_pair(v) for v in x.values],
        "change": x.change,
        "settled": x.settled,
    }


def _recurrence_tree(found: Recurrence) -> dict[str, Any]:
    return {
        "carry": [{"parameter": r, "coefficients": list(c)} for r, c in found.carry],
        "feeds": [{"node": i, "coefficients": list(c)} for i, c in found.feeds],
        "bits": found.bits,
        "inner": found.inner,
        "end": found.end,
    }


def _pair(x: Fraction) -> list[int]:
    return [x.numerator, x.denominator]


def load(path: str | PathLike[str]) -> Any:
    """The JSON value in a circuit's file; FormatError where it is none."""
    return read_json(path, MAX_FILE)


def fields(data: Any) -> dict[str, Any]:
    """The fields of the circuit that a JSON value describes, each checked by itself; FormatError names what is wrong."""
    lists = ("inputs", "parameters", "public", "nodes", "losses", "notes")
    _keys(data, "circuit", ("format", "version", "table_bits", "max_steps", "period", *lists))
    if data["format"] != "zkjax circuit":
        raise FormatError(f"circuit: format is {data['format']!r:.60}, expected 'zkjax circuit'")
    if type(data["version"]) is not int or data["version"] != VERSION:
        raise FormatError(f"circuit: version {data['version']!r:.60}, this zkjax reads version {VERSION}")
    last = len(_list(data["nodes"], "nodes")) - 1
    inputs = tuple(_input(x, f"inputs[{i}]") for i, x in enumerate(_list(data["inputs"], "inputs")))
    others = len(_list(data["parameters"], "parameters")) - 1
    parameters = tuple(_parameter(x, f"parameters[{i}]", last, others) for i, x in enumerate(data["parameters"]))
    leaves = Leaves(inputs, parameters)
    nodes: list[Node] = []
    for item in data["nodes"]:
        nodes.append(_node(item, nodes, leaves))
    losses = tuple(_loss(x, f"losses[{i}]", last) for i, x in enumerate(_list(data["losses"], "losses")))
    return {
        "nodes": tuple(nodes),
        "inputs": inputs,
        "parameters": parameters,
        "public": tuple(_public(x, f"public[{i}]") for i, x in enumerate(_list(data["public"], "public"))),
        "losses": losses,
        "table_bits": _int(data["table_bits"], "table_bits", 1, 20),
        "max_steps": None if data["max_steps"] is None else _int(data["max_steps"], "max_steps", 1, 2**32),
        "period": _int(data["period"], "period", 1, MAX_PERIOD),
        "notes": tuple(_text(x, "notes") for x in _list(data["notes"], "notes")),
    }


def _input(item, where: str) -> Input:
    _keys(item, where, ("name", "shape", "scale", "bits"))
    return Input(
        _text(item["name"], f"{where}.name"),
        _shape(item["shape"], f"{where}.shape"),
        _int(item["scale"], f"{where}.scale", 0, 60),
        _int(item["bits"], f"{where}.bits", 0, 30),
    )


def _parameter(item, where: str, last: int, others: int) -> Parameter:
    """last: index of the last node. others: of the last parameter."""
    _keys(item, where, ("path", "shape", "updates", "recurrence", "given", "unit"))
    updates = tuple(_update(x, f"{where}.updates[{i}]", last) for i, x in enumerate(_list(item["updates"], f"{where}.updates")))
    shape = _shape(item["shape"], f"{where}.shape")
    recurrence = None if item["recurrence"] is None else _recurrence(item["recurrence"], f"{where}.recurrence", last, others)
    given = None if item["given"] is None else _given(item["given"], f"{where}.given", others)
    unit = _fraction(item["unit"], f"{where}.unit", 1)
    return Parameter(_text(item["path"], f"{where}.path"), shape, updates, recurrence, given, unit)


def _recurrence(item, where: str, last: int, others: int) -> Recurrence:
    _keys(item, where, ("carry", "feeds", "bits", "inner", "end"))

    def terms(name: str, index: str, highest: int):
        found = []
        for i, term in enumerate(_list(item[name], f"{where}.{name}")):
            at = f"{where}.{name}[{i}]"
            _keys(term, at, (index, "coefficients"))
            coefficients = _ints(term["coefficients"], f"{at}.coefficients", -MAX_COEFFICIENT, MAX_COEFFICIENT)
            found.append((_int(term[index], f"{at}.{index}", 0, highest), coefficients))
        return tuple(found)

    return Recurrence(
        terms("carry", "parameter", others),
        terms("feeds", "node", last),
        _int(item["bits"], f"{where}.bits", 0, 60),
        _int(item["inner"], f"{where}.inner", 0, 62),
        _int(item["end"], f"{where}.end", 0, 62),
    )


def _given(item, where: str, others: int) -> Given:
    _keys(item, where, ("integer", "copied", "shift"))
    copied = None if item["copied"] is None else _int(item["copied"], f"{where}.copied", 0, others)
    return Given(_int(item["integer"], f"{where}.integer", -LIMIT, LIMIT), copied, _int(item["shift"], f"{where}.shift", 0, 62))


def _update(item, where: str, last: int) -> Update:
    _keys(item, where, ("node", "rates"))
    return Update(_int(item["node"], f"{where}.node", 0, last), _ints(item["rates"], f"{where}.rates", -LIMIT, LIMIT))


def _node(item, nodes: list[Node], leaves: Leaves) -> Node:
    """The node after these."""
    where = f"nodes[{len(nodes)}]"
    _keys(item, where, ("op", "inputs", "scale", "label"), open_ended=True)
    if not isinstance(item["op"], str) or item["op"] not in BY_NAME:
        raise FormatError(f"{where}: unknown operation {item['op']!r:.60}")
    kind = BY_NAME[item["op"]]
    own = [k for k in item if k in kind.names() or k not in ("op", "inputs", "scale", "label")]  # the scale of a function is the node's
    attributes = {k: _tupled(item[k], f"{where}.{k}") for k in own}
    if set(attributes) != set(kind.names()):
        raise FormatError(f"{where}: attributes {sorted(attributes)!s:.200}, expected {sorted(kind.names())}")
    operation = kind(**attributes)
    reads = _ints(item["inputs"], f"{where}.inputs", 0, len(nodes) - 1)
    label = _text(item["label"], f"{where}.label")
    try:
        shape = result_shape(operation, [nodes[j].shape for j in reads], leaves)
    except (TypeError, ValueError, KeyError, IndexError, AttributeError, OverflowError) as error:
        raise FormatError(f"{where}: {item['op']} with malformed attributes ({error})") from None
    _check_size(shape, where)
    return Node(operation, reads, shape, _int(item["scale"], f"{where}.scale", -(2**16), 2**16), label)


def _public(item, where: str) -> Public:
    _keys(item, where, ("path", "shape", "kind", "values", "change", "settled"))
    if item["kind"] not in ("b", "i", "f"):
        raise FormatError(f"{where}.kind: expected b, i or f, got {item['kind']!r:.60}")
    shape = _shape(item["shape"], f"{where}.shape")
    values = tuple(_fraction(v, f"{where}.values", -(2**256)) for v in _list(item["values"], f"{where}.values"))
    change = _int(item["change"], f"{where}.change", -(2**64), 2**64)
    rest = len(values) % math.prod(shape)
    if rest or not values or change and len(values) != math.prod(shape):
        raise FormatError(f"{where}.values: {len(values)} numbers for the shape {shape}")
    if type(item["settled"]) is not bool:
        raise FormatError(f"{where}.settled: not a truth value")
    return Public(_text(item["path"], f"{where}.path"), shape, item["kind"], values, change, item["settled"])


def _loss(item, where: str, last: int) -> Loss:
    _keys(item, where, ("node", "factor", "output"))
    factor = _fraction(item["factor"], f"{where}.factor", -(2**256))
    return Loss(_int(item["node"], f"{where}.node", 0, last), factor, _text(item["output"], f"{where}.output"))


def _fraction(value, where: str, least: int) -> Fraction:
    """A rational number whose numerator is at least that."""
    found = _ints(value, where, least, 2**256)
    if len(found) != 2 or found[1] <= 0 or math.gcd(*found) != 1:
        raise FormatError(f"{where}: not a reduced fraction")
    return Fraction(*found)


def _listed(value):
    if isinstance(value, dict):
        return {k: _listed(v) for k, v in value.items()}
    return [_listed(v) for v in value] if isinstance(value, tuple) else value


def _tupled(value, where: str, depth: int = 0):
    """Nested lists of integers, and of names of functions, as tuples."""
    if isinstance(value, list) and depth < 4:
        return tuple(_tupled(v, where, depth + 1) for v in value)
    if isinstance(value, str) and depth == 2 and (value in FUNCTIONS or value in ("x", "number")):
        return value
    return _int(value, where, -LIMIT, LIMIT)


def _keys(item, where: str, keys: tuple[str, ...], open_ended: bool = False):
    if not isinstance(item, dict):
        raise FormatError(f"{where}: expected an object")
    if not set(keys) <= set(item) or not (open_ended or set(item) == set(keys)):
        raise FormatError(f"{where}: keys {sorted(item)!s:.200}, expected {sorted(keys)}")


def _list(value, where: str) -> list:
    if not isinstance(value, list):
        raise FormatError(f"{where}: expected a list")
    return value


def _int(value, where: str, low: int, high: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise FormatError(f"{where}: expected an integer in {low}..{high}, got {value!r:.60}")
    return value


def _ints(value, where: str, low: int, high: int) -> tuple[int, ...]:
    return tuple(_int(v, where, low, high) for v in _list(value, where))


def _shape(value, where: str) -> tuple[int, ...]:
    shape = _ints(value, where, 1, MAX_AXIS)
    _check_size(shape, where)
    return shape


def _check_size(shape: tuple[int, ...], where: str) -> None:
    if len(shape) > MAX_RANK or max(shape, default=1) > MAX_AXIS or math.prod(shape) > MAX_SIZE:
        raise FormatError(f"{where}: shape {shape!s:.80} has too many axes or entries")


def _text(value, where: str) -> str:
    """A string that is safe to print: no control characters, no terminal escapes."""
    if not isinstance(value, str) or not value.isprintable():
        raise FormatError(f"{where}: expected a string of printable characters")
    return value
