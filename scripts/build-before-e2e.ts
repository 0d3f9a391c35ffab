import { execFileSync } from "node:child_process";

// End-to-end tests run ./load-balancer, which must be built from the sources under test.
export default function buildBeforeEndToEndTests(): void {
  execFileSync("npm", ["run", "build", "--silent"], { stdio: "inherit" });
}
