"""JSON that is nested too deeply is told before a parser is given it."""

from __future__ import annotations

import json

import pytest

from flask_chatbotkit_auth.nesting import MAX_DEPTH, is_too_deep


@pytest.mark.parametrize("left", ["[", '{"a":'])
@pytest.mark.parametrize("more", [0, 1])
def test_what_is_too_deep(left: str, more: int) -> None:
    depth = MAX_DEPTH + more
    assert is_too_deep((left * depth).encode()) is bool(more)
    assert is_too_deep(("[[]," * (depth - 1)).encode()) is bool(more)  # the last pair is one deeper


@pytest.mark.parametrize(
    "value",
    [
        [[]] * 5000,
        "[" * 5000,
        {"a\\": '"' + "{" * 5000, "[" * 500: ["\\\\"]},
        ["{\\"] * 5000,
    ],
)
def test_neither_brackets_side_by_side_nor_in_a_text_are_deep(value: object) -> None:
    assert not is_too_deep(json.dumps(value).encode())


@pytest.mark.parametrize("end", [b"", b"\\", b'"', b'\\"'])
def test_a_text_without_an_end_is_not_read_again_and_again(end: bytes) -> None:
    assert not is_too_deep(b"[" * MAX_DEPTH + b'"' + b'\\"[' * 200_000 + end)
