import { FastCheck as fc } from "effect";
import { describe, expect, it } from "vitest";
import { HttpConnections } from "../../src/monitoring/HttpConnections.js";

type State = "arriving" | "receiving" | "answering";

interface Model {
  readonly id: number;
  state: State;
  short: boolean;
  /** When it came to be what it is. */
  since: number;
}

const whats = [
  "arrived",
  "heard",
  "settled",
  "requested",
  "asked for health",
  "answered",
  "closed",
  "excess",
] as const;

const command = fc.record({
  what: fc.constantFrom<(typeof whats)[number]>(...whats),
  pick: fc.nat(),
});

const rank = (model: Model, stalled: (id: number) => boolean): number => {
  if (model.state === "receiving") return 0;
  if (model.state === "arriving") return 3;
  if (stalled(model.id)) return 1;
  return model.short ? 4 : 2;
};

describe("the connections of monitoring", () => {
  it("close half-sent requests first, then answers that are not read, the oldest, what was not heard yet, health", () => {
    fc.assert(
      fc.property(
        fc.array(command, { maxLength: 200 }),
        fc.nat({ max: 6 }),
        fc.nat({ max: 6 }),
        (commands, kept, more) => {
          const stalled = (id: number) => id % 3 === 0;
          const limits = { kept, most: kept + more };
          let models: Array<Model> = [];
          // Not of the models: those that have to go are taken out of these before the connections are asked.
          const heard = new Set<number>();
          const connections = new HttpConnections<number>(limits, stalled, (id) => heard.has(id));
          let time = 0;
          const become = (model: Model, state: State) => {
            if (model.state === state) return;
            model.state = state;
            model.since = time;
          };
          const ask = (model: Model, short: boolean) => {
            become(model, "answering");
            model.short = short;
            connections.requested(model.id, short);
          };
          const isKept = ({ short, state }: Model) =>
            state !== "arriving" && !(state === "answering" && short);
          for (const { pick, what } of commands) {
            time += 1;
            const model = models[pick % Math.max(1, models.length)];
            if (what === "arrived") {
              models.push({
                id: time,
                state: "arriving",
                short: false,
                since: time,
              });
              connections.arrived(time);
            } else if (what === "excess") {
              const expected: Array<number> = [];
              if (models.length > limits.kept)
                for (const each of models)
                  if (each.state === "arriving" && heard.has(each.id)) become(each, "receiving");
              while (models.length > limits.most || models.filter(isKept).length > limits.kept) {
                const [first] = [...models].sort(
                  (left, right) => rank(left, stalled) - rank(right, stalled) || left.since - right.since,
                );
                models = models.filter((each) => each !== first);
                expected.push(first?.id ?? 0);
              }
              expect([...connections.excess()]).toEqual(expected);
            } else if (model !== undefined) {
              switch (what) {
                case "heard":
                  heard.add(model.id);
                  break;
                case "settled":
                  if (model.state === "arriving") become(model, "receiving");
                  connections.settled(model.id);
                  break;
                case "requested":
                  ask(model, false);
                  break;
                case "asked for health":
                  ask(model, true);
                  break;
                case "answered":
                  if (model.state === "answering") become(model, "receiving");
                  connections.answered(model.id);
                  break;
                case "closed":
                  models = models.filter((each) => each !== model);
                  connections.closed(model.id);
              }
            }
            expect(connections.size).toBe(models.length);
          }
        },
      ),
    );
  });

  it("close a short answer after all others, however old it is", () => {
    const connections = new HttpConnections<string>(
      { kept: 1, most: 2 },
      () => false,
      () => false,
    );
    connections.requested("health", true);
    connections.requested("viewer");
    connections.arrived("new");
    expect([...connections.excess()]).toEqual(["viewer"]);
    connections.answered("health");
    connections.requested("health");
    connections.requested("viewer");
    expect([...connections.excess()]).toEqual(["health"]);
  });

  it("leave those alone that have not been heard yet, while others can go", () => {
    const connections = new HttpConnections<string>(
      { kept: 2, most: 4 },
      () => false,
      (connection) => connection === "half",
    );
    for (const connection of ["silent", "other", "half", "health"]) connections.arrived(connection);
    connections.requested("viewer");
    expect([...connections.excess()]).toEqual(["half"]);
    connections.arrived("new");
    expect([...connections.excess()]).toEqual(["viewer"]);
    connections.settled("other");
    connections.arrived("newer");
    expect([...connections.excess()]).toEqual(["other"]);
    connections.arrived("newest");
    expect([...connections.excess()]).toEqual(["silent"]);
  });
});
