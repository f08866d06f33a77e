"""The store in a SQL database: SQLite, PostgreSQL, MariaDB or MySQL."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from functools import cache, partial
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from ..clock import from_milliseconds, to_milliseconds
from ..user import User
from . import snapshot, tables
from .base import MAX_CODES, Attempt, Challenge, Outcome, SessionRecord, State, Store
from .database import Database
from .limits import SQLAlchemyStorage, counters

if TYPE_CHECKING:
    from limits.storage import Storage as LimitsStorage

_BATCH = 200


class SQLAlchemyStore(Store):
    """Remembers in three tables, ``chatbotkit_auth_challenges``, ``_sessions`` and ``_limits``.

    They are made at the first use. With a Flask-SQLAlchemy ``db`` they join its metadata instead and belong to the
    application's migrations, or to its ``db.create_all()``.

    :param bind: a database URL, a SQLAlchemy ``Engine``, or a Flask-SQLAlchemy ``db``.
    :raises ConfigurationError: the URL is wrong or its driver is not installed; the text names the extra to install.
    """

    def __init__(self, bind: object) -> None:
        self.database: Database = Database(bind)
        self._challenges = challenges = tables.challenges(self.database)
        self._sessions = sessions = tables.sessions(self.database)
        self._counters = counters(self.database)
        # Built once, so that SQLAlchemy compiles each of them once.
        self._add_challenge = sa.insert(challenges)
        self._add_code = tables.add_code(challenges)
        self._withdraw_code = tables.withdraw_code(challenges)
        self._gates = cache(partial(_gates, challenges))
        self._complete = tables.complete(challenges)
        self._add_session = sa.insert(sessions)
        names = ("id", "identifier", "state", "attempts", "sends", "sent_at", "expires_at")
        self._challenge = sa.select(*(challenges.c[each] for each in names)).where(
            challenges.c.id == sa.bindparam("_id")
        )
        self._codes = sa.select(challenges).where(challenges.c.id == sa.bindparam("_id"))
        self._session = sa.select(sessions).where(
            sessions.c.id == sa.bindparam("_id"), sessions.c.expires_at > sa.bindparam("now")
        )

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
        self.database.change(self._add_challenge, values)

    def get_challenge(self, challenge_id: str) -> Challenge | None:
        row = self.database.first(self._challenge, {"_id": challenge_id})
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
        return bool(self.database.change(self._add_code, values))

    def withdraw_code(self, challenge_id: str) -> None:
        self.database.change(self._withdraw_code, {"_id": challenge_id})

    def try_code(self, challenge_id: str, digests: Sequence[str], *, now: datetime, max_attempts: int) -> Attempt:
        values: dict[str, object] = {"_id": challenge_id, "now": to_milliseconds(now), "max_attempts": max_attempts}
        values.update({f"given_{position}": digest for position, digest in enumerate(digests)})
        gate, returning_gate = self._gates(len(digests))

        def work(connection: Connection) -> Attempt:
            # The gate is this one UPDATE. Whoever changes the row holds it until the commit, so of any number of calls
            # one finds it open with a right code, and no wrong one goes uncounted. A SELECT first and an UPDATE after
            # would let a hundred workers all read "open, 0 attempts" before the first of them writes.
            if connection.dialect.update_returning:
                row = connection.execute(returning_gate, values).first()
            else:
                passed = connection.execute(gate, values).rowcount
                row = connection.execute(self._challenge, {"_id": challenge_id}).first() if passed else None
            if row is not None:
                accepted = row.state == State.VERIFIED.value
                return Attempt(Outcome.ACCEPTED if accepted else Outcome.WRONG, row.attempts)
            row = connection.execute(self._codes, {"_id": challenge_id}).first()
            if row is None:
                return Attempt(Outcome.MISSING)
            if row.state != State.OPEN.value:
                again = row.state == State.VERIFIED.value and _is_among(row, digests, to_milliseconds(now))
                return Attempt(Outcome.SPENT, row.attempts, again)
            return Attempt(Outcome.EXHAUSTED if row.attempts >= max_attempts else Outcome.EXPIRED, row.attempts)

        return self.database.run(work, single=self.database.engine.dialect.update_returning)

    def complete(self, challenge_id: str, session: SessionRecord, *, now: datetime) -> bool:
        values = {"_id": challenge_id, "now": to_milliseconds(now)}

        def work(connection: Connection) -> bool:
            if not connection.execute(self._complete, values).rowcount:
                return False
            connection.execute(self._add_session, _session_values(session))
            return True

        return self.database.run(work)

    # Sessions

    def get_session(self, session_id: str, *, now: datetime) -> SessionRecord | None:
        row = self.database.first(self._session, {"_id": session_id, "now": to_milliseconds(now)})
        return _session(row) if row else None

    def list_sessions(self, user_id: str, *, now: datetime) -> list[SessionRecord]:
        table = self._sessions
        statement = (
            sa.select(table)
            .where(table.c.user_id == user_id, table.c.expires_at > to_milliseconds(now))
            .order_by(table.c.seen_at.desc())
        )
        return [_session(row) for row in self.database.all(statement)]

    def touch_session(self, session_id: str, *, seen_at: datetime, expires_at: datetime) -> None:
        table = self._sessions
        seen = to_milliseconds(seen_at)
        statement = sa.update(table).where(table.c.id == session_id, table.c.expires_at > seen)
        self.database.change(statement.values(seen_at=seen, expires_at=to_milliseconds(expires_at)))

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
        return bool(self.database.change(statement))

    def save_user(self, user: User, *, now: datetime) -> None:
        table = self._sessions
        values = {"snapshot": snapshot.dump(user), "refreshed_at": to_milliseconds(now), "claimed_until": 0}
        self.database.change(sa.update(table).where(table.c.user_id == user.id).values(values))

    def end_session(self, session_id: str) -> bool:
        return bool(self.database.change(sa.delete(self._sessions).where(self._sessions.c.id == session_id)))

    def end_sessions(self, user_id: str, *, keep: str | None = None) -> list[str]:
        table = self._sessions
        theirs = sa.and_(table.c.user_id == user_id, table.c.id != (keep or ""))

        def work(connection: Connection) -> list[str]:
            if connection.dialect.delete_returning:
                return list(connection.execute(sa.delete(table).where(theirs).returning(table.c.id)).scalars())
            ids = list(connection.execute(sa.select(table.c.id).where(theirs).with_for_update()).scalars())
            connection.execute(sa.delete(table).where(table.c.id.in_(ids)))
            return ids

        return self.database.run(work)

    # Care

    def connected(self) -> AbstractContextManager[None]:
        return self.database.connected()

    def setup(self) -> None:
        self.database.create_tables()

    def close(self) -> None:
        self.database.close()

    def ping(self) -> None:
        # The tables too, not only the server: a database without them serves nobody.
        for table in (self._challenges, self._sessions, self._counters):
            (key,) = table.primary_key
            self.database.first(sa.select(key).where(key == ""))

    def purge(self, *, now: datetime, limit: int = 1000) -> int:
        forgotten = 0
        for table in (self._challenges, self._sessions, self._counters):
            forgotten += self._purge(table, to_milliseconds(now), limit - forgotten)
        return forgotten

    def limits_storage(self) -> LimitsStorage:
        return SQLAlchemyStorage(database=self.database)

    def _purge(self, table: sa.Table, now: int, limit: int) -> int:
        (key,) = table.primary_key
        expired = table.c.expires_at <= now
        forgotten = 0
        # In batches, each a transaction of its own, so that no lock is held for long.
        while forgotten < limit:
            size = min(limit - forgotten, _BATCH)
            oldest = sa.select(key).where(expired).order_by(table.c.expires_at).limit(size)
            keys = [row[0] for row in self.database.all(oldest)]
            if keys:
                # Once more with the condition: a session may have been used since we looked.
                forgotten += self.database.change(sa.delete(table).where(key.in_(sorted(keys)), expired))
            if len(keys) < size:
                break
        return forgotten


def _gates(table: sa.Table, digests: int) -> tuple[sa.Update, sa.sql.dml.ReturningUpdate[Any]]:
    gate = tables.gate(table, digests)
    return gate, gate.returning(table.c.state, table.c.attempts)


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


def _is_among(row: Row[Any], digests: Sequence[str], now: int) -> bool:
    codes = (
        (row._mapping[f"digest_{slot}"], row._mapping[f"digest_{slot}_expires_at"]) for slot in range(1, MAX_CODES + 1)
    )
    return any(digest in digests and expires_at > now for digest, expires_at in codes if digest is not None)


def _session_values(record: SessionRecord) -> dict[str, object]:
    return {
        "id": record.id,
        "user_id": record.user.id,
        "snapshot": snapshot.dump(record.user),
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
        user=snapshot.load(row.snapshot),
        created_at=from_milliseconds(row.created_at),
        seen_at=from_milliseconds(row.seen_at),
        refreshed_at=from_milliseconds(row.refreshed_at),
        ends_at=from_milliseconds(row.ends_at),
        expires_at=from_milliseconds(row.expires_at),
        ip=row.ip,
        user_agent=row.user_agent,
    )
