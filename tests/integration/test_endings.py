"""However a driver Pod ends, what it has made goes with it."""

from __future__ import annotations

import pytest

from tests.integration.cluster import Driver, Namespace, wait_until

WAITING = """
session = use()
say(session=session.session_id, rows=count_rows())
time.sleep(300)
"""


def begin(namespace: Namespace) -> tuple[Driver, str]:
    driver = namespace.start(WAITING)
    driver.wait_for_fact("rows")
    session = driver.facts()["session"]
    assert namespace.workers(session)
    assert namespace.secrets(session)
    return driver, session


@pytest.mark.parametrize("how", [[], ["--grace-period=0", "--force"]], ids=["politely", "at once"])
def test_a_deleted_drivers_workers_are_gone_within_30_seconds(namespace: Namespace, how: list[str]) -> None:
    driver, session = begin(namespace)
    driver.delete(*how)
    seconds = wait_until(
        lambda: not namespace.workers(session) and not namespace.secrets(session), 30, "workers and Secret are gone"
    )
    print(f"gone after {seconds:.1f} s")


def test_shutting_down_while_pods_are_created_leaves_none(namespace: Namespace) -> None:
    driver = namespace.start(
        """
        for pause in (0, 0.3, 1, 2):
            session = use(num_workers=4)
            time.sleep(pause)
            session.shutdown()
        say(done=True)
        """
    )
    driver.finish()
    wait_until(lambda: not namespace.workers(), 30, "no worker is left")


def test_a_driver_whose_container_is_restarted_removes_its_former_workers(namespace: Namespace) -> None:
    driver = namespace.start(
        """
        session = use()
        if not os.path.exists("/tmp/former"):
            assert session.manager.wait_ready(2, 60) == 2
            open("/tmp/former", "w").write(session.session_id)
            os._exit(1)  # no clearing up: as if it had been killed
        say(former=open("/tmp/former").read(), session=session.session_id, rows=count_rows())
        time.sleep(300)
        """,
        restart_policy="OnFailure",
    )
    driver.wait_for_fact("rows", 90)
    facts = driver.facts()
    assert facts["former"] != facts["session"]
    wait_until(lambda: not namespace.workers(facts["former"]), 15, "the former workers are gone")
    assert namespace.secrets(facts["former"]) == []
    assert len(namespace.workers(facts["session"])) == 2
    driver.delete("--grace-period=1")
