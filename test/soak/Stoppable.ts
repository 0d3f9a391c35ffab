/** A backend of the soak as a process: its port is all that it prints. */
import { Backend } from "./Backend.js";

const backend = new Backend(4);
await backend.start();
process.stdout.write(`${backend.port}\n`);
