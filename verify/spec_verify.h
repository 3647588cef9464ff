/* SPDX-License-Identifier: MIT */
/*
 * spec_verify.h - acceptance rules: which part of a draft tree is kept, given
 * what the target model says at each of its nodes.
 */
#ifndef SPEC_VERIFY_H
#define SPEC_VERIFY_H

#include "spec_tree.h"
#include "specdec.h"

#ifdef __cplusplus
extern "C" {
#endif

/*
 * Greedy acceptance. The target was run on the last committed token and on
 * every node; argmax[0] is its choice after the last committed token,
 * argmax[i + 1] its choice after node i (tree->n + 1 values). From the root,
 * moves to the child that carries the target's choice, as long as there is
 * one; the output is then what plain greedy decoding gives.
 *
 * path      (tree->n) receives the accepted nodes, root side first; may be NULL
 * n_path    how many were accepted
 * next      the target's choice after the last of them: it is committed too
 *
 * SPEC_ERR_INVALID: a parent is not before its child, or argmax is negative on
 * the path. O(n), no allocation. Source: Leviathan et al. 2023 (arXiv
 * 2211.17192) for chains at temperature 0; Miao et al., SpecInfer 2024 (arXiv
 * 2305.09781), section 4.2 for trees.
 */
SPEC_API SPEC_MUST_CHECK int spec_verify_greedy(const spec_tree *tree, const spec_token *argmax,
                                                int32_t *path, size_t *n_path, spec_token *next);

#ifdef __cplusplus
}
#endif
#endif
