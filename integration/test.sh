#!/usr/bin/env bash
# Runs every check and every test, installs what that needs, and says at the end what ran, what failed, and what could
# not run. A step that could not run counts as failed: with --allow-missing it is only reported.
set -uo pipefail
cd "$(dirname "$0")/.." || exit
# shellcheck source=integration/setup.sh
. integration/setup.sh

# The same generated histories in every run; another seed hunts further: PROPTEST_RNG_SEED=N integration/test.sh
export PROPTEST_RNG_SEED=${PROPTEST_RNG_SEED:-20261121}

# Brokers of tests run in containers. Where they may be missing, what cannot be run says so and goes on.
missing_fails=yes
case "${1:-}" in
  '') export POLYBUS_BROKERS=containers ;;
  --allow-missing) missing_fails=no; export POLYBUS_ALLOW_MISSING=1 ;;
  *) echo "usage: integration/test.sh [--allow-missing]" >&2; exit 2 ;;
esac

trap end_engine EXIT
logs=${CARGO_TARGET_DIR:-target}/test-logs
mkdir -p "$logs"
passed=0 failed=0 skipped=0
summary=()

# step NAME NEEDS COMMAND: NEEDS is a function that provides what COMMAND, a function too, cannot do without.
step() {
  local name=$1 needs=$2 command=$3 began=$SECONDS log state
  log=$logs/$command.log
  printf '\n=== %s\n' "$name"
  if ! $needs >"$log" 2>&1; then
    state='NOT RUN' skipped=$((skipped + 1))
  elif $command >"$log" 2>&1; then
    state=passed passed=$((passed + 1))
  else
    state=FAILED failed=$((failed + 1))
  fi
  if [ "$state" = passed ]; then tail -n 3 "$log"; else tail -n 80 "$log"; fi
  summary+=("$(printf '%-8s %4d s  %s' "$state" $((SECONDS - began)) "$name")")
}

no_needs() { true; }

need_shellcheck() { have shellcheck || system shellcheck; }
shell_scripts() { shellcheck -x --severity=warning .ci/run integration/*.sh integration/*/*.sh; }

formatting() { cargo fmt --all --check && cargo fmt --manifest-path integration/fuzz/Cargo.toml --check; }

# Files of one concern: see CONTRIBUTING.md.
file_sizes() {
  local large
  large=$(find cli core services transports integration -path '*/src/*' -name '*.rs' -size +1 -exec wc -l {} + |
    awk '$2 != "total" && $1 > 600')
  [ -z "$large" ] || { echo "longer than 600 lines:"; echo "$large"; return 1; }
}

spelling() { typos; }

dependencies() { cargo deny --locked check --hide-inclusion-graph licenses bans sources; }

lints() { cargo clippy --locked --workspace --all-targets --all-features -- -D warnings; }

# Every feature of the facade alone, and none of them.
each_feature() {
  local feature features
  features=$(awk '/^\[/ { inside = $0 == "[features]" } inside && /^[a-z]/ && $1 != "default" { print $1 }' \
    core/bus/Cargo.toml)
  [ -n "$features" ] || { echo "no features found in core/bus/Cargo.toml"; return 1; }
  for feature in '' $features; do
    echo "polybus --no-default-features --features '$feature'"
    cargo clippy --locked -p polybus --all-targets --no-default-features --features "$feature" -- -D warnings ||
      return 1
  done
}

api_documentation() {
  RUSTDOCFLAGS='-D warnings' cargo doc --locked --workspace --no-deps --all-features
}

broker_images() {
  # The tests start brokers without containers, too.
  { have /usr/sbin/nats-server || have nats-server; } && { have /usr/sbin/rabbitmq-server || have rabbitmq-server; } ||
    servers rabbitmq-server nats-server || return 1
  integration/brokers/images.sh && docker version --format 'engine: {{.Server.Version}}'
}

# The kit on brokers has a step of its own: see .config/nextest.toml.
tests() {
  if cargo nextest --version >/dev/null 2>&1; then
    cargo nextest run --locked --workspace --all-features --no-fail-fast
  else
    POLYBUS_KIT_BROKERS=later cargo test --locked --workspace --all-features --all-targets --no-fail-fast
  fi
}

# In containers, all five versions: one that cannot be started is a failure. Five brokers at once are much for a small
# machine: one with a failed case is judged once more, alone and whole, and the log says so. What fails then has failed.
kit_on_brokers() {
  local out broker failed=0
  out=$(mktemp)
  if kit_cases 2>&1 | tee "$out"; then rm -f "$out"; return 0; fi
  sed -nE 's/^test ([a-z]+_[0-9_]+)::[a-z0-9_]+ +\.\.\. FAILED$/\1/p' "$out" | sort -u >"$out.again"
  [ -s "$out.again" ] || failed=1
  while read -r broker; do
    echo "=== $broker failed beside the others; judged again, alone"
    kit_cases "$broker::" </dev/null || failed=1
  done <"$out.again"
  rm -f "$out" "$out.again"
  return "$failed"
}
kit_cases() { cargo test --locked --all-features -p polybus-kit --test brokers -- "$@"; }

doc_tests() { cargo test --locked --workspace --all-features --doc --no-fail-fast; }

# The program of the book's chapter, really run.
example_service() {
  diff <(cargo run --locked --quiet -p polybus --example linecount) core/bus/examples/linecount.out
}

demonstration() { integration/demo.sh; }

fuzz_targets() {
  cargo clippy --manifest-path integration/fuzz/Cargo.toml --target-dir "${CARGO_TARGET_DIR:-target}/fuzz" \
    -- -D warnings
}

# A page that cannot be included is an error for us, not only a line in the log.
book() {
  local out
  out=$(mdbook build docs 2>&1) || { echo "$out"; return 1; }
  echo "$out"
  ! grep -E '^ *(ERROR|WARN)' <<<"$out"
}

step 'shell scripts' need_shellcheck shell_scripts
step 'formatting' need_components formatting
step 'file sizes' no_needs file_sizes
step 'spelling' need_typos spelling
step 'licences, bans and sources of dependencies' need_deny dependencies
step 'lints' need_components lints
step 'each feature alone' need_components each_feature
step 'documentation of the API' need_rust api_documentation
step 'images of the brokers' need_engine broker_images
step 'tests' need_peers tests
step 'the kit on RabbitMQ and NATS, in containers' need_engine kit_on_brokers
step 'examples in the documentation' need_rust doc_tests
step 'the example service' need_rust example_service
step 'fuzz targets compile' need_rust fuzz_targets
step 'the book' need_mdbook book
step 'the demonstration' need_rust demonstration

printf '\n=== summary, %d s; logs in %s\n' "$SECONDS" "$logs"
printf '%s\n' "${summary[@]}"
bad=$failed
[ "$missing_fails" = no ] || bad=$((bad + skipped))
echo
if [ "$skipped" = 0 ]; then
  echo "$passed passed, $failed failed"
else
  echo "$skipped steps could not run." >&2
  echo "$passed passed, $failed failed, $skipped skipped"
fi
[ "$bad" = 0 ]
