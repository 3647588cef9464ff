/* SPDX-License-Identifier: MIT */
/* specbench train: makes models. */
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"
#include "commands.h"
#include "format.h"
#include "random_model.h"
#include "util.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* ---- target -------------------------------------------------------------- */

typedef struct target_options {
    random_model model;
    const char *output;
    uint64_t threads, seed;
    bool quiet;
    bench_line line;
    cli_list operands;
} target_options;

static volatile sig_atomic_t interrupt; /* the signal that wants us to end, or 0 */

static void on_signal(int signal) { interrupt = signal; }

/* An interrupted command leaves no half-written file of gigabytes. */
static void watch_signals(void) {
    static const int ends[] = {SIGINT, SIGTERM, SIGHUP};
    struct sigaction a = {.sa_handler = on_signal}, before;
    for (size_t i = 0; i < COUNT(ends); i++)
        if (sigaction(ends[i], NULL, &before) == 0 && before.sa_handler == SIG_DFL)
            sigaction(ends[i], &a, NULL);
}

static bool progress(void *user, uint64_t done, uint64_t of) {
    target_options *o = user;
    bench_line_print(&o->line, "%.50s: %s of %s", o->output, fmt_bytes((double)done).text,
                     fmt_bytes((double)of).text);
    return !interrupt;
}

static int settle(const cli_command *c, target_options *o) {
    spec_message why = {""};
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    if (!o->model.shape)
        return cli_complain(
            c, "expected --random SHAPE, for example --random 110M or --random dim=256,layers=4");
    if (!o->output) return cli_complain(c, "expected -o FILE, the model to write");
    o->model.seed = o->seed;
    o->model.threads = o->threads ? (unsigned)o->threads : cores > 0 && cores < 256 ? (unsigned)cores : 1;
    o->line.wanted = !o->quiet;
    o->model.progress = progress;
    o->model.user = o;
    if (random_model_check(&o->model, &why) != SPEC_OK) return cli_complain(c, "%s", why.text);
    if (bench_check_writable(o->output, &why) != SPEC_OK) return cli_complain(c, "-o: %s", why.text);
    return CLI_RUN;
}

static int make_target(target_options *o) {
    spec_message why = {""};
    uint64_t start = bench_now_ns();
    watch_signals();
    int rc = random_model_write(o->output, &o->model, &why);
    bench_line_clear(&o->line);
    if (interrupt) {
        signal(interrupt, SIG_DFL);
        raise(interrupt);
    }
    if (rc != SPEC_OK) {
        bench_complain("%s", why.text[0] ? why.text : spec_strerror(rc));
        return rc == SPEC_ERR_NOMEM ? EXIT_CHECK : EXIT_USAGE;
    }
    if (o->quiet) return EXIT_DONE;
    printf("%s: %s parameters with random weights, %s, in %.1f s\n", o->output,
           fmt_count(o->model.parameters).text, fmt_bytes((double)o->model.bytes).text,
           (double)(bench_now_ns() - start) / 1e9);
    return EXIT_DONE;
}

static int cmd_target(int argc, char **argv) {
    target_options o = {.seed = 1};
    const cli_option option[] = {
        {0, "random", "SHAPE", CLI_TEXT, &o.model.shape,
         "a name (" RANDOM_MODEL_SHAPES
         "), or a list of dim=, layers=, heads=, kv=, head_dim=, hidden=, vocab=, "
         "context=, experts=, used=, window=, tied=0|1, or a name and what is to be changed",
         0, 0, NULL},
        {'o', "output", "FILE", CLI_TEXT, &o.output, "the GGUF file to write", 0, 0, NULL},
        {0, "type", "TYPE", CLI_TEXT, &o.model.type, "of the weights: " RANDOM_MODEL_TYPES " (default F32)",
         0, 0, NULL},
        {0, "arch", "NAME", CLI_TEXT, &o.model.arch, RANDOM_MODEL_ARCHS " (default llama)", 0, 0, NULL},
        {0, "seed", "N", CLI_NUMBER, &o.seed, "another seed, other weights (default 1)", 0, INT64_MAX, NULL},
        {'t', "threads", "N", CLI_NUMBER, &o.threads, "the file does not depend on them", 1, 256, NULL},
        {'q', "quiet", NULL, CLI_FLAG, &o.quiet, "print nothing", 0, 0, NULL},
    };
    const cli_command c = {
        "train target",
        "",
        "Makes a target model with random weights, with a vocabulary of its own so that\n"
        "text tokenises: to measure speed, which does not depend on what the weights are,\n"
        "and to check that speculation changes nothing, which must hold for any.\n"
        "Values of a shape that are not given are those of 'tiny'.",
        option,
        COUNT(option),
        "  specbench train target --random tiny -o tiny.gguf\n"
        "  specbench train target --random 1.1B --type Q8_0 -o 1b-q8.gguf\n"
        "  specbench train target --random 110M,layers=2 --arch qwen3 -o q.gguf\n",
        0,
        0,
        NULL};
    int rc = cli_parse(&c, argc, argv, &o.operands);
    if (rc == CLI_RUN) rc = settle(&c, &o);
    int code = rc == CLI_RUN ? make_target(&o) : rc == CLI_DONE ? EXIT_DONE : EXIT_USAGE;
    cli_list_free(&o.operands);
    return code;
}

/* ---- dispatch ------------------------------------------------------------ */

static const char usage[] = "Usage: specbench train KIND [OPTION]...\n\n"
                            "  target  --random SHAPE -o FILE   a target model with random weights\n\n"
                            "'specbench train target --help' lists the options with examples.\n";

int cmd_train(int argc, char **argv) {
    const char *word = argc > 1 ? argv[1] : NULL;
    bool help = word && (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0 || strcmp(word, "help") == 0);
    if (word && strcmp(word, "target") == 0) return cmd_target(argc - 1, argv + 1);
    if (word && !help)
        bench_complain("train: there is no kind '%s'; expected target", word);
    else
        fputs(usage, help ? stdout : stderr);
    return help ? EXIT_DONE : EXIT_USAGE;
}
