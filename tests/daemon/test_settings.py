"""Settings: refused with path and rule, or taken."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from emag_rt.daemon.settings import ServeSettings, load_settings
from emag_rt.errors import SettingsError

CONFIGS = sorted((Path(__file__).parents[2] / "configs").glob("*.y*ml"))


@pytest.fixture
def load(tmp_path):
    def write_and_load(text, overrides=None):
        path = tmp_path / "settings.yaml"
        path.write_text(text, encoding="utf-8")
        return load_settings(path, overrides)

    return write_and_load


def test_defaults_are_those_of_the_class(load):
    assert load_settings(None) == ServeSettings()
    assert load("") == ServeSettings()
    assert load("# nothing but a comment\n") == ServeSettings()


@pytest.mark.parametrize("path", CONFIGS, ids=lambda p: p.name)
def test_every_shipped_configuration_loads(path):
    settings = load_settings(path)
    # serve.yaml spells the defaults out; the others must change something.
    assert (settings == ServeSettings()) == (path.name == "serve.yaml")


def test_the_configurations_are_where_they_should_be():
    assert "serve.yaml" in {path.name for path in CONFIGS}


def test_values_and_overrides(load):
    text = "source: {name: Amp, timeout_s: 3}\ngaps:\n  policy: hold\nduration_s: 9.5\n"
    overrides = {"source.name": "Other", "engine.hop": 8, "source.type": None, "duration_s": 2.0}
    found = load(text, overrides)
    assert found.source.name == "Other"
    assert found.source.timeout_s == 3.0
    assert found.source.type is None
    assert found.gaps.policy == "hold"
    assert found.engine.hop == 8
    assert found.duration_s == 2.0
    with pytest.raises(ValidationError):
        found.duration_s = 3.0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sauce: {}", r"settings\.yaml: sauce: unknown key; known are source, output, engine"),
        ("source: {nam: x}", r"source\.nam: unknown key; known are source_id, name, type"),
        (
            "latency: {budget_s: .nan}",
            r"latency\.budget_s: .*got nan \(allowed: a number",
        ),
        ("latency: {budget_s: 0}", r"latency\.budget_s: .*greater than 0.*got 0"),
        ("latency: {budget_s: -1}", r"latency\.budget_s"),
        ("duration_s: .inf", "duration_s"),
        ("duration_s: -3", "duration_s"),
        ("engine: {hop: many}", r"engine\.hop: .*integer.*'many'"),
        ("engine: {hop: -1}", r"engine\.hop"),
        ("engine: {hop: 1.5}", r"engine\.hop"),
        ("engine: {name: abacus}", r"engine\.name: .*'auto', .*'torch' or 'direct'"),
        ("gaps: {policy: zero}", r"gaps\.policy"),
        ("gaps: {stale_s: .nan}", r"gaps\.stale_s"),
        ("source: {name: ''}", r"source\.name"),
        ("source: {name: [a]}", r"source\.name: .*string"),
        ("source: 3", "source: .*got 3"),
        ("status: {interval_s: 0}", r"status\.interval_s"),
        ("lsl: {scope: moon}", r"lsl\.scope"),
        ("1: 2", "1: "),
        ("[a, b]", "must hold sections"),
        ("a: [", "not YAML"),
        ("latency: {budget_s: 1e300}", r"less than or equal to 3600, got '1e300'"),
        ("duration_s: 1e300", r"duration_s: .*at most 31,536,000"),
        ("engine: {hop: 99999999999}", r"got 99999999999 \(allowed: a whole number at least 0 and"),
        ("engine: {hop: true}", r"engine\.hop: .*integer, got True"),
        (
            "source: {timeout_s: true}",
            r"timeout_s: .*number, got True \(allowed: a number at least",
        ),
        ("source: {timeout_s: '3'}", r"timeout_s: .*number, got '3'"),
        ("source: {wait: 1}", r"wait: .*boolean, got 1 \(allowed: true or false\)"),
        ('source: {name: "a\\e[2J"}', r"name: .*control characters, got 'a\\x1b\[2J'"),
        ("source: {name: a}\nsource: {wait: true}", "source: must be given once"),
        ("gaps: {policy: nan, stale_s: 1, policy: hold}", r"gaps\.policy: must be given once"),
        ("x: 2026-13-45", "not YAML: month"),
        ("x: " + "9" * 5000, "not YAML: Exceeds"),
        ("[" * 5000, "not YAML: maximum recursion"),
        ("# " + "x" * (1 << 20), "at most 1024 KiB"),
        ("\n".join(f"x{i}: 1" for i in range(500)), "and 492 more"),
        ("source: !!python/object/apply:os.system [true]", "not YAML"),
    ],
)
def test_mistakes_are_named(load, text, message):
    with pytest.raises(SettingsError, match=message):
        load(text)


def test_a_thousand_million_laughs_stay_short(load):
    lines = ["a0: &a0 [x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 10)]
    with pytest.raises(SettingsError, match=r"source\.name: .*string") as caught:
        load("\n".join([*lines, "source: {name: *a9}"]))
    assert len(str(caught.value)) < 2500


def test_numbers_as_people_write_them(load):
    assert load("source: {timeout_s: 1e2}").source.timeout_s == 100.0
    assert load("source: {timeout_s: 3}").source.timeout_s == 3.0


@pytest.mark.parametrize(
    ("section", "key"),
    [
        (name, key)
        for name, field in ServeSettings.model_fields.items()
        if name != "duration_s"
        for key in field.annotation.model_fields
    ],
)
def test_every_key_says_what_it_takes(load, section, key):
    """Whatever the wrong value, path, value and allowed range are told."""
    for text in (".nan", ".inf", "-1", "{a: 1}", "[]", "!!binary aGk="):
        try:
            load(f"{section}: {{{key}: {text}}}")
        except SettingsError as error:
            message = str(error)
            assert f"{section}.{key}: " in message
            assert "got " in message
            assert "(allowed: " in message
            assert "\n" not in message
        else:
            pytest.fail(f"{section}.{key}: {text} was taken")


def test_all_mistakes_at_once(load):
    with pytest.raises(SettingsError, match=r"engine\.hop.*; .*gaps\.police"):
        load("engine: {hop: -1}\ngaps: {police: nan}")


def test_overrides_are_checked_too(load):
    with pytest.raises(SettingsError, match=r"settings: source\.volume: unknown key"):
        load_settings(None, {"source.volume": 3})
    with pytest.raises(SettingsError, match=r"latency\.budget_s"):
        load("", {"latency.budget_s": float("nan")})
    with pytest.raises(SettingsError, match="source must be a section, got 3"):
        load("source: 3", {"source.name": "x"})


def test_unreadable_files(tmp_path):
    with pytest.raises(SettingsError, match="No such file"):
        load_settings(tmp_path / "none.yaml")
    (tmp_path / "latin.yaml").write_bytes(b"source: {name: \xe9\xff}")
    with pytest.raises(SettingsError, match="not YAML"):
        load_settings(tmp_path / "latin.yaml")


def test_a_section_of_comments_stands_at_its_defaults(load):
    assert load("source:\n  # name: Amp\ngaps: {policy: hold}\n").source == ServeSettings().source
