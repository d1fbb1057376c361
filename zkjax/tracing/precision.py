"""What a user may set: the fixed-point formats of a circuit and the security parameters of a proof."""

from dataclasses import dataclass

from ..errors import ConfigurationError


@dataclass(frozen=True, kw_only=True)
class Precision:
    """Fixed-point formats; None lets ``zkjax.trace`` choose from the batch and parameters that it is given, and make what it
    chose coarser where bounds would leave the field.

    activation_scale: bits after the point of activations and data, 1 to 24; default: 8, or fewer.
    activation_bits:  activations are integers in [-2^bits, 2^bits): range 2^(bits - scale). 1 to 19; default: scale + 3, or more
                      where the batch's activations would have less than two bits of headroom.
    gradient_scale:   bits after the point of gradients, 0 to 40; default: a range of +-4 divided by the loss's mean divisor.
    gradient_bits:    as activation_bits, for gradients. 1 to 19; default: 13, or more as there.
    data_bits:        bits of each input array, in the loss function's order, 1 to 19; default: from the batch, with one spare bit.
    rate_tolerance:   relative error allowed in rounding the rates of a schedule, below 1, to multiples of a power of two times the
                      largest rate, which is kept within 2^-12. Rates below a sixteenth of the largest may be off by this share
                      of that sixteenth, and become 0. Short binary fractions stay exact.
    table_bits:       width of the largest lookup table, 4 to 20; default: the cheapest for the planned chunk.
    """

    activation_scale: int | None = None
    activation_bits: int | None = None
    gradient_scale: int | None = None
    gradient_bits: int | None = None
    data_bits: tuple[int, ...] | None = None
    rate_tolerance: float = 0.05
    table_bits: int | None = None

    def __post_init__(self) -> None:
        ranges = (("activation_scale", 1, 24), ("activation_bits", 1, 19), ("gradient_scale", 0, 40), ("gradient_bits", 1, 19))
        for name, low, high in ranges:
            value = getattr(self, name)
            if value is not None and not low <= value <= high:
                raise ConfigurationError(f"{name} is {value}; choose {low} to {high}")
        if self.data_bits is not None:
            object.__setattr__(self, "data_bits", tuple(self.data_bits))
            if not all(1 <= b <= 19 for b in self.data_bits):
                raise ConfigurationError(f"data_bits is {self.data_bits}; choose 1 to 19 bits for each array of the batch")
        if not 0 <= self.rate_tolerance < 1:
            raise ConfigurationError(f"rate_tolerance is {self.rate_tolerance}; choose at least 0 and less than 1")
        if self.table_bits is not None and not 4 <= self.table_bits <= 20:
            raise ConfigurationError(f"table_bits is {self.table_bits}; choose 4 to 20")
