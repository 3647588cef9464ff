/* SPDX-License-Identifier: MIT */
/*
 * specbench gate: runs the model over token ids whose logits were recorded, with
 * this build or with another engine, and compares. Tables, JSON, and the exit code.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "commands.h"
#include "format.h"
#include "gate.h"
#include "logits.h"
#include "model_options.h"
#include "util.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define PIECE    64 /* tokens in a forward pass */
#define SHOWN    10 /* positions of unequal argmax in the table */

typedef struct gate {
    model_options model;
    const char *ids_file, *json;
    gate_limits limits;
    bool quiet;
    cli_list operands; /* the file of logits */
    /* the run */
    spec_target *target;
    logits recorded;
    spec_token *token;       /* (n) the ids, owned when they come from ids_file */
    gate_position *position; /* (n) */
    gate_result result;
    double seconds;
} gate;

/* ---- running ------------------------------------------------------------- */

static int complain(int rc, const char *text) {
    bench_complain("%s", text[0] ? text : spec_strerror(rc));
    return model_exit_code(rc);
}

static int bad_input(const char *path, const char *what) {
    bench_complain("%s: %s", path, what);
    return EXIT_USAGE;
}

static int read_ids(gate *g) {
    spec_message why = {""};
    char what[200];
    const char *path = g->operands.item[0];
    size_t n = g->recorded.n;
    if (g->ids_file) {
        int rc = logits_read_ids(&g->token, &n, g->ids_file, &why);
        if (rc != SPEC_OK) return complain(rc, why.text);
    } else if (g->recorded.token) {
        g->token = g->recorded.token;
        g->recorded.token = NULL;
    } else {
        return bad_input(path, "holds no \"tokens\"; expected the ids beside it: --tokens-file IDS");
    }
    if (n == g->recorded.n) return EXIT_DONE;
    snprintf(what, sizeof what, "%zu ids for logits of %zu positions", n, g->recorded.n);
    return bad_input(g->ids_file, what);
}

/* What the model must be to be compared at all. */
static int check_model(const gate *g) {
    spec_target_info i = {.size = sizeof i};
    char what[200];
    spec_target_get_info(g->target, &i);
    if (i.vocab != g->recorded.vocab)
        snprintf(what, sizeof what, "logits for a vocabulary of %zu; this model's is %zu: of another model?",
                 g->recorded.vocab, i.vocab);
    else if (i.context < g->recorded.n)
        snprintf(what, sizeof what, "%zu positions; this model's context is %zu (--max-context)",
                 g->recorded.n, i.context);
    else
        return EXIT_DONE;
    return bad_input(g->operands.item[0], what);
}

static int check_ids(const gate *g) {
    char what[200];
    size_t i = 0;
    while (i < g->recorded.n && (size_t)g->token[i] < g->recorded.vocab) i++;
    if (i == g->recorded.n) return EXIT_DONE;
    snprintf(what, sizeof what, "token %zu is %d; expected ids below %zu, the vocabulary", i, g->token[i],
             g->recorded.vocab);
    return bad_input(g->ids_file ? g->ids_file : g->operands.item[0], what);
}

static int load(gate *g) {
    spec_message why = {""};
    int rc = logits_open(&g->recorded, g->operands.item[0], &why);
    if (rc != SPEC_OK) return complain(rc, why.text);
    int code = read_ids(g);
    if (code == EXIT_DONE) code = check_ids(g);
    if (code == EXIT_DONE) code = model_open(&g->target, &g->model, g->quiet);
    if (code == EXIT_DONE) code = check_model(g);
    return code;
}

static int compare_piece(gate *g, spec_sequence *s, size_t at, float *row, spec_message *why) {
    size_t n = g->recorded.n - at < PIECE ? g->recorded.n - at : PIECE, vocab = g->recorded.vocab;
    spec_forward_item item = {.sequence = s, .tokens = g->token + at, .n_tokens = n, .all_rows = 1};
    spec_forward_out out;
    spec_message said = {""};
    int rc = spec_target_forward(g->target, &item, 1, NULL, &out, &said);
    if (rc != SPEC_OK) return specp_fail(why, rc, "%s: %s", g->model.path, said.text);
    for (size_t i = 0; i < n && rc == SPEC_OK; i++) {
        rc = logits_row(&g->recorded, at + i, row, why);
        if (rc == SPEC_OK)
            g->position[at + i] = gate_compare(row, out.logits + (out.row[0] + i) * vocab, vocab);
    }
    return rc;
}

static int compare(gate *g) {
    spec_message why = {""};
    spec_sequence *s = NULL;
    uint64_t start = bench_now_ns();
    float *row = specp_alloc(NULL, g->recorded.vocab, sizeof *row);
    g->position = specp_calloc(NULL, g->recorded.n, sizeof *g->position);
    int rc = row && g->position ? spec_sequence_new(&s, g->target, 0) : SPEC_ERR_NOMEM;
    for (size_t at = 0; at < g->recorded.n && rc == SPEC_OK; at += PIECE)
        rc = compare_piece(g, s, at, row, &why);
    spec_sequence_free(s);
    free(row);
    if (rc != SPEC_OK) return complain(rc, why.text);
    g->seconds = (double)(bench_now_ns() - start) / 1e9;
    g->result = gate_judge(g->position, g->recorded.n, &g->limits);
    return EXIT_DONE;
}

/* ---- tables -------------------------------------------------------------- */

static const char *verdict(bool missed) { return missed ? "MISSED" : "ok"; }

static void print_figures(const gate *g, FILE *out) {
    const gate_result *r = &g->result;
    bool bounded = isfinite(g->limits.max_difference);
    char needed[24] = "-";
    if (bounded) snprintf(needed, sizeof needed, "%.3g", g->limits.max_difference);
    fprintf(out, "%-24s%12s%10s%12s%14s\n", "", "worst", "position", "mean", "needed");
    fprintf(out, "%-24s%12.6f%10zu%12.6f%14s  %s\n", "cosine", r->min_cosine, r->worst_cosine, r->mean_cosine,
            fmt_real(g->limits.min_cosine, 6).text, verdict(r->cosine_missed));
    fprintf(out, "%-24s%12.3g%10zu%12.3g%14s  %s\n", "largest difference", r->max_difference,
            r->worst_difference, r->mean_difference, needed, bounded ? verdict(r->difference_missed) : "");
    fprintf(out, "%-24s%zu of %zu positions\n", "equal argmax", r->equal, r->n);
    fprintf(out, "%-24s%zu of %zu with a margin above %g x %.3g  %s\n", "of those that must be",
            r->must_equal - r->unequal, r->must_equal, g->limits.margin_factor, r->max_difference,
            verdict(r->argmax_missed));
}

static void print_unequal(const gate *g, FILE *out) {
    size_t left = g->result.n - g->result.equal, shown = 0;
    if (!left) return;
    fprintf(out, "\nWhere the argmax differs:\n%10s%10s%12s%12s%12s%14s\n", "position", "fed", "recorded",
            "here", "margin", "difference");
    for (size_t i = 0; i < g->result.n && shown < SHOWN; i++) {
        const gate_position *p = &g->position[i];
        if (p->recorded == p->here) continue;
        fprintf(out, "%10zu%10d%12d%12d%12.3g%14.3g%s\n", i, g->token[i], p->recorded, p->here, p->margin,
                p->difference, gate_must_equal(p, &g->limits, g->result.max_difference) ? "  MISSED" : "");
        shown++;
    }
    if (left > shown) fprintf(out, "%10s %zu more (all are in the JSON)\n", "and", left - shown);
}

static void print_tables(const gate *g, FILE *out) {
    model_describe(g->target, out);
    fprintf(out, "logits   %s: %zu positions, in %.2f s\n\n", g->operands.item[0], g->result.n, g->seconds);
    print_figures(g, out);
    print_unequal(g, out);
    fputc('\n', out);
    model_kernels(g->target, out);
    fprintf(out, "\n%s\n", gate_passed(&g->result) ? "PASSED" : "MISSED: see above");
}

/* ---- JSON ---------------------------------------------------------------- */

static json_t *positions(const gate *g) {
    json_t *list = json_array();
    for (size_t i = 0; i < g->result.n; i++) {
        const gate_position *p = &g->position[i];
        jout o = jout_begin();
        jout_int(&o, "token", (uint64_t)g->token[i]);
        jout_real(&o, "cosine", p->cosine);
        jout_real(&o, "difference", p->difference);
        jout_real(&o, "margin", p->margin);
        jout_int(&o, "recorded", (uint64_t)p->recorded);
        jout_int(&o, "here", (uint64_t)p->here);
        list = jout_append(list, jout_end(o));
    }
    return list;
}

static jout settings(const gate *g) {
    jout o = jout_begin();
    jout_text(&o, "logits", g->operands.item[0]);
    jout_text(&o, "tokens_file", g->ids_file);
    jout_real(&o, "min_cosine", g->limits.min_cosine);
    jout_real(&o, "margin_factor", g->limits.margin_factor);
    jout_real(&o, "max_difference", g->limits.max_difference);
    return o;
}

static jout result(const gate *g) {
    const gate_result *r = &g->result;
    jout o = jout_begin();
    jout_bool(&o, "passed", gate_passed(r));
    jout_int(&o, "positions", r->n);
    jout_real(&o, "cosine_min", r->min_cosine);
    jout_real(&o, "cosine_mean", r->mean_cosine);
    jout_int(&o, "cosine_worst_position", r->worst_cosine);
    jout_real(&o, "difference_max", r->max_difference);
    jout_real(&o, "difference_mean", r->mean_difference);
    jout_int(&o, "difference_worst_position", r->worst_difference);
    jout_int(&o, "argmax_equal", r->equal);
    jout_int(&o, "argmax_must_equal", r->must_equal);
    jout_int(&o, "argmax_missed", r->unequal);
    jout_real(&o, "seconds", g->seconds);
    return o;
}

static int write_json(FILE *out, void *user) {
    const gate *g = user;
    jout o = jout_begin();
    jout_heading(&o, "gate");
    jout_object(&o, "settings", settings(g));
    model_put_json(&o, g->target);
    jout_object(&o, "gate", result(g));
    jout_put(&o, "positions", positions(g));
    return jout_write(o, out);
}

/* ---- the command --------------------------------------------------------- */

static const char about[] =
    "Runs the model over token ids whose logits were recorded, by this build or by\n"
    "another engine, and compares position by position. LOGITS is .npy of shape\n"
    "(tokens, vocabulary), or safetensors with \"logits\" and \"tokens\". Passes when\n"
    "each position's cosine reaches --min-cosine and the argmax is equal wherever the\n"
    "recorded margin exceeds --margin-factor times the largest difference of all.\n"
    "Shows which kernel each operation ran on. Exit 1 when the gate is missed.";

static const char examples[] =
    "  specbench gate -m model.gguf --tokens-file ids.txt logits.npy\n"
    "  specbench gate -m model.gguf logits.safetensors --kv F32 --max-difference 0.15\n"
    "  specbench gate -m model.gguf logits.safetensors --isa scalar --json gate.json\n";

static void release(gate *g) {
    spec_target_free(g->target);
    logits_close(&g->recorded);
    free(g->token);
    free(g->position);
    cli_list_free(&g->operands);
}

static int run(gate *g) {
    int code = jout_check(g->json);
    if (code == EXIT_DONE) code = load(g);
    if (code == EXIT_DONE) code = compare(g);
    if (code != EXIT_DONE) return code;
    if (!g->quiet) print_tables(g, jout_tables(g->json));
    model_warn_slower(g->target);
    code = jout_report(g->json, write_json, g);
    if (code == EXIT_DONE && !gate_passed(&g->result)) code = EXIT_CHECK;
    return code;
}

static int settle(const cli_command *c, gate *g) {
    const char *const used[] = {g->operands.item[0], g->model.path, g->ids_file};
    int rc = model_options_check(c, &g->model);
    return rc == CLI_RUN ? cli_check_output(c, "--json", g->json, used, COUNT(used)) : rc;
}

int cmd_gate(int argc, char **argv) {
    gate g = {.limits = {.min_cosine = 0.97, .margin_factor = 2, .max_difference = INFINITY}};
    const cli_option option[] = {
        MODEL_OPTIONS(g.model),
        {0, "tokens-file", "IDS", CLI_TEXT, &g.ids_file,
         "the ids, where LOGITS does not hold them: .npy, or text, one number after the other", 0, 0, NULL},
        {0, "min-cosine", "X", CLI_REAL, &g.limits.min_cosine, "at every position (default 0.97)", 0, 1,
         NULL},
        {0, "margin-factor", "X", CLI_REAL, &g.limits.margin_factor,
         "default 2, with which a disagreement must be a near tie; 0: equal tokens everywhere", 0, 1000000,
         NULL},
        {0, "max-difference", "X", CLI_REAL, &g.limits.max_difference,
         "also hold each logit to this (default: no limit)", 0, 1000000, NULL},
        {'j', "json", "FILE", CLI_TEXT, &g.json, "also write a JSON report; -: to stdout, tables to stderr",
         0, 0, NULL},
        {'q', "quiet", NULL, CLI_FLAG, &g.quiet, "no tables and no progress line", 0, 0, NULL},
    };
    const cli_command c = {"gate",
                           "LOGITS",
                           about,
                           option,
                           COUNT(option),
                           examples,
                           1,
                           1,
                           "expected a file of recorded logits (docs/FORMATS.md has the formats)"};
    int rc = cli_parse(&c, argc, argv, &g.operands);
    if (rc == CLI_RUN) rc = settle(&c, &g);
    int code = rc == CLI_RUN ? run(&g) : rc == CLI_DONE ? EXIT_DONE : EXIT_USAGE;
    release(&g);
    return code;
}
