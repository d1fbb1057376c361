"""Saved runs: everything a trainer needs to prove a run or go on from it, in a private directory.

    run.json        step, seed, bounds, losses, and the secret seeds of all commitments
    weights-H.npz   integers of the first and last parameters; H is their hash under a secret key, for names end up in logs
    data-H.npz      the dataset's integers; H as above
    circuit-H.json  the circuit; H is the beginning of its digest
    openings.json   how often each commitment was opened, what has replaced it, and what is disclosed (``openings.py``)

``run.json`` is replaced last and atomically, so that a kill at any moment leaves the old run or the new one: where they are of
two chains, the counters of both are there until then. Whoever reads the directory knows weights and data: its files are
readable by their owner only. A copied or restored directory can defeat the opening counters; never prove from two copies.
"""

import hashlib
import io
import json
import os
import re
import warnings
import zipfile
from pathlib import Path

import numpy as np

from .. import files
from ..arrays import read_arrays
from ..circuit import ranged
from ..circuit.circuit import Circuit
from ..commitment.geometry import Geometry
from ..commitment.keys import Chain, Key
from ..commitment.openings import FILE as OPENINGS
from ..commitment.openings import marks_of
from ..errors import FormatError, ReplacedWarning, RunError
from ..memory import available_memory
from ..ops.operation import LIMIT
from .records import SETTINGS

FORMAT, VERSION = "zkjax run (private: it holds weights, data and secret seeds)", 7
LONGEST = 2**28  # bytes of run.json
FILES = "names of files"  # whose key is no commitment's: with one that is published, guesses of weights could be tried on them
WARNING = "PRIVATE: this directory holds weights, data and secret seeds of commitments. Do not publish, copy or restore it.\n"

UNKNOWN = ""  # in the place of a chain's mark
_saved: dict[Path, set[str]] = {}  # directories that this process has saved runs in, and the marks of their chains


def save(run, directory, replace: bool = False) -> None:
    """Write a run to a private directory, in the place of a run of its chain; from now on its opening counters live there too.

    replace: delete another chain's run that is there. Its commitments can then be opened no more from this directory. Without it
    that is refused, or, where this process itself has saved that run (a cell of a notebook that runs again), done with a warning.
    """
    directory, mark = Path(directory), run.chain.openings.mark
    if (directory / SETTINGS).exists():
        raise RunError(f"{directory}: the private part of a zkjax.Training, which saves its runs itself; give another directory")
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    os.chmod(directory, 0o700)
    saved = _saved.setdefault(directory.resolve(), set())
    owner = _owner(directory)
    foreign = owner not in (None, mark)
    if foreign and not replace:
        if owner not in saved:
            raise RunError(
                f"{directory}: a run of another chain is saved here, whose seeds and counters would be lost; give another directory, "
                "or run.save(directory, replace=True)"
            )
        told = f"{directory}: another chain's run, which this process has saved here, is deleted (replace=True says that it may be)"
        warnings.warn(told, ReplacedWarning, stacklevel=3)
    saved.add(mark)
    with run.chain.openings.bound(directory, beside=foreign):
        _write_all(run, directory)
        run.chain.openings.keep_alone(directory)


def _owner(directory: Path) -> str | None:
    """The mark of the chain whose run is saved there; where no run can be read, of the chain whose counters are; None for neither."""
    try:
        marks = marks_of(directory)
    except FormatError:
        return UNKNOWN
    try:
        owner = chain_of(json.loads(files.read(directory / "run.json", LONGEST).decode())).openings.mark
    except FileNotFoundError:
        return marks[0] if marks else None
    except (FormatError, OSError, RecursionError, KeyError, TypeError, ValueError):
        return marks[0] if marks else UNKNOWN
    return owner if owner in marks else UNKNOWN


def _write_all(run, directory: Path) -> None:
    """The files, ``run.json`` after those that it names."""
    files.write(directory / "PRIVATE.txt", WARNING.encode())
    data = {f"data{k}": smallest(x) for k, x in enumerate(run.data.arrays)}
    ends = (("initial", run.initial), ("final", run.final))
    weights = {f"{role}{p}": x for role, arrays in ends for p, x in enumerate(arrays)}
    data_name, weights_name = name_of("data", data, run.chain), name_of("weights", weights, run.chain)
    for name, arrays in ((data_name, data), (weights_name, weights)):  # named by content: no file of the old run is overwritten
        if not (directory / name).exists():
            write_arrays(directory / name, arrays)
    circuit_name = _circuit_name(run.circuit.digest().hex())
    files.write(directory / circuit_name, json.dumps(run.circuit.to_json(), indent=1).encode())
    content = {"format": FORMAT, "version": VERSION, "data": data_name, "weights": weights_name} | content_of(run)
    files.write(directory / "run.json", json.dumps(content, indent=1).encode())
    for old in [*directory.glob("weights-*.npz"), *directory.glob("data-*.npz"), *directory.glob("circuit-*.json")]:
        if old.name not in (data_name, weights_name, circuit_name):
            old.unlink()


def content_of(run) -> dict:
    """All of a run but its arrays, as JSON: the secret seeds of its commitments among it."""
    return {
        "circuit": run.circuit.digest().hex(),
        "first_step": run.first_step,
        "steps": run.steps,
        "seed": run.seed,
        "shard_size": run.shard_size,
        "loss_integers": [list(row) for row in run.loss_integers],
        "begins": run.begins,
        "coarse_shifts": list(run.coarse_shifts),
        "widths": list(run.widths),
        "initial_bound": list(run.initial_bound),
        "final_bound": list(run.final_bound),
        "keys": [_key_json(key) for key in run.keys],
        "chain": {
            "data": _key_json(run.chain.data),
            "geometry": None if run.chain.geometry is None else run.chain.geometry.to_json(),
        },
    }


def load(run_class, dataset_class, directory):
    """Read a run. Raises RunError for a directory that is not a complete run, FormatError for malformed files."""
    directory = Path(directory)
    try:
        content = json.loads(files.read(directory / "run.json", LONGEST).decode())
    except FileNotFoundError:
        raise RunError(f"{directory}: no run is saved here (run.json is missing); give the directory of run.save") from None
    except OSError as error:
        raise RunError(f"{directory}: no run can be read here ({error}); give the directory of run.save") from None
    except (ValueError, RecursionError) as error:
        raise FormatError(f"{directory}/run.json: not a JSON file ({error})") from None
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise FormatError(f"{directory}/run.json: not a saved run")
    if content.get("version") != VERSION:
        raise FormatError(f"{directory}/run.json: version {content.get('version')!r}, this zkjax reads version {VERSION}")
    try:
        return _restore(run_class, dataset_class, directory, content)
    except OSError as error:
        raise RunError(f"{directory}: the saved run is incomplete ({error})") from None
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError, EOFError, zipfile.BadZipFile) as error:
        raise FormatError(f"{directory}: the saved run is malformed ({type(error).__name__}: {error})") from None


def _restore(run_class, dataset_class, directory: Path, content: dict):
    circuit = Circuit.load(directory / _circuit_name(content["circuit"]))
    if circuit.digest().hex() != content["circuit"]:
        raise RunError(f"{directory}: {_circuit_name(content['circuit'])} is not the circuit of this run")
    for name in ("data", "weights"):
        if not re.fullmatch(rf"{name}-[0-9a-f]+\.npz", content[name]):
            raise ValueError(f"{name} is {content[name]!r}")
    chain = chain_of(content)
    data = read_arrays(directory / content["data"], available_memory())
    if content["data"] != name_of("data", data, chain):
        raise RunError(f"{directory}/{content['data']}: the data was altered")
    weights = read_arrays(directory / content["weights"], available_memory())
    if content["weights"] != name_of("weights", weights, chain):
        raise RunError(f"{directory}/{content['weights']}: the weights were altered")
    ends = [tuple(weights[f"{role}{p}"] for p in range(len(circuit.parameters))) for role in ("initial", "final")]
    shapes = [p.shape for p in circuit.parameters]
    if any([x.shape for x in arrays] != shapes or any(x.dtype != np.int64 for x in arrays) for arrays in ends):
        raise FormatError(f"{directory}/{content['weights']}: the weights have not the circuit's shapes")
    run = run_of(run_class, circuit, dataset_class.of(circuit, dataset_class(data_of(circuit, data))), content, ends, chain)
    if not (directory / OPENINGS).exists():
        raise RunError(f"{directory}: {OPENINGS} is missing; without its counters no commitment of this run may be opened")
    run.chain.openings.bind(directory)
    return run


def run_of(run_class, circuit: Circuit, dataset, content: dict, ends, chain: Chain):
    """The run that ``content_of`` tells of. ends: its first and its last parameters. ValueError, KeyError, .. - malformed."""
    steps, count = _integer(content, "steps", 1), len(circuit.parameters)
    losses = tuple(_integers(row, "loss_integers", len(circuit.losses), -LIMIT) for row in content["loss_integers"])
    if len(losses) != steps or len(content["keys"]) != 2 or type(content["begins"]) is not bool:
        raise ValueError("one row of losses for each step, two keys, and whether a chain begins")
    widths = _integers(content["widths"], "widths", count, -LIMIT)
    if not ranged.well_formed(circuit, widths):
        raise ValueError("widths of forms are of whole blocks")
    return run_class(
        circuit=circuit,
        data=dataset,
        first_step=_integer(content, "first_step"),
        steps=steps,
        seed=_integer(content, "seed"),
        shard_size=None if content["shard_size"] is None else _integer(content, "shard_size", 1),
        initial=ends[0],
        final=ends[1],
        loss_integers=losses,
        begins=content["begins"],
        coarse_shifts=_integers(content["coarse_shifts"], "coarse_shifts", count),
        widths=widths,
        initial_bound=_integers(content["initial_bound"], "initial_bound", count),
        final_bound=_integers(content["final_bound"], "final_bound", count),
        keys=tuple(_key(k) for k in content["keys"]),
        chain=chain,
    )


def data_of(circuit: Circuit, arrays: dict) -> tuple[np.ndarray, ...]:
    """The dataset's integers of a file of them."""
    return tuple(arrays[f"data{k}"].astype(np.int64) for k in range(len(circuit.inputs)))


def chain_of(content: dict) -> Chain:
    """The chain that ``content_of`` tells of; its counters are bound to no directory yet."""
    chain = content["chain"]
    geometry = None if chain["geometry"] is None else Geometry.from_json(chain["geometry"])
    return Chain(_key(chain["data"]), geometry=geometry)


def _integer(content: dict, name: str, low: int = 0) -> int:
    return _integers([content[name]], name, 1, low)[0]


def _integers(values, name: str, count: int, low: int = 0) -> tuple[int, ...]:
    if not isinstance(values, list) or len(values) != count or any(type(v) is not int or not low <= v < LIMIT * 2 for v in values):
        raise ValueError(f"{name} is not {count} integers from {low}")
    return tuple(values)


def smallest(array: np.ndarray) -> np.ndarray:
    """The same integers in the smallest signed type."""
    for kind in (np.int8, np.int16, np.int32):
        if array.size and np.iinfo(kind).min <= array.min() and array.max() <= np.iinfo(kind).max:
            return array.astype(kind)
    return array


def name_of(kind: str, arrays: dict, chain: Chain) -> str:
    """Of the file of these arrays, "data" or "weights" of a chain: by what it holds."""
    return f"{kind}-{hash_of(arrays, chain.secret(FILES))}.npz"


def hash_of(arrays: dict, key: bytes) -> str:
    """Of arrays by name, under a secret key: the same for all types of integers."""
    state = hashlib.blake2s(key=key, digest_size=16)
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name], dtype="<i8")
        state.update(f"{name} {array.shape} ".encode() + array.tobytes())
    return state.hexdigest()


def _circuit_name(digest: str) -> str:
    return f"circuit-{digest[:32]}.json"


def _key_json(key: Key) -> dict:
    return {"seed": key.seed.hex(), "name": key.name} | ({} if key.number is None else {"number": key.number})


def _key(data: dict) -> Key:
    seed = bytes.fromhex(data["seed"])
    if len(seed) != 32 or not isinstance(data["name"], str):
        raise ValueError("a key needs a seed of 32 bytes and a name")
    return Key(seed, data["name"], _integer(data, "number") if "number" in data else None)


def write_arrays(path: Path, arrays: dict) -> None:
    """A private file of arrays, whole or not at all."""
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    files.write(path, buffer.getbuffer())
