"""Passkeys in Redis: a hash for each, and a sorted set of ids for each account."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from ..clock import to_milliseconds
from .passkeys import Added, Passkey, PasskeyStore, Used
from .records import KEPT, SessionRecord, spent_key
from .redis_values import fields, flat, text

if TYPE_CHECKING:
    from collections.abc import Callable

    from .events import Event


class RedisPasskeys(PasskeyStore):
    """The part of the store in Redis that keeps passkeys."""

    _prefix: str
    _ask: Callable[..., Any]
    _run: Callable[..., Any]
    _session_parts: Callable[..., tuple[list[str], list[str | int]]]

    def add_passkey(self, passkey: Passkey, *, nonce: str, nonce_until: datetime, now: datetime, limit: int) -> Added:
        record = passkey.to_json()
        keys = [self._passkey_key(passkey.id), self._passkeys_key(passkey.user_id), self._prefix + spent_key(nonce)]
        created_at = to_milliseconds(passkey.created_at)
        spent = _spent(now, nonce_until)
        answer = self._run("add_passkey", keys, limit, created_at, passkey.id, *flat(record), *spent)
        return Added(text(answer))

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
        session_keys, session_arguments = self._session_parts(session, now, event)
        keys = [self._passkey_key(passkey_id), *session_keys, self._prefix + spent_key(nonce)]
        using = [session.user.id, sign_count, int(backed_up), to_milliseconds(now)]
        answer = self._run("use_passkey", keys, *using, *session_arguments, *_spent(now, nonce_until))
        return Used(text(answer))

    def get_passkey(self, passkey_id: str) -> Passkey | None:
        record = fields(self._ask("hgetall", self._passkey_key(passkey_id)))
        return Passkey.from_json(record) if record else None

    def list_passkeys(self, user_id: str) -> list[Passkey]:
        ids = self._ask("zrange", self._passkeys_key(user_id), 0, -1)
        found = [self.get_passkey(text(id)) for id in ids]
        return sorted((each for each in found if each), key=lambda each: each.created_at)

    def rename_passkey(self, passkey_id: str, name: str, *, user_id: str) -> bool:
        return self._change_passkey(passkey_id, user_id, "name", name)

    def remove_passkey(self, passkey_id: str, *, user_id: str) -> bool:
        return self._change_passkey(passkey_id, user_id, "", "")

    def _change_passkey(self, passkey_id: str, user_id: str, field: str, value: str) -> bool:
        keys = [self._passkey_key(passkey_id), self._passkeys_key(user_id)]
        return bool(self._run("change_passkey", keys, user_id, passkey_id, field, value))

    def remove_passkeys(self, user_id: str) -> int:
        keys = [self._passkeys_key(user_id), self._gone_key()]
        return int(self._run("remove_passkeys", keys, self._passkey_key(""), user_id))

    def mark_passkeys(self, user_id: str, *, gone_at: datetime | None) -> None:
        keys = [self._passkeys_key(user_id), self._gone_key()]
        self._run("mark_passkeys", keys, self._passkey_key(""), user_id, to_milliseconds(gone_at) if gone_at else "")

    def gone_passkeys(self, *, before: datetime, limit: int = 100) -> list[str]:
        newest = f"({to_milliseconds(before)}"
        gone = self._ask("zrangebyscore", self._gone_key(), "-inf", newest, start=0, num=limit)
        return [text(each) for each in gone]

    def _passkey_key(self, id: str) -> str:
        return f"{self._prefix}passkey:{id}"

    def _passkeys_key(self, user_id: str) -> str:
        return f"{self._prefix}passkeys:{user_id}"

    def _gone_key(self) -> str:
        return f"{self._prefix}gone"


def _spent(now: datetime, until: datetime) -> list[int]:
    # The clock that `until` comes from may be slow, and Redis must not forget the nonce before that clock says so.
    return [to_milliseconds(now), to_milliseconds(until), to_milliseconds(until + KEPT) - to_milliseconds(now)]
