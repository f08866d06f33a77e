"""Conversations that ChatBotKit keeps: their owners create, list, read and delete them."""

from __future__ import annotations

from difflib import get_close_matches
from itertools import islice
from typing import Any

from ..exceptions import APIError, NotAuthorized, NotFound
from ..state import current_auth
from ..upstream.client import ChatBotKitClient
from ..upstream.urls import path_segment
from ..user import User
from .answers import UnknownConversation

BOT = ("botId", "model", "backstory", "datasetId", "skillsetId", "privacy", "moderation")
"""The options that define the bot."""

_CREATE = (*BOT, "name", "description", "taskId", "spaceId", "expiresAt", "meta", "messages")
_OWNER = "userId"
"""The key of ``meta`` with the owner of a conversation in a shared account."""

_PAGE = 100
_MESSAGES = 1000


def create_conversation(user: User | str, *, run_as: str | None = None, **options: Any) -> str:
    """Create a conversation that ChatBotKit keeps, for :func:`stream_completion`, and return its id.

    :param user: the owner: the user or its id.
    :param run_as: the id of a sub-account that it is kept in, such as a workspace that several people share. It still belongs
        to this user only. Check that the user belongs there: there is no other check.
    :param options: fields of the API's ``/conversation/create``: ``botId``, or ``model``, ``backstory``, ``datasetId``,
        ``skillsetId``, ``privacy`` and ``moderation``; and ``name``, ``description``, ``meta``, ``messages``,
        ``expiresAt``, ``taskId`` and ``spaceId``.
    :raises TypeError: an option is none of these.
    :raises APIError: the API could not be reached or refused.
    """
    check_options("create_conversation", options, _CREATE)
    place = Place(user, run_as)
    if place.shared:
        options["meta"] = {**(options.get("meta") or {}), _OWNER: place.user_id}
    elif place.contact:
        options["contactId"] = place.user_id
    id = place.client.post("/conversation/create", options).get("id")
    if not isinstance(id, str) or not id:
        raise APIError("the ChatBotKit API made a conversation and told no id")
    return id


def list_conversations(
    user: User | str, *, run_as: str | None = None, after: str | None = None, take: int = 50
) -> list[dict[str, Any]]:
    """Return a page of the user's conversations, the newest first, as the API describes them.

    :param user: the user or its id.
    :param run_as: as in :func:`create_conversation`.
    :param after: the id of the last conversation of the page before.
    :param take: the most conversations, 1 to 100.
    :raises APIError: the API could not be reached or refused.
    """
    place = Place(user, run_as)
    path, query = "/conversation/list", {"cursor": after, "take": max(1, min(take, _PAGE))}
    if place.shared:
        query[f"meta.{_OWNER}"] = place.user_id
    elif place.contact:
        path = f"/contact/{path_segment(place.user_id)}/conversation/list"
    items = next(place.client.pages(path, query), [])
    # An older server ignores filters that it does not know.
    return [item for item in items if place.owns(item)]


def list_messages(user: User | str, conversation: str, *, run_as: str | None = None) -> list[dict[str, Any]]:
    """Return the messages of a conversation, the oldest first: ``{"id", "type", "text", "createdAt", …}``, 1000 at most.

    :param user: the user or its id.
    :param run_as: as in :func:`create_conversation`.
    :raises UnknownConversation: there is no such conversation, or it is not the user's.
    :raises APIError: the API could not be reached or refused.
    """
    place = Place(user, run_as)
    path = f"{place.find(conversation)}/message/list"
    return list(islice(place.client.paginate(path, {"order": "asc"}), _MESSAGES))


def delete_conversation(user: User | str, conversation: str, *, run_as: str | None = None) -> None:
    """Delete a conversation and its messages, permanently.

    :param user: the user or its id.
    :param run_as: as in :func:`create_conversation`.
    :raises UnknownConversation: there is no such conversation, or it is not the user's.
    :raises APIError: the API could not be reached or refused.
    """
    place = Place(user, run_as)
    place.client.post(f"{place.find(conversation)}/delete", {})


class Place:
    """The owner of conversations, and the account that they are kept in.

    :param run_as: a sub-account that several people share.
    """

    def __init__(self, user: User | str, run_as: str | None) -> None:
        auth = current_auth
        id = user if isinstance(user, str) else user.get_id()
        if not isinstance(id, str) or not id:
            raise ValueError("nobody is signed in: a chat needs a user, or the id of one")
        self.user_id = id
        self.contact: bool = auth.kind == "contact"
        # Also for their own account, if it is named: other people who work in it have private conversations.
        self.shared: bool = run_as is not None
        self.client: ChatBotKitClient = auth.client.run_as(run_as) if run_as is not None else auth.client_for(user)

    def owns(self, conversation: dict[str, Any]) -> bool:
        """Return whether a conversation of the account is the user's."""
        if self.shared:
            meta = conversation.get("meta")
            return isinstance(meta, dict) and meta.get(_OWNER) == self.user_id
        return not self.contact or conversation.get("contactId") == self.user_id

    def find(self, conversation: object) -> str:
        """Return the path of a conversation, once the API has said that it is the user's.

        :raises UnknownConversation: it is not.
        """
        if not isinstance(conversation, str):
            raise UnknownConversation
        try:
            path = f"/conversation/{path_segment(conversation)}"
        except APIError:
            raise UnknownConversation from None
        try:
            found = self.client.get(f"{path}/fetch")
        except (NotFound, NotAuthorized) as error:
            if error.code not in ("NOT_FOUND", "NOT_AUTHORIZED"):
                raise  # the answer of a gateway, not of the API
            raise UnknownConversation from error
        if not self.owns(found):
            raise UnknownConversation
        return path


def check_options(function: str, options: dict[str, Any], known: tuple[str, ...]) -> None:
    """Raise unless the API accepts every option.

    :raises TypeError: an option is unknown. The text names the one that was probably meant.
    """
    for name in options:
        if name not in known:
            near = get_close_matches(name, known, 1, 0.5)
            hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(known)}"
            raise TypeError(f"{function} got an option {name!r} that the API does not take; {hint}")
