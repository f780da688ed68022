"""Writes BYTES of text to FILE, lines like those of a log.

    lines.py BYTES FILE
"""

import random
import sys

WORDS = (
    "accepted closed connection data error from host index job lost new node opened queue read request retry sent user write"
).split()


def main(size, file):
    generator = random.Random(1)
    with open(file, "w") as out:
        while size > 0:
            number = generator.getrandbits
            lines = "".join(
                f"{number(32):08x} {WORDS[number(30) % 20]} {WORDS[number(30) % 20]} {WORDS[number(30) % 20]} {number(12)} ms\n"
                for _ in range(min(100_000, size // 36 + 1))
            )
            size -= out.write(lines)


main(int(sys.argv[1]), sys.argv[2])
