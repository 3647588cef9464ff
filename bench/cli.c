/* SPDX-License-Identifier: MIT */
/*
 * The option parser. It knows these shapes and no others:
 *
 *     --name  --name VALUE  --name=VALUE  -x  -xVALUE  -x VALUE  --
 *
 * Long names are written out; an unknown one is answered with the nearest.
 */
#include "cli.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "util.h"

int cli_list_add(cli_list *l, const char *item) {
    const char **grown = bench_grow(l->item, &l->cap, l->n + 1, sizeof *grown);
    if (!grown) return -1;
    l->item = grown;
    l->item[l->n++] = item;
    return 0;
}

void cli_list_free(cli_list *l) {
    free(l->item);
    memset(l, 0, sizeof *l);
}

int cli_complain(const cli_command *c, const char *format, ...) {
    va_list ap;
    fflush(stdout);
    fprintf(stderr, "specbench %s: ", c->name);
    va_start(ap, format);
    vfprintf(stderr, format, ap);
    va_end(ap);
    fprintf(stderr, "\n'specbench %s --help' says more.\n", c->name);
    return CLI_BAD;
}

int cli_check_output(const cli_command *c, const char *option, const char *output, const char *const *others,
                     size_t n) {
    for (size_t i = 0; output && i < n; i++)
        if (others[i] && bench_same_file(output, others[i]))
            return cli_complain(c, "%s: would overwrite '%s', which this command uses too", option,
                                others[i]);
    return CLI_RUN;
}

/* ---- help ---------------------------------------------------------------- */

#define HELP_WIDTH  79
#define HELP_COLUMN 26

/* Prints words from the present column on, broken at HELP_WIDTH. */
static void print_wrapped(FILE *out, const char *text, size_t column) {
    while (*text) {
        size_t n = strcspn(text, " ");
        if (column > HELP_COLUMN && column + 1 + n > HELP_WIDTH) {
            fprintf(out, "\n%*s", HELP_COLUMN, "");
            column = HELP_COLUMN;
        }
        bool first = column == HELP_COLUMN;
        fprintf(out, "%s%.*s", first ? "" : " ", (int)n, text);
        column += n + !first;
        text += n + (text[n] == ' ');
    }
    fputc('\n', out);
}

static void print_option(FILE *out, char letter, const char *name, const char *arg, const char *help) {
    char left[80];
    int n = letter ? snprintf(left, sizeof left, "  -%c, --%s", letter, name)
                   : snprintf(left, sizeof left, "      --%s", name);
    if (arg) n += snprintf(left + n, sizeof left - (size_t)n, " %s", arg);
    if (n + 2 > HELP_COLUMN)
        fprintf(out, "%s\n%*s", left, HELP_COLUMN, "");
    else
        fprintf(out, "%-*s", HELP_COLUMN, left);
    print_wrapped(out, help, HELP_COLUMN);
}

void cli_help(const cli_command *c, FILE *out) {
    fprintf(out, "Usage: specbench %s [OPTION]...%s%s\n\n%s\n\nOptions:\n", c->name, *c->operands ? " " : "",
            c->operands, c->about);
    for (size_t i = 0; i < c->n_options; i++) {
        const cli_option *o = &c->option[i];
        print_option(out, o->letter, o->name, o->arg, o->help);
    }
    print_option(out, 'h', "help", NULL, "print this page");
    if (c->examples) fprintf(out, "\nExamples:\n%s", c->examples);
}

/* ---- parsing ------------------------------------------------------------- */

typedef struct parser {
    const cli_command *c;
    int argc, at;
    char **argv;
    cli_list *operands;
} parser;

static int set_number(const parser *p, const cli_option *o, const char *shown, const char *text) {
    uint64_t v = 0;
    bool ok = *text != '\0';
    for (const char *s = text; *s && ok; s++) {
        unsigned digit = (unsigned)(*s - '0');
        ok = digit <= 9 && v <= (UINT64_MAX - digit) / 10;
        v = v * 10 + digit;
    }
    if (!ok || v < o->min || v > o->max)
        return cli_complain(p->c, "%s: '%s' is not a whole number from %llu to %llu", shown, text,
                            (unsigned long long)o->min, (unsigned long long)o->max);
    *(uint64_t *)o->value = v;
    return CLI_RUN;
}

/* Digits, a point, an exponent: not all that strtod takes (inf, nan, hexadecimal). */
static int set_real(const parser *p, const cli_option *o, const char *shown, const char *text) {
    char *end = NULL;
    bool plain = *text != '\0' && strspn(text, "0123456789.eE+-") == strlen(text);
    double v = plain ? strtod(text, &end) : 0;
    if (!plain || *end || !(v >= (double)o->min && v <= (double)o->max))
        return cli_complain(p->c, "%s: '%s' is not a number from %llu to %llu", shown, text,
                            (unsigned long long)o->min, (unsigned long long)o->max);
    *(double *)o->value = v;
    return CLI_RUN;
}

static int set_value(const parser *p, const cli_option *o, const char *shown, const char *text) {
    if (o->given) *o->given = true;
    switch (o->kind) {
    case CLI_FLAG: *(bool *)o->value = true; return CLI_RUN;
    case CLI_TEXT: *(const char **)o->value = text; break;
    case CLI_LIST:
        if (cli_list_add(o->value, text)) return cli_complain(p->c, "out of memory");
        break;
    case CLI_NUMBER: return set_number(p, o, shown, text);
    case CLI_REAL: return set_real(p, o, shown, text);
    }
    return *text ? CLI_RUN : cli_complain(p->c, "%s: expected %s, found nothing", shown, o->arg);
}

/* `value` is what stood in the same word, or NULL: then the next word is meant. */
static int take_option(parser *p, const cli_option *o, const char *shown, const char *value) {
    if (o->kind == CLI_FLAG)
        return value ? cli_complain(p->c, "%s takes no value", shown) : set_value(p, o, shown, "");
    if (!value && p->at + 1 >= p->argc) return cli_complain(p->c, "%s: expected %s behind it", shown, o->arg);
    return set_value(p, o, shown, value ? value : p->argv[++p->at]);
}

static int unknown_option(const parser *p, const char *name) {
    enum { MOST = 40 };
    const char *names[MOST + 2];
    size_t n = 0;
    for (; n < p->c->n_options && n < MOST; n++) names[n] = p->c->option[n].name;
    names[n++] = "help";
    names[n] = NULL;
    const char *nearest = bench_nearest(name, names);
    if (nearest) return cli_complain(p->c, "there is no option --%s; did you mean --%s?", name, nearest);
    return cli_complain(p->c, "there is no option --%s", name);
}

static int take_long(parser *p, const char *word) {
    char shown[64], name[64];
    const char *equals = strchr(word, '=');
    size_t n = equals ? (size_t)(equals - word) : strlen(word);
    if (n >= sizeof name) n = sizeof name - 1;
    snprintf(name, sizeof name, "%.*s", (int)n, word);
    snprintf(shown, sizeof shown, "--%.*s", (int)n, word);
    for (size_t i = 0; i < p->c->n_options; i++)
        if (strcmp(p->c->option[i].name, name) == 0)
            return take_option(p, &p->c->option[i], shown, equals ? equals + 1 : NULL);
    return unknown_option(p, name);
}

static int take_short(parser *p, const char *word) {
    char shown[3] = {'-', word[0], '\0'};
    for (size_t i = 0; i < p->c->n_options; i++)
        if (p->c->option[i].letter == word[0])
            return take_option(p, &p->c->option[i], shown, word[1] ? word + 1 : NULL);
    return cli_complain(p->c, "there is no option %s", shown);
}

static int take_operand(parser *p, const char *word) {
    if (p->operands->n >= p->c->max_operands)
        return cli_complain(p->c, "'%s' is one argument too many; expected %s", word,
                            *p->c->operands ? p->c->operands : "only options");
    return cli_list_add(p->operands, word) ? cli_complain(p->c, "out of memory") : CLI_RUN;
}

static bool is_help(const char *word) { return strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0; }

int cli_parse(const cli_command *c, int argc, char **argv, cli_list *operands) {
    parser p = {.c = c, .argc = argc, .at = 1, .argv = argv, .operands = operands};
    bool options = true;
    int rc = CLI_RUN;
    for (; p.at < argc && rc == CLI_RUN; p.at++) {
        const char *word = argv[p.at];
        if (options && is_help(word)) {
            cli_help(c, stdout);
            return CLI_DONE;
        }
        if (options && strcmp(word, "--") == 0)
            options = false;
        else if (options && word[0] == '-' && word[1] == '-')
            rc = take_long(&p, word + 2);
        else if (options && word[0] == '-' && word[1])
            rc = take_short(&p, word + 1);
        else
            rc = take_operand(&p, word);
    }
    if (rc == CLI_RUN && operands->n < c->min_operands) return cli_complain(c, "%s", c->missing);
    return rc;
}

int cli_policy(const cli_command *c, const char *name, bool *goodput) {
    *goodput = name && strcmp(name, "goodput") == 0;
    if (!name || *goodput || strcmp(name, "fixed") == 0) return CLI_RUN;
    return cli_complain(c, "--policy: expected fixed or goodput, not '%s'", name);
}
