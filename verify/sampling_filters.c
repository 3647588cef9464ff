/* SPDX-License-Identifier: MIT */
/*
 * From logits to a law: temperature, top-k, top-p, min-p, and drawing from it.
 *
 * A token's rank is one number, in which a greater logit is greater and of equal
 * ones the lower index:
 *
 *     | logit, as an integer of the same order | ~index |      0 is below all ranks
 *
 * Nothing is sorted. Top-k and top-p each look for the least rank that stays, with
 * a heap of k ranks and of those that can be in the nucleus; then one pass in
 * order drops what lies below. So the law's tokens ascend, and the exponential is
 * taken of top-k's survivors alone.
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

/* ---- ranks --------------------------------------------------------------- */

static uint64_t rank_of(float z, uint32_t index) {
    uint32_t bits = specp_bits_of_float(z + 0.0f); /* of -0, too, those of 0 */
    bits = bits >> 31 ? ~bits : bits | 0x80000000u;
    return (uint64_t)bits << 32 | (uint32_t)~index;
}

/* Puts x into a heap whose place i is free; the least is in place 0. */
static void sift_down(uint64_t *heap, uint32_t n, uint32_t i, uint64_t x) {
    for (size_t child; (child = 2 * (size_t)i + 1) < n; i = (uint32_t)child) {
        if (child + 1 < n && heap[child + 1] < heap[child]) child++;
        if (heap[child] >= x) break;
        heap[i] = heap[child];
    }
    heap[i] = x;
}

static void heapify(uint64_t *heap, uint32_t n) {
    for (uint32_t i = n / 2; i-- > 0;) sift_down(heap, n, i, heap[i]);
}

/* The k-th greatest rank of z[0..n), k < n. */
static uint64_t kth_rank(const float *z, uint32_t n, uint32_t k, uint64_t *heap) {
    for (uint32_t i = 0; i < k; i++) heap[i] = rank_of(z[i], i);
    heapify(heap, k);
    float least = z[(uint32_t)~heap[0]]; /* an equal logit further on ranks lower */
    for (uint32_t i = k; i < n; i++) {
        if (!(z[i] > least)) continue;
        sift_down(heap, k, 0, rank_of(z[i], i));
        least = z[(uint32_t)~heap[0]];
    }
    return heap[0];
}

/*
 * The least rank, among the law's indices, of the fewest that hold `part` of the
 * mass. Tokens below (1 - part) / n of the mass do not hold 1 - part of it
 * together, so the nucleus lies among the others.
 */
static uint64_t nucleus_rank(const specp_law *law, const float *z, double part, uint64_t *heap) {
    double floor = (1.0 - part) * law->total / law->n, mass = 0.0;
    uint32_t n = 0;
    uint64_t best;
    for (uint32_t i = 0; i < law->n; i++)
        if (law->w[i] >= floor) heap[n++] = ~rank_of(z[law->id[i]], i); /* the greatest is the least */
    heapify(heap, n);
    do {
        best = heap[0];
        mass += law->w[(uint32_t)best];
        n--;
        sift_down(heap, n, 0, heap[n]);
    } while (n && mass < part * law->total);
    return ~best;
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

/* Tokens that have weight and at least a rank. */
static uint32_t collect(spec_token *id, const float *z, uint32_t vocab, uint64_t least) {
    uint32_t n = 0;
    for (uint32_t t = 0; t < vocab; t++)
        if (z[t] >= -FLT_MAX && rank_of(z[t], t) >= least) id[n++] = (spec_token)t;
    return n;
}

/* w = exp((z - max) / temperature) */
static void weigh(specp_law *law, uint32_t n, const float *z, float max, float temperature) {
    double inverse = 1.0 / (double)temperature;
    for (uint32_t i = 0; i < n; i++) law->w[i] = ((double)z[law->id[i]] - (double)max) * inverse;
    for (uint32_t i = n; i < padded(n); i++) law->w[i] = 0.0;
    for (uint32_t i = 0; i < n; i += LANES)
        for (int j = 0; j < LANES; j++) law->w[i + j] = specp_exp(law->w[i + j]);
    finish(law, n);
}

/* Keeps what has at least a rank (by index in the law) and at least a weight. */
static void keep(specp_law *law, const float *z, uint64_t least_rank, double least_weight) {
    uint32_t n = 0;
    for (uint32_t i = 0; i < law->n; i++) {
        if (law->w[i] < least_weight || rank_of(z[law->id[i]], i) < least_rank) continue;
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
    uint64_t least = 0;
    if (p->top_k && p->top_k < s->vocab) least = kth_rank(z, s->vocab, p->top_k, s->heap);
    weigh(&s->law, collect(s->law.id, z, s->vocab, least), z, max, p->temperature);
    least = p->top_p < 1.0f ? nucleus_rank(&s->law, z, (double)p->top_p, s->heap) : 0;
    if (least || p->min_p > 0.0f) keep(&s->law, z, least, (double)p->min_p); /* the best weighs 1 */
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
        law->w[i] = rest > 0.0 ? rest : 0.0;
    }
    finish(law, law->n);
    return true;
}
