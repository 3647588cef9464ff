/* SPDX-License-Identifier: MIT */
/*
 * Measuring forward passes.
 *
 *     fill one sequence, copy its prefixes:   context 64:   s0 s1 ... (most batch)
 *                                             context 1024: s0 s1 ...
 *     round 0 (unmeasured), 1, 2, ...:  each cell in turn, the prompt, the limits
 *
 * A pass feeds the last committed token and a tree of N - 1 drafted ones to each
 * sequence of the batch, accepts nothing, and cuts the sequence back. The tree is
 * a trunk with one leaf beside each of its nodes:
 *
 *     root - 0 - 2 - 4 - ...
 *         \ 1 \ 3 \ 5
 */
#include "profile.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "peak.h"
#include "speed.h"
#include "util.h"

#define VISIT_NS       10000000 /* short passes are repeated for this long */
#define VISIT_MOST     16
#define PREFILL_ROUNDS 3
#define FILL_PIECE     256
#define READ_LEAST     ((size_t)1 << 20)
#define READ_MOST      ((size_t)1 << 30)

typedef struct bench_state {
    profile *p;
    spec_target *t;
    spec_message *why;
    spec_target_info info;
    size_t n_sets, max_batch;
    spec_sequence **set;   /* (contexts, max_batch) */
    spec_sequence *prompt; /* for the prefill */
    spec_token *token;     /* (n_tokens) random */
    size_t n_tokens;
    spec_tree tree;
    spec_forward_item *item; /* (max_batch) */
    specp_team *team;        /* for the limits */
    uint8_t *buffer;         /* (p->read_bytes) */
} bench_state;

static size_t largest(const profile_list *l) {
    size_t most = 0;
    for (size_t i = 0; i < l->n; i++)
        if (l->item[i] > most) most = l->item[i];
    return most;
}

size_t profile_context(const profile *p) { return largest(&p->contexts) + largest(&p->sizes); }

const profile_cell *profile_at(const profile *p, size_t context, size_t batch, size_t size) {
    return &p->cell[(context * p->batches.n + batch) * p->sizes.n + size];
}

/* ---- times --------------------------------------------------------------- */

static int times_add(profile_times *t, double seconds) {
    double *grown = bench_grow(t->seconds, &t->cap, t->n + 1, sizeof *grown);
    if (!grown) return SPEC_ERR_NOMEM;
    t->seconds = grown;
    t->seconds[t->n++] = seconds;
    return SPEC_OK;
}

static void times_finish(profile_times *t) {
    t->median = t->low = t->high = NAN;
    if (!t->n) return;
    t->median = speed_quantile(t->seconds, t->n, 0.5);
    t->low = t->seconds[0];
    t->high = t->seconds[t->n - 1];
}

void profile_release(profile *p) {
    for (size_t i = 0; i < p->n_cells; i++) free(p->cell[i].times.seconds);
    free(p->cell);
    free(p->prefill.seconds);
    memset(p, 0, sizeof *p);
}

/* ---- sequences ----------------------------------------------------------- */

static int fill(const bench_state *b, spec_sequence *s, size_t n) {
    spec_forward_args args = {.size = sizeof args, .no_logits = 1};
    spec_forward_out out;
    int rc = SPEC_OK;
    for (size_t at = 0; at < n && rc == SPEC_OK; at += FILL_PIECE) {
        size_t piece = n - at < FILL_PIECE ? n - at : FILL_PIECE;
        spec_forward_item item = {.sequence = s, .tokens = b->token + at, .n_tokens = piece};
        rc = spec_target_forward(b->t, &item, 1, &args, &out, b->why);
    }
    return rc;
}

static int make_set(bench_state *b, size_t context, const spec_sequence *longest) {
    for (size_t i = 0; i < b->max_batch; i++) {
        spec_sequence **s = &b->set[b->n_sets];
        int rc = spec_sequence_new(s, b->t, 0);
        if (rc == SPEC_OK) b->n_sets++;
        if (rc == SPEC_OK) rc = spec_sequence_copy(*s, longest, context);
        if (rc != SPEC_OK)
            return specp_fail(b->why, rc, "sequences of %zu tokens, batch %zu: %s", context, b->max_batch,
                              spec_strerror(rc));
    }
    return SPEC_OK;
}

static int make_sequences(bench_state *b) {
    const profile_list *contexts = &b->p->contexts;
    spec_sequence *longest = NULL;
    int rc = spec_sequence_new(&longest, b->t, 0);
    if (rc == SPEC_OK) rc = spec_sequence_new(&b->prompt, b->t, 0);
    if (rc == SPEC_OK) rc = fill(b, longest, largest(contexts));
    for (size_t i = 0; i < contexts->n && rc == SPEC_OK; i++) rc = make_set(b, contexts->item[i], longest);
    spec_sequence_free(longest);
    return rc;
}

/* ---- what a pass has to do ----------------------------------------------- */

/* Experts that at least one of the rows goes to, as a share of all. */
static double experts_share(const spec_target_info *i, double rows) {
    return 1 - pow(1 - (double)i->n_experts_used / (double)i->n_experts, rows);
}

static void work_of(const bench_state *b, profile_cell *c) {
    const spec_target_info *i = &b->info;
    double rows = (double)c->rows, integer = 0, real = 0;
    spec_kernel_use u;
    for (size_t k = 0; spec_target_kernel(b->t, k, &u) == SPEC_OK; k++) {
        bool experts = strncmp(u.operation, "experts_", 8) == 0, quantised = spec_type_block(u.type) > 1;
        /* of embeddings single rows are read; "prompts" are the matrices once more */
        if (strcmp(u.operation, "embedding") == 0 || strcmp(u.operation, "prompts") == 0) continue;
        double weights =
            (double)u.bytes / (double)spec_type_block_bytes(u.type) * (double)spec_type_block(u.type);
        double used = experts ? (double)i->n_experts_used / (double)i->n_experts : 1;
        c->bytes += (double)u.bytes * (experts ? experts_share(i, rows) : 1);
        *(quantised ? &integer : &real) += 2 * weights * used * rows;
    }
    c->bytes += (double)i->kv_bytes_per_token * (double)(c->context * c->batch);
    real += 4.0 * (double)(i->n_layers * i->n_heads * i->head_dim) * (double)c->context * rows;
    c->operations = integer + real;
    c->read_seconds = c->bytes / b->p->read_gbs / 1e9;
    c->multiply_seconds = (integer > 0 ? integer / b->p->int8_gops : 0) / 1e9 + real / b->p->float_gops / 1e9;
}

/* ---- measuring ----------------------------------------------------------- */

static void plant(spec_tree *t, size_t n_nodes, size_t vocab) {
    spec_tree_clear(t);
    for (int32_t i = 0; i < (int32_t)n_nodes; i++) {
        int32_t trunk = i < 2 ? -1 : (i & ~1) - 2;
        spec_tree_add(t, trunk, (spec_token)((size_t)i % vocab), 0.5f, SPEC_SOURCE_OTHER);
    }
}

/* One pass; seconds to *seconds. The sequences are as before. */
static int pass(const bench_state *b, spec_sequence *const *s, profile_cell *c, double *seconds) {
    spec_forward_out out;
    for (size_t i = 0; i < c->batch; i++)
        b->item[i] = (spec_forward_item){
            .sequence = s[i], .tokens = b->token + c->context, .n_tokens = 1, .tree = &b->tree};
    uint64_t start = bench_now_ns();
    int rc = spec_target_forward(b->t, b->item, c->batch, NULL, &out, b->why);
    *seconds = (double)(bench_now_ns() - start) / 1e9;
    if (rc == SPEC_OK) c->rows = out.n_rows;
    for (size_t i = 0; i < c->batch && rc == SPEC_OK; i++) rc = spec_sequence_truncate(s[i], c->context);
    return rc;
}

static int visit(bench_state *b, spec_sequence *const *s, profile_cell *c, bool measured) {
    double seconds = 0;
    int rc = SPEC_OK;
    plant(&b->tree, c->size - 1, b->info.vocab);
    uint64_t until = bench_now_ns() + VISIT_NS;
    for (int i = 0; rc == SPEC_OK && i < VISIT_MOST && (i == 0 || bench_now_ns() < until); i++) {
        rc = pass(b, s, c, &seconds);
        if (rc == SPEC_OK && measured) rc = times_add(&c->times, seconds);
    }
    return rc;
}

static int visit_prefill(bench_state *b, bool measured) {
    spec_forward_item item = {.sequence = b->prompt, .tokens = b->token, .n_tokens = PROFILE_PREFILL};
    spec_forward_out out;
    if (b->info.context < PROFILE_PREFILL) return SPEC_OK;
    uint64_t start = bench_now_ns();
    int rc = spec_target_forward(b->t, &item, 1, NULL, &out, b->why);
    double seconds = (double)(bench_now_ns() - start) / 1e9;
    if (rc == SPEC_OK) rc = spec_sequence_truncate(b->prompt, 0);
    return rc == SPEC_OK && measured ? times_add(&b->p->prefill, seconds) : rc;
}

static double better(double a, double b) { return isnan(a) || b > a ? b : a; }

static void visit_limits(bench_state *b) {
    profile *p = b->p;
    p->read_gbs = better(p->read_gbs, peak_read_gbs(b->team, b->buffer, p->read_bytes));
    p->float_gops = better(p->float_gops, peak_float_gops(b->team));
    p->int8_gops = better(p->int8_gops, peak_int8_gops(b->team));
}

static int run_round(bench_state *b, size_t round) {
    profile *p = b->p;
    size_t n_cells = p->batches.n * p->sizes.n; /* of a context */
    int rc = SPEC_OK;
    for (size_t i = 0; i < p->n_cells && rc == SPEC_OK; i++) {
        if (p->progress) p->progress(p->user, round, &p->cell[i]);
        rc = visit(b, b->set + i / n_cells * b->max_batch, &p->cell[i], round > 0);
    }
    if (rc == SPEC_OK && round <= PREFILL_ROUNDS) rc = visit_prefill(b, round > 0);
    if (rc == SPEC_OK) visit_limits(b);
    return rc;
}

/* ---- all of it ----------------------------------------------------------- */

static int make_cells(profile *p) {
    p->n_cells = p->contexts.n * p->batches.n * p->sizes.n;
    p->cell = specp_calloc(NULL, p->n_cells, sizeof *p->cell);
    if (!p->cell) return SPEC_ERR_NOMEM;
    for (size_t i = 0; i < p->n_cells; i++) {
        p->cell[i].size = p->sizes.item[i % p->sizes.n];
        p->cell[i].batch = p->batches.item[i / p->sizes.n % p->batches.n];
        p->cell[i].context = p->contexts.item[i / p->sizes.n / p->batches.n];
    }
    return SPEC_OK;
}

static int make_tokens(bench_state *b) {
    bench_rng r = {1};
    b->n_tokens = profile_context(b->p) + 1;
    if (b->n_tokens < PROFILE_PREFILL) b->n_tokens = PROFILE_PREFILL;
    b->token = specp_alloc(NULL, b->n_tokens, sizeof *b->token);
    if (!b->token) return SPEC_ERR_NOMEM;
    for (size_t i = 0; i < b->n_tokens; i++)
        b->token[i] = (spec_token)bench_rng_below(&r, (uint32_t)b->info.vocab);
    return SPEC_OK;
}

static int state_init(bench_state *b) {
    profile *p = b->p;
    size_t n_nodes = largest(&p->sizes);
    spec_target_get_info(b->t, &b->info);
    b->max_batch = largest(&p->batches);
    p->read_bytes = b->info.weight_bytes < READ_LEAST  ? READ_LEAST
                    : b->info.weight_bytes > READ_MOST ? READ_MOST
                                                       : b->info.weight_bytes;
    p->read_gbs = p->float_gops = p->int8_gops = NAN;
    b->set = specp_calloc(NULL, p->contexts.n * b->max_batch, sizeof *b->set);
    b->item = specp_calloc(NULL, b->max_batch, sizeof *b->item);
    b->buffer = specp_alloc(NULL, p->read_bytes, 1);
    if (!b->set || !b->item || !b->buffer) return SPEC_ERR_NOMEM;
    memset(b->buffer, 1, p->read_bytes); /* pages of their own: a page of zeros is shared */
    int rc = spec_tree_init(&b->tree, (uint32_t)n_nodes, 0, 0, NULL);
    if (rc == SPEC_OK) rc = specp_team_new(&b->team, b->info.threads, NULL);
    if (rc == SPEC_OK) rc = make_tokens(b);
    if (rc == SPEC_OK) rc = make_cells(p);
    return rc == SPEC_OK ? make_sequences(b) : rc;
}

static void state_release(bench_state *b) {
    for (size_t i = 0; i < b->n_sets; i++) spec_sequence_free(b->set[i]);
    spec_sequence_free(b->prompt);
    spec_tree_release(&b->tree, NULL);
    specp_team_free(b->team);
    free(b->set);
    free(b->item);
    free(b->token);
    free(b->buffer);
}

int profile_run(profile *p, spec_target *t, spec_message *why) {
    bench_state b = {.p = p, .t = t, .why = why, .info = {.size = sizeof b.info}};
    p->load = bench_load();
    int rc = state_init(&b);
    for (size_t round = 0; round <= p->repeats && rc == SPEC_OK; round++) rc = run_round(&b, round);
    for (size_t i = 0; i < p->n_cells && rc == SPEC_OK; i++) {
        times_finish(&p->cell[i].times);
        work_of(&b, &p->cell[i]);
    }
    times_finish(&p->prefill);
    state_release(&b);
    return rc;
}
