"""The deliberate faults of ``faults.py`` can still be made: a changed source would leave one out unnoticed."""

import pytest
from faults import FAULTS, ROOT


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_the_line_of_a_fault_occurs_once(fault):
    assert (ROOT / fault.file).read_text(encoding="utf-8").count(fault.right) == 1
