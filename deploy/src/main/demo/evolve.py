"""The computation of the demo: evolve.py STEPS MIB RESULTS

A made-up genome of MIB MiB is held in memory and mutates step by step; a child process, asked over a pipe, does the same with a
smaller one of its own. Each step prints one line, and appends it to the file RESULTS, with a checksum over the whole memory of
both: whatever is lost or repeated shows in every line after it. All is determined by the arguments. Nothing here knows of
Lifeboat.
"""
import hashlib
import os
import random
import sys
import time

LETTERS = bytes(b"ACGT"[i % 4] for i in range(256))
COMPLEMENT = bytes.maketrans(b"ACGT", b"TGCA")
BLOCK = 32 * 1024


class Genome:
    def __init__(self, seed, mib):
        self.random = random.Random(seed)
        genes = [self.random.randbytes(256).translate(LETTERS) for _ in range(100)]
        self.letters = bytearray()
        for _ in range(mib):
            self.letters += b"".join(self.random.choices(genes, k=4096))

    def mutate(self, share):
        """Copies the reverse complement of blocks to where other blocks stood, a share of the whole."""
        last = len(self.letters) - BLOCK
        for _ in range(int(len(self.letters) * share) // BLOCK):
            source, target = self.random.randrange(last), self.random.randrange(last)
            self.letters[target:target + BLOCK] = self.letters[source:source + BLOCK].translate(COMPLEMENT)[::-1]

    def checksum(self):
        return hashlib.sha256(self.letters).hexdigest()[:16]


def child(requests, answers, mib):
    genome = Genome(2, mib)
    for _ in requests:
        genome.mutate(0.05)
        answers.write(genome.checksum() + "\n")
        answers.flush()


def main(steps, mib, results):
    there, here = os.pipe(), os.pipe()
    if os.fork() == 0:
        os.close(there[1])
        os.close(here[0])
        child(os.fdopen(there[0]), os.fdopen(here[1], "w"), mib // 8)
        os._exit(0)
    os.close(there[0])
    os.close(here[1])
    requests, answers = os.fdopen(there[1], "w"), os.fdopen(here[0])
    genome = Genome(1, mib)
    with open(results, "a") as log:
        for step in range(1, steps + 1):
            requests.write("go\n")
            requests.flush()
            genome.mutate(0.02)
            line = "step %2d of %d  genome %s  child %s" % (step, steps, genome.checksum(), answers.readline().strip())
            for out in (log, sys.stdout):
                print(line, file=out, flush=True)
            time.sleep(0.4)
    requests.close()
    os.wait()
    print("final checksum", hashlib.sha256(genome.letters).hexdigest())


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
