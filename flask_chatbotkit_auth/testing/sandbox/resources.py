"""The operations on bots and datasets, which are simple records here."""

from __future__ import annotations

from . import meta
from .calls import Call, Record, Reply
from .fields import apply, checked
from .records import Records, forget, page

TEXTS = ("alias", "name", "description", "backstory", "model", "datasetId", "skillsetId", "visibility", "store")
FLAGS = ("privacy", "moderation")
NUMBERS = ("recordMaxTokens", "searchMinScore", "searchMaxRecords", "searchMaxTokens")


class Resource:
    """The operations of one kind of record.

    :param name: the name of the resource in the path.
    :param limit: the limit of a sub-account that a new record counts against; ``""`` for none.
    """

    def __init__(self, name: str, limit: str = "") -> None:
        self.name = name
        self._limit = limit

    def list(self, records: Records, call: Call) -> Reply:
        return page(records.owned(self._table(records), call.account), call)

    def fetch(self, records: Records, call: Call, id: str) -> Reply:
        return Reply(meta.shown(self._one(records, call, id)))

    def create(self, records: Records, call: Call) -> Reply:
        changes = _changes(call.body)
        if self._limit:
            records.spend(call.account, self._limit)
        record = records.stamp()
        apply(records, record, changes)
        self._table(records)[record["id"]] = record
        records.own(record, call.account)
        return Reply({"id": record["id"]})

    def update(self, records: Records, call: Call, id: str) -> Reply:
        record = self._one(records, call, id)
        apply(records, record, _changes(call.body))
        record["updatedAt"] = records.tick()
        return Reply({"id": id})

    def delete(self, records: Records, call: Call, id: str) -> Reply:
        self._one(records, call, id)
        forget(records, id)
        if self._limit:
            records.give_back(call.account, self._limit)
        return Reply({"id": id})

    def _table(self, records: Records) -> dict[str, Record]:
        return records.bots if self.name == "bot" else records.datasets

    def _one(self, records: Records, call: Call, id: str) -> Record:
        return records.one(self._table(records), id, call.account, self.name.capitalize())


def _changes(body: Record) -> Record:
    return checked(body, texts=TEXTS, objects=("meta",), flags=FLAGS, numbers=NUMBERS)
