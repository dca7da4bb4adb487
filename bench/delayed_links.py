"""Links with a latency between network namespaces, for kernels without netem: this process carries every packet.

Each machine has a TUN device (Linux, ``/dev/net/tun``; needs root). This process reads each packet that a machine sends and
passes it to the receiver after the delay. The devices' own queueing discipline limits the rate, as on any other link.
"""

from __future__ import annotations

import fcntl
import os
import select
import struct
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 0x0001, 0x1000
MTU = 60_000  # large, so that Python handles few packets
LONGEST_WAIT = 0.1  # seconds after which the carrier checks whether it should end


def tun(name: str) -> int:
    """Make a TUN device and return its file descriptor; the device lives as long as the descriptor."""
    device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(device, TUNSETIFF, struct.pack("16sH", name.encode(), IFF_TUN | IFF_NO_PI))
    return device


@contextmanager
def carried(devices: Mapping[bytes, int], delay: float) -> Iterator[None]:
    """Carry packets between devices while the block runs.

    Parameters
    ----------
    devices
        The descriptor of each IPv4 address, which is 4 bytes.
    delay
        Seconds between reading a packet and passing it on.
    """
    ended = threading.Event()
    carrier = threading.Thread(target=_carry, args=(devices, delay, ended))
    carrier.start()
    try:
        yield
    finally:
        ended.set()
        carrier.join()


def _carry(devices: Mapping[bytes, int], delay: float, ended: threading.Event) -> None:
    queue: deque[tuple[float, int, bytes]] = deque()  # due time, receiver, packet; in the order of arrival
    poll = select.poll()
    for device in devices.values():
        poll.register(device, select.POLLIN)
    while not ended.is_set():
        wait = queue[0][0] - time.perf_counter() if queue else LONGEST_WAIT
        # poll waits for whole milliseconds; for a shorter time, it is called again until the time has passed.
        for device, _ in poll.poll(max(0, int(1e3 * wait))):
            packet = os.read(device, MTU)
            receiver = devices.get(packet[16:20])  # the destination of an IPv4 packet
            if packet[0] >> 4 == 4 and receiver is not None:
                queue.append((time.perf_counter() + delay, receiver, packet))
        while queue and queue[0][0] <= time.perf_counter():
            _, receiver, packet = queue.popleft()
            os.write(receiver, packet)
