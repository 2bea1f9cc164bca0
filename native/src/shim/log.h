/* The task's log file: framed lines, appended, rotated by size. Knows nothing of who reads it. */
#ifndef SKEP_SHIM_LOG_H
#define SKEP_SHIM_LOG_H

#include <sys/uio.h>

#include "skep_spec.h"
#include "util.h"

/* Records of one read that wait to be written at once: short lines would cost a system call each. */
#define LOG_BATCH_MAX 64

struct log {
  int fd; /* -1 when the file cannot be opened: output is then dropped, the task goes on */
  uint64_t bytes, bytes_max;
  uint32_t files_max; /* >= 1: `log`, `log.1` ... `log.<files_max - 1>` */
  struct skep_log_header headers[LOG_BATCH_MAX];
  struct iovec parts[LOG_BATCH_MAX * 2]; /* header and bytes of each; the bytes are the caller's */
  unsigned batched;
  uint64_t batch_bytes;
};

/* One output stream: what came since the last newline waits here. */
struct log_stream {
  uint32_t stream; /* 1 stdout, 2 stderr */
  size_t pending;
  char line[SKEP_LOG_LINE_MAX];
};

int log_open(struct log *log, uint64_t bytes_max, uint32_t files_max, struct skep_error *err);
/* Splits bytes into lines; a line longer than SKEP_LOG_LINE_MAX becomes several records. */
void log_append(struct log *log, struct log_stream *stream, const char *bytes, size_t length);
/* Writes out an unfinished line, at the end of the stream. */
void log_flush(struct log *log, struct log_stream *stream);

#endif
