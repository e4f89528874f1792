import type { Command } from "../command.ts";
import { doctor } from "./doctor.ts";
import { families } from "./families.ts";
import { inspect } from "./inspect.ts";
import { plan } from "./plan.ts";

/** In the order of `--help`. */
export const commands: readonly Command[] = [inspect, plan, families, doctor];
