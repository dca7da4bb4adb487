"""Draws the pictures of docs/kernels.md into this folder: ``python docs/figures/draw.py``, or ``just figures``."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable

from matplotlib.axes import Axes
from shapes import COLD, GATES, HOT, LINE, MARK, PALE, PAPER, SOFT, THREADS, arrow, box, frame, picture, save, say, slots


@picture(66, "One layout for weights and gates: panels of 16 hidden units with all their gates (LSTM, AVX-512, float32)")
def layout(a: Axes) -> None:
    """torch's rows of gates, the panels of weights, the panels of the gate buffer."""
    for row, gate in enumerate(GATES):
        for third in range(3):
            y = 15 + 10 * row + 10 * third / 3
            box(a, 9, y, 17, 10 / 3, GATES[gate] if third == 1 else PALE, f"units {16 * third}..{16 * third + 15}", size=6.5)
        say(a, 7.5, 20 + 10 * row, gate, ha="right", weight="bold")
    say(a, 17.5, 11, "R as torch has it: [4H, H]", ha="center")
    say(a, 17.5, 57.5, "columns: k, the unit of h_prev", ha="center", color=SOFT)
    say(a, 28, 11, "transposed and interleaved,\nonce for many steps", color=SOFT, size=8)
    arrow(a, (27, 27), (38.5, 20))

    say(a, 69, 11, "panels of the packed R: [k][slot][unit]", ha="center")
    say(a, 69, 55, "panels of the gate buffer: [row][slot][unit]", ha="center")
    for y in (14, 36):
        for row in range(7):
            slots(a, 56, y + 2.2 * row, 26, 2.2)
        for n, name in enumerate(GATES):
            say(a, 59.25 + 6.5 * n, y + 7.7, name, ha="center", weight="bold")
        for n, x in enumerate((47, 84)):
            box(a, x, y, 7, 15.4, PALE, f"panel\n{2 * n}")
        say(a, 93, y + 7.7, "…", size=12)
    say(a, 46, 15, "k = 0", ha="right", color=SOFT, size=8)
    say(a, 46, 28.4, "k = H - 1", ha="right", color=SOFT, size=8)
    say(a, 59.2, 31.4, "16 lanes", ha="center", color=SOFT, size=7.5)
    box(a, 31, 36, 10, 15.4, PALE, "h_prev\n[row][k]")
    arrow(a, (41.6, 43.7), (46.4, 43.7))
    say(a, 44, 41.8, "+=", ha="center")
    frame(a, 56, 38.2, 26, 2.2)
    say(
        a,
        31,
        60.5,
        "a row of a panel (framed) is one sequence at one step: i f g o of 16 units,\n"
        "256 bytes in one place, which is all that their equations need",
        color=MARK,
        size=8,
    )


@picture(58, "The register tile: 6 rows by 4 vectors (AVX-512), and its form for a single row")
def tile(a: Axes) -> None:
    """The sums in registers, and the tile of a single row."""
    say(a, 19, 10, "B: a panel of R, 4 vector loads for each k", size=8)
    for k in range(4):
        for v in range(4):
            box(a, 19 + 6 * v, 12 + 2.5 * k, 6, 2.5, HOT if k == 1 else PALE)
    say(a, 44, 15.8, "k", weight="bold")
    for r in range(6):
        for k in range(4):
            box(a, 4 + 3 * k, 25 + 3.6 * r, 3, 3.6, GATES["g"] if k == 1 else PALE)
        for v in range(4):
            box(a, 19 + 6 * v, 25 + 3.6 * r, 6, 3.6, GATES["i"], "sum", size=7)
    say(a, 8.5, 49.5, "k", weight="bold", ha="center")
    say(a, 4, 22.5, "A: rows of h_prev", size=8)
    say(a, 4, 53.5, "6 broadcasts of one\nnumber of A each", size=8)
    say(a, 31, 50, "24 fma for each k", ha="center", size=8)

    say(a, 50, 11, "32 vector registers", size=8.5, weight="bold")
    kinds = [(GATES["i"], 24), (HOT, 4), (GATES["g"], 1), (PAPER, 3)]
    colours = [colour for colour, n in kinds for _ in range(n)]
    for n, colour in enumerate(colours):
        box(a, 50 + 2.6 * (n % 16), 13.5 + 3.4 * (n // 16), 2.4, 3, colour)
    for n, (colour, text) in enumerate(
        ((GATES["i"], "24 sums"), (HOT, "4 of the panel"), (GATES["g"], "1 broadcast"), (PAPER, "3 free"))
    ):
        box(a, (50, 61, 76, 89)[n], 22.3, 1.6, 1.8, colour)
        say(a, (52.2, 63.2, 78.2, 91.2)[n], 23.2, text, size=7.5)

    say(a, 50, 30, "a single row: 2 panels side by side", weight="bold")
    box(a, 50, 40.5, 3, 3.6, GATES["g"])
    for panel in range(2):
        for v in range(4):
            box(a, 55.5 + 21.5 * panel + 5 * v, 34.5, 5, 2.5, HOT)
            box(a, 55.5 + 21.5 * panel + 5 * v, 40.5, 5, 3.6, GATES["i"], "sum", size=7)
        say(a, 65.5 + 21.5 * panel, 33, f"panel {panel}", ha="center", size=8)
    say(
        a,
        50,
        50.5,
        "8 sums that do not wait for each other: two fma units, four cycles\n"
        "each. One panel alone has 4, which is half the speed at best.",
        size=8,
    )


@picture(63, "The forward pass of a layer (B = 32): the input product just ahead of the sweep")
def sweep(a: Axes) -> None:
    """Chunks of input products and steps; what happens inside a step."""
    x = 4.0
    for chunk in range(2):
        box(a, x, 13, 17, 9, GATES["i"], f"P = X Wᵀ + b\nsteps {6 * chunk}..{6 * chunk + 5}")
        x += 17
        for step in range(6):
            box(a, x, 13, 4.6, 9, HOT, str(6 * chunk + step))
            x += 4.6
    say(a, x + 1, 17.5, "…", size=12)
    say(a, 4, 9.5, "about 192 rows at once: full\ntiles, W is read once for all", size=8, color=SOFT)
    say(a, 30, 9.5, "steps, one after the other;\nthe gates are still in L2", size=8, color=SOFT)
    say(a, 60, 9.5, "in inference the next chunk takes the same memory", size=8, color=SOFT)
    for begin, end in ((25.6, 4), (30.2, 94)):
        a.plot([begin, end], [22, 33], color=LINE, lw=0.9, ls=":")
    box(a, 4, 33, 90, 15, PAPER)
    x = 5.0
    for panel in range(3):
        say(a, x, 35.7, f"panel {panel}", weight="bold", size=8)
        for rows in ("0..4", "5..9"):
            box(a, x, 37.5, 7.6, 8.5, GATES["i"], f"tile\nrows\n{rows}", size=7)
            box(a, x + 7.6, 37.5, 4.6, 8.5, GATES["g"], "cell", size=7.5)
            x += 12.2
        say(a, x + 1, 41.8, "…", size=10)
        x += 5
    say(
        a,
        4,
        56,
        "One step: for each panel and each block of rows, gates += h_prev Rᵀ over all k, then the cell's equations on\n"
        "the block that was just finished, out of L1: activations over the gates, c and h beside them, y to the\n"
        "caller. No second pass over the gates. The recurrent product starts from P: nothing is added afterwards.",
        size=8,
    )


def hits(orders: Iterable[list[int]], room: int) -> list[list[bool]]:
    """Return which panels are in a cache of `room` panels, which drops the least recently used, when they are wanted."""
    cache: OrderedDict[int, None] = OrderedDict()
    found = []
    for order in orders:
        row = []
        for panel in order:
            row.append(panel in cache)
            cache.pop(panel, None)
            cache[panel] = None
            if len(cache) > room:
                cache.popitem(last=False)
        found.append(row)
    return found


@picture(47, "Walking back and forth: a cache with room for 5 of 8 panels of R, dropping the least recently used")
def zigzag(a: Axes) -> None:
    """Steps over panels, hits and misses of a cache with room for 5 of 8."""
    panels, steps, room = 8, 4, 5
    forth = [list(range(panels)) for _ in range(steps)]
    zigzagging = [order[::-1] if step % 2 else order for step, order in enumerate(forth)]
    for x, orders, name in ((11, forth, "always from panel 0"), (58, zigzagging, "back and forth in turn")):
        say(a, x + 16, 10.5, name, ha="center", weight="bold")
        for step, (order, row) in enumerate(zip(orders, hits(orders, room), strict=True)):
            y = 13 + 6 * step
            say(a, x - 1, y + 2.3, f"step {step}", ha="right", size=8)
            for panel, hit in zip(order, row, strict=True):
                box(a, x + 4 * panel, y, 4, 4.6, GATES["g"] if hit else COLD, str(panel), size=7.5)
            back = order[0] > order[-1]
            ends = ((x + 32, y + 5.3), (x, y + 5.3))
            arrow(a, *(ends if back else ends[::-1]), lw=0.8, mutation_scale=7)
    box(a, 11, 40.5, 2, 2.2, GATES["g"])
    say(a, 14, 41.6, "still there", size=8)
    box(a, 24, 40.5, 2, 2.2, COLD)
    say(a, 27, 41.6, "comes from the next level", size=8)
    say(a, 58, 41.6, "0 of 8 found a step on the left, 5 of 8 on the right", size=8)


@picture(67, "The gate buffer through a training step: one memory, three lives")
def backward(a: Axes) -> None:
    """Draw the contents of the gate buffer, one after the other, and who reads them."""
    stages = (
        ("input product", "p = x Wᵀ + b", "$p_{}$"),
        ("recurrent product", "a = p + h_prev Rᵀ", "$a_{}$"),
        ("cell, forward", "activations", "${}$"),
        ("cell, backward", "gradients of a", "$da_{}$"),
    )
    for n, (who, what, text) in enumerate(stages):
        x = 4 + 24 * n
        say(a, x + 10, 10, who, ha="center", weight="bold")
        slots(a, x, 12.5, 20, 6, text)
        say(a, x + 10, 21, what, ha="center", color=SOFT)
        if n < 3:
            arrow(a, (x + 20.4, 15.5), (x + 23.6, 15.5))
    say(a, 62, 24, "kept as the tape until backward", ha="center", color=SOFT, size=8)

    say(a, 4, 33.5, "serial, step by step from the last", weight="bold")
    x = 4.0
    for n, step in enumerate(("t + 1", "t", "t - 1")):
        box(a, x, 36.5, 13, 8, GATES["i"], "dh += dq R", size=7.5)
        box(a, x + 13, 36.5, 13, 8, GATES["g"], f"cell: da\nstep {step}", size=7.5)
        if n < 2:
            arrow(a, (x + 26.3, 40.5), (x + 32.7, 40.5))
        x += 33
    say(a, 4, 47, "dq: da of the step after this", size=7.5, color=SOFT)
    say(a, 37, 47, "needs da of step t + 1: the one product that cannot wait", size=7.5, color=SOFT)

    say(a, 4, 53, "whole products, after the sweep, over all rows at once", weight="bold")
    for n, (text, note) in enumerate(
        (
            ("dx = dp W", "gates as rows: k runs over\nslots, then panels"),
            ("dW += dpᵀ X", "gates as columns, read by\nstrides; X copied in blocks"),
            ("dR += dqᵀ H_prev", "the same, with the states of\nthe step before"),
            ("db += sums of rows", "rides along with\ndW and dR"),
        )
    ):
        box(a, 4 + 23.5 * n, 55, 21.5, 4.2, GATES["f"], text)
        say(a, 4 + 23.5 * n, 62.3, note, size=7.5, color=SOFT)


@picture(55, "Lengths: rows are sorted once, and the batch shrinks as sequences end")
def lengths(a: Axes) -> None:
    """Sequences as they come, and sorted with the batch shrinking."""
    sizes = (3, 6, 2, 4)
    colours = tuple(GATES.values())
    order = sorted(range(4), key=lambda b: -sizes[b])
    say(a, 21, 11, "what the caller has: x [T, B, I]", ha="center", weight="bold")
    say(a, 70, 11, "what the kernels walk over", ha="center", weight="bold")
    for b in range(4):
        say(a, 7.5, 17 + 6 * b, f"b = {b}", ha="right", size=8)
        for t in range(6):
            box(a, 9 + 4 * t, 14.5 + 6 * b, 4, 5, colours[b] if t < sizes[b] else PAPER, "" if t < sizes[b] else "·")
    offset = 0
    for step in range(6):
        active = sum(size > step for size in sizes)
        for j in range(active):
            box(a, 46 + 8 * step, 14.5 + 6 * j, 8, 5, colours[order[j]], f"n = {offset + j}", size=7.5)
        say(a, 50 + 8 * step, 40.3, f"step {step}\n{active} row{'s' * (active > 1)}", ha="center", size=7.5)
        offset += active
    for j in range(4):
        say(a, 45, 17 + 6 * j, f"j = {j}", ha="right", size=8)
    for t in range(6):
        say(a, 11 + 4 * t, 40.3, f"{'t = ' * (not t)}{t}", ha="center", size=7.5)
    arrow(a, (34.5, 26), (39.5, 26))
    say(
        a,
        4,
        48.5,
        f"The rows active at a step are the first ones, so a step is a smaller product and nothing more: {offset} rows\n"
        "instead of 24. x is gathered and y scattered at the border; backward walks the same rows from the end.",
        size=8,
    )


@picture(64, "One step's gates, split among two threads")
def split(a: Axes) -> None:
    """Draw which thread computes which part of a step, and when threads wait."""
    kinds: tuple[tuple[str, Callable[[int, int], int], str], ...] = (
        ("none", lambda row, panel: 0, "small passes: waking another\nthread would cost more"),
        ("batch", lambda row, panel: row // 3, "many rows: nobody waits in the\nsweep; each reads all of R"),
        ("hidden units", lambda row, panel: panel // 2, "few rows, large R: each keeps its\nhalf of R in its own cache"),
    )
    for n, (name, owner, note) in enumerate(kinds):
        x = 11 + 30 * n
        say(a, x + 10, 10.5, name, ha="center", weight="bold")
        for row in range(6):
            for panel in range(4):
                box(a, x + 5 * panel, 13 + 2.6 * row, 5, 2.6, THREADS[owner(row, panel)], lw=0.4)
        say(a, x + 10, 31, "panels of hidden units", ha="center", size=7.5, color=SOFT)
        a.text(x - 1.2, 20.8, "rows", rotation=90, ha="center", va="center", size=7.5, color=SOFT)
        say(a, x - 1.5, 60, note, size=8)
    say(a, 9, 36, "steps in time", size=8, color=SOFT)
    for n, name in enumerate(("none", "batch", "hidden")):
        x = 11 + 30 * n
        for thread in range(1 if name == "none" else 2):
            y = 39 + 6.5 * thread
            say(a, x - 1.4, y + 2.3, f"thread {thread}" if not n else str(thread), ha="right", size=7.5)
            for step in range(4):
                width = 4.6
                gap = 0.9 if name == "hidden" else 0
                box(a, x + step * (width + gap), y, width, 4.6, THREADS[thread], str(step), size=7.5)
        if name == "hidden":
            for step in range(4):
                line = x + 4.6 + 5.5 * step + 0.45
                a.plot([line, line], [38, 51.5], color=MARK, lw=1.3)
            say(a, x + 11, 53.8, "a barrier after each step", ha="center", size=7.5, color=MARK)
        elif name == "batch":
            for line in (x - 0.4, x + 18.8):
                a.plot([line, line], [38, 51.5], color=MARK, lw=1.3)
            say(a, x + 9.2, 53.8, "barriers around a chunk of steps", ha="center", size=7.5, color=MARK)


def main() -> None:
    """All of them."""
    for draw in (layout, tile, sweep, zigzag, backward, lengths, split):
        save(draw(), draw.__name__)


if __name__ == "__main__":
    main()
