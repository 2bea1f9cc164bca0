/*
 * skep-shim: the parent of one container. Leaves its own parent, is told its spec, makes the container,
 * keeps its output and its exit, serves the socket. Ends with the container, once its exit is on disk.
 * It decides nothing: what to run, restart or limit is the agent's business.
 */
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "launch.h"
#include "process.h"
#include "reaper.h"
#include "terminal.h"

#define FINISH_MS 2000 /* for connected agents to take the last frames, for the killed to be reaped */
#define RETRY_MS 500   /* between attempts to write a file that is due */
#define STALL_LOOK_MS 500 /* how often an attached reader that does not read is looked at */

/* ---- what the container tells ---- */

static void command_runs(struct shim *shim) {
  release_fd(&shim->container.status_fd);
  shim->status = SKEP_RUNNING;
  for (int i = 0; i < CONNS_MAX; i++) {
    struct conn *conn = &shim->conns[i];
    if (conn->fd < 0 || !conn->awaits_start) continue;
    conn->awaits_start = false;
    conn_hello(shim, conn); /* with the time of the start */
    conn_reply(shim, conn, conn->request, 0, NULL);
    conn_write(shim, conn);
  }
  write_state(shim);
}

void container_start_failed(struct shim *shim, const struct skep_error *err) {
  release_fd(&shim->container.status_fd);
  shim->start_error = *err;
  if (!shim->prepared) launch_failed(shim, err);
  for (int i = 0; i < CONNS_MAX; i++) {
    struct conn *conn = &shim->conns[i];
    if (conn->fd < 0 || !conn->awaits_start) continue;
    conn->awaits_start = false;
    conn_reply(shim, conn, conn->request, -1, err);
  }
}

/* Of the runtime's `start`: then the container runs, or is to end. */
static void starter_ended(struct shim *shim, int status) {
  struct skep_error err;
  if (oci_started(shim, status, &err) == 0) {
    command_runs(shim);
    return;
  }
  container_start_failed(shim, &err);
  if (shim->container.pid > 0) kill(shim->container.pid, SIGKILL);
}

/* The init's output pipes end with its own use of them: all comes from the terminal now. */
static void take_terminal(struct shim *shim, int master) {
  struct container *container = &shim->container;
  release_fd(&container->output_fds[0]);
  release_fd(&container->output_fds[1]);
  set_nonblocking(master);
  container->output_fds[0] = master;
  container->input_fd = fcntl(master, F_DUPFD_CLOEXEC, 0);
}

static void read_status(struct shim *shim) {
  struct status_record record;
  int descriptor;
  ssize_t n = terminal_receive(shim->container.status_fd, &record, sizeof record, &descriptor);
  if (n < 0 && errno == EAGAIN) return;
  if (n == sizeof record && record.kind == STATUS_TERMINAL && descriptor >= 0) {
    take_terminal(shim, descriptor);
    return;
  }
  release_fd(&descriptor);
  if (n == sizeof record && record.kind == STATUS_READY) {
    shim->prepared = true;
    launch_done(shim);
  } else if (n == sizeof record) {
    container_start_failed(shim, &record.err);
  } else if (shim->start_requested) {
    command_runs(shim);
  } else {
    struct skep_error err;
    fail_with(&err, ECHILD, "init", "the container's init ended before its start");
    container_start_failed(shim, &err);
  }
}

/* `last`: the container has ended, take all there is. */
static void read_output(struct shim *shim, int index, bool last) {
  static char bytes[OUTPUT_BYTES];
  int *fd = &shim->container.output_fds[index];
  while (*fd >= 0) {
    ssize_t n = RETRY(read(*fd, bytes, sizeof bytes));
    if (n > 0) {
      log_append(&shim->log, &shim->streams[index], bytes, (size_t)n);
      attached_output(shim, index, bytes, (size_t)n);
    } else if (n == 0 || errno != EAGAIN || last)
      release_fd(fd);
    if (!last) break;
  }
  if (*fd < 0) log_flush(&shim->log, &shim->streams[index]);
}

static void container_ended(struct shim *shim, int status) {
  /* What it still said: at most a terminal, "ready" and the end, or an error. Ends us if it never
   * got ready. */
  for (int i = 0; i < 3 && shim->container.status_fd >= 0; i++) read_status(shim);
  shim->finished_nanos = now_nanos();
  shim->exit_signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
  shim->exit_code = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
  if (shim->spec.oci_runtime[0] && shim->start_error.errno_value != 0) {
    shim->exit_signal = 0; /* it was our kill: its command never ran */
    shim->exit_code = exec_exit_code(&shim->start_error);
  }
  shim->oom_killed = read_oom_killed(&shim->spec);
  shim->status = SKEP_EXITED;
  release_fd(&shim->container.input_fd);
  if (!(shim->spec.clone_flags & CLONE_NEWPID)) end_group(&shim->spec);
  read_output(shim, 0, true);
  read_output(shim, 1, true);
  /* Nobody waits for the disk; that the connection ends tells that the file is there. */
  for (int i = 0; i < CONNS_MAX; i++) {
    struct conn *conn = &shim->conns[i];
    if (conn->fd >= 0 && conn->exec == NULL && conn_send_exit(shim, conn)) conn_write(shim, conn);
  }
  write_exit(shim);
  if (shim->spec.oci_runtime[0] && !shim->oci.refused) oci_delete(shim);
  for (int i = 0; i < CONNS_MAX; i++) {
    struct conn *conn = &shim->conns[i];
    if (conn->fd < 0 || conn->exec != NULL) continue;
    conn->closing = true;
    if (conn->out_length == conn->out_at) conn_close(shim, conn);
  }
}

static void reap(struct shim *shim) {
  struct signalfd_siginfo info;
  int status;
  pid_t pid;
  while (read(shim->signal_fd, &info, sizeof info) > 0) continue;
  while ((pid = RETRY(waitpid(-1, &status, WNOHANG))) > 0) {
    int32_t code = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
    struct conn *conn;
    if (pid == shim->oci.starter_pid) {
      starter_ended(shim, status);
    } else if (pid == shim->container.pid) {
      shim->container.pid = 0;
      if (shim->oci.starter_pid > 0) starter_ended(shim, oci_await_starter(shim));
      container_ended(shim, status);
    } else if ((conn = session_of(shim, pid, true)) != NULL) {
      conn->exec->helper_pid = 0;
    } else if ((conn = session_of(shim, pid, false)) != NULL) {
      session_reaped(shim, conn, code);
    } else {
      struct early_exit *slot = &shim->early_exits[shim->early_exit_next++ % EARLY_EXITS_MAX];
      *slot = (struct early_exit){.pid = pid, .code = code};
    }
  }
}

/* ---- the event loop ---- */

struct poll_set {
  struct pollfd entries[8 + CONNS_MAX * 5];
  nfds_t count;
};

static struct pollfd *watch(struct poll_set *set, int fd, short events) {
  set->entries[set->count] = (struct pollfd){.fd = fd, .events = events};
  return &set->entries[set->count++];
}

static void watch_conn(const struct shim *shim, struct poll_set *set, const struct conn *conn) {
  short events = 0;
  if (!conn_blocked(conn) && !conn->closing) events |= POLLIN;
  if (conn->out_length > conn->out_at) events |= POLLOUT;
  watch(set, conn->fd, events);
  const struct exec *exec = conn->exec;
  if (conn->attached) watch(set, conn_blocked(conn) ? shim->container.input_fd : -1, POLLOUT);
  if (exec == NULL) return;
  watch(set, exec->status_fd, POLLIN);
  watch(set, conn_blocked(conn) ? exec->input_fd : -1, POLLOUT);
  bool room = exec->status_fd < 0 && session_has_room(conn);
  for (int i = 0; i < 2; i++) watch(set, room ? exec->output_fds[i] : -1, POLLIN);
}

/* Tries everything that a connection could do now; each attempt is non-blocking. */
static void serve_conn(struct shim *shim, struct conn *conn) {
  if (conn->fd >= 0 && conn->exec != NULL && conn->exec->status_fd >= 0)
    session_status(shim, conn);
  if (conn->fd >= 0 && conn->exec != NULL && conn->exec->status_fd < 0) {
    for (int i = 0; i < 2 && conn->fd >= 0 && conn->exec != NULL; i++) session_output(shim, conn, i);
    if (conn->fd >= 0 && conn->exec != NULL) session_finish(shim, conn);
  }
  if (conn->fd >= 0 && conn_blocked(conn)) conn_handle(shim, conn);
  if (conn->fd >= 0 && !conn_blocked(conn) && !conn->closing) conn_read(shim, conn);
  if (conn->fd >= 0 && conn->out_length > conn->out_at) conn_write(shim, conn);
}

static bool conns_busy(const struct shim *shim) {
  for (int i = 0; i < CONNS_MAX; i++) {
    const struct conn *conn = &shim->conns[i];
    if (conn->fd >= 0 && (conn->exec != NULL || conn->out_length > conn->out_at)) return true;
  }
  return false;
}

/* Who is left to us by the container, killed but not reaped yet: nobody else may reap it. */
static bool has_children(void) {
  siginfo_t info;
  return waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) == 0;
}

/* One turn: wait, then serve whoever is ready. */
static void turn(struct shim *shim, struct poll_set *set, int timeout_ms) {
  set->count = 0;
  const struct pollfd *signals = watch(set, shim->signal_fd, POLLIN);
  const struct pollfd *listener = watch(set, shim->listen_fd, POLLIN);
  const struct pollfd *status = watch(set, shim->container.status_fd, POLLIN);
  const struct pollfd *outputs[2];
  bool room = attached_have_room(shim);
  for (int i = 0; i < 2; i++)
    outputs[i] = watch(set, room ? shim->container.output_fds[i] : -1, POLLIN);
  nfds_t first[CONNS_MAX + 1];
  for (int i = 0; i < CONNS_MAX; i++) {
    first[i] = set->count;
    if (shim->conns[i].fd >= 0) watch_conn(shim, set, &shim->conns[i]);
  }
  first[CONNS_MAX] = set->count;
  if (poll(set->entries, set->count, timeout_ms) < 0) return;
  if (status->revents) read_status(shim);
  for (int i = 0; i < 2; i++)
    if (outputs[i]->revents) read_output(shim, i, false);
  for (int i = 0; i < CONNS_MAX; i++) {
    short ready = 0;
    for (nfds_t entry = first[i]; entry < first[i + 1]; entry++) ready |= set->entries[entry].revents;
    /* A peer that is gone while its input waits to be read would be met only after that. */
    bool gone = first[i] < first[i + 1] && (set->entries[first[i]].revents & (POLLHUP | POLLERR));
    if (gone && conn_blocked(&shim->conns[i])) conn_close(shim, &shim->conns[i]);
    if (ready) serve_conn(shim, &shim->conns[i]);
  }
  if (listener->revents) conn_accept(shim);
  if (signals->revents) reap(shim);
}

/* However busy the container is. */
static void retry_due(struct shim *shim) {
  static int64_t next_ms;
  if ((!shim->state_due && !shim->exit_due) || monotonic_ms() < next_ms) return;
  write_due(shim);
  next_ms = monotonic_ms() + RETRY_MS;
}

static _Noreturn void serve(struct shim *shim) {
  static struct poll_set set;
  int64_t deadline_ms = 0;
  for (;;) {
    int timeout_ms = -1;
    if (shim->status == SKEP_EXITED && !shim->exit_due) {
      if (deadline_ms == 0) deadline_ms = monotonic_ms() + FINISH_MS;
      int64_t left_ms = deadline_ms - monotonic_ms();
      if (left_ms <= 0 || (!conns_busy(shim) && !has_children())) break;
      timeout_ms = (int)left_ms;
    } else if (shim->state_due || shim->exit_due) {
      timeout_ms = RETRY_MS;
    } else if (!attached_have_room(shim)) {
      timeout_ms = STALL_LOOK_MS;
    }
    turn(shim, &set, timeout_ms);
    retry_due(shim);
    attached_cut_stalled(shim, monotonic_ms());
  }
  unlink("sock");
  _exit(0);
}

int main(int argc, char **argv) {
  static struct shim shim = {.signal_fd = -1, .listen_fd = -1, .launch_fd = SKEP_LAUNCH_FD};
  struct skep_error err;
  if (argc > 2 && is_reaper(argv[0])) reaper_main(argv + 2, environ);
  if (argc != 2 || fcntl(SKEP_LAUNCH_FD, F_SETFD, FD_CLOEXEC) < 0) return 2;
  pid_t pid = fork();
  if (pid != 0) _exit(pid < 0 ? 1 : 0); /* the caller waits for this one only; init adopts the other */
  if (launch_stand_by(&shim, &err) < 0 || launch_prepare(&shim, argv[1], &err) < 0 ||
      launch_spec(&shim, &err) < 0)
    launch_failed(&shim, &err);
  shim.created_nanos = now_nanos();
  int made = shim.spec.oci_runtime[0] ? oci_create(&shim, &err)
                                      : container_create(&shim.spec, &shim.container, &err);
  if (made < 0) launch_failed(&shim, &err);
  shim.init_pid = shim.container.pid;
  write_state(&shim); /* while the init builds its root */
  if (shim.prepared) launch_done(&shim);
  serve(&shim);
}
