/*
 * Helpers of the shim: the error object, scope release, whole reads and writes. Knows nothing of
 * containers. The shim has one thread and no locks, so that after clone or fork the child may call
 * whatever the parent may.
 */
#ifndef SKEP_SHIM_UTIL_H
#define SKEP_SHIM_UTIL_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "skep.h"

/* Repeats a call that a signal interrupted. */
#define RETRY(call)                            \
  ({                                           \
    __typeof__(call) retry_result_;            \
    do                                         \
      retry_result_ = (call);                  \
    while (retry_result_ < 0 && errno == EINTR); \
    retry_result_;                             \
  })

#define cleanup_fd __attribute__((cleanup(release_fd)))
#define cleanup_free __attribute__((cleanup(release_memory)))
void release_fd(int *fd);
void release_memory(void *pointer);

/* Fills err from errno; returns -1. */
int fail(struct skep_error *err, const char *syscall, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* As fail, with a given errno value (0 = no system call failed). */
int fail_with(struct skep_error *err, int errno_value, const char *syscall, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* All of it, or -1 with errno. */
int write_all(int fd, const void *bytes, size_t length);
/* The bytes read (less than length at the end of the file), or -1 with errno. */
ssize_t read_full(int fd, void *bytes, size_t length);
/* Opens, writes once, closes: the way of /proc and cgroup files. -1 with errno. */
int write_file(const char *path, const char *text);
/* Writes to `<path>.tmp` and renames. -1 with errno. */
int replace_file(const char *path, const char *bytes, size_t length);

int64_t now_nanos(void); /* CLOCK_REALTIME */
int64_t monotonic_ms(void);
int set_nonblocking(int fd);
int open_pipe(int ends[2]); /* close-on-exec */

#endif
