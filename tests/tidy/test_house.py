"""Rules about the house itself that nothing else holds."""

import ast
import json
import re
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

from backend.kernel.errors import catalogue

ROOT = Path(__file__).parents[2]
CATALOGUE = ROOT / "backend/kernel/catalogue"


def tracked(*patterns: str) -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z", *patterns], cwd=ROOT, capture_output=True, check=True, text=True).stdout
    return [ROOT / name for name in listed.split("\0") if name and (ROOT / name).is_file()]


def test_lock_files_name_no_registry() -> None:
    for lock in tracked("*.lock", "*lock.json"):
        text = lock.read_text("utf-8")
        assert "pypi.org" not in text, lock
        assert "pythonhosted" not in text, lock
        assert '"resolved"' not in text, lock


def test_no_test_is_skipped_or_expected_to_fail() -> None:
    skips = re.compile(r"pytest\.mark\.(skip|xfail)|pytest\.skip\(|\b(it|test|describe)\.(skip|todo)\b|\bx(it|describe)\(")
    found = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in tracked("tests/*.py", "pwa/tests/*.ts")
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1)
        if skips.search(line) and path != Path(__file__)
    ]
    assert found == []


def test_nothing_is_left_for_later() -> None:
    later = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b|NotImplementedError")
    found = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in tracked("*.py", "*.ts", "*.vue", "*.sh", "justw", "justfile", "*.yaml")
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1)
        if later.search(line) and path != Path(__file__)
    ]
    assert found == []


def test_every_code_says_in_both_languages_what_happened_and_what_to_do() -> None:
    for code, entry in catalogue().items():
        assert re.fullmatch(r"[a-z0-9_]+(\.[a-z0-9_]+)+", code), code
        assert entry.zh, code
        assert entry.en, code
        assert entry.what_to_do.zh, code
        assert entry.what_to_do.en, code
        assert re.search(r"[\u4e00-\u9fff]", entry.zh), code
        assert not re.search(r"[\u4e00-\u9fff]", entry.en + entry.what_to_do.en), code


def test_sentences_use_the_parameters_they_are_given_and_no_others() -> None:
    for code, entry in catalogue().items():
        for text in (entry.zh + entry.what_to_do.zh, entry.en + entry.what_to_do.en):
            assert set(re.findall(r"\{(\w+)\}", text)) <= set(entry.params), code


def test_every_code_of_the_catalogue_is_used_and_every_code_used_is_in_it() -> None:
    sources = {
        path: path.read_text("utf-8")
        for path in tracked("backend/*.py", "backend/*.yaml", "media/*.py", "pwa/src/*.ts", "pwa/src/*.vue")
        if CATALOGUE not in path.parents
    }
    everything = "\n".join(sources.values())
    unused = [code for code in catalogue() if code not in everything]
    assert unused == []
    said = re.compile(
        r"""(?:Refusal|Refused|Parked|AppError)\(\s*["']([a-z0-9_]+(?:\.[a-z0-9_]+)+)["']"""  # in Python and TypeScript
        r"""|else:\s+([a-z0-9_]+\.[a-z0-9_.]+)\s*\}"""  # in kind files
    )
    unknown = {
        f"{path.relative_to(ROOT)}: {code}"
        for path, text in sources.items()
        for match in said.finditer(text)
        if (code := match.group(1) or match.group(2)) not in catalogue()
    }
    assert unknown == set()


def test_catalogue_files_are_sorted_out_by_area() -> None:
    for file in CATALOGUE.glob("*.json"):
        assert json.loads(file.read_text("utf-8")), file


def test_both_locks_hold_what_pyproject_pins() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    pins = {re.sub(r"\[.*\]", "", pin.lower()) for pin in project["project"]["dependencies"]}
    dev = {re.sub(r"\[.*\]", "", pin.lower()) for pin in project["dependency-groups"]["dev"]}
    for lock, wanted in (("requirements.lock", pins), ("requirements-dev.lock", pins | dev)):
        held = set(re.findall(r"^(\S+==\S+)", (ROOT / lock).read_text("utf-8").lower(), re.MULTILINE))
        assert wanted <= held, (lock, wanted - held)


def test_running_needs_nothing_that_only_testing_installs() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    declared = {re.split(r"[\[=]", pin)[0].lower() for pin in project["project"]["dependencies"]}
    imported: set[str] = set()
    for path in tracked("backend/*.py", "media/*.py", "migrations/*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Import):
                imported |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                imported.add((node.module or "").split(".")[0])
    foreign = imported - sys.stdlib_module_names - {"backend", "media", "migrations"}
    providers = packages_distributions()
    unknown = {name for name in foreign if not declared & {one.lower().replace("_", "-") for one in providers.get(name, [])}}
    assert unknown == set()


def test_decisions_name_tests_that_are_there() -> None:
    for page in tracked("decisions/0*.md"):
        text = page.read_text("utf-8")
        held = re.findall(r"`((?:tests|pwa/tests|\.ci)/[^`]*)`", text)
        assert held, page
        assert [name for name in held if not (ROOT / name).exists()] == [], page
