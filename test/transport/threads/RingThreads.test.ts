import { layerThreads } from "../../../src/transport/linux/LinuxTransport.js";
import { dataThreadFile } from "../../support/DataThreadFile.js";
import { conformance } from "../conformance.js";

const file = await dataThreadFile();

conformance("io_uring with two data threads", layerThreads({ threads: 2, file, ioUring: true }), {
  probesUnseen: true,
});
