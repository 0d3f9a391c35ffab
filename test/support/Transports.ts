/**
 * Every transport of this host, for tests of what must not differ between them.
 */
import type { Layer } from "effect";
import * as LinuxTransport from "../../src/transport/linux/LinuxTransport.js";
import * as NodeTransport from "../../src/transport/node/NodeTransport.js";
import type { Transport } from "../../src/transport/Transport.js";
import { dataThreadFile } from "./DataThreadFile.js";

const file = await dataThreadFile();

export const transports: Readonly<Record<string, Layer.Layer<Transport, unknown>>> = {
  node: NodeTransport.layer,
  linux: LinuxTransport.layer,
  io_uring: LinuxTransport.layerIoUring,
  "linux with two data threads": LinuxTransport.layerThreads({ threads: 2, file }),
  "io_uring with two data threads": LinuxTransport.layerThreads({ threads: 2, file, ioUring: true }),
};
