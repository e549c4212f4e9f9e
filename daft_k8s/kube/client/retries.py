"""Policies for calls to the Kubernetes API that are tried again: one for each purpose, with its pauses and its end.

Each function gives a policy for one use; the last error is raised to the caller.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

import tenacity

from daft_k8s.kube.client.errors import ApiError

CREATION_SECONDS = (0.5, 10.0)
"""The first and the longest pause between two requests for one Pod."""
DELETION_SECONDS = (0.5, 2.0, 5.0)
"""The pauses between the tries to delete a Pod; the next list of Pods finds what is left."""
TEAR_DOWN_SECONDS = 0.5
WATCH_SECONDS = (0.8, 30.0)
"""The first and the longest pause before a watch that broke begins again, as in kube-rs."""
DIAL_SECONDS = (0.2, 2.0)
"""The first and the longest pause between two tries to open a port of a Pod."""
NAME_SECONDS = 0.5
"""The cluster's DNS keeps a "no such name" for about five seconds, and some caches before it for longer."""

Sleep = Callable[[float], Awaitable[None]]
Predicate = Callable[[ApiError], bool]
State: TypeAlias = tenacity.RetryCallState


def creation(
    *, goes_on: Callable[[], bool], may_help: Predicate, report: Callable[[ApiError], None], sleep: Sleep
) -> tenacity.AsyncRetrying:
    """Requests for one Pod: without an end of its own, as its launch has one.

    Args:
        goes_on: False: the Pod is no longer needed.
        may_help: True for an error after which the next request may succeed.
        report: Called with each such error.
        sleep: Waits for so long, or until all waiting ends.
    """
    return tenacity.AsyncRetrying(
        sleep=sleep,
        stop=lambda state: not goes_on(),
        wait=_as_asked(_doubling(CREATION_SECONDS)),
        retry=_of_api(may_help),
        before_sleep=_reporting(report),
        reraise=True,
    )


def deletion() -> tenacity.AsyncRetrying:
    """Deleting one Pod: a few tries, and only where the API may have stumbled."""
    pauses = tenacity.wait_chain(*(tenacity.wait_fixed(seconds) for seconds in DELETION_SECONDS))
    return tenacity.AsyncRetrying(
        sleep=asyncio.sleep,
        stop=tenacity.stop_after_attempt(len(DELETION_SECONDS) + 1),
        wait=_as_asked(pauses),
        retry=_of_api(lambda error: error.transient_once_accepted),
        reraise=True,
    )


def tear_down(*, report: Callable[[ApiError], None]) -> tenacity.AsyncRetrying:
    """Deleting all that a session has made: until its caller's time is up.

    Args:
        report: Called with each error that is tried again.
    """
    return tenacity.AsyncRetrying(
        sleep=asyncio.sleep,
        wait=tenacity.wait_fixed(TEAR_DOWN_SECONDS),
        retry=_of_api(lambda error: error.transient_once_accepted),
        before_sleep=_reporting(report),
        reraise=True,
    )


def watch() -> tenacity.AsyncRetrying:
    """Watching Pods from a server that fails, in whatever way and for however long. A watch that lasted ends it."""
    return tenacity.AsyncRetrying(
        sleep=asyncio.sleep,
        wait=_as_asked(_jittered(_doubling(WATCH_SECONDS))),
        retry=tenacity.retry_if_exception_type(Exception),
        reraise=True,
    )


def dial(within_seconds: float) -> tenacity.AsyncRetrying:
    """Opening a port of a Pod, for which a call waits.

    Args:
        within_seconds: The time after which the policy gives up.
    """
    return tenacity.AsyncRetrying(
        sleep=asyncio.sleep,
        stop=_within(within_seconds),
        wait=_doubling(DIAL_SECONDS),
        retry=_of_api(lambda error: error.transient_once_accepted),
        reraise=True,
    )


def name_lookup(within_seconds: float) -> tenacity.AsyncRetrying:
    """Asking the DNS until it gives True; what it gave last, if it never does.

    Args:
        within_seconds: The time after which the policy gives up.
    """
    return tenacity.AsyncRetrying(
        sleep=asyncio.sleep,
        stop=_within(within_seconds),
        wait=tenacity.wait_fixed(NAME_SECONDS),
        retry=tenacity.retry_if_result(lambda known: not known),
        retry_error_callback=lambda state: state.outcome.result() if state.outcome is not None else False,
    )


def quota_pauses(first_seconds: float, longest_seconds: float) -> Callable[[int], float]:
    """The pause after so many refusals in a row by a quota that is used up.

    Args:
        first_seconds: After the first refusal.
        longest_seconds: The longest pause.
    """
    wait = _doubling((first_seconds, longest_seconds))

    def pause(refusals: int) -> float:
        state = State(_NEVER, None, (), {})
        state.attempt_number = max(1, refusals)
        return float(wait(state))

    return pause


_NEVER = tenacity.AsyncRetrying()
"""The policy of a state that only counts."""
Wait = Callable[[State], float]


def _doubling(seconds: tuple[float, float]) -> Wait:
    first, longest = seconds
    wait: Wait = tenacity.wait_exponential(multiplier=first, max=longest)
    return wait


def _jittered(wait: Wait) -> Wait:
    """Half of the pause at least: many drivers that lost one API server come back at different times."""
    return lambda state: wait(state) * random.uniform(0.5, 1.0)


def _as_asked(wait: Wait) -> Wait:
    """As long as the API has asked to be left alone (Retry-After), if that is longer."""

    def longer(state: State) -> float:
        error = _error(state)
        return max(wait(state), 0.0 if error is None else error.wait_seconds)

    return longer


def _within(seconds: float) -> Callable[[State], bool]:
    """Stops before the pause that would lead beyond so many seconds, by the clock of the event loop."""
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    return lambda state: loop.time() + state.upcoming_sleep > end


def _of_api(predicate: Predicate) -> Any:
    return tenacity.retry_if_exception(lambda error: isinstance(error, ApiError) and predicate(error))


def _reporting(report: Callable[[ApiError], None]) -> Callable[[State], None]:
    def before_sleep(state: State) -> None:
        error = _error(state)
        if error is not None:
            report(error)

    return before_sleep


def _error(state: State) -> ApiError | None:
    error = None if state.outcome is None else state.outcome.exception()
    return error if isinstance(error, ApiError) else None
