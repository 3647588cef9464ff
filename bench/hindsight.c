/* SPDX-License-Identifier: MIT */
/*
 * The limit of copying, over suffix indexes of depth budget + 1:
 *
 *     own      prompt and response so far of the request      (new each time)
 *     shared   responses of earlier requests and of warm traces
 *     corpus   a snapshot, if any
 *
 * Taking the longest copy at every step is best: what can be copied from a
 * position can, less its first token, be copied from the next position too, so
 * no shorter step ever reaches further.
 */
#include "hindsight.h"

#include <math.h>

#include "util.h"

#define N_PLACES 3

typedef struct limiter {
    spec_index *own, *shared;
    const spec_index *place[N_PLACES]; /* those that there are; may be NULL */
    spec_seq own_seq;
    uint32_t budget;
    hindsight *out;
} limiter;

static int new_index(spec_index **out, uint32_t budget) {
    uint32_t depth = budget < SPEC_INDEX_MAX_DEPTH ? budget + 1 : SPEC_INDEX_MAX_DEPTH;
    return spec_index_new(out, &(spec_index_options){.size = sizeof(spec_index_options), .depth = depth});
}

/* How many of next[0..n) can be copied after `last` out of x. */
static size_t copied(const spec_index *x, spec_token last, const spec_token *next, size_t n) {
    if (!x) return 0;
    spec_locus at = spec_index_find(x, &last, 1);
    size_t k = 0;
    while (k < n && at.count && (at = spec_index_child(x, at, next[k])).count) k++;
    return k;
}

static int run_steps(limiter *l, const trace_request *q) {
    for (size_t at = 0; at < q->n_response;) {
        const spec_token *next = q->response + at;
        size_t left = q->n_response - at, most = left < l->budget ? left : l->budget, k = 0;
        bool has_last = at || q->n_prompt;
        spec_token last = at ? next[-1] : has_last ? q->prompt[q->n_prompt - 1] : 0;
        for (size_t i = 0; i < N_PLACES && has_last; i++) {
            size_t here = copied(l->place[i], last, next, most);
            if (here > k) k = here;
        }
        size_t taken = k < left ? k + 1 : k;
        int rc = spec_index_append(l->own, l->own_seq, next, taken);
        if (rc != SPEC_OK) return rc;
        at += taken;
        l->out->steps++;
        l->out->out += taken;
    }
    return SPEC_OK;
}

static int run_request(limiter *l, const trace_request *q) {
    int rc = new_index(&l->own, l->budget);
    if (rc != SPEC_OK) return rc;
    l->place[0] = l->own;
    rc = spec_index_begin(l->own, &l->own_seq);
    if (rc == SPEC_OK) rc = spec_index_append(l->own, l->own_seq, q->prompt, q->n_prompt);
    if (rc == SPEC_OK) rc = run_steps(l, q);
    spec_index_free(l->own);
    l->own = NULL;
    return rc;
}

/* The request's own index already offers its response while it runs, so the
 * shared one may get it afterwards. */
static int teach(spec_index *shared, const trace_request *q) {
    spec_seq seq;
    int rc = spec_index_begin(shared, &seq);
    if (rc == SPEC_OK) rc = spec_index_append(shared, seq, q->response, q->n_response);
    return rc == SPEC_OK ? spec_index_end(shared, seq) : rc;
}

static int run_all(limiter *l, const trace *t, const hindsight_options *o) {
    int rc = SPEC_OK;
    for (size_t w = 0; w < o->n_warm && o->shared; w++)
        for (size_t i = 0; i < o->warm[w].n && rc == SPEC_OK; i++) rc = teach(l->shared, &o->warm[w].req[i]);
    for (size_t i = 0; i < t->n && rc == SPEC_OK; i++) {
        rc = run_request(l, &t->req[i]);
        if (rc == SPEC_OK && o->shared) rc = teach(l->shared, &t->req[i]);
    }
    return rc;
}

int hindsight_run(hindsight *out, const trace *t, const hindsight_options *o) {
    limiter l = {.budget = o->budget, .out = out};
    *out = (hindsight){0};
    int rc = o->shared ? new_index(&l.shared, o->budget) : SPEC_OK;
    l.place[1] = l.shared;
    l.place[2] = o->corpus;
    if (rc == SPEC_OK) rc = run_all(&l, t, o);
    spec_index_free(l.shared);
    out->limit = out->steps ? (double)out->out / (double)out->steps : NAN;
    return rc;
}
