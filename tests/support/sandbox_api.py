"""A client of the sandbox that holds each of its answers against the OpenAPI document, where that is at hand."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import requests

from flask_chatbotkit_auth.testing import Sandbox

DOCUMENT = Path(__file__).parents[3] / "shared" / "reference" / "chatbotkit-openapi.json"


class Conformity:
    """Validates answers against the OpenAPI document, and remembers which of its operations it has seen succeed."""

    def __init__(self, document: dict[str, Any]) -> None:
        self.operations = {
            (method.upper(), path): operation["responses"]
            for path, methods in document["paths"].items()
            for method, operation in methods.items()
        }
        self.seen: set[tuple[str, str, str]] = set()

    def check(self, response: requests.Response) -> None:
        path = response.request.path_url.partition("?")[0].removeprefix("/api/v1")
        name = next((name for name in self.operations if self._names(name, response.request.method, path)), None)
        content_type = response.headers["Content-Type"].partition(";")[0]
        if name is None:
            # Another method of a known path, or no path of the API's at all.
            known = any(self._names(each, each[0], path) for each in self.operations)
            assert not known or (response.status_code, content_type) == (405, "application/json")
            return
        kind = "200" if response.status_code == 200 else "default"
        schema = _tellable(self.operations[name][kind]["content"][content_type]["schema"])
        documents = [response.json()] if content_type == "application/json" else jsonl(response)
        for document in documents:
            jsonschema.Draft4Validator(schema).validate(document)
        if kind == "200":
            self.seen.add((*name, content_type))

    @staticmethod
    def _names(name: tuple[str, str], method: str | None, path: str) -> bool:
        literal = re.sub(r"\{\w+\}", "[^/]+", name[1])
        # "/contact/ensure" is no "/contact/{contactId}", so the number of segments decides.
        return name[0] == method and re.fullmatch(literal, path) is not None


def _tellable(schema: Any) -> Any:
    """Turn ``oneOf`` whose choices require nothing into ``anyOf``: they overlap, so that no object meets just one."""
    if isinstance(schema, list):
        return [_tellable(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    if isinstance(schema.get("required"), list):
        # The document is wrong here: a list without items has no cursor.
        schema = {**schema, "required": [each for each in schema["required"] if each != "cursor"]}
    overlaps = "oneOf" in schema and not any("required" in each or "oneOf" in each for each in schema["oneOf"])
    return {("anyOf" if key == "oneOf" and overlaps else key): _tellable(each) for key, each in schema.items()}


class Api:
    """One client of the sandbox: each answer is checked, where the document is there to check it against."""

    def __init__(self, sandbox: Sandbox, conformity: Conformity | None) -> None:
        self.sandbox = sandbox
        self.conformity = conformity
        self.session = requests.Session()
        self.session.headers["Authorization"] = f"Bearer {sandbox.secret}"

    def send(self, method: str, path: str, **options: Any) -> requests.Response:
        response = self.session.request(method, f"{self.sandbox.url}/api/v1/{path}", timeout=30, **options)
        if self.conformity is not None:
            self.conformity.check(response)
        return response

    def get(self, path: str, headers: dict[str, str] | None = None, /, **query: Any) -> requests.Response:
        return self.send("GET", path, params=query, headers=headers)

    def post(self, path: str, headers: dict[str, str] | None = None, /, **body: Any) -> requests.Response:
        return self.send("POST", path, json=body, headers=headers)

    def ids(self, path: str, headers: dict[str, str] | None = None, /, **query: Any) -> list[str]:
        response = self.get(path, headers, **query)
        assert response.status_code == 200, response.text
        return [item["id"] for item in response.json()["items"]]


def jsonl(response: requests.Response) -> list[dict[str, Any]]:
    return [json.loads(line) for line in response.text.splitlines()]


def run_as(user: dict[str, Any]) -> dict[str, str]:
    return {"x-runas-user-id": user["id"]}


def error(response: requests.Response) -> tuple[int, str]:
    return response.status_code, response.json()["code"]
