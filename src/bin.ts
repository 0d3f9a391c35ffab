#!/usr/bin/env node
/**
 * The executable. It imports nothing before its first lines have run, and is not bundled with what it loads: until Node
 * has a listener for SIGUSR1, the signal opens a debugger on 127.0.0.1:9229, through which every local user can read
 * this process's memory and run code in it. Where Node knows `--disable-sigusr1` (from 22.14) the systemd unit starts
 * it with that, which closes the moments before this file runs as well.
 */
process.on("SIGUSR1", () => {});

// What is made for each connection lives as long as that does. V8 takes object literals that live so long for lasting
// ones, and makes them in its old generation, where they keep all that they refer to from its minor collections: half a
// megabyte to two of each were moved, in 5 to 12 ms in place of 1.3. Other long-lived objects are moved there once.
process.getBuiltinModule("node:v8").setFlagsFromString("--no-allocation-site-pretenuring");

const inspector = process.getBuiltinModule("node:inspector");

/** Whether a debugger was requested when the program was started. */
const debuggerWanted = [...process.execArgv, process.env["NODE_OPTIONS"] ?? ""].some((text) =>
  /--inspect(-brk|-wait)?(=|\s|$)/.test(text),
);

/** Closes a debugger that a signal has opened, and ends its sessions. */
const closeDebugger = (): void => {
  if (!debuggerWanted && inspector.url() !== undefined) inspector.close();
};

closeDebugger();
try {
  // Node opens the files of a module graph at once. Loaded in two parts they need fewer descriptors.
  await import("effect/Effect");
  await import("./main.js");
} catch (error) {
  const { stack = String(error) } = error instanceof Error ? error : {};
  // The type of a report is `object`; this part of it stands in Node's documentation.
  const { userLimits } = process.report.getReport() as {
    readonly userLimits?: { readonly open_files?: { readonly soft?: number | string } };
  };
  const descriptors = Number(userLimits?.open_files?.soft);
  // Too few descriptors look like files that are not there.
  const why =
    descriptors < 1024
      ? `it cannot be loaded with ${descriptors} descriptors: raise the limit (ulimit -n) to 1024 or more`
      : stack;
  process.stderr.write(`load-balancer: ${why}\n`);
  process.exitCode = 1;
}
// One that was on its way while this file was read has come up by now.
closeDebugger();
