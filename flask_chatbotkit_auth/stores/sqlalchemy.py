"""The store in a SQL database: SQLite, PostgreSQL, MariaDB or MySQL."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from functools import cache
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.dialects import mysql
from sqlalchemy.engine import Connection, Row

from ..clock import from_milliseconds, to_milliseconds
from ..database import Database
from ..ratelimit import SQLAlchemyStorage, counters
from ..user import User
from .base import MAX_CODES, Attempt, Challenge, Outcome, SessionRecord, State, Store

if TYPE_CHECKING:
    from limits.storage import Storage as LimitsStorage

# Ids and digests are compared byte for byte; the default collation of MySQL and MariaDB would fold case and accents.
_OPTIONS: dict[str, Any] = {
    f"{dialect}_{option}": value
    for dialect in ("mysql", "mariadb")
    for option, value in (("charset", "utf8mb4"), ("collate", "utf8mb4_bin"))
}
_LONG_TEXT = sa.Text().with_variant(mysql.MEDIUMTEXT(), "mysql", "mariadb")


class SQLAlchemyStore(Store):
    """Remembers in three tables, ``chatbotkit_auth_challenges``, ``_sessions`` and ``_limits``.

    They are made at the first use. With a Flask-SQLAlchemy ``db`` they join its metadata instead and belong to the
    application's migrations, or to its ``db.create_all()``.

    :param bind: a database URL, a SQLAlchemy ``Engine``, or a Flask-SQLAlchemy ``db``.
    :raises ConfigurationError: the URL is wrong or its driver is not installed; the text names the extra to install.
    """

    def __init__(self, bind: object) -> None:
        self.database = Database(bind)
        metadata = self.database.metadata
        self._challenges = _challenges(metadata)
        self._sessions = _sessions(metadata)
        self._counters = counters(metadata)

    # Challenges

    def add_challenge(self, challenge: Challenge, digest: str) -> None:
        values = {
            "id": challenge.id,
            "identifier": challenge.identifier,
            "state": challenge.state.value,
            "attempts": challenge.attempts,
            "sends": challenge.sends,
            "sent_at": to_milliseconds(challenge.sent_at),
            "expires_at": to_milliseconds(challenge.expires_at),
            "digest_1": digest,
            "digest_1_expires_at": to_milliseconds(challenge.expires_at),
        }
        self.database.run(lambda connection: connection.execute(_add(self._challenges), values))

    def get_challenge(self, challenge_id: str) -> Challenge | None:
        row = self.database.run(lambda connection: self._challenge_row(connection, challenge_id))
        return _challenge(row) if row else None

    def add_code(
        self,
        challenge_id: str,
        digest: str,
        *,
        now: datetime,
        expires_at: datetime,
        sent_before: datetime,
        max_sends: int,
        max_attempts: int,
    ) -> bool:
        values = {
            "_id": challenge_id,
            "digest": digest,
            "now": to_milliseconds(now),
            "until": to_milliseconds(expires_at),
            "sent_before": to_milliseconds(sent_before),
            "max_sends": max_sends,
            "max_attempts": max_attempts,
        }
        return bool(
            self.database.run(lambda connection: connection.execute(_add_code(self._challenges), values).rowcount)
        )

    def withdraw_code(self, challenge_id: str) -> None:
        table = self._challenges
        fewer = sa.case((table.c.sends > 0, table.c.sends - 1), else_=0)
        statement = sa.update(table).where(table.c.id == challenge_id).values(sends=fewer, sent_at=0)
        self.database.run(lambda connection: connection.execute(statement))

    def try_code(self, challenge_id: str, digests: Sequence[str], *, now: datetime, max_attempts: int) -> Attempt:
        number = to_milliseconds(now)
        values: dict[str, object] = {"_id": challenge_id, "now": number, "max_attempts": max_attempts}
        values.update({f"digest_{position}": digest for position, digest in enumerate(digests)})
        table = self._challenges
        gate = _gate(table, len(digests))

        def work(connection: Connection) -> Attempt:
            # The gate is this one UPDATE. Whoever changes the row holds it until the commit, so of any number of calls
            # one finds it open with a right code, and no wrong one goes uncounted. A SELECT first and an UPDATE after
            # would let a hundred workers all read "open, 0 attempts" before the first of them writes.
            if connection.dialect.update_returning:
                row = connection.execute(gate.returning(table.c.state, table.c.attempts), values).first()
            else:
                passed = connection.execute(gate, values).rowcount
                row = self._challenge_row(connection, challenge_id) if passed else None
            if row is not None:
                accepted = row.state == State.VERIFIED.value
                return Attempt(Outcome.ACCEPTED if accepted else Outcome.WRONG, row.attempts)
            row = self._challenge_row(connection, challenge_id)
            if row is None:
                return Attempt(Outcome.MISSING)
            if row.state != State.OPEN.value:
                return Attempt(Outcome.SPENT, row.attempts)
            return Attempt(Outcome.EXHAUSTED if row.attempts >= max_attempts else Outcome.EXPIRED, row.attempts)

        return self.database.run(work)

    def complete(self, challenge_id: str, session: SessionRecord, *, now: datetime) -> bool:
        values = {"_id": challenge_id, "now": to_milliseconds(now)}

        def work(connection: Connection) -> bool:
            if not connection.execute(_complete(self._challenges), values).rowcount:
                return False
            connection.execute(_add(self._sessions), _session_values(session))
            return True

        return self.database.run(work)

    # Sessions

    def get_session(self, session_id: str, *, now: datetime) -> SessionRecord | None:
        values = {"_id": session_id, "now": to_milliseconds(now)}
        row = self.database.run(lambda connection: connection.execute(_live_session(self._sessions), values).first())
        return _session(row) if row else None

    def list_sessions(self, user_id: str, *, now: datetime) -> list[SessionRecord]:
        table = self._sessions
        statement = (
            sa.select(table)
            .where(table.c.user_id == user_id, table.c.expires_at > to_milliseconds(now))
            .order_by(table.c.seen_at.desc())
        )
        return [_session(row) for row in self.database.run(lambda connection: connection.execute(statement).all())]

    def touch_session(self, session_id: str, *, seen_at: datetime, expires_at: datetime) -> None:
        values = {"seen_at": to_milliseconds(seen_at), "expires_at": to_milliseconds(expires_at)}
        statement = sa.update(self._sessions).where(self._sessions.c.id == session_id).values(values)
        self.database.run(lambda connection: connection.execute(statement))

    def claim_refresh(
        self, session_id: str, *, now: datetime, refreshed_before: datetime, claim_until: datetime
    ) -> bool:
        table = self._sessions
        statement = (
            sa.update(table)
            .where(
                table.c.id == session_id,
                table.c.refreshed_at < to_milliseconds(refreshed_before),
                table.c.claimed_until <= to_milliseconds(now),
            )
            .values(claimed_until=to_milliseconds(claim_until))
        )
        return bool(self.database.run(lambda connection: connection.execute(statement).rowcount))

    def save_user(self, user: User, *, now: datetime) -> None:
        table = self._sessions
        statement = (
            sa.update(table)
            .where(table.c.user_id == user.id)
            .values(snapshot=_dump(user), refreshed_at=to_milliseconds(now), claimed_until=0)
        )
        self.database.run(lambda connection: connection.execute(statement))

    def end_session(self, session_id: str) -> bool:
        statement = sa.delete(self._sessions).where(self._sessions.c.id == session_id)
        return bool(self.database.run(lambda connection: connection.execute(statement).rowcount))

    def end_sessions(self, user_id: str, *, keep: str | None = None) -> list[str]:
        table = self._sessions
        these = table.c.user_id == user_id if keep is None else sa.and_(table.c.user_id == user_id, table.c.id != keep)

        def work(connection: Connection) -> list[str]:
            ids = list(connection.execute(sa.select(table.c.id).where(these)).scalars())
            connection.execute(sa.delete(table).where(these))
            return ids

        return self.database.run(work)

    # Care

    def setup(self) -> None:
        self.database.create_tables()

    def ping(self) -> None:
        # The tables too, not only the server: a database without them serves nobody.
        self.database.run(lambda connection: connection.execute(sa.select(self._challenges.c.id).limit(1)).first())

    def purge(self, *, now: datetime, limit: int = 1000) -> int:
        forgotten = 0
        for table in (self._challenges, self._sessions, self._counters):
            if forgotten < limit:
                forgotten += self._purge(table, to_milliseconds(now), limit - forgotten)
        return forgotten

    def limits_storage(self) -> LimitsStorage:
        return SQLAlchemyStorage(database=self.database)

    def _purge(self, table: sa.Table, now: int, limit: int) -> int:
        (key,) = table.primary_key
        expired = table.c.expires_at <= now
        some = sa.select(key).where(expired).order_by(table.c.expires_at).limit(min(limit, 500))

        def work(connection: Connection) -> int:
            keys = list(connection.execute(some).scalars())
            # Once more with the condition: a session may have been used since we looked.
            return connection.execute(sa.delete(table).where(key.in_(keys), expired)).rowcount if keys else 0

        forgotten = 0
        while forgotten < limit and (count := self.database.run(work)):
            forgotten += count
        return forgotten

    def _challenge_row(self, connection: Connection, challenge_id: str) -> Row[Any] | None:
        return connection.execute(_challenge_by_id(self._challenges), {"_id": challenge_id}).first()


def _challenges(metadata: sa.MetaData) -> sa.Table:
    name = "chatbotkit_auth_challenges"
    if name in metadata.tables:
        return metadata.tables[name]
    return sa.Table(
        name,
        metadata,
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("identifier", sa.String(254), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("sends", sa.Integer, nullable=False),
        sa.Column("sent_at", sa.BigInteger, nullable=False),
        sa.Column("expires_at", sa.BigInteger, nullable=False, index=True),
        # The codes lie in the row itself, the newest first, so that the gate can be one statement on one row.
        *[column for slot in range(1, MAX_CODES + 1) for column in _slot(slot)],
        **_OPTIONS,
    )


def _slot(number: int) -> tuple[sa.Column[Any], sa.Column[Any]]:
    return sa.Column(f"digest_{number}", sa.String(64)), sa.Column(f"digest_{number}_expires_at", sa.BigInteger)


def _sessions(metadata: sa.MetaData) -> sa.Table:
    name = "chatbotkit_auth_sessions"
    if name in metadata.tables:
        return metadata.tables[name]
    return sa.Table(
        name,
        metadata,
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("user_id", sa.String(191), nullable=False, index=True),
        sa.Column("snapshot", _LONG_TEXT, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("seen_at", sa.BigInteger, nullable=False),
        sa.Column("refreshed_at", sa.BigInteger, nullable=False),
        sa.Column("claimed_until", sa.BigInteger, nullable=False),
        sa.Column("ends_at", sa.BigInteger, nullable=False),
        sa.Column("expires_at", sa.BigInteger, nullable=False, index=True),
        sa.Column("ip", sa.String(45)),
        sa.Column("user_agent", sa.String(400)),
        **_OPTIONS,
    )


# The statements of the sign-in itself are built once for each table, so that SQLAlchemy compiles them once.


@cache
def _add(table: sa.Table) -> sa.Insert:
    return sa.insert(table)


@cache
def _challenge_by_id(table: sa.Table) -> sa.Select[Any]:
    names = ("id", "identifier", "state", "attempts", "sends", "sent_at", "expires_at")
    return sa.select(*(table.c[name] for name in names)).where(table.c.id == sa.bindparam("_id"))


@cache
def _live_session(table: sa.Table) -> sa.Select[Any]:
    return sa.select(table).where(table.c.id == sa.bindparam("_id"), table.c.expires_at > sa.bindparam("now"))


@cache
def _gate(table: sa.Table, digests: int) -> sa.Update:
    given: list[sa.BindParameter[str]] = [sa.bindparam(f"digest_{position}") for position in range(digests)]
    # Comparing digests here is safe without constant time: nobody can choose a digest without the key.
    right = sa.or_(
        *(
            sa.and_(table.c[f"digest_{slot}"].in_(given), table.c[f"digest_{slot}_expires_at"] > sa.bindparam("now"))
            for slot in range(1, MAX_CODES + 1)
        )
    )
    return (
        sa.update(table)
        .where(
            table.c.id == sa.bindparam("_id"),
            table.c.state == State.OPEN.value,
            table.c.attempts < sa.bindparam("max_attempts"),
            table.c.expires_at > sa.bindparam("now"),
        )
        .values(
            state=sa.case((right, State.VERIFIED.value), else_=State.OPEN.value),
            attempts=table.c.attempts + sa.case((right, 0), else_=1),
        )
    )


@cache
def _add_code(table: sa.Table) -> sa.Update:
    newest, until = sa.bindparam("digest", type_=sa.String), sa.bindparam("until", type_=sa.BigInteger)
    changes: list[tuple[sa.ColumnElement[Any], Any]] = []
    # From the oldest to the newest: MySQL assigns from left to right, and each slot must still see its neighbour's old value.
    for slot in range(MAX_CODES, 1, -1):
        changes.append((table.c[f"digest_{slot}"], table.c[f"digest_{slot - 1}"]))
        changes.append((table.c[f"digest_{slot}_expires_at"], table.c[f"digest_{slot - 1}_expires_at"]))
    changes += [(table.c.digest_1, newest), (table.c.digest_1_expires_at, until)]
    changes += [(table.c.sends, table.c.sends + 1), (table.c.sent_at, sa.bindparam("now"))]
    changes += [(table.c.expires_at, until)]
    return (
        sa.update(table)
        .where(
            table.c.id == sa.bindparam("_id"),
            table.c.state == State.OPEN.value,
            table.c.attempts < sa.bindparam("max_attempts"),
            table.c.expires_at > sa.bindparam("now"),
            table.c.sends < sa.bindparam("max_sends"),
            table.c.sent_at <= sa.bindparam("sent_before"),
        )
        .ordered_values(*changes)
    )


@cache
def _complete(table: sa.Table) -> sa.Update:
    return (
        sa.update(table)
        .where(
            table.c.id == sa.bindparam("_id"),
            table.c.state == State.VERIFIED.value,
            table.c.expires_at > sa.bindparam("now"),
        )
        .values(state=State.COMPLETED.value)
    )


# Rows


def _challenge(row: Row[Any]) -> Challenge:
    return Challenge(
        id=row.id,
        identifier=row.identifier,
        sent_at=from_milliseconds(row.sent_at),
        expires_at=from_milliseconds(row.expires_at),
        state=State(row.state),
        attempts=row.attempts,
        sends=row.sends,
    )


def _dump(user: User) -> str:
    return json.dumps(user.to_json(), separators=(",", ":"))


def _session_values(record: SessionRecord) -> dict[str, object]:
    return {
        "id": record.id,
        "user_id": record.user.id,
        "snapshot": _dump(record.user),
        "created_at": to_milliseconds(record.created_at),
        "seen_at": to_milliseconds(record.seen_at),
        "refreshed_at": to_milliseconds(record.refreshed_at),
        "claimed_until": 0,
        "ends_at": to_milliseconds(record.ends_at),
        "expires_at": to_milliseconds(record.expires_at),
        "ip": record.ip and record.ip[:45],
        "user_agent": record.user_agent and record.user_agent[:400],
    }


def _session(row: Row[Any]) -> SessionRecord:
    return SessionRecord(
        id=row.id,
        user=User.from_json(json.loads(row.snapshot)),
        created_at=from_milliseconds(row.created_at),
        seen_at=from_milliseconds(row.seen_at),
        refreshed_at=from_milliseconds(row.refreshed_at),
        ends_at=from_milliseconds(row.ends_at),
        expires_at=from_milliseconds(row.expires_at),
        ip=row.ip,
        user_agent=row.user_agent,
    )
