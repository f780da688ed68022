#!/usr/bin/python3
"""One process with that much memory, half of it random and half of it text.

    memory.py MIB STEPS PAUSE

Prints `step N CHECKSUM` and, at the end, `all CHECKSUM` of every byte. Deterministic. Pauses after each step unless a file `hurry`
is in its working directory.
"""
import mmap
import os
import random
import sys
import time
import zlib

MIB = 1 << 20
size, steps, pause = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
numbers = random.Random(size)
text = b"".join(b"line %d of the text %d\n" % (i, i * 7919 % 1000) for i in range(MIB // 16))[:MIB]
memory = mmap.mmap(-1, size * MIB)
for block in range(size):
    memory[block * MIB:(block + 1) * MIB] = numbers.randbytes(MIB) if block % 2 else text
for step in range(1, steps + 1):
    at = numbers.randrange(size * MIB // 4096) * 4096
    memory[at:at + 4096] = numbers.randbytes(4096)
    window = numbers.randrange(size) * MIB
    os.write(1, b"step %d %d\n" % (step, zlib.crc32(memory[window:window + MIB])))
    if not os.path.exists("hurry"):
        time.sleep(pause)
checksum = 0
for block in range(size):
    checksum = zlib.crc32(memory[block * MIB:(block + 1) * MIB], checksum)
os.write(1, b"all %d\n" % checksum)
