import type { Command } from "../command.ts";
import { convert } from "./convert.ts";
import { doctor } from "./doctor.ts";
import { families } from "./families.ts";
import { inspect } from "./inspect.ts";
import { plan } from "./plan.ts";

/** In the order of `--help`. */
export const commands: readonly Command[] = [convert, inspect, plan, families, doctor];
