"""The program that `daft-k8s doctor` runs in a Pod. Sent as text, so any image with Python will do.

`serve SECONDS PORT...` listens; `check JSON` looks around and prints one JSON object.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import socket
import ssl
import sys
import threading
import time
import urllib.request
from typing import Any

ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"
CALL_SECONDS = 4.0
OTHER_POD_SECONDS = 12.0
SETTLE_SECONDS = 2.0
"""Some networks enforce policies on a new Pod only some moments after its start."""


def serve(seconds: float, ports: list[int]) -> None:
    """Accepts connections and greets them."""

    def accept(listener: socket.socket) -> None:
        while True:
            connection, _ = listener.accept()
            with connection:
                connection.sendall(b"daft")

    for port in ports:
        listener = socket.create_server(("", port), family=socket.AF_INET)
        threading.Thread(target=accept, args=(listener,), daemon=True).start()
    threading.Event().wait(seconds)


def version_of(package: str) -> str | None:
    """The installed version; None: it is not installed."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def resolve(name: str) -> str | None:
    """None, or why the name cannot be resolved."""
    found: list[str | None] = []

    def ask() -> None:
        try:
            socket.getaddrinfo(name, None)
            found.append(None)
        except OSError as error:
            found.append(str(error))

    thread = threading.Thread(target=ask, daemon=True)  # the resolver has no time-out of its own
    thread.start()
    thread.join(CALL_SECONDS)
    return found[0] if found else "no answer"


def connect(host: str, port: int) -> str | None:
    """None, or why there is no connection."""
    try:
        with socket.create_connection((host, port), CALL_SECONDS) as connection:
            connection.settimeout(CALL_SECONDS)
            return None if connection.recv(4) == b"daft" else "something else answers there"
    except OSError as error:
        return str(error)


def ask_api(path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    """A call to the API with this Pod's service account."""
    with open(f"{ACCOUNT}/token") as file:
        token = file.read()
    host, port = os.environ["KUBERNETES_SERVICE_HOST"], os.environ["KUBERNETES_SERVICE_PORT"]
    request = urllib.request.Request(
        f"https://{f'[{host}]' if ':' in host else host}:{port}{path}",
        None if body is None else json.dumps(body).encode(),
        {"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
    )
    context = ssl.create_default_context(cafile=f"{ACCOUNT}/ca.crt")
    with urllib.request.urlopen(request, timeout=CALL_SECONDS, context=context) as answer:
        found: dict[str, Any] = json.load(answer)
        return found


def may(namespace: str, group: str, resource: str, verb: str) -> bool:
    """True if this Pod's service account has a right."""
    kind, _, part = resource.partition("/")
    attributes = {"namespace": namespace, "group": group, "resource": kind, "subresource": part, "verb": verb}
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": attributes},
    }
    return bool(ask_api("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", review)["status"]["allowed"])


def address_of(namespace: str, pod: str) -> str | None:
    """The address of the other test Pod once it runs; None: it does not, for all the time there is."""
    end = time.monotonic() + OTHER_POD_SECONDS
    while time.monotonic() < end:
        status = ask_api(f"/api/v1/namespaces/{namespace}/pods/{pod}").get("status") or {}
        running = any("running" in (item.get("state") or {}) for item in status.get("containerStatuses") or ())
        if running and status.get("podIP"):
            return str(status["podIP"])
        time.sleep(0.2)
    return None


def connect_soon(host: str, port: int) -> str | None:
    """As `connect`; a server that has only just begun gets another moment."""
    problem = connect(host, port)
    for _ in range(5):
        if problem is None or "refused" not in problem:
            break
        time.sleep(0.3)
        problem = connect(host, port)
    return problem


def check(wanted: dict[str, Any]) -> dict[str, Any]:
    """Looks at everything that is wanted."""
    namespace = wanted["namespace"]
    found: dict[str, Any] = {
        "python": f"{sys.version_info[0]}.{sys.version_info[1]}",
        "daft": version_of("daft"),
        "daft_k8s": version_of("daft_k8s"),
    }
    try:
        found["missing"] = [
            right for right in wanted["rights"] if not may(namespace, right["group"], right["resource"], right["verb"])
        ]
        host = address_of(namespace, wanted["server"])
        time.sleep(SETTLE_SECONDS)
        if host is not None:
            found["network"] = {str(port): connect_soon(host, port) for port in wanted["ports"]}
    except Exception as error:  # whatever stands between this Pod and the API
        found["api"] = f"{type(error).__name__}: {error}"
    found["dns"] = resolve("kubernetes.default.svc")
    return found


def main() -> None:
    """Serves or checks."""
    if sys.argv[1] == "serve":
        serve(float(sys.argv[2]), [int(port) for port in sys.argv[3:]])
    else:
        print("PROBE " + json.dumps(check(json.loads(sys.argv[2]))), flush=True)


if __name__ == "__main__":
    main()
