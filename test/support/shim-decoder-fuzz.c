/*
 * Feeds the shim's decoders with the bytes of the files that the command line names, walking every list as
 * the shim does. Built with the sanitizers by test/native/runtime-fuzz.test.ts: a read out of bounds ends it.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../../native/src/shim/spec.h"

static size_t seen; /* so that nothing is optimised away */

static void walk_strings(const struct list *list) {
  struct reader cursor = list->cursor;
  for (uint32_t i = 0; i < list->count; i++) seen += strlen(read_str(&cursor));
}

static void walk_process(const struct process *process) {
  struct reader cursor = process->groups.cursor;
  for (uint32_t i = 0; i < process->groups.count; i++) seen += read_u32(&cursor);
  cursor = process->rlimits.cursor;
  for (uint32_t i = 0; i < process->rlimits.count; i++)
    seen += read_u32(&cursor) + read_u64(&cursor) + read_u64(&cursor);
  walk_strings(&process->args);
  walk_strings(&process->env);
  seen += strlen(process->cwd);
  for (uint32_t i = 0; i < process->seccomp_length; i++) seen += process->seccomp[i];
}

static void walk_spec(const struct spec *spec) {
  struct reader cursor = spec->mounts.cursor;
  struct mount_entry entry;
  for (uint32_t i = 0; i < spec->mounts.count; i++) {
    read_mount(&cursor, &entry);
    seen += strlen(entry.source) + strlen(entry.target) + strlen(entry.type) + strlen(entry.data);
  }
  walk_strings(&spec->lower_dirs);
  walk_strings(&spec->cgroup_tasks);
  walk_strings(&spec->masked);
  walk_strings(&spec->readonly);
  seen += strlen(spec->hostname) + strlen(spec->apparmor) + strlen(spec->oom_file);
  walk_process(&spec->process);
}

/* Of its exact size on the heap, so that one byte past the end is found. */
static void decode(const uint8_t *bytes, size_t length) {
  struct skep_error err;
  struct spec spec = {0};
  struct process process = {0};
  uint8_t *copy = malloc(length);
  if (copy == NULL) abort();
  memcpy(copy, bytes, length);
  if (parse_spec(copy, length, &spec, &err) == 0) walk_spec(&spec);
  if (parse_process(copy, length, &process, &err) == 0) walk_process(&process);
  free(copy);
}

/* Each change is one of: other bits, a length that lies, a cut. The seed makes them the same again. */
static void mutate(const uint8_t *bytes, size_t length, unsigned rounds, unsigned seed) {
  uint8_t *changed = malloc(length);
  if (changed == NULL) abort();
  srandom(seed);
  for (unsigned round = 0; round < rounds; round++) {
    memcpy(changed, bytes, length);
    for (long changes = 1 + random() % 4; changes > 0; changes--) {
      size_t at = (size_t)random() % length;
      if (random() % 2)
        changed[at] ^= (uint8_t)(1 << random() % 8);
      else if (at + 4 <= length)
        memcpy(changed + at, random() % 2 ? "\xff\xff\xff\xff" : "\x00\x00\x00\x80", 4);
    }
    decode(changed, random() % 3 ? length : (size_t)random() % length);
  }
  free(changed);
}

int main(int argc, char **argv) {
  static uint8_t bytes[1 << 20];
  if (argc < 4) return 2;
  unsigned rounds = (unsigned)atoi(argv[1]), seed = (unsigned)atoi(argv[2]);
  for (int i = 3; i < argc; i++) {
    int fd = open(argv[i], O_RDONLY);
    if (fd < 0) return 2;
    ssize_t length = read_full(fd, bytes, sizeof bytes);
    close(fd);
    if (length <= 0) return 2;
    decode(bytes, (size_t)length);
    mutate(bytes, (size_t)length, rounds, seed);
  }
  printf("%u rounds, %zu seen\n", rounds, seen);
  return 0;
}
