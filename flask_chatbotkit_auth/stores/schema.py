"""Schema changes: missing tables, columns and indexes are created, by one process at a time.

This file does not know which tables there are. Columns are added, and never changed or dropped, so that the previous
release still works with the tables of this one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.schema import CreateColumn

VERSION = 3
"""The version of the schema of this release. The schema of 0.1 counts as 1, although 0.1 stored no version."""

_NAME = "chatbotkit_auth_schema"

_LOCK_TIMEOUT = 5
"""Seconds of one wait while another process creates the tables. Only for MySQL; the other engines have their own limit."""

_UNUSED = {"ix_chatbotkit_auth_sessions_expires_at"}
"""Indexes of 0.1 that this release does not use. They are dropped."""


FILLFACTOR = "chatbotkit_auth_fillfactor"
"""The key in a table's ``info`` for the percentage of a page that PostgreSQL fills with new rows."""


class LockTimeout(Exception):
    """Another process has held the lock for creating the tables for too long."""


def is_current(connection: Connection, metadata: sa.MetaData) -> bool:
    """Return whether the version in the database is that of this release, or newer."""
    table = metadata.tables.get(_NAME)
    if table is None or not sa.inspect(connection).has_table(_NAME):
        return False
    version = connection.execute(sa.select(sa.func.max(table.c.version))).scalar()
    return version is not None and version >= VERSION


def make(connection: Connection, metadata: sa.MetaData) -> None:
    """Create missing tables, columns and indexes, drop the unused indexes, and write the version."""
    with _locked(connection):
        metadata.create_all(connection)
        inspector = sa.inspect(connection)
        for table in metadata.tables.values():
            _add_columns(connection, inspector, table)
            # A table that exists can still lack an index: MySQL commits after each of these statements, and a process can be
            # killed between two of them.
            there = {str(each["name"]) for each in inspector.get_indexes(table.name)}
            for index in sorted(table.indexes, key=lambda each: str(each.name)):
                if index.name not in there:
                    index.create(connection)
            for name in sorted(there & _UNUSED):
                where = f" ON {table.name}" if connection.dialect.name in ("mysql", "mariadb") else ""
                connection.exec_driver_sql(f"DROP INDEX {name}{where}")
        _note_version(connection, metadata)


def _add_columns(connection: Connection, inspector: sa.Inspector, table: sa.Table) -> None:
    there = {each["name"] for each in inspector.get_columns(table.name)}
    name = connection.dialect.identifier_preparer.format_table(table)
    missing = [column for column in table.columns if column.name not in there]
    for column in missing:
        definition = CreateColumn(column).compile(dialect=connection.dialect)
        connection.exec_driver_sql(f"ALTER TABLE {name} ADD COLUMN {definition}")
    room = table.info.get(FILLFACTOR)
    if missing and room and connection.dialect.name == "postgresql":
        connection.exec_driver_sql(f"ALTER TABLE {name} SET (fillfactor = {room})")


def _note_version(connection: Connection, metadata: sa.MetaData) -> None:
    table = metadata.tables.get(_NAME)
    if table is None:
        return
    version = connection.execute(sa.select(sa.func.max(table.c.version))).scalar()
    if version is None or version < VERSION:
        connection.execute(sa.delete(table))
        connection.execute(sa.insert(table).values(version=VERSION))


@contextmanager
def _locked(connection: Connection) -> Iterator[None]:
    """Let one process at a time run the code inside, with a lock in the database that ends with the transaction."""
    dialect = connection.dialect.name
    if dialect == "postgresql":
        number = int.from_bytes(hashlib.sha256(_NAME.encode()).digest()[:8], signed=True)
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(number)))
    elif dialect == "sqlite" and not connection.connection.dbapi_connection.in_transaction:  # type: ignore[union-attr]
        connection.exec_driver_sql("BEGIN IMMEDIATE")
    elif dialect in ("mysql", "mariadb"):
        # In MySQL, creating a table ends the transaction. So the lock belongs to the connection, and is released below. Names
        # of locks are shared by all databases of the server. MySQL 9 has neither SHA1 nor MD5.
        name = sa.func.concat(f"{_NAME}:", sa.func.left(sa.func.sha2(sa.func.database(), 256), 20))
        if not connection.execute(sa.select(sa.func.get_lock(name, _LOCK_TIMEOUT))).scalar():
            raise LockTimeout
        try:
            yield
        finally:
            connection.execute(sa.select(sa.func.release_lock(name)))
        return
    yield
