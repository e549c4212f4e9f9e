"""Logging of the worker process: text or JSON lines on stderr, with the ids of session, worker, query and task."""

from __future__ import annotations

import contextvars
import json
import logging
import sys
import time

query_id_var: contextvars.ContextVar[str] = contextvars.ContextVar("query_id", default="")
task_key_var: contextvars.ContextVar[str] = contextvars.ContextVar("task_key", default="")

_OWN = "daft_k8s"
"""The logger above all of the runner's."""


class _Formatter(logging.Formatter):
    """Adds the ids to a line; what runs on Daft's own threads has no task id."""

    def __init__(self, *, session_id: str, worker_id: str, as_json: bool) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")
        self._session_id = session_id
        self._worker_id = worker_id
        self.as_json = as_json

    def format(self, record: logging.LogRecord) -> str:
        if not self.as_json:
            task = task_key_var.get()
            head, newline, traceback = super().format(record).partition("\n")
            return f"{head} [task {task}]{newline}{traceback}" if task else f"{head}{newline}{traceback}"
        entry = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z",
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            "session": self._session_id,
            "worker": self._worker_id,
            "query": query_id_var.get(),
            "task": task_key_var.get(),
        }
        if record.exc_info:
            entry["traceback"] = self.formatException(record.exc_info)
        return json.dumps({key: value for key, value in entry.items() if value}, default=str)


def log_output(source: str, line: str) -> None:
    """Passes on what another process printed: as it is with its source before it, or as a JSON line."""
    for handler in logging.getLogger(_OWN).handlers:
        if isinstance(handler.formatter, _Formatter) and handler.formatter.as_json:
            message = f"[{source}] {line}"
            handler.handle(logging.LogRecord("daft_k8s.output", logging.INFO, "", 0, message, None, None))
            return
    sys.stderr.write(f"[{source}] {line}\n")
    sys.stderr.flush()


def configure_logging(*, session_id: str, worker_id: str, log_format: str, log_level: str) -> None:
    """Sends the runner's own lines to stderr, and other loggers' from WARNING on, until a UDF configures logging.

    The root logger belongs to the user: with a handler of ours, `logging.basicConfig` in a UDF would do nothing. Only
    DEBUG sets its level, as it also shows the log of Daft's engine. That has every step of every operator, each through
    the interpreter, which costs more than a small task.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Formatter(session_id=session_id, worker_id=worker_id, as_json=log_format == "json"))
    own = logging.getLogger(_OWN)
    own.handlers[:] = [handler]
    own.setLevel(log_level)
    own.propagate = False  # else a line comes twice once the root logger has a handler
    others = logging.StreamHandler(sys.stderr)
    others.setFormatter(handler.formatter)
    others.setLevel(log_level if log_level == "DEBUG" else max(logging.WARNING, logging.getLevelName(log_level)))
    # Python's own handler for loggers without a configuration; without the ids, a line would name no task.
    logging.lastResort = others
    if log_level == "DEBUG":
        logging.getLogger().setLevel(logging.DEBUG)
