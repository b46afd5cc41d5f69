#!/usr/bin/env bash
# Known vulnerabilities in the packages that emag_rt runs on: those of the active environment, or
# of the interpreter named in PYTHON. pip-audit itself lives in an environment of its own that is
# thrown away. Needs the network; not part of CI, because an advisory is no fault of a commit.
#
#   tools/audit.sh [options of pip-audit]
#
# Exit 1 when something is known, and when a package could not be looked up: silence is no answer.
set -euo pipefail

python=$(command -v "${PYTHON:-python}")
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

# Local versions (torch 2.4.0+cpu) are built from the public ones, which advisories name.
"$python" -m pip freeze --all --exclude-editable --disable-pip-version-check |
  sed -n 's/^\([A-Za-z0-9._-]*==[^+ ;]*\).*/\1/p' > "$folder/packages.txt"
echo "$(wc -l < "$folder/packages.txt") packages of $python"

"$python" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check "pip-audit>=2.7"
"$folder/venv/bin/pip-audit" --requirement "$folder/packages.txt" --no-deps --disable-pip \
  --strict --progress-spinner off "$@"
