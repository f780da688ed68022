"""The task: holds SIZE bytes of private memory, writes READY, and waits.

    hold.py SIZE READY [TIMES]
    hold.py --sample SIZE FILE [TIMES]     writes what it would hold to a file

The memory is noise, 16 MiB of /dev/urandom again and again, which codecs that look at 64 KiB at a time can't make
smaller; with TIMES, of every TIMES pages one is noise, and the others are numbers below 16 in 32 bits each.
"""

import mmap
import os
import signal
import sys

BLOCK = 16 << 20
PAGE = 4096
SMALL = bytes(number & 15 for number in range(256))


def block(times):
    noise = os.urandom(BLOCK)
    if times == 1:
        return noise
    made = bytearray(noise)
    for page in range(0, BLOCK, PAGE):
        if page // PAGE % times:
            numbers = bytearray(PAGE)
            numbers[0::4] = noise[page : page + PAGE // 4].translate(SMALL)
            made[page : page + PAGE] = numbers
    return bytes(made)


def main(arguments):
    sample = arguments[0] == "--sample"
    if sample:
        arguments = arguments[1:]
    size, file = int(arguments[0]), arguments[1]
    content = block(int(arguments[2]) if len(arguments) > 2 else 1)
    if sample:
        with open(file, "wb") as out:
            for at in range(0, size, BLOCK):
                out.write(content[: size - at])
        return
    memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    for at in range(0, size, BLOCK):
        memory[at : at + BLOCK] = content[: size - at]
    del content
    with open(file, "w") as ready:
        ready.write(str(os.getpid()))
    while True:
        signal.pause()


if __name__ == "__main__":
    main(sys.argv[1:])
