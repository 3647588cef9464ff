/* SPDX-License-Identifier: MIT */
/*
 * Two targets side by side, each with threads of its own, more than there are
 * cores: the same bits as alone. Runs under TSan.
 */
#include "target_world.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define LENGTH 24

typedef struct job {
    char path[256];
    unsigned threads;
    uint64_t stream;
    bool same;
} job;

/* Cuts, trees, accepting: each row must be that of plain decoding on one thread. */
static bool decode(const job *j, spec_target *t, spec_target *alone) {
    spec_token text[LENGTH];
    int32_t path[16];
    spec_token tokens[16];
    support_rng rng = support_rng_new(support_seed(), j->stream);
    size_t vocab = target_vocab(t), length = 0;
    bool same = true;
    target_text(&rng, text, LENGTH, vocab);
    float *wanted = target_plain(alone, text, LENGTH, NULL);
    spec_sequence *s = target_sequence(t), *fresh = target_sequence(alone);
    while (length < LENGTH) {
        size_t n = 1 + support_rng_below(&rng, 8);
        n = n < LENGTH - length ? n : LENGTH - length;
        spec_tree tree = target_tree(&rng, 1 + support_rng_below(&rng, 10), vocab);
        spec_forward_out out = target_feed(t, s, text + length, n, &tree, 1);
        same &= !target_rows_differ(out.logits, wanted + length * vocab, n, vocab);
        length += n;
        int32_t node = (int32_t)support_rng_below(&rng, tree.n);
        size_t depth = target_path(&tree, node, path, tokens);
        same &= spec_sequence_accept(s, path, depth) == 0;
        target_feed(alone, fresh, spec_sequence_tokens(s) + spec_sequence_length(fresh),
                    length + depth - spec_sequence_length(fresh), NULL, 0);
        same &= memcmp(spec_sequence_tokens(s), spec_sequence_tokens(fresh),
                       (length + depth) * sizeof *tokens) == 0;
        same &= spec_sequence_truncate(s, length) == 0 && spec_sequence_truncate(fresh, length) == 0;
        spec_tree_release(&tree, NULL);
    }
    spec_sequence_free(s);
    spec_sequence_free(fresh);
    free(wanted);
    return same;
}

static void *run(void *arg) {
    job *j = arg;
    spec_target *t = target_open(j->path, j->threads, SPEC_TYPE_F16, NULL);
    spec_target *alone = target_open(j->path, 1, SPEC_TYPE_F16, "avx2");
    j->same = true;
    for (int i = 0; i < 3; i++) {
        j->stream++;
        j->same &= decode(j, t, alone);
    }
    spec_target_free(t);
    spec_target_free(alone);
    return NULL;
}

static void check_pair(const char *arch_a, const char *arch_b, unsigned threads_a, unsigned threads_b) {
    support_tmp tmp;
    job a = {.threads = threads_a, .stream = 10}, b = {.threads = threads_b, .stream = 20};
    pthread_t other;
    support_seed();
    support_tmp_make(&tmp);
    tiny_model m = tiny_model_of(arch_a);
    tiny_model_write(&m, support_tmp_path(&tmp, "a.gguf", a.path, sizeof a.path));
    m = tiny_model_of(arch_b);
    m.type = SPEC_TYPE_Q8_0;
    tiny_model_write(&m, support_tmp_path(&tmp, "b.gguf", b.path, sizeof b.path));
    assert_int_equal(pthread_create(&other, NULL, run, &b), 0);
    run(&a);
    pthread_join(other, NULL);
    assert_true(a.same);
    assert_true(b.same);
    support_tmp_remove(&tmp);
}

static void test_two_targets(void **state) {
    (void)state;
    check_pair("llama", "qwen3", 2, 3);
    check_pair("mixtral", "mixtral", 4, 2);
    check_pair("gemma2", "llama", 2, 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_two_targets),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
