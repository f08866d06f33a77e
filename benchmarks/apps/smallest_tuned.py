"""The same as :mod:`benchmarks.apps.smallest` with everything dear taken out.

One form of HTML without a library, two prepared statements and an insert, a kept connection to the API, and a mail composed
as text.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import smtplib
import sqlite3
import time
from email.utils import formatdate, make_msgid

import requests
import sqlalchemy as sa
from flask import Flask, abort, redirect, render_template, request, session
from flask_login import LoginManager, UserMixin, current_user, login_required, login_user
from werkzeug import Response

from .instruments import API, FOLDER, MAIL_PORT, count_sqlalchemy, instrumented

MAIL = """From: no-reply@example.com\r
To: {email}\r
Subject: {code} is your code\r
Date: {date}\r
Message-ID: {id}\r
MIME-Version: 1.0\r
Content-Type: multipart/alternative; boundary="{boundary}"\r
\r
--{boundary}\r
Content-Type: text/plain; charset=utf-8\r
\r
Your code is\r
\r
    {code}\r
\r
It works for {minutes} minutes. Did you not ask for it? Then ignore this email.\r
--{boundary}\r
Content-Type: text/html; charset=utf-8\r
\r
<!doctype html>\r
<html lang="en"><head><meta charset="utf-8"><title>Your code</title></head>\r
<body style="font-family: sans-serif; margin: 0; padding: 24px"><p>Your code is</p>\r
<p style="font-size: 28px; letter-spacing: 4px"><strong>{code}</strong></p>\r
<p>It works for {minutes} minutes. Did you not ask for it? Then ignore this email.</p></body></html>\r
--{boundary}--\r
"""
ADDRESS = re.compile(r"[a-z0-9._%+-]{1,64}@(?:[a-z0-9-]{1,63}\.)+[a-z]{2,63}")
CODE_LIFETIME = 600
SESSION_LIFETIME = 14 * 86400
MAX_ATTEMPTS = 5

app = Flask(__name__)
app.config["SECRET_KEY"] = "not a secret"
login_manager = LoginManager(app)
login_manager.login_view = "sign_in"
count_sqlalchemy()
api = requests.Session()
api.trust_env = False
api.headers.update({"Authorization": "Bearer sk-test", "Accept": "application/json"})

engine = sa.create_engine(f"sqlite:///{FOLDER}/tuned.db")


@sa.event.listens_for(engine, "connect")
def prepare(connection: sqlite3.Connection, _: object) -> None:
    # A commit waits for no disk; the newest may be lost with the machine's power.
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=NORMAL")


metadata = sa.MetaData()
codes = sa.Table(
    "codes",
    metadata,
    sa.Column("id", sa.String, primary_key=True),
    sa.Column("email", sa.String, nullable=False),
    sa.Column("digest", sa.String, nullable=False),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("used", sa.Boolean, nullable=False),
    sa.Column("expires_at", sa.Integer, nullable=False),
)
sessions = sa.Table(
    "sessions",
    metadata,
    sa.Column("id", sa.String, primary_key=True),
    sa.Column("user_id", sa.String, nullable=False, index=True),
    sa.Column("email", sa.String, nullable=False),
    sa.Column("name", sa.String, nullable=False),
    sa.Column("expires_at", sa.Integer, nullable=False),
)
metadata.create_all(engine)

add_code, add_session = codes.insert(), sessions.insert()
# The gate: an attempt is counted and compared, and the code used up, in one statement on one row.
try_code = (
    codes.update()
    .where(
        codes.c.id == sa.bindparam("_id"),
        ~codes.c.used,
        codes.c.attempts < MAX_ATTEMPTS,
        codes.c.expires_at > sa.bindparam("now"),
    )
    .values(attempts=codes.c.attempts + 1, used=codes.c.digest == sa.bindparam("typed"))
    .returning(codes.c.used, codes.c.email)
)
find_session = sa.select(sessions.c.email).where(
    sessions.c.id == sa.bindparam("_id"), sessions.c.expires_at > sa.bindparam("now")
)


class User(UserMixin):  # type: ignore[misc]  # Flask-Login has no type information
    def __init__(self, token: str, email: str) -> None:
        self.id = token
        self.email = email


@login_manager.user_loader  # type: ignore[untyped-decorator]
def load_session(token: str) -> User | None:
    with engine.connect() as connection:
        found = connection.execute(find_session, {"_id": digest_of(token), "now": int(time.time())}).first()
    return User(token, found.email) if found is not None else None


@app.get("/sign-in")
def sign_in() -> str:
    return form("Sign in", "Email", "email")


@app.post("/sign-in")
def sign_in_post() -> str | Response:
    check_token()
    email = request.form["email"].strip().lower()
    if not ADDRESS.fullmatch(email):
        return form("Sign in", "Email", "email", "This is not an email address.")
    code, id = secrets.token_hex(3), secrets.token_hex(16)
    values = {"id": id, "email": email, "digest": digest_of(id + code), "attempts": 0, "used": False}
    with engine.begin() as connection:
        connection.execute(add_code, {**values, "expires_at": int(time.time()) + CODE_LIFETIME})
    send_code(email, code)
    session["code_id"] = id
    return redirect("/verify", 303)


@app.get("/verify")
def verify() -> str:
    return form("Enter your code", "Code", "code")


@app.post("/verify")
def verify_post() -> str | Response:
    check_token()
    id = session.get("code_id", "")
    typed = digest_of(id + request.form["code"].strip().lower())
    with engine.begin() as connection:
        tried = connection.execute(try_code, {"_id": id, "now": int(time.time()), "typed": typed}).first()
    if tried is None or not tried.used:
        return form("Enter your code", "Code", "code", "This code is wrong or does not work any more.")
    account = find_account(tried.email)
    if account is None:
        abort(403)
    token = secrets.token_urlsafe(32)
    values = {"id": digest_of(token), "user_id": account["id"], "email": tried.email, "name": account.get("name") or ""}
    with engine.begin() as connection:
        connection.execute(add_session, {**values, "expires_at": int(time.time()) + SESSION_LIFETIME})
    session.clear()
    login_user(User(token, tried.email))
    return redirect("/page", 303)


@app.get("/page")
@login_required  # type: ignore[untyped-decorator]
def page() -> str:
    return f"Hello {current_user.email}"


def form(title: str, label: str, name: str, error: str | None = None) -> str:
    if "csrf_token" not in session:
        session["csrf_token"] = secrets.token_urlsafe(24)
    return render_template(
        "tuned_form.html", title=title, label=label, name=name, error=error, token=session["csrf_token"]
    )


def check_token() -> None:
    known = session.get("csrf_token", "")
    if not known or not hmac.compare_digest(known.encode(), request.form.get("csrf_token", "").encode()):
        abort(400)


def send_code(email: str, code: str) -> None:
    message = MAIL.format(
        email=email,
        code=code,
        date=formatdate(),
        id=make_msgid(domain="example.com"),
        boundary=secrets.token_hex(16),
        minutes=CODE_LIFETIME // 60,
    )
    with smtplib.SMTP("127.0.0.1", MAIL_PORT, "example.com", timeout=10) as host:
        host.sendmail("no-reply@example.com", [email], message.encode())


def find_account(email: str) -> dict[str, str] | None:
    answer = api.get(f"{API}/api/v1/partner/user/list", params={"email": email}, timeout=10)
    answer.raise_for_status()
    return next((each for each in answer.json()["items"] if each["email"].lower() == email), None)


def digest_of(text: str) -> str:
    return hmac.digest(b"not a secret", text.encode(), hashlib.sha256).hex()


application = instrumented(app)
