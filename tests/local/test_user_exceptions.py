"""Users' exceptions of all kinds, in all places of users' code: the query ends with that error, the session goes on.

`make test` draws a sample, `make test-exceptions` runs every exception in every place. Not covered: exceptions with
which a worker's process ends (test_failures_workers.py).
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.local import driver_process
from tests.local.exception_scenarios import CHEAP, PLACES
from tests.local.hostile_exceptions import EXCEPTIONS, PROTOCOL

Pair = tuple[str, str]

ENDS_SECONDS = 5.0
"""The longest time that a query may take on a machine with nothing else to do."""
HANGS_SECONDS = 45.0
"""A query that takes so long would never end; machines that run tests are busy."""

CHEAP_IN_A_SAMPLE = 60
DEAR_IN_A_SAMPLE = 8

OF_THE_DRIVER = {"source_tasks", "sink_end", "unpickling"}
"""Places in the driver's own thread: what users' code raises there, SystemExit for one, is raised as it is."""

AS_TEXT = {
    "row", "generator", "generators", "source", "source_plain", "sink", "process", "async_process", "argument",
    *OF_THE_DRIVER,
}  # fmt: skip
"""Places of which Daft keeps the text of an exception only, so that there is none if its `__str__` raises."""

GENERATORS = {"generator", "generators", "source", "source_plain"}
"""Places in which Python itself replaces StopIteration and StopAsyncIteration."""

WITHOUT_WORDS = {"exit", "exit code", "no text", "missing module"}
TEXT_RAISES = {"StrRaises", "StrExits", "StrIsNone", "StrIsOdd", "NothingToSee", "Exits"}
REPLACED = {"ClassRaises", "AttributesRaise", "CauseRaises", "MetaRaises", "odd_notes"}
"""Exceptions in whose place Python or Daft raise another one, in some places."""


def can_end(pair: Pair) -> bool:
    """False where asyncio itself hangs, on native Daft as well: it asks an exception of `get_tasks` for its class."""
    return pair[0] != "source_tasks" or pair[1] not in REPLACED


EVERY_PAIR = [pair for pair in ((place, name) for place in PLACES for name in EXCEPTIONS) if can_end(pair)]


def a_sample(seed: str) -> list[Pair]:
    """All exceptions on which Python acts, in all places that cost no process, and some of the other pairs."""
    chance = random.Random(seed)
    always = [pair for pair in EVERY_PAIR if pair[0] in CHEAP and pair[1] in PROTOCOL]
    always += [("process", "SystemExit"), ("async_process", "KeyboardInterrupt"), ("actor", "StopAsyncIteration")]
    cheap = [pair for pair in EVERY_PAIR if pair[0] in CHEAP]
    dear = [pair for pair in EVERY_PAIR if pair[0] not in CHEAP]
    return always + chance.sample(cheap, CHEAP_IN_A_SAMPLE) + chance.sample(dear, DEAR_IN_A_SAMPLE)


def ends_of(pairs: list[Pair], folder: Path) -> list[dict[str, Any]]:
    """The ends of the queries, in order, and last the state of the session."""
    with subprocess.Popen(
        [sys.executable, "-W", "ignore", "-m", "tests.local.exception_scenarios", str(HANGS_SECONDS),
         json.dumps({"spill_dir": str(folder)})],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=driver_process.environment(),
    ) as program:  # fmt: skip
        try:
            output, errors = program.communicate(json.dumps(pairs))
        except BaseException:
            with contextlib.suppress(ProcessLookupError):
                program.kill()
            raise
    assert program.returncode == 0, errors[-3000:]
    return [json.loads(line) for line in output.splitlines()]


def problem(end: dict[str, Any]) -> str:
    """The way in which a query ended wrongly; "": it ended rightly."""
    place, name = end["place"], end["exception"]
    replaced = name in REPLACED or (place in GENERATORS and name in (*PROTOCOL[:2], "StopsAsIteration"))
    has_words = name not in WITHOUT_WORDS and not (place in AS_TEXT and name in TEXT_RAISES)
    if sys.version_info < (3, 11) and name == "CancelledError":
        has_words = False  # asyncio loses the text with the task
    if end["hangs"]:
        return "has not ended"
    if "answer" in end:
        return f"has an answer: {end['answer']}"
    if not end["is_exception"] and place not in OF_THE_DRIVER:
        return f"raises a {end['error']}, on which Python acts"
    if not replaced and not end["names_the_type"]:
        return f"does not tell the type: {end['text']}"
    if not replaced and has_words and not end["has_the_words"]:
        return f"does not tell the text: {end['text']}"
    return ""


def check(pairs: list[Pair], folder: Path) -> list[dict[str, Any]]:
    """Asserts that all queries ended rightly; returns their ends."""
    *ends, after = ends_of(pairs, folder)
    if "place" in after:
        ends.append(after)
    wrong = [f"{end['place']} x {end['exception']} {problem(end)}" for end in ends if problem(end)]
    assert wrong == []
    assert len(ends) == len(pairs)
    assert after == {"answer": list(range(1, 9)), "restarts": 0}
    return ends


def test_what_users_code_raises_is_the_error_of_its_query(tmp_path: Path) -> None:
    seed = os.environ.get("EXCEPTIONS_SEED") or ("ci" if os.environ.get("CI") else str(random.randrange(10**6)))
    print(f"EXCEPTIONS_SEED={seed} draws the same sample again")
    check(a_sample(seed), tmp_path)


@pytest.mark.nightly
@pytest.mark.timeout(3000)
def test_every_exception_in_every_place_is_the_error_of_its_query(tmp_path: Path) -> None:
    ends = check(EVERY_PAIR, tmp_path)
    slowest = max(ends, key=lambda end: float(end["seconds"]))
    print(f"{len(ends)} queries; the slowest, {slowest['place']} x {slowest['exception']}: {slowest['seconds']:.2f} s")
    assert slowest["seconds"] < ENDS_SECONDS
