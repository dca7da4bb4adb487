"""How fast fastrnn is beside its peers, measured fairly: ``fastrnn bench``, and ``python -m bench`` in the checkout.

One process serves one peer at one number of threads, so that no two runtimes' thread pools meet; in it fastrnn and the peer
take turns at every case (:mod:`.measure`), after their results have been found to agree (:mod:`.agreement`).
"""
