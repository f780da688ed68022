"""What was measured, in words: a table for the terminal, and those of docs/performance.md."""

import json
import re

from . import parts

PAGE = parts.ROOT / "docs/performance.md"

# (benchmark, figure): the goal, whether more is better, what it is called, its unit
GOALS = {
    ("receive", "ratio_256m"): (2.0, True, "pages received / `criu dump` to tmpfs, a pool of 256 MiB", "x"),
    ("receive", "ratio_all"): (2.0, True, "the same, a pool for all", "x"),
    ("overlap", "MinIO.sent_before_end"): (0.80, True, "stored when CRIU's last page came, MinIO", "%"),
    ("overlap", "file.sent_before_end"): (0.80, True, "the same, file://", "%"),
    ("link", "share"): (0.95, True, "1 Gbit/s, freeze to commit: share of iperf3", "%"),
    **{
        ("images", f"{task}.ratio_{way}"): (goal, True, f"1 Gbit/s, `{task}`: {words} / Lifeboat", "x")
        for way, goal, words in (
            ("upload", 3.0, "dump to disk and upload, same client"),
            ("rclone", 3.0, "dump to disk and rclone"),
            ("zstd", 1.5, "dump through zstd into the same upload"),
        )
        for task in ("jvm", "numpy", "sort", "sqlite")
    },
    ("large", "peak_beside_pool_mib"): (256, False, "8 GiB: the engine's peak memory beside its pool", "MiB"),
    ("large", "cpu_beside_codec_s_per_gb"): (0.3, False, "8 GiB: the engine's CPU beside its compressors'", "s/GB"),
    ("start", "file.added_ms"): (300, False, "`lifeboat run` to the task's first instruction, file://", "ms"),
    ("start", "MinIO.added_ms"): (300, False, "the same, MinIO", "ms"),
    ("start", "idle_rss_mib"): (100, False, "the engine at rest: resident memory", "MiB"),
    ("slowdown", "cpu.ratio"): (1.01, False, "a task that computes: with Lifeboat / without", "x"),
    ("slowdown", "memory.ratio"): (1.01, False, "a task that copies memory: with Lifeboat / without", "x"),
    **{
        ("restore", f"{store}.{image}.ratio"): (1.0, True, f"restore, {words}: fetch and `criu restore` / Lifeboat", "x")
        for store in ("file", "MinIO")
        for image, words in (("noise", f"{store}, incompressible"), ("mixed", f"{store}, compressible"))
    },
}


def read(folder, names):
    """The results of each benchmark that has some, in that order."""
    files = [folder / f"{name}.json" for name in names]
    return [json.loads(file.read_text()) for file in files if file.exists()]


def goal(results, figure):
    """The goal of a figure: number, whether more is better, words, unit; None where it does not count."""
    name = results["benchmark"]
    full = {"large": results.get("large_mib", 0) >= 8192, "images": results.get("image_mib", 0) >= 1024}
    counts = full.get(name, results["size_mib"] >= 2048)  # of less, most fits into the buffers
    return GOALS.get((name, figure)) if counts else None


def met(value, wanted):
    return value["median"] >= wanted[0] if wanted[1] else value["median"] <= wanted[0]


def machine(results):
    facts = results["machine"]
    return (
        f"{facts['cores']} cores of {facts['processor']}, {facts['memory_gib']} GiB, Linux {facts['kernel']},"
        f" {facts['system']}, CRIU {facts['criu']}, Java {facts['java']}"
    )


def table(all_results):
    if all_results:
        yield machine(all_results[-1])
    for results in all_results:
        low, high = results["load"]
        yield ""
        yield f"{results['benchmark']}: {results['what']} (load {low:.1f} to {high:.1f}, {results['seconds']:.0f} s)"
        for figure, value in results["summary"].items():
            wanted = goal(results, figure)
            verdict = "" if wanted is None else f"   goal {wanted[0]}: {'met' if met(value, wanted) else 'MISSED'}"
            yield f"  {figure:32} {value['median']:>10g}   [{value['min']:g} .. {value['max']:g}]  n={value['n']}{verdict}"


# ---- docs/performance.md


def _number(value, unit):
    if unit == "%":
        return f"{value * 100:.1f} %"
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 20 else 3 if unit == "x" and abs(value - 1) < 0.1 else 2
    return f"{value:.{digits}f}{'' if unit == 'x' else ' '}{unit}"


def _measured(value, unit):
    low, high = (_number(value[end], unit).split(" ")[0].rstrip("x") for end in ("min", "max"))
    return f"{_number(value['median'], unit)} [{low} .. {high}]"


def _goals(all_results):
    yield "| figure | goal | measured | |"
    yield "|---|---|---|---|"
    for results in all_results:
        for figure, value in results["summary"].items():
            wanted = goal(results, figure)
            if wanted:
                least = ">=" if wanted[1] else "<="
                verdict = "met" if met(value, wanted) else "**missed**"
                yield f"| {wanted[2]} | {least} {_number(wanted[0], wanted[3])} | {_measured(value, wanted[3])} | {verdict} |"


def _images(all_results):
    results = next((results for results in all_results if results["benchmark"] == "images"), None)
    if results is None:
        return
    summary = results["summary"]
    tasks = list(dict.fromkeys(run["task"] for run in results["runs"]))
    yield "| program | image | smaller by | Lifeboat | dump + upload | dump + rclone | dump, zstd, upload | frozen until received | engine's CPU |"
    yield "|---|---|---|---|---|---|---|---|---|"
    for task in tasks:
        of = {figure.removeprefix(task + "."): value for figure, value in summary.items() if figure.startswith(task + ".")}
        middle = {figure: value["median"] for figure, value in of.items()}
        yield (
            f"| `{task}` | {middle['raw_bytes'] / 1e9:.2f} GB | {middle['compression']:.2f}x"
            f" | {_measured(of['lifeboat_s'], 's')}"
            f" | {middle['dump_s'] + middle['upload_s']:.2f} s | {middle['dump_s'] + middle['rclone_s']:.2f} s"
            f" | {middle['zstd_s']:.2f} s | {middle['frozen_until_received_s']:.2f} s | {middle['cpu_s_per_gb']:.2f} s/GB |"
        )


def _all(all_results):
    for results in all_results:
        low, high = results["load"]
        yield f"**`{results['benchmark']}`** {results['what']} (load {low:.1f} to {high:.1f}, {results['seconds']:.0f} s,"
        yield f"{results['machine']['lifeboat']}, {results['at']})"
        yield ""
        yield "| figure | median | least | greatest | runs |"
        yield "|---|---|---|---|---|"
        for figure, value in results["summary"].items():
            yield f"| {figure} | {value['median']:g} | {value['min']:g} | {value['max']:g} | {value['n']} |"
        yield ""


def _machine(all_results):
    if all_results:
        yield machine(all_results[-1]) + "."


TABLES = {"machine": _machine, "goals": _goals, "images": _images, "all": _all}


def write(folder, names):
    """Puts the tables between their marks: <!-- perf/run: NAME --> and <!-- end -->."""
    all_results = read(folder, names)
    parts.check(all_results, f"{folder} has no results: run perf/run first")
    page = PAGE.read_text()
    for name, lines in TABLES.items():
        begin, end = f"<!-- perf/run: {name} -->\n", "<!-- end -->"
        page, count = re.subn(
            re.escape(begin) + ".*?" + re.escape(end),
            lambda _: begin + "".join(line + "\n" for line in lines(all_results)) + end,
            page,
            flags=re.DOTALL,
        )
        parts.check(count == 1, f"{PAGE} has {count} places for {begin.strip()}")
    PAGE.write_text(page)
    print(f"{PAGE}: {', '.join(results['benchmark'] for results in all_results)}")
