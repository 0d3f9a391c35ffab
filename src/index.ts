/**
 * The library: what teams compose into their own Effect programs.
 *
 * A balancer is {@link LoadBalancer} over a {@link BackendRegistry}, a {@link Transport} and something that fills
 * the registry: {@link DiscoverySync} with any {@link Discovery}, and {@link HealthChecker}. Every module
 * exports a `layer`; closing the scope of a layer ends all it started.
 */
export * as Backend from "./backend/Backend.js";
export * as BackendRegistry from "./backend/BackendRegistry.js";
export * as Health from "./backend/Health.js";
export * as Pool from "./backend/Pool.js";
export type { PoolEvent } from "./backend/PoolEvent.js";
export * as Algorithm from "./balancing/Algorithm.js";
export { type AlgorithmName, algorithms } from "./balancing/Algorithms.js";
export { ipHash } from "./balancing/IpHash.js";
export { leastConnections } from "./balancing/LeastConnections.js";
export * as Load from "./balancing/Load.js";
export * as Members from "./balancing/Members.js";
export { random } from "./balancing/Random.js";
export { roundRobin } from "./balancing/RoundRobin.js";
export { InvalidOption } from "./config/InvalidOption.js";
export * as Settings from "./config/Settings.js";
export * as Discovery from "./discovery/Discovery.js";
export * as DiscoverySync from "./discovery/DiscoverySync.js";
export * as OperatorDiscovery from "./discovery/OperatorDiscovery.js";
export * as StaticDiscovery from "./discovery/StaticDiscovery.js";
export * as HealthChecker from "./health/HealthChecker.js";
export * as Metrics from "./metrics/Metrics.js";
export * as MonitoringApi from "./monitoring/Api.js";
export * as Monitoring from "./monitoring/Monitoring.js";
export * as MonitoringClient from "./monitoring/MonitoringClient.js";
export type { ByteCounts } from "./net/ByteCounts.js";
export * as CidrSet from "./net/CidrSet.js";
export type { DataThreadPhase, DataThreadStatus } from "./net/DataThreadStatus.js";
export * as IpAddress from "./net/IpAddress.js";
export { ListenError, type ListenFailure } from "./net/ListenError.js";
export * as SocketAddress from "./net/SocketAddress.js";
export * as ConnectionRecord from "./proxy/ConnectionRecord.js";
export * as LoadBalancer from "./proxy/LoadBalancer.js";
export * as Sessions from "./proxy/Sessions.js";
export * as StateFile from "./state/StateFile.js";
export * as Systemd from "./systemd/Systemd.js";
export * as LinuxTransport from "./transport/linux/LinuxTransport.js";
export * as MemoryTransport from "./transport/MemoryTransport.js";
export * as NodeTransport from "./transport/node/NodeTransport.js";
export * as SourceAddresses from "./transport/SourceAddresses.js";
export * as Transport from "./transport/Transport.js";
