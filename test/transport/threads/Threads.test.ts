import { layerThreads } from "../../../src/transport/linux/LinuxTransport.js";
import { dataThreadFile } from "../../support/DataThreadFile.js";
import { conformance } from "../conformance.js";

const file = await dataThreadFile();

conformance("Linux with three data threads", layerThreads({ threads: 3, file }), { probesUnseen: true });
