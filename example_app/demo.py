"""The demo: a stand-in of the ChatBotKit API, and a page with the mails in place of a mail server.

The product runs twice on it, side by side: in partner mode, and with its twin in contact mode below ``/contact``.

A real application has nothing of this. Everything lives as long as the process. To share the stand-in between several
processes, start it apart and tell them where it is::

    flask chatbotkit-auth sandbox --port 8180
    SECRET_KEY=… CHATBOTKIT_API_URL=http://127.0.0.1:8180 gunicorn --workers 4 "example_app:create_app()"
"""

from __future__ import annotations

import email.policy
import os
import secrets
import sys
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from email.message import EmailMessage
from email.utils import parsedate_to_datetime
from importlib.util import find_spec
from ipaddress import ip_address
from pathlib import Path
from typing import Any, NamedTuple, cast
from urllib.parse import urlsplit

import click
from flask import Blueprint, Flask, Response, abort, current_app, g, jsonify, redirect, render_template, request
from flask_mail import Message, email_dispatched
from werkzeug.middleware.dispatcher import DispatcherMiddleware
from werkzeug.serving import is_running_from_reloader
from werkzeug.wrappers import Response as AnyResponse

from flask_chatbotkit_auth import current_auth
from flask_chatbotkit_auth.testing import Sandbox

SECRET = "sk-sandbox"  # noqa: S105  # opens nothing but the stand-in
MAILS_KEPT = 10

STEPS = {
    "POST /auth/sign-in": "Asked for a code",
    "POST /auth/resend": "Asked for another code",
    "POST /auth/verify": "Typed a code",
    "GET /dashboard": "Opened the dashboard",
    "POST /auth/link": "Opened the link of a mail",
    "POST /chat": "Began a chat",
    "POST /chat/<id>": "Sent a chat message",
    "GET /history": "Opened the history",
    "GET /admin": "Opened the list of accounts",
    "GET /auth/account": "Opened the account page",
    "POST /auth/account/email/verify": "Changed the address",
    "POST /auth/sign-out": "Signed out",
}

bp = Blueprint("demo", __name__)


class Step(NamedTuple):
    """Something a person did, as a sub-account or as a contact, and the calls to the API that it took."""

    kind: str
    title: str
    calls: list[str]


class Mail(NamedTuple):
    """A mail that was not sent."""

    id: int
    message: EmailMessage

    @property
    def date(self) -> Any:
        return parsedate_to_datetime(self.message["Date"])


@dataclass
class Demo:
    """What the demo's pages show, in both modes.

    :param inbox: the folder of the mails, one file each, since several processes may share it.
    :param sandbox: the stand-in of the API, where this process runs it.
    :param paths: where the product is, by ``"partner"`` and ``"contact"``.
    """

    inbox: Path
    sandbox: Sandbox | None
    paths: dict[str, str]
    steps: deque[Step] = field(default_factory=lambda: deque(maxlen=12))

    @property
    def here(self) -> bool:
        """Whether the request comes from this machine, and somebody switched the inbox on: it shows codes.

        The switch is debug mode or ``FLASK_DEMO=1``. A proxy on this machine may add nothing to a request that tells of it,
        so that where a secret was lost in production, nothing but the switch would keep strangers out.
        """
        if not (current_app.debug or current_app.config.get("DEMO")) or _proxied():
            return False
        # By the name it was sent to as well, or any web site could lead a browser here by a DNS name of its own.
        name = urlsplit(request.host_url).hostname or ""
        named_here = name == "localhost" or name.startswith("127.") or name == "::1"
        return named_here and ip_address(request.remote_addr or "0.0.0.0").is_loopback  # noqa: S104

    @property
    def kind(self) -> str:
        """``"partner"`` or ``"contact"``: what the request came to."""
        return current_auth.kind

    def home(self, kind: str) -> str:
        """Where the product begins in the mode ``kind``."""
        return request.script_root.removesuffix(self.paths[self.kind]) + self.paths[kind] + "/"

    def keep(self, _app: Flask, *, message: Message) -> None:
        """Put a mail into the inbox."""
        self.inbox.mkdir(parents=True, exist_ok=True)
        part = self.inbox / f"{time.time_ns()}.part"
        part.write_bytes(message.as_bytes())
        part.rename(part.with_suffix(".eml"))
        for old in self._files()[MAILS_KEPT:]:
            old.unlink(missing_ok=True)

    def mails(self) -> list[Mail]:
        """Return the mails, newest first."""
        return [_read(path) for path in self._files()]

    def empty(self) -> None:
        """Throw away the mails of an earlier process, whose codes are worth nothing now."""
        for path in self._files():
            path.unlink(missing_ok=True)

    def _files(self) -> list[Path]:
        return sorted(self.inbox.glob("*.eml"), reverse=True)


def init_app(app: Flask, create_app: Callable[..., Flask]) -> None:
    """Run an application on the stand-in, with its twin in the other mode beside it."""
    demo = app.config.get("EXAMPLE_DEMO") or _begin(app)
    app.config.update(CHATBOTKIT_API_SECRET=SECRET, MAIL_SUPPRESS_SEND=True)
    # Links in mails begin with it, and passkeys belong to it: they take a name, and no 127.0.0.1.
    here = f"http://localhost:{_port()}"
    app.config.setdefault("CHATBOTKIT_AUTH_ORIGIN", os.environ.get("CHATBOTKIT_AUTH_ORIGIN", here))
    app.config.setdefault("CHATBOTKIT_AUTH_NOTICES", True)
    app.config.setdefault("CHATBOTKIT_AUTH_MAIL_LINK", True)
    app.config.setdefault("CHATBOTKIT_AUTH_PASSKEYS", find_spec("webauthn") is not None)
    # On the account page, and not between a code and the chat.
    app.config.setdefault("CHATBOTKIT_AUTH_PASSKEY_OFFER", False)
    if demo.sandbox:
        app.config.update(CHATBOTKIT_API_URL=demo.sandbox.url)
        # People and keys are new with each start, so that no cookie outlives the person it stands for.
        app.secret_key = app.secret_key or secrets.token_hex(16)
    email_dispatched.connect(demo.keep, app)
    app.extensions["example_demo"] = demo
    app.register_blueprint(bp)
    if "EXAMPLE_DEMO" not in app.config:
        _mount_twin(app, demo, create_app)


def _begin(app: Flask) -> Demo:
    """Begin a demo on the stand-in of this process, or on the one at ``CHATBOTKIT_API_URL``."""
    kind = os.environ.get("CHATBOTKIT_AUTH_ADAPTER", "partner")
    other = "contact" if kind == "partner" else "partner"
    demo = Demo(Path(app.instance_path) / "inbox", None, {kind: "", other: f"/{other}"})
    if "CHATBOTKIT_API_URL" not in os.environ:
        demo.sandbox = Sandbox(SECRET).start()
        demo.sandbox.token_delay = 0.05  # as if it had to think
        demo.sandbox.add_user("ada@example.com", name="Ada", meta={"role": "admin"})
        demo.sandbox.add_user("ben@example.com", name="Ben")
        demo.sandbox.add_contact("ada@example.com", name="Ada", meta={"email": "ada@example.com", "role": "admin"})
        demo.sandbox.add_contact("ben@example.com", name="Ben", meta={"email": "ben@example.com"})
        demo.empty()
    if not is_running_from_reloader():
        print(  # noqa: T201
            " * No CHATBOTKIT_API_SECRET of your own is set: this is a demo on a stand-in of the API.\n"
            f" * Its mails, with the codes, {_inbox_state(app)}.\n"
            f" * The same product runs in {other} mode at /{other}/.",
            file=sys.stderr,
        )
    return demo


def _port() -> int:
    """Return the port of the `flask run` that is making the application; by default 5000, as it is there."""
    command = click.get_current_context(silent=True)
    return (command and command.params.get("port")) or 5000


def _inbox_state(app: Flask) -> str:
    if app.debug or app.config.get("DEMO"):
        return "arrive at the page /inbox"
    return "are shown to nobody: start it with --debug, or set FLASK_DEMO=1, to read them at /inbox"


def _proxied() -> bool:
    """Return whether the request shows a sign of a proxy."""
    names = [name.lower() for name, _ in request.headers]
    signs = ("x-forwarded", "forwarded", "via", "x-real-ip", "x-client-ip", "true-client-ip", "cf-connecting-ip")
    # No browser speaks HTTP/1.0. nginx does, where nobody told it otherwise.
    return any(name.startswith(signs) for name in names) or request.environ.get("SERVER_PROTOCOL") == "HTTP/1.0"


def _mount_twin(app: Flask, demo: Demo, create_app: Callable[..., Flask]) -> None:
    kind, path = next((kind, path) for kind, path in demo.paths.items() if path)
    twin = create_app(
        str(Path(app.instance_path) / kind),  # codes and sessions of its own
        EXAMPLE_DEMO=demo,
        CHATBOTKIT_AUTH_ADAPTER=kind,
        DEMO=app.config.get("DEMO"),
        SESSION_COOKIE_NAME=f"{kind}_session",  # or signing in to one would sign out of the other
        REMEMBER_COOKIE_NAME=f"{kind}_remember_token",
    )
    app.wsgi_app = DispatcherMiddleware(app.wsgi_app, {path: twin})  # type: ignore[method-assign]


def current_demo() -> Demo:
    return cast(Demo, current_app.extensions["example_demo"])


@bp.app_context_processor
def _offer_demo() -> dict[str, Any]:
    return {"demo": current_demo()}


@bp.before_app_request
def _begin_step() -> None:
    sandbox = current_demo().sandbox
    g.calls_before = len(sandbox.requests) if sandbox else 0


@bp.before_app_request
def _lead_to_origin() -> AnyResponse | None:
    """Lead a browser from the address that `flask run` prints to the name that mails and passkeys know."""
    origin = urlsplit(current_app.config["CHATBOTKIT_AUTH_ORIGIN"])
    printed = (origin.hostname, request.host) == ("localhost", f"127.0.0.1:{origin.port}")
    if printed and request.method == "GET" and "text/html" in request.headers.get("Accept", ""):
        return redirect(request.url.replace("//127.0.0.1", "//localhost", 1))
    return None


@bp.after_app_request
def _end_step(response: Response) -> Response:
    title = STEPS.get(f"{request.method} {request.url_rule}")
    sandbox = current_demo().sandbox
    if title and sandbox and response.status_code < 400:
        calls = [f"{call.method} {call.path.removeprefix('/api/v1')}" for call in sandbox.requests[g.calls_before :]]
        current_demo().steps.appendleft(Step(current_demo().kind, title, calls))
    return response


@bp.before_request
def _refuse_strangers() -> None:
    if not current_demo().here:
        abort(404)


@bp.get("/inbox")
def inbox() -> str:
    """The mails that would have been sent."""
    return render_template("inbox.html", mails=current_demo().mails())


@bp.get("/inbox/latest")
def latest() -> Response:
    """The id of the newest mail, for the page that waits for it."""
    mails = current_demo().mails()
    return jsonify(latest=str(mails[0].id) if mails else "")


@bp.get("/inbox/<int:id>")
def mail(id: int) -> Response:
    """One mail as its reader sees it, for a frame."""
    found = next((mail for mail in current_demo().mails() if mail.id == id), None)
    body = found and found.message.get_body(("html",))
    if not body:
        abort(404)
    # Mails bring their styles along; scripts they may not, and their links open beside the inbox.
    response = Response(body.get_content().replace("<head>", '<head><base target="_blank">', 1))
    response.headers["Content-Security-Policy"] = (
        "default-src 'none'; style-src 'unsafe-inline'; img-src 'self' data: https:; frame-ancestors 'self'; "
        "sandbox allow-popups allow-popups-to-escape-sandbox"
    )
    response.headers["X-Frame-Options"] = "SAMEORIGIN"
    return response


def _read(path: Path) -> Mail:
    return Mail(int(path.stem), email.message_from_bytes(path.read_bytes(), policy=email.policy.default))
