/* SPDX-License-Identifier: MIT */
/*
 * specbench speed - how fast and how small the suffix index and its drafter
 * are. One measurement after the other, each in a process of its own and, but
 * for the part that is about threads, on one thread; nothing is printed inside
 * a timed loop. docs/SPEED.md has the figures and how to read them.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli.h"
#include "commands.h"
#include "speed.h"
#include "util.h"

#define COUNT(a)       (sizeof(a) / sizeof((a)[0]))
#define DEFAULT_TRACES "../shared/traces"

static const char about[] = "Measures the suffix index and the suffix drafter: time to append, remove and\n"
                            "propose, memory, snapshots, worst cases, churn and threads. The text is that\n"
                            "of the trace files in a directory, or synthetic where there are none.";

static const char examples[] = "  specbench speed --quick\n"
                               "  specbench speed --traces my/traces --json speed.json\n"
                               "  specbench speed --only append --tokens 3000000 --repeats 9\n";

static const char *const parts[] = {"append", "worst", "prompts", "draft", "churn", "threads", NULL};

typedef struct settings {
    const char *traces, *tokens, *json, *directory;
    uint64_t repeats;
    bool quick, given_repeats;
    cli_list only;
} settings;

static bool parse_sizes(speed_report *r, const char *list) {
    for (const char *p = list; *p;) {
        char *end;
        unsigned long long v = strtoull(p, &end, 10);
        if (end == p || v < 1000 || v > 200000000 || r->n_sizes == SPEED_MAX_SIZES) return false;
        if (*end && *end != ',') return false;
        r->size[r->n_sizes++] = (size_t)v;
        p = *end ? end + 1 : end;
    }
    return r->n_sizes > 0;
}

static bool known_parts(const cli_command *c, const cli_list *only) {
    for (size_t i = 0; i < only->n; i++) {
        size_t k = 0;
        while (parts[k] && strcmp(parts[k], only->item[i]) != 0) k++;
        if (parts[k]) continue;
        cli_complain(c, "--only %s: expected append, worst, prompts, draft, churn or threads", only->item[i]);
        return false;
    }
    return true;
}

static bool wanted(const settings *s, const char *part) {
    for (size_t i = 0; i < s->only.n; i++)
        if (strcmp(s->only.item[i], part) == 0) return true;
    return s->only.n == 0;
}

static void measure(const settings *s, speed_report *r, const speed_corpus *c) {
    for (size_t i = 0; i < r->n_sizes; i++) {
        if (wanted(s, "append")) speed_run_index(r, c, r->size[i]);
        if (wanted(s, "draft")) speed_run_draft(r, c, r->size[i]);
    }
    if (wanted(s, "prompts")) speed_run_prompts(r, c);
    if (wanted(s, "worst")) speed_run_worst(r, c);
    if (wanted(s, "churn")) speed_run_churn(r, c);
    if (wanted(s, "threads")) speed_run_threads(r, c);
}

static bool is_directory(const char *path) {
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

/* What would fail only after minutes of measuring. */
static bool can_write(const settings *s) {
    spec_message why;
    if (s->json && strcmp(s->json, "-") != 0 && bench_check_writable(s->json, &why)) {
        bench_complain("speed: --json: %s", why.text);
        return false;
    }
    if (!wanted(s, "append") || (is_directory(s->directory) && access(s->directory, W_OK | X_OK) == 0))
        return true;
    bench_complain("speed: --dir: %s: expected a directory that can be written to", s->directory);
    return false;
}

static int run(const settings *s, speed_report *r) {
    speed_corpus c;
    spec_message why = {{0}};
    if (!can_write(s)) return EXIT_USAGE;
    const char *traces = s->traces ? s->traces : is_directory(DEFAULT_TRACES) ? DEFAULT_TRACES : NULL;
    int err = speed_corpus_open(&c, traces, &why);
    if (err) {
        bench_complain("speed: %s", why.text[0] ? why.text : spec_strerror(err));
        return EXIT_USAGE;
    }
    measure(s, r, &c);
    bool to_stdout = s->json && strcmp(s->json, "-") == 0;
    if (r->failed) bench_complain("speed: a measurement failed; its figures are missing");
    speed_print(r, &c, to_stdout ? stderr : stdout);
    speed_json j = {r, &c};
    if (to_stdout)
        r->failed = speed_write_json(stdout, &j) || r->failed;
    else if (s->json && bench_write_file(s->json, speed_write_json, &j, &why)) {
        bench_complain("speed: %s", why.text);
        r->failed = true;
    }
    speed_corpus_close(&c);
    return r->failed ? EXIT_CHECK : EXIT_DONE;
}

int cmd_speed(int argc, char **argv) {
    settings s = {.repeats = 5, .directory = "/tmp"};
    cli_list none = {0};
    const cli_option option[] = {
        {.letter = 't',
         .name = "traces",
         .arg = "DIR",
         .kind = CLI_TEXT,
         .value = &s.traces,
         .help = "the text: DIR/*.jsonl (default " DEFAULT_TRACES ", if there)"},
        {.letter = 'n',
         .name = "tokens",
         .arg = "N,...",
         .kind = CLI_TEXT,
         .value = &s.tokens,
         .help = "sizes of the shared index (default 100000,1000000,3000000)"},
        {.letter = 'o',
         .name = "only",
         .arg = "PART",
         .kind = CLI_LIST,
         .value = &s.only,
         .help = "append, draft, prompts, worst, churn or threads; repeatable"},
        {.letter = 'r',
         .name = "repeats",
         .arg = "R",
         .kind = CLI_NUMBER,
         .value = &s.repeats,
         .help = "runs of each measurement (default 5)",
         .min = 1,
         .max = SPEED_MAX_RUNS,
         .given = &s.given_repeats},
        {.letter = 'q',
         .name = "quick",
         .kind = CLI_FLAG,
         .value = &s.quick,
         .help = "100,000 tokens, shorter runs, one of each"},
        {.name = "dir",
         .arg = "DIR",
         .kind = CLI_TEXT,
         .value = &s.directory,
         .help = "where snapshots are written (default /tmp)"},
        {.letter = 'j',
         .name = "json",
         .arg = "FILE",
         .kind = CLI_TEXT,
         .value = &s.json,
         .help = "also write JSON; -: to stdout, the table to stderr"},
    };
    const cli_command c = {.name = "speed",
                           .operands = "",
                           .about = about,
                           .option = option,
                           .n_options = COUNT(option),
                           .examples = examples};
    int rc = cli_parse(&c, argc, argv, &none);
    speed_report r = {.quick = s.quick, .directory = s.directory, .load = bench_load()};
    r.repeats = s.quick && !s.given_repeats ? 1 : (unsigned)s.repeats;
    const char *sizes = s.tokens ? s.tokens : s.quick ? "100000" : "100000,1000000,3000000";
    if (rc == CLI_RUN && !parse_sizes(&r, sizes))
        rc = cli_complain(&c, "--tokens %s: expected up to %d sizes from 1,000 to 200,000,000", sizes,
                          SPEED_MAX_SIZES);
    if (rc == CLI_RUN && !known_parts(&c, &s.only)) rc = CLI_BAD;
    int code = rc == CLI_RUN ? run(&s, &r) : rc == CLI_DONE ? EXIT_DONE : EXIT_USAGE;
    speed_report_free(&r);
    cli_list_free(&s.only);
    cli_list_free(&none);
    return code;
}
