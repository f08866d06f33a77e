"""One step of a document store: the documents that it reads, and the changes that it makes all at once."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from ..clock import EPOCH, from_milliseconds, to_milliseconds
from .records import KEPT, Challenge, SessionRecord, spent_key

if TYPE_CHECKING:
    from .documents import DocumentStore


class Change(NamedTuple):
    """A change of one document."""

    old: str | None
    """The text that the document must have; ``None`` if it must not exist."""

    new: str | None
    """The text afterwards; ``None`` to delete the document."""

    expires_at: datetime
    """When the back end can delete it."""


class Step:
    """One step: the documents that it has read, and its changes."""

    def __init__(self, store: DocumentStore) -> None:
        self.changes: dict[str, Change] = {}
        self._store = store
        self._found: dict[str, str | None] = {}

    def read(self, key: str) -> Any:
        """Return the document under a key, with the changes of this step, or ``None``."""
        if key in self.changes:
            text = self.changes[key].new
        else:
            if key not in self._found:
                self._found[key] = self._store.read(key)
            text = self._found[key]
        return None if text is None else json.loads(text)

    def ids(self, key: str) -> list[str]:
        """Return the list under a key; an empty list if there is none."""
        return list(self.read(key) or ())

    def write(self, key: str, document: object, expires_at: datetime) -> None:
        """Change the document under a key at the end of the step, if nobody else has changed it."""
        self.read(key)
        self.changes[key] = Change(self._found.get(key), json.dumps(document, separators=(",", ":")), expires_at)

    def remove(self, key: str) -> None:
        """Delete the document under a key at the end of the step, if nobody else has changed it."""
        self.read(key)
        self.changes[key] = Change(self._found.get(key), None, EPOCH)

    def challenge(self, id: str) -> tuple[Challenge | None, Sequence[Any]]:
        """Return a challenge and its codes, the newest first: pairs of digest and expiry."""
        record = self.read(f"challenge:{id}")
        return (Challenge.from_json(record), record["codes"]) if record else (None, [])

    def verified(self, id: str, now: datetime) -> tuple[Challenge | None, Sequence[Any]]:
        """Return a challenge that is verified, not claimed and not expired, and its codes."""
        challenge, codes = self.challenge(id)
        if challenge is None or not challenge.is_verified(now) or challenge.expires_at <= now:
            return None, []
        return challenge, codes

    def save(self, challenge: Challenge, codes: Sequence[Any]) -> None:
        """Write a challenge."""
        self.write(f"challenge:{challenge.id}", {**challenge.to_json(), "codes": codes}, challenge.expires_at + KEPT)

    def session(self, id: str) -> tuple[SessionRecord | None, int]:
        """Return a session, and the time until which its refresh is claimed."""
        record = self.read(f"session:{id}")
        return (SessionRecord.from_json(record), record["claimed_until"]) if record else (None, 0)

    def sessions(self, user_id: str) -> Iterable[SessionRecord]:
        """Return the sessions of a user."""
        found = (self.session(id)[0] for id in self.ids(f"user:{user_id}"))
        return [each for each in found if each is not None]

    def save_session(self, record: SessionRecord, claimed_until: int = 0) -> None:
        """Write a session."""
        document = {**record.to_json(), "claimed_until": claimed_until}
        self.write(f"session:{record.id}", document, record.expires_at)

    def spend(self, name: str, now: datetime, until: datetime) -> bool:
        """Mark a name as used until then. Return whether it was unused."""
        held = self.read(spent_key(name))
        if held is not None and from_milliseconds(held) > now:
            return False
        self.write(spent_key(name), to_milliseconds(until), until)
        return True

    def add_session(self, record: SessionRecord) -> None:
        """Write a new session, and add it to the list of its user."""
        self.save_session(record)
        key = f"user:{record.user.id}"
        others = [each for each in self.sessions(record.user.id) if each.id != record.id]
        ends_at = max([record.ends_at, *(each.ends_at for each in others)])
        self.write(key, [*(each.id for each in others), record.id], ends_at)

    def end_oldest(self, user_id: str, keep: int, *, spared: str | None = None, now: datetime = EPOCH) -> list[str]:
        """Remove the sessions of a user that were opened first, so that ``keep`` stay; return their ids.

        :param spared: the id of one that stays in any case.
        :param now: the sessions that have expired by then do not count.
        """
        if len(self.ids(f"user:{user_id}")) <= keep:
            return []
        newest_first = sorted(
            (each for each in self.sessions(user_id) if each.expires_at > now),
            key=lambda each: (each.id == spared, each.created_at),
            reverse=True,
        )
        return self.end_sessions(user_id, newest_first[keep:])

    def end_sessions(self, user_id: str, records: Iterable[SessionRecord]) -> list[str]:
        """Remove sessions of a user; return their ids."""
        ended = [each.id for each in records]
        for id in ended:
            self.remove(f"session:{id}")
        if ended:
            left = [each for each in self.sessions(user_id) if each.id not in ended]
            ends_at = max((each.ends_at for each in left), default=EPOCH)
            if left:
                self.write(f"user:{user_id}", [each.id for each in left], ends_at)
            else:
                self.remove(f"user:{user_id}")
        return ended
