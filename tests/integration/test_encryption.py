"""Who gets a connection to a worker's Pod from another Pod. What a connection is good for then: tests/local."""

from __future__ import annotations

import base64

from tests.integration.cluster import Namespace, wait_until

STRANGER = '''
import socket, ssl, tempfile, pathlib
from daft_k8s._native import SessionCertificates

GREETING = b"PRI * HTTP/2.0\\r\\n\\r\\nSM\\r\\n\\r\\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])

def context(files):
    folder = pathlib.Path(tempfile.mkdtemp())
    for name, content in files.items():
        (folder / name).write_bytes(content)
    made = ssl.create_default_context(cafile=folder / "ca.crt")
    made.set_alpn_protocols(["h2"])
    if "tls.crt" in files:
        made.load_cert_chain(folder / "tls.crt", folder / "tls.key")
    return made

def speaks(port, files):
    """Whether an HTTP/2 server answers."""
    try:
        with socket.create_connection((WORKER, port), 10) as stream:
            stream.settimeout(10)
            if files is not None:
                stream = context(files).wrap_socket(stream, server_hostname="worker.daft-k8s.internal")
            stream.sendall(GREETING)
            return stream.recv(9)[3:4] == bytes([4])
    except OSError:
        return False

ca = {"ca.crt": FILES["ca.crt"]}
callers = {"plain": None, "nobody": ca, "other": {**SessionCertificates("x").worker_files, **ca}, "worker": FILES}
for name, files in callers.items():
    say(**{name: [speaks(port, files) for port in (7777, 7778)]})
say(health=speaks(7779, None))
'''


def test_a_pod_without_a_certificate_of_the_session_cannot_talk_to_a_worker(namespace: Namespace) -> None:
    driver = namespace.start(
        """
        session = use()
        say(session=session.session_id, rows=count_rows())
        listening = "0A"  # of a socket's states in /proc/net
        lines = [line.split() for name in ("tcp", "tcp6") for line in open(f"/proc/net/{name}").readlines()[1:]]
        say(listens_on=[words[1] for words in lines if words[3] == listening])
        time.sleep(300)
        """
    )
    assert driver.wait_for_fact("rows") == 500
    assert driver.wait_for_fact("listens_on") == []  # nobody can talk to the driver: it opens every connection
    session = driver.facts()["session"]
    wait_until(lambda: bool(namespace.workers(session)[0]["status"].get("podIP")), 20, "a worker's address")
    [secret] = namespace.secrets(session)
    files = {name: base64.b64decode(text) for name, text in secret["data"].items()}
    assert set(files) == {"token", "ca.crt", "tls.crt", "tls.key"}
    for pod in namespace.workers(session):
        shown = str(pod)
        assert not [name for name, text in secret["data"].items() if text in shown or files[name].decode() in shown]
        logged = namespace.kubectl("logs", pod["metadata"]["name"])
        assert files["token"].decode() not in logged
        assert "PRIVATE KEY" not in logged
    assert not [name for name, content in files.items() if content.decode() in driver.log()]
    del files["token"]
    address = namespace.workers(session)[0]["status"]["podIP"]
    facts = namespace.start(f"FILES, WORKER = {files!r}, {address!r}\n{STRANGER}").finish()
    assert facts == {
        "plain": [False, False],
        "nobody": [False, False],
        "other": [False, False],
        "worker": [True, True],
        "health": True,
    }
    driver.delete("--grace-period=1")
