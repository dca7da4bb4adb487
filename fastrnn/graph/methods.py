"""``model.fit``, ``evaluate`` and ``predict``: functions of :mod:`fastrnn.training` as methods of a model."""

from __future__ import annotations

from collections.abc import Callable
from types import MethodType
from typing import Any, ClassVar


class TrainingMethod:
    """A function whose first argument is the model, as a method with its signature and docstring.

    Training stands above models and imports them. So the package, above both, sets ``find``, which imports a function by
    name when it is asked for: who only runs a layer does not wait for it.
    """

    find: ClassVar[Callable[[str], Callable[..., Any]]]

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, model: object, owner: type) -> Callable[..., Any]:
        function = TrainingMethod.find(self.name)
        return function if model is None else MethodType(function, model)


class Fitted:
    """A model that is trained, measured and asked on :class:`fastrnn.Examples` by methods of its own.

    ``model.fit(train, ...)`` is ``fastrnn.fit(model, train, ...)``, and so are ``evaluate`` and ``predict``.
    """

    fit = TrainingMethod()
    evaluate = TrainingMethod()
    predict = TrainingMethod()
