"""The looks at the store: they run a sign-in through it, and ask the server behind it about its state."""

from __future__ import annotations

import os
import sys
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa
from flask import current_app
from sqlalchemy.engine import Engine

from ...health import count
from ...state import current_auth
from ...stores import MemoryStore
from ...stores.sqlalchemy import SQLAlchemyStore
from .findings import Look, from_hints
from .skews import told

_FEW_WORKERS = 4


def store() -> Look:
    """Run a sign-in through the store: a challenge, a wrong and a right code, a session with every column. Then delete it."""
    current_auth.check(deep=True)
    if isinstance(current_auth.store, MemoryStore):
        return "warning", "kept in the memory of one process: use a database or Redis in production"
    return "ok", f"{type(current_auth.store).__name__} was written, read and cleared"


def limits() -> Look:
    """Count an attempt where attempts are counted."""
    count(current_auth.limiter)
    uri = current_auth.config.rate_limit_storage_uri or ""
    if uri.startswith("memory://"):
        return "warning", (
            "CHATBOTKIT_AUTH_RATE_LIMIT_STORAGE_URI is memory://: each worker counts for itself, so that the limits are "
            "as many times higher as there are workers"
        )
    return "ok", "attempts are counted in a place of their own" if uri else "attempts are counted in the store"


def server() -> Look:
    """Ask the database or Redis about its clock, its role, its room and its connections."""
    current = current_auth.store
    current.ping()
    if isinstance(current, SQLAlchemyStore):
        return _database(current.database.engine)
    redis = sys.modules.get("flask_chatbotkit_auth.stores.redis")
    if redis is not None and isinstance(current, redis.RedisStore):
        return _redis(current.client)
    return "ok", f"nothing to ask: {type(current).__name__}"


def _database(engine: Engine) -> Look:
    hints = _shared_with_migrations(engine)
    kind = engine.dialect.name
    if kind == "sqlite":
        return from_hints(hints, "SQLite, on this machine")
    with engine.connect() as connection:
        before = datetime.now(UTC)
        if kind == "postgresql":
            theirs = connection.execute(sa.text("SELECT clock_timestamp()")).scalar_one().astimezone(UTC)
            most = int(connection.execute(sa.text("SHOW max_connections")).scalar_one())
            most -= int(connection.execute(sa.text("SHOW superuser_reserved_connections")).scalar_one())
        else:
            theirs = connection.execute(sa.text("SELECT UTC_TIMESTAMP(6)")).scalar_one().replace(tzinfo=UTC)
            most = int(connection.execute(sa.text("SELECT @@max_connections")).scalar_one())
        state, sentence = _compared(before, theirs, "the database")
    if state != "ok":
        hints.append(f"{sentence[0].upper()}{sentence[1:]}.")
    hints += _connections(engine.pool, most)
    return state if state == "failure" else "warning" if hints else "ok", " ".join(hints) or sentence


def _connections(pool: Any, most: int) -> list[str]:
    """Return a hint if the server allows too few connections for the workers."""
    each = getattr(pool, "size", lambda: 0)() + max(0, getattr(pool, "_max_overflow", 0))
    if not each:
        return []
    workers = int(os.environ.get("WEB_CONCURRENCY") or _FEW_WORKERS)
    if workers * each <= most:
        return []
    return [
        f"Each worker may hold {each} connections and the server allows {most}: {most // each} workers fit. Lower "
        "CHATBOTKIT_AUTH_STORE_POOL or raise max_connections."
    ]


def _shared_with_migrations(engine: Engine) -> list[str]:
    """Return a hint if Flask-Migrate would write ``drop_table`` for our tables, which are in the same database."""
    migrate = current_app.extensions.get("migrate")
    own = current_app.config.get("SQLALCHEMY_DATABASE_URI")
    if migrate is None or not own or getattr(getattr(current_auth.store, "database", None), "migrated", False):
        return []
    try:
        same = sa.make_url(own).set(query={}) == engine.url.set(query={})
    except sa.exc.ArgumentError:
        return []
    arguments = getattr(migrate, "configure_args", None) or {}
    if not same or "include_name" in arguments or "include_object" in arguments:
        return []
    return [
        "The store's tables are in the application's own database, and flask db migrate would drop them: give Migrate "
        "include_name=flask_chatbotkit_auth.migrations.include_name, or give the store your db."
    ]


def _redis(client: Any) -> Look:
    before = datetime.now(UTC)
    seconds, microseconds = client.time()
    theirs = datetime.fromtimestamp(seconds, UTC) + timedelta(microseconds=microseconds)
    state, sentence = _compared(before, theirs, "Redis")
    info = _info(client)
    if str(info.get("role")) in ("slave", "replica"):
        return (
            "failure",
            "this Redis is a replica, which takes no writes: put the primary into CHATBOTKIT_AUTH_STORE_URL",
        )
    if str(info.get("cluster_enabled", "0")) == "1" and "Cluster" not in type(client).__name__:
        return "failure", "this Redis is one node of a cluster: begin CHATBOTKIT_AUTH_STORE_URL with redis+cluster://"
    hints = [] if state == "ok" else [f"{sentence[0].upper()}{sentence[1:]}."]
    policy = str(info.get("maxmemory_policy") or "noeviction")
    if policy != "noeviction":
        hints.append(
            f"maxmemory-policy is {policy}: a Redis that is full forgets codes, sessions and counts that are in use. Set "
            "it to noeviction, or use a Redis for sign-in alone."
        )
    return state if state == "failure" else "warning" if hints else "ok", " ".join(hints) or sentence


def _info(client: Any) -> dict[str, Any]:
    """Return the ``INFO`` of Redis; of a cluster, that of its first node. Empty if the command is not allowed."""
    try:
        info = client.info()
    except Exception:  # noqa: BLE001  # an ACL may forbid it, in the words of any driver
        return {}
    first = next(iter(info.values()), None)
    return first if isinstance(first, dict) and "redis_version" in first else info


def _compared(before: datetime, theirs: datetime, whose: str) -> Look:
    after = datetime.now(UTC)
    ahead, behind = max(before - theirs, timedelta(0)), max(theirs - after, timedelta(0))
    return told(ahead - behind, whose)
