/* Helpers of the shim. Knows nothing of containers. */
#include "util.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

void release_fd(int *fd) {
  if (*fd >= 0) {
    int saved = errno;
    close(*fd);
    *fd = -1;
    errno = saved;
  }
}

void release_memory(void *pointer) {
  void **slot = pointer;
  free(*slot);
  *slot = NULL;
}

static int fill(struct skep_error *err, int errno_value, const char *syscall, const char *format,
                va_list args) {
  memset(err, 0, sizeof *err);
  err->errno_value = errno_value;
  snprintf(err->syscall, sizeof err->syscall, "%s", syscall);
  vsnprintf(err->detail, sizeof err->detail, format, args);
  return -1;
}

int fail(struct skep_error *err, const char *syscall, const char *format, ...) {
  int saved = errno;
  va_list args;
  va_start(args, format);
  fill(err, saved, syscall, format, args);
  va_end(args);
  return -1;
}

int fail_with(struct skep_error *err, int errno_value, const char *syscall, const char *format,
              ...) {
  va_list args;
  va_start(args, format);
  fill(err, errno_value, syscall, format, args);
  va_end(args);
  return -1;
}

int write_all(int fd, const void *bytes, size_t length) {
  const char *at = bytes;
  while (length > 0) {
    ssize_t n = RETRY(write(fd, at, length));
    if (n < 0) return -1;
    at += n;
    length -= (size_t)n;
  }
  return 0;
}

ssize_t read_full(int fd, void *bytes, size_t length) {
  char *at = bytes;
  size_t done = 0;
  while (done < length) {
    ssize_t n = RETRY(read(fd, at + done, length - done));
    if (n < 0) return -1;
    if (n == 0) break;
    done += (size_t)n;
  }
  return (ssize_t)done;
}

int write_file(const char *path, const char *text) {
  cleanup_fd int fd = RETRY(open(path, O_WRONLY | O_CLOEXEC));
  if (fd < 0) return -1;
  return write_all(fd, text, strlen(text));
}

int replace_file(const char *path, const char *bytes, size_t length) {
  char temporary[256];
  snprintf(temporary, sizeof temporary, "%s.tmp", path);
  cleanup_fd int fd = RETRY(open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
  if (fd < 0) return -1;
  if (write_all(fd, bytes, length) < 0) return -1;
  return rename(temporary, path);
}

int64_t now_nanos(void) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

int64_t monotonic_ms(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

int set_nonblocking(int fd) {
  int flags = fcntl(fd, F_GETFL);
  return flags < 0 ? -1 : fcntl(fd, F_SETFL, flags | O_NONBLOCK);
}

int open_pipe(int ends[2]) { return pipe2(ends, O_CLOEXEC); }
