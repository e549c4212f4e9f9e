"""The process of one actor, as the worker sees it: start, call, stop."""

from __future__ import annotations

import collections
import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence

from daft_k8s.boot import processes, start
from daft_k8s.errors import DaftK8sError
from daft_k8s.wire.actor_messages import ActorSpec, Answer, Buffer, decode_message
from daft_k8s.worker import actor_channel
from daft_k8s.worker.logs import log_output

_LINES_KEPT = 20
_LONGEST_LINE_BYTES = 16 << 10
"""A progress bar may never end its line."""
_REAP_SECONDS = 10.0
_SLICE_SECONDS = 0.5


class ActorDiedError(DaftK8sError):
    """An actor's process ended without a request; the message says how, with its last lines."""


class ActorStartError(DaftK8sError):
    """An actor did not come up. `error` is what its constructor raised, pickled; empty if it raised nothing."""

    def __init__(self, message: str, error: bytes = b"") -> None:
        super().__init__(message)
        self.error = error


class ActorLateError(ActorStartError):
    """The constructor was not done in time."""


class ActorProcess:
    """One process. Its methods block; they are called by one thread, `kill` by any.

    The thread that makes it must live as long as the process: Linux kills the child of a thread that ends.

    Args:
        spec: The actor.
        environment: All variables of the process.
        folder: Its current folder; None: the worker's own.
    """

    def __init__(self, spec: ActorSpec, environment: Mapping[str, str], *, folder: str | None = None) -> None:
        self._label = spec.label
        self._sock, theirs = socket.socketpair()
        self._lines: collections.deque[str] = collections.deque(maxlen=_LINES_KEPT)
        with theirs:
            command = start.command("daft_k8s.worker.actor", str(theirs.fileno()), str(os.getpid()))
            if folder is not None:
                command.append(folder)
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env={**environment, **start.variables(sys.path)},
                pass_fds=[theirs.fileno()],
            )
        self._reader = threading.Thread(target=self._pass_on_output, name=f"output of {spec.label}", daemon=True)
        self._reader.start()
        with contextlib.suppress(OSError):
            actor_channel.send(self._sock, [spec.encode()])

    @property
    def pid(self) -> int:
        """The process' id."""
        return self._process.pid

    def wait_until_ready(self, timeout_seconds: float) -> None:
        """Waits for the constructor; the process is gone if it fails.

        Raises:
            ActorDiedError: The actor was killed in its constructor, so that another try may succeed.
            ActorLateError: The constructor took too long.
            ActorStartError: The constructor raised or exited, and would do so again.
        """
        self._sock.settimeout(timeout_seconds)
        try:
            data = actor_channel.receive(self._sock)
        except TimeoutError:
            self.kill()
            self._close()
            raise ActorLateError(
                f"the constructor of {self._label} was not done after {timeout_seconds:g} s{self._last_lines()}"
            ) from None
        self._sock.settimeout(None)
        if data is None:
            how = self._how_it_ended()
            # In a Pod, the host's name is the Pod's.
            message = f"the process of {self._label} on {socket.gethostname()}, which ran its constructor, {how}"
            killed = self._process.returncode is None or self._process.returncode < 0
            raise ActorDiedError(message) if killed else ActorStartError(message)
        answer: Answer = decode_message(data)
        if answer.kind == "error":
            self._close()
            raise ActorStartError(f"the constructor of {self._label} failed:\n{answer.message}", answer.error)

    def call(self, parts: Sequence[Buffer]) -> bytearray:
        """Makes one call; returns the message of its answer.

        Raises:
            ActorDiedError: The process died, before or during the call.
            Exception: The answer could not be taken, e.g. for lack of memory; the process is gone as well.
        """
        try:
            with contextlib.suppress(OSError):  # the answer that does not come tells
                actor_channel.send(self._sock, parts)
            data = actor_channel.receive(self._sock)
        except BaseException:
            # What is left of the message in the socket would be taken for the answer to the next call.
            self.kill()
            self._close()
            raise
        if data is None:
            raise ActorDiedError(f"the process of {self._label} {self._how_it_ended()}")
        return data

    def stop(self, timeout_seconds: float) -> None:
        """Lets the process end by itself, and kills it if it takes too long."""
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout_seconds)
        self.kill()
        self._close()

    def kill(self) -> None:
        """Ends the process, and what it has started, at once."""
        # Those in groups and sessions of their own, too. Once it was waited for, another process may have its id.
        started = processes.descendants(self._process.pid) if self._process.returncode is None else set()
        try:
            os.killpg(self._process.pid, signal.SIGKILL)
        except ProcessLookupError:
            self._process.kill()  # it has not made its group yet, or has ended and was waited for
        except PermissionError:
            pass
        for pid in started:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)

    def _close(self) -> None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_REAP_SECONDS)
        self.kill()
        self._sock.close()
        self._reader.join(_SLICE_SECONDS)

    def _how_it_ended(self) -> str:
        end = time.monotonic() + _REAP_SECONDS
        while self._process.poll() is None and time.monotonic() < end:
            # It has closed its socket, so it is about to be gone.
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(_SLICE_SECONDS)
        self._close()
        code = self._process.returncode
        if code is None:
            how = "closed its connection"
        elif code < 0:
            hint = "; out of memory?" if code == -signal.SIGKILL else ""
            how = f"was killed by {signal.Signals(-code).name}{hint}"
        else:
            how = f"exited with code {code}"
        return how + self._last_lines()

    def _last_lines(self) -> str:
        lines = list(self._lines)
        return "; its last lines:\n  " + "\n  ".join(lines) if lines else ""

    def _pass_on_output(self) -> None:
        output = self._process.stdout
        if output is None:
            return
        with output:
            while raw := output.readline(_LONGEST_LINE_BYTES):
                line = raw.decode(errors="replace").rstrip("\n")
                self._lines.append(line)
                with contextlib.suppress(Exception):  # a closed stderr must not stop the actor by a full pipe
                    log_output(self._label, line)
