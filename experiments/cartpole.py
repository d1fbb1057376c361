"""CartPole, by its equations (Barto, Sutton, Anderson 1983): a pole on a cart that is pushed to the left or right has to stay upright."""

import numpy as np

GRAVITY, CART, POLE, HALF, FORCE, SECONDS = 9.8, 1.0, 0.1, 0.5, 10.0, 0.02  # masses, half the pole's length, push, of one step
FURTHEST, STEEPEST = 2.4, np.radians(12)  # where an episode ends


def pushed(states: np.ndarray, actions: np.ndarray) -> np.ndarray:
    """One step of Euler's method: states are places, speeds, angles and angular speeds; actions 0 (left) or 1."""
    place, speed, angle, turning = states.T
    force, whole = np.where(actions, FORCE, -FORCE), CART + POLE
    thrust = (force + POLE * HALF * turning**2 * np.sin(angle)) / whole
    turned = (GRAVITY * np.sin(angle) - np.cos(angle) * thrust) / (HALF * (4 / 3 - POLE * np.cos(angle) ** 2 / whole))
    moved = thrust - POLE * HALF * turned * np.cos(angle) / whole
    return states + SECONDS * np.stack([speed, moved, turning, turned], axis=1)


def fallen(states: np.ndarray) -> np.ndarray:
    """Whether an episode has ended."""
    return (np.abs(states[:, 0]) > FURTHEST) | (np.abs(states[:, 2]) > STEEPEST)


def begun(count: int, rng) -> np.ndarray:
    """First states."""
    return rng.uniform(-0.05, 0.05, (count, 4))


def transitions(count: int, carts: int = 64, seed: int = 0) -> tuple[np.ndarray, ...]:
    """(states, actions, next states, whether the pole has fallen there) under random pushes, in random order."""
    rng, found = np.random.default_rng(seed), []
    states = begun(carts, rng)
    for _ in range(-(-count // carts)):
        actions = rng.integers(0, 2, carts)
        after = pushed(states, actions)
        ended = fallen(after)
        found.append((states, actions, after, ended))
        states = np.where(ended[:, None], begun(carts, rng), after)
    order = rng.permutation(carts * len(found))[:count]
    states, actions, after, ended = (np.concatenate(x)[order] for x in zip(*found, strict=True))
    return states.astype(np.float32), actions.astype(np.int32), after.astype(np.float32), ended


def balanced(policy, episodes: int = 32, limit: int = 500) -> float:
    """Steps until the pole has fallen under ``policy(states) -> actions``, the mean of some episodes."""
    states, standing, steps = begun(episodes, np.random.default_rng(1)), np.ones(episodes, bool), 0
    for _ in range(limit):
        states = pushed(states, policy(states.astype(np.float32)))
        standing &= ~fallen(states)
        steps += int(standing.sum())
    return steps / episodes
