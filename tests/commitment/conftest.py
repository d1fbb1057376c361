"""64-bit types, as the public functions switch them on."""

import jax
import pytest


@pytest.fixture(autouse=True)
def _enable_x64():
    with jax.enable_x64(True):
        yield
