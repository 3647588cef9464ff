/* SPDX-License-Identifier: MIT */
/*
 * From logits to a law: temperature, top-k, top-p, min-p, and drawing from it.
 *
 * Nothing is sorted. Top-k and top-p each look for the last token that stays, in the
 * order of greater logits first and of lower indices among equal ones, by its digits:
 *
 *     a logit's bits, made integers of the same order     | 11 bits | 11 bits | 10 bits |
 *
 *     mass by the first digit, all tokens            ..  .1 [.3] .5 .05      from the right: the bracketed
 *     by the second, tokens of the bracketed one     .. [.2] .1  0            one is where the wanted mass
 *     by the third, likewise, then by index                                   is reached
 *
 * (Top-k's mass is 1 a token.) Then one pass in order drops what lies behind. So it
 * takes linear time whatever the logits, the law's tokens ascend, and the exponential
 * is taken of top-k's survivors alone.
 */
#include <float.h>
#include <string.h>

#include "sampler.h"
#include "specp_math.h"

#define BLOCK SPECP_LAW_BLOCK
#define LANES SPECP_LAW_LANES

/* ---- sums ---------------------------------------------------------------- */

static double block_sum(const double *w) {
    double a[LANES] = {0};
    for (int i = 0; i < BLOCK; i += LANES)
        for (int j = 0; j < LANES; j++) a[j] += w[i + j];
    return specp_fold(a);
}

double specp_law_sum(const double *w, uint32_t n) {
    double sum = 0.0;
    for (uint32_t i = 0; i < n; i += BLOCK) sum += block_sum(w + i);
    return sum;
}

static uint32_t padded(uint32_t n) { return (n + BLOCK - 1) / BLOCK * BLOCK; }

/* The first n places hold the law: clears the rest of the last block, and adds up. */
static void finish(specp_law *law, uint32_t n) {
    law->n = n;
    for (uint32_t i = n; i < padded(n); i++) law->w[i] = 0.0;
    law->total = specp_law_sum(law->w, n);
}

/* ---- the last that stays -------------------------------------------------- */

/* Of tokens in order: those with a greater key, or with this one and at most this index. */
typedef struct last {
    uint32_t key, index;
} last;

/* Integers in the order of floats; -0 and 0 are equal. */
static uint32_t key_of(float z) {
    uint32_t bits = specp_bits_of_float(z + 0.0f);
    return bits >> 31 ? ~bits : bits | 0x80000000u;
}

static bool stays(last l, uint32_t key, uint32_t index) {
    return key > l.key || (key == l.key && index <= l.index);
}

#define DIGITS 2048

/* The greatest digit at which the mass, *run and that of greater digits, reaches
 * `wanted`; adds the greater ones' to *run. */
static uint32_t find_digit(const double *mass, double wanted, double *run) {
    double sum = *run;
    uint32_t found = 0;
    for (uint32_t d = DIGITS; d-- > 0;) {
        if (mass[d] <= 0.0) continue;
        found = d;
        *run = sum;
        sum += mass[d];
        if (sum >= wanted) break;
    }
    return found;
}

/* The last of the fewest tokens that have the wanted mass, in s->key[0..n) with
 * weights w, or 1 each for NULL. */
static last find_last(const spec_sampler *s, const double *w, uint32_t n, double wanted) {
    static const struct { uint32_t shift, bits; } digits[] = {{21, 11}, {10, 11}, {0, 10}};
    const uint32_t *key = s->key;
    uint32_t *left = s->left; /* indices whose keys have the digits found */
    double run = 0.0;
    for (size_t k = 0; k < 3; k++) {
        double mass[DIGITS] = {0};
        uint32_t shift = digits[k].shift, mask = (1u << digits[k].bits) - 1, m = 0;
        for (uint32_t i = 0; i < n; i++) {
            uint32_t at = k ? left[i] : i;
            mass[key[at] >> shift & mask] += w ? w[at] : 1.0;
        }
        uint32_t digit = find_digit(mass, wanted, &run);
        for (uint32_t i = 0; i < n; i++) {
            uint32_t at = k ? left[i] : i;
            if ((key[at] >> shift & mask) == digit) left[m++] = at;
        }
        n = m;
    }
    uint32_t i = 0;
    while (i + 1 < n && (run += w ? w[left[i]] : 1.0) < wanted) i++;
    return (last){key[left[i]], left[i]};
}

/* ---- the steps ----------------------------------------------------------- */

/* The greatest logit. SPEC_ERR_INVALID: one is NaN or +infinite, or all are -infinite. */
static int find_max(const float *z, uint32_t n, float *max, spec_message *why) {
    float m[LANES];
    int fine = 1;
    uint32_t i = 0;
    for (int j = 0; j < LANES; j++) m[j] = -FLT_MAX;
    for (; i + LANES <= n; i += LANES)
        for (int j = 0; j < LANES; j++) {
            fine &= z[i + j] <= FLT_MAX;
            m[j] = z[i + j] > m[j] ? z[i + j] : m[j];
        }
    for (; i < n; i++) {
        fine &= z[i] <= FLT_MAX;
        m[0] = z[i] > m[0] ? z[i] : m[0];
    }
    for (int j = 1; j < LANES; j++) m[0] = m[j] > m[0] ? m[j] : m[0];
    *max = m[0];
    for (i = 0; !fine && z[i] <= FLT_MAX;) i++;
    if (!fine)
        return specp_fail(why, SPEC_ERR_INVALID, "the logit of token %u is %s", i,
                          z[i] > 0.0f ? "infinite" : "NaN");
    for (i = 0; i < n && z[i] < -FLT_MAX;) i++;
    return i < n ? SPEC_OK
                 : specp_fail(why, SPEC_ERR_INVALID, "no token is left: all are masked or have no weight");
}

/* Greedy: the first of the best is certain. */
static void certain(specp_law *law, const float *z, float max) {
    uint32_t best = 0;
    while (z[best] < max) best++;
    law->id[0] = (spec_token)best;
    law->w[0] = 1.0;
    finish(law, 1);
}

/* The tokens that have weight, of the k best if 0 < k. */
static uint32_t collect(spec_sampler *s, const float *z, uint32_t k) {
    spec_token *id = s->law.id;
    uint32_t n = 0;
    if (!k || k >= s->vocab) {
        for (uint32_t t = 0; t < s->vocab; t++)
            if (z[t] >= -FLT_MAX) id[n++] = (spec_token)t;
        return n;
    }
    for (uint32_t t = 0; t < s->vocab; t++) s->key[t] = key_of(z[t]);
    last l = find_last(s, NULL, s->vocab, k);
    for (uint32_t t = 0; t < s->vocab; t++)
        if (z[t] >= -FLT_MAX && stays(l, s->key[t], t)) id[n++] = (spec_token)t;
    return n;
}

/* w = exp((z - max) / temperature), for whole blocks: behind the nth place stands some token. */
static void weigh(specp_law *law, uint32_t n, const float *z, float max, float temperature) {
    double inverse = 1.0 / (double)temperature;
    for (uint32_t b = 0; b < n; b += BLOCK) {
        double *w = law->w + b;
        for (uint32_t i = 0; i < BLOCK; i++) {
            double x = ((double)z[law->id[b + i]] - (double)max) * inverse;
            w[i] = x > -708.0 ? x : -708.0; /* 10^-308 of the best one's weight */
        }
        for (uint32_t i = 0; i < BLOCK; i++) w[i] = specp_exp_normal(w[i]);
    }
    finish(law, n);
}

/* Keeps the fewest that hold `part` of the mass. */
static void keep_nucleus(spec_sampler *s, const float *z, double part) {
    specp_law *law = &s->law;
    uint32_t n = 0;
    for (uint32_t i = 0; i < law->n; i++) s->key[i] = key_of(z[law->id[i]]);
    last l = find_last(s, law->w, law->n, part * law->total);
    for (uint32_t i = 0; i < law->n; i++) {
        if (!stays(l, s->key[i], i)) continue;
        law->id[n] = law->id[i];
        law->w[n++] = law->w[i];
    }
    finish(law, n);
}

static void keep_heavy(specp_law *law, double least) {
    uint32_t n = 0;
    for (uint32_t i = 0; i < law->n; i++) {
        if (law->w[i] < least) continue;
        law->id[n] = law->id[i];
        law->w[n++] = law->w[i];
    }
    finish(law, n);
}

int specp_sampler_filter(spec_sampler *s, const spec_sampling *p, const float *z, spec_message *why) {
    float max;
    int err = find_max(z, s->vocab, &max, why);
    if (err) return err;
    if (p->temperature == 0.0f) {
        certain(&s->law, z, max);
        return SPEC_OK;
    }
    weigh(&s->law, collect(s, z, p->top_k), z, max, p->temperature);
    if (p->top_p < 1.0f) keep_nucleus(s, z, (double)p->top_p);
    if (p->min_p > 0.0f) keep_heavy(&s->law, (double)p->min_p); /* the best weighs 1 */
    return SPEC_OK;
}

/* ---- using a law --------------------------------------------------------- */

double specp_law_of(const specp_law *law, spec_token token) {
    uint32_t low = 0, high = law->n;
    while (low < high) {
        uint32_t mid = low + (high - low) / 2;
        if (law->id[mid] < token)
            low = mid + 1;
        else
            high = mid;
    }
    return low < law->n && law->id[low] == token ? law->w[low] * (1.0 / law->total) : 0.0;
}

uint32_t specp_law_at(const specp_law *law, double u) {
    double target = u * law->total, run = 0.0;
    uint32_t i = 0, found = 0;
    for (; i + BLOCK < law->n; i += BLOCK) { /* to the block */
        double next = run + block_sum(law->w + i);
        if (target < next) break;
        run = next;
    }
    for (uint32_t end = i + BLOCK; i < end && i < law->n; i++) { /* rounding may put it at the block's end */
        if (law->w[i] <= 0.0) continue;
        found = i;
        run += law->w[i];
        if (target < run) break;
    }
    return found;
}

bool specp_law_subtract(specp_law *law, double scale, const float *q, double q_total) {
    double of_p = scale / law->total, of_q = 1.0 / q_total;
    uint32_t i = 0;
    while (i < law->n && law->w[i] * of_p <= (double)q[law->id[i]] * of_q) i++;
    if (i == law->n) return false;
    for (i = 0; i < law->n; i++) {
        double rest = law->w[i] * of_p - (double)q[law->id[i]] * of_q;
        law->w[i] = 0.5 * (rest + __builtin_fabs(rest)); /* max(rest, 0), exactly, with no branch to guess */
    }
    finish(law, law->n);
    return true;
}
