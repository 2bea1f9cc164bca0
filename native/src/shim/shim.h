/* The state of one shim: one container, its log, the connections of agents. */
#ifndef SKEP_SHIM_SHIM_H
#define SKEP_SHIM_SHIM_H

#include <poll.h>

#include "container.h"
#include "exec.h"
#include "log.h"
#include "oci.h"
#include "spec.h"

#define CONNS_MAX 128
#define OUT_BYTES_MAX 65536 /* a slow reader of an exec holds up that exec, nothing else */
#define EARLY_EXITS_MAX 32
#define OUTPUT_BYTES 32768 /* of the container, read at once */
/* At the end all that the pipes hold goes out, on top of what waits: twice 64 KiB. */
#define ATTACHED_BYTES_MAX (OUT_BYTES_MAX + 2 * 65536 + 4096)

struct conn {
  int fd; /* -1 = free */
  uint8_t *in, *out;
  size_t in_length, in_capacity;
  size_t stdin_done; /* of the STDIN frame at the head of `in`, already written */
  size_t out_at, out_length;
  bool awaits_start;
  uint32_t request; /* of the START or EXEC that awaits its reply */
  bool closing; /* once `out` is empty */
  bool attached; /* gets the container's output; its STDIN is the container's */
  int64_t stalled_ms; /* since when it has no room; 0 = it has */
  struct exec *exec;
};

/* A child that was reaped before we were told what it is. */
struct early_exit {
  int32_t pid, code;
};

struct shim {
  struct spec spec;
  struct container container;
  struct oci oci;
  struct log log;
  struct log_stream streams[2];
  struct conn conns[CONNS_MAX];
  struct early_exit early_exits[EARLY_EXITS_MAX];
  unsigned early_exit_next;
  int signal_fd, listen_fd;
  int launch_fd; /* until there is a container; then it is a connection */
  enum skep_status status;
  bool prepared;        /* the init is ready to be started */
  bool start_requested;
  struct skep_error start_error; /* errno_value 0: none */
  int32_t init_pid;     /* stays after the init's end */
  int64_t created_nanos, started_nanos, finished_nanos;
  int32_t exit_code, exit_signal;
  bool oom_killed;
  bool state_due, exit_due; /* not on disk yet: the disk may be full */
};

/* main.c: a start that failed, whoever waits for it. */
void container_start_failed(struct shim *shim, const struct skep_error *err);

/* state.c: the files `state` and `exit` of the task directory. */
/* Failure leaves the file due; `write_due` tries again. `exit` is what the shim lives for. */
void write_state(struct shim *shim);
void write_exit(struct shim *shim);
void write_due(struct shim *shim);
/* The end of all processes of the group, where no pid namespace ends them with the init. */
void end_group(const struct spec *spec);
bool read_oom_killed(const struct spec *spec);

/* conn.c: the protocol on the shim's socket. */
int conn_listen(struct shim *shim, struct skep_error *err);
void conn_accept(struct shim *shim);
/* Makes the socket that the shim was started with a connection, which was not told anything yet. */
struct conn *conn_open(struct shim *shim, int fd);
void conn_hello(struct shim *shim, struct conn *conn);
void conn_read(struct shim *shim, struct conn *conn);
void conn_write(struct shim *shim, struct conn *conn);
/* Handles the whole frames that wait in `in`. */
void conn_handle(struct shim *shim, struct conn *conn);
bool conn_blocked(const struct conn *conn); /* a STDIN frame waits for the command to read */
void conn_close(struct shim *shim, struct conn *conn);
/* Queues a frame; false when there is no room (then the peer is cut off). */
bool conn_send(struct shim *shim, struct conn *conn, uint8_t type, const void *payload,
               size_t length);
/* The end of the container, as the file `exit` has it. */
bool conn_send_exit(struct shim *shim, struct conn *conn);
void conn_reply(struct shim *shim, struct conn *conn, uint32_t request, int32_t result,
                const struct skep_error *err);

/* attached.c: connections that see the container's own output and write to its input. */
void attached_start(struct shim *shim, struct conn *conn, uint32_t request);
void attached_output(struct shim *shim, int index, const char *bytes, size_t length);
bool attached_have_room(const struct shim *shim);
/* A reader holds up the container as the person at a terminal would, but not for ever. */
void attached_cut_stalled(struct shim *shim, int64_t now_ms);

/* session.c: an exec and the connection that owns it. */
void session_start(struct shim *shim, struct conn *conn, uint32_t request, const uint8_t *payload,
                   size_t length);
void session_status(struct shim *shim, struct conn *conn);
void session_output(struct shim *shim, struct conn *conn, int index);
void session_reaped(struct shim *shim, struct conn *conn, int32_t code);
void session_finish(struct shim *shim, struct conn *conn);
bool session_has_room(const struct conn *conn);
struct conn *session_of(struct shim *shim, int32_t pid, bool helper);

#endif
