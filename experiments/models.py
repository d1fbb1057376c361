"""Models that people train, as they are written in Flax: what ``bench.py --model`` measures and ``pictures.py`` trains."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn


class LeNet(nn.Module):
    """LeNet-5 with ReLU and max-pooling."""

    @nn.compact
    def __call__(self, x):
        x = nn.max_pool(nn.relu(nn.Conv(6, (5, 5))(x)), (2, 2), (2, 2))
        x = nn.max_pool(nn.relu(nn.Conv(16, (5, 5), padding="VALID")(x)), (2, 2), (2, 2))
        x = nn.relu(nn.Dense(120)(x.reshape(len(x), -1)))
        return nn.Dense(10)(nn.relu(nn.Dense(84)(x)))


@dataclass(frozen=True)
class Model:
    """A classifier of pictures. shape: of one; batch, steps: of a training step, and of a proof; optimizer: makes it."""

    module: nn.Module
    shape: tuple[int, int, int]
    classes: int
    batch: int
    steps: int
    optimizer: Callable[[], optax.GradientTransformation]

    def initial(self, seed: int = 0) -> Any:
        """First parameters."""
        return jax.jit(self.module.init)(jax.random.key(seed), jnp.zeros((1, *self.shape)))

    def loss(self, params, x, y):
        """Cross-entropy with integer labels."""
        return optax.softmax_cross_entropy_with_integer_labels(self.module.apply(params, x), y).mean()

    def accuracy(self, params, x, y) -> float:
        """On a test set."""
        return float(np.mean(np.argmax(jax.jit(self.module.apply)(params, x), axis=-1) == y))


MODELS = {"lenet": Model(LeNet(), (28, 28, 1), 10, 16, 16, lambda: optax.sgd(0.02, momentum=0.9))}
