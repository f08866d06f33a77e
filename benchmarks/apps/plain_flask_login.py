"""A page behind Flask-Login as its own quick start has it: users in memory, ``login_user``."""

from __future__ import annotations

from flask import Flask
from flask_login import LoginManager, UserMixin, current_user, login_required, login_user

from .instruments import EMAIL, instrumented


class User(UserMixin):  # type: ignore[misc]  # Flask-Login has no type information
    def __init__(self, id: str) -> None:
        self.id = id


app = Flask(__name__)
app.config["SECRET_KEY"] = "not a secret"
login_manager = LoginManager(app)
users = {EMAIL: User(EMAIL)}


@login_manager.user_loader  # type: ignore[untyped-decorator]
def load_user(id: str) -> User | None:
    return users.get(id)


@app.get("/enter")
def enter() -> str:
    login_user(users[EMAIL])
    return "in"


@app.get("/page")
@login_required  # type: ignore[untyped-decorator]
def page() -> str:
    return f"Hello {current_user.id}"


application = instrumented(app)
