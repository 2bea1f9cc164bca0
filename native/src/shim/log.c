/* The task's log file. Trouble with it (a full disk) must never reach the task: records are dropped. */
#include "log.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

static int open_file(struct log *log) {
  struct stat status;
  log->fd = RETRY(open("log", O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600));
  log->bytes = log->fd >= 0 && fstat(log->fd, &status) == 0 ? (uint64_t)status.st_size : 0;
  return log->fd;
}

int log_open(struct log *log, uint64_t bytes_max, uint32_t files_max, struct skep_error *err) {
  log->bytes_max = bytes_max;
  log->files_max = files_max;
  log->fd = -1;
  if (files_max == 0) return 0; /* nobody is to read it */
  return open_file(log) < 0 ? fail(err, "open", "log") : 0;
}

static void rotate(struct log *log) {
  char from[32], to[32];
  for (uint32_t i = log->files_max - 1; i > 0; i--) {
    snprintf(to, sizeof to, "log.%u", i);
    if (i > 1)
      snprintf(from, sizeof from, "log.%u", i - 1);
    else
      snprintf(from, sizeof from, "log");
    rename(from, to);
  }
  if (log->files_max == 1) unlink("log");
  release_fd(&log->fd);
  open_file(log);
}

/* Of what was written only in part, the whole records stay. */
static void keep_whole_records(struct log *log, uint64_t written) {
  uint64_t whole = 0;
  for (unsigned i = 0; i < log->batched; i++) {
    uint64_t record = log->parts[2 * i].iov_len + log->parts[2 * i + 1].iov_len;
    if (whole + record > written) break;
    whole += record;
  }
  log->bytes += whole;
  if (whole < written && ftruncate(log->fd, (off_t)log->bytes) < 0)
    release_fd(&log->fd); /* a torn record: the reader's check finds the next one or the end */
}

static void write_batch(struct log *log) {
  if (log->batched > 0 && (log->fd >= 0 || open_file(log) >= 0)) {
    ssize_t written = RETRY(writev(log->fd, log->parts, (int)log->batched * 2));
    if (written > 0) keep_whole_records(log, (uint64_t)written);
  }
  log->batched = 0;
  log->batch_bytes = 0;
}

/* `bytes` are looked at no later than by the next `write_batch`. */
static void append_record(struct log *log, uint32_t stream, int64_t nanos, const char *bytes,
                          size_t length) {
  uint64_t record = sizeof(struct skep_log_header) + length, before = log->bytes + log->batch_bytes;
  if (log->bytes_max > 0 && before > 0 && before + record > log->bytes_max) {
    write_batch(log);
    rotate(log);
  }
  struct skep_log_header *header = &log->headers[log->batched];
  *header = (struct skep_log_header){.seconds = nanos / 1000000000,
                                     .nanoseconds = (uint32_t)(nanos % 1000000000),
                                     .stream = stream,
                                     .length = (uint32_t)length,
                                     .check = SKEP_LOG_CHECK};
  log->parts[2 * log->batched] = (struct iovec){header, sizeof *header};
  log->parts[2 * log->batched + 1] = (struct iovec){(void *)bytes, length};
  log->batch_bytes += record;
  if (++log->batched == LOG_BATCH_MAX) write_batch(log);
}

void log_append(struct log *log, struct log_stream *stream, const char *bytes, size_t length) {
  if (log->files_max == 0) return;
  int64_t nanos = now_nanos();
  while (length > 0) {
    const char *newline = memchr(bytes, '\n', length);
    size_t take = newline ? (size_t)(newline - bytes) + 1 : length;
    bool complete = newline != NULL;
    if (take > SKEP_LOG_LINE_MAX - stream->pending) {
      take = SKEP_LOG_LINE_MAX - stream->pending;
      complete = true;
    }
    if (complete && stream->pending == 0) {
      append_record(log, stream->stream, nanos, bytes, take);
    } else {
      memcpy(stream->line + stream->pending, bytes, take);
      stream->pending += take;
      if (complete || stream->pending == SKEP_LOG_LINE_MAX) {
        append_record(log, stream->stream, nanos, stream->line, stream->pending);
        write_batch(log); /* the line is filled again */
        stream->pending = 0;
      }
    }
    bytes += take;
    length -= take;
  }
  write_batch(log);
}

void log_flush(struct log *log, struct log_stream *stream) {
  if (log->files_max == 0) return;
  if (stream->pending > 0)
    append_record(log, stream->stream, now_nanos(), stream->line, stream->pending);
  write_batch(log);
  stream->pending = 0;
}
