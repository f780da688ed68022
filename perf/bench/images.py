"""Real images over a link: Lifeboat, and what one would do without it."""

import contextlib
import os
import shutil
import signal
import subprocess
import time

from . import parts
from .common import checkpoint, codec_cpu, folder, medians
from .parts import Failed, Link, Minio, Task, check

PROGRAMS = parts.HOLD.parent / "programs"
RATE = "1gbit"


def _jvm(mib, made):
    java = os.path.join(os.environ.get("JAVA_HOME", "/usr"), "bin/java")
    heap = [f"-Xmx{mib + mib // 2}m", "-XX:+UseG1GC", "-XX:-UsePerfData"]
    return [java, *heap, "-cp", parts.our_classes(), "org.lifeboat.perf.HeapTask", mib, "{work}/ready"]


def _numpy(mib, made):
    return [parts.PYTHON, PROGRAMS / "arrays.py", mib, "{work}/ready"]


def _sqlite(mib, made):
    if not made.exists():
        parts.run([parts.PYTHON, PROGRAMS / "database.py", "--make", mib, made])
    return [parts.PYTHON, PROGRAMS / "database.py", mib, "{work}/ready", made]


def _sort(mib, made):
    if not made.exists():
        parts.run([parts.PYTHON, PROGRAMS / "lines.py", mib * (1 << 20) // 2, made])
    # sort's records of the lines are as long again; with less room than that it would write a file beside, which `criu
    # dump` does not carry
    return [PROGRAMS / "sort.sh", mib * 3 // 2, "{work}/ready", made]


TASKS = {"jvm": _jvm, "numpy": _numpy, "sort": _sort, "sqlite": _sqlite}


def images(options):
    """Four real programs over a link of 1 Gbit/s: freeze to commit, beside criu dump and an upload by three other ways."""
    runs, summary = [], {}
    with Link(RATE) as wire:
        for name in options.tasks:
            command = TASKS[name]
            with folder(options, f"images-{name}") as here, options.on_disk(f"images-{name}") as disk:
                of = _program(options, wire, here, disk, command(options.image, disk / "input"))
            runs += [{"task": name, **run} for run in of]
            names = [figure for figure in of[0] if figure != "load"]
            summary.update({f"{name}.{figure}": value for figure, value in medians(of, *names).items()})
    return runs, summary


def _program(options, wire, here, disk, command):
    runs = []
    home = here / "task"
    home.mkdir()
    plain = [str(word).replace("{work}", str(home)) for word in command]
    size = options.image * (1 << 20) // 2  # at least so much, each program by its own reckoning
    with Task(plain, home / "ready") as task, Minio(here, wire.SERVER, wire.server(), 9000) as minio:
        with Client(minio, wire) as client:
            for number in range(options.runs):
                one = {"load": parts.load()}
                images = disk / "images"
                one["dump_s"], one["raw_bytes"] = _dumped(task, images)
                check(one["raw_bytes"] >= size, f"the image has {one['raw_bytes']} bytes only")
                if number == 0:
                    codec = codec_cpu(max(images.glob("pages-*.img"), key=lambda file: file.stat().st_size))
                one["upload_s"] = client.files(images, f"files-{number}", one["raw_bytes"])
                one["rclone_s"] = _rclone(minio, wire, images, f"rclone-{number}")
                shutil.rmtree(images)
                one["zstd_s"], one["zstd_bytes"] = _piped(task, images, client, f"zstd-{number}")
                shutil.rmtree(images)
                minio.empty()
                with folder(options, "lifeboat") as there:
                    ours = checkpoint(
                        there, minio.url("run"), command, size, minio.settings(), wire.client(), verify=number == 0
                    )
                minio.empty()
                one["lifeboat_s"] = ours["committed_s"]
                one["lifeboat_asked_s"] = ours["asked_s"]
                one["stored_bytes"] = ours["stored_bytes"]
                one["compression"] = ours["raw_bytes"] / ours["stored_bytes"]
                one["frozen_until_received_s"] = ours["received_s"]
                one["cpu_s_per_gb"] = ours["cpu_s_per_gb"]
                one["cpu_compress_s_per_gb"] = ours["cpu.compress_s_per_gb"]
                one["cpu_jit_s_per_gb"] = ours["cpu.jit_s_per_gb"]
                one["codec_zstd_s_per_gb"] = codec["ZSTD"]["cpu_s_per_gb"]
                one["ratio_upload"] = (one["dump_s"] + one["upload_s"]) / one["lifeboat_s"]
                one["ratio_rclone"] = (one["dump_s"] + one["rclone_s"]) / one["lifeboat_s"]
                one["ratio_zstd"] = one["zstd_s"] / one["lifeboat_s"]
                runs.append(one)
    return runs


def _dumped(task, images):
    """criu dump to files; its seconds and their bytes."""
    figures = parts.criu_dump(task.pid, images)
    return figures["seconds"], sum(file.stat().st_size for file in images.glob("pages-*.img"))


def _rclone(minio, wire, images, prefix):
    settings = {
        **{name: value for name, value in os.environ.items() if name != "AWS_CA_BUNDLE"},
        "RCLONE_CONFIG": "/dev/null",
        "RCLONE_CONFIG_STORE_TYPE": "s3",
        "RCLONE_CONFIG_STORE_PROVIDER": "Minio",
        "RCLONE_CONFIG_STORE_ENDPOINT": minio.endpoint,
        "RCLONE_CONFIG_STORE_ACCESS_KEY_ID": "minioadmin",
        "RCLONE_CONFIG_STORE_SECRET_ACCESS_KEY": "minioadmin",
        "RCLONE_CONFIG_STORE_REGION": "us-east-1",
    }
    copy = ["rclone", "copy", str(images), f"store:{minio.BUCKET}/{prefix}"]
    copy += ["--s3-chunk-size", "8M", "--s3-upload-concurrency", "8", "--transfers", "8", "--s3-no-check-bucket"]
    start = time.monotonic()
    parts.run([*wire.client(), *copy], env=settings)
    return time.monotonic() - start


def _piped(task, images, client, key):
    """criu dump with its pages through zstd into a multipart upload, the other images behind it."""
    processes = 1
    images.mkdir()
    pages = [images / f"pages-{number}.img" for number in range(1, processes + 1)]
    for file in (*pages, images / "packed"):
        os.mkfifo(file)
    client.begin("stream", images / "packed", f"{key}/pages.zst")
    with open(images / "packed", "wb") as packed, open(images / "zstd.log", "wb") as log:
        zstd = subprocess.Popen(
            ["sh", "-c", 'cat "$@" | zstd -q -1 -T0 -c', "sh", *pages], stdin=subprocess.DEVNULL, stdout=packed, stderr=log
        )
    try:
        start = time.monotonic()
        # CRIU opens a file that is there, and a FIFO is as good
        parts.criu_dump(task.pid, images, exist_ok=True)
        check(zstd.wait(120) == 0, "zstd failed")
        stored = client.ended()
        for file in (*pages, images / "packed", images / "zstd.log"):
            file.unlink()
        client.files(images, key)
        return time.monotonic() - start, stored
    finally:
        parts.end(zstd, signal.SIGKILL)


class Client:
    """Lifeboat's client in the client's network namespace, uploading what it is told."""

    def __init__(self, minio, wire):
        command = [*wire.client(), *parts.java("org.lifeboat.perf.Uploader", minio.url("other"))]
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **minio.settings()},
        )
        check(self.process.stdout.readline() == "ready\n", "the uploader did not start")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        with contextlib.suppress(OSError):
            self.process.stdin.close()
        parts.end(self.process, signal.SIGKILL)

    def begin(self, *words):
        self.process.stdin.write(" ".join(map(str, words)) + "\n")
        self.process.stdin.flush()

    def ended(self):
        line = self.process.stdout.readline()
        if not line:
            raise Failed("the uploader failed")
        return int(line)

    def files(self, images, prefix, least=0):
        start = time.monotonic()
        self.begin("files", images, prefix)
        stored = self.ended()
        check(stored >= least, f"{stored} bytes were uploaded of {least}")
        return time.monotonic() - start
