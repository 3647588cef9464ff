/* SPDX-License-Identifier: MIT */
/*
 * Medusa's static tree: against recorded buffers, against a plain oracle on random
 * choices, trees built from calibration against all trees, and what is refused.
 */
#include "support.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "medusa_tree.h"
#include "spec_tensors.h"

static const int32_t *ints(const spec_tensors *f, const char *name, uint64_t *n, uint64_t *width) {
    const spec_tensor *t = spec_tensors_find(f, name);
    *n = 0;
    if (width != NULL) *width = 0;
    if (t == NULL || t->type != SPEC_TYPE_I32) {
        fail_msg("%s: not there", name);
        return NULL;
    }
    *n = t->dim[0];
    if (width != NULL) *width = t->dim[1];
    return t->data;
}

static specp_medusa_tree must_init(const int32_t *paths, size_t n, size_t width) {
    specp_medusa_tree t;
    spec_message why = {""};
    if (specp_medusa_tree_init(&t, paths, n, width, NULL, &why)) fail_msg("%s", why.text);
    return t;
}

/* The tree's own claims. */
static void check_shape(const specp_medusa_tree *t) {
    uint32_t deepest = 0, ranks = 0;
    for (uint32_t i = 0; i < t->n; i++) {
        int parent = t->parent[i];
        assert_in_range((uint64_t)(parent + 1), 0, i);
        assert_int_equal(t->depth[i], parent < 0 ? 1 : t->depth[parent] + 1);
        if (t->depth[i] > deepest) deepest = t->depth[i];
        if (t->rank[i] + 1u > ranks) ranks = t->rank[i] + 1u;
        if (i == 0) continue;
        assert_true(t->depth[i] >= t->depth[i - 1]);
        if (t->depth[i] == t->depth[i - 1]) {
            assert_true(parent >= t->parent[i - 1]);
            if (parent == t->parent[i - 1]) assert_true(t->rank[i] > t->rank[i - 1]);
        }
    }
    assert_int_equal(t->n_heads, deepest);
    assert_int_equal(t->n_ranks, ranks);
}

/* ---- recorded buffers ---------------------------------------------------------- */

static void check_buffers(const char *path) {
    spec_tensors *f;
    spec_message why = {""};
    if (spec_tensors_open(&f, path, NULL, &why)) fail_msg("%s", why.text);
    uint64_t n, width, nodes;
    const int32_t *choices = ints(f, "choices", &n, &width);
    specp_medusa_tree t = must_init(choices, n, width);
    check_shape(&t);
    const int32_t *parents = ints(f, "parents", &nodes, NULL);
    const int32_t *indices = ints(f, "tree_indices", &nodes, NULL);
    const int32_t *depths = ints(f, "position_ids", &nodes, NULL);
    const uint8_t *mask = spec_tensors_find(f, "attn_mask")->data;
    assert_int_equal(nodes, t.n + 1);
    for (uint32_t i = 0; i < t.n; i++) {
        assert_int_equal(t.parent[i], parents[i + 1] - 1);
        assert_int_equal(t.depth[i], depths[i + 1]);
        assert_int_equal(1 + 10 * (t.depth[i] - 1) + t.rank[i], indices[i + 1]);
        for (uint32_t j = 0; j < t.n; j++) {
            int above = (int)i;
            while (above > (int)j) above = t.parent[above];
            assert_int_equal(above == (int)j, mask[(i + 1) * nodes + j + 1]);
        }
    }
    specp_medusa_tree_release(&t, NULL);
    spec_tensors_free(f);
}

static void test_recorded_buffers(void **state) {
    static const char *const names[] = {"small", "mc_sim_7b_63", "mc_sim_7b_63_d3"};
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        char relative[96], path[256];
        (void)snprintf(relative, sizeof relative, "golden/heads/medusa/buffers_%s.safetensors", names[i]);
        if (!support_shared(relative, path, sizeof path)) SUPPORT_SKIP_NO_SHARED();
        check_buffers(path);
    }
}

/* Recorded logits' ten best of each head, laid over a tree. */
static void test_recorded_draft(void **state) {
    char path[256];
    (void)state;
    if (!support_shared("golden/heads/medusa/accept.safetensors", path, sizeof path))
        SUPPORT_SKIP_NO_SHARED();
    spec_tensors *accept, *logits, *buffers;
    spec_message why = {""};
    assert_int_equal(spec_tensors_open(&accept, path, NULL, &why), 0);
    assert_true(support_shared("golden/heads/medusa/logits.safetensors", path, sizeof path));
    assert_int_equal(spec_tensors_open(&logits, path, NULL, &why), 0);
    assert_true(support_shared("golden/heads/medusa/buffers_mc_sim_7b_63_d3.safetensors", path, sizeof path));
    assert_int_equal(spec_tensors_open(&buffers, path, NULL, &why), 0);
    uint64_t n, width, nodes;
    const int32_t *choices = ints(buffers, "choices", &n, &width);
    const int32_t *want = ints(accept, "tree_tokens_mc_sim_7b_63_d3", &nodes, NULL);
    const int32_t *top = ints(logits, "top10_last", &n, &width);
    float prob[30];
    for (size_t i = 0; i < 30; i++) prob[i] = 0.5f;
    (void)ints(buffers, "choices", &n, &width);
    specp_medusa_tree t = must_init(choices, n, width);
    spec_tree draft;
    assert_int_equal(spec_tree_init(&draft, t.n, 0, 0, NULL), 0);
    specp_medusa_tree_draft(&t, top, prob, 10, &draft);
    assert_int_equal(draft.n + 1, nodes);
    for (uint32_t i = 0; i < draft.n; i++) assert_int_equal(draft.token[i], want[i + 1]);
    spec_tree_release(&draft, NULL);
    specp_medusa_tree_release(&t, NULL);
    spec_tensors_free(buffers);
    spec_tensors_free(logits);
    spec_tensors_free(accept);
}

/* ---- random choices --------------------------------------------------------------- */

enum { WIDTH = 5, MOST = 200 };

/* A random tree's paths, each child after its parent. */
static size_t random_paths(support_rng *r, int32_t paths[MOST][WIDTH]) {
    size_t n = 1 + support_rng_below(r, MOST), made = 0;
    uint32_t ranks = support_rng_chance(r, 0.2) ? SPECP_MEDUSA_MAX_RANKS : 8;
    for (size_t tries = 0; tries < 4 * n && made < n; tries++) {
        int32_t path[WIDTH] = {-1, -1, -1, -1, -1};
        size_t from = support_rng_below(r, (uint32_t)made + 1), d = 0;
        if (from > 0) memcpy(path, paths[from - 1], sizeof path);
        while (d < WIDTH && path[d] >= 0) d++;
        if (d == WIDTH) continue;
        path[d] = (int32_t)support_rng_below(r, ranks);
        bool is_new = true;
        for (size_t i = 0; i < made; i++) is_new = is_new && memcmp(paths[i], path, sizeof path) != 0;
        if (is_new) memcpy(paths[made++], path, sizeof path);
    }
    return made;
}

static void swap_paths(int32_t a[WIDTH], int32_t b[WIDTH]) {
    int32_t t[WIDTH];
    memcpy(t, a, sizeof t);
    memcpy(a, b, sizeof t);
    memcpy(b, t, sizeof t);
}

/* The path of a node, from the tree alone. */
static void path_of(const specp_medusa_tree *t, int node, int32_t path[WIDTH]) {
    for (size_t d = 0; d < WIDTH; d++) path[d] = -1;
    for (; node >= 0; node = t->parent[node]) path[t->depth[node] - 1] = t->rank[node];
}

static void test_random_choices(void **state) {
    (void)state;
    support_rng r = support_rng_new(support_seed(), 410);
    static int32_t paths[MOST][WIDTH];
    for (int round = 0; round < 200; round++) {
        size_t n = random_paths(&r, paths);
        for (size_t i = n; i > 1; i--) swap_paths(paths[i - 1], paths[support_rng_below(&r, (uint32_t)i)]);
        specp_medusa_tree t = must_init(paths[0], n, WIDTH);
        assert_int_equal(t.n, n);
        check_shape(&t);
        for (uint32_t i = 0; i < t.n; i++) { /* with n different nodes: the same set */
            int32_t path[WIDTH];
            bool listed = false;
            path_of(&t, (int)i, path);
            for (size_t j = 0; j < n; j++) listed = listed || memcmp(path, paths[j], sizeof path) == 0;
            assert_true(listed);
        }
        specp_medusa_tree_release(&t, NULL);
        /* Without a node that has children, or with one twice, it is no tree. */
        spec_message why = {""};
        size_t other = support_rng_below(&r, (uint32_t)n);
        if (n > 1 && other > 0) {
            memcpy(paths[0], paths[other], sizeof paths[0]);
            assert_int_equal(specp_medusa_tree_init(&t, paths[0], n, WIDTH, NULL, &why), SPEC_ERR_INVALID);
        }
    }
}

static void test_refused(void **state) {
    static const struct {
        int32_t paths[3][3];
        const char *says;
    } cases[] = {
        {{{0, -1, -1}, {-1, -1, -1}, {1, -1, -1}}, "path 1 is empty"},
        {{{0, -1, -1}, {0, -1, 2}, {1, -1, -1}}, "path 1 has 2 after its end"},
        {{{0, -1, -1}, {0, -2, -1}, {1, -1, -1}}, "path 1 has -2 after its end"},
        {{{0, -1, -1}, {0, 256, -1}, {1, -1, -1}}, "path 1, [0, 256]: rank 256, expected less than 256"},
        {{{0, 1, -1}, {0, -1, -1}, {0, 1, -1}}, "path [0, 1] is listed twice"},
        {{{0, -1, -1}, {1, 3, -1}, {2, -1, -1}}, "path [1, 3] is listed, but not the one that it prolongs"},
        {{{0, -1, -1}, {3, 3, -1}, {2, -1, -1}}, "path [3, 3] is listed, but not"},
        {{{0, -1, -1}, {0, 1, -1}, {0, 2, 5}}, "path [0, 2, 5] is listed, but not"},
        {{{0, 1, 2}, {0, 1, -1}, {1, -1, -1}}, "path [0, 1] is listed, but not"},
        {{{0, -1, -1}, {1, -1, -1}, {0, 1, 2}}, "path [0, 1, 2] is listed, but not"},
    };
    (void)state;
    specp_medusa_tree t, before;
    memset(&t, 0x5a, sizeof t);
    before = t;
    spec_message why = {""};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(specp_medusa_tree_init(&t, cases[i].paths[0], 3, 3, NULL, &why), SPEC_ERR_INVALID);
        if (strstr(why.text, cases[i].says) == NULL) fail_msg("\"%s\", not \"%s\"", why.text, cases[i].says);
    }
    int32_t none = 0;
    assert_int_equal(specp_medusa_tree_init(&t, &none, 0, 1, NULL, &why), SPEC_ERR_INVALID);
    assert_int_equal(specp_medusa_tree_init(&t, &none, SPEC_TREE_MAX_NODES + 1, 1, NULL, &why),
                     SPEC_ERR_INVALID);
    assert_int_equal(specp_medusa_tree_init(&t, &none, 1, 0, NULL, &why), SPEC_ERR_INVALID);
    assert_int_equal(specp_medusa_tree_init(&t, &none, 1, SPECP_MEDUSA_MAX_HEADS + 1, NULL, &why),
                     SPEC_ERR_INVALID);
    assert_memory_equal(&t, &before, sizeof t);
}

/* ---- calibration --------------------------------------------------------------------- */

/* What each node of the tree counts, and their sum. */
static double value_of(const specp_medusa_tree *t, const double *accuracy, size_t n_ranks) {
    double value[SPEC_TREE_MAX_NODES] = {0}, sum = 0;
    for (uint32_t i = 0; i < t->n; i++) {
        value[i] = accuracy[(t->depth[i] - 1u) * n_ranks + t->rank[i]];
        if (t->parent[i] >= 0) value[i] *= value[t->parent[i]];
        sum += value[i];
    }
    return sum;
}

static int descending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? 1 : x > y ? -1 : 0;
}

/* The n largest products over all paths: no tree can have more. */
static double best_sum(const double *accuracy, size_t n_heads, size_t n_ranks, size_t n) {
    static double all[5000];
    size_t begin = 0, end = 0;
    for (size_t h = 0; h < n_heads; h++) {
        size_t level = end;
        for (size_t i = begin; h == 0 ? i < 1 : i < level; i++)
            for (size_t rank = 0; rank < n_ranks; rank++)
                all[end++] = (h == 0 ? 1.0 : all[i]) * accuracy[h * n_ranks + rank];
        begin = level;
    }
    qsort(all, end, sizeof *all, descending);
    double sum = 0;
    for (size_t i = 0; i < n && i < end; i++) sum += all[i];
    return sum;
}

static void test_calibrated_is_best(void **state) {
    (void)state;
    support_rng r = support_rng_new(support_seed(), 411);
    for (int round = 0; round < 300; round++) {
        size_t n_heads = 1 + support_rng_below(&r, 4), n_ranks = 1 + support_rng_below(&r, 8);
        size_t n = 1 + support_rng_below(&r, 80);
        double accuracy[32], expected = -1;
        for (size_t i = 0; i < n_heads * n_ranks; i++) {
            accuracy[i] =
                support_rng_chance(&r, 0.2) ? 0.25 * support_rng_below(&r, 5) : support_rng_unit(&r);
            if (i < n_ranks && accuracy[i] == 0) accuracy[i] = 0.1;
        }
        specp_medusa_tree t;
        spec_message why = {""};
        if (specp_medusa_tree_build(&t, accuracy, n_heads, n_ranks, n, &expected, NULL, &why))
            fail_msg("%s", why.text);
        check_shape(&t);
        assert_true(t.n <= n);
        assert_true(fabs(value_of(&t, accuracy, n_ranks) - expected) < 1e-9);
        assert_true(fabs(best_sum(accuracy, n_heads, n_ranks, n) - expected) < 1e-9);
        specp_medusa_tree_release(&t, NULL);
    }
}

/* By hand: 0.6, 0.3 = 0.6 * 0.5, 0.3, then 0.15 = 0.3 * 0.5; the rank that is never right stays out. */
static void test_calibrated_by_hand(void **state) {
    static const double accuracy[] = {0.3, 0.6, 0.0, 0.5, 0.0, 0.0};
    static const int8_t parent[] = {-1, -1, 0, 1}, rank[] = {0, 1, 0, 0};
    (void)state;
    specp_medusa_tree t;
    double expected;
    assert_int_equal(specp_medusa_tree_build(&t, accuracy, 2, 3, 3, &expected, NULL, NULL), 0);
    assert_int_equal(t.n, 3);
    assert_true(fabs(expected - 1.2) < 1e-12);
    specp_medusa_tree_release(&t, NULL);
    assert_int_equal(specp_medusa_tree_build(&t, accuracy, 2, 3, 50, NULL, NULL, NULL), 0);
    assert_int_equal(t.n, 4);
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(t.parent[i], parent[i]);
        assert_int_equal(t.rank[i], rank[i]);
    }
    specp_medusa_tree_release(&t, NULL);
}

/* Equal ones: lower ranks, then older nodes. */
static void test_calibrated_ties(void **state) {
    static const double accuracy[] = {0.5, 0.5, 0.5, 0.5};
    static const int8_t parent[] = {-1, -1, 0}, rank[] = {0, 1, 0};
    (void)state;
    for (size_t n = 1; n <= 3; n++) {
        specp_medusa_tree t;
        assert_int_equal(specp_medusa_tree_build(&t, accuracy, 2, 2, n, NULL, NULL, NULL), 0);
        assert_int_equal(t.n, n);
        for (size_t i = 0; i < n; i++) {
            assert_int_equal(t.parent[i], parent[i]);
            assert_int_equal(t.rank[i], rank[i]);
        }
        specp_medusa_tree_release(&t, NULL);
    }
}

static void test_calibration_refused(void **state) {
    double accuracy[] = {0.5, 0.25, 0.5, 0.25};
    (void)state;
    specp_medusa_tree t;
    spec_message why = {""};
    const double bad[] = {-0.01, 1.01, (double)NAN, (double)INFINITY};
    for (size_t i = 0; i < 4; i++) {
        accuracy[3] = bad[i];
        assert_int_equal(specp_medusa_tree_build(&t, accuracy, 2, 2, 3, NULL, NULL, &why), SPEC_ERR_INVALID);
        assert_non_null(strstr(why.text, "head 1, rank 1: accuracy"));
    }
    accuracy[3] = 0.25;
    assert_int_equal(specp_medusa_tree_build(&t, accuracy, 0, 2, 3, NULL, NULL, &why), SPEC_ERR_INVALID);
    assert_int_equal(specp_medusa_tree_build(&t, accuracy, 17, 2, 3, NULL, NULL, &why), SPEC_ERR_INVALID);
    assert_int_equal(specp_medusa_tree_build(&t, accuracy, 2, 0, 3, NULL, NULL, &why), SPEC_ERR_INVALID);
    assert_int_equal(specp_medusa_tree_build(&t, accuracy, 2, 257, 3, NULL, NULL, &why), SPEC_ERR_INVALID);
    assert_int_equal(specp_medusa_tree_build(&t, accuracy, 2, 2, 0, NULL, NULL, &why), SPEC_ERR_INVALID);
    assert_int_equal(specp_medusa_tree_build(&t, accuracy, 2, 2, 4097, NULL, NULL, &why), SPEC_ERR_INVALID);
    accuracy[0] = accuracy[1] = 0;
    assert_int_equal(specp_medusa_tree_build(&t, accuracy, 2, 2, 3, NULL, NULL, &why), SPEC_ERR_INVALID);
    assert_non_null(strstr(why.text, "no rank of head 0 was ever right"));
}

static int build(void *arg, const spec_allocator *a, spec_message *why) {
    static const double accuracy[] = {0.5, 0.25, 0.5, 0.25};
    specp_medusa_tree t;
    (void)arg;
    int err = specp_medusa_tree_build(&t, accuracy, 2, 2, 6, NULL, a, why);
    if (!err) specp_medusa_tree_release(&t, a);
    return err;
}

static void test_memory(void **state) {
    (void)state;
    assert_int_equal(support_refuse_each(build, NULL), 5);
}

/* ---- drafts ---------------------------------------------------------------------------- */

static void test_draft(void **state) {
    static const int32_t paths[][2] = {{0, -1}, {1, -1}, {0, 0}, {1, 2}};
    static const spec_token token[] = {10, 11, 12, 10, 21, 22};
    static const float prob[] = {0.5f, 0.25f, 0.125f, 0.5f, 0.25f, 0.125f};
    static const float want[] = {0.5f, 0.25f, 0.25f, 0.03125f};
    (void)state;
    specp_medusa_tree t = must_init(paths[0], 4, 2);
    for (uint32_t cap = 1; cap <= 5; cap++) {
        spec_tree draft;
        spec_message why = {""};
        float sum = 0;
        assert_int_equal(spec_tree_init(&draft, cap, 0, 0, NULL), 0);
        (void)spec_tree_add(&draft, -1, 99, 1.0f, SPEC_SOURCE_OTHER);
        specp_medusa_tree_draft(&t, token, prob, 3, &draft);
        assert_int_equal(draft.n, cap < 4 ? cap : 4);
        if (spec_tree_check(&draft, &why)) fail_msg("%s", why.text);
        for (uint32_t i = 0; i < draft.n; i++) {
            assert_int_equal(draft.token[i], token[(t.depth[i] - 1) * 3 + t.rank[i]]);
            assert_int_equal(draft.parent[i], t.parent[i]);
            assert_int_equal(draft.source[i], SPEC_SOURCE_HEAD);
            assert_true(draft.prob[i] == want[i]);
            sum += want[i];
        }
        assert_true(draft.score == sum);
        spec_tree_release(&draft, NULL);
    }
    specp_medusa_tree_release(&t, NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_recorded_buffers),
        cmocka_unit_test(test_recorded_draft),
        cmocka_unit_test(test_random_choices),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_calibrated_is_best),
        cmocka_unit_test(test_calibrated_by_hand),
        cmocka_unit_test(test_calibrated_ties),
        cmocka_unit_test(test_calibration_refused),
        cmocka_unit_test(test_memory),
        cmocka_unit_test(test_draft),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
