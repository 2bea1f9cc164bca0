/*
 * Reads the flat formats of skep_spec.h. Nothing is copied: strings and lists point into the bytes,
 * which outlive the struct.
 */
#ifndef SKEP_SHIM_SPEC_H
#define SKEP_SHIM_SPEC_H

#include "skep_spec.h"
#include "util.h"

/* A cursor. After a read past the end or a malformed string `bad` stays set and reads give 0 or "". */
struct reader {
  const uint8_t *at;
  const uint8_t *end;
  bool bad;
};

uint32_t read_u32(struct reader *reader);
uint64_t read_u64(struct reader *reader);
const char *read_str(struct reader *reader);

/* `count` entries from `cursor` on; read with a copy of the cursor. Checked when parsed. */
struct list {
  uint32_t count;
  struct reader cursor;
};

struct process {
  uint32_t flags;
  uint32_t uid, gid;
  struct list groups;
  int32_t oom_score_adj;
  uint32_t umask;
  uint64_t bounding, effective, inheritable, permitted, ambient;
  struct list rlimits;
  const char *cwd;
  struct list args, env;
  const uint8_t *seccomp;
  uint32_t seccomp_length;
  uint16_t rows, columns; /* 0 = nobody said */
};

struct mount_entry {
  uint32_t kind;
  const char *source, *target, *type, *data;
  uint64_t flags, attributes;
  uint32_t recursive;
  uint64_t propagation;
};

struct spec {
  uint64_t clone_flags;
  struct list joins;
  struct list uid_map, gid_map; /* both empty: the host's user namespace */
  const char *hostname, *domainname;
  const char *cgroup2;
  struct list cgroup_tasks;
  const char *oom_file;
  struct list lower_dirs;
  uint32_t readonly_root;
  struct list mounts, devices, masked, readonly, sysctls;
  const char *apparmor;
  uint64_t log_bytes_max;
  uint32_t log_files_max;
  const char *oci_runtime; /* "" = the container is made by the shim itself */
  struct process process;
};

int parse_spec(const uint8_t *bytes, size_t length, struct spec *spec, struct skep_error *err);
int parse_process(const uint8_t *bytes, size_t length, struct process *process,
                  struct skep_error *err);
#define OVERFLOW_ID 65534u /* what has no place in a map */

/* An id of the container as the host has it. */
uint32_t outside_id(const struct list *map, uint32_t id);
static inline bool maps_users(const struct spec *spec) { return spec->uid_map.count > 0; }
void read_mount(struct reader *reader, struct mount_entry *entry);

#endif
