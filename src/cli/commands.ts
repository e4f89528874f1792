import type { Command } from "./command.ts";
import { check } from "./commands/check.ts";
import { clean } from "./commands/clean.ts";
import { convert } from "./commands/convert.ts";
import { diff } from "./commands/diff.ts";
import { doctor } from "./commands/doctor.ts";
import { families } from "./commands/families.ts";
import { gate } from "./commands/gate.ts";
import { init } from "./commands/init.ts";
import { inspect } from "./commands/inspect.ts";
import { match } from "./commands/match.ts";
import { mutate } from "./commands/mutate.ts";
import { parity } from "./commands/parity.ts";
import { plan } from "./commands/plan.ts";
import { roundtrip } from "./commands/roundtrip.ts";
import { seal } from "./commands/seal.ts";
import { validate } from "./commands/validate.ts";

/** In the order of `--help`. */
export const commands: readonly Command[] = [
  convert,
  inspect,
  plan,
  roundtrip,
  diff,
  parity,
  validate,
  check,
  gate,
  seal,
  match,
  init,
  mutate,
  clean,
  families,
  doctor,
];
