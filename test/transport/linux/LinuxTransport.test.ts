import { layer } from "../../../src/transport/linux/LinuxTransport.js";
import { conformance } from "../conformance.js";

conformance("Linux", layer);
