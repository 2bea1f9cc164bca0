/*
 * Starts skep-shim from a process with a large heap: posix_spawn costs the same at any size, while
 * fork copies page tables. Knows nothing of what the shim does.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "skep.h"
#include "skep_spec.h"

#ifndef MFD_EXEC
#define MFD_EXEC 0x0010U
#endif

static int fail(struct skep_error *err, int errno_value, const char *syscall, const char *detail) {
  memset(err, 0, sizeof *err);
  err->errno_value = errno_value;
  snprintf(err->syscall, sizeof err->syscall, "%s", syscall);
  snprintf(err->detail, sizeof err->detail, "%s", detail);
  return -1;
}

static int copy_sealed(int from, int to) {
  struct stat status;
  if (fstat(from, &status) < 0) return -1;
  off_t left = status.st_size;
  while (left > 0) {
    ssize_t n = sendfile(to, from, NULL, (size_t)left);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return -1;
    left -= n;
  }
  return fcntl(to, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
}

int skep_seal_program(const char *path, struct skep_error *err) {
  int from = open(path, O_RDONLY | O_CLOEXEC);
  if (from < 0) return fail(err, errno, "open", path);
  int to = memfd_create("skep-shim", MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_EXEC);
  if (to < 0 && errno == EINVAL) to = memfd_create("skep-shim", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  int result = to < 0 ? fail(err, errno, "memfd_create", path) : to;
  if (to >= 0 && copy_sealed(from, to) < 0) {
    result = fail(err, errno, "sendfile", path);
    close(to);
  }
  close(from);
  return result;
}

static int64_t monotonic_ms(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Reads the shim's one report, within the time limit. */
static int read_report(int fd, int timeout_ms, struct skep_launch_report *report,
                       struct skep_error *err) {
  int64_t deadline_ms = monotonic_ms() + timeout_ms;
  size_t done = 0;
  while (done < sizeof *report) {
    int64_t left_ms = deadline_ms - monotonic_ms();
    struct pollfd entry = {.fd = fd, .events = POLLIN};
    int ready = poll(&entry, 1, left_ms > 0 ? (int)left_ms : 0);
    if (ready < 0 && errno == EINTR) continue;
    if (ready == 0) return fail(err, ETIMEDOUT, "poll", "the shim's report");
    ssize_t n = read(fd, (char *)report + done, sizeof *report - done);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return fail(err, n < 0 ? errno : EPIPE, "read", "the shim's report");
    done += (size_t)n;
  }
  return 0;
}

static int spawn_launcher(int program_fd, const char *task_dir, int spec_fd, int report_fd,
                          pid_t *pid) {
  /* By our own pid: the child closes its copies before the kernel opens the program. */
  char program[64];
  snprintf(program, sizeof program, "/proc/%d/fd/%d", getpid(), program_fd);
  char *const args[] = {"skep-shim", (char *)task_dir, NULL}, *const env[] = {NULL};
  posix_spawn_file_actions_t actions;
  int error = posix_spawn_file_actions_init(&actions);
  if (error != 0) return error;
  if ((error = posix_spawn_file_actions_adddup2(&actions, report_fd, SKEP_REPORT_FD)) == 0 &&
      (error = posix_spawn_file_actions_adddup2(&actions, spec_fd, SKEP_SPEC_FD)) == 0 &&
      (error = posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDWR, 0)) == 0 &&
      (error = posix_spawn_file_actions_adddup2(&actions, 0, 1)) == 0 &&
      (error = posix_spawn_file_actions_adddup2(&actions, 0, 2)) == 0 &&
      (error = posix_spawn_file_actions_addclosefrom_np(&actions, SKEP_SPEC_FD + 1)) == 0)
    error = posix_spawn(pid, program, &actions, NULL, args, env);
  posix_spawn_file_actions_destroy(&actions);
  return error;
}

/* The spec as a file in memory: no disk is in the way of a start. Above the numbers that the shim's
 * own descriptors are moved to. */
static int spec_file(const uint8_t *spec, uint32_t spec_bytes, struct skep_error *err) {
  int made = memfd_create("skep-spec", MFD_CLOEXEC);
  int fd = made < 0 ? -1 : fcntl(made, F_DUPFD_CLOEXEC, 10);
  if (made >= 0) close(made);
  if (fd < 0) return fail(err, errno, "memfd_create", "spec");
  if (pwrite(fd, spec, spec_bytes, 0) == (ssize_t)spec_bytes) return fd;
  fail(err, errno, "pwrite", "spec");
  close(fd);
  return -1;
}

int skep_shim_spawn(int program_fd, const char *task_dir, const uint8_t *spec, uint32_t spec_bytes,
                    int timeout_ms, struct skep_error *err) {
  int ends[2];
  pid_t pid;
  struct skep_launch_report report = {0};
  int spec_fd = spec_file(spec, spec_bytes, err);
  if (spec_fd < 0) return -1;
  if (pipe2(ends, O_CLOEXEC) < 0) {
    fail(err, errno, "pipe2", "the shim's report");
    close(spec_fd);
    return -1;
  }
  int error = spawn_launcher(program_fd, task_dir, spec_fd, ends[1], &pid);
  close(spec_fd);
  close(ends[1]);
  if (error != 0) {
    close(ends[0]);
    return fail(err, error, "posix_spawn", "skep-shim");
  }
  int result = read_report(ends[0], timeout_ms, &report, err);
  close(ends[0]);
  /* The launcher has forked and ended, or is about to; libuv never waits for it. */
  while (waitpid(pid, NULL, 0) < 0 && errno == EINTR) continue;
  if (result < 0) return -1;
  if (report.result < 0) {
    memcpy(err, report.err, sizeof *err);
    return -1;
  }
  return report.result;
}
