#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# The goodput policy against the best fixed size of drafts, chosen for each file in hindsight: on recorded
# outputs under three cost models (passes that cost the same whatever their rows, passes of which each row more
# costs 3%, and the built-in target's own profile), and live on that target.
#
#     bench/goodput.sh OUT [TRACES [DRAFTER]...]
#
# TRACES is a folder of trace files (default ../shared/traces); DRAFTERs: default suffix, pld and random,
# which is the control. Reports go to OUT, and tables in Markdown to OUT/goodput.md. A report that is there
# is not made again. LIVE= leaves the live runs out, REPLAY= the others. SIZES='1 2 4 8 16 32 64' are the
# fixed sizes, beside 0, plain decoding; live those up to 16. REQUESTS=N of each kind live (24; of tools four times
# as many, which are short). A quarter of an hour on a quiet machine; T=N threads of the target (1).
set -euo pipefail

out=${1:?"expected OUT, the folder for the reports"}
traces=${2:-../shared/traces}
drafters=("${@:3}")
[ ${#drafters[@]} -gt 0 ] || drafters=(suffix pld random)
specbench=${SPECBENCH:-build/specbench}
model=${MODEL:-bench/models/target.gguf}
read -ra sizes <<<"${SIZES-1 2 4 8 16 32 64}"
kinds=(tools sql edits quotes summaries chat)
mkdir -p "$out"

profile=$out/profile.json
[ -s "$profile" ] || "$specbench" profile -q -m "$model" -t "${T:-1}" -o "$profile" --repeat 15 \
    --contexts 64,256,512 --batches 1,4 --sizes 1,2,3,4,5,6,8,12,16,24,32,64

# A name for files.
plain() { printf '%s' "$1" | tr -c 'A-Za-z0-9.\n' '-'; }

# compare DRAFTER FIELD GOODPUT FIXED: a line for each workload of the two lists: the best fixed size, and ours.
compare() {
    local drafter=$1 field=$2
    awk -F '\t' -v drafter="$drafter" -v field="$field" '
        FNR == 1 { for (i = 1; i <= NF; i++) at[$i] = i; next }
        $at["drafter"] != drafter { next }
        { w = $at["workload"]; s = $at[field] }
        NR == FNR { order[++n] = w; best[w] = 1; size[w] = 0; got[w] = s; per[w] = $at["drafted_per_step"]; next }
        s > best[w] { best[w] = s; size[w] = $at["budget"] }
        END {
            least = 9
            for (i = 1; i <= n; i++) {
                w = order[i]; r = got[w] / best[w]; sum += log(r); if (r < least) least = r
                printf "| %s | %d | %.3f | %.3f | %.1f | %.3f |\n", w, size[w], best[w], got[w], per[w], r
            }
            printf "| geometric mean; least | | | | | %.3f; %.3f |\n", exp(sum / n), least
        }' "$3" "$4"
}

list() { "$specbench" report --list runs "$@"; }

heading() { # TITLE WHAT
    printf '\n### %s\n\n| %s | best fixed size | its speed | goodput | nodes a step | of the best |\n' "$1" "$2"
    printf '|---|---|---|---|---|---|\n'
}

replayed() {
    local files=() file cost drafter n dir
    for file in "$traces"/*.jsonl; do
        case $file in *swe_agent_replay* | *humaneval_canonical*) continue ;; esac
        # Files of prompts have no responses.
        if head -n 1 "$file" 2>/dev/null | grep -q '"response"'; then files+=("$file"); fi
    done
    [ ${#files[@]} -gt 0 ] || { echo "goodput.sh: no trace file in '$traces'" >&2 && exit 2; }
    for drafter in "${drafters[@]}"; do
        for cost in flat linear:0.03 "$profile"; do
            dir=$out/$(plain "$drafter")/$(plain "$(basename "$cost" .json)")
            mkdir -p "$dir"
            for n in "${sizes[@]}"; do
                [ -s "$dir/b$n.json" ] || "$specbench" replay "${files[@]}" -q -d "$drafter" --budget "$n" \
                    --cost-model "$cost" --json "$dir/b$n.json"
            done
            [ -s "$dir/goodput.json" ] || "$specbench" replay "${files[@]}" -q -d "$drafter" --budget 64 \
                --policy goodput --cost-model "$cost" --json "$dir/goodput.json"
            heading "$drafter, passes: $(basename "$cost" .json)" file
            compare "$drafter" predicted_speedup <(list "$dir/goodput.json") <(list "$dir"/b*.json)
        done
    done
}

live() {
    local kind n requests d=() dir=$out/live
    mkdir -p "$dir"
    for drafter in "${drafters[@]}"; do d+=(-d "$drafter"); done
    for kind in "${kinds[@]}"; do
        requests=${REQUESTS:-24}
        [ "$kind" != tools ] || requests=$((4 * requests)) # short answers, and long prompts are left out
        [ -s "$dir/$kind.jsonl" ] || "$specbench" workload --as prompts --kind "$kind" -n "$requests" \
            --seed 5 --max-chars 2500 -o "$dir/$kind.jsonl" -q
        local run=("$specbench" run -q -m "$model" -t "${T:-1}" -p "$dir/$kind.jsonl" --stop '<|' "${d[@]}")
        for n in "${sizes[@]}"; do
            [ "$n" -gt 16 ] || [ -s "$dir/$kind-b$n.json" ] ||
                "${run[@]}" --budget "$n" --json "$dir/$kind-b$n.json"
        done
        [ -s "$dir/$kind-goodput.json" ] || "${run[@]}" --budget 32 --policy goodput \
            --cost-model "$profile" --json "$dir/$kind-goodput.json"
    done
    for drafter in "${drafters[@]}"; do
        heading "$drafter, live on the built-in target, measured" requests
        compare "$drafter" speedup <(list "$dir"/*-goodput.json) <(list "$dir"/*-b*.json)
    done
}

{
    [ -z "${REPLAY-1}" ] || replayed
    [ -z "${LIVE-1}" ] || live
} >"$out/goodput.part"
mv "$out/goodput.part" "$out/goodput.md"
cat "$out/goodput.md"
