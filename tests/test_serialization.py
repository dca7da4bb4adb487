"""Files of arrays: values come back exactly, errors name bad files, and a failed write loses nothing."""

from __future__ import annotations

import errno
import json
import os
import stat
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from tables import each_row

from fastrnn import serialization
from fastrnn.serialization import FileFormatError, load_arrays, save_arrays, write_atomically

DTYPES = ("float16", "float32", "float64", "int8", "int64", "uint8", "uint64", "bool")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)
@given(data=st.data())
def test_round_trip_of_any_dtype_and_shape(tmp_path: Path, data: st.DataObject) -> None:
    shapes = hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5)
    arrays = data.draw(
        st.dictionaries(
            st.text(min_size=1, max_size=8).filter(lambda name: name != "__metadata__"),
            st.sampled_from(DTYPES).flatmap(lambda dtype: hnp.arrays(dtype, shapes)),
            max_size=4,
        )
    )
    save_arrays(tmp_path / "a.safetensors", arrays, {"note": "été"})
    loaded, metadata = load_arrays(tmp_path / "a.safetensors")
    assert metadata == {"note": "été"}
    assert loaded.keys() == arrays.keys()
    for name, array in arrays.items():
        assert loaded[name].dtype == array.dtype
        np.testing.assert_array_equal(loaded[name], array)
        assert loaded[name].shape == array.shape
        assert loaded[name].flags.writeable


def test_strided_and_foreign_endian_arrays_are_stored_by_value(tmp_path: Path) -> None:
    base = np.arange(12.0).reshape(3, 4)
    save_arrays(tmp_path / "a", {"t": base.T, "step": base[:, ::2], "big": base.astype(">f4"), "scalar": base[1, 1]})
    loaded, metadata = load_arrays(tmp_path / "a")
    np.testing.assert_array_equal(loaded["t"], base.T)
    np.testing.assert_array_equal(loaded["step"], base[:, ::2])
    np.testing.assert_array_equal(loaded["big"], base)
    assert loaded["scalar"].shape == ()
    assert loaded["scalar"] == 5.0
    assert metadata == {}


@pytest.mark.parametrize("bad", [np.array(["x"]), np.array([None]), np.ones(2, complex), [1.0, 2.0]])
def test_arrays_that_the_format_lacks_are_refused_before_writing(tmp_path: Path, bad: object) -> None:
    with pytest.raises(TypeError, match="array 'a' must be of float"):
        save_arrays(tmp_path / "a", {"a": bad})  # type: ignore[dict-item]
    assert list(tmp_path.iterdir()) == []


def test_names_and_metadata_must_be_text(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="metadata must map strings to strings, got 'step': 3"):
        save_arrays(tmp_path / "a", {}, {"step": 3})  # type: ignore[dict-item]
    for name in (1, "__metadata__"):  # of which the second is the header's own name
        with pytest.raises(TypeError, match="arrays must have strings as names, other than"):
            save_arrays(tmp_path / "a", {name: np.zeros(1)})  # type: ignore[dict-item]
    assert not list(tmp_path.iterdir())


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"nothing\.safetensors"):
        load_arrays(tmp_path / "nothing.safetensors")


def test_a_folder_is_not_a_file(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError):
        load_arrays(tmp_path)


@each_row("kept", [1, 5, 8, 9, 20, 60, -1, -16])
def test_truncated_file(tmp_path: Path, kept: int) -> None:
    path = tmp_path / "a.safetensors"
    save_arrays(path, {"a": np.arange(8.0)})
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(FileFormatError, match=r"a\.safetensors is truncated"):
        load_arrays(path)


HEADER = b'{"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 4]}}'  # the shape needs eight bytes


@each_row(
    ("content", "fault"),
    [
        (b"", "is empty"),
        (b"Aardonyx\nAbelisaurus\n" * 9, "is not a safetensors file"),
        (b'{"json": true}', "is not a safetensors file"),
        (b"\x80\x04\x95" * 20, "is not a safetensors file"),
        (b"PK\3\4" * 9, "is not a safetensors file"),
        (len(HEADER).to_bytes(8, "little") + HEADER + b"1234", "is truncated or damaged"),
    ],
)
def test_empty_foreign_and_damaged_files(tmp_path: Path, content: bytes, fault: str) -> None:
    (tmp_path / "a.txt").write_bytes(content)
    with pytest.raises(FileFormatError, match=rf"a\.txt {fault}"):
        load_arrays(tmp_path / "a.txt")


def _raw_file(path: Path, data: bytes, **entries: dict[str, object]) -> Path:
    header = json.dumps(entries).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header + data)
    return path


@pytest.mark.parametrize(("dtype", "item"), [("F8_E4M3", 1), ("F8_E5M2", 1)])
def test_a_dtype_that_numpy_lacks(tmp_path: Path, dtype: str, item: int) -> None:
    path = _raw_file(tmp_path / "a", b"12", w={"dtype": dtype, "shape": [2 // item], "data_offsets": [0, 2]})
    wanted = rf"a holds 'w' of dtype {dtype}, which NumPy does not have: convert it to F32, F16 or BF16"
    with pytest.raises(FileFormatError, match=wanted):
        load_arrays(path)


def test_every_bfloat16_comes_as_its_float32(tmp_path: Path) -> None:
    bits = np.arange(1 << 16, dtype="<u2")
    entries = {
        "before": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]},
        "w": {"dtype": "BF16", "shape": [256, 256], "data_offsets": [4, 4 + bits.nbytes]},
        "none": {"dtype": "BF16", "shape": [0, 3], "data_offsets": [4 + bits.nbytes] * 2},
        "one": {"dtype": "BF16", "shape": [], "data_offsets": [4 + bits.nbytes, 6 + bits.nbytes]},
    }
    data = np.float32(7).tobytes() + bits.tobytes() + b"\xc0\xbf"
    arrays, _ = load_arrays(_raw_file(tmp_path / "a", data, __metadata__={"format": "pt"}, **entries))
    sign, exponent, fraction = bits >> 15, (bits >> 7) & 255, bits & 127  # by the definition of bfloat16
    with np.errstate(over="ignore", invalid="ignore"):
        powers = np.ldexp(1.0, np.maximum(exponent.astype(int), 1) - 134)
        wanted = np.where(sign, -1.0, 1.0) * (fraction + np.where(exponent > 0, 128, 0)) * powers
    wanted[exponent == 255] = np.where(fraction, np.nan, np.where(sign, -np.inf, np.inf))[exponent == 255]
    assert arrays["w"].dtype == np.float32
    assert arrays["w"].flags.writeable
    with np.errstate(invalid="ignore"):  # signalling NaNs
        np.testing.assert_array_equal(arrays["w"].ravel().astype(float), wanted)
    assert (arrays["before"].tolist(), arrays["none"].shape, arrays["one"].shape) == ([7.0], (0, 3), ())
    assert arrays["one"] == -1.5


def test_a_failed_write_keeps_the_old_file_and_leaves_no_litter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.safetensors"
    save_arrays(path, {"a": np.ones(3)})

    def full_disk(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(serialization.os, "fsync", full_disk)
    with pytest.raises(OSError, match=r"No space left on device.*a\.safetensors") as caught:
        save_arrays(path, {"a": np.zeros(3)})
    assert caught.value.errno == errno.ENOSPC
    monkeypatch.undo()
    np.testing.assert_array_equal(load_arrays(path)[0]["a"], np.ones(3))
    assert list(tmp_path.iterdir()) == [path]


def test_an_interrupted_write_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a"
    write_atomically(path, b"old")

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(serialization.os, "replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="none/a"):
        write_atomically(tmp_path / "none" / "a", b"x")


def test_a_link_stays_and_its_file_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    for name in ("old", "new"):
        (tmp_path / name).symlink_to(Path("runs", name))
    (tmp_path / "runs" / "old").write_bytes(b"x")
    for name in ("old", "new"):
        write_atomically(tmp_path / name, b"y")
        assert (tmp_path / name).is_symlink()
        assert (tmp_path / "runs" / name).read_bytes() == b"y"
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == ["new", "old"]


def test_only_regular_files_are_replaced(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("pipe")
    for name in ("pipe", "link"):
        with pytest.raises(OSError, match=rf"Not a regular file.*/{name}'"):
            write_atomically(tmp_path / name, b"x")
    with pytest.raises(IsADirectoryError, match="Not a regular file"):
        write_atomically(tmp_path, b"x")
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "pipe"]


def test_the_file_has_the_usual_permissions(tmp_path: Path) -> None:
    (tmp_path / "usual").write_bytes(b"x")
    write_atomically(tmp_path / "ours", b"x")
    modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("usual", "ours")]
    assert modes[0] == modes[1]
