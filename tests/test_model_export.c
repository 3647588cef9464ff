/* SPDX-License-Identifier: MIT */
/*
 * Exported models: the target that is opened says what the model in training says; metadata,
 * types, vocabularies, refusals; memory and disk that give out.
 */
#include "support.h"

#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "model_export.h"
#include "random_model.h"
#include "spec_tokenizer.h"
#include "target_world.h"

#define SEQ 24

static train_llama_shape shape_of(size_t vocab, size_t dim, size_t head_dim, bool tied) {
    return (train_llama_shape){.vocab = vocab,
                               .dim = dim,
                               .n_layers = 2,
                               .n_heads = 4,
                               .n_kv_heads = 2,
                               .head_dim = head_dim,
                               .n_ff = dim * 2,
                               .rope_base = 10000.0,
                               .eps = 1e-5f,
                               .tied = tied};
}

/* With a deviation of 0.25 attention picks out positions, and logits deviate by more than 1. */
static train_llama *new_model(train_llama_shape s, float deviation) {
    train_llama *m;
    spec_message why;
    if (train_llama_new(&m, &s, SEQ, SEQ, NULL, NULL, &why)) fail_msg("%s", why.text);
    for (size_t i = 0; i < m->p.n_views; i++) {
        const train_view *v = &m->p.view[i];
        size_t n = v->rows * v->cols;
        train_params_normal(&m->p, support_seed(), v->offset, n, v->n_dims == 1 ? 0.2f : deviation);
        for (size_t j = 0; j < n && v->n_dims == 1; j++) m->p.value[v->offset + j] += 1.0f;
    }
    return m;
}

static void export(const char *name, const model_export *e) {
    spec_message why = {""};
    int rc = model_export_write(support_at(name), e, NULL, &why);
    if (rc != SPEC_OK) fail_msg("%s: %d %s", name, rc, why.text);
}

static spec_tensors *open_file(const char *name) {
    spec_tensors *f = NULL;
    spec_message why = {""};
    if (spec_tensors_open(&f, support_at(name), NULL, &why) != SPEC_OK) fail_msg("%s", why.text);
    return f;
}

/* ---- what it says -------------------------------------------------------- */

static double loss_of(train_llama *m, const spec_token *tokens, const spec_token *targets) {
    train_loss loss = {0};
    spec_message why;
    if (train_llama_run(m, tokens, targets, 1, SEQ, false, &loss, &why)) fail_msg("%s", why.text);
    return loss.sum;
}

static double target_loss(const float *logits, size_t vocab, spec_token target) {
    double most = logits[0], sum = 0;
    for (size_t i = 0; i < vocab; i++) most = fmax(most, (double)logits[i]);
    for (size_t i = 0; i < vocab; i++) sum += exp((double)logits[i] - most);
    return log(sum) + most - (double)logits[target];
}

/* Each row's loss for each token that could follow: the logits but for a number that a row's have in
 * common, which no loss depends on. The farthest off, in units of their deviation. */
static double farthest(train_llama *m, const spec_token *text, const float *logits) {
    const size_t vocab = m->shape.vocab;
    double worst = 0, sum = 0, squares = 0, n = 0;
    for (size_t r = 0; r < SEQ; r += 1 + r / 3) {
        for (size_t token = 0; token < vocab; token++) {
            spec_token targets[SEQ];
            for (size_t i = 0; i < SEQ; i++) targets[i] = i == r ? (spec_token)token : TRAIN_IGNORED;
            double loss = loss_of(m, text, targets), got = target_loss(logits + r * vocab, vocab, targets[r]);
            worst = fmax(worst, fabs(loss - got));
            sum += got;
            squares += got * got;
            n++;
        }
    }
    double deviation = sqrt(squares / n - sum / n * (sum / n));
    assert_true(deviation > 0.5);
    return worst / deviation;
}

static float *logits_of(const char *name, const spec_token *text) {
    spec_target *t = target_open(support_at(name), 1, SPEC_TYPE_F32, NULL);
    spec_sequence *s = target_sequence(t);
    spec_forward_out out = target_feed(t, s, text, SEQ, NULL, 1);
    float *logits = malloc(SEQ * target_vocab(t) * sizeof *logits);
    assert_non_null(logits);
    memcpy(logits, out.logits, SEQ * target_vocab(t) * sizeof *logits);
    spec_sequence_free(s);
    spec_target_free(t);
    return logits;
}

static void test_logits(void **state) {
    static const struct {
        size_t dim, head_dim;
        bool tied;
    } c[] = {{32, 8, false}, {32, 16, true}, {48, 6, false}, {16, 2, false}};
    (void)state;
    for (size_t i = 0; i < sizeof c / sizeof *c; i++) {
        train_llama *m = new_model(shape_of(40, c[i].dim, c[i].head_dim, c[i].tied), 0.25f);
        support_rng rng = support_rng_new(support_seed(), i);
        spec_token text[SEQ];
        target_text(&rng, text, SEQ, 40);
        export("m.gguf", &(model_export){.model = m, .context = SEQ});
        float *logits = logits_of("m.gguf", text);
        double off = farthest(m, text, logits);
        if (!(off < 1e-4)) fail_msg("shape %zu: logits are off by %g of their deviation", i, off);
        free(logits);
        train_llama_free(m);
    }
}

/* The loss of a text, for each type: off by no more than its rounding explains. */
static void test_types(void **state) {
    static const struct {
        spec_type type;
        double off;
    } c[] = {{SPEC_TYPE_F32, 1e-5},  {SPEC_TYPE_F16, 1e-3},  {SPEC_TYPE_BF16, 3e-3},
             {SPEC_TYPE_Q8_0, 1e-2}, {SPEC_TYPE_Q6_K, 3e-2}, {SPEC_TYPE_Q5_K, 3e-2},
             {SPEC_TYPE_Q5_0, 3e-2}, {SPEC_TYPE_Q4_K, 5e-2}, {SPEC_TYPE_Q4_0, 5e-2}};
    (void)state;
    train_llama *m = new_model(shape_of(300, 256, 64, false), 0.05f);
    support_rng rng = support_rng_new(support_seed(), 9);
    spec_token text[SEQ + 1];
    target_text(&rng, text, SEQ + 1, 300);
    double want = loss_of(m, text, text + 1);
    for (size_t i = 0; i < sizeof c / sizeof *c; i++) {
        export("t.gguf", &(model_export){.model = m, .context = 64, .type = c[i].type});
        spec_tensors *f = open_file("t.gguf");
        for (size_t k = 0; k < spec_tensors_count(f); k++) {
            const spec_tensor *t = spec_tensors_at(f, k);
            assert_int_equal(t->type, t->n_dims == 1 ? SPEC_TYPE_F32 : c[i].type);
        }
        uint64_t version = 0;
        int rc = spec_tensors_uint(f, "general.quantization_version", &version);
        assert_true(spec_type_block(c[i].type) > 1 ? rc == SPEC_OK && version == 2
                                                   : rc == SPEC_ERR_NOT_FOUND);
        spec_tensors_free(f);
        float *logits = logits_of("t.gguf", text);
        double loss = 0;
        for (size_t r = 0; r < SEQ; r++) loss += target_loss(logits + r * 300, 300, text[r + 1]);
        if (!(fabs(loss - want) <= c[i].off * want))
            fail_msg("%s: loss %g, in training %g", spec_type_name(c[i].type), loss / SEQ, want / SEQ);
        free(logits);
    }
    train_llama_free(m);
}

/* ---- metadata ------------------------------------------------------------ */

static void has_text(const spec_tensors *f, const char *key, const char *want) {
    const char *s = "";
    size_t n = 0;
    const spec_meta *m = spec_tensors_meta(f, key);
    if (!m || spec_meta_string(m, 0, &s, &n)) fail_msg("no text %s", key);
    assert_int_equal(n, strlen(want));
    assert_memory_equal(s, want, n);
}

static void has_number(const spec_tensors *f, const char *key, double want) {
    double got = 0;
    if (spec_tensors_float(f, key, &got)) fail_msg("no number %s", key);
    if (got != want) fail_msg("%s is %g, expected %g", key, got, want);
}

static void test_metadata(void **state) {
    (void)state;
    train_llama_shape s = shape_of(40, 32, 16, true);
    s.rope_base = 50000;
    s.eps = 0.0625f;
    train_llama *m = new_model(s, 0.25f);
    const model_export_meta meta[] = {{"general.source.url", "here"}, {"tokenizer.chat_template", "{{ x }}"}};
    export("m.gguf",
           &(model_export){
               .model = m, .context = 77, .name = "A model", .license = "MIT", .meta = meta, .n_meta = 2});
    spec_tensors *f = open_file("m.gguf");
    has_text(f, "general.architecture", "llama");
    has_text(f, "general.name", "A model");
    has_text(f, "general.license", "MIT");
    has_text(f, "general.source.url", "here");
    has_text(f, "tokenizer.chat_template", "{{ x }}");
    has_number(f, "llama.context_length", 77);
    has_number(f, "llama.rope.freq_base", 50000);
    has_number(f, "llama.attention.layer_norm_rms_epsilon", 0.0625);
    has_number(f, "llama.attention.head_count_kv", 2);
    has_number(f, "llama.attention.key_length", 16);
    has_number(f, "llama.vocab_size", 40);
    assert_null(spec_tensors_find(f, "output.weight"));
    assert_null(spec_tensors_meta(f, "tokenizer.ggml.tokens"));
    spec_tensors_free(f);
    export("m.gguf", &(model_export){.model = m, .context = 1});
    f = open_file("m.gguf");
    assert_null(spec_tensors_meta(f, "general.name"));
    assert_null(spec_tensors_meta(f, "general.license"));
    spec_tensors_free(f);
    train_llama_free(m);
}

static uint64_t hash_of(const char *name, size_t n_tokens) {
    spec_tokenizer *t;
    spec_message why;
    spec_tokenizer_info info = {.size = sizeof info};
    if (spec_tokenizer_load(&t, support_at(name), NULL, &why)) fail_msg("%s", why.text);
    assert_int_equal(spec_tokenizer_get_info(t, &info), SPEC_OK);
    assert_int_equal(info.n_tokens, n_tokens);
    uint64_t hash = info.hash;
    spec_tokenizer_free(t);
    return hash;
}

/* Of another model, with fewer tokens than there are rows; and from spm_train. */
static void test_vocabulary(void **state) {
    static const char text[] = "<unk>\t0\n<s>\t0\n</s>\t0\nab\t-0\na\t-1\nb\t-2\n";
    (void)state;
    train_llama *m = new_model(shape_of(310, 32, 16, true), 0.25f);
    random_model other = {.shape = "tiny,vocab=300,layers=1"};
    spec_message why = {""};
    spm_vocab v;
    assert_int_equal(random_model_write(support_at("other.gguf"), &other, &why), SPEC_OK);
    spec_tensors *f = open_file("other.gguf");
    export("m.gguf", &(model_export){.model = m, .context = 8, .vocab = f});
    spec_tensors_free(f);
    assert_true(hash_of("m.gguf", 300) == hash_of("other.gguf", 300));
    f = open_file("m.gguf");
    has_text(f, "tokenizer.ggml.model", "llama");
    has_number(f, "llama.embedding_length", 32);
    assert_null(spec_tensors_meta(f, "general.name"));
    spec_tensors_free(f);

    support_write_file(support_at("v.vocab"), text, sizeof text - 1);
    assert_int_equal(spm_vocab_load(&v, support_at("v.vocab"), NULL, NULL, &why), SPEC_OK);
    assert_int_equal(spm_vocab_save(&v, support_at("v.gguf"), &why), SPEC_OK);
    export("m.gguf", &(model_export){.model = m, .context = 8, .spm = &v});
    assert_true(hash_of("m.gguf", 6) == hash_of("v.gguf", 6));
    spm_vocab_release(&v);
    train_llama_free(m);
}

/* ---- refusals ------------------------------------------------------------ */

static void refused(const model_export *e, int want, const char *part) {
    spec_message why = {""};
    support_write_file(support_at("r.gguf"), "before", 6);
    int rc = model_export_write(support_at("r.gguf"), e, NULL, &why);
    if (rc != want || !strstr(why.text, part))
        fail_msg("%d \"%s\", expected %d \"%s\"", rc, why.text, want, part);
    size_t n;
    char *left = support_read_file(support_at("r.gguf"), &n);
    assert_int_equal(n, 6);
    assert_memory_equal(left, "before", 6);
    free(left);
}

static void test_refusals(void **state) {
    (void)state;
    train_llama *m = new_model(shape_of(40, 48, 6, false), 0.25f);
    spm_vocab v;
    assert_int_equal(spm_vocab_new(&v, 41, 41, NULL), SPEC_OK);
    spec_message why = {""};
    const model_export good = {.model = m, .context = 8};
    model_export e = good;
    assert_int_equal(model_export_write(support_at("no/such/folder"), &e, NULL, &why), SPEC_ERR_IO);
    assert_non_null(strstr(why.text, "no/such/folder"));
    e.type = SPEC_TYPE_I8;
    refused(&e, SPEC_ERR_INVALID, "type I8");
    e.type = SPEC_TYPE_Q8_0;
    refused(&e, SPEC_ERR_INVALID, "model.embed_tokens.weight has rows of 48, Q8_0 needs a multiple of 32");
    e = good, e.context = 0;
    refused(&e, SPEC_ERR_INVALID, "a context of 0");
    e.context = (size_t)INT32_MAX + 1;
    refused(&e, SPEC_ERR_INVALID, "a context of 2147483648");
    e = good, e.spm = &v;
    refused(&e, SPEC_ERR_INVALID, "41 tokens, the model has rows for 40");
    export("bare.gguf", &good);
    spec_tensors *f = open_file("bare.gguf");
    e.vocab = f;
    refused(&e, SPEC_ERR_INVALID, "two vocabularies");
    e.spm = NULL;
    refused(&e, SPEC_ERR_INVALID, "bare.gguf: no tokenizer.ggml.tokens");
    spec_tensors_free(f);
    e = good;
    e.name = "x";
    e.meta = &(model_export_meta){"general.name", "again"};
    e.n_meta = 1;
    refused(&e, SPEC_ERR_INVALID, "general.name");
    snprintf(m->p.view[3].name, sizeof m->p.view[3].name, "model.layers.0.odd.weight");
    refused(&good, SPEC_ERR_INVALID, "no name for model.layers.0.odd.weight");
    spm_vocab_release(&v);
    train_llama_free(m);
}

/* Numbers that no file should hold, anywhere; and one that only F32 can. */
static void test_bad_weights(void **state) {
    static const float bad[] = {NAN, INFINITY, -INFINITY};
    (void)state;
    train_llama *m = new_model(shape_of(40, 32, 8, false), 0.25f);
    for (size_t i = 0; i < m->p.n_views; i++) {
        const train_view *v = &m->p.view[i];
        float *x = &m->p.value[v->offset + v->rows * v->cols - 3], kept = *x;
        char part[120];
        snprintf(part, sizeof part, "%s (%zu, %zu) is %s", v->name, v->rows - 1, v->cols - 3,
                 i % 3 == 0   ? "nan"
                 : i % 3 == 1 ? "inf"
                              : "-inf");
        *x = bad[i % 3];
        refused(&(model_export){.model = m, .context = 8, .type = i % 2 ? SPEC_TYPE_Q8_0 : SPEC_TYPE_F32},
                SPEC_ERR_INVALID, part);
        *x = kept;
    }
    m->p.value[7] = -1e5f;
    refused(&(model_export){.model = m, .context = 8, .type = SPEC_TYPE_F16}, SPEC_ERR_INVALID,
            "model.embed_tokens.weight (0, 7) is -100000, which F16 cannot hold");
    export("big.gguf", &(model_export){.model = m, .context = 8, .type = SPEC_TYPE_BF16});
    train_llama_free(m);
}

static void test_memory(void **state) {
    (void)state;
    train_llama *m = new_model(shape_of(40, 32, 8, false), 0.25f);
    const model_export_meta meta = {"general.author", "me"};
    const model_export e = {.model = m, .context = 8, .name = "n", .meta = &meta, .n_meta = 1};
    support_heap heap;
    support_heap_init(&heap);
    spec_allocator alloc = support_alloc(&heap);
    size_t k = 0;
    for (;; k++) {
        spec_message why = {""};
        support_heap_refuse(&heap, k, k % 2);
        int rc = model_export_write(support_at("n.gguf"), &e, &alloc, &why);
        if (rc == SPEC_OK) break;
        assert_int_equal(rc, SPEC_ERR_NOMEM);
        assert_true(heap.refused > 0 && why.text[0]);
        assert_int_equal(heap.live_blocks, 0);
        FILE *f = fopen(support_at("n.gguf"), "rb");
        assert_null(f);
    }
    assert_true(k > 10);
    support_heap_assert_clean(&heap);
    train_llama_free(m);
}

/* The disk is full: here a limit on the size of files. */
static void test_full_disk(void **state) {
    struct rlimit old, small;
    (void)state;
    train_llama *m = new_model(shape_of(40, 32, 8, false), 0.25f);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    small = (struct rlimit){4096, old.rlim_max};
    void (*handler)(int) = signal(SIGXFSZ, SIG_IGN);
    spec_message why = {""};
    support_write_file(support_at("d.gguf"), "before", 6);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    int rc = model_export_write(support_at("d.gguf"), &(model_export){.model = m, .context = 8}, NULL, &why);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    signal(SIGXFSZ, handler);
    assert_int_equal(rc, SPEC_ERR_IO);
    assert_non_null(strstr(why.text, "d.gguf"));
    size_t n;
    char *left = support_read_file(support_at("d.gguf"), &n);
    assert_int_equal(n, 6);
    free(left);
    train_llama_free(m);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_logits),   cmocka_unit_test(test_types),
        cmocka_unit_test(test_metadata), cmocka_unit_test(test_vocabulary),
        cmocka_unit_test(test_refusals), cmocka_unit_test(test_bad_weights),
        cmocka_unit_test(test_memory),   cmocka_unit_test(test_full_disk),
    };
    return cmocka_run_group_tests_name("model_export", tests, support_at_set_up, support_at_tear_down);
}
