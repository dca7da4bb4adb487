"""The number of threads: the function, the environment variable, the default, and threadpoolctl."""

import importlib
import re

import numpy as np
import pytest
from tables import each_row

import fastrnn
from fastrnn._core.checks import SettingError


@each_row("n", [0, -1, 257, 10**12])
def test_a_number_of_threads_out_of_range(n):
    before = fastrnn.get_num_threads()
    with pytest.raises(ValueError, match=rf"n must be at (least 1|most 256), got {n}"):
        fastrnn.set_num_threads(n)
    assert fastrnn.get_num_threads() == before


@each_row("n", [1.0, "2", None, True, [2], np.array([2])])
def test_values_that_are_not_a_number_of_threads(n):
    with pytest.raises(TypeError, match="n must be an integer, got "):
        fastrnn.set_num_threads(n)


@each_row("n", [1, 2, np.int32(3), 256])
def test_setting_the_number_of_threads(c, set_threads, n):
    set_threads(n)
    assert fastrnn.get_num_threads() == c.info()["threads"] == n
    # At most one thread for each panel of hidden units, which is a vector of them.
    isa = c.info()["isa"]
    panels = 512 // (16 if isa.startswith(("amx", "avx512")) else 8 if isa == "avx2" else 4)
    assert [plan.threads for plan in fastrnn.LSTM(8, 512, 2, backend="c").plan(20, 3)] == [min(n, panels)] * 2
    assert fastrnn.LSTM(8, 8, backend="c").plan(1, 1)[0].threads == 1


SHOW = "import fastrnn; print(fastrnn.get_num_threads(), fastrnn.LSTM(64, 512).plan(64, 32)[0].threads)"


@pytest.mark.parametrize("n", [pytest.param("1", marks=pytest.mark.slow), pytest.param("2", marks=pytest.mark.slow), "3"])
def test_threads_from_the_environment(c, run_python, n):
    assert run_python(SHOW, FASTRNN_NUM_THREADS=n).stdout.split() == [n, n]


def test_threads_by_default_are_the_processors_that_may_be_used(c, run_python):
    program = "import os; os.sched_setaffinity(0, list(os.sched_getaffinity(0))[:1])\n" + SHOW
    assert run_python(program, FASTRNN_NUM_THREADS="").stdout.split() == ["1", "1"]


def test_bad_threads_in_the_environment(c, run_python, monkeypatch):
    library = importlib.import_module("fastrnn.backends._c.library")

    def error_of(value):
        return f"FASTRNN_NUM_THREADS must be an integer from 1 to 256, got {value!r}"

    for value in ("0", "-1", "two", "1.5", "²", " "):
        monkeypatch.setenv("FASTRNN_NUM_THREADS", value)
        with pytest.raises(SettingError, match=f"^{re.escape(error_of(value))}$"):
            type(library.settings)()
    error = run_python(SHOW, fails=True, FASTRNN_NUM_THREADS="two").stderr
    assert error.splitlines()[-1] == f"fastrnn._core.checks.SettingError: {error_of('two')}"


def test_threadpoolctl_sees_limits_and_restores(c, set_threads):
    threadpoolctl = pytest.importorskip("threadpoolctl")

    def seen():
        (pool,) = [pool for pool in threadpoolctl.threadpool_info() if pool["user_api"] == "fastrnn"]
        return pool

    set_threads(3)
    assert seen()["num_threads"] == 3
    assert seen()["version"] == fastrnn.__version__
    layer = fastrnn.LSTM(64, 512, backend="c")
    with threadpoolctl.threadpool_limits(1):
        assert (seen()["num_threads"], fastrnn.get_num_threads(), layer.plan(64, 32)[0].threads) == (1, 1, 1)
    assert (seen()["num_threads"], fastrnn.get_num_threads(), layer.plan(64, 32)[0].threads) == (3, 3, 3)
    with threadpoolctl.threadpool_limits(2, user_api="fastrnn"):
        assert fastrnn.get_num_threads() == 2
    with threadpoolctl.threadpool_limits(1, user_api="blas"):
        assert fastrnn.get_num_threads() == 3
    assert fastrnn.get_num_threads() == 3


@pytest.mark.parametrize("first", ["threadpoolctl, fastrnn", pytest.param("fastrnn, threadpoolctl", marks=pytest.mark.slow)])
def test_threadpoolctl_limits_before_the_first_use(c, run_python, first):
    pytest.importorskip("threadpoolctl")
    program = f"""
import {first}
with threadpoolctl.threadpool_limits(1):
    print(fastrnn.LSTM(64, 512).plan(64, 32)[0].threads)
print(fastrnn.LSTM(64, 512).plan(64, 32)[0].threads)
"""
    assert run_python(program, FASTRNN_NUM_THREADS="2").stdout.split() == ["1", "2"]
