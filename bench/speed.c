/* SPDX-License-Identifier: MIT */
/*
 * specbench speed - how fast and how small the suffix index and its drafter
 * are. One process, one thread (but for the concurrency part), medians over
 * repeats; nothing is printed inside a timed loop. docs/SPEED.md has the
 * figures and how to read them.
 */
#include "speed.h"

#include <stdlib.h>
#include <string.h>

int cmd_speed(int argc, char **argv);

static const char usage[] =
    "usage: specbench speed [--traces DIR] [--tokens N,...] [--repeats R]\n"
    "                       [--json FILE] [--quick]\n"
    "  --traces DIR   index the responses of DIR/*.jsonl (default: synthetic text)\n"
    "  --tokens LIST  sizes of the shared index (default 100000,1000000,3000000)\n"
    "  --repeats R    runs of each measurement, 1..32 (default 5)\n"
    "  --json FILE    also write the figures as JSON (-: stdout, the table to stderr)\n"
    "  --quick        100,000 tokens, one run each\n";

typedef struct options {
    const char *traces, *json;
    size_t size[SPEED_MAX_SIZES];
    size_t n_sizes;
    unsigned repeats;
} options;

static bool parse_sizes(options *o, const char *list) {
    o->n_sizes = 0;
    for (const char *p = list; *p;) {
        char *end;
        unsigned long long v = strtoull(p, &end, 10);
        if (end == p || v < 1000 || v > 200000000 || o->n_sizes == SPEED_MAX_SIZES) return false;
        if (*end == ',') end++;
        else if (*end) return false;
        o->size[o->n_sizes++] = (size_t)v;
        p = end;
    }
    return o->n_sizes > 0;
}

static bool parse_repeats(options *o, const char *text) {
    char *end;
    unsigned long v = strtoul(text, &end, 10);
    if (*end || v < 1 || v > SPEED_MAX_RUNS) return false;
    o->repeats = (unsigned)v;
    return true;
}

static bool parse_option(options *o, const char *name, const char *value) {
    if (strcmp(name, "--traces") == 0) o->traces = value;
    else if (strcmp(name, "--json") == 0) o->json = value;
    else if (strcmp(name, "--tokens") == 0) return parse_sizes(o, value);
    else if (strcmp(name, "--repeats") == 0) return parse_repeats(o, value);
    else return false;
    return true;
}

static bool parse(options *o, int argc, char **argv) {
    *o = (options){.size = {100000, 1000000, 3000000}, .n_sizes = 3, .repeats = 5};
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--quick") == 0) {
            o->n_sizes = 1;
            o->size[0] = 100000;
            o->repeats = 1;
        } else if (i + 1 == argc || !parse_option(o, argv[i], argv[i + 1])) {
            fprintf(stderr, "specbench speed: bad option or value: %s\n%s", argv[i], usage);
            return false;
        } else i++;
    }
    return true;
}

static int run(const options *o) {
    speed_corpus c;
    spec_message why = {{0}};
    speed_report r = {.n_sizes = o->n_sizes, .repeats = o->repeats};
    memcpy(r.size, o->size, sizeof r.size);
    int err = speed_corpus_open(&c, o->traces, &why);
    if (err) {
        fprintf(stderr, "specbench speed: %s\n", why.text[0] ? why.text : spec_strerror(err));
        return 2;
    }
    for (size_t i = 0; i < o->n_sizes; i++) speed_run_append(&r, &c, o->size[i]);
    if (r.failed) fprintf(stderr, "specbench speed: a measurement failed\n");
    speed_print(&r, &c, o->json && strcmp(o->json, "-") == 0 ? stderr : stdout);
    if (o->json && speed_write_json(&r, &c, o->json)) {
        fprintf(stderr, "specbench speed: cannot write %s\n", o->json);
        r.failed = true;
    }
    speed_corpus_close(&c);
    speed_report_free(&r);
    return r.failed ? 1 : 0;
}

int cmd_speed(int argc, char **argv) {
    if (argc == 2 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)) {
        fputs(usage, stdout);
        return 0;
    }
    options o;
    return parse(&o, argc, argv) ? run(&o) : 2;
}

#ifdef SPEED_MAIN
/* The measurements without the rest of specbench. */
int main(int argc, char **argv) { return cmd_speed(argc, argv); }
#endif
