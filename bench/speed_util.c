/* SPDX-License-Identifier: MIT */
/* Resident memory, quantiles and child processes for `specbench speed`. */
#define _GNU_SOURCE
#include <malloc.h>
#include <math.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "speed.h"
#include "util.h"

uint64_t speed_cpu_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

double speed_rss(void) {
    unsigned long long total = 0, resident = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    if (!f) return 0;
    if (fscanf(f, "%llu %llu", &total, &resident) != 2) resident = 0;
    fclose(f);
    return (double)resident * (double)sysconf(_SC_PAGESIZE);
}

static volatile uint64_t sink;

void speed_consume(uint64_t value) { sink = value; }

static int compare_double(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double speed_quantile(double *value, size_t n, double q) {
    if (!n) return 0;
    qsort(value, n, sizeof *value, compare_double);
    return value[(size_t)(q * (double)(n - 1) + 0.5)];
}

bool speed_times_init(speed_times *t, size_t cap) {
    *t = (speed_times){.ns = malloc(cap * sizeof *t->ns), .cap = cap};
    return t->ns != NULL;
}

void speed_times_free(speed_times *t) { free(t->ns); }

static int compare_u32(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

double speed_times_us(speed_times *t, double q) {
    if (!t->n) return NAN;
    qsort(t->ns, t->n, sizeof *t->ns, compare_u32);
    return t->ns[(size_t)(q * (double)(t->n - 1) + 0.5)] * 1e-3;
}

double speed_times_mean_us(const speed_times *t) {
    double sum = 0;
    for (size_t i = 0; i < t->n; i++) sum += t->ns[i];
    return t->n ? sum / (double)t->n * 1e-3 : NAN;
}

/* ---- child processes ---------------------------------------------------- */

_Noreturn void speed_die(const char *what) {
    bench_complain("speed: %s failed", what);
    _exit(1);
}

static bool read_all(int fd, void *to, size_t n) {
    char *p = to;
    while (n) {
        ssize_t got = read(fd, p, n);
        if (got <= 0) return false;
        p += got;
        n -= (size_t)got;
    }
    return true;
}

static _Noreturn void child_main(speed_job job, void *arg, size_t n, int fd) {
    double out[SPEED_MAX_KEYS];
    for (size_t i = 0; i < n; i++) out[i] = NAN;
    job(arg, out);
    _exit(write(fd, out, n * sizeof *out) == (ssize_t)(n * sizeof *out) ? 0 : 1);
}

/* One run of a job in a process whose memory is fresh. */
static bool in_child(speed_job job, void *arg, double *out, size_t n) {
    int fd[2], status = 1;
    malloc_trim(0); /* else the child grows into pages that already count as resident */
    fflush(NULL);
    if (pipe(fd) != 0) return false;
    pid_t pid = fork();
    if (pid == 0) {
        close(fd[0]);
        child_main(job, arg, n, fd[1]);
    }
    close(fd[1]);
    bool ok = pid > 0 && read_all(fd[0], out, n * sizeof *out);
    close(fd[0]);
    if (pid > 0 && (waitpid(pid, &status, 0) != pid || status != 0)) ok = false;
    return ok;
}

void speed_add(speed_report *r, speed_value v) {
    speed_value *p = bench_grow(r->value, &r->cap, r->n + 1, sizeof *p);
    if (!p) {
        r->failed = true;
        return;
    }
    r->value = p;
    if (!isnan(v.median)) r->value[r->n++] = v;
}

void speed_measure(speed_report *r, size_t size, speed_job job, void *arg, const char *const *key,
                   size_t n_keys) {
    double out[SPEED_MAX_RUNS][SPEED_MAX_KEYS] = {{0}}, run[SPEED_MAX_RUNS] = {0};
    for (unsigned i = 0; i < r->repeats; i++)
        if (!in_child(job, arg, out[i], n_keys)) {
            r->failed = true;
            return;
        }
    for (size_t k = 0; k < n_keys; k++) {
        for (unsigned i = 0; i < r->repeats; i++) run[i] = out[i][k];
        speed_value v = {.key = key[k], .size = size, .median = speed_quantile(run, r->repeats, 0.5)};
        v.low = run[0];
        v.high = run[r->repeats - 1];
        speed_add(r, v);
    }
}
