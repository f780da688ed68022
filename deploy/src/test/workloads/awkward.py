#!/usr/bin/python3
"""awkward.py: a task that cannot be checkpointed while a file of some name is in its working directory.

Says `NAME is there` when it has made the thing, and `NAME is gone` when it has got rid of it.
"""
import ctypes
import os
import signal
import socket
import subprocess
import time

libc = ctypes.CDLL(None, use_errno=True)
IO_URING_SETUP = 425


def say(text):
    os.write(1, (text + "\n").encode())


def child(*command):
    process = subprocess.Popen(command)
    while os.readlink(f"/proc/{process.pid}/exe").endswith(("python3", "python3.11", "setpriv", "unshare")):
        time.sleep(0.01)

    def end():
        process.kill()
        process.wait()

    return end


def descriptor(fd):
    return lambda: os.close(fd)


def debugger():
    ready, done = os.pipe()
    pid = os.fork()
    if pid == 0:
        libc.ptrace(0, 0, 0, 0)  # PTRACE_TRACEME: the parent is its debugger
        os.write(done, b"x")
        signal.pause()
    os.read(ready, 1)
    os.close(ready)
    os.close(done)

    def end():
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)

    return end


def watch():
    fd = libc.inotify_init()
    libc.inotify_add_watch(fd, b"/proc", 0x100)
    return descriptor(fd)


def vsock():
    made = socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM)
    return made.close


THINGS = {
    "debugger": debugger,
    "user": lambda: child("setpriv", "--reuid", "65534", "--clear-groups", "sleep", "1000"),
    "namespace": lambda: child("unshare", "--mount", "sleep", "1000"),
    "uring": lambda: descriptor(libc.syscall(IO_URING_SETUP, 8, ctypes.create_string_buffer(120))),
    "socket": vsock,
    "watch": watch,
}
there = {}
say("ready")
while True:
    for name, make in THINGS.items():
        if os.path.exists(name) and name not in there:
            there[name] = make()
            say(name + " is there")
        elif not os.path.exists(name) and name in there:
            there.pop(name)()
            say(name + " is gone")
    time.sleep(0.02)
