/* SPDX-License-Identifier: MIT */
/*
 * The drafter mix: SuffixDecoding's two indexes, with all matches weighed against each other by a
 * model that learns from every token, in place of one match chosen by its count.
 *
 *     request   text   -->  own index     --+
 *     tenant    index  -->  shared index  --+-->  mix_tree.c  -->  tree
 *               state  -->  mix_model.c   --+
 *
 * Indexes, texts and locks are the suffix drafter's: a tenant's state lies beside its shared index, and is
 * read and written under the same lock. Who finds others at it tries once more, before the next draft or
 * the next token; what was to be learnt is lost only then. A request without shared knowledge has a state
 * of its own.
 *
 * Tokens that are committed without a draft are learnt from as well: each is preceded by a look at what
 * the root would have offered.
 */
#include <string.h>

#include "mix_parts.h"
#include "mix_tree.h"
#include "suffix_internal.h"

typedef struct mix_drafter {
    suffix_drafter base;
    float min_prob;
    mix_tables tables;
    mix_state *priors;
} mix_drafter;

typedef struct mix_request {
    suffix_request base;
    mix_scratch scratch;
    mix_state *alone;   /* without shared knowledge */
    spec_token *lesson; /* (n_lesson) followed the root of the records; not learnt yet */
    size_t n_lesson, cap_lesson;
} mix_request;

/* ---- learning ------------------------------------------------------------ */

/* Learns what is to be learnt, unless others are at the state. */
static void learn(mix_drafter *d, mix_request *r) {
    knowledge *k = r->base.shared;
    if (!r->n_lesson || !r->scratch.n) return;
    if (k && !specp_suffix_write_try(k)) return;
    specp_mix_follow(&r->scratch, k ? k->mix : r->alone, &d->tables, r->lesson, r->n_lesson);
    if (k) specp_suffix_write_end(k);
    r->n_lesson = 0;
    r->scratch.n = 0;
}

/* ---- drafting ------------------------------------------------------------ */

typedef struct mix_view {
    mix_grow g;
    knowledge *held; /* its read lock; or NULL */
} mix_view;

/* What the indexes and the state say now; from here to view_end the knowledge stays as it is. */
static void view_begin(mix_drafter *d, mix_request *r, mix_view *v) {
    suffix_request *b = &r->base;
    *v = (mix_view){.held = b->shared};
    mix_grow *g = &v->g;
    g->tables = &d->tables;
    g->state = r->alone;
    g->last = b->tail.tok[b->tail.n - 1];
    if (b->own) {
        g->index[MIX_OWN] = b->own;
        g->at[MIX_OWN] = spec_index_tail(b->own, b->own_seq);
        g->n_own[MIX_OWN] = SIZE_MAX;
    }
    if (!v->held) return;
    specp_read_lock(&v->held->lock, &d->base.shell.wait);
    g->state = v->held->mix;
    g->index[MIX_SHARED] = v->held->index;
    g->at[MIX_SHARED] = specp_suffix_shared_match(&d->base, b);
    g->n_own[MIX_SHARED] = b->in_step ? b->n_response : 0;
}

/* Tells the shared index which text the draft came from: it is not what goes first (evict=lru). */
static void touch(const mix_view *v, const mix_record *root, const spec_tree *t) {
    if (!v->held || !root->len[MIX_SHARED]) return;
    for (uint32_t i = 0; i < t->n; i++) {
        if (t->source[i] != SPEC_SOURCE_SHARED) continue;
        spec_index_touch(v->held->index, root->class[MIX_SHARED][0].at);
        return;
    }
}

static void view_end(mix_view *v) {
    if (v->held) pthread_rwlock_unlock(&v->held->lock);
}

int specp_mix_propose_with(void *self, void *state, const spec_propose_args *a, const spec_tree *const *draft,
                           size_t n, spec_tree *out) {
    mix_drafter *d = self;
    mix_request *r = state;
    mix_view v;
    learn(d, r);
    r->n_lesson = 0;
    r->scratch.n = 0;
    if (r->base.n_text == 0) return SPEC_OK; /* without a last token there is no context */
    if (!d->base.options.at_end) specp_suffix_teach(&d->base, &r->base, false);
    view_begin(d, r, &v);
    for (size_t i = 0; i < n; i++) v.g.draft[i] = draft[i];
    v.g.n_drafts = (uint32_t)n;
    v.g.budget = a->budget;
    v.g.max_depth = a->max_depth;
    v.g.min_prob = a->min_prob > d->min_prob ? a->min_prob : d->min_prob;
    specp_mix_tree(&v.g, &r->scratch, out);
    touch(&v, &r->scratch.record[0], out);
    view_end(&v);
    specp_tree_prune(out, d->min_prob);
    return SPEC_OK;
}

static int mix_propose(void *self, void *state, const spec_propose_args *a, spec_tree *out) {
    return specp_mix_propose_with(self, state, a, NULL, 0, out);
}

/* ---- requests ------------------------------------------------------------ */

static void request_free(mix_drafter *d, mix_request *r) {
    const spec_allocator *alloc = &d->base.shell.alloc;
    specp_suffix_release(&d->base, &r->base);
    specp_mix_scratch_release(&r->scratch, alloc);
    specp_release(alloc, r->alone, 1, sizeof *r->alone);
    specp_release(alloc, r->lesson, r->cap_lesson, sizeof *r->lesson);
    specp_release(alloc, r, 1, sizeof *r);
}

static int state_alone(mix_drafter *d, mix_request *r) {
    if (r->base.shared) return SPEC_OK;
    r->alone = specp_alloc(&d->base.shell.alloc, 1, sizeof *r->alone);
    if (!r->alone) return SPEC_ERR_NOMEM;
    *r->alone = *d->priors;
    return SPEC_OK;
}

static int mix_begin(void *self, const spec_request_info *info, void **state) {
    mix_drafter *d = self;
    const spec_allocator *alloc = &d->base.shell.alloc;
    mix_request *r = specp_calloc(alloc, 1, sizeof *r);
    if (!r) return SPEC_ERR_NOMEM;
    int err = specp_mix_scratch_init(&r->scratch, (uint32_t)d->base.options.nodes, alloc);
    if (!err) err = specp_suffix_init(&d->base, &r->base, info);
    if (!err) err = state_alone(d, r);
    if (err) {
        request_free(d, r);
        return err;
    }
    *state = r;
    return SPEC_OK;
}

/* Keeps tokens that followed a draft, to be learnt from. */
static int note_lesson(mix_drafter *d, mix_request *r, const spec_token *tok, size_t n) {
    if (!r->scratch.n || !n) return SPEC_OK;
    if (n > r->cap_lesson) {
        spec_token *p = specp_resize(&d->base.shell.alloc, r->lesson, r->cap_lesson, n, sizeof *p);
        if (!p) return SPEC_ERR_NOMEM;
        r->lesson = p;
        r->cap_lesson = n;
    }
    memcpy(r->lesson, tok, n * sizeof *tok);
    return SPEC_OK;
}

static int observe_draft(mix_drafter *d, mix_request *r, const spec_outcome *o) {
    int err = note_lesson(d, r, o->committed, o->n_committed);
    if (!err) err = specp_suffix_add(&r->base, o->committed, o->n_committed);
    if (err) return err;
    r->n_lesson = o->n_committed;
    learn(d, r);
    return SPEC_OK;
}

/* Looks, learns and adds, token by token; on failure takes back what was added, though not what was learnt
 * of it. */
static int observe_text(mix_drafter *d, mix_request *r, const spec_outcome *o) {
    suffix_request *b = &r->base;
    mix_view v;
    for (size_t i = 0; i < o->n_committed; i++) {
        const spec_token *tok = o->committed + i;
        if (b->n_text) {
            learn(d, r); /* what is left of the token before: then others were at the state */
            view_begin(d, r, &v);
            specp_mix_look(&v.g, &r->scratch);
            view_end(&v);
        }
        int err = note_lesson(d, r, tok, 1);
        if (!err) err = specp_suffix_add(b, tok, 1);
        if (err) {
            r->scratch.n = 0; /* it was no draft */
            specp_suffix_take_back(b, i);
            return err;
        }
        r->n_lesson = 1;
        learn(d, r);
    }
    return SPEC_OK;
}

static int mix_observe(void *self, void *state, const spec_outcome *o) {
    mix_drafter *d = self;
    mix_request *r = state;
    if (!o->n_committed) return SPEC_OK;
    learn(d, r);
    bool drafted = r->scratch.n && !r->n_lesson;
    int err = specp_suffix_reserve(&d->base, &r->base, o->n_committed);
    if (!err) err = drafted ? observe_draft(d, r, o) : observe_text(d, r, o);
    if (!err && !d->base.options.at_end) specp_suffix_teach(&d->base, &r->base, false);
    return err;
}

static void mix_end(void *self, void *state) { request_free(self, state); }

/* ---- the drafter ---------------------------------------------------------- */

const char specp_mix_help[] =
    "mix: all matches of the text's end, in the request's own text and in other\n"
    "requests' responses, weighed by a model that learns from every token\n"
    "  nodes=N         nodes in a draft at most, 1..256 (default 64)\n"
    "  min_prob=P      no node less likely than P (default 0.0002)\n"
    "  with=A, with=(A+B)   one or two other drafters, whose drafts are weighed as\n"
    "                  well; one with options stands in parentheses\n"
    "  depth=D         longest match and draft together, 2..4096 (default 64;\n"
    "                  with corpus= that of the file)\n"
    "  own=0|1         match in the request's own prompt and response (default 1)\n"
    "  shared=0|1      match in other requests' responses, teach them, and share\n"
    "                  what the model learns (default 1)\n"
    "  learn=live|end  teach tokens at once, or when a request ends (default live)\n"
    "  memory_mb=N     limit of the shared index of a tenant; 0 = none (default 0)\n"
    "  max_requests=N  responses kept in it, the oldest go first; -1 = no limit\n"
    "                  (default -1)\n"
    "  evict=fifo|lru  whose response goes first when memory_mb is reached\n"
    "                  (default fifo)\n"
    "  tenants=N       tenants whose knowledge is kept (default 64)\n"
    "  cross_tenant=0|1   1 = all tenants share (default 0)\n"
    "  corpus=FILE     start the shared index from a snapshot (specbench corpus)\n"
    "  trust=0|1       do not verify the snapshot's checksums (default 0)\n"
    "  priors=FILE|none   what the model begins with: what a snapshot carries (default:\n"
    "                  what the corpus carries, or what is built in), or nothing\n"
    "  sure=N          how long the priors are believed, in updates, 0..1000\n"
    "                  (default 30; what a corpus carries: as it stands)\n";

static void mix_free(void *self) {
    mix_drafter *d = self;
    specp_suffix_close(&d->base);
    specp_release(&d->base.shell.alloc, d->priors, 1, sizeof *d->priors);
    specp_shell_free(d);
}

static const spec_drafter_ops mix_ops = {
    .version = SPEC_DRAFTER_OPS_V1,
    .name = "mix",
    .begin = mix_begin,
    .propose = mix_propose,
    .observe = mix_observe,
    .end = mix_end,
    .save = specp_suffix_save,
    .stats = specp_suffix_stats,
    .free = mix_free,
};

/* The state that a snapshot carries. */
static int load_priors(mix_drafter *d, const char *path, spec_message *why) {
    spec_index *x;
    spec_index_load_options load = {.size = sizeof load, .alloc = d->base.shell.alloc};
    int err = spec_index_load(&x, path, &load, why);
    if (err) return err;
    size_t n;
    const void *data = spec_index_attachment(x, &n);
    err = data ? specp_mix_state_read(d->priors, &d->tables, data, n, path, why)
               : specp_fail(why, SPEC_ERR_INVALID,
                            "%s: expected a snapshot saved by a mix drafter, found one "
                            "without learned state",
                            path);
    spec_index_free(x);
    return err;
}

/* What a tenant begins with: the priors asked for, or what the corpus carries, or those built in. */
static int make_priors(mix_drafter *d, spec_message *why) {
    const suffix_options *o = &d->base.options;
    d->priors = specp_alloc(&d->base.shell.alloc, 1, sizeof *d->priors);
    if (!d->priors) return specp_fail(why, SPEC_ERR_NOMEM, "drafter mix: out of memory");
    d->base.mix = d->priors;
    if (strcmp(o->priors, "none") == 0)
        specp_mix_start(d->priors, &d->tables);
    else
        specp_mix_taught(d->priors, &d->tables);
    size_t n = 0;
    const void *data = d->base.corpus ? spec_index_attachment(d->base.corpus, &n) : NULL;
    if (!o->priors[0] && data) return specp_mix_state_read(d->priors, &d->tables, data, n, o->corpus, why);
    if (strcmp(o->priors, "none") == 0) return SPEC_OK;
    int err = o->priors[0] ? load_priors(d, o->priors, why) : SPEC_OK;
    specp_mix_generalize(d->priors, &d->tables, (uint32_t)o->sure);
    return err;
}

int specp_mix_core_open(spec_drafter **out, const char *options, const spec_allocator *alloc,
                        spec_message *why) {
    suffix_options o;
    int err = specp_mix_parse(&o, options, why);
    if (err) return err;
    mix_drafter *d = specp_shell_new(sizeof *d, alloc);
    if (!d) return specp_drafter_of(out, &mix_ops, NULL, alloc, why);
    d->base.name = "mix";
    d->base.options = o;
    d->min_prob = (float)o.min_prob;
    specp_mix_tables(&d->tables);
    err = specp_suffix_prepare(&d->base, why);
    if (!err) err = make_priors(d, why);
    if (err) {
        mix_free(d);
        return err;
    }
    return specp_drafter_of(out, &mix_ops, d, alloc, why);
}
