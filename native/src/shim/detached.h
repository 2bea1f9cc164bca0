/*
 * Mounts that are made outside of the container, where the host's rights are, and are put in by its
 * init: all binds, devices and the root of a container with a user namespace of its own, binds that
 * share their mounts with the host, and binds of what another container has mounted. They wait at
 * descriptors of fixed numbers.
 */
#ifndef SKEP_SHIM_DETACHED_H
#define SKEP_SHIM_DETACHED_H

#include "spec.h"

/* The root; then one for each mount of the spec, then one for each device, where it has one. */
#define DETACHED_ROOT_FD 100
#define BIND_SOURCE_MAX 4096

static inline int detached_mount_fd(uint32_t index) { return DETACHED_ROOT_FD + 1 + (int)index; }
static inline int detached_device_fd(const struct spec *spec, uint32_t index) {
  return detached_mount_fd(spec->mounts.count) + (int)index;
}
/* The first number above all of them. */
static inline int detached_end(const struct spec *spec) {
  return detached_device_fd(spec, spec->devices.count);
}

/* Whether this mount of the spec is made outside. */
bool is_detached(const struct spec *spec, const struct mount_entry *entry);
/* Expects the task directory as working directory. What it opened goes with detached_close. */
int detached_open(const struct spec *spec, struct skep_error *err);
void detached_close(const struct spec *spec);
/* Opens one bind at a descriptor of that number. `users`: for one whose owners are mapped; -1 = none. */
int detached_bind(const struct mount_entry *entry, int number, int users, struct skep_error *err);
/* The source of a bind as a path to use: by a descriptor, -1 = none, when no link in it may be followed.
 * -1 with errno. */
int bind_source(const struct mount_entry *entry, char path[BIND_SOURCE_MAX], int *fd);
/* Puts one at the place of a descriptor of the caller's own mount namespace. */
int detached_attach(int fd, int target);

#endif
