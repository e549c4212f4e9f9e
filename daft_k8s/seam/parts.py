"""The seam's parts of a session: made with it, ended with it, and found by it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from daft_k8s.errors import ConfigurationError

if TYPE_CHECKING:
    from daft_k8s.driver.actor_pools import ActorPools
    from daft_k8s.driver.session import Session
    from daft_k8s.seam.code_shipment import CodeShipment
    from daft_k8s.seam.credentials import CredentialAdvice
    from daft_k8s.seam.flight_losses import FlightLosses
    from daft_k8s.seam.flight_shuffle import FlightFolders
    from daft_k8s.seam.limit import LimitCounters
    from daft_k8s.seam.llm import EnginePools
    from daft_k8s.seam.query_folders import QueryFolders
    from daft_k8s.seam.repetition import QueryRuns
    from daft_k8s.seam.search_path_news import SearchPathNews
    from daft_k8s.seam.staged_writes import Stages


@dataclass(frozen=True)
class Parts:
    """The seam's parts of one session."""

    limit_counters: LimitCounters
    query_runs: QueryRuns
    stages: Stages
    """The staged writes of files."""
    code: CodeShipment
    """The code that the session's tasks need."""
    query_folders: QueryFolders
    """The folders in which relative paths of queries start."""
    search_path: SearchPathNews
    """The driver's search path, if it has changed since the session began and means something to its workers."""
    actor_pools: ActorPools
    engine_pools: EnginePools
    credentials: CredentialAdvice
    """Warnings about credentials that workers lack."""
    flight_folders: FlightFolders
    """The folders of Daft's own shuffle."""
    flight_losses: FlightLosses
    """The workers that were lost with files of Daft's own shuffle."""


def parts_of(session: Session) -> Parts:
    """The seam's parts of a session.

    Raises:
        ConfigurationError: The session was started without the seam.
    """
    if not isinstance(session.attachment, Parts):
        raise ConfigurationError("the session was not started through daft_k8s.set_runner_k8s")
    return session.attachment
