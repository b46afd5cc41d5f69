#!/usr/bin/env bash
# What takes minutes to hours: the tests marked soak, then half an hour of real serving.
#
#   tools/soak.sh [HOURS]      (0.5 by default)
set -euo pipefail
cd "$(dirname "$0")/.."
pytest -m soak --timeout 1800
emag-rt bench soak --hours "${1:-0.5}"
