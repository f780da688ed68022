"""Lifeboat's benchmarks, on real processes, CRIU, object stores and links. Started by perf/run."""
