"""Functional API: layers called on symbols make a graph, and a Model of a graph is a layer."""

from ..layers._symbolic.symbols import Spec, Symbol
from ..layers.storage import load_model
from .input import Input
from .model import Model
from .sequential import Sequential

__all__ = ["Input", "Model", "Sequential", "Spec", "Symbol", "load_model"]
