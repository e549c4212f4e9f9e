"""The event log of a session: its facts as lines of JSON, written by a thread of their own."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from daft_k8s.observe import event_schema as schema
from daft_k8s.observe.event_store import EventStore, store_at
from daft_k8s.observe.fact_listener import FactListener

if TYPE_CHECKING:
    from daft_k8s._native import Fact

logger = logging.getLogger("daft_k8s")

MAX_WAITING = 65_536
"""Facts that wait for a store that is slow or refuses: as many as the journal has room for, some 30 MiB."""
BATCH = 4_096
"""Facts that are written at once: about 1 MiB."""
RETRY_SECONDS = 5.0
CLOSE_SECONDS = 10.0
"""Seconds that the end of a session waits for the last lines. A store that hangs holds up no driver for longer."""
CLOCK_STEP_SECONDS = 1.0
"""The two clocks part by more only if the machine slept or its clock was set; less is the jitter of readings."""


@dataclass(frozen=True)
class _Gap:
    """A place where facts are missing."""

    kind: str
    count: int


class EventLog(FactListener):
    """Takes the facts of a session, and writes each once. `take` and its like return at once, whatever the store does.

    Args:
        place: The path of a folder, or a URI.
        session_id: The session.
        configuration: The options, without secrets.
        versions: The versions of the software, by its name.
        store: The place itself, for tests.
    """

    def __init__(
        self,
        place: str,
        *,
        session_id: str,
        configuration: Mapping[str, object],
        versions: Mapping[str, str],
        store: EventStore | None = None,
    ) -> None:
        began = time.time()
        self.name = f"{session_id}-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime(began))}"
        """The beginning of the names of the log's files."""
        self._place = place
        self._session_id = session_id
        self._store = store or store_at(place, self.name)
        self._waiting: deque[Fact | _Gap] = deque()
        self._dropped = 0
        self._ahead_seconds: float | None = None  # of the session's clock, which begins at 0
        self._unwritten = b""
        self._has_warned = False
        self._retry_at = 0.0
        self._closing = False
        self._wake = threading.Event()
        # A thread that is no daemon would be waited for before the session is told of the end of the process.
        self._thread = threading.Thread(target=self._run, name="daft_k8s event log", daemon=True)
        values = [("schema", schema.VERSION), ("versions", dict(versions)), ("configuration", dict(configuration))]
        self._add(schema.of_log(schema.BEGAN, session_id=session_id, seconds=began, values=values))

    def start(self) -> None:
        """Begins to write."""
        self._thread.start()
        self._wake.set()

    def take(self, fact: Fact) -> None:
        if len(self._waiting) >= MAX_WAITING:
            self._dropped += 1
            return
        self._note_dropped()
        self._waiting.append(fact)

    def facts_missed(self, entries: int) -> None:
        self._note_dropped()
        self._waiting.append(_Gap(schema.MISSED, entries))

    def caught_up(self, now_seconds: float) -> None:
        ahead = time.time() - now_seconds
        if self._ahead_seconds is None or abs(ahead - self._ahead_seconds) > CLOCK_STEP_SECONDS:
            self._ahead_seconds = ahead
        self._wake.set()

    def close(self) -> None:
        """Writes what waits, and ends. Returns within `CLOSE_SECONDS`; never raises."""
        self._note_dropped()
        self._closing = True
        self._wake.set()
        if not self._thread.is_alive():
            return
        self._thread.join(CLOSE_SECONDS)
        if self._thread.is_alive():
            self._warn(f"the store has not answered for {CLOSE_SECONDS:g} s")

    def _note_dropped(self) -> None:
        if self._dropped:
            self._waiting.append(_Gap(schema.DROPPED, self._dropped))
            self._dropped = 0

    def _run(self) -> None:
        try:
            self._write_until_closed()
        except Exception:  # a defect; the session goes on, and its user is told
            logger.exception("the event log of session %s ends early; queries are not affected", self._session_id)

    def _write_until_closed(self) -> None:
        while not self._closing:
            self._wake.wait()
            self._wake.clear()
            self._write_all()
        # All facts were handed over before `close`.
        self._retry_at = 0.0
        self._write_all()
        if not self._unwritten and not self._waiting:
            self._add(schema.of_log(schema.ENDED, session_id=self._session_id, seconds=time.time()))
            self._write()
        try:
            self._store.close()
        except Exception as error:
            self._warn(str(error))

    def _write_all(self) -> None:
        while self._retry_at <= time.monotonic():
            # The facts of the first reading wait for its end, which tells how the clocks stand.
            if not self._unwritten and self._ahead_seconds is not None:
                self._add(*self._next_lines(self._ahead_seconds))
            if not self._unwritten:
                return
            self._write()

    def _next_lines(self, ahead_seconds: float) -> Iterator[str]:
        for _ in range(min(BATCH, len(self._waiting))):
            found = self._waiting.popleft()
            if isinstance(found, _Gap):
                values = [("count", found.count)]
                yield schema.of_log(found.kind, session_id=self._session_id, seconds=time.time(), values=values)
            else:
                yield schema.of_fact(found, session_id=self._session_id, seconds=ahead_seconds + found.at_seconds)

    def _add(self, *lines: str) -> None:
        self._unwritten += "".join(f"{line}\n" for line in lines).encode("utf-8", "replace")

    def _write(self) -> None:
        try:
            self._store.append(self._unwritten)
        except Exception as error:  # of a disk, of pyarrow or of a store behind it: none may fail a query
            self._retry_at = time.monotonic() + RETRY_SECONDS
            self._warn(str(error))
        else:
            self._unwritten = b""

    def _warn(self, problem: str) -> None:
        if not self._has_warned:
            self._has_warned = True
            logger.warning(
                "the event log of session %s cannot be written to %s: %s. Queries are not affected; the next %d facts "
                "are kept, and the store is tried again every %g s until the session ends",
                self._session_id,
                self._place,
                problem,
                MAX_WAITING,
                RETRY_SECONDS,
            )
