"""Finite differences, and assertions that compare gradients with them."""

import numpy as np


def make(kind, I=3, H=4, L=1, seed=0, **options):  # noqa: E741
    return kind(I, H, L, dtype="float64", rng=seed, **options)


def normal(*shape, seed=1):
    return np.random.default_rng(seed).standard_normal(shape)


def flat(value):
    return [array for item in value for array in flat(item)] if isinstance(value, tuple) else [value]


def central_differences(loss, array, step=1e-6):
    """Return the gradient of ``loss()`` with respect to ``array``, which ``loss`` reads, by central differences."""
    gradient = np.empty_like(array)
    for index in np.ndindex(array.shape):
        value = array[index]
        array[index] = value + step
        above = loss()
        array[index] = value - step
        gradient[index] = (above - loss()) / (2 * step)
        array[index] = value
    return gradient


def parameter_differences(loss, parameter, step=1e-6):
    """Return the gradient of ``loss()`` with respect to a parameter, each change made by ``assign``."""
    values = parameter.data.copy()

    def assigned():
        parameter.assign(values)
        return loss()

    gradient = central_differences(assigned, values, step)
    parameter.assign(values)
    return gradient


def directional_difference(loss, parameter, direction, step=1e-6):
    """Return the derivative of ``loss()`` along a direction of the parameter's shape; every element contributes to it."""
    values = parameter.data.copy()

    def at(distance):
        parameter.assign(values + distance * direction)
        return loss()

    slope = (at(step) - at(-step)) / (2 * step)
    parameter.assign(values)
    return slope


def assert_model_gradients(model, batch, loss):
    """Assert that every parameter's gradient of the loss over a Batch agrees with finite differences."""

    def value():
        return loss(model(*batch.inputs, lengths=batch.lengths), batch.targets, mask=batch.mask)[0]

    model.zero_grad()
    outputs, backward = model.forward(*batch.inputs, lengths=batch.lengths)
    trained, doutputs = loss(outputs, batch.targets, mask=batch.mask)
    np.testing.assert_allclose(trained, value(), rtol=1e-12)
    backward(doutputs)
    for name, parameter in model.named_parameters():
        assert np.abs(parameter.grad).max() > 1e-7, name
        if parameter.size <= 40:
            expected = parameter_differences(value, parameter)
            np.testing.assert_allclose(parameter.grad, expected, rtol=1e-5, atol=1e-9, err_msg=name)
        else:
            for seed in range(2):
                direction = normal(*parameter.shape, seed=seed)
                expected = directional_difference(value, parameter, direction)
                np.testing.assert_allclose((parameter.grad * direction).sum(), expected, rtol=1e-5, atol=1e-9, err_msg=name)
