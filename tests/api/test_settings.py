"""A setting is documented, or it is none; a wrong one stops the start with a sentence that names it."""

import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from backend.settings import PREFIX, Settings, WrongSetting, describe

WRONG = [
    ("ANLU_HOST", ""),
    ("ANLU_PORT", "eight thousand"),
    ("ANLU_PORT", "70000"),
    ("ANLU_PORT", "-1"),
    ("ANLU_ORIGIN", "anlu.example.com"),
    ("ANLU_ORIGIN", "ftp://anlu.example.com"),
    ("ANLU_ORIGIN", "https://anlu.example.com/app"),
    ("ANLU_COLD_YEARS", "-1"),
    ("ANLU_WORKERS", "0"),
    ("ANLU_WORKERS", "2"),
    ("ANLU_DATA", ""),
    ("ANLU_DATA", __file__),
    ("ANLU_DATABASE", "mysql://user:geheim@host/anlu"),
    ("ANLU_MEDIA", __file__),
    ("ANLU_MEDIA", "ftp://host/photos"),
    ("ANLU_S3", "https://access:geheim@host"),
    ("ANLU_S3", "https://host/bucket"),
    ("ANLU_S3", "s3://access:geheim@host/bucket"),
    ("ANLU_S3", "https://access:geheim@host/no"),
    ("ANLU_KEYS", __file__),
    ("ANLU_PWA", "/nowhere/at/all"),
    ("ANLU_DEMO_SIZE", "huge"),
    ("ANLU_DEMO", "perhaps"),
    ("ANLU_PASSWORD_MS", "1"),
    ("ANLU_PASSWORD_MS", "9000"),
    ("ANLU_WORKER_SESSION_HOURS", "0"),
    ("ANLU_ADMIN_SESSION_HOURS", "1000"),
    ("ANLU_DISK_FREE_MB_MIN", "0"),
    ("ANLU_MEDIA_FREE_MB_MIN", "-1"),
    ("ANLU_UPGRADE_WITHOUT_BACKUP", "perhaps"),
    ("ANLU_METRICS_TOKEN", "geheim"),
    ("ANLU_PROXY_ADDRESSES", "127.0.0.1, proxy"),
    ("ANLU_TLS_CERTIFICATE", "/nowhere/at/all.pem"),
    ("ANLU_TLS_CERTIFICATE", __file__),
    ("ANLU_TLS_KEY", "/nowhere/at/all.pem"),
    ("ANLU_LAN_HTTP_PORT", "65536"),
    ("ANLU_LOG_LEVEL", "loud"),
    ("ANLU_POTR", "8000"),
]


@pytest.mark.parametrize(("name", "value"), WRONG)
def test_a_wrong_value_is_a_sentence_in_both_languages_that_names_the_setting(name, value, tmp_path):
    with pytest.raises(WrongSetting) as caught:
        Settings.read({name: value}, tmp_path)
    zh, en = str(caught.value).split("\n")
    assert zh.startswith(f"设置 {name} 不对：")
    assert zh.endswith("。")
    assert en.startswith(f"The setting {name} is wrong: ")
    assert en.endswith(".")
    assert "geheim" not in str(caught.value)


def test_every_setting_has_a_wrong_value_in_these_tests():
    assert {name for name, _ in WRONG} - {"ANLU_POTR"} == {PREFIX + field.name.upper() for field in msgspec.structs.fields(Settings)}


def test_every_setting_is_documented_in_both_languages():
    described = describe()
    assert [d.name for d in described] == [f.name for f in msgspec.structs.fields(Settings)]
    for one in described:
        assert one.zh.endswith("。")
        assert one.en.endswith(".")
        assert any("一" <= character <= "鿿" for character in one.zh)


def test_the_environment_stands_above_the_file_and_the_file_above_the_defaults(tmp_path):
    (tmp_path / "anlu.toml").write_text('port = 9000\nlog_level = "debug"\n')
    settings = Settings.read({"ANLU_PORT": "9001"}, tmp_path)
    assert (settings.port, settings.log_level, settings.host) == (9001, "debug", "127.0.0.1")


@pytest.mark.parametrize("text", ["port = 'x'", "colour = 1", "port = ", "port = true"])
def test_a_wrong_file_is_a_sentence_that_names_the_file(text, tmp_path):
    (tmp_path / "anlu.toml").write_text(text)
    with pytest.raises(WrongSetting, match=r"anlu\.toml"):
        Settings.read({}, tmp_path)


def test_https_is_known_from_the_origin():
    assert Settings(origin="https://anlu.example.com/").public_origin == "https://anlu.example.com"
    assert Settings(origin="https://anlu.example.com").https
    assert not Settings().https
    assert Settings(host="0.0.0.0", port=81).public_origin == "http://127.0.0.1:81"


def test_the_command_stops_with_the_sentence_and_a_status(tmp_path):
    environment = {"PATH": os.environ["PATH"], "ANLU_PORT": "none", "PYTHONPATH": str(Path(__file__).parents[2])}
    ran = subprocess.run(
        [sys.executable, "-m", "backend.cli", "serve"], env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert ran.returncode == 2
    assert "设置 ANLU_PORT 不对" in ran.stderr
    assert "Traceback" not in ran.stderr
