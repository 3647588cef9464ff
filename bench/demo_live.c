/* SPDX-License-Identifier: MIT */
/* The demo's live part: the copying model (copy_model.h) on a few prompts, sampled. */
#include "demo_live.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "copy_model.h"
#include "live.h"
#include "util.h"

static const char *const asked[] = {
    "The quick brown fox jumps over the lazy dog. The quick brown fox jumps over",
    "SELECT name, price FROM products WHERE price > 10; SELECT name, price FROM",
    "for (int i = 0; i < n; i++) sum += a[i]; for (int i = 0; i < n; i++)",
    "<tool_call> {name: read, path: a.c} </tool_call> <tool_call> {name: read, path:",
    "Row, row, row your boat, gently down the stream. Merrily, merrily, merrily,",
    "A rose is a rose is a rose, said the one; a nose is a nose, said the other",
};

static const char *const drafters[] = {"suffix", "pld", "ngram-cache", "oracle"};

static int fill(live *s, const char *model) {
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

static int run(FILE *out, const char *model, uint64_t seed) {
    live s;
    live_init(&s, "demo");
    s.seed = seed;
    int code = fill(&s, model) == SPEC_OK ? live_execute(&s) : EXIT_CHECK;
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

int demo_live(FILE *out, uint64_t seed) {
    spec_message why = {""};
    char *name = temporary_name(), path[40];
    int fd = name ? make_model(name, &why) : -1, code = EXIT_CHECK;
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    if (fd >= 0) {
        code = run(out, path, seed);
        close(fd);
    }
    if (why.text[0] || fd < 0) bench_complain("demo: no temporary file for the model: %s", why.text);
    free(name);
    return code;
}
