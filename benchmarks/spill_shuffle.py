"""A shuffle of more data than the workers have memory: it must end right, by spilling.

By default 12 GB through two workers of 2 GiB each. The rows are made on the workers; count and sums are known.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from benchmarks.memory import MemoryWatcher, Peak
from benchmarks.options import add_worker_options, engines_of, memory_limit, positive_float, positive_int
from benchmarks.process import REPOSITORY, EngineError, EngineProcess, is_available

SPILL_LINES_SHOWN = 5


def main(arguments: list[str] | None = None) -> int:
    """Runs the shuffle and prints what it took; 0 if the result is right and no worker was over its memory."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.spill_shuffle", description=__doc__)
    parser.add_argument("--gigabytes", type=positive_float, default=12.0, help="10^9 bytes in memory (default: 12)")
    parser.add_argument("--maps", type=positive_int, default=120, help="partitions before the shuffle")
    parser.add_argument("--reduces", type=positive_int, default=120, help="partitions after the shuffle")
    parser.add_argument("--engine", type=engines_of, default=["daft_k8s"], help="the engine (default: daft_k8s)")
    parser.add_argument("--timeout", type=positive_float, default=1800.0, help="seconds")
    parser.add_argument("--output", type=Path, default=REPOSITORY / ".cache" / "spill_shuffle")
    add_worker_options(parser, memory="2Gi")
    options = parser.parse_args(arguments)
    engine = options.engine[0]
    if not is_available(engine):
        print(f"{engine} is not installed", file=sys.stderr)
        return 2
    process = EngineProcess(
        engine,
        log=options.output / f"{engine}.log",
        workers=options.workers,
        worker_cpu=options.worker_cpu,
        worker_memory=options.worker_memory,
    )
    print(f"{options.gigabytes:g} GB from {options.maps} to {options.reduces} partitions on {engine}", flush=True)
    with process, MemoryWatcher(process.pid) as watcher:
        error: str | None = None
        try:
            process.start()
            answer = process.call(
                options.timeout,
                "big_shuffle",
                gigabytes=options.gigabytes,
                maps=options.maps,
                reduces=options.reduces,
            )
        except EngineError as failure:
            error = str(failure)
        peaks = watcher.peaks()
        spill_lines = process.spill_lines()
    over = _print_peaks(peaks, memory_limit(options.worker_memory))
    unseen = engine == "daft_k8s" and sum(peak.role == "worker" for peak in peaks) < options.workers
    if unseen:
        print(f"memory of fewer than {options.workers} workers was seen")
    print(f"{len(spill_lines)} lines of {process.log} speak of spilling")
    for line in spill_lines[:SPILL_LINES_SHOWN]:
        print(f"  {line}")
    if error is not None:
        print(f"failed: {error}")
        return 1
    for problem in answer["problems"]:
        print(f"wrong: {problem}")
    seconds = answer["seconds"]
    print(f"{answer['rows']:,} rows, {answer['bytes'] / 1e9:.2f} GB in {seconds:.1f} s", end=" ")
    print(f"({answer['bytes'] / 1e6 / seconds:,.0f} MB/s)")
    print("wrong" if answer["problems"] else "right", flush=True)
    return 1 if answer["problems"] or over or unseen else 0


def _print_peaks(peaks: list[Peak], limit: int | None) -> bool:
    over = False
    for peak in peaks:
        exceeded = limit is not None and peak.role == "worker" and peak.anonymous_bytes > limit
        over = over or exceeded
        print(f"{peak.line()}{' OVER ITS LIMIT' if exceeded else ''}")
    return over


if __name__ == "__main__":
    raise SystemExit(main())
