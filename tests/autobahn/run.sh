#!/usr/bin/env bash
# The fuzzing client of the Autobahn test suite against an echo, once directly and once through the built binary, over HTTP and
# HTTPS; README.md says more. BINARY says what is tested.
#
#   tests/autobahn/run.sh            all cases, those with permessage-deflate with MESSAGES messages each (100)
#   tests/autobahn/run.sh --quick    without the big messages, for CI
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
NAME=autobahn
. tests/common.sh
here=tests/autobahn

excluded=()
messages=${MESSAGES:-100}
case ${1:-} in
  "") ;;
  # None of 9, and of 12 and 13 those of up to 1 KB, the first four. The suite makes regular expressions of its patterns.
  --quick) messages=${MESSAGES:-20} excluded=('9.*' '1[23].*.[5-9]' '1[23].*.1[0-8]') ;;
  *) die "unknown argument $1; there is only --quick" ;;
esac

# The suite in Python 3.
python_with "$here/requirements.txt" "$here/port.py"
# Warnings of the suite's age.
python=("$venv/bin/python" -W ignore)

prepare
"${python[@]}" "$here/echo.py" "$backend" >"$folder/echo.log" 2>&1 &
pids+=($!)
start_gateway

# Side by side: much of the suite is waiting.
started=$SECONDS
clients=()
for way in "direct ws://127.0.0.1:$backend" "http ws://127.0.0.1:$http" "https wss://127.0.0.1:$https"; do
  read -r name url <<<"$way"
  mkdir "$folder/$name"
  "${python[@]}" "$here/fuzz.py" "$url" "$folder/$name" "$messages" "${excluded[@]}" >"$folder/$name.out" 2>"$folder/$name.log" &
  clients+=($!)
  pids+=($!)
done
keep=yes
for pid in "${clients[@]}"; do
  wait "$pid" || { echo "autobahn: a client failed:" >&2; tail -n 20 "$folder"/{direct,http,https}.log >&2; exit 1; }
done
python3 "$here/compare.py" "$folder" "http://127.0.0.1:$admin/metrics"
echo "autobahn: $((SECONDS - started)) s"
keep=
