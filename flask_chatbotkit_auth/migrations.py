"""A filter for Alembic that excludes the tables of the store from an application's own migrations."""

from __future__ import annotations

from collections.abc import Mapping

_PREFIX = "chatbotkit_auth_"


def include_name(name: str | None, type_: str, parent_names: Mapping[str, str | None]) -> bool:
    """Return whether Alembic should compare an object of the database: false for the tables that the store creates itself.

    Pass it to Alembic, or to ``flask_migrate.Migrate(app, db, include_name=include_name)``, if the store has a URL and does
    not use your ``db``. Without it, ``flask db migrate`` finds tables that have no model, and writes a ``drop_table`` for
    each.

    :param name: the name of a table, an index, a column and so on.
    :param type_: the type of the object, as Alembic names it.
    :param parent_names: the names of the objects that it belongs to.
    """
    table = name if type_ == "table" else parent_names.get("table_name")
    return not (table or "").startswith(_PREFIX)
