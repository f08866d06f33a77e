from __future__ import annotations

import logging
from dataclasses import fields
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask

from flask_chatbotkit_auth import ConfigurationError
from flask_chatbotkit_auth.config import Config


def test_defaults() -> None:
    config = Config.load({}, {})
    assert config.api_secret is None
    assert config.api_url == "https://api.chatbotkit.com"
    assert (config.api_timeout, config.api_retries) == (10, 2)
    assert (config.auto_create, config.auto_update, config.auto_delete) == (False, True, False)
    assert (config.code_length, config.code_alphabet, config.code_attempts) == (6, "0123456789", 5)
    assert config.code_lifetime == timedelta(minutes=10)
    assert (config.resend_cooldown, config.resend_max) == (timedelta(seconds=30), 3)
    assert config.rate_limits == {
        "request:email": "5/15minutes",
        "request:ip": "30/hour",
        "verify:email": "20/hour;50/day",
        "verify:ip": "100/hour",
        "request:device": "10/15minutes",
        "verify:device": "20/hour",
        "passkey:ip": "100/hour",
        "change:user": "5/day",
    }
    assert (config.url_prefix, config.sign_in_redirect, config.sign_out_redirect) == ("/auth", None, None)
    assert (config.session_lifetime, config.session_idle) == (timedelta(days=30), timedelta(days=7))
    assert (config.session_check, config.user_refresh) == (timedelta(seconds=5), timedelta(minutes=15))
    assert (config.sessions_max, config.fresh, config.session_keep) == (200, timedelta(hours=1), ())
    assert (config.user_stale, config.unknown_user, config.adapter) == (timedelta(days=1), "silent", "partner")


def test_every_key_has_its_own_name_and_a_sentence() -> None:
    keys = [each.metadata["key"] for each in fields(Config)]
    assert len(set(keys)) == len(keys)
    assert all(each.metadata["doc"].endswith((".", "``.")) for each in fields(Config))


def test_the_environment_is_read_where_the_application_says_nothing() -> None:
    environment = {
        "CHATBOTKIT_API_SECRET": "sk-env",
        "CHATBOTKIT_AUTH_AUTO_CREATE": "true",
        "CHATBOTKIT_AUTH_CODE_LIFETIME": "300",
        "CHATBOTKIT_AUTH_RATE_LIMITS": '{"request:ip": null}',
    }
    config = Config.load({"CHATBOTKIT_API_SECRET": "sk-app"}, environment)
    assert config.api_secret == "sk-app"
    assert config.auto_create is True
    assert config.code_lifetime == timedelta(minutes=5)
    assert config.rate_limits["request:ip"] is None
    assert config.rate_limits["verify:ip"] == "100/hour"


def test_prefixed_variables_are_read_as_flask_reads_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLASK_CHATBOTKIT_AUTH_AUTO_CREATE", "1")
    monkeypatch.setenv("FLASK_CHATBOTKIT_AUTH_AUTO_UPDATE", "0")
    monkeypatch.setenv("FLASK_CHATBOTKIT_AUTH_CODE_LENGTH", "8")
    monkeypatch.setenv("FLASK_CHATBOTKIT_AUTH_SESSION_KEEP", '["cart"]')
    monkeypatch.setenv("FLASK_CHATBOTKIT_AUTH_AUDIENCE", "42")
    monkeypatch.setenv("FLASK_CHATBOTKIT_AUTH_SITE_NAME", "2048")
    app = Flask(__name__)
    app.config.from_prefixed_env()
    config = Config.load(app.config, {})
    assert (config.auto_create, config.auto_update) == (True, False)
    assert (config.code_length, config.session_keep) == (8, ("cart",))
    assert (config.audience, config.site_name) == ("42", "2048")


def test_durations_are_seconds_or_timedeltas() -> None:
    for value in (90, timedelta(seconds=90), "90"):
        assert Config.load({"CHATBOTKIT_AUTH_RESEND_COOLDOWN": value}, {}).resend_cooldown == timedelta(seconds=90)


@pytest.mark.parametrize(
    ("key", "value", "cure"),
    [
        ("CHATBOTKIT_API_SECRET", "", "not empty"),
        ("CHATBOTKIT_API_SECRET", True, "not empty"),
        ("CHATBOTKIT_AUTH_SITE_NAME", 20.48, "not empty"),
        ("CHATBOTKIT_API_TIMEOUT", 0, "above 0"),
        ("CHATBOTKIT_API_TIMEOUT", "soon", "above 0"),
        ("CHATBOTKIT_API_TIMEOUT", [], "above 0"),
        ("CHATBOTKIT_API_RETRIES", -1, "at least 0"),
        ("CHATBOTKIT_AUTH_ADAPTER", "users", 'give one of "partner", "user", "contact"'),
        ("CHATBOTKIT_AUTH_AUTO_CREATE", "perhaps", "True or False"),
        ("CHATBOTKIT_AUTH_AUTO_CREATE", 2, "True or False"),
        ("CHATBOTKIT_AUTH_CODE_LENGTH", True, "whole number"),
        ("CHATBOTKIT_AUTH_MAIL_SENDER", "A shop", "give one address"),
        ("CHATBOTKIT_AUTH_MAIL_SENDER", "Shop, Inc <no-reply@example.com>", "give one address"),
        ("CHATBOTKIT_AUTH_MAIL_SENDER", "no-reply@example.com\nBcc: eve@example.com", "give one address"),
        ("CHATBOTKIT_AUTH_MAIL_REPLY_TO", "no-reply@b..é", "give one address"),
        ("CHATBOTKIT_AUTH_CODE_LENGTH", "six", "whole number"),
        ("CHATBOTKIT_AUTH_CODE_ATTEMPTS", 0, "at least 1"),
        ("CHATBOTKIT_AUTH_CODE_LIFETIME", -5, "above 0"),
        ("CHATBOTKIT_AUTH_CODE_LIFETIME", 0, "above 0"),
        ("CHATBOTKIT_AUTH_RESEND_COOLDOWN", -1, "0 or more"),
        ("CHATBOTKIT_AUTH_SESSION_IDLE", "tomorrow", "seconds or a timedelta"),
        ("CHATBOTKIT_AUTH_SESSIONS_MAX", 0, "None for no cap"),
        ("CHATBOTKIT_AUTH_SESSION_KEEP", ("cart", "_user_id"), "_user_id belongs to the sign-in"),
        ("CHATBOTKIT_AUTH_SESSION_KEEP", ("chatbotkit_auth_deletion",), "belongs to the sign-in"),
        ("CHATBOTKIT_AUTH_SESSION_KEEP", 5, "tuple of names"),
        ("CHATBOTKIT_AUTH_FRESH", 0, "above 0"),
        ("CHATBOTKIT_AUTH_RATE_LIMITS", {"request:phone": "1/day"}, "request:email"),
        ("CHATBOTKIT_AUTH_RATE_LIMITS", {"request:ip": 5}, "5/15minutes"),
        ("CHATBOTKIT_AUTH_RATE_LIMITS", "5/hour", "as JSON"),
        ("CHATBOTKIT_AUTH_URL_PREFIX", "auth", "begins with a slash"),
        ("CHATBOTKIT_AUTH_URL_PREFIX", "/", "longer than it"),
        ("CHATBOTKIT_AUTH_UNKNOWN_USER", "shout", '"silent", "mail"'),
    ],
)
def test_a_wrong_value_names_the_key_and_the_cure(key: str, value: Any, cure: str) -> None:
    with pytest.raises(ConfigurationError, match=key) as refused:
        Config.load({key: value}, {})
    assert cure in str(refused.value)


@pytest.mark.parametrize("key", ["CODE_LIFETIME", "FRESH", "SESSION_LIFETIME", "SESSION_IDLE", "EVENTS_KEEP"])
def test_durations_may_be_short(key: str) -> None:
    config = Config.load({f"CHATBOTKIT_AUTH_{key}": 0.5}, {})
    assert getattr(config, key.lower()) == timedelta(seconds=0.5)


def test_durations_may_have_fractions() -> None:
    config = Config.load({"CHATBOTKIT_AUTH_USER_REFRESH": 0.5}, {"CHATBOTKIT_AUTH_SESSION_CHECK": "1.25"})
    assert config.user_refresh == timedelta(seconds=0.5)
    assert config.session_check == timedelta(seconds=1.25)


@pytest.mark.parametrize(
    ("values", "environment", "cap"),
    [
        ({}, {}, 200),
        ({"CHATBOTKIT_AUTH_SESSIONS_MAX": None}, {}, None),
        ({"CHATBOTKIT_AUTH_SESSIONS_MAX": None}, {"CHATBOTKIT_AUTH_SESSIONS_MAX": "7"}, 7),
        ({}, {"CHATBOTKIT_AUTH_SESSIONS_MAX": "none"}, None),
    ],
)
def test_none_means_no_cap_of_sessions(values: dict[str, Any], environment: dict[str, str], cap: int | None) -> None:
    assert Config.load(values, environment).sessions_max == cap


def test_session_keys_may_come_from_the_environment() -> None:
    assert Config.load({}, {"CHATBOTKIT_AUTH_SESSION_KEEP": "cart, currency"}).session_keep == ("cart", "currency")


def test_no_secret_is_shown() -> None:
    config = Config.load(
        {"CHATBOTKIT_API_SECRET": "sk-hush", "CHATBOTKIT_AUTH_STORE_URL": "postgresql://ada:hush@host/db"}, {}
    )
    assert "hush" not in repr(config)


def test_a_slip_of_the_pen_is_warned_about(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        Config.load({"CHATBOTKIT_AUTH_AUTO_CREAT": True, "CHATBOTKIT_AUTH_XYZZY": 1}, {})
    assert "CHATBOTKIT_AUTH_AUTO_CREAT is not a setting. Did you mean CHATBOTKIT_AUTH_AUTO_CREATE?" in caplog.messages
    assert any("XYZZY" in message and "reference" in message for message in caplog.messages)
