/*
 * The shim before its container: made ahead, it waits on the socket that it was started with for what
 * it is to be, and says on it how that went.
 */
#ifndef SKEP_SHIM_LAUNCH_H
#define SKEP_SHIM_LAUNCH_H

#include "shim.h"

/* What does not depend on the container: session, signals, a network namespace for it. */
int launch_stand_by(struct shim *shim, struct skep_error *err);
/* Waits for the task directory and goes there: directories of the root, the socket. `title`: as long as
 * it may get in a list of processes. */
int launch_prepare(struct shim *shim, char *title, struct skep_error *err);
/* Waits for the spec and reads it. */
int launch_spec(struct shim *shim, struct skep_error *err);
/* Says why there is no container, and ends. */
_Noreturn void launch_failed(struct shim *shim, const struct skep_error *err);
/* The init waits: the socket becomes a connection and says hello. */
void launch_done(struct shim *shim);

#endif
