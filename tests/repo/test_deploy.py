"""The commands of `deploy/`: what they install, what they start and stop, what they make events of."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import tomllib
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any

import checks
import children
import install
import journey
import languages
import pytest
import redis
import tools
import yaml
from confluent_kafka.admin import AdminClient, NewTopic
from packaging.requirements import Requirement

import segments
from schemas.transitions import Transition

ROOT = Path(__file__).resolve().parent.parent.parent
UNTIL_MS = journey.instant_ms("2026-03-01T00:00:00Z")


# ---- set-up ----


@pytest.mark.parametrize("script", ["deploy/setup", "deploy/test", ".ci/run"])
def test_the_commands_can_be_run_and_their_shell_is_well_formed(script: str) -> None:
    assert os.access(ROOT / script, os.X_OK)
    shell = (ROOT / script).read_text().splitlines()[0].removeprefix("#!").split()
    assert subprocess.run([*shell, "-n", str(ROOT / script)], check=False).returncode == 0


def test_every_dependency_is_pinned_at_a_version_that_its_declaration_allows() -> None:
    pins = dict(line.split("==") for line in install.CONSTRAINTS.read_text().splitlines() if not line.startswith("#"))
    pinned = {_plain(name): version for name, version in pins.items()}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    declared = [Requirement(text) for text in project["dependencies"] + project["optional-dependencies"]["dev"]]
    assert len(declared) > 20
    wrong = {
        str(requirement): pinned.get(_plain(requirement.name))
        for requirement in declared
        if not requirement.specifier.contains(pinned.get(_plain(requirement.name), "0"))
    }
    assert not wrong


def test_the_pins_name_no_host_and_no_path() -> None:
    lines = [line for line in install.CONSTRAINTS.read_text().splitlines() if not line.startswith("#")]
    assert [line for line in lines if not re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.+!]+", line)] == []


@pytest.mark.parametrize(
    ("os_release", "root", "allowed"),
    [
        ("ID=debian\n", True, True),
        ('ID=linuxmint\nID_LIKE="ubuntu debian"\n', True, True),
        ("ID=debian\n", False, False),
        ('ID="fedora"\n', True, False),
    ],
)
def test_apt_get_is_used_by_root_on_debian_and_its_kin_alone(
    os_release: str, root: bool, allowed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "os-release").write_text(os_release)
    monkeypatch.setattr(os, "geteuid", lambda: 0 if root else 1000)
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")
    assert install.may_install(tmp_path / "os-release") is allowed


def test_who_may_not_install_is_told_in_one_line_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(install, "may_install", lambda: False)
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setattr(install, "has_redis", lambda: True)
    with pytest.raises(SystemExit) as ended:
        install.main()
    message = str(ended.value)
    assert "openjdk-17-jre-headless maven" in message
    assert "\n" not in message


def test_an_older_java_counts_as_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = tmp_path / "bin" / "java"
    old.parent.mkdir()
    old.write_text("#!/bin/sh\necho 'openjdk version \"11.0.2\" 2019-01-15' >&2\n")
    old.chmod(0o755)
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    assert install.java_version() == 11
    assert "openjdk-17-jre-headless" in install.missing_packages()


def test_a_step_that_fails_shows_what_its_command_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(install, "LOG", tmp_path / "setup.log")
    with pytest.raises(install.SetupError, match=r"(?s)status 3.*no such planet"):
        install.run(["sh", "-c", "echo no such planet; exit 3"])


@pytest.mark.parametrize("apt_get", [True, False])
def test_a_machine_without_prometheus_is_set_up_all_the_same_and_told_which_tests_it_leaves_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], apt_get: bool
) -> None:
    def fail(argv: list[str]) -> None:
        raise install.SetupError("no such package")

    monkeypatch.setattr(install, "RUN", tmp_path)
    monkeypatch.setattr(install, "has_prometheus", lambda: False)
    monkeypatch.setattr(install.shutil, "which", lambda name: f"/usr/bin/{name}" if apt_get else None)
    monkeypatch.setattr(install, "may_install", lambda: False)
    monkeypatch.setattr(install, "run", fail)
    install.install_prometheus()
    assert "alert rules" in capsys.readouterr().err
    assert not (tmp_path / "prometheus").exists()


def test_a_machine_without_other_languages_is_set_up_all_the_same_and_told_which_tests_it_leaves_out(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(argv: list[str]) -> None:
        raise install.SetupError("no such package:\nnone at all")

    def lacking() -> str:
        raise tools.ServiceError("none here")

    noted: list[str] = []
    for name in ("node", "go"):
        monkeypatch.setattr(install, name, lacking)
    monkeypatch.setattr(install, "has_compiler", lambda: False)
    monkeypatch.setattr(install, "is_set_up", lambda language: False)
    monkeypatch.setattr(install, "may_install", lambda: False)
    monkeypatch.setattr(install, "note_set_up", noted.append)
    monkeypatch.setattr(install, "run", fail)
    install.install_languages()
    told = [line for line in capsys.readouterr().err.splitlines() if "left out" in line]
    assert [re.findall("Java|Node|Go", line) for line in told] == [["Java"], ["Node"], ["Go"]]
    assert "openjdk-17-jdk-headless" in told[0]
    assert told[2].endswith("no such package")
    assert noted == []


def test_an_older_node_or_go_counts_as_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for program, version in (("node", "v20.20.2"), ("npm", "10.8.2"), ("go", "go1.19.8")):
        (tmp_path / program).write_text(f"#!/bin/sh\necho {version}\n")
        (tmp_path / program).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin")
    monkeypatch.setattr(languages, "_NODE_UNPACKED", tmp_path / "none")
    monkeypatch.setattr(languages, "_GO_UNPACKED", tmp_path / "none")
    with pytest.raises(tools.ServiceError, match=r"22\.22"):
        languages.node()
    with pytest.raises(tools.ServiceError, match=r"1\.26"):
        languages.go()
    (tmp_path / "node").write_text("#!/bin/sh\necho v24.19.0\n")
    assert languages.node() == str(tmp_path / "node")


@pytest.mark.parametrize("folder", [languages.EXAMPLES, languages.SDKS], ids=lambda folder: folder.name)
def test_what_is_pinned_for_node_names_no_host_that_it_came_from(folder: Path) -> None:
    packages = json.loads((folder / "package-lock.json").read_text())["packages"]
    assert [name for name, locked in packages.items() if "resolved" in locked] == []
    assert all("integrity" in locked for name, locked in packages.items() if name)


@pytest.mark.parametrize(
    ("statuses", "passed"),
    [((0, 0, 0), True), ((0, 0, 5), True), ((0, 5, 5), False), ((1, 0, 0), False), ((0, 1, 0), False)],
)
def test_one_failed_check_fails_all_and_a_run_without_a_single_test_fails(
    statuses: tuple[int, int, int], passed: bool
) -> None:
    lint, plain, real = (checks.Result("a step", status, 0.0) for status in statuses)
    assert checks.passed([lint], [plain, real]) is passed


# ---- services ----


def test_a_child_ends_when_its_parent_is_killed(tmp_path: Path, wait_until: Callable[..., Any]) -> None:
    code = (
        "import pathlib, signal, sys; from children import Child\n"
        "print(Child('nap', ['sleep', '600'], pathlib.Path(sys.argv[1])).pid, flush=True); signal.pause()"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "deploy")}
    argv = [sys.executable, "-c", code, str(tmp_path / "log")]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, env=environment) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert _runs(pid)
        parent.kill()
    wait_until(lambda: not _runs(pid), 10, "the end of the killed parent's child")


def test_a_child_is_stopped_by_term_and_one_that_ignores_it_by_kill(
    tmp_path: Path, wait_until: Callable[..., Any]
) -> None:
    meek = children.Child("meek", ["sleep", "600"], tmp_path / "meek")
    assert meek.stop() == -signal.SIGTERM
    deaf = children.Child(
        "deaf", ["sh", "-c", "trap '' TERM; echo deaf; while :; do sleep 0.1; done"], tmp_path / "deaf"
    )
    wait_until(lambda: "deaf" in deaf.output(), 10, "the child to be deaf to SIGTERM")
    assert deaf.stop(timeout_s=0.2) == -signal.SIGKILL
    assert not deaf.running


def test_free_ports_lie_where_no_client_is_given_one() -> None:
    low = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    ports = tools.free_ports(20)
    assert len(set(ports)) == 20
    assert max(ports) < max(low, 11_265)


def test_a_server_that_cannot_run_says_why_and_where_its_log_is(
    services_module: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "broken-server"
    broken.write_text("#!/bin/sh\necho no such option: $1; exit 7\n")
    broken.chmod(0o755)
    monkeypatch.setattr(services_module, "redis_server", lambda: str(broken))
    with pytest.raises(services_module.ServiceError, match=r"(?s)exit status 7.*redis\.log.*no such option: --bind"):
        services_module.Redis(tmp_path / "redis").start()


@pytest.mark.kafka
def test_a_directory_is_one_process_s_at_a_time(services_module: ModuleType, tmp_path: Path) -> None:
    """A Kafka of somebody else answers with the cluster id of the directory, and would pass for ours."""
    with services_module.Redis(tmp_path) as service:
        with pytest.raises(services_module.ServiceError, match="another process runs redis in it"):
            services_module.Redis(tmp_path).start()
        service.kill()
        service.start()
        assert service.running
    services_module.Redis(tmp_path).start().stop()


def test_a_directory_that_cannot_be_made_is_said_in_a_line() -> None:
    command = [sys.executable, str(ROOT / "deploy" / "services.py"), "up", "--dir", "/dev/null/there"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("error: kafka: expected to write to the directory /dev/null/there/kafka, got ")


def test_redis_keeps_what_was_acknowledged_over_a_kill_and_nothing_when_restarted_empty(
    services_module: ModuleType, tmp_path: Path
) -> None:
    with services_module.Redis(tmp_path / "a place with spaces") as service:
        with redis.Redis.from_url(service.url) as client:
            client.set("ledger", "taken")
        address = service.address
        service.kill()
        service.start()
        with redis.Redis.from_url(service.url) as client:
            assert client.get("ledger") == b"taken"
        service.restart(empty=True)
        with redis.Redis.from_url(service.url) as client:
            assert client.dbsize() == 0
        assert service.address == address
    assert not service.running


@pytest.mark.kafka
def test_a_server_whose_port_is_taken_first_starts_on_another(
    services_module: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        offered = [(taken.getsockname()[1],), *[tools.free_ports(1) for _ in range(3)]]
        monkeypatch.setattr(services_module, "free_ports", lambda _count: offered.pop(0))
        with services_module.Redis(tmp_path) as service:
            assert service.ports != (taken.getsockname()[1],)
            with redis.Redis.from_url(service.url) as client:
                assert client.ping()


@pytest.mark.kafka
def test_the_broker_keeps_its_topics_over_a_kill_and_its_ports_are_not_taken_from_it(
    services_module: ModuleType, tmp_path: Path
) -> None:
    with services_module.Kafka(tmp_path / "a place with spaces") as kafka:
        address = kafka.address
        admin = AdminClient({"bootstrap.servers": address, "log_level": 0})
        admin.create_topics([NewTopic("kept", 3, 1)])["kept"].result(10)
        kafka.kill()
        assert not kafka.running
        kafka.start()
        assert kafka.address == address
        assert "kept" in admin.list_topics(timeout=10).topics
        rival = services_module.Kafka(tmp_path / "rival")
        rival.ports = kafka.ports
        with pytest.raises(services_module.ServiceError, match="are taken"):
            rival.start()
        assert "kept" in admin.list_topics(timeout=10).topics
    assert not kafka.running


# ---- real events ----


@pytest.fixture(scope="module")
def all_events() -> list[dict[str, Any]]:
    """Every event of the set, once for this module."""
    return journey.events(UNTIL_MS)


def test_every_basket_coupon_and_mailing_is_one_event_with_an_id_of_its_own(all_events: list[dict[str, Any]]) -> None:
    names = [event["event"] for event in all_events]
    counts = {name: names.count(name) for name in set(names)}
    assert counts == {"Order Completed": 155_848, "Coupon Redeemed": 2_102, "Email Delivered": 6_589}
    assert len({event["messageId"] for event in all_events}) == len(all_events)
    assert len({event["userId"] for event in all_events}) == 2_469


def test_events_come_in_order_of_time_and_the_last_a_second_before_the_given_instant(
    all_events: list[dict[str, Any]],
) -> None:
    instants = [event["timestamp"] for event in all_events]
    assert instants == sorted(instants)
    assert instants[-1] == "2026-02-28T23:59:59.000Z"
    assert all(event["receivedAt"] == event["timestamp"] for event in all_events)


def test_a_sample_of_households_has_their_whole_histories_and_is_the_same_each_time(
    all_events: list[dict[str, Any]],
) -> None:
    sample = journey.events(UNTIL_MS, households=300)
    assert sample == journey.events(UNTIL_MS, households=300)
    contacts = {event["userId"] for event in sample}
    assert len(contacts) == 300
    assert [event["messageId"] for event in sample] == [
        event["messageId"] for event in all_events if event["userId"] in contacts
    ]
    assert {event["userId"] for event in journey.events(UNTIL_MS, households=30)} < contacts


def test_the_command_writes_what_the_function_returns() -> None:
    argv = [sys.executable, str(ROOT / "deploy" / "journey.py"), "--households", "5", "--until", "2026-03-01T00:00:00Z"]
    lines = subprocess.run(argv, capture_output=True, text=True, check=True).stdout.splitlines()
    assert [json.loads(line) for line in lines] == journey.events(UNTIL_MS, households=5)


@pytest.fixture(scope="module")
def shop_transitions() -> list[Transition]:
    """What the shop's segments make of 300 households, by `simulate`."""
    definitions = segments.load((ROOT / "deploy" / "segments" / "journey.yaml").read_text())
    lines = [json.dumps(event).encode() for event in journey.events(UNTIL_MS, households=300)]
    found = list(segments.simulate(definitions, lines))
    transitions = [transition for transition in found if isinstance(transition, Transition)]
    assert len(transitions) == len(found), "a real event was rejected"
    return transitions


def test_every_segment_of_the_shop_is_entered_and_left_and_many_by_time_alone(
    shop_transitions: list[Transition],
) -> None:
    text = (ROOT / "deploy" / "segments" / "journey.yaml").read_text()
    ids = {segment["id"] for segment in yaml.safe_load(text)["segments"]}
    assert len(ids) >= 8
    seen = {(transition.segment, transition.transition) for transition in shop_transitions}
    assert seen == {(segment, way) for segment in ids for way in ("entered", "left")}
    assert sum(transition.cause == "timer" for transition in shop_transitions) > len(shop_transitions) / 4


def test_households_come_back_from_a_lapse_as_often_as_30_days_lie_between_two_of_their_baskets(
    shop_transitions: list[Transition],
) -> None:
    orders: dict[str, list[int]] = {}
    for event in journey.events(UNTIL_MS, households=300):
        if event["event"] == "Order Completed":
            orders.setdefault(event["userId"], []).append(journey.instant_ms(event["timestamp"]))
    gaps_ms = [later - earlier for instants in orders.values() for earlier, later in pairwise(instants)]
    came_back = [each for each in shop_transitions if (each.segment, each.transition) == ("lapsed", "left")]
    assert len(came_back) == sum(gap_ms >= 30 * journey.DAY_MS for gap_ms in gaps_ms) > 100


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False
