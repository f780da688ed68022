"""How soon a saved task runs again, beside CRIU's own files, fetched and restored."""

import os
import shutil
import signal
import subprocess
import time

from . import parts
from .common import MIB, POOL, folder, medians
from .parts import Minio, Run, check, wait_for

CLOCK = parts.ROOT / "perf/bench/programs/clock.py"
GAP = 0.4  # seconds that the task stands still at the least, or clock.py takes no notice
IMAGES = {"noise": "1", "mixed": "4"}  # clock.py's TIMES


def restore(options):
    """From exec of `lifeboat run` to the first instruction of the restored task, beside fetching CRIU's files and criu restore."""
    runs = []
    images = {"mixed": IMAGES["mixed"]} if options.quick else IMAGES
    for number in range(options.runs):
        for image, times in images.items():
            with folder(options, "restore-file") as here:
                runs.append(_measured(options, here, "file", image, times))
            with folder(options, "restore-minio") as here, Minio(here) as minio:
                runs.append(_measured(options, here, "MinIO", image, times, minio))
    summary = {}
    for store in ("file", "MinIO"):
        for image in images:
            of = [run for run in runs if (run["store"], run["image"]) == (store, image)]
            names = ("lifeboat_s", "fetched_s", "resumed_s", "other_s", "other_fetched_s", "ratio", "cpu_s_per_gb")
            for name, value in medians(of, *names).items():
                summary[f"{store}.{image}.{name}"] = value
    return runs, summary


def _size(options):
    return min(options.size, 1024 * MIB)  # CRIU's own files of more take a minute a run to make


def _measured(options, here, store, image, times, minio=None):
    one = {"load": parts.load(), "store": store, "image": image}
    other = here / "other"
    other.mkdir()
    one.update(_other(options, other, times, minio))
    shutil.rmtree(other)
    if minio:
        minio.empty()
    one.update(_ours(options, here, times, minio))
    one["ratio"] = one["other_s"] / one["lifeboat_s"]
    return one


def _times(file):
    """The task's last tick, and when it last resumed."""
    words = file.read_text().split() if file.exists() else []
    return (float(words[0]), float(words[1])) if len(words) == 2 else None


def _resumed(file, begin, process=None):
    def behind():
        times = _times(file)
        return times and times[1] > begin and times[1]

    return wait_for("the restored task", 120, behind, process) - begin


def _ours(options, here, times, minio):
    url = minio.url("run") if minio else f"file://{here}/store"
    settings = {"LIFEBOAT_POOL_SIZE": str(POOL), **(minio.settings() if minio else {})}
    clock = here / "work/clock"
    command = (parts.PYTHON, str(CLOCK), _size(options), clock, times)
    with Run(here, url, command, settings) as run:
        wait_for("the task", 120, lambda: _times(clock), run.process)
        result, _, _ = run.checkpoint()
    check(result["rawBytes"] >= _size(options), f"only {result['rawBytes']} bytes were saved")
    (here / "work").rename(here / "work-before")
    time.sleep(GAP)
    begin = time.time()
    with Run(here, url, command, settings) as again:
        seconds = _resumed(clock, begin, again.process)
        cpu = parts.cpu_seconds(again.engine())
        time.sleep(0.5)
        words = again.log.read_text()
        phases = [line for line in words.splitlines() if "fetched in" in line]
        check(phases, f"the task was not restored: {words[-2000:]}")
        fetched, resumed = (float(part.split(" s")[0]) for part in phases[0].split("; fetched in ")[1].split(", resumed "))
    return {
        "lifeboat_s": seconds,
        "fetched_s": fetched,
        "resumed_s": resumed,
        "cpu_s_per_gb": cpu / (result["rawBytes"] / 1e9),
        "stored_bytes": result["storedBytes"],
    }


def _other(options, here, times, minio):
    """criu dump to files, and these into the store; then back by rclone or cp, and criu restore."""
    clock, images, back = here / "clock", here / "images", here / "back"
    with open(here / "log", "wb") as log:
        task = subprocess.Popen(
            [parts.PYTHON, str(CLOCK), str(_size(options)), str(clock), times],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            cwd=here,
        )
    try:
        wait_for("the task", 120, lambda: _times(clock), task)
        parts.criu_dump(task.pid, images)
    finally:
        parts.end(task, signal.SIGKILL)
    if minio:
        _rclone(minio, str(images), f"store:{minio.BUCKET}/other")
        shutil.rmtree(images)
    time.sleep(GAP)
    begin = time.time()
    if minio:
        _rclone(minio, f"store:{minio.BUCKET}/other", str(back))
    else:
        parts.run(["cp", "-r", images, back])
    fetched = time.time() - begin
    command = [parts.criu(), "restore", "--no-default-config", "-D", str(back), "-o", "restore.log", "-v1", "-d"]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True)
    try:
        log = back / "restore.log"
        check(done.returncode == 0, f"criu restore failed: {log.read_text()[-1500:] if log.exists() else done}")
        seconds = _resumed(clock, begin)
    finally:
        if done.returncode == 0:
            os.kill(task.pid, signal.SIGKILL)
    return {"other_s": seconds, "other_fetched_s": fetched}


def _rclone(minio, source, target):
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
    copy = ["rclone", "copy", source, target, "--multi-thread-streams", "8", "--multi-thread-cutoff", "16M"]
    copy += ["--s3-chunk-size", "8M", "--s3-upload-concurrency", "8", "--transfers", "8", "--s3-no-check-bucket"]
    parts.run(copy, env=settings)
