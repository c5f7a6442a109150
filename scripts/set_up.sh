#!/usr/bin/env bash
# Prepare everything the Makefile needs: system libraries (Debian) and a virtual environment. Does nothing, fast, when all is there.
# usage: scripts/set_up.sh pyqt5|pyqt6 VENV
set -euo pipefail
cd "$(dirname "$0")/.."
qt=$1
venv=$2

# What Qt (xcb), OpenGL by software and a virtual display need on a bare Debian 12; the last two are for the GUI tests.
libraries="xvfb xauth libgl1 libgl1-mesa-dri libglx-mesa0 libegl1 libglib2.0-0 libdbus-1-3 libfontconfig1 libfreetype6 libx11-xcb1
libxkbcommon-x11-0 libxcb-cursor0 libxcb-icccm4 libxcb-image0 libxcb-keysyms1 libxcb-randr0 libxcb-render-util0 libxcb-shape0
libxcb-sync1 libxcb-xfixes0 libxcb-xinerama0 libxcb-xkb1 xdotool fonts-dejavu-core"

install_libraries() {
    command -v dpkg-query >/dev/null || return 0 # not Debian: the desktop has brought its libraries
    local present name missing=()
    # provided names count too: Ubuntu calls libglib2.0-0 libglib2.0-0t64
    present=" $(dpkg-query -W -f='${db:Status-Status} ${Package} ${Provides}\n' | awk '$1 == "installed" { $1 = ""; gsub(",", " "); print }' | tr '\n' ' ') "
    for name in $libraries; do
        [[ $present == *" $name "* ]] || missing+=("$name")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    if [ "$(id -u)" -eq 0 ]; then
        echo "== installing ${#missing[@]} Debian packages: ${missing[*]}"
        export DEBIAN_FRONTEND=noninteractive
        apt-get update -qq
        apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
    else
        printf 'The window needs libraries that only root can install. Run this line once:\n\n  sudo apt-get install -y %s\n\n' "${missing[*]}" >&2
    fi
}

find_python() {
    local name
    for name in ${PYTHON:-python3 python3.11 python3.12 python3.13}; do
        if "$name" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            echo "$name"
            return
        fi
    done
    echo "No Python 3.11 or newer with venv was found. On Debian: apt-get install python3 python3-venv; else: make ... PYTHON=/path/to/python" >&2
    return 1
}

install_packages() {
    # the environment is right as long as what it was made from, and the place it was made for, are the same
    local stamp=$venv/.made-from wanted python
    wanted=$(cat pyproject.toml constraints.txt <(echo "$qt $PWD") | sha256sum | cut -d' ' -f1)
    if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$wanted" ] && [ -x "$venv/bin/python" ]; then
        return 0
    fi
    if ! "$venv/bin/python" -m pip --version >/dev/null 2>&1; then
        python=$(find_python)
        echo "== making $venv with $("$python" --version)"
        "$python" -m venv --clear "$venv"
    fi
    rm -f "$stamp"
    echo "== installing packages into $venv (minutes the first time)"
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[$qt,dev]"
    echo "$wanted" >"$stamp"
}

install_libraries
install_packages
