#!/usr/bin/env bash
# Builds the sdist, and the wheel from it; then installs the wheel into clean environments, the
# base and each extra alone, and runs it there on a simulated subject. Prints the sizes.
#
#   tools/package_smoke.sh [base|EXTRA ...]      (all but clients, dev, studies by default)
#
# Needs an index to install from, and gigabytes on the disk for torch. [gpu] is resolved alone,
# not installed: its CUDA libraries take gigabytes, and without a GPU they start nothing.
set -euo pipefail
cd "$(dirname "$0")/.."
export PIP_DISABLE_PIP_VERSION_CHECK=1
# Also where packages are built: torch's other builds are gigabytes.
export PIP_CONSTRAINT="$PWD/.ci/constraints.txt"
unset PYTHONPATH # the sources must not stand in for what was installed

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python=${PYTHON:-python3}

"$python" -m venv "$folder/build"
"$folder/build/bin/pip" install --quiet "build>=1.2"
"$folder/build/bin/python" -m build --outdir "$folder/dist" . > "$folder/build.log" 2>&1 ||
  { cat "$folder/build.log"; exit 1; }
wheel=$(echo "$folder"/dist/*.whl)
for file in "$folder"/dist/*; do
  echo "$(basename "$file"): $(($(stat -c %s "$file") / 1000)) kB"
done

if [ $# -gt 0 ]; then
  wanted=("$@")
else
  mapfile -t extras < <("$python" -c '
import tomllib
extras = tomllib.load(open("pyproject.toml", "rb"))["project"]["optional-dependencies"]
print(*(name for name in extras if name not in ("clients", "dev", "studies")), sep="\n")')
  wanted=(base "${extras[@]}")
fi

# What an extra is for; of those not named here, that its packages fit together is all we ask.
probe() {
  case $2 in
    calibrate) "$1/emag-rt" calibrate out/calibration_raw.fif --ld 8 --sfreq 100 --quiet \
      --out refined.emag | tail -n 5 ;;
    dashboard) "$1/python" -W error -c "
from emag_rt.dashboard.launch import require_extra
from emag_rt.dashboard import app
require_extra()" ;;
    xdf) "$1/python" -W error -c "import pyxdf" ;;
    wheels) # made by zig, then run where no compiler is on the path
      (cd "$tools/.." && "$1/python" -m tools.wheels --platform manylinux2014_x86_64 --out "$work")
      "$1/pip" install --quiet --no-deps --force-reinstall "$work"/emag_rt-*.whl
      PATH="" "$1/python" -c "
from emag_rt import Upsampler
print('engine', Upsampler.load('out/demo.emag', engine='native').engine, 'without a compiler')" ;;
    docs) PATH="$1:$PATH" "$tools/docs.sh" --quiet --site-dir "$PWD/site" ;;
  esac
}

# Exits with another status than 0 where anything does.
smoke() {
  local bin=$1 work=$2 extra=$3
  cd "$work"
  "$bin/emag-rt" --version
  "$bin/emag-rt" doctor --scope machine > doctor.txt || { cat doctor.txt; return 1; }
  "$bin/emag-rt" demo --seconds 5 --out out > demo.txt || { cat demo.txt; return 1; }
  grep -E "field  |latency" demo.txt
  if grep -E "field +nan" demo.txt; then return 1; fi
  "$bin/emag-rt" upsample out/demo.emag out/play_raw.fif --out again_raw.fif
  "$bin/emag-rt" report out/demo.emag out/calibration_raw.fif --out r.html --curves no --quiet
  _EMAG_RT_COMPLETE=bash_source "$bin/emag-rt" > /dev/null
  probe "$bin" "$extra"
}
tools=$PWD/tools

for extra in "${wanted[@]}"; do
  echo "== $extra"
  target=$wheel
  [ "$extra" = base ] || target="$wheel[$extra]"
  "$python" -m venv "$folder/venv"
  bin=$folder/venv/bin
  if [ "$extra" = gpu ]; then
    "$bin/pip" install --quiet --dry-run --report "$folder/report.json" "$target"
    "$python" -c '
import json, sys
names = [one["metadata"]["name"] for one in json.load(open(sys.argv[1]))["install"]]
print(f"resolved, not installed: {len(names)} packages,", sum("nvidia" in n for n in names),
      "of them of CUDA")' "$folder/report.json"
  else
    "$bin/pip" install --quiet "$target"
    "$bin/pip" check
    echo "environment: $(($(du -s --block-size=1000000 "$folder/venv" | cut -f1))) MB"
    mkdir "$folder/work"
    (smoke "$bin" "$folder/work" "$extra")
  fi
  rm -rf "$folder/venv" "$folder/work"
done
echo "all of it works: ${wanted[*]}"
