/* SPDX-License-Identifier: MIT */
/* Helpers of the target's tests. target_world.h says what for. */
#include "target_world.h"

#include <stdlib.h>
#include <string.h>

spec_target *target_open(const char *path, unsigned threads, spec_type kv_type, const char *isa) {
    spec_target_options o = {.size = sizeof o, .threads = threads, .kv_type = kv_type, .kv_type_given = 1};
    spec_target *t = NULL;
    spec_message why = {""};
    if (isa) assert_int_equal(spec_target_isa(isa, &o.isa), 0);
    if (spec_target_open(&t, path, &o, NULL, &why)) fail_msg("%s: %s", path, why.text);
    return t;
}

size_t target_vocab(const spec_target *t) {
    spec_target_info info = {.size = sizeof info};
    spec_target_get_info(t, &info);
    return info.vocab;
}

spec_sequence *target_sequence(spec_target *t) {
    spec_sequence *s = NULL;
    assert_int_equal(spec_sequence_new(&s, t, 0), 0);
    return s;
}

spec_forward_out target_feed(spec_target *t, spec_sequence *s, const spec_token *tokens, size_t n,
                             const spec_tree *tree, int all_rows) {
    spec_forward_item item = {
        .sequence = s, .tokens = tokens, .n_tokens = n, .tree = tree, .all_rows = all_rows};
    spec_forward_out out;
    spec_message why = {"stale"};
    if (spec_target_forward(t, &item, 1, NULL, &out, &why)) fail_msg("%s", why.text);
    assert_string_equal(why.text, "");
    return out;
}

void target_text(support_rng *rng, spec_token *out, size_t n, size_t vocab) {
    for (size_t i = 0; i < n; i++) out[i] = (spec_token)support_rng_below(rng, (uint32_t)vocab);
}

spec_tree target_tree(support_rng *rng, uint32_t n, size_t vocab) {
    spec_tree tree;
    assert_int_equal(spec_tree_init(&tree, n ? n : 1, 0, 0, NULL), 0);
    for (uint32_t i = 0; i < n; i++) {
        /* chains, bushes, and what lies between */
        int32_t parent = (int32_t)i - 1;
        if (support_rng_chance(rng, 0.4)) parent = (int32_t)support_rng_below(rng, i + 1) - 1;
        spec_tree_add(&tree, parent, (spec_token)support_rng_below(rng, (uint32_t)vocab), 1.0f, 0);
    }
    return tree;
}

size_t target_path(const spec_tree *tree, int32_t node, int32_t *path, spec_token *tokens) {
    size_t n = node < 0 ? 0 : spec_tree_depth(tree, node);
    for (size_t i = n; i-- > 0; node = tree->parent[node]) {
        path[i] = node;
        tokens[i] = tree->token[node];
    }
    return n;
}

float *target_plain(spec_target *t, const spec_token *tokens, size_t n, spec_sequence **s) {
    size_t vocab = target_vocab(t);
    spec_sequence *plain = target_sequence(t);
    float *logits = malloc(n * vocab * sizeof *logits);
    assert_non_null(logits);
    for (size_t i = 0; i < n; i++) {
        spec_forward_out out = target_feed(t, plain, tokens + i, 1, NULL, 0);
        memcpy(logits + i * vocab, out.logits, vocab * sizeof *logits);
    }
    if (s) {
        *s = plain;
    } else {
        spec_sequence_free(plain);
    }
    return logits;
}

bool target_rows_differ(const float *a, const float *b, size_t n, size_t vocab) {
    return memcmp(a, b, n * vocab * sizeof *a) != 0;
}

void target_same_rows(const char *what, const float *got, const float *wanted, size_t n, size_t vocab) {
    for (size_t i = 0; i < n; i++) {
        if (target_rows_differ(got + i * vocab, wanted + i * vocab, 1, vocab)) {
            fail_msg("%s: row %zu of %zu differs", what, i, n);
        }
    }
}

void target_same_cache(const char *what, const spec_sequence *a, const spec_sequence *b, size_t n) {
    size_t where = 0;
    if (!spec_sequence_equal(a, b, n, &where)) fail_msg("%s: position %zu differs", what, where);
}
