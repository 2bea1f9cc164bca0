/*
 * Public surface of libskep.so, the part of skep that must be C: what runs between clone and exec,
 * what enters another namespace, and one system call wrapper for netlink. No global state; no policy.
 *
 * Every call returns 0, a file descriptor or a pid; or -1 with *err filled. Names and order are the
 * same here and in native/ffi.
 */
#ifndef SKEP_H
#define SKEP_H

#include <stddef.h>
#include <stdint.h>

/* Why a call failed. Filled only when the call returned -1. */
struct skep_error {
  int32_t errno_value;  /* errno at the failure; 0 when no system call failed */
  char syscall[28];     /* name of the failing call, NUL-terminated */
  char detail[224];     /* what it was applied to, NUL-terminated */
};
_Static_assert(sizeof(struct skep_error) == 256, "skep_error is mirrored in native/ffi/library.ts");

/* ---- network namespaces and netlink (src/lib/ns.c, src/lib/nl.c) ---- */

/* Makes a network namespace and pins it by a bind mount over `path`, which must not exist. */
int skep_netns_create(const char *path, struct skep_error *err);

/* Takes the pin away; the namespace ends with its last user. Success when there is none. */
int skep_netns_remove(const char *path, struct skep_error *err);

/*
 * Does `steps`, one a line, in the namespace at `ns_path` ("" = the caller's), in order:
 *   set NAME=VALUE        a file below /proc/sys/net, e.g. ipv4/ip_forward; one that this kernel does not have is passed over
 *   up LINK               sets it up
 *   netlink PROTOCOL      a netlink socket
 *   listen PROTOCOL GROUPS  a socket that hears of changes: `GROUPS` is a mask of multicast groups (1 << (group - 1)). It keeps
 *                         little: a flood overflows it, which `skep_nl_heard` counts as news
 *   udp ADDRESS PORT, tcp ADDRESS PORT  a non-blocking socket of the address's family bound there; not listening yet
 * The sockets' descriptors come into `fds`, in order. Returns how many; after a failure none is open.
 */
int skep_netns_visit(const char *ns_path, const char *steps, int32_t *fds, uint32_t capacity,
                     struct skep_error *err);

int skep_fd_close(int32_t fd, struct skep_error *err);

/* Sends `request` and collects answers until the message with `last_seq` is acknowledged, failed or
 * DONE. Returns the bytes of answers in `reply`; ETIMEDOUT after `timeout_ms`. */
int skep_nl_transact(int32_t fd, const uint8_t *request, uint32_t request_bytes, uint32_t last_seq,
                     uint8_t *reply, uint32_t reply_capacity, int32_t timeout_ms,
                     struct skep_error *err);

/* Sends each message of `requests` when the one before it is answered: a socket has one dump at a time. Returns the bytes of
 * all answers in `reply`; ETIMEDOUT when one takes longer than `timeout_ms`. */
int skep_nl_ask(int32_t fd, const uint8_t *requests, uint32_t bytes, uint8_t *reply,
                uint32_t reply_capacity, int32_t timeout_ms, struct skep_error *err);

/* 1 when anything came to a socket of `listen` since the last call, 0 when not. Does not wait. */
int skep_nl_heard(int32_t fd, struct skep_error *err);

/* ---- probe.c ---- */

/* Sends each of `count` hosts, at most 65,535, an ICMP echo request in an IP packet of `packet_bytes[i]` (uint32_t, 56 to
 * 65,535) that nobody on its way may cut, twice at most, and waits for the answers. `addresses` are IPv4 or IPv6, one a line.
 * `answered[i]` is 1 where an answer came within `timeout_ms`, else 0: also where such a packet cannot be sent at all. */
int skep_probe_paths(const char *addresses, const uint8_t *packet_bytes, uint32_t count,
                     int32_t timeout_ms, uint8_t *answered, struct skep_error *err);

/* ---- legacy.c ---- */

/* Tables of iptables-legacy in the caller's namespace, `family` AF_INET or AF_INET6. All of these name the table in their first
 * 32 bytes. A table that nobody used is made by asking for it: see first that /proc/net/ip_tables_names has it. */

/* Fills struct ipt_getinfo (84 bytes). */
int skep_legacy_info(int32_t family, uint8_t *info, uint32_t count, struct skep_error *err);

/* Fills struct ipt_get_entries, whose `size` is that of the entries: EAGAIN when they changed meanwhile. */
int skep_legacy_entries(int32_t family, uint8_t *entries, uint32_t count, struct skep_error *err);

/* `table` is struct ipt_replace with its entries, `counters` has room for those of the entries before (16 bytes each). */
int skep_legacy_replace(int32_t family, uint8_t *table, uint32_t count, uint8_t *counters,
                        struct skep_error *err);

/* `counters` is struct xt_counters_info. */
int skep_legacy_add_counters(int32_t family, const uint8_t *counters, uint32_t count,
                             struct skep_error *err);

/* The lock of all who change tables. Returns a descriptor that holds it; EAGAIN when somebody else has had it for a second,
 * for which it blocks. */
int skep_legacy_lock(const char *path, struct skep_error *err);

/* ---- spawn.c ---- */

/* A sealed copy of a program in memory, close-on-exec: what runs from it inside a container can
 * never be used to change the file on the host. Returns a file descriptor. */
int skep_seal_program(const char *path, struct skep_error *err);

/* Runs skep-shim from a program descriptor, for no container yet: it waits for SKEP_FRAME_PREPARE and
 * SKEP_FRAME_CREATE (skep_spec.h) on a socket, and ends when that is closed before. Returns our end of
 * it, close-on-exec. Blocks for a fork and an exec. */
int skep_shim_spawn(int program_fd, struct skep_error *err);

/* ---- mount.c ---- */

/* mount(2). Blocks for as long as a server takes to answer. `data` "" = none. */
int skep_mount(const char *source, const char *target, const char *type, uint64_t flags,
               const char *data, struct skep_error *err);

/* ---- files.c ---- */

#define SKEP_NO_FILE 0xffffffffu

/* The contents of `count` files, whose paths follow one another, each with its NUL: of each u32 length
 * and the bytes; SKEP_NO_FILE alone for what is not there, or goes meanwhile. Returns the bytes used of
 * `out`; ENOBUFS when they do not fit. For files of the kernel's: no disk is waited for. */
int skep_read_files(const char *paths, uint32_t count, uint8_t *out, uint32_t capacity,
                    struct skep_error *err);

/* ---- trees.c ---- */

/* Writes a file of `mode` under the name `unfinished` and gives it its name, in place of one that has it. */
int skep_replace_file(const char *path, const char *unfinished, const uint8_t *bytes, uint32_t count,
                      uint32_t mode, struct skep_error *err);

/* Removes a directory with all that is in it, following no link; at most `entries_max` of its entries, 2 at least. Returns 1
 * when something is left, which the next call goes on with. Success when there is none. */
int skep_remove_tree(const char *path, uint32_t entries_max, struct skep_error *err);

/* ---- memory.c ---- */

/* Gives what the C library holds freed back to the kernel. */
int skep_release_freed(struct skep_error *err);

/*
 * At the end of each arena of the C library at most so many freed bytes stay with this process; a block of
 * more goes back as a whole when it is freed. EINVAL: more than the library takes (2 GiB; 32 MiB before glibc 2.35).
 */
int skep_limit_freed(uint32_t bytes, struct skep_error *err);

/* ---- bpf.c ---- */

/* Loads `count` eBPF instructions (8 bytes each) as a device program and attaches it to a cgroup v2
 * group, in addition to others. It goes with the group. */
int skep_device_program_attach(const char *cgroup_dir, const uint8_t *instructions, uint32_t count,
                               struct skep_error *err);

#endif
