/**
 * The metrics of one balancer, as a service: what is recorded while things happen. A registry of backends brings its
 * own, so that two balancers in one program never share a count.
 *
 * @example
 * ```ts
 * import { Effect, Layer } from "effect"
 * import { BackendRegistry, Metrics } from "zeitwork-load-balancer"
 *
 * const accepted = Effect.map(Metrics.Metrics, (metrics) => metrics.total)
 *
 * // A registry whose metrics also go to Effect's own, for the exporter of a program.
 * const exported = BackendRegistry.layerWithoutDependencies({}).pipe(Layer.provideMerge(Metrics.layerEffect()))
 * ```
 */
import { Context, Layer } from "effect";
import * as EffectMetrics from "./EffectMetrics.js";
import { Recorder } from "./Recorder.js";

export {
  type ConnectFailureReason,
  type Family,
  type PollResult,
  type RefusedReason,
  values,
} from "./Catalog.js";
export type { BackendRecorder, Bytes, Recorder, Subject } from "./Recorder.js";
export type { Distribution, Forward, Labels, Series, Update } from "./Series.js";

/**
 * @since 0.2.0
 * @category tags
 */
export class Metrics extends Context.Tag("zeitwork-load-balancer/Metrics")<Metrics, Recorder>() {}

/**
 * Metrics of their own. They are read from `/metrics`, sent by the program's OpenTelemetry, or taken as a snapshot
 * (`series`, and that of each of `backends`). Each call makes a layer of its own, so that two of them never share a
 * count.
 *
 * @since 0.2.0
 * @category layers
 */
export const layer = (): Layer.Layer<Metrics> => Layer.sync(Metrics, () => new Recorder());

/**
 * The same, and each update also goes to Effect's own metrics, which the exporter of a program reads
 * (`Metric.snapshot`, `@effect/opentelemetry`). Series of backends that are gone stay there: Effect's registry forgets
 * nothing. Use it where the set of backends is small.
 *
 * @since 0.2.0
 * @category layers
 */
export const layerEffect = (): Layer.Layer<Metrics> =>
  Layer.sync(Metrics, () => new Recorder(EffectMetrics.forward));
