/* SPDX-License-Identifier: MIT */
/*
 * The suffix drafter: SuffixDecoding (Oliaro et al., arXiv 2411.04975).
 *
 *     request   prompt, response  -->  own index      this request alone, no lock
 *                        \
 *                         response -->  shared index  one for each tenant
 *
 * suffix_draft.c chooses what to continue, suffix_expand.c drafts it,
 * suffix_shared.c keeps the shared indexes, suffix_options.c has the options.
 */
#include <string.h>

#include "suffix_internal.h"

/* ---- requests --------------------------------------------------------- */

void specp_suffix_release(suffix_drafter *d, suffix_request *r) {
    specp_suffix_leave(d, r);
    spec_index_free(r->own);
    specp_text_release(&r->tail, &d->shell.alloc);
    specp_text_release(&r->pending, &d->shell.alloc);
}

static int make_own(suffix_drafter *d, suffix_request *r, const spec_request_info *info) {
    if (!d->options.own) return SPEC_OK;
    spec_index_options o = {.size = sizeof o, .depth = (uint32_t)d->options.depth, .alloc = d->shell.alloc};
    int err = spec_index_new(&r->own, &o);
    if (!err) err = spec_index_begin(r->own, &r->own_seq);
    if (!err) err = spec_index_append(r->own, r->own_seq, info->prompt, info->n_prompt);
    return err;
}

/* Makes room in r->tail for n more tokens and forgets old ones. */
static int tail_reserve(suffix_drafter *d, suffix_request *r, size_t n) {
    size_t keep = (size_t)d->options.depth;
    specp_text *t = &r->tail;
    if (t->n + n > t->cap && t->n > keep) {
        memmove(t->tok, t->tok + t->n - keep, keep * sizeof *t->tok);
        t->n = keep;
    }
    return specp_text_reserve(t, n, &d->shell.alloc);
}

static int take_prompt(suffix_drafter *d, suffix_request *r, const spec_token *prompt, size_t n) {
    size_t keep = n < (size_t)d->options.depth ? n : (size_t)d->options.depth;
    int err = tail_reserve(d, r, 4 * (size_t)d->options.depth);
    if (err) return err;
    specp_text_add(&r->tail, n ? prompt + n - keep : prompt, keep);
    r->n_text = n;
    return SPEC_OK;
}

int specp_suffix_init(suffix_drafter *d, suffix_request *r, const spec_request_info *info) {
    int err = make_own(d, r, info);
    if (!err) err = take_prompt(d, r, info->prompt, info->n_prompt);
    if (!err) err = specp_suffix_join(d, r, info->tenant);
    return err;
}

int specp_suffix_reserve(suffix_drafter *d, suffix_request *r, size_t n) {
    int err = tail_reserve(d, r, n);
    if (!err && r->shared && !r->to.gone) err = specp_text_reserve(&r->pending, n, &d->shell.alloc);
    return err;
}

int specp_suffix_add(suffix_request *r, const spec_token *tok, size_t n) {
    int err = r->own ? spec_index_append(r->own, r->own_seq, tok, n) : SPEC_OK;
    if (err) return err;
    specp_text_add(&r->tail, tok, n);
    r->n_text += n;
    r->n_response += n;
    if (r->shared && !r->to.gone) specp_text_add(&r->pending, tok, n);
    return SPEC_OK;
}

void specp_suffix_take_back(suffix_request *r, size_t n) {
    if (r->own) (void)spec_index_truncate(r->own, r->own_seq, n);
    r->tail.n -= n;
    r->n_text -= n;
    r->n_response -= n;
    if (r->shared && !r->to.gone) r->pending.n -= n;
}

static void request_free(suffix_drafter *d, suffix_request *r) {
    const size_t nodes = (size_t)d->options.nodes;
    specp_suffix_release(d, r);
    specp_release(&d->shell.alloc, r->heap, 2 * nodes, sizeof *r->heap);
    spec_tree_release(&r->trial, &d->shell.alloc);
    specp_release(&d->shell.alloc, r, 1, sizeof *r);
}

static int suffix_begin(void *self, const spec_request_info *info, void **state) {
    suffix_drafter *d = self;
    const size_t nodes = (size_t)d->options.nodes;
    suffix_request *r = specp_calloc(&d->shell.alloc, 1, sizeof *r);
    if (!r) return SPEC_ERR_NOMEM;
    int err = spec_tree_init(&r->trial, (uint32_t)nodes, 0, 0, &d->shell.alloc);
    if (!err && !(r->heap = specp_alloc(&d->shell.alloc, 2 * nodes, sizeof *r->heap))) err = SPEC_ERR_NOMEM;
    if (!err) err = specp_suffix_init(d, r, info);
    if (err) {
        request_free(d, r);
        return err;
    }
    *state = r;
    return SPEC_OK;
}

static int suffix_observe(void *self, void *state, const spec_outcome *o) {
    suffix_drafter *d = self;
    int err = specp_suffix_reserve(d, state, o->n_committed);
    if (!err) err = specp_suffix_add(state, o->committed, o->n_committed);
    if (!err && !d->options.at_end) specp_suffix_teach(d, state, false);
    return err;
}

static void suffix_end(void *self, void *state) { request_free(self, state); }

/* ---- the drafter ------------------------------------------------------ */

void specp_suffix_stats(void *self, spec_drafter_stats *out) {
    suffix_drafter *d = self;
    specp_suffix_shared_stats(d, out);
    specp_shell_stats(d, out);
}

void specp_suffix_close(suffix_drafter *d) {
    specp_tenants_destroy(&d->tenants);
    spec_index_free(d->corpus);
}

static void suffix_free(void *self) {
    specp_suffix_close(self);
    specp_shell_free(self);
}

static int load_corpus(suffix_drafter *d, spec_message *why) {
    suffix_options *o = &d->options;
    if (!o->corpus[0]) return SPEC_OK;
    spec_index_load_options load = {.size = sizeof load,
                                    .trust = o->trust,
                                    .alloc = d->shell.alloc,
                                    .memory_limit = (size_t)o->memory_mb << 20,
                                    .evict = (spec_evict)o->evict};
    int err = spec_index_load(&d->corpus, o->corpus, &load, why);
    if (err) return err;
    spec_index_stats stats;
    err = spec_index_get_stats(d->corpus, &stats);
    d->corpus_id = stats.snapshot_id;
    o->depth = stats.depth; /* the request's own index goes as deep */
    if (o->depth < 2)
        err = specp_fail(why, SPEC_ERR_INVALID, "%s: depth %d, expected 2 or more", o->corpus, (int)o->depth);
    return err;
}

/* With shared=0 there are none. */
static int make_tenants(suffix_drafter *d, spec_message *why) {
    const suffix_options *o = &d->options;
    if (!o->shared) return SPEC_OK;
    d->tenants = (specp_tenants){&d->shell, specp_suffix_make, specp_suffix_drop, o->cross_tenant,
                                 .max = (size_t)o->tenants};
    int err = specp_tenants_init(&d->tenants);
    return err ? specp_fail(why, err, "drafter %s: %s", d->name, spec_strerror(err)) : SPEC_OK;
}

static const spec_drafter_ops suffix_ops = {
    .version = SPEC_DRAFTER_OPS_V1,
    .name = "suffix",
    .begin = suffix_begin,
    .propose = specp_suffix_propose,
    .observe = suffix_observe,
    .end = suffix_end,
    .save = specp_suffix_save,
    .stats = specp_suffix_stats,
    .free = suffix_free,
};

int specp_suffix_prepare(suffix_drafter *d, spec_message *why) {
    int err = load_corpus(d, why);
    if (!err) err = make_tenants(d, why);
    d->longest = specp_suffix_longest(&d->options);
    return err;
}

int specp_suffix_open(spec_drafter **out, const char *options, const spec_allocator *alloc,
                      spec_message *why) {
    suffix_options o;
    int err = specp_suffix_parse(&o, options, why);
    if (err) return err;
    suffix_drafter *d = specp_shell_new(sizeof *d, alloc);
    if (!d) return specp_drafter_of(out, &suffix_ops, NULL, alloc, why);
    d->name = "suffix";
    d->options = o;
    err = specp_suffix_prepare(d, why);
    if (err) {
        suffix_free(d);
        return err;
    }
    return specp_drafter_of(out, &suffix_ops, d, alloc, why);
}
