/* SPDX-License-Identifier: MIT */
/*
 * Which nodes pay. The nodes of all requests are sorted by value; a node is worth no
 * more than its parent and comes after it, so that the first k of the list are, of
 * all k nodes that could be chosen, a tree for each request and worth the most. A pass's time
 * depends on k alone. So the best choice is one of the list's beginnings, and all are tried: time
 * rises in steps where kernels work on whole tiles, and a node that does not pay by itself
 * may pay together with those after it.
 *
 *     value   .9 .7 .7 .4 .2 .1        sum so far less price * extra time
 *     time     |  :  :  :  |  :        .3  1.0  1.7  2.1  1.6  1.7
 *                                                     ^ best: 4 nodes
 */
#include "policy_internal.h"

#include <string.h>

/* Merges a[0..m) and a[m..n) into out; of equals the earlier first. */
static void merge(const specp_candidate_node *a, size_t m, size_t n, specp_candidate_node *out) {
    size_t i = 0, j = m;
    for (size_t k = 0; k < n; k++) out[k] = j == n || (i < m && a[i].value >= a[j].value) ? a[i++] : a[j++];
}

void specp_policy_sort(specp_candidate_node *c, specp_candidate_node *room, size_t n) {
    specp_candidate_node *from = c, *to = room;
    for (size_t width = 1; width < n; width *= 2) {
        for (size_t i = 0; i < n; i += 2 * width) {
            size_t left = n - i, m = left < width ? left : width, both = left < 2 * width ? left : 2 * width;
            merge(from + i, m, both, to + i);
        }
        specp_candidate_node *t = from;
        from = to;
        to = t;
    }
    if (from != c) memcpy(c, from, n * sizeof *c);
}

size_t specp_policy_choose(const specp_candidate_node *c, size_t most, const double *time, double price,
                           double *gain) {
    double sum = 0;
    size_t best = 0;
    *gain = 0;
    for (size_t k = 1; k <= most; k++) {
        sum += (double)c[k - 1].value;
        double g = sum - price * (time[k] - time[0]);
        if (g <= *gain) continue;
        *gain = g;
        best = k;
    }
    return best;
}
