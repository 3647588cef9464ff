/* SPDX-License-Identifier: MIT */
/* A target's options, description, kernels and embedding rows. */
#include <math.h>
#include <string.h>

#include "model_world.h"
#include "target_internal.h"

static spec_target *open_model(const model_world *w, const tiny_model *t, const spec_target_options *o) {
    char path[256];
    spec_message why;
    spec_target *target = NULL;
    model_world_write(w, t, path, sizeof path);
    if (spec_target_open(&target, path, o, NULL, &why) != SPEC_OK) fail_msg("%s", why.text);
    return target;
}

static void defaults(void **state) {
    tiny_model t = tiny_model_of("gemma2");
    spec_target_info info = {.size = sizeof info};
    spec_target *target = open_model(*state, &t, NULL);
    spec_target_get_info(target, &info);
    assert_int_equal(info.size, sizeof info);
    assert_string_equal(info.arch, "gemma2");
    assert_string_equal(info.format, "GGUF v3");
    assert_true(info.vocab == t.vocab && info.dim == t.dim && info.n_layers == t.layers);
    assert_true(info.n_heads == t.heads && info.n_kv_heads == t.kv_heads && info.head_dim == t.head_dim);
    assert_true(info.n_ff == t.ff && info.n_experts == 0 && info.n_experts_used == 0);
    assert_true(info.context == t.context && info.train_context == t.context);
    assert_true(info.tied && info.bos == 1 && info.eos == 2);
    assert_int_equal(info.threads, specp_team_cores() < 256 ? specp_team_cores() : 256);
    assert_int_equal(info.kv_type, SPEC_TYPE_F16);
    assert_int_equal(info.matmul, SPEC_MATMUL_EXACT);
    assert_int_equal(info.kv_bytes_per_token, t.layers * 2 * t.kv_heads * t.head_dim * 2);
    assert_true(info.load_seconds > 0 && info.repack_seconds == 0);
    assert_string_equal(spec_tensors_format(spec_target_tensors(target)), "GGUF v3");
    size_t bytes = 0;
    for (size_t i = 0; i < spec_tensors_count(spec_target_tensors(target)); i++)
        bytes += spec_tensors_at(spec_target_tensors(target), i)->bytes;
    assert_int_equal(info.weight_bytes, bytes);
    memset(&info, 0x55, sizeof info);
    info.size = offsetof(spec_target_info, vocab); /* a caller made for an older library */
    spec_target_get_info(target, &info);
    assert_string_equal(info.format, "GGUF v3");
    assert_int_equal(info.size, offsetof(spec_target_info, vocab));
    assert_int_equal(info.vocab, 0x5555555555555555);
    spec_target_free(target);
    spec_target_free(NULL);
}

static void options(void **state) {
    tiny_model t = tiny_model_of("llama");
    t.type = SPEC_TYPE_Q8_0;
    spec_target_info info = {.size = sizeof info};
    spec_target_options o = {.size = sizeof o,
                             .threads = 3,
                             .kv_type = SPEC_TYPE_F32,
                             .kv_type_given = 1,
                             .matmul = SPEC_MATMUL_PREFILL,
                             .max_context = 4000};
    spec_target *target = open_model(*state, &t, &o);
    spec_target_get_info(target, &info);
    assert_true(info.threads == 3 && info.context == 4000 && info.train_context == t.context);
    assert_true(info.kv_type == SPEC_TYPE_F32 && info.matmul == SPEC_MATMUL_PREFILL);
    assert_int_equal(info.kv_bytes_per_token, t.layers * 2 * t.kv_heads * t.head_dim * 4);
    assert_true(info.repack_seconds > 0 && info.repack_seconds <= info.load_seconds);
    assert_true(info.repacked_bytes > info.weight_bytes / 2);
    spec_target_free(target);
}

static void options_that_are_refused(void **state) {
    const model_world *w = *state;
    static const struct {
        spec_target_options o;
        const char *says;
    } refusals[] = {
        {{.size = 8}, "options.size is 8"},
        {{.size = sizeof(spec_target_options), .threads = 257}, "257 threads, at most 256"},
        {{.size = sizeof(spec_target_options), .kv_type = SPEC_TYPE_Q8_0, .kv_type_given = 1}, "type Q8_0"},
        {{.size = sizeof(spec_target_options), .matmul = (spec_matmul)3}, "3 is no way to multiply"},
        {{.size = sizeof(spec_target_options), .max_context = (size_t)INT32_MAX + 1},
         "context of 2147483648"},
    };
    char path[256];
    spec_message why;
    tiny_model t = tiny_model_of("llama");
    model_world_write(w, &t, path, sizeof path);
    for (size_t i = 0; i < sizeof refusals / sizeof refusals[0]; i++) {
        spec_target *target = (spec_target *)&why;
        assert_int_equal(spec_target_open(&target, path, &refusals[i].o, NULL, &why), SPEC_ERR_INVALID);
        assert_non_null(strstr(why.text, refusals[i].says));
        assert_ptr_equal(target, &why);
    }
    spec_target *target;
    assert_int_equal(spec_target_open(NULL, path, NULL, NULL, &why), SPEC_ERR_INVALID);
    assert_int_equal(spec_target_open(&target, NULL, NULL, NULL, NULL), SPEC_ERR_INVALID);
    assert_int_equal(spec_target_open(&target, "no such file", NULL, NULL, &why), SPEC_ERR_NOT_FOUND);
}

static void memory_that_runs_out(void **state) {
    const model_world *w = *state;
    char path[256];
    support_heap heap;
    support_heap_init(&heap);
    spec_allocator alloc = support_alloc(&heap);
    spec_message why;
    spec_target_options o = {.size = sizeof o, .threads = 2};
    tiny_model t = tiny_model_of("qwen2");
    t.type = SPEC_TYPE_Q4_0;
    model_world_write(w, &t, path, sizeof path);
    int err = SPEC_ERR_NOMEM;
    for (size_t k = 0; err != SPEC_OK; k++) {
        spec_target *target = NULL;
        support_heap_refuse(&heap, k, false);
        err = spec_target_open(&target, path, &o, &alloc, &why);
        assert_int_equal(err, heap.refused != 0 ? SPEC_ERR_NOMEM : SPEC_OK);
        assert_int_equal(target != NULL, err == SPEC_OK);
        assert_true(err == SPEC_OK || strstr(why.text, "memory") != NULL ||
                    strstr(why.text, "threads") != NULL);
        spec_target_free(target);
        support_heap_assert_clean(&heap);
        assert_true(k < 1000);
    }
    assert_true(heap.requests > 20);
}

/* ---- instruction sets and kernels ------------------------------------------------------- */

static void instruction_sets(void **state) {
    static const char *const names[] = {"scalar", "avx2", "avx512", "avx512-vnni"};
    unsigned has = specp_isa_detect();
    unsigned best = has & SPECP_ISA_VNNI ? 3 : has & SPECP_ISA_AVX512 ? 2 : has & SPECP_ISA_AVX2 ? 1 : 0;
    tiny_model t = tiny_model_of("llama");
    unsigned mask = 77;
    assert_int_equal(spec_target_isa("mmx", &mask), SPEC_ERR_NOT_FOUND);
    assert_int_equal(spec_target_isa(NULL, &mask), SPEC_ERR_NOT_FOUND);
    assert_int_equal(mask, 77);
    for (unsigned i = 0; i < 4; i++) {
        spec_target_info info = {.size = sizeof info};
        spec_target_options o = {.size = sizeof o};
        assert_int_equal(spec_target_isa(names[i], &o.isa), SPEC_OK);
        spec_target *target = open_model(*state, &t, &o);
        spec_target_get_info(target, &info);
        assert_string_equal(info.isa, names[i < best ? i : best]);
        spec_target_free(target);
    }
}

/* The use of an operation with weights of one type, or of the only type there is. */
static bool find_use(const spec_target *target, const char *operation, spec_kernel_use *use) {
    for (size_t i = 0; spec_target_kernel(target, i, use) == SPEC_OK; i++)
        if (strcmp(use->operation, operation) == 0) return true;
    return false;
}

static void assert_use(const spec_target *target, const char *operation, spec_type type, size_t count,
                       size_t bytes) {
    spec_kernel_use use;
    if (!find_use(target, operation, &use)) fail_msg("%s is not listed", operation);
    assert_int_equal(use.type, type);
    assert_int_equal(use.count, count);
    if (bytes != 0) assert_int_equal(use.bytes, bytes);
    assert_non_null(use.kernel);
}

static void kernels_of_every_operation(void **state) {
    tiny_model t = tiny_model_of("mixtral");
    t.type = SPEC_TYPE_Q8_0;
    spec_target *target = open_model(*state, &t, NULL);
    spec_kernel_use use;
    assert_use(target, "embedding", SPEC_TYPE_Q8_0, 1, 128 * 64 / 32 * 34);
    assert_use(target, "attn_q", SPEC_TYPE_Q8_0, 2, 2 * 64 * 64 / 32 * 34);
    assert_use(target, "attn_k", SPEC_TYPE_Q8_0, 2, 2 * 32 * 64 / 32 * 34);
    assert_use(target, "attn_v", SPEC_TYPE_Q8_0, 2, 2 * 32 * 64 / 32 * 34);
    assert_use(target, "attn_output", SPEC_TYPE_Q8_0, 2, 2 * 64 * 64 / 32 * 34);
    assert_use(target, "router", SPEC_TYPE_F32, 2, 2 * 4 * 64 * 4);
    assert_use(target, "experts_gate", SPEC_TYPE_Q8_0, 8, 8 * 96 * 64 / 32 * 34);
    assert_use(target, "experts_up", SPEC_TYPE_Q8_0, 8, 8 * 96 * 64 / 32 * 34);
    assert_use(target, "experts_down", SPEC_TYPE_Q8_0, 8, 8 * 64 * 96 / 32 * 34);
    assert_use(target, "output", SPEC_TYPE_Q8_0, 1, 128 * 64 / 32 * 34);
    assert_use(target, "norm", SPEC_TYPE_F32, 5, 0);
    assert_use(target, "attention", SPEC_TYPE_F16, 2, 0);
    assert_use(target, "activation", SPEC_TYPE_F32, 2, 0);
    assert_false(find_use(target, "ffn_gate", &use));
    assert_true(find_use(target, "attn_q", &use));
    assert_ptr_equal(use.kernel, target->k.matmul_name[SPECP_FORM_W8]);
    spec_target_free(target);
}

/* Matrices of one operation that differ in type are listed apart. */
static void kernels_by_type(void **state) {
    tiny_model t = tiny_model_of("llama");
    t.edit[t.n_edits++] = (tiny_edit){TINY_TYPE, "blk.1.ffn_down.weight", SPEC_TYPE_Q8_0, NULL};
    spec_target *target = open_model(*state, &t, NULL);
    spec_kernel_use use;
    size_t seen = 0;
    for (size_t i = 0; spec_target_kernel(target, i, &use) == SPEC_OK; i++)
        if (strcmp(use.operation, "ffn_down") == 0) {
            assert_int_equal(use.count, 1);
            assert_int_equal(use.type, seen == 0 ? SPEC_TYPE_F32 : SPEC_TYPE_Q8_0);
            seen++;
        }
    assert_int_equal(seen, 2);
    spec_target_free(target);
}

/* Nothing is slow silently: with the best set masked every product and elementwise operation says so. */
static void kernels_that_are_slower(void **state) {
    tiny_model t = tiny_model_of("gemma3");
    spec_kernel_use use;
    spec_target_options o = {.size = sizeof o};
    assert_int_equal(spec_target_isa("scalar", &o.isa), SPEC_OK);
    spec_target *target = open_model(*state, &t, &o);
    for (size_t i = 0; spec_target_kernel(target, i, &use) == SPEC_OK; i++) {
        bool masked = specp_isa_detect() != 0 && strcmp(use.operation, "embedding") != 0;
        if (use.slower != NULL)
            assert_true(masked && strstr(use.slower, "options.isa") != NULL);
        else
            assert_false(masked);
    }
    spec_target_free(target);
    target = open_model(*state, &t, NULL);
    for (size_t i = 0; spec_target_kernel(target, i, &use) == SPEC_OK; i++) assert_null(use.slower);
    spec_target_free(target);
    o = (spec_target_options){.size = sizeof o, .matmul = SPEC_MATMUL_BLAS};
    target = open_model(*state, &t, &o);
    bool below;
    (void)specp_blas_core(&below);
    assert_true(find_use(target, "ffn_up", &use));
    assert_string_equal(use.kernel, "blas");
    assert_int_equal(use.slower != NULL, below);
    spec_target_free(target);
    o.matmul = SPEC_MATMUL_PREFILL;
    target = open_model(*state, &t, &o);
    assert_use(target, "prompts", SPEC_TYPE_F32, 7 * t.layers + 1, 0);
    assert_true(find_use(target, "prompts", &use));
    assert_string_equal(use.kernel, "blas");
    spec_target_free(target);
}

/* ---- embeddings ----------------------------------------------------------------------------- */

static void embeddings(void **state) {
    static const char *const archs[] = {"llama", "gemma2"};
    for (size_t a = 0; a < 2; a++) {
        tiny_model t = tiny_model_of(archs[a]);
        spec_target *target = open_model(*state, &t, NULL);
        const spec_tensor *embed = spec_tensors_find(spec_target_tensors(target), "token_embd.weight");
        float row[64], scale = a == 0 ? 1.0f : 8.0f;
        for (spec_token token = 0; token < 128; token++) {
            assert_int_equal(spec_target_embedding(target, token, row), SPEC_OK);
            for (size_t i = 0; i < 64; i++) {
                float x;
                memcpy(&x, (const char *)embed->data + ((size_t)token * 64 + i) * 4, sizeof x);
                assert_true(row[i] == x * scale);
            }
        }
        assert_int_equal(spec_target_embedding(target, 128, row), SPEC_ERR_INVALID);
        assert_int_equal(spec_target_embedding(target, -1, row), SPEC_ERR_INVALID);
        spec_target_free(target);
    }
}

/* ---- one function from either kind of file ------------------------------------------------------ */

enum { TOKENS = 40, VOCAB = 128 };

/* Logits after each of 40 tokens. */
static void run_model(const model_world *w, const tiny_model *t, float *logits) {
    spec_target_options o = {.size = sizeof o, .kv_type = SPEC_TYPE_F32, .kv_type_given = 1};
    spec_target *target = open_model(w, t, &o);
    spec_sequence *sequence;
    spec_token tokens[TOKENS];
    spec_forward_out out;
    spec_message why;
    for (int i = 0; i < TOKENS; i++) tokens[i] = (i * i * 7 + 3) % VOCAB;
    assert_int_equal(spec_sequence_new(&sequence, target, 0), SPEC_OK);
    spec_forward_item item = {
        .sequence = sequence, .tokens = tokens, .n_tokens = TOKENS, .tree = NULL, .all_rows = 1};
    if (spec_target_forward(target, &item, 1, NULL, &out, &why) != SPEC_OK) fail_msg("%s", why.text);
    memcpy(logits, out.logits, sizeof(float) * TOKENS * VOCAB);
    spec_sequence_free(sequence);
    spec_target_free(target);
}

/* Bits are equal but for llama, whose rows of q and k lie in another order in GGUF files. */
static void both_formats_compute_the_same(void **state) {
    static const char *const archs[] = {"llama", "mistral", "mixtral", "qwen2",
                                        "qwen3", "gemma2",  "gemma3",  "olmo2"};
    static float gguf[TOKENS * VOCAB], hf[TOKENS * VOCAB];
    for (size_t a = 0; a < sizeof archs / sizeof archs[0]; a++) {
        tiny_model t = tiny_model_of(archs[a]);
        double square = 0;
        run_model(*state, &t, gguf);
        t.format = SPEC_FORMAT_SAFETENSORS;
        run_model(*state, &t, hf);
        for (size_t i = 0; i < TOKENS * VOCAB; i++) square += (double)gguf[i] * (double)gguf[i];
        double std = sqrt(square / (TOKENS * VOCAB));
        assert_true(std > 0.5 && std < 50);
        if (a > 2) assert_memory_equal(gguf, hf, sizeof gguf);
        for (size_t i = 0; i < TOKENS * VOCAB; i++)
            assert_true(fabs((double)gguf[i] - (double)hf[i]) < 1e-5 * std);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults),
        cmocka_unit_test(options),
        cmocka_unit_test(options_that_are_refused),
        cmocka_unit_test(memory_that_runs_out),
        cmocka_unit_test(instruction_sets),
        cmocka_unit_test(kernels_of_every_operation),
        cmocka_unit_test(kernels_by_type),
        cmocka_unit_test(kernels_that_are_slower),
        cmocka_unit_test(embeddings),
        cmocka_unit_test(both_formats_compute_the_same),
    };
    return cmocka_run_group_tests(tests, model_world_set_up, model_world_tear_down);
}
