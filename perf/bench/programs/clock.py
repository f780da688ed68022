"""A task that tells when it resumed: holds SIZE bytes, and writes the time into FILE every 2 ms.

    clock.py SIZE FILE [TIMES]     as hold.py, beside this folder, holds it

FILE has two lines of fixed length: the time of the last tick, and that of the first one behind a gap of 0.3 s.
"""

import mmap
import os
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def main(size, file, times="1"):
    import hold

    memory = mmap.mmap(-1, int(size), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    content = hold.block(int(times))
    for at in range(0, int(size), hold.BLOCK):
        memory[at : at + hold.BLOCK] = content[: int(size) - at]
    del content
    out = os.open(file, os.O_RDWR | os.O_CREAT, 0o600)
    last = resumed = time.time()
    while True:
        now = time.time()
        if now - last > 0.3:
            resumed = now
        last = now
        os.pwrite(out, b"%20.6f\n%20.6f\n" % (now, resumed), 0)
        time.sleep(0.002)


main(*sys.argv[1:])
