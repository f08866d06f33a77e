"""The store in a SQL database: SQLite, PostgreSQL, MariaDB or MySQL."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from functools import cache, partial
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from ..clock import to_milliseconds
from ..exceptions import StoreError
from ..user import User
from . import tables
from .base import Store
from .database import Database
from .inserts import insert_unless_there
from .limits import SQLAlchemyStorage, counters
from .records import CLAIM_LASTS, MAX_CODES, Attempt, Challenge, Outcome, SessionRecord, State, snapshot_of, spent_id
from .sql_events import SQLEvents
from .sql_passkeys import SQLPasskeys

if TYPE_CHECKING:
    from limits.storage import Storage as LimitsStorage

    from .events import Event

_BATCH = 200

_AT_WORK = 16
"""How many sign-ins of one account can run at once without seeing each other's sessions."""

_MANY = 1000
"""The most sessions of one account that are ended at once, to make room for a new one."""


class SQLAlchemyStore(SQLPasskeys, SQLEvents, Store):
    """Stores everything in seven tables, whose names begin with ``chatbotkit_auth_``.

    The tables are created at the first use. With a Flask-SQLAlchemy ``db``, they are added to its metadata instead, and the
    application creates them with its migrations or ``db.create_all()``.

    :param bind: a database URL, a SQLAlchemy ``Engine``, or a Flask-SQLAlchemy ``db``.
    :param pool: the most connections that a worker can hold at once, if ``bind`` is a URL.
    :raises ConfigurationError: the URL is wrong, or its driver is not installed. The text names the extra to install.
    """

    def __init__(self, bind: object, *, pool: int = 5) -> None:
        self.database: Database = Database(bind, pool=pool)
        self._challenges = challenges = tables.challenges(self.database)
        self._sessions = sessions = tables.sessions(self.database)
        self._spent = tables.spent(self.database)
        self._counters = counters(self.database)
        self._passkeys = tables.passkeys(self.database)
        self._events = tables.events(self.database)
        self._schema = tables.schema(self.database)
        # These statements are built once, so that SQLAlchemy compiles each of them once.
        self._add_challenge = sa.insert(challenges)
        self._add_code = tables.add_code(challenges)
        self._withdraw_code = tables.withdraw_code(challenges)
        self._gates = cache(partial(_gates, challenges))
        self._accept = tables.accept(challenges)
        self._count_try = tables.count_try(challenges)
        self._complete = tables.complete(challenges)
        theirs = sessions.c.user_id == sa.bindparam("_user_id")
        self._count_sessions = sa.select(sa.func.count()).select_from(sessions).where(theirs)
        self._completing_count = self._complete.returning(self._count_sessions.scalar_subquery())
        self._lock_sessions = sa.select(sessions.c.id).where(theirs).order_by(sessions.c.id).with_for_update()
        self._touch = cache(partial(tables.touch, sessions))
        self._add_session = sa.insert(sessions)
        without_digests = [column for column in challenges.c if not column.name.startswith("digest_")]
        self._challenge = sa.select(*without_digests).where(challenges.c.id == sa.bindparam("_id"))
        self._codes = sa.select(challenges).where(challenges.c.id == sa.bindparam("_id"))
        self._session = sa.select(sessions).where(
            sessions.c.id == sa.bindparam("_id"), sessions.c.expires_at > sa.bindparam("now")
        )

    # Challenges

    def add_challenge(self, challenge: Challenge, digest: str) -> None:
        until = to_milliseconds(challenge.expires_at)
        values = {**challenge.to_json(), "digest_1": digest, "digest_1_expires_at": until}
        self.database.change(self._add_challenge, values)

    def get_challenge(self, challenge_id: str) -> Challenge | None:
        row = self.database.first(self._challenge, {"_id": challenge_id})
        return Challenge.from_json(row._asdict()) if row else None

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
        digests, moment = digests or [""], to_milliseconds(now)
        values: dict[str, object] = {"_id": challenge_id, "now": moment, "max_attempts": max_attempts}
        values.update({f"given_{position}": digest for position, digest in enumerate(digests)})
        gate, returning_gate = self._gates(len(digests))

        def work(connection: Connection) -> Attempt:
            # The gate is this one UPDATE. It locks the row until the commit. So of any number of calls with a right code,
            # one finds the challenge open, and each wrong code is counted. With a SELECT and then an UPDATE, a hundred
            # workers could all read "open, 0 attempts" before the first of them writes.
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
                again = Challenge.from_json(row._asdict()).is_verified(now) and _is_among(row, digests, moment)
                return Attempt(Outcome.SPENT, row.attempts, again)
            return Attempt(Outcome.EXHAUSTED if row.attempts >= max_attempts else Outcome.EXPIRED, row.attempts)

        return self.database.run(work, single=self.database.engine.dialect.update_returning)

    def accept_challenge(self, challenge_id: str, *, now: datetime, max_attempts: int) -> Attempt:
        moment = to_milliseconds(now)
        values = {"_id": challenge_id, "now": moment, "max_attempts": max_attempts}
        accepted = self.database.change(self._accept, values)
        row = self.database.first(self._challenge, {"_id": challenge_id})
        if row is None:
            return Attempt(Outcome.MISSING)
        if accepted:
            return Attempt(Outcome.ACCEPTED, row.attempts)
        if row.state != State.OPEN.value:
            free = Challenge.from_json(row._asdict()).is_verified(now)
            return Attempt(Outcome.SPENT, row.attempts, free and row.expires_at > moment)
        return Attempt(Outcome.EXHAUSTED if row.attempts >= max_attempts else Outcome.EXPIRED, row.attempts)

    def count_try(self, challenge_id: str, *, now: datetime, max_tries: int) -> bool:
        return self._count(challenge_id, now, max_tries, 0)

    def claim(self, challenge_id: str, *, now: datetime, max_tries: int) -> bool:
        return self._count(challenge_id, now, max_tries, to_milliseconds(now + CLAIM_LASTS))

    def _count(self, challenge_id: str, now: datetime, max_tries: int, until: int) -> bool:
        values = {"_id": challenge_id, "now": to_milliseconds(now), "max_tries": max_tries, "until": until}
        return bool(self.database.change(self._count_try, values))

    def unclaim(self, challenge_id: str) -> None:
        self.database.change(tables.leave_claim(self._challenges, State.VERIFIED), {"_id": challenge_id})

    def finish(self, challenge_id: str) -> bool:
        return bool(self.database.change(tables.leave_claim(self._challenges, State.COMPLETED), {"_id": challenge_id}))

    def end_challenge(self, challenge_id: str) -> bool:
        return bool(self.database.change(tables.end(self._challenges), {"_id": challenge_id}))

    def end_challenges(self, identifier: str, *, now: datetime) -> int:
        table = self._challenges
        pending = sa.and_(
            table.c.identifier == identifier,
            table.c.expires_at > to_milliseconds(now),
            table.c.state != State.COMPLETED.value,
        )
        return self.database.change(sa.update(table).where(pending).values(state=State.COMPLETED.value))

    def complete(
        self,
        challenge_id: str,
        session: SessionRecord,
        *,
        now: datetime,
        event: Event | None = None,
        max_sessions: int | None = None,
    ) -> bool:
        values = {"_id": challenge_id, "now": to_milliseconds(now), "_user_id": session.user.id}
        lasts = self._sessions.c.expires_at > to_milliseconds(now)

        def work(connection: Connection) -> bool | None:
            if max_sessions is None:
                if not connection.execute(self._complete, values).rowcount:
                    return None
                self._insert_session(connection, session, event)
                return False
            there = self._complete_and_count(connection, values)
            if there is None:
                return None
            crowded = there > max_sessions - _AT_WORK
            if crowded:
                # Another sign-in of the same account waits here. Afterwards it sees the session that this one has added.
                connection.execute(self._lock_sessions, values)
            self._insert_session(connection, session, event)
            if crowded:
                others = self._oldest(session.user.id, max_sessions - 1).where(lasts, self._sessions.c.id != session.id)
                if ids := connection.execute(others).scalars().all():
                    connection.execute(sa.delete(self._sessions).where(self._sessions.c.id.in_(sorted(ids))))
            return crowded

        crowded = self.database.run(work)
        if crowded and max_sessions is not None:
            # Two sign-ins do not see each other where there was no session to wait for, nor where an application's engine
            # reads what there was when it began. The one that looks last sees both.
            with suppress(StoreError):  # the sign-in is done, and the next one looks again
                for row in self.database.all(self._oldest(session.user.id, max_sessions).where(lasts)):
                    self.end_session(row.id)
        return crowded is not None

    def _complete_and_count(self, connection: Connection, values: Mapping[str, object]) -> int | None:
        """Complete a verified challenge. Return how many sessions the user has, or ``None`` if it could not be completed."""
        if connection.dialect.update_returning:
            count: int | None = connection.execute(self._completing_count, values).scalar()
            return count
        if not connection.execute(self._complete, values).rowcount:
            return None
        return int(connection.execute(self._count_sessions, values).scalar_one())

    def _insert_session(self, connection: Connection, session: SessionRecord, event: Event | None) -> None:
        """Add a session, and its event if there is one, in a transaction."""
        connection.execute(self._add_session, _session_values(session))
        if event is not None:
            connection.execute(sa.insert(self._events), event.to_json())

    # Sessions

    def add_session(self, session: SessionRecord, *, now: datetime) -> None:
        self.database.change(self._add_session, _session_values(session))

    def get_session(self, session_id: str, *, now: datetime) -> SessionRecord | None:
        row = self.database.first(self._session, {"_id": session_id, "now": to_milliseconds(now)})
        return SessionRecord.from_json(row._asdict()) if row else None

    def list_sessions(self, user_id: str, *, now: datetime, limit: int | None = None) -> list[SessionRecord]:
        table = self._sessions
        statement = sa.select(table).where(self._live(user_id, now)).order_by(table.c.seen_at.desc()).limit(limit)
        return [SessionRecord.from_json(row._asdict()) for row in self.database.all(statement)]

    def count_sessions(self, user_id: str, *, now: datetime) -> int:
        statement = sa.select(sa.func.count()).select_from(self._sessions).where(self._live(user_id, now))
        row = self.database.first(statement)
        return int(row[0]) if row else 0

    def _live(self, user_id: str, now: datetime) -> sa.ColumnElement[bool]:
        table = self._sessions
        return sa.and_(table.c.user_id == user_id, table.c.expires_at > to_milliseconds(now))

    def touch_session(self, session_id: str, *, seen_at: datetime, expires_at: datetime, ip: str | None = None) -> None:
        until = to_milliseconds(expires_at)
        values = {"_id": session_id, "seen": to_milliseconds(seen_at), "until": until, "day": until // tables.DAY}
        self.database.change(
            self._touch(self.database.engine.dialect.name), {**values, "address": ip[:45] if ip else None}
        )

    def stamp_session(self, session_id: str, *, audience: str, adapter: str) -> None:
        table = self._sessions
        statement = sa.update(table).where(table.c.id == session_id, table.c.audience.is_(None))
        self.database.change(statement.values(audience=audience, adapter=adapter))

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
        values = {"snapshot": snapshot_of(user), "refreshed_at": to_milliseconds(now), "claimed_until": 0}
        self.database.change(sa.update(table).where(table.c.user_id == user.id).values(values))

    def end_session(self, session_id: str, *, user_id: str | None = None) -> bool:
        table = self._sessions
        statement = sa.delete(table).where(table.c.id == session_id)
        if user_id is not None:
            statement = statement.where(table.c.user_id == user_id)
        return bool(self.database.change(statement))

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

    def end_oldest_sessions(self, user_id: str, *, keep: int) -> list[str]:
        ids = [row.id for row in self.database.all(self._oldest(user_id, keep))]
        return [id for id in ids if self.end_session(id)]

    def _oldest(self, user_id: str, keep: int) -> sa.Select[tuple[str]]:
        table = self._sessions
        theirs = sa.select(table.c.id).where(table.c.user_id == user_id)
        return theirs.order_by(table.c.created_at.desc(), table.c.id).offset(keep).limit(_MANY)

    def end_all_sessions(self) -> int:
        return self.database.change(sa.delete(self._sessions))

    # Leases, and things that work once

    def lease(self, name: str, *, now: datetime, until: datetime) -> bool:
        return self.database.run(lambda connection: self._spend(connection, name, now, until))

    def _spend(self, connection: Connection, name: str, now: datetime, until: datetime) -> bool:
        """Mark a name as used. Return whether it was free. Wait for another transaction that does the same."""
        table = self._spent
        values = {"id": spent_id(name), "expires_at": to_milliseconds(until)}
        over = sa.update(table).where(table.c.id == values["id"], table.c.expires_at <= to_milliseconds(now))
        if connection.execute(over.values(expires_at=values["expires_at"])).rowcount:
            return True
        return bool(connection.execute(insert_unless_there(connection, table).values(values)).rowcount)

    def release(self, name: str, *, until: datetime) -> None:
        table = self._spent
        mine = sa.and_(table.c.id == spent_id(name), table.c.expires_at == to_milliseconds(until))
        self.database.change(sa.delete(table).where(mine))

    # Maintenance

    def setup(self) -> None:
        self.database.create_tables()

    def close(self) -> None:
        self.database.close()

    def ping(self) -> None:
        # Each table is read with every column, since the store does not work without them.
        for table in self.database.metadata.tables.values():
            if table.name.startswith("chatbotkit_auth_"):
                (key,) = table.primary_key
                nobody = -1 if isinstance(key.type, sa.Integer) else ""
                self.database.first(sa.select(table).where(key == nobody))

    def purge(self, *, now: datetime, limit: int = 1000) -> int:
        moment = to_milliseconds(now)
        forgotten = 0
        for table in (self._challenges, self._counters, self._spent):
            found = sa.select(*table.primary_key).order_by(table.c.expires_at)
            forgotten += self._purge(table, found, moment, limit - forgotten)
        ids, day = self._sessions.c.id, self._sessions.c.expires_day
        # Sessions from 0.1 have no day.
        for due in (day <= moment // tables.DAY, day.is_(None)):
            forgotten += self._purge(self._sessions, sa.select(ids).where(due).order_by(day), moment, limit - forgotten)
        return forgotten

    def limits_storage(self) -> LimitsStorage:
        return SQLAlchemyStorage(database=self.database)

    def _purge(self, table: sa.Table, found: sa.Select[Any], now: int, limit: int) -> int:
        (key,) = table.primary_key
        expired = table.c.expires_at <= now
        forgotten = 0
        # Each batch is its own transaction, so that no lock is held for long.
        while forgotten < limit:
            size = min(limit - forgotten, _BATCH)
            keys = [row[0] for row in self.database.all(found.where(expired).limit(size))]
            if keys:
                # The condition is repeated, since a session may have been used after the SELECT.
                forgotten += self.database.change(sa.delete(table).where(key.in_(sorted(keys)), expired))
            if len(keys) < size:
                break
        return forgotten


def _gates(table: sa.Table, digests: int) -> tuple[sa.Update, sa.sql.dml.ReturningUpdate[Any]]:
    gate = tables.gate(table, digests)
    return gate, gate.returning(table.c.state, table.c.attempts)


def _is_among(row: Row[Any], digests: Sequence[str], now: int) -> bool:
    codes = (
        (row._mapping[f"digest_{slot}"], row._mapping[f"digest_{slot}_expires_at"]) for slot in range(1, MAX_CODES + 1)
    )
    return any(digest in digests and expires_at > now for digest, expires_at in codes if digest is not None)


def _session_values(record: SessionRecord) -> dict[str, object]:
    values = {**record.to_json(), "claimed_until": 0, "expires_day": to_milliseconds(record.expires_at) // tables.DAY}
    # Text from a client is cut to the length of the column.
    for key, room in (("ip", 45), ("user_agent", 400), ("name", 64)):
        values[key] = values[key] and values[key][:room]
    return values
