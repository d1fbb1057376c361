"""A published folder and what follows from it; lies about it, each refused by the check that should."""

import dataclasses
import hashlib
import json
import shutil
import subprocess
import sys
from html.parser import HTMLParser

import moving
import numpy as np
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519
from harness import BITS, SMALL, prove_small
from securesystemslib.dsse import Envelope
from securesystemslib.exceptions import VerificationError as SignatureVerificationError
from securesystemslib.signer import CryptoSigner
from test_disclosures import chain, with_states
from test_evaluation import TESTED, evaluate, evaluated, fresh_run, proven, retrained, samples, training

import zkjax
from zkjax import publishing
from zkjax.__main__ import main
from zkjax.circuit import lines
from zkjax.commitment.openings import Openings
from zkjax.comparison import Part, Terms
from zkjax.errors import ConfigurationError, FormatError, VerificationError
from zkjax.files import Kept
from zkjax.proofs.drawing import Drawing

GIVEN = {"minimum_bits": BITS}


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """A folder that holds everything, and what ``publish`` said of it."""
    circuit, (first, second), proofs = chain()
    folder = tmp_path_factory.mktemp("published") / "folder"
    said = zkjax.publish(second, proofs[::-1], folder, first=first, initial=True, data=True, update=True, **GIVEN)
    return folder, said


@pytest.fixture
def copy(published, tmp_path):
    shutil.copytree(published[0], tmp_path / "copy")
    return tmp_path / "copy"


def refused(folder, check, match=None, kind=VerificationError):
    with pytest.raises(kind, match=match) as caught:
        zkjax.check(folder, **GIVEN)
    assert check is None or caught.value.check == check


def test_a_sentence_follows(published, capsys):
    folder, said = published
    circuit, (first, second), proofs = chain()
    found = zkjax.check(folder, **GIVEN)
    assert found.sentence == said.sentence and found.proofs == 2 and found.bits <= found.least
    steps = second.first_step + second.steps
    assert (
        f"for {steps} steps of {circuit.batch_size} samples" in found.sentence and "from weights in initial.safetensors" in found.sentence
    )
    assert "The model in model.safetensors (sha256 " in found.sentence and f"({first.data.samples} samples, disclosed)" in found.sentence
    values = {claim.what: claim.value for claim in found.claims}
    assert values["recipe"] == circuit.digest().hex() and values["last weights"] == proofs[1].statement.final_weights.hex()
    assert any(circuit.digest().hex() in gap for gap in found.gaps)  # the source was not traced again
    assert main(["check", str(folder), "--minimum-bits", str(BITS), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["valid"] and told["sentence"] == found.sentence and len(told["claims"]) == len(found.claims)


def test_a_stranger_needs_no_jax(published):
    folder, said = published
    script = "import sys, runpy; sys.modules['jax'] = None; sys.argv[0] = 'zkjax'; runpy.run_module('zkjax', run_name='__main__')"
    done = subprocess.run([sys.executable, "-c", script, "check", str(folder), "--minimum-bits", str(BITS)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("VALID: ") and said.sentence in done.stdout


def test_inspect_tells_what_every_file_holds(copy, capsys):
    """Of whatever kind, by what is in it and not by its name; of those whose reader is not to be believed it says so."""
    circuit, (first, second), _ = chain()
    attest(copy)
    zkjax.Precision(activation_scale=4).save(copy / "precision.json")
    Drawing(7, {"0/w": ("normal", 0.5), "1/w": ("normal", 0.5), "b": ("constant", 0)}).save(copy / "drawing.json")
    Terms((Part(("0/w", "0/b"), 3), Part(("1/w",), 2, 5))).save(copy / "comparison.json")
    lines.save(circuit, copy / "source.json")
    told = {}
    for path in sorted(copy.iterdir()):
        (copy / "file").unlink(missing_ok=True)
        shutil.copy(path, copy / "file")
        capsys.readouterr()
        assert main(["inspect", str(copy / "file")]) == 0, path
        told[path.name] = capsys.readouterr().out
        assert path.suffix == ".proof" or path.name == "circuit.json" or told[path.name].endswith("not compared with anything here\n")
    words = {
        "data.npz": ("x", "(12, 3)", "float64"),
        "model.safetensors": (f"after {second.first_step + second.steps} steps", circuit.digest().hex(), "0/w", "(3, 4)"),
        "statement.json": ("chunk-0000.proof", "committed to by", circuit.digest().hex()),
        "attestation.json": ("Attestation", "The model in model.safetensors"),
        "precision.json": ("activation_scale=4",),
        "drawing.json": ("from key 7", "normal 0.5", "0/w, 1/w", "constant 0"),
        "comparison.json": ("0/w, 0/b", "2^-3", "none"),
        "source.json": ("Source lines", circuit.digest().hex()),
        "data.disclosure": ("shard 2",),
    }
    for name, wanted in words.items():
        assert all(word in told[name] for word in wanted), (name, told[name])
    archive, header = b"PK\x03\x04", bytes([9] + [0] * 20)
    for content in (b'{"seed": 1, "parameters": {}}', b'{"parts": 3}', b'{"payload": 3}', archive, header, b'{"a": 1, "a": 2}'):
        (copy / "file").write_bytes(content)
        assert main(["inspect", str(copy / "file")]) == 1
        assert capsys.readouterr().err.startswith("INVALID: ")


class Tags(HTMLParser):
    def __init__(self):
        super().__init__()
        self.found, self.text = [], ""

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data


def test_the_page_loads_and_runs_nothing(published, tmp_path):
    folder, said = published
    assert main(["check", str(folder), "--minimum-bits", str(BITS), "--html", str(tmp_path / "report.html")]) == 0
    parsed = Tags()
    parsed.feed((tmp_path / "report.html").read_text("utf-8"))
    assert said.sentence in parsed.text and all(gap in parsed.text for gap in said.gaps)
    assert not {tag for tag, _ in parsed.found} & {"script", "link", "img", "iframe", "object", "embed", "form", "base"}
    assert not [attrs for _, attrs in parsed.found for name in attrs if name in ("src", "href", "srcset") or name.startswith("on")]
    assert [attrs for tag, attrs in parsed.found if tag == "meta" and "default-src 'none'" in attrs.get("content", "")]
    assert any(tag == "polyline" for tag, _ in parsed.found) == bool(said.outputs)


def test_what_is_missing_is_said(copy):
    for name in ("model.safetensors", "model.disclosure", "initial.safetensors", "initial.disclosure", "data.npz", "data.disclosure"):
        (copy / name).unlink()
    (copy / "notes.txt").write_text("the best model")
    found = zkjax.check(copy, **GIVEN)
    assert found.sentence.startswith("The model with digest ") and "not disclosed" in found.sentence
    for name in ("model.safetensors", "initial.safetensors", "data.npz", "notes.txt"):
        assert any(name in gap for gap in found.gaps)


def altered_array(path, name):
    arrays = dict(np.load(path))
    arrays[name] = arrays[name].copy()
    arrays[name].reshape(-1)[0] += 1 if arrays[name].dtype.kind == "i" else 2.0**-4
    np.savez(path, **arrays)


def test_lies_are_refused(copy, published):
    """Each alone: another model, another dataset, a disclosure of another commitment, a proof left out, one of another chain."""
    circuit, (first, second), proofs = chain()

    def again():
        shutil.rmtree(copy)
        shutil.copytree(published[0], copy)

    first.save_model(copy / "model.safetensors")  # the weights of an earlier step
    refused(copy, "model")
    again()
    shutil.copy(copy / "initial.safetensors", copy / "model.safetensors")
    refused(copy, "model")
    again()
    altered_array(copy / "data.npz", circuit.inputs[1].name)
    refused(copy, "data")
    again()
    shutil.copy(copy / "initial.disclosure", copy / "model.disclosure")
    refused(copy, "disclosure")
    again()
    (copy / "chunk-0001.proof").unlink()
    refused(copy, "published proofs")
    again()
    (copy / "statement.json").unlink()
    (copy / "chunk-0000.proof").unlink()
    refused(copy, "initial bound")  # nothing shows the bounds that the second proof begins with
    again()
    raw = bytearray((copy / "chunk-0000.proof").read_bytes())
    raw[-20] ^= 1
    (copy / "chunk-0000.proof").write_bytes(raw)
    refused(copy, None, "chunk-0000.proof")
    again()
    other = with_states()
    other[2][0].save(copy / "chunk-0002.proof")
    (copy / "statement.json").unlink()
    refused(copy, None)


def test_a_folder_that_says_nothing_is_misuse(copy, tmp_path, capsys):
    (copy / "model.disclosure").unlink()
    refused(copy, None, "model.disclosure is missing", ConfigurationError)
    (copy / "circuit.json").unlink()
    refused(copy, None, "a published folder holds circuit.json", ConfigurationError)
    assert main(["check", str(tmp_path / "nowhere")]) == 2 and "nowhere" in capsys.readouterr().err
    assert main(["check", str(copy), "--json"]) == 2 and not json.loads(capsys.readouterr().out)["valid"]


def test_malformed_files_are_named(copy):
    whole = (copy / "data.npz").read_bytes()
    for raw in (b"PK nothing", whole[:-1], whole[1:], whole[: len(whole) // 2] + whole[len(whole) // 2 + 1 :]):
        (copy / "data.npz").write_bytes(raw)
        refused(copy, None, "data.npz", FormatError)


def test_what_is_hashed_is_what_is_checked(copy, monkeypatch):
    """A folder that changes while it is read: each file is read once, so that digests are of what was verified."""
    honest, changed = zkjax.check(copy, **GIVEN), []

    def kept(self, path, limit):
        original(self, path, limit)
        path.write_bytes(b"another file")
        changed.append(path.name)

    original = Kept.__init__
    monkeypatch.setattr(Kept, "__init__", kept)
    found = zkjax.check(copy, **GIVEN)
    assert found.attestation == honest.attestation and len(changed) == len({*changed}) == len(found.folder.hashes) > 8


def test_nothing_is_replaced_and_nothing_is_left_behind(published, tmp_path, monkeypatch):
    circuit, (_, second), proofs = chain()
    with pytest.raises(ConfigurationError, match="is there"):
        zkjax.publish(second, proofs, published[0], **GIVEN)
    with pytest.raises(VerificationError):
        zkjax.publish(second, proofs[1:], tmp_path / "half", model=False, **GIVEN)
    with pytest.raises(ConfigurationError, match="proofs"):
        zkjax.publish(second, [], tmp_path / "half", **GIVEN)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("after", ["it counts", "it is kept", "nothing"])
def test_a_kill_loses_no_link(tmp_path, monkeypatch, after):
    """Of a proof that replaces a commitment, which ``publish`` makes: a kill may come before it counts, or before the folder is there."""
    circuit = moving.moving()
    run = zkjax.train(circuit, *moving.start(), steps=2)
    run.chain.geometry = SMALL
    run.save(tmp_path / "private")
    proofs = [prove_small(circuit, run)]
    zkjax.disclose(run, "parameters", **GIVEN)  # what is left is for a link

    def killed(function, before):
        def instead(*arguments, **options):
            if not before:
                function(*arguments, **options)
            raise KeyboardInterrupt

        return instead

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        if after == "it counts":
            patch.setattr(publishing, "link", killed(publishing.link, False))
        else:
            patch.setattr(Openings, "finish" if after == "it is kept" else "keep", killed(None, True))
        zkjax.publish(run, proofs, tmp_path / "first", **GIVEN)
    kept = [*(tmp_path / "private").glob("kept-*.proof")]
    assert len(kept) == (after != "nothing") and not (tmp_path / "first").exists()
    found = zkjax.publish(zkjax.Run.load(tmp_path / "private"), proofs, tmp_path / "second", **GIVEN)
    assert found.proofs == 2 + (after != "it counts") and "model.safetensors" in found.sentence
    if after == "it counts":
        assert (tmp_path / "second" / "link-0000.proof").read_bytes() == kept[0].read_bytes()
    again = zkjax.publish(zkjax.Run.load(tmp_path / "private"), proofs, tmp_path / "third", **GIVEN)  # which knows of no link
    assert again.sentence == found.sentence


# ---- evaluations ---------------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def judged(tmp_path_factory):
    """A folder with an evaluation, and its test set."""
    _, runs, proofs = training()
    folder = tmp_path_factory.mktemp("judged") / "folder"
    zkjax.publish(runs[-1], proofs, folder, model=False, data=True, evaluations={"test": evaluated()}, test_data=True, **GIVEN)
    return folder


def test_the_sentence_has_the_count_of_an_evaluation(judged):
    found, result = zkjax.check(judged, **GIVEN), evaluated().result
    correct = int(result.totals["correct"])
    assert [x.name for x in evaluated().circuit.inputs] == ["x", "y", "groups"]  # as metrics calls them
    assert f"counts {correct} of the {TESTED} samples of the test set with root " in found.sentence
    values = {claim.what: claim.value for claim in found.claims}
    rows = [[int(x) for x in row.split()] for row in values["test: confusion"].split("; ")]
    assert np.array_equal(rows, result.confusion) and not any(what.startswith("test: confusion ") for what in values)
    assert values["test: correct"] == str(correct) and values["test: samples that are in data.npz too"] == "0"
    assert any("outputs of test mean" in gap and result.statement.circuit.hex() in gap for gap in found.gaps)
    assert found.proofs == 1 + len(training()[2]) and found.facts["evaluations"]["test"]["samples"] == TESTED
    assert not any("test set of test" in gap for gap in found.gaps)


def test_lies_about_an_evaluation_are_refused(judged, tmp_path):
    """Another count, another test set, other weights, a circuit of another evaluation, a test set without its disclosure."""
    copy = tmp_path / "copy"

    def again():
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(judged, copy)
        return copy / "test"

    path = again() / "evaluation.proof"
    proof = zkjax.Proof.load(path)
    losses = list(proof.statement.losses)
    losses[0] = (losses[0][0] + 1, *losses[0][1:])
    dataclasses.replace(proof, statement=dataclasses.replace(proof.statement, losses=tuple(losses))).save(path)
    refused(copy, None, "test")
    altered_array(again() / "data.npz", evaluated().circuit.inputs[1].name)
    refused(copy, "data")
    again()
    proven(fresh_run()).save(copy / "test" / "evaluation.proof")
    refused(copy, "training", "it ends with the weights")
    again()
    for name in ("data.npz", "data.disclosure"):
        (copy / "test" / name).unlink()
    shutil.copy(copy / "circuit.json", copy / "test" / "circuit.json")
    refused(copy, "circuit", "test")
    (again() / "data.disclosure").unlink()
    refused(copy, None, "data.disclosure is missing", ConfigurationError)
    (again() / "circuit.json").unlink()
    refused(copy, None, "circuit.json is missing", ConfigurationError)


def test_samples_that_were_trained_on_are_counted(judged, tmp_path):
    run, (x, y, groups) = retrained(), samples(TESTED, 2)
    proofs = [prove_small(run.circuit, run)]
    seen = run.data.arrays[0][:3] * 2.0 ** -run.circuit.inputs[0].scale
    test = np.concatenate([seen, x[3:]]).astype(np.float32), y, groups
    wanted = {"model": False, "data": True, "evaluations": {"t": evaluate(run, data=test)}, "test_data": True}
    zkjax.publish(run, proofs, tmp_path / "folder", **wanted, **GIVEN)
    values = {claim.what: claim.value for claim in zkjax.check(tmp_path / "folder", **GIVEN).claims}
    assert values["t: samples that are in data.npz too"] == "3"


def test_a_page_lists_all_claims(judged, tmp_path):
    assert main(["check", str(judged), "--minimum-bits", str(BITS), "--html", str(tmp_path / "report.html")]) == 0
    parsed = Tags()
    parsed.feed((tmp_path / "report.html").read_text("utf-8"))
    assert all(claim.value in parsed.text and claim.what in parsed.text for claim in zkjax.check(judged, **GIVEN).claims)


# ---- attestations --------------------------------------------------------------------------------------------------
def attest(folder, *options):
    return main(["attest", str(folder), "--minimum-bits", str(BITS), *options])


def test_an_attestation_says_what_follows(copy):
    assert attest(copy) == 0
    told = json.loads((copy / "attestation.json").read_text("utf-8"))
    assert told["_type"] == "https://in-toto.io/Statement/v1" and told["predicate"]["sentence"] == zkjax.check(copy, **GIVEN).sentence
    (subject,) = told["subject"]
    assert subject == {
        "name": "model.safetensors",
        "digest": {"sha256": hashlib.sha256((copy / "model.safetensors").read_bytes()).hexdigest()},
    }
    assert any("it is not signed" in gap for gap in zkjax.check(copy, **GIVEN).gaps)
    assert attest(copy) == 0 and json.loads((copy / "attestation.json").read_text("utf-8")) == told


def test_a_signed_attestation_has_the_signature_of_its_key(copy):
    private = ed25519.Ed25519PrivateKey.generate()
    pem = private.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (copy.parent / "key.pem").write_bytes(pem)
    assert attest(copy, "--key", str(copy.parent / "key.pem")) == 0
    envelope = Envelope.from_dict(json.loads((copy / "attestation.json").read_text("utf-8")))
    envelope.verify([CryptoSigner(private).public_key], 1)
    with pytest.raises(SignatureVerificationError):
        envelope.verify([CryptoSigner.generate_ed25519().public_key], 1)
    assert any("signatures are not looked at" in gap for gap in zkjax.check(copy, **GIVEN).gaps)


def test_an_attestation_of_anything_else_is_refused(copy, capsys):
    assert attest(copy) == 0
    path = copy / "attestation.json"
    told = json.loads(path.read_text("utf-8"))
    lies = [
        {"subject": [{"name": "model.safetensors", "digest": {"sha256": "0" * 64}}]},  # another model
        {"predicate": told["predicate"] | {"sentence": "It is 100 % accurate."}},
        {"predicate": told["predicate"] | {"gaps": []}},
        {"predicate": {}},
        {"predicate": None},
        {"predicateType": "zkjax:other/v1"},
    ]
    for lie in lies:
        path.write_text(json.dumps(told | lie))
        refused(copy, "attestation")
    for raw in (b"[]", b"{", b"\xff", json.dumps({"payload": 3}).encode(), json.dumps({"payload": "AAAA"}).encode(), b"[" * 100_000):
        path.write_bytes(raw)
        refused(copy, None, "not an attestation", FormatError)
    path.write_text(json.dumps(told))
    for name in ("model.safetensors", "model.disclosure"):
        (copy / name).unlink()
    refused(copy, None, "model.safetensors is not there", ConfigurationError)
    assert attest(copy) == 2 and "model.safetensors is not there" in capsys.readouterr().err
    assert attest(copy, "--key", str(copy / "circuit.json")) == 2
