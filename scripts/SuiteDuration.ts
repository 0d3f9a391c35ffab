/**
 * Says, before the tests begin, how long they take here: by what each file took when it last ran on this machine, and
 * for files that never ran by the others of its project.
 */
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, relative } from "node:path";
import { fileURLToPath } from "node:url";
import type { Reporter, TestModule, TestSpecification } from "vitest/node";

/** Milliseconds that each file took, by `project:path`. */
export type Durations = Readonly<Record<string, number>>;

const root = fileURLToPath(new URL("..", import.meta.url));
/** It goes with the packages, as what it says may be wrong after another installation. */
const remembered = fileURLToPath(new URL("../node_modules/.cache/suite-durations.json", import.meta.url));

/** Milliseconds for a file of a project of which nothing has run yet, on a machine of 2 cores. */
const unknown: Durations = { unit: 4_000, e2e: 60_000 };

const projectOf = (key: string): string => key.split(":")[0] ?? "";

/** How long these files take, in milliseconds, when so many run at the same time. */
export const estimate = (keys: ReadonlyArray<string>, known: Durations, workers: number): number => {
  const average = (project: string): number => {
    const all = Object.entries(known).flatMap(([key, millis]) =>
      projectOf(key) === project ? [millis] : [],
    );
    return all.length === 0
      ? (unknown[project] ?? 0)
      : all.reduce((sum, millis) => sum + millis, 0) / all.length;
  };
  const millis = keys.map((key) => known[key] ?? average(projectOf(key)));
  const longest = Math.max(0, ...millis);
  return Math.max(longest, millis.reduce((sum, each) => sum + each, 0) / workers);
};

/** A duration as people say it. */
export const inWords = (millis: number): string =>
  millis < 90_000 ? `${Math.max(1, Math.round(millis / 1_000))} s` : `${Math.round(millis / 60_000)} min`;

const keyOf = (project: string, path: string): string => `${project}:${relative(root, path)}`;

const read = (): Durations => {
  try {
    return JSON.parse(readFileSync(remembered, "utf8"));
  } catch {
    return {};
  }
};

export class SuiteDuration implements Reporter {
  readonly #known: Record<string, number> = { ...read() };

  onTestRunStart(specifications: ReadonlyArray<TestSpecification>): void {
    const keys = specifications.map(({ moduleId, project }) => keyOf(project.name, moduleId));
    const workers = Number(specifications[0]?.project.config.maxWorkers ?? 1);
    const seen = keys.filter((key) => this.#known[key] !== undefined).length;
    const how =
      seen === keys.length
        ? "by what they took when they last ran here"
        : `${keys.length - seen} of them have not run here yet`;
    const millis = estimate(keys, this.#known, workers);
    process.stdout.write(`${keys.length} test files, about ${inWords(millis)} (${how})\n`);
  }

  onTestModuleEnd(module: TestModule): void {
    const { collectDuration, duration, prepareDuration } = module.diagnostic();
    this.#known[keyOf(module.project.name, module.moduleId)] = Math.round(
      collectDuration + duration + prepareDuration,
    );
  }

  onTestRunEnd(): void {
    mkdirSync(dirname(remembered), { recursive: true });
    writeFileSync(remembered, JSON.stringify(this.#known));
  }
}
