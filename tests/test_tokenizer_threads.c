/* SPDX-License-Identifier: MIT */
/* Several threads encode and decode with one tokenizer. */
#include <pthread.h>
#include <string.h>

#include "tiny_vocab.h"

#define THREADS 4
#define ROUNDS  200

static const char text[] = "ab abc 12 <|im_end|> \xe4\xb8\xad\xff don't stop\n\n  ababababab";

typedef struct job {
    const spec_tokenizer *t;
    size_t n_right;
} job;

static void *work(void *arg) {
    job *j = arg;
    spec_token want[256], tok[256];
    char out[256];
    size_t n_want, n, len;
    if (spec_tokenizer_encode(j->t, text, sizeof text - 1, SPEC_ENCODE_PARSE_SPECIAL, want, 256, &n_want,
                              NULL))
        return NULL;
    for (int i = 0; i < ROUNDS; i++) {
        int err =
            spec_tokenizer_encode(j->t, text, sizeof text - 1, SPEC_ENCODE_PARSE_SPECIAL, tok, 256, &n, NULL);
        if (!err) err = spec_tokenizer_decode(j->t, tok, n, 0, out, sizeof out, &len);
        j->n_right += !err && n == n_want && memcmp(tok, want, n * sizeof *tok) == 0 && len > 40;
    }
    return NULL;
}

static void check(const tiny_vocab *v) {
    job jobs[THREADS];
    pthread_t thread[THREADS];
    spec_tokenizer *t = tiny_open(v);
    for (int i = 0; i < THREADS; i++) {
        jobs[i] = (job){t, 0};
        assert_int_equal(pthread_create(&thread[i], NULL, work, &jobs[i]), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(thread[i], NULL), 0);
        assert_int_equal(jobs[i].n_right, ROUNDS);
    }
    spec_tokenizer_free(t);
}

static tiny_vocab vocab;

static void test_threads(void **state) {
    (void)state;
    tiny_bpe(&vocab, "qwen2");
    tiny_add(&vocab, "ab", 0, SPEC_TOKEN_NORMAL);
    tiny_merge(&vocab, "a", "b");
    tiny_add(&vocab, "<|im_end|>", 0, SPEC_TOKEN_CONTROL);
    check(&vocab);
    tiny_spm(&vocab);
    tiny_add(&vocab, "ab", -1, SPEC_TOKEN_NORMAL);
    check(&vocab);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_threads)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
