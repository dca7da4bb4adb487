"""One cell on each Keras backend.

Each module has ``run(options, cell, x, states, lengths)``, which runs a Keras cell on ``x [B, T, I]`` and states ``[B, H]``;
``known(value)``, a boolean scalar's value, or None inside a compiled call; and ``FIRST_OUTPUT_IS_STATE``, whether Keras' own
loop repeats the initial state in masked steps before the first valid one, or gives zeros.
"""
