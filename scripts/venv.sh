#!/usr/bin/env bash
# Makes a virtual environment with pip in it, on machines that lack parts of Python too.
set -euo pipefail

wanted=${1:-} folder=$2

new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }

choose_python() {
    local each
    for each in ${wanted:-python3.11 python3.12 python3.13 python3.14 python3}; do
        if new_enough "$each"; then
            echo "$each"
            return
        fi
    done
    echo "Python 3.11 or newer is needed, and was not found as ${wanted:-python3.11 to python3.14 or python3}." \
        "Say where it is: make PYTHON=…" >&2
    return 1
}

# A Debian without python3-venv has no ensurepip, but its pip can install into another environment.
make_environment() {
    local python=$1
    if "$python" -c 'import ensurepip, venv' 2>/dev/null; then
        "$python" -m venv --clear "$folder"
    elif "$python" -c 'import pip, venv' 2>/dev/null; then
        "$python" -m venv --clear --without-pip "$folder"
        "$python" -m pip --quiet --python "$folder/bin/python" install pip
    else
        return 1
    fi
}

if new_enough "$folder/bin/python" && "$folder/bin/python" -m pip --version >/dev/null 2>&1; then
    exit
fi
python=$(choose_python)
if ! make_environment "$python"; then
    "$(dirname "$0")/apt.sh" --required python3-venv
    make_environment "$python" || {
        echo "$python can make no virtual environment: it needs its modules venv and ensurepip, or pip" >&2
        exit 1
    }
fi
