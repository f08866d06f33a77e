"""Passkeys in a SQL database: one table. The UPDATE itself compares the counter."""

from __future__ import annotations

from abc import abstractmethod
from datetime import datetime
from typing import TYPE_CHECKING

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from ..clock import to_milliseconds
from .database import Database
from .inserts import insert_unless_there
from .passkeys import Added, Passkey, PasskeyStore, Used
from .records import SessionRecord

if TYPE_CHECKING:
    from .events import Event


class SQLPasskeys(PasskeyStore):
    """The part of the store in a SQL database that keeps passkeys."""

    database: Database
    _passkeys: sa.Table

    @abstractmethod
    def _spend(self, connection: Connection, name: str, now: datetime, until: datetime) -> bool: ...

    @abstractmethod
    def _insert_session(self, connection: Connection, session: SessionRecord, event: Event | None) -> None: ...

    def add_passkey(self, passkey: Passkey, *, nonce: str, nonce_until: datetime, now: datetime, limit: int) -> Added:
        table = self._passkeys
        theirs = sa.select(table.c.id).where(table.c.user_id == passkey.user_id)

        def work(connection: Connection) -> Added:
            if not self._spend(connection, nonce, now, nonce_until):
                return Added.REPLAYED
            # The lock makes a second request wait, so that two of them cannot exceed the limit together.
            connection.execute(theirs.with_for_update()).all()
            ids = connection.execute(theirs).all()  # read again after the wait, with what the other request has added
            if connection.execute(sa.select(table.c.id).where(table.c.id == passkey.id)).first():
                return Added.TAKEN
            if len(ids) >= limit:
                return Added.FULL
            added = connection.execute(insert_unless_there(connection, table).values(_values(passkey))).rowcount
            return Added.ADDED if added else Added.TAKEN

        return self.database.run(work)

    def use_passkey(
        self,
        passkey_id: str,
        session: SessionRecord,
        *,
        sign_count: int,
        backed_up: bool,
        nonce: str,
        nonce_until: datetime,
        now: datetime,
        event: Event | None = None,
    ) -> Used:
        table = self._passkeys
        theirs = sa.and_(table.c.id == passkey_id, table.c.user_id == session.user.id)
        higher = table.c.sign_count < sign_count
        if sign_count == 0:
            higher = table.c.sign_count == 0
        use = sa.update(table).where(theirs, table.c.gone_at.is_(None), sa.or_(table.c.synced == 1, higher))
        use = use.values(sign_count=sign_count, backed_up=int(backed_up), used_at=to_milliseconds(now))

        def work(connection: Connection) -> Used:
            if not self._spend(connection, nonce, now, nonce_until):
                return Used.REPLAYED
            if not connection.execute(use).rowcount:
                there = connection.execute(sa.select(table.c.gone_at).where(theirs)).first()
                if there is None:
                    return Used.MISSING
                return Used.CLONED if there.gone_at is None else Used.GONE
            self._insert_session(connection, session, event)
            return Used.ACCEPTED

        return self.database.run(work)

    def get_passkey(self, passkey_id: str) -> Passkey | None:
        row = self.database.first(sa.select(self._passkeys).where(self._passkeys.c.id == passkey_id))
        return Passkey.from_json(row._asdict()) if row else None

    def list_passkeys(self, user_id: str) -> list[Passkey]:
        table = self._passkeys
        statement = sa.select(table).where(table.c.user_id == user_id).order_by(table.c.created_at, table.c.id)
        return [Passkey.from_json(row._asdict()) for row in self.database.all(statement)]

    def rename_passkey(self, passkey_id: str, name: str, *, user_id: str) -> bool:
        table = self._passkeys
        statement = sa.update(table).where(table.c.id == passkey_id, table.c.user_id == user_id)
        return bool(self.database.change(statement.values(name=name[:64])))

    def remove_passkey(self, passkey_id: str, *, user_id: str) -> bool:
        table = self._passkeys
        return bool(self.database.change(sa.delete(table).where(table.c.id == passkey_id, table.c.user_id == user_id)))

    def remove_passkeys(self, user_id: str) -> int:
        return self.database.change(sa.delete(self._passkeys).where(self._passkeys.c.user_id == user_id))

    def mark_passkeys(self, user_id: str, *, gone_at: datetime | None) -> None:
        table = self._passkeys
        statement = sa.update(table).where(table.c.user_id == user_id)
        statement = statement.where(table.c.gone_at.is_(None) if gone_at else table.c.gone_at.is_not(None))
        self.database.change(statement.values(gone_at=to_milliseconds(gone_at) if gone_at else None))

    def gone_passkeys(self, *, before: datetime, limit: int = 100) -> list[str]:
        table = self._passkeys
        gone = table.c.gone_at < to_milliseconds(before)
        rows = self.database.all(sa.select(table.c.user_id).where(gone).group_by(table.c.user_id).limit(limit))
        return [row.user_id for row in rows]


def _values(passkey: Passkey) -> dict[str, object]:
    record = passkey.to_json()
    record.update(synced=int(passkey.synced), backed_up=int(passkey.backed_up))
    for key, room in (("name", 64), ("aaguid", 36), ("transports", 120)):
        record[key] = record[key][:room]
    return record
