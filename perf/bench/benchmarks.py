"""The benchmarks. Each gives its runs, as measured, and a summary: medians with the least and the greatest."""

import json
import os
import shutil
import signal
import subprocess

from . import images, parts, restoring, slowdown, starting
from .common import GB, MIB, POOL, TASK, UPLOADS, checkpoint, codec_cpu, folder, medians
from .parts import Failed, Link, Memory, Minio, check

# ---- receive


def receive(options):
    """CRIU's pages into the engine's receiver, with a store that forgets, beside criu dump to tmpfs."""
    runs = []
    with folder(options, "receive") as here, Memory(here, options.size) as task:
        for number in range(options.runs):
            one = {"load": parts.load()}
            small = _to_receiver(here / f"{number}-small", task, POOL)
            large = _to_receiver(here / f"{number}-large", task, options.size + options.size // 2)
            plain = _to_tmpfs(here / f"{number}-tmpfs", task)
            for name, figures in (("pool_256m", small), ("pool_all", large), ("tmpfs", plain)):
                one.update({f"{name}.{key}": value for key, value in figures.items()})
            one["ratio_256m"] = small["gb_per_s"] / plain["gb_per_s"]
            one["ratio_all"] = large["gb_per_s"] / plain["gb_per_s"]
            runs.append(one)
    names = [f"{side}.{figure}" for side in ("pool_256m", "pool_all", "tmpfs") for figure in ("gb_per_s", "frozen_s")]
    names += ["ratio_256m", "ratio_all"]
    names += [f"{side}.cpu_s_per_gb" for side in ("pool_256m", "pool_all")]
    names += [name for name in runs[0] if name.startswith("pool_256m.cpu.")]
    return runs, medians(runs, *names)


def _rates(figures, size):
    """CRIU's memwrite time is that in which it hands pages over, to a file or to the socket."""
    written = figures["pages_written"] * os.sysconf("SC_PAGESIZE")
    check(written >= size, f"CRIU wrote {written} bytes of a process that holds {size}")
    return {
        "bytes": written,
        "gb_per_s": written / GB / (figures["memwrite_us"] / 1e6),
        "memwrite_s": figures["memwrite_us"] / 1e6,
        "frozen_s": figures["frozen_us"] / 1e6,
        "command_s": figures["seconds"],
    }


def _to_receiver(here, task, pool):
    here.mkdir()
    socket = here / "page.sock"
    arguments = (socket, here / "pages.index", max(pool, 64 * MIB), UPLOADS)
    command = parts.java("org.lifeboat.perf.DiscardReceiver", *arguments)
    with open(here / "receiver.log", "w+") as errors:
        receiver = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True)
        try:
            line = receiver.stdout.readline()
            if line != "ready\n":
                errors.seek(0)
                raise Failed("the receiver did not start: " + errors.read()[-2000:])
            cpu = parts.Cpu(receiver.pid)
            with parts.page_socket(socket) as connection:
                fd = connection.fileno()
                figures = parts.criu_dump(
                    task.pid, here / "images", "--page-server", "--ps-socket", str(fd), pass_fds=(fd,)
                )
            line = receiver.stdout.readline()
            if not line:
                errors.seek(0)
                raise Failed("the receiver failed: " + errors.read()[-2000:])
            got = json.loads(line)
            cpu = cpu.end()
            peak = parts.kib(receiver.pid, "VmHWM")
            receiver.stdin.close()
            check(receiver.wait(20) == 0, "the receiver ended with an error")
        finally:
            parts.end(receiver, signal.SIGKILL)
    rates = _rates(figures, task.size)
    check(got["rawBytes"] == rates["bytes"], f"CRIU sent {rates['bytes']} bytes, {got['rawBytes']} were received")
    check(got["storedBytes"] >= task.size, f"of {task.size} incompressible bytes {got['storedBytes']} were stored")
    shutil.rmtree(here)
    return {
        **rates,
        "receiver_gb_per_s": got["rawBytes"] / GB / got["seconds"],
        "cpu_s_per_gb": cpu["total"] / (got["rawBytes"] / GB),
        **{f"cpu.{kind}_s_per_gb": seconds / (got["rawBytes"] / GB) for kind, seconds in cpu.items() if kind != "total"},
        "peak_mib": peak / 1024,
        "waits": got["waits"],
    }


def _to_tmpfs(images, task):
    figures = parts.criu_dump(task.pid, images)
    rates = _rates(figures, task.size)
    there = sum(file.stat().st_size for file in images.glob("pages-*.img"))
    check(there == rates["bytes"], f"CRIU says {rates['bytes']} bytes, its files have {there}")
    shutil.rmtree(images)
    return rates


# ---- a final checkpoint


def _incompressible(here, options, url, settings=None, prefix=(), verify=True):
    task = (*TASK, options.size, "{work}/ready")
    return checkpoint(here, url, task, options.size, settings, prefix, least=options.size, verify=verify)


def overlap(options):
    """How much of a final dump was in the store when CRIU sent its last page; pool 256 MiB."""
    runs, summary = [], {}
    for number in range(options.runs):
        with folder(options, "overlap-minio") as here, Minio(here) as minio:
            runs.append({"store": "MinIO", **_incompressible(here, options, minio.url("run"), minio.settings())})
        with folder(options, "overlap-file") as here:
            runs.append({"store": "file", **_incompressible(here, options, f"file://{here}/store")})
    for store in ("MinIO", "file"):
        of = [run for run in runs if run["store"] == store]
        for name, value in medians(of, "sent_before_end", "received_s", "committed_s").items():
            summary[f"{store}.{name}"] = value
    return runs, summary


def link(options):
    """A final checkpoint through a link of 1 Gbit/s to MinIO, beside what iperf3 gets through it."""
    return _link(options, "1gbit")


def link5(options):
    """The same at 5 Gbit/s, and who uses the processors meanwhile."""
    return _link(options, "5gbit")


def _link(options, rate):
    runs = []
    with Link(rate) as wire:
        for number in range(options.runs):
            with folder(options, "link") as here:
                before = wire.carries(options.iperf)
                with Minio(here, wire.SERVER, wire.server(), 9000) as minio:
                    server = parts.cpu_seconds(minio.process.pid)
                    one = _incompressible(here, options, minio.url("run"), minio.settings(), wire.client(), number == 0)
                    one["minio_cpu_s_per_gb"] = (parts.cpu_seconds(minio.process.pid) - server) / (one["raw_bytes"] / GB)
                after = wire.carries(options.iperf)
            if number == 0:
                del one["minio_cpu_s_per_gb"]  # the verification's too
            wire_rate = (before + after) / 2
            one["iperf_mb_per_s"] = wire_rate / 1e6
            one["mb_per_s"] = one["stored_bytes"] / 1e6 / one["committed_s"]
            one["share"] = one["mb_per_s"] / one["iperf_mb_per_s"]
            one["share_while_parts"] = one["stored_bytes"] / one["phase.parts"] / wire_rate
            one["lost_s"] = one["committed_s"] - one["stored_bytes"] / wire_rate
            runs.append(one)
    names = ["share", "mb_per_s", "iperf_mb_per_s", "committed_s", "lost_s", "share_while_parts"]
    names += ["machine_busy", "cpu_s_per_gb"]
    more = [name for name in runs[0] if name.startswith(("phase.", "cpu."))]
    summary = medians(runs, *names, *more)
    if len(runs) > 1:
        summary.update(medians(runs[1:], "minio_cpu_s_per_gb"))
    return runs, summary


def dump(options):
    """A final checkpoint to file://, on tmpfs: time, memory and CPU of the engine."""
    runs = []
    for number in range(options.runs):
        with folder(options, "dump") as here:
            runs.append(_incompressible(here, options, f"file://{here}/store"))
    return runs, medians(runs, "committed_s", "gb_per_s", "cpu_s_per_gb", "peak_mib", "resident_before_mib")


def large(options):
    """A final checkpoint of 8 GiB, of which codecs make a third, to MinIO: memory of the engine, CPU per GB beside the codec's."""
    runs = []
    for number in range(options.runs):
        with folder(options, "large") as here:
            task = (*TASK, options.large, "{work}/ready", "4")
            with Minio(here) as minio:
                one = checkpoint(
                    here, minio.url("run"), task, options.large, minio.settings(), verify=number == 0
                )
            sample = here / "sample"
            parts.run([*TASK, "--sample", min(options.large, 256 * MIB), sample, "4"])
            one["codec"] = codec_cpu(sample)
            one["pool_mib"] = POOL / MIB
            one["peak_beside_pool_mib"] = one["peak_mib"] - one["pool_mib"]
            one["cpu_beside_codec_s_per_gb"] = one["cpu_s_per_gb"] - one["cpu.compress_s_per_gb"]
            for name, figures in one["codec"].items():
                one[f"codec.{name}_s_per_gb"] = figures["cpu_s_per_gb"]
            one["ratio"] = one["raw_bytes"] / one["stored_bytes"]
            runs.append(one)
    names = ["peak_beside_pool_mib", "peak_mib", "cpu_s_per_gb", "cpu_beside_codec_s_per_gb", "committed_s", "ratio"]
    return runs, medians(runs, *names, *(name for name in runs[0] if name.startswith(("cpu.", "codec."))))


ALL = {
    "receive": receive,
    "overlap": overlap,
    "link": link,
    "link5": link5,
    "dump": dump,
    "large": large,
    "images": images.images,
    "start": starting.start,
    "slowdown": slowdown.slowdown,
    "restore": restoring.restore,
}
