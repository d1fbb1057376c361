"""States with a recurrence while a circuit is trained: moved period by period, as ``circuit.recurrence`` defines them."""

import numpy as np

from ..algebra import exact
from ..circuit import recurrence
from ..circuit.circuit import Circuit
from ..errors import PrecisionError
from ..kernels.threads import in_parallel
from ..ops.leaves import Next, Param
from ..ops.ranges import signed_bound

BLOCK = 2**15  # entries that are added up at once: they stay in a core's cache


def combination(terms: list[tuple[int, np.ndarray]], shape: tuple[int, ...]) -> np.ndarray:
    """The sum of integer * array, int64; in one pass over each array."""
    result, flat = np.zeros(shape, dtype=np.int64), [(c, x.reshape(-1)) for c, x in terms]
    out = result.reshape(-1)

    def add(blocks):
        product = np.empty(min(BLOCK, out.size), dtype=np.int64)
        for i in blocks:
            part = slice(i * BLOCK, (i + 1) * BLOCK)
            for c, x in flat:
                here = product[: out[part].size]
                np.multiply(x[part], c, out=here)
                out[part] += here

    in_parallel(add, -(-out.size // BLOCK))
    return result


class Moving:
    """The states with a recurrence of a chunk: rounded at the start of the present period, and what has been fed since.

    held: by state, int64 arrays. roundings: by state, for every period that has ended the rounded state and the remainder.
    """

    def __init__(self, circuit: Circuit, initial, first_step: int, steps: int, xp):
        self.circuit = circuit
        self.periods = recurrence.periods(first_step, steps, circuit.period) if circuit.recurrent else []
        self.held = {s: xp.asarray(initial[s]) for s in circuit.recurrent}
        self.fed: dict[tuple[int, int], list] = {}
        self.roundings: dict[int, list] = {s: [] for s in circuit.recurrent}
        self.at, self.step = 0, 0  # periods that have ended, steps of the present one
        self._begin()
        reads = {(type(node.operation), node.operation.index) for node in circuit.nodes if isinstance(node.operation, Param | Next)}
        self.before = {s for s in circuit.recurrent if (Param, s) in reads}
        self.after = {s for s in circuit.recurrent if (Next, s) in reads}

    def _begin(self) -> None:
        """The coefficients of the period that begins now."""
        if self.at < len(self.periods):
            self.rows = {s: recurrence.rows(self.circuit, s, *self.periods[self.at]) for s in self.circuit.recurrent}
            self.fed = {(s, f): [] for s in self.circuit.recurrent for f in range(len(self.circuit.parameters[s].recurrence.feeds))}
            self.step = 0

    def _sum(self, s: int, which: int, steps: int):
        """Of state s the part that the rounded states and the first ``steps`` feeds of the period make."""
        terms = self.rows[s].terms(which, self.step, self.held, self.fed, steps)
        return combination([(c, np.asarray(x)) for c, x in terms if c], self.circuit.parameters[s].shape)

    def values(self, s: int):
        """State s before the present step; where no operation reads it, the rounded one."""
        return self._sum(s, 0, self.step) if s in self.before else self.held[s]

    def bases(self) -> tuple[list, list]:
        """For every state: itself after the step without the step's own feeds, and their coefficients."""
        arrays, coefficients = [], []
        for s in self.circuit.recurrent:
            arrays.append(self._sum(s, 1, self.step) if s in self.after else self.held[s])
            feeds = range(len(self.circuit.parameters[s].recurrence.feeds))
            coefficients.append(np.array([self.rows[s].feeds[s, f][1][self.step][self.step] for f in feeds], dtype=np.int64))
        return arrays, coefficients

    def feed(self, fed) -> None:
        """The feeds of the present step, which ends; at a period's end the states are rounded."""
        for s, arrays in zip(self.circuit.recurrent, fed, strict=True):
            for f, array in enumerate(arrays):
                self.fed[s, f].append(array)
        self.step += 1
        if self.circuit.recurrent and self.step == self.periods[self.at][1]:
            self._round()

    def _round(self) -> None:
        start, length = self.periods[self.at]
        following = {}
        for s in self.circuit.recurrent:
            parameter = self.circuit.parameters[s]
            found, total = parameter.recurrence, self._sum(s, 2, length)
            following[s] = exact.rescale(total, found.end)
            bound = signed_bound(found.bits + 1)
            low, high = (int(x) for x in (following[s].min(), following[s].max()))
            if low < -bound or high >= bound:
                raise PrecisionError(
                    f"after step {start + length - 1}: state {parameter.path} holds {high if high >= bound else low}, outside [{-bound}, "
                    f"{bound}), in which it is rounded; trace with more bits for it, or train with a smaller learning rate"
                )
            self.roundings[s].append((np.asarray(following[s]), np.asarray(exact.remainder(total, following[s], found.end))))
        self.held = following
        self.at += 1
        self._begin()

    def kept(self) -> dict:
        """What a proof needs: the states between periods, and the remainders of all roundings."""
        found = {}
        for s, roundings in self.roundings.items():
            if len(roundings) > 1:
                found["hat", s] = np.stack([h for h, _ in roundings[:-1]])
            found["moved", s] = np.stack([r for _, r in roundings])
        return found
