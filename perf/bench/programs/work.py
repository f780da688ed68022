"""A task of a fixed amount of work that prints how many seconds it took by its own clock.

    work.py cpu N        N times arithmetic on numbers, which stay in the cache
    work.py memory N     N times a copy of 256 MiB, which do not fit into it
    work.py print N      N MiB to stdout, in lines; the seconds go to stderr
"""

import os
import sys
import time


def cpu(times):
    value = 1
    for _ in range(times):
        for number in range(200_000):
            value = (value * 31 + number) & 0xFFFFFFFF
    return value


def memory(times):
    size = 256 << 20
    source, target = bytearray(os.urandom(1 << 20)) * (size >> 20), bytearray(size)
    begin = time.perf_counter()
    for number in range(times):
        source[number] ^= 1
        target[:] = source
    return time.perf_counter() - begin


def printing(times):
    lines = (b"x" * 127 + b"\n") * (1 << 13)
    for _ in range(times):
        at = 0
        while at < len(lines):
            at += os.write(1, lines[at : at + 65536])


def main(kind, times):
    time.sleep(1.5)  # what started it is at rest then
    begin = time.perf_counter()
    result = {"cpu": cpu, "memory": memory, "print": printing}[kind](int(times))
    seconds = result if kind == "memory" else time.perf_counter() - begin
    (sys.stderr if kind == "print" else sys.stdout).write(f"took {seconds:.6f}\n")


main(*sys.argv[1:])
