"""What the look at paths does where Daft takes them, for single cases. Whole queries: test_pod_paths.py."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from daft_k8s.config import load
from daft_k8s.errors import UnsupportedError
from daft_k8s.seam import path_entries

PODS = load({"allocation": "pod", "image": "image", "shared_paths": ["/shared"]})
LOCAL = load({"allocation": "local"})


def rules(configuration: Any) -> Any:
    return path_entries._Rules(configuration)


def sink(**attributes: Any) -> Any:
    return SimpleNamespace(**attributes)


def refused(thing: Any) -> bool:
    try:
        path_entries._on_write_sink(rules(PODS), (None, thing), {})
    except UnsupportedError:
        return True
    return False


def test_home_is_replaced_in_the_driver_where_workers_see_its_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/ann")
    look: Any = path_entries._on_write_tabular
    for given, told in (
        ("~/out", "/home/ann/out"),
        ("out", "out"),
        ("s3://b/~/x", "s3://b/~/x"),
        (Path("~/x"), Path("~/x")),
    ):
        assert look(rules(LOCAL), ("builder", given, "mode"), {}) == (("builder", told, "mode"), {})
        assert look(rules(LOCAL), ("builder",), {"root_dir": given}) == (("builder",), {"root_dir": told})
    assert rules(PODS).local("~/out") == "~/out"  # which is refused, not replaced


def test_what_a_newer_daft_does_not_have_is_named_once(caplog: pytest.LogCaptureFixture) -> None:
    path_entries._unknown.append("daft.io.gone")
    path_entries.warn_of_unknown()
    path_entries.warn_of_unknown()
    (record,) = caplog.records
    assert "this Daft has no daft.io.gone" in record.getMessage()


def test_an_argument_that_is_not_understood_is_left_to_daft(monkeypatch: pytest.MonkeyPatch) -> None:
    class Builder:
        def write(self, table: object) -> str:
            return "written"

        @classmethod
        def from_path(cls, path: str) -> str:
            return f"{cls.__name__} {path}"

    monkeypatch.setattr(path_entries, "_known_configuration", lambda: PODS)
    path_entries._before(Builder, "write", path_entries._on_write_iceberg)
    assert Builder().write("no table") == "written"
    path_entries._before(Builder, "from_path", path_entries._on_write_path)
    assert Builder.from_path("/shared/x") == "Builder /shared/x"
    with pytest.raises(UnsupportedError):
        Builder.from_path("/data/x")


def test_paths_of_every_type_are_looked_at() -> None:
    for given in ("out", Path("out"), Path("/data"), "file:///data", "~/x"):
        with pytest.raises(UnsupportedError):
            path_entries._on_write_tabular(rules(PODS), ("builder",), {"root_dir": given})
    for given in ("/shared/out", Path("/shared/out"), "file:///shared/out", "s3://bucket/out"):
        assert path_entries._on_write_tabular(rules(PODS), ("builder",), {"root_dir": given})[1] == {"root_dir": given}


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ({"path": "/data/out"}, True),
        ({"_table_uri": "file:///data/table"}, True),
        ({"output_dir": Path("out")}, True),
        ({"paths": ["s3://bucket/x", "./out"]}, True),
        ({"conn": "sqlite:///here.db"}, True),
        ({"_conn": "sqlite:////data/x.db"}, True),
        ({"path": "/shared/out"}, False),
        ({"uri": "s3://bucket/table"}, False),
        ({"path": "bucket/key"}, False),
        ({"profile": "/somebody"}, False),
        ({"name": "/data/out"}, False),
        ({"conn": "postgresql://host/db"}, False),
        ({"conn": lambda: None, "path": None}, False),
    ],
)
def test_a_sink_is_refused_for_what_is_plainly_a_path(attributes: dict[str, Any], expected: bool) -> None:
    assert refused(sink(**attributes)) is expected


def test_what_may_be_a_path_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    assert not refused(sink(path="out/table", uri="s3://bucket/x", file="word"))
    assert [record.args for record in caplog.records] == [("SimpleNamespace", "out/table")]


def test_an_iceberg_table_is_looked_at_where_its_data_go() -> None:
    def table(**properties: str) -> Any:
        return SimpleNamespace(metadata=SimpleNamespace(properties=properties), location=lambda: "file:///warehouse/t")

    look = path_entries._on_write_iceberg
    with pytest.raises(UnsupportedError, match="Iceberg table to 'file:///warehouse/t'"):
        look(rules(PODS), ("builder", table()), {})
    look(rules(PODS), ("builder", table(**{"write.data.path": "s3://bucket/data"})), {})


def test_lance_tables_are_looked_at_wherever_their_place_is_given() -> None:
    with pytest.raises(UnsupportedError, match="a read of a Lance table"):
        path_entries._on_read_lance(rules(PODS), ("/data/table",), {})
    for arguments, options in ((("/data/table",), {}), ((), {"uri": "/data/table"}), ((object(), "/data/table"), {})):
        with pytest.raises(UnsupportedError, match="a change of a Lance table"):
            path_entries._on_write_lance(rules(PODS), arguments, options)
    path_entries._on_write_lance(rules(PODS), ("s3://bucket/table", "/not/the/table"), {})


@pytest.mark.parametrize(
    ("arguments", "options"),
    [
        (("x.mp4", 1, 2), {}),
        ((["s3://bucket/x", "/data/x.mp4"],), {}),
        ((), {"paths": ["~/x.tar"]}),
        ((), {"file_path": "file:///data/x.mcap"}),
    ],
)
def test_what_dafts_python_sources_read_is_looked_at(arguments: tuple[Any, ...], options: dict[str, Any]) -> None:
    with pytest.raises(UnsupportedError, match="a read by SimpleNamespace from"):
        path_entries._on_source(rules(PODS), (sink(), *arguments), options)
    path_entries._on_source(rules(PODS), (sink(), ["s3://bucket/x", "/shared/x", "https://youtu.be/x"]), {})


def test_dafts_own_sinks_may_hold_what_looks_like_a_path(caplog: pytest.LogCaptureFixture) -> None:
    class HuggingFaceSink:
        def __init__(self) -> None:
            self.path_prefix, self.data_dir = "/data/train", "data/x"

    assert refused(HuggingFaceSink())
    HuggingFaceSink.__module__ = "daft.io.huggingface.sink"
    caplog.clear()
    assert not refused(HuggingFaceSink()) and not caplog.records
