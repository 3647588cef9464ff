/* SPDX-License-Identifier: MIT */
/*
 * specbench workload: the requests of the generated workload as files.
 *
 * As text, a document is a prompt with its response. A prompt may begin with the
 * whole document of the turn before it in its session, which is then left out:
 *
 *     place 0   | turn 1 | turn 1 + 2 | other session, turn 1 |
 *                held      replaces it   another: turn 1 + 2 is written
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "commands.h"
#include "format.h"
#include "jout.h"
#include "train_text.h"
#include "util.h"
#include "workload.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

typedef struct held_text {
    char *text; /* (n) */
    size_t n, cap;
} held_text;

typedef struct workload_command {
    cli_list kinds;
    const char *as, *output;
    uint64_t seed, requests, max_chars;
    bool quiet;
    int (*take)(void *user, const workload_request *r);
    bool wanted[16]; /* by kind */
    /* while writing */
    FILE *file;
    workload_vocab *vocab;
    spec_token *token; /* (cap_token) */
    size_t cap_token;
    held_text held[WORKLOAD_PLACES];
    size_t n_written, n_long; /* n_long: left out for their length */
} workload_command;

/* ---- text ---------------------------------------------------------------- */

/* Writes a place's document, if there is one, and empties the place. */
static int put_held(workload_command *o, held_text *h) {
    if (!h->n) return SPEC_OK;
    if (o->n_written++) fputs(TRAIN_TEXT_SEPARATOR "\n", o->file);
    fwrite(h->text, 1, h->n, o->file);
    h->n = 0;
    return fputc('\n', o->file) == EOF ? SPEC_ERR_IO : SPEC_OK;
}

static int take_text(void *user, const workload_request *r) {
    workload_command *o = user;
    held_text *h = &o->held[r->place];
    bool goes_on = h->n <= r->n_prompt && memcmp(h->text ? h->text : "", r->prompt, h->n) == 0;
    int err = goes_on ? SPEC_OK : put_held(o, h);
    if (err) return err;
    char *grown = bench_grow(h->text, &h->cap, r->n_prompt + r->n_response, 1);
    if (!grown) return SPEC_ERR_NOMEM;
    memcpy(grown, r->prompt, r->n_prompt);
    memcpy(grown + r->n_prompt, r->response, r->n_response);
    h->text = grown;
    h->n = r->n_prompt + r->n_response;
    return SPEC_OK;
}

static int put_all_held(workload_command *o) {
    int err = SPEC_OK;
    for (size_t i = 0; i < WORKLOAD_PLACES && !err; i++) err = put_held(o, &o->held[i]);
    return err;
}

/* ---- lines --------------------------------------------------------------- */

static int take_prompt(void *user, const workload_request *r) {
    workload_command *o = user;
    jout x = jout_begin();
    jout_text(&x, "id", r->id);
    jout_text(&x, "group", r->group);
    jout_text(&x, "prompt", r->prompt);
    json_t *line = jout_end(x);
    if (!line) return SPEC_ERR_NOMEM;
    bool bad = json_dumpf(line, o->file, JSON_COMPACT) || fputc('\n', o->file) == EOF;
    json_decref(line);
    o->n_written++;
    return !bad ? SPEC_OK : ferror(o->file) ? SPEC_ERR_IO : SPEC_ERR_NOMEM;
}

static int take_request(void *user, const workload_request *r) {
    workload_command *o = user;
    /* A token has at least a byte. */
    spec_token *grown = bench_grow(o->token, &o->cap_token, r->n_prompt + r->n_response, sizeof *grown);
    if (!grown) return SPEC_ERR_NOMEM;
    o->token = grown;
    trace_request q = {.prompt = grown};
    q.n_prompt = workload_encode(o->vocab, r->prompt, r->n_prompt, grown);
    q.response = grown + q.n_prompt;
    q.n_response = workload_encode(o->vocab, r->response, r->n_response, q.response);
    q.id = bench_copy_text(r->id, strlen(r->id));
    q.group = bench_copy_text(r->group, strlen(r->group));
    int err = !q.id || !q.group ? SPEC_ERR_NOMEM : SPEC_OK;
    if (!err && trace_write(o->file, &q)) err = ferror(o->file) ? SPEC_ERR_IO : SPEC_ERR_NOMEM;
    free(q.id);
    free(q.group);
    o->n_written++;
    return err;
}

/* ---- writing ------------------------------------------------------------- */

static int take(void *user, const workload_request *r) {
    workload_command *o = user;
    if (r->n_prompt <= o->max_chars) return o->take(o, r);
    o->n_long++;
    return SPEC_OK;
}

/* For bench_write_file: errno tells of memory too. Nothing to write is no success. */
static int write_requests(FILE *f, void *user) {
    workload_command *o = user;
    workload_options w = {.size = sizeof w, .seed = o->seed, .requests_per_kind = (size_t)o->requests};
    int err = workload_vocab_new(&o->vocab, NULL);
    o->file = f;
    for (size_t i = 0; workload_kind_name(i) && !err; i++) {
        if (o->wanted[i]) err = workload_each(i, &w, take, o);
        if (!err) err = put_all_held(o);
    }
    if (err == SPEC_ERR_NOMEM) errno = ENOMEM;
    return err ? err : o->n_written ? SPEC_OK : SPEC_ERR_NOT_FOUND;
}

static int failed(const workload_command *o, const char *why) {
    bool nothing = o->n_long && !o->n_written;
    if (nothing)
        bench_complain("all %zu prompts have more than %zu characters; expected a larger --max-chars",
                       o->n_long, (size_t)o->max_chars);
    else if (o->output)
        bench_complain("-o: %s", why);
    else if (!ferror(stdout))
        bench_complain("workload: out of memory");
    return nothing || o->output || ferror(stdout) ? EXIT_USAGE : EXIT_CHECK;
}

static int run(workload_command *o) {
    spec_message why;
    if (o->output ? bench_write_file(o->output, write_requests, o, &why) : write_requests(stdout, o))
        return failed(o, why.text);
    if (o->n_long)
        bench_complain("left out %zu request%s whose prompts have more than %zu characters", o->n_long,
                       fmt_plural(o->n_long), (size_t)o->max_chars);
    if (!o->output || o->quiet) return EXIT_DONE;
    printf("%s: %s %s%s", o->output, fmt_count(o->n_written).text,
           o->take == take_text ? "document" : "request", fmt_plural(o->n_written));
    if (o->take == take_request)
        printf(", token ids below %s", fmt_count(workload_vocab_size(o->vocab)).text);
    printf("\n");
    return EXIT_DONE;
}

/* ---- options ------------------------------------------------------------- */

static int settle_kinds(const cli_command *c, workload_command *o) {
    const char *names[COUNT(o->wanted) + 1] = {NULL};
    for (size_t i = 0; i < COUNT(o->wanted) && (names[i] = workload_kind_name(i)); i++)
        o->wanted[i] = o->kinds.n == 0;
    for (size_t k = 0; k < o->kinds.n; k++) {
        const char *word = o->kinds.item[k];
        size_t i = 0;
        while (names[i] && strcmp(names[i], word) != 0) i++;
        const char *nearest = names[i] ? NULL : bench_nearest(word, names);
        if (nearest)
            return cli_complain(c, "--kind: there is no kind '%s'; did you mean '%s'?", word, nearest);
        if (!names[i])
            return cli_complain(c, "--kind: there is no kind '%s'; docs/WORKLOADS.md has them", word);
        o->wanted[i] = true;
    }
    return CLI_RUN;
}

static int settle(const cli_command *c, workload_command *o) {
    spec_message why;
    int rc = settle_kinds(c, o);
    if (rc != CLI_RUN) return rc;
    if (strcmp(o->as, "text") == 0)
        o->take = take_text;
    else if (strcmp(o->as, "prompts") == 0)
        o->take = take_prompt;
    else if (strcmp(o->as, "trace") == 0)
        o->take = take_request;
    else
        return cli_complain(c, "--as: expected text, prompts or trace, found '%s'", o->as);
    if (o->output && bench_check_writable(o->output, &why) != SPEC_OK)
        return cli_complain(c, "-o: %s", why.text);
    return CLI_RUN;
}

/* ---- the command --------------------------------------------------------- */

static const char about[] =
    "Writes generated requests to a file: prompts for run, a trace for replay (token\n"
    "ids of the workload's own vocabulary), or text to train a model on: documents\n"
    "of a prompt and its response, or of all turns of a session where its prompts\n"
    "hold those before. A response ends where the document does, or before a line\n"
    "that begins with '<|'. docs/WORKLOADS.md says what the kinds model.";

static const char examples[] =
    "  specbench workload --as text --seed 100 -n 600 -o requests.txt\n"
    "  specbench workload --kind edits --as prompts --max-chars 2500 -o edits.jsonl\n"
    "  specbench run -m model.gguf -p edits.jsonl --stop '<|'\n";

int cmd_workload(int argc, char **argv) {
    workload_command o = {
        .as = "prompts", .seed = WORKLOAD_SEED, .requests = WORKLOAD_REQUESTS, .max_chars = SIZE_MAX};
    cli_list operands = {0};
    const cli_option option[] = {
        {0, "as", "FORM", CLI_TEXT, &o.as, "prompts (default), text or trace", 0, 0, NULL},
        {0, "kind", "KIND", CLI_LIST, &o.kinds, "tools, sql, ...; repeatable. Default: all", 0, 0, NULL},
        {'n', "requests", "N", CLI_NUMBER, &o.requests, "of each kind (default 120)", 1, 1000000, NULL},
        {0, "seed", "N", CLI_NUMBER, &o.seed, "another seed, other requests (default 1)", 1, INT64_MAX, NULL},
        {0, "max-chars", "N", CLI_NUMBER, &o.max_chars, "leave out requests with longer prompts", 1,
         INT64_MAX, NULL},
        {'o', "output", "FILE", CLI_TEXT, &o.output, "where to (default: standard output)", 0, 0, NULL},
        {'q', "quiet", NULL, CLI_FLAG, &o.quiet, "do not tell what was written", 0, 0, NULL},
    };
    const cli_command c = {"workload", "", about, option, COUNT(option), examples, 0, 0, NULL};
    int rc = cli_parse(&c, argc, argv, &operands);
    if (rc == CLI_RUN) rc = settle(&c, &o);
    int code = rc == CLI_RUN ? run(&o) : rc == CLI_DONE ? EXIT_DONE : EXIT_USAGE;
    for (size_t i = 0; i < WORKLOAD_PLACES; i++) free(o.held[i].text);
    free(o.token);
    workload_vocab_free(o.vocab);
    cli_list_free(&o.kinds);
    cli_list_free(&operands);
    return code;
}
