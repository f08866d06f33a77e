"""Everything that applications may build on, line by line. ``python -m tests.support.public_api`` writes it down anew."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator
from dataclasses import MISSING, Field, fields, is_dataclass
from enum import Enum
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import click
from blinker import NamedSignal
from flask import Flask

import flask_chatbotkit_auth
from flask_chatbotkit_auth import ChatBotKitAuth, ChatBotKitAuthError, MemoryStore
from flask_chatbotkit_auth.cli import cli
from flask_chatbotkit_auth.config import Config

SNAPSHOT = Path(__file__).with_suffix(".txt")
PACKAGE = Path(flask_chatbotkit_auth.__file__).parent

MODULES = {
    "flask_chatbotkit_auth": flask_chatbotkit_auth.__all__,
    "flask_chatbotkit_auth.chat": [
        "InvalidMessages",
        "UnknownConversation",
        "create_conversation",
        "delete_conversation",
        "list_conversations",
        "list_messages",
        "stream_completion",
    ],
    "flask_chatbotkit_auth.identifier": ["normalize_identifier"],
    "flask_chatbotkit_auth.migration": ["person_of"],
    "flask_chatbotkit_auth.state": ["AuthState"],
    "flask_chatbotkit_auth.stores": ["MAX_CODES", "Attempt", "Challenge", "Outcome", "SessionRecord", "State"],
    "flask_chatbotkit_auth.migrations": ["include_name"],
    "flask_chatbotkit_auth.stores.documents": ["DocumentStore"],
    "flask_chatbotkit_auth.stores.redis": ["RedisStore"],
    "flask_chatbotkit_auth.stores.sqlalchemy": ["SQLAlchemyStore"],
    "flask_chatbotkit_auth.testing": ["Clock", "Sandbox", "SoftwareAuthenticator", "StoreContract"],
    "flask_chatbotkit_auth.testing.sandbox.server": ["Request"],
}
"""The modules and names of the reference, ``docs/api.rst``."""

INTERNAL = {
    "AuthState": {"limiter", "optional_client", "mailer", "registry", "hooks", "sweep"},
}
"""Members that the reference leaves out, since applications do not need them."""


def describe() -> Iterator[str]:
    """Yield the lines."""
    for name, names in MODULES.items():
        module = import_module(name)
        yield f"# {name}"
        for each in names:
            yield from _describe(each, getattr(module, each))
        yield ""
    yield "# settings"
    yield from (f"{each.metadata['key']} = {getattr(Config(), each.name)!r}" for each in fields(Config))
    yield ""
    yield "# errors: code, status"
    yield from sorted({f"{kind.error_code}, {kind.http_status}: {kind.__name__}" for kind in _kinds()})
    yield ""
    yield "# endpoints"
    yield from sorted(_endpoints())
    yield ""
    yield "# templates"
    templates = PACKAGE / "templates"
    yield from sorted(str(each.relative_to(templates)) for each in templates.rglob("[!_]*.*"))
    yield ""
    yield "# commands"
    yield from _commands(cli, "flask chatbotkit-auth")
    yield ""
    yield "# fixtures"
    yield from _fixtures(import_module("flask_chatbotkit_auth.testing.plugin"))


def _describe(name: str, found: Any) -> Iterator[str]:
    if isinstance(found, NamedSignal):
        yield f'{name}: signal "{found.name}"'
    elif not inspect.isclass(found):
        yield f"{name}{_signature(found)}" if inspect.isfunction(found) else name
    else:
        bases = ", ".join(base.__name__ for base in found.__bases__ if base is not object)
        yield f"class {name}({bases})"
        internal = INTERNAL.get(name, set())
        yield from (f"    {line}" for line in _members(found) if re.split(r"\W", line)[0] not in internal)


def _members(kind: type) -> Iterator[str]:
    if is_dataclass(kind):
        yield from (f"{each.name}: {each.type}" + _default(each) for each in fields(kind) if each.name[0] != "_")
    elif issubclass(kind, Enum):
        yield from (f"{each.name} = {each.value!r}" for each in kind)
        return
    elif "__init__" in vars(kind):
        yield _signature(vars(kind)["__init__"])
    annotated = inspect.get_annotations(kind)
    if not is_dataclass(kind):
        yield from (f"{each}: {type_}" for each, type_ in annotated.items() if not each.startswith("_"))
    for each, value in vars(kind).items():
        if each.startswith("_") or each in annotated:
            continue
        if isinstance(value, property):
            yield f"{each}: {_plain(inspect.signature(value.fget).return_annotation)}"  # type: ignore[arg-type]
        elif inspect.isfunction(value):
            inherited = [vars(base)[each] for base in kind.__mro__[1:] if inspect.isfunction(vars(base).get(each))]
            if _signature(value) not in map(_signature, inherited):
                yield f"{each}{_signature(value)}"


def _default(each: Field[Any]) -> str:
    if each.default_factory is not MISSING:
        return f" = {each.default_factory()!r}"
    return "" if each.default is MISSING else f" = {each.default!r}"


def _signature(function: Callable[..., Any]) -> str:
    signature = inspect.signature(function)
    parameters = [
        each.replace(default=_Shown(each.default.__name__))
        if inspect.isroutine(each.default) or (inspect.isclass(each.default) and each.default is not each.empty)
        else each
        for each in signature.parameters.values()
        if each.name != "self"
    ]
    return _plain(str(signature.replace(parameters=parameters)))


class _Shown(str):
    """A default that is shown by its name: where a function lives in memory differs from run to run."""

    __repr__ = str.__str__


def _plain(annotation: object) -> str:
    # Annotations are texts, which Python shows in quotes.
    return re.sub(r"(: |-> )'([^']*)'", r"\1\2", str(annotation))


def _kinds(kind: type[ChatBotKitAuthError] = ChatBotKitAuthError) -> Iterator[type[ChatBotKitAuthError]]:
    if kind.__module__.startswith("flask_chatbotkit_auth."):
        yield kind
    for each in kind.__subclasses__():
        yield from _kinds(each)


def _endpoints() -> Iterator[str]:
    app = Flask("shop")
    app.config.update(SECRET_KEY="not a secret", CHATBOTKIT_API_SECRET="sk-test")
    ChatBotKitAuth(app, store=MemoryStore())
    for rule in app.url_map.iter_rules():
        if rule.endpoint.startswith("chatbotkit_auth."):
            methods = ", ".join(sorted((rule.methods or set()) - {"HEAD", "OPTIONS"}))
            yield f"{rule.rule} {methods}: {rule.endpoint}"


def _commands(command: click.Command, name: str) -> Iterator[str]:
    if isinstance(command, click.Group):
        for each, inner in sorted(command.commands.items()):
            yield from _commands(inner, f"{name} {each}")
    else:
        parameters = [
            each.name.upper() if isinstance(each, click.Argument) and each.name else "/".join(each.opts)
            for each in command.params
        ]
        yield " ".join([name, *parameters])


def _fixtures(plugin: ModuleType) -> Iterator[str]:
    for name in vars(plugin):
        if type(getattr(plugin, name)).__name__ == "FixtureFunctionDefinition":
            yield name


def text() -> str:
    return "\n".join(describe()) + "\n"


if __name__ == "__main__":
    SNAPSHOT.write_text(text(), encoding="utf-8")
