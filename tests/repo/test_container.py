"""The container file and the compose file: what they name exists, what they set is taken, what they promise each other holds.

No container is built here. `docker compose config` is asked where there is one.
"""

from __future__ import annotations

import gzip
import http.server
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import threading
import tomllib
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import jsonschema
import pytest
import tools
import yaml

from streams.app import STOP_TIMEOUT_S
from streams.cli import COMMANDS, main
from streams.dispatcher import STOP_S_MAX
from streams.dispatcher_setup import REDIS_CONFIGURATION
from streams.dispatching import CLOSE_S_MAX
from streams.memory import TAKE_OVER_SHARE
from streams.settings import SETTINGS, Settings, load_settings

ROOT = Path(__file__).resolve().parent.parent.parent
DEPLOY = ROOT / "deploy"
COMPOSE = DEPLOY / "compose.yaml"
SCHEMA = ROOT / "tests" / "data" / "compose-spec.json.gz"
INSTRUCTIONS = {
    "FROM", "RUN", "COPY", "ENV", "USER", "WORKDIR", "EXPOSE", "STOPSIGNAL", "HEALTHCHECK", "ENTRYPOINT", "CMD",
}  # fmt: skip
PINNED = r"[a-z/]+:v?\d+\.\d+(\.\d+)?(-[a-z]+)*"
# what a worker takes without a contact
PROCESS_BYTES = 128 * 1024**2
UNITS = {"m": 1024**2, "g": 1024**3}


def instructions() -> list[tuple[str, str]]:
    """Each instruction of the container file with what follows it, over as many lines as it has."""
    lines = [line for line in (DEPLOY / "Containerfile").read_text("utf-8").splitlines() if not line.startswith("#")]
    whole = re.sub(r"\\\n\s*", " ", "\n".join(lines))
    return [(name, rest.strip()) for name, _, rest in (line.partition(" ") for line in whole.splitlines() if line)]


def last(name: str) -> str:
    """What follows the last instruction of this name, which is the one that counts."""
    return [rest for each, rest in instructions() if each == name][-1]


def image_environment() -> dict[str, str]:
    """What the image sets of ours."""
    pairs = [pair.partition("=") for pair in shlex.split(last("ENV"))]
    return {name: value for name, _, value in pairs if name.startswith("TIDEGATE_")}


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    """The compose file."""
    read: dict[str, Any] = yaml.safe_load(COMPOSE.read_text("utf-8"))
    return read


@pytest.fixture(scope="module")
def ours(compose: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The services that run our image."""
    found = {name: each for name, each in compose["services"].items() if each["image"].startswith("tidegate:")}
    assert set(found) == {"topics", "worker-1", "worker-2", "dispatcher", "projector", "api", "gateway"}
    return found


def settings_in(service: dict[str, Any]) -> Settings:
    """The settings that the service starts with; raises `SettingError` for what we don't know."""
    return load_settings({**image_environment(), **service["environment"]})


# ---- the container file ----


def test_the_container_file_is_made_of_instructions_that_there_are() -> None:
    assert {name for name, _ in instructions()} == INSTRUCTIONS


def test_images_are_pinned(compose: dict[str, Any]) -> None:
    bases = [rest.split()[0] for name, rest in instructions() if name == "FROM"]
    images = [service["image"] for service in compose["services"].values()]
    assert [image for image in bases + images if not re.fullmatch(PINNED, image)] == []
    assert len(bases) == 2
    assert len(set(bases)) == 1, "what is compiled for one Python runs on that one"


def test_the_builder_gets_what_a_wheel_is_made_of_and_nothing_else() -> None:
    lines = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    assert lines[0] == "*"
    let_in = [line.removeprefix("!") for line in lines if line.startswith("!")]
    assert [path for path in let_in if not (ROOT / path).exists()] == []
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wheel = project["tool"]["hatch"]["build"]["targets"]["wheel"]
    needed = [*wheel["packages"], wheel["hooks"]["custom"]["path"], project["project"]["readme"]]
    needed += [project["project"]["license"]["file"], "pyproject.toml"]
    imported = re.findall(r"^from (compile\w+) import", (DEPLOY / "wheel_hook.py").read_text(), re.MULTILINE)
    needed += [f"deploy/{name}.py" for name in imported]
    needed += [path for _, rest in instructions() for path in re.findall(r"/source/([\w./-]+)", rest)]
    assert sorted(set(needed)) == sorted(let_in)


def test_what_is_copied_exists() -> None:
    stages = {rest.split()[-1] for name, rest in instructions() if name == "FROM" and " AS " in rest}
    for name, rest in instructions():
        if name != "COPY":
            continue
        stage = re.match(r"--from=(\w+) (\S+)", rest)
        if stage:
            assert stage[1] in stages
            assert any(stage[2] in each for each_name, each in instructions() if each_name == "RUN")
        else:
            assert all((ROOT / path).exists() for path in rest.split()[:-1])


def test_what_runs_is_a_command_without_privileges_that_is_stopped_by_sigterm(ours: dict[str, dict[str, Any]]) -> None:
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    assert json.loads(last("ENTRYPOINT")) == ["tidegate"]
    assert "tidegate" in scripts
    commands = [json.loads(last("CMD")), *(each["command"] for each in ours.values() if "command" in each)]
    for command in commands:
        assert command[0] in COMMANDS
        with pytest.raises(SystemExit) as ended:
            main([*command, "--help"])
        assert ended.value.code == 0, command
    assert int(last("USER")) > 0
    assert last("STOPSIGNAL") == "SIGTERM"


@pytest.fixture
def livez() -> Iterator[tuple[str, dict[str, int]]]:
    """A port, and the status that `/livez` has there."""
    status = {"/livez": 200}

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status.get(self.path, 404))
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield str(server.server_port), status
        server.shutdown()


def test_health_is_what_livez_says(livez: tuple[str, dict[str, int]]) -> None:
    port, status = livez
    program, *arguments = json.loads(last("HEALTHCHECK").partition("CMD ")[2])
    assert program == "python"

    def healthy() -> bool:
        environment = {**os.environ, "TIDEGATE_WEB_PORT": port}
        argv = [sys.executable, *arguments]
        return subprocess.run(argv, env=environment, check=False, stderr=subprocess.DEVNULL).returncode == 0

    assert healthy()
    status["/livez"] = 503
    assert not healthy()


def test_the_port_is_the_one_that_is_served_on_whatever_asks_for_it(
    compose: dict[str, Any], ours: dict[str, dict[str, Any]]
) -> None:
    port = next(setting.default for setting in SETTINGS if setting.field == "web_port")
    assert last("EXPOSE") == port
    assert image_environment()["TIDEGATE_WEB_HOST"] == "0.0.0.0"
    assert f"'{port}'" in last("HEALTHCHECK")
    scraped = yaml.safe_load(compose["configs"]["prometheus"]["content"])["scrape_configs"][0]
    targets = {target for group in scraped["static_configs"] for target in group["targets"]}
    # of what is there only where it is asked for: an address that isn't there would be a process that is down
    targets |= {f"{name}:{found['port']}" for found in scraped["dns_sd_configs"] for name in found["names"]}
    assert targets == {f"{name}:{port}" for name in ours if name != "topics"}


# ---- the compose file ----


def test_the_compose_file_is_one_by_the_specification(compose: dict[str, Any]) -> None:
    schema = json.loads(gzip.decompress(SCHEMA.read_bytes()))
    jsonschema.Draft202012Validator(schema).validate(compose)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft202012Validator(schema).validate({"services": {"kafka": {"imag": "kafka"}}})


def test_docker_compose_takes_it() -> None:
    if (
        shutil.which("docker") is None
        or subprocess.run(["docker", "compose", "version"], capture_output=True).returncode
    ):
        pytest.skip("no `docker compose` here")
    done = subprocess.run(
        ["docker", "compose", "-f", str(COMPOSE), "config", "--quiet"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_what_services_wait_for_mount_and_use_is_there(compose: dict[str, Any]) -> None:
    services = compose["services"]
    for name, service in services.items():
        for other, how in service.get("depends_on", {}).items():
            assert how["condition"] != "service_healthy" or "healthcheck" in services[other], (name, other)
        for volume in service.get("volumes", ()):
            source = volume.split(":")[0]
            assert (DEPLOY / source).exists() if source.startswith(".") else source in compose["volumes"], (
                name,
                source,
            )
        for config in service.get("configs", ()):
            assert config["source"] in compose["configs"]
        if "build" in service:
            context = (DEPLOY / service["build"]["context"]).resolve()
            assert context == ROOT
            assert (context / service["build"]["dockerfile"]).exists()


def test_every_setting_is_one_and_is_taken(ours: dict[str, dict[str, Any]]) -> None:
    for service in ours.values():
        settings = settings_in(service)
        assert settings.broker == "kafka:29092"
        assert settings.log == "json"


def test_the_settings_of_topics_are_the_same_for_all_and_what_one_broker_can_keep(
    compose: dict[str, Any], ours: dict[str, dict[str, Any]]
) -> None:
    assert len({(each.partitions, each.replication, each.prefix) for each in map(settings_in, ours.values())}) == 1
    kafka = compose["services"]["kafka"]["environment"]
    copies = {value for name, value in kafka.items() if name.endswith(("REPLICATION_FACTOR", "MIN_ISR"))}
    assert copies == {str(settings_in(ours["topics"]).replication)} == {"1"}
    assert kafka["KAFKA_AUTO_CREATE_TOPICS_ENABLE"] == "false"


def test_clients_find_the_broker_where_it_says_that_it_is(compose: dict[str, Any]) -> None:
    kafka = compose["services"]["kafka"]
    advertised = dict(each.split("://") for each in kafka["environment"]["KAFKA_ADVERTISED_LISTENERS"].split(","))
    listening = dict(each.split("://") for each in kafka["environment"]["KAFKA_LISTENERS"].split(","))
    protocols = dict(
        each.split(":") for each in kafka["environment"]["KAFKA_LISTENER_SECURITY_PROTOCOL_MAP"].split(",")
    )
    assert listening.keys() == protocols.keys()
    assert all(advertised[name].endswith(listening[name]) for name in advertised)
    assert advertised["INSIDE"] == f"{kafka['hostname']}:29092"
    assert kafka["ports"] == [f"127.0.0.1:9092{listening['HOST']}"]
    assert advertised["HOST"] == "localhost:9092"
    assert kafka["environment"]["KAFKA_LOG_DIRS"] in {volume.split(":")[1] for volume in kafka["volumes"]}


def test_redis_keeps_what_the_ledger_relies_on(compose: dict[str, Any]) -> None:
    command = compose["services"]["redis"]["command"]
    given = {name.removeprefix("--"): value for name, value in zip(command[1::2], command[2::2], strict=True)}
    assert [name for name, expected, _ in REDIS_CONFIGURATION if given.get(name) != expected] == []


@pytest.mark.parametrize("name", ["dispatcher", "projector", "api"])
def test_who_needs_redis_has_the_one_that_is_there(ours: dict[str, dict[str, Any]], name: str) -> None:
    assert settings_in(ours[name]).redis == "redis://redis:6379/0"
    assert "redis" in ours[name]["depends_on"]


def test_supervisors_wait_longer_than_a_process_takes_to_stop(ours: dict[str, dict[str, Any]]) -> None:
    needed = {
        "worker-1": STOP_TIMEOUT_S,
        "worker-2": STOP_TIMEOUT_S,
        "dispatcher": STOP_S_MAX,
        "projector": 3 * CLOSE_S_MAX,
    }
    for name, needed_s in needed.items():
        assert needed_s + 2 < int(ours[name]["stop_grace_period"].removesuffix("s")), name
        assert ours[name]["restart"] == "unless-stopped"
        assert ours[name]["init"]


def test_every_service_has_a_bound_of_memory_and_a_workers_own_lies_below_it(
    compose: dict[str, Any], ours: dict[str, dict[str, Any]]
) -> None:
    limits = {name: _bytes(service["mem_limit"]) for name, service in compose["services"].items()}
    for name in ("worker-1", "worker-2"):
        needed = settings_in(ours[name]).memory_bytes * TAKE_OVER_SHARE + PROCESS_BYTES
        assert needed <= limits[name]


def test_versions_are_those_of_everything_else_here(compose: dict[str, Any]) -> None:
    services = compose["services"]
    pom = ElementTree.parse(DEPLOY / "kafka" / "pom.xml").getroot()
    space = {"m": "http://maven.apache.org/POM/4.0.0"}
    kafka = next(
        each.findtext("m:version", namespaces=space)
        for each in pom.iterfind(".//m:dependency", space)
        if each.findtext("m:groupId", namespaces=space) == "org.apache.kafka"
    )
    assert services["kafka"]["image"] == f"apache/kafka:{kafka}"
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert services["worker-1"]["image"] == f"tidegate:{version}"


def test_secrets_stand_in_a_file_that_is_in_no_commit_and_in_no_image(ours: dict[str, dict[str, Any]]) -> None:
    (file,) = {each["path"] for service in ours.values() for each in service["env_file"]}
    assert f"deploy/{file}" in (ROOT / ".gitignore").read_text().splitlines()
    let_in = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    assert not any(fnmatch(f"deploy/{file}", line.removeprefix("!")) for line in let_in)
    assert "SECRET" not in COMPOSE.read_text().split("\nname:")[1]
    assert "PASSWORD" not in COMPOSE.read_text()


def test_prometheus_takes_its_configuration(compose: dict[str, Any], tmp_path: Path) -> None:
    try:
        promtool = tools.prometheus("promtool")
    except tools.ServiceError:
        pytest.skip("no promtool here")
    (tmp_path / "prometheus.yml").write_text(compose["configs"]["prometheus"]["content"])
    shutil.copy(DEPLOY / "prometheus" / "rules.yml", tmp_path)
    done = subprocess.run(
        [promtool, "check", "config", str(tmp_path / "prometheus.yml")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def _bytes(text: str) -> int:
    return int(text[:-1]) * UNITS[text[-1]]
