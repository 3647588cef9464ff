/* SPDX-License-Identifier: MIT */
/*
 * The golden gate's arithmetic, in double precision.
 *
 * On the rule for the argmax: two logits that each move by at most d swap only
 * if they were at most 2 d apart. With a factor of 2 a disagreement beyond it
 * would be a contradiction: the rule is then a bound on what may pass as a near
 * tie, and a smaller factor is the stricter one; 0 wants equal tokens everywhere.
 */
#include "gate.h"

#include <math.h>

gate_position gate_compare(const float *recorded, const float *here, size_t n) {
    double ab = 0, aa = 0, bb = 0, second = -INFINITY;
    gate_position p = {.difference = 0};
    for (size_t i = 0; i < n; i++) {
        double a = recorded[i], b = here[i], d = fabs(a - b);
        ab += a * b;
        aa += a * a;
        bb += b * b;
        if (d > p.difference) p.difference = d;
        if (b > here[p.here]) p.here = (spec_token)i;
        if (i == 0) continue;
        if (a > recorded[p.recorded]) {
            second = recorded[p.recorded];
            p.recorded = (spec_token)i;
        } else if (a > second) {
            second = a;
        }
    }
    p.margin = recorded[p.recorded] - second; /* infinite in a vocabulary of one */
    p.cosine = ab / sqrt(aa * bb);            /* exactly 1 for equal rows */
    if (isnan(p.cosine)) p.cosine = 0;        /* a row of zeros, or an infinite logit */
    return p;
}

bool gate_must_equal(const gate_position *p, const gate_limits *l, double difference) {
    return p->margin > l->margin_factor * difference;
}

gate_result gate_judge(const gate_position *p, size_t n, const gate_limits *l) {
    gate_result r = {.n = n, .min_cosine = INFINITY};
    for (size_t i = 0; i < n; i++) {
        r.mean_cosine += p[i].cosine / (double)n;
        r.mean_difference += p[i].difference / (double)n;
        r.equal += p[i].recorded == p[i].here;
        if (p[i].cosine < r.min_cosine) {
            r.min_cosine = p[i].cosine;
            r.worst_cosine = i;
        }
        if (p[i].difference > r.max_difference) {
            r.max_difference = p[i].difference;
            r.worst_difference = i;
        }
    }
    for (size_t i = 0; i < n; i++) {
        if (!gate_must_equal(&p[i], l, r.max_difference)) continue;
        r.must_equal++;
        r.unequal += p[i].recorded != p[i].here;
    }
    r.cosine_missed = !(r.min_cosine >= l->min_cosine);
    r.difference_missed = r.max_difference > l->max_difference;
    r.argmax_missed = r.unequal > 0;
    return r;
}

bool gate_passed(const gate_result *r) {
    return !r->cosine_missed && !r->difference_missed && !r->argmax_missed;
}
