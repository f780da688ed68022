#!/usr/bin/python3
"""A small strict task: memory, files and processes that must stay in step. Arguments: STEPS PAUSE EXIT_CODE.

A parent with a thread and a child over pipes, each with memory of its own; a file that only grows, one that is mapped, one that
is open and deleted. Every step checks all of it and prints `step N CHECKSUM`. Pauses no more once there is a file `hurry`.
"""
import mmap
import os
import struct
import sys
import threading
import time
import zlib

STEPS, PAUSE, CODE = int(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3])
SIZE = 1 << 20


def check(condition, what):
    if not condition:
        os.write(1, f"FAIL {what} (process {os.getpid()})\n".encode())
        os._exit(99)


class Memory:
    def __init__(self, seed, buffer=None):
        self.state = seed
        self.buffer = bytearray(SIZE) if buffer is None else buffer
        for at in range(0, SIZE // 2, 256):
            self.buffer[at:at + 8] = struct.pack("<Q", self.next())

    def next(self):
        self.state = (self.state * 6364136223846793005 + 1442695040888963407) % (1 << 64)
        return self.state

    def step(self):
        for _ in range(8):
            at = (self.next() >> 20) % (SIZE - 8)
            self.buffer[at:at + 8] = struct.pack("<Q", self.next())
        at = (self.next() >> 20) % (SIZE // 4096) * 4096
        self.buffer[at:at + 4096] = bytes(4096)
        return zlib.crc32(self.buffer)


ask, reply = os.pipe(), os.pipe()
parent = os.getpid()
child = os.fork()
if child == 0:
    os.close(ask[1])
    os.close(reply[0])
    memory, step = Memory(2), 0
    while data := os.read(ask[0], 8):
        step += 1
        check(struct.unpack("<Q", data)[0] == step, "the child is out of step")
        check(os.getppid() == parent, "the child's parent is another one")
        os.write(reply[1], struct.pack("<Q", memory.step()))
    os._exit(0)
os.close(ask[0])
os.close(reply[1])

memory, own = Memory(1), Memory(3)
turn, done = threading.Semaphore(0), threading.Semaphore(0)
checksum_of_thread = 0


def thread():
    global checksum_of_thread
    while True:
        turn.acquire()
        checksum_of_thread = own.step()
        done.release()


threading.Thread(target=thread, daemon=True).start()
grows = os.open("grows", os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
os.link("grows", "linked")
mapped_file = os.open("mapped", os.O_RDWR | os.O_CREAT, 0o640)
os.ftruncate(mapped_file, SIZE)
mapped = Memory(4, mmap.mmap(mapped_file, SIZE))
deleted = os.open("deleted", os.O_RDWR | os.O_CREAT, 0o600)
os.unlink("deleted")
written = bytearray()
checksum = 0
for step in range(1, STEPS + 1):
    os.write(ask[1], struct.pack("<Q", step))
    turn.release()
    added = b"line %d\n" % step
    written += added
    os.write(grows, added)
    os.write(deleted, added)
    with open("grows", "rb") as file:
        check(file.read() == written, "the file that grows")
    check(os.pread(deleted, len(written) + 1, 0) == written, "the deleted file")
    of_file = mapped.step()
    with open("mapped", "rb") as file:
        check(zlib.crc32(file.read()) == of_file, "the mapped file")
    with open(f"small-{step % 4}", "wb") as file:
        file.write(added * 10)
    if step > 1:
        with open(f"small-{(step - 1) % 4}", "rb") as file:
            check(file.read() == b"line %d\n" % (step - 1) * 10, "a small file")
    data = os.read(reply[0], 8)
    check(len(data) == 8, "the child has gone")
    done.acquire()
    for part in (memory.step(), of_file, struct.unpack("<Q", data)[0], checksum_of_thread, zlib.crc32(written)):
        checksum = (checksum * 1000003 + part) % (1 << 61)
    os.write(1, b"step %d %016x\n" % (step, checksum))
    if not os.path.exists("hurry"):
        time.sleep(PAUSE)
os.write(1, b"end %d %016x\n" % (step, checksum))
os.close(ask[1])
check(os.waitpid(child, 0) == (child, 0), "the child's end")
sys.exit(CODE)
