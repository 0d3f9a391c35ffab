/**
 * An entry of an Operator's list, with all that a real one has, and a secret that must be shown nowhere.
 */
export const secret = "s3cret";

/** An entry; `more` are fields that are other ones, or more. */
export const instance = (id: string, more: Readonly<Record<string, unknown>> = {}) => ({
  id,
  region_id: "region",
  node_id: "node",
  image_id: "image",
  state: "running",
  resources: { vcpu: 1, memory: 1024 },
  default_port: 3000,
  ip_address: "10.0.0.1",
  environment_variables: JSON.stringify({ KEY: secret }),
  created_at: "2025-08-23T12:48:09.123456Z",
  updated_at: "2025-08-23T12:48:09.123456Z",
  deleted_at: null,
  ...more,
});
