"""The places at which Daft takes paths in the driver: paths that workers do not see are refused there.

Most paths stand in the plan as well (`plan_paths`), those of SQL included. Looked at here are those that do not: long
lists of files, sinks, sources, table formats, and locations of uploads that stand in the data. For workers that see
the driver's disk, `~` is replaced here, as their variable HOME may be another.
"""

from __future__ import annotations

import functools
import importlib
import logging
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from daft_k8s.path_rules import database_path, disk_path, expand_home
from daft_k8s.pods.shared_mounts import shared_places
from daft_k8s.seam.path_guard import check_locations
from daft_k8s.seam.pod_paths import PodPaths
from daft_k8s.seam.query_folders import current_folder

if TYPE_CHECKING:
    from daft_k8s.config import Configuration

logger = logging.getLogger("daft_k8s")

_LANCE_WRITERS = ("compact_files", "create_scalar_index", "merge_columns", "merge_columns_df")
_PATH_WORDS = frozenset(
    ("path", "paths", "uri", "dir", "directory", "folder", "file", "files", "filename", "filepath", "location", "root")
)
"""Attributes of a user's sink that have one of these in their names may hold paths."""
_DAFTS_OWN = ("daft", "daft_lance")
"""Sinks in these packages write to servers, except for those of Lance and SQL."""
_PLAIN_BEGINNINGS = ("/", "~/", "./", "../", "file:")
"""Of a text in somebody's own class, these tell that it is a path on a disk."""

_known_configuration: Callable[[], Configuration | None] = lambda: None  # noqa: E731


def pod_paths(configuration: Configuration) -> PodPaths | None:
    """The rule for paths; None if workers see the driver's disk."""
    if configuration.allocation == "local":
        return None
    return PodPaths(shared_places(configuration), folder=current_folder(), home=os.path.expanduser("~"))


def install(known_configuration: Callable[[], Configuration | None]) -> None:
    """Replaces functions of Daft with ones that look at paths first.

    Args:
        known_configuration: That of the session which queries would use now; None if there is none.
    """
    global _known_configuration
    _known_configuration = known_configuration
    from daft.dataframe import DataFrame
    from daft.expressions import Expression
    from daft.logical.builder import LogicalPlanBuilder

    _install_scans(LogicalPlanBuilder)
    _before(LogicalPlanBuilder, "write_tabular", _on_write_tabular)
    _before(LogicalPlanBuilder, "write_deltalake", _on_write_path)
    _before(LogicalPlanBuilder, "write_lance", _on_write_path)
    _before(LogicalPlanBuilder, "write_iceberg", _on_write_iceberg)
    _before(DataFrame, "write_sink", _on_write_sink)
    _before(DataFrame, "write_lance", _on_write_lance)
    _install_uploads(Expression)
    for module, owner, name, look in (
        ("daft.checkpoint", "CheckpointStore", "__init__", _on_checkpoint),
        ("daft.io.mcap._mcap", "MCAPSource", "__init__", _on_source),
        ("daft.io.webdataset._webdataset", "WebDatasetSource", "__init__", _on_source),
        # Not its source, whose module loads all of PyAV.
        *((module, "", "read_video_frames", _on_read_video) for module in ("daft", "daft.io", "daft.io.av")),
        ("daft.io.lance", "", "read_lance", _on_read_lance),
        *(("daft.io.lance", "", name, _on_write_lance) for name in _LANCE_WRITERS),
    ):
        found = _find(module, owner)
        if found is not None and hasattr(found, name):
            _before(found, name, look)


def _find(module: str, owner: str) -> Any:
    try:
        found: Any = importlib.import_module(module)
    except ImportError:
        return None
    return getattr(found, owner, None) if owner else found


Arguments = tuple[tuple[Any, ...], dict[str, Any]]
Look = Callable[["_Rules", tuple[Any, ...], dict[str, Any]], "Arguments | None"]


class _Rules:
    """What holds for paths that are named now."""

    def __init__(self, configuration: Configuration) -> None:
        self.pods = pod_paths(configuration)

    def require(self, text: Any, *, writing: bool, what: str, io_config: Any = None) -> None:
        """Refuses a path that workers do not see; anything but text or a path is left to Daft."""
        if self.pods is not None and isinstance(text, (str, os.PathLike)):
            aliases = getattr(io_config, "protocol_aliases", None) or {}
            self.pods.require(text, writing=writing, aliases=aliases, what=what)

    def local(self, text: Any) -> Any:
        """A path as workers that see the driver's disk must be told it."""
        if self.pods is None and isinstance(text, str):
            return expand_home(text, home=os.path.expanduser("~"))
        return text


def _rules() -> _Rules | None:
    configuration = _known_configuration()
    return None if configuration is None else _Rules(configuration)


def _before(owner: Any, name: str, look: Look) -> None:
    original = getattr(owner, name)

    @functools.wraps(original)
    def looked_at(*arguments: Any, **options: Any) -> Any:
        rules = _rules()
        if rules is not None:
            arguments, options = look(rules, arguments, options) or (arguments, options)
        return original(*arguments, **options)

    setattr(owner, name, looked_at)


def _given(arguments: tuple[Any, ...], options: Mapping[str, Any], name: str, position: int) -> Any:
    if name in options:
        return options[name]
    return arguments[position] if len(arguments) > position else None


def _on_write_tabular(rules: _Rules, arguments: tuple[Any, ...], options: dict[str, Any]) -> Arguments:
    folder = _given(arguments, options, "root_dir", 1)
    rules.require(folder, writing=True, what="a write", io_config=_given(arguments, options, "io_config", 4))
    if "root_dir" in options:
        return arguments, {**options, "root_dir": rules.local(folder)}
    return (*arguments[:1], rules.local(folder), *arguments[2:]), options


def _on_write_path(rules: _Rules, arguments: tuple[Any, ...], options: dict[str, Any]) -> None:
    rules.require(_given(arguments, options, "path", 1), writing=True, what="a write of a table")


def _on_write_iceberg(rules: _Rules, arguments: tuple[Any, ...], options: dict[str, Any]) -> None:
    table = _given(arguments, options, "table", 1)
    location = table.metadata.properties.get("write.data.path", table.location())
    rules.require(location, writing=True, what="a write of an Iceberg table")


def _on_write_sink(rules: _Rules, arguments: tuple[Any, ...], options: dict[str, Any]) -> None:
    sink = _given(arguments, options, "sink", 1)
    name = type(sink).__name__
    if type(sink).__module__.partition(".")[0] not in _DAFTS_OWN:
        for path in _paths_of(sink):
            rules.require(path, writing=True, what=f"a write by {name}")
        for path in _paths_of(sink, vague=True) if rules.pods is not None else ():
            logger.warning(
                "%s holds %r: if that is a path on a disk, each worker Pod writes to its own, and loses it", name, path
            )
    connection = getattr(sink, "conn", None) or getattr(sink, "_conn", None)
    _require_database(rules, connection, writing=True)


def _on_source(rules: _Rules, arguments: tuple[Any, ...], options: dict[str, Any]) -> None:
    given = next((options[name] for name in ("file_path", "paths") if name in options), None) or arguments[1]
    _require_reads(rules, given, f"a read by {type(arguments[0]).__name__}")


def _on_read_video(rules: _Rules, arguments: tuple[Any, ...], options: dict[str, Any]) -> None:
    _require_reads(rules, _given(arguments, options, "path", 0), "a read of videos")


def _require_reads(rules: _Rules, given: Any, what: str) -> None:
    for path in given if isinstance(given, (list, tuple)) else [given]:
        rules.require(path, writing=False, what=what)


def _on_checkpoint(rules: _Rules, arguments: tuple[Any, ...], options: dict[str, Any]) -> None:
    rules.require(_given(arguments, options, "path", 1), writing=True, what="a checkpoint")


def _on_read_lance(rules: _Rules, arguments: tuple[Any, ...], options: dict[str, Any]) -> None:
    rules.require(_given(arguments, options, "uri", 0), writing=False, what="a read of a Lance table")


def _on_write_lance(rules: _Rules, arguments: tuple[Any, ...], options: dict[str, Any]) -> None:
    uri = next((options[name] for name in ("uri", "url") if name in options), None)
    for text in (uri, *arguments):
        if isinstance(text, (str, os.PathLike)):
            rules.require(text, writing=True, what="a change of a Lance table")
            return


def _require_database(rules: _Rules, connection: Any, *, writing: bool) -> None:
    path = database_path(connection) if isinstance(connection, str) else None
    if path is not None:
        rules.require(path, writing=writing, what="a write of a database" if writing else "a read of a database")


def _paths_of(sink: Any, *, vague: bool = False) -> Iterator[str | os.PathLike[str]]:
    """The paths on a disk that a sink of the user's own holds, as far as its attributes tell.

    Args:
        sink: The sink.
        vague: Texts that may be relative paths, and may be something else, in place of those that are plainly paths.
    """
    for name, value in sorted(getattr(sink, "__dict__", {}).items()):
        if not _PATH_WORDS.isdisjoint(name.lower().split("_")):
            for item in value if isinstance(value, (list, tuple)) else [value]:
                if isinstance(item, os.PathLike):
                    if not vague:
                        yield item
                elif isinstance(item, str):
                    plain = item.startswith(_PLAIN_BEGINNINGS)
                    if plain is not vague and (plain or ("/" in item and disk_path(item) is not None)):
                        yield item


def _install_scans(builder_class: Any) -> None:
    original = builder_class.from_glob_scan.__func__

    @functools.wraps(original)
    def from_glob_scan(cls: Any, glob_paths: list[str], io_config: Any = None) -> Any:
        rules = _rules()
        if rules is not None:
            _require_each(rules, glob_paths, io_config)
            glob_paths = [rules.local(path) for path in glob_paths]
        return original(cls, glob_paths, io_config)

    builder_class.from_glob_scan = classmethod(from_glob_scan)

    common = _find("daft.io.common", "")
    if hasattr(common, "ScanOperatorHandle"):
        common.ScanOperatorHandle = _LookingScanOperatorHandle
    connections = _find("daft.sql.sql_connection", "SQLConnection")
    if hasattr(connections, "from_url"):
        from_url = connections.from_url.__func__

        @functools.wraps(from_url)
        def look_at_url(cls: Any, url: str) -> Any:
            rules = _rules()
            if rules is not None:
                _require_database(rules, url, writing=False)
            return from_url(cls, url)

        connections.from_url = classmethod(look_at_url)


class _LookingScanOperatorHandle:
    """Stands for Daft's class where tabular readers make their scans.

    A single path is left to the check of the plan: it may be for its schema alone, which the driver reads.
    """

    @staticmethod
    def glob_scan(paths: list[str], file_format_config: Any, storage_config: Any, **options: Any) -> Any:
        from daft.daft import ScanOperatorHandle

        rules = _rules()
        if rules is not None and len(paths) > 1:
            _require_each(rules, paths, getattr(storage_config, "io_config", None))
        return ScanOperatorHandle.glob_scan(paths, file_format_config, storage_config, **options)


def _require_each(rules: _Rules, paths: Iterable[str], io_config: Any) -> None:
    for path in paths:
        rules.require(path, writing=False, what="a read", io_config=io_config)


def _install_uploads(expression_class: Any) -> None:
    original = expression_class._call_builtin_scalar_fn.__func__

    @functools.wraps(original)
    def call_builtin(cls: Any, func_name: str, *arguments: Any, **options: Any) -> Any:
        if func_name == "url_upload" and len(arguments) > 1:
            rules = _rules()
            if rules is not None:
                location = _on_upload(rules, arguments[1], options.get("io_config"), expression_class)
                arguments = (arguments[0], location, *arguments[2:])
        return original(cls, func_name, *arguments, **options)

    expression_class._call_builtin_scalar_fn = classmethod(call_builtin)


def _on_upload(rules: _Rules, location: Any, io_config: Any, expression_class: Any) -> Any:
    if isinstance(location, expression_class):
        constant = repr(location).startswith("lit(")  # which the check of the plan sees
        return location if rules.pods is None or constant else check_locations(location, rules.pods)
    rules.require(location, writing=True, what="an upload", io_config=io_config)
    return rules.local(location)
