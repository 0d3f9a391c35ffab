import { ioUring } from "../../../src/transport/linux/LinuxTransport.js";
import { conformance } from "../conformance.js";

conformance("io_uring", ioUring);
