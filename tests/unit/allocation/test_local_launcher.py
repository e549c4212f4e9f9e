"""Starting, watching and ending worker processes: real processes that run small scripts, and a fake pool.

Not here: the worker itself (tests/unit/worker) and whole sessions (tests/local).
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from daft_k8s.allocation import make_launcher as choose_launcher
from daft_k8s.allocation.local import LocalLauncher
from daft_k8s.config import Configuration
from daft_k8s.errors import ConfigurationError, WorkerStartError
from tests.unit.allocation.fakes import SECONDS, Pool, is_alive, make_launcher, wait_until_gone

pytestmark = pytest.mark.skipif(not Path("/proc/self").exists(), reason="looks at processes in /proc")


@pytest.fixture
def pool() -> Pool:
    return Pool()


Launch = Callable[..., LocalLauncher]


@pytest.fixture
def launch(pool: Pool, tmp_path: Path) -> Iterator[Launch]:
    launchers: list[LocalLauncher] = []

    def launch_script(script: str, **seconds: float) -> LocalLauncher:
        launcher = make_launcher(pool, tmp_path, script, **seconds)
        launchers.append(launcher)
        launcher.launch("worker-1", 3)
        return launcher

    yield launch_script
    for launcher in launchers:
        launcher.shutdown(0)


def test_a_worker_gets_the_token_and_nothing_of_it_stays_to_be_read(
    pool: Pool, launch: Launch, capsys: pytest.CaptureFixture[str]
) -> None:
    launch(
        "ready(); from daft_k8s.wire.worker_settings import WorkerSettings; import subprocess;"
        "print(WorkerSettings.from_environment(os.environ).token == 'secret-' + 'token');"
        "print(open('/proc/self/environ').read().replace(chr(0), ' '), open('/proc/self/cmdline').read());"
        "print(os.listdir('/proc/self/fd'));"
        "sys.stdout.flush(); subprocess.run(['env'])"
    )
    pool.wait_for("exited")
    shown = capsys.readouterr().err
    assert "(worker-1) True\n" in shown
    assert "DAFT_K8S_INTERNAL_TOKEN_FD=" in shown
    assert "secret-token" not in shown.replace("'secret-' + 'token'", "")


def test_a_ready_worker_is_announced_with_its_addresses(pool: Pool, launch: Launch) -> None:
    launch("ready(); wait()")
    assert pool.wait_for("started") == [("started", "worker-1", 3, "127.0.0.1:1", "127.0.0.1:2")]


def test_an_exit_is_explained_with_code_and_last_lines(pool: Pool, launch: Launch) -> None:
    launch("ready(); print('row 17 is odd'); print('giving up', file=sys.stderr); sys.exit(3)")
    ((_, worker_id, launch_id, reason, restartable),) = pool.wait_for("exited")
    assert (worker_id, launch_id, restartable) == ("worker-1", 3, True)
    text = str(reason)
    assert text.startswith("worker-1 (pid ")
    assert "exited with code 3" in text
    assert "last log lines:" in text
    assert "row 17 is odd" in text
    assert "giving up" in text


DAEMON = """
import pathlib
subprocess.Popen(
    [sys.executable, "-c", "import os, time; os.fork() and os._exit(0); os.setsid(); os.fork() and os._exit(0);"
     "open({pid!r} + '.new', 'w').write(str(os.getpid())); os.replace({pid!r} + '.new', {pid!r}); time.sleep(30)"],
    start_new_session=True, env={{}},
).wait()
while not pathlib.Path({pid!r}).exists(): pass
ready(); print("the last word", flush=True); os.kill(os.getpid(), signal.SIGKILL)
"""


def test_an_exit_is_told_at_once_though_a_program_of_a_udf_holds_the_output(
    pool: Pool, launch: Launch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until the driver knows, it connects to the worker's address, which another process may have by then."""
    monkeypatch.setattr("daft_k8s.allocation.local_process._LAST_OUTPUT_SECONDS", 60.0)
    monkeypatch.setattr("daft_k8s.boot.processes.end", lambda *_, **__: None)  # as if the program were not found
    pid = tmp_path / "pid"
    launch(DAEMON.format(pid=str(pid)))
    try:
        reason = str(pool.wait_for("exited")[0][3])
    finally:
        os.kill(int(pid.read_text()), signal.SIGKILL)
    assert "the last word" in reason


@pytest.mark.parametrize("code", [70, 78])
def test_a_worker_that_would_only_fail_again_is_not_restartable(pool: Pool, launch: Launch, code: int) -> None:
    launch(f"sys.exit({code})")
    assert pool.wait_for("exited")[0][4] is False


def test_a_signal_is_named(pool: Pool, launch: Launch) -> None:
    launch("ready(); os.kill(os.getpid(), signal.SIGKILL)")
    reason = str(pool.wait_for("exited")[0][3])
    assert "was killed by signal 9 (SIGKILL" in reason
    assert "it logged nothing" in reason


def test_a_crash_before_ready_is_reported_at_once(pool: Pool, launch: Launch) -> None:
    launch("raise ImportError('no daft here')")
    reason = str(pool.wait_for("exited")[0][3])
    assert "exited with code 1" in reason
    assert "ImportError: no daft here" in reason
    assert [news[0] for news in pool.news] == ["exited"]


def test_a_worker_that_never_gets_ready_is_killed_and_reported(pool: Pool, launch: Launch) -> None:
    launch("print('still loading', flush=True); wait()", start_timeout_seconds=1.0)
    reason = str(pool.wait_for("exited")[0][3])
    assert "was not ready after 1 s and was killed" in reason


def test_a_ready_line_that_is_none_is_an_error(pool: Pool, launch: Launch) -> None:
    launch("os.write(int(os.environ['DAFT_K8S_INTERNAL_READY_FD']), b'hello\\n'); wait()")
    assert "wrote a ready line that is none" in str(pool.wait_for("exited")[0][3])


def test_a_command_that_is_missing_is_reported(pool: Pool, tmp_path: Path) -> None:
    launcher = make_launcher(pool, tmp_path, "")
    launcher._command = [str(tmp_path / "nothing-here")]
    launcher.launch("worker-0", 1)
    assert "worker-0 could not be started" in str(pool.wait_for("exited")[0][3])
    launcher.shutdown(0)


def test_launch_does_not_wait_for_the_process(pool: Pool, tmp_path: Path) -> None:
    launcher = make_launcher(pool, tmp_path, "time.sleep(1); ready(); wait()")
    launcher.launch("worker-0", 1)
    assert pool.news == []
    pool.wait_for("started")
    launcher.shutdown(0)


def test_stop_lets_the_worker_end_by_itself(pool: Pool, launch: Launch) -> None:
    launcher = launch("signal.signal(signal.SIGTERM, lambda *_: sys.exit(0)); ready(); wait()")
    pool.wait_for("started")
    launcher.stop("worker-1", 3, "the pool shrinks")
    reason = str(pool.wait_for("exited")[0][3])
    assert "exited with code 0 (it stopped by request)" in reason
    assert "asked to stop: the pool shrinks" in reason


def test_a_worker_that_ignores_the_request_is_killed_after_the_grace(
    pool: Pool, launch: Launch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("daft_k8s.allocation.local._STOP_MARGIN_SECONDS", 0.2)
    launcher = launch("signal.signal(signal.SIGTERM, signal.SIG_IGN); ready(); wait()", drain_timeout_seconds=0)
    pool.wait_for("started")
    launcher.stop("worker-1", 3, "the pool shrinks")
    assert "was killed by signal 9" in str(pool.wait_for("exited")[0][3])


def test_a_worker_that_is_killed_gets_no_time_to_drain(pool: Pool, launch: Launch) -> None:
    launcher = launch("signal.signal(signal.SIGTERM, signal.SIG_IGN); ready(); wait()", drain_timeout_seconds=60)
    pool.wait_for("started")
    launcher.kill("worker-1", 3, "it does not end")
    assert "was killed by signal 9" in str(pool.wait_for("exited")[0][3])
    assert pool.causes == ["stopped"]


def test_stopping_what_is_not_there_does_nothing(pool: Pool, launch: Launch) -> None:
    launcher = launch("sys.exit(0)")
    pool.wait_for("exited")
    launcher.stop("worker-1", 3, "too late")
    launcher.stop("worker-9", 1, "never was")
    launcher.kill("worker-9", 1, "never was")


def test_shutdown_leaves_no_process_and_no_file(pool: Pool, tmp_path: Path) -> None:
    launcher = make_launcher(
        pool,
        tmp_path,
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        "path = os.path.join(os.environ['DAFT_K8S_INTERNAL_SPILL_DIR'], 'pids')\n"
        "open(path, 'w').write(f'{os.getpid()} {child.pid}')\n"
        "ready(); wait()",
    )
    for number in range(2):
        launcher.launch(f"worker-{number}", 1)
    pool.wait_for("started", 2)
    pids = [int(pid) for path in Path(launcher.directory).glob("*/pids") for pid in path.read_text().split()]
    assert len(pids) == 4
    begin = time.monotonic()
    launcher.shutdown(0.2)
    assert time.monotonic() - begin < SECONDS
    for pid in pids:
        wait_until_gone(pid)
    assert list(tmp_path.iterdir()) == []
    launcher.shutdown(0.2)


def test_shutdown_does_not_wait_long_for_tasks_that_nobody_wants_any_more(pool: Pool, launch: Launch) -> None:
    launcher = launch(
        "asked = []\n"
        "signal.signal(signal.SIGTERM, lambda *_: os._exit(143) if asked else asked.append(1))\n"
        "ready(); wait()"
    )
    pool.wait_for("started")
    begin = time.monotonic()
    launcher.shutdown(SECONDS)
    assert time.monotonic() - begin < SECONDS / 2
    assert not launcher._processes


def test_nothing_is_launched_after_shutdown(pool: Pool, tmp_path: Path) -> None:
    launcher = make_launcher(pool, tmp_path, "ready(); wait()")
    launcher.shutdown(0)
    launcher.launch("worker-0", 1)
    assert launcher._processes == {}


def test_children_and_files_of_a_killed_worker_go_with_it(pool: Pool, launch: Launch, tmp_path: Path) -> None:
    launcher = launch(
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        "print(f'child={child.pid}', flush=True); ready(); os.kill(os.getpid(), signal.SIGKILL)"
    )
    reason = str(pool.wait_for("exited")[0][3])
    wait_until_gone(int(reason.rpartition("child=")[2].split()[0]))
    directory = Path(launcher.directory, "worker-1-3")
    end = time.monotonic() + SECONDS
    while directory.exists():  # it is removed once the pool knows
        assert time.monotonic() < end
        time.sleep(0.01)


def test_the_worker_knows_when_the_driver_is_gone(tmp_path: Path) -> None:
    script = (
        "import os, sys\n"
        f"sys.path.insert(0, {str(Path(__file__).parents[3])!r})\n"
        "from pathlib import Path\n"
        "from tests.unit.allocation.fakes import Pool, make_launcher\n"
        "pool = Pool()\n"
        f"launcher = make_launcher(pool, Path({str(tmp_path)!r}),\n"
        "    'print(os.getpid(), flush=True); ready(); '\n"
        "    'os.read(int(os.environ[\"DAFT_K8S_INTERNAL_LIFELINE_FD\"]), 1)')\n"
        "launcher.launch('worker-0', 1)\n"
        "pool.wait_for('started')\n"
        "print(next(iter(launcher._processes.values())).pid, flush=True)\n"
        "os._exit(0)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=SECONDS, check=True)
    wait_until_gone(int(done.stdout.split()[0]))


def test_lines_are_shown_with_their_workers_name(
    pool: Pool, launch: Launch, capsys: pytest.CaptureFixture[str]
) -> None:
    launch("ready(); print('hello'); os.write(1, b'\\xff\\n'); sys.exit(0)")
    pool.wait_for("exited")
    shown = capsys.readouterr().err
    assert "(worker-1) hello\n" in shown
    assert "(worker-1) \ufffd\n" in shown


def test_a_terminal_obeys_nothing_that_a_udf_prints(
    pool: Pool, launch: Launch, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    launch(r"ready(); print('\x1b]0;title\x07\x1b[2J'); print('x\r(worker-2) forged'); sys.exit(1)")
    [news] = pool.wait_for("exited")
    shown = capsys.readouterr().err
    assert shown.splitlines() == ["(worker-1) \\x1b]0;title\\x07\\x1b[2J", "(worker-1) (worker-2) forged"]
    assert "\x1b" not in str(news[3]), "nor do those that an error quotes"


def test_a_closed_stderr_of_the_driver_does_not_block_the_worker(
    pool: Pool, launch: Launch, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Closed:
        def write(self, text: str) -> None:
            raise ValueError("I/O operation on closed file")

    monkeypatch.setattr(sys, "stderr", Closed())
    launch("print('x' * 300_000); ready(); sys.exit(5)")
    assert "exited with code 5" in str(pool.wait_for("exited")[0][3])


def test_ctrl_c_in_the_terminal_does_not_reach_workers(pool: Pool, launch: Launch) -> None:
    launcher = launch("ready(); wait()")
    pool.wait_for("started")
    (process,) = launcher._processes.values()
    assert process.pid is not None
    assert os.getpgid(process.pid) != os.getpgid(0)
    assert os.getsid(process.pid) == process.pid
    assert is_alive(process.pid)
    os.kill(process.pid, signal.SIGKILL)


def test_a_spill_directory_that_cannot_be_made_is_explained(pool: Pool, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(WorkerStartError, match="set spill_dir to a directory"):
        make_launcher(pool, tmp_path / "file", "")


@pytest.mark.parametrize("allocation", ["pod", "statefulset"])
def test_pods_of_a_driver_outside_need_an_image(allocation: str) -> None:
    configuration = Configuration(allocation=allocation)  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="image is not set"):
        choose_launcher(configuration, session_id="s", token="t", certificates={}, manager_getter=lambda: None)
