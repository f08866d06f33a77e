"""Passkeys in a document store, for the memory store and for your own back end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from .documents import DocumentStore
from .passkeys import Added, Passkey, PasskeyStore, Used
from .records import SessionRecord
from .steps import Step

if TYPE_CHECKING:
    from .events import Event

_FOREVER = datetime.max.replace(tzinfo=UTC)


class DocumentPasskeys(DocumentStore, PasskeyStore):
    """A document store that also keeps passkeys: one document for each, and a list of ids for each account."""

    def add_passkey(self, passkey: Passkey, *, nonce: str, nonce_until: datetime, now: datetime, limit: int) -> Added:
        def decide(step: Step) -> Added:
            if not step.spend(nonce, now, nonce_until):
                return Added.REPLAYED
            if step.read(f"passkey:{passkey.id}"):
                return Added.TAKEN
            ids = step.ids(f"passkeys:{passkey.user_id}")
            if len(ids) >= limit:
                return Added.FULL
            _save(step, passkey)
            step.write(f"passkeys:{passkey.user_id}", [*ids, passkey.id], _FOREVER)
            return Added.ADDED

        return self.take(decide)

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
        def decide(step: Step) -> Used:
            if not step.spend(nonce, now, nonce_until):
                return Used.REPLAYED
            passkey = _find(step, passkey_id)
            if passkey is None or passkey.user_id != session.user.id:
                return Used.MISSING
            if passkey.gone_at is not None:
                return Used.GONE
            if not (passkey.synced or passkey.sign_count < sign_count or passkey.sign_count == sign_count == 0):
                return Used.CLONED
            _save(step, replace(passkey, sign_count=sign_count, backed_up=backed_up, used_at=now))
            step.add_session(session)
            self.remember(step, event)
            return Used.ACCEPTED

        return self.take(decide)

    def get_passkey(self, passkey_id: str) -> Passkey | None:
        return _find(Step(self), passkey_id)

    def list_passkeys(self, user_id: str) -> list[Passkey]:
        return _theirs(Step(self), user_id)

    def rename_passkey(self, passkey_id: str, name: str, *, user_id: str) -> bool:
        return self._change(passkey_id, user_id, lambda step, passkey: _save(step, replace(passkey, name=name)))

    def remove_passkey(self, passkey_id: str, *, user_id: str) -> bool:
        return self._change(passkey_id, user_id, lambda step, passkey: _remove(step, user_id, [passkey]))

    def remove_passkeys(self, user_id: str) -> int:
        def decide(step: Step) -> int:
            theirs = _theirs(step, user_id)
            _remove(step, user_id, theirs)
            return len(theirs)

        return self.take(decide)

    def mark_passkeys(self, user_id: str, *, gone_at: datetime | None) -> None:
        def decide(step: Step) -> None:
            for passkey in _theirs(step, user_id):
                if gone_at is None or passkey.gone_at is None:
                    _save(step, replace(passkey, gone_at=gone_at))

        self.take(decide)

    def gone_passkeys(self, *, before: datetime, limit: int = 100) -> list[str]:
        found: dict[str, None] = {}
        for key in self.keys("passkey:"):
            passkey = self.get_passkey(key.removeprefix("passkey:"))
            if passkey and passkey.gone_at and passkey.gone_at < before:
                found[passkey.user_id] = None
        return list(found)[:limit]

    def _change(self, passkey_id: str, user_id: str, change: Callable[[Step, Passkey], None]) -> bool:
        def decide(step: Step) -> bool:
            passkey = _find(step, passkey_id)
            if passkey is None or passkey.user_id != user_id:
                return False
            change(step, passkey)
            return True

        return self.take(decide)


def _find(step: Step, id: str) -> Passkey | None:
    record = step.read(f"passkey:{id}")
    return Passkey.from_json(record) if record else None


def _theirs(step: Step, user_id: str) -> list[Passkey]:
    found = (_find(step, id) for id in step.ids(f"passkeys:{user_id}"))
    return sorted((each for each in found if each), key=lambda each: each.created_at)


def _save(step: Step, passkey: Passkey) -> None:
    step.write(f"passkey:{passkey.id}", passkey.to_json(), _FOREVER)


def _remove(step: Step, user_id: str, passkeys: list[Passkey]) -> None:
    gone = {each.id for each in passkeys}
    for id in gone:
        step.remove(f"passkey:{id}")
    left = [id for id in step.ids(f"passkeys:{user_id}") if id not in gone]
    step.write(f"passkeys:{user_id}", left, _FOREVER)
