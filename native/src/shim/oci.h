/*
 * A container that another OCI runtime makes, as crun or runc do. The task directory is its bundle, with
 * the `config.json` that the daemon wrote; the root that this names is mounted here. What follows the
 * making - output, signals, execs, the end - is the shim's as with its own containers.
 */
#ifndef SKEP_SHIM_OCI_H
#define SKEP_SHIM_OCI_H

#include "util.h"

struct shim;

struct oci {
  char *directory;     /* of the task, absolute */
  int32_t starter_pid; /* of the runtime's `start`, until it is reaped */
  int starter_fd;
  /* The command that it cannot find or execute. Then the container is one of our own, which waits for its
   * start to fail: who asked for it is told at that time. */
  bool refused;
  struct skep_error refusal;
};

/* The container, with its init waiting; waits for that. */
int oci_create(struct shim *shim, struct skep_error *err);
/* Begins the start; its outcome comes with the end of `starter_pid`, by oci_started. */
int oci_start(struct shim *shim, struct skep_error *err);
/* @param status of waitpid */
int oci_started(struct shim *shim, int status, struct skep_error *err);
/* For a starter whose container has ended: its status. */
int oci_await_starter(struct shim *shim);
/* Of a container that has ended: what the runtime keeps of it. */
void oci_delete(struct shim *shim);

#endif
