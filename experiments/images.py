"""Image sets: scikit-learn's digits, and larger ones from files that are on this machine already; nothing is downloaded.

Four formats: a NumPy archive with x_train, y_train, x_test, y_test (Keras's mnist.npz); IDX files (MNIST's own, as
torchvision keeps them, gzipped or not); CIFAR-10's pickles in Python's version, as a directory or its .tar.gz; and dense ARFF
(scikit-learn's cache of OpenML). Pickles are read by an unpickler that builds NumPy arrays and nothing else: a file cannot run
code.
"""

import gzip
import hashlib
import io
import os
import pickle
import struct
import tarfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

IDX = {"train": ("train-images", "train-labels"), "test": ("t10k-images", "t10k-labels")}
CIFAR = ([f"data_batch_{n}" for n in range(1, 6)], ["test_batch"])
_IDX_TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_HARMLESS = {
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "_reconstruct"),
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("_codecs", "encode"),
}


class ImageError(ValueError):
    """A file is not what it should be."""


@dataclass(frozen=True)
class Images:
    """x: float32 in [0, 1], one row a sample; y: class numbers from 0. classes: how many there are."""

    name: str
    x: np.ndarray
    y: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray

    @property
    def classes(self) -> int:
        return int(max(self.y.max(), self.y_test.max())) + 1

    def digest(self) -> str:
        """Of all images and labels."""
        digest = hashlib.sha256()
        for array in (self.x, self.y, self.x_test, self.y_test):
            digest.update(f"{array.dtype} {array.shape}".encode() + np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()

    @staticmethod
    def of(name: str, train, test) -> "Images":
        """From (images, labels) of both parts: bytes are divided by 255, all else by the largest value, if it is above 1."""
        whole = [np.asarray(part[0]) for part in (train, test)]
        flat = [x.reshape(len(x), -1).astype(np.float32) for x in whole]
        if not all(len(x) and len(x) == len(y) for x, (_, y) in zip(flat, (train, test))) or flat[0].shape[1] != flat[1].shape[1]:
            raise ImageError(f"{name}: images and labels do not belong together")
        largest = 255.0 if all(x.dtype == np.uint8 for x in whole) else max(1.0, *(float(x.max()) for x in flat))
        if min(float(x.min()) for x in flat) < 0:
            raise ImageError(f"{name}: images have negative entries")
        labels = [np.asarray(y).reshape(-1).astype(np.int64) for _, y in (train, test)]
        return Images(name, flat[0] / np.float32(largest), labels[0], flat[1] / np.float32(largest), labels[1])


def load(path: Path) -> Images:
    """An image set from a file or directory in one of the four formats. Raises ImageError for anything else."""
    path = Path(path).expanduser()
    if path.is_dir():
        return _idx(path) if _member(path, IDX["train"][0]) else _cifar(path)
    if not path.is_file():
        raise ImageError(f"{path}: there is no such file")
    if path.suffix == ".npz":
        return _npz(path)
    if path.name.endswith((".tar.gz", ".tgz")):
        return _cifar_archive(path)
    return _arff(path)


def usual_places() -> list[Path]:
    """Where Keras, torchvision and scikit-learn keep MNIST and CIFAR-10."""
    home = Path.home()
    keras, torch = home / ".keras/datasets", Path(os.environ.get("TORCH_HOME", home / ".cache/torch"))
    roots = [Path("data"), home / "data", home / ".cache", torch, home / ".cache/torchvision"]
    places = [keras / "mnist.npz", home / ".cache/mnist.npz", *(root / "MNIST/raw" for root in roots)]
    places += [keras / "cifar-10-batches-py", keras / "cifar-10-batches-py.tar.gz"]
    places += [root / name for root in roots for name in ("cifar-10-batches-py", "cifar-10-python.tar.gz")]
    cache = Path(os.environ.get("SCIKIT_LEARN_DATA", home / "scikit_learn_data")) / "openml"
    return places + sorted(p for p in cache.rglob("*") if p.is_file() and p.name.endswith((".arff", ".arff.gz", "52667.gz", "16797612.gz")))


def find() -> Images | None:
    """The first of the usual places that holds an image set; None if none does."""
    for place in usual_places():
        try:
            return load(place)
        except (OSError, ImageError):
            continue
    return None


def digits() -> Images:
    """scikit-learn's handwritten digits, 8 by 8: a fixed split, 80 to 20."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    x, y = load_digits(return_X_y=True)
    x, x_test, y, y_test = train_test_split((x / 16).astype(np.float32), y, test_size=0.2, stratify=y, random_state=0)
    return Images("digits", x, y, x_test, y_test)


# ---- NumPy ------------------------------------------------------------------------------------------------------


def _npz(path: Path) -> Images:
    try:
        with np.load(path, allow_pickle=False) as archive:
            parts = [archive[name] for name in ("x_train", "y_train", "x_test", "y_test")]
    except (KeyError, ValueError) as error:
        raise ImageError(f"{path}: {error}; expected arrays x_train, y_train, x_test, y_test") from None
    return Images.of(path.stem, parts[:2], parts[2:])


# ---- IDX --------------------------------------------------------------------------------------------------------


def _member(directory: Path, prefix: str) -> Path | None:
    """train-images-idx3-ubyte, train-images.idx3-ubyte, the same with .gz: whichever is there."""
    return next(iter(sorted(p for p in directory.glob(f"{prefix}*idx*") if p.is_file())), None)


def _idx(directory: Path) -> Images:
    parts = []
    for prefixes in IDX.values():
        files = [_member(directory, prefix) for prefix in prefixes]
        if None in files:
            raise ImageError(f"{directory}: a file {prefixes[files.index(None)]}... is missing")
        parts.append([read_idx(file) for file in files])
    name = directory.parent.name if directory.name == "raw" else directory.name
    return Images.of(name, *parts)


def read_idx(path: Path) -> np.ndarray:
    """An IDX file: two zero bytes, type, number of axes, big-endian lengths, entries."""
    raw = path.read_bytes()
    raw = gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw
    if len(raw) < 4 or raw[:2] != b"\0\0" or raw[2] not in _IDX_TYPES or len(raw) < 4 + 4 * raw[3]:
        raise ImageError(f"{path}: not an IDX file")
    shape = struct.unpack(f">{raw[3]}I", raw[4 : 4 + 4 * raw[3]])
    kind = np.dtype(_IDX_TYPES[raw[2]])
    if len(raw) - 4 - 4 * raw[3] != kind.itemsize * int(np.prod(shape, dtype=np.int64)):
        raise ImageError(f"{path}: {len(raw)} bytes do not hold entries of shape {shape}")
    return np.frombuffer(raw, kind, offset=4 + 4 * raw[3]).reshape(shape).astype(kind.newbyteorder("="))


# ---- CIFAR-10 ---------------------------------------------------------------------------------------------------


class _Harmless(pickle.Unpickler):
    """Builds NumPy arrays, and refuses every other class or function."""

    def find_class(self, module, name):
        if (module, name) not in _HARMLESS:
            raise ImageError(f"the pickle asks for {module}.{name}, which no image set needs")
        return super().find_class(module, name)


def read_batch(raw: bytes, name: str = "batch") -> tuple[np.ndarray, np.ndarray]:
    """(images, labels) of one of CIFAR-10's pickles: a dictionary with data and labels."""
    try:
        batch = _Harmless(io.BytesIO(raw), encoding="bytes").load()
        return np.asarray(batch[b"data"]), np.asarray(batch[b"labels"])
    except (pickle.UnpicklingError, EOFError, KeyError, TypeError, IndexError, AttributeError, UnicodeDecodeError) as error:
        raise ImageError(f"{name}: not one of CIFAR-10's batches ({error!r})") from None


def _cifar(directory: Path) -> Images:
    present = [[directory / name for name in names if (directory / name).is_file()] for names in CIFAR]
    if not all(present):
        raise ImageError(f"{directory}: neither MNIST's IDX files nor CIFAR-10's batches")
    return _batches([[(p.name, p.read_bytes()) for p in part] for part in present])


def _cifar_archive(path: Path) -> Images:
    found = {}
    try:
        with tarfile.open(path) as archive:
            for member in archive:
                name = Path(member.name).name
                if member.isfile() and any(name in names for names in CIFAR):
                    found[name] = archive.extractfile(member).read()
    except tarfile.TarError as error:
        raise ImageError(f"{path}: {error}") from None
    parts = [[(name, found[name]) for name in names if name in found] for names in CIFAR]
    if not all(parts):
        raise ImageError(f"{path}: no batches of CIFAR-10 in it")
    return _batches(parts)


def _batches(parts) -> Images:
    read = [[read_batch(raw, name) for name, raw in part] for part in parts]
    return Images.of("cifar-10", *[tuple(np.concatenate(column) for column in zip(*part)) for part in read])


# ---- ARFF -------------------------------------------------------------------------------------------------------


def _arff(path: Path) -> Images:
    """Dense ARFF, labels in the last column; the last 10,000 samples are for testing (of few samples, the last fifth)."""
    raw = path.read_bytes()
    try:
        text = (gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw).decode()
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise ImageError(f"{path}: {error}") from None
    head, found, body = text.partition("@DATA")
    if not found:
        head, found, body = text.partition("@data")
    relation = next((line.split(maxsplit=1)[1] for line in head.splitlines() if line.lower().startswith("@relation ")), None)
    if not found or relation is None or body.lstrip().startswith("{"):
        raise ImageError(f"{path}: no image set in a format that is known here (.npz, IDX, CIFAR-10's pickles, dense ARFF)")
    rows = (line for line in body.splitlines() if line.strip() and not line.startswith("%"))
    try:
        entries = np.loadtxt((line.replace("'", "").replace('"', "") for line in rows), delimiter=",", dtype=np.float32, ndmin=2)
    except ValueError as error:
        raise ImageError(f"{path}: {error}") from None
    x, y = entries[:, :-1], entries[:, -1]
    first = len(x) - (10_000 if len(x) > 20_000 else len(x) // 5)
    return Images.of(relation.strip("'\""), (x[:first], y[:first]), (x[first:], y[first:]))
