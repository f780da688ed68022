"""A process with memory of every kind that CRIU sends; writes its checksum to a FIFO when asked."""
import hashlib
import mmap
import os
import random
import signal
import sys

fifo, backing, megabytes = sys.argv[1], sys.argv[2], int(sys.argv[3])
os.setsid()
rng = random.Random(7)
noise = rng.randbytes(1 << 20)

anon = mmap.mmap(-1, megabytes << 20, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
for at in range(0, len(anon), 4096):
    kind = rng.randrange(4)
    if kind == 0:
        anon[at] = 1
        anon[at] = 0  # a zero page that is present
    elif kind == 1:
        start = rng.randrange(len(noise) - 4096)
        anon[at : at + 4096] = noise[start : start + 4096]
    elif kind == 2:
        anon[at : at + 4096] = b"%08d" % at * 512

shared = mmap.mmap(-1, 1 << 20, mmap.MAP_SHARED | mmap.MAP_ANONYMOUS)
shared[100000:200000] = noise[:100000]

with open(backing, "wb") as f:
    f.write(b"A" * 65536)
with open(backing, "r+b") as f:
    private = mmap.mmap(f.fileno(), 65536, mmap.MAP_PRIVATE)
private[4096:8192] = bytes(4096)  # left out as a zero page, it would come back as A

numbers = [str(i) * 3 for i in range(200000)]


def report():
    digest = hashlib.sha256()
    for part in (anon, shared, private):
        digest.update(part[:])
    digest.update("".join(numbers).encode())
    with open(fifo, "w") as out:
        out.write("%d %s" % (os.getpid(), digest.hexdigest()))


# blocked and waited for: a handler beside pause() would miss what comes before the wait begins
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
report()
while True:
    signal.sigwait({signal.SIGUSR1})
    report()
