// Checks of one side on its own: there and back, and what loading it would show.
import type { Check } from "../base/check.ts";
import type { RoundTrip } from "../verify/roundtrip.ts";
import type { Validation } from "../verify/validate.ts";
import { count, failed, notChecked, passed, some } from "./block.ts";

export const roundTripName = (side: string): string => `${side} comes back from the other layout bit for bit`;

export function roundTripCheck(side: string, { differences, tensors, bytes, via, files }: RoundTrip): Check {
  const name = roundTripName(side);
  if (differences.length > 0) return failed(name, some(differences.map(({ key, detail }) => `"${key}": ${detail}`)));
  const same = files.length === 0 ? "" : `, ${count(files.length, "file")} byte for byte`;
  return passed(name, `${count(tensors, "tensor")}, ${bytes.toLocaleString("en-US")} bytes, via ${via}${same}`);
}

export const validateName = (side: string): string => `${side} is complete, finite, initialised and loadable`;

/** One line where all holds; each check that does not hold, or could not be made, has its own. */
export function validateChecks(side: string, { checks, differences }: Validation): Check[] {
  const of = (status: Check["status"]) => checks.filter((check) => check.status === status);
  const open = of("not checked").map(({ name, detail = "" }) => notChecked(`${side}: ${name}`, detail));
  if (differences.length === 0) {
    return [passed(validateName(side), `${count(of("passed").length, "check")} of ${side} held`), ...open];
  }
  const details = some(differences.map(({ key, kind, detail }) => `${kind} "${key}": ${detail}`));
  const [first, ...more] = of("failed");
  if (first === undefined) return [failed(validateName(side), details), ...open];
  return [
    failed(`${side}: ${first.name}`, details),
    ...more.map(({ name, detail = "" }) => failed(`${side}: ${name}`, detail)),
    ...open,
  ];
}
