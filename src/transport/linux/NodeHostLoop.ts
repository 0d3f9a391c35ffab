/**
 * Node's own loop, watched by libuv's `uv_poll`.
 * https://docs.libuv.org/en/v1.x/poll.html
 *
 * A callback of libuv runs outside of Node's callback scope: an exception in it hangs the process, and microtasks, on
 * which fibers are resumed, do not run after it. So the work is done in an immediate, later in the same turn of the
 * loop: there exceptions are ordinary, and microtasks run right after it. This costs 0.4 µs for each wake-up.
 */
import { getSystemErrorName } from "node:util";
import { isMainThread } from "node:worker_threads";
import { functionsOf, type Koffi } from "../../libc/Library.js";
import type { Service } from "./HostLoop.js";

/** Calls `wake` whenever the descriptor is readable. Returns a function that stops it. */
type Poll = (fd: number, wake: () => void) => () => void;

/** `uv_handle_type` and `uv_poll_event`. */
const UV_POLL = 8;
const UV_READABLE = 1;

/**
 * libuv's functions themselves. They know one loop by name, the main thread's. Throws where the process does not have
 * them.
 */
const byLibuv = (koffi: Koffi): Poll => {
  const { call } = functionsOf(koffi);
  const init = call("int uv_poll_init(uintptr_t, uintptr_t, int)");
  const start = call("int uv_poll_start(uintptr_t, int, uintptr_t)");
  const stop = call("int uv_poll_stop(uintptr_t)");
  const close = call("void uv_close(uintptr_t, uintptr_t)");
  const loop = call("uintptr_t uv_default_loop()")();
  const size = call("size_t uv_handle_size(int)")(UV_POLL);
  const onPoll = koffi.pointer(koffi.proto("void", ["uintptr_t", "int", "int"]));
  const onClose = koffi.pointer(koffi.proto("void", ["uintptr_t"]));

  return (fd, wake) => {
    const handle: bigint = koffi.alloc("uint8_t", size);
    const woken = koffi.register(wake, onPoll);
    const forget = (): void => {
      koffi.unregister(woken);
      koffi.free(handle);
    };
    const address = Number(handle);
    const refused = init(loop, address, fd);
    if (refused < 0) {
      forget();
      throw new Error(`uv_poll_init failed (${getSystemErrorName(refused)})`);
    }
    start(address, UV_READABLE, Number(woken));
    return () => {
      stop(address);
      // libuv lets go of the handle with this call, and of the function when it has returned.
      const closed = koffi.register(() => {
        setImmediate(() => {
          koffi.unregister(closed);
          forget();
        });
      }, onClose);
      close(address, Number(closed));
    };
  };
};

/** koffi's binding, which knows the loop of any thread, and makes an object for each wake-up. */
const byBinding =
  (koffi: Koffi): Poll =>
  (fd, wake) => {
    const handle = koffi.node.poll(fd, { readable: true }, wake);
    return () => handle.close();
  };

/** Throws where libuv cannot be called. */
export const make = (koffi: Koffi): Service => {
  const poll = isMainThread ? byLibuv(koffi) : byBinding(koffi);
  return {
    watch: (fd, onReadable) => {
      let due: NodeJS.Immediate | undefined;
      const run = (): void => {
        due = undefined;
        onReadable();
      };
      const unwatch = poll(fd, () => {
        due ??= setImmediate(run);
      });
      return {
        close: () => {
          clearImmediate(due);
          unwatch();
        },
      };
    },
    soon: (task) => {
      setImmediate(task);
    },
    // Not through MonotonicClock: it is read in each turn of the loop, where a Clock's bigint costs as much again. It
    // is the same clock of the system, and tests replace the whole of HostLoop.
    now: () => performance.now(),
    after: (millis, task) => {
      const timer = setTimeout(task, millis);
      return { cancel: () => clearTimeout(timer) };
    },
  };
};
