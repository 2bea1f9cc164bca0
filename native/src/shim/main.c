/*
 * skep-shim TASK_DIRECTORY: the parent of one container. Reads its spec, leaves its own parent,
 * makes the container, keeps its output and its exit, serves the socket. Ends with the container,
 * once its exit is on disk.
 * It decides nothing: what to run, restart or limit is the agent's business.
 */
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "reaper.h"
#include "shim.h"
#include "terminal.h"

#define FINISH_MS 2000 /* for connected agents to take the last frames, for the killed to be reaped */
#define RETRY_MS 500   /* between attempts to write a file that is due */
#define STALL_LOOK_MS 500 /* how often an attached reader that does not read is looked at */

static _Noreturn void report(int fd, int32_t result, const struct skep_error *err) {
  struct skep_launch_report record = {.result = result, .shim_pid = getpid()};
  if (err != NULL) memcpy(record.err, err, sizeof *err);
  write_all(fd, &record, sizeof record);
  _exit(result < 0 ? 1 : 0);
}

static void report_created(struct shim *shim) {
  struct skep_launch_report record = {.result = shim->init_pid, .shim_pid = getpid()};
  write_all(shim->report_fd, &record, sizeof record);
  release_fd(&shim->report_fd);
}

/* The upper directory's mode becomes that of the container's "/". Those of an earlier run stay. */
static int make_root_directories(struct skep_error *err) {
  static const struct {
    const char *name;
    mode_t mode;
  } directories[] = {{"upper", 0755}, {"work", 0700}, {"merged", 0700}};
  umask(0);
  for (size_t i = 0; i < sizeof directories / sizeof *directories; i++)
    if (mkdir(directories[i].name, directories[i].mode) < 0 && errno != EEXIST)
      return fail(err, "mkdir", "%s", directories[i].name);
  umask(077);
  return 0;
}

static uint8_t *read_spec(size_t *length, struct skep_error *err) {
  struct stat status;
  cleanup_fd int fd = SKEP_SPEC_FD; /* read from its beginning: nobody has yet */
  if (fstat(fd, &status) < 0 || lseek(fd, 0, SEEK_SET) < 0) {
    fail(err, "fstat", "spec");
    return NULL;
  }
  *length = (size_t)status.st_size;
  uint8_t *bytes = malloc(*length + 1);
  if (bytes == NULL || read_full(fd, bytes, *length) != (ssize_t)*length) {
    fail(err, "read", "spec");
    return NULL;
  }
  return bytes;
}

static int prepare_shim(struct shim *shim, struct skep_error *err) {
  sigset_t signals;
  setsid();
  prctl(PR_SET_NAME, "skep-shim", 0, 0, 0);
  prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
  signal(SIGPIPE, SIG_IGN);
  sigfillset(&signals); /* nothing but SIGKILL ends the parent of a running container */
  sigprocmask(SIG_SETMASK, &signals, NULL);
  sigemptyset(&signals);
  sigaddset(&signals, SIGCHLD);
  shim->signal_fd = signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
  if (shim->signal_fd < 0) return fail(err, "signalfd", "SIGCHLD");
  shim->streams[0].stream = 1;
  shim->streams[1].stream = 2;
  if (log_open(&shim->log, shim->spec.log_bytes_max, shim->spec.log_files_max, err) < 0) return -1;
  return conn_listen(shim, err);
}

/* ---- what the container tells ---- */

static void command_runs(struct shim *shim) {
  release_fd(&shim->container.status_fd);
  shim->status = SKEP_RUNNING;
  write_state(shim);
  for (int i = 0; i < CONNS_MAX; i++) {
    struct conn *conn = &shim->conns[i];
    if (conn->fd < 0 || !conn->awaits_start) continue;
    conn->awaits_start = false;
    conn_reply(shim, conn, conn->request, 0, NULL);
  }
}

static void start_failed(struct shim *shim, const struct skep_error *err) {
  release_fd(&shim->container.status_fd);
  shim->start_error = *err;
  if (shim->report_fd >= 0) report(shim->report_fd, -1, err);
  for (int i = 0; i < CONNS_MAX; i++) {
    struct conn *conn = &shim->conns[i];
    if (conn->fd < 0 || !conn->awaits_start) continue;
    conn->awaits_start = false;
    conn_reply(shim, conn, conn->request, -1, err);
  }
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
    write_state(shim);
    report_created(shim);
  } else if (n == sizeof record) {
    start_failed(shim, &record.err);
  } else if (shim->start_requested) {
    command_runs(shim);
  } else {
    struct skep_error err;
    fail_with(&err, ECHILD, "init", "the container's init ended before its start");
    start_failed(shim, &err);
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
  shim->oom_killed = read_oom_killed(&shim->spec);
  shim->status = SKEP_EXITED;
  release_fd(&shim->container.input_fd);
  if (!(shim->spec.clone_flags & CLONE_NEWPID)) end_group(&shim->spec);
  read_output(shim, 0, true);
  read_output(shim, 1, true);
  write_exit(shim);
  for (int i = 0; i < CONNS_MAX; i++) {
    struct conn *conn = &shim->conns[i];
    if (conn->fd < 0 || conn->exec != NULL) continue;
    if (conn_send_exit(shim, conn)) conn->closing = true;
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
    if (pid == shim->container.pid) {
      shim->container.pid = 0;
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
  static struct shim shim = {.signal_fd = -1, .listen_fd = -1, .report_fd = SKEP_REPORT_FD};
  struct skep_error err;
  size_t length;
  if (argc > 2 && strcmp(argv[0], REAPER_NAME) == 0) reaper_main(argv + 2, environ);
  if (argc != 2 || fcntl(SKEP_REPORT_FD, F_SETFD, FD_CLOEXEC) < 0) return 2;
  if (chdir(argv[1]) < 0) {
    fail(&err, "chdir", "%s", argv[1]);
    report(SKEP_REPORT_FD, -1, &err);
  }
  if (make_root_directories(&err) < 0) report(SKEP_REPORT_FD, -1, &err);
  uint8_t *bytes = read_spec(&length, &err);
  if (bytes == NULL || parse_spec(bytes, length, &shim.spec, &err) < 0) report(SKEP_REPORT_FD, -1, &err);
  pid_t pid = fork();
  if (pid < 0) {
    fail(&err, "fork", "shim");
    report(SKEP_REPORT_FD, -1, &err);
  }
  if (pid > 0) _exit(0); /* the caller waits for this one only; init adopts the other */
  shim.created_nanos = now_nanos();
  if (prepare_shim(&shim, &err) < 0 || container_create(&shim.spec, &shim.container, &err) < 0)
    report(SKEP_REPORT_FD, -1, &err);
  shim.init_pid = shim.container.pid;
  serve(&shim);
}
