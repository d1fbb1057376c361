"""The operations of a circuit, one home for each or for a small family.

Their order is the protocol's: committed cells and lookups are laid out operation by operation, and within one node by node.
"""

from .arithmetic import Linear, Scale, Sum
from .draw import Draw
from .leaves import Const, InputArray, Next, Param
from .moves import Broadcast, Concatenate, Pad, Reshape, Reverse, Slice, Transpose
from .operation import Operation
from .products import Dot, Gate
from .rescale import Rescale, Sign

OPERATIONS: tuple[type[Operation], ...] = (
    *(Rescale, Sign),
    *(InputArray, Param, Const),
    *(Linear, Sum, Scale),
    *(Transpose, Reshape, Broadcast, Slice, Pad, Concatenate, Reverse),
    *(Dot, Gate),
    *(Next, Draw),
)
BY_NAME = {operation.name: operation for operation in OPERATIONS}
