/* The protocol on the shim's socket: frames in, frames out, each connection within its bounds. */
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "kernel.h"
#include "shim.h"

#define HEADER_BYTES 5 /* u32 length, u8 type */
#define READ_BYTES 16384

int conn_listen(struct shim *shim, struct skep_error *err) {
  struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = "sock"};
  for (int i = 0; i < CONNS_MAX; i++) shim->conns[i].fd = -1;
  unlink(address.sun_path);
  shim->listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (shim->listen_fd < 0) return fail(err, "socket", "shim socket");
  mode_t mask = umask(0177);
  int bound = bind(shim->listen_fd, (struct sockaddr *)&address, sizeof address);
  umask(mask);
  if (bound < 0) return fail(err, "bind", "shim socket");
  if (listen(shim->listen_fd, 64) < 0) return fail(err, "listen", "shim socket");
  return 0;
}

struct conn *conn_open(struct shim *shim, int fd) {
  for (int i = 0; i < CONNS_MAX; i++) {
    struct conn *conn = &shim->conns[i];
    if (conn->fd >= 0) continue;
    memset(conn, 0, sizeof *conn);
    conn->fd = fd;
    return conn;
  }
  close(fd); /* every slot is taken: the peer sees the end without a hello */
  return NULL;
}

void conn_hello(struct shim *shim, struct conn *conn) {
  struct skep_hello hello = {.version = SKEP_PROTOCOL_VERSION,
                             .status = (uint32_t)shim->status,
                             .shim_pid = getpid(),
                             .init_pid = shim->container.pid,
                             .created_nanos = shim->prepared ? shim->created_nanos : 0,
                             .started_nanos = shim->started_nanos};
  conn_send(shim, conn, SKEP_FRAME_HELLO, &hello, sizeof hello);
}

void conn_accept(struct shim *shim) {
  int fd = RETRY(accept4(shim->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK));
  if (fd < 0) return;
  struct conn *conn = conn_open(shim, fd);
  if (conn == NULL) return;
  conn_hello(shim, conn);
  if (shim->status == SKEP_EXITED) conn_send_exit(shim, conn);
}

void conn_close(struct shim *shim, struct conn *conn) {
  if (conn->fd < 0) return;
  if (conn->exec != NULL) {
    /* An exec lives as long as its connection. Not reaped yet, so the pid is still ours. */
    if (conn->exec->pid > 0) kill(conn->exec->pid, SIGKILL);
    exec_release(conn->exec);
    free(conn->exec);
  }
  close(conn->fd);
  free(conn->in);
  free(conn->out);
  memset(conn, 0, sizeof *conn);
  conn->fd = -1;
}

bool conn_send(struct shim *shim, struct conn *conn, uint8_t type, const void *payload,
               size_t length) {
  uint32_t size = (uint32_t)length + 1;
  if (conn->fd < 0) return false;
  size_t capacity = conn->attached ? ATTACHED_BYTES_MAX : OUT_BYTES_MAX;
  if (conn->out == NULL) conn->out = malloc(capacity);
  if (conn->out_at > 0) {
    memmove(conn->out, conn->out + conn->out_at, conn->out_length - conn->out_at);
    conn->out_length -= conn->out_at;
    conn->out_at = 0;
  }
  if (conn->out == NULL || conn->out_length + HEADER_BYTES + length > capacity) {
    conn_close(shim, conn);
    return false;
  }
  memcpy(conn->out + conn->out_length, &size, 4);
  conn->out[conn->out_length + 4] = type;
  if (length > 0) memcpy(conn->out + conn->out_length + HEADER_BYTES, payload, length);
  conn->out_length += HEADER_BYTES + length;
  return true;
}

bool conn_send_exit(struct shim *shim, struct conn *conn) {
  struct skep_exit record = {.started_nanos = shim->started_nanos,
                             .finished_nanos = shim->finished_nanos,
                             .exit_code = shim->exit_code,
                             .signal = shim->exit_signal,
                             .oom_killed = shim->oom_killed};
  memcpy(record.start_error, &shim->start_error, sizeof record.start_error);
  return conn_send(shim, conn, SKEP_FRAME_EXIT, &record, sizeof record);
}

void conn_reply(struct shim *shim, struct conn *conn, uint32_t request, int32_t result,
                const struct skep_error *err) {
  uint8_t payload[8 + sizeof(struct skep_error)] = {0};
  memcpy(payload, &request, 4);
  memcpy(payload + 4, &result, 4);
  if (err != NULL) memcpy(payload + 8, err, sizeof *err);
  conn_send(shim, conn, SKEP_FRAME_REPLY, payload, sizeof payload);
}

void conn_write(struct shim *shim, struct conn *conn) {
  while (conn->out_at < conn->out_length) {
    ssize_t n = RETRY(send(conn->fd, conn->out + conn->out_at, conn->out_length - conn->out_at,
                           MSG_NOSIGNAL));
    if (n < 0) {
      if (errno != EAGAIN) conn_close(shim, conn);
      return;
    }
    conn->out_at += (size_t)n;
  }
  free(conn->out);
  conn->out = NULL;
  conn->out_at = conn->out_length = 0;
  if (conn->closing) conn_close(shim, conn);
}

void conn_read(struct shim *shim, struct conn *conn) {
  if (conn->in_capacity - conn->in_length < READ_BYTES) {
    size_t capacity = conn->in_length + READ_BYTES;
    uint8_t *in = realloc(conn->in, capacity);
    if (in == NULL) {
      conn_close(shim, conn);
      return;
    }
    conn->in = in;
    conn->in_capacity = capacity;
  }
  ssize_t n = RETRY(recv(conn->fd, conn->in + conn->in_length, conn->in_capacity - conn->in_length, 0));
  if (n < 0 && errno == EAGAIN) return;
  if (n <= 0) {
    conn_close(shim, conn);
    return;
  }
  conn->in_length += (size_t)n;
  conn_handle(shim, conn);
}

static int32_t payload_i32(const uint8_t *payload, size_t length, size_t at) {
  int32_t value = -1;
  if (at + 4 <= length) memcpy(&value, payload + at, 4);
  return value;
}

static void refuse(struct shim *shim, struct conn *conn, uint32_t request, int errno_value,
                   const char *what) {
  struct skep_error err;
  fail_with(&err, errno_value, "shim", "%s", what);
  conn_reply(shim, conn, request, -1, &err);
}

static void handle_start(struct shim *shim, struct conn *conn, uint32_t request) {
  struct skep_error err;
  if (!shim->prepared || shim->start_requested || shim->container.pid == 0) {
    refuse(shim, conn, request, EBUSY, "start: the container is not waiting to be started");
    return;
  }
  shim->start_requested = true;
  shim->started_nanos = now_nanos();
  conn->awaits_start = true;
  conn->request = request;
  int begun = shim->spec.oci_runtime[0] ? oci_start(shim, &err)
                                        : container_start(&shim->spec, &shim->container, &err);
  if (begun == 0) return;
  container_start_failed(shim, &err);
  kill(shim->container.pid, SIGKILL);
}

static void handle_signal(struct shim *shim, struct conn *conn, uint32_t request,
                          int32_t signal_number) {
  struct skep_error err;
  if (shim->container.pid == 0) {
    refuse(shim, conn, request, ESRCH, "signal: the container has ended");
  } else if (kill(shim->container.pid, signal_number) < 0) {
    fail(&err, "kill", "signal %d", signal_number);
    conn_reply(shim, conn, request, -1, &err);
  } else {
    conn_reply(shim, conn, request, 0, NULL);
  }
}

/* u16 rows, u16 columns */
static int set_size(int terminal, const uint8_t *payload) {
  struct winsize size = {0};
  memcpy(&size.ws_row, payload, 2);
  memcpy(&size.ws_col, payload + 2, 2);
  return ioctl(terminal, TIOCSWINSZ, &size);
}

static void handle_resize(struct shim *shim, struct conn *conn, uint32_t request,
                          const uint8_t *payload, size_t length) {
  struct skep_error err;
  if (length != 4 || !(shim->spec.process.flags & SKEP_PROCESS_TTY)) {
    refuse(shim, conn, request, ENOTTY, "resize: the container has no terminal");
    return;
  }
  int result = set_size(shim->container.output_fds[0], payload);
  if (result < 0) fail(&err, "ioctl", "resize");
  conn_reply(shim, conn, request, result, result < 0 ? &err : NULL);
}

/* payload: i32 pid, then i32 signal, or u16 rows and u16 columns */
static void handle_exec_control(struct shim *shim, struct conn *conn, uint8_t type,
                                uint32_t request, const uint8_t *payload, size_t length) {
  struct skep_error err;
  int result;
  if (type == SKEP_FRAME_RESIZE) {
    handle_resize(shim, conn, request, payload, length);
    return;
  }
  struct conn *target = session_of(shim, payload_i32(payload, length, 0), false);
  if (target == NULL || length != 8) {
    refuse(shim, conn, request, ESRCH, "exec: no such process");
    return;
  }
  if (type == SKEP_FRAME_EXEC_SIGNAL) {
    result = kill(target->exec->pid, payload_i32(payload, length, 4));
  } else {
    result = set_size(target->exec->output_fds[0], payload + 4);
  }
  if (result < 0) fail(&err, type == SKEP_FRAME_EXEC_SIGNAL ? "kill" : "ioctl", "exec");
  conn_reply(shim, conn, request, result, result < 0 ? &err : NULL);
}

static void handle_request(struct shim *shim, struct conn *conn, uint8_t type,
                           const uint8_t *payload, size_t length) {
  if (length < 4) {
    conn_close(shim, conn);
    return;
  }
  uint32_t request = (uint32_t)payload_i32(payload, length, 0);
  payload += 4;
  length -= 4;
  if (type == SKEP_FRAME_START)
    handle_start(shim, conn, request);
  else if (type == SKEP_FRAME_SIGNAL)
    handle_signal(shim, conn, request, payload_i32(payload, length, 0));
  else if (type == SKEP_FRAME_EXEC)
    session_start(shim, conn, request, payload, length);
  else if (type == SKEP_FRAME_ATTACH)
    attached_start(shim, conn, request);
  else
    handle_exec_control(shim, conn, type, request, payload, length);
}

/* What this connection's STDIN goes to; NULL: nothing. */
static int *input_of(struct shim *shim, struct conn *conn) {
  if (conn->exec != NULL) return &conn->exec->input_fd;
  return conn->attached ? &shim->container.input_fd : NULL;
}

/* False: the frame has to wait at the head of `in`. */
static bool write_stdin(struct shim *shim, struct conn *conn, const uint8_t *payload, size_t length) {
  int *input = input_of(shim, conn);
  while (input != NULL && *input >= 0 && conn->stdin_done < length) {
    ssize_t n = RETRY(write(*input, payload + conn->stdin_done, length - conn->stdin_done));
    if (n < 0 && errno == EAGAIN) return false;
    if (n < 0)
      release_fd(input); /* the command reads no more: drop the rest */
    else
      conn->stdin_done += (size_t)n;
  }
  conn->stdin_done = 0;
  return true;
}

/* The container's terminal stays open: who attaches next may type again. */
static void close_stdin(struct shim *shim, struct conn *conn) {
  int *input = input_of(shim, conn);
  bool terminal = conn->exec == NULL && (shim->spec.process.flags & SKEP_PROCESS_TTY);
  if (input != NULL && !terminal) release_fd(input);
}

static bool handle_frame(struct shim *shim, struct conn *conn, uint8_t type,
                         const uint8_t *payload, size_t length) {
  switch (type) {
    case SKEP_FRAME_START:
    case SKEP_FRAME_SIGNAL:
    case SKEP_FRAME_EXEC:
    case SKEP_FRAME_EXEC_SIGNAL:
    case SKEP_FRAME_EXEC_RESIZE:
    case SKEP_FRAME_ATTACH:
    case SKEP_FRAME_RESIZE:
      handle_request(shim, conn, type, payload, length);
      return true;
    case SKEP_FRAME_STDIN:
      return write_stdin(shim, conn, payload, length);
    case SKEP_FRAME_STDIN_CLOSE:
      close_stdin(shim, conn);
      return true;
    default:
      conn_close(shim, conn); /* speaks another protocol */
      return true;
  }
}

/* The whole frame at the head of `in`: its size with the header; 0 = not all here. */
static size_t whole_frame(struct shim *shim, struct conn *conn) {
  uint32_t size;
  if (conn->in_length < HEADER_BYTES) return 0;
  memcpy(&size, conn->in, 4);
  if (size < 1 || size > SKEP_FRAME_BYTES_MAX) {
    conn_close(shim, conn);
    return 0;
  }
  return conn->in_length < 4 + (size_t)size ? 0 : 4 + (size_t)size;
}

bool conn_blocked(const struct conn *conn) {
  uint32_t size;
  if (conn->in_length < HEADER_BYTES) return false;
  memcpy(&size, conn->in, 4);
  return conn->in_length >= 4 + (size_t)size;
}

void conn_handle(struct shim *shim, struct conn *conn) {
  for (;;) {
    size_t size = whole_frame(shim, conn);
    if (size == 0 || conn->fd < 0) return;
    if (!handle_frame(shim, conn, conn->in[4], conn->in + HEADER_BYTES, size - HEADER_BYTES)) return;
    if (conn->fd < 0) return;
    conn->in_length -= size;
    memmove(conn->in, conn->in + size, conn->in_length);
    if (conn->in_length == 0) {
      free(conn->in);
      conn->in = NULL;
      conn->in_capacity = 0;
    }
  }
}
