#!/bin/sh
# Installs what the tests need beside Python and Node, and says plainly what could not be had. Chromium and libzbar0 come from apt where apt and
# root (or sudo) are there; elsewhere Playwright brings its own Chromium.
set -u
PATH="$PATH:/usr/sbin:/sbin" # where ldconfig is

say() { printf '%s\n' "$*"; }

as_root=""
if [ "$(id -u)" != 0 ]; then
    if command -v sudo >/dev/null 2>&1 && sudo -n true 2>/dev/null; then as_root="sudo -n"; else as_root="none"; fi
fi

wanted=""
command -v chromium >/dev/null 2>&1 || wanted="$wanted chromium"
ldconfig -p 2>/dev/null | grep -q libzbar || wanted="$wanted libzbar0"
command -v pgbouncer >/dev/null 2>&1 || wanted="$wanted pgbouncer"
command -v certutil >/dev/null 2>&1 || wanted="$wanted libnss3-tools"
fc-list 2>/dev/null | grep -qiE "cjk|noto sans sc|wqy" || wanted="$wanted fonts-noto-cjk"

if [ -n "$wanted" ] && command -v apt-get >/dev/null 2>&1 && [ "$as_root" != none ]; then
    say "Installing$wanted with apt"
    # shellcheck disable=SC2086
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get update -qq >/dev/null 2>&1
    for package in $wanted; do
        # shellcheck disable=SC2086
        $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$package" >/dev/null 2>&1 ||
            say "Could not install $package with apt"
    done
    # The tests start a pooler of their own; the package's service is nobody's wish.
    case "$wanted" in *pgbouncer*) $as_root systemctl disable --now pgbouncer >/dev/null 2>&1 ;; esac
fi

if ! command -v chromium >/dev/null 2>&1; then
    if ! python -m playwright install chromium; then
        say "No Chromium could be had: neither apt nor Playwright brought one. The browser tests will fail until one is there."
        exit 1
    fi
fi
ldconfig -p 2>/dev/null | grep -q libzbar || say "libzbar0 is not there: pyzbar, the second reader of tags, is out of use."
fc-list 2>/dev/null | grep -qiE "cjk|noto sans sc|wqy" || say "No Chinese font is there: screenshots show boxes for Chinese text."
command -v pgbouncer >/dev/null 2>&1 || say "pgbouncer is not there: the tests behind a pooler do not run."
exit 0
