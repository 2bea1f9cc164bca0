/* Reads the flat formats of skep_spec.h; checks every length before it is believed. */
#include "spec.h"

#include <string.h>

uint32_t read_u32(struct reader *reader) {
  uint32_t value = 0;
  if (reader->bad || reader->end - reader->at < 4) {
    reader->bad = true;
    return 0;
  }
  memcpy(&value, reader->at, 4);
  reader->at += 4;
  return value;
}

uint64_t read_u64(struct reader *reader) {
  uint64_t low = read_u32(reader);
  return low | (uint64_t)read_u32(reader) << 32;
}

const char *read_str(struct reader *reader) {
  uint32_t length = read_u32(reader);
  if (reader->bad || (uint64_t)(reader->end - reader->at) < (uint64_t)length + 1 ||
      reader->at[length] != 0 || memchr(reader->at, 0, length) != NULL) {
    reader->bad = true;
    return "";
  }
  const char *text = (const char *)reader->at;
  reader->at += length + 1;
  return text;
}

void read_mount(struct reader *reader, struct mount_entry *entry) {
  entry->kind = read_u32(reader);
  entry->source = read_str(reader);
  entry->target = read_str(reader);
  entry->type = read_str(reader);
  entry->data = read_str(reader);
  entry->flags = read_u64(reader);
  entry->attributes = read_u64(reader);
  entry->recursive = read_u32(reader);
  entry->propagation = read_u64(reader);
}

uint32_t outside_id(const struct list *map, uint32_t id) {
  struct reader cursor = map->cursor;
  for (uint32_t i = 0; i < map->count; i++) {
    uint32_t inside = read_u32(&cursor), outside = read_u32(&cursor), count = read_u32(&cursor);
    if (id >= inside && id - inside < count) return outside + (id - inside);
  }
  return map->count == 0 ? id : OVERFLOW_ID;
}

/* Skips entries written as a pattern: u = u32, U = u64, s = str. */
static struct list read_list(struct reader *reader, const char *pattern) {
  struct list list = {.count = read_u32(reader)};
  list.cursor = *reader;
  for (uint32_t i = 0; i < list.count && !reader->bad; i++) {
    for (const char *p = pattern; *p; p++) {
      if (*p == 'u') read_u32(reader);
      if (*p == 'U') read_u64(reader);
      if (*p == 's') read_str(reader);
    }
  }
  return list;
}

static void read_process(struct reader *reader, struct process *process) {
  process->flags = read_u32(reader);
  process->uid = read_u32(reader);
  process->gid = read_u32(reader);
  process->groups = read_list(reader, "u");
  process->oom_score_adj = (int32_t)read_u32(reader);
  process->umask = read_u32(reader);
  process->bounding = read_u64(reader);
  process->effective = read_u64(reader);
  process->inheritable = read_u64(reader);
  process->permitted = read_u64(reader);
  process->ambient = read_u64(reader);
  process->rlimits = read_list(reader, "uUU");
  process->cwd = read_str(reader);
  process->args = read_list(reader, "s");
  process->env = read_list(reader, "s");
  process->seccomp_length = read_u32(reader);
  process->seccomp = reader->at;
  if (reader->bad || (uint64_t)(reader->end - reader->at) < process->seccomp_length)
    reader->bad = true;
  else
    reader->at += process->seccomp_length;
  bool is_sized = process->flags & SKEP_PROCESS_SIZE;
  process->rows = is_sized ? (uint16_t)read_u32(reader) : 0;
  process->columns = is_sized ? (uint16_t)read_u32(reader) : 0;
}

static int finish(const struct reader *reader, const struct process *process,
                  struct skep_error *err) {
  if (reader->bad || reader->at != reader->end)
    return fail_with(err, EINVAL, "parse", "spec: truncated or malformed");
  if (process->args.count == 0) return fail_with(err, EINVAL, "parse", "spec: no command");
  if (process->seccomp_length % 8 != 0 || process->seccomp_length / 8 > 4096)
    return fail_with(err, EINVAL, "parse", "spec: seccomp filter of %u bytes",
                     process->seccomp_length);
  return 0;
}

int parse_process(const uint8_t *bytes, size_t length, struct process *process,
                  struct skep_error *err) {
  struct reader reader = {.at = bytes, .end = bytes + length};
  read_process(&reader, process);
  return finish(&reader, process, err);
}

int parse_spec(const uint8_t *bytes, size_t length, struct spec *spec, struct skep_error *err) {
  struct reader reader = {.at = bytes, .end = bytes + length};
  uint32_t magic = read_u32(&reader), version = read_u32(&reader);
  if (magic != SKEP_SPEC_MAGIC || version != SKEP_SPEC_VERSION)
    return fail_with(err, EINVAL, "parse", "spec: magic %x version %u", magic, version);
  spec->clone_flags = read_u64(&reader);
  spec->joins = read_list(&reader, "us");
  spec->uid_map = read_list(&reader, "uuu");
  spec->gid_map = read_list(&reader, "uuu");
  spec->hostname = read_str(&reader);
  spec->domainname = read_str(&reader);
  spec->cgroup2 = read_str(&reader);
  spec->cgroup_tasks = read_list(&reader, "s");
  spec->oom_file = read_str(&reader);
  spec->lower_dirs = read_list(&reader, "s");
  spec->readonly_root = read_u32(&reader);
  spec->mounts = read_list(&reader, "ussssUUuU");
  spec->devices = read_list(&reader, "suuuuu");
  spec->masked = read_list(&reader, "s");
  spec->readonly = read_list(&reader, "s");
  spec->sysctls = read_list(&reader, "ss");
  spec->apparmor = read_str(&reader);
  spec->log_bytes_max = read_u64(&reader);
  spec->log_files_max = read_u32(&reader);
  spec->oci_runtime = read_str(&reader);
  read_process(&reader, &spec->process);
  return finish(&reader, &spec->process, err);
}
