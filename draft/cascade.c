/* SPDX-License-Identifier: MIT */
/*
 * cascade: one drafter's draft, or another's where the first expects little.
 *
 *     a drafts  --> sum of its nodes' probabilities >= tau --> a's draft
 *                       |
 *                       +-- below --> b drafts anew       --> b's draft
 *
 * The probability of a node is that of its whole path, so the sum is the number of
 * accepted tokens that a expects. A draft that was sampled (has q rows) is kept in
 * any case: to give it up because of what was drawn would change the law of what is
 * drawn, and verification relies on that law.
 *
 * Only the drafter of what was verified sees it as a draft; see parts.c.
 */
#include "parts.h"

#include <string.h>

typedef struct cascade {
    specp_parts parts;
    double tau;
} cascade;

enum { FIRST, SECOND, NOBODY };

typedef struct cascade_request {
    specp_parts_request parts;
    int drafted; /* whose the present draft is */
} cascade_request;

/* ---- drafting ------------------------------------------------------------ */

static bool keeps(const cascade *c, const spec_tree *t) {
    double expected = 0;
    for (uint32_t i = 0; i < t->n; i++) expected += (double)t->prob[i];
    return (t->n && t->n_q) || expected >= c->tau;
}

/* Room for a call of spec_request_propose_batch. */
typedef struct batch {
    spec_request **request;
    spec_propose_args *args;
    spec_tree **tree;
    size_t n;
} batch;

/* Asks one part for the batch. */
static int ask(batch *b) {
    return spec_request_propose_batch((spec_request *const *)b->request, b->args, (spec_tree *const *)b->tree,
                                      b->n);
}

static int propose_all(const cascade *c, void *const *state, const spec_propose_args *a,
                       spec_tree *const *out, size_t n, batch *b) {
    for (int k = FIRST; k <= SECOND; k++) {
        b->n = 0;
        for (size_t i = 0; i < n; i++) {
            cascade_request *r = state[i];
            if (k == FIRST) r->drafted = specp_parts_even(&c->parts, &r->parts) ? FIRST : NOBODY;
            if (k == SECOND && r->drafted == FIRST && !keeps(c, out[i])) r->drafted = SECOND;
            if (r->drafted != k) continue;
            b->request[b->n] = r->parts.of[k];
            b->args[b->n] = a[i];
            b->args[b->n].min_prob = 0; /* all that a part expects counts for the choice */
            b->tree[b->n++] = out[i];
        }
        int err = ask(b);
        if (err) return err;
    }
    return SPEC_OK;
}

static int cascade_propose(void *self, void *state, const spec_propose_args *a, spec_tree *out) {
    spec_request *request;
    spec_propose_args args;
    spec_tree *tree;
    batch b = {&request, &args, &tree, 0};
    return propose_all(self, &state, a, &out, 1, &b);
}

static int cascade_propose_batch(void *self, void *const *state, const spec_propose_args *a,
                                 spec_tree *const *out, size_t n) {
    cascade *c = self;
    const spec_allocator *alloc = &c->parts.alloc;
    batch b = {specp_alloc(alloc, n, sizeof *b.request), specp_alloc(alloc, n, sizeof *b.args),
               specp_alloc(alloc, n, sizeof *b.tree), 0};
    int err = b.request && b.args && b.tree ? propose_all(c, state, a, out, n, &b) : SPEC_ERR_NOMEM;
    specp_release(alloc, b.request, n, sizeof *b.request);
    specp_release(alloc, b.args, n, sizeof *b.args);
    specp_release(alloc, b.tree, n, sizeof *b.tree);
    return err;
}

/* ---- requests ------------------------------------------------------------ */

static int cascade_begin(void *self, const spec_request_info *info, void **state) {
    cascade *c = self;
    cascade_request *r = specp_calloc(&c->parts.alloc, 1, sizeof *r);
    if (!r) return SPEC_ERR_NOMEM;
    int err = specp_parts_begin(&c->parts, info, &r->parts);
    if (err)
        specp_release(&c->parts.alloc, r, 1, sizeof *r);
    else
        *state = r;
    return err;
}

static int cascade_observe(void *self, void *state, const spec_outcome *o) {
    cascade *c = self;
    cascade_request *r = state;
    const spec_tree *own[SPECP_MAX_PARTS] = {NULL};
    if (r->drafted != NOBODY) own[r->drafted] = o->tree;
    return specp_parts_observe(&c->parts, &r->parts, o, own);
}

static void cascade_end(void *self, void *state) {
    cascade *c = self;
    cascade_request *r = state;
    specp_parts_end(&c->parts, &r->parts);
    specp_release(&c->parts.alloc, r, 1, sizeof *r);
}

/* ---- the drafter ----------------------------------------------------------- */

static int cascade_save(void *self, uint64_t tenant, const char *path, spec_message *why) {
    return specp_parts_save(&((cascade *)self)->parts, tenant, path, why);
}

static void cascade_needs(void *self, spec_needs *out) { *out = ((cascade *)self)->parts.needs; }

static void cascade_stats(void *self, spec_drafter_stats *out) {
    specp_parts_stats(&((cascade *)self)->parts, out);
}

static void cascade_free(void *self) {
    cascade *c = self;
    spec_allocator inner = c->parts.account.inner;
    specp_parts_close(&c->parts);
    specp_release(&inner, c, 1, sizeof *c);
}

const char specp_cascade_help[] =
    "cascade: cascade:A>B,tau=T drafts by A, or by B where A expects to have fewer\n"
    "  than T tokens accepted (the sum of its nodes' probabilities). A and B are\n"
    "  drafters with their options; one that is a union or cascade itself, or has\n"
    "  one of > ( ) in a file's name, stands in parentheses:\n"
    "  cascade:(union:suffix+pld)>ngram-cache:len=8,tau=1.5. A sampled draft of A's\n"
    "  is kept in any case. Without A>B: suffix>ngram-cache.\n"
    "  tau=T       0..4096, written last (default 1)\n";

int specp_cascade_of(spec_drafter **out, spec_drafter *const d[2], double tau, const spec_allocator *alloc) {
    static const spec_drafter_ops ops = {.version = SPEC_DRAFTER_OPS_V1,
                                         .name = "cascade",
                                         .begin = cascade_begin,
                                         .propose = cascade_propose,
                                         .propose_batch = cascade_propose_batch,
                                         .observe = cascade_observe,
                                         .end = cascade_end,
                                         .save = cascade_save,
                                         .needs = cascade_needs,
                                         .stats = cascade_stats,
                                         .free = cascade_free};
    cascade *c = specp_calloc(alloc, 1, sizeof *c);
    int err = c ? specp_parts_init(&c->parts, d, 2, alloc) : SPEC_ERR_NOMEM;
    if (!err) {
        c->tau = tau;
        err = spec_drafter_new(out, &ops, c, alloc);
        if (!err) return SPEC_OK;
        specp_parts_release(&c->parts);
    }
    specp_release(alloc, c, 1, sizeof *c);
    return err;
}

int specp_cascade_open(spec_drafter **out, const char *options, const spec_drafter_env *env,
                       const spec_allocator *alloc, spec_message *why) {
    static const specp_option table[] = {{.key = "tau", .type = SPECP_OPT_REAL, .min = 0, .max = 4096}};
    const char *text = *options ? options : "suffix>ngram-cache";
    size_t n, whole = strlen(text), len = specp_parts_find(text, whole, ",tau=");
    double tau = 1;
    spec_drafter *d[2];
    int err = specp_options_parse("cascade", len < whole ? text + len + 1 : "", table, 1, &tau, why);
    if (!err) err = specp_parts_open(d, &n, "cascade", text, len, '>', 2, 2, env, alloc, why);
    if (err) return err;
    err = specp_cascade_of(out, d, tau, alloc);
    if (!err) return SPEC_OK;
    while (n) spec_drafter_free(d[--n]);
    return specp_fail(why, err, "drafter cascade: %s", spec_strerror(err));
}
