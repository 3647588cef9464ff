#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# The arrows between the folders. A quoted include names a header of the project
# by its bare name; the folder it lies in must be one that the including file's
# folder may see:
#
#     base <- suffix_tree <- draft <- draft/heads -> verify/tensor
#     base <- verify/tensor <- verify/target
#     draft's spec_tree.h <- verify       draft's spec_lm.h <- verify/target
#     everything <- bench, tests          public headers <- examples
# shellcheck source=tests/check_lib.sh
. "$(dirname "$0")/check_lib.sh"

# Folders, and single headers of other folders, that a folder's files may include.
allowed() {
    case $1 in
    .) echo . ;;
    suffix_tree) echo . suffix_tree ;;
    draft) echo . suffix_tree draft ;;
    draft/heads) echo . suffix_tree draft draft/heads verify/tensor ;;
    draft/train) echo . suffix_tree draft draft/heads draft/train verify verify/tensor verify/target ;;
    verify) echo . verify draft/spec_tree.h ;;
    verify/tensor) echo . verify/tensor ;;
    verify/target) echo . verify verify/tensor verify/target draft/spec_tree.h draft/spec_lm.h ;;
    bench) echo . suffix_tree draft draft/heads draft/train verify verify/tensor verify/target bench ;;
    tests) echo . suffix_tree draft draft/heads draft/train verify verify/tensor verify/target bench tests ;;
    examples) echo public ;;
    esac
}

folder() {
    case $1 in
    */*) dirname "$1" ;;
    *) echo . ;;
    esac
}

project_sources >"$work/sources"
mapfile -t files <"$work/sources"
public_headers >"$work/public"
: >"$work/faults"
: >"$work/public_faults"
n=0
for file in "${files[@]}"; do
    from=$(folder "$file")
    may=" $(allowed "$from") "
    while IFS= read -r name; do
        n=$((n + 1))
        target=$(grep -E "^(.*/)?$name\$" "$work/sources" || true)
        case $name in */*) target= ;; esac
        if [ -z "$target" ] || [ "$(wc -l <<<"$target")" != 1 ]; then
            echo "$file: \"$name\" is not the bare name of one header of the project" >>"$work/faults"
            continue
        fi
        if grep -qxF "$file" "$work/public" && ! grep -qxF "$target" "$work/public"; then
            echo "$file, a public header, includes $target" >>"$work/public_faults"
        fi
        case $may in
        *" $(folder "$target") "* | *" $target "*) continue ;;
        *" public "*) grep -qxF "$target" "$work/public" && continue ;;
        esac
        echo "$file must not include $target" >>"$work/faults"
    done < <(sed -n 's/^[ \t]*#[ \t]*include[ \t]*"\([^"]*\)".*/\1/p' "$file")
done
[ "$n" -gt 0 ] || echo "no include was found at all" >>"$work/faults"
verdict "includes follow the arrows between the folders" "$work/faults"
verdict "public headers include public headers only" "$work/public_faults"

# What verify may see of draft must not bring in more.
sed -n 's/^[ \t]*#[ \t]*include[ \t]*"\([^"]*\)".*/\1/p' draft/spec_tree.h | grep -vxF specdec.h \
    >"$work/faults" || true
verdict "the draft tree's header includes the base only" "$work/faults"

# No other folder of code at the top.
find . -mindepth 2 -name '*.[ch]' -not -path './.*' -not -path './build/*' | cut -d/ -f2 | sort -u |
    grep -vxE 'suffix_tree|draft|verify|bench|tests|examples' >"$work/faults" || true
verdict "no other folder holds code" "$work/faults"

finish
