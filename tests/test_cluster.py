"""Chunks proven by a real Dask cluster on this machine: workers die, the scheduler starts again, the owner too."""

import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
import warnings
from pathlib import Path

import pytest
from folders import digest, holds, proven

import zkjax

distributed = pytest.importorskip("distributed", reason="pip install 'zkjax[cluster]'")
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]  # those of other packages' threads and sockets
STEPS = 10
EXPERIMENTS = Path(__file__).resolve().parent.parent / "experiments"


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    """Three workers, each a process of one thread."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        options = {"n_workers": 3, "threads_per_worker": 1, "host": "127.0.0.1", "dashboard_address": None}
        options |= {"local_directory": tmp_path_factory.mktemp("spilled"), "silence_logs": logging.CRITICAL}
        with distributed.LocalCluster(**options) as cluster, distributed.Client(cluster) as client:
            yield client


def events(folder, *names) -> list[dict]:
    return [event for event in zkjax.Training(folder).records.events() if event["event"] in names]


def test_workers_prove(folder, net, client):
    proven(folder, client.get_executor())
    holds(folder, net[0], STEPS)
    workers = {event["worker"].split(":")[1] for event in events(folder, "proven")}
    assert str(os.getpid()) not in workers and len(workers) >= 2


def test_a_worker_is_killed_in_mid_proof(folder, net, client):
    """Its chunk is proven by another one, with fresh randomness: no openings are lost."""
    killed = []

    def kill():
        while not (busy := {address: tasks for address, tasks in client.processing().items() if tasks}):
            time.sleep(0.01)
        time.sleep(0.3)
        killed.append(client.run(os.getpid, workers=[next(iter(busy))]).popitem()[1])
        os.kill(killed[0], signal.SIGKILL)

    thread = threading.Thread(target=kill)
    thread.start()
    proven(folder, client.get_executor())
    thread.join()
    assert killed
    holds(folder, net[0], STEPS)


def test_the_scheduler_starts_again(folder, net, client):
    """All orders that are out are lost: they are given again."""
    thread = threading.Timer(1.0, client.restart)
    thread.start()
    proven(folder, client.get_executor(), attempts=5)
    thread.join()
    holds(folder, net[0], STEPS)


def test_the_owner_starts_again(folder, net, client):
    """It ends with orders out; what had arrived is published, and proven once."""
    training = zkjax.Training(folder)
    with pytest.raises(KeyboardInterrupt):
        zkjax.prove_all(training, client.get_executor(), at_once=2, minimum_bits=15.0, progress=interrupt)
    before = {path.name: digest(path) for path in training.proofs}
    assert 0 < len(before) < 5
    found = proven(folder, client.get_executor())
    assert {path.name: digest(path) for path in found}.items() >= before.items()
    holds(folder, net[0], STEPS)
    spent = json.loads((folder / "private/openings.json").read_text())["spent"]
    assert max(spent.values()) <= 4


def test_the_experiment(tmp_path):
    """Its reduced size: trainer, worker and owner are killed, all proofs verify, no budget is overspent."""
    command = [sys.executable, str(EXPERIMENTS / "long_run.py"), "--out", str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    figures = json.loads((tmp_path / "out/long_run.json").read_text())["figures"]
    assert {what for _, what in figures["run"]["kills"]} >= {"trainer", "worker"}
    assert figures["run"]["curve"][-1][1:] == [16, 16] and len(figures["proofs"]["bytes"]) >= 4
    assert figures["proofs"]["opened"] <= 6 and figures["proofs"]["bits"] > 90
    assert (tmp_path / "out/long_run.png").read_bytes().startswith(b"\x89PNG") and "| killed:" in (tmp_path / "out/long_run.md").read_text()


def interrupt(done: int, _):
    if done:
        raise KeyboardInterrupt
