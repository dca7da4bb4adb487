"""Small data and models for the tests of fit."""

import numpy as np

import fastrnn
from fastrnn import losses, optim
from fastrnn.layers import Layer

V, C = 7, 3  # ids of inputs, classes of targets


def tagged(n=37, longest=9, seed=0):
    """Return ids and their tags; the class of each id depends on all ids up to it."""
    rng = np.random.default_rng(seed)
    ids = [rng.integers(0, V, rng.integers(1, longest + 1)) for _ in range(n)]
    return fastrnn.Examples(ids, [np.cumsum(row) % C for row in ids])


def tagger(dtype="float32", dropout=0.2, seed=1):
    """Return a model from ids to logits."""
    return fastrnn.Sequential(
        fastrnn.Embedding(V, 4, dtype=dtype, rng=seed),
        fastrnn.GRU(4, 6, bidirectional=True, dtype=dtype, rng=seed),
        fastrnn.Dropout(dropout, rng=seed),
        fastrnn.Linear(12, C, dtype=dtype, rng=seed),
    )


class TwoHeads(Layer):
    """Model from ids ``[T, B]`` to logits of tags ``[T, B, C]``, and to a number ``[B, 1]`` from the last state."""

    def __init__(self, dtype="float64"):
        self.gru = fastrnn.GRU(V, 5, dtype=dtype, rng=1)
        self.tags = fastrnn.Linear(5, C, dtype=dtype, rng=2)
        self.number = fastrnn.Linear(5, 1, dtype=dtype, rng=3)

    def __call__(self, ids, lengths=None):
        y, h_n = self.gru(ids, lengths=lengths)
        return self.tags(y), self.number(h_n[-1])

    def forward(self, ids, lengths=None):
        (y, h_n), gru_backward = self.gru.forward(ids, lengths=lengths)
        tags, tags_backward = self.tags.forward(y)
        number, number_backward = self.number.forward(h_n[-1])

        def backward(dtags, dnumber):
            return gru_backward(tags_backward(dtags), number_backward(dnumber)[None])[0]

        return (tags, number), backward


class Translator(Layer):
    """Encoder over S and decoder over T, which starts from the encoder's last state."""

    def __init__(self):
        self.encoder = fastrnn.GRU(V, 5, dtype="float64", rng=1)
        self.decoder = fastrnn.GRU(V, 5, dtype="float64", rng=2)
        self.head = fastrnn.Linear(5, V, dtype="float64", rng=3)

    def __call__(self, source, target, lengths):
        return self.forward(source, target, lengths)[0]

    def forward(self, source, target, lengths):
        (_, state), encoder_backward = self.encoder.forward(source, lengths=lengths["S"])
        (y, _), decoder_backward = self.decoder.forward(target, state, lengths=lengths["T"])
        logits, head_backward = self.head.forward(y)
        return logits, lambda dlogits: encoder_backward(None, decoder_backward(head_backward(dlogits))[1])


def own_loop(model, train, *, epochs, batch_size=8, seed=0, lr=0.01, clip_norm=None):
    """Train like ``fit``, in a loop written out, and return the losses of all steps."""
    model.set_rng(np.random.default_rng(seed))
    adam = optim.Adam(model.parameters(), lr=lr)
    seen = []
    for epoch in range(epochs):
        for batch in train.batches(batch_size, np.random.default_rng([seed, epoch])):
            adam.zero_grad()
            outputs, backward = model.forward(*batch.inputs, lengths=batch.lengths)
            loss, gradient = losses.softmax_cross_entropy(outputs, batch.targets, mask=batch.mask)
            backward(gradient)
            if clip_norm is not None:
                optim.clip_grad_norm(model.parameters(), clip_norm)
            adam.step()
            seen.append(loss)
    return seen


def assert_same_weights(model, expected):
    assert model.keys() == expected.keys()
    for name, array in model.items():
        np.testing.assert_array_equal(array, expected[name], err_msg=name)


def assert_all_close(outputs, expected):
    assert len(outputs) == len(expected)
    for mine, wanted in zip(outputs, expected, strict=True):
        np.testing.assert_allclose(mine, wanted, rtol=1e-10, atol=1e-13)
