"""Settings: refused with path and rule, or taken."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from emag_rt.engine.settings import ServeSettings, load_settings
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
        ("latency: {budget_s: .nan}", r"latency\.budget_s: .*finite"),
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
        ("source: !!python/object/apply:os.system [true]", "not YAML"),
    ],
)
def test_mistakes_are_named(load, text, message):
    with pytest.raises(SettingsError, match=message):
        load(text)


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
