"""What every measured application tells of itself: its workers, by files, and its SQL statements, by a path."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

FOLDER = Path(os.environ.get("BENCHMARK_FOLDER", "."))
API = os.environ.get("BENCHMARK_API", "http://127.0.0.1:9")
MAIL_PORT = int(os.environ.get("BENCHMARK_MAIL_PORT", "25"))
COUNTING = "BENCHMARK_COUNTING" in os.environ
"""Whether SQL statements are counted, which takes time and is therefore asked for."""

EMAIL = "ada@example.com"

_counts = {"sql": 0, "sql_of_limits": 0}


def instrumented(application: Any) -> Callable[[dict[str, Any], Any], Iterable[bytes]]:
    """Return the WSGI application, with its worker's process id noted and ``/counts`` answered."""
    (FOLDER / "workers" / str(os.getpid())).touch()

    def serve(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        if environ["PATH_INFO"] != "/counts":
            answer: Iterable[bytes] = application(environ, start_response)
            return answer
        start_response("200 OK", [("Content-Type", "application/json")])
        return [json.dumps(_counts).encode()]

    return serve


def count_statement(statement: str) -> None:
    """Count an SQL statement, apart where it counts for a rate limit."""
    _counts["sql_of_limits" if "chatbotkit_auth_limits" in statement else "sql"] += 1


def count_sqlalchemy() -> None:
    """Count the statements of every SQLAlchemy engine of this process."""
    if not COUNTING:
        return
    from sqlalchemy import Engine, event

    @event.listens_for(Engine, "before_cursor_execute")
    def count(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        count_statement(statement)
