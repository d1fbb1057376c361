"""What objects show of themselves, in a terminal and in a notebook: no secrets, and no markup of other people's making."""

import dataclasses
import json
import math
from fractions import Fraction
from html.parser import HTMLParser

import numpy as np
import pytest
from harness import prove_small
from tiny import tiny_run

import zkjax
from zkjax.display import Curve, Sheet, Table, floating, in_decimals, plain

HOSTILE = [
    "<script>alert(1)</script>",
    "\"><img src=x onerror='alert(1)'>",
    "&lt;b&gt;",
    "$\\href{javascript:alert(1)}{x}$",
    "</table></div>",
]


class Parsed(HTMLParser):
    """Tags, attributes and text of a piece of HTML; every tag is closed in its turn."""

    def __init__(self, markup: str):
        super().__init__()
        self.tags, self.attributes, self.text, self.open = set(), set(), "", []
        self.feed(markup)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes |= {(name, value) for name, value in attrs}
        if tag != "br":
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def harmless(markup: str) -> Parsed:
    parsed = Parsed(markup)
    assert parsed.tags <= {"div", "p", "b", "br", "table", "tr", "th", "td", "details", "summary"}
    sides = {("style", f"text-align: {side}") for side in ("left", "right")}
    assert parsed.attributes <= {("class", "mathjax_ignore tex2jax_ignore"), *sides}
    return parsed


@pytest.fixture(scope="module")
def made():
    circuit, run = tiny_run((2, 3, 2), batch=2, steps=2, samples=6)
    return circuit, run, prove_small(circuit, run, reveal=("loss",))


@pytest.mark.parametrize("name", HOSTILE)
def test_names_in_a_circuit_file_cannot_become_markup(made, tmp_path, name):
    data = made[0].to_json()
    data["inputs"][0]["name"] = data["parameters"][0]["path"] = data["nodes"][0]["label"] = name
    data["notes"] = [name]
    (tmp_path / "circuit.json").write_text(json.dumps(data))
    circuit = zkjax.Circuit.load(tmp_path / "circuit.json")
    told = json.dumps(name)[1:-1]  # in a sentence
    for text in (harmless(circuit._repr_html_()).text, str(circuit)):
        assert text.count(f'"{told}" of 2') == 1 and text.replace(f'"{told}"', "").count(name) == 3  # label, path, note
    run = dataclasses.replace(made[1], circuit=circuit)
    assert name in harmless(run._repr_html_()).text


def test_every_text_of_a_sheet_is_escaped():
    for name in HOSTILE:
        table = Table(((name, name),), heading=(name, name), left=(0,), title=name)
        assert harmless(Sheet(name, (name, table)).html()).text.count(name) == 7


def test_a_curve_draws_numbers_and_escapes_its_name():
    for name in HOSTILE:
        parsed = Parsed(Curve(name, [1.0, 0.5, 0.25]).html())
        assert parsed.tags == {"figure", "svg", "polyline", "figcaption"} and parsed.text.count(name) == 1
        assert {key for key, _ in parsed.attributes} == {
            "viewbox", "width", "role", "aria-label", "fill", "stroke", "stroke-width", "points",
        }  # fmt: skip
        points = dict(parsed.attributes)["points"].split()
        assert points[0] == "0.0,10.0" and points[-1] == "600.0,150.0"
        for values in ([], [1.0], [1.0, math.inf], [math.nan, 1.0]):
            assert harmless(Curve(name, values).html()).tags <= {"p", "br"}
    assert Parsed(Curve("flat", [2.0, 2.0]).html()).tags and Curve("loss", [2.0, 0.5]).text() == "loss: 2 at first, 0.5 at last, 2 steps"


def test_every_character_is_seen():
    """Nothing that a text of a file holds moves a cursor, turns the direction, breaks a line, or hides."""
    unseen = r"\x1b \n \r \t \x9b \xa0 \xad \u200b \u202e \u2028 \u2066 \u3164 \ufe0f \ufeff \ud800"
    for name in (escape.encode().decode("unicode_escape") for escape in unseen.split()):
        shown = plain(name)
        assert shown.isprintable() and shown == name.encode("unicode_escape").decode()
        table = Table(((name, name),), heading=(name, name), left=(0,), title=name)
        sheet = Sheet(name, (f"first\n{name.replace(chr(10), '')}", table))
        for text in (sheet.text(), harmless(sheet.html()).text):
            assert not set(text) & (set(name) - set(shown) - {"\n"})
            assert text.count(shown) >= 5
    for name in ("größe", "世界", "a b", "w['kernel']", "C:\\new", "\U0001f600"):
        assert plain(name) == name


def test_a_run_shows_sizes_alone(made):
    """Two runs that differ in all that is secret look alike."""
    _, run, _ = made
    rng = np.random.default_rng(0)

    def others(arrays):
        return tuple(rng.integers(-(2**40), 2**40, size=x.shape) for x in arrays)

    other = dataclasses.replace(
        run,
        data=zkjax.Dataset(others(run.data.arrays)),
        initial=others(run.initial),
        final=others(run.final),
        loss_integers=tuple((int(v),) for v in rng.integers(2**40, size=run.steps)),
        keys=run.keys[::-1],
        kept=None,
    )
    for show in (repr, str, zkjax.Run._repr_html_):
        assert show(run) == show(other)
    assert repr(run.data) == repr(other.data) and repr(run.witness()).startswith("Witness(")
    harmless(run._repr_html_())
    assert all(p.path in str(run) for p in run.circuit.parameters)


def test_a_proof_shows_its_claim_and_does_not_pretend(made, tmp_path):
    _, _, proof = made
    proof.save(tmp_path / "p.proof")
    loaded = zkjax.Proof.load(tmp_path / "p.proof")
    statement = proof.statement
    for text in (str(proof), harmless(proof._repr_html_()).text, str(loaded)):
        assert "not verified" in text.lower() and f"{proof.nbytes:,} bytes" in text
        for digest in (statement.circuit, statement.dataset, statement.initial_weights, statement.final_weights):
            assert digest.hex() in text
        assert all(str(v) in text for v in statement.losses[0])
    assert "sum of all errors" in str(proof) and "sum of all errors" not in str(loaded)  # a file's ledger is the verifier's to work out


def test_a_statement_shows_every_pin(made):
    _, _, proof = made
    statement = proof.statement
    hidden = dataclasses.replace(statement, losses=None, widths=(0,) * len(statement.widths))
    text = harmless(statement._repr_html_()).text
    assert "proven here" in text and f"seed {statement.seed}" in text and "0..1" in text and f"{statement.samples} samples" in text
    assert "earlier proof has to show" in str(hidden) and "hidden" in harmless(hidden._repr_html_()).text
    assert " ".join(str(v) for v in statement.losses[0]) not in harmless(hidden._repr_html_()).text


def test_a_ledger_shows_all_terms_weakest_first(made):
    ledger = made[2].security
    text = harmless(ledger._repr_html_()).text
    assert all(name in text and name in str(ledger) for name, _ in ledger.terms)
    shown = [line.rsplit(None, 2)[0].strip() for line in str(ledger).splitlines()[2:-1]]
    assert shown == [name for name, _ in sorted(ledger.terms, key=lambda t: t[1])]
    assert f"{ledger.bits:.2f} bits" in str(ledger).splitlines()[-1]


def test_columns_are_aligned():
    table = Table((("a", "1", "x"), ("long", "1,000", "")), heading=("name", "count", "note"), left=(0, 2))
    assert table.text().splitlines() == ["name  count  note", "a         1  x", "long  1,000"]


@pytest.mark.parametrize(
    "value, told",
    [
        (Fraction(0), "0"),
        (Fraction(-1, 3), "-0.333333"),
        (Fraction(336), "336"),
        (Fraction(1234567), "1.23457e+06"),
        (Fraction(10) ** 400 * 2 / 3, "6.66667e+399"),
        (-(Fraction(10) ** 5000), "-1e+5000"),
        (Fraction(1, 10**400), "0"),
    ],
)
def test_numbers_have_six_digits(value, told):
    assert in_decimals(value) == told
    assert math.isfinite(floating(value)) == (abs(value) < 2**1024) and (floating(value) < 0) == (value < 0)
