"""Rows of states in the prover's hands: before and after each step, and before their roundings, written out or folded.

Weights of the steps in between are never materialised for a proof: folds of W_t follow W_{t+1} e = W_t e - rate A_t^T (G_t e), and
those of a state with a recurrence its coefficients.
"""

from math import prod

import numpy as np

from ..algebra import extension as ext
from ..algebra import field
from ..circuit.recurrence import periods, rows
from ..ops.ranges import cut, signed_bound
from ..protocol.motion import ROWS
from ..protocol.states import rates


def tensors(circuit, hats: dict, states: dict, final: tuple) -> dict:
    """What is committed and looked up of states with a recurrence. hats: those between periods, by state; states: ("moved", s)."""
    found = {}
    for s in circuit.recurrent:
        recurrence, remainders = circuit.parameters[s].recurrence, states["moved", s]
        sides = [("final", final[s], remainders[-1])]
        sides += [("hat", hats[s], remainders[:-1])] if s in hats else []
        for kind, h, remainder in sides:
            bits = recurrence.bits + 1
            found |= cut((f"{kind} remainder", s), remainder, recurrence.end, circuit.table_bits)
            found |= cut((f"{kind} range", s), h + signed_bound(bits), bits, circuit.table_bits)
        if s in hats:
            found["hat", s] = hats[s]
    return found


def values(prover, kind: str, p: int) -> np.ndarray:
    """A state before ("param") or after ("next") each step, int64 (steps, ...)."""
    parameter = prover.circuit.parameters[p]
    if parameter.recurrence is None:
        current, stacked = prover.initial[p].astype(np.int64) << prover.plan.shifts[p], []
        changes = [(update, prover.values(update.node)) for update in parameter.updates]
        for t in range(prover.steps):
            stacked.append(current)
            for update, change in changes:
                current = current - update.rate(prover.plan.first_step + t) * change[t]
        return np.stack(stacked)
    stacked, which = [], ("param", "next").index(kind)
    for k, (start, length) in enumerate(periods(prover.plan.first_step, prover.steps, prover.circuit.period)):
        found, a = rows(prover.circuit, p, start, length), start - prover.plan.first_step
        held = {r: _held(prover, r, k) for r in found.states}
        fed = {(q, f): prover.values(prover.circuit.parameters[q].recurrence.feeds[f][0])[a : a + length] for q, f in found.feeds}
        stacked += [found.value(which, j, held, fed, length) for j in range(length)]
    return np.stack(stacked)


def _held(prover, r: int, k: int) -> np.ndarray:
    """A state with a recurrence as it is rounded at the beginning of period k."""
    return prover.hats[r][k - 1] if k else prover.initial[r].astype(np.int64) << prover.plan.shifts[r]


def fold(prover, kind: str, p: int, groups, kept):
    """A state before ("param") or after ("next") each step, or before its roundings ("inner", "last"), folded."""
    parameter = prover.circuit.parameters[p]
    if parameter.recurrence is not None:
        return _fold_moved(prover, kind, p, groups, kept)
    current = tuple(c[0] for c in _fold_start(prover, p, groups, kept))
    changes = None
    for update in parameter.updates:
        rate = rates(update, prover.plan.first_step, prover.plan.steps).reshape(-1, *(1,) * len(kept))
        change = ext.mul_base(tuple(np.asarray(c) for c in prover.fold(update.node, groups, kept)), rate)
        changes = change if changes is None else ext.add(changes, change)
    rows = []
    for t in range(prover.plan.steps):
        rows.append(current)
        if changes is not None:
            current = tuple(field.sub(c[None], d[None, t])[0] for c, d in zip(current, changes, strict=True))
    return tuple(np.stack([row[c] for row in rows]) for c in range(2))


def _fold_start(prover, p: int, groups, kept):
    """The state at the chunk's beginning, folded: K (1, kept axes)."""
    shift = prover.plan.shifts[p]
    folded = prover.fold_array(prover.initial[p][None], groups, kept, (prover.bounds.inside[p] >> shift).bit_length())
    return ext.mul_base(folded, np.array([2**shift], dtype=np.uint64))


def _fold_held(prover, r: int, groups, kept, flat):
    """A state as it is rounded at the beginnings of all periods, folded: K (periods, kept axes)."""
    parts = [_fold_start(prover, r, groups, kept)]
    if r in prover.hats:
        parts.append(prover.fold_array(prover.hats[r], groups, kept, prover.circuit.parameters[r].recurrence.bits + 1))
    return tuple(np.concatenate([np.asarray(x[c]).reshape(flat) for x in parts]) for c in range(2))


def _fold_moved(prover, kind: str, s: int, groups, kept):
    """Of a state with a recurrence: the rounded states and the feeds, folded, times its coefficients."""
    motion, flat = prover.plan.motions[s], (-1, prod(prover.circuit.parameters[s].shape[d] for d in kept))
    held, fed = {}, {}
    for r in motion.states:
        held[r] = prover.once(("held", r, *kept), groups, lambda r=r: _fold_held(prover, r, groups, kept, flat), prover.folded)
    for q, f in motion.feeds:
        folded = prover.fold(prover.circuit.parameters[q].recurrence.feeds[f][0], groups, kept)
        fed[q, f] = tuple(np.asarray(c).reshape(flat) for c in folded)
    rows, last = [], len(motion.spans) - 1
    for k, (a, n) in enumerate(motion.spans):
        if kind == "inner" and k == last or kind == "last" and k < last:
            continue
        total = None
        for r, columns in motion.states.items():
            part = ext.mul_base(tuple(c[k][None] for c in held[r]), columns[ROWS[kind]][k][:, None])
            total = part if total is None else ext.add(total, part)
        for name, matrices in motion.feeds.items():
            block = matrices[ROWS[kind]][k]
            total = ext.add(total, ext.sum(ext.mul_base(tuple(c[None, a : a + n] for c in fed[name]), block[:, :, None]), axis=1))
        rows.append(total)
    shape = (-1, *(prover.circuit.parameters[s].shape[d] for d in kept))
    return tuple(np.concatenate([row[c] for row in rows]).reshape(shape) for c in range(2))
