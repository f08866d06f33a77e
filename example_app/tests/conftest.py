"""What the tests share: the application, on a stand-in of the API that each test has for itself."""

from __future__ import annotations

from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient

from example_app import create_app
from flask_chatbotkit_auth.testing import Sandbox


@pytest.fixture(params=["partner", "contact"])
def app(
    request: pytest.FixtureRequest, chatbotkit_sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Flask:
    """Parley, once with sub-accounts and once with contacts. With a secret of its own it is no demo."""
    monkeypatch.setenv("SECRET_KEY", "not a secret")
    monkeypatch.setenv("FLASK_TESTING", "true")
    monkeypatch.setenv("CHATBOTKIT_API_SECRET", "sk-test")
    monkeypatch.setenv("CHATBOTKIT_API_URL", chatbotkit_sandbox.url)
    monkeypatch.setenv("CHATBOTKIT_AUTH_ADAPTER", request.param)
    monkeypatch.setenv("CHATBOTKIT_AUTH_STORE_URL", "memory://")
    return create_app(str(tmp_path))


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    """A browser."""
    return app.test_client()
