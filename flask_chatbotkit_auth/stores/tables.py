"""The tables of the store, and the statements that change the state of a challenge. Each changes one row, in one step."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from .base import MAX_CODES, State
from .database import Database
from .inserts import not_flushed
from .schema import FILLFACTOR

DAY = 86_400_000
"""A day in milliseconds."""

_SLOTS = 4
"""How many codes fit into a row. 0.1 used all of them."""


def challenges(database: Database) -> sa.Table:
    """Return the table of challenges; times are milliseconds since the epoch."""
    return _table(
        database,
        "challenges",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("identifier", sa.String(254), nullable=False, index=True),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("sends", sa.Integer, nullable=False),
        sa.Column("sent_at", sa.BigInteger, nullable=False),
        sa.Column("expires_at", sa.BigInteger, nullable=False, index=True),
        # The row itself contains the codes, the newest first, so that the gate can be one statement on one row.
        *[column for slot in range(1, _SLOTS + 1) for column in _slot(slot)],
        # Columns that 0.1 did not have are optional, so that 0.1 still works beside this release.
        sa.Column("purpose", sa.String(16)),
        sa.Column("user_id", sa.String(191)),
        sa.Column("tries", sa.Integer, nullable=False, server_default="0"),
        sa.Column("claimed_until", sa.BigInteger, nullable=False, server_default="0"),
    )


def _slot(number: int) -> tuple[sa.Column[Any], sa.Column[Any]]:
    return sa.Column(f"digest_{number}", sa.String(64)), sa.Column(f"digest_{number}_expires_at", sa.BigInteger)


def sessions(database: Database) -> sa.Table:
    """Return the table of sessions; times are milliseconds since the epoch.

    Each use changes ``seen_at`` and ``expires_at``. They have no index, so PostgreSQL writes the new version of the row into
    free space on the same page, and updates no index (a heap-only tuple). Expired sessions are found with ``expires_day``,
    the day of ``expires_at``, which changes once a day.
    """
    table = _table(
        database,
        "sessions",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("user_id", sa.String(191), nullable=False, index=True),
        sa.Column("snapshot", _long_text(database), nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("seen_at", sa.BigInteger, nullable=False),
        sa.Column("refreshed_at", sa.BigInteger, nullable=False),
        sa.Column("claimed_until", sa.BigInteger, nullable=False),
        sa.Column("ends_at", sa.BigInteger, nullable=False),
        sa.Column("expires_at", sa.BigInteger, nullable=False),
        sa.Column("ip", sa.String(45)),
        sa.Column("user_agent", sa.String(400)),
        sa.Column("identifier", sa.String(254)),
        sa.Column("audience", sa.String(191)),
        sa.Column("adapter", sa.String(16)),
        sa.Column("client", sa.String(16)),
        sa.Column("name", sa.String(64)),
        sa.Column("method", sa.String(16)),
        sa.Column("proved_at", sa.BigInteger),
        sa.Column("expires_day", sa.Integer, index=True),
    )
    if FILLFACTOR not in table.info:
        # The dialect has an option for this, but only in recent versions of SQLAlchemy, and it imports the dialect.
        table.info[FILLFACTOR] = 70
        room = sa.DDL(f"ALTER TABLE %(fullname)s SET (fillfactor = {table.info[FILLFACTOR]})")  # type: ignore[no-untyped-call]
        sa.event.listen(table, "after_create", room.execute_if(dialect="postgresql"))
    return table


def spent(database: Database) -> sa.Table:
    """Return the table of leases and of names that work once; times are milliseconds since the epoch."""
    return _table(
        database,
        "spent",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("expires_at", sa.BigInteger, nullable=False, index=True),
    )


def passkeys(database: Database) -> sa.Table:
    """Return the table of passkeys; times are milliseconds since the epoch."""
    return _table(
        database,
        "passkeys",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("credential_id", sa.Text, nullable=False),
        sa.Column("user_id", sa.String(191), nullable=False, index=True),
        sa.Column("public_key", sa.Text, nullable=False),
        sa.Column("sign_count", sa.BigInteger, nullable=False),
        sa.Column("name", sa.String(64)),
        sa.Column("aaguid", sa.String(36)),
        sa.Column("transports", sa.String(120)),
        sa.Column("synced", sa.SmallInteger, nullable=False),
        sa.Column("backed_up", sa.SmallInteger, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("used_at", sa.BigInteger),
        sa.Column("gone_at", sa.BigInteger, index=True),
    )


def events(database: Database) -> sa.Table:
    """Return the table of events; times are milliseconds since the epoch."""
    return _table(
        database,
        "events",
        sa.Column("id", sa.String(40), primary_key=True),
        sa.Column("at", sa.BigInteger, nullable=False, index=True),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("outcome", sa.String(16), nullable=False),
        sa.Column("user_id", sa.String(191)),
        sa.Column("address_key", sa.String(64)),
        sa.Column("address", sa.String(254)),
        sa.Column("ip", sa.String(45)),
        sa.Column("device", sa.String(120)),
        sa.Column("method", sa.String(16)),
        sa.Column("session_id", sa.String(64)),
        sa.Column("detail", sa.Text),
        sa.Index("ix_chatbotkit_auth_events_user_id_at", "user_id", "at"),
        sa.Index("ix_chatbotkit_auth_events_address_key_at", "address_key", "at"),
    )


def schema(database: Database) -> sa.Table:
    """Return the table whose one row contains the version of the schema."""
    return _table(database, "schema", sa.Column("version", sa.Integer, primary_key=True, autoincrement=False))


def _table(database: Database, name: str, *columns: sa.Column[Any] | sa.Index, **options: Any) -> sa.Table:
    name = f"chatbotkit_auth_{name}"
    if name in database.metadata.tables:
        return database.metadata.tables[name]
    return sa.Table(name, database.metadata, *columns, **database.table_options, **options)


def _long_text(database: Database) -> sa.types.TypeEngine[str]:
    if not database.maybe("mysql"):
        return sa.Text()
    # TEXT of MySQL ends at 64 kB.
    from sqlalchemy.dialects import mysql

    return sa.Text().with_variant(mysql.MEDIUMTEXT(), "mysql", "mariadb")


def gate(table: sa.Table, digests: int) -> sa.Update:
    """Return the statement that compares a code and counts it if it is wrong. ``digests`` is the number of valid keys.

    Parameters: ``_id``, ``now``, ``max_attempts``, ``candidate_0`` and so on (the digest of the typed code with each key).
    """
    now = sa.bindparam("now", type_=sa.BigInteger)
    # This comparison does not need constant time: an attacker cannot choose digests without the key.
    right = sa.or_(
        *(
            sa.and_(table.c[f"digest_{slot}"] == sa.bindparam(f"candidate_{position}"), _slot_expiry(table, slot) > now)
            for slot in range(1, MAX_CODES + 1)
            for position in range(digests)
        )
    )
    return _step(table, State.OPEN, table.c.attempts < sa.bindparam("max_attempts")).values(
        state=sa.case((right, State.VERIFIED.value), else_=State.OPEN.value),
        attempts=table.c.attempts + sa.case((right, 0), else_=1),
    )


def add_code(table: sa.Table) -> sa.Update:
    """Return the statement that adds a code.

    Parameters: ``_id``, ``now``, ``max_attempts``, ``max_sends``, ``sent_before``, ``digest``, ``until``.
    """
    newest, until = sa.bindparam("digest", type_=sa.String), sa.bindparam("until", type_=sa.BigInteger)
    changes: list[tuple[sa.ColumnElement[Any], Any]] = []
    # The oldest slot comes first: MySQL assigns from left to right, and each slot needs the old value of the next newer one.
    for slot in range(MAX_CODES, 1, -1):
        changes.append((table.c[f"digest_{slot}"], table.c[f"digest_{slot - 1}"]))
        changes.append((_slot_expiry(table, slot), _slot_expiry(table, slot - 1)))
    changes += [(table.c.digest_1, newest), (table.c.digest_1_expires_at, until)]
    changes += [(table.c.sends, table.c.sends + 1), (table.c.sent_at, sa.bindparam("now", type_=sa.BigInteger))]
    changes += [(table.c.expires_at, until)]
    return _step(
        table,
        State.OPEN,
        table.c.attempts < sa.bindparam("max_attempts"),
        table.c.sends < sa.bindparam("max_sends"),
        table.c.sent_at <= sa.bindparam("sent_before"),
    ).ordered_values(*changes)


def withdraw_code(table: sa.Table) -> sa.Update:
    """Return the statement that undoes the count and the cooldown of the newest code. Parameter: ``_id``."""
    fewer = sa.case((table.c.sends > 0, table.c.sends - 1), else_=0)
    return sa.update(table).where(table.c.id == sa.bindparam("_id")).values(sends=fewer, sent_at=0)


def accept(table: sa.Table) -> sa.Update:
    """Return the statement that verifies a challenge without a code. Parameters: ``_id``, ``now``, ``max_attempts``."""
    conditions = table.c.attempts < sa.bindparam("max_attempts")
    return _step(table, State.OPEN, conditions).values(state=State.VERIFIED.value)


def count_try(table: sa.Table) -> sa.Update:
    """Return the statement that counts a try to complete a challenge, and can claim it.

    Parameters: ``_id``, ``now``, ``max_tries``, ``until`` (the end of the claim; 0 for no claim).
    """
    fewer = table.c.tries < sa.bindparam("max_tries")
    until = sa.bindparam("until", type_=sa.BigInteger)
    return _step(table, State.VERIFIED, fewer, _free(table)).values(tries=table.c.tries + 1, claimed_until=until)


def leave_claim(table: sa.Table, state: State) -> sa.Update:
    """Return the statement that moves a claimed challenge to ``state``. Parameter: ``_id``."""
    claimed = sa.and_(table.c.state == State.VERIFIED.value, table.c.claimed_until > 0)
    return sa.update(table).where(table.c.id == sa.bindparam("_id"), claimed).values(state=state.value, claimed_until=0)


def end(table: sa.Table) -> sa.Update:
    """Return the statement that ends a challenge in any state. Parameter: ``_id``."""
    pending = table.c.state != State.COMPLETED.value
    return sa.update(table).where(table.c.id == sa.bindparam("_id"), pending).values(state=State.COMPLETED.value)


def complete(table: sa.Table) -> sa.Update:
    """Return the statement that completes a verified challenge. Parameters: ``_id``, ``now``."""
    return _step(table, State.VERIFIED, _free(table)).values(state=State.COMPLETED.value)


def touch(table: sa.Table, dialect: str) -> sa.sql.dml.UpdateBase:
    """Return the statement that writes the use of a session.

    Parameters: ``_id``, ``seen``, ``until``, ``day`` (of ``until``), ``address`` (``None`` keeps the old one).
    """
    seen = sa.bindparam("seen", type_=sa.BigInteger)
    statement = (
        sa.update(table)
        .where(table.c.id == sa.bindparam("_id"), table.c.expires_at > seen)
        .values(
            seen_at=seen,
            expires_at=sa.bindparam("until", type_=sa.BigInteger),
            expires_day=sa.bindparam("day", type_=sa.Integer),
            ip=sa.func.coalesce(sa.bindparam("address", type_=sa.String), table.c.ip),
        )
    )
    return statement.returning(not_flushed()) if dialect == "postgresql" else statement


def _free(table: sa.Table) -> sa.ColumnElement[bool]:
    return table.c.claimed_until <= sa.bindparam("now", type_=sa.BigInteger)


def _step(table: sa.Table, state: State, *conditions: sa.ColumnElement[bool]) -> sa.Update:
    return sa.update(table).where(
        table.c.id == sa.bindparam("_id"),
        table.c.state == state.value,
        table.c.expires_at > sa.bindparam("now", type_=sa.BigInteger),
        *conditions,
    )


def _slot_expiry(table: sa.Table, slot: int) -> sa.Column[Any]:
    return table.c[f"digest_{slot}_expires_at"]
