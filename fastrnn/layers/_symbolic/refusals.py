"""Operations that a Symbol does not support, with errors that say what to write instead."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NoReturn

INSTEAD = "use a + b, a * b, or layers: Add(), Multiply(), Concat(), or Lambda() for any other function"
NO_VALUE = "a Symbol has no value yet: it stands for an array that the model will have when it is called"

BINARY = {
    **{"sub": "-", "truediv": "/", "floordiv": "//", "mod": "%", "pow": "**", "matmul": "@", "divmod": "divmod()"},
    **{"and": "&", "or": "|", "xor": "^", "lshift": "<<", "rshift": ">>"},
}
OTHERS = {
    **{"neg": "-", "pos": "+", "abs": "abs()", "invert": "~", "round": "round()"},
    **{"lt": "<", "le": "<=", "gt": ">", "ge": ">="},
}


class Refusals:
    """Operators that symbols do not support: each raises TypeError and names the alternatives."""

    __slots__ = ()

    def __array_ufunc__(self, ufunc: Any, *_: Any, **__: Any) -> NoReturn:
        raise TypeError(f"a Symbol cannot be used with NumPy's {ufunc.__name__} or with an array: {INSTEAD}")

    def __array__(self, *_: Any, **__: Any) -> NoReturn:
        raise TypeError("a Symbol has no value yet: call layers on it, not NumPy's functions")

    def __bool__(self) -> NoReturn:
        raise TypeError(NO_VALUE)

    __float__ = __int__ = __bool__

    if not TYPE_CHECKING:  # otherwise a type checker would accept any attribute

        def __getattr__(self, name: str) -> NoReturn:
            if name.startswith("_"):
                raise AttributeError(name)  # copy and pickle look up such names
            raise AttributeError(f"a Symbol has no {name}: it has shape and dtype; {INSTEAD}", name=name, obj=self)


def _refusing(sign: str) -> Callable[..., NoReturn]:
    def refused(*_: Any) -> NoReturn:
        raise TypeError(f"a Symbol has no {sign}: {INSTEAD}")

    return refused


for _name, _sign in BINARY.items():
    setattr(Refusals, f"__{_name}__", _refusing(_sign))
    setattr(Refusals, f"__r{_name}__", _refusing(_sign))
for _name, _sign in OTHERS.items():
    setattr(Refusals, f"__{_name}__", _refusing(_sign))


def about_symbols(message: str) -> str:
    """Replace the advice ``astype`` in a message about an array's dtype, because a Symbol has no ``astype``."""
    return re.sub(r'write [\w.\[\]]+\.astype\("(\w+)"\)', r'make its Input and the layers before with dtype="\1"', message)
