"""The optimisers of :mod:`fastrnn.optim`: checks of hyperparameters, the base class, update rules, and Muon."""
