"""The user directory: the base class of the adapters, which find, create and change accounts."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ...exceptions import APIStatusError, Conflict, EmailTaken, InvalidEmail, SignUpDisabled
from ...identifier import normalize_identifier
from ...user import Kind, User

FIELDS = frozenset(("name", "image", "email", "meta", "limits", "email_verified"))
"""What :meth:`UserAdapter.update` can change."""

Fields = Mapping[str, Any]

Users = list[User]

Page = tuple[Users, str | None]
"""Accounts, and what to pass as ``after`` for the next page; ``None`` at the end."""


class UserAdapter(ABC):
    """Finds, creates and changes accounts. Subclass it to keep them elsewhere.

    Every method can raise :exc:`~flask_chatbotkit_auth.exceptions.APIError`. The switches restrict what happens at sign-in
    and on the pages. ``create``, ``update`` and ``delete`` ignore them, so that an administrator can always use them.

    :param auto_create: whether :meth:`resolve` creates an account for an unknown address.
    :param auto_update: whether :meth:`resolve` adds what is missing to an account, and whether
        :meth:`current_auth.update_user <flask_chatbotkit_auth.state.AuthState.update_user>` is allowed.
    :param auto_delete: whether
        :meth:`current_auth.delete_user <flask_chatbotkit_auth.state.AuthState.delete_user>` is allowed.
    """

    kind: Kind = "partner"
    """What the accounts are in ChatBotKit. An adapter of your own keeps the default unless they are contacts."""

    # Of the class, for a subclass whose constructor does not call this one.
    auto_create: bool = False
    auto_update: bool = True
    auto_delete: bool = False

    def __init__(self, *, auto_create: bool = False, auto_update: bool = True, auto_delete: bool = False) -> None:
        self.auto_create = auto_create
        self.auto_update = auto_update
        self.auto_delete = auto_delete

    @abstractmethod
    def get(self, id: str) -> User | None:
        """Return the account, or ``None`` if it does not exist, belongs to another parent account, or the id is invalid."""

    @abstractmethod
    def get_by_email(self, email: str) -> User | None:
        """Return the account of an address, or ``None``. An account with another address is never returned.

        :param email: an identifier, normalised.
        """

    @abstractmethod
    def create(
        self,
        email: str,
        *,
        name: str | None = None,
        image: str | None = None,
        meta: Mapping[str, Any] | None = None,
        limits: Mapping[str, Any] | None = None,
    ) -> User:
        """Create an account whose owner has not proved the address yet, and return it as the API has it.

        :param email: an address in any form. It is stored in normal form.
        :param image: the URL of a picture.
        :param meta: a JSON object for the application's own use.
        :param limits: what a sub-account can use; set in the call that creates it.
        :raises InvalidEmail: it is not an address.
        :raises EmailTaken: the address already has an account.
        """

    @abstractmethod
    def update(self, id: str, **fields: Any) -> User:
        """Change fields of an account: ``name``, ``image``, ``email``, ``meta`` or ``limits``. Other fields stay as they are.

        ``meta`` is merged key by key. ``limits`` replaces all limits. ``None`` or ``""`` removes a name or a picture. After
        a new ``email``, ``email_verified`` is ``None`` until the owner proves the address. A flow that has proved it passes
        ``email_verified``, an aware time.

        :returns: the account as it is afterwards.
        :raises NotFound: there is no such account.
        :raises InvalidEmail: it is not an address.
        :raises EmailTaken: another account has the address.
        """

    @abstractmethod
    def delete(self, id: str) -> None:
        """Delete an account and everything in it, permanently. It is not an error if it does not exist."""

    @abstractmethod
    def list(self, **filters: Any) -> Iterator[User]:
        """Yield every account. They are fetched page by page.

        :param filters: further names of the API's query, such as ``order="asc"``, ``take=50`` (the size of a page) or
            ``**{"meta.admin": True}``. A filter is a text or a boolean, and matches only values of the same type.
        """

    def page(self, *, after: str | None = None, take: int = 50) -> Page:
        """Return one page of accounts, the newest first, and what to pass as ``after`` for the next page.

        :param after: what the previous call returned; ``None`` for the first page.
        :param take: the number of accounts, 1 to 100.
        :returns: the accounts, and the next ``after``, or ``None`` at the end.
        """
        users: Users = []
        skipping = after is not None
        for user in self.list():
            if skipping:
                skipping = user.id != after
            elif len(users) == take:
                return users, users[-1].id
            else:
                users.append(user)
        return users, None

    def refresh(self, id: str) -> User | None:
        """Return the account of a session, as :meth:`get` does, but in one try. A 403 that may be about the secret raises."""
        return self.get(id)

    def resolve(
        self,
        email: str,
        approve: Callable[[User | None], object] = lambda user: None,
        fields: Callable[[], Fields] = dict,
    ) -> tuple[User, bool]:
        """Return the account of a person who has proved an address. Every sign-in uses this.

        If several callers arrive at once, one account is created, and all of them get it.

        :param approve: called with **every** account before it is returned, and with ``None`` before one is created. It
            raises to refuse; then nothing is created or changed.
        :param fields: called before an account is created. It returns ``name``, ``image``, ``limits`` and ``meta``, which are
            sent in the call that creates it.
        :returns: the account, and whether this call created it.
        :raises SignUpDisabled: there is no account, and auto create is off.
        """
        user, created = self.get_by_email(email), False
        if user is None:
            if not self.auto_create:
                raise SignUpDisabled
            approve(None)
            user, created = self.sign_up(email, fields())
        if not created:
            approve(user)
            user = self.refine(user) if self.auto_update else user
        return user, created

    def sign_up(self, email: str, fields: Fields) -> tuple[User, bool]:
        """Create the account of a person who has just proved the address, or return the one that another call created first.

        :returns: the account, and whether this call created it.
        """
        try:
            return self.create(email, **fields), True
        except (Conflict, EmailTaken):
            user = self.get_by_email(email)
            if user is None:
                raise
            return user, False

    def refine(self, user: User) -> User:
        """Add to the account what the sign-in has proved and it lacks. Return the account as it is then."""
        return user


def require_fields(fields: Fields) -> None:
    """Raise unless every field is one that accounts have.

    :raises TypeError: a field is unknown.
    """
    for name in fields:
        if name not in FIELDS:
            raise TypeError(f"a user has no field {name!r} to update")


def require_other_field(error: APIStatusError) -> None:
    """Raise if the API refused because of the address.

    :raises InvalidEmail: the error is about the field ``email``.
    """
    if error.status == 400 and error.field == "email":
        raise InvalidEmail("the ChatBotKit API refuses the address") from error


def only_text(value: object) -> str | None:
    """Return ``value`` if it is a text that is not blank, else ``None``.

    Any field of an answer can be missing, null or blank.
    """
    return value if isinstance(value, str) and value.strip() else None


def stored_email(value: object) -> str:
    """Return the address of a record in normal form.

    An address without a normal form is returned unchanged; none is ``""``.
    """
    email = only_text(value) or ""
    try:
        return normalize_identifier(email, special_domains=True)
    except InvalidEmail:
        return email
