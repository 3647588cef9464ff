/* SPDX-License-Identifier: MIT */
/*
 * Speculative decoding on a model file, the whole loop: open the model, its
 * tokenizer and a drafter; run the prompt; then propose, run the model on the
 * draft tree, keep what is right, teach the drafter, until the text ends.
 *
 *     speculate MODEL [PROMPT] [DRAFTER]
 *     speculate model.gguf "Once upon a time" suffix
 *     speculate model.gguf "Once upon a time" "union:suffix+eagle3:head.safetensors"
 *
 * Drafters that run a model of their own, or heads on this one's hidden states, are opened with
 * an environment; what they need of each pass they say themselves (spec_needs).
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "spec_drafter.h"
#include "spec_target.h"
#include "spec_tokenizer.h"
#include "spec_verify.h"

enum { BUDGET = 16, MAX_PROMPT = 4096, MAX_TOKENS = 200 };

typedef struct decoder {
    spec_target *target;
    spec_tokenizer *tokenizer;
    spec_detokenizer *text;
    spec_drafter *drafter;
    spec_sequence *sequence;
    spec_needs needs; /* of the drafter: hidden states, or nothing */
    uint32_t dim;     /* of a hidden state */
    spec_request *request;
    spec_tree tree;
    spec_token prompt[MAX_PROMPT];
    size_t n_prompt;
    size_t limit; /* tokens of the response: MAX_TOKENS, or what the context has room for */
    size_t passes, tokens;
    spec_message why;
} decoder;

static int open_drafter(decoder *d, const char *drafter) {
    spec_target_info model = {.size = sizeof model};
    spec_lm lm;
    spec_target_get_info(d->target, &model);
    spec_target_lm(d->target, &lm);
    spec_drafter_env env = {.size = sizeof env, .target = &lm, .open_model = spec_target_open_lm};
    int rc = spec_drafter_open_env(&d->drafter, drafter, &env, NULL, &d->why);
    if (rc != SPEC_OK) return rc;
    spec_drafter_needs(d->drafter, &d->needs);
    d->dim = (uint32_t)model.dim;
    return SPEC_OK;
}

static int open_all(decoder *d, const char *model, const char *drafter) {
    int rc = spec_target_open(&d->target, model, NULL, NULL, &d->why);
    if (rc == SPEC_OK) rc = spec_tokenizer_open(&d->tokenizer, spec_target_tensors(d->target), NULL, &d->why);
    if (rc == SPEC_OK) rc = spec_detokenizer_new(&d->text, d->tokenizer, SPEC_DETOKENIZE_SKIP_SPECIAL);
    if (rc == SPEC_OK) rc = open_drafter(d, drafter);
    if (rc == SPEC_OK) rc = spec_sequence_new(&d->sequence, d->target, 0);
    return rc == SPEC_OK ? spec_tree_init(&d->tree, BUDGET, 0, 0, NULL) : rc;
}

static void close_all(decoder *d) {
    spec_request_end(d->request);
    spec_sequence_free(d->sequence);
    spec_drafter_free(d->drafter);
    spec_detokenizer_free(d->text);
    spec_tokenizer_free(d->tokenizer);
    spec_target_free(d->target);
    spec_tree_release(&d->tree, NULL);
}

/* Runs the prompt, and tells a drafter that wants them its hidden states. */
static int run_prompt(decoder *d) {
    int told = d->needs.prompt_taps;
    spec_forward_item item = {
        .sequence = d->sequence, .tokens = d->prompt, .n_tokens = d->n_prompt - 1, .all_rows = told};
    spec_forward_args args = {.size = sizeof args,
                              .no_logits = 1,
                              .n_taps = told ? d->needs.n_taps : 0,
                              .tap_layer = d->needs.tap_layer};
    spec_forward_out out;
    int rc = spec_target_forward(d->target, &item, 1, &args, &out, &d->why);
    if (rc != SPEC_OK || !told) return rc;
    spec_outcome outcome = {.size = sizeof outcome,
                            .n_rows = out.n_rows,
                            .n_taps = d->needs.n_taps,
                            .hidden_dim = d->dim,
                            .hidden = out.hidden};
    return spec_request_observe(d->request, &outcome);
}

/* All of the prompt but its last token goes through the model here; that one is the
 * first to be fed together with a draft. */
static int begin(decoder *d, const char *prompt) {
    int rc = spec_tokenizer_encode(d->tokenizer, prompt, strlen(prompt), SPEC_ENCODE_ADD_SPECIAL, d->prompt,
                                   MAX_PROMPT, &d->n_prompt, &d->why);
    if (rc != SPEC_OK) return rc;
    if (d->n_prompt == 0) return SPEC_ERR_INVALID;
    spec_target_info model = {.size = sizeof model};
    spec_target_get_info(d->target, &model);
    d->limit = d->n_prompt < model.context ? model.context - d->n_prompt : 1;
    if (d->limit > MAX_TOKENS) d->limit = MAX_TOKENS;
    spec_request_info info = {
        .size = sizeof info, .prompt = d->prompt, .n_prompt = d->n_prompt, .max_new_tokens = d->limit};
    rc = spec_request_begin(d->drafter, &info, &d->request);
    return rc == SPEC_OK && d->n_prompt > 1 ? run_prompt(d) : rc;
}

/* Prints a token; 1 when the text ends with it. */
static int show(decoder *d, spec_token token) {
    const char *piece;
    size_t n;
    d->tokens++;
    if (spec_tokenizer_is_end(d->tokenizer, token)) return 1;
    if (spec_detokenizer_push(d->text, token, &piece, &n) == SPEC_OK) fwrite(piece, 1, n, stdout);
    return d->tokens >= d->limit;
}

/* One pass of the model: *last is the newest token, not yet in the cache. */
static int step(decoder *d, spec_token *last, int *done) {
    spec_propose_args args = {.size = sizeof args};
    spec_forward_item item = {.sequence = d->sequence, .tokens = last, .n_tokens = 1, .tree = &d->tree};
    spec_forward_args taps = {
        .size = sizeof taps, .n_taps = d->needs.n_taps, .tap_layer = d->needs.tap_layer};
    spec_forward_out out;
    int32_t path[BUDGET];
    uint8_t accepted[BUDGET] = {0};
    spec_token committed[BUDGET + 1];
    size_t n = 0;

    int rc = spec_request_propose(d->request, &args, &d->tree);
    if (rc == SPEC_OK) rc = spec_target_forward(d->target, &item, 1, &taps, &out, &d->why);
    if (rc == SPEC_OK) rc = spec_verify_greedy(&d->tree, out.argmax + out.row[0], path, &n, last);
    if (rc == SPEC_OK) rc = spec_sequence_accept(d->sequence, path, n);
    if (rc != SPEC_OK) return rc;
    d->passes++;
    for (size_t i = 0; i < n; i++) {
        accepted[path[i]] = 1;
        committed[i] = d->tree.token[path[i]];
    }
    committed[n] = *last;
    for (size_t i = 0; i <= n && !*done; i++) *done = show(d, committed[i]);
    spec_outcome outcome = {.size = sizeof outcome,
                            .committed = committed,
                            .n_committed = n + 1,
                            .tree = &d->tree,
                            .accepted = accepted,
                            .n_rows = d->tree.n + 1,
                            .n_taps = d->needs.n_taps,
                            .hidden_dim = d->dim,
                            .hidden = out.hidden};
    return *done ? SPEC_OK : spec_request_observe(d->request, &outcome);
}

static int decode(decoder *d, const char *prompt) {
    int done = 0;
    int rc = begin(d, prompt);
    spec_token last = rc == SPEC_OK ? d->prompt[d->n_prompt - 1] : 0;
    while (rc == SPEC_OK && !done) rc = step(d, &last, &done);
    const char *rest; /* bytes that no further token will make a character */
    size_t n;
    if (rc != SPEC_OK) return rc;
    spec_detokenizer_finish(d->text, &rest, &n);
    fwrite(rest, 1, n, stdout);
    return SPEC_OK;
}

int main(int argc, char **argv) {
    static decoder d;
    if (argc < 2) {
        printf("usage: speculate MODEL [PROMPT] [DRAFTER]\n"
               "'specbench train target --random small -o small.gguf' makes a model to try.\n");
        return 0;
    }
    const char *prompt = argc > 2 ? argv[2] : "Once upon a time";
    printf("%s", prompt);
    int rc = open_all(&d, argv[1], argc > 3 ? argv[3] : "suffix");
    if (rc == SPEC_OK) rc = decode(&d, prompt);
    printf("\n");
    if (rc != SPEC_OK)
        fprintf(stderr, "speculate: %s\n", d.why.text[0] ? d.why.text : spec_strerror(rc));
    else
        fprintf(stderr, "%zu tokens in %zu passes of the model\n", d.tokens, d.passes);
    close_all(&d);
    return rc == SPEC_OK ? 0 : 1;
}
