"""A place in a UDF where a test can stop it; both sides know it by a folder. Also imported by workers."""

from __future__ import annotations

import os
import time
from pathlib import Path

WAIT_SECONDS = 60.0
"""A UDF that nobody lets go on or kills goes on by itself, so that a failed test leaves nothing behind."""
POLL_SECONDS = 0.01


class Checkpoint:
    """Up to `holds` calls of `pass_by` wait, in whichever process, until `open` is called; all others go on."""

    def __init__(self, folder: Path | str, *, holds: int = 1) -> None:
        self.folder = str(folder)
        self.holds = holds
        os.makedirs(self.folder, exist_ok=True)

    def pass_by(self) -> None:
        """Called in the UDF."""
        for place in range(self.holds):
            path = os.path.join(self.folder, f"waiting-{place}")
            try:
                fd = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
            except FileExistsError:
                continue
            os.write(fd, f"{os.getpid()}\n".encode())
            os.close(fd)
            end = time.monotonic() + WAIT_SECONDS
            while not os.path.exists(os.path.join(self.folder, "open")) and time.monotonic() < end:
                time.sleep(POLL_SECONDS)
            return

    def open(self) -> None:
        """Lets everyone go on, now and later."""
        Path(self.folder, "open").touch()

    def wait_for_arrivals(self, seconds: float = 30.0) -> list[int]:
        """The process ids of those that wait, once `holds` do."""
        end = time.monotonic() + seconds
        while True:
            arrived = [path.read_text() for path in Path(self.folder).glob("waiting-*")]
            if len(arrived) >= self.holds and all(text.endswith("\n") for text in arrived):
                return [int(text) for text in arrived]
            assert time.monotonic() < end, f"{len(arrived)} of {self.holds} came within {seconds} s"
            time.sleep(POLL_SECONDS)


class Heartbeat:
    """A file that running UDFs keep touching."""

    def __init__(self, path: Path | str) -> None:
        self.path = str(path)

    def beat_for(self, seconds: float) -> None:
        """Called in the UDF."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            Path(self.path).touch()
            time.sleep(POLL_SECONDS)

    def wait_for_beat(self, seconds: float = 30.0) -> None:
        """Waits until a UDF runs."""
        end = time.monotonic() + seconds
        while not os.path.exists(self.path):
            assert time.monotonic() < end, f"no UDF ran within {seconds} s"
            time.sleep(POLL_SECONDS)

    def wait_for_silence(self, seconds: float, *, quiet_seconds: float = 1.0) -> float:
        """Waits until no UDF has run for a second; returns how long after the call the last one ran."""
        begun = time.time()
        while True:
            last = os.stat(self.path).st_mtime
            if time.time() - last >= quiet_seconds:
                return max(0.0, last - begun)
            assert last - begun < seconds, f"a UDF still ran {last - begun:.1f} s later"
            time.sleep(POLL_SECONDS)
