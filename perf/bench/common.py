"""What several benchmarks need."""

import contextlib
import json
import shutil

from . import parts
from .parts import Run, check, spread

MIB = 1 << 20
GB = 1e9
POOL = 256 * MIB  # the engine's default
UPLOADS = 8  # the engine's
TASK = (parts.PYTHON, str(parts.HOLD))


@contextlib.contextmanager
def folder(options, name):
    """A folder that is gone afterwards, with the gigabytes in it."""
    path = options.scratch / name
    path.mkdir()
    try:
        yield path
    finally:
        shutil.rmtree(path)


def medians(runs, *names, digits=3):
    return {name: spread([run[name] for run in runs], digits) for name in names}


def checkpoint(here, url, command, size, settings=None, prefix=(), least=None, verify=True):
    """A final checkpoint of a task by `lifeboat checkpoint`; the snapshot is not kept.

    command: of the task; {work} in it is its working directory, where it writes the file `ready`
    size, least: the bytes of memory that it has, and that its snapshot has at least
    verify: whether to read back all of it
    """
    settings = {"LIFEBOAT_POOL_SIZE": str(POOL), **(settings or {})}
    command = [str(word).replace("{work}", str(here / "work")) for word in command]
    with Run(here, url, command, settings, prefix) as run:
        run.ready(here / "work/ready")
        run.warm()
        load = parts.load()
        result, engine, requests = run.checkpoint()
        if verify:
            run.ask("verify")
    raw, stored = result["rawBytes"], result["storedBytes"]
    check(raw >= size, f"{raw} bytes were saved of a task that holds {size}")
    check(raw == requests.raw_bytes, f"{raw} bytes in the result, {requests.raw_bytes} in the log of requests")
    if least:
        check(requests.bytes >= least, f"{requests.bytes} bytes were sent of {least} incompressible ones")
    check(requests.bytes <= stored, f"{requests.bytes} bytes of parts were sent, {stored} are in the store")
    cpu = engine.pop("cpu")
    asked = engine.pop("asked_at")
    return {
        "load": load,
        "asked_s": requests.freezing + requests.committed - asked,
        "raw_bytes": raw,
        "stored_bytes": stored,
        "received_s": requests.received,
        "committed_s": requests.committed,
        "sent_before_end": requests.sent_before(requests.received) / requests.bytes,
        "cpu_s_per_gb": cpu["total"] / (raw / GB),
        **{f"cpu.{kind}_s_per_gb": seconds / (raw / GB) for kind, seconds in cpu.items() if kind != "total"},
        "gb_per_s": raw / GB / requests.committed,
        **engine,
        **{f"phase.{name}": seconds for name, seconds in requests.phases().items()},
    }


def codec_cpu(file):
    """The CPU that each codec takes for the file's bytes, in frames of 64 KiB, on one thread, and what it makes of them."""
    return json.loads(parts.run(parts.java("org.lifeboat.perf.CodecLoop", file)))
