"""The functional API: layers called on symbols make a graph, and a Model of a graph is a layer."""

from ..layers._symbolic.symbols import Spec, Symbol
from ..layers.storage import load_model
from .input import Input
from .model import Model

__all__ = ["Input", "Model", "Spec", "Symbol", "load_model"]
