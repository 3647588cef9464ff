/* SPDX-License-Identifier: MIT */
/* specbench run: the options of a live session. */
#include <string.h>

#include "commands.h"
#include "live.h"
#include "util.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static const char about[] =
    "Decodes prompts on the model, plainly and with each drafter, a request each in\n"
    "turn, and tells what is gained on the clock, and whether the output is the same.\n"
    "Prompts are JSON lines: {\"turns\":[texts]} (Spec-Bench), {\"prompt\":text}, or\n"
    "{\"prompt\":[ids]} (traces: their responses are ignored). Exit status 1: some\n"
    "output differs from plain decoding's, or the record replays differently.\n"
    "Chat templates: chatml, llama2, llama3, mistral, mistral-v3, mistral-v7, tekken,\n"
    "gemma, zephyr, tulu, olmo2, phi3, vicuna, alpaca; auto asks the model file.";

static const char examples[] =
    "  specbench run -m model.gguf --prompt 'Once upon a time' -d suffix\n"
    "  specbench run -m model.gguf --prompts questions.jsonl --chat auto -n 20\n"
    "  specbench run -m model.gguf --prompts t.jsonl -d suffix --record out.jsonl\n"
    "  specbench replay out.jsonl -d suffix --budget 16\n"
    "  specbench run -m model.gguf --prompts t.jsonl -d suffix --calibration\n";

static const char *const default_drafters[] = {"suffix", "pld", "ngram-cache"};

static int check_outputs(const cli_command *c, const live *s) {
    const char *const used[] = {s->model.path, s->prompt_file, s->json};
    int rc = cli_check_output(c, "--record", s->record, used, COUNT(used));
    return rc == CLI_RUN ? cli_check_output(c, "--json", s->json, used, 2) : rc;
}

static int settle_policy(const cli_command *c, live *s, const char *policy, const char *cost) {
    spec_message why = {""};
    int rc = cli_policy(c, policy, &s->goodput);
    if (rc == CLI_RUN) rc = cli_check_output(c, "--record", s->record, &cost, 1);
    if (rc == CLI_RUN) rc = cli_check_output(c, "--json", s->json, &cost, 1);
    if (rc != CLI_RUN) return rc;
    if (s->goodput && !cost)
        return cli_complain(c, "--policy goodput asks what passes cost; expected --cost-model FILE (see "
                               "'specbench profile')");
    int err = cost ? cost_model_open(&s->cost, cost, &why) : SPEC_OK;
    return err == SPEC_OK ? CLI_RUN : cli_complain(c, "%s", why.text);
}

static int settle(const cli_command *c, live *s) {
    if (!s->prompt_file == !s->prompt_text)
        return cli_complain(c, s->prompt_file ? "give --prompts or --prompt, not both"
                                              : "expected prompts: --prompts FILE or --prompt TEXT");
    int rc = check_outputs(c, s);
    if (rc != CLI_RUN) return rc;
    bool none = s->drafters.n == 0;
    for (size_t i = 0; none && i < COUNT(default_drafters); i++)
        if (cli_list_add(&s->drafters, default_drafters[i])) return cli_complain(c, "out of memory");
    return model_options_check(c, &s->model);
}

int cmd_run(int argc, char **argv) {
    live s;
    cli_list operands = {0};
    const char *policy = NULL, *cost = NULL;
    live_init(&s, "run");
    const cli_option option[] = {
        MODEL_OPTIONS(s.model),
        {'p', "prompts", "FILE", CLI_TEXT, &s.prompt_file, "what to ask: JSON lines", 0, 0, NULL},
        {0, "prompt", "TEXT", CLI_TEXT, &s.prompt_text, "one prompt", 0, 0, NULL},
        {'n', "limit", "N", CLI_NUMBER, &s.limit, "only the first N prompts", 1, UINT32_MAX, NULL},
        {'d', "drafter", "DRAFTER", CLI_LIST, &s.drafters,
         "NAME or NAME:key=value,...; repeatable. Default: suffix, pld, ngram-cache", 0, 0, NULL},
        {'b', "budget", "N", CLI_NUMBER, &s.budget, "most tokens a draft may have (default 16)", 1,
         SPEC_TREE_MAX_NODES, NULL},
        {0, "policy", "POLICY", CLI_TEXT, &policy, CLI_POLICY_HELP, 0, 0, NULL},
        {0, "cost-model", "FILE", CLI_TEXT, &cost,
         "what passes of this model cost, for the policy: as 'specbench profile -o' writes it", 0, 0, NULL},
        {0, "max-tokens", "N", CLI_NUMBER, &s.max_tokens, "most tokens of a response (default 128)", 1,
         INT32_MAX, NULL},
        {0, "batch", "N", CLI_NUMBER, &s.batch, "sequences decoded side by side (default 1)", 1, 1024, NULL},
        {0, "repeat", "N", CLI_NUMBER, &s.repeat, "rounds of the whole; medians count (default 3)", 1, 1000,
         NULL},
        {0, "temp", "T", CLI_REAL, &s.temperature, "temperature; 0 is greedy (default 0)", 0, 100, NULL},
        {0, "top-k", "N", CLI_NUMBER, &s.top_k, "only the N most probable tokens; 0: all", 0, INT32_MAX,
         NULL},
        {0, "top-p", "P", CLI_REAL, &s.top_p, "only the most probable that together reach P (default 1)", 0,
         1, NULL},
        {0, "min-p", "P", CLI_REAL, &s.min_p, "only tokens of P times the best one's probability (default 0)",
         0, 1, NULL},
        {0, "repeat-penalty", "R", CLI_REAL, &s.penalty, "of tokens that are in the text (default 1: none)",
         0, 100, NULL},
        {0, "seed", "N", CLI_NUMBER, &s.seed,
         "of sampling, of drafters that draw and of intervals (default 1)", 0, INT64_MAX, NULL},
        {0, "chat", "NAME", CLI_TEXT, &s.chat, "chat template for text prompts (default: text as it stands)",
         0, 0, NULL},
        {0, "stop", "TEXT", CLI_LIST, &s.stop, "end a response behind this text; repeatable", 0, 0, NULL},
        {0, "ignore-eos", NULL, CLI_FLAG, &s.ignore_eos, "go on behind an end of sequence", 0, 0, NULL},
        {0, "calibration", NULL, CLI_FLAG, &s.calibration,
         "also a table by probability of the drafted tokens: are they true?", 0, 0, NULL},
        {0, "calibration-skip", "N", CLI_NUMBER, &s.calibration_skip,
         "calibration leaves out steps before the run's first N tokens (default 5000)", 0, INT64_MAX, NULL},
        {0, "skip-bad", NULL, CLI_FLAG, &s.skip_bad, "count and leave out faulty lines", 0, 0, NULL},
        {0, "record", "FILE", CLI_TEXT, &s.record, "write prompts and responses as a trace, for replay", 0, 0,
         NULL},
        {'j', "json", "FILE", CLI_TEXT, &s.json, "also write a JSON report; -: to stdout, tables to stderr",
         0, 0, NULL},
        {'q', "quiet", NULL, CLI_FLAG, &s.quiet, "no tables and no progress line", 0, 0, NULL},
    };
    const cli_command c = {"run", "", about, option, COUNT(option), examples, 0, 0, NULL};
    int rc = cli_parse(&c, argc, argv, &operands);
    if (rc == CLI_RUN) rc = settle_policy(&c, &s, policy, cost);
    if (rc == CLI_RUN) rc = settle(&c, &s);
    int code = rc == CLI_RUN ? live_execute(&s) : rc == CLI_DONE ? EXIT_DONE : EXIT_USAGE;
    cli_list_free(&operands);
    live_release(&s);
    return code;
}
