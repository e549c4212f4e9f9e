"""Which files a text names, and which folders lie in which. Not covered: where Daft takes paths (tests/unit/seam)."""

from __future__ import annotations

import posixpath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daft_k8s.path_rules import (
    PodFolder,
    absolute_path,
    database_path,
    disk_path,
    expand_home,
    find_pod_folder,
    is_below,
)

NAMES = st.text(alphabet="abc .é%*?[]{}~-_", min_size=1, max_size=6).filter(lambda name: name.strip() == name)
PATHS = st.lists(NAMES | st.sampled_from([".", "..", ""]), min_size=1, max_size=5).map("/".join)


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("data", "data"),
        ("data/", "data/"),
        ("./data/*.parquet", "./data/*.parquet"),
        ("../data", "../data"),
        (".", "."),
        ("", ""),
        ("/data/a b/ü%20", "/data/a b/ü%20"),
        ("~/data", "~/data"),
        ("~", "~"),
        ("~ann/data", "~ann/data"),
        ("file:///data/a%20b", "/data/a%20b"),
        ("file://data/x", "data/x"),
        ("file:/data", "/data"),
        ("file:data", "data"),
        ("FILE:///data", "/data"),
        (" file:///data\n", "/data"),
        ("fi\tle:///data", "/data"),
        ("fs:///data", "data"),
        ("folder:with-a-colon/x", None),
        ("2024:data", "2024:data"),
        ("/data/2024:01", "/data/2024:01"),
        ("a/b:c", "a/b:c"),
        ("C:/data", None),
        ("C:\\data", None),
        ("s3://bucket/key", None),
        ("S3A://bucket/key", None),
        ("gs://bucket/key", None),
        ("az://container/key", None),
        ("abfss://container@account/key", None),
        ("hf://datasets/a/b", None),
        ("http://localhost/x", None),
        ("https://example.com/file:///x", None),
        ("vol+dbfs:/Volumes/x", None),
    ],
)
def test_a_text_names_a_path_on_a_disk_or_something_else(text: str, path: str | None) -> None:
    assert disk_path(text) == path


def test_an_alias_of_a_scheme_is_what_it_stands_for() -> None:
    assert disk_path("mine:///data", {"mine": "file"}) == "/data"
    assert disk_path("MINE:///data", {"mine": "file"}) == "/data"
    assert disk_path("mine://bucket/x", {"mine": "s3"}) is None
    assert disk_path("file:///data", {"file": "s3"}) is None


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("sqlite:///here.db", "here.db"),
        ("sqlite:////data/x.db?mode=ro", "/data/x.db"),
        ("sqlite+pysqlite:///x.db", "x.db"),
        ("duckdb:///x.duckdb", "x.duckdb"),
        ("sqlite://", None),
        ("sqlite:///:memory:", None),
        ("postgresql://host/db", None),
        ("mysql+pymysql://user:password@host/sqlite", None),
    ],
)
def test_databases_that_are_files_are_known_by_their_url(url: str, path: str | None) -> None:
    assert database_path(url) == path


@given(PATHS)
def test_a_relative_path_is_below_the_folder_unless_it_leads_out(path: str) -> None:
    whole = absolute_path(path, folder="/home/ann/project", home="/home/ann")
    assert whole.startswith("/")
    if path.startswith("~//"):
        assert whole == posixpath.normpath(path[2:])  # as Daft joins them
    elif path.startswith("~/"):
        assert whole == posixpath.normpath("/home/ann/" + path[2:])
    elif not path.startswith("/") and ".." not in path.split("/"):
        assert is_below(whole, "/home/ann/project")


@given(PATHS)
def test_home_is_replaced_at_the_beginning_alone(path: str) -> None:
    assert expand_home("~/" + path, home="/home/ann").startswith("/home/ann/" if not path.startswith("/") else "/")
    if not path.startswith("~/"):
        assert expand_home(path, home="/home/ann") == path


@given(PATHS, PATHS)
def test_below_is_what_the_names_say_however_they_are_written(folder: str, path: str) -> None:
    folder, path = "/" + folder, "/" + path
    assert is_below(folder, folder)
    assert is_below(folder + "/", folder) and is_below("/" + folder, folder)
    assert is_below(path, "/")
    assert is_below(path, folder) == is_below(posixpath.normpath(path) + "/.", folder + "/./")
    if ".." not in path.split("/"):
        assert is_below(folder + path, folder)
        whole = "/" + posixpath.normpath(folder).strip("/")
        assert not is_below(whole + "x" + path, folder) or whole == "/"


DATA = PodFolder("/data", readable=True, writable=True)
TMP = PodFolder("/data/tmp/", readable=False, writable=False)
ROOT = PodFolder("/", readable=True, writable=False)


@pytest.mark.parametrize(
    ("path", "place"),
    [
        ("/data", DATA),
        ("/data/x/*.csv", DATA),
        ("//data/x", DATA),
        ("/data/tmp", TMP),
        ("/data/tmp/x", TMP),
        ("/data/tmp/../x", DATA),
        ("/data/../etc/x", ROOT),
        ("/database", ROOT),
        ("data/x", None),
        ("~/x", None),
        ("", None),
        ("/data/{a,../../etc}/x", None),
    ],
)
def test_the_innermost_place_counts(path: str, place: PodFolder | None) -> None:
    assert find_pod_folder(path, (ROOT, TMP, DATA)) == place
    assert find_pod_folder(path, (DATA, ROOT, TMP)) == place


def test_of_equal_places_the_last_counts_and_there_may_be_none() -> None:
    again = PodFolder("/data/", readable=False, writable=False)
    assert find_pod_folder("/data/x", (DATA, again)) == again
    assert find_pod_folder("/data/x", ()) is None
    assert find_pod_folder("/etc", (DATA, TMP)) is None
