#!/usr/bin/env bash
# Measures everything that docs/performance.md claims, side by side in one run, and writes that page anew.
# Takes about ten minutes on two quiet cores. Nothing else should run meanwhile.
set -euo pipefail
cd "$(dirname "$0")/../.."
# shellcheck source=integration/setup.sh
. integration/setup.sh

have grepcidr || system grepcidr
have taskset || system util-linux

cargo build --release --locked -p polybus-cli -p polybus-bench
bin=${CARGO_TARGET_DIR:-target}/release
page=docs/performance.md
fresh=$(mktemp)
trap 'rm -f "$fresh"' EXIT

# plain TITLE COMMAND...: a section with what the command prints.
plain() {
  local fence='~~~'
  printf '\n## %s\n\n%stext\n' "$1" "$fence"
  "${@:2}"
  printf '%s\n' "$fence"
}

{
  cat <<'EOT'
# Performance

Written by `integration/bench/run.sh`; every table comes from one run, contenders in turn. Figures are anchors, ratios
are the claim: rerun the command on your machine.

EOT
  printf 'Date: %s. Kernel: %s. Compiler: %s.\n' "$(date -u +%F)" "$(uname -sr)" "$(rustc --version)"
  printf '\n## Text tools: ipgrep beside grepcidr\n\n'
  "$bin/text-tools" "$@"
  plain 'The embedded bus beside a bare channel' "$bin/embedded"
  plain 'The journal beside the bare disk and a store' "$bin/journal"
  plain 'The queue engine alone' "$bin/engine"
} | tee "$fresh"
cp "$fresh" "$page"
echo "written: $page" >&2
