"""Models that people train, as they are written in Flax: what ``bench.py --model`` measures, and ``pictures.py`` and ``text.py`` train."""

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


class ResNet(nn.Module):
    """A small residual net with batch normalisation: two blocks of 8 and 16 features."""

    @nn.compact
    def __call__(self, x, train: bool = True):
        def normalised(x):
            return nn.BatchNorm(use_running_average=not train, momentum=0.9)(x)

        x = nn.relu(normalised(nn.Conv(8, (3, 3), use_bias=False)(x)))
        for features, stride in ((8, 2), (16, 2)):
            y = nn.relu(normalised(nn.Conv(features, (3, 3), (stride, stride), use_bias=False)(x)))
            y = normalised(nn.Conv(features, (3, 3), use_bias=False)(y))
            x = nn.relu(y + normalised(nn.Conv(features, (1, 1), (stride, stride), use_bias=False)(x)))
        return nn.Dense(10)(x.mean((1, 2)))


class NormalisedMLP(nn.Module):
    """784-256-128-10 with layer normalisation, GELU and dropout."""

    @nn.compact
    def __call__(self, x, train: bool = True):
        x = x.reshape(len(x), -1)
        for width in (256, 128):
            x = nn.gelu(nn.LayerNorm()(nn.Dense(width)(x)))
            x = nn.Dropout(0.1, deterministic=not train)(x)
        return nn.Dense(10)(x)


class Transformer(nn.Module):
    """A decoder of characters: causal attention and GELU, layer normalisation before each."""

    vocabulary: int = 64
    width: int = 64
    heads: int = 4
    layers: int = 2

    @nn.compact
    def __call__(self, tokens):
        places = self.param("places", nn.initializers.normal(0.02), (tokens.shape[1], self.width))
        x, mask = nn.Embed(self.vocabulary, self.width)(tokens) + places, nn.make_causal_mask(tokens)
        for _ in range(self.layers):
            x += nn.MultiHeadDotProductAttention(self.heads)(nn.LayerNorm()(x), mask=mask)
            x += nn.Dense(self.width)(nn.gelu(nn.Dense(4 * self.width)(nn.LayerNorm()(x))))
        return nn.Dense(self.vocabulary)(nn.LayerNorm()(x))


@dataclass(frozen=True)
class Model:
    """A classifier, of pictures or of each next character.

    shape: of one sample, without its label; classes: of labels; batch, steps: of a training step, and of a proof; optimizer: makes it.
    text: samples are tokens, and labels one for each. dropout: the loss reads a random key. statistics: it reads and returns those of
    batch normalisation. smoothing: of labels.
    """

    module: nn.Module
    shape: tuple[int, ...]
    classes: int
    batch: int
    steps: int
    optimizer: Callable[[], optax.GradientTransformation]
    text: bool = False
    dropout: bool = False
    statistics: bool = False
    smoothing: float = 0.0

    def variables(self, seed: int = 0) -> dict:
        """First parameters, and first statistics if it has some."""
        one = jnp.zeros((1, *self.shape), jnp.int32 if self.text else jnp.float32)
        keys = dict(zip(("params", "dropout"), jax.random.split(jax.random.key(seed)), strict=True))
        return jax.jit(self.module.init)(keys if self.dropout else keys["params"], one)

    def initial(self, seed: int = 0) -> Any:
        """First parameters."""
        return self.variables(seed)["params"]

    def traced(self, seed: int = 0) -> dict:
        """What ``zkjax.trace`` is told beside loss, optimizer, parameters and batch."""
        found = {"key": jax.random.key(seed)} if self.dropout else {}
        return found | ({"state": self.variables(seed)["batch_stats"]} if self.statistics else {})

    def loss(self, params, *rest):
        """Cross-entropy with integer labels: of (params, x, y), with a key after them, or with statistics before them."""
        if self.statistics:
            state, x, y = rest
            logits, new = self.module.apply({"params": params, "batch_stats": state}, x, mutable=["batch_stats"])
            return self._cross_entropy(logits, y), new["batch_stats"]
        x, y, *key = rest
        return self._cross_entropy(self.module.apply({"params": params}, x, rngs={"dropout": key[0]} if key else None), y)

    def _cross_entropy(self, logits, y):
        if self.smoothing:
            return optax.softmax_cross_entropy(logits, optax.smooth_labels(jax.nn.one_hot(y, self.classes), self.smoothing)).mean()
        return optax.softmax_cross_entropy_with_integer_labels(logits, y).mean()

    def accuracy(self, params, x, y) -> float:
        """On a test set; statistics are those of that set."""
        options = {"train": False} if self.dropout else {"mutable": ["batch_stats"]} if self.statistics else {}
        variables = {"params": params} | ({"batch_stats": self.variables()["batch_stats"]} if self.statistics else {})
        logits = jax.jit(lambda variables, x: self.module.apply(variables, x, **options))(variables, x)
        return float(np.mean(np.argmax(logits[0] if self.statistics else logits, axis=-1) == y))

    def float_training(self, params, batches, seed: int = 0):
        """The same steps by Flax and optax in float32: last parameters and losses. batches: (x, y) of each step."""
        optimizer, extra = self.optimizer(), self.traced(seed)
        state, losses = extra.get("state"), []

        def loss(params, state, key, x, y):
            if self.statistics:
                return self.loss(params, state, x, y)
            return self.loss(params, x, y, *([key] if self.dropout else [])), None

        @jax.jit
        def step(params, moments, *rest):
            (value, state), gradient = jax.value_and_grad(loss, has_aux=True)(params, *rest)
            updates, moments = optimizer.update(gradient, moments, params)
            return optax.apply_updates(params, updates), moments, state, value

        moments = optimizer.init(params)
        for t, (x, y) in enumerate(batches):
            key = jax.random.fold_in(extra["key"], t) if self.dropout else None
            params, moments, state, value = step(params, moments, state, key, x, y)
            losses.append(float(value))
        return params, losses


def warmed(rate: float):
    """AdamW as transformers are trained: warm-up, cosine, clipping."""
    schedule = optax.warmup_cosine_decay_schedule(0.0, rate, 8, 64)
    return optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(schedule))


def nesterov(rate: float):
    """As residual nets are trained."""
    return optax.sgd(optax.cosine_decay_schedule(rate, 64), 0.9, nesterov=True)


MODELS = {
    "lenet": Model(LeNet(), (28, 28, 1), 10, 16, 16, lambda: optax.sgd(0.02, momentum=0.9)),
    "resnet": Model(ResNet(), (32, 32, 3), 10, 32, 2, lambda: nesterov(0.1), statistics=True, smoothing=0.1),
    "mlp-norm": Model(NormalisedMLP(), (28, 28, 1), 10, 64, 4, lambda: optax.adamw(1e-3), dropout=True),
    "transformer": Model(Transformer(), (64,), 64, 8, 1, lambda: warmed(1e-3), text=True),
}
