"""The templates of pages and mails: the application's own first, and then ours, also if both have the same name."""

from __future__ import annotations

import logging
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any, cast

from flask import Flask
from jinja2 import (
    BaseLoader,
    ChoiceLoader,
    Environment,
    FileSystemLoader,
    PrefixLoader,
    StrictUndefined,
    Template,
    Undefined,
    defaults,
    nodes,
)

from .proxies import running_app

_log = logging.getLogger("flask_chatbotkit_auth")

_OURS = "flask_chatbotkit_auth:"
_KEY = "chatbotkit_auth_templates"
_FOLDER = Path(__file__).parent / "templates"

_SYNTAX = {
    name.lower(): getattr(defaults, name)
    for part in ("BLOCK", "VARIABLE", "COMMENT")
    for name in (f"{part}_START_STRING", f"{part}_END_STRING")
}
"""Jinja's own delimiters, in which our templates are written."""


def template(name: str) -> Template:
    """Return the template ``chatbotkit_auth/<name>``: the application's, or else ours.

    A template of the application can extend or include its own name, and gets ours. In Jinja this would be an endless loop.
    """
    app = running_app()
    if _KEY not in app.extensions:
        app.extensions[_KEY] = _overlay(app)
        if app.debug and _has_our_syntax(app.jinja_env):
            _tell_of_missing_blocks(app.extensions[_KEY])
    return cast(Environment, app.extensions[_KEY]).get_template(f"chatbotkit_auth/{name}")


def _overlay(app: Flask) -> Environment:
    # It shares filters, globals and extensions with the application's environment, which is not changed.
    environment = app.jinja_env.overlay()
    if issubclass(environment.undefined, StrictUndefined):
        environment.undefined = Undefined  # our templates ask for values that may be missing
    usual = environment.join_path
    ours = FileSystemLoader(_FOLDER)
    theirs = cast(BaseLoader, environment.loader)
    environment.loader = ChoiceLoader([PrefixLoader({_OURS[:-1]: ours}, delimiter=":"), theirs])

    def join_path(template: str, parent: str) -> str:
        return _OURS + template if template == parent else usual(template, parent)

    environment.join_path = join_path  # type: ignore[method-assign]

    def make_globals(d: MutableMapping[str, Any] | None) -> MutableMapping[str, Any]:
        return {**environment.globals, **d} if d else environment.globals

    # Jinja's own chains two mappings. Each rendering and each import copies the chain, which takes longer than the rest.
    environment.make_globals = make_globals  # type: ignore[method-assign]
    if not _has_our_syntax(environment):
        _compile_ours_apart(environment)
    return environment


def _has_our_syntax(environment: Environment) -> bool:
    return all(getattr(environment, name) == value for name, value in _SYNTAX.items())


def _compile_ours_apart(environment: Environment) -> None:
    """Compile our templates with Jinja's own delimiters, and those of the application with the ones that it has set."""
    usual, standard = environment.compile, environment.overlay(**_SYNTAX)

    def compile(source: Any, name: str | None = None, filename: str | None = None, **options: Any) -> Any:
        ours = filename is not None and Path(filename).is_relative_to(_FOLDER)
        return (standard.compile if ours else usual)(source, name, filename, **options)

    environment.compile = compile  # type: ignore[assignment,method-assign]


def _tell_of_missing_blocks(environment: Environment) -> None:
    """Log the blocks that our pages fill and the layout around them lacks: Jinja leaves them out without a word."""
    name: str | None = "chatbotkit_auth/base.html"
    outermost, shown = "", set()
    while name is not None:
        outermost = name
        tree = environment.parse(cast(BaseLoader, environment.loader).get_source(environment, name)[0])
        parent = next(tree.find_all(nodes.Extends), None)
        # The outermost template shows its blocks, and each block those that are in it.
        for block in (tree, *tree.find_all(nodes.Block)) if parent is None else tree.find_all(nodes.Block):
            shown |= {each.name for each in block.find_all(nodes.Block)}
        name = None
        if parent is not None:
            if not isinstance(parent.template, nodes.Const):
                return  # known only while a page is rendered
            name = environment.join_path(parent.template.value, outermost)
    if missing := sorted({"title", "head", "content"} - shown):
        _log.warning(
            "%s has no block %s. Our pages fill the blocks title, head and content. Add what is missing.",
            outermost,
            ", ".join(missing),
        )
