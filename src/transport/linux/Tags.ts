/**
 * The tags of what the Linux transport is made over. Apart from what they stand for: a data thread has the same calls, and
 * a loop, and loads no Effect, which would take a third of its memory.
 */
import { Context } from "effect";
import type { Service as HostLoopService } from "./HostLoop.js";
import type { Service as LibcService } from "./Libc.js";

/** The system calls. */
export class Libc extends Context.Tag("zeitwork-load-balancer/Libc")<Libc, LibcService>() {}

/** The loop that the transport runs in. */
export class HostLoop extends Context.Tag("zeitwork-load-balancer/HostLoop")<HostLoop, HostLoopService>() {}
