"""A mail server for each test that asks for one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.mail import MailServer, serving


@pytest.fixture
def mail_server() -> Iterator[tuple[MailServer, dict[str, Any]]]:
    server = MailServer()
    with serving(server) as config:
        yield server, config
