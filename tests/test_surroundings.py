"""Training and proving in whatever process: its settings, forks, threads, limits, streams and interrupts change no result."""

import contextlib
import io
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from unittest import mock

import jax
import numpy as np
import optax
import pytest
from counting import take
from harness import data_for, mlp_loss, mlp_params, prove_small, verify_small
from tiny import DIMS, TINY, tiny_run
from zero_knowledge import NO_TARGET, TOY, tiny_circuit, tiny_data, tiny_params

import zkjax
from zkjax import memory, progress
from zkjax.errors import ConfigurationError, RunError, UnsatisfiedWitnessError
from zkjax.kernels import settings, threads
from zkjax.progress import Phases, Steps
from zkjax.training import steps as training

HERE = Path(__file__).parent

# ---- settings of JAX ------------------------------------------------------------------------------------------------
# What ``settings.fixed`` keeps from the kernels, each at a value that a user may have set.
HOSTILE = {
    "jax_allow_f16_reductions": False,
    "jax_auto_pcast": False,
    "jax_check_tracer_leaks": True,
    "jax_debug_infs": True,
    "jax_debug_nans": True,
    "jax_default_matmul_precision": "F32_F32_F32",
    "jax_default_prng_impl": "rbg",
    "jax_disable_jit": True,
    "jax_enable_checks": True,
    "jax_enable_custom_prng": True,
    "jax_enable_x64": True,
    "jax_explain_cache_misses": True,
    "jax_log_compiles": True,
    "jax_numpy_dtype_promotion": "strict",
    "jax_numpy_rank_promotion": "raise",
    "jax_softmax_custom_jvp": True,
    "jax_threefry_partitionable": False,
    "jax_transfer_guard": "disallow",
}
# What the sweep leaves alone, and why.
APART = {
    "jax_no_execution": "nothing at all may run, the user's own arrays included",
    "jax_no_tracing": "nothing at all may be traced, the user's own loss included",
    "jax_distributed_debug": "prints",
    "jax_enable_pgle": "JAX profiles the user's functions, and warns where it cannot",
    "jax_compilation_cache_expect_pgle": "JAX warns of every function that was not profiled",
    "jax_error_checking_behavior_nan": "JAX's error state becomes a part of the user's loss, which is refused (test_meaning.py)",
    "jax_error_checking_behavior_divide": "as above",
    "jax_error_checking_behavior_oob": "as above",
    "jax_cross_host_transfer_timeout_seconds": "about several machines",
    "jax_platforms": "says where JAX runs, and is read once",
    "jax_use_magma": "says where JAX runs, and is read once",
    "jax_cpu_collectives_implementation": "about several machines, and is read once",
    "jax_thread_guard": "forbids threads beside the one that set it",
    "jax_array_garbage_collection_guard": "ends the process at the user's own garbage",
}


def whole(listening=contextlib.nullcontext):
    """The main path on a tiny net: the circuit's digest and the last weights. Its proof is verified."""
    params, data = mlp_params(DIMS), data_for(DIMS)
    batch = tuple(x[:3] for x in data)
    circuit = zkjax.trace(mlp_loss, optax.sgd(1 / 32), params, batch=batch, precision=TINY, steps=2, chunk=2)  # compiles the user's step
    with listening(), mock.patch.object(training, "UNCOMPILED", 0):
        run = zkjax.train(circuit, params, data, steps=2, seed=1)
        verify_small(circuit, prove_small(circuit, run))
    assert jax.tree.structure(run.params) == jax.tree.structure(params)
    return circuit.digest(), [x.tolist() for x in run.final]


@pytest.fixture
def setting():
    """``setting(name, value)`` for the time of a test."""
    before = dict(jax.config.values)

    def change(name, value):
        jax.config.update(name, value)

    yield change
    for name, value in before.items():
        if jax.config.values[name] != value:
            jax.config.update(name, value)


@pytest.fixture(scope="module")
def usual():
    return whole()


def test_settings_change_no_result(usual, setting):
    """All at once, with a mesh of explicit axes, and NumPy's errors raised; the digest is the same, and nothing is compiled anew."""
    for name, value in HOSTILE.items():
        assert jax.config.values[name] != value
        setting(name, value)
    compiled = []

    @contextlib.contextmanager
    def listening():
        jax.monitoring.register_event_duration_secs_listener(lambda event, *_, **__: compiled.append(event))
        yield
        jax.jit(lambda x: x).trace(1)  # it listens
        jax.monitoring.clear_event_listeners()

    mesh = jax.make_mesh((1,), ("data",), axis_types=(jax.sharding.AxisType.Explicit,))
    with jax.set_mesh(mesh), np.errstate(all="raise"):
        assert whole(listening) == usual
    assert compiled and not [event for event in compiled if "backend_compile" in event]


def alternatives(name) -> list:
    """Other values of a boolean or enumerated setting."""
    (kind, positional, named), value = jax.config.meta[name], jax.config.values[name]
    if isinstance(value, bool):
        return [not value]
    if kind not in ("enum", "enum_class"):
        return []
    choices = positional[0] if positional else named.get("enum_values", named.get("enum_class"))
    return [choice for choice in choices or () if choice != value]


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(set(jax.config.values) - set(APART)))
def test_no_setting_changes_a_result(name, usual, setting):
    """Each boolean or enumerated setting that this version of JAX has, one at a time."""
    for value in alternatives(name):
        setting(name, value)
        assert whole() == usual, value


def test_the_sweep_knows_its_settings():
    assert all(name in jax.config.values or name == "jax_transfer_guard" for name in HOSTILE)
    assert sum(bool(alternatives(name)) for name in jax.config.values) > 50


ENVIRONMENT = """
import jax
import jax.numpy as jnp
from zkjax.kernels.settings import fixed
assert jax.config.jax_disable_jit and jax.config.jax_numpy_rank_promotion == "raise"
seen = []
def f(x):
    seen.append(type(x))
    return x + jnp.ones((2, 2), x.dtype)
with fixed():
    jax.jit(f)(jnp.ones(2))
assert issubclass(seen[0], jax.core.Tracer)
"""


def test_settings_of_the_environment():
    variables = {"JAX_DISABLE_JIT": "1", "JAX_NUMPY_RANK_PROMOTION": "raise", "PYTHONPATH": str(HERE.parent)}
    command = [sys.executable, "-W", "error", "-c", ENVIRONMENT]
    done = subprocess.run(command, env=os.environ | variables, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


def test_another_threads_device_is_kept():
    """A default device belongs to a thread as well; the pool's threads follow their caller."""
    device = jax.devices()[0]
    with jax.default_device(device), threads.scope():
        assert threads.in_parallel(lambda _: jax.config.jax_default_device, 2) == [device] * min(2, threads.THREADS)
    assert threads.in_parallel(lambda _: jax.config.jax_default_device, 2) == [None] * min(2, threads.THREADS)


# ---- altered in place -----------------------------------------------------------------------------------------------
def test_data_is_the_datasets_own():
    circuit, run = tiny_run()
    mine = tuple(x.copy() for x in run.data.arrays)
    data = zkjax.Dataset(mine)
    mine[0][:] = 0
    assert all((a == b).all() for a, b in zip(data.arrays, run.data.arrays, strict=True))
    assert all(a is b for a, b in zip(zkjax.Dataset(data.arrays).arrays, data.arrays, strict=True))  # no second copy
    with pytest.raises(ValueError, match="read-only"):
        data.arrays[0][0] = 0


@pytest.mark.parametrize("end", ["initial", "final"])
def test_weights_altered_in_place_are_seen_before_anything_is_spent(end, tmp_path):
    circuit, run = tiny_run()
    getattr(run, end)[0][0] += 1
    for use in (lambda: prove_small(circuit, run), lambda: zkjax.train(circuit, run, None, steps=1), lambda: run.save(tmp_path / "run")):
        with pytest.raises(RunError, match="changed in place"):
            use()
    assert not run.chain.openings.spent and not (tmp_path / "run").exists()


# ---- a proof that does not verify -----------------------------------------------------------------------------------
@pytest.fixture
def toy():
    run = zkjax.train(tiny_circuit(), tiny_params(0), tiny_data(0), steps=2, seed=1, shard_size=2)
    run.chain.geometry = TOY
    return run


def prove_toy(run, **options):
    return zkjax.prove(run.circuit, run, **{"progress": None, "minimum_bits": NO_TARGET, **options})


@pytest.mark.parametrize("off", ["verify", "check"])
def test_a_spoilt_proof_is_thrown_away(off, toy, monkeypatch):
    """Of a machine's fault, say: the unit stays spent, and nothing that holds the bytes comes out."""
    honest = zkjax.prover.prove.open_claim

    def spoilt(stream, *arguments):
        honest(stream, *arguments)
        stream._parts[-1] = bytes(len(stream._parts[-1]))

    monkeypatch.setattr(zkjax.prover.prove, "open_claim", spoilt)
    with pytest.raises(UnsatisfiedWitnessError, match="does not verify .*report it") as raised:
        prove_toy(toy)
    assert set(toy.chain.openings.spent.values()) == {1}
    frame, locals_ = raised.tb, []
    while frame is not None:
        locals_ += frame.tb_frame.f_locals.values() if "zkjax" in frame.tb_frame.f_code.co_filename else []
        frame = frame.tb_next
    assert raised.value.__context__ is None and not [x for x in locals_ if isinstance(x, zkjax.Proof)]
    assert isinstance(prove_toy(toy, **{off: False}), zkjax.Proof)


def test_the_check_of_a_proof_is_a_phase(toy):
    for verify in (True, False):
        seen = []
        prove_toy(toy, progress=lambda *call: seen.append(call), verify=verify)  # noqa: B023
        assert ("verification" in [name for name, _, _ in seen]) == verify and seen[-1] == ("done", len(seen), len(seen))


# ---- forks ----------------------------------------------------------------------------------------------------------
def refused(act) -> bool:
    try:
        act()
    except RunError as error:
        return "fork" in str(error)
    return False


@pytest.mark.filterwarnings("ignore::RuntimeWarning", "ignore::DeprecationWarning")
def test_a_fork_of_a_process_in_which_jax_runs_is_refused(toy, tmp_path):
    """In place of waiting for ever for threads that only the parent has, whether this package has started JAX or the user."""
    toy.save(tmp_path)
    jax.devices()
    acts = {
        "prove": lambda: prove_toy(zkjax.Run.load(tmp_path)),
        "train": lambda: zkjax.train(toy.circuit, tiny_params(0), tiny_data(0), steps=1),
        "trace": tiny_circuit,
    }

    def child(known, queue):
        settings._started = settings._started if known else None
        queue.put({name: refused(act) for name, act in acts.items()})

    context = multiprocessing.get_context("fork")
    for known in (True, False):
        queue = context.Queue()
        process = context.Process(target=child, args=(known, queue))
        process.start()
        try:
            assert queue.get(timeout=60) == dict.fromkeys(acts, True)
            process.join(60)
        finally:
            process.kill()


# ---- streams --------------------------------------------------------------------------------------------------------
class Logger:
    """Takes messages, and is no file."""

    def write(self, text):
        return len(text)

    def flush(self):
        pass


class Torn(io.StringIO):
    """A terminal that goes away."""

    def isatty(self):
        return True

    def write(self, text):
        raise OSError("gone")


def closed():
    stream = io.StringIO()
    stream.close()
    return stream


@pytest.mark.parametrize("stream", [lambda: None, Logger, closed, Torn])
@pytest.mark.parametrize("notebook", [False, True])
def test_no_error_stream_stops_the_work(stream, notebook, monkeypatch):
    if notebook:
        monkeypatch.setitem(sys.modules, "ipykernel", sys)
    monkeypatch.setattr(sys, "stderr", stream())
    with Phases("auto", 2) as phases, Steps("auto", 2, "training") as steps:
        for n in (1, 2):
            phases.next("witness")
            phases.note("cells")
            steps.done(n)


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_bars_say_what_is_known(monkeypatch):
    """No rate and no share of a time that nobody knows; compiling is named, and in no rate."""
    monkeypatch.setattr(sys, "stderr", Terminal())
    with Phases("auto", 4) as phases:
        phases.next("witness")
        phases.next("compiling")
        text = sys.stderr.getvalue()
        assert "proving: compiling (part 2 of 4)" in text and "%" not in text and "/s" not in text and "it]" not in text
    monkeypatch.setattr(sys, "stderr", Terminal())
    with Steps("auto", 4, "training steps 0..3") as steps:
        assert "training steps 0..3: compiling" in sys.stderr.getvalue() and "/s" not in sys.stderr.getvalue()
        steps.done(1)
        first = steps._bar.format_dict
        assert first["n"] == first["initial"] == 1 and "compiling" not in str(steps._bar)
        steps.done(2)
        assert "2/4" in str(steps._bar)


def test_progress_of_trainings(monkeypatch):
    circuit, run = tiny_run()
    monkeypatch.setattr(sys, "stderr", Terminal())
    zkjax.train(circuit, run, None, steps=1)
    assert "training steps 2..2: compiling" in sys.stderr.getvalue()
    seen = []
    runs = zkjax.chunks(circuit, run, None, steps=5, chunk=2, progress=lambda *call: seen.append(call))
    assert [r.steps for r in runs] == [1, 2, 2] and seen == [(n, 5) for n in range(1, 6)]
    for wrong in (True, "bar", 1):
        with pytest.raises(ConfigurationError, match="progress"):
            zkjax.train(circuit, run, None, steps=1, progress=wrong)


@pytest.mark.parametrize("count, text", [(0, "0 bytes"), (999, "999 bytes"), (12_345, "12 kB"), (9_400_000, "9 MB"), (2**40, "1,099.5 GB")])
def test_sizes_for_people(count, text):
    assert progress.size(count) == text


# ---- limits of memory -----------------------------------------------------------------------------------------------
GROUPS_2 = {
    "proc/self/cgroup": "0::/a/b\n",
    "sys/fs/cgroup/a/b/memory.max": "max\n",
    "sys/fs/cgroup/a/b/memory.high": "5000\n",
    "sys/fs/cgroup/a/b/memory.current": "1000\n",
    "sys/fs/cgroup/a/memory.max": "4000\n",
    "sys/fs/cgroup/a/memory.current": "1500\n",
    "sys/fs/cgroup/a/memory.stat": "anon 900\ninactive_file 300\nactive_file 200\n",
}
GROUPS_1 = {
    "proc/self/cgroup": "11:cpu,cpuacct:/x\n4:memory:/docker/1\n",
    "sys/fs/cgroup/memory/memory.limit_in_bytes": "7000\n",  # a container sees its own group as the top
    "sys/fs/cgroup/memory/memory.usage_in_bytes": "1000\n",
    "sys/fs/cgroup/memory/memory.stat": "total_inactive_file 10\n",
}
NONE = {"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "max\n", "sys/fs/cgroup/memory.current": "5\n"}


@pytest.mark.parametrize("files, left", [(GROUPS_2, 3000), (GROUPS_1, 6010), (NONE, 9000 * 1024), ({}, 9000 * 1024)])
def test_limits_of_groups_and_those_above(files, left, tmp_path, monkeypatch):
    monkeypatch.setattr("zkjax.kernels.memory.freed_memory", lambda: 0)
    for name, text in {"proc/meminfo": "MemTotal: 1 kB\nMemAvailable:    9000 kB\n", **files}.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert memory.available_memory(str(tmp_path)) == left


LIMITED = """
import resource, sys
from zkjax.memory import available_memory
used = {line.split()[0]: int(line.split()[1]) * 1024 for line in open("/proc/self/status") if "kB" in line}
resource.setrlimit(getattr(resource, sys.argv[1]), (used[sys.argv[2]] + 2**26,) * 2)
print(available_memory() <= 2**26 + 2**22)
"""


@pytest.mark.parametrize("limit, line", [("RLIMIT_AS", "VmSize:"), ("RLIMIT_DATA", "VmData:")])
def test_limits_of_the_shell(limit, line):
    command = [sys.executable, "-c", LIMITED, limit, line]
    done = subprocess.run(command, env=os.environ | {"PYTHONPATH": str(HERE.parent)}, capture_output=True, text=True, timeout=60)
    assert done.stdout == "True\n", done.stderr


# ---- interrupts -----------------------------------------------------------------------------------------------------
def test_an_interrupt_while_compiling_spends_nothing_and_waits_for_no_thread(toy, monkeypatch):
    """What runs in the background stops between two kernels; a later proof is none the worse for it."""
    entered, released, ended = threading.Event(), threading.Event(), threading.Event()

    def rehearsed(*_):
        try:
            entered.set()
            released.wait(60)  # the kernel at hand
            threads.check()  # before the next one
            pytest.fail("it went on")
        finally:
            ended.set()

    def interrupted(*_):
        entered.wait(60)
        signal.raise_signal(signal.SIGINT)

    handler = signal.signal(signal.SIGINT, signal.default_int_handler)  # which a shell's background jobs do not have
    with monkeypatch.context() as patch:
        patch.setattr(zkjax.prover.prove, "rehearse", rehearsed)
        patch.setattr(zkjax.prover.prove.Commitments, "dataset", interrupted)
        with pytest.raises(KeyboardInterrupt):
            prove_toy(toy)
        signal.signal(signal.SIGINT, handler)
        assert not ended.is_set() and not toy.chain.openings.spent
        released.set()
        assert ended.wait(60)
    prove_toy(toy)


def test_kernels_of_an_abandoned_thread_stop():
    from zkjax.kernels.jit import jit

    doubled, gate, ran = jit(lambda x: 2 * x), threading.Event(), []

    def work():
        ran.append(int(doubled(np.int64(1))))
        gate.wait(60)
        ran.append(int(doubled(np.int64(2))))

    with pytest.raises(ValueError, match="gone"), threads.scope(), threads.in_background(work) as (result,):
        raise ValueError("gone")
    gate.set()
    assert isinstance(result.exception(60), (threads.Stopped, type(None))) and len(ran) < 2


def test_an_error_that_is_caught_inside_stops_nothing():
    with threads.scope():
        with pytest.raises(ValueError), threads.scope():
            raise ValueError
        threads.check()


def test_everything_is_compiled_before_a_unit_is_spent(toy, monkeypatch):
    order = []
    for owner, name in ((zkjax.prover.prove, "rehearse"), (type(toy.chain.openings), "take")):
        original = getattr(owner, name)
        monkeypatch.setattr(owner, name, lambda *a, f=original, n=name: (f(*a), order.append(n))[0])
    prove_toy(toy, verify=False)
    assert order == ["rehearse", "take"]


# ---- threads --------------------------------------------------------------------------------------------------------
@contextlib.contextmanager
def eager_switches():
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


def at_once(work, count=4) -> list:
    """``work()`` in several threads that start together."""
    gate, results = threading.Barrier(count), []

    def run():
        gate.wait()
        results.append(work())

    started = [threading.Thread(target=run) for _ in range(count)]
    for thread in started:
        thread.start()
    for thread in started:
        thread.join()
    return results


def test_threads_share_one_chain():
    """No unit is spent twice, the geometry is chosen once, what is kept is made once."""
    from zkjax.commitment.keys import Chain
    from zkjax.errors import BudgetError

    def succeeds(chain):
        try:
            take(chain.openings, a=1, b=1)
        except BudgetError:
            return 0
        return 1

    with eager_switches():
        for _ in range(60):
            chain, made = Chain.fresh(), []
            assert sum(at_once(lambda: succeeds(chain))) == 1  # noqa: B023
            assert len(set(at_once(lambda: id(chain.fix_geometry(lambda _: made.append(1) or object()))))) == 1  # noqa: B023
            assert len(set(at_once(lambda: id(chain.keep("x", lambda: made.append(2) or object()))))) == 1  # noqa: B023
            assert made == [1, 2]


def test_two_proofs_of_one_run_at_once(toy):
    proofs = at_once(lambda: prove_toy(toy, verify=False), 2)
    assert proofs[0].statement == proofs[1].statement and proofs[0].body != proofs[1].body
    assert set(toy.chain.openings.spent.values()) == {2}
