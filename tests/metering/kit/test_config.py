"""Settings are declared once and refuse what they cannot use."""

import stat
from pathlib import Path

import pytest

from metering.kit.config import BadSetting, Settings, declared_settings, signing_key


def test_an_empty_environment_gives_the_defaults():
    settings = Settings.from_environment({"HOME": "/home/ada"})

    assert settings.database_url is None
    assert settings.data_dir == Path("/home/ada/.local/share/paygo")
    assert (settings.host, settings.port, settings.web_workers) == ("127.0.0.1", 8080, 2)
    assert (settings.log_format, settings.log_level) == ("text", "info")


def test_the_data_folder_follows_the_desktop_convention():
    settings = Settings.from_environment({"HOME": "/home/ada", "XDG_DATA_HOME": "/srv/data"})

    assert settings.data_dir == Path("/srv/data/paygo")


def test_an_empty_value_counts_as_unset():
    assert Settings.from_environment({"PAYGO_PORT": " "}).port == 8080


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        (
            "PAYGO_PORT",
            "http",
            "PAYGO_PORT must be a whole number from 1 to 65535, not 'http'.",
        ),
        (
            "PAYGO_PORT",
            "70000",
            "PAYGO_PORT must be a whole number from 1 to 65535, not '70000'.",
        ),
        ("PAYGO_WEB_WORKERS", "-1", "PAYGO_WEB_WORKERS must be a whole number from 1 to 64"),
        ("PAYGO_LOG_FORMAT", "xml", "PAYGO_LOG_FORMAT must be one of text, json, not 'xml'."),
        ("PAYGO_DATA_DIR", "data", "PAYGO_DATA_DIR must be an absolute path, not 'data'."),
        ("PAYGO_CORRECTION_MONTHS", "0", "PAYGO_CORRECTION_MONTHS must be a whole number"),
    ],
)
def test_a_bad_value_is_refused_in_a_sentence_that_names_the_variable(name, value, sentence):
    with pytest.raises(BadSetting) as refused:
        Settings.from_environment({name: value})

    assert refused.value.detail.startswith(sentence)
    assert refused.value.facts == {"setting": name}


@pytest.mark.parametrize(
    ("name", "value"),
    [("DATABASE_URL", "mysql://root:hunter2@db"), ("PAYGO_SECRET_KEY", "hunter2")],
)
def test_a_bad_secret_is_refused_without_being_shown(name, value):
    with pytest.raises(BadSetting) as refused:
        Settings.from_environment({name: value})

    assert name in refused.value.detail
    assert "hunter2" not in refused.value.detail


def test_every_setting_can_be_listed():
    listed = declared_settings()

    assert list(listed) == [*Settings.__dataclass_fields__]
    assert len({setting.name for setting in listed.values()}) == len(listed)
    assert all(setting.help.endswith(".") for setting in listed.values())


def test_the_embedded_default_makes_one_private_signing_key_and_keeps_it(tmp_path):
    settings = Settings.from_environment({"PAYGO_DATA_DIR": str(tmp_path / "paygo")})

    key = signing_key(settings)

    assert len(key) >= 32
    assert signing_key(settings) == key
    kept = tmp_path / "paygo" / "secret_key"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert [path.name for path in kept.parent.iterdir()] == ["secret_key"]


def test_a_database_elsewhere_needs_a_signing_key_that_is_set():
    settings = Settings.from_environment({"DATABASE_URL": "postgresql://db/paygo"})

    with pytest.raises(BadSetting, match="PAYGO_SECRET_KEY must be set"):
        signing_key(settings)


def test_a_signing_key_that_is_set_is_used():
    key = "k" * 40
    settings = Settings.from_environment(
        {"DATABASE_URL": "postgresql://db/paygo", "PAYGO_SECRET_KEY": key}
    )

    assert signing_key(settings) == key
