"""Drivers outside the cluster: processes with a kubeconfig, and with the rights that the documents ask for."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from tests.integration.cluster import PREAMBLE, Namespace, kubectl

ROOT = Path(__file__).resolve().parents[2]


class Relay:
    """Stands between drivers and the API server, and can break what passes: `relay.py`, as a process."""

    def __init__(self) -> None:
        host, port = api_server()
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("relay.py")), host, str(port)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.port = self._read()

    def cut(self) -> int:
        """Cuts every connection; returns how many there were. New ones are let through."""
        return self._break("cut")

    def freeze(self) -> int:
        """Lets nothing more through any connection, and tells neither end; returns how many there were."""
        return self._break("freeze")

    def _break(self, how: str) -> int:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{how}\n")
        self._process.stdin.flush()
        return self._read()

    def close(self) -> None:
        with self._process:
            self._process.kill()

    def _read(self) -> int:
        assert self._process.stdout is not None
        return int(self._process.stdout.readline())


def api_server() -> tuple[str, int]:
    """Host and port of the kubeconfig's cluster."""
    config = json.loads(kubectl("config", "view", "--minify", "-o", "json"))
    address = urlsplit(config["clusters"][0]["cluster"]["server"])
    return str(address.hostname), address.port or 443


def write_kubeconfig(path: Path, namespace: Namespace, relay: Relay | None = None) -> None:
    """A kubeconfig of the namespace's service account for drivers, whose context names the namespace."""
    config = json.loads(kubectl("config", "view", "--minify", "--raw", "--flatten", "-o", "json"))
    token = namespace.kubectl("create", "token", "driver").strip()
    config["users"] = [{"name": "driver", "user": {"token": token}}]
    config["contexts"] = [
        {
            "name": "driver",
            "context": {"cluster": config["clusters"][0]["name"], "user": "driver", "namespace": namespace.name},
        }
    ]
    config["current-context"] = "driver"
    if relay is not None:
        cluster = config["clusters"][0]["cluster"]
        cluster["tls-server-name"] = urlsplit(cluster["server"]).hostname
        cluster["server"] = f"https://127.0.0.1:{relay.port}"
    path.write_text(yaml.safe_dump(config))


class OutsideDriver:
    """A process of this machine that runs a script after PREAMBLE."""

    def __init__(self, script: str, *, image: str, kubeconfig: Path) -> None:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("DAFT_", "KUBERNETES_"))}
        self._lines: list[str] = []
        self._changed = threading.Condition()
        self._process = subprocess.Popen(
            [sys.executable, "-c", PREAMBLE + textwrap.dedent(script)],
            cwd=ROOT,
            env={**inherited, "KUBECONFIG": str(kubeconfig), "DAFT_K8S_IMAGE": image, "DAFT_PROGRESS_BAR": "0"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def facts(self) -> dict[str, Any]:
        """What the script has said."""
        found: dict[str, Any] = {}
        for line in self._lines:
            if line.startswith("FACT "):
                found |= json.loads(line.removeprefix("FACT "))
        return found

    def log(self) -> str:
        return "".join(self._lines)

    def wait_for_fact(self, name: str, within_seconds: float = 60) -> Any:
        with self._changed:
            there = self._changed.wait_for(lambda: name in self.facts() or not self._reader.is_alive(), within_seconds)
        assert there and name in self.facts(), f"no fact {name}:\n{self.log()}"
        return self.facts()[name]

    def finish(self, within_seconds: float = 90) -> dict[str, Any]:
        """Waits for the script's good end; returns what it said."""
        try:
            code = self._process.wait(within_seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"the driver did not end within {within_seconds} s:\n{self.log()}") from None
        self._reader.join(10)
        assert code == 0, self.log()
        return self.facts()

    def sleep_for(self, seconds: float) -> None:
        """As a laptop that is closed: nothing of it runs for so long."""
        self._process.send_signal(signal.SIGSTOP)
        time.sleep(seconds)
        self._process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """As a power cut does."""
        self._process.kill()
        self._process.wait(10)

    def end(self) -> None:
        """Ends it if a test has left it running, so that it clears up."""
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(20)
            except subprocess.TimeoutExpired:
                self.kill()
        self._reader.join(10)

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as lines:
            for line in lines:
                with self._changed:
                    self._lines.append(line)
                    self._changed.notify_all()
        with self._changed:
            self._changed.notify_all()
