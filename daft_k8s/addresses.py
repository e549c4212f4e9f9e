"""The written form of an address."""

from __future__ import annotations


def join(host: str, port: int | str) -> str:
    """`host:port`, as URLs and gRPC want it: an IPv6 address is put in brackets.

    Args:
        host: A name or an address; one in brackets stays as it is.
        port: Its port.
    """
    return f"[{host}]:{port}" if ":" in host and not host.startswith("[") else f"{host}:{port}"
