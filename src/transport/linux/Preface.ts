/**
 * The bytes that a connection to a backend begins with, before those of the client.
 */
import { EINTR, type Result } from "./Libc.js";
import type { Socket } from "./Socket.js";

/** Sends them to a backend that was connected just now, which has room for them. Returns 0, or a negated errno. */
export const sendPreface = (socket: Socket, bytes: Uint8Array): Result => {
  const { buffer, libc } = socket.engine;
  buffer.bytes.set(bytes);
  socket.beforeWrite();
  let sent = 0;
  while (sent < bytes.length) {
    const result = libc.write(socket.fd, buffer, sent, bytes.length - sent);
    if (result > 0) sent += result;
    else if (result !== -EINTR) return result;
  }
  return 0;
};
