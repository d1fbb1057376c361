"""Train, prove and verify models of other kinds, on real data, beside Flax and optax in floating point.

    python experiments/others.py --model NAME [--steps N] [--chunk N] [--no-proofs] [--out DIR]

A variational autoencoder, a factorisation of a table, a graph network that reads its whole graph in each step, Q-learning with a target
network, low-rank adapters on a frozen transformer, and a trained net that is only run. Data are scikit-learn's digits, Python's
documentation and sources, and simulated pushes of a cart with a pole. OUT gets what ``runner.py`` writes.
"""

import argparse
import inspect
import sys
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import Any

import cartpole
import images
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pictures
import text
from flax import linen as nn
from models import MODELS as PLAIN
from models import Classifier, Data, Model
from runner import options, run, run_experiment

# ---- a variational autoencoder ----------------------------------------------------------------------------------


class VAE(nn.Module):
    """Its logits of pixels, and means and logarithms of variances that it has drawn from."""

    width: int = 128
    latent: int = 8

    @nn.compact
    def __call__(self, x):
        hidden = nn.relu(nn.Dense(self.width)(x))
        mean, spread = nn.Dense(self.latent)(hidden), nn.Dense(self.latent)(hidden)
        drawn = mean + jnp.exp(spread / 2) * jax.random.normal(self.make_rng("drawn"), mean.shape)
        return nn.Dense(x.shape[-1])(nn.relu(nn.Dense(self.width)(drawn))), mean, spread


class Autoencoder(Model):
    """By the bound on the likelihood: cross-entropy of pixels, and divergence from standard normal numbers."""

    judged = "loss on the test set"

    def initial(self, seed=0):
        keys = dict(zip(("params", "drawn"), jax.random.split(jax.random.key(seed)), strict=True))
        return self.module.init(keys, self.data().test[0][:1])["params"]

    def loss(self, params, x, key):
        logits, mean, spread = self.module.apply({"params": params}, x, rngs={"drawn": key})
        divergence = (jnp.exp(spread) + mean**2 - 1 - spread).sum(-1) / 2
        return (optax.sigmoid_binary_cross_entropy(logits, x).sum(-1) + divergence).mean()

    def score(self, params, x):
        return float(self.loss(params, x, jax.random.key(0)))


def digits() -> Data:
    found = images.digits()
    return Data("digits", (found.x,), (found.x_test,))


# ---- a factorisation --------------------------------------------------------------------------------------------


class Factors(nn.Module):
    """An entry of a table is a product of vectors of its row and its column, and a number of each."""

    rows: int
    columns: int
    rank: int = 8

    @nn.compact
    def __call__(self, row, column):
        def looked_up(count, size, index):
            return nn.Embed(count, size, embedding_init=nn.initializers.normal(0.1))(index)

        product = looked_up(self.rows, self.rank, row) * looked_up(self.columns, self.rank, column)
        return product.sum(-1) + looked_up(self.rows, 1, row)[..., 0] + looked_up(self.columns, 1, column)[..., 0]


class Factorisation(Model):
    """By squared error of the entries that are known."""

    judged = "root of the mean squared error of entries left out"

    def initial(self, seed=0):
        return self.module.init(jax.random.key(seed), *np.zeros((2, 1), np.int32))["params"]

    def loss(self, params, row, column, value):
        return optax.squared_error(self.module.apply({"params": params}, row, column), value).mean()

    def score(self, params, *test):
        return float(np.sqrt(self.loss(params, *test)))


def ratings(rows: int) -> Data:
    """How much ink a picture of a digit has at a place: (picture, place, ink), a tenth left out."""
    table = images.digits().x[:rows]
    entries = np.random.default_rng(0).permutation(table.size)
    row, column = (x.astype(np.int32) for x in np.divmod(entries, table.shape[1]))
    arrays, cut = (row, column, table[row, column]), table.size * 9 // 10
    return Data(f"pixels of {rows} digits", tuple(x[:cut] for x in arrays), tuple(x[cut:] for x in arrays))


# ---- a graph network --------------------------------------------------------------------------------------------


class GCN(nn.Module):
    """Two graph convolutions."""

    width: int = 32
    classes: int = 10

    @nn.compact
    def __call__(self, graph, x):
        return graph @ nn.Dense(self.classes)(nn.relu(graph @ nn.Dense(self.width)(x)))


class GraphNet(Model):
    """By cross-entropy of those nodes whose class is known; each step reads the whole graph."""

    judged, whole = "accuracy in % of nodes without a label", True

    def initial(self, seed=0):
        return self.module.init(jax.random.key(seed), *self.data().train[:2])["params"]

    def loss(self, params, graph, x, y, known):
        logits = self.module.apply({"params": params}, graph, x)
        return optax.softmax_cross_entropy_with_integer_labels(logits, y).mean(where=known)

    def score(self, params, graph, x, y, asked):
        return 100 * float(np.mean((np.argmax(self.module.apply({"params": params}, graph, x), axis=1) == y)[asked]))


def neighbours(nodes: int, nearest: int = 6, known: int = 10) -> Data:
    """Digits as nodes, with edges between nearest ones; of each class so many are labelled."""
    from sklearn.neighbors import kneighbors_graph

    found = images.digits()
    x, y = found.x[:nodes], found.y[:nodes].astype(np.int32)
    near = kneighbors_graph(x, nearest).toarray()
    edges = np.maximum(near, near.T) + np.eye(nodes)
    scale = edges.sum(1) ** -0.5
    graph = (scale[:, None] * edges * scale).astype(np.float32)
    labelled = np.zeros(nodes, bool)
    for digit in range(10):
        labelled[np.flatnonzero(y == digit)[:known]] = True
    return Data(f"a graph of {nodes} digits", (graph, x, y, labelled), (graph, x, y, ~labelled))


# ---- Q-learning -------------------------------------------------------------------------------------------------


class Values(nn.Module):
    """What each action is worth in a state."""

    width: int = 64

    @nn.compact
    def __call__(self, x):
        x = nn.relu(nn.Dense(self.width)(nn.relu(nn.Dense(self.width)(x))))
        return nn.Dense(2)(x)


class QLearning(Model):
    """By Huber's loss beside what a slower copy of the net, the model's state, promises of the state after."""

    judged = "steps that the pole is balanced"
    discount, pace = 0.95, 0.2

    def initial(self, seed=0):
        return self.module.init(jax.random.key(seed), np.zeros((1, 4), np.float32))["params"]

    def state(self, seed=0):
        return self.initial(seed)

    def loss(self, params, target, before, action, after, fallen):
        later = self.module.apply({"params": target}, after).max(-1)
        aim = jnp.where(fallen, -1, self.discount * later)  # a fall costs 1, nothing else counts
        worth = jnp.take_along_axis(self.module.apply({"params": params}, before), action[:, None], axis=1)[:, 0]
        return optax.huber_loss(worth, aim).mean(), jax.lax.stop_gradient(optax.incremental_update(params, target, self.pace))

    def score(self, params):
        return cartpole.balanced(jax.jit(lambda states: self.module.apply({"params": params}, states).argmax(-1)))


def pushes() -> Data:
    return Data("a cart with a pole", cartpole.transitions(4096), ())


# ---- nets that were trained before ------------------------------------------------------------------------------


@cache
def pretrained(model: Classifier, steps: int, seed: int) -> Any:
    """Parameters after so many steps in float32."""
    return model.float_training(model.batches(model.data().train, steps, seed), seed)[0]


@dataclass(frozen=True, kw_only=True)
class Pretrained(Classifier):
    """A net that begins with what it has learnt. base: how it was trained; before: for so many steps."""

    base: Classifier
    before: int

    def initial(self, seed=0):
        return pretrained(self.base, self.before, seed)


@dataclass(frozen=True, kw_only=True)
class Adapters(Pretrained):
    """Low-rank ones, of what makes queries and values: a frozen net learns another text."""

    rank: int = 4

    def initial(self, seed=0):
        base = super().initial(seed)
        kernels = {name: x for name, x in named(base).items() if name.endswith(("query/kernel", "value/kernel"))}
        keys = jax.random.split(jax.random.key(seed), len(kernels))
        adapters = {
            name: {"down": jax.random.normal(key, (len(x), self.rank)) / np.sqrt(len(x)), "up": jnp.zeros((self.rank, *x.shape[1:]))}
            for key, (name, x) in zip(keys, kernels.items(), strict=True)
        }
        return {"base": base, "adapters": adapters}

    def loss(self, params, *rest):
        return super().loss(merged(params), *rest)

    def score(self, params, *test):
        return super().score(merged(params), *test)


def named(tree) -> dict[str, Any]:
    """Path to leaf."""
    found = jax.tree_util.tree_leaves_with_path(tree)
    return {jax.tree_util.keystr(path, simple=True, separator="/"): x for path, x in found}


def merged(params):
    """The net's parameters, with those of the adapters added."""
    added = {name: jnp.tensordot(x["down"], x["up"], 1) for name, x in params["adapters"].items()}
    leaves, tree = named(params["base"]), jax.tree.structure(params["base"])
    return jax.tree.unflatten(tree, [x + added[name] if name in added else x for name, x in leaves.items()])


def adapted(rate: float):
    """Adam of the adapters alone."""
    return optax.multi_transform({"trained": optax.adam(rate), "frozen": optax.set_to_zero()}, {"base": "frozen", "adapters": "trained"})


def sources() -> Data:
    """Of two of Python's modules."""
    return text.load(CHARACTERS, "Python's sources", inspect.getsource(argparse) + inspect.getsource(inspect))


class MLP(nn.Module):
    """256-256-256-10."""

    width: int = 256

    @nn.compact
    def __call__(self, x):
        for _ in range(2):
            x = nn.relu(nn.Dense(self.width)(x.reshape(len(x), -1)))
        return nn.Dense(10)(x)


CHARACTERS = replace(PLAIN["transformer"], optimizer=lambda: optax.adamw(3e-3), data=lambda: text.load(CHARACTERS))
DIGITS = Classifier(MLP(), 64, 16, lambda: optax.adam(1e-3), shape=(16, 16, 1), data=lambda: pictures.load(DIGITS))
TOKENS = {"shape": CHARACTERS.shape, "classes": CHARACTERS.classes, "text": True}
MODELS = {
    "vae": Autoencoder(VAE(), 32, 16, lambda: optax.adam(3e-3), data=digits, keyed=True),
    "factorisation": Factorisation(Factors(1000, 64), 512, 16, lambda: optax.adam(3e-2), data=partial(ratings, 1000)),
    "graph": GraphNet(GCN(), 1, 16, lambda: optax.adam(1e-2), data=partial(neighbours, 512)),
    "control": QLearning(Values(), 64, 16, lambda: optax.rmsprop(3e-3), data=pushes),
    "adapters": Adapters(CHARACTERS.module, 8, 1, lambda: adapted(3e-3), **TOKENS, data=sources, base=CHARACTERS, before=300),
    "inference": Pretrained(MLP(), 64, 16, optax.set_to_zero, shape=(16, 16, 1), data=DIGITS.data, base=DIGITS, before=200),
}


def experiment(arguments) -> int:
    model = MODELS[arguments.model]
    return run_experiment(model, model.data(), arguments)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--model", choices=MODELS, default="vae", help="what is trained (default %(default)s)")
    options(parser, "runs/others")
    return run(parser, arguments, experiment)


if __name__ == "__main__":
    sys.exit(main())
