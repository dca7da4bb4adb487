"""Scaling over machines: measure network namespaces with limited links, and predict larger clusters by a model of the times.

``python -m bench.machines links`` (as root, with iproute2) makes two and four namespaces, which stand for machines, limits
their links, and measures sums of several sizes over them; the largest size is that of the character model's gradients.
``--delay 0.1`` adds a latency in milliseconds (``delayed_links.py``). ``python -m bench.machines steps`` measures training
steps on two machines. ``python -m bench.machines table`` prints what the model predicts for 2 to 64 machines.

The model: a step takes ``compute(b) + exposed``. ``compute`` is proportional to the batch b of a machine. The sum of n bytes
over N machines takes ``2 (N - 1) / N * n / bandwidth + 2 log2(N) * latency``, as reduce-scatter and allgather do.
``exposed`` is a quarter of the sum's time. It is more if the sum takes longer than the backward pass below the top layer,
which is a quarter of ``compute``.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import os
import shutil
import socket
import stat
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from fastrnn.commands.arguments import integer, real
from fastrnn.commands.guard import guarded

from .delayed_links import MTU, carried, tun
from .ranks import CASES, MPIEXEC, measured
from .tables import output_of

LINKS = (1, 10)  # Gbit/s
PREFIX, BRIDGE, NETWORK, HOST = "fastrnn-", "fastrnn-br", "10.77.0", "10.77.0.254"
CHARS = next(iter(CASES))
HIDDEN_SHARE = 0.25  # share of a step's compute time during which gradients travel
EXPOSED_SHARE = 0.25  # smallest exposed share of a sum, measured on two machines; nothing hides the sums of the last layers
MACHINES, FASTER = (2, 4, 8, 16, 32, 64), (10, 25, 100)
CORE_GFLOPS, CORES = 70.0, 16  # a core of an AMD EPYC (Zen 3) in a training step; cores of a machine
LATENCY = 20e-6  # seconds between two machines of a cluster


def ip(*words: object) -> None:
    output_of(["ip", *map(str, words)])


@contextmanager
def machines(number: int, gbit: float, delay: float) -> Iterator[tuple[str, ...]]:
    """Make namespaces whose links have this rate and delay; yield mpiexec's options for them."""
    folder = Path(tempfile.mkdtemp())
    addresses = [f"{NETWORK}.{i + 1}" for i in range(number)]
    joined = carried_network if delay else bridged_network
    try:
        for address in addresses:
            ip("netns", "add", PREFIX + address)
            ip("-n", PREFIX + address, "link", "set", "lo", "up")
        shell = folder / "ssh"
        shell.write_text(
            f'#!/bin/sh\nwhile [ "${{1#-}}" != "$1" ]; do shift; done\nhost=$1; shift\n'
            f'exec ip netns exec {PREFIX}"$host" unshare --uts sh -c "hostname $host; $*"\n'
        )
        shell.chmod(shell.stat().st_mode | stat.S_IXUSR)
        with joined(addresses, delay):
            for address in addresses:
                limit_rate(address, gbit)
            hosts = "-localhost", HOST, "-hosts", ",".join(addresses)
            yield ("-launcher", "ssh", "-launcher-exec", str(shell), *hosts, "-ppn", "1")
    finally:
        for address in addresses:
            subprocess.run(["ip", "netns", "del", PREFIX + address], check=False, capture_output=True)
        shutil.rmtree(folder)


@contextmanager
def bridged_network(addresses: list[str], delay: float) -> Iterator[None]:
    """Join the machines by a bridge, which adds no latency."""
    outsides = [f"fastrnn-v{i}" for i in range(len(addresses))]
    try:
        ip("link", "add", BRIDGE, "type", "bridge")
        ip("addr", "add", f"{HOST}/24", "dev", BRIDGE)
        ip("link", "set", BRIDGE, "up")
        for address, outside in zip(addresses, outsides, strict=True):
            ip("link", "add", outside, "type", "veth", "peer", "name", "eth0", "netns", PREFIX + address)
            ip("link", "set", outside, "master", BRIDGE)
            ip("link", "set", outside, "up")
            start_device("eth0", address)
        yield
    finally:
        for device in (*outsides, BRIDGE):
            subprocess.run(["ip", "link", "del", device], check=False, capture_output=True)


@contextmanager
def carried_network(addresses: list[str], delay: float) -> Iterator[None]:
    """Join the machines and this one by a process that passes packets on after ``delay`` milliseconds."""
    devices = {}
    try:
        for i, address in enumerate([HOST, *addresses]):
            devices[socket.inet_aton(address)] = tun(f"fastrnn-t{i}")
            ip("link", "set", f"fastrnn-t{i}", "mtu", MTU)
            if address != HOST:
                ip("link", "set", f"fastrnn-t{i}", "netns", PREFIX + address, "name", "eth0")
        start_device("fastrnn-t0", HOST, inside=False)
        for address in addresses:
            start_device("eth0", address)
        with carried(devices, 1e-3 * delay):
            yield
    finally:
        for device in devices.values():
            os.close(device)


def start_device(name: str, address: str, inside: bool = True) -> None:
    """Give a device its address and start it, in the namespace of a machine or outside all namespaces."""
    where = ("-n", PREFIX + address) if inside else ()
    ip(*where, "addr", "add", f"{address}/24", "dev", name)
    ip(*where, "link", "set", name, "up")


def limit_rate(address: str, gbit: float) -> None:
    """Limit the rate at which the machine sends."""
    limits = ["tbf", "rate", f"{gbit}gbit", "burst", f"{128 * gbit}kb", "latency", "100ms"]
    words = ["ip", "netns", "exec", PREFIX + address, "tc", "qdisc", "add", "dev", "eth0", "root", *limits]
    output_of(words)


def sums() -> None:
    """Add up gradients of several sizes over all ranks; rank 0 prints the median seconds of each."""
    from fastrnn.distributed import world

    ranks = world()
    found = {}
    for size in (1, 1 << 15, 1 << 18, 3_300_000):
        source, target = np.ones(size, np.float32), np.empty(size, np.float32)
        times = []
        for _ in range(7):
            ranks.barrier()
            started = time.perf_counter()
            ranks.iallreduce(source, target).wait()
            times.append(time.perf_counter() - started)
        found[4 * size] = statistics.median(times)
    if ranks.rank == 0:
        print(json.dumps(found))


def sum_seconds(number: int, size: float, bandwidth: float, latency: float) -> float:
    """Predict the time of a sum of ``size`` bytes, with ``bandwidth`` in bytes per second."""
    return 2 * (number - 1) / number * size / bandwidth + 2 * math.log2(number) * latency


def links(delay: float) -> None:
    print("| machines | Gbit/s | bytes | sum, ms | model, ms |\n| --- | --- | --- | --- | --- |")
    for number, gbit in itertools.product((2, 4), LINKS):
        with machines(number, gbit, delay) as options:
            words = [MPIEXEC, *options, "-n", str(number), sys.executable, "-m", "bench.machines", "sums"]
            found = json.loads(output_of(words).splitlines()[-1])
        latency = found["4"] / (2 * math.log2(number))  # as measured with the smallest sum
        for size, seconds in found.items():
            predicted = sum_seconds(number, int(size), gbit * 1e9 / 8, latency)
            print(f"| {number} | {gbit} | {int(size):,} | {1e3 * seconds:.2f} | {1e3 * predicted:.2f} |", flush=True)


def steps(delay: float, rounds: int) -> None:
    print("| Gbit/s | sent | step, ms | of it only waiting, ms |\n| --- | --- | --- | --- |")
    for gbit in LINKS:
        found: dict[bool, list[dict[str, float]]] = {False: [], True: []}
        with machines(2, gbit, delay) as options:
            for _, (overlap, rows) in itertools.product(range(rounds), found.items()):
                rows.append(measured(CHARS, 2, 1, overlap, options))
        for overlap, rows in found.items():
            step, waited = (statistics.median(row[name] for row in rows) for name in ("step", "waited"))
            print(f"| {gbit} | {'during' if overlap else 'after'} backward | {step:.0f} | {waited:.0f} |", flush=True)


def table() -> None:
    """Print the predicted efficiency for the character model, and the smallest batch that keeps it above 80 %."""
    parameters = 4 * 512 * (65 + 512) + 4 * 512 * 1024 + 65 * 512
    size, flops = 4 * parameters, 6 * parameters * 64  # bytes of gradients; operations per sequence of 64 tokens
    sequence = flops / (CORE_GFLOPS * 1e9 * CORES)  # seconds
    print(f"{parameters:,} parameters, {1e3 * sequence:.2f} ms per sequence of 64 tokens on {CORES} cores\n")
    print("| machines | " + " | ".join(f"{gbit} Gbit/s" for gbit in FASTER) + " |")
    print("| --- " * (1 + len(FASTER)) + "|")
    for number in MACHINES:
        cells = []
        for gbit in FASTER:
            exchange = sum_seconds(number, size, gbit * 1e9 / 8, LATENCY)
            efficiency = share(64 * sequence, exchange)
            batch = next(b for b in range(1, 10**6) if share(b * sequence, exchange) > 0.8)
            cells.append(f"{efficiency:.0%}, {batch * number:,}")
        print(f"| {number} | {' | '.join(cells)} |")


def share(compute: float, exchange: float) -> float:
    """Return the efficiency: the share of a step's time in which machines compute."""
    return compute / (compute + max(EXPOSED_SHARE * exchange, exchange - HIDDEN_SHARE * compute))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.machines", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("what", choices=["links", "steps", "table", "sums"])
    parser.add_argument("--delay", type=real(0), default=0.0, metavar="MS", help="one way")
    parser.add_argument("--rounds", type=integer(1), default=5)
    given = parser.parse_args()
    if given.what in ("links", "steps") and os.geteuid():
        parser.error(f"{given.what} makes network namespaces, so it must be run as root")
    if given.what in ("links", "steps"):  # ranks that stand for machines do not share memory
        os.environ.update(FASTRNN_NUM_THREADS="1", MPIR_CVAR_NOLOCAL="1", UCX_TLS="tcp,self")
    runs = {
        "links": lambda: links(given.delay),
        "steps": lambda: steps(given.delay, given.rounds),
        "table": table,
        "sums": sums,
    }
    runs[given.what]()


if __name__ == "__main__":
    raise SystemExit(guarded(main))
