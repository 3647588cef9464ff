/* SPDX-License-Identifier: MIT */
/*
 * The options of the suffix drafter, and its presets.
 *
 * arctic   the reference implementation (snowflakedb/ArcticInference): raw count
 *          ratios, match length as the budget, nothing below probability 0.1.
 * coreml   the weak set-up behind a published 48% hit rate and 18% top-1: learns
 *          a response only when it is over, never sees the prompt or the request's
 *          own text, looks at 8 tokens, drafts 5 without any threshold.
 */
#include <stddef.h>

#include "mix_tree.h"
#include "suffix_internal.h"

const char specp_suffix_help[] =
    "suffix: what followed the longest match of the text's end, in the request's\n"
    "own text and in other requests' responses (SuffixDecoding)\n"
    "  preset=default|arctic|coreml   starting values for all that follow\n"
    "  tree=0|1        draft a tree, or the single most frequent path (default 1)\n"
    "  nodes=N         nodes in a draft at most, 1..4096 (default 32)\n"
    "  factor=F        nodes for a match of m tokens: F * m + offset (default 64)\n"
    "  offset=F        (default 0)\n"
    "  min_prob=P      no node less likely than P (default 0.1)\n"
    "  self=0|1        leave the text's own end out of the match's count (default 1)\n"
    "  doubt=F         F / m is added to the count of a match of m tokens: how much\n"
    "                  a rare and short match is doubted (default 2)\n"
    "  depth=D         longest match and draft together, 2..4096 (default 64;\n"
    "                  with corpus= that of the file)\n"
    "  context=N       match at most the last N tokens; 0 = as many as leave room for\n"
    "                  the nodes, depth - min(nodes, depth / 2) (default 0; in the\n"
    "                  arctic preset depth - 1)\n"
    "  own=0|1         match in the request's own prompt and response (default 1)\n"
    "  shared=0|1      match in other requests' responses, and teach them (default 1)\n"
    "  learn=live|end  teach tokens at once, or when a request ends (default live)\n"
    "  tie=first|lowest   among equally frequent children of a path take the index's\n"
    "                  first, or the lowest token id (default first)\n"
    "  memory_mb=N     limit of the shared index of a tenant; 0 = none (default 0)\n"
    "  max_requests=N  responses kept in it, the oldest go first; -1 = no limit\n"
    "                  (default -1)\n"
    "  evict=fifo|lru  whose response goes first when memory_mb is reached\n"
    "                  (default fifo)\n"
    "  tenants=N       tenants whose knowledge is kept (default 64)\n"
    "  cross_tenant=0|1   1 = all tenants share (default 0)\n"
    "  corpus=FILE     start the shared index from a snapshot (specbench corpus)\n"
    "  trust=0|1       do not verify the snapshot's checksums (default 0)\n";

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

enum { PRESET_DEFAULT, PRESET_ARCTIC, PRESET_COREML };

static const char *const presets[] = {"default", "arctic", "coreml", NULL};
static const char *const learns[] = {"live", "end", NULL};
static const char *const ties[] = {"first", "lowest", NULL};
static const char *const evicts[] = {"fifo", "lru", NULL};

/* The words of the command line that stand for a bool are parsed into ints. */
typedef struct words {
    suffix_options o;
    int learn, tie;
} words;

#define AT(field) offsetof(words, o.field)

static const specp_option table[] = {
    {.key = "preset", .type = SPECP_OPT_WORD, .offset = AT(preset), .words = presets},
    {.key = "tree", .type = SPECP_OPT_BOOL, .offset = AT(tree)},
    {.key = "nodes", .type = SPECP_OPT_INT, .offset = AT(nodes), .min = 1, .max = SPEC_TREE_MAX_NODES},
    {.key = "factor", .type = SPECP_OPT_REAL, .offset = AT(factor), .min = 0, .max = 1e6},
    {.key = "offset", .type = SPECP_OPT_REAL, .offset = AT(offset), .min = -1e6, .max = 1e6},
    {.key = "min_prob", .type = SPECP_OPT_REAL, .offset = AT(min_prob), .min = 0, .max = 1},
    {.key = "self", .type = SPECP_OPT_BOOL, .offset = AT(self)},
    {.key = "doubt", .type = SPECP_OPT_REAL, .offset = AT(doubt), .min = 0, .max = 1e6},
    {.key = "depth", .type = SPECP_OPT_INT, .offset = AT(depth), .min = 2, .max = SPEC_INDEX_MAX_DEPTH},
    {.key = "context", .type = SPECP_OPT_INT, .offset = AT(context), .min = 0, .max = SPEC_INDEX_MAX_DEPTH},
    {.key = "own", .type = SPECP_OPT_BOOL, .offset = AT(own)},
    {.key = "shared", .type = SPECP_OPT_BOOL, .offset = AT(shared)},
    {.key = "learn", .type = SPECP_OPT_WORD, .offset = offsetof(words, learn), .words = learns},
    {.key = "tie", .type = SPECP_OPT_WORD, .offset = offsetof(words, tie), .words = ties},
    {.key = "memory_mb", .type = SPECP_OPT_INT, .offset = AT(memory_mb), .min = 0, .max = 1 << 24},
    {.key = "max_requests", .type = SPECP_OPT_INT, .offset = AT(max_requests), .min = -1, .max = 1 << 30},
    {.key = "evict", .type = SPECP_OPT_WORD, .offset = AT(evict), .words = evicts},
    {.key = "tenants", .type = SPECP_OPT_INT, .offset = AT(tenants), .min = 1, .max = 1 << 20},
    {.key = "cross_tenant", .type = SPECP_OPT_BOOL, .offset = AT(cross_tenant)},
    {.key = "corpus",
     .type = SPECP_OPT_TEXT,
     .offset = AT(corpus),
     .size = sizeof(((suffix_options *)0)->corpus)},
    {.key = "trust", .type = SPECP_OPT_BOOL, .offset = AT(trust)},
};

/* Of the drafter mix. */
static const specp_option mix_table[] = {
    {.key = "priors",
     .type = SPECP_OPT_TEXT,
     .offset = AT(priors),
     .size = sizeof(((suffix_options *)0)->priors)},
    {.key = "sure", .type = SPECP_OPT_INT, .offset = AT(sure), .min = 0, .max = 1000},
};

static words preset_values(int preset) {
    words w = {.o = {.preset = preset,
                     .depth = 64,
                     .nodes = 32,
                     .factor = 64,
                     .min_prob = 0.1,
                     .doubt = 2,
                     .tree = true,
                     .self = true,
                     .own = true,
                     .shared = true,
                     .max_requests = -1,
                     .tenants = 64}};
    if (preset == PRESET_ARCTIC) {
        w.o.factor = 1;
        w.o.nodes = 64;
        w.o.tree = w.o.self = false;
        w.o.doubt = 0;
    } else if (preset == PRESET_COREML) {
        w.o.tree = w.o.self = w.o.own = false;
        w.o.doubt = w.o.min_prob = w.o.factor = 0;
        w.o.offset = w.o.nodes = 5;
        w.o.depth = 16;
        w.o.context = 8;
        w.learn = w.tie = 1;
    }
    return w;
}

uint32_t specp_suffix_longest(const suffix_options *o) {
    int64_t room = o->nodes < o->depth / 2 ? o->nodes : o->depth / 2;
    int64_t longest = o->preset == PRESET_ARCTIC ? o->depth - 1 : o->depth - room;
    if (o->context) longest = o->context < o->depth ? o->context : o->depth - 1;
    return (uint32_t)longest;
}

static int check(const char *drafter, const suffix_options *o, spec_message *why) {
    if (o->shared || !o->corpus[0]) return SPEC_OK;
    return specp_fail(why, SPEC_ERR_INVALID, "drafter %s: corpus=%s needs shared=1", drafter, o->corpus);
}

int specp_suffix_parse(suffix_options *o, const char *text, spec_message *why) {
    const size_t n = COUNT(table);
    words w = preset_values(PRESET_DEFAULT);
    int err = specp_options_parse("suffix", text, table, n, &w, why);
    if (err) return err;
    w = preset_values(w.o.preset);
    err = specp_options_parse("suffix", text, table, n, &w, why);
    if (err) return err;
    *o = w.o;
    o->at_end = w.learn;
    o->lowest = w.tie;
    return check("suffix", o, why);
}

/* The options that the drafter mix has: those that do not say how one match is continued. */
int specp_mix_parse(suffix_options *o, const char *text, spec_message *why) {
    static const char *const keys[] = {"nodes",        "min_prob",  "depth",        "own",   "shared",
                                       "learn",        "memory_mb", "max_requests", "evict", "tenants",
                                       "cross_tenant", "corpus",    "trust"};
    specp_option mine[COUNT(keys) + COUNT(mix_table)];
    size_t n = 0;
    for (size_t i = 0; i < COUNT(keys); i++)
        for (size_t j = 0; j < COUNT(table); j++)
            if (strcmp(keys[i], table[j].key) == 0) mine[n++] = table[j];
    mine[0].max = MIX_MAX_NODES;
    for (size_t i = 0; i < COUNT(mix_table); i++) mine[n++] = mix_table[i];
    words w = preset_values(PRESET_DEFAULT);
    w.o.nodes = 64;
    w.o.sure = 30;
    w.o.min_prob = 0.0002;
    int err = specp_options_parse("mix", text, mine, n, &w, why);
    if (err) return err;
    *o = w.o;
    o->at_end = w.learn;
    return check("mix", o, why);
}
