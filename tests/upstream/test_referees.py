"""The official SDKs as referees: they get from the sandbox what the platform's reference says, and send what we send."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import chatbotkit
import pytest

from flask_chatbotkit_auth import APIStatusError, ChatBotKitClient, ContactAdapter, PartnerAdapter
from flask_chatbotkit_auth.testing import Sandbox

ADA = "ada@example.com"
FINGERPRINT = "f" * 64
HELLO = {"messages": [{"type": "user", "text": "Hello"}]}
SCRIPT = Path(__file__).parents[1] / "support" / "referee.mjs"
NODE_SDK = "@chatbotkit/sdk@^1.36"

SAID = {
    "nobody": [],
    "taken": "CONFLICT",
    "found": [True],
    "merged": {"plan": "free", "seats": 3},
    "replaced": {"plan": "team"},
    "unknownField": "BAD_REQUEST",
    "fingerprint": "CONFLICT",
    "ensured": True,
    "byMeta": [ADA],
    "contact": {"email": ADA, "image": "x"},
    "own": [],
    "foreign": "NOT_AUTHORIZED",
    "text": True,
    "types": ["token", "message", "usage", "result"],
    "option": "BAD_REQUEST",
    "gone": "BAD_REQUEST",
    "deleted": "NOT_FOUND",
    "unknown": "NOT_FOUND",
}
"""What each step must give, whoever takes it."""


def ours(url: str) -> dict[str, Any]:
    """Take the steps with our client."""
    client = ChatBotKitClient("sk-test", url, retries=0)
    said: dict[str, Any] = {}

    def refusal(call: Callable[[], object]) -> str | None:
        try:
            call()
        except APIStatusError as error:
            return error.code
        return None

    new_user = {"email": ADA, "name": "Ada", "meta": {"plan": "pro", "seats": 3}}
    said["nobody"] = client.get("/user/list", {"email": ADA})["items"]
    user = client.post("/user/create", new_user)["id"]
    said["taken"] = refusal(lambda: client.post("/user/create", new_user))
    said["found"] = [item["id"] == user for item in client.get("/user/list", {"email": ADA})["items"]]
    client.post(f"/user/{user}/update", {"meta": {"$update": {"plan": "free"}}})
    said["merged"] = client.get(f"/user/{user}/fetch")["meta"]
    client.post(f"/user/{user}/update", {"name": "", "meta": {"plan": "team"}})
    said["replaced"] = client.get(f"/user/{user}/fetch")["meta"]
    said["unknownField"] = refusal(lambda: client.post(f"/user/{user}/update", {"colour": "red"}))
    new_contact = {"fingerprint": FINGERPRINT, "email": ADA, "verifiedAt": 5, "meta": {"email": ADA}}
    contact = client.post("/contact/create", new_contact)["id"]
    said["fingerprint"] = refusal(lambda: client.post("/contact/create", new_contact))
    ensured = client.post("/contact/ensure", {"fingerprint": FINGERPRINT, "email": "eve@example.com"})
    said["ensured"] = ensured["id"] == contact
    listed = client.get("/contact/list", {"meta.email": ADA, "order": "asc"})
    said["byMeta"] = [item["email"] for item in listed["items"]]
    client.post(f"/contact/{contact}/update", {"name": "Ada", "meta": {"$update": {"image": "x"}}})
    said["contact"] = client.get(f"/contact/{contact}/fetch")["meta"]
    as_ada = client.run_as(user)
    said["own"] = as_ada.get("/contact/list")["items"]
    said["foreign"] = refusal(lambda: as_ada.get(f"/contact/{contact}/fetch"))
    said["text"] = "Hello" in as_ada.post("/conversation/complete", HELLO)["text"]
    events = client.stream("/conversation/complete", {**HELLO, "contactId": contact})
    said["types"] = list(dict.fromkeys(event["type"] for event in events))
    said["option"] = refusal(lambda: client.post("/conversation/complete", {**HELLO, "temperature": 1}))
    said["gone"] = refusal(lambda: client.post("/conversation/complete", {**HELLO, "contactId": "gone"}))
    client.post(f"/contact/{contact}/delete")
    said["deleted"] = refusal(lambda: client.get(f"/contact/{contact}/fetch"))
    client.post(f"/user/{user}/delete")
    said["unknown"] = refusal(lambda: client.get(f"/user/{user}/fetch"))
    return said


async def theirs(url: str) -> dict[str, Any]:
    """Take the steps with the Python SDK."""
    said: dict[str, Any] = {}

    async def refusal(call: Awaitable[object]) -> str | None:
        try:
            await call
        except chatbotkit.APIError as error:
            return str(error.code)
        return None

    async def items(call: Awaitable[Any]) -> list[Any]:
        try:
            return list((await call).items)
        except AssertionError:
            return []  # SDK 0.6 insists on a cursor, and an empty list has none

    new_user = {"email": ADA, "name": "Ada", "meta": {"plan": "pro", "seats": 3}}
    new_contact = {"fingerprint": FINGERPRINT, "email": ADA, "verifiedAt": 5, "meta": {"email": ADA}}
    async with chatbotkit.ChatBotKit(token="sk-test", base_url=url) as client:
        users, contacts, conversations = client.user, client.contact, client.conversation
        said["nobody"] = await items(users.list({"email": ADA}))
        user = (await users.create(new_user)).id
        said["taken"] = await refusal(users.create(new_user))
        said["found"] = [item.id == user for item in (await users.list({"email": ADA})).items]
        await users.update(user, {"meta": {"$update": {"plan": "free"}}})
        said["merged"] = (await users.fetch(user)).meta
        await users.update(user, {"name": "", "meta": {"plan": "team"}})
        said["replaced"] = (await users.fetch(user)).meta
        said["unknownField"] = await refusal(users.update(user, {"colour": "red"}))
        contact = (await contacts.create(new_contact)).id
        said["fingerprint"] = await refusal(contacts.create(new_contact))
        ensured = await contacts.ensure({"fingerprint": FINGERPRINT, "email": "eve@example.com"})
        said["ensured"] = ensured.id == contact
        listed = await contacts.list({"meta": {"email": ADA}, "order": "asc"})
        said["byMeta"] = [item.email for item in listed.items]
        await contacts.update(contact, {"name": "Ada", "meta": {"$update": {"image": "x"}}})
        said["contact"] = (await contacts.fetch(contact)).meta
        async with chatbotkit.ChatBotKit(token="sk-test", base_url=url, run_as_user_id=user) as as_ada:
            said["own"] = await items(as_ada.contact.list())
            said["foreign"] = await refusal(as_ada.contact.fetch(contact))
            answer: Any = await as_ada.conversation.complete(None, HELLO)
            said["text"] = "Hello" in answer.text
        events = [event async for event in conversations.complete(None, {**HELLO, "contactId": contact}).stream()]
        said["types"] = list(dict.fromkeys(event.type.value for event in events))
        said["option"] = await refusal(conversations.complete(None, {**HELLO, "temperature": 1}))
        said["gone"] = await refusal(conversations.complete(None, {**HELLO, "contactId": "gone"}))
        await contacts.delete(contact)
        said["deleted"] = await refusal(contacts.fetch(contact))
        await users.delete(user)
        said["unknown"] = await refusal(users.fetch(user))
    return said


def _sent(sandbox: Sandbox) -> list[tuple[Any, ...]]:
    """Return what arrived, without the ids of the day and whichever name the resource of sub-accounts was called by."""
    calls = []
    for call in sandbox.requests:
        path = re.sub(r"c[0-9a-f]{24}", "ID", call.path.replace("/partner/user/", "/user/"))
        body = re.sub(r"c[0-9a-f]{24}", "ID", json.dumps(call.json, sort_keys=True))
        query = {re.sub(r"meta\[(.+)\]", r"meta.\1", key): value for key, value in call.query.items()}
        acting = call.headers.get("x-runas-user-id") is not None
        accept = call.headers.get("Accept") == "application/jsonl"
        calls.append((call.method, path, query, body, acting, accept, call.headers.get("Authorization")))
    return calls


@pytest.fixture
def sent_by_us() -> list[tuple[Any, ...]]:
    with Sandbox(secret="sk-test") as sandbox:
        sandbox.token_delay = 0
        assert ours(sandbox.url) == SAID
        return _sent(sandbox)


def test_the_python_sdk_gets_what_the_reference_says_and_sends_what_we_send(
    chatbotkit_sandbox: Sandbox, sent_by_us: list[tuple[Any, ...]]
) -> None:
    chatbotkit_sandbox.token_delay = 0
    assert asyncio.run(theirs(chatbotkit_sandbox.url)) == SAID
    assert _sent(chatbotkit_sandbox) == sent_by_us


def test_the_node_sdk_gets_what_the_reference_says_and_sends_what_we_send(
    chatbotkit_sandbox: Sandbox, sent_by_us: list[tuple[Any, ...]], node_sdk: Path, installed: Callable[[str], str]
) -> None:
    chatbotkit_sandbox.token_delay = 0
    done = subprocess.run(
        [installed("node"), str(SCRIPT), str(node_sdk), chatbotkit_sandbox.url, "sk-test"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {**SAID, "browser": [None, "NOT_AUTHORIZED"]}
    assert _sent(chatbotkit_sandbox)[: len(sent_by_us)] == sent_by_us


def test_what_the_sdks_write_we_read(chatbotkit_sandbox: Sandbox) -> None:
    client = ChatBotKitClient("sk-test", chatbotkit_sandbox.url)

    async def write() -> None:
        async with chatbotkit.ChatBotKit(token="sk-test", base_url=chatbotkit_sandbox.url) as sdk:
            await sdk.user.create({"email": ADA, "name": "Ada", "limits": {"messages": 5}})
            await sdk.contact.create(
                {"email": ADA, "name": "Ada", "meta": {"email": ADA, "image": "x"}, "verifiedAt": 5}
            )

    asyncio.run(write())
    account = PartnerAdapter(client).get_by_email(ADA)
    contact = ContactAdapter(client).get_by_email(ADA)
    assert account is not None
    assert contact is not None
    assert (account.name, account.limits, contact.name, contact.image) == ("Ada", {"messages": 5}, "Ada", "x")


@pytest.fixture
def node_sdk(request: pytest.FixtureRequest, installed: Callable[[str], str]) -> Path:
    """The folder that the Node SDK is installed in, kept from one run of the tests to the next."""
    npm = installed("npm")
    folder = Path(tempfile.gettempdir()) / f"flask-chatbotkit-auth-{re.sub(r'[^a-z0-9.]+', '-', NODE_SDK)}"
    if not folder.exists():
        with tempfile.TemporaryDirectory(dir=tempfile.gettempdir()) as fresh:
            command = [npm, "install", "--prefix", fresh, "--no-audit", "--no-fund", "--no-save", NODE_SDK]
            done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
            if done.returncode:
                reason = f"the Node SDK cannot be installed ({done.stderr.strip()[-200:]})"
                pytest.fail(reason) if request.config.getoption("--require-services") else pytest.skip(reason)
            try:
                Path(fresh).rename(folder)  # whole or not at all, whichever process is first
            except OSError:
                assert folder.exists()
            Path(fresh).mkdir(exist_ok=True)
    return folder
