#!/usr/bin/python3
"""Tasks that are large in one way, and check all of it.

    shapes.py descriptors N     one process with N descriptors: files, pipes, sockets, eventfds
    shapes.py processes N       a tree of N processes, each with a secret of its own
    shapes.py threads N         one process with N threads
    shapes.py mappings N        N mappings, over processes of 20,000
    shapes.py deleted MIB       an open file of that size without a name
    shapes.py mapping MIB       one mapping of that size

Prints `up` when it stands. When there is a file `check` in its working directory, it checks everything, prints `whole`, and ends with
exit code 0; or prints what is wrong and ends with 99.
"""
import ctypes
import mmap
import os
import random
import signal
import socket
import sys
import threading
import time

PAGE = 4096
MIB = 1 << 20
MOST_MAPPINGS = 20000
kind, count = sys.argv[1], int(sys.argv[2])
libc = ctypes.CDLL(None, use_errno=True)
numbers = random.Random(count)


def fail(what):
    os.write(1, f"FAIL {what}\n".encode())
    os._exit(99)


def check(good, what):
    if not good:
        fail(what)


def await_check():
    while not os.path.exists("check"):
        time.sleep(0.05)


def kind_of(number):
    """CRIU dumps 1,024 pipes at most."""
    return 3 if number % 4 == 1 and number > 4000 else number % 4


def descriptors():
    held = []
    while len(held) < count:
        number = len(held)
        what = kind_of(number)
        if what == 0:
            fd = os.open(f"file-{number}", os.O_CREAT | os.O_RDWR, 0o600)
            os.write(fd, b"%d" % number)
            held.append(fd)
        elif what == 1:
            reader, writer = os.pipe()
            os.write(writer, b"%d" % number)
            held += [reader, writer]
        elif what == 2:
            one, other = socket.socketpair()
            one.send(b"%d" % number)
            held += [other.detach(), one.detach()]
        else:
            held.append(os.eventfd(number))
    return held


def check_descriptors(held):
    index = 0
    while index < len(held):
        what = kind_of(index)
        fd = held[index]
        if what == 0:
            found, step = os.pread(fd, 20, 0), 1
        elif what in (1, 2):
            found, step = os.read(fd, 20), 2
        else:
            found, step = b"%d" % os.eventfd_read(fd), 1
        check(found == b"%d" % index, f"descriptor {index} has {found}")
        index += step


def processes():
    asks, asked = os.pipe()
    answers, answer = os.pipe()
    parents = []
    for number in range(count - 1):
        secret = numbers.randrange(1 << 60)
        pid = os.fork()
        if pid == 0:
            os.read(asks, 1)
            os.write(answer, b"%d %d\n" % (number, secret))
            os._exit(number % 100)
        parents.append((pid, secret))
    return asked, answers, parents


def check_processes(state):
    asked, answers, children = state
    os.write(asked, bytes(len(children)))
    got = {}
    with os.fdopen(answers, "rb") as lines:
        while len(got) < len(children):
            number, secret = lines.readline().split()
            got[int(number)] = int(secret)
    for number, (pid, secret) in enumerate(children):
        check(got[number] == secret, f"process {number} has another secret")
        check(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == number % 100, f"process {number} ended otherwise")


def threads():
    gate = threading.Event()
    results = {}
    threading.stack_size(256 << 10)

    def work(number, secret):
        gate.wait()
        results[number] = secret

    started = []
    for number in range(count - 1):
        thread = threading.Thread(target=work, args=(number, number * number))
        thread.start()
        started.append(thread)
    return gate, started, results


def check_threads(state):
    gate, started, results = state
    gate.set()
    for thread in started:
        thread.join()
    check(results == {n: n * n for n in range(count - 1)}, "the threads' results")


def map_pages(many):
    """Pages whose protection alternates: each is a mapping of its own."""
    area = mmap.mmap(-1, many * PAGE)
    address = ctypes.addressof(ctypes.c_char.from_buffer(area))
    for page in range(0, many, 16):
        area[page * PAGE:page * PAGE + 8] = b"%08d" % page
    for page in range(0, many, 2):
        if libc.mprotect(ctypes.c_void_p(address + page * PAGE), ctypes.c_size_t(PAGE), 1):
            fail("mprotect: " + os.strerror(ctypes.get_errno()))
    return area


def mappings():
    children = []
    left = count
    while left > MOST_MAPPINGS:
        pid = os.fork()
        if pid == 0:
            area = map_pages(MOST_MAPPINGS)
            os.write(1, b"child\n")
            await_check()
            check_mappings((area, MOST_MAPPINGS, []))
            os._exit(0)
        children.append(pid)
        left -= MOST_MAPPINGS
    return map_pages(left), left, children


def check_mappings(state):
    area, many, children = state
    for page in range(0, many, 16):
        check(area[page * PAGE:page * PAGE + 8] == b"%08d" % page, f"page {page}")
    with open("/proc/self/maps") as maps:
        found = sum(1 for _ in maps)
    check(found >= many, f"{found} mappings of {many}")
    for pid in children:
        check(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0, "a child")


def block(number):
    return random.Random(number).randbytes(MIB // 2) * 2


def deleted():
    fd = os.open("gone", os.O_CREAT | os.O_RDWR, 0o600)
    for number in range(count):
        os.write(fd, block(number))
    os.unlink("gone")
    return fd


def check_deleted(fd):
    check(os.fstat(fd).st_nlink == 0, "the file has a name")
    for number in range(count):
        check(os.pread(fd, MIB, number * MIB) == block(number), f"block {number}")


def mapping():
    area = mmap.mmap(-1, count * MIB)
    for number in range(count):
        area[number * MIB:(number + 1) * MIB] = block(number)
    return area


def check_mapping(area):
    for number in range(count):
        check(area[number * MIB:(number + 1) * MIB] == block(number), f"block {number}")


build, verify = {
    "descriptors": (descriptors, check_descriptors),
    "processes": (processes, check_processes),
    "threads": (threads, check_threads),
    "mappings": (mappings, check_mappings),
    "deleted": (deleted, check_deleted),
    "mapping": (mapping, check_mapping),
}[kind]
standing = build()
os.write(1, b"up\n")
await_check()
verify(standing)
os.write(1, b"whole\n")
