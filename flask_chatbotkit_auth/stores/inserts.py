"""INSERT for a row that may exist already, in the syntax of each dialect."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

DIALECTS = {"sqlite": "sqlite", "postgresql": "postgresql", "mysql": "mysql", "mariadb": "mysql"}
"""The dialects that support this, and the name of their module in SQLAlchemy."""


def insert_for(dialect: str, table: sa.Table) -> Any:
    """Return an INSERT in a dialect."""
    # Only the dialect that is used is imported, since each takes longer than the whole of this package.
    return import_module(f"sqlalchemy.dialects.{DIALECTS[dialect]}").insert(table)


def insert_unless_there(connection: Connection, table: sa.Table) -> Any:
    """Return an INSERT that does nothing if the key exists. It waits for another transaction that is inserting the key."""
    dialect = connection.dialect.name
    insert = insert_for(dialect, table).execution_options(preserve_rowcount=True)
    return insert.prefix_with("IGNORE") if DIALECTS[dialect] == "mysql" else insert.on_conflict_do_nothing()


def not_flushed() -> sa.ColumnElement[str]:
    """Return an expression for RETURNING that has PostgreSQL confirm a transaction before it is on the disk, as SQLite does.

    If the server loses power, the writes of the last second may be lost, but nothing is damaged. This is acceptable for
    counts and times of use. They are six of the ten writes of a sign-in, and each would wait for the disk.
    """
    return sa.func.set_config("synchronous_commit", "off", sa.true())
