/* SPDX-License-Identifier: MIT */
/* The lines of a training run's log. */
#include "train_log.h"

#include <errno.h>
#include <string.h>

#include "jout.h"
#include "train_summary.h"

int train_log_open(train_log *l, const char *path, const train_task *task, spec_message *why) {
    *l = (train_log){.path = path, .task = task};
    if (!path) return SPEC_OK;
    l->file = fopen(path, "a");
    return l->file ? SPEC_OK : specp_fail(why, SPEC_ERR_IO, "%s: cannot write: %s", path, strerror(errno));
}

static void give_up(train_log *l) {
    bench_complain("%s: cannot write: %s; training goes on without a log", l->path, strerror(errno));
    fclose(l->file);
    l->file = NULL;
}

void train_log_close(train_log *l) {
    if (l->file && fclose(l->file)) bench_complain("%s: cannot write: %s", l->path, strerror(errno));
    l->file = NULL;
}

/* Whole lines only: they are flushed one by one. */
static void write_line(train_log *l, jout x) {
    json_t *o = jout_end(x);
    errno = ENOMEM;
    if (!o || json_dumpf(o, l->file, JSON_COMPACT | JSON_REAL_PRECISION(9)) || fputc('\n', l->file) == EOF ||
        fflush(l->file))
        give_up(l);
    json_decref(o);
}

static jout begin_event(const char *name) {
    jout x = jout_begin();
    jout_text(&x, "event", name);
    return x;
}

void train_log_begin(train_log *l, const train_run *r, const char *kind, const train_loop *loop,
                     double sgemm) {
    if (!l->file) return;
    jout x = begin_event("run"), settings = jout_begin();
    jout_heading(&x, "train");
    jout_text(&x, "kind", kind);
    jout_text(&x, "output", r->output);
    jout_int(&x, "parameters", l->task->params->n);
    jout_int(&x, "threads", r->threads);
    for (size_t i = 0; i < loop->o.n_settings; i++)
        jout_text(&settings, loop->o.setting[i].name, loop->o.setting[i].value);
    jout_object(&x, "settings", settings);
    jout_int(&x, "from_step", loop->state.steps);
    jout_real(&x, "sgemm_gflops", sgemm);
    write_line(l, x);
}

static void put_measures(jout *x, const train_task *t, const train_measures *m) {
    for (size_t i = 0; i < t->n_measures; i++) jout_real(x, t->measure[i], m->sum[i] / m->weight[i]);
}

static void put_times(jout *x, const train_task *t, const train_step *s) {
    jout times = jout_begin();
    for (size_t i = 0; i < t->n_parts; i++) jout_real(&times, t->part[i], (double)s->part_ns[i] / 1e9);
    jout_real(&times, "optimiser", (double)s->optimiser_ns / 1e9);
    jout_real(&times, "validation", (double)s->validation_ns / 1e9);
    jout_real(&times, "checkpoint", (double)s->checkpoint_ns / 1e9);
    jout_real(&times, "report", (double)s->report_ns / 1e9);
    jout_real(&times, "other", (double)s->other_ns / 1e9);
    jout_object(x, "times", times);
}

/* Of the parts that are products, and of all of them together. */
static void put_gflops(jout *x, const train_task *t, const train_step *s) {
    jout part = jout_begin();
    if (t->part_flop) jout_real(x, "gflops", train_gflops(s->part_ns, s->part_flop, t->n_parts));
    for (size_t i = 0; i < t->n_parts; i++)
        if (s->part_flop[i] > 0.0)
            jout_real(&part, t->part[i], train_gflops(&s->part_ns[i], &s->part_flop[i], 1));
    jout_object(x, "part_gflops", part);
}

void train_log_step(train_log *l, const train_step *s) {
    if (!l->file) return;
    jout x = begin_event("step");
    jout_int(&x, "step", s->step);
    jout_int(&x, "steps", s->steps);
    jout_int(&x, "batches", s->batches);
    put_measures(&x, l->task, &s->measured);
    jout_real(&x, "lr", s->rate);
    jout_real(&x, "grad_norm", s->norm);
    jout_bool(&x, "clipped", s->clipped);
    jout_int(&x, "tokens", s->tokens);
    jout_int(&x, "all_tokens", s->all_tokens);
    jout_real(&x, "seconds", (double)s->wall_ns / 1e9);
    jout_real(&x, "tokens_per_second", (double)s->tokens / ((double)s->wall_ns / 1e9));
    put_times(&x, l->task, s);
    put_gflops(&x, l->task, s);
    if (s->is_validated) {
        jout held = jout_begin();
        put_measures(&held, l->task, &s->validated);
        jout_bool(&held, "best", s->best);
        jout_object(&x, "held_out", held);
    }
    if (s->saved) jout_bool(&x, "checkpoint", true);
    write_line(l, x);
}

void train_log_end(train_log *l, const train_loop *loop, const char *reason, double sgemm) {
    if (!l->file) return;
    jout x = begin_event("end");
    jout_text(&x, "reason", reason);
    jout_int(&x, "step", loop->state.steps);
    jout_int(&x, "best_step", loop->state.best_step);
    jout_real(&x, "best_loss", loop->state.best_loss);
    jout_real(&x, "sgemm_gflops", sgemm);
    write_line(l, x);
}
