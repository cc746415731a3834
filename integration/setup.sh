# shellcheck shell=bash
# What a fresh machine lacks, for demo.sh and test.sh; to be sourced. Tools are kept outside of the tree, so that a
# second clone need not build them again.

TOOLS=${POLYBUS_TOOLS:-${XDG_CACHE_HOME:-$HOME/.cache}/polybus/tools}
PATH=$TOOLS/bin:$TOOLS/python/bin:$PATH

TYPOS_VERSION=1.52.0
DENY_VERSION=0.20.2
MDBOOK_VERSION=0.5.4
FUZZ_VERSION=0.13.2

# have PROGRAM...: whether all of them can be called.
have() {
  local program
  for program in "$@"; do command -v "$program" >/dev/null || return 1; done
}

# system PACKAGE...: installs Debian packages if we may.
system() {
  if [ "$(id -u)" != 0 ] || ! have apt-get; then
    echo "missing Debian packages: $*; install them, or run this as root" >&2
    return 1
  fi
  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null
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
