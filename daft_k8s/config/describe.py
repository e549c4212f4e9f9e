"""A configuration for people: every option, its value, and where the value came from."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from daft_k8s.config import machine
from daft_k8s.config.configuration import Configuration
from daft_k8s.config.fields import FIELDS, Field
from daft_k8s.config.frozen import thaw
from daft_k8s.config.origin import DEFAULT, Origin
from daft_k8s.config.quantities import format_cpu, format_memory
from daft_k8s.config.validation import HIDDEN

MANY_TIMES_THE_CPUS = 2
"""A few more threads than CPUs keep them busy while tasks wait for data; beyond this it is rather a mistake."""


@dataclass(frozen=True)
class Row:
    """One option of a configuration; the value is plain JSON, and hidden where it may hold a secret."""

    name: str
    value: object
    origin: str
    topic: str

    @property
    def text(self) -> str:
        """The value for people."""
        return _text(self.value)


def rows(configuration: Configuration) -> list[Row]:
    """Every option, in the order of the documentation."""
    return [_row(configuration, field) for field in FIELDS.values()]


def as_dict(configuration: Configuration) -> dict[str, object]:
    """The values by option, as JSON can hold them; secrets are hidden."""
    return {row.name: row.value for row in rows(configuration)}


def ignored_message(configuration: Configuration) -> str | None:
    """A warning that names the options without effect, or None."""
    names = configuration.ignored()
    if not names:
        return None
    return (
        f'Ignored, because workers are local processes (allocation="local"): {", ".join(names)}. '
        'Set allocation="pod" to run workers on Kubernetes.'
    )


def oversized_message(configuration: Configuration) -> str | None:
    """A warning that local workers are far wider than the machine, or None."""
    cpus = machine.available_cpus()
    if configuration.allocation != "local" or configuration.worker_cpu <= MANY_TIMES_THE_CPUS * cpus:
        return None
    return (
        f"worker_cpu is {format_cpu(configuration.worker_cpu)}, but this machine has {cpus} CPUs: each worker will run "
        f"{configuration.slots_per_worker} tasks at once, each slowly and with its own memory. "
        "Leave worker_cpu out to have the machine divided between the workers."
    )


def difference(first: Configuration, second: Configuration) -> str:
    """The options in which two configurations differ, with both values as they may be written; secrets by name only."""
    texts = []
    for field in FIELDS.values():
        if getattr(first, field.attribute) == getattr(second, field.attribute):
            continue
        before, now = (_text(_plain(field, getattr(each, field.attribute))) for each in (first, second))
        texts.append(field.name if field.option.secret else f"{field.name} was {before}, now {now}")
    return "; ".join(texts)


def _row(configuration: Configuration, field: Field) -> Row:
    value = getattr(configuration, field.attribute)
    origin = configuration.origins.get(field.name)
    if origin is None:
        origin = DEFAULT if value == field.default else Origin("argument", field.attribute)
    text = str(origin)
    if field.option.chosen and origin == DEFAULT:
        text = "chosen"
    return Row(field.name, _plain(field, value), text, field.topic)


def _plain(field: Field, value: object) -> object:
    if field.option.secret:
        return _redacted(value)
    if isinstance(value, int) and field.attribute.endswith("_bytes"):
        return format_memory(value)
    if isinstance(value, float) and field.name == "worker_cpu":
        return format_cpu(value)
    return thaw(value)


def _redacted(value: object) -> object:
    """Keeps the names of a map of text, so that one sees what is set; hides everything else."""
    if isinstance(value, Mapping) and all(isinstance(item, str) for item in value.values()):
        return dict.fromkeys(value, HIDDEN)
    return None if value is None else HIDDEN


def _text(value: object) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    return value if isinstance(value, str) else json.dumps(value)
