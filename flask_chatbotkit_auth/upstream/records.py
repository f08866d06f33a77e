"""The records of one resource of the API, users or contacts: find, fetch, create, change and delete them."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ..exceptions import APIError, APIStatusError, NotAuthorized, NotFound
from .client import ChatBotKitClient
from .urls import path_segment

Record = Mapping[str, Any]

MAX_ID_LENGTH = 191
"""Characters: more than any real id has, and as many as a key in every database can hold."""

MAX_BYTES = 191
"""Bytes of UTF-8 that the hosted service stores of a name, an address or a sub-account's picture."""

_RESERVED = re.compile(r"[\W_]|\Z", re.ASCII)


class Records:
    """The records of one resource.

    :param path: ``"/user"`` or ``"/contact"``.
    """

    def __init__(self, client: ChatBotKitClient, path: str) -> None:
        self._client = client
        self._path = path

    def fetch(self, id: str, *, retry: bool = True) -> Record:
        """Return a record.

        :param retry: whether the call may be tried again.
        :raises NotFound: there is no such record.
        :raises NotAuthorized: it belongs to another account.
        :raises APIError: any other failure, or an answer about another record. A cache that mixes answers up must not turn a
            signed-in person into somebody else.
        """
        record = self._client.get(f"{self._path}/{path_segment(id)}/fetch", retry=retry)
        if required_id(record) != id:
            raise APIError("the ChatBotKit API answered another account than the one asked for")
        self._client.deployment.note_fetched(id)
        return record

    def get(self, id: str) -> Record | None:
        """Return a record, or ``None`` if it does not exist, belongs to another account, or the id is invalid."""
        try:
            path_segment(id)
        except APIError:
            return None
        try:
            return self.fetch(id)
        except (NotFound, NotAuthorized) as error:
            _require_own_answer(error)
            return None

    def refresh(self, id: str) -> Record | None:
        """Return a record as :meth:`get` does, but in one try, and trust a 403 only if the secret is known to work.

        :raises NotAuthorized: the secret has fetched no other account within the last minute. It was probably replaced by a
            secret of another account.
        """
        try:
            return self.fetch(id, retry=False)
        except NotFound as error:
            _require_own_answer(error)
            return None
        except NotAuthorized as error:
            _require_own_answer(error)
            if not self._client.deployment.fetched_another(id):
                raise
            return None

    def find(self, filter: str, email: str, matches: Callable[[Record], bool], **query: str) -> Record | None:
        """Return the first matching record of a filtered list, or ``None``.

        A deployment that does not know the filter answers all records, so each one is compared, page by page.

        :param filter: the name of the filter, ``"email"`` or ``"meta.email"``.
        :param matches: returns whether a record is the one that is searched.
        :param query: further names of the query, such as ``order``.
        :raises APIError: reading the list takes longer than three times the time-out.
        """
        client = self._client
        deadline = time.monotonic() + 3 * client.timeout
        for page in client.pages(f"{self._path}/list", {filter: email, **query}, endless=True):
            if any(not _carries(record, filter, email) for record in page):
                client.deployment.note_ignored_filter(filter, f"{self._path}/list")
            found = next((record for record in page if matches(record)), None)
            if found is not None:
                return found
            if time.monotonic() > deadline:
                raise APIError(
                    f"looking up an address took longer than {3 * client.timeout:g} seconds, since the ChatBotKit API "
                    f'ignores the filter "{filter}" of {self._path}/list and answers everybody: upgrade the deployment at '
                    "CHATBOTKIT_API_URL"
                )
        return None

    def all(self, filters: Mapping[str, Any]) -> Iterator[Record]:
        """Yield every record, page by page."""
        return self._client.paginate(f"{self._path}/list", filters)

    def page(self, after: str | None, take: int) -> tuple[list[Record], str | None]:
        """Return one page of records, the newest first, and the cursor of the next page, or ``None`` at the end."""
        take = max(1, min(take, 100))
        # One more than asked for shows whether more records follow. The cursor of a record is its id.
        query = {"take": min(take + 1, 100), "cursor": after}
        answer = next(self._client.pages(f"{self._path}/list", query), [])
        shown: list[Record] = list(answer[:take])
        more = len(answer) > take or len(answer) == 100
        return shown, required_id(shown[-1]) if more else None

    def create(self, fields: Mapping[str, Any]) -> str:
        """Create a record, and return its id. The call is not repeated if the API may have carried it out.

        :raises Conflict: a value that must be unique is taken.
        """
        self._check(fields)
        return required_id(self._client.post(f"{self._path}/create", fields))

    def change(self, id: str, fields: Mapping[str, Any], meta: Mapping[str, Any] | None = None) -> Record | None:
        """Change fields of a record, and keys of its ``meta``. Everything else stays as it is.

        This is the only place that changes ``meta``. A plain object would replace the whole of ``meta``, so it is written as
        ``{"$update": …}``, which merges in one step. An old deployment may not know ``$update``: the first write of a process
        reads the record before and after, and if a key is gone, writes the old values back.

        :returns: the record as it is afterwards, if it was read; else ``None``.
        :raises ValueError: ChatBotKit would refuse or lose a key of ``meta``.
        :raises NotFound: there is no such record.
        :raises Conflict: a value that must be unique is taken.
        """
        self._check(fields)
        if not meta:
            self._post(id, fields)
            return None
        require_keys(meta)
        deployment = self._client.deployment
        if deployment.merges_meta:
            self._post(id, {**fields, "meta": {"$update": meta}})
            return None
        whole = {**_meta(self.fetch(id)), **meta}
        if deployment.merges_meta is False:
            self._post(id, {**fields, "meta": whole})
            return None
        self._post(id, {**fields, "meta": {"$update": meta}})
        try:
            after = self.fetch(id)
        except APIError:
            self._post(id, {"meta": whole})  # the old values and the new ones, whatever the first write did
            raise
        merges = whole.keys() <= _meta(after).keys()
        deployment.note_meta(merges)
        if merges:
            return after
        self._post(id, {"meta": whole})
        return None

    def delete(self, id: str) -> None:
        """Delete a record. It is not an error if it does not exist."""
        try:
            self._client.post(f"{self._path}/{path_segment(id)}/delete", {}, idempotent=True)
        except NotFound as error:
            _require_own_answer(error)

    def _post(self, id: str, body: Mapping[str, Any]) -> None:
        self._client.post(f"{self._path}/{path_segment(id)}/update", body, idempotent=True)

    def _check(self, fields: Mapping[str, Any]) -> None:
        # The platform answers 500 for a picture that is too long, which would look like an outage.
        for name in ("name", "image"):
            if isinstance(text := fields.get(name), str) and len(text.encode(errors="replace")) > MAX_BYTES:
                raise APIStatusError(400, "BAD_REQUEST", f'"{name}" has more than {MAX_BYTES} bytes')


def require_keys(meta: Mapping[str, Any]) -> None:
    """Raise unless ChatBotKit keeps every key of ``meta``.

    :raises ValueError: a key begins with neither an ASCII letter nor a digit.
    """
    for key in meta:
        if not isinstance(key, str) or _RESERVED.match(key):
            raise ValueError(
                f"ChatBotKit keeps no key {key!r} in meta: let it begin with a letter or a digit (a-z, A-Z, 0-9)"
            )


def required_id(record: Record) -> str:
    """Return the id of a record.

    :raises APIError: there is none, or it is too long for the store, or it is not printable and would break a line of the
        log.
    """
    id = record.get("id")
    if not isinstance(id, str) or not 0 < len(id) <= MAX_ID_LENGTH or not id.isprintable():
        raise APIError("the ChatBotKit API answered without an id that can be one")
    return id


def _meta(record: Record) -> Mapping[str, Any]:
    meta = record.get("meta")
    return meta if isinstance(meta, Mapping) else {}


def _carries(record: Record, filter: str, email: str) -> bool:
    value = record.get("email") if filter == "email" else _meta(record).get("email")
    # The database may compare without case, but ignores nothing else.
    return isinstance(value, str) and value.casefold() == email.casefold()


def _require_own_answer(error: APIStatusError) -> None:
    """Raise unless the answer comes from the API itself. A gateway's own answer says nothing about an account."""
    if error.code not in ("NOT_FOUND", "NOT_AUTHORIZED"):
        raise error
