#!/usr/bin/python3
"""redis-server with a client over a UNIX socket that stays connected. Arguments: REDIS_SERVER STEPS PAUSE. Exit code 7.

Deterministic; pauses no more once there is a file `hurry`."""
import os
import socket
import subprocess
import sys
import time
import zlib

server, steps, pause = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
path = os.path.join(os.getcwd(), "redis.sock")
redis = subprocess.Popen([server, "--port", "0", "--unixsocket", path, "--save", "", "--appendonly", "yes",
                          "--daemonize", "no", "--logfile", "redis.log"], stdin=subprocess.DEVNULL)
while True:
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.connect(path)
        break
    except OSError:
        connection.close()
        time.sleep(0.01)
replies = connection.makefile("rb")


def ask(*words):
    request = b"*%d\r\n" % len(words)
    for word in words:
        word = str(word).encode()
        request += b"$%d\r\n%s\r\n" % (len(word), word)
    connection.sendall(request)
    return reply()


def reply():
    line = replies.readline()
    kind, rest = line[:1], line[1:-2]
    if kind == b"$":
        return replies.read(int(rest) + 2)[:-2] if rest != b"-1" else None
    if kind == b"*":
        return [reply() for _ in range(int(rest))]
    if kind not in b"+:" or not line:
        print("FAIL", line, flush=True)
        os._exit(99)
    return rest


total = step = 0
while step < steps:
    step += 1
    ask("SET", f"key{step % 500}", f"{step * 7919:x}" * 50)
    ask("RPUSH", "list", step)
    ask("HINCRBY", "hash", step % 17, step)
    ask("ZADD", "sorted", step * 31 % 1009, f"m{step % 300}")
    values = ask("MGET", *(f"key{n}" for n in range(500)))
    values += ask("LRANGE", "list", "-50", "-1") + ask("ZRANGE", "sorted", "0", "-1")
    values += [b"%d" % int(ask("HGET", "hash", n) or 0) for n in range(17)]
    total = (total * 31 + zlib.crc32(b" ".join(value or b"-" for value in values))) % (1 << 61)
    print("step", step, f"{total:x}", flush=True)
    if not os.path.exists("hurry"):
        time.sleep(pause)
if redis.poll() is not None:
    print("FAIL redis-server has ended", flush=True)
print("end", step, f"{total:x}", flush=True)
connection.close()
redis.terminate()
redis.wait()
sys.exit(7)
