/*
 * The last steps before a command of the container runs: limits, identity, capabilities, seccomp,
 * working directory, exec. The same for the init and for an exec; runs inside the container.
 */
#ifndef SKEP_SHIM_PROCESS_H
#define SKEP_SHIM_PROCESS_H

#include "spec.h"

/* What the command is confined by, besides what its process says. */
struct confinement {
  const char *apparmor; /* profile; "" = as we are */
  int reaper_fd;        /* this program, to be pid 1 with the command as its child; -1 = no such thing */
};

/* Returns only on failure. err->detail names the command when execve failed. */
int run_process(const struct process *process, const struct confinement *confinement,
                struct skep_error *err);
/* The last of it: signals as new, then execve, by the PATH of `env`. Returns only on failure. */
int execute_command(char **args, char **env, struct skep_error *err);
/* What a shell would exit with after that failure. */
int exec_exit_code(const struct skep_error *err);
/* Standard input of the calling process, which is in the container already: its own /dev/null. Where a bind over
 * /dev has none, a pipe at its end: the host's would be the host's to change the owner of. */
int use_null_input(struct skep_error *err);

/* Writes oom_score_adj of the calling process; needs a /proc of this or an outer pid namespace. */
int apply_oom_score(const struct process *process, struct skep_error *err);

/* Of a process, 0 = the calling one; its hard limits may be raised by the host's root only. */
int apply_rlimits(int32_t pid, const struct process *process, struct skep_error *err);

#endif
