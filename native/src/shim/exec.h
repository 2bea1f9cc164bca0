/* A further command inside the running container. */
#ifndef SKEP_SHIM_EXEC_H
#define SKEP_SHIM_EXEC_H

#include "container.h"
#include "spec.h"

struct exec {
  int32_t pid;         /* of the command, in the host's numbers; 0 until known and after its end */
  int32_t command_pid; /* as pid, but stays */
  int32_t helper_pid;  /* the process that entered the namespaces; 0 when reaped */
  int status_fd;
  int input_fd;        /* -1: none or closed */
  int output_fds[2];   /* stdout, stderr; -1 at their end. With a terminal: the master, -1 */
  bool exited;
  int32_t exit_code;
};

/* Forks the helper; the outcome comes over status_fd (STATUS_PID, then STATUS_ERROR or the end). */
int exec_start(const struct spec *spec, int container_pid_fd, const struct process *process,
               struct exec *exec, struct skep_error *err);
void exec_release(struct exec *exec);

#endif
