"""INSERT as each dialect extends it: for a row that may be there already."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

DIALECTS = {"sqlite": "sqlite", "postgresql": "postgresql", "mysql": "mysql", "mariadb": "mysql"}
"""Those that can do this, and which module of SQLAlchemy has it."""


def insert_for(dialect: str, table: sa.Table) -> Any:
    """Return an INSERT of a dialect."""
    # Only the dialect that is used: each takes longer to import than the whole of this package.
    return import_module(f"sqlalchemy.dialects.{DIALECTS[dialect]}").insert(table)


def insert_unless_there(connection: Connection, table: sa.Table) -> Any:
    """Return an INSERT that meets no row where there is one with the key; it waits for a transaction that makes one."""
    dialect = connection.dialect.name
    insert = insert_for(dialect, table).execution_options(preserve_rowcount=True)
    return insert.prefix_with("IGNORE") if DIALECTS[dialect] == "mysql" else insert.on_conflict_do_nothing()


def not_flushed() -> sa.ColumnElement[str]:
    """Return what has PostgreSQL confirm the transaction before it is on the disk, as SQLite does; it goes into RETURNING.

    When the server loses power, what was written in the last second may be lost, and nothing is torn. It suits a count and
    the time of a use: six of the ten writes of a sign-in, each of which would wait for the disk.
    """
    return sa.func.set_config("synchronous_commit", "off", sa.true())
