#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# tests/deps.sh demo|models|study|check|fuzz: makes sure that what a target needs is there.
# Each need is probed, which takes milliseconds; what is missing is installed
# from Debian with apt-get (through sudo when not root). Where that cannot be
# done, the packages and the command are printed and the exit status is 1.
set -euo pipefail

goal=${1:-check}
CC=${CC:-gcc}
CXX=${CXX:-g++}

have() { command -v "$1" >/dev/null 2>&1; }

# Whether the compiler finds a header. Without a compiler: whether it lies in the usual place.
header() {
    if have "$CC"; then
        echo "#include $1" | "$CC" -E -x c -o /dev/null - 2>/dev/null
    else
        local name=${1#<}
        [ -e "/usr/include/${name%>}" ]
    fi
}

fuzzer_links() {
    echo 'int LLVMFuzzerTestOneInput(const char *d, long n); int LLVMFuzzerTestOneInput(const char *d, long n) {
        return d && n < 0; }' | clang -fsanitize=fuzzer,address -x c -o /dev/null - 2>/dev/null
}

# The package that brings a compiler's command; a compiler that is named by a
# path or a version is the user's own affair, and its name is the best guess.
compiler_package() {
    case $(basename "$1") in
    cc | gcc) echo gcc ;;
    c++ | g++) echo g++ ;;
    clang | clang++) echo clang ;;
    *) basename "$1" ;;
    esac
}

# Prints the packages that are missing for the goal, one a line.
missing() {
    have "$CC" || compiler_package "$CC"
    have ar || echo binutils
    header '<stdio.h>' || echo libc6-dev
    header '<jansson.h>' || echo libjansson-dev
    header '<cblas.h>' || echo libopenblas-dev
    header '<stdint.h>
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>' || echo libpcre2-dev
    [ "$goal" = demo ] && return
    if [ "$goal" = models ]; then
        have spm_train || echo sentencepiece
        return
    fi
    if [ "$goal" = study ]; then
        have gnuplot || echo gnuplot-nox
        return
    fi
    have "$CXX" || compiler_package "$CXX"
    header '<setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>' || echo libcmocka-dev
    have pkg-config || echo pkg-config
    have nm && have objdump || echo binutils
    [ "$goal" = check ] && return
    have clang && fuzzer_links || echo clang
}

unique() { sort -u | tr '\n' ' ' | sed 's/ $//'; }

# Runs a command as root without ever asking where nobody can answer.
as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif [ -t 0 ] && [ -t 2 ]; then
        sudo "$@"
    else
        sudo -n "$@"
    fi
}

can_be_root() { [ "$(id -u)" = 0 ] || have sudo; }

lists_are_empty() { ! compgen -G '/var/lib/apt/lists/*_Packages*' >/dev/null; }

install_packages() {
    local apt=(env DEBIAN_FRONTEND=noninteractive apt-get -q)
    local log
    log=$(mktemp)
    # shellcheck disable=SC2064
    trap "rm -f '$log'" EXIT
    if lists_are_empty; then as_root "${apt[@]}" update >"$log" 2>&1 || true; fi
    as_root "${apt[@]}" install -y --no-install-recommends "$@" >>"$log" 2>&1 && return
    as_root "${apt[@]}" update >>"$log" 2>&1 &&
        as_root "${apt[@]}" install -y --no-install-recommends "$@" >>"$log" 2>&1 && return
    tail -n 5 "$log" >&2
    return 1
}

case $goal in
demo | models | study | check | fuzz) ;;
*)
    echo "usage: tests/deps.sh demo|models|study|check|fuzz" >&2
    exit 2
    ;;
esac

packages=$(missing | unique)
[ -z "$packages" ] && exit 0
read -ra list <<<"$packages"

if have apt-get && can_be_root; then
    echo "installing: $packages"
    install_packages "${list[@]}" || true
    packages=$(missing | unique)
    [ -z "$packages" ] && exit 0
fi

{
    echo "These Debian packages are missing and could not be installed here:"
    echo "    $packages"
    echo "Install them with"
    echo "    sudo apt-get update && sudo apt-get install -y $packages"
    echo "and run make again."
} >&2
exit 1
