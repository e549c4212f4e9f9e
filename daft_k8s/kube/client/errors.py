"""The error of a call to the Kubernetes API."""

from __future__ import annotations

import enum
import json

_RETRIED = frozenset((408, 409, 429, 500, 502, 503, 504))
_LONGEST_OBEDIENCE_SECONDS = 30.0
"""The longest wait that the API may ask for (Retry-After)."""


class Obstacle(enum.Enum):
    """A reason for which an address leads to no API server, and what to change; time alone seldom mends it."""

    REFUSED = ("nothing listens there", "Start the cluster, or the tunnel that leads to it")
    NO_ROUTE = ("no network leads there", "Start the VPN or the tunnel that leads to it")
    NO_NAME = ("its name is not known here", "Start the VPN, or correct the name")
    CERTIFICATE = (
        "its certificate is not accepted",
        "Fetch the kubeconfig anew: its certificate-authority must be this cluster's, and its server a name that the "
        "certificate holds",
    )
    NO_TLS = ("what listens there does not speak TLS", "Correct the port, or write http:// where that is meant")
    NO_URL = ("it is no URL", "Write https://HOST:PORT")

    @property
    def fact(self) -> str:
        """The fact, for people."""
        return self.value[0]

    @property
    def fix(self) -> str:
        """A remedy, for people."""
        return self.value[1]


class ApiError(Exception):
    """A call to the Kubernetes API did not succeed. Never leaves this room.

    Args:
        action: The attempted action, e.g. "create pods".
        status: The HTTP status; 0: there was no answer.
        message: The API's own words, or the network's.
        reason: The API's word for the kind of failure, e.g. "AlreadyExists".
        retry_after_seconds: When the API wants to be asked again; None: it does not say.
        obstacle: Why there was no answer, where that says something of the address; None: it does not.
    """

    def __init__(
        self,
        action: str,
        status: int,
        message: str,
        *,
        reason: str = "",
        retry_after_seconds: float | None = None,
        obstacle: Obstacle | None = None,
    ) -> None:
        super().__init__(f"{action}: {message} (HTTP {status})" if status else f"{action}: {message}")
        self.action = action
        self.status = status
        self.message = message
        self.reason = reason
        self.retry_after_seconds = retry_after_seconds
        self.obstacle = obstacle

    @property
    def over_quota(self) -> bool:
        """True if a ResourceQuota refused the call: another time it may fit."""
        return self.status == 403 and "exceeded quota" in self.message

    @property
    def lacks_right(self) -> bool:
        """True if the driver has no right to the call; a 403 also comes of quotas, webhooks and Pod Security."""
        return self.status == 403 and self.reason in ("Forbidden", "") and " cannot " in f" {self.message} "

    @property
    def transient(self) -> bool:
        """True if the same call may succeed in a moment."""
        return self.status == 0 or self.status in _RETRIED

    @property
    def transient_once_accepted(self) -> bool:
        """The same for a caller whose credentials were good before: what checks them may be away for a moment."""
        return self.transient or self.status == 401

    @property
    def wait_seconds(self) -> float:
        """The wait that the API asks for, as far as it is obeyed; 0: it asks for none."""
        return min(_LONGEST_OBEDIENCE_SECONDS, self.retry_after_seconds or 0.0)


def api_error(action: str, status: int, body: bytes, retry_after: str | None = None, http_reason: str = "") -> ApiError:
    """The error of an answer; its body need not be the JSON that it should be (proxies, throttling)."""
    message, reason = "", ""
    try:
        content = json.loads(body)
    except ValueError:
        message = body[:500].decode(errors="replace").strip()
    else:
        if isinstance(content, dict):
            message, reason = str(content.get("message") or ""), str(content.get("reason") or "")
    seconds = float(retry_after) if retry_after is not None and retry_after.strip().isdigit() else None
    return ApiError(action, status, message or http_reason or "no words", reason=reason, retry_after_seconds=seconds)


def explain_obstacle(obstacle: Obstacle, words: str, *, address: str, origin: str) -> str:
    """The error of a cluster whose address leads to no API server.

    Args:
        obstacle: Why not.
        words: The network's own words.
        address: The API server's URL.
        origin: The origin of the address, for people.
    """
    return (
        f"the cluster cannot be reached at {address} ({origin}): {obstacle.fact}: {words}. {obstacle.fix}, or choose "
        "another cluster (kube_context, KUBECONFIG); `kubectl version` with the same context must work"
    )
