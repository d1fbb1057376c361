"""Shared fixtures: array namespaces, and a runner of hidden protocols in the three roles."""

import contextlib
import gc
import io
import json
import os
import random
import shutil
import tempfile
import warnings
from dataclasses import dataclass
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import settings

from zkjax.algebra import extension as ext
from zkjax.algebra.extension import ZERO, Ext
from zkjax.algebra.field import P
from zkjax.errors import VerificationError
from zkjax.kernels.threads import scope
from zkjax.protocol.hidden import Hidden, make_masks
from zkjax.protocol.transcript import Reader, Transcript, Writer

EXPERIMENTS = Path(__file__).resolve().parent.parent / "experiments"

settings.register_profile("zkjax", deadline=None, database=None, max_examples=25, derandomize=True)
settings.load_profile("zkjax")

COMPILED = "JAX_COMPILATION_CACHE_DIR"
TOGETHER = ("test_experiments", "test_notebooks", "test_bench", "test_reproduction")  # share a benchmark, and kernels of full security


def pytest_configure(config):
    """Cores for each worker, and a directory of compiled code for this session.

    Workers, and the processes that tests start, find the directory in the environment; one that is named there already is used and
    stays. Two processes may write and read one entry at a time: what is read by halves is compiled again, and ``pyproject.toml``
    ignores JAX's warning of it.
    """
    share_cores()
    if not os.environ.get(COMPILED):
        os.environ[COMPILED] = config.compiled = tempfile.mkdtemp(prefix="zkjax-compiled-")
    os.environ |= {"JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0", "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1"}
    jax.config.update("jax_compilation_cache_dir", os.environ[COMPILED])
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)


def share_cores() -> None:
    """A worker keeps to its own share of the cores: threads of two would wait for each other, which costs a tenth of the time."""
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", 1))
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_setaffinity") else []
    if 1 < workers <= len(cores):
        os.sched_setaffinity(0, cores[int(os.environ["PYTEST_XDIST_WORKER"].removeprefix("gw")) :: workers])


def pytest_unconfigure(config):
    if hasattr(config, "compiled"):
        shutil.rmtree(config.compiled, ignore_errors=True)
        del os.environ[COMPILED]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """A worker takes whole files, in the order of collection, and those of ``TOGETHER`` as if they were one."""
    from xdist.scheduler import LoadFileScheduling

    class Scheduling(LoadFileScheduling):
        def _split_scope(self, nodeid):
            file = super()._split_scope(nodeid)
            return "together" if Path(file).stem in TOGETHER else file

    config.option.loadscopereorder = False
    return Scheduling(config, log)


def pytest_collection_modifyitems(items):
    """What takes longest begins first: at the end it would keep one core busy while the other has nothing left to do."""
    places = {name: place for place, name in enumerate(TOGETHER)}
    items.sort(key=lambda item: places.get(item.path.stem, len(places)))


def pytest_collection_finish():
    """What has been imported by now stays: each search for cycles would pass all of it, a sixth of a second."""
    gc.freeze()


@pytest.fixture(params=["numpy", "jax"])
def xp(request):
    """NumPy, or jax.numpy in the kernels' scope."""
    if request.param == "numpy":
        yield np
    else:
        with scope():
            yield jnp


@pytest.fixture
def x64():
    """The kernels' scope, as the public API opens it."""
    with scope():
        yield


@dataclass
class Roles:
    """Runs ``protocol(hidden, witness)`` as counter, prover and verifier, on seeded pads and triples.

    The final claim is checked against the masks themselves, where a proof would open a commitment to them.
    """

    seed: int = 0

    def elements(self, count: int) -> list[Ext]:
        return [Ext(self._random.randrange(P), self._random.randrange(P)) for _ in range(count)]

    def prepare(self, protocol) -> None:
        self._random = random.Random(self.seed)
        counter = Hidden()
        protocol(counter, None)
        self.counts = counter.counts()
        self.masks = make_masks(self.counts, self.elements)

    def prove(self, protocol, witness, check: bool = True) -> tuple[object, bytes]:
        """The prover's result and the proof's bytes; ``prover`` keeps its Hidden, ``state`` its final transcript."""
        self.prepare(protocol)
        writer = Writer(Transcript(b"parameters", b"statement"))
        self.prover = Hidden(writer, self.masks, check)
        result = protocol(self.prover, witness)
        assert self.prover.counts() == self.counts
        self.prover.finish()
        self.state = writer.transcript.state
        return result, bytes(writer)

    def verify(self, protocol, body: bytes, functional=None):
        """The verifier's result; raises VerificationError("final claim") if the claim about the masks is false."""
        reader = Reader(Transcript(b"parameters", b"statement"), body)
        self.verifier = Hidden(reader)
        result = protocol(self.verifier, None)
        assert self.verifier.counts() == self.counts
        weights, terms, value = self.verifier.finish()
        reader.finish()
        self.verified_state = reader.transcript.state
        total = ZERO
        for name, vector in weights.items():
            total = total + ext.dot(ext.stack(self.masks[name]), vector)
        for scalar, term in terms:
            total = total + scalar * functional(term)
        if total != value:
            raise VerificationError("final claim")
        return result

    def accepts(self, protocol, witness, functional=None):
        """Prove and verify; returns both results. Both transcripts must end alike."""
        result, body = self.prove(protocol, witness)
        verified = self.verify(protocol, body, functional)
        assert self.verified_state == self.state
        return result, verified

    def rejects_every_change(self, protocol, body: bytes, functional=None) -> None:
        """Every element of the proof + 1 must be rejected."""
        for offset in range(0, len(body), 8):
            changed = (int.from_bytes(body[offset : offset + 8], "little") + 1) % P
            with pytest.raises(VerificationError):
                self.verify(protocol, body[:offset] + changed.to_bytes(8, "little") + body[offset + 8 :], functional)


@pytest.fixture
def roles():
    return Roles()


# ---- trainings in folders: of modules that say STEPS ----------------------------------------------------------------


@pytest.fixture
def geometry():
    """Chains begin in a small one."""
    from folders import small_geometry

    with small_geometry():
        yield


@pytest.fixture(scope="module")
def net(request):
    """(circuit, params, data) of a small net."""
    from folders import traced

    return traced(request.module.STEPS)


@pytest.fixture
def folder(request, tmp_path, net):
    """One that is trained."""
    from folders import begun, small_geometry

    with small_geometry():
        begun(tmp_path / "run", *net).train(request.module.STEPS, progress=None)
    return tmp_path / "run"


# ---- experiments ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    """Results of the benchmark's tiny configuration, by kind: (result, output, files)."""
    out = tmp_path_factory.mktemp("bench")

    def run(name: str, *options):
        import bench

        command = ["--config", "tiny", "--repeat", "1", *options, "--cache", os.environ[COMPILED]]
        command += ["--files", str(out / name), "--json", str(out / f"{name}.json")]
        with contextlib.redirect_stdout(io.StringIO()) as told, warnings.catch_warnings(action="default"):
            assert bench.main(command) == 0
        return json.loads((out / f"{name}.json").read_text()), told.getvalue(), out / name

    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(EXPERIMENTS))
        results = {"aggregated": run("aggregated")}
        before = str(out / "aggregated.json")
        return results | {"sequential": run("sequential", "--sequential", "--no-native", "--compare", before)}


@pytest.fixture
def experiment(monkeypatch):
    """Imports a module of experiments/."""
    monkeypatch.syspath_prepend(str(EXPERIMENTS))
    return __import__
