"""The passwords in URLs, which are not to be shown."""

from __future__ import annotations

import re

_WORDS = r"[?&](?:sig|[^=&\s]*(?:secret|password|account_key|token)[^=&\s]*)="
_IN_URL = re.compile(rf"((?:https?|ssh)://)[^/\s@]+@|(://)[^/\s@:]*:[^\s@]*@|({_WORDS})[^&\s]+", re.IGNORECASE)
"""The part before a host, or the value of a parameter. Without a colon the former is a container (`abfss`), a user of
another kind, or, in `http` and `ssh`, a token."""

HIDDEN = "***"


def without_passwords(text: str) -> str:
    """A text in which the passwords of URLs are hidden."""
    return _IN_URL.sub(_hidden, text)


def _hidden(found: re.Match[str]) -> str:
    if found[3]:
        return f"{found[3]}{HIDDEN}"
    return f"{found[1] or found[2]}{HIDDEN}@"
