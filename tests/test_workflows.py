"""The forge's workflows call what is there: they cannot be run here."""

from __future__ import annotations

import importlib.util
import re
import shlex
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
WORKFLOWS = {
    path.name: yaml.safe_load(path.read_text(encoding="utf-8"))
    for path in sorted((ROOT / ".github" / "workflows").glob("*.yml"))
}
COMMANDS = [
    (name, shlex.split(step["run"]))
    for name, workflow in WORKFLOWS.items()
    for job in workflow["jobs"].values()
    for step in job["steps"]
    if "run" in step
]


def wrong(words):
    """What is not there of what a command names; empty where all of it is."""
    if words[0] in SETTINGS["scripts"]:
        from emag_rt.cli.main import cli

        return "" if cli.get_command(None, words[1]) else f"no subcommand {words[1]}"
    if words[0] == "nox":
        noxfile = (ROOT / "noxfile.py").read_text(encoding="utf-8")
        tasks = set(re.findall(r"@nox\.session\ndef (\w+)", noxfile))
        return ", ".join(set(words[2:]) - tasks)
    if words[:2] == ["python", "-m"]:
        return "" if importlib.util.find_spec(words[2]) else f"no module {words[2]}"
    if words[0] in ("pip", "uv"):
        named = re.findall(r"\.\[(\w+)\]", " ".join(words))
        return ", ".join(set(named) - set(SETTINGS["optional-dependencies"]))
    return "" if words[0] == "pytest" else f"{words[0]} is not known"


@pytest.mark.parametrize(("name", "words"), COMMANDS, ids=lambda one: str(one)[:60])
def test_commands_name_what_is_there(name, words):
    assert wrong(words) == ""


@pytest.mark.parametrize(
    "command",
    ["nox -s lin", "emag-rt demos", "python -m tools.wheel", 'pip install ".[de]"', "make"],
)
def test_what_is_not_there_is_seen(command):
    assert wrong(shlex.split(command))


def test_the_readmes_commands_are_run():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    commands = [shlex.join(words) for name, words in COMMANDS if name == "ci.yml"]
    for command in ("pip install -e .", "emag-rt demo", 'pip install -e ".[dev]"', "pytest"):
        assert shlex.join(shlex.split(command)) in commands
        assert command in readme


def test_three_systems_and_the_oldest_and_newest_python_are_tested():
    jobs = WORKFLOWS["ci.yml"]["jobs"]
    matrix = jobs["tests"]["strategy"]["matrix"]
    assert {name.split("-")[0] for name in matrix["os"]} == {"ubuntu", "windows", "macos"}
    assert SETTINGS["requires-python"] == f">={matrix['python'][0]}"
    assert {"oldest", "newest"} <= set(jobs)


def test_every_job_reads_only():
    for name, workflow in WORKFLOWS.items():
        assert workflow["permissions"] == {"contents": "read"}, name
