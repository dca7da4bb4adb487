"""The precision of products that runs for a stack."""

from __future__ import annotations

from ..precision import Choice
from ..structs import StackSpec
from .library import ffi, lib

SMALLEST = 32  # hidden units; an RNN of 16 units takes 3 % longer, one of 32 is 1.2 times as fast (Zen 5, B = 1 to 128)


def choose(spec: StackSpec, isa: int, wanted: str) -> Choice:
    """Return the precision that runs for a stack: the wanted one if it is faster here, else ``"highest"``."""
    reason = _obstacle(wanted, spec, isa)
    return Choice("highest" if reason else wanted, reason)


def multiplies_bfloat16(isa: int) -> bool:
    """Return whether an ISA has instructions for products of bfloat16 numbers that are faster than float32's here."""
    return bool(lib.fastrnn_multiplies_bfloat16(isa))


def _obstacle(wanted: str, spec: StackSpec, isa: int) -> str:
    """Return why the wanted precision does not run, or an empty string."""
    if wanted == "highest":
        return ""
    if spec.cell.dtype != "float32":
        return f"{wanted} is for float32, and the layer is {spec.cell.dtype}"
    if spec.weights == "int8":
        return f"{wanted} is for weights in float32 or bfloat16, and these are int8"
    if wanted == "high":
        return "high needs split products, which no kernel has"
    if not multiplies_bfloat16(isa):
        name = ffi.string(lib.fastrnn_isa_name(isa)).decode()
        if name == "avx512bf16":
            return "medium is faster than float32 on AMD's processors only, and this is another one"
        return f"medium needs an ISA that multiplies bfloat16 (avx512bf16), and {name} is in use"
    if spec.cell.hidden_size < SMALLEST:
        return f"medium is not faster below {SMALLEST} hidden units, and the layer has {spec.cell.hidden_size}"
    return ""
