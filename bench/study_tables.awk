# SPDX-License-Identifier: MIT
#
# The tables of bench/study.sh, from the lists that `specbench report --list` makes:
#
#     awk -v dir=OUT -v order='DRAFTERS' -v apart='FILES' -v ours=DRAFTER -v plain=arctic \
#         -f study_tables.awk runs.tsv bins.tsv matches.tsv sweep.tsv tuned.tsv
#
# Also writes what the plots need: OUT/curve.dat and OUT/reliability.dat, blocks that begin with their names.
# Means over files are geometric; files that are set apart are shown, but belong to no mean.
BEGIN {
    FS = "\t"
    n_names = split(order, names, " ")
    n = split(apart, list, " ")
    for (i = 1; i <= n; i++) aside[list[i]] = 1
    n_bins = 20
}

# ---- reading -------------------------------------------------------------------

FNR == 1 {
    list_number++
    split("", col)
    for (i = 1; i <= NF; i++) col[$i] = i
    next
}
function v(name) { return $(col[name]) }

list_number == 1 {
    name = v("name"); w = v("workload"); b = v("budget") + 0
    if (!(w in seen_file)) { seen_file[w] = 1; if (w in aside) late[++n_late] = w; else file[++n_files] = w }
    if (!(b in seen_budget)) { seen_budget[b] = 1; budget[++n_budgets] = b }
    k = name SUBSEP w SUBSEP b
    tps[k] = v("tokens_per_step"); low[k] = v("low"); high[k] = v("high"); nodes[k] = v("drafted_per_step")
    share[k] = v("share_of_limit"); ece[k] = v("ece"); bias[k] = v("bias")
    point(name, w, nodes[k], tps[k], name SUBSEP b)
}
list_number == 2 && !(v("workload") in aside) && v("nodes") > 0 {
    k = v("name") SUBSEP v("budget") SUBSEP int(v("from") * n_bins + 0.5)
    bin_nodes[k] += v("nodes"); bin_accepted[k] += v("accepted"); bin_said[k] += v("nodes") * v("said")
}
list_number == 3 && !(v("workload") in aside) {
    k = v("name") SUBSEP v("budget") SUBSEP v("from")
    if (!(v("from") in seen_match)) {
        seen_match[v("from")] = 1
        match_from[++n_matches] = v("from"); match_to[n_matches] = v("to")
    }
    match_steps[k] += v("steps"); match_hits[k] += v("hits"); match_top1[k] += v("top1_hits")
    match_all[v("name") SUBSEP v("budget")] += v("steps")
}
list_number == 4 {
    swept[v("name")] = 1
    point(v("name"), v("workload"), v("drafted_per_step"), v("tokens_per_step"), v("name") SUBSEP "p" v("min_prob"))
}
list_number == 5 {
    w = v("workload"); b = v("budget") + 0; k = w SUBSEP b
    if (!(b in seen_tuned)) { seen_tuned[b] = 1; tuned[++n_tuned] = b }
    if (v("tokens_per_step") > best[k]) {
        best[k] = v("tokens_per_step"); best_nodes[k] = v("drafted_per_step"); best_drafter[k] = v("drafter")
    }
    point(plain, w, v("drafted_per_step"), v("tokens_per_step"), v("drafter") SUBSEP b)
}

# A point of the curve tokens per step over nodes per step. The reference's variants are one family.
function point(name, w, x, y, setting,    f, k) {
    f = index(name, plain) == 1 ? plain : name
    if (!(f in seen_family)) { seen_family[f] = 1; family[++n_families] = f }
    add_point(f SUBSEP w, x, y)
    if (w in aside) return
    k = f SUBSEP setting
    if (!(k in setting_files)) { setting_of[++n_settings] = k; setting_family[k] = f }
    setting_files[k]++; setting_x[k] += x; setting_y[k] += log(y)
}
function add_point(k, x, y,    i) { i = ++n_points[k]; px[k, i] = x; py[k, i] = y }

# The curve over all files: every point is one setting for all of them.
function join_files(    i, k) {
    for (i = 1; i <= n_settings; i++) {
        k = setting_of[i]
        if (setting_files[k] == n_files)
            add_point(setting_family[k] SUBSEP "mean", setting_x[k] / n_files, exp(setting_y[k] / n_files))
    }
}

# ---- arithmetic ------------------------------------------------------------------

function fixed(x, digits) { return x == "" || x == "-" ? "-" : sprintf("%." digits "f", x) }
function percent(x, digits) { return x == "" || x == "-" ? "-" : sprintf("%." digits "f", 100 * x) }

# Tokens per step at x nodes a step: straight lines between the points that no other of the family beats
# with as few nodes; before them plain decoding, (0, 1).
function at(f, w, x,    k, i, x0, y0, x1, y1) {
    k = f SUBSEP w
    if (!(k in frontier)) make_frontier(k)
    x0 = 0; y0 = 1
    for (i = 1; i <= frontier[k]; i++) {
        x1 = fx[k, i]; y1 = fy[k, i]
        if (x1 >= x) return x1 > x0 ? y0 + (y1 - y0) * (x - x0) / (x1 - x0) : y1
        x0 = x1; y0 = y1
    }
    return y0
}
function make_frontier(k,    n, i, j, t, m, top) {
    n = n_points[k] + 0; m = 0; top = 1
    for (i = 1; i <= n; i++) { sx[i] = px[k, i]; sy[i] = py[k, i] }
    for (i = 2; i <= n; i++)
        for (j = i; j > 1 && (sx[j] < sx[j - 1] || (sx[j] == sx[j - 1] && sy[j] > sy[j - 1])); j--) {
            t = sx[j]; sx[j] = sx[j - 1]; sx[j - 1] = t
            t = sy[j]; sy[j] = sy[j - 1]; sy[j - 1] = t
        }
    for (i = 1; i <= n; i++) if (sy[i] > top) { top = sy[i]; fx[k, ++m] = sx[i]; fy[k, m] = top }
    frontier[k] = m
}

# ---- tables ------------------------------------------------------------------------

function head(first, titles, n,    i) {
    printf "\n| %s |", first
    for (i = 1; i <= n; i++) printf " %s |", titles[i]
    printf "\n|---|"
    for (i = 1; i <= n; i++) printf "---:|"
    printf "\n"
}
# Rows by file: cells come from cell(what, column, file), means of value(what, column, file). last: "" for
# no means, "mean", or "lowest" for both.
function by_file(what, titles, n, last,    i, c, w) {
    head("file", titles, n)
    for (i = 1; i <= n_files + n_late; i++) {
        w = i <= n_files ? file[i] : late[i - n_files]
        printf "| %s |", w
        for (c = 1; c <= n; c++) printf " %s |", cell(what, c, w)
        printf "\n"
        if (i == n_files && last != "") means(what, n, last)
    }
}
function means(what, n, last,    c, i, x, count, sum, least) {
    printf "| *geometric mean* |"
    for (c = 1; c <= n; c++) {
        count = sum = 0; least[c] = "-"
        for (i = 1; i <= n_files; i++) {
            x = value(what, c, file[i])
            if (x == "-" || x == "" || x <= 0) continue
            count++; sum += log(x)
            if (least[c] == "-" || x < least[c]) least[c] = x
        }
        printf " %s |", count ? show(what, exp(sum / count)) : "-"
    }
    printf "\n"
    if (last == "mean") return
    printf "| *lowest* |"
    for (c = 1; c <= n; c++) printf " %s |", least[c] == "-" ? "-" : show(what, least[c])
    printf "\n"
}

function value(what, c, w) {
    if (what == "tokens") return tps[names[c], w, now]
    if (what == "ratio") return over(ours, w, budget[c], tps[plain, w, budget[c]])
    if (what == "tuned") return over(ours, w, tuned[c], best[w, tuned[c]])
    if (what == "limit") return share[now, w, budget[c]]
    if (what == "equal") return ratio(at(ours, w, equal[c]), at(plain, w, equal[c]))
    return "-"
}
function show(what, x) { return what == "limit" ? percent(x, 0) "%" : fixed(x, what == "tokens" ? 2 : 3) }
function cell(what, c, w,    k) {
    if (what == "tokens") {
        k = names[c] SUBSEP w SUBSEP now
        return fixed(tps[k], 2) (low[k] == "-" || low[k] == "" ? "" : " (" fixed(low[k], 2) "-" fixed(high[k], 2) ")")
    }
    if (what == "limit") {
        k = now SUBSEP w SUBSEP budget[c]
        return fixed(nodes[k], 1) ", " percent(share[k], 0) "%"
    }
    if (what == "ece") {
        k = names[c] SUBSEP w SUBSEP now
        return ece[k] == "-" || ece[k] == "" ? "-" : percent(ece[k], 1) " (" sprintf("%+.1f", 100 * bias[k]) ")"
    }
    if (what == "equal") return fixed(at(ours, w, equal[c]), 2) " / " fixed(at(plain, w, equal[c]), 2)
    return show(what, value(what, c, w))
}
function ratio(a, b) { return a > 0 && b > 0 ? a / b : "-" }
function over(name, w, b, of) { return ratio(tps[name, w, b], of) }

# Rows by drafter, columns by budget.
function mean_of(what, name, b,    i, sum, n, x) {
    for (i = 1; i <= n_files; i++) {
        x = what == "tokens" ? tps[name, file[i], b] : what == "limit" ? share[name, file[i], b] \
          : what == "nodes" ? nodes[name, file[i], b] : over(name, file[i], b, tps[plain, file[i], b])
        if (x == "-" || x == "") return "-"
        sum += what == "nodes" ? x : log(x); n++
    }
    return !n ? "-" : what == "nodes" ? sum / n : exp(sum / n)
}
function by_drafter(what, digits, scale,    i, b, x) {
    head("drafter", budget, n_budgets)
    for (i = 1; i <= n_names; i++) {
        printf "| %s |", names[i]
        for (b = 1; b <= n_budgets; b++) {
            x = mean_of(what, names[i], budget[b])
            printf " %s |", x == "-" ? x : sprintf("%." digits "f", scale * x)
        }
        printf "\n"
    }
}

function pooled_ece(name, b,    i, k, n, e, d) {
    for (i = 0; i < n_bins; i++) {
        k = name SUBSEP b SUBSEP i
        e += bin_said[k] > bin_accepted[k] ? bin_said[k] - bin_accepted[k] : bin_accepted[k] - bin_said[k]
        d += bin_said[k] - bin_accepted[k]; n += bin_nodes[k]
    }
    return n ? sprintf("%.1f (%+.1f)", 100 * e / n, 100 * d / n) : "-"
}
function ece_by_drafter(    i, b) {
    head("drafter", budget, n_budgets)
    for (i = 1; i <= n_names; i++) {
        printf "| %s |", names[i]
        for (b = 1; b <= n_budgets; b++) printf " %s |", pooled_ece(names[i], budget[b])
        printf "\n"
    }
}

function settings(    i, b, k, s, titles) {
    split("nodes,factor,offset,min_prob,tokens / step,nodes / step,over its defaults", titles, ",")
    head("file", titles, 7)
    for (b = 1; b <= n_tuned; b++)
        for (i = 1; i <= n_files; i++) {
            k = file[i] SUBSEP tuned[b]
            if (!(k in best)) continue
            s = best_drafter[k]
            printf "| %s | %s | %s | %s | %s | %s | %s | %s |\n", file[i], tuned[b], option(s, "factor"),
                option(s, "offset"), option(s, "min_prob"), fixed(best[k], 3), fixed(best_nodes[k], 1),
                fixed(ratio(best[k], tps[plain, file[i], tuned[b]]), 3)
        }
}
function option(spec, key) {
    if (!match(spec, "[,:]" key "=[^,]*")) return "-"
    return substr(spec, RSTART + length(key) + 2, RLENGTH - length(key) - 2)
}

# Top-1 and share of the steps, by the length of the match; drafters that match something.
function matches(b,    i, m, k, n, titles, who) {
    for (i = 1; i <= n_names; i++) {
        for (m = 2; m <= n_matches && !match_hits[names[i], b, match_from[m]]; m++);
        if (m <= n_matches) { titles[++n] = names[i] ", top-1 %"; who[n] = names[i]; titles[++n] = "% of steps" }
    }
    head("match length", titles, n)
    for (m = 1; m <= n_matches; m++) {
        printf "| %s |", match_to[m] == "-" ? match_from[m] " and more" \
            : match_from[m] == match_to[m] ? (match_to[m] == 0 ? "no draft or match" : match_to[m]) \
            : match_from[m] "-" match_to[m]
        for (i = 1; i <= n; i += 2) {
            k = who[i] SUBSEP b SUBSEP match_from[m]
            printf " %s | %s |", match_hits[k] ? percent(match_top1[k] / match_hits[k], 1) : "-",
                percent(match_steps[k] / match_all[who[i], b], 1)
        }
        printf "\n"
    }
}

# ---- plots ---------------------------------------------------------------------------

function curves(    f, i, k, x, to) {
    to = dir "/curve.dat"
    for (f = 1; f <= n_families; f++) {
        if (!(family[f] in swept)) continue
        for (i = 0; i <= n_files; i++) {
            printf "# %s/%s\n", family[f], i ? file[i] : "mean" >to
            k = family[f] SUBSEP (i ? file[i] : "mean")
            for (x = 0.5; x < 48 && x <= widest(k); x *= 1.05) print x, at(family[f], i ? file[i] : "mean", x) >to
            printf "\n\n" >to
        }
    }
    for (f = 1; f <= n_names; f++) {
        if (names[f] == "none") continue
        printf "# %s/budgets\n", names[f] >to
        for (i = 1; i <= n_budgets; i++)
            print mean_of("nodes", names[f], budget[i]), mean_of("tokens", names[f], budget[i]), budget[i] >to
        printf "\n\n" >to
    }
    close(to)
}
function widest(k) {
    if (!(k in frontier)) make_frontier(k)
    return fx[k, frontier[k]]
}
# Bins of fewer nodes would be noise.
function reliability(b,    i, k, m, to) {
    to = dir "/reliability.dat"
    for (i = 1; i <= n_names; i++) {
        if (names[i] == "none") continue
        printf "# %s\n", names[i] >to
        for (m = 0; m < n_bins; m++) {
            k = names[i] SUBSEP b SUBSEP m
            if (bin_nodes[k] >= 200) print bin_said[k] / bin_nodes[k], bin_accepted[k] / bin_nodes[k], bin_nodes[k] >to
        }
        printf "\n\n" >to
    }
    close(to)
}

function sort_numbers(a, n,    i, j, t) {
    for (i = 2; i <= n; i++)
        for (j = i; j > 1 && a[j] < a[j - 1]; j--) { t = a[j]; a[j] = a[j - 1]; a[j - 1] = t }
}

END {
    sort_numbers(budget, n_budgets)
    sort_numbers(tuned, n_tuned)
    main = 32
    if (!(main in seen_budget)) main = budget[n_budgets]
    print "## Tokens per step: geometric means over " n_files " files, by nodes a step at most"
    by_drafter("tokens", 2, 1)
    print "\nOver the reference at its defaults:"
    by_drafter("ratio", 3, 1)
    print "\nMean nodes a step:"
    by_drafter("nodes", 1, 1)
    print "\nShare of the limit of copying, %:"
    by_drafter("limit", 1, 100)
    print "\n## " ours " over the reference at its defaults, by nodes a step at most"
    by_file("ratio", budget, n_budgets, "lowest")
    if (n_tuned) {
        print "\n## " ours " over the reference at its best settings for each file and size"
        by_file("tuned", tuned, n_tuned, "lowest")
        print "\nThe best of 120 settings:"
        settings()
    }
    n_equal = split("1 2 4 8 16", equal, " ")
    print "\n## " ours " / the reference at equal mean nodes a step, at the best settings of each"
    by_file("equal", equal, n_equal, "lowest")
    for (i = 1; i <= n_budgets; i++) {
        now = budget[i]
        print "\n## Tokens per step (95%), " now " nodes"
        by_file("tokens", names, n_names, "mean")
    }
    for (j = 1; j <= n_names; j++) {
        now = names[j]
        if (now == "none") continue
        print "\n## " now ": mean nodes a step, share of the limit of copying"
        by_file("limit", budget, n_budgets, "mean")
    }
    print "\n## Expected calibration error (bias), percentage points, all files' nodes together"
    ece_by_drafter()
    now = main
    print "\nBy file, " main " nodes:"
    by_file("ece", names, n_names, "")
    print "\n## Top-1 by match length, " main " nodes, all files together"
    matches(main)
    join_files()
    curves()
    reliability(main)
}
