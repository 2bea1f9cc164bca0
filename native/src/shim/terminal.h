/* Terminals of a container: made in its own devpts, so that `tty` inside names a path that exists. */
#ifndef SKEP_SHIM_TERMINAL_H
#define SKEP_SHIM_TERMINAL_H

#include "util.h"

/* Runs inside the container's mount namespace. Returns the master; *peer is the command's side. */
int terminal_open(uint32_t uid, int *peer, struct skep_error *err);
/* One record with a descriptor over a socket. -1 with errno. */
int terminal_send(int socket_fd, const void *record, size_t length, int descriptor);
/* As read(2); *descriptor is one that came along, else -1. */
ssize_t terminal_receive(int socket_fd, void *record, size_t length, int *descriptor);

#endif
