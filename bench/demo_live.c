/* SPDX-License-Identifier: MIT */
/*
 * The demo's live part: the trained model that comes with specbench on generated
 * requests, with all that was trained for it; where it is missing, the copying model
 * (copy_model.h) on a few prompts.
 */
#include "demo_live.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "builtin_models.h"
#include "copy_model.h"
#include "live.h"
#include "util.h"
#include "workload.h"

/* ---- the copying model ------------------------------------------------------ */

static const char *const asked[] = {
    "The quick brown fox jumps over the lazy dog. The quick brown fox jumps over",
    "SELECT name, price FROM products WHERE price > 10; SELECT name, price FROM",
    "for (int i = 0; i < n; i++) sum += a[i]; for (int i = 0; i < n; i++)",
    "<tool_call> {name: read, path: a.c} </tool_call> <tool_call> {name: read, path:",
    "Row, row, row your boat, gently down the stream. Merrily, merrily, merrily,",
    "A rose is a rose is a rose, said the one; a nose is a nose, said the other",
};

static const char *const drafters[] = {"suffix", "mix", "pld", "ngram-cache", "oracle"};

static int fill_copying(live *s, const char *model) {
    s->model.path = model;
    s->model.target.size = sizeof s->model.target;
    s->max_tokens = 160;
    s->temperature = 1;
    s->repeat = 2;
    s->brief = s->quiet = true;
    for (size_t i = 0; i < sizeof drafters / sizeof *drafters; i++)
        if (cli_list_add(&s->drafters, drafters[i])) return SPEC_ERR_NOMEM;
    for (size_t i = 0; i < sizeof asked / sizeof *asked; i++)
        if (prompts_add(&s->prompts, "", "", asked[i], NULL, 0)) return SPEC_ERR_NOMEM;
    return SPEC_OK;
}

static int run_copying(FILE *out, const char *model, uint64_t seed) {
    live s;
    live_init(&s, "demo");
    s.seed = seed;
    int code = fill_copying(&s, model) == SPEC_OK ? live_execute(&s) : EXIT_CHECK;
    if (code == EXIT_DONE) {
        fputs("\nLive: a small model whose weights are set by hand so that it copies what it has\n"
              "read and now and then wanders off; sampled, with drafts and without\n",
              out);
        report_live(&s, out);
    }
    live_release(&s);
    return code;
}

/* Where temporary files belong. */
static char *temporary_name(void) {
    const char *folder = getenv("TMPDIR");
    return bench_format("%s/specbench-demo-XXXXXX", folder && *folder ? folder : "/tmp");
}

/* Writes the model, opens it and takes its name away: an interrupted demo leaves no file. */
static int make_model(char *name, spec_message *why) {
    int fd = mkstemp(name), model = -1;
    if (fd < 0) return -1;
    close(fd);
    if (copy_model_write(name, 1, why) == SPEC_OK) model = open(name, O_RDONLY | O_CLOEXEC);
    unlink(name);
    return model;
}

static int copying(FILE *out, uint64_t seed) {
    spec_message why = {""};
    char *name = temporary_name(), path[40];
    int fd = name ? make_model(name, &why) : -1, code = EXIT_CHECK;
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    if (fd >= 0) {
        code = run_copying(out, path, seed);
        close(fd);
    }
    if (why.text[0] || fd < 0) bench_complain("demo: no temporary file for the model: %s", why.text);
    free(name);
    return code;
}

/* ---- the trained model --------------------------------------------------------- */

#define EACH      3 /* requests of a kind at most: one for each FOR that are replayed */
#define FOR       40
#define MOST_TEXT 2200 /* characters of a prompt: they fit the model's context with their response */

typedef struct asking {
    live *s;
    size_t n, wanted;
} asking;

static int take(void *user, const workload_request *r) {
    asking *a = user;
    if (a->n == a->wanted || r->n_prompt > MOST_TEXT) return SPEC_OK;
    a->n++;
    return prompts_add(&a->s->prompts, r->id, r->group, r->prompt, NULL, 0);
}

static int ask(live *s, uint64_t seed, uint64_t requests) {
    const workload_options w = {.size = sizeof w, .seed = seed, .requests_per_kind = 40};
    int rc = SPEC_OK;
    for (size_t kind = 0; workload_kind_name(kind) && rc == SPEC_OK; kind++) {
        asking a = {s, 0, requests < FOR ? 1 : requests < EACH * FOR ? (size_t)requests / FOR : EACH};
        rc = workload_each(kind, &w, take, &a);
    }
    return rc;
}

/* Adds NAME:FILE, where there is the file; the text is the caller's to free. */
static int add_file(live *s, const char *format, const char *file, char **text) {
    *text = file ? bench_format(format, file) : NULL;
    if (!file) return SPEC_OK;
    return *text && cli_list_add(&s->drafters, *text) == 0 ? SPEC_OK : SPEC_ERR_NOMEM;
}

static int trained(FILE *out, const builtin_models *m, uint64_t seed, uint64_t requests) {
    static const char *const free_ones[] = {"suffix", "mix", "pld", "recycle"};
    char *text[4] = {NULL};
    live s;
    live_init(&s, "demo");
    s.seed = seed;
    s.model.path = m->target;
    s.model.target.size = sizeof s.model.target;
    s.max_tokens = 96;
    s.budget = 4; /* of a model in the caches a pass of 13 rows costs three passes */
    s.repeat = 1;
    s.brief = s.quiet = true;
    int rc = cli_list_add(&s.stop, "<|") ? SPEC_ERR_NOMEM : ask(&s, seed, requests);
    for (size_t i = 0; i < sizeof free_ones / sizeof *free_ones && rc == SPEC_OK; i++)
        rc = cli_list_add(&s.drafters, free_ones[i]) ? SPEC_ERR_NOMEM : SPEC_OK;
    if (rc == SPEC_OK) rc = add_file(&s, "model:%s", m->draft, &text[0]);
    if (rc == SPEC_OK) rc = add_file(&s, "medusa:%s", m->medusa, &text[1]);
    if (rc == SPEC_OK) rc = add_file(&s, "eagle3:%s", m->eagle3, &text[2]);
    if (rc == SPEC_OK) rc = add_file(&s, "mix:with=eagle3:%s", m->eagle3, &text[3]);
    int code = rc == SPEC_OK ? live_execute(&s) : EXIT_CHECK;
    if (rc != SPEC_OK) bench_complain("demo: %s", spec_strerror(rc));
    if (code == EXIT_DONE) {
        fputs("\nLive: a small trained model answers requests of these kinds, greedily; the same\n"
              "text with every drafter, 4 drafted tokens at most (docs/COMPARISON.md has more)\n",
              out);
        report_live(&s, out);
    }
    live_release(&s);
    for (size_t i = 0; i < sizeof text / sizeof *text; i++) free(text[i]);
    return code;
}

int demo_live(FILE *out, const char *models, uint64_t seed, uint64_t requests) {
    builtin_models m;
    int code = EXIT_CHECK;
    if (builtin_models_find(&m, models) != 0)
        bench_complain("demo: out of memory");
    else if (models && !m.target) {
        bench_complain("--models: there is no target.gguf in %s", models);
        code = EXIT_USAGE;
    } else
        code = m.target ? trained(out, &m, seed, requests) : copying(out, seed);
    builtin_models_release(&m);
    return code;
}
