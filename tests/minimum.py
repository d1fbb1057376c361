"""Install the oldest versions that pyproject.toml declares, and trace, train, prove and verify with them: ``python tests/minimum.py``.

In an environment of its own, which is removed afterwards; it takes a minute or two, most of it for the installation.
"""

import re
import subprocess
import sys
import tempfile
import tomllib
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PROGRAM = """
import jax, jax.numpy as jnp, numpy as np, optax, zkjax
from flax import linen, nnx
from tiny import TINY

class MLP(nnx.Module):
    def __init__(self, rngs):
        self.first, self.last = nnx.Linear(3, 4, rngs=rngs), nnx.Linear(4, 2, rngs=rngs)

    def __call__(self, x):
        return self.last(nnx.relu(self.first(x)))

rng = np.random.default_rng(0)
x, y = rng.uniform(size=(12, 3)).astype(np.float32), rng.uniform(size=(12, 2)).astype(np.float32)
graph, params = nnx.split(MLP(nnx.Rngs(0)))
dense = linen.Dense(2)
for apply, params in ((lambda p, x: nnx.merge(graph, p)(x), params), (dense.apply, dense.init(jax.random.key(0), x))):
    def loss(p, x, y):
        return jnp.mean((apply(p, x) - y) ** 2)

    schedule = optax.cosine_decay_schedule(1 / 8, 4)
    circuit = zkjax.trace(loss, optax.sgd(schedule), params, batch=(x[:4], y[:4]), precision=TINY, steps=2)
    run = zkjax.train(circuit, params, (x, y), steps=2, seed=0)
    print(zkjax.verify(circuit, zkjax.prove(circuit, run, reveal=("loss",))))
"""


def oldest() -> list[str]:
    """The declared requirements, each at its least version."""
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["dependencies"]
    return [re.fullmatch(r"([\w-]+)>=([\d.]+)", requirement).expand(r"\1==\2") for requirement in declared]


def main() -> None:
    with tempfile.TemporaryDirectory() as directory:
        venv.create(directory, with_pip=True)
        python = str(Path(directory) / "bin" / "python")
        subprocess.run([python, "-m", "pip", "install", "--quiet", *oldest()], check=True)
        paths = f"import sys; sys.path[:0] = [{str(ROOT)!r}, {str(ROOT / 'tests')!r}]\n"
        subprocess.run([python, "-c", paths + PROGRAM], check=True)
    print("valid with", *oldest())


if __name__ == "__main__":
    sys.exit(main())
