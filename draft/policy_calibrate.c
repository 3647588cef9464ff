/* SPDX-License-Identifier: MIT */
/*
 * What a drafter's probabilities are worth, by experience.
 *
 * Of a path probability only the last step is judged: the node's share of its
 * parent's, which is the drafter's opinion on this token where all before it were right.
 * The text then tells for every node whose parent was right whether it was right itself,
 * verified or not, so that nothing need be verified to learn. (Whole paths could not be
 * learnt so: of a path that was not verified, only failures become known.)
 *
 *     share      0 .002  ...   .5   .65   .8 ...  1     knots
 *     tally      [ right, n ]  [ ]  [ ]               a node adds to the two knots around it
 *
 * The row of tallies is chosen by source and depth (coarse) and by match length as
 * well (fine). A fine tally begins with the coarse one's opinion, that with the drafter's own, and
 * each is believed as far as it has seen nodes. Old ones fade, so that the map follows.
 */
#include "policy_internal.h"

static const float knots[SPECP_CALIBRATE_KNOTS] = {0,     0.002f, 0.005f, 0.01f, 0.02f, 0.05f, 0.1f, 0.2f,
                                                   0.35f, 0.5f,   0.65f,  0.8f,  0.9f,  0.96f, 1};

#define COARSE_DOUBT  4.0f /* nodes that the opinion to begin with counts for */
#define FINE_DOUBT    5.0f
#define COARSE_MEMORY 1000.0f
#define FINE_MEMORY   200.0f

static uint8_t place_of_source(int source) {
    if (source >= SPEC_SOURCE_USER) return SPECP_CALIBRATE_SOURCES - 1;
    return (uint8_t)(source >= 0 && source < SPECP_CALIBRATE_SOURCES - 1 ? source : SPEC_SOURCE_OTHER);
}

static uint8_t place_of_depth(uint32_t depth) {
    return depth <= 2 ? (uint8_t)(depth - 1) : depth <= 5 ? 2 : 3;
}

static uint8_t place_of_match(uint32_t len) {
    static const uint32_t from[SPECP_CALIBRATE_MATCHES] = {0, 2, 3, 5, 9, 17};
    uint8_t i = 0;
    while (i + 1 < SPECP_CALIBRATE_MATCHES && len >= from[i + 1]) i++;
    return i;
}

specp_mark specp_calibrate_mark(int source, uint32_t depth, uint32_t match_len, float ratio) {
    specp_mark m = {.source = place_of_source(source),
                    .depth = place_of_depth(depth),
                    .match = place_of_match(match_len)};
    while (m.knot + 2 < SPECP_CALIBRATE_KNOTS && ratio >= knots[m.knot + 1]) m.knot++;
    float w = (ratio - knots[m.knot]) / (knots[m.knot + 1] - knots[m.knot]);
    m.weight = w > 0 ? (w < 1 ? w : 1) : 0; /* not a number counts as 0 */
    return m;
}

static float opinion(const specp_tally *t, float doubt, float before) {
    return (t->right + doubt * before) / (t->n + doubt);
}

float specp_calibrate_read(const specp_calibration *c, const specp_mark *m) {
    const specp_tally *coarse = c->coarse[m->source][m->depth],
                      *fine = c->fine[m->source][m->depth][m->match];
    float p[2];
    for (int i = 0; i < 2; i++) {
        uint8_t k = (uint8_t)(m->knot + i);
        p[i] = opinion(&fine[k], FINE_DOUBT, opinion(&coarse[k], COARSE_DOUBT, knots[k]));
    }
    return p[0] + (p[1] - p[0]) * m->weight;
}

static void add(specp_tally *t, float weight, bool right, float memory) {
    t->n += weight;
    if (right) t->right += weight;
    if (t->n <= memory) return;
    t->right *= memory / t->n;
    t->n = memory;
}

void specp_calibrate_learn(specp_calibration *c, const specp_mark *m, bool right) {
    specp_tally *coarse = c->coarse[m->source][m->depth], *fine = c->fine[m->source][m->depth][m->match];
    for (int i = 0; i < 2; i++) {
        float weight = i ? m->weight : 1 - m->weight;
        add(&coarse[m->knot + i], weight, right, COARSE_MEMORY);
        add(&fine[m->knot + i], weight, right, FINE_MEMORY);
    }
}
