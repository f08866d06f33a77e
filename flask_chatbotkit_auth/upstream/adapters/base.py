"""The user directory: what the flow needs to know of accounts, whatever they are upstream."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ...exceptions import APIError, Conflict, InvalidEmail, SignUpDisabled
from ...identifier import normalize_identifier
from ...user import Kind, User

MAX_ID_LENGTH = 191
"""Characters; more than any real id has, and what a key of every database holds."""


class UserAdapter(ABC):
    """Finds, makes and changes accounts. Subclass it to keep them elsewhere.

    Every method may raise :exc:`~flask_chatbotkit_auth.exceptions.APIError`. The switches guard what happens by itself, at
    sign-in; ``create``, ``update`` and ``delete`` do what they are told, so that an administrator always can.

    :param auto_create: whether :meth:`get_or_create` makes an account for an unknown address.
    :param auto_update: whether :meth:`get_or_create` adds what is missing to an account, and whether
        :meth:`current_auth.update_user <flask_chatbotkit_auth.state.AuthState.update_user>` is allowed.
    :param auto_delete: whether
        :meth:`current_auth.delete_user <flask_chatbotkit_auth.state.AuthState.delete_user>` is allowed.
    """

    kind: Kind = "partner"
    """What the accounts are upstream; an adapter of one's own keeps the default unless they are contacts."""

    def __init__(self, *, auto_create: bool = False, auto_update: bool = True, auto_delete: bool = False) -> None:
        self.auto_create = auto_create
        self.auto_update = auto_update
        self.auto_delete = auto_delete

    @abstractmethod
    def get(self, id: str) -> User | None:
        """Return the account, or ``None`` when there is none (any more) or it is not ours to see."""

    @abstractmethod
    def get_by_email(self, email: str) -> User | None:
        """Return the account of one address, or ``None``. Whatever the API answers, the account's address is ``email``.

        :param email: an identifier, normalised.
        """

    @abstractmethod
    def create(
        self, email: str, *, name: str | None = None, image: str | None = None, meta: Mapping[str, Any] | None = None
    ) -> User:
        """Make an account.

        :param email: an identifier, normalised.
        :param image: URL of a picture.
        :param meta: an object that JSON can say, for the application's own use.
        :raises Conflict: the address has one already, where the directory can tell.
        """

    @abstractmethod
    def update(self, id: str, **fields: Any) -> User:
        """Change the given fields of an account, of ``name``, ``image``, ``email`` and ``meta``; others stay as they are.

        ``meta`` is merged key by key. ``name=""`` blanks the name: pass only what is meant.

        :returns: the account as it is afterwards.
        :raises NotFound: there is no such account.
        """

    @abstractmethod
    def delete(self, id: str) -> None:
        """Delete an account and all that is in it, for good. One that is gone already is no error."""

    @abstractmethod
    def list(self, **filters: Any) -> Iterator[User]:
        """Yield every account, fetched page by page.

        :param filters: further names of the API's query, such as ``order="asc"`` or ``take=50``, the size of a page.
        """

    def get_or_create(self, email: str) -> User:
        """Return the account of ``email``, making it where :attr:`auto_create` allows.

        However many callers arrive together, one account is made and all of them get it.

        :raises SignUpDisabled: there is none, and auto create is off.
        """
        return self.resolve(email)[0]

    def resolve(self, email: str, approve: Callable[[User | None], None] = lambda user: None) -> tuple[User, bool]:
        """Do as :meth:`get_or_create` does, and tell whether this call made the account: the step behind every sign-in.

        :param approve: called with the account as it was found, or with ``None`` before one is made; it raises to refuse,
            and then nothing is made or changed.
        """
        user = self.get_by_email(email)
        if user is not None:
            approve(user)
            return (self.refine(user) if self.auto_update else user), False
        if not self.auto_create:
            raise SignUpDisabled
        approve(None)
        try:
            return self.create_verified(email), True
        except Conflict:
            # Somebody else was first: theirs is the one account.
            user = self.get_by_email(email)
            if user is None:
                raise
            return user, False

    def create_verified(self, email: str) -> User:
        """Make the account of a person who has just proved the address.

        :raises Conflict: as :meth:`create`.
        """
        return self.create(email)

    def refine(self, user: User) -> User:
        """Add upstream what a sign-in has proved and the account lacks; return the account as it is then."""
        return user


def only_text(value: object) -> str | None:
    """Return ``value`` if it is a text with something in it: any field of an answer may be missing, null or blank."""
    return value if isinstance(value, str) and value.strip() else None


def required_id(record: Mapping[str, Any]) -> str:
    """Return the id of an answer of the API.

    :raises APIError: it has none, or one that no store has room for or that would break a line of the log.
    """
    id = record.get("id")
    if not isinstance(id, str) or not 0 < len(id) <= MAX_ID_LENGTH or not id.isprintable():
        raise APIError("the ChatBotKit API answered without an id that can be one")
    return id


def fetched(record: Mapping[str, Any], id: str) -> Mapping[str, Any]:
    """Return the answer to a fetch if it is about the account that was asked for.

    A cache in between, or a server gone wrong, that answers another one would turn a signed-in person into somebody else.

    :raises APIError: it is about another one.
    """
    if required_id(record) != id:
        raise APIError("the ChatBotKit API answered another account than the one asked for")
    return record


def stored_email(value: object) -> str:
    """Return the address of a record in normal form, as it stands where it has none, or ``""``."""
    email = only_text(value) or ""
    try:
        return normalize_identifier(email)
    except InvalidEmail:
        return email
