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
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from daft_k8s.errors import DaftK8sError
from daft_k8s.handles.pod_paths import PodPaths
from daft_k8s.handles.upload_check import check_locations
from daft_k8s.kube.objects.shared_mounts import shared_places
from daft_k8s.path_rules import database_path, disk_path, expand_home
from daft_k8s.seam.query_folders import current_folder

if TYPE_CHECKING:
    from daft_k8s.config import Configuration

logger = logging.getLogger("daft_k8s")

_LOCATION = 3
_unknown: list[str] = []

_LANCE_WRITERS = ("compact_files", "create_scalar_index", "merge_columns", "merge_columns_df")
_PATH_WORDS = frozenset(
    ("path", "paths", "uri", "dir", "directory", "folder", "file", "files", "filename", "filepath", "location", "root")
)
"""Attributes of a user's sink that have one of these in their names may hold paths."""
_DAFTS_OWN = ("daft", "daft_lance")
"""Sinks in these packages write to servers, except for those of Lance and SQL."""
_PLAIN_BEGINNINGS = ("/", "~/", "./", "../", "file:")
"""Signs of a path on a disk, in a text of a user's own class."""

_known_configuration: Callable[[], Configuration | None] = lambda: None  # noqa: E731


def pod_paths(configuration: Configuration) -> PodPaths | None:
    """The rule for paths; None if workers see the driver's disk."""
    if configuration.allocation == "local":
        return None
    return PodPaths(shared_places(configuration), folder=current_folder(), home=os.path.expanduser("~"))


def install(known_configuration: Callable[[], Configuration | None]) -> None:
    """Replaces functions of Daft with ones that look at paths first.

    A function that a newer Daft does not have is left out, and named when a session of Pods begins. Most of the paths
    that it takes stand in the plan as well.

    Args:
        known_configuration: The configuration of the session for queries now; None if there is none.
    """
    global _known_configuration
    _known_configuration = known_configuration
    for module, owner, name, look in _entries():
        found = _find(module)
        if found is None:
            continue  # an older Daft, without this reader
        found = getattr(found, owner, None) if owner else found
        if found is None or not hasattr(found, name):
            _unknown.append(".".join(filter(None, (module, owner, name))))
        else:
            _before(found, name, look)
    common = _find("daft.io.common")
    original = getattr(common, "ScanOperatorHandle", None)
    if original is None:
        _unknown.append("daft.io.common.ScanOperatorHandle")
    else:
        common.ScanOperatorHandle = _LookingScanOperatorHandle(original)


def warn_of_unknown() -> None:
    """Names the functions of Daft that `install` did not find, once."""
    names, _unknown[:] = list(_unknown), []
    if names:
        logger.warning(
            "this Daft has no %s: paths that worker Pods do not see are found in the plan alone", ", ".join(names)
        )


def _entries() -> Iterator[tuple[str, str, str, Look]]:
    """Each function of Daft that is looked at: its module, its class, its name, and the look."""
    builder = ("daft.logical.builder", "LogicalPlanBuilder")
    yield (*builder, "from_glob_scan", _on_glob)
    yield (*builder, "write_tabular", _on_write_tabular)
    yield (*builder, "write_deltalake", _on_write_path)
    yield (*builder, "write_iceberg", _on_write_iceberg)
    yield "daft.dataframe", "DataFrame", "write_sink", _on_write_sink
    yield "daft.dataframe", "DataFrame", "write_lance", _on_write_lance
    yield "daft.expressions", "Expression", "_call_builtin_scalar_fn", _on_function
    yield "daft.checkpoint", "CheckpointStore", "__init__", _on_checkpoint
    yield "daft.sql.sql_connection", "SQLConnection", "from_url", _on_database
    yield "daft.io.mcap._mcap", "MCAPSource", "__init__", _on_source
    yield "daft.io.webdataset._webdataset", "WebDatasetSource", "__init__", _on_source
    for module in ("daft", "daft.io", "daft.io.av"):  # not its source, whose module loads all of PyAV
        yield module, "", "read_video_frames", _on_read_video
    yield "daft.io.lance", "", "read_lance", _on_read_lance
    for name in _LANCE_WRITERS:
        yield "daft.io.lance", "", name, _on_write_lance


def _find(module: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError:
        return None


Arguments = tuple[tuple[Any, ...], dict[str, Any]]
Look = Callable[["_Rules", tuple[Any, ...], dict[str, Any]], "Arguments | None"]


class _Rules:
    """The rules for paths that are named now."""

    def __init__(self, configuration: Configuration) -> None:
        self._configuration = configuration

    @functools.cached_property
    def pods(self) -> PodPaths | None:
        """As `pod_paths`; made only for a call that names a path."""
        return pod_paths(self._configuration)

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
    declared = vars(owner).get(name)
    original = declared.__func__ if isinstance(declared, classmethod) else getattr(owner, name)

    @functools.wraps(original)
    def looked_at(*arguments: Any, **options: Any) -> Any:
        # Expressions are made by the thousand, and asking for the configuration may read files.
        names_no_path = look is _on_function and not _is_upload(arguments)
        rules = None if names_no_path else _rules()
        if rules is not None:
            try:
                arguments, options = look(rules, arguments, options) or (arguments, options)
            except DaftK8sError:
                raise
            except Exception:  # another Daft's arguments, or wrong ones, of which Daft's own error says more
                logger.debug("the paths of %s could not be looked at", name, exc_info=True)
        return original(*arguments, **options)

    setattr(owner, name, classmethod(looked_at) if isinstance(declared, classmethod) else looked_at)


def _given(arguments: tuple[Any, ...], options: Mapping[str, Any], name: str, position: int) -> Any:
    if name in options:
        return options[name]
    return arguments[position] if len(arguments) > position else None


def _on_glob(rules: _Rules, arguments: tuple[Any, ...], options: dict[str, Any]) -> Arguments:
    paths = _given(arguments, options, "glob_paths", 1)
    for path in paths:
        rules.require(path, writing=False, what="a read", io_config=_given(arguments, options, "io_config", 2))
    told = [rules.local(path) for path in paths]
    if "glob_paths" in options:
        return arguments, {**options, "glob_paths": told}
    return (*arguments[:1], told, *arguments[2:]), options


def _is_upload(arguments: tuple[Any, ...]) -> bool:
    return len(arguments) > _LOCATION and arguments[1] == "url_upload"


def _on_function(rules: _Rules, arguments: tuple[Any, ...], options: dict[str, Any]) -> Arguments | None:
    """A call of a function by its name; the places of an upload are the third argument, behind class and column."""
    expression_class, location = arguments[0], arguments[_LOCATION]
    if not isinstance(location, expression_class):
        rules.require(location, writing=True, what="an upload", io_config=options.get("io_config"))
        location = rules.local(location)
    elif rules.pods is not None and not repr(location).startswith("lit("):  # a constant stands in the plan
        location = check_locations(location, rules.pods)
    return (*arguments[:_LOCATION], location, *arguments[_LOCATION + 1 :]), options


def _on_database(rules: _Rules, arguments: tuple[Any, ...], options: dict[str, Any]) -> None:
    _require_database(rules, _given(arguments, options, "url", 1), writing=False)


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


class _LookingScanOperatorHandle:
    """Stands for Daft's class where tabular readers make their scans.

    A single path is left to the check of the plan: it may be for its schema alone, which the driver reads.
    """

    def __init__(self, original: Any) -> None:
        self._original = original

    def glob_scan(self, paths: list[str], *arguments: Any, **options: Any) -> Any:
        """Daft's own, after a look at a list of paths: of a long one, the plan's text shows only some."""
        rules = _rules()
        if rules is not None and len(paths) > 1:
            storage = _given(arguments, options, "storage_config", 1)
            for path in paths:
                rules.require(path, writing=False, what="a read", io_config=getattr(storage, "io_config", None))
        return self._original.glob_scan(paths, *arguments, **options)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._original, name)
