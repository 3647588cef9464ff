/* SPDX-License-Identifier: MIT */
/*
 * cli.h - the command line: a table of options per command, from which both the
 * parsing and the --help page are made.
 */
#ifndef BENCH_CLI_H
#define BENCH_CLI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

typedef struct cli_list {
    const char **item; /* (n), borrowed from argv */
    size_t n, cap;
} cli_list;

typedef enum cli_kind {
    CLI_FLAG,   /* bool: set to true */
    CLI_TEXT,   /* const char * */
    CLI_LIST,   /* cli_list: may be given again and again */
    CLI_NUMBER, /* uint64_t, decimal, min..max */
    CLI_REAL,   /* double, decimal, min..max */
} cli_kind;

/* In the order in which a table of options reads best.
 * NOLINTNEXTLINE(clang-analyzer-optin.performance.Padding) */
typedef struct cli_option {
    char letter;      /* 0 = only the long name */
    const char *name; /* without the dashes */
    const char *arg;  /* what the value is called in the help; NULL for flags */
    cli_kind kind;
    void *value;
    const char *help;
    uint64_t min, max; /* of numbers */
    bool *given;       /* set when the option is given; may be NULL */
} cli_option;

typedef struct cli_command {
    const char *name;     /* "replay", "corpus build" */
    const char *operands; /* "TRACE..." */
    const char *about;    /* a paragraph, lines broken */
    const cli_option *option;
    size_t n_options;
    const char *examples; /* lines */
    size_t min_operands, max_operands;
    const char *missing; /* what to say when there are too few operands */
} cli_command;

enum {
    CLI_RUN = 0, /* parsed: go on */
    CLI_DONE,    /* --help was printed */
    CLI_BAD,     /* a message was printed */
};

/* Reads argv[1..argc). Options and operands may be mixed; "--" ends the
 * options. Every command has -h and --help. */
int cli_parse(const cli_command *c, int argc, char **argv, cli_list *operands);

void cli_help(const cli_command *c, FILE *out);

/* "specbench NAME: ..." and where to find help, on stderr. Returns CLI_BAD. */
int cli_complain(const cli_command *c, const char *format, ...);

/* Refuses an output (NULL: none) that is one of the other files of the command line,
 * which it would overwrite; others may hold NULLs. CLI_RUN, or CLI_BAD after a message. */
int cli_check_output(const cli_command *c, const char *option, const char *output, const char *const *others,
                     size_t n);

/* 0, or -1 when memory is out. */
int cli_list_add(cli_list *l, const char *item);
void cli_list_free(cli_list *l);

#define CLI_POLICY_HELP                                                                                      \
    "fixed: always the budget (default); goodput: what pays by the cost model, at most the budget"
/* What --policy says (NULL: nothing). CLI_RUN, or CLI_BAD after a message. */
int cli_policy(const cli_command *c, const char *name, bool *goodput);

#endif
