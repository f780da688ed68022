"""The task: holds SIZE bytes of incompressible private memory, writes READY, and waits.

    hold.py SIZE READY
"""

import mmap
import os
import signal
import sys

size = int(sys.argv[1])
memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
view = memoryview(memory)
source = os.open("/dev/urandom", os.O_RDONLY)
filled = 0
while filled < size:
    filled += os.readv(source, [view[filled : filled + (1 << 24)]])
os.close(source)
with open(sys.argv[2], "w") as ready:
    ready.write(str(os.getpid()))
while True:
    signal.pause()
