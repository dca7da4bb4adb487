"""The targets of performance, compared with the results."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from fastrnn.benchmark.ceilings import Ceilings
from fastrnn.benchmark.statistics import Statistics, geometric_mean

NOISE = 0.03
MICROSECOND = 1e-6


@dataclass(frozen=True, slots=True)
class Target:
    """A target. ``reached`` is the worst or mean result, None without results; ``least`` means that more is better."""

    what: str
    wanted: float
    reached: float | None
    unit: str = "x"
    least: bool = True

    @property
    def met(self) -> bool | None:
        """True if the target is met, None without results."""
        if self.reached is None:
            return None
        return self.reached >= self.wanted if self.least else self.reached <= self.wanted

    def shown(self, value: float | None) -> str:
        """Return a value with its unit."""
        if value is None:
            return "not measured"
        return {
            "x": f"{value:.2f}x",
            "%": f"{100 * value:.0f} %",
            "us": f"{value / MICROSECOND:.1f} us",
            "": f"{value:.0f}",
        }[self.unit]


def targets(statistics: Sequence[Statistics], ceilings: dict[int, Ceilings]) -> list[Target]:
    """Return all targets."""

    def of(question: str, where: Callable[[Statistics], bool] = lambda f: True) -> list[Statistics]:
        return [f for f in statistics if f.case.question == question and not f.case.variant and where(f)]

    def grid(question: str, where: Callable[[Statistics], bool] = lambda f: True) -> list[Statistics]:
        return of(question, lambda f: f.case.H != 256 and where(f))

    forward, training = grid("forward"), grid("training")
    packed = [f for f in statistics if f.case.variant == "lengths"]
    small = grid("forward", lambda f: f.case.H <= 128 and f.case.B <= 8)

    def peak(question: str) -> float | None:
        return _least(
            f.share_of_fma(ceilings[f.case.threads]) for f in grid(question, lambda f: f.case.H >= 512 and f.case.B >= 32)
        )

    def bandwidth() -> float | None:
        def large(f: Statistics) -> bool:
            return f.case.B == 1 and f.recurrent_bytes > ceilings[f.case.threads].caches["L2"]

        beyond = grid("forward", large)
        return _least(f.share_of_bandwidth(ceilings[f.case.threads]) for f in beyond)

    return [
        Target("forward, every case, to the fastest peer", 1 - NOISE, _least(_fastest(forward))),
        Target("forward, every case, to PyTorch", 1.0, _least(_to("torch", forward))),
        Target("forward, geometric mean, to the fastest peer", 1.4, _mean(_fastest(forward))),
        Target("forward, geometric mean, to PyTorch", 2.5, _mean(_to("torch", forward))),
        Target("forward, H <= 128 and B <= 8, each, to the fastest peer", 1.5, _least(_fastest(small))),
        Target("training, every case, to the fastest peer", 1 - NOISE, _least(_fastest(training))),
        Target("training, every case, to PyTorch", 1.1, _least(_to("torch", training))),
        Target("training, geometric mean, to the fastest peer", 1.4, _mean(_fastest(training))),
        Target("training, geometric mean, to PyTorch", 3.0, _mean(_to("torch", training))),
        Target("share of FMA peak, H >= 512 and B >= 32, forward", 0.80, peak("forward"), "%"),
        Target("share of FMA peak, H >= 512 and B >= 32, training", 0.78, peak("training"), "%"),
        Target("share of the bandwidth bound, B = 1, R beyond L2, forward", 0.90, bandwidth(), "%"),
        *(
            Target(
                f"one step from Python, LSTM H = {H}", limit * MICROSECOND,
                _most(f.ours for f in of("step", lambda f, H=H: f.case.cell == "LSTM" and f.case.H == H)), "us", False,
            )
            for H, limit in ((64, 3), (128, 6), (256, 25))
        ),
        Target("characters per second in training, to PyTorch", 1.8, _least(_to("torch", of("trainer")))),
        Target("names loop, to tuned NumPy", 3.0, _least(_to("numpy", of("names")))),
        Target("names loop, to PyTorch", 20.0, _least(_to("torch", of("names")))),
        Target("sampling one stream, to the best peer's loop", 5.0, _least(_fastest(of("sampling")))),
        Target("lengths: time per real token to that of full sequences", 1.15, _variant(statistics, "lengths"), least=False),
        Target("lengths: to PyTorch's packed sequences", 5.0, _least(_to("torch", packed))),
        Target("denormals: time to that of ordinary inputs", 1.1, _variant(statistics, "denormal"), least=False),
        Target("Numba: time to that of C, H <= 128", 2.0, _most(_to("numba", small_layers(statistics))), least=False),
        Target("Numba, B <= 8, to PyTorch", 1.0, _least(_numba_to_torch(statistics))),
        Target("page faults per training step", 100, _most(f.faults for f in training), "", False),
    ]  # fmt: skip


def small_layers(statistics: Iterable[Statistics]) -> list[Statistics]:
    """Return the results of the grid's layers of up to 128 units."""
    return [f for f in statistics if f.case.question in ("forward", "training") and f.case.H <= 128]


def _fastest(statistics: Iterable[Statistics]) -> list[float]:
    return [f.fastest["ratio"] for f in statistics if f.fastest]


def _to(peer: str, statistics: Iterable[Statistics]) -> list[float]:
    return [ratio for f in statistics if (ratio := f.ratio(peer)) is not None]


def _numba_to_torch(statistics: Iterable[Statistics]) -> list[float]:
    """Return torch's time divided by Numba's, from their ratios to C."""
    small = [f for f in small_layers(statistics) if f.case.B <= 8]
    return [torch / numba for f in small if (torch := f.ratio("torch")) and (numba := f.ratio("numba"))]


def _variant(statistics: Iterable[Statistics], variant: str) -> float | None:
    """Return this variant's largest time per token, divided by that of ordinary sequences."""
    from dataclasses import replace

    statistics = {f.case: f for f in statistics}
    pairs = [(f, statistics.get(replace(case, variant=""))) for case, f in statistics.items() if case.variant == variant]
    return _most(plain.tokens / f.tokens for f, plain in pairs if plain)


def _least(values: Iterable[float | None]) -> float | None:
    return min((value for value in values if value is not None), default=None)


def _most(values: Iterable[float]) -> float | None:
    return max(values, default=None)


def _mean(values: list[float]) -> float | None:
    return geometric_mean(values) if values else None
