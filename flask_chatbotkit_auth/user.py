"""The signed-in person, as the application sees them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

from .clock import plausible_time, to_milliseconds
from .identifier import mask

if TYPE_CHECKING:

    class UserMixin:
        """What Flask-Login's own brings, which has no type information."""

        @property
        def is_active(self) -> bool: ...
        @property
        def is_authenticated(self) -> bool: ...
        @property
        def is_anonymous(self) -> bool: ...
        def get_id(self) -> str: ...
else:
    from flask_login import UserMixin

Kind = Literal["partner", "contact"]

_TIMES = ("email_verified", "created_at")


@dataclass(frozen=True, eq=False)
class User(UserMixin):
    """A ChatBotKit sub-account or contact; what ``flask_login.current_user`` is.

    It is a snapshot: the API's record as it was at sign-in or at the last refresh (``CHATBOTKIT_AUTH_USER_REFRESH``).
    Change it through :meth:`current_auth.update_user <flask_chatbotkit_auth.state.AuthState.update_user>`.

    Two users are equal when their ids are, as Flask-Login has it.
    """

    id: str
    """The opaque id of the sub-account or contact."""

    email: str
    """The normalised address that was proved at sign-in."""

    name: str | None = None
    image: str | None = None
    """URL of a picture."""

    email_verified: datetime | None = None
    """When the address was first proved; aware, UTC."""

    created_at: datetime | None = None
    """When the account was made; aware, UTC."""

    meta: Mapping[str, Any] = field(default_factory=dict)
    """The record's own JSON object, for the application's use; read-only."""

    kind: Kind = "partner"
    """``"partner"`` for a sub-account, ``"contact"`` for a contact."""

    def __post_init__(self) -> None:
        # A worker hands one snapshot to many requests: what one of them writes, no other may read.
        object.__setattr__(self, "meta", MappingProxyType(dict(self.meta)))

    def __repr__(self) -> str:
        # Not the fields: a user that is printed or logged must not tell who they are.
        return f"<User {self.id} {mask(self.email)} {self.kind}>"

    def __hash__(self) -> int:
        return hash(self.id)

    def to_json(self) -> dict[str, Any]:
        """Return every field with times in milliseconds since the epoch, ready for ``json.dumps``."""
        record = {each.name: getattr(self, each.name) for each in fields(self)}
        record["meta"] = dict(self.meta)
        for key in _TIMES:
            record[key] = record[key] and to_milliseconds(record[key])
        return record

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> User:
        """Return the user that :meth:`to_json` wrote."""
        times = {key: plausible_time(record[key]) for key in _TIMES}
        return cls(**{**record, **times})

    def public(self) -> dict[str, Any]:
        """Return what may be shown to the person's own browser: all but ``meta``, times in ISO 8601."""
        return {
            "id": self.id,
            "email": self.email,
            "name": self.name,
            "image": self.image,
            "email_verified": self.email_verified.isoformat() if self.email_verified else None,
            "created_at": self.created_at.isoformat() if self.created_at else None,
            "kind": self.kind,
        }
