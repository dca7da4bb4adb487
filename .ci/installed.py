"""Check an installed wheel: it has the C kernels, finds each ISA of this machine, computes right values, and trains.

Runs in a folder that is not the checkout; needs nothing but the wheel and what it depends on.
"""

from __future__ import annotations

import platform
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

import numpy as np

warnings.simplefilter("error")  # such as the one that the kernels are missing

import fastrnn  # noqa: E402
from fastrnn.backends._c import backend as c  # noqa: E402

AVX2 = {"avx2", "fma"}
AVX512 = AVX2 | {"avx512f", "avx512dq", "avx512bw", "avx512vl"}
AVX512VNNI = AVX512 | {"avx512_vnni"}
AVX512BF16 = AVX512VNNI | {"avx512_bf16"}
X86: dict[str, set[str]] = {
    "amx": AVX512BF16 | {"amx_tile", "amx_bf16"},
    "avx512bf16": AVX512BF16,
    "avx512vnni": AVX512VNNI,
    "avx512": AVX512,
    "avx2": AVX2,
    "base": set(),
}
ARM = {"neondot": {"asimddp"}, "neon": set()}


def expected_isas() -> list[str]:
    """Return the ISAs that this machine's kernel says its processor has, the best first."""
    if platform.machine() == "arm64":  # macOS
        return list(ARM)
    needed = ARM if platform.machine() == "aarch64" else X86
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    flags = next(set(line.split()) for line in lines if line.startswith(("flags", "Features")))
    return [isa for isa in needed if needed[isa] <= flags]


def check_values(isa: str) -> None:
    """Compare a training step of each cell on one ISA with the reference backend."""
    c.set_isa(isa)
    rng = np.random.default_rng(0)
    x, dy = rng.standard_normal((11, 3, 5)), rng.standard_normal((11, 3, 14))
    for kind in (fastrnn.RNN, fastrnn.GRU, fastrnn.LSTM):
        found = []
        for name in ("c", "reference"):
            layer = kind(5, 7, num_layers=2, bidirectional=True, dtype=np.float64, rng=1, backend=name)
            (y, _), backward = layer.forward(x)
            dx, _ = backward(dy)
            found.append([y, dx, *(parameter.grad for _, parameter in layer.named_parameters())])
        for got, expected in zip(*found, strict=True):
            np.testing.assert_allclose(got, expected, rtol=1e-10, atol=1e-12)
    c.set_isa(None)


def check_command_line() -> None:
    """Train a small model on the embedded names, and sample from it."""
    command = [sys.executable, "-m", "fastrnn"]
    with tempfile.TemporaryDirectory() as folder:
        run = str(Path(folder, "run"))
        train = ["train", "chars", "--hidden", "32", "--layers", "1", "--max-steps", "40", "--eval-every", "20"]
        subprocess.run([*command, *train, "--out", run], check=True, stdout=subprocess.DEVNULL)
        sample = [*command, "sample", run, "--number", "5", "--seed", "1"]
        done = subprocess.run(sample, check=True, capture_output=True, text=True)
    names = done.stdout.splitlines()  # after so few steps a name may be empty
    assert len(names) == 5, done.stdout
    assert any(names), done.stdout


def main() -> None:
    """Run all checks; an exception says which failed."""
    package = Path(fastrnn.__file__).parent
    assert fastrnn.backends.current().name == "c", fastrnn.backends.current()
    found = list(c.info()["isas_available"])
    assert found == expected_isas(), f"the library found {found}, the processor has {expected_isas()}"
    for isa in found:
        check_values(isa)
    check_command_line()
    print(f"{package}: fastrnn {fastrnn.__version__}, C kernels for {', '.join(found)}: values and training are right")


if __name__ == "__main__":
    main()
