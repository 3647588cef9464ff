/* SPDX-License-Identifier: MIT */
/*
 * A drafter of the engine's own, through spec_drafter_ops: it remembers for each
 * pair of tokens what followed it last, and drafts the chain that results.
 *
 *     text   ... 7 3 9 ... 7 3        (7, 3) was followed by 9, (3, 9) by ...
 *     draft              9 ...
 *
 * The program decodes with it and without, and checks that the outputs are the
 * same: a drafter changes how many steps are needed, never what comes out.
 */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "spec_drafter.h"
#include "spec_tree.h"
#include "spec_verify.h"

enum { LENGTH = 400, NODES = 8, VOCAB = 64 };

/* ---- the drafter ------------------------------------------------------- */

/* A request's state: the last two tokens and the successor of every pair. */
typedef struct pairs {
    spec_token last[2];
    spec_token successor[VOCAB][VOCAB]; /* -1: the pair was not seen */
} pairs;

static int pairs_learn(pairs *p, const spec_token *tok, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (tok[i] >= VOCAB) return SPEC_ERR_INVALID;
    for (size_t i = 0; i < n; i++) {
        if (p->last[0] >= 0) p->successor[p->last[0]][p->last[1]] = tok[i];
        p->last[0] = p->last[1];
        p->last[1] = tok[i];
    }
    return SPEC_OK;
}

static int pairs_begin(void *self, const spec_request_info *info, void **state) {
    (void)self;
    pairs *p = malloc(sizeof *p);
    if (!p) return SPEC_ERR_NOMEM;
    memset(p, 0xff, sizeof *p); /* every token is -1 */
    int err = pairs_learn(p, info->prompt, info->n_prompt);
    if (err) {
        free(p);
    } else {
        *state = p;
    }
    return err;
}

static int pairs_propose(void *self, void *state, const spec_propose_args *a, spec_tree *out) {
    (void)self;
    const pairs *p = state;
    spec_token x = p->last[0], y = p->last[1];
    int32_t parent = -1;
    float prob = 1;
    if (x < 0) return SPEC_OK; /* fewer than two tokens so far */
    while (out->n < a->budget && out->n < a->max_depth) {
        spec_token next = p->successor[x][y];
        if (next < 0) break;
        prob *= 0.8f; /* a guess; a better drafter would measure it */
        parent = spec_tree_add(out, parent, next, prob, SPEC_SOURCE_USER);
        out->score += prob;
        x = y;
        y = next;
    }
    return SPEC_OK;
}

static int pairs_observe(void *self, void *state, const spec_outcome *o) {
    (void)self;
    return pairs_learn(state, o->committed, o->n_committed);
}

static void pairs_end(void *self, void *state) {
    (void)self;
    free(state);
}

static const spec_drafter_ops pairs_ops = {
    .version = SPEC_DRAFTER_OPS_V1,
    .name = "pairs",
    .begin = pairs_begin,
    .propose = pairs_propose,
    .observe = pairs_observe,
    .end = pairs_end,
};

/* ---- the engine -------------------------------------------------------- */

/* The toy model: what follows a text of n tokens that ends in a, b. */
static spec_token model(spec_token a, spec_token b, size_t n) {
    if (n % 29 == 0) return (spec_token)(n / 29 * 11 % VOCAB);
    return (a * 3 + b * 5 + 2) % 13;
}

static void decode_plainly(const spec_token *prompt, spec_token *out) {
    spec_token a = prompt[0], b = prompt[1];
    for (size_t i = 0; i < LENGTH; i++) {
        out[i] = model(a, b, 2 + i);
        a = b;
        b = out[i];
    }
}

/* The model's choice after the text (its last two tokens in `text`, its length
 * n) and after each node of a chain. */
static void run_model(const spec_token text[2], size_t n, const spec_tree *chain, spec_token *argmax) {
    spec_token a = text[0], b = text[1];
    argmax[0] = model(a, b, n);
    for (uint32_t i = 0; i < chain->n; i++) {
        a = b;
        b = chain->token[i];
        argmax[i + 1] = model(a, b, n + i + 1);
    }
}

/* One step. Writes the committed tokens after text[0..n) and says how many. */
static int step(spec_request *r, spec_tree *tree, spec_token *text, size_t n, size_t *committed) {
    spec_propose_args args = {.size = sizeof args, .budget = NODES};
    spec_token argmax[NODES + 1];
    int32_t path[NODES];
    size_t accepted;
    int err = spec_request_propose(r, &args, tree);
    if (err) return err;
    run_model(&text[n - 2], n, tree, argmax);
    spec_token next;
    if ((err = spec_verify_greedy(tree, argmax, path, &accepted, &next))) return err;
    for (size_t i = 0; i < accepted; i++) text[n + i] = tree->token[path[i]];
    text[n + accepted] = next;
    *committed = accepted + 1;
    return spec_request_commit(r, &text[n], accepted + 1);
}

static int decode_with(spec_drafter *d, const spec_token *prompt, spec_token *out, size_t *steps) {
    spec_request_info info = {.size = sizeof info, .prompt = prompt, .n_prompt = 2, .max_new_tokens = LENGTH};
    spec_token text[2 + LENGTH] = {prompt[0], prompt[1]};
    spec_tree tree;
    spec_request *r = NULL;
    size_t n = 2, committed = 0;
    int err = spec_tree_init(&tree, NODES, 0, 0, NULL);
    if (err) return err;
    err = spec_request_begin(d, &info, &r);
    for (*steps = 0; !err && n < 2 + LENGTH; ++*steps) {
        err = step(r, &tree, text, n, &committed);
        if (!err) n += committed;
    }
    memcpy(out, text + 2, LENGTH * sizeof *out);
    spec_request_end(r);
    spec_tree_release(&tree, NULL);
    return err;
}

int main(void) {
    static spec_token plain[LENGTH], drafted[LENGTH];
    const spec_token prompt[2] = {4, 2};
    spec_drafter *d;
    size_t steps = 0;
    int err = spec_drafter_new(&d, &pairs_ops, NULL, NULL);
    if (err) {
        fprintf(stderr, "%s\n", spec_strerror(err));
        return 1;
    }
    decode_plainly(prompt, plain);
    err = decode_with(d, prompt, drafted, &steps);
    bool same = !err && !memcmp(plain, drafted, sizeof plain);
    if (err) fprintf(stderr, "%s\n", spec_strerror(err));
    if (!err) {
        printf("%s: %d tokens in %zu steps, %.2f tokens per step\n", spec_drafter_name(d), (int)LENGTH, steps,
               (double)LENGTH / (double)steps);
        printf("output %s plain decoding\n", same ? "equals" : "DIFFERS from");
    }
    spec_drafter_free(d);
    return same ? 0 : 1;
}
