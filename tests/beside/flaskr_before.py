"""The blog of Flask's tutorial, in our own words, before the extension: a table of users, passwords, registration, login."""

from __future__ import annotations

import functools
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

from flask import Blueprint, Flask, abort, current_app, g, redirect, request, session, url_for
from werkzeug.security import check_password_hash, generate_password_hash
from werkzeug.wrappers import Response

SCHEMA = """
CREATE TABLE user (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  username TEXT UNIQUE NOT NULL,
  password TEXT NOT NULL
);
CREATE TABLE post (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  author_id INTEGER NOT NULL REFERENCES user (id),
  title TEXT NOT NULL,
  body TEXT NOT NULL
);
"""

View = Callable[..., Response]

auth = Blueprint("auth", __name__, url_prefix="/auth")
blog = Blueprint("blog", __name__)


def get_db() -> sqlite3.Connection:
    if "db" not in g:
        g.db = sqlite3.connect(current_app.config["DATABASE"])
        g.db.row_factory = sqlite3.Row
    connection: sqlite3.Connection = g.db
    return connection


def close_db(_error: BaseException | None = None) -> None:
    connection = g.pop("db", None)
    if connection is not None:
        connection.close()


# What the extension takes over: from here …


@auth.post("/register")
def register() -> tuple[str, int] | Response:
    username, password = request.form.get("username", ""), request.form.get("password", "")
    if not username or not password:
        return "Username and password are required.", 400
    try:
        row = (username, generate_password_hash(password))
        get_db().execute("INSERT INTO user (username, password) VALUES (?, ?)", row)
        get_db().commit()
    except sqlite3.IntegrityError:
        return f"User {username} is already registered.", 400
    return redirect(url_for("auth.login"))


@auth.route("/login", methods=["GET", "POST"])
def login() -> str | tuple[str, int] | Response:
    if request.method == "GET":
        return "Log in"
    row = get_db().execute("SELECT * FROM user WHERE username = ?", (request.form["username"],)).fetchone()
    if row is None or not check_password_hash(row["password"], request.form["password"]):
        return "Incorrect username or password.", 400
    session.clear()
    session["user_id"] = row["id"]
    return redirect(url_for("blog.index"))


@auth.post("/logout")
def logout() -> Response:
    session.clear()
    return redirect(url_for("blog.index"))


@auth.before_app_request
def load_user() -> None:
    id = session.get("user_id")
    g.user = get_db().execute("SELECT * FROM user WHERE id = ?", (id,)).fetchone() if id else None


def login_required(view: View) -> View:
    @functools.wraps(view)
    def wrapped(**values: Any) -> Response:
        return redirect(url_for("auth.login")) if g.user is None else view(**values)

    return wrapped


# … to here. The blog stays, but for `g.user` and the join.


def own_post(id: int) -> sqlite3.Row:
    post: sqlite3.Row | None = get_db().execute("SELECT * FROM post WHERE id = ?", (id,)).fetchone()
    if post is None:
        abort(404)
    if post["author_id"] != g.user["id"]:
        abort(403)
    return post


@blog.get("/")
def index() -> str:
    query = "SELECT title, username FROM post JOIN user ON user.id = author_id ORDER BY post.id DESC"
    posts = get_db().execute(query).fetchall()
    return "\n".join(f"{post['title']} by {post['username']}" for post in posts) or "Nothing yet."


@blog.post("/create")
@login_required
def create() -> Response:
    row = (g.user["id"], request.form["title"], request.form["body"])
    get_db().execute("INSERT INTO post (author_id, title, body) VALUES (?, ?, ?)", row)
    get_db().commit()
    return redirect(url_for("blog.index"))


@blog.post("/<int:id>/update")
@login_required
def update(id: int) -> Response:
    own_post(id)
    get_db().execute(
        "UPDATE post SET title = ?, body = ? WHERE id = ?", (request.form["title"], request.form["body"], id)
    )
    get_db().commit()
    return redirect(url_for("blog.index"))


@blog.post("/<int:id>/delete")
@login_required
def delete(id: int) -> Response:
    own_post(id)
    get_db().execute("DELETE FROM post WHERE id = ?", (id,))
    get_db().commit()
    return redirect(url_for("blog.index"))


def create_app(instance: Path, config: dict[str, Any]) -> Flask:
    app = Flask("flaskr", instance_path=str(instance))
    app.config.update(SECRET_KEY="dev", DATABASE=str(instance / "flaskr.sqlite"), **config)
    instance.mkdir(parents=True, exist_ok=True)
    with sqlite3.connect(app.config["DATABASE"]) as connection:
        connection.executescript(SCHEMA)
    connection.close()
    app.register_blueprint(auth)
    app.register_blueprint(blog)
    app.teardown_appcontext(close_db)
    return app
