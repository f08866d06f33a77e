from __future__ import annotations

import json
from dataclasses import FrozenInstanceError
from datetime import UTC, datetime
from typing import Any, cast

import pytest

from flask_chatbotkit_auth import User
from flask_chatbotkit_auth.clock import from_milliseconds, plausible_time, to_milliseconds

ADA = User(
    id="u1",
    email="ada@example.com",
    name="Ada",
    email_verified=datetime(2026, 1, 2, 3, 4, 5, 678000, tzinfo=UTC),
    meta={"plan": {"name": "pro"}},
)


def test_a_user_is_what_flask_login_expects() -> None:
    assert ADA.is_authenticated
    assert ADA.is_active
    assert not ADA.is_anonymous
    assert ADA.get_id() == "u1"


def test_a_user_survives_the_store() -> None:
    again = User.from_json(json.loads(json.dumps(ADA.to_json())))
    assert again.to_json() == ADA.to_json()
    assert again.email_verified == ADA.email_verified


def test_a_user_is_frozen_with_its_meta() -> None:
    with pytest.raises(FrozenInstanceError):
        ADA.name = "Eve"  # type: ignore[misc]
    with pytest.raises(TypeError):
        cast(dict[str, Any], ADA.meta)["plan"] = "free"


def test_users_are_equal_by_id() -> None:
    assert User(id="u1", email="other@example.com") == ADA
    assert User(id="u2", email=ADA.email) != ADA
    assert len({ADA, User(id="u1", email="x@example.com")}) == 1


def test_what_the_browser_sees_leaves_out_meta() -> None:
    assert ADA.public() == {
        "id": "u1",
        "email": "ada@example.com",
        "name": "Ada",
        "image": None,
        "email_verified": "2026-01-02T03:04:05.678000+00:00",
        "created_at": None,
        "kind": "partner",
    }


def test_milliseconds_round_trip() -> None:
    moment = datetime(2026, 5, 6, 7, 8, 9, 123000, tzinfo=UTC)
    assert from_milliseconds(to_milliseconds(moment)) == moment


@pytest.mark.parametrize("value", [None, True, "1700000000000", [], {}, 1e30, float("nan"), float("inf"), -1e20])
def test_an_implausible_time_is_none(value: object) -> None:
    assert plausible_time(value) is None
