"""The structures of csrc/xla_ffi.h are those of the header that the installed jaxlib ships."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

jax = pytest.importorskip("jax")

CSRC = Path(__file__).parent.parent / "csrc"
HEAD = "struct_size=size extension_start=extensions "

# jaxlib's structure and ours, and the fields of each, in pairs.
STRUCTURES = {
    ("Extension_Base", "extension"): "struct_size=size type=type next=next",
    ("Api_Version", "version"): HEAD + "major_version=major minor_version=minor",
    ("Metadata", "metadata"): "struct_size=size api_version=version traits=traits",
    ("Metadata_Extension", "metadata_extension"): "extension_base=base metadata=metadata",
    ("Error_Create_Args", "error_arguments"): HEAD + "message=message errc=code",
    ("Api", "api"): HEAD + "api_version=version internal_api=internal XLA_FFI_Error_Create=create_error",
    ("Buffer", "buffer"): HEAD + "dtype=dtype data=data rank=rank dims=shape",
    ("Array", "array"): "dtype=dtype size=count data=data",
    ("Args", "values"): HEAD + "size=count types=types args=values",
    ("Rets", "values"): HEAD + "size=count types=types rets=values",
    ("Attrs", "attributes"): HEAD + "size=count types=types names=names attrs=values",
    ("CallFrame", "frame"): HEAD + "api=api ctx=context stage=stage args=arguments rets=results attrs=attributes",
}
NUMBERS = {
    "API_MAJOR": "MAJOR",
    "Extension_Metadata": "METADATA",
    "ExecutionStage_EXECUTE": "EXECUTE",
    "AttrType_ARRAY": "ARRAY",
    "DataType_S32": "INT32",
    "DataType_S64": "INT64",
    "Error_Code_INVALID_ARGUMENT": "INVALID_ARGUMENT",
    "Error_Code_RESOURCE_EXHAUSTED": "RESOURCE_EXHAUSTED",
    "Error_Code_FAILED_PRECONDITION": "FAILED_PRECONDITION",
}


def test_sizes_offsets_and_numbers(tmp_path):
    compiler = next(filter(None, map(shutil.which, ("cc", "gcc", "clang"))), None)
    if not compiler:
        pytest.skip("needs a C compiler")
    same = [f"(int)XLA_FFI_{theirs} == (int)XLA_{own}" for theirs, own in NUMBERS.items()]
    for (theirs, own), fields in STRUCTURES.items():
        a, b = f"XLA_FFI_{theirs}", f"xla_{own}"
        for field, name in (pair.split("=") for pair in fields.split()):
            same.append(f"offsetof({a}, {field}) == offsetof({b}, {name})")
            same.append(f"sizeof((({a} *)0)->{field}) == sizeof((({b} *)0)->{name})")
    lines = ['#include "xla/ffi/api/c_api.h"', '#include "xla_ffi.h"', *(f'_Static_assert({s}, "{s}");' for s in same), ""]
    source = tmp_path / "same.c"
    source.write_text("\n".join(lines))
    command = [compiler, "-std=c11", "-fsyntax-only", "-I", jax.ffi.include_dir(), "-I", CSRC, source]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
