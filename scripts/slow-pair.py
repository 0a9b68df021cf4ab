#!/usr/bin/env python3
"""A slow pair of network devices, for kernels without netem. Started by scripts/two-hosts.sh.

    slow-pair.py NAME NAME DELAY_MS LOSS_PERCENT

Makes two devices and hands each packet from one to the other, late or not at all; says "ready" when they are there. They
may then be moved to other network namespaces. They go when this program ends.
"""

import collections
import errno
import fcntl
import os
import random
import select
import signal
import struct
import sys
import time

# From linux/if_tun.h: packets of IP, without a header in front.
TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 0x0001, 0x1000
LARGEST = 65536


def device(name):
    file = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(file, TUNSETIFF, struct.pack("16sH", name.encode(), IFF_TUN | IFF_NO_PI))
    return file


def main():
    for wish in (signal.SIGINT, signal.SIGTERM):
        signal.signal(wish, signal.SIG_IGN)  # meant for mpirun, which still needs the network to end well
    one, two = device(sys.argv[1]), device(sys.argv[2])
    delay, loss = float(sys.argv[3]) / 1e3, float(sys.argv[4]) / 100
    other = {one: two, two: one}
    draw = random.Random(1)
    waiting = collections.deque()  # when it is due, to which device, the packet; in that order
    print("ready", flush=True)
    while True:
        timeout = max(0.0, waiting[0][0] - time.monotonic()) if waiting else None
        readable, _, _ = select.select([one, two], [], [], timeout)
        now = time.monotonic()
        for file in readable:
            try:
                packet = os.read(file, LARGEST)
            except OSError as why:
                if why.errno == errno.EBADFD:
                    return  # the device has gone with its host
                time.sleep(0.01)  # it is down
                continue
            if draw.random() >= loss:
                waiting.append((now + delay, other[file], packet))
        while waiting and waiting[0][0] <= now:
            _, file, packet = waiting.popleft()
            try:
                os.write(file, packet)
            except OSError:
                pass  # the device is down, or its queue is full: lost, as on any network


main()
