"""The operations of a circuit, one home for each or for a small family.

========== ======================================= ==========================================================
operation  inputs, attributes                      integers
========== ======================================= ==========================================================
input      index                                   a batch gathered from the committed dataset
param      index                                   a parameter at the start of the step
const      shape, values                           public integers
linear     x1.. xn, coefficients                   sum of coefficient * x, all of one shape
transpose  x, permutation                          numpy.transpose
reshape    x, shape                                numpy.reshape
broadcast  x, shape, axes                          axis i of x becomes axis axes[i]; the others repeat
sum        x, axes                                 sum over axes, which disappear
slice      x, start, limit, stride                 x[start:limit:stride]
pad        x, low, high, interior                  zeros around and between
concatenate x1.. xn, axis                          numpy.concatenate
reverse    x, axes                                 numpy.flip
scale      x, c (a const), axes                    x times c, axis i of c aligned with axis axes[i] of x
dot        x, y, contract, batch                   lax.dot_general; all axes in ``batch`` gives x * y
rescale    x, shift, bits                          (x + 2^(shift-1)) >> shift, in [-2^bits, 2^bits); advice
sign       y (a rescale or range)                  1 where y > 0, else 0; advice
gate       m (a sign), y (a rescale)               m * y
next       x1.. xn (a state's feeds), index        a state with a recurrence after the step, before it is rounded
draw       shape, words, path, shift, threshold    public random words of the step's key; with a threshold 1 where one is less, else 0
residue    .., modulus, parts                      the same modulo a number; with threshold -1 its one-hot
range      x, low, width                           x, which is in [low, low + 2^width)
function   y (a rescale or range), program, ..     the integer nearest to 2^scale * program(unit * y); advice
onehot     y, program, .., size                    1 where program(unit * y) is the place along a further axis, else 0; advice
largest    x (a rescale or range), low, width      the largest entry along the last axis; advice
first      m (a largest), x                        1 at the first place of x where it is m, else 0; advice
divide     x, d, bits, divisor                     the nearest integer to x / d, halves upwards; advice
root       x, size                                 the square root, rounded down; advice
paced      x, numbers                              x times a public number of the step
window     x, axis, out, size, stride, ..          x[stride o + dilation k - pad] along an axis, which becomes (o, k)
========== ======================================= ==========================================================

Their order is the protocol's: committed cells and lookups are laid out operation by operation, and within one node by node.
"""

from .arithmetic import Linear, Scale, Sum
from .division import Divide
from .draw import Draw, Residue
from .functions import OneHot, Range, TableFunction
from .leaves import Const, InputArray, Next, Param
from .maximum import First, Largest
from .moves import Broadcast, Concatenate, Pad, Reshape, Reverse, Slice, Transpose
from .operation import Operation
from .paced import Paced
from .products import Dot, Gate
from .rescale import Ceiling, Rescale, Sign
from .root import Root
from .window import Window

OPERATIONS: tuple[type[Operation], ...] = (
    *(Rescale, Ceiling, Sign),
    *(InputArray, Param, Const),
    *(Linear, Sum, Scale),
    *(Transpose, Reshape, Broadcast, Slice, Pad, Concatenate, Reverse),
    *(Dot, Gate),
    *(Next, Draw, Residue),
    *(Range, TableFunction, OneHot, Largest, First, Divide, Root, Paced),
    Window,
)
BY_NAME = {operation.name: operation for operation in OPERATIONS}
