#!/usr/bin/env bash
# Measures everything that docs/performance.md claims, side by side in one run, and writes that page anew.
# Takes about twenty minutes on two quiet cores. Nothing else should run meanwhile. The brokers run in containers, or as local
# programs where no engine answers: see integration/brokers.
set -euo pipefail
cd "$(dirname "$0")/../.."
# shellcheck source=integration/setup.sh
. integration/setup.sh

have grepcidr || system grepcidr
have taskset || system util-linux
need_peers

cargo build --release --locked -p polybus-cli -p polybus-bench
fresh=$(mktemp)
trap 'rm -f "$fresh"; end_engine' EXIT
need_engine || have rabbitmq-server nats-server || servers rabbitmq-server nats-server
integration/brokers/images.sh || echo "no images: brokers run as local programs" >&2
bin=${CARGO_TARGET_DIR:-target}/release
page=docs/performance.md

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
  printf '\n## Polybus beside the raw client libraries\n\n'
  "$bin/buses"
  printf '\n## The broker over ZeroMQ beside RabbitMQ, NATS and bare sockets\n\n'
  "$bin/zeromq"
  printf '\n## Large bodies in parts beside the raw client libraries\n\n'
  "$bin/bulk"
  printf '\n## Calls: Polybus clients beside Python clients\n\n'
  "$bin/peers"
} | tee "$fresh"
cp "$fresh" "$page"
echo "written: $page" >&2
