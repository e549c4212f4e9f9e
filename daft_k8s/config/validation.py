"""The problems of a configuration: all at once, each with a value that would be right."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from daft_k8s.config.options import Option
from daft_k8s.config.origin import DEFAULT, Origin
from daft_k8s.config.passwords import without_passwords
from daft_k8s.errors import ConfigurationError

if TYPE_CHECKING:
    from daft_k8s.config.configuration import Configuration

HIDDEN = "(hidden)"
_MAX_SHOWN = 80
_SIZES = ("num_workers", "min_workers", "max_workers", "worker_cpu", "worker_memory_bytes")


@dataclass(frozen=True)
class Mistake:
    """One thing to correct."""

    options: tuple[str, ...]
    """The options it is about; rules between these options are then not checked."""
    text: str


def show(value: object, *, secret: bool) -> str:
    """A value as it may stand in a message."""
    if secret:
        return HIDDEN
    text = without_passwords(repr(value))
    return text if len(text) <= _MAX_SHOWN else f"{text[: _MAX_SHOWN - 3]}..."


def unacceptable(name: str, option: Option, value: object, origin: Origin, reason: str) -> Mistake:
    """The mistake of a value that its option does not accept."""
    # A reason may quote parts of the value, which is fine for all but secrets; those quote names alone.
    shown = show(value, secret=option.secret)
    return Mistake((name,), f"{name}={shown} ({origin}): {reason}. Accepted: {option.kind.accepts}.")


def raise_if_any(mistakes: Iterable[Mistake]) -> None:
    """Raises one ConfigurationError that lists the mistakes, if there are any."""
    texts = list(dict.fromkeys(mistake.text for mistake in mistakes))
    if not texts:
        return
    count = "a mistake" if len(texts) == 1 else f"{len(texts)} mistakes"
    raise ConfigurationError("\n  - ".join([f"The configuration has {count}; nothing was started:", *texts]))


def validate(configuration: Configuration) -> None:
    """Raises ConfigurationError with every mistake of a configuration, if there is one."""
    wrong_fields = list(_wrong_fields(configuration))
    known_wrong = {option for mistake in wrong_fields for option in mistake.options}
    if not sizes_are_sound(configuration):
        known_wrong.update(("num_workers", "worker_memory"))  # Not chosen from what is wrong, so perhaps None.
    raise_if_any([*wrong_fields, *broken_rules(configuration, known_wrong)])


def broken_rules(configuration: Configuration, known_wrong: Iterable[str] = ()) -> Iterator[Mistake]:
    """Rules between options that are broken; those about an option that is wrong in itself are left out."""
    wrong = set(known_wrong)
    for names, rule in _RULES:
        text = rule(configuration) if wrong.isdisjoint(names) else None
        if text is not None:
            yield Mistake(names, text)


def sizes_are_sound(configuration: Configuration) -> bool:
    """True if the numbers from which others are derived are within their bounds."""
    return not any(field.name in _SIZES for field, _ in _unaccepted(configuration))


def ignored_options(configuration: Configuration) -> tuple[str, ...]:
    """Options for Pods that were set although workers are local."""
    if configuration.allocation != "local":
        return ()
    return tuple(
        name
        for field, name, option in _options(configuration)
        if option.pods_only and _was_chosen(configuration, field, name)
    )


def _was_chosen(configuration: Configuration, field: dataclasses.Field[object], name: str) -> bool:
    origin = configuration.origins.get(name)
    if origin is not None:
        return origin.chosen
    return bool(getattr(configuration, field.name) != field.default)


def _options(configuration: Configuration) -> Iterator[tuple[dataclasses.Field[object], str, Option]]:
    for field in dataclasses.fields(configuration):
        option = field.metadata.get("option")
        if isinstance(option, Option):
            yield field, option.name or field.name, option


def _unaccepted(configuration: Configuration) -> Iterator[tuple[dataclasses.Field[object], Mistake]]:
    for field, name, option in _options(configuration):
        value = getattr(configuration, field.name)
        if value is None and (option.chosen or field.default is None):
            continue
        if name == "num_workers" and value == 0 and configuration.elastic and configuration.min_workers == 0:
            continue  # What an elastic pool that may vanish starts with.
        origin = configuration.origins.get(name, DEFAULT if value == field.default else Origin("argument", field.name))
        try:
            read = option.kind.read(value, Path())
        except ValueError as error:
            yield field, unacceptable(name, option, value, origin, str(error))
        else:
            if read != value:
                wanted = show(read, secret=option.secret)
                yield field, unacceptable(name, option, value, origin, f"a Configuration holds it as {wanted}")


def _wrong_fields(configuration: Configuration) -> Iterator[Mistake]:
    for _, mistake in _unaccepted(configuration):
        yield mistake


def _given(configuration: Configuration, name: str) -> str:
    origin = configuration.origins.get(name)
    value = getattr(configuration, name)
    return f"{name}={value!r}" + (f" ({origin})" if origin is not None else "")


def _bounds_come_together(configuration: Configuration) -> str | None:
    if configuration.min_workers is None or configuration.max_workers is not None:
        return None
    return (
        f"{_given(configuration, 'min_workers')} without max_workers. "
        "Accepted: both for an elastic pool, or num_workers alone for a fixed one."
    )


def _bounds_are_in_order(configuration: Configuration) -> str | None:
    low, high = configuration.min_workers, configuration.max_workers
    if low is None or high is None or low <= high:
        return None
    return (
        f"{_given(configuration, 'min_workers')} is more than {_given(configuration, 'max_workers')}. "
        "Accepted: min_workers <= max_workers."
    )


def _start_is_between_bounds(configuration: Configuration) -> str | None:
    low, high = configuration.min_workers or 0, configuration.max_workers
    if not configuration.elastic or high is None or low > high or low <= configuration.num_workers <= high:
        return None
    return (
        f"{_given(configuration, 'num_workers')} is not between min_workers={low} and max_workers={high}. "
        "Accepted: min_workers <= num_workers <= max_workers; num_workers is what an elastic pool starts with."
    )


def _pods_have_whole_gpus(configuration: Configuration) -> str | None:
    if configuration.allocation == "local" or configuration.worker_gpu == int(configuration.worker_gpu):
        return None
    return (
        f"{_given(configuration, 'worker_gpu')} with allocation={configuration.allocation!r}: Kubernetes hands out "
        "whole GPUs. Accepted: 0, 1, 2, ...; a UDF may still ask for a fraction of one."
    )


def _messages_fit_into_memory(configuration: Configuration) -> str | None:
    if configuration.max_message_bytes <= configuration.worker_memory_bytes:
        return None
    return (
        f"{_given(configuration, 'max_message_bytes')} is more than the memory of a worker "
        f"({configuration.worker_memory_bytes} bytes). Accepted: max_message_bytes <= worker_memory."
    )


_RULES: tuple[tuple[tuple[str, ...], Callable[[Configuration], str | None]], ...] = (
    (("min_workers", "max_workers"), _bounds_come_together),
    (("min_workers", "max_workers"), _bounds_are_in_order),
    (("allocation", "num_workers", "min_workers", "max_workers"), _start_is_between_bounds),
    (("allocation", "worker_gpu"), _pods_have_whole_gpus),
    (("max_message_bytes", "worker_memory"), _messages_fit_into_memory),
)
"""Each rule with the options that must be right by themselves before it can be checked."""
