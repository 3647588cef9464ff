#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# The measurements behind docs/COMPARISON.md: every drafter, live, on the built-in target,
# on six kinds of generated requests, greedy and at temperature 1, with two sizes of
# drafts; and the set-up of an old report, improved one element at a time.
#
#     bench/comparison.sh OUT [MODELS]
#
# Reports go to OUT/KIND-tT-bBUDGET.json and OUT/elements-KIND.json, all their tables to OUT/tables.md,
# single figures across kinds to OUT/across-tT-bBUDGET.md and OUT/elements.md. A report that is there is not made again.
# About half an hour on two cores; REQUESTS=N asks for fewer or more requests of each kind.
set -euo pipefail

out=${1:?"expected OUT, the folder for the reports"}
models=${2:-bench/models}
specbench=${SPECBENCH:-build/specbench}
requests=${REQUESTS:-24}
settings=(t0-b12 t1-b12 t0-b4) # temperature and budget
kinds=(tools sql edits quotes summaries chat)

mkdir -p "$out"
target=$models/target.gguf eagle3=eagle3:$models/eagle3.gguf medusa=medusa:$models/medusa.gguf
draft=model:$models/draft.gguf
prompts() { # KIND SEED N
    local file=$out/seed$2/$1.jsonl
    mkdir -p "$out/seed$2"
    [ -e "$file" ] || "$specbench" workload --as prompts --kind "$1" --seed "$2" -n "$3" --max-chars 2400 -q -o "$file"
    echo "$file"
}
run() { # PROMPTS [OPTION]...
    "$specbench" run -m "$target" -p "$1" --stop '<|' --max-tokens 192 -q "${@:2}"
}

# What requests of another seed were answered: a warm shared index for `suffix:corpus=`.
warm() {
    local index=$out/$1/warm.idx trace=$out/$1/warm.jsonl
    mkdir -p "$out/$1"
    [ -e "$trace" ] || run "$(prompts "$1" 2 "$((4 * requests))")" -d suffix --budget 12 --repeat 1 --batch 4 --record "$trace"
    [ -e "$index" ] || "$specbench" corpus build -q -o "$index" "$trace"
    echo "$index"
}

for kind in "${kinds[@]}"; do
    file=$(prompts "$kind" 1 "$requests")
    index=$(warm "$kind")
    for setting in "${settings[@]}"; do
        report=$out/$kind-$setting.json temperature=${setting%-*}
        [ -e "$report" ] || run "$file" --temp "${temperature#t}" --budget "${setting#*-b}" --json "$report" \
            -d suffix:shared=0 -d suffix -d "suffix:corpus=$index" -d mix -d "mix:corpus=$index" \
            -d pld -d ngram-cache -d recycle -d "$medusa" -d "$eagle3" -d "$draft" \
            -d "union:suffix+$eagle3" -d "cascade:suffix>$eagle3,tau=1" -d "mix:with=$eagle3"
    done
done

# The old report's suffix tree: no prompt in it, learnt when a response is over, 8 tokens of
# context, 5 drafted on one path. Then what it lacks, one element after another, up to the defaults.
elements=('own=1' 'learn=live' 'depth=64,context=0' 'nodes=32,offset=0,factor=64,min_prob=0.1' 'tree=1')
weak=suffix:preset=coreml
ladder=(-d "$weak")
for element in "${elements[@]}"; do
    weak=$weak,$element
    ladder+=(-d "$weak")
done
for kind in "${kinds[@]}"; do
    report=$out/elements-$kind.json
    [ -e "$report" ] || run "$(prompts "$kind" 1 "$requests")" --budget 12 --json "$report" "${ladder[@]}" -d suffix
done

figures=(--across tokens_per_step --across speedup --across hit_rate --across top1
    --across acceptance_rate --across draft_us --across verify_us)
for setting in "${settings[@]}"; do
    "$specbench" report "${figures[@]}" "$out"/*-"$setting".json -o "$out/across-$setting.md"
done
"$specbench" report --across tokens_per_step --across hit_rate --across top1 "$out"/elements-*.json -o "$out/elements.md"
"$specbench" report "$out"/*-t?-b*.json "$out"/elements-*.json -o "$out/tables.md"
echo "$out/tables.md"
