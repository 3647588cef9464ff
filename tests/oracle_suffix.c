/* SPDX-License-Identifier: MIT */
/*
 * The rule as the help text has it, and who is told which text: oracle_suffix.h.
 * What a draft has to be is in oracle_suffix_drafts.c.
 */
#include "oracle_suffix.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void *must(void *p) {
    if (p) return p;
    fprintf(stderr, "oracle_suffix: out of memory\n");
    abort();
}

/* ---- the rule ---------------------------------------------------------- */

static const struct {
    const char *key;
    size_t offset;
} keys[] = {
#define KEY(name)                                                                                            \
    { #name, offsetof(suffix_rule, name) }
    KEY(tree),   KEY(nodes), KEY(factor), KEY(offset),       KEY(min_prob),
    KEY(self),   KEY(doubt), KEY(depth),  KEY(context),      KEY(own),
    KEY(shared), KEY(learn), KEY(tie),    KEY(max_requests), KEY(cross_tenant),
#undef KEY
};
#define N_KEYS (sizeof keys / sizeof keys[0])

static double read_value(const char *text) {
    if (!strncmp(text, "live", 4) || !strncmp(text, "first", 5)) return 0;
    if (!strncmp(text, "end", 3) || !strncmp(text, "lowest", 6)) return 1;
    return strtod(text, NULL);
}

static double *value_at(suffix_rule *rule, size_t i) { return (double *)((char *)rule + keys[i].offset); }

/* Sets what key=value,key=value names. */
static void read_list(suffix_rule *rule, const char *list) {
    for (const char *at = list; at && *at; at = strchr(at, ',') ? strchr(at, ',') + 1 : NULL)
        for (size_t i = 0; i < N_KEYS; i++) {
            size_t len = strlen(keys[i].key);
            if (!strncmp(at, keys[i].key, len) && at[len] == '=')
                *value_at(rule, i) = read_value(at + len + 1);
        }
}

/* "  key=..." begins an entry of the help, "(default X)" ends it. */
static void read_defaults(suffix_rule *rule) {
    const char *help = spec_drafter_help("suffix");
    for (size_t i = 0; i < N_KEYS; i++) {
        char entry[40];
        snprintf(entry, sizeof entry, "\n  %s=", keys[i].key);
        const char *at = must(strstr(help, entry));
        *value_at(rule, i) = read_value(strlen("(default ") + (const char *)must(strstr(at, "(default ")));
    }
}

void suffix_rule_read(suffix_rule *rule, const char *spec) {
    memset(rule, 0, sizeof *rule);
    read_defaults(rule);
    if (strstr(spec, "preset=arctic"))
        read_list(rule, "tree=0,nodes=64,factor=1,offset=0,min_prob=0.1,self=0,doubt=0,depth=64,context=0");
    if (strstr(spec, "preset=coreml"))
        read_list(rule, "tree=0,nodes=5,factor=0,offset=5,min_prob=0,self=0,doubt=0,depth=16,context=8,"
                        "own=0,learn=end,tie=lowest");
    const char *colon = strchr(spec, ':');
    if (colon) read_list(rule, colon + 1);
    if (strstr(spec, "preset=arctic") && rule->context == 0) rule->context = -1;
}

/* ---- the texts --------------------------------------------------------- */

void truth_init(truth *t, const char *spec) {
    memset(t, 0, sizeof *t);
    suffix_rule_read(&t->rule, spec);
}

void truth_free(truth *t) {
    for (size_t i = 0; i < t->n; i++) {
        free(t->text[i]->tok);
        free(t->text[i]);
    }
    free(t->text);
    memset(t, 0, sizeof *t);
}

static void add_tokens(truth_text *q, const spec_token *tok, size_t n) {
    if (!n) return;
    if (q->n + n > q->cap) {
        q->cap = 2 * (q->n + n);
        q->tok = must(realloc(q->tok, q->cap * sizeof *q->tok));
    }
    memcpy(q->tok + q->n, tok, n * sizeof *tok);
    q->n += n;
}

static bool same_tenant(const truth *t, const truth_text *a, const truth_text *b) {
    return t->rule.cross_tenant != 0 || a->info.tenant == b->info.tenant;
}

/* At most max_requests responses of a tenant are kept, the latest. */
static void keep_latest(truth *t, const truth_text *q) {
    if (t->rule.max_requests < 0) return;
    double n = 0;
    for (size_t i = t->n; i-- > 0;)
        if (t->text[i]->kept && same_tenant(t, t->text[i], q) && ++n > t->rule.max_requests)
            t->text[i]->kept = false;
}

truth_text *truth_begin(truth *t, const spec_request_info *info) {
    truth_text *q = must(calloc(1, sizeof *q));
    if (t->n == t->cap) {
        t->cap = t->cap ? 2 * t->cap : 16;
        t->text = must(realloc(t->text, t->cap * sizeof(*t->text)));
    }
    q->info = *info;
    q->kept = t->rule.shared != 0;
    q->n_prompt = info->n_prompt;
    add_tokens(q, info->prompt, info->n_prompt);
    t->text[t->n++] = q;
    keep_latest(t, q);
    return q;
}

void truth_commit(truth *t, truth_text *q, const spec_token *tok, size_t n) {
    add_tokens(q, tok, n);
    if (t->rule.learn == 0 && !q->stopped) q->n_taught = q->n - q->n_prompt;
}

void truth_end(truth *t, truth_text *q) {
    (void)t;
    q->ended = true;
    if (!q->stopped) q->n_taught = q->n - q->n_prompt;
}

bool truth_tells(const truth *t, const truth_text *other, const truth_text *q) {
    return other->kept && other->n_taught && same_tenant(t, other, q);
}

static size_t count_in(const spec_token *text, size_t n_text, const spec_token *tok, size_t n) {
    size_t count = 0;
    for (size_t i = 0; i + n <= n_text; i++) count += !memcmp(text + i, tok, n * sizeof *tok);
    return count;
}

size_t truth_count(const truth *t, const truth_text *q, bool own, const spec_token *tok, size_t n) {
    if (own) return count_in(q->tok, q->n, tok, n);
    size_t count = 0;
    for (size_t i = 0; i < t->n; i++) {
        const truth_text *other = t->text[i];
        if (truth_tells(t, other, q))
            count += count_in(other->tok + other->n_prompt, other->n_taught, tok, n);
    }
    return count;
}
