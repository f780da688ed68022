#!/usr/bin/python3
"""A process tree that uses most of what Linux offers, and checks all of it at every step.

    tree.py [--steps N] [--pause SECONDS] [--size BYTES] [--temporary FOLDER] [--exit CODE]

Prints `step N CHECKSUM`, the checksum over all its memory and files, and is deterministic: the lines of a task that was
checkpointed and restored any number of times equal those of a run that was left alone. Pauses after each step unless a file
`hurry` is in its working directory. Says `FAIL ...` and exits 99 when something is not as it left it.
"""
import argparse
import ctypes
import errno
import fcntl
import mmap
import os
import select
import socket
import stat
import struct
import sys
import threading
import time
import zlib

options = argparse.ArgumentParser()
options.add_argument("--steps", type=int, default=100)
options.add_argument("--pause", type=float, default=0.01)
options.add_argument("--size", type=int, default=1 << 20)
options.add_argument("--temporary", default="/tmp")
options.add_argument("--exit", type=int, default=0)
options = options.parse_args()
PAGE = 4096
ME = os.getpid()
libc = ctypes.CDLL(None, use_errno=True)
libc.shmat.restype = ctypes.c_void_p
libc.shmat.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_int]


def say(fd, text):
    os.write(fd, (text + "\n").encode())


def check(condition, what):
    if not condition:
        say(1, f"FAIL {what} (process {os.getpid()})")
        os._exit(99)


def call(name, *arguments):
    result = getattr(libc, name)(*arguments)
    check(result != -1, f"{name}: {os.strerror(ctypes.get_errno())}")
    return result


class Memory:
    """Bytes that change in a few places each step; half of them start as zeros."""

    def __init__(self, seed, buffer):
        self.state = seed
        self.buffer = buffer
        for at in range(0, len(buffer) // 2, 512):
            buffer[at:at + 8] = struct.pack("<Q", self.next())

    def next(self):
        self.state = (self.state * 6364136223846793005 + 1442695040888963407) % (1 << 64)
        return self.state

    def step(self):
        for _ in range(16):
            at = (self.next() >> 20) % (len(self.buffer) - 8)
            self.buffer[at:at + 8] = struct.pack("<Q", self.next())
        at = (self.next() >> 20) % (len(self.buffer) // PAGE) * PAGE
        self.buffer[at:at + PAGE] = bytes(PAGE)
        return zlib.crc32(self.buffer)


class Clock:
    """Monotonic time must not go back, whatever host we are on."""

    def __init__(self):
        self.last = 0

    def step(self):
        now = time.monotonic()
        check(now >= self.last, f"the monotonic clock went from {self.last} to {now}")
        self.last = now


# What the processes share: made before the forks.
shm_path = f"/dev/shm/lifeboat-tree-{ME}"
with open(shm_path, "wb") as made:
    made.truncate(16 * PAGE)
shm_file = os.open(shm_path, os.O_RDWR | os.O_CLOEXEC)
posix = mmap.mmap(shm_file, 16 * PAGE)
segment = call("shmget", 0, 16 * PAGE, 0o1600)
address = libc.shmat(segment, None, 0)
check(address not in (None, ctypes.c_void_p(-1).value), "shmat")
sysv = (ctypes.c_char * (16 * PAGE)).from_address(address)
call("shmctl", segment, 0, None)
memfd = os.memfd_create("lifeboat-tree")
os.ftruncate(memfd, 16 * PAGE)
memfd_map = mmap.mmap(memfd, 16 * PAGE)
anonymous = mmap.mmap(-1, 16 * PAGE)
event = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)


def shared_value(buffer, step, write):
    """One process writes, the other sees it."""
    at = step % (16 * PAGE // 8) * 8
    if write:
        buffer[at:at + 8] = struct.pack("<Q", step * 977)
    return struct.unpack("<Q", buffer[at:at + 8])[0] == step * 977


def serve(receive, send, work):
    """Answers step numbers with checksums until the other side has gone."""
    buffered = b""
    while True:
        data = receive()
        if not data:
            os._exit(0)
        buffered += data
        while b"\n" in buffered:
            line, buffered = buffered.split(b"\n", 1)
            send(b"%d %d\n" % (int(line), work(int(line))))


def worker(seed):
    """A child with memory of its own, private and copied on write from its parent."""
    memory = Memory(seed, bytearray(options.size))
    clock = Clock()
    parent = os.getppid()
    number = 0

    def work(step):
        nonlocal number
        number += 1
        check(step == number, f"worker {seed} was asked for step {step}, expected {number}")
        check(os.getppid() == parent, "the parent is another one")
        clock.step()
        for what, buffer in (("POSIX", posix), ("System V", sysv), ("memfd", memfd_map), ("anonymous", anonymous)):
            check(shared_value(buffer, step, False), f"{what} shared memory is not what the parent wrote")
        with open("lock.flock", "rb") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                check(False, "the parent's flock is gone")
            except BlockingIOError:
                pass
        with open("lock.posix", "r+b") as lock:
            try:
                fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB, 10, 5)
                check(False, "the parent's POSIX lock is gone")
            except OSError as refused:
                check(refused.errno in (errno.EAGAIN, errno.EACCES), f"lockf: {refused}")
        os.eventfd_write(event, 1)
        return memory.step() ^ zlib.crc32(origin)

    return work


origin = bytearray(b"copy on write" * (options.size // 26))


class Ask:
    """The parent's side of serve()."""

    def __init__(self, receive, send):
        self.receive = receive
        self.send = send

    def step(self, step):
        self.send(b"%d\n" % step)
        reply = b""
        while not reply.endswith(b"\n"):
            data = self.receive()
            check(data, "a child has gone")
            reply += data
        number, checksum = map(int, reply.split())
        check(number == step, f"asked for step {step}, got {number}")
        return checksum


def piped_child(seed):
    to_child, from_child = os.pipe(), os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(to_child[1])
        os.close(from_child[0])
        serve(lambda: os.read(to_child[0], 4096), lambda reply: os.write(from_child[1], reply), worker(seed))
    os.close(to_child[0])
    os.close(from_child[1])
    return pid, Ask(lambda: os.read(from_child[0], 4096), lambda line: os.write(to_child[1], line))


def daemon(seed):
    """Double fork and setsid; talks over two FIFOs in the working directory."""
    os.mkfifo("ask.fifo")
    os.mkfifo("reply.fifo")
    middle = os.fork()
    if middle == 0:
        os.setsid()
        if os.fork() > 0:
            os._exit(0)
        time.sleep(0)
        while os.getppid() == middle_pid():
            time.sleep(0.001)
        ask, reply = os.open("ask.fifo", os.O_RDONLY), os.open("reply.fifo", os.O_WRONLY)
        serve(lambda: os.read(ask, 4096), lambda line: os.write(reply, line), worker(seed))
    os.waitpid(middle, 0)
    ask, reply = os.open("ask.fifo", os.O_WRONLY), os.open("reply.fifo", os.O_RDONLY)
    return Ask(lambda: os.read(reply, 4096), lambda line: os.write(ask, line))


def middle_pid():
    return os.getsid(0)


class Tcp:
    """A server process; connects again if a restore has closed the connection, and says so on stderr."""

    def __init__(self, seed):
        listening = socket.create_server(("127.0.0.1", 0))
        self.address = listening.getsockname()
        self.pid = os.fork()
        if self.pid == 0:
            work, answered = worker(seed), {0: 0}

            def once(step):
                if step not in answered:
                    answered.clear()
                    answered[step] = work(step)
                return answered[step]

            self.accept(listening, once)
        listening.close()
        self.connection = socket.create_connection(self.address)

    @staticmethod
    def accept(listening, work):
        while True:
            connection, _ = listening.accept()
            buffered = b""
            try:
                while data := connection.recv(4096):
                    buffered += data
                    while b"\n" in buffered:
                        line, buffered = buffered.split(b"\n", 1)
                        connection.sendall(b"%d %d\n" % (int(line), work(int(line))))
            except OSError as lost:
                say(2, f"tree.py: server: {lost}")
            connection.close()

    def step(self, step):
        for _ in range(3):
            try:
                def receive():
                    data = self.connection.recv(4096)
                    if not data:
                        raise ConnectionResetError("end of file")
                    return data

                return Ask(receive, self.connection.sendall).step(step)
            except OSError as lost:
                say(2, f"tree.py: step {step}: {lost}; connecting again")
                self.connection.close()
                self.connection = socket.create_connection(self.address)
        check(False, "no connection")


class Threads:
    """Threads with memory of their own that take turns."""

    def __init__(self):
        self.turn = threading.Condition()
        self.wanted = 0
        self.done = [(0, 0), (0, 0)]
        for index in range(2):
            threading.Thread(target=self.run, args=(index,), daemon=True).start()

    def run(self, index):
        memory = Memory(100 + index, bytearray(options.size))
        local = threading.local()
        local.count = 0
        while True:
            with self.turn:
                self.turn.wait_for(lambda: self.wanted > local.count)
            local.count += 1
            checksum = memory.step()
            with self.turn:
                self.done[index] = (local.count, checksum)
                self.turn.notify_all()

    def step(self, step):
        with self.turn:
            self.wanted = step
            self.turn.notify_all()
            self.turn.wait_for(lambda: all(count == step for count, _ in self.done))
            return self.done[0][1] ^ self.done[1][1] << 1


class Events:
    """epoll over an eventfd that the children write and a timerfd."""

    def __init__(self):
        self.timer = call("timerfd_create", time.CLOCK_MONOTONIC, os.O_NONBLOCK | os.O_CLOEXEC)
        self.epoll = select.epoll()
        self.epoll.register(event, select.EPOLLIN)
        self.epoll.register(self.timer, select.EPOLLIN)

    def step(self, children):
        value = ctypes.create_string_buffer(struct.pack("<4q", 0, 0, 0, 1000000))
        call("timerfd_settime", self.timer, 0, value, None)
        count = ticks = 0
        while count < children or not ticks:
            ready = self.epoll.poll(20)
            check(ready, f"neither timer nor event: {count} of {children} events, {ticks} ticks")
            for fd, _ in ready:
                if fd == event:
                    count += os.eventfd_read(event)
                else:
                    ticks += struct.unpack("<Q", os.read(self.timer, 8))[0]
        check(count == children, f"{count} events of {children} children")


class Files:
    """Files of every kind, each checked against what is known about it from memory alone."""

    def __init__(self):
        self.mapped_file = os.open("mapped", os.O_RDWR | os.O_CREAT, 0o640)
        os.ftruncate(self.mapped_file, options.size)
        self.mapped = Memory(7, mmap.mmap(self.mapped_file, options.size))
        self.private = mmap.mmap(self.mapped_file, 4 * PAGE, mmap.MAP_PRIVATE)
        self.private[PAGE:2 * PAGE] = bytes(PAGE)
        self.deleted = os.open("deleted", os.O_RDWR | os.O_CREAT, 0o600)
        os.unlink("deleted")
        self.deleted_bytes = bytearray()
        self.output = os.open("output.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        self.output_bytes = bytearray()
        self.flock = os.open("lock.flock", os.O_RDWR | os.O_CREAT, 0o600)
        fcntl.flock(self.flock, fcntl.LOCK_EX)
        self.posix = os.open("lock.posix", os.O_RDWR | os.O_CREAT, 0o600)
        fcntl.lockf(self.posix, fcntl.LOCK_EX, 10, 5)
        os.symlink("output.txt", "link")
        os.symlink("/nowhere/at/all", "dangling")
        self.sparse = os.open("sparse", os.O_RDWR | os.O_CREAT, 0o600)
        os.ftruncate(self.sparse, 64 << 20)
        os.mkdir("directory")
        os.mkdir("directory/empty")
        os.chmod("directory", 0o751)
        with open("directory/once", "wb") as once:
            once.write(b"written once")
        os.link("directory/once", "hard")
        os.utime("directory/once", ns=(1, 1234567890123456789))
        self.temporary = f"{options.temporary}/lifeboat-tree-{ME}"
        os.mkdir(self.temporary)
        self.directory = os.open("directory", os.O_RDONLY | os.O_DIRECTORY)

    def step(self, step):
        checksum = self.mapped.step()
        with open("mapped", "rb") as by_path:
            check(zlib.crc32(by_path.read()) == checksum, "the mapped file differs from its mapping")
        check(self.private[PAGE:2 * PAGE] == bytes(PAGE), "zeros over a private file mapping are gone")
        check(stat.S_IMODE(os.stat("mapped").st_mode) == 0o640, "mode of the mapped file")

        added = struct.pack("<Q", step * 31) * 16
        self.deleted_bytes += added
        os.write(self.deleted, added)
        found = os.fstat(self.deleted)
        check(found.st_nlink == 0 and found.st_size == len(self.deleted_bytes), f"deleted file: {found}")
        check(os.pread(self.deleted, found.st_size, 0) == self.deleted_bytes, "content of the deleted file")

        added = b"line %d\n" % step
        self.output_bytes += added
        os.write(self.output, added)
        with open("link", "rb") as by_path:
            check(by_path.read() == self.output_bytes, "the appended file, read through a symbolic link")
        check(os.readlink("dangling") == "/nowhere/at/all", "dangling link")

        os.pwrite(self.sparse, b"x%d" % step, step * 4096 * 17 % (64 << 20))
        check(os.pread(self.sparse, 20, step * 4096 * 17 % (64 << 20)).startswith(b"x%d" % step), "the sparse file")
        found = os.fstat(self.sparse)
        check(found.st_size == 64 << 20, "size of the sparse file")
        check(found.st_blocks * 512 <= 8192 * step + 4096, f"the sparse file has {found.st_blocks} blocks at step {step}")

        if step > 1:
            check(os.getxattr("mapped", "user.step") == b"%d" % (step - 1), "extended attribute")
        os.setxattr("mapped", "user.step", b"%d" % step)

        found = os.stat("hard")
        check(found.st_nlink == 2 and os.path.samefile("hard", "directory/once"), f"hard link: {found}")
        check(found.st_mtime_ns == 1234567890123456789, f"time of modification: {found.st_mtime_ns}")
        check(stat.S_IMODE(os.stat("directory").st_mode) == 0o751, "mode of a directory")
        check(os.listdir("directory/empty") == [], "an empty directory")
        check(sorted(os.listdir(self.directory)) == ["empty", "once"], "an open directory")

        with open(f"{self.temporary}/{step}", "wb") as made:
            made.write(b"%d" % step * 100)
        if step > 5:
            os.unlink(f"{self.temporary}/{step - 5}")
        os.rename(f"{self.temporary}/{step}", f"{self.temporary}/new")
        os.rename(f"{self.temporary}/new", f"{self.temporary}/{step}")
        kept = range(max(1, step - 4), step + 1)
        check(sorted(os.listdir(self.temporary)) == sorted(map(str, kept)), f"names in {self.temporary}")
        for number in kept:
            with open(f"{self.temporary}/{number}", "rb") as by_path:
                check(by_path.read() == b"%d" % number * 100, f"{self.temporary}/{number}")
        return checksum ^ zlib.crc32(self.deleted_bytes) ^ zlib.crc32(self.output_bytes) << 1


def main():
    memory, clock, files = Memory(1, bytearray(options.size)), Clock(), Files()
    first, one = piped_child(2)
    second, two = piped_child(3)
    background = daemon(4)
    tcp = Tcp(5)
    threads, events = Threads(), Events()
    for buffer in (posix, memfd_map, anonymous):
        Memory(9, buffer)
    checksum = step = 0
    while step < options.steps:
        step += 1
        clock.step()
        check(os.getpid() == ME, "our process id")
        for buffer in (posix, sysv, memfd_map, anonymous):
            shared_value(buffer, step, True)
        for part in (memory.step(), one.step(step), two.step(step), background.step(step), tcp.step(step),
                     threads.step(step), files.step(step), zlib.crc32(posix), zlib.crc32(bytes(sysv)),
                     zlib.crc32(memfd_map), zlib.crc32(anonymous)):
            checksum = (checksum * 1000003 + part) % (1 << 61)
        events.step(4)
        for pid in (first, second, tcp.pid):
            check(os.waitpid(pid, os.WNOHANG) == (0, 0), f"child {pid} has ended")
        say(1, f"step {step} {checksum:016x}")
        if not os.path.exists("hurry"):
            time.sleep(options.pause)
    say(1, f"end {step} {checksum:016x}")
    os.unlink(shm_path)
    for pid in (first, second, tcp.pid):
        os.kill(pid, 9)
        os.waitpid(pid, 0)
    sys.exit(options.exit)


main()
