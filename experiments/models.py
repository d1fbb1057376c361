"""Models that people train, as they are written in Flax: classifiers of pictures and of characters here, other kinds in ``others.py``.

``bench.py --model`` measures them; ``pictures.py``, ``text.py`` and ``others.py`` train them.
"""

from collections.abc import Callable, Iterator
from dataclasses import KW_ONLY, dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from common import float_training
from flax import linen as nn

from zkjax import Precision
from zkjax.protocol.schedule import batch_indices


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


class VGG(nn.Module):
    """VGG-11 for small pictures: 3x3 convolutions and max-pools, and one dense layer."""

    widths: tuple[int, ...] = (64, 128, 256, 256, 512, 512, 512, 512)
    pooled: tuple[int, ...] = (0, 1, 3, 5, 7)

    @nn.compact
    def __call__(self, x):
        for layer, width in enumerate(self.widths):
            x = nn.relu(nn.Conv(width, (3, 3), kernel_init=nn.initializers.he_normal())(x))
            x = nn.max_pool(x, (2, 2), (2, 2)) if layer in self.pooled else x
        return nn.Dense(10)(x.reshape(len(x), -1))


class LSTM(nn.Module):
    """Reads a picture row by row."""

    width: int = 32

    @nn.compact
    def __call__(self, x):
        return nn.Dense(10)(nn.RNN(nn.OptimizedLSTMCell(self.width))(x.reshape(*x.shape[:2], -1))[:, -1])


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
class Data:
    """What a model is trained on, array by array as its loss reads them, and what it is judged on afterwards."""

    name: str
    train: tuple[np.ndarray, ...]
    test: tuple[np.ndarray, ...]


@dataclass(frozen=True)
class Model:
    """A net, its loss and its optimizer.

    batch, steps: of a training step, and of a proof; optimizer: makes it. data: loads them; None where a script does.
    keyed: the loss reads a random key. precision: formats that are given. whole: each step reads all data, which have no batch axis.
    judged: what ``score`` is.
    """

    module: nn.Module
    batch: int
    steps: int
    optimizer: Callable[[], optax.GradientTransformation]
    _: KW_ONLY
    data: Callable[[], Data] | None = None
    keyed: bool = False
    precision: Precision | None = None

    whole = False
    judged = ""

    def initial(self, seed: int = 0) -> Any:
        """First parameters."""
        raise NotImplementedError

    def state(self, seed: int = 0) -> Any:
        """The first state of a model that has one."""
        return None

    def loss(self, params, *rest):
        """As ``zkjax.trace`` takes it: of the parameters, the state if there is one, the batch, and the key if it reads one."""
        raise NotImplementedError

    def score(self, params, *test) -> float:
        """How good parameters are, on what they were not trained on."""
        raise NotImplementedError

    def traced(self, seed: int = 0) -> dict:
        """What ``zkjax.trace`` is told beside loss, optimizer, parameters and batch."""
        key = jax.random.key(seed) if self.keyed else None
        found = {"key": key, "state": self.state(seed), "full_batch": self.whole or None, "precision": self.precision}
        return {name: value for name, value in found.items() if value is not None}

    def batches(self, arrays: tuple, steps: int, seed: int = 0) -> Iterator[tuple]:
        """What each step of a chain reads after parameters and state: its batch, and its key."""
        rows = [...] * steps if self.whole else batch_indices(seed, len(arrays[0]), None, self.batch, 0, steps)
        for t, index in enumerate(rows):
            yield *(x[index] for x in arrays), *([jax.random.fold_in(jax.random.key(seed), t)] if self.keyed else [])

    def first(self, arrays: tuple, seed: int = 0) -> tuple:
        """The batch of the first step."""
        return next(self.batches(arrays, 1, seed))[: len(arrays)]

    def float_training(self, batches, seed: int = 0):
        """These steps by Flax and optax in float32: last parameters and losses."""
        return float_training(self.loss, self.optimizer(), self.initial(seed), batches, self.state(seed))

    def samples(self, count: int) -> tuple:
        """So many to measure with: those that there are, again and again."""
        arrays = self.data().train
        return arrays if self.whole else tuple(np.resize(x, (count, *x.shape[1:])) for x in arrays)


@dataclass(frozen=True, kw_only=True)
class Classifier(Model):
    """Of pictures or of each next character, by cross-entropy.

    shape: of one sample, without its label; classes: of labels; text: samples are tokens, and labels one for each. statistics: it reads
    and returns those of batch normalisation; keyed: it has dropout. smoothing: of labels.
    """

    shape: tuple[int, ...]
    classes: int = 10
    text: bool = False
    statistics: bool = False
    smoothing: float = 0.0

    judged = "test accuracy in %"

    def variables(self, seed: int = 0) -> dict:
        """First parameters, and first statistics if it has some. Compiled fast rather than well: it is run once."""
        one = jnp.zeros((1, *self.shape), jnp.int32 if self.text else jnp.float32)
        keys = dict(zip(("params", "dropout"), jax.random.split(jax.random.key(seed)), strict=True))
        init = jax.jit(self.module.init, compiler_options={"xla_backend_optimization_level": 0})
        return init(keys if self.keyed else keys["params"], one)

    def initial(self, seed: int = 0) -> Any:
        return self.variables(seed)["params"]

    def state(self, seed: int = 0) -> Any:
        return self.variables(seed)["batch_stats"] if self.statistics else None

    def loss(self, params, *rest):
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

    def score(self, params, x, y) -> float:
        """Statistics are those of the test set."""
        options = {"train": False} if self.keyed else {"mutable": ["batch_stats"]} if self.statistics else {}
        variables = {"params": params} | ({"batch_stats": self.state()} if self.statistics else {})
        logits = jax.jit(lambda variables, x: self.module.apply(variables, x, **options))(variables, x)
        return 100 * float(np.mean(np.argmax(logits[0] if self.statistics else logits, axis=-1) == y))

    def samples(self, count: int) -> tuple:
        """Random ones where no data are its own."""
        if self.data:
            return super().samples(count)
        rng = np.random.default_rng(1)
        if self.text:
            tokens = rng.integers(0, self.classes, (count, self.shape[0] + 1)).astype(np.int32)
            return tokens[:, :-1], tokens[:, 1:]
        return rng.uniform(-1, 1, (count, *self.shape)).astype(np.float32), rng.integers(0, self.classes, count).astype(np.int32)


def warmed(rate: float):
    """AdamW as transformers are trained: warm-up, cosine, clipping."""
    schedule = optax.warmup_cosine_decay_schedule(0.0, rate, 8, 64)
    return optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(schedule))


def nesterov(rate: float):
    """As residual nets are trained."""
    return optax.sgd(optax.cosine_decay_schedule(rate, 64), 0.9, nesterov=True)


MODELS = {
    "lenet": Classifier(
        LeNet(),
        16,
        64,
        lambda: optax.sgd(0.01, momentum=0.9),
        shape=(28, 28, 1),
        precision=Precision(activation_scale=8, activation_bits=12),
    ),
    "vgg": Classifier(VGG(), 16, 4, lambda: optax.sgd(0.01), shape=(32, 32, 3)),
    "resnet": Classifier(ResNet(), 32, 2, lambda: nesterov(0.1), shape=(32, 32, 3), statistics=True, smoothing=0.1),
    "lstm": Classifier(LSTM(), 32, 16, lambda: optax.adam(1e-2), shape=(8, 8, 1)),
    "mlp-norm": Classifier(NormalisedMLP(), 64, 32, lambda: optax.adamw(1e-3), shape=(28, 28, 1), keyed=True),
    "transformer": Classifier(Transformer(), 8, 4, lambda: warmed(1e-3), shape=(64,), classes=64, text=True),
}
