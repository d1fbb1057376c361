"""What a circuit's printout says of each layer: rows that add up to what a proof commits and looks up, and owners as people know them."""

import dataclasses
import json
import math
from functools import cache

import jax
import optax
import pytest
from flax import linen as nn
from hypothesis import given
from hypothesis import strategies as st
from test_layers import LABELS, TOKENS, Attention, X
from test_unchanged import NETS

import zkjax
from zkjax.circuit import bounds
from zkjax.circuit.counts import Size, of_parts
from zkjax.circuit.layers import DATA, LOSS, OPTIMIZER, layer
from zkjax.circuit.shares import MOST, Share, grouped, shares, together
from zkjax.protocol.plan import Batches, Plan
from zkjax.protocol.schedule import batch_indices

OPTIMIZERS = {
    "sgd": optax.sgd(1 / 32),
    "momentum": optax.sgd(1 / 32, momentum=0.9),
    "adam": optax.adam(1 / 64),
    "clipped": optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(1 / 64)),
    "lion": optax.lion(1 / 256),
    "lamb": optax.lamb(1 / 64),
}
BATCH = 3
FORMATS = zkjax.Precision(activation_scale=6, activation_bits=11, gradient_scale=12, gradient_bits=12, data_bits=(8, 3), table_bits=18)


class Net(nn.Module):
    """Two layers, the names of which are the file's."""

    @nn.compact
    def __call__(self, x):
        return nn.Dense(2, name="last")(nn.relu(nn.Dense(4, name="first")(x)))


class Deep(nn.Module):
    """Residual blocks of two layers."""

    blocks: int

    @nn.compact
    def __call__(self, x):
        for i in range(self.blocks):
            x = x + nn.Dense(3, name=f"Block_{i}/out")(nn.relu(nn.Dense(2, name=f"Block_{i}/in")(x)))
        return nn.Dense(2, name="head")(x)


def of_module(module, x, y, optimizer, **options) -> zkjax.Circuit:
    params = module.init(jax.random.key(0), x)

    def loss(params, x, y):
        return optax.softmax_cross_entropy_with_integer_labels(module.apply(params, x), y).mean()

    batch = [jax.ShapeDtypeStruct((BATCH, *a.shape[1:]), a.dtype) for a in (x, y)]
    shapes = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype), params["params"])
    return zkjax.trace(lambda p, *b: loss({"params": p}, *b), optimizer, shapes, batch=batch, steps=16, chunk=4, **options)


@cache
def circuit_of(name: str) -> zkjax.Circuit:
    if name in OPTIMIZERS:
        return of_module(Net(), X, LABELS % 2, OPTIMIZERS[name], precision=FORMATS)
    if name == "deep":
        return of_module(Deep(24), X[:, :3], LABELS % 2, OPTIMIZERS["sgd"], precision=FORMATS)
    if name == "decoder":
        return of_module(Attention(), TOKENS, LABELS, OPTIMIZERS["sgd"])
    loss, params, data = NETS[name]
    return zkjax.trace(loss, OPTIMIZERS["sgd"], params, batch=tuple(x[:BATCH] for x in data), chunk=3)


NAMES = [*OPTIMIZERS, "decoder", *NETS]


def committed(circuit) -> Size:
    """What a proof of one step that is not a chain's first commits and looks up, from its plan; and the states that a next one reads."""
    samples, none = 2 * BATCH, (0,) * len(circuit.parameters)
    batches = Batches(batch_indices(0, samples, None, circuit.batch_size, 0, 1), samples, samples)
    plan = Plan(circuit, 0, 1, none, none, batches, given=False)
    found = []
    for x in plan.sites.lookups:
        further = sum(part.size if part.along == "columns" else 1 for _, parts in x.columns[1:] for part in parts)
        found.append((math.prod(x.leaves), 1 + further))
    cells = sum(math.prod(shape) for key, shape in plan.advice.items() if key[0] != "multiplicity")
    return Size(cells + circuit.rounding()[0], sum(n for n, _ in found), sum(n * width for n, width in found))


def shown(circuit) -> tuple[tuple[str, ...], ...]:
    """The rows of its table."""
    return next(part.rows for part in circuit.sheet().parts if getattr(part, "title", "") == "layers")


def number(text: str) -> int:
    return int(text.replace(",", "") or 0)


@pytest.mark.parametrize("name", NAMES)
def test_rows_add_up(name):
    """To what a proof commits and looks up; so do those that are shown, and the last one says so. Levels to the highest."""
    circuit = circuit_of(name)
    rows = shares(circuit)
    total = sum((x.size for x in rows), Size())
    assert total == committed(circuit) and max(x.levels for x in rows) == circuit.levels.depth
    counts, (between, *_) = circuit.counts(1), circuit.rounding()
    assert total[:2] == (counts.cells + between, counts.lookups)
    *parts, last = shown(circuit)
    sums = [sum(number(row[c]) for row in parts) for c in (0, 1, 2, -3, -2)]
    assert sums == [number(last[c]) for c in (0, 1, 2, -3, -2)] and sums[:3] == [*total] and last[-1] == "together"
    cells, of_states = total.cells - sum(circuit.rounding()[:2]), total.lookups - of_parts(circuit).states.lookups
    assert f"per step: {cells:,} committed cells, {of_states:,} lookups" in str(circuit)
    operations = next(part.rows for part in circuit.sheet().parts if getattr(part, "title", "") == "operations")
    assert [sum(number(row[c]) for row in operations) for c in (6, 7)] == [cells, of_states]


def by_owner(circuit) -> dict[str, Share]:
    return {x.name(): x for x in shares(circuit)}


@pytest.mark.parametrize("name", [x for x in OPTIMIZERS if x != "sgd"])
def test_what_an_optimizer_adds_is_what_plain_descent_does_not_have(name):
    """In the same formats both have the same passes; plain descent's own row is empty."""
    plain, other = (by_owner(circuit_of(x)) for x in ("sgd", name))
    for owner in ('"first"', '"last"', LOSS, DATA):
        assert (plain[owner].forward.cells, plain[owner].backward.cells) == (other[owner].forward.cells, other[owner].backward.cells)
        assert plain[owner].levels == other[owner].levels > 0
    assert plain[OPTIMIZER].size == Size() and len(plain) == 5
    added = other[OPTIMIZER].size.cells + sum(x.size.cells for owner, x in other.items() if owner.startswith("rounding"))
    assert added == sum(x.size.cells for x in other.values()) - sum(x.size.cells for x in plain.values()) > 0


def test_owners_of_a_net():
    """Its layers' cells are those of the signs and roundings that the author calls by their names."""
    circuit = circuit_of("sgd")
    found = by_owner(circuit)

    def called(label: str) -> int:
        nodes = [i for i, node in enumerate(circuit.nodes) if node.label == label]
        return sum(circuit.cost(i)[0] * math.prod(circuit.nodes[i].shape) for i in nodes)

    for name in ("first", "last"):
        assert found[f'"{name}"'].forward.cells == called(f"{name}/kernel forward") > 0
        assert found[f'"{name}"'].backward.cells == called(f"{name}/kernel backward")
    assert found['"last"'].backward.cells >= BATCH * 4 and found['"first"'].backward.cells == 0
    assert list(found) == ['"first"', '"last"', LOSS, DATA, OPTIMIZER]


def test_owners_of_a_decoder():
    """What joins query and key is the attention's; what the first block adds to, its own."""
    found = list(by_owner(circuit_of("decoder")))
    attention = "MultiHeadDotProductAttention_0"
    inner = [f'"{attention}/{name}"' for name in ("query", "key", "value")]
    assert set(found) >= {*inner, f'"{attention}"', f'"{attention}/out"', '"Embed_0"', '"LayerNorm_0"', '"RMSNorm_0"', '"Dense_0"'}
    assert max(map(found.index, inner)) < found.index(f'"{attention}"') < found.index(f'"{attention}/out"')


def test_names_of_layers():
    paths = {"0/w": ("0",), "a": ("a",), "": ("",), "Block_0/attn/query/kernel": ("Block_0", "attn", "query"), "/": ("", "")}
    assert {path: layer(path) for path in paths} == paths
    assert len(layer("/".join("x" * 1000))) < 20


def test_without_a_loss_passes_are_not_told_apart():
    def step(p, x, y):
        return jax.tree.map(lambda a, g: a - g / 32, p, jax.grad(NETS["residual"][0])(p, x, y))

    _, params, data = NETS["residual"]
    silent = zkjax.trace_step(step, params, tuple(x[:BATCH] for x in data), chunk=3)
    assert not silent.losses and "No output of this step is a loss" in str(silent)
    rows = shares(silent)
    assert sum((x.size for x in rows), Size()) == committed(silent) and all(x.backward == Size() for x in rows)
    assert "No output of this step is a loss" not in str(circuit_of("residual"))


# ---- a file's names, and many layers -------------------------------------------------------------------------------
def test_a_loaded_circuit_tells_the_same_whatever_its_labels_say(tmp_path):
    circuit = circuit_of("adam")
    data = circuit.to_json()
    for node in data["nodes"]:
        node["label"] = "loss"
    (tmp_path / "circuit.json").write_text(json.dumps(data))
    assert shown(zkjax.Circuit.load(tmp_path / "circuit.json")) == shown(circuit)


@pytest.mark.parametrize("name", ["loss", "together", "optimizer", "\u202eelif", "a" * 5000, '" .. "'])
def test_a_name_cannot_pass_for_another(name):
    circuit = circuit_of("sgd")
    own = tuple(dataclasses.replace(p, path=f"{name}/{p.path}") for p in circuit.parameters)
    text = str(dataclasses.replace(circuit, parameters=own))
    lines = text[text.index("cells") : text.index("A layer is named")].splitlines()
    assert sum(line.endswith(("loss", "together", "optimizer")) for line in lines) == 3 and "\u202e" not in text
    assert sum(line.endswith('/first"') or line.endswith('/last"') for line in lines) == 2
    assert len(text) < 10**5  # no line is filled up to the longest name


def test_a_deep_net_is_told_in_few_lines():
    """Its blocks together, where there are many."""
    text = str(circuit_of("deep"))
    lines = text[text.index("cells  ") : text.index("A layer is named")].strip().splitlines()
    assert len(lines) <= 40 and len(shares(circuit_of("deep"))) > 48
    for kind in ("in", "out"):
        assert sum(line.endswith(f'"Block_0/{kind}" .. "Block_23/{kind}", 24 layers together') for line in lines) == 1


PATHS = st.lists(st.sampled_from(["Block_0", "Block_1", "Block_22", "a", "b", "7", "loss", ""]), max_size=3).map(tuple)
SIZES = st.builds(Size, *[st.integers(0, 10**6)] * 3)


@given(
    st.lists(st.builds(Share, PATHS, SIZES, SIZES, st.integers(0, 9), st.none() | st.integers(0, 99)), min_size=1, max_size=12),
    st.integers(1, 8),
)
def test_grouping_keeps_sums(rows, most):
    rows = [*rows, Share(LOSS, Size(1, 2, 3))]
    found = grouped(rows, most)
    assert len(found) <= most + 1 and sum(x.layers for x in found) == len(rows)
    for part in ("forward", "backward", "levels", "steps"):
        assert getattr(together(found), part) == getattr(together(rows), part)
    if len(rows) - 1 <= most:
        assert found == rows


def test_however_layers_are_called_the_table_is_short():
    words = [chr(97 + i % 26) * (1 + i // 26) for i in range(200)]
    found = grouped([Share((word,), Size(i)) for i, word in enumerate(words)])
    assert len(found) == MOST and found[-1].name() == "171 other layers together" and found[-2].owner == (words[-1],)


# ---- how long bounds hold ------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", ["residual", "tied", "one linear layer", "attention"])
def test_the_first_whose_bounds_end_ends_the_chain(name):
    """And each is the last power of two within which a search of its own finds them."""
    circuit = circuit_of(name)
    longest = circuit.longest_chain().steps
    nodes, states = bounds.lasting(circuit)
    first = min(x for x in (*nodes, states) if x is not None)
    assert first <= longest < 2 * first
    rows = shown(circuit)
    assert min(number(row[4]) for row in rows if row[4] != "any") == first == number(rows[-1][4])


def test_more_bits_shorten_a_chain_and_the_printout_says_whose():
    """One tensor's bits: the steps of the layer that reads it are fewer, and so are all together."""
    loss, params, data = NETS["residual"]
    found = []
    for bits in (9, 19):
        precision = zkjax.Precision(tensors={"a forward": (6, bits)})
        circuit = zkjax.trace(loss, OPTIMIZERS["sgd"], params, batch=tuple(x[:BATCH] for x in data), chunk=1, precision=precision)
        found.append({row[-1]: number(row[4].replace("any", str(2**63))) for row in shown(circuit)})
    coarse, fine = found
    assert fine["together"] < coarse["together"] and fine['"b"'] < coarse['"b"']


def test_bounds_that_never_end_take_no_column():
    circuit = circuit_of("residual")
    still = dataclasses.replace(circuit, parameters=tuple(dataclasses.replace(p, updates=()) for p in circuit.parameters))
    assert "bounds hold for any number of steps" in str(still) and "Steps:" not in str(still)
    assert len(shown(still)[0]) == len(shown(circuit)[0]) - 1 == 7
