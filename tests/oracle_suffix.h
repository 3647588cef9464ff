/* SPDX-License-Identifier: MIT */
/*
 * oracle_suffix.h - what the suffix drafter has to draft, told by brute force
 * from its help text: matches of every length are looked for at every place of
 * every text, and a tree is the most probable of all continuations. No suffix
 * index is involved.
 *
 * Texts are arrays that the caller commits to; which response is known to whom
 * follows from tenant, learn and max_requests. Limits of memory are not modelled.
 */
#ifndef TESTS_ORACLE_SUFFIX_H
#define TESTS_ORACLE_SUFFIX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "spec_drafter.h"

/* ---- the rule ---------------------------------------------------------- */

/* The options by their names; words are numbered as the help lists them. A
 * context of -1 is the arctic preset's: as far as the depth. */
typedef struct suffix_rule {
    double tree, nodes, factor, offset, min_prob, self, doubt, depth, context, own, shared, learn, tie,
        max_requests, cross_tenant;
} suffix_rule;

/* Reads "suffix" or "suffix:key=value,...". The defaults are those that
 * spec_drafter_help("suffix") states; other options are passed over. */
void suffix_rule_read(suffix_rule *rule, const char *spec);

/* ---- the texts --------------------------------------------------------- */

typedef struct truth_text {
    spec_request_info info; /* its limits and tenant; the pointers are not used */
    spec_token *tok;        /* (n of cap) prompt and response */
    size_t n, cap, n_prompt;
    size_t n_taught; /* tokens of the response that others know */
    bool kept;       /* it is among the responses kept */
    bool stopped;    /* set by the caller: from now on nothing more of it is taught */
    bool ended;
} truth_text;

typedef struct truth {
    suffix_rule rule;
    truth_text **text; /* (n of cap) all that ever began, in that order */
    size_t n, cap;
} truth;

/* Memory comes from malloc; running out of it aborts the test program. */
void truth_init(truth *t, const char *spec);
void truth_free(truth *t);

/* Mirrors of spec_request_begin, _commit and _end. A text stays until truth_free(). */
truth_text *truth_begin(truth *t, const spec_request_info *info);
void truth_commit(truth *t, truth_text *q, const spec_token *tok, size_t n);
void truth_end(truth *t, truth_text *q);

/* Is q told what another text, or its own as a response, has taught? */
bool truth_tells(const truth *t, const truth_text *other, const truth_text *q);

/* Occurrences of tok[0..n) in the text itself, or in the responses told to it. */
size_t truth_count(const truth *t, const truth_text *q, bool own, const spec_token *tok, size_t n);

/* ---- drafts ------------------------------------------------------------ */

/* What was seen of a draft that agreed, for a test to know that it tested something. */
typedef struct truth_seen {
    size_t drafts, empty, shared, beyond, tied;
    /* beyond: a match in the shared texts that reaches into the prompt;
     * tied: a path that met equal counts and could not be compared node by node */
} truth_seen;

/*
 * Compares a draft made with these arguments with what the rule demands: score,
 * match length, source, probabilities, the probability of each node by its
 * tokens, shape and limits. Paths that meet equal counts (tie=first) are free in
 * their choice: then each token must be a most frequent one and the end must
 * have a reason. False, with the first difference in *why.
 */
bool truth_agrees(const truth *t, const truth_text *q, const spec_propose_args *args, const spec_tree *tree,
                  truth_seen *seen, spec_message *why);

#endif
