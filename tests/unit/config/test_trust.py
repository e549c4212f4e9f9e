"""Files of options that other users may have written: attacks, and what must go on working in Pods."""

from __future__ import annotations

import logging
import os
import stat
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import pytest

from daft_k8s.config import load, trust
from daft_k8s.config.trust import FileFacts, Reader, objection
from daft_k8s.errors import ConfigurationError
from tests.unit.config.conftest import Load

ME, OTHER, GROUP = 1000, 1001, 500
FILE, FOLDER = stat.S_IFREG, stat.S_IFDIR
ME_ALONE = Reader(ME)


def seen(mode: int, uid: int = ME, gid: int = GROUP, *, device: int = 1, read_only: bool = False) -> FileFacts:
    return FileFacts("it", mode, uid, gid, device, read_only)


@pytest.mark.parametrize(
    ("found", "why"),
    [
        pytest.param(seen(FILE | 0o644, OTHER), "another user (uid 1001)", id="another's file"),
        pytest.param(seen(FOLDER | 0o755, OTHER), "another user (uid 1001)", id="another's folder"),
        pytest.param(seen(FOLDER | 0o1777, OTHER), "another user (uid 1001)", id="another's sticky folder"),
        pytest.param(seen(FILE | 0o646), "every user may write", id="a file for all"),
        pytest.param(seen(FOLDER | 0o777), "every user may write", id="a folder for all"),
        pytest.param(seen(FOLDER | 0o777, 0), "every user may write", id="root's folder for all"),
        pytest.param(seen(FILE | 0o1666), "every user may write", id="the sticky bit protects no file"),
        pytest.param(seen(FILE | 0o664), "the users of a group (gid 500)", id="a group's file"),
        pytest.param(seen(FOLDER | 0o775), "the users of a group (gid 500)", id="a group's folder"),
        pytest.param(seen(FILE | 0o644, OTHER, read_only=True), "another user", id="another's file, mounted read-only"),
    ],
)
def test_what_another_user_may_have_written_is_refused(found: FileFacts, why: str) -> None:
    assert why in objection(found, ME_ALONE)


@pytest.mark.parametrize(
    ("found", "reader"),
    [
        pytest.param(seen(FILE | 0o600), ME_ALONE, id="my file"),
        pytest.param(seen(FILE | 0o644, 0), ME_ALONE, id="root's file"),
        pytest.param(seen(FOLDER | 0o1777, 0), ME_ALONE, id="/tmp, for a file that is mine"),
        pytest.param(seen(FILE | 0o664), Reader(ME, {GROUP}), id="umask 002 and a group of my own"),
        pytest.param(seen(FOLDER | 0o777, 0, read_only=True), Reader(12345678), id="a ConfigMap's mount"),
        pytest.param(seen(FOLDER | 0o2775, 0), Reader(12345678, {GROUP}), id="a volume with fsGroup"),
        pytest.param(seen(FOLDER | 0o775, 0, 0), Reader(12345678), id="an image for random uids"),
        pytest.param(seen(FILE | 0o664, 1001, 0), Reader(12345678, image_device=1), id="another user's in the image"),
    ],
)
def test_what_is_the_users_own_or_the_clusters_is_read(found: FileFacts, reader: Reader) -> None:
    assert objection(found, reader) == ""


def test_a_file_in_a_folder_that_all_may_write_is_refused_unless_it_is_named(here: Path, read: Load) -> None:
    (here / "daft-k8s.toml").write_text('env.LD_PRELOAD = "/tmp/mallory.so"')
    here.chmod(0o777)
    with pytest.raises(ConfigurationError, match="is refused: every user may write to the folder"):
        read()
    assert read(config_file="daft-k8s.toml").env == {"LD_PRELOAD": "/tmp/mallory.so"}
    here.chmod(0o1777)
    assert read().env


def test_a_file_that_all_may_write_is_refused_at_home_too(home: Path, read: Load) -> None:
    file = home / ".config/daft-k8s/config.toml"
    file.write_text("num_workers = 3")
    file.chmod(0o666)
    with pytest.raises(ConfigurationError, match="is refused: every user may write to the file"):
        read()


def test_a_link_is_as_bad_as_the_folder_that_it_leads_to(here: Path, tmp_path: Path, read: Load) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "options.toml").write_text("num_workers = 3")
    (here / "daft-k8s.toml").symlink_to(elsewhere / "options.toml")
    assert read().num_workers == 3
    elsewhere.chmod(0o777)
    with pytest.raises(ConfigurationError, match=f"the folder {elsewhere}"):
        read()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_a_file_of_another_user_is_refused(here: Path, read: Load) -> None:
    (here / "daft-k8s.toml").write_text("num_workers = 3")
    os.chown(here / "daft-k8s.toml", OTHER, OTHER)
    with pytest.raises(ConfigurationError, match=r"belongs to another user \(uid 1001\)"):
        read()


def test_a_file_that_was_found_is_told_once(here: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    (here / "daft-k8s.toml").write_text("num_workers = 3")
    for _ in range(2):
        load({}, {}, here)
    assert [record.getMessage() for record in caplog.records] == [
        f"reads the configuration from {here / 'daft-k8s.toml'}"
    ]


class Group(NamedTuple):
    gr_name: str
    gr_mem: list[str]


@pytest.mark.parametrize(
    ("group", "trusted"),
    [
        (Group("ada", []), True),
        (Group("ada", ["ada"]), True),
        (Group("ada", ["ada", "eve"]), False),
        (Group("staff", []), False),
        (None, True),  # a group without a name, as a Pod's fsGroup
    ],
)
def test_a_file_that_a_group_may_write_is_read_only_if_the_group_is_the_users_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, group: Group | None, trusted: bool
) -> None:
    def group_of(gid: int) -> Group:
        if group is None:
            raise KeyError(gid)
        return group

    monkeypatch.setattr(trust.grp, "getgrgid", group_of)
    monkeypatch.setattr(trust.pwd, "getpwuid", lambda uid: SimpleNamespace(pw_name="ada"))
    monkeypatch.setattr(trust.os, "getgroups", lambda: [GROUP])
    written = seen(FILE | 0o664, os.geteuid())
    monkeypatch.setattr(trust.FileFacts, "at", classmethod(lambda cls, what, place: written))
    with open(tmp_path / "options", "wb+") as opened:
        assert (trust.why_untrusted(tmp_path / "options", opened, {}) == "") is trusted


@pytest.mark.parametrize(("in_pod", "trusted"), [(True, True), (False, False)])
def test_what_lies_in_the_image_is_read_in_a_pod_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, in_pod: bool, trusted: bool
) -> None:
    written = seen(FILE | 0o666, OTHER, device=os.stat("/").st_dev)
    monkeypatch.setattr(trust.FileFacts, "at", classmethod(lambda cls, what, place: written))
    environ = {"KUBERNETES_SERVICE_HOST": "10.0.0.1"} if in_pod else {}
    with open(tmp_path / "options", "wb+") as opened:
        assert (trust.why_untrusted(tmp_path / "options", opened, environ) == "") is trusted


@pytest.mark.parametrize("flag", [0, os.ST_RDONLY])
def test_a_file_is_seen_with_its_owner_its_device_and_its_mount(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flag: int
) -> None:
    (tmp_path / "a").touch(mode=0o640)
    monkeypatch.setattr(trust.os, "statvfs", lambda place: SimpleNamespace(f_flag=flag | os.ST_NOSUID))
    found = (tmp_path / "a").stat()
    assert FileFacts.at("it", tmp_path / "a") == FileFacts(
        "it", found.st_mode, found.st_uid, found.st_gid, found.st_dev, flag == os.ST_RDONLY
    )
