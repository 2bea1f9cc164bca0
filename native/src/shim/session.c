/*
 * An exec and the connection that owns it: the outcome of its start, its output, its end. Output
 * waits in the pipe while the connection has no room, so a slow reader slows only its own command.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "shim.h"
#include "terminal.h"

#define CHUNK_BYTES 16384

struct conn *session_of(struct shim *shim, int32_t pid, bool helper) {
  for (int i = 0; pid > 0 && i < CONNS_MAX; i++) {
    struct conn *conn = &shim->conns[i];
    if (conn->fd < 0 || conn->exec == NULL) continue;
    if ((helper ? conn->exec->helper_pid : conn->exec->pid) == pid) return conn;
  }
  return NULL;
}

bool session_has_room(const struct conn *conn) {
  return conn->out_length - conn->out_at + CHUNK_BYTES + 1024 < OUT_BYTES_MAX;
}

void session_start(struct shim *shim, struct conn *conn, uint32_t request, const uint8_t *payload,
                   size_t length) {
  struct skep_error err;
  struct process process;
  int result = -1;
  conn->request = request;
  if (conn->exec != NULL || conn->awaits_start || conn->attached) {
    conn_close(shim, conn); /* one connection, one exec */
    return;
  }
  if (shim->status != SKEP_RUNNING || shim->container.pid == 0) {
    fail_with(&err, EBUSY, "shim", "exec: the container is not running");
  } else if ((conn->exec = calloc(1, sizeof *conn->exec)) == NULL) {
    fail(&err, "calloc", "exec");
  } else {
    *conn->exec = (struct exec){.status_fd = -1, .input_fd = -1, .output_fds = {-1, -1}};
    result = parse_process(payload, length, &process, &err);
    if (result == 0)
      result = exec_start(&shim->spec, shim->container.pid_fd, &process, conn->exec, &err);
    if (result < 0) {
      free(conn->exec);
      conn->exec = NULL;
    }
  }
  if (result < 0) {
    conn_reply(shim, conn, conn->request, -1, &err);
    conn->closing = true;
  }
}

static void take_early_exit(struct shim *shim, struct conn *conn) {
  for (int i = 0; i < EARLY_EXITS_MAX; i++) {
    if (shim->early_exits[i].pid != conn->exec->pid) continue;
    shim->early_exits[i].pid = 0;
    session_reaped(shim, conn, shim->early_exits[i].code);
    return;
  }
}

/* The status pipe ended without an error: the command runs, or already has. */
static void started(struct shim *shim, struct conn *conn, int32_t pid) {
  release_fd(&conn->exec->status_fd);
  conn_reply(shim, conn, conn->request, pid, NULL);
}

static void start_failed(struct shim *shim, struct conn *conn, const struct skep_error *err) {
  exec_release(conn->exec);
  free(conn->exec); /* a command that already has its pid ends by itself and is reaped */
  conn->exec = NULL;
  conn_reply(shim, conn, conn->request, -1, err);
  conn->closing = true;
}

void session_status(struct shim *shim, struct conn *conn) {
  struct status_record record;
  struct exec *exec = conn->exec;
  int descriptor;
  ssize_t n = terminal_receive(exec->status_fd, &record, sizeof record, &descriptor);
  if (n < 0 && errno == EAGAIN) return;
  if (n == sizeof record && record.kind == STATUS_TERMINAL && descriptor >= 0) {
    exec->output_fds[0] = descriptor;
    exec->input_fd = fcntl(descriptor, F_DUPFD_CLOEXEC, 0);
    set_nonblocking(descriptor); /* one open file: for both */
    return;
  }
  release_fd(&descriptor);
  if (n == sizeof record && record.kind == STATUS_PID) {
    exec->pid = exec->command_pid = record.pid;
    take_early_exit(shim, conn);
  } else if (n == sizeof record) {
    start_failed(shim, conn, &record.err);
  } else if (exec->command_pid > 0) {
    started(shim, conn, exec->command_pid);
    session_finish(shim, conn);
  } else {
    struct skep_error err;
    fail_with(&err, ESRCH, "exec", "the container ended meanwhile");
    start_failed(shim, conn, &err);
  }
}

void session_output(struct shim *shim, struct conn *conn, int index) {
  char bytes[CHUNK_BYTES];
  struct exec *exec = conn->exec;
  if (exec->status_fd >= 0) return; /* the reply goes first */
  while (session_has_room(conn) && exec->output_fds[index] >= 0) {
    ssize_t n = RETRY(read(exec->output_fds[index], bytes, sizeof bytes));
    if (n > 0) {
      uint8_t type = index == 0 ? SKEP_FRAME_STDOUT : SKEP_FRAME_STDERR;
      if (!conn_send(shim, conn, type, bytes, (size_t)n)) return;
    } else if (n < 0 && errno == EAGAIN && !exec->exited) {
      return;
    } else {
      /* The end; or nothing more after the command's end, though a child of it holds the pipe. */
      release_fd(&exec->output_fds[index]);
    }
  }
}

void session_reaped(struct shim *shim, struct conn *conn, int32_t code) {
  conn->exec->pid = 0;
  conn->exec->exited = true;
  conn->exec->exit_code = code;
  release_fd(&conn->exec->input_fd);
  session_finish(shim, conn);
}

void session_finish(struct shim *shim, struct conn *conn) {
  struct exec *exec = conn->exec;
  if (!exec->exited || exec->status_fd >= 0) return;
  for (int i = 0; i < 2 && conn->fd >= 0; i++) session_output(shim, conn, i);
  if (conn->fd < 0 || exec->output_fds[0] >= 0 || exec->output_fds[1] >= 0) return;
  int32_t code = exec->exit_code;
  if (!conn_send(shim, conn, SKEP_FRAME_EXEC_EXIT, &code, sizeof code)) return;
  exec_release(exec);
  free(exec);
  conn->exec = NULL;
  conn->closing = true;
}
