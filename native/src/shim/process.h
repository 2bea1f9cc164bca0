/*
 * The last steps before a command of the container runs: limits, identity, capabilities, seccomp,
 * working directory, exec. The same for the init and for an exec; runs inside the container.
 */
#ifndef SKEP_SHIM_PROCESS_H
#define SKEP_SHIM_PROCESS_H

#include "spec.h"

/* Returns only on failure. err->detail names the command when execve failed. */
int run_process(const struct process *process, struct skep_error *err);
/* Writes oom_score_adj of the calling process; needs a /proc of this or an outer pid namespace. */
int apply_oom_score(const struct process *process, struct skep_error *err);

#endif
