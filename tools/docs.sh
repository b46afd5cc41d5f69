#!/usr/bin/env bash
# Builds the documentation as a site that needs no server and asks nobody's: build/site/index.html.
# Every warning (a link that leads nowhere, a page that no menu has) is an error.
#
#   tools/docs.sh [options of mkdocs build]      needs emag-rt[docs]
set -euo pipefail
cd "$(dirname "$0")/.."
# Hooks import emag_rt of this checkout; the theme's notice on mkdocs 2 is no warning of ours.
export PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}" NO_MKDOCS_2_WARNING=1
python -m mkdocs build --strict "$@"
