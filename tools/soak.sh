#!/usr/bin/env bash
# What takes minutes to hours: the tests marked soak, eight hours in memory, three minutes of
# faults, then half an hour of real serving.
#
#   tools/soak.sh [HOURS]      (0.5 by default)
set -euo pipefail
cd "$(dirname "$0")/.."
pytest -m soak --timeout 1800 -n 0
python tools/soak_in_memory.py --hours 8 --case 8:32@500/25
python -m tools.chaos --minutes 3
emag-rt bench soak --hours "${1:-0.5}"
