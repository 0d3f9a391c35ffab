/**
 * Effect's context tags for the system calls and the event loop that the Linux transport is built on. They are in a
 * file of their own because a data thread uses the same interfaces without Effect, which would take a third of its
 * memory.
 */
import { Context } from "effect";
import type { Service as HostLoopService } from "./HostLoop.js";
import type { Service as LibcService } from "./Libc.js";

/** The system calls. */
export class Libc extends Context.Tag("zeitwork-load-balancer/Libc")<Libc, LibcService>() {}

/** The loop that the transport runs in. */
export class HostLoop extends Context.Tag("zeitwork-load-balancer/HostLoop")<HostLoop, HostLoopService>() {}
