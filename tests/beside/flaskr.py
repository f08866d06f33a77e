"""The blog of Flask's tutorial, as it looks when the extension takes the place of its own registration and passwords."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

from flask import Blueprint, Flask, abort, g, redirect, request, url_for
from flask_login import current_user, login_required
from flask_wtf import CSRFProtect
from werkzeug.wrappers import Response

from flask_chatbotkit_auth import ChatBotKitAuth

SCHEMA = """
CREATE TABLE post (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  author_id TEXT NOT NULL,
  author TEXT NOT NULL,
  title TEXT NOT NULL,
  body TEXT NOT NULL
);
"""

auth = ChatBotKitAuth()
csrf = CSRFProtect()
blog = Blueprint("blog", __name__)


def get_db() -> sqlite3.Connection:
    from flask import current_app

    if "db" not in g:
        g.db = sqlite3.connect(current_app.config["DATABASE"])
        g.db.row_factory = sqlite3.Row
    connection: sqlite3.Connection = g.db
    return connection


def close_db(_error: BaseException | None = None) -> None:
    connection = g.pop("db", None)
    if connection is not None:
        connection.close()


def own_post(id: int) -> sqlite3.Row:
    post: sqlite3.Row | None = get_db().execute("SELECT * FROM post WHERE id = ?", (id,)).fetchone()
    if post is None:
        abort(404)
    if post["author_id"] != current_user.id:
        abort(403)
    return post


@blog.get("/")
def index() -> str:
    posts = get_db().execute("SELECT * FROM post ORDER BY id DESC").fetchall()
    return "\n".join(f"{post['title']} by {post['author']}" for post in posts) or "Nothing yet."


@blog.post("/create")
@login_required  # type: ignore[untyped-decorator]
def create() -> Response:
    author = current_user.name or current_user.email
    row = (current_user.id, author, request.form["title"], request.form["body"])
    get_db().execute("INSERT INTO post (author_id, author, title, body) VALUES (?, ?, ?, ?)", row)
    get_db().commit()
    return redirect(url_for("blog.index"))


@blog.post("/<int:id>/update")
@login_required  # type: ignore[untyped-decorator]
def update(id: int) -> Response:
    own_post(id)
    changes = (request.form["title"], request.form["body"], id)
    get_db().execute("UPDATE post SET title = ?, body = ? WHERE id = ?", changes)
    get_db().commit()
    return redirect(url_for("blog.index"))


@blog.post("/<int:id>/delete")
@login_required  # type: ignore[untyped-decorator]
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
    csrf.init_app(app)
    auth.init_app(app)
    app.register_blueprint(blog)
    app.teardown_appcontext(close_db)
    return app
