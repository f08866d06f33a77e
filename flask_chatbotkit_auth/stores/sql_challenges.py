"""Challenges in a SQL database: one row for each, and every change of its state is one UPDATE."""

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
from . import tables
from .database import Database
from .records import CLAIM_LASTS, MAX_CODES, Attempt, Challenge, Outcome, SessionRecord, State
from .sql_sessions import SQLSessions

if TYPE_CHECKING:
    from .events import Event

_AT_WORK = 16
"""How many sign-ins of one account can run at once without seeing each other's sessions."""


class SQLChallenges(SQLSessions):
    """The part of the store in a SQL database that keeps challenges, above its sessions: the end of a challenge adds one."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self._challenges = challenges = tables.challenges(database)
        # As with the sessions, these statements are built once.
        self._add_challenge = sa.insert(challenges)
        self._add_code = tables.add_code(challenges)
        self._withdraw_code = tables.withdraw_code(challenges)
        self._gates = cache(partial(_gates, challenges))
        self._accept = tables.accept(challenges)
        self._count_try = tables.count_try(challenges)
        without_digests = [column for column in challenges.c if not column.name.startswith("digest_")]
        self._challenge = sa.select(*without_digests).where(challenges.c.id == sa.bindparam("_id"))
        self._codes = sa.select(challenges).where(challenges.c.id == sa.bindparam("_id"))
        self._complete = tables.complete(challenges)
        self._count_sessions = sa.select(sa.func.count()).select_from(self._sessions).where(self._theirs)
        self._completing_count = self._complete.returning(self._count_sessions.scalar_subquery())

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
        values.update({f"candidate_{position}": digest for position, digest in enumerate(digests)})
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

        def work(connection: Connection) -> bool | None:
            if max_sessions is None:
                if not connection.execute(self._complete, values).rowcount:
                    return None
                self._insert_session(connection, session, event)
                return False
            there = self._complete_and_count(connection, values)
            if there is None:
                return None
            alone = connection.dialect.name == "sqlite"  # it has one writer at a time, so that the count is exact
            crowded = there >= max_sessions if alone else there > max_sessions - _AT_WORK
            if crowded:
                # Another sign-in of the same account waits here. Afterwards it sees the session that this one has added.
                connection.execute(self._lock_sessions, values)
            self._insert_session(connection, session, event)
            if crowded:
                self._end(connection, self._oldest(session.user.id, max_sessions, now, session.id))
            return crowded and not alone

        unsure = self.database.run(work)
        if unsure and max_sessions is not None:
            # Two sign-ins do not see each other where there was no session to wait for, nor where an application's engine
            # reads what there was when it began. The one that looks last sees both.
            with suppress(StoreError):  # the sign-in is done, and the next one looks again
                self.end_oldest_sessions(session.user.id, keep=max_sessions, now=now)
        return unsure is not None

    def _complete_and_count(self, connection: Connection, values: Mapping[str, object]) -> int | None:
        """Complete a verified challenge. Return how many sessions the user has, or ``None`` if it could not be completed."""
        if connection.dialect.update_returning:
            count: int | None = connection.execute(self._completing_count, values).scalar()
            return count
        if not connection.execute(self._complete, values).rowcount:
            return None
        return int(connection.execute(self._count_sessions, values).scalar_one())


def _gates(table: sa.Table, digests: int) -> tuple[sa.Update, sa.sql.dml.ReturningUpdate[Any]]:
    gate = tables.gate(table, digests)
    return gate, gate.returning(table.c.state, table.c.attempts)


def _is_among(row: Row[Any], digests: Sequence[str], now: int) -> bool:
    codes = (
        (row._mapping[f"digest_{slot}"], row._mapping[f"digest_{slot}_expires_at"]) for slot in range(1, MAX_CODES + 1)
    )
    return any(digest in digests and expires_at > now for digest, expires_at in codes if digest is not None)
