"""Constants that are worked out with more than arithmetic, as densities and solvers of jax.scipy have them, beside floating point."""

import math
from decimal import Decimal, localcontext

import jax
import jax.numpy as jnp
import optax
import pytest
from beside import followed
from harness import Liar
from test_idioms import PARAMS, T, X, squares

from zkjax.algebra import decimals
from zkjax.errors import UnsupportedOperationError
from zkjax.tracing.elementary import digamma, log_gamma

stats, MATRIX = jax.scipy.stats, jnp.eye(4) + 0.5 + 0.25 * jnp.arange(4.0)[:, None] * jnp.eye(4)
NORMAL = stats.multivariate_normal.logpdf
SKEW = jnp.array([[0.0, 2.0, 1.0, 0.5], [1.0, 0.5, 0.0, 0.0], [0.0, 1.0, 3.0, 1.0], [2.0, 0.0, 0.0, 1.0]])

FORMS = {
    "normal": lambda z: NORMAL(z, jnp.zeros(4), jnp.eye(4))[:, None],
    "normal, correlated": lambda z: NORMAL(z, jnp.ones(4), MATRIX)[:, None],
    "normal, in each row": lambda z: jax.vmap(lambda row: NORMAL(row, jnp.zeros(4), MATRIX))(z)[:, None],
    "t": lambda z: stats.t.logpdf(z, 3.0),
    "beta": lambda z: stats.beta.logpdf(jax.nn.sigmoid(z), 2.0, 3.0),
    "gamma": lambda z: stats.gamma.logpdf(jnp.exp(z), 2.5),
    "digamma": lambda z: z * jax.scipy.special.digamma(jnp.array([0.3, 2.5, 10.0, 100.0])) / 4,
    "nextafter": lambda z: z * jnp.nextafter(1.0, 2.0),
    "inverse": lambda z: z @ jnp.linalg.inv(SKEW),
    "solve": lambda z: jnp.linalg.solve(SKEW, z.T).T,
    "determinant": lambda z: z * jnp.linalg.slogdet(SKEW)[1] * jnp.linalg.slogdet(SKEW)[0],
    "triangles": lambda z: (
        jax.scipy.linalg.solve_triangular(SKEW + jnp.eye(4), z.T, trans=1, lower=True).T
        + jax.scipy.linalg.solve_triangular(SKEW + jnp.eye(4), z.T, unit_diagonal=True).T / 8
    ),
    "Cholesky's factor": lambda z: jax.scipy.linalg.cho_solve(jax.scipy.linalg.cho_factor(MATRIX), z.T).T,
}


@pytest.mark.parametrize("name", FORMS)
def test_constants_of_densities_and_solvers(name):
    _, run, off = followed(squares(FORMS[name]), optax.sgd(0.02), PARAMS, (X, T))
    assert off < 0.01 and Liar(run).broken() == set()


@pytest.mark.parametrize("x", ["0.1", "0.5", "1", "2", "2.5", "7.25", "31", "100.5", "-0.3", "-2.7", "1e-6", "29", "30"])
def test_gamma_functions(x):
    with localcontext(decimals.DIGITS):
        value, step = Decimal(x), Decimal("1e-12")
        assert math.isclose(log_gamma(value), math.lgamma(float(x)), rel_tol=1e-14, abs_tol=1e-15)
        assert abs(log_gamma(value + 1) - log_gamma(value) - abs(value).ln()) < Decimal("1e-30") * (1 + abs(log_gamma(value)))
        slope = (log_gamma(value + step) - log_gamma(value - step)) / (2 * step)
        assert abs(digamma(value) - slope) < Decimal("1e-9") * (1 + abs(slope))


@pytest.mark.parametrize(
    "form, message",
    [
        (lambda z: z @ jnp.linalg.inv(z[:4].T @ z[:4]), "lu|matrix"),
        (lambda z: jax.scipy.linalg.solve_triangular(z[:, :4].T @ z + jnp.eye(4), T[:4]), "matrix depends on data"),
        (lambda z: z * jax.scipy.linalg.solve_triangular(jnp.zeros((4, 4)), jnp.ones(4)), "no inverse"),
        (lambda z: z + jnp.linalg.cholesky(-jnp.eye(4)), "not finite"),
    ],
)
def test_what_has_no_such_numbers(form, message):
    with pytest.raises(UnsupportedOperationError, match=message):
        followed(squares(form), optax.sgd(0.1), PARAMS, (X, T))
