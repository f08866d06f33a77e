"""A little WSGI application that has used its store before uWSGI forks; it tells whose session an id is."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any

from flask_chatbotkit_auth.stores import open_store

NOW = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)

store = open_store(os.environ["STORE_URL"])
store.ping()
limits = store.limits_storage()
limits.incr("warm", 60)


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Answer the address of the session that the path names, and the id of this process."""
    record = store.get_session(environ["PATH_INFO"].strip("/"), now=NOW)
    limits.incr(environ["PATH_INFO"], 60)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [f"{record.user.email if record else 'nobody'} {os.getpid()}".encode()]
