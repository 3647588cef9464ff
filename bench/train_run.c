/* SPDX-License-Identifier: MIT */
/*
 * A training run as the user sees it. What it prints: a line that is written over and over on a
 * terminal, and a lasting one after each validation.
 */
#include "train_run.h"

#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "format.h"
#include "openblas_core.h"
#include "peak.h"
#include "train_log.h"
#include "train_summary.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* ---- signals ------------------------------------------------------------- */

static volatile sig_atomic_t interrupt; /* the signal that wants us to end, or 0 */

static void on_signal(int signal) { interrupt = signal; }

void train_watch_signals(void) {
    static const int ends[] = {SIGINT, SIGTERM, SIGHUP};
    struct sigaction a = {.sa_handler = on_signal, .sa_flags = SA_RESETHAND}, before;
    for (size_t i = 0; i < COUNT(ends); i++)
        if (sigaction(ends[i], NULL, &before) == 0 && before.sa_handler == SIG_DFL)
            sigaction(ends[i], &a, NULL);
}

bool train_interrupted(void) { return interrupt != 0; }

void train_end_by_signal(void) {
    if (!interrupt) return;
    fflush(stdout);
    signal(interrupt, SIG_DFL);
    raise(interrupt);
}

/* ---- options ------------------------------------------------------------- */

static int check_files(const cli_command *c, train_run *r) {
    spec_message why = {""};
    if (!r->output) return cli_complain(c, "expected -o FILE, what to write");
    if (!r->checkpoint) {
        r->own_checkpoint = bench_format("%s.checkpoint", r->output);
        if (!r->own_checkpoint) return cli_complain(c, "out of memory");
        r->checkpoint = r->own_checkpoint;
    }
    const char *const others[] = {r->checkpoint, r->log};
    if (cli_check_output(c, "-o", r->output, others, COUNT(others)) != CLI_RUN ||
        cli_check_output(c, "--log", r->log, others, 1) != CLI_RUN)
        return CLI_BAD;
    if (bench_check_writable(r->output, &why)) return cli_complain(c, "-o: %s", why.text);
    if (bench_check_writable(r->checkpoint, &why)) return cli_complain(c, "--checkpoint: %s", why.text);
    if (r->log && bench_check_writable(r->log, &why)) return cli_complain(c, "--log: %s", why.text);
    if (!r->resume && access(r->checkpoint, F_OK) == 0)
        return cli_complain(c, "%s is there already: --resume goes on from it; remove it to begin anew",
                            r->checkpoint);
    return CLI_RUN;
}

int train_run_check(const cli_command *c, train_run *r) {
    if (r->steps && r->epochs > 0) return cli_complain(c, "expected --steps or --epochs, not both");
    if (!(r->rate > 0)) return cli_complain(c, "--lr: expected more than 0");
    if (r->last_rate > r->rate) return cli_complain(c, "--lr-last: expected at most --lr");
    if (!r->epochs) r->epochs = 1;
    if (!r->last_rate) r->last_rate = r->rate / 20;
    if (check_files(c, r) != CLI_RUN) return CLI_BAD;
    openblas_core_ensure();
    if (!r->threads) r->threads = specp_team_cores();
    if (specp_team_new(&r->team, (unsigned)r->threads, NULL) != SPEC_OK)
        return cli_complain(c, "cannot start %llu threads", (unsigned long long)r->threads);
    return CLI_RUN;
}

void train_run_release(train_run *r) {
    specp_team_free(r->team);
    free(r->own_checkpoint);
}

int train_run_plan(train_run *r, size_t windows) {
    if (!windows) {
        bench_complain("there is nothing to train on: all documents are empty, or held out");
        return EXIT_USAGE;
    }
    if (!r->steps) r->steps = (uint64_t)ceil((double)windows * r->epochs / (double)(r->batch * r->accum));
    if (!r->steps) r->steps = 1;
    if (r->warmup > r->steps / 10) r->warmup = r->steps / 10;
    return EXIT_DONE;
}

/* ---- settings ------------------------------------------------------------ */

train_setting train_setting_number(const char *name, uint64_t v) {
    train_setting s = {.name = name};
    snprintf(s.value, sizeof s.value, "%llu", (unsigned long long)v);
    return s;
}

train_setting train_setting_real(const char *name, double v) {
    train_setting s = {.name = name};
    snprintf(s.value, sizeof s.value, "%.17g", v);
    return s;
}

#define RUN_SETTINGS 11

static train_setting *settings_of(const train_run *r, const train_kind *k, size_t *n) {
    const train_setting own[RUN_SETTINGS] = {
        train_setting_number("seq", r->seq),         train_setting_number("batch", r->batch),
        train_setting_number("accum", r->accum),     train_setting_number("steps", r->steps),
        train_setting_number("warmup", r->warmup),   train_setting_number("held-out", r->held_out),
        train_setting_number("seed", r->seed),       train_setting_real("lr", r->rate),
        train_setting_real("lr-last", r->last_rate), train_setting_real("clip", r->clip),
        train_setting_real("weight-decay", r->decay)};
    train_setting *all = specp_alloc(NULL, RUN_SETTINGS + k->n_settings, sizeof *all);
    if (!all) return NULL;
    memcpy(all, k->setting, k->n_settings * sizeof *all);
    memcpy(all + k->n_settings, own, sizeof own);
    *n = k->n_settings + RUN_SETTINGS;
    return all;
}

/* ---- the run ------------------------------------------------------------- */

typedef struct show {
    train_run *run;
    const train_task *task;
    const train_kind *kind;
    train_loop *loop;
    train_log log;
    train_summary summary;
    bench_line line;
    uint64_t began_ns, began_batches, began_tokens;
    train_measures last; /* of the step before */
    bool has_last, kept;
    double sgemm; /* GFLOP/s of a large product, when the run began */
} show;

static const char *clock_text(double seconds, char buf[24]) {
    uint64_t s = seconds > 0 && seconds < 1e8 ? (uint64_t)seconds : 0;
    snprintf(buf, 24, "%llu:%02llu:%02llu", (unsigned long long)(s / 3600), (unsigned long long)(s / 60 % 60),
             (unsigned long long)(s % 60));
    return buf;
}

/* "loss 2.310, accuracy 51.2%": what is not the loss is a share; "-" of nothing. */
static const char *measures_text(const train_task *t, const train_measures *m, char *buf, size_t n) {
    size_t at = 0;
    buf[0] = '\0';
    for (size_t i = 0; i < t->n_measures && at < n; i++) {
        double v = m->sum[i] / m->weight[i];
        bool loss = strstr(t->measure[i], "loss") != NULL;
        char text[32] = "-";
        if (m->weight[i] > 0) snprintf(text, sizeof text, loss ? "%.4f" : "%.1f%%", loss ? v : 100 * v);
        at += (size_t)snprintf(buf + at, n - at, "%s%s %s", i ? ", " : "", t->measure[i], text);
    }
    return buf;
}

static void batch_done(void *user, uint64_t step, uint64_t i) {
    show *s = user;
    const train_loop *l = s->loop;
    char measures[400], eta[24];
    double seconds = (double)(bench_now_ns() - s->began_ns) / 1e9;
    double batches = (double)(l->state.batches - s->began_batches);
    double all = (double)(l->o.steps * l->o.accum),
           left = (all - (double)l->state.batches) / batches * seconds;
    double tokens = (double)(l->state.tokens - s->began_tokens) + l->state.measured.weight[0];
    const train_measures *m = s->has_last ? &s->last : &l->state.measured;
    bench_line_print(&s->line, "step %llu/%llu, %llu/%llu: %s, %.0f tokens/s, %s left",
                     (unsigned long long)step, (unsigned long long)l->o.steps, (unsigned long long)i,
                     (unsigned long long)l->o.accum, measures_text(s->task, m, measures, sizeof measures),
                     tokens / seconds, clock_text(left, eta));
}

static void keep(show *s) {
    spec_message why = {""};
    s->kept = s->kind->keep(s->task->self, s->run->output, &why) == SPEC_OK;
    if (!s->kept) bench_complain("%s: not written: %s", s->run->output, why.text);
}

static void report(void *user, const train_step *t) {
    show *s = user;
    char measures[400], held[400];
    s->last = t->measured;
    s->has_last = true;
    train_log_step(&s->log, t);
    train_summary_add(&s->summary, t);
    if (!t->is_validated && t->step != t->steps) return;
    bench_line_clear(&s->line);
    if (t->best) keep(s);
    if (s->run->quiet) return;
    printf("step %llu of %llu: %s", (unsigned long long)t->step, (unsigned long long)t->steps,
           measures_text(s->task, &t->measured, measures, sizeof measures));
    if (t->is_validated)
        printf("; held out: %s%s", measures_text(s->task, &t->validated, held, sizeof held),
               t->best ? " (best)" : "");
    putchar('\n');
    fflush(stdout);
}

static void trouble(void *user, const char *what) {
    show *s = user;
    bench_line_clear(&s->line);
    bench_complain("no checkpoint: %s; training goes on, the one before stays", what);
}

static bool stop(void *user) {
    (void)user;
    return train_interrupted();
}

static int exit_code(int err) {
    return err == SPEC_OK                                   ? EXIT_DONE
           : err == SPEC_ERR_NOMEM || err == SPEC_ERR_STATE ? EXIT_CHECK
                                                            : EXIT_USAGE;
}

static int complain(int err, const spec_message *why) {
    bench_complain("%s", why->text[0] ? why->text : spec_strerror(err));
    return exit_code(err);
}

static void say_resumed(const show *s) {
    if (!s->run->quiet)
        printf("%s: going on after step %llu of %llu\n", s->run->checkpoint,
               (unsigned long long)s->loop->state.steps, (unsigned long long)s->loop->o.steps);
}

/* What products can be compared with; 0 if nobody will see it. */
static double sgemm_rate(const show *s) {
    return s->run->quiet && !s->run->log ? 0.0 : peak_sgemm_gops(s->run->team);
}

static int begin(show *s, spec_message *why) {
    const train_run *r = s->run;
    int err = SPEC_OK;
    if (r->resume && access(r->checkpoint, F_OK) == 0) {
        err = train_loop_resume(s->loop, why);
        if (!err) say_resumed(s);
    } else if (r->resume && !r->quiet) {
        printf("%s is not there: beginning anew\n", r->checkpoint);
    }
    if (!err) err = train_log_open(&s->log, r->log, s->task, why);
    if (err) return err;
    s->sgemm = sgemm_rate(s);
    train_log_begin(&s->log, r, s->kind->name, s->loop, s->sgemm);
    s->began_batches = s->loop->state.batches;
    const train_state *at = &s->loop->state; /* what a finished step measured is in its tokens already */
    s->began_tokens = at->tokens + (at->batches % r->accum ? (uint64_t)at->measured.weight[0] : 0);
    s->began_ns = bench_now_ns();
    train_watch_signals();
    fflush(stdout);
    return SPEC_OK;
}

static int finish(show *s, int err, const spec_message *why) {
    const train_loop *l = s->loop;
    double sgemm = sgemm_rate(s);
    bench_line_clear(&s->line);
    if (!s->run->quiet)
        train_summary_print(&s->summary, s->task, sgemm > s->sgemm ? sgemm : s->sgemm, stdout);
    train_log_end(&s->log, l, err ? why->text : l->stopped ? "stopped" : "done", sgemm);
    int code = err ? complain(err, why) : EXIT_DONE;
    if (err == SPEC_ERR_STATE && access(s->run->checkpoint, F_OK) == 0)
        bench_complain("%s keeps the last good state", s->run->checkpoint);
    bool complete = l->state.steps == l->o.steps;
    if (err && !(complete && l->unsaved))
        return code; /* only the last checkpoint is missing: keep the rest */
    if (l->stopped) {
        bench_complain("stopped after step %llu of %llu; the same command with --resume goes on",
                       (unsigned long long)l->state.steps, (unsigned long long)l->o.steps);
        return EXIT_CHECK;
    }
    memcpy(s->task->params->value, l->best, s->task->params->n * sizeof *l->best);
    keep(s);
    if (!s->kept) return EXIT_USAGE;
    if (!s->run->quiet)
        printf("%s: %s parameters, %s tokens in %.1f s, best after step %llu\n", s->run->output,
               fmt_count(s->task->params->n).text, fmt_count(l->state.tokens - s->began_tokens).text,
               (double)(bench_now_ns() - s->began_ns) / 1e9,
               (unsigned long long)(l->state.best_step ? l->state.best_step : l->state.steps));
    return code;
}

static train_options options_of(show *s, const train_setting *setting, size_t n_settings) {
    const train_run *r = s->run;
    return (train_options){.steps = r->steps,
                           .accum = r->accum,
                           .checkpoint_every = r->checkpoint_every,
                           .validate_every = r->validate_every,
                           .schedule = {r->rate, r->last_rate, r->warmup, r->steps},
                           .adam = {.beta1 = 0.9, .beta2 = 0.95, .eps = 1e-8, .weight_decay = r->decay},
                           .clip = r->clip,
                           .checkpoint = r->checkpoint,
                           .setting = setting,
                           .n_settings = n_settings,
                           .team = r->team,
                           .user = s,
                           .now_ns = bench_now_ns,
                           .report = report,
                           .batch_done = batch_done,
                           .trouble = trouble,
                           .stop = stop};
}

int train_run_go(train_run *r, const train_task *task, const train_kind *kind) {
    show s = {.run = r, .task = task, .kind = kind, .line = {.wanted = !r->quiet}};
    spec_message why = {""};
    size_t n_settings = 0;
    train_setting *setting = settings_of(r, kind, &n_settings);
    train_options o = options_of(&s, setting, n_settings);
    int err = setting ? train_loop_new(&s.loop, task, &o, NULL, &why) : SPEC_ERR_NOMEM;
    if (!err) err = begin(&s, &why);
    int code;
    if (err) {
        code = complain(err, &why);
    } else {
        err = train_loop_run(s.loop, &why);
        code = finish(&s, err, &why);
    }
    train_log_close(&s.log);
    train_loop_free(s.loop);
    free(setting);
    train_end_by_signal();
    return code;
}
