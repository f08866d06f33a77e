"""What an application adds to our pages: slots, blocks, and templates that extend ours of the same name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from flask import Flask, render_template_string
from flask.testing import FlaskClient
from flask_mail import Message
from jinja2 import StrictUndefined, UndefinedError
from werkzeug.test import TestResponse

from flask_chatbotkit_auth.testing.plugin import read_code
from tests.support.apps import MakeApp
from tests.support.steps import ADA, ask

SignIn = Callable[..., TestResponse]


@pytest.fixture
def own(app: Flask, tmp_path: Path) -> Callable[[str, str], None]:
    """Write a template of the application's own."""
    folder = tmp_path / "own" / "chatbotkit_auth"
    app.jinja_loader.searchpath.insert(0, str(folder.parent))  # type: ignore[union-attr]

    def write(name: str, text: str) -> None:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)

    return write


def test_a_template_extends_ours_of_the_same_name(
    own: Callable[[str, str], None], client: FlaskClient, sign_in: SignIn
) -> None:
    own("base.html", '{% extends "chatbotkit_auth/base.html" %}{% block footer %}Our imprint{% endblock %}')
    own("layout.html", '{% extends "chatbotkit_auth/layout.html" %}{% block head %}<!-- ours -->{% endblock %}')
    own("sign_in.html", '{% extends "chatbotkit_auth/sign_in.html" %}{% block terms %}Our terms{% endblock %}')
    own(
        "account.html",
        '{% extends "chatbotkit_auth/account.html" %}{% block more %}{{ super() }}Your plan{% endblock %}',
    )
    page = client.get("/auth/sign-in").text
    for text in ("Our imprint", "<!-- ours -->", "Our terms", "Send code"):
        assert page.count(text) == 1
    sign_in(client, "ada@example.com")
    page = client.get("/auth/account").text
    assert page.count("Your plan") == page.count("Our imprint") == 1
    assert "Where you&#39;re signed in" in page


def test_slots_take_what_an_application_adds(
    own: Callable[[str, str], None], client: FlaskClient, sign_in: SignIn
) -> None:
    own("slots/sign_in.html", '<p>By signing in you accept the <a href="/terms">terms</a> of {{ site_name }}.</p>')
    own("slots/account.html", "<p>Plan of {{ user.email }}</p>")
    assert '<a href="/terms">terms</a> of Shop' in client.get("/auth/sign-in").text
    sign_in(client, "ada@example.com")
    assert "Plan of ada@example.com" in client.get("/auth/account").text


def test_our_templates_know_the_filters_of_the_application(own: Callable[[str, str], None], app: Flask) -> None:
    client = app.test_client()
    client.get("/auth/sign-in")
    app.jinja_env.filters["shout"] = str.upper
    own("sign_out.html", "{{ 'bye'|shout }}")
    own("signed_out.html", "{{ 'bye'|shout }}")
    assert client.get("/auth/sign-out").text == "BYE"


def test_our_templates_know_the_globals_of_the_application_when_they_are_rendered(
    own: Callable[[str, str], None], app: Flask, chatbotkit_outbox: list[Message]
) -> None:
    own("_greeting.html", "{% macro greeting() %}{{ hall }}{% endmacro %}")
    own("slots/sign_in.html", '{{ hall }}{% from "chatbotkit_auth/_greeting.html" import greeting %}, {{ greeting() }}')
    own("mail/code.txt", "{{ hall }}: {{ code }}")
    app.jinja_env.globals["hall"] = "Town Hall"
    for name in ("Town Hall", "City Hall"):
        app.jinja_env.globals["hall"] = name
        page = app.test_client().get("/auth/sign-in").text
        # Jinja keeps an imported file as it was when it was imported.
        assert f"{name}, Town Hall" in page
        ask(app.test_client())
        assert str(chatbotkit_outbox[-1].body).startswith(f"{name}: ")


@pytest.mark.parametrize(("debug", "told"), [(True, 1), (False, 0)])
def test_a_layout_without_our_blocks_is_told_once_while_developing(
    own: Callable[[str, str], None],
    app: Flask,
    caplog: pytest.LogCaptureFixture,
    debug: bool,
    told: int,
) -> None:
    app.debug = debug
    own("../site.html", "<title>{% block title %}{% endblock %}</title>{% block body %}{% endblock %}")
    own("base.html", '{% extends "site.html" %}{% block head %}our style{% endblock %}')
    for _ in range(2):
        assert app.test_client().get("/auth/sign-in").status_code == 200
    sentence = (
        "site.html has no block content, head. Our pages fill the blocks title, head and content. Add what is missing."
    )
    assert caplog.text.count(sentence) == told


@pytest.mark.parametrize(
    "layout",
    [
        "<title>{% block title %}{% endblock %}</title>{% block head %}{% endblock %}{% block content %}{% endblock %}",
        '{% extends "root.html" %}{% block main %}{% block content %}{% endblock %}{% endblock %}',
        '{% extends root|default("root.html") %}',
    ],
)
def test_a_layout_with_our_blocks_is_told_nothing(
    own: Callable[[str, str], None], app: Flask, caplog: pytest.LogCaptureFixture, layout: str
) -> None:
    app.debug = True
    own("../root.html", "{% block title %}{% endblock %}{% block head %}{% endblock %}{% block main %}{% endblock %}")
    own("../site.html", layout)
    own("base.html", '{% extends "site.html" %}')
    assert app.test_client().get("/auth/sign-in").status_code == 200
    assert "has no block" not in caplog.text


def every_page(client: FlaskClient, sign_in: SignIn) -> list[str]:
    """Return the text of each page of a sign-in, with those about something that went wrong."""
    pages = [client.get("/auth/sign-in")]
    form = {"csrf_token": client.get("/auth/session").get_json()["csrf_token"]}
    for path, fields in (("sign-in", {"email": "no address"}), ("sign-in", {"email": ADA}), ("verify", {"code": "no"})):
        answer = client.post(f"/auth/{path}", data={**form, **fields})
        pages.append(client.get(answer.location))
    sign_in(client, ADA)
    pages += [client.get(f"/auth/{path}") for path in ("account", "account/email", "account/activity", "sign-out")]
    assert {page.status_code for page in pages} == {200, 400}
    return [page.text for page in pages]


EVERYTHING = {
    "CHATBOTKIT_AUTH_ORIGIN": "http://localhost",
    **{f"CHATBOTKIT_AUTH_{name}": True for name in ("EMAIL_CHANGE", "EVENTS", "PASSKEYS", "REMEMBER_CHOICE")},
}


def test_pages_and_mails_work_where_a_missing_value_is_an_error(
    make_app: MakeApp, sign_in: SignIn, chatbotkit_outbox: list[Message]
) -> None:
    strict = make_app(**EVERYTHING)
    strict.jinja_env.undefined = StrictUndefined
    assert len(every_page(strict.test_client(), sign_in)) == 8
    assert read_code(chatbotkit_outbox[0]).isdigit()
    with strict.test_request_context(), pytest.raises(UndefinedError):
        render_template_string("{{ missing }}")  # the application's own stay as they were


def test_an_application_has_delimiters_of_its_own(
    make_app: MakeApp, sign_in: SignIn, chatbotkit_outbox: list[Message], tmp_path: Path
) -> None:
    vue = make_app(**EVERYTHING)
    vue.jinja_env.variable_start_string, vue.jinja_env.variable_end_string = "[[", "]]"
    vue.jinja_env.block_start_string, vue.jinja_env.block_end_string = "<%", "%>"
    folder = tmp_path / "vue" / "chatbotkit_auth"
    folder.mkdir(parents=True)
    vue.jinja_loader.searchpath.insert(0, str(folder.parent))  # type: ignore[union-attr]
    extends, own = (
        '<% extends "chatbotkit_auth/base.html" %>',
        "<% block footer %>{{ vue }} [[ site_name ]]<% endblock %>",
    )
    (folder / "base.html").write_text(f"{extends}{own}")
    for page in every_page(vue.test_client(), sign_in):
        assert page.count("{{ vue }} Shop") == 1
        assert "{%" not in page
        assert page.count("{{") == 1
    assert "{{" not in str(chatbotkit_outbox[0].html) + str(chatbotkit_outbox[0].body)


@pytest.mark.parametrize(
    ("name", "server_name", "shown"),
    [
        ("my_shop.web", None, "My Shop"),
        ("shop", "www.parley.example:5000", "parley.example"),
        ("shop", "localhost:5000", "Shop"),
        ("shop", "127.0.0.1:5000", "Shop"),
        ("app", None, "App"),
    ],
)
def test_the_site_has_a_name_that_people_can_read(
    make_app: MakeApp, name: str, server_name: str | None, shown: str
) -> None:
    app = make_app(SERVER_NAME=server_name)
    app.name = name
    page = app.test_client().get("/auth/sign-in", base_url=f"http://{server_name or 'localhost'}").text
    assert f'<h1 class="auth-title">Sign in to <bdi translate="no">{shown}</bdi></h1>' in page


def test_a_box_to_stay_signed_in_is_there_where_it_is_wanted(make_app: MakeApp) -> None:
    for switch, count in ((False, 0), (True, 1)):
        page = make_app(CHATBOTKIT_AUTH_REMEMBER_CHOICE=switch).test_client().get("/auth/sign-in").text
        assert page.count("Keep me signed in") == count
    # Ticked, the box is the first of the two fields of its name.
    assert page.index('type="checkbox" name="remember" value="true"') < page.index('name="remember" value="false"')
