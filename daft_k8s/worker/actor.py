"""The process of one actor: `python -m daft_k8s.worker.actor FD PARENT [FOLDER]`, started by its worker.

Makes one object and calls its methods, one call at a time, until the worker closes the socket. What it prints
goes to the worker's log. It must not outlive its worker, whatever it is doing.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import signal
import socket
import sys
import threading
import time
from typing import Any

from daft_k8s.boot import processes
from daft_k8s.wire.actor_messages import ActorCall, ActorSpec, Answer, decode_message, encode_message
from daft_k8s.wire.raised import traceback_of
from daft_k8s.worker import actor_channel
from daft_k8s.worker.current_folder import enter_folder
from daft_k8s.worker.daft_variables import daft_variables
from daft_k8s.worker.event_loop import start_in_background
from daft_k8s.worker.row_errors import lines_of_rows, remember_row_errors

_PR_SET_PDEATHSIG = 1
_PARENT_INTERVAL_SECONDS = 1.0
_FOLDER_ARGUMENT = 3
_CHILD_SECONDS = 0.5
"""Grace for processes that the UDF started to end by SIGTERM, before they are killed."""


def main() -> int:
    """Runs the actor to its end; returns the exit code."""
    # A group in the worker's session: the actor can be killed with what it starts, and a signal to a worker's session
    # ends that, too.
    os.setpgrp()
    sock = socket.socket(fileno=int(sys.argv[1]))
    # Its end tells the worker that this process has died, so none that the UDF starts may hold it open.
    sock.set_inheritable(False)
    os.register_at_fork(after_in_child=sock.close)
    _die_with_worker(int(sys.argv[2]))
    if len(sys.argv) > _FOLDER_ARGUMENT:
        enter_folder(sys.argv[_FOLDER_ARGUMENT])
    first = actor_channel.receive(sock)
    if first is None:
        return 0
    spec = ActorSpec.decode(first)
    try:
        actor = _make(spec)
    except BaseException as error:  # also sys.exit(): the waiting caller must learn why there is no actor
        _send(sock, _error_answer(error))
        return 1
    _send(sock, Answer("value"))
    while (call := actor_channel.receive(sock)) is not None:
        _send(sock, _answer(actor, call))
        del call
    del actor
    gc.collect()
    processes.end(lambda: processes.descendants(os.getpid()), grace_seconds=_CHILD_SECONDS)
    return 0


def _make(spec: ActorSpec) -> Any:
    with daft_variables(os.environ):
        import daft
        from daft.daft import set_compute_runtime_num_worker_threads
        from daft.event_loop import set_event_loop
        from daft.pickle import loads

        daft.set_runner_native()
    remember_row_errors()
    set_event_loop(start_in_background("async UDFs"))
    set_compute_runtime_num_worker_threads(max(1, int(spec.cpus)))
    module, _, name = spec.factory.partition(":")
    return getattr(importlib.import_module(module), name)(*loads(spec.arguments))


def _answer(actor: Any, call: bytearray) -> Answer:
    try:
        wanted: ActorCall = decode_message(call)
        return Answer("value", getattr(actor, wanted.method)(*wanted.arguments))
    except BaseException as error:  # a panic of Daft's extension is no Exception
        return _error_answer(error)


def _error_answer(error: BaseException) -> Answer:
    from daft_k8s.wire.pickled_errors import encode_error

    message = traceback_of(error)
    return Answer("error", error=encode_error(error), message=message + lines_of_rows(message))


def _send(sock: socket.socket, answer: Answer) -> None:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):  # a UDF may have closed or replaced it
            stream.flush()
    try:
        parts = encode_message(answer)
    except BaseException as error:  # e.g. Python objects that cannot be pickled
        parts = encode_message(_error_answer(error))
    with contextlib.suppress(OSError):  # the worker is gone; the next receive tells
        actor_channel.send(sock, parts)


def _die_with_worker(worker_pid: int) -> None:
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    else:
        threading.Thread(target=_watch_worker, args=(worker_pid,), name="parent", daemon=True).start()
    if os.getppid() != worker_pid:  # it died before the kernel was told
        os._exit(1)


def _watch_worker(worker_pid: int) -> None:
    while os.getppid() == worker_pid:
        time.sleep(_PARENT_INTERVAL_SECONDS)
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main())
