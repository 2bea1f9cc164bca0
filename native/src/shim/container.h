/* The container's init: made blocked, attached to its cgroups, let go. */
#ifndef SKEP_SHIM_CONTAINER_H
#define SKEP_SHIM_CONTAINER_H

#include "spec.h"

/* What the init (or an exec) writes to its status pipe; the pipe's end without a record = exec done. */
struct status_record {
  int32_t kind;
  int32_t pid;
  struct skep_error err;
};
/* STATUS_TERMINAL carries the master's descriptor. */
enum status_kind { STATUS_READY = 1, STATUS_ERROR = 2, STATUS_PID = 3, STATUS_TERMINAL = 4 };

struct container {
  int32_t pid;   /* 0 before and after its life */
  int pid_fd;
  int go_fd;     /* one byte lets the init make its next move */
  int status_fd; /* -1 once the command runs */
  int input_fd;  /* -1: there is none, or it was closed */
  int output_fds[2]; /* stdout, stderr; -1 at their end. With a terminal: the master, -1 */
  int netns_fd;  /* made ahead, its loopback up, for an init that needs a new one; -1: none */
};

/* Clones the init, attaches it to its cgroups and lets it build its root. Does not wait for that. */
int container_create(const struct spec *spec, struct container *container, struct skep_error *err);
/* Lets the prepared init run the command. The outcome comes over status_fd. */
int container_start(const struct spec *spec, struct container *container, struct skep_error *err);

/* For children: moves fds to 0, 1, 2, 3 (status) and 4 (go, or -1), closes every other one but the
 * detached mounts below `kept_end`; 0 = those too. */
int arrange_fds(int input, int output, int error, int *status_fd, int *go_fd, int kept_end);
/* Makes a terminal, sends its master over `status_fd`. Returns the command's side. */
int hand_over_terminal(const struct process *process, int status_fd, struct skep_error *err);
int bring_loopback_up(struct skep_error *err);
void send_status(int status_fd, int32_t kind, int32_t pid, const struct skep_error *err);

#endif
