"""Packages that are installed when a worker starts, into an environment of its own beside the image's."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import site
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence

from daft_k8s.boot import processes
from daft_k8s.errors import WorkerStartError
from daft_k8s.worker.code import make_importable

logger = logging.getLogger(__name__)

_ERROR_LINES = 3


class PipInstall:
    """One run of pip, beside the worker's own start: on a thread, as importing Daft holds up the event loop.

    Packages of the image count as installed, so only missing ones are added. A package in another version goes ahead of
    the image's.

    Args:
        requirements: As pip takes them; none: nothing is done.
        folder: The folder of the environment; the worker removes it at its end.
        where: The process that it is for, as errors name it.
    """

    def __init__(self, requirements: Sequence[str], folder: str, where: str = "the worker") -> None:
        self._where = where
        self._requirements = list(requirements)
        self._folder = folder
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._abandoned = False
        loop = asyncio.get_running_loop()
        self._running = loop.run_in_executor(None, self._install) if self._requirements else None

    async def finish(self) -> None:
        """Waits for pip and makes the packages importable.

        Raises:
            WorkerStartError: pip failed; the message has the lines in which it says why.
        """
        if self._running is not None:
            await asyncio.shield(self._running)
            folder = self.packages
            site.addsitedir(folder)
            make_importable(folder)
            # Unlike the driver's own code, packages are there for programs that UDFs start, too.
            others = [entry for entry in os.environ.get("PYTHONPATH", "").split(os.pathsep) if entry]
            os.environ["PYTHONPATH"] = os.pathsep.join([folder, *others])

    @property
    def packages(self) -> str:
        """The folder with the packages."""
        version = f"python{sys.version_info.major}.{sys.version_info.minor}"
        return os.path.join(self._folder, "lib", version, "site-packages")

    async def abandon(self) -> None:
        """Ends pip if it still runs."""
        with self._lock:
            self._abandoned = True
            if self._process is not None and self._process.poll() is None:
                # pip does its work in a child of its own, which holds the pipe open.
                children = processes.descendants(self._process.pid)
                self._process.kill()
                processes.end(lambda: children & {entry.pid for entry in processes.running()})
        if self._running is not None:
            with contextlib.suppress(WorkerStartError):
                await self._running

    def _install(self) -> None:
        begin = time.monotonic()
        self._run([sys.executable, "-m", "venv", "--without-pip", "--system-site-packages", self._folder], "venv")
        python = os.path.join(self._folder, "bin", "python")
        command = [sys.executable, "-m", "pip", "--python", python, "install"]
        options = ["--no-cache-dir", "--disable-pip-version-check", "--no-input", "--progress-bar", "off", "--"]
        self._run([*command, *options, *self._requirements], f"pip install {' '.join(self._requirements)}")
        logger.info("installed %s with pip (%.1f s)", ", ".join(self._requirements), time.monotonic() - begin)

    def _run(self, command: list[str], name: str) -> None:
        with self._lock:
            if self._abandoned:
                raise WorkerStartError(f"{self._where} ended before {name}")
            try:
                self._process = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    env=pip_environment(os.environ),
                )
            except OSError as error:
                raise WorkerStartError(f"{name} cannot be run on {self._where}: {error}") from error
        output, _ = self._process.communicate()
        text = output.decode(errors="replace")
        logger.debug("%s:\n%s", name, text)
        if self._process.returncode != 0:
            raise WorkerStartError(
                f"{name} failed on {self._where}: {failing_lines(text)}; correct the option pip, or set image to an "
                "image that has the packages (settings such as PIP_INDEX_URL go into env)"
            )


def pip_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment of pip: it sees the modules that the worker can import, and keeps its files to itself."""
    paths = dict.fromkeys(entry for entry in sys.path if entry)
    return {**environment, "PYTHONPATH": os.pathsep.join(paths), "PIP_ROOT_USER_ACTION": "ignore", "PIP_NO_COLOR": "1"}


def failing_lines(output: str) -> str:
    """The lines of pip's output that say why it failed."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line for line in lines if line.upper().startswith("ERROR") or "No module named" in line]
    return " | ".join((errors or lines)[-_ERROR_LINES:]) or "it said nothing"


async def _main(folder: str, *requirements: str) -> int:
    install = PipInstall(requirements, folder, "the driver")
    try:
        await install.finish()
    except WorkerStartError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    os.symlink(install.packages, os.path.join(folder, "site"))  # a place that does not depend on Python's version
    return 0


if __name__ == "__main__":
    sys.exit(asyncio.run(_main(*sys.argv[1:])))
