"""Settings are checked at start: one line names the variable, and never shows its value."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretBytes

from command_api.settings import CommandSettings
from ops.compose.init import FirstStepsSettings, SchemaSettings
from ops.home.access import ApiSettings
from ops.settings import JobsSettings, OwnerSettings, WriteSideSettings
from projector.settings import ProjectorSettings
from query_api.settings import QuerySettings
from shared.errors import Misconfigured
from shared.process.settings import Settings, settings_from_environment

KEY = "A" * 43 + "="
SETTINGS: list[type[Settings]] = [
    CommandSettings,
    QuerySettings,
    ProjectorSettings,
    JobsSettings,
    WriteSideSettings,
    OwnerSettings,
    ApiSettings,
    SchemaSettings,
    FirstStepsSettings,
]
GOOD = {
    "DATABASE_URL": "postgresql://u:p@db.example/x",
    "OWNER_DATABASE_URL": "host=/run/pg user=u password=p",
    "REDIS_URL": "redis://:p@cache.example:6379/0",
    "JOBS_REDIS_URL": "unix://:p@/run/redis.sock?db=1",
    "COMMAND_PASSWORD": "p",
    "PROJECTOR_PASSWORD": "p",
    **{
        name.upper(): KEY
        for kind in SETTINGS
        for name, field in kind.model_fields.items()
        if field.annotation is SecretBytes
    },
}
MARK = "gArBaGe"
GARBAGE = [
    MARK,
    f" {MARK} ",
    f"{MARK} {MARK}\x01",
    f"☃{MARK}",
    f"\udcff{MARK}",
    f"-1{MARK}",
    f"postgresql+psycopg://u:{MARK}@h/d",
    f"postgresql://u:{MARK}@h:99999/d",
    f"postgresql://u:{MARK}@h:x/d",
    f"postgresql://h/d?{MARK}=1",
    f"host=h {MARK}",
    f"redis+cluster://:{MARK}@h:99999,h",
    f"redis+cluster://:{MARK}@h:6379,h/1",
    f"redis://:{MARK}@h:99999/0",
    f"redis://:{MARK}@h:x/0",
    f"redis://:{MARK}@h/zero",
    f"redis://:{MARK}@h/0?socket_timeout=x",
    f"redis://:{MARK}@h/0?unheard_of=1",
    f"redis://:{MARK}@/0",
    f"redis://[{MARK}",
    f"http://u:{MARK}@[",
    f"/{MARK}/{MARK}/{MARK}",
    f"300.1.1.1,{MARK}",
    "9" * 5_000,
]
# Any text is as good as another.
FREE_TEXT = {
    "token_issuer",
    "token_audience",
    "metrics_token",
    "api_key",
    "smtp_user",
    "smtp_password",
}
# A file's name, looked for when it is needed, and passwords, which may be anything.
UNCHECKED = {"catalogue", "command_password", "projector_password"}
NUMBERS = ["-1", "0x10", "1_0", "nan", "inf", "1e999", "99999999999999999999", "٣", "1.5.1"]
FIELDS = [(kind, name) for kind in SETTINGS for name in kind.model_fields if name not in UNCHECKED]


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in _prefixed(GOOD).items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize("kind", SETTINGS)
def test_settings_that_are_right_are_read(kind: type[Settings]) -> None:
    assert settings_from_environment(kind)


@pytest.mark.parametrize(("kind", "name"), FIELDS)
def test_garbage_is_refused_in_one_line_that_names_the_variable(
    kind: type[Settings], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    variable = f"STARFOLD_{name.upper()}"
    answers = [_refusal(kind, variable, garbage, monkeypatch) for garbage in GARBAGE]
    refusals = [answer for answer in answers if answer is not None]
    assert len(refusals) >= (1 if name in FREE_TEXT else 3)
    for said in refusals:
        assert f"{variable}: " in said
        assert MARK not in said
        assert "9999" not in said
        assert said.isprintable()


def _refusal(
    kind: type[Settings], variable: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> str | None:
    monkeypatch.setenv(variable, value)
    try:
        settings_from_environment(kind)
    except Misconfigured as error:
        return str(error)
    return None


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (kind, name)
        for kind, name in FIELDS
        if any(word in str(kind.model_fields[name].annotation) for word in ("int", "float"))
    ],
)
def test_a_number_that_is_none_or_out_of_bounds_is_refused(
    kind: type[Settings], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in NUMBERS:
        monkeypatch.setenv(f"STARFOLD_{name.upper()}", number)
        with pytest.raises(Misconfigured, match=f"STARFOLD_{name.upper()}: "):
            settings_from_environment(kind)


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (CommandSettings, "port"),
        (QuerySettings, "port"),
        (ProjectorSettings, "metrics_port"),
        (JobsSettings, "worker_metrics_port"),
    ],
)
@pytest.mark.parametrize("port", ["0", "65536", "99999"])
def test_a_port_is_one_to_65535(
    kind: type[Settings], name: str, port: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"STARFOLD_{name.upper()}", port)
    with pytest.raises(Misconfigured, match=f"STARFOLD_{name.upper()}"):
        settings_from_environment(kind)


@pytest.mark.parametrize("level", ["debug", "INFO", "Warning", "error", "critical"])
def test_log_levels_are_known_in_small_letters_too(
    level: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STARFOLD_LOG_LEVEL", level)
    assert settings_from_environment(Settings).log_level == level.upper()


def test_an_empty_variable_is_one_that_is_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STARFOLD_LOG_LEVEL", "")
    monkeypatch.setenv("STARFOLD_TRUSTED_PROXIES", "")
    monkeypatch.setenv("STARFOLD_REDIS_URL", "")
    with pytest.raises(Misconfigured, match="STARFOLD_REDIS_URL: Field required"):
        settings_from_environment(QuerySettings)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (
            "database_url",
            "postgresql://a.example:5432,b.example:5433/x?target_session_attrs=primary",
        ),
        ("database_url", "host=h port=5432 dbname=d options='-c jit=off'"),
        ("trusted_proxies", "10.0.0.0/8, ::1,192.0.2.1"),
        ("trusted_proxies", "*"),
        ("host", "::"),
        ("host", "api.internal."),
        ("cors_origins", "https://a.example, http://localhost:3000"),
        ("cors_origins", "*"),
        ("scrub_every_s", "0.5"),
    ],
)
def test_what_is_right_is_taken(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"STARFOLD_{name.upper()}", value)
    kinds = [kind for kind in SETTINGS if name in kind.model_fields]
    assert kinds
    for kind in kinds:
        assert settings_from_environment(kind)


@pytest.mark.parametrize(
    ("program", "variable", "value"),
    [
        (["-m", "command_api"], "DATABASE_URL", f"postgresql+psycopg://u:{MARK}@h/d"),
        (["-m", "command_api"], "PORT", "99999"),
        (["-m", "command_api"], "LOG_LEVEL", MARK),
        (["-m", "query_api"], "REDIS_URL", f"http://:{MARK}@h"),
        (["-m", "query_api"], "HOST", f"{MARK}.invalid"),
        (["-m", "projector"], "REDIS_URL", f"redis://:{MARK}@h:99999"),
        (["-m", "projector"], "SEALING_KEY", MARK),
        (["-m", "ops.worker"], "JOBS_REDIS_URL", MARK),
        (["-m", "ops.worker"], "DATABASE_URL", f"host=h {MARK}"),
        (["-m", "ops.cli", "status"], "LOG_FORMAT", MARK),
        (["-m", "ops.cli", "status"], "LOG_LEVEL", MARK),
        (["-m", "ops.cli", "keys", "list"], "OWNER_DATABASE_URL", f"postgres+x://:{MARK}@h"),
        (["-m", "ops.cli", "users", "list"], "DATABASE_SCHEMA", f"{MARK}; --"),
    ],
)
def test_a_process_says_it_in_one_line_and_exits_with_1(
    program: list[str], variable: str, value: str, tmp_path: Path
) -> None:
    done = subprocess.run(
        [sys.executable, *program],
        env={"PATH": "/usr/bin:/bin", **_prefixed({**GOOD, variable: value})},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        cwd=Path(__file__).parents[3],
    )
    said = [line for line in done.stderr.splitlines() if "descriptors_limited" not in line]
    assert done.returncode == 1
    assert len(said) == 1
    assert f"STARFOLD_{variable}" in said[0]
    assert MARK not in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def _prefixed(settings: dict[str, Any]) -> dict[str, str]:
    return {f"STARFOLD_{name}": value for name, value in settings.items()}
