"""What the tests of lifeboat-init share: it plays the engine.

A Run is one lifeboat-init in a directory of its own. The process that init starts as "the engine" is ENGINE below, a small
script that notes what it was given and then obeys lines written to a FIFO; the requests are sent by the test itself, which
connects to init.sock from outside the namespaces. Nothing waits by sleeping: wait_for() polls a condition with a time limit.
"""
import errno
import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time

# A hangup that is ignored is inherited, and lifeboat-init then keeps it so: the tests may be run under nohup.
for _name in ("SIGHUP", "SIGINT", "SIGQUIT", "SIGTERM"):
    if signal.getsignal(getattr(signal, _name)) == signal.SIG_IGN:
        signal.signal(getattr(signal, _name), signal.SIG_DFL)

INIT = os.environ["LIFEBOAT_INIT"]
WRAP = os.environ.get("LIFEBOAT_INIT_WRAP", "")
LIMIT = 60.0 if WRAP else 20.0
# LeakSanitizer can't look at the PID 1 of a namespace; leaks are valgrind's part
SANITIZER = {"ASAN_OPTIONS": "detect_leaks=0:exitcode=98", "UBSAN_OPTIONS": "print_stacktrace=1"} if WRAP == "sanitize" else {}
os.environ.update(SANITIZER)

ENGINE = r"""
import ctypes, json, os, signal, subprocess, sys
home = sys.argv[1]
libc = ctypes.CDLL(None)
fds = {}
for n in os.listdir("/proc/self/fd"):
    try: fds[n] = os.readlink("/proc/self/fd/" + n)
    except OSError: pass
born = {"pid": os.getpid(), "ppid": os.getppid(), "pgid": os.getpgid(0), "env": dict(os.environ), "fds": fds,
        "status": dict(l.rstrip("\n").split(":\t", 1) for l in open("/proc/self/status") if ":\t" in l)}
with open(home + "/engines", "a") as f: f.write(json.dumps(born) + "\n")
while True:
    with open(home + "/orders") as orders:
        for line in orders:
            verb, _, rest = line.strip().partition(" ")
            if verb == "exit": os._exit(int(rest))
            if verb == "kill": os.kill(os.getpid(), int(rest))
            if verb == "sh":
                done = subprocess.run(["sh", "-c", rest], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
                with open(home + "/answer.new", "wb") as f: f.write(done.stdout)
                os.rename(home + "/answer.new", home + "/answer")
"""


def wait_for(condition, what, limit=LIMIT):
    end = time.monotonic() + limit
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError("timed out waiting for " + what)
        time.sleep(0.005)


def processes_with(marker):
    """Ids, as seen from here, of live processes that have the marker in their command line."""
    found = []
    for name in os.listdir("/proc"):
        if not name.isdigit() or int(name) == os.getpid():
            continue
        try:
            with open("/proc/%s/cmdline" % name, "rb") as f:
                if marker.encode() in f.read():
                    found.append(int(name))
        except OSError:
            pass
    return found


def children_of(pid):
    try:
        with open("/proc/%d/task/%d/children" % (pid, pid)) as f:
            return [int(p) for p in f.read().split()]
    except OSError:
        return []


def wrapped(home):
    if WRAP == "valgrind":
        return ["valgrind", "-q", "--error-exitcode=99", "--leak-check=full", "--show-leak-kinds=all",
                "--errors-for-leak-kinds=definite,indirect,possible", "--log-file=%s/valgrind.%%p" % home]
    return []


def check_reports(home, text):
    """No complaint by valgrind or a sanitizer."""
    for name in os.listdir(home):
        if name.startswith("valgrind."):
            with open(os.path.join(home, name), errors="replace") as f:
                report = "".join(l for l in f if "SYSCALL" not in l)
            assert not report.strip(), report
    for word in ("AddressSanitizer", "LeakSanitizer", "runtime error", "UndefinedBehavior"):
        assert word not in text, text


class Connection:
    def __init__(self, path, limit=LIMIT):
        def connect():
            s = socket.socket(socket.AF_UNIX)
            try:
                s.connect(path)
                return s
            except OSError as e:
                s.close()
                if e.errno not in (errno.ENOENT, errno.ECONNREFUSED, errno.EAGAIN):
                    raise
                return None
        self.socket = wait_for(connect, "init.sock", limit)
        self.socket.settimeout(LIMIT)
        self.seq = 0
        self.events = []

    @staticmethod
    def frame(*fields):
        body = b"\0".join(f if isinstance(f, bytes) else str(f).encode() for f in fields)
        return struct.pack("<I", len(body)) + body

    def send(self, *fields):
        self.socket.sendall(self.frame(*fields))

    def receive(self):
        """One frame, or None at the end."""
        data = b""
        while len(data) < 4 or len(data) < 4 + struct.unpack("<I", data[:4])[0]:
            want = 4 - len(data) if len(data) < 4 else 4 + struct.unpack("<I", data[:4])[0] - len(data)
            try:
                more = self.socket.recv(want)
            except ConnectionResetError:
                more = b""
            if not more:
                assert not data, "the connection ended within a frame"
                return None
            data += more
        return data[4:].decode().split("\0")

    def begin(self, verb, *fields):
        self.seq += 1
        self.send(verb, self.seq, *fields)
        return self.seq

    def reply(self, seq):
        while True:
            fields = self.receive()
            assert fields is not None, "init closed the connection"
            if fields[0] in ("ok", "err"):
                assert fields[1] == str(seq), fields
                return [fields[0]] + fields[2:]
            self.events.append(fields)

    def ask(self, verb, *fields):
        return self.reply(self.begin(verb, *fields))

    def event(self, verb):
        for e in self.events:
            if e[0] == verb:
                self.events.remove(e)
                return e[1:]
        while True:
            fields = self.receive()
            assert fields is not None, "init closed the connection"
            assert fields[0] not in ("ok", "err"), fields
            if fields[0] == verb:
                return fields[1:]
            self.events.append(fields)

    def task(self, *argv, env=("PATH=/usr/bin:/bin",), cwd="/"):
        return self.ask("task", cwd, len(env), *env, *argv)

    def closed(self):
        while True:
            if self.receive() is None:
                return True

    def close(self):
        self.socket.close()


class Run:
    def __init__(self, stdin=subprocess.DEVNULL, stdout=None, stderr=None, home=None, command=None, prefix=(), preexec=None,
                 env=None, close_fds=True):
        self.home = home or tempfile.mkdtemp(prefix="lifeboat-init-test-")
        self.own_home = home is None
        self.run = os.path.join(self.home, "run")
        self.out, self.err = os.path.join(self.home, "stdout"), os.path.join(self.home, "stderr")
        self.connections = []
        with open(os.path.join(self.home, "engine.py"), "w") as f:
            f.write(ENGINE)
        if not os.path.exists(self.home + "/orders"):
            os.mkfifo(self.home + "/orders")
        engine = command or [sys.executable, "-S", "-E", self.home + "/engine.py", self.home]
        with open(self.out, "ab") as o, open(self.err, "ab") as e:
            self.process = subprocess.Popen(
                [*prefix, *wrapped(self.home), INIT, "run", "--run-dir-base", self.home, "--", *engine],
                env=dict(os.environ if env is None else env, LIFEBOAT_RUN_DIR=self.run, **SANITIZER), stdin=stdin, stdout=stdout or o,
                stderr=stderr or e, preexec_fn=preexec, close_fds=close_fds)

    def connect(self, hello=True):
        c = Connection(self.run + "/init.sock")
        self.connections.append(c)
        if hello:
            c.state = c.ask("hello")
        return c

    def engines(self, at_least=1):
        """What the engines noted of themselves, in the order of their starts."""
        def read():
            try:
                with open(self.home + "/engines") as f:
                    lines = [l for l in f if l.endswith("\n")]
            except FileNotFoundError:
                return None
            return [json.loads(l) for l in lines] if len(lines) >= at_least else None
        return wait_for(read, "engine %d" % at_least)

    def order(self, text):
        def write():
            try:
                fd = os.open(self.home + "/orders", os.O_WRONLY | os.O_NONBLOCK)
            except OSError:
                return False
            os.write(fd, text.encode() + b"\n")
            os.close(fd)
            return True
        wait_for(write, "an engine that reads its orders")

    def inside(self, script):
        """Output of a shell script that the engine runs in its namespaces."""
        answer = self.home + "/answer"
        if os.path.exists(answer):
            os.unlink(answer)
        self.order("sh " + script)
        wait_for(lambda: os.path.exists(answer), "the answer to " + script)
        with open(answer) as f:
            return f.read()

    def inner(self):
        return wait_for(lambda: children_of(self.process.pid), "the inner process")[0]

    def text(self, path=None):
        with open(path or self.err, errors="replace") as f:
            return f.read()

    def wait(self, limit=LIMIT):
        try:
            return self.process.wait(limit)
        except subprocess.TimeoutExpired:
            raise AssertionError("lifeboat-init does not end; it said: " + self.text()) from None

    def exit(self, code=0):
        c = self.connections[-1] if self.connections else self.connect()
        c.send("exit", 999999, code)
        return self.wait()

    def close(self):
        for c in self.connections:
            c.close()
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            if pipe:
                pipe.close()
        try:
            check_reports(self.home, self.text())
        finally:
            if self.own_home:
                shutil.rmtree(self.home, ignore_errors=True)
