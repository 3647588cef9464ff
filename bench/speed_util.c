/* SPDX-License-Identifier: MIT */
/* Clocks, resident memory, quantiles and child processes for `specbench speed`. */
#define _GNU_SOURCE
#include "speed.h"

#include <malloc.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

double speed_now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

double speed_clock_cost(void) {
    enum { READS = 20000 };
    double start = speed_now(), last = start;
    for (int i = 0; i < READS; i++) last = speed_now();
    return (last - start) / READS;
}

double speed_rss(void) {
    unsigned long long total = 0, resident = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    if (!f) return 0;
    if (fscanf(f, "%llu %llu", &total, &resident) != 2) resident = 0;
    fclose(f);
    return (double)resident * (double)sysconf(_SC_PAGESIZE);
}

static volatile unsigned long long sink;

void speed_consume(unsigned long long value) { sink = value; }

static int compare_double(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double speed_quantile(double *value, size_t n, double q) {
    if (!n) return 0;
    qsort(value, n, sizeof *value, compare_double);
    size_t rank = (size_t)(q * (double)(n - 1) + 0.5);
    return value[rank < n ? rank : n - 1];
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

static void child_main(speed_job fn, void *arg, size_t n, int fd) {
    double *out = calloc(n, sizeof *out);
    if (!out) _exit(1);
    fn(arg, out);
    _exit(write(fd, out, n * sizeof *out) == (ssize_t)(n * sizeof *out) ? 0 : 1);
}

bool speed_in_child(speed_job fn, void *arg, double *out, size_t n) {
    int fd[2], status = 1;
    malloc_trim(0); /* else the child grows into pages that already count as resident */
    if (pipe(fd) != 0) return false;
    pid_t pid = fork();
    if (pid == 0) {
        close(fd[0]);
        child_main(fn, arg, n, fd[1]);
    }
    close(fd[1]);
    bool ok = pid > 0 && read_all(fd[0], out, n * sizeof *out);
    close(fd[0]);
    if (pid > 0 && (waitpid(pid, &status, 0) != pid || status != 0)) ok = false;
    return ok;
}
