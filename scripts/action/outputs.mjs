// How a step of GitHub Actions says what came out.
import { appendFileSync } from "node:fs";

/** Outputs of the step; a value of several lines has a mark around it that it does not hold. */
export function setOutputs(values) {
  const file = process.env.GITHUB_OUTPUT;
  for (const [name, value] of Object.entries(values)) {
    let mark = "END";
    while (`${value}`.includes(mark)) mark += "_";
    if (file) appendFileSync(file, `${name}<<${mark}\n${value}\n${mark}\n`);
  }
}

/** A variable that the action sets. */
export function need(name) {
  const value = process.env[name];
  if (value) return value;
  console.error(`${name} is not set: action.yml sets it`);
  process.exit(2);
}
