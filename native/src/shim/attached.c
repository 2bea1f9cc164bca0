/*
 * Connections that are attached to the container itself: they see its output from then on, and what
 * they send is its input. The log has all of it, whoever is attached.
 */
#include <stdlib.h>

#include "shim.h"

#define FRAME_ROOM 64      /* header and what else a frame needs */
#define STALL_MAX_MS 10000 /* then a reader that does not read is cut off */

void attached_start(struct shim *shim, struct conn *conn, uint32_t request) {
  if (conn->exec != NULL || conn->awaits_start || conn->attached) {
    conn_close(shim, conn); /* one connection, one purpose */
    return;
  }
  if (conn->out != NULL) {
    uint8_t *out = realloc(conn->out, ATTACHED_BYTES_MAX);
    if (out == NULL) {
      conn_close(shim, conn);
      return;
    }
    conn->out = out;
  }
  conn->attached = true;
  conn_reply(shim, conn, request, 0, NULL);
}

static bool has_room(const struct conn *conn) {
  return conn->out_length - conn->out_at + OUTPUT_BYTES + FRAME_ROOM < OUT_BYTES_MAX;
}

bool attached_have_room(const struct shim *shim) {
  for (int i = 0; i < CONNS_MAX; i++) {
    const struct conn *conn = &shim->conns[i];
    if (conn->fd >= 0 && conn->attached && !has_room(conn)) return false;
  }
  return true;
}

void attached_output(struct shim *shim, int index, const char *bytes, size_t length) {
  uint8_t type = index == 0 ? SKEP_FRAME_STDOUT : SKEP_FRAME_STDERR;
  for (int i = 0; i < CONNS_MAX; i++) {
    struct conn *conn = &shim->conns[i];
    if (conn->fd >= 0 && conn->attached) conn_send(shim, conn, type, bytes, length);
  }
}

void attached_cut_stalled(struct shim *shim, int64_t now_ms) {
  for (int i = 0; i < CONNS_MAX; i++) {
    struct conn *conn = &shim->conns[i];
    if (conn->fd < 0 || !conn->attached) continue;
    if (has_room(conn))
      conn->stalled_ms = 0;
    else if (conn->stalled_ms == 0)
      conn->stalled_ms = now_ms;
    else if (now_ms - conn->stalled_ms > STALL_MAX_MS)
      conn_close(shim, conn);
  }
}
