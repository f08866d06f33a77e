"""The tables in a database that is there already: what is missing is made, by one process at a time.

Nothing here knows which tables they are. A column is only ever added, never changed or dropped, so that the release before
works on with what this one has made.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.schema import CreateColumn

VERSION = 3
"""The schema that this release makes. That of 0.1, which had no table to say so, is 1."""

_NAME = "chatbotkit_auth_schema"

_PATIENCE = 5
"""Seconds to wait at once while another process makes the tables. MySQL alone; elsewhere the engine's own bound counts."""

_UNUSED = {"ix_chatbotkit_auth_sessions_expires_at"}
"""Indexes of 0.1 that this release does without."""


FILLFACTOR = "chatbotkit_auth_fillfactor"
"""The key of a table's ``info`` that tells how many per cent of a page PostgreSQL fills with new rows."""


class AnotherIsAtIt(Exception):
    """Another process makes the tables, and has not come to an end yet."""


def is_current(connection: Connection, metadata: sa.MetaData) -> bool:
    """Return whether the database says that its tables are at least what this release makes."""
    table = metadata.tables.get(_NAME)
    if table is None or not sa.inspect(connection).has_table(_NAME):
        return False
    version = connection.execute(sa.select(sa.func.max(table.c.version))).scalar()
    return version is not None and version >= VERSION


def make(connection: Connection, metadata: sa.MetaData) -> None:
    """Make the tables, columns and indexes that are missing, and note the version."""
    with _alone(connection):
        metadata.create_all(connection)
        inspector = sa.inspect(connection)
        for table in metadata.tables.values():
            _add_columns(connection, inspector, table)
            # An index of a table that is there may be missing, too: MySQL commits after each of the statements, and a process
            # may be killed between two.
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
def _alone(connection: Connection) -> Iterator[None]:
    """Let one process at a time do what is inside, by a lock of the database that ends with the transaction."""
    dialect = connection.dialect.name
    if dialect == "postgresql":
        number = int.from_bytes(hashlib.sha256(_NAME.encode()).digest()[:8], signed=True)
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(number)))
    elif dialect == "sqlite" and not connection.connection.dbapi_connection.in_transaction:  # type: ignore[union-attr]
        connection.exec_driver_sql("BEGIN IMMEDIATE")
    elif dialect in ("mysql", "mariadb"):
        # Statements that make tables end its transactions: this lock is the connection's. The names are the whole server's.
        # MySQL 9 has neither SHA1 nor MD5.
        name = sa.func.concat(f"{_NAME}:", sa.func.left(sa.func.sha2(sa.func.database(), 256), 20))
        if not connection.execute(sa.select(sa.func.get_lock(name, _PATIENCE))).scalar():
            raise AnotherIsAtIt
        try:
            yield
        finally:
            connection.execute(sa.select(sa.func.release_lock(name)))
        return
    yield
