"""Both engines, from the outside."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Any

from tests.differential.engine import receive, send
from tests.differential.pipelines import Answer, Pipeline

ROOT = Path(__file__).parents[2]
START_SECONDS = 100.0
ANSWER_SECONDS = 60.0

Outcome = Answer | tuple[str, str]
"""An answer, or the type and the text of what was raised."""


class Engine:
    """A process with one runner; started again after it was killed because it hung or died.

    Args:
        runner: `native`, `k8s` or `ray`.
        python: What runs it.
        options: Of `set_runner_k8s`, beside those of `engine.WORKERS`.
    """

    def __init__(self, runner: str, python: str = sys.executable, options: dict[str, Any] | None = None) -> None:
        self.runner = runner
        self._options = options or {}
        self._python = python
        self._process: subprocess.Popen[bytes] | None = None
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - open as long as the engine is there

    def ask(self, pipeline: Pipeline, *, whole: bool = False) -> Outcome:
        self.start()
        process = self._process
        assert process is not None and process.stdin is not None
        try:
            send(process.stdin, (pipeline, whole))
            outcome: Outcome = self._receive(ANSWER_SECONDS)
        except TimeoutError:
            self.stop()
            return ("hangs", f"no answer within {ANSWER_SECONDS:g} s")
        except (EOFError, BrokenPipeError):
            code = process.wait()
            self.stop()
            return ("dies", f"the process ended with {code}: {self.last_words()}")
        return outcome

    @property
    def pid(self) -> int | None:
        """The process, if it runs."""
        return None if self._process is None else self._process.pid

    def leftovers_now(self) -> tuple[int, dict[str, int]]:
        """The unfinished tasks of the session, and for each worker what is held there, if anything is."""
        assert self._process is not None and self._process.stdin is not None
        send(self._process.stdin, (None, False))
        left: tuple[int, dict[str, int]] = self._receive(ANSWER_SECONDS)
        return left

    def finish(self) -> int | None:
        """Lets the process end as a script ends, and returns its exit status; None if it did not run."""
        process, self._process = self._process, None
        if process is None or process.stdin is None:
            return None
        process.stdin.close()
        process.stdin = None
        try:
            process.communicate(timeout=ANSWER_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
        return process.returncode

    def last_words(self) -> str:
        self._log.seek(0)
        return self._log.read()[-3000:].decode(errors="replace")

    def stop(self) -> None:
        """Ends the process at once; its workers follow it."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.communicate()

    def close(self) -> None:
        """Gives its log back; it cannot be asked any more."""
        self._log.close()

    def start(self) -> None:
        """Starts the process, unless it runs."""
        if self._process is not None:
            return
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("DAFT_", "PYTEST_"))}
        self._process = subprocess.Popen(
            [self._python, "-W", "ignore", "-m", "tests.differential.engine", self.runner, json.dumps(self._options)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            cwd=ROOT,
            env={**kept, "DAFT_PROGRESS_BAR": "0", "DAFT_ANALYTICS_ENABLED": "0", "DO_NOT_TRACK": "true"},
        )
        try:
            self._receive(START_SECONDS)
        except (EOFError, TimeoutError) as error:
            self.stop()
            raise RuntimeError(f"the {self.runner} engine did not start: {self.last_words()}") from error

    def _receive(self, limit_seconds: float) -> Any:
        assert self._process is not None and self._process.stdout is not None
        # Buffered reads are whole: each reply is read to its end, so nothing is left over in the buffer.
        if not select.select([self._process.stdout], [], [], limit_seconds)[0]:
            raise TimeoutError
        return receive(self._process.stdout)


class Engines:
    """The native engine and ours. A context manager.

    Args:
        ray_python: A Python with daft[ray], which is asked where the two differ.
    """

    def __init__(self, ray_python: str | None = None) -> None:
        self.native = Engine("native")
        self.ours = Engine("k8s")
        self.ray = Engine("ray", ray_python) if ray_python else None

    def __enter__(self) -> Engines:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for engine in (self.native, self.ours, self.ray):
            if engine is not None:
                engine.stop()
                engine.close()
