// Checks of one side on its own: there and back, and what loading it would show.
import type { Check } from "../base/check.ts";
import type { RoundTrip } from "../verify/roundtrip.ts";
import type { Validation } from "../verify/validate.ts";
import { count, failed, passed, some } from "./block.ts";

export const roundTripName = (side: string): string => `${side} comes back from the other layout bit for bit`;

export function roundTripCheck(side: string, { differences, tensors, bytes, via, files }: RoundTrip): Check {
  const name = roundTripName(side);
  if (differences.length > 0) return failed(name, some(differences.map(({ key, detail }) => `"${key}": ${detail}`)));
  const same = files.length === 0 ? "" : `, ${count(files.length, "file")} byte for byte`;
  return passed(name, `${count(tensors, "tensor")}, ${bytes.toLocaleString("en-US")} bytes, via ${via}${same}`);
}

export const validateName = (side: string): string => `${side} is complete, finite, initialised and loadable`;

/** One line where all holds; each check that does not hold has its own. */
export function validateChecks(side: string, { checks, differences }: Validation): Check[] {
  const failures = checks.filter((check) => check.failed > 0);
  if (differences.length === 0) {
    return [passed(validateName(side), `${count(checks.length, "check")} of ${side} held`)];
  }
  const details = some(differences.map(({ key, kind, detail }) => `${kind} "${key}": ${detail}`));
  const [first, ...more] = failures;
  if (first === undefined) return [failed(validateName(side), details)];
  return [first, ...more].map(({ name, failed: n }, i) =>
    failed(`${side}: ${name}`, i === 0 ? details : count(n, "finding")),
  );
}
