/* SPDX-License-Identifier: MIT */
/*
 * EAGLE-3 heads that are refused: tensors, types, vocabularies, metadata, damage;
 * calls that are refused; memory.
 */
#include "support.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "eagle3_world.h"
#include "made_heads.h"
#include "tensor_bytes.h"

/* ---- files ------------------------------------------------------------------------ */

static void refuse(head_world *w, const specp_eagle3_options *o, int code, const char *says) {
    specp_eagle3 *h = NULL;
    spec_message why = {""};
    int err = specp_eagle3_open(&h, w->path, o, NULL, &why);
    if (err != code || strstr(why.text, "/head: ") == NULL || strstr(why.text, says) == NULL)
        fail_msg("%d, \"%s\", not %d, \"%s\"", err, why.text, code, says);
    assert_null(h);
}

#define USUAL                                                                                                \
    .target = 24, .vocab = 61, .n_layers = 8, .taps = 3, .hidden = 24, .heads = 4, .kv_heads = 2,            \
    .head_dim = 6, .n_ff = 20, .draft_vocab = 37, .layer = "midlayer.", .d2t = true, .t2d = true
#define CORRUPT     SPEC_ERR_CORRUPT
#define INVALID     SPEC_ERR_INVALID
#define UNSUPPORTED SPEC_ERR_UNSUPPORTED

typedef struct refused {
    eagle3_made m;
    int code;
    const char *says;
} refused;

static void refuse_each(head_world *w, const refused *cases, size_t n) {
    for (size_t i = 0; i < n; i++) {
        specp_eagle3_options o = eagle3_options_of(&eagle3_usual, w->team[1]);
        eagle3_make(w->path, &cases[i].m, &w->rng);
        refuse(w, &o, cases[i].code, cases[i].says);
    }
}

#define REFUSE(w, cases) refuse_each(w, cases, sizeof(cases) / sizeof *(cases))

/* Each tensor left out, of a shape of its own, of another type; the code and what the message says. */
static void test_tensors(void **state) {
    static const struct {
        const char *name, *shape;
    } all[] = {{"midlayer.input_layernorm.weight", "expected (24)"},
               {"midlayer.hidden_norm.weight", "expected (24)"},
               {"midlayer.post_attention_layernorm.weight", "expected (24)"},
               {"midlayer.self_attn.q_proj.weight", "expected (.., 48)"},
               {"midlayer.self_attn.k_proj.weight", "expected (.., 48)"},
               {"midlayer.self_attn.v_proj.weight", "expected (12, 48)"},
               {"midlayer.self_attn.o_proj.weight", "expected (24, 24)"},
               {"midlayer.mlp.gate_proj.weight", "expected (.., 24)"},
               {"midlayer.mlp.up_proj.weight", "expected (20, 24)"},
               {"midlayer.mlp.down_proj.weight", "expected (24, 20)"},
               {"norm.weight", "expected a vector"},
               {"lm_head.weight", "expected (.., 24)"},
               {"fc.weight", "expected (24, ..)"},
               {"d2t", "expected (37)"}};
    head_world *w = *state;
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        bool first = strstr(all[i].name, "q_proj") != NULL, fc = strcmp(all[i].name, "fc.weight") == 0;
        bool offsets = strcmp(all[i].name, "d2t") == 0, vector = strstr(all[i].name, "norm") != NULL;
        char type[96], missing[96];
        (void)snprintf(type, sizeof type, "tensor %s has type I16, ", all[i].name);
        (void)snprintf(missing, sizeof missing, "tensor %s is missing", all[i].name);
        const refused cases[] = {
            {{USUAL, .other = all[i].name, .dim = {13, 7}}, CORRUPT, all[i].shape},
            {{USUAL, .other = all[i].name, .other_type = SPEC_TYPE_I16}, UNSUPPORTED, type},
            {{USUAL, .without = all[i].name},
             first           ? UNSUPPORTED
             : fc || offsets ? INVALID
                             : CORRUPT,
             first     ? "neither midlayer.self_attn.q_proj.weight nor layers.0."
             : fc      ? "reads features of 1 layers, without metadata of 3"
             : offsets ? "lm_head.weight is for 37 tokens; the target has 61, and there is no d2t"
                       : missing},
            {{USUAL, .other = all[i].name, .value = (float)NAN}, CORRUPT, "nan at 0"},
        };
        refuse_each(w, cases, vector ? 4 : 3);
    }
    static const refused others[] = {
        {{USUAL, .other = "norm.weight", .value = INFINITY}, CORRUPT, "norm.weight holds inf at 0"},
        {{USUAL, .other = "lm_head.weight", .dim = {888}}, CORRUPT, "(888), expected (.., 24)"},
        {{USUAL, .other = "fc.weight", .dim = {24, 73}},
         INVALID,
         "(24, 73), not for features of the target's"},
        {{USUAL, .other = "fc.weight", .dim = {24, 24 * 65}}, INVALID, "not for features of the target's"},
        {{USUAL, .other = "fc.weight", .dim = {24, 96}},
         INVALID,
         "features of 4 layers, without metadata of 3"},
        {{USUAL, .other = "midlayer.self_attn.q_proj.weight", .dim = {26, 48}}, CORRUPT, "of 26 and 12 rows"},
        {{USUAL, .other = "midlayer.self_attn.k_proj.weight", .dim = {18, 48}}, CORRUPT, "of 24 and 18 rows"},
        {{USUAL, .extra = "fc_norm.weight"}, UNSUPPORTED, "fc_norm.weight is no part of an EAGLE-3 head"},
        {{USUAL, .extra = "midlayer.self_attn.q_proj.bias"}, UNSUPPORTED, "q_proj.bias is no part"},
        {{USUAL, .extra = "layers.0.hidden_norm.weight"},
         UNSUPPORTED,
         "is no part of an EAGLE-3 head with midl"},
        {{USUAL, .extra = "model.norm.weight"}, UNSUPPORTED, "model.norm.weight is no part"},
        {{USUAL, .embed = true, .other = "embed_tokens.weight", .dim = {61, 23}},
         CORRUPT,
         "expected (61, 24)"},
        {{USUAL, .embed = true, .other = "embed_tokens.weight", .dim = {61}}, CORRUPT, "expected (61, 24)"},
        {{USUAL, .embed = true, .other = "embed_tokens.weight", .dim = {60, 24}},
         INVALID,
         "for another vocabulary: the target's has 61"},
        {{USUAL, .embed = true, .other = "embed_tokens.weight", .other_type = SPEC_TYPE_I32},
         UNSUPPORTED,
         "embed_tokens.weight has type I32, expected floats"},
    };
    REFUSE(w, others);
}

static void test_vocabulary(void **state) {
    static const refused cases[] = {
        {{USUAL, .offset = 2}, INVALID, "d2t holds 25 at 36: no token of the target's 61"},
        {{USUAL, .offset = -60}, INVALID, "d2t holds -37 at 36: no token"},
        {{USUAL, .offset = (int64_t)1 << 40}, INVALID, "no token of the target's 61"},
        {{USUAL, .offset = -2}, CORRUPT, "d2t gives token 57 twice, the second time at 36"},
        {{USUAL, .offset = 1}, CORRUPT, "t2d has token 59 in the draft vocabulary, d2t has not"},
        {{USUAL, .flip = true}, CORRUPT, "t2d has token 0 outside the draft vocabulary, d2t has not"},
        {{USUAL, .other = "t2d", .dim = {62}}, INVALID, "t2d is (62), for another vocabulary"},
        {{USUAL, .other = "t2d", .dim = {61, 1}}, INVALID, "t2d is (61, 1), for another vocabulary"},
        {{USUAL, .other = "t2d", .other_type = SPEC_TYPE_I16},
         UNSUPPORTED,
         "t2d has type I16, expected BOOL"},
    };
    head_world *w = *state;
    REFUSE(w, cases);
    /* Narrow offsets and flags of other types are as good. */
    eagle3_made m = eagle3_usual;
    m.other = "d2t";
    m.other_type = SPEC_TYPE_I32;
    specp_eagle3_options o = eagle3_options_of(&m, w->team[1]);
    eagle3_make(w->path, &m, &w->rng);
    specp_eagle3 *h = eagle3_must_open(w->path, &o);
    assert_int_equal(specp_eagle3_target_token(h, 36), 36 * 61 / 37);
    specp_eagle3_free(h);
    m.other = "t2d";
    m.other_type = SPEC_TYPE_U8;
    eagle3_make(w->path, &m, &w->rng);
    specp_eagle3_free(eagle3_must_open(w->path, &o));
}

/* Heads of other targets; options that make no sense. */
static void test_targets(void **state) {
    head_world *w = *state;
    eagle3_made m = eagle3_usual;
    specp_eagle3_options o = eagle3_options_of(&m, w->team[1]), bad = o;
    eagle3_make(w->path, &m, &w->rng);
    bad.hidden = 36;
    refuse(w, &bad, INVALID, "norm.weight is (24), for a hidden size of 24; the target's is 36");
    bad = o;
    bad.vocab = 36;
    refuse(w, &bad, INVALID, "lm_head.weight is for 37 tokens; the target has 36");
    bad.vocab = 62;
    refuse(w, &bad, INVALID, "t2d is (61), for another vocabulary: the target's has 62 tokens");
    bad = o;
    bad.n_layers = 6; /* layers 2 and 3 alone */
    refuse(w, &bad, INVALID, "reads features of 3 layers, without metadata of 2");
    bad = o;
    bad.embedding = NULL;
    refuse(w, &bad, INVALID, "there is no embed_tokens.weight in it, and no embedding of a target");
    m.embed = true; /* its own embedding: the hidden size may be another */
    eagle3_make(w->path, &m, &w->rng);
    bad.hidden = 48;
    refuse(w, &bad, INVALID, "not for features of the target's hidden size, 48");
    bad.hidden = 36;
    refuse(w, &bad, INVALID, "reads features of 2 layers, without metadata of 3");
    m.no_fc = true;
    m.layers = "[1]";
    eagle3_make(w->path, &m, &w->rng);
    refuse(w, &bad, INVALID, "for a hidden size of 24; the target's is 36");
    support_write_file(w->path, "PK\3\4 a pickled checkpoint", 26);
    refuse(w, &o, CORRUPT, "");
    specp_eagle3 *h = NULL;
    for (size_t i = 0; i < 9; i++) {
        bad = o;
        *(i < 2   ? &bad.hidden
          : i < 4 ? &bad.vocab
          : i < 6 ? &bad.n_layers
                  : &bad.rows) = i == 7  ? SPECP_EAGLE3_MAX_ROWS + 1
                                 : i % 2 ? (size_t)INT32_MAX + 1
                                         : 0;
        if (i == 8) bad = o, bad.team = NULL;
        assert_int_equal(specp_eagle3_open(&h, w->path, &bad, NULL, NULL), INVALID);
    }
    assert_null(h);
}

/* ---- metadata ----------------------------------------------------------------------- */

static void test_metadata(void **state) {
#define LIST "eagle_aux_hidden_state_layer_ids"
    static const refused cases[] = {
        {{USUAL, .meta = EAGLE3_META_NONE}, CORRUPT, "num_attention_heads is missing"},
        {{USUAL, .key = "head_dim", .text = "8"}, CORRUPT, "are not 4 heads and 2 key-value heads of 8"},
        {{USUAL, .meta = EAGLE3_META_NONE, .key = "head_dim", .text = "3"}, CORRUPT, "of 3, an even number"},
        {{USUAL, .meta = EAGLE3_META_NONE, .key = "head_dim", .text = "10"}, CORRUPT, "of 10, an even"},
        {{USUAL, .meta = EAGLE3_META_NONE, .key = "num_attention_heads", .text = "25"}, CORRUPT, "25 heads"},
        {{USUAL, .meta = EAGLE3_META_NONE, .key = "num_attention_heads", .text = "0"},
         CORRUPT,
         "whole number"},
        {{USUAL, .meta = EAGLE3_META_NONE, .key = "num_attention_heads", .text = "4.5"}, CORRUPT, "whole"},
        {{USUAL, .meta = EAGLE3_META_NONE, .key = "num_attention_heads", .text = "[]"},
         CORRUPT,
         "empty list"},
        {{USUAL, .meta = EAGLE3_META_NONE, .key = "num_attention_heads", .text = "4",
          .other = "midlayer.self_attn.k_proj.weight", .dim = {18, 48}},
         CORRUPT,
         "4 heads and 3 key-value heads"},
        {{USUAL, .key = "rope_theta", .text = "[2, 3]"}, CORRUPT, "rope_theta is not a number from 1 to"},
        {{USUAL, .layers = "[2, 4]"}, CORRUPT, LIST " 2 of them named"},
        {{USUAL, .layers = "[2, 4, 9]"}, CORRUPT, LIST " is not a whole number from 0 to 8"},
        {{USUAL, .layers = "[2, 4, -1]"}, CORRUPT, LIST " is not a whole number from 0 to 8"},
        {{USUAL, .layers = "[2, 4, 5"}, CORRUPT, LIST " is not"},
        {{USUAL, .layers = "[2, 4, 5]]"}, CORRUPT, LIST " is not"},
        {{USUAL, .layers = "2, 4, 5"}, CORRUPT, LIST " is not"},
        {{USUAL, .layers = "[2, 4,, 5]"}, CORRUPT, LIST " is not"},
        {{USUAL, .layers = ""}, CORRUPT, LIST " is not"},
        {{USUAL, .key = "rope_theta", .text = "0.5"}, CORRUPT, "rope_theta is not a number from 1 to"},
        {{USUAL, .key = "rope_theta", .text = "1e"}, CORRUPT, "rope_theta is not a number"},
        {{USUAL, .key = "rope_theta", .text = "1e99999999999"}, CORRUPT, "rope_theta is not a number"},
        {{USUAL, .key = "rope_theta", .text = "nan"}, CORRUPT, "rope_theta is not a number"},
        {{USUAL, .key = "norm_before_residual", .text = "True"}, CORRUPT, "is neither true nor false"},
        {{USUAL, .key = "hidden_act", .text = "gelu"},
         UNSUPPORTED,
         "hidden_act is not supported; supported is silu"},
        {{USUAL, .key = "rope_scaling.rope_type", .text = "yarn"},
         UNSUPPORTED,
         "type \"yarn\" is not supported"},
        {{USUAL, .key = "rope_scaling.type", .text = "linear"}, CORRUPT, "rope_scaling.factor is missing"},
        {{USUAL, .key = "rope_parameters.rope_type", .text = "llama3"},
         CORRUPT,
         "rope_scaling.factor is missing"},
    };
    head_world *w = *state;
    REFUSE(w, cases);
}

/* What a list of layers becomes: 0 is the embedding, i is after layer i - 1. */
static void check_layers(head_world *w, const char *layers, size_t n_layers, size_t n, const int32_t *want) {
    eagle3_made m = eagle3_usual;
    m.layers = layers;
    m.n_layers = n_layers;
    m.taps = n;
    specp_eagle3_options o = eagle3_options_of(&m, w->team[1]);
    eagle3_make(w->path, &m, &w->rng);
    specp_eagle3 *h = eagle3_must_open(w->path, &o);
    assert_int_equal(specp_eagle3_get_info(h)->n_taps, n);
    assert_memory_equal(specp_eagle3_get_info(h)->tap_layer, want, n * sizeof *want);
    specp_eagle3_free(h);
}

static void test_layers(void **state) {
    head_world *w = *state;
    check_layers(w, NULL, 8, 3, (const int32_t[]){1, 3, 4});
    check_layers(w, NULL, 32, 3, (const int32_t[]){1, 15, 28});
    check_layers(w, NULL, 7, 3, (const int32_t[]){1, 2, 3});
    check_layers(w, NULL, 6, 2, (const int32_t[]){1, 2}); /* 3 twice, tapped once */
    check_layers(w, NULL, 5, 1, (const int32_t[]){1});
    check_layers(w, NULL, 3, 3, (const int32_t[]){-2, 0, 1});
    check_layers(w, "[0, 8, 3, 3]", 8, 4, (const int32_t[]){-2, 7, 2, 2});
    check_layers(w, " [ 0 , 1 ] ", 8, 2, (const int32_t[]){-2, 0});
    check_layers(w, "7", 8, 1, (const int32_t[]){6});
}

/* A config.json beside the file: typed, nested; the file's own entries go before it. */
static void test_config(void **state) {
    static const char config[] = "{\"num_attention_heads\": 4, \"rms_norm_eps\": 0.5, "
                                 "\"transformer_layer_config\": {\"rope_theta\": 500000.0, \"hidden_act\": "
                                 "\"silu\", \"rope_scaling\": null}, "
                                 "\"norm_before_residual\": true, "
                                 "\"eagle_config\": {\"eagle_aux_hidden_state_layer_ids\": [1, 2, 8]}}";
    head_world *w = *state;
    char beside[256];
    eagle3_made m = eagle3_usual, same = m;
    m.meta = EAGLE3_META_NONE;
    m.layer = "layers.0.";
    m.key = "rms_norm_eps";
    m.text = "78125E-7";
    same = m;
    eagle3_make(w->path, &m, &w->rng);
    support_tmp_path(&w->tmp, "config.json", beside, sizeof beside);
    support_write_file(beside, config, sizeof config - 1);
    specp_eagle3_options o = eagle3_options_of(&m, w->team[1]);
    specp_eagle3 *h = eagle3_must_open(w->path, &o);
    const specp_eagle3_info *info = specp_eagle3_get_info(h);
    const int32_t layers[] = {0, 1, 7};
    assert_memory_equal(info->tap_layer, layers, sizeof layers);
    assert_int_equal(info->n_heads, 4);
    assert_true(info->norm_before_residual);
    /* What it computes is what the oracle makes of the same numbers said otherwise. */
    eagle3_text text = eagle3_random_text(&m, 3, &w->rng);
    same.meta = EAGLE3_META_FILE;
    same.theta = 500000;
    same.norm_before = true;
    double logits[37], hidden[24];
    eagle3_oracle(w->path, &same, &text, 3, NULL, 0, logits, hidden);
    specp_eagle3_request *r = eagle3_must_request(h);
    specp_eagle3_node root = {r, -1, 0};
    spec_token best;
    float logprob;
    eagle3_must_extend(h, r, text.taps, text.token, 3);
    assert_int_equal(specp_eagle3_run(h, &root, 1, 1, &best, &logprob, NULL), 0);
    for (size_t i = 0; i < 37; i++) assert_true(fabs((double)specp_eagle3_logits(h)[i] - logits[i]) < 1e-4);
    specp_eagle3_request_free(r);
    eagle3_text_free(&text);
    specp_eagle3_free(h);
    m.key = "num_attention_heads";
    m.text = "2";
    eagle3_make(w->path, &m, &w->rng);
    h = eagle3_must_open(w->path, &o);
    assert_int_equal(specp_eagle3_get_info(h)->n_heads, 2);
    specp_eagle3_free(h);
    assert_int_equal(remove(beside), 0);
}

/* ---- calls -------------------------------------------------------------------------- */

static void test_calls(void **state) {
    head_world *w = *state;
    const eagle3_made *m = &eagle3_usual;
    specp_eagle3_options o = eagle3_options_of(m, w->team[1]);
    eagle3_make(w->path, m, &w->rng);
    specp_eagle3 *h = eagle3_must_open(w->path, &o);
    specp_eagle3_request *a = NULL, *b = eagle3_must_request(h);
    eagle3_text text = eagle3_random_text(m, 12, &w->rng);
    spec_message why = {""};
    spec_token best[40];
    float logprob[40];
    assert_int_equal(specp_eagle3_request_new(&a, h, 0), INVALID);
    assert_int_equal(specp_eagle3_request_new(&a, h, ((size_t)1 << 21) + 1), INVALID);
    assert_null(a);
    assert_int_equal(specp_eagle3_request_new(&a, h, 10), 0);
    specp_eagle3_rows rows[] = {{a, 4, text.taps, NULL, text.token}, {b, 4, text.taps, NULL, text.token}};
    specp_eagle3_node node[] = {{a, -1, 0}, {b, -1, 0}, {a, 0, 1}};
    assert_int_equal(specp_eagle3_run(h, node, 1, 1, best, logprob, &why), SPEC_ERR_STATE);
    assert_int_equal(specp_eagle3_extend(h, rows, 2, NULL), 0);
    float before[37];
    assert_int_equal(specp_eagle3_run(h, node + 1, 1, 1, best, logprob, NULL), 0);
    memcpy(before, specp_eagle3_logits(h), sizeof before);
    specp_eagle3_drop(b);
    rows[1].n = 0;
    assert_int_equal(specp_eagle3_extend(h, rows + 1, 1, NULL), 0); /* nothing */
    assert_int_equal(specp_eagle3_extend(h, rows, 0, NULL), 0);
    assert_int_equal(specp_eagle3_run(h, node + 1, 1, 1, best, logprob, NULL), 0);
    assert_memory_equal(before, specp_eagle3_logits(h), sizeof before);
    specp_eagle3_drop(b);
    rows[1].n = 4;
    rows[0].n = 7;
    assert_int_equal(specp_eagle3_extend(h, rows, 2, &why), SPEC_ERR_FULL);
    assert_non_null(strstr(why.text, "7 rows do not fit behind 4: at most 10"));
    rows[0].n = 3;
    rows[1].request = a;
    assert_int_equal(specp_eagle3_extend(h, rows, 2, &why), INVALID);
    rows[1].request = b;
    for (size_t i = 0; i < 2; i++) {
        spec_token was = text.token[3];
        text.token[3] = i == 0 ? -1 : 61;
        assert_int_equal(specp_eagle3_extend(h, rows, 2, &why), INVALID);
        assert_non_null(strstr(why.text, "is not one of the target's 61"));
        text.token[3] = was;
    }
    assert_int_equal(specp_eagle3_request_length(a), 4);
    assert_int_equal(specp_eagle3_request_length(b), 4);
    assert_int_equal(specp_eagle3_run(h, node, 1, 0, best, logprob, NULL), INVALID);
    assert_int_equal(specp_eagle3_run(h, node, 1, 38, best, logprob, NULL), INVALID);
    assert_int_equal(specp_eagle3_run(h, node, 3, 1, best, logprob, NULL), INVALID); /* a, b, a */
    node[2].parent = -1;
    assert_int_equal(specp_eagle3_run(h, node, 3, 1, best, logprob, NULL), INVALID);
    node[2].parent = 0;
    assert_int_equal(specp_eagle3_run(h, node + 2, 1, 1, best, logprob, NULL), INVALID); /* before the root */
    assert_int_equal(
        specp_eagle3_run(h, (specp_eagle3_node[]){{a, -1, 0}, {a, -1, 0}}, 2, 1, best, logprob, NULL),
        INVALID);
    assert_int_equal(specp_eagle3_run(h, node, 2, 37, (spec_token[74]){0}, (float[74]){0}, NULL), 0);
    assert_int_equal(specp_eagle3_run(h, node, 1, 1, best, logprob, NULL), INVALID); /* a second root */
    node[2].parent = 1;
    assert_int_equal(specp_eagle3_run(h, node + 2, 1, 1, best, logprob, NULL), INVALID);
    node[2].parent = 0;
    node[2].token = 61;
    assert_int_equal(specp_eagle3_run(h, node + 2, 1, 1, best, logprob, NULL), INVALID);
    node[2].token = 60;
    assert_int_equal(specp_eagle3_run(h, node + 2, 1, 1, best, logprob, NULL), 0);
    rows[0].n = 6;
    assert_int_equal(specp_eagle3_extend(h, rows, 1, NULL), 0); /* full to the last row */
    assert_int_equal(specp_eagle3_run(h, node, 1, 1, best, logprob, NULL), 0);
    eagle3_text_free(&text);
    specp_eagle3_request_free(b);
    specp_eagle3_request_free(a);
    specp_eagle3_request_free(NULL);
    specp_eagle3_free(h);
    specp_eagle3_free(NULL);
}

/* An embedding that fails while rows are added: they are not there, and the drafts are as before. */
typedef struct failing {
    eagle3_made m;
    size_t left;
} failing;

static int failing_embedding(void *user, spec_token t, float *out) {
    failing *f = user;
    if (f->left-- == 0) return SPEC_ERR_IO;
    return eagle3_embedding(&f->m, t, out);
}

static void test_embedding(void **state) {
    head_world *w = *state;
    failing f = {eagle3_usual, SIZE_MAX};
    specp_eagle3_options o = eagle3_options_of(&f.m, w->team[1]);
    o.embedding = failing_embedding;
    o.user = &f;
    eagle3_make(w->path, &f.m, &w->rng);
    specp_eagle3 *h = eagle3_must_open(w->path, &o);
    specp_eagle3_request *r = eagle3_must_request(h);
    eagle3_text text = eagle3_random_text(&f.m, 40, &w->rng);
    specp_eagle3_node root = {r, -1, 0};
    float before[37], logprob;
    spec_token best;
    eagle3_must_extend(h, r, text.taps, text.token, 9);
    assert_int_equal(specp_eagle3_run(h, &root, 1, 1, &best, &logprob, NULL), 0);
    memcpy(before, specp_eagle3_logits(h), sizeof before);
    for (size_t i = 0; i < 31; i++) {
        spec_message why = {""};
        specp_eagle3_rows rows = {r, 31, text.taps, NULL, text.token};
        f.left = i;
        assert_int_equal(specp_eagle3_extend(h, &rows, 1, &why), SPEC_ERR_IO);
        f.left = SIZE_MAX;
        assert_int_equal(specp_eagle3_request_length(r), 9);
        specp_eagle3_drop(r);
        assert_int_equal(specp_eagle3_run(h, &root, 1, 1, &best, &logprob, NULL), 0);
        assert_memory_equal(before, specp_eagle3_logits(h), sizeof before);
    }
    eagle3_text_free(&text);
    specp_eagle3_request_free(r);
    specp_eagle3_free(h);
}

/* ---- damage and memory --------------------------------------------------------------- */

/* Bytes changed, and the file cut: refused with a message, or a head that works. */
static void test_damaged(void **state) {
    head_world *w = *state;
    eagle3_made m = {.target = 4,
                     .vocab = 9,
                     .n_layers = 8,
                     .taps = 3,
                     .hidden = 4,
                     .heads = 2,
                     .kv_heads = 1,
                     .head_dim = 2,
                     .n_ff = 3,
                     .draft_vocab = 5,
                     .layer = "midlayer.",
                     .d2t = true,
                     .t2d = true};
    specp_eagle3_options o = eagle3_options_of(&m, w->team[1]);
    eagle3_make(w->path, &m, &w->rng);
    eagle3_text text = eagle3_random_text(&m, 3, &w->rng);
    size_t n, n_refused = 0, worked = 0;
    char *data = support_read_file(w->path, &n);
    for (size_t i = 0; i < n; i += 1 + support_rng_below(&w->rng, 4)) {
        char was = data[i];
        bool cut = support_rng_chance(&w->rng, 0.2);
        data[i] = (char)(was ^ (1 << support_rng_below(&w->rng, 8)));
        support_write_file(w->path, data, cut ? i : n);
        data[i] = was;
        specp_eagle3 *h = NULL;
        spec_message why = {""};
        int err = specp_eagle3_open(&h, w->path, &o, NULL, &why);
        n_refused += err != SPEC_OK;
        assert_true(err == SPEC_OK || (h == NULL && strstr(why.text, "head") != NULL));
        assert_false(err == SPEC_OK && cut);
        if (err != SPEC_OK || specp_eagle3_get_info(h)->n_taps > 3) continue;
        specp_eagle3_request *r = eagle3_must_request(h);
        specp_eagle3_node root = {r, -1, 0};
        spec_token best;
        float logprob;
        eagle3_must_extend(h, r, text.taps, text.token, 3);
        assert_int_equal(specp_eagle3_run(h, &root, 1, 1, &best, &logprob, NULL), 0);
        assert_in_range(best, 0, 8);
        worked++;
        specp_eagle3_request_free(r);
        specp_eagle3_free(h);
    }
    assert_true(n_refused > 50 && worked > 50);
    eagle3_text_free(&text);
    free(data);
}

typedef struct opening {
    const char *path;
    specp_eagle3_options o;
} opening;

static int open_head(void *arg, const spec_allocator *a, spec_message *why) {
    const opening *c = arg;
    specp_eagle3 *h = NULL;
    int err = specp_eagle3_open(&h, c->path, &c->o, a, why);
    assert_true((h == NULL) == (err != SPEC_OK));
    specp_eagle3_free(h);
    return err;
}

static void test_memory(void **state) {
    static const spec_type types[] = {SPEC_TYPE_F32, SPEC_TYPE_Q8_0};
    head_world *w = *state;
    for (size_t i = 0; i < 2; i++) {
        eagle3_made m = {.target = 32,
                         .vocab = 61,
                         .n_layers = 8,
                         .taps = 3,
                         .hidden = 32,
                         .heads = 4,
                         .kv_heads = 2,
                         .head_dim = 8,
                         .n_ff = 32,
                         .draft_vocab = 37,
                         .layer = "midlayer.",
                         .d2t = true,
                         .type = types[i]};
        eagle3_make(w->path, &m, &w->rng);
        specp_eagle3_options o = eagle3_options_of(&m, w->team[1]);
        assert_true(support_refuse_each(open_head, &(opening){w->path, o}) >= (i == 0 ? 15 : 24));
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tensors),  cmocka_unit_test(test_vocabulary), cmocka_unit_test(test_targets),
        cmocka_unit_test(test_metadata), cmocka_unit_test(test_layers),     cmocka_unit_test(test_config),
        cmocka_unit_test(test_calls),    cmocka_unit_test(test_embedding),  cmocka_unit_test(test_damaged),
        cmocka_unit_test(test_memory),
    };
    return cmocka_run_group_tests(tests, head_world_set_up, head_world_tear_down);
}
