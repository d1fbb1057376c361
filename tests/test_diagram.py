"""Pictures of pages: boxes that do not touch, lines that run through none of them, texts that fit, whatever a file calls its layers."""

import re
from dataclasses import replace
from itertools import pairwise
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny import tiny_run

from zkjax.circuit.outline import MOST, _called, _groups, outline
from zkjax.diagram import ACROSS, FONT, LETTERS, Box, Graph, Span, Timeline, in_order, rows, short, width

HOSTILE = ["<script>alert(1)</script>", '"><img src=x onerror="alert(1)">', "\u202eabc\u2066", "\u5927" * 90]
HOSTILE += ["a" * 5000, "e\u0301" * 60, "&lt;", ""]
NUMBER = re.compile(r"-?[\d.]+")


def frames(svg) -> list[tuple[float, float, float, float]]:
    """Left, top, right, bottom of each box."""
    found = ([float(x.get(name)) for name in ("x", "y", "width", "height")] for x in svg.iter("rect"))
    return [(x, y, x + wide, y + high) for x, y, wide, high in found]


def lines(path: str) -> list[tuple[float, float]]:
    """The points of a path of straight lines; of a curve its ends and what steers it, between which it stays."""
    found = [(0.0, 0.0)]
    for kind, numbers in re.findall("([MVHC])([^MVHC]*)", path):
        values = [float(x) for x in NUMBER.findall(numbers)]
        if kind in "MC":
            found += zip(values[::2], values[1::2], strict=True)
        else:
            found.append((found[-1][0], values[0]) if kind == "V" else (values[0], found[-1][1]))
    return found[1:]


def drawn(graph: Graph):
    return ElementTree.fromstring(graph.html()).find("svg")


arrows = st.lists(st.tuples(st.integers(0, 11), st.integers(0, 11)).filter(lambda x: x[0] != x[1]), max_size=25, unique=True)


texts = st.tuples(st.sampled_from([*HOSTILE, "name"]), st.lists(st.sampled_from(HOSTILE), max_size=3))


@given(arrows, st.lists(texts, min_size=12, max_size=12))
def test_nothing_overlaps(found, texts):
    svg = drawn(Graph("name", "told", tuple(Box(name, tuple(more)) for name, more in texts), tuple(found)))
    boxes = frames(svg)
    wide, high = (float(svg.get(name)) for name in ("width", "height"))
    assert len(boxes) == 12
    for i, (left, top, right, bottom) in enumerate(boxes):
        assert 0 <= left < right <= wide and 0 <= top < bottom <= high
        assert not any(left < r and l < right and top < b and t < bottom for l, t, r, b in boxes[:i])  # noqa: E741
    for path in svg.findall("path"):
        if path.get("fill") == "none":
            for (x, y), (u, v) in pairwise(lines(path.get("d"))):
                low, end = sorted((x, u)), sorted((y, v))
                assert 0 <= low[0] and low[1] <= wide and 0 <= end[0] and end[1] <= high
                inside = 0.5  # it begins and ends at edges
                assert not any(low[1] > l and low[0] < r and end[1] > t + inside and end[0] < b - inside for l, t, r, b in boxes)  # noqa: E741


@given(st.lists(st.sampled_from(HOSTILE), min_size=1, max_size=4))
def test_texts_are_in_their_boxes(texts):
    svg = drawn(Graph("name", "told", (Box(texts[0], tuple(texts[1:])),)))
    ((left, top, right, bottom),) = frames(svg)
    found = list(svg.iter("text"))
    assert len(found) == len(texts)
    heights = [float(x.get("y")) for x in found]
    assert all(b - a >= FONT for a, b in pairwise([top, *heights])) and heights[-1] < bottom - FONT / 4
    for x in found:
        assert left < float(x.get("x")) and float(x.get("x")) + float(x.get("textLength")) < right
    assert {x.tag for x in svg.iter()} == {"svg", "title", "desc", "g", "rect", "text"}


@given(arrows)
def test_rows_follow_the_arrows(found):
    order = in_order(12, found)
    assert sorted(order) == [*range(12)]
    place = {i: r for r, row in enumerate(rows(order, found)) for i in row}
    assert sorted(place) == [*range(12)] and all(len(row) <= ACROSS for row in rows(order, found))
    forward = [(a, b) for a, b in found if order.index(a) < order.index(b)]
    assert all(place[a] < place[b] for a, b in forward)
    downward = [(min(arrow), max(arrow)) for arrow in found]  # without circles all lead on
    order = in_order(12, downward)
    assert all(order.index(a) < order.index(b) for a, b in downward)


@pytest.mark.parametrize("text", HOSTILE)
def test_long_lines_lose_their_middle(text):
    assert width(short(text)) <= LETTERS and short("kernel 3x3") == "kernel 3x3"
    assert not re.search("[\u202e\u2066]", short(text))


# ---- of a circuit --------------------------------------------------------------------------------------------------
def names(graph: Graph) -> list[tuple[str, str]]:
    return [(graph.boxes[a].name, graph.boxes[b].name) for a, b in graph.arrows]


def test_the_outline_of_a_net():
    circuit, _ = tiny_run((3, 4, 5, 2))
    graph = outline(circuit)
    chain = ['"x"', '"0"', '"1"', '"2"', "loss", "backward pass", "optimizer"]
    assert {*names(graph)} == {*pairwise(chain), ('"y"', "loss")}
    boxes = {box.name: box.lines for box in graph.boxes}
    assert boxes['"x"'] == ("batch of 3x3",) and boxes['"1"'][:2] == ('"b" 5', '"w" 4x5') and boxes['"1"'][-1] == "gives 3x5"
    assert boxes["optimizer"][0] == "changes 6 parameter tensors"


def test_the_outline_of_a_net_that_nothing_changes():
    circuit, _ = tiny_run()
    frozen = replace(circuit, parameters=tuple(replace(x, updates=()) for x in circuit.parameters))
    assert "optimizer" not in {name for pair in names(outline(frozen)) for name in pair}


def test_many_arrays_are_few_boxes():
    circuit, _ = tiny_run()
    more = tuple(replace(circuit.inputs[0], name=f"more {i}") for i in range(30))
    (last,) = (box for box in outline(replace(circuit, inputs=(*circuit.inputs, *more))).boxes if "other arrays" in box.name)
    assert last.name == '"more 5" and 24 other arrays'


def test_the_outline_of_hostile_names():
    circuit, _ = tiny_run()
    named = replace(circuit, parameters=tuple(replace(x, path=f"{i}{HOSTILE[i]}/w") for i, x in enumerate(circuit.parameters)))
    text = " ".join(drawn(outline(named)).itertext())
    assert "alert(1)" in text and "\\u202e" in text and "\u202e" not in text


def test_many_layers_are_few_boxes():
    deep = [("net", f"block{i}", name, "dense") for i in range(30) for name in ("query", "key", "out")]
    groups = _groups(deep)
    assert len({*groups.values()}) == 30 and groups[deep[0]] == (*deep[:3],) and _called(groups[deep[0]]) == '"net/block0", 3 layers'
    flat = [(f"layer{i}",) for i in range(1000)]
    groups = _groups(flat)
    assert len({*groups.values()}) <= MOST and [path for group in dict.fromkeys(groups.values()) for path in group] == flat
    assert _called(groups[flat[0]]) == '"layer0" .. "layer24", 25 layers'
    assert _groups([]) == {}


def test_a_timeline_draws_where_its_rows_stand():
    timeline = Timeline(("proof", "steps"), (Span((2, 4), ("a", "2..3")), Span((4, 10), ("<b>", "4..9")), Span(None, ("c", ""))))
    table = ElementTree.fromstring(timeline.html())
    bars = [(float(x.get("x")), float(x.get("width"))) for x in table.iter("rect")]
    assert bars == [(0, 30), (30, 90)] and "<b>" in " ".join(table.itertext())
    assert timeline.text().splitlines()[1].split() == ["a", "2..3"]
    assert Timeline(("proof",), (Span(None, ("a",)),)).html().count("<svg") == 0
