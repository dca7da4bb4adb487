"""The deliberate faults of ``faults.py`` can still be made: a changed source would leave one out unnoticed."""

from faults import FAULTS, ROOT
from tables import each_row


@each_row("fault", FAULTS, ids=lambda fault: fault.name)
def test_the_line_of_a_fault_occurs_once(fault):
    assert (ROOT / fault.file).read_text(encoding="utf-8").count(fault.right) == 1
