"""The command `daft-k8s` and code shipping, on a real cluster, as somebody outside it uses them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.integration.cluster import Namespace, wait_until

TIMEOUT_SECONDS = 110
SIZE = ["-w", "2", "--worker-cpu", "0.5", "--worker-memory", "512Mi"]
DRIVER = ["--service-account", "driver", "--driver-cpu", "100m", "--driver-memory", "1Gi"]

SCRIPT = """
import sys
import daft
import helper
from pkg.inner import ADD

@daft.func
def both(x: int) -> int:
    import os
    return helper.twice(x) + ADD

if __name__ == "__main__":
    df = daft.from_pydict({"x": [1, 2, 3]}).into_partitions(3)
    print("RESULT", sorted(df.select(both(df["x"])).to_pydict()["x"]), sys.argv[1:], flush=True)
    if "--hang" in sys.argv:
        import time
        time.sleep(300)
    sys.exit(7)
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "pkg").mkdir()
    (tmp_path / "pkg" / "__init__.py").write_text("")
    (tmp_path / "pkg" / "inner.py").write_text("ADD = 10\n")
    (tmp_path / "helper.py").write_text("def twice(x): return 2 * x\n")
    (tmp_path / "job.py").write_text(SCRIPT)
    return tmp_path


def command(namespace: Namespace, name: str, *arguments: str) -> list[str]:
    where = ["-n", namespace.name]
    if name in ("run", "shell", "sql", "doctor"):
        where += ["--image", namespace.image, *SIZE]
    return [sys.executable, "-m", "daft_k8s.cli", name, *where, *arguments]


def call(
    namespace: Namespace, name: str, *arguments: str, folder: Path, search: str = ""
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(namespace, name, *arguments),
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_SECONDS,
        env={**os.environ, "PYTHONPATH": search or os.getcwd()},
    )


def left_over(namespace: Namespace) -> list[str]:
    kinds = "jobs,pods,configmaps,secrets"
    names = namespace.kubectl("get", kinds, "-l", "app.kubernetes.io/managed-by=daft-k8s", "-o", "name").split()
    return [name for name in names if "/driver-" not in name]


def test_a_script_with_its_modules_runs_as_a_job_and_leaves_nothing(namespace: Namespace, project: Path) -> None:
    begin = time.monotonic()
    ended = call(namespace, "run", *DRIVER, "job.py", "--day", "1", folder=project)
    print(f"{time.monotonic() - begin:.1f} s from the command to its end")
    assert ended.returncode == 7, ended.stdout + ended.stderr
    assert "RESULT [12, 14, 16] ['--day', '1']" in ended.stdout
    assert "ships 4 files" in ended.stderr
    wait_until(lambda: left_over(namespace) == [], 30, "everything of the run is gone")


@pytest.mark.parametrize("options", [[], ["-o", "working_dir=."]], ids=["modules", "working_dir"])
def test_the_example_with_a_module_and_a_package_runs_as_it_stands(namespace: Namespace, options: list[str]) -> None:
    example = Path(__file__).resolve().parents[2] / "examples" / "with_helper"
    begin = time.monotonic()
    ended = call(namespace, "run", *DRIVER, *options, "job.py", folder=example)
    seconds = time.monotonic() - begin
    print(f"{seconds:.1f} s from the command to its end")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "ships 4 files" in ended.stderr
    assert "18400" in ended.stdout and "35100" in ended.stdout
    assert seconds < 120


def test_ctrl_c_cancels_the_run_and_removes_it(namespace: Namespace, project: Path) -> None:
    process = subprocess.Popen(
        command(namespace, "run", *DRIVER, "job.py", "--hang"),
        cwd=project,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.getcwd()},
    )
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("RESULT"):
            break
    run = next(
        pod["metadata"]["labels"]["daft.io/run"]
        for pod in json.loads(namespace.kubectl("get", "pods", "-l", "daft.io/run", "-o", "json"))["items"]
    )
    sessions = json.loads(call(namespace, "status", "--output", "json", folder=project).stdout)
    assert [len(session["workers"]) for session in sessions if session["driver"].startswith(run)] == [2]
    logs = call(namespace, "logs", run, "--worker", "driver", folder=project)
    assert "RESULT [12, 14, 16]" in logs.stdout
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=TIMEOUT_SECONDS)
    assert process.returncode == 130, errors
    wait_until(lambda: left_over(namespace) == [], 30, "everything of the run is gone")


def test_a_driver_pod_ships_its_modules_to_workers_once(namespace: Namespace) -> None:
    driver = namespace.start(
        """
        import logging
        from pathlib import Path
        logging.basicConfig(level=logging.WARNING)
        folder = Path("/tmp/project")
        folder.mkdir()
        (folder / "only_on_the_driver.py").write_text("X = 41")
        (folder / "noise.bin").write_bytes(os.urandom(2_000_000))
        session = use(working_dir=str(folder), log_level="INFO")

        @daft.func
        def answer(x: int) -> int:
            import only_on_the_driver
            return only_on_the_driver.X + (os.path.getsize("noise.bin") == 2_000_000) + x

        df = daft.from_pydict({"x": [0] * 8}).into_partitions(8)
        say(first=df.select(answer(df["x"])).to_pydict()["x"], again=df.select(answer(df["x"])).to_pydict()["x"])
        """
    )
    facts = driver.finish()
    assert facts["first"] == facts["again"] == [42] * 8


def test_doctor_passes_on_a_healthy_namespace_and_finds_planted_faults(
    empty_namespace: Namespace, tmp_path: Path
) -> None:
    account = ["--service-account", "driver"]
    begin = time.monotonic()
    healthy = call(empty_namespace, "doctor", *account, folder=tmp_path)
    print(f"doctor took {time.monotonic() - begin:.1f} s")
    assert healthy.returncode == 0, healthy.stdout + healthy.stderr

    def problems(*arguments: str) -> dict[str, str]:
        told = call(empty_namespace, "doctor", *arguments, "--output", "json", folder=tmp_path)
        assert told.returncode == 1, told.stdout + told.stderr
        found = json.loads(told.stdout)["findings"]
        return {item["check"]: item["text"] + " " + item["fix"] for item in found if item["mark"] == "failed"}

    assert "daft-k8s rbac" in problems("--service-account", "nobody")["service account"]
    assert "cannot be pulled" in problems(*account, "--image", "localhost/daft-k8s:no-such-tag")["test Pod"]
    empty_namespace.set_rules([{"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list", "watch"]}])
    assert "may not create pods" in problems(*account)["rights"]
    quota = {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "none"},
        "spec": {"hard": {"pods": "0"}},
    }
    empty_namespace.kubectl("create", "-f", "-", given=quota)
    wait_until(
        lambda: "hard" in json.loads(empty_namespace.kubectl("get", "quota", "none", "-o", "json")).get("status", {}),
        20,
        "the quota counts",
    )
    found = problems(*account)
    assert "pods: 0 of 0 are used" in found["quota"] and "exceeded quota" in found["test Pod"]


FORBIDDEN_POD = """
[pod_template.spec]
hostPID = true
"""


@pytest.mark.parametrize(
    ("options", "check", "mark", "words"),
    [
        (["-o", "image_pull_secrets=lost"], "worker Pod", "failed", "create secret docker-registry lost"),
        (["-o", "priority_class=lost"], "worker Pod", "failed", "kubectl get priorityclasses"),
        (["-o", "service_account=lost"], "worker Pod", "failed", "kubectl create serviceaccount"),
        (["--config", "forbidden.toml"], "worker Pod", "failed", "Pod Security level"),
        (["-o", "node_selector=disk=none"], "test Pod", "failed", "node_selector"),
        (["--worker-cpu", "1000"], "nodes", "warning", "make workers smaller"),
        (["-n", "daft-no-such-namespace"], "namespace", "failed", "kubectl create namespace daft-no-such-namespace"),
        (["--context", "no-such-context"], "cluster", "failed", "KUBECONFIG"),
    ],
)
def test_doctor_names_a_wrong_option_with_its_fix(
    namespace: Namespace, tmp_path: Path, options: list[str], check: str, mark: str, words: str
) -> None:
    (tmp_path / "forbidden.toml").write_text(FORBIDDEN_POD)
    told = call(namespace, "doctor", "--service-account", "driver", *options, "--output", "json", folder=tmp_path)
    found = {
        item["check"]: item for item in json.loads(told.stdout)["findings"] if item["mark"] not in ("ok", "skipped")
    }
    assert found[check]["mark"] == mark, told.stdout
    assert words in found[check]["fix"], told.stdout
    assert set(found) == {check}, told.stdout  # nothing that is well is blamed


def test_doctor_tells_that_the_image_has_another_daft_than_this_machine(namespace: Namespace, tmp_path: Path) -> None:
    installed = tmp_path / "site" / "daft-0.7.99.dist-info"
    installed.mkdir(parents=True)
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: daft\nVersion: 0.7.99\n")
    search = os.pathsep.join([str(tmp_path / "site"), os.getcwd()])
    told = call(namespace, "doctor", "--service-account", "driver", "--output", "json", folder=tmp_path, search=search)
    (image,) = [item for item in json.loads(told.stdout)["findings"] if item["check"] == "image"]
    assert image["mark"] == "warning" and "here are Python" in image["text"] and "Daft 0.7.99" in image["text"]
    assert "the same Daft" in image["fix"]


def policy(direction: str, **spec: object) -> dict[str, object]:
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": "fault"},
        "spec": {"podSelector": {}, "policyTypes": [direction], **spec},
    }


@pytest.mark.parametrize(
    ("fault", "check", "words"),
    [
        (policy("Ingress", ingress=[]), "network", "port 7777"),
        (policy("Egress", egress=[{"ports": [{"port": port} for port in (443, 6443, 7777, 7778)]}]), "dns", "port 53"),
    ],
)
def test_doctor_finds_what_network_policies_block(
    namespace: Namespace, tmp_path: Path, fault: dict[str, object], check: str, words: str
) -> None:
    failed: dict[str, dict[str, str]] = {}

    def is_found() -> bool:
        told = call(namespace, "doctor", "--service-account", "driver", "--output", "json", folder=tmp_path)
        failed.update({item["check"]: item for item in json.loads(told.stdout)["findings"] if item["mark"] == "failed"})
        return bool(failed)

    namespace.kubectl("apply", "-f", "-", given=fault)
    try:
        # Some clusters enforce a policy on a new Pod only seconds after its start, when doctor has looked.
        wait_until(is_found, 60, f"doctor finds that {check} is blocked")
    finally:
        namespace.kubectl("delete", "networkpolicy", "fault")
    assert list(failed) == [check]
    assert words in failed[check]["text"] + failed[check]["fix"]
