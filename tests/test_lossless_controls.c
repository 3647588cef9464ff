/* SPDX-License-Identifier: MIT */
/*
 * Negative controls of test_lossless: engines that are wrong on purpose. The two
 * checks, text against plain decoding's and cache against a fresh prefill's,
 * must catch each of them, and neither may accuse the engine that is right.
 */
#include <string.h>

#include "random_model.h"
#include "spec_target.h"
#include "spec_verify.h"
#include "support.h"

enum { LENGTH = 60, NODES = 4, PROMPT = 12 };

typedef enum fault {
    NONE,
    NO_BONUS,        /* the token that verification adds is not committed */
    KEEP_UNVERIFIED, /* a row enters the cache before it is judged */
    DROP_ACCEPTED,   /* an accepted row is not kept, its token is */
    OFF_BY_ONE,      /* the pass runs a position too early, over the last committed row */
    WRONG_ROW,       /* node i judged by row i instead of row i + 1 */
    WRONG_BRANCH,    /* the path's last node is taken from a sibling */
} fault;

typedef struct text {
    spec_token tok[PROMPT + LENGTH + NODES + 1];
    size_t n;
} text;

typedef struct world {
    support_tmp tmp;
    spec_target *target;
    text plain;
} world;

/* Two children, one of them right; below the right one a wrong child and a right one. Every third
 * time a wrong child alone. */
static void draft(const world *w, const text *t, spec_tree *tree) {
    spec_token a = w->plain.tok[t->n], b = w->plain.tok[t->n + 1];
    spec_tree_clear(tree);
    if (t->n + 2 > w->plain.n) return;
    spec_tree_add(tree, -1, (a + 7) % 300, 0.5f, SPEC_SOURCE_OTHER);
    if (t->n % 3 == 0) return;
    spec_tree_add(tree, -1, a, 0.4f, SPEC_SOURCE_OTHER);
    spec_tree_add(tree, 1, (b + 3) % 300, 0.3f, SPEC_SOURCE_OTHER);
    spec_tree_add(tree, 1, b, 0.2f, SPEC_SOURCE_OTHER);
}

static void judge(const spec_tree *tree, const spec_forward_out *fw, fault f, int32_t *path, size_t *n,
                  spec_token *next) {
    const spec_token *argmax = fw->argmax + fw->row[0];
    spec_token shifted[NODES + 1];
    if (f == WRONG_ROW && tree->n) {
        shifted[0] = argmax[0];
        memcpy(shifted + 1, argmax, tree->n * sizeof *shifted);
        argmax = shifted;
    }
    assert_int_equal(spec_verify_greedy(tree, argmax, path, n, next), SPEC_OK);
}

/* What enters the cache. */
static void keep(spec_sequence *s, const spec_tree *tree, fault f, int32_t *path, size_t n) {
    int32_t wrong[NODES];
    size_t kept = n;
    memcpy(wrong, path, n * sizeof *path);
    if (f == KEEP_UNVERIFIED && n == 0 && tree->n) wrong[kept++] = 0;
    if (f == DROP_ACCEPTED && n > 1) kept--;
    if (f == WRONG_BRANCH && n == 2) wrong[1] = 2;
    assert_int_equal(spec_sequence_accept(s, wrong, kept), SPEC_OK);
}

/* Decodes with the fault; false as soon as the cache differs from a fresh prefill's. */
static bool decode(const world *w, fault f, bool drafting, text *t) {
    spec_sequence *s = NULL, *fresh = NULL;
    spec_forward_args quiet = {.size = sizeof quiet, .no_logits = 1};
    spec_forward_out fw;
    spec_tree tree;
    spec_token last = t->tok[t->n - 1];
    size_t fed = t->n - 1;
    bool sound = true;
    assert_int_equal(spec_tree_init(&tree, NODES, 0, 0, NULL), SPEC_OK);
    assert_int_equal(spec_sequence_new(&s, w->target, 0), SPEC_OK);
    assert_int_equal(spec_sequence_new(&fresh, w->target, 0), SPEC_OK);
    spec_forward_item prompt = {.sequence = s, .tokens = t->tok, .n_tokens = fed};
    assert_int_equal(spec_target_forward(w->target, &prompt, 1, &quiet, &fw, NULL), SPEC_OK);
    while (sound && t->n < PROMPT + LENGTH) {
        int32_t path[NODES];
        size_t n;
        if (drafting) draft(w, t, &tree);
        if (f == OFF_BY_ONE && t->n >= PROMPT + 9)
            assert_int_equal(spec_sequence_truncate(s, spec_sequence_length(s) - 1), SPEC_OK);
        spec_forward_item item = {.sequence = s, .tokens = &last, .n_tokens = 1, .tree = &tree};
        assert_int_equal(spec_target_forward(w->target, &item, 1, NULL, &fw, NULL), SPEC_OK);
        judge(&tree, &fw, f, path, &n, &last);
        for (size_t i = 0; i < n; i++) t->tok[t->n++] = tree.token[path[i]];
        if (f == NO_BONUS && n == 2)
            last = t->tok[t->n - 1]; /* goes on from the path's end, which is fed again */
        else
            t->tok[t->n++] = last;
        keep(s, &tree, f, path, n);
        spec_forward_item again = {.sequence = fresh, .tokens = t->tok, .n_tokens = t->n - 1};
        assert_int_equal(spec_sequence_truncate(fresh, 0), SPEC_OK);
        assert_int_equal(spec_target_forward(w->target, &again, 1, &quiet, &fw, NULL), SPEC_OK);
        sound = spec_sequence_length(s) == t->n - 1 && spec_sequence_equal(s, fresh, t->n - 1, NULL);
    }
    spec_sequence_free(s);
    spec_sequence_free(fresh);
    spec_tree_release(&tree, NULL);
    return sound;
}

static void begin(text *t) {
    memset(t, 0, sizeof *t);
    for (size_t i = 0; i < PROMPT; i++) t->tok[i] = (spec_token)(1 + (i * 37) % 250);
    t->n = PROMPT;
}

static bool same_text(const world *w, const text *t) {
    size_t n = PROMPT + LENGTH;
    return memcmp(w->plain.tok, t->tok, n * sizeof *t->tok) == 0;
}

static void test_right(void **state) {
    const world *w = *state;
    text t;
    begin(&t);
    assert_true(decode(w, NONE, true, &t));
    assert_true(same_text(w, &t));
}

static void caught(const world *w, fault f) {
    text t;
    begin(&t);
    bool sound = decode(w, f, true, &t);
    if (sound && same_text(w, &t)) fail_msg("fault %d was not caught", (int)f);
}

static void test_no_bonus(void **state) { caught(*state, NO_BONUS); }
static void test_keep_unverified(void **state) { caught(*state, KEEP_UNVERIFIED); }
static void test_drop_accepted(void **state) { caught(*state, DROP_ACCEPTED); }
static void test_off_by_one(void **state) { caught(*state, OFF_BY_ONE); }
static void test_wrong_row(void **state) { caught(*state, WRONG_ROW); }
static void test_wrong_branch(void **state) { caught(*state, WRONG_BRANCH); }

static int setup(void **state) {
    static world w;
    char path[256];
    random_model m = {.shape = "dim=32,layers=2,heads=2,kv=1,hidden=64,vocab=320,context=128", .type = "F32"};
    m.seed = support_seed();
    spec_target_options o = {.size = sizeof o, .threads = 1};
    spec_message why = {""};
    support_tmp_make(&w.tmp);
    support_tmp_path(&w.tmp, "m.gguf", path, sizeof path);
    if (random_model_write(path, &m, &why) != SPEC_OK ||
        spec_target_open(&w.target, path, &o, NULL, &why) != SPEC_OK)
        fail_msg("%s", why.text);
    begin(&w.plain);
    assert_true(decode(&w, NONE, false, &w.plain));
    *state = &w;
    return 0;
}

static int teardown(void **state) {
    world *w = *state;
    spec_target_free(w->target);
    support_tmp_remove(&w->tmp);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_right),           cmocka_unit_test(test_no_bonus),
        cmocka_unit_test(test_keep_unverified), cmocka_unit_test(test_drop_accepted),
        cmocka_unit_test(test_off_by_one),      cmocka_unit_test(test_wrong_row),
        cmocka_unit_test(test_wrong_branch),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
