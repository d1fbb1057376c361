"""The circuit: a training step as a graph of operations, its file, and what people are told of it."""

from .circuit import Circuit as Circuit
