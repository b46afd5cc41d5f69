"""The house: which module may import which, enforced on the source itself."""

import ast
import functools
import re
import subprocess
import sys
import tomllib
import zipfile
from collections import Counter
from pathlib import Path

import pytest

from emag_rt.bundle import save_bundle
from tests.factories import make_bundle

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("emag_rt", "calibration", "tools")
FILES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
# From the bottom up; a layer may import those below it, and none beside it.
LAYERS = (
    {"errors", "array_types", "system"},
    {"files", "web"},
    {"core"},
    {"native"},
    {"frontend"},
    {"bundle"},
    {"render", "streams", "recordings", "decoding"},
    {"montages"},
    {"synthetic"},
    {"engine"},
    {"daemon"},
    {"bench", "dashboard"},
    {"cli"},
)
CALIBRATION_LAYERS = (
    {"settings", "provenance"},
    {"session"},
    {"regression"},
    {"baselines", "residual", "electrodes"},
    {"field"},
    {"paper"},
    {"field_fits", "scores"},
    {"population"},
    {"bundling"},
    {"result"},
    {"stages"},
    {"estimator"},
    {"report", "live", "demo"},
    {"cli"},
)
RANKS = {
    package: {name: rank for rank, names in enumerate(layers) for name in names}
    for package, layers in (("emag_rt", LAYERS), ("calibration", CALIBRATION_LAYERS))
}
# What stands above all layers of its package.
TOPS = ("emag_rt/__init__.py", "emag_rt/__main__.py", "calibration/__init__.py")
MAX_ROOMS = 20
MAX_SAME_NAME = 2
# Who may import what from outside: path prefixes for each top-level package.
HOMES = {
    "ctypes": (
        "emag_rt/system.py",
        "emag_rt/native/",
        "emag_rt/streams/lsl/library.py",
        "emag_rt/cli/doctor_checks.py",
    ),
    "pylsl": ("emag_rt/streams/lsl/library.py",),
    "torch": ("emag_rt/render/torch_engine.py", "calibration/", "tools/"),
    "onnx": ("emag_rt/render/onnx_graph.py", "emag_rt/cli/doctor_checks.py", "tools/"),
    "onnxruntime": (
        "emag_rt/render/onnx_engine.py",
        "emag_rt/render/onnx_binding.py",
        "emag_rt/cli/doctor_checks.py",
        "tools/",
    ),
    "mne": (
        "emag_rt/recordings/",
        "emag_rt/synthetic/",
        "emag_rt/montages/from_mne.py",
        "calibration/",
        "tools/",
    ),
    "mne_lsl": ("tools/",),
    "pyxdf": ("emag_rt/recordings/xdf.py",),
    "pyriemann": ("emag_rt/decoding/", "tools/"),
    "sklearn": ("emag_rt/decoding/", "tools/"),
    "brainflow": ("tools/",),
    "ezmsg": ("tools/",),
    "matplotlib": ("emag_rt/bench/plots.py", "calibration/", "tools/"),
    "psutil": ("emag_rt/bench/", "emag_rt/system.py", "tools/"),
    "yaml": ("emag_rt/daemon/settings.py", "emag_rt/montages/headsets/", "tools/"),
    "prometheus_client": ("emag_rt/daemon/status/prometheus.py",),
    "starlette": ("emag_rt/dashboard/",),
    "uvicorn": ("emag_rt/dashboard/",),
    "click": ("emag_rt/cli/", "calibration/cli/", "tools/"),
}
# Who may import what for type checkers alone.
TYPE_HOMES = {"torch": ("emag_rt/render/torch_field.py", "emag_rt/render/torch_hidden.py")}
CORE_MAY_IMPORT = {
    "__future__",
    "collections",
    "dataclasses",
    "functools",
    "itertools",
    "math",
    "re",
    "typing",
    "numpy",
    "scipy",
    "emag_rt",
}


def relative(path):
    return path.relative_to(ROOT).as_posix()


@functools.cache
def nodes_of(path):
    """All nodes of a module's syntax tree: every rule looks at them, so they are kept."""
    return list(ast.walk(ast.parse(path.read_text(encoding="utf-8"), str(path))))


def imports(nodes):
    """Dotted names of all imports, those inside functions too; ``from a import b`` gives a.b."""
    for node in nodes:
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node.lineno
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            for alias in node.names:
                yield f"{node.module}.{alias.name}", node.lineno


def for_types(nodes):
    """Lines that only type checkers run."""
    return {
        line
        for node in nodes
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for inner in node.body
        for line in range(inner.lineno, inner.end_lineno + 1)
    }


def room(dotted):
    """Room of a dotted name inside its package, None for the package's own names."""
    parts = dotted.split(".")
    return parts[1] if len(parts) > 1 and parts[1] in RANKS[parts[0]] else None


def violation(path, dotted):
    """What is wrong with ``path`` (relative) importing ``dotted``; empty when nothing is."""
    here, there = path.split("/")[0], dotted.split(".")[0]
    if there not in PACKAGES:
        homes = HOMES.get(there)
        return "" if homes is None or path.startswith(homes) else f"{there} has its home elsewhere"
    if PACKAGES.index(there) > PACKAGES.index(here):
        return f"{here} must not know {there}"
    if path.startswith("tools/studies/") and there == "tools":
        return "" if dotted.startswith("tools.studies.") else "studies must not know other tools"
    if here != there or here not in RANKS or path in TOPS:
        return ""
    own, rank = path.split("/")[1].removesuffix(".py"), RANKS[here]
    assert own in rank, f"{path} is in no layer: add it to docs/design.md and to the layers here"
    other = room(dotted)
    if other is None:
        return "" if dotted == "emag_rt.__version__" else f"names of {here} come from their module"
    return "" if other == own or rank[other] < rank[own] else f"{own} must not know {other}"


def wrong_imports(path):
    """What is wrong with the imports of a module."""
    here, nodes = relative(path), nodes_of(path)
    typing_lines = for_types(nodes)
    for dotted, line in imports(nodes):
        if line in typing_lines and here in TYPE_HOMES.get(dotted.split(".")[0], ()):
            continue
        if why := violation(here, dotted):
            yield f"{here}:{line}: {dotted}: {why}"


def test_imports_go_one_way():
    assert [wrong for path in FILES for wrong in wrong_imports(path)] == []


@pytest.mark.parametrize(
    ("path", "dotted"),
    [
        ("emag_rt/daemon/loop.py", "emag_rt.bench.accounting"),
        ("emag_rt/synthetic/standin.py", "calibration.regression.profiles"),
        ("emag_rt/bench/soak.py", "emag_rt.cli.options"),
        ("emag_rt/core/field.py", "emag_rt.frontend.filters"),
        ("emag_rt/frontend/units.py", "emag_rt.bundle.Bundle"),
        ("emag_rt/render/plan.py", "emag_rt.streams.base.Clock"),
        ("emag_rt/streams/base.py", "emag_rt.recordings.read"),
        ("emag_rt/bundle/bundle.py", "emag_rt.render"),
        ("emag_rt/daemon/loop.py", "emag_rt.cli.main"),
        ("emag_rt/daemon/loop.py", "emag_rt.Upsampler"),
        ("emag_rt/errors.py", "emag_rt.core.labels"),
        ("emag_rt/daemon/process.py", "calibration.FieldCalibrator"),
        ("calibration/bundling.py", "tools.make_golden"),
        ("calibration/settings/calibration_settings.py", "calibration.paper.training"),
        ("calibration/session/segments.py", "calibration.regression.blocks"),
        ("calibration/regression/gram_matrices.py", "calibration.baselines.ridge"),
        ("calibration/regression/lag_grams.py", "calibration.electrodes.offer"),
        ("calibration/baselines/ridge.py", "calibration.residual.bag"),
        ("calibration/paper/checkpoint_bundle.py", "calibration.bundling.make_bundle"),
        ("calibration/scores/cross_validated.py", "calibration.result.Calibration"),
        ("calibration/population/people.py", "calibration.bundling.make_bundle"),
        ("calibration/result.py", "calibration.stages"),
        ("calibration/report/write.py", "calibration.live.display"),
        ("calibration/live/record_live.py", "calibration.cli.progress"),
        ("calibration/report/evidence.py", "calibration.Calibration"),
        ("tools/studies/accuracy_table.py", "tools.record_xdf"),
        ("emag_rt/daemon/process.py", "pylsl"),
        ("emag_rt/core/drive.py", "torch.nn"),
        ("emag_rt/engine/upsampler.py", "mne.io"),
    ],
)
def test_the_rule_sees_what_is_forbidden(path, dotted):
    assert violation(path, dotted)


def test_core_is_pure_maths():
    core = [path for path in FILES if path.is_relative_to(ROOT / "emag_rt/core")]
    assert core
    assert [
        f"{relative(path)}:{line}: {dotted}"
        for path in core
        for dotted, line in imports(nodes_of(path))
        if dotted.split(".")[0] not in CORE_MAY_IMPORT
    ] == []


def test_addresses_of_arrays_stay_with_those_who_call_c():
    takers = {
        relative(path)
        for path in FILES
        for node in nodes_of(path)
        if isinstance(node, ast.Attribute) and node.attr in ("ctypes", "addressof")
    }
    assert takers
    assert [
        p for p in takers if not p.startswith(("emag_rt/native/", "emag_rt/streams/lsl/"))
    ] == []


def test_pylsl_is_imported_in_exactly_one_module():
    importers = [
        relative(path)
        for path in FILES
        if any(dotted.split(".")[0] == "pylsl" for dotted, _ in imports(nodes_of(path)))
    ]
    assert importers == list(HOMES["pylsl"])


SERVING = """
import sys
import numpy as np
import emag_rt.cli.main, emag_rt.cli.serve, emag_rt.daemon.process
from emag_rt import Upsampler
for path in sys.argv[1:]:
    for engine in ("auto", "packed"):
        upsampler = Upsampler.load(path, engine=engine)
        ld = np.random.default_rng(0).normal(size=(300, upsampler.n_inputs))
        ld[100:, 0] = np.nan
        hd, stamps = upsampler.push(ld)
        assert hd.shape[0] == len(stamps) == 300 - upsampler.look_ahead
        assert np.isfinite(hd).all() and upsampler.bad
print(*sorted(sys.modules))
"""


def test_serving_needs_neither_torch_nor_mne_nor_onnx(tmp_path):
    bundles = [make_bundle(1), make_bundle(2, hidden="gelu", look_ahead=3)]
    paths = [tmp_path / f"{i}.emag" for i in range(len(bundles))]
    for bundle, path in zip(bundles, paths, strict=True):
        save_bundle(bundle, path)
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", SERVING, *paths],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    loaded = set(done.stdout.split())
    assert {"pylsl", "emag_rt.daemon.process"} <= loaded
    heavy = {
        "prometheus_client",
        "http.server",
        "torch",
        "mne",
        "scipy.signal",
        "matplotlib",
        "onnx",
        "onnxruntime",
        "calibration",
        "mne_lsl",
        "pyriemann",
        "sklearn",
        "emag_rt.decoding",
    }
    heavy |= {"psutil", "emag_rt.bench", "starlette", "uvicorn", "emag_rt.dashboard"}
    assert loaded & heavy == set()


FORBIDDEN_MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "shelve", "marshal"}
NAMED = (ast.Name, ast.Attribute)
LOOKED_AT = {"weights_only", "allow_pickle", "shell"}
PARALLEL_ALONE = {"Parallel", "delayed", "parallel_config"}
"""What may be taken from joblib: its files are pickles."""


def dangers(nodes):
    """Code that could run what it reads."""
    for dotted, line in imports(nodes):
        if dotted.split(".")[0] in FORBIDDEN_MODULES:
            yield f"line {line}: import {dotted}"
    for node in nodes:
        if isinstance(node, ast.Import) and any(a.name == "joblib" for a in node.names):
            yield f"line {node.lineno}: import joblib"
        if isinstance(node, ast.ImportFrom) and node.module == "joblib":
            for alias in node.names:
                if alias.name not in PARALLEL_ALONE:
                    yield f"line {node.lineno}: from joblib import {alias.name}"
        if not isinstance(node, ast.Call):
            continue
        name = ast.unparse(node.func) if isinstance(node.func, NAMED) else ""
        options = {k.arg: ast.unparse(k.value) for k in node.keywords if k.arg in LOOKED_AT}
        if (
            name in ("eval", "exec", "__import__", "os.system", "yaml.load", "yaml.unsafe_load")
            or (name == "torch.load" and options.get("weights_only") != "True")
            or options.get("allow_pickle", "False") != "False"
            or options.get("shell", "False") != "False"
        ):
            yield f"line {node.lineno}: {ast.unparse(node)}"


def test_nothing_read_is_ever_run():
    found = [f"{relative(path)}: {what}" for path in FILES for what in dangers(nodes_of(path))]
    assert found == []


@pytest.mark.parametrize(
    "code",
    [
        "import pickle",
        "import joblib",
        "from joblib import Parallel, load",
        "eval('1')",
        "yaml.load(x)",
        "torch.load(x)",
        "np.load(x, allow_pickle=True)",
        "subprocess.run(x, shell=True)",
    ],
)
def test_dangers_are_seen(code):
    assert list(dangers(list(ast.walk(ast.parse(code)))))


def test_modules_stay_small():
    lines = {relative(path): len(path.read_text(encoding="utf-8").splitlines()) for path in FILES}
    assert {name: n for name, n in lines.items() if n > 450} == {}


@pytest.mark.parametrize("package", RANKS)
def test_rooms_are_few_and_each_in_one_layer(package):
    rooms = {
        path.relative_to(ROOT / package).parts[0].removesuffix(".py")
        for path in FILES
        if path.is_relative_to(ROOT / package)
    }
    rooms -= {"__init__", "__main__"}
    assert rooms == set(RANKS[package])
    assert len(rooms) <= MAX_ROOMS


def worn_out(paths):
    """File names that occur more often than a reader can tell apart."""
    counts = Counter(path.name for path in paths if not path.name.startswith("__"))
    return sorted(name for name, n in counts.items() if n > MAX_SAME_NAME)


def test_a_file_name_occurs_at_most_twice():
    assert worn_out(FILES) == []
    assert worn_out([Path(room, "run.py") for room in "abc"]) == ["run.py"]


MACHINE_PATH = re.compile(r"""(?<![\w.:/])/(work|home|root|Users|tmp|mnt|srv|opt)/|[A-Z]:\\\\?\w""")


def test_no_path_of_any_machine_in_the_project():
    texts = [path for path in FILES if path.is_file()]
    for folder in ("configs", "docs"):
        texts += sorted(p for p in (ROOT / folder).rglob("*") if p.suffix in (".yaml", ".md"))
    texts += [ROOT / "pyproject.toml", ROOT / "README.md"]
    found = [
        f"{relative(path)}:{number}: {line.strip()}"
        for path in texts
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if MACHINE_PATH.search(line)
    ]
    assert found == []
    assert MACHINE_PATH.search('open("/home/me/data.fif")')


def test_wheel_carries_the_two_packages_alone(tmp_path):
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    wheel = settings["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert wheel["packages"] == ["emag_rt", "calibration"]
    pytest.importorskip("hatchling", reason="building a wheel needs hatchling")
    build = "import sys; from hatchling.build import build_wheel; build_wheel(sys.argv[1])"
    done = subprocess.run(
        [sys.executable, "-c", build, tmp_path],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (path,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"emag_rt", "calibration"}
    assert not any("test" in name.lower() for name in names)
    ours = {relative(path) for path in FILES if not relative(path).startswith("tools/")}
    assert ours <= set(names)
    libraries = [name for name in names if name.endswith(".so")]
    assert "emag_rt/native/kernel.c" in names
    assert path.name.endswith("-any.whl") == (not libraries)
    assert {"emag_rt/py.typed", "calibration/py.typed"} <= set(names)
    assert "emag_rt/montages/standard.json" in names
    assert "emag_rt/montages/headsets/biosemi-64.yaml" in names
    assert "calibration/population/adult.safetensors" in names
    assert "calibration/population/adult.network.safetensors" in names
    assert "emag_rt/dashboard/static/index.html" in names
    beside = (
        "page.html",
        "page.js",
        "player.html",
        "player.js",
        "report.css",
        "viewer.html",
        "viewer.js",
    )
    assert {f"calibration/report/{n}" for n in beside} <= set(names)
