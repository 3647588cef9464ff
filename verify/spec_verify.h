/* SPDX-License-Identifier: MIT */
/*
 * spec_verify.h - acceptance rules: which part of a draft tree is kept, given
 * what the target model says at each of its nodes.
 *
 *     spec_verify_greedy    lossless: the output of greedy decoding
 *     spec_verify_sample    lossless: the law of sampling, any tree
 *     spec_verify_block     lossless: the same, for sampled chains; keeps more of them
 *     spec_verify_typical   LOSSY: keeps what is likely enough, and changes the output
 *
 *     spec_sampler_new(&sampler, vocab, NULL)               once a thread
 *     until the response is complete:
 *         ... a draft, and the target's logits after the text and after each node
 *         args = {sizeof args, &tree, &sampling, logits, .noise = {seed, sequence, n_text}}
 *         spec_verify_sample(sampler, &args, path, &n, &next, &why)
 *         append the tokens of path[0..n), then next        (spec_stop.h: unless it ends before)
 */
#ifndef SPEC_VERIFY_H
#define SPEC_VERIFY_H

#include "spec_sampling.h"
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

/* What the rules below judge. The target was run on the last committed token and on
 * every node; row 0 has its logits after the last committed token, row i + 1 those
 * after node i. */
typedef struct spec_verify_args {
    size_t size;                   /* sizeof(spec_verify_args) */
    const spec_tree *tree;         /* NULL or empty: the rules draw one token, as plain decoding does */
    const spec_sampling *sampling; /* NULL: greedy */

    const float *logits; /* (tree->n + 1, vocab), or NULL: */
    size_t row_stride;   /* floats from one row to the next; 0 = vocab */
    /* Fetches row i; called only for rows that are looked at. The row is borrowed until the
     * next call. Returns 0 or a negative spec_err, which is handed on. */
    int (*row)(void *user, size_t i, const float **logits);
    void *row_user;

    const spec_token *text; /* (n_text) committed: for the repetition penalty and the mask */
    size_t n_text;
    spec_noise_key noise; /* position: of the next token, counted from the prompt's start */
} spec_verify_args;

/*
 * Sampled acceptance. path, n_path and next are as above: the accepted nodes' tokens,
 * then `next`, have the joint law of plain sampling. At each node, from the root:
 *
 *  1. Its sampled children (q_row >= 0) in order: token x, drawn from q, is accepted with
 *     probability min(1, p(x) / q(x)); if not, p becomes norm(max(p - q, 0)).
 *  2. A token is drawn from what p is then. A child that carries it is accepted; where there is
 *     none, it is `next`.
 *
 * A tree of deterministic nodes (q_row == -1) thus follows the tokens that plain sampling
 * draws: with the same noise key the text is the same, bit for bit, with any such draft
 * or none. One of sampled nodes gives a text of the same law, the same every time for the same
 * drafts.
 *
 * What q is. In step 1, q is the node's q row without the tokens of all siblings that stand
 * before it, normalised. This is what the law of a draft is when a draw that repeats a
 * sibling is dropped, and it makes the rule exact for draws with and without
 * replacement alike, and for siblings of different rows or sources, if the drafter
 *
 *  - lets siblings stand in the order in which they were drawn,
 *  - drops, of two equal ones, the later, be it sampled or not,
 *  - never decides by its token whether to keep a drawn node, and
 *  - draws by other noise than the verifier's (by a noise key's position and a purpose of its own).
 *
 * Children that are merely the most probable ones of a model are deterministic: with q rows
 * they would bias the output. Rows of q need not be normalised.
 *
 * SPEC_ERR_INVALID: the tree is not sound (spec_tree_check), a q row is wider than the vocabulary, has
 * a negative or non-finite value on the path, or gives its node no probability; or what
 * spec_sampler_law refuses. Errors of `row` and of the mask. On error the outputs are as before.
 * O(n + vocab) a row looked at, no allocation.
 *
 * Sources: Leviathan et al. 2023 (arXiv 2211.17192); SpecInfer (2305.09781), Algorithm 2, for several draws;
 * Chen et al., Sequoia 2024 (2402.12374), for draws without replacement.
 */
SPEC_API SPEC_MUST_CHECK int spec_verify_sample(spec_sampler *s, const spec_verify_args *args, int32_t *path,
                                                size_t *n_path, spec_token *next, spec_message *why);

/*
 * The same law for a chain of sampled nodes, judged as a whole: a token that is too
 * likely in the draft may be made good by those after it, so that at least as many are kept,
 * on average. All rows are looked at. SPEC_ERR_INVALID also for a tree that is no
 * chain or has a deterministic node. Source: Sun et al. 2024, block verification (arXiv 2403.10444).
 */
SPEC_API SPEC_MUST_CHECK int spec_verify_block(spec_sampler *s, const spec_verify_args *args, int32_t *path,
                                               size_t *n_path, spec_token *next, spec_message *why);

/*
 * Typical acceptance. LOSSY: the output's law is not the target's. A node is accepted
 * where its parent is and p(token) > min(epsilon, delta * exp(-H)), H = -sum p log(p + 1e-5) being the
 * entropy of p, the law at its parent. Of the accepted paths the longest is kept, of equally long
 * ones the likeliest; `next` is the most probable token after it. There is no noise: at
 * temperature 0 the result is spec_verify_greedy's.
 *
 * The method's own values are epsilon = 0.09, delta = 0.3. SPEC_ERR_INVALID: not
 * 0 <= epsilon < 1, or delta is negative; else as above. q rows are not looked at.
 * Source: Cai et al., Medusa 2024 (arXiv 2401.10774), section 2.3.1.
 */
SPEC_API SPEC_MUST_CHECK int spec_verify_typical(spec_sampler *s, const spec_verify_args *args, float epsilon,
                                                 float delta, int32_t *path, size_t *n_path, spec_token *next,
                                                 spec_message *why);

#ifdef __cplusplus
}
#endif
#endif
