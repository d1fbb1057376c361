"""The prover: tensors, tables and commitments behind the messages."""

from ..memory import available_memory as available_memory
from .prove import memory_estimate as memory_estimate
