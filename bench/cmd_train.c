/* SPDX-License-Identifier: MIT */
/* specbench train: finds the kind and hands over. */
#include <string.h>

#include "commands.h"
#include "train_kinds.h"
#include "util.h"

static const struct {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *about;
} kinds[] = {
    {"target", train_target, "a target model: trained on text, or with random weights"},
    {"medusa", train_medusa_command, "Medusa heads for a model, from its recorded answers"},
    {"eagle3", train_eagle3_command, "an EAGLE-3 head for a model, likewise"},
    {"mix", train_mix, "priors for the drafter mix, from recorded outputs"},
};

#define N_KINDS (sizeof kinds / sizeof *kinds)

static void usage(FILE *out) {
    fputs("Usage: specbench train KIND [OPTION]...\n\n", out);
    for (size_t i = 0; i < N_KINDS; i++) fprintf(out, "  %-8s%s\n", kinds[i].name, kinds[i].about);
    fputs("\n'specbench train KIND --help' lists a kind's options with examples.\n", out);
}

int cmd_train(int argc, char **argv) {
    const char *word = argc > 1 ? argv[1] : NULL, *names[N_KINDS + 1] = {NULL};
    bool help = word && (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0 || strcmp(word, "help") == 0);
    for (size_t i = 0; i < N_KINDS; i++) {
        names[i] = kinds[i].name;
        if (word && strcmp(word, names[i]) == 0) return kinds[i].run(argc - 1, argv + 1);
    }
    if (!word || help) {
        usage(help ? stdout : stderr);
        return help ? EXIT_DONE : EXIT_USAGE;
    }
    const char *nearest = bench_nearest(word, names);
    if (nearest)
        bench_complain("train: there is no kind '%s'; did you mean '%s'?", word, nearest);
    else
        bench_complain("train: there is no kind '%s'; 'specbench train --help' lists them", word);
    return EXIT_USAGE;
}
