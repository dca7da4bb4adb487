"""The type of an array whose dtype is known only at run time."""

from typing import Any

from numpy.typing import NDArray

Array = NDArray[Any]
