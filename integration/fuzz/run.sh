#!/usr/bin/env bash
# Fuzzes each target for SECONDS (60 unless given), or only the targets named behind it. Findings land in
# integration/fuzz/artifacts. The sanitizer needs a switch that stable compilers keep for themselves, hence
# RUSTC_BOOTSTRAP.
set -euo pipefail
cd "$(dirname "$0")/../.."
# shellcheck source=integration/setup.sh
. integration/setup.sh
need_rust
need_fuzz

seconds=${1:-60}
shift || true
cd integration
if have python3; then fuzz/seeds.py; fi
if [ $# -gt 0 ]; then
  targets=("$@")
else
  mapfile -t targets < <(RUSTC_BOOTSTRAP=1 cargo fuzz list --fuzz-dir fuzz)
fi

failed=0
for target in "${targets[@]}"; do
  mkdir -p "fuzz/corpus/$target"
  echo "=== $target, $seconds s"
  RUSTC_BOOTSTRAP=1 cargo fuzz run --fuzz-dir fuzz "$target" "fuzz/corpus/$target" -- \
    -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -max_len=65536 -print_final_stats=1 ||
    failed=$((failed + 1))
done
echo "$((${#targets[@]} - failed)) passed, $failed failed"
[ "$failed" = 0 ]
