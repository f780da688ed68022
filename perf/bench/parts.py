"""The real parts: processes, CRIU's figures, servers, links, and the installed Lifeboat."""

import contextlib
import json
import os
import pathlib
import shutil
import signal
import socket
import statistics
import struct
import subprocess
import sys
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
HOME = pathlib.Path(os.environ.get("LIFEBOAT_PERF_HOME", ROOT / "deploy/target/lifeboat"))
PYTHON = "/usr/bin/python3"  # of the machine's image, so that it does not count as a file of the task
HOLD = pathlib.Path(__file__).resolve().parent / "hold.py"
TICKS = os.sysconf("SC_CLK_TCK")
SO_SNDBUFFORCE = 32
SOCKET_BUFFER = 4 << 20  # as lifeboat-init's


class Failed(Exception):
    """What was to be measured did not happen."""


def check(truth, words):
    if not truth:
        raise Failed(words)


def wait_for(what, seconds, probe, process=None):
    """Polls until the probe gives something."""
    limit = time.monotonic() + seconds
    while time.monotonic() < limit:
        found = probe()
        if found:
            return found
        if process is not None and process.poll() is not None:
            raise Failed(f"{what}: its process ended with {process.returncode}")
        time.sleep(0.02)
    raise Failed(f"{what}: not within {seconds} s")


def run(command, **options):
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True, stdin=subprocess.DEVNULL, **options)
    if done.returncode != 0:
        words = (done.stderr + done.stdout)[-2000:]
        raise Failed(f"{' '.join(map(str, command))} ended with {done.returncode}: {words}")
    return done.stdout


def spread(values, digits=3):
    return {
        "median": round(statistics.median(values), digits),
        "min": round(min(values), digits),
        "max": round(max(values), digits),
        "n": len(values),
    }


# ---- processes


def cpu_seconds(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def status(pid):
    lines = pathlib.Path(f"/proc/{pid}/status").read_text().splitlines()
    return dict(line.split(":", 1) for line in lines)


def kib(pid, field):
    return int(status(pid)[field].split()[0])


def reset_peak(pid):
    pathlib.Path(f"/proc/{pid}/clear_refs").write_text("5")


def descendants(root):
    children = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            with contextlib.suppress(OSError):
                fields = pathlib.Path(f"/proc/{entry}/stat").read_text().rsplit(")", 1)[1].split()
                children.setdefault(int(fields[1]), []).append(int(entry))
    found, todo = [], [root]
    while todo:
        for child in children.get(todo.pop(), []):
            found.append(child)
            todo.append(child)
    return found


def end(process, number=signal.SIGTERM, seconds=20):
    """Ends one of our own children."""
    if process.poll() is None:
        process.send_signal(number)
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


class Cpu:
    """The CPU seconds of a process by what its threads do, from the kernel's clocks, sampled as threads come and go.

    What threads used that ended between two samples is in `other`, as is what no name below stands for.
    """

    # the first 15 letters of a thread's name
    KINDS = {
        "lifeboat-receiv": "receive",
        "lifeboat-compre": "compress",
        "lifeboat-pack": "pack",
        "ForkJoinPool-1-": "parts",  # carriers of virtual threads: digests, requests, images
        "AwsEventLoop": "http",
        "C1 CompilerThre": "jit",
        "C2 CompilerThre": "jit",
    }
    INTERVAL = 0.05

    def __init__(self, pid):
        self.pid = pid
        self.seen = {}
        self.done = threading.Event()
        self.before = {}
        self._sample()
        self.before = dict(self.seen)
        self.total_before = cpu_seconds(pid)
        self.thread = threading.Thread(target=self._watch, daemon=True)
        self.thread.start()

    def _watch(self):
        while not self.done.wait(self.INTERVAL):
            self._sample()

    def _sample(self):
        with contextlib.suppress(OSError):
            for tid in os.listdir(f"/proc/{self.pid}/task"):
                with contextlib.suppress(OSError):
                    name = pathlib.Path(f"/proc/{self.pid}/task/{tid}/comm").read_text().strip()
                    nanos = int(pathlib.Path(f"/proc/{self.pid}/task/{tid}/schedstat").read_text().split()[0])
                    self.seen[tid, name] = nanos

    def end(self):
        """Seconds by kind since the beginning; `total` is the process's own count."""
        total = cpu_seconds(self.pid) - self.total_before
        self.done.set()
        self.thread.join()
        self._sample()
        kinds = dict.fromkeys([*self.KINDS.values(), "other"], 0.0)
        for (tid, name), nanos in self.seen.items():
            kind = next((kind for start, kind in self.KINDS.items() if name.startswith(start)), "other")
            kinds[kind] += (nanos - self.before.get((tid, name), 0)) / 1e9
        kinds["other"] = max(0.0, total - sum(value for kind, value in kinds.items() if kind != "other"))
        return {"total": total, **kinds}


def machine_cpu():
    """CPU seconds of the whole machine so far: busy, and all there was."""
    fields = [int(field) for field in text("/proc/stat").split("\n", 1)[0].split()[1:9]]
    return (sum(fields) - fields[3] - fields[4]) / TICKS, sum(fields) / TICKS


class Task:
    """A process that makes its memory and waits, as a session of its own, which CRIU can dump as it is."""

    def __init__(self, command, ready):
        self.log = ready.with_name(ready.name + ".log")
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                [*map(str, command)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                cwd=ready.parent,
            )
        try:
            wait_for(f"{command[0]}", 300, lambda: ready.exists() and ready.read_text(), self.process)
        except Failed as e:
            end(self.process, signal.SIGKILL)
            raise Failed(f"{e}: {self.log.read_text()[-2000:]}") from None

    @property
    def pid(self):
        return self.process.pid

    def __enter__(self):
        return self

    def __exit__(self, *_):
        end(self.process, signal.SIGKILL)


class Memory(Task):
    """One that holds memory that nothing makes smaller."""

    def __init__(self, folder, size):
        self.size = size
        super().__init__((PYTHON, HOLD, size, folder / "ready"), folder / "ready")


# ---- CRIU


def criu():
    return os.environ.get("LIFEBOAT_CRIU") or str(HOME / "criu/bin/criu")


def criu_stats(file):
    """The dump's figures in CRIU's stats-dump: two magic words, a length, and a message whose field 1 is the dump."""
    names = {1: "freezing_us", 2: "frozen_us", 3: "memdump_us", 4: "memwrite_us", 5: "pages_scanned", 7: "pages_written"}

    def fields(data):
        at = 0

        def varint():
            nonlocal at
            value = shift = 0
            while True:
                byte = data[at]
                at += 1
                value |= (byte & 0x7F) << shift
                shift += 7
                if byte < 0x80:
                    return value

        while at < len(data):
            tag = varint()
            if tag & 7 == 0:
                yield tag >> 3, varint()
            else:
                check(tag & 7 == 2, f"{file}: an unexpected field type {tag & 7}")
                length = varint()
                at += length
                yield tag >> 3, data[at - length : at]

    raw = pathlib.Path(file).read_bytes()
    magic, second, length = struct.unpack_from("<III", raw)
    check((magic, second) == (0x55105940, 0x57093306), f"{file} is no stats image")
    for number, value in fields(raw[12 : 12 + length]):
        if number == 1:
            return {names[n]: v for n, v in fields(value) if n in names}
    raise Failed(f"{file} has no figures of a dump")


def criu_dump(pid, images, *more, pass_fds=(), exist_ok=False):
    """Dumps a process and lets it run on; gives CRIU's own figures and the time of the whole command."""
    images.mkdir(exist_ok=exist_ok)
    command = [criu(), "dump", "--no-default-config", "-t", str(pid), "-D", str(images), "-o", "dump.log", "-v1"]
    command += ["--leave-running", *more]
    start = time.monotonic()
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, pass_fds=pass_fds)
    seconds = time.monotonic() - start
    if done.returncode != 0:
        log = images / "dump.log"
        raise Failed("criu dump failed: " + (log.read_text()[-1500:] if log.exists() else repr(done)))
    return {"seconds": seconds, **criu_stats(images / "stats-dump")}


def page_socket(path):
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.setsockopt(socket.SOL_SOCKET, SO_SNDBUFFORCE, SOCKET_BUFFER)
    connection.connect(str(path))
    return connection


# ---- Lifeboat


def our_classes():
    ours = next(iter((ROOT / "perf/target").glob("lifeboat-perf-*.jar")), None) or ROOT / "perf/target/classes"
    check(ours.exists(), "the module perf is not built")
    return ours


def java(main, *arguments):
    """A main class of ours in the engine's own JVM, with its options and its AOT cache."""
    ours = our_classes()
    return [
        str(HOME / "jre/bin/java"),
        f"@{HOME}/lib/java.options",
        f"-XX:AOTCache={HOME}/lib/lifeboat.aot",
        f"-Djava.library.path={HOME}/lib/native",
        "-cp",
        f"{HOME}/lib/lifeboat.jar:{ours}",
        main,
        *map(str, arguments),
    ]


def lifeboat():
    program = HOME / "bin/lifeboat"
    check(os.access(program, os.X_OK), f"no Lifeboat at {program}: perf/run builds it")
    return str(program)


class Run:
    """`lifeboat run` of a task, and what can be asked of it."""

    def __init__(self, folder, store, command, settings=None, prefix=()):
        self.folder = folder
        self.store = store
        self.work = folder / "work"
        self.work.mkdir()
        self.requests = folder / "requests.jsonl"
        self.log = folder / "run.log"
        self.prefix = list(prefix)
        self.environment = {
            **os.environ,
            "LIFEBOAT_RUN_BASE": str(folder / "run"),
            "LIFEBOAT_CACHE_LOCATION": str(folder / "cache"),
            "LIFEBOAT_REQUEST_LOG": str(self.requests),
            "LIFEBOAT_WARM_UP": os.environ.get("LIFEBOAT_WARM_UP", "1ms"),  # at once: see warm()
            **(settings or {}),
        }
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                [*self.prefix, lifeboat(), "run", "--store", store, "--after-dump", "park", "--", *map(str, command)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.work,
                env=self.environment,
            )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        end(self.process)

    def ready(self, file, seconds=120):
        try:
            wait_for(f"the task of {self.store}", seconds, lambda: file.exists() and file.read_text(), self.process)
        except Failed as e:
            raise Failed(f"{e}: {self.log.read_text()[-2000:]}") from None

    def engine(self):
        """The process id of its JVM, seen from here."""
        wanted = str((HOME / "jre/bin/java").resolve())
        for pid in descendants(self.process.pid):
            with contextlib.suppress(OSError):
                if os.readlink(f"/proc/{pid}/exe") == wanted:
                    return pid
        raise Failed(f"{self.store} has no engine: {self.log.read_text()[-2000:]}")

    def warm(self):
        """Waits until the engine is as it is in a task that has run for half a minute."""
        engine = self.engine()

        def over():
            names = (text(file).strip() for file in pathlib.Path(f"/proc/{engine}/task").glob("*/comm"))
            return "lifeboat-warm" not in names

        wait_for("the warm-up of the engine", 300, over, self.process)

    def ask(self, *command):
        return run([*self.prefix, lifeboat(), *command, "--store", self.store], env={**self.environment, "LIFEBOAT_REQUEST_LOG": ""})

    def checkpoint(self):
        """A final checkpoint: what `lifeboat checkpoint` says, the engine's figures, and the log of requests."""
        engine = self.engine()
        reset_peak(engine)
        resident = kib(engine, "VmRSS")
        cpu, machine = Cpu(engine), machine_cpu()
        start = time.time()
        result = json.loads(self.ask("checkpoint", "--json").strip().splitlines()[-1])
        used, machine = cpu.end(), [after - before for before, after in zip(machine, machine_cpu())]
        check(result["code"] == 0, f"the checkpoint failed: {result}")
        figures = {
            "asked_at": start,
            "cpu": used,
            "machine_busy": machine[0] / machine[1],
            "resident_before_mib": resident / 1024,
            "peak_mib": kib(engine, "VmHWM") / 1024,
            "file_mib": kib(engine, "RssFile") / 1024,
            "threads": int(status(engine)["Threads"]),
        }
        end(self.process)
        return result, figures, Requests(self.requests)


class Requests:
    """The log of requests of one run with one dump; times in seconds from CRIU's freeze on."""

    def __init__(self, file):
        lines = [json.loads(line) for line in file.read_text().splitlines()]
        events = {line["event"]: line for line in lines if "event" in line}
        for name in ("freezing", "received", "committed"):
            check(name in events, f"{file} has no event {name}")
        zero = events["freezing"]["atMicros"]
        self.freezing = zero / 1e6
        self.received = (events["received"]["atMicros"] - zero) / 1e6
        self.committed = (events["committed"]["atMicros"] - zero) / 1e6
        self.raw_bytes = events["received"]["bytes"]
        self.all = [line for line in lines if "operation" in line and line["startMicros"] >= zero]
        for line in self.all:
            line["start"] = (line["startMicros"] - zero) / 1e6
            line["end"] = (line["endMicros"] - zero) / 1e6
        failures = [line for line in self.all if line["outcome"] != "ok" and line["operation"] in ("part", "complete", "upload")]
        check(not failures, f"requests failed: {failures[:3]}")
        self.parts = [line for line in self.all if line["operation"] == "part" and "/pages" in line["key"]]
        check(self.parts, f"{file} has no parts of page packs")
        self.bytes = sum(part["bytes"] for part in self.parts)

    def sent_before(self, instant):
        """The bytes of parts whose request was over by then."""
        return sum(part["bytes"] for part in self.parts if part["end"] <= instant)

    def phases(self):
        """Where the time from the freeze to the commit goes, in seconds."""
        first = min(part["start"] for part in self.parts)
        last = max(part["end"] for part in self.parts)
        complete = max(line["end"] for line in self.all if line["operation"] == "complete" and line["end"] <= self.committed)
        return {
            "to_first_part": first,
            "parts": last - first,
            "to_complete": complete - last,
            "to_commit": self.committed - complete,
        }


# ---- stores


def free_port(address="127.0.0.1"):
    with socket.socket() as probe:
        probe.bind((address, 0))
        return probe.getsockname()[1]


class Minio:
    """MinIO with MD5 ETags and O_DIRECT off, which would measure MinIO; maybe in a network namespace."""

    BUCKET = "perf"

    def __init__(self, folder, address="127.0.0.1", prefix=(), port=None):
        program = os.environ.get("LIFEBOAT_MINIO")
        check(program, "LIFEBOAT_MINIO is not set: source the env.sh that deploy/setup test wrote")
        self.prefix = list(prefix)
        data = folder / "minio"
        (data / self.BUCKET).mkdir(parents=True)  # a folder is a bucket
        self.data = data
        port = port or free_port()
        self.endpoint = f"http://{address}:{port}"
        with open(folder / "minio.log", "wb") as log:
            self.process = subprocess.Popen(
                [*self.prefix, program, "server", "--no-compat", "--address", f"{address}:{port}", str(data)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={
                    **os.environ,
                    "MINIO_ROOT_USER": "minioadmin",
                    "MINIO_ROOT_PASSWORD": "minioadmin",
                    "MINIO_BROWSER": "off",
                    "MINIO_UPDATE": "off",
                    "MINIO_API_ODIRECT": "off",
                },
            )
        self.log = folder / "minio.log"

    def __enter__(self):
        script = f"import urllib.request as u; u.urlopen('{self.endpoint}/minio/health/ready', timeout=1)"

        def is_ready():
            ask = [*self.prefix, sys.executable, "-c", script]
            return subprocess.run(ask, capture_output=True, env={}).returncode == 0

        try:
            wait_for("MinIO", 60, is_ready, self.process)
        except Failed as e:
            self.__exit__()
            raise Failed(f"{e}: {self.log.read_text()[-1000:]}") from None
        return self

    def __exit__(self, *_):
        end(self.process)

    def url(self, name):
        return f"s3://{self.BUCKET}/{name}"

    def empty(self):
        """Forgets all objects."""
        for entry in (self.data / self.BUCKET).iterdir():
            shutil.rmtree(entry)

    def settings(self):
        return {
            "AWS_ENDPOINT_URL_S3": self.endpoint,
            "AWS_ACCESS_KEY_ID": "minioadmin",
            "AWS_SECRET_ACCESS_KEY": "minioadmin",
            "AWS_REGION": "us-east-1",
        }


# ---- a link


class Link:
    """Two network namespaces and a veth pair between them, shaped at both ends by a token bucket."""

    CLIENT, SERVER = "10.211.7.1", "10.211.7.2"

    def __init__(self, rate):
        self.rate = rate
        self.names = [f"lifeboat-perf-{os.getpid()}-{end}" for end in ("client", "server")]

    def __enter__(self):
        client, server = self.names
        for name in self.names:
            run(["ip", "netns", "add", name])
            run(["ip", "-n", name, "link", "set", "lo", "up"])
        run(["ip", "link", "add", "perf0", "netns", client, "type", "veth", "peer", "name", "perf0", "netns", server])
        for name, address in ((client, self.CLIENT), (server, self.SERVER)):
            run(["ip", "-n", name, "address", "add", f"{address}/24", "dev", "perf0"])
            run(["ip", "-n", name, "link", "set", "perf0", "up"])
            shape = ["tbf", "rate", self.rate, "burst", "256kb", "latency", "50ms"]
            run(["tc", "-n", name, "qdisc", "add", "dev", "perf0", "root", *shape])
        return self

    def __exit__(self, *_):
        for name in self.names:
            subprocess.run(["ip", "netns", "delete", name], capture_output=True)

    def client(self):
        return ["nsenter", f"--net=/run/netns/{self.names[0]}", "--"]

    def server(self):
        return ["nsenter", f"--net=/run/netns/{self.names[1]}", "--"]

    def carries(self, seconds):
        """What iperf3 gets through, in bytes per second of payload, one stream."""
        listener = subprocess.Popen(
            [*self.server(), "iperf3", "-s", "-1", "-B", self.SERVER],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            env={**os.environ, "LC_ALL": "C"},
        )
        try:
            for _ in range(100):
                command = [*self.client(), "iperf3", "-c", self.SERVER, "-t", str(seconds), "-J"]
                done = subprocess.run(command, capture_output=True, text=True)
                answer = json.loads(done.stdout)
                if "error" not in answer:
                    return answer["end"]["sum_received"]["bits_per_second"] / 8
                check("refused" in answer["error"], f"iperf3: {answer['error']}")
                check(listener.poll() is None, "iperf3 -s ended by itself")
                time.sleep(0.05)
            raise Failed("iperf3 does not listen")
        finally:
            end(listener)


# ---- the machine


def text(file):
    try:
        return pathlib.Path(file).read_text()
    except OSError:
        return ""


def machine():
    cpuinfo = text("/proc/cpuinfo")
    model = next((line.split(":")[1].strip() for line in cpuinfo.splitlines() if line.startswith("model name")), "?")
    memory = int(text("/proc/meminfo").split()[1])
    release = dict(line.split("=", 1) for line in text("/etc/os-release").splitlines() if "=" in line)
    sources = subprocess.run(["git", "-C", ROOT, "describe", "--always", "--dirty"], capture_output=True, text=True)
    return {
        "cores": os.cpu_count(),
        "processor": model,
        "memory_gib": round(memory / (1 << 20), 1),
        "kernel": os.uname().release,
        "system": release.get("PRETTY_NAME", "?").strip('"'),
        "huge_pages": text("/sys/kernel/mm/transparent_hugepage/enabled").strip(),
        "criu": run([criu(), "--version"]).split("\n")[0].removeprefix("Version: "),
        "java": text(HOME / "jre/release").split('JAVA_VERSION="')[-1].split('"')[0],
        "lifeboat": sources.stdout.strip() or "not a git checkout",
    }


def load():
    return os.getloadavg()[0]


def available():
    """Bytes of memory that can be had."""
    return next(int(line.split()[1]) for line in text("/proc/meminfo").splitlines() if "MemAvailable" in line) * 1024
