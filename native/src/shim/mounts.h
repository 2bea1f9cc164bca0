/* Everything that the container sees as files. Runs in the init, inside its new mount namespace. */
#ifndef SKEP_SHIM_MOUNTS_H
#define SKEP_SHIM_MOUNTS_H

#include "spec.h"

/*
 * Expects the task directory as working directory, with `upper`, `work` and `merged` in it. On
 * success "/" is the container's root and nothing of the host's is reachable by a path.
 */
int build_root(const struct spec *spec, struct skep_error *err);
/* The overlay of the image's layers at `merged`. */
int mount_overlay(const struct spec *spec, struct skep_error *err);
/*
 * First, with mapped users and while files of the host's root may still be reached: puts the detached
 * root in its place and makes it the working directory.
 */
int enter_mapped_root(struct skep_error *err);

#endif
