"""Fuzzes the Python decoders for a time.

    python -m tests.fuzz.run --seconds 300 --target messages --seed 7

An input that finds a defect is written to tests/fuzz/corpus, where the tests find it from then on.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
import time
import traceback
from random import Random

from tests.fuzz.targets import CORPUS, TARGETS, Target

MOST_SECONDS = 5.0
"""For one input of at most 1 MiB: a decoder that takes longer could be kept busy."""
_MOST_KEPT = 200


class Defect(Exception):
    """An input on which a decoder fails."""

    def __init__(self, target: Target, data: bytes, reason: str) -> None:
        super().__init__(f"{target.name}: {reason}")
        self.data = data


def attempt(target: Target, data: bytes) -> None:
    """Gives one input to a decoder.

    Raises:
        Defect: The decoder failed, or took too long.
    """
    began = time.process_time()
    try:
        target.run(data)
    except Exception:
        raise Defect(target, data, traceback.format_exc()) from None
    seconds = time.process_time() - began
    if seconds > MOST_SECONDS:
        raise Defect(target, data, f"took {seconds:.1f} s for {len(data)} bytes")


def fuzz(target: Target, random: Random, *, seconds: float = float("inf"), inputs: int | None = None) -> int:
    """Gives changed inputs to a decoder, for a time or a count; returns their number.

    Raises:
        Defect: An input was found on which the decoder fails.
    """
    kept = [*target.seeds, *(path.read_bytes() for path in target.corpus)]
    fixed = len(kept)
    for data in kept:
        attempt(target, data)
    end, count = time.monotonic() + seconds, 0
    while time.monotonic() < end and count != inputs:
        data = target.change(random.choice(kept), random)
        attempt(target, data)
        count += 1
        # Changes of changes reach further; a few are kept, in the places of earlier ones.
        if random.random() < 0.05:
            if len(kept) < fixed + _MOST_KEPT:
                kept.append(data)
            else:
                kept[random.randrange(fixed, len(kept))] = data
    return count


def main() -> int:
    """Runs the targets one after another; returns the exit code."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--seconds", type=float, default=60.0, help="for all targets together")
    options.add_argument("--target", choices=[target.name for target in TARGETS])
    options.add_argument("--seed", type=int, default=None)
    arguments = options.parse_args()
    seed = arguments.seed if arguments.seed is not None else time.time_ns() % (1 << 32)
    chosen = [target for target in TARGETS if arguments.target in (None, target.name)]
    defects = 0
    for target in chosen:
        try:
            count = fuzz(target, Random(seed), seconds=arguments.seconds / len(chosen))
            print(f"  ok      {target.name}: {count:,} inputs", flush=True)
        except Defect as defect:
            defects += 1
            path = CORPUS / target.name / hashlib.sha256(defect.data).hexdigest()[:16]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(defect.data)
            print(f"  DEFECT  {defect}\n          {path} (seed {seed})", flush=True)
    return 1 if defects else 0


if __name__ == "__main__":
    sys.exit(main())
