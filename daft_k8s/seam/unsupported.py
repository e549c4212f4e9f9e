"""Features that Daft offers on Ray and this runner does not: refused by name, never a wrong answer."""

from __future__ import annotations

from typing import Any, NoReturn

from daft_k8s.errors import UnsupportedError


def refuse(feature: str, instead: str) -> NoReturn:
    """Raises the error that names a feature and what to use instead."""
    raise UnsupportedError(f"{feature} is not supported by daft_k8s yet; {instead}")


def create_or_get_sink(*_args: Any, **_kwargs: Any) -> NoReturn:
    """Daft's hook for an event log that collects from all workers."""
    refuse("the event log that collects from workers", "use daft.subscribers.event_log.enable_event_log() instead")


def get_sink(*_args: Any, **_kwargs: Any) -> None:
    """Daft's look-up of that event log: there is none."""


def teardown_sink(*_args: Any, **_kwargs: Any) -> None:
    """Daft's hook for the end of that event log."""


def refuse_ray_bridge(bridge: str) -> NoReturn:
    """Refuses a conversion that needs Ray's object store."""
    refuse(f"{bridge}, which needs Ray's object store,", "go through Arrow, pandas or Parquet instead")
