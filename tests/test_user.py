from __future__ import annotations

import copy
import json
import pickle
from collections.abc import Callable
from dataclasses import FrozenInstanceError, asdict, replace
from datetime import UTC, datetime
from typing import Any, cast

import pytest
from flask import Flask, jsonify

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


def test_a_user_is_frozen_to_the_depth_of_its_meta() -> None:
    user = User(
        id="u1", email="a@example.com", meta={"tags": ["a"], "plan": {"seats": [1]}}, limits={"database": {"files": 1}}
    )
    meta, limits = cast(dict[str, Any], user.meta), cast(dict[str, Any], user.limits)
    for change in (
        lambda: meta["tags"].append("b"),
        lambda: meta["tags"].extend(["b"]),
        lambda: meta["tags"].__setitem__(0, "b"),
        lambda: meta["plan"].update(seats=2),
        lambda: meta["plan"]["seats"].clear(),
        lambda: meta.pop("tags"),
        lambda: meta.setdefault("x", 1),
        lambda: meta.__ior__({"x": 1}),
        lambda: limits["database"].__delitem__("files"),
    ):
        with pytest.raises(TypeError, match="cannot be changed"):
            change()
    assert user.meta == {"tags": ["a"], "plan": {"seats": [1]}}
    assert user.limits == {"database": {"files": 1}}


def test_what_a_user_is_made_of_may_change_afterwards() -> None:
    meta = {"tags": ["a"]}
    user = User(id="u1", email="a@example.com", meta=meta)
    meta["tags"].append("b")
    assert user.meta == {"tags": ["a"]}


@pytest.mark.parametrize("again", [lambda user: pickle.loads(pickle.dumps(user)), copy.deepcopy, copy.copy])  # noqa: S301
def test_a_user_can_be_pickled_and_copied(again: Callable[[User], User]) -> None:
    user = replace(ADA, meta={"tags": ["a", {"b": 1}]}, limits={"messages": 5})
    twin = again(user)
    assert twin.to_json() == user.to_json()
    with pytest.raises(TypeError):
        twin.meta["tags"].append("c")


def test_a_user_can_be_turned_into_json() -> None:
    user = replace(ADA, meta={"tags": ["a", {"b": 1}]})
    assert json.loads(json.dumps(user.meta)) == {"tags": ["a", {"b": 1}]}
    assert asdict(user)["meta"] == {"tags": ["a", {"b": 1}]}
    app = Flask("shop")
    with app.app_context():
        answer = jsonify(user=user, meta=user.meta).get_json()
    assert answer["meta"] == answer["user"]["meta"] == {"tags": ["a", {"b": 1}]}
    assert answer["user"]["email"] == "ada@example.com"
    changed = user.to_json()
    changed["meta"]["tags"].append("c")
    assert user.meta["tags"] == ["a", {"b": 1}]


def test_a_snapshot_of_another_release_is_read() -> None:
    record = ADA.to_json()
    del record["limits"]
    assert User.from_json(record).limits == {}
    assert User.from_json({**record, "from_tomorrow": 1}).to_json() == ADA.to_json()


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
