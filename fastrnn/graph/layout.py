"""Layout of a graph's picture: boxes in rows by their distance from the inputs, few crossings, straight edges.

The method is that of Sugiyama, Tagawa & Toda 1981. An edge that crosses rows has a waypoint in each of them. Alternating
downward and upward passes sort each row by the mean position of its neighbours, then adjust the positions likewise.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise

Point = tuple[float, float]
Edge = tuple[str, str]

PASSES = 12
GAP = 0.35  # between the boxes of a row


class Layout:
    """Rows of named boxes, and the waypoints of each edge.

    ``widths`` maps each box to its width. ``edges`` are pairs (from, to), where "from" comes before "to" in ``widths``.
    ``rows`` is the number of rows; ``center`` maps each box to its (x, row).
    """

    def __init__(self, widths: Mapping[str, float], edges: Sequence[Edge]) -> None:
        self._ranks = _ranks(list(widths), edges)
        self._widths = dict(widths)
        self._ways: dict[Edge, list[str]] = {}  # the boxes and waypoints of each edge
        self._below: dict[str, list[str]] = {name: [] for name in widths}
        self._above: dict[str, list[str]] = {name: [] for name in widths}
        for edge in dict.fromkeys(edges):
            self._add_edge(*edge)
        self.rows = 1 + max(self._ranks.values())
        order = [[name for name in self._below if self._ranks[name] == rank] for rank in range(self.rows)]
        self._order = self._with_few_crossings(order)
        self._x = self._straightened()
        left = min(x - self._widths[name] / 2 for name, x in self._x.items())
        self.width = max(x + self._widths[name] / 2 for name, x in self._x.items()) - left
        self.center = {name: (x - left, self._ranks[name]) for name, x in self._x.items()}

    def way(self, edge: Edge) -> list[Point]:
        """Return the points of an edge, from box to box."""
        return [self.center[name] for name in self._ways[edge]]

    def _add_edge(self, source: str, target: str) -> None:
        way = [source]
        for rank in range(self._ranks[source] + 1, self._ranks[target]):
            name = f"{source}|{target}|{rank}"
            self._ranks[name], self._widths[name] = rank, 0.3
            self._below[name], self._above[name] = [], []
            way.append(name)
        way.append(target)
        for above, below in pairwise(way):
            self._below[above].append(below)
            self._above[below].append(above)
        self._ways[source, target] = way

    def _with_few_crossings(self, order: list[list[str]]) -> list[list[str]]:
        best, fewest = order, self._crossings(order)
        for number in range(PASSES):
            down = number % 2 == 0
            neighbours = self._above if down else self._below
            order = [list(row) for row in order]
            for r in range(1, len(order)) if down else range(len(order) - 2, -1, -1):
                adjacent = order[r - 1] if down else order[r + 1]
                place = {name: i / len(adjacent) for i, name in enumerate(adjacent)}
                own = {name: i / len(order[r]) for i, name in enumerate(order[r])}
                keys = {name: _mean([place[n] for n in neighbours[name]], own[name]) for name in order[r]}
                order[r].sort(key=keys.__getitem__)
            crossings = self._crossings(order)
            if crossings < fewest:
                best, fewest = order, crossings
        return best

    def _crossings(self, order: list[list[str]]) -> int:
        count = 0
        for row, below in pairwise(order):
            place = {name: i for i, name in enumerate(below)}
            ends = [(i, place[n]) for i, name in enumerate(row) for n in self._below[name]]
            count += sum(a < c and b > d for a, b in ends for c, d in ends)
        return count

    def _straightened(self) -> dict[str, float]:
        x: dict[str, float] = {}
        for row in self._order:
            self._place(row, dict.fromkeys(row, 0.0), x)
        for number in range(4 * PASSES + 1):  # odd, so the last pass is downward
            down = number % 2 == 0
            for row in self._order if down else reversed(self._order):
                first, second = (self._above, self._below) if down else (self._below, self._above)
                wanted = {n: _mean([x[m] for m in first[n] or second[n]], x[n]) for n in row}
                self._place(row, wanted, x)
        return x

    def _place(self, row: list[str], wanted: dict[str, float], x: dict[str, float]) -> None:
        """Set the row's x as near to ``wanted`` as its order and the boxes' widths allow.

        Neighbours that would overlap become one block, placed at the mean of its members' wanted positions.
        """
        blocks: list[tuple[list[str], list[float]]] = []  # names, and their offsets within the block

        def left(block: tuple[list[str], list[float]]) -> float:
            names, offsets = block
            return _mean([wanted[n] - o for n, o in zip(names, offsets, strict=True)], 0.0)

        for name in row:
            blocks.append(([name], [0.0]))
            while len(blocks) > 1:
                (names, offsets), (more, more_offsets) = blocks[-2:]
                gap = (self._widths[names[-1]] + self._widths[more[0]]) / 2 + GAP
                if left(blocks[-2]) + offsets[-1] + gap <= left(blocks[-1]) + more_offsets[0]:
                    break
                blocks[-2:] = [(names + more, offsets + [offsets[-1] + gap + o - more_offsets[0] for o in more_offsets])]
        for block in blocks:
            start = left(block)
            for name, offset in zip(*block, strict=True):
                x[name] = start + offset


def _ranks(names: list[str], edges: Iterable[Edge]) -> dict[str, int]:
    """Return each box's row: one below its lowest source, or for a box without sources just above its first target."""
    edges = list(edges)
    ranks = dict.fromkeys(names, 0)
    for name in names:
        ranks[name] = max((ranks[source] + 1 for source, target in edges if target == name), default=0)
    for name in reversed(names):
        if all(target != name for _, target in edges):
            ranks[name] = min((ranks[target] - 1 for source, target in edges if source == name), default=0)
    return ranks


def _mean(values: list[float], otherwise: float) -> float:
    return sum(values) / len(values) if values else otherwise
