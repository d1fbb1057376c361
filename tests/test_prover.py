"""Planning of proofs: memory, geometry, progress."""

import sys
from types import SimpleNamespace

import pytest
from harness import mlp_run, prove_small

import zkjax
from zkjax.commitment import keys
from zkjax.progress import Phases
from zkjax.prover import prove as prover


def test_too_many_steps_for_the_memory_name_the_largest_chunk(monkeypatch):
    circuit, run = mlp_run(steps=4)
    least = prover.memory_estimate(circuit, 2, run.widths)
    monkeypatch.setattr(prover, "available_memory", lambda: least)
    fits = max(t for t in range(1, 5) if prover.memory_estimate(circuit, t, run.widths) <= least)
    if fits < 4:
        with pytest.raises(zkjax.ConfigurationError, match=f"at most {fits} steps"):
            prove_small(circuit, run)
    monkeypatch.setattr(prover, "available_memory", lambda: 1000)
    with pytest.raises(zkjax.ConfigurationError, match="more memory"):
        prove_small(circuit, run)
    assert not run.chain.openings.spent


def test_available_memory_is_plausible():
    assert 2**28 < prover.available_memory() < 2**50


def test_progress_names_every_phase():
    circuit, run = mlp_run()
    phases = []
    zkjax.prove(circuit, run, progress=lambda *call: phases.append(call), minimum_bits=15)
    assert [name for name, _, _ in phases][-1] == "done" and [n for _, n, _ in phases] == list(range(1, len(phases) + 1))
    assert {count for _, _, count in phases} == {len(phases)}


def test_reveal_is_checked():
    circuit, run = mlp_run()
    for reveal in ("loss", ("weights",)):
        with pytest.raises(zkjax.ConfigurationError, match="reveal"):
            prove_small(circuit, run, reveal=reveal)


@pytest.mark.parametrize("report, notebook, shown", [("auto", True, True), ("auto", False, False), (None, True, False)])
def test_a_bar_where_somebody_looks(report, notebook, shown, monkeypatch, capsys):
    """In a notebook too, where the error stream is no terminal; nothing in logs."""
    if notebook:
        monkeypatch.setitem(sys.modules, "ipykernel", sys)
    else:
        monkeypatch.delitem(sys.modules, "ipykernel", raising=False)
    with Phases(report, 2) as phases:
        phases.next("witness")
        phases.next("opening")
    assert ("proving: opening" in capsys.readouterr().err) == shown


def test_a_chain_lets_go_of_large_commitments_first(monkeypatch):
    """Never of the newest one, with which the next proof begins; what takes no memory to speak of stays."""
    monkeypatch.setattr(keys, "KEPT_BYTES", 100)
    chain = keys.Chain.fresh()
    for name, size in {"digests": 0, "shard": 20, "old": 60, "initial": 60, "final": 60}.items():
        assert chain.keep(name, lambda size=size: SimpleNamespace(nbytes=size)).nbytes == size
    kept = chain.keep("final", lambda: None)
    chain.forget("final")
    assert set(chain._kept) == {"digests", "shard", "final"} and chain.keep("final", lambda: None) is kept
    monkeypatch.setattr(keys, "KEPT_BYTES", 10)
    chain.forget("final")
    assert "final" in chain._kept and "shard" not in chain._kept
