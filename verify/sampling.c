/* SPDX-License-Identifier: MIT */
/*
 * The sampler's memory, the parameters, and the first steps from logits to a law:
 * bias, repetition penalty, mask. (The others are in sampling_filters.c.)
 *
 * A row that no such step touches is not copied. `seen` is all zeros between
 * calls: the tokens that set its marks take them away.
 */
#include "spec_sampling.h"

#include <float.h>
#include <string.h>

#include "sampler.h"

/* ---- memory ------------------------------------------------------------ */

#define ENTRY_BYTES                                                                                          \
    (sizeof(double) + sizeof(spec_token) + 2 * sizeof(float) + 2 * sizeof(uint32_t) + sizeof(uint8_t))

int spec_sampler_new(spec_sampler **out, size_t vocab, const spec_allocator *alloc) {
    if (!out || vocab < 1 || vocab > INT32_MAX) return SPEC_ERR_INVALID;
    spec_sampler *s = specp_calloc(alloc, 1, sizeof *s);
    if (!s) return SPEC_ERR_NOMEM;
    size_t cap = (vocab + SPECP_LAW_BLOCK - 1) / SPECP_LAW_BLOCK * SPECP_LAW_BLOCK;
    s->law.w = specp_calloc(alloc, cap, ENTRY_BYTES);
    if (!s->law.w) {
        specp_release(alloc, s, 1, sizeof *s);
        return SPEC_ERR_NOMEM;
    }
    s->law.id = (spec_token *)(s->law.w + cap);
    s->z = (float *)(s->law.id + cap);
    s->q = s->z + cap;
    s->key = (uint32_t *)(s->q + cap);
    s->left = s->key + cap;
    s->seen = (uint8_t *)(s->left + cap);
    s->vocab = (uint32_t)vocab;
    s->cap = (uint32_t)cap;
    if (alloc) s->alloc = *alloc;
    *out = s;
    return SPEC_OK;
}

void spec_sampler_free(spec_sampler *s) {
    if (!s) return;
    spec_allocator alloc = s->alloc;
    specp_release(&alloc, s->law.w, s->cap, ENTRY_BYTES);
    specp_release(&alloc, s, 1, sizeof *s);
}

/* ---- parameters -------------------------------------------------------- */

int specp_take(void *to, size_t size, const void *from, const char *name, spec_message *why) {
    if (!from) return SPEC_OK;
    size_t given = *(const size_t *)from; /* its first member */
    if (given < size)
        return specp_fail(why, SPEC_ERR_INVALID, "%s.size is %zu, expected %zu", name, given, size);
    for (size_t i = size; i < given; i++)
        if (((const unsigned char *)from)[i])
            return specp_fail(why, SPEC_ERR_VERSION, "%s has fields that this version does not know", name);
    memcpy(to, from, size);
    return SPEC_OK;
}

static bool within(float x, float low, float high) { return x >= low && x <= high; } /* false for NaN */

static int check_bias(const spec_sampling *p, size_t vocab, spec_message *why) {
    if (p->n_bias && !p->bias)
        return specp_fail(why, SPEC_ERR_INVALID, "n_bias is %zu, but bias is NULL", p->n_bias);
    for (size_t i = 0; i < p->n_bias; i++) {
        spec_logit_bias b = p->bias[i];
        if (b.token < 0 || (size_t)b.token >= vocab)
            return specp_fail(why, SPEC_ERR_INVALID, "bias of token %d, outside the vocabulary of %zu",
                              b.token, vocab);
        if (!(b.bias <= FLT_MAX))
            return specp_fail(why, SPEC_ERR_INVALID, "bias of token %d is NaN or +infinite", b.token);
    }
    return SPEC_OK;
}

int specp_sampling_take(spec_sampling *to, const spec_sampling *from, size_t vocab, spec_message *why) {
    memset(to, 0, sizeof *to);
    int err = specp_take(to, sizeof *to, from, "sampling", why);
    if (err) return err;
    if (to->top_p == 0.0f) to->top_p = 1.0f;
    if (to->repetition_penalty == 0.0f) to->repetition_penalty = 1.0f;
    if (!within(to->temperature, 0.0f, FLT_MAX))
        return specp_fail(why, SPEC_ERR_INVALID, "temperature %g is not in 0..%g", (double)to->temperature,
                          (double)FLT_MAX);
    if (!within(to->top_p, 0.0f, 1.0f))
        return specp_fail(why, SPEC_ERR_INVALID, "top_p %g is not in 0..1", (double)to->top_p);
    if (!within(to->min_p, 0.0f, 1.0f))
        return specp_fail(why, SPEC_ERR_INVALID, "min_p %g is not in 0..1", (double)to->min_p);
    if (!within(to->repetition_penalty, FLT_MIN, FLT_MAX))
        return specp_fail(why, SPEC_ERR_INVALID, "repetition_penalty %g is not positive",
                          (double)to->repetition_penalty);
    return check_bias(to, vocab, why);
}

/* ---- bias, penalty, mask ------------------------------------------------- */

/* Penalises each token of tok[0..n) that bears no mark yet, and marks it. */
static void penalise(spec_sampler *s, float penalty, const spec_token *tok, size_t n) {
    for (size_t i = 0; i < n; i++) {
        if ((uint32_t)tok[i] >= s->vocab || s->seen[tok[i]]) continue; /* negative ones too */
        s->seen[tok[i]] = 1;
        float *z = &s->z[tok[i]];
        *z = *z > 0.0f ? *z / penalty : *z * penalty;
    }
}

static void unmark(spec_sampler *s, const spec_token *tok, size_t n) {
    for (size_t i = 0; i < n; i++)
        if ((uint32_t)tok[i] < s->vocab) s->seen[tok[i]] = 0;
}

static size_t least(size_t a, size_t b) { return a < b ? a : b; }

/* Penalises the last tokens of text and path, as one text. */
static void penalise_text(spec_sampler *s, const spec_sampling *p, const spec_row_place *at) {
    size_t window = p->penalty_window ? p->penalty_window : SIZE_MAX;
    size_t n_path = least(window, at->n_path), n_text = least(window - n_path, at->n_text);
    const spec_token *text = n_text ? at->text + (at->n_text - n_text) : NULL;
    const spec_token *path = n_path ? at->path + (at->n_path - n_path) : NULL;
    penalise(s, p->repetition_penalty, text, n_text);
    penalise(s, p->repetition_penalty, path, n_path);
    unmark(s, text, n_text);
    unmark(s, path, n_path);
}

static int mask(spec_sampler *s, const spec_sampling *p, const spec_row_place *at) {
    const uint32_t *allowed = NULL;
    int err = p->mask(p->mask_user, at, &allowed);
    if (err || !allowed) return err;
    for (uint32_t t = 0; t < s->vocab; t++)
        if (!(allowed[t / 32] >> t % 32 & 1)) s->z[t] = -(float)__builtin_inff();
    return SPEC_OK;
}

int specp_sampler_row(spec_sampler *s, const spec_sampling *p, const float *logits, const spec_row_place *at,
                      spec_message *why) {
    if (!p->n_bias && p->repetition_penalty == 1.0f && !p->mask)
        return specp_sampler_filter(s, p, logits, why);
    memcpy(s->z, logits, s->vocab * sizeof *logits);
    for (size_t i = 0; i < p->n_bias; i++) s->z[p->bias[i].token] += p->bias[i].bias;
    if (p->repetition_penalty != 1.0f) penalise_text(s, p, at);
    int err = p->mask ? mask(s, p, at) : SPEC_OK;
    if (err) return specp_fail(why, err, "the mask of row %zu failed: %s", at->row, spec_strerror(err));
    return specp_sampler_filter(s, p, s->z, why);
}

int spec_sampler_law(spec_sampler *s, const spec_sampling *sampling, const float *logits,
                     const spec_row_place *at, float *p, spec_message *why) {
    static const spec_row_place nowhere;
    spec_sampling params;
    if (why) why->text[0] = 0;
    if (!s || !logits || !p) return specp_fail(why, SPEC_ERR_INVALID, "expected a sampler, logits and p");
    if (!at) at = &nowhere;
    if ((at->n_text && !at->text) || (at->n_path && !at->path))
        return specp_fail(why, SPEC_ERR_INVALID, "a text or path has a length, but is NULL");
    int err = specp_sampling_take(&params, sampling, s->vocab, why);
    if (!err) err = specp_sampler_row(s, &params, logits, at, why);
    if (err) return err;
    memset(p, 0, s->vocab * sizeof *p);
    for (uint32_t i = 0; i < s->law.n; i++) p[s->law.id[i]] = (float)(s->law.w[i] / s->law.total);
    return SPEC_OK;
}
