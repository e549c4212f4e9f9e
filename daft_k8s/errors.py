"""Every error that daft_k8s raises on purpose.

The tree is split by what the catcher does: change the configuration, fix the cluster, fix the
query's own code, run the query again. All are picklable; a library's exception never leaves its room.
"""

from __future__ import annotations

import enum


class DaftK8sError(Exception):
    """Base of all errors of daft_k8s."""


class ConfigurationError(DaftK8sError, ValueError):
    """The configuration is wrong; the message lists every mistake with the accepted values."""


class UnsupportedError(DaftK8sError, NotImplementedError):
    """The feature is not supported (yet); the message names it and says what to do instead."""


class VersionMismatchError(DaftK8sError):
    """Daft, Python or protocol versions of driver and worker do not fit; both sides are named."""


class WorkerStartError(DaftK8sError):
    """Workers could not be started; the message carries the reason of each."""


class Loss(enum.Enum):
    """The kind of a loss. Decides if the query as a whole is run again."""

    UNKNOWN = ""
    INPUTS = "inputs"
    """Data that the query has made and still needed."""
    INFRASTRUCTURE = "infrastructure"
    """A task, as often as is allowed, because its workers were taken away."""
    CRASH = "crash"
    """A task, as often as is allowed, because its workers crashed: it may be the reason."""
    MEMORY = "memory"
    """A task, as often as is allowed, because its workers were killed for their memory."""
    REFUSED = "refused"
    """The patience with workers that did not take a task."""
    NO_WORKERS = "no_workers"
    """All workers, for good."""
    SHUTDOWN = "shutdown"
    """The session."""


class WorkerLostError(DaftK8sError):
    """A worker was lost and with it something that could not be run again; run the query again."""

    def __init__(self, message: str = "", *, loss: Loss = Loss.UNKNOWN) -> None:
        super().__init__(message)
        self.loss = loss
        """The kind of the loss."""


class ClusterError(DaftK8sError):
    """The cluster cannot be reached or refuses something; the message has Kubernetes' own words and what to change."""


class CodeError(DaftK8sError):
    """Code that tasks need is not on the workers and cannot be brought there; the message names it and says how."""


class ActorError(DaftK8sError, RuntimeError):
    """Actors of a UDF could not be started, or are gone; the message says which, where and why."""


class TaskError(DaftK8sError, RuntimeError):
    """A task failed on a worker; the message names task and worker and carries the worker's traceback.

    Stands for a task's exception that cannot be raised again: one that cannot be pickled, or one on which Python would
    act, such as StopIteration or SystemExit. PEP 479 does the same; the original is its `__cause__`.
    """


class SessionClosedError(DaftK8sError):
    """The session was shut down, or belongs to the process that this one was forked from."""
