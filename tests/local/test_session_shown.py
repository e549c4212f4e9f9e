"""A session shows its workers and what they have written, while it is open and afterwards."""

from __future__ import annotations

import json
from pathlib import Path

from tests.local import driver_process

SCRIPT = """
import json, sys, time
import daft, daft_k8s

@daft.func
def speak(x: int) -> int:
    print("said", x)
    return x

if __name__ == "__main__":
    session = daft_k8s.set_runner_k8s(num_workers=2, worker_cpu=1, worker_memory="512Mi", spill_dir=sys.argv[1])
    frame = daft.from_pydict({"x": [7, 8]}).into_partitions(2)
    frame.select(speak(frame["x"])).to_pydict()
    end = time.monotonic() + 20
    while time.monotonic() < end and not all(worker.resident_bytes for worker in session.workers):
        time.sleep(0.1)
    facts = {
        "names": [worker.name for worker in session.workers],
        "states": [worker.state for worker in session.workers],
        "memory": [worker.resident_bytes for worker in session.workers],
        "text": repr(session),
        "html": session._repr_html_(),
        "logs": session.logs(),
        "one": session.logs("worker-0", lines=1000),
        "none": session.logs(lines=0),
    }
    session.shutdown()
    later = {"closed": repr(session), "left": len(session.workers), "later": session.logs()}
    print("FACTS", json.dumps({**facts, **later}))
"""


def test_a_session_shows_its_workers_and_their_last_lines(tmp_path: Path) -> None:
    script = tmp_path / "job.py"
    script.write_text(SCRIPT)
    done = driver_process.run_file(script, str(tmp_path / "spill"))
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout.partition("FACTS ")[2])
    assert facts["names"] == ["worker-0", "worker-1"] and facts["states"] == ["ready", "ready"]
    assert min(facts["memory"]) > 1 << 20
    assert facts["text"].splitlines()[0].endswith(", 2 workers, open>")
    assert [line.split()[:2] for line in facts["text"].splitlines()[2:]] == [[name, "ready"] for name in facts["names"]]
    assert facts["html"].count("<tr>") == 3
    assert ") said 7" in facts["logs"] and ") said 8" in facts["logs"] and facts["none"] == ""
    assert "(worker-0)" not in facts["one"]
    assert "\n" not in facts["closed"] and facts["left"] == 0
    assert ") said 7" in facts["later"]
