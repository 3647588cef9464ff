/* SPDX-License-Identifier: MIT */
/*
 * Greedy acceptance on a draft tree.
 *
 *        committed text ... t     argmax[0] = d          t -> d
 *                          / \    argmax[2] = e          d -> e
 *                    0:   a   d   :1
 *                         |   |   argmax[4] = x          e -> x: no such child
 *                    2:   b   e   :3
 *                                 path = {1, 3}, next = x
 *
 * Parents come before children, so one pass in order meets the nodes of the
 * path from the root down. Nothing is written before the whole tree was seen to
 * be sound.
 */
#include "spec_verify.h"

int spec_verify_greedy(const spec_tree *tree, const spec_token *argmax, int32_t *path, size_t *n_path,
                       spec_token *next) {
    if (!tree || !argmax || !n_path || !next || argmax[0] < 0) return SPEC_ERR_INVALID;
    int32_t at = -1;             /* the last node accepted */
    spec_token want = argmax[0]; /* the target's choice after it */
    size_t accepted = 0;
    for (uint32_t i = 0; i < tree->n; i++) {
        int32_t parent = tree->parent[i];
        if (parent < -1 || parent >= (int32_t)i) return SPEC_ERR_INVALID;
        if (parent != at || tree->token[i] != want) continue;
        at = (int32_t)i;
        want = argmax[i + 1];
        if (want < 0) return SPEC_ERR_INVALID;
        accepted++;
    }
    *n_path = accepted;
    *next = want;
    for (size_t k = accepted; path && k > 0; at = tree->parent[at]) path[--k] = at;
    return SPEC_OK;
}
