"""A page of Flask alone, for everybody: the floor that nothing can be under."""

from __future__ import annotations

from flask import Flask

from .instruments import EMAIL, instrumented

app = Flask(__name__)


@app.get("/page")
def page() -> str:
    return f"Hello {EMAIL}"


application = instrumented(app)
