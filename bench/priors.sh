#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# Priors for the drafter mix, learned from the trace files whose licence allows it: MIT or Apache.
#
#     bench/priors.sh OUT [TRACES [C_SOURCE]]
#
#     OUT/NAME.mix    for each trace file: learned without it and without what it shares texts with, so that
#                     it can be judged by them
#     OUT/all.mix     learned from all; with C_SOURCE the library's own are made of it
set -euo pipefail

out=${1:?"expected OUT, the folder for the priors"}
traces=${2:-../shared/traces}
specbench=${SPECBENCH:-build/specbench}
teachers='tau_airline_gpt4o swe_agent swe_agent_replay gsm8k humaneval_canonical humaneval_gpt4 mbpp_gpt4
    hotpotqa_react spider_sql_gpt4 mtbench_vicuna7b'

if [ ! -d "$traces" ]; then
    echo "priors.sh: there is no folder '$traces'; expected one with trace files NAME.jsonl (docs/FORMATS.md):" >&2
    echo "    bench/priors.sh $out TRACES" >&2
    exit 2
fi

# What two files have in common: their texts' origin.
family() {
    case $1 in
    swe_agent*) echo swe_agent ;;
    humaneval*) echo humaneval ;;
    *) echo "$1" ;;
    esac
}

# Learns from all teachers but those of a family.
learn() {
    local without=$1 files=() name
    shift
    for name in $teachers; do
        if [ "$(family "$name")" != "$without" ] && [ -f "$traces/$name.jsonl" ]; then
            files+=("$traces/$name.jsonl")
        fi
    done
    if [ "${#files[@]}" = 0 ]; then
        echo "priors.sh: in '$traces' there is none of the files to learn from: $teachers" >&2
        exit 2
    fi
    "$specbench" train mix "${files[@]}" "$@"
}

mkdir -p "$out"
for file in "$traces"/*.jsonl; do
    name=$(basename "$file" .jsonl)
    learn "$(family "$name")" -q -o "$out/$name.mix"
done
learn '' -o "$out/all.mix" ${3:+--c-source "$3"}
