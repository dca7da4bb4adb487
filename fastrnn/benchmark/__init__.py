"""Fair comparisons of speed with other libraries: ``fastrnn bench``, and ``python -m bench`` in the checkout.

One process serves one peer at one number of threads, so thread pools of different libraries never meet. In it the results of
fastrnn and the peer must agree (:mod:`.agreement`). Then both take turns at every case (:mod:`.measure`).
"""
