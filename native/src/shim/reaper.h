/* Pid 1 of a container that asked for an init: one child, and whatever it leaves behind. */
#ifndef SKEP_SHIM_REAPER_H
#define SKEP_SHIM_REAPER_H

#include <stdbool.h>

/* The name under which the shim's program is this instead: `skep-init -- COMMAND ARGUMENT...`. */
#define REAPER_NAME "skep-init"
#define REAPER_PATH "/sbin/docker-init" /* where other runtimes have it bound in, and Docker's own is */
#define REAPER_STATUS_FD 3 /* as arrange_fds leaves it */

bool is_reaper(const char *program);
/* `args` is the command. Never returns; exits as the command did. */
_Noreturn void reaper_main(char **args, char **env);

#endif
