"""What a task pays for being run by Lifeboat while nothing is asked of it."""

import os
import re
import subprocess

from . import parts
from .common import folder, medians
from .parts import check

WORK = parts.ROOT / "perf/bench/programs/work.py"
KINDS = {"cpu": 250, "memory": 120, "print": 1024}  # some seconds each; 1 GiB


def slowdown(options):
    """A task that computes, one that copies memory and one that prints 1 GiB: with Lifeboat / without, in turns."""
    runs = []
    share = 20 if options.quick else 1
    with folder(options, "slowdown") as here:
        for number in range(options.runs):
            one = {"load": parts.load()}
            for kind, amount in KINDS.items():
                command = [parts.PYTHON, str(WORK), kind, str(max(1, amount // share))]
                bare = _seconds(here / f"bare-{kind}-{number}", kind, command)
                ours = here / f"run-{kind}-{number}"
                run = [parts.lifeboat(), "run", "--store", f"file://{ours}/store", "--"]
                with_us = _seconds(ours, kind, [*run, *command])
                one[f"{kind}.bare_s"] = bare
                one[f"{kind}.ratio"] = with_us / bare
            one["print.bare_mb_per_s"] = max(1, KINDS["print"] // share) * 1.048576 / one["print.bare_s"]
            runs.append(one)
    names = [name for name in runs[0] if name != "load"]
    return runs, medians(runs, *names, digits=4)


def _seconds(here, kind, command):
    """The task's own seconds; what it prints is read by cat(1), whoever hands it on."""
    here.mkdir()
    settings = {
        **os.environ,
        "LIFEBOAT_RUN_BASE": str(here / "run"),
        "LIFEBOAT_CACHE_LOCATION": str(here / "cache"),
    }
    with open(here / "words", "wb") as words, open(os.devnull if kind == "print" else here / "words", "ab") as sink:
        cat = subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=sink)
        task = subprocess.Popen(
            command, cwd=here, env=settings, stdin=subprocess.DEVNULL, stdout=cat.stdin, stderr=words
        )
        cat.stdin.close()
        code = task.wait()
        cat.wait()
    text = (here / "words").read_text()
    found = re.search(r"^took ([0-9.]+)$", text, re.MULTILINE)
    check(code == 0 and found, f"{' '.join(command)} ended with {code}: {text[-2000:]}")
    return float(found.group(1))
