/* SPDX-License-Identifier: MIT */
/*
 * Building JSON reports without a check at every step: a refusal of memory shows
 * when a NULL reaches json_object_set_new, which then returns -1, and is told at
 * the end.
 */
#include "jout.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "util.h"

jout jout_begin(void) {
    json_t *o = json_object();
    return (jout){o, !o};
}

json_t *jout_end(jout x) {
    if (!x.failed) return x.o;
    json_decref(x.o);
    return NULL;
}

void jout_put(jout *x, const char *key, json_t *value) {
    if (json_object_set_new(x->o, key, value)) x->failed = true;
}

void jout_int(jout *x, const char *key, uint64_t v) { jout_put(x, key, json_integer((json_int_t)v)); }
void jout_real(jout *x, const char *key, double v) { jout_put(x, key, jout_value(v)); }
void jout_bool(jout *x, const char *key, bool v) { jout_put(x, key, json_boolean(v)); }

void jout_text(jout *x, const char *key, const char *v) {
    jout_put(x, key, v ? jout_string(v) : json_null());
}

void jout_object(jout *x, const char *key, jout child) {
    if (child.failed) x->failed = true;
    jout_put(x, key, child.o);
}

json_t *jout_value(double v) { return isfinite(v) ? json_real(v) : json_null(); }

/* A file name may be any bytes; JSON takes UTF-8 only. */
json_t *jout_string(const char *v) {
    json_t *j = json_string(v);
    char *copy = j ? NULL : bench_copy_text(v, strlen(v));
    if (!copy) return j;
    for (char *p = copy; *p; p++)
        if ((unsigned char)*p >= 128) *p = '?';
    j = json_string(copy);
    free(copy);
    return j;
}

json_t *jout_append(json_t *list, json_t *value) {
    if (!list || json_array_append_new(list, value) == 0) return list;
    json_decref(list);
    return NULL;
}

/* ---- the heading --------------------------------------------------------- */

/* The processor's name as Linux gives it, or null. */
static json_t *processor(void) {
    char line[256];
    json_t *name = NULL;
    FILE *f = fopen("/proc/cpuinfo", "r");
    while (f && !name && fgets(line, sizeof line, f)) {
        char *colon = strchr(line, ':');
        if (strncmp(line, "model name", 10) != 0 || !colon) continue;
        line[strcspn(line, "\n")] = '\0';
        name = json_string(colon + 2);
    }
    if (f) fclose(f);
    return name ? name : json_null();
}

static json_t *machine(void) {
    jout o = jout_begin();
    struct utsname u;
    jout_put(&o, "processor", processor());
    jout_int(&o, "cores", (uint64_t)sysconf(_SC_NPROCESSORS_ONLN));
    if (uname(&u) == 0) {
        jout_text(&o, "system", u.sysname);
        jout_text(&o, "release", u.release);
        jout_text(&o, "architecture", u.machine);
    }
    return jout_end(o);
}

static json_t *build(void) {
    jout o = jout_begin();
#if defined(__clang__)
    jout_text(&o, "compiler", __VERSION__);
#else
    jout_text(&o, "compiler", "gcc " __VERSION__);
#endif
#if defined(__OPTIMIZE__)
    jout_bool(&o, "optimized", true);
#else
    jout_bool(&o, "optimized", false);
#endif
    return jout_end(o);
}

void jout_heading(jout *x, const char *command) {
    jout_text(x, "schema", "specbench/1");
    jout_text(x, "version", spec_version());
    jout_text(x, "command", command);
    jout_put(x, "machine", machine());
    jout_put(x, "build", build());
}

int jout_write(jout x, FILE *out) {
    json_t *o = jout_end(x);
    if (!o) return -1;
    int rc = json_dumpf(o, out, JSON_INDENT(1) | JSON_REAL_PRECISION(9)) || fputc('\n', out) == EOF;
    json_decref(o);
    return rc;
}

/* ---- where it goes ------------------------------------------------------- */

static bool is_stdout(const char *path) { return path && strcmp(path, "-") == 0; }

FILE *jout_tables(const char *path) { return is_stdout(path) ? stderr : stdout; }

int jout_check(const char *path) {
    spec_message why;
    if (!path || is_stdout(path) || bench_check_writable(path, &why) == SPEC_OK) return EXIT_DONE;
    bench_complain("--json: %s", why.text);
    return EXIT_USAGE;
}

int jout_report(const char *path, int (*fill)(FILE *f, void *user), void *user) {
    spec_message why;
    if (!path) return EXIT_DONE;
    if (is_stdout(path)) {
        if (fill(stdout, user) == 0) return EXIT_DONE;
        if (!ferror(stdout)) bench_complain("cannot make the JSON report: out of memory");
        return ferror(stdout) ? EXIT_USAGE : EXIT_CHECK;
    }
    if (bench_write_file(path, fill, user, &why) == SPEC_OK) return EXIT_DONE;
    bench_complain("%s", why.text);
    return EXIT_USAGE;
}
