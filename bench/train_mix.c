/* SPDX-License-Identifier: MIT */
/*
 * specbench train mix: priors for the drafter mix. Each trace is replayed by a drafter that begins
 * with what the one before has learnt, and with an empty index, so that what stays
 * is how to weigh evidence and not a word of the texts:
 *
 *     trace 1 --> state --> trace 2 --> state --> ... --> state with an empty index --> FILE
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"
#include "format.h"
#include "replay.h"
#include "train_kinds.h"
#include "train_mix.h"
#include "util.h"

typedef struct settings {
    const char *output, *c_source;
    uint64_t budget;
    bool quiet;
    cli_list traces;
} settings;

static const char about[] =
    "Learns priors for the drafter mix from recorded outputs: how far each kind of\n"
    "evidence can be trusted. Nothing of the texts themselves stays. A drafter begins\n"
    "with them by the option priors=FILE; what it learns then comes on top.";

static const char examples[] = "  specbench train mix chat.jsonl code.jsonl -o priors.mix\n"
                               "  specbench replay new.jsonl -d mix:priors=priors.mix -d mix\n";

static int failed(int err, const spec_message *why) {
    bench_complain("%s", why->text[0] ? why->text : spec_strerror(err));
    return err == SPEC_ERR_NOMEM || err == SPEC_ERR_FULL || err == SPEC_ERR_STATE ? EXIT_CHECK : EXIT_USAGE;
}

/* Opens a drafter that begins with the state in `from`, NULL: with nothing. */
static int open_from(spec_drafter **d, const char *from, spec_message *why) {
    char *spec = from ? bench_format("mix:sure=1000,priors=%s", from) : bench_format("mix:priors=none");
    if (!spec) return specp_fail(why, SPEC_ERR_NOMEM, "out of memory");
    int err = spec_drafter_open(d, spec, NULL, why);
    free(spec);
    return err;
}

static int learn_trace(const settings *o, const char *path, const char *from, const char *to,
                       spec_message *why) {
    trace t;
    metrics m = {0};
    spec_drafter *d = NULL;
    int err = trace_load(&t, path, false, why);
    if (err) return err;
    replay_options r = {.budget = (uint32_t)o->budget, .seed = 1, .shared = true};
    err = open_from(&d, from, why);
    if (!err) err = replay_run(d, &t, &r, &m, why);
    if (!err) err = spec_drafter_save(d, 0, to, why);
    if (!err && !o->quiet)
        printf("%-24s %8s tokens, %.3f a step\n", t.name, fmt_count(m.total.out).text,
               (double)m.total.out / (double)m.total.steps);
    spec_drafter_free(d);
    metrics_release(&m);
    trace_free(&t);
    return err;
}

/* The same state with an empty index. */
static int strip(const char *from, const char *to, spec_message *why) {
    spec_drafter *d = NULL;
    spec_request *r = NULL;
    spec_request_info info = {.size = sizeof info};
    int err = open_from(&d, from, why);
    if (!err) err = spec_request_begin(d, &info, &r);
    spec_request_end(r);
    if (!err) err = spec_drafter_save(d, 0, to, why);
    spec_drafter_free(d);
    return err;
}

static int run(const settings *o) {
    spec_message why = {""};
    char *part = bench_format("%s.part", o->output);
    int err = part ? SPEC_OK : specp_fail(&why, SPEC_ERR_NOMEM, "out of memory");
    for (size_t i = 0; !err && i < o->traces.n; i++)
        err = learn_trace(o, o->traces.item[i], i ? part : NULL, part, &why);
    if (!err) err = strip(part, o->output, &why);
    if (!err && o->c_source) err = mix_priors_write(o->c_source, o->output, &why);
    if (part) unlink(part);
    free(part);
    return err ? failed(err, &why) : EXIT_DONE;
}

static int settle(const cli_command *c, settings *o) {
    spec_message why = {""};
    if (!o->output) return cli_complain(c, "expected -o FILE, the priors to write");
    if (strchr(o->output, ','))
        return cli_complain(c, "-o: '%s' holds a comma, which separates a drafter's options", o->output);
    int rc = cli_check_output(c, "-o", o->output, o->traces.item, o->traces.n);
    if (rc != CLI_RUN) return rc;
    if (bench_check_writable(o->output, &why) != SPEC_OK) return cli_complain(c, "-o: %s", why.text);
    return CLI_RUN;
}

int train_mix(int argc, char **argv) {
    settings o = {.budget = 16};
    const cli_option option[] = {
        {'o', "output", "FILE", CLI_TEXT, &o.output, "the priors to write: a snapshot of an empty index", 0,
         0, NULL},
        {'b', "budget", "N", CLI_NUMBER, &o.budget, "most tokens of a draft while learning (default 16)", 1,
         256, NULL},
        {0, "c-source", "FILE", CLI_TEXT, &o.c_source, "also write them as the library's own priors", 0, 0,
         NULL},
        {'q', "quiet", NULL, CLI_FLAG, &o.quiet, "print nothing", 0, 0, NULL},
    };
    const cli_command c = {"train mix",
                           "TRACE...",
                           about,
                           option,
                           sizeof option / sizeof *option,
                           examples,
                           1,
                           SIZE_MAX,
                           "expected a trace file (JSON lines, see docs/FORMATS.md)"};
    int rc = cli_parse(&c, argc, argv, &o.traces);
    if (rc == CLI_RUN) rc = settle(&c, &o);
    int code = rc == CLI_RUN ? run(&o) : rc == CLI_DONE ? EXIT_DONE : EXIT_USAGE;
    cli_list_free(&o.traces);
    return code;
}
