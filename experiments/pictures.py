"""Train, prove and verify a net on real pictures, beside Flax and optax in floating point.

    python experiments/pictures.py [--model NAME] [--steps N] [--chunk N] [--no-proofs] [--images FILE] [--out DIR]

MNIST or CIFAR-10 where it is on this machine (``images.py`` says which files are looked for) and the model reads so many pixels; else
scikit-learn's digits, each pixel as many times as wide and high as fits, in three equal colours where the model reads colours. OUT gets
what ``runner.py`` writes.
"""

import argparse
import sys
from pathlib import Path

import images
import numpy as np
from models import MODELS, Data
from runner import options, run, run_experiment


def load(model, path: Path | None = None) -> Data:
    """Pictures of the model's shape."""
    found = images.load(path) if path else images.find() or images.digits()
    if not path and not fits(found, model):
        found = images.digits()
    if not fits(found, model):
        raise SystemExit(
            f"error: {found.name} has {found.x.shape[1]} numbers a picture and {found.classes} classes; the model reads {model.shape}"
        )
    (height, width, colours), (side, features) = model.shape, grid(found, model)

    def fitted(x):
        times = height // side
        x = np.kron(x.reshape(-1, side, side, features), np.ones((1, times, times, colours // features), np.float32))
        low, left = (height - x.shape[1]) // 2, (width - x.shape[2]) // 2
        margins = (0, 0), (low, height - x.shape[1] - low), (left, width - x.shape[2] - left), (0, 0)
        return np.pad(x, margins).astype(np.float32)

    return Data(found.name, (fitted(found.x), found.y.astype(np.int32)), (fitted(found.x_test), found.y_test.astype(np.int32)))


def grid(found: images.Images, model) -> tuple[int, int]:
    """The side of a set's pictures, and numbers of a pixel."""
    numbers, colours = found.x.shape[1], model.shape[2]
    features = colours if np.sqrt(numbers / colours) % 1 == 0 else 1
    return int(np.sqrt(numbers // features)), features


def fits(found: images.Images, model) -> bool:
    """Whether a set's pictures are square, and not larger than what the model reads; nor are its classes more."""
    side, features = grid(found, model)
    return side * side * features == found.x.shape[1] and side <= model.shape[0] and found.classes <= model.classes


def experiment(arguments) -> int:
    model = MODELS[arguments.model]
    return run_experiment(model, load(model, arguments.images), arguments)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    names = [name for name, model in MODELS.items() if not model.text]
    parser.add_argument("--model", choices=names, default="lenet", help="what is trained (default %(default)s)")
    parser.add_argument("--images", type=Path, metavar="FILE", help="another set of images, in one of the formats of images.py")
    options(parser, "runs/pictures")
    return run(parser, arguments, experiment)


if __name__ == "__main__":
    sys.exit(main())
