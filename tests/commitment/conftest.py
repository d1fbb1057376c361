"""64-bit types, as the public functions switch them on."""

import pytest

from zkjax.kernels.threads import scope


@pytest.fixture(autouse=True)
def _enable_x64():
    with scope():
        yield
