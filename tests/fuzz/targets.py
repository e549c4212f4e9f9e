"""The Python decoders that meet bytes of a taken-over worker or of an unknown party, each with its seeds."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import io
import json
import struct
import tarfile
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from daft_k8s.code.unpack import unpack_archive
from daft_k8s.errors import CodeError
from daft_k8s.kube.inventory.sessions import sessions_of
from daft_k8s.kube.objects import lease as leases
from daft_k8s.kube.objects import names
from daft_k8s.observe import session_summary
from daft_k8s.wire import calls, codec
from daft_k8s.wire.code_reference import CodeReference
from daft_k8s.wire.pickled_errors import decode_error, encode_error
from daft_k8s.wire.ready_line import Ready
from daft_k8s.wire.task_payload import FlightReference, TaskNeeds, join_result, split_result
from daft_k8s.wire.worker_output import shown
from tests.fuzz.mutation import change_bytes, change_json

CORPUS = Path(__file__).parent / "corpus"
_LENGTH = struct.Struct("<Q")
_NOW = datetime.datetime(2026, 1, 1, tzinfo=datetime.timezone.utc)


@dataclass(frozen=True)
class Target:
    """A decoder."""

    name: str
    seeds: tuple[bytes, ...]
    run: Callable[[bytes], object]
    """Raises for a defect alone."""
    change: Callable[[bytes, Random], bytes]

    @property
    def corpus(self) -> list[Path]:
        """Inputs that have found a defect."""
        return sorted((CORPUS / self.name).glob("*"))


def _change_message(data: bytes, random: Random) -> bytes:
    """Changes the document of a message of the wire's codec most often, and else its bytes."""
    if random.random() < 0.15 or len(data) < _LENGTH.size:
        return change_bytes(data, random)
    end = _LENGTH.size + _LENGTH.unpack_from(data)[0]
    text = change_json(data[_LENGTH.size : end], random)
    return _LENGTH.pack(len(text)) + text + data[end:]


def _refusing(decode: Callable[[bytes], object], *refusals: type[Exception]) -> Callable[[bytes], object]:
    def run(data: bytes) -> object:
        try:
            return decode(data)
        except refusals:
            return None

    return run


# ------------------------------------------------------------------------------------------------- messages

_OF_TYPE: dict[str, Any] = {
    "str": "text",
    "str | None": "prefix",
    "int": 7,
    "bool": True,
    "bytes": b"bytes",
    "ActorEvent": calls.ActorEvent.KILLED,
    "tuple[tuple[str, int], ...]": (("actor", 1),),
    "tuple[str, ...]": ("a line",),
}


def _calls() -> tuple[bytes, ...]:
    kinds = [kind for kind in vars(calls).values() if isinstance(kind, type) and dataclasses.is_dataclass(kind)]
    made = [kind(**{item.name: _OF_TYPE[str(item.type)] for item in dataclasses.fields(kind)}) for kind in kinds]
    return tuple(codec.encode(message) for message in made)


def _decode_call(data: bytes) -> None:
    """A message that arrives has the declared types: a handler that stores a value may use it."""
    message = codec.decode(data)
    if dataclasses.is_dataclass(message) and type(message).__module__ == calls.__name__:
        for item in dataclasses.fields(message):
            value, kind = getattr(message, item.name), str(item.type)
            expected = type(_OF_TYPE[kind])
            if type(value) is not expected and not (kind == "str | None" and value is None):
                raise AssertionError(f"{item.name} of {type(message).__name__} is {value!r}, not {kind}")


def _errors() -> tuple[bytes, ...]:
    nested = ValueError("outer", KeyError("inner", {"a": [1, 2.0, b"x"]}))
    nested.__cause__ = OSError(2, "No such file", "/x")
    custom = type("UserError", (LookupError,), {"__module__": "of_the_user"})("text")
    unicode = UnicodeDecodeError("utf-8", b"x", 0, 1, "odd")
    return tuple(encode_error(error) for error in (nested, custom, unicode, SystemExit(3), StopIteration(1)))


def _decode_error(data: bytes) -> None:
    error = decode_error(data, "what the worker says", trusted=False)
    if not isinstance(error, BaseException):
        raise AssertionError(f"{error!r} is no exception")


def _decode_result(data: bytes) -> None:
    stats, references = split_result(data)
    if type(stats) is not bytes or any(type(reference) is not FlightReference for reference in references):
        raise AssertionError(f"{stats!r}, {references!r}")


_RESULTS = (b"stats", join_result(b"stats", [FlightReference(1, "grpc://127.0.0.1:1", 2, 3, 4)]))
_NEEDS = codec.encode(
    TaskNeeds(CodeReference("0" * 64, "/code", 3, is_working_dir=True), ("/lib.so",), "/home", ("/a",))
)


def _change_result(data: bytes, random: Random) -> bytes:
    mark = _RESULTS[1][: _RESULTS[1].index(b"flight\xff") + len(b"flight\xff")]
    if not data.startswith(mark) or random.random() < 0.1:
        return change_bytes(data, random)
    return mark + _change_message(data[len(mark) :], random)


# --------------------------------------------------------------------------------------------------- Leases


def _lease() -> bytes:
    worker = session_summary.WorkerSummary(1, 2, 3, 4)
    query = session_summary.QuerySummary("q", 1, 2, 3)
    summary = session_summary.SessionSummary(1, 2, queries=(query,), workers={"worker-0": worker})
    return json.dumps(
        {
            "apiVersion": leases.API_VERSION,
            "kind": "Lease",
            "metadata": {
                "name": names.lease_name("s1"),
                "namespace": "n",
                "uid": "u",
                "creationTimestamp": "2025-12-31T00:00:00Z",
                "labels": {names.SESSION_LABEL: "s1", names.OWNER_LABEL: "someone"},
                "annotations": {names.SUMMARY_ANNOTATION: session_summary.encode(summary)},
            },
            "spec": {
                "holderIdentity": "driver",
                "leaseDurationSeconds": 30,
                "renewTime": "2025-12-31T00:00:00.000000Z",
                "acquireTime": "2025-12-31T00:00:00.000000Z",
            },
        }
    ).encode()


def _change_lease(data: bytes, random: Random) -> bytes:
    """Changes what the API server leaves to the writer of a Lease: it checks the types of everything else."""
    lease = json.loads(data)
    kind = random.randrange(3)
    if names.SUMMARY_ANNOTATION not in (lease["metadata"]["annotations"] or {}) or not lease["spec"]:
        lease = json.loads(_lease())
    if kind == 0:
        text = change_json(lease["metadata"]["annotations"][names.SUMMARY_ANNOTATION].encode(), random)
        lease["metadata"]["annotations"][names.SUMMARY_ANNOTATION] = text.decode(errors="replace")
    elif kind == 1:
        seconds = random.choice((1, 2**31 - 1, random.randrange(1, 2**31)))
        lease["spec"]["leaseDurationSeconds"] = seconds
    else:
        year = random.choice(("0001", "1969", "9999", f"{random.randrange(1, 9999):04}"))
        key = random.choice(("renewTime", "acquireTime"))
        lease["spec"][key] = f"{year}-12-31T23:59:59.999999Z"
    for part in ("labels", "annotations"):
        if random.random() < 0.1:
            lease["metadata"][part] = random.choice(({}, None, {names.SESSION_LABEL: ""}, {"x": "y"}))
    if random.random() < 0.1:
        lease["spec"] = random.choice((None, {}))
    return json.dumps(lease).encode()


def _read_lease(data: bytes) -> None:
    lease = json.loads(data)
    leases.is_dead(lease, _NOW)
    leases.bears_name_of_session(lease)
    leases.owners(lease)
    sessions_of([], [lease], {}, _NOW)


# ------------------------------------------------------------------------------------------------- archives


def _archives() -> tuple[bytes, ...]:
    made = []
    for mode in ("w:", "w:gz", "w:bz2", "w:xz"):
        file = io.BytesIO()
        with tarfile.open(fileobj=file, mode=mode) as archive:  # type: ignore[call-overload]
            for name in ("a.py", "folder/b.py"):
                member = tarfile.TarInfo(name)
                member.size = 5
                archive.addfile(member, io.BytesIO(b"x = 1"))
        made.append(file.getvalue())
    for compression in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w", compression) as archive:
            archive.writestr("a.py", "x = 1")
            archive.writestr("folder/b.py", "x = 1" * 100)
        made.append(file.getvalue())
    return tuple(made)


def _unpack(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as outer:
        path, folder = Path(outer, "archive"), Path(outer, "folder")
        path.write_bytes(data)
        folder.mkdir()
        with contextlib.suppress(CodeError):
            unpack_archive(str(path), "the archive", str(folder), size_limit_bytes=1 << 20)
        if sorted(item.name for item in Path(outer).iterdir()) != ["archive", "folder"]:
            raise AssertionError("a file was written beside the folder")
        if any(item.is_symlink() for item in folder.rglob("*")):
            raise AssertionError("a link was unpacked")


def _show_line(data: bytes) -> None:
    line = data.decode(errors="replace")
    text = shown("worker-0", line, as_json=True, terminal=True)
    if "\x1b]" in text:
        raise AssertionError(f"a terminal would obey {text!r}")


TARGETS = (
    Target("messages", (*_calls(), _NEEDS), _refusing(_decode_call, codec.MessageError), _change_message),
    Target("errors", _errors(), _decode_error, _change_message),
    Target("results", _RESULTS, _refusing(_decode_result, codec.MessageError), _change_result),
    Target("ready_lines", (Ready("127.0.0.1:1", "127.0.0.1:2").encode(),), _refusing(Ready.decode, ValueError),
           change_json),
    Target("leases", (_lease(),), _read_lease, _change_lease),
    Target("summaries", (session_summary.encode(session_summary.SessionSummary(1)).encode(),),
           lambda data: session_summary.decode(data.decode(errors="replace")), change_json),
    Target("archives", _archives(), _unpack, change_bytes),
    Target("output_lines", (b'{"worker": "worker-0", "text": "\\u001b]0;x"}', b"\x1b]0;title\x07\x1b[31mred\x1b[0m"),
           _show_line, change_bytes),
)  # fmt: skip
