// Loads the bundled programs, compiled beforehand where this is the Node.js that they were built with: compiling takes longer than
// most commands do.
"use strict";
const { readFileSync } = require("node:fs");
const Module = require("node:module");
const { join } = require("node:path");
const { Script } = require("node:vm");

const bundle = join(__dirname, "programs.js");
/** What V8 made of the bundle is for the same V8 alone. */
const compiled = join(__dirname, `compiled-${process.version}-${process.platform}-${process.arch}.bin`);

/** A function that is called as Node.js calls a module. */
function compile(cachedData) {
  // V8 keeps the name as well: that of the folder would be where it was built.
  return new Script(Module.wrap(readFileSync(bundle, "latin1")), { filename: "programs.js", cachedData });
}

function run(script) {
  const module = { exports: {} };
  script.runInThisContext()(module.exports, require, module, bundle, __dirname);
  return module.exports;
}

/** By name, functions that start them. */
function programs() {
  let cachedData;
  try {
    cachedData = readFileSync(compiled);
  } catch {
    // From 22.1 on Node.js keeps what it compiled, in a folder of its own.
    Module.enableCompileCache?.();
    return require(bundle);
  }
  // Refused by V8, say because of an option, it is compiled anew.
  return run(compile(cachedData));
}

/** What the bundle imports: packages, and files of its user's. */
const imported = (specifier) => import(specifier);

module.exports = { compiled, compile, run, programs, imported };
