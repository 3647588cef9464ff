/* SPDX-License-Identifier: MIT */
/* Models that must be refused, each with a message that names the fault; memory that runs out. */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "model_world.h"

static int try_load(const model_world *w, const char *path, const spec_allocator *alloc, spec_message *why) {
    specp_model m;
    int err = model_world_try(w, path, alloc, &m, why);
    if (err == SPEC_OK)
        specp_model_release(&m);
    else /* on error it is empty */
        assert_true(m.file == NULL && m.layer == NULL && m.small == NULL && m.rope_freq[0] == NULL);
    return err;
}

/* ---- what a file may say --------------------------------------------------------- */

typedef struct refusal {
    const char *arch;
    tiny_edit edit[2];
    int err;
    const char *says;
} refusal;

static void assert_refused(const model_world *w, tiny_model t, const refusal *r) {
    char path[256];
    spec_message why;
    for (size_t i = 0; i < 2 && r->edit[i].name != NULL; i++) t.edit[t.n_edits++] = r->edit[i];
    model_world_write(w, &t, path, sizeof path);
    int err = try_load(w, path, NULL, &why);
    if (err != r->err || strstr(why.text, r->says) == NULL || strncmp(why.text, path, strlen(path)) != 0)
        fail_msg("%s: %d \"%s\", expected %d and \"%s\"", r->edit[0].name, err, why.text, r->err, r->says);
}

#define UINT(key, x)                                                                                         \
    { TINY_UINT, key, x, NULL }
#define REAL(key, x)                                                                                         \
    { TINY_FLOAT, key, x, NULL }
#define TEXT(key, s)                                                                                         \
    { TINY_TEXT, key, 0, s }
#define DROP(key)                                                                                            \
    { TINY_DROP, key, 0, NULL }
#define ROWS(key, x)                                                                                         \
    { TINY_ROWS, key, x, NULL }
#define ADD(key, n)                                                                                          \
    { TINY_ADD, key, n, NULL }
#define NANS(key)                                                                                            \
    { TINY_NAN, key, 0, NULL }
#define TYPE(key, t)                                                                                         \
    { TINY_TYPE, key, t, NULL }

static void architecture(void **state) {
    static const refusal refusals[] = {
        {"llama",
         {TEXT("general.architecture", "falcon")},
         SPEC_ERR_UNSUPPORTED,
         "architecture \"falcon\" is not supported; supported are llama qwen2 qwen3 gemma2 gemma3 olmo2"},
        {"llama", {TEXT("general.architecture", "a\x1b[2J\nb")}, SPEC_ERR_UNSUPPORTED, "\"a?[2J?b\""},
        {"llama",
         {TEXT("general.architecture",
               "a-name-of-an-architecture-that-is-longer-than-any-message-would-like-it-to-be")},
         SPEC_ERR_UNSUPPORTED,
         "\"a-name-of-an-architecture-that-is-longer-than-any-message-wo\" is not"},
        {"llama",
         {REAL("llama.attention.layer_norm_rms_epsilon", 2)},
         SPEC_ERR_CORRUPT,
         "epsilon is no number"},
        {"llama", {UINT("general.architecture", 7)}, SPEC_ERR_UNSUPPORTED, "architecture \"?\""},
        {"llama", {DROP("general.architecture")}, SPEC_ERR_UNSUPPORTED, "does not say what model it is"},
    };
    for (size_t i = 0; i < sizeof refusals / sizeof refusals[0]; i++)
        assert_refused(*state, tiny_model_of(refusals[i].arch), &refusals[i]);
}

static void metadata(void **state) {
    static const refusal refusals[] = {
        {"llama", {DROP("llama.block_count")}, SPEC_ERR_CORRUPT, "llama.block_count is missing"},
        {"llama", {DROP("llama.embedding_length")}, SPEC_ERR_CORRUPT, "embedding_length is missing"},
        {"llama", {DROP("llama.context_length")}, SPEC_ERR_CORRUPT, "context_length is missing"},
        {"llama", {DROP("llama.feed_forward_length")}, SPEC_ERR_CORRUPT, "feed_forward_length is missing"},
        {"llama", {DROP("llama.attention.head_count")}, SPEC_ERR_CORRUPT, "head_count is missing"},
        {"llama", {DROP("llama.attention.layer_norm_rms_epsilon")}, SPEC_ERR_CORRUPT, "epsilon is missing"},
        {"llama", {UINT("llama.block_count", 0)}, SPEC_ERR_CORRUPT, "block_count is no number from 1 to"},
        {"llama", {UINT("llama.block_count", 1e6)}, SPEC_ERR_CORRUPT, "too few for 1000000 layers"},
        {"llama", {UINT("llama.block_count", 3)}, SPEC_ERR_CORRUPT, "blk.2.attn_norm.weight is missing"},
        {"llama", {UINT("llama.block_count", 1)}, SPEC_ERR_UNSUPPORTED, "tensor blk.1.attn_norm.weight"},
        {"llama", {UINT("llama.embedding_length", 0)}, SPEC_ERR_CORRUPT, "is no number from 1 to 16777216"},
        {"llama", {UINT("llama.embedding_length", 1e18)}, SPEC_ERR_CORRUPT, "is no number from 1 to"},
        {"llama", {UINT("llama.embedding_length", 96)}, SPEC_ERR_CORRUPT, "is (128, 64), expected (128, 96)"},
        {"llama",
         {UINT("llama.feed_forward_length", 95)},
         SPEC_ERR_CORRUPT,
         "is (96, 64), expected (95, 64)"},
        {"llama", {TEXT("llama.feed_forward_length", "96")}, SPEC_ERR_CORRUPT, "length is no number"},
        {"llama", {REAL("llama.feed_forward_length", 95.5)}, SPEC_ERR_CORRUPT, "length is no number"},
        {"llama", {UINT("llama.context_length", 0)}, SPEC_ERR_CORRUPT, "context_length is no number"},
        {"llama", {UINT("llama.context_length", 4e9)}, SPEC_ERR_CORRUPT, "context_length is no number"},
        {"llama", {UINT("llama.attention.head_count_kv", 3)}, SPEC_ERR_CORRUPT, "4 heads cannot share 3"},
        {"llama",
         {UINT("llama.attention.head_count", 16777216)},
         SPEC_ERR_CORRUPT,
         "expected (268435456, 64)"},
        {"llama",
         {UINT("llama.attention.key_length", 15)},
         SPEC_ERR_UNSUPPORTED,
         "keys of 15 and values of 16"},
        {"llama",
         {UINT("llama.attention.key_length", 15), UINT("llama.attention.value_length", 15)},
         SPEC_ERR_CORRUPT,
         "heads of 15 numbers cannot be rotated"},
        {"llama",
         {UINT("llama.attention.key_length", 65538), UINT("llama.attention.value_length", 65538)},
         SPEC_ERR_CORRUPT,
         "heads of 65538 numbers cannot be rotated"},
        {"llama", {UINT("llama.rope.dimension_count", 18)}, SPEC_ERR_CORRUPT, "is no number from 2 to 16"},
        {"llama", {UINT("llama.rope.dimension_count", 3)}, SPEC_ERR_CORRUPT, "3 dimensions of a head"},
        {"llama", {REAL("llama.rope.freq_base", -1)}, SPEC_ERR_CORRUPT, "rope.freq_base is no number"},
        {"llama",
         {REAL("llama.attention.layer_norm_rms_epsilon", -1)},
         SPEC_ERR_CORRUPT,
         "epsilon is no number"},
        {"llama",
         {TEXT("llama.rope.scaling.type", "yarn")},
         SPEC_ERR_UNSUPPORTED,
         "llama.rope.scaling.type \"yarn\" is not supported; supported are none, linear and llama3"},
        {"llama", {REAL("llama.rope.scaling.factor", 0)}, SPEC_ERR_CORRUPT, "factor is no number"},
        {"mixtral", {UINT("llama.expert_used_count", 5)}, SPEC_ERR_CORRUPT, "5 of 4 experts"},
        {"mixtral", {DROP("llama.expert_used_count")}, SPEC_ERR_CORRUPT, "0 of 4 experts"},
        {"mixtral", {DROP("llama.expert_count")}, SPEC_ERR_CORRUPT, "2 of 0 experts"},
        {"mixtral", {UINT("llama.expert_count", 3)}, SPEC_ERR_CORRUPT, "is (4, 64), expected (3, 64)"},
        {"gemma2", {TEXT("gemma2.attention.sliding_window", "x")}, SPEC_ERR_CORRUPT, "window is no number"},
        {"gemma3",
         {UINT("gemma3.attention.sliding_window_pattern", 0)},
         SPEC_ERR_CORRUPT,
         "pattern is no number"},
    };
    for (size_t i = 0; i < sizeof refusals / sizeof refusals[0]; i++)
        assert_refused(*state, tiny_model_of(refusals[i].arch), &refusals[i]);
}

static void tensors(void **state) {
    static const refusal refusals[] = {
        {"llama", {DROP("token_embd.weight")}, SPEC_ERR_CORRUPT, "tensor token_embd.weight is missing"},
        {"llama", {DROP("output_norm.weight")}, SPEC_ERR_CORRUPT, "tensor output_norm.weight is missing"},
        {"llama", {DROP("blk.1.attn_norm.weight")}, SPEC_ERR_CORRUPT, "blk.1.attn_norm.weight is missing"},
        {"llama", {DROP("blk.1.ffn_down.weight")}, SPEC_ERR_CORRUPT, "blk.1.ffn_down.weight is missing"},
        {"qwen2", {DROP("blk.0.attn_v.bias")}, SPEC_ERR_CORRUPT, "blk.0.attn_v.bias is missing"},
        {"qwen3", {DROP("blk.0.attn_k_norm.weight")}, SPEC_ERR_CORRUPT, "attn_k_norm.weight is missing"},
        {"gemma2", {DROP("blk.0.post_ffw_norm.weight")}, SPEC_ERR_CORRUPT, "post_ffw_norm.weight is missing"},
        {"olmo2",
         {DROP("blk.0.post_attention_norm.weight")},
         SPEC_ERR_CORRUPT,
         "attention_norm.weight is missing"},
        {"mixtral", {DROP("blk.0.ffn_up_exps.weight")}, SPEC_ERR_CORRUPT, "blk.0.ffn_up.0.weight is missing"},
        {"mixtral", {DROP("blk.0.ffn_gate_inp.weight")}, SPEC_ERR_CORRUPT, "ffn_gate_inp.weight is missing"},
        {"llama",
         {ROWS("output.weight", 1)},
         SPEC_ERR_CORRUPT,
         "output.weight is (129, 64), expected (128, 64)"},
        {"llama", {ROWS("blk.0.attn_q.weight", -1)}, SPEC_ERR_CORRUPT, "is (63, 64), expected (64, 64)"},
        {"llama", {ROWS("blk.0.attn_norm.weight", 1)}, SPEC_ERR_CORRUPT, "is (65), expected (64)"},
        {"mixtral",
         {ROWS("blk.0.ffn_up_exps.weight", 1)},
         SPEC_ERR_CORRUPT,
         "is (5, 96, 64), expected (4, 96, 64)"},
        {"qwen3", {ROWS("blk.0.attn_q_norm.weight", 72)}, SPEC_ERR_CORRUPT, "is (96), expected (24)"},
        {"llama", {ADD("rope_freqs.weight", 9)}, SPEC_ERR_CORRUPT, "rope_freqs.weight is (9), expected (8)"},
        {"llama", {ADD("rope_freqs.weight", 8)}, SPEC_ERR_CORRUPT, "expected numbers from 0.001"},
        {"llama",
         {ADD("blk.1.attn_sinks.weight", 4)},
         SPEC_ERR_UNSUPPORTED,
         "blk.1.attn_sinks.weight is no part of llama with 2 layers"},
        {"llama",
         {ADD("blk.0.attn_q_norm.weight", 16)},
         SPEC_ERR_UNSUPPORTED,
         "blk.0.attn_q_norm.weight is no part"},
        {"llama", {NANS("blk.1.ffn_norm.weight")}, SPEC_ERR_CORRUPT, "blk.1.ffn_norm.weight holds nan at 63"},
        {"llama", {NANS("output_norm.weight")}, SPEC_ERR_CORRUPT, "output_norm.weight holds nan at 63"},
        {"qwen2", {NANS("blk.0.attn_k.bias")}, SPEC_ERR_CORRUPT, "blk.0.attn_k.bias holds nan at 31"},
        {"llama",
         {TYPE("blk.0.attn_q.weight", SPEC_TYPE_F64)},
         SPEC_ERR_UNSUPPORTED,
         "blk.0.attn_q.weight has type F64; matrices may have F32 F16 BF16 Q8_0 Q4_0 Q5_0 Q4_K Q5_K Q6_K"},
        {"llama",
         {TYPE("token_embd.weight", SPEC_TYPE_F64)},
         SPEC_ERR_UNSUPPORTED,
         "token_embd.weight has type F64"},
    };
    for (size_t i = 0; i < sizeof refusals / sizeof refusals[0]; i++)
        assert_refused(*state, tiny_model_of(refusals[i].arch), &refusals[i]);
}

/* ---- folders ------------------------------------------------------------------------ */

static const struct {
    const char *arch, *config;
    refusal r;
} folder_refusals[] = {
    {"llama",
     "\"architectures\": [\"GPT2LMHeadModel\"]",
     {"",
      {DROP("architectures")},
      SPEC_ERR_UNSUPPORTED,
      "\"GPT2LMHeadModel\" is not supported; supported are LlamaForCausalLM MistralForCausalLM"}},
    {"llama", NULL, {"", {DROP("architectures")}, SPEC_ERR_UNSUPPORTED, "does not say what model it is"}},
    {"llama", NULL, {"", {DROP("hidden_size")}, SPEC_ERR_CORRUPT, "config.hidden_size is missing"}},
    {"llama",
     NULL,
     {"",
      {UINT("vocab_size", 127)},
      SPEC_ERR_CORRUPT,
      "embed_tokens.weight is (128, 64), expected (127, 64)"}},
    {"llama",
     NULL,
     {"", {DROP("model.embed_tokens.weight")}, SPEC_ERR_CORRUPT, "model.embed_tokens.weight is missing"}},
    {"llama", NULL, {"", {DROP("lm_head.weight")}, SPEC_ERR_CORRUPT, "tensor lm_head.weight is missing"}},
    {"llama",
     NULL,
     {"",
      {DROP("model.layers.1.mlp.up_proj.weight")},
      SPEC_ERR_CORRUPT,
      "layers.1.mlp.up_proj.weight is missing"}},
    {"mixtral",
     NULL,
     {"",
      {DROP("model.layers.1.block_sparse_moe.experts.3.w2.weight")},
      SPEC_ERR_CORRUPT,
      "experts.3.w2.weight is missing"}},
    {"llama",
     NULL,
     {"",
      {ADD("model.layers.1.mlp.up_proj.bias", 96)},
      SPEC_ERR_UNSUPPORTED,
      "model.layers.1.mlp.up_proj.bias is no part of llama"}},
    {"llama",
     "\"hidden_act\": \"relu\"",
     {"",
      {{0}},
      SPEC_ERR_UNSUPPORTED,
      "config.hidden_act \"relu\" is not supported; llama models have \"silu\""}},
    {"gemma2",
     "\"hidden_activation\": \"silu\"",
     {"", {{0}}, SPEC_ERR_UNSUPPORTED, "gemma2 models have \"gelu_pytorch_tanh\""}},
    {"llama",
     "\"rope_scaling\": {\"rope_type\": \"yarn\", \"factor\": 4}",
     {"", {{0}}, SPEC_ERR_UNSUPPORTED, "config.rope_scaling.rope_type \"yarn\" is not supported"}},
    {"llama",
     "\"rope_scaling\": {\"type\": \"dynamic\", \"factor\": 4}",
     {"", {{0}}, SPEC_ERR_UNSUPPORTED, "config.rope_scaling.type \"dynamic\""}},
    {"llama",
     "\"rope_scaling\": {\"type\": \"linear\"}",
     {"", {{0}}, SPEC_ERR_CORRUPT, "rope_scaling.factor is missing"}},
    {"llama",
     "\"rope_scaling\": {\"type\": \"llama3\", \"factor\": 8, \"low_freq_factor\": 4, "
     "\"high_freq_factor\": 4, \"original_max_position_embeddings\": 64}",
     {"", {{0}}, SPEC_ERR_CORRUPT, "high_freq_factor 4 is not above low_freq_factor 4"}},
    {"llama", "\"partial_rotary_factor\": 0", {"", {{0}}, SPEC_ERR_CORRUPT, "0 dimensions of a head"}},
    {"qwen2",
     "\"sliding_window\": 8, \"use_sliding_window\": \"yes\"",
     {"", {{0}}, SPEC_ERR_CORRUPT, "use_sliding_window is neither true nor false"}},
    {"qwen2",
     "\"sliding_window\": 8, \"layer_types\": [\"full_attention\"]",
     {"", {{0}}, SPEC_ERR_CORRUPT, "layer_types has 1 elements, expected 2"}},
    {"qwen2",
     "\"sliding_window\": 8, \"layer_types\": [\"full_attention\", \"linear_attention\"]",
     {"", {{0}}, SPEC_ERR_UNSUPPORTED, "neither sliding_attention nor full_attention"}},
};

static void folders(void **state) {
    for (size_t i = 0; i < sizeof folder_refusals / sizeof folder_refusals[0]; i++) {
        tiny_model t = tiny_model_of(folder_refusals[i].arch);
        t.format = SPEC_FORMAT_SAFETENSORS;
        t.config = folder_refusals[i].config;
        assert_refused(*state, t, &folder_refusals[i].r);
    }
}

/* Numbers that differ between layers, in GGUF an array. */
static void layers_that_differ(void **state) {
    const model_world *w = *state;
    char path[256];
    spec_message why;
    tiny_model t = tiny_model_of("llama");
    t.format = SPEC_FORMAT_SAFETENSORS;
    t.edit[t.n_edits++] = (tiny_edit){TINY_DROP, "num_key_value_heads", 0, NULL};
    t.config = "\"num_key_value_heads\": [2, 2]";
    model_world_write(w, &t, path, sizeof path);
    assert_int_equal(try_load(w, path, NULL, &why), SPEC_OK);
    t.config = "\"num_key_value_heads\": [2, 1]";
    model_world_write(w, &t, path, sizeof path);
    assert_int_equal(try_load(w, path, NULL, &why), SPEC_ERR_UNSUPPORTED);
    assert_non_null(strstr(why.text, "config.num_key_value_heads differs from layer to layer"));
}

static void files_that_are_no_models(void **state) {
    const model_world *w = *state;
    char path[256];
    spec_message why;
    support_tmp_path(&w->tmp, "nothing", path, sizeof path);
    assert_int_equal(try_load(w, path, NULL, &why), SPEC_ERR_NOT_FOUND);
    support_tmp_path(&w->tmp, "other", path, sizeof path);
    support_write_file(path, "hello, world\n", 13);
    assert_int_equal(try_load(w, path, NULL, &why), SPEC_ERR_CORRUPT);
}

/* Of a long path the message shows the end, so that there is room for the reason. */
static void long_paths(void **state) {
    const model_world *w = *state;
    char folder[256], name[201], path[512];
    spec_message why;
    memset(name, 'd', 200);
    name[200] = '\0';
    support_tmp_path(&w->tmp, name, folder, sizeof folder);
    assert_int_equal(mkdir(folder, 0777), 0);
    snprintf(path, sizeof path, "%s/m.gguf", folder);
    tiny_model t = tiny_model_of("llama");
    t.edit[t.n_edits++] = (tiny_edit){TINY_DROP, "output_norm.weight", 0, NULL};
    tiny_model_write(&t, path);
    assert_int_equal(try_load(w, path, NULL, &why), SPEC_ERR_CORRUPT);
    assert_true(strncmp(why.text, "...ddd", 6) == 0);
    assert_string_equal(why.text + 203, ": tensor output_norm.weight is missing");
}

/* ---- memory -------------------------------------------------------------------------- */

static void refuse_all(const model_world *w, const char *path) {
    support_heap heap;
    support_heap_init(&heap);
    spec_allocator alloc = support_alloc(&heap);
    spec_message why;
    size_t k = 0;
    for (int err = SPEC_ERR_NOMEM; err != SPEC_OK; k++) {
        support_heap_refuse(&heap, k, k % 2);
        err = try_load(w, path, &alloc, &why);
        assert_int_equal(heap.live_bytes, 0);
        if (heap.refused == 0)
            assert_int_equal(err, SPEC_OK);
        else
            assert_int_equal(err, SPEC_ERR_NOMEM);
    }
    assert_true(k > 10);
    support_heap_assert_clean(&heap);
}

static void memory_that_runs_out(void **state) {
    char path[256];
    tiny_model t = tiny_model_of("mixtral");
    t.type = SPEC_TYPE_Q8_0;
    t.rope_factors = true;
    refuse_all(*state, model_world_write(*state, &t, path, sizeof path));
    t = tiny_model_of("gemma3");
    t.format = SPEC_FORMAT_SAFETENSORS;
    refuse_all(*state, model_world_write(*state, &t, path, sizeof path));
}

/* A truncated or damaged file is refused or loaded, never worse. */
static void random_damage(void **state) {
    const model_world *w = *state;
    char path[256];
    size_t n, loaded = 0, refused = 0;
    spec_message why;
    support_rng r = support_rng_new(support_seed(), 7);
    tiny_model t = tiny_model_of("gemma3");
    t.dim = 16;
    t.ff = 16;
    t.vocab = 16;
    char *file = support_read_file(model_world_write(w, &t, path, sizeof path), &n);
    for (int round = 0; round < 300; round++) {
        uint32_t at = support_rng_below(&r, 6000);
        char old = file[at];
        file[at] = (char)support_rng_next(&r);
        support_write_file(path, file, round % 10 ? n : n - 1 - support_rng_below(&r, (uint32_t)n - 1));
        if (try_load(w, path, NULL, &why) == SPEC_OK)
            loaded++;
        else
            refused += why.text[0] != '\0';
        file[at] = old;
    }
    assert_int_equal(loaded + refused, 300);
    assert_true(loaded > 0 && refused > 30);
    free(file);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(architecture),
        cmocka_unit_test(metadata),
        cmocka_unit_test(tensors),
        cmocka_unit_test(folders),
        cmocka_unit_test(layers_that_differ),
        cmocka_unit_test(files_that_are_no_models),
        cmocka_unit_test(long_paths),
        cmocka_unit_test(memory_that_runs_out),
        cmocka_unit_test(random_damage),
    };
    return cmocka_run_group_tests(tests, model_world_set_up, model_world_tear_down);
}
