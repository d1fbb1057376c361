"""Exact training of an MLP in plain Python integers: the recipe, written down a second time and as slowly as possible.

Shares no code with zkjax. Lists of lists of Python integers; one formula a line.

    y = ceil(A W + 4^a b, v - a)   m = 1[y > 0]      A = m (2 y - 1)     hidden layers; v: bits of A W; A in half units
    E = round(Z - 2^(v-d) Y, s-l)  G = round(cn E, l)                    last layer, l the bits of cn (cn = 1: one rounding)
    h = round(G W^T, w)            G = m h                               hidden layers, backwards
    W -= n A^T G                   b -= n sum_i G                        exact, b at the scale w - a
"""


def rounded(x: int, shift: int) -> int:
    """The nearest integer to x / 2^shift, halves upwards."""
    return (2 * x + 2**shift) // 2 ** (shift + 1)


def ceiling(x: int, shift: int) -> int:
    """The least integer that is not below x / 2^shift."""
    return -(-x // 2**shift)


def matmul(x, y):
    return [[sum(p * q for p, q in zip(row, column, strict=True)) for column in zip(*y, strict=True)] for row in x]


def transposed(x):
    return [list(row) for row in zip(*x, strict=True)]


def train_step(weights, biases, x, y, *, data_scale, bias_scale, error_shift, error_factor, rate):
    """One step. weights: list of matrices; biases: list of vectors or None; x, y: rows of integers.
    bias_scale: bits after the point of biases; weights have as many more as what they multiply.

    Returns (weights, biases, trace), trace: the quotients "y", "m", "A" of each layer, "G" of each layer, and "E".
    """
    activations, quotients, masks, z = [x], [], [], None
    scales = [data_scale + (layer > 0) for layer in range(len(weights))]
    for layer, (a, matrix) in enumerate(zip(scales, weights, strict=True)):
        z = matmul(activations[-1], matrix)
        if biases is not None:
            z = [[v + 4**a * b for v, b in zip(row, biases[layer], strict=True)] for row in z]
        if layer < len(weights) - 1:
            quotients.append([[ceiling(v, 2 * a + bias_scale - data_scale) for v in row] for row in z])
            masks.append([[int(v > 0) for v in row] for row in quotients[-1]])
            activations.append(
                [[m * (2 * v - 1) for m, v in zip(*rows, strict=True)] for rows in zip(masks[-1], quotients[-1], strict=True)]
            )
    error = [
        [v - 2 ** (2 * scales[-1] + bias_scale - data_scale) * t for v, t in zip(*rows, strict=True)] for rows in zip(z, y, strict=True)
    ]
    last = 0
    if error_factor != 1:
        last = error_factor.bit_length()
        error = [[rounded(v, error_shift - last) for v in row] for row in error]
    gradient = [[rounded(error_factor * v, last or error_shift) for v in row] for row in error]
    gradients, backward = [gradient], []
    for layer in range(len(weights) - 1, 0, -1):
        h = [[rounded(v, scales[layer] + bias_scale) for v in row] for row in matmul(gradients[0], transposed(weights[layer]))]
        backward.insert(0, h)
        gradients.insert(0, [[m * v for m, v in zip(*rows, strict=True)] for rows in zip(masks[layer - 1], h, strict=True)])
    new_weights, new_biases = [], None if biases is None else []
    for layer, matrix in enumerate(weights):
        update = matmul(transposed(activations[layer]), gradients[layer])
        new_weights.append([[v - rate * u for v, u in zip(*rows, strict=True)] for rows in zip(matrix, update, strict=True)])
        if biases is not None:
            sums = [sum(column) for column in zip(*gradients[layer], strict=True)]
            new_biases.append([b - rate * v for b, v in zip(biases[layer], sums, strict=True)])
    squares = sum(v * v for row in gradient for v in row)
    return (
        new_weights,
        new_biases,
        {"y": quotients, "m": masks, "A": activations, "G": gradients, "h": backward, "E": error, "loss": squares},
    )
