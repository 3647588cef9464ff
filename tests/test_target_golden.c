/* SPDX-License-Identifier: MIT */
/*
 * The target against recorded logits: every model file of the golden set (all
 * architectures and types) against a float64 reference, and stories260K against
 * run.c: logits, and greedy texts token for token.
 */
#define _XOPEN_SOURCE 700
#include "support.h"

#include <dirent.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "logits.h"
#include "spec_target.h"

static spec_target *open_target(const char *path, unsigned threads, spec_type kv_type) {
    spec_target_options o = {.size = sizeof o, .threads = threads, .kv_type = kv_type, .kv_type_given = 1};
    spec_target *t = NULL;
    spec_message why = {""};
    if (spec_target_open(&t, path, &o, NULL, &why)) fail_msg("%s: %s", path, why.text);
    return t;
}

static size_t vocab_of(const spec_target *t) {
    spec_target_info info = {.size = sizeof info};
    spec_target_get_info(t, &info);
    return info.vocab;
}

static spec_forward_out feed(spec_target *t, spec_sequence *s, const spec_token *tokens, size_t n, int all) {
    spec_forward_item item = {.sequence = s, .tokens = tokens, .n_tokens = n, .all_rows = all};
    spec_forward_out out;
    spec_message why = {""};
    if (spec_target_forward(t, &item, 1, NULL, &out, &why)) fail_msg("%s", why.text);
    return out;
}

/* ---- every architecture and type ----------------------------------------- */

typedef struct distance {
    double max_abs, cosine, deviation; /* the least cosine; the reference's standard deviation */
} distance;

static distance distance_of(const float *got, const logits *reference) {
    distance d = {0, 1, 0};
    size_t vocab = reference->vocab;
    double sum = 0, squares = 0;
    float *row = malloc(vocab * sizeof *row);
    for (size_t i = 0; i < reference->n; i++) {
        double dot = 0, a2 = 0, b2 = 0;
        assert_int_equal(logits_row(reference, i, row, NULL), 0);
        for (size_t j = 0; j < vocab; j++) {
            double a = got[i * vocab + j], b = row[j];
            if (!(fabs(a - b) <= d.max_abs)) d.max_abs = fabs(a - b);
            dot += a * b;
            a2 += a * a;
            b2 += b * b;
            sum += b;
        }
        squares += b2;
        if (!(dot / sqrt(a2 * b2) >= d.cosine)) d.cosine = dot / sqrt(a2 * b2);
    }
    double n = (double)(reference->n * vocab);
    d.deviation = sqrt(squares / n - sum / n * (sum / n));
    free(row);
    return d;
}

/* ref64 is the exact result for the file's weights; floats may differ by rounding alone, quantised
 * weights also by the rounding of activations to 8 bits. */
static void check_distance(const char *path, distance d, bool floats) {
    double scale = floats ? fmax(1, d.deviation) : fmax(1, d.deviation / 2);
    double limit = scale * (floats ? 1e-5 : 0.15);
    printf("  %-52s max-abs %.2e of %.2e, cosine %.7f\n", path, d.max_abs, limit, d.cosine);
    if (!(d.max_abs <= limit)) fail_msg("%s: off by %g, more than %g", path, d.max_abs, limit);
    if (!(d.cosine >= 0.999)) fail_msg("%s: cosine %g", path, d.cosine);
}

static void check_model(const char *folder, const char *type) {
    char path[512], ids[512], reference[512];
    snprintf(path, sizeof path, "%s/%s.gguf", folder, type);
    snprintf(ids, sizeof ids, "%s/ids.txt", folder);
    snprintf(reference, sizeof reference, "%s/%s.ref64.npy", folder, type);
    spec_token *token;
    size_t n;
    logits wanted;
    assert_int_equal(logits_read_ids(&token, &n, ids, NULL), 0);
    assert_int_equal(logits_open(&wanted, reference, NULL), 0);
    spec_target *t = open_target(path, 2, SPEC_TYPE_F32);
    spec_sequence *s;
    assert_int_equal(spec_sequence_new(&s, t, 0), 0);
    assert_int_equal(vocab_of(t), wanted.vocab);
    spec_forward_out out = feed(t, s, token, n, 1);
    assert_int_equal(out.n_rows, n);
    assert_int_equal(wanted.n, n);
    bool floats = type[0] == 'F' || type[0] == 'B';
    check_distance(path, distance_of(out.logits, &wanted), floats);
    spec_sequence_free(s);
    spec_target_free(t);
    logits_close(&wanted);
    free(token);
}

/* Every X.gguf of the folder. */
static size_t check_folder(const char *folder) {
    DIR *dir = opendir(folder);
    size_t n = 0;
    assert_non_null(dir);
    for (struct dirent *e = readdir(dir); e; e = readdir(dir)) {
        char type[64];
        size_t length = strlen(e->d_name);
        if (length < 6 || length > sizeof type || strcmp(e->d_name + length - 5, ".gguf") != 0) continue;
        snprintf(type, sizeof type, "%.*s", (int)(length - 5), e->d_name);
        check_model(folder, type);
        n++;
    }
    closedir(dir);
    return n;
}

static void test_models(void **state) {
    static const char *const folders[] = {"llama-d256", "llama-d64", "llama-ropefreqs", "qwen2", "qwen3",
                                          "gemma2",     "gemma3",    "mixtral",         "olmo2"};
    char path[256];
    size_t n = 0;
    (void)state;
    if (!support_shared("golden/models", path, sizeof path)) SUPPORT_SKIP_NO_SHARED();
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++) {
        snprintf(path, sizeof path, "../shared/golden/models/%s", folders[i]);
        n += check_folder(path);
    }
    assert_true(n >= 20);
}

/* ---- stories260K ---------------------------------------------------------- */

static void check_prompt_logits(spec_target *t, int prompt, const char *tool) {
    char path[256];
    spec_token *token;
    size_t n;
    logits wanted;
    snprintf(path, sizeof path, "../shared/golden/stories260K/logits/prompt%02d_ids.json", prompt);
    assert_int_equal(logits_read_ids(&token, &n, path, NULL), 0);
    snprintf(path, sizeof path, "../shared/golden/stories260K/logits/prompt%02d_%s.npy", prompt, tool);
    assert_int_equal(logits_open(&wanted, path, NULL), 0);
    spec_sequence *s;
    assert_int_equal(spec_sequence_new(&s, t, 0), 0);
    distance d = distance_of(feed(t, s, token, n, 1).logits, &wanted);
    if (!(d.max_abs <= 2e-4)) fail_msg("%s: off by %g", path, d.max_abs);
    spec_sequence_free(s);
    logits_close(&wanted);
    free(token);
}

static void check_all_logits(const char *file) {
    spec_target *t = open_target(file, 2, SPEC_TYPE_F32);
    check_prompt_logits(t, 1, "runc");
    check_prompt_logits(t, 1, "llamacpp");
    check_prompt_logits(t, 4, "runc");
    check_prompt_logits(t, 17, "runc");
    spec_target_free(t);
}

static void test_stories_logits(void **state) {
    char path[256];
    (void)state;
    if (!support_shared("golden/stories260K", path, sizeof path)) SUPPORT_SKIP_NO_SHARED();
    check_all_logits("../shared/golden/stories260K/stories260K-F32.gguf");
    check_all_logits("../shared/golden/stories260K/checkpoint_legacy.bin");
}

static size_t read_array(const json_t *array, spec_token *out, size_t cap) {
    size_t n = json_array_size(array);
    assert_true(n > 0 && n <= cap);
    for (size_t i = 0; i < n; i++) out[i] = (spec_token)json_integer_value(json_array_get(array, i));
    return n;
}

/* The prompt in one pass, then a token at a time: each must be the recorded one. */
static void check_greedy(spec_target *t, const char *line) {
    json_t *record = json_loads(line, 0, NULL);
    spec_token prompt[512], wanted[512];
    assert_non_null(record);
    size_t n = read_array(json_object_get(record, "prompt_ids"), prompt, 512);
    size_t total = read_array(json_object_get(record, "greedy_ids"), wanted, 512);
    assert_memory_equal(prompt, wanted, n * sizeof *prompt);
    spec_sequence *s;
    assert_int_equal(spec_sequence_new(&s, t, 0), 0);
    spec_token next = feed(t, s, prompt, n, 0).argmax[0];
    for (size_t i = n; i < total; i++) {
        if (next != wanted[i]) fail_msg("token %zu is %d, expected %d", i, (int)next, (int)wanted[i]);
        next = feed(t, s, &next, 1, 0).argmax[0];
    }
    spec_sequence_free(s);
    json_decref(record);
}

static void test_stories_greedy(void **state) {
    char path[256];
    size_t length, n = 0;
    (void)state;
    if (!support_shared("golden/stories260K/greedy.jsonl", path, sizeof path)) SUPPORT_SKIP_NO_SHARED();
    char *text = support_read_file(path, &length), *rest = text;
    spec_target *t = open_target("../shared/golden/stories260K/stories260K-F32.gguf", 2, SPEC_TYPE_F32);
    for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest), n++) {
        check_greedy(t, line);
    }
    assert_int_equal(n, 21);
    spec_target_free(t);
    free(text);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_models),
        cmocka_unit_test(test_stories_logits),
        cmocka_unit_test(test_stories_greedy),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
