/* SPDX-License-Identifier: MIT */
/* specbench: finds the subcommand and hands over. */
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "commands.h"
#include "spec_drafter.h"
#include "util.h"

typedef struct command {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *about;
} command;

static const command commands[] = {
    {"replay", cmd_replay, "acceptance of drafters on recorded outputs; needs no model"},
    {"run", cmd_run, "live decoding on a model: speedup, and the same output"},
    {"demo", cmd_demo, "the same on a generated workload: try this first"},
    {"workload", cmd_workload, "generated requests as prompts, as a trace or as text"},
    {"corpus", cmd_corpus, "build, inspect, merge and shrink index snapshots"},
    {"profile", cmd_profile, "what a forward pass costs on this machine"},
    {"gate", cmd_gate, "recorded logits against this build's"},
    {"report", cmd_report, "JSON reports as tables for documents"},
    {"train", cmd_train, "trains models, or makes them with random weights"},
    {"speed", cmd_speed, "speed and size of the suffix index"},
    {"help", cmd_help, "this page, a command's page, or the drafters"},
};

#define N_COMMANDS (sizeof commands / sizeof commands[0])

static void usage(FILE *out) {
    fprintf(out, "specbench %s: measures speculative decoding\n\nUsage: specbench COMMAND [OPTION]...\n\n",
            spec_version());
    for (size_t i = 0; i < N_COMMANDS; i++) fprintf(out, "  %-10s%s\n", commands[i].name, commands[i].about);
    fprintf(out, "\n'specbench COMMAND --help' lists a command's options with examples,\n"
                 "'specbench help drafters' the drafters with theirs.\n");
}

static const command *find(const char *name) {
    for (size_t i = 0; i < N_COMMANDS; i++)
        if (strcmp(commands[i].name, name) == 0) return &commands[i];
    return NULL;
}

static int unknown(const char *word) {
    const char *names[N_COMMANDS + 1];
    for (size_t i = 0; i < N_COMMANDS; i++) names[i] = commands[i].name;
    names[N_COMMANDS] = NULL;
    const char *nearest = bench_nearest(word, names);
    if (nearest)
        bench_complain("there is no command '%s'; did you mean '%s'?", word, nearest);
    else
        bench_complain("there is no command '%s'; 'specbench help' lists them", word);
    return EXIT_USAGE;
}

/* ---- help ---------------------------------------------------------------- */

static int help_drafters(void) {
    const char *name;
    printf("A drafter is NAME or NAME:key=value,key=value. The names:\n");
    for (size_t i = 0; (name = spec_drafter_builtin(i)); i++) printf("\n%s", spec_drafter_help(name));
    return EXIT_DONE;
}

int cmd_help(int argc, char **argv) {
    if (argc < 2 || strcmp(argv[1], "help") == 0 || argv[1][0] == '-') {
        usage(stdout);
        return EXIT_DONE;
    }
    if (strcmp(argv[1], "drafters") == 0) return help_drafters();
    const command *c = find(argv[1]);
    if (c) {
        char help[] = "--help";
        bool nested = strcmp(argv[1], "corpus") == 0 || strcmp(argv[1], "train") == 0;
        bool sub = argc > 2 && nested; /* help corpus build */
        char *words[] = {argv[1], sub ? argv[2] : help, sub ? help : NULL, NULL};
        return c->run(sub ? 3 : 2, words);
    }
    const char *text = spec_drafter_help(argv[1]);
    if (!text) return unknown(argv[1]);
    fputs(text, stdout);
    return EXIT_DONE;
}

/* A full disk must not look like success. */
static int check_output(int rc) {
    if (fflush(stdout) == 0 && !ferror(stdout)) return rc;
    bench_complain("cannot write to standard output");
    return rc == EXIT_DONE ? EXIT_USAGE : rc;
}

int main(int argc, char **argv) {
    if (argc < 2) {
        usage(stderr);
        return EXIT_USAGE;
    }
    const char *word = argv[1];
    if (strcmp(word, "--version") == 0 || strcmp(word, "-V") == 0) {
        printf("specbench %s\n", spec_version());
        return check_output(EXIT_DONE);
    }
    if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0) word = "help";
    const command *c = find(word);
    return check_output(c ? c->run(argc - 1, argv + 1) : unknown(word));
}
