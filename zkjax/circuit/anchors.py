"""Anchors: every committed tensor lies in a range that a lookup shows. What is not anchored is refused, by prover and verifier alike.

Bounds speak of committed tensors as of integers in their ranges. A prover may commit to any field elements, so a range has to be shown:

    A committed tensor is anchored once it stands with coefficient +1 or -1, alone among tensors that are not yet, in a column of a
    lookup. Sums and products of what is anchored are bounded.

A coefficient such as 2^s anchors nothing: x - 2^s q in a range holds for many q modulo p. Whether the equations then hold over the
integers is for ``bounds`` to say.

PROTOCOL.md, section 5.4.
"""

from ..errors import FormatError

ALONE = ("", "repeated", "columns")  # where every entry of a tensor stands by itself


def check(circuit) -> None:
    """FormatError names an operation with a committed tensor that no lookup anchors."""
    committed = {key: i for i, found in circuit.advice.items() for key in found}
    anchored: set = set()
    bounded = [False] * len(circuit.nodes)
    while True:
        before = len(anchored)
        for i, node in enumerate(circuit.nodes):
            for lookup in circuit.lookups.get(i, ()):
                for _, parts in lookup.columns:
                    _anchor(parts, committed, anchored, bounded)
            if all(bounded[j] for j in node.inputs):
                anchored.update(node.operation.anchored(i))
            bounded[i] = anchored.issuperset(circuit.advice.get(i, ())) and all(bounded[j] for j in node.inputs)
        if len(anchored) == before:
            break
    for key, i in committed.items():
        if key not in anchored:
            raise FormatError(f"{circuit.describe(i)}: no lookup shows a range of its committed tensor {key[0]}")


def _anchor(parts, committed: dict, anchored: set, bounded: list[bool]) -> None:
    """What a column anchors, given what is anchored."""

    def known(key) -> bool:
        return bounded[key[1]] if key[0] == "node" else key not in committed or key in anchored

    unknown = [part for part in parts if not known(part.key)]
    if len(unknown) == 1 and abs(unknown[0].coefficient) == 1 and unknown[0].along in ALONE and unknown[0].key[0] != "node":
        anchored.add(unknown[0].key)
