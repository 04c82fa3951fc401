#!/usr/bin/env bash
# Installs the Debian packages named, as far as that can be done here: apt.sh [--required] PACKAGE…
# Without --required, a missing package is reported and is not a failure: the tests that need it are skipped and listed.
set -euo pipefail

required=
if [ "${1:-}" = --required ]; then
    required=yes
    shift
fi

absent() {
    local each
    for each in "$@"; do
        [ "$(dpkg-query --show --showformat '${db:Status-Status}' "$each" 2>/dev/null)" = installed ] || echo "$each"
    done
}

# shellcheck disable=SC2046  # names of packages have no spaces
set -- $(absent "$@")
[ $# -gt 0 ] || exit 0

if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    export DEBIAN_FRONTEND=noninteractive
    echo "installing $*"
    apt-get update -qq && apt-get install -y -qq --no-install-recommends "$@" >/dev/null || true
    # shellcheck disable=SC2046
    set -- $(absent "$@")
    [ $# -gt 0 ] || exit 0
fi

echo "absent here: $* (as root: apt-get install -y --no-install-recommends $*)" >&2
[ -z "$required" ]
