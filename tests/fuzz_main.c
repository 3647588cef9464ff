/* SPDX-License-Identifier: MIT */
/*
 * Replays inputs through a fuzz target when libFuzzer is not linked in: each
 * argument is a file, or a directory that is walked. Files go in the order of
 * their names, so that two runs are alike. Prints how many inputs ran; none at
 * all is a failure.
 */
#include <dirent.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static size_t replayed;

static _Noreturn void die(const char *path) {
    fprintf(stderr, "%s: %s\n", path, strerror(errno));
    exit(1);
}

/* An allocation of exactly the input's size lets ASan see a read past its end. */
static void replay_file(const char *path, size_t size) {
    uint8_t *data = malloc(size ? size : 1);
    FILE *f = fopen(path, "rb");
    if (!f || !data) die(path);
    if (fread(data, 1, size, f) != size) die(path);
    fclose(f);
    fprintf(stderr, "# %s\n", path);
    LLVMFuzzerTestOneInput(data, size);
    free(data);
    replayed++;
}

static void replay(const char *path);

static void replay_directory(const char *path) {
    struct dirent **entry;
    int n = scandir(path, &entry, NULL, alphasort);
    if (n < 0) die(path);
    for (int i = 0; i < n; i++) {
        char child[4096];
        int len = snprintf(child, sizeof child, "%s/%s", path, entry[i]->d_name);
        if (len < 0 || (size_t)len >= sizeof child) {
            errno = ENAMETOOLONG;
            die(path);
        }
        if (entry[i]->d_name[0] != '.') replay(child);
        free(entry[i]);
    }
    free(entry);
}

static void replay(const char *path) {
    struct stat st;
    if (stat(path, &st)) die(path);
    if (S_ISDIR(st.st_mode)) {
        replay_directory(path);
    } else {
        replay_file(path, (size_t)st.st_size);
    }
}

int main(int argc, char **argv) {
    for (int i = 1; i < argc; i++) replay(argv[i]);
    printf("%zu inputs\n", replayed);
    return replayed ? 0 : 1;
}
