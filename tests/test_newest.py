"""A dictionary that stays small."""

from __future__ import annotations

from flask_chatbotkit_auth.newest import Newest


def test_the_entries_that_were_set_last_stay() -> None:
    newest: Newest[str, int] = Newest(3)
    for number, name in enumerate("abc"):
        newest[name] = number
    newest["a"] = 9  # set again, so no longer the oldest
    assert newest == {"b": 1, "c": 2, "a": 9}
    newest["d"] = 3
    assert list(newest) == ["c", "a", "d"]
    del newest["a"]
    newest["e"] = 4
    assert list(newest) == ["c", "d", "e"]
