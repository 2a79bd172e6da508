#!/usr/bin/env bash
# The dashboard in a headless Chromium against the built binary. Needs Node 20 with npm, and Chromium. BINARY says what is
# tested, CHROMIUM with what; screenshots of light and dark go to SCREENSHOTS.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
target=${CARGO_TARGET_DIR:-target}
BINARY=$(realpath "${BINARY:-$target/debug/penstock}")
CHROMIUM=${CHROMIUM:-$(command -v chromium || command -v chromium-browser || command -v google-chrome || true)}
SCREENSHOTS=${SCREENSHOTS:-$target/dashboard}

[[ -n $CHROMIUM ]] || { echo "dashboard: chromium is missing: apt-get install chromium" >&2; exit 1; }
mkdir -p "$SCREENSHOTS"
SCREENSHOTS=$(realpath "$SCREENSHOTS")
cd tests/dashboard
# One package without dependencies, and its version; it brings no browser.
cmp -s package-lock.json node_modules/.installed || {
  npm ci --ignore-scripts --no-audit --no-fund --silent
  cp package-lock.json node_modules/.installed
}
echo "== the dashboard in $("$CHROMIUM" --version 2>/dev/null)"
node main.js "$BINARY" "$CHROMIUM" "$SCREENSHOTS"
