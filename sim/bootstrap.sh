#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Makes .venv with the pinned packages, and before that installs the system packages that are missing. Runs before
# anything of the project can run, so it is plain sh. Done work is not repeated: .venv/complete holds a key of what was
# installed and is written last, so a .venv without it (an interrupted run) is made anew.
set -eu

root=$(cd "$(dirname "$0")/.." && pwd)
cd "$root"
venv=$root/.venv
logs=$root/build/setup

say() { printf '%s\n' "set-up: $*" >&2; }
fail() { printf '%s\n' "error: $*" >&2; exit 2; }

case $root in *[[:space:]]*) fail "the path $root has a space in it, which make cannot build in; move the project." ;; esac

find_python() {
    for candidate in python3 python3.11 python3.12 python3.13 python3.14; do
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            command -v "$candidate"
            return
        fi
    done
}

# The key: which Python, where (a virtual environment cannot be moved), which packages.
key() { { "$1" -c 'import sys; print(sys.version, sys.base_prefix)'; pwd; cat requirements.txt requirements-dev.txt; } | cksum; }

python=$(find_python)
if [ -n "$python" ] && [ -f "$venv/complete" ] && [ "$(cat "$venv/complete")" = "$(key "$python")" ]; then
    exit 0
fi

mkdir -p "$logs"
# One set-up at a time; a second one waits, then finds the work done.
if [ -z "${HMM_SETUP_LOCKED:-}" ] && command -v flock >/dev/null; then
    HMM_SETUP_LOCKED=1 exec flock "$logs/lock" sh "$0"
fi

has_libpython() {
    "$1" - <<'PYTHON' 2>/dev/null
import ctypes.util, pathlib, sys, sysconfig
name = f"python{sys.version_info.major}.{sys.version_info.minor}"
library = sysconfig.get_config_var("INSTSONAME") or ""
beside = pathlib.Path(sysconfig.get_config_var("LIBDIR") or "/nowhere", library)
sys.exit(not ((".so" in library and beside.is_file()) or ctypes.util.find_library(name)))
PYTHON
}

missing_packages() {
    for tool in g++ make perl; do
        command -v "$tool" >/dev/null || echo "$tool"
    done
    if [ -z "$python" ]; then
        echo python3 python3-venv libpython3.11
    else
        "$python" -c 'import ensurepip, venv' 2>/dev/null || echo python3-venv
        has_libpython "$python" || "$python" -c 'import sys; print("libpython%d.%d" % sys.version_info[:2])'
    fi
    [ -e /usr/include/lz4.h ] || echo liblz4-dev
    [ -e /usr/include/zlib.h ] || echo zlib1g-dev
    command -v ccache >/dev/null || echo ccache
    command -v valgrind >/dev/null || echo valgrind
}

missing=$(missing_packages | tr '\n' ' ' | sed 's/ *$//')
if [ -n "$missing" ]; then
    install="apt-get install -y --no-install-recommends $missing"
    if ! command -v apt-get >/dev/null; then
        fail "these system packages are missing: $missing; install them with this system's package manager and run make again."
    elif [ "$(id -u)" -eq 0 ]; then
        as_root=
    elif sudo -n true 2>/dev/null; then
        as_root="sudo -n"
    elif [ "$missing" = ccache ]; then
        say "ccache is missing: builds will be slower; to have it, type: sudo $install"
        as_root=skip
    else
        fail "these system packages are missing: $missing; type: sudo $install"
    fi
    if [ "$as_root" != skip ]; then
        say "installing $missing"
        wait="-o DPkg::Lock::Timeout=300 -o Acquire::Retries=2"
        # The lists may be old or absent; if they cannot be fetched, the install says so in its own words below.
        $as_root env DEBIAN_FRONTEND=noninteractive apt-get $wait update >"$logs/apt.log" 2>&1 </dev/null || true
        $as_root env DEBIAN_FRONTEND=noninteractive apt-get $wait install -y --no-install-recommends $missing \
            >>"$logs/apt.log" 2>&1 </dev/null ||
            fail "apt-get could not install $missing (see $logs/apt.log); check the network, or type: sudo $install"
        python=$(find_python)
        [ -n "$python" ] || fail "no Python 3.11 or later was found; install one and run make again."
    fi
fi

"$python" -m venv --clear "$venv" >"$logs/venv.log" 2>&1 ||
    fail "$python could not make a virtual environment (see $logs/venv.log); type: apt-get install python3-venv"
say "installing the pinned Python packages into .venv"
"$venv/bin/python" -m pip install --disable-pip-version-check --retries 2 --timeout 60 --quiet \
    -r requirements.txt -r requirements-dev.txt >"$logs/pip.log" 2>&1 </dev/null ||
    fail "the Python packages could not be fetched (see $logs/pip.log); check the network or pip's index settings, and run make again."
key "$python" >"$venv/complete.part"
mv "$venv/complete.part" "$venv/complete"
