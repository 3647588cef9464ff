/* SPDX-License-Identifier: MIT */
/* format.h - numbers and rows of the printed tables, none wider than 80. */
#ifndef BENCH_FORMAT_H
#define BENCH_FORMAT_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define TABLE_NAME 20 /* width of the first column */

/* A figure as text, by value: printf("%s", fmt_real(x, 2).text). "-" stands for
 * NaN. */
typedef struct fmt {
    char text[32];
} fmt;

fmt fmt_real(double v, int decimals);
fmt fmt_ratio(double v);                /* two decimals, fewer from 100 on: "2.05", "118.3" */
fmt fmt_percent(double share);          /* 0.123 -> "12.3" */
fmt fmt_count(uint64_t v);              /* 1234567 -> "1,234,567" */
fmt fmt_range(double low, double high); /* "1.78-1.83" */
fmt fmt_bytes(double bytes);            /* "12.3 MB" */

/* "" or "s". */
const char *fmt_plural(uint64_t n);

/* Prints the first column. A name that is too long gets a line of its own. */
void table_name(FILE *out, const char *name);

/* A drafter's text without the folders of its files, into buf; cut where it is too long. */
const char *fmt_drafter(const char *drafter, char *buf, size_t size);

/* The first column with a drafter so. */
void table_drafter(FILE *out, const char *drafter);

/* A row of dashes. */
void table_rule(FILE *out, int width);

#endif
