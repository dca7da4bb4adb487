"""Models and layers of this package as Keras models."""
