/*
 * The files that tell an agent about this task when nobody is connected. They appear by rename,
 * whole or not at all; they are not forced to disk: a machine that lost power has lost the task as
 * well. What cannot be written now (no space) stays due and is tried again.
 */
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "shim.h"

#define FILE_BYTES_MAX 2048
#define KILL_ROUNDS_MAX 100 /* for children that are made meanwhile; the daemon kills what is left */

/* Field 22 of /proc/<pid>/stat: with it a pid names one process for ever. */
static uint64_t start_ticks(int32_t pid) {
  char path[64], text[1024];
  snprintf(path, sizeof path, "/proc/%d/stat", pid);
  cleanup_fd int fd = RETRY(open(path, O_RDONLY | O_CLOEXEC));
  if (fd < 0) return 0;
  ssize_t length = read_full(fd, text, sizeof text - 1);
  if (length <= 0) return 0;
  text[length] = 0;
  char *at = strrchr(text, ')'); /* the name may hold anything; fields 3.. follow it */
  for (int field = 2; at != NULL && field < 22; field++) at = strchr(at + 1, ' ');
  return at == NULL ? 0 : strtoull(at + 1, NULL, 10);
}

static void quote_json(char *out, size_t size, const char *text) {
  size_t used = 0;
  out[used++] = '"';
  for (; *text && used + 8 < size; text++) {
    unsigned char c = (unsigned char)*text;
    if (c == '"' || c == '\\') {
      out[used++] = '\\';
      out[used++] = (char)c;
    } else if (c < 0x20) {
      used += (size_t)snprintf(out + used, size - used, "\\u%04x", c);
    } else {
      out[used++] = (char)c;
    }
  }
  out[used++] = '"';
  out[used] = 0;
}

/* True when it is on disk, or when the task directory is gone and nobody will ask. */
static bool put(const char *name, const char *text, int length) {
  return replace_file(name, text, (size_t)length) == 0 || errno == ENOENT;
}

void write_state(struct shim *shim) {
  char text[FILE_BYTES_MAX];
  int length = snprintf(text, sizeof text,
                        "{\"version\":1,\"shimPid\":%d,\"shimStartTicks\":%" PRIu64
                        ",\"initPid\":%d,\"initStartTicks\":%" PRIu64
                        ",\"createdAtNanos\":\"%" PRId64 "\",\"startedAtNanos\":\"%" PRId64 "\"}\n",
                        getpid(), start_ticks(getpid()), shim->init_pid,
                        start_ticks(shim->init_pid), shim->created_nanos, shim->started_nanos);
  shim->state_due = !put("state", text, length);
}

void write_exit(struct shim *shim) {
  char text[FILE_BYTES_MAX], syscall_name[64], detail[1024];
  quote_json(syscall_name, sizeof syscall_name, shim->start_error.syscall);
  quote_json(detail, sizeof detail, shim->start_error.detail);
  int length = snprintf(text, sizeof text,
                        "{\"version\":1,\"exitCode\":%d,\"signal\":%d,\"oomKilled\":%s,"
                        "\"errno\":%d,\"syscall\":%s,\"detail\":%s,"
                        "\"startedAtNanos\":\"%" PRId64 "\",\"finishedAtNanos\":\"%" PRId64 "\"}\n",
                        shim->exit_code, shim->exit_signal, shim->oom_killed ? "true" : "false",
                        shim->start_error.errno_value, syscall_name, detail, shim->started_nanos,
                        shim->finished_nanos);
  shim->exit_due = !put("exit", text, length);
}

void write_due(struct shim *shim) {
  if (shim->state_due) write_state(shim);
  if (shim->exit_due) write_exit(shim);
}

/* SIGKILL to all that this tasks file lists; false when it lists none. */
static bool kill_listed(const char *tasks_file) {
  char text[4096];
  cleanup_fd int fd = RETRY(open(tasks_file, O_RDONLY | O_CLOEXEC));
  if (fd < 0) return false;
  ssize_t length = read_full(fd, text, sizeof text - 1);
  if (length <= 0) return false;
  while (length > 0 && text[length - 1] != '\n') length--; /* half a number is another process */
  text[length] = 0;
  bool any = false;
  for (char *line = strtok(text, "\n"); line != NULL; line = strtok(NULL, "\n")) {
    int pid = atoi(line);
    if (pid > 0 && kill(pid, SIGKILL) == 0) any = true;
  }
  return any;
}

void end_group(const struct spec *spec) {
  char path[PATH_MAX];
  if (spec->cgroup2[0]) {
    snprintf(path, sizeof path, "%s/cgroup.kill", spec->cgroup2);
    if (write_file(path, "1") == 0) return;
    snprintf(path, sizeof path, "%s/cgroup.procs", spec->cgroup2);
    for (int i = 0; i < KILL_ROUNDS_MAX && kill_listed(path); i++) continue;
  } else if (spec->cgroup_tasks.count > 0) {
    struct reader cursor = spec->cgroup_tasks.cursor;
    const char *tasks_file = read_str(&cursor);
    for (int i = 0; i < KILL_ROUNDS_MAX && kill_listed(tasks_file); i++) continue;
  }
}

bool read_oom_killed(const struct spec *spec) {
  char text[1024];
  if (spec->oom_file[0] == 0) return false;
  cleanup_fd int fd = RETRY(open(spec->oom_file, O_RDONLY | O_CLOEXEC));
  if (fd < 0) return false;
  ssize_t length = read_full(fd, text, sizeof text - 1);
  if (length <= 0) return false;
  text[length] = 0;
  for (char *line = strtok(text, "\n"); line != NULL; line = strtok(NULL, "\n"))
    if (strncmp(line, "oom_kill ", 9) == 0) return strtoull(line + 9, NULL, 10) > 0;
  return false;
}
