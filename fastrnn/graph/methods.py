"""Methods ``fit``, ``evaluate`` and ``predict`` of a model, which call the functions of :mod:`fastrnn.training`."""

from __future__ import annotations

from collections.abc import Callable
from types import MethodType
from typing import Any, ClassVar


class TrainingMethod:
    """Descriptor that makes a function of a model a method, with the function's signature and docstring.

    ``fastrnn.training`` imports models, so models cannot import it. The package therefore sets ``find``, which imports a
    function at its first use; programs that only run layers do not pay for the import.
    """

    find: ClassVar[Callable[[str], Callable[..., Any]]]

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, model: object, owner: type) -> Callable[..., Any]:
        function = TrainingMethod.find(self.name)
        return function if model is None else MethodType(function, model)


class Fitted:
    """Model with the methods ``fit``, ``evaluate`` and ``predict``.

    ``model.fit(train, ...)`` is ``fastrnn.fit(model, train, ...)``; the others work likewise.
    """

    fit = TrainingMethod()
    evaluate = TrainingMethod()
    predict = TrainingMethod()
