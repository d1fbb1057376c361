"""What an auditor learns of files that others made: the ledger, the losses, and which proof of a chain is at fault."""

import json
from dataclasses import replace
from fractions import Fraction

import pytest
from harness import BITS, verify_small
from tiny import chain

import zkjax
from zkjax.__main__ import main
from zkjax.verifier import verify_one


def spoilt(proof, at: int = -1):
    return replace(proof, body=proof.body[:at] + bytes([proof.body[at] ^ 1]) + proof.body[at:][1:])


def test_the_ledger_of_a_loaded_proof_is_the_verifiers():
    circuit, _, proofs = chain()
    for proof in proofs:
        loaded = zkjax.Proof.parse(bytes(proof))
        assert loaded.security is None
        assert zkjax.ledger(circuit, loaded) == verify_one(circuit, loaded, BITS) == proof.security
    assert zkjax.ledger(circuit, spoilt(proofs[0])) == proofs[0].security  # says nothing about validity
    with pytest.raises(zkjax.VerificationError, match="^circuit: "):
        zkjax.ledger(chain(1, rate=1 / 16).circuit, proofs[0])


def test_losses_from_a_statement_are_those_of_the_run():
    circuit, runs, proofs = chain()
    integers = proofs[0].statement.losses
    losses = [circuit.exact_loss(row) for row in zip(*integers, strict=True)]
    assert losses == runs[0].losses and all(isinstance(x, Fraction) for x in losses) and len(losses) == 2
    with pytest.raises(ValueError):
        circuit.exact_loss([])


@pytest.mark.parametrize("number", range(3))
def test_errors_name_the_proof_at_fault(number):
    circuit, _, proofs = chain()
    for change, error in ((spoilt, zkjax.VerificationError), (lambda p: replace(p, body=p.body[:-8]), zkjax.FormatError)):
        altered = [change(p) if i == number else p for i, p in enumerate(proofs)]
        with pytest.raises(error, match=f"proof {number} of 0..2: ") as found:
            verify_small(circuit, altered)
        assert found.value.proof == number
        with pytest.raises(error) as alone:
            verify_small(circuit, change(proofs[number]), assume_bound=True)
        assert "proof 0 of" not in str(alone.value)


def test_the_command_line_names_the_file_at_fault(tmp_path, capsys):
    circuit, _, proofs = chain()
    circuit.save(tmp_path / "circuit.json")
    files = [tmp_path / f"{name}.proof" for name in ("first", "second", "third")]
    for path, proof in zip(files, proofs):
        proof.save(path)
    options = ["--circuit", str(tmp_path / "circuit.json"), "--minimum-bits", str(BITS)]
    command = ["verify", *map(str, files), *options]
    assert main([*command, "--json"]) == 0
    ledgers = json.loads(capsys.readouterr().out)["ledgers"]
    assert ledgers == [dict(p.security.terms) for p in proofs]
    assert main([*command, "--ledger"]) == 0
    shown = capsys.readouterr().out
    assert all(f"{path}\n{proof.security}" in shown for path, proof in zip(files, proofs))
    spoilt(proofs[1]).save(files[1])
    assert main(command) == 1
    assert capsys.readouterr().err.startswith(f"INVALID: {files[1]}: check ")
    statement = bytes(proofs[2]).replace(b'"seed"', b'"sead"')
    files[2].write_bytes(statement)
    assert main(command) == 1
    assert capsys.readouterr().err.startswith(f"INVALID: {files[2]}: malformed: statement: ")
    files[2].unlink()
    proofs[0].save(files[1])
    assert main(["verify", str(files[0]), str(files[1]), *options]) == 1
    assert "give all proofs, each once, in the order of their steps" in capsys.readouterr().err
