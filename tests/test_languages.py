"""The languages: catalogues that are whole and right, every page and mail in each, and English where nobody chose."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from datetime import timedelta
from gettext import GNUTranslations
from html import unescape
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from babel import Locale
from babel.messages.catalog import Catalog
from babel.messages.frontend import CommandLineInterface
from flask import Flask, request
from flask.testing import FlaskClient
from flask_babel import Babel, force_locale
from flask_mail import Message
from markupsafe import Markup
from werkzeug.test import TestResponse

from flask_chatbotkit_auth.exceptions import (
    APIError,
    ChatBotKitAuthError,
    CodeExpired,
    InvalidCode,
    InvalidEmail,
    LifecycleDisabled,
    MailError,
    NoChallenge,
    RateLimited,
    SignInDenied,
    SignUpDisabled,
    StoreError,
    TooManyAttempts,
)
from flask_chatbotkit_auth.languages import DOMAIN, ENGLISH, current_language, gettext, ngettext, pgettext
from flask_chatbotkit_auth.testing import Sandbox
from flask_chatbotkit_auth.testing.plugin import read_code
from flask_chatbotkit_auth.web import errors
from flask_chatbotkit_auth.web import sentences as sentence_tables
from tests.support.apps import Clock, MakeApp
from tests.support.catalogues import (
    EVERY_LANGUAGE,
    LANGUAGES,
    PACKAGE,
    Key,
    Said,
    catalogue,
    compiled,
    forms,
    key_of,
    read,
)

ADA = "ada@example.com"
CHROME = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 Chrome/126.0 Safari/537.36"

SETTINGS = {
    "CHATBOTKIT_API_RETRIES": 0,
    "CHATBOTKIT_AUTH_AUTO_DELETE": True,
    "CHATBOTKIT_AUTH_RATE_LIMITS": {"request:email": "20/hour"},
}

SignIn = Callable[..., TestResponse]
# Catalogues


@pytest.fixture(scope="module")
def sentences(tmp_path_factory: pytest.TempPathFactory) -> set[Key]:
    """What code and templates say, extracted as CONTRIBUTING.md has it."""
    path = tmp_path_factory.mktemp("extracted") / "messages.pot"
    root = PACKAGE.parent
    if not (root / "pyproject.toml").is_file():
        pytest.skip("sentences are extracted from a checkout")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        command: Any = CommandLineInterface()
        command.run(["pybabel", "-q", "extract", "-F", "pyproject.toml", "-o", str(path), "."])
    return {key_of(message) for message in read(path) if message.id}


def placeholders(sentence: str) -> list[str]:
    return sorted(re.findall(r"%(?:\(\w+\)s|.)", sentence))


def test_there_are_the_twelve_languages() -> None:
    assert sorted(path.name for path in (PACKAGE / "translations").iterdir()) == LANGUAGES


def test_what_a_table_says_is_extracted(sentences: set[Key]) -> None:
    assert len(sentences) > 120
    said = {sentence for _, sentence in (*sentence_tables.SENTENCES, *sentence_tables.ACCOUNT_SENTENCES)}
    assert said <= sentences


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("templates/**/*.*")), ids=lambda path: path.name)
def test_a_template_translates_nothing_but_literal_sentences(path: Path) -> None:
    calls = re.findall(r"\b(?:_|ngettext|pgettext)\((.)", path.read_text(encoding="utf-8"))
    assert set(calls) <= {'"'}


@EVERY_LANGUAGE
def test_a_catalogue_says_everything_and_nothing_else(
    language: str, sentences: set[Key], request: pytest.FixtureRequest
) -> None:
    catalog = catalogue(language)
    said = {key_of(message) for message in catalog if message.id}
    if said != sentences and not request.config.getoption("--require-services"):
        pytest.skip(f"{len(sentences - said)} sentences await their translation, {len(said - sentences)} are gone")
    assert said == sentences
    assert not catalog.obsolete
    for message in catalog:
        assert not message.fuzzy, message.id
        assert all(form.strip() for form in forms(message.string)), message.id
        if message.id and not isinstance(message.id, str):
            assert len(forms(message.string)) == catalog.num_plurals, message.id


@EVERY_LANGUAGE
def test_the_forms_of_a_sentence_take_the_values_that_it_has(language: str) -> None:
    catalog = catalogue(language)
    rule = GNUTranslations(BytesIO(compiled(catalog))).plural  # type: ignore[attr-defined]
    for message in catalog:
        if isinstance(message.id, str):
            if message.id:
                assert placeholders(str(message.string)) == placeholders(message.id), message.id
            continue
        asked = placeholders(message.id[1])
        for index, form in enumerate(forms(message.string)):
            numbers = [number for number in range(200) if rule(number) == index]
            # A form for one number alone may say it in a word: Arabic has a dual.
            allowed = [asked, [each for each in asked if each != "%(num)s"]] if len(numbers) == 1 else [asked]
            assert placeholders(form) in allowed, form


@EVERY_LANGUAGE
def test_a_catalogue_holds_text_and_no_markup(language: str) -> None:
    for message in catalogue(language):
        if message.id:
            for form in forms(message.string):
                assert not re.search(r"[<>&{}\n]", form), form
                assert form == form.strip(), form
                assert ("https://" in form) == ("https://" in forms(message.id)[0]), form
                assert ("ada@example.com" in form) == ("ada@example.com" in forms(message.id)[0]), form


@EVERY_LANGUAGE
def test_what_is_compiled_is_in_step(language: str) -> None:
    path = PACKAGE / "translations" / language / "LC_MESSAGES" / f"{DOMAIN}.mo"
    with path.open("rb") as file:
        shipped = GNUTranslations(file)
    fresh = GNUTranslations(BytesIO(compiled(catalogue(language))))
    assert {key: value for key, value in _entries(shipped) if key} == {
        key: value for key, value in _entries(fresh) if key
    }


def _entries(translations: GNUTranslations) -> Iterator[tuple[Key, str]]:
    yield from translations._catalog.items()  # type: ignore[attr-defined]


# Pages and mails


def accepted() -> str | None:
    return request.accept_languages.best_match(["en", *LANGUAGES])


@pytest.fixture
def babel_app(make_app: MakeApp) -> Flask:
    app = make_app(**SETTINGS)
    Babel(app, locale_selector=accepted)
    return app


def browser_of(app: Flask, language: str) -> FlaskClient:
    client = app.test_client()
    client.environ_base.update(HTTP_ACCEPT_LANGUAGE=language, HTTP_USER_AGENT=CHROME)
    return client


class Seen(NamedTuple):
    name: str
    status: int
    html: str


def visit(client: FlaskClient, outbox: list[Message], sandbox: Sandbox, clock: Clock) -> Iterator[Seen]:
    """Walk through everything that a person may see, and more wrong turns than one person takes."""

    def show(name: str, path: str, /, **form: str) -> Seen:
        token = client.get("/auth/session").get_json()["csrf_token"]
        data = {**form, "csrf_token": token}
        answer = client.post(path, data=data, follow_redirects=True) if form else client.get(path)
        return Seen(name, answer.status_code, answer.text)

    yield show("sign-in", "/auth/sign-in")
    yield show("sign-in-error", "/auth/sign-in", email="ada")
    yield show("verify", "/auth/sign-in", email=ADA)
    yield show("resent-too-soon", "/auth/resend", again="1")
    clock.advance(31)
    yield show("resent", "/auth/resend", again="1")
    for attempt in range(5):
        yield show(f"wrong-{attempt}", "/auth/verify", code="zzzzzz")
    yield show("again", "/auth/sign-in", email=ADA)
    sandbox.fail("*", status=503)
    yield show("unreachable", "/auth/verify", code=read_code(outbox[-1]))
    sandbox.heal()
    show("dashboard", "/auth/verify", code="")
    yield show("used", "/auth/verify", code="zzzzzz")
    yield show("account", "/auth/account")
    yield show("profile-error", "/auth/account/profile", name="x" * 200, image="ftp://x")
    yield show("profile-saved", "/auth/account/profile", name="Ada")
    yield show("nobody-there", "/auth/account/sessions/none/end", again="1")
    yield show("ended-others", "/auth/account/sessions/end-others", again="1")
    yield show("delete", "/auth/account/delete")
    yield show("delete-code", "/auth/account/delete/code", again="1")
    yield show("delete-error", "/auth/account/delete", confirm="eve@example.com", code="zzzzzz")
    yield show("too-large", "/auth/sign-in", email="x" * 70_000)
    yield show("sign-out", "/auth/sign-out")
    show("signed-out", "/auth/sign-out", again="1")
    yield show("signed-out", "/auth/sign-out")
    answer = client.post("/auth/sign-in", data={"email": ADA}, follow_redirects=True)
    yield Seen("csrf", answer.status_code, answer.text)


def text_of(html: str) -> str:
    """Return what a page shows and says: its text, its labels, what its script will say."""
    said = re.findall(r'(?:aria-label|alt|title|data-\w+)="([^"]*)"', html)
    return "\n".join([unescape(re.sub(r"<(style|script).*?</\1>|<[^>]+>", "\n", html, flags=re.DOTALL)), *said])


def english_of(language: str) -> list[str]:
    """Return sentences that only English has."""
    found = []
    for message in catalogue(language):
        if message.id:
            for each in forms(message.id):
                if len(each.split()) > 2 and each not in forms(message.string):
                    found.append(re.split(r"%\(\w+\)s", each)[0].strip() or re.split(r"%\(\w+\)s", each)[1].strip())
    return [each for each in found if len(each.split()) > 2]


@EVERY_LANGUAGE
def test_every_page_and_mail_is_in_the_language_that_the_application_chose(
    language: str,
    babel_app: Flask,
    chatbotkit_outbox: list[Message],
    chatbotkit_sandbox: Sandbox,
    clock: Clock,
) -> None:
    english = english_of(language)
    assert len(english) > 80
    direction = "rtl" if language == "ar" else "ltr"
    pages = list(visit(browser_of(babel_app, language), chatbotkit_outbox, chatbotkit_sandbox, clock))
    assert {page.status for page in pages} == {200, 400, 403, 404, 413, 429, 503}
    for page in pages:
        assert f'<html lang="{language}" dir="{direction}">' in page.html, page.name
        assert [each for each in english if each in text_of(page.html)] == [], page.name
    assert len(chatbotkit_outbox) == 4
    for mail in chatbotkit_outbox:
        code = read_code(mail)
        assert mail.subject is not None
        assert mail.subject.startswith(code)
        assert f'<html lang="{language}" dir="{direction}">' in str(mail.html)
        assert [each for each in english if each in f"{mail.subject}{mail.body}{text_of(str(mail.html))}"] == []
        assert 'dir="ltr"' in re.search(r"<td class=\"code\"[^>]*>", str(mail.html))[0]  # type: ignore[index]


def test_nothing_that_a_person_reads_goes_past_the_catalogues(
    make_app: MakeApp,
    tmp_path: Path,
    sentences: set[Key],
    chatbotkit_outbox: list[Message],
    chatbotkit_sandbox: Sandbox,
    clock: Clock,
) -> None:
    # A language of which every sentence can be told by its brackets.
    strange = Catalog("eo")
    for each in sentences:
        if isinstance(each, Said):
            strange.add(each.sentence, f"⟦{each.sentence}⟧", context=each.context)
        else:
            strange.add(each, f"⟦{each}⟧" if isinstance(each, str) else tuple(f"⟦{form}⟧" for form in each))
    write_catalogue(tmp_path, "eo", strange)
    app = make_app(**SETTINGS, BABEL_DEFAULT_LOCALE="eo", BABEL_TRANSLATION_DIRECTORIES=str(tmp_path))
    Babel(app)
    pages = list(visit(browser_of(app, "en"), chatbotkit_outbox, chatbotkit_sandbox, clock))
    data = {
        "Shop",
        "s",
        "a",
        "–",
        "·",
        ADA,
        *ADA.partition("@"),
        "@example.com",
        "S",
        "A",
        "Ada",
        "Chrome",
        "Windows",
    }
    for page in pages:
        rest = re.sub(r"⟦[^⟦⟧]*(⟦[^⟦⟧]*⟧[^⟦⟧]*)*⟧", "", text_of(page.html))
        rest = re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d UTC|2026-\S+|127.0.0.1|\b\d{1,2}\b", "", rest)
        assert set(rest.split()) <= data, page.name
    for mail in chatbotkit_outbox:
        rest = re.sub(r"⟦[^⟦⟧]*(⟦[^⟦⟧]*⟧[^⟦⟧]*)*⟧", "", f"{mail.subject}\n{mail.body}\n{text_of(str(mail.html))}")
        code = read_code(mail)
        assert set(rest.split()) <= {code, code[:3], code[3:]}


ERRORS: list[ChatBotKitAuthError] = [
    InvalidEmail(),
    NoChallenge(),
    InvalidCode(0),
    InvalidCode(3),
    CodeExpired(),
    TooManyAttempts(),
    *(RateLimited(seconds, limit) for seconds in (1, 2, 5, 30, 120) for limit in ("request:email", "verify:ip")),
    RateLimited(1, "resend:max"),
    SignInDenied(),
    SignUpDisabled(),
    LifecycleDisabled("CHATBOTKIT_AUTH_AUTO_DELETE"),
    MailError(),
    StoreError(),
    APIError(),
    ChatBotKitAuthError(),
]


@EVERY_LANGUAGE
def test_an_error_is_explained_in_the_language_and_named_as_ever(language: str, babel_app: Flask) -> None:
    english = english_of(language)
    for error in ERRORS:
        with babel_app.test_request_context(headers={"Accept-Language": language}):
            told = errors.json_problem(error).get_json()["error"]
            page = errors.problem(error).get_data(as_text=True)
        assert told["code"] == error.error_code
        assert [each for each in english if each in told["message"] + text_of(page)] == [], error
        assert "%(" not in told["message"]


def test_a_json_message_is_translated_and_its_code_is_not(babel_app: Flask) -> None:
    client = browser_of(babel_app, "de")
    token = client.get("/auth/session").get_json()["csrf_token"]
    answer = client.post("/auth/sign-in", json={"email": "ada"}, headers={"X-CSRFToken": token}).get_json()["error"]
    assert answer["code"] == "invalid_email"
    assert answer["message"] == "Geben Sie eine gültige E-Mail-Adresse ein"


def test_a_mail_is_dated_as_its_language_does(
    babel_app: Flask, sign_in: SignIn, chatbotkit_outbox: list[Message]
) -> None:
    sign_in(browser_of(babel_app, "de"), ADA)
    assert "Angefordert am 1. Januar 2026 um 12:00 Uhr UTC mit Chrome auf Windows." in str(chatbotkit_outbox[0].body)
    sign_in(browser_of(babel_app, "ja"), ADA)
    assert "2026年1月1日 12:00（UTC）に Windows の Chrome から依頼されました。" in str(chatbotkit_outbox[1].body)


def test_a_code_is_read_from_left_to_right_wherever_it_stands_in_an_arabic_mail(
    babel_app: Flask, sign_in: SignIn, chatbotkit_outbox: list[Message], browser: Any
) -> None:
    sign_in(browser_of(babel_app, "ar"), ADA)
    code = read_code(chatbotkit_outbox[0])
    page = browser.new_page()
    page.set_content(str(chatbotkit_outbox[0].html))
    # Each half of the code, wherever a text holds it, with where its left side is seen.
    seen = page.evaluate(
        """code => {
            const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT), found = [];
            while (walk.nextNode()) for (const half of [code.slice(0, 3), code.slice(3)]) {
                const at = walk.currentNode.data.indexOf(half), range = document.createRange();
                if (at < 0) continue;
                range.setStart(walk.currentNode, at);
                range.setEnd(walk.currentNode, at + 3);
                const box = range.getBoundingClientRect();
                if (box.width > 3) found.push([half, box.left, box.top]);  // the preview shows nothing
            }
            return found;
        }""",
        code,
    )
    page.close()
    halves = [half for half, *_ in seen]
    assert halves == [code[:3], code[3:]] * 2, "in the heading and in the box"
    for (_, first, top), (_, second, top_of_second) in zip(seen[::2], seen[1::2], strict=True):
        assert top == top_of_second
        assert first < second


@pytest.mark.parametrize("language", ["de", "ar"])
def test_the_answer_in_a_language_does_not_tell_whether_there_is_an_account(
    language: str, make_app: MakeApp, chatbotkit_sandbox: Sandbox, chatbotkit_outbox: list[Message]
) -> None:
    app = make_app(CHATBOTKIT_AUTH_AUTO_CREATE=False, MAIL_SUPPRESS_SEND=True, WTF_CSRF_ENABLED=False)
    Babel(app, locale_selector=accepted)
    chatbotkit_sandbox.add_user("q1q1q1@example.com")
    answers = []
    for address in ("q1q1q1@example.com", "q2q2q2@example.com"):
        client = browser_of(app, language)
        first = client.post("/auth/sign-in", data={"email": address})
        second = client.get("/auth/verify")
        shown = re.sub(r'name="csrf_token" value="[^"]*"', "", second.text).replace(address.split("@")[0], "")
        answers.append((first.status_code, first.location, second.status_code, shown))
    assert len(chatbotkit_outbox) == 1
    assert answers[0] == answers[1]


# The choice


def test_without_flask_babel_everything_is_english(
    client: FlaskClient, monkeypatch: pytest.MonkeyPatch, sign_in: SignIn, chatbotkit_outbox: list[Message]
) -> None:
    for name in ("babel", "flask_babel"):
        monkeypatch.setitem(sys.modules, name, None)
    client.environ_base["HTTP_ACCEPT_LANGUAGE"] = "de"
    page = client.get("/auth/sign-in").text
    assert '<html lang="en" dir="ltr">' in page
    assert "Send code" in page
    assert sign_in(client, ADA).status_code == 200
    assert "Asked for at 12:00 UTC on 1 January 2026" in str(chatbotkit_outbox[0].body)
    assert '<html lang="en" dir="ltr">' in str(chatbotkit_outbox[0].html)


@pytest.mark.parametrize(
    ("locale", "tag", "sign_in"),
    [
        ("de_AT", "de-AT", "Bei Shop anmelden"),
        ("pt_BR", "pt-BR", "Entrar em Shop"),
        ("zh_CN", "zh-Hans-CN", "登录 Shop"),
        ("zh_Hans", "zh-Hans", "登录 Shop"),
        ("ar_EG", "ar-EG", "تسجيل الدخول إلى Shop"),
        ("en_GB", "en-GB", "Sign in to Shop"),
        # Nobody who reads these has been asked: they get English, and the page says so.
        ("zh_TW", "en", "Sign in to Shop"),
        ("sv_SE", "en", "Sign in to Shop"),
    ],
)
def test_a_locale_is_served_by_its_language(make_app: MakeApp, locale: str, tag: str, sign_in: str) -> None:
    app = make_app(BABEL_DEFAULT_LOCALE=locale)
    Babel(app)
    page = app.test_client().get("/auth/sign-in").text
    assert f'<html lang="{tag}"' in page
    name = '<bdi translate="no">Shop</bdi>'
    assert f'<h1 class="auth-title">{sign_in.replace("Shop", name)}</h1>' in page


def write_catalogue(folder: Path, language: str, catalog: Catalog) -> None:
    path = folder / language / "LC_MESSAGES" / f"{DOMAIN}.mo"
    path.parent.mkdir(parents=True)
    path.write_bytes(compiled(catalog))


@pytest.mark.parametrize("locale", ["pl", "pl_PL"])
def test_an_application_changes_a_sentence_and_keeps_the_others(make_app: MakeApp, tmp_path: Path, locale: str) -> None:
    own = Catalog(locale)
    own.add("Send code", "Poproszę o kod")
    write_catalogue(tmp_path, locale, own)
    app = make_app(BABEL_DEFAULT_LOCALE="pl_PL", BABEL_TRANSLATION_DIRECTORIES=f"nowhere;{tmp_path};translations")
    Babel(app)
    page = app.test_client().get("/auth/sign-in").text
    assert "Poproszę o kod" in page
    assert "Adres e-mail" in page
    with app.test_request_context():
        numbers = [ngettext("%(num)s second", "%(num)s seconds", number) for number in (1, 2, 5, 22)]
    assert numbers == ["1 sekundę", "2 sekundy", "5 sekund", "22 sekundy"]


def test_an_application_adds_a_language_and_changes_the_english(make_app: MakeApp, tmp_path: Path) -> None:
    swedish = Catalog("sv")
    swedish.add("Send code", "Skicka kod")
    write_catalogue(tmp_path, "sv", swedish)
    english = Catalog("en")
    english.add("Send code", "Mail me")
    write_catalogue(tmp_path, "en", english)
    app = make_app(BABEL_TRANSLATION_DIRECTORIES=str(tmp_path))
    Babel(app, locale_selector=lambda: request.args["l"])
    client = app.test_client()
    assert '<html lang="sv" dir="ltr">' in client.get("/auth/sign-in?l=sv").text
    assert "Skicka kod" in client.get("/auth/sign-in?l=sv").text
    for locale in ("en", "en_US", "fi"):
        assert "Mail me" in client.get(f"/auth/sign-in?l={locale}").text


@pytest.mark.parametrize("data", [b"", b"msgid", bytes.fromhex("de120495") + b"\xff" * 40])
def test_a_catalogue_that_cannot_be_read_costs_only_itself(
    make_app: MakeApp, tmp_path: Path, caplog: pytest.LogCaptureFixture, data: bytes
) -> None:
    path = tmp_path / "de" / "LC_MESSAGES" / f"{DOMAIN}.mo"
    path.parent.mkdir(parents=True)
    path.write_bytes(data)
    app = make_app(BABEL_DEFAULT_LOCALE="de", BABEL_TRANSLATION_DIRECTORIES=str(tmp_path))
    Babel(app)
    assert "Bei Shop anmelden" in app.test_client().get("/auth/sign-in").text
    assert f"{path} cannot be read" in caplog.text


def test_a_slip_in_an_application_s_catalogue_costs_only_the_translation(
    make_app: MakeApp, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    own = Catalog("de")
    own.add("This email went to %(email)s.", "Diese Mail ging an %(adresse)s.")
    own.add(("%(num)s second", "%(num)s seconds"), ("%(num)d Sekunde %", "%(num)s %(x)s"))
    write_catalogue(tmp_path, "de", own)
    app = make_app(BABEL_DEFAULT_LOCALE="de", BABEL_TRANSLATION_DIRECTORIES=str(tmp_path))
    Babel(app)
    with app.test_request_context():
        assert gettext("This email went to %(email)s.", email=ADA) == f"This email went to {ADA}."
        assert ngettext("%(num)s second", "%(num)s seconds", 1) == "1 second"
        assert ngettext("%(num)s second", "%(num)s seconds", 7) == "7 seconds"
    assert "the translation of 'This email went to %(email)s.' has wrong placeholders" in caplog.text
    assert ADA not in caplog.text


def test_outside_a_request_the_application_forces_a_language_or_its_default_holds(make_app: MakeApp) -> None:
    assert current_language() is ENGLISH
    app = make_app(BABEL_DEFAULT_LOCALE="it")
    Babel(app, locale_selector=accepted)
    with app.app_context():
        assert current_language().tag == "it"
    with app.app_context(), force_locale("fr"):
        assert gettext("Sign in") == "Se connecter"


def test_what_fails_in_the_application_s_selector_is_not_hidden(make_app: MakeApp) -> None:
    app = make_app()

    def selector() -> str:
        raise RuntimeError("the application's own")

    Babel(app, locale_selector=selector)
    with pytest.raises(RuntimeError, match="the application's own"):
        app.test_client().get("/auth/sign-in")


# Plurals in the browser


@pytest.mark.parametrize("language", ["en", *LANGUAGES])
def test_a_browser_finds_the_sentence_for_every_number(language: str, babel_app: Flask, browser: Any) -> None:
    with babel_app.test_request_context(headers={"Accept-Language": language}):
        samples = current_language().samples
    ours = [Locale.parse(language).plural_form(number) for number in range(1, 101)]
    page = browser.new_page()
    program = "tag => Array.from({length: 100}, (_, n) => new Intl.PluralRules(tag).select(n + 1))"
    assert page.evaluate(program, language) == ours
    page.close()
    assert set(ours) <= samples.keys()


def test_the_countdown_has_a_sentence_for_each_form(babel_app: Flask) -> None:
    client = browser_of(babel_app, "pl")
    client.get("/auth/sign-in")
    token = client.get("/auth/session").get_json()["csrf_token"]
    page = client.post("/auth/sign-in", data={"email": ADA, "csrf_token": token}, follow_redirects=True).text
    assert 'data-one="Nowy kod możesz wysłać za {n} sekundę."' in page
    assert 'data-few="Nowy kod możesz wysłać za {n} sekundy."' in page
    assert 'data-many="Nowy kod możesz wysłać za {n} sekund."' in page
    assert "Nowy kod możesz wysłać za 30 sekund.</p>" in page


# Sentences


def test_one_english_sentence_is_two_where_a_language_needs_it(make_app: MakeApp, tmp_path: Path) -> None:
    own = Catalog("sv")
    own.add("Sign out", "Logga ut")
    own.add("Sign out", "Logga ut den", context="a device")
    write_catalogue(tmp_path, "sv", own)
    app = make_app(BABEL_DEFAULT_LOCALE="sv", BABEL_TRANSLATION_DIRECTORIES=str(tmp_path))
    Babel(app)
    with app.test_request_context():
        assert gettext("Sign out") == "Logga ut"
        assert pgettext("a device", "Sign out") == "Logga ut den"
        assert pgettext("a device", "Nothing %(what)s", what="else") == "Nothing else"
    assert ENGLISH.pgettext("a device", "Sign out") == "Sign out"


def test_markup_in_a_sentence_stays_and_all_else_is_escaped() -> None:
    bold = Markup("<b>%s</b>") % "a&b@example.com"
    said = ENGLISH.gettext("It's %(what)s for %(email)s", what="<i>", email=bold)
    assert said == Markup("It&#39;s &lt;i&gt; for <b>a&amp;b@example.com</b>")
    assert ENGLISH.gettext("It's %(what)s", what="<i>") == "It's <i>"


@pytest.mark.parametrize(
    ("minutes", "english", "german"),
    [
        (0, "1 minute ago", "vor 1 Minute"),
        (7, "7 minutes ago", "vor 7 Minuten"),
        (120, "2 hours ago", "vor 2 Stunden"),
        (3 * 24 * 60, "3 days ago", "vor 3 Tagen"),
    ],
)
def test_how_long_ago_is_told_in_the_language(babel_app: Flask, minutes: int, english: str, german: str) -> None:
    assert ENGLISH.ago(timedelta(minutes=minutes)) == english
    with babel_app.test_request_context(headers={"Accept-Language": "de"}):
        assert current_language().ago(timedelta(minutes=minutes)) == german
