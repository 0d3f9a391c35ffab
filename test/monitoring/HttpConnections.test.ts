import { FastCheck as fc } from "effect";
import { describe, expect, it } from "vitest";
import { HttpConnections } from "../../src/monitoring/HttpConnections.js";

type State = "arriving" | "receiving" | "answering";

interface Model {
  readonly id: number;
  state: State;
  answers: number;
  /** When it came to be what it is. */
  since: number;
}

const whats = ["arrived", "settled", "requested", "answered", "closed", "excess"] as const;

const command = fc.record({
  what: fc.constantFrom<(typeof whats)[number]>(...whats),
  pick: fc.nat(),
});

const rank = (model: Model, stalled: (id: number) => boolean): number => {
  if (model.state === "receiving") return 0;
  if (model.state === "answering") return stalled(model.id) ? 1 : 2;
  return 3;
};

describe("the connections of monitoring", () => {
  it("close half-sent requests first, then answers that are not read, then the oldest, and what arrives last", () => {
    fc.assert(
      fc.property(
        fc.array(command, { maxLength: 200 }),
        fc.nat({ max: 6 }),
        fc.nat({ max: 6 }),
        (commands, kept, more) => {
          const stalled = (id: number) => id % 3 === 0;
          const limits = { kept, most: kept + more };
          const connections = new HttpConnections<number>(limits, stalled);
          let models: Array<Model> = [];
          let time = 0;
          const become = (model: Model, state: State) => {
            if (model.state === state) return;
            model.state = state;
            model.since = time;
          };
          for (const { pick, what } of commands) {
            time += 1;
            const model = models[pick % Math.max(1, models.length)];
            if (what === "arrived") {
              models.push({ id: time, state: "arriving", answers: 0, since: time });
              connections.arrived(time);
            } else if (what === "excess") {
              const expected: Array<number> = [];
              const settled = () => models.filter(({ state }) => state !== "arriving").length;
              while (models.length > limits.most || settled() > limits.kept) {
                const [first] = [...models].sort(
                  (left, right) => rank(left, stalled) - rank(right, stalled) || left.since - right.since,
                );
                models = models.filter((each) => each !== first);
                expected.push(first?.id ?? 0);
              }
              expect([...connections.excess()]).toEqual(expected);
            } else if (model !== undefined) {
              connections[what](model.id);
              switch (what) {
                case "settled":
                  if (model.state === "arriving") become(model, "receiving");
                  break;
                case "requested":
                  become(model, "answering");
                  model.answers += 1;
                  break;
                case "answered":
                  if (model.answers > 0) model.answers -= 1;
                  if (model.state === "answering" && model.answers === 0) become(model, "receiving");
                  break;
                case "closed":
                  models = models.filter((each) => each !== model);
              }
            }
            expect(connections.size).toBe(models.length);
          }
        },
      ),
    );
  });

  it("close a short answer after all others, however old it is", () => {
    const connections = new HttpConnections<string>({ kept: 1, most: 2 }, () => false);
    connections.requested("health", true);
    connections.requested("viewer");
    connections.arrived("new");
    expect([...connections.excess()]).toEqual(["viewer"]);
    connections.answered("health");
    connections.requested("health");
    connections.requested("viewer");
    expect([...connections.excess()]).toEqual(["health"]);
  });
});
