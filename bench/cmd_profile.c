/* SPDX-License-Identifier: MIT */
/* specbench profile: what a forward pass of N tokens costs. */
#include <stdlib.h>
#include <string.h>

#include "commands.h"
#include "model_options.h"
#include "profile.h"
#include "util.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

typedef struct profile_options {
    model_options model;
    const char *contexts, *batches, *sizes, *output, *json;
    uint64_t repeats;
    bool quiet;
    profile p;
    bench_line line;
    cli_list operands;
} profile_options;

/* ---- options ------------------------------------------------------------- */

/* "64,1024": numbers from least to most, none twice. */
static int read_list(const cli_command *c, const char *name, const char *text, size_t least, size_t most,
                     profile_list *out) {
    const char *p = text;
    for (out->n = 0;; p++) {
        size_t v = 0, digits = strspn(p, "0123456789");
        for (size_t i = 0; i < digits && v <= most; i++) v = v * 10 + (size_t)(p[i] - '0');
        bool fine = digits && v >= least && v <= most && (p[digits] == ',' || !p[digits]);
        if (!fine || out->n == PROFILE_MOST)
            return cli_complain(
                c,
                "--%s: expected at most %d whole numbers from %zu to %zu with commas between, "
                "found '%s'",
                name, PROFILE_MOST, least, most, text);
        for (size_t i = 0; i < out->n; i++)
            if (out->item[i] == v) return cli_complain(c, "--%s: %zu stands there twice", name, v);
        out->item[out->n++] = v;
        p += digits;
        if (!*p) return CLI_RUN;
    }
}

static int by_size(const void *a, const void *b) {
    size_t x = *(const size_t *)a, y = *(const size_t *)b;
    return (x > y) - (x < y);
}

static int settle(const cli_command *c, profile_options *o) {
    spec_message why;
    profile *p = &o->p;
    p->repeats = (size_t)o->repeats;
    int rc = model_options_check(c, &o->model);
    if (rc == CLI_RUN)
        rc = read_list(c, "contexts", o->contexts ? o->contexts : "64,1024,4096", 1, 1 << 20, &p->contexts);
    if (rc == CLI_RUN) rc = read_list(c, "batches", o->batches, 1, 256, &p->batches);
    if (rc == CLI_RUN) rc = read_list(c, "sizes", o->sizes, 1, SPEC_TREE_MAX_NODES, &p->sizes);
    const char *const used[] = {o->model.path, o->output};
    if (rc == CLI_RUN) rc = cli_check_output(c, "-o", o->output, used, 1);
    if (rc == CLI_RUN) rc = cli_check_output(c, "--json", o->json, used, COUNT(used));
    if (rc != CLI_RUN) return rc;
    qsort(p->sizes.item, p->sizes.n, sizeof p->sizes.item[0], by_size);
    if (p->sizes.item[0] != 1)
        return cli_complain(c, "--sizes: expected 1 among them, which the others are told by");
    if (o->output && p->sizes.n < 2)
        return cli_complain(c, "-o: a cost model needs another size beside 1: --sizes 1,2,4,8");
    if (o->output && bench_check_writable(o->output, &why) != SPEC_OK)
        return cli_complain(c, "-o: %s", why.text);
    return CLI_RUN;
}

/* The default contexts are cut to what the model can hold; given ones must fit. */
static int fit_contexts(profile_options *o, const spec_target *t) {
    spec_target_info i = {.size = sizeof i};
    profile_list *l = &o->p.contexts;
    spec_target_get_info(t, &i);
    while (!o->contexts && l->n > 1 && profile_context(&o->p) > i.context) l->n--;
    if (profile_context(&o->p) <= i.context) return EXIT_DONE;
    bench_complain(
        "%zu tokens of context and pass do not fit the model's %zu; give smaller --contexts or --sizes",
        profile_context(&o->p), i.context);
    return EXIT_USAGE;
}

/* ---- running ------------------------------------------------------------- */

static void progress_line(void *user, size_t round, const profile_cell *c) {
    profile_options *o = user;
    bench_line_print(&o->line, "round %zu of %zu: context %zu, batch %zu, N %zu", round, o->p.repeats,
                     c->context, c->batch, c->size);
}

static int measure(profile_options *o, spec_target *t) {
    spec_message why = {""};
    o->line.wanted = !o->quiet;
    o->p.progress = progress_line;
    o->p.user = o;
    int rc = profile_run(&o->p, t, &why);
    bench_line_clear(&o->line);
    if (rc != SPEC_OK) bench_complain("%s: %s", o->model.path, why.text[0] ? why.text : spec_strerror(rc));
    return model_exit_code(rc);
}

static int report(profile_options *o, spec_target *t) {
    spec_message why;
    profile_report r = {&o->p, t};
    if (!o->quiet) profile_print(&o->p, t, jout_tables(o->json));
    model_warn_slower(t);
    if (o->output && bench_write_file(o->output, profile_cost_model, &r, &why) != SPEC_OK) {
        bench_complain("%s", why.text);
        return EXIT_USAGE;
    }
    return jout_report(o->json, profile_json, &r);
}

static int run(profile_options *o) {
    spec_target *t = NULL;
    int code = jout_check(o->json);
    if (code == EXIT_DONE) code = model_open(&t, &o->model, o->quiet);
    if (code == EXIT_DONE) code = fit_contexts(o, t);
    if (code == EXIT_DONE) code = measure(o, t);
    if (code == EXIT_DONE) code = report(o, t);
    spec_target_free(t);
    return code;
}

/* ---- the command --------------------------------------------------------- */

static const char about[] =
    "Measures T(N, context, batch): a forward pass over N tokens (the last committed\n"
    "one and a tree of N - 1 drafted ones) of each of 'batch' sequences, behind\n"
    "'context' tokens in the cache. Rounds over all of them, so that a disturbance\n"
    "hits all alike; medians. Beside it the machine's limits, measured in the same\n"
    "rounds. With -o FILE a cost model, by which replay predicts speedups; the first\n"
    "context and batch given are its default. Measure on a quiet machine.";

static const char examples[] =
    "  specbench profile -m model.gguf\n"
    "  specbench profile -m model.gguf -o cost.json --contexts 256,2048 --batches 1\n"
    "  specbench replay chat.jsonl --cost-model cost.json --cost-context 2048\n";

int cmd_profile(int argc, char **argv) {
    profile_options o = {.batches = "1,8", .sizes = "1,2,4,8,16,32,64", .repeats = 5};
    const cli_option option[] = {
        MODEL_OPTIONS(o.model),
        {0, "contexts", "LIST", CLI_TEXT, &o.contexts,
         "default 64,1024,4096, of them what the model can hold", 0, 0, NULL},
        {0, "batches", "LIST", CLI_TEXT, &o.batches, "sequences side by side (default 1,8)", 0, 0, NULL},
        {0, "sizes", "LIST", CLI_TEXT, &o.sizes, "N (default 1,2,4,8,16,32,64)", 0, 0, NULL},
        {0, "repeat", "N", CLI_NUMBER, &o.repeats, "measured rounds (default 5)", 1, 1000, NULL},
        {'o', "output", "FILE", CLI_TEXT, &o.output, "write a cost model for replay --cost-model", 0, 0,
         NULL},
        {'j', "json", "FILE", CLI_TEXT, &o.json, "also write a JSON report; -: to stdout, tables to stderr",
         0, 0, NULL},
        {'q', "quiet", NULL, CLI_FLAG, &o.quiet, "no tables and no progress line", 0, 0, NULL},
    };
    const cli_command c = {"profile", "", about, option, COUNT(option), examples, 0, 0, NULL};
    int rc = cli_parse(&c, argc, argv, &o.operands);
    if (rc == CLI_RUN) rc = settle(&c, &o);
    int code = rc == CLI_RUN ? run(&o) : rc == CLI_DONE ? EXIT_DONE : EXIT_USAGE;
    profile_release(&o.p);
    cli_list_free(&o.operands);
    return code;
}
