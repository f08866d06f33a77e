"""The files that run elsewhere: the compose file and the image's commands, the workflows, the build of the documentation."""

from __future__ import annotations

import json
import re
import shlex
import tomllib
import uuid
from pathlib import Path
from typing import Any

import pytest
import yaml

from flask_chatbotkit_auth.testing import Sandbox
from tests.support.samples import ROOT, running, sample_lines
from tests.support.servers import Browser, mailbox

EXAMPLE = ROOT / "example_app"
SECRETS = {
    "SECRET_KEY": "0123456789abcdef0123456789abcdef",
    "POSTGRES_PASSWORD": "none",
    "CHATBOTKIT_API_SECRET": "sk-test",
}


def read(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def filled_in(text: str) -> str:
    """Return a value of the compose file as Compose reads it, with the secrets of ``.env``."""
    return re.sub(r"\$\{(\w+)(?::[-?]([^}]*))?\}", lambda found: SECRETS.get(found[1], found[2]), text)


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    content: dict[str, Any] = read(EXAMPLE / "compose.yaml")
    return content


def instructions() -> list[tuple[str, str]]:
    text = (EXAMPLE / "Dockerfile").read_text(encoding="utf-8")
    return [
        (line.split()[0], line.partition(" ")[2]) for line in text.splitlines() if line and not line.startswith("#")
    ]


# The compose file


def test_every_service_and_volume_that_is_named_exists(compose: dict[str, Any]) -> None:
    services = compose["services"]
    assert set(services) == {"web", "db", "redis", "mail", "sandbox"}
    for name, service in services.items():
        assert ("image" in service) != ("build" in service), name
        assert set(service.get("depends_on", ())) <= set(services)
        assert all("healthcheck" in services[each] for each in service.get("depends_on", ()))
        assert {volume.partition(":")[0] for volume in service.get("volumes", ())} <= set(compose["volumes"] or ())
        shared = service.get("network_mode", "service:web").partition(":")[2]
        assert shared in services
        if "build" in service:
            assert (EXAMPLE / service["build"]["context"] / service["build"]["dockerfile"]).is_file()


def test_nothing_is_published_beyond_this_machine_and_no_secret_is_written_down(compose: dict[str, Any]) -> None:
    ports = [port for service in compose["services"].values() for port in service.get("ports", ())]
    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)
    text = (EXAMPLE / "compose.yaml").read_text(encoding="utf-8")
    for name in SECRETS:
        assert f"${{{name}:?" in text


def test_the_secrets_of_the_page_are_those_of_the_file() -> None:
    written = {found for line in sample_lines("docker.rst", "sh") for found in re.findall(r'echo "(\w+)=', line)}
    assert written == {*SECRETS, "CHATBOTKIT_API_URL"}


# The image


def test_what_the_image_copies_and_installs_exists() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    ignored = (EXAMPLE / "Dockerfile.dockerignore").read_text(encoding="utf-8").splitlines()
    for instruction, rest in instructions():
        if instruction == "COPY":
            for each in rest.split()[:-1]:
                assert (ROOT / each).exists(), each
                assert f"!{each}" in ignored, each
        if "pip install" in rest:
            (wanted,) = re.findall(r"\.\[([\w,]+)\]", rest)
            assert set(wanted.split(",")) <= set(extras)
    users = [rest for instruction, rest in instructions() if instruction == "USER"]
    assert users == ["app"]


def test_the_image_serves_a_sign_in_with_the_settings_of_the_compose_file(
    compose: dict[str, Any], chatbotkit_sandbox: Sandbox, postgresql_url: str, redis_url: str, tmp_path: Path
) -> None:
    (command,) = (json.loads(rest) for instruction, rest in instructions() if instruction == "CMD")
    settings = {key: filled_in(value) for key, value in compose["services"]["web"]["environment"].items()}
    assert settings["CHATBOTKIT_API_URL"] == "https://api.chatbotkit.com"
    places = {"CHATBOTKIT_API_URL": chatbotkit_sandbox.url}  # which this machine has elsewhere
    places |= {"CHATBOTKIT_AUTH_STORE_URL": postgresql_url, "CHATBOTKIT_AUTH_RATE_LIMIT_STORAGE_URI": redis_url}
    assert settings.keys() >= places.keys()
    address = f"ada-{uuid.uuid4().hex[:8]}@example.com"
    with mailbox() as box:
        places["FLASK_MAIL_PORT"] = str(box.port)
        at_a_free_port = [each.replace("0.0.0.0:8000", "127.0.0.1:0") for each in command]
        assert at_a_free_port != command
        environment = {**settings, **places, "PYTHONPATH": str(ROOT)}
        with running(tmp_path, shlex.join(at_a_free_port), **environment) as server:
            assert server.stdout
            lines = iter(server.stdout.readline, "")
            origin = next(found[1] for line in lines if (found := re.search(r"Listening at: (http://\S+)", line)))
            with Browser(origin) as browser:
                assert browser.ask(address).status_code == 200
                assert browser.verify(box.codes(address)[0]).status_code == 200
                assert address in browser.get("/dashboard").text


def test_the_sandbox_of_the_compose_file_starts_where_the_page_says(compose: dict[str, Any], tmp_path: Path) -> None:
    command = compose["services"]["sandbox"]["command"]
    with running(tmp_path, shlex.join([*command, "--port", "0"])) as sandbox:
        assert sandbox.stdout
        assert "CHATBOTKIT_API_SECRET=sk-test" in sandbox.stdout.readline() + sandbox.stdout.readline()
    usual = running(tmp_path, "flask chatbotkit-auth sandbox --help")
    with usual as help_text:
        assert help_text.stdout
        port = re.search(r"default: (\d+)", help_text.stdout.read())
    assert port
    assert f"http://127.0.0.1:{port[1]}" in "".join(sample_lines("docker.rst", "sh"))


# The workflows, and Read the Docs


WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
PYTHONS = re.findall(r":: (3\.\d+)", (ROOT / "pyproject.toml").read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", WORKFLOWS, ids=[path.name for path in WORKFLOWS])
def test_a_workflow_runs_what_there_is(path: Path) -> None:
    workflow = read(path)
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    assert workflow["permissions"] == {"contents": "read"}
    assert len(WORKFLOWS) == 2
    for name, job in workflow["jobs"].items():
        assert set([job["needs"]] if "needs" in job else []) <= set(workflow["jobs"]), name
        for step in job["steps"]:
            assert re.fullmatch(r"[\w./-]+@[\w./]+", step["uses"]) if "uses" in step else step["run"]
            command = step.get("run", "")
            for wanted in re.findall(r"\.\[([\w,]+)\]", command):
                assert set(wanted.split(",")) <= set(extras)
            for file in re.findall(r"(?<!\S)(?:\.ci|tests|docs)/[\w./]+", command):
                assert (ROOT / file).exists() or "_build" in file, file


def test_the_tests_run_on_every_python_with_every_service() -> None:
    job = read(ROOT / ".github" / "workflows" / "ci.yml")["jobs"]["tests"]
    assert job["strategy"]["matrix"]["python"] == PYTHONS
    assert set(job["services"]) == {"postgres", "mariadb", "redis"}
    named = set(re.findall(r"TEST_\w+", (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")))
    assert set(job["env"]) == named


def test_the_documentation_is_built_alike_everywhere() -> None:
    hosted = read(ROOT / ".readthedocs.yaml")
    assert (ROOT / hosted["sphinx"]["configuration"]).is_file()
    assert hosted["sphinx"]["fail_on_warning"] is True
    assert hosted["python"]["install"] == [{"method": "pip", "path": ".", "extra_requirements": ["docs"]}]
    assert hosted["build"]["tools"]["python"] in PYTHONS


def test_nobody_holds_a_token_to_publish_with() -> None:
    text = (ROOT / ".github" / "workflows" / "release.yml").read_text(encoding="utf-8")
    assert "secrets." not in text
    assert read(ROOT / ".github" / "workflows" / "release.yml")["jobs"]["publish"]["permissions"] == {
        "id-token": "write"
    }
