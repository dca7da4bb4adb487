"""The page docs/performance.md and its pictures, written from the measurements."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from fastrnn.benchmark.cases import QUESTIONS, Case, cases
from fastrnn.benchmark.peers import NAMES
from fastrnn.benchmark.run import OFF, SPREAD, Results
from fastrnn.benchmark.statistics import LAYER_QUESTIONS, Statistics, of_cases
from fastrnn.benchmark.table import duration
from fastrnn.commands.errors import InputError
from fastrnn.console import quantity
from fastrnn.serialization import write_atomically

from . import plots
from .targets import targets

HEAT_MAP_TITLE = "Speed of fastrnn divided by the speed of the fastest other library, {machine}"
PRECISIONS_TITLE = (
    '"high" compared with float32, "medium" with bfloat16: speed divided by that of the fastest other library, {machine}'
)

# What the pictures show, for readers who do not see them.
HEAT_MAP = (
    "Heat map: for each cell, H, B, number of threads and question, the time of the fastest other library divided by ours"
)
PRECISIONS = (
    "Heat map: for each precision, cell, H, B, number of threads and call, the time of the fastest other library with errors"
    " of the same order divided by ours"
)
ROOFLINE = "Roofline: GFLOP/s over operations per byte of each case, below the ceilings of multiply-adds and of memory"

INTRODUCTION = """\
This page tells you how fast a layer of your size runs, which library is faster, and how far the kernels are from the limits
of the machine. `python -m bench run` writes it: do not edit it. `fastrnn bench` measures a part of it in a minute or two.
[precision.md](precision.md) has the same for products in `"high"` and `"medium"`.
"""

HOW = """\
fastrnn and one peer run in one process, with the same sizes and number of threads (set and checked). Their results must
agree. Then they take turns. A turn is a pause of at least 10 ms, until no worker of the other side spins; then an untimed
call; then timed calls for 20 ms. Each side has at least five turns, or three if a call takes more than 50 ms. Weights are
packed or exported before inference is timed. Training packs them at every step, because they change. oneDNN is called from
C++.

Times are medians. A ratio is the peer's time divided by fastrnn's in the same process, so above 1 fastrnn is faster.
After ± stands the larger interquartile range of the two, relative to its median. GFLOP/s count the products alone: 2 T B
G H (I + H) operations forward, and three times as many in a training step (forward and all gradients); T B is the sum of the
lengths where sequences have lengths. I = H, T = 100, float32. Page faults are counted in a warm call. A table leaves out
columns that are empty or 0 in all rows.
"""

AGAIN = """\
A comparison was measured again if an interquartile range was above {spread:.0%} of its median, or if fastrnn's time
differed by more than {off:.0%} from its median over all peers. Of {count}, {again} were measured again, and
the page shows their second measurement.
"""


def write(results: Results, folder: Path) -> None:
    """Write the page and its pictures into ``folder``. Raises InputError if ceilings are missing."""
    measured = [Case(**record["case"]) for record in results.records]
    threads = sorted({case.threads for case in measured})
    for n in threads:
        if n not in results.ceilings:
            raise InputError(f"the results must have a line with the ceilings of {quantity(n, 'thread')}, got none")
    folder.mkdir(parents=True, exist_ok=True)
    statistics = list(of_cases(results.records, list(dict.fromkeys([*cases(QUESTIONS, "grid", threads), *measured]))))
    layers = set(cases(("forward", "training"), "grid", threads))
    grid = [f for f in statistics if f.case in layers]
    precisions = [f for f in statistics if f.case.precision != "highest"]
    machine = results.machine.get("processor", "unknown processor")
    drawn = []
    if grid:
        plots.roofline(grid, results.ceilings, f"fastrnn on {machine}: roofline", folder / "roofline.png")
        drawn = ["roofline.png"]
    for name, some, title in (("precisions.png", precisions, PRECISIONS_TITLE), ("ratios.png", grid, HEAT_MAP_TITLE)):
        if compared := [f for f in some if f.fastest]:
            plots.heat_map(compared, title.format(machine=machine), folder / name)
            drawn.append(name)
    write_atomically(folder / "performance.md", ("\n".join(_page(results, statistics, drawn)) + "\n").encode())


def _page(results: Results, statistics: Sequence[Statistics], drawn: Collection[str]) -> Iterator[str]:
    """Yield the page, with the pictures that were drawn."""
    yield f"# Performance on {results.machine.get('processor', 'an unknown processor')}\n"
    yield INTRODUCTION
    if "ratios.png" in drawn:
        yield f"![{HEAT_MAP}](ratios.png)\n"
    if "precisions.png" in drawn:
        yield f"![{PRECISIONS}](precisions.png)\n"
    yield "## How it is measured\n"
    yield HOW
    again = sum("again" in record for record in results.records)
    yield AGAIN.format(spread=SPREAD, off=OFF, again=again, count=quantity(len(results.records), "comparison"))
    yield from _machine(results)
    if "roofline.png" in drawn:
        yield f"![{ROOFLINE}](roofline.png)\n"
    yield "## Targets\n"
    yield from _table(
        ("what", "wanted", "reached", ""),
        (
            (
                t.what,
                ("at least " if t.least else "at most ") + t.shown(t.wanted),
                t.shown(t.reached),
                {True: "yes", False: "**no**"}.get(t.met, ""),
            )
            for t in targets(statistics, results.ceilings)
        ),
    )
    for question in dict.fromkeys(f.case.question for f in statistics):
        for threads in sorted({f.case.threads for f in statistics if f.case.question == question}):
            some = [f for f in statistics if f.case.question == question and f.case.threads == threads]
            yield f"## {TITLES[question]}, {quantity(threads, 'thread')}\n"
            yield from _statistics(some, results)
    yield from _refused(results)


TITLES = {
    "forward": "Forward",
    "training": "Training step",
    "product": "The input product alone",
    "step": "One step from Python, T = 1, B = 1, state carried",
    "trainer": "Training a character model (embedding 512, LSTM 2 x 512, V = 65, B = 64, T = 128, Adam, clipped by norm)",
    "names": "Training on names (RNN, one name of about 10 characters a step, SGD, clipped by value)",
    "sampling": "Sampling one stream (LSTM H = 256, V = 65)",
}


def _machine(results: Results) -> Iterator[str]:
    yield "## The machine\n"
    for name, value in results.machine.items():
        if name == "caches":
            value = ", ".join(f"{level} {size >> 10} KiB" for level, size in sorted(value.items()))
        yield f"- {name}: {value}"
    versions = {record["peer"]: record["version"] for record in results.records}
    yield "- peers: " + ", ".join(f"{peer} {version}" for peer, version in versions.items())
    for peer, reason in results.absent.items():
        yield f"- {peer} did not take part: {reason}"
    yield ""
    levels = list(next(iter(results.ceilings.values())).read)
    yield from _table(
        ("ceilings", "FMA, GFLOP/s", *(f"reading {level}, GB/s" for level in levels)),
        (
            (quantity(n, "thread"), f"{1e-9 * c.fma:.0f}", *(f"{1e-9 * rate:.0f}" for rate in c.read.values()))
            for n, c in sorted(results.ceilings.items())
        ),
    )


def _statistics(statistics: Sequence[Statistics], results: Results) -> Iterator[str]:
    peers = [peer for peer in NAMES if any(f.ratio(peer) is not None for f in statistics)]
    layers = statistics[0].case.question in LAYER_QUESTIONS
    speed = ("GFLOP/s", "of FMA", "of bandwidth") if layers else ("tokens/s",)
    head = ("case", "ours", "first call", *speed, "page faults", "fastest peer", *(f"to {peer}" for peer in peers))
    rows = [_row(f, results, peers) for f in statistics]
    telling = [i for i in range(len(head)) if any(row[i] not in ("", "0") for row in rows)]
    yield from _table([head[i] for i in telling], (tuple(row[i] for i in telling) for row in rows))


def _row(f: Statistics, results: Results, peers: Sequence[str]) -> tuple[str, ...]:
    variant = f", {f.case.variant}" if f.case.variant else ""
    speed: tuple[str, ...] = (f"{f.tokens:,.0f}",)
    if f.case.question in LAYER_QUESTIONS:
        ceilings = results.ceilings[f.case.threads]
        bandwidth = f.share_of_bandwidth(ceilings)
        speed = (f"{1e-9 * f.rate:.1f}", f"{f.share_of_fma(ceilings):.0%}", "" if bandwidth is None else f"{bandwidth:.0%}")
    best = f"{f.fastest['peer']} {duration(f.fastest['theirs']['median'])}" if f.fastest else ""
    ratios = []
    for peer in peers:
        record = next((r for r in f.records if r["peer"] == peer), None)
        spread = max(record["ours"]["spread"], record["theirs"]["spread"]) if record else 0
        ratios.append(f"{record['ratio']:.2f} ±{spread:.0%}" if record else "")
    name = f"{f.case.cell} H {f.case.H}, B {f.case.B}{variant}"
    return (name, duration(f.ours), duration(f.first), *speed, f"{f.faults:.0f}", best, *ratios)


def _refused(results: Results) -> Iterator[str]:
    if not results.refused:
        return
    yield "## Comparisons that were refused\n"
    for line in results.refused:
        yield f"- {line['peer']}, {Case(**line['case']).name}: {line['refused']}"


def _table(head: Sequence[str], rows: Iterator[tuple[str, ...]]) -> Iterator[str]:
    yield "| " + " | ".join(head) + " |"
    yield "|" + " --- |" * len(head)
    for row in rows:
        yield "| " + " | ".join(row) + " |"
    yield ""
