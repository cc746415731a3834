# shellcheck shell=bash
# What a fresh machine lacks, for demo.sh, test.sh and brokers/images.sh; to be sourced. Tools are kept outside of the tree, so that a
# second clone need not build them again.

TOOLS=${POLYBUS_TOOLS:-${XDG_CACHE_HOME:-$HOME/.cache}/polybus/tools}
PATH=$TOOLS/bin:$TOOLS/python/bin:$PATH

TYPOS_VERSION=1.52.0
DENY_VERSION=0.20.2
MDBOOK_VERSION=0.5.4
FUZZ_VERSION=0.13.2
PIKA_VERSION=1.4.4
NATS_PY_VERSION=2.16.0
PYZMQ_VERSION=27.3.0

# have PROGRAM...: whether all of them can be called.
have() {
  local program
  for program in "$@"; do command -v "$program" >/dev/null || return 1; done
}

# again COMMAND...: mirrors and package scripts fail once in a while.
again() {
  local try
  for try in 1 2 3; do
    "$@" && return 0
    echo "attempt $try failed: $*" >&2
    sleep "$try"
  done
  return 1
}

# system PACKAGE...: installs Debian packages if we may.
system() {
  if [ "$(id -u)" != 0 ] || ! have apt-get; then
    echo "missing Debian packages: $*; install them, or run this as root" >&2
    return 1
  fi
  again apt_install "$@"
}

apt_install() {
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -qq && apt-get install -y -qq -f --no-install-recommends "$@" >/dev/null
}

# servers PACKAGE...: the same, and their services are not started.
servers() {
  local policy=/usr/sbin/policy-rc.d result=0
  if [ "$(id -u)" != 0 ] || [ -e "$policy" ]; then system "$@"; return; fi
  printf '#!/bin/sh\nexit 101\n' >"$policy" && chmod +x "$policy"
  system "$@" || result=$?
  rm -f "$policy"
  return "$result"
}

engine_answers() { docker version --format '{{.Server.Version}}' >/dev/null 2>&1; }

# A container engine: the one that answers, else one of our own, which ends with this script.
need_engine() {
  engine_answers && return 0
  have dockerd iptables || servers docker.io iptables || return 1
  if [ "$(id -u)" != 0 ]; then
    echo "no container engine answers: start one, or run this as root" >&2
    return 1
  fi
  dockerd >"${TMPDIR:-/tmp}/polybus-dockerd.log" 2>&1 &
  OWN_ENGINE=$!
  local wait
  for wait in $(seq 60); do
    engine_answers && return 0
    kill -0 "$OWN_ENGINE" 2>/dev/null || break
    sleep 0.5
  done
  echo "dockerd does not answer after $wait tries:" >&2
  tail -n 20 "${TMPDIR:-/tmp}/polybus-dockerd.log" >&2
  return 1
}

# Removes what tests that were killed have left behind, and ends our own engine.
end_engine() {
  engine_answers && docker ps -aq --filter label=org.polybus.test=broker | xargs -r docker rm -f -v >/dev/null
  [ -z "${OWN_ENGINE:-}" ] || { kill "$OWN_ENGINE"; wait "$OWN_ENGINE"; } 2>/dev/null
}

# A linker, and cargo with the components that the checks need.
need_rust() {
  have cc || system build-essential
  if ! have cargo; then
    echo "no cargo: install the Rust toolchain with rustup, version 1.95 or later" >&2
    return 1
  fi
}

need_components() {
  { cargo fmt --version && cargo clippy --version; } >/dev/null 2>&1 || rustup component add rustfmt clippy
}

# tool NAME VERSION PACKAGE [OPTIONS...]: a cargo tool at exactly this version.
tool() {
  local name=$1 version=$2 package=$3
  shift 3
  case "$("$TOOLS/bin/$name" --version 2>/dev/null)" in
    *"$version") return 0 ;;
  esac
  cargo install --quiet --locked --root "$TOOLS" --version "$version" "$package" "$@"
}

need_deny() { tool cargo-deny "$DENY_VERSION" cargo-deny; }
need_mdbook() { tool mdbook "$MDBOOK_VERSION" mdbook --no-default-features; }
need_fuzz() { tool cargo-fuzz "$FUZZ_VERSION" cargo-fuzz; }

need_typos() {
  [ "$(typos --version 2>/dev/null)" = "typos-cli $TYPOS_VERSION" ] && return 0
  python3 -c 'import venv, ensurepip' 2>/dev/null || system python3-venv
  python3 -m venv "$TOOLS/python" && "$TOOLS/python/bin/pip" install --quiet "typos==$TYPOS_VERSION"
}

# What programs in Python speak AMQP and NATS with: the tests put peers of that kind at the other end.
need_peers() {
  need_rust || return 1
  python3 -c 'import pika, nats, zmq' 2>/dev/null && return 0
  python3 -c 'import venv, ensurepip' 2>/dev/null || system python3-venv
  python3 -m venv "$TOOLS/python" &&
    "$TOOLS/python/bin/pip" install --quiet "pika==$PIKA_VERSION" "nats-py==$NATS_PY_VERSION" "pyzmq==$PYZMQ_VERSION"
}
