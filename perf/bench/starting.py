"""How long a task waits for Lifeboat before it runs, and what the engine then takes."""

import os
import pathlib
import subprocess
import time

from . import parts
from .common import MIB, TASK, folder, medians
from .parts import Minio, Run, check


def start(options):
    """From exec of `lifeboat run` to the task's first instruction, an empty folder; and the engine at rest, before and after a dump."""
    runs = []
    with folder(options, "start") as here, Minio(here) as minio:
        for number in range(options.starts):
            one = {"load": parts.load()}
            bare = _started([], here / f"bare-{number}")
            one["bare_ms"] = bare * 1000
            for store in ("file", "MinIO"):
                folder_of = here / f"run-{store}-{number}"
                url = f"file://{here}/store-{number}" if store == "file" else minio.url(f"run-{number}")
                command = [parts.lifeboat(), "run", "--store", url, "--"]
                seconds = _started(command, folder_of, {} if store == "file" else minio.settings())
                one[f"{store}.added_ms"] = (seconds - bare) * 1000
            runs.append(one)
    summary = medians(runs, "bare_ms", "file.added_ms", "MinIO.added_ms", digits=1)
    rest = []
    for number in range(options.runs):
        with folder(options, "idle") as here, Minio(here) as minio:
            rest.append(_at_rest(here, minio))
    names = [name for name in rest[0] if name != "load"]
    return [*runs, *rest], {**summary, **medians(rest, *names, digits=2)}


def _started(prefix, here, more=None):
    """Seconds from our exec to the clock that the task, date(1), reads first."""
    here.mkdir()
    settings = {
        **os.environ,
        "LIFEBOAT_RUN_BASE": str(here / "run"),
        "LIFEBOAT_CACHE_LOCATION": str(here / "cache"),
        **(more or {}),
    }
    began = time.time()
    done = subprocess.run(
        [*prefix, "date", "+%s.%N"], cwd=here, env=settings, stdin=subprocess.DEVNULL, capture_output=True, text=True
    )
    check(done.returncode == 0, f"{prefix} date ended with {done.returncode}: {done.stderr[-2000:]}")
    return float(done.stdout) - began


def _at_rest(here, minio):
    ready = here / "work/ready"
    with Run(here, minio.url("idle"), (*TASK, 64 * MIB, ready), minio.settings()) as run:
        run.ready(ready)
        run.warm()
        time.sleep(8)  # it gives back what the start took
        engine = run.engine()
        one = {"load": parts.load(), **_memory(engine, "idle")}
        cpu, switches = parts.cpu_seconds(engine), _switches(engine)
        time.sleep(10)
        one["idle_cpu_percent"] = (parts.cpu_seconds(engine) - cpu) * 10
        one["idle_wakeups_per_s"] = (_switches(engine) - switches) / 10
        run.ask("checkpoint", "--leave-running")
        time.sleep(8)
        return {**one, **_memory(engine, "after_dump")}


def _memory(engine, when):
    rollup = pathlib.Path(f"/proc/{engine}/smaps_rollup").read_text()
    private = sum(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Private_"))
    return {
        f"{when}_rss_mib": parts.kib(engine, "VmRSS") / 1024,
        f"{when}_private_mib": private / 1024,
        f"{when}_threads": int(parts.status(engine)["Threads"]),
    }


def _switches(pid):
    """How often its threads waited for something so far."""
    found = 0
    for thread in os.listdir(f"/proc/{pid}/task"):
        text = parts.text(f"/proc/{pid}/task/{thread}/status")
        found += sum(int(line.split()[1]) for line in text.splitlines() if line.startswith("voluntary_ctxt"))
    return found
