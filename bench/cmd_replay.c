/* SPDX-License-Identifier: MIT */
/* specbench replay: the options of a session on trace files. */
#include <string.h>

#include "commands.h"
#include "session.h"
#include "util.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static const char about[] =
    "Decodes the responses of TRACE files again with each drafter and tells how many\n"
    "tokens each step would have yielded. No model is run: a trace holds what the\n"
    "model said: a JSON object a line, {\"prompt\":[ids],\"response\":[ids]}, \"id\" and\n"
    "\"group\" if wanted. Each trace is a workload of its own, in the file's order.\n"
    "'specbench help drafters' lists the drafters and their options.";

static const char examples[] =
    "  specbench replay chat.jsonl\n"
    "  specbench replay chat.jsonl sql.jsonl -d suffix -d pld:n_max=2 --groups\n"
    "  specbench replay chat.jsonl -d suffix --budget 16 --calibration\n"
    "  specbench replay today.jsonl -d suffix --warm yesterday.jsonl --json out.json\n";

static const char *const default_drafters[] = {"suffix", "pld", "ngram-cache", "ngram-mod"};

typedef struct settings {
    session *s;
    const char *cost_file;
    uint64_t cost_context, cost_batch;
    bool has_context, has_batch; /* of the cost model's grid */
    const char *policy;
    bool no_shared, details;
} settings;

static int read_cost(const cli_command *c, settings *o) {
    spec_message why = {""};
    bool select = o->has_context || o->has_batch;
    if (select && !o->cost_file)
        return cli_complain(c, "--cost-context and --cost-batch pick from the grid of a --cost-model FILE");
    int rc = cost_model_open(&o->s->cost, o->cost_file ? o->cost_file : "builtin", &why);
    if (rc == SPEC_OK && select) {
        size_t first = o->s->cost.n_grid ? o->s->cost.grid[0].context : 0;
        size_t context = o->has_context ? (size_t)o->cost_context : first;
        rc = cost_model_select(&o->s->cost, context, (size_t)o->cost_batch, &why);
    }
    return rc == SPEC_OK ? CLI_RUN : cli_complain(c, "%s", why.text[0] ? why.text : spec_strerror(rc));
}

static int check_output(const cli_command *c, const settings *o) {
    const session *s = o->s;
    const char *const used[] = {s->corpus, o->cost_file};
    int rc = cli_check_output(c, "--json", s->json, used, COUNT(used));
    if (rc == CLI_RUN) rc = cli_check_output(c, "--json", s->json, s->trace_files.item, s->trace_files.n);
    return rc == CLI_RUN ? cli_check_output(c, "--json", s->json, s->warm_files.item, s->warm_files.n) : rc;
}

/* What the options say that needs looking at together. */
static int settle(const cli_command *c, settings *o) {
    session *s = o->s;
    s->shared = !o->no_shared;
    if (o->no_shared && s->warm_files.n)
        return cli_complain(c, "--warm teaches what --no-shared keeps from being used; give one of them");
    if (s->corpus && strchr(s->corpus, ','))
        return cli_complain(c, "--corpus: '%s' holds a comma, which separates a drafter's options",
                            s->corpus);
    int rc = cli_policy(c, o->policy, &s->goodput);
    if (rc == CLI_RUN) rc = check_output(c, o);
    if (rc != CLI_RUN) return rc;
    if (o->details)
        s->groups = s->quarters = s->sources = s->match_lengths = s->positions = s->calibration = true;
    bool none = s->drafters.n == 0;
    for (size_t i = 0; none && i < COUNT(default_drafters); i++)
        if (cli_list_add(&s->drafters, default_drafters[i])) return cli_complain(c, "out of memory");
    return read_cost(c, o);
}

int cmd_replay(int argc, char **argv) {
    session s;
    settings o = {.s = &s};
    session_init(&s, "replay");
    const cli_option option[] = {
        {'d', "drafter", "DRAFTER", CLI_LIST, &s.drafters,
         "NAME or NAME:key=value,...; repeatable. Default: suffix, pld, ngram-cache, ngram-mod", 0, 0, NULL},
        {'b', "budget", "N", CLI_NUMBER, &s.budget,
         "most tokens a draft may have, where the drafter's own limit is not lower (default 64)", 1,
         SPEC_TREE_MAX_NODES, NULL},
        {0, "min-prob", "P", CLI_REAL, &s.min_prob,
         "no token that its drafter thinks less likely to be accepted (default 0: all)", 0, 1, NULL},
        {0, "policy", "POLICY", CLI_TEXT, &o.policy, CLI_POLICY_HELP, 0, 0, NULL},
        {'w', "warm", "TRACE", CLI_LIST, &s.warm_files,
         "teach the drafters this trace first, unmeasured; repeatable", 0, 0, NULL},
        {0, "no-shared", NULL, CLI_FLAG, &o.no_shared, "requests learn nothing from one another", 0, 0, NULL},
        {0, "corpus", "FILE", CLI_TEXT, &s.corpus, "an index snapshot for the suffix drafters", 0, 0, NULL},
        {'n', "limit", "N", CLI_NUMBER, &s.limit, "only the first N requests of each trace", 1, UINT32_MAX,
         NULL},
        {0, "shuffle", "SEED", CLI_NUMBER, &s.shuffle_seed, "put the requests in another order", 0, INT64_MAX,
         &s.shuffled},
        {0, "seed", "N", CLI_NUMBER, &s.seed, "of drafters that draw and of the intervals (default 1)", 0,
         INT64_MAX, NULL},
        {0, "cost-model", "FILE", CLI_TEXT, &o.cost_file,
         "what runs of the model cost: JSON, see docs/FORMATS.md; or builtin, flat, linear:S", 0, 0, NULL},
        {0, "cost-context", "N", CLI_NUMBER, &o.cost_context,
         "of the cost model's grid, the nearest context (specbench profile)", 0, INT32_MAX, &o.has_context},
        {0, "cost-batch", "N", CLI_NUMBER, &o.cost_batch, "likewise, with N sequences side by side", 1,
         INT32_MAX, &o.has_batch},
        {0, "skip-bad", NULL, CLI_FLAG, &s.skip_bad, "count and leave out faulty lines", 0, 0, NULL},
        {0, "groups", NULL, CLI_FLAG, &s.groups, "also a table by group", 0, 0, NULL},
        {0, "quarters", NULL, CLI_FLAG, &s.quarters, "by quarter of the run", 0, 0, NULL},
        {0, "sources", NULL, CLI_FLAG, &s.sources, "by source of the drafted tokens", 0, 0, NULL},
        {0, "match-lengths", NULL, CLI_FLAG, &s.match_lengths, "by match length", 0, 0, NULL},
        {0, "positions", NULL, CLI_FLAG, &s.positions, "by position in the draft", 0, 0, NULL},
        {0, "calibration", NULL, CLI_FLAG, &s.calibration, "by probability: are they true?", 0, 0, NULL},
        {0, "details", NULL, CLI_FLAG, &o.details, "all of these six tables", 0, 0, NULL},
        {0, "calibration-skip", "N", CLI_NUMBER, &s.calibration_skip,
         "calibration leaves out steps before the run's first N tokens (default 5000)", 0, INT64_MAX, NULL},
        {'j', "json", "FILE", CLI_TEXT, &s.json, "also write a JSON report; -: to stdout, tables to stderr",
         0, 0, NULL},
        {'q', "quiet", NULL, CLI_FLAG, &s.quiet, "no tables and no progress line", 0, 0, NULL},
    };
    const cli_command c = {
        "replay", "TRACE...",    about,
        option,   COUNT(option), examples,
        1,        SIZE_MAX,      "expected a trace file (JSON lines, see docs/FORMATS.md)"};
    int rc = cli_parse(&c, argc, argv, &s.trace_files);
    if (rc == CLI_RUN) rc = settle(&c, &o);
    int code = rc == CLI_RUN ? session_load(&s) : rc == CLI_DONE ? EXIT_DONE : EXIT_USAGE;
    if (rc == CLI_RUN && code == EXIT_DONE) code = session_execute(&s);
    session_release(&s);
    return code;
}
