/* SPDX-License-Identifier: MIT */
/* specbench demo: all drafters on generated workloads, in seconds. */
#include <string.h>

#include "commands.h"
#include "demo_live.h"
#include "draft_internal.h"
#include "jout.h"
#include "session.h"
#include "util.h"
#include "workload.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static const char about[] = "Generates requests of several kinds (tool calls, SQL, edits, quotes, chat,\n"
                            "summaries) and replays every built-in drafter on them. docs/WORKLOADS.md says\n"
                            "what they model.";

static const char examples[] = "  specbench demo\n"
                               "  specbench demo --full --seed 7\n"
                               "  specbench demo -d suffix -d pld --requests 500\n";

/* Beside the built-in drafters by their bare names, but for those that need a file or are made of others. */
static const char *const presets[] = {"suffix:preset=arctic", "suffix:preset=coreml"};

static bool works_on_a_replay(const char *name) {
    static const char *const not_here[] = {"union", "cascade", "recycle"}; /* the last needs logits */
    for (size_t i = 0; i < COUNT(not_here); i++)
        if (strcmp(name, not_here[i]) == 0) return false;
    return !specp_drafter_needs_file(name);
}

static int default_drafters(session *s) {
    const char *name;
    int rc = 0;
    for (size_t i = 0; (name = spec_drafter_builtin(i)) && !rc; i++) {
        if (!works_on_a_replay(name)) continue;
        rc = cli_list_add(&s->drafters, name);
        for (size_t k = 0; k < COUNT(presets) && !rc && strcmp(name, "suffix") == 0; k++)
            rc = cli_list_add(&s->drafters, presets[k]);
    }
    return rc;
}

static int generate(session *s, uint64_t requests) {
    workload_options w = {.size = sizeof w, .seed = s->seed, .requests_per_kind = (size_t)requests};
    if (s->drafters.n == 0 && default_drafters(s)) return SPEC_ERR_NOMEM;
    int rc = cost_model_builtin(&s->cost);
    return rc == SPEC_OK ? workload_demo(&s->workload, &s->n_workloads, &w) : rc;
}

static int run(session *s, uint64_t requests, const char *models) {
    int rc = generate(s, requests);
    if (rc != SPEC_OK) {
        bench_complain("demo: %s", spec_strerror(rc));
        return EXIT_CHECK;
    }
    int code = session_execute(s);
    if (code != EXIT_DONE || s->quiet || !s->overview_only) return code;
    FILE *out = jout_tables(s->json);
    fprintf(out, "\nHow to read it: tokens that one run of the model yields; 1.00 is plain decoding,\n"
                 "2.00 takes half the runs. 'specbench demo --full': rates, costs and intervals.\n");
    return demo_live(out, models, s->seed, requests);
}

int cmd_demo(int argc, char **argv) {
    session s;
    bool full = false;
    uint64_t requests = WORKLOAD_REQUESTS;
    const char *models = NULL;
    session_init(&s, "demo");
    const cli_option option[] = {
        {'d', "drafter", "DRAFTER", CLI_LIST, &s.drafters, "as for replay; repeatable. Default: all", 0, 0,
         NULL},
        {'b', "budget", "N", CLI_NUMBER, &s.budget, "most tokens a draft may have (default 64)", 1,
         SPEC_TREE_MAX_NODES, NULL},
        {'n', "requests", "N", CLI_NUMBER, &requests, "of each kind (default 120)", 1, 1000000, NULL},
        {0, "seed", "N", CLI_NUMBER, &s.seed, "another seed, other requests (default 1)", 1, INT64_MAX, NULL},
        {0, "full", NULL, CLI_FLAG, &full, "all tables of replay, kind by kind", 0, 0, NULL},
        {0, "models", "DIR", CLI_TEXT, &models, "target, draft model and heads of the live part", 0, 0, NULL},
        {'j', "json", "FILE", CLI_TEXT, &s.json, "also write a JSON report; -: to stdout, tables to stderr",
         0, 0, NULL},
        {'q', "quiet", NULL, CLI_FLAG, &s.quiet, "no tables and no progress line", 0, 0, NULL},
    };
    const cli_command c = {"demo", "", about, option, COUNT(option), examples, 0, 0, NULL};
    int rc = cli_parse(&c, argc, argv, &s.trace_files);
    s.overview_only = !full;
    int code = rc == CLI_RUN ? run(&s, requests, models) : rc == CLI_DONE ? EXIT_DONE : EXIT_USAGE;
    session_release(&s);
    return code;
}
