/* SPDX-License-Identifier: MIT */
/*
 * specbench corpus: index snapshots. Each subcommand is the same three steps:
 * get an index (new, or from a snapshot), change it, compact and save it. An
 * output file is written only when everything before has gone well.
 */
#include <string.h>

#include "cli.h"
#include "commands.h"
#include "format.h"
#include "spec_index.h"
#include "trace.h"
#include "util.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* ---- shared -------------------------------------------------------------- */

/* Prints why (or the code's own sentence) and makes an exit code of err. */
static int failed(const char *what, int err, const char *why) {
    bool machine = err == SPEC_ERR_NOMEM || err == SPEC_ERR_FULL;
    if (why && *why)
        bench_complain("%s", why);
    else
        bench_complain("%s: %s", what, spec_strerror(err));
    return machine ? EXIT_CHECK : EXIT_USAGE;
}

static int load(spec_index **out, const char *path, bool trust, spec_evict evict) {
    spec_message why = {""};
    spec_index_load_options o = {.size = sizeof o, .trust = trust, .evict = evict};
    int rc = spec_index_load(out, path, &o, &why);
    return rc == SPEC_OK ? EXIT_DONE : failed(path, rc, why.text);
}

/* What a drafter has learned, attached to a snapshot. */
typedef struct learned {
    const void *data; /* (n) */
    size_t n;
} learned;

static learned learned_of(const spec_index *x) {
    learned l;
    l.data = spec_index_attachment(x, &l.n);
    return l;
}

static int save(spec_index *x, const char *path, learned l, bool quiet) {
    spec_message why = {""};
    spec_index_stats st;
    int rc = spec_index_compact(x);
    if (rc == SPEC_OK) rc = spec_index_save_with(x, path, l.data, l.n, &why);
    if (rc == SPEC_OK) rc = spec_index_get_stats(x, &st);
    if (rc != SPEC_OK) return failed(path, rc, why.text);
    if (!quiet)
        printf("%s: %s sequences, %s tokens, depth %u\n", path, fmt_count(st.sequences).text,
               fmt_count(st.tokens).text, (unsigned)st.depth);
    return EXIT_DONE;
}

/* One sequence out of one or two pieces of text. */
static int add_sequence(spec_index *x, const spec_token *a, size_t n_a, const spec_token *b, size_t n_b) {
    spec_seq seq;
    int rc = spec_index_begin(x, &seq);
    if (rc == SPEC_OK && n_a) rc = spec_index_append(x, seq, a, n_a);
    if (rc == SPEC_OK && n_b) rc = spec_index_append(x, seq, b, n_b);
    return rc == SPEC_OK ? spec_index_end(x, seq) : rc;
}

/* What the subcommands' options fill in. */
typedef struct corpus_options {
    const char *output;
    uint64_t depth, max_tokens, tokenizer;
    bool prompts, skip_bad, quiet, check, trust, lru, has_max;
    cli_list operands;
} corpus_options;

static int need_output(const cli_command *c, const corpus_options *o) {
    return o->output ? CLI_RUN : cli_complain(c, "expected -o FILE, where the snapshot goes");
}

static int exit_of_parse(int rc) { return rc == CLI_DONE ? EXIT_DONE : EXIT_USAGE; }

/* ---- build --------------------------------------------------------------- */

static int add_trace(spec_index *x, const corpus_options *o, const char *path) {
    trace t;
    spec_message why;
    int rc = trace_load(&t, path, o->skip_bad, &why);
    if (rc == SPEC_ERR_UNSUPPORTED) {
        bench_complain("%s; left out", why.text);
        return EXIT_DONE;
    }
    if (rc != SPEC_OK) return failed(path, rc, why.text);
    if (t.n_bad)
        bench_complain("%s: left out %zu faulty line%s, the first: %s", path, t.n_bad, fmt_plural(t.n_bad),
                       t.first_bad);
    for (size_t i = 0; i < t.n && rc == SPEC_OK; i++) {
        const trace_request *q = &t.req[i];
        rc = add_sequence(x, q->prompt, o->prompts ? q->n_prompt : 0, q->response, q->n_response);
    }
    trace_free(&t);
    return rc == SPEC_OK ? EXIT_DONE : failed(path, rc, NULL);
}

/* A snapshot of nothing comes of the wrong file, as a rule. */
static int not_empty(const spec_index *x) {
    spec_seq first = 0;
    int rc = spec_index_next_seq(x, 0, &first);
    if (rc != SPEC_OK) return failed("corpus", rc, NULL);
    if (first) return EXIT_DONE;
    bench_complain("nothing to put into the snapshot; expected at least one request with a response");
    return EXIT_USAGE;
}

static int build(const corpus_options *o) {
    spec_index *x;
    spec_index_options io = {.size = sizeof io, .depth = (uint32_t)o->depth, .tokenizer_id = o->tokenizer};
    int rc = spec_index_new(&x, &io);
    if (rc != SPEC_OK) return failed("corpus", rc, NULL);
    int code = EXIT_DONE;
    for (size_t i = 0; i < o->operands.n && code == EXIT_DONE; i++)
        code = add_trace(x, o, o->operands.item[i]);
    if (code == EXIT_DONE) code = not_empty(x);
    if (code == EXIT_DONE) code = save(x, o->output, (learned){0}, o->quiet);
    spec_index_free(x);
    return code;
}

static int cmd_build(int argc, char **argv) {
    corpus_options o = {.depth = SPEC_INDEX_DEFAULT_DEPTH};
    const cli_option option[] = {
        {'o', "output", "FILE", CLI_TEXT, &o.output, "the snapshot to write", 0, 0, NULL},
        {0, "depth", "D", CLI_NUMBER, &o.depth,
         "longest match and draft together of a drafter that uses it (default 64)", SPEC_INDEX_MIN_DEPTH,
         SPEC_INDEX_MAX_DEPTH, NULL},
        {0, "prompts", NULL, CLI_FLAG, &o.prompts, "prompts too, each joined to its response", 0, 0, NULL},
        {0, "tokenizer-id", "N", CLI_NUMBER, &o.tokenizer,
         "any number that names the vocabulary; kept in the file", 0, INT64_MAX, NULL},
        {0, "skip-bad", NULL, CLI_FLAG, &o.skip_bad, "count and leave out faulty lines", 0, 0, NULL},
        {'q', "quiet", NULL, CLI_FLAG, &o.quiet, "print nothing", 0, 0, NULL},
    };
    const cli_command c = {"corpus build",
                           "TRACE...",
                           "Makes a snapshot of the responses in trace files.",
                           option,
                           COUNT(option),
                           "  specbench corpus build -o sql.idx sql-1.jsonl sql-2.jsonl\n",
                           1,
                           SIZE_MAX,
                           "expected a trace file (JSON lines, see docs/FORMATS.md)"};
    int rc = cli_parse(&c, argc, argv, &o.operands);
    if (rc == CLI_RUN) rc = need_output(&c, &o);
    int code = rc == CLI_RUN ? build(&o) : exit_of_parse(rc);
    cli_list_free(&o.operands);
    return code;
}

/* ---- info ---------------------------------------------------------------- */

static void print_info(const char *path, const spec_index_stats *st, size_t n_learned, bool trust) {
    printf("%s\n", path);
    printf("  depth        %u\n", (unsigned)st->depth);
    if (st->tokenizer_id)
        printf("  tokenizer    %llu\n", (unsigned long long)st->tokenizer_id);
    else
        printf("  tokenizer    unknown\n");
    printf("  sequences    %s\n", fmt_count(st->sequences).text);
    printf("  tokens       %s (%s appended in all)\n", fmt_count(st->tokens).text,
           fmt_count(st->tokens_total).text);
    printf("  states       %s, and %s singles\n", fmt_count(st->states).text, fmt_count(st->singles).text);
    printf("  edges        %s\n", fmt_count(st->edges).text);
    printf("  size         %s", fmt_bytes((double)st->bytes).text);
    if (st->tokens) printf(", %s bytes a token", fmt_real((double)st->bytes / (double)st->tokens, 1).text);
    if (n_learned) printf("\n  attached     learned state: %s bytes", fmt_count(n_learned).text);
    printf("\n  checksums    %s\n",
           trust ? "of the header verified, of the data taken on trust" : "verified");
}

static int check(const spec_index *x, const char *path) {
    spec_message why = {""};
    int rc = spec_index_check(x, &why);
    if (rc == SPEC_OK) {
        printf("  structure    checked, sound\n");
        return EXIT_DONE;
    }
    bench_complain("%s: %s", path, *why.text ? why.text : spec_strerror(rc));
    return EXIT_CHECK;
}

static int info(const corpus_options *o) {
    spec_index *x;
    spec_index_stats st;
    const char *path = o->operands.item[0];
    int code = load(&x, path, o->trust, SPEC_EVICT_FIFO);
    if (code != EXIT_DONE) return code;
    int rc = spec_index_get_stats(x, &st);
    if (rc != SPEC_OK)
        code = failed(path, rc, NULL);
    else
        print_info(path, &st, learned_of(x).n, o->trust);
    if (code == EXIT_DONE && o->check) code = check(x, path);
    spec_index_free(x);
    return code;
}

static int cmd_info(int argc, char **argv) {
    corpus_options o = {0};
    const cli_option option[] = {
        {0, "check", NULL, CLI_FLAG, &o.check,
         "also walk every invariant of the index; exit 1 if one is broken", 0, 0, NULL},
        {0, "trust", NULL, CLI_FLAG, &o.trust, "do not verify the data's checksums", 0, 0, NULL},
    };
    const cli_command c = {"corpus info",
                           "FILE",
                           "Tells what a snapshot holds and whether it is whole.",
                           option,
                           COUNT(option),
                           "  specbench corpus info sql.idx --check\n",
                           1,
                           1,
                           "expected a snapshot file"};
    int rc = cli_parse(&c, argc, argv, &o.operands);
    int code = rc == CLI_RUN ? info(&o) : exit_of_parse(rc);
    cli_list_free(&o.operands);
    return code;
}

/* ---- merge --------------------------------------------------------------- */

static int copy_sequence(spec_index *to, const spec_index *from, spec_seq seq) {
    size_t n;
    int rc = spec_index_seq_length(from, seq, &n);
    if (rc != SPEC_OK) return rc;
    spec_token *tok = specp_alloc(NULL, n ? n : 1, sizeof *tok);
    if (!tok) return SPEC_ERR_NOMEM;
    rc = spec_index_seq_tokens(from, seq, 0, n, tok);
    if (rc == SPEC_OK) rc = add_sequence(to, tok, n, NULL, 0);
    specp_release(NULL, tok, n ? n : 1, sizeof *tok);
    return rc;
}

static int copy_all(spec_index *to, const spec_index *from) {
    spec_seq seq = 0;
    int rc = spec_index_next_seq(from, 0, &seq);
    while (rc == SPEC_OK && seq) {
        rc = copy_sequence(to, from, seq);
        if (rc == SPEC_OK) rc = spec_index_next_seq(from, seq, &seq);
    }
    return rc;
}

/* The first file decides depth and vocabulary; the others must agree. */
static int agree(const char *path, const spec_index_stats *st, spec_index_options *io) {
    if (io->depth == 0) {
        io->depth = st->depth;
        io->tokenizer_id = st->tokenizer_id;
    }
    if (st->depth != io->depth) {
        bench_complain("%s: the depth is %u; expected %u, as in the files before it", path,
                       (unsigned)st->depth, (unsigned)io->depth);
        return EXIT_USAGE;
    }
    if (!io->tokenizer_id) io->tokenizer_id = st->tokenizer_id;
    if (!st->tokenizer_id || st->tokenizer_id == io->tokenizer_id) return EXIT_DONE;
    bench_complain("%s: the tokenizer is %llu; expected %llu, as in the files before it", path,
                   (unsigned long long)st->tokenizer_id, (unsigned long long)io->tokenizer_id);
    return EXIT_USAGE;
}

/* Looks at all files before any is merged. */
static int survey(const corpus_options *o, spec_index_options *io) {
    int code = EXIT_DONE;
    for (size_t i = 0; i < o->operands.n && code == EXIT_DONE; i++) {
        spec_index *x;
        spec_index_stats st;
        code = load(&x, o->operands.item[i], o->trust, SPEC_EVICT_FIFO);
        if (code != EXIT_DONE) return code;
        int rc = spec_index_get_stats(x, &st);
        code = rc == SPEC_OK ? agree(o->operands.item[i], &st, io) : failed(o->operands.item[i], rc, NULL);
        spec_index_free(x);
    }
    return code;
}

/* What was learned does not add up as sequences do: the first file that brings
 * some, *teacher, which stays open, gives it. */
static int merge_file(spec_index *to, const char *path, spec_index **teacher) {
    spec_index *x;
    int code = load(&x, path, true, SPEC_EVICT_FIFO); /* the survey has verified it */
    if (code != EXIT_DONE) return code;
    int rc = copy_all(to, x);
    bool has_learned = learned_of(x).n != 0;
    if (has_learned && *teacher)
        bench_complain("%s: its learned state is left out; an earlier file's is kept", path);
    if (has_learned && !*teacher)
        *teacher = x;
    else
        spec_index_free(x);
    return rc == SPEC_OK ? EXIT_DONE : failed(path, rc, NULL);
}

static int merge(const corpus_options *o) {
    spec_index *x, *teacher = NULL;
    spec_index_options io = {.size = sizeof io};
    int code = survey(o, &io);
    if (code != EXIT_DONE) return code;
    int rc = spec_index_new(&x, &io);
    if (rc != SPEC_OK) return failed("corpus", rc, NULL);
    for (size_t i = 0; i < o->operands.n && code == EXIT_DONE; i++)
        code = merge_file(x, o->operands.item[i], &teacher);
    if (code == EXIT_DONE) code = save(x, o->output, learned_of(teacher), o->quiet);
    spec_index_free(teacher);
    spec_index_free(x);
    return code;
}

static int cmd_merge(int argc, char **argv) {
    corpus_options o = {0};
    const cli_option option[] = {
        {'o', "output", "FILE", CLI_TEXT, &o.output, "the snapshot to write; may be one of the inputs", 0, 0,
         NULL},
        {0, "trust", NULL, CLI_FLAG, &o.trust, "do not verify the data's checksums", 0, 0, NULL},
        {'q', "quiet", NULL, CLI_FLAG, &o.quiet, "print nothing", 0, 0, NULL},
    };
    const cli_command c = {"corpus merge",
                           "FILE FILE...",
                           "Joins snapshots: all their sequences, in the order of the files.",
                           option,
                           COUNT(option),
                           "  specbench corpus merge -o week.idx mon.idx tue.idx wed.idx\n",
                           2,
                           SIZE_MAX,
                           "expected two snapshot files or more"};
    int rc = cli_parse(&c, argc, argv, &o.operands);
    if (rc == CLI_RUN) rc = need_output(&c, &o);
    int code = rc == CLI_RUN ? merge(&o) : exit_of_parse(rc);
    cli_list_free(&o.operands);
    return code;
}

/* ---- evict --------------------------------------------------------------- */

static int evict(const corpus_options *o) {
    spec_index *x;
    const char *path = o->operands.item[0];
    int code = load(&x, path, o->trust, o->lru ? SPEC_EVICT_LRU : SPEC_EVICT_FIFO);
    if (code != EXIT_DONE) return code;
    int rc = spec_index_evict(x, o->max_tokens);
    code = rc == SPEC_OK ? save(x, o->output, learned_of(x), o->quiet) : failed(path, rc, NULL);
    spec_index_free(x);
    return code;
}

static int cmd_evict(int argc, char **argv) {
    corpus_options o = {0};
    const cli_option option[] = {
        {'o', "output", "FILE", CLI_TEXT, &o.output, "the snapshot to write; may be the input", 0, 0, NULL},
        {0, "max-tokens", "N", CLI_NUMBER, &o.max_tokens, "how many tokens to keep at most", 0, INT64_MAX,
         &o.has_max},
        {0, "lru", NULL, CLI_FLAG, &o.lru, "least recently matched first, not oldest first", 0, 0, NULL},
        {0, "trust", NULL, CLI_FLAG, &o.trust, "do not verify the data's checksums", 0, 0, NULL},
        {'q', "quiet", NULL, CLI_FLAG, &o.quiet, "print nothing", 0, 0, NULL},
    };
    const cli_command c = {"corpus evict",
                           "FILE",
                           "Makes a snapshot smaller by forgetting sequences.",
                           option,
                           COUNT(option),
                           "  specbench corpus evict -o small.idx --max-tokens 1000000 big.idx\n",
                           1,
                           1,
                           "expected a snapshot file"};
    int rc = cli_parse(&c, argc, argv, &o.operands);
    if (rc == CLI_RUN) rc = need_output(&c, &o);
    if (rc == CLI_RUN && !o.has_max)
        rc = cli_complain(&c, "expected --max-tokens N, how many tokens to keep");
    int code = rc == CLI_RUN ? evict(&o) : exit_of_parse(rc);
    cli_list_free(&o.operands);
    return code;
}

/* ---- dispatch ------------------------------------------------------------ */

static const char usage[] = "Usage: specbench corpus COMMAND [OPTION]... FILE...\n\n"
                            "  build   -o FILE TRACE...              a snapshot of the responses in traces\n"
                            "  info    FILE                          what it holds, and whether it is whole\n"
                            "  merge   -o FILE FILE FILE...          one snapshot out of several\n"
                            "  evict   -o FILE --max-tokens N FILE   a smaller one\n\n"
                            "A snapshot serves 'specbench replay --corpus FILE' and engines, through\n"
                            "spec_index_load() or the option corpus=FILE of the suffix drafter.\n"
                            "'specbench corpus COMMAND --help' lists a command's options with examples.\n";

int cmd_corpus(int argc, char **argv) {
    static const char *const names[] = {"build", "info", "merge", "evict", NULL};
    static int (*const run[])(int, char **) = {cmd_build, cmd_info, cmd_merge, cmd_evict};
    const char *word = argc > 1 ? argv[1] : NULL;
    for (size_t i = 0; word && names[i]; i++)
        if (strcmp(word, names[i]) == 0) return run[i](argc - 1, argv + 1);
    bool help = word && (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0 || strcmp(word, "help") == 0);
    const char *nearest = word && !help ? bench_nearest(word, names) : NULL;
    if (word && !help && nearest)
        bench_complain("corpus: there is no command '%s'; did you mean '%s'?", word, nearest);
    else if (word && !help)
        bench_complain("corpus: there is no command '%s'; expected build, info, merge or evict", word);
    else
        fputs(usage, help ? stdout : stderr);
    return help ? EXIT_DONE : EXIT_USAGE;
}
