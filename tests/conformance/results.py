"""What became of each test: one line of JSON each, so that a run that was cut short can be gone on with."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

# What a report in JUnit's form cannot hold is written there as #x and its number; baselines come from such reports.
_NOT_IN_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]")


@dataclass(frozen=True)
class Result:
    """One test of pytest, or one module that could not be collected."""

    nodeid: str
    status: str  # passed, skipped, failed, error
    seconds: float
    error: str = ""  # one line
    detail: str = ""  # as pytest prints it

    @property
    def test_id(self) -> str:
        return id_of(self.nodeid)

    @property
    def is_bad(self) -> bool:
        return self.status in ("failed", "error")


def id_of(nodeid: str) -> str:
    """A test as reports in JUnit's form name it: `tests.window.test_rank.TestRank::test_ties[1]`."""
    path, bracket, parameters = nodeid.partition("[")
    names = path.split("::")
    names[0] = names[0].replace("/", ".").removesuffix(".py")
    return canonical_id(f"{'.'.join(names[:-1])}::{names[-1]}{bracket}{parameters}")


def canonical_id(name: str) -> str:
    """The same text for the same test, whatever form it went through."""
    escaped = _NOT_IN_XML.sub(lambda match: f"#x{ord(match[0]):02X}", name)
    return " ".join(escaped.split())


class ResultsFile:
    """Results that outlive the run. The last line of a test counts. Thread-safe."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._results: dict[str, Result] = {}
        if path.exists():
            for line in path.read_text().splitlines():
                try:
                    result = Result(**json.loads(line))
                except (ValueError, TypeError):
                    continue  # the last line of a run that was killed
                self._results[result.nodeid] = result

    def forget(self, nodeids: Iterable[str]) -> None:
        """Drops results, so that these tests run again."""
        for nodeid in nodeids:
            self._results.pop(nodeid, None)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        replacement = self.path.with_suffix(".new")
        replacement.write_text("".join(json.dumps(asdict(result)) + "\n" for result in self._results.values()))
        replacement.replace(self.path)

    def add(self, result: Result) -> None:
        with self._lock:
            self._results[result.nodeid] = result
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a") as file:
                file.write(json.dumps(asdict(result)) + "\n")

    def get(self, nodeid: str) -> Result | None:
        return self._results.get(nodeid)
