"""The settings of a worker process, which travel as environment variables of the runner's own.

Each field of `WorkerSettings` is the variable `DAFT_K8S_INTERNAL_<FIELD>`. Users' options have other names
(`DAFT_K8S_<OPTION>`), and no worker inherits them. The token comes in a file, so that a Secret can be mounted, or
through a pipe. It is no variable: the variables of a process's start stay in `/proc/<pid>/environ`.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from daft_k8s import addresses
from daft_k8s.errors import ConfigurationError

if TYPE_CHECKING:
    from daft_k8s.config import Configuration

PREFIX = "DAFT_K8S_INTERNAL_"
"""Begins the names of variables that are no options of users."""
TOKEN_FILE = f"{PREFIX}TOKEN_FILE"
"""The variable that names the file with the token, instead of the token itself."""
TOKEN_FD = f"{PREFIX}TOKEN_FD"
"""The variable with the number of the pipe that the token is read from, once."""
_CHOICES = {
    "log_format": ("text", "json"),
    "log_level": ("DEBUG", "INFO", "WARNING", "ERROR"),
}
_TEXTS = "tuple[str, ...]"


@dataclass(frozen=True)
class WorkerSettings:
    """The settings of one worker process."""

    session_id: str
    """The driver session that this process serves; it serves no other."""
    worker_id: str
    """The logical worker, e.g. "worker-0"."""
    token: str = field(repr=False)
    """The session's secret; calls without it are refused."""
    host: str
    """The address at which peers reach this worker, and which both servers bind: the Pod's IP."""
    spill_dir: str
    """A directory of this process alone; made with mode 0700 and removed at exit."""
    memory_bytes: int
    """Memory of this worker, shared by Daft and the partition store."""
    session_dir: str = ""
    """The directory around `spill_dir` that the driver made for its session on this machine; "": there is none."""
    tls_dir: str = ""
    """The folder with the session's certificates, `ca.crt`, `tls.crt` and `tls.key`; "": nothing is encrypted."""
    launch_id: int = 0
    """Counts the processes behind one worker id."""
    control_port: int = 7777
    """gRPC control; 0: any free port."""
    data_port: int = 7778
    """Arrow Flight; 0: any free port."""
    health_port: int = -1
    """A port that answers probes and nothing else, to every caller, never encrypted; 0: any free port, -1: none."""
    all_addresses: int = 0
    """1: the servers bind every address of this machine: a port-forward arrives at the loopback address."""
    cpus: float = 1.0
    """CPUs of this worker; Daft gets as many threads, rounded down, and there are as many task slots."""
    gpus: float = 0.0
    """GPUs that this worker sees."""
    store_memory_share: float = 0.5
    """Share of `memory_bytes` that partitions may fill before they spill to disk."""
    orphan_timeout_seconds: float = 120.0
    """The worker stops when no driver has called for this long."""
    drain_timeout_seconds: float = 30.0
    """Seconds for which running tasks may go on after a request to stop."""
    max_message_bytes: int = 64 << 20
    """Largest gRPC message that is accepted."""
    pip: tuple[str, ...] = ()
    """Requirements that pip installs before the worker serves."""
    log_format: str = "text"
    """"text" or "json" (one object a line)."""
    log_level: str = "INFO"
    """DEBUG, INFO, WARNING or ERROR."""
    copy_output: int = 0
    """1: what the worker prints and logs is sent to the driver, too. 0 where the driver reads the worker's output."""
    ready_fd: int = -1
    """The file descriptor to which the ready line is written; -1: none (in a Pod, readiness is a gRPC probe)."""
    lifeline_fd: int = -1
    """A pipe held open by the process that started this one: its end is ours; -1: none."""

    @property
    def bind_host(self) -> str:
        """The address that both servers bind; any of `host`'s family stands for all."""
        if not self.all_addresses:
            return self.host
        return "::" if ":" in self.host else "0.0.0.0"

    def advertised(self, listening: str) -> str:
        """The `host:port` at which other workers reach a server that listens at `listening`, maybe on all addresses."""
        return addresses.join(self.host, listening.rpartition(":")[2])

    @property
    def slots(self) -> int:
        """The number of tasks that run at once."""
        return max(1, int(self.cpus))

    @property
    def store_memory_bytes(self) -> int:
        """Bytes that partitions may fill before they spill."""
        return int(self.memory_bytes * self.store_memory_share)

    @classmethod
    def of(cls, configuration: Configuration, **own: Any) -> WorkerSettings:
        """The settings that follow from the user's configuration, and those of this one worker (`own`)."""
        return cls(
            cpus=configuration.worker_cpu,
            gpus=configuration.worker_gpu,
            store_memory_share=configuration.store_memory_share,
            orphan_timeout_seconds=configuration.orphan_timeout_seconds,
            drain_timeout_seconds=configuration.drain_timeout_seconds,
            max_message_bytes=configuration.max_message_bytes,
            pip=configuration.pip,
            log_format=configuration.log_format,
            log_level=configuration.log_level,
            **own,
        )

    def to_environment(self) -> dict[str, str]:
        """All settings as variables, without those that are empty."""
        values = {item.name: getattr(self, item.name) for item in dataclasses.fields(self)}
        return {variable(name): _format(value) for name, value in values.items() if value not in ("", ())}

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> WorkerSettings:
        """The inverse of `to_environment`; checks all settings. An empty variable counts as not set.

        Raises:
            ConfigurationError: Lists every variable that is missing or wrong.
        """
        problems: list[str] = []
        values: dict[str, str | int | float | tuple[str, ...]] = {}
        for item in dataclasses.fields(cls):
            name = variable(item.name)
            text = environment.get(name, "")
            if item.name == "token" and not text:
                text = _token(environment, problems)
            if text == "":
                if item.default is dataclasses.MISSING:
                    problems.append(f"{name} is not set")
                continue
            try:
                values[item.name] = _parse(item.name, str(item.type), text)
            except ValueError as error:
                shown = "" if item.name == "token" else f"={text!r}"
                problems.append(f"{name}{shown} {error}")
        if problems:
            raise ConfigurationError("the worker's environment is wrong: " + "; ".join(problems))
        return cls(**values)  # type: ignore[arg-type]


def _token(environment: Mapping[str, str], problems: list[str]) -> str:
    for name in (TOKEN_FILE, TOKEN_FD):
        where = environment.get(name)
        if where:
            try:
                # Reading from the pipe closes it: what the worker starts later inherits nothing.
                with open(where if name == TOKEN_FILE else int(where), encoding="utf-8") as source:
                    return source.read().strip()
            except (OSError, ValueError) as error:
                problems.append(f"{name}={where!r} cannot be read ({getattr(error, 'strerror', None) or error})")
    return ""


def forget_settings(environment: MutableMapping[str, str]) -> None:
    """Removes the variables of the settings, once the worker has read them: UDFs and their programs find no token."""
    for name in [name for name in environment if name.startswith(PREFIX)]:
        del environment[name]


def variable(field_name: str) -> str:
    """The environment variable of a field."""
    return PREFIX + field_name.upper()


def _format(value: str | int | float | tuple[str, ...]) -> str:
    return json.dumps(value) if isinstance(value, tuple) else str(value)


def _parse(name: str, kind: str, text: str) -> str | int | float | tuple[str, ...]:
    if name in _CHOICES:
        choice = text.upper() if name == "log_level" else text.lower()
        if choice not in _CHOICES[name]:
            raise ValueError(f"must be one of {', '.join(_CHOICES[name])}")
        return choice
    if kind == "str":
        return text
    if kind == _TEXTS:
        return _parse_texts(text)
    try:
        number = int(text) if kind == "int" else float(text)
    except ValueError:
        raise ValueError("must be a whole number" if kind == "int" else "must be a number") from None
    low, high = _bounds(name)
    if not low <= number <= high:
        raise ValueError(f"must be between {low:g} and {high:g}")
    return number


def _parse_texts(text: str) -> tuple[str, ...]:
    problem = "must be a JSON list of texts"
    try:
        items = json.loads(text)
    except ValueError:
        raise ValueError(problem) from None
    if not isinstance(items, list) or not all(isinstance(item, str) for item in items):
        raise ValueError(problem)
    return tuple(items)


def _bounds(name: str) -> tuple[float, float]:
    if name in ("control_port", "data_port"):
        return 0, 65535
    if name == "health_port":
        return -1, 65535
    if name in ("ready_fd", "lifeline_fd"):
        return -1, 2**31
    if name in ("store_memory_share", "all_addresses", "copy_output"):
        return 0, 1
    if name in ("memory_bytes", "max_message_bytes"):
        return 1, 2**62
    return 0, 2**31
