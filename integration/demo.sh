#!/usr/bin/env bash
# Builds the release binary and shows the main job on a sample report: who is in it, hidden and counted; who talked to
# whom; and the ranking. The services run as workers behind the embedded bus, inside the same process.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=integration/setup.sh
. integration/setup.sh
need_rust

cargo build --release --locked --quiet -p polybus-cli
target=${CARGO_TARGET_DIR:-target}/release
PATH=$(cd "$target" && pwd):$PATH
cd integration/samples
bold='' plain=''
if [ -t 1 ]; then bold=$'\033[1m' plain=$'\033[0m'; fi

show() {
  printf '\n%s$ %s%s\n' "$bold" "$1" "$plain"
  bash -c "set -o pipefail; $1"
}

echo "1. The report, with the networks of map.txt hidden, and how many of whom are in it:"
show "polybus anon -r report.json -m map.txt -s"
echo
echo "2. Which of ours talked to whom on the other side:"
show "polybus crosscor -r report.json -m map.txt -I friend"
echo
echo "3. Ranked, everything in one pipe, the other side named first:"
show "polybus anon -r report.json -m foe.txt | polybus crosscor -m map.txt -I friend | polybus cumdist"
echo
echo "The binary is $target/polybus. More: docs/src/first-minutes.md"
