"""perf/run: chooses, isolates, measures, reports.

The benchmarks run in a mount namespace of their own, with a tmpfs for what they write and empty /tmp, /var/tmp and
/dev/shm: a snapshot carries the files there, and must not pick up what others do meanwhile. All of it is gone when
the last process of this run is.
"""

import argparse
import datetime
import json
import os
import pathlib
import shutil
import subprocess
import sys

from . import benchmarks, parts

TARGET = parts.ROOT / "perf/target"
MARK = "LIFEBOAT_PERF_ISOLATED"


def arguments():
    parser = argparse.ArgumentParser(
        prog="perf/run",
        description="Measures Lifeboat on real processes, CRIU, stores and links; root only. Writes"
        " perf/target/results.json and prints a table. A goal that is missed is reported; what did not really happen"
        " ends the run with an error.",
        epilog="benchmarks: "
        + "; ".join(f"{name}: {function.__doc__.rstrip('.')}" for name, function in benchmarks.ALL.items()),
    )
    parser.add_argument("names", metavar="NAME", nargs="*", help="benchmarks; all without")
    parser.add_argument("--runs", type=int, default=3, help="how often each is measured (3)")
    parser.add_argument("--starts", type=int, default=10, help="how often a start is measured (10)")
    parser.add_argument("--size", type=int, default=2048, help="MiB of memory that the task holds (2048)")
    parser.add_argument("--iperf", type=int, default=5, help="seconds of iperf3 before and after (5)")
    parser.add_argument("--out", type=pathlib.Path, default=TARGET / "results.json", help="where the results go")
    parser.add_argument(
        "--disk", action="store_true", help="write to perf/target instead of a tmpfs, where memory is short"
    )
    options = parser.parse_args()
    unknown = [name for name in options.names if name not in benchmarks.ALL]
    if unknown:
        parser.error(f"no benchmark {' '.join(unknown)}; there are {' '.join(benchmarks.ALL)}")
    options.names = options.names or list(benchmarks.ALL)
    options.size *= benchmarks.MIB
    options.out = options.out.absolute()
    return options


def isolate(options):
    """Becomes a process in a mount namespace of its own, then mounts in there."""
    if MARK not in os.environ:
        os.environ[MARK] = "1"
        own = ["unshare", "--mount", "--propagation", "private", sys.executable, "-B", "-m", "bench", *sys.argv[1:]]
        os.chdir(parts.ROOT / "perf")
        os.execvp(own[0], own)
    options.scratch = TARGET / "scratch"
    shutil.rmtree(options.scratch, ignore_errors=True)
    options.scratch.mkdir(parents=True)
    pathlib.Path("/run/netns").mkdir(exist_ok=True)
    hidden = ["/tmp", "/var/tmp", "/dev/shm", "/run/netns"]
    for path in (parts.ROOT, parts.HOME, pathlib.Path(parts.criu()), options.out):
        for place in hidden:
            parts.check(not str(path).startswith(place + "/"), f"{path} can't be below {place}, which is empty meanwhile")
    for place in hidden:
        parts.run(["mount", "-t", "tmpfs", "-o", "mode=1777", "lifeboat-perf", place])
    if not options.disk:
        available = next(int(line.split()[1]) for line in parts.text("/proc/meminfo").splitlines() if "MemAvailable" in line)
        need = 4 * options.size + (1 << 30)
        parts.check(available * 1024 > need, f"{need >> 20} MiB of free memory are needed; take less --size, or --disk")
        parts.run(["mount", "-t", "tmpfs", "-o", "mode=0700,size=90%", "lifeboat-perf", str(options.scratch)])


GOALS = {
    ("overlap", "MinIO.sent_before_end"): 0.80,
    ("overlap", "file.sent_before_end"): 0.80,
    ("link", "share"): 0.95,
}


def table(results):
    facts = results["machine"]
    yield f"{facts['cores']} x {facts['processor']}, {facts['memory_gib']} GiB, Linux {facts['kernel']}, {facts['system']}"
    yield f"CRIU {facts['criu']}, Java {facts['java']}, Lifeboat {facts['lifeboat']}; {results['at']}"
    yield f"{results['size_mib']} MiB of incompressible memory; written to {results['scratch']}"
    for name, benchmark in results["benchmarks"].items():
        low, high = benchmark["load"]
        yield ""
        yield f"{name}: {benchmark['what']} (load {low:.1f} to {high:.1f})"
        for figure, value in benchmark["summary"].items():
            goal = GOALS.get((name, figure)) if results["size_mib"] >= 2048 else None  # less fits in the buffers
            verdict = "" if goal is None else f"   goal {goal}: {'met' if value['median'] >= goal else 'MISSED'}"
            yield f"  {figure:28} {value['median']:>10g}   [{value['min']:g} .. {value['max']:g}]  n={value['n']}{verdict}"


def main():
    options = arguments()
    try:
        isolate(options)
        results = {
            "at": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
            "machine": parts.machine(),
            "size_mib": options.size >> 20,
            "scratch": "disk" if options.disk else "tmpfs",
            "benchmarks": {},
        }
        for name in options.names:
            print(f"measuring {name}", file=sys.stderr, flush=True)
            function = benchmarks.ALL[name]
            loads = [parts.load()]
            runs, summary = function(options)
            loads += [run["load"] for run in runs] + [parts.load()]
            results["benchmarks"][name] = {
                "what": function.__doc__.rstrip("."),
                "load": [min(loads), max(loads)],
                "summary": summary,
                "runs": runs,
            }
            options.out.parent.mkdir(parents=True, exist_ok=True)
            options.out.write_text(json.dumps(results, indent=1) + "\n")
    except parts.Failed as e:
        sys.exit(f"perf/run: {e}")
    print("\n".join(table(results)))


main()
