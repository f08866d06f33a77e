"""The commands and transcripts of the documentation, run by a terminal against a real application."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from flask_chatbotkit_auth.stores import open_store
from flask_chatbotkit_auth.testing import Sandbox
from tests.support.samples import files, replay, run, running, sample
from tests.support.servers import Browser

ADA = "ada@example.com"
EVE = "eve@example.com"


@pytest.fixture
def surroundings(chatbotkit_sandbox: Sandbox) -> dict[str, str]:
    """The environment that an application of the documentation finds."""
    return {
        "CHATBOTKIT_API_SECRET": "sk-test",
        "CHATBOTKIT_API_URL": chatbotkit_sandbox.url,
        "FLASK_SECRET_KEY": "0123456789abcdef0123456789abcdef",
    }


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A folder with the application of the quickstart."""
    (tmp_path / "shop.py").write_text(sample("run-quickstart").code, encoding="utf-8")
    return tmp_path


def test_the_quickstart_from_its_commands_to_a_protected_page(shop: Path) -> None:
    with running(shop, "flask chatbotkit-auth sandbox" + " --port 0") as sandbox:
        assert sandbox.stdout
        exports = [sandbox.stdout.readline().split() for _ in range(2)]
        assert [export for export, _ in exports] == ["export", "export"]
        settings = dict(assignment.split("=", 1) for _, assignment in exports)
        assert f"export CHATBOTKIT_API_SECRET={settings['CHATBOTKIT_API_SECRET']}"
        # Port 0 is any free one; what Flask takes is in what it prints.
        with running(shop, "flask --app shop run --debug", FLASK_RUN_PORT="0", **settings) as server:
            assert server.stdout
            lines = iter(server.stdout.readline, "")
            origin = next(found[1] for line in lines if (found := re.search(r"Running on (http://\S+)", line)))
            with Browser(origin, "127.0.0.1") as browser:
                assert browser.get("/dashboard").headers["Location"] == "/auth/sign-in?next=%2Fdashboard"
                assert browser.ask(ADA).status_code == 200
                code = next(found[1] for line in lines if (found := re.search(rf"code for {ADA}:  (\S+)", line)))
                assert browser.verify(code).status_code == 200
                assert browser.get("/dashboard").text == f"Only {ADA} sees this."
                assert f"Hello {ADA}!" in browser.get("/").text
    assert (shop / "instance" / "chatbotkit_auth.db").exists()


@pytest.mark.parametrize(
    ("command", "printed"),
    [
        ("flask --app shop chatbotkit-auth init-db", r"The store is ready\.\n"),
        ("flask --app shop chatbotkit-auth limits clear ada@example.com", r".*\n"),
        ("flask --app shop chatbotkit-auth doctor", r"(?s).*\nok +api .*\nok +store .*"),
    ],
)
def test_a_command_works(command: str, printed: str, shop: Path, surroundings: dict[str, str]) -> None:
    # The doctor wants a mail server; a rehearsal says that there is none.
    assert re.fullmatch(printed, run(shop, command, FLASK_DEBUG="1", **surroundings))


def test_the_line_for_cron_purges(shop: Path, surroundings: dict[str, str]) -> None:
    time, _, command = sample("crontab").code.strip().partition("  ")
    assert re.fullmatch(r"[\d*]+( [\d*]+){4}", time)
    folder, _, command = command.partition(" && ")
    assert folder.startswith("cd /")
    assert run(shop, command, **surroundings) == "0 forgotten.\n"


def test_the_migrations_make_the_tables(tmp_path: Path, surroundings: dict[str, str]) -> None:
    files(tmp_path, "migrate-")
    url = f"sqlite:///{tmp_path}/shop.db"
    for command in sample("migrate-commands").code.splitlines():
        printed = run(tmp_path, command, FLASK_SQLALCHEMY_DATABASE_URI=url, **surroundings)
    assert "add sign-in" in printed
    store = open_store(url)
    store.ping()
    assert store.get_challenge("none") is None
    store.close()


# Transcripts


def test_the_routes_of_the_product_are_as_shown(tmp_path: Path, surroundings: dict[str, str]) -> None:
    code = sample("product-app").code.replace('"sk-…"', '"sk-test"')
    (tmp_path / "product.py").write_text(code, encoding="utf-8")
    replay(sample("console-product-routes"), tmp_path, **surroundings)


def test_the_store_and_the_accounts_are_there_as_shown(
    shop: Path, surroundings: dict[str, str], chatbotkit_sandbox: Sandbox
) -> None:
    chatbotkit_sandbox.add_user(ADA, id="cab96d74b1470786e9f9c1428", name="Ada")
    chatbotkit_sandbox.add_user("bob@example.com", id="cba072499647fbf043f52a2c4", name="Bob")
    replay(sample("console-init-db"), shop, **surroundings)
    replay(sample("console-users"), shop, **surroundings)


def test_contacts_are_repaired_as_shown(shop: Path, surroundings: dict[str, str], chatbotkit_sandbox: Sandbox) -> None:
    noon = 1767268800000  # 2026-01-01, 12:00
    add = chatbotkit_sandbox.add_contact
    add(ADA, id="c-ada", name="Ada", verifiedAt=noon, meta={"email": "", "image": ""}, createdAt=noon)
    older = add("bob@example.com", id="c-bob", verifiedAt=noon, meta={"email": ""}, createdAt=noon + 1)
    add("bob@example.com", id="c-bob-2", meta={"email": "bob@example.com"}, createdAt=noon + 2)
    add(EVE, id="c-eve", meta={"email": EVE}, createdAt=noon + 3)
    surroundings["CHATBOTKIT_AUTH_ADAPTER"] = "contact"
    replay(sample("console-repair"), shop, **surroundings)
    assert not [call for call in chatbotkit_sandbox.requests if call.method == "POST"]
    replay(sample("console-repair-apply"), shop, **surroundings)
    assert older["meta"] == {"email": ""}
    # As the page says: without the address in the newer one's meta, he comes to the older one.
    chatbotkit_sandbox.contacts["c-bob-2"]["meta"] = {"email": ""}
    run(shop, "flask --app shop chatbotkit-auth repair --apply", **surroundings)
    shown = run(shop, "flask --app shop chatbotkit-auth users show bob@example.com", **surroundings)
    assert re.match(r"id: +c-bob\n", shown)


def test_people_are_imported_as_shown_and_come_in_both_ways(
    tmp_path: Path, surroundings: dict[str, str], chatbotkit_sandbox: Sandbox
) -> None:
    # Without a mail server, codes are printed.
    code = sample("run-both").code.replace('"sk-…"', '"sk-test"').replace('MAIL_SERVER="…",', "")
    (tmp_path / "shop.py").write_text(code, encoding="utf-8")
    people = """
        from datetime import datetime
        from werkzeug.security import generate_password_hash
        from shop import Person, create_app, db
        with create_app().app_context():
            secret = generate_password_hash("swordfish")
            ada = Person(email="Ada@Example.com", name="Ada", plan="pro", password_hash=secret)
            ada.confirmed_at = datetime(2026, 1, 1)
            db.session.add(ada)
            db.session.add(Person(email="nobody"))
            db.session.add(Person(email="eve@example.com"))
            db.session.commit()
    """
    program = "import textwrap; exec(textwrap.dedent(" + repr(people) + "))"
    run(tmp_path, shlex.join(["python", "-c", program]), **surroundings)
    replay(sample("console-import"), tmp_path, **surroundings)
    names = {user["email"]: user.get("name") for user in chatbotkit_sandbox.users.values()}
    assert names == {ADA: "Ada", EVE: None}
    replay(sample("console-create"), tmp_path, **surroundings)
    assert (
        run(tmp_path, "flask --app shop import-people", **surroundings)
        == "Person 2 has no address that mail can be sent to.\n"
    )

    with running(tmp_path, "flask --app shop run --debug", FLASK_RUN_PORT="0", **surroundings) as server:
        assert server.stdout
        lines = iter(server.stdout.readline, "")
        origin = next(found[1] for line in lines if (found := re.search(r"Running on (http://\S+)", line)))
        with Browser(origin, "127.0.0.1") as old, Browser(origin, "127.0.0.1") as new:
            form = {"email": ADA, "password": "swordfish", "csrf_token": old.token()}
            assert old.send("POST", "/old-sign-in", data=form).headers["Location"] == "/plan"
            assert new.ask(ADA).status_code == 200
            code = next(found[1] for line in lines if (found := re.search(rf"code for {ADA}:  (\S+)", line)))
            assert new.verify(code).status_code == 200
            assert old.get("/plan").text == new.get("/plan").text == f"{ADA} is on the pro plan."


def test_the_notes_by_curl_and_by_the_command_line(tmp_path: Path, surroundings: dict[str, str]) -> None:
    files(tmp_path, "apps-")
    with running(tmp_path, "flask --app notes run --debug", FLASK_RUN_PORT="0", **surroundings) as server:
        assert server.stdout
        lines = iter(server.stdout.readline, "")
        origin = next(found[1] for line in lines if (found := re.search(r"Running on (http://\S+)", line)))

        def code() -> str:
            return next(found[1] for line in lines if (found := re.search(rf"code for {ADA}:  (\S+)", line)))

        with subprocess.Popen(["bash"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as shell:
            assert shell.stdin
            shell.stdin.write(sample("apps-ask").code.replace("http://127.0.0.1:5000", origin))
            shell.stdin.flush()
            shell.stdin.write(sample("apps-use").code.replace("123456", code()))
            printed, _ = shell.communicate(timeout=60)
        assert f'"owner": "{ADA}"' in printed
        assert '"name": "curl"' in printed
        assert '"ended": 1' in printed

        environment = {"NOTES_SITE": origin, "NOTES_TOKEN": str(tmp_path / "token")}
        with subprocess.Popen(
            [sys.executable, "notes_cli.py"],
            cwd=tmp_path,
            env={**os.environ, **environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as client:
            assert client.stdin
            client.stdin.write(f"{ADA}\nzzzzzz\n")
            client.stdin.flush()
            client.stdin.write(f"{code()}\n")
            printed, complaint = client.communicate(timeout=60)
        assert client.returncode == 0, complaint
        assert f'"owner": "{ADA}"' in printed
        assert "That code isn't right" in complaint
        shown = sample("console-notes").code.splitlines()
        assert shown[0] == "$ python notes_cli.py"
        assert all(line.partition(": ")[0] in printed for line in shown[1:3])  # the prompts, then what the view answers
        assert json.loads(shown[3]) == json.loads(printed[printed.index("{") :])
        kept = tmp_path / "token"
        assert kept.read_text().startswith("cba-")
        assert kept.stat().st_mode & 0o077 == 0
        # The next time it asks for nothing.
        assert f'"owner": "{ADA}"' in run(tmp_path, f"{sys.executable} notes_cli.py", **environment)
