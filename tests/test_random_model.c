/* SPDX-License-Identifier: MIT */
/* Random models: what is written, that it is what was asked for, and refusals. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "random_model.h"
#include "random_vocab.h"
#include "spec_target.h"
#include "support.h"

static void make(const char *name, random_model m) {
    spec_message why = {""};
    int rc = random_model_write(support_at(name), &m, &why);
    if (rc != SPEC_OK) fail_msg("%s: %d %s", m.shape ? m.shape : "-", rc, why.text);
}

static spec_tensors *open_file(const char *name) {
    spec_tensors *f = NULL;
    spec_message why = {""};
    if (spec_tensors_open(&f, support_at(name), NULL, &why) != SPEC_OK) fail_msg("%s", why.text);
    return f;
}

static const spec_tensor *find(const spec_tensors *f, const char *name) {
    const spec_tensor *t = spec_tensors_find(f, name);
    if (!t) fail_msg("no tensor %s", name);
    return t;
}

static void has_shape(const spec_tensors *f, const char *name, spec_type type, uint64_t d0, uint64_t d1,
                      uint64_t d2) {
    const spec_tensor *t = find(f, name);
    if (t->type != type) fail_msg("%s is %s, not %s", name, spec_type_name(t->type), spec_type_name(type));
    assert_int_equal(t->n_dims, 1 + (d1 > 0) + (d2 > 0));
    assert_int_equal(t->dim[0], d0);
    if (d1) assert_int_equal(t->dim[1], d1);
    if (d2) assert_int_equal(t->dim[2], d2);
}

static void has_uint(const spec_tensors *f, const char *key, uint64_t expected) {
    uint64_t v = 0;
    if (spec_tensors_uint(f, key, &v) != SPEC_OK) fail_msg("no %s", key);
    if (v != expected) fail_msg("%s is %llu", key, (unsigned long long)v);
}

/* Mean and deviation of a tensor's elements. */
static void moments(const spec_tensor *t, double *mean, double *deviation) {
    size_t n = t->bytes / spec_type_block_bytes(t->type) * spec_type_block(t->type);
    float *x = malloc(n * sizeof *x);
    double sum = 0, squares = 0;
    assert_non_null(x);
    assert_int_equal(spec_type_to_float(t->type, t->data, x, n), SPEC_OK);
    for (size_t i = 0; i < n; i++) {
        sum += x[i];
        squares += (double)x[i] * x[i];
    }
    free(x);
    *mean = sum / (double)n;
    *deviation = sqrt(squares / (double)n - *mean * *mean);
}

static void deviates(const spec_tensors *f, const char *name, double expected) {
    double mean, deviation;
    moments(find(f, name), &mean, &deviation);
    if (fabs(deviation / expected - 1) > 0.05 || fabs(mean) > 0.1 * expected)
        fail_msg("%s: mean %g, deviation %g, not %g", name, mean, deviation, expected);
}

/* ---- what is written ----------------------------------------------------- */

static void test_llama(void **state) {
    (void)state;
    make("a.gguf", (random_model){.shape = "tiny,vocab=600,context=100", .seed = 3});
    spec_tensors *f = open_file("a.gguf");
    assert_int_equal(spec_tensors_count(f), 2 * 9 + 3);
    has_shape(f, "token_embd.weight", SPEC_TYPE_F32, 600, 64, 0);
    has_shape(f, "output.weight", SPEC_TYPE_F32, 600, 64, 0);
    has_shape(f, "output_norm.weight", SPEC_TYPE_F32, 64, 0, 0);
    has_shape(f, "blk.0.attn_q.weight", SPEC_TYPE_F32, 64, 64, 0);
    has_shape(f, "blk.1.attn_k.weight", SPEC_TYPE_F32, 32, 64, 0);
    has_shape(f, "blk.1.attn_v.weight", SPEC_TYPE_F32, 32, 64, 0);
    has_shape(f, "blk.1.attn_output.weight", SPEC_TYPE_F32, 64, 64, 0);
    has_shape(f, "blk.1.ffn_gate.weight", SPEC_TYPE_F32, 160, 64, 0);
    has_shape(f, "blk.1.ffn_down.weight", SPEC_TYPE_F32, 64, 160, 0);
    has_uint(f, "llama.vocab_size", 600);
    has_uint(f, "llama.context_length", 100);
    has_uint(f, "llama.embedding_length", 64);
    has_uint(f, "llama.block_count", 2);
    has_uint(f, "llama.feed_forward_length", 160);
    has_uint(f, "llama.attention.head_count", 4);
    has_uint(f, "llama.attention.head_count_kv", 2);
    has_uint(f, "llama.rope.dimension_count", 16);
    deviates(f, "token_embd.weight", 1);
    deviates(f, "output.weight", 2 / 8.0);
    deviates(f, "blk.0.attn_q.weight", 1.5 / 8);
    deviates(f, "blk.1.ffn_up.weight", 1 / 8.0);
    deviates(f, "blk.1.ffn_down.weight", 1 / 0.6 / sqrt(160));
    spec_tensors_free(f);
}

/* The names are those of the speed tables. */
static void test_named_shapes(void **state) {
    (void)state;
    static const struct {
        const char *shape, *type;
        uint64_t parameters, bytes;
    } t[] = {
        {"110M", "F32", 2 * 32000ull * 768 + 12 * (4 * 768 * 768 + 3 * 768 * 2048 + 2 * 768) + 768, 0},
        {"1.1B", "F16",
         2 * 32000ull * 2048 + 22 * (2 * 2048 * 2048 + 2 * 256 * 2048 + 3 * 2048 * 5632 + 2 * 2048) + 2048,
         0},
        {"small", "Q8_0", 0, 0},
        {"15M", "Q4_0", 0, 0},
    };
    for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
        random_model m = {.shape = t[i].shape, .type = t[i].type};
        spec_message why = {""};
        assert_int_equal(random_model_check(&m, &why), SPEC_OK);
        if (t[i].parameters) assert_int_equal(m.parameters, t[i].parameters);
        assert_true(m.bytes > 0 && m.parameters > 0);
    }
}

static void test_architectures(void **state) {
    (void)state;
    make("q.gguf", (random_model){.shape = "tiny", .arch = "qwen2"});
    spec_tensors *f = open_file("q.gguf");
    has_shape(f, "blk.1.attn_q.bias", SPEC_TYPE_F32, 64, 0, 0);
    has_shape(f, "blk.1.attn_v.bias", SPEC_TYPE_F32, 32, 0, 0);
    assert_null(spec_tensors_find(f, "output.weight"));
    deviates(f, "token_embd.weight", 2 / 8.0);
    spec_tensors_free(f);

    make("q3.gguf", (random_model){.shape = "tiny,head_dim=32,tied=0", .arch = "qwen3"});
    f = open_file("q3.gguf");
    has_shape(f, "blk.0.attn_q.weight", SPEC_TYPE_F32, 128, 64, 0);
    has_shape(f, "blk.0.attn_q_norm.weight", SPEC_TYPE_F32, 32, 0, 0);
    has_shape(f, "output.weight", SPEC_TYPE_F32, 512, 64, 0);
    has_uint(f, "qwen3.attention.key_length", 32);
    spec_tensors_free(f);

    make("g.gguf", (random_model){.shape = "tiny", .arch = "gemma2"});
    f = open_file("g.gguf");
    has_shape(f, "blk.0.post_ffw_norm.weight", SPEC_TYPE_F32, 64, 0, 0);
    has_uint(f, "gemma2.attention.sliding_window", 128);
    spec_tensors_free(f);

    make("o.gguf", (random_model){.shape = "tiny", .arch = "olmo2"});
    f = open_file("o.gguf");
    has_shape(f, "blk.0.attn_k_norm.weight", SPEC_TYPE_F32, 32, 0, 0);
    assert_null(spec_tensors_find(f, "blk.0.attn_norm.weight"));
    spec_tensors_free(f);

    make("m.gguf", (random_model){.shape = "tiny,experts=4", .arch = "mixtral", .type = "Q8_0"});
    f = open_file("m.gguf");
    has_shape(f, "blk.0.ffn_gate_inp.weight", SPEC_TYPE_F32, 4, 64, 0);
    has_shape(f, "blk.0.ffn_down_exps.weight", SPEC_TYPE_Q8_0, 4, 64, 160);
    has_uint(f, "llama.expert_count", 4);
    has_uint(f, "llama.expert_used_count", 2);
    spec_tensors_free(f);
}

static void test_types(void **state) {
    (void)state;
    static const char *const name[] = {"F32", "F16", "BF16", "Q8_0", "Q4_0", "Q5_0", "Q4_K", "Q5_K", "Q6_K"};
    for (size_t i = 0; i < sizeof name / sizeof *name; i++) {
        spec_type type;
        make("t.gguf",
             (random_model){.shape = "tiny,dim=256,hidden=256,layers=1,vocab=300", .type = name[i]});
        spec_tensors *f = open_file("t.gguf");
        assert_int_equal(spec_type_find(name[i], &type), SPEC_OK);
        has_shape(f, "blk.0.ffn_up.weight", type, 256, 256, 0);
        has_shape(f, "token_embd.weight", type, 300, 256, 0);
        has_shape(f, "blk.0.ffn_norm.weight", SPEC_TYPE_F32, 256, 0, 0);
        deviates(f, "blk.0.ffn_up.weight", 1 / 16.0);
        deviates(f, "output.weight", 2 / 16.0);
        spec_tensors_free(f);
    }
}

/* Eight layers: Q6_K in the first and the last, and in every third from 3 on. */
static void test_mixture(void **state) {
    (void)state;
    static const bool more[8] = {1, 0, 0, 1, 0, 0, 1, 1};
    const char *shape = "tiny,dim=256,hidden=256,layers=8,vocab=256,kv=1";
    make("k.gguf", (random_model){.shape = shape, .type = "Q4_K_M"});
    spec_tensors *f = open_file("k.gguf");
    for (int i = 0; i < 8; i++) {
        char text[64];
        snprintf(text, sizeof text, "blk.%d.attn_v.weight", i);
        assert_int_equal(find(f, text)->type, more[i] ? SPEC_TYPE_Q6_K : SPEC_TYPE_Q4_K);
        snprintf(text, sizeof text, "blk.%d.ffn_down.weight", i);
        assert_int_equal(find(f, text)->type, more[i] ? SPEC_TYPE_Q6_K : SPEC_TYPE_Q4_K);
        snprintf(text, sizeof text, "blk.%d.ffn_up.weight", i);
        assert_int_equal(find(f, text)->type, SPEC_TYPE_Q4_K);
    }
    assert_int_equal(find(f, "output.weight")->type, SPEC_TYPE_Q6_K);
    assert_int_equal(find(f, "token_embd.weight")->type, SPEC_TYPE_Q4_K);
    spec_tensors_free(f);
}

static bool same_file(const char *a, const char *b) {
    size_t n, m;
    char *x = support_read_file(support_at(a), &n), *y = support_read_file(support_at(b), &m);
    bool same = n == m && memcmp(x, y, n) == 0;
    free(x);
    free(y);
    return same;
}

/* Rows longer than a piece and pieces of many rows; threads must not show. */
static void test_same_bytes(void **state) {
    (void)state;
    const char *shape = "tiny,vocab=40000,layers=1";
    make("1.gguf", (random_model){.shape = shape, .type = "Q8_0", .seed = 5});
    make("3.gguf", (random_model){.shape = shape, .type = "Q8_0", .seed = 5, .threads = 3});
    make("s.gguf", (random_model){.shape = shape, .type = "Q8_0", .seed = 6});
    assert_true(same_file("1.gguf", "3.gguf"));
    assert_false(same_file("1.gguf", "s.gguf"));
}

/* No row is like another, of any piece, no weight like its neighbour; and two
 * tensors differ. */
static void test_rows_differ(void **state) {
    (void)state;
    enum { ROWS = 40000, DIM = 64 };
    make("r.gguf", (random_model){.shape = "tiny,vocab=40000,layers=1", .seed = 9});
    spec_tensors *f = open_file("r.gguf");
    const float *x = find(f, "token_embd.weight")->data, *q = find(f, "blk.0.attn_q.weight")->data;
    const float *o = find(f, "blk.0.attn_output.weight")->data;
    size_t equal = 0;
    for (size_t i = 1; i < ROWS; i++) equal += memcmp(x, x + i * DIM, DIM * sizeof *x) == 0;
    assert_int_equal(equal, 0);
    for (size_t i = 1; i < DIM; i++) equal += x[i] == x[i - 1];
    assert_true(equal < 8);
    for (size_t i = 0; i < DIM; i++) equal += fabsf(q[i] / 1.5f - o[i]) < 1e-6f;
    assert_true(equal < 16);
    spec_tensors_free(f);
}

/* ---- what they say ------------------------------------------------------- */

static double deviation_of(const float *x, size_t n) {
    double sum = 0, squares = 0;
    for (size_t i = 0; i < n; i++) {
        sum += x[i];
        squares += (double)x[i] * x[i];
    }
    return sqrt(squares / (double)n - sum / (double)n * (sum / (double)n));
}

/* Greedy text of n tokens; their logits' mean deviation. */
static double decode(spec_target *t, spec_token *text, size_t n, size_t vocab) {
    spec_sequence *s;
    spec_message why = {""};
    double deviation = 0;
    text[0] = 1;
    assert_int_equal(spec_sequence_new(&s, t, 0), SPEC_OK);
    for (size_t i = 0; i + 1 < n; i++) {
        spec_forward_item item = {.sequence = s, .tokens = text + i, .n_tokens = 1};
        spec_forward_out out;
        if (spec_target_forward(t, &item, 1, NULL, &out, &why) != SPEC_OK) fail_msg("%s", why.text);
        text[i + 1] = out.argmax[0];
        deviation += deviation_of(out.logits, vocab) / (double)(n - 1);
    }
    spec_sequence_free(s);
    return deviation;
}

/* Every architecture opens; its logits deviate by 2; its text is no small circle. */
static void test_text(void **state) {
    (void)state;
    static const char *const arch[] = {"llama", "mixtral", "qwen2", "qwen3", "gemma2", "gemma3", "olmo2"};
    enum { N = 200, VOCAB = 512 };
    for (size_t i = 0; i < sizeof arch / sizeof *arch; i++) {
        spec_target_options o = {.size = sizeof o, .threads = 1};
        spec_target *t;
        spec_message why = {""};
        spec_token text[N];
        size_t distinct = 0;
        make("t.gguf", (random_model){.shape = "tiny", .arch = arch[i], .seed = 1});
        if (spec_target_open(&t, support_at("t.gguf"), &o, NULL, &why) != SPEC_OK) fail_msg("%s", why.text);
        double deviation = decode(t, text, N, VOCAB);
        spec_target_free(t);
        for (size_t k = 0; k < N; k++) {
            size_t before = 0;
            while (text[before] != text[k]) before++;
            distinct += before == k;
        }
        if (deviation < 1.7 || deviation > 2.3 || distinct < 40)
            fail_msg("%s: logits deviate by %g; %zu tokens of %d differ", arch[i], deviation, distinct, N);
    }
}

/* ---- the vocabulary ------------------------------------------------------ */

static int compare_text(const void *a, const void *b) { return strcmp(a, b); }

static void test_pieces(void **state) {
    (void)state;
    enum { N = 300000 };
    char(*piece)[RANDOM_VOCAB_PIECE] = calloc(N, sizeof *piece), buf[RANDOM_VOCAB_PIECE];
    assert_non_null(piece);
    for (size_t i = 0; i < N; i++) {
        size_t n = random_vocab_piece(i, piece[i]);
        assert_true(n > 0 && n < RANDOM_VOCAB_PIECE);
        piece[i][n] = '\0';
    }
    assert_string_equal(piece[0], "<unk>");
    assert_string_equal(piece[3], "<0x00>");
    assert_string_equal(piece[258], "<0xFF>");
    assert_string_equal(piece[259], "\xe2\x96\x81");
    assert_string_equal(piece[260], "!");
    assert_string_equal(piece[353], "~");
    assert_string_equal(piece[354], "ba");
    assert_string_equal(piece[355], "be");
    assert_string_equal(piece[454], "\xe2\x96\x81"
                                    "ba");
    assert_string_equal(piece[554], "baba");
    assert_string_equal(piece[20554], "bababa");
    qsort(piece, N, sizeof *piece, compare_text);
    for (size_t i = 0; i + 1 < N; i++) assert_true(strcmp(piece[i], piece[i + 1]) != 0);
    assert_true(random_vocab_piece((1 << 20) - 1, buf) < RANDOM_VOCAB_PIECE);
    free(piece);
}

static void test_vocabulary(void **state) {
    (void)state;
    const char *s;
    size_t n;
    int64_t kind;
    double score;
    make("v.gguf", (random_model){.shape = "tiny,vocab=460,layers=1"});
    spec_tensors *f = open_file("v.gguf");
    const spec_meta *tokens = spec_tensors_meta(f, "tokenizer.ggml.tokens");
    assert_non_null(tokens);
    assert_int_equal(tokens->n, 460);
    assert_int_equal(spec_meta_string(tokens, 354, &s, &n), SPEC_OK);
    assert_true(n == 2 && memcmp(s, "ba", 2) == 0);
    assert_int_equal(spec_meta_int(spec_tensors_meta(f, "tokenizer.ggml.token_type"), 3, &kind), SPEC_OK);
    assert_int_equal(kind, 6);
    assert_int_equal(spec_meta_float(spec_tensors_meta(f, "tokenizer.ggml.scores"), 459, &score), SPEC_OK);
    assert_true(score == 259 - 459);
    has_uint(f, "tokenizer.ggml.bos_token_id", 1);
    spec_tensors_free(f);
    /* Too small for all bytes: a model without one. */
    make("w.gguf", (random_model){.shape = "tiny,vocab=3,layers=1"});
    f = open_file("w.gguf");
    assert_null(spec_tensors_meta(f, "tokenizer.ggml.tokens"));
    spec_tensors_free(f);
}

/* ---- refusals ------------------------------------------------------------ */

static void test_refused(void **state) {
    (void)state;
    static const struct {
        random_model m;
        const char *said;
    } t[] = {
        {{.shape = "huge"}, "'huge' is neither a shape (tiny"},
        {{.shape = "tiny,dimm=64"}, "did you mean 'dim'?"},
        {{.shape = "tiny,dim"}, "'dim' is neither"},
        {{.shape = "tiny,dim="}, "dim: expected a whole number from 2 to 65536, found ''"},
        {{.shape = "dim=64x"}, "found '64x'"},
        {{.shape = "dim=-4"}, "found '-4'"},
        {{.shape = "layers=99999999999999999999"}, "layers: expected a whole number from 1 to 1000"},
        {{.shape = "tied=2"}, "tied: expected a whole number from 0 to 1"},
        {{.shape = "tiny,kv=3"}, "heads=4 is no multiple of kv=3"},
        {{.shape = "tiny,heads=3"}, "heads=3 is no multiple of kv=2"},
        {{.shape = "heads=3"}, "dim=64 is no multiple of heads=3"},
        {{.shape = "tiny,head_dim=7"}, "head_dim=7 is odd"},
        {{.shape = "tiny,used=2"}, "used=2 is more than experts=0"},
        {{.shape = "tiny,experts=2", .arch = "qwen2"}, "experts are for --arch llama and mixtral"},
        {{.shape = "tiny", .arch = "gpt2"}, "expected one of llama, mixtral"},
        {{.shape = "tiny", .type = "Q3_K"}, "expected one of F32, F16"},
        {{.shape = "tiny", .type = "I32"}, "found 'I32'"},
        {{.shape = "tiny", .type = "Q4_K"}, "token_embd.weight: rows of 64; Q4_K needs a multiple of 256"},
        {{.shape = "dim=256,hidden=100", .type = "Q8_0"}, "blk.0.ffn_down.weight: rows of 100; Q8_0 needs"},
    };
    for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
        random_model m = t[i].m;
        spec_message why = {""};
        assert_int_equal(random_model_check(&m, &why), SPEC_ERR_INVALID);
        if (!strstr(why.text, t[i].said)) fail_msg("no \"%s\" in: %s", t[i].said, why.text);
        why.text[0] = '\0';
        assert_int_equal(random_model_write(support_at("no.gguf"), &m, &why), SPEC_ERR_INVALID);
        assert_true(why.text[0]);
        FILE *f = fopen(support_at("no.gguf"), "rb");
        assert_null(f);
    }
    random_model m = {.shape = "tiny"};
    spec_message why = {""};
    assert_int_equal(random_model_write(support_at("no/such/place.gguf"), &m, &why), SPEC_ERR_IO);
    assert_true(strstr(why.text, "place.gguf") != NULL);
}

static bool count_progress(void *user, uint64_t done, uint64_t of) {
    uint64_t *last = user;
    assert_true(done > *last && done <= of);
    *last = done;
    return true;
}

static bool stop_half_way(void *user, uint64_t done, uint64_t of) {
    (void)user;
    return done < of / 2;
}

static void test_progress(void **state) {
    (void)state;
    uint64_t last = 0;
    spec_message why = {""};
    random_model m = {.shape = "tiny", .progress = count_progress, .user = &last};
    assert_int_equal(random_model_write(support_at("p.gguf"), &m, &why), SPEC_OK);
    assert_int_equal(last, m.bytes);
    assert_int_equal(m.bytes, 4 * m.parameters);
    m.progress = stop_half_way;
    assert_int_equal(random_model_write(support_at("half.gguf"), &m, &why), SPEC_ERR_STATE);
    FILE *f = fopen(support_at("half.gguf"), "rb");
    assert_null(f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_llama),         cmocka_unit_test(test_named_shapes),
        cmocka_unit_test(test_architectures), cmocka_unit_test(test_types),
        cmocka_unit_test(test_mixture),       cmocka_unit_test(test_same_bytes),
        cmocka_unit_test(test_rows_differ),   cmocka_unit_test(test_text),
        cmocka_unit_test(test_pieces),        cmocka_unit_test(test_vocabulary),
        cmocka_unit_test(test_refused),       cmocka_unit_test(test_progress),
    };
    return cmocka_run_group_tests(tests, support_at_set_up, support_at_tear_down);
}
