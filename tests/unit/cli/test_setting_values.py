"""What settings may be: bounds, names, and never a word of what may be a password."""

import pytest

from segments import Limits
from streams.settings import SettingError, load_settings, shown


@pytest.mark.parametrize(
    ("variable", "value", "expected"),
    [
        ("TIDEGATE_GRACE", "99999d", "expected a duration of at most 36525d, got '99999d'"),
        ("TIDEGATE_SESSION", "1ms", "expected a duration from 1s to 30m, got '1ms'"),
        ("TIDEGATE_SESSION", "1h", "expected a duration from 1s to 30m, got '1h'"),
        ("TIDEGATE_TRANSACTION_TIMEOUT", "1d", "expected a duration from 1s to 15m, got '1d'"),
        ("TIDEGATE_PARTITIONS", "0", "expected a whole number from 1 to 10000, got '0'"),
        ("TIDEGATE_PARTITIONS", "1" * 5000, "expected a whole number from 1 to 10000, got '" + "1" * 80 + "'…"),
        ("TIDEGATE_PARTITIONS", "²", "expected a whole number from 1 to 10000, got '²'"),
        ("TIDEGATE_REPLICATION", "40000", "expected a whole number from 1 to 100, got '40000'"),
        ("TIDEGATE_WEB_PORT", "70000", "expected a port from 0 to 65535, got '70000'"),
        ("TIDEGATE_BROKER", "kafka", "expected `host:port`, or several with commas between, got 'kafka'"),
        ("TIDEGATE_BROKER", "kafka://a:9092", "expected `host:port`, or several with commas between, got 'kafka://a:9092'"),
        ("TIDEGATE_BROKER", "a:99999", "expected `host:port` with a port from 1 to 65535, got 'a:99999'"),
        ("TIDEGATE_PREFIX", "a b/", "expected at most 200 letters, digits, '.', '_' and '-', as Kafka has them in topics"),
        ("TIDEGATE_LIMIT_STATE_BYTES", "921601", "expected a whole number from 65536 to 921600, got '921601'"),
        ("TIDEGATE_LIMIT_STATE_BYTES", "65535", "expected a whole number from 65536 to 921600, got '65535'"),
        ("TIDEGATE_LIMIT_DEPTH", "65", "expected a whole number from 1 to 64, got '65'"),
        ("TIDEGATE_LIMIT_EVENTS", "0", "expected a whole number from 1 to 1000000, got '0'"),
        ("TIDEGATE_STALL_EXIT", "4999ms", "expected a duration from 5s to 1d, or 0, got '4999ms'"),
        ("TIDEGATE_CLOCK", "foo", "expected 'wall' or 'arrival', got 'foo'"),
    ],
)  # fmt: skip
def test_a_value_out_of_bounds_is_refused_with_the_bounds(variable: str, value: str, expected: str) -> None:
    with pytest.raises(SettingError) as refused:
        load_settings({variable: value})

    assert str(refused.value).startswith(f"{variable}: {expected}")


def test_bounds_are_allowed_themselves() -> None:
    settings = load_settings({"TIDEGATE_SESSION": "30m", "TIDEGATE_TRANSACTION_TIMEOUT": "1s", "TIDEGATE_PREFIX": ""})

    assert (settings.session_ms, settings.transaction_timeout_ms) == (1_800_000, 1000)
    assert settings.prefix == ""
    assert [load_settings({"TIDEGATE_STALL_EXIT": text}).stall_exit_ms for text in ("0", "0s", "5s")] == [0, 0, 5000]


def test_limits_are_the_cores_own_unless_they_are_set() -> None:
    """A default that is written twice must be the same twice."""
    assert load_settings({}).limits() == Limits()
    assert load_settings({}).limits(5) == Limits(grace_ms=5)

    given = {"EVENTS": 7, "VALUES": 8, "TRAITS": 9, "STATE_BYTES": 70_000, "DEPTH": 10, "CONDITIONS": 11}
    settings = load_settings({f"TIDEGATE_LIMIT_{name}": str(value) for name, value in given.items()})
    assert settings.limits() == Limits(events=7, values=8, traits=9, state_bytes=70_000, depth=10, conditions=11)


@pytest.mark.parametrize("value", [":hunter2@redis.example", "hunter2", "redis:hunter2@redis.example"])
def test_a_url_that_is_none_is_refused_without_saying_it(value: str) -> None:
    """It may hold a password."""
    for variable in ("TIDEGATE_REDIS", "TIDEGATE_SMTP"):
        with pytest.raises(SettingError, match=f"^{variable}: expected a URL with its scheme") as refused:
            load_settings({variable: value})

        assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize(
    "url",
    [
        "redis://worker:hunter2@redis.example:6379/0",
        "redis://:hunter2@redis.example",
        "redis://worker:p@hunter2@redis.example",
        "redis://worker:p/hunter2@redis.example",
        "redis://redis.example?password=hunter2",
    ],
)
def test_a_url_is_shown_without_its_password(url: str) -> None:
    assert "hunter2" not in shown(url)
    assert "redis.example" in shown(url)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"SECURITY": "TLS"}, "TIDEGATE_BROKER_SECURITY: expected 'PLAINTEXT' or 'SSL' or"),
        ({"SECURITY": "SASL_SSL", "PASSWORD": "hunter2"}, "TIDEGATE_BROKER_USER: expected one with"),
        ({"SECURITY": "SASL_SSL", "USER": "shop"}, "TIDEGATE_BROKER_PASSWORD: expected one with"),
        ({"USER": "shop"}, "TIDEGATE_BROKER_USER: expected TIDEGATE_BROKER_SECURITY=SASL_SSL or SASL_PLAINTEXT with it"),
        ({"SECURITY": "SSL", "PASSWORD": "hunter2"}, "TIDEGATE_BROKER_PASSWORD: expected TIDEGATE_BROKER_SECURITY=SASL_SSL"),
        ({"CA": "ca.pem"}, "TIDEGATE_BROKER_CA: expected TIDEGATE_BROKER_SECURITY=SSL or SASL_SSL with it, got PLAINTEXT"),
        ({"SECURITY": "SSL", "KEY": "key.pem"}, "TIDEGATE_BROKER_KEY: expected TIDEGATE_BROKER_CERTIFICATE with it"),
    ],
)  # fmt: skip
def test_half_a_protection_is_refused(given: dict[str, str], said: str) -> None:
    """Whoever names an authority means TLS, and would go on without it."""
    with pytest.raises(SettingError) as refused:
        load_settings({f"TIDEGATE_BROKER_{name}": value for name, value in given.items()})

    assert str(refused.value).startswith(said)
    assert "hunter2" not in str(refused.value)


def test_the_broker_s_password_is_in_no_repr() -> None:
    given = {"SECURITY": "SASL_SSL", "USER": "shop", "PASSWORD": "hunter2"}
    settings = load_settings({f"TIDEGATE_BROKER_{name}": value for name, value in given.items()})

    assert settings.broker_password == "hunter2"
    assert "hunter2" not in repr(settings)
    assert "hunter2" not in shown("hunter2", "secret")


def test_a_name_far_from_any_other_is_refused_without_a_guess() -> None:
    with pytest.raises(SettingError, match=r"^TIDEGATE_FOO: no such setting; `tidegate settings` lists them all$"):
        load_settings({"TIDEGATE_FOO": "1"})


def test_the_switch_to_pure_python_is_no_unknown_setting() -> None:
    """Whoever looks for a fault in the compiled core runs everything with it."""
    assert load_settings({"TIDEGATE_PURE": "1"}) == load_settings({})
