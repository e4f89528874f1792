// The environment that the Hub is found by, for a test, and nothing of the user's.
import { join } from "node:path";
import { onTestFinished } from "vitest";
import { scratch } from "../scratch.ts";

const VARIABLES = /^(?:HF_|HUGGING|TRANSFORMERS_OFFLINE$|XDG_CACHE_HOME$|https?_proxy$|all_proxy$|no_proxy$)/i;

/** Until the test ends. Gives the folder that is `HF_HOME`. */
export function hubEnvironment(variables: Readonly<Record<string, string>>): string {
  const before = Object.entries(process.env).filter(([name]) => VARIABLES.test(name));
  const clear = () => {
    for (const name of Object.keys(process.env)) if (VARIABLES.test(name)) delete process.env[name];
  };
  clear();
  const home = join(scratch(), "hf-home");
  Object.assign(process.env, { HF_HOME: home }, variables);
  onTestFinished(() => {
    clear();
    Object.assign(process.env, Object.fromEntries(before));
  });
  return home;
}
