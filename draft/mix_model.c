/* SPDX-License-Identifier: MIT */
/*
 * mix_model.c - see mix_model.h. Candidates are weighed four at a time, places that are not taken with
 * them: without branches. A class that there is not has inputs of 0.
 */
#include "mix_model.h"

#include <string.h>

#include "specp_math.h"

#define RATE         0.01f /* of the weights */
#define LIMIT        255   /* updates over which evidence and tokens forget */
#define PATH_LIMIT   80    /* paths */
#define REACH_LIMIT  64
#define FIRST_WEIGHT 0.3f
#define CONSTANT     0.5f
#define ALL          0.9995f  /* the candidates' probabilities together, at most */
#define ONE          4194303u /* of a cell */

/* ---- cells ------------------------------------------------------------------- */

static float prob_of(mix_cell c) { return (float)(c >> 10) * (1.0f / ONE); }

static mix_cell cell_of(float p, uint32_t n) { return (uint32_t)(p * (float)ONE) << 10 | n; }

/* Moves a cell towards `target`: first to the mean of what it saw, then by an average that forgets over
 * about `limit` updates, at most 1022. */
static mix_cell moved(mix_cell c, uint32_t target, const mix_tables *t, uint32_t limit) {
    uint32_t n = c & 1023;
    int64_t p = c >> 10;
    p += ((int64_t)target - p) * t->rate[n] / 65536;
    return (uint32_t)p << 10 | (n < limit ? n + 1 : n);
}

static void learn_stretched(mix_slot *s, const mix_tables *t, uint32_t target) {
    s->cell = moved(s->cell, target, t, LIMIT);
    s->value = t->stretch[s->cell >> 20];
}

static void learn_plain(mix_slot *s, const mix_tables *t, uint32_t target, uint32_t limit) {
    s->cell = moved(s->cell, target, t, limit);
    s->value = prob_of(s->cell);
}

#define SLOTS(array) (array), sizeof(array) / sizeof *(array)

static void set_stretched(mix_slot *s, size_t n, const mix_tables *t) {
    for (size_t i = 0; i < n; i++) s[i].value = t->stretch[s[i].cell >> 20];
}

static void set_plain(mix_slot *s, size_t n) {
    for (size_t i = 0; i < n; i++) s[i].value = prob_of(s[i].cell);
}

void specp_mix_values(mix_state *s, const mix_tables *t) {
    set_stretched(SLOTS(s->evidence), t);
    set_stretched(SLOTS(s->token), t);
    set_plain(SLOTS(s->path));
    set_plain(SLOTS(s->reach));
    s->evidence[MIX_NO_EVIDENCE].value = 0;
}

/* ---- maps of probabilities ------------------------------------------------------ */

#define LEAST_BITS ((127 - 11) << 23) /* of the float 2^-11 */
#define PART_BITS  21                 /* of a float, below those that name the step */
#define PART_MASK  ((1 << PART_BITS) - 1)
#define PART_UNIT  (1.0f / (1 << PART_BITS))

/* The step at or below p, 0 <= p <= 1, and how far p is from it to the next. */
static uint32_t step_of(float p, float *part) {
    int32_t above = (int32_t)specp_bits_of_float(p) - LEAST_BITS;
    above = above > 0 ? above : 0;
    *part = (float)(above & PART_MASK) * PART_UNIT;
    return (uint32_t)above >> PART_BITS;
}

static float step_value(uint32_t step) { return specp_float_of_bits(LEAST_BITS + (step << PART_BITS)); }

static float mapped(const mix_slot *step, float part) {
    return step[0].value + part * (step[1].value - step[0].value);
}

/* ---- tables and beginnings ------------------------------------------------------- */

void specp_mix_tables(mix_tables *t) {
    static const uint8_t count_end[MIX_COUNTS] = {0, 1, 2, 3, 4, 6, 9, 14, 22, 40, 90, 255};
    static const uint8_t length_end[MIX_LENGTHS] = {0, 1, 2, 3, 4, 6, 8, 12, 16, 31, 64};
    for (uint32_t i = 0; i < 4096; i++) {
        double p = (i + 0.5) / 4096;
        t->stretch[i] = (float)specp_log(p / (1 - p));
        t->squash[i] = (float)(1 / (1 + specp_exp(8 - (i + 0.5) / 256)));
    }
    for (uint32_t i = 0; i < 1024; i++) t->rate[i] = (uint32_t)(65536 / (i + 1.5));
    for (uint32_t i = 0, b = 0; i < 256; i++) t->count[i] = (uint8_t)(b += i > count_end[b]);
    for (uint32_t i = 0, b = 0; i <= 64; i++) t->length[i] = (uint8_t)(b += i > length_end[b]);
}

/* Evidence begins as a cautious ratio; its count of 0 lets the first update replace most of it. */
static void start_evidence(mix_state *s) {
    static const float mean[MIX_COUNTS] = {0, 1, 2, 3, 4, 5.5f, 8, 12, 18, 30, 60, 150};
    for (uint32_t i = 0; i < MIX_MATCH_SLOTS; i++) {
        float hits = mean[i / MIX_RANKS / MIX_COUNTS % MIX_COUNTS], misses = mean[i / MIX_RANKS % MIX_COUNTS];
        float p = (hits + 0.03f) / (hits + misses + 1);
        s->evidence[i].cell = cell_of(p < 0.004f ? 0.004f : p > 0.98f ? 0.98f : p, 0);
    }
}

/* A draft's probabilities begin as what they say. */
static void start_parts(mix_state *s) {
    for (uint32_t i = 0; i < MIX_PART_SLOTS; i++) {
        uint32_t step = i / MIX_RANKS % MIX_PART_STEPS;
        float p = specp_float_of_bits((uint32_t)LEAST_BITS + (step << 22));
        if (step == MIX_PART_STEPS - 1) p = 0.01f;
        s->evidence[MIX_MATCH_SLOTS + i].cell = cell_of(p < 0.98f ? p : 0.98f, 2);
    }
}

static void start_tokens(mix_state *s) {
    for (uint32_t i = 0; i < MIX_TOKENS * MIX_RANKS; i++) s->token[i].cell = cell_of(0.1f, 1);
}

static void start_map(mix_slot *s, size_t n) {
    for (size_t i = 0; i < n; i++) {
        float p = step_value((uint32_t)(i % MIX_STEPS));
        s[i].cell = cell_of(p < 1 ? p : 1, 4);
    }
}

void specp_mix_start(mix_state *s, const mix_tables *t) {
    memset(s, 0, sizeof *s);
    start_evidence(s);
    start_parts(s);
    start_tokens(s);
    start_map(SLOTS(s->path));
    for (uint32_t i = 0; i < sizeof s->reach / sizeof *s->reach; i++) s->reach[i].cell = cell_of(0.7f, 16);
    for (uint32_t i = 0; i < MIX_LENGTHS * MIX_LENGTHS; i++)
        for (uint32_t k = 0; k < MIX_EVIDENCE; k++) s->by_match[i][3 + k] = FIRST_WEIGHT;
    specp_mix_values(s, t);
}

static void cap_counts(mix_slot *s, size_t n, uint32_t sure) {
    for (size_t i = 0; i < n; i++)
        if ((s[i].cell & 1023) > sure) s[i].cell = (s[i].cell & ~1023u) | sure;
}

void specp_mix_generalize(mix_state *s, const mix_tables *t, uint32_t sure) {
    cap_counts(SLOTS(s->evidence), sure);
    cap_counts(SLOTS(s->path), sure);
    cap_counts(SLOTS(s->reach), sure);
    start_tokens(s);
    memset(s->by_last, 0, sizeof s->by_last);
    specp_mix_values(s, t);
}

/* ---- weighing ---------------------------------------------------------------- */

/* Vectors are put together from single values in registers: one that is read from memory where its parts
 * were just written waits for the writes. */
#define GATHER(f) ((mix_lanes){f(0), f(1), f(2), f(3)})

static const float best_input[MIX_RANKS] = {CONSTANT};

/* Weighs the candidates k to k + 3: their probabilities before they are scaled, 0 where there is none. */
static mix_lanes mix_four(const mix_state *s, const mix_tables *t, mix_case *c, uint32_t k, const float *w) {
#define TOKEN(j)    s->token[c->token_cell[k + (j)]].value
#define BEST(j)     best_input[c->rank[k + (j)]]
#define EVIDENCE(j) s->evidence[c->cell[i][k + (j)]].value
#define SQUASHED(j) t->squash[step[j]]
    for (uint32_t j = k; j < k + MIX_LANES; j++)
        c->token_cell[j] = (uint16_t)(mix_hash(c->token[j], MIX_TOKEN_BITS) * MIX_RANKS + c->rank[j]);
    const mix_lanes token = GATHER(TOKEN), best = GATHER(BEST);
    const mix_lanes constant = {CONSTANT, CONSTANT, CONSTANT, CONSTANT};
    mix_store(&c->x[0][k], token);
    mix_store(&c->x[1][k], constant);
    mix_store(&c->x[2][k], best);
    mix_lanes at = 8 + w[0] * token + w[1] * constant + w[2] * best; /* in the table */
    for (uint32_t i = 0; i < c->n_evidence; i++) {
        const mix_lanes x = GATHER(EVIDENCE);
        mix_store(&c->x[3 + i][k], x);
        at += w[3 + i] * x;
    }
    at *= 256;
    mix_lanes_int low = at > 0, high = at >= 4095;
    mix_lanes_int step = __builtin_convertvector(mix_keep(at, low & ~high), mix_lanes_int) | (high & 4095);
    return mix_keep(GATHER(SQUASHED), mix_live(k, c->n));
}

void specp_mix_weigh(const mix_state *s, const mix_tables *t, mix_case *c) {
    const float *a = s->by_match[c->match], *b = s->by_last[c->last];
    const mix_lanes none = {0};
    float w[MIX_INPUTS];
    for (uint32_t i = 0; i < MIX_INPUTS; i++) w[i] = a[i] + b[i] + s->of_all[i];
    const mix_lanes first = mix_four(s, t, c, 0, w);
    const mix_lanes second = c->n > MIX_LANES ? mix_four(s, t, c, MIX_LANES, w) : none;
    const mix_lanes both = first + second;
    const float sum = (both[0] + both[1]) + (both[2] + both[3]), scale = sum > ALL ? ALL / sum : 1;
    mix_store(&c->mixed[0], first);
    mix_store(&c->mixed[MIX_LANES], second);
    mix_store(&c->p[0], first * scale);
    mix_store(&c->p[MIX_LANES], second * scale);
}

float specp_mix_path(const mix_state *s, uint32_t depth, float product, uint16_t *cell) {
    static const uint8_t bucket[] = {0, 0, 1, 2, 3, 4, 4, 5, 5, 5, 5, 6, 6, 6, 6, 6};
    float part;
    uint32_t row = (depth < 16 ? bucket[depth] : MIX_DEPTHS - 1) * MIX_STEPS,
             at = row + step_of(product, &part);
    *cell = (uint16_t)(at + (part > 0.5f));
    return mapped(s->path + at, part);
}

/* ---- learning ---------------------------------------------------------------- */

static void learn_weights(mix_state *s, const mix_case *c, const float *error) {
    const uint32_t places = c->n > MIX_LANES ? MIX_CANDIDATES : MIX_LANES;
    float *a = s->by_match[c->match], *b = s->by_last[c->last];
    for (uint32_t i = 0; i < 3 + c->n_evidence; i++) {
        float step = 0;
        for (uint32_t k = 0; k < places; k++) step += error[k] * c->x[i][k];
        a[i] += step;
        b[i] += step;
        s->of_all[i] += step;
    }
}

void specp_mix_learn(mix_state *s, const mix_tables *t, const mix_case *c, spec_token next) {
    float error[MIX_CANDIDATES] = {0};
    for (uint32_t k = 0; k < c->n; k++) {
        bool right = c->token[k] == next;
        uint32_t target = right ? ONE : 0;
        error[k] = RATE * ((float)right - c->mixed[k]);
        for (uint32_t i = 0; i < c->n_evidence; i++)
            if (c->cell[i][k] != MIX_NO_EVIDENCE) learn_stretched(&s->evidence[c->cell[i][k]], t, target);
        learn_stretched(&s->token[c->token_cell[k]], t, target);
    }
    learn_weights(s, c, error);
}

void specp_mix_learn_path(mix_state *s, const mix_tables *t, uint16_t cell, bool right) {
    learn_plain(&s->path[cell], t, right ? ONE : 0, PATH_LIMIT);
}

void specp_mix_learn_reach(mix_state *s, const mix_tables *t, uint32_t cell, const mix_case *c) {
    float best = 0;
    for (uint32_t k = 0; k < c->n; k++) best = c->p[k] > best ? c->p[k] : best;
    learn_plain(&s->reach[cell], t, (uint32_t)(best * (float)ONE), REACH_LIMIT);
}
