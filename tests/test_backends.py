"""The fast backends against the reference, by value, as users call them.

Bit-for-bit promises are in test_determinism, the reference's own correctness in test_reference.
"""

import inspect
import warnings
from dataclasses import replace

import cases
import numpy as np
import pytest
from fast_backends import EVERY_BACKEND
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import fastrnn
from fastrnn import backends, sampling
from fastrnn.backends.base import Backend
from fastrnn.backends.structs import Plan, StackSpec

TOLERANCE = {"float64": 1e-10, "float32": 2e-5}
SLOW = pytest.mark.slow
EVERY_CELL = pytest.mark.parametrize("variant", cases.CELLS, ids=cases.name)
EVERY_DTYPE = pytest.mark.parametrize("dtype", TOLERANCE)
METHODS = [name for name, value in inspect.getmembers(Backend, inspect.isfunction) if not name.startswith("_")]


def _results(backend, case_of, options):
    """Return all outputs and gradients of a case for each of the options, in one dict."""
    results = {}
    for option in options:
        for key, value in cases.run(backend, case_of(option)).items():
            results[f"{key} ({cases.name(option)})"] = value
    return results


def _assert_agree_on(engines, case_of, options, tolerance):
    """Assert that these engines agree with the reference; an error names the engine."""
    wanted = _results("reference", case_of, options)
    for backend, isa in engines:
        results = _results(backend, case_of, options), wanted
        cases.assert_agree(*({f"{isa or backend}: {key}": r[key] for key in r} for r in results), tolerance)


# T, B, I, H: all sizes 1; no multiple of a vector; several tiles of rows; several panels of units; and hidden units of which
# one is in the last vector, whatever its length, with several panels of x.
@EVERY_DTYPE
@pytest.mark.parametrize(
    "size",
    [
        (3, 1, 1, 1),
        (5, 3, 4, 6),
        pytest.param((9, 13, 33, 40), marks=SLOW),
        pytest.param((5, 3, 17, 100), marks=SLOW),
        pytest.param((4, 50, 8, 130), marks=SLOW),
        pytest.param((3, 29, 65, 33), marks=SLOW),
        pytest.param((20, 2, 150, 17), marks=SLOW),
    ],
    ids=str,
)
@EVERY_CELL
def test_every_option_agrees_with_the_reference(every_isa, variant, size, dtype):
    def case_of(option):
        return cases.make_case(variant, *size, dtype, **option, seed=size[3])

    _assert_agree_on(every_isa, case_of, cases.OPTIONS, TOLERANCE[dtype])


# Two threads split this size over the batch. x has several panels, of 4 vectors or of 3, one hidden unit is in the last
# vector, and an LSTM's gates exceed FETCH_AHEAD_BYTES, so the next columns are fetched.
@EVERY_DTYPE
@EVERY_CELL
def test_whole_and_split_passes_agree_with_the_reference(engine, variant, dtype, request):
    options = [cases.OPTIONS[0], {"bias": True, "lengths": False, "reverse": False, "ids": False}]

    def case_of(option):
        return cases.make_case(variant, 7, 80, 150, 129, dtype, **option)

    wanted = _results("reference", case_of, options)
    for threads, split in ((1, "none"), (2, "batch")) if engine == "c" else ((1, "none"),):
        if engine == "c":
            request.getfixturevalue("set_threads")(threads)
            plan = backends.load("c").plan(StackSpec(case_of(options[0]).spec), 7, 80)[0]
            assert (plan.split, plan.threads) == (split, threads)
        cases.assert_agree(_results(engine, case_of, options), wanted, TOLERANCE[dtype])


# Only in float64, because over so many steps a peephole's gradient in float32 depends on the last bits of the input.
@pytest.mark.parametrize("options", [cases.OPTIONS[0], cases.OPTIONS[6], cases.OPTIONS[-1]], ids=cases.name)
@EVERY_CELL
def test_long_sequences_agree_with_the_reference(every_isa, variant, options):
    _assert_agree_on(
        every_isa, lambda option: cases.make_case(variant, 150, 3, 5, 7, **option), [options], TOLERANCE["float64"]
    )


@st.composite
def _any_case(draw, largest):
    """Draw a case of any cell, options, lengths (also 0), and sizes (T, B, I, H) up to ``largest``; B may be 0."""
    sizes = zip((1, 0, 1, 1), largest, "TBIH", strict=True)
    T, B, I, H = (draw(st.integers(low, n), label=letter) for low, n, letter in sizes)  # noqa: E741
    options = {key: draw(st.booleans(), label=key) for key in ("bias", "reverse", "ids")}
    lengths = draw(st.none() | st.lists(st.integers(0, T), min_size=B, max_size=B), label="lengths")
    variant = draw(st.sampled_from(cases.CELLS), label="cell")
    return cases.make_case(
        variant, T, B, I, H, draw(st.sampled_from(list(TOLERANCE))), P=draw(st.integers(1, H)),
        lengths=False if lengths is None else lengths, seed=draw(st.integers(0, 99)), **options,
    )  # fmt: skip


# Hypothesis warns of function-scoped fixtures; the engine is the same for all examples of a test.
ANY = {"suppress_health_check": [HealthCheck.function_scoped_fixture], "derandomize": True}


@settings(max_examples=40, **ANY)
@given(case=_any_case((6, 7, 9, 20)))
def test_any_small_case_agrees_with_the_reference(engine, case):
    cases.assert_agree(cases.run(engine, case), cases.run("reference", case), TOLERANCE[case.spec.dtype])


@SLOW
@settings(max_examples=300, **ANY)
@given(case=_any_case((20, 60, 80, 150)))
def test_any_case_agrees_with_the_reference(engine, case):
    cases.assert_agree(cases.run(engine, case), cases.run("reference", case), TOLERANCE[case.spec.dtype])


@EVERY_CELL
def test_inference_and_parts_left_out_agree_with_the_reference(engine, variant):
    case = cases.make_case(variant, 5, 4, 3, 7, lengths=True, reverse=True)
    wanted = cases.forward("reference", case, keep_tape=False)
    got = cases.forward(engine, case, keep_tape=False)
    assert got.tape is None
    names = [key for key in got._fields if key != "tape"]
    cases.assert_agree(*({key: getattr(out, key) for key in names} for out in (got, wanted)), 1e-12)
    for missing in ("dy", "dh_n", "dc_n", "dc", "h0", "c0"):
        if getattr(case, missing) is not None:
            some = replace(case, **{missing: None})
            cases.assert_agree(cases.run(engine, some), cases.run("reference", some), 1e-12)
    all_of_them = cases.backward(cases.forward(engine, case).tape, case)._asdict()
    without = cases.backward(cases.forward(engine, case).tape, case, need_dx=False)._asdict()
    assert without.pop("dx") is None
    for key, value in without.items():
        np.testing.assert_array_equal(value, all_of_them[key], err_msg=key)


@EVERY_CELL
@EVERY_DTYPE
def test_huge_inputs_saturate_without_a_warning(engine, variant, dtype):
    case = cases.make_case(variant, 4, 5, 3, 20, dtype)
    case.x *= 1e30 if dtype == "float32" else 1e200
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        got, wanted = cases.run(engine, case), cases.run("reference", case)
    assert all(np.isfinite(value).all() for value in got.values())
    cases.assert_agree(got, wanted, TOLERANCE[dtype])


# The base class of backends, and the choice of a backend.


@pytest.mark.parametrize("name", backends.available())
def test_every_backend_has_the_signatures_of_the_base_class(name):
    def parameters(function):
        return [(p.name, p.kind, p.default) for p in inspect.signature(function).parameters.values()]

    backend = backends.load(name)
    assert backend.name == name
    for method in METHODS:
        assert parameters(getattr(type(backend), method)) == parameters(getattr(Backend, method)), method


def test_the_base_class_has_the_methods_that_are_compared():
    assert {"settings", "prepare", "forward", "backward", "plan"} < set(METHODS)
    assert {"prepare_linear", "linear_forward", "linear_backward"} < set(METHODS)


def _stack(backend, variant, dtype, embedding):
    """Return a prepared stack of two layers of 19 units, on an embedding of size 5 or on ids of 7 tokens, and its spec."""
    below = cases.make_case(variant, 1, 1, 5 if embedding else 7, 19, dtype)
    above = cases.make_case(variant, 1, 1, below.spec.output_size, 19, dtype, seed=1)
    spec = StackSpec(below.spec, 2)
    return backend.prepare(spec, [below.params, above.params]), spec


def _request(spec, dtype, embedding, choice):
    """Return a request for three samples of 25 tokens out of 7, from states that are not zero."""
    rng = np.random.default_rng(3)

    def normal(*shape):
        return rng.standard_normal(shape).astype(dtype)

    cell = spec.cell
    return sampling.Request(
        prime=np.array([[-1, 3, 0], [6, -1, 2]]),
        uniforms=rng.random((25, 3)),
        h0=normal(2, 3, cell.output_size),
        c0=normal(2, 3, cell.hidden_size) if cell.cell == "lstm" else None,
        embedding=normal(7, 5) if embedding else None,
        weight=normal(7, cell.output_size),
        bias=normal(7),
        choice=choice,
    )


CHOICES = [sampling.PLAIN, sampling.Choice(0.7, top_k=4, top_p=0.9), sampling.Choice(greedy=True)]


@pytest.mark.parametrize("embedding", [False, True], ids=["ids", "embedding"])
@EVERY_DTYPE
@EVERY_CELL
def test_generate_of_c_is_the_plain_loop_over_the_reference(isa, variant, dtype, embedding):
    c, reference = backends.load("c"), backends.load("reference")
    (own, spec), (plain, _) = (_stack(backend, variant, dtype, embedding) for backend in (c, reference))
    for choice in CHOICES:
        request = _request(spec, dtype, embedding, choice)
        endless = reference.generate(plain, request)
        for eos in (sampling.NOTHING, int(endless.tokens[10, 0])):
            request = replace(request, eos=eos)
            got, wanted = c.generate(own, request), reference.generate(plain, request)
            np.testing.assert_array_equal(got.tokens, wanted.tokens, strict=True)
            # The states of an ended sample differ: the library stops its steps, while the plain loop continues and ignores
            # them.
            going = got.tokens[-1] != sampling.NOTHING
            assert going[0] == (eos == sampling.NOTHING)
            for a, b in ((got.h_n, wanted.h_n), (got.c_n, wanted.c_n)):
                if b is not None:
                    np.testing.assert_allclose(a[:, going], b[:, going], rtol=0, atol=TOLERANCE[dtype])


@EVERY_BACKEND
def test_plan_names_what_runs(backend):
    spec = cases.make_case(cases.CELLS[6], 1, 1, 1, 1).spec
    (plan,) = backends.load(backend).plan(StackSpec(spec), 1, 1)
    assert plan == Plan(backend, plan.isa, "none", 1)
    assert plan.isa in ("amx", "avx512bf16", "avx512vnni", "avx512", "avx2", "base", "neondot", "neon")


COMPARE = """
import cases, fastrnn
from fastrnn.backends import load
from fastrnn.backends._c import backend as c
from fastrnn.backends.structs import StackSpec
for variant in cases.CELLS:
    case = cases.make_case(variant, 5, 7, 6, 19, "float32", lengths=True)
    cases.assert_agree(cases.run("c", case), cases.run("reference", case), 2e-5)
print(c.info()["isa"], load("c").plan(StackSpec(case.spec), 5, 7)[0].isa, fastrnn.LSTM(1, 1, backend="c").plan(1, 1)[0].isa)
"""


def test_isa_from_the_environment(c, run_python):
    isa = c.isa_names()[-1]
    assert run_python(COMPARE, FASTRNN_ISA=isa).stdout.split() == [isa] * 3
    assert run_python(COMPARE, FASTRNN_ISA="").stdout.split() == [c.isa_names()[0]] * 3


def test_unknown_isa_in_the_environment(c, run_python):
    done = run_python("import fastrnn; fastrnn.LSTM(1, 1, backend='c')", fails=True, FASTRNN_ISA="mmx")
    names = ", ".join(c.isa_names())
    expected = f"fastrnn._core.checks.SettingError: FASTRNN_ISA must be one of {names} on this processor, got 'mmx'"
    assert done.returncode != 0
    assert done.stderr.splitlines()[-1] == expected
    assert done.stderr.count("Traceback") == 1


def test_unknown_isa(c):
    with pytest.raises(ValueError, match=f"isa must be one of .*'{c.isa_names()[-1]}', got 'mmx'"):
        c.set_isa("mmx")


@pytest.mark.parametrize("name", backends.available())
def test_the_backend_in_use(name):
    layer = fastrnn.RNN(3, 2)
    with fastrnn.use_backend(name):
        assert backends.current().name == name
        assert layer.plan(2, 1)[0].backend == name
        assert np.isfinite(layer(np.ones((2, 1, 3), np.float32))[0]).all()


def test_a_backend_that_does_not_exist():
    with pytest.raises(ValueError, match=r"backend must be one of c, numba, reference, got 'gpu'"):
        fastrnn.use_backend("gpu")


def test_the_backend_in_use_is_restored_after_an_error():
    before = backends.current().name
    with pytest.raises(KeyError), fastrnn.use_backend("reference"):
        raise KeyError
    assert backends.current().name == before


WITHOUT_C = """
import sys
sys.modules["fastrnn._fastrnn"] = None  # as where nothing was compiled
import fastrnn
from fastrnn import backends
print(*backends.available(), backends.current().name)
fastrnn.use_backend("c")
"""


def test_a_missing_backend_is_passed_over_unless_asked_for(run_python):
    done = run_python(WITHOUT_C, fails=True)
    rest = [name for name in backends.available() if name != "c"]
    assert done.stdout.split() == [*rest, rest[0]]
    assert "BackendUnavailable: backend 'c' is not available: " in done.stderr.splitlines()[-1]


def test_a_missing_backend_in_the_environment_is_an_error(run_python):
    program = WITHOUT_C.replace("print(", "fastrnn.RNN(1, 1).plan(1, 1); print(")
    done = run_python(program, fails=True, FASTRNN_BACKEND="c")
    assert "BackendUnavailable: backend 'c' is not available: " in done.stderr.splitlines()[-1]
