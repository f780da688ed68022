"""perf/run: chooses, isolates, measures, reports.

The benchmarks run in a mount namespace of their own, with a tmpfs for what they write and empty /tmp, /var/tmp and
/dev/shm: a snapshot carries the files there, and must not pick up what others do meanwhile. All of it is gone when
the last process of this run is.

Each benchmark leaves a file of its own, and takes away that of its last time before it begins: so any of them can be
repeated alone, and what is reported is the newest of each.
"""

import argparse
import contextlib
import datetime
import json
import os
import pathlib
import shutil
import signal
import sys
import time

from . import benchmarks, parts, report

TARGET = parts.ROOT / "perf/target"
MARK = "LIFEBOAT_PERF_ISOLATED"
QUICK = {"runs": 1, "starts": 1, "size": 64, "large": 64, "image": 32, "iperf": 1, "tasks": ["jvm", "sort"]}


def arguments():
    parser = argparse.ArgumentParser(
        prog="perf/run",
        description="Measures Lifeboat on real processes, CRIU, stores and links; root only. Writes a file of JSON for"
        " each benchmark and prints a table. A goal that is missed is reported; what did not really happen is an error"
        " of that benchmark, and the others go on.",
        epilog="benchmarks: "
        + "; ".join(f"{name}: {function.__doc__.rstrip('.')}" for name, function in benchmarks.ALL.items()),
    )
    parser.add_argument("names", metavar="NAME", nargs="*", help="benchmarks; all without")
    parser.add_argument("--runs", type=int, default=5, help="how often each is measured (5)")
    parser.add_argument("--starts", type=int, default=10, help="how often a start is measured (10)")
    parser.add_argument("--size", type=int, default=2048, help="MiB of memory that the task holds (2048)")
    parser.add_argument("--large", type=int, default=8192, help="MiB that the task of `large` holds (8192)")
    parser.add_argument("--image", type=int, default=1024, help="MiB that each program of `images` holds (1024)")
    parser.add_argument("--iperf", type=int, default=3, help="seconds of iperf3 before and after (3)")
    parser.add_argument("--quick", action="store_true", help="everything once and tiny: whether it runs, not how fast")
    parser.add_argument("--out", type=pathlib.Path, default=TARGET / "results", help="the folder of the results")
    parser.add_argument(
        "--disk", action="store_true", help="write to perf/target instead of a tmpfs, where memory is short"
    )
    parser.add_argument(
        "--report", action="store_true", help="measure nothing: write docs/performance.md's tables from the results"
    )
    options = parser.parse_args()
    unknown = [name for name in options.names if name not in benchmarks.ALL]
    if unknown:
        parser.error(f"no benchmark {' '.join(unknown)}; there are {' '.join(benchmarks.ALL)}")
    options.names = options.names or list(benchmarks.ALL)
    options.tasks = list(benchmarks.images.TASKS)
    if options.quick:
        vars(options).update(QUICK)
        os.environ["LIFEBOAT_WARM_UP"] = "off"
    options.size *= benchmarks.MIB
    options.large *= benchmarks.MIB
    options.out = options.out.absolute()
    return options


def isolate(options):
    """Becomes a process in a mount namespace of its own, then mounts in there."""
    if MARK not in os.environ:
        os.environ[MARK] = "1"
        own = ["unshare", "--mount", "--propagation", "private", sys.executable, "-B", "-m", "bench", *sys.argv[1:]]
        os.chdir(parts.ROOT / "perf")
        os.execvp(own[0], own)
    options.scratch = _empty(TARGET / "scratch")
    disk = _empty(TARGET / "disk")
    options.on_disk = lambda name: _folder(disk / name)
    pathlib.Path("/run/netns").mkdir(exist_ok=True)
    hidden = ["/tmp", "/var/tmp", "/dev/shm", "/run/netns"]
    for path in (parts.ROOT, parts.HOME, pathlib.Path(parts.criu()), options.out):
        for place in hidden:
            parts.check(not str(path).startswith(place + "/"), f"{path} can't be below {place}, which is empty meanwhile")
    for place in hidden:
        parts.run(["mount", "-t", "tmpfs", "-o", "mode=1777", "lifeboat-perf", place])
    if not options.disk:
        parts.run(["mount", "-t", "tmpfs", "-o", "mode=0700,size=90%", "lifeboat-perf", str(options.scratch)])


def _empty(path):
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(parents=True)
    return path


@contextlib.contextmanager
def _folder(path):
    """A folder on a disk, as far as this machine has one, whatever --disk says."""
    path.mkdir()
    try:
        yield path
    finally:
        shutil.rmtree(path)


def measure(name, options):
    """One benchmark; its results are in its file."""
    file = options.out / f"{name}.json"
    file.unlink(missing_ok=True)
    function = benchmarks.ALL[name]
    begun = time.monotonic()
    results = {
        "benchmark": name,
        "what": function.__doc__.rstrip("."),
        "at": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "machine": parts.machine(),
        "size_mib": options.size >> 20,
        "large_mib": options.large >> 20,
        "image_mib": options.image,
        "scratch": "disk" if options.disk else "tmpfs",
    }
    loads = [parts.load()]
    available = parts.available()
    need = {"large": options.large + options.large // 2, "images": options.image * 6 << 20}.get(name, 3 * options.size)
    parts.check(
        options.disk or available > need + (1 << 30),
        f"{(need >> 20) + 1024} MiB of free memory are needed, {available >> 20} are there: take less, or --disk",
    )
    runs, summary = function(options)
    loads += [run["load"] for run in runs] + [parts.load()]
    results["load"] = [min(loads), max(loads)]
    results["seconds"] = round(time.monotonic() - begun, 1)
    results["summary"] = summary
    results["runs"] = runs
    draft = file.with_suffix(".new")
    draft.write_text(json.dumps(results, indent=1) + "\n")
    draft.rename(file)


def main():
    options = arguments()
    if options.report:
        report.write(options.out, list(benchmarks.ALL))
        return
    failed = []
    isolate(options)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("perf/run: terminated"))  # what was started is ended
    options.out.mkdir(parents=True, exist_ok=True)
    for name in options.names:
        begun = time.monotonic()
        print(f"{name:8} begins", file=sys.stderr, flush=True)
        try:
            measure(name, options)
            outcome = "done"
        except Exception as e:  # the others are to be measured all the same
            failed.append(name)
            outcome = f"FAILED: {e if isinstance(e, parts.Failed) else repr(e)}"
        print(f"{name:8} {time.monotonic() - begun:.0f} s, {outcome}", file=sys.stderr, flush=True)
    print("\n".join(report.table(report.read(options.out, options.names))))
    if failed:
        sys.exit(f"perf/run: failed: {' '.join(failed)}")


try:
    main()
except parts.Failed as e:
    sys.exit(f"perf/run: {e}")
