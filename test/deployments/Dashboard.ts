/**
 * The Grafana dashboard that comes with the load balancer, as far as tests look at it.
 */
import { readFileSync } from "node:fs";
import { Schema } from "effect";

const Panel = Schema.Struct({
  id: Schema.Int,
  type: Schema.String,
  title: Schema.NonEmptyString,
  gridPos: Schema.Struct({ x: Schema.Int, y: Schema.Int, w: Schema.Int, h: Schema.Int }),
  datasource: Schema.optional(Schema.Struct({ type: Schema.String, uid: Schema.String })),
  fieldConfig: Schema.optional(Schema.Struct({ defaults: Schema.Struct({ unit: Schema.NonEmptyString }) })),
  targets: Schema.optional(
    Schema.Array(
      Schema.Struct({
        refId: Schema.NonEmptyString,
        expr: Schema.NonEmptyString,
        datasource: Schema.Struct({ type: Schema.String, uid: Schema.String }),
      }),
    ),
  ),
});

const Dashboard = Schema.Struct({
  uid: Schema.NonEmptyString,
  title: Schema.NonEmptyString,
  templating: Schema.Struct({
    list: Schema.Array(
      Schema.Struct({ name: Schema.String, type: Schema.String, definition: Schema.optional(Schema.String) }),
    ),
  }),
  panels: Schema.Array(Panel),
});

const text = readFileSync(new URL("../../deployments/grafana/load-balancer.json", import.meta.url), "utf8");

/** Throws when the file is not a dashboard, or a panel has no id, unit or title. */
export const read = () => Schema.decodeUnknownSync(Schema.parseJson(Dashboard))(text);

/** Every query of its panels, with what Grafana puts in place of the variables. */
export const queries = (): ReadonlyArray<string> =>
  read().panels.flatMap(({ targets = [] }) =>
    targets.map(({ expr }) =>
      expr.replaceAll("$__rate_interval", "1m").replaceAll("$instance", ".*").replaceAll("$backend", ".*"),
    ),
  );
