// npm run bench [name …]: every benchmark prints ratios within one run. Needs a built dist/.
import { readdirSync } from "node:fs";
import { fileURLToPath } from "node:url";

const here = fileURLToPath(new URL(".", import.meta.url));
const wanted = process.argv.slice(2);
const names = readdirSync(here)
  .filter((file) => file.endsWith(".bench.mjs"))
  .map((file) => file.slice(0, -".bench.mjs".length));
for (const name of wanted.length > 0 ? wanted : names) {
  if (!names.includes(name)) throw new Error(`no benchmark "${name}"; there are: ${names.join(", ")}`);
  console.log(`\n# ${name}`);
  await (await import(`./${name}.bench.mjs`)).run();
}
process.exit(0);
