"""Passwords in URLs: hidden wherever a text shows an option."""

from __future__ import annotations

import pytest

from daft_k8s.config.passwords import without_passwords


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("x @ https://token@example.com/x.zip", "x @ https://***@example.com/x.zip"),
        ("git+ssh://me:word@example.com/y", "git+ssh://***@example.com/y"),
        ("S3://key:word@bucket/a", "S3://***@bucket/a"),
        ("s3://key:wo/rd+x@bucket/a", "s3://***@bucket/a"),
        ("two http://a@b/ http://c@d/", "two http://***@b/ http://***@d/"),
        ("abfss://container@account.dfs.core.windows.net/a", "abfss://container@account.dfs.core.windows.net/a"),
        ("az://a/b?sig=word&se=1", "az://a/b?sig=***&se=1"),
        ("az://a/b?client_secret=word", "az://a/b?client_secret=***"),
        ("s3://a/b?region=x&Session_Token=word", "s3://a/b?region=x&Session_Token=***"),
        ("s3://bucket/a?region=x&signature_version=4", "s3://bucket/a?region=x&signature_version=4"),
        ("/a/path:with@signs", "/a/path:with@signs"),
    ],
)
def test_passwords_are_hidden_and_nothing_else(text: str, shown: str) -> None:
    assert without_passwords(text) == shown
