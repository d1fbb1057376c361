"""The page of ``check --html`` in a real browser: all of it is seen, nothing runs, nothing is asked of any network.

It needs Chromium and its driver (``browser.py``), and is skipped where they are not installed.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from browser import opened, programs
from harness import BITS, make_run, prove_small
from tiny import TINY

import zkjax
from zkjax.auditing.report import report
from zkjax.diagram import Box, Graph
from zkjax.display import Sheet, page, plain

GIVEN = {"minimum_bits": BITS}
SIZES = [(1280, False), (1280, True), (600, True), (360, False)]  # width, dark
LAYERS = ["<script>alert(1)</script>", '"><img src=x onerror="alert(1)">', "\u05e9\u05dc\u05d5\u05dd \u5927", "name" * 200]
OUTPUT, OTHER = "<b>of all</b>", "<b>notes\u202e"
FILES = ['"><img src="http:no.example">.proof', "\u202etxt.proof"]

# What is wrong with a page: texts outside of what holds them, boxes that overlap, pictures without a size, a page wider than its window.
FAULTS = r"""
const found = [], close = 1.5;
const inside = (a, b) => a.left >= b.left - close && a.right <= b.right + close && a.top >= b.top - close && a.bottom <= b.bottom + close;
const apart = (a, b) => a.right <= b.left + close || b.right <= a.left + close || a.bottom <= b.top + close || b.bottom <= a.top + close;
const named = x => `${x.nodeName} ${(x.textContent || "").slice(0, 60)}`;
const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (texts.nextNode()) {
    const parent = texts.currentNode.parentElement;
    if (!texts.currentNode.data.trim() || ["title", "desc", "STYLE"].includes(parent.nodeName)) continue;
    const holder = parent.nodeName == "text" ? parent.parentElement.querySelector("rect") : parent;
    const range = document.createRange();
    range.selectNodeContents(texts.currentNode);
    const box = parent.nodeName == "text" ? parent.getBoundingClientRect() : range.getBoundingClientRect();
    if (!box.width || !box.height) found.push(`unseen: ${named(parent)}`);
    if (!holder || !inside(box, holder.getBoundingClientRect())) found.push(`outside: ${named(parent)}`);
}
for (const svg of document.querySelectorAll("svg")) {
    const frame = svg.getBoundingClientRect();
    if (!frame.width || !frame.height) found.push(`no size: ${named(svg)}`);
    const shapes = [...svg.querySelectorAll("rect, polyline, path")];
    for (const x of shapes) {
        const box = x.getBoundingClientRect();
        if (!box.width && !box.height) found.push(`no size: ${named(x)}`);
        if (!inside(box, frame)) found.push(`outside: ${named(x)}`);
    }
    for (const kind of ["rect", "text"]) {
        const boxes = [...svg.querySelectorAll(kind)].map(x => x.getBoundingClientRect());
        boxes.forEach((a, i) => boxes.slice(0, i).forEach(b => { if (!apart(a, b)) found.push(`overlap: ${kind} of ${named(svg)}`); }));
    }
}
const blocks = [...document.querySelectorAll("body > div > *")].map(x => x.getBoundingClientRect());
blocks.forEach((a, i) => blocks.slice(0, i).forEach(b => { if (!apart(a, b)) found.push("overlap: blocks"); }));
if (document.documentElement.scrollWidth > window.innerWidth) found.push(`wide: ${document.documentElement.scrollWidth}`);
const active = "script, img, iframe, object, embed, link, form, base, [src], [href]";
for (const x of document.querySelectorAll(active)) found.push(`tag: ${named(x)}`);
return found;
"""
TEXT = "return document.body.textContent"
COLOURS = "return ['body', 'polyline', 'figure rect', 'table rect'].map(x => getComputedStyle(document.querySelector(x)).color)"


@pytest.fixture(scope="module")
def browser():
    if programs() is None:
        pytest.skip("no headless Chromium here: apt-get install chromium chromium-driver")
    with opened() as found:
        yield found


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """What follows from a folder that holds everything, and whose layers, outputs, proofs and other files have names that try to be more
    than that."""
    rng = np.random.default_rng(0)
    params = {name: {"w": rng.normal(size=(3, 3)).astype(np.float32)} for name in LAYERS}
    data = tuple(rng.normal(size=(6, 3)).astype(np.float32) for _ in range(2))

    def net(params, x):
        for name in LAYERS:
            x = jax.nn.relu(x @ params[name]["w"])
        return x

    circuit, run = make_run(lambda params, x, y: jnp.mean((net(params, x) - y) ** 2), params, data, precision=TINY)
    runs = [run, zkjax.train(circuit, run, None, steps=2)]
    proofs = [prove_small(circuit, x, reveal=("loss",)) for x in runs]

    def metrics(params, x, y):
        return {"correct": jnp.sum(y > 0), OUTPUT: jnp.sum(net(params, x) ** 2)}

    formats = zkjax.Precision(activation_scale=4, activation_bits=7, data_bits=(7, 7))
    test = zkjax.evaluate(runs[1], metrics, data, batch=3, shard_size=4, precision=formats, progress=None, **GIVEN)
    folder = tmp_path_factory.mktemp("hostile") / "folder"
    zkjax.publish(runs[1], proofs, folder, data=True, evaluations={"test": test}, test_data=True, **GIVEN)
    for i, name in enumerate(FILES):
        (folder / f"chunk-000{i}.proof").rename(folder / name)
    (folder / OTHER).write_text("the best model")
    return zkjax.check(folder, **GIVEN)


@pytest.fixture
def path(found, tmp_path):
    (tmp_path / "report.html").write_text(report(found), encoding="utf-8")
    return tmp_path / "report.html"


def shown(browser, path, width, dark=False):
    """The faults of a page, after it was opened in this size."""
    browser.resize(width, dark=dark)
    browser.requests(), browser.messages()
    browser.open(path)
    return browser.run(FAULTS)


@pytest.mark.parametrize("width, dark", SIZES)
def test_all_is_seen_and_nothing_is_asked_for(browser, found, path, width, dark):
    assert shown(browser, path, width, dark) == []
    assert browser.requests() == [path.as_uri()] and browser.messages() == []
    text = browser.run(TEXT)
    lines = [line for part in found.sheet().parts if isinstance(part, str) for line in part.split("\n")]
    assert found.sentence in lines and all(plain(line) in text for line in lines)
    assert all(plain(told) in text for claim in found.claims for told in (claim.what, claim.value, claim.evidence))
    counted = browser.run("return ['polyline', 'figure g rect', 'table svg'].map(x => document.querySelectorAll(x).length)")
    assert counted == [1, 9 + 7, 2]  # curves, boxes of two graphs, bars of proofs
    assert set(browser.run(COLOURS)) == {"rgb(255, 255, 255)" if dark else "rgb(0, 0, 0)"}


def test_names_are_text(browser, path):
    """Of layers, outputs and files: they are read as they are, and marks of direction are told."""
    assert shown(browser, path, 1280) == []
    text = browser.run(TEXT)
    assert all(name in text for name in (LAYERS[0], OUTPUT, FILES[0], plain(FILES[1]), plain(OTHER)))
    assert "\u202e" not in text and "\\u202etxt.proof" in text


def test_a_page_prints(browser, path):
    browser.open(path)
    assert len(browser.call("print", {"shrinkToFit": False})) > 10_000  # PDF, in base64


BAD = {
    "outside: text": '<svg width="200" height="40"><g><rect width="30" height="20"/><text x="5" y="15">a long text</text></g></svg>',
    "outside: p": '<p style="white-space: nowrap; width: 3rem">a text that does not fit</p>',
    "overlap: rect": '<svg width="90" height="90"><rect width="50" height="50"/><rect x="20" y="20" width="50" height="50"/></svg>',
    "overlap: blocks": '<p>one</p><p style="margin-top: -3rem">two</p>',
    "no size: polyline": '<svg width="90" height="90"><polyline points="3,3"/></svg>',
    "wide: ": '<p style="width: 3000px">wide</p>',
    "tag: IMG": '<img src="http://no.example/x.png">',
    "unseen: b": "<p><b style='display: none'>unseen</b></p>",
}


@pytest.mark.parametrize("fault", BAD)
def test_faults_are_noticed(browser, tmp_path, fault):
    """Controls: pages that are bad, each in one way."""
    path = tmp_path / "bad.html"
    path.write_text(page("bad").replace("<body>", f"<body><div>{BAD[fault]}</div>"), encoding="utf-8")
    assert any(found.lower().startswith(fault.lower()) for found in shown(browser, path, 800))


def test_requests_and_scripts_are_noticed(browser, tmp_path):
    """Controls: a script that fails, what the policy refuses, and a request where there is no policy."""
    path, bad = tmp_path / "bad.html", "<script>throw Error('script')</script><img src='http://no.example/x.png'>"
    path.write_text(page("bad").replace("<body>", f"<body>{bad}"), encoding="utf-8")
    shown(browser, path, 800)
    assert len(browser.messages()) == 2
    path.write_text(f"<body>{bad}", encoding="utf-8")
    shown(browser, path, 800)
    assert any("script" in message for message in browser.messages()) and "http://no.example/x.png" in browser.requests()


def test_a_large_graph_is_drawn(browser, tmp_path):
    boxes = tuple(Box(f"layer {i}", ("kernel 3x3", "\u5927" * i)) for i in range(60))
    arrows = tuple((i, j) for i in range(60) for j in (i + 1, i + 7, i - 11) if 0 <= j < 60)
    path = tmp_path / "large.html"
    path.write_text(page("large", Sheet("large", (Graph("large", "told", boxes, arrows),))), encoding="utf-8")
    assert shown(browser, path, 1000) == []
