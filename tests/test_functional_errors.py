"""Bad arguments of the functional API: one error each, which names the argument, what was expected and what came.

Unusual but valid arguments work: strided, read-only and unaligned arrays, and every kind of integer.
"""

import re
from dataclasses import fields, replace

import cases
import numpy as np
import pytest
from tables import each_row

from fastrnn import backends, functional
from fastrnn.backends.structs import Weights

T, B, I, H, P = 3, 2, 4, 5, 3  # noqa: E741
GATES = {"rnn": 1, "gru": 3, "lstm": 4}
FORWARD = {cell: getattr(functional, f"{cell}_forward") for cell in GATES}
BACKWARD = {cell: getattr(functional, f"{cell}_backward") for cell in GATES}
EVERY_CELL = each_row("cell", GATES)


def _floats(*shape):
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


def _arguments(cell, **changes):
    rows = GATES[cell] * H
    arrays = {"x": (T, B, I), "h0": (B, H), "W": (rows, I), "R": (rows, H), "b_ih": (rows,), "b_hh": (rows,)}
    if cell == "lstm":
        arrays["c0"] = (B, H)
    return {key: _floats(*shape) for key, shape in arrays.items()} | changes


def _shown(value):
    """Return an array's description as in the error messages."""
    return re.escape(f"{value.dtype} array of shape {value.shape}")


def _fails(error, pattern, cell, **changes):
    with pytest.raises(error, match=f"^{pattern}$") as raised:
        FORWARD[cell](**_arguments(cell, **changes))
    assert type(raised.value) is error


# What each array must be, in the words of the message.
def _expected(cell, name):
    rows = GATES[cell] * H
    matrix = "a non-empty float32 or float64 array of two axes"
    return {
        "x": rf"an array|a float32 array of shape \[T, B, I={I}\] or integer token ids \[T, B\]",
        "h0": rf"a float32 array of shape \[B, Y\] = \({B}, {H}\)",
        "c0": rf"a float32 array of shape \[B, H\] = \({B}, {H}\)",
        "W": rf"{matrix}|a float32 array of shape \({rows}, {I}\)",
        "R": rf"{matrix}|a float32 array of shape \({rows}, {H}\)",
        "b_ih": rf"a float32 array of shape \({rows},\)",
        "b_hh": rf"a float32 array of shape \({rows},\)",
    }[name]


ARRAYS = [(cell, name) for cell in GATES for name in _arguments(cell)]


@each_row(("cell", "name"), ARRAYS)
def test_objects_that_are_not_arrays(cell, name):
    good = _arguments(cell)[name]
    for bad, shown in ((good.tolist(), r"\[.*\.\.\."), (3, "3"), ("x", "'x'"), (memoryview(good), "<memory at .*>")):
        _fails(TypeError, f"{name} must be ({_expected(cell, name)}), got {shown}", cell, **{name: bad})


@each_row("dtype", ["float16", "float64", ">f4", "complex64", "bool", "object"])
@each_row(("cell", "name"), ARRAYS)
def test_wrong_dtypes(cell, name, dtype):
    bad = _arguments(cell)[name].astype(dtype)
    if (name, dtype) == ("W", "float64"):  # W sets the dtype: the others differ from it
        rows = GATES[cell] * H
        wanted = f"R must be a float64 array of shape \\({rows}, {H}\\), got {_shown(_arguments(cell)['R'])}"
        ways = r': write R\.astype\("float64"\), or give W, R and all other arrays in float32'
        _fails(TypeError, wanted + ways, cell, W=bad)
    else:
        ways = rf': write {name}\.astype\("float32"\)' if np.dtype(dtype).kind == "f" else ""
        ways += ", or give W, R and all other arrays in float64" if dtype == "float64" else ""
        _fails(TypeError, f"{name} must be ({_expected(cell, name)}), got {_shown(bad)}{ways}", cell, **{name: bad})


@each_row(("cell", "name"), ARRAYS)
def test_wrong_shapes(cell, name):
    good = _arguments(cell)[name]
    for bad in (good[None], good[..., 0], good[..., :-1], good[:0], np.concatenate([good, good], axis=-1)):
        if name == "x" and bad.ndim == 3 and bad.shape[2] == I:
            _fails(ValueError, _no_steps(bad), cell, x=bad)
            continue
        if name == "W" and bad.ndim == 2 and bad.size:  # a W of another width is a layer of another input size
            name_of_x = f"x must be a float32 array of shape \\[T, B, I={bad.shape[1]}\\] or integer token ids \\[T, B\\]"
            _fails(ValueError, f"{name_of_x}, got {_shown(_arguments(cell)['x'])}", cell, W=bad)
            continue
        else:
            wanted = f"{name} must be ({_expected(cell, name)})"
        _fails(ValueError, f"{wanted}, got {_shown(bad)}", cell, **{name: bad})


@EVERY_CELL
def test_states_with_axes_in_the_wrong_order(cell):
    bad = _floats(H, B)
    _fails(ValueError, rf"h0 must be .*\[B, Y\] = \({B}, {H}\), got {_shown(bad)}", cell, h0=bad)
    x = _floats(B, T, I)  # batch first: found by the state, whose B is another
    _fails(ValueError, rf"h0 must be .*\[B, Y\] = \({T}, {H}\), got .*", cell, x=x)


def _no_steps(x):
    way = "for sequences without steps use lengths of 0"
    return f"x must have at least one time step, got {_shown(x)}: {way}"


@EVERY_CELL
def test_no_steps(cell):
    for bad in (_floats(0, B, I), np.zeros((0, B), int), _floats(0, 0, I)):
        _fails(ValueError, _no_steps(bad), cell, x=bad, h0=None)


@EVERY_CELL
def test_one_bias_without_the_other(cell):
    for missing, given in (("b_ih", "b_hh"), ("b_hh", "b_ih")):
        wanted = f"{missing} must be given when {given} is: both biases or neither"
        _fails(ValueError, wanted, cell, **{missing: None})


@EVERY_CELL
def test_missing_arrays(cell):
    for name in ("x", "W", "R"):
        _fails(TypeError, f"{name} must be ({_expected(cell, name)}), got None", cell, **{name: None})


@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_weights_whose_rows_are_not_whole_gates(cell):
    bad = _floats(GATES[cell] * H + 1, I)
    wanted = f"W must have G\\*H rows with G = {GATES[cell]} gates, got {_shown(bad)}"
    _fails(ValueError, wanted, cell, W=bad)


@EVERY_CELL
def test_weights_that_do_not_belong_together(cell):
    rows = GATES[cell] * (H + 1)
    W, R = _floats(rows, I), _arguments(cell)["R"]
    _fails(ValueError, rf"R must be a float32 array of shape \({rows}, {H + 1}\), got {_shown(R)}", cell, W=W)


def test_gates_of_another_cell():
    gru = {key: value for key, value in _arguments("gru").items() if key in ("W", "R", "b_ih", "b_hh")}
    _fails(ValueError, r"W must have G\*H rows with G = 2 gates, got .*", "gru", **gru, reset_gate=False)
    _fails(ValueError, r"R must be a float32 array of shape \(15, 15\), got .*\(15, 5\)", "rnn", **gru)


LENGTHS = [
    ([1], ValueError, r"lengths must have shape \[B\] = \(2,\), got shape \(1,\)"),
    ([1, 2, 3], ValueError, r"lengths must have shape \[B\] = \(2,\), got shape \(3,\)"),
    ([[1, 2]], ValueError, r"lengths must have shape \[B\] = \(2,\), got shape \(1, 2\)"),
    (2, ValueError, r"lengths must have shape \[B\] = \(2,\), got shape \(\)"),
    ([1, 4], ValueError, r"lengths must each lie in 0\.\.T = 0\.\.3, got 4"),
    ([3, -1], ValueError, r"lengths must each lie in 0\.\.T = 0\.\.3, got -1"),
    (np.array([2**63, 1], np.uint64), ValueError, r"lengths must each lie in 0\.\.T = 0\.\.3, got 9223372036854775808"),
    ([1.0, 2.0], TypeError, r"lengths must hold integers, got \[1\.0, 2\.0\]"),
    (np.array([1, 2], np.float32), TypeError, r"lengths must hold integers, got float32 array of shape \(2,\)"),
    ([[1], [1, 2]], TypeError, r"lengths must hold integers, got \[\[1\], \[1, 2\]\]"),
    ([True, True], TypeError, r"lengths must hold integers, got \[True, True\]"),
    (["1", "2"], TypeError, r"lengths must hold integers, got \['1', '2'\]"),
    ([1, None], TypeError, r"lengths must hold integers, got \[1, None\]"),
    ({1, 2}, TypeError, r"lengths must hold integers, got \{1, 2\}"),
]


@each_row(("lengths", "error", "pattern"), LENGTHS)
@EVERY_CELL
def test_bad_lengths(cell, lengths, error, pattern):
    _fails(error, pattern, cell, lengths=lengths)


IDS = [
    ([[0, 4], [0, 0], [0, 0]], ValueError, r"x must hold token ids in -1\.\.3, got 4"),
    ([[0, 0], [0, 0], [-2, 3]], ValueError, r"x must hold token ids in -1\.\.3, got -2"),
    ([1, 2, 3], ValueError, r"x must hold token ids in an array \[T, B\], got int64 array of shape \(3,\)"),
    ([[[1]]], ValueError, r"x must hold token ids in an array \[T, B\], got int64 array of shape \(1, 1, 1\)"),
    (np.full((T, B), 2**63, np.uint64), ValueError, r"x must hold token ids in -1\.\.3, got 9223372036854775808"),
    (np.zeros((T, B), bool), TypeError, r"x must be .*integer token ids \[T, B\], got bool array of shape \(3, 2\)"),
    (np.zeros((T, B)), TypeError, r"x must be .*integer token ids \[T, B\], got float64 array of shape \(3, 2\)"),
    (np.zeros((T, B), np.float32), ValueError, r"x must be .*integer token ids \[T, B\], got float32 .*\(3, 2\)"),
]


@each_row(("ids", "error", "pattern"), IDS)
@EVERY_CELL
def test_bad_ids(cell, ids, error, pattern):
    _fails(error, pattern, cell, x=np.array(ids))


def test_bad_peepholes():
    for bad, error in ((_floats(H), ValueError), (_floats(3, H), ValueError), (np.zeros(3 * H), TypeError)):
        wanted = rf"peephole must be a float32 array of shape \({3 * H},\), got {_shown(bad)}(: write peephole.astype.*)?"
        _fails(error, wanted, "lstm", peephole=bad)
    _fails(TypeError, r"peephole must be a float32 array of shape .*, got \[1\]", "lstm", peephole=[1])


def test_bad_projections():
    matrix = "projection must be a non-empty float32 or float64 array of two axes, got "
    for bad in (_floats(P), _floats(0, H)):
        _fails(ValueError, matrix + _shown(bad), "lstm", projection=bad)
    _fails(TypeError, matrix + r"\[\[1\.0\]\]", "lstm", projection=[[1.0]])
    R = _floats(4 * H, P)
    for bad, error in ((_floats(P, H + 1), ValueError), (np.zeros((P, H)), TypeError)):
        wanted = rf"projection must be a float32 array of shape \({P}, {H}\), got {_shown(bad)}(: write projection.ast.*)?"
        _fails(error, wanted, "lstm", projection=bad, R=R)
    wanted = rf"R must be a float32 array of shape \({4 * H}, {P}\), got .*\({4 * H}, {H}\)"
    _fails(ValueError, wanted, "lstm", projection=_floats(P, H))
    wanted = rf"h0 must be .*\[B, Y\] = \({B}, {P}\), got .*\({B}, {H}\)"
    _fails(ValueError, wanted, "lstm", projection=_floats(P, H), R=R)


@each_row("value", ["gelu", None, 3, "Tanh"])
def test_unknown_nonlinearity(value):
    wanted = f"nonlinearity must be one of 'tanh', 'relu', got {value!r}"
    _fails(ValueError, wanted, "rnn", nonlinearity=value)


@EVERY_CELL
def test_unknown_backend(cell):
    _fails(ValueError, "backend must be one of c, numba, reference, got 'gpu'", cell, backend="gpu")


@EVERY_CELL
def test_a_flag_that_is_not_a_bool(cell):
    _fails(TypeError, "reverse must be .*, got 'x'", cell, reverse="x")


# Backward.


@EVERY_CELL
def test_bad_gradients(cell):
    shapes = {"dy": ("[T, B, Y]", (T, B, H)), "dh_n": ("[B, Y]", (B, H))}
    if cell == "lstm":
        shapes |= {"dc_n": ("[B, H]", (B, H)), "dc": ("[T, B, H]", (T, B, H))}
    tape = FORWARD[cell](**_arguments(cell)).tape
    for name, (letters, shape) in shapes.items():
        wanted = f"{name} must be a float32 array of shape {letters} = {shape}, got "
        for bad in (_floats(*shape[:-1], H + 1), _floats(*shape[::-1]), _floats(*shape)[:1, :1][..., :1]):
            with pytest.raises(ValueError, match=re.escape(wanted) + _shown(bad)):
                BACKWARD[cell](tape, **{name: bad})
        for bad in (np.zeros(shape), np.zeros(shape, int)):
            with pytest.raises(TypeError, match=re.escape(wanted) + _shown(bad)):
                BACKWARD[cell](tape, **{name: bad})
        with pytest.raises(TypeError, match=re.escape(wanted + "[[1.0]]")):
            BACKWARD[cell](tape, **{name: [[1.0]]})
    BACKWARD[cell](tape)  # the refused gradients have not used the tape


@EVERY_CELL
def test_a_tape_serves_once(cell):
    tape = FORWARD[cell](**_arguments(cell)).tape
    BACKWARD[cell](tape, _floats(T, B, H))
    with pytest.raises(RuntimeError, match=r"tape has been used: .*run forward again"):
        BACKWARD[cell](tape, _floats(T, B, H))


@EVERY_CELL
def test_objects_that_are_not_tapes(cell):
    wanted = f"tape must come from {cell}_forward with keep_tape=True, got "
    out = FORWARD[cell](**_arguments(cell), keep_tape=False)
    for bad in (out.tape, out, 3):
        with pytest.raises(TypeError, match=wanted):
            BACKWARD[cell](bad)
    other = next(name for name in GATES if name != cell)
    with pytest.raises(TypeError, match=wanted):
        BACKWARD[cell](FORWARD[other](**_arguments(other)).tape)


# Unusual arguments that are valid.


def _strided(array):
    spaced = np.full([2 * n + 1 for n in array.shape], 7, array.dtype)
    view = spaced[tuple(slice(1, None, 2) for _ in array.shape)]
    view[...] = array
    return view


def _fortran(array):
    return np.asfortranarray(array)


def _backwards(array):
    return array[::-1].copy()[::-1]


def _read_only(array):
    array = array.copy()
    array.flags.writeable = False
    return array


def _broadcast(array):
    return np.broadcast_to(array, array.shape)


def _unaligned(array):
    memory = np.empty(array.nbytes + 1, np.uint8)
    view = memory[1:].view(array.dtype).reshape(array.shape)
    view[...] = array
    assert not view.flags.aligned
    return view


@each_row("odd", [_strided, _fortran, _backwards, _read_only, _broadcast, _unaligned])
@each_row("variant", cases.CELLS[:1] + cases.CELLS[3:4] + cases.CELLS[-1:], ids=cases.name)
@pytest.mark.parametrize("backend", backends.available())
def test_any_memory_layout_gives_the_same_values(backend, variant, odd):
    for options in ({"lengths": True}, {"ids": True, "lengths": True, "reverse": True}):
        case = cases.make_case(variant, T, B, I, H, **options)
        wanted = cases.run(backend, case)
        keys = ("x", "h0", "c0", "lengths", "dy", "dh_n", "dc_n", "dc")
        arrays = {key: None if getattr(case, key) is None else odd(getattr(case, key)) for key in keys}
        given = [getattr(case.params, f.name) for f in fields(Weights)]
        params = Weights(*(None if array is None else odd(array) for array in given))
        cases.assert_agree(cases.run(backend, replace(case, params=params, **arrays)), wanted, 0)


@each_row("variant", cases.CELLS, ids=cases.name)
@pytest.mark.parametrize("backend", backends.available())
def test_inputs_are_left_as_they_were_and_outputs_are_fresh(backend, variant):
    case = cases.make_case(variant, T, B, I, H, lengths=[3, 2])
    keys = ("x", "h0", "c0", "lengths", "dy", "dh_n", "dc_n", "dc")
    inputs = [getattr(case, key) for key in keys] + [getattr(case.params, f.name) for f in fields(Weights)]
    inputs = [array for array in inputs if array is not None]
    before = [array.copy() for array in inputs]
    outputs = list(cases.run(backend, case).values())
    for array, copy in zip(inputs, before, strict=True):
        np.testing.assert_array_equal(array, copy)
    for i, output in enumerate(outputs):
        assert output.flags.writeable
        assert not any(np.shares_memory(output, other) for other in inputs + outputs[:i])


@each_row("dtype", ["int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", ">i4"])
def test_every_kind_of_integer(dtype):
    case = cases.make_case(cases.CELLS[6], T, B, I, H, lengths=[2, 3], ids=True)
    case.x[case.x < 0] = 0
    wanted = cases.run(None, case)
    other = replace(case, x=case.x.astype(dtype), lengths=case.lengths.astype(dtype))
    cases.assert_agree(cases.run(None, other), wanted, 0)
    for lengths in ([2, 3], (2, 3), range(2, 4)):
        cases.assert_agree(cases.run(None, replace(case, lengths=lengths)), wanted, 0)


def test_the_shortest_and_smallest_case():
    case = cases.make_case(cases.CELLS[9], 1, 1, 1, 1, lengths=[1])
    cases.assert_agree(cases.run(None, case), cases.run("reference", case), 1e-12)
