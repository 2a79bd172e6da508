#!/usr/bin/env bash
# Metrics, alerts and dashboard against the built binary and a real Prometheus: the linter, unit tests of the rules, every
# query, and faults that must fire exactly their alert. Needs prometheus and promtool (scripts/setup.sh prometheus), openssl
# and PyYAML. BINARY says what is tested. `--write` writes docs/reference/metrics.md anew. About a minute.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
export BINARY=${BINARY:-${CARGO_TARGET_DIR:-target}/debug/penstock}
export PATH=$PATH:${XDG_CACHE_HOME:-$HOME/.cache}/penstock-prometheus/usr/bin
for command in prometheus promtool openssl; do
  command -v "$command" >/dev/null || { echo "observability: $command is missing: make observability" >&2; exit 1; }
done
[[ -x $BINARY ]] || { echo "observability: $BINARY is missing: cargo build -p penstock" >&2; exit 1; }

echo "== alert rules by themselves"
promtool check rules deploy/alerts/penstock.rules.yaml
promtool test rules deploy/alerts/tests/*.yaml
echo "== dashboard"
deploy/dashboards/generate.py --check
exec python3 -Bu tests/observability/main.py "$@"
