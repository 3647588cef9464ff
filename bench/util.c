/* SPDX-License-Identifier: MIT */
/*
 * What all parts of specbench share. bench_write_file holds to one order:
 *
 *     fill PATH.pid.tmp -> fsync it -> rename to PATH -> fsync the directory
 *
 * so a crash or a full disk at any point leaves the old PATH as it was.
 */
#define _XOPEN_SOURCE 700 /* realpath */
#include "util.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

uint64_t bench_now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

void *bench_grow(void *ptr, size_t *cap, size_t need, size_t size) {
    size_t old = ptr ? *cap : 0, n = old + old / 2;
    if (need <= old && ptr) return ptr;
    if (n < need) n = need;
    if (n < 8) n = 8;
    char *p = specp_resize(NULL, ptr, old, n, size);
    if (!p) return NULL;
    memset(p + old * size, 0, (n - old) * size);
    *cap = n;
    return p;
}

char *bench_copy_text(const char *text, size_t n) {
    char *p = malloc(n + 1);
    if (!p) return NULL;
    if (n) memcpy(p, text, n);
    p[n] = '\0';
    return p;
}

char *bench_format(const char *format, ...) {
    va_list ap;
    va_start(ap, format);
    int n = vsnprintf(NULL, 0, format, ap);
    va_end(ap);
    char *p = n < 0 ? NULL : malloc((size_t)n + 1);
    if (!p) return NULL;
    va_start(ap, format);
    vsnprintf(p, (size_t)n + 1, format, ap);
    va_end(ap);
    return p;
}

void bench_complain(const char *format, ...) {
    va_list ap;
    fflush(stdout); /* keeps the order right where both go to one place */
    fputs("specbench: ", stderr);
    va_start(ap, format);
    vfprintf(stderr, format, ap);
    va_end(ap);
    fputc('\n', stderr);
}

void bench_line_print(bench_line *l, const char *format, ...) {
    va_list ap;
    uint64_t now = l->wanted ? bench_now_ns() : 0;
    if (!l->wanted || now < l->next_ns) return;
    l->wanted = isatty(STDERR_FILENO);
    if (!l->wanted) return;
    fputs("\r\033[K", stderr);
    va_start(ap, format);
    vfprintf(stderr, format, ap);
    va_end(ap);
    fflush(stderr);
    l->shown = true;
    l->next_ns = now + 100000000;
}

void bench_line_clear(bench_line *l) {
    if (l->shown) fputs("\r\033[K", stderr);
    l->shown = false;
}

double bench_load(void) {
    double load = -1;
    FILE *f = fopen("/proc/loadavg", "r");
    if (!f || fscanf(f, "%lf", &load) != 1) load = -1;
    if (f) fclose(f);
    return load;
}

uint64_t bench_rng_next(bench_rng *r) {
    uint64_t x = r->state;
    r->state += 0x9e3779b97f4a7c15u;
    return specp_mix64(x);
}

/* The high half of a product spreads n evenly enough: the bias is n / 2^32. */
uint32_t bench_rng_below(bench_rng *r, uint32_t n) {
    return (uint32_t)(((bench_rng_next(r) >> 32) * n) >> 32);
}

/* Levenshtein distance of two short words; long ones count as far apart. */
static size_t edit_distance(const char *a, const char *b) {
    size_t n = strlen(b), row[33];
    if (strlen(a) > 32 || n > 32) return SIZE_MAX;
    for (size_t j = 0; j <= n; j++) row[j] = j;
    for (size_t i = 1; a[i - 1]; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= n; j++) {
            size_t best = diagonal + (a[i - 1] != b[j - 1]);
            diagonal = row[j];
            if (row[j] + 1 < best) best = row[j] + 1;
            if (row[j - 1] + 1 < best) best = row[j - 1] + 1;
            row[j] = best;
        }
    }
    return row[n];
}

const char *bench_nearest(const char *word, const char *const *list) {
    const char *nearest = NULL;
    size_t least = strlen(word) / 3 + 2;
    for (; *list; list++) {
        size_t d = edit_distance(word, *list);
        if (d < least) {
            least = d;
            nearest = *list;
        }
    }
    return nearest;
}

/* ---- files that appear whole -------------------------------------------- */

static int io_fault(spec_message *why, const char *what, const char *path) {
    return specp_fail(why, SPEC_ERR_IO, "%s: cannot %s: %s", path, what, strerror(errno));
}

/* Fills, flushes, syncs (where it can be) and closes; errno says what failed. */
static int fill_and_close(FILE *f, int (*fill)(FILE *f, void *user), void *user, bool sync) {
    int rc = fill(f, user) || ferror(f) || fflush(f) || (sync && fsync(fileno(f)));
    int kept = errno;
    if (fclose(f) && !rc) return -1;
    if (rc) errno = kept;
    return rc ? -1 : 0;
}

static void sync_directory(const char *path) {
    char copy[PATH_MAX];
    if (strlen(path) >= sizeof copy) return;
    strcpy(copy, path);
    int fd = open(dirname(copy), O_RDONLY | O_DIRECTORY);
    if (fd < 0) return; /* some file systems have no such thing; the rename stands */
    (void)fsync(fd);
    close(fd);
}

static int write_beside(const char *path, int (*fill)(FILE *f, void *user), void *user, spec_message *why) {
    char temp[PATH_MAX];
    int n = snprintf(temp, sizeof temp, "%s.%ld.tmp", path, (long)getpid());
    if (n < 0 || (size_t)n >= sizeof temp)
        return specp_fail(why, SPEC_ERR_IO, "%s: the file name is too long", path);
    FILE *f = fopen(temp, "wx");
    if (!f) return io_fault(why, "create", temp);
    if (fill_and_close(f, fill, user, true)) {
        io_fault(why, "write", path);
    } else if (rename(temp, path)) {
        io_fault(why, "replace", path);
    } else {
        sync_directory(path);
        return SPEC_OK;
    }
    unlink(temp);
    return SPEC_ERR_IO;
}

bool bench_same_file(const char *a, const char *b) {
    struct stat x, y;
    bool there = stat(a, &x) == 0;
    if (!there || stat(b, &y)) return !there && strcmp(a, b) == 0;
    return S_ISREG(x.st_mode) && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

int bench_check_writable(const char *path, spec_message *why) {
    struct stat st;
    char real[PATH_MAX];
    if (strcmp(path, "-") == 0)
        return specp_fail(why, SPEC_ERR_IO, "'-': expected the name of a file (--json alone takes a -)");
    bool there = stat(path, &st) == 0;
    if (there && S_ISDIR(st.st_mode))
        return specp_fail(why, SPEC_ERR_IO, "%s: is a directory; expected the name of a file", path);
    if (there && !S_ISREG(st.st_mode)) return access(path, W_OK) ? io_fault(why, "write", path) : SPEC_OK;
    if ((!there || !realpath(path, real)) && snprintf(real, sizeof real, "%s", path) >= (int)sizeof real)
        return specp_fail(why, SPEC_ERR_IO, "%s: the file name is too long", path);
    return access(dirname(real), W_OK | X_OK) ? io_fault(why, "create", path) : SPEC_OK;
}

int bench_write_file(const char *path, int (*fill)(FILE *f, void *user), void *user, spec_message *why) {
    struct stat st;
    char real[PATH_MAX];
    int rc = bench_check_writable(path, why);
    if (rc != SPEC_OK) return rc;
    if (stat(path, &st)) return write_beside(path, fill, user, why);
    if (S_ISREG(st.st_mode)) return write_beside(realpath(path, real) ? real : path, fill, user, why);
    FILE *f = fopen(path, "w");
    if (!f || fill_and_close(f, fill, user, false)) return io_fault(why, "write", path);
    return SPEC_OK;
}
