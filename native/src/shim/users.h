/* User namespaces: their maps, and the way into one. */
#ifndef SKEP_SHIM_USERS_H
#define SKEP_SHIM_USERS_H

#include "spec.h"

/* A namespace with the maps of the spec and nobody in it, for mounts that map owners: its descriptor. */
int users_make(const struct spec *spec, struct skep_error *err);
/* Of a process that was cloned into a namespace of its own. */
int users_map(const struct spec *spec, int32_t pid, struct skep_error *err);
/* Inside: from nobody to the namespace's root, with all rights there. */
int users_become_root(struct skep_error *err);

#endif
