/* SPDX-License-Identifier: MIT */
/*
 * mix:with=A or mix:with=(A+B): the drafter mix, to which other drafters' drafts are evidence like any match.
 *
 *     A, B draft         their trees are laid beside the indexes: at each node of mix's own tree their
 *     mix weighs all     children become candidates, with what A and B say of them as further
 *     one tree           inputs, trusted as far as they have been right
 *
 * The parts hang together as in union: part 0 is mix itself, which is told of every outcome as if the
 * tree were its own, as it is. Drafts are taken as deterministic: no part is lent room for q rows.
 * The caller's min_prob goes to the parts as well, so that one that takes time may stop early.
 */
#include "mix_parts.h"

#include <string.h>

#include "mix_model.h"
#include "parts.h"

typedef struct fed_request {
    specp_parts_request parts;
    spec_tree draft[MIX_PARTS]; /* of part 1 + i */
} fed_request;

/* ---- drafting ------------------------------------------------------------------ */

/* Empties the request's trees and gives each at least `nodes` of room. */
static int reserve(const specp_parts *p, fed_request *r, uint32_t nodes) {
    for (size_t k = 1; k < p->n; k++) {
        int err = specp_parts_room(p, &r->draft[k - 1], nodes);
        if (err) return err;
    }
    return SPEC_OK;
}

/* Asks the others for their drafts; request[] and tree[] have room for n. */
static int ask_others(const specp_parts *p, void *const *state, const spec_propose_args *a, size_t n,
                      spec_request **request, spec_tree **tree) {
    int err = SPEC_OK;
    for (size_t i = 0; !err && i < n; i++) err = reserve(p, state[i], a[i].budget);
    for (size_t k = 1; !err && k < p->n; k++) {
        for (size_t i = 0; i < n; i++) {
            fed_request *r = state[i];
            request[i] = r->parts.of[k];
            tree[i] = &r->draft[k - 1];
        }
        err = spec_request_propose_batch((spec_request *const *)request, a, (spec_tree *const *)tree, n);
    }
    return err;
}

static int propose_one(const specp_parts *p, fed_request *r, const spec_propose_args *a, spec_tree *out) {
    const spec_tree *draft[MIX_PARTS];
    for (size_t k = 1; k < p->n; k++) draft[k - 1] = &r->draft[k - 1];
    if (!specp_parts_even(p, &r->parts)) return SPEC_OK;
    return specp_mix_propose_with(specp_drafter_self(p->part[0].d), specp_request_state(r->parts.of[0]), a,
                                  draft, p->n - 1, out);
}

static int propose_all(const specp_parts *p, void *const *state, const spec_propose_args *a,
                       spec_tree *const *out, size_t n, spec_request **request, spec_tree **tree) {
    int err = ask_others(p, state, a, n, request, tree);
    for (size_t i = 0; !err && i < n; i++) err = propose_one(p, state[i], &a[i], out[i]);
    return err;
}

static int fed_propose(void *self, void *state, const spec_propose_args *a, spec_tree *out) {
    spec_request *request;
    spec_tree *tree;
    return propose_all(self, &state, a, &out, 1, &request, &tree);
}

static int fed_propose_batch(void *self, void *const *state, const spec_propose_args *a,
                             spec_tree *const *out, size_t n) {
    const specp_parts *p = self;
    spec_request **request = specp_alloc(&p->alloc, n, sizeof *request);
    spec_tree **tree = specp_alloc(&p->alloc, n, sizeof *tree);
    int err = request && tree ? propose_all(p, state, a, out, n, request, tree) : SPEC_ERR_NOMEM;
    specp_release(&p->alloc, request, n, sizeof *request);
    specp_release(&p->alloc, tree, n, sizeof *tree);
    return err;
}

/* ---- requests -------------------------------------------------------------------- */

static int fed_begin(void *self, const spec_request_info *info, void **state) {
    specp_parts *p = self;
    fed_request *r = specp_calloc(&p->alloc, 1, sizeof *r);
    if (!r) return SPEC_ERR_NOMEM;
    int err = specp_parts_begin(p, info, &r->parts);
    if (err)
        specp_release(&p->alloc, r, 1, sizeof *r);
    else
        *state = r;
    return err;
}

static int fed_observe(void *self, void *state, const spec_outcome *o) {
    specp_parts *p = self;
    fed_request *r = state;
    const spec_tree *own[SPECP_MAX_PARTS] = {o->tree};
    for (size_t k = 1; k < p->n; k++) own[k] = &r->draft[k - 1];
    return specp_parts_observe(p, &r->parts, o, own);
}

static void fed_end(void *self, void *state) {
    specp_parts *p = self;
    fed_request *r = state;
    specp_parts_end(p, &r->parts);
    for (size_t k = 1; k < p->n; k++) spec_tree_release(&r->draft[k - 1], &p->alloc);
    specp_release(&p->alloc, r, 1, sizeof *r);
}

/* ---- the drafter ------------------------------------------------------------------- */

static int fed_save(void *self, uint64_t tenant, const char *path, spec_message *why) {
    specp_parts *p = self;
    return spec_drafter_save(p->part[0].d, tenant, path, why);
}

/* Drafts are deterministic: what the parts would need for others is not asked for. */
static void fed_needs(void *self, spec_needs *out) {
    *out = ((specp_parts *)self)->needs;
    out->q_rows = 0;
}

static void fed_stats(void *self, spec_drafter_stats *out) { specp_parts_stats(self, out); }

static void fed_free(void *self) {
    specp_parts *p = self;
    spec_allocator inner = p->account.inner;
    specp_parts_close(p);
    specp_release(&inner, p, 1, sizeof *p);
}

static int fed_of(spec_drafter **out, spec_drafter *const *d, size_t n, const spec_allocator *alloc) {
    static const spec_drafter_ops ops = {.version = SPEC_DRAFTER_OPS_V1,
                                         .name = "mix",
                                         .begin = fed_begin,
                                         .propose = fed_propose,
                                         .propose_batch = fed_propose_batch,
                                         .observe = fed_observe,
                                         .end = fed_end,
                                         .save = fed_save,
                                         .needs = fed_needs,
                                         .stats = fed_stats,
                                         .free = fed_free};
    specp_parts *p = specp_calloc(alloc, 1, sizeof *p);
    int err = p ? specp_parts_init(p, d, n, alloc) : SPEC_ERR_NOMEM;
    if (!err) {
        err = spec_drafter_new(out, &ops, p, alloc);
        if (!err) return SPEC_OK;
        specp_parts_release(p);
    }
    specp_release(alloc, p, 1, sizeof *p);
    return err;
}

/* ---- opening ------------------------------------------------------------------------ */

/* The options without with=, in fresh memory of len + 1 bytes. */
static char *other_options(const char *text, size_t len, size_t from, size_t to,
                           const spec_allocator *alloc) {
    char *rest = specp_alloc(alloc, len + 1, 1);
    if (!rest) return NULL;
    if (to < len)
        to++; /* the comma behind it */
    else
        from -= from > 0; /* or that before it */
    memcpy(rest, text, from);
    memcpy(rest + from, text + to, len - to + 1);
    return rest;
}

/* Opens mix and what feeds it. with: what stands behind "with=". */
static int open_fed(spec_drafter **out, const char *options, const char *with, size_t len,
                    const spec_drafter_env *env, const spec_allocator *alloc, spec_message *why) {
    spec_drafter *d[1 + MIX_PARTS];
    size_t n;
    bool enclosed = len > 1 && with[0] == '(' && specp_parts_find(with + 1, len - 1, ")") == len - 2;
    if (enclosed) with++, len -= 2;
    int err = specp_parts_open(d + 1, &n, "mix", with, len, '+', 1, MIX_PARTS, env, alloc, why);
    if (err) return err;
    err = specp_mix_core_open(&d[0], options, alloc, why);
    if (!err) {
        err = fed_of(out, d, n + 1, alloc);
        if (!err) return SPEC_OK;
        specp_fail(why, err, "drafter mix: %s", spec_strerror(err));
        spec_drafter_free(d[0]);
    }
    while (n) spec_drafter_free(d[n--]);
    return err;
}

/* Where "with=" begins, or the comma before it; len if nowhere. */
static size_t find_with(const char *options, size_t len) {
    return strncmp(options, "with=", 5) == 0 ? 0 : specp_parts_find(options, len, ",with=");
}

int specp_mix_open(spec_drafter **out, const char *options, const spec_drafter_env *env,
                   const spec_allocator *alloc, spec_message *why) {
    const size_t len = strlen(options), at = find_with(options, len);
    if (at == len) return specp_mix_core_open(out, options, alloc, why);
    size_t from = at + (options[at] == ','), with = from + 5;
    size_t to = with + specp_parts_find(options + with, len - with, ",");
    char *rest = other_options(options, len, from, to, alloc);
    if (!rest) return specp_fail(why, SPEC_ERR_NOMEM, "drafter mix: out of memory");
    int err = open_fed(out, rest, options + with, to - with, env, alloc, why);
    specp_release(alloc, rest, len + 1, 1);
    return err;
}
