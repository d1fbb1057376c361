"""Each check of the verifier, by the least thing that it refuses and the most that it lets pass: see ``refusals.py``."""

import pytest
from refusals import GROUPS


@pytest.mark.parametrize("group", GROUPS, ids=lambda group: group.__name__)
def test_refusals(group):
    cases = list(group())
    assert cases
    for case in cases:
        case.run()
