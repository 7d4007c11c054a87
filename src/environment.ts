// Values of the environment, each read by what it has to be. An error names the variable and what it should be.
import { isIP } from 'node:net';

type Env = Partial<Record<string, string>>;

/** @param variables what is read when a variable is empty or not set */
export function openEnvironment<Name extends string>(env: Env, variables: Record<Name, { default: string }>) {
  const text = (name: Name): string | null => (env[name]?.trim() ? env[name].trim() : null);
  const whole = (name: Name, min: number, max: number): number => {
    const raw = text(name) ?? variables[name].default;
    const value = Number(raw);
    if (Number.isInteger(value) && value >= min && value <= max) return value;
    throw new Error(`${name} is "${raw}"; it must be a whole number from ${min} to ${max}.`);
  };
  /** Null: there is none. */
  const port = (name: Name): number | null => (text(name) === null ? null : whole(name, 0, 65_535));
  /** Without a trailing slash. */
  const url = (name: Name, protocols: string[]): string | null => {
    const raw = text(name);
    if (raw === null) return null;
    if (URL.canParse(raw) && protocols.includes(new URL(raw).protocol)) return raw.replace(/\/+$/, '');
    throw new Error(`${name} must be a URL that begins with ${protocols.map((p) => `${p}//`).join(' or ')}.`);
  };
  const oneOf = (name: Name, values: readonly string[]): string => {
    const value = text(name) ?? variables[name].default;
    if (values.includes(value)) return value;
    throw new Error(`${name} is "${value}"; it must be one of ${values.join(', ')}.`);
  };
  /** What stands between commas. */
  const list = (name: Name): string[] =>
    (text(name) ?? '')
      .split(',')
      .map((one) => one.trim())
      .filter(Boolean);
  /** Addresses, and networks such as 10.0.0.0/8. */
  const networks = (name: Name): string[] => {
    const all = list(name);
    const wrong = all.find((network) => !isNetwork(network));
    if (wrong === undefined) return all;
    throw new Error(
      `${name} has "${wrong}"; it must be addresses or networks such as 10.0.0.0/8, with commas between.`,
    );
  };
  return { text, whole, port, url, oneOf, list, networks };
}

function isNetwork(text: string): boolean {
  const [, address = '', bits] = /^([^/]+?)(?:\/(\d{1,3}))?$/.exec(text) ?? [];
  const family = isIP(address);
  return family !== 0 && Number(bits ?? 0) <= (family === 4 ? 32 : 128);
}
