/* SPDX-License-Identifier: MIT */
/* What is told in mix_world.h. */
#include "mix_world.h"

#include <string.h>

#define CAP 64

/* ---- texts --------------------------------------------------------------- */

static size_t phrase(const mix_source *s, uint32_t number, spec_token *tok) {
    support_rng r = support_rng_new(s->world, number);
    size_t n = 3 + support_rng_below(&r, 10);
    for (size_t i = 0; i < n; i++) tok[i] = (spec_token)support_rng_below(&r, s->vocab);
    return n;
}

void mix_text(const mix_source *s, support_rng *rng, spec_token *tok, size_t n) {
    for (size_t at = 0; at < n;) {
        spec_token p[12];
        double u = support_rng_unit(rng);
        size_t k = phrase(s, (uint32_t)(u * u * u * s->phrases), p);
        for (size_t i = 0; i < k && at < n; i++) {
            bool slip = s->noise && support_rng_below(rng, s->noise) == 0;
            tok[at++] = slip ? (spec_token)support_rng_below(rng, s->vocab) : p[i];
        }
    }
}

/* ---- decoding ------------------------------------------------------------ */

static void add(uint64_t *hash, const void *data, size_t n) {
    const unsigned char *p = data;
    for (size_t i = 0; i < n; i++) *hash = (*hash ^ p[i]) * 1099511628211u;
}

static void add_tree(uint64_t *hash, const spec_tree *t) {
    add(hash, &t->n, sizeof t->n);
    add(hash, t->token, t->n * sizeof *t->token);
    add(hash, t->parent, t->n * sizeof *t->parent);
    add(hash, t->prob, t->n * sizeof *t->prob);
    add(hash, t->source, t->n * sizeof *t->source);
    add(hash, &t->match_len, sizeof t->match_len);
}

void mix_begin(mix_run *m, spec_drafter *d, uint64_t tenant, const spec_token *tok, size_t n_prompt,
               size_t n) {
    *m = (mix_run){.tok = tok, .at = n_prompt, .n = n};
    m->r = drafting_begin(d, tenant, tok, n_prompt);
    drafting_tree(&m->tree, CAP);
}

void mix_end(mix_run *m) {
    spec_request_end(m->r);
    spec_tree_release(&m->tree, NULL);
}

void mix_propose(mix_run *m, const spec_propose_args *args) {
    spec_message why;
    assert_int_equal(spec_request_propose(m->r, args, &m->tree), SPEC_OK);
    if (spec_tree_check(&m->tree, &why)) fail_msg("%s", why.text);
    add_tree(&m->drafts, &m->tree);
    m->nodes += m->tree.n;
}

bool mix_observe(mix_run *m) {
    uint8_t accepted[CAP] = {0};
    size_t k = 0;
    int32_t node = -1;
    while (m->at + k < m->n && (node = spec_tree_child(&m->tree, node, m->tok[m->at + k])) >= 0) {
        accepted[node] = 1;
        k++;
    }
    size_t n = m->at + k < m->n ? k + 1 : k; /* the target's own token, unless the text is complete */
    spec_outcome o = {.size = sizeof o,
                      .committed = m->tok + m->at,
                      .n_committed = n,
                      .tree = &m->tree,
                      .accepted = accepted};
    assert_int_equal(spec_request_observe(m->r, &o), SPEC_OK);
    m->at += n;
    m->right += k;
    m->steps++;
    return m->at < m->n;
}

mix_run mix_decode(spec_drafter *d, uint64_t tenant, const spec_token *tok, size_t n_prompt, size_t n,
                   uint32_t budget) {
    mix_run m;
    const spec_propose_args a = {.size = sizeof a, .budget = budget};
    mix_begin(&m, d, tenant, tok, n_prompt, n);
    do mix_propose(&m, &a);
    while (mix_observe(&m));
    mix_end(&m);
    return m;
}

uint64_t mix_known(spec_drafter *d, uint64_t tenant, const spec_token *tok, size_t n) {
    uint64_t hash = 0;
    spec_tree t;
    drafting_tree(&t, CAP);
    for (size_t at = 1; at <= n; at += 7) {
        size_t from = at > 20 ? at - 20 : 0;
        drafting_ask(d, tenant, tok + from, at - from, &t);
        add_tree(&hash, &t);
    }
    spec_tree_release(&t, NULL);
    return hash;
}

double mix_first_prob(spec_drafter *d, uint64_t tenant, const spec_token *prompt, size_t n, spec_token next) {
    spec_tree t;
    drafting_tree(&t, CAP);
    drafting_ask(d, tenant, prompt, n, &t);
    double p = t.n ? t.prob[0] : 0;
    if (t.n && t.token[0] != next) fail_msg("drafted %d, expected %d", t.token[0], next);
    spec_tree_release(&t, NULL);
    return p;
}
