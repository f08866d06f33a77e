"""One answer of an authenticator, sent many times at once to four workers, signs in once."""

from __future__ import annotations

import json
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest
import requests

from flask_chatbotkit_auth.testing import Sandbox, SoftwareAuthenticator
from tests.support.kinds import SHARED
from tests.support.servers import Browser, gunicorn, mailbox

ORIGIN = "https://shop.example.com"
TIMES = 40


@pytest.mark.parametrize("store_url", SHARED, indirect=True, scope="module")
def test_one_answer_at_once_is_one_sign_in(store_url: str, tmp_path: Path) -> None:
    with Sandbox(secret="sk-test") as sandbox, mailbox() as box:
        environment = {
            "FLASK_SECRET_KEY": "the key of this test",
            "FLASK_MAIL_SERVER": "127.0.0.1",
            "FLASK_MAIL_PORT": str(box.port),
            "CHATBOTKIT_API_SECRET": "sk-test",
            "CHATBOTKIT_API_URL": sandbox.url,
            "CHATBOTKIT_AUTH_AUTO_CREATE": "true",
            "CHATBOTKIT_AUTH_STORE_URL": store_url,
            "CHATBOTKIT_AUTH_PASSKEYS": "true",
            "CHATBOTKIT_AUTH_ORIGIN": ORIGIN,
        }
        with (
            gunicorn(tmp_path, environment, "--threads", "4") as origin,
            Browser(origin) as ada,
            Browser(origin) as eve,
        ):
            ada.ask("ada@example.com")
            assert ada.verify(box.codes("ada@example.com")[-1]).status_code == 200
            device = SoftwareAuthenticator(ORIGIN)
            options = ada.post("/auth/account/passkeys/options", {}).json()["publicKey"]
            assert ada.post("/auth/account/passkeys", {"credential": device.create(options)}).status_code == 200
            answer = device.get(eve.post("/auth/passkey/options", {}).json()["publicKey"])
            token, cookies, start = eve.token(), eve.cookies, Barrier(TIMES)

            def send(_number: int) -> requests.Response:
                with Browser(origin) as copy:
                    copy.cookies = cookies
                    start.wait()
                    return copy.send(
                        "POST", "/auth/passkey", json={"credential": answer}, headers={"X-CSRFToken": token}
                    )

            with ThreadPoolExecutor(TIMES) as pool:
                answers = list(pool.map(send, range(TIMES)))
            outcomes = Counter("in" if each.status_code == 200 else each.json()["error"]["code"] for each in answers)
            assert outcomes == {"in": 1, "passkey_expired": TIMES - 1}, json.dumps(outcomes)
            sessions = ada.get("/auth/account", headers={"Accept": "application/json"}).json()["sessions"]
            assert len(sessions) == 2
