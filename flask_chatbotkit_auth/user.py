"""The signed-in person, as the application sees them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, NoReturn

from .clock import plausible_time, to_milliseconds
from .identifier import mask

if TYPE_CHECKING:

    class UserMixin:
        """The members of Flask-Login's class, which has no type information."""

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

SUSPENDED = "suspendedAt"
"""The key of ``meta`` that tells since when an account is suspended, in milliseconds since the epoch."""

_TIMES = ("email_verified", "created_at")


def _refuse(self: object, *args: object, **kwargs: object) -> NoReturn:
    raise TypeError("a user is a snapshot and cannot be changed: use current_auth.update_user")


class FrozenDict(dict[str, Any]):
    """A ``dict`` that cannot be changed. It is a ``dict`` so that JSON encoders accept it."""

    if not TYPE_CHECKING:
        __setitem__ = __delitem__ = __ior__ = clear = pop = popitem = setdefault = update = _refuse

    def __reduce__(self) -> tuple[Any, ...]:
        return FrozenDict, (dict(self),)

    def __deepcopy__(self, memo: object) -> FrozenDict:
        return self

    def copy(self) -> dict[str, Any]:
        """Return a plain ``dict``, whose values are still frozen."""
        return dict(self)


class FrozenList(list[Any]):
    """A list that cannot be changed."""

    if not TYPE_CHECKING:
        __setitem__ = __delitem__ = __iadd__ = __imul__ = _refuse
        append = clear = extend = insert = pop = remove = reverse = sort = _refuse

    def __reduce__(self) -> tuple[Any, ...]:
        return FrozenList, (list(self),)

    def __deepcopy__(self, memo: object) -> FrozenList:
        return self


def frozen(value: Any) -> Any:
    """Return a read-only copy of a JSON value, at every depth."""
    if isinstance(value, Mapping):
        return FrozenDict({key: frozen(each) for key, each in value.items()})
    if isinstance(value, (list, tuple)):
        return FrozenList([frozen(each) for each in value])
    return value


def thawed(value: Any) -> Any:
    """Return a copy of a frozen value, in plain dicts and lists."""
    if isinstance(value, Mapping):
        return {key: thawed(each) for key, each in value.items()}
    return [thawed(each) for each in value] if isinstance(value, list) else value


@dataclass(frozen=True, eq=False)
class User(UserMixin):
    """A ChatBotKit sub-account or contact; what ``flask_login.current_user`` is.

    It is a snapshot: the API's record as it was at sign-in or at the last refresh (``CHATBOTKIT_AUTH_USER_REFRESH``).
    Change it through :meth:`current_auth.update_user <flask_chatbotkit_auth.state.AuthState.update_user>`.

    Two users are equal if their ids are equal, as in Flask-Login.
    """

    id: str
    """The opaque id of the sub-account or contact."""

    email: str
    """The normalised address that was proved at sign-in."""

    name: str | None = None
    image: str | None = None
    """The URL of a picture."""

    email_verified: datetime | None = None
    """When the address was first proved; aware, UTC."""

    created_at: datetime | None = None
    """When the account was created; aware, UTC."""

    meta: Mapping[str, Any] = field(default_factory=dict)
    """The record's own JSON object, for the application's use. It is read-only at every depth."""

    kind: Kind = "partner"
    """``"partner"`` for a sub-account, ``"contact"`` for a contact."""

    limits: Mapping[str, Any] = field(default_factory=dict)
    """What a sub-account can use, such as ``{"messages": 100, "database": {"datasets": 3}}``.

    It is read-only at every depth.
    """

    def __post_init__(self) -> None:
        # Requests of a worker share one snapshot, so none of them must change it.
        object.__setattr__(self, "meta", frozen(self.meta))
        object.__setattr__(self, "limits", frozen(self.limits))

    @property
    def is_active(self) -> bool:
        """Whether the person can sign in: ``False`` while the account is suspended."""
        return not self.meta.get(SUSPENDED)

    def __repr__(self) -> str:
        # Without the fields: a user that is printed or logged must not show personal data.
        return f"<User {self.id} {mask(self.email)} {self.kind}>"

    def __hash__(self) -> int:
        return hash(self.id)

    def to_json(self) -> dict[str, Any]:
        """Return every field with times in milliseconds since the epoch, ready for ``json.dumps``."""
        record = {each.name: getattr(self, each.name) for each in fields(self)}
        record["meta"], record["limits"] = thawed(self.meta), thawed(self.limits)
        for key in _TIMES:
            record[key] = record[key] and to_milliseconds(record[key])
        return record

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> User:
        """Return the user that :meth:`to_json` wrote, in this release or another one."""
        known = {each.name: record[each.name] for each in fields(cls) if each.name in record}
        return cls(**{**known, **{key: plausible_time(record.get(key)) for key in _TIMES}})

    def public(self) -> dict[str, Any]:
        """Return the fields for the person's own browser: all but ``meta`` and ``limits``, with times in ISO 8601."""
        return {
            "id": self.id,
            "email": self.email,
            "name": self.name,
            "image": self.image,
            "email_verified": self.email_verified.isoformat() if self.email_verified else None,
            "created_at": self.created_at.isoformat() if self.created_at else None,
            "kind": self.kind,
        }
