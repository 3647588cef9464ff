#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# The examples run from the tree; against a staged installation, found through
# pkg-config, with the static and with the shared library, they print the same.
# Uninstalling leaves no file.
# shellcheck source=tests/check_lib.sh
. "$(dirname "$0")/check_lib.sh"

prefix=/opt/specdec
stage=$work/stage
install=(--no-print-directory "DESTDIR=$stage" "prefix=$prefix" "CC=$CC" WERROR=1)

if ! "$MAKE" "${install[@]}" install >"$work/log" 2>&1; then
    sed 's/^/#   /' "$work/log"
    not_ok "make install"
    exit 1
fi

export PKG_CONFIG_LIBDIR=$stage$prefix/lib/pkgconfig PKG_CONFIG_SYSROOT_DIR=$stage
version=$(sed -n 's/^#define SPEC_VERSION_STRING "\(.*\)"/\1/p' specdec.h)
: >"$work/faults"
[ "$(pkg-config --modversion specdec)" = "$version" ] || echo "pkg-config does not say $version" >"$work/faults"
verdict "pkg-config gives the version" "$work/faults"

# try NAME OUTPUT COMMAND...: runs it and compares what it prints with the tree's.
same_output() {
    local name=$1 program=$2
    : >"$work/faults"
    timeout 60 "$program" >"$work/out" 2>&1 || echo "exit status $?" >"$work/faults"
    diff "$work/expected" "$work/out" >>"$work/faults" || true
    verdict "$name" "$work/faults"
}

found=0
for source in examples/*.c; do
    [ -e "$source" ] || continue
    found=1
    name=$(basename "$source" .c)
    : >"$work/faults"
    timeout 60 "build/examples/$name" >"$work/expected" 2>"$work/errors" || echo "exit status $?" >"$work/faults"
    cat "$work/errors" >>"$work/faults"
    [ -s "$work/expected" ] || echo "it prints nothing" >>"$work/faults"
    verdict "example $name from the tree" "$work/faults"

    read -ra cflags < <(pkg-config --cflags specdec)
    read -ra shared < <(pkg-config --libs specdec)
    read -ra static < <(pkg-config --libs --static specdec)
    warn=(-std=c11 -O2 -Wall -Wextra -Wpedantic -Werror)
    {
        "$CC" "${warn[@]}" "${cflags[@]}" -o "$work/shared" "$source" "${shared[@]}"
        "$CC" "${warn[@]}" "${cflags[@]}" -static -o "$work/static" "$source" "${static[@]}"
    } >"$work/faults" 2>&1 || true
    verdict "example $name builds against the installation" "$work/faults"
    [ -x "$work/shared" ] && LD_LIBRARY_PATH=$stage$prefix/lib same_output "example $name, shared" "$work/shared"
    [ -x "$work/static" ] && same_output "example $name, static" "$work/static"
    rm -f "$work/shared" "$work/static"
done
if [ "$found" = 0 ]; then not_ok "there are examples"; fi

# The loop on a model file: with drafts the text is that without, and both end where the context does.
"$stage$prefix/bin/specbench" train target --random tiny,context=100 -q -o "$work/tiny.gguf" >"$work/faults" 2>&1 || true
for drafter in none suffix; do
    timeout 60 build/examples/speculate "$work/tiny.gguf" "one two one two one two" "$drafter" \
        >"$work/$drafter" 2>"$work/log" || cat "$work/log" >>"$work/faults"
    grep -q 'tokens in' "$work/log" || echo "$drafter: it does not say how many tokens" >>"$work/faults"
done
diff "$work/none" "$work/suffix" >>"$work/faults" || true
verdict "example speculate: the same text with drafts" "$work/faults"

"$MAKE" "${install[@]}" uninstall >"$work/log" 2>&1 || cat "$work/log"
find "$stage" ! -type d -o -path '*/include/specdec' >"$work/faults"
verdict "make uninstall leaves nothing" "$work/faults"

finish
