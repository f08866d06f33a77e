"""The smallest application that does the same sign-in, as one would write it by hand.

It has no rate limits, no second code, one language and plain pages.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import requests
from flask import Flask, abort, redirect, render_template, session
from flask_login import LoginManager, UserMixin, current_user, login_required, login_user
from flask_mail import Mail, Message
from flask_sqlalchemy import SQLAlchemy
from flask_wtf import FlaskForm
from sqlalchemy import CursorResult, Update, select, update
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from werkzeug import Response
from wtforms import StringField
from wtforms.validators import DataRequired, Email

from .instruments import API, FOLDER, MAIL_PORT, count_sqlalchemy, instrumented

CODE_LIFETIME = timedelta(minutes=10)
SESSION_LIFETIME = timedelta(days=14)
MAX_ATTEMPTS = 5


class Base(DeclarativeBase):
    pass


app = Flask(__name__)
app.config.update(
    SECRET_KEY="not a secret",
    SQLALCHEMY_DATABASE_URI=f"sqlite:///{FOLDER}/smallest.db",
    MAIL_PORT=MAIL_PORT,
    MAIL_DEFAULT_SENDER="no-reply@example.com",
)
count_sqlalchemy()
db = SQLAlchemy(app, model_class=Base)
mail = Mail(app)
login_manager = LoginManager(app)
login_manager.login_view = "sign_in"


class Code(db.Model):  # type: ignore[name-defined,misc]  # Flask-SQLAlchemy makes the class
    id: Mapped[str] = mapped_column(primary_key=True)
    email: Mapped[str]
    digest: Mapped[str]
    attempts: Mapped[int] = mapped_column(default=0)
    used: Mapped[bool] = mapped_column(default=False)
    expires_at: Mapped[datetime]


class Session(UserMixin, db.Model):  # type: ignore[name-defined,misc]
    id: Mapped[str] = mapped_column(primary_key=True)
    user_id: Mapped[str] = mapped_column(index=True)
    email: Mapped[str]
    name: Mapped[str]
    expires_at: Mapped[datetime]
    token = ""

    def get_id(self) -> str:
        return self.token


class EmailForm(FlaskForm):  # type: ignore[misc]  # Flask-WTF has no type information
    email = StringField("Email", [DataRequired(), Email()])


class CodeForm(FlaskForm):  # type: ignore[misc]
    code = StringField("Code", [DataRequired()])


with app.app_context():
    db.create_all()


@login_manager.user_loader  # type: ignore[untyped-decorator]
def load_session(token: str) -> Session | None:
    found = db.session.get(Session, digest_of(token))
    return found if found is not None and found.expires_at > now() else None


@app.route("/sign-in", methods=["GET", "POST"])
def sign_in() -> str | Response:
    form = EmailForm()
    if not form.validate_on_submit():
        return render_template("sign_in.html", form=form)
    code, id = secrets.token_hex(3), secrets.token_hex(16)
    email = form.email.data.strip().lower()
    db.session.add(Code(id=id, email=email, digest=digest_of(id + code), expires_at=now() + CODE_LIFETIME))
    db.session.commit()
    send_code(email, code)
    session["code_id"] = id
    return redirect("/verify", 303)


@app.route("/verify", methods=["GET", "POST"])
def verify() -> str | Response:
    form = CodeForm()
    if not form.validate_on_submit():
        return render_template("verify.html", form=form)
    email = use_code(session.get("code_id", ""), form.code.data.strip().lower())
    if email is None:
        form.code.errors = ["This code is wrong or does not work any more."]
        return render_template("verify.html", form=form)
    account = find_account(email)
    if account is None:
        abort(403)
    token = secrets.token_urlsafe(32)
    entry = Session(id=digest_of(token), user_id=account["id"], email=email, name=account.get("name") or "")
    entry.expires_at, entry.token = now() + SESSION_LIFETIME, token
    session.clear()
    login_user(entry)
    db.session.add(entry)
    db.session.commit()
    return redirect("/page", 303)


@app.get("/page")
@login_required  # type: ignore[untyped-decorator]
def page() -> str:
    return f"Hello {current_user.email}"


def send_code(email: str, code: str) -> None:
    context = {"code": code, "minutes": CODE_LIFETIME.seconds // 60}
    text, html = render_template("code.txt", **context), render_template("code.html", **context)
    mail.send(Message(f"{code} is your code", [email], body=text, html=html))


def use_code(id: str, typed: str) -> str | None:
    """Return the address that the code proves. Each attempt is counted before it is compared, and a code is used once."""
    open_code = (Code.id == id, ~Code.used, Code.attempts < MAX_ATTEMPTS, Code.expires_at > now())
    counted = changed(update(Code).where(*open_code).values(attempts=Code.attempts + 1))
    found: Code | None = db.session.scalar(select(Code).where(Code.id == id))
    email = None
    if counted and found is not None and hmac.compare_digest(found.digest, digest_of(id + typed)):
        email = found.email if changed(update(Code).where(Code.id == id, ~Code.used).values(used=True)) else None
    db.session.commit()
    return email


def changed(statement: Update) -> bool:
    return cast("CursorResult[Any]", db.session.execute(statement)).rowcount == 1


def find_account(email: str) -> dict[str, str] | None:
    answer = requests.get(
        f"{API}/api/v1/partner/user/list",
        {"email": email},
        headers={"Authorization": "Bearer sk-test", "Accept": "application/json"},
        timeout=10,
    )
    answer.raise_for_status()
    return next((each for each in answer.json()["items"] if each["email"].lower() == email), None)


def digest_of(text: str) -> str:
    return hmac.digest(b"not a secret", text.encode(), hashlib.sha256).hex()


def now() -> datetime:
    return datetime.now(UTC).replace(tzinfo=None)


application = instrumented(app)
