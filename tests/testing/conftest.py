from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from flask_chatbotkit_auth.testing import Sandbox
from tests.support.sandbox_api import DOCUMENT, Api, Conformity


@pytest.fixture(scope="module")
def document() -> Any:
    """The parsed OpenAPI document, or None."""
    return json.loads(DOCUMENT.read_text()) if DOCUMENT.exists() else None


@pytest.fixture
def conformity(document: Any) -> Conformity | None:
    return Conformity(document) if document else None


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(secret="sk-test") as sandbox:
        sandbox.token_delay = 0
        yield sandbox


@pytest.fixture
def api(sandbox: Sandbox, conformity: Conformity | None) -> Iterator[Api]:
    api = Api(sandbox, conformity)
    with api.session:
        yield api
