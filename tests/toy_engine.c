/* SPDX-License-Identifier: MIT */
/* A toy model and the decoding loop around it: toy_engine.h. */
#include "toy_engine.h"

#include <stdlib.h>
#include <string.h>

#include "spec_verify.h"

#define ORDER 3

/* ---- the model ------------------------------------------------------------ */

static uint64_t mix(uint64_t h, uint64_t x) {
    h = (h ^ x) * 0x9e3779b97f4a7c15u;
    return h ^ (h >> 29);
}

/* The choice after the last ORDER tokens, the latest in last[0]. */
static spec_token choose(const toy_model *m, const spec_token *last, size_t n) {
    uint64_t h = mix(m->seed, n);
    for (size_t i = 0; i < n; i++) h = mix(h, (uint64_t)last[i] + 1);
    return m->first + (spec_token)((h >> 32) % m->vocab);
}

/* The choice after text[0..n) and the path to a node of a tree (NULL, -1: none). */
static spec_token choose_at(const toy_model *m, const spec_token *text, size_t n, const spec_tree *t,
                            int32_t node) {
    spec_token last[ORDER];
    size_t k = 0;
    for (; node >= 0 && k < ORDER; node = t->parent[node]) last[k++] = t->token[node];
    while (k < ORDER && n > 0) last[k++] = text[--n];
    return choose(m, last, k);
}

spec_token toy_next(const toy_model *m, const spec_token *text, size_t n) {
    return choose_at(m, text, n, NULL, -1);
}

void toy_plain(const toy_model *m, spec_token *text, size_t n, size_t n_new) {
    for (size_t i = 0; i < n_new; i++) text[n + i] = toy_next(m, text, n + i);
}

void toy_argmax(const toy_model *m, const spec_token *text, size_t n, const spec_tree *t,
                spec_token *argmax) {
    for (int32_t i = -1; i < (int32_t)t->n; i++) argmax[i + 1] = choose_at(m, text, n, t, i);
}

/* ---- verifiers, right and wrong ---------------------------------------------- */

/* Whether a wrong verifier moves from node `at` to node i, looking for `want`. */
static bool moves(toy_verifier v, const spec_tree *t, int32_t at, uint32_t i, spec_token want) {
    bool child = t->parent[i] == at || v == TOY_ANY_PARENT;
    return child && (t->token[i] == want || v == TOY_ANY_TOKEN);
}

static size_t verify(toy_verifier v, const spec_tree *t, const spec_token *argmax, int32_t *path,
                     spec_token *next) {
    size_t n = 0;
    if (v == TOY_RIGHT) {
        assert_int_equal(spec_verify_greedy(t, argmax, path, &n, next), 0);
        return n;
    }
    int32_t at = -1;
    *next = argmax[0];
    for (uint32_t i = 0; i < t->n; i++) {
        if (!moves(v, t, at, i, *next)) continue;
        at = (int32_t)i;
        path[n++] = at;
        *next = v == TOY_ROW_BEFORE ? argmax[i] : argmax[i + 1];
    }
    return n;
}

/* ---- the loop ------------------------------------------------------------------ */

static void assert_draft(const toy_run *run, const spec_tree *t, size_t left) {
    spec_message why;
    if (spec_tree_check(t, &why)) fail_msg("draft: %s", why.text);
    for (uint32_t i = 0; i < t->n; i++) {
        assert_true(spec_tree_depth(t, (int32_t)i) < left);
        if (run->high) assert_in_range(t->token[i], run->low, run->high);
    }
}

typedef struct loop {
    const toy_model *m;
    spec_request *r;
    spec_tree tree;
    spec_token *text; /* what model and drafter see */
    size_t n, end;
    spec_token *out; /* what the user gets: the same, unless the verifier loses tokens */
    size_t n_out;
} loop;

static void emit(loop *l, const spec_token *tok, size_t n) {
    memcpy(l->out + l->n_out, tok, n * sizeof *tok);
    l->n_out += n;
}

/* One step: draft, verify, commit. */
static void step(loop *l, toy_run *run) {
    spec_token argmax[SPEC_TREE_MAX_NODES + 1], committed[SPEC_TREE_MAX_NODES + 1], next;
    int32_t path[SPEC_TREE_MAX_NODES];
    uint8_t accepted[SPEC_TREE_MAX_NODES] = {0};
    spec_propose_args args = {.size = sizeof args, .noise = {run->tenant, 1, l->n}};
    assert_int_equal(spec_request_propose(l->r, &args, &l->tree), 0);
    assert_draft(run, &l->tree, l->end - l->n);
    toy_argmax(l->m, l->text, l->n, &l->tree, argmax);
    size_t k = verify(run->verifier, &l->tree, argmax, path, &next);
    run->steps++;
    run->drafted += l->tree.n;
    run->accepted += k;
    for (size_t i = 0; i < k; i++) {
        committed[i] = l->tree.token[path[i]];
        accepted[path[i]] = 1;
    }
    committed[k++] = next;
    if (k > l->end - l->n) k = l->end - l->n; /* wrong verifiers run over */
    memcpy(l->text + l->n, committed, k * sizeof *committed);
    emit(l, committed, run->verifier == TOY_NO_BONUS && k > 1 ? k - 1 : k);
    l->n += k;
    spec_outcome o = {
        .size = sizeof o, .committed = committed, .n_committed = k, .tree = &l->tree, .accepted = accepted};
    assert_int_equal(spec_request_observe(l->r, &o), 0);
}

static void step_alone(loop *l) {
    l->text[l->n] = toy_next(l->m, l->text, l->n);
    assert_int_equal(spec_request_commit(l->r, l->text + l->n, 1), 0);
    emit(l, l->text + l->n++, 1);
}

void toy_decode(const toy_model *m, spec_drafter *d, toy_run *run, spec_token *text, size_t n, size_t n_new) {
    loop l = {.m = m, .text = text, .n = n, .end = n + n_new};
    spec_request_info info = {.size = sizeof info,
                              .tenant = run->tenant,
                              .prompt = text,
                              .n_prompt = n,
                              .max_new_tokens = n_new,
                              .reference = run->reference,
                              .n_reference = run->n_reference};
    l.out = calloc(n_new, sizeof *l.out);
    assert_non_null(l.out);
    assert_int_equal(spec_tree_init(&l.tree, run->budget ? run->budget : 16, 0, 0, run->alloc), 0);
    assert_int_equal(spec_request_begin(d, &info, &l.r), 0);
    while (l.n < l.end) {
        if (run->mix_calls && run->steps % 5 == 4) {
            run->steps++;
            step_alone(&l);
        } else {
            step(&l, run);
        }
    }
    assert_int_equal(l.n, l.end);
    memcpy(text + n, l.out, n_new * sizeof *text);
    free(l.out);
    spec_request_end(l.r);
    spec_tree_release(&l.tree, run->alloc);
}
