/* SPDX-License-Identifier: MIT */
/*
 * Draft heads that nobody trained. The first byte chooses what the rest of the input is,
 * modulo 3:
 *
 *   0   a file of Medusa heads
 *   1   a file of an EAGLE-3 head
 *   2   the config.json beside a good EAGLE-3 head without metadata
 *
 * Whatever it is: refused with a reason, or a drafter that drafts for a while, well-formed trees
 * of tokens that the target has.
 */
#include "eagle3_world.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "spec_drafter.h"

enum { MAX_FILE = 1 << 15, HIDDEN = 8, VOCAB = 12, LAYERS = 4, STEPS = 4, MOST_TAPS = 64 };

static char folder[64], config[96], weights[96];

static void need(bool good, const char *fault) {
    if (good) return;
    fprintf(stderr, "fuzz_heads: %s\n", fault);
    abort();
}

static void remove_folder(void) {
    unlink(config);
    unlink(weights);
    rmdir(folder);
}

static void make_folder(void) {
    snprintf(folder, sizeof folder, "%s/spec_fuzz_heads_%ld", access("/dev/shm", W_OK) ? "/tmp" : "/dev/shm",
             (long)getpid());
    snprintf(config, sizeof config, "%s/config.json", folder);
    snprintf(weights, sizeof weights, "%s/model.safetensors", folder);
    need(mkdir(folder, 0700) == 0, "no folder");
    atexit(remove_folder);
}

/* ---- a target that has sizes and embeddings --------------------------------- */

static void sizes(void *self, spec_lm_info *out) {
    (void)self;
    out->dim = HIDDEN;
    out->vocab = VOCAB;
    out->n_layers = LAYERS;
    out->max_context = 40;
}

static int embedding(void *self, spec_token token, float *out) {
    (void)self;
    need(token >= 0 && token < VOCAB, "an embedding of no token");
    for (int i = 0; i < HIDDEN; i++) out[i] = (float)(token * 3 + i) * 0.1f - 1.0f;
    return SPEC_OK;
}

static const spec_lm_ops ops = {.version = SPEC_LM_OPS_V1, .info = sizes, .embedding = embedding};

/* ---- drafting ----------------------------------------------------------------- */

static void check_tree(const spec_tree *t) {
    spec_message why = {""};
    if (spec_tree_check(t, &why)) need(false, why.text);
    for (uint32_t i = 0; i < t->n; i++) need(t->token[i] < VOCAB, "a token that the target does not have");
}

/* Some steps of plain decoding. Hidden states are ordinary numbers; weights may be anything. */
static void draft(spec_drafter *d) {
    static float hidden[MOST_TAPS * HIDDEN];
    const spec_token prompt[] = {1, 2, 3};
    const spec_request_info info = {.size = sizeof info, .prompt = prompt, .n_prompt = 3};
    spec_request *r = NULL;
    spec_needs needs;
    spec_tree t;
    spec_drafter_needs(d, &needs);
    need(needs.n_taps >= 1 && needs.n_taps <= MOST_TAPS, "no taps, or too many");
    for (uint32_t i = 0; i < needs.n_taps; i++)
        need(needs.tap_layer[i] >= -2 && needs.tap_layer[i] < LAYERS, "a tap of no layer");
    need(spec_tree_init(&t, 16, 0, 0, NULL) == SPEC_OK && spec_request_begin(d, &info, &r) == SPEC_OK,
         "begin");
    for (spec_token step = 0; step < STEPS; step++) {
        for (size_t i = 0; i < needs.n_taps * HIDDEN; i++)
            hidden[i] = (float)((i + (size_t)step) % 7) * 0.5f - 1.5f;
        const spec_outcome o = {.size = sizeof o,
                                .committed = &step,
                                .n_committed = 1,
                                .n_rows = 1,
                                .n_taps = needs.n_taps,
                                .hidden_dim = HIDDEN,
                                .hidden = hidden};
        need(spec_request_observe(r, &o) == SPEC_OK, "observe");
        need(spec_request_propose(r, NULL, &t) == SPEC_OK, "propose");
        check_tree(&t);
    }
    spec_request_end(r);
    spec_tree_release(&t, NULL);
}

static void try_file(const char *name, const char *path) {
    const spec_lm target = {&ops, NULL};
    const spec_drafter_env env = {.size = sizeof env, .target = &target, .threads = 1};
    spec_drafter *d = NULL;
    spec_message why = {""};
    char spec[160];
    snprintf(spec, sizeof spec, "%s:%s", name, path);
    int err = spec_drafter_open_env(&d, spec, &env, NULL, &why);
    need(err == SPEC_OK || (err < 0 && why.text[0] && !d), "refused without a reason");
    if (err == SPEC_OK) draft(d);
    spec_drafter_free(d);
}

/* A good head whose metadata are all in config.json. */
static void write_good(void) {
    eagle3_made m = eagle3_usual;
    support_rng rng = support_rng_new(1, 1);
    m.target = m.hidden = HIDDEN;
    m.vocab = VOCAB;
    m.n_layers = LAYERS;
    m.heads = 2;
    m.kv_heads = 1;
    m.head_dim = 4;
    m.n_ff = 8;
    m.draft_vocab = 6;
    m.meta = EAGLE3_META_NONE;
    eagle3_make(weights, &m, &rng);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 1 || size > MAX_FILE) return 0;
    if (!folder[0]) make_folder();
    int kind = data[0] % 3;
    unlink(config);
    if (kind == 2) {
        write_good();
        support_write_file(config, data + 1, size - 1);
        try_file("eagle3", folder);
    } else {
        support_write_file(weights, data + 1, size - 1);
        try_file(kind == 0 ? "medusa" : "eagle3", weights);
    }
    return 0;
}
