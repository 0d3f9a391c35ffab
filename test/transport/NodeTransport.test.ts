import * as NodeTransport from "../../src/transport/NodeTransport.js";
import { conformance } from "./conformance.js";

conformance("node", NodeTransport.layer);
