"""Denormal numbers: the caller's floating-point mode is left alone, and denormal inputs are as good as zero."""

import cases
import numpy as np
import pytest
from at_once import at_once


def _denormal_is_kept():
    return np.float32(1e-40) * np.float32(1) != 0 and np.float64(1e-310) * np.float64(1) != 0


def test_the_callers_floating_point_mode_is_left_alone(engine):
    case = cases.make_case(cases.CELLS[6], 6, 50, 9, 100, "float32")
    assert _denormal_is_kept()
    cases.run(engine, case)
    assert _denormal_is_kept()
    assert at_once([lambda: (cases.run(engine, case), _denormal_is_kept())[1]] * 3) == [True] * 3


def test_a_caller_that_flushes_denormals_goes_on_doing_so(engine):
    torch = pytest.importorskip("torch")
    if not torch.set_flush_denormal(True):
        pytest.skip("torch cannot flush denormals here")
    try:
        cases.run(engine, cases.make_case(cases.CELLS[6], 6, 50, 9, 100, "float32"))
        assert not _denormal_is_kept()
    finally:
        torch.set_flush_denormal(False)


@pytest.mark.parametrize("variant", cases.CELLS, ids=cases.name)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_denormal_inputs_are_as_good_as_zero(engine, variant, dtype):
    tiny = 1e-40 if dtype == "float32" else 1e-310
    case = cases.make_case(variant, 5, 7, 6, 19, dtype)
    for key in ("h0", "c0", "dh_n", "dc_n", "dc"):
        if getattr(case, key) is not None:
            getattr(case, key).fill(0)
    case.x.fill(tiny)
    got = cases.run(engine, case)
    case.x.fill(0)
    wanted = cases.run(engine, case)
    for key in wanted:
        np.testing.assert_allclose(got[key], wanted[key], rtol=0, atol=1e-30, err_msg=key)
