"""What a client has learned about the deployment behind it."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, field

_log = logging.getLogger("flask_chatbotkit_auth")

_RECENT_SECONDS = 60


@dataclass
class Deployment:
    """What is known of a deployment.

    A client shares it with the copies that :meth:`~.ChatBotKitClient.run_as` makes. Each process learns it again.
    """

    users_path: str | None = None
    """The name of the sub-account resource, ``"/user"`` or ``"/partner/user"``; ``None`` while it is unknown."""

    merges_meta: bool | None = None
    """Whether ``{"meta": {"$update": …}}`` merges; ``None`` before the first write."""

    ignored_filters: set[str] = field(default_factory=set)
    """The filters that lists are known to ignore."""

    _fetched: dict[str, float] = field(default_factory=dict)

    def note_ignored_filter(self, name: str, path: str) -> None:
        """Remember that a list ignores a filter, and log it once."""
        if name in self.ignored_filters:
            return
        self.ignored_filters.add(name)
        _log.warning(
            'the ChatBotKit API ignores the filter "%s" of %s, so that looking up an address reads the whole list: '
            "upgrade the deployment at CHATBOTKIT_API_URL",
            name,
            path,
        )

    def note_meta(self, merges: bool) -> None:
        """Remember whether ``$update`` merges, and log once if it does not."""
        if self.merges_meta is None and not merges:
            _log.warning(
                "the ChatBotKit API does not know meta.$update: every change of meta is read, merged and written whole, "
                "and of two at once one may be lost. Upgrade the deployment at CHATBOTKIT_API_URL"
            )
        self.merges_meta = merges

    def note_fetched(self, id: str) -> None:
        """Remember that an account has just been fetched."""
        now = time.monotonic()
        self._fetched = {**{key: at for key, at in self._fetched.items() if now - at < _RECENT_SECONDS}, id: now}

    def fetched_another(self, id: str) -> bool:
        """Return whether an account other than this one was fetched within the last minute."""
        now = time.monotonic()
        return any(key != id and now - at < _RECENT_SECONDS for key, at in self._fetched.items())
