/* SPDX-License-Identifier: MIT */
/* Target models with random weights. */
#include "train_random.h"

#include "format.h"
#include "team.h"
#include "train_run.h"
#include "util.h"

typedef struct watch {
    const char *output;
    bench_line line;
} watch;

static bool progress(void *user, uint64_t done, uint64_t of) {
    watch *w = user;
    bench_line_print(&w->line, "%.50s: %s of %s", w->output, fmt_bytes((double)done).text,
                     fmt_bytes((double)of).text);
    return !train_interrupted();
}

int train_random_check(const cli_command *c, train_random *r) {
    spec_message why = {""};
    if (!r->output) return cli_complain(c, "expected -o FILE, the model to write");
    if (!r->model.threads) r->model.threads = specp_team_cores();
    if (random_model_check(&r->model, &why) != SPEC_OK) return cli_complain(c, "%s", why.text);
    if (bench_check_writable(r->output, &why) != SPEC_OK) return cli_complain(c, "-o: %s", why.text);
    return CLI_RUN;
}

int train_random_go(train_random *r) {
    spec_message why = {""};
    uint64_t start = bench_now_ns();
    watch w = {r->output, {.wanted = !r->quiet}};
    r->model.progress = progress;
    r->model.user = &w;
    train_watch_signals();
    int rc = random_model_write(r->output, &r->model, &why);
    bench_line_clear(&w.line);
    train_end_by_signal();
    if (rc != SPEC_OK) {
        bench_complain("%s", why.text[0] ? why.text : spec_strerror(rc));
        return rc == SPEC_ERR_NOMEM ? EXIT_CHECK : EXIT_USAGE;
    }
    if (r->quiet) return EXIT_DONE;
    printf("%s: %s parameters with random weights, %s, in %.1f s\n", r->output,
           fmt_count(r->model.parameters).text, fmt_bytes((double)r->model.bytes).text,
           (double)(bench_now_ns() - start) / 1e9);
    return EXIT_DONE;
}
