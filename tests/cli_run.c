/* SPDX-License-Identifier: MIT */
/* Running specbench from a test (cli_run.h). */
#include "cli_run.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

static support_tmp tmp;

const char *cli_dir(void) { return tmp.path; }

const char *cli_at(const char *name) {
    static char path[4][256]; /* good for four names in one call */
    static int next;
    next = (next + 1) % 4;
    return support_tmp_path(&tmp, name, path[next], sizeof path[next]);
}

cli_result cli_run(const char *arguments) {
    char command[4096];
    cli_result r;
    size_t n = (size_t)snprintf(command, sizeof command, "%s ", support_specbench());
    for (const char *p = arguments; *p && n + 200 < sizeof command; p++) {
        if (*p == '@')
            n += (size_t)snprintf(command + n, sizeof command - n, "%s", tmp.path);
        else
            command[n++] = *p;
    }
    snprintf(command + n, sizeof command - n, " >%s 2>%s", cli_at("out"), cli_at("err"));
    int status = system(command);
    assert_true(WIFEXITED(status));
    r.code = WEXITSTATUS(status);
    r.out = support_read_file(cli_at("out"), NULL);
    r.err = support_read_file(cli_at("err"), NULL);
    return r;
}

void cli_release(cli_result *r) {
    free(r->out);
    free(r->err);
}

void cli_has(const char *text, const char *word) {
    if (!strstr(text, word)) fail_msg("no \"%s\" in:\n%s", word, text);
}

void cli_expect(const char *arguments, int code, const char *out, const char *err) {
    cli_result r = cli_run(arguments);
    if (r.code != code)
        fail_msg("specbench %s: exit %d, not %d\n%s%s", arguments, r.code, code, r.out, r.err);
    if (!*out && *r.out) fail_msg("specbench %s: printed\n%s", arguments, r.out);
    if (!*err && *r.err) fail_msg("specbench %s: complained\n%s", arguments, r.err);
    cli_has(r.out, out);
    cli_has(r.err, err);
    cli_release(&r);
}

void cli_write(const char *name, const char *text) { support_write_file(cli_at(name), text, strlen(text)); }

int cli_set_up(void **state) {
    (void)state;
    support_tmp_make(&tmp);
    cli_write("good.jsonl", ONE TWO);
    cli_write("other.jsonl", TWO TWO ONE);
    cli_write("cut.jsonl", ONE "{\"prompt\":[1,2");
    cli_write("none.jsonl", "{\"prompt\":[1],\"response\":[]}\n");
    return 0;
}

int cli_tear_down(void **state) {
    (void)state;
    support_tmp_remove(&tmp);
    return 0;
}

void cli_lines_fit(const char *text) {
    for (const char *p = text; *p;) {
        size_t n = strcspn(p, "\n"), columns = 0;
        for (size_t i = 0; i < n; i++) columns += ((unsigned char)p[i] & 0xC0) != 0x80;
        if (columns > 80) fail_msg("%zu columns: %.*s", columns, (int)n, p);
        p += n + (p[n] == '\n');
    }
}

/* ---- reports ------------------------------------------------------------ */

json_t *cli_parse_json(const char *text) {
    json_error_t e;
    json_t *j = json_loads(text, 0, &e);
    if (!j) fail_msg("%s: %s", e.text, text);
    return j;
}

double cli_number(const json_t *o, const char *key) {
    const json_t *v = json_object_get(o, key);
    if (!json_is_number(v)) fail_msg("no number \"%s\"", key);
    return json_number_value(v);
}

void cli_is_number(const json_t *o, const char *key, double expected) {
    if (fabs(cli_number(o, key) - expected) > 1e-6)
        fail_msg("\"%s\" is %g, not %g", key, cli_number(o, key), expected);
}

const json_t *cli_member(const json_t *o, const char *key) {
    const json_t *v = json_object_get(o, key);
    if (!v) fail_msg("no \"%s\"", key);
    return v;
}

const json_t *cli_first_run(const char *arguments, json_t **report) {
    cli_result r = cli_run(arguments);
    if (r.code) fail_msg("%s", r.err);
    *report = cli_parse_json(r.out);
    cli_release(&r);
    return json_array_get(cli_member(*report, "runs"), 0);
}

double cli_figure(const char *arguments, const char *key) {
    json_t *report;
    double v = cli_number(cli_first_run(arguments, &report), key);
    json_decref(report);
    return v;
}
