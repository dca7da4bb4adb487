"""``model.fit``, ``evaluate`` and ``predict``: the functions of :mod:`fastrnn.training` as methods of a model."""

from __future__ import annotations

from collections.abc import Callable
from types import MethodType
from typing import Any


class FromTraining:
    """A function of :mod:`fastrnn.training` whose first argument is the model, as a method with its signature and docstring.

    It is imported when it is asked for: who only runs a layer does not wait for it.
    """

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, model: object, owner: type) -> Callable[..., Any]:
        from .. import training

        function: Callable[..., Any] = getattr(training, self.name)
        return function if model is None else MethodType(function, model)


class Fitted:
    """A model that is trained, measured and asked on :class:`fastrnn.Examples` by methods of its own.

    ``model.fit(train, ...)`` is ``fastrnn.fit(model, train, ...)``, and so are ``evaluate`` and ``predict``.
    """

    fit = FromTraining()
    evaluate = FromTraining()
    predict = FromTraining()
