/* SPDX-License-Identifier: MIT */
/* An engine's loop around a drafter: propose, run your model, verify, observe.
 *
 *     draft_only [DRAFTER]        suffix, pld, ngram-mod:..., none; default suffix
 *
 * The "model" is a toy that repeats itself, as tool calls and edits do. A real
 * engine asks its model about all nodes at once, with a tree mask. */
#include <stdio.h>

#include "spec_drafter.h"
#include "spec_tree.h"
#include "spec_verify.h"

enum { LENGTH = 300, NODES = 16 };

/* What the model knows of a text: stands for the KV cache. */
typedef struct context {
    uint32_t a, b, n; /* the last two tokens, the length */
} context;

static context extend(context c, spec_token t) { return (context){c.b, (uint32_t)t, c.n + 1}; }

static spec_token next_token(context c) {
    uint32_t now_and_then = c.n % 31 == 0 ? c.n : 0; /* something new */
    return (spec_token)((c.a * 3 + c.b * 5 + now_and_then) % 13);
}

/* The forward pass: the choice after the text and after each node. Parents come
 * before their children, so each node's context is its parent's and one token. */
static void run_model(context text, const spec_tree *t, spec_token *argmax) {
    context at[NODES + 1];
    at[0] = text;
    for (uint32_t i = 0; i < t->n; i++) at[i + 1] = extend(at[t->parent[i] + 1], t->token[i]);
    for (uint32_t i = 0; i <= t->n; i++) argmax[i] = next_token(at[i]);
}

static int generate(spec_drafter *d, spec_tree *tree, const spec_token prompt[2]) {
    spec_request_info info = {.size = sizeof info, .prompt = prompt, .n_prompt = 2, .max_new_tokens = LENGTH};
    spec_propose_args args = {.size = sizeof args, .budget = NODES};
    context text = {(uint32_t)prompt[0], (uint32_t)prompt[1], 2};
    spec_request *r = NULL;
    size_t done = 0, steps = 0, n;
    int err = spec_request_begin(d, &info, &r);
    for (; !err && done < LENGTH; steps++) {
        spec_token argmax[NODES + 1], out[NODES + 1], next;
        int32_t path[NODES];
        uint8_t accepted[NODES] = {0};
        if ((err = spec_request_propose(r, &args, tree))) break;
        run_model(text, tree, argmax);
        if ((err = spec_verify_greedy(tree, argmax, path, &n, &next))) break;
        for (size_t i = 0; i < n; i++) {
            accepted[path[i]] = 1;
            out[i] = tree->token[path[i]];
        }
        out[n] = next;
        for (size_t i = 0; i <= n; i++) text = extend(text, out[i]);
        done += n + 1;
        spec_outcome o = {
            .size = sizeof o, .committed = out, .n_committed = n + 1, .tree = tree, .accepted = accepted};
        err = spec_request_observe(r, &o);
    }
    spec_request_end(r);
    if (!err) printf("%zu tokens in %zu steps: %.2f a step\n", done, steps, (double)done / (double)steps);
    return err;
}

int main(int argc, char **argv) {
    spec_message why = {""};
    spec_drafter *drafter = NULL;
    spec_tree tree = {0};
    int err = spec_drafter_open(&drafter, argc > 1 ? argv[1] : "suffix", NULL, &why);
    if (!err) err = spec_tree_init(&tree, NODES, 0, 0, NULL);
    for (spec_token i = 0; !err && i < 4; i++) err = generate(drafter, &tree, (spec_token[2]){i % 2, 5});
    spec_tree_release(&tree, NULL);
    spec_drafter_free(drafter);
    if (err) fprintf(stderr, "%s: %s\n", spec_strerror(err), why.text);
    return err ? 1 : 0;
}
