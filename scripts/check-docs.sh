#!/usr/bin/env bash
# Proves that what docs/azure-parity.md names as proof exists: golden pairs, and functions in the process tests that are tests.
#
#   scripts/check-docs.sh
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
page=docs/azure-parity.md
failed=0
rows=0

wrong() { # ROW MESSAGE
  echo "$page: $1: $2" >&2
  failed=1
}

# What stands between backticks, one a line.
names() {
  grep -oE '`[^`]+`' <<< "$1" | tr -d '`' || true
}

while IFS='|' read -r _ feature golden tests _; do
  feature=$(sed -E 's/^ +| +$//g' <<< "$feature")
  case $feature in '' | feature | ---* | '**'*) continue ;; esac
  rows=$((rows + 1))
  [[ -n $(names "$golden") || $golden =~ ^\ *-\ *$ ]] || wrong "$feature" "name a golden pair, or - where the translation has no part"
  while read -r name; do
    [[ -z $name || ( -f tests/golden/$name.in.yaml && -f tests/golden/$name.out.yaml ) ]] || wrong "$feature" "there is no tests/golden/$name"
  done <<< "$(names "$golden")"
  [[ -n $(names "$tests") ]] || wrong "$feature" "no test through the binary"
  while read -r test; do
    [[ -n $test ]] || continue
    file=crates/penstock/tests/${test%%::*}.rs
    [[ -f $file ]] || { wrong "$feature" "there is no $file"; continue; }
    grep -A2 -E '^#\[(tokio::)?test' "$file" | grep -qE "fn ${test##*::}\(" || wrong "$feature" "$file has no test ${test##*::}"
  done <<< "$(names "$tests")"
done < <(grep '^|' "$page")

(( rows > 40 )) || wrong "the table" "only $rows rows were read"
(( failed == 0 )) || exit 1
echo "$page: $rows rows, and every test that they name exists"
